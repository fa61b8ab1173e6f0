/* SPDX-License-Identifier: ISC */
/* Queues of a wire that manage themselves: CoDel and FQ-CoDel.
 *
 * A wire that only drops what does not fit needs no queue of frames: the time at which it will be
 * free says how many bytes wait (wire.c). These two decide when a frame leaves, by how long it has
 * waited, so here frames do stand in lists.
 *
 *   CoDel     RFC 8289: once the wait has been above target for an interval, frames are dropped, or
 *             marked, at times that come closer with the square root of their number, until it is
 *             below target again
 *   FQ-CoDel  RFC 8290: frames are sorted into FLOWS lists by a hash of addresses, protocol and
 *             ports; lists take turns of one full frame each, a list that was empty comes first,
 * and each has a CoDel of its own. When the whole is full the longest list loses a frame.
 *
 * A target of 0 makes a plain queue, for a wire whose discipline was changed during the run. The
 * square root is that of integers: a run must not depend on the floating point of its machine.
 */
#include "target/sim/internal.h"

#include <mirari/bytes.h>

#include <stdlib.h>
#include <string.h>

#define NS_PER_US 1000ull
#define FLOWS     1024u
#define QUANTUM   1514
#define FULL      1514u

struct flow {
    struct mir__sim_frame *first, *last;
    uint32_t bytes;
    int32_t deficit;
    struct mir_list link; /* in fresh or known */
    /* CoDel (RFC 8289 section 5.1). */
    uint64_t first_above_ns;
    uint64_t drop_next_ns;
    uint32_t count, last_count;
    bool is_dropping;
};

struct mir__sim_queue {
    struct mir_sim *sim;
    struct mir__sim_queue_config config;
    struct mir_sim_wire_stats *stats;
    uint32_t bytes;
    uint64_t salt;
    struct mir_list fresh, known;
    struct flow flow[FLOWS];
};

struct mir__sim_queue *mir__sim_queue_open(struct mir_sim *sim, uint64_t salt,
                                           struct mir_sim_wire_stats *stats)
{
    struct mir__sim_queue *queue = calloc(1, sizeof *queue);
    MIR_ASSERT(queue != NULL);
    queue->sim = sim;
    queue->salt = salt;
    queue->stats = stats;
    mir_list_init(&queue->fresh);
    mir_list_init(&queue->known);
    for (uint32_t i = 0; i < FLOWS; i++)
        mir_list_init(&queue->flow[i].link);
    return queue;
}

void mir__sim_queue_set(struct mir__sim_queue *queue, const struct mir__sim_queue_config *config)
{
    queue->config = *config;
}

uint32_t mir__sim_queue_bytes(const struct mir__sim_queue *queue)
{
    return queue->bytes;
}

/* ---- lists --------------------------------------------------------------------------------------
 */

static struct mir__sim_frame *take_first(struct mir__sim_queue *queue, struct flow *flow)
{
    struct mir__sim_frame *frame = flow->first;
    if (frame == NULL)
        return NULL;
    flow->first = frame->next_free;
    if (flow->first == NULL)
        flow->last = NULL;
    flow->bytes -= frame->len;
    queue->bytes -= frame->len;
    return frame;
}

static void drop(struct mir__sim_queue *queue, struct mir__sim_frame *frame, uint64_t *counter)
{
    ++*counter;
    mir__sim_frame_free(queue->sim, frame);
}

void mir__sim_queue_close(struct mir__sim_queue *queue)
{
    for (uint32_t i = 0; i < FLOWS; i++) {
        for (struct mir__sim_frame *frame; (frame = take_first(queue, &queue->flow[i])) != NULL;)
            mir__sim_frame_free(queue->sim, frame);
    }
    free(queue);
}

/* Addresses, protocol, and ports if they are there. */
static uint32_t flow_of(const struct mir__sim_queue *queue, const struct mir__sim_frame *frame)
{
    const uint8_t *ip = frame->data + 14;
    uint64_t h = queue->salt;
    uint32_t from = 0, len = 0, transport = 0;
    if (!queue->config.is_fair || frame->len < 14 + 20)
        return 0;
    if (mir_get_be16(frame->data + 12) == 0x0800) {
        from = 12;
        len = 8;
        transport = (ip[0] & 15u) * 4;
        h ^= ip[9];
        if (mir_get_be16(ip + 6) & 0x3fff)
            transport = frame->len; /* a fragment: no ports */
    } else if (mir_get_be16(frame->data + 12) == 0x86dd && frame->len >= 14 + 40) {
        from = 8;
        len = 32;
        transport = 40;
        h ^= ip[6];
    }
    for (uint32_t i = 0; i < len; i += 4)
        h = (h ^ mir_get_be32(ip + from + i)) * 0x9e3779b97f4a7c15ull;
    if (len > 0 && 14 + transport + 4 <= frame->len)
        h = (h ^ mir_get_be32(ip + transport)) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(h >> 32 ^ h >> 48) % FLOWS;
}

static struct flow *longest(struct mir__sim_queue *queue)
{
    struct flow *most = &queue->flow[0];
    for (uint32_t i = 1; i < FLOWS; i++) {
        if (queue->flow[i].bytes > most->bytes)
            most = &queue->flow[i];
    }
    return most;
}

void mir__sim_queue_push(struct mir__sim_queue *queue, struct mir__sim_frame *frame)
{
    struct flow *flow = &queue->flow[flow_of(queue, frame)];
    uint32_t limit = MIR_MAX(queue->config.limit_bytes, frame->len);
    if (queue->bytes + frame->len > limit && !queue->config.is_fair) {
        drop(queue, frame, &queue->stats->queue_dropped);
        return;
    }
    frame->next_free = NULL;
    frame->queued_ns = queue->sim->now_ns;
    if (flow->last != NULL)
        flow->last->next_free = frame;
    else
        flow->first = frame;
    flow->last = frame;
    flow->bytes += frame->len;
    queue->bytes += frame->len;
    if (!mir_list_is_linked(&flow->link)) {
        flow->deficit = QUANTUM;
        mir_list_push_back(&queue->fresh, &flow->link);
    }
    while (queue->bytes > limit)
        drop(queue, take_first(queue, longest(queue)), &queue->stats->queue_dropped);
}

/* ---- CoDel --------------------------------------------------------------------------------------
 */

static uint64_t square_root(uint64_t v)
{
    uint64_t root = 0;
    for (uint64_t bit = 1ull << 31; bit != 0; bit >>= 1) {
        if ((root | bit) * (root | bit) <= v)
            root |= bit;
    }
    return root;
}

/* interval / sqrt(count), with eight more bits in the root. */
static uint64_t control_law(const struct mir__sim_queue *queue, uint64_t at_ns, uint32_t count)
{
    uint64_t interval_ns = queue->config.interval_us * NS_PER_US;
    return at_ns + interval_ns * 256 / MIR_MAX(square_root((uint64_t)count << 16), 1ull);
}

static struct mir__sim_frame *take_timed(struct mir__sim_queue *queue, struct flow *flow,
                                         bool *may_drop)
{
    uint64_t now_ns = queue->sim->now_ns;
    struct mir__sim_frame *frame = take_first(queue, flow);
    *may_drop = false;
    if (frame == NULL || queue->config.target_us == 0 ||
        now_ns - frame->queued_ns < queue->config.target_us * NS_PER_US || flow->bytes < FULL) {
        flow->first_above_ns = 0;
        return frame;
    }
    if (flow->first_above_ns == 0)
        flow->first_above_ns = now_ns + queue->config.interval_us * NS_PER_US;
    else
        *may_drop = now_ns >= flow->first_above_ns;
    return frame;
}

/* Mark @frame if that is wanted and possible, else drop it and take the next. */
static struct mir__sim_frame *signal(struct mir__sim_queue *queue, struct flow *flow,
                                     struct mir__sim_frame *frame, bool *may_drop)
{
    flow->count++;
    if (queue->config.does_mark && mir__sim_mark_congestion(frame)) {
        queue->stats->marked++;
        *may_drop = false;
        return frame;
    }
    drop(queue, frame, &queue->stats->aqm_dropped);
    return take_timed(queue, flow, may_drop);
}

static struct mir__sim_frame *take_codel(struct mir__sim_queue *queue, struct flow *flow)
{
    uint64_t now_ns = queue->sim->now_ns;
    bool may_drop;
    struct mir__sim_frame *frame = take_timed(queue, flow, &may_drop);
    if (frame == NULL || !may_drop) {
        flow->is_dropping = false;
        return frame;
    }
    if (flow->is_dropping) {
        while (frame != NULL && flow->is_dropping && now_ns >= flow->drop_next_ns) {
            frame = signal(queue, flow, frame, &may_drop);
            flow->drop_next_ns = control_law(queue, flow->drop_next_ns, flow->count);
            if (!may_drop)
                break; /* marked, or below target: the next one tells */
        }
        return frame;
    }
    /* Begin where the last time left off, if that was not long ago (RFC 8289 section 5.6). */
    uint32_t delta = flow->count - flow->last_count;
    bool is_recent =
        now_ns - flow->drop_next_ns < 16 * queue->config.interval_us * NS_PER_US && delta > 1;
    flow->is_dropping = true;
    flow->count = is_recent ? delta - 1 : 0; /* signal() adds one */
    frame = signal(queue, flow, frame, &may_drop);
    flow->last_count = flow->count;
    flow->drop_next_ns = control_law(queue, now_ns, flow->count);
    return frame;
}

struct mir__sim_frame *mir__sim_queue_pop(struct mir__sim_queue *queue)
{
    for (;;) {
        struct mir_list *list = !mir_list_is_empty(&queue->fresh) ? &queue->fresh : &queue->known;
        if (mir_list_is_empty(list))
            return NULL;
        struct flow *flow = MIR_CONTAINER_OF(list->next, struct flow, link);
        if (flow->deficit <= 0) {
            flow->deficit += QUANTUM;
            mir_list_remove(&flow->link);
            mir_list_push_back(&queue->known, &flow->link);
            continue;
        }
        struct mir__sim_frame *frame = take_codel(queue, flow);
        if (frame != NULL) {
            flow->deficit -= (int32_t)frame->len;
            return frame;
        }
        mir_list_remove(&flow->link);
        /* An empty fresh list goes round once more, or others would wait for ever. */
        if (list == &queue->fresh && !mir_list_is_empty(&queue->known))
            mir_list_push_back(&queue->known, &flow->link);
    }
}
