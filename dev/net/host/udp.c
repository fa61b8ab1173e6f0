/* SPDX-License-Identifier: ISC */
/* Datagrams over host sockets. Options, groups and connecting are in udp_opt.c.
 *
 * A datagram is received in two parts: the first goes into the one page of a buffer, what does not
 * fit into a run that the stack keeps for all its sockets. So the usual datagram costs a page and
 * one system call, and the rare one of 64 KiB is put together by copying. Control messages tell
 * where it was going, by which interface it came, TTL and TOS.
 *
 * ICMP errors come by the socket's error queue (IP_RECVERR), also for sockets without a peer. The
 * host then lets a later call fail with the same error: that call is made again, so that each error
 * is told once, and by the handler.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h>

#include "dev/net/host/internal.h"

#define RECEIVE_BATCH 64
#define DATAGRAM_MAX  65535u
#define FIRST_BYTES   (MIR_PAGE_SIZE - MIR_BUF_HEADROOM)
#define CONTROL_BYTES 256

static const struct mir_udp_ops udp_ops;

static struct mir__host_udp *udp_of(struct mir_udp *head)
{
    return (struct mir__host_udp *)(void *)head;
}

static void on_ready(void *arg, unsigned events)
{
    struct mir__host_udp *udp = arg;
    udp->is_ready = true;
    udp->has_errors |= (events & MIR_HOST_ERROR) != 0;
    mir__host_kick(mir__host_of(udp->head.stack));
}

int mir__host_udp_open(struct mir_stack *head, const struct mir_udp_config *config,
                       struct mir_udp **out)
{
    struct mir__host_stack *stack = mir__host_of(head);
    struct sockaddr_storage addr;
    struct mir_endpoint bound;
    socklen_t len = sizeof addr;
    int fd, family;
    unsigned flags = (config->reuse_addr ? MIR__HOST_REUSE_ADDR : 0u) |
                     (config->reuse_port ? MIR__HOST_REUSE_PORT : 0u) |
                     (config->v6_only ? MIR__HOST_V6_ONLY : 0u);
    struct mir__host_udp *udp = mir_pool_alloc(&stack->udp_pool);
    if (udp == NULL)
        return -MIR_ENOMEM;
    int r = mir__host_bind(SOCK_DGRAM, &config->local, flags, &fd, &family);
    if (r < 0)
        goto err_object;
    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        r = mir__host_error(errno);
        goto err_socket;
    }
    *udp = (struct mir__host_udp){
        .head = {.ops = &udp_ops,
                 .handler = config->handler,
                 .on_error = config->on_error,
                 .handler_arg = config->arg,
                 .stack = head},
        .watch = {.fd = fd, .events = MIR_HOST_IN, .ready = on_ready, .arg = udp},
        .bound = config->local,
        .family = family,
    };
    mir__host_endpoint(&addr, &bound);
    udp->bound.port = bound.port;
    udp->local = udp->bound;
    mir__host_udp_ask_for_meta(udp);
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

/* ---- receiving ------------------------------------------------------------------------------ */

static uint8_t byte_of(const struct cmsghdr *c)
{
    int value = 0;
    uint8_t byte;
    /* The host writes an int or a byte, depending on kind and age. */
    if (c->cmsg_len >= CMSG_LEN(sizeof value)) {
        memcpy(&value, CMSG_DATA(c), sizeof value);
        return (uint8_t)value;
    }
    memcpy(&byte, CMSG_DATA(c), sizeof byte);
    return byte;
}

static void read_control_v4(const struct cmsghdr *c, struct mir_udp_meta *meta)
{
    if (c->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo info;
        memcpy(&info, CMSG_DATA(c), sizeof info);
        meta->to.ip = mir_ip_from_v4(ntohl(info.ipi_addr.s_addr));
        meta->if_index = (uint32_t)info.ipi_ifindex;
        /* The host says which address of its own it took the packet for. */
        meta->is_group = info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr;
    } else if (c->cmsg_type == IP_TTL) {
        meta->ttl = byte_of(c);
    } else if (c->cmsg_type == IP_TOS) {
        meta->tos = byte_of(c);
    }
}

static void read_control_v6(const struct cmsghdr *c, struct mir_udp_meta *meta)
{
    if (c->cmsg_type == IPV6_PKTINFO) {
        struct in6_pktinfo info;
        memcpy(&info, CMSG_DATA(c), sizeof info);
        if (IN6_IS_ADDR_V4MAPPED(&info.ipi6_addr))
            return; /* IP_PKTINFO says more */
        memcpy(meta->to.ip.bytes, &info.ipi6_addr, 16);
        meta->if_index = info.ipi6_ifindex;
        meta->is_group = IN6_IS_ADDR_MULTICAST(&info.ipi6_addr);
    } else if (c->cmsg_type == IPV6_HOPLIMIT) {
        meta->ttl = byte_of(c);
    } else if (c->cmsg_type == IPV6_TCLASS) {
        meta->tos = byte_of(c);
    }
}

static void read_control(struct msghdr *msg, struct mir_udp_meta *meta)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level == IPPROTO_IP)
            read_control_v4(c, meta);
        else if (c->cmsg_level == IPPROTO_IPV6)
            read_control_v6(c, meta);
    }
}

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

static void hand_over(struct mir__host_udp *udp, struct msghdr *msg, struct mir_buf *buf_given)
{
    struct mir_udp_meta meta = {.to = udp->local};
    mir__host_endpoint(msg->msg_name, &meta.from);
    read_control(msg, &meta);
    mir__host_of(udp->head.stack)->count.udp_in++;
    if (udp->head.handler != NULL)
        udp->head.handler(&udp->head, &meta, buf_given, udp->head.handler_arg);
    else
        mir_buf_release(buf_given);
}

/* Returns false when nothing more is there. */
static bool receive_one(struct mir__host_udp *udp)
{
    struct mir__host_stack *stack = mir__host_of(udp->head.stack);
    struct sockaddr_storage addr;
    _Alignas(struct cmsghdr) char control[CONTROL_BYTES];
    struct mir_buf *buf = mir_buf_alloc_page(stack->head.bufs, MIR_PAGE_SIZE, MIR_BUF_HEADROOM);
    uint8_t lost;
    struct iovec iov[2] = {{&lost, 1}, {stack->udp_excess->base, DATAGRAM_MAX - FIRST_BYTES}};
    struct msghdr msg = {
        .msg_name = &addr,
        .msg_namelen = sizeof addr,
        .msg_iov = iov,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    /* Without memory the datagram is taken all the same, and lost, as a full queue would. */
    msg.msg_iovlen = buf != NULL ? 2 : 1;
    if (buf != NULL)
        iov[0] = (struct iovec){buf->data, FIRST_BYTES};
    ssize_t n = recvmsg(udp->watch.fd, &msg, MSG_DONTWAIT);
    if (n < 0 || buf == NULL) {
        int posix = errno;
        if (n >= 0)
            stack->count.udp_dropped++;
        mir_buf_release(buf);
        udp->has_errors |= n < 0 && posix != EAGAIN && posix != EINTR;
        return n >= 0 || posix != EAGAIN;
    }
    if ((size_t)n > FIRST_BYTES)
        buf = join(stack, buf, (uint32_t)n);
    else
        (void)mir_buf_append(buf, (uint32_t)n);
    if (buf == NULL) {
        stack->count.udp_dropped++;
        return true;
    }
    hand_over(udp, &msg, buf);
    return true;
}

/* Returns false when the error queue is empty. */
static bool receive_error(struct mir__host_udp *udp)
{
    struct sockaddr_storage addr;
    _Alignas(struct cmsghdr) char control[CONTROL_BYTES * 2];
    struct msghdr msg = {
        .msg_name = &addr,
        .msg_namelen = sizeof addr,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    struct mir_udp_error error = {0};
    if (recvmsg(udp->watch.fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
        return false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
        struct sock_extended_err host;
        bool is_error = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
                        (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
        if (!is_error)
            continue;
        memcpy(&host, CMSG_DATA(c), sizeof host);
        if (host.ee_origin != SO_EE_ORIGIN_ICMP && host.ee_origin != SO_EE_ORIGIN_ICMP6)
            continue; /* what a call of ours has been told already */
        error.err = mir__host_error((int)host.ee_errno);
        error.mtu = error.err == -MIR_ETOOBIG ? host.ee_info : 0;
    }
    if (error.err == 0)
        return true;
    mir__host_endpoint(&addr, &error.to);
    if (udp->head.on_error != NULL)
        udp->head.on_error(&udp->head, &error, udp->head.handler_arg);
    else if (udp->is_connected)
        udp->head.error = error.err;
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
    for (int i = 0; i < RECEIVE_BATCH && !udp->is_dead && udp->has_errors; i++)
        udp->has_errors = receive_error(udp);
    mir_page_release(stack->udp_excess);
    stack->udp_excess = NULL;
}

/* ---- sending -------------------------------------------------------------------------------- */

/* A socket of IPv4 alone would take the end of an IPv6 address for an address. */
static int check(struct mir__host_udp *udp, const struct mir_endpoint *to)
{
    if (udp->head.error != 0)
        return mir_udp_take_error(&udp->head);
    if (to == NULL || to->port == 0)
        return to == NULL && udp->is_connected ? 0 : to == NULL ? -MIR_ENOTCONN : -MIR_EINVAL;
    if (udp->family != AF_INET || mir_ip_is_v4(&to->ip) || mir_ip_is_any(&to->ip))
        return 0;
    mir__host_of(udp->head.stack)->count.udp_dropped++;
    return -MIR_ENETUNREACH;
}

/* Errors that an earlier datagram may have caused: the error queue has them too. */
static bool may_be_old(int posix)
{
    return posix == ECONNREFUSED || posix == EHOSTUNREACH || posix == ENETUNREACH ||
           posix == EMSGSIZE || posix == EPROTO || posix == ENOPROTOOPT || posix == EACCES;
}

static int transmit(struct mir__host_udp *udp, const struct mir_endpoint *to, struct msghdr *msg)
{
    struct mir__host_stack *stack = mir__host_of(udp->head.stack);
    struct sockaddr_storage addr;
    int r = check(udp, to);
    if (r < 0)
        return r;
    if (to != NULL) {
        msg->msg_name = &addr;
        msg->msg_namelen = mir__host_sockaddr(to, udp->family, &addr);
    }
    ssize_t n = sendmsg(udp->watch.fd, msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && may_be_old(errno))
        n = sendmsg(udp->watch.fd, msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) {
        stack->count.udp_out++;
        return 0;
    }
    r = mir__host_error(errno);
    stack->count.udp_dropped++;
    return r;
}

static int udp_send(struct mir_udp *head, const struct mir_endpoint *to, const void *data,
                    size_t len)
{
    struct iovec iov = {(void *)(uintptr_t)data, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    return transmit(udp_of(head), to, &msg);
}

static void put_control(struct msghdr *msg, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)((char *)msg->msg_control + msg->msg_controllen);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), data, len);
    msg->msg_controllen += CMSG_SPACE(len);
}

/* What the message says beyond its destination, into [CONTROL_BYTES] zeroed bytes. */
static void make_control(const struct mir_udp_msg *wish, bool is_v4, struct msghdr *msg)
{
    int level = is_v4 ? IPPROTO_IP : IPPROTO_IPV6;
    bool has_info = wish->if_index != 0 || !mir_ip_is_any(&wish->from);
    int ttl = wish->ttl, tos = wish->tos;
    if (has_info && is_v4) {
        struct in_pktinfo info = {.ipi_ifindex = (int)wish->if_index};
        if (!mir_ip_is_any(&wish->from))
            info.ipi_spec_dst.s_addr = htonl(mir_ip_to_v4(&wish->from));
        put_control(msg, level, IP_PKTINFO, &info, sizeof info);
    } else if (has_info) {
        struct in6_pktinfo info = {.ipi6_ifindex = wish->if_index};
        memcpy(&info.ipi6_addr, wish->from.bytes, 16);
        put_control(msg, level, IPV6_PKTINFO, &info, sizeof info);
    }
    if (ttl != 0)
        put_control(msg, level, is_v4 ? IP_TTL : IPV6_HOPLIMIT, &ttl, sizeof ttl);
    if (tos != 0)
        put_control(msg, level, is_v4 ? IP_TOS : IPV6_TCLASS, &tos, sizeof tos);
}

static int udp_send_wish(struct mir__host_udp *udp, const struct mir_endpoint *to,
                         const struct mir_udp_msg *wish, struct mir_buf *buf_given)
{
    struct iovec iov[1 + MIR_BUF_FRAG_MAX];
    _Alignas(struct cmsghdr) char control[CONTROL_BYTES] = {0};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 1};
    bool must_set_df = wish != NULL && wish->dont_fragment && !udp->dont_fragment;
    iov[0] = (struct iovec){buf_given->data, buf_given->len};
    for (uint32_t i = 0; i < buf_given->frag_count; i++)
        iov[msg.msg_iovlen++] =
            (struct iovec){(void *)(uintptr_t)buf_given->frag[i].data, buf_given->frag[i].len};
    if (wish != NULL) {
        msg.msg_control = control;
        make_control(wish, mir_ip_is_v4(to != NULL ? &to->ip : &udp->remote.ip), &msg);
        if (msg.msg_controllen == 0)
            msg.msg_control = NULL;
    }
    if (must_set_df)
        (void)mir__host_udp_set_option(&udp->head, MIR_UDP_DONT_FRAGMENT, 1);
    int r = transmit(udp, to, &msg);
    if (must_set_df)
        (void)mir__host_udp_set_option(&udp->head, MIR_UDP_DONT_FRAGMENT, 0);
    mir_buf_release(buf_given);
    /* The host does not know the source address we ask for. */
    if (r == -MIR_EINVAL && wish != NULL && !mir_ip_is_any(&wish->from))
        return -MIR_EADDRNOTAVAIL;
    return r;
}

static int udp_send_buf(struct mir_udp *head, const struct mir_endpoint *to,
                        struct mir_buf *buf_given)
{
    return udp_send_wish(udp_of(head), to, NULL, buf_given);
}

static int udp_send_msg(struct mir_udp *head, const struct mir_udp_msg *msg,
                        struct mir_buf *buf_given)
{
    return udp_send_wish(udp_of(head), msg->to.port != 0 ? &msg->to : NULL, msg, buf_given);
}

static void udp_local(const struct mir_udp *head, struct mir_endpoint *local)
{
    *local = ((const struct mir__host_udp *)(const void *)head)->local;
}

static const struct mir_udp_ops udp_ops = {
    .send = udp_send,
    .send_buf = udp_send_buf,
    .send_msg = udp_send_msg,
    .connect = mir__host_udp_connect,
    .set_option = mir__host_udp_set_option,
    .join = mir__host_udp_join,
    .leave = mir__host_udp_leave,
    .close = mir__host_udp_close,
    .local = udp_local,
};
