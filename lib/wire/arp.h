/* SPDX-License-Identifier: ISC */
/* Address resolution for IPv4 over Ethernet.
 *
 *    0       2       4   5   6       8                14          18               24          28
 *   +-------+-------+---+---+-------+----------------+-----------+----------------+-----------+
 *   | htype | ptype |hln|pln|  op   | sender hardware| sender ip | target hardware| target ip |
 *   |   1   |0x0800 | 6 | 4 | 1 | 2 |                |           |                |           |
 *   +-------+-------+---+---+-------+----------------+-----------+----------------+-----------+
 *
 * All fields are big-endian. Source: RFC 826, section "Packet format".
 */
#ifndef LIB_WIRE_ARP_H
#define LIB_WIRE_ARP_H

#include <mirari/bytes.h>
#include <mirari/err.h>

#define MIR__ARP_LEN 28u

enum { MIR__ARP_REQUEST = 1, MIR__ARP_REPLY = 2 };

/** Returns 0, -MIR_ETRUNCATED, or -MIR_EMALFORMED (not IPv4 over Ethernet). */
static inline MIR_CHECK int mir__arp_check(const uint8_t *arp, size_t len)
{
    if (len < MIR__ARP_LEN)
        return -MIR_ETRUNCATED;
    if (mir_get_be64(arp) >> 16 != 0x000108000604ull)
        return -MIR_EMALFORMED;
    return 0;
}
static inline uint16_t mir__arp_op(const uint8_t *arp)
{
    return mir_get_be16(arp + 6);
}
static inline const uint8_t *mir__arp_sender_mac(const uint8_t *arp)
{
    return arp + 8;
}
static inline uint32_t mir__arp_sender_ip(const uint8_t *arp)
{
    return mir_get_be32(arp + 14);
}
static inline const uint8_t *mir__arp_target_mac(const uint8_t *arp)
{
    return arp + 18;
}
static inline uint32_t mir__arp_target_ip(const uint8_t *arp)
{
    return mir_get_be32(arp + 24);
}

struct mir__arp {
    uint16_t op;
    uint8_t sender_mac[6];
    uint8_t target_mac[6];
    uint32_t sender_ip;
    uint32_t target_ip;
};

/** Returns as mir__arp_check(). Operations other than 1 and 2 are values too. */
int mir__arp_parse(const uint8_t *arp, size_t len, struct mir__arp *value) MIR_CHECK;
/** Write MIR__ARP_LEN bytes. */
void mir__arp_emit(const struct mir__arp *value, uint8_t *out);

#endif
