/* SPDX-License-Identifier: ISC */
/* A named port of a virtio console device with several ports: bytes in both directions. */
#ifndef DEV_CONSOLE_VIRTIO_PORT_H
#define DEV_CONSOLE_VIRTIO_PORT_H

#include "dev/virtio/virtio.h"

#define MIR_VIRTIO_PORT_PAGES 4u /**< of each direction, and so many chains */
#define MIR_VIRTIO_PORTS_MAX                                                                       \
    4u /**< ports that are looked at: 0 is a console, ours is one of 1 .. 3 */
#define MIR_VIRTIO_PORT_WORDS 32u /**< control messages on their way, of each direction */

struct mir_virtio_port_config {
    struct mir_virtio *virtio;
    const char *name; /**< of the port, static */
    /** Bytes came, borrowed. */
    void (*input)(void *arg, const void *data, size_t len);
    /** The next bytes for the host, at most @size (a page). Returns how many; 0: none now. */
    size_t (*output)(void *arg, uint8_t *out, size_t size);
    /** The host's end was opened or closed; the device is gone: closed. */
    void (*changed)(void *arg, bool is_open);
    void *arg;
};

struct mir_virtio_port {
    struct mir_virtio_driver driver; /* first */
    /* private: */
    struct mir_virtio_port_config config;
    struct mir_virtio_queue control[2], data[MIR_VIRTIO_PORTS_MAX][2]; /* in, out */
    struct mir_io_page *in[MIR_VIRTIO_PORT_PAGES], *out[MIR_VIRTIO_PORT_PAGES], *words;
    struct mir_io_page *free[MIR_VIRTIO_PORT_PAGES]; /* a stack, of out */
    uint32_t free_count, ports;
    uint32_t free_words; /* bits: messages of ours that the device has returned */
    uint32_t id;         /* of the port; 0: not found */
    bool is_open, is_dead, is_faulty;
    uint64_t lost; /* control messages for which there was no room */
};

/**
 * mir_virtio_port_open() - find the port and open it.
 *
 * The device is asked for its ports; it names them in messages, which are waited for, two seconds
 * at most. If none has the name the device is reset, and another driver may have it.
 *
 * @port    caller's memory; the driver of the device from now on
 *
 * Returns 0, -MIR_EINVAL (another kind of device), -MIR_ENOTSUP (it has no ports), -MIR_ENOENT
 * (none of the name among the first MIR_VIRTIO_PORTS_MAX), -MIR_EIO, -MIR_ENOMEM. Source VIRTIO 1.2
 * sections 5.3.5, 5.3.6.2
 */
int mir_virtio_port_open(struct mir_virtio_port *port,
                         const struct mir_virtio_port_config *config) MIR_CHECK;
/** There may be output: take it, as far as pages are free. */
void mir_virtio_port_push(struct mir_virtio_port *port);
/** What was given to the device is waited for, a short time; then it is reset and its memory given
 *  back. changed() is called if it was open. */
void mir_virtio_port_close(struct mir_virtio_port *port);

#endif
