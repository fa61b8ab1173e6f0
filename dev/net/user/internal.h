/* SPDX-License-Identifier: ISC */
/* Between user.c (frames), poll.c (descriptors and timers) and forward.c. Not public. */
#ifndef DEV_NET_USER_INTERNAL_H
#define DEV_NET_USER_INTERNAL_H

#include <netinet/in.h>
#include <slirp/libslirp.h>

#include "dev/net/user/user.h"

/* Descriptors that slirp watches; one beyond is refused to it, so its socket never gets ready. */
#define MIR__USER_FD_MAX 16384
/* Forwarded ports are opened at start, so their descriptors are below this. */
#define MIR__USER_LISTENER_MAX 256
/* Timers slirp 4.7 makes: one, for IPv6 router advertisements. */
#define MIR__USER_TIMER_MAX 4

struct mir__user_fd {
    struct mir_host_watch watch;
    struct mir__user *user;
    unsigned wanted;   /* of this round of slirp_pollfds_fill() */
    unsigned happened; /* since then */
    unsigned round;    /* in which slirp asked for it last */
    bool is_watched;
};

struct mir__user_timer {
    SlirpTimerCb fire;
    void *fire_arg;
    int64_t expire_ms; /* -1: not set */
    bool is_used;
};

struct mir__user {
    struct mir_net_dev dev; /* first */
    struct mir_user_config config;
    Slirp *slirp;
    struct sockaddr_in outbound; /* what slirp binds its sockets to */
    uint32_t network, ip;
    struct mir_net_upper upper;
    struct mir_net_dev_stats stats;
    struct mir_buf_queue in; /* from slirp, on its way up */
    struct mir_work deliver;
    bool is_started;

    struct mir_host_hook hook;
    bool is_stale;           /* slirp's wishes may have changed: ask again */
    bool has_events;         /* something happened on its descriptors */
    mir_time_us deadline_us; /* of slirp, MIR_TIME_NEVER: none */
    unsigned round;
    uint64_t fds_refused;
    uint64_t shortages; /* clients that had to wait because no descriptor was left */
    bool is_listener[MIR__USER_LISTENER_MAX];
    int fd_high; /* one above the highest descriptor slirp ever had */
    struct mir__user_fd *fds[MIR__USER_FD_MAX]; /* by descriptor */
    struct mir__user_timer timers[MIR__USER_TIMER_MAX];
};

extern const SlirpCb mir__user_callbacks;
/** poll.c: hook slirp into the loop; and out. */
void mir__user_poll_init(struct mir__user *user);
void mir__user_poll_fini(struct mir__user *user);
/** poll.c: the callbacks about descriptors and timers. */
void mir__user_unregister_fd(int fd, void *opaque);
void mir__user_register_fd(int fd, void *opaque);
void *mir__user_timer_new(SlirpTimerCb fire, void *fire_arg, void *opaque);
void mir__user_timer_free(void *timer, void *opaque);
void mir__user_timer_mod(void *timer, int64_t expire_ms, void *opaque);
void mir__user_notify(void *opaque);

#endif
