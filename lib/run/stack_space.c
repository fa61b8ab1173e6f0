/* SPDX-License-Identifier: ISC */
/* Places for stacks of tasks in address space that a target has taken.
 *
 *   base    | guard | stack 0 | guard | stack 1 | ...          one such row for each size
 *
 * What is behind the addresses, and when, is the target's: a process maps all at start, a virtual
 * machine puts a page there when it is touched. The guard below each stack has never any, which
 * turns an overflow into a fault that the crash report recognises. Free places are kept last in,
 * first out: the next task gets the one that is warm.
 */
#include "lib/run/stack_space.h"

static size_t step_of(const struct mir__stack_class *c)
{
    return MIR__STACK_GUARD + c->size;
}

void mir__stack_class_init(struct mir__stack_class *c, uint8_t *base)
{
    c->base = base;
    c->free_count = c->count;
    for (uint32_t i = 0; i < c->count; i++)
        c->free[i] = (uint16_t)(c->count - 1 - i);
}

uint8_t *mir__stack_class_next(const struct mir__stack_class *c)
{
    if (c->free_count == 0)
        return NULL;
    return c->base + c->free[c->free_count - 1] * step_of(c) + MIR__STACK_GUARD;
}

void mir__stack_class_take(struct mir__stack_class *c)
{
    MIR_ASSERT_OP(c->free_count, >, 0);
    c->free_count--;
}

void mir__stack_class_give(struct mir__stack_class *c, const void *usable)
{
    size_t offset = (size_t)((const uint8_t *)usable - c->base) - MIR__STACK_GUARD;
    MIR_ASSERT_OP(offset % step_of(c), ==, 0);
    MIR_ASSERT_OP(offset, <, mir__stack_class_bytes(c));
    MIR_ASSERT_OP(c->free_count, <, c->count);
    c->free[c->free_count++] = (uint16_t)(offset / step_of(c));
}

struct mir__stack_class *mir__stack_class_of(struct mir__stack_class *classes, size_t count,
                                             uintptr_t address)
{
    for (size_t i = 0; i < count; i++) {
        uintptr_t base = (uintptr_t)classes[i].base;
        if (base != 0 && address >= base && address - base < mir__stack_class_bytes(&classes[i]))
            return &classes[i];
    }
    return NULL;
}

bool mir__stack_class_is_guard(const struct mir__stack_class *c, uintptr_t address)
{
    return (address - (uintptr_t)c->base) % step_of(c) < MIR__STACK_GUARD;
}

uintptr_t mir__stack_class_top(const struct mir__stack_class *c, uintptr_t address)
{
    uintptr_t base = (uintptr_t)c->base;
    return base + ((address - base) / step_of(c) + 1) * step_of(c);
}
