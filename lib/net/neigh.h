/* SPDX-License-Identifier: ISC */
/* Neighbours on a link, for both address families: the table and what its users call.
 *
 * neigh.c has the states, arp.c and nd6.c the packets. A family tells by struct mir__neigh_family
 * how to ask and what the times are.
 */
#ifndef LIB_NET_NEIGH_H
#define LIB_NET_NEIGH_H

#include <mirari/list.h>
#include <mirari/net.h>
#include <mirari/page.h>
#include <mirari/run.h>

#define MIR__NEIGH_BUCKETS 256u
/* Packets that wait for one answer; beyond the first four, bytes of them and of all that wait. */
#define MIR__NEIGH_QUEUE_MAX   64u
#define MIR__NEIGH_QUEUE_SURE  4u
#define MIR__NEIGH_QUEUE_BYTES (64u << 10)
#define MIR__NEIGH_ALL_BYTES   (1u << 20)
#define MIR__NEIGH_TRIES       3u
#define MIR__NEIGH_FAILED_US   (5 * MIR_US_PER_S)
/* Hosts newly asked for, by all: so many at once, and so many in a second. */
#define MIR__NEIGH_NEW_BURST      256u
#define MIR__NEIGH_NEW_PER_SECOND 1000u

struct mir__iface;
struct mir__route;

/** RFC 4861 section 7.3.2, and FAILED: nobody answered, packets are refused for a while. */
enum mir__neigh_state {
    MIR__NEIGH_INCOMPLETE, /* asked everybody, packets wait */
    MIR__NEIGH_REACHABLE,  /* confirmed lately: fresh_until_us */
    MIR__NEIGH_STALE,      /* address known, not confirmed lately, not in use */
    MIR__NEIGH_DELAY,      /* in use again: perhaps a transport confirms it before we ask */
    MIR__NEIGH_PROBE,      /* asked by unicast, packets go out meanwhile */
    MIR__NEIGH_FAILED,
};

struct mir__neigh {
    /* Fast path: one comparison, one copy. */
    mir_time_us fresh_until_us; /* until then packets go out without further thought */
    uint8_t header[16];         /* Ethernet header to this neighbour; 14 bytes used */
    struct mir_ip ip;
    uint8_t state;
    uint8_t tries;
    bool is_used;        /* since the clock hand passed */
    bool is_kept;        /* routes may point here: removing it changes their generation */
    bool is_router;      /* IPv6: its last word about itself */
    bool is_bad_gateway; /* IPv6: routes over it are marked as unreachable */
    const struct mir__neigh_family *family;
    struct mir__iface *iface;
    struct mir_list bucket;
    struct mir_list all;    /* `resolved` in clock order, or `unresolved`, oldest first */
    struct mir_list active; /* INCOMPLETE, PROBE: `asked`; DELAY: `delayed` */
    mir_time_us deadline_us;
    struct mir_buf_queue queue;
};

struct mir__neigh_times {
    mir_time_us reachable_us; /* how long a confirmation counts */
    mir_time_us retry_us;     /* between questions */
    mir_time_us delay_us;     /* time for a transport to confirm; 0 = ask at once */
};

struct mir__neigh_family {
    uint16_t eth_type;
    bool is_v6;
    const struct mir__neigh_times *(*times)(const struct mir__iface *iface);
    /** Ask for @neigh: the neighbour itself, or everybody. */
    void (*ask)(struct mir__neigh *neigh, bool by_unicast);
    /** The IP packet in @buf, borrowed, will not arrive: tell who sent it. */
    void (*tell_unreachable)(struct mir_net *net, const struct mir_buf *buf);
    /** Its link-layer address became known, or is no longer; NULL: nobody cares. */
    void (*changed)(struct mir__neigh *neigh, bool is_resolved);
};

extern const struct mir__neigh_family mir__neigh_arp;

struct mir__neigh_table {
    struct mir_list *buckets; /* MIR__NEIGH_BUCKETS */
    struct mir_io_page *bucket_page;
    struct mir_pool pool;
    struct mir_list resolved;   /* REACHABLE .. PROBE */
    struct mir_list unresolved; /* INCOMPLETE, FAILED */
    struct mir_list asked;      /* by deadline */
    struct mir_list delayed;    /* by deadline */
    uint32_t unresolved_count;
    uint32_t unconfirmed_count; /* DELAY and PROBE: transports' hints are of use */
    uint32_t v6_count;
    uint32_t waiting_bytes; /* in the queues of all */
    uint32_t new_tokens;
    mir_time_us tokens_filled_us;
    struct mir_timer timer;
    uint8_t hash_key[16];
};

int mir__neigh_init(struct mir_net *net, uint32_t entries_max) MIR_CHECK;
void mir__neigh_fini(struct mir_net *net);
/** The entry if it is in the table; NULL else. Nothing is sent. */
struct mir__neigh *mir__neigh_find(struct mir_net *net, const struct mir__iface *iface,
                                   const struct mir_ip *ip);
/** The same for a route, which may keep it until route_generation changes: only an entry whose
 *  link-layer address is known. */
struct mir__neigh *mir__neigh_keep(struct mir_net *net, const struct mir__iface *iface,
                                   const struct mir_ip *ip);
/** Find or make an entry because a stranger spoke to us: NULL while more than three quarters of the
 *  table are in use. */
struct mir__neigh *mir__neigh_learn(struct mir__iface *iface,
                                    const struct mir__neigh_family *family,
                                    const struct mir_ip *ip);
/** Our question was answered: REACHABLE, and what waits goes out. */
void mir__neigh_set_reachable(struct mir_net *net, struct mir__neigh *neigh, const uint8_t mac[6]);
/** Its address was told without our asking (RFC 4861 sections 7.2.3, 7.2.5): STALE unless nothing
 *  changed, and what waits goes out. */
void mir__neigh_set_stale(struct mir_net *net, struct mir__neigh *neigh, const uint8_t mac[6]);
/** An answer of another link-layer address that does not override (section 7.2.5): doubt it. */
void mir__neigh_doubt(struct mir_net *net, struct mir__neigh *neigh);
/** A transport made progress with this neighbour (section 7.3.1). */
void mir__neigh_confirm(struct mir_net *net, struct mir__neigh *neigh);
/** Send, queue or refuse an IP packet to the neighbour @ip of route->iface; what is found is kept
 *  in the route. Room for the Ethernet header is in front.
 *  0, -MIR_EHOSTUNREACH, -MIR_ENOMEM, or the device's answer. */
int mir__neigh_output(struct mir_net *net, struct mir__route *route,
                      const struct mir__neigh_family *family, const struct mir_ip *ip,
                      MIR_GIVE struct mir_buf *buf_given);
/** Ask for a neighbour that will be needed soon, if it is not known. */
void mir__neigh_warm(struct mir__iface *iface, const struct mir__neigh_family *family,
                     const struct mir_ip *ip);
/** Forget the neighbours of an interface, of one family. */
void mir__neigh_forget(struct mir_net *net, const struct mir__iface *iface,
                       const struct mir__neigh_family *family);
/** Is its link-layer address known? */
static inline bool mir__neigh_is_resolved(const struct mir__neigh *neigh)
{
    return neigh->state != MIR__NEIGH_INCOMPLETE && neigh->state != MIR__NEIGH_FAILED;
}

#endif
