/* SPDX-License-Identifier: ISC */
/* The loop: ready work, timers and tasks.
 *
 * A target gives the loop two things: the time, and a way to wait until a deadline or an event. It
 * either lets the loop own a thread (mir_loop_run with wait functions) or steps it from a dispatch
 * context (mir_loop_step), as the simulator and a kernel module do. The loop itself never reads a
 * clock and never blocks.
 *
 * Everything here belongs to one thread, the loop's.
 */
#ifndef MIRARI_RUN_H
#define MIRARI_RUN_H

#include <mirari/base.h>
#include <mirari/err.h>
#include <mirari/list.h>

struct mir_loop;
struct mir_task;

/* ---- work: a callback to run once, soon --------------------------------------------------- */

struct mir_work {
    /* private: */
    struct mir_list link;
    void (*run)(void *arg);
    void *arg;
};

/** Prepare work that is not posted yet. */
void mir_work_init(struct mir_work *work, void (*run)(void *arg), void *arg);
/** Run @work at the end of the ready queue, in this step. Posting twice before it runs is once. */
void mir_loop_post(struct mir_loop *loop, struct mir_work *work);
/** Take it back; harmless if it is not posted. */
void mir_work_cancel(struct mir_work *work);

/* ---- timers ------------------------------------------------------------------------------- */

/** One-shot timer in a hierarchical wheel. Set, change and cancel are O(1). */
struct mir_timer {
    /* private: */
    struct mir_list link;
    mir_time_us deadline_us;
    void (*fire)(void *arg);
    void *arg;
    struct mir_loop *loop; /* NULL: not set */
};

/** Prepare a timer that is not set yet. */
void mir_timer_init(struct mir_timer *timer, void (*fire)(void *arg), void *arg);
/** Fire at @deadline_us or up to one tick (1,024 us) later, never earlier; replaces the deadline
 *  it had. A deadline in the past fires in the next step; MIR_TIME_NEVER is mir_timer_cancel(). */
void mir_timer_set(struct mir_loop *loop, struct mir_timer *timer, mir_time_us deadline_us);
/** Harmless if it is not set. After return it does not fire. */
void mir_timer_cancel(struct mir_timer *timer);
static inline bool mir_timer_is_set(const struct mir_timer *timer)
{
    return timer->loop != NULL;
}
/** When a timer that is set fires. */
static inline mir_time_us mir_timer_deadline(const struct mir_timer *timer)
{
    return timer->deadline_us;
}

/* ---- loop --------------------------------------------------------------------------------- */

#define MIR_WHEEL_LEVELS 6
#define MIR_WHEEL_SLOTS  64

struct mir_loop {
    /* private: */
    mir_time_us now_us;
    mir_time_us looked_us; /* timers due later wait for the next look at the devices */
    struct mir_list ready;
    struct mir_list expired;
    struct mir_list mark; /* divides a list into what was there and what came meanwhile */
    struct mir_list wheel[MIR_WHEEL_LEVELS][MIR_WHEEL_SLOTS];
    uint64_t wheel_map[MIR_WHEEL_LEVELS]; /* bit set: slot has timers */
    uint64_t wheel_tick;
    uint32_t timer_count;
    uint32_t task_count;
    struct mir_task *current;
    bool stop;
    bool in_step;
    int status;
    struct mir_list step_end; /* struct mir_step_hook: run at the end of each step */
    uint64_t steps, works, timers_fired, task_switches;
};

/** Prepare a loop whose time is @now_us. */
void mir_loop_init(struct mir_loop *loop, mir_time_us now_us);

/** The time of the current step. */
static inline mir_time_us mir_loop_now(const struct mir_loop *loop)
{
    return loop->now_us;
}

/** Tell the loop the time before events are delivered to it outside a step, as a driver does after
 *  it has slept: what runs then must not see the time of the last step. Runs nothing; an earlier
 *  time is ignored. */
void mir_loop_set_now(struct mir_loop *loop, mir_time_us now_us);

/** Tell the loop when the devices were last asked: what had arrived by @looked_us has been
 *  delivered. Timers due later do not go off in the next step, however late it is by then: after a
 *  stall of the whole process the acknowledgement that a timer waits for may lie in a device. A
 *  driver that never calls this has timers go off by the time of the step alone. */
void mir_loop_set_looked(struct mir_loop *loop, mir_time_us looked_us);

/** Called at the end of every step in which something ran: flush batches here. */
struct mir_step_hook {
    struct mir_list link;
    void (*run)(void *arg);
    void *arg;
};
void mir_loop_add_step_hook(struct mir_loop *loop, struct mir_step_hook *hook);
void mir_loop_remove_step_hook(struct mir_step_hook *hook);

/**
 * mir_loop_step() - run what is ready and what is due.
 *
 * Fires the timers due at @now_us, runs the work that was ready when the step began and up to
 * MIR_LOOP_BUDGET pieces that were posted meanwhile, then the step hooks.
 *
 * @now_us           not before the last step's time (an earlier one is taken as the last one)
 * @next_deadline_us out: @now_us if work is left, the earliest timer's time (perhaps a little
 *                   early for timers far away), or MIR_TIME_NEVER
 *
 * Returns true if anything ran.
 * Source  none
 */
bool mir_loop_step(struct mir_loop *loop, mir_time_us now_us, mir_time_us *next_deadline_us);
#define MIR_LOOP_BUDGET 256u

/** What a target gives a loop that owns a thread. */
struct mir_loop_driver {
    mir_time_us (*now)(void *arg);
    /** Deliver device events; sleep until @deadline_us (monotonic) if none is there. A deadline
     *  that has passed means: look, do not sleep. */
    void (*wait)(void *arg, mir_time_us deadline_us);
    void *arg;
};

/** Run until mir_loop_stop(). Returns the status given there. */
int mir_loop_run(struct mir_loop *loop, const struct mir_loop_driver *driver);
void mir_loop_stop(struct mir_loop *loop, int status);

/* ---- tasks -------------------------------------------------------------------------------- */

/** Memory for task stacks, from the target: guard page below, lowest usable byte returned. */
struct mir_stack_source {
    /** A stack of at least @size bytes; NULL when at the limit. */
    void *(*acquire)(void *arg, size_t size, size_t *usable);
    void (*release)(void *arg, void *base, size_t usable);
    void *arg;
};

/** A cooperative thread with a stack of its own; its structure lives at the top of that stack. */
struct mir_task;

/**
 * mir_task_spawn() - start a task; it first runs when the loop gets to it.
 *
 * @name   static text for statistics
 * @stack  0 = 64 KiB
 * @task   out, may be NULL: handle, valid until the task ends
 *
 * Returns 0 or -MIR_ENOMEM (no stack).
 * Source  none
 */
int mir_task_spawn(struct mir_loop *loop, const struct mir_stack_source *source, const char *name,
                   size_t stack_bytes, void (*entry)(void *arg), void *arg,
                   struct mir_task **task) MIR_CHECK;

/** The running task, or NULL in a callback. */
struct mir_task *mir_task_current(struct mir_loop *loop);
const char *mir_task_name(const struct mir_task *task);
/** Let others run. Only in a task. */
void mir_task_yield(struct mir_loop *loop);
/** Sleep until @deadline_us. Returns 0, or -MIR_ECANCELED (mir_task_cancel). Only in a task. */
int mir_task_sleep(struct mir_loop *loop, mir_time_us deadline_us);
/** Ask a task to end: its present and later waits return -MIR_ECANCELED. */
void mir_task_cancel(struct mir_task *task);

/** A place where tasks wait for something. */
struct mir_wait {
    /* private: */
    struct mir_list waiters;
};
void mir_wait_init(struct mir_wait *wait);
/** Wait for a wake-up. Returns 0, -MIR_ETIMEDOUT at @deadline_us, -MIR_ECANCELED. Only in a task;
 *  check the condition again after return. */
int mir_wait_on(struct mir_loop *loop, struct mir_wait *wait, mir_time_us deadline_us) MIR_CHECK;
void mir_wait_wake_one(struct mir_wait *wait);
void mir_wait_wake_all(struct mir_wait *wait);
/** Wake all; mir_wait_on() returns @result in each of them. */
void mir_wait_end_all(struct mir_wait *wait, int result);

#endif
