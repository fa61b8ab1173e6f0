/* SPDX-License-Identifier: ISC */
/* The scoreboard: what was sent and is not acknowledged, with what is known about each piece.
 *
 *   snd_una                                                     snd_max
 *      |  in flight  | SACKED |  LOST  | SACKED |  in flight (AGAIN) |      sorted, without gaps
 *
 * A piece (struct mir__tcp_range) has one fate and one time of transmission. What leaves in the
 * same microsecond is one range, however many segments it is, so a flight of a megabyte sent by
 * segmentation offload is a dozen of them; SACK blocks and retransmissions split ranges where they
 * begin and end, and neighbours of one fate join again. Sums of bytes by flag are kept, so pipe is
 * a subtraction.
 *
 * Bounded by MIR__TCP_RANGES_MAX a connection. When there is no range to be had, information is
 * rounded to the safe side: new data joins the last range with the later time, a SACK block is
 * ignored as far as it would need a split, and a retransmission counts for the whole range.
 *
 * Invariants: the ranges are exactly [snd_una, snd_max); SACKED excludes LOST; the sums are true
 * (check.c). A peer's blocks are believed only inside that range, and only as advice: the data
 * stays in the send queue until it is acknowledged cumulatively. A peer that acknowledges up to a
 * SACKed piece and not beyond has changed its mind: all SACKs are forgotten, as they are when a
 * retransmission timeout repeats itself (RFC 2018 section 8; RFC 6675 section 5.1).
 *
 * The scoreboard exists only while something is outstanding: an idle connection has none. If there
 * is no memory for it, the flight is sent without and recovers as NewReno does.
 */
#include "lib/net/tcp/loss.h"

/* What leaves within this share of a round trip counts as sent at once. */
#define SAME_TIME_SHARE 64u

static void count_in(struct mir__tcp_loss *loss, uint8_t flags, uint32_t len)
{
    loss->sacked += flags & MIR__TCP_R_SACKED ? len : 0;
    loss->lost += flags & MIR__TCP_R_LOST ? len : 0;
    loss->again += flags & MIR__TCP_R_AGAIN ? len : 0;
}

static void count_out(struct mir__tcp_loss *loss, uint8_t flags, uint32_t len)
{
    loss->sacked -= flags & MIR__TCP_R_SACKED ? len : 0;
    loss->lost -= flags & MIR__TCP_R_LOST ? len : 0;
    loss->again -= flags & MIR__TCP_R_AGAIN ? len : 0;
}

void mir__tcp_board_flag(struct mir__tcp_loss *loss, struct mir__tcp_range *range, uint8_t flags)
{
    MIR_ASSERT((flags & (MIR__TCP_R_SACKED | MIR__TCP_R_LOST)) !=
               (MIR__TCP_R_SACKED | MIR__TCP_R_LOST));
    count_out(loss, range->flags, range->end - range->seq);
    range->flags = flags;
    count_in(loss, flags, range->end - range->seq);
}

static struct mir__tcp_range *new_range(struct mir__tcp_pcb *pcb)
{
    if (!pcb->loss->own_used) {
        pcb->loss->own_used = true;
        pcb->loss->count++;
        return &pcb->loss->own;
    }
    if (pcb->loss->count >= MIR__TCP_RANGES_MAX) {
        MIR__TCP_COUNT(pcb->host, sack_range_limit);
        return NULL;
    }
    struct mir__tcp_range *range = mir_pool_alloc(&pcb->host->ranges);
    if (range == NULL)
        MIR__TCP_COUNT(pcb->host, sack_range_limit);
    else
        pcb->loss->count++;
    return range;
}

static void free_range(struct mir__tcp_pcb *pcb, struct mir__tcp_range *range)
{
    pcb->loss->count--;
    if (range == &pcb->loss->own)
        pcb->loss->own_used = false;
    else
        mir_pool_free(&pcb->host->ranges, range);
}

/* Cut @range at @at; the second half follows it. False: no memory, nothing changed. */
static bool split(struct mir__tcp_pcb *pcb, struct mir__tcp_range *range, uint32_t at)
{
    struct mir__tcp_range *rest = new_range(pcb);
    MIR_ASSERT(seq_gt(at, range->seq) && seq_lt(at, range->end));
    if (rest == NULL)
        return false;
    *rest = *range;
    rest->seq = at;
    range->end = at;
    range->next = rest;
    if (pcb->loss->last == range)
        pcb->loss->last = rest;
    return true;
}

/* Join neighbours that do not differ. The time of SACKED data does not matter any more. */
static void join(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_range *range = pcb->loss->first;
    while (range != NULL && range->next != NULL) {
        struct mir__tcp_range *next = range->next;
        bool is_sacked = (range->flags & next->flags & MIR__TCP_R_SACKED) != 0;
        if (!is_sacked && (range->flags != next->flags || range->sent_us != next->sent_us)) {
            range = next;
            continue;
        }
        uint8_t flags = range->flags;
        mir__tcp_board_flag(pcb->loss, next, flags);
        range->end = next->end;
        range->next = next->next;
        if (pcb->loss->last == next)
            pcb->loss->last = range;
        free_range(pcb, next);
    }
}

/* ---- sending ------------------------------------------------------------------------------------
 */

/* [board end, end) is new. */
static void append(struct mir__tcp_pcb *pcb, uint32_t seq, uint32_t end, uint8_t flags)
{
    struct mir__tcp_loss *loss = pcb->loss;
    struct mir__tcp_range *last = loss->last;
    mir_time_us now_us = now_of(pcb->host);
    MIR_ASSERT(last == NULL || last->end == seq);
    if (last == NULL || last->flags != flags ||
        now_us - last->sent_us > pcb->srtt_us / SAME_TIME_SHARE) {
        struct mir__tcp_range *range = new_range(pcb);
        if (range != NULL) {
            *range = (struct mir__tcp_range){NULL, now_us, seq, seq, flags};
            if (last != NULL)
                last->next = range;
            else
                loss->first = range;
            loss->last = range;
        } else if (last == NULL) {
            mir__tcp_board_close(pcb); /* this flight goes without */
            return;
        } else {
            mir__tcp_board_flag(loss, last, flags); /* SACKED or not: rather not */
            last->sent_us = now_us;
        }
    }
    loss->last->end = end;
    count_in(loss, flags, end - seq);
}

static void resent(struct mir__tcp_pcb *pcb, uint32_t seq, uint32_t end)
{
    struct mir__tcp_loss *loss = pcb->loss;
    struct mir__tcp_range *range = loss->first;
    while (range != NULL && seq_lt(range->seq, end)) {
        if (seq_gt(range->end, seq) && !(range->flags & MIR__TCP_R_SACKED)) {
            if (seq_lt(range->seq, seq) && split(pcb, range, seq)) {
                range = range->next;
                continue;
            }
            if (seq_gt(range->end, end))
                (void)split(pcb, range, end);
            mir__tcp_board_flag(loss, range, MIR__TCP_R_AGAIN);
            mir__tcp_undo_resent(pcb, range->end - range->seq);
            range->sent_us = now_of(pcb->host);
        }
        range = range->next;
    }
}

/* May this transmission begin a scoreboard? Nothing may be in flight that it would not know of. */
static bool open_board(struct mir__tcp_pcb *pcb, uint32_t seq)
{
    if (!pcb->has_sack || seq != pcb->snd_una || pcb->snd_nxt != seq || pcb->in_recovery)
        return false;
    pcb->loss = mir_pool_alloc(&pcb->host->losses);
    if (pcb->loss == NULL) {
        MIR__TCP_COUNT(pcb->host, sack_range_limit);
        return false;
    }
    *pcb->loss = (struct mir__tcp_loss){
        .fack = seq,
        .in_timeout = seq_gt(pcb->snd_max, seq) && seq_gt(pcb->recover, seq),
    };
    pcb->dup_acks = 0;
    return true;
}

void mir__tcp_board_sent(struct mir__tcp_pcb *pcb, uint32_t seq, uint32_t end)
{
    uint32_t max = pcb->snd_max;
    if (pcb->loss == NULL) {
        if (!open_board(pcb, seq))
            return;
        append(pcb, seq, end, 0);
        if (pcb->loss != NULL && seq_lt(end, max))
            append(pcb, end, max, MIR__TCP_R_LOST | MIR__TCP_R_AGAIN);
        return;
    }
    if (seq_lt(seq, max))
        resent(pcb, seq, seq_lt(end, max) ? end : max);
    if (seq_gt(end, max))
        append(pcb, max, end, 0);
    if (pcb->loss != NULL && pcb->in_recovery)
        pcb->loss->prr_out += end - seq;
}

void mir__tcp_board_probed(struct mir__tcp_pcb *pcb, uint32_t end)
{
    if (seq_gt(end, pcb->snd_max))
        append(pcb, pcb->snd_max, end, MIR__TCP_R_LOST);
}

/* ---- acknowledgments ----------------------------------------------------------------------------
 */

static void delivered(struct mir__tcp_loss *loss, const struct mir__tcp_range *range, uint32_t len)
{
    loss->delivered += len;
    if (!(range->flags & MIR__TCP_R_AGAIN))
        loss->delivered_once += len;
}

void mir__tcp_board_acked(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    struct mir__tcp_loss *loss = pcb->loss;
    while (loss->first != NULL && seq_lt(loss->first->seq, pcb->snd_una)) {
        struct mir__tcp_range *range = loss->first;
        uint32_t end = seq_lt(range->end, pcb->snd_una) ? range->end : pcb->snd_una;
        count_out(loss, range->flags, end - range->seq);
        if (!(range->flags & MIR__TCP_R_SACKED)) {
            delivered(loss, range, end - range->seq);
            mir__tcp_rack_delivered(pcb, range, end, seg);
        }
        range->seq = end;
        if (end != range->end)
            break;
        loss->first = range->next;
        if (loss->first == NULL)
            loss->last = NULL;
        free_range(pcb, range);
    }
}

/* The receiver has [left, right). */
static void mark(struct mir__tcp_pcb *pcb, uint32_t left, uint32_t right,
                 const struct mir__tcp_segment *seg)
{
    struct mir__tcp_loss *loss = pcb->loss;
    for (struct mir__tcp_range *range = loss->first; range != NULL; range = range->next) {
        if (seq_ge(range->seq, right))
            break;
        if (seq_le(range->end, left) || (range->flags & MIR__TCP_R_SACKED))
            continue;
        if (seq_lt(range->seq, left)) {
            (void)split(pcb, range, left);
            continue; /* the next one is the second half, or it stays unknown */
        }
        if (seq_gt(range->end, right) && !split(pcb, range, right))
            break;
        delivered(loss, range, range->end - range->seq);
        mir__tcp_rack_delivered(pcb, range, range->end, seg);
        mir__tcp_board_flag(loss, range,
                            (uint8_t)((range->flags & MIR__TCP_R_AGAIN) | MIR__TCP_R_SACKED));
    }
}

/* RFC 2018 section 3, RFC 5961's care: inside what is outstanding, the right way round, and not at
 * its very beginning, which a receiver that has it would have acknowledged. */
static bool is_believable(const struct mir__tcp_pcb *pcb, uint32_t left, uint32_t right)
{
    return seq_gt(left, pcb->snd_una) && seq_lt(left, right) && seq_le(right, pcb->snd_max);
}

void mir__tcp_board_sack(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    struct mir__tcp_block block[MIR__TCP_SACK_BLOCKS];
    uint32_t count = 0;
    uint32_t before = pcb->loss->sacked;
    /* In rising order, or a block reported late would look like reordering. */
    for (uint32_t i = 0; i < seg->opt.sack_count; i++) {
        struct mir__tcp_block b = {seg->opt.sack[i].left, seg->opt.sack[i].right};
        if (!is_believable(pcb, b.left, b.right)) {
            if (seq_gt(b.right, pcb->snd_max) || seq_ge(b.left, b.right))
                MIR__TCP_COUNT(pcb->host, sack_blocks_invalid);
            continue;
        }
        uint32_t at = count++;
        for (; at > 0 && seq_gt(block[at - 1].left, b.left); at--)
            block[at] = block[at - 1];
        block[at] = b;
    }
    for (uint32_t i = 0; i < count; i++)
        mark(pcb, block[i].left, block[i].right, seg);
    if (pcb->loss->sacked != before)
        join(pcb);
}

void mir__tcp_board_all_lost(struct mir__tcp_pcb *pcb, bool forget)
{
    struct mir__tcp_loss *loss = pcb->loss;
    for (struct mir__tcp_range *range = loss->first; range != NULL; range = range->next)
        if (forget || !(range->flags & MIR__TCP_R_SACKED))
            mir__tcp_board_flag(loss, range,
                                (uint8_t)((range->flags & MIR__TCP_R_AGAIN) | MIR__TCP_R_LOST));
}

void mir__tcp_board_reneged(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_loss *loss = pcb->loss;
    MIR__TCP_COUNT(pcb->host, sack_reneged);
    for (struct mir__tcp_range *range = loss->first; range != NULL; range = range->next)
        if (range->flags & MIR__TCP_R_SACKED)
            mir__tcp_board_flag(loss, range,
                                (uint8_t)((range->flags & MIR__TCP_R_AGAIN) | MIR__TCP_R_LOST));
}

const struct mir__tcp_range *mir__tcp_board_next_lost(const struct mir__tcp_pcb *pcb)
{
    const struct mir__tcp_range *range = pcb->loss->lost > 0 ? pcb->loss->first : NULL;
    while (range != NULL && !(range->flags & MIR__TCP_R_LOST))
        range = range->next;
    return range;
}

void mir__tcp_board_drop(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_loss *loss = pcb->loss;
    while (loss->first != NULL) {
        struct mir__tcp_range *range = loss->first;
        loss->first = range->next;
        free_range(pcb, range);
    }
    loss->last = NULL;
    loss->sacked = loss->lost = loss->again = 0;
}

void mir__tcp_board_close(struct mir__tcp_pcb *pcb)
{
    if (pcb->loss == NULL)
        return;
    mir__tcp_board_drop(pcb);
    mir_pool_free(&pcb->host->losses, pcb->loss);
    pcb->loss = NULL;
    mir__tcp_timer_stop(pcb, MIR__TCP_T_LOSS);
}
