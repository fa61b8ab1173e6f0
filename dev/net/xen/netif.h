/* SPDX-License-Identifier: ISC */
/* Entries of the two rings of a Xen network interface, bit for bit those of public/io/netif.h.
 *
 *   send     request   | ref 4 | offset 2 | flags 2 | id 2 | size 2 |        12 bytes
 *            response  | id 2 | status 2 |                                    4
 *   receive  request   | id 2 | pad 2 | ref 4 |                               8
 *            response  | id 2 | offset 2 | flags 2 | status 2 |               8
 *   either   extra     | type 1 | flags 1 | gso: size 2, type 1, pad 1, features 2 |
 *
 * All in the machine's byte order. A packet is a chain of slots by MORE_DATA; an extra stands
 * behind the first one, if that says so. The first request's size is that of the whole packet.
 */
#ifndef DEV_NET_XEN_NETIF_H
#define DEV_NET_XEN_NETIF_H

#include <mirari/base.h>

enum mir__netif_tx_flags {
    MIR__NETIF_TX_CSUM_BLANK = 1,
    MIR__NETIF_TX_DATA_VALID = 2,
    MIR__NETIF_TX_MORE = 4,
    MIR__NETIF_TX_EXTRA = 8,
};

enum mir__netif_rx_flags {
    MIR__NETIF_RX_DATA_VALID = 1,
    MIR__NETIF_RX_CSUM_BLANK = 2,
    MIR__NETIF_RX_MORE = 4,
    MIR__NETIF_RX_EXTRA = 8,
};

enum mir__netif_status {
    MIR__NETIF_DROPPED = -2,
    MIR__NETIF_ERROR = -1,
    MIR__NETIF_OKAY = 0,
    MIR__NETIF_NULL = 1, /* of a slot with an extra */
};

enum { MIR__NETIF_EXTRA_GSO = 1, MIR__NETIF_EXTRA_MORE = 1 };
enum { MIR__NETIF_GSO_TCP4 = 1, MIR__NETIF_GSO_TCP6 = 2 };

#define MIR__NETIF_SLOTS_MAX 18u /* requests of a packet that every backend takes */

struct mir__netif_tx_req {
    uint32_t ref;
    uint16_t offset;
    uint16_t flags;
    uint16_t id;
    uint16_t size;
};

struct mir__netif_tx_rsp {
    uint16_t id;
    int16_t status;
};

struct mir__netif_rx_req {
    uint16_t id;
    uint16_t pad;
    uint32_t ref;
};

struct mir__netif_rx_rsp {
    uint16_t id;
    uint16_t offset;
    uint16_t flags;
    int16_t status; /* bytes, or an error */
};

struct mir__netif_extra {
    uint8_t type;
    uint8_t flags;
    uint16_t gso_size;
    uint8_t gso_type;
    uint8_t pad;
    uint16_t gso_features;
};

/** A slot of the ring, and what may be in it. */
union mir__netif_tx {
    struct mir__netif_tx_req req;
    struct mir__netif_tx_rsp rsp;
    struct mir__netif_extra extra;
};
union mir__netif_rx {
    struct mir__netif_rx_req req;
    struct mir__netif_rx_rsp rsp;
    struct mir__netif_extra extra;
};

_Static_assert(sizeof(union mir__netif_tx) == 12, "a slot as on the wire");
_Static_assert(sizeof(union mir__netif_rx) == 8, "a slot as on the wire");
_Static_assert(sizeof(struct mir__netif_extra) == 8, "an extra as on the wire");

#endif
