/* SPDX-License-Identifier: ISC */
/* Tasks: cooperative threads, each with a stack of its own, and the places where they wait.
 *
 *     low address                                                      high address
 *     guard | base  ....  <- stack grows down  | first frame | struct mir_task |
 *
 * Only the loop's context starts and continues tasks: a task's `resume` work is in the ready list,
 * run by the loop, and switches to the task's stack; the task switches back when it waits, yields
 * or ends. So a switch is always loop -> task or task -> loop, at most one task runs, and an ended
 * task's stack is given back by the loop, which does not stand on it.
 *
 *     READY    resume is posted                     spawn, yield, wake
 *     RUNNING  loop->current                        the loop reached it
 *     WAITING  in a mir_wait, or its timer is set   wait, sleep
 *     ENDED    gone after the switch back           entry returned
 *
 * A wait ends once: the first of wake-up, timeout and cancellation takes the task out of the list,
 * clears its timer, sets the status and posts `resume`. A wake-up is thus never given to a task
 * that goes away with a timeout instead, and one that was woken before it was canceled still
 * returns 0.
 *
 * Switching costs some twenty instructions (switch_<arch>.S): no system call, no signal mask.
 *
 * Limits: cooperative, so a task that computes holds up everybody; overflow is caught by the guard
 * page of the stack's source, and in sources without one at the next switch if the stack pointer
 * still lies outside. Hardware shadow stacks (CET) are not supported.
 */
#include "lib/run/fiber.h"
#include "lib/run/internal.h"

#define STACK_BYTES_DEFAULT ((size_t)64 * 1024)
/* Top of stack: whole cache lines for the structure, so that the first frame does not share one. */
#define TASK_ALIGN 64u

enum task_state { READY, RUNNING, WAITING, ENDED };

struct mir_task {
    struct mir_loop *loop;
    struct mir_work resume;
    struct mir_timer timer;
    struct mir_list wait_link; /* in a mir_wait */
    enum task_state state;
    bool is_canceled;
    int wait_status;
    void *task_sp; /* while the task does not run */
    void *loop_sp; /* while it runs */
    const char *name;
    void (*entry)(void *arg);
    void *arg;
    struct mir_stack_source source;
    void *stack_base;
    size_t stack_usable;
    struct mir__fiber task_fiber;
    struct mir__fiber loop_fiber;
};

/* ---- switching: loop's side ----------------------------------------------------------------- */

static void release_stack(struct mir_task *task)
{
    struct mir_stack_source source = task->source; /* the structure lies on the stack */
    void *base = task->stack_base;
    size_t usable = task->stack_usable;
    task->loop->task_count--;
    source.release(source.arg, base, usable);
}

static void resume(void *arg)
{
    struct mir_task *task = arg;
    struct mir_loop *loop = task->loop;
    MIR_ASSERT(loop->current == NULL);
    MIR_ASSERT_OP(task->state, ==, READY);
    task->state = RUNNING;
    loop->current = task;
    loop->task_switches++;
    mir__fiber_leave(&task->loop_fiber, &task->task_fiber);
    mir__switch(&task->loop_sp, task->task_sp);
    mir__fiber_arrive(&task->loop_fiber, NULL);
    loop->current = NULL;
    MIR_ASSERT_OP((uintptr_t)task->task_sp, >=, (uintptr_t)task->stack_base);
    if (task->state == ENDED)
        release_stack(task);
}

/* ---- switching: task's side ----------------------------------------------------------------- */

static void park(struct mir_task *task, enum task_state state)
{
    task->state = state;
    mir__fiber_leave(&task->task_fiber, &task->loop_fiber);
    mir__switch(&task->task_sp, task->loop_sp);
    mir__fiber_arrive(&task->task_fiber, &task->loop_fiber);
}

void mir__task_main(void *arg)
{
    struct mir_task *task = arg;
    mir__fiber_arrive(&task->task_fiber, &task->loop_fiber);
    task->entry(task->arg);
    task->state = ENDED;
    mir__fiber_leave(NULL, &task->loop_fiber);
    mir__switch(&task->task_sp, task->loop_sp);
    __builtin_unreachable();
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* The end of a wait, whatever ends it. */
static void end_wait(struct mir_task *task, int status)
{
    MIR_ASSERT_OP(task->state, ==, WAITING);
    mir_list_remove(&task->wait_link);
    mir_timer_cancel(&task->timer);
    task->wait_status = status;
    task->state = READY;
    mir_loop_post(task->loop, &task->resume);
}

static void time_out(void *arg)
{
    end_wait(arg, -MIR_ETIMEDOUT);
}

static struct mir_task *running(struct mir_loop *loop)
{
    MIR_ASSERT(loop->current != NULL); /* only a task can wait */
    return loop->current;
}

/* @wait NULL: only time and cancellation end it. */
static int wait_for(struct mir_loop *loop, struct mir_wait *wait, mir_time_us deadline_us)
{
    struct mir_task *task = running(loop);
    if (task->is_canceled)
        return -MIR_ECANCELED;
    if (wait != NULL)
        mir_list_push_back(&wait->waiters, &task->wait_link);
    mir_timer_set(loop, &task->timer, deadline_us);
    park(task, WAITING);
    return task->wait_status;
}

void mir_wait_init(struct mir_wait *wait)
{
    mir_list_init(&wait->waiters);
}

int mir_wait_on(struct mir_loop *loop, struct mir_wait *wait, mir_time_us deadline_us)
{
    return wait_for(loop, wait, deadline_us);
}

void mir_wait_wake_one(struct mir_wait *wait)
{
    if (!mir_list_is_empty(&wait->waiters))
        end_wait(MIR_CONTAINER_OF(wait->waiters.next, struct mir_task, wait_link), 0);
}

void mir_wait_wake_all(struct mir_wait *wait)
{
    mir_wait_end_all(wait, 0);
}

void mir_wait_end_all(struct mir_wait *wait, int result)
{
    while (!mir_list_is_empty(&wait->waiters))
        end_wait(MIR_CONTAINER_OF(wait->waiters.next, struct mir_task, wait_link), result);
}

/* ---- tasks ----------------------------------------------------------------------------------- */

/* NOLINTNEXTLINE(readability-function-size): seven parameters, by contract */
int mir_task_spawn(struct mir_loop *loop, const struct mir_stack_source *source, const char *name,
                   size_t stack_bytes, void (*entry)(void *arg), void *arg,
                   struct mir_task **task_out)
{
    size_t usable = 0;
    size_t wanted = stack_bytes != 0 ? stack_bytes : STACK_BYTES_DEFAULT;
    uint8_t *base = source->acquire(source->arg, wanted, &usable);
    if (base == NULL)
        return -MIR_ENOMEM;
    MIR_ASSERT_OP(usable, >=, wanted);
    MIR_ASSERT_OP(usable, >=, 2 * sizeof(struct mir_task));
    uintptr_t top =
        ((uintptr_t)base + usable - sizeof(struct mir_task)) & ~(uintptr_t)(TASK_ALIGN - 1);
    struct mir_task *task = (struct mir_task *)(void *)(base + (top - (uintptr_t)base));
    *task = (struct mir_task){
        .loop = loop,
        .state = READY,
        .name = name,
        .entry = entry,
        .arg = arg,
        .source = *source,
        .stack_base = base,
        .stack_usable = usable,
        .task_fiber = {.bottom = base, .size = usable},
    };
    mir_list_init(&task->wait_link);
    mir_work_init(&task->resume, resume, task);
    mir_timer_init(&task->timer, time_out, task);
    task->task_sp = mir__switch_prepare(task, task);
    loop->task_count++;
    mir_loop_post(loop, &task->resume);
    if (task_out != NULL)
        *task_out = task;
    return 0;
}

struct mir_task *mir_task_current(struct mir_loop *loop)
{
    return loop->current;
}

const char *mir_task_name(const struct mir_task *task)
{
    return task->name;
}

void mir_task_yield(struct mir_loop *loop)
{
    struct mir_task *task = running(loop);
    mir_loop_post(loop, &task->resume);
    park(task, READY);
}

int mir_task_sleep(struct mir_loop *loop, mir_time_us deadline_us)
{
    int status = wait_for(loop, NULL, deadline_us);
    return status == -MIR_ETIMEDOUT ? 0 : status;
}

void mir_task_cancel(struct mir_task *task)
{
    task->is_canceled = true;
    if (task->state == WAITING)
        end_wait(task, -MIR_ECANCELED);
}
