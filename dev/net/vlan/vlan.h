/* SPDX-License-Identifier: ISC */
/* A network device around another one that is one VLAN of it (IEEE 802.1Q). */
#ifndef DEV_NET_VLAN_VLAN_H
#define DEV_NET_VLAN_VLAN_H

#include "dev/net/wrap/wrap.h"

#define MIR_VLAN_ID_MAX 4094u

struct mir_vlan {
    struct mir__wrap wrap; /**< the device is wrap.dev; first */
    uint64_t foreign;      /**< frames of other VLANs or without a tag, dropped */
    uint64_t nested;       /**< frames with a further tag inside, dropped */
    uint64_t no_memory;    /**< frames out that could not be copied */
    /* private: */
    struct mir_buf_pool *bufs;
    uint16_t id;
};

/**
 * mir_vlan_init() - put a VLAN on a device.
 *
 * @vlan   caller's memory, lent until the device, &vlan->wrap.dev, is closed
 * @inner  given: closed with this device
 * @bufs   for frames without room for a tag
 * @id     1 .. 4094
 *
 * Returns nothing. Frames out get the tag, with priority 0; frames in lose it.
 * Cost    twelve bytes are moved for each frame
 * Source  IEEE 802.1Q clause 9.6
 */
void mir_vlan_init(struct mir_vlan *vlan, MIR_GIVE struct mir_net_dev *inner,
                   struct mir_buf_pool *bufs, uint16_t id);

#endif
