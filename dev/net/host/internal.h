/* SPDX-License-Identifier: ISC */
/* What the parts of the socket stack know of each other.
 *
 *   stack.c   open, close, delivery of events, end of a step     addr.c   addresses and errors
 *   tcp.c     connections: connect, send, receive, close         listen.c accepting
 *   info.c    options and statistics of connections              udp.c    datagrams
 */
#ifndef DEV_NET_HOST_INTERNAL_H
#define DEV_NET_HOST_INTERNAL_H

#include <sys/socket.h>

#include "dev/net/host/host.h"

/** Queued bytes to send: a view and the next one. */
struct mir__host_chunk {
    struct mir__host_chunk *next;
    struct mir_view view;
};

struct mir__host_stack {
    struct mir_stack head; /* first */
    struct mir_host_poll *poll;
    struct mir_host_stack_limits limits;
    struct mir_io_page *memory;     /* holds this structure */
    struct mir_io_page *udp_excess; /* second part of large datagrams, while they are received */
    struct mir_pool tcp_pool, listener_pool, udp_pool, chunk_pool;
    struct mir_list connections, listeners, sockets; /* all, by `all` */
    struct mir_list pending; /* connections with events to deliver, by `pending` */
    struct mir_list dirty;   /* connections with bytes to write at the end of the step */
    struct mir_list dead;    /* objects to free once no handler runs */
    struct mir_work work;    /* delivers */
    struct mir_step_hook hook;
    struct mir_ip address;
    struct {
        uint64_t tcp_accepted, tcp_connected, tcp_failed, tcp_aborted, tcp_accept_paused;
        uint64_t tcp_accept_errors, udp_in, udp_out, udp_dropped, no_memory;
    } count;
};

enum mir__host_state {
    MIR__HOST_CONNECTING,
    MIR__HOST_OPEN,
    MIR__HOST_LINGERING, /* given back; still sending */
    MIR__HOST_FAILED,
    MIR__HOST_DEAD,
};

struct mir__host_tcp {
    struct mir_tcp head; /* first */
    struct mir_host_watch watch;
    struct mir_list all, pending, dirty;
    struct mir_timer timer; /* lingering ends; or: try again, there was no memory */
    struct mir__host_chunk *first, *last;
    struct mir_io_page *tx_page; /* copies of small sends, filled up to tx_used */
    struct mir_io_page *rx_page; /* received bytes, filled up to rx_used */
    uint32_t tx_used, rx_used, rx_run_bytes;
    uint32_t queued_bytes, sndbuf_bytes;
    unsigned events; /* to deliver */
    uint8_t state;   /* enum mir__host_state */
    bool is_watched; /* watch is with the poll */
    bool in_told;    /* READABLE was delivered and nothing taken since */
    bool is_drained; /* a read was short: the watch will tell when there is more */
    bool was_full;   /* WRITABLE is owed */
    bool fin_asked, fin_sent, eof_seen, closed_told;
    struct mir_endpoint local, remote;
    uint64_t bytes_sent, bytes_received;
};

struct mir__host_listener {
    struct mir_tcp_listener head; /* first */
    struct mir_host_watch watch;
    struct mir_list all;
    struct mir_timer retry; /* after an error of accept such as too many open files */
    bool is_dead, is_ready, is_watched;
};

struct mir__host_udp {
    struct mir_udp head; /* first */
    struct mir_host_watch watch;
    struct mir_list all;
    struct mir_endpoint bound;  /* as opened */
    struct mir_endpoint local;  /* the same, or the source of the connection */
    struct mir_endpoint remote; /* if is_connected */
    int family;
    bool is_dead, is_ready, has_errors;
    bool is_connected, dont_fragment;
};

static inline struct mir__host_stack *mir__host_of(struct mir_stack *stack)
{
    return (struct mir__host_stack *)(void *)stack;
}

/* ---- addr.c ------------------------------------------------------------------------------- */

/** Fill in a socket address of @family; an any address becomes that family's. Returns length. */
socklen_t mir__host_sockaddr(const struct mir_endpoint *ep, int family,
                             struct sockaddr_storage *out);
void mir__host_endpoint(const struct sockaddr_storage *addr, struct mir_endpoint *out);
/** Of an address that is not any: AF_INET or AF_INET6. */
int mir__host_family(const struct mir_ip *ip);
/** MIR_E* of an errno, negative. */
int mir__host_error(int posix_errno);
/** The first address that is not loopback, or any. */
void mir__host_own_address(struct mir_ip *ip);
enum mir__host_bind_flags {
    MIR__HOST_REUSE_ADDR = 1,
    MIR__HOST_REUSE_PORT = 2,
    MIR__HOST_V6_ONLY = 4,
};
/** A bound socket of @type; any addresses are dual-stack where the host has IPv6.
 *  Returns 0 and the descriptor and family, or an error. */
int mir__host_bind(int type, const struct mir_endpoint *local, unsigned flags, int *fd,
                   int *family) MIR_CHECK;

/* ---- stack.c ------------------------------------------------------------------------------ */

/** See that the stack's work runs in this step or the next. */
void mir__host_kick(struct mir__host_stack *stack);

/* ---- tcp.c -------------------------------------------------------------------------------- */

extern const struct mir_tcp_ops mir__host_tcp_ops;
int mir__host_connect(struct mir_stack *stack, const struct mir_endpoint *remote,
                      mir_tcp_handler_fn handler, void *arg, struct mir_tcp **tcp) MIR_CHECK;
/** Make a connection object for an open socket; closes @fd on error. */
int mir__host_tcp_adopt(struct mir__host_stack *stack, int fd, enum mir__host_state state,
                        struct mir__host_tcp **tcp) MIR_CHECK;
void mir__host_tcp_deliver(struct mir__host_tcp *tcp);
/** Write what is queued. */
void mir__host_tcp_flush(struct mir__host_tcp *tcp);
void mir__host_tcp_abort(struct mir_tcp *head);
/** Free a dead connection. */
void mir__host_tcp_free(struct mir__host_tcp *tcp);
int mir__host_set_option(struct mir_tcp *head, enum mir_tcp_option option, uint32_t value);
void mir__host_info(const struct mir_tcp *head, struct mir_tcp_info *info);

/* ---- look.c ------------------------------------------------------------------------------- */

uint32_t mir__host_next_flows(struct mir_stack *head, struct mir_net_walk *walk,
                              struct mir_net_flow *out, uint32_t max);

/* ---- listen.c ----------------------------------------------------------------------------- */

int mir__host_listen(struct mir_stack *stack, const struct mir_tcp_listen_config *config,
                     struct mir_tcp_listener **listener) MIR_CHECK;
void mir__host_unlisten(struct mir_tcp_listener *head);
void mir__host_listener_accept(struct mir__host_listener *listener);
/** A connection ended: listeners that paused at the limit go on. */
void mir__host_listeners_resume(struct mir__host_stack *stack);

/* ---- udp.c -------------------------------------------------------------------------------- */

int mir__host_udp_open(struct mir_stack *stack, const struct mir_udp_config *config,
                       struct mir_udp **udp) MIR_CHECK;
void mir__host_udp_receive(struct mir__host_udp *udp);
void mir__host_udp_close(struct mir_udp *head);

/* ---- udp_opt.c ---------------------------------------------------------------------------- */

/** Have the host tell addresses, TTL, TOS and ICMP errors. */
void mir__host_udp_ask_for_meta(struct mir__host_udp *udp);
int mir__host_udp_connect(struct mir_udp *head, const struct mir_endpoint *peer) MIR_CHECK;
int mir__host_udp_set_option(struct mir_udp *head, enum mir_udp_option option, uint32_t value);
int mir__host_udp_join(struct mir_udp *head, const struct mir_udp_group *group) MIR_CHECK;
int mir__host_udp_leave(struct mir_udp *head, const struct mir_udp_group *group) MIR_CHECK;

#endif
