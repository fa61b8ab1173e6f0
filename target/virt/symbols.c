/* SPDX-License-Identifier: ISC */
/* Names of functions, for crash reports.
 *
 * Linking makes a table of them (tools/link-virt) and links it in:
 *
 *   mir__symbols_count    functions, 0 in an image without names
 *   mir__symbols_at[]     where each begins, as the linker had it; ascending
 *   mir__symbols_names[]  their names in the same order, each with a NUL
 *
 * The image that was linked without it uses the empty one here.
 */
#include "target/virt/internal.h"

extern const uint32_t mir__symbols_count __attribute__((weak));
extern const uint32_t mir__symbols_at[] __attribute__((weak));
extern const char mir__symbols_names[] __attribute__((weak));

const char *mir__symbols_find(uintptr_t address, uintptr_t *distance)
{
    uint32_t low = 0, high = &mir__symbols_count != NULL ? mir__symbols_count : 0;
    const char *name = mir__symbols_names;
    if (high == 0 || address < mir__symbols_at[0])
        return NULL;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (mir__symbols_at[middle] <= address)
            low = middle;
        else
            high = middle;
    }
    for (uint32_t i = 0; i < low; i++)
        name += mir_str_len(name) + 1;
    *distance = address - mir__symbols_at[low];
    return name;
}
