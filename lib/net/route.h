/* SPDX-License-Identifier: ISC */
/* The routing table and the path-MTU cache (route.c, pmtu.c).
 *
 * Prefixes of both families are kept as 128 bits: 10.0.0.0/8 is ::ffff:10.0.0.0/104. Thus there is
 * one table and one code; an IPv4 destination is looked up among lengths of 96 and more only.
 */
#ifndef LIB_NET_ROUTE_H
#define LIB_NET_ROUTE_H

#include <mirari/list.h>

#include "lib/net/internal.h"

#define MIR__ROUTE_BUCKETS 256u
#define MIR__PMTU_BUCKETS  256u
#define MIR__PMTU_US       (600 * MIR_US_PER_S)

enum mir__route_origin {
    MIR__ROUTE_CONNECTED = MIR_NET_ROUTE_CONNECTED, /* made and removed with an address */
    MIR__ROUTE_MANUAL = MIR_NET_ROUTE_MANUAL,
    MIR__ROUTE_DHCP = MIR_NET_ROUTE_DHCP,
    MIR__ROUTE_RA = MIR_NET_ROUTE_RA,
    MIR__ROUTE_REDIRECT = MIR_NET_ROUTE_REDIRECT,
};

struct mir__route_entry {
    struct mir_ip prefix;  /* bits behind prefix_len are 0 */
    struct mir_ip gateway; /* any: the destination is on the link */
    struct mir__iface *iface;
    uint32_t metric;      /* among equal prefixes the lowest wins */
    uint16_t mtu;         /* 0: of the interface */
    uint8_t prefix_len;   /* of 128 bits: IPv4 begins at 96 */
    uint8_t origin;       /* enum mir__route_origin */
    bool is_unreachable;  /* its gateway does not answer: only if there is no other */
    struct mir_list link; /* all, oldest first */
    struct mir_list bucket;
};

struct mir__route_state {
    struct mir_pool pool;
    uint32_t hash_key;
    uint16_t counts_v4[33]; /* routes of each length */
    uint16_t counts_v6[129];
    uint64_t lengths_v4;    /* bit i: there are routes of length 96 + i, i < 33 */
    uint64_t lengths_v6[3]; /* bit i of word w: of length 64 w + i */
    struct mir_list all;
    struct mir_list *buckets; /* MIR__ROUTE_BUCKETS */
    struct mir_io_page *bucket_page;
};

struct mir__route_spec {
    struct mir_ip prefix; /* bits behind the length are ignored */
    uint8_t prefix_len;   /* of its family: 0..32 for a prefix in IPv4 form, else 0..128 */
    struct mir_ip gateway;
    struct mir__iface *iface;
    enum mir__route_origin origin;
    uint32_t metric;
    uint16_t mtu;
};

int mir__route_init(struct mir_net *net, uint32_t routes_max) MIR_CHECK;
void mir__route_fini(struct mir_net *net);
/** Add, or change metric, mtu and origin of the one with the same prefix, gateway and interface.
 *  @out may be NULL. 0, -MIR_EINVAL (families differ, length), -MIR_ELIMIT. */
int mir__route_add(struct mir_net *net, const struct mir__route_spec *spec,
                   struct mir__route_entry **out) MIR_CHECK;
/** The one with the same prefix, gateway and interface; NULL: there is none. */
struct mir__route_entry *mir__route_get(const struct mir_net *net,
                                        const struct mir__route_spec *spec);
/** Prefix, gateway and interface must be the same. 0 or -MIR_ENOENT. */
int mir__route_remove(struct mir_net *net, const struct mir__route_spec *spec);
void mir__route_remove_entry(struct mir_net *net, struct mir__route_entry *entry);
/** Remove what @iface learned from @origin. */
void mir__route_forget(struct mir_net *net, const struct mir__iface *iface,
                       enum mir__route_origin origin);
/** Remember whether the gateway of an entry answers (RFC 4861 section 6.3.6). */
void mir__route_set_unreachable(struct mir_net *net, struct mir__route_entry *entry,
                                bool is_unreachable);
/**
 * The best route: the longest prefix; among equals one whose gateway answers, then one over the
 * interface that has @src, then the lowest metric, then the oldest. @src NULL: whatever interface;
 * else only routes whose interface can send from @src's scope are better by owning it.
 *
 * Cost  one hash look-up for each prefix length that occurs in the table (and is not longer than
 *       the answer), however many routes there are of each
 */
struct mir__route_entry *mir__route_find(const struct mir_net *net, const struct mir_ip *dst,
                                         const struct mir__iface *src_iface);
/** The same, over @iface only. */
struct mir__route_entry *mir__route_find_on(const struct mir_net *net, const struct mir_ip *dst,
                                            const struct mir__iface *iface);
/** Are the first @len bits equal? */
bool mir__ip_prefix_equal(const struct mir_ip *a, const struct mir_ip *b, uint32_t len);

/* ---- pmtu.c ------------------------------------------------------------------------------- */

struct mir__pmtu_entry {
    struct mir_ip dst;
    uint16_t mtu;
    mir_time_us until_us;
    struct mir_list age; /* oldest first */
    struct mir_list bucket;
};

struct mir__pmtu_state {
    struct mir_pool pool;
    uint32_t hash_key;
    uint32_t count;
    struct mir_timer timer;
    struct mir_list age;
    struct mir_list *buckets; /* MIR__PMTU_BUCKETS */
    struct mir_io_page *bucket_page;
};

int mir__pmtu_init(struct mir_net *net, uint32_t entries_max) MIR_CHECK;
void mir__pmtu_fini(struct mir_net *net);
/** Somebody on the way to @dst told that packets above @mtu do not get through, about a packet
 *  that we have really sent: the caller made sure. Never below 68 (IPv4) or 1280 (IPv6). Returns
 *  the MTU that is now valid for @dst. */
uint16_t mir__pmtu_update(struct mir_net *net, const struct mir_ip *dst, uint16_t mtu);
/** 0: not known. */
uint16_t mir__pmtu_find(const struct mir_net *net, const struct mir_ip *dst);

#endif
