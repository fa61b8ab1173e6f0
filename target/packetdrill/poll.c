/* SPDX-License-Identifier: ISC */
/* poll() and epoll: what is ready is asked of each socket when somebody wants to know.
 *
 * Level-triggered watching tells what holds. Edge-triggered watching tells it again only after the
 * socket had another event. There is no list of ready descriptors: with PX_FDS_MAX descriptors a
 * walk is cheap, and nothing can be forgotten.
 *
 * An epoll descriptor can itself be polled, but not watched by another epoll.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/net/tcp/internal.h"
#include "target/packetdrill/internal.h"

_Static_assert((uint32_t)EPOLLIN == POLLIN && (uint32_t)EPOLLOUT == POLLOUT &&
                   (uint32_t)EPOLLHUP == POLLHUP && (uint32_t)EPOLLRDHUP == POLLRDHUP,
               "one set of bits");

/* ---- readiness ---------------------------------------------------------------------------------
 */

static uint32_t tcp_ready(const struct px_sock *sock)
{
    const struct mir__tcp_pcb *pcb = (const struct mir__tcp_pcb *)(const void *)sock->tcp;
    bool is_over = pcb->state == MIR_TCP_S_CLOSED;
    bool has_eof = pcb->fin_received || sock->shut_rd || is_over;
    bool no_more = pcb->fin_queued || is_over;
    uint32_t ready = 0;
    if (sock->so_error != 0)
        ready |= POLLERR;
    if (has_eof && no_more)
        ready |= POLLHUP;
    if (has_eof)
        ready |= POLLIN | POLLRDNORM | POLLRDHUP;
    if (sock->held_bytes > 0 || pcb->busy->recvq.q.bytes > 0)
        ready |= POLLIN | POLLRDNORM;
    uint32_t unsent = sendq_end(pcb) - pcb->snd_nxt;
    bool is_ahead = sock->options.notsent_lowat != 0 && seq_gt(sendq_end(pcb), pcb->snd_nxt) &&
                    unsent >= sock->options.notsent_lowat;
    /* As Linux: room for a third of what is queued already. */
    if (no_more || (!is_ahead && mir__tcp_send_room_now(pcb) > pcb->busy->sendq.q.bytes / 2))
        ready |= POLLOUT | POLLWRNORM;
    return ready;
}

uint32_t px__ready(const struct px_sock *sock)
{
    if (sock->kind == PX_EPOLL) {
        for (const struct px_watch *watch = sock->watches; watch != NULL; watch = watch->next)
            if (!watch->is_off && (px__ready(watch->sock) & (watch->event.events | POLLHUP)))
                return POLLIN;
        return 0;
    }
    if (sock->kind == PX_UDP) {
        uint32_t ready = POLLOUT | POLLWRNORM;
        if (sock->dgram_first != NULL || sock->shut_rd)
            ready |= POLLIN | POLLRDNORM;
        return sock->so_error != 0 ? ready | POLLERR : ready;
    }
    switch (sock->state) {
    case PX_LISTENING:
        return sock->accept_first != NULL ? POLLIN | POLLRDNORM : 0;
    case PX_FRESH:
        return sock->is_deferred ? POLLOUT | POLLWRNORM : POLLOUT | POLLHUP;
    case PX_CONNECTING:
        if (sock->so_error == 0)
            return 0;
        return POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLERR | POLLHUP | POLLRDHUP;
    case PX_CONNECTED:
        break;
    }
    return tcp_ready(sock);
}

static mir_time_us deadline_of(const struct px_host *px, int timeout_ms)
{
    return timeout_ms < 0 ? MIR_TIME_NEVER : px->now_us + (mir_time_us)timeout_ms * MIR_US_PER_MS;
}

int px_poll(struct px_host *px, struct pollfd *fds, nfds_t count, int timeout_ms)
{
    mir_time_us deadline = deadline_of(px, timeout_ms);
    bool is_last = false;
    for (;;) {
        int found = 0;
        for (nfds_t i = 0; i < count; i++) {
            const struct px_sock *sock = px__sock(px, fds[i].fd);
            uint32_t ready = sock != NULL ? px__ready(sock) : POLLNVAL;
            uint32_t asked = (uint16_t)fds[i].events | POLLERR | POLLHUP | POLLNVAL;
            fds[i].revents = fds[i].fd < 0 ? 0 : (short)(ready & asked);
            found += fds[i].revents != 0;
        }
        if (found > 0 || is_last)
            return found;
        int r = px_wait(px, deadline);
        if (r < 0 && r != -EAGAIN)
            return r;
        is_last = r == -EAGAIN;
    }
}

/* ---- epoll -------------------------------------------------------------------------------------
 */

static struct px_sock *epoll_of(struct px_host *px, int epfd)
{
    struct px_sock *sock = px__sock(px, epfd);
    return sock != NULL && sock->kind == PX_EPOLL ? sock : NULL;
}

int px_epoll_create(struct px_host *px)
{
    struct px_sock *sock = calloc(1, sizeof *sock);
    if (sock == NULL)
        return -ENOMEM;
    sock->px = px;
    sock->kind = PX_EPOLL;
    int fd = px__fd_new(px, sock);
    if (fd < 0)
        free(sock);
    return fd;
}

static struct px_watch **find_watch(struct px_sock *epoll, int fd)
{
    struct px_watch **at = &epoll->watches;
    while (*at != NULL && (*at)->fd != fd)
        at = &(*at)->next;
    return at;
}

int px_epoll_ctl(struct px_host *px, int epfd, int op, int fd, const struct epoll_event *event)
{
    struct px_sock *epoll = epoll_of(px, epfd);
    struct px_sock *sock = px__sock(px, fd);
    if (px__sock(px, epfd) == NULL || sock == NULL)
        return -EBADF;
    if (epoll == NULL || sock->kind == PX_EPOLL)
        return -EINVAL;
    struct px_watch **at = find_watch(epoll, fd);
    struct px_watch *watch = *at;
    if (op == EPOLL_CTL_DEL && watch != NULL) {
        *at = watch->next;
        free(watch);
        return 0;
    }
    if (op != EPOLL_CTL_ADD && watch == NULL)
        return op == EPOLL_CTL_MOD || op == EPOLL_CTL_DEL ? -ENOENT : -EINVAL;
    if (event == NULL)
        return -EFAULT;
    if (op == EPOLL_CTL_ADD && watch != NULL)
        return -EEXIST;
    if (op == EPOLL_CTL_ADD) {
        watch = calloc(1, sizeof *watch);
        if (watch == NULL)
            return -ENOMEM;
        watch->fd = fd;
        watch->sock = sock;
        *at = watch;
    }
    watch->event = *event;
    watch->told = 0;
    watch->is_off = false;
    return 0;
}

void px__watch_forget(struct px_host *px, const struct px_sock *sock)
{
    for (int fd = PX_FD_FIRST; fd < (int)PX_FDS_MAX; fd++) {
        struct px_sock *epoll = epoll_of(px, fd);
        if (epoll == NULL || epoll == sock)
            continue;
        for (struct px_watch **at = &epoll->watches; *at != NULL;) {
            struct px_watch *watch = *at;
            if (watch->sock != sock) {
                at = &watch->next;
                continue;
            }
            *at = watch->next;
            free(watch);
        }
    }
}

/* What to tell of @watch now; 0 for nothing. */
static uint32_t news(struct px_watch *watch)
{
    const struct px_sock *sock = watch->sock;
    uint32_t asked = (watch->event.events & 0xffffu) | EPOLLERR | EPOLLHUP;
    uint32_t ready = px__ready(sock) & asked;
    if (watch->is_off)
        return 0;
    if (watch->event.events & EPOLLET) {
        bool is_new = sock->edges != watch->told_edge || (ready & ~watch->told) != 0;
        watch->told &= ready;
        if (!is_new || ready == 0)
            return 0;
        watch->told = ready;
        watch->told_edge = sock->edges;
    }
    if (ready != 0 && (watch->event.events & EPOLLONESHOT))
        watch->is_off = true;
    return ready;
}

int px_epoll_wait(struct px_host *px, int epfd, struct epoll_event *events, int max, int timeout_ms)
{
    mir_time_us deadline = deadline_of(px, timeout_ms);
    bool is_last = false;
    for (;;) {
        struct px_sock *epoll = epoll_of(px, epfd);
        int found = 0;
        if (px__sock(px, epfd) == NULL)
            return -EBADF;
        if (epoll == NULL || max <= 0)
            return -EINVAL;
        for (struct px_watch *watch = epoll->watches; watch != NULL && found < max;
             watch = watch->next) {
            uint32_t ready = news(watch);
            if (ready == 0)
                continue;
            events[found].events = ready;
            events[found++].data = watch->event.data;
        }
        if (found > 0 || is_last)
            return found;
        int r = px_wait(px, deadline);
        if (r < 0 && r != -EAGAIN)
            return r;
        is_last = r == -EAGAIN;
    }
}
