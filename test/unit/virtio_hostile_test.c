/* SPDX-License-Identifier: ISC */
/* A hostile virtio device: wrong indices, identities, lengths, features and configuration, drawn
 * from a seed. The drivers refuse it, count it, and go on or give it up; nothing crashes, no frame
 * is longer than what was sent, and all memory comes back. */
#include <stdlib.h>
#include <string.h>

#include "dev/block/virtio/virtio.h"
#include "test/harness/tap.h"
#include "test/harness/virtbed.h"
#include "test/harness/virtdev_block.h"

#define SEEDS 40u
#define STEPS 120u

static struct virtbed bed;

static struct virtdev_evil draw_evil(struct virtdev *d)
{
    /* Some are wrong all the time, some once in a while. */
    uint32_t rate = 1u << (3 + virtdev_draw(d) % 7);
    struct virtdev_evil evil = {0};
    uint32_t *kinds[] = {&evil.bad_id,     &evil.idle_id,    &evil.twice,        &evil.long_len,
                         &evil.index_jump, &evil.random_len, &evil.random_config};
    for (size_t i = 0; i < MIR_ARRAY_LEN(kinds); i++)
        *kinds[i] = virtdev_draw(d) % 2 != 0 ? rate : 0;
    return evil;
}

static void check_length(struct virtbed *b, const struct mir_buf *buf)
{
    (void)b;
    if (mir_buf_total(buf) > 65553 || mir_buf_total(buf) < 14)
        check_int(mir_buf_total(buf), <=, 65553);
}

static void step_net(void)
{
    static uint8_t frame[VIRTDEV_NET_FRAME_MAX];
    struct virtdev *d = &bed.m.d;
    switch (virtdev_draw(d) % 8) {
    case 0:
    case 1:
        for (uint32_t i = virtdev_draw(d) % 32; i > 0; i--)
            (void)mir_net_dev_tx(bed.dev, virtbed_frame(&bed, 14 + virtdev_draw(d) % 1500, i));
        mir_net_dev_flush(bed.dev);
        break;
    case 2:
    case 3:
        for (uint32_t i = virtdev_draw(d) % 16; i > 0; i--)
            (void)virtdev_net_send(&bed.m, frame + virtdev_draw(d) % 2000, frame,
                                   virtdev_draw(d) % 3000);
        break;
    case 4:
        (void)virtdev_net_send(&bed.m, frame, frame, virtdev_draw(d) % 68000);
        break;
    case 5:
        if (virtdev_draw(d) % 8 == 0)
            virtdev_need_reset(d);
        virtdev_net_set_status(&bed.m, (uint16_t)virtdev_draw(d) & 3);
        break;
    case 6:
        /* It writes to all that it was lent. */
        for (uint16_t i = 0; i < 4; i++) {
            struct virtdev_chain chain;
            if (virtdev_pop(d, 0, &chain)) {
                memset(chain.seg[0].data, (int)virtdev_draw(d), chain.seg[0].len);
                virtdev_push(d, 0, chain.head, virtdev_draw(d) % 6000);
            }
        }
        virtdev_publish(d, 0);
        break;
    default:
        virtbed_pass(&bed, virtdev_draw(d) % 50000);
    }
    virtbed_run(&bed);
}

static void run_net(uint64_t seed, enum virtdev_transport transport)
{
    virtbed_init(&bed, transport, VIRTDEV_NET_ALL, (uint16_t)(64 << seed % 3));
    struct virtdev *d = &bed.m.d;
    d->random = seed * 0x9e3779b97f4a7c15ull + transport + 1;
    if (virtdev_draw(d) % 4 == 0) {
        uint64_t keep = d->offered & MIR_VIRTIO_F_VERSION_1;
        d->offered &= ((uint64_t)virtdev_draw(d) << 32 | virtdev_draw(d));
        d->offered |= keep;
    }
    if (virtdev_draw(d) % 4 == 0) {
        for (uint32_t i = 0; i < VIRTDEV_CONFIG; i++)
            d->config[i] = (uint8_t)virtdev_draw(d);
        d->config[0] &= 0xfe;
    }
    bed.on_rx = check_length;
    bed.m.evil_pieces = virtdev_draw(d) % 2 != 0 ? 16 : 0;
    bed.m.holds = virtdev_draw(d) % 4 == 0;
    d->evil = draw_evil(d);
    if (virtbed_open(&bed, NULL) == 0 && virtbed_start(&bed) == 0) {
        for (uint32_t i = 0; i < STEPS; i++)
            step_net();
    }
    /* Honest again it works, unless it was refused. */
    d->evil = (struct virtdev_evil){0};
    check_int(virtbed_close(&bed), ==, 0);
}

static void test_net(uint64_t seed)
{
    for (unsigned t = 0; t < VIRTDEV_TRANSPORTS; t++) {
        tap_case("network device on %s: %u seeds from %llu", virtdev_transport_name[t], SEEDS,
                 (unsigned long long)seed);
        for (uint64_t i = 0; i < SEEDS; i++)
            run_net(seed + i, (enum virtdev_transport)t);
    }
}

static void test_recovers(void)
{
    static uint8_t frame[1000];
    struct mir_virtio_net_counters counters;
    tap_case("a device that lied and then behaves is used again");
    virtbed_init(&bed, VIRTDEV_PCI, VIRTDEV_NET_ALL, 256);
    bed.m.d.random = 1;
    check_int(virtbed_open(&bed, NULL), ==, 0);
    check_int(virtbed_start(&bed), ==, 0);
    bed.m.d.evil.bad_id = 4;
    for (int i = 0; i < 20; i++) {
        (void)virtdev_net_send(&bed.m, NULL, frame, sizeof frame);
        virtbed_pass(&bed, 100000);
    }
    bed.m.d.evil.bad_id = 0;
    virtbed_pass(&bed, 60 * MIR_US_PER_S);
    uint32_t rx = bed.net.rx;
    check(virtdev_net_send(&bed.m, NULL, frame, sizeof frame));
    virtbed_run(&bed);
    check_int(bed.net.rx, ==, rx + 1);
    mir_virtio_net_counters(bed.dev, &counters);
    check_int(counters.faults, >, 1);
    check_int(virtbed_close(&bed), ==, 0);
}

/* ---- block
 * ---------------------------------------------------------------------------------------- */

static struct virtdev_block disk;
static struct mir_block_request requests[64];
static bool is_busy[64];

static void on_done(struct mir_block_request *request, int result)
{
    uint8_t *base = request->segs[0].page->base;
    if (!is_busy[request - requests] || result > 0)
        check(!"a request done twice");
    is_busy[request - requests] = false;
    /* A good read is of zeroes: nobody wrote anything else. */
    if (result == 0 && request->op == MIR_BLOCK_READ && base[100] != 0)
        check_int(base[100], ==, 0);
    mir_page_release(request->segs[0].page);
}

static void step_block(struct mir_block_dev *dev, struct mir_virtio *v)
{
    struct virtdev *d = &disk.d;
    for (uint32_t i = 0; i < 64; i++) {
        struct mir_block_request *r = &requests[i];
        if (is_busy[i] || virtdev_draw(d) % 4 != 0)
            continue;
        *r = (struct mir_block_request){.op = (enum mir_block_op)(virtdev_draw(d) % 5),
                                        .block = virtdev_draw(d) % 2000,
                                        .block_count = 1 + virtdev_draw(d) % 8,
                                        .seg_count = 1,
                                        .done = on_done};
        if (mir_page_alloc(&bed.net.pages, 4096, MIR_PAGE_ZERO, &r->segs[0].page) < 0)
            continue;
        r->segs[0].len = 4096;
        is_busy[i] = true;
        if (mir_block_submit(dev, r) < 0) {
            is_busy[i] = false;
            mir_page_release(r->segs[0].page);
        }
    }
    mir_block_kick(dev);
    virtdev_run(d);
    if (virtdev_draw(d) % 32 == 0)
        virtdev_need_reset(d);
    mir_virtio_driver_poll(mir_virtio_block_driver(dev), virtdev_events(d, v));
    mir_time_us next_us;
    bed.net.now_us += virtdev_draw(d) % 3000000;
    mir_loop_step(&bed.net.loop, bed.net.now_us, &next_us);
}

static void run_block(uint64_t seed, enum virtdev_transport transport)
{
    struct mir_block_dev *dev;
    int r;
    virtbed_init(&bed, transport, 0, 64);
    virtdev_block_init(&disk, transport, VIRTDEV_BLOCK_ALL, 512);
    disk.d.random = seed * 0x9e3779b97f4a7c15ull + transport + 1;
    disk.d.evil = draw_evil(&disk.d);
    disk.d.evil.random_config = 0; /* sizes that change would be errors of the test's own */
    disk.is_short = virtdev_draw(&disk.d) % 8 == 0;
    disk.answers_nothing = virtdev_draw(&disk.d) % 8 == 0;
    struct mir_virtio *v = virtdev_attach(&disk.d, &bed.clock, &bed.net.pages, &r);
    struct mir_virtio_block_config config = {.virtio = v, .loop = &bed.net.loop};
    check_int(mir_virtio_block_open(&config, &dev), ==, 0);
    for (uint32_t i = 0; i < STEPS; i++)
        step_block(dev, v);
    mir_block_close(dev);
    for (uint32_t i = 0; i < 64; i++)
        check(!is_busy[i]);
    check_int(mir_page_pool_used_bytes(&bed.net.pages), ==, 0);
    virtdev_block_fini(&disk);
}

static void test_block(uint64_t seed)
{
    for (unsigned t = 0; t < VIRTDEV_TRANSPORTS; t++) {
        tap_case("block device on %s: %u seeds from %llu", virtdev_transport_name[t], SEEDS,
                 (unsigned long long)seed);
        for (uint64_t i = 0; i < SEEDS; i++)
            run_block(seed + i, (enum virtdev_transport)t);
    }
}

int main(int argc, char **argv)
{
    tap_begin("virtio_hostile");
    uint64_t seed = tap_seed(argc, argv, 1);
    test_net(seed);
    test_recovers();
    test_block(seed);
    return tap_done();
}
