/* SPDX-License-Identifier: ISC */
/* Recovery with a scoreboard: what news and timers do to the window, the state and the timers.
 *
 *   open        nothing is lost; output sends while pipe < cwnd, which is limited transmit too
 *   recovery    RACK found a loss: ssthresh by the congestion control, once for all that was
 *               outstanding then (`recover`); cwnd follows PRR; ends when `recover` is acknowledged
 *   timeout     RTO: all that is not SACKed is lost; slow start from one segment; what proves
 *               to have arrived after all is not sent again; further losses only count as lost
 *
 * PRR (RFC 9937): while pipe is above ssthresh, as much is sent per byte delivered as brings pipe
 * down to ssthresh in one round trip; below it, the window grows back by what is delivered, and by
 * one segment more (slow start reduction bound) where the ACK moved snd_una and showed no new loss.
 * Delivered counts from the ACK that began recovery; what had been SACKed before is in neither sum.
 *
 * What is sent next is decided in output.c: the first lost range, else new data, while pipe leaves
 * room under cwnd. snd_nxt does not go back while there is a scoreboard.
 */
#include "lib/net/tcp/loss.h"

/* RFC 9937 section 6.2. @is_safe: something new was acknowledged and no new loss showed. */
static void reduce(struct mir__tcp_pcb *pcb, bool is_safe, bool is_first)
{
    struct mir__tcp_loss *loss = pcb->loss;
    uint32_t pipe = mir__tcp_pipe(pcb);
    uint32_t ahead = loss->prr_delivered > loss->prr_out ? loss->prr_delivered - loss->prr_out : 0;
    uint32_t may_send;
    if (pipe > pcb->ssthresh) {
        uint64_t share = (uint64_t)loss->prr_delivered * pcb->ssthresh;
        share = (share + loss->prr_flight - 1) / loss->prr_flight;
        may_send = share > loss->prr_out ? (uint32_t)(share - loss->prr_out) : 0;
    } else {
        uint32_t limit = MIR_MAX(ahead, loss->delivered) + (is_safe ? pcb->mss : 0);
        may_send = MIR_MIN(pcb->ssthresh - pipe, limit);
    }
    if (is_first)
        may_send = MIR_MAX(may_send, pcb->mss); /* the retransmission itself */
    pcb->cwnd = MIR_MAX(pipe + may_send, (uint32_t)pcb->mss);
}

static void enter(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_loss *loss = pcb->loss;
    uint32_t flight = pcb->snd_max - pcb->snd_una;
    mir__tcp_undo_begin(pcb, false);
    /* Waiting for the reordering window sends more than limited transmit would: that does not
     * count. */
    if (!pcb->in_cwr) /* once for a window */
        pcb->cc->on_loss(pcb, MIR_MIN(flight, pcb->cwnd + 3u * pcb->mss));
    mir__tcp_ecn_reduced(pcb);
    pcb->recover = pcb->snd_max;
    pcb->in_recovery = true;
    pcb->is_timing = false;
    pcb->fast_retransmits++;
    MIR__TCP_COUNT(pcb->host, fast_retransmits);
    loss->prr_delivered = loss->delivered;
    loss->prr_out = 0;
    loss->prr_flight = MIR_MAX(flight - loss->sacked + loss->delivered, 1u);
    loss->has_probe = false;
    mir__tcp_timer_rexmt(pcb);
    reduce(pcb, false, true); /* not safe: a loss is what began it */
}

/* `recover` is acknowledged. */
static void leave(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_loss *loss = pcb->loss;
    if (pcb->in_recovery)
        /* PRR has brought pipe there already: no burst can follow. */
        pcb->cc->on_recovered(pcb, MIR_MAX(mir__tcp_pipe(pcb), pcb->ssthresh));
    pcb->in_recovery = false;
    loss->in_timeout = false;
    mir__tcp_undo_settled(pcb);
    mir__tcp_rack_recovered(pcb);
}

/* Look for losses and act on them; @has_advanced: snd_una has moved. */
static void look_for_losses(struct mir__tcp_pcb *pcb, mir_time_us now_us, bool has_advanced)
{
    struct mir__tcp_loss *loss = pcb->loss;
    uint32_t lost = mir__tcp_rack_detect(pcb, now_us);
    if (lost > 0) {
        MIR__TCP_COUNT(pcb->host, rack_losses);
        pcb->is_timing = false;
    }
    if (pcb->in_recovery) {
        loss->prr_delivered += loss->delivered;
        if (lost > 0 || loss->delivered > 0)
            reduce(pcb, has_advanced && lost == 0, false);
    } else if (lost > 0 && !loss->in_timeout && !mir__tcp_path_lost(pcb)) {
        enter(pcb);
    }
}

/* The first missing byte was SACKed: a receiver that has it would have acknowledged it. */
static bool has_reneged(const struct mir__tcp_loss *loss)
{
    return loss->first != NULL && (loss->first->flags & MIR__TCP_R_SACKED) != 0;
}

/* The flight is acknowledged whole and nothing was ever unusual about it: the end of most of them.
 */
static bool is_plain(const struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    const struct mir__tcp_loss *loss = pcb->loss;
    return pcb->snd_una == pcb->snd_max && seg->opt.sack_count == 0 && !pcb->in_recovery &&
           !loss->in_timeout && !loss->has_probe && !loss->undo.is_open && !loss->has_mtu_probe &&
           loss->first != NULL && loss->sacked + loss->lost + loss->again == 0;
}

void mir__tcp_recovery_ack(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg,
                           uint32_t acked)
{
    struct mir__tcp_loss *loss = pcb->loss;
    struct mir__tcp_block dsack;
    if (is_plain(pcb, seg)) {
        pcb->cc->on_ack(pcb, mir__tcp_growth(pcb, seg, acked));
        mir__tcp_board_drop(pcb);
        return;
    }
    bool was_recovering = pcb->in_recovery;
    bool has_dsack = false;
    loss->delivered = 0;
    loss->delivered_once = 0;
    mir__tcp_board_acked(pcb, seg);
    mir__tcp_path_acked(pcb);
    if (seg->opt.sack_count > 0) {
        has_dsack = mir__tcp_rack_dsack(pcb, seg, &dsack);
        mir__tcp_board_sack(pcb, seg);
    }
    if (has_dsack)
        mir__tcp_undo_dsack(pcb, &dsack);
    if (mir__tcp_undo_ack(pcb, seg, acked))
        was_recovering = true; /* the window is right already */
    if (loss->has_probe)
        mir__tcp_probe_acked(pcb, seg, has_dsack ? &dsack : NULL);
    if (acked == 0 && loss->delivered > 0) {
        pcb->dup_acks_in++;
        MIR__TCP_COUNT(pcb->host, dup_acks_in);
    }
    if ((pcb->in_recovery || loss->in_timeout) && seq_ge(pcb->snd_una, pcb->recover))
        leave(pcb);
    if (acked > 0 && !was_recovering)
        pcb->cc->on_ack(pcb, mir__tcp_growth(pcb, seg, acked));
    if (acked > 0 && pcb->in_recovery)
        MIR__TCP_COUNT(pcb->host, partial_acks);
    if (acked > 0 && has_reneged(loss)) {
        mir__tcp_board_reneged(pcb);
        if (!pcb->in_recovery && !loss->in_timeout)
            enter(pcb);
    }
    look_for_losses(pcb, seg->now_us, acked > 0);
    mir__tcp_mark(pcb);
}

void mir__tcp_recovery_timeout(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_loss *loss = pcb->loss;
    mir__tcp_board_all_lost(pcb, pcb->rexmt_count > 1);
    loss->in_timeout = true;
    loss->fack = pcb->snd_una; /* what is SACKed a second time was not overtaken */
    loss->has_probe = false;
    loss->probe_due = false;
    loss->probe_waits = false;
    loss->is_reordering = false;
    mir__tcp_timer_stop(pcb, MIR__TCP_T_LOSS);
}

void mir__tcp_recovery_timer(struct mir__tcp_pcb *pcb, mir_time_us now_us)
{
    struct mir__tcp_loss *loss = pcb->loss;
    if (loss == NULL || pcb->is_persist)
        return;
    if (loss->is_reordering) {
        loss->delivered = 0;
        look_for_losses(pcb, now_us, false);
    } else if (loss->sacked == 0 && loss->lost == 0 && loss->first != NULL && !loss->has_probe) {
        mir__tcp_timer_rexmt(pcb); /* the probe comes first, whichever was due first */
        if (!loss->probe_waits) {
            /* Perhaps it is us who slept, and the acknowledgment is at the device already. */
            loss->probe_waits = true;
            mir__tcp_timer_set(pcb, MIR__TCP_T_LOSS, now_us + 1);
            return;
        }
        loss->probe_waits = false;
        loss->probe_due = true;
    }
    mir__tcp_mark(pcb);
}
