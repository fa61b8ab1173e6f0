/* SPDX-License-Identifier: ISC */
/* What the parts of the simulator know of each other. */
#ifndef TARGET_SIM_INTERNAL_H
#define TARGET_SIM_INTERNAL_H

#include "target/sim/sim.h"

enum mir__sim_kind {
    MIR__SIM_FRAME = 1, /* struct mir__sim_frame arrives at its plug */
    MIR__SIM_WAKE,      /* struct mir_sim_node is due */
    MIR__SIM_ROOM,      /* struct mir_sim_port has room in its ring again */
    MIR__SIM_CALL,      /* struct mir_sim_call */
    MIR__SIM_DRAIN,     /* a wire may take the next frame of its queue */
};

/** 2026-01-01 00:00 UTC: the wall clock at virtual time zero, in every run. */
#define MIR__SIM_WALL_START_US 1767225600000000ull

/** A frame on a wire, in the simulator's own memory. */
struct mir__sim_frame {
    struct mir_sim_event event;
    struct mir__sim_frame *next_free; /* or in a queue */
    uint64_t queued_ns;
    struct mir_sim_plug *to;
    uint32_t len;
    uint32_t size_class;
    uint16_t flags; /* enum mir_buf_flags */
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint8_t hops; /* switches passed: a loop of switches ends */
    uint8_t data[];
};

#define MIR__SIM_FRAME_CLASSES 3

struct mir__sim_slot {
    uint64_t at_ns;
    uint64_t order;
    struct mir_sim_event *event;
};

struct mir__sim_trace;
struct mir__watch;

struct mir_sim {
    uint64_t now_ns;
    uint64_t next_order;
    uint64_t hash;
    struct mir__sim_slot *heap;
    uint32_t heap_count;
    uint32_t heap_room;
    bool stop;
    bool is_running;
    uint64_t seed;
    struct mir_rng rng;
    struct mir_list nodes;
    struct mir_list due; /* nodes to step at this instant */
    struct mir_list wires;
    struct mir_list switches;
    struct mir_list routers;
    uint32_t node_count, plug_count, wire_count;
    struct mir__sim_frame *free_frames[MIR__SIM_FRAME_CLASSES];
    struct mir_sim_stats stats;
    struct mir__sim_trace *trace; /* NULL: none is wanted */
    struct mir__watch *watch;     /* NULL: connections are not followed */
    /** Changes a frame as it leaves a stack, see plant.c; NULL: nothing does. */
    void (*tamper)(struct mir_sim_node *node, struct mir__sim_frame *frame);
    uint32_t planted;
    char complaint[160]; /* the first violation, in short */
};

/* ---- sim.c -------------------------------------------------------------------------------- */

void mir__sim_schedule(struct mir_sim *sim, struct mir_sim_event *event, enum mir__sim_kind kind,
                       uint64_t at_ns);
void mir__sim_unschedule(struct mir_sim *sim, struct mir_sim_event *event);
void mir__sim_due(struct mir_sim_node *node);
/** Fold bytes into the run's hash. */
void mir__sim_mix(struct mir_sim *sim, uint64_t a, uint64_t b, const uint8_t *data, size_t len);
/** A stack broke a promise: counted, and said once on stderr. */
void mir__sim_violation(struct mir_sim *sim, const char *text, uint64_t value);

struct mir__sim_frame *mir__sim_frame_alloc(struct mir_sim *sim, uint32_t len);
void mir__sim_frame_free(struct mir_sim *sim, struct mir__sim_frame *frame);
struct mir__sim_frame *mir__sim_frame_copy(struct mir_sim *sim, const struct mir__sim_frame *from);

/** A frame leaves or reaches a port of a stack: the watcher looks at it. */
void mir__sim_watch(struct mir_sim_port *port, const struct mir__sim_frame *frame, bool is_out);

/* ---- node.c ------------------------------------------------------------------------------- */

/** Close the stack. Ports stay until every stack is closed: a last reset may go to any of them. */
void mir__sim_node_stop(struct mir_sim_node *node);
/** Returns the bytes of pages left behind. */
size_t mir__sim_node_close(struct mir_sim_node *node);
void mir__sim_node_step(struct mir_sim_node *node);
/** A frame reaches a port. */
void mir__sim_port_receive(struct mir_sim_port *port, MIR_GIVE struct mir__sim_frame *frame);
void mir__sim_port_room(struct mir_sim_port *port);

/* ---- wire.c ------------------------------------------------------------------------------- */

/** Put a frame on the wire plugged into @from. */
void mir__sim_transmit(struct mir_sim_plug *from, MIR_GIVE struct mir__sim_frame *frame);
/** Bytes waiting for the wire at @from, and the time when only @bytes will be left. */
uint64_t mir__sim_backlog(const struct mir_sim_plug *from);
uint64_t mir__sim_drain_ns(const struct mir_sim_plug *from, uint64_t bytes);
/** The port at the other end if it is one, else NULL. */
const struct mir_sim_port *mir__sim_opposite(const struct mir_sim_plug *from);
void mir__sim_wires_close(struct mir_sim *sim);
/** A wire whose frames stand in a queue is free. */
void mir__sim_drain(struct mir_sim *sim, struct mir_sim_event *event);

/* ---- queue.c ------------------------------------------------------------------------------ */

struct mir__sim_queue;
struct mir__sim_queue_config {
    uint32_t limit_bytes;
    uint32_t target_us; /* 0: a plain queue */
    uint32_t interval_us;
    bool is_fair; /* a list for each flow */
    bool does_mark;
};
struct mir__sim_queue *mir__sim_queue_open(struct mir_sim *sim, uint64_t salt,
                                           struct mir_sim_wire_stats *stats);
void mir__sim_queue_close(struct mir__sim_queue *queue);
void mir__sim_queue_set(struct mir__sim_queue *queue, const struct mir__sim_queue_config *config);
uint32_t mir__sim_queue_bytes(const struct mir__sim_queue *queue);
/** It may be dropped, or another in its place. */
void mir__sim_queue_push(struct mir__sim_queue *queue, MIR_GIVE struct mir__sim_frame *frame);
/** NULL: empty. */
struct mir__sim_frame *mir__sim_queue_pop(struct mir__sim_queue *queue);

/* ---- pcap.c ------------------------------------------------------------------------------- */

struct mir__sim_pcap;
/** NULL: the file cannot be written. */
struct mir__sim_pcap *mir__sim_pcap_open(const char *path);
void mir__sim_pcap_write(struct mir__sim_pcap *pcap, unsigned direction, mir_time_us wall_us,
                         struct mir__sim_frame *frame);
/** Returns 0 or -MIR_EIO (not all of it was written). */
int mir__sim_pcap_close(struct mir__sim_pcap *pcap);

/* ---- trace.c ------------------------------------------------------------------------------ */

/** A line for each connection of @node of which something has changed. */
void mir__sim_trace_node(struct mir__sim_trace *trace, const struct mir_sim_node *node);
/** Returns 0 or -MIR_EIO (not all of it was written). */
int mir__sim_trace_close(struct mir__sim_trace *trace);

/* ---- switch.c ----------------------------------------------------------------------------- */

void mir__sim_switch_receive(struct mir_sim_plug *plug, MIR_GIVE struct mir__sim_frame *frame);
void mir__sim_switches_close(struct mir_sim *sim);

/* ---- router.c ----------------------------------------------------------------------------- */

void mir__sim_router_receive(struct mir_sim_plug *plug, MIR_GIVE struct mir__sim_frame *frame);
void mir__sim_routers_close(struct mir_sim *sim);
/** Is there a route for exactly this prefix? */
bool mir__sim_router_has(const struct mir_sim_router *router, const struct mir_ip *prefix,
                         uint32_t prefix_bits);

/* ---- offload.c ---------------------------------------------------------------------------- */

/** Fill in a checksum left to the device. False if the offsets are outside the frame. */
bool mir__sim_complete_csum(struct mir__sim_frame *frame);
/** Write "congestion experienced" into the IP header (RFC 3168 section 5). False if the sender did
 *  not say that it can take it. */
bool mir__sim_mark_congestion(struct mir__sim_frame *frame);
/** Cut a large TCP frame into segments of gso_size and transmit each. @frame is given. */
void mir__sim_segment(struct mir_sim_plug *from, MIR_GIVE struct mir__sim_frame *frame);

#endif
