/* SPDX-License-Identifier: ISC */
/* Tells AddressSanitizer that the stack changes; nothing in other builds.
 *
 * Around each switch: fiber_leave() on the old stack, fiber_arrive() first thing on the new one.
 */
#ifndef LIB_RUN_FIBER_H
#define LIB_RUN_FIBER_H

#include <mirari/base.h>

#include "lib/base/asan.h"

#ifdef MIR__HAS_ASAN
void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *saved, const void **old_bottom, size_t *old_size);
#endif

/** A stack as the sanitizer knows it. */
struct mir__fiber {
    const void *bottom;
    size_t size;
    void *fake; /* the sanitizer's own record while the stack is left */
};

/** @from NULL: the stack that is left will not be used again. */
static inline void mir__fiber_leave(struct mir__fiber *from, const struct mir__fiber *to)
{
#ifdef MIR__HAS_ASAN
    __sanitizer_start_switch_fiber(from != NULL ? &from->fake : NULL, to->bottom, to->size);
#else
    (void)from;
    (void)to;
#endif
}

/** @from NULL: it is known already. */
static inline void mir__fiber_arrive(struct mir__fiber *at, struct mir__fiber *from)
{
#ifdef MIR__HAS_ASAN
    if (from != NULL)
        __sanitizer_finish_switch_fiber(at->fake, &from->bottom, &from->size);
    else
        __sanitizer_finish_switch_fiber(at->fake, NULL, NULL);
#else
    (void)at;
    (void)from;
#endif
}

#endif
