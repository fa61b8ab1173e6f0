/* SPDX-License-Identifier: ISC */
/* Names of functions, for crash reports.
 *
 * Linking makes a table of them and links it in (cmd/mirari/names.c, tools/link-virt):
 *
 *   number of pairs, 0 .. 128; then two bytes for each
 *   for each function, by address: distance to the one before (ULEB128; of the first, its address
 *   as the linker had it), name, NUL; a distance of 0 ends the table
 *
 * In names a byte of 128 + n stands for the two bytes of pair n, each of which may stand for a pair
 * again, at most 15 deep.
 *
 * It is read from its beginning for each address: a crash has time.
 */
#include "target/virt/internal.h"

#define NAME_MAX  96u
#define DEPTH_MAX 15u

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

/* The first of two bytes is looked at next, the other one waits. */
static const char *whole(const uint8_t *name)
{
    static char text[NAME_MAX];
    uint8_t waiting[DEPTH_MAX + 1];
    size_t len = 0, count = 0;
    while (len < NAME_MAX - 1 && (count > 0 || *name != '\0')) {
        uint8_t code = count > 0 ? waiting[--count] : *name++;
        const uint8_t *pair = mir__symbols + 1 + 2 * (size_t)(code & 0x7f);
        if (code < 0x80) {
            text[len++] = (char)code;
        } else if (count + 2 <= sizeof waiting) {
            waiting[count++] = pair[1];
            waiting[count++] = pair[0];
        }
    }
    text[len] = '\0';
    return text;
}

const char *mir__symbols_find(uintptr_t address, uintptr_t *distance)
{
    const uint8_t *at = NULL, *name = NULL;
    uint64_t start = 0, step;
    if (mir__symbols != NULL)
        at = mir__symbols + 1 + 2 * (size_t)mir__symbols[0];
    while (at != NULL) {
        const uint8_t *next = read_number(at, &step);
        if (step == 0 || start + step > address)
            break;
        start += step;
        name = next;
        at = next + mir_str_len((const char *)name) + 1;
    }
    *distance = address - (uintptr_t)start;
    return name != NULL ? whole(name) : NULL;
}
