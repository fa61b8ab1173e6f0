/* SPDX-License-Identifier: ISC */
/* Joins slirp's own idea of polling with the target's.
 *
 * slirp wants, around every wait, to be asked for all its descriptors (slirp_pollfds_fill) and to
 * be told what happened to each (slirp_pollfds_poll): work in proportion to its connections even
 * when none of them moved. Here its answers are kept: a descriptor stays watched, level-triggered,
 * with what slirp wanted last, and slirp is asked again only after something that can change its
 * wishes:
 *
 *   is_stale    the appliance sent a frame, slirp saw events or its time came, a descriptor or
 *               timer came or went
 *   has_events  a descriptor got ready since: slirp is told after this wait
 *   deadline_us its next time-out, from the last asking
 *
 * So an appliance busy with something else pays two comparisons a wait. A descriptor slirp stops
 * asking for is no longer watched from the next round on; one that is closed is forgotten before
 * (unregister), so that a number used again is a new descriptor.
 *
 * When the process has no descriptor left, slirp's accept() fails and its listening descriptor
 * stays ready. So slirp hears of a client only if there is a descriptor for it; else the client
 * waits in the kernel's queue and a look is taken again every SHORTAGE_US.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <mirari/log.h>

#include "dev/net/user/internal.h"

#define SHORTAGE_US (100 * MIR_US_PER_MS)

static bool is_listener(const struct mir__user_fd *entry)
{
    int fd = entry->watch.fd;
    return fd < MIR__USER_LISTENER_MAX && entry->user->is_listener[fd];
}

/* Is a descriptor left, and one that can be watched? */
static bool has_descriptor(const struct mir__user_fd *entry)
{
    int fd = fcntl(entry->watch.fd, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0)
        close(fd);
    return fd >= 0 && fd < MIR__USER_FD_MAX;
}

/* Not watched until slirp is asked for its wishes again. */
static void keep_waiting(struct mir__user *user, struct mir__user_fd *entry)
{
    struct mir_host_poll *poll = user->config.poll;
    mir_time_us now_us = user->config.clock->monotonic(user->config.clock);
    if (user->shortages++ == 0)
        MIR_LOG(DEV, WARN, "no descriptor is left: clients wait (see ulimit -n)");
    poll->ops->set(poll, &entry->watch, 0);
    entry->wanted = 0;
    user->deadline_us = MIR_MIN(user->deadline_us, now_us + SHORTAGE_US);
}

static void on_ready(void *arg, unsigned events)
{
    struct mir__user_fd *entry = arg;
    if (is_listener(entry) && !has_descriptor(entry)) {
        keep_waiting(entry->user, entry);
        return;
    }
    if (events & MIR_HOST_IN)
        entry->happened |= SLIRP_POLL_IN;
    if (events & MIR_HOST_OUT)
        entry->happened |= SLIRP_POLL_OUT;
    if (events & MIR_HOST_ERROR)
        entry->happened |= SLIRP_POLL_ERR | SLIRP_POLL_HUP | SLIRP_POLL_IN;
    entry->user->has_events = true;
}

static struct mir__user_fd *entry_of(struct mir__user *user, int fd)
{
    if (fd < 0 || fd >= MIR__USER_FD_MAX)
        return NULL;
    if (user->fds[fd] == NULL) {
        struct mir__user_fd *entry = calloc(1, sizeof *entry);
        if (entry == NULL)
            return NULL;
        entry->user = user;
        entry->watch = (struct mir_host_watch){.fd = fd, .ready = on_ready, .arg = entry};
        user->fds[fd] = entry;
        user->fd_high = MIR_MAX(user->fd_high, fd + 1);
    }
    return user->fds[fd];
}

static void unwatch(struct mir__user *user, struct mir__user_fd *entry)
{
    if (!entry->is_watched)
        return;
    user->config.poll->ops->remove(user->config.poll, &entry->watch);
    entry->is_watched = false;
    entry->wanted = 0;
    entry->happened = 0;
}

/* slirp: watch this descriptor. The answer comes back in get_revents. */
static int add_poll(int fd, int events, void *opaque)
{
    struct mir__user *user = opaque;
    struct mir_host_poll *poll = user->config.poll;
    struct mir__user_fd *entry = entry_of(user, fd);
    unsigned wanted = 0;
    if (events & (SLIRP_POLL_IN | SLIRP_POLL_PRI))
        wanted |= MIR_HOST_IN;
    if (events & SLIRP_POLL_OUT)
        wanted |= MIR_HOST_OUT;
    if (entry == NULL) {
        user->fds_refused++;
        return -1;
    }
    entry->round = user->round;
    if (!entry->is_watched) {
        entry->watch.events = wanted;
        if (poll->ops->add(poll, &entry->watch) < 0) {
            user->fds_refused++;
            return -1;
        }
        entry->is_watched = true;
    } else if (entry->wanted != wanted) {
        poll->ops->set(poll, &entry->watch, wanted);
    }
    entry->wanted = wanted;
    return fd;
}

static int get_revents(int index, void *opaque)
{
    struct mir__user *user = opaque;
    if (index < 0 || index >= MIR__USER_FD_MAX || user->fds[index] == NULL)
        return 0;
    unsigned happened = user->fds[index]->happened;
    user->fds[index]->happened = 0;
    return (int)happened;
}

static mir_time_us next_timer(const struct mir__user *user)
{
    mir_time_us next = MIR_TIME_NEVER;
    for (int i = 0; i < MIR__USER_TIMER_MAX; i++) {
        const struct mir__user_timer *timer = &user->timers[i];
        if (timer->is_used && timer->expire_ms >= 0)
            next = MIR_MIN(next, (mir_time_us)timer->expire_ms * MIR_US_PER_MS);
    }
    return next;
}

static void ask_slirp(struct mir__user *user, mir_time_us now_us)
{
    uint32_t timeout_ms = UINT32_MAX;
    user->round++;
    slirp_pollfds_fill(user->slirp, &timeout_ms, add_poll, user);
    for (int fd = 0; fd < user->fd_high; fd++) {
        struct mir__user_fd *entry = user->fds[fd];
        if (entry != NULL && entry->is_watched && entry->round != user->round)
            unwatch(user, entry);
    }
    user->deadline_us = next_timer(user);
    if (timeout_ms != UINT32_MAX)
        user->deadline_us = MIR_MIN(user->deadline_us, now_us + timeout_ms * MIR_US_PER_MS);
    user->is_stale = false;
}

static void before_wait(void *arg, mir_time_us now_us, mir_time_us *deadline_us)
{
    struct mir__user *user = arg;
    if (user->is_stale)
        ask_slirp(user, now_us);
    *deadline_us = MIR_MIN(*deadline_us, user->deadline_us);
}

static void fire_timers(struct mir__user *user, mir_time_us now_us)
{
    for (int i = 0; i < MIR__USER_TIMER_MAX; i++) {
        struct mir__user_timer *timer = &user->timers[i];
        if (!timer->is_used || timer->expire_ms < 0 ||
            (mir_time_us)timer->expire_ms * MIR_US_PER_MS > now_us)
            continue;
        timer->expire_ms = -1;
        user->is_stale = true;
        timer->fire(timer->fire_arg);
    }
}

static void after_wait(void *arg, mir_time_us now_us)
{
    struct mir__user *user = arg;
    if (!user->has_events && now_us < user->deadline_us)
        return;
    user->has_events = false;
    user->is_stale = true;
    fire_timers(user, now_us);
    slirp_pollfds_poll(user->slirp, 0, get_revents, user);
}

/* ---- callbacks of slirp -------------------------------------------------------------------- */

void mir__user_register_fd(int fd, void *opaque)
{
    struct mir__user *user = opaque;
    (void)fd;
    user->is_stale = true;
}

void mir__user_unregister_fd(int fd, void *opaque)
{
    struct mir__user *user = opaque;
    user->is_stale = true;
    if (fd >= 0 && fd < MIR__USER_FD_MAX && user->fds[fd] != NULL)
        unwatch(user, user->fds[fd]);
}

void *mir__user_timer_new(SlirpTimerCb fire, void *fire_arg, void *opaque)
{
    struct mir__user *user = opaque;
    for (int i = 0; i < MIR__USER_TIMER_MAX; i++) {
        if (user->timers[i].is_used)
            continue;
        user->timers[i] = (struct mir__user_timer){fire, fire_arg, -1, true};
        return &user->timers[i];
    }
    return NULL;
}

void mir__user_timer_free(void *timer, void *opaque)
{
    (void)opaque;
    if (timer != NULL)
        ((struct mir__user_timer *)timer)->is_used = false;
}

void mir__user_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    struct mir__user *user = opaque;
    if (timer != NULL)
        ((struct mir__user_timer *)timer)->expire_ms = expire_ms;
    user->is_stale = true;
}

void mir__user_notify(void *opaque)
{
    ((struct mir__user *)opaque)->is_stale = true;
}

void mir__user_poll_init(struct mir__user *user)
{
    struct mir_host_poll *poll = user->config.poll;
    user->hook =
        (struct mir_host_hook){.before_wait = before_wait, .after_wait = after_wait, .arg = user};
    user->is_stale = true;
    user->deadline_us = MIR_TIME_NEVER;
    poll->ops->add_hook(poll, &user->hook);
}

void mir__user_poll_fini(struct mir__user *user)
{
    struct mir_host_poll *poll = user->config.poll;
    poll->ops->remove_hook(poll, &user->hook);
    for (int fd = 0; fd < user->fd_high; fd++) {
        if (user->fds[fd] == NULL)
            continue;
        unwatch(user, user->fds[fd]);
        free(user->fds[fd]);
        user->fds[fd] = NULL;
    }
}
