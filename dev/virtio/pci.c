/* SPDX-License-Identifier: ISC */
/* Virtio over PCI (VIRTIO 1.2 section 4.1).
 *
 *   modern         capabilities name four windows: common, notify, ISR, configuration
 *   transitional   has these, and an I/O window (BAR 0) for drivers from before 1.0
 *   legacy         only the I/O window
 *
 * The I/O window, all little-endian here (section 4.1.4.10):
 *
 *   0 features 4 | 4 accept 4 | 8 queue page 4 | 12 queue size 2 | 14 select 2 | 16 notify 2
 *   18 status 1 | 19 ISR 1 | with MSI-X: 20 configuration vector 2, 22 queue vector 2 |
 * configuration
 *
 * Windows must lie inside their registers, else the device is not used; of one that is larger than
 * anything needs (a page for each of 256 queues) only the beginning is mapped, which costs memory.
 * The new interface is taken where there is one: its queues can be of the size we want and anywhere
 * in memory.
 */
#include "dev/virtio/pci.h"

#define VENDOR             0x1af4u
#define DEVICE_LEGACY      0x1000u
#define DEVICE_MODERN      0x1040u
#define DEVICE_END         0x1080u
#define CAPABILITY_VENDOR  0x09u
#define WINDOWS_MAX        16u /* capabilities of ours looked at */
#define WINDOW_BYTES_MAX   (1u << 20)
#define LEGACY_CONFIG      20u
#define LEGACY_CONFIG_MSIX 24u
#define LEGACY_BYTES_MIN   24u

enum window { WINDOW_COMMON = 1, WINDOW_NOTIFY = 2, WINDOW_ISR = 3, WINDOW_CONFIG = 4 };

enum common {
    COMMON_FEATURES_SELECT = 0,
    COMMON_FEATURES = 4,
    COMMON_ACCEPT_SELECT = 8,
    COMMON_ACCEPT = 12,
    COMMON_CONFIG_VECTOR = 16,
    COMMON_QUEUE_COUNT = 18,
    COMMON_STATUS = 20,
    COMMON_GENERATION = 21,
    COMMON_QUEUE_SELECT = 22,
    COMMON_QUEUE_SIZE = 24,
    COMMON_QUEUE_VECTOR = 26,
    COMMON_QUEUE_ENABLE = 28,
    COMMON_QUEUE_NOTIFY = 30,
    COMMON_QUEUE_DESC = 32,
    COMMON_QUEUE_AVAIL = 40,
    COMMON_QUEUE_USED = 48,
    COMMON_BYTES = 56,
};

enum legacy {
    LEGACY_FEATURES = 0,
    LEGACY_ACCEPT = 4,
    LEGACY_QUEUE_PAGE = 8,
    LEGACY_QUEUE_SIZE = 12,
    LEGACY_QUEUE_SELECT = 14,
    LEGACY_NOTIFY = 16,
    LEGACY_STATUS = 18,
    LEGACY_ISR = 19,
    LEGACY_CONFIG_VECTOR = 20,
    LEGACY_QUEUE_VECTOR = 22,
};

static struct mir_virtio_pci *of(struct mir_virtio *v)
{
    return (struct mir_virtio_pci *)(void *)v;
}

static uint32_t get(struct mir_virtio *v, uint32_t offset, unsigned width)
{
    return mir_regs_read(&of(v)->common, offset, width);
}

static void set(struct mir_virtio *v, uint32_t offset, unsigned width, uint32_t value)
{
    mir_regs_write(&of(v)->common, offset, width, value);
}

static bool has_messages(const struct mir_virtio *v)
{
    return v->queue_vector != MIR_VIRTIO_NO_VECTOR;
}

/* ---- modern -----------------------------------------------------------------------------------
 */

static uint64_t modern_features(struct mir_virtio *v)
{
    set(v, COMMON_FEATURES_SELECT, 4, 0);
    uint64_t features = get(v, COMMON_FEATURES, 4);
    set(v, COMMON_FEATURES_SELECT, 4, 1);
    return features | (uint64_t)get(v, COMMON_FEATURES, 4) << 32;
}

static void modern_accept(struct mir_virtio *v, uint64_t features)
{
    set(v, COMMON_ACCEPT_SELECT, 4, 0);
    set(v, COMMON_ACCEPT, 4, (uint32_t)features);
    set(v, COMMON_ACCEPT_SELECT, 4, 1);
    set(v, COMMON_ACCEPT, 4, (uint32_t)(features >> 32));
}

static uint8_t modern_status(struct mir_virtio *v)
{
    return (uint8_t)get(v, COMMON_STATUS, 1);
}

static void modern_set_status(struct mir_virtio *v, uint8_t status)
{
    set(v, COMMON_STATUS, 1, status);
    if (status == MIR_VIRTIO_ACKNOWLEDGE && has_messages(v))
        set(v, COMMON_CONFIG_VECTOR, 2, v->config_vector);
}

static uint32_t modern_generation(struct mir_virtio *v)
{
    return get(v, COMMON_GENERATION, 1);
}

static uint32_t modern_config_get(struct mir_virtio *v, uint32_t offset, unsigned width)
{
    return mir_regs_read(&of(v)->config, offset, width);
}

static void modern_config_set(struct mir_virtio *v, uint32_t offset, unsigned width, uint32_t value)
{
    mir_regs_write(&of(v)->config, offset, width, value);
}

static uint32_t modern_queue_max(struct mir_virtio *v, uint16_t index)
{
    if (index >= get(v, COMMON_QUEUE_COUNT, 2))
        return 0;
    set(v, COMMON_QUEUE_SELECT, 2, index);
    return get(v, COMMON_QUEUE_SIZE, 2);
}

static void set_address(struct mir_virtio *v, uint32_t offset, uint64_t address)
{
    set(v, offset, 4, (uint32_t)address);
    set(v, offset + 4, 4, (uint32_t)(address >> 32));
}

static int modern_queue_enable(struct mir_virtio *v, uint16_t index, const struct mir__virtq *ring,
                               struct mir_virtio_bell *bell)
{
    struct mir_virtio_pci *vp = of(v);
    set(v, COMMON_QUEUE_SELECT, 2, index);
    set(v, COMMON_QUEUE_SIZE, 2, ring->size);
    if (has_messages(v)) {
        set(v, COMMON_QUEUE_VECTOR, 2, v->queue_vector);
        if (get(v, COMMON_QUEUE_VECTOR, 2) != v->queue_vector)
            return -MIR_EIO;
    }
    set_address(v, COMMON_QUEUE_DESC, mir__virtq_desc_address(ring));
    set_address(v, COMMON_QUEUE_AVAIL, mir__virtq_avail_address(ring));
    set_address(v, COMMON_QUEUE_USED, mir__virtq_used_address(ring));
    uint64_t at = (uint64_t)get(v, COMMON_QUEUE_NOTIFY, 2) * vp->notify_multiplier;
    if (at + 2 > vp->notify.size_bytes || at % 2 != 0)
        return -MIR_EIO;
    *bell = (struct mir_virtio_bell){&vp->notify, (uint32_t)at, index, 2};
    set(v, COMMON_QUEUE_ENABLE, 2, 1);
    return 0;
}

static unsigned modern_isr(struct mir_virtio *v)
{
    return mir_regs_read(&of(v)->isr, 0, 1) & (MIR_VIRTIO_EVENT_QUEUE | MIR_VIRTIO_EVENT_CONFIG);
}

static const struct mir_virtio_ops modern_ops = {
    .features = modern_features,
    .accept = modern_accept,
    .status = modern_status,
    .set_status = modern_set_status,
    .generation = modern_generation,
    .config_get = modern_config_get,
    .config_set = modern_config_set,
    .queue_max = modern_queue_max,
    .queue_enable = modern_queue_enable,
    .isr = modern_isr,
};

/* ---- legacy -----------------------------------------------------------------------------------
 */

static uint64_t legacy_features(struct mir_virtio *v)
{
    return get(v, LEGACY_FEATURES, 4);
}

static void legacy_accept(struct mir_virtio *v, uint64_t features)
{
    set(v, LEGACY_ACCEPT, 4, (uint32_t)features);
}

static uint8_t legacy_status(struct mir_virtio *v)
{
    return (uint8_t)get(v, LEGACY_STATUS, 1);
}

static void legacy_set_status(struct mir_virtio *v, uint8_t status)
{
    set(v, LEGACY_STATUS, 1, status);
    if (status == MIR_VIRTIO_ACKNOWLEDGE && has_messages(v))
        set(v, LEGACY_CONFIG_VECTOR, 2, v->config_vector);
}

static uint32_t legacy_generation(struct mir_virtio *v)
{
    (void)v;
    return 0;
}

static uint32_t legacy_config_get(struct mir_virtio *v, uint32_t offset, unsigned width)
{
    return get(v, of(v)->config_at + offset, width);
}

static void legacy_config_set(struct mir_virtio *v, uint32_t offset, unsigned width, uint32_t value)
{
    set(v, of(v)->config_at + offset, width, value);
}

static uint32_t legacy_queue_max(struct mir_virtio *v, uint16_t index)
{
    set(v, LEGACY_QUEUE_SELECT, 2, index);
    return get(v, LEGACY_QUEUE_SIZE, 2);
}

static int legacy_queue_enable(struct mir_virtio *v, uint16_t index, const struct mir__virtq *ring,
                               struct mir_virtio_bell *bell)
{
    uint64_t desc = mir__virtq_desc_address(ring);
    if (desc >> (32 + 12) != 0)
        return -MIR_ERANGE;
    set(v, LEGACY_QUEUE_SELECT, 2, index);
    if (has_messages(v)) {
        set(v, LEGACY_QUEUE_VECTOR, 2, v->queue_vector);
        if (get(v, LEGACY_QUEUE_VECTOR, 2) != v->queue_vector)
            return -MIR_EIO;
    }
    set(v, LEGACY_QUEUE_PAGE, 4, (uint32_t)(desc >> 12));
    *bell = (struct mir_virtio_bell){&of(v)->common, LEGACY_NOTIFY, index, 2};
    return 0;
}

static unsigned legacy_isr(struct mir_virtio *v)
{
    return get(v, LEGACY_ISR, 1) & (MIR_VIRTIO_EVENT_QUEUE | MIR_VIRTIO_EVENT_CONFIG);
}

static const struct mir_virtio_ops legacy_ops = {
    .features = legacy_features,
    .accept = legacy_accept,
    .status = legacy_status,
    .set_status = legacy_set_status,
    .generation = legacy_generation,
    .config_get = legacy_config_get,
    .config_set = legacy_config_set,
    .queue_max = legacy_queue_max,
    .queue_enable = legacy_queue_enable,
    .isr = legacy_isr,
};

/* ---- finding the windows ----------------------------------------------------------------------
 */

static uint32_t config_word(const struct mir_virtio_pci *vp, uint32_t at, unsigned width)
{
    return vp->pci.pci->read(vp->pci.pci, vp->pci.bdf, at, width);
}

/* The window that the capability at @at describes. Returns 0 or -MIR_ERANGE. */
static int map_window(struct mir_virtio_pci *vp, uint32_t at, struct mir_regs *regs)
{
    uint64_t offset = config_word(vp, at + 8, 4), size = config_word(vp, at + 12, 4);
    uint8_t index = (uint8_t)config_word(vp, at + 4, 1);
    struct mir_pci_bar *bar = &vp->bar;
    if (bar->address == 0 || index != vp->bar_index)
        mir_pci_bar(&vp->pci, index, bar);
    vp->bar_index = index;
    if (bar->address == 0 || size == 0 || offset > bar->size_bytes ||
        size > bar->size_bytes - offset)
        return -MIR_ERANGE;
    size = MIR_MIN(size, WINDOW_BYTES_MAX);
    return vp->pci.pci->map(vp->pci.pci, bar->address + offset, size, bar->is_io, regs);
}

static struct mir_regs *window_of(struct mir_virtio_pci *vp, uint32_t type)
{
    switch (type) {
    case WINDOW_COMMON:
        return &vp->common;
    case WINDOW_NOTIFY:
        return &vp->notify;
    case WINDOW_ISR:
        return &vp->isr;
    case WINDOW_CONFIG:
        return &vp->config;
    default:
        return NULL;
    }
}

static int find_modern(struct mir_virtio_pci *vp)
{
    int r = 0;
    uint32_t at = 0;
    for (unsigned i = 0; i < WINDOWS_MAX && r == 0; i++) {
        at = mir_pci_find_capability(&vp->pci, CAPABILITY_VENDOR, at);
        if (at == 0)
            break;
        uint32_t type = config_word(vp, at + 3, 1);
        struct mir_regs *regs = window_of(vp, type);
        /* The first of a type is the one the device prefers (section 4.1.4). */
        if (regs == NULL || regs->size_bytes != 0)
            continue;
        r = map_window(vp, at, regs);
        if (type == WINDOW_NOTIFY)
            vp->notify_multiplier = config_word(vp, at + 16, 4);
    }
    if (r < 0)
        return r;
    bool is_whole = vp->common.size_bytes >= COMMON_BYTES && vp->notify.size_bytes >= 2 &&
                    vp->isr.size_bytes >= 1;
    if (!is_whole)
        return -MIR_ENOTSUP;
    vp->virtio.ops = &modern_ops;
    vp->virtio.config_bytes = vp->config.size_bytes;
    return 0;
}

static int find_legacy(struct mir_virtio_pci *vp)
{
    struct mir_pci_bar bar;
    if (vp->pci.device >= DEVICE_MODERN)
        return -MIR_ENOTSUP;
    mir_pci_bar(&vp->pci, 0, &bar);
    if (!bar.is_io || bar.address == 0 || bar.size_bytes < LEGACY_BYTES_MIN)
        return -MIR_ERANGE;
    int r = vp->pci.pci->map(vp->pci.pci, bar.address, bar.size_bytes, true, &vp->common);
    if (r < 0)
        return r;
    vp->virtio.ops = &legacy_ops;
    vp->virtio.is_legacy = true;
    vp->virtio.has_fixed_queues = true;
    vp->config_at = LEGACY_CONFIG;
    vp->virtio.config_bytes = vp->common.size_bytes - LEGACY_CONFIG_MSIX;
    return 0;
}

bool mir_virtio_pci_is(const struct mir_pci_device *device)
{
    return device->vendor == VENDOR && device->device >= DEVICE_LEGACY &&
           device->device < DEVICE_END;
}

int mir_virtio_pci_init(struct mir_virtio_pci *vp, const struct mir_pci_device *device,
                        bool use_legacy, struct mir_clock *clock, struct mir_page_pool *pages)
{
    if (!mir_virtio_pci_is(device))
        return -MIR_ENOTSUP;
    *vp = (struct mir_virtio_pci){
        .virtio = {.clock = clock,
                   .pages = pages,
                   .dma = MIR_VIRTIO_DMA_SAME,
                   .device = device->device >= DEVICE_MODERN ? device->device - DEVICE_MODERN
                                                             : device->subsystem,
                   .config_vector = MIR_VIRTIO_NO_VECTOR,
                   .queue_vector = MIR_VIRTIO_NO_VECTOR},
        .pci = *device,
    };
    int r = use_legacy ? -MIR_ENOTSUP : find_modern(vp);
    if (r < 0) {
        vp->common = (struct mir_regs){0};
        int legacy = find_legacy(vp);
        r = legacy == 0 || use_legacy ? legacy : r;
    }
    if (r == 0)
        mir_pci_enable(&vp->pci, false);
    return r;
}

void mir_virtio_pci_use_messages(struct mir_virtio_pci *vp, uint16_t config_vector,
                                 uint16_t queue_vector)
{
    vp->virtio.config_vector = config_vector;
    vp->virtio.queue_vector = queue_vector;
    if (vp->virtio.is_legacy)
        vp->config_at = LEGACY_CONFIG_MSIX;
    mir_pci_enable(&vp->pci, true);
}
