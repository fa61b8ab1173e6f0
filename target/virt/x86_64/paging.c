/* SPDX-License-Identifier: ISC */
/* Page tables: where everything is, and what may be done there.
 *
 *   image     at a random address: text read+execute, constants read, data read+write; the pages
 *             under its stacks not at all. Relocated pointers to constants are read-only too.
 *   memory    all usable RAM at (random base + physical address), read+write, 2 MiB pages where it
 *             fits; without the image, so no page of it has a writable second name
 *   devices   registers and firmware tables, mapped on request into a random slot
 *   stacks    of tasks, page by page, in the same slot
 *
 * Nothing is executable but text, and nothing is mapped in the lower half: address 0 and all small
 * numbers fault. Every region has an entry of the top-level table (512 GiB) of its own, drawn at
 * random; inside it the image begins at a random page, the rest at a random GiB.
 *
 * Built in two steps. mir__paging_prepare() runs at physical addresses and writes tables in memory
 * that is mapped one to one; it also enters the image into the first tables, so that start.S can
 * jump. mir__paging_enter() then switches. Memory for tables comes from the range behind the image,
 * later from the page pool.
 *
 * Limits: 256 GiB of RAM are mapped; more is left unused.
 */
#include <mirari/page.h>

#include "target/virt/x86_64/internal.h"

#define PRESENT       (1ull << 0)
#define WRITE         (1ull << 1)
#define WRITE_THROUGH (1ull << 3)
#define UNCACHED      (1ull << 4)
#define LARGE         (1ull << 7)
#define NO_EXECUTE    (1ull << 63)
#define ADDRESS       0x000ffffffffff000ull

#define PAGE         4096ull
#define LARGE_SIZE   (2ull << 20)
#define GIB          (1ull << 30)
#define MEMORY_MAX   (256 * GIB)
#define SLOT_SHIFT   39
#define SPARE_FRAMES 8u /* kept back from the appliance for tables before the pool is there */

#define MSR_EFER 0xc0000080u
#define EFER_NX  (1ull << 11)
#define CR4_PGE  (1ull << 7)
#define CR4_UMIP (1ull << 11)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)

static uint64_t top;                   /* physical address of the top-level table */
static uint64_t no_execute;            /* the bit, if the CPU has it */
static uint64_t image_delta;           /* virtual - physical of the image */
static uint64_t memory_base;           /* virtual address of physical 0 */
static uint64_t space_next, space_end; /* addresses for devices and stacks */
static uint64_t stacks_low, stacks_high;
static bool is_entered;

/* Memory for tables: [next, end) of physical memory, then the pool. */
static uint64_t frame_next, frame_end;
static struct mir_page_pool *pool;

/* ---- tables ---------------------------------------------------------------------------------- */

static uint64_t *table_at(uint64_t physical)
{
    return (uint64_t *)(uintptr_t)(physical + (is_entered ? memory_base : 0));
}

/* Physical address of a zeroed page, or 0. */
static uint64_t take_frame(void)
{
    struct mir_io_page *page;
    uint64_t frame;
    if (pool != NULL) {
        if (mir_page_alloc(pool, PAGE, MIR_PAGE_ZERO, &page) < 0)
            return 0;
        return (uint64_t)(uintptr_t)page->base - memory_base;
    }
    if (frame_next == frame_end)
        return 0;
    frame = frame_next;
    frame_next += PAGE;
    mir_memset(table_at(frame), 0, PAGE);
    return frame;
}

/* The entry for @virtual in the table of @level (0: 4 KiB, 1: 2 MiB); tables on the way are made
 * if @is_made. NULL: no memory, or not there. */
static uint64_t *entry_of(uint64_t virtual, unsigned level, bool is_made)
{
    uint64_t table = top;
    for (unsigned at = 3;; at--) {
        uint64_t *entry = table_at(table) + (virtual >> (12 + 9 * at) & 511);
        if (at == level)
            return entry;
        if ((*entry & PRESENT) == 0) {
            uint64_t frame = is_made ? take_frame() : 0;
            if (frame == 0)
                return NULL;
            *entry = frame | PRESENT | WRITE;
        } else if (*entry & LARGE) {
            return NULL;
        }
        table = *entry & ADDRESS;
    }
}

static int map(uint64_t virtual, uint64_t physical, uint64_t size, uint64_t bits)
{
    while (size > 0) {
        bool is_large = size >= LARGE_SIZE && ((virtual | physical) & (LARGE_SIZE - 1)) == 0;
        uint64_t *entry = entry_of(virtual, is_large ? 1 : 0, true);
        uint64_t step = is_large ? LARGE_SIZE : PAGE;
        if (entry == NULL)
            return -MIR_ENOMEM;
        *entry = physical | bits | PRESENT | (is_large ? LARGE : 0);
        virtual += step;
        physical += step;
        size -= step;
    }
    return 0;
}

/* ---- the image ------------------------------------------------------------------------------- */

/* At physical addresses these symbols are physical addresses. */
static uint64_t address_of(const void *symbol)
{
    return (uint64_t)(uintptr_t)symbol;
}

/* Offset in mir__stacks of the guard page under the stack of number @index, 0 the loop's. */
static size_t guard_of(unsigned index)
{
    return index == 0 ? 0 : MIR__STACK_TRAP_HIGH((size_t)index - 2);
}

static bool is_guard(size_t offset)
{
    for (unsigned i = 0; i <= MIR__TRAP_STACKS; i++) {
        if (offset >= guard_of(i) && offset < guard_of(i) + PAGE)
            return true;
    }
    return false;
}

static int map_image(void)
{
    const struct mir__layout *l = &mir__layout;
    uint64_t at = MIR__IMAGE_PHYSICAL, to = at + image_delta;
    int r = map(to, at, (l->text_end + PAGE - 1) & ~(PAGE - 1), 0);
    if (r == 0)
        r = map(to + l->constants, at + l->constants, l->data - l->constants, no_execute);
    if (r == 0)
        r = map(to + l->data, at + l->data, l->end - l->data, WRITE | no_execute);
    for (size_t offset = 0; offset < MIR__STACKS && r == 0; offset += PAGE) {
        if (is_guard(offset))
            *entry_of(address_of(mir__stacks) + offset + image_delta, 0, false) = 0;
    }
    return r;
}

/* Packed relative relocations: an address, then bitmaps of the 63 words that follow, bit 0 set. */
extern const uint64_t mir__relr_start[], mir__relr_end[];

struct rela {
    uint64_t offset, info, addend;
};
extern const struct rela mir__rela_start[], mir__rela_end[];
#define R_X86_64_RELATIVE 8u

static bool relocate(void)
{
    uint64_t *at = NULL;
    for (const uint64_t *r = mir__relr_start; r < mir__relr_end; r++) {
        if ((*r & 1) == 0) {
            at = (uint64_t *)(uintptr_t)*r;
            *at++ += image_delta;
            continue;
        }
        for (unsigned bit = 1; bit < 64; bit++) {
            if (*r >> bit & 1)
                at[bit - 1] += image_delta;
        }
        at += 63;
    }
    for (const struct rela *r = mir__rela_start; r < mir__rela_end; r++) {
        if ((uint32_t)r->info != R_X86_64_RELATIVE)
            return false;
        *(uint64_t *)(uintptr_t)r->offset = r->addend + image_delta;
    }
    return true;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static uint64_t slot(uint64_t number)
{
    return 0xffff000000000000ull | number << SLOT_SHIFT;
}

/* Three different entries of the upper half, each from a part of its own; not the last one, whose
 * addresses wrap. Inside it the image may begin at any page, if 4 GiB are left behind it. */
static void choose_addresses(const uint64_t random[3])
{
    uint64_t page = (random[0] >> 16) % ((1ull << (SLOT_SHIFT - 12)) - (1ull << 20));
    image_delta = slot(256 + random[0] % 128) + page * PAGE - MIR__IMAGE_PHYSICAL;
    memory_base = slot(384 + random[1] % 64) + (random[1] >> 16) % 256 * GIB;
    space_next = slot(448 + random[2] % 63) + (random[2] >> 16) % 256 * GIB;
    space_end = space_next + 64 * GIB;
}

/* Tables are taken from behind the image. */
static bool choose_frames(void)
{
    uint64_t image_end = MIR__IMAGE_PHYSICAL + mir__layout.end;
    for (uint32_t i = 0; i < mir__boot.memory_count; i++) {
        struct mir__region *r = &mir__boot.memory[i];
        if (r->base >= image_end && r->base < 4 * GIB) {
            frame_next = r->base;
            frame_end = MIR_MIN(r->base + r->size, 4 * GIB);
            return true;
        }
    }
    return false;
}

uint64_t mir__paging_prepare(const uint64_t random[3])
{
    struct mir__cpuid id = mir__cpuid(0x80000001u, 0);
    int r = 0;
    if (id.d >> 20 & 1) {
        mir__wrmsr(MSR_EFER, mir__rdmsr(MSR_EFER) | EFER_NX);
        no_execute = NO_EXECUTE;
    }
    choose_addresses(random);
    if (!choose_frames())
        return 0;
    top = take_frame();
    if (top == 0)
        return 0;
    r = map_image();
    for (uint32_t i = 0; i < mir__boot.memory_count && r == 0; i++) {
        const struct mir__region *m = &mir__boot.memory[i];
        if (m->base < MEMORY_MAX)
            r = map(memory_base + m->base, m->base, MIR_MIN(m->size, MEMORY_MAX - m->base),
                    WRITE | no_execute);
    }
    if (r < 0 || !relocate())
        return 0;
    uint64_t entry = (image_delta + MIR__IMAGE_PHYSICAL) >> SLOT_SHIFT & 511;
    mir__boot_tables[entry] = table_at(top)[entry];
    return image_delta;
}

void mir__paging_enter(void)
{
    struct mir__cpuid id = mir__cpuid(7, 0);
    uint64_t cr4 = mir__read_cr4() | CR4_PGE;
    if (mir__cpuid(0, 0).a >= 7) {
        cr4 |= id.b >> 7 & 1 ? CR4_SMEP : 0;
        cr4 |= id.b >> 20 & 1 ? CR4_SMAP : 0;
        cr4 |= id.c >> 2 & 1 ? CR4_UMIP : 0;
    }
    is_entered = true;
    mir__write_cr3(top);
    mir__write_cr4(cr4);
}

/* ---- what others ask for --------------------------------------------------------------------- */

void *mir__arch_map_physical(uint64_t physical, size_t size, unsigned flags)
{
    uint64_t first = physical & ~(PAGE - 1), end = (physical + size + PAGE - 1) & ~(PAGE - 1);
    uint64_t bits = no_execute | (flags & MIR__MAP_WRITE ? WRITE : 0) |
                    (flags & MIR__MAP_DEVICE ? UNCACHED | WRITE_THROUGH : 0);
    uint64_t at = space_next;
    if (size == 0 || end <= first || end - first >= space_end - space_next)
        return NULL;
    if (map(at, first, end - first, bits) < 0)
        return NULL;
    space_next += end - first + PAGE; /* one that faults between two of them */
    return (void *)(uintptr_t)(at + (physical - first));
}

uint64_t mir__arch_dma(const volatile void *memory)
{
    uint64_t virtual = (uint64_t)(uintptr_t)memory;
    uint64_t image = virtual - image_delta - MIR__IMAGE_PHYSICAL;
    if (image < mir__layout.end)
        return virtual - image_delta;
    if (virtual - memory_base < MEMORY_MAX)
        return virtual - memory_base;
    const uint64_t *entry = entry_of(virtual, 0, false);
    MIR_ASSERT(entry != NULL && (*entry & PRESENT) != 0);
    return (*entry & ADDRESS) | (virtual & (PAGE - 1));
}

void *mir__arch_take_memory(size_t *size_bytes)
{
    struct mir__region best = {0, 0};
    uint64_t behind = frame_next + SPARE_FRAMES * PAGE;
    for (uint32_t i = 0; i < mir__boot.memory_count; i++) {
        struct mir__region r = mir__boot.memory[i];
        uint64_t end = MIR_MIN(r.base + r.size, MEMORY_MAX);
        if (frame_next >= r.base && frame_next <= end)
            r.base = MIR_MIN(behind, end);
        if (end > r.base && end - r.base > best.size)
            best = (struct mir__region){r.base, end - r.base};
    }
    if (best.base == behind)
        frame_end = behind;
    *size_bytes = best.size;
    return (void *)(uintptr_t)(best.base + memory_base);
}

void mir__arch_use_pool(struct mir_page_pool *pages)
{
    pool = pages;
}

void *mir__arch_stack_space(size_t size_bytes)
{
    MIR_ASSERT_OP(stacks_low, ==, 0);
    stacks_low = space_next;
    stacks_high = stacks_low + size_bytes;
    space_next = stacks_high + PAGE;
    return (void *)(uintptr_t)stacks_low;
}

int mir__arch_stack_tables(void *at, size_t size_bytes)
{
    uint64_t virtual = (uint64_t)(uintptr_t)at, end = virtual + size_bytes;
    MIR_ASSERT(virtual >= stacks_low && end <= stacks_high);
    for (; virtual < end; virtual = (virtual | (LARGE_SIZE - 1)) + 1) {
        if (entry_of(virtual, 0, true) == NULL)
            return -MIR_ENOMEM;
    }
    return 0;
}

void mir__arch_map_page(void *at, void *page)
{
    uint64_t virtual = (uint64_t)(uintptr_t)at;
    uint64_t *entry = entry_of(virtual, 0, false);
    MIR_ASSERT(virtual >= stacks_low && virtual < stacks_high && entry != NULL);
    *entry = ((uint64_t)(uintptr_t)page - memory_base) | PRESENT | WRITE | no_execute;
}

void *mir__arch_unmap_page(void *at)
{
    uint64_t *entry = entry_of((uint64_t)(uintptr_t)at, 0, false);
    if (entry == NULL || (*entry & PRESENT) == 0)
        return NULL;
    void *page = (void *)(uintptr_t)((*entry & ADDRESS) + memory_base);
    *entry = 0;
    mir__invlpg(at);
    return page;
}

bool mir__arch_is_mapped(const void *at)
{
    const uint64_t *entry = entry_of((uint64_t)(uintptr_t)at, 0, false);
    return entry != NULL && (*entry & PRESENT) != 0;
}

void mir__arch_loop_stack(uintptr_t *low, uintptr_t *high)
{
    *low = (uintptr_t)mir__stacks + PAGE;
    *high = (uintptr_t)mir__stacks + MIR__STACK_LOOP_HIGH;
}

bool mir__arch_is_guard(uintptr_t address)
{
    uintptr_t offset = address - (uintptr_t)mir__stacks;
    return offset < MIR__STACKS && is_guard(offset);
}

uintptr_t mir__arch_image_address(uintptr_t pc)
{
    uintptr_t offset = pc - (uintptr_t)mir__image_start;
    return offset < mir__layout.text_end ? pc - (uintptr_t)image_delta : 0;
}
