/* SPDX-License-Identifier: ISC */
/* What an application calls: addresses, stacks and TCP; UDP is in <mirari/udp.h>, included here.
 *
 * A `struct mir_stack` is either *direct* (our own TCP/IP over network devices) or *socket* (the
 * host's stack); applications cannot tell. Two styles work on the same objects:
 *
 *   events   a handler is called with MIR_TCP_READABLE and the like; nothing blocks
 *   tasks    mir_tcp_*_wait() functions look blocking and take a deadline
 *
 * Sent data is referenced until the peer acknowledges it (mir_tcp_send_view), received data comes
 * as views onto the pages a device filled (mir_tcp_recv_view). The copying calls exist for
 * convenience.
 *
 * Interfaces are counted from 1, in the order in which they were added (on the host's stack: as the
 * host counts them). 0 is none of them in particular: see each call for what it means there.
 *
 * All calls belong to the loop's thread. Inside a handler every call is allowed, closing too.
 */
#ifndef MIRARI_NET_H
#define MIRARI_NET_H

#include <mirari/base.h>
#include <mirari/err.h>
#include <mirari/page.h>
#include <mirari/run.h>

/* ---- addresses ---------------------------------------------------------------------------- */

/** An IP address: IPv6, or IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2). */
struct mir_ip {
    uint8_t bytes[16];
};

/** IP address and port (host order). */
struct mir_endpoint {
    struct mir_ip ip;
    uint16_t port;
};

#define MIR_IP_TEXT_MAX       46 /**< with NUL */
#define MIR_ENDPOINT_TEXT_MAX 54 /**< "[v6]:port" with NUL */

struct mir_ip mir_ip_from_v4(uint32_t addr); /**< host order: 0x0a000002 is 10.0.0.2 */
uint32_t mir_ip_to_v4(const struct mir_ip *ip);
bool mir_ip_is_v4(const struct mir_ip *ip);
bool mir_ip_is_any(const struct mir_ip *ip); /**< 0.0.0.0 or :: */
bool mir_ip_equal(const struct mir_ip *a, const struct mir_ip *b);

/**
 * mir_ip_parse() - address from text.
 *
 * @text  [len] bytes: dotted quad, or IPv6 text
 *
 * Returns 0 or -MIR_EMALFORMED.
 * Source  RFC 4291 section 2.2; dotted quads of four decimal numbers without leading zeros
 */
int mir_ip_parse(const char *text, size_t len, struct mir_ip *ip) MIR_CHECK;
/** "10.0.0.2/24". Returns 0, -MIR_EMALFORMED, -MIR_ERANGE (prefix). */
int mir_ip_parse_prefix(const char *text, size_t len, struct mir_ip *ip,
                        uint8_t *prefix_len) MIR_CHECK;
/** Into [MIR_IP_TEXT_MAX] bytes; returns @out (RFC 5952). */
const char *mir_ip_text(const struct mir_ip *ip, char out[MIR_IP_TEXT_MAX]);
const char *mir_endpoint_text(const struct mir_endpoint *ep, char out[MIR_ENDPOINT_TEXT_MAX]);

/* ---- TCP ---------------------------------------------------------------------------------- */

struct mir_stack;
struct mir_tcp;
struct mir_tcp_listener;
struct mir_udp;
struct mir_udp_config;
struct mir_net_walk;
struct mir_net_flow;

enum mir_tcp_events {
    MIR_TCP_CONNECTED = 1, /**< an active open succeeded */
    MIR_TCP_READABLE = 2,  /**< data or end of stream can be received */
    MIR_TCP_WRITABLE = 4,  /**< room in the send buffer again, after -MIR_EAGAIN */
    MIR_TCP_CLOSED = 8,    /**< both directions ended in order; only mir_tcp_close is left to do */
    MIR_TCP_FAILED = 16,   /**< reset, refused, timed out: mir_tcp_error() says which */
};

/** Called with a set of enum mir_tcp_events. Level: READABLE is repeated only for new data. */
typedef void (*mir_tcp_handler_fn)(struct mir_tcp *tcp, unsigned events, void *arg);

/** A new connection, given: set a handler, or close it. Data may already be there. */
typedef void (*mir_tcp_accept_fn)(struct mir_tcp_listener *listener,
                                  MIR_GIVE struct mir_tcp *tcp_given, void *arg);

struct mir_tcp_listen_config {
    struct mir_endpoint
        local;        /**< any address, of either family = all addresses; port 0 = choose */
    bool v6_only;     /**< any address means any IPv6 address */
    bool v4_only;     /**< any address means any IPv4 address (direct stack) */
    uint32_t backlog; /**< half-open connections kept; beyond: SYN cookies. 0 = 256 */
    mir_tcp_accept_fn on_accept;
    void *arg;
    uint32_t rcvbuf_bytes; /**< of its connections, known before the SYN-ACK; 0 = the stack's */
    uint32_t fastopen_max; /**< Fast Open (RFC 7413): accept data in SYNs while fewer connections
                                wait for the end of such a handshake; 0 = never */
    uint16_t mss_max;      /**< bound of the MSS offered and used; 0 = the path's alone */
};

enum mir_tcp_option {
    MIR_TCP_NODELAY,           /**< 0/1: no Nagle (RFC 9293 3.7.4). Default 0 */
    MIR_TCP_KEEPALIVE_IDLE_S,  /**< 0 = off (default), else seconds before the first probe */
    MIR_TCP_KEEPALIVE_INTVL_S, /**< seconds between probes. Default 75 */
    MIR_TCP_KEEPALIVE_COUNT,   /**< probes before giving up. Default 9 */
    MIR_TCP_USER_TIMEOUT_MS,   /**< unacknowledged data longer: failed (RFC 5482). 0 = RTO limit */
    MIR_TCP_SNDBUF,            /**< bytes queued at most; ends automatic sizing */
    MIR_TCP_RCVBUF,            /**< receive window limit in bytes; ends automatic sizing */
    MIR_TCP_CORK,              /**< 0/1: only full segments until uncorked, or an RTO */
    MIR_TCP_MAXSEG,            /**< upper bound of the segment size, before connect/listen data */
    MIR_TCP_LINGER_MS,         /**< what mir_tcp_close() leaves: 0 = nothing, it is an abort; else
                                    RST after so long if the peer has not acknowledged everything;
                                    MIR_TCP_LINGER_OFF (default) = as long as it takes. The
                                    host's stack knows only 0 and off */
    MIR_TCP_TOS,               /**< type of service or traffic class of what we send: DSCP (RFC
                                    2474), in the upper six bits; the lower two are ECN's. Default
                                    0 */
    MIR_TCP_UNREACHABLE_ENDS,  /**< 0/1: ICMP's "unreachable" ends an attempt to connect, as most
                                    programs expect (RFC 5461 section 4.1), instead of being told
                                    only if nothing else answers. Default 0; the host's stack does
                                    as it likes */
};
#define MIR_TCP_LINGER_OFF UINT32_MAX

struct mir_tcp_info {
    uint8_t state; /**< enum mir_tcp_state */
    uint16_t mss;  /**< payload bytes per segment we send */
    uint32_t srtt_us, rttvar_us, rto_us, min_rtt_us;
    uint32_t cwnd_bytes, ssthresh_bytes, flight_bytes;
    uint32_t snd_wnd_bytes, rcv_wnd_bytes;
    uint32_t send_queue_bytes, recv_queue_bytes;
    uint64_t bytes_sent, bytes_acked, bytes_received;
    uint32_t segs_out, segs_in, retransmits, timeouts, fast_retransmits, dup_acks_in;
    uint8_t snd_wscale, rcv_wscale;
    bool timestamps, sack;
    bool ecn;             /**< congestion marks were agreed upon */
    bool in_recovery;     /**< of losses, without a timeout */
    bool reordering_seen; /**< segments of ours have overtaken each other */
    uint8_t backoffs;     /**< timeouts in a row, or probes of a closed window */
    uint16_t rcv_mss;     /**< largest segment received */
    uint16_t adv_mss;     /**< what we offered */
    uint32_t sacked_bytes, lost_bytes, retrans_out_bytes; /**< of those in flight */
    uint32_t notsent_bytes;                               /**< queued and never sent */
    uint32_t early_bytes;                                 /**< received behind a hole */
    uint32_t sndbuf_bytes, rcvbuf_bytes;                  /**< limits now */
    uint32_t rcv_rtt_us;        /**< round trip as our receiver sees it; 0 = not measured */
    uint32_t rcv_space_bytes;   /**< most the application took in one; 0 = not measured */
    uint32_t last_received_ms;  /**< since the last segment of the peer */
    uint32_t busy_ms;           /**< with something in flight, up to the last time there was not */
    uint64_t pacing_rate_bytes; /**< a second; 0 = not paced */
    uint64_t delivery_rate_bytes; /**< a second, in the last round trip */
    const char *congestion;       /**< name of the algorithm; NULL = not known (the host's stack) */
};

/** RFC 9293 section 3.3.2. */
enum mir_tcp_state {
    MIR_TCP_S_CLOSED,
    MIR_TCP_S_LISTEN,
    MIR_TCP_S_SYN_SENT,
    MIR_TCP_S_SYN_RECEIVED,
    MIR_TCP_S_ESTABLISHED,
    MIR_TCP_S_FIN_WAIT_1,
    MIR_TCP_S_FIN_WAIT_2,
    MIR_TCP_S_CLOSE_WAIT,
    MIR_TCP_S_CLOSING,
    MIR_TCP_S_LAST_ACK,
    MIR_TCP_S_TIME_WAIT,
};

/** An active open that brings data (Fast Open). */
struct mir_tcp_connect_config {
    struct mir_endpoint remote;
    const void *data; /**< [len] bytes, borrowed; may be delivered twice by an unlucky network */
    size_t len;       /**< 1 .. */
    mir_tcp_handler_fn handler;
    void *arg;
};

/** Operations of a stack's TCP and UDP objects; the wrappers below call them. */
struct mir_tcp_ops {
    int (*send)(struct mir_tcp *, const void *data, size_t len, size_t *queued_len);
    int (*send_view)(struct mir_tcp *, MIR_GIVE struct mir_view view_given);
    int (*recv_view)(struct mir_tcp *, struct mir_view *view);
    int (*shutdown)(struct mir_tcp *);
    void (*close)(struct mir_tcp *);
    void (*abort)(struct mir_tcp *);
    int (*set_option)(struct mir_tcp *, enum mir_tcp_option option, uint32_t value);
    void (*info)(const struct mir_tcp *, struct mir_tcp_info *info);
    void (*endpoints)(const struct mir_tcp *, struct mir_endpoint *local,
                      struct mir_endpoint *remote);
    uint32_t (*send_room)(const struct mir_tcp *);
};

/** Head of every connection object, whatever the stack. */
struct mir_tcp {
    const struct mir_tcp_ops *ops;
    mir_tcp_handler_fn handler;
    void *handler_arg;
    struct mir_stack *stack;
    int error; /**< 0 or negative MIR_E*, after MIR_TCP_FAILED */
};

struct mir_stack_ops {
    const char *kind; /**< "direct" or "socket" */
    int (*tcp_listen)(struct mir_stack *, const struct mir_tcp_listen_config *,
                      struct mir_tcp_listener **);
    void (*tcp_unlisten)(struct mir_tcp_listener *);
    int (*tcp_connect)(struct mir_stack *, const struct mir_endpoint *remote,
                       mir_tcp_handler_fn handler, void *arg, struct mir_tcp **);
    int (*udp_open)(struct mir_stack *, const struct mir_udp_config *, struct mir_udp **);
    /** Text of statistics, one "name value" a line, to a sink. */
    void (*stats)(struct mir_stack *, void (*line)(void *arg, const char *name, uint64_t value),
                  void *arg);
    /** Address of the first interface; any = none yet. */
    void (*address)(struct mir_stack *, struct mir_ip *ip);
    /** NULL: not supported. */
    int (*tcp_connect_data)(struct mir_stack *, const struct mir_tcp_connect_config *config,
                            size_t *queued_len, struct mir_tcp **);
    /** Name servers, best first, at most @max; returns how many. NULL = the stack knows none. */
    uint32_t (*dns_servers)(struct mir_stack *, struct mir_ip *out, uint32_t max);
    /** Search domains, best first, at most @max; texts are valid until the next step of the loop.
     *  NULL = the stack knows none. */
    uint32_t (*dns_domains)(struct mir_stack *, const char **out, uint32_t max);
    /** May the network still tell a name server? NULL = no. */
    bool (*dns_may_come)(struct mir_stack *);
    /** <mirari/net_look.h>. NULL = it cannot tell. */
    uint32_t (*next_flows)(struct mir_stack *, struct mir_net_walk *walk, struct mir_net_flow *out,
                           uint32_t max);
};

struct mir_stack {
    const struct mir_stack_ops *ops;
    struct mir_loop *loop;
    struct mir_page_pool *pages;
    struct mir_buf_pool *bufs;
    struct mir_wait address_ready; /**< woken when an address is there or changes */
    struct mir_wait tx_ready;      /**< woken when a device that was full has room */
};

/** Head of every listener object. */
struct mir_tcp_listener {
    struct mir_stack *stack;
    struct mir_endpoint local; /**< as bound, the chosen port included */
    mir_tcp_accept_fn on_accept;
    void *arg;
    bool is_full; /**< set by its owner: new requests are dropped as if lost on the way (direct
                       stack); those that are half open still come */
};

/**
 * mir_tcp_listen() - accept connections.
 *
 * @config    borrowed; on_accept must be set
 * @listener  out
 *
 * Returns 0, -MIR_EADDRINUSE, -MIR_EADDRNOTAVAIL (not our address), -MIR_ENOMEM, -MIR_EPERM.
 * Cost    O(1)
 * Source  RFC 9293 section 3.9.1.1 (OPEN, passive)
 */
static inline MIR_CHECK int mir_tcp_listen(struct mir_stack *stack,
                                           const struct mir_tcp_listen_config *config,
                                           struct mir_tcp_listener **listener)
{
    return stack->ops->tcp_listen(stack, config, listener);
}

/** Stop accepting; half-open connections are dropped, accepted ones live on. */
static inline void mir_tcp_unlisten(struct mir_tcp_listener *listener)
{
    listener->stack->ops->tcp_unlisten(listener);
}

/**
 * mir_tcp_connect() - begin an active open; CONNECTED or FAILED follows, never inside this call.
 *
 * @handler  may be NULL for use from tasks (mir_tcp_connect_wait)
 *
 * Returns 0, -MIR_ENETUNREACH (no route), -MIR_EADDRNOTAVAIL (no free port), -MIR_ENOMEM.
 * Source  RFC 9293 section 3.9.1.1 (OPEN, active)
 */
static inline MIR_CHECK int mir_tcp_connect(struct mir_stack *stack,
                                            const struct mir_endpoint *remote,
                                            mir_tcp_handler_fn handler, void *arg,
                                            struct mir_tcp **tcp)
{
    return stack->ops->tcp_connect(stack, remote, handler, arg, tcp);
}

/**
 * mir_tcp_connect_data() - begin an active open whose first bytes travel in the SYN.
 *
 * Needs a cookie that the peer gave earlier: the first call to a host asks for it and sends the
 * data after an ordinary handshake, later ones save the round trip. The peer may see the data
 * twice, so it must be a request that may be executed twice (RFC 7413 section 6.1).
 *
 * @config      borrowed
 * @queued_len  out: bytes taken; send the others with mir_tcp_send()
 *
 * Returns as mir_tcp_connect(), or -MIR_ENOTSUP (a stack over the host's sockets).
 * Source  RFC 7413 sections 4.1 and 4.2.1
 */
static inline MIR_CHECK int mir_tcp_connect_data(struct mir_stack *stack,
                                                 const struct mir_tcp_connect_config *config,
                                                 size_t *queued_len, struct mir_tcp **tcp)
{
    if (stack->ops->tcp_connect_data == NULL)
        return -MIR_ENOTSUP;
    return stack->ops->tcp_connect_data(stack, config, queued_len, tcp);
}

/** Give the connection another handler, from its next event on. */
static inline void mir_tcp_set_handler(struct mir_tcp *tcp, mir_tcp_handler_fn handler, void *arg)
{
    tcp->handler = handler;
    tcp->handler_arg = arg;
}

/** 0 or the negative error that ended the connection. */
static inline int mir_tcp_error(const struct mir_tcp *tcp)
{
    return tcp->error;
}

/**
 * mir_tcp_send() - queue bytes by copying them.
 *
 * @data        [len] bytes, borrowed
 * @queued_len  out: 1 .. len bytes taken
 *
 * Returns 0, -MIR_EAGAIN (send buffer full: WRITABLE follows), -MIR_ENOTCONN, -MIR_ECLOSED (we
 * have shut this direction), or the error that ended the connection.
 * Cost    O(len). Segments leave at the end of the loop's step, so writes in one step coalesce.
 * Source  RFC 9293 section 3.9.1.2 (SEND)
 */
static inline MIR_CHECK int mir_tcp_send(struct mir_tcp *tcp, const void *data, size_t len,
                                         size_t *queued_len)
{
    return tcp->ops->send(tcp, data, len, queued_len);
}

/**
 * mir_tcp_send_view() - queue a view without copying it.
 *
 * @view_given  consumed on success and on error, except that -MIR_EAGAIN consumes it too: ask
 *              mir_tcp_send_room() first. A view is taken whole, even if it overshoots the room.
 *
 * Returns as mir_tcp_send(). The bytes must not change until the peer has acknowledged them.
 * Source  RFC 9293 section 3.9.1.2
 */
static inline MIR_CHECK int mir_tcp_send_view(struct mir_tcp *tcp,
                                              MIR_GIVE struct mir_view view_given)
{
    return tcp->ops->send_view(tcp, view_given);
}

/**
 * mir_tcp_send_views() - queue several views, in order, without copying them: gather.
 *
 * They leave together: segments are built at the end of the loop's step.
 *
 * @views         [count]; those that were taken belong to the connection and are emptied here, the
 *                others stay the caller's, on errors too
 * @queued_count  out, always written: 0 .. count
 *
 * Returns 0 if at least one was taken or @count is 0, else as mir_tcp_send_view().
 * Source  RFC 9293 section 3.9.1.2
 */
int mir_tcp_send_views(struct mir_tcp *tcp, struct mir_view *views, uint32_t count,
                       uint32_t *queued_count) MIR_CHECK;

/** Bytes that can be queued now. At 0, WRITABLE follows when there is room. */
static inline uint32_t mir_tcp_send_room(const struct mir_tcp *tcp)
{
    return tcp->ops->send_room(tcp);
}

/**
 * mir_tcp_recv_view() - take the next received bytes, in order, as one view.
 *
 * @view  out: at least 1 byte; the caller releases it. The window opens as data is taken.
 *
 * Returns 0, -MIR_EAGAIN (nothing now), -MIR_EEOF (peer has finished), or the error that ended
 * the connection.
 * Source  RFC 9293 section 3.9.1.3 (RECEIVE)
 */
static inline MIR_CHECK int mir_tcp_recv_view(struct mir_tcp *tcp, struct mir_view *view)
{
    return tcp->ops->recv_view(tcp, view);
}

/** Send FIN after what is queued; receiving goes on. Returns 0 or -MIR_ENOTCONN. */
static inline int mir_tcp_shutdown(struct mir_tcp *tcp)
{
    return tcp->ops->shutdown(tcp);
}

/** Give the connection back: queued data and FIN are still delivered, the handler is not called
 *  again. Unread received data makes it an abort (RFC 2525 section 2.17). */
static inline void mir_tcp_close(MIR_GIVE struct mir_tcp *tcp)
{
    tcp->ops->close(tcp);
}

/** Send RST and forget the connection. */
static inline void mir_tcp_abort(MIR_GIVE struct mir_tcp *tcp)
{
    tcp->ops->abort(tcp);
}

/** Returns 0, -MIR_ERANGE, -MIR_ENOTSUP. */
static inline MIR_CHECK int mir_tcp_set_option(struct mir_tcp *tcp, enum mir_tcp_option option,
                                               uint32_t value)
{
    return tcp->ops->set_option(tcp, option, value);
}

/** State and counters of a connection. */
static inline void mir_tcp_get_info(const struct mir_tcp *tcp, struct mir_tcp_info *info)
{
    tcp->ops->info(tcp, info);
}

/** Both ends of a connection. */
static inline void mir_tcp_get_endpoints(const struct mir_tcp *tcp, struct mir_endpoint *local,
                                         struct mir_endpoint *remote)
{
    tcp->ops->endpoints(tcp, local, remote);
}

/* ---- TCP from tasks ------------------------------------------------------------------------ */

/** A connection used from one task: wraps the handler. Caller's memory. */
struct mir_tcp_task {
    struct mir_tcp *tcp;
    struct mir_wait wait;
    unsigned events;
};

/** Attach; from now on the handler belongs to @flow. */
void mir_tcp_task_init(struct mir_tcp_task *flow, struct mir_tcp *tcp);
/** Connect and wait. Returns 0 or an error, -MIR_ETIMEDOUT at @deadline_us (aborted). */
int mir_tcp_connect_wait(struct mir_stack *stack, const struct mir_endpoint *remote,
                         mir_time_us deadline_us, struct mir_tcp_task *flow) MIR_CHECK;
/** Wait until data is there. Returns as mir_tcp_recv_view(), or -MIR_ETIMEDOUT. */
int mir_tcp_recv_view_wait(struct mir_tcp_task *flow, mir_time_us deadline_us,
                           struct mir_view *view) MIR_CHECK;
/** Queue all @len bytes, waiting for room. Returns 0 or an error; -MIR_ETIMEDOUT. */
int mir_tcp_send_wait(struct mir_tcp_task *flow, const void *data, size_t len,
                      mir_time_us deadline_us) MIR_CHECK;
/** Queue a view, waiting for room; consumed in every case. */
int mir_tcp_send_view_wait(struct mir_tcp_task *flow, MIR_GIVE struct mir_view view_given,
                           mir_time_us deadline_us) MIR_CHECK;
/** Queue @count views, waiting for room; all consumed in every case. */
int mir_tcp_send_views_wait(struct mir_tcp_task *flow, MIR_GIVE struct mir_view *views_given,
                            uint32_t count, mir_time_us deadline_us) MIR_CHECK;
/** Close it. */
void mir_tcp_task_close(struct mir_tcp_task *flow);

/** Wait until the stack has an address. Returns 0, -MIR_ETIMEDOUT, -MIR_ECANCELED. In a task. */
int mir_stack_wait_address(struct mir_stack *stack, mir_time_us deadline_us,
                           struct mir_ip *ip) MIR_CHECK;

/* ---- the direct stack ----------------------------------------------------------------------- */

struct mir_net;
struct mir_net_dev;
struct mir_rng;

/** Explicit congestion notification (RFC 3168). */
enum mir_net_ecn {
    MIR_NET_ECN_PASSIVE, /**< agreed when the peer asks for it */
    MIR_NET_ECN_ON,      /**< asked for too */
    MIR_NET_ECN_OFF,
};

struct mir_net_config {
    struct mir_loop *loop;
    struct mir_page_pool *pages;
    struct mir_buf_pool *bufs;
    struct mir_rng *rng;
    uint32_t tcp_connections_max;  /**< 0 = one for 2 KiB of the page pool, at least 16384 */
    uint32_t tcp_time_wait_max;    /**< 0 = one for 16 KiB of it, at least 8192; the oldest gives
                                        way */
    uint32_t tcp_listeners_max;    /**< 0 = 64 */
    uint32_t tcp_sndbuf_bytes;     /**< per connection; 0 = follows the path, from 256 KiB on */
    uint32_t tcp_rcvbuf_bytes;     /**< likewise, from 128 KiB on */
    uint32_t tcp_sndbuf_max_bytes; /**< most it grows to; 0 = 16 MiB, at most 1/4 of memory_max */
    uint32_t tcp_rcvbuf_max_bytes; /**< likewise */
    uint64_t tcp_memory_max_bytes; /**< queued data of all connections; 0 = half the page pool */
    bool tcp_no_sack;              /**< neither offer nor accept selective acknowledgment */
    bool tcp_no_timestamps;        /**< neither offer nor accept timestamps */
    enum mir_net_ecn tcp_ecn;      /**< congestion marks instead of losses, where agreed */
    const uint8_t
        *tcp_fastopen_key;            /**< 16 bytes, for servers that share an address (RFC 7413
                                         6.3.4); cookies are those of Linux. NULL = random, changes */
    bool tcp_pacing;                  /**< smooth traffic at all times, not only no large bursts */
    const char *congestion;           /**< "cubic" (RFC 9438, 9406; also NULL) or "reno" (5681) */
    uint32_t udp_sockets_max;         /**< 0 = 256 */
    uint32_t arp_entries_max;         /**< neighbours, ARP and IPv6 together; 0 = 1024 */
    uint32_t reassembly_max_bytes;    /**< 0 = 1 MiB in all */
    uint32_t addresses_max;           /**< of all interfaces, both families; 0 = 128 */
    uint32_t groups_max;              /**< multicast groups of all interfaces; 0 = 256 */
    uint32_t routes_max;              /**< 0 = 256 */
    uint32_t path_mtu_entries_max;    /**< destinations with a path MTU of their own; 0 = 1024 */
    uint16_t port_share, port_shares; /**< stacks of one address, each in a process of its own: of
                                         the ports that the stack chooses itself those whose rest by
                                         port_shares is port_share. 0, 0 = all */
};

/** An address and the length of its network's prefix. */
struct mir_net_prefix {
    struct mir_ip ip;
    uint8_t prefix_len; /**< 1 .. 32 for IPv4, 1 .. 128 for IPv6 */
};

/** What an interface does with IPv6. */
enum mir_ip6_mode {
    MIR_IP6_OFF,        /**< IPv6 frames are not even looked at */
    MIR_IP6_LINK_LOCAL, /**< a link-local address and nothing else */
    MIR_IP6_STATIC,     /**< the addresses and routes that are given; routers are not listened to */
    MIR_IP6_AUTO,       /**< what is given, and what routers say */
};

/** How an IPv4 address is tested before it is used (RFC 5227 section 2.1). Whatever it is, a held
 *  address is announced and defended. */
enum mir_net_acd {
    MIR_NET_ACD_DEFAULT, /**< addresses by DHCP as QUICK, those by hand not at all */
    MIR_NET_ACD_QUICK,   /**< two questions within 0.3 s */
    MIR_NET_ACD_FULL,    /**< the times of RFC 5227: 4 to 7 s */
    MIR_NET_ACD_OFF,     /**< used at once */
};

/** Addresses of an interface. Everything zero but `ip` and `prefix_len` is IPv4 alone. */
struct mir_net_if_config {
    bool use_dhcp;
    struct mir_ip ip; /**< IPv4; any = none of its own, for IPv6 alone */
    uint8_t prefix_len;
    struct mir_ip gateway;      /**< any = none */
    const char *hostname;       /**< for DHCP; may be NULL; static text */
    struct mir_ip dhcp_last_ip; /**< asked for first: mir_net_get_lease() last time */
    bool dhcp_keep;            /**< the lease is not released at the end: it is for the next time */
    bool dhcp_follows;         /**< another stack of this interface asks: mir_net_follow_lease() */
    const uint8_t *dhcp_lease; /**< [dhcp_lease_len] bytes of mir_net_copy_lease(), borrowed: in use
                                    from the start, also where the client then asks about it */
    size_t dhcp_lease_len;     /**< 0 = none */
    bool link_local4;          /**< 169.254/16 while DHCP finds no server, or alone */
    enum mir_net_acd acd;
    enum mir_ip6_mode ip6;     /**< an IPv6 address below needs more than OFF */
    struct mir_ip gateway6;    /**< any = none */
    const uint8_t *ip6_secret; /**< [16] for RFC 7217: the same addresses after a restart; NULL =
                                    drawn at start. Copied */
    bool ip6_temporary; /**< AUTO: temporary addresses for what we begin ourselves (RFC 8981) */
    bool ip6_no_dad;    /**< addresses are used at once, duplicates are not looked for */
    const struct mir_net_prefix *addresses; /**< more of either family; borrowed */
    uint32_t address_count;
};

enum mir_net_address_state {
    MIR_NET_ADDRESS_TENTATIVE, /**< being tested: is it free? (RFC 4862 section 5.4) */
    MIR_NET_ADDRESS_PREFERRED,
    MIR_NET_ADDRESS_DEPRECATED, /**< valid, but not for new connections */
    MIR_NET_ADDRESS_DUPLICATE,  /**< another host has it: not used */
};

/** Where an address comes from. */
enum mir_net_address_origin {
    MIR_NET_ADDRESS_MANUAL,
    MIR_NET_ADDRESS_DHCP,
    MIR_NET_ADDRESS_LINK_LOCAL,
    MIR_NET_ADDRESS_SLAAC,     /**< a router's prefix (RFC 4862) */
    MIR_NET_ADDRESS_TEMPORARY, /**< the same, changing (RFC 8981) */
};

/** An address of the stack, as mir_net_each_address() tells it. */
struct mir_net_address {
    struct mir_ip ip;
    uint8_t prefix_len;
    uint32_t if_index; /**< from 1 */
    enum mir_net_address_state state;
    enum mir_net_address_origin origin;
    mir_time_us preferred_until_us; /**< MIR_TIME_NEVER = for ever */
    mir_time_us valid_until_us;
};

enum mir_net_route_origin {
    MIR_NET_ROUTE_CONNECTED, /**< the network of an address */
    MIR_NET_ROUTE_MANUAL,
    MIR_NET_ROUTE_DHCP,
    MIR_NET_ROUTE_RA,       /**< a router's advertisement (RFC 4861, 4191) */
    MIR_NET_ROUTE_REDIRECT, /**< a router's redirect */
};

/** A route: destinations with this prefix are reached so. */
struct mir_net_route {
    struct mir_ip prefix;  /**< 0.0.0.0 or :: with length 0: the default route of a family */
    uint8_t prefix_len;    /**< 0 .. 32 for IPv4, 0 .. 128 for IPv6 */
    struct mir_ip gateway; /**< any = they are on the link */
    uint32_t if_index;     /**< from 1; 0 when adding: the one added first */
    uint32_t metric;       /**< among equal prefixes the lowest wins */
    enum mir_net_route_origin origin; /**< told by mir_net_each_route(); ignored when adding */
};

/**
 * mir_net_open() - make a direct stack; its memory comes from config->pages.
 *
 * Returns 0, -MIR_EINVAL (an unknown @config->congestion included), -MIR_ENOMEM.
 * Source  none
 */
int mir_net_open(const struct mir_net_config *config, struct mir_net **net) MIR_CHECK;

/** Abort all connections, detach the interfaces, release everything. No handle of the stack may be
 *  used afterwards, not even to close it. Not inside a handler. */
void mir_net_close(struct mir_net *net);

/** Attach @dev (lent until mir_net_close) and start it. Returns 0, -MIR_ELIMIT (8 interfaces) or
 *  the device's error. */
int mir_net_add_interface(struct mir_net *net, struct mir_net_dev *dev,
                          const struct mir_net_if_config *config) MIR_CHECK;

/**
 * mir_net_add_address() - one more address for an interface.
 *
 * @if_index  from 1; 0 = the one added first
 * @address   either family; its network becomes a connected route
 *
 * Returns 0, -MIR_EINVAL (not one host's address, or IPv6 where that is off), -MIR_EEXIST,
 *         -MIR_ENOENT (no such interface), -MIR_ELIMIT.
 * Cost    O(1). An IPv6 address is usable when duplicates were looked for: stack.address_ready.
 * Source  RFC 1122 section 3.3.4, RFC 4862 section 5.4
 */
int mir_net_add_address(struct mir_net *net, uint32_t if_index,
                        const struct mir_net_prefix *address) MIR_CHECK;

/** Take an address away, whatever it comes from; connections from it find no route any more.
 *  Returns 0 or -MIR_ENOENT. */
int mir_net_remove_address(struct mir_net *net, const struct mir_ip *ip);

/** Call @each for every address; nothing may be added or removed inside. */
void mir_net_each_address(const struct mir_net *net,
                          void (*each)(void *arg, const struct mir_net_address *address),
                          void *arg);

/**
 * mir_net_add_route() - one more route, or a new metric for one that exists.
 *
 * @route  borrowed; bits of the prefix behind its length are ignored
 *
 * Returns 0, -MIR_EINVAL (families differ, a length too large), -MIR_ENOENT (no such interface),
 *         -MIR_ELIMIT.
 * Cost    O(1); a look-up costs the number of different prefix lengths in use, not of routes
 * Source  RFC 1122 section 3.3.1, RFC 4191 section 3
 */
int mir_net_add_route(struct mir_net *net, const struct mir_net_route *route) MIR_CHECK;

/** Prefix, gateway and interface must be the same. Returns 0 or -MIR_ENOENT. */
int mir_net_remove_route(struct mir_net *net, const struct mir_net_route *route);

/** Call @each for every route; nothing may be added or removed inside. */
void mir_net_each_route(const struct mir_net *net,
                        void (*each)(void *arg, const struct mir_net_route *route), void *arg);

/** What DHCP has leased. */
struct mir_net_lease {
    struct mir_ip ip;
    uint8_t prefix_len;
    struct mir_ip gateway; /**< any = none */
    struct mir_ip server;
    mir_time_us renew_us;   /**< when the server is asked again */
    mir_time_us expires_us; /**< MIR_TIME_NEVER = no end */
};

/**
 * mir_net_get_lease() - the present DHCP lease: to be kept for the next start, and shown.
 *
 * @if_index  from 1; 0 = the one added first
 *
 * Returns 0, -MIR_ENOENT (no such interface, no lease). It may change when stack.address_ready is
 * woken. Give lease->ip as dhcp_last_ip at the next start, which then takes one exchange less.
 * Source  RFC 2131 section 3.2
 */
int mir_net_get_lease(const struct mir_net *net, uint32_t if_index,
                      struct mir_net_lease *lease) MIR_CHECK;

/** Room for a lease as bytes. */
#define MIR_NET_LEASE_BYTES_MAX 584u

/**
 * mir_net_copy_lease() - the present DHCP lease, all of it, as bytes for another stack.
 *
 * @if_index  from 1; 0 = the one added first
 * @bytes     out
 * @len       out: 1 .. MIR_NET_LEASE_BYTES_MAX of them
 *
 * Returns 0, -MIR_ENOENT (no such interface, no lease). It may change when stack.address_ready is
 *         woken. For stacks with one clock, on one interface: the next one in the same place
 *         (dhcp_lease), or those beside it (mir_net_follow_lease()). Search domains are left out of
 *         a lease that tells more than 300 bytes.
 * Source  RFC 2131 section 3.1, RFC 2132
 */
int mir_net_copy_lease(const struct mir_net *net, uint32_t if_index,
                       uint8_t bytes[MIR_NET_LEASE_BYTES_MAX], size_t *len) MIR_CHECK;

/**
 * mir_net_follow_lease() - what the stack that leads has got.
 *
 * @if_index  from 1; one with dhcp_follows
 * @bytes     [len] bytes of mir_net_copy_lease() there, borrowed; checked like a message
 * @len       0: the lease is lost, the address is given up
 *
 * Returns 0 (address, routes, MTU and name servers are in use), -MIR_ENOENT (no such interface, it
 *         does not follow, the lease is over), -MIR_EMALFORMED.
 * Source  RFC 2131 section 4.4.1
 */
int mir_net_follow_lease(struct mir_net *net, uint32_t if_index, const uint8_t *bytes,
                         size_t len) MIR_CHECK;

/**
 * mir_net_lead_lease() - be the stack that asks, or no longer.
 *
 * Who begins to lead keeps the lease that it has and asks whether it still holds (INIT-REBOOT); who
 * no longer leads keeps it, too, and releases nothing.
 *
 * Returns 0, -MIR_ENOENT (no such interface, or without DHCP).
 * Source  RFC 2131 section 3.2
 */
int mir_net_lead_lease(struct mir_net *net, uint32_t if_index, bool leads) MIR_CHECK;

/**
 * mir_net_has_connection() - does this TCP segment belong to something here?
 *
 * @local, @remote  its receiver and its sender
 *
 * Returns true for a connection in any state, TIME_WAIT and half-open ones included; a listener is
 * none. For whoever spreads frames over several stacks of one address.
 * Cost    O(1)
 * Source  none
 */
bool mir_net_has_connection(struct mir_net *net, const struct mir_endpoint *local,
                            const struct mir_endpoint *remote);

/** The API object of the stack. */
struct mir_stack *mir_net_stack(struct mir_net *net);

/** Text of a search domain, with NUL. */
#define MIR_NET_DNS_DOMAIN_MAX 254

/**
 * mir_net_dns_servers() - the name servers that the network told, best first, each once.
 *
 * @out  [max] addresses; what DHCP told comes before what routers advertise
 *
 * Returns how many were written, at most 9. They change with leases and lifetimes: ask again for
 * each question, or when stack.address_ready is woken.
 * Source  RFC 2132 section 3.8, RFC 3646 section 3, RFC 8106 sections 5.1 and 5.3.1
 */
size_t mir_net_dns_servers(struct mir_net *net, struct mir_ip *out, size_t max);

/**
 * mir_net_dns_domains() - the domains in which short names may be searched, best first.
 *
 * @out  [max] texts, without a dot at the end
 *
 * Returns how many were written, at most 6.
 * Source  RFC 2132 section 3.17, RFC 3646 section 4, RFC 8106 section 5.2
 */
size_t mir_net_dns_domains(struct mir_net *net, char (*out)[MIR_NET_DNS_DOMAIN_MAX], size_t max);

#include <mirari/udp.h>

#endif
