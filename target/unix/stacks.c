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
#include <sys/mman.h>

#include "lib/run/stack_space.h"
#include "target/unix/internal.h"

#define SMALL_SIZE  ((size_t)64 << 10)
#define SMALL_COUNT 1024u
#define LARGE_SIZE  ((size_t)1 << 20)
#define LARGE_COUNT 16u

static uint16_t small_free[SMALL_COUNT];
static uint16_t large_free[LARGE_COUNT];
static struct mir__stack_class classes[] = {
    {.size = SMALL_SIZE, .count = SMALL_COUNT, .free = small_free},
    {.size = LARGE_SIZE, .count = LARGE_COUNT, .free = large_free},
};

static void *stack_acquire(void *arg, size_t size, size_t *usable)
{
    (void)arg;
    for (size_t i = 0; i < MIR_ARRAY_LEN(classes); i++) {
        uint8_t *base = size <= classes[i].size ? mir__stack_class_next(&classes[i]) : NULL;
        if (base == NULL)
            continue;
        mir__stack_class_take(&classes[i]);
        *usable = classes[i].size;
        return base;
    }
    return NULL;
}

static void stack_release(void *arg, void *base, size_t usable)
{
    (void)arg;
    (void)usable;
    struct mir__stack_class *c =
        mir__stack_class_of(classes, MIR_ARRAY_LEN(classes), (uintptr_t)base);
    MIR_ASSERT(c != NULL);
    mir__stack_class_give(c, base);
}

static int map_class(struct mir__stack_class *c)
{
    size_t step = MIR__STACK_GUARD + c->size;
    uint8_t *base = mmap(NULL, mir__stack_class_bytes(c), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (base == MAP_FAILED)
        return -MIR_ENOMEM;
    for (uint32_t i = 0; i < c->count; i++) {
        if (mprotect(base + i * step, MIR__STACK_GUARD, PROT_NONE) < 0)
            return -MIR_ENOMEM;
    }
    mir__stack_class_init(c, base);
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
