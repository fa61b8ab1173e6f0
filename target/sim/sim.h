/* SPDX-License-Identifier: ISC */
/* The simulator: many nodes, one virtual clock, wires that misbehave on purpose, one seed.
 *
 *   node a [port]====wire====[port] node b        a wire joins two ends
 *
 *   node c [port]====wire====\
 *   node d [port]====wire=====(switch)            a switch joins many
 *   node e [port]====wire====/
 *
 * Each node has a loop, a page pool, a buffer pool, a generator and (unless it is a raw node) a
 * direct stack of its own: the same object code that runs everywhere else. Time is virtual: it
 * jumps from event to event, and only nodes with something to do are stepped.
 *
 * A run is a function of its seed and of what the program does: mir_sim_hash() covers the time and
 * the bytes of every event, so two runs with equal hashes were the same run.
 *
 * Hosted code: memory comes from the C library. Everything belongs to one thread.
 */
#ifndef TARGET_SIM_SIM_H
#define TARGET_SIM_SIM_H

#include <mirari/app.h>
#include <mirari/dev_net.h>
#include <mirari/net.h>
#include <mirari/rng.h>
#include <mirari/run.h>

struct mir_sim;
struct mir_sim_router;
struct mir_sim_switch;
struct mir_sim_wire;

struct mir_sim_config {
    uint64_t seed;
    mir_time_us start_us; /**< first instant of the virtual clock; 0 = one second */
    bool is_unwatched;    /**< do not follow the connections on the wires, see mir_sim_stats */
};

/**
 * mir_sim_open() - an empty world.
 *
 * Returns 0 or -MIR_ENOMEM.
 * Source  none
 */
int mir_sim_open(const struct mir_sim_config *config, struct mir_sim **sim) MIR_CHECK;

/**
 * mir_sim_close() - close every stack, look for what was left behind, release everything.
 *
 * Returns the bytes of pages that nodes still held after their stacks were closed: 0 unless
 * something leaks. Views the program still holds count.
 * Source  none
 */
size_t mir_sim_close(struct mir_sim *sim);

/* ---- time --------------------------------------------------------------------------------- */

mir_time_us mir_sim_now(const struct mir_sim *sim);

enum mir_sim_end {
    MIR_SIM_TIME,    /**< the deadline was reached */
    MIR_SIM_IDLE,    /**< no event is left */
    MIR_SIM_STOPPED, /**< mir_sim_stop() */
};

/**
 * mir_sim_run() - let events happen up to and including @until_us.
 *
 * Every node is stepped once at the start, so what the program did between two runs takes effect.
 *
 * @until_us  on the simulator's clock; MIR_TIME_NEVER = as long as there are events
 *
 * Returns why it ended. After MIR_SIM_TIME the clock shows @until_us.
 * Source  none
 */
enum mir_sim_end mir_sim_run(struct mir_sim *sim, mir_time_us until_us);

/** End mir_sim_run() after the current instant. */
void mir_sim_stop(struct mir_sim *sim);

/** A function call at a virtual time: scripts of a run (partitions, hostile frames). */
struct mir_sim_event {
    /* private: */
    uint64_t at_ns;
    uint64_t order;
    uint32_t heap_index; /* plus one; 0: not queued */
    uint32_t kind;
};
struct mir_sim_call {
    struct mir_sim_event event; /* private */
    void (*run)(void *arg);
    void *arg;
};
/** Call @call->run at @at_us; caller's memory, zeroed before first use; again = moved. */
void mir_sim_at(struct mir_sim *sim, struct mir_sim_call *call, mir_time_us at_us);
void mir_sim_cancel(struct mir_sim *sim, struct mir_sim_call *call);

/* ---- nodes -------------------------------------------------------------------------------- */

struct mir_sim_node_config {
    const char *name;            /**< static text */
    size_t memory_bytes;         /**< page pool; 0 = 32 MiB */
    uint32_t buffers;            /**< 0 = as many as fit a quarter of the memory */
    bool is_raw;                 /**< no stack: the program drives the port itself */
    mir_time_us clock_offset_us; /**< this node's monotonic clock is so much ahead */
    struct mir_net_config net;   /**< limits of the stack; its pointers are filled in */
};

struct mir_sim_node {
    const char *name;
    struct mir_sim *sim;
    struct mir_loop loop;
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    struct mir_rng rng;
    struct mir_net *net;     /**< NULL: a raw node */
    struct mir_stack *stack; /**< NULL: a raw node */
    struct mir_clock clock;
    struct mir_stack_source stacks; /**< for tasks */
    uint64_t steps;
    /* private: */
    struct mir_sim_event wake;
    uint64_t clock_base_ns; /* of the simulator, when the local clock showed clock_base_us */
    mir_time_us clock_base_us;
    int64_t wall_offset_us; /* to the simulator's wall clock, at clock_base_ns */
    int32_t drift_ppm;
    struct mir_list link;
    struct mir_list due_link;
    struct mir_list ports;
    void *arena;
    size_t arena_bytes;
    uint32_t index;
    uint32_t stacks_used;
};

/**
 * mir_sim_add_node() - a machine.
 *
 * Returns 0, -MIR_ENOMEM, or the error of mir_net_open().
 * Source  none
 */
int mir_sim_add_node(struct mir_sim *sim, const struct mir_sim_node_config *config,
                     struct mir_sim_node **node) MIR_CHECK;

/** From now on @node's clocks run @ppm millionths too fast (below 0: too slow). */
void mir_sim_node_drift(struct mir_sim_node *node, int32_t ppm);
/** @node's wall clock jumps; a jump ahead moves the monotonic clock too, as when a machine wakes
 * from being suspended. */
void mir_sim_node_jump(struct mir_sim_node *node, int64_t by_us);

/** Step @node at the present instant: after code outside its loop touched its objects. */
void mir_sim_wake(struct mir_sim_node *node);

/** Something a wire can be plugged into. */
struct mir_sim_plug {
    /* private: */
    struct mir_sim *sim;
    struct mir_sim_wire *wire; /* NULL: nothing plugged in, frames are lost */
    uint32_t wire_side;
    uint32_t index;
    /** NULL for a port of a switch or a router. */
    struct mir_sim_port *port;
    struct mir_sim_switch *hub;
    struct mir_sim_router *router;
    uint32_t router_port;
};

struct mir_sim_port_config {
    uint8_t mac[6];       /**< zero = 02:00:00 and the port's number */
    uint16_t mtu;         /**< 0 = 1500 */
    uint32_t caps;        /**< enum mir_net_dev_caps the device shows; what the other end cannot
                               take is finished here, as network cards do */
    uint32_t ring_bytes;  /**< transmit ring: tx_room() answers 0 beyond; 0 = no limit shown */
    uint32_t coalesce_us; /**< frames are delivered at multiples of this; 0 = at once */
};

/** A network device of a node. */
struct mir_sim_port {
    struct mir_net_dev dev; /* first */
    struct mir_sim_plug plug;
    struct mir_sim_node *node;
    /* private: */
    struct mir_list link;
    struct mir_net_upper upper;
    bool is_started;
    bool has_batch;
    bool wants_room;
    struct mir_sim_port_config config;
    struct mir_net_dev_stats stats;
    struct mir_sim_event room;
};

/**
 * mir_sim_add_port() - a network device for @node; lives as long as the world.
 *
 * Returns 0, -MIR_EINVAL (MTU), -MIR_ENOMEM.
 * Source  none
 */
int mir_sim_add_port(struct mir_sim_node *node, const struct mir_sim_port_config *config,
                     struct mir_sim_port **port) MIR_CHECK;

/** The usual node: one port, the stack attached to it, an address such as "10.0.0.1/24" or
 *  "fd00::1/64", or one of each with a comma. An IPv6 address is usable after about two seconds. */
int mir_sim_add_host(struct mir_sim *sim, const struct mir_sim_node_config *config,
                     const struct mir_sim_port_config *port_config, const char *address,
                     struct mir_sim_node **node) MIR_CHECK;
/** The first port of a node. */
struct mir_sim_port *mir_sim_first_port(struct mir_sim_node *node);

/* ---- wires and switches ------------------------------------------------------------------- */

/** One direction of a wire. Chances are in parts per million of frames. */
struct mir_sim_wire_config {
    uint64_t rate_bps;        /**< 0 = 100 Gbit/s */
    uint32_t delay_us;        /**< propagation */
    uint32_t jitter_us;       /**< up to so much more, order kept */
    uint32_t loss_ppm;        /**< independent loss */
    uint32_t loss_every;      /**< each so-manyth frame is lost; 0 = none */
    uint32_t burst_enter_ppm; /**< Gilbert-Elliott: chance to enter the bad state, per frame */
    uint32_t burst_leave_ppm; /**< chance to leave it, per frame */
    uint32_t burst_loss_ppm;  /**< loss in the bad state; 0 = all */
    uint32_t reorder_ppm;     /**< these frames are held back */
    uint32_t reorder_us;      /**< for up to so long; 0 = delay plus 2 ms */
    uint32_t duplicate_ppm;
    uint32_t corrupt_ppm; /**< 1 to 15 adjacent bits of the IP packet are flipped */
    uint32_t queue_bytes; /**< waiting for the wire at most, then tail drop; 0 = 1 MiB */
    uint32_t mark_bytes;  /**< with more waiting, ECN-capable packets are marked; 0 = never */
    uint32_t red_min_bytes, red_max_bytes; /**< random early detection between; max 0 = none */
    uint32_t codel_target_us;              /**< RFC 8289; 0 = none */
    uint32_t codel_interval_us;            /**< 0 = 100 ms; of both */
    uint32_t fq_target_us;                 /**< RFC 8290, a list for each flow; 0 = none */
    uint32_t ecn; /**< not 0: what these would drop is marked, if its sender can take marks */
    uint16_t mtu; /**< larger IP packets vanish (a black hole); 0 = none do */
};

/**
 * mir_sim_wire_parse() - a wire from text, as for --fault and for --wire.
 *
 * @text  "" or words separated by commas: rate=10m delay=20ms jitter=1ms loss=1% burst=1%/30%
 *        reorder=2% or reorder=2%/5ms dup=1% corrupt=0.1% queue=64k mark=30k red=20k/60k
 * codel=5ms/100ms fq-codel=5ms/100ms ecn=1 every=100 mtu=1400; times take us, ms (default) or s;
 * sizes and rates take k, m, g; chances take a percentage
 * @error_pos  out: offset of the offending word; written only on -MIR_EINVAL
 *
 * Returns 0 or -MIR_EINVAL (nothing is changed). Words not given keep their value in @config.
 * Source  none
 */
int mir_sim_wire_parse(const char *text, struct mir_sim_wire_config *config,
                       size_t *error_pos) MIR_CHECK;

struct mir_sim_wire_stats {
    uint64_t frames, bytes;    /**< offered */
    uint64_t delivered;        /**< copies included */
    uint64_t lost, burst_lost; /**< by chance */
    uint64_t queue_dropped;    /**< queue_bytes */
    uint64_t aqm_dropped;      /**< by RED or CoDel, before the queue was full */
    uint64_t marked;           /**< instead: congestion experienced (RFC 3168) */
    uint64_t waited_us;        /**< in the queue, all frames together */
    uint32_t waited_max_us;
    uint64_t cut;     /**< partition or nothing at the other end */
    uint64_t too_big; /**< wire's mtu */
    uint64_t reordered, duplicated, corrupted;
};

/**
 * mir_sim_join() - plug a wire between two ends.
 *
 * @a_to_b, @b_to_a  borrowed; the second may be NULL: the same as the first
 * @wire             out, may be NULL
 *
 * Returns 0, -MIR_EBUSY (an end has a wire), -MIR_ENOMEM.
 * Source  none
 */
int mir_sim_join(struct mir_sim_plug *a, struct mir_sim_plug *b,
                 const struct mir_sim_wire_config *a_to_b, const struct mir_sim_wire_config *b_to_a,
                 struct mir_sim_wire **wire) MIR_CHECK;

/** Change a direction (0: from a, 1: from b) for frames sent from now on. */
void mir_sim_wire_set(struct mir_sim_wire *wire, unsigned direction,
                      const struct mir_sim_wire_config *config);
/** Partition: frames sent from now on in that direction vanish, until it is healed. */
void mir_sim_wire_cut(struct mir_sim_wire *wire, unsigned direction, bool is_cut);
/** A direction stands still for @span_us: frames sent from now on wait, in order, and count as
 *  queued meanwhile (as many bytes as could have been sent). A delay spike without loss. */
void mir_sim_wire_stall(struct mir_sim_wire *wire, unsigned direction, mir_time_us span_us);
void mir_sim_wire_get_stats(const struct mir_sim_wire *wire, unsigned direction,
                            struct mir_sim_wire_stats *stats);

/** Sees every frame a wire is offered. @fate is "sent" or why it was dropped. Borrowed bytes. */
typedef void (*mir_sim_tap_fn)(void *arg, unsigned direction, mir_time_us now_us,
                               const uint8_t *frame, uint32_t len, const char *fate);
void mir_sim_wire_tap(struct mir_sim_wire *wire, mir_sim_tap_fn tap, void *arg);

/** Write every frame a wire is offered to a capture file (pcapng), until the world is closed.
 *  Returns 0 or -MIR_EIO (the file cannot be written). */
int mir_sim_wire_pcap(struct mir_sim_wire *wire, const char *path) MIR_CHECK;

/**
 * mir_sim_trace_tcp() - write what congestion control does, on every node, until the world is
 * closed: comma-separated values, in bytes, microseconds and seconds (trace.c says which).
 *
 * @path  is overwritten; tools/plot-tcp draws it
 *
 * Returns 0, -MIR_EBUSY (there is a trace), -MIR_EIO (the file cannot be written), -MIR_ENOMEM.
 * Source  none
 */
int mir_sim_trace_tcp(struct mir_sim *sim, const char *path) MIR_CHECK;

/** A switch that learns addresses; floods what it does not know. Returns 0 or -MIR_ENOMEM. */
int mir_sim_add_switch(struct mir_sim *sim, const char *name,
                       struct mir_sim_switch **hub) MIR_CHECK;
/** One more port of a switch. Returns 0, -MIR_ELIMIT (64 ports). */
int mir_sim_switch_plug(struct mir_sim_switch *hub, struct mir_sim_plug **plug) MIR_CHECK;

/* ---- routers -------------------------------------------------------------------------------- */

/** A router without ports. Returns 0 or -MIR_ENOMEM. */
int mir_sim_add_router(struct mir_sim *sim, const char *name,
                       struct mir_sim_router **router) MIR_CHECK;

struct mir_sim_router_port {
    struct mir_ip ip4, ip6; /**< ::, all zero: none */
    uint16_t mtu;           /**< of what leaves here; 0 = 1500 */
    bool advertises;        /**< the prefix of ip6, 64 bits long, to hosts that ask for routers */
};
/** One more port. Ports are numbered from 0. Returns 0, -MIR_ELIMIT (4,096 ports), -MIR_ENOMEM. */
int mir_sim_router_plug(struct mir_sim_router *router, const struct mir_sim_router_port *config,
                        struct mir_sim_plug **plug) MIR_CHECK;
const uint8_t *mir_sim_router_mac(const struct mir_sim_plug *plug);
void mir_sim_router_mtu(struct mir_sim_plug *plug, uint16_t mtu);

/**
 * mir_sim_router_route() - where packets for a prefix go; the longest prefix counts.
 *
 * @prefix_bits  of the 128; an IPv4 prefix of 24 bits has 120
 * @via          next hop, NULL = the destination itself is on the link
 *
 * Returns 0 or -MIR_ENOMEM.
 * Source  RFC 1812 section 5.2.4.3
 */
int mir_sim_router_route(struct mir_sim_router *router, const struct mir_ip *prefix,
                         uint32_t prefix_bits, const struct mir_ip *via, uint32_t port) MIR_CHECK;
/** A router asks nobody: it is told who is where, and learns from those who ask. */
void mir_sim_router_neighbour(struct mir_sim_router *router, const struct mir_ip *ip,
                              const uint8_t mac[6]);

struct mir_sim_router_stats {
    uint64_t forwarded, fragments, errors_out;
    uint64_t expired, too_big, no_route, no_neighbour, malformed;
};
void mir_sim_router_get_stats(const struct mir_sim_router *router,
                              struct mir_sim_router_stats *stats);

/* ---- what happened ------------------------------------------------------------------------ */

/** Hash of the times and bytes of all events so far. */
uint64_t mir_sim_hash(const struct mir_sim *sim);

struct mir_sim_stats {
    uint64_t events;        /**< frames, wake-ups and calls handled */
    uint64_t frames;        /**< delivered to a plug */
    uint64_t steps;         /**< loop steps of all nodes */
    uint64_t violations;    /**< broken promises of a stack: a frame above the MTU, and the rules of
                                 TCP (watch_rules.c); each is told on stderr with its last packets */
    uint64_t watched;       /**< frames that the watcher saw leave their sender */
    uint64_t rx_no_memory;  /**< frames a node had no buffer for */
    uint32_t frames_flying; /**< now */
    uint32_t frames_peak;
};
void mir_sim_get_stats(const struct mir_sim *sim, struct mir_sim_stats *stats);

/** The simulator's own generator, for what a scenario decides by chance. */
struct mir_rng *mir_sim_rng(struct mir_sim *sim);

#endif
