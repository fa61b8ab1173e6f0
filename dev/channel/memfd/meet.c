/* SPDX-License-Identifier: ISC */
/* Where server and client of a memfd channel meet: a Unix socket (SEQPACKET) with a name.
 *
 * The client connects and says nothing. The server asks the kernel who it is (SO_PEERCRED), and
 * answers by one message: no, and why; or the memory, and the bells, as descriptors. So a client
 * that is silent holds nothing but a place in the kernel's queue. The connection stays: its end is
 * the end of either process.
 *
 * The socket is made under another name, gets its mode, listens, and is then renamed: whoever finds
 * the name finds a server. A name that a dead server left is replaced, and one that somebody
 * listens at is not. When two servers begin in the same moment the later one may win the name.
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

#define BACKLOG      16
#define WELCOME_FDS  3u
#define WELCOME_US   (5 * MIR_US_PER_S) /* a server answers within, at least */
#define RETRY_US     10000u             /* a server that is not there is looked for so often */
#define SEALS_NEEDED F_SEAL_SHRINK

static int err_of(int number)
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

bool mir__memfd_is_trusted(uint32_t uid)
{
    return uid == 0 || uid == geteuid();
}

static int address_of(const char *path, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (path[0] == '\0' || strlen(path) > 100)
        return -MIR_EINVAL;
    memcpy(address->sun_path, path, strlen(path));
    return 0;
}

static int connect_once(const struct sockaddr_un *address, int *sock)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_of(errno);
    if (connect(fd, (const struct sockaddr *)(const void *)address, sizeof(*address)) == 0) {
        *sock = fd;
        return 0;
    }
    int r = err_of(errno);
    close(fd);
    return r;
}

/* ---- server -------------------------------------------------------------------------------------
 */

static int bind_under(int fd, const char *path, const char *final, mode_t mode)
{
    struct sockaddr_un address;
    int r = address_of(path, &address);
    if (r < 0)
        return r;
    (void)unlink(path);
    if (bind(fd, (const struct sockaddr *)(const void *)&address, sizeof(address)) < 0)
        return err_of(errno);
    if (chmod(path, mode) == 0 && listen(fd, BACKLOG) == 0 && rename(path, final) == 0)
        return 0;
    r = err_of(errno);
    (void)unlink(path);
    return r;
}

int mir_memfd_listen(struct mir_memfd_listener *listener,
                     const struct mir_memfd_listen_config *config)
{
    struct sockaddr_un address;
    struct stat st;
    char fresh[128];
    int other = -1, r = address_of(config->path, &address);
    if (r < 0)
        return r;
    r = connect_once(&address, &other);
    if (other >= 0)
        close(other);
    if (r == 0 || r == -MIR_EAGAIN)
        return -MIR_EADDRINUSE;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_of(errno);
    *listener = (struct mir_memfd_listener){.fd = fd, .allow = config->allow, .arg = config->arg};
    memcpy(listener->path, config->path, strlen(config->path) + 1);
    snprintf(fresh, sizeof(fresh), "%.93s.%x", config->path, (unsigned)getpid() & 0xffffffu);
    r = bind_under(fd, fresh, config->path, config->allow != NULL ? 0666 : 0600);
    if (r < 0) {
        mir__memfd_close_fd(&listener->fd);
        return r;
    }
    listener->file = stat(config->path, &st) == 0 ? (uint64_t)st.st_ino : 0;
    return 0;
}

void mir_memfd_listener_close(struct mir_memfd_listener *listener)
{
    struct stat st;
    if (listener->fd < 0)
        return;
    if (stat(listener->path, &st) == 0 && (uint64_t)st.st_ino == listener->file)
        (void)unlink(listener->path);
    mir__memfd_close_fd(&listener->fd);
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
            return err_of(errno) == -MIR_ENOMEM ? -MIR_ENOMEM : -MIR_EAGAIN;
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

static int wait_for(int fd, mir_time_us deadline_us)
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
    int r = wait_for(end->sock, deadline_us);
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
    struct sockaddr_un address;
    int sock, r = address_of(path, &address);
    if (r < 0)
        return r;
    for (;;) {
        r = connect_once(&address, &sock);
        if (r == 0)
            break;
        bool is_worth_waiting = r == -MIR_ENOENT || r == -MIR_ECONNREFUSED || r == -MIR_EAGAIN;
        if (!is_worth_waiting || mir_memfd_now() >= deadline_us)
            return r == -MIR_EAGAIN ? -MIR_ETIMEDOUT : r;
        nanosleep(&(struct timespec){.tv_nsec = RETRY_US * 1000L}, NULL);
    }
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
