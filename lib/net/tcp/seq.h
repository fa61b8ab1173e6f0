/* SPDX-License-Identifier: ISC */
/* Sequence numbers: comparison modulo 2^32 (RFC 9293 section 3.4). */
#ifndef LIB_NET_TCP_SEQ_H
#define LIB_NET_TCP_SEQ_H

#include <mirari/base.h>

static inline bool seq_lt(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}
static inline bool seq_le(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) <= 0;
}
static inline bool seq_gt(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}
static inline bool seq_ge(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) >= 0;
}
static inline uint32_t seq_max(uint32_t a, uint32_t b)
{
    return seq_gt(a, b) ? a : b;
}

#endif
