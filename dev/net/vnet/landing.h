/* SPDX-License-Identifier: ISC */
/* Where a device reads frames of unknown size into. Not public. */
#ifndef DEV_NET_VNET_LANDING_H
#define DEV_NET_VNET_LANDING_H

#include "dev/net/vnet/vnet.h"

struct mir__landing {
    struct mir_buf_pool *bufs;
    struct mir_buf *run;   /* NULL: no memory at the last try */
    struct mir_buf *spare; /* for an ACK when there is no memory left */
};

/** Make sure there is a spare buffer and, if @with_run, a run to read into. Returns false if there
 *  is no run though one was wanted. */
bool mir__landing_prepare(struct mir__landing *landing, bool with_run) MIR_CHECK;

/** Room for header and frame, MIR__VNET_LEN + MIR__VNET_FRAME_MAX bytes; prepared before. */
uint8_t *mir__landing_at(struct mir__landing *landing);

/** The frame of @len bytes that was read to mir__landing_at(), its header applied; NULL without
 *  memory. */
struct mir_buf *mir__landing_take(struct mir__landing *landing, uint32_t len) MIR_CHECK;

/** A right-sized copy of @len bytes at @frame, which follow their header; NULL without memory. */
struct mir_buf *mir__landing_copy(struct mir__landing *landing, const uint8_t *frame,
                                  uint32_t len) MIR_CHECK;

/** Give back what is prepared. */
void mir__landing_release(struct mir__landing *landing);

#endif
