/* SPDX-License-Identifier: ISC */
/* Names of functions, for crash reports.
 *
 * Linking makes a table of them and links it in (cmd/mirari/names.c, tools/link-virt):
 *
 *   for each function, by address: distance to the one before (ULEB128; of the first, its address
 *   as the linker had it), name, NUL; a distance of 0 ends the table. In names byte 1 stands for
 *   "mir__", 2 for "mir_".
 *
 * It is read from its beginning for each address: a crash has time.
 */
#include <mirari/format.h>

#include "target/virt/internal.h"

#define NAME_MAX 96u

extern const uint8_t mir__symbols[] __attribute__((weak));

static const uint8_t *read_number(const uint8_t *at, uint64_t *value)
{
    unsigned shift = 0;
    *value = 0;
    do {
        *value |= (uint64_t)(*at & 0x7f) << shift;
        shift += 7;
    } while ((*at++ & 0x80) != 0 && shift < 64);
    return at;
}

static const char *whole(const char *name)
{
    static char text[NAME_MAX];
    static const char prefixes[][8] = {"", "mir__", "mir_"};
    unsigned code = (uint8_t)name[0] < MIR_ARRAY_LEN(prefixes) ? (uint8_t)name[0] : 0;
    mir_format(text, sizeof text, "%s%s", prefixes[code], name + (code != 0 ? 1 : 0));
    return text;
}

const char *mir__symbols_find(uintptr_t address, uintptr_t *distance)
{
    const uint8_t *at = mir__symbols;
    const char *name = NULL;
    uint64_t start = 0, step;
    while (at != NULL) {
        const uint8_t *next = read_number(at, &step);
        if (step == 0 || start + step > address)
            break;
        start += step;
        name = (const char *)next;
        at = next + mir_str_len(name) + 1;
    }
    *distance = address - (uintptr_t)start;
    return name != NULL ? whole(name) : NULL;
}
