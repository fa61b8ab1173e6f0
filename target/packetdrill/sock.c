/* SPDX-License-Identifier: ISC */
/* Descriptors and the life of sockets: from socket() to close().
 *
 * A TCP socket is a small object around a connection or a listener of the stack:
 *
 *   socket ──> FRESH ── listen() ──> LISTENING ── a connection: a new CONNECTED socket waits in the
 *                │                                list until accept() gives it a descriptor
 *                └── connect() ──> CONNECTING ──> CONNECTED
 *                                      └── refused, timed out ──> FRESH, error pending
 *
 * The handler of a connection only notes what happened and wakes whoever waits; all state is asked
 * of the connection when a call needs it. An error that ended the connection is told once, as errno
 * of the next call or by SO_ERROR, as on Linux.
 *
 * accept() takes a peer that has completed the handshake; beyond PX_ACCEPT_MAX of them new ones are
 * aborted, where Linux would let them wait half-open.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <mirari/udp.h>

#include "lib/net/tcp/internal.h"
#include "target/packetdrill/internal.h"

/* ---- descriptors ------------------------------------------------------------------------------
 */

struct px_sock *px__sock(struct px_host *px, int fd)
{
    return fd >= 0 && fd < (int)PX_FDS_MAX ? px->fd[fd] : NULL;
}

int px__fd_new(struct px_host *px, struct px_sock *sock)
{
    if (px->fd_take != NULL) {
        int fd = px->fd_take();
        if (fd >= (int)PX_FDS_MAX)
            px->fd_give(fd);
        if (fd < 0 || fd >= (int)PX_FDS_MAX)
            return -EMFILE;
        MIR_ASSERT(px->fd[fd] == NULL);
        px->fd[fd] = sock;
        return fd;
    }
    for (int fd = PX_FD_FIRST; fd < (int)PX_FDS_MAX; fd++) {
        if (px->fd[fd] == NULL) {
            px->fd[fd] = sock;
            return fd;
        }
    }
    return -EMFILE;
}

int px__take_error(struct px_sock *sock)
{
    int error = sock->so_error;
    sock->so_error = 0;
    return -error;
}

mir_time_us px__deadline(const struct px_sock *sock, int flags, int64_t timeout_us)
{
    if (sock->nonblock || (flags & MSG_DONTWAIT))
        return sock->px->now_us;
    return timeout_us != 0 ? sock->px->now_us + (mir_time_us)timeout_us : MIR_TIME_NEVER;
}

/* ---- addresses --------------------------------------------------------------------------------
 */

int px__endpoint(const struct px_sock *sock, const struct sockaddr *addr, socklen_t len,
                 struct mir_endpoint *ep)
{
    if (addr == NULL)
        return -EFAULT;
    if (len < (socklen_t)sizeof(sa_family_t))
        return -EINVAL;
    if (addr->sa_family == AF_INET && sock->domain == AF_INET) {
        struct sockaddr_in in;
        if (len < (socklen_t)sizeof in)
            return -EINVAL;
        memcpy(&in, addr, sizeof in);
        ep->ip = mir_ip_from_v4(ntohl(in.sin_addr.s_addr));
        ep->port = ntohs(in.sin_port);
        return 0;
    }
    if (addr->sa_family == AF_INET6 && sock->domain == AF_INET6) {
        struct sockaddr_in6 in6;
        if (len < 24)
            return -EINVAL;
        memset(&in6, 0, sizeof in6);
        memcpy(&in6, addr, MIR_MIN((size_t)len, sizeof in6));
        memcpy(ep->ip.bytes, &in6.sin6_addr, 16);
        ep->port = ntohs(in6.sin6_port);
        return 0;
    }
    return -EAFNOSUPPORT;
}

void px__sockaddr(const struct px_sock *sock, const struct mir_endpoint *ep, struct sockaddr *addr,
                  socklen_t *len)
{
    union {
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } u;
    socklen_t full = sizeof u.in;
    if (addr == NULL || len == NULL)
        return;
    memset(&u, 0, sizeof u);
    if (sock->domain == AF_INET6) {
        full = sizeof u.in6;
        u.in6.sin6_family = AF_INET6;
        u.in6.sin6_port = htons(ep->port);
        memcpy(&u.in6.sin6_addr, ep->ip.bytes, 16);
    } else {
        u.in.sin_family = AF_INET;
        u.in.sin_port = htons(ep->port);
        u.in.sin_addr.s_addr = htonl(mir_ip_is_v4(&ep->ip) ? mir_ip_to_v4(&ep->ip) : 0);
    }
    memcpy(addr, &u, MIR_MIN(*len, full));
    *len = full;
}

int px_getname(struct px_host *px, int fd, struct sockaddr *addr, socklen_t *len, bool peer)
{
    struct px_sock *sock = px__sock(px, fd);
    if (sock == NULL)
        return -EBADF;
    if (sock->kind == PX_EPOLL)
        return -ENOTSOCK;
    struct mir_endpoint local = sock->local;
    struct mir_endpoint remote = sock->remote;
    if (sock->tcp != NULL)
        mir_tcp_get_endpoints(sock->tcp, &local, &remote);
    else if (peer && remote.port == 0)
        return -ENOTCONN;
    if (peer && sock->state != PX_CONNECTED && sock->kind == PX_TCP)
        return -ENOTCONN;
    px__sockaddr(sock, peer ? &remote : &local, addr, len);
    return 0;
}

/* ---- what the stack tells ---------------------------------------------------------------------
 */

/* As Linux's tcp_reset(): a peer that had finished and resets gives EPIPE. */
static int errno_of_end(const struct px_sock *sock, const struct mir_tcp *tcp)
{
    int error = mir_host_errno(mir_tcp_error(tcp));
    if (error == ECONNRESET && sock->had_eof && !sock->shut_wr)
        return EPIPE;
    return error;
}

static void on_tcp(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct px_sock *sock = arg;
    sock->edges++;
    if ((events & MIR_TCP_CONNECTED) && sock->state == PX_CONNECTING)
        sock->state = PX_CONNECTED;
    if (events & MIR_TCP_READABLE)
        sock->had_eof |= pcb_of(tcp)->fin_received;
    if (events & MIR_TCP_FAILED)
        sock->so_error = errno_of_end(sock, tcp);
    px_changed(sock->px);
}

static struct px_sock *sock_new(struct px_host *px, enum px_kind kind, int domain)
{
    struct px_sock *sock = calloc(1, sizeof *sock);
    if (sock == NULL)
        return NULL;
    sock->px = px;
    sock->kind = kind;
    sock->domain = domain;
    return sock;
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp, void *arg)
{
    struct px_sock *parent = arg;
    struct px_sock *sock = NULL;
    (void)listener;
    if (parent->accept_count < PX_ACCEPT_MAX)
        sock = sock_new(parent->px, PX_TCP, parent->domain);
    if (sock == NULL) {
        mir_tcp_abort(tcp);
        return;
    }
    sock->tcp = tcp;
    sock->state = PX_CONNECTED;
    sock->options = parent->options;
    px__options_apply(sock);
    mir_tcp_set_handler(tcp, on_tcp, sock);
    if (parent->accept_last != NULL)
        parent->accept_last->accept_next = sock;
    else
        parent->accept_first = sock;
    parent->accept_last = sock;
    parent->accept_count++;
    parent->edges++;
    px_changed(parent->px);
}

static void on_udp(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf,
                   void *arg)
{
    struct px_sock *sock = arg;
    (void)udp;
    struct px_dgram *dgram = NULL;
    if (sock->dgrams < PX_DGRAMS_MAX)
        dgram = calloc(1, sizeof *dgram);
    if (dgram == NULL) {
        mir_buf_release(buf);
        return;
    }
    dgram->from = meta->from;
    dgram->buf = buf;
    if (sock->dgram_last != NULL)
        sock->dgram_last->next = dgram;
    else
        sock->dgram_first = dgram;
    sock->dgram_last = dgram;
    sock->dgrams++;
    sock->edges++;
    px_changed(sock->px);
}

/* Linux tells a connected socket only, unless it asked for all. */
static void on_udp_error(struct mir_udp *udp, const struct mir_udp_error *error, void *arg)
{
    struct px_sock *sock = arg;
    (void)udp;
    if (sock->state != PX_CONNECTED)
        return;
    sock->so_error = mir_host_errno(error->err);
    sock->edges++;
    px_changed(sock->px);
}

/* ---- calls ------------------------------------------------------------------------------------
 */

int px_socket(struct px_host *px, int domain, int type, int protocol)
{
    int base = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (domain != AF_INET && domain != AF_INET6)
        return -EAFNOSUPPORT;
    bool is_tcp = base == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP);
    bool is_udp = base == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP);
    if (!is_tcp && !is_udp)
        return base == SOCK_STREAM || base == SOCK_DGRAM ? -EPROTONOSUPPORT : -ESOCKTNOSUPPORT;
    struct px_sock *sock = sock_new(px, is_tcp ? PX_TCP : PX_UDP, domain);
    if (sock == NULL)
        return -ENOMEM;
    sock->nonblock = (type & SOCK_NONBLOCK) != 0;
    int fd = px__fd_new(px, sock);
    if (fd < 0)
        free(sock);
    return fd;
}

int px__udp_ready(struct px_sock *sock)
{
    if (sock->udp != NULL)
        return 0;
    struct mir_udp_config config = {
        .local = sock->local,
        .handler = on_udp,
        .on_error = on_udp_error,
        .arg = sock,
        .reuse_addr = sock->options.reuse_addr,
    };
    int r = mir_udp_open_config(sock->px->stack, &config, &sock->udp);
    if (r < 0)
        return -mir_host_errno(r);
    sock->udp->ops->local(sock->udp, &sock->local);
    return 0;
}

int px_bind(struct px_host *px, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct px_sock *sock = px__sock(px, fd);
    struct mir_endpoint local;
    if (sock == NULL)
        return -EBADF;
    if (sock->kind == PX_EPOLL)
        return -ENOTSOCK;
    int r = px__endpoint(sock, addr, len, &local);
    if (r < 0)
        return r;
    if (sock->has_local || sock->state != PX_FRESH)
        return -EINVAL;
    if (mir_ip_is_any(&local.ip))
        memset(&local.ip, 0, sizeof local.ip);
    else if (!mir__ip_is_local(px->net, &local.ip))
        return -EADDRNOTAVAIL;
    sock->local = local;
    if (sock->kind == PX_UDP)
        r = px__udp_ready(sock);
    sock->has_local = r == 0;
    return r;
}

int px_listen(struct px_host *px, int fd, int backlog)
{
    struct px_sock *sock = px__sock(px, fd);
    if (sock == NULL)
        return -EBADF;
    if (sock->kind != PX_TCP)
        return sock->kind == PX_UDP ? -EOPNOTSUPP : -ENOTSOCK;
    if (sock->state == PX_LISTENING)
        return 0;
    if (sock->state != PX_FRESH)
        return -EINVAL;
    struct mir_tcp_listen_config config = {
        .local = sock->local,
        .backlog = (uint32_t)MIR_MIN(MIR_MAX(backlog, 1), 4096),
        .on_accept = on_accept,
        .arg = sock,
        .rcvbuf_bytes = sock->options.rcvbuf,
        .mss_max = sock->options.maxseg,
        .fastopen_max = sock->options.fastopen,
    };
    if (px->fastopen_all && config.fastopen_max == 0)
        config.fastopen_max = config.backlog;
    int r = mir_tcp_listen(px->stack, &config, &sock->listener);
    if (r < 0)
        return -mir_host_errno(r);
    sock->local = sock->listener->local;
    sock->state = PX_LISTENING;
    return 0;
}

int px_accept(struct px_host *px, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    struct px_sock *sock = px__sock(px, fd);
    if (sock == NULL)
        return -EBADF;
    if (sock->kind != PX_TCP)
        return sock->kind == PX_UDP ? -EOPNOTSUPP : -ENOTSOCK;
    mir_time_us deadline = px__deadline(sock, 0, sock->options.rcv_timeout_us);
    for (;;) {
        if (sock->state != PX_LISTENING)
            return -EINVAL;
        if (sock->accept_first != NULL)
            break;
        int r = px_wait(px, deadline);
        if (r < 0 && sock->accept_first == NULL)
            return r;
        if (px__sock(px, fd) != sock)
            return -EBADF;
    }
    struct px_sock *child = sock->accept_first;
    int got = px__fd_new(px, child);
    if (got < 0)
        return got;
    sock->accept_first = child->accept_next;
    if (sock->accept_first == NULL)
        sock->accept_last = NULL;
    sock->accept_count--;
    child->accept_next = NULL;
    child->nonblock = (flags & SOCK_NONBLOCK) != 0;
    mir_tcp_get_endpoints(child->tcp, &child->local, &child->remote);
    px__sockaddr(child, &child->remote, addr, len);
    return got;
}

int px__connect_start(struct px_sock *sock)
{
    int r = mir__tcp_connect_from(sock->px->stack, &sock->local, &sock->remote, &sock->tcp);
    if (r < 0)
        return -mir_host_errno(r);
    mir_tcp_set_handler(sock->tcp, on_tcp, sock);
    px__options_apply(sock);
    sock->state = PX_CONNECTING;
    return 0;
}

bool px__fast_knows(const struct px_sock *sock)
{
    return mir__tcp_fast_knows(mir__net_tcp(sock->px->net), &sock->remote.ip);
}

/* The connection came to nothing: the socket may try again. */
static int connect_failed(struct px_sock *sock)
{
    int r = px__take_error(sock);
    mir_tcp_close(sock->tcp);
    sock->tcp = NULL;
    sock->state = PX_FRESH;
    return r != 0 ? r : -ECONNABORTED;
}

static int connect_udp(struct px_sock *sock, const struct sockaddr *addr, socklen_t len)
{
    if (addr != NULL && len >= (socklen_t)sizeof(sa_family_t) && addr->sa_family == AF_UNSPEC) {
        static const struct mir_endpoint nobody;
        sock->state = PX_FRESH;
        return sock->udp != NULL ? -mir_host_errno(mir_udp_connect(sock->udp, &nobody)) : 0;
    }
    int r = px__endpoint(sock, addr, len, &sock->remote);
    if (r == 0)
        r = px__udp_ready(sock);
    if (r == 0)
        r = -mir_host_errno(mir_udp_connect(sock->udp, &sock->remote));
    if (r == 0)
        sock->state = PX_CONNECTED;
    return r;
}

int px_connect(struct px_host *px, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct px_sock *sock = px__sock(px, fd);
    int r = 0;
    if (sock == NULL)
        return -EBADF;
    if (sock->kind != PX_TCP)
        return sock->kind == PX_UDP ? connect_udp(sock, addr, len) : -ENOTSOCK;
    if (sock->state == PX_CONNECTED || sock->is_deferred)
        return -EISCONN;
    if (sock->state == PX_LISTENING)
        return -EISCONN;
    if (sock->state == PX_CONNECTING) {
        if (sock->so_error != 0)
            return connect_failed(sock);
        if (sock->nonblock)
            return -EALREADY;
    } else {
        r = px__endpoint(sock, addr, len, &sock->remote);
        if (r == 0 && sock->options.fastopen_connect && px__fast_knows(sock)) {
            sock->is_deferred = true;
            return 0;
        }
        if (r == 0)
            r = px__connect_start(sock);
        if (r == 0 && sock->options.fastopen_connect)
            pcb_of(sock->tcp)->wants_fast_open = true;
        if (r < 0)
            return r;
        px_settle(px);
        if (sock->nonblock && sock->state == PX_CONNECTING && sock->so_error == 0)
            return -EINPROGRESS;
    }
    mir_time_us deadline = px__deadline(sock, 0, sock->options.snd_timeout_us);
    while (sock->state == PX_CONNECTING && sock->so_error == 0) {
        r = px_wait(px, deadline);
        if (px__sock(px, fd) != sock)
            return -EBADF;
        if (r < 0 && sock->state == PX_CONNECTING && sock->so_error == 0)
            return r == -EAGAIN ? -EINPROGRESS : r;
    }
    return sock->state == PX_CONNECTED ? 0 : connect_failed(sock);
}

int px_shutdown(struct px_host *px, int fd, int how)
{
    struct px_sock *sock = px__sock(px, fd);
    if (sock == NULL)
        return -EBADF;
    if (sock->kind == PX_EPOLL)
        return -ENOTSOCK;
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
        return -EINVAL;
    if (sock->state == PX_LISTENING && how != SHUT_WR) {
        mir_tcp_unlisten(sock->listener);
        sock->listener = NULL;
        sock->state = PX_FRESH;
        px_changed(px);
        return 0;
    }
    if (sock->state == PX_FRESH || sock->state == PX_LISTENING ||
        (sock->kind == PX_TCP && sock->state == PX_CONNECTED &&
         pcb_of(sock->tcp)->state == MIR_TCP_S_CLOSED))
        return -ENOTCONN;
    if (how != SHUT_WR)
        sock->shut_rd = true;
    if (how != SHUT_RD) {
        sock->shut_wr = true;
        if (sock->tcp != NULL)
            (void)mir_tcp_shutdown(sock->tcp);
    }
    sock->edges++;
    px_changed(px);
    px_settle(px);
    return 0;
}

/* ---- close ------------------------------------------------------------------------------------
 */

static void free_dgrams(struct px_sock *sock)
{
    while (sock->dgram_first != NULL) {
        struct px_dgram *dgram = sock->dgram_first;
        sock->dgram_first = dgram->next;
        mir_buf_release(dgram->buf);
        free(dgram);
    }
}

static void close_tcp(struct px_sock *sock)
{
    bool is_hard = sock->held_count > 0 || (sock->options.linger && sock->options.linger_s == 0);
    px__held_release(sock);
    if (is_hard)
        mir_tcp_abort(sock->tcp);
    else
        mir_tcp_close(sock->tcp);
    sock->tcp = NULL;
}

void px__sock_free(struct px_sock *sock)
{
    px__watch_forget(sock->px, sock);
    if (sock->listener != NULL)
        mir_tcp_unlisten(sock->listener);
    while (sock->accept_first != NULL) {
        struct px_sock *child = sock->accept_first;
        sock->accept_first = child->accept_next;
        mir_tcp_abort(child->tcp);
        child->tcp = NULL;
        px__sock_free(child);
    }
    if (sock->tcp != NULL)
        close_tcp(sock);
    px__held_release(sock);
    if (sock->udp != NULL)
        mir_udp_close(sock->udp);
    free_dgrams(sock);
    while (sock->watches != NULL) {
        struct px_watch *watch = sock->watches;
        sock->watches = watch->next;
        free(watch);
    }
    free(sock);
}

/* SO_LINGER with a time: wait until the peer has everything, our FIN included. */
static void linger(struct px_sock *sock)
{
    const struct mir__tcp_pcb *pcb = pcb_of(sock->tcp);
    mir_time_us deadline = sock->px->now_us + (mir_time_us)sock->options.linger_s * MIR_US_PER_S;
    if (mir_tcp_shutdown(sock->tcp) < 0)
        return;
    while (pcb->state == MIR_TCP_S_FIN_WAIT_1 || pcb->state == MIR_TCP_S_CLOSING ||
           pcb->state == MIR_TCP_S_LAST_ACK) {
        /* An acknowledgment of the FIN is no event: look often. */
        mir_time_us soon = MIR_MIN(deadline, sock->px->now_us + 1000);
        (void)px_wait(sock->px, soon);
        if (sock->px->now_us >= deadline)
            break;
    }
}

int px_close_fd(struct px_host *px, int fd)
{
    struct px_sock *sock = px__sock(px, fd);
    if (sock == NULL)
        return -EBADF;
    px->fd[fd] = NULL;
    if (px->fd_give != NULL)
        px->fd_give(fd);
    if (sock->tcp != NULL && sock->options.linger && sock->options.linger_s > 0 &&
        !sock->nonblock && sock->held_count == 0)
        linger(sock);
    px__sock_free(sock);
    px_changed(px);
    px_settle(px);
    return 0;
}
