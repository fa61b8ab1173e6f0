/* SPDX-License-Identifier: ISC */
/* A virtio device in memory: rings from the device's side. Registers are in virtdev_regs.c.
 *
 * Written from the specification (VIRTIO 1.2 sections 2.7.13, 2.7.14) and not from lib/ring, so
 * that a misunderstanding on one side shows. The device's address 0x100000 is the first byte of the
 * pool's arena.
 */
#include "test/harness/virtdev.h"

#include <string.h>

#include <mirari/bytes.h>

#include "lib/page/poison.h"

const char *const virtdev_transport_name[VIRTDEV_TRANSPORTS] = {"mmio", "mmio-legacy", "pci",
                                                                "pci-legacy"};

uint32_t virtdev_draw(struct virtdev *d)
{
    d->random ^= d->random << 13;
    d->random ^= d->random >> 7;
    d->random ^= d->random << 17;
    return (uint32_t)(d->random >> 16);
}

bool virtdev_chance(struct virtdev *d, uint32_t one_in)
{
    return one_in != 0 && d->random != 0 && virtdev_draw(d) % one_in == 0;
}

static void violate(struct virtdev *d, const char *text)
{
    d->violations++;
    d->violation = text;
}

static uint8_t *memory(const struct virtdev *d, uint64_t address)
{
    return (uint8_t *)(uintptr_t)(address + d->base);
}

static uint16_t load16(const struct virtdev *d, uint64_t address)
{
    return __atomic_load_n((uint16_t *)(void *)memory(d, address), __ATOMIC_ACQUIRE);
}

static void store16(const struct virtdev *d, uint64_t address, uint16_t value)
{
    __atomic_store_n((uint16_t *)(void *)memory(d, address), value, __ATOMIC_RELEASE);
}

static bool has(const struct virtdev *d, uint64_t feature)
{
    return (d->accepted & feature) != 0;
}

uint32_t virtdev_available(struct virtdev *d, unsigned queue)
{
    struct virtdev_queue *q = &d->queue[queue];
    if (!q->is_enabled || !(d->status & MIR_VIRTIO_DRIVER_OK))
        return 0;
    uint16_t there = (uint16_t)(load16(d, q->avail + 2) - q->avail_seen);
    if (there > q->size) {
        violate(d, "more chains available than the queue has");
        return 0;
    }
    return there;
}

/* ---- chains -------------------------------------------------------------------------------------
 */

/* A hostile device may find anything in descriptors that it has overwritten or returned twice: it
 * goes on, but not to where the test would crash. */
static bool is_memory(const struct virtdev *d, uint64_t address, uint64_t len)
{
    if (d->limit == 0)
        return true;
    return address >= 0x100000 && len <= d->limit && address - 0x100000 <= d->limit - len &&
           !mir__is_poisoned(memory(d, address)) && !mir__is_poisoned(memory(d, address + len - 1));
}

static bool add_seg(struct virtdev *d, struct virtdev_chain *chain, const uint8_t *desc)
{
    uint16_t flags = mir_get_le16(desc + 12);
    struct virtdev_seg seg = {memory(d, mir_get_le64(desc)), mir_get_le32(desc + 8), flags & 2};
    if (chain->count == VIRTDEV_SEGS) {
        violate(d, "a chain without end");
        return false;
    }
    if (!is_memory(d, mir_get_le64(desc), seg.len) ||
        (seg.is_writable && d->may_write != NULL && !d->may_write(d, seg.data, seg.len))) {
        violate(d, "memory that is not ours to give");
        return false;
    }
    if (seg.len == 0)
        violate(d, "an empty descriptor");
    if (seg.is_writable)
        chain->in_bytes += seg.len;
    else
        chain->out_bytes += seg.len;
    if (!seg.is_writable && chain->count > 0 && chain->seg[chain->count - 1].is_writable)
        violate(d, "to be read after to be written");
    chain->seg[chain->count++] = seg;
    return true;
}

static void follow_table(struct virtdev *d, struct virtdev_chain *chain, const uint8_t *desc)
{
    const uint8_t *table = memory(d, mir_get_le64(desc));
    uint32_t count = mir_get_le32(desc + 8) / 16, i = 0;
    d->indirects++;
    if (!is_memory(d, mir_get_le64(desc), count * 16ull)) {
        violate(d, "a table that is not ours to give");
        return;
    }
    if (!has(d, MIR_VIRTIO_F_INDIRECT))
        violate(d, "an indirect table that was not agreed on");
    if (mir_get_le16(desc + 12) & 1)
        violate(d, "an indirect table with a next");
    do {
        if (i >= count) {
            violate(d, "outside of an indirect table");
            return;
        }
        if (!add_seg(d, chain, table + (size_t)i * 16))
            return;
        uint16_t flags = mir_get_le16(table + (size_t)i * 16 + 12);
        if (flags & 4)
            violate(d, "a table in a table");
        if (!(flags & 1))
            return;
        i = mir_get_le16(table + (size_t)i * 16 + 14);
    } while (true);
}

bool virtdev_pop(struct virtdev *d, unsigned queue, struct virtdev_chain *chain)
{
    struct virtdev_queue *q = &d->queue[queue];
    if (virtdev_available(d, queue) == 0)
        return false;
    uint16_t id = load16(d, q->avail + 4 + 2u * (q->avail_seen % q->size));
    q->avail_seen++;
    *chain = (struct virtdev_chain){.head = id};
    if (id >= q->size) {
        violate(d, "a head out of range");
        return false;
    }
    if (q->in_flight[id])
        violate(d, "an identity twice in flight");
    q->in_flight[id] = 1;
    for (uint32_t steps = 0; steps <= q->size; steps++) {
        const uint8_t *desc = memory(d, q->desc + 16u * (uint64_t)id);
        uint16_t flags = mir_get_le16(desc + 12);
        if (flags & 4) {
            follow_table(d, chain, desc);
            return true;
        }
        if (!add_seg(d, chain, desc) || !(flags & 1))
            return true;
        id = mir_get_le16(desc + 14);
        if (id >= q->size) {
            violate(d, "a next out of range");
            return true;
        }
    }
    violate(d, "a chain that goes round");
    return true;
}

uint32_t virtdev_read(const struct virtdev_chain *chain, uint32_t offset, void *out, uint32_t len)
{
    uint32_t done = 0;
    for (uint32_t i = 0; i < chain->count && done < len; i++) {
        const struct virtdev_seg *seg = &chain->seg[i];
        if (seg->is_writable)
            break;
        if (offset >= seg->len) {
            offset -= seg->len;
            continue;
        }
        uint32_t n = MIR_MIN(len - done, seg->len - offset);
        memcpy((uint8_t *)out + done, seg->data + offset, n);
        done += n;
        offset = 0;
    }
    return done;
}

uint32_t virtdev_write(const struct virtdev_chain *chain, uint32_t offset, const void *from,
                       uint32_t len)
{
    uint32_t done = 0;
    for (uint32_t i = 0; i < chain->count && done < len; i++) {
        const struct virtdev_seg *seg = &chain->seg[i];
        if (!seg->is_writable)
            continue;
        if (offset >= seg->len) {
            offset -= seg->len;
            continue;
        }
        uint32_t n = MIR_MIN(len - done, seg->len - offset);
        memcpy(seg->data + offset, (const uint8_t *)from + done, n);
        done += n;
        offset = 0;
    }
    return done;
}

/* ---- completions --------------------------------------------------------------------------------
 */

static void write_entry(const struct virtdev *d, struct virtdev_queue *q, uint32_t id, uint32_t len)
{
    uint8_t *entry = memory(d, q->used + 4 + 8u * (uint64_t)(q->used_idx % q->size));
    mir_put_le32(entry, id);
    mir_put_le32(entry + 4, len);
    q->used_idx++;
}

void virtdev_push(struct virtdev *d, unsigned queue, uint16_t head, uint32_t len)
{
    struct virtdev_queue *q = &d->queue[queue];
    uint32_t id = head;
    if (!q->is_enabled)
        return;
    if (virtdev_chance(d, d->evil.bad_id))
        id = virtdev_draw(d);
    if (virtdev_chance(d, d->evil.idle_id))
        id = virtdev_draw(d) % q->size;
    if (virtdev_chance(d, d->evil.long_len))
        len += 1 + virtdev_draw(d) % 100000;
    if (virtdev_chance(d, d->evil.random_len))
        len = virtdev_draw(d) % 5000;
    q->in_flight[head] = 0;
    write_entry(d, q, id, len);
    if (virtdev_chance(d, d->evil.twice))
        write_entry(d, q, id, len);
    if (virtdev_chance(d, d->evil.index_jump))
        q->used_idx = (uint16_t)(q->used_idx + virtdev_draw(d));
}

static void interrupt(struct virtdev *d, uint8_t event)
{
    d->isr |= event;
    d->interrupts++;
}

void virtdev_publish(struct virtdev *d, unsigned queue)
{
    struct virtdev_queue *q = &d->queue[queue];
    uint16_t before = q->published;
    if (!q->is_enabled || before == q->used_idx)
        return;
    store16(d, q->used + 2, q->used_idx);
    q->published = q->used_idx;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    bool wants;
    if (has(d, MIR_VIRTIO_F_EVENT_IDX)) {
        uint16_t event = load16(d, q->avail + 4 + 2u * q->size);
        wants = (uint16_t)(q->used_idx - event - 1) < (uint16_t)(q->used_idx - before);
    } else {
        wants = !(load16(d, q->avail) & 1);
    }
    if (wants)
        interrupt(d, MIR_VIRTIO_EVENT_QUEUE);
}

bool virtdev_run(struct virtdev *d)
{
    bool found = false;
    for (unsigned i = 0; i < d->queue_count; i++) {
        struct virtdev_queue *q = &d->queue[i];
        if (!q->is_notified || d->is_lazy || !(d->status & MIR_VIRTIO_DRIVER_OK))
            continue;
        q->is_notified = false;
        found = true;
        if (d->serve != NULL)
            d->serve(d, i);
        /* From here on a notification is wanted for the next chain. */
        if (q->is_enabled && has(d, MIR_VIRTIO_F_EVENT_IDX))
            store16(d, q->used + 4 + 8u * q->size, q->avail_seen);
    }
    return found;
}

void virtdev_config_changed(struct virtdev *d)
{
    d->generation++;
    interrupt(d, MIR_VIRTIO_EVENT_CONFIG);
}

void virtdev_need_reset(struct virtdev *d)
{
    d->status |= MIR_VIRTIO_NEEDS_RESET;
    virtdev_config_changed(d);
}

unsigned virtdev_events(struct virtdev *d, struct mir_virtio *v)
{
    return d->isr != 0 ? v->ops->isr(v) : 0;
}

void virtdev_init(struct virtdev *d, enum virtdev_transport transport, uint32_t id,
                  uint64_t features, uint32_t queue_count, uint16_t queue_max)
{
    *d = (struct virtdev){.transport = transport,
                          .id = id,
                          .offered = features,
                          .queue_count = queue_count,
                          .config_bytes = VIRTDEV_CONFIG};
    bool is_legacy = transport == VIRTDEV_MMIO_LEGACY || transport == VIRTDEV_PCI_LEGACY;
    if (!is_legacy)
        d->offered |= MIR_VIRTIO_F_VERSION_1;
    else
        d->offered = (uint32_t)d->offered;
    for (unsigned i = 0; i < queue_count; i++)
        d->queue[i].size_max = queue_max;
}
