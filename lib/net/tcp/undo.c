/* SPDX-License-Identifier: ISC */
/* Taking back a reaction to a loss that was none: a delay spike, or packets that overtook others.
 *
 * What a reduction changes is kept with the scoreboard before it changes: cwnd, ssthresh and all
 * the congestion control remembers. Three kinds of proof bring it back:
 *
 *   Eifel     the first ACK of something new after a retransmission echoes a timestamp from before
 *             it: the original transmission had arrived (RFC 3522)
 *   F-RTO     without timestamps, after a timeout: the first ACK of something new is answered with
 *             two new segments instead of retransmissions; if the next one acknowledges data that
 *             was sent only once, the originals are still arriving (RFC 5682 section 3.1)
 *   D-SACK    everything that was sent again was reported as received twice (RFC 2883, RFC 3708)
 *
 *   begin            first retransmission          first new ACK                 a window later
 *   |- cwnd saved ---|- stamp, resent counted -----|- Eifel, F-RTO --- D-SACK ----|- forgotten
 *
 * Response (RFC 4015): after a timeout what was taken for lost counts as in flight again, ssthresh
 * is what was in flight before, cwnd what is in flight now and as much as the ACK released (at most
 * an initial window), so that no burst follows; slow start makes up the rest in a round trip. After
 * fast recovery, where the ACK clock never stopped, cwnd is what it was. The back-off of the timer
 * ends with any new ACK (ack.c); the long round trip enters the estimate as any other sample does,
 * which raises the timeout by itself; RFC 4015 section 3.4 would raise it more.
 *
 * A congestion mark (ECN) in the same window is a reason to reduce that stays: nothing is taken
 * back. Recovery without a scoreboard has nothing of this.
 */
#include "lib/net/tcp/loss.h"

void mir__tcp_undo_begin(struct mir__tcp_pcb *pcb, bool is_timeout)
{
    struct mir__tcp_loss *loss = pcb->loss;
    if (loss == NULL)
        return;
    struct mir__tcp_undo *u = &loss->undo;
    bool is_same = pcb->in_recovery || loss->in_timeout;
    bool may_test = is_timeout && !pcb->has_ts && pcb->rexmt_count <= 1 &&
                    (!loss->in_timeout || seq_ge(pcb->snd_una, pcb->recover));
    if (is_same) {
        /* The same trouble goes on: what was before its beginning counts. */
        u->is_timeout |= is_timeout;
    } else {
        *u = (struct mir__tcp_undo){
            .cwnd = pcb->cwnd,
            .ssthresh = pcb->ssthresh,
            .flight = mir__tcp_pipe(pcb),
            .una = pcb->snd_una,
            .is_open = !pcb->in_cwr,
            .is_timeout = is_timeout,
        };
        mir_memcpy(u->cc_state, &pcb->busy->cc_state, sizeof pcb->busy->cc_state);
    }
    u->frto = may_test && u->is_open ? MIR__TCP_FRTO_WAIT : MIR__TCP_FRTO_OFF;
}

void mir__tcp_undo_resent(struct mir__tcp_pcb *pcb, uint32_t bytes)
{
    struct mir__tcp_undo *u = &pcb->loss->undo;
    if (!u->is_open)
        return;
    if (!u->has_stamp) {
        u->has_stamp = true;
        u->stamp = mir__tcp_tsval(pcb, now_of(pcb->host));
    }
    u->resent += bytes;
}

void mir__tcp_undo_settled(struct mir__tcp_pcb *pcb)
{
    pcb->loss->undo.until = pcb->snd_max;
    pcb->loss->undo.is_settled = true;
    pcb->loss->undo.frto = MIR__TCP_FRTO_OFF;
}

void mir__tcp_undo_forget(struct mir__tcp_pcb *pcb)
{
    if (pcb->loss != NULL) {
        pcb->loss->undo.is_open = false;
        pcb->loss->undo.frto = MIR__TCP_FRTO_OFF;
    }
}

bool mir__tcp_undo_waits(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_undo *u = &pcb->loss->undo;
    if (u->is_settled && seq_gt(pcb->snd_una, u->until))
        u->is_open = false;
    return u->is_open && u->resent > 0;
}

/* It was no loss. @acked bytes are acknowledged now. */
static void undo(struct mir__tcp_pcb *pcb, uint32_t acked)
{
    struct mir__tcp_loss *loss = pcb->loss;
    struct mir__tcp_undo *u = &loss->undo;
    for (struct mir__tcp_range *range = loss->first; range != NULL; range = range->next)
        if (range->flags & MIR__TCP_R_LOST)
            mir__tcp_board_flag(loss, range, (uint8_t)(range->flags & ~MIR__TCP_R_LOST));
    uint32_t cwnd = u->cwnd;
    uint32_t ssthresh = u->ssthresh;
    if (u->is_timeout) {
        uint32_t release = MIR_MIN(acked, mir__tcp_initial_window(pcb));
        cwnd = MIR_MIN(cwnd, mir__tcp_pipe(pcb) + MIR_MAX(release, 2u * pcb->mss));
        ssthresh = MIR_MAX(ssthresh, u->flight);
        MIR__TCP_COUNT(pcb->host, spurious_timeouts);
    } else {
        pcb->reordering_seen = true;
        MIR__TCP_COUNT(pcb->host, spurious_recoveries);
    }
    pcb->cwnd = MIR_MAX(pcb->cwnd, cwnd);
    pcb->ssthresh = MIR_MAX(pcb->ssthresh, ssthresh);
    mir_memcpy(&pcb->busy->cc_state, u->cc_state, sizeof pcb->busy->cc_state);
    pcb->cc_acked = 0;
    pcb->in_recovery = false;
    pcb->recover = pcb->snd_una - 1; /* nothing was reduced: a mark in this window counts */
    loss->in_timeout = false;
    loss->is_reordering = false;
    u->is_open = false;
    u->frto = MIR__TCP_FRTO_OFF;
    mir__tcp_timer_stop(pcb, MIR__TCP_T_LOSS);
    mir__tcp_timer_rexmt(pcb);
}

/* Steps 2 and 3 of RFC 5682 section 3.1. */
static bool test_timeout(struct mir__tcp_pcb *pcb, uint32_t acked)
{
    struct mir__tcp_loss *loss = pcb->loss;
    struct mir__tcp_undo *u = &loss->undo;
    if (u->frto == MIR__TCP_FRTO_WAIT) {
        uint32_t ahead = pcb->snd_max - pcb->snd_una;
        /* A whole segment, which nothing but the window holds back. */
        bool has_new =
            seq_ge(sendq_end(pcb), pcb->snd_max + pcb->mss) && pcb->snd_wnd >= ahead + pcb->mss;
        if (acked == 0)
            return false;
        u->frto = MIR__TCP_FRTO_OFF;
        /* Holes that SACK shows are better filled now than tested. */
        if (seq_lt(pcb->snd_una, pcb->recover) && has_new && loss->sacked == 0) {
            u->frto = MIR__TCP_FRTO_NEW;
            u->point = pcb->snd_max;
        }
        return false;
    }
    if (loss->delivered == 0)
        return false;
    u->frto = MIR__TCP_FRTO_OFF;
    return loss->delivered_once > 0 && seq_le(loss->fack, u->point);
}

bool mir__tcp_undo_ack(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg, uint32_t acked)
{
    struct mir__tcp_loss *loss = pcb->loss;
    struct mir__tcp_undo *u = &loss->undo;
    bool is_spurious = false;
    if (!u->is_open || !(pcb->in_recovery || loss->in_timeout))
        return false;
    if (u->frto != MIR__TCP_FRTO_OFF)
        is_spurious = test_timeout(pcb, acked);
    if (acked > 0 && !u->is_answered) {
        u->is_answered = true;
        /* In fast recovery one late segment proves nothing of another one. */
        bool is_whole = loss->in_timeout || loss->lost + loss->again == 0;
        bool has_echo = pcb->has_ts && seg->opt.has_ts && seg->opt.tsecr != 0;
        is_spurious |= is_whole && has_echo && (!u->has_stamp || seq_lt(seg->opt.tsecr, u->stamp));
    }
    if (is_spurious)
        undo(pcb, acked);
    return is_spurious;
}

void mir__tcp_undo_dsack(struct mir__tcp_pcb *pcb, const struct mir__tcp_block *block)
{
    struct mir__tcp_undo *u = &pcb->loss->undo;
    if (!mir__tcp_undo_waits(pcb) || seq_lt(block->left, u->una))
        return;
    u->resent -= MIR_MIN(u->resent, block->right - block->left);
    if (u->resent == 0)
        undo(pcb, 0);
}
