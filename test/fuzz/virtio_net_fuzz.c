/* SPDX-License-Identifier: ISC */
/* A virtio network device that does what the input says: writes anywhere in the rings and to what
 * it was lent, returns chains with any identity and length, moves its index, changes its
 * configuration, asks for resets. The driver sends meanwhile. Nothing crashes, all memory comes
 * back.
 */
#include <stdlib.h>
#include <string.h>

#include "dev/net/virtio/internal.h"
#include "test/fuzz/input.h"
#include "test/harness/virtbed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS 100u

static struct virtbed bed;

/* A real device can overwrite all of its guest's memory, against which nothing helps: this one
 * keeps to pages that it has, however damaged its descriptors are. */
static bool is_lent(const struct virtdev *d, const uint8_t *at, uint64_t len)
{
    const struct mir__virtnet *n = MIR_CONTAINER_OF(bed.dev, struct mir__virtnet, dev);
    (void)d;
    for (uint16_t i = 0; i < n->rx.ring.size; i++) {
        const struct mir_io_page *page = n->rx.ring.slots[i].token;
        if (page != NULL && at >= page->base && len <= page->size_bytes &&
            at + len <= page->base + page->size_bytes)
            return true;
    }
    const struct mir_io_page *page = n->ctrl_page;
    return page != NULL && at >= page->base && len <= page->size_bytes &&
           at + len <= page->base + page->size_bytes;
}

static uint8_t *ours(uint64_t address)
{
    return (uint8_t *)(uintptr_t)(address + bed.m.d.base);
}

/* Anywhere in the rings of a queue. */
static void scribble(struct fuzz_input *in)
{
    struct virtdev_queue *q = &bed.m.d.queue[fuzz_u8(in) % 3];
    if (!q->is_enabled)
        return;
    uint64_t base[] = {q->desc, q->avail, q->used};
    uint32_t len[] = {16u * q->size, 6u + 2u * q->size, 6u + 8u * q->size};
    unsigned part = fuzz_u8(in) % 3;
    uint8_t *at = ours(base[part]) + fuzz_u16(in) % len[part];
    *at = fuzz_u8(in);
}

static void return_chain(struct fuzz_input *in)
{
    struct virtdev_chain chain;
    unsigned queue = fuzz_u8(in) % 3;
    uint8_t how = fuzz_u8(in);
    uint16_t number = fuzz_u16(in);
    if (!virtdev_pop(&bed.m.d, queue, &chain))
        return;
    for (uint32_t i = 0; i < chain.count && how & 1; i++) {
        if (chain.seg[i].is_writable && chain.seg[i].len >= 12) {
            for (uint32_t k = 0; k < 12; k++)
                chain.seg[i].data[k] = fuzz_u8(in);
        }
    }
    uint16_t head = how & 2 ? number : chain.head;
    virtdev_push(&bed.m.d, queue, how & 2 ? head % VIRTDEV_SIZE_MAX : head, how & 4 ? number : 64);
    if (!(how & 8))
        virtdev_publish(&bed.m.d, queue);
}

static void send_some(struct fuzz_input *in)
{
    uint32_t count = fuzz_u8(in) % 8, len = 14 + fuzz_u16(in) % 3000;
    for (uint32_t i = 0; i < count; i++)
        (void)mir_net_dev_tx(bed.dev, virtbed_frame(&bed, len, i));
    mir_net_dev_flush(bed.dev);
}

static void step(struct fuzz_input *in, const uint8_t *header)
{
    static const uint8_t frame[4096];
    struct virtdev *d = &bed.m.d;
    switch (fuzz_u8(in) % 10) {
    case 0:
        send_some(in);
        break;
    case 1:
        (void)virtdev_net_send(&bed.m, header, frame, fuzz_u16(in) % 4096);
        break;
    case 2:
        return_chain(in);
        break;
    case 3:
        scribble(in);
        break;
    case 4:
        d->config[fuzz_u8(in) % VIRTDEV_CONFIG] = fuzz_u8(in);
        virtdev_config_changed(d);
        break;
    case 5:
        virtdev_need_reset(d);
        break;
    case 6:
        d->queue[fuzz_u8(in) % 3].used_idx = fuzz_u16(in);
        break;
    case 7:
        bed.m.holds = fuzz_u8(in) & 1;
        virtdev_net_return(&bed.m, fuzz_u8(in), fuzz_u8(in) & 1);
        break;
    case 8:
        virtbed_pass(&bed, fuzz_u16(in) % 16384);
        break;
    default:
        mir_net_dev_stop(bed.dev);
        (void)!virtbed_start(&bed);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    if (size < 16)
        return 0;
    enum virtdev_transport transport = (enum virtdev_transport)(fuzz_u8(&in) % VIRTDEV_TRANSPORTS);
    uint16_t queue_max = (uint16_t)(1u << fuzz_u8(&in) % 10);
    virtbed_init(&bed, transport, VIRTDEV_NET_ALL, queue_max);
    if (fuzz_u8(&in) & 1) {
        uint64_t some = (uint64_t)fuzz_u16(&in) << 16 | fuzz_u16(&in);
        bed.m.d.offered &= some | MIR_VIRTIO_F_VERSION_1;
    }
    struct mir_virtio_net_config config = {.rx_pages = 20};
    bool is_open = virtbed_open(&bed, &config) == 0;
    if (is_open)
        bed.m.d.may_write = is_lent;
    if (is_open && virtbed_start(&bed) == 0) {
        for (uint32_t i = 0; i < STEPS && in.left > 0; i++) {
            step(&in, data);
            virtbed_run(&bed);
        }
    }
    if (virtbed_close(&bed) != 0)
        abort();
    return 0;
}
