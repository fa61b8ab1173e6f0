/* SPDX-License-Identifier: ISC */
/* Waiting: epoll behind mirari/host.h.
 *
 * A wait calls the hooks (libraries that keep descriptors of their own adjust them and the
 * deadline), sleeps in epoll_pwait2 with a deadline in microseconds, calls what got ready, and
 * calls the hooks again. With a deadline that has passed it only looks.
 *
 * Spinning (--spin US): for so long after the last event it looks again and again instead of
 * sleeping, because waking a sleeping process costs more than the whole handling of a packet. It
 * looks at the device that found something last, by a call of its ready() (a read of the tap, a
 * glance at the ring), and every ASK turns at everything else. How long adapts: an event that came
 * within US of the one before opens the whole window, one that came later halves it, down to an
 * eighth. So a slow trickle of events costs an eighth of US each, and an idle appliance, or one
 * that only has timers, sleeps as always. A spin ends at the deadline of the next timer.
 *
 * The loop is told when it was that everything had been looked at: a timer due after that moment
 * waits one turn more. Else a process that got no CPU for a while would find its retransmission
 * timers due before it reads the acknowledgements that came meanwhile.
 *
 * Watches are level-triggered unless they ask for edges. One that is removed while a batch of
 * events is being called is crossed out of the rest of the batch, so ready() is never called for it
 * again.
 */
#include "target/unix/internal.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define BATCH      128
#define EAGER      64u
#define WINDOW_MIN 8u  /* the spinning window shrinks to this part */
#define ASK        32u /* turns of a spin for each that asks the host about all descriptors */

static struct mir__poll *of_base(struct mir_host_poll *base)
{
    return (struct mir__poll *)(void *)base;
}

static uint32_t to_epoll(const struct mir_host_watch *watch)
{
    uint32_t bits = watch->is_edge ? (uint32_t)EPOLLET | EPOLLRDHUP : 0;
    if (watch->events & MIR_HOST_IN)
        bits |= EPOLLIN;
    if (watch->events & MIR_HOST_OUT)
        bits |= EPOLLOUT;
    return bits;
}

static int control(struct mir__poll *poll, int operation, struct mir_host_watch *watch)
{
    struct epoll_event event = {.events = to_epoll(watch), .data.ptr = watch};
    return epoll_ctl(poll->epoll_fd, operation, watch->fd, &event);
}

static int poll_add(struct mir_host_poll *base, struct mir_host_watch *watch)
{
    return control(of_base(base), EPOLL_CTL_ADD, watch) == 0 ? 0 : -MIR_EIO;
}

static void poll_set(struct mir_host_poll *base, struct mir_host_watch *watch, unsigned events)
{
    watch->events = events;
    if (control(of_base(base), EPOLL_CTL_MOD, watch) < 0)
        MIR_LOG(TARGET, ERROR, "cannot change the watch of descriptor %d", watch->fd);
}

static void poll_remove(struct mir_host_poll *base, struct mir_host_watch *watch)
{
    struct mir__poll *poll = of_base(base);
    struct epoll_event *events = poll->batch;
    if (poll->eager == watch)
        poll->eager = NULL;
    if (poll->device == watch)
        poll->device = NULL;
    /* A descriptor that was closed already is gone from the set; nothing to report. */
    if (!watch->is_sole)
        (void)epoll_ctl(poll->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = 0; i < poll->batch_count; i++) {
        if (events[i].data.ptr == watch)
            events[i].data.ptr = NULL;
    }
}

static void poll_add_hook(struct mir_host_poll *base, struct mir_host_hook *hook)
{
    mir_list_push_back(&of_base(base)->hooks, &hook->link);
}

static void poll_remove_hook(struct mir_host_poll *base, struct mir_host_hook *hook)
{
    (void)base;
    mir_list_remove(&hook->link);
}

static const struct mir_host_poll_ops poll_ops = {
    .add = poll_add,
    .set = poll_set,
    .remove = poll_remove,
    .add_hook = poll_add_hook,
    .remove_hook = poll_remove_hook,
};

int mir__poll_open(struct mir__poll *poll, struct mir_clock *clock, uint32_t spin_us)
{
    *poll = (struct mir__poll){
        .base.ops = &poll_ops, .clock = clock, .spin_us = spin_us, .window_us = spin_us};
    mir_list_init(&poll->hooks);
    poll->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return poll->epoll_fd >= 0 ? 0 : -MIR_EIO;
}

void mir__poll_close(struct mir__poll *poll)
{
    close(poll->epoll_fd);
}

/* An old kernel has no epoll_pwait2: milliseconds then, rounded up. */
static int wait_ms(int epoll_fd, struct epoll_event *events, mir_time_us timeout_us)
{
    mir_time_us ms = (timeout_us + MIR_US_PER_MS - 1) / MIR_US_PER_MS;
    return epoll_pwait(epoll_fd, events, BATCH, (int)MIR_MIN(ms, 1000000u), NULL);
}

static int wait_events(struct mir__poll *poll, struct epoll_event *events, mir_time_us timeout_us)
{
    static bool has_no_pwait2;
    struct timespec ts = {.tv_sec = (time_t)(timeout_us / MIR_US_PER_S),
                          .tv_nsec = (long)(timeout_us % MIR_US_PER_S) * 1000};
    if (!has_no_pwait2) {
        struct timespec *timeout = timeout_us == MIR_TIME_NEVER ? NULL : &ts;
        int count = epoll_pwait2(poll->epoll_fd, events, BATCH, timeout, NULL);
        if (count >= 0 || errno != ENOSYS)
            return count;
        has_no_pwait2 = true;
    }
    return wait_ms(poll->epoll_fd, events, timeout_us);
}

static void dispatch(struct mir__poll *poll, struct epoll_event *events, int count)
{
    poll->batch = events;
    poll->batch_count = count;
    for (int i = 0; i < count; i++) {
        struct mir_host_watch *watch = events[i].data.ptr;
        unsigned ready = 0;
        if (watch == NULL)
            continue;
        if (events[i].events & (EPOLLIN | EPOLLRDHUP))
            ready |= MIR_HOST_IN;
        if (events[i].events & EPOLLOUT)
            ready |= MIR_HOST_OUT;
        if (events[i].events & (EPOLLERR | EPOLLHUP))
            ready |= MIR_HOST_ERROR;
        if (events[i].events & EPOLLHUP)
            ready |= MIR_HOST_HANGUP;
        if (events[i].events & EPOLLRDHUP)
            ready |= MIR_HOST_END;
        watch->found = false;
        watch->ready(watch->arg, ready);
        /* Its ready() may have removed it. */
        if (events[i].data.ptr == watch && watch->found) {
            poll->eager = poll->device = watch;
            poll->eager_left = EAGER;
        }
    }
    poll->batch = NULL;
    poll->batch_count = 0;
}

/* Remember when it was, and what it says about spinning. */
static void note_event(struct mir__poll *poll, mir_time_us now_us)
{
    bool was_near = now_us - poll->last_event_us <= poll->spin_us;
    poll->window_us =
        was_near ? poll->spin_us : MIR_MAX(poll->window_us / 2, poll->spin_us / WINDOW_MIN);
    poll->last_event_us = now_us;
}

/* Call a device on suspicion. Returns true if something happened. */
static bool look_at(struct mir__poll *poll, struct mir_host_watch *watch, mir_time_us now_us)
{
    if (poll->loop != NULL)
        mir_loop_set_now(poll->loop, now_us);
    watch->found = false;
    watch->ready(watch->arg, MIR_HOST_IN);
    /* One that took itself away may be gone altogether, and has told somebody. */
    if (poll->device == watch && !watch->found)
        return false;
    note_event(poll, now_us);
    return true;
}

/* A device that has just found something has probably more by now: look there before asking the
 * host about all of them. Every so often, and when it finds nothing, the host is asked. */
static bool look_again(struct mir__poll *poll, mir_time_us now_us)
{
    struct mir_host_watch *watch = poll->eager;
    if (watch == NULL)
        return false;
    if (poll->eager_left == 0) {
        poll->eager = NULL;
        return false;
    }
    poll->eager_left--;
    if (look_at(poll, watch, now_us))
        return true;
    poll->eager = NULL;
    return false;
}

/* Look until something happens or the window closes. Returns true if the device found something;
 * *@count events of others are there else. */
static bool spin(struct mir__poll *poll, struct epoll_event *events, mir_time_us deadline_us,
                 mir_time_us *now_us, int *count)
{
    mir_time_us end_us = MIR_MIN(deadline_us, poll->last_event_us + poll->window_us);
    bool may_look = mir_list_is_empty(&poll->hooks);
    for (uint32_t turn = 1; *now_us < end_us && *count <= 0; turn++) {
        struct mir_host_watch *device = may_look && turn % ASK != 0 ? poll->device : NULL;
        poll->turns++;
        if (device == NULL) {
            *count = wait_events(poll, events, 0);
        } else if (look_at(poll, device, *now_us)) {
            poll->eager = poll->device;
            poll->eager_left = EAGER;
            return true;
        }
        *now_us = poll->clock->monotonic(poll->clock);
    }
    return false;
}

/* What had come before @looked_us is delivered when the wait is over; timers due since then must
 * not go off before the next one. */
static void tell_looked(struct mir__poll *poll, mir_time_us looked_us)
{
    if (poll->loop != NULL)
        mir_loop_set_looked(poll->loop, looked_us);
}

void mir__poll_wait(void *arg, mir_time_us deadline_us)
{
    struct mir__poll *poll = arg;
    struct epoll_event events[BATCH];
    mir_time_us now_us = poll->clock->monotonic(poll->clock), looked_us = now_us;
    int count = 0;
    mir_list_for_each (node, &poll->hooks) {
        struct mir_host_hook *hook = MIR_CONTAINER_OF(node, struct mir_host_hook, link);
        hook->before_wait(hook->arg, now_us, &deadline_us);
    }
    poll->waits++;
    if (mir_list_is_empty(&poll->hooks) && look_again(poll, now_us)) {
        tell_looked(poll, now_us);
        return;
    }
    if (poll->spin_us > 0 && spin(poll, events, deadline_us, &now_us, &count)) {
        tell_looked(poll, now_us);
        return;
    }
    if (count <= 0) {
        mir_time_us timeout_us = deadline_us;
        if (deadline_us != MIR_TIME_NEVER)
            timeout_us = deadline_us > now_us ? deadline_us - now_us : 0;
        poll->sleeps += timeout_us > 0;
        looked_us = now_us;
        count = wait_events(poll, events, timeout_us);
        if (count == 0 && timeout_us > 0)
            looked_us = deadline_us; /* the host looked once more before it gave up */
    }
    tell_looked(poll, looked_us);
    /* After a long sleep, what runs below must not count its timers from the step before it. */
    if (count > 0 || !mir_list_is_empty(&poll->hooks)) {
        now_us = poll->clock->monotonic(poll->clock);
        if (poll->loop != NULL)
            mir_loop_set_now(poll->loop, now_us);
    }
    if (count > 0) {
        poll->events += (uint64_t)count;
        note_event(poll, now_us);
        dispatch(poll, events, count);
    }
    mir_list_for_each (node, &poll->hooks) {
        struct mir_host_hook *hook = MIR_CONTAINER_OF(node, struct mir_host_hook, link);
        if (hook->after_wait != NULL)
            hook->after_wait(hook->arg, now_us);
    }
}
