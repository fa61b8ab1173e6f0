/* SPDX-License-Identifier: ISC */
/* Messages of multicast listener discovery as values. The figure is in the header. */
#include "lib/wire/mld6.h"

/* RFC 3810 sections 5.1.3 and 5.1.9: 1, exponent, mantissa. */
static uint32_t decode(uint32_t code, uint32_t mantissa_bits)
{
    uint32_t top = 1u << (mantissa_bits + 3);
    if (code < top)
        return code;
    uint32_t exponent = code >> mantissa_bits & 7;
    uint32_t mantissa = code & ((1u << mantissa_bits) - 1);
    return (mantissa | 1u << mantissa_bits) << (exponent + 3);
}

int mir__mld6_parse_query(const uint8_t *msg, size_t len, struct mir__mld6_query *value)
{
    struct mir_ip group;
    if (len < MIR__MLD6_V1_LEN)
        return -MIR_ETRUNCATED;
    mir_memcpy(group.bytes, msg + 8, sizeof group.bytes);
    bool is_v1 = len == MIR__MLD6_V1_LEN;
    /* RFC 3810 section 8.1: between the two lengths is no version's. */
    if (msg[0] != MIR__MLD6_QUERY || (!is_v1 && len < 28) ||
        (!mir_ip_is_any(&group) && group.bytes[0] != 0xff))
        return -MIR_EMALFORMED;
    *value = (struct mir__mld6_query){.version = 1, .group = group};
    value->response_ms = mir_get_be16(msg + 4);
    if (is_v1)
        return 0;
    value->version = 2;
    value->response_ms = decode(mir_get_be16(msg + 4), 12);
    value->robustness = msg[24] & 7;
    value->interval_s = decode(msg[25], 4);
    value->sources = mir_get_be16(msg + 26);
    return value->sources * 16u <= len - 28 ? 0 : -MIR_EMALFORMED;
}

void mir__mld6_emit_v1(uint8_t type, const struct mir_ip *group, uint8_t *out)
{
    mir_memset(out, 0, 8);
    out[0] = type;
    mir_memcpy(out + 8, group->bytes, 16);
}

void mir__mld6_emit_header(uint16_t records, uint8_t *out)
{
    mir_memset(out, 0, MIR__MLD6_HEADER_LEN);
    out[0] = MIR__MLD6_REPORT2;
    mir_put_be16(out + 6, records);
}

void mir__mld6_emit_record(uint8_t type, const struct mir_ip *group, uint8_t *out)
{
    mir_memset(out, 0, 4);
    out[0] = type;
    mir_memcpy(out + 4, group->bytes, 16);
}
