/* SPDX-License-Identifier: ISC */
/* The server of ivshmem: keeps the memory, introduces peers to each other, buries the dead.
 *
 *   client comes      who is it (SO_PEERCRED)? -> version, number, memory, the bells of all other
 *                     numbers, its own bells
 *   client goes       its channels are ended in the region, the others are rung
 *
 * QEMU's device is a client, and so is a process (peer.c). The device does not tell its guest who
 * comes and goes, so it stands in the region, and bells make the guests look.
 *
 * There is a bell for every number from the beginning, and everybody is told of all of them at
 * once, whether somebody has the number or not. If newcomers were announced when they come, a guest
 * could find one in the memory before its device has heard of it, and the device drops the ringing
 * of bells it does not know: somebody would sleep for ever.
 *
 * A client is never waited for: who does not take what is said to it, or says something itself, is
 * dropped. The memory is sealed: nobody can make it shorter and so make an access of another one a
 * fault.
 *
 * An eventfd has flags and a counter that all its holders share, so a hostile process (not: a
 * guest) can make ring() of another one wait, or not be heard. Who may come here can do that.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/channel/ivshmem_host/internal.h"
#include "dev/channel/memfd/internal.h"
#include "dev/channel/memfd/place.h"

#define ACCEPTS 8u /* in one step */

void mir__ivshmem_ring(int bell)
{
    const uint64_t one = 1;
    ssize_t n = write(bell, &one, sizeof(one));
    (void)n;
}

/* ---- saying ------------------------------------------------------------------------------------
 */

/* One message, with a descriptor if @fd >= 0. Who does not take it is dropped. */
static void say(struct mir_ivshmem_server *server, struct mir__ivshmem_client *client, int64_t what,
                int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {&what, sizeof(what)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (client->is_dropped)
        return;
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    }
    if (sendmsg(client->sock, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(what))
        return;
    client->is_dropped = true;
    server->stats.dropped += errno != EPIPE && errno != ECONNRESET;
}

static void say_bells(struct mir_ivshmem_server *server, struct mir__ivshmem_client *to,
                      uint32_t number)
{
    for (uint32_t i = 0; i < server->vectors; i++)
        say(server, to, number, server->client[number].bell[i]);
}

/* ---- coming and going --------------------------------------------------------------------------
 */

static int make_bells(struct mir_ivshmem_server *server)
{
    for (uint32_t i = 0; i < MIR_REGION_PEERS_MAX * server->vectors; i++) {
        int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (bell < 0)
            return -MIR_ENOMEM;
        server->client[i / server->vectors].bell[i % server->vectors] = bell;
    }
    return 0;
}

static void welcome(struct mir_ivshmem_server *server, uint32_t number)
{
    struct mir__ivshmem_client *client = &server->client[number];
    say(server, client, IVSHMEM_VERSION, -1);
    say(server, client, number, -1);
    say(server, client, IVSHMEM_MEMORY, server->memory);
    for (uint32_t i = 0; i < MIR_REGION_PEERS_MAX; i++)
        if (i != number)
            say_bells(server, client, i);
    say_bells(server, client, number);
}

static bool may_come(struct mir_ivshmem_server *server, int sock, struct ucred *who)
{
    socklen_t len = sizeof(*who);
    return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, who, &len) == 0 &&
           (mir__memfd_is_trusted(who->uid) ||
            (server->allow != NULL && server->allow(server->arg, who->uid)));
}

/* Returns false if there is nobody. */
static bool admit(struct mir_ivshmem_server *server)
{
    uint32_t number = 0;
    struct ucred who;
    int sock = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (sock < 0)
        return false;
    while (number < MIR_REGION_PEERS_MAX && server->client[number].sock >= 0)
        number++;
    if (number == MIR_REGION_PEERS_MAX || !may_come(server, sock, &who)) {
        server->stats.refused++;
        close(sock);
        return true;
    }
    struct mir__ivshmem_client *client = &server->client[number];
    client->sock = sock;
    client->is_dropped = mir_region_admit(server->at, number, (uint32_t)who.pid) < 0;
    server->client_count++;
    server->stats.admitted++;
    welcome(server, number);
    return true;
}

/* Those who have gone, all of them, and then the others look. */
static void bury(struct mir_ivshmem_server *server)
{
    bool is_any = false;
    for (uint32_t i = 0; i < MIR_REGION_PEERS_MAX; i++) {
        struct mir__ivshmem_client *gone = &server->client[i];
        if (gone->sock < 0 || !gone->is_dropped)
            continue;
        (void)mir_region_bury(server->at, i);
        mir__memfd_close_fd(&gone->sock);
        server->client_count--;
        server->stats.left++;
        is_any = true;
    }
    for (uint32_t i = 0; i < MIR_REGION_PEERS_MAX && is_any; i++)
        if (server->client[i].sock >= 0)
            mir__ivshmem_ring(server->client[i].bell[0]);
}

int mir_ivshmem_server_step(struct mir_ivshmem_server *server, int timeout_ms)
{
    struct pollfd fds[1 + MIR_REGION_PEERS_MAX];
    fds[0] = (struct pollfd){.fd = server->listener, .events = POLLIN};
    for (uint32_t i = 0; i < MIR_REGION_PEERS_MAX; i++)
        fds[1 + i] = (struct pollfd){.fd = server->client[i].sock, .events = POLLIN};
    int n = poll(fds, MIR_ARRAY_LEN(fds), timeout_ms);
    if (n <= 0)
        return n == 0 ? -MIR_ETIMEDOUT : -MIR_ECANCELED;
    for (uint32_t i = 0; i < MIR_REGION_PEERS_MAX; i++) {
        char byte;
        if (fds[1 + i].fd < 0 || fds[1 + i].revents == 0)
            continue;
        ssize_t got = recv(fds[1 + i].fd, &byte, 1, MSG_DONTWAIT);
        bool is_quiet = got < 0 && (errno == EAGAIN || errno == EINTR);
        server->client[i].is_dropped |= !is_quiet;
        server->stats.dropped += got > 0;
    }
    bury(server);
    for (unsigned i = 0; i < ACCEPTS && fds[0].revents != 0 && admit(server); i++)
        ;
    bury(server);
    return 0;
}

/* ---- making ------------------------------------------------------------------------------------
 */

static int make_memory(struct mir_ivshmem_server *server,
                       const struct mir_ivshmem_server_config *config)
{
    char name[64];
    snprintf(name, sizeof(name), MIR_IVSHMEM_NAME "%s", config->name);
    server->memory = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (server->memory < 0 || ftruncate(server->memory, (off_t)server->bytes) < 0)
        return -MIR_ENOMEM;
    server->at = mmap(NULL, server->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, server->memory, 0);
    if (server->at == MAP_FAILED) {
        server->at = NULL;
        return -MIR_ENOMEM;
    }
    if (fcntl(server->memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -MIR_EIO;
    int r = mir_region_make(server->at, server->bytes,
                            config->slots != 0 ? config->slots : MIR_IVSHMEM_SLOTS, config->name);
    if (r == 0)
        ((struct mir_region_board *)server->at)->keeper_pid = (uint32_t)getpid();
    return r;
}

int mir_ivshmem_server_open(struct mir_ivshmem_server *server,
                            const struct mir_ivshmem_server_config *config)
{
    *server = (struct mir_ivshmem_server){
        .listener = -1,
        .memory = -1,
        .bytes = config->bytes != 0 ? config->bytes : MIR_IVSHMEM_BYTES,
        .vectors = config->vectors != 0 ? config->vectors : 1,
        .allow = config->allow,
        .arg = config->arg,
    };
    for (uint32_t i = 0; i < MIR_REGION_PEERS_MAX; i++) {
        server->client[i].sock = -1;
        for (uint32_t k = 0; k < MIR_IVSHMEM_VECTORS_MAX; k++)
            server->client[i].bell[k] = -1;
    }
    if (strlen(config->path) >= sizeof(server->path) || server->vectors > MIR_IVSHMEM_VECTORS_MAX ||
        server->bytes < MIR_REGION_BYTES_MIN || server->bytes > MIR_REGION_BYTES_MAX ||
        strlen(config->name) > MIR_REGION_NAME_MAX)
        return -MIR_EINVAL;
    memcpy(server->path, config->path, strlen(config->path) + 1);
    int r = make_memory(server, config);
    if (r == 0)
        r = make_bells(server);
    if (r == 0)
        r = mir__place_listen(config->path, SOCK_STREAM, config->allow != NULL ? 0666 : 0600,
                              &server->listener, &server->file);
    if (r < 0)
        mir_ivshmem_server_close(server);
    return r;
}

void mir_ivshmem_server_close(struct mir_ivshmem_server *server)
{
    mir__place_leave(server->path, server->file, &server->listener);
    for (uint32_t i = 0; i < MIR_REGION_PEERS_MAX; i++) {
        mir__memfd_close_fd(&server->client[i].sock);
        for (uint32_t k = 0; k < MIR_IVSHMEM_VECTORS_MAX; k++)
            mir__memfd_close_fd(&server->client[i].bell[k]);
    }
    server->client_count = 0;
    if (server->at != NULL)
        munmap(server->at, server->bytes);
    server->at = NULL;
    mir__memfd_close_fd(&server->memory);
}
