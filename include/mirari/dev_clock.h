/* SPDX-License-Identifier: ISC */
/* The contract of a clock device. Protocol code never calls it: time is a parameter there. */
#ifndef MIRARI_DEV_CLOCK_H
#define MIRARI_DEV_CLOCK_H

#include <mirari/base.h>

struct mir_clock {
    /** Monotonic time; never goes back. */
    mir_time_us (*monotonic)(struct mir_clock *clock);
    /** Microseconds since 1970-01-01 00:00 UTC. */
    mir_time_us (*wall)(struct mir_clock *clock);
};

#endif
