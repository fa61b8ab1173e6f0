/* SPDX-License-Identifier: ISC */
/* The parts of the virtio network driver among themselves: net.c (life), rx.c, tx.c, control.c. */
#ifndef DEV_NET_VIRTIO_INTERNAL_H
#define DEV_NET_VIRTIO_INTERNAL_H

#include "dev/net/virtio/virtio.h"
#include "dev/net/vnet/vnet.h"

/** Features (VIRTIO 1.2 section 5.1.3). */
#define MIR__VIRTNET_F_CSUM       (1ull << 0)
#define MIR__VIRTNET_F_GUEST_CSUM (1ull << 1)
#define MIR__VIRTNET_F_MTU        (1ull << 3)
#define MIR__VIRTNET_F_MAC        (1ull << 5)
#define MIR__VIRTNET_F_GUEST_TSO4 (1ull << 7)
#define MIR__VIRTNET_F_GUEST_TSO6 (1ull << 8)
#define MIR__VIRTNET_F_GUEST_ECN  (1ull << 9)
#define MIR__VIRTNET_F_HOST_TSO4  (1ull << 11)
#define MIR__VIRTNET_F_HOST_TSO6  (1ull << 12)
#define MIR__VIRTNET_F_HOST_ECN   (1ull << 13)
#define MIR__VIRTNET_F_MRG_RXBUF  (1ull << 15)
#define MIR__VIRTNET_F_STATUS     (1ull << 16)
#define MIR__VIRTNET_F_CTRL_VQ    (1ull << 17)
#define MIR__VIRTNET_F_CTRL_RX    (1ull << 18)
#define MIR__VIRTNET_F_ANNOUNCE   (1ull << 21)
#define MIR__VIRTNET_F_MQ         (1ull << 22)
#define MIR__VIRTNET_F_CTRL_MAC   (1ull << 23)

/** Of the configuration (section 5.1.4). */
enum {
    MIR__VIRTNET_CONFIG_MAC = 0,
    MIR__VIRTNET_CONFIG_STATUS = 6,
    MIR__VIRTNET_CONFIG_PAIRS = 8,
    MIR__VIRTNET_CONFIG_MTU = 10,
};
enum { MIR__VIRTNET_LINK_UP = 1, MIR__VIRTNET_ANNOUNCE = 2 };

#define MIR__VIRTNET_HEADER_MAX 12u
/** Header, linear part and views. */
#define MIR__VIRTNET_TX_SEGS (2u + MIR_BUF_FRAG_MAX)
/** Where a received frame's header lies in its page: IP is then aligned to 4, and a reply in the
 *  same buffer has head room for a header and a tag. */
#define MIR__VIRTNET_RX_OFFSET 18u

/** Commands of the control queue, one bit each, in the order in which they are sent. */
enum mir__virtnet_command {
    MIR__VIRTNET_SET_PAIRS = 1,
    MIR__VIRTNET_SET_MAC = 2,
    MIR__VIRTNET_SET_PROMISCUOUS = 4,
    MIR__VIRTNET_SET_ALL_MULTICAST = 8,
    MIR__VIRTNET_ACK_ANNOUNCE = 16,
};

struct mir__virtnet {
    struct mir_net_dev dev; /* first */
    struct mir_virtio_driver driver;
    struct mir_virtio *virtio;
    struct mir_loop *loop;
    struct mir_buf_pool *bufs;
    struct mir_net_upper upper;
    struct mir_net_dev_stats stats;
    struct mir_virtio_net_counters counters;
    struct mir_io_page *self; /* the memory of this structure */
    uint32_t header_len;
    uint32_t epoch;     /* changes when the queues go */
    uint64_t features;  /* agreed on at open, the same at each start */
    bool is_negotiated; /* since the last reset */
    bool is_started;    /* by the upper half */
    bool is_up;         /* queues are there, the device runs */
    bool is_dead;       /* it did not let go at a reset: never touched again */
    bool is_full;       /* tx_room() said 0 or a frame was dropped */
    bool has_link;
    struct mir_timer timer; /* is_up: completions that nobody asked for; else: try again */
    mir_time_us up_since_us;
    mir_time_us retry_us; /* pause before the next try */
    /* receive */
    struct mir_virtio_queue rx;
    uint32_t rx_page_bytes;
    uint32_t rx_room; /* of a page, for header and frame */
    uint32_t rx_target;
    uint32_t rx_frame_max;
    struct mir_buf *rx_spare; /* for an ACK when there is no memory left */
    /* send */
    struct mir_virtio_queue tx;
    bool has_one_piece; /* header and frame may be in one descriptor */
    bool is_held;       /* something was added since the last kick */
    uint16_t tx_seen;   /* completions at the last look of the timer */
    mir_time_us tx_look_us;
    /* control */
    struct mir_virtio_queue ctrl;
    struct mir_io_page *ctrl_page;
    uint32_t ctrl_wanted; /* enum mir__virtnet_command */
    uint32_t ctrl_sent;   /* the one on its way, or 0 */
    uint16_t ctrl_index;
    uint8_t own_mac[6]; /* of the device */
    bool is_promiscuous;
    bool mac_refused;
};

static inline struct mir__virtnet *mir__virtnet_of(struct mir_net_dev *dev)
{
    return (struct mir__virtnet *)(void *)dev;
}

/** The device misbehaved, or asks for a reset: it is reset, and set up again after a pause. */
void mir__virtnet_reset(struct mir__virtnet *n, const char *why);

/** Lend pages to the device. Returns 0 or -MIR_ENOMEM (it got none). */
int mir__virtnet_rx_fill(struct mir__virtnet *n) MIR_CHECK;
/** Take what was received. Returns true if there was something. */
bool mir__virtnet_rx_poll(struct mir__virtnet *n);

int mir__virtnet_tx(struct mir_net_dev *dev, MIR_GIVE struct mir_buf *buf_given);
void mir__virtnet_tx_flush(struct mir_net_dev *dev);
uint32_t mir__virtnet_tx_room(struct mir_net_dev *dev);
/** Release what was sent. Returns true if there was something. */
bool mir__virtnet_tx_poll(struct mir__virtnet *n);
/** The timer: what was sent and not asked for; a device that sleeps. */
void mir__virtnet_tx_look(struct mir__virtnet *n);

/** Send @commands, as soon as the ones before are answered. */
void mir__virtnet_ctrl_want(struct mir__virtnet *n, uint32_t commands);
bool mir__virtnet_ctrl_poll(struct mir__virtnet *n);
/** What a device that was just set up must be told. */
void mir__virtnet_ctrl_start(struct mir__virtnet *n);

#endif
