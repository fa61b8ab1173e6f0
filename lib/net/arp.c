/* SPDX-License-Identifier: ISC */
/* ARP: questions and answers about IPv4 neighbours on Ethernet (RFC 826). The table and its states
 * are in neigh.c; probes, announcements and conflicts (RFC 5227) are acd4.c's, which sends by this
 * file and sees each packet first.
 *
 * Every IPv4 address of an interface is answered for; a question is asked from the address in the
 * neighbour's network. Replies from a link-local address go to everybody (RFC 3927 section 2.5).
 *
 * What a stranger can do. Replies that nobody asked for are dropped. A request for our address
 * makes an entry while the table has room for strangers. An entry counts as reachable for 60
 * seconds from the last ARP packet of the neighbour; when it is used later it is asked again by
 * unicast, and its packets go out meanwhile (RFC 1122 section 2.3.2.1, method 2).
 *
 * Not done: proxy ARP, reverse ARP.
 */
#include "lib/net/net_state.h"

/* ---- packets ------------------------------------------------------------------------------ */

static void send_packet(struct mir__iface *iface, const struct mir__arp *arp, const uint8_t dst[6])
{
    struct mir_net *net = iface->net;
    struct mir_buf *buf = mir_buf_alloc(net->bufs, 0);
    if (buf == NULL) {
        net->counters.no_memory++;
        return;
    }
    struct mir__eth eth = {.type = MIR__ETH_TYPE_ARP};
    mir_memcpy(eth.dst, dst, 6);
    mir_memcpy(eth.src, iface->mac, 6);
    mir__eth_emit(&eth, mir_buf_append(buf, MIR__ETH_HEADER_LEN));
    mir__arp_emit(arp, mir_buf_append(buf, MIR__ARP_LEN));
    if (arp->op == MIR__ARP_REQUEST)
        net->counters.arp_requests_out++;
    else
        net->counters.arp_replies_out++;
    (void)mir__iface_tx(iface, buf);
}

static const uint8_t mac_all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void send_request(struct mir__iface *iface, uint32_t sender_ip, uint32_t target_ip,
                         const uint8_t dst[6])
{
    struct mir__arp arp = {.op = MIR__ARP_REQUEST, .sender_ip = sender_ip, .target_ip = target_ip};
    mir_memcpy(arp.sender_mac, iface->mac, 6);
    send_packet(iface, &arp, dst);
}

void mir__arp_send_probe(struct mir__iface *iface, uint32_t ip)
{
    send_request(iface, 0, ip, mac_all);
}

void mir__arp_send_announcement(struct mir__iface *iface, uint32_t ip)
{
    send_request(iface, ip, ip, mac_all);
}

static void reply(struct mir__iface *iface, const uint8_t *request)
{
    struct mir__arp arp = {
        .op = MIR__ARP_REPLY,
        .sender_ip = mir__arp_target_ip(request),
        .target_ip = mir__arp_sender_ip(request),
    };
    mir_memcpy(arp.sender_mac, iface->mac, 6);
    mir_memcpy(arp.target_mac, mir__arp_sender_mac(request), 6);
    send_packet(iface, &arp, mir__ip4_is_link_local(arp.sender_ip) ? mac_all : arp.target_mac);
}

/* ---- the family ---------------------------------------------------------------------------- */

static const struct mir__neigh_times *times(const struct mir__iface *iface)
{
    static const struct mir__neigh_times arp_times = {
        .reachable_us = MIR__ARP_FRESH_US,
        .retry_us = MIR__ARP_RETRY_US,
    };
    (void)iface;
    return &arp_times;
}

static void ask(struct mir__neigh *neigh, bool by_unicast)
{
    uint32_t target = mir_ip_to_v4(&neigh->ip);
    send_request(neigh->iface, mir__ifaddr_source4(neigh->iface, target), target,
                 by_unicast ? neigh->header : mac_all);
}

static void tell_unreachable(struct mir_net *net, const struct mir_buf *buf)
{
    mir__icmp4_tell_transport(net, buf->data, buf->len, -MIR_EHOSTUNREACH, 0);
}

const struct mir__neigh_family mir__neigh_arp = {
    .eth_type = MIR__ETH_TYPE_IP4,
    .times = times,
    .ask = ask,
    .tell_unreachable = tell_unreachable,
};

/* ---- output ------------------------------------------------------------------------------- */

void mir__arp_warm(struct mir__iface *iface, uint32_t ip)
{
    struct mir_ip addr = mir_ip_from_v4(ip);
    if (mir__iface_is_on_link(iface, ip))
        mir__neigh_warm(iface, &mir__neigh_arp, &addr);
}

static int output_multicast(struct mir__iface *iface, uint32_t group, struct mir_buf *buf)
{
    /* RFC 1112 section 6.4: the low 23 bits of the group. */
    uint8_t *header = mir_buf_push(buf, MIR__ETH_HEADER_LEN);
    mir_put_be32(header, 0x01005e00u | (group >> 16 & 0x7f));
    mir_put_be16(header + 4, (uint16_t)group);
    mir_memcpy(header + 6, iface->mac, 6);
    mir_put_be16(header + 12, MIR__ETH_TYPE_IP4);
    return mir__iface_tx(iface, buf);
}

int mir__arp_output(struct mir_net *net, struct mir__route *route, struct mir_buf *buf_given)
{
    struct mir__iface *iface = route->iface;
    if (mir__ip4_is_multicast(route->next_hop4))
        return output_multicast(iface, route->next_hop4, buf_given);
    if (route->next_hop4 == UINT32_MAX) {
        mir_memcpy(mir_buf_push(buf_given, MIR__ETH_HEADER_LEN), iface->to_all.header,
                   MIR__ETH_HEADER_LEN);
        return mir__iface_tx(iface, buf_given);
    }
    struct mir_ip ip = mir_ip_from_v4(route->next_hop4);
    return mir__neigh_output(net, route, &mir__neigh_arp, &ip, buf_given);
}

/* ---- input -------------------------------------------------------------------------------- */

/* Most interfaces have one address; the hash is for the others. */
static bool is_address_of(const struct mir__iface *iface, uint32_t ip)
{
    if (ip == iface->ip)
        return ip != 0;
    if (iface->net->ifaddr.v4_count < 2)
        return false;
    const struct mir__ifaddr *addr = mir__ifaddr_find4(iface->net, ip);
    return addr != NULL && addr->iface == iface;
}

static bool is_sane(const struct mir__iface *iface, const uint8_t *arp)
{
    uint32_t sender_ip = mir__arp_sender_ip(arp);
    uint16_t op = mir__arp_op(arp);
    return (op == MIR__ARP_REQUEST || op == MIR__ARP_REPLY) &&
           !mir__mac_is_group(mir__arp_sender_mac(arp)) &&
           !mir__mac_is_zero(mir__arp_sender_mac(arp)) &&
           (sender_ip == 0 || mir__ip4_is_host(sender_ip)) &&
           (iface->broadcast == 0 || sender_ip != iface->broadcast);
}

static bool is_on_link(const struct mir__iface *iface, uint32_t ip)
{
    uint32_t from = mir__ifaddr_source4(iface, ip);
    const struct mir__ifaddr *addr;
    if (from == iface->ip)
        return mir__iface_is_on_link(iface, ip);
    addr = mir__ifaddr_find4(iface->net, from);
    return addr != NULL; /* chosen because its network has it */
}

/* RFC 826, "Packet Reception": merge what is known, then answer. */
static void learn(struct mir_net *net, struct mir__iface *iface, const uint8_t *arp)
{
    uint32_t sender_ip = mir__arp_sender_ip(arp);
    struct mir_ip ip = mir_ip_from_v4(sender_ip);
    struct mir__neigh *neigh;
    bool asks_us =
        mir__arp_op(arp) == MIR__ARP_REQUEST && is_address_of(iface, mir__arp_target_ip(arp));
    if (asks_us && is_on_link(iface, sender_ip))
        neigh = mir__neigh_learn(iface, &mir__neigh_arp, &ip);
    else
        neigh = mir__neigh_find(net, iface, &ip);
    if (neigh != NULL)
        mir__neigh_set_reachable(net, neigh, mir__arp_sender_mac(arp));
}

static void process(struct mir_net *net, struct mir__iface *iface, const uint8_t *arp)
{
    uint32_t sender_ip = mir__arp_sender_ip(arp);
    uint32_t target_ip = mir__arp_target_ip(arp);
    bool is_request = mir__arp_op(arp) == MIR__ARP_REQUEST;
    if (mir__mac_equal(mir__arp_sender_mac(arp), iface->mac))
        return; /* our own, come back */
    if (mir__acd4_input(iface, sender_ip, target_ip, is_request) || iface->ip == 0)
        return;
    if (sender_ip != 0)
        learn(net, iface, arp);
    if (is_request && is_address_of(iface, target_ip))
        reply(iface, arp);
}

void mir__arp_input(struct mir_net *net, struct mir__iface *iface, struct mir_buf *buf_given)
{
    net->counters.arp_in++;
    if (mir__arp_check(buf_given->data, buf_given->len) < 0 || !is_sane(iface, buf_given->data))
        net->counters.arp_malformed++;
    else
        process(net, iface, buf_given->data);
    mir_buf_release(buf_given);
}

/* ---- life --------------------------------------------------------------------------------- */

void mir__arp_forget(struct mir_net *net, const struct mir__iface *iface)
{
    mir__neigh_forget(net, iface, &mir__neigh_arp);
}
