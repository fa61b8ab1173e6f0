/* SPDX-License-Identifier: ISC */
/* IPv4: input, headers, link output (RFC 791, RFC 1122 section 3.2.1).
 *
 * Input drops, in this order and each with a counter: malformed headers, wrong header checksums,
 * source routes (RFC 7126 section 4.3), addresses that cannot be there (martians), and packets for
 * others. Options other than source routes are skipped: the transport begins behind them. Broadcast
 * and multicast go to UDP only. Every address of ours is accepted on every interface (weak model,
 * RFC 1122 section 3.3.4.2), but not our own address as a source.
 *
 * While DHCP has no address yet, a unicast packet to whatever address is accepted if it is for the
 * DHCP client: the server sends to the address that it is about to give.
 *
 * Identifications come from a counter that goes through a keyed permutation of 16 bits: none
 * repeats within 65,536 packets, and none tells how many were sent (RFC 7739 section 5.3).
 *
 * Not done: forwarding, TOS routing.
 */
#include "lib/net/net_state.h"

/* ---- output ------------------------------------------------------------------------------- */

uint16_t mir__ip4_next_id(struct mir_net *net)
{
    uint32_t key = net->ip_id_key;
    uint32_t id = net->ip_id++ ^ (key & 0xffff);
    /* Each step can be undone modulo 65,536, so all together are a permutation: a product with an
     * odd number, and a word xored with its own upper half. */
    id = id * ((key >> 15 & 0xfffe) | 1) & 0xffff;
    id = (id ^ id >> 8) * 0x9e3bu & 0xffff;
    id = ((id ^ id >> 7) + (key >> 8)) & 0xffff;
    id = (id ^ id >> 8) * 0x85ebu & 0xffff;
    return (uint16_t)(id ^ id >> 9);
}

void mir__ip4_push_header(struct mir_buf *buf, const struct mir__ip_params *params, uint16_t id,
                          uint16_t fragment_word)
{
    uint8_t *h = mir_buf_push(buf, MIR__IP4_HEADER_LEN);
    uint32_t total_len = mir_buf_total(buf);
    uint32_t src = mir_get_be32(params->src->bytes + 12);
    uint32_t dst = mir_get_be32(params->dst->bytes + 12);
    uint32_t version_tos = 0x4500u | params->tos;
    uint32_t ttl_protocol = (params->ttl != 0 ? params->ttl : 64u) << 8 | params->protocol;
    /* The sum comes from the values: the header is not read back. */
    uint32_t sum = version_tos + total_len + id + fragment_word + ttl_protocol + (src >> 16) +
                   (src & 0xffff) + (dst >> 16) + (dst & 0xffff);
    sum = (sum & 0xffff) + (sum >> 16);
    sum += sum >> 16;
    mir_put_be32(h, version_tos << 16 | total_len);
    mir_put_be32(h + 4, (uint32_t)id << 16 | fragment_word);
    mir_put_be32(h + 8, ttl_protocol << 16 | (~sum & 0xffff));
    mir_put_be32(h + 12, src);
    mir_put_be32(h + 16, dst);
    buf->network_offset = (uint16_t)mir_buf_headroom(buf);
}

int mir__ip4_send(struct mir_net *net, struct mir__route *route, struct mir_buf *buf_given)
{
    /* Entries of an older generation may be gone. */
    if (MIR_UNLIKELY(route->generation != net->route_generation))
        route->neighbour = NULL;
    struct mir__neigh *entry = route->neighbour;
    if (MIR_UNLIKELY(entry == NULL || mir_loop_now(net->loop) >= entry->fresh_until_us))
        return mir__arp_output(net, route, buf_given);
    entry->is_used = true;
    mir_memcpy(mir_buf_push(buf_given, MIR__ETH_HEADER_LEN), entry->header, MIR__ETH_HEADER_LEN);
    return mir__iface_tx(route->iface, buf_given);
}

/* ---- input -------------------------------------------------------------------------------- */

enum { OPTION_END = 0, OPTION_NOP = 1, OPTION_LSRR = 131, OPTION_SSRR = 137 };

/* Walks the options. Returns false if they are broken or route by source. */
static bool options_ok(struct mir_net *net, const uint8_t *ip)
{
    uint32_t at = MIR__IP4_HEADER_LEN, end = mir__ip4_header_len(ip);
    net->counters.ip_options++;
    while (at < end && ip[at] != OPTION_END) {
        if (ip[at] == OPTION_NOP) {
            at++;
            continue;
        }
        if (ip[at] == OPTION_LSRR || ip[at] == OPTION_SSRR)
            return false;
        if (end - at < 2 || ip[at + 1] < 2 || ip[at + 1] > end - at)
            return false;
        at += ip[at + 1];
    }
    return true;
}

/* One address needs no hash. */
static bool is_ours(const struct mir_net *net, uint32_t ip)
{
    if (MIR_LIKELY(net->ifaddr.v4_count <= 1 && net->iface_count == 1))
        return ip == net->ifaces[0].ip && ip != 0;
    return mir__ifaddr_find4(net, ip) != NULL;
}

enum destination { NOT_FOR_US, FOR_US, FOR_GROUP, FOR_DHCP };

static bool is_for_dhcp(const struct mir__iface *iface, const struct mir_buf *buf)
{
    const uint8_t *ip = buf->data;
    uint32_t header_len = mir__ip4_header_len(ip);
    return mir__dhcp_wants_input(&iface->dhcp) && mir__ip4_protocol(ip) == MIR__PROTO_UDP &&
           !mir__ip4_is_fragment(ip) && buf->len >= header_len + MIR__UDP_HEADER_LEN &&
           mir__udp_dst(ip + header_len) == 68 && mir__udp_src(ip + header_len) == 67;
}

/* All hosts are members of 224.0.0.1 (RFC 1112 section 4). */
static bool is_joined(const struct mir__iface *iface, uint32_t dst)
{
    struct mir_ip group = mir_ip_from_v4(dst);
    return dst == 0xe0000001u || mir__group_find(iface, &group) != NULL;
}

static enum destination classify(const struct mir_net *net, const struct mir__iface *iface,
                                 const struct mir_buf *buf, uint32_t dst)
{
    if (MIR_LIKELY(dst == iface->ip && dst != 0))
        return FOR_US;
    if (dst == UINT32_MAX || (iface->broadcast != 0 && dst == iface->broadcast))
        return FOR_GROUP;
    if (mir__ip4_is_multicast(dst))
        return is_joined(iface, dst) ? FOR_GROUP : NOT_FOR_US;
    if (is_ours(net, dst) || iface == &net->self.iface)
        return FOR_US;
    if (net->ifaddr.v4_count > 1 && mir__ifaddr_is_broadcast(iface, dst))
        return FOR_GROUP;
    if (iface->dhcp.ip == 0 && is_for_dhcp(iface, buf))
        return FOR_DHCP;
    return NOT_FOR_US;
}

/* From ourselves to ourselves; an address may be gone since. */
static bool is_own(const struct mir_net *net, uint32_t src, uint32_t dst)
{
    struct mir_ip from = mir_ip_from_v4(src), to = mir_ip_from_v4(dst);
    return mir__self_is(net, &from) && mir__self_is(net, &to);
}

/* Addresses that no packet on a wire may have (RFC 1122 section 3.2.1.3, RFC 6890). */
static bool is_martian(const struct mir_net *net, const struct mir__iface *iface, uint32_t src,
                       uint32_t dst)
{
    if (MIR_UNLIKELY(iface == &net->self.iface))
        return !is_own(net, src, dst);
    /* The source is one host, not us, and not the network's broadcast address. */
    if (!mir__ip4_is_host(src) || (iface->broadcast != 0 && src == iface->broadcast))
        return true;
    if (is_ours(net, src))
        return true;
    if (MIR_UNLIKELY(net->ifaddr.v4_count > 1) && mir__ifaddr_is_broadcast(iface, src))
        return true;
    return mir__ip4_is_loopback(dst) || dst >> 24 == 0;
}

/* The header is complete. Returns false, counted, if the packet must be dropped. */
static bool header_ok(struct mir_net *net, struct mir__iface *iface, const uint8_t *ip)
{
    struct mir__net_counters *counters = &net->counters;
#ifndef MIR_FUZZING
    if (!mir__ip4_checksum_ok(ip)) {
        counters->ip_bad_checksum++;
        return false;
    }
#endif
    if (mir__ip4_header_len(ip) > MIR__IP4_HEADER_LEN && !options_ok(net, ip)) {
        counters->ip_malformed++;
        return false;
    }
    uint32_t src = mir__ip4_src(ip), dst = mir__ip4_dst(ip);
    if (is_martian(net, iface, src, dst)) {
        counters->ip_martian++;
        return false;
    }
    return true;
}

/* From four bytes on the wire; the same as mir_ip_from_v4(), without a call. */
static inline void set_mapped(struct mir_ip *ip, const uint8_t *addr)
{
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    mir_memcpy(ip->bytes, prefix, sizeof prefix);
    mir_memcpy(ip->bytes + 12, addr, 4);
}

static bool fill_meta(struct mir_net *net, struct mir__iface *iface, const struct mir_buf *buf,
                      struct mir__ip_meta *meta)
{
    const uint8_t *ip = buf->data;
    uint32_t dst = mir__ip4_dst(ip);
    enum destination destination = classify(net, iface, buf, dst);
    bool is_link_group = (buf->flags & (MIR_BUF_BROADCAST | MIR_BUF_MULTICAST)) != 0;
    if (destination == NOT_FOR_US) {
        net->counters.ip_not_for_us++;
        return false;
    }
    /* Unicast IP inside a link broadcast: RFC 1122 section 3.3.6. */
    if (is_link_group && destination == FOR_US) {
        net->counters.ip_martian++;
        return false;
    }
    set_mapped(&meta->src, ip + 12);
    set_mapped(&meta->dst, ip + 16);
    meta->ttl = mir__ip4_ttl(ip);
    meta->tos = mir__ip4_tos(ip);
    meta->is_broadcast = is_link_group || destination == FOR_GROUP;
    meta->iface = iface;
    return true;
}

void mir__ip4_input(struct mir_net *net, struct mir__iface *iface, struct mir_buf *buf_given)
{
    struct mir_buf *buf = buf_given;
    struct mir__ip_meta meta;
    const uint8_t *ip = buf->data;
    net->counters.ip_in++;
    if (MIR_UNLIKELY(mir__ip4_check(ip, buf->len, mir_buf_total(buf)) < 0)) {
        net->counters.ip_malformed++;
        mir_buf_release(buf);
        return;
    }
    if (!header_ok(net, iface, ip) || !fill_meta(net, iface, buf, &meta)) {
        mir_buf_release(buf);
        return;
    }
    if (mir_buf_total(buf) > mir__ip4_total_len(ip))
        mir_buf_trim(buf, mir__ip4_total_len(ip));
    if (MIR_UNLIKELY(mir__ip4_is_fragment(ip))) {
        mir__reass4_input(net, &meta, buf);
        return;
    }
    uint8_t protocol = mir__ip4_protocol(ip);
    buf->network_offset = (uint16_t)mir_buf_headroom(buf);
    mir_buf_pull(buf, mir__ip4_header_len(ip));
    mir__ip4_deliver(net, &meta, protocol, buf);
}

void mir__ip4_deliver(struct mir_net *net, const struct mir__ip_meta *meta, uint8_t protocol,
                      struct mir_buf *buf_given)
{
    if (MIR_LIKELY(protocol == MIR__PROTO_TCP)) {
        /* RFC 9293 section 3.9.2.3, MUST-57: never for broadcast or multicast. */
        if (MIR_LIKELY(!meta->is_broadcast)) {
            mir__tcp_input(net, meta, buf_given);
            return;
        }
        net->counters.ip_martian++;
    } else if (protocol == MIR__PROTO_UDP) {
        mir__udp_input(net, meta, buf_given);
        return;
    } else if (protocol == MIR__PROTO_ICMP) {
        mir__icmp4_input(net, meta, buf_given);
        return;
    } else if (protocol == MIR__PROTO_IGMP) {
        mir__igmp_input(net, meta, buf_given);
        return;
    } else {
        net->counters.ip_unknown_protocol++;
        mir__icmp4_send_error(net, meta, buf_given, MIR__ICMP4_UNREACHABLE, MIR__ICMP4_PROTOCOL, 0);
    }
    mir_buf_release(buf_given);
}
