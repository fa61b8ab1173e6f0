/* SPDX-License-Identifier: ISC */
/* The socket object and what the files of this folder know of each other. */
#ifndef TARGET_PACKETDRILL_INTERNAL_H
#define TARGET_PACKETDRILL_INTERNAL_H

#include <errno.h>

#include "dev/net/host/errno.h"
#include "target/packetdrill/px.h"

enum px_kind { PX_TCP, PX_UDP, PX_EPOLL };

enum px_state {
    PX_FRESH,      /* neither connected nor listening */
    PX_LISTENING,  /* listener is set */
    PX_CONNECTING, /* tcp is set; the answer is awaited */
    PX_CONNECTED,  /* tcp is set, or was: the connection may have ended */
};

/** Options as they were set; applied to each connection the socket gets. 0: as the stack has it. */
struct px_options {
    uint32_t sndbuf, rcvbuf;
    uint32_t keep_idle_s, keep_intvl_s, keep_count;
    uint32_t user_timeout_ms;
    uint32_t fastopen; /* connections that may be pending with data; 0 = off */
    uint16_t maxseg;
    uint8_t tos;
    uint32_t notsent_lowat; /* 0 = no limit */
    bool fastopen_connect;
    bool nodelay, cork, keepalive, reuse_addr, v6_only;
    bool linger;
    int linger_s;
    char congestion[16];
    int64_t rcv_timeout_us, snd_timeout_us; /* 0 = none */
};

/** A datagram that waits to be read. */
struct px_dgram {
    struct px_dgram *next;
    struct mir_endpoint from;
    struct mir_buf *buf;
};

/** What an epoll descriptor watches. */
struct px_watch {
    struct px_watch *next;
    int fd;
    struct px_sock *sock;
    struct epoll_event event;
    uint32_t told;      /* EPOLLET: what was reported */
    uint64_t told_edge; /* ... at this count of the socket's events */
    bool is_off;        /* EPOLLONESHOT has fired */
};

struct px_sock {
    struct px_host *px;
    enum px_kind kind;
    enum px_state state;
    int domain;
    bool nonblock;
    bool has_local; /* bind() was called */
    bool shut_rd, shut_wr;
    bool had_eof;     /* the peer's FIN has come before the end */
    bool is_deferred; /* connect() has returned, the SYN waits for data (TCP_FASTOPEN_CONNECT) */
    int so_error;     /* errno to be told once */
    uint64_t edges;   /* events so far, for EPOLLET */
    struct mir_endpoint local;
    struct mir_endpoint remote;
    struct px_options options;

    struct mir_tcp *tcp;
    struct mir_tcp_listener *listener;
    uint32_t backlog;
    struct px_sock *accept_first, *accept_last, *accept_next;
    uint32_t accept_count;
    struct mir_view held[PX_HELD_MAX]; /* taken from the stack, not yet read */
    uint32_t held_count;
    uint32_t held_bytes;

    struct mir_udp *udp;
    struct px_dgram *dgram_first, *dgram_last;
    uint32_t dgrams;

    struct px_watch *watches;
};

/* sock.c */
/** The object of @fd, NULL if there is none. */
struct px_sock *px__sock(struct px_host *px, int fd);
/** A descriptor for @sock, or -EMFILE. */
int px__fd_new(struct px_host *px, struct px_sock *sock);
/** 0 and *@ep from a socket address, or -EINVAL, -EAFNOSUPPORT. */
int px__endpoint(const struct px_sock *sock, const struct sockaddr *addr, socklen_t len,
                 struct mir_endpoint *ep);
/** *@addr from @ep, cut to *@len; both may be NULL. */
void px__sockaddr(const struct px_sock *sock, const struct mir_endpoint *ep, struct sockaddr *addr,
                  socklen_t *len);
/** Make the UDP socket exist on its local address. 0 or a negative errno. */
int px__udp_ready(struct px_sock *sock);
/** Take and forget the pending error: 0 or negative errno. */
int px__take_error(struct px_sock *sock);
/** Absolute deadline of a blocking call: now for a descriptor or flags that do not block. */
mir_time_us px__deadline(const struct px_sock *sock, int flags, int64_t timeout_us);
/** Start a connection without waiting. */
int px__connect_start(struct px_sock *sock);
/** Is there a cookie, so that a SYN to the socket's remote can carry data? */
bool px__fast_knows(const struct px_sock *sock);
/** Free the object and what it holds. */
void px__sock_free(struct px_sock *sock);

/* data.c */
void px__held_release(struct px_sock *sock);

/* option.c */
/** Make a connection as the options say. */
void px__options_apply(struct px_sock *sock);

/* poll.c */
/** POLLIN, POLLOUT and the like that hold now. */
uint32_t px__ready(const struct px_sock *sock);
/** No epoll descriptor watches it any more. */
void px__watch_forget(struct px_host *px, const struct px_sock *sock);

#endif
