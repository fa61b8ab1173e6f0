/* SPDX-License-Identifier: ISC */
/* A network device whose other side are bare IP packets.
 *
 * The stack speaks Ethernet; whoever plays the network here does not. Outwards the Ethernet header
 * is taken off and the packet is kept with the time it left. Inwards one is put in front. There is
 * one neighbour with one address on the link for everybody: the wire answers the stack's ARP
 * requests and neighbour solicitations itself, in the next step of the loop, and nobody else sees
 * them. Other link-layer chatter (announcements, router solicitations) is swallowed.
 *
 *      stack  ── Ethernet ──>  wire  ── IP packets ──>  px_packet list
 *             <── Ethernet ──        <── px_wire_inject()
 *
 * With segmentation offload a large segment leaves as one packet, which is what a sniffer on Linux
 * sees too; its length and checksum are completed here.
 */
#include <stdlib.h>
#include <string.h>

#include <mirari/bytes.h>

#include "lib/net/internal.h"
#include "lib/wire/arp.h"
#include "lib/wire/csum.h"
#include "lib/wire/eth.h"
#include "target/packetdrill/px.h"

static const uint8_t own_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t neighbour_mac[6] = {2, 0, 0, 0, 0, 1};

enum { TYPE_IP4 = 0x0800, TYPE_ARP = 0x0806, TYPE_IP6 = 0x86dd, PROTO_ICMP6 = 58 };
enum { ND_ROUTER_SOLICIT = 133, ND_SOLICIT = 135, ND_ADVERT = 136, MLD2_REPORT = 143 };

static struct px_wire *of(const struct mir_net_dev *dev)
{
    return (struct px_wire *)(uintptr_t)dev;
}

static int wire_start(struct mir_net_dev *dev, const struct mir_net_upper *upper)
{
    of(dev)->upper = *upper;
    of(dev)->is_started = true;
    return 0;
}

static void wire_stop(struct mir_net_dev *dev)
{
    struct px_wire *wire = of(dev);
    wire->is_started = false;
    mir_work_cancel(&wire->answer_work);
    mir_buf_queue_release(&wire->answers);
}

/* ---- the neighbour ----------------------------------------------------------------------------
 */

static void deliver_answers(void *arg)
{
    struct px_wire *wire = arg;
    struct mir_buf *buf;
    while (wire->is_started && (buf = mir_buf_queue_pop(&wire->answers)) != NULL)
        wire->upper.rx(wire->upper.arg, buf);
    if (wire->is_started)
        wire->upper.rx_end(wire->upper.arg);
}

static void answer(struct px_wire *wire, const uint8_t *frame, uint32_t len)
{
    struct mir_buf *buf = mir_buf_alloc(wire->bufs, 0);
    if (buf == NULL)
        return;
    memcpy(mir_buf_append(buf, len), frame, len);
    mir_buf_queue_push(&wire->answers, buf);
    mir_loop_post(wire->loop, &wire->answer_work);
}

static void answer_arp(struct px_wire *wire, const uint8_t *frame, uint32_t len)
{
    uint8_t out[MIR__ETH_HEADER_LEN + MIR__ARP_LEN];
    struct mir__eth eth = {.type = TYPE_ARP};
    if (len < sizeof out || mir_get_be16(frame + 20) != MIR__ARP_REQUEST)
        return;
    uint32_t sender = mir_get_be32(frame + 28);
    uint32_t target = mir_get_be32(frame + 38);
    if (sender == 0 || sender == target)
        return; /* a probe for its own address, or an announcement */
    struct mir__arp arp = {.op = MIR__ARP_REPLY, .sender_ip = target, .target_ip = sender};
    memcpy(arp.sender_mac, neighbour_mac, 6);
    memcpy(arp.target_mac, own_mac, 6);
    memcpy(eth.dst, own_mac, 6);
    memcpy(eth.src, neighbour_mac, 6);
    mir__eth_emit(&eth, out);
    mir__arp_emit(&arp, out + MIR__ETH_HEADER_LEN);
    answer(wire, out, sizeof out);
}

/* RFC 4861 section 4.4: 14 of Ethernet, 40 of IPv6, 24 of the advertisement, 8 of its option. */
static void answer_solicitation(struct px_wire *wire, const uint8_t *ip6)
{
    uint8_t out[14 + 40 + 32] = {0};
    struct mir__eth eth = {.type = TYPE_IP6};
    uint8_t *ip = out + 14;
    uint8_t *icmp = ip + 40;
    struct mir_ip src, dst;
    memcpy(src.bytes, ip6 + 48, 16);
    memcpy(dst.bytes, ip6 + 8, 16);
    if (mir_ip_is_any(&dst))
        return; /* is its own address free? Nobody objects */
    memcpy(eth.dst, own_mac, 6);
    memcpy(eth.src, neighbour_mac, 6);
    mir__eth_emit(&eth, out);
    mir_put_be32(ip, 0x60000000u);
    mir_put_be16(ip + 4, 32);
    ip[6] = PROTO_ICMP6;
    ip[7] = 255;
    memcpy(ip + 8, src.bytes, 16);
    memcpy(ip + 24, dst.bytes, 16);
    icmp[0] = ND_ADVERT;
    mir_put_be32(icmp + 4, 0x60000000u); /* solicited, override */
    memcpy(icmp + 8, src.bytes, 16);
    icmp[24] = 2; /* target link-layer address, in units of 8 bytes: 1 */
    icmp[25] = 1;
    memcpy(icmp + 26, neighbour_mac, 6);
    uint16_t sum =
        mir__csum_add(mir__csum_pseudo(&src, &dst, PROTO_ICMP6, 32), mir__csum_partial(icmp, 32));
    sum = (uint16_t)~sum;
    memcpy(icmp + 2, &sum, sizeof sum);
    answer(wire, out, sizeof out);
}

/* Link-layer business of IPv6 that no script wants to see. */
static bool is_link_chatter(struct px_wire *wire, const uint8_t *ip, uint32_t len)
{
    uint32_t at = 40;
    uint8_t next = ip[6];
    if (next == 0 && len >= 48) { /* hop-by-hop options: of MLD */
        next = ip[40];
        at += 8u + ip[41] * 8u;
    }
    if (next != PROTO_ICMP6 || len < at + 24)
        return false;
    if (ip[at] == ND_SOLICIT && at == 40)
        answer_solicitation(wire, ip);
    return (ip[at] >= ND_ROUTER_SOLICIT && ip[at] <= 137) || ip[at] == MLD2_REPORT ||
           (ip[at] >= 130 && ip[at] <= 132);
}

/* ---- out --------------------------------------------------------------------------------------
 */

/* Lengths and checksum that offloads left to the device. */
static void complete(struct px_packet *packet, const struct mir_buf *buf)
{
    uint8_t *ip = packet->data;
    bool is_v4 = ip[0] >> 4 == 4;
    if (is_v4 && (buf->flags & MIR_BUF_GSO_TCP4)) {
        mir_put_be16(ip + 2, (uint16_t)packet->len);
        memset(ip + 10, 0, 2);
        uint16_t sum = (uint16_t)~mir__csum_partial(ip, (ip[0] & 15u) * 4u);
        memcpy(ip + 10, &sum, sizeof sum);
    } else if (!is_v4 && (buf->flags & MIR_BUF_GSO_TCP6)) {
        mir_put_be16(ip + 4, (uint16_t)(packet->len - 40));
    }
    if (!(buf->flags & MIR_BUF_CSUM_PARTIAL) || buf->csum_start < 14u)
        return;
    uint32_t start = buf->csum_start - 14u;
    uint32_t field = start + buf->csum_offset;
    if (field + 2 > packet->len)
        return;
    struct mir_ip src, dst;
    if (is_v4) {
        src = mir_ip_from_v4(mir_get_be32(ip + 12));
        dst = mir_ip_from_v4(mir_get_be32(ip + 16));
    } else {
        memcpy(src.bytes, ip + 8, 16);
        memcpy(dst.bytes, ip + 24, 16);
    }
    uint8_t protocol = is_v4 ? ip[9] : ip[6];
    uint32_t len = packet->len - start;
    memset(ip + field, 0, 2);
    uint16_t sum = (uint16_t)~mir__csum_add(mir__csum_pseudo(&src, &dst, protocol, len),
                                            mir__csum_partial(ip + start, len));
    if (sum == 0 && protocol == MIR__PROTO_UDP)
        sum = 0xffff;
    memcpy(ip + field, &sum, sizeof sum);
}

static void keep(struct px_wire *wire, const struct mir_buf *buf, uint32_t len)
{
    if (wire->queued >= PX_PACKETS_MAX || len > PX_PACKET_MAX) {
        wire->forgotten++;
        return;
    }
    struct px_packet *packet = malloc(sizeof *packet + len);
    if (packet == NULL || mir_buf_copy_out(buf, 14, packet->data, len) < 0) {
        free(packet);
        wire->forgotten++;
        return;
    }
    packet->next = NULL;
    packet->at_us = mir_loop_now(wire->loop);
    packet->len = len;
    if (packet->data[0] >> 4 == 6 && len >= 40 && is_link_chatter(wire, packet->data, len)) {
        free(packet);
        return;
    }
    complete(packet, buf);
    if (wire->last != NULL)
        wire->last->next = packet;
    else
        wire->first = packet;
    wire->last = packet;
    wire->queued++;
}

static int wire_tx(struct mir_net_dev *dev, struct mir_buf *buf)
{
    struct px_wire *wire = of(dev);
    uint32_t total = mir_buf_total(buf);
    uint8_t head[64] = {0};
    wire->stats.tx_frames++;
    wire->stats.tx_bytes += total;
    if (mir_buf_copy_out(buf, 0, head, MIR_MIN(total, (uint32_t)sizeof head)) == 0 && total > 34) {
        uint16_t type = mir_get_be16(head + 12);
        if (type == TYPE_ARP)
            answer_arp(wire, head, total);
        else if (type == TYPE_IP4 || type == TYPE_IP6)
            keep(wire, buf, total - 14);
    }
    mir_buf_release(buf);
    return 0;
}

static void wire_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats)
{
    *stats = of(dev)->stats;
}

static void wire_close(struct mir_net_dev *dev)
{
    px_wire_fini(of(dev));
}

static const struct mir_net_dev_ops ops = {
    .start = wire_start,
    .stop = wire_stop,
    .tx = wire_tx,
    .stats = wire_stats,
    .close = wire_close,
};

/* ---- life, in ---------------------------------------------------------------------------------
 */

void px_wire_init(struct px_wire *wire, struct mir_loop *loop, struct mir_buf_pool *bufs,
                  uint16_t mtu, bool gso)
{
    uint32_t caps = MIR_NET_TX_CSUM | MIR_NET_TX_SG;
    if (gso)
        caps |= MIR_NET_TX_TSO4 | MIR_NET_TX_TSO6;
    *wire = (struct px_wire){
        .dev = {.ops = &ops, .info = {.mtu = mtu, .caps = caps, .kind = "wire"}},
        .loop = loop,
        .bufs = bufs,
    };
    memcpy(wire->dev.info.mac, own_mac, 6);
    wire->dev.info.gso_max = gso ? 65535 : 0;
    mir_work_init(&wire->answer_work, deliver_answers, wire);
}

void px_wire_fini(struct px_wire *wire)
{
    struct px_packet *packet;
    wire_stop(&wire->dev);
    while ((packet = px_wire_take(wire)) != NULL)
        free(packet);
}

bool px_wire_inject(struct px_wire *wire, const void *packet, size_t len)
{
    struct mir__eth eth = {0};
    const uint8_t *ip = packet;
    if (!wire->is_started || len < 20 || len > PX_PACKET_MAX)
        return false;
    struct mir_buf *buf = mir_buf_alloc_page(wire->bufs, len + 14, 0);
    if (buf == NULL)
        return false;
    memcpy(eth.dst, own_mac, 6);
    memcpy(eth.src, neighbour_mac, 6);
    eth.type = ip[0] >> 4 == 6 ? TYPE_IP6 : TYPE_IP4;
    mir__eth_emit(&eth, mir_buf_append(buf, 14));
    memcpy(mir_buf_append(buf, (uint32_t)len), packet, len);
    wire->stats.rx_frames++;
    wire->stats.rx_bytes += len + 14;
    wire->upper.rx(wire->upper.arg, buf);
    wire->upper.rx_end(wire->upper.arg);
    return true;
}

struct px_packet *px_wire_take(struct px_wire *wire)
{
    struct px_packet *packet = wire->first;
    if (packet == NULL)
        return NULL;
    wire->first = packet->next;
    if (wire->first == NULL)
        wire->last = NULL;
    wire->queued--;
    return packet;
}
