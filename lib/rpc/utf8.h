/* SPDX-License-Identifier: ISC */
/* What is UTF-8. Not public. */
#ifndef LIB_RPC_UTF8_H
#define LIB_RPC_UTF8_H

#include <mirari/base.h>

/** Bytes of the UTF-8 sequence that begins at @text of @left >= 1 bytes; 0: it is none. Overlong
 *  forms, surrogates and what is beyond U+10FFFF are none. Source: RFC 3629 section 4. */
static inline size_t mir__utf8_len(const char *text, size_t left)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (len == 0 || p[0] > 0xf4 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    bool is_overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool is_outside = (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf4 && p[1] >= 0x90);
    return is_overlong || is_outside ? 0 : len;
}

#endif
