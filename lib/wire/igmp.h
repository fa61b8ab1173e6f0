/* SPDX-License-Identifier: ISC */
/* IGMP: group membership of IPv4 hosts, versions 1, 2 and 3.
 *
 *    0             1             2                           4              8
 *   +-------------+-------------+---------------------------+--------------+
 *   | type        | max. delay  |         checksum          |    group     |    versions 1 and 2
 *   +-------------+-------------+---------------------------+--------------+
 *   | 0x11        | delay code  |         checksum          |    group     |    query, version 3
 *   +-----+-+-----+-------------+---------------------------+--------------+
 *   |     |S|QRV  | QQIC        |     sources (count)       | source, ...  |  8
 *   +-----+-+-----+-------------+---------------------------+--------------+
 *   | 0x22        |             |         checksum          |    | records |    report, version 3
 *   +-------------+-------------+---------------------------+--------------+
 *   | record type | aux. length |     sources (count)       |    group     |  8, again and again
 *   +-------------+-------------+---------------------------+--------------+
 *   | source, ...                                                          |
 *
 * All fields are big-endian; the checksum covers the whole message. A query is of version 1 if it
 * has 8 bytes and no delay, of version 2 if it has 8 bytes, of version 3 from 12 bytes on.
 * Source: RFC 1112 appendix I, RFC 2236 section 2, RFC 3376 section 4.
 */
#ifndef LIB_WIRE_IGMP_H
#define LIB_WIRE_IGMP_H

#include <mirari/bytes.h>
#include <mirari/err.h>

#define MIR__IGMP_LEN 8u

enum {
    MIR__IGMP_QUERY = 0x11,
    MIR__IGMP_V1_REPORT = 0x12,
    MIR__IGMP_V2_REPORT = 0x16,
    MIR__IGMP_V2_LEAVE = 0x17,
    MIR__IGMP_V3_REPORT = 0x22,
};

/** Records of a report (RFC 3376 section 4.2.12). */
enum mir__igmp_record {
    MIR__IGMP_IS_INCLUDE = 1,
    MIR__IGMP_IS_EXCLUDE = 2,
    MIR__IGMP_TO_INCLUDE = 3,
    MIR__IGMP_TO_EXCLUDE = 4,
};

/** A received message as a value; reports of version 3 only by their type. */
struct mir__igmp {
    uint8_t type;
    uint8_t version;    /**< of a query: 1, 2, 3 */
    uint8_t robustness; /**< 0 = not told */
    uint32_t delay_ms;  /**< longest time to answer */
    uint32_t group;     /**< 0 = a general query */
    uint16_t source_count;
};

/** Returns 0, -MIR_ETRUNCATED, -MIR_EMALFORMED (a query of 9 to 11 bytes, a group that is none).
 *  The checksum is the caller's. */
int mir__igmp_parse(const uint8_t *msg, size_t len, struct mir__igmp *value) MIR_CHECK;
/** Write a report or leave of version 1 or 2, MIR__IGMP_LEN bytes, with its checksum. */
void mir__igmp_emit(uint8_t type, uint32_t group, uint8_t *out);

/** A report of version 3 being written into memory of the caller. */
struct mir__igmp_report {
    uint8_t *out;
    size_t size;
    size_t len;
    uint16_t count;
};

/** Begin; @size at least MIR__IGMP_LEN. */
void mir__igmp_report_begin(struct mir__igmp_report *report, uint8_t *out, size_t size);
/** Returns 0, or -MIR_ETOOBIG and nothing is written. */
int mir__igmp_report_add(struct mir__igmp_report *report, enum mir__igmp_record type,
                         uint32_t group, const uint32_t *sources, size_t count) MIR_CHECK;
/** Fill in count and checksum. Returns the length. */
size_t mir__igmp_report_end(struct mir__igmp_report *report);

#endif
