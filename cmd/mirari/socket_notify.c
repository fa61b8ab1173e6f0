/* SPDX-License-Identifier: ISC */
/* The supervisor's loop: threads stop at a call of ours, the call is served, the thread goes on.
 *
 *   thread in socket(), connect(), ...
 *      │ stopped by the filter
 *      ▼                                     ┌──────────────────────┐
 *   notification ──> struct call ──> handler ┤ answered at once     │──> the thread goes on
 *                                            │ waits for the server │<── control connection
 *                                            │ waits for its socket │<── end A, or its time-out
 *                                            └──────────────────────┘
 *
 * Two threads, one lock that each holds while it does anything: one waits for notifications, the
 * other for all else, with epoll. Nothing blocks with the lock held (but a question about
 * interfaces, briefly). All processes of the program, whatever they fork and execute, arrive at one
 * descriptor; when the last one has ended it hangs up.
 *
 * SIGNALS. A signal takes a thread out of its call; the kernel does not tell us. With SA_RESTART,
 * or without a handler, the call is made again, as a new notification. So that nothing is done
 * twice:
 *   - a call that still waits is found by thread, number and arguments, and goes on for the new
 *     notification: a connection attempt is not begun again, a time-out runs on
 *   - an answer that found nobody is kept in a short list, and is the answer of the new one
 *   - a descriptor that found nobody (accept) goes back to its socket
 * A thread that makes another call, or has ended, ends what waits for it. What the server is doing
 * for such a call it finishes, as the kernel does.
 *
 * COST. With SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP the kernel runs us on the processor of the thread
 * that waits. Then the stop itself is 2.0 us (4 to 45 us without, depending on which processor the
 * scheduler finds), to find the socket behind a descriptor 0.7 us, to read or write memory of the
 * program 0.6 us each time: 3 us for a call that is the kernel's after all, 4.5 us for an option,
 * some 10 us for a connection that is accepted. The kernel promises it for a thread that waits in
 * the ioctl itself; one in epoll_wait() runs elsewhere now and then, and costs 0.4 us more. Hence
 * the thread of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "cmd/mirari/socket_notify.h"
#include "cmd/mirari/tool.h"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS      SECCOMP_IOW(4, uint64_t)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

#define LOOK_AGAIN_US                                                                              \
    1000000 /**< how often calls that wait are asked whether their thread is there */

int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static call_handler *handler_of(const struct seccomp_data *data)
{
    switch (data->nr) {
    case SYS_socket:
        return handle_socket;
    case SYS_bind:
        return handle_bind;
    case SYS_connect:
        return handle_connect;
    case SYS_listen:
        return handle_listen;
#ifdef SYS_accept
    case SYS_accept:
#endif
    case SYS_accept4:
        return handle_accept;
    case SYS_getsockname:
        return handle_getsockname;
    case SYS_getpeername:
        return handle_getpeername;
    case SYS_setsockopt:
        return handle_setsockopt;
    case SYS_getsockopt:
        return handle_getsockopt;
    case SYS_sendto:
        return handle_sendto;
    case SYS_recvfrom:
        return handle_recvfrom;
    case SYS_sendmsg:
        return handle_sendmsg;
    case SYS_recvmsg:
        return handle_recvmsg;
    case SYS_sendmmsg:
        return handle_sendmmsg;
    case SYS_recvmmsg:
        return handle_recvmmsg;
    case SYS_shutdown:
        return handle_shutdown;
    case SYS_ioctl:
        if ((unsigned)data->args[1] == FIONREAD)
            return handle_fionread;
        if ((unsigned)data->args[1] == SIOCATMARK)
            return handle_atmark;
        return (unsigned)data->args[1] == TIOCOUTQ ? handle_outq : handle_ioctl;
    default:
        return call_continue;
    }
}

/* ---- calls ------------------------------------------------------------------------------------
 */

/* Let go of what the call holds; it may run its handler again afterwards. */
static void release_call(struct sup *sup, struct call *call)
{
    if (call->is_watched)
        (void)epoll_ctl(sup->epoll, EPOLL_CTL_DEL, call->a, NULL);
    if (call->a >= 0)
        close(call->a);
    if (call->sock != NULL)
        call->sock->users--;
    call->is_watched = false;
    call->is_deferred = false;
    call->a = -1;
    call->sock = NULL;
}

static void end_call(struct sup *sup, struct call *call)
{
    struct call **at = &sup->calls;
    release_call(sup, call);
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    call->next = sup->free_calls;
    sup->free_calls = call;
    sup->call_count--;
}

static struct call *new_call(struct sup *sup, const struct seccomp_notif *notif)
{
    struct call *call = sup->free_calls;
    if (sup->call_count >= CALLS_MAX)
        return NULL;
    if (call != NULL)
        sup->free_calls = call->next;
    else
        call = need(sizeof(*call));
    *call = (struct call){.next = sup->calls,
                          .id = notif->id,
                          .serial = ++sup->last_serial,
                          .tid = (pid_t)notif->pid,
                          .nr = notif->data.nr,
                          .handler = handler_of(&notif->data),
                          .a = -1};
    if (call->serial == 0)
        call->serial = ++sup->last_serial;
    memcpy(call->arg, notif->data.args, sizeof(call->arg));
    sup->calls = call;
    sup->call_count++;
    return call;
}

static struct call *find_call(struct sup *sup, uint32_t serial)
{
    struct call *call = sup->calls;
    while (call != NULL && call->serial != serial)
        call = call->next;
    return call;
}

bool call_is_nonblocking(const struct call *call)
{
    return (fcntl(call->a, F_GETFL) & O_NONBLOCK) != 0;
}

bool call_is_valid(struct sup *sup, const struct call *call)
{
    uint64_t id = call->id;
    return id != 0 && ioctl(sup->notify, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

static void keep_lost(struct sup *sup, const struct call *call, int64_t value, int error)
{
    struct lost *lost = &sup->lost[sup->lost_next % LOST_MAX];
    if (call->tid == 0) /* nobody wants it */
        return;
    sup->lost_next++;
    if (lost->tid == 0)
        sup->lost_count++;
    *lost = (struct lost){.tid = call->tid, .nr = call->nr, .value = value, .error = error};
    memcpy(lost->arg, call->arg, sizeof(lost->arg));
}

/* The answer that thread @notif->pid did not take. True: it has it now. */
static bool give_lost(struct sup *sup, const struct seccomp_notif *notif)
{
    for (size_t i = 0; i < LOST_MAX; i++) {
        struct lost *lost = &sup->lost[i];
        if (lost->tid != (pid_t)notif->pid)
            continue;
        struct seccomp_notif_resp response = {
            .id = notif->id, .val = lost->value, .error = lost->error};
        bool is_same = lost->nr == notif->data.nr &&
                       memcmp(lost->arg, notif->data.args, sizeof(lost->arg)) == 0;
        if (is_same && ioctl(sup->notify, SECCOMP_IOCTL_NOTIF_SEND, &response) != 0)
            return true; /* once more a signal: it stays in the list */
        lost->tid = 0;
        sup->lost_count--;
        return is_same;
    }
    return false;
}

void call_return(struct sup *sup, struct call *call, int64_t result)
{
    struct seccomp_notif_resp response = {.id = call->id};
    if (result < 0)
        response.error = (int32_t)result;
    else
        response.val = result;
    /* EINTR: the thread had gone before anything was done, so the restarted call has all to do. */
    if ((call->id == 0 || ioctl(sup->notify, SECCOMP_IOCTL_NOTIF_SEND, &response) != 0) &&
        result != -EINTR)
        keep_lost(sup, call, response.val, response.error);
    end_call(sup, call);
}

void call_continue(struct sup *sup, struct call *call)
{
    struct seccomp_notif_resp response = {.id = call->id,
                                          .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    if (call->id != 0)
        (void)ioctl(sup->notify, SECCOMP_IOCTL_NOTIF_SEND, &response);
    sup->stat_continued++;
    end_call(sup, call);
}

/* Did the thread go on without its answer? ESRCH: in the instant in which it was to get one. */
static bool is_gone(int error)
{
    return error == ENOENT || error == EINPROGRESS || error == ESRCH;
}

bool call_return_fd(struct sup *sup, struct call *call, int fd, unsigned flags)
{
    struct seccomp_notif_addfd add = {.id = call->id,
                                      .flags = SECCOMP_ADDFD_FLAG_SEND,
                                      .srcfd = (uint32_t)fd,
                                      .newfd_flags = flags & SOCK_CLOEXEC};
    int r = call->id != 0 ? ioctl(sup->notify, SECCOMP_IOCTL_NOTIF_ADDFD, &add) : -1;
    int error = r < 0 ? errno : 0;
    if (r >= 0) {
        end_call(sup, call);
        return true;
    }
    if (is_gone(error))
        end_call(sup, call);
    else
        call_return(sup, call, -error); /* EMFILE and the like are the program's */
    return false;
}

int call_replace_fd(struct sup *sup, struct call *call, int fd, int at)
{
    struct seccomp_notif_addfd add = {.id = call->id,
                                      .flags = SECCOMP_ADDFD_FLAG_SETFD,
                                      .srcfd = (uint32_t)fd,
                                      .newfd = (uint32_t)at,
                                      .newfd_flags = peer_has_cloexec(call, at) ? O_CLOEXEC : 0};
    int r = call->id != 0 ? ioctl(sup->notify, SECCOMP_IOCTL_NOTIF_ADDFD, &add) : -1;
    int error = r < 0 ? errno : 0;
    close(fd);
    if (is_gone(error))
        return -EINTR; /* nothing was done: the restarted call does it */
    return r < 0 ? -error : 0;
}

/* Look at time-outs at @at_us, or before. */
static void look_later(struct sup *sup, int64_t at_us)
{
    struct itimerspec at = {.it_value = {.tv_sec = (time_t)(at_us / 1000000),
                                         .tv_nsec = (long)(at_us % 1000000) * 1000}};
    if (sup->look_at_us != 0 && sup->look_at_us <= at_us)
        return;
    sup->look_at_us = at_us;
    (void)timerfd_settime(sup->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

void call_limit(struct sup *sup, struct call *call, int option, int expired_error)
{
    struct timeval limit = {0};
    socklen_t len = sizeof(limit);
    if (call->deadline_us == 0 && getsockopt(call->a, SOL_SOCKET, option, &limit, &len) == 0 &&
        (limit.tv_sec != 0 || limit.tv_usec != 0)) {
        call->deadline_us = now_us() + (int64_t)limit.tv_sec * 1000000 + limit.tv_usec;
        call->expired_error = expired_error;
    }
    if (call->deadline_us != 0)
        look_later(sup, call->deadline_us);
}

void call_watch(struct sup *sup, struct call *call, uint32_t events, int option, int expired_error)
{
    if (call->is_watched)
        return;
    struct epoll_event event = {.events = events, .data.u64 = EVENT_CALL | call->serial};
    if (epoll_ctl(sup->epoll, EPOLL_CTL_ADD, call->a, &event) != 0) {
        call_return(sup, call, -ENOBUFS);
        return;
    }
    call->is_watched = true;
    look_later(sup, sup->look_at_us != 0 ? sup->look_at_us : now_us() + LOOK_AGAIN_US);
    call_limit(sup, call, option, expired_error);
}

/* The handler from its beginning; the time-out goes on. */
static void run_again(struct sup *sup, struct call *call)
{
    release_call(sup, call);
    call->handler(sup, call);
}

void call_resume(struct sup *sup, struct served *sock)
{
    /* A handler that runs may end its call and others: begin from the front each time. */
    for (struct call *call = sup->calls; call != NULL;) {
        if (call->is_deferred && call->sock == sock) {
            run_again(sup, call);
            call = sup->calls;
        } else {
            call = call->next;
        }
    }
}

void call_answer(struct sup *sup, const struct sock_response *response, const void *body)
{
    struct call *call = find_call(sup, response->id);
    if (call == NULL || !call->is_requested)
        return;
    struct served *sock = call->sock;
    bool was_adopting = sock != NULL && sock->is_adopting;
    if (was_adopting) {
        sock->is_adopting = false;
        sock->handle = response->handle;
        sock->users++;
    }
    call->is_requested = false;
    call->answered(sup, call, response, body);
    if (was_adopting) {
        call_resume(sup, sock);
        sock->users--;
    }
}

void call_fail_requests(struct sup *sup, int error)
{
    for (struct call *call = sup->calls; call != NULL;) {
        if (!call->is_requested) {
            call = call->next;
            continue;
        }
        struct served *sock = call->sock;
        call->is_requested = false;
        if (sock != NULL && sock->is_adopting) {
            sock->is_adopting = false;
            sock->users++;
            call_return(sup, call, error);
            call_resume(sup, sock);
            sock->users--;
        } else {
            call_return(sup, call, error);
        }
        call = sup->calls;
    }
}

/* ---- what ends calls from outside
 * ---------------------------------------------------------------- */

/* The thread does not wait for this any more. What the server does about it goes on. With
 * @for_good it will not come back for the answer either. */
static void abandon(struct sup *sup, struct call *call, bool for_good)
{
    call->id = 0;
    if (for_good)
        call->tid = 0;
    connect_cancel(sup, call);
    if (call->is_requested) {
        call->deadline_us = 0;
        return;
    }
    end_call(sup, call);
}

static bool is_same_call(const struct call *call, const struct seccomp_notif *notif)
{
    return call->nr == notif->data.nr &&
           memcmp(call->arg, notif->data.args, sizeof(call->arg)) == 0;
}

/* A thread makes one call at a time: an older one of it was cut off by a signal. True: that one
 * goes on for this notification. */
static bool continue_older(struct sup *sup, const struct seccomp_notif *notif)
{
    for (struct call *call = sup->calls; call != NULL; call = call->next) {
        if (call->tid != (pid_t)notif->pid)
            continue;
        if (is_same_call(call, notif)) {
            call->id = notif->id;
            return true;
        }
        abandon(sup, call, true);
        break; /* there was one at most */
    }
    return false;
}

static void thread_ended(struct sup *sup, pid_t tid)
{
    peer_ended(sup, tid);
    for (struct call *call = sup->calls, *next; call != NULL; call = next) {
        next = call->next;
        if (call->tid == tid)
            abandon(sup, call, true);
        else if (call->id != 0 && !call_is_valid(sup, call))
            abandon(sup, call, false); /* of the same process, perhaps */
    }
    for (size_t i = 0; i < LOST_MAX && sup->lost_count > 0; i++) {
        if (sup->lost[i].tid == tid) {
            sup->lost[i].tid = 0;
            sup->lost_count--;
        }
    }
}

/* The thread goes on; what the server does for the call it finishes. */
static void expire(struct sup *sup, struct call *call)
{
    struct seccomp_notif_resp response = {.id = call->id, .error = call->expired_error};
    if (!call->is_requested) {
        call_return(sup, call, call->expired_error);
        return;
    }
    (void)ioctl(sup->notify, SECCOMP_IOCTL_NOTIF_SEND, &response);
    abandon(sup, call, true);
}

/* Time-outs, and threads that left their call without a word. */
static void look_at_times(struct sup *sup)
{
    uint64_t count;
    int64_t now = now_us(), next = 0;
    if (read(sup->timer, &count, sizeof(count)) < 0)
        return;
    sup->look_at_us = 0;
    for (struct call *call = sup->calls, *after; call != NULL; call = after) {
        after = call->next;
        if (call->id == 0)
            continue;
        next = next != 0 ? next : now + LOOK_AGAIN_US;
        if (!call_is_valid(sup, call))
            abandon(sup, call, false);
        else if (call->deadline_us != 0 && call->deadline_us <= now)
            expire(sup, call);
        else if (call->deadline_us != 0 && call->deadline_us < next)
            next = call->deadline_us;
    }
    if (next != 0)
        look_later(sup, next);
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

static void take_notification(struct sup *sup, const struct seccomp_notif *notif)
{
    sup->stat_calls++;
    if (sup->lost_count > 0 && give_lost(sup, notif))
        return;
    if (sup->calls != NULL && continue_older(sup, notif))
        return;
    struct call *call = new_call(sup, notif);
    if (call != NULL) {
        call->handler(sup, call);
        return;
    }
    struct seccomp_notif_resp response = {.id = notif->id, .error = -ENOBUFS};
    (void)ioctl(sup->notify, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

/* The thread that waits for stopped calls and nothing else. */
static void *receive_calls(void *arg)
{
    struct sup *sup = arg;
    for (;;) {
        struct seccomp_notif notif = {0};
        int r = ioctl(sup->notify, SECCOMP_IOCTL_NOTIF_RECV, &notif);
        bool is_gone =
            r != 0 && errno != ENOENT && errno != EINTR; /* ENOENT: a signal was faster */
        pthread_mutex_lock(&sup->lock);
        bool is_over = sup->is_over || is_gone;
        if (r == 0 && !is_over) {
            take_notification(sup, &notif);
            if (sup->kept !=
                NULL) /* answers for others, that nothing would wake the other thread for */
                control_read(sup);
        }
        pthread_mutex_unlock(&sup->lock);
        if (is_over)
            return NULL;
    }
}

static void link_event(struct sup *sup, uint32_t ino)
{
    struct served *sock = sup->served[ino % SERVED_BUCKETS];
    while (sock != NULL && (uint32_t)sock->ino != ino)
        sock = sock->next;
    if (sock != NULL && sock->kind == SERVED_LINK)
        link_readable(sup, sock);
}

static void take_event(struct sup *sup, const struct epoll_event *event)
{
    uint32_t which = (uint32_t)event->data.u64;
    struct call *call;
    switch (event->data.u64 - which) {
    case EVENT_NOTIFY:
        sup->is_over = true; /* the only event that is asked for: a hang-up */
        break;
    case EVENT_TIMER:
        look_at_times(sup);
        break;
    case EVENT_CONTROL:
        control_read(sup);
        break;
    case EVENT_PEER:
        thread_ended(sup, (pid_t)which);
        break;
    case EVENT_LINK:
        link_event(sup, which);
        break;
    case EVENT_CALL:
        call = find_call(sup, which);
        if (call != NULL && call->is_watched && !call_is_valid(sup, call))
            abandon(sup, call, false);
        else if (call != NULL && call->is_watched)
            run_again(sup, call);
        break;
    default: /* EVENT_SIGNAL: for who called us */
        sup->has_signal = true;
        break;
    }
}

void sup_serve(struct sup *sup)
{
    struct epoll_event events[16];
    sup->has_signal = false;
    while (!sup->has_signal && !sup->is_over) {
        pthread_mutex_unlock(&sup->lock);
        int count = epoll_wait(sup->epoll, events, LEN(events), -1);
        pthread_mutex_lock(&sup->lock);
        for (int i = 0; i < count; i++)
            take_event(sup, &events[i]);
        if (sup->kept != NULL)
            control_read(sup);
    }
}

static int watch(struct sup *sup, int fd, uint64_t what)
{
    struct epoll_event event = {.events = what == EVENT_NOTIFY ? 0 : EPOLLIN, .data.u64 = what};
    return epoll_ctl(sup->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

int sup_init(struct sup *sup, int notify, int control, const char *path)
{
    sup->notify = notify;
    sup->control = control;
    sup->path = need_text(path, strlen(path));
    sup->sweep_at = 1024;
    sup->epoll = epoll_create1(EPOLL_CLOEXEC);
    sup->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (sup->epoll < 0 || sup->timer < 0)
        return -errno;
    pthread_mutex_init(&sup->lock, NULL);
    pthread_mutex_lock(&sup->lock);
    (void)ioctl(notify, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
    int r = watch(sup, notify, EVENT_NOTIFY);
    if (r == 0)
        r = watch(sup, sup->timer, EVENT_TIMER);
    if (r == 0 && control >= 0)
        r = watch(sup, control, EVENT_CONTROL);
    if (r == 0 && sup->signals >= 0)
        r = watch(sup, sup->signals, EVENT_SIGNAL);
    return r != 0 ? r : -pthread_create(&sup->receiver, NULL, receive_calls, sup);
}

void sup_fini(struct sup *sup)
{
    /* The other thread waits in the kernel until the last process has ended, or to our end. */
    sup->is_over = true;
    while (sup->calls != NULL)
        end_call(sup, sup->calls);
    while (sup->free_calls != NULL) {
        struct call *next = sup->free_calls->next;
        free(sup->free_calls);
        sup->free_calls = next;
    }
    served_free_all(sup);
    peer_free_all(sup);
    if (sup->control >= 0)
        close(sup->control);
    sup->control = -1;
    close(sup->epoll);
    close(sup->timer);
    free(sup->path);
    pthread_mutex_unlock(&sup->lock);
}
