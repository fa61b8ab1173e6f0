/* SPDX-License-Identifier: ISC */
/* The whole stack fed with frames, time and trouble. Checksums are not verified (MIR_FUZZING).
 *
 *   bytes      op argument...
 *   op % 16    0   a raw frame: length (2 bytes), bytes
 *              1   an IP packet from the peer to us: protocol, length, payload
 *              2   an IP packet with a header of the input's: length, header and payload
 *              3   a TCP segment to the listener: flags, source port low, kind of seq and ack,
 *                  options and payload; numbers near those we have sent, so that it gets far
 *              4   a UDP datagram to the echo socket: length, payload
 *              5   ARP from the peer: operation, last byte of the sender's address
 *              6   time goes on by 2^(argument % 27) us
 *              7   the application: connect, send, shut down, close, abort
 *              8   the device has no room, or has it again
 *              9   an allocation fails soon
 *              10  link down and up
 *              11  a fragment: identification, offset, more, length, payload
 *              12  an IPv6 packet from the peer: next header, destination, length, payload
 *              13  op 3 over IPv6
 *              14  a fragment of IPv6: next header, identification, offset, more, length, payload
 *              15  the application over IPv6
 *
 * At the end everything must have been given back.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "lib/wire/tcp.h"
#include "test/fuzz/input.h"
#include "test/harness/bed6.h"
#include "test/harness/testdev.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FLOWS = 8, PORT = 80 };

static struct testbed bed;
static struct mir_tcp *flows[FLOWS];
static struct mir_udp *echo;
static uint32_t last_seq, last_ack; /* of our last TCP segment */
static uint16_t last_port;
static struct mir_ip own6, peer6;

static const uint8_t *take_bytes(struct fuzz_input *in, size_t *len)
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

static void look_at_tcp(const uint8_t *data, size_t len)
{
    struct mir__tcp_header tcp;
    if (mir__tcp_header_parse(data, len, &tcp) < 0)
        abort();
    last_seq = tcp.seq + (tcp.flags & MIR__TCP_SYN ? 1 : 0);
    last_ack = tcp.ack;
    last_port = tcp.src_port;
}

/* What leaves is well-formed, whatever came in: no IPv4 in disguise, fragments of eights. */
static void check_ip6(const uint8_t *data, size_t len)
{
    struct mir__ip6 ip;
    if (mir__ip6_parse(data, len, &ip) < 0 || ip.payload_len != len - 40 ||
        (!mir__ip6_is_host(&ip.src) && !mir__ip6_is_unspecified(&ip.src)) ||
        (!mir__ip6_is_host(&ip.dst) && !mir__ip6_is_multicast(&ip.dst)))
        abort();
    if (ip.next == MIR__PROTO_TCP)
        look_at_tcp(data + 40, len - 40);
    if (ip.next == MIR__IP6_FRAGMENT && mir__ip6_fragment_more(data + 40) && (len - 48) % 8 != 0)
        abort();
}

static bool on_tx(void *arg, const struct testdev_frame *frame)
{
    (void)arg;
    if (mir__eth_check(frame->data, frame->len) < 0)
        abort();
    if (mir__eth_type(frame->data) == MIR__ETH_TYPE_ARP)
        return true;
    if (mir__eth_type(frame->data) == MIR__ETH_TYPE_IP6) {
        check_ip6(frame->data + 14, frame->len - 14);
        return true;
    }
    /* What leaves is well-formed, whatever came in. */
    struct mir__ip4 ip;
    if (mir__ip4_parse(frame->data + 14, frame->len - 14, &ip) < 0 ||
        !mir__ip4_checksum_ok(frame->data + 14) || ip.total_len != frame->len - 14)
        abort();
    if (ip.protocol == MIR__PROTO_TCP)
        look_at_tcp(frame->data + 34, frame->len - 34);
    return true;
}

static void application(uint8_t what, bool is_v6)
{
    struct mir_tcp **flow = &flows[what / 8 % FLOWS];
    struct mir_endpoint remote = {.ip = mir_ip_from_v4(TESTBED_PEER_IP), .port = 9};
    if (is_v6)
        remote.ip = peer6;
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

static void inject_ip6(uint8_t next, const struct mir_ip *dst, const void *payload, size_t len)
{
    struct mir__ip6 ip = {
        .next = next, .hops = 255, .payload_len = (uint16_t)len, .src = peer6, .dst = *dst};
    memcpy(frame, testbed_mac, 6);
    memcpy(frame + 6, testbed_peer_mac, 6);
    mir_put_be16(frame + 12, MIR__ETH_TYPE_IP6);
    mir__ip6_emit(&ip, frame + 14);
    memmove(frame + 54, payload, len);
    testdev_inject(&bed.dev, frame, 54 + len);
}

static void inject_packet6(struct fuzz_input *in)
{
    static const uint8_t nexts[] = {0, 6, 17, 43, 44, 58, 59, 60};
    uint8_t next = fuzz_u8(in), to = fuzz_u8(in);
    size_t len = fuzz_u8(in);
    const uint8_t *bytes = take_bytes(in, &len);
    struct mir_ip all = bed6_ip("ff02::1"), link_local = bed6_ip(BED6_OWN_LL);
    inject_ip6(next & 8 ? next : nexts[next % 8],
               to & 1   ? &all
               : to & 2 ? &link_local
                        : &own6,
               bytes, len);
}

static void inject_fragment6(struct fuzz_input *in)
{
    static uint8_t packet[300];
    uint8_t next = fuzz_u8(in), id = fuzz_u8(in), offset = fuzz_u8(in), how = fuzz_u8(in);
    size_t len = fuzz_u8(in);
    const uint8_t *bytes = take_bytes(in, &len);
    struct mir__ip6_fragment fragment = {
        .next = next & 1   ? 17
                : next & 2 ? 58
                           : next,
        .more = how & 1,
        .offset = (uint16_t)(how & 4 ? 65528 - offset * 8 : offset * 8),
        .id = id % 4,
    };
    mir__ip6_fragment_emit(&fragment, packet);
    memcpy(packet + 8, bytes, len);
    inject_ip6(MIR__IP6_FRAGMENT, &own6, packet, len + 8);
}

static void inject_header(struct fuzz_input *in)
{
    size_t len = fuzz_u8(in);
    const uint8_t *bytes = take_bytes(in, &len);
    memcpy(frame, testbed_mac, 6);
    memcpy(frame + 6, testbed_peer_mac, 6);
    mir_put_be16(frame + 12, MIR__ETH_TYPE_IP4);
    memcpy(frame + 14, bytes, len);
    testdev_inject(&bed.dev, frame, 14 + len);
}

static void inject_tcp(struct fuzz_input *in, bool is_v6)
{
    static uint8_t segment[400];
    uint8_t flags = fuzz_u8(in), port = fuzz_u8(in), kind = fuzz_u8(in), shift = fuzz_u8(in);
    size_t len = fuzz_u8(in);
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
    size_t segment_len = MIR_MAX(20 + len, (size_t)header_len);
    if (is_v6)
        inject_ip6(MIR__PROTO_TCP, &own6, segment, segment_len);
    else
        inject_ip(MIR__PROTO_TCP, segment, segment_len);
}

static void inject_fragment(struct fuzz_input *in)
{
    uint8_t id = fuzz_u8(in), offset = fuzz_u8(in), how = fuzz_u8(in);
    size_t len = fuzz_u8(in);
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

static void inject_arp(struct fuzz_input *in)
{
    uint8_t op = fuzz_u8(in), last = fuzz_u8(in);
    testbed_inject_arp(&bed, op % 4, 0x0a000000u + last, testbed_peer_mac,
                       op & 4 ? TESTBED_IP : 0x0a000000u + op);
}

static void step(struct fuzz_input *in)
{
    size_t len;
    uint8_t protocol;
    switch (fuzz_u8(in) % 16) {
    case 0:
        len = fuzz_u8(in);
        len |= (size_t)(fuzz_u8(in) & 7) << 8;
        memcpy(frame, take_bytes(in, &len), len);
        testdev_inject(&bed.dev, frame, len);
        break;
    case 1:
        protocol = fuzz_u8(in);
        len = fuzz_u8(in);
        const uint8_t *bytes = take_bytes(in, &len);
        inject_ip(protocol % 20, bytes, len);
        break;
    case 2:
        inject_header(in);
        break;
    case 3:
        inject_tcp(in, false);
        break;
    case 4:
        len = fuzz_u8(in);
        const uint8_t *payload = take_bytes(in, &len);
        testdev_inject(&bed.dev, frame, testbed_make_udp(frame, 5555, 7, payload, len));
        break;
    case 5:
        inject_arp(in);
        break;
    case 6:
        testbed_advance(&bed, 1ull << fuzz_u8(in) % 27);
        break;
    case 7:
        application(fuzz_u8(in), false);
        break;
    case 8:
        bed.dev.room = fuzz_u8(in) & 1 ? UINT32_MAX : 0;
        if (bed.dev.room != 0)
            bed.dev.upper.tx_ready(bed.dev.upper.arg);
        break;
    case 9:
        mir_page_pool_fail_at(&bed.pages, 1 + fuzz_u8(in) % 16);
        mir_pool_fail_at(&bed.bufs.pool, 1 + fuzz_u8(in) % 16);
        break;
    case 10:
        bed.dev.upper.link(bed.dev.upper.arg, fuzz_u8(in) & 1);
        break;
    case 11:
        inject_fragment(in);
        break;
    case 12:
        inject_packet6(in);
        break;
    case 13:
        inject_tcp(in, true);
        break;
    case 14:
        inject_fragment6(in);
        break;
    default:
        application(fuzz_u8(in), true);
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
    struct mir_net_prefix address = {.prefix_len = 64};
    struct mir_net_if_config interface = {
        .ip = mir_ip_from_v4(TESTBED_IP),
        .prefix_len = 24,
        .gateway = mir_ip_from_v4(TESTBED_PEER_IP),
        .ip6 = MIR_IP6_AUTO,
        .addresses = &address,
        .address_count = 1,
    };
    struct mir_tcp_listener *listener;
    own6 = address.ip = bed6_ip("fd00::2");
    peer6 = bed6_ip("fd00::1");
    memset(flows, 0, sizeof flows);
    last_seq = last_ack = 0;
    last_port = PORT;
    testbed_init(&bed, 1, 1 << 20, 0);
    bed.dev.on_tx = on_tx;
    testbed_open_if(&bed, &config, &interface);
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    testbed_inject_arp(&bed, MIR__ARP_REQUEST, TESTBED_PEER_IP, testbed_peer_mac, TESTBED_IP);
    bed6_solicit(&bed, "fd00::1", "ff02::1:ff00:2", "fd00::2", testbed_peer_mac);
    testbed_run(&bed);
    if (mir_udp_open(bed.stack, &any, on_datagram, NULL, &echo) < 0 ||
        mir_tcp_listen(bed.stack, &listen, &listener) < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, MIR_MIN(size, (size_t)8192)};
    open_all();
    for (int i = 0; in.left > 0 && i < 200; i++)
        step(&in);
    mir_page_pool_fail_at(&bed.pages, 0);
    mir_pool_fail_at(&bed.bufs.pool, 0);
    if (!testbed_close(&bed))
        abort();
    return 0;
}
