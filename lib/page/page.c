/* SPDX-License-Identifier: ISC */
/* I/O pages: runs of 1, 2, 4, 8 or 17 pages from one arena.
 *
 *   arena   | run | run | run | ...           fresh_at ->            free                    |
 *
 * Runs are cut off the fresh end one by one and go to the free list of their class when released;
 * they are never split or joined, so every operation is O(1) and memory that was once a 64 KiB
 * frame stays one. Free lists are LIFO: the next run is the one whose lines are still in the cache.
 * When nothing fresh is left, a request takes a free run of a larger class.
 *
 * The last eighth of an arena of a megabyte or more is cut into the largest runs only. Small
 * requests may use them, but they come back whole: a flood of small packets cannot leave the pool
 * without a place for a 64 KiB frame for ever.
 *
 * Descriptors are apart from the runs, which belong to their users to the last byte. They come by
 * the page from the same arena, fifty-odd at a time.
 *
 * A run is zeroed when it is handed out unless the caller says it will show only bytes it wrote, so
 * no data of one user reaches another (MirageOS advisory MSA01). Debug builds fill released runs
 * with 0xdb.
 */
#include <mirari/err.h>
#include <mirari/log.h>
#include <mirari/page.h>

#include "lib/page/poison.h"

static const uint8_t class_pages[MIR_PAGE_CLASSES] = {1, 2, 4, 8, MIR_PAGE_RUN_MAX};

int mir_page_pool_init(struct mir_page_pool *pool, void *arena, size_t size_bytes)
{
    if (arena == NULL || ((uintptr_t)arena | size_bytes) % MIR_PAGE_SIZE != 0 ||
        size_bytes < (size_t)16 * MIR_PAGE_SIZE)
        return -MIR_EINVAL;
    mir__unpoison(arena, size_bytes); /* a pool that has ended may have been here */
    *pool = (struct mir_page_pool){.arena = arena, .arena_size = size_bytes};
    return 0;
}

size_t mir_page_pool_used_bytes(const struct mir_page_pool *pool)
{
    return pool->used_bytes;
}

size_t mir_page_pool_free_bytes(const struct mir_page_pool *pool)
{
    return pool->arena_size - pool->used_bytes;
}

void *mir_page_pool_take_end(struct mir_page_pool *pool)
{
    /* What is interrupted may have looked at the end already, and be about to take a run and the
     * page of its descriptor in front of it. */
    size_t margin = 2 * MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE;
    if (pool->arena_size < pool->fresh_at + margin)
        return NULL;
    pool->arena_size -= MIR_PAGE_SIZE;
    return pool->arena + pool->arena_size;
}

void *mir_page_pool_take_end_run(struct mir_page_pool *pool, size_t size_bytes)
{
    size_t margin = 2 * MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE, end = pool->arena_size;
    if (size_bytes == 0 || size_bytes > end)
        return NULL;
    size_t size = (size_bytes + MIR_PAGE_SIZE - 1) & ~(size_t)(MIR_PAGE_SIZE - 1);
    /* The function above may come in between, in this thread: then the end is another one. */
    do {
        if (end < pool->fresh_at + margin + size)
            return NULL;
    } while (!__atomic_compare_exchange_n(&pool->arena_size, &end, end - size, false,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return pool->arena + end - size;
}

void mir_page_pool_fail_at(struct mir_page_pool *pool, uint64_t nth)
{
    pool->fail_at = nth;
}

#define LARGEST           (MIR_PAGE_CLASSES - 1u)
#define RESERVE_ARENA_MIN ((size_t)1 << 20)

/* Where the fresh part ends for runs of a class. */
static size_t fresh_end(const struct mir_page_pool *pool, uint32_t class_index)
{
    if (class_index == LARGEST || pool->arena_size < RESERVE_ARENA_MIN)
        return pool->arena_size;
    return pool->arena_size - pool->arena_size / 8;
}

static uint8_t *take_fresh(struct mir_page_pool *pool, size_t size, size_t end)
{
    if (pool->fresh_at > end || end - pool->fresh_at < size)
        return NULL;
    uint8_t *base = pool->arena + pool->fresh_at;
    pool->fresh_at += size;
    return base;
}

/* A descriptor without a run: from a page of them when none is spare. */
static struct mir_io_page *take_descriptor(struct mir_page_pool *pool)
{
    if (pool->spare == NULL) {
        struct mir_io_page *pages =
            (struct mir_io_page *)(void *)take_fresh(pool, MIR_PAGE_SIZE, pool->arena_size);
        if (pages == NULL)
            return NULL;
        for (size_t i = MIR_PAGE_SIZE / sizeof *pages; i > 0; i--) {
            pages[i - 1].next_free = pool->spare;
            pool->spare = &pages[i - 1];
        }
    }
    struct mir_io_page *page = pool->spare;
    pool->spare = page->next_free;
    return page;
}

static struct mir_io_page *cut_run(struct mir_page_pool *pool, uint32_t class_index)
{
    size_t run_bytes = (size_t)class_pages[class_index] * MIR_PAGE_SIZE;
    size_t end = fresh_end(pool, class_index);
    if (pool->fresh_at > end || end - pool->fresh_at < run_bytes)
        return NULL;
    struct mir_io_page *page = take_descriptor(pool);
    if (page == NULL)
        return NULL;
    uint8_t *base = take_fresh(pool, run_bytes, end);
    if (base == NULL) {
        page->next_free = pool->spare;
        pool->spare = page;
        return NULL;
    }
    *page = (struct mir_io_page){
        .base = base,
        .size_bytes = (uint32_t)run_bytes,
        .class_index = class_index,
        .pool = pool,
    };
    return page;
}

/* A free run of the class, a fresh one, a free one of a larger class, or one of the reserve. */
static struct mir_io_page *take_run(struct mir_page_pool *pool, uint32_t class_index)
{
    if (pool->free_list[class_index] == NULL) {
        struct mir_io_page *page = cut_run(pool, class_index);
        if (page != NULL)
            return page;
    }
    for (; class_index < MIR_PAGE_CLASSES; class_index++) {
        struct mir_io_page *page = pool->free_list[class_index];
        if (page != NULL) {
            pool->free_list[class_index] = page->next_free;
            return page;
        }
    }
    return cut_run(pool, LARGEST);
}

int mir_page_alloc(struct mir_page_pool *pool, size_t size_bytes, unsigned flags,
                   struct mir_io_page **out)
{
    uint32_t class_index = 0;
    if (size_bytes == 0 || size_bytes > (size_t)MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE)
        return -MIR_EINVAL;
    while ((size_t)class_pages[class_index] * MIR_PAGE_SIZE < size_bytes)
        class_index++;
    struct mir_io_page *page = NULL;
    if (pool->fail_at == 0 || --pool->fail_at != 0)
        page = take_run(pool, class_index);
    if (page == NULL) {
        pool->failures++;
        return -MIR_ENOMEM;
    }
    MIR_ASSERT_OP(page->refs, ==, 0);
    mir__unpoison(page->base, page->size_bytes);
    page->refs = 1;
    page->flags = 0;
    page->block_sums = NULL;
    page->next_free = NULL;
    pool->used_bytes += page->size_bytes;
    pool->peak_bytes = MIR_MAX(pool->peak_bytes, pool->used_bytes);
    if (!(flags & MIR_PAGE_OVERWRITE))
        mir_memset(page->base, 0, page->size_bytes);
    *out = page;
    return 0;
}

void mir_page_wrap(struct mir_io_page *page, void *base, uint32_t size_bytes, unsigned flags,
                   mir_page_release_fn release, void *arg)
{
    *page = (struct mir_io_page){
        .base = base,
        .size_bytes = size_bytes,
        .flags = flags | MIR_PAGE_FOREIGN,
        .refs = 1,
        .release = release,
        .release_arg = arg,
    };
}

void mir__page_free(struct mir_io_page *page)
{
    if (page->flags & MIR_PAGE_FOREIGN) {
        MIR_ASSERT(page->release != NULL);
        page->release(page, page->release_arg);
        return;
    }
    struct mir_page_pool *pool = page->pool;
    MIR_ASSERT_OP(pool->used_bytes, >=, page->size_bytes);
    pool->used_bytes -= page->size_bytes;
    mir__poison(page->base, page->size_bytes);
    page->next_free = pool->free_list[page->class_index];
    pool->free_list[page->class_index] = page;
}
