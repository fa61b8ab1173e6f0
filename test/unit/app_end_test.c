/* SPDX-License-Identifier: ISC */
/* How an appliance ends: order of hooks, their limits, the limit of the whole, leases, statuses. */
#include <mirari/app.h>
#include <string.h>

#include "test/harness/tap.h"

static struct mir_loop loop;
static struct mir_app app;
static mir_time_us now_us;
static char story[200];
static int status;
static unsigned finishes;
static mir_time_us guarded_us;

/* What is left behind keeps its stack. */
static uint8_t memory[48][64 << 10] MIR_ALIGNED(4096);
static bool is_taken[MIR_ARRAY_LEN(memory)];

static void *acquire(void *arg, size_t size, size_t *usable)
{
    (void)arg, (void)size;
    for (size_t i = 0; i < MIR_ARRAY_LEN(memory); i++) {
        if (is_taken[i])
            continue;
        is_taken[i] = true;
        *usable = sizeof memory[i];
        return memory[i];
    }
    return NULL;
}

static void release(void *arg, void *base, size_t usable)
{
    (void)arg, (void)usable;
    is_taken[((uint8_t *)base - memory[0]) / sizeof memory[0]] = false;
}

static const struct mir_stack_source stacks = {.acquire = acquire, .release = release};

static void finish(struct mir_app *a, int s)
{
    (void)a;
    status = s;
    finishes++;
}

static void guard(struct mir_app *a, mir_time_us us)
{
    (void)a;
    guarded_us = us;
}

static void settle(void)
{
    mir_time_us deadline;
    do
        (void)mir_loop_step(&loop, now_us, &deadline);
    while (deadline <= now_us);
}

static void advance(mir_time_us us)
{
    for (mir_time_us end_us = now_us + us; now_us < end_us; settle())
        now_us += 10 * MIR_US_PER_MS;
}

/* An appliance that returns when it is asked to, @late_us after that. */
static mir_time_us late_us;
static struct mir_wait never;
static bool has_gone; /* it returned before it was asked to */

static void main_task(void *arg)
{
    (void)arg;
    while (!app.is_stopping && mir_wait_on(&loop, &app.stop_asked, MIR_TIME_NEVER) == 0)
        continue;
    if (has_gone)
        return;
    strcat(story, "M");
    if (late_us != 0)
        (void)mir_task_sleep(&loop, now_us + late_us);
    mir__app_returned(&app, 3);
}

static void begin(const struct mir__app_end_config *more)
{
    struct mir__app_end_config config = *more;
    now_us = 10 * MIR_US_PER_S;
    mir_loop_init(&loop, now_us);
    mir_wait_init(&never);
    app = (struct mir_app){.loop = &loop, .stacks = &stacks};
    config.finish = finish;
    config.guard = guard;
    guarded_us = 0;
    mir__app_end_init(&app, &config);
    story[0] = '\0';
    status = -1;
    finishes = 0;
    has_gone = false;
    late_us = 0;
    check_int(mir_app_spawn(&app, "main", main_task, NULL), ==, 0);
    settle();
}

static void say(struct mir_app *a, void *arg)
{
    (void)a;
    strcat(story, arg);
}

static void wait_a_second(struct mir_app *a, void *arg)
{
    strcat(story, arg);
    (void)mir_task_sleep(a->loop, mir_loop_now(a->loop) + MIR_US_PER_S);
    strcat(story, arg);
}

static void hang(struct mir_app *a, void *arg)
{
    strcat(story, arg);
    if (mir_wait_on(a->loop, &never, MIR_TIME_NEVER) == -MIR_ECANCELED)
        strcat(story, "!");
}

static void test_order(void)
{
    struct mir_app_hook
        a = {.name = "a", .run = say, .arg = (char[]){"a"}, .when = MIR_APP_AFTER_STOP},
        b = {.name = "b",
             .run = wait_a_second,
             .arg = (char[]){"b"},
             .order = 1,
             .when = MIR_APP_AFTER_STOP},
        c = {.name = "c",
             .run = say,
             .arg = (char[]){"c"},
             .order = -5,
             .when = MIR_APP_AFTER_STOP},
        d = {.name = "d", .run = say, .arg = (char[]){"d"}, .when = MIR_APP_AFTER_STOP},
        e = {.name = "e", .run = wait_a_second, .arg = (char[]){"e"}},
        f = {.name = "f", .run = say, .arg = (char[]){"f"}, .when = MIR_APP_AFTER_STOP};
    struct mir_app_hook *all[] = {&a, &b, &c, &d, &e, &f};
    tap_case("hooks run in order, before and after the appliance, one after another");
    begin(&(struct mir__app_end_config){.lease_us = 0});
    for (size_t i = 0; i < MIR_ARRAY_LEN(all); i++)
        mir_app_add_hook(&app, all[i]);
    mir_app_remove_hook(&f);
    check_str(mir_app_end_reason(&app), "");
    check(mir_app_shutdown(&app, MIR_APP_END_SIGNAL));
    check(!mir_app_shutdown(&app, MIR_APP_END_CONTROL));
    check_str(mir_app_end_reason(&app), "signal");
    settle();
    check_str(story, "e");
    check(!app.is_stopping);
    advance(1100 * MIR_US_PER_MS);
    check_str(story, "eeMcdab"); /* of equals the last added first */
    check_int(finishes, ==, 0);
    advance(1100 * MIR_US_PER_MS);
    check_str(story, "eeMcdabb");
    check_int(finishes, ==, 1);
    check_int(status, ==, 3);
    tap_case("an appliance that returns by itself has its hooks run, too");
    begin(&(struct mir__app_end_config){.lease_us = 0});
    mir_app_add_hook(&app, &a);
    mir_app_add_hook(&app, &e);
    has_gone = true;
    mir__app_returned(&app, 7);
    check_str(mir_app_end_reason(&app), "returned");
    advance(1100 * MIR_US_PER_MS);
    check_int(status, ==, 7);
    check(strstr(story, "a") != NULL && strstr(story, "ee") != NULL);
    tap_case("without hooks the end is at once");
    begin(&(struct mir__app_end_config){.lease_us = 0});
    (void)mir_app_shutdown(&app, MIR_APP_END_CONTROL);
    check(app.is_stopping);
    settle();
    check_int(finishes, ==, 1);
    check_int(status, ==, 3);
}

static void test_limits(void)
{
    struct mir_app_hook h = {.name = "h", .run = hang, .arg = (char[]){"h"}},
                        k = {.name = "k",
                             .run = hang,
                             .arg = (char[]){"k"},
                             .limit_us = MIR_US_PER_S,
                             .when = MIR_APP_AFTER_STOP};
    tap_case("a hook that hangs is told to end and left behind: 5 s, or its own limit");
    begin(&(struct mir__app_end_config){.lease_us = 0});
    mir_app_add_hook(&app, &h);
    mir_app_add_hook(&app, &k);
    (void)mir_app_shutdown(&app, MIR_APP_END_SIGNAL);
    check_int(guarded_us, ==, 32 * MIR_US_PER_S);
    advance(4900 * MIR_US_PER_MS);
    check_str(story, "h");
    advance(200 * MIR_US_PER_MS);
    check_str(story, "h!Mk");
    advance(1100 * MIR_US_PER_MS);
    check_str(story, "h!Mk!");
    check_int(finishes, ==, 1);
    check_int(status, ==, 3); /* the appliance's own, for it is not 0 */
    tap_case("an appliance that returned 0 and left something behind ends with 75");
    begin(&(struct mir__app_end_config){.lease_us = 0});
    mir_app_add_hook(&app, &k);
    has_gone = true;
    mir__app_returned(&app, 0);
    advance(1100 * MIR_US_PER_MS);
    check_int(status, ==, MIR_APP_EXIT_FORCED);
    tap_case("the whole has a limit: an appliance that does not return is left behind");
    begin(&(struct mir__app_end_config){.has_limit = true, .limit_us = 3 * MIR_US_PER_S});
    late_us = 3600 * MIR_US_PER_S;
    (void)mir_app_shutdown(&app, MIR_APP_END_POWER_BUTTON);
    check_int(guarded_us, ==, 5 * MIR_US_PER_S);
    advance(2900 * MIR_US_PER_MS);
    check_int(finishes, ==, 0);
    advance(200 * MIR_US_PER_MS);
    check_int(finishes, ==, 1);
    check_int(status, ==, MIR_APP_EXIT_FORCED);
    tap_case("so is a hook that hangs longer than the whole may take");
    begin(&(struct mir__app_end_config){.has_limit = true, .limit_us = 2 * MIR_US_PER_S});
    mir_app_add_hook(&app, &h);
    (void)mir_app_shutdown(&app, MIR_APP_END_SIGNAL);
    advance(2100 * MIR_US_PER_MS);
    check_int(status, ==, MIR_APP_EXIT_FORCED);
    tap_case("limit 0: as long as it likes, and no guard");
    begin(&(struct mir__app_end_config){.has_limit = true});
    late_us = 100 * MIR_US_PER_S;
    (void)mir_app_shutdown(&app, MIR_APP_END_SIGNAL);
    advance(99 * MIR_US_PER_S);
    check_int(finishes, ==, 0);
    check_int(guarded_us, ==, 0);
    advance(2 * MIR_US_PER_S);
    check_int(status, ==, 3);
}

static void test_lease(void)
{
    tap_case("a lease ends the appliance in order; the guard comes after it");
    begin(&(struct mir__app_end_config){.lease_us = 60 * MIR_US_PER_S});
    check_int(guarded_us, ==, 92 * MIR_US_PER_S);
    advance(59 * MIR_US_PER_S);
    check_int(finishes, ==, 0);
    advance(2 * MIR_US_PER_S);
    check_int(status, ==, 3);
    check_str(mir_app_end_reason(&app), "lease");
}

int main(void)
{
    tap_begin("app_end");
    test_order();
    test_limits();
    test_lease();
    return tap_done();
}
