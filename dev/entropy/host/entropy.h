/* SPDX-License-Identifier: ISC */
/* The random numbers of the host. */
#ifndef DEV_ENTROPY_HOST_ENTROPY_H
#define DEV_ENTROPY_HOST_ENTROPY_H

#include <mirari/dev_entropy.h>

/** The host's generator, getrandom(2). */
struct mir_entropy *mir_entropy_host(void);

#endif
