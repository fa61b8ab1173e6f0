/* SPDX-License-Identifier: ISC */
/* Packets to ourselves: to addresses of ours, and to 127.0.0.0/8 and ::1.
 *
 *     mir__ip_route(): the destination is ours          work of the loop
 *     ip output ──> tx ──> queue, at most 256 packets ─────────────────> ip4.c, ip6.c ──>
 * transports
 *
 * An interface that nobody sees, with a device whose wire is a queue. What a packet causes is
 * queued in turn and handled in a later turn of the loop, so nothing recurses and two sockets of
 * ours that answer each other for ever still leave time for the rest. A full queue refuses: TCP
 * asks for room and waits for it, a datagram is lost and counted, as on a wire.
 *
 * Payloads are not copied: the receiver gets views of the sender's pages. Checksums are not
 * computed, nothing can happen to the bytes. The MTU is 16 KiB, so that a window of 64 KiB holds
 * four segments and the delayed acknowledgement is not waited for.
 *
 * 127.0.0.0/8 and ::1 are addresses here and nowhere else: a packet from a wire with one of them,
 * or with a source of ours, is a martian as before (RFC 1122 section 3.2.1.3, RFC 4291 section
 * 2.5.3), and none ever leaves. The source is the destination itself unless something else was
 * chosen. Captures and traces are of devices and do not show these packets.
 *
 * What is sent to a group or broadcast address has its own way back (udp_output.c).
 */
#include "lib/net/net_state.h"

#define SELF_MTU     16384u
#define SELF_PACKETS 256u

static struct mir__self *of_dev(struct mir_net_dev *dev)
{
    return MIR_CONTAINER_OF(dev, struct mir__self, dev);
}

static bool is_loopback(const struct mir_ip *ip)
{
    return mir_ip_is_v4(ip) ? mir__ip4_is_loopback(mir_ip_to_v4(ip)) : mir__ip6_is_loopback(ip);
}

bool mir__self_is(const struct mir_net *net, const struct mir_ip *ip)
{
    return is_loopback(ip) || mir__ip_is_local(net, ip);
}

/* ---- the device ----------------------------------------------------------------------------- */

static int self_tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    struct mir__self *self = of_dev(dev);
    if (self->queue.count >= SELF_PACKETS + MIR_NET_TX_KEPT) {
        self->net->counters.self_dropped++;
        self->was_full = true;
        mir_buf_release(buf_given);
        return -MIR_EAGAIN;
    }
    self->net->counters.self_packets++;
    mir_buf_queue_push(&self->queue, buf_given);
    mir_loop_post(self->net->loop, &self->work);
    return 0;
}

static uint32_t self_tx_room(struct mir_net_dev *dev)
{
    struct mir__self *self = of_dev(dev);
    uint32_t room = SELF_PACKETS - MIR_MIN(self->queue.count, SELF_PACKETS);
    self->was_full |= room == 0;
    return room;
}

static int self_start(struct mir_net_dev *dev, const struct mir_net_upper *upper)
{
    (void)dev;
    (void)upper;
    return 0;
}

static void self_stop(struct mir_net_dev *dev)
{
    struct mir__self *self = of_dev(dev);
    mir_work_cancel(&self->work);
    mir_buf_queue_release(&self->queue);
}

static const struct mir_net_dev_ops self_ops = {
    .start = self_start,
    .stop = self_stop,
    .tx = self_tx,
    .tx_room = self_tx_room,
};

static void input(struct mir__self *self, struct mir_buf *buf)
{
    uint16_t type = mir__eth_type(buf->data);
    mir_buf_pull(buf, MIR__ETH_HEADER_LEN);
    if (type == MIR__ETH_TYPE_IP4)
        mir__ip4_input(self->net, &self->iface, buf);
    else
        mir__ip6_input(self->net, &self->iface, buf);
}

/* What is there now; what comes of it has its turn later. */
static void run(void *arg)
{
    struct mir__self *self = arg;
    struct mir_net *net = self->net;
    net->is_in_batch = true;
    for (uint32_t count = self->queue.count; count > 0; count--) {
        struct mir_buf *buf = mir_buf_queue_pop(&self->queue);
        if (buf == NULL)
            break;
        input(self, buf);
    }
    mir__tcp_input_end(net);
    if (self->was_full) {
        self->was_full = false;
        self->iface.is_tx_full = false;
        mir__tcp_tx_ready(net);
        mir_wait_wake_all(&net->stack.tx_ready);
    }
    net->is_in_batch = false;
    mir__iface_flush_all(net);
    if (self->queue.count > 0)
        mir_loop_post(net->loop, &self->work);
}

/* ---- routes ---------------------------------------------------------------------------------- */

void mir__self_route(struct mir_net *net, const struct mir_ip *dst, struct mir__route *route)
{
    struct mir__self *self = &net->self;
    bool is_v4 = mir_ip_is_v4(dst);
    *route = (struct mir__route){
        .iface = &self->iface,
        .neighbour = is_v4 ? &self->neigh4 : &self->neigh6,
        .generation = net->route_generation,
        .mtu = SELF_MTU,
        .ip_header_len = is_v4 ? MIR__IP4_HEADER_LEN : MIR__IP6_HEADER_LEN,
        .caps = self->dev.info.caps,
    };
    if (is_v4)
        route->next_hop4 = mir_ip_to_v4(dst);
    else
        route->next_hop6 = *dst;
}

void mir__self_source(const struct mir_ip *dst, struct mir_ip *src)
{
    *src = mir_ip_is_v4(dst) && is_loopback(dst) ? mir_ip_from_v4(0x7f000001) : *dst;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void init_neigh(struct mir__neigh *neigh, uint16_t eth_type)
{
    *neigh = (struct mir__neigh){.fresh_until_us = MIR_TIME_NEVER, .state = MIR__NEIGH_REACHABLE};
    mir_put_be16(neigh->header + 12, eth_type);
}

void mir__self_init(struct mir_net *net)
{
    struct mir__self *self = &net->self;
    self->net = net;
    self->dev = (struct mir_net_dev){
        .ops = &self_ops,
        .info = {.mtu = SELF_MTU,
                 .caps = MIR_NET_TX_CSUM | MIR_NET_RX_CSUM | MIR_NET_TX_SG,
                 .kind = "self"},
    };
    self->iface = (struct mir__iface){
        .net = net,
        .dev = &self->dev,
        .mtu = SELF_MTU,
        .mtu6 = SELF_MTU,
        .hops6 = 64,
        .ip6_mode = MIR_IP6_STATIC,
        .index = UINT32_MAX, /* told as interface 0: none of those that were added */
        .is_started = true,
    };
    mir_list_init(&self->iface.addresses);
    mir_list_init(&self->iface.groups);
    mir_list_init(&self->iface.acd4s);
    init_neigh(&self->neigh4, MIR__ETH_TYPE_IP4);
    init_neigh(&self->neigh6, MIR__ETH_TYPE_IP6);
    mir_work_init(&self->work, run, self);
}

void mir__self_fini(struct mir_net *net)
{
    net->self.iface.is_started = false;
    self_stop(&net->self.dev);
}
