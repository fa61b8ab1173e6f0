/* SPDX-License-Identifier: ISC */
/* Datagrams over host sockets.
 *
 * A datagram is received in two parts: the first goes into the one page of a buffer, what does not
 * fit into a run that the stack keeps for all its sockets. So the usual datagram costs a page and
 * one system call, and the rare one of 64 KiB is put together by copying.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "dev/net/host/internal.h"

#define RECEIVE_BATCH 64
#define DATAGRAM_MAX  65535u
#define FIRST_BYTES   (MIR_PAGE_SIZE - MIR_BUF_HEADROOM)

static const struct mir_udp_ops udp_ops;

static struct mir__host_udp *udp_of(struct mir_udp *head)
{
    return (struct mir__host_udp *)(void *)head;
}

static void on_ready(void *arg, unsigned events)
{
    struct mir__host_udp *udp = arg;
    (void)events;
    udp->is_ready = true;
    mir__host_kick(mir__host_of(udp->head.stack));
}

int mir__host_udp_open(struct mir_stack *head, const struct mir_endpoint *local,
                       mir_udp_handler_fn handler, void *arg, struct mir_udp **out)
{
    struct mir__host_stack *stack = mir__host_of(head);
    struct sockaddr_storage addr;
    struct mir_endpoint bound;
    socklen_t len = sizeof addr;
    int fd, family;
    struct mir__host_udp *udp = mir_pool_alloc(&stack->udp_pool);
    if (udp == NULL)
        return -MIR_ENOMEM;
    int r = mir__host_bind(SOCK_DGRAM, local, &fd, &family);
    if (r < 0)
        goto err_object;
    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        r = mir__host_error(errno);
        goto err_socket;
    }
    *udp = (struct mir__host_udp){
        .head = {.ops = &udp_ops, .handler = handler, .handler_arg = arg, .stack = head},
        .watch = {.fd = fd, .events = MIR_HOST_IN, .ready = on_ready, .arg = udp},
        .local = *local,
        .family = family,
    };
    mir__host_endpoint(&addr, &bound);
    udp->local.port = bound.port;
    r = stack->poll->ops->add(stack->poll, &udp->watch);
    if (r < 0)
        goto err_socket;
    mir_list_push_back(&stack->sockets, &udp->all);
    *out = &udp->head;
    return 0;

err_socket:
    close(fd);
err_object:
    mir_pool_free(&stack->udp_pool, udp);
    return r;
}

void mir__host_udp_close(struct mir_udp *head)
{
    struct mir__host_udp *udp = udp_of(head);
    struct mir__host_stack *stack = mir__host_of(head->stack);
    MIR_ASSERT(!udp->is_dead);
    stack->poll->ops->remove(stack->poll, &udp->watch);
    close(udp->watch.fd);
    udp->is_dead = true;
    mir__host_kick(stack);
}

/* ---- receiving --------------------------------------------------------------------------------
 */

/* One buffer for a datagram whose end is in the stack's spare run. */
static struct mir_buf *join(struct mir__host_stack *stack, struct mir_buf *first_given,
                            uint32_t total)
{
    struct mir_buf *whole =
        mir_buf_alloc_page(stack->head.bufs, MIR_BUF_HEADROOM + (size_t)total, MIR_BUF_HEADROOM);
    if (whole != NULL) {
        memcpy(mir_buf_append(whole, FIRST_BYTES), first_given->data, FIRST_BYTES);
        memcpy(mir_buf_append(whole, total - FIRST_BYTES), stack->udp_excess->base,
               total - FIRST_BYTES);
    }
    mir_buf_release(first_given);
    return whole;
}

/* Returns false when nothing more is there. */
static bool receive_one(struct mir__host_udp *udp)
{
    struct mir__host_stack *stack = mir__host_of(udp->head.stack);
    struct sockaddr_storage addr;
    struct mir_endpoint from;
    struct mir_buf *buf = mir_buf_alloc_page(stack->head.bufs, MIR_PAGE_SIZE, MIR_BUF_HEADROOM);
    uint8_t lost;
    struct iovec iov[2] = {{&lost, 1}, {stack->udp_excess->base, DATAGRAM_MAX - FIRST_BYTES}};
    struct msghdr msg = {.msg_name = &addr, .msg_namelen = sizeof addr, .msg_iov = iov};
    /* Without memory the datagram is taken all the same, and lost, as a full queue would. */
    msg.msg_iovlen = buf != NULL ? 2 : 1;
    if (buf != NULL)
        iov[0] = (struct iovec){buf->data, FIRST_BYTES};
    ssize_t n = recvmsg(udp->watch.fd, &msg, MSG_DONTWAIT);
    if (n < 0 || buf == NULL) {
        if (n >= 0)
            stack->count.udp_dropped++;
        mir_buf_release(buf);
        return n >= 0 || errno == ECONNREFUSED || errno == EINTR;
    }
    if ((size_t)n > FIRST_BYTES)
        buf = join(stack, buf, (uint32_t)n);
    else
        (void)mir_buf_append(buf, (uint32_t)n);
    if (buf == NULL) {
        stack->count.udp_dropped++;
        return true;
    }
    stack->count.udp_in++;
    mir__host_endpoint(&addr, &from);
    udp->head.handler(&udp->head, &from, buf, udp->head.handler_arg);
    return true;
}

void mir__host_udp_receive(struct mir__host_udp *udp)
{
    struct mir__host_stack *stack = mir__host_of(udp->head.stack);
    udp->is_ready = false;
    if (mir_page_alloc(stack->head.pages, DATAGRAM_MAX - FIRST_BYTES, MIR_PAGE_OVERWRITE,
                       &stack->udp_excess) < 0) {
        stack->udp_excess = NULL;
        stack->count.no_memory++;
        return; /* the watch is level-triggered: it comes again */
    }
    for (int i = 0; i < RECEIVE_BATCH && !udp->is_dead; i++) {
        if (!receive_one(udp))
            break;
    }
    mir_page_release(stack->udp_excess);
    stack->udp_excess = NULL;
}

/* ---- sending ------------------------------------------------------------------------------------
 */

static int after_send(struct mir__host_stack *stack, ssize_t n, int posix)
{
    if (n >= 0) {
        stack->count.udp_out++;
        return 0;
    }
    stack->count.udp_dropped++;
    return mir__host_error(posix);
}

/* A socket of IPv4 alone would take the end of an IPv6 address for an address. */
static int check_family(const struct mir__host_udp *udp, const struct mir_endpoint *to)
{
    if (udp->family != AF_INET || mir_ip_is_v4(&to->ip) || mir_ip_is_any(&to->ip))
        return 0;
    mir__host_of(udp->head.stack)->count.udp_dropped++;
    return -MIR_ENETUNREACH;
}

static int udp_send(struct mir_udp *head, const struct mir_endpoint *to, const void *data,
                    size_t len)
{
    struct mir__host_udp *udp = udp_of(head);
    struct sockaddr_storage addr;
    int r = check_family(udp, to);
    if (r < 0)
        return r;
    socklen_t addr_len = mir__host_sockaddr(to, udp->family, &addr);
    ssize_t n = sendto(udp->watch.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL,
                       (const struct sockaddr *)&addr, addr_len);
    return after_send(mir__host_of(head->stack), n, errno);
}

static int udp_send_buf(struct mir_udp *head, const struct mir_endpoint *to,
                        struct mir_buf *buf_given)
{
    struct mir__host_udp *udp = udp_of(head);
    struct sockaddr_storage addr;
    struct iovec iov[1 + MIR_BUF_FRAG_MAX];
    struct msghdr msg = {.msg_name = &addr, .msg_iov = iov, .msg_iovlen = 1};
    int r = check_family(udp, to);
    if (r < 0) {
        mir_buf_release(buf_given);
        return r;
    }
    msg.msg_namelen = mir__host_sockaddr(to, udp->family, &addr);
    iov[0] = (struct iovec){buf_given->data, buf_given->len};
    for (uint32_t i = 0; i < buf_given->frag_count; i++)
        iov[msg.msg_iovlen++] =
            (struct iovec){(void *)(uintptr_t)buf_given->frag[i].data, buf_given->frag[i].len};
    ssize_t n = sendmsg(udp->watch.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    int posix = errno;
    mir_buf_release(buf_given);
    return after_send(mir__host_of(head->stack), n, posix);
}

static void udp_local(const struct mir_udp *head, struct mir_endpoint *local)
{
    *local = ((const struct mir__host_udp *)(const void *)head)->local;
}

static const struct mir_udp_ops udp_ops = {
    .send = udp_send,
    .send_buf = udp_send_buf,
    .close = mir__host_udp_close,
    .local = udp_local,
};
