/* SPDX-License-Identifier: ISC */
/* The host's clocks. Both are read from memory the kernel maps into the process (vDSO). */
#include "dev/clock/host/clock.h"

#include <time.h>

static mir_time_us read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (mir_time_us)ts.tv_sec * MIR_US_PER_S + (mir_time_us)ts.tv_nsec / 1000;
}

static mir_time_us monotonic(struct mir_clock *clock)
{
    (void)clock;
    return read_clock(CLOCK_MONOTONIC);
}

static mir_time_us wall(struct mir_clock *clock)
{
    (void)clock;
    return read_clock(CLOCK_REALTIME);
}

struct mir_clock *mir_clock_host(void)
{
    static struct mir_clock clock = {.monotonic = monotonic, .wall = wall};
    return &clock;
}
