/* SPDX-License-Identifier: ISC */
/* Datagrams: a head of 64 bytes in front of each payload, both ways (struct sock_dgram).
 *
 * Sending and receiving is one call of the kernel on the pair, with one more element in the gather
 * list. The pair keeps message boundaries, the order of calls, MSG_PEEK, timeouts, signals. From
 * the head come the source address, the true length and the ancillary data that the program asked
 * for.
 *
 * Differences from a socket of the kernel: a full pair makes send() wait or say EAGAIN, where the
 * kernel's UDP would drop; MSG_MORE is refused; at most IOV_MOST pieces in a gather list.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/time.h>
#include <time.h>

#include "cmd/mirari-socket-preload/preload.h"

enum { IOV_MOST = 255 };

/* ---- sending
 * -------------------------------------------------------------------------------------- */

static void put_local(struct sock_dgram *head, const void *ip, size_t len, uint32_t if_index)
{
    static const uint8_t none[16];
    head->if_index = if_index;
    memset(head->local_ip, 0, sizeof(head->local_ip));
    memcpy(head->local_ip, ip, len);
    if (if_index != 0 || memcmp(ip, none, len) != 0)
        head->flags |= SOCK_D_HAS_LOCAL;
}

static void put_hops(struct sock_dgram *head, uint8_t hops)
{
    head->hop_limit = hops;
    head->flags |= SOCK_D_HAS_HOPS;
}

static void put_tos(struct sock_dgram *head, uint8_t tos)
{
    head->tos = tos;
    head->flags |= SOCK_D_HAS_TOS;
}

static int put_one(struct sock_dgram *head, const struct cmsghdr *c)
{
    size_t len = c->cmsg_len - CMSG_LEN(0);
    const void *data = CMSG_DATA(c);
    int number = 0;
    if (len >= sizeof(number))
        memcpy(&number, data, sizeof(number));
    else if (len == 1)
        number = *(const uint8_t *)data;
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO &&
        len >= sizeof(struct in_pktinfo)) {
        struct in_pktinfo info;
        memcpy(&info, data, sizeof(info));
        put_local(head, &info.ipi_spec_dst, 4, (uint32_t)info.ipi_ifindex);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO &&
               len >= sizeof(struct in6_pktinfo)) {
        struct in6_pktinfo info;
        memcpy(&info, data, sizeof(info));
        put_local(head, &info.ipi6_addr, 16, info.ipi6_ifindex);
    } else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
               (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)) {
        put_hops(head, (uint8_t)number);
    } else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) ||
               (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)) {
        put_tos(head, (uint8_t)number);
    } else {
        return -EINVAL;
    }
    return 0;
}

static int put_ancillary(struct sock_dgram *head, const struct msghdr *msg)
{
    struct msghdr copy = *msg;
    if (msg->msg_control == NULL || msg->msg_controllen == 0)
        return 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&copy); c != NULL; c = CMSG_NXTHDR(&copy, c)) {
        if (c->cmsg_len < CMSG_LEN(0))
            return -EINVAL;
        if (c->cmsg_level == SOL_SOCKET) /* transmission times, marks: nothing of ours */
            continue;
        int r = put_one(head, c);
        if (r != 0)
            return r;
    }
    return 0;
}

/* The head of what is sent. */
static int begin_send(struct pre_sock *s, int fd, const struct msghdr *msg, int flags,
                      struct sock_dgram *head)
{
    memset(head, 0, sizeof(*head));
    if (flags & (MSG_OOB | MSG_MORE))
        return -EOPNOTSUPP;
    if (msg->msg_iovlen > IOV_MOST)
        return -EMSGSIZE;
    size_t len = 0;
    for (size_t i = 0; i < msg->msg_iovlen; i++)
        len += msg->msg_iov[i].iov_len;
    head->len = (uint32_t)(len < SOCK_MESSAGE_MAX ? len : SOCK_MESSAGE_MAX);
    if (msg->msg_name != NULL && msg->msg_namelen != 0) {
        int r = pre_addr_in(s, msg->msg_name, msg->msg_namelen, &head->peer);
        if (r == 0 && head->peer.family == AF_UNSPEC)
            r = s->domain == AF_INET ? (head->peer.family = AF_INET, 0) : -EAFNOSUPPORT;
        if (r != 0)
            return r;
        if (head->peer.port == 0)
            return -EINVAL;
    } else if (atomic_load(&s->state) != PRE_CONNECTED) {
        pre_update(s, fd);
        if (atomic_load(&s->state) != PRE_CONNECTED)
            return -EDESTADDRREQ;
    }
    bool is_v4 = s->domain == AF_INET || head->peer.family == AF_INET ||
                 (head->peer.family == AF_UNSPEC && s->names.peer.family == AF_INET);
    if (head->len > (is_v4 ? SOCK_DGRAM4_MAX : SOCK_DGRAM_MAX))
        return -EMSGSIZE;
    return put_ancillary(head, msg);
}

/* The server must know a socket before data flows: any operation will do. */
static int make_known(struct pre_sock *s, int fd)
{
    struct sock_option error = {.level = SOL_SOCKET, .name = SO_ERROR, .len = sizeof(int)};
    struct {
        struct sock_option head;
        uint64_t value;
    } answer;
    int r = pre_op_simple(s, fd, SOCK_GETOPT, PRE_BYTES(&error, sizeof(error)),
                          PRE_BYTES(&answer, sizeof(answer)));
    return atomic_load(&s->handle) != 0 ? 0 : r;
}

static int choose_stack(struct pre_sock *s, int fd, const struct msghdr *msg)
{
    if (pre_is_bad(msg->msg_name) || msg->msg_namelen < sizeof(sa_family_t) ||
        pre_has(s, PRE_BOUND | PRE_DECIDED) || atomic_load(&s->state) == PRE_CONNECTED)
        return 0;
    pre_flag(s, PRE_DECIDED, true);
    return pre_switch(
        s, fd, sock_rules_decide(&pre_rules, true, SOCK_RULE_DST, msg->msg_name, msg->msg_namelen));
}

ssize_t pre_dgram_send(struct pre_sock *s, int fd, const struct msghdr *msg, int flags)
{
    struct sock_dgram head;
    struct iovec iov[IOV_MOST + 1];
    int r = choose_stack(s, fd, msg);
    if (r == 0 && pre_has(s, PRE_HOST))
        return pre_real.sendmsg(fd, msg, flags);
    if (r == 0 && pre_has(s, PRE_SHUT_WR))
        r = -EPIPE;
    if (r == 0)
        r = begin_send(s, fd, msg, flags, &head);
    if (r == 0 && unlikely(atomic_load(&s->handle) == 0))
        r = make_known(s, fd);
    if (r != 0)
        return pre_fail(r);
    iov[0] = (struct iovec){&head, sizeof(head)};
    memcpy(iov + 1, msg->msg_iov, msg->msg_iovlen * sizeof(*iov));
    struct msghdr out = {.msg_iov = iov, .msg_iovlen = msg->msg_iovlen + 1};
    ssize_t put = pre_real.sendmsg(fd, &out, (flags & MSG_DONTWAIT) | MSG_NOSIGNAL);
    if (put < 0 && pre_has(s, PRE_SHUT_WR))
        return pre_fail(EPIPE);
    if (put < 0)
        return errno == EPIPE || errno == ECONNRESET ? pre_fail(ENETDOWN) : -1;
    return (ssize_t)head.len;
}

/* ---- receiving
 * ------------------------------------------------------------------------------------ */

struct ancillary {
    struct msghdr *msg;
    size_t room, used;
};

static void give(struct ancillary *to, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *c;
    if (to->msg->msg_control == NULL || to->room - to->used < CMSG_LEN(len)) {
        to->msg->msg_flags |= MSG_CTRUNC;
        return;
    }
    c = (struct cmsghdr *)(void *)((uint8_t *)to->msg->msg_control + to->used);
    c->cmsg_len = CMSG_LEN(len);
    c->cmsg_level = level;
    c->cmsg_type = type;
    memcpy(CMSG_DATA(c), data, len);
    size_t space = CMSG_SPACE(len);
    to->used += space < to->room - to->used ? space : to->room - to->used;
}

static void give_stamp(struct pre_sock *s, struct ancillary *to, uint64_t ns)
{
    struct timespec now;
    if (ns == 0) {
        clock_gettime(CLOCK_REALTIME, &now);
        ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    }
    struct timeval us = {.tv_sec = (time_t)(ns / 1000000000u),
                         .tv_usec = (suseconds_t)(ns % 1000000000u / 1000)};
    now = (struct timespec){.tv_sec = us.tv_sec, .tv_nsec = (long)(ns % 1000000000u)};
    if (pre_has(s, PRE_STAMP_NS))
        give(to, SOL_SOCKET, SCM_TIMESTAMPNS, &now, sizeof(now));
    else
        give(to, SOL_SOCKET, SCM_TIMESTAMP, &us, sizeof(us));
}

static void give_ancillary(struct pre_sock *s, const struct sock_dgram *head, struct ancillary *to)
{
    int number;
    bool is_v4 = head->peer.family == AF_INET || s->domain == AF_INET;
    if (pre_has(s, PRE_STAMP_US | PRE_STAMP_NS))
        give_stamp(s, to, head->time_ns);
    if (pre_has(s, PRE_PKTINFO) && is_v4 && (head->flags & SOCK_D_HAS_LOCAL)) {
        struct in_pktinfo info = {.ipi_ifindex = (int)head->if_index};
        memcpy(&info.ipi_addr, head->local_ip, 4);
        memcpy(&info.ipi_spec_dst, head->local_ip, 4);
        give(to, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    }
    if (pre_has(s, PRE_PKTINFO6) && s->domain == AF_INET6 && (head->flags & SOCK_D_HAS_LOCAL)) {
        struct in6_pktinfo info = {.ipi6_ifindex = head->if_index};
        struct sock_addr local = {.family = head->peer.family};
        struct sockaddr_storage whole;
        memcpy(local.ip, head->local_ip, 16);
        pre_addr_make(AF_INET6, &local, &whole);
        memcpy(&info.ipi6_addr, &((struct sockaddr_in6 *)(void *)&whole)->sin6_addr, 16);
        give(to, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    }
    number = head->hop_limit;
    if (head->flags & SOCK_D_HAS_HOPS) {
        if (pre_has(s, PRE_TTL) && is_v4)
            give(to, IPPROTO_IP, IP_TTL, &number, sizeof(number));
        if (pre_has(s, PRE_HOPS6) && !is_v4)
            give(to, IPPROTO_IPV6, IPV6_HOPLIMIT, &number, sizeof(number));
    }
    number = head->tos;
    if (head->flags & SOCK_D_HAS_TOS) {
        if (pre_has(s, PRE_TOS) && is_v4)
            give(to, IPPROTO_IP, IP_TOS, &head->tos, 1);
        if (pre_has(s, PRE_CLASS6) && !is_v4)
            give(to, IPPROTO_IPV6, IPV6_TCLASS, &number, sizeof(number));
    }
}

/* From what the kernel gave to what the program expects. */
static ssize_t end_recv(struct pre_sock *s, const struct sock_dgram *head, size_t got, int flags,
                        struct msghdr *msg)
{
    size_t room = 0, len = got - sizeof(*head);
    for (size_t i = 0; i < msg->msg_iovlen; i++)
        room += msg->msg_iov[i].iov_len;
    struct ancillary to = {.msg = msg, .room = msg->msg_controllen};
    msg->msg_flags = len > room ? MSG_TRUNC : 0;
    if (msg->msg_name != NULL)
        pre_addr_out(s->domain, &head->peer, msg->msg_name, &msg->msg_namelen);
    else
        msg->msg_namelen = 0;
    if (unlikely(pre_has(s, ~(PRE_PKTINFO - 1u))))
        give_ancillary(s, head, &to);
    msg->msg_controllen = to.used;
    return (ssize_t)(flags & MSG_TRUNC || len < room ? len : room);
}

static bool is_waiting(int fd, int flags)
{
    return !(flags & MSG_DONTWAIT) && !(pre_real.fcntl(fd, F_GETFL) & O_NONBLOCK);
}

ssize_t pre_dgram_recv(struct pre_sock *s, int fd, struct msghdr *msg, int flags)
{
    struct sock_dgram head;
    struct iovec iov[IOV_MOST + 1];
    if (pre_has(s, PRE_HOST))
        return pre_real.recvmsg(fd, msg, flags);
    if (flags & MSG_ERRQUEUE)
        return pre_fail(EAGAIN);
    if (msg->msg_iovlen > IOV_MOST)
        return pre_fail(EMSGSIZE);
    if (unlikely(atomic_load(&s->handle) == 0)) {
        int r = make_known(s, fd);
        if (r != 0)
            return pre_fail(r);
    }
    iov[0] = (struct iovec){&head, sizeof(head)};
    memcpy(iov + 1, msg->msg_iov, msg->msg_iovlen * sizeof(*iov));
    struct msghdr in = {.msg_iov = iov, .msg_iovlen = msg->msg_iovlen + 1};
    ssize_t got = pre_real.recvmsg(fd, &in, (flags & (MSG_DONTWAIT | MSG_PEEK)) | MSG_TRUNC);
    if (got < 0)
        return errno == ECONNRESET ? pre_fail(ENETDOWN) : -1;
    if (got == 0 && pre_has(s, PRE_SHUT_RD)) /* as Linux: who would not wait finds nothing */
        return is_waiting(fd, flags) ? 0 : pre_fail(EAGAIN);
    if (got < (ssize_t)sizeof(head)) /* the server has gone */
        return pre_fail(ENETDOWN);
    if (head.flags & SOCK_D_ERROR) {
        if (flags & MSG_PEEK) /* an error is reported once, also to who only looks */
            pre_real.recv(fd, &head, sizeof(head), MSG_DONTWAIT);
        return pre_fail(head.error);
    }
    return end_recv(s, &head, (size_t)got, flags, msg);
}

int pre_dgram_first(int fd)
{
    struct sock_dgram head;
    int error = errno;
    ssize_t got = pre_real.recv(fd, &head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);
    errno = error;
    return got == sizeof(head) && !(head.flags & SOCK_D_ERROR) ? (int)head.len : 0;
}
