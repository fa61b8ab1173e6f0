/* SPDX-License-Identifier: ISC */
/* IPv6 headers as values. The figure and the accessors are in the header.
 *
 * What a packet has behind its payload length is padding of the link and not part of it.
 */
#include "lib/wire/ip6.h"

int mir__ip6_parse(const uint8_t *ip, size_t len, struct mir__ip6 *value)
{
    int r = mir__ip6_check(ip, len, len);
    if (r < 0)
        return r;
    *value = (struct mir__ip6){
        .traffic_class = mir__ip6_class(ip),
        .next = mir__ip6_next(ip),
        .hops = mir__ip6_hops(ip),
        .payload_len = mir__ip6_payload_len(ip),
        .flow_label = mir__ip6_flow_label(ip),
        .src = mir__ip6_src(ip),
        .dst = mir__ip6_dst(ip),
    };
    return 0;
}

size_t mir__ip6_emit_len(const struct mir__ip6 *value)
{
    (void)value;
    return MIR__IP6_HEADER_LEN;
}

void mir__ip6_emit(const struct mir__ip6 *value, uint8_t *out)
{
    mir_put_be32(out,
                 6u << 28 | (uint32_t)value->traffic_class << 20 | (value->flow_label & 0xfffff));
    mir_put_be16(out + 4, value->payload_len);
    out[6] = value->next;
    out[7] = value->hops;
    mir_memcpy(out + 8, value->src.bytes, 16);
    mir_memcpy(out + 24, value->dst.bytes, 16);
}

int mir__ip6_fragment_parse(const uint8_t *ext, size_t len, struct mir__ip6_fragment *value)
{
    if (len < MIR__IP6_FRAGMENT_LEN)
        return -MIR_ETRUNCATED;
    *value = (struct mir__ip6_fragment){
        .next = ext[0],
        .more = mir__ip6_fragment_more(ext),
        .offset = (uint16_t)mir__ip6_fragment_offset(ext),
        .id = mir__ip6_fragment_id(ext),
    };
    return 0;
}

size_t mir__ip6_fragment_emit_len(const struct mir__ip6_fragment *value)
{
    (void)value;
    return MIR__IP6_FRAGMENT_LEN;
}

void mir__ip6_fragment_emit(const struct mir__ip6_fragment *value, uint8_t *out)
{
    MIR_ASSERT_OP(value->offset % 8, ==, 0);
    out[0] = value->next;
    out[1] = 0;
    mir_put_be16(out + 2, (uint16_t)(value->offset | (value->more ? 1 : 0)));
    mir_put_be32(out + 4, value->id);
}
