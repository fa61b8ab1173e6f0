/* SPDX-License-Identifier: ISC */
/* IPv4 headers as values. The figure and the accessors are in the header.
 *
 * Options are carried as bytes and not interpreted. The reserved flag bit (RFC 791: zero; RFC 3514
 * joked about it) is ignored in and zero out. Anything behind the total length is link padding.
 */
#include "lib/wire/ip4.h"

int mir__ip4_parse(const uint8_t *ip, size_t len, struct mir__ip4 *value)
{
    int r = mir__ip4_check(ip, len, len);
    if (r < 0)
        return r;
    uint16_t word = mir__ip4_fragment_word(ip);
    *value = (struct mir__ip4){
        .tos = mir__ip4_tos(ip),
        .ttl = mir__ip4_ttl(ip),
        .protocol = mir__ip4_protocol(ip),
        .options_len = (uint8_t)(mir__ip4_header_len(ip) - MIR__IP4_HEADER_LEN),
        .dont_fragment = (word & MIR__IP4_DF) != 0,
        .more_fragments = (word & MIR__IP4_MF) != 0,
        .offset = (uint16_t)mir__ip4_offset(ip),
        .id = mir__ip4_id(ip),
        .total_len = mir__ip4_total_len(ip),
        .src = mir__ip4_src(ip),
        .dst = mir__ip4_dst(ip),
    };
    mir_memcpy(value->options, ip + MIR__IP4_HEADER_LEN, value->options_len);
    return 0;
}

size_t mir__ip4_emit_len(const struct mir__ip4 *value)
{
    return MIR__IP4_HEADER_LEN + value->options_len;
}

void mir__ip4_emit(const struct mir__ip4 *value, uint8_t *out)
{
    MIR_ASSERT(value->options_len % 4 == 0 && value->options_len <= sizeof value->options);
    MIR_ASSERT_OP(value->offset % 8, ==, 0);
    size_t len = mir__ip4_emit_len(value);
    out[0] = (uint8_t)(0x40 | len / 4);
    out[1] = value->tos;
    mir_put_be16(out + 2, value->total_len);
    mir_put_be16(out + 4, value->id);
    mir_put_be16(out + 6,
                 (uint16_t)((value->dont_fragment ? MIR__IP4_DF : 0) |
                            (value->more_fragments ? MIR__IP4_MF : 0) | value->offset / 8));
    out[8] = value->ttl;
    out[9] = value->protocol;
    mir_put_be16(out + 10, 0);
    mir_put_be32(out + 12, value->src);
    mir_put_be32(out + 16, value->dst);
    mir_memcpy(out + MIR__IP4_HEADER_LEN, value->options, value->options_len);
    uint16_t check = (uint16_t)~mir__csum_partial(out, len);
    mir_memcpy(out + 10, &check, sizeof check);
}
