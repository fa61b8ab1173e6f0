/* SPDX-License-Identifier: ISC */
/* A virtio device in memory: the other side of a driver, on any transport, honest or hostile.
 *
 *   virtdev_init(&d, VIRTDEV_PCI, MIR_VIRTIO_NET, features, queues, 256);
 *   struct mir_virtio *v = virtdev_attach(&d, clock, &pages);      what a driver gets
 *   ... the driver writes registers; d.serve(&d, queue) is called by virtdev_run() ...
 *
 * The device checks what a driver does: descriptors in range, chains that end, no identity twice in
 * flight (advisory MSA00), nothing touched after the driver's reset. `violations` counts.
 *
 * A hostile device draws from a seed what it does wrong: see struct virtdev_evil.
 */
#ifndef TEST_VIRTDEV_H
#define TEST_VIRTDEV_H

#include "dev/virtio/mmio.h"
#include "dev/virtio/pci.h"

enum virtdev_transport {
    VIRTDEV_MMIO,
    VIRTDEV_MMIO_LEGACY,
    VIRTDEV_PCI,
    VIRTDEV_PCI_LEGACY,
    VIRTDEV_TRANSPORTS,
};
extern const char *const virtdev_transport_name[VIRTDEV_TRANSPORTS];

#define VIRTDEV_QUEUES   6u
#define VIRTDEV_SEGS     64u
#define VIRTDEV_SIZE_MAX 1024u
#define VIRTDEV_CONFIG   64u

struct virtdev;

struct virtdev_seg {
    uint8_t *data;
    uint32_t len;
    bool is_writable;
};

struct virtdev_chain {
    uint16_t head;
    uint32_t count;
    uint32_t out_bytes, in_bytes;
    struct virtdev_seg seg[VIRTDEV_SEGS];
};

struct virtdev_queue {
    uint16_t size_max, size;
    uint64_t desc, avail, used;
    bool is_enabled;
    bool is_notified;
    uint16_t avail_seen; /* chains popped */
    uint16_t used_idx;   /* entries written */
    uint16_t published;  /* of these shown */
    uint16_t vector;
    uint8_t in_flight[VIRTDEV_SIZE_MAX];
};

/** One in so many times a used entry is wrong in this way; 0 = never. */
struct virtdev_evil {
    uint32_t bad_id, idle_id, twice, long_len, index_jump, random_len, random_config;
};

/** A window of registers. */
struct virtdev_window {
    struct virtdev *d;
    unsigned number;
};

struct virtdev {
    enum virtdev_transport transport;
    uint32_t id;
    uint64_t offered, accepted;
    uint8_t status;
    uint8_t isr;
    uint8_t generation;
    uint8_t config[VIRTDEV_CONFIG];
    uint32_t config_bytes;
    uint64_t base;  /* of the device's addresses: a legacy device has not all of ours */
    uint64_t limit; /* of what it reaches: bytes from 0x100000 on; 0 = no limit */
    /* NULL, or may a descriptor, which the test has damaged, lead the device to write there? What
     * the driver never lent is the test's own to protect. */
    bool (*may_write)(const struct virtdev *d, const uint8_t *at, uint64_t len);
    uint32_t queue_count;
    struct virtdev_queue queue[VIRTDEV_QUEUES];
    void (*serve)(struct virtdev *d, unsigned queue);
    void (*on_reset)(struct virtdev *d);
    void *arg;
    bool keeps_memory; /* does not confirm a reset, and goes on using what it has */
    bool is_lazy;      /* ignores notifications */
    struct virtdev_evil evil;
    uint64_t random; /* state of the draws; 0 = honest */
    /* seen */
    uint32_t violations;
    const char *violation; /* the last one */
    uint32_t notifications, interrupts, resets, indirects;
    /* private: */
    uint32_t select, features_select, accept_select, page_shift;
    uint8_t pci_config[256];
    uint32_t bar_probe; /* bits: all ones were written */
    struct virtdev_window window[8];
    struct mir_pci pci;
    struct mir_virtio_mmio mmio;
    struct mir_virtio_pci vpci;
};

/** A device that is not attached yet; every queue takes up to @queue_max. */
void virtdev_init(struct virtdev *d, enum virtdev_transport transport, uint32_t id,
                  uint64_t features, uint32_t queue_count, uint16_t queue_max);
/** The driver's handle; NULL if the transport refused (see @result). */
struct mir_virtio *virtdev_attach(struct virtdev *d, struct mir_clock *clock,
                                  struct mir_page_pool *pages, int *result);
/** Serve the queues that were notified. Returns true if one was. */
bool virtdev_run(struct virtdev *d);

/** The next chain that the driver made available; false if there is none. */
bool virtdev_pop(struct virtdev *d, unsigned queue, struct virtdev_chain *chain);
/** Return a chain with @len bytes written; shown by virtdev_publish(). */
void virtdev_push(struct virtdev *d, unsigned queue, uint16_t head, uint32_t len);
/** Show what was returned, interrupt if the driver wants it. */
void virtdev_publish(struct virtdev *d, unsigned queue);
/** Available chains that were not popped. */
uint32_t virtdev_available(struct virtdev *d, unsigned queue);
/** Copy to and from a chain's segments. Returns bytes copied. */
uint32_t virtdev_read(const struct virtdev_chain *chain, uint32_t offset, void *out, uint32_t len);
uint32_t virtdev_write(const struct virtdev_chain *chain, uint32_t offset, const void *from,
                       uint32_t len);
/** The configuration has changed: generation, interrupt. */
void virtdev_config_changed(struct virtdev *d);
/** The device asks for a reset. */
void virtdev_need_reset(struct virtdev *d);
/** What a target does with an interrupt: what it is about, 0 = none. */
unsigned virtdev_events(struct virtdev *d, struct mir_virtio *v);
/** A draw. */
uint32_t virtdev_draw(struct virtdev *d);
bool virtdev_chance(struct virtdev *d, uint32_t one_in);

#endif
