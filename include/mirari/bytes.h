/* SPDX-License-Identifier: ISC */
/* Unaligned loads and stores in both byte orders. No bounds are checked here: callers did. */
#ifndef MIRARI_BYTES_H
#define MIRARI_BYTES_H

#include <mirari/base.h>

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define MIR__BE16(x) __builtin_bswap16(x)
#define MIR__BE32(x) __builtin_bswap32(x)
#define MIR__BE64(x) __builtin_bswap64(x)
#define MIR__LE(x)   (x)
#else
#error "Mirari supports little-endian machines only (x86-64, aarch64)"
#endif

#define MIR__ACCESSORS(bits)                                                                       \
    static inline uint##bits##_t mir_get_be##bits(const void *p)                                   \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        mir_memcpy(&v, p, sizeof v);                                                               \
        return MIR__BE##bits(v);                                                                   \
    }                                                                                              \
    static inline void mir_put_be##bits(void *p, uint##bits##_t v)                                 \
    {                                                                                              \
        v = MIR__BE##bits(v);                                                                      \
        mir_memcpy(p, &v, sizeof v);                                                               \
    }                                                                                              \
    static inline uint##bits##_t mir_get_le##bits(const void *p)                                   \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        mir_memcpy(&v, p, sizeof v);                                                               \
        return MIR__LE(v);                                                                         \
    }                                                                                              \
    static inline void mir_put_le##bits(void *p, uint##bits##_t v)                                 \
    {                                                                                              \
        v = MIR__LE(v);                                                                            \
        mir_memcpy(p, &v, sizeof v);                                                               \
    }

MIR__ACCESSORS(16)
MIR__ACCESSORS(32)
MIR__ACCESSORS(64)

#endif
