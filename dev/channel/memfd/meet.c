/* SPDX-License-Identifier: ISC */
/* Where server and client of a memfd channel meet: a Unix socket (SEQPACKET) with a name.
 *
 * The client connects and says nothing. The server asks the kernel who it is (SO_PEERCRED), and
 * answers by one message: no, and why; or the memory, and the bells, as descriptors. So a client
 * that is silent holds nothing but a place in the kernel's queue. The connection stays: its end is
 * the end of either process.
 *
 * place.c makes and finds the socket.
 *
 * The client checks all that it is given: number of descriptors, seals and size of the memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "dev/channel/memfd/internal.h"
#include "dev/channel/memfd/place.h"

#define BACKLOG      16 /* looked at in one go */
#define WELCOME_FDS  3u
#define WELCOME_US   (5 * MIR_US_PER_S) /* a server answers within, at least */
#define SEALS_NEEDED F_SEAL_SHRINK

bool mir__memfd_is_trusted(uint32_t uid)
{
    return uid == 0 || uid == geteuid();
}

/* ---- server -------------------------------------------------------------------------------------
 */

int mir_memfd_listen(struct mir_memfd_listener *listener,
                     const struct mir_memfd_listen_config *config)
{
    *listener = (struct mir_memfd_listener){.fd = -1, .allow = config->allow, .arg = config->arg};
    int r = mir__place_listen(config->path, SOCK_SEQPACKET, config->allow != NULL ? 0666 : 0600,
                              &listener->fd, &listener->file);
    if (r == 0)
        memcpy(listener->path, config->path, strlen(config->path) + 1);
    return r;
}

void mir_memfd_listener_close(struct mir_memfd_listener *listener)
{
    mir__place_leave(listener->path, listener->file, &listener->fd);
}

int mir__memfd_welcome(int sock, const struct mir__memfd_welcome *welcome, const int *fds,
                       unsigned count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(WELCOME_FDS * sizeof(int))];
    } control = {0};
    struct mir__memfd_welcome copy = *welcome;
    struct iovec part = {&copy, sizeof(copy)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    }
    ssize_t n = sendmsg(sock, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n == (ssize_t)sizeof(copy) ? 0 : -MIR_EIO;
}

static void refuse(struct mir_memfd_listener *listener, int sock, int why)
{
    struct mir__memfd_welcome no = {
        .magic = MIR_MEMFD_MAGIC, .version = MEET_VERSION, .status = why};
    (void)mir__memfd_welcome(sock, &no, NULL, 0);
    close(sock);
    listener->refused++;
}

/* The next client that may come. Returns 0, -MIR_EAGAIN, -MIR_ENOMEM. */
static int next_client(struct mir_memfd_listener *listener, int *sock, struct ucred *who)
{
    for (unsigned i = 0; i < BACKLOG; i++) {
        socklen_t len = sizeof(*who);
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return mir__place_error(errno) == -MIR_ENOMEM ? -MIR_ENOMEM : -MIR_EAGAIN;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, who, &len) == 0 &&
            (mir__memfd_is_trusted(who->uid) ||
             (listener->allow != NULL && listener->allow(listener->arg, who->uid)))) {
            *sock = fd;
            return 0;
        }
        refuse(listener, fd, -MIR_EPERM);
    }
    return -MIR_EAGAIN;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

int mir_memfd_accept(struct mir_memfd_listener *listener, const struct mir_memfd_config *config,
                     struct mir_memfd *end)
{
    struct ucred who;
    char name[128];
    int sock, r = next_client(listener, &sock, &who);
    if (r < 0)
        return r;
    mir__memfd_init(end, sock, true, config);
    end->peer_uid = who.uid;
    end->peer_pid = (uint32_t)who.pid;
    snprintf(name, sizeof(name), MIR_MEMFD_NAME "%s", base_name(listener->path));
    end->memory = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (end->memory < 0) {
        refuse(listener, sock, -MIR_ENOMEM);
        return -MIR_ENOMEM;
    }
    listener->accepted++;
    return 0;
}

int mir_memfd_refuse(struct mir_memfd_listener *listener)
{
    struct ucred who;
    int sock, r = next_client(listener, &sock, &who);
    if (r == 0)
        refuse(listener, sock, -MIR_EBUSY);
    return r;
}

/* ---- client -------------------------------------------------------------------------------------
 */

/* The one message and its descriptors; those that do not fit are closed by the kernel. */
static int receive(int sock, struct mir__memfd_welcome *welcome, int *fds, unsigned *count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(WELCOME_FDS * sizeof(int))];
    } control = {0};
    struct iovec part = {welcome, sizeof(*welcome)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(sock, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    *count = 0;
    for (struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL; header != NULL;
         header = CMSG_NXTHDR(&message, header)) {
        size_t bytes = header->cmsg_len - CMSG_LEN(0);
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        *count = (unsigned)MIR_MIN(bytes / sizeof(int), (size_t)WELCOME_FDS);
        memcpy(fds, CMSG_DATA(header), *count * sizeof(int));
    }
    bool is_whole = n == (ssize_t)sizeof(*welcome) && !(message.msg_flags & MSG_TRUNC);
    return is_whole ? 0 : n == 0 ? -MIR_ECONNREFUSED : -MIR_EPROTO;
}

static int check_memory(int fd, uint32_t pages)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS_NEEDED) != SEALS_NEEDED || fstat(fd, &st) < 0)
        return -MIR_EPROTO;
    bool is_right =
        pages > 0 && pages <= MIR_MEMFD_PAGES_MAX && st.st_size == (off_t)pages * MIR_CHANNEL_PAGE;
    return is_right ? 0 : -MIR_EPROTO;
}

static int be_welcomed(struct mir_memfd *end, mir_time_us deadline_us)
{
    struct mir__memfd_welcome welcome = {0};
    struct ucred who;
    socklen_t len = sizeof(who);
    int fds[WELCOME_FDS] = {-1, -1, -1};
    unsigned count;
    int r = mir__place_wait(end->sock, deadline_us);
    if (r < 0)
        return r;
    r = receive(end->sock, &welcome, fds, &count);
    /* Whatever comes, the descriptors are ours now. */
    end->memory = count > 0 ? fds[0] : -1;
    end->bell = count > 1 ? fds[1] : -1;
    end->ring = count > 2 ? fds[2] : -1;
    if (r < 0)
        return r;
    if (memcmp(welcome.magic, MIR_MEMFD_MAGIC, sizeof(welcome.magic)) != 0 ||
        welcome.version != MEET_VERSION)
        return -MIR_EPROTO;
    if (welcome.status != 0)
        return welcome.status < 0 && welcome.status > -MIR_ERR_MAX ? welcome.status : -MIR_EPROTO;
    if ((count != 1 && count != WELCOME_FDS) ||
        getsockopt(end->sock, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
        return -MIR_EPROTO;
    end->peer_uid = who.uid;
    end->peer_pid = (uint32_t)who.pid;
    if (!mir__memfd_is_trusted(end->peer_uid)) {
        mir__memfd_close_fd(&end->bell);
        mir__memfd_close_fd(&end->ring);
    }
    end->pages = welcome.pages;
    end->channel.page_ref = welcome.page_ref;
    return check_memory(end->memory, welcome.pages);
}

int mir_memfd_connect(const char *path, mir_time_us deadline_us,
                      const struct mir_memfd_config *config, struct mir_memfd *end)
{
    int sock, r = mir__place_connect(path, SOCK_SEQPACKET, deadline_us, &sock);
    if (r < 0)
        return r;
    mir__memfd_init(end, sock, false, config);
    mir_time_us soon_us = mir_memfd_now() + WELCOME_US;
    r = be_welcomed(end,
                    deadline_us == MIR_TIME_NEVER ? deadline_us : MIR_MAX(deadline_us, soon_us));
    if (r == 0)
        r = mir__memfd_watch(end);
    if (r < 0)
        end->channel.ops->close(&end->channel);
    return r;
}
