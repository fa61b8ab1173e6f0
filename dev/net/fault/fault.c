/* SPDX-License-Identifier: ISC */
/* A network device around another one that loses, repeats, reorders, damages and delays frames.
 *
 *   frame -> lost? -> damaged? -> when due (rate, delay, jitter, reordering) -> repeated?
 *             now: passed on at once      later: held in a heap by time, one timer a direction
 *
 * Everything random comes from one generator seeded by the specification, and time is the loop's:
 * the same frames at the same times meet the same faults.
 *
 * Without "reorder" frames of a direction keep their order whatever the jitter; a reordered frame
 * is held 1 to 4 ms longer than its turn and those behind it pass. A damaged frame is a copy with
 * one bit changed (payload pages may belong to a retransmission queue) that no longer claims that
 * its checksum was verified. A full queue or no memory for a copy loses the frame, counted apart.
 *
 * A wire that is cut takes frames and loses them, as a real one does; the upper half hears that the
 * link is down. Frames that wait when it is cut are still on the wire, and arrive.
 */
#include "dev/net/fault/fault.h"

#include <mirari/log.h>

#define REORDER_MIN_US  1024u
#define REORDER_SPAN_US 3072u

static struct mir_fault *of_dev(struct mir_net_dev *dev)
{
    return (struct mir_fault *)(void *)dev;
}

/* ---- held frames --------------------------------------------------------------------------- */

static bool is_before(const struct mir__fault_held *a, const struct mir__fault_held *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void heap_push(struct mir__fault_way *way, struct mir__fault_held held)
{
    uint32_t i = way->held_count++;
    for (; i > 0 && is_before(&held, &way->held[(i - 1) / 2]); i = (i - 1) / 2)
        way->held[i] = way->held[(i - 1) / 2];
    way->held[i] = held;
}

static struct mir_buf *heap_pop(struct mir__fault_way *way)
{
    struct mir_buf *first = way->held[0].buf;
    struct mir__fault_held last = way->held[--way->held_count];
    uint32_t i = 0;
    for (uint32_t child; (child = 2 * i + 1) < way->held_count; i = child) {
        if (child + 1 < way->held_count && is_before(&way->held[child + 1], &way->held[child]))
            child++;
        if (is_before(&last, &way->held[child]))
            break;
        way->held[i] = way->held[child];
    }
    way->held[i] = last;
    return first;
}

/* Returns what the next hop answered; frames that come later have nobody to tell. */
static int pass_on(struct mir__fault_way *way, struct mir_buf *buf_given)
{
    struct mir_fault *fault = way->fault;
    fault->stats[way->direction].passed++;
    if (way->direction == MIR_FAULT_OUT)
        return mir__wrap_tx(&fault->wrap.dev, buf_given);
    mir__wrap_up(&fault->wrap, buf_given);
    return 0;
}

static void set_timer(struct mir__fault_way *way)
{
    if (way->held_count == 0)
        mir_timer_cancel(&way->timer);
    else
        mir_timer_set(way->fault->config.loop, &way->timer, way->held[0].due_us);
}

static void on_timer(void *arg)
{
    struct mir__fault_way *way = arg;
    struct mir_fault *fault = way->fault;
    mir_time_us now_us = mir_loop_now(fault->config.loop);
    bool is_any = false;
    while (way->held_count > 0 && way->held[0].due_us <= now_us && fault->wrap.is_started) {
        (void)pass_on(way, heap_pop(way));
        is_any = true;
    }
    if (!fault->wrap.is_started)
        return;
    if (is_any && way->direction == MIR_FAULT_IN)
        mir__wrap_up_end(&fault->wrap);
    else if (is_any)
        mir__wrap_flush(&fault->wrap.dev);
    set_timer(way);
}

/* ---- faults -------------------------------------------------------------------------------- */

static bool happens(struct mir_fault *fault, uint32_t ppm)
{
    return ppm > 0 && mir_rng_below(&fault->rng, MIR_FAULT_PPM) < ppm;
}

static struct mir_buf *copy_of(struct mir_fault *fault, const struct mir_buf *buf)
{
    uint32_t headroom = MIR_MIN(mir_buf_headroom(buf), MIR_BUF_HEADROOM);
    return mir_buf_linearize(fault->config.bufs, buf, headroom);
}

static struct mir_buf *damage(struct mir_fault *fault, struct mir_buf *buf_given)
{
    struct mir_buf *copy = copy_of(fault, buf_given);
    mir_buf_release(buf_given);
    if (copy == NULL)
        return NULL;
    uint32_t bit = mir_rng_below(&fault->rng, copy->len * 8);
    copy->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    copy->flags &= (uint16_t) ~(MIR_BUF_CSUM_VALID | MIR_BUF_CSUM_PARTIAL);
    return copy;
}

static mir_time_us due_time(struct mir__fault_way *way, const struct mir_buf *buf)
{
    struct mir_fault *fault = way->fault;
    const struct mir_fault_rule *rule = &fault->config.spec.rule[way->direction];
    mir_time_us now_us = mir_loop_now(fault->config.loop), due_us = now_us;
    if (rule->rate_bps > 0) {
        way->free_at_us = MIR_MAX(way->free_at_us, now_us) +
                          mir_buf_total(buf) * 8ull * MIR_US_PER_S / rule->rate_bps;
        due_us = way->free_at_us;
    }
    due_us += rule->delay_us;
    if (rule->jitter_us > 0) {
        uint32_t shift = mir_rng_below(&fault->rng, 2 * rule->jitter_us + 1);
        due_us =
            due_us + shift > now_us + rule->jitter_us ? due_us + shift - rule->jitter_us : now_us;
    }
    if (happens(fault, rule->reorder_ppm)) {
        fault->stats[way->direction].reordered++;
        due_us = MIR_MAX(due_us, way->last_due_us);
        return due_us + REORDER_MIN_US + mir_rng_below(&fault->rng, REORDER_SPAN_US);
    }
    way->last_due_us = MIR_MAX(due_us, way->last_due_us);
    return way->last_due_us;
}

static int schedule(struct mir__fault_way *way, struct mir_buf *buf_given, mir_time_us due_us)
{
    struct mir_fault *fault = way->fault;
    if (due_us <= mir_loop_now(fault->config.loop))
        return pass_on(way, buf_given);
    if (way->held_count == MIR_FAULT_QUEUE) {
        fault->stats[way->direction].overflowed++;
        mir_buf_release(buf_given);
        return 0;
    }
    fault->stats[way->direction].delayed++;
    heap_push(way, (struct mir__fault_held){due_us, way->order++, buf_given});
    set_timer(way);
    return 0;
}

static int meet(struct mir__fault_way *way, struct mir_buf *buf_given)
{
    struct mir_fault *fault = way->fault;
    struct mir_fault_stats *stats = &fault->stats[way->direction];
    const struct mir_fault_rule *rule = &fault->config.spec.rule[way->direction];
    struct mir_buf *buf = buf_given, *twin = NULL;
    if (fault->config.spec.is_down) {
        stats->cut++;
        mir_buf_release(buf);
        return 0;
    }
    if (happens(fault, rule->loss_ppm)) {
        stats->lost++;
        mir_buf_release(buf);
        return 0;
    }
    if (happens(fault, rule->corrupt_ppm)) {
        buf = damage(fault, buf);
        if (buf == NULL) {
            stats->overflowed++;
            return 0;
        }
        stats->corrupted++;
    }
    /* Before its time on the wire is taken: a frame that finds no room must not use up the rate. */
    if (way->held_count == MIR_FAULT_QUEUE) {
        stats->overflowed++;
        mir_buf_release(buf);
        return 0;
    }
    mir_time_us due_us = due_time(way, buf);
    if (happens(fault, rule->dup_ppm))
        twin = copy_of(fault, buf);
    int r = schedule(way, buf, due_us);
    if (twin != NULL && fault->wrap.is_started) {
        stats->duplicated++;
        (void)schedule(way, twin, due_us);
    } else {
        mir_buf_release(twin);
    }
    return r;
}

static void fault_rx(struct mir__wrap *wrap, struct mir_buf *buf_given)
{
    struct mir_fault *fault = (struct mir_fault *)(void *)wrap;
    (void)meet(&fault->way[MIR_FAULT_IN], buf_given);
}

static int fault_tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    struct mir_fault *fault = of_dev(dev);
    /* What the inner device would refuse is refused now, while there is somebody to tell. */
    if (!fault->wrap.is_started || mir_buf_total(buf_given) > dev->info.mtu + 14u)
        return mir__wrap_tx(dev, buf_given);
    return meet(&fault->way[MIR_FAULT_OUT], buf_given);
}

static void fault_stop(struct mir_net_dev *dev)
{
    struct mir_fault *fault = of_dev(dev);
    mir__wrap_stop(dev);
    for (int i = 0; i < 2; i++) {
        struct mir__fault_way *way = &fault->way[i];
        mir_timer_cancel(&way->timer);
        while (way->held_count > 0)
            mir_buf_release(heap_pop(way));
    }
}

static void fault_close(struct mir_net_dev *dev)
{
    fault_stop(dev);
    mir__wrap_close(dev);
}

void mir_fault_init(struct mir_fault *fault, const struct mir_fault_config *config)
{
    static const struct mir_net_dev_ops ops = {
        .start = mir__wrap_start,
        .stop = fault_stop,
        .tx = fault_tx,
        .flush = mir__wrap_flush,
        .tx_room = mir__wrap_tx_room,
        .stats = mir__wrap_stats,
        .close = fault_close,
    };
    mir_memset(fault, 0, sizeof *fault);
    fault->config = *config;
    mir__wrap_init(&fault->wrap, config->inner, &ops);
    fault->wrap.rx = fault_rx;
    fault->wrap.dev.info.caps &= (uint32_t) ~(MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_TX_TSO6);
    fault->wrap.dev.info.gso_max = 0;
    mir_rng_init_u64(&fault->rng, config->spec.seed);
    for (unsigned i = 0; i < 2; i++) {
        fault->way[i].fault = fault;
        fault->way[i].direction = (enum mir_fault_direction)i;
        mir_timer_init(&fault->way[i].timer, on_timer, &fault->way[i]);
    }
}

void mir_fault_set(struct mir_fault *fault, const struct mir_fault_spec *spec)
{
    bool was_down = fault->config.spec.is_down;
    const struct mir_net_upper *upper = &fault->wrap.upper;
    if (spec->seed != fault->config.spec.seed)
        mir_rng_init_u64(&fault->rng, spec->seed);
    fault->config.spec = *spec;
    if (spec->is_down != was_down && fault->wrap.is_started && upper->link != NULL)
        upper->link(upper->arg, was_down);
}
