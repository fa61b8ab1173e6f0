/* SPDX-License-Identifier: ISC */
/* Threads under the filter: their descriptors and their memory.
 *
 * A thread is known by a pidfd, which names this thread and never another one that got its number
 * later; it becomes readable when the thread has ended, and then all that is kept of it goes. On
 * kernels before 6.9, which have no pidfd of a thread, it is that of the process.
 *
 * Descriptors are copied with pidfd_getfd(2): the copy is the same open file, whatever the program
 * does to its table meanwhile.
 *
 * Memory is read and written with process_vm_readv(2) and its brother, which take a number. Two
 * rules make that safe: what was read is used only after the notification proved to be still valid,
 * so it was read from the right thread; and memory is written only right after such a proof. What
 * remains is a thread that is killed, reaped and replaced by a new process of the same number
 * within that microsecond, after the system has gone through all other numbers.
 *
 * The program may change its memory while we read: every structure is read once, and what was read
 * is what is checked. Nothing here protects us or the host from the program by trust in its memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cmd/mirari/socket_notify.h"
#include "cmd/mirari/tool.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

static pid_t process_of(pid_t tid)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[len > 0 ? len : 0] = '\0';
    const char *at = strstr(text, "\nTgid:");
    return at != NULL ? (pid_t)strtol(at + 6, NULL, 10) : -1;
}

static int open_pidfd(pid_t tid)
{
    long fd = syscall(SYS_pidfd_open, tid, PIDFD_THREAD);
    if (fd < 0 && errno == EINVAL)
        fd = syscall(SYS_pidfd_open, process_of(tid), 0);
    return fd < 0 ? -errno : (int)fd;
}

static struct peer **find(struct sup *sup, pid_t tid)
{
    struct peer **at = &sup->peer[(unsigned)tid % PEER_BUCKETS];
    while (*at != NULL && (*at)->tid != tid)
        at = &(*at)->next;
    return at;
}

struct peer *peer_get(struct sup *sup, pid_t tid)
{
    struct peer **at = find(sup, tid);
    if (*at != NULL)
        return *at;
    int pidfd = open_pidfd(tid);
    if (pidfd < 0)
        return NULL;
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT,
                                .data.u64 = EVENT_PEER | (uint32_t)tid};
    struct peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL || epoll_ctl(sup->epoll, EPOLL_CTL_ADD, pidfd, &event) != 0) {
        free(peer);
        close(pidfd);
        return NULL;
    }
    *peer = (struct peer){.tid = tid, .pidfd = pidfd};
    *at = peer;
    return peer;
}

void peer_ended(struct sup *sup, pid_t tid)
{
    struct peer **at = find(sup, tid), *peer = *at;
    if (peer == NULL)
        return;
    *at = peer->next;
    close(peer->pidfd);
    free(peer);
}

void peer_free_all(struct sup *sup)
{
    for (size_t i = 0; i < PEER_BUCKETS; i++)
        while (sup->peer[i] != NULL)
            peer_ended(sup, sup->peer[i]->tid);
}

int peer_fd(struct sup *sup, struct call *call, int fd)
{
    for (int tries = 0; tries < 2; tries++) {
        struct peer *peer = peer_get(sup, call->tid);
        if (peer == NULL)
            return -ESRCH;
        long copy = syscall(SYS_pidfd_getfd, peer->pidfd, fd, 0);
        if (copy >= 0)
            return (int)copy;
        if (errno != ESRCH)
            return -errno;
        peer_ended(sup, call->tid); /* of an earlier thread with this number */
    }
    return -ESRCH;
}

bool peer_has_cloexec(const struct call *call, int fd)
{
    char path[64], text[256];
    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)call->tid, fd);
    int info = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = info >= 0 ? read(info, text, sizeof(text) - 1) : -1;
    if (info >= 0)
        close(info);
    text[len > 0 ? len : 0] = '\0';
    const char *at = strstr(text, "flags:");
    return at != NULL && (strtoul(at + 6, NULL, 8) & O_CLOEXEC) != 0;
}

int peer_read(const struct call *call, uint64_t at, void *data, size_t len)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)at, .iov_len = len};
    return peer_read_parts(call, &part, 1, data, len) == (ssize_t)len ? 0 : -EFAULT;
}

int peer_write(const struct call *call, uint64_t at, const void *data, size_t len)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)at, .iov_len = len};
    return peer_write_parts(call, &part, 1, data, len) == (ssize_t)len ? 0 : -EFAULT;
}

ssize_t peer_read_parts(const struct call *call, const struct iovec *part, size_t count, void *data,
                        size_t len)
{
    struct iovec local = {.iov_base = data, .iov_len = len};
    if (len == 0)
        return 0;
    ssize_t got = process_vm_readv(call->tid, &local, 1, part, count, 0);
    return got >= 0 ? got : -EFAULT;
}

ssize_t peer_write_parts(const struct call *call, const struct iovec *part, size_t count,
                         const void *data, size_t len)
{
    struct iovec local = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    if (len == 0)
        return 0;
    ssize_t put = process_vm_writev(call->tid, &local, 1, part, count, 0);
    return put >= 0 ? put : -EFAULT;
}

ssize_t peer_write_all(const struct call *call, const struct iovec *to, size_t to_count,
                       const struct iovec *from, size_t from_count)
{
    ssize_t put = process_vm_writev(call->tid, from, from_count, to, to_count, 0);
    return put >= 0 ? put : -EFAULT;
}
