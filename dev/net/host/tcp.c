/* SPDX-License-Identifier: ISC */
/* Connections of the socket stack.
 *
 *   CONNECTING --> OPEN --> LINGERING --> DEAD        given back with bytes still queued
 *        |           |          |
 *        +--> FAILED-+----------+-------> DEAD
 *
 * Sending: views are queued by reference, small copies are packed into pages; the end of the step
 * writes all of it with one system call and releases what the host took. At the limit of the queue
 * the application gets -MIR_EAGAIN, and WRITABLE when half of it is free again.
 *
 * Receiving: bytes are read when the application asks, into a page that several reads share; the
 * run grows with the stream (one page to sixteen) and is released when nothing is there, so an idle
 * connection holds no page. A short read has emptied the socket: until the watch says that there is
 * more, the next one is answered without asking the host.
 *
 * Closing: what is queued is still written, within a time limit; unread data makes it a reset, as
 * does data that arrives afterwards (RFC 1122 section 4.2.2.13, RFC 2525 section 2.17).
 *
 * A hung-up descriptor is reported at every wait whatever is asked for, so such a watch is removed
 * and added again only when the application takes data.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "dev/net/host/internal.h"

/* Besides enum mir_tcp_events in mir__host_tcp.events: ask the socket for its error. */
#define EVENT_CHECK    0x100u
#define EVENTS_PUBLIC  0xffu
#define TX_PAGE_BYTES  16384u
#define RX_BYTES_FIRST 4096u
#define RX_BYTES_MAX   65536u
#define IOV_MAX_USED   64
#define RETRY_US       10000u

static struct mir__host_tcp *tcp_of(struct mir_tcp *head)
{
    return (struct mir__host_tcp *)(void *)head;
}

static struct mir__host_stack *stack_of(const struct mir__host_tcp *tcp)
{
    return mir__host_of(tcp->head.stack);
}

static void note(struct mir__host_tcp *tcp, unsigned events)
{
    struct mir__host_stack *stack = stack_of(tcp);
    tcp->events |= events;
    if (!mir_list_is_linked(&tcp->pending))
        mir_list_push_back(&stack->pending, &tcp->pending);
    mir__host_kick(stack);
}

static void mark_dirty(struct mir__host_tcp *tcp)
{
    struct mir__host_stack *stack = stack_of(tcp);
    if (!mir_list_is_linked(&tcp->dirty))
        mir_list_push_back(&stack->dirty, &tcp->dirty);
    mir__host_kick(stack);
}

/* ---- watching ------------------------------------------------------------------------------- */

static void unwatch(struct mir__host_tcp *tcp)
{
    struct mir_host_poll *poll = stack_of(tcp)->poll;
    if (tcp->is_watched)
        poll->ops->remove(poll, &tcp->watch);
    tcp->is_watched = false;
    tcp->watch.events = 0;
}

static void watch(struct mir__host_tcp *tcp, unsigned events)
{
    struct mir_host_poll *poll = stack_of(tcp)->poll;
    if (tcp->is_watched && tcp->watch.events == events)
        return;
    if (tcp->is_watched) {
        poll->ops->set(poll, &tcp->watch, events);
        tcp->watch.events = events;
        return;
    }
    tcp->watch.events = events;
    if (poll->ops->add(poll, &tcp->watch) == 0)
        tcp->is_watched = true;
    else
        note(tcp, EVENT_CHECK);
}

static void on_ready(void *arg, unsigned events)
{
    struct mir__host_tcp *tcp = arg;
    unsigned wanted = tcp->watch.events;
    if (events & (MIR_HOST_IN | MIR_HOST_ERROR))
        tcp->is_drained = false;
    if (events & MIR_HOST_ERROR) {
        unwatch(tcp);
        tcp->in_told = true;
        note(tcp, EVENT_CHECK | MIR_TCP_READABLE);
        return;
    }
    if (events & MIR_HOST_OUT) {
        wanted &= ~(unsigned)MIR_HOST_OUT;
        if (tcp->state == MIR__HOST_CONNECTING)
            note(tcp, EVENT_CHECK);
        else
            mark_dirty(tcp);
    }
    if (events & MIR_HOST_IN) {
        /* Told already and nothing was taken since: stop asking until it is. */
        if (tcp->in_told)
            wanted &= ~(unsigned)MIR_HOST_IN;
        else
            note(tcp, MIR_TCP_READABLE);
        tcp->in_told = true;
    }
    watch(tcp, wanted);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void drop_queue(struct mir__host_tcp *tcp)
{
    while (tcp->first != NULL) {
        struct mir__host_chunk *chunk = tcp->first;
        tcp->first = chunk->next;
        mir_view_release(&chunk->view);
        mir_pool_free(&stack_of(tcp)->chunk_pool, chunk);
    }
    tcp->last = NULL;
    tcp->queued_bytes = 0;
}

static void drop_pages(struct mir__host_tcp *tcp)
{
    if (tcp->rx_page != NULL)
        mir_page_release(tcp->rx_page);
    if (tcp->tx_page != NULL)
        mir_page_release(tcp->tx_page);
    tcp->rx_page = NULL;
    tcp->tx_page = NULL;
}

/* The socket goes now, the object once no handler can be using it. */
static void die(struct mir__host_tcp *tcp)
{
    struct mir__host_stack *stack = stack_of(tcp);
    unwatch(tcp);
    close(tcp->watch.fd);
    mir_timer_cancel(&tcp->timer);
    drop_queue(tcp);
    drop_pages(tcp);
    mir_list_remove(&tcp->dirty);
    mir_list_remove(&tcp->pending);
    tcp->state = MIR__HOST_DEAD;
    tcp->head.handler = NULL;
    mir_list_push_back(&stack->dead, &tcp->pending);
    mir__host_kick(stack);
}

void mir__host_tcp_free(struct mir__host_tcp *tcp)
{
    struct mir__host_stack *stack = stack_of(tcp);
    mir_list_remove(&tcp->all);
    mir_pool_free(&stack->tcp_pool, tcp);
}

static void fail(struct mir__host_tcp *tcp, int err)
{
    if (tcp->state == MIR__HOST_LINGERING) {
        die(tcp);
        return;
    }
    if (tcp->state == MIR__HOST_FAILED)
        return;
    stack_of(tcp)->count.tcp_failed++;
    tcp->state = MIR__HOST_FAILED;
    tcp->head.error = err;
    unwatch(tcp);
    drop_queue(tcp);
    drop_pages(tcp);
    note(tcp, MIR_TCP_FAILED);
}

static void on_timer(void *arg)
{
    struct mir__host_tcp *tcp = arg;
    if (tcp->state == MIR__HOST_LINGERING)
        mir__host_tcp_abort(&tcp->head);
    else
        note(tcp, MIR_TCP_READABLE | MIR_TCP_WRITABLE);
}

static void set_timer(struct mir__host_tcp *tcp, mir_time_us delay_us)
{
    struct mir_loop *loop = stack_of(tcp)->head.loop;
    mir_timer_set(loop, &tcp->timer, mir_loop_now(loop) + delay_us);
}

int mir__host_tcp_adopt(struct mir__host_stack *stack, int fd, enum mir__host_state state,
                        struct mir__host_tcp **out)
{
    struct mir__host_tcp *tcp = mir_pool_alloc(&stack->tcp_pool);
    if (tcp == NULL) {
        stack->count.no_memory++;
        close(fd);
        return -MIR_ENOMEM;
    }
    *tcp = (struct mir__host_tcp){
        .head = {.ops = &mir__host_tcp_ops, .stack = &stack->head},
        .watch = {.fd = fd, .ready = on_ready, .arg = tcp},
        .sndbuf_bytes = stack->limits.tcp_sndbuf_bytes,
        .rx_run_bytes = RX_BYTES_FIRST,
        .state = (uint8_t)state,
    };
    mir_list_init(&tcp->pending);
    mir_list_init(&tcp->dirty);
    mir_timer_init(&tcp->timer, on_timer, tcp);
    mir_list_push_back(&stack->connections, &tcp->all);
    watch(tcp, state == MIR__HOST_CONNECTING ? MIR_HOST_OUT : MIR_HOST_IN);
    *out = tcp;
    return 0;
}

/* ---- connecting ----------------------------------------------------------------------------- */

/* Errors that the call itself reports; all others come as FAILED. */
static bool is_immediate(int err)
{
    return err == -MIR_ENETUNREACH || err == -MIR_EADDRNOTAVAIL || err == -MIR_EINVAL ||
           err == -MIR_EPERM || err == -MIR_ENOMEM;
}

int mir__host_connect(struct mir_stack *head, const struct mir_endpoint *remote,
                      mir_tcp_handler_fn handler, void *arg, struct mir_tcp **out)
{
    struct mir__host_stack *stack = mir__host_of(head);
    struct sockaddr_storage addr;
    struct mir__host_tcp *tcp;
    int err = 0;
    int family = mir__host_family(&remote->ip);
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return mir__host_error(errno);
    socklen_t len = mir__host_sockaddr(remote, family, &addr);
    if (connect(fd, (const struct sockaddr *)&addr, len) != 0 && errno != EINPROGRESS)
        err = mir__host_error(errno);
    if (is_immediate(err)) {
        close(fd);
        return err;
    }
    int r = mir__host_tcp_adopt(stack, fd, MIR__HOST_CONNECTING, &tcp);
    if (r < 0)
        return r;
    tcp->head.handler = handler;
    tcp->head.handler_arg = arg;
    tcp->remote = *remote;
    if (err < 0)
        fail(tcp, err);
    *out = &tcp->head;
    return 0;
}

static int pending_error(const struct mir__host_tcp *tcp)
{
    int posix = 0;
    socklen_t len = sizeof posix;
    if (getsockopt(tcp->watch.fd, SOL_SOCKET, SO_ERROR, &posix, &len) != 0)
        posix = errno;
    return posix == 0 ? 0 : mir__host_error(posix);
}

static void read_endpoints(struct mir__host_tcp *tcp)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    if (getsockname(tcp->watch.fd, (struct sockaddr *)&addr, &len) == 0)
        mir__host_endpoint(&addr, &tcp->local);
    len = sizeof addr;
    if (getpeername(tcp->watch.fd, (struct sockaddr *)&addr, &len) == 0)
        mir__host_endpoint(&addr, &tcp->remote);
}

/* Something may be wrong, or an active open is through. */
static void check_socket(struct mir__host_tcp *tcp)
{
    int err = pending_error(tcp);
    if (err < 0) {
        fail(tcp, err);
        return;
    }
    if (tcp->state != MIR__HOST_CONNECTING)
        return;
    tcp->state = MIR__HOST_OPEN;
    stack_of(tcp)->count.tcp_connected++;
    read_endpoints(tcp);
    tcp->events |= MIR_TCP_CONNECTED;
    tcp->in_told = false;
    watch(tcp, MIR_HOST_IN);
    mark_dirty(tcp);
}

/* ---- delivery ---------------------------------------------------------------------------------
 */

/* The application has gone; the peer may still say something. */
static void read_lingering(struct mir__host_tcp *tcp)
{
    char byte;
    ssize_t n = recv(tcp->watch.fd, &byte, 1, MSG_DONTWAIT);
    if (n > 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        mir__host_tcp_abort(&tcp->head);
        return;
    }
    tcp->in_told = n == 0; /* at the end of the stream the watch would never rest */
    if (n == 0)
        watch(tcp, tcp->watch.events & ~(unsigned)MIR_HOST_IN);
}

void mir__host_tcp_deliver(struct mir__host_tcp *tcp)
{
    if (tcp->events & EVENT_CHECK)
        check_socket(tcp);
    /* Failing has put it on the list again. */
    if (tcp->state == MIR__HOST_DEAD)
        return;
    mir_list_remove(&tcp->pending);
    unsigned events = tcp->events & EVENTS_PUBLIC;
    tcp->events = 0;
    if (tcp->state == MIR__HOST_LINGERING) {
        if (events & MIR_TCP_READABLE)
            read_lingering(tcp);
        return;
    }
    if (tcp->state == MIR__HOST_CONNECTING)
        events &= ~(unsigned)MIR_TCP_READABLE;
    if (tcp->state == MIR__HOST_FAILED)
        events &= MIR_TCP_FAILED;
    if (events != 0 && tcp->head.handler != NULL)
        tcp->head.handler(&tcp->head, events, tcp->head.handler_arg);
}

static void tell_if_closed(struct mir__host_tcp *tcp)
{
    if (tcp->eof_seen && tcp->fin_sent && !tcp->closed_told && tcp->state == MIR__HOST_OPEN) {
        tcp->closed_told = true;
        unwatch(tcp);
        note(tcp, MIR_TCP_CLOSED);
    }
}

/* ---- sending ------------------------------------------------------------------------------------
 */

static uint32_t room_of(const struct mir__host_tcp *tcp)
{
    return tcp->queued_bytes < tcp->sndbuf_bytes ? tcp->sndbuf_bytes - tcp->queued_bytes : 0;
}

static int may_send(const struct mir__host_tcp *tcp)
{
    if (tcp->state == MIR__HOST_FAILED)
        return tcp->head.error;
    /* Before the connection is there data waits in the queue (RFC 9293 section 3.10.2). */
    return tcp->fin_asked ? -MIR_ECLOSED : 0;
}

static int push_chunk(struct mir__host_tcp *tcp, struct mir_view view_given)
{
    struct mir__host_chunk *chunk = mir_pool_alloc(&stack_of(tcp)->chunk_pool);
    if (chunk == NULL) {
        mir_view_release(&view_given);
        return -MIR_ENOMEM;
    }
    *chunk = (struct mir__host_chunk){.view = view_given};
    if (tcp->last != NULL)
        tcp->last->next = chunk;
    else
        tcp->first = chunk;
    tcp->last = chunk;
    tcp->queued_bytes += view_given.len;
    mark_dirty(tcp);
    return 0;
}

/* Copy up to @len bytes behind what is in the page; a chunk that ends there grows. */
static int push_copy(struct mir__host_tcp *tcp, const uint8_t *data, uint32_t len, uint32_t *taken)
{
    if (tcp->tx_page == NULL || tcp->tx_used == tcp->tx_page->size_bytes) {
        struct mir_io_page *page;
        int r = mir_page_alloc(stack_of(tcp)->head.pages, TX_PAGE_BYTES, MIR_PAGE_OVERWRITE, &page);
        if (r < 0)
            return r;
        if (tcp->tx_page != NULL)
            mir_page_release(tcp->tx_page);
        tcp->tx_page = page;
        tcp->tx_used = 0;
    }
    struct mir_io_page *page = tcp->tx_page;
    uint32_t n = MIR_MIN(len, page->size_bytes - tcp->tx_used);
    uint8_t *to = page->base + tcp->tx_used;
    memcpy(to, data, n);
    /* The next run of the arena may begin where this one ends: only the same page will do. */
    if (tcp->last != NULL && tcp->last->view.page == page &&
        tcp->last->view.data + tcp->last->view.len == to) {
        tcp->last->view.len += n;
        tcp->queued_bytes += n;
        mark_dirty(tcp);
    } else {
        int r = push_chunk(tcp, mir_view_of_page(page, tcp->tx_used, n));
        if (r < 0)
            return r;
    }
    tcp->tx_used += n;
    *taken = n;
    return 0;
}

static int tcp_send(struct mir_tcp *head, const void *data, size_t len, size_t *queued_len)
{
    struct mir__host_tcp *tcp = tcp_of(head);
    const uint8_t *from = data;
    uint32_t room = room_of(tcp);
    size_t done = 0;
    int r = may_send(tcp);
    if (r < 0)
        return r;
    if (room == 0) {
        tcp->was_full = true;
        return -MIR_EAGAIN;
    }
    len = MIR_MIN(len, (size_t)room);
    while (done < len && r == 0) {
        uint32_t taken = 0;
        r = push_copy(tcp, from + done, (uint32_t)(len - done), &taken);
        done += taken;
    }
    if (tcp->queued_bytes >= tcp->sndbuf_bytes)
        tcp->was_full = true;
    if (done == 0 && len > 0) {
        /* No memory: nothing of ours will free any, so ask again later. */
        stack_of(tcp)->count.no_memory++;
        set_timer(tcp, RETRY_US);
        return -MIR_EAGAIN;
    }
    *queued_len = done;
    return 0;
}

static int tcp_send_view(struct mir_tcp *head, struct mir_view view_given)
{
    struct mir__host_tcp *tcp = tcp_of(head);
    int r = may_send(tcp);
    if (r == 0 && room_of(tcp) == 0) {
        tcp->was_full = true;
        r = -MIR_EAGAIN;
    }
    if (r < 0 || view_given.len == 0) {
        mir_view_release(&view_given);
        return r;
    }
    r = push_chunk(tcp, view_given);
    if (tcp->queued_bytes >= tcp->sndbuf_bytes)
        tcp->was_full = true;
    return r;
}

static uint32_t tcp_send_room(const struct mir_tcp *head)
{
    const struct mir__host_tcp *tcp = (const struct mir__host_tcp *)(const void *)head;
    return may_send(tcp) == 0 ? room_of(tcp) : 0;
}

/* Bytes the host took leave the queue. */
static void pop_written(struct mir__host_tcp *tcp, size_t written)
{
    tcp->bytes_sent += written;
    tcp->queued_bytes -= (uint32_t)written;
    while (written > 0) {
        struct mir__host_chunk *chunk = tcp->first;
        MIR_ASSERT(chunk != NULL); /* the host takes no more than it was given */
        uint32_t n = (uint32_t)MIR_MIN(written, (size_t)chunk->view.len);
        mir_view_shrink_front(&chunk->view, n);
        written -= n;
        if (chunk->view.len > 0)
            break;
        tcp->first = chunk->next;
        if (tcp->first == NULL)
            tcp->last = NULL;
        mir_view_release(&chunk->view);
        mir_pool_free(&stack_of(tcp)->chunk_pool, chunk);
    }
}

/* Returns 0 when the queue is empty, -MIR_EAGAIN when the host is full, or an error. */
static int write_queue(struct mir__host_tcp *tcp)
{
    while (tcp->first != NULL) {
        struct iovec iov[IOV_MAX_USED];
        struct msghdr msg = {.msg_iov = iov};
        for (struct mir__host_chunk *chunk = tcp->first;
             chunk != NULL && msg.msg_iovlen < IOV_MAX_USED; chunk = chunk->next) {
            iov[msg.msg_iovlen].iov_base = (void *)(uintptr_t)chunk->view.data;
            iov[msg.msg_iovlen++].iov_len = chunk->view.len;
        }
        ssize_t n = sendmsg(tcp->watch.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mir__host_error(errno);
        pop_written(tcp, (size_t)n);
    }
    return 0;
}

void mir__host_tcp_flush(struct mir__host_tcp *tcp)
{
    if (tcp->state != MIR__HOST_OPEN && tcp->state != MIR__HOST_LINGERING)
        return;
    int r = write_queue(tcp);
    if (r < 0 && r != -MIR_EAGAIN) {
        /* The socket knows better than EPIPE. */
        int err = pending_error(tcp);
        fail(tcp, err < 0 ? err : r);
        return;
    }
    if (r == -MIR_EAGAIN)
        watch(tcp, tcp->watch.events | MIR_HOST_OUT);
    if (tcp->was_full && tcp->queued_bytes <= tcp->sndbuf_bytes / 2) {
        tcp->was_full = false;
        if (tcp->state == MIR__HOST_OPEN)
            note(tcp, MIR_TCP_WRITABLE);
    }
    if (tcp->first != NULL)
        return;
    if (tcp->tx_page != NULL)
        mir_page_release(tcp->tx_page);
    tcp->tx_page = NULL;
    if (tcp->fin_asked && !tcp->fin_sent) {
        tcp->fin_sent = true;
        (void)shutdown(tcp->watch.fd, SHUT_WR);
        tell_if_closed(tcp);
    }
    if (tcp->state == MIR__HOST_LINGERING)
        die(tcp);
}

/* ---- receiving --------------------------------------------------------------------------------
 */

static int ensure_rx_page(struct mir__host_tcp *tcp)
{
    struct mir_io_page *page = tcp->rx_page;
    if (page != NULL && tcp->rx_used < page->size_bytes)
        return 0;
    if (page != NULL)
        mir_page_release(page);
    tcp->rx_page = NULL;
    tcp->rx_used = 0;
    int r = mir_page_alloc(stack_of(tcp)->head.pages, tcp->rx_run_bytes, MIR_PAGE_OVERWRITE, &page);
    if (r == 0)
        tcp->rx_page = page;
    return r;
}

/* Nothing there: an idle connection holds no page. */
static void rest(struct mir__host_tcp *tcp)
{
    if (tcp->rx_page != NULL)
        mir_page_release(tcp->rx_page);
    tcp->rx_page = NULL;
    tcp->rx_run_bytes = RX_BYTES_FIRST;
}

static int after_recv_error(struct mir__host_tcp *tcp, int posix)
{
    rest(tcp);
    if (posix == EAGAIN || posix == EINTR) {
        tcp->in_told = false;
        watch(tcp, tcp->watch.events | MIR_HOST_IN);
        return -MIR_EAGAIN;
    }
    fail(tcp, mir__host_error(posix));
    return tcp->head.error;
}

static int tcp_recv_view(struct mir_tcp *head, struct mir_view *view)
{
    struct mir__host_tcp *tcp = tcp_of(head);
    if (tcp->state == MIR__HOST_FAILED)
        return tcp->head.error;
    if (tcp->state == MIR__HOST_CONNECTING)
        return -MIR_EAGAIN;
    if (tcp->eof_seen)
        return -MIR_EEOF;
    if (tcp->is_drained) {
        rest(tcp);
        return -MIR_EAGAIN;
    }
    if (ensure_rx_page(tcp) < 0) {
        stack_of(tcp)->count.no_memory++;
        set_timer(tcp, RETRY_US);
        return -MIR_EAGAIN;
    }
    MIR_ASSERT(tcp->rx_page != NULL);
    uint32_t room = tcp->rx_page->size_bytes - tcp->rx_used;
    ssize_t n = recv(tcp->watch.fd, tcp->rx_page->base + tcp->rx_used, room, MSG_DONTWAIT);
    if (n < 0)
        return after_recv_error(tcp, errno);
    if (n == 0) {
        tcp->eof_seen = true;
        rest(tcp);
        if (tcp->is_watched)
            watch(tcp, tcp->watch.events & ~(unsigned)MIR_HOST_IN);
        tell_if_closed(tcp);
        return -MIR_EEOF;
    }
    if ((uint32_t)n == room && tcp->rx_run_bytes < RX_BYTES_MAX)
        tcp->rx_run_bytes *= 2;
    *view = mir_view_of_page(tcp->rx_page, tcp->rx_used, (uint32_t)n);
    tcp->rx_used += (uint32_t)n;
    tcp->bytes_received += (uint64_t)n;
    tcp->in_told = false;
    watch(tcp, tcp->watch.events | MIR_HOST_IN);
    tcp->is_drained = (uint32_t)n < room && tcp->is_watched;
    return 0;
}

/* ---- ending
 * --------------------------------------------------------------------------------------- */

static int tcp_shutdown(struct mir_tcp *head)
{
    struct mir__host_tcp *tcp = tcp_of(head);
    if (tcp->state == MIR__HOST_FAILED)
        return tcp->head.error;
    tcp->fin_asked = true;
    mark_dirty(tcp);
    return 0;
}

void mir__host_tcp_abort(struct mir_tcp *head)
{
    struct mir__host_tcp *tcp = tcp_of(head);
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    stack_of(tcp)->count.tcp_aborted++;
    (void)setsockopt(tcp->watch.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    die(tcp);
}

static void tcp_close(struct mir_tcp *head)
{
    struct mir__host_tcp *tcp = tcp_of(head);
    char unread;
    if (tcp->state != MIR__HOST_OPEN) {
        die(tcp);
        return;
    }
    if (!tcp->eof_seen && recv(tcp->watch.fd, &unread, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
        mir__host_tcp_abort(head);
        return;
    }
    if (tcp->first == NULL) {
        die(tcp); /* the host sends what it has, and FIN */
        return;
    }
    tcp->state = MIR__HOST_LINGERING;
    tcp->head.handler = NULL;
    tcp->fin_asked = true;
    tcp->in_told = false;
    mark_dirty(tcp);
    set_timer(tcp, stack_of(tcp)->limits.linger_us);
}

static void tcp_endpoints(const struct mir_tcp *head, struct mir_endpoint *local,
                          struct mir_endpoint *remote)
{
    const struct mir__host_tcp *tcp = (const struct mir__host_tcp *)(const void *)head;
    *local = tcp->local;
    *remote = tcp->remote;
}

const struct mir_tcp_ops mir__host_tcp_ops = {
    .send = tcp_send,
    .send_view = tcp_send_view,
    .recv_view = tcp_recv_view,
    .shutdown = tcp_shutdown,
    .close = tcp_close,
    .abort = mir__host_tcp_abort,
    .set_option = mir__host_set_option,
    .info = mir__host_info,
    .endpoints = tcp_endpoints,
    .send_room = tcp_send_room,
};
