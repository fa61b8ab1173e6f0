/* SPDX-License-Identifier: ISC */
/* lib/ring/xring: all interleavings of a front with several producers, a back that answers a packet
 * only when it has all of it (as Linux does), and their notifications.
 *
 * The producers share one thread, as they do in an appliance: which of them does what next is a
 * choice at every turn. The back is another processor: it may go on between any two accesses to the
 * shared page. Each packet must arrive whole, once, in the order in which slots were asked for;
 * nobody may sleep for ever; in the end every slot is free.
 *
 *   ring_explore [--all]
 */
#include <stdio.h>
#include <string.h>

#include "lib/ring/shared.h"
#include "lib/ring/xring.h"
#include "test/explore/explore.h"
#include "test/harness/tap.h"

#define SLOTS_MAX     8u
#define PRODUCERS_MAX 3u
#define PACKETS_MAX   3u /* of one producer */

/* What is explored: constant during a search. */
static struct {
    uint32_t slots, producers, start;
    uint8_t size[PRODUCERS_MAX][PACKETS_MAX]; /* slots of each packet; 0 ends the list */
    bool cancels;                             /* any packet may be given up */
    bool closes;                              /* the front may close at any moment */
    bool is_piecemeal; /* slots one by one, as the ancestors did: must go wrong */
} setup;

struct producer {
    struct mir__xring_ticket ticket;
    uint8_t at;   /* packet */
    uint8_t done; /* slots pushed one by one */
    bool is_waiting, is_held;
};

static struct {
    uint32_t page[16 + SLOTS_MAX];
    struct mir__xring front, back;
    uint8_t own[2][SLOTS_MAX];
    struct producer producer[PRODUCERS_MAX];
    uint8_t order[PRODUCERS_MAX * PACKETS_MAX]; /* packets in the order of their reservations */
    uint8_t ordered, arrived, unanswered;
    bool bell_front, bell_back, is_over;
} s;

/* An entry: producer, packet, part, slots of the packet. */
static uint32_t entry(uint32_t producer, uint32_t packet, uint32_t part, uint32_t count)
{
    return 1u << 31 | producer << 24 | packet << 16 | part << 8 | count;
}

static void begin(void)
{
    struct mir__xring_config config = {.shared = s.page,
                                       .bytes = 64 + setup.slots * 4,
                                       .entry_bytes = 4,
                                       .is_front = true,
                                       .own = s.own[0]};
    int r = mir__xring_init(&s.front, &config);
    config.is_front = false;
    config.own = s.own[1];
    r |= mir__xring_init(&s.back, &config);
    ex_must(r == 0, "init");
    uint32_t at = setup.start;
    s.front.reserved = s.front.committed = s.front.published = s.front.taken = s.front.seen = at;
    s.back.reserved = s.back.committed = s.back.published = s.back.taken = s.back.seen = at;
    s.page[0] = s.page[2] = at;
    s.page[1] = s.page[3] = at + 1;
}

/* ---- the front ----------------------------------------------------------------------------------
 */

static uint32_t size_of(const struct producer *p)
{
    return p->at < PACKETS_MAX ? setup.size[p - s.producer][p->at] : 0;
}

static void note_order(const struct producer *p)
{
    s.order[s.ordered++] = (uint8_t)((p - s.producer) << 4 | p->at);
}

static void forget(const struct producer *p)
{
    uint8_t what = (uint8_t)((p - s.producer) << 4 | p->at);
    uint8_t kept = s.arrived;
    for (uint8_t i = s.arrived; i < s.ordered; i++)
        if (s.order[i] != what)
            s.order[kept++] = s.order[i];
    memset(s.order + kept, 0, sizeof(s.order) - kept);
    s.ordered = kept;
}

static void on_ready(void *arg, struct mir__xring_ticket *ticket, int result)
{
    struct producer *p = arg;
    ex_must(ticket == &p->ticket, "another's ticket");
    p->is_waiting = false;
    p->is_held = result == 0;
    if (result != 0)
        forget(p);
}

static void next_packet(struct producer *p)
{
    p->is_held = p->is_waiting = false;
    p->done = 0;
    p->at++;
    memset(&p->ticket, 0, sizeof(p->ticket));
}

static void reserve(struct producer *p)
{
    uint32_t want = size_of(p), take = want > setup.slots ? 1 : want; /* linearised */
    mir__xring_ticket_init(&p->ticket, want, on_ready, p);
    int r = mir__xring_reserve(&s.front, &p->ticket);
    if (want > setup.slots) {
        ex_must(r == -MIR_ETOOBIG, "a packet that never fits was not refused");
        mir__xring_ticket_init(&p->ticket, take, on_ready, p);
        r = mir__xring_reserve(&s.front, &p->ticket);
    }
    ex_must(r == 0 || r == -MIR_EAGAIN, "reserve");
    p->is_held = r == 0;
    p->is_waiting = r == -MIR_EAGAIN;
    note_order(p);
}

static void fill(struct producer *p)
{
    uint32_t count = p->ticket.count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t e = entry((uint32_t)(p - s.producer), p->at, i, count);
        mir__xring_put(&s.front, &p->ticket, i, &e);
    }
    mir__xring_commit(&s.front, &p->ticket);
    next_packet(p);
    if (mir__xring_publish(&s.front))
        s.bell_back = true;
}

/* How it was done before: a slot whenever there is one. */
static bool push_one(struct producer *p)
{
    struct mir__xring_ticket ticket;
    mir__xring_ticket_init(&ticket, 1, NULL, NULL);
    if (mir__xring_reserve(&s.front, &ticket) != 0)
        return false;
    uint32_t e = entry((uint32_t)(p - s.producer), p->at, p->done, size_of(p));
    mir__xring_put(&s.front, &ticket, 0, &e);
    mir__xring_commit(&s.front, &ticket);
    if (p->done == 0)
        note_order(p);
    if (++p->done == size_of(p))
        next_packet(p);
    if (mir__xring_publish(&s.front))
        s.bell_back = true;
    return true;
}

static void hear(void)
{
    uint32_t e;
    while (mir__xring_take(&s.front, &e) == 0)
        ex_must(e == 7, "not an answer");
    ex_must(s.front.fault == 0, "the back seems to lie");
    mir__xring_grant(&s.front);
}

static bool can_act(const struct producer *p)
{
    if (setup.is_piecemeal)
        return size_of(p) > 0 && mir__xring_room(&s.front) > 0;
    return p->is_held || (!p->is_waiting && size_of(p) > 0);
}

static void act(struct producer *p)
{
    if (setup.is_piecemeal) {
        (void)push_one(p);
    } else if (!p->is_held) {
        reserve(p);
    } else if (setup.cancels && ex_choose(2) == 1) {
        mir__xring_cancel(&s.front, &p->ticket);
        forget(p);
        next_packet(p);
        mir__xring_grant(&s.front);
        if (mir__xring_publish(&s.front))
            s.bell_back = true;
    } else {
        fill(p);
    }
}

static bool is_everything_answered(void)
{
    for (unsigned i = 0; i < setup.producers; i++)
        if (size_of(&s.producer[i]) > 0)
            return false;
    return s.front.taken == s.front.published;
}

static unsigned find_able(struct producer **able)
{
    unsigned count = 0;
    for (unsigned i = 0; i < setup.producers; i++)
        if (can_act(&s.producer[i]))
            able[count++] = &s.producer[i];
    return count;
}

static void run_front(void)
{
    struct producer *able[PRODUCERS_MAX];
    while (!is_everything_answered()) {
        unsigned count = find_able(able);
        unsigned choice = ex_choose(count + 1u + (setup.closes ? 1u : 0u));
        if (choice < count) {
            act(able[choice]);
        } else if (choice > count) {
            mir__xring_close(&s.front);
            for (unsigned i = 0; i < setup.producers; i++) {
                ex_must(!s.producer[i].is_waiting, "a waiter was not told of the end");
                if (s.producer[i].is_held) {
                    mir__xring_cancel(&s.front, &s.producer[i].ticket);
                    forget(&s.producer[i]);
                }
            }
            if (mir__xring_publish(&s.front))
                s.bell_back = true;
            break;
        } else {
            hear();
            if (find_able(able) == 0 && !is_everything_answered() && !mir__xring_arm(&s.front))
                ex_sleep(&s.bell_front);
        }
    }
    s.is_over = true;
    s.bell_back = true;
}

/* ---- the back -----------------------------------------------------------------------------------
 */

static void judge(uint32_t first, uint32_t parts)
{
    ex_must(s.arrived < s.ordered, "a packet that nobody sent");
    uint8_t want = s.order[s.arrived++];
    ex_must(first == entry(want >> 4, want & 15u, 0, parts), "not the packet whose turn it is");
}

static void answer(uint32_t count)
{
    const uint32_t seven = 7;
    for (uint32_t i = 0; i < count; i++) {
        struct mir__xring_ticket ticket;
        mir__xring_ticket_init(&ticket, 1, NULL, NULL);
        ex_must(mir__xring_reserve(&s.back, &ticket) == 0, "no room for an answer");
        mir__xring_put(&s.back, &ticket, 0, &seven);
        mir__xring_commit(&s.back, &ticket);
    }
    if (mir__xring_publish(&s.back))
        s.bell_front = true;
}

static void run_back(void)
{
    uint32_t first = 0, parts = 0;
    for (;;) {
        uint32_t e;
        while (mir__xring_take(&s.back, &e) == 0) {
            first = parts == 0 ? e : first;
            ex_must(e == first + (parts << 8), "slots of two packets are mixed");
            if (++parts < (first & 0xffu))
                continue;
            judge(first, parts);
            answer(parts);
            first = parts = 0;
        }
        ex_must(s.back.fault == 0, "the front seems to lie");
        if (mir__xring_arm(&s.back))
            continue;
        if (s.is_over)
            break;
        ex_sleep(&s.bell_back);
    }
    ex_must(parts == 0, "half a packet at the end");
}

static void end(void)
{
    ex_must(s.arrived == s.ordered, "a packet was lost");
    ex_must(setup.closes || mir__xring_room(&s.front) == setup.slots, "a slot was lost");
}

/* Counters tell states apart that are the same. */
static void forget_counters(void)
{
    s.front.notifications = s.front.silences = s.front.waits = s.front.refused = 0;
    s.back.notifications = s.back.silences = s.back.waits = s.back.refused = 0;
    s.front.cancelled = 0;
}

/* ---- searches -----------------------------------------------------------------------------------
 */

static struct ex_model model = {.begin = begin,
                                .process = {run_front, run_back},
                                .end = end,
                                .tidy = forget_counters,
                                .state = &s,
                                .state_bytes = sizeof(s),
                                .states_max = 3000000};

static void explore(const char *what, uint32_t slots, uint32_t producers, const char *sizes)
{
    memset(setup.size, 0, sizeof(setup.size));
    setup.slots = slots;
    setup.producers = producers;
    unsigned producer = 0, packet = 0;
    for (const char *at = sizes; *at != '\0'; at++)
        if (*at == ',')
            producer++, packet = 0;
        else if (*at >= 'a')
            setup.size[producer][packet++] = (uint8_t)(*at - 'a' + 10);
        else
            setup.size[producer][packet++] = (uint8_t)(*at - '0');
    tap_case("%s: ring of %u, packets %s, %u stores may wait", what, slots, sizes, model.buffered);
    struct ex_result r = ex_explore(&model, true);
    check(r.wrong == NULL);
    check(r.is_whole);
    tap_note("%llu states, %llu steps, depth %u", (unsigned long long)r.states,
             (unsigned long long)r.steps, r.depth);
}

static void must_go_wrong(const char *what)
{
    tap_case("%s", what);
    struct ex_result r = ex_explore(&model, false);
    check(r.wrong != NULL);
    tap_note("after %llu states: %s", (unsigned long long)r.states, r.wrong);
}

int main(int argc, char **argv)
{
    bool is_all = argc > 1 && strcmp(argv[1], "--all") == 0;
    tap_begin("ring_explore");
    if (!ex_can()) {
        tap_case("all interleavings");
        tap_skip("stacks are switched on x86-64 only");
        return tap_done();
    }
    /* Sizes as one digit for each packet, a comma between producers; i is 18. */
    explore("one producer", 2, 1, "121");
    explore("two producers", 2, 2, "21,12");
    explore("larger than the ring", 2, 2, "i1,2i");
    explore("three producers", 4, 3, "31,4,2");
    setup.start = 0xfffffffe;
    explore("indices wrap around", 4, 2, "34,21");
    setup.start = 0;
    model.buffered = 2;
    explore("late stores", 2, 2, "2,11");
    explore("late stores", 4, 2, "3,21");
    model.buffered = 0;
    setup.cancels = true;
    explore("packets are given up", 4, 2, "21,31");
    setup.cancels = false;
    setup.closes = true;
    explore("the front closes", 2, 3, "2,1,2");
    setup.closes = false;
    if (is_all) {
        model.states_max = 12000000;
        explore("a ring of 8", 8, 2, "8i,53");
        explore("a ring of 8", 8, 3, "48,6,3");
        setup.cancels = true;
        explore("packets are given up", 4, 3, "2,31,1");
        explore("packets are given up", 8, 2, "52,41");
        setup.closes = true;
        explore("given up and closed", 4, 2, "31,22");
        setup.closes = setup.cancels = false;
        model.buffered = 4;
        explore("late stores", 4, 3, "31,2,4");
        explore("late stores", 8, 2, "73,5");
        setup.cancels = true;
        explore("late stores, given up", 4, 2, "31,2");
        setup.cancels = false;
        model.buffered = 0;
    }
    /* What the search finds when something is missing. */
    explore("before", 2, 2, "2,12");
    model.buffered = 2;
    model.no_fences = true;
    must_go_wrong("without fences a wake-up is lost");
    model.buffered = 0;
    model.no_fences = false;
    setup.is_piecemeal = true;
    must_go_wrong("slots pushed one by one: the deadlock of the ancestors, or mixed packets");
    return tap_done();
}
