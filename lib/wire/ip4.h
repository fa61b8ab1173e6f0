/* SPDX-License-Identifier: ISC */
/* IPv4 headers.
 *
 *    0       1       2               4               6               8
 *   +---+---+-------+---------------+---------------+-+-+-+---------+
 *   |ver|ihl|  tos  | total length  | identification|0|D|M| offset/8|
 *   +---+---+-------+---------------+---------------+-+-+-+---------+
 *   |  ttl  | proto | hdr checksum  |            source             |   8
 *   +-------+-------+---------------+-------------------------------+
 *   |          destination          |  options, ihl*4 - 20 bytes    |  16
 *   +-------------------------------+-------------------------------+
 *
 * All fields are big-endian. Source: RFC 791 section 3.1.
 */
#ifndef LIB_WIRE_IP4_H
#define LIB_WIRE_IP4_H

#include <mirari/bytes.h>
#include <mirari/err.h>

#include "lib/wire/csum.h"

#define MIR__IP4_HEADER_LEN 20u
#define MIR__IP4_HEADER_MAX 60u

enum { MIR__IP4_DF = 0x4000, MIR__IP4_MF = 0x2000, MIR__IP4_OFFSET = 0x1fff };

/* ---- level 1 ------------------------------------------------------------------------------ */

static inline uint32_t mir__ip4_header_len(const uint8_t *ip)
{
    return (ip[0] & 15u) * 4;
}
static inline uint16_t mir__ip4_total_len(const uint8_t *ip)
{
    return mir_get_be16(ip + 2);
}
/** @header_bytes are at hand, the packet has @packet_len (views included).
 *  Returns 0, -MIR_ETRUNCATED (less there than the header says), -MIR_EMALFORMED. */
static inline MIR_CHECK int mir__ip4_check(const uint8_t *ip, size_t header_bytes,
                                           size_t packet_len)
{
    if (header_bytes < MIR__IP4_HEADER_LEN)
        return -MIR_ETRUNCATED;
    if (ip[0] >> 4 != 4 || (ip[0] & 15) < 5 || mir__ip4_total_len(ip) < mir__ip4_header_len(ip))
        return -MIR_EMALFORMED;
    if (header_bytes < mir__ip4_header_len(ip) || packet_len < mir__ip4_total_len(ip))
        return -MIR_ETRUNCATED;
    return 0;
}
static inline uint8_t mir__ip4_tos(const uint8_t *ip)
{
    return ip[1];
}
static inline uint16_t mir__ip4_id(const uint8_t *ip)
{
    return mir_get_be16(ip + 4);
}
/** DF, MF and offset together. */
static inline uint16_t mir__ip4_fragment_word(const uint8_t *ip)
{
    return mir_get_be16(ip + 6);
}
static inline bool mir__ip4_is_fragment(const uint8_t *ip)
{
    return (mir__ip4_fragment_word(ip) & (MIR__IP4_MF | MIR__IP4_OFFSET)) != 0;
}
/** Of the payload in the datagram, in bytes. */
static inline uint32_t mir__ip4_offset(const uint8_t *ip)
{
    return (mir__ip4_fragment_word(ip) & MIR__IP4_OFFSET) * 8u;
}
static inline uint8_t mir__ip4_ttl(const uint8_t *ip)
{
    return ip[8];
}
static inline uint8_t mir__ip4_protocol(const uint8_t *ip)
{
    return ip[9];
}
static inline uint32_t mir__ip4_src(const uint8_t *ip)
{
    return mir_get_be32(ip + 12);
}
static inline uint32_t mir__ip4_dst(const uint8_t *ip)
{
    return mir_get_be32(ip + 16);
}
static inline bool mir__ip4_checksum_ok(const uint8_t *ip)
{
    if (mir__ip4_header_len(ip) != MIR__IP4_HEADER_LEN)
        return mir__csum_partial(ip, mir__ip4_header_len(ip)) == 0xffff;
    /* Nearly every packet: five words, no loop. */
    uint64_t sum = 0;
    for (uint32_t at = 0; at < MIR__IP4_HEADER_LEN; at += 4) {
        uint32_t word;
        mir_memcpy(&word, ip + at, sizeof word);
        sum += word;
    }
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return sum == 0xffff;
}

/* ---- level 2 ------------------------------------------------------------------------------ */

struct mir__ip4 {
    uint8_t tos;
    uint8_t ttl;
    uint8_t protocol;
    uint8_t options_len; /* multiple of 4, at most 40 */
    bool dont_fragment;
    bool more_fragments;
    uint16_t offset; /* bytes, multiple of 8 */
    uint16_t id;
    uint16_t total_len;
    uint32_t src;
    uint32_t dst;
    uint8_t options[40];
};

/** Returns as mir__ip4_check(). The checksum is not part of the value: see checksum_ok(). */
int mir__ip4_parse(const uint8_t *ip, size_t len, struct mir__ip4 *value) MIR_CHECK;
size_t mir__ip4_emit_len(const struct mir__ip4 *value);
/** Write the header, mir__ip4_emit_len() bytes, its checksum included. */
void mir__ip4_emit(const struct mir__ip4 *value, uint8_t *out);

#endif
