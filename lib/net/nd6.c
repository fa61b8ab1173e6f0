/* SPDX-License-Identifier: ISC */
/* IPv6 on Ethernet: the link-local address, and groups (RFC 2464, RFC 4291).
 *
 * The link-local address is made from the MAC (RFC 4291 appendix A) and is taken without asking
 * whether it is free. Packets to a group carry the group's last four bytes in their Ethernet
 * address (RFC 2464 section 7).
 *
 * Not done: neighbour discovery. Unicast packets are dropped and counted.
 */
#include "lib/net/net_state.h"

void mir__nd6_iface_start(struct mir__iface *iface)
{
    struct mir__ifaddr_spec spec = {
        .ip = {{0xfe, 0x80}},
        .prefix_len = 64,
        .origin = MIR__IFADDR_LINK_LOCAL,
    };
    mir_memcpy(spec.ip.bytes + 8, iface->mac, 3);
    spec.ip.bytes[8] ^= 2;
    spec.ip.bytes[11] = 0xff;
    spec.ip.bytes[12] = 0xfe;
    mir_memcpy(spec.ip.bytes + 13, iface->mac + 3, 3);
    if (mir__ifaddr_add(iface, &spec, NULL) < 0)
        MIR_LOG(NET, WARN, "no link-local address interface=%u", iface->index);
}

void mir__nd6_iface_stop(struct mir__iface *iface)
{
    mir__ifaddr_forget(iface, MIR__IFADDR_LINK_LOCAL);
}

void mir__nd6_dad_start(struct mir__ifaddr *addr)
{
    mir__ifaddr_set_state(addr, MIR__IFADDR_PREFERRED);
}

void mir__nd6_dad_timer(struct mir__ifaddr *addr)
{
    (void)addr;
}

void mir__nd6_input(struct mir_net *net, const struct mir__ip_meta *meta, struct mir_buf *buf_given)
{
    (void)meta;
    net->counters.icmp_ignored++;
    mir_buf_release(buf_given);
}

int mir__nd6_output(struct mir_net *net, struct mir__route *route, struct mir_buf *buf_given)
{
    struct mir__iface *iface = route->iface;
    if (!mir__ip6_is_multicast(&route->next_hop6)) {
        net->counters.tx_dropped++;
        mir_buf_release(buf_given);
        return -MIR_EHOSTUNREACH;
    }
    uint8_t *header = mir_buf_push(buf_given, MIR__ETH_HEADER_LEN);
    mir_put_be16(header, 0x3333);
    mir_memcpy(header + 2, route->next_hop6.bytes + 12, 4);
    mir_memcpy(header + 6, iface->mac, 6);
    mir_put_be16(header + 12, MIR__ETH_TYPE_IP6);
    return mir__iface_tx(iface, buf_given);
}
