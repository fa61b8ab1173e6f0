/* SPDX-License-Identifier: ISC */
/* The wait of target unix: what an event sees and does after a sleep. */
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "target/unix/internal.h"
#include "test/harness/tap.h"

#define SLEEP_MS 40
#define DELAY_US 30000u

static mir_time_us monotonic(struct mir_clock *clock)
{
    struct timespec t;
    (void)clock;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (mir_time_us)t.tv_sec * MIR_US_PER_S + (mir_time_us)t.tv_nsec / 1000;
}

static struct mir_clock the_clock = {.monotonic = monotonic};
static struct mir__poll poll_set;
static struct mir_loop loop;
static struct mir_timer timer;
static int fd;
static mir_time_us event_at, now_at_event, fired_at;

static void on_event(void *arg, unsigned events)
{
    uint64_t count;
    (void)arg;
    (void)events;
    if (read(fd, &count, sizeof count) != sizeof count)
        return;
    event_at = monotonic(NULL);
    now_at_event = mir_loop_now(&loop);
    mir_timer_set(&loop, &timer, mir_loop_now(&loop) + DELAY_US);
}

static void on_fire(void *arg)
{
    (void)arg;
    fired_at = monotonic(NULL);
    mir_loop_stop(&loop, 0);
}

static mir_time_us read_clock(void *arg)
{
    (void)arg;
    return monotonic(NULL);
}

/* ---- a stall --------------------------------------------------------------------------------- */

static mir_time_us skipped_us; /* what the process slept through */
static int reads, pipe_fds[2];
static bool was_read_first;

static mir_time_us stalled(struct mir_clock *clock)
{
    return monotonic(clock) + skipped_us;
}

static void on_byte(void *arg, unsigned events)
{
    char byte;
    (void)arg;
    (void)events;
    reads += (int)read(pipe_fds[0], &byte, 1);
}

static void on_late(void *arg)
{
    (void)arg;
    was_read_first = reads == 2;
    fired_at = 1;
}

static void test_stall(void)
{
    struct mir_clock clock = {.monotonic = stalled};
    struct mir_host_watch watch = {.events = MIR_HOST_IN, .ready = on_byte};
    struct mir_timer late;
    mir_time_us deadline;
    tap_case("after a stall the devices are read before timers that are due by now go off");
    check_int(pipe(pipe_fds), ==, 0);
    check_int(mir__poll_open(&poll_set, &clock, 0), ==, 0);
    mir_loop_init(&loop, stalled(NULL));
    poll_set.loop = &loop;
    watch.fd = pipe_fds[0];
    check_int(poll_set.base.ops->add(&poll_set.base, &watch), ==, 0);
    mir_timer_init(&late, on_late, NULL);
    fired_at = 0;
    mir_timer_set(&loop, &late, stalled(NULL) + 200 * MIR_US_PER_MS);
    check_int(write(pipe_fds[1], "1", 1), ==, 1);
    mir__poll_wait(&poll_set, stalled(NULL) + 200 * MIR_US_PER_MS);
    check_int(reads, ==, 1);
    /* Here it stops for a second, and what the timer waits for arrives. */
    skipped_us = MIR_US_PER_S;
    check_int(write(pipe_fds[1], "2", 1), ==, 1);
    mir_loop_step(&loop, stalled(NULL), &deadline);
    check_int(fired_at, ==, 0);
    check_int(deadline, <=, (long long)mir_loop_now(&loop));
    mir__poll_wait(&poll_set, deadline);
    mir_loop_step(&loop, stalled(NULL), &deadline);
    check_int(fired_at, ==, 1);
    check(was_read_first);
    tap_case("a wait that ends by itself at a deadline lets the timer go off in the next step");
    fired_at = 0;
    mir_timer_set(&loop, &late, stalled(NULL) + 5 * MIR_US_PER_MS);
    mir_loop_step(&loop, stalled(NULL), &deadline);
    uint64_t waits = poll_set.waits;
    for (int i = 0; i < 50 && fired_at == 0; i++) {
        mir__poll_wait(&poll_set, deadline);
        mir_loop_step(&loop, stalled(NULL), &deadline);
    }
    check_int(fired_at, ==, 1);
    check_int(poll_set.waits - waits, <=, 3);
    poll_set.base.ops->remove(&poll_set.base, &watch);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    mir__poll_close(&poll_set);
}

int main(void)
{
    struct mir_host_watch watch = {.events = MIR_HOST_IN, .ready = on_event};
    struct mir_loop_driver driver = {.now = read_clock, .wait = mir__poll_wait, .arg = &poll_set};
    struct itimerspec when = {.it_value = {.tv_nsec = SLEEP_MS * 1000000L}};
    tap_begin("unix_poll");

    tap_case("an event after a sleep sees the present time, and timers set by it count from there");
    check_int(mir__poll_open(&poll_set, &the_clock, 0), ==, 0);
    mir_loop_init(&loop, monotonic(NULL));
    poll_set.loop = &loop;
    mir_timer_init(&timer, on_fire, NULL);
    watch.fd = fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    check_int(poll_set.base.ops->add(&poll_set.base, &watch), ==, 0);
    check_int(timerfd_settime(fd, 0, &when, NULL), ==, 0);
    mir_time_us start = monotonic(NULL);
    check_int(mir_loop_run(&loop, &driver), ==, 0);
    check_int(event_at, >=, (long long)start + SLEEP_MS * 1000 - 1000);
    /* The time of the last step lies SLEEP_MS back; a busy machine can be late, never early. */
    check_int(now_at_event, >=, (long long)start + SLEEP_MS * 1000 - 1000);
    check_int(now_at_event, <=, (long long)event_at);
    check_int(fired_at, >=, (long long)now_at_event + DELAY_US);
    check_int(poll_set.waits, <, 20); /* it slept, it did not spin */
    poll_set.base.ops->remove(&poll_set.base, &watch);
    close(fd);
    mir__poll_close(&poll_set);
    test_stall();
    return tap_done();
}
