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
    return tap_done();
}
