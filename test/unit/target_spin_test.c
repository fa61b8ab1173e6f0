/* SPDX-License-Identifier: ISC */
/* Spinning of target unix: it looks at the device by itself, sees everything else all the same,
 * keeps to timers, opens and closes its window as events come, and costs an idle process nothing.
 *
 * The clock is one that goes on by a microsecond with each look at it, so a window is so many turns
 * and nothing depends on the machine; only the last case uses the real one, and of it the time that
 * the processor was used, not what passed.
 */
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "dev/clock/host/clock.h"
#include "target/unix/internal.h"
#include "test/harness/tap.h"

#define SPIN_US 800u

static mir_time_us fake_now_us;

static mir_time_us tick(struct mir_clock *clock)
{
    (void)clock;
    return fake_now_us++;
}

static struct mir_clock fake_clock = {.monotonic = tick};
static struct mir__poll set;

/* A device on a pipe: each byte is a frame; @hidden ones are found at the so manieth look without
 * the descriptor being ready. */
struct device {
    struct mir_host_watch watch;
    int write_fd;
    unsigned looks, frames;
    unsigned find_at; /* 0 = never */
    bool is_device;
};

static void on_ready(void *arg, unsigned events)
{
    struct device *device = arg;
    uint8_t byte;
    (void)events;
    device->looks++;
    bool has_frame = read(device->watch.fd, &byte, 1) == 1 || device->looks == device->find_at;
    device->frames += has_frame;
    device->watch.found = device->is_device && has_frame;
}

static void open_device(struct device *device, bool is_device)
{
    int fds[2];
    *device = (struct device){.is_device = is_device};
    check_int(pipe2(fds, O_NONBLOCK | O_CLOEXEC), ==, 0);
    device->watch = (struct mir_host_watch){
        .fd = fds[0], .events = MIR_HOST_IN, .ready = on_ready, .arg = device};
    device->write_fd = fds[1];
    check_int(set.base.ops->add(&set.base, &device->watch), ==, 0);
}

static void close_device(struct device *device)
{
    set.base.ops->remove(&set.base, &device->watch);
    close(device->watch.fd);
    close(device->write_fd);
}

static void put(struct device *device)
{
    check_int(write(device->write_fd, "x", 1), ==, 1);
}

/* An event that comes @gap_us after the last one, while nobody spins. */
static void event_after(struct device *device, mir_time_us gap_us)
{
    fake_now_us = MIR_MAX(fake_now_us, set.last_event_us + gap_us);
    put(device);
    mir__poll_wait(&set, fake_now_us);
    mir__poll_wait(&set, fake_now_us); /* the second look, which finds nothing */
}

static void test_device(void)
{
    struct device device, other;
    open_device(&device, true);
    open_device(&other, false);
    tap_case("a device is looked at by itself while spinning, without asking the host");
    event_after(&device, 0);
    check_int(device.frames, ==, 1);
    device.looks = 0;
    device.find_at = 25; /* the host does not know of this frame */
    uint64_t sleeps = set.sleeps;
    mir__poll_wait(&set, MIR_TIME_NEVER);
    check_int(device.frames, ==, 2);
    check_int(device.looks, ==, 25);
    check_int(set.sleeps, ==, sleeps);
    tap_case("what it found counts as an event: the window starts again");
    check_int(fake_now_us - set.last_event_us, <=, 2);
    tap_case("another descriptor is seen meanwhile");
    device.looks = device.find_at = 0;
    put(&other);
    mir__poll_wait(&set, MIR_TIME_NEVER);
    check_int(other.frames, ==, 1);
    check_int(device.looks, >, 0);
    check_int(device.looks, <=, 33);
    check_int(set.sleeps, ==, sleeps);
    tap_case("a device that went away is not looked at any more");
    close_device(&device);
    device.looks = 0;
    mir__poll_wait(&set, fake_now_us + 100);
    check_int(device.looks, ==, 0);
    close_device(&other);
}

static void test_timers(void)
{
    struct device device;
    open_device(&device, true);
    tap_case("a timer within the window ends the spin, to the microsecond");
    event_after(&device, 0);
    device.looks = 0;
    mir_time_us deadline_us = fake_now_us + 100;
    uint64_t sleeps = set.sleeps;
    mir__poll_wait(&set, deadline_us);
    check_int(fake_now_us, >=, deadline_us);
    check_int(fake_now_us, <=, deadline_us + 2);
    check_int(device.looks, >=, 90);
    check_int(set.sleeps, ==, sleeps);
    tap_case("one after it: the window is spun, the rest is slept");
    deadline_us = fake_now_us + 2000;
    mir__poll_wait(&set, deadline_us);
    check_int(fake_now_us, <, deadline_us); /* this clock stands still meanwhile */
    check_int(set.sleeps, ==, sleeps + 1);
    tap_case("and the next wait without an event in between only sleeps");
    device.looks = 0;
    mir__poll_wait(&set, fake_now_us + 500);
    check_int(device.looks, ==, 0);
    check_int(set.sleeps, ==, sleeps + 2);
    close_device(&device);
}

static void test_window(void)
{
    struct device device;
    unsigned turns;
    open_device(&device, true);
    tap_case("each event that comes late halves the window, down to an eighth");
    event_after(&device, 0);
    event_after(&device, 1);
    check_int(set.window_us, ==, SPIN_US);
    for (uint32_t window_us = SPIN_US / 2; window_us >= SPIN_US / 8; window_us /= 2) {
        event_after(&device, 50000);
        check_int(set.window_us, ==, window_us);
    }
    event_after(&device, 50000);
    check_int(set.window_us, ==, SPIN_US / 8);
    turns = (unsigned)set.turns;
    mir__poll_wait(&set, fake_now_us + 1000);
    check_int(set.turns - turns, <=, SPIN_US / 8);
    check_int(set.turns - turns, >=, SPIN_US / 8 - 10);
    tap_case("one that spinning would have caught opens it");
    event_after(&device, 0);
    event_after(&device, 300);
    check_int(set.window_us, ==, SPIN_US);
    close_device(&device);
}

static mir_time_us cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (mir_time_us)t.tv_sec * MIR_US_PER_S + (mir_time_us)t.tv_nsec / 1000;
}

/* 100 timers, 2 ms apart, no event: 200 ms and more pass. */
static void test_idle(void)
{
    struct mir_clock *clock = mir_clock_host();
    tap_case("an idle process with timers uses next to no processor time");
    check_int(mir__poll_open(&set, clock, 1000), ==, 0);
    set.last_event_us = clock->monotonic(clock);
    mir_time_us start_us = cpu_us();
    for (int i = 0; i < 100; i++)
        mir__poll_wait(&set, clock->monotonic(clock) + 2000);
    tap_note("%llu us of 200,000", (unsigned long long)(cpu_us() - start_us));
    check_int(cpu_us() - start_us, <, 40000);
    check_int(set.sleeps, >=, 99);
    mir__poll_close(&set);
}

int main(void)
{
    tap_begin("target_spin");
    check_int(mir__poll_open(&set, &fake_clock, SPIN_US), ==, 0);
    test_device();
    test_timers();
    test_window();
    mir__poll_close(&set);
    test_idle();
    return tap_done();
}
