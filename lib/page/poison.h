/* SPDX-License-Identifier: ISC */
/* Marks released memory in debug builds, for AddressSanitizer where it is there. */
#ifndef LIB_PAGE_POISON_H
#define LIB_PAGE_POISON_H

#include <mirari/base.h>

#include "lib/base/asan.h"

#ifdef MIR__HAS_ASAN
void __asan_poison_memory_region(void const volatile *addr, size_t size);
void __asan_unpoison_memory_region(void const volatile *addr, size_t size);
int __asan_address_is_poisoned(void const volatile *addr);
#endif

static inline void mir__poison(void *data, size_t len)
{
#ifdef MIR_DEBUG_BUILD
    mir_memset(data, 0xdb, len);
#endif
#ifdef MIR__HAS_ASAN
    __asan_poison_memory_region(data, len);
#endif
    (void)data;
    (void)len;
}

static inline void mir__unpoison(void *data, size_t len)
{
#ifdef MIR__HAS_ASAN
    __asan_unpoison_memory_region(data, len);
#endif
    (void)data;
    (void)len;
}

/** False where nothing keeps account. */
static inline bool mir__is_poisoned(const void *data)
{
#ifdef MIR__HAS_ASAN
    return __asan_address_is_poisoned(data) != 0;
#else
    (void)data;
    return false;
#endif
}

#endif
