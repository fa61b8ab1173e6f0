/* SPDX-License-Identifier: ISC */
/* Channels between processes of one Linux: memory without a name, events, and a Unix socket at
 * which the two meet. memfd.c says how. */
#ifndef DEV_CHANNEL_MEMFD_MEMFD_H
#define DEV_CHANNEL_MEMFD_MEMFD_H

#include <mirari/channel.h>
#include <mirari/host.h>
#include <mirari/vchan.h>

#define MIR_MEMFD_PAGES_MAX 514u /* the first page, two rings of 1 MiB, the last page */
#define MIR_MEMFD_SPIN_US   50u  /* the default */

/** The file's last page begins with this, for those who look at channels from outside (`mirari
 * vchan ls`). Neither end reads it. Files are called MIR_MEMFD_NAME and the last part of the path.
 */
struct mir_memfd_label {
    char magic[8]; /**< MIR_MEMFD_MAGIC */
    uint32_t server_pid, client_pid;
    uint64_t since_us; /**< monotonic */
};
#define MIR_MEMFD_MAGIC "MIRVCHAN"
#define MIR_MEMFD_NAME  "mirari-vchan:"

struct mir_memfd_stats {
    uint64_t rung;          /**< notifications given */
    uint64_t heard;         /**< times that there were notifications of the peer's */
    uint64_t spins, sleeps; /**< waits that ended before sleeping, and those that slept */
};

struct mir_memfd_config {
    /** Who watches the descriptors and so brings the events; NULL: mir_memfd_poll() and
     *  mir_memfd_wait() do. */
    struct mir_host_poll *poll;
    /** At most so long a wait looks again and again before it sleeps; 0 never. */
    uint32_t spin_us;
};

/** One end of a channel; caller's memory. */
struct mir_memfd {
    struct mir_channel channel; /* first */
    /* private: */
    int sock;       /* the meeting: the peer's death is its end; a bell as well */
    int memory;     /* the memfd */
    int ring, bell; /* eventfds: the peer's, ours; -1 between users who do not trust each other */
    uint32_t pages;
    uint32_t area_count;
    struct {
        void *at;
        size_t bytes;
    } area[4];
    struct mir_host_poll *poll;
    struct mir_host_watch watch[2];
    uint32_t spin_max_us, spin_us;
    uint32_t peer_uid, peer_pid;
    struct mir_memfd_stats stats;
};

struct mir_memfd_listen_config {
    const char *path; /**< of the socket to make, at most 100 bytes; borrowed */
    /** Beside ourselves and root: may this user come? NULL = nobody else. */
    bool (*allow)(void *arg, uint32_t uid);
    void *arg;
};

/** Where clients come; caller's memory. */
struct mir_memfd_listener {
    /* private: */
    int fd;
    char path[104];
    uint64_t file; /* its number, so that only ours is removed */
    bool (*allow)(void *arg, uint32_t uid);
    void *arg;
    uint64_t accepted, refused;
};

/**
 * mir_memfd_listen() - make the socket where clients meet a server.
 *
 * What a dead server has left at the path is replaced.
 *
 * Returns 0, -MIR_EADDRINUSE (a server listens there), -MIR_EEXIST (it is no socket), -MIR_EINVAL
 *         (path too long), -MIR_EPERM, -MIR_ENOENT (no such folder), -MIR_EIO.
 * Source  none
 */
int mir_memfd_listen(struct mir_memfd_listener *listener,
                     const struct mir_memfd_listen_config *config) MIR_CHECK;
/** To be watched: readable when a client is there. */
static inline int mir_memfd_listener_fd(const struct mir_memfd_listener *listener)
{
    return listener->fd;
}
/** The next client; never waits. The channel is a server's, for mir_vchan_serve(), which tells the
 *  client. A client that may not come is told so and counted.
 *  Returns 0, -MIR_EAGAIN (none), -MIR_ENOMEM (descriptors, memory). */
int mir_memfd_accept(struct mir_memfd_listener *listener, const struct mir_memfd_config *config,
                     struct mir_memfd *end) MIR_CHECK;
/** As mir_memfd_accept(), to tell the client that it cannot come now. */
int mir_memfd_refuse(struct mir_memfd_listener *listener) MIR_CHECK;
/** Channels that were accepted stay. */
void mir_memfd_listener_close(struct mir_memfd_listener *listener);

/**
 * mir_memfd_connect() - meet the server at @path.
 *
 * Waits: the server accepts when it gets to it.
 *
 * @deadline_us  monotonic; until then a server that is not there yet is waited for
 *
 * Returns 0, -MIR_ENOENT (nobody has listened there), -MIR_ECONNREFUSED (nobody does any more),
 *         -MIR_ETIMEDOUT (no answer), -MIR_EBUSY (it takes no more), -MIR_EPERM (not from us),
 *         -MIR_EPROTO (no server of ours), -MIR_EINVAL (path), -MIR_ENOMEM.
 * Source  none
 */
int mir_memfd_connect(const char *path, mir_time_us deadline_us,
                      const struct mir_memfd_config *config, struct mir_memfd *end) MIR_CHECK;

/** Without a poll: look whether the peer rang or went, and bring the event. Never waits. */
void mir_memfd_poll(struct mir_memfd *end);
/** Without a poll: what poll(2) should find readable. Returns how many, 1 or 2. */
unsigned mir_memfd_descriptors(const struct mir_memfd *end, int fd[2]);
/**
 * mir_memfd_wait() - wait until one of @wishes is possible, spinning first if that pays.
 *
 * For programs with a thread of their own for a channel; without a poll.
 *
 * Returns 0 (look: it may be the end), -MIR_ETIMEDOUT, -MIR_ECANCELED (a signal came).
 * Cost    of an idle channel: none
 * Source  none
 */
int mir_memfd_wait(struct mir_memfd *end, struct mir_vchan *vchan, unsigned wishes,
                   mir_time_us deadline_us) MIR_CHECK;
/** Monotonic time, as for deadlines. */
mir_time_us mir_memfd_now(void);

static inline uint32_t mir_memfd_peer_pid(const struct mir_memfd *end)
{
    return end->peer_pid;
}
static inline uint32_t mir_memfd_peer_uid(const struct mir_memfd *end)
{
    return end->peer_uid;
}

#endif
