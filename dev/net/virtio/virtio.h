/* SPDX-License-Identifier: ISC */
/* A network device over virtio: checksum and segmentation offload both ways, no copies. */
#ifndef DEV_NET_VIRTIO_VIRTIO_H
#define DEV_NET_VIRTIO_VIRTIO_H

#include <mirari/dev_net.h>
#include <mirari/run.h>

#include "dev/virtio/virtio.h"

struct mir_virtio_net_config {
    struct mir_virtio *virtio;
    struct mir_loop *loop;
    struct mir_buf_pool *bufs;
    bool has_mac;       /**< @mac instead of the device's own */
    uint8_t mac[6];     /**< also if the device has none */
    uint16_t mtu;       /**< at most; 0 = the device's, or 1500 */
    uint16_t rx_pages;  /**< lent to the device, 20 .. 1024; 0 = 256 */
    uint16_t queue_max; /**< descriptors of a queue at most; 0 = 256 */
    bool is_plain;      /**< no offloads: one frame on the wire is one frame here */
    bool is_promiscuous;
};

/** What happened beyond frames. */
struct mir_virtio_net_counters {
    uint64_t resets;      /**< the device was reset because it asked for it or misbehaved */
    uint64_t faults;      /**< it did what no honest device does */
    uint64_t quarantined; /**< pieces of memory that a device did not let go of */
    uint64_t tx_stalls;   /**< nothing was sent for a while though something was there */
    uint64_t tx_copied;   /**< frames without room for the header, copied */
    uint64_t rx_copied;   /**< small frames, moved to a buffer of their size */
    uint64_t rx_large;    /**< frames larger than the MTU */
    uint64_t tx_large;
    uint64_t rx_large_bytes;
    uint64_t tx_large_bytes;
    uint64_t notifications; /**< written to the device */
    uint64_t control_refused;
};

/**
 * mir_virtio_net_open() - take the network device @config->virtio.
 *
 * @dev  out: closed by mir_net_dev_close()
 *
 * Returns 0, -MIR_EINVAL (another kind of device, configuration), -MIR_ENOTSUP (features, version),
 *         -MIR_EIO (it does not answer), -MIR_ENOMEM.
 * Source  VIRTIO 1.2 section 5.1
 */
int mir_virtio_net_open(const struct mir_virtio_net_config *config,
                        struct mir_net_dev **dev) MIR_CHECK;

/** What the target polls. */
struct mir_virtio_driver *mir_virtio_net_driver(struct mir_net_dev *dev);

/** Counters into @counters. */
void mir_virtio_net_counters(const struct mir_net_dev *dev,
                             struct mir_virtio_net_counters *counters);

/** All frames of the wire, or those for us, as far as the device can filter. */
void mir_virtio_net_set_promiscuous(struct mir_net_dev *dev, bool is_promiscuous);

#endif
