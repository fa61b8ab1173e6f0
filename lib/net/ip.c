/* SPDX-License-Identifier: ISC */
/* Routing, output and transport checksums, for both address families.
 *
 * Routes are few: one connected network per interface and its gateway. A look-up walks the
 * interfaces; its answer is kept by whoever sends (struct mir__route) and stays valid until
 * route_generation changes, so the path of a packet has no look-up at all:
 *
 *   generation equal?  ->  push IP header  ->  neighbour fresh?  ->  copy its Ethernet header  ->
 * tx
 *
 * The connected network with the longest prefix wins, then a gateway; among equals the interface
 * that owns the source address, then the first. A source address that is not ours gives no route.
 *
 * IPv6 is refused with -MIR_ENETUNREACH: the types carry it, the files below do not exist yet. A
 * packet to ourselves has no route either: there is no loopback interface.
 *
 * Source: RFC 1122 section 3.3.1; RFC 791; RFC 919 and 922 for broadcasts.
 */
#include "lib/net/net_state.h"

bool mir__ip_is_local(const struct mir_net *net, const struct mir_ip *ip)
{
    if (!mir_ip_is_v4(ip))
        return false;
    uint32_t addr = mir_ip_to_v4(ip);
    for (uint32_t i = 0; i < net->iface_count && addr != 0; i++) {
        if (net->ifaces[i].ip == addr)
            return true;
    }
    return false;
}

/* How good is @iface for @dst? 0 = not at all; prefix length + 2 when connected; 1 by gateway. */
static int rate(const struct mir__iface *iface, uint32_t dst)
{
    if (iface->ip == 0)
        return 0;
    if (dst == UINT32_MAX || mir__ip4_is_multicast(dst))
        return 1;
    if (mir__iface_is_on_link(iface, dst))
        return (int)mir_popcount32(iface->mask) + 2;
    return iface->gateway != 0 ? 1 : 0;
}

static struct mir__iface *choose_iface(struct mir_net *net, uint32_t dst, uint32_t src)
{
    struct mir__iface *best = NULL;
    int best_rating = 0;
    for (uint32_t i = 0; i < net->iface_count; i++) {
        struct mir__iface *iface = &net->ifaces[i];
        /* Doubled, so that owning the source address decides between equals only. */
        int rating = 2 * rate(iface, dst);
        if (rating > 0 && src != 0 && iface->ip == src)
            rating++;
        if (rating > best_rating) {
            best = iface;
            best_rating = rating;
        }
    }
    return best;
}

int mir__ip_route(struct mir_net *net, const struct mir_ip *dst, struct mir_ip *src,
                  struct mir__route *route)
{
    bool has_src = !mir_ip_is_any(src);
    route->iface = NULL;
    if (!mir_ip_is_v4(dst) || (has_src && !mir__ip_is_local(net, src))) {
        net->counters.ip_no_route++;
        return -MIR_ENETUNREACH;
    }
    uint32_t to = mir_ip_to_v4(dst);
    struct mir__iface *iface = choose_iface(net, to, has_src ? mir_ip_to_v4(src) : 0);
    if (iface == NULL || to >> 24 == 0 || mir__ip4_is_loopback(to) || mir__ip_is_local(net, dst)) {
        net->counters.ip_no_route++;
        return -MIR_ENETUNREACH;
    }
    bool is_direct =
        mir__iface_is_on_link(iface, to) || to == UINT32_MAX || mir__ip4_is_multicast(to);
    *route = (struct mir__route){
        .iface = iface,
        .generation = net->route_generation,
        .next_hop4 = is_direct ? to : iface->gateway,
        .mtu = iface->mtu,
        .ip_header_len = MIR__IP4_HEADER_LEN,
        .caps = iface->dev->info.caps,
    };
    if ((route->caps & MIR_NET_TX_TSO4) && iface->dev->info.gso_max > MIR__ETH_HEADER_LEN)
        route->gso_max = MIR_MIN(iface->dev->info.gso_max - MIR__ETH_HEADER_LEN, 65535u);
    if (iface->broadcast != 0 && to == iface->broadcast)
        route->next_hop4 = UINT32_MAX;
    struct mir_ip next_hop = mir_ip_from_v4(route->next_hop4);
    route->neighbour =
        route->next_hop4 == UINT32_MAX ? &iface->to_all : mir__neigh_keep(net, iface, &next_hop);
    if (!has_src)
        *src = mir_ip_from_v4(iface->ip);
    return 0;
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
    uint32_t total = mir_buf_total(buf_given) + MIR__IP4_HEADER_LEN;
    bool is_gso = (buf_given->flags & MIR_BUF_GSO_TCP4) != 0;
    if (MIR_UNLIKELY(total > (is_gso ? route->gso_max : route->mtu))) {
        if (!is_gso && !params->dont_fragment)
            return mir__frag4_output(net, route, params, buf_given);
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
    if ((route->caps & MIR_NET_TX_CSUM) && is_whole) {
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

uint32_t mir__ip_tx_room(const struct mir__route *route)
{
    return route->iface != NULL ? mir_net_dev_tx_room(route->iface->dev) : 0;
}
