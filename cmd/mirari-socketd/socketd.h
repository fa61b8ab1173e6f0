/* SPDX-License-Identifier: ISC */
/* What the files of the socket server know of each other.
 *
 *   main.c      the appliance: manifest, the descriptor it serves on, its beginning and end
 *   control.c   control connections: messages in, answers out, who may connect
 *   table.c     sockets: handles, inodes, adoption, the end of a socket
 *   address.c   addresses of the protocol <-> of the stack; errno
 *   call.c      bind, connect, listen, names, shutdown
 *   port.c      which TCP ports are bound, by the rules of SO_REUSEADDR and SO_REUSEPORT
 *   listen.c    listeners: new connections to the program
 *   stream.c    the pump of connections: B <-> stack
 *   dgram.c     datagrams
 *   option.c    socket options; info.c: TCP_INFO
 *   admin.c     interfaces, routes, netstat, counters;  resolve.c: names
 *
 * All of it runs in the loop's thread. Memory comes from the appliance's page pool; after the start
 * nothing is asked of the host but descriptors.
 */
#ifndef CMD_MIRARI_SOCKETD_SOCKETD_H
#define CMD_MIRARI_SOCKETD_SOCKETD_H

#include <mirari/app.h>
#include <mirari/dns.h>
#include <mirari/format.h>
#include <mirari/host.h>
#include <mirari/log.h>
#include <mirari/net.h>
#include <mirari/udp.h>

#include <netinet/in.h>

#include "cmd/socket/proto.h"
#include "dev/net/host/errno.h"

#define SD_SOCKETS_MAX  16384u
#define SD_CONTROLS_MAX 1024u
#define SD_ENDED_MAX    1024u        /* ended sockets whose error may still be asked for */
#define SD_HELD_MAX     16u          /* received views that wait for room in B */
#define SD_FDS_MAX      4u           /* descriptors taken with one message */
#define SD_TURN_BYTES   (512u << 10) /* one socket moves so much, then others have their turn */
#define SD_SOON_US      500          /* a moment: CONNECT with SOCK_F_SOON waits so long */
#define SD_SKIP_MAX     (1u << 24)   /* junk bytes that are believed at a time */

enum sd_kind { SD_TCP, SD_UDP };

struct sd_control;
struct sd_listener;

/** Options that are one number; option.c has what is allowed. */
enum sd_number {
    SD_N_REUSEADDR,
    SD_N_REUSEPORT,
    SD_N_KEEPALIVE,
    SD_N_BROADCAST,
    SD_N_DONTROUTE,
    SD_N_OOBINLINE,
    SD_N_PRIORITY,
    SD_N_MARK,
    SD_N_SNDBUF,
    SD_N_RCVBUF,
    SD_N_TIMESTAMP,
    SD_N_TIMESTAMPNS,
    SD_N_BUSY_POLL,
    SD_N_RXQ_OVFL,
    SD_N_NO_CHECK,
    SD_N_NODELAY,
    SD_N_CORK,
    SD_N_MAXSEG,
    SD_N_KEEPIDLE,
    SD_N_KEEPINTVL,
    SD_N_KEEPCNT,
    SD_N_SYNCNT,
    SD_N_LINGER2,
    SD_N_DEFER_ACCEPT,
    SD_N_WINDOW_CLAMP,
    SD_N_QUICKACK,
    SD_N_USER_TIMEOUT,
    SD_N_FASTOPEN,
    SD_N_FASTOPEN_CONNECT,
    SD_N_NOTSENT_LOWAT,
    SD_N_TOS,
    SD_N_TTL,
    SD_N_GROUP_TTL,
    SD_N_GROUP_LOOP,
    SD_N_PKTINFO,
    SD_N_RECVTTL,
    SD_N_RECVTOS,
    SD_N_RECVERR,
    SD_N_MTU_DISCOVER,
    SD_N_FREEBIND,
    SD_N_BIND_NO_PORT,
    SD_N_V6ONLY,
    SD_N_TCLASS,
    SD_N_HOPS,
    SD_N_GROUP_HOPS,
    SD_N_GROUP_LOOP6,
    SD_N_PKTINFO6,
    SD_N_RECVHOPS,
    SD_N_RECVTCLASS,
    SD_N_RECVERR6,
    SD_N_MTU_DISCOVER6,
    SD_N_DONTFRAG,
    SD_N_ADDR_PREFERENCES,
    SD_N_GROUP_ALL,
    SD_N_MINTTL,
    SD_N_MTU6,
    SD_N_AUTOFLOWLABEL,
    SD_N_SELECT_ERR_QUEUE,
    SD_N_THIN_LINEAR_TIMEOUTS,
    SD_N_RECVOPTS,
    SD_N_RETOPTS,
    SD_N_COUNT
};

/** Options as they were set; applied to each connection the socket gets. */
struct sd_options {
    int32_t number[SD_N_COUNT];
    uint64_t is_set; /* bits of enum sd_number; others are as the stack has it */
    struct linger linger;
    struct timeval rcv_timeout, snd_timeout;
    uint32_t group_if, bound_if;
    char congestion[16], device[16];
};

/** Somebody waits for the answer of an operation. */
struct sd_waiter {
    struct mir_list link;       /* of the control connection */
    struct sd_control *control; /* NULL: nobody */
    uint32_t id;
    uint16_t op;
    bool is_soon; /* it will not wait for long */
};

struct sd_socket {
    struct mir_list by_ino; /* bucket */
    struct mir_list link;   /* of all; or ended ones, oldest first */
    uint64_t handle, ino;
    struct mir_host_watch watch; /* B; fd -1: closed */
    enum sd_kind kind;
    enum sock_state state;
    uint16_t domain;
    bool framed;
    bool has_local;                         /* bound, with a port */
    bool is_port_chosen, is_address_chosen; /* by bind(): kept when a UDP socket is disconnected */
    bool shut_rd, shut_wr;
    bool is_watched;
    uint32_t pid, via;
    uid_t uid;
    int so_error; /* errno to be told once */
    mir_time_us ended_us;
    struct mir_endpoint local, remote;
    uint32_t scope; /* of the local address */
    struct sd_options options;
    struct sd_waiter waiter; /* of CONNECT */

    /* port.c */
    struct mir_list on_port;
    uint16_t port; /* held; 0: none */

    /* TCP */
    struct mir_tcp *tcp;
    struct mir_timer soon; /* an answer that waits for the connection goes out without it */
    mir_time_us began_us;  /* to connect */
    uint32_t old;          /* bytes at the head of B's queue that are not new */
    uint32_t peeks;        /* receptions since they were last taken away */
    struct mir_timer tidy; /* they are taken away at last */
    bool is_bulk;          /* there was much last time */
    bool is_last;          /* what is in B is all that comes */
    bool eof_in;           /* no more from the program */
    bool is_hup;           /* both directions of B have ended */
    bool fin_out;          /* the program has been told of the peer's FIN */
    bool out_full;         /* B has no room */
    bool is_deaf;          /* the program reads no more */
    bool is_filling;       /* the client puts junk into A: FILLED follows */
    bool is_unread;        /* and did not get what was for it */
    int end_err;           /* what ended the connection, until the program can be told; 0 */
    struct mir_work work;  /* another turn */
    struct mir_view held[SD_HELD_MAX];
    uint32_t held_count;
    uint64_t bytes_in, bytes_out;

    /* TCP, listening */
    struct sd_listener *listener;
    struct sd_socket *parent; /* that it waits for */
    struct mir_list waiting;  /* connections that are not pushed yet, by in_waiting */
    struct mir_list in_waiting;
    int accept_fd; /* A of a connection that waits; else -1 */
    uint32_t waiting_count, backlog, push_unit;
    uint32_t pushed; /* messages to the program; some may have been taken */

    /* UDP */
    struct mir_udp *udp;
    bool has_groups; /* has joined some */
    uint64_t dropped;
};

/** A control connection. */
struct sd_control {
    struct mir_list link;
    struct mir_host_watch watch;
    uid_t uid;
    uint32_t pid, via;
    bool is_greeted, is_closing;
    uint32_t outstanding;
    struct mir_list waiters;
    struct mir_list lookups; /* questions under way, resolve.c */
    struct mir_list out;     /* answers that found no room */
    uint32_t out_count;
};

/** A request that is being worked on. */
struct sd_call {
    struct sd_control *control;
    struct sock_request head;
    const uint8_t *body;
    uint32_t len;
    int fd[SD_FDS_MAX]; /* attached; -1: taken */
    uint32_t fd_count;
    struct sd_socket *socket;
    bool has_lost_fds; /* there was no descriptor free for what is attached */
    bool is_deferred;  /* somebody answers later */
    bool is_answered;
};

struct sd_counters {
    uint64_t controls, controls_refused, requests, malformed;
    uint64_t adopted, refused, accepted, accept_overflow, connects, connect_failures;
    uint64_t stream_in_bytes, stream_out_bytes, stream_in_reads, stream_out_writes;
    uint64_t dgrams_in, dgrams_out, dgrams_dropped, resets_told;
};

struct sd {
    struct mir_app *app;
    struct mir_host_poll *poll;
    struct mir_stack *stack;
    struct mir_net *net; /* NULL: the host's stack */
    struct mir_dns *dns; /* NULL: not opened yet */
    uint64_t id;
    uid_t uid; /* whoever started the server */
    struct mir_host_watch listening;
    struct mir_pool sockets, controls;
    struct mir_list all, ended, control_list;
    uint32_t live, ended_count, control_count;
    struct mir_timer ended_timer;
    mir_time_us handshake_us; /* how long the last connection took to be made */
    struct sd_counters count;
};

extern struct sd sd;

/* ---- address.c ------------------------------------------------------------------------------ */

/** 0, or negative errno: the address does not fit a socket of @domain. */
int sd_endpoint(uint16_t domain, const struct sock_addr *addr, struct mir_endpoint *ep);
/** As a socket of @domain shows it. */
void sd_addr(uint16_t domain, const struct mir_endpoint *ep, uint32_t scope,
             struct sock_addr *addr);

/* ---- table.c -------------------------------------------------------------------------------- */

void sd_table_init(void);
/** Abort and free everything. */
void sd_table_fini(void);
/** Take over the socket that a message brings. Returns 0 or negative errno; call->socket, the body
 *  and fd[0] are then as after the adoption. */
int sd_adopt(struct sd_call *call);
/** A socket for B, of the same kind and owner as @like. NULL: no room; @fd_given is closed then. */
struct sd_socket *sd_socket_new(const struct sd_socket *like, int fd_given, uint64_t ino);
struct sd_socket *sd_socket_find(uint64_t handle);
struct sd_socket *sd_socket_of_ino(uint64_t ino);
/** The one with this number, of SD_SOCKETS_MAX, or NULL. */
struct sd_socket *sd_socket_at(uint32_t slot);
/** Begin to watch B. Returns 0 or negative errno. */
int sd_watch(struct sd_socket *s);
void sd_watch_set(struct sd_socket *s, unsigned events);
/** Close B as it is: with what is in it a reset. */
void sd_close_b(struct sd_socket *s);
/** B is of no use any more; its handle lives on for its error. */
void sd_socket_end(struct sd_socket *s);
/** Free it now with all it has; a connection is closed, or aborted if @is_abort. */
void sd_socket_free(struct sd_socket *s, bool is_abort);

/** See to the sockets of the kind of @s on @port that programs have closed, before their turn.
 *  Returns true if there were some. Cost: a look at every socket; for the way to an error. */
bool sd_reap_port(const struct sd_socket *s, uint16_t port);

/* ---- control.c ------------------------------------------------------------------------------ */

void sd_control_init(void);
void sd_control_fini(void);
/** Answer a request. */
void sd_answer(struct sd_control *control, const struct sock_request *head, int error,
               uint64_t handle, const void *body, uint32_t len);
/** Answer @call, with the handle of its socket if it has one. */
void sd_reply(struct sd_call *call, int error, const void *body, uint32_t len);
/** The answer to this request comes later, for @s. Returns 0, -EALREADY, -ENOBUFS. */
int sd_wait(struct sd_call *call, struct sd_socket *s);
/** Run what supervisors have asked so far, before what comes by another way: an event of a B. It
 * may free sockets. Does nothing within a request. */
void sd_catch_up(void);
/** Answer whoever waits for @s; nobody is fine. */
void sd_wake(struct sd_socket *s, int error, const void *body, uint32_t len);

/* ---- operations: 0 or negative errno; sd_reply() when there is a body --------------------------
 */

int sd_op_bind(struct sd_call *call);
int sd_op_listen(struct sd_call *call);
int sd_op_connect(struct sd_call *call);
int sd_op_name(struct sd_call *call);
int sd_op_setopt(struct sd_call *call);
int sd_op_getopt(struct sd_call *call);
int sd_op_shutdown(struct sd_call *call);
int sd_op_filled(struct sd_call *call);
int sd_op_sendto(struct sd_call *call);
int sd_op_identify(struct sd_call *call);
int sd_op_resolve(struct sd_call *call);
int sd_op_nameinfo(struct sd_call *call);
int sd_op_ifaces(struct sd_call *call);
int sd_op_routes(struct sd_call *call);
int sd_op_netstat(struct sd_call *call);
int sd_op_stats(struct sd_call *call);

/** Both names as getsockname() and getpeername() show them. */
void sd_names(const struct sd_socket *s, struct sock_names *names);
/** Answer @call with them. */
int sd_reply_names(struct sd_call *call, int error);
void sd_resolve_init(void);
void sd_resolve_fini(void);
/** Take back the questions of this connection. */
void sd_lookups_cancel(struct sd_control *control);

/* ---- port.c --------------------------------------------------------------------------------- */

void sd_ports_init(void);
/** Hold the port of s->local; 0 there: a free one is chosen. Returns 0 or -EADDRINUSE. */
int sd_port_hold(struct sd_socket *s);
void sd_port_drop(struct sd_socket *s);
/** Would others on its port let it listen? Returns 0 or -EADDRINUSE. */
int sd_port_may_listen(const struct sd_socket *s);

/* ---- listen.c ------------------------------------------------------------------------------- */

/** Listen on s->local, whose port is held. Returns 0 or negative errno. */
int sd_listen(struct sd_socket *s, int backlog);
/** Stop listening; connections that nobody has accepted are reset. */
void sd_unlisten(struct sd_socket *s);
/** It waits for accept() no more; its A is closed here. */
void sd_unwait(struct sd_socket *s);
void sd_listen_init(void);
void sd_listen_fini(void);
/** B of a listener has room again, or came to its end. */
void sd_listen_ready(struct sd_socket *s, unsigned events);

/* ---- stream.c ------------------------------------------------------------------------------- */

/** A connection of the stack becomes that of the socket. */
void sd_stream_attach(struct sd_socket *s, struct mir_tcp *tcp_given);
/** CONNECT with SOCK_F_SOON, of a connection that has been begun: who answers, and when? */
int sd_stream_soon(struct sd_call *call);
/** The timer of that: it is answered though there is no connection yet. */
void sd_stream_moment_over(void *arg);
/** It is established: data may flow. */
void sd_stream_start(struct sd_socket *s);
void sd_stream_ready(struct sd_socket *s, unsigned events);
void sd_stream_release(struct sd_socket *s);
/** The timer of old bytes. */
void sd_stream_tidy(void *arg);
/** Nothing that is in B now goes to the peer: [skip] bytes more that the client says it put there,
 * and whatever the program wrote before it was connected. */
void sd_stream_forget(struct sd_socket *s, uint32_t skip);
/** Bytes that the program wrote and the peer has not acknowledged. */
int sd_stream_unsent(const struct sd_socket *s);
/** Take everything out of B. Returns the errno that was found there, or 0. */
int sd_stream_empty(struct sd_socket *s);
/** Take all but the pill out of B. */
void sd_stream_drain(struct sd_socket *s);

/* ---- dgram.c -------------------------------------------------------------------------------- */

/** B has come. Returns 0 or negative errno. */
int sd_dgram_begin(struct sd_socket *s);
/** Make the socket of the stack exist. Returns 0 or negative errno. */
int sd_dgram_open(struct sd_socket *s);
int sd_dgram_connect(struct sd_socket *s, const struct mir_endpoint *remote);
/** Forget the peer, and what bind() did not say of the local address. Returns 0 or negative errno.
 */
int sd_dgram_disconnect(struct sd_socket *s);
void sd_dgram_ready(struct sd_socket *s, unsigned events);
/** What the program sent before the message that is looked at now. Of streams nothing. */
void sd_dgram_catch_up(struct sd_socket *s);
void sd_dgram_fini(void);

/* ---- option.c, info.c ----------------------------------------------------------------------- */

/** Make a connection or a UDP socket as the options say. */
void sd_options_apply(struct sd_socket *s);
int sd_option_set(struct sd_socket *s, int level, int name, const void *value, uint32_t len);
/** @len: room, then what was written. */
int sd_option_get(struct sd_socket *s, int level, int name, void *value, uint32_t *len);
/** struct tcp_info of @s, [size] bytes of room; returns how many there are. */
uint32_t sd_tcp_info(const struct sd_socket *s, void *out, uint32_t size);

/** Call @line for each counter of the server. */
void sd_stats(void (*line)(void *arg, const char *name, uint64_t value), void *arg);

#endif
