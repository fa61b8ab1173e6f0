/* SPDX-License-Identifier: ISC */
/* Stacks for tasks: addresses for many, memory for what is used of them.
 *
 *   | guard | stack 0 | guard | stack 1 | ... | guard | large 0 | ...
 *     nothing  64 KiB                            1 MiB
 *
 * A stack begins with its uppermost pages present. Touching one below is a page fault, which puts a
 * page there and goes on: as on unix a stack costs what was used of it. The fault can come in the
 * middle of anything, the page pool included, so the page comes from the end of the pool's memory
 * as long as there is some that was never used, and then from a small reserve, which is filled up
 * before every wait. With that empty too, it is a crash that says so. The page tables are there
 * since the stack was first handed out.
 *
 * Below each stack is a page that never gets memory, so an overflow is a fault that the crash
 * report recognises. Free stacks are kept last in, first out. One that comes back keeps its
 * uppermost pages; what it had below goes to the reserve. Pages never go back to the page pool.
 */
#include "lib/run/stack_space.h"
#include "target/virt/internal.h"

#define PAGE        ((size_t)MIR_PAGE_SIZE)
#define KEPT        (2 * PAGE)
#define SMALL_SIZE  ((size_t)64 << 10)
#define SMALL_COUNT 1024u
#define LARGE_SIZE  ((size_t)1 << 20)
#define LARGE_COUNT 16u
#define READY_MAX   64u /* pages in the reserve */
#define READY_PART  64u /* of the pool, if that is less */
#define READY_RUN   4u

/* A page of the reserve holds its own link. */
struct ready_page {
    struct ready_page *next;
};

static uint16_t small_free[SMALL_COUNT];
static uint16_t large_free[LARGE_COUNT];
static struct mir__stack_class classes[] = {
    {.size = SMALL_SIZE, .count = SMALL_COUNT, .free = small_free},
    {.size = LARGE_SIZE, .count = LARGE_COUNT, .free = large_free},
};
static struct mir_page_pool *pool;
static struct ready_page *ready;
static uint32_t ready_count, ready_wanted;
static volatile bool is_changing; /* the reserve */

/* ---- the reserve ----------------------------------------------------------------------------- */

/* A stack could grow in the middle of these: it keeps away from the list then. */
static void put_ready(void *page)
{
    struct ready_page *entry = page;
    is_changing = true;
    entry->next = ready;
    ready = entry;
    ready_count++;
    is_changing = false;
}

static void *take_page(void)
{
    struct ready_page *entry = is_changing ? NULL : ready;
    if (entry == NULL)
        return mir_page_pool_take_end(pool);
    is_changing = true;
    ready = entry->next;
    ready_count--;
    is_changing = false;
    return entry;
}

static void fill_to(uint32_t wanted)
{
    struct mir_io_page *run;
    while (ready_count < wanted) {
        if (mir_page_alloc(pool, READY_RUN * PAGE, MIR_PAGE_OVERWRITE, &run) < 0)
            return; /* counted by the pool; a stack that then grows is reported */
        for (size_t i = 0; i < READY_RUN; i++)
            put_ready(run->base + i * PAGE);
    }
}

void mir__stacks_refill(void)
{
    fill_to(ready_wanted);
}

/* ---- stacks ---------------------------------------------------------------------------------- */

static bool make_present(uint8_t *base, size_t size)
{
    if (mir__arch_stack_tables(base, size) < 0)
        return false;
    fill_to(ready_wanted + (uint32_t)(KEPT / PAGE));
    for (uint8_t *at = base + size - KEPT; at < base + size; at += PAGE) {
        if (mir__arch_is_mapped(at))
            continue;
        void *page = take_page();
        if (page == NULL)
            return false;
        mir__arch_map_page(at, page);
    }
    return true;
}

static void *stack_acquire(void *arg, size_t size, size_t *usable)
{
    (void)arg;
    for (size_t i = 0; i < MIR_ARRAY_LEN(classes); i++) {
        uint8_t *base = size <= classes[i].size ? mir__stack_class_next(&classes[i]) : NULL;
        if (base == NULL)
            continue;
        if (!make_present(base, classes[i].size))
            return NULL;
        mir__stack_class_take(&classes[i]);
        *usable = classes[i].size;
        return base;
    }
    return NULL;
}

static void stack_release(void *arg, void *base, size_t usable)
{
    (void)arg;
    struct mir__stack_class *c =
        mir__stack_class_of(classes, MIR_ARRAY_LEN(classes), (uintptr_t)base);
    MIR_ASSERT(c != NULL);
    mir__stack_class_give(c, base);
    for (size_t at = 0; at < usable - KEPT; at += PAGE) {
        void *page = mir__arch_unmap_page((uint8_t *)base + at);
        if (page != NULL)
            put_ready(page);
    }
}

void mir__stacks_open(struct mir_page_pool *pages)
{
    size_t total = 0;
    for (size_t i = 0; i < MIR_ARRAY_LEN(classes); i++)
        total += mir__stack_class_bytes(&classes[i]);
    uint8_t *space = mir__arch_stack_space(total);
    for (size_t i = 0; i < MIR_ARRAY_LEN(classes); i++) {
        mir__stack_class_init(&classes[i], space);
        space += mir__stack_class_bytes(&classes[i]);
    }
    pool = pages;
    ready_wanted =
        (uint32_t)MIR_MIN(READY_MAX, mir_page_pool_free_bytes(pages) / PAGE / READY_PART);
    mir__stacks_refill();
}

const struct mir_stack_source *mir__stacks_source(void)
{
    static const struct mir_stack_source source = {.acquire = stack_acquire,
                                                   .release = stack_release};
    return &source;
}

/* ---- addresses ------------------------------------------------------------------------------- */

bool mir__stacks_is_guard(uintptr_t address)
{
    const struct mir__stack_class *c =
        mir__stack_class_of(classes, MIR_ARRAY_LEN(classes), address);
    return c != NULL && mir__stack_class_is_guard(c, address);
}

uintptr_t mir__stacks_top(uintptr_t address)
{
    const struct mir__stack_class *c =
        mir__stack_class_of(classes, MIR_ARRAY_LEN(classes), address);
    return c != NULL ? mir__stack_class_top(c, address) : 0;
}

bool mir__stacks_grow(uintptr_t address)
{
    uint8_t *at = (uint8_t *)(address & ~(uintptr_t)(PAGE - 1));
    uintptr_t top = mir__stacks_top(address);
    /* One that was handed out has its uppermost pages. */
    if (top == 0 || mir__stacks_is_guard(address) || mir__arch_is_mapped(at) ||
        !mir__arch_is_mapped((const uint8_t *)top - PAGE))
        return false;
    void *page = take_page();
    if (page == NULL)
        return false;
    mir__arch_map_page(at, page);
    return true;
}
