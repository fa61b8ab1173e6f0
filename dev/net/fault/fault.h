/* SPDX-License-Identifier: ISC */
/* A network device around another one that loses, repeats, reorders, damages and delays frames. */
#ifndef DEV_NET_FAULT_FAULT_H
#define DEV_NET_FAULT_FAULT_H

#include <mirari/rng.h>
#include <mirari/rpc.h>
#include <mirari/run.h>

#include "dev/net/wrap/wrap.h"

#define MIR_FAULT_PPM       1000000u
#define MIR_FAULT_QUEUE     1024u
#define MIR_FAULT_ERROR_MAX 160u

/** What happens to frames of one direction. Probabilities are in parts per million. */
struct mir_fault_rule {
    uint32_t loss_ppm, dup_ppm, reorder_ppm, corrupt_ppm;
    uint32_t delay_us, jitter_us; /**< delay - jitter .. delay + jitter */
    uint64_t rate_bps;            /**< 0 = no limit */
};

enum mir_fault_direction { MIR_FAULT_IN, MIR_FAULT_OUT };

struct mir_fault_spec {
    struct mir_fault_rule rule[2]; /**< by enum mir_fault_direction */
    uint64_t seed;                 /**< the same seed and the same frames: the same faults */
    bool is_down;                  /**< the wire is cut: the upper half is told, nothing passes */
};

/**
 * mir_fault_parse() - a specification from text.
 *
 * @text   such as "loss=1%,dup=0.5%,reorder=2%,corrupt=0.1%,delay=10ms,jitter=2ms,rate=10mbit,
 *         seed=7"; an item applies to both directions unless it begins with "in:" or "out:"; "down"
 *         cuts the wire, "none" alone is a good one
 * @error  [MIR_FAULT_ERROR_MAX] bytes; on error one line
 *
 * Returns 0 or -MIR_EINVAL.
 * Source  none
 */
int mir_fault_parse(const char *text, struct mir_fault_spec *spec, char *error) MIR_CHECK;

struct mir_fault_config {
    struct mir_net_dev *inner; /**< given: closed with this device */
    struct mir_loop *loop;
    struct mir_buf_pool *bufs; /**< for copies of frames */
    struct mir_fault_spec spec;
};

/** private: a frame that waits for its time. */
struct mir__fault_held {
    mir_time_us due_us;
    uint64_t order;
    struct mir_buf *buf;
};

struct mir_fault_stats {
    uint64_t passed, lost, duplicated, reordered, corrupted, delayed;
    uint64_t overflowed; /**< dropped: MIR_FAULT_QUEUE frames wait, or no memory */
    uint64_t cut;        /**< dropped: the wire was cut */
};

struct mir_fault;

/** private: one direction. */
struct mir__fault_way {
    struct mir_fault *fault;
    enum mir_fault_direction direction;
    struct mir_timer timer;
    mir_time_us free_at_us; /* when the line has sent what it has (rate) */
    mir_time_us last_due_us;
    uint64_t order;
    uint32_t held_count;
    struct mir__fault_held held[MIR_FAULT_QUEUE]; /* heap by (due, order) */
};

struct mir_fault {
    struct mir__wrap wrap; /**< the device is wrap.dev; first */
    struct mir_fault_stats stats[2];
    /* private: */
    struct mir_fault_config config;
    struct mir_rng rng;
    struct mir__fault_way way[2];
};

/**
 * mir_fault_init() - put faults around a device.
 *
 * @fault  caller's memory, lent until the device, &fault->wrap.dev, is closed
 *
 * Returns nothing. The device has no transmit offloads: faults happen to frames of the wire.
 * Source  none
 */
void mir_fault_init(struct mir_fault *fault, const struct mir_fault_config *config);

/**
 * mir_fault_set() - other faults from now on.
 *
 * Frames that wait keep their time. The generator goes on, so the seed of @spec counts only if it
 * is another one than before.
 *
 * Returns nothing.
 * Source  none
 */
void mir_fault_set(struct mir_fault *fault, const struct mir_fault_spec *spec);

/* ---- over the control channel (control.c) --------------------------------------------------- */

#define MIR_FAULT_CONTROL_MAX 8u

/** The fault devices of an appliance, by the name of their network: methods fault.set, fault.get.
 *  There are none in an appliance that was started without --fault. */
struct mir_fault_control {
    /* private: */
    struct mir_rpc_methods methods;
    struct {
        const char *name;
        struct mir_fault *fault;
    } row[MIR_FAULT_CONTROL_MAX];
    uint32_t count;
};

/** One more; @name and @fault are lent until the control channel is closed. Does nothing if
 *  MIR_FAULT_CONTROL_MAX are there. Inline: a target without a channel links nothing for it. */
static inline void mir_fault_control_add(struct mir_fault_control *control, const char *name,
                                         struct mir_fault *fault)
{
    if (control->count == MIR_FAULT_CONTROL_MAX)
        return;
    control->row[control->count].name = name;
    control->row[control->count].fault = fault;
    control->count++;
}
/** Add the methods, if there is a device to speak of. */
void mir_fault_control_serve(struct mir_fault_control *control, struct mir_rpc_server *server);

#endif
