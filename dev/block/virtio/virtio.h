/* SPDX-License-Identifier: ISC */
/* A block device over virtio. */
#ifndef DEV_BLOCK_VIRTIO_VIRTIO_H
#define DEV_BLOCK_VIRTIO_VIRTIO_H

#include <mirari/dev_block.h>

#include "dev/virtio/virtio.h"

struct mir_virtio_block_config {
    struct mir_virtio *virtio;
    struct mir_loop *loop;
    bool is_readonly;       /**< also if the device is not */
    mir_time_us timeout_us; /**< of a request, then the device is reset; 0 = 30 s */
};

/**
 * mir_virtio_block_open() - take the block device @config->virtio.
 *
 * Memory comes from the pool of the transport.
 *
 * @dev  out: closed by mir_block_close()
 *
 * Returns 0, -MIR_EINVAL (another kind of device), -MIR_ENOTSUP (features, version, size of
 *         blocks), -MIR_EIO (it does not answer), -MIR_ENOMEM.
 * Source  VIRTIO 1.2 section 5.2
 */
int mir_virtio_block_open(const struct mir_virtio_block_config *config,
                          struct mir_block_dev **dev) MIR_CHECK;

/** What the target polls. */
struct mir_virtio_driver *mir_virtio_block_driver(struct mir_block_dev *dev);

#define MIR_VIRTIO_BLOCK_ID_BYTES 20u

#endif
