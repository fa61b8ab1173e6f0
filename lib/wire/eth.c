/* SPDX-License-Identifier: ISC */
/* Ethernet headers as values. The figure and the accessors are in the header.
 *
 * One VLAN tag is understood. A second tag shows as type 0x8100 behind the first: such a frame
 * parses (type = 0x8100) and is nobody's, so it is dropped above as an unknown type.
 * Lengths (802.3 frames with a type below 1536) are not interpreted: no such protocol is spoken.
 */
#include "lib/wire/eth.h"

int mir__eth_parse(const uint8_t *frame, size_t len, struct mir__eth *eth)
{
    int r = mir__eth_check(frame, len);
    if (r < 0)
        return r;
    mir_memcpy(eth->dst, mir__eth_dst(frame), 6);
    mir_memcpy(eth->src, mir__eth_src(frame), 6);
    eth->type = mir__eth_type(frame);
    eth->has_tag = mir__eth_has_tag(frame);
    eth->tci = eth->has_tag ? mir__eth_tci(frame) : 0;
    return 0;
}

size_t mir__eth_emit_len(const struct mir__eth *eth)
{
    return eth->has_tag ? MIR__ETH_HEADER_LEN + MIR__ETH_TAG_LEN : MIR__ETH_HEADER_LEN;
}

void mir__eth_emit(const struct mir__eth *eth, uint8_t *out)
{
    MIR_ASSERT(eth->has_tag || eth->type != MIR__ETH_TYPE_VLAN);
    mir_memcpy(out, eth->dst, 6);
    mir_memcpy(out + 6, eth->src, 6);
    out += 12;
    if (eth->has_tag) {
        mir_put_be16(out, MIR__ETH_TYPE_VLAN);
        mir_put_be16(out + 2, eth->tci);
        out += 4;
    }
    mir_put_be16(out, eth->type);
}
