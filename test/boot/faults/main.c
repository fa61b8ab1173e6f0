/* SPDX-License-Identifier: ISC */
/* What a machine must report, survive or do, one thing a run.
 *
 *   status   end with --status            deep     300 KiB of stack, all of it used
 *   read     read of address 0x10         burst    one array of 200 KiB, touched from its low end
 *   write    write to it                  tasks    200 tasks, each with 12 KiB of its stack used
 *   call     call of address 0            clock    wall and monotonic time, around a sleep
 *   code     write to our own code        idle     wait until asked to end
 *   data     run what is data             stubborn the same, but the end is not heard
 *   stack    recursion without an end     spin     never wait for anything
 *   double   a fault with no handler      smash    overrun a buffer on the stack
 *   invalid  an instruction that is none  assert   an assertion that does not hold
 *   aligned  vector registers across a stack that grows
 */
#include <mirari/format.h>
#include <mirari/mirari.h>

static volatile uintptr_t zero;
static int tasks_done;

static __attribute__((noinline)) int recurse(int depth)
{
    volatile char room[1024];
    room[zero] = (char)depth;
    if (zero == 1 || depth == 0)
        return room[zero];
    return recurse(depth - 1) + room[zero];
}

static __attribute__((noinline)) int burst(void)
{
    volatile char room[200 << 10];
    for (size_t i = 0; i < sizeof room; i += 512)
        room[i] = 1;
    int sum = 0;
    for (size_t i = 0; i < sizeof room; i += 512)
        sum += room[i];
    return sum == (int)(sizeof room / 512) ? 0 : 1;
}

/* The sum is in a vector register when the pages below are touched for the first time. */
static __attribute__((noinline)) int aligned(void)
{
    volatile char room[64 << 10];
    double sum = 0.5;
    for (size_t i = sizeof room; i > 0; i -= 4096) {
        room[i - 4096] = 1;
        sum = sum * 0.5 + room[i - 4096];
    }
    return sum > 1.9 && sum < 2.0 ? 0 : 1;
}

static __attribute__((noinline)) int overrun(void)
{
    volatile char room[16];
    volatile char *at = room;
    for (size_t i = 0; i < 64 + zero; i++)
        at[i] = 'x';
    return room[3];
}

static void use_stack(void *arg)
{
    struct mir_app *app = arg;
    (void)recurse(11);
    mir_task_yield(app->loop);
    tasks_done++;
}

static int run_tasks(struct mir_app *app)
{
    for (unsigned round = 0; round < 2; round++) {
        tasks_done = 0;
        for (unsigned i = 0; i < 200; i++) {
            if (mir_app_spawn(app, "worker", use_stack, app) < 0)
                return 1;
        }
        while (tasks_done < 200)
            mir_task_yield(app->loop);
    }
    return 0;
}

static int show_clock(struct mir_app *app)
{
    mir_time_us wall_us = app->clock->wall(app->clock), us = app->clock->monotonic(app->clock);
    if (mir_task_sleep(app->loop, us + 300 * MIR_US_PER_MS) < 0)
        return 1;
    mir_app_print(app, "wall %llu slept %llu\n", (unsigned long long)(wall_us / MIR_US_PER_S),
                  (unsigned long long)(app->clock->monotonic(app->clock) - us));
    return 0;
}

static void double_fault(void)
{
#if defined(__x86_64__)
    /* Entries up to that of the double fault are there, that of the page fault is not. */
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) table;
    __asm__ volatile("sidt %0" : "=m"(table));
    table.limit = 9 * 16 - 1;
    __asm__ volatile("lidt %0; movq %1, %%rax; movb $1, (%%rax)" : : "m"(table), "m"(zero) : "rax");
#endif
}

static int fail(const char *mode)
{
    static const uint32_t data[4] = {0};
    if (mir_str_equal(mode, "read"))
        return *(volatile int *)(zero + 0x10);
    if (mir_str_equal(mode, "write"))
        *(volatile int *)(zero + 0x10) = 1;
    else if (mir_str_equal(mode, "call"))
        ((void (*)(void))zero)();
    else if (mir_str_equal(mode, "code"))
        *(volatile int *)(uintptr_t)mir_app_main = 1;
    else if (mir_str_equal(mode, "data"))
        ((void (*)(void))(uintptr_t)data)();
    else if (mir_str_equal(mode, "stack"))
        return recurse(-1);
    else if (mir_str_equal(mode, "double"))
        double_fault();
    else if (mir_str_equal(mode, "invalid"))
        __builtin_trap();
    else if (mir_str_equal(mode, "smash"))
        return overrun();
    else if (mir_str_equal(mode, "assert"))
        MIR_ASSERT_OP(zero, ==, 1);
    return 63;
}

static int wait(struct mir_app *app, const char *mode)
{
    mir_app_print(app, "ready\n");
    if (mir_str_equal(mode, "spin")) {
        while (zero == 0)
            ;
    }
    mir_app_wait_stop(app);
    mir_app_print(app, "asked\n");
    while (mir_str_equal(mode, "stubborn")) {
        if (mir_task_sleep(app->loop, mir_loop_now(app->loop) + MIR_US_PER_S) < 0)
            break;
    }
    return 0;
}

int mir_app_main(struct mir_app *app)
{
    const char *mode = mir_app_string(app, "mode");
    if (mir_str_equal(mode, "status"))
        return (int)mir_app_int(app, "status");
    if (mir_str_equal(mode, "deep"))
        return recurse(300) == 1 ? 1 : 0;
    if (mir_str_equal(mode, "burst"))
        return burst();
    if (mir_str_equal(mode, "aligned"))
        return aligned();
    if (mir_str_equal(mode, "tasks"))
        return run_tasks(app);
    if (mir_str_equal(mode, "clock"))
        return show_clock(app);
    if (mir_str_equal(mode, "idle") || mir_str_equal(mode, "stubborn") ||
        mir_str_equal(mode, "spin"))
        return wait(app, mode);
    return fail(mode);
}
