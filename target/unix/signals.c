/* SPDX-License-Identifier: ISC */
/* SIGINT, SIGTERM and SIGHUP as events of the loop: the first asks the appliance to end, the second
 * ends it.
 *
 *   signal ─> handler: number and time noted, eventfd written ─> loop: on_event()
 *
 * A handler and not a signalfd, because a loop that is stuck (a task that never waits, an output
 * nobody reads) looks at no descriptor: a signal that finds an earlier one unseen for a second ends
 * the process on the spot. Within that second signals count as one, since a terminal's Ctrl-C and a
 * parent that passes it on come together.
 *
 * The end of an appliance has a limit; a loop that is stuck does not see it. SIGALRM, set to a
 * little more, ends the process then.
 *
 * Installed when the devices are open; before, a signal does what it always does, so that a start
 * that hangs (a capture into a pipe without a reader) can be interrupted. SIGHUP stays ignored if
 * the parent ignores it: that is what nohup asks for.
 */
#include "target/unix/internal.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_US MIR_US_PER_S

/* Written by the handler, which nothing interrupts: it blocks its own signals. */
static volatile sig_atomic_t last_number;
static volatile mir_time_us unseen_since_us; /* 0 = the loop has seen everything */
static int event_fd = -1;

static mir_time_us now(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (mir_time_us)ts.tv_sec * MIR_US_PER_S + (mir_time_us)ts.tv_nsec / 1000;
}

static void on_signal(int number)
{
    static const uint64_t one = 1;
    int saved_errno = errno;
    mir_time_us now_us = now();
    if (unseen_since_us != 0 && now_us - unseen_since_us >= PATIENCE_US)
        _exit(128 + number);
    last_number = number;
    if (unseen_since_us == 0) {
        unseen_since_us = now_us;
        if (write(event_fd, &one, sizeof one) < 0)
            _exit(128 + number);
    }
    errno = saved_errno;
}

static void on_event(void *arg, unsigned events)
{
    struct mir__unix *u = arg;
    uint64_t count;
    (void)events;
    if (read(event_fd, &count, sizeof count) != sizeof count)
        return;
    int number = last_number;
    unseen_since_us = 0;
    MIR_LOG(TARGET, INFO, "signal %d: asking the appliance to end", number);
    if (!mir_app_shutdown(&u->app, MIR_APP_END_SIGNAL))
        mir_loop_stop(&u->loop, 128 + number);
}

static volatile sig_atomic_t is_panic; /* hooks of a crash run */

/* The time is over and the loop did not notice: it is stuck. */
static void on_alarm(int number)
{
    static const char text[] = "the end takes too long and the loop is stuck: ending\n";
    (void)number;
    if (is_panic)
        _exit(MIR__EXIT_CRASH);
    ssize_t put = write(STDERR_FILENO, text, sizeof text - 1);
    (void)put;
    _exit(MIR_APP_EXIT_FORCED);
}

void mir__signals_panic(void)
{
    const struct itimerval timer = {.it_value = {.tv_sec = 1}};
    is_panic = 1;
    if (setitimer(ITIMER_REAL, &timer, NULL) < 0)
        _exit(MIR__EXIT_CRASH); /* hooks that nothing could end do not run */
}

void mir__signals_guard(struct mir_app *app, mir_time_us us)
{
    struct itimerval timer = {.it_value = {.tv_sec = (time_t)(us / MIR_US_PER_S),
                                           .tv_usec = (suseconds_t)(us % MIR_US_PER_S)}};
    (void)app;
    if (setitimer(ITIMER_REAL, &timer, NULL) < 0)
        MIR_LOG(TARGET, WARN, "no guard of the end: a task that never waits can hold it up");
}

static bool is_ignored(int number)
{
    struct sigaction old;
    return sigaction(number, NULL, &old) == 0 && old.sa_handler == SIG_IGN;
}

int mir__signals_open(struct mir__unix *u)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigset_t set;
    event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    u->signals =
        (struct mir_host_watch){.fd = event_fd, .events = MIR_HOST_IN, .ready = on_event, .arg = u};
    if (event_fd < 0 || u->poll.base.ops->add(&u->poll.base, &u->signals) < 0)
        return -MIR_EIO;
    sigemptyset(&set);
    for (size_t i = 0; i < MIR_ARRAY_LEN(numbers); i++)
        sigaddset(&set, numbers[i]);
    action.sa_mask = set;
    if (signal(SIGALRM, on_alarm) == SIG_ERR)
        return -MIR_EIO;
    for (size_t i = 0; i < MIR_ARRAY_LEN(numbers); i++) {
        if (numbers[i] == SIGHUP && is_ignored(SIGHUP))
            continue;
        if (sigaction(numbers[i], &action, NULL) < 0)
            return -MIR_EIO;
    }
    return sigprocmask(SIG_UNBLOCK, &set, NULL) == 0 ? 0 : -MIR_EIO;
}
