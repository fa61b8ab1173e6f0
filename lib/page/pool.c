/* SPDX-License-Identifier: ISC */
/* Pools of objects of one size, carved from page runs.
 *
 *   chunk   | obj | obj | obj | ...  |     a run; small objects share a page, large ones a longer
 * run
 *
 * A free object's first word links to the next. Chunks are kept until fini, so a pool's memory
 * follows its peak; the limit bounds it.
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

void mir_pool_fini(struct mir_pool *pool)
{
    MIR_ASSERT_OP(pool->used, ==, 0);
    while (pool->chunks != NULL) {
        struct mir_io_page *chunk = pool->chunks;
        pool->chunks = chunk->next_free;
        mir__unpoison(chunk->base, chunk->size_bytes);
        mir_page_release(chunk);
    }
    pool->free_list = NULL;
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

/* Small objects share one page; larger ones share eight, so that little is left over at the end. */
static size_t chunk_bytes(const struct mir_pool *pool)
{
    if (pool->object_size <= MIR_PAGE_SIZE / 4)
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

void *mir_pool_alloc(struct mir_pool *pool)
{
    bool fails = pool->fail_at != 0 && --pool->fail_at == 0;
    if (!fails && pool->used < pool->limit && pool->free_list == NULL)
        grow(pool);
    if (fails || pool->used >= pool->limit || pool->free_list == NULL) {
        pool->failures++;
        return NULL;
    }
    void *object = pool->free_list;
    pool->free_list = get_next(object);
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
    set_next(object, pool->free_list);
    pool->free_list = object;
    mir__poison((uint8_t *)object + sizeof(void *), pool->object_size - sizeof(void *));
}
