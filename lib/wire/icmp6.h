/* SPDX-License-Identifier: ISC */
/* ICMP for IPv6.
 *
 *    0       1       2               4                               8
 *   +-------+-------+---------------+-------------------------------+----------------------------
 *   | type  | code  |   checksum    |  rest: see below              | data
 *   +-------+-------+---------------+-------------------------------+----------------------------
 *   unreachable (1), exceeded (3)   | 0                             | the packet, up to 1280 in all
 *   packet too big (2)              | MTU                           | the packet
 *   parameter problem (4)           | pointer into the packet       | the packet
 *   echo (128), echo reply (129)    | identifier    | sequence      | echoed bytes
 *
 * Types below 128 are errors. The checksum covers the pseudo-header, header and data. All fields
 * are big-endian. Source: RFC 4443. Neighbour discovery has the same head: lib/wire/nd6.h.
 */
#ifndef LIB_WIRE_ICMP6_H
#define LIB_WIRE_ICMP6_H

#include <mirari/bytes.h>
#include <mirari/err.h>

#define MIR__ICMP6_HEADER_LEN 8u

enum {
    MIR__ICMP6_UNREACHABLE = 1,
    MIR__ICMP6_TOO_BIG = 2,
    MIR__ICMP6_TIME_EXCEEDED = 3,
    MIR__ICMP6_PARAMETER_PROBLEM = 4,
    MIR__ICMP6_ECHO = 128,
    MIR__ICMP6_ECHO_REPLY = 129,
    MIR__ICMP6_MLD_QUERY = 130,
    MIR__ICMP6_MLD_REPORT = 131,
    MIR__ICMP6_MLD_DONE = 132,
    MIR__ICMP6_ROUTER_SOLICIT = 133,
    MIR__ICMP6_ROUTER_ADVERT = 134,
    MIR__ICMP6_NEIGHBOR_SOLICIT = 135,
    MIR__ICMP6_NEIGHBOR_ADVERT = 136,
    MIR__ICMP6_REDIRECT = 137,
    MIR__ICMP6_MLD2_REPORT = 143,
};

/** Codes of unreachable (RFC 4443 section 3.1). */
enum {
    MIR__ICMP6_NO_ROUTE = 0,
    MIR__ICMP6_PROHIBITED = 1,
    MIR__ICMP6_BEYOND_SCOPE = 2,
    MIR__ICMP6_ADDRESS = 3,
    MIR__ICMP6_PORT = 4,
    MIR__ICMP6_SOURCE_POLICY = 5,
    MIR__ICMP6_REJECT_ROUTE = 6,
};

/** Codes of parameter problem. */
enum {
    MIR__ICMP6_BAD_FIELD = 0,
    MIR__ICMP6_BAD_NEXT = 1,
    MIR__ICMP6_BAD_OPTION = 2,
    MIR__ICMP6_SHORT_FIRST = 3, /* RFC 7112 section 5: the first fragment lacks headers */
};

/** Returns 0 or -MIR_ETRUNCATED. */
static inline MIR_CHECK int mir__icmp6_check(const uint8_t *icmp, size_t len)
{
    (void)icmp;
    return len < MIR__ICMP6_HEADER_LEN ? -MIR_ETRUNCATED : 0;
}
static inline uint8_t mir__icmp6_type(const uint8_t *icmp)
{
    return icmp[0];
}
static inline uint8_t mir__icmp6_code(const uint8_t *icmp)
{
    return icmp[1];
}
static inline uint32_t mir__icmp6_rest(const uint8_t *icmp)
{
    return mir_get_be32(icmp + 4);
}
static inline bool mir__icmp6_type_is_error(uint8_t type)
{
    return type < 128;
}

struct mir__icmp6 {
    uint8_t type;
    uint8_t code;
    uint32_t rest;
    const uint8_t *data; /* borrowed from the packet, or given by the caller of emit */
    uint32_t data_len;
};

/** Returns as mir__icmp6_check(). The checksum is not verified. */
int mir__icmp6_parse(const uint8_t *icmp, size_t len, struct mir__icmp6 *value) MIR_CHECK;
size_t mir__icmp6_emit_len(const struct mir__icmp6 *value);
/** Write header and data; the checksum is 0, because it needs the addresses. */
void mir__icmp6_emit(const struct mir__icmp6 *value, uint8_t *out);

#endif
