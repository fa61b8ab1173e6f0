/* SPDX-License-Identifier: ISC */
/* RACK-TLP (RFC 8985): losses are found by time, and lost tails by a probe.
 *
 * RACK: what was sent before something that has been delivered, and is still missing a reordering
 * window after a round trip, is lost. The window is
 *
 *   0                              no reordering was ever seen, and three segments are SACKed (the
 *                                  duplicate threshold of RFC 5681, 6675) or we are in recovery
 *   mult x min RTT / 4, <= SRTT    else; mult grows with every round that brought a D-SACK, that is
 *                                  a retransmission nobody needed, and falls back to 1 after 16
 *                                  recoveries without
 *
 * Retransmissions have times too, so a lost one is found like any other loss. Delivery of data that
 * was sent twice is believed to answer the second transmission only if timestamps do not say
 * otherwise and the round trip would not be shorter than any.
 *
 * TLP: when the end of a flight is lost nothing follows that could tell. Two round trips after the
 * last news, and not later than the retransmission timer, one segment is sent: a new one if there
 * is, else the last one again. Its SACK starts RACK. If the probe itself repaired the loss, the
 * congestion control is told; if it was answered by a D-SACK, nothing had been lost. When its time
 * is over the devices are looked at once more before it is sent: on a busy host it is often us who
 * were late, not the acknowledgment.
 *
 * Both share the deadline MIR__TCP_T_LOSS: a probe is scheduled only while nothing is SACKed, the
 * reordering window is waited for only while something is.
 */
#include "lib/net/tcp/loss.h"

#define REO_PERSIST 16u

/* RACK_sent_after() of RFC 8985 section 5.2 */
static bool sent_after(mir_time_us a_us, uint32_t a_end, mir_time_us b_us, uint32_t b_end)
{
    return a_us > b_us || (a_us == b_us && seq_gt(a_end, b_end));
}

void mir__tcp_rack_delivered(struct mir__tcp_pcb *pcb, const struct mir__tcp_range *range,
                             uint32_t end, const struct mir__tcp_segment *seg)
{
    struct mir__tcp_loss *loss = pcb->loss;
    bool is_again = (range->flags & MIR__TCP_R_AGAIN) != 0;
    mir_time_us rtt = seg->now_us - range->sent_us;
    uint32_t rtt_us = (uint32_t)MIR_MIN(rtt, MIR__TCP_RTO_MAX_US);
    /* Section 6.2 step 3 */
    if (seq_gt(end, loss->fack)) {
        loss->fack = end;
    } else if (seq_lt(end, loss->fack) && !is_again) {
        MIR__TCP_COUNT(pcb->host, reordering_in);
        pcb->reordering_seen = true;
    }
    /* Step 2 */
    if (is_again && pcb->has_ts && seg->opt.has_ts &&
        seq_lt(seg->opt.tsecr, mir__tcp_tsval(pcb, range->sent_us)))
        return;
    if (is_again && rtt_us < pcb->min_rtt_us)
        return;
    if (!loss->has_rack || sent_after(range->sent_us, end, loss->rack_sent_us, loss->rack_end)) {
        loss->has_rack = true;
        loss->rack_sent_us = range->sent_us;
        loss->rack_end = end;
        loss->rack_is_again = is_again;
        loss->rack_rtt_us = rtt_us;
    }
}

/* RACK_update_reo_wnd(), its second half */
static uint32_t reordering_window_us(const struct mir__tcp_pcb *pcb)
{
    bool is_sure = pcb->in_recovery || pcb->loss->in_timeout || pcb->loss->sacked > 2u * pcb->mss;
    if (!pcb->reordering_seen && is_sure)
        return 0;
    uint64_t wnd_us = (uint64_t)(pcb->reo_extra + 1u) * pcb->min_rtt_us / 4;
    return (uint32_t)MIR_MIN(wnd_us, (uint64_t)pcb->srtt_us);
}

uint32_t mir__tcp_rack_detect(struct mir__tcp_pcb *pcb, mir_time_us now_us)
{
    struct mir__tcp_loss *loss = pcb->loss;
    uint32_t lost = loss->lost;
    mir_time_us wait_us = 0;
    if (!loss->has_rack || (loss->sacked == 0 && loss->again == 0 && !loss->is_reordering))
        return 0;
    mir_time_us patience_us = loss->rack_rtt_us + reordering_window_us(pcb);
    for (struct mir__tcp_range *range = loss->first; range != NULL; range = range->next) {
        if ((range->flags & (MIR__TCP_R_SACKED | MIR__TCP_R_LOST)) != 0 ||
            !sent_after(loss->rack_sent_us, loss->rack_end, range->sent_us, range->end))
            continue;
        /* What arrived was sent before recovery began, this one since, though in the same
         * microsecond and whatever the numbers say: on a wire without delay each ACK would lose it
         * again. */
        if ((range->flags & MIR__TCP_R_AGAIN) && range->sent_us == loss->rack_sent_us &&
            pcb->in_recovery && !loss->rack_is_again && seq_le(loss->rack_end, pcb->recover))
            continue;
        if (range->sent_us + patience_us <= now_us)
            mir__tcp_board_flag(loss, range, (uint8_t)(range->flags | MIR__TCP_R_LOST));
        else
            wait_us = MIR_MAX(wait_us, range->sent_us + patience_us - now_us);
    }
    if (wait_us > 0) {
        loss->is_reordering = true;
        mir__tcp_timer_set(pcb, MIR__TCP_T_LOSS, now_us + wait_us);
    } else if (loss->is_reordering) {
        loss->is_reordering = false;
        mir__tcp_timer_stop(pcb, MIR__TCP_T_LOSS);
    }
    return loss->lost - lost;
}

bool mir__tcp_rack_dsack(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg,
                         struct mir__tcp_block *block)
{
    struct mir__tcp_loss *loss = pcb->loss;
    if (seg->opt.sack_count == 0 || pcb->retransmits == 0)
        return false;
    uint32_t left = seg->opt.sack[0].left;
    uint32_t right = seg->opt.sack[0].right;
    bool is_below = seq_le(right, seg->hdr.ack);
    bool is_inside = seg->opt.sack_count > 1 && seq_ge(left, seg->opt.sack[1].left) &&
                     seq_le(right, seg->opt.sack[1].right);
    /* Who has the first missing byte, twice even, would have acknowledged it. Believing it would
     * take back the repair of that byte, which is lost again at once: without end. */
    bool is_odd = seq_le(left, pcb->snd_una) && seq_gt(right, pcb->snd_una);
    if (!(is_below || is_inside) || is_odd || seq_ge(left, right) || seq_gt(right, pcb->snd_max) ||
        seq_lt(left, pcb->snd_una - MIR_MAX(pcb->max_snd_wnd, 65535u)))
        return false;
    MIR__TCP_COUNT(pcb->host, dsacks_in);
    *block = (struct mir__tcp_block){left, right};
    if (loss != NULL && loss->has_round && seq_lt(pcb->snd_una, loss->dsack_round))
        return true;
    /* Nothing is in flight that could mark a round: once between two recoveries. */
    if (loss == NULL && pcb->reo_persist == REO_PERSIST)
        return true;
    if (loss != NULL) {
        loss->has_round = true;
        loss->dsack_round = pcb->snd_max;
    }
    pcb->reo_extra = (uint8_t)MIR_MIN(pcb->reo_extra + 1u, MIR__TCP_REO_MULT_MAX - 1u);
    pcb->reo_persist = REO_PERSIST;
    return true;
}

void mir__tcp_rack_recovered(struct mir__tcp_pcb *pcb)
{
    if (pcb->reo_persist > 0 && --pcb->reo_persist == 0)
        pcb->reo_extra = 0;
}

/* ---- tail loss probe ------------------------------------------------------------------------- */

void mir__tcp_probe_schedule(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_loss *loss = pcb->loss;
    if (loss->is_reordering)
        return;
    loss->probe_waits = false;
    if (!is_synchronized(pcb) || loss->sacked > 0 || loss->lost > 0 || loss->in_timeout ||
        pcb->in_recovery || loss->has_probe || pcb->is_persist || loss->first == NULL ||
        !mir__tcp_timer_runs(pcb, MIR__TCP_T_REXMT)) {
        mir__tcp_timer_stop(pcb, MIR__TCP_T_LOSS);
        return;
    }
    mir_time_us after_us = pcb->srtt_us != 0 ? 2 * (mir_time_us)pcb->srtt_us : MIR_US_PER_S;
    after_us = MIR_MAX(after_us, MIR__TCP_PROBE_MIN_US);
    if (pcb->snd_max - pcb->snd_una <= pcb->mss)
        after_us += MIR__TCP_PEER_DELAY_US;
    mir_time_us at_us = now_of(pcb->host) + after_us;
    mir__tcp_timer_set(pcb, MIR__TCP_T_LOSS,
                       MIR_MIN(at_us, mir__tcp_deadline(pcb, MIR__TCP_T_REXMT)));
}

/* Section 7.4.2 */
void mir__tcp_probe_acked(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg,
                          const struct mir__tcp_block *dsack)
{
    struct mir__tcp_loss *loss = pcb->loss;
    uint32_t ack = seg->hdr.ack;
    if (!loss->has_probe || seq_lt(ack, loss->probe_end))
        return;
    if (!loss->probe_is_again) {
        loss->has_probe = false;
    } else if (dsack != NULL && seq_ge(dsack->right + 1, loss->probe_end)) {
        loss->has_probe = false; /* both arrived: nothing was lost */
    } else if (seq_gt(ack, loss->probe_end)) {
        loss->has_probe = false;
        MIR__TCP_COUNT(pcb->host, probes_repaired);
        if (!pcb->in_recovery && !loss->in_timeout)
            pcb->cc->on_loss(pcb, pcb->snd_max - pcb->snd_una);
    } else if (ack == pcb->snd_una && loss->delivered == 0 && seg->len == 0 &&
               seg->opt.sack_count == 0) {
        loss->has_probe = false; /* a duplicate ACK of a peer without D-SACK */
    }
}
