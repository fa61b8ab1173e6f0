/* SPDX-License-Identifier: ISC */
/* Random bytes of the host over virtio. */
#ifndef DEV_ENTROPY_VIRTIO_ENTROPY_H
#define DEV_ENTROPY_VIRTIO_ENTROPY_H

#include <mirari/dev_entropy.h>

#include "dev/virtio/virtio.h"

#define MIR_VIRTIO_ENTROPY_MAX 256u

struct mir_virtio_entropy {
    struct mir_entropy entropy; /* first */
    /* private: */
    struct mir_virtio *virtio;
    struct mir_virtio_queue queue;
    struct mir_io_page *page;
    bool is_dead;
};

/** Take the entropy device @virtio. Reading waits a second at most. Returns 0, -MIR_EINVAL (another
 *  kind of device), -MIR_ENOTSUP, -MIR_EIO, -MIR_ENOMEM. Source VIRTIO 1.2 section 5.4. */
int mir_virtio_entropy_open(struct mir_virtio_entropy *rng, struct mir_virtio *virtio) MIR_CHECK;

/** The device is reset, its memory given back. */
void mir_virtio_entropy_close(struct mir_virtio_entropy *rng);

#endif
