/* SPDX-License-Identifier: ISC */
/* The memory map: what a loader tells, as a sorted list of whole usable pages.
 *
 * Loaders tell ranges in any order, odd addresses included, and some tell both that memory is
 * there and that a part of it is somebody's. So usable ranges are added first, merged as they come,
 * and everything else is cut out of them afterwards.
 *
 * This runs before the image is relocated, so it uses no pointer that the linker initialised.
 */
#include "target/virt/internal.h"

#define PAGE 4096ull

struct mir__boot mir__boot;

static void remove_at(struct mir__boot *boot, uint32_t at)
{
    boot->memory_count--;
    for (uint32_t i = at; i < boot->memory_count; i++)
        boot->memory[i] = boot->memory[i + 1];
}

static void insert_at(struct mir__boot *boot, uint32_t at, struct mir__region region)
{
    if (boot->memory_count == MIR__REGIONS_MAX)
        return;
    for (uint32_t i = boot->memory_count; i > at; i--)
        boot->memory[i] = boot->memory[i - 1];
    boot->memory[at] = region;
    boot->memory_count++;
}

void mir__memory_add(struct mir__boot *boot, uint64_t base, uint64_t size)
{
    uint64_t first = (base + PAGE - 1) & ~(PAGE - 1), end = (base + size) & ~(PAGE - 1);
    uint32_t i = 0;
    if (base + size < base || first < base || first >= end)
        return;
    while (i < boot->memory_count && boot->memory[i].base + boot->memory[i].size < first)
        i++;
    /* What it touches or overlaps becomes part of it. */
    while (i < boot->memory_count && boot->memory[i].base <= end) {
        end = MIR_MAX(end, boot->memory[i].base + boot->memory[i].size);
        first = MIR_MIN(first, boot->memory[i].base);
        remove_at(boot, i);
    }
    insert_at(boot, i, (struct mir__region){first, end - first});
}

void mir__memory_cut(struct mir__boot *boot, uint64_t base, uint64_t size)
{
    uint64_t first = base & ~(PAGE - 1), end = (base + size + PAGE - 1) & ~(PAGE - 1);
    if (size == 0)
        return;
    if (end < first)
        end = ~(PAGE - 1);
    for (uint32_t i = 0; i < boot->memory_count;) {
        struct mir__region *r = &boot->memory[i];
        uint64_t r_base = r->base, r_end = r->base + r->size;
        if (r_end <= first || r_base >= end) {
            i++;
            continue;
        }
        remove_at(boot, i);
        if (r_base < first)
            insert_at(boot, i++, (struct mir__region){r_base, first - r_base});
        if (end < r_end)
            insert_at(boot, i++, (struct mir__region){end, r_end - end});
    }
}

void mir__memory_command_line(struct mir__boot *boot, const char *text, size_t max)
{
    size_t len = 0;
    while (len < max && text[len] != '\0' && len + 1 < sizeof boot->command_line) {
        boot->command_line[len] = text[len];
        len++;
    }
    boot->command_line[len] = '\0';
    boot->is_command_line_cut = len < max && text[len] != '\0';
}
