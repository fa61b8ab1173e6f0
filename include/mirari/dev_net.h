/* SPDX-License-Identifier: ISC */
/* The contract of a network device: Ethernet frames in and out.
 *
 * Life: open (implementation's own function) -> start -> frames -> stop -> close. A device calls
 * its upper half only from the loop's thread, after start returned and before stop is called.
 *
 * A middleware implements the same contract around another device (pcap, trace, fault).
 *
 *   tx      the device takes the frame: it is released when sent, or at once on error
 *   flush   end of a batch: the device may hold frames back until then, not longer
 *   rx      the upper half takes the frame; a batch ends with rx_end
 *
 * Back-pressure. Who sends data asks tx_room() first. While it answers 0 nothing but control frames
 * (ARP, neighbour discovery, ICMP errors, SYN, RST) may be given: a device keeps MIR_NET_TX_KEPT
 * places free for them, which it does not count as room. Whatever tx() has taken leaves in the
 * order in which it was taken, unless the device is reset or closed. When there is room again,
 * tx_ready() is called once.
 *
 * Frames start at the Ethernet destination address and have no FCS. Frames larger than
 * mtu + 14 appear only under the capabilities below.
 */
#ifndef MIRARI_DEV_NET_H
#define MIRARI_DEV_NET_H

#include <mirari/base.h>
#include <mirari/err.h>
#include <mirari/page.h>

struct mir_net_dev;

enum mir_net_dev_caps {
    MIR_NET_TX_CSUM = 1, /**< completes MIR_BUF_CSUM_PARTIAL itself */
    MIR_NET_TX_TSO4 = 2, /**< takes MIR_BUF_GSO_TCP4 frames (implies TX_CSUM) */
    MIR_NET_TX_TSO6 = 4, /**< takes MIR_BUF_GSO_TCP6 frames */
    MIR_NET_RX_CSUM = 8, /**< may set MIR_BUF_CSUM_VALID or MIR_BUF_CSUM_PARTIAL */
    MIR_NET_RX_GRO = 16, /**< may deliver TCP frames larger than the MTU (gso_size set) */
    MIR_NET_TX_SG = 32,  /**< takes frames with views; others get linear frames from the stack */
};

struct mir_net_dev_info {
    uint8_t mac[6];
    uint16_t mtu;     /**< largest IP packet, 576 .. 65535 */
    uint32_t caps;    /**< enum mir_net_dev_caps, after negotiation */
    uint32_t gso_max; /**< largest frame under TSO, Ethernet header included; 0 without */
    const char *kind; /**< "tap", "user", "pipe", ...: static text */
};

struct mir_net_dev_stats {
    uint64_t rx_frames, rx_bytes, rx_dropped, rx_errors;
    uint64_t tx_frames, tx_bytes, tx_dropped, tx_errors;
    uint64_t tx_full; /**< how often there was no room left for data */
};

/** Control frames of one page that a device takes though tx_room() answers 0. */
#define MIR_NET_TX_KEPT 8u

/** What a device calls upwards. */
struct mir_net_upper {
    void (*rx)(void *arg, MIR_GIVE struct mir_buf *buf_given);
    void (*rx_end)(void *arg);
    void (*tx_ready)(void *arg); /**< room again after tx_room() had answered 0 */
    void (*link)(void *arg, bool is_up);
    void *arg;
};

struct mir_net_dev_ops {
    /** Begin delivering to @upper (copied). Returns 0 or an error. */
    int (*start)(struct mir_net_dev *dev, const struct mir_net_upper *upper);
    /** Stop delivering; frames held are released. */
    void (*stop)(struct mir_net_dev *dev);
    /** Send one frame. Returns 0, -MIR_EAGAIN (full: dropped and counted), -MIR_ETOOBIG,
     *  -MIR_EIO. The buffer is consumed in every case. */
    int (*tx)(struct mir_net_dev *dev, MIR_GIVE struct mir_buf *buf_given);
    /** End of a batch of tx. NULL if the device never holds back. */
    void (*flush)(struct mir_net_dev *dev);
    /** Frames with data, of any size and shape, that tx would take now; UINT32_MAX = no limit
     *  known. NULL means no limit. 0 is a promise of tx_ready(). */
    uint32_t (*tx_room)(struct mir_net_dev *dev);
    /** Current counters into @stats. */
    void (*stats)(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats);
    /** Stop if started, free what open made. */
    void (*close)(struct mir_net_dev *dev);
};

/** The head of every network device's own structure. */
struct mir_net_dev {
    const struct mir_net_dev_ops *ops;
    struct mir_net_dev_info info;
};

/** The members of struct mir_net_dev_ops, called by name; a device without flush or tx_room has
 *  nothing to flush and always room. */
static inline MIR_CHECK int mir_net_dev_start(struct mir_net_dev *dev,
                                              const struct mir_net_upper *upper)
{
    return dev->ops->start(dev, upper);
}
static inline void mir_net_dev_stop(struct mir_net_dev *dev)
{
    dev->ops->stop(dev);
}
static inline int mir_net_dev_tx(struct mir_net_dev *dev, MIR_GIVE struct mir_buf *buf_given)
{
    return dev->ops->tx(dev, buf_given);
}
static inline void mir_net_dev_flush(struct mir_net_dev *dev)
{
    if (dev->ops->flush != NULL)
        dev->ops->flush(dev);
}
static inline uint32_t mir_net_dev_tx_room(struct mir_net_dev *dev)
{
    return dev->ops->tx_room != NULL ? dev->ops->tx_room(dev) : UINT32_MAX;
}
static inline void mir_net_dev_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats)
{
    dev->ops->stats(dev, stats);
}
static inline void mir_net_dev_close(struct mir_net_dev *dev)
{
    dev->ops->close(dev);
}

#endif
