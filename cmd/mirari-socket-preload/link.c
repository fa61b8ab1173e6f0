/* SPDX-License-Identifier: ISC */
/* Route sockets (AF_NETLINK, NETLINK_ROUTE): our interfaces, addresses and routes.
 *
 * A route socket is a pair of which the library itself holds the other end. What the program sends
 * is answered at once, by the thread that sends it: the answers wait in the pair, where recv(),
 * poll and epoll find them. A child shares both ends with its parent, as it would share a socket of
 * the kernel. A program that is executed does not get the other end: route sockets that it inherits
 * are at their end.
 *
 * To the rest of the library it is a datagram socket of the host (PRE_HOST), which it leaves alone,
 * with PRE_LINK as well, which leads here.
 */
#include <fcntl.h>
#include <linux/netlink.h>

#include "cmd/mirari-socket-preload/preload.h"
#include "cmd/socket/link.h"

enum { REQUEST_MAX = 4096 };

int pre_link_make(int type)
{
    struct stat st_a, st_b;
    int a = -1, b = -1;
    struct pre_sock *s = pre_sock_new();
    int r = s == NULL ? -ENFILE : sock_link_pair(SOCK_CLOEXEC, &a, &b);
    if (r == 0 && (fstat(a, &st_a) < 0 || fstat(b, &st_b) < 0 ||
                   (!(type & SOCK_CLOEXEC) && pre_real.fcntl(a, F_SETFD, 0) < 0) ||
                   ((type & SOCK_NONBLOCK) && pre_real.fcntl(a, F_SETFL, O_NONBLOCK) < 0))) {
        r = -errno;
        pre_real.close(a);
        pre_real.close(b);
    }
    if (r == 0) {
        s->domain = AF_NETLINK;
        s->is_udp = true;
        s->ino = st_a.st_ino;
        s->b_ino = st_b.st_ino;
        pre_flag(s, PRE_HOST | PRE_LINK, true);
        b = pre_move_up(b);
        pre_private(b);
        atomic_store(&s->b_fd, b);
        pre_set(a, s);
    }
    if (s != NULL)
        pre_put(s);
    return r == 0 ? a : r;
}

static void give_name(uint32_t port, struct sockaddr *to, socklen_t *len)
{
    struct sockaddr_nl name = {.nl_family = AF_NETLINK, .nl_pid = port};
    memcpy(to, &name, *len < sizeof(name) ? *len : sizeof(name));
    *len = sizeof(name);
}

int pre_link_name(struct pre_sock *s, bool is_peer, struct sockaddr *to, socklen_t *len)
{
    if (pre_is_bad(to) || pre_is_bad(len))
        return -EFAULT;
    if ((int)*len < 0)
        return -EINVAL;
    give_name(is_peer ? 0 : (uint32_t)s->ino, to, len);
    return 0;
}

/* Into end B, unless the program has closed it behind our back. */
static void answer(void *context, const void *bytes, size_t len)
{
    struct pre_sock *s = context;
    int b = atomic_load(&s->b_fd), error = errno;
    /* A program that does not read loses answers, as with the kernel. */
    if (b >= 0 && pre_is_inode(b, s->b_ino))
        (void)pre_real.send(b, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    errno = error;
}

ssize_t pre_link_send(struct pre_sock *s, const struct msghdr *msg)
{
    uint8_t request[REQUEST_MAX];
    struct sock_link link = {
        .asker = pre_asker, .port = (uint32_t)s->ino, .answer = answer, .context = s};
    size_t len = 0;
    for (size_t i = 0; i < msg->msg_iovlen; i++) {
        const struct iovec *part = &msg->msg_iov[i];
        if (part->iov_len > sizeof(request) - len)
            return pre_fail(EMSGSIZE);
        if (part->iov_len != 0)
            memcpy(request + len, part->iov_base, part->iov_len);
        len += part->iov_len;
    }
    int r = sock_link_take(&link, request, len);
    return r != 0 ? pre_fail(r) : (ssize_t)len;
}

ssize_t pre_link_recv(int fd, struct msghdr *msg, int flags)
{
    struct msghdr in = *msg;
    in.msg_name = NULL;
    in.msg_namelen = 0;
    ssize_t got = pre_real.recvmsg(fd, &in, flags);
    if (got < 0)
        return got;
    msg->msg_flags = in.msg_flags;
    msg->msg_controllen = in.msg_controllen;
    if (msg->msg_name != NULL)
        give_name(0, msg->msg_name, &msg->msg_namelen);
    return got;
}
