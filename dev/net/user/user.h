/* SPDX-License-Identifier: ISC */
/* A network device without any privilege: libslirp inside the process. */
#ifndef DEV_NET_USER_USER_H
#define DEV_NET_USER_USER_H

#include <mirari/dev_clock.h>
#include <mirari/dev_net.h>
#include <mirari/host.h>
#include <mirari/net.h>
#include <mirari/run.h>

#define MIR_USER_ERROR_MAX 200u

struct mir_user_forward {
    bool is_udp;
    struct mir_ip host_ip; /**< 127.0.0.1 or ::1 for this machine only; of IPv6: the appliance is
                                reached by IPv6 */
    uint16_t host_port;
    uint16_t port; /**< of the appliance */
};

struct mir_user_config {
    struct mir_host_poll *poll;
    struct mir_loop *loop;
    struct mir_clock *clock;
    struct mir_buf_pool *bufs;
    uint8_t mac[6];
    uint16_t mtu;       /**< 0 = 16384, the fastest; at most 65520 */
    uint32_t ip;        /**< of the appliance, host order; 0 = 10.0.2.15 */
    uint8_t prefix_len; /**< 8 .. 28; 0 = 24 */
    uint32_t gateway;   /**< 0 = second address of the network */
};

/**
 * mir_user_open() - make a user-mode network.
 *
 * @dev    out
 * @error  [MIR_USER_ERROR_MAX] bytes; on error one line
 *
 * Returns 0, -MIR_EINVAL, -MIR_ENOMEM.
 * Source  libslirp 4.7, libslirp.h
 */
int mir_user_open(const struct mir_user_config *config, struct mir_net_dev **dev,
                  char *error) MIR_CHECK;

/**
 * mir_user_add_forward() - let a port of the host lead to a port of the appliance.
 *
 * @forward  host_port is changed to the port that was taken: the next free one when it is in use
 *           or needs privileges
 *
 * Over IPv6 the appliance is the first address of the network that slirp heard from; clients that
 * come before it has one are refused.
 *
 * Returns 0, or -MIR_EADDRINUSE (no free port near), -MIR_EADDRNOTAVAIL (not a host's address).
 * Source  none
 */
int mir_user_add_forward(struct mir_net_dev *dev, struct mir_user_forward *forward) MIR_CHECK;

#endif
