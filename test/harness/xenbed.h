/* SPDX-License-Identifier: ISC */
/* The Xen network frontend on a backend in memory, with memory, loop and time of a test. */
#ifndef TEST_XENBED_H
#define TEST_XENBED_H

#include "test/harness/netbed.h"
#include "test/harness/xenback.h"

#define XENBED_ARENA ((size_t)8 << 20)

struct xenbed {
    struct xenback b;
    struct netbed net;
    struct mir_net_dev *dev;
    uint32_t wrong; /* frames of impossible lengths */
    uint32_t last_len;
    uint16_t last_flags;
    uint8_t last_data[XENBACK_FRAME];
};

/** @bed is zeros, or one of before. */
void xenbed_init(struct xenbed *bed, uint64_t seed);
/** Returns what mir_netfront_open() says. @config may be NULL. */
int xenbed_open(struct xenbed *bed, const struct mir_netfront_config *config);
int xenbed_start(struct xenbed *bed);
/** Backend and driver by turns until nothing moves. */
void xenbed_run(struct xenbed *bed);
/** Let time pass, timers fire, both run. */
void xenbed_pass(struct xenbed *bed, mir_time_us us);
/** A frame of [data, data+len): the last 70 % in @views views that begin at @offset of a page. */
struct mir_buf *xenbed_frame(struct xenbed *bed, const uint8_t *data, uint32_t len, uint32_t views,
                             uint32_t offset);
/** Something, as chance will have it. */
void xenbed_step(struct xenbed *bed);
/** Close everything. Returns bytes and buffers that are still held. */
size_t xenbed_close(struct xenbed *bed);

#endif
