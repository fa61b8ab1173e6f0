/* SPDX-License-Identifier: ISC */
/* Places for stacks of tasks in address space that a target has taken, each with a guard below. */
#ifndef LIB_RUN_STACK_SPACE_H
#define LIB_RUN_STACK_SPACE_H

#include <mirari/page.h>

#define MIR__STACK_GUARD ((size_t)MIR_PAGE_SIZE)

/** Stacks of one size, side by side: guard, stack, guard, stack ... */
struct mir__stack_class {
    size_t size; /**< usable bytes of each */
    uint32_t count;
    uint16_t *free; /**< [count] places, a stack itself: last in, first out */
    uint32_t free_count;
    uint8_t *base; /**< NULL: not there yet */
};

/** Address space that the class takes. */
static inline size_t mir__stack_class_bytes(const struct mir__stack_class *c)
{
    return c->count * (MIR__STACK_GUARD + c->size);
}
/** All are free, at @base. */
void mir__stack_class_init(struct mir__stack_class *c, uint8_t *base);
/** Lowest usable address of the stack that is next, which stays free; NULL: none is. */
uint8_t *mir__stack_class_next(const struct mir__stack_class *c);
/** It is taken. */
void mir__stack_class_take(struct mir__stack_class *c);
/** The one that begins at @usable is free again; asserts that it comes from here. */
void mir__stack_class_give(struct mir__stack_class *c, const void *usable);

/** The class of [count] that @address is in, guards included, or NULL. */
struct mir__stack_class *mir__stack_class_of(struct mir__stack_class *classes, size_t count,
                                             uintptr_t address);
/** Is @address, of this class, in a guard? */
bool mir__stack_class_is_guard(const struct mir__stack_class *c, uintptr_t address);
/** Highest address of the stack that @address, of this class, belongs to. */
uintptr_t mir__stack_class_top(const struct mir__stack_class *c, uintptr_t address);

#endif
