/* SPDX-License-Identifier: ISC */
/* Hostile peers: hosts without a stack that send what no honest one would.
 *
 *   synflood    SYNs from ever new ports; their SYN-ACKs are left unanswered
 *   fragments   first pieces of datagrams whose rest never comes
 *   arp         claims that ever new neighbours are here
 *   zerowindow  asks for a page and never opens its window; probes are answered
 *   silly       asks for a page and takes one byte at a time
 *   smallmss    offers an MSS of one byte and asks for a page
 *   optimist    acknowledges data long before it was sent
 *   ackstorm    answers every segment with one out of the window, and sends more on its own
 *
 * Those with connections open "flows" of them, each asks an HTTP server for "/". The others, and
 * ackstorm, do their deed "count" times, "every" so often. A hostile host answers ARP for itself
 * and nothing else; all it sends goes to the first router or host beside it. What they do to the
 * victim is for tests to say: bounded memory, honest connections still served.
 */
#include <mirari/bytes.h>

#include <stdlib.h>
#include <string.h>

#include "lib/wire/arp.h"
#include "lib/wire/csum.h"
#include "lib/wire/eth.h"
#include "lib/wire/ip4.h"
#include "lib/wire/tcp.h"
#include "target/sim/topology.h"

#define PORT_FIRST 20000u
#define EVERY_US   MIR_US_PER_MS
#define AHEAD      200000u
#define MSS        1460

enum kind { SYNFLOOD, FRAGMENTS, ARP, ZEROWINDOW, SILLY, SMALLMSS, OPTIMIST, ACKSTORM, KINDS };
static const char *const kind_names[KINDS] = {"synflood", "fragments", "arp",      "zerowindow",
                                              "silly",    "smallmss",  "optimist", "ackstorm"};

struct conn {
    uint32_t snd, rcv;
    bool is_open;
};

struct mir__hostile {
    struct mir__world *world;
    const struct mir__topo_job *topo;
    struct mir__world_node *node;
    struct mir_sim_port *port;
    struct mir_sim_call call;
    enum kind kind;
    uint32_t victim, own;
    uint16_t victim_port;
    uint32_t done, opened;
    bool is_stopped;
    struct conn conn[];
};

bool mir__hostile_is_kind(const char *kind)
{
    for (size_t i = 0; i < KINDS; i++) {
        if (strcmp(kind_names[i], kind) == 0)
            return true;
    }
    return false;
}

/* ---- sending ------------------------------------------------------------------------------------
 */

static void send_frame(struct mir__hostile *h, const uint8_t *data, uint32_t len)
{
    struct mir_buf *buf = mir_buf_alloc_page(&h->node->host->bufs, len, 0);
    if (buf == NULL)
        return;
    memcpy(mir_buf_append(buf, len), data, len);
    (void)h->port->dev.ops->tx(&h->port->dev, buf);
}

static void begin_frame(const struct mir__hostile *h, uint8_t *frame, uint16_t type)
{
    memcpy(frame, h->node->gateway_mac, 6);
    memcpy(frame + 6, h->port->dev.info.mac, 6);
    mir_put_be16(frame + 12, type);
}

static void send_tcp(struct mir__hostile *h, uint16_t port, uint8_t flags, uint32_t seq,
                     uint32_t ack, uint16_t wnd, const char *text)
{
    uint8_t frame[400];
    uint32_t len = (uint32_t)strlen(text);
    struct mir__tcp_options opt = {0};
    if (flags & MIR__TCP_SYN) {
        opt.has_mss = true;
        opt.mss = h->kind == SMALLMSS ? 1 : MSS;
    }
    uint32_t header = 20 + mir__tcp_options_len(&opt);
    struct mir__tcp_header hdr = {.src_port = port,
                                  .dst_port = h->victim_port,
                                  .seq = seq,
                                  .ack = ack,
                                  .wnd = wnd,
                                  .flags = flags,
                                  .hdr_len = (uint8_t)header};
    struct mir__ip4 ip = {.ttl = 64,
                          .protocol = 6,
                          .total_len = (uint16_t)(20 + header + len),
                          .src = h->own,
                          .dst = h->victim};
    uint8_t *tcp = frame + 34;
    begin_frame(h, frame, MIR__ETH_TYPE_IP4);
    mir__ip4_emit(&ip, frame + 14);
    mir__tcp_header_emit(tcp, &hdr);
    mir__tcp_options_emit(tcp + 20, &opt);
    memcpy(tcp + header, text, len);
    struct mir_ip src = mir_ip_from_v4(h->own), dst = mir_ip_from_v4(h->victim);
    uint16_t sum = (uint16_t)~mir__csum_add(mir__csum_partial(tcp, header + len),
                                            mir__csum_pseudo(&src, &dst, 6, header + len));
    memcpy(tcp + 16, &sum, 2);
    send_frame(h, frame, 34 + header + len);
}

static void send_fragment(struct mir__hostile *h, uint32_t number)
{
    uint8_t frame[14 + 20 + 800] = {0};
    struct mir__ip4 ip = {.ttl = 64,
                          .protocol = 17,
                          .total_len = 820,
                          .more_fragments = true,
                          .id = (uint16_t)number,
                          .src = h->own,
                          .dst = h->victim};
    begin_frame(h, frame, MIR__ETH_TYPE_IP4);
    mir__ip4_emit(&ip, frame + 14);
    send_frame(h, frame, sizeof frame);
}

static void send_arp(struct mir__hostile *h, uint16_t op, const uint8_t *to_mac, uint32_t sender,
                     uint32_t target)
{
    uint8_t frame[14 + MIR__ARP_LEN];
    struct mir__arp arp = {.op = op, .sender_ip = sender, .target_ip = target};
    memcpy(arp.sender_mac, h->port->dev.info.mac, 6);
    memcpy(arp.target_mac, to_mac, 6);
    begin_frame(h, frame, MIR__ETH_TYPE_ARP);
    memcpy(frame, to_mac, 6);
    mir__arp_emit(&arp, frame + 14);
    send_frame(h, frame, sizeof frame);
}

/* An address near @number that is nobody's: this is about the size of tables, not about theft. */
static uint32_t nobody(const struct mir__hostile *h, uint32_t number)
{
    uint32_t ip = (h->own & ~0xffffu) + number % 65536;
    for (uint32_t i = 0; i < h->world->topo->node_count; i++) {
        const struct mir__world_node *node = &h->world->nodes[i];
        if (node->host != NULL && mir_ip_to_v4(&node->ip) == ip)
            return h->own;
    }
    return ip;
}

/* ---- deeds --------------------------------------------------------------------------------------
 */

static uint16_t window_of(const struct mir__hostile *h)
{
    return h->kind == SILLY ? 1 : h->kind == ZEROWINDOW ? 0 : 65535;
}

static void open_conn(struct mir__hostile *h, uint32_t i)
{
    send_tcp(h, (uint16_t)(PORT_FIRST + i), MIR__TCP_SYN, h->conn[i].snd = 1000 * i, 0, 65535, "");
}

static void storm(struct mir__hostile *h)
{
    for (uint32_t i = 0; i < h->topo->flows; i++) {
        struct conn *conn = &h->conn[i];
        uint16_t port = (uint16_t)(PORT_FIRST + i);
        if (!conn->is_open)
            continue;
        send_tcp(h, port, MIR__TCP_ACK, conn->snd, conn->rcv + AHEAD, 65535, "");
        send_tcp(h, port, MIR__TCP_ACK, conn->snd - AHEAD, conn->rcv, 65535, "x");
        send_tcp(h, port, MIR__TCP_SYN, conn->snd, 0, 65535, "");
    }
}

static void act(void *arg)
{
    struct mir__hostile *h = arg;
    uint64_t every_us = h->topo->every_us != 0 ? h->topo->every_us : EVERY_US;
    uint32_t number = h->done++;
    if (h->is_stopped)
        return;
    if (h->opened < h->topo->flows && h->kind >= ZEROWINDOW)
        open_conn(h, h->opened++);
    if (h->kind == SYNFLOOD)
        send_tcp(h, (uint16_t)(1024 + number % 60000), MIR__TCP_SYN, number * 7919, 0, 65535, "");
    else if (h->kind == FRAGMENTS)
        send_fragment(h, number);
    else if (h->kind == ARP)
        send_arp(h, MIR__ARP_REQUEST, h->node->gateway_mac, nobody(h, number), h->victim);
    else if (h->kind == ACKSTORM)
        storm(h);
    if (h->done < MIR_MAX(h->topo->count, h->topo->flows))
        mir_sim_at(h->world->sim, &h->call, mir_sim_now(h->world->sim) + every_us);
}

static void take_segment(struct mir__hostile *h, const struct mir__tcp_header *hdr, uint32_t len)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: victim\r\n\r\n";
    uint32_t i = hdr->dst_port - PORT_FIRST;
    struct conn *conn = i < h->topo->flows ? &h->conn[i] : NULL;
    if (conn == NULL || (hdr->flags & MIR__TCP_RST) || h->kind < ZEROWINDOW)
        return;
    if (hdr->flags & MIR__TCP_SYN) {
        if (conn->is_open)
            return;
        conn->is_open = true;
        conn->rcv = hdr->seq + 1;
        conn->snd++;
        send_tcp(h, hdr->dst_port, MIR__TCP_ACK, conn->snd, conn->rcv, window_of(h), request);
        conn->snd += sizeof request - 1;
        return;
    }
    if (len > 0 && (h->kind != SILLY || hdr->seq == conn->rcv))
        conn->rcv = hdr->seq + (h->kind == SILLY ? 1 : len);
    if (h->kind == ZEROWINDOW && len > 0)
        conn->rcv = hdr->seq; /* nothing is ever taken */
    if (h->kind == OPTIMIST)
        send_tcp(h, hdr->dst_port, MIR__TCP_ACK, conn->snd, conn->rcv + AHEAD, 65535, "");
    if (h->kind == OPTIMIST)
        send_tcp(h, hdr->dst_port, MIR__TCP_ACK, conn->snd, conn->rcv + MSS, 65535, "");
    if (h->kind == ACKSTORM)
        send_tcp(h, hdr->dst_port, MIR__TCP_ACK, conn->snd - AHEAD, conn->rcv, 65535, "");
    else if (len > 0 || (hdr->flags & MIR__TCP_FIN))
        send_tcp(h, hdr->dst_port, MIR__TCP_ACK, conn->snd, conn->rcv, window_of(h), "");
}

static void receive(void *arg, struct mir_buf *buf)
{
    struct mir__hostile *h = arg;
    uint8_t frame[2000];
    uint32_t len = mir_buf_total(buf);
    struct mir__tcp_header hdr;
    struct mir__arp arp;
    bool is_good = len >= 34 && len <= sizeof frame && mir_buf_copy_out(buf, 0, frame, len) == 0;
    mir_buf_release(buf);
    if (!is_good || h->is_stopped)
        return;
    uint16_t type = mir_get_be16(frame + 12);
    if (type == MIR__ETH_TYPE_ARP && mir__arp_parse(frame + 14, len - 14, &arp) == 0) {
        if (arp.op == MIR__ARP_REQUEST && arp.target_ip == h->own)
            send_arp(h, MIR__ARP_REPLY, arp.sender_mac, h->own, arp.sender_ip);
        return;
    }
    const uint8_t *ip = frame + 14;
    if (type != MIR__ETH_TYPE_IP4 || mir__ip4_check(ip, len - 14, len - 14) < 0 ||
        mir__ip4_protocol(ip) != 6 || mir__ip4_dst(ip) != h->own)
        return;
    uint32_t header = mir__ip4_header_len(ip), tcp_len = mir__ip4_total_len(ip) - header;
    if (mir__tcp_header_parse(ip + header, tcp_len, &hdr) == 0)
        take_segment(h, &hdr, tcp_len - hdr.hdr_len);
}

int mir__hostile_start(struct mir__world *world, const struct mir__topo_job *topo,
                       struct mir__hostile **out)
{
    struct mir__hostile *h = calloc(1, sizeof *h + topo->flows * sizeof h->conn[0]);
    if (h == NULL)
        return -MIR_ENOMEM;
    *out = h;
    h->world = world;
    h->topo = topo;
    h->node = &world->nodes[topo->node];
    h->victim = mir_ip_to_v4(&world->nodes[topo->to].ip);
    h->own = mir_ip_to_v4(&h->node->ip);
    h->victim_port = topo->port != 0 ? topo->port : 80;
    while (strcmp(kind_names[h->kind], topo->kind) != 0)
        h->kind++;
    if (mir_list_is_empty(&h->node->host->ports))
        return -MIR_ENOENT;
    h->port = mir_sim_first_port(h->node->host);
    struct mir_net_upper upper = {.rx = receive, .arg = h};
    int r = h->port->dev.ops->start(&h->port->dev, &upper);
    if (r < 0)
        return r;
    h->call.run = act;
    h->call.arg = h;
    mir_sim_at(world->sim, &h->call, mir_sim_now(world->sim) + topo->start_us);
    return 0;
}

void mir__hostile_stop(struct mir__hostile *h)
{
    h->is_stopped = true;
    mir_sim_cancel(h->world->sim, &h->call);
}

void mir__hostile_free(struct mir__hostile *h)
{
    free(h);
}
