/* SPDX-License-Identifier: ISC */
/* Several stacks with one address behind one interface: a middleware that passes frames on to the
 * stack that they are for. */
#ifndef DEV_NET_SHARE_SHARE_H
#define DEV_NET_SHARE_SHARE_H

#include <mirari/net.h>

#include "dev/net/wrap/wrap.h"

/** Ports from here on are chosen by stacks: each has those of its rest by the number of stacks. */
#define MIR_SHARE_PORT_MIN 32768u
/** Instead of a stack's index: the one that will replace this one. */
#define MIR_SHARE_SUCCESSOR UINT32_MAX

struct mir_share_config {
    struct mir_net_dev *inner; /**< given: closed with this device */
    uint32_t index, count;     /**< which of how many stacks this one is */
    /** Copy [mir_buf_total()] bytes and the offload fields of @buf, borrowed, to stack @to. */
    void (*pass)(void *arg, uint32_t to, const struct mir_buf *buf);
    void *arg;
};

struct mir_share {
    struct mir__wrap wrap; /**< the device is wrap.dev; first */
    uint64_t passed;       /**< frames for another stack */
    uint64_t copied;       /**< frames for all of them */
    uint64_t given;        /**< frames that others have passed to us */
    /* private: */
    struct mir_share_config config;
    uint32_t claimed_ip;     /* 0 = none */
    struct mir_net *leaving; /* our stack takes no new connections; NULL: it does */
};

/**
 * mir_share_init() - share a device.
 *
 * @share   caller's memory, lent until the device, &share->wrap.dev, is closed
 * @config  copied
 *
 * Returns nothing. What belongs to a connection comes to its stack whatever the host does, if
 * stacks choose their ports by mir_net_config.port_share; what tells of neighbours, routers and
 * errors comes to all. Cost    a few comparisons for each frame in; frames out pass as they are
 * Source  none
 */
void mir_share_init(struct mir_share *share, const struct mir_share_config *config);

/** A frame that another stack has passed to us. To be followed by mir_share_give_end(). */
void mir_share_give(struct mir_share *share, MIR_GIVE struct mir_buf *buf_given);
void mir_share_give_end(struct mir_share *share);

/** Our address is @ip4, leased, and its lease the business of stack 0: that gets a copy of each ARP
 *  request whose sender, not we, says to have it. 0 = none. */
void mir_share_claim(struct mir_share *share, uint32_t ip4);

/** From now on everything but frames of @net's connections goes to MIR_SHARE_SUCCESSOR. */
void mir_share_leave(struct mir_share *share, struct mir_net *net);

#endif
