/* SPDX-License-Identifier: ISC */
/* ICMPv6 messages as values. The figure and the accessors are in the header. */
#include "lib/wire/icmp6.h"

int mir__icmp6_parse(const uint8_t *icmp, size_t len, struct mir__icmp6 *value)
{
    int r = mir__icmp6_check(icmp, len);
    if (r < 0)
        return r;
    *value = (struct mir__icmp6){
        .type = mir__icmp6_type(icmp),
        .code = mir__icmp6_code(icmp),
        .rest = mir__icmp6_rest(icmp),
        .data = icmp + MIR__ICMP6_HEADER_LEN,
        .data_len = (uint32_t)(len - MIR__ICMP6_HEADER_LEN),
    };
    return 0;
}

size_t mir__icmp6_emit_len(const struct mir__icmp6 *value)
{
    return MIR__ICMP6_HEADER_LEN + value->data_len;
}

void mir__icmp6_emit(const struct mir__icmp6 *value, uint8_t *out)
{
    out[0] = value->type;
    out[1] = value->code;
    mir_put_be16(out + 2, 0);
    mir_put_be32(out + 4, value->rest);
    if (value->data_len > 0)
        mir_memcpy(out + MIR__ICMP6_HEADER_LEN, value->data, value->data_len);
}
