/* SPDX-License-Identifier: ISC */
/* Addresses of interfaces, both families: what ifaddr.c and group.c give to the rest.
 *
 *   net ── hash of all addresses ── struct mir__ifaddr <── list of its interface, oldest first
 *     └─── hash of all groups    ── struct mir__group  <── list of its interface
 *
 * Whether a packet is for us is one look-up in a hash, however many addresses there are.
 */
#ifndef LIB_NET_IFADDR_H
#define LIB_NET_IFADDR_H

#include <mirari/list.h>

#include "lib/net/internal.h"

#define MIR__IFADDR_BUCKETS 64u
#define MIR__GROUP_BUCKETS  64u

/** The numbers are those of the public enum mir_net_address_state (RFC 4862 section 2). */
enum mir__ifaddr_state {
    MIR__IFADDR_TENTATIVE = MIR_NET_ADDRESS_TENTATIVE,   /* is it free? nothing uses it yet */
    MIR__IFADDR_PREFERRED = MIR_NET_ADDRESS_PREFERRED,   /* in full use */
    MIR__IFADDR_DEPRECATED = MIR_NET_ADDRESS_DEPRECATED, /* not for new connections */
    MIR__IFADDR_DUPLICATE = MIR_NET_ADDRESS_DUPLICATE,   /* somebody else has it: never used */
};

enum mir__ifaddr_origin {
    MIR__IFADDR_MANUAL = MIR_NET_ADDRESS_MANUAL,
    MIR__IFADDR_DHCP = MIR_NET_ADDRESS_DHCP,
    MIR__IFADDR_LINK_LOCAL = MIR_NET_ADDRESS_LINK_LOCAL,
    MIR__IFADDR_SLAAC = MIR_NET_ADDRESS_SLAAC,
    MIR__IFADDR_TEMPORARY = MIR_NET_ADDRESS_TEMPORARY,
};

struct mir__ifaddr {
    struct mir_ip ip;
    struct mir__iface *iface;
    uint8_t prefix_len; /* of its family: 1..32 or 1..128 */
    uint8_t state;      /* enum mir__ifaddr_state */
    uint8_t origin;     /* enum mir__ifaddr_origin */
    bool is_v4;
    bool has_group;                 /* its solicited-node group was joined */
    mir_time_us preferred_until_us; /* MIR_TIME_NEVER: no end */
    mir_time_us valid_until_us;
    struct mir_list link;   /* iface->addresses */
    struct mir_list bucket; /* net->ifaddr.buckets */
    /* Duplicate address detection (nd6.c). */
    struct mir_timer dad_timer;
    uint8_t dad_left;
    uint8_t dad_tries;
};

struct mir__ifaddr_state_table {
    struct mir_pool pool;
    uint32_t hash_key;
    uint32_t v4_count;
    uint32_t v6_count;
    struct mir_timer timer; /* the next end of a lifetime */
    struct mir_list buckets[MIR__IFADDR_BUCKETS];
};

struct mir__ifaddr_spec {
    struct mir_ip ip;
    uint8_t prefix_len; /* of its family */
    enum mir__ifaddr_origin origin;
    bool is_primary;                /* IPv4: before those that are there */
    mir_time_us preferred_until_us; /* 0 and MIR_TIME_NEVER: no end */
    mir_time_us valid_until_us;
};

int mir__ifaddr_init(struct mir_net *net, uint32_t addresses_max) MIR_CHECK;
void mir__ifaddr_fini(struct mir_net *net);
/** Give @iface one more address. IPv4 addresses are PREFERRED at once; for IPv6 detection of
 *  duplicates begins and the address is TENTATIVE until it ends (RFC 4862 section 5.4). The
 *  network of a manual, DHCP or link-local address becomes a connected route, unless the prefix is
 *  all of the address; what else is on the link is told by routers.
 *  @out may be NULL. 0, -MIR_EEXIST, -MIR_EINVAL (not one host's address), -MIR_ELIMIT. */
int mir__ifaddr_add(struct mir__iface *iface, const struct mir__ifaddr_spec *spec,
                    struct mir__ifaddr **out) MIR_CHECK;
/** Take it away; @addr is gone. */
void mir__ifaddr_remove(struct mir__ifaddr *addr);
/** Remove every address of @iface that has @origin. */
void mir__ifaddr_forget(struct mir__iface *iface, enum mir__ifaddr_origin origin);
/** Tells everybody that addresses changed. */
void mir__ifaddr_set_state(struct mir__ifaddr *addr, enum mir__ifaddr_state state);
/** When it becomes deprecated, and when it is removed; both happen by themselves. */
void mir__ifaddr_set_lifetimes(struct mir__ifaddr *addr, mir_time_us preferred_until_us,
                               mir_time_us valid_until_us);
/** In whatever state; NULL: not ours. O(1). */
struct mir__ifaddr *mir__ifaddr_find(const struct mir_net *net, const struct mir_ip *ip);
struct mir__ifaddr *mir__ifaddr_find4(const struct mir_net *net, uint32_t ip);
/** Can packets come to it and go from it? */
static inline bool mir__ifaddr_is_usable(const struct mir__ifaddr *addr)
{
    return addr->state == MIR__IFADDR_PREFERRED || addr->state == MIR__IFADDR_DEPRECATED;
}
/** The usable link-local IPv6 address of @iface, or NULL. */
struct mir__ifaddr *mir__ifaddr_link_local(const struct mir__iface *iface);
/** The IPv4 address of @iface to speak to @next_hop from: the one in its network, else the first;
 *  0: none. */
uint32_t mir__ifaddr_source4(const struct mir__iface *iface, uint32_t next_hop);
/** Is @ip the broadcast address of a network of @iface? */
bool mir__ifaddr_is_broadcast(const struct mir__iface *iface, uint32_t ip);

/* ---- group.c ------------------------------------------------------------------------------ */

/** A multicast group that an interface has joined. */
struct mir__group {
    struct mir_ip ip;
    struct mir__iface *iface;
    uint32_t refs; /* joins less leaves */
    struct mir_list link;
    struct mir_list bucket;
    /* Reports (igmp.c, mld6.c). */
    struct mir_timer timer;
    uint8_t reports_left;
    bool is_last_reporter;
};

struct mir__group_state {
    struct mir_pool pool;
    uint32_t hash_key;
    struct mir_list buckets[MIR__GROUP_BUCKETS];
};

int mir__group_init(struct mir_net *net, uint32_t groups_max) MIR_CHECK;
void mir__group_fini(struct mir_net *net);
/** Receive what is sent to @group on @iface. Counted: as many leaves as joins end it.
 *  0, -MIR_EINVAL (no group), -MIR_ELIMIT. */
int mir__group_join(struct mir__iface *iface, const struct mir_ip *group) MIR_CHECK;
/** Harmless for a group that was not joined. */
void mir__group_leave(struct mir__iface *iface, const struct mir_ip *group);
/** NULL: not joined there. O(1). */
struct mir__group *mir__group_find(const struct mir__iface *iface, const struct mir_ip *group);
/** Leave all, however often they were joined. */
void mir__group_forget(struct mir__iface *iface);
/** ff02::1:ffXX:XXXX of an IPv6 address (RFC 4291 section 2.7.1). */
struct mir_ip mir__ip6_solicited_node(const struct mir_ip *ip);

/* ---- what group.c and ifaddr.c tell the protocols ------------------------------------------ */

/** The first join or before the last leave of a group of this family; reports follow. */
void mir__mld6_group_joined(struct mir__group *group);
void mir__mld6_group_left(struct mir__group *group);
void mir__igmp_group_joined(struct mir__group *group);
void mir__igmp_group_left(struct mir__group *group);
/** The timer of a group that such a protocol has set. */
void mir__mld6_group_timer(struct mir__group *group);
void mir__igmp_group_timer(struct mir__group *group);

#endif
