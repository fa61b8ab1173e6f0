/* SPDX-License-Identifier: ISC */
/* The loop: order of work, budget, hooks, running with a driver. */
#include <string.h>

#include <mirari/run.h>

#include "test/harness/tap.h"

static struct mir_loop loop;
static char trace[64];
static size_t traced;

static void setup(void)
{
    mir_loop_init(&loop, 1000000);
    memset(trace, 0, sizeof trace);
    traced = 0;
}

static void note(void *arg)
{
    if (traced + 1 < sizeof trace)
        trace[traced++] = *(const char *)arg;
}

static bool step(mir_time_us *next)
{
    return mir_loop_step(&loop, mir_loop_now(&loop), next);
}

static void test_work(void)
{
    mir_time_us next;
    struct mir_work a, b, c;

    tap_case("work runs in the order posted, once however often it was posted");
    setup();
    mir_work_init(&a, note, (void *)(uintptr_t) "a");
    mir_work_init(&b, note, (void *)(uintptr_t) "b");
    mir_work_init(&c, note, (void *)(uintptr_t) "c");
    mir_loop_post(&loop, &b);
    mir_loop_post(&loop, &a);
    mir_loop_post(&loop, &b);
    mir_loop_post(&loop, &c);
    check(step(&next));
    check_str(trace, "bac");
    check_int(next, ==, (long long)MIR_TIME_NEVER);
    check(!step(&next));

    tap_case("canceled work does not run; canceling twice is harmless");
    setup();
    mir_loop_post(&loop, &a);
    mir_loop_post(&loop, &b);
    mir_work_cancel(&a);
    mir_work_cancel(&a);
    check(step(&next));
    check_str(trace, "b");
    mir_work_cancel(&b);
}

static struct mir_work endless;
static uint64_t endless_runs;

static void run_endless(void *arg)
{
    (void)arg;
    endless_runs++;
    mir_loop_post(&loop, &endless);
}

static struct mir_work victim, killer;

static void kill_victim(void *arg)
{
    note(arg);
    mir_work_cancel(&victim);
}

static void test_budget(void)
{
    mir_time_us next;
    tap_case("work that posts itself for ever ends with the budget and is taken up again");
    setup();
    mir_work_init(&endless, run_endless, NULL);
    endless_runs = 0;
    mir_loop_post(&loop, &endless);
    check(step(&next));
    check_int(endless_runs, ==, 1 + MIR_LOOP_BUDGET);
    check_int(next, ==, (long long)mir_loop_now(&loop));
    check(step(&next));
    check_int(endless_runs, ==, 2 * (1 + MIR_LOOP_BUDGET));
    check_int(loop.works, ==, (long long)endless_runs);

    tap_case("everything that was ready before the step runs in it, whatever the budget");
    enum { COUNT = 3 * MIR_LOOP_BUDGET };
    static struct mir_work many[COUNT];
    setup();
    for (int i = 0; i < COUNT; i++) {
        mir_work_init(&many[i], note, (void *)(uintptr_t) "x");
        mir_loop_post(&loop, &many[i]);
    }
    check(step(&next));
    check_int(loop.works, ==, COUNT);
    check_int(next, ==, (long long)MIR_TIME_NEVER);

    tap_case("work cancels work that is ready in the same step");
    setup();
    mir_work_init(&victim, note, (void *)(uintptr_t) "v");
    mir_work_init(&killer, kill_victim, (void *)(uintptr_t) "k");
    mir_loop_post(&loop, &killer);
    mir_loop_post(&loop, &victim);
    check(step(&next));
    check_str(trace, "k");
}

static struct mir_step_hook hook_h, hook_i;
static struct mir_work from_hook;

static void hook_posts(void *arg)
{
    note(arg);
    if (traced < 3)
        mir_loop_post(&loop, &from_hook);
}

static void hook_leaves(void *arg)
{
    note(arg);
    mir_loop_remove_step_hook(&hook_i);
}

static void test_hooks(void)
{
    mir_time_us next;
    struct mir_work a;
    tap_case("hooks run at the end of a step in which something ran, and only then");
    setup();
    hook_h = (struct mir_step_hook){.run = hook_posts, .arg = (void *)(uintptr_t) "h"};
    hook_i = (struct mir_step_hook){.run = hook_leaves, .arg = (void *)(uintptr_t) "i"};
    mir_work_init(&from_hook, note, (void *)(uintptr_t) "p");
    mir_work_init(&a, note, (void *)(uintptr_t) "a");
    mir_loop_add_step_hook(&loop, &hook_i);
    mir_loop_add_step_hook(&loop, &hook_h);
    check(!step(&next));
    check_str(trace, "");
    mir_loop_post(&loop, &a);
    check(step(&next));
    check_str(trace, "aih");

    tap_case("work posted by a hook is left for the next step, and the deadline says so");
    traced = 0;
    memset(trace, 0, sizeof trace);
    mir_loop_post(&loop, &a);
    check(step(&next));
    check_str(trace, "ah");
    check_int(next, ==, (long long)mir_loop_now(&loop));
    check(step(&next));
    check_str(trace, "ahph");
    mir_loop_remove_step_hook(&hook_h);
}

/* A driver whose clock moves when it sleeps. */
struct driver {
    mir_time_us now;
    mir_time_us slept[16];
    int sleeps;
    struct mir_timer *late_timer;
};

static mir_time_us driver_now(void *arg)
{
    return ((struct driver *)arg)->now;
}

static void driver_wait(void *arg, mir_time_us deadline_us)
{
    struct driver *d = arg;
    if (d->sleeps < 16)
        d->slept[d->sleeps++] = deadline_us;
    if (deadline_us > d->now && deadline_us != MIR_TIME_NEVER)
        d->now = deadline_us;
    if (deadline_us == MIR_TIME_NEVER)
        mir_loop_stop(&loop, -1); /* nothing would ever end the test */
    if (d->late_timer != NULL) {
        /* A device event after a long sleep: the timer counts from now, not from the last step. */
        d->now += 10 * MIR_US_PER_S;
        mir_loop_set_now(&loop, d->now);
        mir_timer_set(&loop, d->late_timer, mir_loop_now(&loop) + 200000);
        d->late_timer = NULL;
    }
}

static mir_time_us fired_at;

static void stop_loop(void *arg)
{
    fired_at = mir_loop_now(&loop);
    mir_loop_stop(&loop, *(int *)arg);
}

static void test_run(void)
{
    int status = 7;
    struct driver d = {.now = 1000000};
    struct mir_loop_driver driver = {driver_now, driver_wait, &d};
    struct mir_timer timer;

    tap_case("run sleeps until the timer and returns the status of stop");
    setup();
    mir_timer_init(&timer, stop_loop, &status);
    mir_timer_set(&loop, &timer, 1020480);
    check_int(mir_loop_run(&loop, &driver), ==, 7);
    check_int(fired_at, ==, 1020928); /* 997 ticks: the first that is not early */
    check_int(d.slept[d.sleeps - 1], ==, 1020928);

    tap_case("stop before run returns at once; then the loop runs again");
    mir_loop_stop(&loop, 3);
    d.sleeps = 0;
    check_int(mir_loop_run(&loop, &driver), ==, 3);
    check_int(d.sleeps, ==, 0);
    mir_timer_set(&loop, &timer, d.now);
    check_int(mir_loop_run(&loop, &driver), ==, 7);

    tap_case("time of an event outside a step: a timer set there counts from it");
    setup();
    d = (struct driver){.now = 1000000, .late_timer = &timer};
    struct mir_work tick;
    mir_work_init(&tick, note, (void *)(uintptr_t) "t");
    mir_timer_init(&timer, stop_loop, &status);
    struct mir_timer idle;
    mir_timer_init(&idle, note, (void *)(uintptr_t) "i");
    mir_timer_set(&loop, &idle, 3000000);
    check_int(mir_loop_run(&loop, &driver), ==, 7);
    check_int(fired_at, >=, 1000000 + 10 * MIR_US_PER_S + 200000);

    tap_case("time never goes back");
    setup();
    mir_time_us next;
    mir_loop_step(&loop, 5000000, &next);
    mir_loop_step(&loop, 4000000, &next);
    check_int(mir_loop_now(&loop), ==, 5000000);
    mir_loop_set_now(&loop, 1);
    check_int(mir_loop_now(&loop), ==, 5000000);
}

int main(void)
{
    tap_begin("run_loop");
    test_work();
    test_budget();
    test_hooks();
    test_run();
    return tap_done();
}
