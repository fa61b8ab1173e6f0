/* SPDX-License-Identifier: ISC */
/* The timer wheel: against a model at random, over long jumps, changed while it fires. */
#include <stdlib.h>
#include <string.h>

#include <mirari/rng.h>
#include <mirari/run.h>

#include "test/harness/tap.h"

#define TICK   1024ull
#define MINUTE (60 * MIR_US_PER_S)
#define HOUR   (60 * MINUTE)

static struct mir_loop loop;

/* A timer and what the model knows of it. */
struct probe {
    struct mir_timer timer;
    mir_time_us deadline; /* 0: not set */
    mir_time_us set_at;
    int fired;
    mir_time_us fired_at;
    struct probe *on_fire_cancel;
    struct probe *on_fire_set;
    mir_time_us on_fire_deadline;
};

static mir_time_us step_from; /* time of the step before */
static uint32_t violations;

static void violate(bool ok, const char *what, const struct probe *p)
{
    if (!ok && violations++ < 5)
        tap_note("%s: deadline %llu now %llu step before %llu", what,
                 (unsigned long long)p->deadline, (unsigned long long)mir_loop_now(&loop),
                 (unsigned long long)step_from);
}

static void set(struct probe *p, mir_time_us deadline)
{
    p->deadline = deadline;
    p->set_at = mir_loop_now(&loop);
    mir_timer_set(&loop, &p->timer, deadline);
}

static void cancel(struct probe *p)
{
    p->deadline = 0;
    mir_timer_cancel(&p->timer);
}

static void fire(void *arg)
{
    struct probe *p = arg;
    violate(p->deadline != 0, "fired though not set", p);
    violate(mir_loop_now(&loop) >= p->deadline, "early", p);
    violate(step_from < p->deadline + TICK || p->set_at >= step_from, "late", p);
    violate(!mir_timer_is_set(&p->timer), "set while it fires", p);
    p->fired++;
    p->fired_at = mir_loop_now(&loop);
    p->deadline = 0;
    if (p->on_fire_cancel != NULL)
        cancel(p->on_fire_cancel);
    if (p->on_fire_set != NULL)
        set(p->on_fire_set, p->on_fire_deadline);
}

static void init(struct probe *p)
{
    *p = (struct probe){.deadline = 0};
    mir_timer_init(&p->timer, fire, p);
}

static mir_time_us step(mir_time_us now)
{
    mir_time_us next;
    step_from = mir_loop_now(&loop);
    mir_loop_step(&loop, now, &next);
    return next;
}

static void test_basics(void)
{
    struct probe p;
    tap_case("a timer fires once, never early, at most a tick late");
    for (mir_time_us start = 1000000; start < 1000000 + 2 * TICK; start += 171) {
        for (mir_time_us delay = 1; delay < 3 * TICK; delay += 97) {
            mir_loop_init(&loop, start);
            init(&p);
            set(&p, start + delay);
            step(start + delay - 1);
            check_int(p.fired, ==, 0);
            step(start + delay + TICK - 1);
            check_int(p.fired, ==, 1);
            step(start + delay + 10 * TICK);
            check_int(p.fired, ==, 1);
        }
    }
    check_int(loop.timer_count, ==, 0);

    tap_case("a deadline of now or in the past fires in the next step");
    mir_loop_init(&loop, 5000000);
    init(&p);
    set(&p, 4999999);
    check_int(p.fired, ==, 0);
    step(5000000);
    check_int(p.fired, ==, 1);
    set(&p, 0);
    p.deadline = 1; /* the model takes 0 for "not set" */
    step(5000000);
    check_int(p.fired, ==, 2);

    tap_case("set again: earlier, later, same");
    mir_loop_init(&loop, 5000000);
    init(&p);
    set(&p, 9000000);
    set(&p, 6000000);
    step(6000000 + TICK);
    check_int(p.fired, ==, 1);
    set(&p, 7000000);
    set(&p, 8000000);
    set(&p, 8000000);
    check_int(loop.timer_count, ==, 1);
    step(7900000);
    check_int(p.fired, ==, 1);
    step(8000000 + TICK);
    check_int(p.fired, ==, 2);

    tap_case("canceled timers do not fire; cancel is harmless on any timer");
    set(&p, 9000000);
    cancel(&p);
    cancel(&p);
    check(!mir_timer_is_set(&p.timer));
    check_int(step(20000000), ==, (long long)MIR_TIME_NEVER);
    check_int(p.fired, ==, 2);
    set(&p, 30000000);
    mir_timer_set(&loop, &p.timer, MIR_TIME_NEVER);
    check(!mir_timer_is_set(&p.timer));
    check_int(loop.timer_count, ==, 0);
}

static void test_inside_fire(void)
{
    struct probe p, q;
    tap_case("a firing timer cancels one that is due in the same step");
    mir_loop_init(&loop, 1000000);
    init(&p);
    init(&q);
    p.on_fire_cancel = &q;
    set(&p, 2000000);
    set(&q, 2000000);
    step(3000000);
    check_int(p.fired, ==, 1);
    check_int(q.fired, ==, 0);
    check_int(loop.timer_count, ==, 0);

    tap_case("a timer that sets itself to the past fires once a step");
    mir_loop_init(&loop, 1000000);
    init(&p);
    p.on_fire_set = &p;
    p.on_fire_deadline = 5;
    set(&p, 1500000);
    check_int(step(2000000), ==, 2000000);
    check_int(p.fired, ==, 1);
    check_int(step(2000000), ==, 2000000);
    check_int(p.fired, ==, 2);
    cancel(&p);

    tap_case("a firing timer moves one that is due in the same step to later");
    mir_loop_init(&loop, 1000000);
    init(&p);
    init(&q);
    p.on_fire_set = &q;
    p.on_fire_deadline = 4000000;
    set(&p, 2000000);
    set(&q, 2000000);
    step(3000000);
    check_int(q.fired, ==, 0);
    step(4000000 + TICK);
    check_int(q.fired, ==, 1);
}

static uint32_t order[64];
static uint32_t order_count;

static void fire_in_order(void *arg)
{
    order[order_count++ % 64] = (uint32_t)(uintptr_t)arg;
}

static void test_order(void)
{
    struct mir_timer timers[64];
    tap_case("timers of one deadline fire in the order in which they were set");
    mir_loop_init(&loop, 1000000);
    order_count = 0;
    for (uint32_t i = 0; i < 64; i++) {
        mir_timer_init(&timers[i], fire_in_order, (void *)(uintptr_t)i);
        /* Half of them from far away, so that they have cascaded. */
        mir_timer_set(&loop, &timers[i], 1000000 + 2 * HOUR);
        if (i == 31)
            step(1000000 + 2 * HOUR - 5 * TICK);
    }
    step(1000000 + 2 * HOUR + TICK);
    check_int(order_count, ==, 64);
    for (uint32_t i = 0; i < 64; i++)
        check_int(order[i], ==, i);

    tap_case("timers fire in order of time after a long jump");
    mir_loop_init(&loop, 1000000);
    order_count = 0;
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t k = i * 37 % 64;
        mir_timer_init(&timers[k], fire_in_order, (void *)(uintptr_t)k);
        mir_timer_set(&loop, &timers[k], 1000000 + (k + 1) * 7 * MINUTE);
    }
    step(1000000 + 100 * HOUR);
    check_int(order_count, ==, 64);
    for (uint32_t i = 0; i < 64; i++)
        check_int(order[i], ==, i);
}

static void test_horizon(void)
{
    const mir_time_us year = 366ull * 24 * HOUR;
    struct probe p, q, r;

    tap_case("timers beyond the horizon of the wheel fire at their time");
    const mir_time_us starts[] = {1, 3 * year, (1ull << 46) - 5, (1ull << 46) + 5};
    for (size_t i = 0; i < MIR_ARRAY_LEN(starts); i++) {
        mir_loop_init(&loop, starts[i]);
        init(&p);
        init(&q);
        init(&r);
        set(&p, starts[i] + 3 * year);
        set(&q, starts[i] + 9 * year);
        set(&r, starts[i] + 10);
        uint32_t steps = 0;
        mir_time_us next = step(starts[i]);
        while (next != MIR_TIME_NEVER && steps++ < 1000)
            next = step(next);
        check_int(r.fired, ==, 1);
        check_int(p.fired, ==, 1);
        check_int(q.fired, ==, 1);
        check_int(p.fired_at - (starts[i] + 3 * year), <, TICK);
        check_int(q.fired_at - (starts[i] + 9 * year), <, TICK);
        check_int(steps, <, 40);
        check_int(loop.timer_count, ==, 0);
    }

    tap_case("a far timer is canceled without a trace");
    mir_loop_init(&loop, 1000000);
    init(&p);
    set(&p, 20 * year);
    cancel(&p);
    check_int(step(1000000), ==, (long long)MIR_TIME_NEVER);

    tap_case("a deadline just below never does not wrap around");
    set(&p, MIR_TIME_NEVER - 1);
    step(2000000);
    check_int(p.fired, ==, 0);
    step(1000 * year);
    check_int(p.fired, ==, 0);
    cancel(&p);
    check_int(loop.timer_count, ==, 0);
}

static void test_jump_cost(void)
{
    tap_case("a jump of ten years over an empty wheel and over a few timers takes no time");
    struct probe p[16];
    mir_loop_init(&loop, 1000000);
    for (int i = 0; i < 16; i++) {
        init(&p[i]);
        set(&p[i], 1000000 + (1ull << (4 + 2 * i)) * TICK);
    }
    /* 3 * 10^11 ticks: one by one this would not end within the life of the test. */
    check_int(step(10 * 366ull * 24 * HOUR), ==, (long long)MIR_TIME_NEVER);
    for (int i = 0; i < 16; i++)
        check_int(p[i].fired, ==, 1);
}

static void test_next_deadline(void)
{
    struct probe p;
    tap_case("the deadline is never later than the timer needs, and few steps lead to it");
    for (unsigned bit = 0; bit < 48; bit++) {
        mir_loop_init(&loop, 123456789);
        init(&p);
        mir_time_us deadline = 123456789 + (1ull << bit) + bit * 1000;
        set(&p, deadline);
        int steps = 0;
        for (mir_time_us now = 123456789; p.fired == 0 && steps < 20; steps++) {
            mir_time_us next = step(now);
            if (p.fired)
                break;
            check_int(next, >, (long long)now);
            check_int(next, <, (long long)(deadline + TICK));
            now = next;
        }
        check_int(p.fired, ==, 1);
        check_int(p.fired_at - deadline, <, TICK);
        check_int(steps, <=, MIR_WHEEL_LEVELS + 1);
    }
}

#define PROBES 200

static mir_time_us random_delay(struct mir_rng *rng)
{
    uint64_t scale = 1ull << mir_rng_below(rng, 40);
    return mir_rng_u64(rng) % scale;
}

static mir_time_us random_advance(struct mir_rng *rng)
{
    switch (mir_rng_below(rng, 8)) {
    case 0:
        return 0;
    case 1:
        return random_delay(rng); /* up to days */
    default:
        return mir_rng_below(rng, 20000);
    }
}

static void change_one(struct mir_rng *rng, struct probe *probes)
{
    struct probe *p = &probes[mir_rng_below(rng, PROBES)];
    mir_time_us now = mir_loop_now(&loop);
    if (mir_rng_below(rng, 4) == 0)
        cancel(p);
    else
        set(p,
            mir_rng_below(rng, 20) == 0 ? now - mir_rng_below(rng, 5000) : now + random_delay(rng));
    p->on_fire_cancel = NULL;
    p->on_fire_set = NULL;
    if (mir_rng_below(rng, 10) == 0)
        p->on_fire_cancel = &probes[mir_rng_below(rng, PROBES)];
    if (mir_rng_below(rng, 10) == 0) {
        p->on_fire_set = &probes[mir_rng_below(rng, PROBES)];
        p->on_fire_deadline = now + random_delay(rng);
    }
}

/* After a step at @now: nothing that is due since a tick ago may sleep. */
static void check_model(struct probe *probes, mir_time_us now, mir_time_us next)
{
    uint32_t count = 0;
    for (int i = 0; i < PROBES; i++) {
        struct probe *p = &probes[i];
        if (p->deadline == 0)
            continue;
        count++;
        violate(next <= MIR_MAX(now, p->deadline + TICK - 1), "the loop would sleep too long", p);
        violate(mir_timer_is_set(&p->timer), "lost", p);
    }
    violate(count == loop.timer_count, "count", &probes[0]);
}

static void test_random(uint64_t seed)
{
    static struct probe probes[PROBES];
    struct mir_rng rng;
    uint64_t fired = 0;
    tap_case("random sets, cancels and jumps agree with a model");
    mir_rng_init_u64(&rng, seed);
    violations = 0;
    for (int round = 0; round < 60; round++) {
        mir_time_us now = 1000000 + mir_rng_u64(&rng) % (1ull << 47);
        mir_loop_init(&loop, now);
        for (int i = 0; i < PROBES; i++)
            init(&probes[i]);
        for (int i = 0; i < 400; i++) {
            for (uint32_t n = mir_rng_below(&rng, 12); n > 0; n--)
                change_one(&rng, probes);
            now += random_advance(&rng);
            mir_time_us next = step(now);
            check_model(probes, now, next);
        }
        fired += loop.timers_fired;
    }
    check_int(violations, ==, 0);
    check_int(fired, >, 10000);
    tap_note("%llu timers fired", (unsigned long long)fired);
}

/* Stepping at exactly the times the loop asks for, each timer fires within a tick. */
static void test_random_driven(uint64_t seed)
{
    static struct probe probes[PROBES];
    struct mir_rng rng;
    mir_rng_init_u64(&rng, seed + 1);
    tap_case("stepped at the deadlines it asks for, the wheel is at most a tick late");
    for (int round = 0; round < 40; round++) {
        static mir_time_us deadlines[PROBES];
        mir_time_us now = 1000000 + mir_rng_u64(&rng) % (1ull << 46);
        mir_loop_init(&loop, now);
        for (int i = 0; i < PROBES; i++) {
            init(&probes[i]);
            deadlines[i] = now + 1 + random_delay(&rng);
            set(&probes[i], deadlines[i]);
        }
        mir_time_us next = step(now);
        while (next != MIR_TIME_NEVER)
            next = step(next);
        for (int i = 0; i < PROBES; i++) {
            check_int(probes[i].fired, ==, 1);
            check_int(probes[i].fired_at, >=, (long long)deadlines[i]);
            check_int(probes[i].fired_at - deadlines[i], <, TICK);
        }
    }
}

int main(int argc, char **argv)
{
    tap_begin("run_timer");
    uint64_t seed = tap_seed(argc, argv, 1);
    test_basics();
    test_inside_fire();
    test_order();
    test_horizon();
    test_jump_cost();
    test_next_deadline();
    test_random(seed);
    test_random_driven(seed);
    return tap_done();
}
