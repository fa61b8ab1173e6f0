/* SPDX-License-Identifier: ISC */
/* Memory of zones and ready answers: an arena, and a hash table of any size.
 *
 * Nothing of a zone is released before the zone is, so an arena is all it needs: page runs that
 * double from one page to 17, filled from front to back. A small zone takes little; what is left at
 * the end of a run is lost, at most the size of what did not fit.
 *
 * The page pool gives runs of 17 pages at most, which is too little for the table of a large zone:
 * the table is a directory of pages. A look-up loads one pointer more than a flat table.
 */
#include "lib/dns/zone.h"

enum { ALIGN = 8 };

static bool grow(struct mir__zone_mem *mem, size_t size)
{
    struct mir_io_page *page;
    size_t bytes = (size_t)MIR_MAX(mem->run_pages, 1u) * MIR_PAGE_SIZE;
    size_t least = size + sizeof(struct mir__zone_chunk);
    if (least > MIR__ZONE_CHUNK_MAX)
        return false;
    bytes = MIR_MIN(MIR_MAX(bytes, least), MIR__ZONE_CHUNK_MAX);
    if (mem->max_bytes != 0 && bytes > mem->max_bytes - MIR_MIN(mem->max_bytes, mem->used_bytes)) {
        mem->is_over = true;
        return false;
    }
    if (mir_page_alloc(mem->pages, bytes, MIR_PAGE_OVERWRITE, &page) < 0)
        return false;
    struct mir__zone_chunk *chunk = (struct mir__zone_chunk *)(void *)page->base;
    *chunk = (struct mir__zone_chunk){mem->chunks, page};
    mem->chunks = chunk;
    mem->at = page->base + sizeof *chunk;
    mem->left = page->size_bytes - (uint32_t)sizeof *chunk;
    mem->used_bytes += page->size_bytes;
    mem->run_pages = MIR_MIN(2 * MIR_MAX(mem->run_pages, 1u), MIR_PAGE_RUN_MAX);
    return true;
}

void *mir__zone_alloc(struct mir__zone_mem *mem, size_t size)
{
    size_t need = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (need > mem->left && !grow(mem, need))
        return NULL;
    void *out = mem->at;
    mem->at += need;
    mem->left -= (uint32_t)need;
    return out;
}

struct mir_io_page *mir__zone_page(const struct mir__zone_mem *mem)
{
    return mem->chunks->page;
}

void mir__zone_mem_release(struct mir__zone_mem *mem)
{
    while (mem->chunks != NULL) {
        struct mir__zone_chunk *chunk = mem->chunks;
        mem->chunks = chunk->next;
        mir_page_release(chunk->page);
    }
    *mem = (struct mir__zone_mem){.pages = mem->pages, .max_bytes = mem->max_bytes};
}

int mir__zone_table_init(struct mir__zone_table *table, struct mir_page_pool *pages, uint32_t slots)
{
    uint32_t size = MIR__ZONE_SEGMENT;
    while (size < slots)
        size *= 2;
    uint32_t segments = size / MIR__ZONE_SEGMENT;
    *table = (struct mir__zone_table){.pages = pages};
    size_t dir_bytes = 2 * segments * sizeof(void *);
    if (dir_bytes > MIR__ZONE_CHUNK_MAX ||
        mir_page_alloc(pages, dir_bytes, MIR_PAGE_ZERO, &table->dir) < 0)
        return -MIR_ENOMEM;
    table->segment = (void ***)(void *)table->dir->base;
    table->page = (struct mir_io_page **)(void *)(table->segment + segments);
    table->mask = size - 1;
    for (uint32_t i = 0; i < segments; i++) {
        if (mir_page_alloc(pages, MIR_PAGE_SIZE, MIR_PAGE_ZERO, &table->page[i]) < 0) {
            mir__zone_table_fini(table);
            return -MIR_ENOMEM;
        }
        table->segment[i] = (void **)(void *)table->page[i]->base;
    }
    return 0;
}

void mir__zone_table_fini(struct mir__zone_table *table)
{
    if (table->dir == NULL)
        return;
    for (uint32_t i = 0; i <= table->mask / MIR__ZONE_SEGMENT; i++) {
        if (table->page[i] != NULL)
            mir_page_release(table->page[i]);
    }
    mir_page_release(table->dir);
    table->dir = NULL;
}

void mir__zone_key_of(const uint8_t *wire, uint32_t len, struct mir__zone_key *key)
{
    key->len = (uint8_t)len;
    key->labels = 0;
    for (uint32_t at = 0; wire[at] != 0; at += 1u + wire[at])
        key->labels++;
    key->hash = mir__zone_fold(wire, len, key->lower);
}
