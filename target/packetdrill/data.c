/* SPDX-License-Identifier: ISC */
/* Reading and writing: every form is a message of pieces.
 *
 * Received views are taken from the stack only as far as a call wants them; what it did not read of
 * the last one is held by the socket (and makes close() a reset, as unread data in the stack does).
 * A blocking write ends when everything is queued, a read when there is something (MSG_WAITALL:
 * all).
 *
 * MSG_MORE corks the connection until a send without it.
 */
#include <stdlib.h>
#include <string.h>

#include <mirari/bytes.h>
#include <mirari/udp.h>

#include "lib/net/tcp/internal.h"
#include "target/packetdrill/internal.h"

/* ---- pieces ------------------------------------------------------------------------------------
 */

static size_t iov_total(const struct msghdr *msg)
{
    size_t total = 0;
    for (size_t i = 0; i < msg->msg_iovlen; i++)
        total += msg->msg_iov[i].iov_len;
    return total;
}

/* Copy [len] bytes between @data and the pieces of @msg at @offset. */
static void iov_copy(const struct msghdr *msg, size_t offset, uint8_t *data, size_t len,
                     bool to_msg)
{
    for (size_t i = 0; i < msg->msg_iovlen && len > 0; i++) {
        const struct iovec *iov = &msg->msg_iov[i];
        if (offset >= iov->iov_len) {
            offset -= iov->iov_len;
            continue;
        }
        size_t n = MIR_MIN(iov->iov_len - offset, len);
        uint8_t *at = (uint8_t *)iov->iov_base + offset;
        memcpy(to_msg ? at : data, to_msg ? data : at, n);
        data += n;
        len -= n;
        offset = 0;
    }
}

static bool is_bad(const struct msghdr *msg)
{
    if (msg->msg_iovlen > 1024 || (msg->msg_iovlen > 0 && msg->msg_iov == NULL))
        return true;
    for (size_t i = 0; i < msg->msg_iovlen; i++)
        if (msg->msg_iov[i].iov_base == NULL && msg->msg_iov[i].iov_len > 0)
            return true;
    return false;
}

/* ---- receiving ---------------------------------------------------------------------------------
 */

void px__held_release(struct px_sock *sock)
{
    for (uint32_t i = 0; i < sock->held_count; i++)
        mir_view_release(&sock->held[i]);
    sock->held_count = 0;
    sock->held_bytes = 0;
}

/* Hold at least @want bytes if they are there. Returns 0 or what the stack said last. */
static int hold(struct px_sock *sock, size_t want)
{
    while (sock->held_bytes < want && sock->held_count < PX_HELD_MAX) {
        struct mir_view *view = &sock->held[sock->held_count];
        int r = mir_tcp_recv_view(sock->tcp, view);
        if (r < 0)
            return r;
        sock->held_count++;
        sock->held_bytes += view->len;
    }
    return 0;
}

/* Give up to @len held bytes to @msg at @offset; returns how many. */
static size_t take(struct px_sock *sock, const struct msghdr *msg, size_t offset, size_t len,
                   bool peek)
{
    size_t taken = 0;
    uint32_t used = 0;
    for (uint32_t i = 0; i < sock->held_count && taken < len; i++) {
        struct mir_view *view = &sock->held[i];
        uint32_t n = (uint32_t)MIR_MIN((size_t)view->len, len - taken);
        iov_copy(msg, offset + taken, (uint8_t *)(uintptr_t)view->data, n, true);
        taken += n;
        if (peek)
            continue;
        mir_view_shrink_front(view, n);
        if (view->len == 0) {
            mir_view_release(view);
            used = i + 1;
        }
    }
    if (!peek) {
        sock->held_bytes -= (uint32_t)taken;
        sock->held_count -= used;
        memmove(sock->held, sock->held + used, sock->held_count * sizeof sock->held[0]);
    }
    return taken;
}

static ssize_t recv_tcp(struct px_sock *sock, int fd, struct msghdr *msg, int flags)
{
    struct px_host *px = sock->px;
    size_t want = iov_total(msg);
    size_t got = 0;
    mir_time_us deadline = px__deadline(sock, flags, sock->options.rcv_timeout_us);
    if (sock->state == PX_FRESH || sock->state == PX_LISTENING)
        return sock->so_error != 0 ? px__take_error(sock) : -ENOTCONN;
    for (;;) {
        int r = 0;
        if (sock->state == PX_CONNECTED)
            r = hold(sock, want - got);
        size_t n = take(sock, msg, got, want - got, (flags & MSG_PEEK) != 0);
        got += n;
        bool is_enough = got == want || !(flags & MSG_WAITALL) || (flags & MSG_PEEK);
        if (got > 0 && (is_enough || r == -MIR_EEOF))
            return (ssize_t)got;
        if (want == 0)
            return 0;
        if (n > 0 && r == 0)
            continue; /* more is in the stack */
        if (sock->so_error != 0)
            return got > 0 ? (ssize_t)got : px__take_error(sock);
        if (sock->shut_rd || (r < 0 && r != -MIR_EAGAIN))
            return (ssize_t)got; /* the end, or an error that was told before */
        r = px_wait(px, deadline);
        if (px__sock(px, fd) != sock)
            return -EBADF;
        if (r < 0) {
            bool is_news = sock->so_error != 0 || sock->held_bytes > 0 ||
                           (sock->tcp != NULL && (px__ready(sock) & POLLIN));
            if (!is_news)
                return got > 0 ? (ssize_t)got : r;
        }
    }
}

static ssize_t recv_udp(struct px_sock *sock, int fd, struct msghdr *msg, int flags)
{
    struct px_host *px = sock->px;
    static uint8_t bytes[65536];
    mir_time_us deadline = px__deadline(sock, flags, sock->options.rcv_timeout_us);
    while (sock->dgram_first == NULL) {
        if (sock->so_error != 0)
            return px__take_error(sock);
        if (sock->shut_rd)
            return 0;
        int r = px_wait(px, deadline);
        if (px__sock(px, fd) != sock)
            return -EBADF;
        if (r < 0 && sock->dgram_first == NULL && sock->so_error == 0)
            return r;
    }
    struct px_dgram *dgram = sock->dgram_first;
    size_t len = mir_buf_total(dgram->buf);
    size_t room = iov_total(msg);
    size_t n = MIR_MIN(len, room);
    if (n > sizeof bytes || mir_buf_copy_out(dgram->buf, 0, bytes, (uint32_t)n) < 0)
        return -EIO;
    iov_copy(msg, 0, bytes, n, true);
    px__sockaddr(sock, &dgram->from, msg->msg_name, &msg->msg_namelen);
    if (len > room)
        msg->msg_flags |= MSG_TRUNC;
    if (!(flags & MSG_PEEK)) {
        sock->dgram_first = dgram->next;
        if (sock->dgram_first == NULL)
            sock->dgram_last = NULL;
        sock->dgrams--;
        mir_buf_release(dgram->buf);
        free(dgram);
    }
    return (ssize_t)(flags & MSG_TRUNC ? len : n);
}

ssize_t px_recvmsg(struct px_host *px, int fd, struct msghdr *msg, int flags)
{
    struct px_sock *sock = px__sock(px, fd);
    if (sock == NULL)
        return -EBADF;
    if (sock->kind == PX_EPOLL)
        return -ENOTSOCK;
    if (is_bad(msg))
        return -EFAULT;
    msg->msg_flags = 0;
    msg->msg_controllen = 0;
    if (sock->kind == PX_UDP)
        return recv_udp(sock, fd, msg, flags);
    msg->msg_namelen = 0;
    ssize_t n = recv_tcp(sock, fd, msg, flags);
    px_settle(px); /* a window update may be due */
    return n;
}

ssize_t px_recv(struct px_host *px, int fd, void *data, size_t len, int flags)
{
    struct iovec iov = {data, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    return px_recvmsg(px, fd, &msg, flags);
}

/* ---- sending -----------------------------------------------------------------------------------
 */

/* 0, or why nothing can be written. */
static int may_write(struct px_sock *sock)
{
    if (sock->so_error != 0)
        return px__take_error(sock);
    if (sock->shut_wr || sock->state == PX_FRESH || sock->state == PX_LISTENING)
        return -EPIPE;
    return 0;
}

/* Queue what fits of [len] bytes at @offset; before the connection is open only if @early. Returns
 * how many, 0 for later, or negative errno. */
static ssize_t queue_some(struct px_sock *sock, const struct msghdr *msg, size_t offset, size_t len,
                          bool early)
{
    static uint8_t bytes[65536];
    size_t done = 0;
    if (sock->state == PX_CONNECTING && !early)
        return 0;
    while (done < len) {
        size_t n = MIR_MIN(len - done, sizeof bytes);
        size_t queued = 0;
        iov_copy(msg, offset + done, bytes, n, false);
        int r = mir_tcp_send(sock->tcp, bytes, n, &queued);
        if (r == -MIR_EAGAIN)
            break;
        if (r < 0)
            return done > 0 ? (ssize_t)done : -EPIPE;
        done += queued;
        if (queued < n)
            break;
    }
    return (ssize_t)done;
}

/* A call that blocks returns when the connection is open, though its data is on the way already. */
static ssize_t wait_open(struct px_sock *sock, ssize_t taken)
{
    mir_time_us deadline = px__deadline(sock, 0, sock->options.snd_timeout_us);
    while (sock->state == PX_CONNECTING && sock->so_error == 0) {
        int r = px_wait(sock->px, deadline);
        if (r < 0 && sock->state == PX_CONNECTING && sock->so_error == 0)
            return taken > 0 ? taken : r;
    }
    return sock->so_error != 0 ? px__take_error(sock) : taken;
}

/* MSG_FASTOPEN opens the connection. With a cookie of the peer the data goes into the SYN; else the
 * SYN asks for one and the data waits, or is not taken by a call that does not block. Returns the
 * bytes taken or negative errno. */
static ssize_t open_with(struct px_sock *sock, const struct msghdr *msg, int flags)
{
    bool is_patient = !sock->nonblock && !(flags & MSG_DONTWAIT);
    int r = 0;
    if (!sock->is_deferred)
        r = px__endpoint(sock, msg->msg_name, msg->msg_namelen, &sock->remote);
    if (r < 0)
        return r;
    bool has_cookie = px__fast_knows(sock);
    r = px__connect_start(sock);
    if (r < 0)
        return r;
    sock->is_deferred = false;
    pcb_of(sock->tcp)->wants_fast_open = true;
    if (has_cookie) {
        size_t len = iov_total(msg);
        size_t most = is_patient ? len : mir__tcp_fast_room(pcb_of(sock->tcp));
        ssize_t taken = queue_some(sock, msg, 0, MIR_MIN(len, most), true);
        px_settle(sock->px);
        return is_patient ? wait_open(sock, taken) : taken == 0 ? -EINPROGRESS : taken;
    }
    px_settle(sock->px);
    return is_patient ? 0 : -EINPROGRESS;
}

static ssize_t send_tcp(struct px_sock *sock, int fd, const struct msghdr *msg, int flags)
{
    struct px_host *px = sock->px;
    size_t len = iov_total(msg);
    size_t done = 0;
    mir_time_us deadline = px__deadline(sock, flags, sock->options.snd_timeout_us);
    if (sock->is_deferred || ((flags & MSG_FASTOPEN) && sock->state == PX_FRESH)) {
        ssize_t taken = open_with(sock, msg, flags);
        if (taken != 0)
            return taken;
    } else if ((flags & MSG_FASTOPEN) && msg->msg_name != NULL) {
        return sock->state == PX_CONNECTING ? -EALREADY : -EISCONN;
    }
    for (;;) {
        int r = may_write(sock);
        if (r < 0)
            return done > 0 ? (ssize_t)done : r;
        bool cork = (flags & MSG_MORE) != 0 || sock->options.cork;
        if (sock->state == PX_CONNECTED && mir_tcp_set_option(sock->tcp, MIR_TCP_CORK, cork) < 0)
            return -EINVAL;
        ssize_t n = queue_some(sock, msg, done, len - done, false);
        if (n < 0)
            return done > 0 ? (ssize_t)done : n;
        done += (size_t)n;
        if (done == len)
            return (ssize_t)done;
        px_settle(px);
        r = px_wait(px, deadline);
        if (px__sock(px, fd) != sock)
            return -EBADF;
        if (r < 0 && sock->so_error == 0)
            return done > 0 ? (ssize_t)done : r;
    }
}

static ssize_t send_udp(struct px_sock *sock, const struct msghdr *msg)
{
    static uint8_t bytes[65536];
    struct mir_endpoint to = sock->remote;
    size_t len = iov_total(msg);
    int r = 0;
    if (msg->msg_name != NULL)
        r = px__endpoint(sock, msg->msg_name, msg->msg_namelen, &to);
    else if (sock->state != PX_CONNECTED)
        r = -EDESTADDRREQ;
    if (r == 0 && len > 65507)
        r = -EMSGSIZE;
    if (r == 0 && sock->so_error != 0)
        r = px__take_error(sock);
    if (r == 0)
        r = sock->shut_wr ? -EPIPE : px__udp_ready(sock);
    if (r < 0)
        return r;
    iov_copy(msg, 0, bytes, len, false);
    r = mir_udp_send(sock->udp, &to, bytes, len);
    return r < 0 ? -mir_host_errno(r) : (ssize_t)len;
}

ssize_t px_sendmsg(struct px_host *px, int fd, const struct msghdr *msg, int flags)
{
    struct px_sock *sock = px__sock(px, fd);
    if (sock == NULL)
        return -EBADF;
    if (sock->kind == PX_EPOLL)
        return -ENOTSOCK;
    if (is_bad(msg))
        return -EFAULT;
    ssize_t n = sock->kind == PX_UDP ? send_udp(sock, msg) : send_tcp(sock, fd, msg, flags);
    px_settle(px);
    return n;
}

ssize_t px_send(struct px_host *px, int fd, const void *data, size_t len, int flags)
{
    struct iovec iov = {(void *)(uintptr_t)data, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    return px_sendmsg(px, fd, &msg, flags);
}
