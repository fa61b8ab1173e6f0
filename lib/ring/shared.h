/* SPDX-License-Identifier: ISC */
/* Memory that a peer may change at any moment: how it is read and written.
 *
 * Each access is one access, and none is made twice by the compiler. Loads acquire and stores
 * release, so what is written before an index is there for whoever has read the index. Where one
 * word is written and another one is read afterwards, and the peer does the same the other way
 * round, both need mir__shared_fence() between: that is the one order that release and acquire do
 * not give.
 *
 * With MIR_EXPLORE all of them are calls: the explorer (test/explore) runs the same code with the
 * peer's steps between any two accesses, and with stores that become visible late.
 */
#ifndef LIB_RING_SHARED_H
#define LIB_RING_SHARED_H

#include <mirari/base.h>

#ifdef MIR_EXPLORE

uint32_t mir__shared_load32(const uint32_t *at);
void mir__shared_store32(uint32_t *at, uint32_t value);
uint8_t mir__shared_load8(const uint8_t *at);
void mir__shared_store8(uint8_t *at, uint8_t value);
uint8_t mir__shared_set_bits(uint8_t *at, uint8_t bits);
uint8_t mir__shared_clear_bits(uint8_t *at, uint8_t bits);
void mir__shared_fence(void);
void mir__shared_put(void *to, const void *from, size_t len);
void mir__shared_get(void *to, const void *from, size_t len);

#else

static inline uint32_t mir__shared_load32(const uint32_t *at)
{
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}
static inline void mir__shared_store32(uint32_t *at, uint32_t value)
{
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
}
static inline uint8_t mir__shared_load8(const uint8_t *at)
{
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}
static inline void mir__shared_store8(uint8_t *at, uint8_t value)
{
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
}
/** Both return what was there before. */
static inline uint8_t mir__shared_set_bits(uint8_t *at, uint8_t bits)
{
    return __atomic_fetch_or(at, bits, __ATOMIC_SEQ_CST);
}
static inline uint8_t mir__shared_clear_bits(uint8_t *at, uint8_t bits)
{
    return __atomic_fetch_and(at, (uint8_t)~bits, __ATOMIC_SEQ_CST);
}
static inline void mir__shared_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
/** Bytes to shared memory. */
static inline void mir__shared_put(void *to, const void *from, size_t len)
{
    mir_memcpy(to, from, len);
}
/** Bytes from shared memory: what is then in @to does not change any more, and the compiler does
 *  not look at @from in its stead. */
static inline void mir__shared_get(void *to, const void *from, size_t len)
{
    mir_memcpy(to, from, len);
    __asm__ volatile("" : : "r"(to) : "memory");
}

#endif
#endif
