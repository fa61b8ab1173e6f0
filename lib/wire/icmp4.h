/* SPDX-License-Identifier: ISC */
/* ICMP for IPv4.
 *
 *    0       1       2               4                               8
 *   +-------+-------+---------------+-------------------------------+----------------------------
 *   | type  | code  |   checksum    |  rest: see below              | data
 *   +-------+-------+---------------+-------------------------------+----------------------------
 *   echo (8), echo reply (0)        | identifier    | sequence      | echoed bytes
 *   unreachable (3), exceeded (11)  | 0                             | IP header + 8 bytes or more
 *   unreachable code 4              | 0             | next-hop MTU  |   (RFC 1191 section 4)
 *   parameter problem (12)          |pointer| 0                     |
 *
 * All fields are big-endian. The checksum covers header and data. Source: RFC 792; RFC 1191.
 */
#ifndef LIB_WIRE_ICMP4_H
#define LIB_WIRE_ICMP4_H

#include <mirari/bytes.h>
#include <mirari/err.h>

#define MIR__ICMP4_HEADER_LEN 8u

enum {
    MIR__ICMP4_ECHO_REPLY = 0,
    MIR__ICMP4_UNREACHABLE = 3,
    MIR__ICMP4_SOURCE_QUENCH = 4,
    MIR__ICMP4_REDIRECT = 5,
    MIR__ICMP4_ECHO = 8,
    MIR__ICMP4_TIME_EXCEEDED = 11,
    MIR__ICMP4_PARAMETER_PROBLEM = 12,
};

/** Codes of type 3. */
enum {
    MIR__ICMP4_NET = 0,
    MIR__ICMP4_HOST = 1,
    MIR__ICMP4_PROTOCOL = 2,
    MIR__ICMP4_PORT = 3,
    MIR__ICMP4_FRAG_NEEDED = 4,
};

/** Returns 0 or -MIR_ETRUNCATED. */
static inline MIR_CHECK int mir__icmp4_check(const uint8_t *icmp, size_t len)
{
    (void)icmp;
    return len < MIR__ICMP4_HEADER_LEN ? -MIR_ETRUNCATED : 0;
}
static inline uint8_t mir__icmp4_type(const uint8_t *icmp)
{
    return icmp[0];
}
static inline uint8_t mir__icmp4_code(const uint8_t *icmp)
{
    return icmp[1];
}
static inline uint32_t mir__icmp4_rest(const uint8_t *icmp)
{
    return mir_get_be32(icmp + 4);
}
static inline uint16_t mir__icmp4_id(const uint8_t *icmp)
{
    return mir_get_be16(icmp + 4);
}
/** Sequence number of an echo, MTU of an unreachable of code 4. */
static inline uint16_t mir__icmp4_low(const uint8_t *icmp)
{
    return mir_get_be16(icmp + 6);
}
/** Messages that report an error: they must not be answered by another (RFC 1122 3.2.2). */
static inline bool mir__icmp4_type_is_error(uint8_t type)
{
    return type == MIR__ICMP4_UNREACHABLE || type == MIR__ICMP4_SOURCE_QUENCH ||
           type == MIR__ICMP4_REDIRECT || type == MIR__ICMP4_TIME_EXCEEDED ||
           type == MIR__ICMP4_PARAMETER_PROBLEM;
}

struct mir__icmp4 {
    uint8_t type;
    uint8_t code;
    uint32_t rest;
    const uint8_t *data; /* borrowed from the packet, or given by the caller of emit */
    uint32_t data_len;
};

/** Returns as mir__icmp4_check(). The checksum is not verified. */
int mir__icmp4_parse(const uint8_t *icmp, size_t len, struct mir__icmp4 *value) MIR_CHECK;
size_t mir__icmp4_emit_len(const struct mir__icmp4 *value);
/** Write header and data, checksum included. */
void mir__icmp4_emit(const struct mir__icmp4 *value, uint8_t *out);

#endif
