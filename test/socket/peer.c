/* SPDX-License-Identifier: ISC */
/* The other end of the socket conformance program, on the host's stack.
 *
 *   conform-peer CONTROL ADDRESS4 ADDRESS6
 *
 * It listens on the AF_UNIX path CONTROL, prints "ready", and serves each connection in a process
 * of its own, so that what a case left behind goes with it. Connections that it makes or accepts
 * are handed over as descriptors: the case itself then reads, writes and closes both ends and needs
 * no further protocol. Nothing here is tested; it is kept plain.
 */
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define PEER_SOCKETS_MAX 64
#define PEER_WAIT_MS     3000

static struct sockaddr_storage own[2]; /* IPv4, IPv6 */
static int held[PEER_SOCKETS_MAX];
static int held_count;

static socklen_t length_of(const struct sockaddr_storage *addr)
{
    return addr->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static int port_at(int fd)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0) {
        return 0;
    }
    /* The port stands at the same place in both families. */
    return ntohs(((struct sockaddr_in *)&addr)->sin_port);
}

static int bound(int family, int type)
{
    int fd = socket(family, type | SOCK_CLOEXEC, 0);
    struct sockaddr_storage addr = own[family == AF_INET6];
    if (fd >= 0 && bind(fd, (struct sockaddr *)&addr, length_of(&addr)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int hold(int fd)
{
    if (fd < 0 || held_count == PEER_SOCKETS_MAX) {
        return -1;
    }
    held[held_count] = fd;
    return held_count++;
}

static int is_held(int id)
{
    errno = EBADF;
    return id >= 0 && id < held_count;
}

static int readable(int fd)
{
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, PEER_WAIT_MS) == 1;
}

static int accept_one(int id, struct peer_answer *answer)
{
    socklen_t len = sizeof answer->addr;
    if (!is_held(id) || !readable(held[id])) {
        errno = ETIMEDOUT;
        return -1;
    }
    return accept4(held[id], (struct sockaddr *)&answer->addr, &len, SOCK_CLOEXEC);
}

static int connect_to(const struct peer_request *ask)
{
    int now = ask->op == PEER_CONNECT_NOW ? SOCK_NONBLOCK : 0;
    int fd = socket(ask->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | now, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&ask->addr, length_of(&ask->addr)) < 0 &&
        errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

static int udp_open(int family)
{
    int on = 1, fd = bound(family, SOCK_DGRAM);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
    if (family == AF_INET) {
        setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof on);
        setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof on);
        setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &((struct sockaddr_in *)&own[0])->sin_addr,
                   sizeof(struct in_addr));
    } else {
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on);
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof on);
    }
    return fd;
}

static void read_control(struct msghdr *msg, struct peer_answer *answer)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        int is4 = c->cmsg_level == IPPROTO_IP;
        if (c->cmsg_type == (is4 ? IP_TTL : IPV6_HOPLIMIT)) {
            memcpy(&answer->ttl, CMSG_DATA(c), sizeof(int));
        } else if (is4 && c->cmsg_type == IP_TOS) {
            answer->tos = *(unsigned char *)CMSG_DATA(c);
        } else if (!is4 && c->cmsg_type == IPV6_TCLASS) {
            memcpy(&answer->tos, CMSG_DATA(c), sizeof(int));
        }
    }
}

static int receive(int id, struct peer_answer *answer)
{
    static char data[65536];
    char control[256];
    struct iovec iov = {data, sizeof data};
    struct msghdr msg = {&answer->addr, sizeof answer->addr, &iov, 1, control, sizeof control, 0};
    if (!is_held(id) || !readable(held[id])) {
        errno = ETIMEDOUT;
        return -1;
    }
    int got = (int)recvmsg(held[id], &msg, 0);
    read_control(&msg, answer);
    return got;
}

static int join(int id, const struct sockaddr_storage *group)
{
    struct group_req ask = {0};
    memcpy(&ask.gr_group, group, sizeof *group);
    /* The interface that has the own address is the only one besides lo. */
    ask.gr_interface = 0;
    int level = group->ss_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
    return setsockopt(held[id], level, MCAST_JOIN_GROUP, &ask, sizeof ask);
}

static int reset(int fd)
{
    struct linger hard = {1, 0};
    return fd < 0 ? -1 : setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

/* Does what is asked; `fd` came with it. Returns a descriptor to hand over, or -1. */
static int serve(const struct peer_request *ask, struct peer_answer *answer, int fd)
{
    static char pattern[65536];
    int made = -1;
    switch (ask->op) {
    case PEER_LISTEN:
        answer->result = hold(bound(ask->family, SOCK_STREAM));
        if (answer->result >= 0 && listen(held[answer->result], ask->arg) == 0) {
            answer->port = port_at(held[answer->result]);
        }
        break;
    case PEER_ACCEPT:
        answer->result = made = accept_one(ask->arg, answer);
        break;
    case PEER_CONNECT:
    case PEER_CONNECT_NOW:
        answer->result = made = connect_to(ask);
        break;
    case PEER_CLOSED_PORT:
        made = bound(ask->family, ask->arg);
        answer->port = port_at(made);
        close(made);
        made = -1;
        break;
    case PEER_UDP:
        answer->result = hold(udp_open(ask->family));
        answer->port = answer->result < 0 ? 0 : port_at(held[answer->result]);
        break;
    case PEER_SEND:
        if (!is_held(ask->arg)) {
            answer->result = -1;
            break;
        }
        memset(pattern, 'p', sizeof pattern);
        answer->result = (int)sendto(held[ask->arg], pattern, (size_t)ask->len, 0,
                                     (const struct sockaddr *)&ask->addr, length_of(&ask->addr));
        break;
    case PEER_RECEIVE:
        answer->result = receive(ask->arg, answer);
        break;
    case PEER_JOIN:
        answer->result = is_held(ask->arg) ? join(ask->arg, &ask->addr) : -1;
        break;
    case PEER_RESET:
        answer->result = reset(fd);
        break;
    default:
        answer->result = -1;
        errno = EINVAL;
    }
    answer->error = answer->result < 0 ? errno : 0;
    return made;
}

static int take_fd(struct msghdr *msg)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    int fd = -1;
    if (c && c->cmsg_type == SCM_RIGHTS) {
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    }
    return fd;
}

static void reply(int control, struct peer_answer *answer, int fd)
{
    char room[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {answer, sizeof *answer};
    struct msghdr msg = {0, 0, &iov, 1, 0, 0, 0};
    if (fd >= 0) {
        msg.msg_control = room;
        msg.msg_controllen = sizeof room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    sendmsg(control, &msg, MSG_NOSIGNAL);
}

static void serve_all(int control)
{
    for (;;) {
        struct peer_request ask;
        struct peer_answer answer = {0};
        char room[CMSG_SPACE(sizeof(int))];
        struct iovec iov = {&ask, sizeof ask};
        struct msghdr msg = {0, 0, &iov, 1, room, sizeof room, 0};
        if (recvmsg(control, &msg, 0) != sizeof ask) {
            return;
        }
        int fd = take_fd(&msg);
        int made = serve(&ask, &answer, fd);
        if (fd >= 0) {
            close(fd);
        }
        reply(control, &answer, made);
        if (made >= 0) {
            close(made);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "conform-peer CONTROL ADDRESS4 ADDRESS6\n");
        return 2;
    }
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", argv[1]);
    own[0].ss_family = AF_INET;
    own[1].ss_family = AF_INET6;
    if (inet_pton(AF_INET, argv[2], &((struct sockaddr_in *)&own[0])->sin_addr) != 1 ||
        inet_pton(AF_INET6, argv[3], &((struct sockaddr_in6 *)&own[1])->sin6_addr) != 1) {
        fprintf(stderr, "conform-peer: %s and %s must be an IPv4 and an IPv6 address\n", argv[2],
                argv[3]);
        return 2;
    }
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    unlink(at.sun_path);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 64) < 0) {
        perror("conform-peer");
        return 1;
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        int control = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (control >= 0 && fork() == 0) {
            close(listener);
            serve_all(control);
            _exit(0);
        }
        close(control);
    }
}
