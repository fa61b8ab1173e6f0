/* SPDX-License-Identifier: ISC */
/* A network device over Xen's split driver: the frontend. */
#ifndef DEV_NET_XEN_NETFRONT_H
#define DEV_NET_XEN_NETFRONT_H

#include <mirari/dev_net.h>
#include <mirari/run.h>

#include "dev/xen/xen.h"

struct mir_netfront_config {
    const struct mir_xen_device *device; /**< copied */
    struct mir_loop *loop;
    struct mir_buf_pool *bufs;
    uint16_t mtu;      /**< at most; 0 = the backend's, or 1500 */
    uint16_t rx_pages; /**< lent to the backend, 20 .. 256; 0 = 256 */
    bool is_plain;     /**< no offloads: one frame on the wire is one frame here */
};

/** What happened beyond frames. */
struct mir_netfront_counters {
    uint64_t resets;        /**< the backend misbehaved, or went away */
    uint64_t faults;        /**< it did what no honest backend does */
    uint64_t quarantined;   /**< pieces of memory that it did not let go of */
    uint64_t tx_linearised; /**< frames of more pieces than a packet may have, copied */
    uint64_t rx_copied;     /**< small frames, moved to a buffer of their size */
    uint64_t no_grant;      /**< frames or pages for which there was no grant */
    uint64_t notifications;
};

/**
 * mir_netfront_open() - take the network interface @config->device.
 *
 * @dev  out: closed by mir_net_dev_close()
 *
 * Returns 0, -MIR_EAGAIN (the backend is not ready: again when its state changes), -MIR_ENOTSUP (it
 *         cannot copy to what we grant), -MIR_EPROTO (the store makes no sense), -MIR_ENOMEM,
 *         -MIR_EINVAL (configuration).
 * Source  public/io/netif.h
 */
int mir_netfront_open(const struct mir_netfront_config *config, struct mir_net_dev **dev) MIR_CHECK;

/** An event came: do what there is to do. Returns true if something was found. */
bool mir_netfront_poll(struct mir_net_dev *dev);
/** Ask for events. Returns true if there is something already. */
bool mir_netfront_arm(struct mir_net_dev *dev);
/** The backend's state in the store has changed. */
void mir_netfront_store_changed(struct mir_net_dev *dev);
/** Counters into @counters. */
void mir_netfront_counters(const struct mir_net_dev *dev, struct mir_netfront_counters *counters);

#endif
