/* SPDX-License-Identifier: ISC */
/* lib/wire/csum.c against a checksum written straight from RFC 1071 section 4.1. */
#include <stdlib.h>
#include <string.h>

#include <mirari/net.h>
#include <mirari/rng.h>

#include "lib/wire/csum.h"
#include "test/harness/tap.h"

static struct mir_rng rng;

/* Big-endian words, one at a time. */
static uint16_t slow_sum(const uint8_t *data, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += i & 1 ? data[i] : (uint32_t)data[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return __builtin_bswap16((uint16_t)sum);
}

/* 0 and 0xffff are the same number. */
static uint16_t canonical(uint16_t sum)
{
    return sum == 0xffff ? 0 : sum;
}

static void test_wide(void)
{
    tap_case("wider vectors, where the processor has them: every length and alignment");
    if (!mir__csum_has_simd()) {
        tap_note("it has none");
        return;
    }
    mir__csum_use(mir__csum_blocks_simd);
    static uint8_t ones[4096];
    memset(ones, 0xff, sizeof ones);
    for (size_t len = 0; len < 1600; len++) {
        uint8_t *area = malloc(len + 40);
        uint8_t *exact = area + 40 - len % 40; /* ends where the allocation does, or before */
        size_t n = MIR_MIN(len, (size_t)(area + len + 40 - exact));
        mir_rng_bytes(&rng, area, len + 40);
        if (!check_int(mir__csum_partial(exact, n), ==, slow_sum(exact, n)) ||
            !check_int(mir__csum_partial(ones, len), ==, slow_sum(ones, len)))
            tap_note("len %zu", len);
        free(area);
    }
    mir__csum_use(NULL);
}

static void test_partial(void)
{
    tap_case("every length and alignment equals the slow sum; nothing outside is read");
    for (size_t len = 0; len < 300; len++) {
        for (size_t align = 0; align < 9; align++) {
            /* Exact allocation: ASan sees a read behind the end. */
            uint8_t *area = malloc(align + len + 1);
            uint8_t *exact = area + align;
            uint8_t *tight = malloc(len > 0 ? len : 1);
            mir_rng_bytes(&rng, area, align + len);
            memcpy(tight, exact, len);
            uint16_t expected = slow_sum(exact, len);
            if (!check_int(mir__csum_partial(exact, len), ==, expected) ||
                !check_int(mir__csum_partial(tight, len), ==, expected))
                tap_note("len %zu align %zu", len, align);
            free(area);
            free(tight);
        }
    }
    tap_case("all ones, all zeros, one long area");
    static uint8_t big[65536];
    check_int(mir__csum_partial(big, sizeof big), ==, 0);
    memset(big, 0xff, sizeof big);
    check_int(mir__csum_partial(big, sizeof big), ==, 0xffff);
    check_int(mir__csum_partial(big, 1), ==, 0xff);
    mir_rng_bytes(&rng, big, sizeof big);
    check_int(mir__csum_partial(big, sizeof big), ==, slow_sum(big, sizeof big));
    check_int(mir__csum_partial(big, sizeof big - 1), ==, slow_sum(big, sizeof big - 1));
    tap_case("the example of RFC 1071 section 3");
    const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    check_int(__builtin_bswap16(mir__csum_partial(example, 8)), ==, 0xddf2);
}

static void test_copy(void)
{
    tap_case("copying sums the same and copies every byte and no other");
    uint8_t from[200], to[202];
    for (size_t len = 0; len <= sizeof from; len++) {
        mir_rng_bytes(&rng, from, sizeof from);
        memset(to, 0xee, sizeof to);
        uint16_t sum = mir__csum_copy(to + 1, from, len);
        check_int(sum, ==, slow_sum(from, len));
        check(memcmp(to + 1, from, len) == 0);
        check(to[0] == 0xee && to[len + 1] == 0xee);
    }
}

static void test_update(void)
{
    tap_case("changing one word changes the checksum as summing anew does");
    for (int i = 0; i < 2000; i++) {
        uint8_t data[20];
        uint16_t was, is, check;
        mir_rng_bytes(&rng, data, sizeof data);
        check = (uint16_t)~mir__csum_partial(data, sizeof data);
        memcpy(&was, data + 6, 2);
        is = (uint16_t)mir_rng_u32(&rng);
        memcpy(data + 6, &is, 2);
        check = mir__csum_update(check, was, is);
        check_int(canonical((uint16_t)~check), ==, canonical(mir__csum_partial(data, sizeof data)));
    }
}

static void test_blocks(void)
{
    tap_case("a view's sum from ready block sums equals the slow sum, at every kind of border");
    static uint8_t data[5000];
    static uint16_t sums[1 + sizeof data / MIR_PAGE_SUM_BLOCK];
    mir_rng_bytes(&rng, data, sizeof data);
    mir__csum_blocks(data, sizeof data, sums);
    struct mir_io_page page = {
        .base = data,
        .size_bytes = sizeof data,
        .flags = MIR_PAGE_STATIC,
        .block_sums = sums,
    };
    for (int i = 0; i < 20000; i++) {
        uint32_t from = mir_rng_below(&rng, sizeof data);
        uint32_t len = mir_rng_below(&rng, (uint32_t)sizeof data - from + 1);
        if (i % 4 == 0)
            from &= ~255u;
        if (i % 8 < 2)
            len = len & ~255u;
        struct mir_view view = mir_view_of_page(&page, from, len);
        if (!check_int(canonical(mir__csum_view(&view)), ==, canonical(slow_sum(data + from, len))))
            tap_note("from %u len %u", from, len);
        mir_view_release(&view);
    }
    tap_case("ready sums are used: a wrong one shows");
    sums[3] ^= 0x1234;
    struct mir_view view = mir_view_of_page(&page, 3 * 256, 1024);
    check(mir__csum_view(&view) != slow_sum(data + 768, 1024));
    mir_view_release(&view);
}

static void test_buf(void)
{
    tap_case("a packet of a linear part and views of odd lengths sums like its bytes");
    static uint8_t arena[64 * MIR_PAGE_SIZE] MIR_ALIGNED(MIR_PAGE_SIZE);
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    check_int(mir_page_pool_init(&pages, arena, sizeof arena), ==, 0);
    check_int(mir_buf_pool_init(&bufs, &pages, 8), ==, 0);
    for (int i = 0; i < 500; i++) {
        static uint8_t bytes[20000];
        struct mir_buf *buf = mir_buf_alloc(&bufs, 96);
        uint32_t n = mir_rng_below(&rng, 161);
        mir_rng_bytes(&rng, mir_buf_append(buf, n), n);
        uint32_t count = mir_rng_below(&rng, 5);
        for (uint32_t k = 0; k < count; k++) {
            struct mir_io_page *page;
            check_int(mir_page_alloc(&pages, 4096, MIR_PAGE_OVERWRITE, &page), ==, 0);
            mir_rng_bytes(&rng, page->base, 4096);
            uint32_t at = mir_rng_below(&rng, 100);
            check_int(mir_buf_add_view(buf, mir_view_of_page(page, at, mir_rng_below(&rng, 3900))),
                      ==, 0);
            mir_page_release(page);
        }
        uint32_t total = mir_buf_total(buf);
        uint32_t offset = mir_rng_below(&rng, total + 1);
        check_int(mir_buf_copy_out(buf, 0, bytes, total), ==, 0);
        check_int(canonical(mir__csum_buf(buf, offset)), ==,
                  canonical(slow_sum(bytes + offset, total - offset)));
        mir_buf_release(buf);
    }
    mir_buf_pool_fini(&bufs);
    check_int(mir_page_pool_used_bytes(&pages), ==, 0);
}

static void test_pseudo(void)
{
    tap_case("pseudo-headers of both families");
    struct mir_ip a = mir_ip_from_v4(0xc0a80001), b = mir_ip_from_v4(0xfffefdfc);
    const uint8_t v4[12] = {0xc0, 0xa8, 0, 1, 0xff, 0xfe, 0xfd, 0xfc, 0, 17, 0xab, 0xcd};
    check_int(mir__csum_pseudo(&a, &b, 17, 0xabcd), ==, slow_sum(v4, sizeof v4));
    uint8_t v6[40];
    mir_rng_bytes(&rng, v6, sizeof v6);
    memcpy(a.bytes, v6, 16);
    memcpy(b.bytes, v6 + 16, 16);
    memcpy(v6 + 32, (const uint8_t[]){0, 1, 2, 3, 0, 0, 0, 6}, 8);
    check_int(mir__csum_pseudo(&a, &b, 6, 0x00010203), ==, slow_sum(v6, sizeof v6));
}

int main(int argc, char **argv)
{
    tap_begin("wire_csum");
    mir_rng_init_u64(&rng, tap_seed(argc, argv, 1));
    test_partial();
    test_wide();
    test_copy();
    test_update();
    test_blocks();
    test_buf();
    test_pseudo();
    return tap_done();
}
