/* SPDX-License-Identifier: ISC */
/* IGMP messages as values. The figure is in the header.
 *
 * Delays of version 3 from 128 tenths of a second on are a floating-point number of three bits of
 * exponent and four of mantissa (RFC 3376 section 4.1.1). What follows the fields we know is
 * ignored but for the checksum (section 4.1.10).
 */
#include "lib/wire/igmp.h"

#include "lib/wire/csum.h"

static uint32_t delay_ms(uint8_t code)
{
    uint32_t tenths = code;
    if (code >= 128)
        tenths = ((code & 0xfu) | 0x10u) << ((code >> 4 & 7u) + 3u);
    return tenths * 100;
}

static int parse_query(const uint8_t *msg, size_t len, struct mir__igmp *v)
{
    if (len == MIR__IGMP_LEN) {
        v->version = msg[1] == 0 ? 1 : 2;
        /* Version 1 has one delay for all: RFC 1112 appendix I, 10 seconds. */
        v->delay_ms = msg[1] == 0 ? 10000 : msg[1] * 100u;
        return 0;
    }
    if (len < 12)
        return -MIR_EMALFORMED;
    v->version = 3;
    v->delay_ms = delay_ms(msg[1]);
    v->robustness = msg[8] & 7;
    v->source_count = mir_get_be16(msg + 10);
    return len - 12 < (size_t)4 * v->source_count ? -MIR_ETRUNCATED : 0;
}

int mir__igmp_parse(const uint8_t *msg, size_t len, struct mir__igmp *value)
{
    struct mir__igmp v = {0};
    if (len < MIR__IGMP_LEN)
        return -MIR_ETRUNCATED;
    v.type = msg[0];
    if (v.type != MIR__IGMP_V3_REPORT)
        v.group = mir_get_be32(msg + 4);
    if (v.group != 0 && v.group >> 28 != 0xe)
        return -MIR_EMALFORMED;
    int r = v.type == MIR__IGMP_QUERY ? parse_query(msg, len, &v) : 0;
    if (r < 0)
        return r;
    *value = v;
    return 0;
}

static void put_checksum(uint8_t *msg, size_t len)
{
    mir_put_be16(msg + 2, 0);
    uint16_t sum = (uint16_t)~mir__csum_partial(msg, len);
    mir_memcpy(msg + 2, &sum, sizeof sum);
}

void mir__igmp_emit(uint8_t type, uint32_t group, uint8_t *out)
{
    mir_put_be32(out, (uint32_t)type << 24);
    mir_put_be32(out + 4, group);
    put_checksum(out, MIR__IGMP_LEN);
}

void mir__igmp_report_begin(struct mir__igmp_report *report, uint8_t *out, size_t size)
{
    *report = (struct mir__igmp_report){.out = out, .size = size, .len = MIR__IGMP_LEN};
    mir_put_be32(out, (uint32_t)MIR__IGMP_V3_REPORT << 24);
}

int mir__igmp_report_add(struct mir__igmp_report *report, enum mir__igmp_record type,
                         uint32_t group, const uint32_t *sources, size_t count)
{
    uint8_t *at = report->out + report->len;
    if (count > 0xffff || report->size - report->len < 8 + 4 * count)
        return -MIR_ETOOBIG;
    mir_put_be32(at, (uint32_t)type << 24 | (uint32_t)count);
    mir_put_be32(at + 4, group);
    for (size_t i = 0; i < count; i++)
        mir_put_be32(at + 8 + 4 * i, sources[i]);
    report->len += 8 + 4 * count;
    report->count++;
    return 0;
}

size_t mir__igmp_report_end(struct mir__igmp_report *report)
{
    mir_put_be32(report->out + 4, report->count);
    put_checksum(report->out, report->len);
    return report->len;
}
