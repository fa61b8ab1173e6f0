/* SPDX-License-Identifier: ISC */
/* Basic types, attributes and assertions that every other header builds on.
 *
 * Only compiler headers are included: this file compiles with -ffreestanding -nostdinc.
 */
#ifndef MIRARI_BASE_H
#define MIRARI_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Monotonic or wall-clock time in microseconds. Monotonic time starts anywhere but zero. */
typedef uint64_t mir_time_us;

/** A deadline that never comes. */
#define MIR_TIME_NEVER UINT64_MAX
#define MIR_US_PER_MS  1000ull
#define MIR_US_PER_S   1000000ull

/** The result must be looked at. */
#define MIR_CHECK __attribute__((warn_unused_result))
/** Marks a parameter the callee owns from the moment of the call, on success and on error. */
#define MIR_GIVE
#define MIR_PRINTF(fmt_index, arg_index) __attribute__((format(printf, fmt_index, arg_index)))
#define MIR_NORETURN                     __attribute__((noreturn))
#define MIR_UNUSED                       __attribute__((unused))
#define MIR_ALIGNED(n)                   __attribute__((aligned(n)))
#define MIR_LIKELY(x)                    __builtin_expect(!!(x), 1)
#define MIR_UNLIKELY(x)                  __builtin_expect(!!(x), 0)

#define MIR_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIR_MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MIR_MAX(a, b)    ((a) > (b) ? (a) : (b))
/** The structure of @type that holds @ptr as its @member. */
#define MIR_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Every target has these four symbols (C library, kernel or image); the compiler may inline them.
 */
#define mir_memcpy  __builtin_memcpy
#define mir_memmove __builtin_memmove
#define mir_memset  __builtin_memset
#define mir_memcmp  __builtin_memcmp

MIR_NORETURN void mir__assert_fail(const char *file, int line, const char *text, uint64_t left,
                                   uint64_t right);

/** A programmer's mistake ends the program, in release builds too. Never for outside input. */
#define MIR_ASSERT(cond)                                                                           \
    do {                                                                                           \
        if (MIR_UNLIKELY(!(cond)))                                                                 \
            mir__assert_fail(__FILE__, __LINE__, #cond, 0, 0);                                     \
    } while (0)

/** The same for a comparison of integers: both values are printed. */
#define MIR_ASSERT_OP(a, op, b)                                                                    \
    do {                                                                                           \
        uint64_t mir__a = (uint64_t)(a);                                                           \
        uint64_t mir__b = (uint64_t)(b);                                                           \
        if (MIR_UNLIKELY(!(mir__a op mir__b)))                                                     \
            mir__assert_fail(__FILE__, __LINE__, #a " " #op " " #b, mir__a, mir__b);               \
    } while (0)

/** Number of bits set. The compiler's own may be a call of its run-time library. */
static inline unsigned mir_popcount32(uint32_t v)
{
    v -= v >> 1 & 0x55555555u;
    v = (v & 0x33333333u) + (v >> 2 & 0x33333333u);
    return ((v + (v >> 4)) & 0x0f0f0f0fu) * 0x01010101u >> 24;
}

/** True if @text (NUL-terminated) equals @other. */
static inline bool mir_str_equal(const char *text, const char *other)
{
    while (*text != '\0' && *text == *other) {
        text++;
        other++;
    }
    return *text == *other;
}

/** Bytes before the NUL of @text. */
static inline size_t mir_str_len(const char *text)
{
    size_t len = 0;
    while (text[len] != '\0')
        len++;
    return len;
}

#endif
