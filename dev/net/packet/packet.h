/* SPDX-License-Identifier: ISC */
/* A network device on an interface the host has already, by a packet socket with a ring. */
#ifndef DEV_NET_PACKET_PACKET_H
#define DEV_NET_PACKET_PACKET_H

#include <mirari/dev_net.h>
#include <mirari/host.h>

#define MIR_PACKET_ERROR_MAX 200u

struct mir_packet_config {
    struct mir_host_poll *poll;
    struct mir_buf_pool *bufs;
    const char *ifname; /**< an Ethernet interface that exists */
    uint8_t mac[6];     /**< of the appliance; not that of the interface */
    uint16_t mtu;       /**< 0 = that of the interface */
    bool is_paused;     /**< adopted: read by somebody else until mir_packet_resume() */
    bool is_plain;      /**< send no frame larger than the MTU and leave no checksum to the host */
};

/**
 * mir_packet_open() - join the network of an interface beside the host's own stack.
 *
 * The interface stays as it is: its addresses, its state and the host's traffic over it do not
 * change. The host itself is not reached over it, unless it is one end of a veth pair and the host
 * has the other.
 *
 * @dev    out
 * @error  [MIR_PACKET_ERROR_MAX] bytes; on error one line that says what is wrong and what to do
 *
 * Returns 0, -MIR_EPERM (no CAP_NET_RAW), -MIR_EINVAL (no such interface, not Ethernet, the MAC is
 *         the host's), -MIR_ENOTSUP, -MIR_EIO, -MIR_ENOMEM.
 * Source  packet(7), Linux Documentation/networking/packet_mmap.rst; Virtual I/O Device (VIRTIO)
 *         1.2 section 5.1.6
 */
int mir_packet_open(const struct mir_packet_config *config, struct mir_net_dev **dev,
                    char *error) MIR_CHECK;

/** A socket that receives, and what belongs to it. */
struct mir_packet_queue {
    int fd;
    char ifname[16];
    uint16_t mtu;
};

/**
 * mir_packet_open_queue() - one of several sockets among which the host spreads what comes.
 *
 * The host chooses by a hash of addresses and ports, the same for as long as the sockets are; whole
 * datagrams, not the fragments of IPv4. A socket that nobody reads keeps what comes, as far as its
 * ring goes. For mir_packet_adopt(), there or in another process.
 *
 * @config  poll and bufs are not needed
 * @group   in and out: 0 = the first one, which makes a group; then what that one has set.
 *          NULL = it will be the only one
 *
 * Returns 0 or as mir_packet_open().
 * Source  packet(7), PACKET_FANOUT
 */
int mir_packet_open_queue(const struct mir_packet_config *config, uint32_t *group,
                          struct mir_packet_queue *queue, char *error) MIR_CHECK;

/**
 * mir_packet_adopt() - a device on such a socket.
 *
 * It needs the privileges of mir_packet_open() as well: to send it opens a socket of its own.
 *
 * @queue  its descriptor is given, also on error
 *
 * Returns 0 or as mir_packet_open().
 * Source  packet(7)
 */
int mir_packet_adopt(const struct mir_packet_config *config, const struct mir_packet_queue *queue,
                     struct mir_net_dev **dev, char *error) MIR_CHECK;

/** Read from now on: config.is_paused is over. */
void mir_packet_resume(struct mir_net_dev *dev);

/** Name of the interface. */
const char *mir_packet_ifname(const struct mir_net_dev *dev);

#endif
