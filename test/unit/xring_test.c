/* SPDX-License-Identifier: ISC */
/* lib/ring/xring: layout, reservations, cancelling, notifications, the end, peers that lie, and
 * long random runs of a front against a back, judged by what should have arrived. */
#include <stdlib.h>
#include <string.h>

#include <mirari/rng.h>

#include "lib/ring/xring.h"
#include "test/harness/tap.h"

#define PRODUCERS 6u

struct entry {
    uint32_t packet, part, count, check;
};

static uint8_t shared[4096] __attribute__((aligned(64)));
static uint8_t own_front[256], own_back[256];
static struct mir__xring front, back;

static uint32_t word(unsigned offset)
{
    uint32_t value;
    memcpy(&value, shared + offset, 4);
    return value;
}

static void set_word(unsigned offset, uint32_t value)
{
    memcpy(shared + offset, &value, 4);
}

static void setup(uint32_t slots, uint32_t packet_max)
{
    struct mir__xring_config config = {.shared = shared,
                                       .bytes = 64 + slots * sizeof(struct entry),
                                       .entry_bytes = sizeof(struct entry),
                                       .is_front = true,
                                       .packet_max = packet_max,
                                       .own = own_front};
    memset(shared, 0xa5, sizeof(shared));
    check_int(mir__xring_init(&front, &config), ==, 0);
    config.is_front = false;
    config.own = own_back;
    check_int(mir__xring_init(&back, &config), ==, 0);
}

static int push(struct mir__xring *ring, uint32_t packet, uint32_t count)
{
    struct mir__xring_ticket ticket;
    mir__xring_ticket_init(&ticket, count, NULL, NULL);
    int r = mir__xring_reserve(ring, &ticket);
    for (uint32_t i = 0; r == 0 && i < count; i++)
        mir__xring_put(ring, &ticket, i, &(struct entry){packet, i, count, ~packet});
    if (r == 0)
        mir__xring_commit(ring, &ticket);
    return r;
}

static int result_of_ready;
static unsigned readies;
static void on_ready(void *arg, struct mir__xring_ticket *ticket, int result)
{
    (void)ticket;
    (void)arg;
    result_of_ready = result;
    readies++;
}

static void test_layout(void)
{
    tap_case("slots are a power of two");
    check_int(mir__xring_slots(4096, 12), ==, 256);
    check_int(mir__xring_slots(4096, 8), ==, 256);
    check_int(mir__xring_slots(4096, 112), ==, 32);
    check_int(mir__xring_slots(64 + 2 * 12, 12), ==, 2);
    check_int(mir__xring_slots(64 + 12, 12), ==, 0);
    check_int(mir__xring_slots(63, 12), ==, 0);
    tap_case("an empty ring, as ring.h makes it");
    setup(4, 0);
    check_int(word(0), ==, 0);
    check_int(word(4), ==, 1);
    check_int(word(8), ==, 0);
    check_int(word(12), ==, 1);
    check_int(word(16) | word(60), ==, 0);
    tap_case("an entry on its way there and back");
    struct entry e;
    check_int(push(&front, 7, 1), ==, 0);
    check_int(word(0), ==, 0);
    check_int(mir__xring_take(&back, &e), ==, -MIR_EAGAIN);
    check(mir__xring_publish(&front));
    check_int(word(0), ==, 1);
    check_int(word(64), ==, 7);
    check_int(mir__xring_take(&back, &e), ==, 0);
    check_int(e.packet, ==, 7);
    check(!mir__xring_arm(&back));
    check_int(word(4), ==, 2);
    check_int(push(&back, 8, 1), ==, 0);
    check(mir__xring_publish(&back));
    check_int(word(8), ==, 1);
    check_int(mir__xring_take(&front, &e), ==, 0);
    check_int(e.packet, ==, 8);
    tap_case("impossible configurations");
    struct mir__xring_config bad = {
        .shared = shared, .bytes = 100, .entry_bytes = 64, .own = own_back};
    check_int(mir__xring_init(&back, &bad), ==, -MIR_EINVAL);
    bad.bytes = 4096;
    bad.entry_bytes = 6;
    check_int(mir__xring_init(&back, &bad), ==, -MIR_EINVAL);
    bad.entry_bytes = 8;
    bad.shared = shared + 4;
    check_int(mir__xring_init(&back, &bad), ==, -MIR_EINVAL);
}

static void test_reserve(void)
{
    struct mir__xring_ticket a, b, c;
    struct entry e;
    tap_case("more than the ring or the peer takes is refused at once");
    setup(8, 5);
    check_int(push(&front, 1, 6), ==, -MIR_ETOOBIG);
    check_int(push(&front, 1, 5), ==, 0);
    setup(4, 18);
    check_int(push(&front, 1, 5), ==, -MIR_ETOOBIG);
    tap_case("nothing of a packet is seen before all before it are complete");
    setup(8, 0);
    mir__xring_ticket_init(&a, 2, NULL, NULL);
    check_int(mir__xring_reserve(&front, &a), ==, 0);
    check_int(push(&front, 2, 3), ==, 0);
    check(!mir__xring_publish(&front));
    check_int(word(0), ==, 0);
    mir__xring_put(&front, &a, 0, &(struct entry){.packet = 1});
    mir__xring_put(&front, &a, 1, &(struct entry){.packet = 1, .part = 1});
    mir__xring_commit(&front, &a);
    check(mir__xring_publish(&front));
    check_int(word(0), ==, 5);
    for (uint32_t i = 0; i < 5; i++) {
        check_int(mir__xring_take(&back, &e), ==, 0);
        check_int(e.packet, ==, i < 2 ? 1 : 2);
        check_int(e.part, ==, i < 2 ? i : i - 2);
    }
    tap_case("a small packet does not overtake a large one that waits");
    setup(8, 0);
    check_int(push(&front, 1, 6), ==, 0);
    readies = 0;
    mir__xring_ticket_init(&a, 8, on_ready, NULL);
    mir__xring_ticket_init(&b, 1, on_ready, NULL);
    check_int(mir__xring_reserve(&front, &a), ==, -MIR_EAGAIN);
    check_int(mir__xring_room(&front), ==, 0);
    check_int(mir__xring_reserve(&front, &b), ==, -MIR_EAGAIN);
    check_int(push(&front, 9, 1), ==, -MIR_EAGAIN);
    (void)!mir__xring_publish(&front);
    for (uint32_t i = 0; i < 6; i++) {
        mir__xring_grant(&front);
        check_int(readies, ==, 0);
        check_int(mir__xring_take(&back, &e), ==, 0);
        check_int(push(&back, i, 1), ==, 0);
        (void)!mir__xring_publish(&back);
        check_int(mir__xring_take(&front, &e), ==, 0);
    }
    mir__xring_grant(&front);
    check_int(readies, ==, 1);
    check_int(a.count, ==, 8);
    tap_case("and then it has its slots, and the other one waits on");
    mir__xring_cancel(&front, &a);
    mir__xring_grant(&front);
    check_int(readies, ==, 2);
    mir__xring_cancel(&front, &b);
    check_int(mir__xring_room(&front), ==, 8);
    tap_case("a packet that is cancelled leaves no gap");
    for (uint32_t lap = 0; lap < 20; lap++) {
        setup(8, 0);
        for (uint32_t i = 0; i < lap % 8; i++) { /* so that the gap lies across the end, too */
            check_int(push(&front, 0, 1), ==, 0);
            (void)!mir__xring_publish(&front);
            check_int(mir__xring_take(&back, &e), ==, 0);
            check_int(push(&back, 0, 1), ==, 0);
            (void)!mir__xring_publish(&back);
            check_int(mir__xring_take(&front, &e), ==, 0);
        }
        mir__xring_ticket_init(&a, 3, NULL, NULL);
        mir__xring_ticket_init(&b, 1 + lap % 2, NULL, NULL);
        mir__xring_ticket_init(&c, 1, NULL, NULL);
        check_int(mir__xring_reserve(&front, &a), ==, 0);
        check_int(mir__xring_reserve(&front, &b), ==, 0);
        check_int(push(&front, 5, 2), ==, 0);
        check_int(mir__xring_reserve(&front, &c), ==, 0);
        mir__xring_put(&front, &c, 0, &(struct entry){.packet = 6});
        mir__xring_cancel(&front, &a);
        mir__xring_cancel(&front, &b);
        mir__xring_commit(&front, &c);
        (void)!mir__xring_publish(&front);
        for (uint32_t i = 0; i < 3; i++) {
            check_int(mir__xring_take(&back, &e), ==, 0);
            check_int(e.packet, ==, i < 2 ? 5 : 6);
        }
        check_int(mir__xring_take(&back, &e), ==, -MIR_EAGAIN);
        check_int(mir__xring_room(&front), ==, 5);
    }
    tap_case("the number that wait is limited, and those that wait are told of the end");
    setup(2, 0);
    front.waiting_max = 2;
    readies = 0;
    check_int(push(&front, 1, 2), ==, 0);
    mir__xring_ticket_init(&a, 1, on_ready, NULL);
    mir__xring_ticket_init(&b, 1, on_ready, NULL);
    mir__xring_ticket_init(&c, 1, on_ready, NULL);
    check_int(mir__xring_reserve(&front, &a), ==, -MIR_EAGAIN);
    check_int(mir__xring_reserve(&front, &b), ==, -MIR_EAGAIN);
    check_int(mir__xring_reserve(&front, &c), ==, -MIR_ELIMIT);
    mir__xring_close(&front);
    mir__xring_close(&front);
    check_int(readies, ==, 2);
    check_int(result_of_ready, ==, -MIR_ECANCELED);
    check_int(mir__xring_reserve(&front, &c), ==, -MIR_ECLOSED);
}

static void test_lies(void)
{
    struct mir__xring_ticket a;
    struct entry e;
    static const uint32_t wrong[] = {3, 9, 0x80000000u, 0xffffffffu};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        tap_case("a back that answers %u requests of 2", wrong[i]);
        setup(8, 0);
        check_int(push(&front, 1, 2), ==, 0);
        (void)!mir__xring_publish(&front);
        readies = 0;
        mir__xring_ticket_init(&a, 8, on_ready, NULL);
        check_int(mir__xring_reserve(&front, &a), ==, -MIR_EAGAIN);
        set_word(8, wrong[i]);
        check_int(mir__xring_take(&front, &e), ==, -MIR_EPROTO);
        check_int(front.fault, ==, MIR__XRING_FAULT_INDEX);
        set_word(8, 1);
        check_int(mir__xring_take(&front, &e), ==, -MIR_EPROTO);
        mir__xring_grant(&front);
        check_int(readies, ==, 1);
        check_int(result_of_ready, ==, -MIR_ECANCELED);
        check_int(push(&front, 1, 1), ==, -MIR_EPROTO);
        check(mir__xring_arm(&front));
    }
    tap_case("a front that asks for more than the ring has");
    setup(8, 0);
    set_word(0, 9);
    check_int(mir__xring_take(&back, &e), ==, -MIR_EPROTO);
    setup(8, 0);
    set_word(0, 8);
    for (unsigned i = 0; i < 8; i++)
        check_int(mir__xring_take(&back, &e), ==, 0);
    set_word(0, 9); /* nothing was answered */
    check_int(mir__xring_take(&back, &e), ==, -MIR_EPROTO);
    tap_case("an index that goes backwards");
    setup(8, 0);
    set_word(0, 5);
    check_int(mir__xring_take(&back, &e), ==, 0);
    set_word(0, 3);
    for (unsigned i = 1; i < 5; i++) /* what was seen is taken */
        check_int(mir__xring_take(&back, &e), ==, 0);
    check_int(mir__xring_take(&back, &e), ==, -MIR_EPROTO);
    setup(8, 0);
    set_word(0, 5);
    check(mir__xring_arm(&back));
    set_word(0, 3);
    check(mir__xring_arm(&back));
    check_int(back.fault, ==, MIR__XRING_FAULT_BACK);
    tap_case("our own index is not read back");
    setup(8, 0);
    check_int(push(&front, 1, 2), ==, 0);
    (void)!mir__xring_publish(&front);
    set_word(0, 77);
    check_int(push(&front, 2, 2), ==, 0);
    (void)!mir__xring_publish(&front);
    check_int(word(0), ==, 4);
}

/* ---- long runs ----------------------------------------------------------------------------------
 */

struct producer {
    struct mir__xring_ticket ticket;
    uint32_t packet; /* 0: idle */
    bool is_held;
};

struct run {
    struct mir_rng rng;
    struct producer producer[PRODUCERS];
    uint32_t next_packet;
    uint32_t order[100000], ordered,
        arrived; /* packets in the order in which slots were asked for */
    uint32_t part, count;
    uint32_t owed; /* requests that the back has not answered */
    bool bell_front, bell_back, sleeps_front, sleeps_back;
};

static struct run run;

static void got_slots(void *arg, struct mir__xring_ticket *ticket, int result)
{
    struct producer *p = arg;
    check_int(result, ==, 0);
    check(ticket == &p->ticket);
    p->is_held = true;
}

/* A packet that was cancelled will not arrive. */
static void forget(uint32_t packet)
{
    for (uint32_t i = run.arrived; i < run.ordered; i++)
        if (run.order[i] == packet)
            run.order[i] = 0;
}

static void produce(struct producer *p)
{
    if (p->packet == 0) {
        uint32_t count = 1 + mir_rng_below(&run.rng, 12);
        mir__xring_ticket_init(&p->ticket, count, got_slots, p);
        p->is_held = false;
        int r = mir__xring_reserve(&front, &p->ticket);
        if (r == -MIR_ETOOBIG) {
            check_int(count, >, front.packet_max);
            return;
        }
        check(r == 0 || r == -MIR_EAGAIN);
        p->is_held = r == 0;
        p->packet = ++run.next_packet;
        run.order[run.ordered++] = p->packet;
    } else if (mir_rng_below(&run.rng, 10) == 0) {
        mir__xring_cancel(&front, &p->ticket);
        forget(p->packet);
        p->packet = 0;
        mir__xring_grant(&front);
    } else if (p->is_held) {
        for (uint32_t i = 0; i < p->ticket.count; i++)
            mir__xring_put(&front, &p->ticket, i,
                           &(struct entry){p->packet, i, p->ticket.count, ~p->packet});
        mir__xring_commit(&front, &p->ticket);
        p->packet = 0;
        run.bell_back |= mir__xring_publish(&front);
    }
}

static void receive(void)
{
    struct entry e;
    while (mir__xring_take(&back, &e) == 0) {
        if (run.part == 0) {
            while (run.order[run.arrived] == 0)
                run.arrived++;
            run.count = e.count;
        }
        check_int(e.packet, ==, run.order[run.arrived]);
        check_int(e.check, ==, ~e.packet);
        check_int(e.part, ==, run.part);
        check_int(e.count, ==, run.count);
        run.part = (run.part + 1) % run.count;
        run.arrived += run.part == 0;
        run.owed++;
    }
    run.sleeps_back = !mir__xring_arm(&back);
}

static void answer(void)
{
    for (uint32_t n = mir_rng_below(&run.rng, 5); run.owed > 0 && n > 0; n--, run.owed--)
        check_int(push(&back, 1, 1), ==, 0);
    run.bell_front |= mir__xring_publish(&back);
}

static void hear(void)
{
    struct entry e;
    while (mir__xring_take(&front, &e) == 0)
        check_int(e.packet, ==, 1);
    mir__xring_grant(&front);
    run.sleeps_front = !mir__xring_arm(&front);
}

/* Each side runs only if it is awake: a lost notification stops everything. */
static void test_run(uint64_t seed, uint32_t slots, uint32_t start)
{
    tap_case("slots %u, indices from %x", slots, start);
    memset(&run, 0, sizeof(run));
    mir_rng_init_u64(&run.rng, seed);
    setup(slots, 0);
    front.reserved = front.committed = front.published = front.taken = front.seen = start;
    back.reserved = back.committed = back.published = back.taken = back.seen = start;
    set_word(0, start);
    set_word(4, start + 1);
    set_word(8, start);
    set_word(12, start + 1);
    unsigned idle = 0;
    while (run.ordered < 3000 && idle < 10000) {
        uint32_t before = run.ordered;
        switch (mir_rng_below(&run.rng, 5)) {
        case 0:
        case 1:
            produce(&run.producer[mir_rng_below(&run.rng, PRODUCERS)]);
            break;
        case 2:
            if (run.bell_back || !run.sleeps_back) {
                run.bell_back = false;
                receive();
            }
            break;
        case 3:
            answer();
            break;
        default:
            if (run.bell_front || !run.sleeps_front) {
                run.bell_front = false;
                hear();
            }
        }
        idle = run.ordered != before ? 0 : idle + 1;
    }
    check_int(run.ordered, ==, 3000);
    check(slots < 8 || front.waits > 0);
    check_int(front.fault | back.fault, ==, 0);
}

int main(int argc, char **argv)
{
    tap_begin("xring");
    uint64_t seed = tap_seed(argc, argv, 1);
    test_layout();
    test_reserve();
    test_lies();
    test_run(seed, 2, 0);
    test_run(seed + 1, 4, 0xffffff00u);
    test_run(seed + 2, 8, 0);
    test_run(seed + 3, 16, 0xfffff000u);
    test_run(seed + 4, 64, 0x7ffffff0u);
    return tap_done();
}
