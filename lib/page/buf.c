/* SPDX-License-Identifier: ISC */
/* Packet buffers: one linear part and up to MIR_BUF_FRAG_MAX views. See page.h for the picture. */
#include <mirari/err.h>
#include <mirari/page.h>

int mir_buf_pool_init(struct mir_buf_pool *pool, struct mir_page_pool *pages, uint32_t limit)
{
    pool->pages = pages;
    return mir_pool_init(&pool->pool, "buffers", pages, sizeof(struct mir_buf), limit);
}

void mir_buf_pool_fini(struct mir_buf_pool *pool)
{
    mir_pool_fini(&pool->pool);
}

/* Only the fields: storage and unused views are written by whoever fills them. */
static void reset(struct mir_buf *buf, struct mir_buf_pool *pool)
{
    buf->next = NULL;
    buf->len = 0;
    buf->frag_len = 0;
    buf->flags = 0;
    buf->gso_size = 0;
    buf->csum_start = 0;
    buf->csum_offset = 0;
    buf->frag_count = 0;
    buf->queue = 0;
    buf->network_offset = 0;
    buf->page = NULL;
    buf->pool = pool;
}

struct mir_buf *mir_buf_alloc(struct mir_buf_pool *pool, uint32_t headroom)
{
    MIR_ASSERT_OP(headroom, <=, MIR_BUF_HEAD_BYTES);
    struct mir_buf *buf = mir_pool_alloc(&pool->pool);
    if (buf == NULL)
        return NULL;
    reset(buf, pool);
    buf->start = buf->head;
    buf->end = buf->head + MIR_BUF_HEAD_BYTES;
    buf->data = buf->head + headroom;
    return buf;
}

struct mir_buf *mir_buf_alloc_page(struct mir_buf_pool *pool, size_t size_bytes, uint32_t headroom)
{
    struct mir_io_page *page;
    MIR_ASSERT_OP(headroom, <=, size_bytes);
    if (mir_page_alloc(pool->pages, size_bytes, MIR_PAGE_OVERWRITE, &page) < 0)
        return NULL;
    struct mir_buf *buf = mir_pool_alloc(&pool->pool);
    if (buf == NULL) {
        mir_page_release(page);
        return NULL;
    }
    reset(buf, pool);
    buf->page = page;
    buf->start = page->base;
    buf->end = page->base + page->size_bytes;
    buf->data = buf->start + headroom;
    return buf;
}

struct mir_buf *mir_buf_from_view(struct mir_buf_pool *pool, struct mir_view view_given)
{
    MIR_ASSERT(view_given.page != NULL);
    struct mir_buf *buf = mir_pool_alloc(&pool->pool);
    if (buf == NULL) {
        mir_view_release(&view_given);
        return NULL;
    }
    reset(buf, pool);
    buf->page = view_given.page;
    /* A view can only shrink: no head room or tail room around it. */
    buf->start = view_given.page->base + (view_given.data - view_given.page->base);
    buf->data = buf->start;
    buf->len = view_given.len;
    buf->end = buf->data + buf->len;
    return buf;
}

struct mir_buf *mir_buf_from_page(struct mir_buf_pool *pool, struct mir_io_page *page_given,
                                  uint32_t offset, uint32_t len)
{
    MIR_ASSERT_OP(offset, <=, page_given->size_bytes);
    MIR_ASSERT_OP(len, <=, page_given->size_bytes - offset);
    struct mir_buf *buf = mir_pool_alloc(&pool->pool);
    if (buf == NULL) {
        mir_page_release(page_given);
        return NULL;
    }
    reset(buf, pool);
    buf->page = page_given;
    buf->start = page_given->base;
    buf->end = page_given->base + page_given->size_bytes;
    buf->data = buf->start + offset;
    buf->len = len;
    return buf;
}

void mir_buf_release(struct mir_buf *buf)
{
    if (buf == NULL)
        return;
    for (uint32_t i = 0; i < buf->frag_count; i++)
        mir_view_release(&buf->frag[i]);
    if (buf->page != NULL)
        mir_page_release(buf->page);
    mir_pool_free(&buf->pool->pool, buf);
}

void mir_buf_trim(struct mir_buf *buf, uint32_t total)
{
    MIR_ASSERT_OP(total, <=, mir_buf_total(buf));
    uint32_t excess = mir_buf_total(buf) - total;
    while (excess > 0 && buf->frag_count > 0) {
        struct mir_view *last = &buf->frag[buf->frag_count - 1];
        uint32_t cut = MIR_MIN(excess, last->len);
        mir_view_shrink_back(last, cut);
        buf->frag_len -= cut;
        excess -= cut;
        if (last->len == 0) {
            mir_view_release(last);
            buf->frag_count--;
        }
    }
    buf->len -= excess;
}

int mir_buf_copy_out(const struct mir_buf *buf, uint32_t offset, void *out, uint32_t len)
{
    uint8_t *to = out;
    uint32_t total = mir_buf_total(buf);
    if (offset > total || len > total - offset)
        return -MIR_ERANGE;
    if (offset < buf->len) {
        uint32_t n = MIR_MIN(len, buf->len - offset);
        mir_memcpy(to, buf->data + offset, n);
        to += n;
        len -= n;
        offset = 0;
    } else {
        offset -= buf->len;
    }
    for (uint32_t i = 0; i < buf->frag_count && len > 0; i++) {
        const struct mir_view *view = &buf->frag[i];
        if (offset >= view->len) {
            offset -= view->len;
            continue;
        }
        uint32_t n = MIR_MIN(len, view->len - offset);
        mir_memcpy(to, view->data + offset, n);
        to += n;
        len -= n;
        offset = 0;
    }
    return 0;
}

struct mir_buf *mir_buf_linearize(struct mir_buf_pool *pool, const struct mir_buf *buf,
                                  uint32_t headroom)
{
    uint32_t total = mir_buf_total(buf);
    size_t room = (size_t)headroom + total;
    if (room > (size_t)MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE)
        return NULL;
    struct mir_buf *copy = room <= MIR_BUF_HEAD_BYTES ? mir_buf_alloc(pool, headroom)
                                                      : mir_buf_alloc_page(pool, room, headroom);
    if (copy == NULL)
        return NULL;
    copy->len = total;
    int r = mir_buf_copy_out(buf, 0, copy->data, total);
    MIR_ASSERT(r == 0);
    copy->flags = buf->flags;
    copy->gso_size = buf->gso_size;
    copy->csum_start = buf->csum_start;
    copy->csum_offset = buf->csum_offset;
    copy->queue = buf->queue;
    /* Counted from `start`: what lies before `data` is not copied. */
    uint32_t before = mir_buf_headroom(buf);
    if (buf->network_offset >= before)
        copy->network_offset = (uint16_t)(buf->network_offset - before + headroom);
    return copy;
}

void mir_buf_queue_push(struct mir_buf_queue *queue, struct mir_buf *buf_given)
{
    buf_given->next = NULL;
    if (queue->last != NULL)
        queue->last->next = buf_given;
    else
        queue->first = buf_given;
    queue->last = buf_given;
    queue->count++;
    queue->bytes += mir_buf_total(buf_given);
}

void mir_buf_queue_push_front(struct mir_buf_queue *queue, struct mir_buf *buf_given)
{
    buf_given->next = queue->first;
    queue->first = buf_given;
    if (queue->last == NULL)
        queue->last = buf_given;
    queue->count++;
    queue->bytes += mir_buf_total(buf_given);
}

struct mir_buf *mir_buf_queue_pop(struct mir_buf_queue *queue)
{
    struct mir_buf *buf = queue->first;
    if (buf == NULL)
        return NULL;
    queue->first = buf->next;
    if (queue->first == NULL)
        queue->last = NULL;
    buf->next = NULL;
    queue->count--;
    queue->bytes -= mir_buf_total(buf);
    return buf;
}

void mir_buf_queue_release(struct mir_buf_queue *queue)
{
    for (struct mir_buf *buf; (buf = mir_buf_queue_pop(queue)) != NULL;)
        mir_buf_release(buf);
}
