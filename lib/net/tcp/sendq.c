/* SPDX-License-Identifier: ISC */
/* The send queue: bytes from the application's write to the peer's acknowledgment.
 *
 *      snd_first                at_seq
 *   | view | view | view |    | view | ... | view |          views onto pages
 *     acknowledged bytes        cursor       written last: longer if it lies in the packer's page
 *     leave here
 *
 * A view given by the application is queued as it is; copied bytes fill pages that belong to the
 * queue's tail. Segments are built of sub-views, so a byte is copied at most once and the device
 * reads it from where it lies. A page lives until the peer has acknowledged its last byte and the
 * device has let go of it.
 *
 * Output goes forward through the queue, and begins again near its front after a loss. The cursor
 * makes the first O(1); the second starts at the front, where it finds its place soon.
 */
#include "lib/net/tcp/internal.h"

static void account(struct mir__tcp_pcb *pcb, uint32_t len)
{
    pcb->host->memory_used += len;
}

/* Make the last view longer if @view continues it in the same page; true if it did. */
static bool extend_last(struct mir__tcp_viewq *q, const struct mir_view *view)
{
    struct mir_view *last = mir__tcp_viewq_last(q);
    if (last == NULL || last->page != view->page || last->data + last->len != view->data)
        return false;
    last->len += view->len;
    q->bytes += view->len;
    return true;
}

int mir__tcp_sendq_copy(struct mir__tcp_pcb *pcb, const void *data, uint32_t len,
                        uint32_t *queued_len)
{
    const uint8_t *from = data;
    uint32_t done = 0;
    while (done < len) {
        struct mir_view view;
        uint8_t *to;
        if (mir__tcp_packer_take(pcb->host, &pcb->busy->sendq.packer, len - done, &view, &to) < 0)
            break;
        mir_memcpy(to, from + done, view.len);
        uint32_t taken = view.len;
        if (extend_last(&pcb->busy->sendq.q, &view)) {
            mir_view_release(&view);
        } else if (mir__tcp_viewq_push(pcb->host, &pcb->busy->sendq.q, view, false) < 0) {
            pcb->busy->sendq.packer.used -= taken;
            break;
        }
        account(pcb, taken);
        done += taken;
    }
    *queued_len = done;
    return done > 0 ? 0 : -MIR_ENOMEM;
}

int mir__tcp_sendq_view(struct mir__tcp_pcb *pcb, struct mir_view view_given)
{
    uint32_t len = view_given.len;
    uint32_t queued;
    if (len <= MIR__TCP_COPY_MAX) {
        /* Many tiny views would cost more than they hold. A page has room for all or nothing: */
        struct mir__tcp_packer *packer = &pcb->busy->sendq.packer;
        if (packer->page != NULL && packer->page->size_bytes - packer->used < len)
            mir__tcp_packer_release(packer);
        int r = mir__tcp_sendq_copy(pcb, view_given.data, len, &queued);
        mir_view_release(&view_given);
        return r;
    }
    int r = mir__tcp_viewq_push(pcb->host, &pcb->busy->sendq.q, view_given, false);
    if (r == 0)
        account(pcb, len);
    return r;
}

void mir__tcp_sendq_drop(struct mir__tcp_pcb *pcb, uint32_t len)
{
    struct mir__tcp_sendq *s = &pcb->busy->sendq;
    MIR_ASSERT_OP(len, <=, s->q.bytes);
    pcb->snd_first += len;
    pcb->host->memory_used -= len;
    while (len > 0) {
        struct mir__tcp_chunk *chunk = s->q.first;
        struct mir_view *view = &chunk->view[chunk->first];
        if (len < view->len) {
            mir_view_shrink_front(view, len);
            s->q.bytes -= len;
            break;
        }
        len -= view->len;
        struct mir_view gone;
        bool is_sparse;
        if (s->at == chunk && chunk->first + 1 == chunk->end)
            s->at = NULL;
        (void)mir__tcp_viewq_pop(pcb->host, &s->q, &gone, &is_sparse);
        mir_view_release(&gone);
    }
    if (s->at == NULL || seq_lt(s->at_seq, pcb->snd_first)) {
        s->at = s->q.first;
        s->at_index = s->at != NULL ? s->at->first : 0;
        s->at_seq = pcb->snd_first;
    }
    if (s->q.bytes == 0)
        mir__tcp_packer_release(&s->packer);
}

/* Move the cursor to the view that holds @seq. */
static void seek(const struct mir__tcp_pcb *pcb, struct mir__tcp_sendq *s, uint32_t seq)
{
    if (s->at == NULL || seq_lt(seq, s->at_seq)) {
        s->at = s->q.first;
        s->at_index = s->at->first;
        s->at_seq = pcb->snd_first;
    }
    while (seq - s->at_seq >= s->at->view[s->at_index].len) {
        uint32_t view_len = s->at->view[s->at_index].len;
        if (s->at_index + 1 < s->at->end) {
            s->at_index++;
        } else if (s->at->next != NULL) {
            s->at = s->at->next;
            s->at_index = s->at->first;
        } else {
            /* Only the end of the queue is beyond the last view; gather() does not ask for it. */
            MIR_ASSERT(false);
        }
        s->at_seq += view_len;
    }
}

/* Small payloads go into the linear part: one area is cheaper for everybody below. So does what
 * the caller has made a page for. */
static bool copies(const struct mir_buf *buf, uint32_t len)
{
    return (len <= MIR__TCP_COPY_MAX || buf->page != NULL) && len <= mir_buf_tailroom(buf);
}

uint32_t mir__tcp_sendq_gather(struct mir__tcp_pcb *pcb, uint32_t seq, uint32_t len,
                               struct mir_buf *buf)
{
    struct mir__tcp_sendq *s = &pcb->busy->sendq;
    bool is_copied = copies(buf, len);
    uint32_t done = 0;
    MIR_ASSERT_OP(seq - pcb->snd_first, <=, s->q.bytes);
    MIR_ASSERT_OP(len, <=, s->q.bytes - (seq - pcb->snd_first));
    while (done < len) {
        seek(pcb, s, seq + done);
        const struct mir_view *view = &s->at->view[s->at_index];
        uint32_t offset = seq + done - s->at_seq;
        uint32_t n = MIR_MIN(len - done, view->len - offset);
        if (is_copied)
            mir_memcpy(mir_buf_append(buf, n), view->data + offset, n);
        else if (buf->frag_count == MIR_BUF_FRAG_MAX)
            break;
        else if (mir_buf_add_view(buf, mir_view_sub(view, offset, n)) < 0)
            break;
        done += n;
    }
    return done;
}

void mir__tcp_sendq_release(struct mir__tcp_pcb *pcb)
{
    if (!mir__tcp_is_busy(pcb))
        return;
    pcb->host->memory_used -= pcb->busy->sendq.q.bytes;
    pcb->snd_first += pcb->busy->sendq.q.bytes;
    mir__tcp_viewq_release(pcb->host, &pcb->busy->sendq.q);
    pcb->busy->sendq.at = NULL;
    mir__tcp_packer_release(&pcb->busy->sendq.packer);
}
