/* SPDX-License-Identifier: ISC */
/* Multicast listener discovery: queries of routers, reports of hosts.
 *
 *    0       1       2               4               6               8          24
 *   +-------+-------+---------------+---------------+---------------+----------+
 *   | 130   | 0     |   checksum    | max. response | 0             | group 16 |  query, version 1
 *   | 131,2 | 0     |   checksum    | 0             | 0             | group 16 |  report, done
 *   +-------+-------+---------------+---------------+---------------+----------+
 *   query of version 2, behind the group: | 0 S QRV | QQIC | number of sources 2 | sources |
 *
 *   | 143   | 0     |   checksum    | 0             | records       |  report, version 2
 *   record: | type | aux. length in words | sources 2 | group 16 | sources | aux. data |
 *
 * All fields are big-endian; times in a query of version 2 are floating-point codes. Source: RFC
 * 2710 section 3 (version 1); RFC 3810 section 5 (version 2).
 */
#ifndef LIB_WIRE_MLD6_H
#define LIB_WIRE_MLD6_H

#include <mirari/bytes.h>
#include <mirari/err.h>
#include <mirari/net.h>

enum {
    MIR__MLD6_QUERY = 130,
    MIR__MLD6_REPORT1 = 131,
    MIR__MLD6_DONE = 132,
    MIR__MLD6_REPORT2 = 143,
};

/** Types of records (RFC 3810 section 5.2.12). */
enum {
    MIR__MLD6_IS_INCLUDE = 1,
    MIR__MLD6_IS_EXCLUDE = 2,
    MIR__MLD6_TO_INCLUDE = 3,
    MIR__MLD6_TO_EXCLUDE = 4,
};

#define MIR__MLD6_V1_LEN     24u
#define MIR__MLD6_HEADER_LEN 8u  /* of a report of version 2 */
#define MIR__MLD6_RECORD_LEN 20u /* without sources */

struct mir__mld6_query {
    uint8_t version;      /* 1 or 2 */
    uint8_t robustness;   /* version 2; 0: not told */
    uint16_t sources;     /* number of */
    uint32_t interval_s;  /* version 2: between queries */
    uint32_t response_ms; /* answer within */
    struct mir_ip group;  /* any: a general query */
};

/** 0, -MIR_ETRUNCATED, -MIR_EMALFORMED (neither version's length, or a group that is none). */
int mir__mld6_parse_query(const uint8_t *msg, size_t len, struct mir__mld6_query *value) MIR_CHECK;
/** A report or done of version 1 into [MIR__MLD6_V1_LEN] bytes, checksum 0. */
void mir__mld6_emit_v1(uint8_t type, const struct mir_ip *group, uint8_t *out);
/** The head of a report of version 2 with @records records, checksum 0. */
void mir__mld6_emit_header(uint16_t records, uint8_t *out);
/** A record without sources. */
void mir__mld6_emit_record(uint8_t type, const struct mir_ip *group, uint8_t *out);

#endif
