/* SPDX-License-Identifier: ISC */
/* Pools of objects of one size, carved from page runs.
 *
 *   chunk   | obj | obj | obj | ...  |     a run; small objects share a page, large ones a longer
 * run
 *
 * A free object's first word links to the next. Chunks are kept until fini, so a pool's memory
 * follows its peak; the limit bounds it.
 *
 * A pool that gives back has a free list for each chunk, whose head lies in the chunk itself, at
 * the start of its only page, where an object's address leads. Objects come from the chunk opened
 * last; the last object that returns to a chunk sends it back to the page pool, unless it is the
 * only empty one.
 */
#include <mirari/err.h>
#include <mirari/page.h>

#include "lib/page/poison.h"

int mir_pool_init(struct mir_pool *pool, const char *name, struct mir_page_pool *pages,
                  size_t object_size, uint32_t limit)
{
    size_t rounded = (object_size + 15) & ~(size_t)15;
    if (object_size == 0 || rounded > (size_t)MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE)
        return -MIR_EINVAL;
    *pool = (struct mir_pool){
        .name = name,
        .pages = pages,
        .object_size = (uint32_t)rounded,
        .limit = limit,
    };
    return 0;
}

void mir_pool_fail_at(struct mir_pool *pool, uint64_t nth)
{
    pool->fail_at = nth;
}

static void set_next(void *object, void *next)
{
    mir_memcpy(object, &next, sizeof next);
}

static void *get_next(const void *object)
{
    void *next;
    mir_memcpy(&next, object, sizeof next);
    return next;
}

/* ---- pools that give back ------------------------------------------------------------------- */

/** At the start of a page. */
struct chunk {
    struct mir_list link; /* in pool->open while an object is free */
    struct mir_io_page *page;
    void *free_list;
    uint32_t used;
};
#define CHUNK_HEAD ((sizeof(struct chunk) + 15) & ~(size_t)15)

void mir_pool_gives_back(struct mir_pool *pool)
{
    MIR_ASSERT_OP(pool->object_size, <=, MIR_PAGE_SIZE / 4);
    MIR_ASSERT(pool->chunks == NULL);
    mir_list_init(&pool->open);
    pool->gives_back = true;
}

static struct chunk *chunk_of(const void *object)
{
    return (struct chunk *)((uintptr_t)object & ~(uintptr_t)(MIR_PAGE_SIZE - 1));
}

static struct chunk *open_chunk(struct mir_pool *pool)
{
    struct mir_io_page *page;
    if (!mir_list_is_empty(&pool->open))
        return MIR_CONTAINER_OF(pool->open.next, struct chunk, link);
    if (mir_page_alloc(pool->pages, MIR_PAGE_SIZE, MIR_PAGE_OVERWRITE, &page) < 0)
        return NULL;
    struct chunk *chunk = (struct chunk *)(void *)page->base;
    *chunk = (struct chunk){.page = page};
    mir_list_init(&chunk->link);
    mir_list_push_front(&pool->open, &chunk->link);
    for (size_t at = (MIR_PAGE_SIZE - CHUNK_HEAD) / pool->object_size; at > 0; at--) {
        uint8_t *object = page->base + CHUNK_HEAD + (at - 1) * pool->object_size;
        set_next(object, chunk->free_list);
        chunk->free_list = object;
        mir__poison(object + sizeof(void *), pool->object_size - sizeof(void *));
    }
    return chunk;
}

static void *take_from_chunk(struct mir_pool *pool)
{
    struct chunk *chunk = open_chunk(pool);
    if (chunk == NULL)
        return NULL;
    void *object = chunk->free_list;
    chunk->free_list = get_next(object);
    if (chunk->used++ == 0)
        pool->has_spare = false;
    if (chunk->free_list == NULL)
        mir_list_remove(&chunk->link);
    return object;
}

static void close_chunk(struct chunk *chunk)
{
    struct mir_io_page *page = chunk->page;
    mir_list_remove(&chunk->link);
    mir__unpoison(page->base, page->size_bytes);
    mir_page_release(page);
}

/* Its first word was set free already. */
static void give_to_chunk(struct mir_pool *pool, void *object)
{
    struct chunk *chunk = chunk_of(object);
    if (chunk->free_list == NULL)
        mir_list_push_front(&pool->open, &chunk->link);
    set_next(object, chunk->free_list);
    chunk->free_list = object;
    if (--chunk->used > 0)
        return;
    if (pool->has_spare) {
        close_chunk(chunk);
        return;
    }
    pool->has_spare = true;
    mir_list_remove(&chunk->link); /* used last */
    mir_list_push_back(&pool->open, &chunk->link);
}

/* ---- all pools --------------------------------------------------------------------------------
 */

/* Small objects share one page, unless more than a sixteenth of it would be left over; larger ones
 * share eight. */
static size_t chunk_bytes(const struct mir_pool *pool)
{
    if (pool->object_size <= MIR_PAGE_SIZE / 4 &&
        MIR_PAGE_SIZE % pool->object_size <= MIR_PAGE_SIZE / 16)
        return MIR_PAGE_SIZE;
    return MIR_MAX((size_t)8 * MIR_PAGE_SIZE, (size_t)pool->object_size);
}

static void grow(struct mir_pool *pool)
{
    struct mir_io_page *chunk;
    size_t want = chunk_bytes(pool);
    int r = mir_page_alloc(pool->pages, want, MIR_PAGE_OVERWRITE, &chunk);
    /* Towards the end of the memory a run for one object may still be there. */
    if (r < 0 && want > MIR_PAGE_SIZE)
        r = mir_page_alloc(pool->pages, pool->object_size, MIR_PAGE_OVERWRITE, &chunk);
    if (r < 0)
        return;
    chunk->next_free = pool->chunks;
    pool->chunks = chunk;
    for (size_t at = chunk->size_bytes / pool->object_size; at > 0; at--) {
        void *object = chunk->base + (at - 1) * pool->object_size;
        set_next(object, pool->free_list);
        pool->free_list = object;
        mir__poison((uint8_t *)object + sizeof(void *), pool->object_size - sizeof(void *));
    }
}

void mir_pool_fini(struct mir_pool *pool)
{
    MIR_ASSERT_OP(pool->used, ==, 0);
    while (pool->gives_back && !mir_list_is_empty(&pool->open))
        close_chunk(MIR_CONTAINER_OF(pool->open.next, struct chunk, link));
    while (pool->chunks != NULL) {
        struct mir_io_page *chunk = pool->chunks;
        pool->chunks = chunk->next_free;
        mir__unpoison(chunk->base, chunk->size_bytes);
        mir_page_release(chunk);
    }
    pool->free_list = NULL;
}

void *mir_pool_alloc(struct mir_pool *pool)
{
    bool fails = pool->fail_at != 0 && --pool->fail_at == 0;
    bool may = !fails && pool->used < pool->limit;
    void *object = NULL;
    if (pool->gives_back) {
        object = may ? take_from_chunk(pool) : NULL;
    } else if (may) {
        if (pool->free_list == NULL)
            grow(pool);
        object = pool->free_list;
        if (object != NULL)
            pool->free_list = get_next(object);
    }
    if (object == NULL) {
        pool->failures++;
        return NULL;
    }
    mir__unpoison(object, pool->object_size);
    pool->used++;
    pool->peak = MIR_MAX(pool->peak, pool->used);
    return object;
}

void mir_pool_free(struct mir_pool *pool, void *object)
{
    if (object == NULL)
        return;
    MIR_ASSERT_OP(pool->used, >, 0);
    MIR_ASSERT(!mir__is_poisoned((uint8_t *)object + sizeof(void *))); /* freed twice */
    pool->used--;
    mir__poison((uint8_t *)object + sizeof(void *), pool->object_size - sizeof(void *));
    if (pool->gives_back) {
        give_to_chunk(pool, object);
        return;
    }
    set_next(object, pool->free_list);
    pool->free_list = object;
}
