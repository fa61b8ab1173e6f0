/* SPDX-License-Identifier: ISC */
/* Virtio over memory-mapped registers: microvm, Firecracker, most ARM machines. */
#ifndef DEV_VIRTIO_MMIO_H
#define DEV_VIRTIO_MMIO_H

#include "dev/virtio/virtio.h"

#define MIR_VIRTIO_MMIO_BYTES 0x200u /* at least so many are mapped */

struct mir_virtio_mmio {
    struct mir_virtio virtio; /* first */
    struct mir_regs regs;
};

/**
 * mir_virtio_mmio_init() - a device behind the registers of @regs (copied).
 *
 * Returns 0, -MIR_ENOENT (an empty place), -MIR_EINVAL (no virtio registers), -MIR_ENOTSUP (of a
 *         version that we do not know).
 * Source  VIRTIO 1.2 section 4.2.2
 */
int mir_virtio_mmio_init(struct mir_virtio_mmio *mmio, const struct mir_regs *regs,
                         struct mir_clock *clock, struct mir_page_pool *pages) MIR_CHECK;

#endif
