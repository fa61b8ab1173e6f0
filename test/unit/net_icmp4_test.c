/* SPDX-License-Identifier: ISC */
/* ICMP: echo of every size, errors out with their limits, errors in (lib/net/icmp4.c). */
#include <stdlib.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

static struct testbed bed;

static void open_bed(uint32_t caps)
{
    testbed_init(&bed, 7, 8 << 20, caps);
    testbed_open(&bed, NULL);
}

/* Sends an ICMP message of [len] bytes to us, in fragments of an MTU of 1500 if need be. */
static void inject_icmp(const uint8_t *message, uint32_t len)
{
    static uint8_t frame[65600];
    static uint16_t id;
    id++;
    for (uint32_t at = 0; at < len; at += 1480) {
        uint32_t n = MIR_MIN(1480u, len - at);
        struct mir__ip4 ip;
        size_t frame_len = testbed_make_ip(frame, MIR__PROTO_ICMP, message + at, n);
        check_int(mir__ip4_parse(frame + 14, frame_len - 14, &ip), ==, 0);
        ip.id = id;
        ip.offset = (uint16_t)at;
        ip.more_fragments = at + n < len;
        mir__ip4_emit(&ip, frame + 14);
        testdev_inject_more(&bed.dev, frame, frame_len, 0);
    }
    testdev_end_batch(&bed.dev);
}

/* All frames sent as one ICMP message. Returns its length. */
static uint32_t collect(uint8_t *out)
{
    uint32_t len = 0;
    const struct testdev_frame *frame;
    while ((frame = testdev_next(&bed.dev)) != NULL) {
        struct mir__ip4 ip;
        check_int(mir__ip4_parse(frame->data + 14, frame->len - 14, &ip), ==, 0);
        check(mir__ip4_checksum_ok(frame->data + 14));
        check_int(ip.protocol, ==, MIR__PROTO_ICMP);
        check_int(ip.dst, ==, TESTBED_PEER_IP);
        check_int(ip.src, ==, TESTBED_IP);
        check_int(frame->len, <=, 1514);
        memcpy(out + ip.offset, frame->data + 34, ip.total_len - 20u);
        len += ip.total_len - 20u;
    }
    return len;
}

static void test_echo(void)
{
    static const uint32_t sizes[] = {0,   1,    56,   57,   100,  152,   153,
                                     300, 1471, 1472, 1473, 9000, 65000, 65507};
    static uint8_t data[65536], message[65536], answer[65536];
    for (uint32_t caps = 0; caps <= MIR_NET_TX_SG; caps += MIR_NET_TX_SG) {
        open_bed(caps);
        for (size_t i = 0; i < MIR_ARRAY_LEN(sizes); i++) {
            tap_case("echo of %u bytes%s", sizes[i], caps ? ", with views" : "");
            mir_rng_bytes(&bed.rng, data, sizes[i]);
            struct mir__icmp4 icmp = {MIR__ICMP4_ECHO, 0, mir_rng_u32(&bed.rng), data, sizes[i]};
            mir__icmp4_emit(&icmp, message);
            inject_icmp(message, sizes[i] + 8);
            uint32_t len = collect(answer);
            if (!check_int(len, ==, sizes[i] + 8))
                continue;
            check_int(mir__csum_partial(answer, len), ==, 0xffff);
            check_int(answer[0], ==, MIR__ICMP4_ECHO_REPLY);
            check_mem(answer + 4, message + 4, len - 4);
            check_int(mir_pool_used(&bed.bufs.pool), ==, 0);
        }
        testbed_close(&bed);
    }
    open_bed(0);
    tap_case("echo: wrong checksum, code, short header are dropped");
    struct mir__icmp4 icmp = {MIR__ICMP4_ECHO, 0, 1, data, 10};
    mir__icmp4_emit(&icmp, message);
    message[9] ^= 1;
    inject_icmp(message, 18);
    check_int(testbed_stat(&bed, "icmp_bad_checksum"), ==, 1);
    icmp.code = 1;
    mir__icmp4_emit(&icmp, message);
    inject_icmp(message, 18);
    inject_icmp(message, 7);
    check_int(testbed_stat(&bed, "icmp_malformed"), ==, 1);
    check(testdev_next(&bed.dev) == NULL);
    tap_case("echo: to broadcast is not answered");
    static uint8_t frame[200];
    icmp.code = 0;
    mir__icmp4_emit(&icmp, message);
    struct mir__ip4 ip;
    size_t len = testbed_make_ip(frame, 1, message, 18);
    check_int(mir__ip4_parse(frame + 14, len - 14, &ip), ==, 0);
    ip.dst = 0x0a0000ff;
    mir__ip4_emit(&ip, frame + 14);
    memset(frame, 0xff, 6);
    testdev_inject(&bed.dev, frame, len);
    check_int(testbed_stat(&bed, "icmp_in"), ==, 4);
    check(testdev_next(&bed.dev) == NULL);
    testbed_close(&bed);
}

static void check_error(uint8_t type, uint8_t code, const uint8_t *ip_packet, uint32_t quote_len)
{
    const struct testdev_frame *frame = testdev_next(&bed.dev);
    if (!check(frame != NULL))
        return;
    check_int(frame->data[34], ==, type);
    check_int(frame->data[35], ==, code);
    check_int(mir__csum_partial(frame->data + 34, frame->len - 34), ==, 0xffff);
    check_int(frame->len, ==, 34 + 8 + quote_len);
    check_int(mir_get_be32(frame->data + 38), ==, 0);
    check_mem(frame->data + 42, ip_packet, quote_len);
}

static void test_errors_out(void)
{
    static uint8_t frame[2000], payload[1400];
    open_bed(0);
    tap_case("a closed UDP port: port unreachable quotes the packet");
    size_t len = testbed_make_udp(frame, 5555, 4444, payload, 100);
    testdev_inject(&bed.dev, frame, len);
    check_error(3, MIR__ICMP4_PORT, frame + 14, 128);
    tap_case("a long packet is quoted up to 576 bytes in all (RFC 1812 section 4.3.2.3)");
    len = testbed_make_udp(frame, 5555, 4444, payload, 1400);
    testdev_inject(&bed.dev, frame, len);
    check_error(3, MIR__ICMP4_PORT, frame + 14, 548);
    tap_case("an unknown protocol: protocol unreachable");
    len = testbed_make_ip(frame, 132, payload, 20);
    testdev_inject(&bed.dev, frame, len);
    check_error(3, MIR__ICMP4_PROTOCOL, frame + 14, 40);
    tap_case("a whole datagram of fragments is quoted as one packet");
    static uint8_t datagram[4000];
    len = testbed_make_udp(datagram, 5555, 4444, payload, 1400);
    for (uint32_t at = 0; at < 1408; at += 704) {
        struct mir__ip4 ip;
        size_t n = testbed_make_ip(frame, 17, datagram + 34 + at, 704);
        check_int(mir__ip4_parse(frame + 14, n - 14, &ip), ==, 0);
        ip.offset = (uint16_t)at;
        ip.more_fragments = at == 0;
        mir__ip4_emit(&ip, frame + 14);
        testdev_inject(&bed.dev, frame, n);
    }
    check_error(3, MIR__ICMP4_PORT, datagram + 14, 548);
    testbed_close(&bed);

    open_bed(0);
    tap_case("a flood is answered by 50 errors, then 100 a second");
    len = testbed_make_udp(frame, 5555, 4444, payload, 1);
    for (int i = 0; i < 1000; i++)
        testdev_inject(&bed.dev, frame, len);
    check_int(bed.dev.queued, ==, 50);
    check_int(testbed_stat(&bed, "icmp_rate_limited"), ==, 950);
    testdev_clear(&bed.dev);
    for (int second = 0; second < 3; second++) {
        for (int i = 0; i < 100; i++) {
            testbed_advance(&bed, 10000);
            testdev_inject(&bed.dev, frame, len);
            testdev_inject(&bed.dev, frame, len);
        }
    }
    check_int(bed.dev.queued, >=, 299);
    check_int(bed.dev.queued, <=, 301);
    testbed_close(&bed);

    open_bed(0);
    tap_case("no error about an ICMP error, and none about a later fragment");
    struct mir__icmp4 icmp = {MIR__ICMP4_UNREACHABLE, 3, 0, payload, 40};
    uint8_t message[48];
    mir__icmp4_emit(&icmp, message);
    inject_icmp(message, sizeof message);
    testbed_run(&bed);
    check(testdev_next(&bed.dev) == NULL);
    testbed_close(&bed);
}

static void inject_quote(uint8_t type, uint8_t code, uint16_t mtu, const uint8_t *quote,
                         uint32_t len)
{
    uint8_t message[200];
    struct mir__icmp4 icmp = {type, code, mtu, quote, len};
    mir__icmp4_emit(&icmp, message);
    inject_icmp(message, len + 8);
}

static void test_errors_in(void)
{
    uint8_t quote[28] = {0};
    struct mir__ip4 ip = {
        .total_len = 40, .protocol = 6, .src = TESTBED_IP, .dst = TESTBED_PEER_IP};
    open_bed(0);
    mir__ip4_emit(&ip, quote);
    tap_case("errors in: quotes cut at every length are dropped or counted");
    for (uint32_t n = 0; n < 28; n++)
        inject_quote(3, 3, 0, quote, n);
    check_int(testbed_stat(&bed, "icmp_malformed"), ==, 28);
    inject_quote(3, 3, 0, quote, 28);
    check_int(testbed_stat(&bed, "icmp_malformed"), ==, 28);
    tap_case("errors in: an MTU below 68 is a lie");
    inject_quote(3, 4, 67, quote, 28);
    check_int(testbed_stat(&bed, "icmp_malformed"), ==, 29);
    inject_quote(3, 4, 68, quote, 28);
    check_int(testbed_stat(&bed, "icmp_malformed"), ==, 29);
    tap_case("errors in: redirects and unknown types are ignored");
    inject_quote(5, 0, 0, quote, 28);
    inject_quote(42, 0, 0, quote, 28);
    check(testdev_next(&bed.dev) == NULL);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_icmp4");
    test_echo();
    test_errors_out();
    test_errors_in();
    return tap_done();
}
