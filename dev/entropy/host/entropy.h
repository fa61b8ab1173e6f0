/* SPDX-License-Identifier: ISC */
#ifndef DEV_ENTROPY_HOST_ENTROPY_H
#define DEV_ENTROPY_HOST_ENTROPY_H

#include <mirari/dev_entropy.h>

/** The host's generator, getrandom(2). */
struct mir_entropy *mir_entropy_host(void);

#endif
