/* SPDX-License-Identifier: ISC */
/* Addresses of interfaces: several each, of both families.
 *
 * An address is in the list of its interface, oldest first, and in one hash over all interfaces:
 * the question "is this ours?" is one look-up. The hash is keyed, so that nobody who may choose
 * addresses for us (a router, a DHCP server) can fill one bucket.
 *
 *          add (IPv6)              nobody objects             preferred lifetime over
 *     ─────────────────> TENTATIVE ───────────────> PREFERRED ───────────────────────> DEPRECATED
 *                            │                       ^    │ valid lifetime over             │
 *                            v somebody has it       │    └────────────> removed <──────────┘
 *                        DUPLICATE        add (IPv4) ┘
 *
 * The first IPv4 address of an interface is its primary one: its copy in the interface (ip, mask,
 * broadcast) is what the fast path of input compares with, what ARP speaks for and what broadcasts
 * leave from. IPv4 conflicts are ARP's business (RFC 5227).
 *
 * Every IPv6 address joins its solicited-node group. An address that is taken away takes its
 * connected route with it. Each change makes kept routes invalid and wakes stack.address_ready.
 *
 * Limits: a pool with a number of its own; an address beyond it is refused.
 *
 * Source: RFC 1122 section 3.3.4, RFC 4862 section 5.5.4 (lifetimes), RFC 4291 section 2.8.
 */
#include "lib/net/net_state.h"

static struct mir_list *bucket_of(const struct mir_net *net, const struct mir_ip *ip)
{
    uint64_t low = mir_get_be64(ip->bytes + 8) ^ net->ifaddr.hash_key;
    uint64_t high = mir_get_be64(ip->bytes);
    uint64_t h = (low ^ high * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
    return (struct mir_list *)(uintptr_t)&net->ifaddr.buckets[h >> 58];
}
_Static_assert(MIR__IFADDR_BUCKETS == 64, "six bits of the hash");

struct mir__ifaddr *mir__ifaddr_find(const struct mir_net *net, const struct mir_ip *ip)
{
    const struct mir_list *bucket = bucket_of(net, ip);
    for (struct mir_list *node = bucket->next; node != bucket; node = node->next) {
        struct mir__ifaddr *addr = MIR_CONTAINER_OF(node, struct mir__ifaddr, bucket);
        if (mir_ip_equal(&addr->ip, ip))
            return addr;
    }
    return NULL;
}

struct mir__ifaddr *mir__ifaddr_find4(const struct mir_net *net, uint32_t ip)
{
    struct mir_ip key = mir_ip_from_v4(ip);
    return mir__ifaddr_find(net, &key);
}

struct mir__ifaddr *mir__ifaddr_link_local(const struct mir__iface *iface)
{
    mir_list_for_each (node, &iface->addresses) {
        struct mir__ifaddr *addr = MIR_CONTAINER_OF(node, struct mir__ifaddr, link);
        if (!addr->is_v4 && mir__ip6_is_link_local(&addr->ip) && mir__ifaddr_is_usable(addr))
            return addr;
    }
    return NULL;
}

/* RFC 3021: a /31 has two hosts and no broadcast address. */
static uint32_t broadcast_of(const struct mir__ifaddr *addr)
{
    if (addr->prefix_len >= 31)
        return 0;
    return mir_ip_to_v4(&addr->ip) | UINT32_MAX >> addr->prefix_len;
}

bool mir__ifaddr_is_broadcast(const struct mir__iface *iface, uint32_t ip)
{
    mir_list_for_each (node, &iface->addresses) {
        struct mir__ifaddr *addr = MIR_CONTAINER_OF(node, struct mir__ifaddr, link);
        if (addr->is_v4 && broadcast_of(addr) == ip && ip != 0)
            return true;
    }
    return false;
}

uint32_t mir__ifaddr_source4(const struct mir__iface *iface, uint32_t next_hop)
{
    if (MIR_LIKELY(((next_hop ^ iface->ip) & iface->mask) == 0))
        return iface->ip;
    mir_list_for_each (node, &iface->addresses) {
        const struct mir__ifaddr *addr = MIR_CONTAINER_OF(node, struct mir__ifaddr, link);
        uint32_t ip = mir_ip_to_v4(&addr->ip);
        if (addr->is_v4 && ((next_hop ^ ip) & UINT32_MAX << (32 - addr->prefix_len)) == 0)
            return ip;
    }
    return iface->ip;
}

/* ---- changes ------------------------------------------------------------------------------- */

/* The interface's own copy follows its first IPv4 address. */
static void copy_primary(struct mir__iface *iface)
{
    iface->ip = iface->mask = iface->broadcast = 0;
    mir_list_for_each (node, &iface->addresses) {
        struct mir__ifaddr *addr = MIR_CONTAINER_OF(node, struct mir__ifaddr, link);
        if (!addr->is_v4)
            continue;
        iface->ip = mir_ip_to_v4(&addr->ip);
        iface->mask = UINT32_MAX << (32 - addr->prefix_len);
        iface->broadcast = broadcast_of(addr);
        break;
    }
}

static void tell(struct mir_net *net)
{
    mir__net_routes_changed(net);
    mir__tcp_addresses_changed(net);
    mir_wait_wake_all(&net->stack.address_ready);
}

static bool is_host(const struct mir__ifaddr_spec *spec)
{
    if (!mir_ip_is_v4(&spec->ip))
        return spec->prefix_len >= 1 && spec->prefix_len <= 128 && mir__ip6_is_host(&spec->ip);
    uint32_t ip = mir_ip_to_v4(&spec->ip);
    if (spec->prefix_len < 1 || spec->prefix_len > 32 || !mir__ip4_is_host(ip))
        return false;
    uint32_t host_mask = spec->prefix_len == 32 ? 0 : UINT32_MAX >> spec->prefix_len;
    bool is_end = spec->prefix_len < 31 && ((ip & host_mask) == 0 || (~ip & host_mask) == 0);
    return !is_end;
}

static bool has_connected_route(const struct mir__ifaddr *addr)
{
    bool is_known_here = addr->origin == MIR__IFADDR_MANUAL ||
                         addr->origin == MIR__IFADDR_LINK_LOCAL ||
                         (addr->origin == MIR__IFADDR_DHCP && addr->is_v4);
    return is_known_here && addr->prefix_len < (addr->is_v4 ? 32 : 128);
}

static struct mir__route_spec connected_route(const struct mir__ifaddr *addr)
{
    return (struct mir__route_spec){
        .prefix = addr->ip,
        .prefix_len = addr->prefix_len,
        .gateway = addr->is_v4 ? mir_ip_from_v4(0) : (struct mir_ip){{0}},
        .iface = addr->iface,
        .origin = MIR__ROUTE_CONNECTED,
    };
}

/* Another address of the interface may be in the same network. */
static bool is_network_shared(const struct mir__ifaddr *addr)
{
    mir_list_for_each (node, &addr->iface->addresses) {
        struct mir__ifaddr *other = MIR_CONTAINER_OF(node, struct mir__ifaddr, link);
        if (other != addr && other->is_v4 == addr->is_v4 && has_connected_route(other) &&
            other->prefix_len == addr->prefix_len &&
            mir__ip_prefix_equal(&other->ip, &addr->ip, addr->prefix_len + (addr->is_v4 ? 96u : 0)))
            return true;
    }
    return false;
}

/* ---- lifetimes ----------------------------------------------------------------------------- */

static mir_time_us next_event(const struct mir__ifaddr *addr)
{
    return addr->state == MIR__IFADDR_PREFERRED
               ? MIR_MIN(addr->preferred_until_us, addr->valid_until_us)
               : addr->valid_until_us;
}

static void arm_timer(struct mir_net *net)
{
    mir_time_us next_us = MIR_TIME_NEVER;
    for (uint32_t i = 0; i < net->iface_count; i++) {
        mir_list_for_each (node, &net->ifaces[i].addresses)
            next_us =
                MIR_MIN(next_us, next_event(MIR_CONTAINER_OF(node, struct mir__ifaddr, link)));
    }
    mir_timer_set(net->loop, &net->ifaddr.timer, next_us);
}

static void on_timer(void *arg)
{
    struct mir_net *net = arg;
    mir_time_us now_us = mir_loop_now(net->loop);
    for (uint32_t i = 0; i < net->iface_count; i++) {
        mir_list_for_each (node, &net->ifaces[i].addresses) {
            struct mir__ifaddr *addr = MIR_CONTAINER_OF(node, struct mir__ifaddr, link);
            if (addr->valid_until_us <= now_us)
                mir__ifaddr_remove(addr);
            else if (addr->state == MIR__IFADDR_PREFERRED && addr->preferred_until_us <= now_us)
                mir__ifaddr_set_state(addr, MIR__IFADDR_DEPRECATED);
        }
    }
    arm_timer(net);
}

void mir__ifaddr_set_lifetimes(struct mir__ifaddr *addr, mir_time_us preferred_until_us,
                               mir_time_us valid_until_us)
{
    struct mir_net *net = addr->iface->net;
    addr->preferred_until_us = preferred_until_us;
    addr->valid_until_us = valid_until_us;
    if (addr->state == MIR__IFADDR_DEPRECATED && preferred_until_us > mir_loop_now(net->loop))
        mir__ifaddr_set_state(addr, MIR__IFADDR_PREFERRED);
    arm_timer(net);
}

/* ---- add and remove ------------------------------------------------------------------------ */

static void on_dad_timer(void *arg)
{
    mir__nd6_dad_timer(arg);
}

int mir__ifaddr_add(struct mir__iface *iface, const struct mir__ifaddr_spec *spec,
                    struct mir__ifaddr **out)
{
    struct mir_net *net = iface->net;
    bool is_v4 = mir_ip_is_v4(&spec->ip);
    if (!is_host(spec) || (!is_v4 && iface->ip6_mode == MIR_IP6_OFF))
        return -MIR_EINVAL;
    if (mir__ifaddr_find(net, &spec->ip) != NULL)
        return -MIR_EEXIST;
    struct mir__ifaddr *addr = mir_pool_alloc(&net->ifaddr.pool);
    if (addr == NULL)
        return -MIR_ELIMIT;
    *addr = (struct mir__ifaddr){
        .ip = spec->ip,
        .iface = iface,
        .prefix_len = spec->prefix_len,
        .state = is_v4 ? MIR__IFADDR_PREFERRED : MIR__IFADDR_TENTATIVE,
        .origin = (uint8_t)spec->origin,
        .is_v4 = is_v4,
        .preferred_until_us =
            spec->preferred_until_us != 0 ? spec->preferred_until_us : MIR_TIME_NEVER,
        .valid_until_us = spec->valid_until_us != 0 ? spec->valid_until_us : MIR_TIME_NEVER,
    };
    mir_timer_init(&addr->dad_timer, on_dad_timer, addr);
    if (has_connected_route(addr)) {
        struct mir__route_spec route = connected_route(addr);
        int r = mir__route_add(net, &route, NULL);
        if (r < 0) {
            mir_pool_free(&net->ifaddr.pool, addr);
            return r;
        }
    }
    if (spec->is_primary)
        mir_list_push_front(&iface->addresses, &addr->link);
    else
        mir_list_push_back(&iface->addresses, &addr->link);
    mir_list_push_front(bucket_of(net, &addr->ip), &addr->bucket);
    if (is_v4) {
        net->ifaddr.v4_count++;
        copy_primary(iface);
    } else {
        net->ifaddr.v6_count++;
    }
    if (out != NULL)
        *out = addr;
    tell(net);
    arm_timer(net);
    if (!is_v4) {
        struct mir_ip group = mir__ip6_solicited_node(&addr->ip);
        /* Without memory for the group the address still works for whoever knows our MAC. */
        addr->has_group = mir__group_join(iface, &group) == 0;
        mir__nd6_dad_start(addr);
    }
    return 0;
}

void mir__ifaddr_remove(struct mir__ifaddr *addr)
{
    struct mir__iface *iface = addr->iface;
    struct mir_net *net = iface->net;
    mir_timer_cancel(&addr->dad_timer);
    if (addr->is_v4)
        mir__acd4_forget(iface, mir_ip_to_v4(&addr->ip));
    if (has_connected_route(addr) && !is_network_shared(addr)) {
        struct mir__route_spec route = connected_route(addr);
        (void)mir__route_remove(net, &route);
    }
    mir_list_remove(&addr->link);
    mir_list_remove(&addr->bucket);
    if (addr->is_v4) {
        if (iface->set_ip == mir_ip_to_v4(&addr->ip))
            iface->set_ip = 0;
        net->ifaddr.v4_count--;
        copy_primary(iface);
    } else {
        struct mir_ip group = mir__ip6_solicited_node(&addr->ip);
        net->ifaddr.v6_count--;
        if (addr->has_group)
            mir__group_leave(iface, &group);
    }
    mir_pool_free(&net->ifaddr.pool, addr);
    tell(net);
    arm_timer(net);
}

void mir__ifaddr_forget(struct mir__iface *iface, enum mir__ifaddr_origin origin)
{
    mir_list_for_each (node, &iface->addresses) {
        struct mir__ifaddr *addr = MIR_CONTAINER_OF(node, struct mir__ifaddr, link);
        if (addr->origin == origin)
            mir__ifaddr_remove(addr);
    }
}

void mir__ifaddr_set_state(struct mir__ifaddr *addr, enum mir__ifaddr_state state)
{
    struct mir_net *net = addr->iface->net;
    if (addr->state == state)
        return;
    addr->state = (uint8_t)state;
    tell(net);
    arm_timer(net);
}

/* ---- life ---------------------------------------------------------------------------------- */

int mir__ifaddr_init(struct mir_net *net, uint32_t addresses_max)
{
    struct mir__ifaddr_state_table *table = &net->ifaddr;
    for (uint32_t i = 0; i < MIR__IFADDR_BUCKETS; i++)
        mir_list_init(&table->buckets[i]);
    table->hash_key = mir_rng_u32(net->rng);
    mir_timer_init(&table->timer, on_timer, net);
    return mir_pool_init(&table->pool, "addresses", net->pages, sizeof(struct mir__ifaddr),
                         addresses_max);
}

void mir__ifaddr_fini(struct mir_net *net)
{
    for (uint32_t i = 0; i < net->iface_count; i++) {
        mir_list_for_each (node, &net->ifaces[i].addresses)
            mir__ifaddr_remove(MIR_CONTAINER_OF(node, struct mir__ifaddr, link));
    }
    mir_timer_cancel(&net->ifaddr.timer);
    mir_pool_fini(&net->ifaddr.pool);
}

/* ---- public -------------------------------------------------------------------------------- */

int mir_net_add_address(struct mir_net *net, uint32_t if_index,
                        const struct mir_net_prefix *address)
{
    struct mir__iface *iface = mir__net_iface(net, if_index);
    if (iface == NULL)
        return -MIR_ENOENT;
    struct mir__ifaddr_spec spec = {
        .ip = address->ip, .prefix_len = address->prefix_len, .origin = MIR__IFADDR_MANUAL};
    return mir__ifaddr_add(iface, &spec, NULL);
}

int mir_net_remove_address(struct mir_net *net, const struct mir_ip *ip)
{
    struct mir__ifaddr *addr = mir__ifaddr_find(net, ip);
    if (addr == NULL)
        return -MIR_ENOENT;
    struct mir__iface *iface = addr->iface;
    uint32_t v4 = addr->is_v4 ? mir_ip_to_v4(ip) : 0;
    /* Nobody defends it any more. */
    if (v4 != 0 && iface->acd.ip == v4)
        mir__acd4_stop(&iface->acd);
    if (v4 != 0 && iface->linklocal4.ip == v4)
        mir__linklocal4_stop(iface);
    else
        mir__ifaddr_remove(addr);
    return 0;
}

void mir_net_each_address(const struct mir_net *net,
                          void (*each)(void *arg, const struct mir_net_address *address), void *arg)
{
    for (uint32_t i = 0; i < net->iface_count; i++) {
        mir_list_for_each (node, &net->ifaces[i].addresses) {
            const struct mir__ifaddr *addr = MIR_CONTAINER_OF(node, struct mir__ifaddr, link);
            struct mir_net_address told = {
                .ip = addr->ip,
                .prefix_len = addr->prefix_len,
                .if_index = i + 1,
                .state = (enum mir_net_address_state)addr->state,
                .origin = (enum mir_net_address_origin)addr->origin,
                .preferred_until_us = addr->preferred_until_us,
                .valid_until_us = addr->valid_until_us,
            };
            each(arg, &told);
        }
    }
}
