/* SPDX-License-Identifier: ISC */
/* What all drivers of virtio devices do alike: reset, features, configuration, queues.
 *
 *   reset (status 0, read back) -> ACKNOWLEDGE -> DRIVER -> features -> FEATURES_OK, read back
 *     -> queues -> DRIVER_OK -> ... -> reset
 *
 * A legacy device has neither VERSION_1 nor FEATURES_OK; the rest is the same.
 *
 * A reset is the only moment at which a device must let go of memory. It is confirmed by a status
 * of zero, waited for a bounded time. If that does not come the caller is told, and the pages stay
 * where they are for good: using them again could let the device write into somebody's data or read
 * it (MirageOS advisory MSA02).
 *
 * The configuration of a modern device has a generation that changes with it; a read that saw a
 * change is repeated, a few times.
 */
#include "dev/virtio/virtio.h"

#define RESET_WAIT_US (100 * MIR_US_PER_MS)
#define CONFIG_TRIES  8u
/* ACCESS_PLATFORM: the device goes through the machine's IOMMU, which lets everything pass while
 * nobody sets it up. */
#define COMMON_FEATURES                                                                            \
    (MIR_VIRTIO_F_INDIRECT | MIR_VIRTIO_F_EVENT_IDX | MIR_VIRTIO_F_VERSION_1 |                     \
     MIR_VIRTIO_F_ACCESS_PLATFORM)

int mir__virtio_reset(struct mir_virtio *v)
{
    mir_time_us start_us = 0;
    v->ops->set_status(v, 0);
    while (v->ops->status(v) != 0) {
        mir_time_us now_us = v->clock->monotonic(v->clock);
        if (start_us == 0)
            start_us = now_us;
        if (now_us - start_us > RESET_WAIT_US)
            return -MIR_ETIMEDOUT;
    }
    v->features = 0;
    return 0;
}

static void add_status(struct mir_virtio *v, uint8_t bits)
{
    v->ops->set_status(v, (uint8_t)(v->ops->status(v) | bits));
}

int mir__virtio_negotiate(struct mir_virtio *v, uint64_t (*choose)(void *arg, uint64_t offered),
                          void *arg)
{
    add_status(v, MIR_VIRTIO_ACKNOWLEDGE);
    add_status(v, MIR_VIRTIO_DRIVER);
    uint64_t offered = v->ops->features(v);
    uint64_t wanted = choose(arg, offered) | COMMON_FEATURES;
    if (v->is_legacy)
        wanted = (wanted & ~MIR_VIRTIO_F_VERSION_1) | MIR_VIRTIO_F_ANY_LAYOUT;
    v->features = offered & wanted;
    if (v->is_legacy) {
        v->ops->accept(v, v->features);
        return 0;
    }
    if (!mir__virtio_has(v, MIR_VIRTIO_F_VERSION_1))
        return -MIR_ENOTSUP;
    v->ops->accept(v, v->features);
    add_status(v, MIR_VIRTIO_FEATURES_OK);
    return v->ops->status(v) & MIR_VIRTIO_FEATURES_OK ? 0 : -MIR_ENOTSUP;
}

void mir__virtio_ready(struct mir_virtio *v)
{
    add_status(v, MIR_VIRTIO_DRIVER_OK);
}

void mir__virtio_fail(struct mir_virtio *v)
{
    add_status(v, MIR_VIRTIO_FAILED);
}

bool mir__virtio_needs_reset(struct mir_virtio *v)
{
    return v->ops->status(v) & MIR_VIRTIO_NEEDS_RESET;
}

int mir__virtio_config(struct mir_virtio *v, uint32_t offset, void *out, unsigned width,
                       uint32_t count)
{
    uint8_t *to = out;
    uint32_t len = width * count;
    if (offset > v->config_bytes || len > v->config_bytes - offset)
        return -MIR_ERANGE;
    for (uint32_t tries = 0; tries < CONFIG_TRIES; tries++) {
        uint32_t before = v->ops->generation(v);
        for (uint32_t i = 0; i < len; i += width) {
            uint32_t value = v->ops->config_get(v, offset + i, width);
            mir_memcpy(to + i, &value, width);
        }
        if (v->ops->generation(v) == before)
            return 0;
    }
    return -MIR_EIO;
}

/* ---- queues -----------------------------------------------------------------------------------
 */

static uint32_t power_below(uint32_t n)
{
    uint32_t power = 1;
    while (power * 2 <= n)
        power *= 2;
    return power;
}

static int find_memory(struct mir_virtio *v, struct mir_virtio_queue *queue, uint16_t size,
                       uint16_t tables)
{
    size_t shared_bytes = mir__virtq_shared_bytes(size, tables);
    if (queue->shared != NULL && queue->size == size && queue->tables == tables)
        return 0;
    mir__virtio_queue_close(queue);
    int r = mir_page_alloc(v->pages, shared_bytes, MIR_PAGE_OVERWRITE, &queue->shared);
    if (r == 0)
        r = mir_page_alloc(v->pages, mir__virtq_own_bytes(size, tables), MIR_PAGE_OVERWRITE,
                           &queue->own);
    if (r < 0)
        mir__virtio_queue_close(queue);
    queue->size = size;
    queue->tables = tables;
    return r < 0 ? -MIR_ENOMEM : 0;
}

int mir__virtio_queue_open(struct mir_virtio *v, struct mir_virtio_queue *queue, uint16_t index,
                           uint32_t size, uint16_t tables)
{
    uint32_t most = v->ops->queue_max(v, index);
    if (most < 2)
        return -MIR_ENOENT;

    bool is_fixed = v->has_fixed_queues;
    if (is_fixed && (most > MIR__VIRTQ_SIZE_MAX || power_below(most) != most))
        return -MIR_ERANGE;
    size = is_fixed ? most : power_below(MIR_MIN(MIR_MIN(size, most), MIR__VIRTQ_SIZE_MAX));
    if (!mir__virtio_has(v, MIR_VIRTIO_F_INDIRECT))
        tables = 0;
    int r = find_memory(v, queue, (uint16_t)size, tables);
    if (r < 0)
        return r;
    struct mir__virtq_config config = {
        .size = (uint16_t)size,
        .table_count = tables,
        .flags = (mir__virtio_has(v, MIR_VIRTIO_F_EVENT_IDX) ? MIR__VIRTQ_EVENT_IDX : 0u) |
                 (tables > 0 ? MIR__VIRTQ_INDIRECT : 0u),
        .shared = queue->shared->base,
        .shared_address = mir__virtio_address(v, queue->shared->base),
        .own = queue->own->base,
    };
    queue->index = index;
    r = mir__virtq_init(&queue->ring, &config);
    if (r < 0)
        return r;
    return v->ops->queue_enable(v, index, &queue->ring, &queue->bell);
}

void mir__virtio_queue_close(struct mir_virtio_queue *queue)
{
    if (queue->shared != NULL)
        mir_page_release(queue->shared);
    if (queue->own != NULL)
        mir_page_release(queue->own);
    queue->shared = NULL;
    queue->own = NULL;
}
