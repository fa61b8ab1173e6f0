/* SPDX-License-Identifier: ISC */
/* ICMP for IPv4 (RFC 792, RFC 1122 section 3.2.2).
 *
 * Echo requests are answered with the same bytes, however long: the copy of the request becomes
 * the reply by changing one byte of the header and adjusting the checksum (RFC 1624). Echo to
 * broadcast or multicast is not answered (allowed by RFC 1122 section 3.2.2.6): a network of
 * appliances must not amplify somebody's flood.
 *
 * Errors from others go to the transport whose packet they quote, if that packet could be ours: its
 * source is one of our addresses and the same as the error's destination. What they mean is decided
 * there (RFC 5927 tells how little an ICMP error proves).
 *
 * Errors of ours obey the rules: none about an ICMP error, a broadcast, a fragment that is not the
 * first, or a source that is not one host. A token bucket of 50, filled at 100 per second, bounds
 * them, so that we are no mirror for a flood of spoofed packets.
 *
 * Not done: redirects (ignored: routes come from configuration), timestamps, address masks.
 */
#include "lib/net/net_state.h"

/* RFC 1812 section 4.3.2.3: as much of the packet as fits into 576 bytes. */
enum { QUOTE_MAX = 576 - 20 - 8 };

bool mir__icmp_take_token(struct mir_net *net)
{
    struct mir__icmp_state *icmp = &net->icmp;
    mir_time_us now_us = mir_loop_now(net->loop);
    mir_time_us per_token_us = MIR_US_PER_S / MIR__ICMP_PER_SECOND;
    mir_time_us fresh = (now_us - icmp->filled_us) / per_token_us;
    if (fresh > 0) {
        icmp->tokens = (uint32_t)MIR_MIN(icmp->tokens + fresh, (mir_time_us)MIR__ICMP_BURST);
        icmp->filled_us += fresh * per_token_us;
    }
    if (icmp->tokens == 0) {
        net->counters.icmp_rate_limited++;
        return false;
    }
    icmp->tokens--;
    return true;
}

/* ---- errors of ours ------------------------------------------------------------------------ */

static bool may_answer(const struct mir__ip_meta *meta, const uint8_t *ip, size_t len)
{
    uint32_t header_len = mir__ip4_header_len(ip);
    if (meta->is_broadcast || mir__ip4_offset(ip) != 0)
        return false;
    if (!mir__ip4_is_host(mir__ip4_src(ip)) && !mir__self_is(meta->iface->net, &meta->src))
        return false;
    if (mir__ip4_protocol(ip) == MIR__PROTO_ICMP)
        return len > header_len && !mir__icmp4_type_is_error(ip[header_len]);
    return true;
}

static void send_to(struct mir_net *net, const struct mir_ip *dst, const struct mir_ip *src,
                    struct mir_buf *buf_given)
{
    struct mir__route route;
    struct mir_ip from = *src;
    struct mir__ip_params params = {.src = &from, .dst = dst, .protocol = MIR__PROTO_ICMP};
    if (mir__ip_route(net, dst, &from, &route) < 0) {
        mir_buf_release(buf_given);
        return;
    }
    net->counters.icmp_out++;
    (void)mir__ip_output(net, &route, &params, buf_given);
}

void mir__icmp4_send_error(struct mir_net *net, const struct mir__ip_meta *meta,
                           const struct mir_buf *buf, uint8_t type, uint8_t code, uint16_t mtu)
{
    /* The whole linear part, from the IP header on, and the views behind it. */
    const uint8_t *ip = buf->start + buf->network_offset;
    uint32_t linear_len = (uint32_t)(buf->data + buf->len - ip);
    uint32_t quote_len = MIR_MIN(linear_len + buf->frag_len, (uint32_t)QUOTE_MAX);
    if (!may_answer(meta, ip, linear_len) || !mir__icmp_take_token(net))
        return;
    struct mir_buf *out = mir_buf_alloc_page(
        net->bufs, MIR_BUF_HEADROOM + MIR__ICMP4_HEADER_LEN + QUOTE_MAX, MIR_BUF_HEADROOM);
    if (out == NULL) {
        net->counters.no_memory++;
        return;
    }
    uint8_t *icmp = mir_buf_append(out, MIR__ICMP4_HEADER_LEN + quote_len);
    uint32_t from_linear = MIR_MIN(linear_len, quote_len);
    mir_memcpy(icmp + MIR__ICMP4_HEADER_LEN, ip, from_linear);
    if (quote_len > from_linear &&
        mir_buf_copy_out(buf, buf->len, icmp + MIR__ICMP4_HEADER_LEN + from_linear,
                         quote_len - from_linear) < 0)
        quote_len = from_linear;
    icmp[0] = type;
    icmp[1] = code;
    mir_put_be16(icmp + 2, 0);
    mir_put_be32(icmp + 4,
                 type == MIR__ICMP4_UNREACHABLE && code == MIR__ICMP4_FRAG_NEEDED ? mtu : 0);
    uint16_t check = (uint16_t)~mir__csum_partial(icmp, MIR__ICMP4_HEADER_LEN + quote_len);
    mir_memcpy(icmp + 2, &check, sizeof check);
    send_to(net, &meta->src, &meta->dst, out);
}

/* ---- echo ---------------------------------------------------------------------------------- */

struct mir_buf *mir__icmp_echo_reply(struct mir_net *net, const struct mir__ip_meta *meta,
                                     const struct mir_buf *request, uint8_t type)
{
    /* The places that a full device keeps are for what matters more than this. */
    if (mir_net_dev_tx_room(meta->iface->dev) == 0) {
        net->counters.tx_no_room++;
        return NULL;
    }
    struct mir_buf *out = mir_buf_linearize(net->bufs, request, MIR_BUF_HEADROOM);
    if (out == NULL) {
        net->counters.no_memory++;
        return NULL;
    }
    uint16_t check, was, is;
    out->flags = 0;
    mir_memcpy(&was, out->data, sizeof was);
    out->data[0] = type;
    mir_memcpy(&is, out->data, sizeof is);
    mir_memcpy(&check, out->data + 2, sizeof check);
    check = mir__csum_update(check, was, is);
    mir_memcpy(out->data + 2, &check, sizeof check);
    return out;
}

static void answer_echo(struct mir_net *net, const struct mir__ip_meta *meta,
                        const struct mir_buf *buf)
{
    if (meta->is_broadcast)
        return;
    struct mir_buf *out = mir__icmp_echo_reply(net, meta, buf, MIR__ICMP4_ECHO_REPLY);
    if (out == NULL)
        return;
    send_to(net, &meta->src, &meta->dst, out);
}

/* ---- errors from others -------------------------------------------------------------------- */

static int error_of(uint8_t type, uint8_t code)
{
    if (type != MIR__ICMP4_UNREACHABLE)
        return -MIR_EHOSTUNREACH; /* time exceeded */
    switch (code) {
    case MIR__ICMP4_PROTOCOL:
    case MIR__ICMP4_PORT:
        return -MIR_ECONNREFUSED;
    case MIR__ICMP4_FRAG_NEEDED:
        return -MIR_ETOOBIG;
    case MIR__ICMP4_NET:
    case 6:  /* network unknown */
    case 9:  /* network prohibited */
    case 11: /* network, for this TOS */
        return -MIR_ENETUNREACH;
    default:
        return -MIR_EHOSTUNREACH;
    }
}

/* RFC 1191 section 7: routers older than it tell no MTU; take the next common one below. */
static uint16_t plateau_below(uint16_t len)
{
    static const uint16_t plateaus[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 576};
    for (size_t i = 0; i < MIR_ARRAY_LEN(plateaus); i++) {
        if (plateaus[i] < len)
            return plateaus[i];
    }
    return 576;
}

void mir__icmp4_tell_transport(struct mir_net *net, const uint8_t *ip, size_t len, int err,
                               uint16_t mtu)
{
    uint32_t header_len = mir__ip4_header_len(ip);
    uint8_t protocol = mir__ip4_protocol(ip);
    if (len < header_len + 8)
        return;
    struct mir_ip local = mir_ip_from_v4(mir__ip4_src(ip));
    struct mir_ip remote = mir_ip_from_v4(mir__ip4_dst(ip));
    if (protocol == MIR__PROTO_TCP)
        mir__tcp_icmp_error(net, &local, &remote, ip + header_len, err, mtu);
    else if (protocol == MIR__PROTO_UDP)
        mir__udp_icmp_error(net, &local, &remote, ip + header_len, err, mtu);
}

static void input_error(struct mir_net *net, const struct mir__ip_meta *meta, const uint8_t *icmp,
                        size_t len)
{
    const uint8_t *ip = icmp + MIR__ICMP4_HEADER_LEN;
    size_t quote_len = len - MIR__ICMP4_HEADER_LEN;
    uint16_t mtu = 0;
    /* Quotes are cut off: only the header must be whole. */
    if (quote_len < MIR__IP4_HEADER_LEN || ip[0] >> 4 != 4 ||
        mir__ip4_header_len(ip) < MIR__IP4_HEADER_LEN || quote_len < mir__ip4_header_len(ip) + 8) {
        net->counters.icmp_malformed++;
        return;
    }
    /* Only about packets of ours, and only first fragments have ports to look at. */
    if (mir__ip4_src(ip) != mir_ip_to_v4(&meta->dst) || mir__ip4_offset(ip) != 0 ||
        meta->is_broadcast) {
        net->counters.icmp_ignored++;
        return;
    }
    int err = error_of(mir__icmp4_type(icmp), mir__icmp4_code(icmp));
    if (err == -MIR_ETOOBIG) {
        mtu = mir__icmp4_low(icmp);
        if (mtu == 0)
            mtu = plateau_below(mir__ip4_total_len(ip));
        /* RFC 791: every link carries 68 bytes. Less is a lie. */
        if (mtu < 68) {
            net->counters.icmp_malformed++;
            return;
        }
    }
    mir__icmp4_tell_transport(net, ip, quote_len, err, mtu);
}

/* ---- input --------------------------------------------------------------------------------- */

static bool checksum_ok(const struct mir_buf *buf)
{
#ifdef MIR_FUZZING
    (void)buf;
    return true;
#else
    return mir__csum_buf(buf, 0) == 0xffff;
#endif
}

void mir__icmp4_input(struct mir_net *net, const struct mir__ip_meta *meta,
                      struct mir_buf *buf_given)
{
    const uint8_t *icmp = buf_given->data;
    net->counters.icmp_in++;
    if (mir__icmp4_check(icmp, buf_given->len) < 0) {
        net->counters.icmp_malformed++;
    } else if (!checksum_ok(buf_given)) {
        net->counters.icmp_bad_checksum++;
    } else {
        switch (mir__icmp4_type(icmp)) {
        case MIR__ICMP4_ECHO:
            if (mir__icmp4_code(icmp) == 0)
                answer_echo(net, meta, buf_given);
            else
                net->counters.icmp_ignored++;
            break;
        case MIR__ICMP4_UNREACHABLE:
        case MIR__ICMP4_TIME_EXCEEDED:
            input_error(net, meta, icmp, buf_given->len);
            break;
        default:
            net->counters.icmp_ignored++; /* without an answer (RFC 1122 section 3.2.2) */
            break;
        }
    }
    mir_buf_release(buf_given);
}
