/* SPDX-License-Identifier: ISC */
/* A queue of views, and pages that small pieces are packed into.
 *
 *   first -> | v v v v v v v v v v | -> | v v v . . . . . . . | <- last       256 bytes a chunk
 *
 * An empty queue has no chunk, so an idle connection holds no memory besides itself. A packer is
 * the page at the tail of a queue: pieces are copied one behind the other and a piece that
 * continues the last view just makes it longer, so a million one-byte writes are a few hundred
 * views.
 */
#include "lib/net/tcp/internal.h"

static struct mir__tcp_chunk *add_chunk(struct mir__tcp_state *host, struct mir__tcp_viewq *q)
{
    struct mir__tcp_chunk *chunk = mir_pool_alloc(&host->chunks);
    if (chunk == NULL)
        return NULL;
    chunk->next = NULL;
    chunk->first = 0;
    chunk->end = 0;
    chunk->sparse = 0;
    if (q->last != NULL)
        q->last->next = chunk;
    else
        q->first = chunk;
    q->last = chunk;
    return chunk;
}

int mir__tcp_viewq_push(struct mir__tcp_state *host, struct mir__tcp_viewq *q,
                        struct mir_view view_given, bool is_sparse)
{
    struct mir__tcp_chunk *chunk = q->last;
    if (chunk == NULL || chunk->end == MIR__TCP_CHUNK_VIEWS)
        chunk = add_chunk(host, q);
    if (chunk == NULL) {
        mir_view_release(&view_given);
        return -MIR_ENOMEM;
    }
    if (is_sparse)
        chunk->sparse |= (uint16_t)(1u << chunk->end);
    chunk->view[chunk->end++] = view_given;
    q->bytes += view_given.len;
    return 0;
}

struct mir_view *mir__tcp_viewq_last(struct mir__tcp_viewq *q)
{
    return q->last != NULL ? &q->last->view[q->last->end - 1] : NULL;
}

bool mir__tcp_viewq_pop(struct mir__tcp_state *host, struct mir__tcp_viewq *q,
                        struct mir_view *view, bool *is_sparse)
{
    struct mir__tcp_chunk *chunk = q->first;
    if (chunk == NULL)
        return false;
    *view = chunk->view[chunk->first];
    *is_sparse = (chunk->sparse >> chunk->first & 1) != 0;
    q->bytes -= view->len;
    if (++chunk->first == chunk->end) {
        q->first = chunk->next;
        if (q->first == NULL)
            q->last = NULL;
        mir_pool_free(&host->chunks, chunk);
    }
    return true;
}

void mir__tcp_viewq_release(struct mir__tcp_state *host, struct mir__tcp_viewq *q)
{
    struct mir_view view;
    bool is_sparse;
    while (mir__tcp_viewq_pop(host, q, &view, &is_sparse))
        mir_view_release(&view);
}

/* Larger pages for larger writes: fewer views and fewer frags later. */
static size_t page_size_for(uint32_t len)
{
    if (len > 4 * MIR_PAGE_SIZE)
        return (size_t)8 * MIR_PAGE_SIZE;
    return len > MIR_PAGE_SIZE ? (size_t)4 * MIR_PAGE_SIZE : MIR_PAGE_SIZE;
}

int mir__tcp_packer_take(struct mir__tcp_state *host, struct mir__tcp_packer *packer, uint32_t len,
                         struct mir_view *view, uint8_t **to)
{
    if (packer->page != NULL && packer->used == packer->page->size_bytes)
        mir__tcp_packer_release(packer);
    if (packer->page == NULL) {
        int r = mir_page_alloc(host->stack->pages, page_size_for(len), MIR_PAGE_OVERWRITE,
                               &packer->page);
        if (r < 0) {
            packer->page = NULL;
            return r;
        }
        packer->used = 0;
    }
    uint32_t taken = MIR_MIN(len, packer->page->size_bytes - packer->used);
    *to = packer->page->base + packer->used;
    *view = mir_view_of_page(packer->page, packer->used, taken);
    packer->used += taken;
    return 0;
}

void mir__tcp_packer_release(struct mir__tcp_packer *packer)
{
    if (packer->page != NULL)
        mir_page_release(packer->page);
    packer->page = NULL;
    packer->used = 0;
}
