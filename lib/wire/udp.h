/* SPDX-License-Identifier: ISC */
/* UDP headers.
 *
 *    0               2               4               6               8
 *   +---------------+---------------+---------------+---------------+---------
 *   |  source port  |  destination  |    length     |   checksum    | data
 *   +---------------+---------------+---------------+---------------+---------
 *
 * All fields are big-endian. The length counts the header. A checksum of zero means "none" over
 * IPv4; a computed zero is sent as 0xffff. Source: RFC 768.
 */
#ifndef LIB_WIRE_UDP_H
#define LIB_WIRE_UDP_H

#include <mirari/bytes.h>
#include <mirari/err.h>

#define MIR__UDP_HEADER_LEN  8u
#define MIR__UDP_CHECKSUM_AT 6u

static inline uint16_t mir__udp_src(const uint8_t *udp)
{
    return mir_get_be16(udp);
}
static inline uint16_t mir__udp_dst(const uint8_t *udp)
{
    return mir_get_be16(udp + 2);
}
static inline uint16_t mir__udp_len(const uint8_t *udp)
{
    return mir_get_be16(udp + 4);
}
static inline bool mir__udp_has_checksum(const uint8_t *udp)
{
    return (udp[6] | udp[7]) != 0;
}
/** @header_bytes are at hand, the datagram has @len (views included). Returns 0,
 *  -MIR_ETRUNCATED, -MIR_EMALFORMED (a length below 8). */
static inline MIR_CHECK int mir__udp_check(const uint8_t *udp, size_t header_bytes, size_t len)
{
    if (header_bytes < MIR__UDP_HEADER_LEN)
        return -MIR_ETRUNCATED;
    if (mir__udp_len(udp) < MIR__UDP_HEADER_LEN)
        return -MIR_EMALFORMED;
    return mir__udp_len(udp) > len ? -MIR_ETRUNCATED : 0;
}

struct mir__udp {
    uint16_t src;
    uint16_t dst;
    uint16_t len;
    uint16_t checksum; /* as on the wire */
};

/** Returns as mir__udp_check(). */
int mir__udp_parse(const uint8_t *udp, size_t len, struct mir__udp *value) MIR_CHECK;
/** Write MIR__UDP_HEADER_LEN bytes. */
void mir__udp_emit(const struct mir__udp *value, uint8_t *out);

#endif
