/* SPDX-License-Identifier: ISC */
/* A block device in memory. Requests wait in a queue for the loop's next step, so that done() is
 * never called from submit and whoever works with this one works with a disk. */
#include "dev/block/ram/ram.h"

static struct mir_block_ram *of_dev(struct mir_block_dev *dev)
{
    return (struct mir_block_ram *)(void *)dev;
}

static void move(struct mir_block_ram *ram, const struct mir_block_request *request)
{
    uint8_t *at = ram->memory + request->block * ram->dev.info.block_bytes;
    for (uint32_t i = 0; i < request->seg_count; i++) {
        const struct mir_block_seg *seg = &request->segs[i];
        uint8_t *data = seg->page->base + seg->offset;
        if (request->op == MIR_BLOCK_READ) {
            mir_memcpy(data, at, seg->len);
            ram->stats.read_bytes += seg->len;
        } else {
            mir_memcpy(at, data, seg->len);
            ram->stats.written_bytes += seg->len;
        }
        at += seg->len;
    }
}

static void perform(struct mir_block_ram *ram, const struct mir_block_request *request)
{
    uint32_t block_bytes = ram->dev.info.block_bytes;
    switch (request->op) {
    case MIR_BLOCK_READ:
        ram->stats.reads++;
        move(ram, request);
        break;
    case MIR_BLOCK_WRITE:
        ram->stats.writes++;
        move(ram, request);
        break;
    case MIR_BLOCK_FLUSH:
        ram->stats.flushes++;
        break;
    case MIR_BLOCK_DISCARD:
    case MIR_BLOCK_ZERO:
        ram->stats.discards += request->op == MIR_BLOCK_DISCARD;
        ram->stats.zeroes += request->op == MIR_BLOCK_ZERO;
        mir_memset(ram->memory + request->block * block_bytes, 0,
                   (size_t)request->block_count * block_bytes);
        break;
    }
}

static struct mir_block_request *pop(struct mir_block_ram *ram)
{
    struct mir_block_request *request = ram->first;
    if (request != NULL) {
        ram->first = request->next;
        ram->count--;
    }
    if (ram->first == NULL)
        ram->last = NULL;
    return request;
}

/* What was submitted up to now; what done() submits waits for the next step. */
static void run(void *arg)
{
    struct mir_block_ram *ram = arg;
    for (uint32_t left = ram->count; left > 0; left--) {
        struct mir_block_request *request = pop(ram);
        if (request == NULL)
            break;
        perform(ram, request);
        request->done(request, 0);
    }
    if (ram->first != NULL)
        mir_loop_post(ram->loop, &ram->work);
}

static int ram_submit(struct mir_block_dev *dev, struct mir_block_request *request)
{
    struct mir_block_ram *ram = of_dev(dev);
    uint64_t blocks;
    int r = ram->is_closed ? -MIR_EIO : mir_block_check(&dev->info, request, &blocks);
    if (r == 0 && ram->count == MIR_BLOCK_RAM_DEPTH)
        r = -MIR_EAGAIN;
    if (r < 0) {
        ram->stats.refused++;
        return r;
    }
    request->next = NULL;
    if (ram->last != NULL)
        ram->last->next = request;
    else
        ram->first = request;
    ram->last = request;
    ram->count++;
    mir_loop_post(ram->loop, &ram->work);
    return 0;
}

static void ram_kick(struct mir_block_dev *dev)
{
    (void)dev;
}

static void ram_stats(const struct mir_block_dev *dev, struct mir_block_stats *stats)
{
    *stats = ((const struct mir_block_ram *)(const void *)dev)->stats;
}

static void ram_close(struct mir_block_dev *dev)
{
    struct mir_block_ram *ram = of_dev(dev);
    ram->is_closed = true;
    mir_work_cancel(&ram->work);
    for (struct mir_block_request *request; (request = pop(ram)) != NULL;)
        request->done(request, -MIR_ECANCELED);
}

static const struct mir_block_dev_ops ram_ops = {
    .submit = ram_submit,
    .kick = ram_kick,
    .stats = ram_stats,
    .close = ram_close,
};

int mir_block_ram_init(struct mir_block_ram *ram, const struct mir_block_ram_config *config)
{
    uint32_t size = config->block_bytes;
    if (size < 512 || size > MIR_PAGE_SIZE || (size & (size - 1)) != 0)
        return -MIR_EINVAL;
    *ram = (struct mir_block_ram){.loop = config->loop, .memory = config->memory};
    ram->dev.ops = &ram_ops;
    ram->dev.info = (struct mir_block_info){
        .block_bytes = size,
        .block_count = config->block_count,
        .caps = config->is_readonly
                    ? MIR_BLOCK_READONLY
                    : MIR_BLOCK_CAN_FLUSH | MIR_BLOCK_CAN_DISCARD | MIR_BLOCK_CAN_ZERO,
        .segs_max = MIR_BLOCK_SEGS_MAX,
        .request_max = UINT32_MAX / size,
        .discard_max = config->is_readonly ? 0 : UINT32_MAX / size,
        .zero_max = config->is_readonly ? 0 : UINT32_MAX / size,
        .align_bytes = 1,
        .optimal_bytes = MIR_PAGE_SIZE,
        .depth = MIR_BLOCK_RAM_DEPTH,
        .kind = "ram",
    };
    mir_work_init(&ram->work, run, ram);
    return 0;
}
