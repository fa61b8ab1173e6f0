/* SPDX-License-Identifier: ISC */
/* Internet checksum (RFC 1071): partial sums in host order as loaded from memory.
 *
 * A partial sum is a 16-bit one's-complement number, not inverted. Sums of byte ranges that start
 * at an even offset add up; a range at an odd offset is byte-swapped first (RFC 1071 section 2 B).
 */
#ifndef LIB_WIRE_CSUM_H
#define LIB_WIRE_CSUM_H

#include <mirari/base.h>
#include <mirari/page.h>

/** One's-complement sum of two partial sums. */
static inline uint16_t mir__csum_add(uint16_t a, uint16_t b)
{
    uint32_t s = (uint32_t)a + b;
    return (uint16_t)(s + (s >> 16));
}
static inline uint16_t mir__csum_swap(uint16_t a)
{
    return __builtin_bswap16(a);
}
/** Partial sum of [len] bytes, any alignment. O(len), eight bytes a step. */
uint16_t mir__csum_partial(const void *data, size_t len);
/** Sum blocks of 128 bytes with @blocks from now on; NULL: with what the compiler made, which is
 *  how it begins and what kernels keep. For a hosted target's start. */
void mir__csum_use(uint64_t (*blocks)(const uint8_t *data, size_t blocks));
/** csum_<arch>.S: vector registers that a compiler would not use unasked, and whether they can be
 *  used. Nothing in lib/ refers to them. */
uint64_t mir__csum_blocks_simd(const uint8_t *data, size_t blocks);
int mir__csum_has_simd(void);
/** The same of a view; uses the page's ready block sums where it has them. */
uint16_t mir__csum_view(const struct mir_view *view);
/** Of [offset, total) of a packet, views included. */
uint16_t mir__csum_buf(const struct mir_buf *buf, uint32_t offset);
/** Copy and sum in one pass. */
uint16_t mir__csum_copy(void *out, const void *data, size_t len);
/** Prefix sums for page->block_sums: @out gets 1 + len / MIR_PAGE_SUM_BLOCK sums. */
void mir__csum_blocks(const void *data, size_t len, uint16_t *out);
/** The sum of a packet after one even-aligned 16-bit word changed (RFC 1624 equation 3): @check is
 *  the checksum field, words as loaded from memory. */
static inline uint16_t mir__csum_update(uint16_t check, uint16_t was, uint16_t is)
{
    return (uint16_t)~mir__csum_add(mir__csum_add((uint16_t)~check, (uint16_t)~was), is);
}
/** Pseudo-header sum for IPv4 (both mapped) or IPv6 (RFC 9293 section 3.1, RFC 8200 8.1). */
struct mir_ip;
uint16_t mir__csum_pseudo(const struct mir_ip *src, const struct mir_ip *dst, uint8_t protocol,
                          uint32_t len);

#endif
