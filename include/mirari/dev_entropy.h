/* SPDX-License-Identifier: ISC */
/* The contract of an entropy device: seeds generators, at start and rarely after. */
#ifndef MIRARI_DEV_ENTROPY_H
#define MIRARI_DEV_ENTROPY_H

#include <mirari/base.h>

struct mir_entropy {
    /** Fill [len] bytes, len <= 256. Returns 0 or -MIR_EIO (nothing usable: do not go on). */
    int (*read)(struct mir_entropy *entropy, void *out, size_t len);
};

#endif
