/* SPDX-License-Identifier: ISC */
/* With very many connections frames wait for their batch (ahead.c): none is lost, moved before
 * another, or kept for longer than that. The connections are only said to be there. */
#include <string.h>

#include "lib/net/net_state.h"
#include "lib/net/tcp/internal.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

#define CROWD 5000u

static struct testbed bed;
static uint8_t got[256];
static uint32_t got_count;

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf,
                        void *arg)
{
    (void)udp, (void)meta, (void)arg;
    if (got_count < sizeof got)
        check_int(mir_buf_copy_out(buf, 0, &got[got_count++], 1), ==, 0);
    mir_buf_release(buf);
}

static void crowd(bool is_there)
{
    struct mir__tcp_table *table = &mir__net_tcp(bed.net)->table;
    table->count = is_there ? table->count + CROWD : table->count - CROWD;
}

static void open_bed(void)
{
    struct mir_endpoint local = {.ip = mir_ip_from_v4(0), .port = 7};
    struct mir_udp *udp;
    testbed_init(&bed, 4, 8 << 20, MIR_NET_RX_CSUM);
    testbed_open(&bed, NULL);
    check_int(mir_udp_open(bed.stack, &local, on_datagram, NULL, &udp), ==, 0);
    got_count = 0;
}

static void inject_number(uint8_t number)
{
    uint8_t frame[128];
    size_t len = testbed_make_udp(frame, 5555, 7, &number, 1);
    check(testdev_inject_more(&bed.dev, frame, len, 0));
}

/* An ACK to a port without listener, which a reset from that port answers. */
static void inject_ack(uint16_t src_port, uint16_t dst_port)
{
    uint8_t tcp[20] = {[12] = 0x50, [13] = 0x10};
    uint8_t frame[128];
    mir_put_be16(tcp, src_port);
    mir_put_be16(tcp + 2, dst_port);
    size_t len = testbed_make_ip(frame, 6, tcp, sizeof tcp);
    check(testdev_inject_more(&bed.dev, frame, len, MIR_BUF_CSUM_VALID));
}

static void test_few(void)
{
    tap_case("with few connections a frame does not wait");
    open_bed();
    inject_number(1);
    check_int(got_count, ==, 1);
    testdev_end_batch(&bed.dev);
    testbed_close(&bed);
}

static void test_order(void)
{
    tap_case("with many, frames wait for fifteen more or the end of the batch, in order");
    open_bed();
    crowd(true);
    for (uint8_t i = 0; i < 40; i++) {
        check_int(got_count, ==, i / MIR__AHEAD_FRAMES * MIR__AHEAD_FRAMES);
        inject_number(i);
    }
    testdev_end_batch(&bed.dev);
    check_int(got_count, ==, 40);
    for (uint32_t i = 0; i < got_count; i++)
        check_int(got[i], ==, i);
    crowd(false);
    testbed_close(&bed);
}

static void test_tcp(void)
{
    tap_case("segments of TCP between other frames: each is answered, in order");
    const struct testdev_frame *frame;
    uint16_t next = 2000;
    open_bed();
    crowd(true);
    for (uint16_t i = 0; i < 50; i++) {
        inject_ack((uint16_t)(1000 + i / 2), (uint16_t)(2000 + i)); /* of one peer's ports */
        if (i % 7 == 0)
            inject_number((uint8_t)i);
        if (i % 11 == 0)
            check(testdev_inject_more(&bed.dev, "short", 5, 0));
    }
    testdev_end_batch(&bed.dev);
    while ((frame = testdev_next(&bed.dev)) != NULL) {
        if (!check_int(frame->len, >=, 54))
            break;
        check_int(mir_get_be16(frame->data + 34), ==, next++);
        check_int(frame->data[47] & 0x04, ==, 0x04);
    }
    check_int(next, ==, 2050);
    check_int(got_count, ==, 8);
    check_int(testbed_stat(&bed, "eth_short"), ==, 5);
    crowd(false);
    testbed_close(&bed);
}

static void test_stop(void)
{
    tap_case("an interface that stops within a batch gives back what it holds");
    open_bed();
    crowd(true);
    for (uint8_t i = 0; i < 5; i++)
        inject_number(i);
    crowd(false);
    check_int(got_count, ==, 0);
    check(testbed_close(&bed));
}

int main(void)
{
    tap_begin("net_ahead");
    test_few();
    test_order();
    test_tcp();
    test_stop();
    return tap_done();
}
