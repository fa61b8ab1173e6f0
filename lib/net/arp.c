/* SPDX-License-Identifier: ISC */
/* ARP: questions and answers about IPv4 neighbours on Ethernet (RFC 826), announcements and
 * conflicts (RFC 5227). The table and its states are in neigh.c.
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
    send_request(iface, iface->ip, ip, mac_all);
}

void mir__arp_announce(struct mir__iface *iface)
{
    if (iface->ip == 0 || !iface->is_started)
        return;
    iface->announcements_left = 1;
    send_request(iface, iface->ip, iface->ip, mac_all);
    mir_timer_set(iface->net->loop, &iface->announce_timer,
                  mir_loop_now(iface->net->loop) + 2 * MIR_US_PER_S);
}

static void reply(struct mir__iface *iface, const uint8_t *request)
{
    struct mir__arp arp = {
        .op = MIR__ARP_REPLY,
        .sender_ip = iface->ip,
        .target_ip = mir__arp_sender_ip(request),
    };
    mir_memcpy(arp.sender_mac, iface->mac, 6);
    mir_memcpy(arp.target_mac, mir__arp_sender_mac(request), 6);
    send_packet(iface, &arp, arp.target_mac);
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
    send_request(neigh->iface, neigh->iface->ip, mir_ip_to_v4(&neigh->ip),
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

static void on_announce_timer(void *arg)
{
    struct mir__iface *iface = arg;
    if (iface->announcements_left > 0 && iface->ip != 0) {
        iface->announcements_left--;
        send_request(iface, iface->ip, iface->ip, mac_all);
    }
}

/* ---- input -------------------------------------------------------------------------------- */

/* Somebody else says our address is his: defend it, at most once in ten seconds (RFC 5227 2.4 b).
 */
static void defend(struct mir__iface *iface)
{
    struct mir_net *net = iface->net;
    mir_time_us now_us = mir_loop_now(net->loop);
    net->counters.arp_conflict++;
    if (iface->defended_us != 0 && now_us - iface->defended_us < 10 * MIR_US_PER_S)
        return;
    iface->defended_us = now_us;
    MIR_LOG(NET, WARN, "address conflict: another host uses our IPv4 address interface=%u",
            iface->index);
    send_request(iface, iface->ip, iface->ip, mac_all);
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

/* RFC 826, "Packet Reception": merge what is known, then answer. */
static void learn(struct mir_net *net, struct mir__iface *iface, const uint8_t *arp)
{
    uint32_t sender_ip = mir__arp_sender_ip(arp);
    struct mir_ip ip = mir_ip_from_v4(sender_ip);
    struct mir__neigh *neigh;
    bool asks_us = mir__arp_op(arp) == MIR__ARP_REQUEST && mir__arp_target_ip(arp) == iface->ip;
    if (asks_us && mir__iface_is_on_link(iface, sender_ip))
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
    if (iface->dhcp.state == MIR__DHCP_PROBING &&
        (sender_ip == iface->dhcp.offered_ip ||
         (is_request && sender_ip == 0 && target_ip == iface->dhcp.offered_ip))) {
        net->counters.arp_conflict++;
        mir__dhcp_conflict(iface);
        return;
    }
    if (iface->ip == 0)
        return;
    if (sender_ip == iface->ip) {
        defend(iface);
        return;
    }
    if (sender_ip != 0)
        learn(net, iface, arp);
    if (is_request && target_ip == iface->ip)
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

void mir__arp_init(struct mir_net *net)
{
    for (uint32_t i = 0; i < MIR__IFACES_MAX; i++)
        mir_timer_init(&net->ifaces[i].announce_timer, on_announce_timer, &net->ifaces[i]);
}

void mir__arp_forget(struct mir_net *net, const struct mir__iface *iface)
{
    mir__neigh_forget(net, iface, &mir__neigh_arp);
}
