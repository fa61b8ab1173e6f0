/* SPDX-License-Identifier: ISC */
/* The host of px.h as a shared object for the public packetdrill program.
 *
 * The program loads us with --so_filename, looks up packetdrill_interface_init() and fills a table
 * of functions by it: socket calls, packets in and out, sleep and clock. The layout of that table
 * is the program's (fields in this order, each taking the user data first); the declaration below
 * is made from that fact.
 *
 * Two threads call us: the main one, and one for calls that the script lets block. There a call
 * that blocks waits on a condition while the main thread moves the clock. After each step of time
 * the main thread lets the other one look and waits until it blocks again or is done, so a run does
 * not depend on the machine's scheduler. The program asks for the time when a
 * blocked call has returned: it is told the time at which it did, however far the clock is by then.
 *
 * The program waits by polling the clock for its last microseconds, so every question moves the
 * clock by one.
 *
 * A call made by the main thread that would block moves time itself. A script that expects a packet
 * which never comes gets an empty one after PATIENCE_US, which the program reports as an error.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <mirari/platform.h>

#include "target/packetdrill/internal.h"

#define PATIENCE_US (4 * 3600 * MIR_US_PER_S)

struct packetdrill_interface {
    void *userdata;
    void (*free)(void *);
    int (*socket)(void *, int, int, int);
    int (*bind)(void *, int, const struct sockaddr *, socklen_t);
    int (*listen)(void *, int, int);
    int (*accept)(void *, int, struct sockaddr *, socklen_t *);
    int (*connect)(void *, int, const struct sockaddr *, socklen_t);
    ssize_t (*read)(void *, int, void *, size_t);
    ssize_t (*readv)(void *, int, const struct iovec *, int);
    ssize_t (*recv)(void *, int, void *, size_t, int);
    ssize_t (*recvfrom)(void *, int, void *, size_t, int, struct sockaddr *, socklen_t *);
    ssize_t (*recvmsg)(void *, int, struct msghdr *, int);
    ssize_t (*write)(void *, int, const void *, size_t);
    ssize_t (*writev)(void *, int, const struct iovec *, int);
    ssize_t (*send)(void *, int, const void *, size_t, int);
    ssize_t (*sendto)(void *, int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    ssize_t (*sendmsg)(void *, int, const struct msghdr *, int);
    int (*fcntl)(void *, int, int, ...);
    int (*ioctl)(void *, int, unsigned long, ...);
    int (*close)(void *, int);
    int (*shutdown)(void *, int, int);
    int (*getsockopt)(void *, int, int, int, void *, socklen_t *);
    int (*setsockopt)(void *, int, int, int, const void *, socklen_t);
    int (*poll)(void *, struct pollfd *, nfds_t, int);
    int (*netdev_send)(void *, const void *, size_t);
    int (*netdev_receive)(void *, void *, size_t *, long long *);
    int (*usleep)(void *, useconds_t);
    int (*gettimeofday)(void *, struct timeval *, struct timezone *);
    int (*epoll_create)(void *, int);
    int (*epoll_ctl)(void *, int, int, int, struct epoll_event *);
    int (*epoll_wait)(void *, int, struct epoll_event *, int, int);
    int (*pipe)(void *, int *);
    int (*splice)(void *, int, loff_t *, int, loff_t *, size_t, unsigned);
};

struct so {
    struct px_host px; /* must be first */
    pthread_mutex_t lock;
    pthread_cond_t moved;  /* time or a socket: blocked calls look again */
    pthread_cond_t looked; /* a blocked call has looked */
    pthread_t mover;       /* the main thread: its own calls move time rather than block */
    uint32_t blocked;      /* calls that wait in `moved` ... */
    uint32_t looking;      /* ... and those woken and not yet blocked again */
    bool has_end;          /* the other thread's call ended at end_us */
    bool has_left;         /* ... after having been blocked */
    mir_time_us end_us;
};

void packetdrill_interface_init(const char *flags, struct packetdrill_interface *interface);

void mir_platform_abort(const char *text)
{
    fflush(stdout);
    fprintf(stderr, "%s\n", text);
    abort();
}

static bool is_mover(const struct so *so)
{
    return pthread_equal(so->mover, pthread_self()) != 0;
}

/* Let calls that wait look at what has changed. The lock is held. */
static void let_look(struct so *so)
{
    struct timespec limit;
    if (so->blocked == 0)
        return;
    so->looking += so->blocked;
    so->blocked = 0;
    pthread_cond_broadcast(&so->moved);
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 5;
    while (so->looking > 0 && pthread_cond_timedwait(&so->looked, &so->lock, &limit) == 0) {
    }
}

/* px_host.block: only the other thread waits; the main one moves time. */
static bool block(void *arg, mir_time_us deadline_us)
{
    struct so *so = arg;
    if (is_mover(so)) {
        uint64_t before = so->px.changes;
        mir_time_us end = MIR_MIN(deadline_us, so->px.now_us + PATIENCE_US);
        while (so->px.changes == before && so->px.now_us < end)
            px_run_until(&so->px, MIR_MIN(end, so->px.now_us + 1000));
        return so->px.changes != before || so->px.now_us >= deadline_us;
    }
    if (so->looking > 0) {
        so->looking--;
        pthread_cond_signal(&so->looked);
    }
    so->has_left = true;
    so->blocked++;
    pthread_cond_wait(&so->moved, &so->lock);
    return true;
}

/* Move time, a millisecond at most in one go, as the blocked calls' deadlines want it. */
static void move_until(struct so *so, mir_time_us at_us)
{
    struct px_host *px = &so->px;
    while (px->now_us < at_us) {
        mir_time_us step = so->blocked > 0 ? MIR_MIN(at_us, px->now_us + 1000) : at_us;
        px_run_until(px, step);
        let_look(so);
    }
}

static struct so *enter(void *userdata)
{
    struct so *so = userdata;
    pthread_mutex_lock(&so->lock);
    return so;
}

static ssize_t leave(struct so *so, ssize_t result)
{
    if (is_mover(so)) {
        let_look(so);
    } else {
        if (so->looking > 0) {
            so->looking--;
            pthread_cond_signal(&so->looked);
        }
        if (so->has_left) {
            so->has_end = true;
            so->end_us = so->px.now_us;
        }
        so->has_left = false;
    }
    pthread_mutex_unlock(&so->lock);
    if (result >= 0)
        return result;
    errno = (int)-result;
    return -1;
}

/* ---- calls ------------------------------------------------------------------------------------
 */

#define CALL(so, call) (int)leave(so, call)

static void so_free(void *userdata)
{
    struct so *so = userdata;
    size_t left = px_close(&so->px);
    if (left != 0)
        fprintf(stderr, "mirari: %zu bytes or timers were left\n", left);
    pthread_mutex_destroy(&so->lock);
    pthread_cond_destroy(&so->moved);
    pthread_cond_destroy(&so->looked);
    free(so);
}

static int so_socket(void *userdata, int domain, int type, int protocol)
{
    struct so *so = enter(userdata);
    return CALL(so, px_socket(&so->px, domain, type, protocol));
}

static int so_bind(void *userdata, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct so *so = enter(userdata);
    return CALL(so, px_bind(&so->px, fd, addr, len));
}

static int so_listen(void *userdata, int fd, int backlog)
{
    struct so *so = enter(userdata);
    return CALL(so, px_listen(&so->px, fd, backlog));
}

static int so_accept(void *userdata, int fd, struct sockaddr *addr, socklen_t *len)
{
    struct so *so = enter(userdata);
    return CALL(so, px_accept(&so->px, fd, addr, len, 0));
}

static int so_connect(void *userdata, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct so *so = enter(userdata);
    return CALL(so, px_connect(&so->px, fd, addr, len));
}

static ssize_t so_recvmsg(void *userdata, int fd, struct msghdr *msg, int flags)
{
    struct so *so = enter(userdata);
    return leave(so, px_recvmsg(&so->px, fd, msg, flags));
}

static ssize_t so_readv(void *userdata, int fd, const struct iovec *iov, int count)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count};
    return so_recvmsg(userdata, fd, &msg, 0);
}

static ssize_t so_recvfrom(void *userdata, int fd, void *data, size_t len, int flags,
                           struct sockaddr *addr, socklen_t *addr_len)
{
    struct iovec iov = {data, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_name = addr};
    if (addr != NULL && addr_len != NULL)
        msg.msg_namelen = *addr_len;
    ssize_t n = so_recvmsg(userdata, fd, &msg, flags);
    if (n >= 0 && addr_len != NULL)
        *addr_len = msg.msg_namelen;
    return n;
}

static ssize_t so_recv(void *userdata, int fd, void *data, size_t len, int flags)
{
    return so_recvfrom(userdata, fd, data, len, flags, NULL, NULL);
}

static ssize_t so_read(void *userdata, int fd, void *data, size_t len)
{
    return so_recvfrom(userdata, fd, data, len, 0, NULL, NULL);
}

static ssize_t so_sendmsg(void *userdata, int fd, const struct msghdr *msg, int flags)
{
    struct so *so = enter(userdata);
    return leave(so, px_sendmsg(&so->px, fd, msg, flags));
}

static ssize_t so_writev(void *userdata, int fd, const struct iovec *iov, int count)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count};
    return so_sendmsg(userdata, fd, &msg, 0);
}

static ssize_t so_sendto(void *userdata, int fd, const void *data, size_t len, int flags,
                         const struct sockaddr *addr, socklen_t addr_len)
{
    struct iovec iov = {(void *)(uintptr_t)data, len};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_name = (void *)(uintptr_t)addr,
        .msg_namelen = addr_len,
    };
    return so_sendmsg(userdata, fd, &msg, flags);
}

static ssize_t so_send(void *userdata, int fd, const void *data, size_t len, int flags)
{
    return so_sendto(userdata, fd, data, len, flags, NULL, 0);
}

static ssize_t so_write(void *userdata, int fd, const void *data, size_t len)
{
    return so_sendto(userdata, fd, data, len, 0, NULL, 0);
}

static int so_fcntl(void *userdata, int fd, int command, ...)
{
    struct so *so = enter(userdata);
    long arg = 0;
    if (command == F_SETFL || command == F_SETFD) {
        va_list args;
        va_start(args, command);
        arg = va_arg(args, long);
        va_end(args);
    }
    return CALL(so, px_fcntl(&so->px, fd, command, arg));
}

static int so_ioctl(void *userdata, int fd, unsigned long request, ...)
{
    struct so *so = enter(userdata);
    va_list args;
    va_start(args, request);
    int *value = va_arg(args, int *);
    va_end(args);
    return CALL(so, px_ioctl(&so->px, fd, request, value));
}

static int so_close(void *userdata, int fd)
{
    struct so *so = enter(userdata);
    return CALL(so, px_close_fd(&so->px, fd));
}

static int so_shutdown(void *userdata, int fd, int how)
{
    struct so *so = enter(userdata);
    return CALL(so, px_shutdown(&so->px, fd, how));
}

static int so_getsockopt(void *userdata, int fd, int level, int name, void *value, socklen_t *len)
{
    struct so *so = enter(userdata);
    return CALL(so, px_getsockopt(&so->px, fd, level, name, value, len));
}

static int so_setsockopt(void *userdata, int fd, int level, int name, const void *value,
                         socklen_t len)
{
    struct so *so = enter(userdata);
    return CALL(so, px_setsockopt(&so->px, fd, level, name, value, len));
}

static int so_poll(void *userdata, struct pollfd *fds, nfds_t count, int timeout_ms)
{
    struct so *so = enter(userdata);
    return CALL(so, px_poll(&so->px, fds, count, timeout_ms));
}

static int so_epoll_create(void *userdata, int size)
{
    struct so *so = enter(userdata);
    return CALL(so, size > 0 ? px_epoll_create(&so->px) : -EINVAL);
}

static int so_epoll_ctl(void *userdata, int epfd, int op, int fd, struct epoll_event *event)
{
    struct so *so = enter(userdata);
    return CALL(so, px_epoll_ctl(&so->px, epfd, op, fd, event));
}

static int so_epoll_wait(void *userdata, int epfd, struct epoll_event *events, int max,
                         int timeout_ms)
{
    struct so *so = enter(userdata);
    return CALL(so, px_epoll_wait(&so->px, epfd, events, max, timeout_ms));
}

static int so_pipe(void *userdata, int *fds)
{
    (void)userdata, (void)fds;
    errno = ENOSYS;
    return -1;
}

static int so_splice(void *userdata, int in, loff_t *in_at, int out, loff_t *out_at, size_t len,
                     unsigned flags)
{
    (void)userdata, (void)in, (void)in_at, (void)out, (void)out_at, (void)len, (void)flags;
    errno = ENOSYS;
    return -1;
}

/* The program closes what is left open itself: descriptors must be its own. */
static int take_fd(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void give_fd(int fd)
{
    close(fd);
}

/* ---- the wire and the clock -------------------------------------------------------------------
 */

static int so_netdev_send(void *userdata, const void *packet, size_t len)
{
    struct so *so = enter(userdata);
    return CALL(so, px_inject(&so->px, packet, len));
}

static int so_netdev_receive(void *userdata, void *packet, size_t *len, long long *at_us)
{
    struct so *so = enter(userdata);
    struct px_packet *got = NULL;
    mir_time_us end = so->px.now_us + PATIENCE_US;
    while (so->px.now_us < end) {
        mir_time_us step = so->blocked > 0 ? MIR_MIN(end, so->px.now_us + 1000) : end;
        got = px_receive(&so->px, step);
        if (got != NULL)
            break;
        let_look(so);
    }
    *at_us = (long long)(got != NULL ? got->at_us : so->px.now_us);
    *len = got != NULL ? MIR_MIN(*len, (size_t)got->len) : 0;
    if (got != NULL)
        memcpy(packet, got->data, *len);
    free(got);
    return CALL(so, 0);
}

static int so_usleep(void *userdata, useconds_t span_us)
{
    struct so *so = enter(userdata);
    move_until(so, so->px.now_us + span_us);
    return CALL(so, 0);
}

static int so_gettimeofday(void *userdata, struct timeval *tv, struct timezone *tz)
{
    struct so *so = enter(userdata);
    mir_time_us now = so->px.now_us;
    (void)tz;
    if (so->has_end && !is_mover(so)) {
        now = so->end_us;
        so->has_end = false;
    } else {
        move_until(so, now + 1);
    }
    tv->tv_sec = (time_t)(now / MIR_US_PER_S);
    tv->tv_usec = (suseconds_t)(now % MIR_US_PER_S);
    return CALL(so, 0);
}

__attribute__((visibility("default"))) void
packetdrill_interface_init(const char *flags, struct packetdrill_interface *interface)
{
    struct px_config config = {0};
    struct so *so = calloc(1, sizeof *so);
    char text[1024] = "";
    if (flags != NULL)
        snprintf(text, sizeof text, "%s", flags);
    const char *wrong = px_config_parse(&config, text);
    int r = so == NULL || wrong != NULL ? -MIR_EINVAL : px_open(&so->px, &config);
    if (r < 0) {
        fprintf(stderr, "mirari: so_flags: %s\n", wrong != NULL ? wrong : mir_strerror(r));
        exit(1);
    }
    so->mover = pthread_self();
    pthread_mutex_init(&so->lock, NULL);
    pthread_cond_init(&so->moved, NULL);
    pthread_cond_init(&so->looked, NULL);
    so->px.block = block;
    so->px.block_arg = so;
    so->px.fd_take = take_fd;
    so->px.fd_give = give_fd;
    *interface = (struct packetdrill_interface){
        .userdata = so,
        .free = so_free,
        .socket = so_socket,
        .bind = so_bind,
        .listen = so_listen,
        .accept = so_accept,
        .connect = so_connect,
        .read = so_read,
        .readv = so_readv,
        .recv = so_recv,
        .recvfrom = so_recvfrom,
        .recvmsg = so_recvmsg,
        .write = so_write,
        .writev = so_writev,
        .send = so_send,
        .sendto = so_sendto,
        .sendmsg = so_sendmsg,
        .fcntl = so_fcntl,
        .ioctl = so_ioctl,
        .close = so_close,
        .shutdown = so_shutdown,
        .getsockopt = so_getsockopt,
        .setsockopt = so_setsockopt,
        .poll = so_poll,
        .netdev_send = so_netdev_send,
        .netdev_receive = so_netdev_receive,
        .usleep = so_usleep,
        .gettimeofday = so_gettimeofday,
        .epoll_create = so_epoll_create,
        .epoll_ctl = so_epoll_ctl,
        .epoll_wait = so_epoll_wait,
        .pipe = so_pipe,
        .splice = so_splice,
    };
}
