/* SPDX-License-Identifier: ISC */
/* IPv6 autoconfiguration of an interface: what nd6.c, nd6_router.c, slaac.c, mld6.c and dhcp6.c
 * keep there, and what they call of each other.
 *
 *   nd6.c         neighbour messages: resolution, reachability, duplicate addresses
 *   nd6_router.c  router messages: advertisements, redirects, solicitations; what they told, with
 *                 lifetimes
 *   slaac.c       addresses from prefixes
 *   mld6.c        groups, told to routers
 *   dhcp6.c       name servers by DHCPv6, when a router says so
 */
#ifndef LIB_NET_ND6_H
#define LIB_NET_ND6_H

#include "lib/net/internal.h"
#include "lib/net/neigh.h"
#include "lib/wire/nd6.h"

#define MIR__ND6_LEARNED_MAX    24u
#define MIR__ND6_TEMP_MAX       3u
#define MIR__SLAAC_PREFIXES_MAX 8u
#define MIR__MLD6_LEAVING_MAX   8u

struct mir__ifaddr;

/** A route that a router told. */
struct mir__nd6_learned {
    struct mir_ip prefix;
    struct mir_ip gateway; /* any: on the link */
    uint8_t prefix_len;
    bool is_redirect;
    int8_t preference;
    mir_time_us expires_us; /* MIR_TIME_NEVER: no end */
};

/** What routers told on an interface, and asking them. */
struct mir__nd6 {
    bool is_running;
    bool has_router;          /* one has answered since we last began to ask */
    uint32_t reachable_ms;    /* base value; 0: not told */
    mir_time_us drawn_us;     /* when times.reachable_us was drawn */
    mir_time_us dad_slack_us; /* addresses made now wait so long at most before their test */
    mir_time_us rs_wait_us;
    uint32_t rs_sent;
    struct mir__neigh_times times;
    struct mir_timer rs_timer;
    struct mir_timer timer; /* the next end of a lifetime in learned[] */
    uint32_t learned_count;
    struct mir__nd6_learned learned[MIR__ND6_LEARNED_MAX];
};

/** A temporary address (RFC 8981): how long it may live at most. */
struct mir__slaac_temp {
    struct mir_ip ip; /* any: free */
    mir_time_us preferred_max_us;
    mir_time_us valid_max_us;
};

struct mir__slaac_prefix {
    struct mir_ip prefix; /* of 64 bits */
    mir_time_us preferred_until_us;
    mir_time_us valid_until_us;
    mir_time_us regenerate_us; /* the next temporary address; MIR_TIME_NEVER: none */
    uint8_t dad_counter;       /* of the stable address (RFC 7217 section 5) */
    uint8_t temp_failures;     /* temporary addresses in a row that somebody had */
    struct mir__slaac_temp temp[MIR__ND6_TEMP_MAX];
};

struct mir__slaac {
    bool has_secret; /* given: the same addresses after a restart */
    bool wants_temporary;
    uint8_t link_local_counter;
    uint8_t secret[16];
    struct mir_timer timer;
    uint32_t prefix_count;
    struct mir__slaac_prefix prefixes[MIR__SLAAC_PREFIXES_MAX];
};

/** A group that was left; told once more. */
struct mir__mld6_leaving {
    struct mir_ip group;
    uint8_t reports_left;
};

struct mir__mld6 {
    mir_time_us v1_until_us; /* a router of version 1 is there */
    mir_time_us v2_until_us; /* the querier of version 2 is */
    struct mir_ip querier;   /* of version 2 */
    uint8_t robustness;
    uint32_t interval_s;    /* between queries, as last told */
    struct mir_timer timer; /* the answer to a general query */
    struct mir_timer leave_timer;
    uint32_t leaving_count;
    struct mir__mld6_leaving leaving[MIR__MLD6_LEAVING_MAX];
};

struct mir__dhcp6 {
    bool is_asking;
    bool is_done; /* answered: quiet until refresh */
    uint32_t xid;
    mir_time_us begin_us;
    mir_time_us wait_us;
    uint32_t max_wait_s;
    struct mir_timer timer;
};

/* ---- nd6.c -------------------------------------------------------------------------------- */

extern const struct mir__neigh_family mir__neigh_nd6;

/** Finish and send an ICMPv6 message on the link, borrowed addresses; @hops 255 for discovery. */
void mir__nd6_send(struct mir__iface *iface, const struct mir_ip *src, const struct mir_ip *dst,
                   bool router_alert, MIR_GIVE struct mir_buf *buf_given);
/** The link came back: neighbours are forgotten, addresses tested again while in use, routers
 *  asked. */
void mir__nd6_link_up(struct mir__iface *iface);

/* ---- nd6_router.c ------------------------------------------------------------------------- */

void mir__nd6_router_init(struct mir__iface *iface);
/** Forget what was learned and stop asking. */
void mir__nd6_router_stop(struct mir__iface *iface);
/** Ask for routers now, and again until one answers (RFC 7559). */
void mir__nd6_solicit_routers(struct mir__iface *iface);
bool mir__nd6_router_advert(struct mir__iface *iface, const struct mir__ip_meta *meta,
                            const uint8_t *msg, size_t len);
bool mir__nd6_redirect(struct mir__iface *iface, const struct mir__ip_meta *meta,
                       const uint8_t *msg, size_t len);
/** The gateway @neigh answers, or does not any more (RFC 4861 section 6.3.6). */
void mir__nd6_gateway_changed(struct mir__neigh *neigh, bool is_reachable);
/** It said that it is no router: no default route, no redirect leads there (section 7.2.5). */
void mir__nd6_no_router(struct mir__neigh *neigh);

/* ---- slaac.c ------------------------------------------------------------------------------ */

void mir__slaac_init(struct mir__iface *iface);
/** Take the link-local address. */
void mir__slaac_link_local(struct mir__iface *iface);
/** Remove addresses made here, the link-local one included. */
void mir__slaac_stop(struct mir__iface *iface);
/** A router advertises a prefix for autoconfiguration. */
void mir__slaac_prefix(struct mir__iface *iface, const struct mir__nd6_prefix *prefix);
/** Somebody has @addr: it is removed, another may follow. False: it is not one of ours to change.
 */
bool mir__slaac_duplicate(struct mir__ifaddr *addr);

/* ---- mld6.c ------------------------------------------------------------------------------- */

void mir__mld6_init(struct mir__iface *iface);
void mir__mld6_stop(struct mir__iface *iface);
/** Tell all groups again: the link came back, or reports have a source address now. */
void mir__mld6_report_all(struct mir__iface *iface);

/* ---- dhcp6.c ------------------------------------------------------------------------------ */

void mir__dhcp6_init(struct mir__iface *iface);
/** A router says that there is more to know (harmless if it was asked already). */
void mir__dhcp6_start(struct mir__iface *iface);
void mir__dhcp6_stop(struct mir__iface *iface);
/** Perhaps another network: ask again when a router says so. What was told stays until then. */
void mir__dhcp6_link_up(struct mir__iface *iface);
/** A datagram from port 547 to port 546, payload at buf->data. */
void mir__dhcp6_input(struct mir__iface *iface, const struct mir__ip_meta *meta,
                      MIR_GIVE struct mir_buf *buf_given);

#endif
