/* SPDX-License-Identifier: ISC */
/* A network driver on a device in memory, with memory, loop and clock of a test. */
#ifndef TEST_VIRTBED_H
#define TEST_VIRTBED_H

#include "test/harness/netbed.h"
#include "test/harness/virtdev_net.h"

#define VIRTBED_ARENA ((size_t)4 << 20)

struct virtbed {
    struct virtdev_net m;
    struct netbed net;
    struct mir_clock clock;
    struct mir_virtio *virtio;
    struct mir_net_dev *dev;
    struct mir_buf *last; /* the last frame */
    void (*on_rx)(struct virtbed *bed, const struct mir_buf *buf);
};

/** Memory, loop, clock and the device; the driver is opened by virtbed_open(). @bed is zeros, or
 * one of before. */
void virtbed_init(struct virtbed *bed, enum virtdev_transport transport, uint64_t features,
                  uint16_t queue_max);
/** Returns what mir_virtio_net_open() or the transport says. @config may be NULL. */
int virtbed_open(struct virtbed *bed, const struct mir_virtio_net_config *config);
int virtbed_start(struct virtbed *bed);
/** Device and driver by turns until nothing moves. */
void virtbed_run(struct virtbed *bed);
/** Let time pass, timers fire, both run. */
void virtbed_pass(struct virtbed *bed, mir_time_us us);
/** A frame of @len bytes: header of type 0x88b5, then a pattern from @number. */
struct mir_buf *virtbed_frame(struct virtbed *bed, uint32_t len, uint32_t number);
/** Close everything. Returns bytes and buffers that are still held. */
size_t virtbed_close(struct virtbed *bed);

#endif
