/* SPDX-License-Identifier: ISC */
/* Tasks: order, sleep, cancel, waits, and the life of their stacks. */
#include <fenv.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unwind.h>

#include <mirari/format.h>
#include <mirari/rng.h>
#include <mirari/run.h>

#include "test/harness/stacks.h"
#include "test/harness/tap.h"

static struct mir_loop loop;
static struct test_stacks stacks;
static struct mir_wait place;
static char trace[400];

static void setup(void)
{
    mir_loop_init(&loop, 1000000);
    test_stacks_init(&stacks, 1u << 20);
    mir_wait_init(&place);
    trace[0] = '\0';
}

static void note(const char *text)
{
    strncat(trace, text, sizeof trace - strlen(trace) - 1);
}

static struct mir_task *spawn(const char *name, void (*entry)(void *arg))
{
    struct mir_task *task = NULL;
    check_int(mir_task_spawn(&loop, &stacks.source, name, 0, entry, (void *)(uintptr_t)name, &task),
              ==, 0);
    return task;
}

/* Step at the times the loop asks for, until nothing is left or @end_us. */
static void run_until(mir_time_us end_us)
{
    mir_time_us next = mir_loop_now(&loop);
    while (next <= end_us)
        mir_loop_step(&loop, next, &next);
}

static void run_once(void)
{
    mir_time_us next;
    mir_loop_step(&loop, mir_loop_now(&loop), &next);
}

static void nothing_left(void)
{
    check_int(loop.task_count, ==, 0);
    check_int(loop.timer_count, ==, 0);
    check_int(stacks.used, ==, 0);
    check(loop.current == NULL);
    check(mir_list_is_empty(&loop.ready));
}

static void yielding(void *arg)
{
    for (int i = 0; i < 3; i++) {
        note(arg);
        mir_task_yield(&loop);
    }
    note(".");
}

static void naming(void *arg)
{
    check(mir_task_current(&loop) != NULL);
    check_str(mir_task_name(mir_task_current(&loop)), arg);
}

static void test_order(void)
{
    tap_case("tasks take turns in the order in which they were started");
    setup();
    spawn("a", yielding);
    spawn("b", yielding);
    spawn("c", yielding);
    check_int(loop.task_count, ==, 3);
    check_str(trace, "");
    run_until(mir_loop_now(&loop));
    check_str(trace, "abcabcabc...");
    check_int(loop.task_switches, ==, 12);
    nothing_left();

    tap_case("a task knows itself; a callback is no task");
    setup();
    check(mir_task_current(&loop) == NULL);
    check_str(mir_task_name(spawn("me", naming)), "me");
    run_until(mir_loop_now(&loop));
    nothing_left();

    tap_case("no stack is an error, not a task");
    setup();
    stacks.limit = 0;
    check_int(mir_task_spawn(&loop, &stacks.source, "x", 0, naming, NULL, NULL), ==, -MIR_ENOMEM);
    nothing_left();
}

static mir_time_us woke_at;
static int woke_status;

static void sleeping(void *arg)
{
    (void)arg;
    woke_status = mir_task_sleep(&loop, mir_loop_now(&loop) + 50000);
    woke_at = mir_loop_now(&loop);
}

static void sleeping_forever(void *arg)
{
    (void)arg;
    woke_status = mir_task_sleep(&loop, MIR_TIME_NEVER);
    note("awake ");
    if (mir_task_sleep(&loop, 0) == -MIR_ECANCELED)
        note("again");
    if (mir_wait_on(&loop, &place, MIR_TIME_NEVER) == -MIR_ECANCELED)
        note(" again");
}

static void sleeping_in_past(void *arg)
{
    note("1");
    check_int(mir_task_sleep(&loop, 5), ==, 0);
    note("3");
    (void)arg;
}

static void noting(void *arg)
{
    note(arg);
}

static void test_sleep_and_cancel(void)
{
    tap_case("sleep ends at its time, at most a tick late");
    setup();
    mir_time_us start = mir_loop_now(&loop);
    woke_at = 0;
    spawn("s", sleeping);
    run_until(start + MIR_US_PER_S);
    check_int(woke_status, ==, 0);
    check_int(woke_at, >=, start + 50000);
    check_int(woke_at, <, start + 50000 + 1024);
    nothing_left();

    tap_case("sleep until a time that has passed lets others run and comes back");
    setup();
    spawn("s", sleeping_in_past);
    spawn("2", noting);
    run_until(mir_loop_now(&loop));
    check_str(trace, "123");
    nothing_left();

    tap_case("cancel ends this wait and later ones");
    setup();
    struct mir_task *task = spawn("s", sleeping_forever);
    run_until(mir_loop_now(&loop));
    check_int(loop.task_count, ==, 1);
    mir_task_cancel(task);
    check_str(trace, "");
    run_until(mir_loop_now(&loop));
    check_int(woke_status, ==, -MIR_ECANCELED);
    check_str(trace, "awake again again");
    nothing_left();

    tap_case("cancel before the first run shows at the first wait");
    setup();
    mir_task_cancel(spawn("s", sleeping));
    run_until(mir_loop_now(&loop));
    check_int(woke_status, ==, -MIR_ECANCELED);
    nothing_left();
}

static int wait_results[8];
static int wait_ended;

static void waiting(void *arg)
{
    (void)arg;
    int r = mir_wait_on(&loop, &place, mir_loop_now(&loop) + 100000);
    wait_results[wait_ended++] = r;
    note(mir_task_name(mir_task_current(&loop)));
}

static void wake_then_wait(void *arg)
{
    (void)arg;
    mir_wait_wake_one(&place);
    note("W");
    waiting(NULL);
}

static void spawn_waiters(void)
{
    setup();
    wait_ended = 0;
    spawn("a", waiting);
    spawn("b", waiting);
    spawn("c", waiting);
    run_once();
}

static void test_wait(void)
{
    tap_case("wake_one wakes the one that has waited longest");
    spawn_waiters();
    mir_wait_wake_one(&place);
    run_once();
    check_str(trace, "a");
    check_int(wait_results[0], ==, 0);
    mir_wait_wake_all(&place);
    run_once();
    check_str(trace, "abc");
    check_int(wait_results[1], ==, 0);
    check_int(wait_results[2], ==, 0);
    nothing_left();

    tap_case("a wait ends at its deadline");
    spawn_waiters();
    mir_time_us start = mir_loop_now(&loop);
    run_until(start + 100000 - 1);
    check_str(trace, "");
    run_until(start + 100000 + 1024);
    check_str(trace, "abc");
    check_int(wait_results[1], ==, -MIR_ETIMEDOUT);
    check(mir_list_is_empty(&place.waiters));
    nothing_left();

    tap_case("a wake-up is not lost on a task that was canceled");
    setup();
    wait_ended = 0;
    struct mir_task *a = spawn("a", waiting);
    spawn("b", waiting);
    run_once();
    mir_task_cancel(a);
    mir_wait_wake_one(&place);
    run_once();
    check_str(trace, "ab");
    check_int(wait_results[0], ==, -MIR_ECANCELED);
    check_int(wait_results[1], ==, 0);
    nothing_left();

    tap_case("a task woken first and canceled then has been woken");
    setup();
    wait_ended = 0;
    a = spawn("a", waiting);
    run_once();
    mir_wait_wake_one(&place);
    mir_task_cancel(a);
    run_once();
    check_int(wait_results[0], ==, 0);
    nothing_left();

    tap_case("a task wakes another");
    setup();
    wait_ended = 0;
    spawn("a", waiting);
    spawn("b", wake_then_wait);
    run_once();
    check_str(trace, "Wa");
    mir_wait_wake_one(&place);
    run_until(mir_loop_now(&loop));
    check_str(trace, "Wab");
    nothing_left();

    tap_case("waking nobody is harmless");
    setup();
    mir_wait_wake_one(&place);
    mir_wait_wake_all(&place);
    nothing_left();
}

#define MANY 10000

static uint32_t many_ended;

static void short_life(void *arg)
{
    uint32_t n = (uint32_t)(uintptr_t)arg;
    if (mir_task_sleep(&loop, mir_loop_now(&loop) + n % 977 * 1000) == 0)
        many_ended++;
}

static void test_many(void)
{
    tap_case("%d tasks begin and end, every stack comes back", MANY);
    setup();
    many_ended = 0;
    uint32_t most = 0;
    /* In batches: a process may have 65,530 mappings, and each stack here is two. */
    for (uint32_t i = 0; i < MANY; i++) {
        check_int(mir_task_spawn(&loop, &stacks.source, "short", 16384, short_life,
                                 (void *)(uintptr_t)i, NULL),
                  ==, 0);
        most = MIR_MAX(most, stacks.used);
        if (i % 2000 == 1999)
            run_until(mir_loop_now(&loop) + 300000);
    }
    run_until(mir_loop_now(&loop) + 2 * MIR_US_PER_S);
    check_int(many_ended, ==, MANY);
    check_int(stacks.acquired, ==, MANY);
    check_int(most, >, 1000);
    nothing_left();
}

/* The stack of an ended task must not be in use when it is released: the test source unmaps it, so
 * a task that released its own stack would crash here. */
static void test_release_is_from_the_loop(void)
{
    tap_case("a task's stack is released after the task has left it");
    setup();
    struct mir_task *task = spawn("a", noting);
    run_once();
    check(stacks.last_released != NULL);
    check((char *)task > (char *)stacks.last_released);
    check((char *)task < (char *)stacks.last_released + 65536);
    nothing_left();
}

static void spawning(void *arg)
{
    uintptr_t depth = (uintptr_t)arg;
    if (depth > 0)
        check_int(
            mir_task_spawn(&loop, &stacks.source, "child", 0, spawning, (void *)(depth - 1), NULL),
            ==, 0);
    note("+");
}

static void test_nested_spawn(void)
{
    tap_case("tasks start tasks");
    setup();
    check_int(mir_task_spawn(&loop, &stacks.source, "p", 0, spawning, (void *)9, NULL), ==, 0);
    run_until(mir_loop_now(&loop));
    check_str(trace, "++++++++++");
    nothing_left();
}

/* Values in callee-saved registers and on the stack across many switches, in several tasks at once:
 * a register that is not saved would mix the sums. */
static uint64_t sums[4];

static void summing(void *arg)
{
    unsigned id = (unsigned)(uintptr_t)arg;
    uint64_t a = id, b = id * 3 + 1, c = id * 5 + 2, d = id * 7 + 3, e = id * 11 + 4;
    double x = 1.0 + id;
    struct mir_rng rng;
    mir_rng_init_u64(&rng, id);
    for (int i = 0; i < 200; i++) {
        a = a * 31 + b;
        b = (b << 7 | b >> 57) ^ c;
        c += d * 2654435761u;
        d ^= e + mir_rng_u64(&rng);
        e = e * 6364136223846793005u + 1;
        x = x * 1.0000001 + (double)(e & 0xff);
        mir_task_yield(&loop);
    }
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    sums[id % 4] = a ^ b ^ c ^ d ^ e ^ bits;
}

static void test_registers(void)
{
    tap_case("registers and stacks of tasks do not mix");
    uint64_t alone[4];
    for (unsigned id = 0; id < 4; id++) {
        setup();
        check_int(
            mir_task_spawn(&loop, &stacks.source, "sum", 0, summing, (void *)(uintptr_t)id, NULL),
            ==, 0);
        run_until(mir_loop_now(&loop));
        alone[id] = sums[id];
    }
    memset(sums, 0, sizeof sums);
    setup();
    for (unsigned id = 0; id < 4; id++)
        check_int(
            mir_task_spawn(&loop, &stacks.source, "sum", 0, summing, (void *)(uintptr_t)id, NULL),
            ==, 0);
    run_until(mir_loop_now(&loop));
    for (unsigned id = 0; id < 4; id++)
        check(sums[id] == alone[id]);
    nothing_left();
}

static int rounding_seen[2];
static double thirds[3];

/* The control word alone is not enough: x86 has two, and arithmetic obeys the other. */
static double third(void)
{
    volatile double one = 1.0, three = 3.0;
    return one / three;
}

static void rounding_up(void *arg)
{
    (void)arg;
    fesetround(FE_UPWARD);
    mir_task_yield(&loop);
    rounding_seen[0] = fegetround();
    thirds[0] = third();
}

static void rounding_default(void *arg)
{
    (void)arg;
    mir_task_yield(&loop);
    rounding_seen[1] = fegetround();
    thirds[1] = third();
}

static void test_fp_control(void)
{
    tap_case("the floating-point rounding mode belongs to the task");
    setup();
    spawn("up", rounding_up);
    spawn("default", rounding_default);
    run_until(mir_loop_now(&loop));
    check_int(rounding_seen[0], ==, FE_UPWARD);
    check_int(rounding_seen[1], ==, FE_TONEAREST);
    check_int(fegetround(), ==, FE_TONEAREST);
    thirds[2] = third();
    check(thirds[1] == thirds[2]);
    check(thirds[0] > thirds[1]);
    nothing_left();
}

static void aligned(void *arg)
{
    (void)arg;
    char text[64] MIR_ALIGNED(64);
    /* A vector store to the stack faults if the first frame is misaligned. */
    volatile __attribute__((vector_size(16))) int v = {1, 2, 3, 4};
    snprintf(text, sizeof text, "%d %.1f", v[2], 1.5);
    check_str(text, "3 1.5");
    check_int((uintptr_t)text % 64, ==, 0);
}

static void test_alignment(void)
{
    tap_case("a task's first frame is aligned for vector code");
    setup();
    spawn("v", aligned);
    run_until(mir_loop_now(&loop));
    nothing_left();
}

/* A semaphore of permits, takers with random deadlines, random wake-ups and cancellations. */
#define TAKERS 40

static struct mir_rng dice;
static uint32_t permits, taken, timeouts, cancels, waiting_now, wrong;
static struct mir_task *takers[TAKERS];

static void taking(void *arg)
{
    uint32_t me = (uint32_t)(uintptr_t)arg;
    for (;;) {
        mir_time_us deadline = mir_rng_below(&dice, 3) == 0
                                   ? MIR_TIME_NEVER
                                   : mir_loop_now(&loop) + mir_rng_below(&dice, 20000);
        while (permits == 0) {
            waiting_now++;
            int r = mir_wait_on(&loop, &place, deadline);
            waiting_now--;
            if (r == -MIR_ETIMEDOUT) {
                timeouts++;
                wrong += mir_loop_now(&loop) < deadline;
                deadline = MIR_TIME_NEVER;
            } else if (r == -MIR_ECANCELED) {
                cancels++;
                takers[me] = NULL;
                return;
            }
        }
        permits--;
        taken++;
        if (mir_rng_below(&dice, 4) == 0)
            mir_task_yield(&loop);
        else if (mir_rng_below(&dice, 4) == 0 &&
                 mir_task_sleep(&loop, mir_loop_now(&loop) + mir_rng_below(&dice, 5000)) != 0) {
            cancels++;
            takers[me] = NULL;
            return;
        }
    }
}

static void taker_begin(uint32_t at)
{
    check_int(mir_task_spawn(&loop, &stacks.source, "taker", 16384, taking, (void *)(uintptr_t)at,
                             &takers[at]),
              ==, 0);
}

static void test_random_waits(uint64_t seed)
{
    tap_case("random waits, wake-ups, timeouts and cancels: no wake-up is lost, no task stays");
    setup();
    mir_rng_init_u64(&dice, seed);
    permits = taken = timeouts = cancels = wrong = waiting_now = 0;
    uint32_t given = 0, stuck = 0;
    for (uint32_t i = 0; i < TAKERS; i++)
        taker_begin(i);
    mir_time_us now = mir_loop_now(&loop), next;
    for (int round = 0; round < 20000; round++) {
        for (uint32_t n = mir_rng_below(&dice, 4); n > 0; n--) {
            permits++;
            given++;
            mir_wait_wake_one(&place);
        }
        uint32_t at = mir_rng_below(&dice, TAKERS);
        if (mir_rng_below(&dice, 10) == 0 && takers[at] != NULL)
            mir_task_cancel(takers[at]);
        else if (takers[at] == NULL)
            taker_begin(at);
        now += mir_rng_below(&dice, 1500);
        mir_loop_step(&loop, now, &next);
        /* All that is ready has run: whoever still waits does so because there is nothing. */
        while (next <= now)
            mir_loop_step(&loop, now, &next);
        stuck += permits > 0 && waiting_now > 0;
    }
    check_int(stuck, ==, 0);
    check_int(wrong, ==, 0);
    check_int(taken + permits, ==, given);
    check_int(timeouts, >, 100);
    check_int(cancels, >, 100);
    for (uint32_t i = 0; i < TAKERS; i++) {
        if (takers[i] != NULL)
            mir_task_cancel(takers[i]);
    }
    /* A taker that runs on permits alone sees its cancellation at its next wait. */
    permits = 0;
    run_until(now + MIR_US_PER_S);
    check(mir_list_is_empty(&place.waiters));
    nothing_left();
}

static uintptr_t frames[32];
static int frame_count;
static _Unwind_Reason_Code unwind_end;

static _Unwind_Reason_Code see_frame(struct _Unwind_Context *context, void *arg)
{
    (void)arg;
    if (frame_count == 32)
        return _URC_NORMAL_STOP;
    frames[frame_count++] = _Unwind_GetIP(context);
    return _URC_NO_REASON;
}

static void unwinding(void *arg)
{
    (void)arg;
    mir_task_yield(&loop);
    frame_count = 0;
    unwind_end = _Unwind_Backtrace(see_frame, NULL);
}

static void test_unwind(void)
{
    tap_case("a backtrace in a task ends at the task's beginning");
    setup();
    spawn("u", unwinding);
    run_until(mir_loop_now(&loop));
    check_int(unwind_end, ==, _URC_END_OF_STACK);
    /* this function, task main, the first frame; a compiler may have merged some */
    check_int(frame_count, >=, 2);
    check_int(frame_count, <=, 4);
    nothing_left();
}

static char *overflow_sink;

static int overflow(int depth)
{
    volatile char block[512];
    block[depth % 512] = (char)depth;
    overflow_sink = (char *)(uintptr_t)&block[0];
    return depth > 100000 ? 0 : overflow(depth + 1) + block[depth % 512];
}

static void overflowing(void *arg)
{
    (void)arg;
    exit(overflow(0) == 12345 ? 1 : 2);
}

/* A stack whose guard has writable memory below it, as in an arena of stacks. */
static void *neighbour_acquire(void *arg, size_t size, size_t *usable)
{
    const size_t below = 4 * 65536;
    (void)arg;
    char *map =
        mmap(NULL, below + 4096 + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map + below, 4096, PROT_NONE) < 0)
        return NULL;
    *usable = size;
    return map + below + 4096;
}

static int overflow_in_strides(int depth)
{
    volatile char block[20000];
    block[0] = (char)depth;
    return depth > 8 ? block[0] : overflow_in_strides(depth + 1) + block[0];
}

static void striding(void *arg)
{
    (void)arg;
    _exit(overflow_in_strides(0) == 12345 ? 1 : 2);
}

static void overflowing_in_strides(void *arg)
{
    static const struct mir_stack_source source = {.acquire = neighbour_acquire};
    (void)arg;
    if (mir_task_spawn(&loop, &source, "big", 65536, striding, NULL, NULL) != 0)
        _exit(4);
}

/* Runs in a child; ends it by the guard page, or with a status if there was none. */
static int run_child(void (*entry)(void *arg))
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL); /* not the sanitizer's report */
        signal(SIGABRT, SIG_DFL);
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(3);
        setup();
        spawn("child", entry);
        run_until(mir_loop_now(&loop) + MIR_US_PER_S);
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return status;
}

static void stepping_inside(void *arg)
{
    mir_time_us next;
    (void)arg;
    mir_loop_step(&loop, 0, &next);
}

static void test_mistakes(void)
{
    tap_case("stack overflow hits the guard page");
    int status = run_child(overflowing);
    check(WIFSIGNALED(status));
    check_int(WTERMSIG(status), ==, SIGSEGV);

    tap_case("a frame larger than the guard page does not step over it");
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
    status = run_child(overflowing_in_strides);
    check(WIFSIGNALED(status));
    check_int(WTERMSIG(status), ==, SIGSEGV);
#else
    (void)overflowing_in_strides;
    tap_skip("compiled without probes of each page (-fstack-clash-protection)");
#endif

    tap_case("stepping the loop inside a task is a mistake that ends the program");
    status = run_child(stepping_inside);
    check(WIFSIGNALED(status));
    check_int(WTERMSIG(status), ==, SIGABRT);
}

int main(int argc, char **argv)
{
    tap_begin("run_task");
    uint64_t seed = tap_seed(argc, argv, 1);
    test_order();
    test_sleep_and_cancel();
    test_wait();
    test_many();
    test_release_is_from_the_loop();
    test_nested_spawn();
    test_registers();
    test_fp_control();
    test_alignment();
    test_random_waits(seed);
    test_unwind();
    test_mistakes();
    return tap_done();
}
