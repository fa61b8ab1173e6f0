/* SPDX-License-Identifier: ISC */
/* ICMP for IPv6 (RFC 4443).
 *
 * Echo requests are answered with the same bytes, however long: the copy of the request becomes
 * the reply by changing its type and adjusting the checksum. The addresses change places, which
 * leaves the pseudo-header's sum alone, unless a group was asked: then the reply comes from an
 * address of ours (section 4.2) and takes a token of the bucket that bounds errors, so that a ping
 * of all nodes is no amplifier.
 *
 * Errors from others go to the transport whose packet they quote, if that packet could be ours: its
 * source is one of our addresses and the same as the error's destination. The quote's extension
 * headers are walked with bounds. What an error means is decided by the transport (RFC 5927).
 *
 * Errors of ours obey section 2.4: none about an ICMPv6 error or a redirect, none about a packet to
 * a group (but for options that ask for it), none to a source that is not one host; they quote as
 * much as fits into 1280 bytes. They share the token bucket of IPv4.
 *
 * Neighbour discovery and multicast listener messages are handed on with their checksum verified.
 */
#include "lib/net/net_state.h"

enum { QUOTE_MAX = MIR__IP6_MTU_MIN - MIR__IP6_HEADER_LEN - MIR__ICMP6_HEADER_LEN };

/* The way back. A link-local address means somebody on the link that the packet came from, whatever
 * the routing table says (RFC 4007 section 9). */
static int route_back(struct mir_net *net, const struct mir__ip_meta *meta, struct mir_ip *from,
                      struct mir__route *route)
{
    if (!mir__ip6_is_link_local(&meta->src))
        return mir__ip_route(net, &meta->src, from, route);
    mir__ip_route_on_link(meta->iface, &meta->src, route);
    return !mir_ip_is_any(from) || mir__ip6_select_source(meta->iface, &meta->src, from)
               ? 0
               : -MIR_ENETUNREACH;
}

/* To whom @meta comes from; @src :: for an address that fits. */
static void send_back(struct mir_net *net, const struct mir__ip_meta *meta,
                      const struct mir_ip *src, struct mir_buf *buf_given, bool has_checksum)
{
    struct mir__route route;
    struct mir_ip from = *src;
    const struct mir_ip *dst = &meta->src;
    struct mir__ip_params params = {.src = &from, .dst = dst, .protocol = MIR__IP6_ICMP};
    if (route_back(net, meta, &from, &route) < 0) {
        mir_buf_release(buf_given);
        return;
    }
    if (!has_checksum) {
        mir_put_be16(buf_given->data + 2, 0);
        mir__ip_transport_checksum(&route, &from, dst, MIR__IP6_ICMP, buf_given, 2);
    }
    net->counters.icmp_out++;
    (void)mir__ip_output(net, &route, &params, buf_given);
}

static bool is_one_host(const struct mir__ip_meta *meta)
{
    return mir__ip6_is_host(&meta->src) || mir__self_is(meta->iface->net, &meta->src);
}

/* ---- errors of ours ------------------------------------------------------------------------ */

/* Where the headers of the IPv6 packet [ip, ip+len) end and what follows; false if that is not
 * there. For quotes: cut off, and perhaps made up. */
static bool find_transport(const uint8_t *ip, size_t len, uint8_t *protocol, size_t *at)
{
    uint8_t next = mir__ip6_next(ip);
    *at = MIR__IP6_HEADER_LEN;
    for (int i = 0; i < 8; i++) {
        bool is_fragment = next == MIR__IP6_FRAGMENT;
        if (!is_fragment && next != MIR__IP6_HOP_BY_HOP && next != MIR__IP6_DESTINATION &&
            next != MIR__IP6_ROUTING) {
            *protocol = next;
            return true;
        }
        if (len < *at + 8 || (is_fragment && mir__ip6_fragment_offset(ip + *at) != 0))
            return false;
        next = ip[*at];
        *at += is_fragment ? MIR__IP6_FRAGMENT_LEN : mir__ip6_ext_len(ip + *at);
        if (*at > len)
            return false;
    }
    return false;
}

static bool may_answer(const struct mir__ip_meta *meta, const uint8_t *ip, size_t len, uint8_t type,
                       uint8_t code)
{
    uint8_t protocol;
    size_t at;
    bool is_asked_for = type == MIR__ICMP6_PARAMETER_PROBLEM && code == MIR__ICMP6_BAD_OPTION;
    if ((meta->is_broadcast && !is_asked_for) || !is_one_host(meta))
        return false;
    if (!find_transport(ip, len, &protocol, &at))
        return true;
    if (protocol != MIR__IP6_ICMP)
        return true;
    return len > at && !mir__icmp6_type_is_error(ip[at]) && ip[at] != MIR__ICMP6_REDIRECT;
}

void mir__icmp6_send_error(struct mir_net *net, const struct mir__ip_meta *meta,
                           const struct mir_buf *buf, uint8_t type, uint8_t code, uint32_t rest)
{
    const uint8_t *ip = buf->start + buf->network_offset;
    uint32_t linear_len = (uint32_t)(buf->data + buf->len - ip);
    uint32_t quote_len = MIR_MIN(linear_len + buf->frag_len, (uint32_t)QUOTE_MAX);
    if (!may_answer(meta, ip, linear_len, type, code) || !mir__icmp_take_token(net))
        return;
    struct mir_buf *out = mir_buf_alloc_page(
        net->bufs, MIR_BUF_HEADROOM + MIR__ICMP6_HEADER_LEN + QUOTE_MAX, MIR_BUF_HEADROOM);
    if (out == NULL) {
        net->counters.no_memory++;
        return;
    }
    uint32_t from_linear = MIR_MIN(linear_len, quote_len);
    uint8_t *icmp = mir_buf_append(out, MIR__ICMP6_HEADER_LEN + quote_len);
    mir_memcpy(icmp + MIR__ICMP6_HEADER_LEN, ip, from_linear);
    if (quote_len > from_linear &&
        mir_buf_copy_out(buf, buf->len, icmp + MIR__ICMP6_HEADER_LEN + from_linear,
                         quote_len - from_linear) < 0)
        mir_buf_trim(out, MIR__ICMP6_HEADER_LEN + from_linear);
    icmp[0] = type;
    icmp[1] = code;
    mir_put_be32(icmp + 4, rest);
    struct mir_ip any = {{0}};
    send_back(net, meta, mir__ip_is_local(net, &meta->dst) ? &meta->dst : &any, out, false);
}

/* ---- echo ---------------------------------------------------------------------------------- */

static void answer_echo(struct mir_net *net, const struct mir__ip_meta *meta,
                        const struct mir_buf *buf)
{
    bool is_group = mir__ip6_is_multicast(&meta->dst);
    if (!is_one_host(meta) || (meta->is_broadcast && !mir__icmp_take_token(net)))
        return;
    struct mir_buf *out = mir__icmp_echo_reply(net, meta, buf, MIR__ICMP6_ECHO_REPLY);
    if (out == NULL)
        return;
    struct mir_ip any = {{0}};
    send_back(net, meta, is_group ? &any : &meta->dst, out, !is_group);
}

/* ---- errors from others -------------------------------------------------------------------- */

static int error_of(uint8_t type, uint8_t code)
{
    switch (type) {
    case MIR__ICMP6_TOO_BIG:
        return -MIR_ETOOBIG;
    case MIR__ICMP6_UNREACHABLE:
        if (code == MIR__ICMP6_PORT)
            return -MIR_ECONNREFUSED;
        return code == MIR__ICMP6_NO_ROUTE || code == MIR__ICMP6_REJECT_ROUTE ? -MIR_ENETUNREACH
                                                                              : -MIR_EHOSTUNREACH;
    case MIR__ICMP6_PARAMETER_PROBLEM:
        /* The peer does not know the protocol: as "protocol unreachable" of IPv4. */
        return code == MIR__ICMP6_BAD_NEXT ? -MIR_ECONNREFUSED : -MIR_EPROTO;
    default:
        return -MIR_EHOSTUNREACH;
    }
}

void mir__icmp6_tell_transport(struct mir_net *net, const uint8_t *ip, size_t len, int err,
                               uint16_t mtu)
{
    uint8_t protocol;
    size_t at;
    if (!find_transport(ip, len, &protocol, &at) || len < at + 8)
        return;
    struct mir_ip local = mir__ip6_src(ip), remote = mir__ip6_dst(ip);
    if (protocol == MIR__PROTO_TCP)
        mir__tcp_icmp_error(net, &local, &remote, ip + at, err, mtu);
    else if (protocol == MIR__PROTO_UDP)
        mir__udp_icmp_error(net, &local, &remote, ip + at, err, mtu);
}

static void input_error(struct mir_net *net, const struct mir__ip_meta *meta, const uint8_t *icmp,
                        size_t len)
{
    const uint8_t *ip = icmp + MIR__ICMP6_HEADER_LEN;
    size_t quote_len = len - MIR__ICMP6_HEADER_LEN;
    int err = error_of(mir__icmp6_type(icmp), mir__icmp6_code(icmp));
    uint32_t mtu = err == -MIR_ETOOBIG ? mir__icmp6_rest(icmp) : 0;
    if (quote_len < MIR__IP6_HEADER_LEN || ip[0] >> 4 != 6) {
        net->counters.icmp_malformed++;
        return;
    }
    /* RFC 8201 section 4: every link carries 1280 bytes; who claims less is not believed. */
    if (err == -MIR_ETOOBIG && mtu < MIR__IP6_MTU_MIN) {
        net->counters.icmp_malformed++;
        return;
    }
    struct mir_ip quoted_src = mir__ip6_src(ip);
    if (meta->is_broadcast || !mir_ip_equal(&quoted_src, &meta->dst)) {
        net->counters.icmp_ignored++;
        return;
    }
    mir__icmp6_tell_transport(net, ip, quote_len, err, (uint16_t)MIR_MIN(mtu, 65535u));
}

/* ---- input --------------------------------------------------------------------------------- */

static bool checksum_ok(const struct mir__ip_meta *meta, const struct mir_buf *buf)
{
    return mir__ip_transport_checksum_ok(meta, MIR__IP6_ICMP, buf);
}

static void dispatch(struct mir_net *net, const struct mir__ip_meta *meta, struct mir_buf *buf)
{
    const uint8_t *icmp = buf->data;
    switch (mir__icmp6_type(icmp)) {
    case MIR__ICMP6_ECHO:
        answer_echo(net, meta, buf);
        break;
    case MIR__ICMP6_UNREACHABLE:
    case MIR__ICMP6_TOO_BIG:
    case MIR__ICMP6_TIME_EXCEEDED:
    case MIR__ICMP6_PARAMETER_PROBLEM:
        input_error(net, meta, icmp, buf->len);
        break;
    case MIR__ICMP6_ROUTER_SOLICIT:
    case MIR__ICMP6_ROUTER_ADVERT:
    case MIR__ICMP6_NEIGHBOR_SOLICIT:
    case MIR__ICMP6_NEIGHBOR_ADVERT:
    case MIR__ICMP6_REDIRECT:
        mir__nd6_input(net, meta, buf);
        return;
    case MIR__ICMP6_MLD_QUERY:
    case MIR__ICMP6_MLD_REPORT:
    case MIR__ICMP6_MLD_DONE:
    case MIR__ICMP6_MLD2_REPORT:
        mir__mld6_input(net, meta, buf);
        return;
    default:
        net->counters.icmp_ignored++; /* without an answer (section 2.4 b) */
        break;
    }
    mir_buf_release(buf);
}

void mir__icmp6_input(struct mir_net *net, const struct mir__ip_meta *meta,
                      struct mir_buf *buf_given)
{
    net->counters.icmp_in++;
    if (mir__icmp6_check(buf_given->data, buf_given->len) < 0) {
        net->counters.icmp_malformed++;
    } else if (!checksum_ok(meta, buf_given)) {
        net->counters.icmp_bad_checksum++;
    } else {
        dispatch(net, meta, buf_given);
        return;
    }
    mir_buf_release(buf_given);
}
