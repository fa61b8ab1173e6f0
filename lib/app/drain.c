/* SPDX-License-Identifier: ISC */
/* After mir_app_main(): closed connections are given time, and a line says what there was.
 *
 * An application closes its connections and returns; what they have queued is still to be sent and
 * acknowledged. The stack goes on without it for a second at most. That is only done if nothing but
 * closed connections is left: callbacks of an application that has returned must not be called.
 */
#include "lib/app/drain.h"

#define DRAIN_US      MIR_US_PER_S
#define DRAIN_STEP_US (2 * MIR_US_PER_MS)

struct drain {
    struct mir_app *app;
    struct mir_timer timer;
    mir_time_us end_us;
    int status;
    uint64_t connections, closing, listeners;
};

static void take_count(void *arg, const char *name, uint64_t value)
{
    struct drain *drain = arg;
    if (mir_str_equal(name, "tcp_connections"))
        drain->connections = value;
    else if (mir_str_equal(name, "tcp_closing"))
        drain->closing = value;
    else if (mir_str_equal(name, "tcp_listeners"))
        drain->listeners = value;
}

static bool is_draining(struct drain *drain)
{
    struct mir_stack *stack = drain->app->stack;
    stack->ops->stats(stack, take_count, drain);
    return drain->closing > 0 && drain->closing == drain->connections && drain->listeners == 0 &&
           mir_loop_now(drain->app->loop) < drain->end_us;
}

static void look(void *arg)
{
    struct drain *drain = arg;
    struct mir_loop *loop = drain->app->loop;
    if (is_draining(drain))
        mir_timer_set(loop, &drain->timer, mir_loop_now(loop) + DRAIN_STEP_US);
    else
        mir_loop_stop(loop, drain->status);
}

int mir__app_drain(struct mir_app *app, const struct mir_loop_driver *driver, int status)
{
    struct mir_loop *loop = app->loop;
    struct drain drain = {.app = app, .end_us = mir_loop_now(loop) + DRAIN_US, .status = status};
    if (app->stack == NULL || !is_draining(&drain))
        return status;
    mir_timer_init(&drain.timer, look, &drain);
    mir_timer_set(loop, &drain.timer, mir_loop_now(loop) + DRAIN_STEP_US);
    status = mir_loop_run(loop, driver);
    mir_timer_cancel(&drain.timer);
    return status;
}

/* ---- the last line -------------------------------------------------------------------------- */

static unsigned long long number(uint64_t value)
{
    return value;
}

static void add(struct mir_net_dev_stats *sum, const struct mir_net_dev *dev)
{
    struct mir_net_dev_stats stats;
    mir_net_dev_stats(dev, &stats);
    sum->rx_frames += stats.rx_frames;
    sum->rx_bytes += stats.rx_bytes;
    sum->rx_dropped += stats.rx_dropped + stats.rx_errors + stats.tx_dropped + stats.tx_errors;
    sum->tx_frames += stats.tx_frames;
    sum->tx_bytes += stats.tx_bytes;
}

void mir__app_print_end(struct mir_app *app, mir_time_us ran_us, struct mir_net_dev *const *devs,
                        uint32_t count)
{
    struct mir_net_dev_stats sum = {0};
    for (uint32_t i = 0; i < count; i++) {
        if (devs[i] != NULL)
            add(&sum, devs[i]);
    }
    mir_app_print(app,
                  "ended: %llu.%03llu s, in %llu frames %llu bytes, out %llu frames %llu bytes, "
                  "dropped %llu, memory peak %llu KiB\n",
                  number(ran_us / MIR_US_PER_S), number(ran_us / MIR_US_PER_MS % 1000),
                  number(sum.rx_frames), number(sum.rx_bytes), number(sum.tx_frames),
                  number(sum.tx_bytes), number(sum.rx_dropped),
                  number(app->pages->peak_bytes >> 10));
}
