/* SPDX-License-Identifier: ISC */
/* TCP header and options from anybody: no read outside, and emit of what was parsed parses the
 * same. */
#include <string.h>

#include "lib/wire/tcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mir__tcp_header hdr;
    struct mir__tcp_options opt;
    struct mir__tcp_options again;
    uint8_t bytes[MIR__TCP_OPTIONS_MAX];
    if (mir__tcp_header_parse(data, (uint32_t)size, &hdr) < 0)
        return 0;
    int r = mir__tcp_options_parse(data + MIR__TCP_HEADER_BYTES,
                                   hdr.hdr_len - MIR__TCP_HEADER_BYTES, &opt);
    MIR_ASSERT(r == 0 || r == -MIR_EMALFORMED);
    uint32_t len = mir__tcp_options_len(&opt);
    if (len > MIR__TCP_OPTIONS_MAX)
        return 0; /* our layout pads more than the sender's */
    MIR_ASSERT_OP(mir__tcp_options_emit(bytes, &opt), ==, len);
    MIR_ASSERT(mir__tcp_options_parse(bytes, len, &again) == 0);
    MIR_ASSERT(again.has_mss == opt.has_mss && (!opt.has_mss || again.mss == opt.mss));
    MIR_ASSERT(again.has_wscale == opt.has_wscale &&
               (!opt.has_wscale || again.wscale == opt.wscale));
    MIR_ASSERT(again.has_ts == opt.has_ts && (!opt.has_ts || again.tsecr == opt.tsecr));
    MIR_ASSERT(again.has_cookie == opt.has_cookie);
    MIR_ASSERT(!opt.has_cookie || (again.cookie_len == opt.cookie_len &&
                                   memcmp(again.cookie, opt.cookie, opt.cookie_len) == 0));
    MIR_ASSERT(again.sack_count == opt.sack_count);
    MIR_ASSERT(memcmp(again.sack, opt.sack, opt.sack_count * sizeof opt.sack[0]) == 0);
    return 0;
}
