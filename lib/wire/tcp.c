/* SPDX-License-Identifier: ISC */
/* TCP header and options.
 *
 * The parser takes bytes from anybody: it reads inside [data, data + len) only, never loops without
 * progress, and gives values, not judgements. What a value means (a window scale above 14, an MSS
 * of 3) is decided in lib/net/tcp/options.c.
 *
 * The emitter writes options in one fixed order: MSS, SACK permitted, timestamps, window scale,
 * SACK blocks. Each is filled with NOPs to a multiple of four, except that SACK permitted takes the
 * place of the NOPs before timestamps. So timestamps alone have the layout that RFC 7323 appendix A
 * recommends and that receivers, ours too, recognise with one comparison, and a SYN looks like that
 * of the commonest stacks, which matters to middleboxes and lets packet scripts written for those
 * be used as they are.
 */
#include "lib/wire/tcp.h"

#include <mirari/bytes.h>

enum {
    OPT_END,
    OPT_NOP,
    OPT_MSS,
    OPT_WSCALE,
    OPT_SACK_PERMITTED,
    OPT_SACK,
    OPT_TS = 8,
    OPT_COOKIE = 34
};

/* NOP NOP TS 10, and SACK-permitted TS 10, as loaded big-endian. */
#define TS_ALONE       0x0101080au
#define SACK_OK_AND_TS 0x0402080au

int mir__tcp_header_parse(const uint8_t *data, uint32_t len, struct mir__tcp_header *hdr)
{
    if (len < MIR__TCP_HEADER_BYTES)
        return -MIR_ETRUNCATED;
    uint8_t hdr_len = (uint8_t)((data[12] >> 4) * 4);
    if (hdr_len < MIR__TCP_HEADER_BYTES)
        return -MIR_EMALFORMED;
    if (hdr_len > len)
        return -MIR_ETRUNCATED;
    hdr->src_port = mir_get_be16(data);
    hdr->dst_port = mir_get_be16(data + 2);
    hdr->seq = mir_get_be32(data + 4);
    hdr->ack = mir_get_be32(data + 8);
    hdr->hdr_len = hdr_len;
    hdr->flags = data[13];
    hdr->wnd = mir_get_be16(data + 14);
    return 0;
}

static void parse_sack(const uint8_t *body, uint32_t body_len, struct mir__tcp_options *opt)
{
    if (body_len % 8 != 0 || body_len == 0)
        return;
    for (uint32_t at = 0; at < body_len && opt->sack_count < MIR__TCP_SACK_BLOCKS; at += 8) {
        opt->sack[opt->sack_count].left = mir_get_be32(body + at);
        opt->sack[opt->sack_count].right = mir_get_be32(body + at + 4);
        opt->sack_count++;
    }
}

static void parse_one(uint8_t kind, const uint8_t *body, uint32_t body_len,
                      struct mir__tcp_options *opt)
{
    if (kind == OPT_MSS && body_len == 2) {
        opt->has_mss = true;
        opt->mss = mir_get_be16(body);
    } else if (kind == OPT_WSCALE && body_len == 1) {
        opt->has_wscale = true;
        opt->wscale = body[0];
    } else if (kind == OPT_SACK_PERMITTED && body_len == 0) {
        opt->sack_permitted = true;
    } else if (kind == OPT_SACK) {
        parse_sack(body, body_len, opt);
    } else if (kind == OPT_TS && body_len == 8) {
        opt->has_ts = true;
        opt->tsval = mir_get_be32(body);
        opt->tsecr = mir_get_be32(body + 4);
    } else if (kind == OPT_COOKIE && body_len % 2 == 0 && body_len <= MIR__TCP_COOKIE_MAX &&
               (body_len == 0 || body_len >= MIR__TCP_COOKIE_MIN)) {
        opt->has_cookie = true;
        opt->cookie_len = (uint8_t)body_len;
        opt->cookie = body;
    }
}

int mir__tcp_options_parse(const uint8_t *data, uint32_t len, struct mir__tcp_options *opt)
{
    opt->has_mss = opt->has_wscale = opt->has_ts = opt->sack_permitted = false;
    opt->has_cookie = false;
    opt->sack_count = 0;
    if (len == MIR__TCP_TS_BYTES && mir_get_be32(data) == TS_ALONE) {
        opt->has_ts = true;
        opt->tsval = mir_get_be32(data + 4);
        opt->tsecr = mir_get_be32(data + 8);
        return 0;
    }
    uint32_t at = 0;
    while (at < len && data[at] != OPT_END) {
        if (data[at] == OPT_NOP) {
            at++;
            continue;
        }
        if (len - at < 2 || data[at + 1] < 2 || data[at + 1] > len - at)
            return -MIR_EMALFORMED;
        parse_one(data[at], data + at + 2, data[at + 1] - 2u, opt);
        at += data[at + 1];
    }
    return 0;
}

void mir__tcp_header_emit(uint8_t *out, const struct mir__tcp_header *hdr)
{
    mir_put_be16(out, hdr->src_port);
    mir_put_be16(out + 2, hdr->dst_port);
    mir_put_be32(out + 4, hdr->seq);
    mir_put_be32(out + 8, hdr->ack);
    out[12] = (uint8_t)(hdr->hdr_len / 4 << 4);
    out[13] = hdr->flags;
    mir_put_be16(out + 14, hdr->wnd);
    mir_put_be32(out + 16, 0);
}

static uint32_t cookie_bytes(const struct mir__tcp_options *opt)
{
    return opt->has_cookie ? (2u + opt->cookie_len + 3u) / 4 * 4 : 0;
}

uint32_t mir__tcp_options_len(const struct mir__tcp_options *opt)
{
    bool is_shared = opt->has_ts && opt->sack_permitted;
    return (opt->has_mss ? 4u : 0u) + (opt->has_wscale ? 4u : 0u) +
           (opt->sack_permitted && !is_shared ? 4u : 0u) + (opt->has_ts ? MIR__TCP_TS_BYTES : 0u) +
           (opt->sack_count > 0 ? 4u + 8u * opt->sack_count : 0u) + cookie_bytes(opt);
}

uint32_t mir__tcp_options_emit(uint8_t *out, const struct mir__tcp_options *opt)
{
    uint8_t *to = out;
    if (opt->has_mss) {
        mir_put_be32(to, 0x02040000u | opt->mss);
        to += 4;
    }
    if (opt->sack_permitted && !opt->has_ts) {
        mir_put_be32(to, 0x01010402u);
        to += 4;
    }
    if (opt->has_ts) {
        mir_put_be32(to, opt->sack_permitted ? SACK_OK_AND_TS : TS_ALONE);
        mir_put_be32(to + 4, opt->tsval);
        mir_put_be32(to + 8, opt->tsecr);
        to += MIR__TCP_TS_BYTES;
    }
    if (opt->has_wscale) {
        mir_put_be32(to, 0x01030300u | opt->wscale);
        to += 4;
    }
    if (opt->has_cookie) {
        uint32_t len = 2u + opt->cookie_len;
        to[0] = OPT_COOKIE;
        to[1] = (uint8_t)len;
        if (opt->cookie_len > 0)
            mir_memcpy(to + 2, opt->cookie, opt->cookie_len);
        for (; len % 4 != 0; len++)
            to[len] = OPT_NOP;
        to += len;
    }
    if (opt->sack_count > 0) {
        MIR_ASSERT_OP(mir__tcp_options_len(opt), <=, MIR__TCP_OPTIONS_MAX);
        mir_put_be32(to, 0x01010500u | (2u + 8u * opt->sack_count));
        to += 4;
        for (uint32_t i = 0; i < opt->sack_count; i++, to += 8) {
            mir_put_be32(to, opt->sack[i].left);
            mir_put_be32(to + 4, opt->sack[i].right);
        }
    }
    return (uint32_t)(to - out);
}
