/* SPDX-License-Identifier: ISC */
/* The whole stack fed with frames, time and trouble. Checksums are not verified (MIR_FUZZING).
 *
 *   bytes      op argument...
 *   op % 12    0  a raw frame: length (2 bytes), bytes
 *              1  an IP packet from the peer to us: protocol, length, payload
 *              2  an IP packet with a header of the input's: length, header and payload
 *              3  a TCP segment to the listener: flags, source port low, kind of seq and ack,
 * options and payload; numbers near those we have sent, so that it gets far 4  a UDP datagram to
 * the echo socket: length, payload 5  ARP from the peer: operation, last byte of the sender's
 * address 6  time goes on by 2^(argument % 27) us 7  the application: connect, send, shut down,
 * close, abort 8  the device has no room, or has it again 9  an allocation fails soon 10  link down
 * and up 11  a fragment: identification, offset, more, length, payload
 *
 * At the end everything must have been given back.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "lib/wire/tcp.h"
#include "test/harness/testdev.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FLOWS = 8, PORT = 80 };

struct input {
    const uint8_t *at;
    size_t left;
};

static struct testbed bed;
static struct mir_tcp *flows[FLOWS];
static struct mir_udp *echo;
static uint32_t last_seq, last_ack; /* of our last TCP segment */
static uint16_t last_port;

static uint8_t take(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

static const uint8_t *take_bytes(struct input *in, size_t *len)
{
    const uint8_t *at = in->at;
    *len = MIR_MIN(*len, in->left);
    in->at += *len;
    in->left -= *len;
    return at;
}

/* ---- the application ------------------------------------------------------------------------ */

static void forget(const struct mir_tcp *tcp)
{
    for (size_t i = 0; i < FLOWS; i++) {
        if (flows[i] == tcp)
            flows[i] = NULL;
    }
}

static void drain(struct mir_tcp *tcp)
{
    struct mir_view view;
    while (mir_tcp_recv_view(tcp, &view) == 0) {
        if (view.len == 0)
            abort();
        if (mir_tcp_send_room(tcp) >= view.len) {
            if (mir_tcp_send_view(tcp, view) < 0)
                return;
        } else {
            mir_view_release(&view);
        }
    }
}

static void on_event(struct mir_tcp *tcp, unsigned events, void *arg)
{
    (void)arg;
    if (events & MIR_TCP_READABLE)
        drain(tcp);
    if (events & (MIR_TCP_FAILED | MIR_TCP_CLOSED)) {
        forget(tcp);
        mir_tcp_close(tcp);
    }
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp, void *arg)
{
    (void)listener, (void)arg;
    for (size_t i = 0; i < FLOWS; i++) {
        if (flows[i] == NULL) {
            flows[i] = tcp;
            mir_tcp_set_handler(tcp, on_event, NULL);
            drain(tcp);
            return;
        }
    }
    mir_tcp_close(tcp);
}

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf,
                        void *arg)
{
    static uint8_t data[65536];
    uint32_t len = mir_buf_total(buf);
    (void)arg;
    if (mir_buf_copy_out(buf, 0, data, len) < 0)
        abort();
    mir_buf_release(buf);
    (void)mir_udp_send(udp, &meta->from, data, len);
}

static bool on_tx(void *arg, const struct testdev_frame *frame)
{
    (void)arg;
    if (mir__eth_check(frame->data, frame->len) < 0)
        abort();
    if (mir__eth_type(frame->data) == MIR__ETH_TYPE_ARP)
        return true;
    /* What leaves is well-formed, whatever came in. */
    struct mir__ip4 ip;
    if (mir__ip4_parse(frame->data + 14, frame->len - 14, &ip) < 0 ||
        !mir__ip4_checksum_ok(frame->data + 14) || ip.total_len != frame->len - 14)
        abort();
    if (ip.protocol == MIR__PROTO_TCP) {
        struct mir__tcp_header tcp;
        if (mir__tcp_header_parse(frame->data + 34, frame->len - 34, &tcp) < 0)
            abort();
        last_seq = tcp.seq + (tcp.flags & MIR__TCP_SYN ? 1 : 0);
        last_ack = tcp.ack;
        last_port = tcp.src_port;
    }
    return true;
}

static void application(uint8_t what)
{
    struct mir_tcp **flow = &flows[what / 8 % FLOWS];
    struct mir_endpoint remote = {.ip = mir_ip_from_v4(TESTBED_PEER_IP), .port = 9};
    static const uint8_t data[3000];
    size_t queued;
    if (*flow == NULL) {
        if (what % 8 == 0 && mir_tcp_connect(bed.stack, &remote, on_event, NULL, flow) < 0)
            *flow = NULL;
        return;
    }
    switch (what % 8) {
    case 1:
        (void)!mir_tcp_send(*flow, data, sizeof data, &queued);
        break;
    case 2:
        (void)mir_tcp_shutdown(*flow);
        break;
    case 3:
        mir_tcp_close(*flow);
        *flow = NULL;
        break;
    case 4:
        mir_tcp_abort(*flow);
        *flow = NULL;
        break;
    case 5:
        (void)!mir_tcp_set_option(*flow, what / 8 % 9, what);
        break;
    default:
        drain(*flow);
        break;
    }
}

/* ---- from the wire -------------------------------------------------------------------------- */

static uint8_t frame[70000];

static void inject_ip(uint8_t protocol, const void *payload, size_t len)
{
    size_t n = testbed_make_ip(frame, protocol, payload, len);
    testdev_inject(&bed.dev, frame, n);
}

static void inject_header(struct input *in)
{
    size_t len = take(in);
    const uint8_t *bytes = take_bytes(in, &len);
    memcpy(frame, testbed_mac, 6);
    memcpy(frame + 6, testbed_peer_mac, 6);
    mir_put_be16(frame + 12, MIR__ETH_TYPE_IP4);
    memcpy(frame + 14, bytes, len);
    testdev_inject(&bed.dev, frame, 14 + len);
}

static void inject_tcp(struct input *in)
{
    static uint8_t segment[400];
    uint8_t flags = take(in), port = take(in), kind = take(in), shift = take(in);
    size_t len = take(in);
    const uint8_t *bytes = take_bytes(in, &len);
    uint8_t header_len = (uint8_t)(20 + 4 * (kind >> 6 & 3));
    struct mir__tcp_header tcp = {
        .src_port = (uint16_t)(1000 + port % 4),
        .dst_port = port & 0x80 ? last_port : PORT,
        .seq = last_ack + (kind & 1 ? (uint32_t)(int8_t)shift : 0) + (kind & 2 ? 1u << 20 : 0),
        .ack = last_seq + (kind & 4 ? (uint32_t)(int8_t)shift : 0) + (kind & 8 ? 1000u : 0),
        .wnd = (uint16_t)(kind & 16 ? shift : 60000),
        .flags = flags,
        .hdr_len = header_len,
    };
    if (port & 0x40)
        tcp.src_port = 9;
    mir__tcp_header_emit(segment, &tcp);
    memset(segment + 20, 1, header_len - 20u);
    memcpy(segment + 20, bytes, len);
    inject_ip(MIR__PROTO_TCP, segment, MIR_MAX(20 + len, (size_t)header_len));
}

static void inject_fragment(struct input *in)
{
    uint8_t id = take(in), offset = take(in), how = take(in);
    size_t len = take(in);
    const uint8_t *bytes = take_bytes(in, &len);
    struct mir__ip4 ip;
    size_t n = testbed_make_ip(frame, how & 2 ? MIR__PROTO_UDP : MIR__PROTO_ICMP, bytes, len);
    if (mir__ip4_parse(frame + 14, n - 14, &ip) < 0)
        abort();
    ip.id = id;
    ip.offset = (uint16_t)(how & 4 ? 65528 - offset * 8 : offset * 8);
    ip.more_fragments = how & 1;
    mir__ip4_emit(&ip, frame + 14);
    testdev_inject(&bed.dev, frame, n);
}

static void inject_arp(struct input *in)
{
    uint8_t op = take(in), last = take(in);
    testbed_inject_arp(&bed, op % 4, 0x0a000000u + last, testbed_peer_mac,
                       op & 4 ? TESTBED_IP : 0x0a000000u + op);
}

static void step(struct input *in)
{
    size_t len;
    uint8_t protocol;
    switch (take(in) % 12) {
    case 0:
        len = take(in);
        len |= (size_t)(take(in) & 7) << 8;
        memcpy(frame, take_bytes(in, &len), len);
        testdev_inject(&bed.dev, frame, len);
        break;
    case 1:
        protocol = take(in);
        len = take(in);
        const uint8_t *bytes = take_bytes(in, &len);
        inject_ip(protocol % 20, bytes, len);
        break;
    case 2:
        inject_header(in);
        break;
    case 3:
        inject_tcp(in);
        break;
    case 4:
        len = take(in);
        const uint8_t *payload = take_bytes(in, &len);
        testdev_inject(&bed.dev, frame, testbed_make_udp(frame, 5555, 7, payload, len));
        break;
    case 5:
        inject_arp(in);
        break;
    case 6:
        testbed_advance(&bed, 1ull << take(in) % 27);
        break;
    case 7:
        application(take(in));
        break;
    case 8:
        bed.dev.room = take(in) & 1 ? UINT32_MAX : 0;
        if (bed.dev.room != 0)
            bed.dev.upper.tx_ready(bed.dev.upper.arg);
        break;
    case 9:
        mir_page_pool_fail_at(&bed.pages, 1 + take(in) % 16);
        mir_pool_fail_at(&bed.bufs.pool, 1 + take(in) % 16);
        break;
    case 10:
        bed.dev.upper.link(bed.dev.upper.arg, take(in) & 1);
        break;
    default:
        inject_fragment(in);
        break;
    }
    testbed_run(&bed);
}

static void open_all(void)
{
    struct mir_net_config config = {
        .tcp_connections_max = 64,
        .arp_entries_max = 16,
        .reassembly_max_bytes = 100000,
    };
    struct mir_endpoint any = {.ip = mir_ip_from_v4(0), .port = 7};
    struct mir_tcp_listen_config listen = {
        .local = {.ip = mir_ip_from_v4(0), .port = PORT},
        .backlog = 4,
        .on_accept = on_accept,
    };
    struct mir_tcp_listener *listener;
    memset(flows, 0, sizeof flows);
    last_seq = last_ack = 0;
    last_port = PORT;
    testbed_init(&bed, 1, 1 << 20, 0);
    bed.dev.on_tx = on_tx;
    testbed_open(&bed, &config);
    if (mir_udp_open(bed.stack, &any, on_datagram, NULL, &echo) < 0 ||
        mir_tcp_listen(bed.stack, &listen, &listener) < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, MIR_MIN(size, (size_t)8192)};
    open_all();
    for (int i = 0; in.left > 0 && i < 200; i++)
        step(&in);
    mir_page_pool_fail_at(&bed.pages, 0);
    mir_pool_fail_at(&bed.bufs.pool, 0);
    if (!testbed_close(&bed))
        abort();
    return 0;
}
