/* SPDX-License-Identifier: ISC */
/* TCP from the inside: the objects and what its files call of each other.
 *
 *   tcp.c      life of a connection object, the mir_tcp operations, statistics
 *   table.c    (addresses, ports) -> connection | half-open entry | TIME_WAIT entry
 *   input.c    a segment arrives: RFC 9293 section 3.10.7
 *   ack.c      what its acknowledgment means: RTT, send queue; recovery without SACK
 *   loss.h     recovery with SACK: sack.c, scoreboard.c, rack.c, recovery.c, undo.c
 *   text.c     what its data means: in order, out of order, FIN, when to acknowledge
 *   output.c   which segments to send now, and how they are built
 *   timer.c    retransmission, persist, delayed ACK, keep-alive, FIN_WAIT_2
 *   window.c   receive window, send window updates, silly windows
 *   options.c  what is offered and agreed        isn.c    ISN, timestamp offsets, ports, secrets
 *   cc_reno.c  NewReno behind cc.h              viewq.c  queue of views and packed pages
 *   cc_cubic.c CUBIC, the default                hystart.c  how its first slow start ends
 *   sendq.c    bytes from write to acknowledgment recvq.c bytes from in-order arrival to read
 *   reass.c    bytes that came too early          listen.c listeners, half-open entries
 *   cookie.c   SYN cookies                        time_wait.c  what is left of a connection
 *   queues.h   what holds bytes of a connection
 *   info.c     struct mir_tcp_info
 *   pace.c     no bursts
 *   tune.c     buffer sizes that follow the path
 *   busy.c     what a connection needs only while it has something to do
 *   ecn.c      congestion marks
 *   fastopen.c data in the SYN
 *   path_mtu.c what ICMP tells, black holes, probes
 *   check.c    invariants, in debug builds
 *
 * Nothing here knows an address family: addresses are struct mir_ip, the length of an IP header
 * comes with the route.
 */
#ifndef LIB_NET_TCP_INTERNAL_H
#define LIB_NET_TCP_INTERNAL_H

#include <mirari/bytes.h>
#include <mirari/list.h>
#include <mirari/net.h>
#include <mirari/run.h>

#include "lib/net/internal.h"
#include "lib/net/tcp/seq.h"
#include "lib/net/tcp/cc.h"
#include "lib/net/tcp/constants.h"
#include "lib/net/tcp/counters.h"
#include "lib/net/tcp/queues.h"
#include "lib/wire/tcp.h"

/* ---- table ---------------------------------------------------------------------------------- */

enum mir__tcp_kind { MIR__TCP_PCB, MIR__TCP_HALF_OPEN, MIR__TCP_TIME_WAIT };

/** What the table holds: the head of a connection, half-open entry or TIME_WAIT entry. */
struct mir__tcp_node {
    struct mir__tcp_node *next;
    uint32_t hash;
    uint16_t local_port;
    uint16_t remote_port;
    struct mir_ip local;
    struct mir_ip remote;
    uint8_t kind; /* enum mir__tcp_kind */
    bool is_in_table;
    bool has_ts;
    uint8_t rcv_wscale;
};

/** Some buckets of the table. */
struct mir__tcp_strip {
    struct mir__tcp_node **buckets;
    struct mir_io_page *page;
};

/** Linear hashing: one bucket is split per insertion beyond the bucket count, so no operation
 *  ever touches more than one bucket besides its own. */
struct mir__tcp_table {
    struct mir__tcp_strip *directory[MIR__TCP_DIRECTORIES];
    struct mir_io_page *page[MIR__TCP_DIRECTORIES];
    uint32_t buckets; /* in use */
    uint32_t mask;    /* of the round before: buckets is in (mask, 2 mask + 1] */
    uint32_t count;
    uint64_t key[4];
};

struct mir__tcp_tuple {
    const struct mir_ip *local;
    const struct mir_ip *remote;
    uint16_t local_port;
    uint16_t remote_port;
};

/** The first node of bucket @bucket < table->buckets, or NULL. */
const struct mir__tcp_node *mir__tcp_table_bucket(const struct mir__tcp_table *table,
                                                  uint32_t bucket);

/* ---- connection ----------------------------------------------------------------------------- */

struct mir__tcp_pcb;
struct mir__tcp_loss;

enum mir__tcp_timer {
    MIR__TCP_T_LOSS,   /* reordering window or tail loss probe; before REXMT, which it replaces */
    MIR__TCP_T_REXMT,  /* retransmission, or persist when is_persist */
    MIR__TCP_T_DELACK, /* delayed acknowledgment */
    MIR__TCP_T_PACE,   /* more may be sent now */
    MIR__TCP_T_REST,   /* has it come to rest? */
    MIR__TCP_T_KEEP,   /* keep-alive, or FIN_WAIT_2 after close */
    MIR__TCP_T_MEMORY, /* try again after a shortage of memory */
    MIR__TCP_TIMERS
};
#define MIR__TCP_BUSY_TIMERS MIR__TCP_T_KEEP /* those before it run only while it is busy */

/** What a connection needs only while something is queued, in flight or on its way to the
 *  application (busy.c). One at rest shares an empty one with all others, which nobody writes. */
struct mir__tcp_busy {
    mir_time_us deadline[MIR__TCP_BUSY_TIMERS];
    struct mir__tcp_sendq sendq;
    struct mir__tcp_recvq recvq;
    struct mir__tcp_reass reass;
    struct mir__tcp_sack sack;
    uint32_t rtt_seq;
    struct mir__route route;
    struct mir__tcp_tune tune;
    struct mir__tcp_rate rate;
    union { /* what the algorithm remembers beyond cwnd and ssthresh */
        struct mir__tcp_cubic cubic;
    } cc_state;
    mir_time_us rtt_start_us;
    mir_time_us full_us;                     /* pacing: when the bucket is full again */
    mir_time_us sent_us;                     /* last data segment; 0: none since it was at rest */
    mir_time_us progress_us;                 /* data became outstanding, or was acknowledged */
    struct mir__tcp_listener *fast_listener; /* while is_fast_open: what it counts towards */
    uint32_t used;                           /* largest flight until used_end is acknowledged */
    uint32_t used_end;
};
_Static_assert(sizeof(((struct mir__tcp_busy *)0)->cc_state) <= 64, "algorithms share this room");

struct mir__tcp_pcb {
    struct mir_tcp tcp; /* must be first: what the application sees */
    struct mir__tcp_node node;
    struct mir__tcp_state *host;
    struct mir_list all;
    struct mir_list pending; /* in host->pending or host->blocked */

    struct mir__tcp_busy *busy; /* never NULL */
    struct mir_timer timer;     /* not later than any deadline */
    mir_time_us deadline[MIR__TCP_TIMERS - MIR__TCP_BUSY_TIMERS];

    uint8_t state;  /* enum mir_tcp_state */
    uint8_t events; /* to be delivered */
    uint8_t in_use; /* frames of ours on the stack that refer to it */
    uint8_t rexmt_count;
    uint8_t dup_acks;
    uint8_t quick_acks;
    uint8_t keep_sent;
    uint8_t keep_count;
    uint8_t tos; /* without ECN's two bits */
    uint8_t snd_wscale;
    uint8_t challenges; /* in second challenge_s */
    uint16_t challenge_s;

    bool is_detached : 1;  /* the application gave it back */
    bool is_dead : 1;      /* free it when in_use is 0 */
    bool is_accepted : 1;  /* the application knows it */
    bool is_passive : 1;   /* SYN_RECEIVED came from LISTEN */
    bool fin_queued : 1;   /* a FIN follows the send queue */
    bool fin_received : 1; /* rcv_nxt is beyond the peer's FIN */
    bool ack_now : 1;
    bool ack_pending : 1;  /* something is not acknowledged yet */
    bool in_recovery : 1;  /* fast recovery until `recover` is acknowledged */
    bool partial_seen : 1; /* a partial ACK restarted the timer once */
    bool rexmt_first : 1;  /* send the segment at snd_una again */
    bool is_persist : 1;
    bool is_timing : 1;   /* rtt_seq is being timed */
    bool wants_write : 1; /* the application was refused room */
    bool nodelay : 1;
    bool cork : 1;
    bool cork_over : 1; /* it has held back the tail for long enough */
    bool is_cwnd_limited : 1;
    bool syn_due : 1;
    bool has_ts : 1;
    bool has_wscale : 1;
    bool syn_rexmitted : 1;
    bool is_blocked : 1; /* in host->blocked */
    bool has_sack : 1;
    bool reordering_seen : 1;
    bool has_ecn : 1;
    bool in_cwr : 1;    /* the window was reduced for a congestion mark; until `recover` */
    bool cwr_due : 1;   /* the next new data says so */
    bool ece_due : 1;   /* marked data came, and no CWR since */
    bool snd_tuned : 1; /* snd_limit is only where it begins */
    bool rcv_tuned : 1;
    bool mtu_probe_failed : 1;
    bool is_fast_open : 1;      /* SYN_RECEIVED, but the application has it already (fastopen.c) */
    bool had_syn_data : 1;      /* a SYN brought data, and it was taken */
    bool waits_for_address : 1; /* its own is being tested; the SYN follows */
    bool unreachable_ends : 1;  /* ICMP ends an attempt to connect */
    bool wants_fast_open : 1;   /* our SYN shall bring data, or ask for the cookie */

    /* Sending (RFC 9293 section 3.3.1). snd_max is the highest snd_nxt ever was. */
    uint32_t iss;
    uint32_t snd_una;
    uint32_t snd_nxt;
    uint32_t snd_max;
    uint32_t snd_wnd;
    uint32_t snd_wl1;
    uint32_t snd_wl2;
    uint32_t max_snd_wnd;
    uint32_t small_end; /* end of the last segment below mss (Minshall) */
    uint32_t snd_limit;
    uint32_t snd_first; /* of the first byte in the send queue */

    uint32_t cwnd;
    uint32_t ssthresh;
    uint32_t cc_acked; /* congestion avoidance: bytes counted towards the next mss */
    uint32_t recover;
    struct mir__tcp_loss *loss; /* NULL: nothing in flight, or recovery without SACK */
    uint8_t reo_extra;          /* RFC 8985: reo_wnd_mult - 1 */
    uint8_t reo_persist;
    const struct mir__tcp_cc *cc;

    uint32_t srtt_us;
    uint32_t rttvar_us;
    uint32_t rto_us;
    uint32_t min_rtt_us;
    int16_t soft_error;      /* from ICMP: reported if the connection times out */
    uint16_t mss;            /* payload bytes of a full segment */
    mir_time_us received_us; /* last segment of the peer */

    /* Receiving. */
    uint32_t irs;
    uint32_t rcv_nxt;
    uint32_t rcv_adv; /* right edge we promised */
    uint32_t last_ack_sent;
    uint32_t rcv_limit;
    uint32_t ts_recent;
    uint32_t ts_recent_ms;
    uint32_t ts_offset;
    uint16_t peer_mss;  /* as offered */
    uint16_t mss_limit; /* set by the application or learned from ICMP; 0 = none */
    uint16_t adv_mss;
    uint16_t rcv_mss; /* largest segment seen, at most adv_mss */

    uint32_t keep_idle_s;
    uint16_t keep_intvl_s;
    uint16_t path_mtu; /* found by black-hole detection; 0 = that of the route */
    uint32_t user_timeout_ms;
    uint32_t linger_ms; /* MIR_TCP_LINGER_OFF: none */
    uint32_t segs_out;
    uint32_t segs_in;
    uint32_t retransmits;
    uint32_t timeouts;
    uint32_t fast_retransmits;
    uint32_t dup_acks_in;
    uint32_t busy_ms;
    uint64_t bytes_sent;
    uint64_t bytes_acked;
    uint64_t bytes_received;
};
_Static_assert(sizeof(struct mir__tcp_pcb) <= 480, "with its share of the table, 512 bytes");

/** A connection request that was answered; becomes a connection with the peer's ACK. */
struct mir__tcp_half_open {
    struct mir__tcp_node node;
    struct mir_list link; /* in host->half_open[retries] */
    struct mir__tcp_listener *listener;
    uint32_t iss;
    uint32_t irs;
    uint32_t ts_recent;
    uint32_t expires_ms; /* next retransmission, 32 bits of milliseconds */
    uint16_t wnd;        /* of the SYN, never scaled */
    uint16_t mss;        /* of the peer */
    uint8_t wscale;      /* of the peer, MIR__TCP_NO_WSCALE = none */
    uint8_t retries;
    bool has_sack : 1;
    bool has_ecn : 1;
    bool wants_cookie : 1; /* of Fast Open */
};
#define MIR__TCP_NO_WSCALE 15u

struct mir__tcp_time_wait {
    struct mir__tcp_node node;
    struct mir_list link; /* oldest first */
    uint32_t snd_nxt;
    uint32_t rcv_nxt;
    uint32_t ts_recent;
    uint32_t rcv_wnd;
    uint32_t expires_ms;
    uint32_t acked_ms; /* last answer, for the rate limit */
};
_Static_assert(sizeof(struct mir__tcp_time_wait) <= 96, "TIME_WAIT entries are compact");

struct mir__tcp_listener {
    struct mir_tcp_listener pub; /* must be first */
    struct mir_list link;
    struct mir__tcp_state *host;
    uint32_t backlog;
    uint32_t half_open;
    uint32_t rcvbuf;         /* of its connections */
    uint32_t fastopen_max;   /* 0: Fast Open is off */
    uint32_t fast_pending;   /* connections with is_fast_open */
    uint32_t fast_resets[2]; /* such that were reset, in fast_period and before it */
    uint32_t fast_period;
    bool rcv_tuned;
    bool v6_only, v4_only;
    uint16_t mss_max;      /* 0 = none */
    mir_time_us cookie_us; /* last cookie sent; MIR_TIME_NEVER = none */
};

/* ---- the stack's TCP --------------------------------------------------------------------------
 */

struct mir__tcp_state {
    struct mir_net *net;
    struct mir_stack *stack;
    struct mir_loop *loop;
    struct mir_rng *rng;
    struct mir_io_page *page; /* this structure's own */

    struct mir_pool pcbs;
    struct mir_pool busies;
    struct mir__tcp_busy rest; /* of all connections at rest */
    struct mir_pool half_opens;
    struct mir_pool losses;
    struct mir_pool ranges;
    struct mir_pool time_waits;
    struct mir_pool listeners;
    struct mir_pool chunks;
    struct mir_pool earlies;

    struct mir__tcp_table table;
    struct mir_list listen[MIR__TCP_LISTEN_BUCKETS];
    struct mir_list all;
    struct mir_list pending; /* connections with events or output due */
    struct mir_list blocked; /* connections that wait for room in a device */
    bool is_in_turn;         /* they are served */
    struct mir_work flush_work;
    bool is_flushing;
    bool has_waiting; /* perhaps there are connections with waits_for_address */

    struct mir_list half_open[MIR__TCP_R2_SYN_ACK + 1]; /* by retries: each in order of time */
    struct mir_timer half_open_timer;
    struct mir_list time_wait; /* in order of time */
    struct mir_timer time_wait_timer;

    uint8_t isn_key[16];
    uint8_t cookie_key[16];
    uint8_t ts_key[16];
    uint8_t fast_key[2][16];        /* of Fast Open cookies: present one, the one before */
    mir_time_us fast_key_us;        /* 0: none yet */
    struct mir_io_page *fast_cache; /* cookies of others; NULL until there is one */

    const struct mir__tcp_cc *cc; /* of new connections */
    uint32_t sndbuf;              /* of a connection, or where its tuning begins */
    uint32_t sndbuf_max;          /* where tuning ends */
    uint32_t rcvbuf_max;
    bool snd_tuned;
    bool rcv_tuned;
    bool no_sack;
    bool no_timestamps;
    uint8_t ecn; /* enum mir_net_ecn */
    bool pacing;
    uint32_t rcvbuf;
    uint64_t memory_used; /* queued bytes and waste, both directions, all connections */
    uint64_t memory_max;
    uint32_t challenge_s;
    uint32_t challenge_left;
    uint32_t reset_s; /* second, and RSTs that may still be sent in it */
    uint32_t reset_left;
    struct mir__tcp_counters counters;
};

/** A received segment. */
struct mir__tcp_segment {
    struct mir__tcp_header hdr;
    struct mir__tcp_options opt;
    const struct mir__ip_meta *meta;
    struct mir_buf *buf; /* at the payload once headers are off */
    uint32_t skip;       /* payload bytes already trimmed at the front */
    uint32_t len;        /* payload bytes that count */
    uint32_t seq;        /* of the first payload byte that counts */
    mir_time_us now_us;
};

static inline struct mir__tcp_pcb *pcb_of(struct mir_tcp *tcp)
{
    return (struct mir__tcp_pcb *)(void *)tcp;
}
static inline struct mir__tcp_pcb *pcb_of_node(struct mir__tcp_node *node)
{
    return MIR_CONTAINER_OF(node, struct mir__tcp_pcb, node);
}
static inline struct mir__tcp_tuple tuple_of(const struct mir__tcp_node *node)
{
    return (struct mir__tcp_tuple){&node->local, &node->remote, node->local_port,
                                   node->remote_port};
}
static inline mir_time_us now_of(const struct mir__tcp_state *host)
{
    return mir_loop_now(host->loop);
}
/** The millisecond clock of timestamps and compact entries. */
static inline uint32_t ms_of(mir_time_us now_us)
{
    return (uint32_t)(now_us / MIR_US_PER_MS);
}
static inline uint32_t flight_of(const struct mir__tcp_pcb *pcb)
{
    return pcb->snd_nxt - pcb->snd_una;
}
static inline bool is_synchronized(const struct mir__tcp_pcb *pcb)
{
    return pcb->state >= MIR_TCP_S_ESTABLISHED;
}
/** May the peer still send data? */
static inline bool may_receive(const struct mir__tcp_pcb *pcb)
{
    return pcb->state == MIR_TCP_S_ESTABLISHED || pcb->state == MIR_TCP_S_FIN_WAIT_1 ||
           pcb->state == MIR_TCP_S_FIN_WAIT_2 || pcb->is_fast_open;
}
/** May the window grow? It was full, or, in slow start, half of it was used (RFC 7661 4.2). */
static inline bool mir__tcp_cwnd_used(const struct mir__tcp_pcb *pcb)
{
    return pcb->is_cwnd_limited || (pcb->cwnd < pcb->ssthresh && pcb->cwnd / 2 < pcb->busy->used);
}
/** Of @acked bytes, those the window may grow by: none if congestion is told (RFC 3168 6.1.2). */
static inline uint32_t mir__tcp_growth(const struct mir__tcp_pcb *pcb,
                                       const struct mir__tcp_segment *seg, uint32_t acked)
{
    return pcb->has_ecn && (seg->hdr.flags & MIR__TCP_ECE) ? 0 : acked;
}
/** Sequence number behind our queued data, where the FIN is or will be. */
static inline uint32_t sendq_end(const struct mir__tcp_pcb *pcb)
{
    return pcb->snd_first + pcb->busy->sendq.q.bytes;
}

#define MIR__TCP_COUNT(host, name) ((host)->counters.name++)

/* ---- tcp.c ------------------------------------------------------------------------------------
 */

struct mir__tcp_pcb *mir__tcp_pcb_new(struct mir__tcp_state *host,
                                      const struct mir__tcp_tuple *tuple) MIR_CHECK;
/** Keep the object while we work on it; the last drop frees one that died meanwhile. */
static inline void mir__tcp_hold(struct mir__tcp_pcb *pcb)
{
    pcb->in_use++;
}
void mir__tcp_drop(struct mir__tcp_pcb *pcb);
/** The connection is over: leave the table, stop timers, empty the send queue, state CLOSED.
 *  @err is 0 for an orderly end. An application that still holds it is told. */
void mir__tcp_finish(struct mir__tcp_pcb *pcb, int err);
/** Send RST if the peer could know the connection, then finish. */
void mir__tcp_reset(struct mir__tcp_pcb *pcb, int err);
void mir__tcp_raise(struct mir__tcp_pcb *pcb, unsigned events);
/** Output or events are due; they happen in the next flush. */
void mir__tcp_mark(struct mir__tcp_pcb *pcb);
void mir__tcp_flush(struct mir__tcp_state *host);
/** Bytes the application can queue now. */
uint32_t mir__tcp_send_room_now(const struct mir__tcp_pcb *pcb);
/** Parameters are agreed: enter ESTABLISHED. */
void mir__tcp_establish(struct mir__tcp_pcb *pcb);
/** Effective mss from what both sides and the path allow. */
void mir__tcp_update_mss(struct mir__tcp_pcb *pcb);
/** Payload of a full segment over @mtu. */
uint16_t mir__tcp_mss_at(const struct mir__tcp_pcb *pcb, uint32_t mtu);

/* ---- table.c ----------------------------------------------------------------------------------
 */

int mir__tcp_table_init(struct mir__tcp_state *host) MIR_CHECK;
void mir__tcp_table_fini(struct mir__tcp_state *host);
struct mir__tcp_node *mir__tcp_table_find(const struct mir__tcp_table *table,
                                          const struct mir__tcp_tuple *tuple);
/** Fill the node's key and insert it. */
void mir__tcp_table_insert(struct mir__tcp_state *host, struct mir__tcp_node *node,
                           const struct mir__tcp_tuple *tuple, enum mir__tcp_kind kind);
void mir__tcp_table_remove(struct mir__tcp_state *host, struct mir__tcp_node *node);

/* ---- isn.c ------------------------------------------------------------------------------------
 */

void mir__tcp_secrets_init(struct mir__tcp_state *host);
uint32_t mir__tcp_isn(const struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple);
uint32_t mir__tcp_ts_offset(const struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple);
/** A free local port for @tuple (its local_port is set). Returns 0 or -MIR_EADDRNOTAVAIL. */
int mir__tcp_choose_port(struct mir__tcp_state *host, struct mir__tcp_tuple *tuple) MIR_CHECK;

/* ---- options.c --------------------------------------------------------------------------------
 */

/** Options of our SYN or SYN-ACK. */
void mir__tcp_syn_options(const struct mir__tcp_pcb *pcb, struct mir__tcp_options *opt);
/** Take over what the peer's SYN or SYN-ACK says. */
void mir__tcp_agree(struct mir__tcp_pcb *pcb, const struct mir__tcp_options *opt);
/** The scale that lets 16 bits express @limit. */
uint8_t mir__tcp_wscale_for(uint32_t limit);
/** The MSS to offer over @route. */
uint16_t mir__tcp_offer_mss(const struct mir__route *route);
/** A peer's MSS option, or its absence, as a usable number. */
uint16_t mir__tcp_peer_mss(const struct mir__tcp_options *opt);
static inline uint32_t mir__tcp_tsval(const struct mir__tcp_pcb *pcb, mir_time_us now_us)
{
    return ms_of(now_us) + pcb->ts_offset;
}

/* ---- window.c ---------------------------------------------------------------------------------
 */

/** The window field of the next segment; moves rcv_adv. */
uint16_t mir__tcp_window_to_send(struct mir__tcp_pcb *pcb);
/** The application took data: is a window update worth a segment? */
bool mir__tcp_window_update_due(const struct mir__tcp_pcb *pcb);
/** Take over the window of @seg if it is newer (RFC 9293 section 3.10.7.4). True if it changed. */
bool mir__tcp_window_take(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg);
static inline uint32_t mir__tcp_rcv_wnd(const struct mir__tcp_pcb *pcb)
{
    return seq_gt(pcb->rcv_adv, pcb->rcv_nxt) ? pcb->rcv_adv - pcb->rcv_nxt : 0;
}

/* ---- tune.c -----------------------------------------------------------------------------------
 */

/** Bytes that may be queued to be sent, and held for the application. */
uint32_t mir__tcp_snd_limit(const struct mir__tcp_pcb *pcb);
uint32_t mir__tcp_rcv_limit(const struct mir__tcp_pcb *pcb);
/** Data of @seg came in order; the connection is tuned. */
void mir__tcp_tune_arrived(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg);
/** The application took @len bytes. */
void mir__tcp_tune_taken(struct mir__tcp_pcb *pcb, uint32_t len, mir_time_us now_us);
/** It has come to rest: what it had grown to is given up. */
void mir__tcp_tune_rest(struct mir__tcp_pcb *pcb);
/** The largest window a connection could come to offer, for its scale. */
static inline uint32_t mir__tcp_rcv_most(const struct mir__tcp_state *host, uint32_t rcvbuf,
                                         bool is_tuned)
{
    return is_tuned ? MIR_MAX(rcvbuf, host->rcvbuf_max) : rcvbuf;
}

/* ---- viewq.c ----------------------------------------------------------------------------------
 */

int mir__tcp_viewq_push(struct mir__tcp_state *host, struct mir__tcp_viewq *q,
                        MIR_GIVE struct mir_view view_given, bool is_sparse) MIR_CHECK;
/** The last view, NULL if there is none. */
struct mir_view *mir__tcp_viewq_last(struct mir__tcp_viewq *q);
/** Take the first view out; false if empty. */
bool mir__tcp_viewq_pop(struct mir__tcp_state *host, struct mir__tcp_viewq *q,
                        struct mir_view *view, bool *is_sparse);
void mir__tcp_viewq_release(struct mir__tcp_state *host, struct mir__tcp_viewq *q);
/** Up to @len free bytes behind each other, as a view with its own reference whose bytes the caller
 *  writes at *@to. Returns 0 or -MIR_ENOMEM. */
int mir__tcp_packer_take(struct mir__tcp_state *host, struct mir__tcp_packer *packer, uint32_t len,
                         struct mir_view *view, uint8_t **to) MIR_CHECK;
void mir__tcp_packer_release(struct mir__tcp_packer *packer);

/* ---- sendq.c ----------------------------------------------------------------------------------
 */

int mir__tcp_sendq_copy(struct mir__tcp_pcb *pcb, const void *data, uint32_t len,
                        uint32_t *queued_len) MIR_CHECK;
int mir__tcp_sendq_view(struct mir__tcp_pcb *pcb, MIR_GIVE struct mir_view view_given) MIR_CHECK;
/** Drop @len acknowledged bytes from the front. */
void mir__tcp_sendq_drop(struct mir__tcp_pcb *pcb, uint32_t len);
/** Append bytes [seq, seq + len) to @buf, as views or copied; returns how many went in. */
uint32_t mir__tcp_sendq_gather(struct mir__tcp_pcb *pcb, uint32_t seq, uint32_t len,
                               struct mir_buf *buf);
void mir__tcp_sendq_release(struct mir__tcp_pcb *pcb);

/* ---- recvq.c ----------------------------------------------------------------------------------
 */

/** Append @len bytes of @buf from @offset. Returns 0 or -MIR_ENOMEM; @taken bytes went in. */
int mir__tcp_recvq_add(struct mir__tcp_pcb *pcb, struct mir_buf *buf, uint32_t offset, uint32_t len,
                       uint32_t *taken) MIR_CHECK;
/** Append a view that reassembly held. */
int mir__tcp_recvq_add_view(struct mir__tcp_pcb *pcb, MIR_GIVE struct mir_view view_given,
                            bool is_sparse) MIR_CHECK;
bool mir__tcp_recvq_pop(struct mir__tcp_pcb *pcb, struct mir_view *view);
void mir__tcp_recvq_release(struct mir__tcp_pcb *pcb);
/** The contiguous bytes of @buf at @offset, at most @len, as a view that pins little memory: onto
 *  the page itself, or copied by @packer. */
int mir__tcp_keep(struct mir__tcp_pcb *pcb, struct mir__tcp_packer *packer,
                  const struct mir_buf *buf, uint32_t offset, uint32_t len,
                  struct mir__tcp_kept *kept) MIR_CHECK;

/* ---- reass.c ----------------------------------------------------------------------------------
 */

/** Keep the data of an out-of-order segment; what is there already wins over it. */
void mir__tcp_reass_add(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg);
/** Move what has become contiguous to the receive queue; rcv_nxt advances. */
void mir__tcp_reass_pull(struct mir__tcp_pcb *pcb);
void mir__tcp_reass_release(struct mir__tcp_pcb *pcb);

/* ---- input.c, ack.c, text.c ---------------------------------------------------------------------
 */

/** A segment for this connection; everything but the connection look-up is done. */
void mir__tcp_input_pcb(struct mir__tcp_pcb *pcb, struct mir__tcp_segment *seg);
/** Answer as CLOSED does (RFC 9293 section 3.10.7.1). */
void mir__tcp_reply_reset(struct mir__tcp_state *host, const struct mir__tcp_segment *seg);
/** A challenge ACK, if the rates allow (RFC 5961). */
void mir__tcp_challenge(struct mir__tcp_pcb *pcb);
/** May the stack send one more challenge ACK in this second? Counts the answer. */
bool mir__tcp_may_challenge(struct mir__tcp_state *host) MIR_CHECK;

/** Process SEG.ACK of a synchronized connection. False: drop the segment. */
bool mir__tcp_process_ack(struct mir__tcp_pcb *pcb, struct mir__tcp_segment *seg);
/** SEG.ACK is above SND.UNA and not above SND.MAX. */
void mir__tcp_new_ack(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg);

/** Process the data and FIN of an acceptable segment, already trimmed to the window. */
void mir__tcp_process_text(struct mir__tcp_pcb *pcb, struct mir__tcp_segment *seg);
/** In-order data was queued: acknowledge now or a little later. */
void mir__tcp_ack_policy(struct mir__tcp_pcb *pcb, uint32_t len, mir_time_us now_us);

/* ---- output.c ---------------------------------------------------------------------------------
 */

/** Send whatever may be sent now. */
void mir__tcp_output(struct mir__tcp_pcb *pcb);
/** Does the device take a segment now? If not the connection waits until mir__tcp_tx_ready(). */
bool mir__tcp_has_room(struct mir__tcp_pcb *pcb) MIR_CHECK;
/** Send a segment without data at once. */
void mir__tcp_send_ack(struct mir__tcp_pcb *pcb);
void mir__tcp_send_probe(struct mir__tcp_pcb *pcb);   /* keep-alive */
void mir__tcp_send_persist(struct mir__tcp_pcb *pcb); /* one byte beyond the window */
void mir__tcp_send_reset(struct mir__tcp_pcb *pcb);

/** A segment that belongs to no connection object. */
struct mir__tcp_control {
    const struct mir__tcp_tuple *tuple;
    uint32_t seq;
    uint32_t ack;
    uint16_t wnd;
    uint8_t flags;
    uint8_t tos;
    const struct mir__tcp_options *opt; /* may be NULL */
    struct mir__tcp_pcb *data_of;       /* whose first data_len bytes go with it; may be NULL */
    uint32_t data_len;
};
void mir__tcp_send_control(struct mir__tcp_state *host, const struct mir__tcp_control *ctl);

/* ---- info.c -----------------------------------------------------------------------------------
 */

void mir__tcp_info(const struct mir_tcp *tcp, struct mir_tcp_info *info);
/** Nothing was in flight, now there is. */
void mir__tcp_rate_begin(struct mir__tcp_pcb *pcb, mir_time_us now_us);
/** @acked bytes were acknowledged; snd_una has moved. */
void mir__tcp_rate_acked(struct mir__tcp_pcb *pcb, uint32_t acked, mir_time_us now_us);

/* ---- pace.c -----------------------------------------------------------------------------------
 */

/** May a segment leave now? If not, MIR__TCP_T_PACE will say when. */
bool mir__tcp_pace_allows(struct mir__tcp_pcb *pcb);
/** @len bytes left. */
void mir__tcp_pace_sent(struct mir__tcp_pcb *pcb, uint32_t len);
/** Bytes a second; 0 = not paced. */
uint64_t mir__tcp_pace_rate(const struct mir__tcp_pcb *pcb);

/* ---- busy.c -----------------------------------------------------------------------------------
 */

void mir__tcp_busy_init(struct mir__tcp_state *host);
/** Not at rest? */
static inline bool mir__tcp_is_busy(const struct mir__tcp_pcb *pcb)
{
    return pcb->busy != &pcb->host->rest;
}
bool mir__tcp_wake_slow(struct mir__tcp_pcb *pcb) MIR_CHECK;
/** Have a block of its own before anything in it is written. False: no memory, counted. */
static inline MIR_CHECK bool mir__tcp_wake(struct mir__tcp_pcb *pcb)
{
    return MIR_LIKELY(mir__tcp_is_busy(pcb)) || mir__tcp_wake_slow(pcb);
}
/** MIR__TCP_T_REST went off: give the block back if it is not needed, else look again later. */
void mir__tcp_rest_fired(struct mir__tcp_pcb *pcb, mir_time_us now_us);
/** The connection is freed. */
void mir__tcp_busy_release(struct mir__tcp_pcb *pcb);

/* ---- timer.c ----------------------------------------------------------------------------------
 */

void mir__tcp_timer_init(struct mir__tcp_pcb *pcb);
void mir__tcp_timer_set(struct mir__tcp_pcb *pcb, enum mir__tcp_timer which, mir_time_us at_us);
void mir__tcp_timer_stop_all(struct mir__tcp_pcb *pcb);
static inline mir_time_us mir__tcp_deadline(const struct mir__tcp_pcb *pcb,
                                            enum mir__tcp_timer which)
{
    return which < MIR__TCP_BUSY_TIMERS ? pcb->busy->deadline[which]
                                        : pcb->deadline[which - MIR__TCP_BUSY_TIMERS];
}
static inline bool mir__tcp_timer_runs(const struct mir__tcp_pcb *pcb, enum mir__tcp_timer which)
{
    return mir__tcp_deadline(pcb, which) != MIR_TIME_NEVER;
}
static inline void mir__tcp_timer_stop(struct mir__tcp_pcb *pcb, enum mir__tcp_timer which)
{
    if (!mir__tcp_timer_runs(pcb, which))
        return;
    if (which < MIR__TCP_BUSY_TIMERS)
        pcb->busy->deadline[which] = MIR_TIME_NEVER;
    else
        pcb->deadline[which - MIR__TCP_BUSY_TIMERS] = MIR_TIME_NEVER;
}
/** (Re)start the retransmission timer from now. */
void mir__tcp_timer_rexmt(struct mir__tcp_pcb *pcb);
/** Start probing a closed window. */
void mir__tcp_timer_persist(struct mir__tcp_pcb *pcb);
void mir__tcp_timer_keepalive(struct mir__tcp_pcb *pcb);
/** A round trip of @rtt_us was measured (RFC 6298 section 2). */
void mir__tcp_rtt_sample(struct mir__tcp_pcb *pcb, uint32_t rtt_us);

/* ---- listen.c, cookie.c -------------------------------------------------------------------------
 */

void mir__tcp_listen_init(struct mir__tcp_state *host);
void mir__tcp_listen_fini(struct mir__tcp_state *host);
struct mir__tcp_listener *mir__tcp_listener_find(struct mir__tcp_state *host,
                                                 const struct mir_ip *local, uint16_t port);
bool mir__tcp_port_has_listener(struct mir__tcp_state *host, uint16_t port);
/** A segment for a port with a listener and no connection. @isn_floor: 0, or the new ISN must be
 *  above it (TIME_WAIT reuse). */
void mir__tcp_input_listen(struct mir__tcp_listener *listener, struct mir__tcp_segment *seg,
                           uint32_t isn_floor);
void mir__tcp_input_half_open(struct mir__tcp_state *host, struct mir__tcp_half_open *half,
                              struct mir__tcp_segment *seg);

/** The SYN-ACK's sequence number and timestamp for a request that is not remembered. */
void mir__tcp_cookie_make(const struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple,
                          const struct mir__tcp_segment *syn, uint32_t *iss, uint32_t *tsval);
/** The acknowledgment of such a SYN-ACK: fill @half as the entry would have been. */
bool mir__tcp_cookie_check(const struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple,
                           const struct mir__tcp_segment *ack, struct mir__tcp_half_open *half);

/* ---- ecn.c --------------------------------------------------------------------------------------
 */

/** Flags for our SYN that ask for ECN; 0 if we do not ask. */
uint8_t mir__tcp_ecn_ask(struct mir__tcp_pcb *pcb);
/** Does @syn ask, and do we agree? */
bool mir__tcp_ecn_is_asked(const struct mir__tcp_state *host, const struct mir__tcp_segment *syn);
/** The answer to our SYN. */
void mir__tcp_ecn_answered(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *syn_ack);
/** An acceptable segment on a connection with ECN, after its acknowledgment was processed. */
void mir__tcp_ecn_input(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg);
static inline bool mir__tcp_ecn_is_marked(const struct mir__tcp_segment *seg)
{
    return (seg->meta->tos & 3u) == 3u;
}
/** The window was reduced, for whatever reason: the peer is told. */
static inline void mir__tcp_ecn_reduced(struct mir__tcp_pcb *pcb)
{
    pcb->in_cwr = false;
    pcb->cwr_due = pcb->has_ecn;
}

#include "lib/net/tcp/fastopen.h"

/* ---- path_mtu.c ---------------------------------------------------------------------------------
 */

/** ICMP says that a segment in flight was larger than @mtu allows. */
void mir__tcp_path_mtu_told(struct mir__tcp_pcb *pcb, uint16_t mtu);
/** The retransmission timer went off, rexmt_count times in a row. */
void mir__tcp_path_timeout(struct mir__tcp_pcb *pcb);
/** path_mtu is not 0: payload of the probe that should go out now, 0 for none. */
uint32_t mir__tcp_path_probe_len(struct mir__tcp_pcb *pcb);
void mir__tcp_path_probing(struct mir__tcp_pcb *pcb, uint32_t seq, uint32_t end);
/** snd_una has moved. */
void mir__tcp_path_acked(struct mir__tcp_pcb *pcb);
/** Something was found lost. True: it was the probe and nothing else, no congestion. */
bool mir__tcp_path_lost(struct mir__tcp_pcb *pcb);

/* ---- time_wait.c ------------------------------------------------------------------------------
 */

void mir__tcp_time_wait_init(struct mir__tcp_state *host);
void mir__tcp_time_wait_fini(struct mir__tcp_state *host);
/** Put an entry in the table in place of @pcb, which has left it. */
void mir__tcp_time_wait_enter(struct mir__tcp_pcb *pcb);
void mir__tcp_input_time_wait(struct mir__tcp_state *host, struct mir__tcp_time_wait *wait,
                              struct mir__tcp_segment *seg);
void mir__tcp_time_wait_remove(struct mir__tcp_state *host, struct mir__tcp_time_wait *wait);

/* ---- check.c ----------------------------------------------------------------------------------
 */

#ifdef MIR_DEBUG_BUILD
void mir__tcp_check(const struct mir__tcp_pcb *pcb);
#else
static inline void mir__tcp_check(const struct mir__tcp_pcb *pcb)
{
    (void)pcb;
}
#endif

#endif
