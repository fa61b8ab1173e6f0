/* SPDX-License-Identifier: ISC */
/* Domain names in lists as text. The figure is in the header.
 *
 * Names are read only, never compressed (a length octet above 63 is an error), and bounded by the
 * list; the text of a name is what a search list can use, so octets that would need an escape are
 * refused.
 */
#include "lib/wire/domain.h"

int mir__domain_next(const uint8_t *list, size_t len, size_t *at, char text[MIR__DOMAIN_TEXT_MAX])
{
    size_t pos = *at, out = 0;
    while (pos < len && list[pos] == 0)
        pos++; /* padding */
    if (pos == len)
        return 0;
    for (;;) {
        if (pos == len)
            return -MIR_EMALFORMED;
        size_t label_len = list[pos++];
        if (label_len == 0)
            break;
        if (label_len > 63 || label_len > len - pos)
            return -MIR_EMALFORMED;
        if (out + (out > 0) + label_len >= MIR__DOMAIN_TEXT_MAX)
            return -MIR_EMALFORMED;
        if (out > 0)
            text[out++] = '.';
        for (size_t i = 0; i < label_len; i++) {
            uint8_t c = list[pos++];
            if (c <= ' ' || c > '~' || c == '.')
                return -MIR_EMALFORMED;
            text[out++] = (char)c;
        }
    }
    text[out] = 0;
    *at = pos;
    return (int)out;
}
