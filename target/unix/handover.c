/* SPDX-License-Identifier: ISC */
/* Messages between monitor, workers and the tool, and the descriptors that go with them.
 *
 * Neither side believes the other: a worker may have been taken over by what it got from a network,
 * and the monitor has privileges. A message has one size, a magic number and a version; each reader
 * takes only the kinds that are meant for it, texts must end, fields must be in their range, and
 * there must be as many descriptors as the kind has. What is wrong is refused as a whole, and its
 * descriptors are closed, also when the host cut the list of them.
 *
 * A packet socket keeps the limits of messages and says when the other end is gone, so there is no
 * framing and no reassembly, and a reader that is killed leaves no half message behind.
 */
#include "target/unix/handover.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mirari/page.h>
#include <mirari/rpc.h>

#define FDS_MAX 4u /* room for more than one, so that those too many can be closed */
#define MTU_MIN 576u

struct kind {
    unsigned sides; /* bits of who takes it */
    unsigned fds;
};

#define TO(side) (1u << MIR__HANDOVER_##side)

static const struct kind kinds[MIR__HANDOVER_KINDS] = {
    [MIR__HANDOVER_DEVICE] = {TO(WORKER), 1},
    [MIR__HANDOVER_GO] = {TO(WORKER), 0},
    [MIR__HANDOVER_REMOVE] = {TO(WORKER), 0},
    [MIR__HANDOVER_STOP] = {TO(WORKER), 0},
    [MIR__HANDOVER_PEER] = {TO(WORKER), 1},
    [MIR__HANDOVER_LEAVE] = {TO(WORKER), 1},
    [MIR__HANDOVER_TAKE] = {TO(WORKER), 1},
    [MIR__HANDOVER_HELLO] = {TO(MONITOR), 0},
    [MIR__HANDOVER_READY] = {TO(MONITOR), 0},
    [MIR__HANDOVER_DONE] = {TO(MONITOR), 0},
    [MIR__HANDOVER_ATTACH] = {TO(CONTROL), 0},
    [MIR__HANDOVER_DETACH] = {TO(CONTROL), 0},
    [MIR__HANDOVER_UPGRADE] = {TO(CONTROL), 0},
    [MIR__HANDOVER_LIST] = {TO(CONTROL), 0},
    [MIR__HANDOVER_ANSWER] = {TO(TOOL), 0},
    [MIR__HANDOVER_CHANNEL] = {TO(WORKER), 1},
    [MIR__HANDOVER_LEASE] = {TO(MONITOR) | TO(WORKER), 0},
};

struct mir__handover mir__handover_make(enum mir__handover_kind kind)
{
    struct mir__handover message;
    memset(&message, 0, sizeof message);
    message.magic = MIR__HANDOVER_MAGIC;
    message.version = MIR__HANDOVER_VERSION;
    message.kind = (uint16_t)kind;
    return message;
}

static bool is_text(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

static bool is_lease_good(const struct mir__handover *m)
{
    return m->kind == MIR__HANDOVER_LEASE ? m->lease_len <= sizeof m->lease && m->name[0] != '\0'
                                          : m->lease_len == 0;
}

static bool is_device_good(const struct mir__handover *m)
{
    return (m->type == MIR__HANDOVER_TAP || m->type == MIR__HANDOVER_PACKET) && m->mtu >= MTU_MIN &&
           !(m->mac[0] & 1) && m->name[0] != '\0' && m->ifname[0] != '\0' &&
           !(m->flags & ~(MIR__HANDOVER_OFFLOADS | MIR__HANDOVER_BUNDLES | MIR__HANDOVER_PAUSED));
}

int mir__handover_check(const void *data, size_t len, unsigned fd_count,
                        enum mir__handover_side side)
{
    struct mir__handover m;
    if (len < sizeof m.magic + sizeof m.version)
        return -MIR_EPROTO;
    memset(&m, 0, sizeof m);
    memcpy(&m, data, MIR_MIN(len, sizeof m));
    if (m.magic != MIR__HANDOVER_MAGIC)
        return -MIR_EPROTO;
    if (m.version != MIR__HANDOVER_VERSION)
        return -MIR_ENOTSUP;
    if (len != sizeof m || m.kind == 0 || m.kind >= MIR__HANDOVER_KINDS ||
        !(kinds[m.kind].sides & 1u << side))
        return -MIR_EPROTO;
    if (!is_text(m.name, sizeof m.name) || !is_text(m.ifname, sizeof m.ifname) ||
        !is_text(m.text, sizeof m.text) || m.status > 0 || !is_lease_good(&m))
        return -MIR_EPROTO;
    if (m.kind == MIR__HANDOVER_DEVICE && !is_device_good(&m))
        return -MIR_EPROTO;
    if (m.kind == MIR__HANDOVER_CHANNEL &&
        (m.type > MIR_RPC_FULL || m.flags & ~MIR__HANDOVER_PAUSED))
        return -MIR_EPROTO;
    return fd_count == kinds[m.kind].fds ? 0 : -MIR_EINVAL;
}

int mir__handover_send(int socket_fd, const struct mir__handover *message, int fd)
{
    /* sendmsg only reads; its type cannot say so. */
    struct iovec iov = {(void *)(uintptr_t)message, sizeof *message};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;
    if (fd >= 0) {
        memset(&control, 0, sizeof control);
        msg.msg_control = &control;
        msg.msg_controllen = sizeof control.space;
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    }
    do
        n = sendmsg(socket_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof *message)
        return 0;
    if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
        return -MIR_ECLOSED;
    return n < 0 && (errno == EAGAIN || errno == ETOOMANYREFS) ? -MIR_EAGAIN : -MIR_EIO;
}

/* All descriptors of a message, into @fds; how many. */
static unsigned take_descriptors(struct msghdr *msg, int fds[FDS_MAX])
{
    unsigned count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t bytes = c->cmsg_len - CMSG_LEN(0);
        for (size_t at = 0; at + sizeof(int) <= bytes; at += sizeof(int)) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
            if (count < FDS_MAX)
                fds[count++] = fd;
            else
                close(fd);
        }
    }
    return count;
}

int mir__handover_receive(int socket_fd, enum mir__handover_side side,
                          struct mir__handover *message, int *fd)
{
    struct mir__handover m;
    struct iovec iov = {&m, sizeof m};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control.space};
    int fds[FDS_MAX];
    ssize_t n;
    do
        n = recvmsg(socket_fd, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return -MIR_ECLOSED;
    if (n < 0)
        return errno == EAGAIN ? -MIR_EAGAIN : errno == ECONNRESET ? -MIR_ECLOSED : -MIR_EIO;
    unsigned count = take_descriptors(&msg, fds);
    int r = msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)
                ? -MIR_EPROTO
                : mir__handover_check(&m, (size_t)n, count, side);
    if (r < 0) {
        while (count > 0)
            close(fds[--count]);
        return r;
    }
    *message = m;
    *fd = count == 1 ? fds[0] : -1;
    return 0;
}
