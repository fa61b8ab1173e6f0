/* SPDX-License-Identifier: ISC */
/* ARP packets as values. The figure and the accessors are in the header.
 *
 * Only IPv4 over Ethernet is a valid packet here; everything else is malformed. Bytes behind the
 * packet are padding and are not looked at.
 */
#include "lib/wire/arp.h"

int mir__arp_parse(const uint8_t *arp, size_t len, struct mir__arp *value)
{
    int r = mir__arp_check(arp, len);
    if (r < 0)
        return r;
    value->op = mir__arp_op(arp);
    mir_memcpy(value->sender_mac, mir__arp_sender_mac(arp), 6);
    mir_memcpy(value->target_mac, mir__arp_target_mac(arp), 6);
    value->sender_ip = mir__arp_sender_ip(arp);
    value->target_ip = mir__arp_target_ip(arp);
    return 0;
}

void mir__arp_emit(const struct mir__arp *value, uint8_t *out)
{
    mir_put_be16(out, 1);
    mir_put_be16(out + 2, 0x0800);
    out[4] = 6;
    out[5] = 4;
    mir_put_be16(out + 6, value->op);
    mir_memcpy(out + 8, value->sender_mac, 6);
    mir_put_be32(out + 14, value->sender_ip);
    mir_memcpy(out + 18, value->target_mac, 6);
    mir_put_be32(out + 24, value->target_ip);
}
