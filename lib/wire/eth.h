/* SPDX-License-Identifier: ISC */
/* Ethernet II frames, with at most one VLAN tag.
 *
 *    0                   6                  12        14
 *   +-------------------+-------------------+---------+----------------
 *   |    destination    |      source       |  type   |  payload
 *   +-------------------+-------------------+---------+----------------
 *
 *   with a tag (IEEE 802.1Q):               12        14        16        18
 *                                           +---------+---------+---------+------
 *                                           |  0x8100 |   TCI   |  type   | payload
 *                                           +---------+---------+---------+------
 *                                            TCI: priority 3, DEI 1, VLAN id 12 bits
 *
 * All fields are big-endian. Source: RFC 894; IEEE 802.3 clause 3, 802.1Q clause 9.
 *
 * Every file of lib/wire has two levels. Level 1: X_check() looks whether the header is all there
 * and consistent; after that the accessors cannot fail and read straight from the packet. Level 2:
 * a value struct with X_parse() (check + copy out), X_emit_len() and X_emit(). Whatever was parsed
 * can be emitted, and parsing that gives the same value.
 */
#ifndef LIB_WIRE_ETH_H
#define LIB_WIRE_ETH_H

#include <mirari/bytes.h>
#include <mirari/err.h>

#define MIR__ETH_HEADER_LEN 14u
#define MIR__ETH_TAG_LEN    4u

enum {
    MIR__ETH_TYPE_IP4 = 0x0800,
    MIR__ETH_TYPE_ARP = 0x0806,
    MIR__ETH_TYPE_VLAN = 0x8100,
    MIR__ETH_TYPE_IP6 = 0x86dd,
};

/* ---- level 1 ------------------------------------------------------------------------------ */

/** Returns 0 or -MIR_ETRUNCATED. */
static inline MIR_CHECK int mir__eth_check(const uint8_t *frame, size_t len)
{
    if (len < MIR__ETH_HEADER_LEN)
        return -MIR_ETRUNCATED;
    if (mir_get_be16(frame + 12) == MIR__ETH_TYPE_VLAN &&
        len < MIR__ETH_HEADER_LEN + MIR__ETH_TAG_LEN)
        return -MIR_ETRUNCATED;
    return 0;
}
static inline const uint8_t *mir__eth_dst(const uint8_t *frame)
{
    return frame;
}
static inline const uint8_t *mir__eth_src(const uint8_t *frame)
{
    return frame + 6;
}
static inline bool mir__eth_has_tag(const uint8_t *frame)
{
    return mir_get_be16(frame + 12) == MIR__ETH_TYPE_VLAN;
}
/** Tag control information; only of a tagged frame. */
static inline uint16_t mir__eth_tci(const uint8_t *frame)
{
    return mir_get_be16(frame + 14);
}
static inline uint32_t mir__eth_header_len(const uint8_t *frame)
{
    return mir__eth_has_tag(frame) ? MIR__ETH_HEADER_LEN + MIR__ETH_TAG_LEN : MIR__ETH_HEADER_LEN;
}
/** Type of the payload, behind the tag if there is one. */
static inline uint16_t mir__eth_type(const uint8_t *frame)
{
    return mir_get_be16(frame + (mir__eth_has_tag(frame) ? 16 : 12));
}

static inline bool mir__mac_equal(const uint8_t a[6], const uint8_t b[6])
{
    uint32_t a4, b4;
    uint16_t a2, b2;
    mir_memcpy(&a4, a, 4);
    mir_memcpy(&b4, b, 4);
    mir_memcpy(&a2, a + 4, 2);
    mir_memcpy(&b2, b + 4, 2);
    return a4 == b4 && a2 == b2;
}
/** Group bit: multicast or broadcast. */
static inline bool mir__mac_is_group(const uint8_t mac[6])
{
    return mac[0] & 1;
}
static inline bool mir__mac_is_broadcast(const uint8_t mac[6])
{
    return (mac[0] & mac[1] & mac[2] & mac[3] & mac[4] & mac[5]) == 0xff;
}
static inline bool mir__mac_is_zero(const uint8_t mac[6])
{
    return (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) == 0;
}

/* ---- level 2 ------------------------------------------------------------------------------ */

struct mir__eth {
    uint8_t dst[6];
    uint8_t src[6];
    uint16_t type;
    bool has_tag;
    uint16_t tci; /* 0 without a tag */
};

/** Returns 0 or -MIR_ETRUNCATED. */
int mir__eth_parse(const uint8_t *frame, size_t len, struct mir__eth *eth) MIR_CHECK;
/** 14 or 18. */
size_t mir__eth_emit_len(const struct mir__eth *eth);
/** Write mir__eth_emit_len() bytes. A type of 0x8100 without a tag is the caller's mistake. */
void mir__eth_emit(const struct mir__eth *eth, uint8_t *out);

#endif
