/* SPDX-License-Identifier: ISC */
/* UDP headers as values. The figure and the accessors are in the header.
 *
 * The checksum needs the IP addresses, so whoever has them computes and verifies it.
 */
#include "lib/wire/udp.h"

int mir__udp_parse(const uint8_t *udp, size_t len, struct mir__udp *value)
{
    int r = mir__udp_check(udp, len, len);
    if (r < 0)
        return r;
    *value = (struct mir__udp){
        .src = mir__udp_src(udp),
        .dst = mir__udp_dst(udp),
        .len = mir__udp_len(udp),
        .checksum = mir_get_be16(udp + MIR__UDP_CHECKSUM_AT),
    };
    return 0;
}

void mir__udp_emit(const struct mir__udp *value, uint8_t *out)
{
    mir_put_be16(out, value->src);
    mir_put_be16(out + 2, value->dst);
    mir_put_be16(out + 4, value->len);
    mir_put_be16(out + MIR__UDP_CHECKSUM_AT, value->checksum);
}
