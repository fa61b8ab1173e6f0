/* SPDX-License-Identifier: ISC */
/* A network driver on a device in memory. Time passes only when the test says so, but for a
 * microsecond at each look at the clock, so that waits end. */
#include "test/harness/virtbed.h"

#include <stdlib.h>
#include <string.h>

static mir_time_us read_clock(struct mir_clock *clock)
{
    return ++MIR_CONTAINER_OF(clock, struct virtbed, clock)->net.now_us;
}

static void take(struct netbed *net, struct mir_buf *buf_given)
{
    struct virtbed *bed = MIR_CONTAINER_OF(net, struct virtbed, net);
    if (bed->on_rx != NULL)
        bed->on_rx(bed, buf_given);
    mir_buf_release(bed->last);
    bed->last = buf_given;
}
void virtbed_init(struct virtbed *bed, enum virtdev_transport transport, uint64_t features,
                  uint16_t queue_max)
{
    netbed_forget(&bed->net);
    memset(bed, 0, sizeof *bed);
    netbed_init(&bed->net, VIRTBED_ARENA, take);
    bed->clock = (struct mir_clock){.monotonic = read_clock, .wall = read_clock};
    virtdev_net_init(&bed->m, transport, features, queue_max);
}

int virtbed_open(struct virtbed *bed, const struct mir_virtio_net_config *config)
{
    int r;
    struct mir_virtio_net_config own = {0};
    if (config != NULL)
        own = *config;
    bed->virtio = virtdev_attach(&bed->m.d, &bed->clock, &bed->net.pages, &r);
    if (bed->virtio == NULL)
        return r;
    own.virtio = bed->virtio;
    own.loop = &bed->net.loop;
    own.bufs = &bed->net.bufs;
    return mir_virtio_net_open(&own, &bed->dev);
}

int virtbed_start(struct virtbed *bed)
{
    return netbed_start(&bed->net, bed->dev);
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
    mir_time_us end_us = bed->net.now_us + us, next_us;
    while (bed->net.now_us < end_us) {
        bed->net.now_us = MIR_MIN(bed->net.now_us + 2000, end_us);
        mir_loop_step(&bed->net.loop, bed->net.now_us, &next_us);
        virtbed_run(bed);
    }
}

struct mir_buf *virtbed_frame(struct virtbed *bed, uint32_t len, uint32_t number)
{
    struct mir_buf *buf = mir_buf_alloc_page(&bed->net.bufs, len + 64, 64);
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
    return netbed_close(&bed->net);
}
