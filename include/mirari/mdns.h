/* SPDX-License-Identifier: ISC */
/* Announcing a host and a service on the link: multicast DNS and service discovery. */
#ifndef MIRARI_MDNS_H
#define MIRARI_MDNS_H

#include <mirari/dns.h>

struct mir_mdns;

/** Called when the names are ours: at first, and when a conflict has changed them. Texts are
 *  borrowed; @instance is "" without a service. */
typedef void (*mir_mdns_fn)(void *arg, const char *host, const char *instance);

struct mir_mdns_config {
    struct mir_stack *stack;
    struct mir_rng *rng;
    const char *host;     /**< "mirari" becomes mirari.local, or mirari-2.local if it is taken */
    const char *type;     /**< "_http._tcp", or NULL: no service */
    const char *instance; /**< what people see, "My Site"; NULL = @host */
    uint16_t port;
    const char *txt;      /**< one "key=value", or NULL */
    mir_mdns_fn on_names; /**< may be NULL */
    void *arg;
};

struct mir_mdns_stats {
    uint64_t queries, answers, announcements, probes, conflicts, malformed, suppressed;
    uint64_t foreign; /**< sent to us from beyond the link: ignored */
};

/**
 * mir_mdns_open() - probe for the names, announce them, answer for them.
 *
 * @config  borrowed during the call
 *
 * Returns 0, -MIR_EINVAL (names), -MIR_ENOMEM, or an error of the UDP socket on port 5353.
 * Source  RFC 6762 sections 5 to 11, RFC 6763 sections 4, 6, 9
 */
int mir_mdns_open(const struct mir_mdns_config *config, struct mir_mdns **mdns) MIR_CHECK;
/** Say goodbye (RFC 6762 section 10.1) and end. */
void mir_mdns_close(struct mir_mdns *mdns);
void mir_mdns_get_stats(const struct mir_mdns *mdns, struct mir_mdns_stats *stats);

#endif
