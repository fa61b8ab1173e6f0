/* SPDX-License-Identifier: ISC */
/* What a connection can tell about itself: struct mir_tcp_info, in the shape of Linux's tcp_info.
 *
 * Everything but two figures is a field of the connection already. The two are measured here:
 *
 *   delivery rate   bytes acknowledged in the last round trip, by the time between the ACK that
 *                   ended it and the one before; a pause of the sender begins a new round
 *   busy time       milliseconds in which something was in flight
 */
#include "lib/net/tcp/loss.h"

void mir__tcp_rate_begin(struct mir__tcp_pcb *pcb, mir_time_us now_us)
{
    struct mir__tcp_rate *rate = &pcb->busy->rate;
    rate->busy_us = now_us;
    rate->round_us = now_us;
    rate->round_end = pcb->snd_max + 1;
    rate->acked = 0;
}

void mir__tcp_rate_acked(struct mir__tcp_pcb *pcb, uint32_t acked, mir_time_us now_us)
{
    struct mir__tcp_rate *rate = &pcb->busy->rate;
    if (rate->busy_us == 0)
        return; /* a SYN */
    rate->acked += acked;
    if (pcb->snd_una == pcb->snd_max)
        pcb->busy_ms += (uint32_t)((now_us - rate->busy_us) / MIR_US_PER_MS);
    if (seq_lt(pcb->snd_una, rate->round_end) || now_us <= rate->round_us)
        return;
    rate->bytes_per_s = rate->acked * MIR_US_PER_S / (now_us - rate->round_us);
    rate->round_us = now_us;
    rate->round_end = pcb->snd_max;
    rate->acked = 0;
}

static void tell_loss(const struct mir__tcp_pcb *pcb, struct mir_tcp_info *info)
{
    const struct mir__tcp_loss *loss = pcb->loss;
    info->reordering_seen = pcb->reordering_seen;
    info->in_recovery = pcb->in_recovery;
    if (loss == NULL)
        return;
    info->sacked_bytes = loss->sacked;
    info->lost_bytes = loss->lost;
    /* Sent again and neither SACKed nor taken for lost again. */
    for (const struct mir__tcp_range *range = loss->first; range != NULL; range = range->next)
        if (range->flags == MIR__TCP_R_AGAIN)
            info->retrans_out_bytes += range->end - range->seq;
}

static void tell_queues(const struct mir__tcp_pcb *pcb, struct mir_tcp_info *info)
{
    const struct mir__tcp_busy *busy = pcb->busy;
    uint32_t end = sendq_end(pcb);
    info->send_queue_bytes = busy->sendq.q.bytes;
    info->recv_queue_bytes = busy->recvq.q.bytes;
    info->early_bytes = busy->reass.bytes;
    info->notsent_bytes =
        is_synchronized(pcb) && seq_gt(end, pcb->snd_max) ? end - pcb->snd_max : 0;
    info->sndbuf_bytes = mir__tcp_snd_limit(pcb);
    info->rcvbuf_bytes = mir__tcp_rcv_limit(pcb);
    info->rcv_rtt_us = busy->tune.round_us;
    info->rcv_space_bytes = busy->tune.most;
    info->pacing_rate_bytes = mir__tcp_pace_rate(pcb);
    info->delivery_rate_bytes = busy->rate.bytes_per_s;
}

void mir__tcp_info(const struct mir_tcp *tcp, struct mir_tcp_info *info)
{
    const struct mir__tcp_pcb *pcb = (const struct mir__tcp_pcb *)(const void *)tcp;
    mir_time_us now_us = now_of(pcb->host);
    *info = (struct mir_tcp_info){
        .state = pcb->state,
        .mss = pcb->mss,
        .rcv_mss = pcb->rcv_mss,
        .adv_mss = pcb->adv_mss,
        .backoffs = pcb->rexmt_count,
        .srtt_us = pcb->srtt_us,
        .rttvar_us = pcb->rttvar_us,
        .rto_us = pcb->rto_us,
        .min_rtt_us = pcb->min_rtt_us,
        .cwnd_bytes = pcb->cwnd,
        .ssthresh_bytes = pcb->ssthresh,
        .flight_bytes = flight_of(pcb),
        .snd_wnd_bytes = pcb->snd_wnd,
        .rcv_wnd_bytes = mir__tcp_rcv_wnd(pcb),
        .bytes_sent = pcb->bytes_sent,
        .bytes_acked = pcb->bytes_acked,
        .bytes_received = pcb->bytes_received,
        .segs_out = pcb->segs_out,
        .segs_in = pcb->segs_in,
        .retransmits = pcb->retransmits,
        .timeouts = pcb->timeouts,
        .fast_retransmits = pcb->fast_retransmits,
        .dup_acks_in = pcb->dup_acks_in,
        .busy_ms = pcb->busy_ms,
        .last_received_ms = (uint32_t)((now_us - pcb->received_us) / MIR_US_PER_MS),
        .snd_wscale = pcb->snd_wscale,
        .rcv_wscale = pcb->node.rcv_wscale,
        .timestamps = pcb->has_ts,
        .sack = pcb->has_sack,
        .ecn = pcb->has_ecn,
        .congestion = pcb->cc->name,
    };
    tell_queues(pcb, info);
    tell_loss(pcb, info);
}
