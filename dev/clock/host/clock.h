/* SPDX-License-Identifier: ISC */
/* The clock of the host. */
#ifndef DEV_CLOCK_HOST_CLOCK_H
#define DEV_CLOCK_HOST_CLOCK_H

#include <mirari/dev_clock.h>

/** The host's clocks: CLOCK_MONOTONIC and CLOCK_REALTIME, read without a system call. */
struct mir_clock *mir_clock_host(void);

#endif
