/* SPDX-License-Identifier: ISC */
/* The VLAN middleware (dev/net/vlan): tags out, tags in, offload fields, what is refused. */
#include <string.h>

#include "dev/net/vlan/vlan.h"
#include "lib/wire/eth.h"
#include "lib/wire/icmp4.h"
#include "lib/wire/ip4.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

static struct testbed bed;
static struct mir_vlan vlan;
static struct {
    uint32_t count;
    uint32_t len;
    uint16_t csum_start;
    uint8_t data[200];
} got;

static void on_rx(void *arg, struct mir_buf *buf)
{
    (void)arg;
    got.count++;
    got.len = mir_buf_total(buf);
    got.csum_start = buf->csum_start;
    check_int(mir_buf_copy_out(buf, 0, got.data, MIR_MIN(got.len, 200u)), ==, 0);
    mir_buf_release(buf);
}

static void open_bed(uint32_t caps)
{
    testbed_init(&bed, 1, 4 << 20, caps);
    memset(&got, 0, sizeof got);
    mir_vlan_init(&vlan, &bed.dev.dev, &bed.bufs, 42);
}

static void start(void)
{
    const struct mir_net_upper upper = {.rx = on_rx};
    check_int(mir_net_dev_start(&vlan.wrap.dev, &upper), ==, 0);
}

/* MACs, then @head, then "payload". */
static size_t make_frame(uint8_t *frame, const uint8_t *head, size_t len)
{
    memcpy(frame, "\2\0\0\0\0\2\2\0\0\0\0\1", 12);
    memcpy(frame + 12, head, len);
    memcpy(frame + 12 + len, "payload", 7);
    return 12 + len + 7;
}
#define MAKE(...)                                                                                  \
    make_frame(frame, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void test_in(void)
{
    uint8_t frame[200];
    open_bed(0);
    start();
    tap_case("in: the tag goes, whatever its priority; all else is as it was");
    size_t len = MAKE(0x81, 0, 0xe0, 42, 8, 0);
    check(testdev_inject(&bed.dev, frame, len));
    check_int(got.count, ==, 1);
    check_int(got.len, ==, len - 4);
    check_mem(got.data, frame, 12);
    check_mem(got.data + 12, "\10\0payload", 9);
    tap_case("in: a checksum to be completed moves with it");
    check(testdev_inject_more(&bed.dev, frame, len, MIR_BUF_CSUM_PARTIAL));
    check_int(got.csum_start, ==, 0xfffc); /* the bed says 0 */
    tap_case("in: other VLANs, no tag, VLAN 0 and short frames are dropped and counted");
    len = MAKE(0x81, 0, 0, 43, 8, 0);
    (void)testdev_inject(&bed.dev, frame, len);
    len = MAKE(8, 0);
    (void)testdev_inject(&bed.dev, frame, len);
    len = MAKE(0x81, 0, 0xe0, 0, 8, 0);
    (void)testdev_inject(&bed.dev, frame, len);
    (void)testdev_inject(&bed.dev, frame, 17);
    len = MAKE(0x88, 0xa8, 0, 42, 8, 0);
    (void)testdev_inject(&bed.dev, frame, len);
    check_int(vlan.foreign, ==, 5);
    tap_case("in: a tag behind the tag is refused");
    len = MAKE(0x81, 0, 0, 42, 0x81, 0, 0, 7, 8, 0);
    (void)testdev_inject(&bed.dev, frame, len);
    len = MAKE(0x81, 0, 0, 42, 0x88, 0xa8, 0, 7, 8, 0);
    (void)testdev_inject(&bed.dev, frame, len);
    check_int(vlan.nested, ==, 2);
    check_int(got.count, ==, 2);
    struct mir_net_dev_stats stats;
    mir_net_dev_stats(&vlan.wrap.dev, &stats);
    check_int(stats.rx_dropped, ==, 7);
    mir_net_dev_stop(&vlan.wrap.dev);
    testbed_close(&bed);
}

static void test_out(void)
{
    open_bed(MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_TX_SG);
    start();
    for (uint32_t headroom = 0; headroom <= 4; headroom += 2) {
        tap_case("out: the tag is put in, with %u bytes of head room", headroom);
        struct mir_buf *buf = mir_buf_alloc(&bed.bufs, headroom);
        make_frame(mir_buf_append(buf, 21), (const uint8_t[]){8, 0}, 2);
        buf->flags = MIR_BUF_CSUM_PARTIAL;
        buf->csum_start = 14;
        buf->csum_offset = 2;
        check_int(mir_net_dev_tx(&vlan.wrap.dev, buf), ==, 0);
        const struct testdev_frame *sent = testdev_next(&bed.dev);
        if (!check(sent != NULL && sent->len == 25))
            continue;
        check_mem(sent->data, "\2\0\0\0\0\2\2\0\0\0\0\1\x81\0\0\52\10\0payload", 25);
        check_int(sent->csum_start, ==, 18);
        check_int(sent->csum_offset, ==, 2);
    }
    tap_case("out: the largest frame to be cut leaves room for the tag");
    check_int(vlan.wrap.dev.info.gso_max, ==, bed.dev.dev.info.gso_max - 4);
    check_int(vlan.wrap.dev.info.mtu, ==, bed.dev.dev.info.mtu);
    mir_net_dev_stop(&vlan.wrap.dev);
    testbed_close(&bed);
}

/* A whole stack on it: ARP and ping by the tag. */
static void test_stack(void)
{
    struct mir_net_config config = {
        .loop = &bed.loop, .pages = &bed.pages, .bufs = &bed.bufs, .rng = &bed.rng};
    struct mir_net_if_config interface = {.ip = mir_ip_from_v4(TESTBED_IP), .prefix_len = 24};
    uint8_t frame[200], tagged[204], arp[] = {0, 1, 8, 0, 6, 4, 0, 1};
    open_bed(0);
    tap_case("a stack on it answers ARP and ping in its VLAN, and nowhere else");
    check_int(mir_net_open(&config, &bed.net), ==, 0);
    bed.stack = mir_net_stack(bed.net);
    check_int(mir_net_add_interface(bed.net, &vlan.wrap.dev, &interface), ==, 0);
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    memset(frame, 0xff, 6);
    memcpy(frame + 6, testbed_peer_mac, 6);
    memcpy(frame + 12, "\x81\0\0\52\10\6", 6);
    memcpy(frame + 18, arp, 8);
    memcpy(frame + 26, testbed_peer_mac, 6);
    mir_put_be32(frame + 32, TESTBED_PEER_IP);
    memset(frame + 36, 0, 6);
    mir_put_be32(frame + 42, TESTBED_IP);
    testdev_inject(&bed.dev, frame, 46);
    testbed_run(&bed);
    const struct testdev_frame *sent = testdev_next(&bed.dev);
    check(sent != NULL && mir_get_be32(sent->data + 12) == 0x8100002a &&
          mir_get_be16(sent->data + 16) == 0x0806);
    const uint8_t echo[] = {8, 0, 0xf7, 0xff, 0, 0, 0, 0};
    size_t len = testbed_make_ip(frame, 1, echo, sizeof echo);
    memcpy(tagged, frame, 12);
    memcpy(tagged + 12, "\x81\0\0\52", 4);
    memcpy(tagged + 16, frame + 12, len - 12);
    testdev_inject(&bed.dev, tagged, len + 4);
    testdev_inject(&bed.dev, frame, len);
    testbed_run(&bed);
    sent = testdev_next(&bed.dev);
    check(sent != NULL && mir_get_be32(sent->data + 12) == 0x8100002a &&
          sent->data[18 + 20] == MIR__ICMP4_ECHO_REPLY);
    check(testdev_next(&bed.dev) == NULL);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("dev_vlan");
    test_in();
    test_out();
    test_stack();
    return tap_done();
}
