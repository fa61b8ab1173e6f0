/* SPDX-License-Identifier: ISC */
/* dev/net/xen/netif.h has the layout and the numbers of Xen's netif.h, by the compiler's word.
 * Speaks TAP. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <xen/xen.h>
/* The headers ask for these under two names. */
#define mb()  __sync_synchronize()
#define rmb() __sync_synchronize()
#define wmb() __sync_synchronize()
#include <xen/io/netif.h>
#include <xen/io/xenbus.h>

#include "dev/net/xen/internal.h"

#define SAME(ours, theirs) _Static_assert((ours) == (theirs), #ours " is " #theirs)
#define FIELD(ours, field, theirs, named)                                                          \
    SAME(offsetof(ours, field), offsetof(theirs, named));                                          \
    SAME(sizeof(((ours *)0)->field), sizeof(((theirs *)0)->named))

FIELD(struct mir__netif_tx_req, ref, netif_tx_request_t, gref);
FIELD(struct mir__netif_tx_req, offset, netif_tx_request_t, offset);
FIELD(struct mir__netif_tx_req, flags, netif_tx_request_t, flags);
FIELD(struct mir__netif_tx_req, id, netif_tx_request_t, id);
FIELD(struct mir__netif_tx_req, size, netif_tx_request_t, size);
FIELD(struct mir__netif_tx_rsp, id, netif_tx_response_t, id);
FIELD(struct mir__netif_tx_rsp, status, netif_tx_response_t, status);
FIELD(struct mir__netif_rx_req, id, netif_rx_request_t, id);
FIELD(struct mir__netif_rx_req, ref, netif_rx_request_t, gref);
FIELD(struct mir__netif_rx_rsp, id, netif_rx_response_t, id);
FIELD(struct mir__netif_rx_rsp, offset, netif_rx_response_t, offset);
FIELD(struct mir__netif_rx_rsp, flags, netif_rx_response_t, flags);
FIELD(struct mir__netif_rx_rsp, status, netif_rx_response_t, status);
FIELD(struct mir__netif_extra, type, struct netif_extra_info, type);
FIELD(struct mir__netif_extra, flags, struct netif_extra_info, flags);
FIELD(struct mir__netif_extra, gso_size, struct netif_extra_info, u.gso.size);
FIELD(struct mir__netif_extra, gso_type, struct netif_extra_info, u.gso.type);
FIELD(struct mir__netif_extra, gso_features, struct netif_extra_info, u.gso.features);
SAME(sizeof(union mir__netif_tx), sizeof(union netif_tx_sring_entry));
SAME(sizeof(union mir__netif_rx), sizeof(union netif_rx_sring_entry));
SAME(MIR__NETFRONT_SLOTS, __CONST_RING_SIZE(netif_tx, 4096));
SAME(MIR__NETFRONT_SLOTS, __CONST_RING_SIZE(netif_rx, 4096));

SAME(MIR__NETIF_TX_CSUM_BLANK, NETTXF_csum_blank);
SAME(MIR__NETIF_TX_DATA_VALID, NETTXF_data_validated);
SAME(MIR__NETIF_TX_MORE, NETTXF_more_data);
SAME(MIR__NETIF_TX_EXTRA, NETTXF_extra_info);
SAME(MIR__NETIF_RX_DATA_VALID, NETRXF_data_validated);
SAME(MIR__NETIF_RX_CSUM_BLANK, NETRXF_csum_blank);
SAME(MIR__NETIF_RX_MORE, NETRXF_more_data);
SAME(MIR__NETIF_RX_EXTRA, NETRXF_extra_info);
SAME((int)MIR__NETIF_DROPPED, NETIF_RSP_DROPPED);
SAME((int)MIR__NETIF_ERROR, NETIF_RSP_ERROR);
SAME((int)MIR__NETIF_OKAY, NETIF_RSP_OKAY);
SAME((int)MIR__NETIF_NULL, NETIF_RSP_NULL);
SAME(MIR__NETIF_EXTRA_GSO, XEN_NETIF_EXTRA_TYPE_GSO);
SAME(MIR__NETIF_EXTRA_MORE, XEN_NETIF_EXTRA_FLAG_MORE);
SAME(MIR__NETIF_GSO_TCP4, XEN_NETIF_GSO_TYPE_TCPV4);
SAME(MIR__NETIF_GSO_TCP6, XEN_NETIF_GSO_TYPE_TCPV6);
SAME(MIR__NETIF_SLOTS_MAX, XEN_NETIF_NR_SLOTS_MIN);
SAME((int)MIR_XENBUS_INITIALISING, (int)XenbusStateInitialising);
SAME((int)MIR_XENBUS_INIT_WAIT, (int)XenbusStateInitWait);
SAME((int)MIR_XENBUS_CONNECTED, (int)XenbusStateConnected);
SAME((int)MIR_XENBUS_CLOSING, (int)XenbusStateClosing);
SAME((int)MIR_XENBUS_CLOSED, (int)XenbusStateClosed);

int main(void)
{
    puts("ok 1 - 46 numbers are those of netif.h and xenbus.h\n1..1");
    return 0;
}
