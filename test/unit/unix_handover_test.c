/* SPDX-License-Identifier: ISC */
/* Messages between monitor, workers and tool: what is believed, what is refused, and that no
 * descriptor is left over whatever comes. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "target/unix/handover.h"
#include "test/harness/tap.h"

static int left, right;

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir != NULL && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        closedir(dir);
    return count;
}

static struct mir__handover device(void)
{
    struct mir__handover m = mir__handover_make(MIR__HANDOVER_DEVICE);
    m.type = MIR__HANDOVER_TAP;
    m.mtu = 1500;
    m.mac[0] = 2;
    strcpy(m.name, "net0");
    strcpy(m.ifname, "tap7");
    return m;
}

static int check_as(const struct mir__handover *m, unsigned fds, enum mir__handover_side side)
{
    return mir__handover_check(m, sizeof *m, fds, side);
}

static void test_sides(void)
{
    static const struct {
        enum mir__handover_kind kind;
        enum mir__handover_side side;
        unsigned fds;
    } rows[] = {
        {MIR__HANDOVER_GO, MIR__HANDOVER_WORKER, 0},
        {MIR__HANDOVER_REMOVE, MIR__HANDOVER_WORKER, 0},
        {MIR__HANDOVER_STOP, MIR__HANDOVER_WORKER, 0},
        {MIR__HANDOVER_PEER, MIR__HANDOVER_WORKER, 1},
        {MIR__HANDOVER_LEAVE, MIR__HANDOVER_WORKER, 1},
        {MIR__HANDOVER_CHANNEL, MIR__HANDOVER_WORKER, 1},
        {MIR__HANDOVER_TAKE, MIR__HANDOVER_WORKER, 1},
        {MIR__HANDOVER_HELLO, MIR__HANDOVER_MONITOR, 0},
        {MIR__HANDOVER_READY, MIR__HANDOVER_MONITOR, 0},
        {MIR__HANDOVER_DONE, MIR__HANDOVER_MONITOR, 0},
        {MIR__HANDOVER_ATTACH, MIR__HANDOVER_CONTROL, 0},
        {MIR__HANDOVER_DETACH, MIR__HANDOVER_CONTROL, 0},
        {MIR__HANDOVER_UPGRADE, MIR__HANDOVER_CONTROL, 0},
        {MIR__HANDOVER_LIST, MIR__HANDOVER_CONTROL, 0},
        {MIR__HANDOVER_ANSWER, MIR__HANDOVER_TOOL, 0},
    };
    for (size_t i = 0; i < MIR_ARRAY_LEN(rows); i++) {
        struct mir__handover m = mir__handover_make(rows[i].kind);
        for (int side = MIR__HANDOVER_WORKER; side <= MIR__HANDOVER_TOOL; side++)
            check_int(check_as(&m, rows[i].fds, (enum mir__handover_side)side), ==,
                      (int)rows[i].side == side ? 0 : -MIR_EPROTO);
        check_int(check_as(&m, 1 - rows[i].fds, rows[i].side), ==, -MIR_EINVAL);
    }
}

static void test_lease(void)
{
    struct mir__handover m = mir__handover_make(MIR__HANDOVER_LEASE);
    check_int(check_as(&m, 0, MIR__HANDOVER_MONITOR), ==, -MIR_EPROTO); /* of which network? */
    strcpy(m.name, "net0");
    check_int(check_as(&m, 0, MIR__HANDOVER_MONITOR), ==, 0);
    check_int(check_as(&m, 0, MIR__HANDOVER_WORKER), ==, 0);
    check_int(check_as(&m, 0, MIR__HANDOVER_CONTROL), ==, -MIR_EPROTO);
    check_int(check_as(&m, 0, MIR__HANDOVER_TOOL), ==, -MIR_EPROTO);
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_EINVAL);
    m.lease_len = sizeof m.lease;
    check_int(check_as(&m, 0, MIR__HANDOVER_WORKER), ==, 0);
    m.lease_len++;
    check_int(check_as(&m, 0, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    m = device();
    m.lease_len = 1;
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
}

static void test_fields(void)
{
    struct mir__handover m = device();
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, 0);
    check_int(check_as(&m, 0, MIR__HANDOVER_WORKER), ==, -MIR_EINVAL);
    check_int(check_as(&m, 2, MIR__HANDOVER_WORKER), ==, -MIR_EINVAL);
    m.magic++;
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    m = device();
    m.version++;
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_ENOTSUP);
    check_int(mir__handover_check(&m, 6, 0, MIR__HANDOVER_WORKER), ==, -MIR_ENOTSUP);
    check_int(mir__handover_check(&m, 5, 0, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    m = device();
    check_int(mir__handover_check(&m, sizeof m - 1, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    check_int(mir__handover_check(&m, sizeof m + 1, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    m.kind = 0;
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    m.kind = MIR__HANDOVER_KINDS;
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    m = device();
    m.type = MIR__HANDOVER_PACKET;
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, 0);
    m.type = 3;
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    m = device();
    m.mtu = 575;
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    m = device();
    m.mac[0] = 1;
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    m = device();
    m.flags = 8;
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    m = device();
    m.name[0] = '\0';
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    m = device();
    memset(m.name, 'x', sizeof m.name);
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    m = device();
    memset(m.ifname, 'x', sizeof m.ifname);
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    m = device();
    memset(m.text, 'x', sizeof m.text);
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
    m = device();
    m.status = 1;
    check_int(check_as(&m, 1, MIR__HANDOVER_WORKER), ==, -MIR_EPROTO);
}

static void test_passing(void)
{
    struct mir__handover m = device(), got;
    int pipe_fds[2], fd = -1;
    char byte = 0;
    check_int(pipe(pipe_fds), ==, 0);
    check_int(mir__handover_send(left, &m, pipe_fds[1]), ==, 0);
    check_int(mir__handover_receive(right, MIR__HANDOVER_WORKER, &got, &fd), ==, 0);
    check_mem(&got, &m, sizeof m);
    check(fd >= 0 && fd != pipe_fds[1]);
    check_int(write(fd, "x", 1), ==, 1);
    check_int(read(pipe_fds[0], &byte, 1), ==, 1);
    check_int(byte, ==, 'x');
    close(fd);
    m = mir__handover_make(MIR__HANDOVER_GO);
    check_int(mir__handover_send(left, &m, -1), ==, 0);
    check_int(mir__handover_receive(right, MIR__HANDOVER_WORKER, &got, &fd), ==, 0);
    check_int(fd, ==, -1);
    check_int(mir__handover_receive(right, MIR__HANDOVER_WORKER, &got, &fd), ==, -MIR_EAGAIN);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* [count] copies of standard output beside [len] bytes. */
static void send_raw(const void *data, size_t len, unsigned count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(16 * sizeof(int))];
    } control;
    struct iovec iov = {(void *)(uintptr_t)data, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    memset(&control, 0, sizeof control);
    if (count > 0) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
        for (unsigned i = 0; i < count; i++) {
            int fd = STDOUT_FILENO;
            memcpy(CMSG_DATA(&control.header) + i * sizeof fd, &fd, sizeof fd);
        }
    }
    check_int(sendmsg(left, &msg, 0), ==, (int)len);
}

static void test_nothing_is_left_open(void)
{
    struct mir__handover m = device(), go = mir__handover_make(MIR__HANDOVER_GO), got;
    unsigned before = open_descriptors();
    char long_one[sizeof m + 10];
    int fd = -1;
    memset(long_one, 0, sizeof long_one);
    memcpy(long_one, &m, sizeof m);
    for (unsigned count = 2; count <= 16; count++) {
        send_raw(&m, sizeof m, count);
        check_int(mir__handover_receive(right, MIR__HANDOVER_WORKER, &got, &fd), <, 0);
        check_int((int)open_descriptors(), ==, (int)before);
    }
    send_raw(&go, sizeof go, 1);
    check_int(mir__handover_receive(right, MIR__HANDOVER_WORKER, &got, &fd), ==, -MIR_EINVAL);
    send_raw(long_one, sizeof long_one, 1);
    check_int(mir__handover_receive(right, MIR__HANDOVER_WORKER, &got, &fd), ==, -MIR_EPROTO);
    send_raw("x", 1, 1);
    check_int(mir__handover_receive(right, MIR__HANDOVER_WORKER, &got, &fd), ==, -MIR_EPROTO);
    check_int((int)open_descriptors(), ==, (int)before);
}

static void test_end(void)
{
    struct mir__handover m = mir__handover_make(MIR__HANDOVER_STOP), got;
    int fd;
    close(left);
    check_int(mir__handover_receive(right, MIR__HANDOVER_WORKER, &got, &fd), ==, -MIR_ECLOSED);
    check_int(mir__handover_send(right, &m, -1), ==, -MIR_ECLOSED);
    close(right);
}

int main(void)
{
    int ends[2];
    tap_begin("unix_handover");
    check_int(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), ==, 0);
    left = ends[0];
    right = ends[1];
    tap_case("each side takes what is meant for it");
    test_sides();
    tap_case("fields out of their range are refused");
    test_lease();
    test_fields();
    tap_case("a descriptor is passed");
    test_passing();
    tap_case("nothing that is refused leaves a descriptor open");
    test_nothing_is_left_open();
    tap_case("the end of the other side");
    test_end();
    return tap_done();
}
