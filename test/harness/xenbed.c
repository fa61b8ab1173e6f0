/* SPDX-License-Identifier: ISC */
/* A frontend, its backend and a test between them. */
#include "test/harness/xenbed.h"

#include <stdlib.h>
#include <string.h>

static void take(struct netbed *net, struct mir_buf *buf_given)
{
    struct xenbed *bed = MIR_CONTAINER_OF(net, struct xenbed, net);
    bed->last_len = mir_buf_total(buf_given);
    bed->last_flags = buf_given->flags;
    if (bed->last_len < 14 || bed->last_len > 65535 ||
        mir_buf_copy_out(buf_given, 0, bed->last_data, bed->last_len) < 0)
        bed->wrong++;
    mir_buf_release(buf_given);
}
void xenbed_init(struct xenbed *bed, uint64_t seed)
{
    netbed_forget(&bed->net);
    memset(bed, 0, sizeof *bed);
    netbed_init(&bed->net, XENBED_ARENA, take);
    xenback_init(&bed->b, seed);
}

int xenbed_open(struct xenbed *bed, const struct mir_netfront_config *config)
{
    struct mir_netfront_config own = {0};
    if (config != NULL)
        own = *config;
    int r = mir_xen_device_find(&bed->b.xen, "vif", 0, &bed->b.device);
    own.device = &bed->b.device;
    own.loop = &bed->net.loop;
    own.bufs = &bed->net.bufs;
    return r < 0 ? r : mir_netfront_open(&own, &bed->dev);
}

int xenbed_start(struct xenbed *bed)
{
    return netbed_start(&bed->net, bed->dev);
}

void xenbed_run(struct xenbed *bed)
{
    for (int turns = 0; turns < 100; turns++) {
        bool found = xenback_run(&bed->b);
        mir_netfront_store_changed(bed->dev);
        found |= mir_netfront_poll(bed->dev);
        if (!found && !mir_netfront_arm(bed->dev))
            return;
    }
}

void xenbed_pass(struct xenbed *bed, mir_time_us us)
{
    mir_time_us end_us = bed->net.now_us + us, next_us;
    while (bed->net.now_us < end_us) {
        bed->net.now_us = MIR_MIN(bed->net.now_us + 5000, end_us);
        mir_loop_step(&bed->net.loop, bed->net.now_us, &next_us);
        xenbed_run(bed);
    }
}

struct mir_buf *xenbed_frame(struct xenbed *bed, const uint8_t *data, uint32_t len, uint32_t views,
                             uint32_t offset)
{
    uint32_t each = views > 0 ? MIR_MAX(len * 7 / 10 / views, 1u) : 0, first = len - each * views;
    struct mir_buf *buf = mir_buf_alloc_page(&bed->net.bufs, first, 0);
    if (buf == NULL)
        abort();
    memcpy(mir_buf_append(buf, first), data, first);
    for (uint32_t i = 0; i < views; i++) {
        struct mir_io_page *page;
        if (mir_page_alloc(&bed->net.pages, offset + each, MIR_PAGE_OVERWRITE, &page) < 0)
            abort();
        memcpy(page->base + offset, data + first + i * each, each);
        struct mir_view view = {page, page->base + offset, each};
        if (mir_buf_add_view(buf, view) < 0)
            abort();
    }
    return buf;
}

static void send_some(struct xenbed *bed)
{
    static const uint8_t data[70000];
    for (uint32_t i = xenback_draw(&bed->b) % 24; i > 0; i--) {
        uint32_t len = 20 + xenback_draw(&bed->b) % 1400;
        uint32_t views = xenback_draw(&bed->b) % 19, offset = xenback_draw(&bed->b) % 4096;
        (void)mir_net_dev_tx(bed->dev, xenbed_frame(bed, data, len, views, offset));
    }
    mir_net_dev_flush(bed->dev);
}

static void receive_some(struct xenbed *bed)
{
    static const uint8_t data[70000];
    for (uint32_t i = xenback_draw(&bed->b) % 24; i > 0; i--) {
        struct xenback_frame frame = {.data = data, .len = 14 + xenback_draw(&bed->b) % 9000};
        frame.flags = (uint16_t)(xenback_draw(&bed->b) & 3);
        if (xenback_draw(&bed->b) % 4 == 0) {
            frame.flags |= MIR__NETIF_RX_EXTRA;
            frame.extra.type = MIR__NETIF_EXTRA_GSO;
            frame.extra.gso_type = (uint8_t)(xenback_draw(&bed->b) % 4);
            frame.extra.gso_size = (uint16_t)xenback_draw(&bed->b);
        }
        (void)xenback_send(&bed->b, &frame, 1 + xenback_draw(&bed->b) % 4096);
    }
}

void xenbed_step(struct xenbed *bed)
{
    switch (xenback_draw(&bed->b) % 8) {
    case 0:
    case 1:
        send_some(bed);
        break;
    case 2:
    case 3:
        receive_some(bed);
        break;
    case 4:
        bed->b.holds = xenback_draw(&bed->b) & 1;
        xenback_answer(&bed->b, xenback_draw(&bed->b) % 64);
        break;
    case 5:
        if (xenback_draw(&bed->b) % 8 == 0)
            xenback_set_back(&bed->b, "state", xenback_draw(&bed->b) % 8);
        break;
    case 6:
        xenbed_pass(bed, xenback_draw(&bed->b) % 50000);
        break;
    default:
        if (xenback_draw(&bed->b) % 8 == 0) {
            mir_net_dev_stop(bed->dev);
            (void)!xenbed_start(bed);
        }
    }
    xenbed_run(bed);
}

size_t xenbed_close(struct xenbed *bed)
{
    if (bed->dev != NULL)
        mir_net_dev_close(bed->dev);
    bed->dev = NULL;
    return netbed_close(&bed->net);
}
