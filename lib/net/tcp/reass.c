/* SPDX-License-Identifier: ISC */
/* Data that came too early waits here until the hole before it is filled.
 *
 *   rcv_nxt .... [ piece ] .. [ piece ][ piece ] ........ rcv_adv        sorted, never overlapping
 *
 * What is here already wins over what comes later (RFC 9293 leaves the choice; one fixed rule means
 * that nobody can change bytes we have seen): a new segment fills only the gaps between the pieces.
 * All of it lies inside the promised window, so bytes are bounded by it. Pieces that continue each
 * other are a run; the first of a run knows the last. Who looks for a place goes from run to run,
 * and what overlaps a run is covered by all of it at once, so a walk is bounded by the number of
 * holes: MIR__TCP_REASS_RUNS_MAX. The common case, the next segment behind the last piece, does not
 * walk, and packed pieces that continue each other merge.
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

/* A new piece behind @before, in run @head if it continues that; returns the run it is in, NULL if
 * there may be no more. */
static struct mir__tcp_early *insert(struct mir__tcp_pcb *pcb, struct mir__tcp_early *head,
                                     struct mir__tcp_kept *kept, uint32_t seq)
{
    struct mir__tcp_reass *r = &pcb->busy->reass;
    struct mir__tcp_early *before = head != NULL ? head->tail : NULL;
    bool is_new_run = before == NULL || end_of(before) != seq;
    bool may = r->count < pieces_max(pcb) && (!is_new_run || r->runs < MIR__TCP_REASS_RUNS_MAX);
    struct mir__tcp_early *early = may ? mir_pool_alloc(&pcb->host->earlies) : NULL;
    if (early == NULL) {
        mir_view_release(&kept->view);
        MIR__TCP_COUNT(pcb->host, drop_reass_limit);
        return NULL;
    }
    struct mir__tcp_early **at = before != NULL ? &before->next : &r->first;
    *early = (struct mir__tcp_early){*at, kept->view, early, seq, kept->is_sparse};
    *at = early;
    r->count++;
    account(pcb, early);
    if (is_new_run) {
        head = early;
        r->runs++;
    } else {
        head->tail = early;
    }
    if (early->next == NULL) {
        r->last = early;
        r->last_run = head;
    }
    return head;
}

/* Store bytes [seq, seq + len) of @seg, which no piece covers, behind run @head (NULL: first).
 * Returns the run they are in now, NULL if not all went in. */
static struct mir__tcp_early *store(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg,
                                    uint32_t seq, uint32_t len, struct mir__tcp_early *head)
{
    struct mir__tcp_reass *r = &pcb->busy->reass;
    while (len > 0) {
        struct mir__tcp_kept kept;
        uint32_t offset = seg->skip + (seq - seg->seq);
        if (mir__tcp_keep(pcb, &r->packer, seg->buf, offset, len, &kept) < 0) {
            MIR__TCP_COUNT(pcb->host, drop_memory);
            return NULL;
        }
        uint32_t n = kept.view.len;
        if (!merge(pcb, head != NULL ? head->tail : NULL, seq, &kept))
            head = insert(pcb, head, &kept, seq);
        if (head == NULL)
            return NULL;
        seq += n;
        len -= n;
    }
    return head;
}

/* The hole between run @head and the next one may be filled: one run then. */
static void join(struct mir__tcp_reass *r, struct mir__tcp_early *head)
{
    struct mir__tcp_early *next = head->tail->next;
    if (next == NULL || end_of(head->tail) != next->seq)
        return;
    head->tail = next->tail;
    r->runs--;
    if (r->last_run == next)
        r->last_run = head;
}

static struct mir__tcp_early *next_run(const struct mir__tcp_reass *r,
                                       const struct mir__tcp_early *head)
{
    return head != NULL ? head->tail->next : r->first;
}

/* Fill the holes that [seq, end) reaches; @head is the last run before it that is known, or NULL.
 * False: not all of it is held now. */
static bool fill(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg, uint32_t end,
                 struct mir__tcp_early *head)
{
    struct mir__tcp_reass *r = &pcb->busy->reass;
    uint32_t seq = seg->seq;
    while (seq_lt(seq, end)) {
        struct mir__tcp_early *next = next_run(r, head);
        for (; next != NULL && seq_le(next->seq, seq); next = next_run(r, head))
            head = next;
        if (head != NULL && seq_gt(end_of(head->tail), seq)) {
            uint32_t covered = MIR_MIN(end_of(head->tail) - seq, end - seq);
            pcb->host->counters.reass_overlap_bytes += covered;
            mir__tcp_sack_repeated(pcb, seq, seq + covered);
            seq += covered;
            continue;
        }
        uint32_t stop = next != NULL && seq_lt(next->seq, end) ? next->seq : end;
        head = store(pcb, seg, seq, stop - seq, head);
        if (head == NULL)
            return false;
        join(r, head);
        seq = stop;
    }
    return true;
}

void mir__tcp_reass_add(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    struct mir__tcp_reass *r = &pcb->busy->reass;
    uint32_t end = seg->seq + seg->len;
    if (r->has_fin && seq_gt(end, r->fin_seq))
        end = seq_max(seg->seq, r->fin_seq);
    if (pcb->host->memory_used > pcb->host->memory_max) {
        MIR__TCP_COUNT(pcb->host, drop_memory);
        return;
    }
    bool is_behind = r->last != NULL && seq_ge(seg->seq, end_of(r->last));
    if (!fill(pcb, seg, end, is_behind ? r->last_run : NULL))
        return;
    if (seq_gt(end, seg->seq))
        mir__tcp_sack_held(pcb, seg->seq, end);
}

void mir__tcp_reass_pull(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_reass *r = &pcb->busy->reass;
    while (r->first != NULL && seq_le(r->first->seq, pcb->rcv_nxt)) {
        struct mir__tcp_early *early = r->first;
        r->first = early->next;
        if (early->tail == early) {
            r->runs--;
        } else {
            r->first->tail = early->tail;
            if (r->last_run == early)
                r->last_run = r->first;
        }
        if (r->first == NULL)
            r->last = r->last_run = NULL;
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
    r->last = r->last_run = NULL;
    pcb->busy->sack.count = 0;
    r->count = 0;
    r->runs = 0;
    r->has_fin = false;
    mir__tcp_packer_release(&r->packer);
}
