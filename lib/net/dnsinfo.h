/* SPDX-License-Identifier: ISC */
/* What the network says about names: servers and domains to search, with their lifetimes. */
#ifndef LIB_NET_DNSINFO_H
#define LIB_NET_DNSINFO_H

#include <mirari/net.h>

#define MIR__DNSINFO_SERVERS_MAX 9u /* three of each origin (RFC 8106 section 5.3.1) */
#define MIR__DNSINFO_DOMAINS_MAX 6u

struct mir__iface;

/** Who told. Lower ones are asked first (RFC 8106 section 5.3.1: DHCP before advertisements). */
enum mir__dnsinfo_origin { MIR__DNSINFO_DHCP4, MIR__DNSINFO_DHCP6, MIR__DNSINFO_RA };

struct mir__dnsinfo_server {
    struct mir_ip ip;
    mir_time_us expires_us; /* MIR_TIME_NEVER: no end */
    struct mir__iface *iface;
    uint8_t origin;
};

struct mir__dnsinfo_domain {
    char text[MIR_NET_DNS_DOMAIN_MAX];
    mir_time_us expires_us;
    struct mir__iface *iface;
    uint8_t origin;
};

struct mir__dnsinfo {
    struct mir__dnsinfo_server servers[MIR__DNSINFO_SERVERS_MAX]; /* by origin, then age */
    struct mir__dnsinfo_domain domains[MIR__DNSINFO_DOMAINS_MAX];
    uint32_t server_count;
    uint32_t domain_count;
};

/** Add a server, give it another lifetime, or with @lifetime_us 0 remove it; MIR_TIME_NEVER: no
 *  end. Addresses that cannot be a server's are ignored; of one origin at most three are kept. */
void mir__dnsinfo_server(struct mir__iface *iface, enum mir__dnsinfo_origin origin,
                         const struct mir_ip *ip, mir_time_us lifetime_us);
/** The same for a domain, text of [len] bytes. Texts that are not letters,
 *  digits, '-', '_' and single dots are ignored. */
void mir__dnsinfo_domain(struct mir__iface *iface, enum mir__dnsinfo_origin origin,
                         const char *text, size_t len, mir_time_us lifetime_us);
/** The domains, best first, each once; borrowed until something is told or forgotten. */
uint32_t mir__dnsinfo_domains(struct mir_net *net, const char **out, uint32_t max);
/** Forget what @origin told on @iface. */
void mir__dnsinfo_forget(struct mir__iface *iface, enum mir__dnsinfo_origin origin);

#endif
