/* SPDX-License-Identifier: ISC */
/* Page tables: where everything is, and what may be done there.
 *
 *   image     at a random address: text read+execute, constants read, data read+write; the pages
 *             under its stacks not at all. Relocated pointers to constants are read-only too.
 *   memory    all usable RAM at (random base + physical address), read+write, 2 MiB and 1 GiB
 *             blocks where it fits; without the image, so no page of it has a writable second name
 *   devices   registers and firmware tables, mapped on request
 *   stacks    of tasks, page by page
 *
 * Nothing is executable but text (SCTLR.WXN makes sure of it once more), nothing at all at EL0, and
 * address 0 is not mapped. layout.h says which part of the address space is whose; inside it the
 * image begins at a random page, the rest at a random GiB.
 *
 * mir__paging_prepare() adds all this to the root table that start.S made, beside the mappings of
 * the machine as it is, which mir__paging_enter() then takes out. Memory for tables comes from the
 * range behind the image, later from the page pool.
 *
 * An entry that was never valid needs no invalidation when it becomes so, only that the write is
 * done (dsb) before it is used; one that goes needs both. One CPU: local invalidations are enough.
 *
 * Limits: 64 GiB of RAM are mapped, in the lowest 512 GiB; more is left unused.
 */
#include <mirari/page.h>

#include "target/virt/aarch64/internal.h"

#define PXN     (1ull << 53)
#define UXN     (1ull << 54)
#define ADDRESS 0x0000fffffffff000ull
#define NORMAL  (MIR__PTE_VALID | MIR__PTE_SHARED | MIR__PTE_ACCESS | UXN)

#define READ_EXECUTE (NORMAL | MIR__PTE_READ)
#define READ_ONLY    (NORMAL | MIR__PTE_READ | PXN)
#define READ_WRITE   (NORMAL | PXN)

#define PAGE         ((uint64_t)MIR__PAGE)
#define BLOCK        (2ull << 20)
#define GIB          (1ull << MIR__SLOT_BITS)
#define MEMORY_SLOTS 64u
#define PHYSICAL_MAX (MIR__SLOTS * GIB)
#define SPARE_FRAMES 8u /* kept back from the appliance for tables before the pool is there */

static uint64_t image, image_delta;       /* physical address; virtual - physical */
static uint64_t memory_delta;             /* the same of memory */
static uint64_t memory_first, memory_end; /* physical addresses that are mapped */
static uint64_t space_next, space_end;    /* virtual addresses for devices */
static uint64_t stacks_low, stacks_high;
static bool is_entered;

/* Memory for tables: [next, end) of physical memory, then the pool. */
static uint64_t frame_next, frame_end;
static struct mir_page_pool *pool;

/* ---- tables ---------------------------------------------------------------------------------- */

static uint64_t *table_at(uint64_t physical)
{
    return (uint64_t *)(uintptr_t)(physical + (is_entered ? memory_delta : 0));
}

/* Physical address of a zeroed page, or 0. */
static uint64_t take_frame(void)
{
    struct mir_io_page *page;
    uint64_t frame;
    if (pool != NULL) {
        if (mir_page_alloc(pool, PAGE, MIR_PAGE_ZERO, &page) < 0)
            return 0;
        return (uint64_t)(uintptr_t)page->base - memory_delta;
    }
    if (frame_next == frame_end)
        return 0;
    frame = frame_next;
    frame_next += PAGE;
    mir_memset(table_at(frame), 0, PAGE);
    return frame;
}

/* The entry for @virtual in the table of @level (3: 4 KiB, 2: 2 MiB, 1: 1 GiB); tables on the way
 * are made if @is_made. NULL: no memory, or not there. */
static uint64_t *entry_of(uint64_t virtual, unsigned level, bool is_made)
{
    uint64_t *table = mir__boot_table;
    for (unsigned at = 1;; at++) {
        uint64_t *entry = table + (virtual >> (39 - 9 * at) & 511);
        if (at == level)
            return entry;
        if ((*entry & MIR__PTE_VALID) == 0) {
            uint64_t frame = is_made ? take_frame() : 0;
            if (frame == 0)
                return NULL;
            mir__dsb(); /* a table is all zero before it is one */
            *entry = frame | MIR__PTE_VALID | MIR__PTE_TABLE;
        } else if ((*entry & MIR__PTE_TABLE) == 0) {
            return NULL;
        }
        table = table_at(*entry & ADDRESS);
    }
}

static bool fits(uint64_t virtual, uint64_t physical, uint64_t size, uint64_t block)
{
    return size >= block && ((virtual | physical) & (block - 1)) == 0;
}

static int map(uint64_t virtual, uint64_t physical, uint64_t size, uint64_t bits)
{
    while (size > 0) {
        unsigned level = fits(virtual, physical, size, GIB)     ? 1
                         : fits(virtual, physical, size, BLOCK) ? 2
                                                                : 3;
        uint64_t *entry = entry_of(virtual, level, true);
        uint64_t step = PAGE << 9 * (3 - level);
        if (entry == NULL)
            return -MIR_ENOMEM;
        *entry = physical | bits | (level == 3 ? MIR__PTE_TABLE : 0);
        virtual += step;
        physical += step;
        size -= step;
    }
    mir__dsb();
    mir__isb();
    return 0;
}

static void unmap(uint64_t virtual, uint64_t *entry)
{
    *entry = 0;
    mir__dsb();
    __asm__ volatile("tlbi vaae1, %0" : : "r"(virtual >> 12) : "memory");
    mir__dsb();
    mir__isb();
}

/* ---- the image and memory -------------------------------------------------------------------- */

static bool is_guard(size_t offset)
{
    return offset < PAGE ||
           (offset >= MIR__STACK_LOOP_HIGH && offset - MIR__STACK_LOOP_HIGH < PAGE);
}

static int map_image(void)
{
    const struct mir__layout *l = &mir__layout;
    uint64_t to = image + image_delta;
    uint64_t stacks = (uint64_t)(uintptr_t)mir__stacks - image; /* still at physical addresses */
    int r = map(to, image, (l->text_end + PAGE - 1) & ~(PAGE - 1), READ_EXECUTE);
    if (r == 0)
        r = map(to + l->constants, image + l->constants, l->data - l->constants, READ_ONLY);
    for (uint64_t at = l->data; at < l->end && r == 0; at += PAGE) {
        if (at - stacks >= MIR__STACKS || !is_guard(at - stacks))
            r = map(to + at, image + at, PAGE, READ_WRITE);
    }
    return r;
}

static int map_memory(void)
{
    for (uint32_t i = 0; i < mir__boot.memory_count; i++) {
        const struct mir__region *m = &mir__boot.memory[i];
        if (m->base >= memory_end)
            continue;
        int r = map(m->base + memory_delta, m->base, MIR_MIN(m->size, memory_end - m->base),
                    READ_WRITE);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Each thing in its part of the address space, at a place of its own. The image may begin at any
 * page, memory at any GiB, so that blocks of it are aligned. */
static void choose_addresses(const uint64_t random[3])
{
    uint64_t pages = (MIR__SLOT_MEMORY - MIR__SLOT_IMAGE - 4) * (GIB / PAGE);
    image_delta = MIR__SLOT_IMAGE * GIB + random[0] % pages * PAGE - image;
    memory_first = mir__boot.memory[0].base & ~(GIB - 1);
    memory_end = MIR_MIN(memory_first + MEMORY_SLOTS * GIB, PHYSICAL_MAX);
    memory_delta = (MIR__SLOT_MEMORY + random[1] % MEMORY_SLOTS) * GIB - memory_first;
    stacks_low = stacks_high = (MIR__SLOT_STACKS + random[2] % 64) * GIB;
    space_next = (MIR__SLOT_DEVICES + (random[2] >> 32) % 64) * GIB;
    space_end = space_next + 64 * GIB;
}

/* Tables are taken from a range that start.S has mapped: around the image. */
static bool choose_frames(void)
{
    for (uint32_t i = 0; i < mir__boot.memory_count; i++) {
        struct mir__region *r = &mir__boot.memory[i];
        uint64_t end = MIR_MIN(r->base + r->size, (image | (GIB - 1)) + 1);
        if (r->base >= image && r->base < end) {
            frame_next = r->base;
            frame_end = end;
            return true;
        }
    }
    return false;
}

uint64_t mir__paging_prepare(uint64_t image_physical, const uint64_t random[3])
{
    image = image_physical;
    choose_addresses(random);
    if (!choose_frames() || map_image() < 0 || map_memory() < 0)
        return 0;
    return image_delta;
}

void mir__paging_enter(uint64_t delta)
{
    MIR_ASSERT_OP(delta, ==, image_delta);
    is_entered = true;
    for (unsigned i = 0; i < MIR__SLOT_FIRST; i++)
        mir__boot_table[i] = 0;
    mir__dsb();
    __asm__ volatile("tlbi vmalle1" : : : "memory");
    mir__dsb();
    mir__write_sysreg(sctlr_el1, mir__read_sysreg(sctlr_el1) | MIR__SCTLR_WXN);
    mir__isb();
}

bool mir__paging_translate(uint64_t address, uint64_t *physical)
{
    __asm__ volatile("at s1e1r, %0" : : "r"(address) : "memory");
    mir__isb();
    uint64_t result = mir__read_sysreg(par_el1);
    if (result & 1)
        return false;
    *physical = (result & ADDRESS) | (address & (PAGE - 1));
    return true;
}

/* ---- what others ask for --------------------------------------------------------------------- */

void *mir__arch_map_physical(uint64_t physical, size_t size, unsigned flags)
{
    uint64_t first = physical & ~(PAGE - 1), end = (physical + size + PAGE - 1) & ~(PAGE - 1);
    uint64_t bits = flags & MIR__MAP_WRITE ? READ_WRITE : READ_ONLY;
    if (size == 0 || end <= first)
        return NULL;
    if (!is_entered)
        return end <= MIR__SLOT_FIRST * GIB ? (void *)(uintptr_t)physical : NULL;
    if (flags & MIR__MAP_DEVICE)
        bits |= MIR__PTE_DEVICE;
    /* Large ranges (configuration space of PCI) so that they are made of blocks. */
    uint64_t mask = end - first >= BLOCK ? BLOCK - 1 : PAGE - 1;
    uint64_t at = ((space_next + mask) & ~mask) + (first & mask);
    if (at + (end - first) > space_end || map(at, first, end - first, bits) < 0)
        return NULL;
    space_next = at + (end - first) + PAGE; /* one that faults between two of them */
    return (void *)(uintptr_t)(at + (physical - first));
}

uint64_t mir__arch_dma(const volatile void *memory)
{
    uint64_t virtual = (uint64_t)(uintptr_t)memory, physical;
    if (virtual - image_delta - image < mir__layout.end)
        return virtual - image_delta;
    if (virtual - memory_delta - memory_first < memory_end - memory_first)
        return virtual - memory_delta;
    bool is_mapped = mir__paging_translate(virtual, &physical);
    MIR_ASSERT(is_mapped);
    return physical;
}

void *mir__arch_take_memory(size_t *size_bytes)
{
    struct mir__region best = {0, 0};
    uint64_t behind = frame_next + SPARE_FRAMES * PAGE;
    for (uint32_t i = 0; i < mir__boot.memory_count; i++) {
        struct mir__region r = mir__boot.memory[i];
        uint64_t end = MIR_MIN(r.base + r.size, memory_end);
        if (frame_next >= r.base && frame_next <= end)
            r.base = MIR_MIN(behind, end);
        if (end > r.base && end - r.base > best.size)
            best = (struct mir__region){r.base, end - r.base};
    }
    if (best.base == behind)
        frame_end = behind;
    *size_bytes = best.size;
    return (void *)(uintptr_t)(best.base + memory_delta);
}

void mir__arch_use_pool(struct mir_page_pool *pages)
{
    pool = pages;
}

void *mir__arch_stack_space(size_t size_bytes)
{
    MIR_ASSERT_OP(stacks_low, ==, stacks_high);
    MIR_ASSERT_OP(size_bytes, <=, 64 * GIB);
    stacks_high = stacks_low + size_bytes;
    return (void *)(uintptr_t)stacks_low;
}

int mir__arch_stack_tables(void *at, size_t size_bytes)
{
    uint64_t first = (uint64_t)(uintptr_t)at & ~(BLOCK - 1);
    uint64_t end = (uint64_t)(uintptr_t)at + size_bytes;
    for (uint64_t virtual = first; virtual < end; virtual += BLOCK) {
        if (entry_of(virtual, 3, true) == NULL)
            return -MIR_ENOMEM;
    }
    return 0;
}

void mir__arch_map_page(void *at, void *page)
{
    uint64_t virtual = (uint64_t)(uintptr_t)at;
    uint64_t *entry = entry_of(virtual, 3, false);
    MIR_ASSERT(virtual >= stacks_low && virtual < stacks_high && entry != NULL);
    *entry = ((uint64_t)(uintptr_t)page - memory_delta) | READ_WRITE | MIR__PTE_TABLE;
    mir__dsb();
    mir__isb();
}

void *mir__arch_unmap_page(void *at)
{
    uint64_t virtual = (uint64_t)(uintptr_t)at;
    uint64_t *entry = entry_of(virtual, 3, false);
    if (entry == NULL || (*entry & MIR__PTE_VALID) == 0)
        return NULL;
    void *page = (void *)(uintptr_t)((*entry & ADDRESS) + memory_delta);
    unmap(virtual, entry);
    return page;
}

bool mir__arch_is_mapped(const void *at)
{
    uint64_t physical;
    return mir__paging_translate((uint64_t)(uintptr_t)at, &physical);
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
    uintptr_t offset = pc - (uintptr_t)(image + image_delta);
    return offset < mir__layout.text_end ? MIR__IMAGE_PHYSICAL + offset : 0;
}
