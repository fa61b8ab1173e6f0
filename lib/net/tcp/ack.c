/* SPDX-License-Identifier: ISC */
/* What an acknowledgment means: round-trip time, send queue, congestion window, and loss recovery
 * of peers without SACK (of others: recovery.c).
 *
 * NewReno (RFC 5681 section 3.2, RFC 6582):
 *
 *   duplicate 1, 2   limited transmit: one new segment each (RFC 3042; output.c adds it to cwnd)
 *   duplicate 3      retransmit snd_una; recover = snd_max; cwnd = ssthresh + 3 mss
 *   further ones     cwnd += mss: a segment has left the network
 *   partial ACK      snd_una < ACK < recover: the next hole; retransmit it, deflate cwnd by what
 * was acknowledged, restart the timer for the first one only ("impatient") full ACK recovery ends;
 * cwnd = about ssthresh, without a burst
 *
 * After a timeout `recover` is snd_max too, and three duplicates start no fast retransmit until it
 * is passed: they may be caused by our own unneeded retransmissions (section 3.2, step 1; the test
 * with cumulative acknowledgment "careful variant").
 *
 * A duplicate ACK is one without data, SYN, FIN, that acknowledges snd_una again while something is
 * outstanding, and does not change the window (RFC 5681 section 2).
 */
#include "lib/net/tcp/loss.h"

/* Nothing could be timed after retransmissions: the timeout stays as far backed off as it is until
 * new data tells the round trip (RFC 6298 section 5, last note). */
static void keep_backoff(struct mir__tcp_pcb *pcb)
{
    mir_time_us rto_us = (mir_time_us)pcb->rto_us << MIR_MIN(pcb->rexmt_count, (uint8_t)20);
    pcb->rto_us = (uint32_t)MIR_MIN(rto_us, MIR__TCP_RTO_MAX_US);
}

/* The answer to something that was there already (D-SACK): the timestamp in it is that of the last
 * news, and may be as old as the acknowledgments are that were lost. */
static bool answers_repeat(const struct mir__tcp_segment *seg)
{
    return seg->opt.sack_count > 0 && seq_le(seg->opt.sack[0].right, seg->hdr.ack);
}

static void take_rtt(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    if (pcb->is_timing && seq_ge(seg->hdr.ack, pcb->busy->rtt_seq)) {
        pcb->is_timing = false;
        mir_time_us rtt = seg->now_us - pcb->busy->rtt_start_us;
        mir__tcp_rtt_sample(pcb, (uint32_t)MIR_MIN(rtt, MIR__TCP_RTO_MAX_US));
    } else if (pcb->rexmt_count > 0 && pcb->has_ts && seg->opt.has_ts && seg->opt.tsecr != 0 &&
               pcb->snd_una != pcb->iss && !answers_repeat(seg)) {
        /* After retransmissions Karn leaves nothing to time; the echoed timestamp does not lie
         * about which transmission it answers (RFC 7323 section 4.1). */
        uint32_t rtt_ms = mir__tcp_tsval(pcb, seg->now_us) - seg->opt.tsecr;
        if (rtt_ms < MIR__TCP_RTO_MAX_US / MIR_US_PER_MS)
            /* At least the clock's step: zero would be the smallest round trip for ever. */
            mir__tcp_rtt_sample(pcb, MIR_MAX(rtt_ms, 1u) * (uint32_t)MIR_US_PER_MS);
    } else if (pcb->rexmt_count > 0 && !pcb->is_persist && pcb->snd_una != pcb->iss) {
        keep_backoff(pcb);
    }
}

/* A sample for each ACK, where timestamps allow: too coarse for srtt, what rounds of congestion
 * control look for. */
static void tell_rtt(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    if (pcb->cc->on_rtt == NULL || !pcb->has_ts || !seg->opt.has_ts || seg->opt.tsecr == 0)
        return;
    uint32_t rtt_ms = mir__tcp_tsval(pcb, seg->now_us) - seg->opt.tsecr;
    if (rtt_ms < MIR__TCP_RTO_MAX_US / MIR_US_PER_MS)
        pcb->cc->on_rtt(pcb, MIR_MAX(rtt_ms * (uint32_t)MIR_US_PER_MS, 1u));
}

static void recovery_ack(struct mir__tcp_pcb *pcb, uint32_t acked)
{
    if (seq_ge(pcb->snd_una, pcb->recover)) {
        pcb->in_recovery = false;
        pcb->dup_acks = 0;
        pcb->cc->on_recovered(pcb, flight_of(pcb));
        return;
    }
    MIR__TCP_COUNT(pcb->host, partial_acks);
    pcb->rexmt_first = true;
    pcb->cwnd -= MIR_MIN(acked, pcb->cwnd - MIR_MIN(pcb->cwnd, (uint32_t)pcb->mss));
    if (acked >= pcb->mss)
        pcb->cwnd += pcb->mss;
}

/* Take acknowledged bytes, and perhaps SYN and FIN, off the books. */
static void drop_acked(struct mir__tcp_pcb *pcb, uint32_t ack)
{
    uint32_t bytes = seq_gt(ack, pcb->snd_first) ? ack - pcb->snd_first : 0;
    bytes = MIR_MIN(bytes, pcb->busy->sendq.q.bytes);
    if (bytes > 0) {
        mir__tcp_sendq_drop(pcb, bytes);
        pcb->bytes_acked += bytes;
    }
    pcb->snd_una = ack;
    if (seq_lt(pcb->snd_nxt, ack))
        pcb->snd_nxt = ack;
    if (pcb->wants_write && (pcb->busy->sendq.q.bytes == 0 ||
                             mir__tcp_send_room_now(pcb) >= mir__tcp_snd_limit(pcb) / 4)) {
        pcb->wants_write = false;
        mir__tcp_raise(pcb, MIR_TCP_WRITABLE);
    }
}

/* Marks that were passed long ago follow: 2 GiB behind, they would look as if they lay ahead. */
static void keep_marks_near(struct mir__tcp_pcb *pcb)
{
    if (pcb->in_cwr && seq_gt(pcb->snd_una, pcb->recover))
        pcb->in_cwr = false;
    if (!pcb->in_recovery && seq_lt(pcb->recover, pcb->snd_una))
        pcb->recover = pcb->snd_una - 1;
    if (seq_lt(pcb->small_end, pcb->snd_una))
        pcb->small_end = pcb->snd_una;
}

/* The scoreboard goes when nothing is outstanding, unless news of a probe or of what was sent twice
 * may come. */
static void rest_board(struct mir__tcp_pcb *pcb)
{
    if (pcb->snd_una != pcb->snd_max || pcb->loss->has_probe || mir__tcp_undo_waits(pcb))
        mir__tcp_probe_schedule(pcb);
    else
        mir__tcp_board_close(pcb);
}

void mir__tcp_new_ack(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    uint32_t acked = seg->hdr.ack - pcb->snd_una;
    bool was_first_partial = pcb->in_recovery && !pcb->partial_seen;
    take_rtt(pcb, seg);
    tell_rtt(pcb, seg);
    drop_acked(pcb, seg->hdr.ack);
    keep_marks_near(pcb);
    pcb->rexmt_count = 0;
    pcb->soft_error = 0;
    pcb->busy->progress_us = seg->now_us;
    mir__ip_confirm(pcb->host->net, &pcb->busy->route);
    mir__tcp_rate_acked(pcb, acked, seg->now_us);
    if (pcb->loss != NULL) {
        mir__tcp_recovery_ack(pcb, seg, acked);
    } else if (pcb->in_recovery) {
        recovery_ack(pcb, acked);
    } else {
        pcb->dup_acks = 0;
        pcb->cc->on_ack(pcb, mir__tcp_growth(pcb, seg, acked));
    }
    if (pcb->snd_una == pcb->snd_max) {
        mir__tcp_timer_stop(pcb, MIR__TCP_T_REXMT);
        pcb->is_persist = false;
        pcb->is_cwnd_limited = false;
    } else if (pcb->loss != NULL || !pcb->in_recovery || was_first_partial) {
        pcb->partial_seen = pcb->in_recovery;
        mir__tcp_timer_rexmt(pcb);
    }
    if (pcb->loss != NULL)
        rest_board(pcb);
    mir__tcp_mark(pcb);
}

static void enter_recovery(struct mir__tcp_pcb *pcb)
{
    if (!pcb->in_cwr) /* once for a window */
        pcb->cc->on_loss(pcb, pcb->snd_max - pcb->snd_una);
    mir__tcp_ecn_reduced(pcb);
    pcb->cwnd = pcb->ssthresh + 3u * pcb->mss;
    pcb->recover = pcb->snd_max;
    pcb->in_recovery = true;
    pcb->partial_seen = false;
    pcb->rexmt_first = true;
    pcb->is_timing = false;
    pcb->fast_retransmits++;
    MIR__TCP_COUNT(pcb->host, fast_retransmits);
    mir__tcp_timer_rexmt(pcb);
}

static void duplicate_ack(struct mir__tcp_pcb *pcb)
{
    pcb->dup_acks_in++;
    MIR__TCP_COUNT(pcb->host, dup_acks_in);
    if (pcb->dup_acks < UINT8_MAX)
        pcb->dup_acks++;
    if (pcb->in_recovery)
        pcb->cwnd += pcb->mss;
    else if (pcb->dup_acks == 3 && (pcb->in_cwr || seq_gt(pcb->snd_una, pcb->recover)))
        enter_recovery(pcb);
    mir__tcp_mark(pcb);
}

static void window_changed(struct mir__tcp_pcb *pcb)
{
    if (pcb->is_persist && pcb->snd_wnd > 0) {
        pcb->is_persist = false;
        pcb->rexmt_count = 0;
        if (pcb->snd_una == pcb->snd_max)
            mir__tcp_timer_stop(pcb, MIR__TCP_T_REXMT);
        else
            mir__tcp_timer_rexmt(pcb); /* the probe's byte is on its way */
    }
    mir__tcp_mark(pcb);
}

/* SACK blocks of an ACK that acknowledges nothing new. */
static void take_sack(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    struct mir__tcp_block dsack;
    if (!pcb->has_sack ||
        (seg->opt.sack_count == 0 && (pcb->loss == NULL || !pcb->loss->has_probe)))
        return;
    if (pcb->loss == NULL) {
        (void)mir__tcp_rack_dsack(pcb, seg, &dsack);
        return;
    }
    mir__tcp_recovery_ack(pcb, seg, 0);
    rest_board(pcb);
}

bool mir__tcp_process_ack(struct mir__tcp_pcb *pcb, struct mir__tcp_segment *seg)
{
    uint32_t ack = seg->hdr.ack;
    /* RFC 5961 section 5.2: neither what we never sent nor what is older than any window. */
    if (seq_gt(ack, pcb->snd_max) || seq_lt(ack, pcb->snd_una - pcb->max_snd_wnd)) {
        MIR__TCP_COUNT(pcb->host, drop_bad_ack);
        mir__tcp_challenge(pcb);
        return false;
    }
    if (seq_lt(ack, pcb->snd_una)) {
        take_sack(pcb, seg);
        return true;
    }
    bool is_same_wnd = (uint32_t)seg->hdr.wnd << pcb->snd_wscale == pcb->snd_wnd;
    bool is_new = seq_gt(ack, pcb->snd_una);
    if (is_new)
        mir__tcp_new_ack(pcb, seg);
    bool is_changed = mir__tcp_window_take(pcb, seg);
    if (is_changed || pcb->is_persist)
        window_changed(pcb);
    if (!is_new)
        take_sack(pcb, seg);
    if (pcb->loss == NULL && !is_new && seg->len == 0 && !(seg->hdr.flags & MIR__TCP_FIN) &&
        pcb->snd_una != pcb->snd_max && !pcb->is_persist && is_same_wnd)
        duplicate_ack(pcb);
    return true;
}
