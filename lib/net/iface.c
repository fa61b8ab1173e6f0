/* SPDX-License-Identifier: ISC */
/* One interface: Ethernet between a device and the protocols.
 *
 * In: a frame for our MAC or for a group goes to ARP, IPv4 or IPv6 (unless that is off here);
 * everything else is counted and dropped. A tag of VLAN 0 is only a priority and is ignored; other
 * VLANs are not ours. Headers must lie in the linear part of the buffer; the rare device frame that
 * splits them is copied once.
 *
 * Out: frames go to the device at once, its flush comes once for all of them: at the end of a
 * receive batch, or at the end of the loop's step. To be sure there is a step, the first frame
 * outside a batch posts an empty piece of work.
 *
 *     rx rx rx rx_end ─> tcp input_end ─> flush        timer, task: tx tx tx ─> step hook ─> flush
 *
 * Short frames are not padded: a device that needs 60 bytes pads with zeros itself. Thus no byte
 * that nobody wrote can leave here.
 */
#include "lib/net/net_state.h"

/* Ethernet with a tag, the longest IP header, the longest TCP header. */
enum { HEADERS_MAX = 18 + 60 + 60 };

/* TCP over IPv4 whose payload lies in views: what our own stack sends through a wire in memory. */
static bool is_split_at_payload(const struct mir_buf *buf)
{
    const uint8_t *ip = buf->data + MIR__ETH_HEADER_LEN;
    if (buf->len < MIR__ETH_HEADER_LEN + MIR__IP4_HEADER_LEN + 20u || mir__eth_has_tag(buf->data) ||
        mir__eth_type(buf->data) != MIR__ETH_TYPE_IP4 || ip[0] >> 4 != 4 ||
        mir__ip4_protocol(ip) != MIR__PROTO_TCP || mir__ip4_is_fragment(ip))
        return false;
    uint32_t left = buf->len - MIR__ETH_HEADER_LEN;
    uint32_t ip_len = mir__ip4_header_len(ip);
    return left >= ip_len + 20u && left >= ip_len + (ip[ip_len + 12] >> 4) * 4u;
}

static struct mir_buf *make_headers_linear(struct mir_net *net, struct mir_buf *buf)
{
    if (MIR_LIKELY(buf->frag_count == 0 || buf->len >= HEADERS_MAX) || is_split_at_payload(buf))
        return buf;
    struct mir_buf *copy = mir_buf_linearize(net->bufs, buf, 0);
    if (copy == NULL)
        net->counters.no_memory++;
    mir_buf_release(buf);
    return copy;
}

/* Is the frame for us? Group frames are marked. */
static bool is_for_us(const struct mir__iface *iface, struct mir_buf *buf)
{
    const uint8_t *dst = mir__eth_dst(buf->data);
    buf->flags &= (uint16_t) ~(MIR_BUF_BROADCAST | MIR_BUF_MULTICAST);
    if (MIR_LIKELY(mir__mac_equal(dst, iface->mac)))
        return true;
    if (!mir__mac_is_group(dst))
        return false;
    buf->flags |= mir__mac_is_broadcast(dst) ? MIR_BUF_BROADCAST : MIR_BUF_MULTICAST;
    return true;
}

static void input(struct mir__iface *iface, struct mir_buf *buf)
{
    struct mir_net *net = iface->net;
    struct mir__net_counters *counters = &net->counters;
    if (mir__eth_check(buf->data, buf->len) < 0) {
        counters->eth_short++;
    } else if (!is_for_us(iface, buf)) {
        counters->eth_not_for_us++;
    } else if (mir__eth_has_tag(buf->data) && (mir__eth_tci(buf->data) & 0xfff) != 0) {
        counters->eth_vlan_dropped++;
    } else {
        uint16_t type = mir__eth_type(buf->data);
        mir_buf_pull(buf, mir__eth_header_len(buf->data));
        if (MIR_LIKELY(type == MIR__ETH_TYPE_IP4)) {
            mir__ip4_input(net, iface, buf);
            return;
        }
        if (type == MIR__ETH_TYPE_IP6 && iface->ip6_mode != MIR_IP6_OFF) {
            mir__ip6_input(net, iface, buf);
            return;
        }
        if (type == MIR__ETH_TYPE_ARP) {
            mir__arp_input(net, iface, buf);
            return;
        }
        counters->eth_unknown_type++;
    }
    mir_buf_release(buf);
}

static void take_held(struct mir__iface *iface)
{
    struct mir_buf *frames[MIR__AHEAD_FRAMES];
    uint32_t count = mir__ahead_take(iface, frames);
    for (uint32_t i = 0; i < count; i++)
        input(iface, frames[i]);
}

static void on_rx(void *arg, struct mir_buf *buf_given)
{
    struct mir__iface *iface = arg;
    struct mir_net *net = iface->net;
    if (!net->is_in_batch)
        iface->ahead.is_on = mir__tcp_is_crowded(net);
    net->is_in_batch = true;
    net->counters.eth_in++;
    net->counters.eth_in_bytes += mir_buf_total(buf_given);
    if (MIR_UNLIKELY(net->has_taps))
        mir__net_show(iface, false, buf_given);
    struct mir_buf *buf = make_headers_linear(net, buf_given);
    if (buf == NULL)
        return;
    if (MIR_LIKELY(!iface->ahead.is_on))
        input(iface, buf);
    else if (mir__ahead_hold(iface, buf))
        take_held(iface);
}

static void on_rx_end(void *arg)
{
    struct mir__iface *iface = arg;
    struct mir_net *net = iface->net;
    net->is_in_batch = true;
    if (iface->ahead.count > 0)
        take_held(iface);
    mir__tcp_input_end(net);
    net->is_in_batch = false;
    mir__iface_flush_all(net);
}

static void on_tx_ready(void *arg)
{
    struct mir__iface *iface = arg;
    iface->is_tx_full = false;
    mir__tcp_tx_ready(iface->net);
    mir_wait_wake_all(&iface->net->stack.tx_ready);
}

static void on_link(void *arg, bool is_up)
{
    struct mir__iface *iface = arg;
    MIR_LOG(NET, INFO, "link interface=%u up=%u", iface->index + 1, is_up);
    if (!is_up)
        return;
    /* Perhaps another network now: neighbours are asked again, the address is checked. */
    mir__arp_forget(iface->net, iface);
    if (iface->ip6_mode != MIR_IP6_OFF)
        mir__nd6_link_up(iface);
    mir__igmp_link_up(iface);
    if (iface->dhcp.state != MIR__DHCP_OFF)
        mir__dhcp_link_up(iface);
    else if (iface->acd.phase == MIR__ACD4_HOLDING)
        mir__acd4_hold(&iface->acd, iface->acd.ip);
    if (iface->linklocal4.ip != 0)
        mir__acd4_hold(&iface->linklocal4.acd, iface->linklocal4.ip);
}

void mir__iface_flush_all(struct mir_net *net)
{
    if (!net->is_tx_pending)
        return;
    net->is_tx_pending = false;
    mir_work_cancel(&net->flush_work);
    for (uint32_t i = 0; i < net->iface_count; i++) {
        struct mir__iface *iface = &net->ifaces[i];
        if (!iface->has_tx_pending)
            continue;
        iface->has_tx_pending = false;
        mir_net_dev_flush(iface->dev);
    }
}

int mir__iface_tx(struct mir__iface *iface, struct mir_buf *buf_given)
{
    struct mir_net *net = iface->net;
    struct mir_buf *buf = buf_given;
    if (MIR_UNLIKELY(!iface->is_started)) {
        mir_buf_release(buf);
        net->counters.tx_dropped++;
        return -MIR_ENETUNREACH;
    }
    if (buf->frag_count > 0 && !(iface->dev->info.caps & MIR_NET_TX_SG)) {
        buf = mir_buf_linearize(net->bufs, buf_given, 0);
        mir_buf_release(buf_given);
        if (buf == NULL) {
            net->counters.no_memory++;
            return -MIR_ENOMEM;
        }
    }
    if (iface->has_flush && !iface->has_tx_pending) {
        iface->has_tx_pending = true;
        if (!net->is_tx_pending && !net->is_in_batch)
            mir_loop_post(net->loop, &net->flush_work);
        net->is_tx_pending = true;
    }
    if (MIR_UNLIKELY(net->has_taps))
        mir__net_show(iface, true, buf);
    int r = mir_net_dev_tx(iface->dev, buf);
    if (MIR_UNLIKELY(r < 0))
        net->counters.tx_dropped++;
    else
        net->counters.eth_out++;
    return r;
}

/* The IPv4 default route of the interface: what is configured, or what DHCP told. */
static void set_gateway(struct mir__iface *iface, uint32_t gateway, enum mir__route_origin origin)
{
    struct mir_net *net = iface->net;
    struct mir__route_spec spec = {
        .prefix = mir_ip_from_v4(0),
        .gateway = mir_ip_from_v4(iface->gateway),
        .iface = iface,
        .origin = origin,
    };
    if (iface->gateway != 0 && iface->gateway != gateway)
        (void)mir__route_remove(net, &spec);
    iface->gateway = gateway;
    spec.gateway = mir_ip_from_v4(gateway);
    if (gateway != 0 && mir__route_add(net, &spec, NULL) < 0)
        MIR_LOG(NET, ERROR, "no room for a default route interface=%u", iface->index + 1);
}

void mir__iface_set_address(struct mir__iface *iface, uint32_t ip, uint8_t prefix_len,
                            uint32_t gateway)
{
    struct mir_net *net = iface->net;
    bool is_dhcp = iface->dhcp.state != MIR__DHCP_OFF;
    struct mir__ifaddr *old = iface->set_ip != 0 ? mir__ifaddr_find4(net, iface->set_ip) : NULL;
    bool is_same = old != NULL ? iface->set_ip == ip && old->prefix_len == prefix_len : ip == 0;
    if (!is_same) {
        struct mir__ifaddr_spec spec = {
            .ip = mir_ip_from_v4(ip),
            .prefix_len = prefix_len,
            .origin = is_dhcp ? MIR__IFADDR_DHCP : MIR__IFADDR_MANUAL,
            .is_primary = true,
        };
        mir__arp_forget(net, iface);
        if (old != NULL)
            mir__ifaddr_remove(old);
        iface->set_ip = 0;
        if (ip != 0 && mir__ifaddr_add(iface, &spec, NULL) == 0)
            iface->set_ip = ip;
        else if (ip != 0)
            MIR_LOG(NET, ERROR, "address is not possible interface=%u", iface->index + 1);
    }
    set_gateway(iface, gateway, is_dhcp ? MIR__ROUTE_DHCP : MIR__ROUTE_MANUAL);
    mir__net_routes_changed(net);
    iface->acd.is_stubborn = !is_dhcp || iface->dhcp.state == MIR__DHCP_FOLLOWING;
    if (ip != 0)
        mir__acd4_hold(&iface->acd, ip);
    else
        mir__acd4_stop(&iface->acd);
    mir_wait_wake_all(&net->stack.address_ready);
}

/* ---- conflicts of the first address --------------------------------------------------------- */

#define TAKEN_PAUSE_US (60 * MIR_US_PER_S)

static void on_free(struct mir__iface *iface)
{
    mir__iface_set_address(iface, iface->acd.ip, iface->probed_prefix_len, iface->probed_gateway);
}

static void on_conflict(struct mir__iface *iface, bool was_held)
{
    if (was_held) {
        mir__dhcp_conflict(iface); /* one set by hand is not given up */
        return;
    }
    MIR_LOG(NET, ERROR, "the address is taken, it is not used; tried again interface=%u",
            iface->index + 1);
    mir__acd4_probe_later(&iface->acd, iface->acd.ip, TAKEN_PAUSE_US);
}

void mir__iface_take_address(struct mir__iface *iface, uint32_t ip, uint8_t prefix_len,
                             uint32_t gateway)
{
    iface->probed_prefix_len = prefix_len;
    iface->probed_gateway = gateway;
    if (iface->acd_mode == MIR_NET_ACD_QUICK || iface->acd_mode == MIR_NET_ACD_FULL)
        mir__acd4_probe(&iface->acd, ip, iface->acd_mode == MIR_NET_ACD_QUICK);
    else
        mir__iface_set_address(iface, ip, prefix_len, gateway);
}

void mir__iface_init_watches(struct mir__iface *iface, const struct mir_net_if_config *config)
{
    mir_list_init(&iface->acd4s);
    iface->acd_mode = (uint8_t)config->acd;
    mir__acd4_init(&iface->acd, iface, on_free, on_conflict);
    mir__linklocal4_init(iface, config->link_local4);
}

int mir__iface_start(struct mir__iface *iface)
{
    struct mir_net_upper upper = {
        .rx = on_rx,
        .rx_end = on_rx_end,
        .tx_ready = on_tx_ready,
        .link = on_link,
        .arg = iface,
    };
    iface->is_started = true;
    int r = mir_net_dev_start(iface->dev, &upper);
    if (r < 0)
        iface->is_started = false;
    return r;
}

void mir__iface_stop(struct mir__iface *iface)
{
    if (!iface->is_started)
        return;
    mir__acd4_stop(&iface->acd);
    mir__igmp_stop(iface);
    mir_net_dev_flush(iface->dev);
    iface->is_started = false;
    mir_net_dev_stop(iface->dev);
    mir__ahead_release(iface);
}
