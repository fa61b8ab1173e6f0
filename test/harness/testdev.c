/* SPDX-License-Identifier: ISC */
/* The device of testdev.h: a list of what was sent, and a way in. */
#include "test/harness/testdev.h"

#include <stdlib.h>
#include <string.h>

const uint8_t testbed_mac[6] = {2, 0, 0, 0, 0, 2};

static struct testdev *of(const struct mir_net_dev *dev)
{
    return (struct testdev *)(uintptr_t)dev;
}

static int dev_start(struct mir_net_dev *head, const struct mir_net_upper *upper)
{
    struct testdev *dev = of(head);
    dev->upper = *upper;
    dev->is_started = true;
    return 0;
}

static void dev_stop(struct mir_net_dev *head)
{
    of(head)->is_started = false;
}

static void free_frame(struct testdev_frame *frame)
{
    if (frame == NULL)
        return;
    free(frame->data);
    free(frame);
}

static struct testdev_frame *copy_frame(const struct mir_buf *buf)
{
    struct testdev_frame *frame = calloc(1, sizeof *frame);
    if (frame == NULL)
        abort();
    frame->len = mir_buf_total(buf);
    frame->data = malloc(frame->len > 0 ? frame->len : 1);
    if (frame->data == NULL || mir_buf_copy_out(buf, 0, frame->data, frame->len) < 0)
        abort();
    frame->flags = buf->flags;
    frame->gso_size = buf->gso_size;
    frame->csum_start = buf->csum_start;
    frame->csum_offset = buf->csum_offset;
    frame->frag_count = buf->frag_count;
    return frame;
}

static int dev_tx(struct mir_net_dev *head, struct mir_buf *buf)
{
    struct testdev *dev = of(head);
    uint32_t total = mir_buf_total(buf);
    bool is_gso = (buf->flags & (MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6)) != 0;
    MIR_ASSERT(dev->is_started);
    MIR_ASSERT(buf->frag_count == 0 || (dev->dev.info.caps & MIR_NET_TX_SG));
    MIR_ASSERT(!(buf->flags & MIR_BUF_CSUM_PARTIAL) || (dev->dev.info.caps & MIR_NET_TX_CSUM));
    if (total > (is_gso ? dev->dev.info.gso_max : dev->dev.info.mtu + 14u)) {
        dev->stats.tx_errors++;
        mir_buf_release(buf);
        return -MIR_ETOOBIG;
    }
    if (dev->room == 0) {
        dev->stats.tx_dropped++;
        mir_buf_release(buf);
        return -MIR_EAGAIN;
    }
    if (dev->room != UINT32_MAX)
        dev->room--;
    dev->stats.tx_frames++;
    dev->stats.tx_bytes += total;
    struct testdev_frame *frame = copy_frame(buf);
    mir_buf_release(buf);
    if ((dev->on_tx != NULL && dev->on_tx(dev->on_tx_arg, frame)) ||
        dev->queued >= dev->queued_max) {
        dev->forgotten++;
        free_frame(frame);
        return 0;
    }
    if (dev->last != NULL)
        dev->last->next = frame;
    else
        dev->first = frame;
    dev->last = frame;
    dev->queued++;
    return 0;
}

static void dev_flush(struct mir_net_dev *head)
{
    of(head)->flushes++;
}

static uint32_t dev_tx_room(struct mir_net_dev *head)
{
    return of(head)->room;
}

static void dev_stats(const struct mir_net_dev *head, struct mir_net_dev_stats *stats)
{
    *stats = of(head)->stats;
}

static void dev_close(struct mir_net_dev *head)
{
    testdev_fini(of(head));
}

static const struct mir_net_dev_ops ops = {
    .start = dev_start,
    .stop = dev_stop,
    .tx = dev_tx,
    .flush = dev_flush,
    .tx_room = dev_tx_room,
    .stats = dev_stats,
    .close = dev_close,
};

void testdev_init(struct testdev *dev, struct mir_buf_pool *bufs, uint16_t mtu, uint32_t caps)
{
    *dev = (struct testdev){
        .dev = {.ops = &ops, .info = {.mtu = mtu, .caps = caps, .kind = "test"}},
        .bufs = bufs,
        .room = UINT32_MAX,
        .queued_max = 100000,
    };
    memcpy(dev->dev.info.mac, testbed_mac, 6);
    if (caps & (MIR_NET_TX_TSO4 | MIR_NET_TX_TSO6))
        dev->dev.info.gso_max = 65535 + 14;
}

void testdev_fini(struct testdev *dev)
{
    testdev_clear(dev);
    free_frame(dev->current);
    dev->current = NULL;
    dev->is_started = false;
}

bool testdev_inject_more(struct testdev *dev, const void *data, size_t len, uint16_t flags)
{
    if (!dev->is_started || len == 0)
        return false;
    struct mir_buf *buf = mir_buf_alloc_page(dev->bufs, len, 0);
    if (buf == NULL) {
        dev->stats.rx_dropped++;
        return false;
    }
    memcpy(mir_buf_append(buf, (uint32_t)len), data, len);
    /* Nothing behind the frame: whoever looks there reads somebody else's bytes. */
    buf->end = buf->data + len;
    buf->flags = flags;
    dev->stats.rx_frames++;
    dev->stats.rx_bytes += len;
    dev->upper.rx(dev->upper.arg, buf);
    return true;
}

void testdev_end_batch(struct testdev *dev)
{
    if (dev->is_started)
        dev->upper.rx_end(dev->upper.arg);
}

bool testdev_inject(struct testdev *dev, const void *frame, size_t len)
{
    bool ok = testdev_inject_more(dev, frame, len, 0);
    testdev_end_batch(dev);
    return ok;
}

const struct testdev_frame *testdev_next(struct testdev *dev)
{
    free_frame(dev->current);
    dev->current = dev->first;
    if (dev->current == NULL)
        return NULL;
    dev->first = dev->current->next;
    if (dev->first == NULL)
        dev->last = NULL;
    dev->queued--;
    return dev->current;
}

void testdev_clear(struct testdev *dev)
{
    while (dev->first != NULL) {
        struct testdev_frame *frame = dev->first;
        dev->first = frame->next;
        free_frame(frame);
    }
    dev->last = NULL;
    dev->queued = 0;
}
