/* SPDX-License-Identifier: ISC */
/* A console over virtio: output of one port. */
#ifndef DEV_CONSOLE_VIRTIO_CONSOLE_H
#define DEV_CONSOLE_VIRTIO_CONSOLE_H

#include <mirari/dev_console.h>

#include "dev/virtio/virtio.h"

#define MIR_VIRTIO_CONSOLE_PAGES 4u

struct mir_virtio_console {
    struct mir_console console; /* first */
    /* private: */
    struct mir_virtio *virtio;
    struct mir_virtio_queue queue;
    struct mir_io_page *page[MIR_VIRTIO_CONSOLE_PAGES];
    struct mir_io_page *free[MIR_VIRTIO_CONSOLE_PAGES]; /* a stack */
    uint32_t free_count;
    bool is_dead;
};

/** Take the console device @virtio. Returns 0, -MIR_EINVAL (another kind of device), -MIR_ENOTSUP,
 *  -MIR_EIO, -MIR_ENOMEM. Source VIRTIO 1.2 section 5.3. */
int mir_virtio_console_open(struct mir_virtio_console *con, struct mir_virtio *virtio) MIR_CHECK;

/** What was written is waited for, a short time; then the device is reset, its memory given back.
 */
void mir_virtio_console_close(struct mir_virtio_console *con);

#endif
