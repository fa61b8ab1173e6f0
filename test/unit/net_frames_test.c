/* SPDX-License-Identifier: ISC */
/* Frames in strange shapes, and what must never leave: mistakes that older stacks had. */
#include <stdlib.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

static struct testbed bed;
static uint8_t got[65536];
static uint32_t got_len, got_count;

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf,
                        void *arg)
{
    (void)arg;
    got_count++;
    got_len = mir_buf_total(buf);
    check_int(mir_buf_copy_out(buf, 0, got, got_len), ==, 0);
    mir_buf_release(buf);
    (void)mir_udp_send(udp, &meta->from, got, got_len);
}

static void open_echo(uint16_t mtu, uint32_t caps)
{
    struct mir_endpoint local = {.ip = mir_ip_from_v4(0), .port = 7};
    struct mir_udp *udp;
    testbed_init(&bed, 3, 8 << 20, caps);
    bed.dev.dev.info.mtu = mtu;
    testbed_open(&bed, NULL);
    check_int(mir_udp_open(bed.stack, &local, on_datagram, NULL, &udp), ==, 0);
    got_count = 0;
}

/* The frame as a device with scattered buffers delivers it: [0, at) linear, the rest in views. */
static void inject_split(const uint8_t *frame, size_t len, size_t at, size_t view_len)
{
    struct mir_buf *buf = mir_buf_alloc_page(&bed.bufs, 4096, 0);
    memcpy(mir_buf_append(buf, (uint32_t)at), frame, at);
    while (at < len) {
        struct mir_io_page *page;
        size_t n = MIR_MIN(view_len, len - at);
        check_int(mir_page_alloc(&bed.pages, 4096, MIR_PAGE_OVERWRITE, &page), ==, 0);
        memcpy(page->base + 1, frame + at, n);
        check_int(mir_buf_add_view(buf, mir_view_of_page(page, 1, (uint32_t)n)), ==, 0);
        mir_page_release(page);
        at += n;
    }
    bed.dev.upper.rx(bed.dev.upper.arg, buf);
    testdev_end_batch(&bed.dev);
}

static void test_split(void)
{
    static uint8_t frame[2000], payload[1400];
    open_echo(1500, 0);
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 11 + 5);
    size_t len = testbed_make_udp(frame, 5555, 7, payload, sizeof payload);
    tap_case("a frame whose headers are split between buffers arrives whole, wherever it is cut");
    for (size_t at = 0; at <= 200; at++) {
        got_len = 0;
        inject_split(frame, len, at, 1 + (len - at) / 3);
        if (!check_int(got_len, ==, sizeof payload) || !check_mem(got, payload, sizeof payload))
            tap_note("cut at %zu", at);
    }
    tap_case("a short frame in pieces");
    len = testbed_make_udp(frame, 5555, 7, payload, 5);
    for (size_t at = 0; at < len; at++) {
        got_len = 0;
        inject_split(frame, len, at, 7);
        check_int(got_len, ==, 5);
    }
    testdev_clear(&bed.dev);
    testbed_close(&bed);
}

static void test_jumbo(void)
{
    static uint8_t frame[10000], payload[8972];
    open_echo(9000, MIR_NET_TX_SG);
    tap_case("9,000-byte packets in and out in one frame");
    memset(payload, 0x5c, sizeof payload);
    size_t len = testbed_make_udp(frame, 5555, 7, payload, sizeof payload);
    check_int(len, ==, 9014);
    testdev_inject(&bed.dev, frame, len);
    check_int(got_len, ==, sizeof payload);
    const struct testdev_frame *sent = testdev_next(&bed.dev);
    if (check(sent != NULL)) {
        check_int(sent->len, ==, 9014);
        check_mem(sent->data + 42, payload, sizeof payload);
    }
    check(testdev_next(&bed.dev) == NULL);
    testbed_close(&bed);
}

static void test_order(void)
{
    uint8_t frame[100];
    open_echo(1500, 0);
    tap_case("frames are answered in the order they came, batches or not");
    for (uint8_t i = 0; i < 100; i++) {
        size_t len = testbed_make_udp(frame, 5555, 7, &i, 1);
        testdev_inject_more(&bed.dev, frame, len, 0);
    }
    testdev_end_batch(&bed.dev);
    for (uint8_t i = 0; i < 100; i++) {
        const struct testdev_frame *sent = testdev_next(&bed.dev);
        if (check(sent != NULL))
            check_int(sent->data[42], ==, i);
    }
    testbed_close(&bed);
}

/* Fresh memory reads 0xa5 in a bed, released memory 0xdb in debug builds. */
static bool is_foreign(const struct testdev_frame *frame)
{
    for (uint32_t i = 0; i + 4 <= frame->len; i++) {
        uint32_t word = mir_get_be32(frame->data + i);
        if (word == 0xa5a5a5a5 || word == 0xdbdbdbdb)
            return true;
    }
    return false;
}

static uint32_t frames_seen;

static bool look(void *arg, const struct testdev_frame *frame)
{
    (void)arg;
    frames_seen++;
    if (!check(!is_foreign(frame)))
        tap_note("frame %u, %u bytes", frames_seen, frame->len);
    return true;
}

static void test_no_foreign_bytes(void)
{
    static uint8_t frame[2000], payload[1400];
    tap_case("no byte that nobody wrote leaves: ARP, DHCP, ICMP, UDP, TCP, fragments");
    struct mir_net_if_config config = {.use_dhcp = true, .hostname = "x"};
    testbed_init(&bed, 3, 8 << 20, 0);
    memset(bed.arena, 0xa5, 8 << 20);
    bed.dev.on_tx = look;
    frames_seen = 0;
    testbed_open_if(&bed, NULL, &config);
    testbed_advance(&bed, 20 * MIR_US_PER_S);
    check_int(frames_seen, >=, 2);
    mir__iface_set_address(&bed.net->ifaces[0], TESTBED_IP, 24, TESTBED_PEER_IP);
    struct mir_endpoint to = {.ip = mir_ip_from_v4(TESTBED_PEER_IP), .port = 7};
    struct mir_endpoint any = {.ip = mir_ip_from_v4(0)};
    struct mir_udp *udp;
    struct mir_tcp *tcp;
    check_int(mir_udp_open(bed.stack, &any, NULL, NULL, &udp), ==, 0);
    check_int(mir_tcp_connect(bed.stack, &to, NULL, NULL, &tcp), ==, 0);
    testbed_inject_arp(&bed, MIR__ARP_REQUEST, TESTBED_PEER_IP, testbed_peer_mac, TESTBED_IP);
    memset(payload, 0x11, sizeof payload);
    for (size_t len = 0; len < 1400; len += 23) {
        check_int(mir_udp_send(udp, &to, payload, len), ==, 0);
        testdev_inject(&bed.dev, frame, testbed_make_udp(frame, 1, 2, payload, len));
        testbed_advance(&bed, 50000);
    }
    static uint8_t big[9000];
    check_int(mir_udp_send(udp, &to, big, sizeof big), ==, 0);
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    check_int(frames_seen, >, 130);
    mir_tcp_abort(tcp);
    testbed_close(&bed);
}

static void test_churn(void)
{
    static uint8_t frame[2000], payload[1000];
    open_echo(1500, 0);
    tap_case("20,000 datagrams through a small memory: use is the same before and after");
    size_t before = mir_page_pool_used_bytes(&bed.pages);
    size_t after_first = 0;
    bed.dev.queued_max = 0;
    for (int i = 0; i < 20000; i++) {
        size_t len = testbed_make_udp(frame, 5555, 7, payload, (size_t)(i % 1000));
        testdev_inject(&bed.dev, frame, len);
        if (i == 100)
            after_first = mir_page_pool_used_bytes(&bed.pages);
    }
    check_int(got_count, ==, 20000);
    check_int(mir_page_pool_used_bytes(&bed.pages), ==, after_first);
    check_int(after_first - before, <=, 65536);
    check_int(mir_pool_used(&bed.bufs.pool), ==, 0);
    testbed_close(&bed);
}

static void turn_round(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf,
                       void *arg)
{
    (void)arg;
    check_int(mir_udp_send_buf(udp, &meta->from, buf), ==, 0);
}

/* The device that received it could do sums; the one it leaves by cannot. */
static void test_turned_round(void)
{
    struct mir_endpoint local = {.ip = mir_ip_from_v4(0), .port = 7};
    struct mir_ip ours = mir_ip_from_v4(TESTBED_IP), peer = mir_ip_from_v4(TESTBED_PEER_IP);
    struct mir_udp *udp;
    uint8_t frame[100];
    tap_case("a received buffer that is sent again has a checksum of its own");
    testbed_init(&bed, 5, 8 << 20, 0);
    testbed_open(&bed, NULL);
    check_int(mir_udp_open(bed.stack, &local, turn_round, NULL, &udp), ==, 0);
    size_t len = testbed_make_udp(frame, 5555, 7, "payload", 7);
    struct mir_buf *buf = mir_buf_alloc(&bed.bufs, MIR_BUF_HEADROOM);
    memcpy(mir_buf_append(buf, (uint32_t)len), frame, len);
    memcpy(buf->data + 40, "\0\1", 2); /* the host left it to the device */
    buf->flags = MIR_BUF_CSUM_PARTIAL | MIR_BUF_CSUM_VALID;
    buf->csum_start = 34;
    buf->csum_offset = 6;
    bed.dev.upper.rx(bed.dev.upper.arg, buf);
    testdev_end_batch(&bed.dev);
    const struct testdev_frame *sent = testdev_next(&bed.dev);
    if (check(sent != NULL)) {
        uint16_t sum = mir__csum_pseudo(&ours, &peer, 17, 15);
        check_int(sent->flags, ==, 0);
        check_int(mir__csum_add(sum, mir__csum_partial(sent->data + 34, 15)), ==, 0xffff);
    }
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_frames");
    test_turned_round();
    test_split();
    test_jumbo();
    test_order();
    test_no_foreign_bytes();
    test_churn();
    return tap_done();
}
