/* SPDX-License-Identifier: ISC */
/* The loop: one step fires timers, runs ready work, runs the hooks and says when it wants to be
 * called again.
 *
 *   mir_loop_step(now)    wheel -> expired -> fire()      timers due at `now`, and not after the
 * last look at the devices, if that is told ready -> run()                  work, and tasks that
 * can go on step_end hooks                  flush what the step has collected
 *                         -> next deadline
 *
 * Everything runs to completion in the caller's thread. A step ends: a timer set to the past while
 * timers fire waits for the next step, and of the work that is posted while work runs at most
 * MIR_LOOP_BUDGET pieces are taken; the rest is left for the next step, and the deadline says so.
 * Devices are looked at between steps, so work that posts itself again cannot starve them.
 *
 * A marker node in the list divides what was there from what came later; no counting, and nodes
 * may be taken out at any place meanwhile.
 *
 * Not here: a clock, a way to sleep (struct mir_loop_driver has both), locks. One loop belongs to
 * one thread.
 */
#include "lib/run/internal.h"

void mir_work_init(struct mir_work *work, void (*run)(void *arg), void *arg)
{
    *work = (struct mir_work){.run = run, .arg = arg};
    mir_list_init(&work->link);
}

void mir_loop_post(struct mir_loop *loop, struct mir_work *work)
{
    if (!mir_list_is_linked(&work->link))
        mir_list_push_back(&loop->ready, &work->link);
}

void mir_work_cancel(struct mir_work *work)
{
    mir_list_remove(&work->link);
}

void mir_loop_init(struct mir_loop *loop, mir_time_us now_us)
{
    mir_memset(loop, 0, sizeof *loop);
    loop->now_us = now_us;
    loop->looked_us = MIR_TIME_NEVER;
    mir_list_init(&loop->ready);
    mir_list_init(&loop->step_end);
    mir__wheel_init(loop, now_us);
}

void mir_loop_set_now(struct mir_loop *loop, mir_time_us now_us)
{
    loop->now_us = MIR_MAX(loop->now_us, now_us);
}

void mir_loop_set_looked(struct mir_loop *loop, mir_time_us looked_us)
{
    loop->looked_us = looked_us;
}

void mir_loop_add_step_hook(struct mir_loop *loop, struct mir_step_hook *hook)
{
    mir_list_push_back(&loop->step_end, &hook->link);
}

void mir_loop_remove_step_hook(struct mir_step_hook *hook)
{
    mir_list_remove(&hook->link);
}

static void run_work(struct mir_loop *loop, struct mir_list *node)
{
    struct mir_work *work = MIR_CONTAINER_OF(node, struct mir_work, link);
    loop->works++;
    work->run(work->arg);
}

static uint32_t run_ready(struct mir_loop *loop)
{
    struct mir_list *node;
    uint32_t ran = 0;
    mir_list_push_back(&loop->ready, &loop->mark);
    for (; (node = mir_list_pop_front(&loop->ready)) != &loop->mark; ran++)
        run_work(loop, node);
    for (uint32_t i = 0; i < MIR_LOOP_BUDGET; i++, ran++) {
        node = mir_list_pop_front(&loop->ready);
        if (node == NULL)
            break;
        run_work(loop, node);
    }
    return ran;
}

bool mir_loop_step(struct mir_loop *loop, mir_time_us now_us, mir_time_us *next_deadline_us)
{
    MIR_ASSERT(!loop->in_step); /* from a task or a callback */
    loop->in_step = true;
    loop->steps++;
    mir_loop_set_now(loop, now_us);
    mir__wheel_advance(loop, MIR_MIN(loop->now_us, loop->looked_us));
    uint32_t ran = mir__timers_fire(loop);
    ran += run_ready(loop);
    if (ran > 0) {
        mir_list_for_each (node, &loop->step_end) {
            struct mir_step_hook *hook = MIR_CONTAINER_OF(node, struct mir_step_hook, link);
            hook->run(hook->arg);
        }
    }
    loop->in_step = false;
    bool is_idle = mir_list_is_empty(&loop->ready) && mir_list_is_empty(&loop->expired);
    *next_deadline_us = is_idle ? mir__wheel_next(loop) : loop->now_us;
    return ran > 0;
}

int mir_loop_run(struct mir_loop *loop, const struct mir_loop_driver *driver)
{
    while (!loop->stop) {
        mir_time_us deadline_us;
        mir_loop_step(loop, driver->now(driver->arg), &deadline_us);
        if (!loop->stop)
            driver->wait(driver->arg, deadline_us);
    }
    loop->stop = false; /* it can be run again, for instance to let the last bytes out */
    return loop->status;
}

void mir_loop_stop(struct mir_loop *loop, int status)
{
    loop->stop = true;
    loop->status = status;
}
