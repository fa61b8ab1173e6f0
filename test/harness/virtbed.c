/* SPDX-License-Identifier: ISC */
/* A network driver on a device in memory. Time passes only when the test says so, but for a
 * microsecond at each look at the clock, so that waits end. */
#include "test/harness/virtbed.h"

#include <stdlib.h>
#include <string.h>

/* A new one for each bed: what was released is poisoned under ASan. */
static uint8_t *arena;

static mir_time_us read_clock(struct mir_clock *clock)
{
    return ++MIR_CONTAINER_OF(clock, struct virtbed, clock)->now_us;
}

static void on_rx(void *arg, struct mir_buf *buf_given)
{
    struct virtbed *bed = arg;
    bed->rx++;
    if (bed->on_rx != NULL)
        bed->on_rx(bed, buf_given);
    mir_buf_release(bed->last);
    bed->last = buf_given;
}
static void on_rx_end(void *arg)
{
    ((struct virtbed *)arg)->rx_ends++;
}
static void on_tx_ready(void *arg)
{
    ((struct virtbed *)arg)->tx_readys++;
}
static void on_link(void *arg, bool is_up)
{
    struct virtbed *bed = arg;
    bed->link_ups += is_up;
    bed->link_downs += !is_up;
}

void virtbed_init(struct virtbed *bed, enum virtdev_transport transport, uint64_t features,
                  uint16_t queue_max)
{
    memset(bed, 0, sizeof *bed);
    bed->now_us = 1000000;
    bed->clock = (struct mir_clock){.monotonic = read_clock, .wall = read_clock};
    mir_loop_init(&bed->loop, bed->now_us);
    free(arena);
    arena = aligned_alloc(MIR_PAGE_SIZE, VIRTBED_ARENA);
    if (arena == NULL || mir_page_pool_init(&bed->pages, arena, VIRTBED_ARENA) < 0 ||
        mir_buf_pool_init(&bed->bufs, &bed->pages, 2048) < 0)
        abort();
    virtdev_net_init(&bed->m, transport, features, queue_max);
}

int virtbed_open(struct virtbed *bed, const struct mir_virtio_net_config *config)
{
    int r;
    struct mir_virtio_net_config own = {0};
    if (config != NULL)
        own = *config;
    bed->virtio = virtdev_attach(&bed->m.d, &bed->clock, &bed->pages, &r);
    if (bed->virtio == NULL)
        return r;
    own.virtio = bed->virtio;
    own.loop = &bed->loop;
    own.bufs = &bed->bufs;
    return mir_virtio_net_open(&own, &bed->dev);
}

int virtbed_start(struct virtbed *bed)
{
    struct mir_net_upper upper = {
        .rx = on_rx, .rx_end = on_rx_end, .tx_ready = on_tx_ready, .link = on_link, .arg = bed};
    return mir_net_dev_start(bed->dev, &upper);
}

void virtbed_run(struct virtbed *bed)
{
    struct mir_virtio_driver *driver = mir_virtio_net_driver(bed->dev);
    for (int turns = 0; turns < 1000; turns++) {
        bool found = virtdev_run(&bed->m.d);
        found |= mir_virtio_driver_poll(driver, virtdev_events(&bed->m.d, bed->virtio));
        found |= virtdev_run(&bed->m.d);
        if (!found && !mir_virtio_driver_arm(driver) && bed->m.d.isr == 0)
            return;
    }
}

void virtbed_pass(struct virtbed *bed, mir_time_us us)
{
    mir_time_us end_us = bed->now_us + us, next_us;
    while (bed->now_us < end_us) {
        bed->now_us = MIR_MIN(bed->now_us + 2000, end_us);
        mir_loop_step(&bed->loop, bed->now_us, &next_us);
        virtbed_run(bed);
    }
}

struct mir_buf *virtbed_frame(struct virtbed *bed, uint32_t len, uint32_t number)
{
    struct mir_buf *buf = mir_buf_alloc_page(&bed->bufs, len + 64, 64);
    if (buf == NULL)
        abort();
    uint8_t *p = mir_buf_append(buf, len);
    for (uint32_t i = 0; i < len; i++)
        p[i] = (uint8_t)(number + i * 7);
    memset(p, 0xff, 6);
    mir_put_be16(p + 12, 0x88b5);
    return buf;
}

size_t virtbed_close(struct virtbed *bed)
{
    mir_buf_release(bed->last);
    bed->last = NULL;
    if (bed->dev != NULL)
        mir_net_dev_close(bed->dev);
    bed->dev = NULL;
    size_t left = mir_pool_used(&bed->bufs.pool);
    if (left == 0)
        mir_buf_pool_fini(&bed->bufs);
    return left + mir_page_pool_used_bytes(&bed->pages);
}
