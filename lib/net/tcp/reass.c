/* SPDX-License-Identifier: ISC */
/* Data that came too early waits here until the hole before it is filled.
 *
 *   rcv_nxt .... [ piece ] .. [ piece ][ piece ] ........ rcv_adv        sorted, never overlapping
 *
 * What is here already wins over what comes later (RFC 9293 leaves the choice; one fixed rule means
 * that nobody can change bytes we have seen): a new segment fills only the gaps between the pieces.
 * All of it lies inside the promised window, so bytes are bounded by it; pieces are bounded by
 * MIR__TCP_REASS_SEGS_MAX, which also bounds the walk through the list. The common case, the next
 * segment behind the last piece, does not walk, and packed pieces that continue each other merge.
 * A segment that finds no room is dropped and counted; its sender will send it again.
 *
 * A FIN that came early is remembered by its sequence number.
 */
#include "lib/net/tcp/loss.h"

/* All full segments that fit the window: fewer, and one loss in it would cost what follows too. */
static uint32_t pieces_max(const struct mir__tcp_pcb *pcb)
{
    uint32_t fit = pcb->rcv_limit / MIR_MAX((uint32_t)pcb->adv_mss, MIR__TCP_MSS_MIN);
    return MIR_MIN(MIR_MAX(fit, MIR__TCP_REASS_SEGS_MIN), MIR__TCP_REASS_SEGS_MAX);
}

static uint32_t waste_of(const struct mir__tcp_early *early)
{
    if (!early->is_sparse)
        return 0;
    return early->view.page->size_bytes - MIR_MIN(early->view.len, early->view.page->size_bytes);
}

/* What a piece costs the stack: the piece itself counts, for it may hold a single byte. */
static void account(struct mir__tcp_pcb *pcb, const struct mir__tcp_early *early)
{
    uint32_t waste = waste_of(early);
    pcb->busy->reass.bytes += early->view.len;
    pcb->busy->reass.waste += waste;
    pcb->host->memory_used += early->view.len + waste + sizeof *early;
}

static void unaccount(struct mir__tcp_pcb *pcb, const struct mir__tcp_early *early)
{
    uint32_t waste = waste_of(early);
    pcb->busy->reass.bytes -= early->view.len;
    pcb->busy->reass.waste -= waste;
    pcb->host->memory_used -= early->view.len + waste + sizeof *early;
}

static uint32_t end_of(const struct mir__tcp_early *early)
{
    return early->seq + early->view.len;
}

/* Make @before longer if the piece continues it in the same page; true if it did. */
static bool merge(struct mir__tcp_pcb *pcb, struct mir__tcp_early *before, uint32_t seq,
                  struct mir__tcp_kept *kept)
{
    struct mir_view *view = &kept->view;
    if (before == NULL || before->is_sparse || kept->is_sparse || end_of(before) != seq ||
        before->view.page != view->page || before->view.data + before->view.len != view->data)
        return false;
    before->view.len += view->len;
    pcb->busy->reass.bytes += view->len;
    pcb->host->memory_used += view->len;
    mir_view_release(view);
    return true;
}

/* Store bytes [seq, seq + len) of @seg, which no piece covers, behind @before (NULL: first).
 * Returns the last piece stored, or @before. */
static struct mir__tcp_early *store(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg,
                                    uint32_t seq, uint32_t len, struct mir__tcp_early *before)
{
    struct mir__tcp_reass *r = &pcb->busy->reass;
    while (len > 0) {
        struct mir__tcp_kept kept;
        uint32_t offset = seg->skip + (seq - seg->seq);
        if (mir__tcp_keep(pcb, &r->packer, seg->buf, offset, len, &kept) < 0) {
            MIR__TCP_COUNT(pcb->host, drop_memory);
            return before;
        }
        uint32_t n = kept.view.len;
        if (!merge(pcb, before, seq, &kept)) {
            struct mir__tcp_early *early =
                r->count < pieces_max(pcb) ? mir_pool_alloc(&pcb->host->earlies) : NULL;
            if (early == NULL) {
                mir_view_release(&kept.view);
                MIR__TCP_COUNT(pcb->host, drop_reass_limit);
                return before;
            }
            struct mir__tcp_early **at = before != NULL ? &before->next : &r->first;
            *early = (struct mir__tcp_early){*at, kept.view, seq, kept.is_sparse};
            *at = early;
            if (early->next == NULL)
                r->last = early;
            r->count++;
            account(pcb, early);
            before = early;
        }
        seq += n;
        len -= n;
    }
    return before;
}

void mir__tcp_reass_add(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    struct mir__tcp_reass *r = &pcb->busy->reass;
    uint32_t seq = seg->seq;
    uint32_t end = seg->seq + seg->len;
    if (r->has_fin && seq_gt(end, r->fin_seq))
        end = seq_max(seq, r->fin_seq);
    if (pcb->host->memory_used > pcb->host->memory_max) {
        MIR__TCP_COUNT(pcb->host, drop_memory);
        return;
    }
    struct mir__tcp_early *before = NULL;
    if (r->last != NULL && seq_ge(seq, end_of(r->last)))
        before = r->last;
    struct mir__tcp_early *next = before != NULL ? NULL : r->first;
    while (seq_lt(seq, end)) {
        /* The gap between `before` and `next`, as far as the segment reaches. */
        while (next != NULL && seq_le(end_of(next), seq)) {
            before = next;
            next = next->next;
        }
        uint32_t stop = next != NULL && seq_lt(next->seq, end) ? next->seq : end;
        if (seq_gt(stop, seq)) {
            before = store(pcb, seg, seq, stop - seq, before);
            if (before == NULL || end_of(before) != stop)
                return;
        }
        seq = stop;
        if (next != NULL && seq_lt(seq, end)) {
            uint32_t covered = MIR_MIN(end_of(next) - seq, end - seq);
            pcb->host->counters.reass_overlap_bytes += covered;
            mir__tcp_sack_repeated(pcb, seq, seq + covered);
            seq += covered;
        }
    }
    if (seq_gt(end, seg->seq))
        mir__tcp_sack_held(pcb, seg->seq, end);
}

void mir__tcp_reass_pull(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_reass *r = &pcb->busy->reass;
    while (r->first != NULL && seq_le(r->first->seq, pcb->rcv_nxt)) {
        struct mir__tcp_early *early = r->first;
        r->first = early->next;
        if (r->first == NULL)
            r->last = NULL;
        r->count--;
        unaccount(pcb, early);
        uint32_t known = pcb->rcv_nxt - early->seq;
        uint32_t len = early->view.len;
        struct mir_view view = early->view;
        bool is_sparse = early->is_sparse;
        mir_pool_free(&pcb->host->earlies, early);
        if (known >= len) {
            mir_view_release(&view);
            continue;
        }
        mir_view_shrink_front(&view, known);
        if (mir__tcp_recvq_add_view(pcb, view, is_sparse) < 0) {
            MIR__TCP_COUNT(pcb->host, drop_memory);
            break;
        }
        pcb->rcv_nxt += len - known;
        pcb->bytes_received += len - known;
        pcb->host->counters.bytes_in += len - known;
    }
    mir__tcp_sack_passed(pcb);
    if (r->first == NULL)
        mir__tcp_packer_release(&r->packer);
}

void mir__tcp_reass_release(struct mir__tcp_pcb *pcb)
{
    if (!mir__tcp_is_busy(pcb))
        return;
    struct mir__tcp_reass *r = &pcb->busy->reass;
    while (r->first != NULL) {
        struct mir__tcp_early *early = r->first;
        r->first = early->next;
        unaccount(pcb, early);
        mir_view_release(&early->view);
        mir_pool_free(&pcb->host->earlies, early);
    }
    r->last = NULL;
    pcb->busy->sack.count = 0;
    r->count = 0;
    r->has_fin = false;
    mir__tcp_packer_release(&r->packer);
}
