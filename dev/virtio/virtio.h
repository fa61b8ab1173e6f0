/* SPDX-License-Identifier: ISC */
/* Virtio: what a transport gives (mmio.c, pci.c) and what all drivers have in common (virtio.c).
 *
 *   transport          finds the device, has its registers       mir_virtio_mmio_init, _pci_init
 *   struct mir_virtio  one device: features, status, configuration, queues
 *   driver             net, block, entropy, console: dev/<class>/virtio
 *   target             calls mir_virtio_driver_poll() when the device may have something, and
 *                      mir_virtio_driver_arm() before it sleeps
 *
 * One thread: a target's interrupt handlers only note that something happened.
 */
#ifndef DEV_VIRTIO_VIRTIO_H
#define DEV_VIRTIO_VIRTIO_H

#include <mirari/dev_clock.h>
#include <mirari/err.h>
#include <mirari/page.h>

#include "dev/virtio/regs.h"
#include "lib/ring/virtq.h"

/** Device types (VIRTIO 1.2 section 5). */
enum mir_virtio_device {
    MIR_VIRTIO_NET = 1,
    MIR_VIRTIO_BLOCK = 2,
    MIR_VIRTIO_CONSOLE = 3,
    MIR_VIRTIO_ENTROPY = 4,
};

/** Status bits (section 2.1). */
enum mir_virtio_status {
    MIR_VIRTIO_ACKNOWLEDGE = 1,
    MIR_VIRTIO_DRIVER = 2,
    MIR_VIRTIO_DRIVER_OK = 4,
    MIR_VIRTIO_FEATURES_OK = 8,
    MIR_VIRTIO_NEEDS_RESET = 64,
    MIR_VIRTIO_FAILED = 128,
};

/** Features of every device (section 6). */
#define MIR_VIRTIO_F_ANY_LAYOUT      (1ull << 27)
#define MIR_VIRTIO_F_INDIRECT        (1ull << 28)
#define MIR_VIRTIO_F_EVENT_IDX       (1ull << 29)
#define MIR_VIRTIO_F_VERSION_1       (1ull << 32)
#define MIR_VIRTIO_F_ACCESS_PLATFORM (1ull << 33)

/** What an interrupt was about: bits of the ISR (section 4.1.4.5). */
enum mir_virtio_event { MIR_VIRTIO_EVENT_QUEUE = 1, MIR_VIRTIO_EVENT_CONFIG = 2 };

/** No interrupt is given to this (section 4.1.5.1.2). */
#define MIR_VIRTIO_NO_VECTOR 0xffffu

struct mir_virtio;

/** Where a queue's notification is written. */
struct mir_virtio_bell {
    const struct mir_regs *regs;
    uint32_t offset;
    uint32_t value;
    unsigned width;
};

struct mir_virtio_ops {
    uint64_t (*features)(struct mir_virtio *v);
    void (*accept)(struct mir_virtio *v, uint64_t features);
    uint8_t (*status)(struct mir_virtio *v);
    void (*set_status)(struct mir_virtio *v, uint8_t status);
    uint32_t (*generation)(struct mir_virtio *v);
    uint32_t (*config_get)(struct mir_virtio *v, uint32_t offset, unsigned width);
    void (*config_set)(struct mir_virtio *v, uint32_t offset, unsigned width, uint32_t value);
    /** Largest size of queue @index; 0 = there is no such queue. */
    uint32_t (*queue_max)(struct mir_virtio *v, uint16_t index);
    /** Returns 0, -MIR_ERANGE (the device cannot reach this address), -MIR_EIO (refused). */
    int (*queue_enable)(struct mir_virtio *v, uint16_t index, const struct mir__virtq *ring,
                        struct mir_virtio_bell *bell);
    /** What a line interrupt is about: enum mir_virtio_event. Acknowledges it: the device lets the
     *  line go. */
    unsigned (*isr)(struct mir_virtio *v);
};

/** How devices reach our memory. Physical memory must be contiguous inside a page run, a packet
 *  buffer and an object of the image. */
struct mir_virtio_dma {
    uintptr_t low; /**< the page pool, or all there is: [size] bytes from here, at an offset */
    uintptr_t size;
    uint64_t offset;
    uint64_t (*other)(const volatile void *p); /**< the rest */
};

/** Every address is the device's, too. */
#define MIR_VIRTIO_DMA_SAME ((struct mir_virtio_dma){.size = UINTPTR_MAX})

/** A device on a transport. */
struct mir_virtio {
    const struct mir_virtio_ops *ops;
    uint32_t device;         /**< enum mir_virtio_device; 0 = none */
    bool is_legacy;          /**< older than VIRTIO 1.0 */
    bool has_fixed_queues;   /**< queues have the size that the device says */
    uint32_t config_bytes;   /**< of its configuration that can be reached */
    uint64_t features;       /**< agreed on */
    struct mir_clock *clock; /**< for waits that must end */
    struct mir_page_pool *pages;
    struct mir_virtio_dma dma;
    uint16_t config_vector; /**< MSI-X; MIR_VIRTIO_NO_VECTOR: it has a line */
    uint16_t queue_vector;
};

/** A queue that is open. */
struct mir_virtio_queue {
    struct mir__virtq ring;
    struct mir_virtio_bell bell;
    struct mir_io_page *shared;
    struct mir_io_page *own;
    uint16_t index;
    uint16_t size;
    uint16_t tables;
};

/** What a target asks of each driver. */
struct mir_virtio_driver {
    /** Do what there is to do; @events is what an interrupt was about, 0 without one. Returns true
     *  if something was found: look again before sleeping. */
    bool (*poll)(struct mir_virtio_driver *driver, unsigned events);
    /** Ask for interrupts. Returns true if there is something to do already. */
    bool (*arm)(struct mir_virtio_driver *driver);
    struct mir_virtio *virtio;
};

static inline bool mir_virtio_driver_poll(struct mir_virtio_driver *driver, unsigned events)
{
    return driver->poll(driver, events);
}
static inline bool mir_virtio_driver_arm(struct mir_virtio_driver *driver)
{
    return driver->arm(driver);
}

/* ---- for drivers ------------------------------------------------------------------------------
 */

static inline bool mir__virtio_has(const struct mir_virtio *v, uint64_t feature)
{
    return (v->features & feature) != 0;
}

/** Address of our memory as the device sees it. */
static inline uint64_t mir__virtio_address(const struct mir_virtio *v, const void *p)
{
    uintptr_t at = (uintptr_t)p;
    if (MIR_LIKELY(at - v->dma.low < v->dma.size))
        return at + v->dma.offset;
    return v->dma.other(p);
}

/** Returns 0 when the device has confirmed that it let go of everything, or -MIR_ETIMEDOUT: then
 *  memory it was lent must never be used again. Source VIRTIO 1.2 sections 2.4, 3.1. */
int mir__virtio_reset(struct mir_virtio *v) MIR_CHECK;

/**
 * mir__virtio_negotiate() - acknowledge the device and agree on features.
 *
 * @choose  of the features that are offered those that the driver wants; bits of rings and versions
 *          are added
 *
 * Returns 0, or -MIR_ENOTSUP (the device refuses our choice).
 * Source  VIRTIO 1.2 sections 2.2, 3.1.1
 */
int mir__virtio_negotiate(struct mir_virtio *v, uint64_t (*choose)(void *arg, uint64_t offered),
                          void *arg) MIR_CHECK;

/** The driver is ready; the device is given up. */
void mir__virtio_ready(struct mir_virtio *v);
void mir__virtio_fail(struct mir_virtio *v);
/** Has the device asked for a reset? */
bool mir__virtio_needs_reset(struct mir_virtio *v);

/** @count fields of @width bytes (1, 2, 4; 8 is two of 4) of the configuration, all of one state of
 *  it. Returns 0, -MIR_ERANGE (it is smaller), -MIR_EIO (it changes all the time). Source VIRTIO
 *  1.2 section 2.5.1. */
int mir__virtio_config(struct mir_virtio *v, uint32_t offset, void *out, unsigned width,
                       uint32_t count) MIR_CHECK;

/**
 * mir__virtio_queue_open() - give queue @index memory and enable it.
 *
 * @queue   zeroed, or one that was open before: its memory is used again if it fits
 * @size    at most so many descriptors; the device's own limit, too
 * @tables  indirect tables, if agreed on
 *
 * Returns 0, -MIR_ENOENT (no such queue), -MIR_ENOMEM, -MIR_ERANGE, -MIR_EIO.
 * Source  VIRTIO 1.2 sections 4.1.5.1.3, 4.2.3.2
 */
int mir__virtio_queue_open(struct mir_virtio *v, struct mir_virtio_queue *queue, uint16_t index,
                           uint32_t size, uint16_t tables) MIR_CHECK;

/** Give the memory back. Only after a confirmed reset. */
void mir__virtio_queue_close(struct mir_virtio_queue *queue);

/** Show the device what was added, and tell it if it wants to know. */
static inline void mir__virtio_kick(struct mir_virtio_queue *queue)
{
    const struct mir_virtio_bell *bell = &queue->bell;
    if (mir__virtq_publish(&queue->ring))
        bell->regs->write(bell->regs, bell->offset, bell->width, bell->value);
}

/** Tell it whether it wants to or not: it may have missed a notification. */
static inline void mir__virtio_ring(struct mir_virtio_queue *queue)
{
    const struct mir_virtio_bell *bell = &queue->bell;
    bell->regs->write(bell->regs, bell->offset, bell->width, bell->value);
}

#endif
