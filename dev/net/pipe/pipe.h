/* SPDX-License-Identifier: ISC */
/* Two network devices joined back to back in memory. Caller's memory; portable. */
#ifndef DEV_NET_PIPE_PIPE_H
#define DEV_NET_PIPE_PIPE_H

#include <mirari/dev_net.h>
#include <mirari/run.h>

struct mir_pipe_config {
    struct mir_loop *loop;
    uint16_t mtu;       /**< 0 = 1500 */
    uint32_t caps;      /**< enum mir_net_dev_caps of both ends; 0 = none (linear frames only) */
    uint32_t gso_max;   /**< with TSO: largest frame; 0 = 65535 + 14 */
    uint32_t queue_max; /**< frames in flight in each direction; 0 = 256 */
    uint8_t mac[2][6];  /**< all zero = 02:00:00:00:00:01 and …:02 */
};

struct mir_pipe;

/** private: one end. */
struct mir__pipe_end {
    struct mir_net_dev dev; /* first */
    struct mir_pipe *pipe;
    struct mir__pipe_end *peer;
    struct mir_net_upper upper;
    struct mir_buf_queue in; /* frames on their way to this end */
    struct mir_work deliver;
    struct mir_work ready; /* tell this end that its peer has room again */
    struct mir_net_dev_stats stats;
    bool is_started;
    bool was_full;
};

struct mir_pipe {
    /* private: */
    struct mir_loop *loop;
    uint32_t queue_max;
    struct mir__pipe_end end[2];
};

/**
 * mir_pipe_init() - prepare both ends.
 *
 * @config  borrowed; loop must be set
 *
 * Returns 0 or -MIR_EINVAL (mtu below 576, gso_max below mtu + 14).
 * Source  none
 */
int mir_pipe_init(struct mir_pipe *pipe, const struct mir_pipe_config *config) MIR_CHECK;

/** End 0 or 1, as a device. Closing one end is independent of the other. */
static inline struct mir_net_dev *mir_pipe_end(struct mir_pipe *pipe, unsigned index)
{
    MIR_ASSERT_OP(index, <, 2);
    return &pipe->end[index].dev;
}

#endif
