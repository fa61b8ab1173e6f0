/* SPDX-License-Identifier: ISC */
/* Routing, output and transport checksums, for both address families.
 *
 * A look-up asks the routing table (route.c) and the path-MTU cache (pmtu.c) once; its answer is
 * kept by whoever sends (struct mir__route) and stays valid until route_generation changes, so the
 * path of a packet has no look-up at all:
 *
 *   generation equal?  ->  push IP header  ->  neighbour fresh?  ->  copy its Ethernet header  ->
 * tx
 *
 * The longest prefix wins; among equals the interface that owns the source address, then the
 * metric. A source address that is not ours, or not usable yet, gives no route. Groups and the
 * limited broadcast leave over the owner of the source address, else over the first interface.
 *
 * A packet to ourselves goes over an interface that nobody sees (self.c), and so do 127.0.0.0/8 and
 * ::1, which nothing else can reach.
 *
 * Source: RFC 1122 section 3.3.1; RFC 791; RFC 919 and 922 for broadcasts; RFC 4861 section 5.2;
 * RFC 4007 section 9.
 */
#include "lib/net/net_state.h"

/* No path of today takes less. Whoever says so may want us to send many small packets: routers may
 * then fragment (RFC 1191 section 3, RFC 5927 section 7.2). */
#define PATH_MTU_MIN ((uint16_t)576)

bool mir__ip_is_local(const struct mir_net *net, const struct mir_ip *ip)
{
    const struct mir__ifaddr *addr = mir__ifaddr_find(net, ip);
    return addr != NULL && mir__ifaddr_is_usable(addr);
}

bool mir__ip_is_bindable(const struct mir_net *net, const struct mir_ip *ip)
{
    return mir__self_is(net, ip);
}

static void use_iface(struct mir__route *route, struct mir__iface *iface, uint8_t header_len)
{
    const struct mir_net_dev_info *info = &iface->dev->info;
    uint32_t tso = header_len == MIR__IP4_HEADER_LEN ? MIR_NET_TX_TSO4 : MIR_NET_TX_TSO6;
    *route = (struct mir__route){
        .iface = iface,
        .generation = iface->net->route_generation,
        .mtu = header_len == MIR__IP4_HEADER_LEN ? iface->mtu : iface->mtu6,
        .ip_header_len = header_len,
        .caps = info->caps,
    };
    if ((info->caps & tso) && info->gso_max > MIR__ETH_HEADER_LEN)
        route->gso_max = MIR_MIN(info->gso_max - MIR__ETH_HEADER_LEN, 65535u);
}

static void set_next_hop4(struct mir__route *route, uint32_t next_hop)
{
    struct mir__iface *iface = route->iface;
    bool is_to_all = next_hop == UINT32_MAX ||
                     (iface->broadcast != 0 && next_hop == iface->broadcast) ||
                     (iface->net->ifaddr.v4_count > 1 && mir__ifaddr_is_broadcast(iface, next_hop));
    route->next_hop4 = is_to_all ? UINT32_MAX : next_hop;
    struct mir_ip ip = mir_ip_from_v4(next_hop);
    route->neighbour = is_to_all ? &iface->to_all : mir__neigh_keep(iface->net, iface, &ip);
}

void mir__ip_route_on_link(struct mir__iface *iface, const struct mir_ip *dst,
                           struct mir__route *route)
{
    if (MIR_UNLIKELY(iface == &iface->net->self.iface)) {
        mir__self_route(iface->net, dst, route);
    } else if (mir_ip_is_v4(dst)) {
        use_iface(route, iface, MIR__IP4_HEADER_LEN);
        set_next_hop4(route, mir_ip_to_v4(dst));
    } else {
        use_iface(route, iface, MIR__IP6_HEADER_LEN);
        route->next_hop6 = *dst;
    }
}

/* Groups and the limited broadcast have no place in the table: over the owner of the source
 * address, else over the first interface that has one of the family. */
static struct mir__iface *iface_for_group(struct mir_net *net, bool is_v4,
                                          struct mir__iface *src_iface)
{
    if (src_iface != NULL)
        return src_iface;
    for (uint32_t i = 0; i < net->iface_count; i++) {
        struct mir__iface *iface = &net->ifaces[i];
        struct mir_ip any_dst = {{0xff, 2}}, src;
        if (is_v4 ? iface->ip != 0 : mir__ip6_select_source(iface, &any_dst, &src))
            return iface;
    }
    return NULL;
}

static void lower_mtu(struct mir_net *net, const struct mir_ip *dst, uint16_t entry_mtu,
                      struct mir__route *route)
{
    uint16_t path_mtu = mir__pmtu_find(net, dst);
    if (entry_mtu != 0)
        route->mtu = MIR_MIN(route->mtu, entry_mtu);
    if (path_mtu != 0)
        route->mtu = MIR_MIN(route->mtu, MIR_MAX(path_mtu, PATH_MTU_MIN));
}

static int route4(struct mir_net *net, const struct mir_ip *dst, struct mir__ifaddr *from,
                  struct mir_ip *src, struct mir__route *route)
{
    uint32_t to = mir_ip_to_v4(dst);
    struct mir__iface *src_iface = from != NULL ? from->iface : NULL;
    if (to >> 24 == 0)
        return -MIR_ENETUNREACH;
    if (to == UINT32_MAX || mir__ip4_is_multicast(to)) {
        struct mir__iface *iface = iface_for_group(net, true, src_iface);
        if (iface == NULL)
            return -MIR_ENETUNREACH;
        mir__ip_route_on_link(iface, dst, route);
    } else {
        const struct mir__route_entry *entry = mir__route_find(net, dst, src_iface);
        if (entry == NULL)
            return -MIR_ENETUNREACH;
        use_iface(route, entry->iface, MIR__IP4_HEADER_LEN);
        /* Never to a router what is of this link only (RFC 3927 section 2.6.2). */
        bool is_direct = mir_ip_is_any(&entry->gateway) || mir__ip4_is_link_local(to);
        set_next_hop4(route, is_direct ? to : mir_ip_to_v4(&entry->gateway));
        lower_mtu(net, dst, entry->mtu, route);
    }
    if (from == NULL)
        *src = mir_ip_from_v4(mir__ifaddr_source4(route->iface, route->next_hop4));
    return 0;
}

static int route6(struct mir_net *net, const struct mir_ip *dst, struct mir__ifaddr *from,
                  struct mir_ip *src, struct mir__route *route)
{
    struct mir__iface *src_iface = from != NULL ? from->iface : NULL;
    if (mir__ip6_is_multicast(dst)) {
        struct mir__iface *iface = iface_for_group(net, false, src_iface);
        if (iface == NULL)
            return -MIR_ENETUNREACH;
        mir__ip_route_on_link(iface, dst, route);
    } else {
        const struct mir__route_entry *entry = mir__route_find(net, dst, src_iface);
        if (entry == NULL || !mir__ip6_is_host(dst))
            return -MIR_ENETUNREACH;
        /* A link-local address means another host on every link (RFC 4007 section 9). */
        if (from != NULL && mir__ip6_is_link_local(&from->ip) && entry->iface != src_iface)
            return -MIR_ENETUNREACH;
        use_iface(route, entry->iface, MIR__IP6_HEADER_LEN);
        route->next_hop6 = mir_ip_is_any(&entry->gateway) ? *dst : entry->gateway;
        lower_mtu(net, dst, entry->mtu, route);
    }
    if (from != NULL)
        return 0;
    if (!mir__ip6_select_source(route->iface, dst, src))
        return -MIR_ENETUNREACH;
    /* No router lets it pass (RFC 4291 section 2.5.6): not before there is a better one. */
    bool is_routed = !mir_ip_equal(&route->next_hop6, dst);
    return is_routed && mir__ip6_is_link_local(src) ? -MIR_ENETUNREACH : 0;
}

/* Between addresses of ours, whatever interface they are of. */
static int route_self(struct mir_net *net, const struct mir_ip *dst, struct mir_ip *src,
                      struct mir__route *route)
{
    if (mir_ip_is_any(src))
        mir__self_source(dst, src);
    else if (mir_ip_is_v4(src) != mir_ip_is_v4(dst) || !mir__self_is(net, src))
        return -MIR_ENETUNREACH;
    mir__self_route(net, dst, route);
    return 0;
}

/* To others, from @src if it is one of ours that they could answer to. */
static int route_out(struct mir_net *net, const struct mir_ip *dst, struct mir_ip *src,
                     struct mir__route *route)
{
    struct mir__ifaddr *from = NULL;
    if (!mir_ip_is_any(src)) {
        from = mir__ifaddr_find(net, src);
        if (from == NULL || !mir__ifaddr_is_usable(from) || from->is_v4 != mir_ip_is_v4(dst))
            return -MIR_ENETUNREACH;
    }
    return mir_ip_is_v4(dst) ? route4(net, dst, from, src, route)
                             : route6(net, dst, from, src, route);
}

int mir__ip_route(struct mir_net *net, const struct mir_ip *dst, struct mir_ip *src,
                  struct mir__route *route)
{
    route->iface = NULL;
    struct mir_ip chosen = *src;
    int r = MIR_UNLIKELY(mir__self_is(net, dst)) ? route_self(net, dst, &chosen, route)
                                                 : route_out(net, dst, &chosen, route);
    if (r < 0) {
        route->iface = NULL;
        net->counters.ip_no_route++;
        return r;
    }
    *src = chosen;
    return 0;
}

int mir__ip_route_soon(struct mir_net *net, const struct mir_ip *dst, struct mir_ip *src,
                       struct mir__route *route)
{
    const struct mir__ifaddr *from = mir_ip_is_any(src) ? NULL : mir__ifaddr_find(net, src);
    const struct mir__iface *iface = from != NULL ? from->iface : NULL;
    bool is_possible = !mir_ip_is_v4(dst) && mir__ip6_is_host(dst);
    route->iface = NULL;
    if (mir_ip_is_any(src) != (from == NULL))
        is_possible = false; /* it is gone */
    const struct mir__route_entry *entry = is_possible ? mir__route_find(net, dst, iface) : NULL;
    if (entry == NULL || (from != NULL && from->state != MIR__IFADDR_TENTATIVE))
        return -MIR_ENETUNREACH;
    if (from == NULL && !mir__ip6_select_soon(entry->iface, dst, src))
        return -MIR_ENETUNREACH;
    if (mir__ip6_is_link_local(src) &&
        (!mir_ip_is_any(&entry->gateway) || (iface != NULL && iface != entry->iface)))
        return -MIR_ENETUNREACH;
    use_iface(route, entry->iface, MIR__IP6_HEADER_LEN);
    route->next_hop6 = *dst;
    lower_mtu(net, dst, entry->mtu, route);
    route->generation = 0; /* which never is the present one */
    return 0;
}

void mir__ip_refuse_port(struct mir_net *net, const struct mir__ip_meta *meta,
                         const struct mir_buf *buf)
{
    if (mir_ip_is_v4(&meta->dst))
        mir__icmp4_send_error(net, meta, buf, MIR__ICMP4_UNREACHABLE, MIR__ICMP4_PORT, 0);
    else
        mir__icmp6_send_error(net, meta, buf, MIR__ICMP6_UNREACHABLE, MIR__ICMP6_PORT, 0);
}

int mir__ip_route_refresh(struct mir_net *net, const struct mir_ip *dst, struct mir_ip *src,
                          struct mir__route *route)
{
    if (MIR_LIKELY(route->iface != NULL && route->generation == net->route_generation))
        return 0;
    return mir__ip_route(net, dst, src, route);
}

int mir__ip_output(struct mir_net *net, struct mir__route *route,
                   const struct mir__ip_params *params, struct mir_buf *buf_given)
{
    if (MIR_UNLIKELY(route->iface == NULL)) {
        net->counters.ip_no_route++;
        mir_buf_release(buf_given);
        return -MIR_ENETUNREACH;
    }
    if (MIR_UNLIKELY(route->ip_header_len != MIR__IP4_HEADER_LEN))
        return mir__ip6_output(net, route, params, buf_given);
    uint32_t total = mir_buf_total(buf_given) + MIR__IP4_HEADER_LEN;
    bool is_gso = (buf_given->flags & MIR_BUF_GSO_TCP4) != 0;
    if (MIR_UNLIKELY(total > (is_gso ? route->gso_max : route->mtu))) {
        if (!is_gso && !params->dont_fragment)
            return mir__frag_output(net, route, params, buf_given);
        net->counters.ip_too_big++;
        mir_buf_release(buf_given);
        return -MIR_ETOOBIG;
    }
    /* An atomic datagram needs no identification (RFC 6864 section 4.1). */
    uint16_t id = params->dont_fragment ? 0 : mir__ip4_next_id(net);
    mir__ip4_push_header(buf_given, params, id, params->dont_fragment ? MIR__IP4_DF : 0);
    net->counters.ip_out++;
    return mir__ip4_send(net, route, buf_given);
}

void mir__ip_transport_checksum(const struct mir__route *route, const struct mir_ip *src,
                                const struct mir_ip *dst, uint8_t protocol, struct mir_buf *buf,
                                uint16_t csum_offset)
{
    uint32_t total = mir_buf_total(buf);
    bool is_whole = (buf->flags & (MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6)) != 0 ||
                    total + route->ip_header_len <= route->mtu;
    uint16_t sum = mir__csum_pseudo(src, dst, protocol, total);
    MIR_ASSERT_OP(csum_offset + 2u, <=, buf->len);
    /* Devices promise it for TCP and UDP alone. */
    if ((route->caps & MIR_NET_TX_CSUM) && is_whole && protocol != MIR__IP6_ICMP) {
        buf->flags |= MIR_BUF_CSUM_PARTIAL;
        buf->csum_start = (uint16_t)(MIR__ETH_HEADER_LEN + route->ip_header_len);
        buf->csum_offset = csum_offset;
    } else {
        sum = (uint16_t)~mir__csum_add(sum, mir__csum_buf(buf, 0));
    }
    mir_memcpy(buf->data + csum_offset, &sum, sizeof sum);
}

bool mir__ip_transport_checksum_ok(const struct mir__ip_meta *meta, uint8_t protocol,
                                   const struct mir_buf *buf)
{
#ifdef MIR_FUZZING
    (void)meta;
    (void)protocol;
    (void)buf;
    return true;
#else
    if (buf->flags & (MIR_BUF_CSUM_VALID | MIR_BUF_CSUM_PARTIAL))
        return true;
    uint16_t sum = mir__csum_pseudo(&meta->src, &meta->dst, protocol, mir_buf_total(buf));
    return mir__csum_add(sum, mir__csum_buf(buf, 0)) == 0xffff;
#endif
}

uint16_t mir__ip_link_mtu(const struct mir__route *route)
{
    return route->ip_header_len == MIR__IP4_HEADER_LEN ? route->iface->mtu : route->iface->mtu6;
}

void mir__ip_confirm(struct mir_net *net, const struct mir__route *route)
{
    struct mir__neigh *neigh = route->neighbour;
    if (MIR_LIKELY(net->neigh.unconfirmed_count == 0))
        return;
    if (neigh != NULL && route->generation == net->route_generation &&
        (neigh->state == MIR__NEIGH_DELAY || neigh->state == MIR__NEIGH_PROBE))
        mir__neigh_confirm(net, neigh);
}

uint32_t mir__ip_tx_room(const struct mir__route *route)
{
    if (MIR_UNLIKELY(route->iface == NULL))
        return 0;
    uint32_t room = mir_net_dev_tx_room(route->iface->dev);
    if (MIR_UNLIKELY(room == 0))
        route->iface->is_tx_full = true;
    return room;
}

bool mir__ip_is_tx_full(const struct mir__route *route)
{
    return route->iface != NULL && route->iface->is_tx_full;
}

bool mir__ip_may_send(struct mir_net *net, const struct mir__route *route)
{
    if (MIR_LIKELY(route->iface == NULL || mir_net_dev_tx_room(route->iface->dev) > 0))
        return true;
    net->counters.tx_no_room++;
    return false;
}
