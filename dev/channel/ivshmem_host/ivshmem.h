/* SPDX-License-Identifier: ISC */
/* The host's side of QEMU's ivshmem: the server that machines and processes come to, and a process
 * that comes there as a machine does. server.c and peer.c say how.
 *
 * Messages of the server, over a Unix stream socket: 8 bytes, little-endian, some with a
 * descriptor. The client says nothing.
 *
 *   0                     version of the protocol
 *   number                of this client, 0 .. 31 (0 .. 65535 of other servers)
 *   -1 + descriptor       the shared memory
 *   number + descriptor   of another client: an eventfd that rings it; once for each vector
 *   own + descriptor      of this client: an eventfd that is rung; once for each vector
 *   number                of a client that has gone: other servers say that
 */
#ifndef DEV_CHANNEL_IVSHMEM_HOST_IVSHMEM_H
#define DEV_CHANNEL_IVSHMEM_HOST_IVSHMEM_H

#include <mirari/host.h>

#include "dev/channel/region/region.h"

#define MIR_IVSHMEM_NAME        "mirari-ivshmem:" /**< before the last part of the path: the memfd */
#define MIR_IVSHMEM_BYTES       ((uint64_t)4 << 20)
#define MIR_IVSHMEM_SLOTS       7u
#define MIR_IVSHMEM_VECTORS_MAX 8u

/* ---- the server -------------------------------------------------------------------------------
 */

struct mir_ivshmem_server_config {
    const char *path; /**< of the socket to make, at most 100 bytes; borrowed */
    const char *name; /**< of the region, at most MIR_REGION_NAME_MAX; borrowed */
    uint64_t bytes;   /**< a power of two; 0 = MIR_IVSHMEM_BYTES */
    uint32_t slots;   /**< channels at once; 0 = MIR_IVSHMEM_SLOTS */
    uint32_t
        vectors; /**< bells for each client; 0 = 1, more than one for machines that want them */
    /** Beside ourselves and root: may this user come? NULL = nobody else. */
    bool (*allow)(void *arg, uint32_t uid);
    void *arg;
};

struct mir_ivshmem_server_stats {
    uint64_t admitted, left;
    uint64_t refused; /**< users who may not come, clients too many */
    uint64_t dropped; /**< clients that spoke, or did not take what was said to them */
};

/** Caller's memory. */
struct mir_ivshmem_server {
    /* private: */
    int listener, memory;
    void *at;
    uint64_t bytes;
    uint32_t vectors;
    char path[104];
    uint64_t file;
    bool (*allow)(void *arg, uint32_t uid);
    void *arg;
    struct mir__ivshmem_client {
        int sock;                          /* -1: nobody */
        int bell[MIR_IVSHMEM_VECTORS_MAX]; /* of this number, whoever has it */
        bool is_dropped;                   /* to be buried */
    } client[MIR_REGION_PEERS_MAX];        /* by number */
    uint32_t client_count;
    struct mir_ivshmem_server_stats stats;
};

/**
 * mir_ivshmem_server_open() - make a region and listen for its peers.
 *
 * Returns 0, -MIR_EADDRINUSE (a server listens there), -MIR_EEXIST (it is no socket), -MIR_EINVAL
 *         (path, name, sizes), -MIR_EPERM, -MIR_ENOENT (no such folder), -MIR_ENOMEM, -MIR_EIO.
 * Source  QEMU docs/specs/ivshmem-spec, "Interrupt setup", "Client-Server protocol"
 * Tests   test/unit/ivshmem_test.c, test/boot/ivshmem.t
 */
int mir_ivshmem_server_open(struct mir_ivshmem_server *server,
                            const struct mir_ivshmem_server_config *config) MIR_CHECK;
/** Wait for at most @timeout_ms (-1 = for ever) and serve what came. Returns 0, -MIR_ETIMEDOUT,
 *  -MIR_ECANCELED (a signal came). */
int mir_ivshmem_server_step(struct mir_ivshmem_server *server, int timeout_ms) MIR_CHECK;
/** Everybody loses the server; what they have of the memory stays theirs. */
void mir_ivshmem_server_close(struct mir_ivshmem_server *server);

/* ---- a process in a region --------------------------------------------------------------------
 */

struct mir_ivshmem_peer_config {
    /** Who watches the descriptors and so brings the events; NULL: mir_ivshmem_peer_poll() does. */
    struct mir_host_poll *poll;
    /** As in struct mir_region_config; and when the server is lost. May be NULL. */
    void (*changed)(void *arg);
    void *arg;
};

/** Caller's memory. */
struct mir_ivshmem_peer {
    struct mir_region region; /**< for offer and take */
    /* private: */
    int sock, bell;
    void *at;
    uint64_t bytes;
    uint32_t self;
    uint8_t part[8]; /* a message that is not whole yet, and its descriptor */
    uint32_t part_len;
    int part_fd;
    struct {
        uint32_t number;
        int bell; /* -1: nobody */
    } other[MIR_REGION_PEERS_MAX];
    struct mir_ivshmem_peer_config config;
    struct mir_host_watch watch[2];
    uint64_t messages, refused;
};

/**
 * mir_ivshmem_peer_join() - come to a server, and be in its region.
 *
 * Waits: for a server that is not there yet until @deadline_us, and 5 s at least for what it has to
 * say. All memory is mapped here; nothing later needs more than reading and writing descriptors.
 *
 * Returns 0, -MIR_ENOENT or -MIR_ECONNREFUSED (nobody there), -MIR_ETIMEDOUT, -MIR_EPERM (not from
 *         us), -MIR_ENOTSUP (something else listens there, or a region of another version),
 *         -MIR_EPROTO (no server of ours), -MIR_EINVAL (path), -MIR_ENOMEM.
 * Source  QEMU docs/specs/ivshmem-spec, "Client-Server protocol"
 * Tests   test/unit/ivshmem_test.c, test/boot/ivshmem.t
 */
int mir_ivshmem_peer_join(struct mir_ivshmem_peer *peer, const char *path, mir_time_us deadline_us,
                          const struct mir_ivshmem_peer_config *config) MIR_CHECK;
/** Without a poll: look whether somebody rang, came or went, and bring the events. Never waits. */
void mir_ivshmem_peer_poll(struct mir_ivshmem_peer *peer);
/** Without a poll: what poll(2) should find readable. Returns how many, 1 or 2. */
unsigned mir_ivshmem_peer_descriptors(const struct mir_ivshmem_peer *peer, int fd[2]);
/** Ends that are open are closed. Harmless the second time. */
void mir_ivshmem_peer_leave(struct mir_ivshmem_peer *peer);

#endif
