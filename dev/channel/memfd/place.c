/* SPDX-License-Identifier: ISC */
/* Unix sockets with a name as places to meet.
 *
 * The socket is made under another name, gets its mode, listens, and is then renamed: whoever finds
 * the name finds a server. A name that a dead server left is replaced, and one that somebody
 * listens at is not, nor is what is no socket. The folder is locked meanwhile, so of two servers
 * that begin in the same moment one gets the name and the other one is told. Others may hold that
 * lock where everybody may open the folder; then it is done without after a while.
 */
#include "dev/channel/memfd/place.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "dev/channel/memfd/memfd.h"

#define BACKLOG    16
#define RETRY_US   10000u /* a server that is not there is looked for so often */
#define LOCK_TRIES 200u   /* so far apart, too */

int mir__place_error(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return -MIR_ENOENT;
    case EACCES:
    case EPERM:
        return -MIR_EPERM;
    case ECONNREFUSED:
        return -MIR_ECONNREFUSED;
    case EPROTOTYPE:
        return -MIR_ENOTSUP;
    case EAGAIN:
        return -MIR_EAGAIN;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
        return -MIR_ENOMEM;
    default:
        return -MIR_EIO;
    }
}

static int address_of(const char *path, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (path[0] == '\0' || strlen(path) > 100)
        return -MIR_EINVAL;
    memcpy(address->sun_path, path, strlen(path));
    return 0;
}

static int connect_once(const struct sockaddr_un *address, int type, int *sock)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return mir__place_error(errno);
    if (connect(fd, (const struct sockaddr *)(const void *)address, sizeof(*address)) == 0) {
        *sock = fd;
        return 0;
    }
    int r = mir__place_error(errno);
    close(fd);
    return r;
}

static int bind_under(int fd, const char *path, const char *final, unsigned mode)
{
    struct sockaddr_un address;
    int r = address_of(path, &address);
    if (r < 0)
        return r;
    (void)unlink(path);
    if (bind(fd, (const struct sockaddr *)(const void *)&address, sizeof(address)) < 0)
        return mir__place_error(errno);
    if (chmod(path, (mode_t)mode) == 0 && listen(fd, BACKLOG) == 0 && rename(path, final) == 0)
        return 0;
    r = mir__place_error(errno);
    (void)unlink(path);
    return r;
}

/* The folder of @path, locked; -1 where it cannot be: then the later one may win. */
static int lock_folder(const char *path)
{
    char folder[104];
    const char *slash = strrchr(path, '/');
    int len = slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path);
    snprintf(folder, sizeof(folder), "%.*s", len, slash == NULL ? "." : path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (unsigned i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) < 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = RETRY_US * 1000L}, NULL);
    return fd;
}

static int listen_locked(const char *path, int type, unsigned mode, int *fd, uint64_t *file)
{
    struct sockaddr_un address;
    struct stat st;
    char fresh[128];
    int other = -1, r = address_of(path, &address);
    if (r < 0)
        return r;
    r = connect_once(&address, type, &other);
    if (other >= 0)
        close(other);
    if (r == 0 || r == -MIR_EAGAIN || r == -MIR_ENOTSUP)
        return -MIR_EADDRINUSE;
    /* A file refuses connections as a dead server's socket does. */
    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return -MIR_EEXIST;
    int sock = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0)
        return mir__place_error(errno);
    snprintf(fresh, sizeof(fresh), "%.93s.%x", path, (unsigned)getpid() & 0xffffffu);
    r = bind_under(sock, fresh, path, mode);
    if (r < 0) {
        close(sock);
        return r;
    }
    *file = stat(path, &st) == 0 ? (uint64_t)st.st_ino : 0;
    *fd = sock;
    return 0;
}

int mir__place_listen(const char *path, int type, unsigned mode, int *fd, uint64_t *file)
{
    if (strlen(path) > 100)
        return -MIR_EINVAL;
    int lock = lock_folder(path);
    int r = listen_locked(path, type, mode, fd, file);
    if (lock >= 0)
        close(lock);
    return r;
}

void mir__place_leave(const char *path, uint64_t file, int *fd)
{
    struct stat st;
    if (*fd < 0)
        return;
    if (stat(path, &st) == 0 && (uint64_t)st.st_ino == file)
        (void)unlink(path);
    close(*fd);
    *fd = -1;
}

int mir__place_connect(const char *path, int type, mir_time_us deadline_us, int *fd)
{
    struct sockaddr_un address;
    int r = address_of(path, &address);
    while (r == 0) {
        r = connect_once(&address, type, fd);
        if (r == 0)
            return 0;
        bool is_worth_waiting = r == -MIR_ENOENT || r == -MIR_ECONNREFUSED || r == -MIR_EAGAIN;
        if (!is_worth_waiting || mir_memfd_now() >= deadline_us)
            return r == -MIR_EAGAIN ? -MIR_ETIMEDOUT : r;
        nanosleep(&(struct timespec){.tv_nsec = RETRY_US * 1000L}, NULL);
        r = 0;
    }
    return r;
}

int mir__place_wait(int fd, mir_time_us deadline_us)
{
    for (;;) {
        mir_time_us now_us = mir_memfd_now();
        uint64_t left_us = now_us < deadline_us ? deadline_us - now_us : 0;
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int n = poll(&ready, 1, (int)(MIR_MIN(left_us, 1000 * MIR_US_PER_S) / 1000 + 1));
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -MIR_EIO;
        if (n == 0 && mir_memfd_now() >= deadline_us)
            return -MIR_ETIMEDOUT;
    }
}
