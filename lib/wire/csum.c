/* SPDX-License-Identifier: ISC */
/* Internet checksum (RFC 1071): over bytes, views with ready block sums, and whole packets.
 *
 * The sum of 16-bit words with end-around carry does not care how wide the words are that it is
 * made from (RFC 1071 section 2 C). Blocks go through two vectors of 64-bit lanes, which together
 * are sums of 32-bit halves, so that no carry is ever looked at (2^36 bytes would be needed for one
 * to be lost); GCC and clang make SSE2 or NEON of them, and scalar code where there are no vector
 * registers. The rest goes into a 128-bit accumulator (add, add-with-carry). Folding to 16 bits
 * happens once. No byte outside the range is read.
 *
 * A hosted target may switch to wider vectors, where a processor has them (csum_use); a kernel
 * may not, and does not.
 *
 * Words are taken in the machine's order (section 2 B): the result, stored as it is, is right on
 * the wire. A range that begins at an odd offset of a packet has its two bytes swapped.
 *
 * A crunched page has prefix sums of its 256-byte blocks: the middle of a view is then one
 * subtraction, and only the ragged ends are read.
 *
 * Zero has two forms, 0x0000 and 0xffff. A sum from here is 0x0000 only if every byte is zero
 * (block sums may give 0xffff even then); both mean the same to every receiver.
 */
#include "lib/wire/csum.h"

#include <mirari/net.h>

typedef unsigned __int128 sum128;

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    mir_memcpy(&v, p, sizeof v);
    return v;
}

static inline uint16_t fold(sum128 sum)
{
    uint64_t high = (uint64_t)(sum >> 64);
    uint64_t s = (uint64_t)sum + high;
    s += s < high;
    s = (s & 0xffffffff) + (s >> 32);
    s = (s & 0xffff) + (s >> 16 & 0xffff) + (s >> 32);
    s = (s & 0xffff) + (s >> 16);
    s = (s & 0xffff) + (s >> 16);
    return (uint16_t)s;
}

/* The last 0..7 bytes as one word, zero-filled behind (RFC 1071 section 4.1). */
static inline uint64_t load_tail(const uint8_t *p, size_t len)
{
    uint64_t v = 0;
    uint32_t w32;
    uint16_t w16;
    unsigned shift = 0;
    if (len & 4) {
        mir_memcpy(&w32, p, sizeof w32);
        v = w32;
        p += 4;
        shift = 32;
    }
    if (len & 2) {
        mir_memcpy(&w16, p, sizeof w16);
        v |= (uint64_t)w16 << shift;
        p += 2;
        shift += 16;
    }
    if (len & 1)
        v |= (uint64_t)*p << shift;
    return v;
}

/* Below, a call costs more than it saves. */
#define BLOCKS_MIN 256u

typedef uint64_t lanes __attribute__((vector_size(16)));

/* Sums of 64-bit words, whose carries are lost, and of their high halves, which lose none: the low
 * halves are what the first lacks of the second. */
struct wide_sum {
    lanes all;
    lanes high;
};

static inline lanes load_lanes(const uint8_t *p)
{
    lanes w;
    mir_memcpy(&w, p, sizeof w);
    return w;
}

static inline void add(struct wide_sum *sum, lanes w)
{
    sum->all += w;
    sum->high += w >> 32;
}

static inline sum128 finish(const struct wide_sum *sum)
{
    lanes both = (sum->all - (sum->high << 32)) + sum->high;
    return (sum128)both[0] + both[1];
}

/* NULL, or what the target has chosen at its start. */
static uint64_t (*sum_blocks)(const uint8_t *data, size_t blocks);

void mir__csum_use(uint64_t (*blocks)(const uint8_t *data, size_t blocks))
{
    sum_blocks = blocks;
}

uint16_t mir__csum_partial(const void *data, size_t len)
{
    const uint8_t *p = data;
    struct wide_sum wide = {{0, 0}, {0, 0}};
    uint64_t blocks = 0;
    if (len >= BLOCKS_MIN && sum_blocks != NULL) {
        blocks = sum_blocks(p, len / 128);
        p += len & ~(size_t)127;
        len &= 127;
    }
    for (; len >= 64; len -= 64, p += 64) {
        add(&wide, load_lanes(p));
        add(&wide, load_lanes(p + 16));
        add(&wide, load_lanes(p + 32));
        add(&wide, load_lanes(p + 48));
    }
    for (; len >= 16; len -= 16, p += 16)
        add(&wide, load_lanes(p));
    sum128 sum = finish(&wide) + blocks;
    if (len >= 8) {
        sum += load64(p);
        len -= 8;
        p += 8;
    }
    return fold(sum + load_tail(p, len));
}

uint16_t mir__csum_copy(void *out, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint8_t *o = out;
    struct wide_sum wide = {{0, 0}, {0, 0}};
    for (; len >= 16; len -= 16, p += 16, o += 16) {
        lanes w = load_lanes(p);
        mir_memcpy(o, &w, sizeof w);
        add(&wide, w);
    }
    sum128 sum = finish(&wide);
    for (; len >= 8; len -= 8, p += 8, o += 8) {
        uint64_t w = load64(p);
        mir_memcpy(o, &w, 8);
        sum += w;
    }
    sum += load_tail(p, len);
    mir_memcpy(o, p, len);
    return fold(sum);
}

void mir__csum_blocks(const void *data, size_t len, uint16_t *out)
{
    const uint8_t *p = data;
    uint16_t sum = 0;
    size_t count = len / MIR_PAGE_SUM_BLOCK;
    out[0] = 0;
    for (size_t i = 0; i < count; i++, p += MIR_PAGE_SUM_BLOCK) {
        sum = mir__csum_add(sum, mir__csum_partial(p, MIR_PAGE_SUM_BLOCK));
        out[i + 1] = sum;
    }
}

/* Sum with the parity of the page: a range at an odd offset of it is swapped. */
static uint16_t sum_in_page(const struct mir_io_page *page, size_t from, size_t to)
{
    uint16_t sum = mir__csum_partial(page->base + from, to - from);
    return from & 1 ? mir__csum_swap(sum) : sum;
}

uint16_t mir__csum_view(const struct mir_view *view)
{
    const struct mir_io_page *page = view->page;
    if (page == NULL || page->block_sums == NULL || view->len < 2 * MIR_PAGE_SUM_BLOCK)
        return mir__csum_partial(view->data, view->len);
    size_t from = (size_t)(view->data - page->base);
    size_t to = from + view->len;
    size_t first = (from + MIR_PAGE_SUM_BLOCK - 1) / MIR_PAGE_SUM_BLOCK;
    size_t last = MIR_MIN(to, (size_t)page->size_bytes) / MIR_PAGE_SUM_BLOCK;
    uint16_t sum = mir__csum_add(page->block_sums[last], (uint16_t)~page->block_sums[first]);
    sum = mir__csum_add(sum, sum_in_page(page, from, first * MIR_PAGE_SUM_BLOCK));
    sum = mir__csum_add(sum, sum_in_page(page, last * MIR_PAGE_SUM_BLOCK, to));
    return from & 1 ? mir__csum_swap(sum) : sum;
}

uint16_t mir__csum_buf(const struct mir_buf *buf, uint32_t offset)
{
    uint16_t sum = 0;
    bool is_odd = false;
    if (offset < buf->len) {
        sum = mir__csum_partial(buf->data + offset, buf->len - offset);
        is_odd = (buf->len - offset) & 1;
        offset = 0;
    } else {
        offset -= buf->len;
    }
    for (uint32_t i = 0; i < buf->frag_count; i++) {
        struct mir_view view = buf->frag[i]; /* borrowed: no reference of its own */
        uint32_t skip = MIR_MIN(offset, view.len);
        offset -= skip;
        view.data += skip;
        view.len -= skip;
        uint16_t part = mir__csum_view(&view);
        sum = mir__csum_add(sum, is_odd ? mir__csum_swap(part) : part);
        is_odd ^= view.len & 1;
    }
    return sum;
}

uint16_t mir__csum_pseudo(const struct mir_ip *src, const struct mir_ip *dst, uint8_t protocol,
                          uint32_t len)
{
    uint64_t rest = (uint64_t)__builtin_bswap32(len) + ((uint32_t)protocol << 8);
    if (!mir_ip_is_v4(src))
        return fold((sum128)load64(src->bytes) + load64(src->bytes + 8) + load64(dst->bytes) +
                    load64(dst->bytes + 8) + rest);
    /* Four words of 32 bits need no more than 34. */
    uint32_t s, d;
    mir_memcpy(&s, src->bytes + 12, sizeof s);
    mir_memcpy(&d, dst->bytes + 12, sizeof d);
    rest += (uint64_t)s + d;
    rest = (rest & 0xffff) + (rest >> 16 & 0xffff) + (rest >> 32);
    rest = (rest & 0xffff) + (rest >> 16);
    return (uint16_t)((rest & 0xffff) + (rest >> 16));
}
