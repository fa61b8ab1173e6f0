/* SPDX-License-Identifier: ISC */
/* A host in virtual time with POSIX-like sockets: the direct stack on a wire of bare IP packets.
 *
 *   host.c     memory, loop, clock, stack; how a blocking call waits
 *   wire.c     the network device: IP packets in and out, neighbours answered by itself
 *   sock.c     descriptors: socket, bind, listen, accept, connect, shutdown, close
 *   data.c     read and write in all their forms
 *   option.c   getsockopt, setsockopt, TCP_INFO, ioctl, fcntl
 *   poll.c     poll and epoll
 *   so.c       all of it behind the interface of the public packetdrill program
 *
 * Calls return what Linux's return, except that an error is the negative errno. Types and constants
 * are those of the C library's headers, so a caller passes through what it was given.
 *
 * Time moves only when somebody moves it: px_run_until(), px_receive(), or a call that blocks.
 */
#ifndef TARGET_PACKETDRILL_PX_H
#define TARGET_PACKETDRILL_PX_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <mirari/dev_net.h>
#include <mirari/net.h>
#include <mirari/rng.h>

#define PX_FDS_MAX     256u
#define PX_FD_FIRST    3
#define PX_ACCEPT_MAX  4096u /* connections waiting for accept() */
#define PX_DGRAMS_MAX  256u
#define PX_HELD_MAX    64u
#define PX_PACKETS_MAX 16384u /* sent and not yet looked at */
#define PX_PACKET_MAX  65535u

/* ---- the wire ------------------------------------------------------------------------------- */

/** An IP packet the stack has sent. */
struct px_packet {
    struct px_packet *next;
    mir_time_us at_us;
    uint32_t len;
    uint8_t data[];
};

struct px_wire {
    struct mir_net_dev dev; /* must be first */
    struct mir_net_upper upper;
    struct mir_loop *loop;
    struct mir_buf_pool *bufs;
    bool is_started;
    struct px_packet *first, *last;
    uint32_t queued;
    uint64_t forgotten; /* beyond PX_PACKETS_MAX */
    struct mir_work answer_work;
    struct mir_buf_queue answers; /* frames of the neighbour, delivered in the next step */
    struct mir_net_dev_stats stats;
};

void px_wire_init(struct px_wire *wire, struct mir_loop *loop, struct mir_buf_pool *bufs,
                  uint16_t mtu, bool gso);
void px_wire_fini(struct px_wire *wire);
/** An IP packet from the wire. False: not an IP packet, or no buffer. */
bool px_wire_inject(struct px_wire *wire, const void *packet, size_t len);
/** The oldest packet sent, NULL if none; the caller frees it. */
struct px_packet *px_wire_take(struct px_wire *wire);

/* ---- the host ------------------------------------------------------------------------------- */

struct px_config {
    const char *local;      /**< "192.168.0.1/16"; NULL = that */
    const char *gateway;    /**< "192.168.0.2"; NULL = that */
    const char *local6;     /**< "fd3d::1/64"; NULL = none */
    const char *gateway6;   /**< "fd3d::2"; NULL = that */
    const char *congestion; /**< NULL = cubic */
    uint32_t rcvbuf_bytes;  /**< 0 = 6 MiB: a window scale of 7 */
    uint32_t sndbuf_bytes;  /**< 0 = 4 MiB */
    uint16_t mtu;           /**< 0 = 1500 */
    bool no_gso;            /**< else segments leave as one large packet, as on Linux */
    bool no_sack;
    bool no_timestamps;
    enum mir_net_ecn ecn;
    uint32_t fastopen; /**< as Linux's tcp_fastopen; of it, 0x400: every listener takes part */
    bool has_fastopen_key;
    uint8_t fastopen_key[16];
    uint64_t seed;
};

struct px_sock;

struct px_host {
    uint8_t *arena;
    size_t arena_size;
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    struct mir_loop loop;
    struct mir_rng rng;
    struct px_wire wire;
    struct mir_net *net;
    struct mir_stack *stack;
    mir_time_us now_us;
    bool fastopen_all; /* listeners without TCP_FASTOPEN have it too */
    struct px_sock *fd[PX_FDS_MAX];
    struct mir_wait changed; /* something happened to a socket */
    uint64_t changes;
    /** Instead of moving time when no task runs: wait until something changed or the time has come.
     *  Returns false if that will never be. */
    bool (*block)(void *arg, mir_time_us deadline_us);
    void *block_arg;
    /** Where descriptors must be numbers of the process too: take one, give it back. NULL: the
     *  lowest free number from PX_FD_FIRST. */
    int (*fd_take)(void);
    void (*fd_give)(int fd);
};

/** Fill @config from "name=value,name=value": local, gateway, local6, gateway6, cc, rcvbuf, sndbuf,
 * mtu, gso, sack, timestamps, ecn, fastopen, fastopen_key, seed. Values of text point into @text,
 * which is changed. Returns NULL, or the word that is wrong. */
const char *px_config_parse(struct px_config *config, char *text);
/** Returns 0 or a negative MIR_E*. */
int px_open(struct px_host *px, const struct px_config *config) MIR_CHECK;
/** Close everything. Returns the bytes of memory and the timers that were left: 0. */
size_t px_close(struct px_host *px);
/** Run what is ready at this time. */
void px_settle(struct px_host *px);
/** Let time pass until @at_us; timers fire. */
void px_run_until(struct px_host *px, mir_time_us at_us);
/** A packet from the wire. Returns 0 or -EINVAL. */
int px_inject(struct px_host *px, const void *packet, size_t len);
/** The next packet that leaves, letting time pass until @deadline_us; NULL if none does. */
struct px_packet *px_receive(struct px_host *px, mir_time_us deadline_us);
/** A blocking call waits: until something changed, or @deadline_us. 0, or -EAGAIN at the deadline,
 *  or -EDEADLK when nothing will ever happen. */
int px_wait(struct px_host *px, mir_time_us deadline_us);
/** Something changed: blocking calls look again. */
void px_changed(struct px_host *px);

/* ---- calls ---------------------------------------------------------------------------------- */

int px_socket(struct px_host *px, int domain, int type, int protocol);
int px_bind(struct px_host *px, int fd, const struct sockaddr *addr, socklen_t len);
int px_listen(struct px_host *px, int fd, int backlog);
int px_accept(struct px_host *px, int fd, struct sockaddr *addr, socklen_t *len, int flags);
int px_connect(struct px_host *px, int fd, const struct sockaddr *addr, socklen_t len);
int px_shutdown(struct px_host *px, int fd, int how);
int px_close_fd(struct px_host *px, int fd);
int px_getname(struct px_host *px, int fd, struct sockaddr *addr, socklen_t *len, bool peer);
ssize_t px_recvmsg(struct px_host *px, int fd, struct msghdr *msg, int flags);
ssize_t px_sendmsg(struct px_host *px, int fd, const struct msghdr *msg, int flags);
/** The short forms; @addr may be NULL. */
ssize_t px_recv(struct px_host *px, int fd, void *data, size_t len, int flags);
ssize_t px_send(struct px_host *px, int fd, const void *data, size_t len, int flags);
int px_getsockopt(struct px_host *px, int fd, int level, int name, void *value, socklen_t *len);
int px_setsockopt(struct px_host *px, int fd, int level, int name, const void *value,
                  socklen_t len);
int px_fcntl(struct px_host *px, int fd, int command, long arg);
int px_ioctl(struct px_host *px, int fd, unsigned long request, int *value);
int px_poll(struct px_host *px, struct pollfd *fds, nfds_t count, int timeout_ms);
int px_epoll_create(struct px_host *px);
int px_epoll_ctl(struct px_host *px, int epfd, int op, int fd, const struct epoll_event *event);
int px_epoll_wait(struct px_host *px, int epfd, struct epoll_event *events, int max,
                  int timeout_ms);

#endif
