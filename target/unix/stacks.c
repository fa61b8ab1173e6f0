/* SPDX-License-Identifier: ISC */
/* Stacks for tasks: mapped once at start, before the sandbox forbids mapping.
 *
 *   | guard | stack 0 | guard | stack 1 | ... | guard | large 0 | ...
 *     no access  64 KiB                                 1 MiB
 *
 * Only address space is taken; pages come when they are touched. The guard below each stack turns
 * an overflow into a fault that the crash report recognises, instead of somebody else's data
 * changing. Free stacks are kept last in, first out: the next task gets the one that is warm. A
 * stack that was deep once keeps its pages.
 */
#include "target/unix/internal.h"

#include <sys/mman.h>

#define GUARD       ((size_t)MIR_PAGE_SIZE)
#define SMALL_SIZE  ((size_t)64 << 10)
#define SMALL_COUNT 1024u
#define LARGE_SIZE  ((size_t)1 << 20)
#define LARGE_COUNT 16u

struct stack_class {
    uint8_t *base; /* of the first guard */
    size_t size;
    uint32_t count;
    uint32_t free_count;
    uint16_t *free; /* [count] indices */
};

static uint16_t small_free[SMALL_COUNT];
static uint16_t large_free[LARGE_COUNT];
static struct stack_class classes[] = {
    {.size = SMALL_SIZE, .count = SMALL_COUNT, .free = small_free},
    {.size = LARGE_SIZE, .count = LARGE_COUNT, .free = large_free},
};

static void *stack_acquire(void *arg, size_t size, size_t *usable)
{
    (void)arg;
    for (size_t i = 0; i < MIR_ARRAY_LEN(classes); i++) {
        struct stack_class *c = &classes[i];
        if (size > c->size || c->free_count == 0)
            continue;
        uint32_t index = c->free[--c->free_count];
        *usable = c->size;
        return c->base + index * (GUARD + c->size) + GUARD;
    }
    return NULL;
}

static void stack_release(void *arg, void *base, size_t usable)
{
    (void)arg;
    for (size_t i = 0; i < MIR_ARRAY_LEN(classes); i++) {
        struct stack_class *c = &classes[i];
        if (usable != c->size)
            continue;
        size_t offset = (size_t)((uint8_t *)base - c->base) - GUARD;
        MIR_ASSERT_OP(offset % (GUARD + c->size), ==, 0);
        MIR_ASSERT_OP(c->free_count, <, c->count);
        c->free[c->free_count++] = (uint16_t)(offset / (GUARD + c->size));
        return;
    }
    mir__assert_fail(__FILE__, __LINE__, "stack comes from here", usable, 0);
}

static int map_class(struct stack_class *c)
{
    size_t step = GUARD + c->size;
    void *base = mmap(NULL, c->count * step, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (base == MAP_FAILED)
        return -MIR_ENOMEM;
    c->base = base;
    c->free_count = c->count;
    for (uint32_t i = 0; i < c->count; i++) {
        if (mprotect(c->base + i * step, GUARD, PROT_NONE) < 0)
            return -MIR_ENOMEM;
        c->free[i] = (uint16_t)(c->count - 1 - i);
    }
    return 0;
}

int mir__stacks_open(void)
{
    for (size_t i = 0; i < MIR_ARRAY_LEN(classes); i++) {
        int r = map_class(&classes[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

const struct mir_stack_source *mir__stacks_source(void)
{
    static const struct mir_stack_source source = {.acquire = stack_acquire,
                                                   .release = stack_release};
    return &source;
}

static const struct stack_class *class_of(uintptr_t address)
{
    for (size_t i = 0; i < MIR_ARRAY_LEN(classes); i++) {
        const struct stack_class *c = &classes[i];
        uintptr_t base = (uintptr_t)c->base;
        if (base != 0 && address >= base && address - base < c->count * (GUARD + c->size))
            return c;
    }
    return NULL;
}

bool mir__stacks_is_guard(uintptr_t address)
{
    const struct stack_class *c = class_of(address);
    return c != NULL && (address - (uintptr_t)c->base) % (GUARD + c->size) < GUARD;
}

uintptr_t mir__stacks_top(uintptr_t address)
{
    const struct stack_class *c = class_of(address);
    if (c == NULL)
        return 0;
    uintptr_t step = GUARD + c->size, base = (uintptr_t)c->base;
    return base + ((address - base) / step + 1) * step;
}
