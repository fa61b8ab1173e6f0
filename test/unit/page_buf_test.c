/* SPDX-License-Identifier: ISC */
/* Packet buffers: linear part, views, trimming, copies, queues. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mirari/err.h>
#include <mirari/page.h>
#include <mirari/rng.h>

#include "test/harness/tap.h"

static uint8_t arena[512 * MIR_PAGE_SIZE] MIR_ALIGNED(MIR_PAGE_SIZE);
static struct mir_page_pool pages;
static struct mir_buf_pool bufs;

static void setup(uint32_t limit)
{
    check_int(mir_page_pool_init(&pages, arena, sizeof arena), ==, 0);
    check_int(mir_buf_pool_init(&bufs, &pages, limit), ==, 0);
}

static void nothing_left(void)
{
    check_int(mir_pool_used(&bufs.pool), ==, 0);
    mir_buf_pool_fini(&bufs);
    check_int(mir_page_pool_used_bytes(&pages), ==, 0);
}

/* A view of [len] bytes that count up from @first, in a page of its own. */
static struct mir_view make_view(uint32_t offset, uint32_t len, uint8_t first)
{
    struct mir_io_page *page = NULL;
    int r = mir_page_alloc(&pages, offset + len, MIR_PAGE_ZERO, &page);
    MIR_ASSERT(r == 0);
    for (uint32_t i = 0; i < len; i++)
        page->base[offset + i] = (uint8_t)(first + i);
    struct mir_view view = mir_view_of_page(page, offset, len);
    mir_page_release(page);
    return view;
}

static void test_linear(void)
{
    tap_case("headers are pushed into the head room and pulled again");
    setup(10);
    struct mir_buf *buf = mir_buf_alloc(&bufs, MIR_BUF_HEADROOM);
    check_int(mir_buf_headroom(buf), ==, MIR_BUF_HEADROOM);
    check_int(mir_buf_tailroom(buf), ==, MIR_BUF_HEAD_BYTES - MIR_BUF_HEADROOM);
    check_int(mir_buf_total(buf), ==, 0);
    memcpy(mir_buf_append(buf, 5), "hello", 5);
    memcpy(mir_buf_push(buf, 3), "tcp", 3);
    memcpy(mir_buf_push(buf, 2), "ip", 2);
    check_int(buf->len, ==, 10);
    check_mem(buf->data, "iptcphello", 10);
    mir_buf_pull(buf, 2);
    check_mem(buf->data, "tcphello", 8);
    memcpy(mir_buf_append(buf, 1), "!", 1);
    check_mem(buf->data, "tcphello!", 9);
    mir_buf_trim(buf, 3);
    check_int(mir_buf_total(buf), ==, 3);
    mir_buf_trim(buf, 0);
    check_int(buf->len, ==, 0);
    mir_buf_release(buf);
    mir_buf_release(NULL);
    nothing_left();

    tap_case("the whole inline storage and not a byte more");
    setup(10);
    buf = mir_buf_alloc(&bufs, MIR_BUF_HEAD_BYTES);
    check_int(mir_buf_tailroom(buf), ==, 0);
    memset(mir_buf_push(buf, MIR_BUF_HEAD_BYTES), 1, MIR_BUF_HEAD_BYTES);
    check_int(mir_buf_headroom(buf), ==, 0);
    mir_buf_release(buf);
    buf = mir_buf_alloc(&bufs, 0);
    memset(mir_buf_append(buf, MIR_BUF_HEAD_BYTES), 1, MIR_BUF_HEAD_BYTES);
    check_int(mir_buf_tailroom(buf), ==, 0);
    mir_buf_release(buf);
    nothing_left();

    tap_case("a buffer taken again has nothing of the last packet");
    setup(1);
    buf = mir_buf_alloc(&bufs, 10);
    buf->flags = MIR_BUF_GSO_TCP4 | MIR_BUF_BROADCAST;
    buf->gso_size = 1460;
    buf->csum_start = buf->csum_offset = buf->network_offset = 9;
    buf->queue = 3;
    check_int(mir_buf_add_view(buf, make_view(0, 10, 0)), ==, 0);
    mir_buf_release(buf);
    buf = mir_buf_alloc(&bufs, 10);
    check_int(buf->flags | buf->gso_size | buf->csum_start | buf->csum_offset, ==, 0);
    check_int(buf->network_offset | buf->queue | buf->frag_count, ==, 0);
    check_int(buf->frag_len | buf->len, ==, 0);
    check(buf->page == NULL && buf->next == NULL);
    mir_buf_release(buf);
    nothing_left();

    tap_case("a 9,000-byte frame in one linear page run");
    setup(10);
    buf = mir_buf_alloc_page(&bufs, 64 + 9014, 64);
    check(buf != NULL);
    check_int(mir_buf_tailroom(buf), >=, 9014);
    uint8_t *at = mir_buf_append(buf, 9014);
    for (uint32_t i = 0; i < 9014; i++)
        at[i] = (uint8_t)(i * 7);
    mir_buf_pull(buf, 14);
    check_int(mir_buf_total(buf), ==, 9000);
    uint8_t byte = 0;
    check_int(mir_buf_copy_out(buf, 8999, &byte, 1), ==, 0);
    check_int(byte, ==, (uint8_t)(9013 * 7));
    mir_buf_release(buf);
    nothing_left();
}

static void test_views(void)
{
    tap_case("a received frame in a page: no copy, no room around it, page back with the buffer");
    setup(10);
    struct mir_view view = make_view(100, 1000, 5);
    const uint8_t *data = view.data;
    struct mir_buf *buf = mir_buf_from_view(&bufs, view);
    check(buf->data == data);
    check_int(buf->len, ==, 1000);
    check_int(mir_buf_headroom(buf), ==, 0);
    check_int(mir_buf_tailroom(buf), ==, 0);
    mir_buf_pull(buf, 14);
    check_int(mir_buf_headroom(buf), ==, 14);
    mir_buf_release(buf);
    nothing_left();

    tap_case("views up to the limit; the one too many is released and refused");
    setup(10);
    buf = mir_buf_alloc(&bufs, 20);
    for (uint32_t i = 0; i < MIR_BUF_FRAG_MAX; i++)
        check_int(mir_buf_add_view(buf, make_view(0, 100, 0)), ==, 0);
    size_t used = mir_page_pool_used_bytes(&pages);
    check_int(mir_buf_add_view(buf, make_view(0, 100, 0)), ==, -MIR_ELIMIT);
    check_int(mir_page_pool_used_bytes(&pages), ==, (long long)used);
    check_int(buf->frag_count, ==, MIR_BUF_FRAG_MAX);
    check_int(mir_buf_total(buf), ==, 100 * MIR_BUF_FRAG_MAX);

    tap_case("an empty view takes no place");
    mir_buf_trim(buf, 250);
    check_int(buf->frag_count, ==, 3);
    struct mir_view empty = make_view(0, 10, 0);
    mir_view_shrink_front(&empty, 10);
    check_int(mir_buf_add_view(buf, empty), ==, 0);
    check_int(buf->frag_count, ==, 3);
    check_int(mir_buf_total(buf), ==, 250);
    mir_buf_release(buf);
    nothing_left();

    tap_case("a total beyond 32 bits is refused");
    setup(10);
    static struct mir_io_page huge = {.size_bytes = UINT32_MAX, .flags = MIR_PAGE_STATIC};
    huge.base = arena;
    buf = mir_buf_alloc(&bufs, 20);
    memset(mir_buf_append(buf, 100), 0, 100);
    check_int(mir_buf_add_view(buf, mir_view_of_page(&huge, 0, UINT32_MAX - 100)), ==, 0);
    check_int(mir_buf_add_view(buf, mir_view_of_page(&huge, 0, 1)), ==, -MIR_ELIMIT);
    check_int(mir_buf_total(buf), ==, UINT32_MAX);
    check(mir_buf_linearize(&bufs, buf, 200) == NULL);
    check(mir_buf_linearize(&bufs, buf, 64) == NULL);
    mir_buf_release(buf);
    nothing_left();
}

static void test_trim(void)
{
    tap_case("trim at every length, across linear part and views");
    for (uint32_t total = 0; total <= 170; total++) {
        setup(10);
        struct mir_buf *buf = mir_buf_alloc(&bufs, 20);
        for (uint32_t i = 0; i < 50; i++)
            mir_buf_append(buf, 1)[0] = (uint8_t)i;
        check_int(mir_buf_add_view(buf, make_view(3, 40, 50)), ==, 0);
        check_int(mir_buf_add_view(buf, make_view(9, 80, 90)), ==, 0);
        mir_buf_trim(buf, total);
        check_int(mir_buf_total(buf), ==, total);
        check_int(buf->frag_count, ==, total <= 50 ? 0 : total <= 90 ? 1 : 2);
        uint8_t out[200];
        check_int(mir_buf_copy_out(buf, 0, out, total), ==, 0);
        bool is_same = true;
        for (uint32_t i = 0; i < total; i++)
            is_same = is_same && out[i] == i;
        check(is_same);
        check_int(mir_buf_copy_out(buf, 0, out, total + 1), ==, -MIR_ERANGE);
        mir_buf_release(buf);
        nothing_left();
    }
}

static void test_copies(uint64_t seed)
{
    struct mir_rng rng;
    static uint8_t model[70000], out[70000];
    tap_case("copies of any part of random packets, and linear copies");
    mir_rng_init_u64(&rng, seed);
    setup(10);
    for (int round = 0; round < 200; round++) {
        struct mir_buf *buf = mir_buf_alloc(&bufs, 100);
        uint32_t total = mir_rng_below(&rng, 157);
        mir_rng_bytes(&rng, mir_buf_append(buf, total), total);
        memcpy(model, buf->data, total);
        for (uint32_t n = mir_rng_below(&rng, MIR_BUF_FRAG_MAX + 1); n > 0; n--) {
            uint32_t len = mir_rng_below(&rng, 3700);
            uint8_t first = (uint8_t)mir_rng_u32(&rng);
            for (uint32_t i = 0; i < len; i++)
                model[total + i] = (uint8_t)(first + i);
            check_int(mir_buf_add_view(buf, make_view(mir_rng_below(&rng, 50), len, first)), ==, 0);
            total += len;
        }
        check_int(mir_buf_total(buf), ==, total);
        for (int i = 0; i < 20; i++) {
            uint32_t offset = mir_rng_below(&rng, total + 1);
            uint32_t len = mir_rng_below(&rng, total - offset + 1);
            check_int(mir_buf_copy_out(buf, offset, out, len), ==, 0);
            check_mem(out, model + offset, len);
        }
        check_int(mir_buf_copy_out(buf, total, out, 0), ==, 0);
        check_int(mir_buf_copy_out(buf, total + 1, out, 0), ==, -MIR_ERANGE);
        check_int(mir_buf_copy_out(buf, 1, out, UINT32_MAX), ==, -MIR_ERANGE);
        buf->flags = MIR_BUF_CSUM_PARTIAL | MIR_BUF_GSO_TCP4;
        buf->gso_size = 1448;
        buf->csum_start = 34;
        buf->csum_offset = 16;
        buf->network_offset = 114;
        struct mir_buf *copy = mir_buf_linearize(&bufs, buf, 32);
        if (check(copy != NULL)) {
            check_int(copy->len, ==, total);
            check_int(copy->frag_count, ==, 0);
            check_int(mir_buf_headroom(copy), ==, 32);
            check_mem(copy->data, model, total);
            check_int(copy->flags, ==, MIR_BUF_CSUM_PARTIAL | MIR_BUF_GSO_TCP4);
            check_int(copy->gso_size, ==, 1448);
            check_int(copy->csum_start, ==, 34);
            check_int(copy->csum_offset, ==, 16);
            check_int(copy->network_offset, ==, 32 + 14);
        }
        mir_buf_release(copy);
        mir_buf_release(buf);
    }
    nothing_left();

    tap_case("a packet larger than the largest run has no linear copy");
    setup(10);
    struct mir_buf *buf = mir_buf_alloc(&bufs, 0);
    for (int i = 0; i < 18; i++)
        check_int(mir_buf_add_view(buf, make_view(0, 4096, 1)), ==, 0);
    check(mir_buf_linearize(&bufs, buf, 0) == NULL);
    mir_buf_trim(buf, 17 * 4096);
    struct mir_buf *copy = mir_buf_linearize(&bufs, buf, 0);
    check(copy != NULL);
    check(mir_buf_linearize(&bufs, buf, 1) == NULL);
    mir_buf_release(copy);
    mir_buf_release(buf);
    nothing_left();
}

static void test_queue(void)
{
    struct mir_buf_queue queue = {NULL, NULL, 0, 0};
    tap_case("a queue is first in, first out, and counts packets and bytes");
    setup(20);
    check(mir_buf_queue_pop(&queue) == NULL);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 6; i++) {
            struct mir_buf *buf = mir_buf_alloc(&bufs, 0);
            memset(mir_buf_append(buf, i + 1), (int)i, i + 1);
            check_int(mir_buf_add_view(buf, make_view(0, 10, 0)), ==, 0);
            mir_buf_queue_push(&queue, buf);
        }
        check_int(queue.count, ==, 6);
        check_int(queue.bytes, ==, 21 + 60);
        for (uint32_t i = 0; i < (round == 1 ? 3 : 6); i++) {
            struct mir_buf *buf = mir_buf_queue_pop(&queue);
            check_int(buf->len, ==, i + 1);
            check(buf->next == NULL);
            mir_buf_release(buf);
        }
        mir_buf_queue_release(&queue);
        check(queue.first == NULL && queue.last == NULL);
        check_int(queue.count, ==, 0);
        check_int(queue.bytes, ==, 0);
    }
    nothing_left();
}

/* Every function that takes memory, with the n-th page or buffer failing: an error, no leak. */
static void test_failures(void)
{
    tap_case("without memory every constructor says so and keeps nothing");
    for (uint64_t n = 1; n <= 4; n++) {
        for (int kind = 0; kind < 2; kind++) {
            setup(10);
            if (kind == 0)
                mir_page_pool_fail_at(&pages, n);
            else
                mir_pool_fail_at(&bufs.pool, n);
            struct mir_buf *a = mir_buf_alloc(&bufs, 10);
            struct mir_buf *b = mir_buf_alloc_page(&bufs, 3000, 10);
            struct mir_buf *c = NULL;
            struct mir_io_page *page = NULL;
            if (mir_page_alloc(&pages, 5000, MIR_PAGE_ZERO, &page) == 0) {
                c = mir_buf_from_view(&bufs, mir_view_of_page(page, 0, 5000));
                mir_page_release(page);
            }
            struct mir_buf *d = c != NULL ? mir_buf_linearize(&bufs, c, 10) : NULL;
            check(a == NULL || b == NULL || c == NULL || d == NULL);
            mir_buf_release(a);
            mir_buf_release(b);
            mir_buf_release(c);
            mir_buf_release(d);
            nothing_left();
        }
    }

    tap_case("the limit of buffers holds and is counted; the page of a refused buffer comes back");
    setup(2);
    struct mir_buf *a = mir_buf_alloc(&bufs, 0);
    struct mir_buf *b = mir_buf_alloc(&bufs, 0);
    check(a != NULL && b != NULL);
    check(mir_buf_alloc(&bufs, 0) == NULL);
    check(mir_buf_alloc_page(&bufs, 100, 0) == NULL);
    check(mir_buf_from_view(&bufs, make_view(0, 10, 0)) == NULL);
    check_int(bufs.pool.failures, ==, 3);
    mir_buf_release(a);
    mir_buf_release(b);
    nothing_left();
}

int main(int argc, char **argv)
{
    tap_begin("page_buf");
    uint64_t seed = tap_seed(argc, argv, 1);
    test_linear();
    test_views();
    test_trim();
    test_copies(seed);
    test_queue();
    test_failures();
    return tap_done();
}
