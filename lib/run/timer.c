/* SPDX-License-Identifier: ISC */
/* Timers: a hierarchical wheel of six levels of 64 slots.
 *
 * Time is cut into ticks of 1,024 us. A tick number is read in base 64, and a timer lies in the
 * level of the highest digit in which its tick differs from the wheel's, in the slot of that digit:
 *
 *   wheel_tick   … 0 | 5 | 17 | 40        due  … 0 | 5 | 17 | 43   level 0, slot 43
 *                                              … 0 | 5 | 20 |  2   level 1, slot 20
 *                                              … 0 | 9 |  0 |  0   level 2, slot  9
 *
 * So a slot holds only timers of one turn of its level, all slots in use lie ahead of the wheel's
 * own digit, and everything in a level is earlier than everything in the levels above. The next
 * slot with something in it is therefore the lowest set bit in the lowest level with a bit set.
 *
 * To advance is to go from occupied slot to occupied slot; ticks in which nothing is due cost
 * nothing, however long the jump. At its start a slot is emptied: timers due at that tick expire,
 * the others fall to a lower level. A timer falls at most five times, and timers of one tick fire
 * in the order in which they were set.
 *
 * Beyond 2^36 ticks (2.2 years) from the start of the wheel's turn, timers are parked in slot 0 of
 * the top level, which nothing else can use (its digit would have to be ahead of one that is at
 * least 0), and are sorted again when the top level begins its next turn.
 *
 * A deadline in the future is rounded up to a tick: never early, at most one tick late. One that
 * has passed goes to the expired list at once.
 *
 * Source: G. Varghese, A. Lauck, "Hashed and hierarchical timing wheels" (1987), scheme 7.
 */
#include "lib/run/internal.h"

#define SLOT_BITS  6
#define SLOT_MASK  (MIR_WHEEL_SLOTS - 1u)
#define TOP        (MIR_WHEEL_LEVELS - 1)
#define TURN_SHIFT (SLOT_BITS * MIR_WHEEL_LEVELS)
#define FAR_BIT    1ull

_Static_assert(MIR_WHEEL_SLOTS == 1 << SLOT_BITS, "a digit is SLOT_BITS wide");

struct place {
    unsigned level;
    unsigned slot;
};

static uint64_t due_tick(mir_time_us deadline_us)
{
    uint64_t whole = deadline_us >> MIR__TICK_SHIFT;
    return whole << MIR__TICK_SHIFT == deadline_us ? whole : whole + 1;
}

/* Where a timer due at @tick, later than the wheel's, belongs. The answer does not change until
 * the wheel reaches the slot, so a timer can be found again to be taken out. */
static struct place place_of(const struct mir_loop *loop, uint64_t tick)
{
    MIR_ASSERT_OP(tick, >, loop->wheel_tick);
    unsigned highest_bit = 63u - (unsigned)__builtin_clzll(tick ^ loop->wheel_tick);
    unsigned level = highest_bit / SLOT_BITS;
    if (level > TOP)
        return (struct place){TOP, 0};
    return (struct place){level, (unsigned)(tick >> (level * SLOT_BITS)) & SLOT_MASK};
}

static void insert(struct mir_loop *loop, struct mir_timer *timer)
{
    uint64_t tick = due_tick(timer->deadline_us);
    if (tick <= loop->wheel_tick) {
        mir_list_push_back(&loop->expired, &timer->link);
        return;
    }
    struct place at = place_of(loop, tick);
    mir_list_push_back(&loop->wheel[at.level][at.slot], &timer->link);
    loop->wheel_map[at.level] |= 1ull << at.slot;
}

void mir_timer_init(struct mir_timer *timer, void (*fire)(void *arg), void *arg)
{
    *timer = (struct mir_timer){.fire = fire, .arg = arg};
    mir_list_init(&timer->link);
}

void mir_timer_cancel(struct mir_timer *timer)
{
    struct mir_loop *loop = timer->loop;
    if (loop == NULL)
        return;
    uint64_t tick = due_tick(timer->deadline_us);
    mir_list_remove(&timer->link);
    timer->loop = NULL;
    loop->timer_count--;
    if (tick <= loop->wheel_tick)
        return;
    /* From a slot, or from the expired list within its last tick: then the slot may be empty too,
     * and its bit is clear already. */
    struct place at = place_of(loop, tick);
    if (mir_list_is_empty(&loop->wheel[at.level][at.slot]))
        loop->wheel_map[at.level] &= ~(1ull << at.slot);
}

void mir_timer_set(struct mir_loop *loop, struct mir_timer *timer, mir_time_us deadline_us)
{
    mir_timer_cancel(timer);
    if (deadline_us == MIR_TIME_NEVER)
        return;
    timer->deadline_us = deadline_us;
    timer->loop = loop;
    loop->timer_count++;
    if (deadline_us <= loop->now_us)
        mir_list_push_back(&loop->expired, &timer->link);
    else
        insert(loop, timer);
}

void mir__wheel_init(struct mir_loop *loop, mir_time_us now_us)
{
    for (unsigned level = 0; level < MIR_WHEEL_LEVELS; level++) {
        for (unsigned slot = 0; slot < MIR_WHEEL_SLOTS; slot++)
            mir_list_init(&loop->wheel[level][slot]);
        loop->wheel_map[level] = 0;
    }
    mir_list_init(&loop->expired);
    loop->wheel_tick = now_us >> MIR__TICK_SHIFT;
}

/* The next slot in use and the tick at which it begins; false if no slot is in use. */
static bool find_next(const struct mir_loop *loop, struct place *at, uint64_t *tick)
{
    for (unsigned level = 0; level < MIR_WHEEL_LEVELS; level++) {
        uint64_t map = loop->wheel_map[level];
        unsigned shift = level * SLOT_BITS;
        if (level == TOP)
            map &= ~FAR_BIT;
        if (map == 0)
            continue;
        *at = (struct place){level, (unsigned)__builtin_ctzll(map)};
        uint64_t turn = loop->wheel_tick >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
        *tick = turn | (uint64_t)at->slot << shift;
        return true;
    }
    *at = (struct place){TOP, 0};
    *tick = ((loop->wheel_tick >> TURN_SHIFT) + 1) << TURN_SHIFT;
    return (loop->wheel_map[TOP] & FAR_BIT) != 0;
}

void mir__wheel_advance(struct mir_loop *loop, mir_time_us now_us)
{
    uint64_t now_tick = now_us >> MIR__TICK_SHIFT;
    struct place at;
    uint64_t tick;
    while (find_next(loop, &at, &tick) && tick <= now_tick) {
        struct mir_list *slot = &loop->wheel[at.level][at.slot];
        struct mir_list *node;
        MIR_ASSERT_OP(tick, >, loop->wheel_tick);
        loop->wheel_tick = tick;
        loop->wheel_map[at.level] &= ~(1ull << at.slot);
        /* Timers beyond the horizon can come back to the same slot, behind the mark. */
        mir_list_push_back(slot, &loop->mark);
        while ((node = mir_list_pop_front(slot)) != &loop->mark)
            insert(loop, MIR_CONTAINER_OF(node, struct mir_timer, link));
    }
    loop->wheel_tick = MIR_MAX(loop->wheel_tick, now_tick);
}

mir_time_us mir__wheel_next(const struct mir_loop *loop)
{
    struct place at;
    uint64_t tick;
    if (!find_next(loop, &at, &tick) || tick > MIR_TIME_NEVER >> MIR__TICK_SHIFT)
        return MIR_TIME_NEVER;
    return tick << MIR__TICK_SHIFT;
}

uint32_t mir__timers_fire(struct mir_loop *loop)
{
    struct mir_list *node;
    uint32_t fired = 0;
    /* What fire() adds comes behind the mark and waits for the next step. */
    mir_list_push_back(&loop->expired, &loop->mark);
    while ((node = mir_list_pop_front(&loop->expired)) != &loop->mark) {
        struct mir_timer *timer = MIR_CONTAINER_OF(node, struct mir_timer, link);
        timer->loop = NULL;
        loop->timer_count--;
        loop->timers_fired++;
        fired++;
        timer->fire(timer->arg);
    }
    return fired;
}
