/* SPDX-License-Identifier: ISC */
/* The calls that move data.
 *
 * Their first lines decide what the library costs everybody: one load, one comparison, one jump. A
 * connection of ours goes the same way, because the kernel's pair does all the work; afterwards an
 * error is looked at, since the kernel calls every end of a connection a reset and the server knows
 * the true reason. Only datagrams, and streams that are not connected yet, take the slow way.
 *
 * What it does not do: see the C library's own reads and writes (stdio on a socket works for
 * connections; datagrams would show their heads).
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "cmd/mirari-socket-preload/preload.h"

/* Streams know neither urgent data nor errors behind the queue. */
enum { ODD_FLAGS = MSG_OOB | MSG_ERRQUEUE | MSG_TRUNC | MSG_FASTOPEN };

void pre_reset_reason(int fd)
{
    struct pre_sock *s = pre_get(fd);
    if (s == NULL) {
        errno = ECONNRESET;
        return;
    }
    struct sock_option ask = {.level = SOL_SOCKET, .name = SO_ERROR, .len = sizeof(int)};
    struct {
        struct sock_option head;
        int value[2];
    } answer;
    memset(&answer, 0, sizeof(answer));
    int r = 0;
    if (!pre_has(s, PRE_HOST))
        r = pre_op_simple(s, fd, SOCK_GETOPT, PRE_BYTES(&ask, sizeof(ask)),
                          PRE_BYTES(&answer, sizeof(answer)));
    errno = r == 0 && answer.value[0] != 0 ? answer.value[0] : ECONNRESET;
    pre_put(s);
}

static inline ssize_t looked_at(ssize_t result, int fd)
{
    if (unlikely(result < 0 && errno == ECONNRESET))
        pre_reset_reason(fd);
    return result;
}

/* ---- streams that are not connected, odd flags
 * ---------------------------------------------------- */

/* Returns 0 if @s is connected, ENOTCONN, EAGAIN while it is on its way, or why that failed. */
static int not_connected(struct pre_sock *s, int fd)
{
    if (atomic_load(&s->state) == PRE_CONNECTING) {
        struct pollfd look = {.fd = fd, .events = POLLOUT};
        int reason = pre_progress(s, fd);
        if (reason < 0 && !(pre_real.fcntl(fd, F_GETFL) & O_NONBLOCK)) {
            if (poll(&look, 1, -1) < 0) /* a blocking socket waits for its connection */
                return errno;
            reason = pre_progress(s, fd);
        }
        return reason < 0 ? EAGAIN : reason;
    }
    if (atomic_load(&s->state) != PRE_CONNECTED)
        pre_update(s, fd);
    return atomic_load(&s->state) == PRE_CONNECTED ? 0 : ENOTCONN;
}

/* The kernel says EPIPE for all ends of a pair; TCP tells of a reset first, without a signal. */
static ssize_t pipe_end(int fd, bool is_silent)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (pre_real.getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == ECONNRESET) {
        pre_reset_reason(fd);
        return -1;
    }
    if (!is_silent)
        (void)raise(SIGPIPE);
    return pre_fail(EPIPE);
}

static inline ssize_t sent(ssize_t result, int fd, bool is_silent)
{
    return unlikely(result < 0 && errno == EPIPE) ? pipe_end(fd, is_silent) : result;
}

/* TCP only: received bytes are thrown away. */
static ssize_t discard(int fd, size_t len, int flags)
{
    char bin[16384];
    size_t done = 0;
    do {
        size_t want = len - done < sizeof(bin) ? len - done : sizeof(bin);
        ssize_t got = pre_real.recv(fd, bin, want, done == 0 ? flags & ~MSG_TRUNC : MSG_DONTWAIT);
        if (got <= 0)
            return done > 0 ? (ssize_t)done : got;
        done += (size_t)got;
        if ((size_t)got < want)
            break;
    } while (done < len && !(flags & MSG_PEEK));
    return (ssize_t)done;
}

static ssize_t stream_send(struct pre_sock *s, int fd, const struct msghdr *msg, int flags)
{
    struct msghdr plain = {.msg_iov = msg->msg_iov, .msg_iovlen = msg->msg_iovlen};
    if (pre_has(s, PRE_HOST))
        return pre_real.sendmsg(fd, msg, flags);
    if ((flags & MSG_FASTOPEN) && atomic_load(&s->state) == PRE_CONNECTED)
        return pre_fail(EISCONN);
    if ((flags & MSG_FASTOPEN) && atomic_load(&s->state) == PRE_NEW &&
        connect(fd, msg->msg_name, msg->msg_namelen) < 0)
        return -1;
    int r = not_connected(s, fd);
    if (r == ENOTCONN)
        return pipe_end(fd, (flags & MSG_NOSIGNAL) != 0);
    if (r != 0) /* A has room for some bytes even so */
        return pre_fail(r);
    if (flags & MSG_OOB)
        return pre_fail(EOPNOTSUPP);
    return sent(pre_real.sendmsg(fd, &plain, (flags & ~MSG_FASTOPEN) | MSG_NOSIGNAL), fd,
                (flags & MSG_NOSIGNAL) != 0);
}

static ssize_t stream_recv(struct pre_sock *s, int fd, struct msghdr *msg, int flags)
{
    if (pre_has(s, PRE_HOST))
        return pre_real.recvmsg(fd, msg, flags);
    if (flags & MSG_ERRQUEUE)
        return pre_fail(EAGAIN);
    if ((flags & MSG_OOB) && atomic_load(&s->state) != PRE_LISTENING)
        return pre_fail(EINVAL);
    int r = not_connected(s, fd);
    if (r == ENOTCONN && pre_has(s, PRE_STALE))
        return 0; /* the end of an attempt that failed, and was told */
    if (r != 0)
        return pre_fail(r);
    msg->msg_namelen = 0;
    if ((flags & MSG_TRUNC) && msg->msg_iovlen == 1)
        return looked_at(discard(fd, msg->msg_iov[0].iov_len, flags), fd);
    return looked_at(pre_real.recvmsg(fd, msg, flags & ~MSG_TRUNC), fd);
}

/* ---- the slow way: the word is not zero
 * -------------------------------------------------------------
 *
 * Never inlined, so that the calls themselves need no frame. */

#define SLOW __attribute__((noinline)) static

/* Can @msg be looked at? If not, the kernel says what is wrong with it. */
static bool has_pieces(const struct msghdr *msg)
{
    return !pre_is_bad(msg) && (int)msg->msg_namelen >= 0 &&
           (msg->msg_iovlen == 0 || !pre_is_bad(msg->msg_iov));
}

SLOW ssize_t slow_send(int fd, const struct msghdr *msg, int flags)
{
    struct pre_sock *s = has_pieces(msg) ? pre_get(fd) : NULL;
    if (s == NULL)
        return pre_real.sendmsg(fd, msg, flags);
    ssize_t r = unlikely(pre_has(s, PRE_LINK)) ? pre_link_send(s, msg)
                : s->is_udp                    ? pre_dgram_send(s, fd, msg, flags)
                                               : stream_send(s, fd, msg, flags);
    pre_put(s);
    return r;
}

SLOW ssize_t slow_recv(int fd, struct msghdr *msg, int flags)
{
    struct pre_sock *s = has_pieces(msg) ? pre_get(fd) : NULL;
    if (s == NULL)
        return pre_real.recvmsg(fd, msg, flags);
    ssize_t r = unlikely(pre_has(s, PRE_LINK)) ? pre_link_recv(fd, msg, flags)
                : s->is_udp                    ? pre_dgram_recv(s, fd, msg, flags)
                                               : stream_recv(s, fd, msg, flags);
    pre_put(s);
    return r;
}

/* A word that is out of date may belong to a file: there sendmsg() would not do for write(). */
static bool is_really_ours(int fd)
{
    struct pre_sock *s = pre_get(fd);
    if (s != NULL)
        pre_put(s);
    return s != NULL;
}

SLOW ssize_t slow_writev(int fd, const struct iovec *iov, int count)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count};
    if (count < 0 || count > IOV_MAX)
        return pre_real.writev(fd, iov, count);
    if (pre_entry(fd) & PRE_DATA)
        return is_really_ours(fd) ? slow_send(fd, &msg, 0) : pre_real.writev(fd, iov, count);
    return sent(pre_real.writev(fd, iov, count), fd, true);
}

SLOW ssize_t slow_readv(int fd, const struct iovec *iov, int count)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count};
    if (!(pre_entry(fd) & PRE_DATA) || count < 0 || !is_really_ours(fd))
        return looked_at(pre_real.readv(fd, iov, count), fd);
    return slow_recv(fd, &msg, 0);
}

SLOW ssize_t slow_write(int fd, const void *data, size_t len)
{
    /* Not send(), which could keep the signal back: sandboxes that allow write() may not allow it.
     */
    if (likely(!(pre_entry(fd) & PRE_DATA)))
        return sent(pre_real.write(fd, data, len), fd, true);
    return slow_writev(fd, &(struct iovec){(void *)(uintptr_t)data, len}, 1);
}

SLOW ssize_t slow_read(int fd, void *data, size_t len)
{
    if (likely(!(pre_entry(fd) & PRE_DATA)))
        return looked_at(pre_real.read(fd, data, len), fd);
    return slow_readv(fd, &(struct iovec){data, len}, 1);
}

static bool is_plain(int fd, int flags)
{
    return likely(!(pre_entry(fd) & PRE_DATA) && !(flags & ODD_FLAGS));
}

SLOW ssize_t slow_sendto(int fd, const void *data, size_t len, int flags, const struct sockaddr *to,
                         socklen_t to_len)
{
    if (is_plain(fd, flags)) /* a connection needs no address */
        return sent(pre_real.send(fd, data, len, flags | MSG_NOSIGNAL), fd,
                    (flags & MSG_NOSIGNAL) != 0);
    struct iovec iov = {(void *)(uintptr_t)data, len};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_name = (void *)(uintptr_t)to,
                         .msg_namelen = to != NULL ? to_len : 0};
    return slow_send(fd, &msg, flags);
}

SLOW ssize_t slow_recvfrom(int fd, void *data, size_t len, int flags, struct sockaddr *from,
                           socklen_t *from_len)
{
    if (is_plain(fd, flags))
        return looked_at(pre_real.recvfrom(fd, data, len, flags, from, from_len), fd);
    struct iovec iov = {data, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (from != NULL && pre_is_bad(from_len))
        return pre_fail(EFAULT);
    if (from != NULL) {
        msg.msg_name = from;
        msg.msg_namelen = *from_len;
    }
    ssize_t got = slow_recv(fd, &msg, flags);
    if (got >= 0 && from != NULL)
        *from_len = msg.msg_namelen;
    return got;
}

SLOW ssize_t slow_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    if (is_plain(fd, flags) && !pre_is_bad(msg) && msg->msg_name == NULL)
        return sent(pre_real.sendmsg(fd, msg, flags | MSG_NOSIGNAL), fd,
                    (flags & MSG_NOSIGNAL) != 0);
    return slow_send(fd, msg, flags);
}

/* Sockets of ours may come in by SCM_RIGHTS: pairs that the table does not know. */
SLOW void look_at_passed(struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            pre_forget(fd);
            pre_meet(fd);
        }
    }
}

SLOW ssize_t slow_recvmsg(int fd, struct msghdr *msg, int flags)
{
    if (is_plain(fd, flags))
        return looked_at(pre_real.recvmsg(fd, msg, flags), fd);
    return slow_recv(fd, msg, flags);
}

SLOW int slow_sendmmsg(int fd, struct mmsghdr *list, unsigned count, int flags)
{
    for (unsigned i = 0; i < count && i < INT32_MAX; i++) {
        ssize_t put = slow_sendmsg(fd, &list[i].msg_hdr, flags);
        if (put < 0)
            return i > 0 ? (int)i : -1;
        list[i].msg_len = (unsigned)put;
    }
    return (int)count;
}

static bool is_over(const struct timespec *begin, const struct timespec *timeout)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t past =
        (int64_t)(now.tv_sec - begin->tv_sec) * 1000000000 + now.tv_nsec - begin->tv_nsec;
    return past >= (int64_t)timeout->tv_sec * 1000000000 + timeout->tv_nsec;
}

SLOW int slow_recvmmsg(int fd, struct mmsghdr *list, unsigned count, int flags,
                       const struct timespec *timeout)
{
    struct timespec begin = {0, 0};
    int each = flags & ~MSG_WAITFORONE;
    if (timeout != NULL)
        clock_gettime(CLOCK_MONOTONIC, &begin);
    for (unsigned i = 0; i < count && i < INT32_MAX; i++) {
        ssize_t got = slow_recvmsg(fd, &list[i].msg_hdr, each);
        if (got < 0)
            return i > 0 ? (int)i : -1;
        list[i].msg_len = (unsigned)got;
        if (flags & MSG_WAITFORONE)
            each |= MSG_DONTWAIT;
        if (timeout != NULL && is_over(&begin, timeout)) /* as the kernel: after each datagram */
            return (int)i + 1;
    }
    return (int)count;
}

/* ---- the calls
 * ------------------------------------------------------------------------------------- */

#define IS_FOREIGN(fd) likely(pre_entry(fd) == 0)

HOOK ssize_t read(int fd, void *data, size_t len)
{
    return IS_FOREIGN(fd) ? pre_real.read(fd, data, len) : slow_read(fd, data, len);
}

HOOK ssize_t write(int fd, const void *data, size_t len)
{
    return IS_FOREIGN(fd) ? pre_real.write(fd, data, len) : slow_write(fd, data, len);
}

HOOK ssize_t readv(int fd, const struct iovec *iov, int count)
{
    return IS_FOREIGN(fd) ? pre_real.readv(fd, iov, count) : slow_readv(fd, iov, count);
}

HOOK ssize_t writev(int fd, const struct iovec *iov, int count)
{
    return IS_FOREIGN(fd) ? pre_real.writev(fd, iov, count) : slow_writev(fd, iov, count);
}

HOOK ssize_t send(int fd, const void *data, size_t len, int flags)
{
    return IS_FOREIGN(fd) ? pre_real.send(fd, data, len, flags)
                          : slow_sendto(fd, data, len, flags, NULL, 0);
}

HOOK ssize_t recv(int fd, void *data, size_t len, int flags)
{
    return IS_FOREIGN(fd) ? pre_real.recv(fd, data, len, flags)
                          : slow_recvfrom(fd, data, len, flags, NULL, NULL);
}

HOOK ssize_t sendto(int fd, const void *data, size_t len, int flags, __CONST_SOCKADDR_ARG to,
                    socklen_t to_len)
{
    return IS_FOREIGN(fd) ? pre_real.sendto(fd, data, len, flags, to.__sockaddr__, to_len)
                          : slow_sendto(fd, data, len, flags, to.__sockaddr__, to_len);
}

HOOK ssize_t recvfrom(int fd, void *restrict data, size_t len, int flags, __SOCKADDR_ARG from,
                      socklen_t *restrict from_len)
{
    return IS_FOREIGN(fd) ? pre_real.recvfrom(fd, data, len, flags, from.__sockaddr__, from_len)
                          : slow_recvfrom(fd, data, len, flags, from.__sockaddr__, from_len);
}

HOOK ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    return IS_FOREIGN(fd) ? pre_real.sendmsg(fd, msg, flags) : slow_sendmsg(fd, msg, flags);
}

HOOK ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    if (!IS_FOREIGN(fd))
        return slow_recvmsg(fd, msg, flags);
    if (likely(!pre_is_on || pre_is_bad(msg) || msg->msg_control == NULL))
        return pre_real.recvmsg(fd, msg, flags);
    ssize_t got = pre_real.recvmsg(fd, msg, flags);
    if (got >= 0 && msg->msg_controllen != 0)
        look_at_passed(msg);
    return got;
}

HOOK int sendmmsg(int fd, struct mmsghdr *list, unsigned count, int flags)
{
    return IS_FOREIGN(fd) ? pre_real.sendmmsg(fd, list, count, flags)
                          : slow_sendmmsg(fd, list, count, flags);
}

HOOK int recvmmsg(int fd, struct mmsghdr *list, unsigned count, int flags, struct timespec *timeout)
{
    return IS_FOREIGN(fd) ? pre_real.recvmmsg(fd, list, count, flags, timeout)
                          : slow_recvmmsg(fd, list, count, flags, timeout);
}

/* ---- what a compiler with _FORTIFY_SOURCE calls
 * ----------------------------------------------------- */

/* NOLINTBEGIN(bugprone-reserved-identifier,readability-function-size): names and forms of libc */
void __chk_fail(void) __attribute__((noreturn));
ssize_t __read_chk(int fd, void *data, size_t len, size_t room);
ssize_t __recv_chk(int fd, void *data, size_t len, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *restrict data, size_t len, size_t room, int flags,
                       __SOCKADDR_ARG from, socklen_t *restrict from_len);

HOOK ssize_t __read_chk(int fd, void *data, size_t len, size_t room)
{
    if (len > room)
        __chk_fail();
    return read(fd, data, len);
}

HOOK ssize_t __recv_chk(int fd, void *data, size_t len, size_t room, int flags)
{
    if (len > room)
        __chk_fail();
    return recv(fd, data, len, flags);
}

HOOK ssize_t __recvfrom_chk(int fd, void *restrict data, size_t len, size_t room, int flags,
                            __SOCKADDR_ARG from, socklen_t *restrict from_len)
{
    if (len > room)
        __chk_fail();
    return recvfrom(fd, data, len, flags, from, from_len);
}
/* NOLINTEND(bugprone-reserved-identifier,readability-function-size) */
