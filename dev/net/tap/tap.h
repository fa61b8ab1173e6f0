/* SPDX-License-Identifier: ISC */
/* A network device on a Linux tap with vnet header: checksum and segmentation offload both ways. */
#ifndef DEV_NET_TAP_TAP_H
#define DEV_NET_TAP_TAP_H

#include <mirari/dev_net.h>
#include <mirari/host.h>
#include <mirari/net.h>

#define MIR_TAP_ERROR_MAX 200u

struct mir_tap_config {
    struct mir_host_poll *poll;
    struct mir_buf_pool *bufs;
    const char *ifname; /**< existing or new; NULL = a new one with a free name */
    uint8_t mac[6];     /**< of the appliance */
    uint16_t mtu;       /**< 0 = that of an existing tap, 1500 of a new one */
    bool has_host_ip;   /**< give a new tap this address */
    uint32_t host_ip;   /**< IPv4, host order */
    uint8_t host_prefix_len;
    struct mir_net_prefix host6; /**< and this IPv6 address; any = none */
    bool is_plain;               /**< no offloads: one frame on the wire is one frame here */
    bool is_paused;              /**< read by somebody else until mir_tap_resume() */
    bool has_queues;             /**< several processes share it, each with a queue of its own */
};

/** What the host has given: enough to make a device of it, in this process or another one. */
struct mir_tap_host {
    int fd;
    char ifname[16];
    uint16_t mtu;
    bool has_offloads;
    bool has_bundles; /**< several datagrams in one frame, both ways; Linux 6.2 */
};

/**
 * mir_tap_open() - open a tap.
 *
 * A tap that does not exist yet is made, gets address and MTU, is set up, and vanishes with the
 * process. An existing one is used as it is.
 *
 * @dev    out
 * @error  [MIR_TAP_ERROR_MAX] bytes; on error one line that says what is wrong and what to do
 *
 * Returns 0, -MIR_EPERM, -MIR_EBUSY (used by another process), -MIR_ENOTSUP, -MIR_EINVAL, -MIR_EIO,
 *         -MIR_ENOMEM.
 * Source  Linux Documentation/networking/tuntap.rst; Virtual I/O Device (VIRTIO) 1.2 section 5.1.6
 */
int mir_tap_open(const struct mir_tap_config *config, struct mir_net_dev **dev,
                 char *error) MIR_CHECK;

/**
 * mir_tap_open_host() - the part of mir_tap_open() that needs privileges: open and configure.
 *
 * @host   out: its descriptor is the caller's
 * @error  as for mir_tap_open()
 *
 * Returns as mir_tap_open().
 * Source  Linux Documentation/networking/tuntap.rst
 */
int mir_tap_open_host(const struct mir_tap_config *config, struct mir_tap_host *host,
                      char *error) MIR_CHECK;

/** One more queue of @first, which was opened with has_queues. Returns as mir_tap_open(). */
int mir_tap_open_queue(const struct mir_tap_host *first, struct mir_tap_host *host,
                       char *error) MIR_CHECK;

/** A device of what mir_tap_open_host() has opened, perhaps in another process. @host->fd is given,
 *  also on error. Of @config: poll, bufs, mac. Returns 0 or -MIR_ENOMEM. */
int mir_tap_adopt(const struct mir_tap_config *config, const struct mir_tap_host *host,
                  struct mir_net_dev **dev) MIR_CHECK;

/** Whoever else has read it has ended: read it from now on. */
void mir_tap_resume(struct mir_net_dev *dev);

/** The tap is taken away: its descriptor is closed, the link goes down, nothing is sent any more.
 */
void mir_tap_unplug(struct mir_net_dev *dev);

/** Another one in its place, as mir_tap_adopt(); the link comes up. Returns 0, -MIR_EBUSY (it has
 *  one), -MIR_EINVAL (its MTU or its offloads differ), -MIR_EIO. @host->fd is given. */
int mir_tap_replug(struct mir_net_dev *dev, const struct mir_tap_host *host) MIR_CHECK;

/** Name of the interface on the host's side. */
const char *mir_tap_ifname(const struct mir_net_dev *dev);

#endif
