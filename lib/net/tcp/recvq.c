/* SPDX-License-Identifier: ISC */
/* The receive queue: bytes from their arrival in order until the application takes them.
 *
 * A payload stays where the device put it, as a view onto the received page, as long as that does
 * not pin much more memory than it holds. The rule: the bytes of pages beyond the views onto them
 * (the waste) may be half the receive buffer; a payload that would exceed this is copied behind the
 * others into a page of our own. So in the usual case, when the application takes the data at once,
 * nothing is copied, and a peer that sends one byte in each 64 KiB frame pins one and a half times
 * the window and a page, no more. Payloads of a few bytes are always copied.
 *
 * Both figures, data and waste, count towards the memory of the stack.
 */
#include "lib/net/tcp/internal.h"

/* The contiguous piece of @buf at @offset: where, how long, in which page (NULL: inline). */
static struct mir_io_page *piece_at(const struct mir_buf *buf, uint32_t offset,
                                    const uint8_t **data, uint32_t *len)
{
    if (offset < buf->len) {
        *data = buf->data + offset;
        *len = buf->len - offset;
        return buf->page;
    }
    offset -= buf->len;
    uint32_t i = 0;
    while (offset >= buf->frag[i].len) {
        offset -= buf->frag[i].len;
        i++;
    }
    *data = buf->frag[i].data + offset;
    *len = buf->frag[i].len - offset;
    return buf->frag[i].page;
}

static uint32_t waste_of(const struct mir_view *view)
{
    return view->page->size_bytes - MIR_MIN(view->len, view->page->size_bytes);
}

int mir__tcp_keep(struct mir__tcp_pcb *pcb, struct mir__tcp_packer *packer,
                  const struct mir_buf *buf, uint32_t offset, uint32_t len,
                  struct mir__tcp_kept *kept)
{
    const uint8_t *data;
    uint32_t there;
    struct mir_io_page *page = piece_at(buf, offset, &data, &there);
    uint32_t n = MIR_MIN(len, there);
    uint32_t waste = pcb->busy->recvq.waste + pcb->busy->reass.waste;
    if (page != NULL && n > MIR__TCP_COPY_MAX && page->size_bytes >= n &&
        waste + (page->size_bytes - n) <= pcb->rcv_limit / 2 &&
        pcb->host->memory_used < pcb->host->memory_max) {
        kept->view = (struct mir_view){mir_page_acquire(page), data, n};
        kept->is_sparse = true;
        return 0;
    }
    uint8_t *to;
    int r = mir__tcp_packer_take(pcb->host, packer, n, &kept->view, &to);
    if (r < 0)
        return r;
    mir_memcpy(to, data, kept->view.len);
    kept->is_sparse = false;
    return 0;
}

int mir__tcp_recvq_add_view(struct mir__tcp_pcb *pcb, struct mir_view view_given, bool is_sparse)
{
    struct mir__tcp_recvq *r = &pcb->busy->recvq;
    struct mir_view *last = mir__tcp_viewq_last(&r->q);
    uint32_t len = view_given.len;
    uint32_t waste = is_sparse ? waste_of(&view_given) : 0;
    if (!is_sparse && last != NULL && last->page == view_given.page &&
        last->data + last->len == view_given.data) {
        last->len += len;
        r->q.bytes += len;
        mir_view_release(&view_given);
    } else {
        int err = mir__tcp_viewq_push(pcb->host, &r->q, view_given, is_sparse);
        if (err < 0)
            return err;
    }
    r->waste += waste;
    pcb->host->memory_used += len + waste;
    return 0;
}

int mir__tcp_recvq_add(struct mir__tcp_pcb *pcb, struct mir_buf *buf, uint32_t offset, uint32_t len,
                       uint32_t *taken)
{
    uint32_t done = 0;
    int r = 0;
    while (done < len && r == 0) {
        struct mir__tcp_kept kept;
        r = mir__tcp_keep(pcb, &pcb->busy->recvq.packer, buf, offset + done, len - done, &kept);
        if (r < 0)
            break;
        uint32_t n = kept.view.len;
        r = mir__tcp_recvq_add_view(pcb, kept.view, kept.is_sparse);
        if (r == 0)
            done += n;
    }
    *taken = done;
    return r;
}

bool mir__tcp_recvq_pop(struct mir__tcp_pcb *pcb, struct mir_view *view)
{
    struct mir__tcp_recvq *r = &pcb->busy->recvq;
    bool is_sparse;
    if (!mir__tcp_viewq_pop(pcb->host, &r->q, view, &is_sparse))
        return false;
    uint32_t waste = is_sparse ? waste_of(view) : 0;
    MIR_ASSERT_OP(waste, <=, r->waste);
    r->waste -= waste;
    pcb->host->memory_used -= view->len + waste;
    if (r->q.bytes == 0)
        mir__tcp_packer_release(&r->packer);
    return true;
}

void mir__tcp_recvq_release(struct mir__tcp_pcb *pcb)
{
    if (!mir__tcp_is_busy(pcb))
        return;
    pcb->host->memory_used -= pcb->busy->recvq.q.bytes + pcb->busy->recvq.waste;
    mir__tcp_viewq_release(pcb->host, &pcb->busy->recvq.q);
    pcb->busy->recvq.waste = 0;
    mir__tcp_packer_release(&pcb->busy->recvq.packer);
}
