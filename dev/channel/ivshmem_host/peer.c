/* SPDX-License-Identifier: ISC */
/* A process in a region of an ivshmem server, beside virtual machines and other processes.
 *
 *   socket    who comes and goes; its end: the server is lost, and with it all peers, because
 *             nobody would tell any more that one has died
 *   bell      an eventfd that the others ring
 *
 * A message may come in pieces, its descriptor with the first of them. What the server gives is
 * checked: order and range of messages, seals and size of the memory - a server that is neither
 * root nor of our own user could make it shorter otherwise and every access a fault. Bells beyond
 * the first of each peer are closed, and peers beyond the table are not rung.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/channel/ivshmem_host/internal.h"
#include "dev/channel/memfd/internal.h"
#include "dev/channel/memfd/place.h"

#define WELCOME_US (5 * MIR_US_PER_S)
#define MESSAGES   64u /* taken in one go */

/* ---- messages ----------------------------------------------------------------------------------
 */

static void take_descriptors(struct mir_ivshmem_peer *peer, struct msghdr *message)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
            mir__memfd_close_fd(&peer->part_fd); /* there is one for each message */
            peer->part_fd = fd;
        }
    }
}

/* The next message. Returns 0, -MIR_EAGAIN, -MIR_ECONNREFUSED (the end before all was said, of a
 * server that does not want us), -MIR_EPROTO. @fd out: ours, -1 = none. */
static int receive(struct mir_ivshmem_peer *peer, int64_t *what, int *fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    while (peer->part_len < sizeof(peer->part)) {
        struct iovec part = {peer->part + peer->part_len, sizeof(peer->part) - peer->part_len};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof(control.bytes)};
        ssize_t n = recvmsg(peer->sock, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return -MIR_EAGAIN;
        if (n <= 0)
            return -MIR_ECONNREFUSED;
        take_descriptors(peer, &message);
        peer->part_len += (uint32_t)n;
    }
    memcpy(what, peer->part, sizeof(*what));
    *fd = peer->part_fd;
    peer->part_len = 0;
    peer->part_fd = -1;
    peer->messages++;
    return 0;
}

static int find(const struct mir_ivshmem_peer *peer, uint32_t number, int bell)
{
    for (unsigned i = 0; i < MIR_REGION_PEERS_MAX; i++)
        if (bell < 0 ? peer->other[i].bell < 0
                     : peer->other[i].bell >= 0 && peer->other[i].number == number)
            return (int)i;
    return -1;
}

/* Somebody came (with a bell), or went. */
static void meet(struct mir_ivshmem_peer *peer, uint32_t number, int fd)
{
    int known = find(peer, number, 0), vacant = find(peer, 0, -1);
    if (fd < 0) {
        if (known >= 0)
            mir__memfd_close_fd(&peer->other[known].bell);
    } else if (known >= 0) {
        close(fd);
    } else if (vacant < 0) {
        peer->refused++;
        close(fd);
    } else {
        peer->other[vacant].number = number;
        peer->other[vacant].bell = fd;
    }
}

/* One message when all is set up. Returns 0 or -MIR_EPROTO. */
static int take(struct mir_ivshmem_peer *peer, int64_t what, int fd)
{
    if (what < 0 || what > IVSHMEM_NUMBER_MAX || (what == peer->self && fd < 0)) {
        mir__memfd_close_fd(&fd);
        return -MIR_EPROTO;
    }
    if (what != peer->self)
        meet(peer, (uint32_t)what, fd);
    else if (peer->bell < 0)
        peer->bell = fd;
    else
        close(fd);
    return 0;
}

/* ---- events ------------------------------------------------------------------------------------
 */

static void ring_peer(void *arg, uint32_t number)
{
    struct mir_ivshmem_peer *peer = arg;
    int at = find(peer, number, 0);
    if (at >= 0)
        mir__ivshmem_ring(peer->other[at].bell);
}

static void lose(struct mir_ivshmem_peer *peer)
{
    if (peer->config.poll != NULL)
        peer->config.poll->ops->remove(peer->config.poll, &peer->watch[0]);
    mir__memfd_close_fd(&peer->sock);
    mir_region_lose(&peer->region);
}

void mir_ivshmem_peer_poll(struct mir_ivshmem_peer *peer)
{
    uint64_t count;
    int64_t what;
    int fd, r = 0;
    bool is_rung = peer->bell >= 0 && read(peer->bell, &count, sizeof(count)) > 0;
    for (unsigned i = 0; i < MESSAGES && peer->sock >= 0 && r == 0; i++) {
        r = receive(peer, &what, &fd);
        if (r == 0)
            r = take(peer, what, fd);
        is_rung |= r == 0;
    }
    if (r < 0 && r != -MIR_EAGAIN)
        lose(peer);
    else if (is_rung)
        mir_region_heard(&peer->region);
}

static void on_ready(void *arg, unsigned events)
{
    (void)events;
    mir_ivshmem_peer_poll(arg);
}

unsigned mir_ivshmem_peer_descriptors(const struct mir_ivshmem_peer *peer, int fd[2])
{
    unsigned count = 0;
    if (peer->bell >= 0)
        fd[count++] = peer->bell;
    if (peer->sock >= 0)
        fd[count++] = peer->sock;
    return count;
}

/* ---- joining -----------------------------------------------------------------------------------
 */

/* The next message, waited for. */
static int await(struct mir_ivshmem_peer *peer, mir_time_us deadline_us, int64_t *what, int *fd)
{
    int r;
    while ((r = receive(peer, what, fd)) == -MIR_EAGAIN) {
        r = mir__place_wait(peer->sock, deadline_us);
        if (r < 0)
            return r;
    }
    return r;
}

static int map(struct mir_ivshmem_peer *peer, int memory)
{
    struct stat st;
    struct ucred who;
    socklen_t len = sizeof(who);
    int seals = fcntl(memory, F_GET_SEALS);
    bool is_sealed = seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
    if (fstat(memory, &st) < 0 || st.st_size < (off_t)MIR_REGION_BYTES_MIN ||
        st.st_size > (off_t)MIR_REGION_BYTES_MAX ||
        getsockopt(peer->sock, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 ||
        (!is_sealed && !mir__memfd_is_trusted(who.uid)))
        return -MIR_EPROTO;
    peer->bytes = (uint64_t)st.st_size;
    peer->at =
        mmap(NULL, peer->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, memory, 0);
    if (peer->at != MAP_FAILED)
        return 0;
    peer->at = NULL;
    return -MIR_ENOMEM;
}

static int be_welcomed(struct mir_ivshmem_peer *peer, mir_time_us deadline_us)
{
    int64_t what;
    int fd = -1, r = await(peer, deadline_us, &what, &fd);
    if (r == 0 && (what != IVSHMEM_VERSION || fd >= 0))
        r = -MIR_EPROTO;
    if (r == 0)
        r = await(peer, deadline_us, &what, &fd);
    if (r == 0 && (what < 0 || what > IVSHMEM_NUMBER_MAX || fd >= 0))
        r = -MIR_EPROTO;
    peer->self = r == 0 ? (uint32_t)what : 0;
    if (r == 0)
        r = await(peer, deadline_us, &what, &fd);
    if (r == 0)
        r = what == IVSHMEM_MEMORY && fd >= 0 ? map(peer, fd) : -MIR_EPROTO;
    mir__memfd_close_fd(&fd);
    while (r == 0 && peer->bell < 0) {
        r = await(peer, deadline_us, &what, &fd);
        if (r == 0)
            r = take(peer, what, fd);
    }
    return r == -MIR_ECONNREFUSED ? -MIR_EPERM : r;
}

static int watch(struct mir_ivshmem_peer *peer)
{
    const int fd[2] = {peer->sock, peer->bell};
    for (unsigned i = 0; peer->config.poll != NULL && i < 2; i++) {
        peer->watch[i] = (struct mir_host_watch){
            .fd = fd[i], .events = MIR_HOST_IN, .ready = on_ready, .arg = peer};
        if (peer->config.poll->ops->add(peer->config.poll, &peer->watch[i]) < 0)
            return -MIR_EIO;
    }
    return 0;
}

int mir_ivshmem_peer_join(struct mir_ivshmem_peer *peer, const char *path, mir_time_us deadline_us,
                          const struct mir_ivshmem_peer_config *config)
{
    int sock, r = mir__place_connect(path, SOCK_STREAM, deadline_us, &sock);
    if (r < 0)
        return r;
    *peer = (struct mir_ivshmem_peer){.sock = sock, .bell = -1, .part_fd = -1, .config = *config};
    mir_list_init(&peer->region.ends);
    for (unsigned i = 0; i < MIR_REGION_PEERS_MAX; i++)
        peer->other[i].bell = -1;
    r = be_welcomed(peer, MIR_MAX(deadline_us, mir_memfd_now() + WELCOME_US));
    if (r == 0) {
        const struct mir_region_config region = {.memory = peer->at,
                                                 .bytes = peer->bytes,
                                                 .self = peer->self,
                                                 .ring = ring_peer,
                                                 .ring_arg = peer,
                                                 .changed = config->changed,
                                                 .arg = config->arg};
        r = mir_region_open(&peer->region, &region);
    }
    if (r == 0)
        r = watch(peer);
    if (r < 0)
        mir_ivshmem_peer_leave(peer);
    return r;
}

void mir_ivshmem_peer_leave(struct mir_ivshmem_peer *peer)
{
    if (peer->at == NULL && peer->sock < 0)
        return;
    if (peer->region.board != NULL)
        mir_region_close(&peer->region);
    for (unsigned i = 0; peer->config.poll != NULL && i < 2; i++)
        if (peer->watch[i].ready != NULL && !(i == 0 && peer->sock < 0))
            peer->config.poll->ops->remove(peer->config.poll, &peer->watch[i]);
    peer->config.poll = NULL;
    for (unsigned i = 0; i < MIR_REGION_PEERS_MAX; i++)
        mir__memfd_close_fd(&peer->other[i].bell);
    mir__memfd_close_fd(&peer->part_fd);
    mir__memfd_close_fd(&peer->bell);
    mir__memfd_close_fd(&peer->sock);
    if (peer->at != NULL)
        munmap(peer->at, peer->bytes);
    peer->at = NULL;
}
