/* SPDX-License-Identifier: ISC */
/* Paths: percent-decoding first, then dot segments and doubled slashes are taken out.
 *
 * Decoding comes first so that "%2e%2e%2f" cannot hide a "..". A path that would leave the root is
 * refused, not clamped: nobody asks for it by mistake. Doubled slashes are joined, so that no path
 * (and no Location made from one) begins with "//", which a browser would take for a host name.
 */
#include "lib/http/parse.h"

#include <mirari/err.h>
#include <mirari/format.h>

/* The character at *at, decoded; *at goes to the next one. Negative: not allowed in a path. */
static int decode(const char *path, uint32_t len, uint32_t *at)
{
    int c = (uint8_t)path[(*at)++];
    if (c == '%') {
        if (len - *at < 2)
            return -1;
        int high = mir_hex_digit(path[*at]);
        int low = mir_hex_digit(path[*at + 1]);
        if (high < 0 || low < 0)
            return -1;
        *at += 2;
        c = high << 4 | low;
    }
    return c < 0x20 || c == 0x7f ? -1 : c;
}

/* The last segment, [from, out_len), is complete: take dot segments out. Negative: above the root.
 */
static int end_segment(const char *out, uint32_t from, uint32_t out_len)
{
    uint32_t len = out_len - from;
    if (len == 1 && out[from] == '.')
        return (int)from;
    if (len != 2 || out[from] != '.' || out[from + 1] != '.')
        return (int)out_len;
    if (from == 1)
        return -1;
    for (from--; out[from - 1] != '/'; from--)
        ;
    return (int)from;
}

int mir__http_normalise_path(const char *path, uint32_t len, char *out)
{
    uint32_t out_len = 0, segment = 0;
    for (uint32_t at = 0; at < len;) {
        int c = decode(path, len, &at);
        if (c < 0)
            return -MIR_EMALFORMED;
        if (c == '/' && out_len > 0) {
            int end = end_segment(out, segment, out_len);
            if (end < 0)
                return -MIR_EMALFORMED;
            out_len = (uint32_t)end;
            if (out[out_len - 1] == '/') {
                segment = out_len;
                continue;
            }
        }
        out[out_len++] = (char)c;
        if (c == '/')
            segment = out_len;
    }
    int end = end_segment(out, segment, out_len);
    return end < 0 ? -MIR_EMALFORMED : end;
}
