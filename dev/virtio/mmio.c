/* SPDX-License-Identifier: ISC */
/* Virtio over memory-mapped registers, version 2 and the legacy version 1 (VIRTIO 1.2 sections
 * 4.2.2, 4.2.4). QEMU's machines have version 1 unless told `-global virtio-mmio.force-legacy=off`.
 *
 * The two differ in how a queue is described: three 64-bit addresses, or the number of one page
 * behind which the rings lie as a legacy layout has them. lib/ring lays them out so in any case.
 * Version 1 has no configuration generation: what is read there may be of two states.
 */
#include "dev/virtio/mmio.h"

#define MAGIC 0x74726976u /* "virt" */

enum reg {
    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE = 0x008,
    REG_FEATURES = 0x010,
    REG_FEATURES_SELECT = 0x014,
    REG_ACCEPT = 0x020,
    REG_ACCEPT_SELECT = 0x024,
    REG_PAGE_SIZE = 0x028, /* version 1 */
    REG_QUEUE_SELECT = 0x030,
    REG_QUEUE_MAX = 0x034,
    REG_QUEUE_SIZE = 0x038,
    REG_QUEUE_ALIGN = 0x03c, /* version 1 */
    REG_QUEUE_PAGE = 0x040,  /* version 1 */
    REG_QUEUE_READY = 0x044,
    REG_NOTIFY = 0x050,
    REG_INTERRUPT = 0x060,
    REG_INTERRUPT_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC = 0x080,
    REG_QUEUE_AVAIL = 0x090,
    REG_QUEUE_USED = 0x0a0,
    REG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100,
};

static const struct mir_regs *regs_of(struct mir_virtio *v)
{
    return &((struct mir_virtio_mmio *)(void *)v)->regs;
}

static uint32_t get(struct mir_virtio *v, enum reg reg)
{
    return mir_regs_read(regs_of(v), (uint32_t)reg, 4);
}

static void set(struct mir_virtio *v, enum reg reg, uint32_t value)
{
    mir_regs_write(regs_of(v), (uint32_t)reg, 4, value);
}

static uint64_t mmio_features(struct mir_virtio *v)
{
    set(v, REG_FEATURES_SELECT, 0);
    uint64_t features = get(v, REG_FEATURES);
    if (v->is_legacy)
        return features;
    set(v, REG_FEATURES_SELECT, 1);
    return features | (uint64_t)get(v, REG_FEATURES) << 32;
}

static void mmio_accept(struct mir_virtio *v, uint64_t features)
{
    set(v, REG_ACCEPT_SELECT, 0);
    set(v, REG_ACCEPT, (uint32_t)features);
    if (v->is_legacy)
        return;
    set(v, REG_ACCEPT_SELECT, 1);
    set(v, REG_ACCEPT, (uint32_t)(features >> 32));
}

static uint8_t mmio_status(struct mir_virtio *v)
{
    return (uint8_t)get(v, REG_STATUS);
}

static void mmio_set_status(struct mir_virtio *v, uint8_t status)
{
    set(v, REG_STATUS, status);
}

static uint32_t mmio_generation(struct mir_virtio *v)
{
    return v->is_legacy ? 0 : get(v, REG_GENERATION);
}

static uint32_t mmio_config_get(struct mir_virtio *v, uint32_t offset, unsigned width)
{
    return mir_regs_read(regs_of(v), REG_CONFIG + offset, width);
}

static void mmio_config_set(struct mir_virtio *v, uint32_t offset, unsigned width, uint32_t value)
{
    mir_regs_write(regs_of(v), REG_CONFIG + offset, width, value);
}

static uint32_t mmio_queue_max(struct mir_virtio *v, uint16_t index)
{
    set(v, REG_QUEUE_SELECT, index);
    return get(v, REG_QUEUE_MAX);
}

static void set_address(struct mir_virtio *v, enum reg reg, uint64_t address)
{
    set(v, reg, (uint32_t)address);
    mir_regs_write(regs_of(v), (uint32_t)reg + 4, 4, (uint32_t)(address >> 32));
}

static int mmio_queue_enable(struct mir_virtio *v, uint16_t index, const struct mir__virtq *ring,
                             struct mir_virtio_bell *bell)
{
    uint64_t desc = mir__virtq_desc_address(ring);
    set(v, REG_QUEUE_SELECT, index);
    if (v->is_legacy && desc >> (32 + MIR_PAGE_SHIFT) != 0)
        return -MIR_ERANGE;
    if (v->is_legacy)
        set(v, REG_PAGE_SIZE, MIR_PAGE_SIZE);
    set(v, REG_QUEUE_SIZE, ring->size);
    if (v->is_legacy) {
        set(v, REG_QUEUE_ALIGN, MIR__VIRTQ_ALIGN);
        set(v, REG_QUEUE_PAGE, (uint32_t)(desc >> MIR_PAGE_SHIFT));
    } else {
        set_address(v, REG_QUEUE_DESC, desc);
        set_address(v, REG_QUEUE_AVAIL, mir__virtq_avail_address(ring));
        set_address(v, REG_QUEUE_USED, mir__virtq_used_address(ring));
        set(v, REG_QUEUE_READY, 1);
    }
    *bell = (struct mir_virtio_bell){regs_of(v), REG_NOTIFY, index, 4};
    return 0;
}

static unsigned mmio_isr(struct mir_virtio *v)
{
    unsigned events = get(v, REG_INTERRUPT) & (MIR_VIRTIO_EVENT_QUEUE | MIR_VIRTIO_EVENT_CONFIG);
    if (events != 0)
        set(v, REG_INTERRUPT_ACK, events);
    return events;
}

static const struct mir_virtio_ops mmio_ops = {
    .features = mmio_features,
    .accept = mmio_accept,
    .status = mmio_status,
    .set_status = mmio_set_status,
    .generation = mmio_generation,
    .config_get = mmio_config_get,
    .config_set = mmio_config_set,
    .queue_max = mmio_queue_max,
    .queue_enable = mmio_queue_enable,
    .isr = mmio_isr,
};

int mir_virtio_mmio_init(struct mir_virtio_mmio *mmio, const struct mir_regs *regs,
                         struct mir_clock *clock, struct mir_page_pool *pages)
{
    if (regs->size_bytes < MIR_VIRTIO_MMIO_BYTES)
        return -MIR_EINVAL;
    *mmio = (struct mir_virtio_mmio){
        .virtio = {.ops = &mmio_ops,
                   .config_bytes = regs->size_bytes - REG_CONFIG,
                   .clock = clock,
                   .pages = pages,
                   .dma = MIR_VIRTIO_DMA_SAME,
                   .config_vector = MIR_VIRTIO_NO_VECTOR,
                   .queue_vector = MIR_VIRTIO_NO_VECTOR},
        .regs = *regs,
    };
    struct mir_virtio *v = &mmio->virtio;
    if (get(v, REG_MAGIC) != MAGIC)
        return -MIR_EINVAL;
    uint32_t version = get(v, REG_VERSION);
    if (version != 1 && version != 2)
        return -MIR_ENOTSUP;
    v->is_legacy = version == 1;
    v->device = get(v, REG_DEVICE);
    return v->device != 0 ? 0 : -MIR_ENOENT;
}
