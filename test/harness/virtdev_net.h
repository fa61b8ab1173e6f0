/* SPDX-License-Identifier: ISC */
/* A virtio network device in memory: what it sends is given to a function, what it is given is
 * received. */
#ifndef TEST_VIRTDEV_NET_H
#define TEST_VIRTDEV_NET_H

#include "dev/net/virtio/internal.h"
#include "test/harness/virtdev.h"

#define VIRTDEV_NET_FRAME_MAX 70000u

/** Everything that QEMU's device offers. */
#define VIRTDEV_NET_ALL                                                                            \
    (MIR__VIRTNET_F_CSUM | MIR__VIRTNET_F_GUEST_CSUM | MIR__VIRTNET_F_MAC |                        \
     MIR__VIRTNET_F_GUEST_TSO4 | MIR__VIRTNET_F_GUEST_TSO6 | MIR__VIRTNET_F_GUEST_ECN |            \
     MIR__VIRTNET_F_HOST_TSO4 | MIR__VIRTNET_F_HOST_TSO6 | MIR__VIRTNET_F_MRG_RXBUF |              \
     MIR__VIRTNET_F_STATUS | MIR__VIRTNET_F_CTRL_VQ | MIR__VIRTNET_F_CTRL_RX |                     \
     MIR__VIRTNET_F_ANNOUNCE | MIR__VIRTNET_F_CTRL_MAC | MIR_VIRTIO_F_ANY_LAYOUT |                 \
     MIR_VIRTIO_F_INDIRECT | MIR_VIRTIO_F_EVENT_IDX)

struct virtdev_net {
    struct virtdev d; /* first */
    void (*on_frame)(void *arg, const uint8_t *header, const uint8_t *frame, uint32_t len);
    void *arg;
    uint32_t frames, bytes;
    bool holds;           /* chains to send are kept until virtdev_net_return() */
    bool refuses;         /* answers commands with an error */
    uint32_t evil_pieces; /* one in so many received frames claims a random number of pages */
    uint32_t held_count;
    uint16_t held[VIRTDEV_SIZE_MAX];
    /* what it was told */
    uint8_t mac[6];
    bool is_promiscuous, is_all_multicast;
    uint32_t pairs, announce_acks, commands;
    uint8_t frame[VIRTDEV_NET_FRAME_MAX];
};

/** A device with MAC 02:00:00:00:00:99 and link up. */
void virtdev_net_init(struct virtdev_net *m, enum virtdev_transport transport, uint64_t features,
                      uint16_t queue_max);
/** A frame for the driver; @header is NULL or 10 bytes. Returns false if it lent too little. */
bool virtdev_net_send(struct virtdev_net *m, const uint8_t *header, const uint8_t *frame,
                      uint32_t len);
/** Return @count of the chains that were held, the last first if @backwards. */
void virtdev_net_return(struct virtdev_net *m, uint32_t count, bool backwards);
/** Bits of the status in the configuration. */
void virtdev_net_set_status(struct virtdev_net *m, uint16_t status);

#endif
