/* SPDX-License-Identifier: ISC */
/* Messages of the DHCP client (RFC 2131 section 4.4.1) on their way out.
 *
 * Who we are is in each of them: the hardware address, and a client identifier by RFC 4361 with the
 * DUID that DHCPv6 uses here too. What we want to know, how large an answer may be and our name go
 * into those that ask. A message leaves before there is an address or a route, so one for everybody
 * brings its own route along; one for a server alone takes the routes there are.
 *
 * When which message is due is the business of dhcp.c.
 */
#include "lib/net/net_state.h"

enum { SERVER_PORT = 67, CLIENT_PORT = 68 };

static void fill_identity(const struct mir__iface *iface, struct mir__dhcp *msg)
{
    /* Routes before routers: RFC 3442. */
    static const uint8_t wanted[] = {
        MIR__DHCP_OPT_ROUTES, MIR__DHCP_OPT_SUBNET_MASK, MIR__DHCP_OPT_ROUTER, MIR__DHCP_OPT_DNS,
        MIR__DHCP_OPT_DOMAIN, MIR__DHCP_OPT_MTU,         MIR__DHCP_OPT_LEASE,  MIR__DHCP_OPT_T1,
        MIR__DHCP_OPT_T2,     MIR__DHCP_OPT_SEARCH,
    };
    const char *hostname = iface->dhcp.hostname;
    bool asks = msg->type == MIR__DHCP_DISCOVER || msg->type == MIR__DHCP_REQUEST;
    /* RFC 4361 section 6.1: type, number of the interface, DUID of a link-layer address. */
    msg->client_id_len = 15;
    msg->client_id[0] = 255;
    mir_put_be32(msg->client_id + 1, iface->index + 1);
    mir_put_be32(msg->client_id + 5, 0x00030001);
    mir_memcpy(msg->client_id + 9, iface->mac, 6);
    if (!asks)
        return;
    msg->parameter_count = sizeof wanted;
    mir_memcpy(msg->parameters, wanted, sizeof wanted);
    msg->max_size = MIR_MIN(iface->mtu, (uint16_t)1500);
    if (hostname != NULL) {
        msg->hostname_len = (uint8_t)MIR_MIN(mir_str_len(hostname), (size_t)MIR__DHCP_TEXT_MAX);
        mir_memcpy(msg->hostname, hostname, msg->hostname_len);
    }
}

/* Route to everybody: needs no address of ours. */
static void route_to_all(struct mir__iface *iface, struct mir__route *route)
{
    *route = (struct mir__route){
        .iface = iface,
        .generation = iface->net->route_generation,
        .next_hop4 = UINT32_MAX,
        .neighbour = &iface->to_all,
        .mtu = iface->mtu,
        .ip_header_len = MIR__IP4_HEADER_LEN,
        .caps = iface->dev->info.caps,
    };
}

static void send_datagram(struct mir__iface *iface, uint32_t src_ip, uint32_t dst_ip,
                          struct mir_buf *buf_given)
{
    struct mir_net *net = iface->net;
    struct mir__route route;
    struct mir_ip src = mir_ip_from_v4(src_ip), dst = mir_ip_from_v4(dst_ip);
    if (dst_ip == UINT32_MAX) {
        route_to_all(iface, &route);
    } else if (mir__ip_route(net, &dst, &src, &route) < 0) {
        mir_buf_release(buf_given);
        return;
    }
    struct mir__udp udp = {
        .src = CLIENT_PORT,
        .dst = SERVER_PORT,
        .len = (uint16_t)(mir_buf_total(buf_given) + MIR__UDP_HEADER_LEN),
    };
    mir__udp_emit(&udp, mir_buf_push(buf_given, MIR__UDP_HEADER_LEN));
    mir__ip_transport_checksum(&route, &src, &dst, MIR__PROTO_UDP, buf_given, MIR__UDP_CHECKSUM_AT);
    if (!(buf_given->flags & MIR_BUF_CSUM_PARTIAL) && !mir__udp_has_checksum(buf_given->data))
        mir_put_be16(buf_given->data + MIR__UDP_CHECKSUM_AT, 0xffff);
    struct mir__ip_params params = {.src = &src, .dst = &dst, .protocol = MIR__PROTO_UDP};
    net->counters.dhcp_out++;
    (void)mir__ip_output(net, &route, &params, buf_given);
}

void mir__dhcp_send(struct mir__iface *iface, struct mir__dhcp *msg, uint32_t dst_ip)
{
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    struct mir_net *net = iface->net;
    mir_time_us elapsed_s = (mir_loop_now(iface->net->loop) - dhcp->begin_us) / MIR_US_PER_S;
    msg->op = MIR__DHCP_BOOTREQUEST;
    msg->xid = dhcp->xid;
    msg->secs = (uint16_t)MIR_MIN(elapsed_s, 65535u);
    /* Without an address we could not be told by unicast (RFC 2131 section 4.1). */
    msg->broadcast = msg->ciaddr == 0;
    mir_memcpy(msg->chaddr, iface->mac, 6);
    fill_identity(iface, msg);
    struct mir_buf *buf =
        mir_buf_alloc_page(net->bufs, MIR_BUF_HEADROOM + MIR__DHCP_EMIT_MAX, MIR_BUF_HEADROOM);
    if (buf == NULL) {
        net->counters.no_memory++;
        return;
    }
    buf->len = (uint32_t)mir__dhcp_emit(msg, buf->data);
    MIR_ASSERT_OP(buf->len, >, 0);
    send_datagram(iface, msg->ciaddr, dst_ip, buf);
}
