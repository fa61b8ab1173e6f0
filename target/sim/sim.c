/* SPDX-License-Identifier: ISC */
/* The simulator's clock: a queue of events and the loop that handles them.
 *
 * Events (a frame arrives, a node's timer is due, a call of the script) stand in a four-way heap
 * ordered by time and then by the order in which they were queued, so equal times never depend on
 * an address or on the C library. Each event knows its place in the heap: a node has one wake-up
 * that moves, instead of many that went stale.
 *
 * One instant: all events of the earliest time are taken; frames are handed to their ports; then
 * each node that was touched ends its batch and steps its loop once. A node that still has work
 * comes again one microsecond later, so a program that never rests cannot stop the clock.
 *
 * Times are nanoseconds here, since a frame at 10 Gbit/s is shorter than a microsecond; nodes see
 * microseconds.
 */
#include "target/sim/internal.h"
#include "target/sim/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/net/net_state.h"

#define NS_PER_US 1000ull

/* ---- heap --------------------------------------------------------------------------------- */

static bool is_before(const struct mir__sim_slot *a, const struct mir__sim_slot *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void put_slot(struct mir_sim *sim, uint32_t index, const struct mir__sim_slot *slot)
{
    sim->heap[index] = *slot;
    slot->event->heap_index = index + 1;
}

static void sift_up(struct mir_sim *sim, uint32_t index, const struct mir__sim_slot *slot)
{
    while (index > 0) {
        uint32_t parent = (index - 1) / 4;
        if (!is_before(slot, &sim->heap[parent]))
            break;
        put_slot(sim, index, &sim->heap[parent]);
        index = parent;
    }
    put_slot(sim, index, slot);
}

static void sift_down(struct mir_sim *sim, uint32_t index, const struct mir__sim_slot *slot)
{
    for (;;) {
        uint32_t first = index * 4 + 1;
        if (first >= sim->heap_count)
            break;
        uint32_t last = MIR_MIN(first + 4, sim->heap_count);
        uint32_t least = first;
        for (uint32_t i = first + 1; i < last; i++) {
            if (is_before(&sim->heap[i], &sim->heap[least]))
                least = i;
        }
        if (!is_before(&sim->heap[least], slot))
            break;
        put_slot(sim, index, &sim->heap[least]);
        index = least;
    }
    put_slot(sim, index, slot);
}

void mir__sim_unschedule(struct mir_sim *sim, struct mir_sim_event *event)
{
    if (event->heap_index == 0)
        return;
    uint32_t index = event->heap_index - 1;
    struct mir__sim_slot moved = sim->heap[--sim->heap_count];
    event->heap_index = 0;
    if (moved.event == event)
        return;
    if (index > 0 && is_before(&moved, &sim->heap[(index - 1) / 4]))
        sift_up(sim, index, &moved);
    else
        sift_down(sim, index, &moved);
}

void mir__sim_schedule(struct mir_sim *sim, struct mir_sim_event *event, enum mir__sim_kind kind,
                       uint64_t at_ns)
{
    mir__sim_unschedule(sim, event);
    if (sim->heap_count == sim->heap_room) {
        sim->heap_room = MIR_MAX(2 * sim->heap_room, 256u);
        sim->heap = realloc(sim->heap, sim->heap_room * sizeof *sim->heap);
        MIR_ASSERT(sim->heap != NULL);
    }
    event->kind = (uint32_t)kind;
    event->at_ns = MIR_MAX(at_ns, sim->now_ns);
    event->order = sim->next_order++;
    struct mir__sim_slot slot = {event->at_ns, event->order, event};
    sift_up(sim, sim->heap_count++, &slot);
}

/* ---- hash and complaints ------------------------------------------------------------------- */

static uint64_t mix64(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15ull;
    return h ^ h >> 29;
}

void mir__sim_mix(struct mir_sim *sim, uint64_t a, uint64_t b, const uint8_t *data, size_t len)
{
    /* Two lanes: the multiplications of one wait for each other, those of two overlap. */
    uint64_t h = mix64(sim->hash, a);
    uint64_t g = mix64(b, len);
    uint64_t word[2];
    for (; len >= sizeof word; data += sizeof word, len -= sizeof word) {
        memcpy(word, data, sizeof word);
        h = mix64(h, word[0]);
        g = mix64(g, word[1]);
    }
    if (len > 0) {
        word[0] = word[1] = 0;
        memcpy(word, data, len);
        h = mix64(h, word[0]);
        g = mix64(g, word[1]);
    }
    sim->hash = mix64(h, g);
}

/* How many are told at length. */
#define VIOLATIONS_TOLD 5u

void mir__sim_violation(struct mir_sim *sim, const char *text, uint64_t value)
{
    if (sim->complaint[0] == '\0')
        snprintf(sim->complaint, sizeof sim->complaint, "%s", text);
    if (sim->stats.violations++ < VIOLATIONS_TOLD)
        fprintf(stderr, "sim: violation at %llu us, seed %llu: %s (%llu)\n",
                (unsigned long long)mir_sim_now(sim), (unsigned long long)sim->seed, text,
                (unsigned long long)value);
}

static void on_broken_rule(void *arg, const char *rule, const char *text)
{
    struct mir_sim *sim = arg;
    if (sim->complaint[0] == '\0')
        snprintf(sim->complaint, sizeof sim->complaint, "%s", rule);
    if (sim->stats.violations++ < VIOLATIONS_TOLD)
        fprintf(stderr, "sim: violation at %llu.%06llu s, seed %llu: %s",
                (unsigned long long)(mir_sim_now(sim) / MIR_US_PER_S),
                (unsigned long long)(mir_sim_now(sim) % MIR_US_PER_S),
                (unsigned long long)sim->seed, text);
}

/* Has the stack lost frames of its own before they came to a port: no memory, no neighbour? */
static bool may_lack(const struct mir_sim_node *node)
{
    const struct mir__net_counters *counters = &node->net->counters;
    return node->pages.failures + node->bufs.pool.failures + counters->arp_unresolved_dropped +
               counters->nd_unresolved_dropped >
           0;
}

void mir__sim_watch(struct mir_sim_port *port, const struct mir__sim_frame *frame, bool is_out)
{
    const struct mir_sim_node *node = port->node;
    struct mir_sim *sim = node->sim;
    if (sim->watch == NULL || node->net == NULL)
        return;
    struct mir__watch_frame seen = {
        .place = node->index,
        .where = node->name,
        .now_us = mir_sim_now(sim),
        .data = frame->data,
        .len = frame->len,
        .gso_size = frame->gso_size,
        .is_sum_known = (frame->flags & (MIR_BUF_CSUM_PARTIAL | MIR_BUF_CSUM_VALID)) != 0,
        .is_checked = is_out,
        .is_from_here = is_out,
        .may_lack = may_lack(node),
    };
    sim->stats.watched += is_out;
    mir__watch_see(sim->watch, &seen);
}

/* ---- frames -------------------------------------------------------------------------------- */

static const uint32_t frame_room[MIR__SIM_FRAME_CLASSES] = {1600, 10240, 70000};

struct mir__sim_frame *mir__sim_frame_alloc(struct mir_sim *sim, uint32_t len)
{
    uint32_t size_class = 0;
    while (size_class < MIR__SIM_FRAME_CLASSES && frame_room[size_class] < len)
        size_class++;
    MIR_ASSERT_OP(size_class, <, MIR__SIM_FRAME_CLASSES);
    struct mir__sim_frame *frame = sim->free_frames[size_class];
    if (frame != NULL) {
        sim->free_frames[size_class] = frame->next_free;
    } else {
        frame = malloc(sizeof *frame + frame_room[size_class]);
        MIR_ASSERT(frame != NULL);
    }
    memset(frame, 0, sizeof *frame);
    frame->size_class = size_class;
    frame->len = len;
    sim->stats.frames_flying++;
    sim->stats.frames_peak = MIR_MAX(sim->stats.frames_peak, sim->stats.frames_flying);
    return frame;
}

void mir__sim_frame_free(struct mir_sim *sim, struct mir__sim_frame *frame)
{
    MIR_ASSERT_OP(sim->stats.frames_flying, >, 0);
    sim->stats.frames_flying--;
    frame->next_free = sim->free_frames[frame->size_class];
    sim->free_frames[frame->size_class] = frame;
}

struct mir__sim_frame *mir__sim_frame_copy(struct mir_sim *sim, const struct mir__sim_frame *from)
{
    struct mir__sim_frame *frame = mir__sim_frame_alloc(sim, from->len);
    frame->flags = from->flags;
    frame->gso_size = from->gso_size;
    frame->csum_start = from->csum_start;
    frame->csum_offset = from->csum_offset;
    frame->hops = from->hops;
    memcpy(frame->data, from->data, from->len);
    return frame;
}

/* ---- world --------------------------------------------------------------------------------- */

int mir_sim_open(const struct mir_sim_config *config, struct mir_sim **out)
{
    struct mir_sim *sim = calloc(1, sizeof *sim);
    if (sim == NULL)
        return -MIR_ENOMEM;
    sim->seed = config->seed;
    sim->now_ns = (config->start_us != 0 ? config->start_us : MIR_US_PER_S) * NS_PER_US;
    sim->hash = mix64(0, config->seed);
    mir_rng_init_u64(&sim->rng, config->seed);
    mir_list_init(&sim->nodes);
    mir_list_init(&sim->due);
    mir_list_init(&sim->wires);
    mir_list_init(&sim->switches);
    mir_list_init(&sim->routers);
    if (!config->is_unwatched && mir__watch_open(on_broken_rule, sim, &sim->watch) < 0) {
        free(sim);
        return -MIR_ENOMEM;
    }
    *out = sim;
    return 0;
}

size_t mir_sim_close(struct mir_sim *sim)
{
    size_t left_bytes = 0;
    if (sim->trace != NULL && mir__sim_trace_close(sim->trace) < 0)
        fprintf(stderr, "sim: the trace of connections is not complete\n");
    mir_list_for_each (link, &sim->nodes) {
        mir__sim_node_stop(MIR_CONTAINER_OF(link, struct mir_sim_node, link));
    }
    mir_list_for_each (node, &sim->nodes) {
        left_bytes += mir__sim_node_close(MIR_CONTAINER_OF(node, struct mir_sim_node, link));
    }
    while (sim->heap_count > 0) {
        struct mir_sim_event *event = sim->heap[0].event;
        mir__sim_unschedule(sim, event);
        if (event->kind == MIR__SIM_FRAME)
            mir__sim_frame_free(sim, MIR_CONTAINER_OF(event, struct mir__sim_frame, event));
    }
    mir__sim_wires_close(sim);
    mir__sim_switches_close(sim);
    mir__sim_routers_close(sim);
    MIR_ASSERT_OP(sim->stats.frames_flying, ==, 0);
    for (uint32_t i = 0; i < MIR__SIM_FRAME_CLASSES; i++) {
        while (sim->free_frames[i] != NULL) {
            struct mir__sim_frame *frame = sim->free_frames[i];
            sim->free_frames[i] = frame->next_free;
            free(frame);
        }
    }
    if (sim->watch != NULL)
        mir__watch_close(sim->watch);
    free(sim->heap);
    free(sim);
    return left_bytes;
}

mir_time_us mir_sim_now(const struct mir_sim *sim)
{
    return sim->now_ns / NS_PER_US;
}

uint64_t mir_sim_hash(const struct mir_sim *sim)
{
    return sim->hash;
}

void mir_sim_get_stats(const struct mir_sim *sim, struct mir_sim_stats *stats)
{
    *stats = sim->stats;
}

struct mir_rng *mir_sim_rng(struct mir_sim *sim)
{
    return &sim->rng;
}

void mir_sim_at(struct mir_sim *sim, struct mir_sim_call *call, mir_time_us at_us)
{
    mir__sim_schedule(sim, &call->event, MIR__SIM_CALL, at_us * NS_PER_US);
}

void mir_sim_cancel(struct mir_sim *sim, struct mir_sim_call *call)
{
    mir__sim_unschedule(sim, &call->event);
}

void mir_sim_stop(struct mir_sim *sim)
{
    sim->stop = true;
}

void mir__sim_due(struct mir_sim_node *node)
{
    if (!mir_list_is_linked(&node->due_link))
        mir_list_push_back(&node->sim->due, &node->due_link);
}

void mir_sim_wake(struct mir_sim_node *node)
{
    mir__sim_schedule(node->sim, &node->wake, MIR__SIM_WAKE, node->sim->now_ns);
}

static void handle_frame(struct mir_sim *sim, struct mir__sim_frame *frame)
{
    struct mir_sim_plug *plug = frame->to;
    sim->stats.frames++;
    mir__sim_mix(sim, sim->now_ns, plug->index, frame->data, frame->len);
    if (plug->port != NULL)
        mir__sim_port_receive(plug->port, frame);
    else if (plug->router != NULL)
        mir__sim_router_receive(plug, frame);
    else
        mir__sim_switch_receive(plug, frame);
}

static void handle_event(struct mir_sim *sim, struct mir_sim_event *event)
{
    sim->stats.events++;
    switch ((enum mir__sim_kind)event->kind) {
    case MIR__SIM_FRAME:
        handle_frame(sim, MIR_CONTAINER_OF(event, struct mir__sim_frame, event));
        break;
    case MIR__SIM_WAKE: {
        struct mir_sim_node *node = MIR_CONTAINER_OF(event, struct mir_sim_node, wake);
        mir__sim_mix(sim, sim->now_ns, ~(uint64_t)node->index, NULL, 0);
        mir__sim_due(node);
        break;
    }
    case MIR__SIM_ROOM:
        mir__sim_port_room(MIR_CONTAINER_OF(event, struct mir_sim_port, room));
        break;
    case MIR__SIM_CALL: {
        struct mir_sim_call *call = MIR_CONTAINER_OF(event, struct mir_sim_call, event);
        mir__sim_mix(sim, sim->now_ns, MIR__SIM_CALL, NULL, 0);
        call->run(call->arg);
        break;
    }
    case MIR__SIM_DRAIN:
        mir__sim_drain(sim, event);
        break;
    }
}

/* Everything that happens at the time of the earliest event. */
static void handle_instant(struct mir_sim *sim)
{
    MIR_ASSERT_OP(sim->heap[0].at_ns, >=, sim->now_ns);
    sim->now_ns = sim->heap[0].at_ns;
    while (sim->heap_count > 0 && sim->heap[0].at_ns == sim->now_ns) {
        struct mir_sim_event *event = sim->heap[0].event;
        mir__sim_unschedule(sim, event);
        handle_event(sim, event);
    }
    for (struct mir_list *link; (link = mir_list_pop_front(&sim->due)) != NULL;)
        mir__sim_node_step(MIR_CONTAINER_OF(link, struct mir_sim_node, due_link));
}

enum mir_sim_end mir_sim_run(struct mir_sim *sim, mir_time_us until_us)
{
    uint64_t until_ns =
        until_us > UINT64_MAX / NS_PER_US ? UINT64_MAX : until_us * NS_PER_US + NS_PER_US - 1;
    MIR_ASSERT(!sim->is_running);
    sim->is_running = true;
    sim->stop = false;
    mir_list_for_each (link, &sim->nodes) {
        mir_sim_wake(MIR_CONTAINER_OF(link, struct mir_sim_node, link));
    }
    while (!sim->stop && sim->heap_count > 0 && sim->heap[0].at_ns <= until_ns)
        handle_instant(sim);
    sim->is_running = false;
    if (sim->stop)
        return MIR_SIM_STOPPED;
    if (until_us != MIR_TIME_NEVER && sim->now_ns < until_us * NS_PER_US)
        sim->now_ns = until_us * NS_PER_US;
    return sim->heap_count == 0 ? MIR_SIM_IDLE : MIR_SIM_TIME;
}
