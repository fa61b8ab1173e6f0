/* SPDX-License-Identifier: ISC */
/* Two stacks, one clock, one wire with faults drawn from a seed. See tcp_pair.h. */
#include "test/harness/tcp_pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/harness/tap.h"

#define START_US (1000 * MIR_US_PER_S)

static struct tcp_pair_side *side_of(struct mir_net_dev *dev)
{
    return MIR_CONTAINER_OF(dev, struct tcp_pair_side, dev);
}

static bool chance(struct tcp_pair *pair, uint32_t ppm)
{
    return ppm > 0 && mir_rng_below(&pair->rng, 1000000) < ppm;
}

static void arm(struct tcp_pair_side *side)
{
    if (side->inbox != NULL)
        mir_timer_set(&side->pair->loop, &side->timer, side->inbox->at_us);
}

static void enqueue(struct tcp_pair_side *to, struct mir_buf *buf_given, mir_time_us at_us)
{
    struct tcp_pair_frame *frame = malloc(sizeof *frame);
    struct tcp_pair_frame **at = &to->inbox;
    MIR_ASSERT(frame != NULL);
    while (*at != NULL && (*at)->at_us <= at_us)
        at = &(*at)->next;
    *frame = (struct tcp_pair_frame){*at, at_us, buf_given};
    *at = frame;
    arm(to);
}

static void deliver_due(void *arg)
{
    struct tcp_pair_side *side = arg;
    bool any = false;
    while (side->inbox != NULL && side->inbox->at_us <= mir_loop_now(&side->pair->loop)) {
        struct tcp_pair_frame *frame = side->inbox;
        struct mir_buf *buf = frame->buf;
        side->inbox = frame->next;
        free(frame);
        side->peer->sent_since_room = 0;
        any = true;
        if (side->upper.rx != NULL)
            side->upper.rx(side->upper.arg, buf);
        else
            mir_buf_release(buf);
    }
    if (any && side->upper.rx_end != NULL)
        side->upper.rx_end(side->upper.arg);
    if (side->pair->config.slot_us == 0 && side->peer->was_full &&
        side->peer->upper.tx_ready != NULL) {
        side->peer->was_full = false;
        side->peer->upper.tx_ready(side->peer->upper.arg);
    }
    arm(side);
}

static int dev_start(struct mir_net_dev *dev, const struct mir_net_upper *upper)
{
    side_of(dev)->upper = *upper;
    return 0;
}

static void dev_stop(struct mir_net_dev *dev)
{
    memset(&side_of(dev)->upper, 0, sizeof side_of(dev)->upper);
}

static uint32_t dev_tx_room(struct mir_net_dev *dev)
{
    struct tcp_pair_side *side = side_of(dev);
    uint32_t limit = side->pair->config.tx_room;
    if (limit == 0)
        return UINT32_MAX;
    if (side->pair->config.slot_us != 0) {
        side->was_full |= side->ring.count >= limit;
        return limit - MIR_MIN(limit, side->ring.count);
    }
    if (side->sent_since_room >= limit)
        side->was_full = true;
    return side->sent_since_room >= limit ? 0 : limit - side->sent_since_room;
}

static void put_on_wire(struct tcp_pair_side *side, struct mir_buf *buf_given);

/* The ring's first frames leave. */
static void send_slot(void *arg)
{
    struct tcp_pair_side *side = arg;
    struct tcp_pair *pair = side->pair;
    mir_time_us now_us = mir_loop_now(&pair->loop);
    struct mir_buf *buf;
    if (side->is_stuck)
        side->slot_at_us = now_us;
    /* Timers are not as fine as the slots. */
    for (; side->slot_at_us + pair->config.slot_us <= now_us;
         side->slot_at_us += pair->config.slot_us) {
        buf = mir_buf_queue_pop(&side->ring);
        if (buf == NULL)
            break;
        put_on_wire(side, buf);
    }
    if (side->ring.count > 0)
        mir_timer_set(&pair->loop, &side->room_timer,
                      mir_loop_now(&pair->loop) + pair->config.slot_us);
    if (side->was_full && side->ring.count <= pair->config.tx_room / 2 &&
        side->upper.tx_ready != NULL) {
        side->was_full = false;
        side->upper.tx_ready(side->upper.arg);
    }
}

static int put_in_ring(struct tcp_pair_side *side, struct mir_buf *buf_given)
{
    struct tcp_pair *pair = side->pair;
    if (side->ring.count >= pair->config.tx_room + MIR_NET_TX_KEPT) {
        side->refused++;
        mir_buf_release(buf_given);
        return -MIR_EAGAIN;
    }
    mir_buf_queue_push(&side->ring, buf_given);
    if (side->ring.count == 1)
        side->slot_at_us = mir_loop_now(&pair->loop);
    if (!mir_timer_is_set(&side->room_timer))
        mir_timer_set(&pair->loop, &side->room_timer,
                      mir_loop_now(&pair->loop) + pair->config.slot_us);
    return 0;
}

static int dev_tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    struct tcp_pair_side *side = side_of(dev);
    if (side->pair->config.slot_us != 0)
        return put_in_ring(side, buf_given);
    side->sent_since_room++;
    put_on_wire(side, buf_given);
    return 0;
}

static void put_on_wire(struct tcp_pair_side *side, struct mir_buf *buf_given)
{
    struct tcp_pair *pair = side->pair;
    const struct tcp_pair_config *config = &pair->config;
    bool is_ip = buf_given->len > 14 && buf_given->data[12] == 8 && buf_given->data[13] == 0;
    int from = (int)(side - pair->side);
    struct mir_buf *copy = mir_buf_linearize(&pair->bufs, buf_given, 0);
    side->frames++;
    side->bytes += mir_buf_total(buf_given);
    bool is_lost = copy == NULL || pair->is_cut || (is_ip && chance(pair, config->loss_ppm)) ||
                   (is_ip && pair->drop != NULL && pair->drop(pair->drop_arg, from, copy));
    mir_buf_release(buf_given);
    if (is_lost) {
        side->lost++;
        mir_buf_release(copy);
        return;
    }
    mir_time_us at_us = mir_loop_now(&pair->loop) + config->delay_us;
    if (is_ip && chance(pair, config->reorder_ppm))
        at_us += mir_rng_below(&pair->rng, 10 * config->delay_us);
    if (is_ip && chance(pair, config->dup_ppm)) {
        struct mir_buf *twin = mir_buf_linearize(&pair->bufs, copy, 0);
        if (twin != NULL)
            enqueue(side->peer, twin, at_us + config->delay_us / 2);
    }
    enqueue(side->peer, copy, at_us);
}

static void dev_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats)
{
    (void)dev;
    memset(stats, 0, sizeof *stats);
}

static void dev_close(struct mir_net_dev *dev)
{
    dev_stop(dev);
}

static const struct mir_net_dev_ops dev_ops = {
    .start = dev_start,
    .stop = dev_stop,
    .tx = dev_tx,
    .tx_room = dev_tx_room,
    .stats = dev_stats,
    .close = dev_close,
};

static void open_side(struct tcp_pair *pair, int index)
{
    struct tcp_pair_side *side = &pair->side[index];
    struct mir_net_config config = pair->config.net;
    uint32_t caps = pair->config.caps;
    side->ip = mir_ip_from_v4(0x0a000001u + (uint32_t)index);
    side->dev.ops = &dev_ops;
    side->dev.info = (struct mir_net_dev_info){
        .mac = {2, 0, 0, 0, 0, (uint8_t)(index + 1)},
        .mtu = pair->config.mtu,
        .caps = caps,
        .gso_max = (caps & MIR_NET_TX_TSO4) ? 65535 + 14 : 0,
        .kind = "pair",
    };
    config.loop = &pair->loop;
    config.pages = &pair->pages;
    config.bufs = &pair->bufs;
    config.rng = &pair->rng;
    int r = mir_net_open(&config, &side->net);
    MIR_ASSERT(r == 0);
    struct mir_net_if_config interface = {.ip = side->ip, .prefix_len = 24};
    r = mir_net_add_interface(side->net, &side->dev, &interface);
    MIR_ASSERT(r == 0);
    side->stack = mir_net_stack(side->net);
}

void tcp_pair_open(struct tcp_pair *pair, const struct tcp_pair_config *config)
{
    memset(pair, 0, sizeof *pair);
    pair->config = *config;
    if (pair->config.delay_us == 0)
        pair->config.delay_us = 1000;
    if (pair->config.mtu == 0)
        pair->config.mtu = 1500;
    if (pair->config.memory_bytes == 0)
        pair->config.memory_bytes = (size_t)32 << 20;
    pair->arena = aligned_alloc(MIR_PAGE_SIZE, pair->config.memory_bytes);
    int r = mir_page_pool_init(&pair->pages, pair->arena, pair->config.memory_bytes);
    MIR_ASSERT(r == 0);
    r = mir_buf_pool_init(&pair->bufs, &pair->pages, 8192);
    MIR_ASSERT(r == 0);
    mir_rng_init_u64(&pair->rng, config->seed);
    pair->now_us = START_US;
    mir_loop_init(&pair->loop, pair->now_us);
    for (int i = 0; i < 2; i++) {
        pair->side[i].pair = pair;
        pair->side[i].peer = &pair->side[1 - i];
        mir_timer_init(&pair->side[i].timer, deliver_due, &pair->side[i]);
        mir_timer_init(&pair->side[i].room_timer, send_slot, &pair->side[i]);
    }
    open_side(pair, 0);
    open_side(pair, 1);
}

bool tcp_pair_run(struct tcp_pair *pair, mir_time_us span_us)
{
    mir_time_us end_us = pair->now_us + span_us;
    while (!pair->stop) {
        mir_time_us next_us;
        mir_loop_step(&pair->loop, pair->now_us, &next_us);
        if (next_us > end_us)
            break;
        pair->now_us = MIR_MAX(pair->now_us, next_us);
    }
    bool is_stopped = pair->stop;
    if (!is_stopped)
        pair->now_us = end_us;
    pair->stop = false;
    return is_stopped;
}

struct stat_query {
    const char *name;
    uint64_t value;
};

static void match_stat(void *arg, const char *name, uint64_t value)
{
    struct stat_query *query = arg;
    const char *rest = strncmp(name, "tcp_", 4) == 0 ? name + 4 : name;
    if (strcmp(rest, query->name) == 0)
        query->value = value;
}

uint64_t tcp_pair_stat(struct tcp_pair *pair, int side, const char *name)
{
    struct stat_query query = {name, UINT64_MAX};
    struct mir_stack *stack = pair->side[side].stack;
    stack->ops->stats(stack, match_stat, &query);
    return query.value;
}

bool tcp_pair_close(struct tcp_pair *pair)
{
    for (int i = 0; i < 2; i++)
        mir_net_close(pair->side[i].net);
    for (int i = 0; i < 2; i++) {
        struct tcp_pair_side *side = &pair->side[i];
        mir_timer_cancel(&side->timer);
        mir_timer_cancel(&side->room_timer);
        mir_buf_queue_release(&side->ring);
        while (side->inbox != NULL) {
            struct tcp_pair_frame *frame = side->inbox;
            side->inbox = frame->next;
            mir_buf_release(frame->buf);
            free(frame);
        }
    }
    bool ok = check_int(mir_pool_used(&pair->bufs.pool), ==, 0);
    mir_buf_pool_fini(&pair->bufs);
    ok &= check_int(mir_page_pool_used_bytes(&pair->pages), ==, 0);
    ok &= check_int(pair->loop.timer_count, ==, 0);
    free(pair->arena);
    return ok;
}
