/* SPDX-License-Identifier: ISC */
/* Wires: rate, delay and everything that goes wrong on the way.
 *
 * Each direction has a generator of its own, seeded from the run's seed and the wire's number, so
 * traffic elsewhere does not change what happens here. A frame's way:
 *
 *   partition? path MTU? -> queue full? -> lost? -> serialised at the rate -> delay + jitter
 *       -> held back (reordered)? -> bits flipped? -> delivered, perhaps twice
 *
 * There is no queue of frames before the wire: since the rate is constant, the time at which it
 * will be free says how many bytes wait. RED (Floyd and Jacobson 1993, with its gentle slope) works
 * on that figure, smoothed; CoDel and FQ-CoDel have a queue (queue.c). Frames in flight are events.
 * In-order frames never overtake each other; a reordered one arrives later than it should have.
 *
 * Corruption flips 1 to 15 adjacent bits behind the Ethernet header of an IP packet. Such a burst
 * is always seen by the 16-bit checksums of IP, TCP, UDP and ICMP, so a receiver that verifies them
 * never passes on wrong data: a test may demand that. ARP has no checksum, and a real Ethernet has
 * a CRC, so other frames are left alone.
 */
#include "target/sim/internal.h"

#include <mirari/bytes.h>

#include <stdlib.h>
#include <string.h>

#define NS_PER_US    1000ull
#define PPM          1000000u
#define RATE_MAX_BPS 100000000000ull
#define QUEUE_BYTES  (1u << 20)
/* Preamble, CRC and gap between frames, as real Ethernet. */
#define FRAME_OVERHEAD 24u

struct direction {
    struct mir_sim_wire_config config;
    struct mir_sim_plug *to;
    uint64_t rng;
    uint64_t free_at_ns; /* when the last queued bit has left */
    uint64_t last_at_ns; /* arrival of the last frame in order */
    bool is_cut;
    bool is_bad;                  /* Gilbert-Elliott */
    uint64_t red_average;         /* bytes, with RED_BITS more */
    uint32_t red_count;           /* frames since the last drop or mark */
    struct mir__sim_queue *queue; /* NULL: none is needed */
    bool is_sending;
    uint64_t sent; /* frames */
    struct mir_sim_event drain;
    struct mir_sim_wire *wire;
    struct mir_sim_wire_stats stats;
};

#define RED_BITS          16
#define RED_WEIGHT        9      /* a change counts 1/512 */
#define RED_CHANCE        100000 /* at the upper threshold, in ppm */
#define CODEL_INTERVAL_US 100000u

struct mir_sim_wire {
    struct mir_sim *sim;
    struct mir_list link;
    struct direction way[2];
    mir_sim_tap_fn tap;
    void *tap_arg;
    struct mir__sim_pcap *pcap;
};

/* ---- chance --------------------------------------------------------------------------------- */

/* SplitMix64: small, quick, and good enough to throw dice. */
static uint64_t draw(struct direction *way)
{
    uint64_t z = way->rng += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

/* 0 .. limit-1; limit below 2^32. */
static uint64_t draw_below(struct direction *way, uint64_t limit)
{
    return (draw(way) >> 32) * limit >> 32;
}

static bool chance(struct direction *way, uint32_t ppm)
{
    return ppm != 0 && draw_below(way, PPM) < ppm;
}

static bool in_burst(struct direction *way)
{
    const struct mir_sim_wire_config *config = &way->config;
    if (config->burst_enter_ppm == 0)
        return false;
    if (way->is_bad ? chance(way, config->burst_leave_ppm) : chance(way, config->burst_enter_ppm))
        way->is_bad = !way->is_bad;
    return way->is_bad && (config->burst_loss_ppm == 0 || chance(way, config->burst_loss_ppm));
}

static void corrupt(struct direction *way, struct mir__sim_frame *frame)
{
    const uint32_t header = 14;
    if (frame->len <= header + 20)
        return;
    uint16_t type = mir_get_be16(frame->data + 12);
    if (type != 0x0800 && type != 0x86dd)
        return;
    /* A checksum that was left to a device must be there before the damage, or nobody sees it. */
    if ((frame->flags & MIR_BUF_CSUM_PARTIAL) && !mir__sim_complete_csum(frame))
        return;
    uint32_t burst = 1 + (uint32_t)draw_below(way, 15);
    uint32_t first = (uint32_t)draw_below(way, (uint64_t)(frame->len - header) * 8 - burst + 1);
    for (uint32_t i = 0; i < burst; i++) {
        uint32_t bit = header * 8 + first + i;
        /* Both ends of the burst are wrong, what is between them by chance. */
        if (i == 0 || i == burst - 1 || (draw(way) & 1))
            frame->data[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
    }
    /* Nobody vouches for these bytes any more. */
    frame->flags &= (uint16_t)~MIR_BUF_CSUM_VALID;
    way->stats.corrupted++;
}

/* ---- the way of a frame -----------------------------------------------------------------------
 */

static uint64_t rate_of(const struct direction *way)
{
    return way->config.rate_bps != 0 ? way->config.rate_bps : RATE_MAX_BPS;
}

static uint64_t bytes_to_ns(const struct direction *way, uint64_t bytes)
{
    uint64_t ns = bytes * 8 * 1000000000ull / rate_of(way);
    return MIR_MAX(ns, 1ull);
}

static uint64_t waiting_bytes(const struct mir_sim *sim, const struct direction *way)
{
    if (way->free_at_ns <= sim->now_ns)
        return 0;
    /* Microseconds, so that a second's worth at the highest rate still fits. */
    return (way->free_at_ns - sim->now_ns) / 1000 * (rate_of(way) / 1000) / 8000;
}

/* Why the frame does not reach the wire's other end, or NULL. */
static const char *fate_of(struct mir_sim *sim, struct direction *way,
                           const struct mir__sim_frame *frame)
{
    const struct mir_sim_wire_config *config = &way->config;
    uint32_t queue = config->queue_bytes != 0 ? config->queue_bytes : QUEUE_BYTES;
    if (way->is_cut) {
        way->stats.cut++;
        return "cut";
    }
    if (config->mtu != 0 && frame->gso_size == 0 && frame->len > config->mtu + 14u) {
        way->stats.too_big++;
        return "above the path MTU";
    }
    if (way->queue == NULL && waiting_bytes(sim, way) + frame->len > MIR_MAX(queue, frame->len)) {
        way->stats.queue_dropped++;
        return "queue full";
    }
    return NULL;
}

static bool is_lost(struct direction *way)
{
    if (in_burst(way)) {
        way->stats.burst_lost++;
        return true;
    }
    bool is_nth = way->config.loss_every != 0 && way->sent % way->config.loss_every == 0;
    if (is_nth || chance(way, way->config.loss_ppm)) {
        way->stats.lost++;
        return true;
    }
    return false;
}

static uint64_t arrival_ns(struct direction *way, uint64_t sent_ns)
{
    const struct mir_sim_wire_config *config = &way->config;
    uint64_t at_ns = sent_ns + config->delay_us * NS_PER_US;
    if (config->jitter_us != 0)
        at_ns += draw_below(way, config->jitter_us) * NS_PER_US;
    at_ns = MIR_MAX(at_ns, way->last_at_ns);
    if (chance(way, config->reorder_ppm)) {
        uint32_t hold = config->reorder_us != 0 ? config->reorder_us : config->delay_us + 2000;
        way->stats.reordered++;
        return at_ns + (1 + draw_below(way, hold)) * NS_PER_US;
    }
    way->last_at_ns = at_ns;
    const struct mir_sim_port *port = way->to->port;
    if (port != NULL && port->config.coalesce_us != 0) {
        uint64_t unit = port->config.coalesce_us * NS_PER_US;
        at_ns = (at_ns + unit - 1) / unit * unit;
    }
    return at_ns;
}

/* ---- random early detection --------------------------------------------------------------------
 */

/* The average follows the queue with each frame, and falls while there is none. */
static void red_follow(struct mir_sim *sim, struct direction *way)
{
    uint64_t waiting = waiting_bytes(sim, way) << RED_BITS;
    if (waiting == 0 && sim->now_ns > way->free_at_ns) {
        uint64_t idle = (sim->now_ns - way->free_at_ns) / bytes_to_ns(way, 1000);
        for (uint64_t i = 0; i < MIR_MIN(idle, 8192ull) && way->red_average > 0; i++)
            way->red_average -= (way->red_average >> RED_WEIGHT) + 1;
    }
    if (waiting > way->red_average)
        way->red_average += (waiting - way->red_average) >> RED_WEIGHT;
    else
        way->red_average -= (way->red_average - waiting) >> RED_WEIGHT;
}

/* Chance to be dropped, in ppm. */
static uint64_t red_chance(const struct direction *way)
{
    uint64_t average = way->red_average >> RED_BITS;
    uint64_t low = way->config.red_min_bytes, high = way->config.red_max_bytes;
    if (average < low)
        return 0;
    if (average < high)
        return RED_CHANCE * (average - low) / (high - low);
    if (average < 2 * high)
        return RED_CHANCE + (PPM - RED_CHANCE) * (average - high) / high;
    return PPM;
}

/* True: drop it. A frame that can be marked is, and lives. */
static bool red_drops(struct mir_sim *sim, struct direction *way, struct mir__sim_frame *frame)
{
    if (way->config.red_max_bytes == 0)
        return false;
    red_follow(sim, way);
    uint64_t base = red_chance(way);
    if (base == 0) {
        way->red_count = 0;
        return false;
    }
    /* Evens out the distances between drops. */
    uint64_t spread = base * ++way->red_count;
    uint64_t ppm = spread < PPM ? base * PPM / (PPM - spread) : PPM;
    if (draw_below(way, PPM) >= ppm)
        return false;
    way->red_count = 0;
    if (way->config.ecn != 0 && base < PPM && mir__sim_mark_congestion(frame)) {
        way->stats.marked++;
        return false;
    }
    way->stats.aqm_dropped++;
    return true;
}

static void deliver(struct mir_sim *sim, struct direction *way, struct mir__sim_frame *frame,
                    uint64_t sent_ns)
{
    if (chance(way, way->config.corrupt_ppm))
        corrupt(way, frame);
    frame->to = way->to;
    way->stats.delivered++;
    mir__sim_schedule(sim, &frame->event, MIR__SIM_FRAME, arrival_ns(way, sent_ns));
}

static void tell_tap(struct mir_sim_wire *wire, unsigned side, const struct mir__sim_frame *frame,
                     const char *fate)
{
    if (wire->tap != NULL)
        wire->tap(wire->tap_arg, side, mir_sim_now(wire->sim), frame->data, frame->len, fate);
}

static void note_wait(struct direction *way, uint64_t waited_ns)
{
    uint32_t waited_us = (uint32_t)(waited_ns / NS_PER_US);
    way->stats.waited_us += waited_us;
    way->stats.waited_max_us = MIR_MAX(way->stats.waited_max_us, waited_us);
}

/* Onto the wire, when what was sent before has left. */
static void send_now(struct direction *way, struct mir__sim_frame *frame)
{
    struct mir_sim_wire *wire = way->wire;
    struct mir_sim *sim = wire->sim;
    unsigned side = (unsigned)(way - wire->way);
    uint64_t begins_ns = MIR_MAX(way->free_at_ns, sim->now_ns);
    if (way->queue == NULL) {
        note_wait(way, begins_ns - sim->now_ns);
        if (way->config.mark_bytes != 0 && waiting_bytes(sim, way) > way->config.mark_bytes)
            way->stats.marked += mir__sim_mark_congestion(frame);
    }
    way->free_at_ns = begins_ns + bytes_to_ns(way, frame->len + FRAME_OVERHEAD);
    way->sent++;
    bool is_gone = is_lost(way);
    tell_tap(wire, side, frame, is_gone ? "lost" : "sent");
    if (is_gone) {
        mir__sim_frame_free(sim, frame);
        return;
    }
    if (chance(way, way->config.duplicate_ppm)) {
        way->stats.duplicated++;
        deliver(sim, way, mir__sim_frame_copy(sim, frame), way->free_at_ns);
    }
    deliver(sim, way, frame, way->free_at_ns);
}

void mir__sim_transmit(struct mir_sim_plug *from, struct mir__sim_frame *frame)
{
    struct mir_sim *sim = from->sim;
    struct mir_sim_wire *wire = from->wire;
    if (wire == NULL) {
        mir__sim_frame_free(sim, frame);
        return;
    }
    struct direction *way = &wire->way[from->wire_side];
    const char *fate = fate_of(sim, way, frame);
    if (fate == NULL && way->queue == NULL && red_drops(sim, way, frame))
        fate = "early";
    way->stats.frames++;
    way->stats.bytes += frame->len;
    if (wire->pcap != NULL)
        mir__sim_pcap_write(wire->pcap, from->wire_side, MIR__SIM_WALL_START_US + mir_sim_now(sim),
                            frame);
    if (fate != NULL) {
        tell_tap(wire, from->wire_side, frame, fate);
        mir__sim_frame_free(sim, frame);
    } else if (way->queue != NULL) {
        mir__sim_queue_push(way->queue, frame);
        if (!way->is_sending)
            mir__sim_drain(sim, &way->drain);
    } else {
        send_now(way, frame);
    }
}

void mir__sim_drain(struct mir_sim *sim, struct mir_sim_event *event)
{
    struct direction *way = MIR_CONTAINER_OF(event, struct direction, drain);
    struct mir__sim_frame *frame = mir__sim_queue_pop(way->queue);
    way->is_sending = frame != NULL;
    if (frame == NULL)
        return;
    note_wait(way, sim->now_ns - frame->queued_ns);
    send_now(way, frame);
    mir__sim_schedule(sim, &way->drain, MIR__SIM_DRAIN, way->free_at_ns);
}

uint64_t mir__sim_backlog(const struct mir_sim_plug *from)
{
    if (from->wire == NULL)
        return 0;
    const struct direction *way = &from->wire->way[from->wire_side];
    uint64_t queued = way->queue != NULL ? mir__sim_queue_bytes(way->queue) : 0;
    return queued + waiting_bytes(from->sim, way);
}

uint64_t mir__sim_drain_ns(const struct mir_sim_plug *from, uint64_t bytes)
{
    if (from->wire == NULL)
        return from->sim->now_ns + NS_PER_US;
    const struct direction *way = &from->wire->way[from->wire_side];
    uint64_t left_ns = bytes_to_ns(way, bytes);
    uint64_t soon_ns = from->sim->now_ns + 1;
    if (way->queue != NULL) {
        uint64_t queued = mir__sim_queue_bytes(way->queue);
        return queued > bytes ? way->free_at_ns + bytes_to_ns(way, queued - bytes) : soon_ns;
    }
    return way->free_at_ns > soon_ns + left_ns ? way->free_at_ns - left_ns : soon_ns;
}

const struct mir_sim_port *mir__sim_opposite(const struct mir_sim_plug *from)
{
    return from->wire != NULL ? from->wire->way[from->wire_side].to->port : NULL;
}

/* ---- making and changing ------------------------------------------------------------------------
 */

/* A discipline that needs a queue gets one, and keeps it. */
static void set_queue(struct direction *way)
{
    const struct mir_sim_wire_config *config = &way->config;
    struct mir__sim_queue_config queue = {
        .limit_bytes = config->queue_bytes != 0 ? config->queue_bytes : QUEUE_BYTES,
        .target_us = config->fq_target_us != 0 ? config->fq_target_us : config->codel_target_us,
        .interval_us =
            config->codel_interval_us != 0 ? config->codel_interval_us : CODEL_INTERVAL_US,
        .is_fair = config->fq_target_us != 0,
        .does_mark = config->ecn != 0,
    };
    if (way->queue == NULL && queue.target_us == 0)
        return;
    if (way->queue == NULL)
        way->queue = mir__sim_queue_open(way->wire->sim, way->rng, &way->stats);
    mir__sim_queue_set(way->queue, &queue);
}

int mir_sim_join(struct mir_sim_plug *a, struct mir_sim_plug *b,
                 const struct mir_sim_wire_config *a_to_b, const struct mir_sim_wire_config *b_to_a,
                 struct mir_sim_wire **out)
{
    struct mir_sim *sim = a->sim;
    if (a->wire != NULL || b->wire != NULL)
        return -MIR_EBUSY;
    struct mir_sim_wire *wire = calloc(1, sizeof *wire);
    if (wire == NULL)
        return -MIR_ENOMEM;
    wire->sim = sim;
    sim->wire_count++;
    for (uint32_t side = 0; side < 2; side++) {
        struct direction *way = &wire->way[side];
        way->config = side == 1 && b_to_a != NULL ? *b_to_a : *a_to_b;
        way->to = side == 0 ? b : a;
        way->rng = sim->seed ^ (uint64_t)(2 * sim->wire_count + side) << 40;
        (void)draw(way);
        way->wire = wire;
        set_queue(way);
    }
    a->wire = wire;
    a->wire_side = 0;
    b->wire = wire;
    b->wire_side = 1;
    mir_list_push_back(&sim->wires, &wire->link);
    if (out != NULL)
        *out = wire;
    return 0;
}

void mir__sim_wires_close(struct mir_sim *sim)
{
    for (struct mir_list *link; (link = mir_list_pop_front(&sim->wires)) != NULL;) {
        struct mir_sim_wire *wire = MIR_CONTAINER_OF(link, struct mir_sim_wire, link);
        if (wire->pcap != NULL)
            (void)mir__sim_pcap_close(wire->pcap);
        for (unsigned side = 0; side < 2; side++) {
            if (wire->way[side].queue != NULL)
                mir__sim_queue_close(wire->way[side].queue);
        }
        free(wire);
    }
}

void mir_sim_wire_set(struct mir_sim_wire *wire, unsigned direction,
                      const struct mir_sim_wire_config *config)
{
    MIR_ASSERT_OP(direction, <, 2);
    struct direction *way = &wire->way[direction];
    uint64_t waiting = waiting_bytes(wire->sim, way);
    way->config = *config;
    /* What waits leaves at the new rate. */
    if (waiting > 0)
        way->free_at_ns = wire->sim->now_ns + bytes_to_ns(way, waiting);
    set_queue(way);
}

void mir_sim_wire_cut(struct mir_sim_wire *wire, unsigned direction, bool is_cut)
{
    MIR_ASSERT_OP(direction, <, 2);
    wire->way[direction].is_cut = is_cut;
}

void mir_sim_wire_stall(struct mir_sim_wire *wire, unsigned direction, mir_time_us span_us)
{
    MIR_ASSERT_OP(direction, <, 2);
    struct direction *way = &wire->way[direction];
    way->free_at_ns = MIR_MAX(way->free_at_ns, wire->sim->now_ns) + span_us * 1000;
}

void mir_sim_wire_get_stats(const struct mir_sim_wire *wire, unsigned direction,
                            struct mir_sim_wire_stats *stats)
{
    MIR_ASSERT_OP(direction, <, 2);
    *stats = wire->way[direction].stats;
}

int mir_sim_wire_pcap(struct mir_sim_wire *wire, const char *path)
{
    struct mir__sim_pcap *pcap = mir__sim_pcap_open(path);
    if (pcap == NULL)
        return -MIR_EIO;
    if (wire->pcap != NULL)
        (void)mir__sim_pcap_close(wire->pcap);
    wire->pcap = pcap;
    return 0;
}

void mir_sim_wire_tap(struct mir_sim_wire *wire, mir_sim_tap_fn tap, void *arg)
{
    wire->tap = tap;
    wire->tap_arg = arg;
}
