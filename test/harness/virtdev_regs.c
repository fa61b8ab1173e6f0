/* SPDX-License-Identifier: ISC */
/* Registers of a virtio device in memory, on four transports (VIRTIO 1.2 sections 4.1, 4.2).
 *
 * PCI: BAR 0 is the I/O window of a transitional device, BAR 4 (64 bits wide) has the windows of a
 * modern one: common at 0, ISR at 0x1000, configuration at 0x2000, notifications at 0x3000.
 */
#include <string.h>

#include <mirari/bytes.h>

#include "test/harness/virtdev.h"

#define IO_BASE   0xc080u
#define MEM_BASE  0x800000000ull
#define MEM_BYTES 0x4000u
#define ABSENT    UINT32_MAX

static bool is_legacy(const struct virtdev *d)
{
    return d->transport == VIRTDEV_MMIO_LEGACY || d->transport == VIRTDEV_PCI_LEGACY;
}

static void violate(struct virtdev *d, const char *text)
{
    d->violations++;
    d->violation = text;
}

static struct virtdev_queue *selected(struct virtdev *d)
{
    return d->select < d->queue_count ? &d->queue[d->select] : NULL;
}

static void reset(struct virtdev *d)
{
    d->resets++;
    if (d->keeps_memory)
        return;
    d->status = 0;
    d->isr = 0;
    d->accepted = 0;
    for (unsigned i = 0; i < d->queue_count; i++) {
        uint16_t max = d->queue[i].size_max;
        memset(&d->queue[i], 0, sizeof d->queue[i]);
        d->queue[i].size_max = max;
        d->queue[i].size = max;
    }
    if (d->on_reset != NULL)
        d->on_reset(d);
}

static void set_status(struct virtdev *d, uint8_t status)
{
    if (status == 0) {
        reset(d);
        return;
    }
    if (status & MIR_VIRTIO_FEATURES_OK && d->accepted & ~d->offered) {
        violate(d, "a feature that was not offered");
        status &= (uint8_t)~MIR_VIRTIO_FEATURES_OK;
    }
    d->status = status;
}

static uint32_t offered_half(const struct virtdev *d)
{
    return d->features_select < 2 ? (uint32_t)(d->offered >> (32 * d->features_select)) : 0;
}

static void accept_half(struct virtdev *d, uint32_t value)
{
    if (d->accept_select == 0)
        d->accepted = (d->accepted & ~0xffffffffull) | value;
    else if (d->accept_select == 1)
        d->accepted = (d->accepted & 0xffffffffull) | (uint64_t)value << 32;
    if (d->status & MIR_VIRTIO_FEATURES_OK)
        violate(d, "features after FEATURES_OK");
}

static void notify(struct virtdev *d, uint32_t queue)
{
    d->notifications++;
    if (!(d->status & MIR_VIRTIO_DRIVER_OK))
        violate(d, "notified before DRIVER_OK");
    if (queue < d->queue_count)
        d->queue[queue].is_notified = true;
}

static uint32_t read_config(struct virtdev *d, uint32_t offset, unsigned width)
{
    uint32_t value = 0;
    if (offset + width > d->config_bytes)
        return ABSENT;
    if (virtdev_chance(d, d->evil.random_config)) {
        d->generation++;
        return virtdev_draw(d);
    }
    memcpy(&value, d->config + offset, width);
    return value;
}

static void enable(struct virtdev *d, struct virtdev_queue *q)
{
    if (q->is_enabled)
        violate(d, "a queue enabled twice");
    if (d->status & MIR_VIRTIO_DRIVER_OK)
        violate(d, "a queue after DRIVER_OK");
    if (q->size == 0 || q->size > q->size_max || (q->size & (q->size - 1)) != 0)
        violate(d, "a queue of impossible size");
    q->is_enabled = true;
}

/* The layout of a legacy device (section 2.7.2). */
static void enable_page(struct virtdev *d, struct virtdev_queue *q, uint32_t page, uint32_t shift)
{
    q->desc = (uint64_t)page << shift;
    q->avail = q->desc + 16u * (uint64_t)q->size;
    q->used = (q->avail + 6 + 2u * (uint64_t)q->size + 4095) & ~4095ull;
    enable(d, q);
}

static uint64_t with_half(uint64_t address, uint32_t value, bool is_high)
{
    return is_high ? (address & 0xffffffffull) | (uint64_t)value << 32
                   : (address & ~0xffffffffull) | value;
}

/* ---- mmio ---------------------------------------------------------------------------------------
 */

static struct virtdev_window *window_of(const struct mir_regs *regs)
{
    return (struct virtdev_window *)regs->at;
}

static uint32_t mmio_read(const struct mir_regs *regs, uint32_t offset, unsigned width)
{
    struct virtdev *d = window_of(regs)->d;
    struct virtdev_queue *q = selected(d);
    if (offset >= 0x100)
        return read_config(d, offset - 0x100, width);
    if (width != 4)
        violate(d, "a register not read as a whole");
    switch (offset) {
    case 0x000:
        return 0x74726976;
    case 0x004:
        return is_legacy(d) ? 1 : 2;
    case 0x008:
        return d->id;
    case 0x010:
        return offered_half(d);
    case 0x034:
        return q != NULL ? q->size_max : 0;
    case 0x060:
        return d->isr;
    case 0x070:
        return d->status;
    case 0x0fc:
        return d->generation;
    default:
        violate(d, "an unknown register read");
        return 0;
    }
}

static void mmio_write_queue(struct virtdev *d, uint32_t offset, uint32_t value)
{
    struct virtdev_queue *q = selected(d);
    if (q == NULL) {
        violate(d, "no such queue");
        return;
    }
    bool is_old = offset == 0x28 || offset == 0x3c || offset == 0x40;
    if (is_old != is_legacy(d) && offset != 0x38)
        violate(d, "a register of another version");
    switch (offset) {
    case 0x038:
        q->size = (uint16_t)value;
        break;
    case 0x03c:
        if (value != 4096)
            violate(d, "an unusual alignment");
        break;
    case 0x040:
        enable_page(d, q, value, d->page_shift);
        break;
    case 0x044:
        enable(d, q);
        break;
    case 0x080:
    case 0x084:
        q->desc = with_half(q->desc, value, offset & 4);
        break;
    case 0x090:
    case 0x094:
        q->avail = with_half(q->avail, value, offset & 4);
        break;
    case 0x0a0:
    case 0x0a4:
        q->used = with_half(q->used, value, offset & 4);
        break;
    default:
        violate(d, "an unknown register written");
    }
}

static void mmio_write(const struct mir_regs *regs, uint32_t offset, unsigned width, uint32_t value)
{
    struct virtdev *d = window_of(regs)->d;
    if (offset >= 0x100)
        return;
    if (width != 4)
        violate(d, "a register not written as a whole");
    switch (offset) {
    case 0x014:
        d->features_select = value;
        break;
    case 0x020:
        accept_half(d, value);
        break;
    case 0x024:
        d->accept_select = value;
        break;
    case 0x028:
        d->page_shift = (uint32_t)__builtin_ctz(value);
        break;
    case 0x030:
        d->select = value;
        break;
    case 0x050:
        notify(d, value);
        break;
    case 0x064:
        d->isr &= (uint8_t)~value;
        break;
    case 0x070:
        set_status(d, (uint8_t)value);
        break;
    default:
        mmio_write_queue(d, offset, value);
    }
}

/* ---- pci, modern --------------------------------------------------------------------------------
 */

static uint32_t common_read(struct virtdev *d, uint32_t offset)
{
    struct virtdev_queue *q = selected(d);
    switch (offset) {
    case 4:
        return offered_half(d);
    case 18:
        return d->queue_count;
    case 20:
        return d->status;
    case 21:
        return d->generation;
    case 24:
        return q == NULL ? 0 : q->size != 0 ? q->size : q->size_max;
    case 26:
        return q != NULL ? q->vector : 0xffff;
    case 30:
        return d->select;
    default:
        violate(d, "an unknown common register read");
        return 0;
    }
}

static void common_write_queue(struct virtdev *d, uint32_t offset, uint32_t value)
{
    struct virtdev_queue *q = selected(d);
    if (q == NULL) {
        violate(d, "no such queue");
        return;
    }
    if (offset == 24)
        q->size = (uint16_t)value;
    else if (offset == 26)
        q->vector = (uint16_t)value;
    else if (offset == 28)
        enable(d, q);
    else if (offset == 32 || offset == 36)
        q->desc = with_half(q->desc, value, offset & 4);
    else if (offset == 40 || offset == 44)
        q->avail = with_half(q->avail, value, offset & 4);
    else if (offset == 48 || offset == 52)
        q->used = with_half(q->used, value, offset & 4);
    else
        violate(d, "an unknown common register written");
}

static void common_write(struct virtdev *d, uint32_t offset, uint32_t value)
{
    switch (offset) {
    case 0:
        d->features_select = value;
        break;
    case 8:
        d->accept_select = value;
        break;
    case 12:
        accept_half(d, value);
        break;
    case 16: /* vector of the configuration */
        break;
    case 20:
        set_status(d, (uint8_t)value);
        break;
    case 22:
        d->select = value;
        break;
    default:
        common_write_queue(d, offset, value);
    }
}

static uint32_t modern_read(const struct mir_regs *regs, uint32_t offset, unsigned width)
{
    struct virtdev_window *w = window_of(regs);
    uint8_t isr;
    switch (w->number) {
    case 0:
        return common_read(w->d, offset);
    case 1:
        isr = w->d->isr;
        w->d->isr = 0;
        return isr;
    case 2:
        return read_config(w->d, offset, width);
    default:
        return 0;
    }
}

static void modern_write(const struct mir_regs *regs, uint32_t offset, unsigned width,
                         uint32_t value)
{
    struct virtdev_window *w = window_of(regs);
    if (w->number == 0)
        common_write(w->d, offset, value);
    if (w->number == 3 && (width != 2 || offset / 4 != value))
        violate(w->d, "a notification in the wrong place");
    if (w->number == 3)
        notify(w->d, value);
}

/* ---- pci, legacy --------------------------------------------------------------------------------
 */

static uint32_t io_read(const struct mir_regs *regs, uint32_t offset, unsigned width)
{
    struct virtdev *d = window_of(regs)->d;
    struct virtdev_queue *q = selected(d);
    uint8_t isr = d->isr;
    switch (offset) {
    case 0:
        return (uint32_t)d->offered;
    case 12:
        return q != NULL ? q->size_max : 0;
    case 18:
        return d->status;
    case 19:
        d->isr = 0;
        return isr;
    default:
        return offset >= 20 ? read_config(d, offset - 20, width) : 0;
    }
}

static void io_write(const struct mir_regs *regs, uint32_t offset, unsigned width, uint32_t value)
{
    struct virtdev *d = window_of(regs)->d;
    struct virtdev_queue *q = selected(d);
    (void)width;
    switch (offset) {
    case 4:
        d->accepted = value;
        break;
    case 8:
        if (q == NULL)
            break;
        q->size = q->size_max;
        enable_page(d, q, value, 12);
        break;
    case 14:
        d->select = value;
        break;
    case 16:
        notify(d, value);
        break;
    case 18:
        set_status(d, (uint8_t)value);
        break;
    default:
        violate(d, "an unknown port written");
    }
}

/* ---- pci configuration --------------------------------------------------------------------------
 */

static struct virtdev *of_pci(const struct mir_pci *pci)
{
    return pci->arg;
}

static uint32_t pci_read(const struct mir_pci *pci, uint16_t bdf, uint32_t offset, unsigned width)
{
    struct virtdev *d = of_pci(pci);
    uint32_t value = 0;
    if (bdf != 0x0018 || offset + width > sizeof d->pci_config)
        return ABSENT;
    memcpy(&value, d->pci_config + offset, width);
    return value;
}

static void pci_write(const struct mir_pci *pci, uint16_t bdf, uint32_t offset, unsigned width,
                      uint32_t value)
{
    struct virtdev *d = of_pci(pci);
    if (bdf != 0x0018 || offset + width > sizeof d->pci_config)
        return;
    if (offset >= 0x10 && offset < 0x28) {
        /* Which address bits a base register has. */
        if (offset == 0x10)
            value = (value & ~0x7fu) | 1;
        else if (offset == 0x20)
            value = (value & ~(MEM_BYTES - 1)) | 4;
        else if (offset != 0x24)
            value = 0;
    }
    memcpy(d->pci_config + offset, &value, width);
}

static int pci_map(const struct mir_pci *pci, uint64_t address, uint64_t size_bytes, bool is_io,
                   struct mir_regs *regs)
{
    struct virtdev *d = of_pci(pci);
    unsigned number = is_io ? 4 : (unsigned)((address - MEM_BASE) / 0x1000);
    if (!is_io && (address < MEM_BASE || address + size_bytes > MEM_BASE + MEM_BYTES))
        return -MIR_ERANGE;
    d->window[number] = (struct virtdev_window){d, number};
    *regs = (struct mir_regs){.read = is_io ? io_read : modern_read,
                              .write = is_io ? io_write : modern_write,
                              .at = (uintptr_t)&d->window[number],
                              .size_bytes = (uint32_t)size_bytes};
    return 0;
}

static uint32_t add_capability(struct virtdev *d, uint32_t at, uint8_t type, uint32_t offset,
                               uint32_t size)
{
    uint8_t *p = d->pci_config + at;
    p[0] = 9;
    p[1] = (uint8_t)(at + 20);
    p[2] = 20;
    p[3] = type;
    p[4] = 4;
    mir_put_le32(p + 8, offset);
    mir_put_le32(p + 12, size);
    mir_put_le32(p + 16, 4);
    return at + 20;
}

static void make_pci(struct virtdev *d)
{
    uint8_t *p = d->pci_config;
    mir_put_le16(p, 0x1af4);
    mir_put_le16(p + 2, (uint16_t)(is_legacy(d) ? 0x1000 + d->id - 1 : 0x1040 + d->id));
    mir_put_le16(p + 6, 0x10);
    mir_put_le16(p + 0x2c, 0x1af4);
    mir_put_le16(p + 0x2e, (uint16_t)d->id);
    p[0x3c] = 11;
    p[0x3d] = 1;
    mir_put_le32(p + 0x10, IO_BASE | 1);
    if (is_legacy(d))
        return;
    mir_put_le32(p + 0x20, (uint32_t)MEM_BASE | 4);
    mir_put_le32(p + 0x24, (uint32_t)(MEM_BASE >> 32));
    p[0x34] = 0x40;
    uint32_t at = add_capability(d, 0x40, 1, 0, 56);
    at = add_capability(d, at, 3, 0x1000, 1);
    at = add_capability(d, at, 4, 0x2000, d->config_bytes);
    at = add_capability(d, at, 2, 0x3000, 0x1000);
    p[at - 19] = 0;
}

static bool on_found(void *arg, const struct mir_pci_device *device)
{
    *(struct mir_pci_device *)arg = *device;
    return true;
}

static int attach_pci(struct virtdev *d, struct mir_clock *clock, struct mir_page_pool *pages)
{
    struct mir_pci_device device = {0};
    d->pci = (struct mir_pci){.read = pci_read, .write = pci_write, .map = pci_map, .arg = d};
    make_pci(d);
    mir_pci_scan(&d->pci, on_found, &device);
    return mir_virtio_pci_init(&d->vpci, &device, is_legacy(d), clock, pages);
}

struct mir_virtio *virtdev_attach(struct virtdev *d, struct mir_clock *clock,
                                  struct mir_page_pool *pages, int *result)
{
    struct mir_virtio *v;
    if (d->transport == VIRTDEV_PCI || d->transport == VIRTDEV_PCI_LEGACY) {
        *result = attach_pci(d, clock, pages);
        v = &d->vpci.virtio;
    } else {
        d->window[0] = (struct virtdev_window){d, 0};
        struct mir_regs regs = {.read = mmio_read,
                                .write = mmio_write,
                                .at = (uintptr_t)&d->window[0],
                                .size_bytes = 0x100 + MIR_MAX(d->config_bytes, 0x100u)};
        *result = mir_virtio_mmio_init(&d->mmio, &regs, clock, pages);
        v = &d->mmio.virtio;
    }
    v->dma.offset = 0x100000 - (uintptr_t)pages->arena;
    d->base = -v->dma.offset;
    d->limit = pages->arena_size;
    return *result == 0 ? v : NULL;
}
