/* SPDX-License-Identifier: ISC */
/* ICMPv4 messages as values. The figure and the accessors are in the header. */
#include "lib/wire/icmp4.h"

#include "lib/wire/csum.h"

int mir__icmp4_parse(const uint8_t *icmp, size_t len, struct mir__icmp4 *value)
{
    int r = mir__icmp4_check(icmp, len);
    if (r < 0)
        return r;
    *value = (struct mir__icmp4){
        .type = mir__icmp4_type(icmp),
        .code = mir__icmp4_code(icmp),
        .rest = mir__icmp4_rest(icmp),
        .data = icmp + MIR__ICMP4_HEADER_LEN,
        .data_len = (uint32_t)(len - MIR__ICMP4_HEADER_LEN),
    };
    return 0;
}

size_t mir__icmp4_emit_len(const struct mir__icmp4 *value)
{
    return MIR__ICMP4_HEADER_LEN + value->data_len;
}

void mir__icmp4_emit(const struct mir__icmp4 *value, uint8_t *out)
{
    out[0] = value->type;
    out[1] = value->code;
    mir_put_be16(out + 2, 0);
    mir_put_be32(out + 4, value->rest);
    if (value->data_len > 0)
        mir_memcpy(out + MIR__ICMP4_HEADER_LEN, value->data, value->data_len);
    uint16_t check = (uint16_t)~mir__csum_partial(out, mir__icmp4_emit_len(value));
    mir_memcpy(out + 2, &check, sizeof check);
}
