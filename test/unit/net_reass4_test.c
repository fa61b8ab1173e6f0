/* SPDX-License-Identifier: ISC */
/* IPv4 reassembly: all orders, overlaps, limits, timeouts (lib/net/reass.c). */
#include <stdlib.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

static struct testbed bed;
static struct mir_rng rng;
static struct {
    uint32_t count;
    uint32_t len;
    uint8_t data[65536];
} got;

/* The datagram that is cut up: UDP header and payload. */
static uint8_t whole[65536];
static uint32_t whole_len;
static uint16_t next_id = 1;

static void on_datagram(struct mir_udp *socket, const struct mir_udp_meta *meta,
                        struct mir_buf *buf, void *arg)
{
    (void)socket, (void)meta, (void)arg;
    got.count++;
    got.len = mir_buf_total(buf);
    check_int(mir_buf_copy_out(buf, 0, got.data, got.len), ==, 0);
    mir_buf_release(buf);
}

static void open_bed(uint32_t reassembly_max_bytes)
{
    struct mir_net_config config = {.reassembly_max_bytes = reassembly_max_bytes};
    struct mir_endpoint local = {.ip = mir_ip_from_v4(0), .port = 7};
    struct mir_udp *socket;
    testbed_init(&bed, 7, 8 << 20, 0);
    testbed_open(&bed, &config);
    memset(&got, 0, sizeof got);
    check_int(mir_udp_open(bed.stack, &local, on_datagram, NULL, &socket), ==, 0);
}

static void make_whole(uint32_t payload_len)
{
    static uint8_t frame[65600], payload[65536];
    mir_rng_bytes(&rng, payload, payload_len);
    size_t len = testbed_make_udp(frame, 5555, 7, payload, payload_len);
    whole_len = (uint32_t)len - 34;
    memcpy(whole, frame + 34, whole_len);
}

static void inject(uint16_t id, uint32_t offset, uint32_t len, bool more, const uint8_t *bytes)
{
    static uint8_t frame[65600];
    struct mir__ip4 ip;
    size_t frame_len = testbed_make_ip(frame, 17, bytes, len);
    check_int(mir__ip4_parse(frame + 14, frame_len - 14, &ip), ==, 0);
    ip.id = id;
    ip.offset = (uint16_t)offset;
    ip.more_fragments = more;
    mir__ip4_emit(&ip, frame + 14);
    testdev_inject(&bed.dev, frame, frame_len);
}

/* Fragment [offset, offset+len) of `whole`. */
static void piece(uint16_t id, uint32_t offset, uint32_t len)
{
    inject(id, offset, len, offset + len < whole_len, whole + offset);
}

static void check_arrived(uint32_t count)
{
    if (!check_int(got.count, ==, count))
        return;
    check_int(got.len, ==, whole_len - 8);
    check_mem(got.data, whole + 8, whole_len - 8);
}

static void check_idle(void)
{
    check_int(testbed_stat(&bed, "reassembly_datagrams"), ==, 0);
    check_int(testbed_stat(&bed, "reassembly_bytes"), ==, 0);
    check_int(mir_pool_used(&bed.bufs.pool), ==, 0);
}

static void test_orders(void)
{
    open_bed(0);
    make_whole(4 * 16);
    tap_case("five fragments in all 120 orders");
    for (int n = 0; n < 120; n++) {
        uint32_t left[5] = {0, 1, 2, 3, 4};
        uint32_t rest = (uint32_t)n;
        uint16_t id = next_id++;
        for (uint32_t i = 5; i > 0; i--) {
            uint32_t pick = rest % i;
            rest /= i;
            uint32_t k = left[pick];
            left[pick] = left[i - 1];
            piece(id, k * 16, MIR_MIN(16u, whole_len - k * 16));
            if (i > 1)
                check_int(got.count, ==, n);
        }
        check_arrived((uint32_t)n + 1);
    }
    check_int(testbed_stat(&bed, "ip_reassembled"), ==, 120);
    check_idle();

    tap_case("the largest datagram, in fragments of 1480, forwards and backwards");
    make_whole(65507);
    uint32_t count = got.count;
    for (int pass = 0; pass < 2; pass++) {
        uint16_t id = next_id++;
        uint32_t pieces = (whole_len + 1479) / 1480;
        for (uint32_t i = 0; i < pieces; i++) {
            uint32_t k = pass == 0 ? i : pieces - 1 - i;
            piece(id, k * 1480, MIR_MIN(1480u, whole_len - k * 1480));
        }
        check_arrived(++count);
    }
    check_idle();

    tap_case("the largest datagram at an MTU of 576");
    uint16_t id = next_id++;
    for (uint32_t at = 0; at < whole_len; at += 552)
        piece(id, at, MIR_MIN(552u, whole_len - at));
    check_arrived(++count);

    tap_case("interleaved datagrams of different identification");
    make_whole(3000);
    for (uint32_t at = 0; at < whole_len; at += 1000) {
        for (uint16_t k = 0; k < 10; k++)
            piece((uint16_t)(5000 + k), at, MIR_MIN(1000u, whole_len - at));
    }
    check_arrived(count + 10);
    check_idle();

    tap_case("duplicates of the network are harmless");
    make_whole(100);
    id = next_id++;
    count = got.count;
    piece(id, 0, 48);
    piece(id, 0, 48);
    piece(id, 48, 24);
    piece(id, 0, 48);
    piece(id, 72, whole_len - 72);
    check_arrived(count + 1);
    check_int(testbed_stat(&bed, "ip_reassembly_overlap"), ==, 0);
    check_idle();
    testbed_close(&bed);
}

static void test_overlaps(void)
{
    uint8_t other[64];
    static const struct {
        const char *what;
        uint32_t offset, len;
        bool more;
    } cases[] = {
        {"the same range with other bytes", 16, 16, true},
        {"over the end of one before", 8, 16, true},
        {"into the front of one behind", 24, 16, true},
        {"inside another", 16, 8, true},
        {"around another", 0, 64, true},
        {"an end before what is there", 8, 8, false},
        {"another end", 64, 8, false},
        {"behind the end", 104, 8, true},
    };
    open_bed(0);
    make_whole(96); /* 104 bytes in all */
    mir_rng_bytes(&rng, other, sizeof other);
    for (size_t i = 0; i < MIR_ARRAY_LEN(cases); i++) {
        tap_case("overlap: %s", cases[i].what);
        uint16_t id = next_id++;
        piece(id, 16, 16);
        piece(id, 40, 24);
        piece(id, 88, 16); /* the end */
        inject(id, cases[i].offset, cases[i].len, cases[i].more, other);
        check_int(testbed_stat(&bed, "ip_reassembly_overlap"), ==, i + 1);
        /* Dead: the rest does not make it whole, nor begin anew. */
        for (uint32_t at = 0; at < whole_len; at += 8)
            piece(id, at, 8);
        check_int(got.count, ==, 0);
        check_int(testbed_stat(&bed, "reassembly_bytes"), ==, 0);
        check_int(mir_pool_used(&bed.bufs.pool), ==, 0);
    }
    tap_case("after its time the identification is free again");
    testbed_advance(&bed, 31 * MIR_US_PER_S);
    check_idle();
    for (uint32_t at = 0; at < whole_len; at += 8)
        piece((uint16_t)(next_id - 1), at, 8);
    check_arrived(1);
    check_int(bed.dev.queued, ==, 0);
    testbed_close(&bed);
}

static void test_malformed(void)
{
    uint8_t bytes[2000] = {0};
    open_bed(0);
    tap_case("a fragment of 13 bytes that is not the last is malformed");
    inject(1, 0, 13, true, bytes);
    check_int(testbed_stat(&bed, "ip_malformed"), ==, 1);
    tap_case("an empty fragment is malformed");
    inject(1, 8, 0, true, bytes);
    check_int(testbed_stat(&bed, "ip_malformed"), ==, 2);
    tap_case("a fragment that ends behind 65,535 (ping of death) is malformed");
    inject(1, 65528, 16, false, bytes);
    inject(1, 65000, 600, false, bytes);
    check_int(testbed_stat(&bed, "ip_malformed"), ==, 4);
    check_idle();
    testbed_close(&bed);
}

static void test_limits(void)
{
    uint8_t bytes[64] = {0};
    open_bed(0);
    tap_case("8-byte fragments: at most 128 of a datagram, small memory");
    for (uint32_t i = 0; i < 128; i++)
        inject(1, i * 16, 8, true, bytes);
    check_int(testbed_stat(&bed, "reassembly_bytes"), <=, 128 * 1024);
    check_int(testbed_stat(&bed, "ip_reassembly_limit"), ==, 0);
    inject(1, 128 * 16, 8, true, bytes);
    check_int(testbed_stat(&bed, "ip_reassembly_limit"), ==, 1);
    check_int(testbed_stat(&bed, "reassembly_bytes"), ==, 0);

    tap_case("first fragments of 10,000 datagrams: 64 are kept");
    for (uint32_t i = 0; i < 10000; i++)
        inject((uint16_t)(100 + i), 0, 8, true, bytes);
    check_int(testbed_stat(&bed, "reassembly_datagrams"), ==, 64);
    check_int(mir_pool_used(&bed.bufs.pool), ==, 64);
    tap_case("a good datagram still gets through a flood in between");
    make_whole(2000);
    piece(60000, 0, 1480);
    for (uint32_t i = 0; i < 50; i++)
        inject((uint16_t)(20000 + i), 0, 8, true, bytes);
    piece(60000, 1480, whole_len - 1480);
    check_arrived(1);
    testbed_close(&bed);

    open_bed(65536);
    tap_case("memory is bounded by what fragments really pin");
    static uint8_t big[1480];
    for (uint32_t i = 0; i < 200; i++) {
        inject(1, i * 3000, 1480, true, big);
        inject((uint16_t)(2 + i / 8), i % 8 * 1480, 1480, true, big);
        check_int(testbed_stat(&bed, "reassembly_bytes"), <=, 65536);
        check_int(mir_page_pool_used_bytes(&bed.pages), <=, 600000);
    }
    check_int(testbed_stat(&bed, "ip_reassembly_limit"), >, 10);
    testbed_close(&bed);
}

static void test_large_pages(void)
{
    open_bed(0);
    tap_case("fragments in 64 KiB buffers of a device do not pin them");
    make_whole(65000);
    for (uint32_t at = 0; at < whole_len; at += 1480) {
        static uint8_t frame[65600];
        uint32_t len = MIR_MIN(1480u, whole_len - at);
        struct mir__ip4 ip;
        size_t frame_len = testbed_make_ip(frame, 17, whole + at, len);
        check_int(mir__ip4_parse(frame + 14, frame_len - 14, &ip), ==, 0);
        ip.id = 77;
        ip.offset = (uint16_t)at;
        ip.more_fragments = at + len < whole_len;
        mir__ip4_emit(&ip, frame + 14);
        struct mir_buf *buf = mir_buf_alloc_page(&bed.bufs, 17 * 4096, 0);
        memcpy(mir_buf_append(buf, (uint32_t)frame_len), frame, frame_len);
        bed.dev.upper.rx(bed.dev.upper.arg, buf);
        check_int(testbed_stat(&bed, "reassembly_bytes"), <=, 45 * 6000);
    }
    testdev_end_batch(&bed.dev);
    check_arrived(1);
    check_idle();
    testbed_close(&bed);
}

static void test_timeout(void)
{
    open_bed(0);
    make_whole(100);
    tap_case("after 30 seconds given up; with the first fragment, ICMP tells (RFC 1122 3.3.2)");
    piece(1, 48, 24);
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    piece(2, 0, 48);
    testbed_advance(&bed, 20 * MIR_US_PER_S + 2000);
    check_int(testbed_stat(&bed, "reassembly_datagrams"), ==, 1);
    check_int(testbed_stat(&bed, "ip_reassembly_timeout"), ==, 1);
    check(testdev_next(&bed.dev) == NULL);
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    check_int(testbed_stat(&bed, "ip_reassembly_timeout"), ==, 2);
    const struct testdev_frame *frame = testdev_next(&bed.dev);
    if (check(frame != NULL)) {
        check_int(frame->data[34], ==, MIR__ICMP4_TIME_EXCEEDED);
        check_int(frame->data[35], ==, 1);
        check_int(mir__csum_partial(frame->data + 34, frame->len - 34), ==, 0xffff);
        check_int(frame->len, ==, 14 + 20 + 8 + 20 + 48);
        check_mem(frame->data + 62, whole, 48);
    }
    check_idle();
    tap_case("a late fragment does not make the old one whole");
    piece(1, 0, 48);
    piece(1, 72, whole_len - 72);
    check_int(got.count, ==, 0);
    testbed_close(&bed);
}

/* Random cuts, orders, duplicates: what arrives is what was sent. */
static void test_random(void)
{
    open_bed(0);
    tap_case("2,000 random datagrams cut and shuffled at random");
    for (int n = 0; n < 2000; n++) {
        uint32_t cuts[40], count = 0, at = 0;
        make_whole(mir_rng_below(&rng, 3000));
        while (at < whole_len && count < 39) {
            cuts[count++] = at;
            at += 8 * (1 + mir_rng_below(&rng, 60));
        }
        cuts[count] = whole_len;
        uint32_t order[40];
        for (uint32_t i = 0; i < count; i++) {
            uint32_t k = mir_rng_below(&rng, i + 1);
            order[i] = order[k];
            order[k] = i;
        }
        uint32_t before = got.count;
        uint16_t id = (uint16_t)n;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t k = order[i];
            piece(id, cuts[k], cuts[k + 1] - cuts[k]);
            if (mir_rng_below(&rng, 8) == 0 && got.count == before)
                piece(id, cuts[k], cuts[k + 1] - cuts[k]);
        }
        check_arrived(before + 1);
    }
    check_int(testbed_stat(&bed, "ip_reassembly_overlap"), ==, 0);
    check_idle();
    testbed_close(&bed);
}

int main(int argc, char **argv)
{
    tap_begin("net_reass4");
    mir_rng_init_u64(&rng, tap_seed(argc, argv, 3));
    test_orders();
    test_overlaps();
    test_malformed();
    test_limits();
    test_large_pages();
    test_timeout();
    test_random();
    return tap_done();
}
