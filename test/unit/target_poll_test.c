/* SPDX-License-Identifier: ISC */
/* Waiting on descriptors of the host: batches, removal, hooks, deadlines, spinning; task stacks. */
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dev/clock/host/clock.h"
#include "target/unix/internal.h"
#include "test/harness/tap.h"

static struct mir__poll poll_object;
static struct mir_clock *clock_object;

struct end {
    struct mir_host_watch watch;
    int write_fd;
    unsigned calls;
    struct end *removes; /* in ready(): remove this one */
};

static void on_ready(void *arg, unsigned events)
{
    struct end *end = arg;
    (void)events;
    end->calls++;
    if (end->removes != NULL)
        poll_object.base.ops->remove(&poll_object.base, &end->removes->watch);
}

static void open_end(struct end *end)
{
    int fds[2];
    memset(end, 0, sizeof *end);
    check_int(pipe2(fds, O_NONBLOCK | O_CLOEXEC), ==, 0);
    end->watch =
        (struct mir_host_watch){.fd = fds[0], .events = MIR_HOST_IN, .ready = on_ready, .arg = end};
    end->write_fd = fds[1];
    check_int(poll_object.base.ops->add(&poll_object.base, &end->watch), ==, 0);
}

static void close_end(struct end *end)
{
    poll_object.base.ops->remove(&poll_object.base, &end->watch);
    close(end->watch.fd);
    close(end->write_fd);
}

static mir_time_us now(void)
{
    return clock_object->monotonic(clock_object);
}

static void test_events(void)
{
    struct end a, b;
    tap_case("a ready descriptor is called, level-triggered");
    open_end(&a);
    mir__poll_wait(&poll_object, 0);
    check_int(a.calls, ==, 0);
    check_int(write(a.write_fd, "x", 1), ==, 1);
    mir__poll_wait(&poll_object, MIR_TIME_NEVER);
    mir__poll_wait(&poll_object, MIR_TIME_NEVER);
    check_int(a.calls, ==, 2);
    tap_case("not while its events are switched off, and again after");
    poll_object.base.ops->set(&poll_object.base, &a.watch, 0);
    mir__poll_wait(&poll_object, 0);
    check_int(a.calls, ==, 2);
    poll_object.base.ops->set(&poll_object.base, &a.watch, MIR_HOST_IN);
    mir__poll_wait(&poll_object, 0);
    check_int(a.calls, ==, 3);
    tap_case("a watch removed in a batch is not called any more");
    open_end(&b);
    check_int(write(b.write_fd, "x", 1), ==, 1);
    a.calls = b.calls = 0;
    a.removes = &b;
    b.removes = &a;
    mir__poll_wait(&poll_object, 0);
    check_int(a.calls + b.calls, ==, 1);
    close_end(&a);
    close_end(&b);
    tap_case("a closed other end is an error event");
    open_end(&a);
    close(a.write_fd);
    mir__poll_wait(&poll_object, MIR_TIME_NEVER);
    check_int(a.calls, ==, 1);
    a.write_fd = -1;
    close_end(&a);
}

static void test_deadlines(void)
{
    tap_case("a deadline is met in microseconds, not before");
    mir_time_us start_us = now();
    mir__poll_wait(&poll_object, start_us + 3000);
    check_int(now() - start_us, >=, 3000);
    uint64_t sleeps = poll_object.sleeps;
    tap_case("a deadline that has passed does not sleep");
    mir__poll_wait(&poll_object, start_us);
    check_int(poll_object.sleeps, ==, sleeps);
}

struct hook {
    struct mir_host_hook hook;
    unsigned before, after;
    mir_time_us wish_us;
};

static void before_wait(void *arg, mir_time_us now_us, mir_time_us *deadline_us)
{
    struct hook *hook = arg;
    hook->before++;
    *deadline_us = MIR_MIN(*deadline_us, now_us + hook->wish_us);
}

static void after_wait(void *arg, mir_time_us now_us)
{
    (void)now_us;
    ((struct hook *)arg)->after++;
}

static void test_hooks(void)
{
    struct hook hook = {.wish_us = 1000};
    hook.hook =
        (struct mir_host_hook){.before_wait = before_wait, .after_wait = after_wait, .arg = &hook};
    tap_case("a hook is asked before and told after, and can shorten the wait");
    poll_object.base.ops->add_hook(&poll_object.base, &hook.hook);
    mir__poll_wait(&poll_object, MIR_TIME_NEVER);
    check_int(hook.before, ==, 1);
    check_int(hook.after, ==, 1);
    poll_object.base.ops->remove_hook(&poll_object.base, &hook.hook);
    mir__poll_wait(&poll_object, 0);
    check_int(hook.before, ==, 1);
}

static void test_spin(void)
{
    struct mir__poll spinning;
    tap_case("spinning looks instead of sleeping, but only for its time after an event");
    check_int(mir__poll_open(&spinning, clock_object, 1000000), ==, 0);
    spinning.last_event_us = now();
    mir_time_us start_us = now();
    mir__poll_wait(&spinning, start_us + 2000);
    check_int(now() - start_us, >=, 2000);
    uint64_t waits = spinning.waits;
    spinning.spin_us = 1;
    spinning.last_event_us = 0;
    start_us = now();
    mir__poll_wait(&spinning, start_us + 2000);
    check_int(now() - start_us, >=, 2000);
    check_int(spinning.sleeps, >=, 1);
    check_int(spinning.waits, ==, waits + 1);
    mir__poll_close(&spinning);
}

static void test_stacks(void)
{
    const struct mir_stack_source *source = mir__stacks_source();
    static void *bases[1100];
    size_t usable, count = 0;
    tap_case("stacks: right size, guarded, limited, reused");
    check_int(mir__stacks_open(), ==, 0);
    uint8_t *large = source->acquire(source->arg, 200000, &usable);
    check(large != NULL);
    check_int(usable, ==, 1 << 20);
    large[0] = 1;
    large[usable - 1] = 1;
    check(mir__stacks_is_guard((uintptr_t)large - 1));
    check(!mir__stacks_is_guard((uintptr_t)large));
    check_int(mir__stacks_top((uintptr_t)large + 5), ==, (uintptr_t)large + usable);
    source->release(source->arg, large, usable);
    check(source->acquire(source->arg, 200000, &usable) == large);
    source->release(source->arg, large, usable);
    check(source->acquire(source->arg, (2 << 20), &usable) == NULL);
    while (count < MIR_ARRAY_LEN(bases)) {
        bases[count] = source->acquire(source->arg, 65536, &usable);
        if (bases[count] == NULL)
            break;
        count++;
    }
    /* Small ones first, then the large ones serve. */
    check_int(count, ==, 1024 + 16);
    check(source->acquire(source->arg, 1, &usable) == NULL);
    for (size_t i = 0; i < count; i++)
        source->release(source->arg, bases[i], i < 1024 ? 65536 : 1 << 20);
    tap_case("stacks: writing below one is a fault");
    pid_t pid = fork();
    if (pid == 0) {
        close(STDERR_FILENO); /* a sanitizer would report what is meant to happen */
        uint8_t *small = source->acquire(source->arg, 65536, &usable);
        small[0] = 1;
        *(volatile uint8_t *)(small - 1) = 1;
        _exit(0);
    }
    int status = 0;
    check_int(waitpid(pid, &status, 0), ==, pid);
    check(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
}

int main(void)
{
    tap_begin("target_poll");
    clock_object = mir_clock_host();
    if (mir__poll_open(&poll_object, clock_object, 0) < 0)
        return 1;
    test_events();
    test_deadlines();
    test_hooks();
    test_spin();
    test_stacks();
    mir__poll_close(&poll_object);
    return tap_done();
}
