/* SPDX-License-Identifier: ISC */
/* Which segments leave, and when.
 *
 * Theory of operation. Nobody sends a segment where the reason for it arises. Writes, reads, timers
 * and received segments only mark the connection; the flush at the end of a device's batch, or of
 * the ready work, calls mir__tcp_output(), which looks at the state and sends what it asks for. So
 * ten writes become one segment, an ACK rides on the answer, and a batch of fifty segments is
 * acknowledged once. The exceptions answer at once: duplicate and challenge ACKs, whose number
 * matters to the peer, probes and resets.
 *
 *   sent = min(snd_wnd, cwnd) - (snd_nxt - snd_una)      what may be sent now (RFC 5681
 * section 3.1)
 *
 * A segment takes up to mss bytes, or many times that where the device segments (route.gso_max). A
 * segment below mss goes out only if (RFC 9293 sections 3.7.4, 3.8.6.2.1)
 *   - it ends the queue, and the application wants no delay, or no other small segment is in flight
 *     (Nagle's rule as Minshall put it: a full segment in flight does not hold back the tail), or
 *   - it ends the stream, or is sent again, or fills half of the largest window the peer offered.
 * What stays behind with nothing in flight is watched by the persist timer.
 *
 * After a timeout snd_nxt returns to snd_una and the queue is sent again from there, at the pace of
 * slow start; snd_max remembers how far we had been. Fast retransmit sends one segment at snd_una
 * and leaves snd_nxt alone (ack.c).
 *
 * With SACK a scoreboard knows what is where (loss.h). Then pipe takes the place of snd_nxt -
 * snd_una under cwnd, what is lost is sent before anything new, and snd_nxt stays at snd_max.
 *
 * Payload is referenced, not copied: a segment is a buffer with headers in its linear part and
 * sub-views of the send queue. When the device is full the connection waits in host->blocked, first
 * come first served, until mir__tcp_tx_ready() takes it up again: nothing of it was sent or
 * dropped, so no window changes. A timeout meanwhile says nothing about the network and takes no
 * window either (timer.c).
 */
#include "lib/net/tcp/loss.h"

#define ADDRESS_WAIT_US (5 * MIR_US_PER_S)

static struct mir__ip_params ip_params_of(const struct mir__tcp_pcb *pcb)
{
    return (struct mir__ip_params){
        .src = &pcb->node.local,
        .dst = &pcb->node.remote,
        .protocol = MIR__PROTO_TCP,
        .flow_label = pcb->node.hash, /* RFC 6437 section 3: of the five-tuple, not to be guessed */
        /* A path MTU below the floor is not believed: let routers fragment instead. */
        .dont_fragment =
            pcb->busy->route.mtu > MIR__TCP_PMTU_MIN && pcb->path_mtu != MIR__TCP_PMTU_MIN,
    };
}

#define ECT_0 2u /* RFC 3168 section 5 */

static uint32_t header_len(const struct mir__tcp_pcb *pcb)
{
    return MIR__TCP_HEADER_BYTES + (pcb->has_ts ? MIR__TCP_TS_BYTES : 0);
}

/* A buffer with room for the header of an ordinary segment at its front. */
static struct mir_buf *new_segment(struct mir__tcp_pcb *pcb)
{
    struct mir_buf *buf = mir_buf_alloc(pcb->host->stack->bufs, MIR_BUF_HEADROOM);
    if (buf == NULL) {
        MIR__TCP_COUNT(pcb->host, output_no_buffer);
        return NULL;
    }
    (void)mir_buf_append(buf, header_len(pcb));
    return buf;
}

/* The same with room for @len bytes behind it where the device cannot gather: the payload is copied
 * once, to where it leaves from. */
static struct mir_buf *new_data_segment(struct mir__tcp_pcb *pcb, uint32_t len)
{
    uint32_t room = MIR_BUF_HEADROOM + header_len(pcb) + len;
    if ((pcb->busy->route.caps & MIR_NET_TX_SG) || len <= MIR__TCP_COPY_MAX ||
        room > MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE)
        return new_segment(pcb);
    struct mir_buf *buf = mir_buf_alloc_page(pcb->host->stack->bufs, room, MIR_BUF_HEADROOM);
    if (buf == NULL)
        return new_segment(pcb);
    (void)mir_buf_append(buf, header_len(pcb));
    return buf;
}

/* Whatever we send carries the newest ACK and window. */
static void acknowledged(struct mir__tcp_pcb *pcb)
{
    pcb->ack_now = false;
    pcb->ack_pending = false;
    pcb->last_ack_sent = pcb->rcv_nxt;
    mir__tcp_timer_stop(pcb, MIR__TCP_T_DELACK);
}

#define WITH_ECT 0x100u /* beyond the flags of a header: the packet may be marked */
#define WITH_DF  0x200u /* a probe of the path: fragments would say that it fits (RFC 8899 3) */

/* Fill the header, with SACK blocks if @sack is not NULL, and hand the segment to IP. */
static void hand_over(struct mir__tcp_pcb *pcb, struct mir_buf *buf, uint32_t seq, uint32_t flags,
                      const struct mir__tcp_options *sack)
{
    struct mir__tcp_state *host = pcb->host;
    uint32_t sack_len = sack != NULL ? mir__tcp_options_len(sack) : 0;
    struct mir__tcp_header hdr = {
        .src_port = pcb->node.local_port,
        .dst_port = pcb->node.remote_port,
        .seq = seq,
        .ack = pcb->rcv_nxt,
        .wnd = mir__tcp_window_to_send(pcb),
        .flags = (uint8_t)(flags | (pcb->ece_due ? MIR__TCP_ECE : 0)),
        .hdr_len = (uint8_t)(header_len(pcb) + sack_len),
    };
    mir__tcp_header_emit(buf->data, &hdr);
    if (pcb->has_ts) {
        struct mir__tcp_options opt = {
            .has_ts = true,
            .tsval = mir__tcp_tsval(pcb, now_of(host)),
            .tsecr = pcb->ts_recent,
        };
        mir__tcp_options_emit(buf->data + MIR__TCP_HEADER_BYTES, &opt);
    }
    if (sack_len > 0)
        mir__tcp_options_emit(buf->data + header_len(pcb), sack);
    acknowledged(pcb);
    pcb->segs_out++;
    MIR__TCP_COUNT(host, segs_out);
    mir__ip_transport_checksum(&pcb->busy->route, &pcb->node.local, &pcb->node.remote,
                               MIR__PROTO_TCP, buf, MIR__TCP_CSUM_OFFSET);
    struct mir__ip_params params = ip_params_of(pcb);
    params.tos = (uint8_t)(pcb->tos | (flags & WITH_ECT ? ECT_0 : 0));
    params.dont_fragment |= (flags & WITH_DF) != 0;
    if (mir__ip_output(host->net, &pcb->busy->route, &params, buf) < 0)
        MIR__TCP_COUNT(host, output_failed);
}

/* The route may have changed since it was looked up; the mtu with it. A connection that was at rest
 * has none yet. */
static bool refresh_route(struct mir__tcp_pcb *pcb)
{
    if (!mir__tcp_wake(pcb)) {
        mir__tcp_timer_set(pcb, MIR__TCP_T_MEMORY, now_of(pcb->host) + MIR__TCP_MEMORY_RETRY_US);
        return false;
    }
    uint16_t mtu = pcb->busy->route.mtu;
    if (mir__ip_route_refresh(pcb->host->net, &pcb->node.remote, &pcb->node.local,
                              &pcb->busy->route) < 0) {
        pcb->soft_error = -MIR_ENETUNREACH;
        MIR__TCP_COUNT(pcb->host, output_failed);
        return false;
    }
    if (pcb->busy->route.mtu != mtu)
        mir__tcp_update_mss(pcb);
    return true;
}

static void block(struct mir__tcp_pcb *pcb)
{
    MIR__TCP_COUNT(pcb->host, output_blocked);
    if (mir_list_is_linked(&pcb->pending))
        return;
    pcb->is_blocked = true;
    mir_list_push_back(&pcb->host->blocked, &pcb->pending);
    if (pcb->snd_una == pcb->snd_max)
        pcb->busy->progress_us = now_of(pcb->host);
    /* A device that never sends anything is not waited for without end. */
    if (!mir__tcp_timer_runs(pcb, MIR__TCP_T_REXMT))
        mir__tcp_timer_rexmt(pcb);
}

/* Room that others wait for is theirs. */
static bool is_taken(const struct mir__tcp_pcb *pcb)
{
    const struct mir__tcp_state *host = pcb->host;
    return MIR_UNLIKELY(!mir_list_is_empty(&host->blocked)) && !host->is_in_turn &&
           mir__ip_is_tx_full(&pcb->busy->route);
}

bool mir__tcp_has_room(struct mir__tcp_pcb *pcb)
{
    if (mir__ip_tx_room(&pcb->busy->route) > 0 && !is_taken(pcb))
        return true;
    block(pcb);
    return false;
}

/* Book-keeping of sequence space [seq, end) that is on its way. */
static void sent(struct mir__tcp_pcb *pcb, uint32_t seq, uint32_t end)
{
    mir_time_us now_us = now_of(pcb->host);
    if (pcb->snd_una == pcb->snd_max) {
        pcb->busy->progress_us = now_us;
        mir__tcp_rate_begin(pcb, now_us);
        if (pcb->cc->on_restart != NULL)
            pcb->cc->on_restart(pcb);
    }
    if (seq_lt(seq, pcb->snd_max)) {
        pcb->retransmits++;
        MIR__TCP_COUNT(pcb->host, retransmits);
        if (pcb->is_timing && seq_lt(seq, pcb->busy->rtt_seq))
            pcb->is_timing = false; /* Karn */
    } else {
        pcb->bytes_sent += end - seq;
        pcb->host->counters.bytes_out += end - seq;
        if (!pcb->is_timing) {
            pcb->is_timing = true;
            pcb->busy->rtt_seq = end;
            pcb->busy->rtt_start_us = now_us;
        }
    }
    if (pcb->has_sack)
        mir__tcp_board_sent(pcb, seq, end);
    pcb->snd_max = seq_max(pcb->snd_max, end);
    pcb->busy->sent_us = now_us;
    if (!mir__tcp_timer_runs(pcb, MIR__TCP_T_REXMT) || pcb->is_persist)
        mir__tcp_timer_rexmt(pcb);
    if (pcb->loss != NULL)
        mir__tcp_probe_schedule(pcb);
}

static bool is_path_probe(const struct mir__tcp_pcb *pcb, uint32_t seq, uint32_t len)
{
    const struct mir__tcp_loss *loss = pcb->loss;
    return loss != NULL && loss->has_mtu_probe && loss->mtu_seq == seq &&
           loss->mtu_end == seq + len && seq == pcb->snd_max;
}

/* Send bytes [seq, seq + len) and perhaps FIN. Returns sequence space sent, 0 if it failed. */
static uint32_t transmit(struct mir__tcp_pcb *pcb, uint32_t seq, uint32_t len, bool with_fin)
{
    bool is_probe = pcb->path_mtu != 0 && is_path_probe(pcb, seq, len);
    struct mir_buf *buf = new_data_segment(pcb, len);
    if (buf == NULL) {
        if (!mir__tcp_timer_runs(pcb, MIR__TCP_T_REXMT))
            mir__tcp_timer_rexmt(pcb);
        return 0;
    }
    uint32_t mss = pcb->mss;
    uint32_t got = len > 0 ? mir__tcp_sendq_gather(pcb, seq, len, buf) : 0;
    if (got < len && got > mss) {
        /* What cannot be cut into segments by the device is one. */
        uint32_t keep = is_probe ? mss : got - got % mss;
        mir_buf_trim(buf, header_len(pcb) + keep);
        got = keep;
    }
    with_fin = with_fin && got == len;
    uint32_t flags = MIR__TCP_ACK;
    if (with_fin)
        flags |= MIR__TCP_FIN;
    if (pcb->has_ecn && got > 0 && seq == pcb->snd_max) {
        flags |= WITH_ECT | (pcb->cwr_due ? MIR__TCP_CWR : 0);
        pcb->cwr_due = false;
    }
    if (is_probe)
        flags |= WITH_DF;
    /* The end of a large segment too: a receiver that merges then need not wait for more. */
    if (got > mss || (got > 0 && seq + got == sendq_end(pcb)))
        flags |= MIR__TCP_PSH;
    if (got > mss && !is_probe) {
        buf->flags |= mir_ip_is_v4(&pcb->node.remote) ? MIR_BUF_GSO_TCP4 : MIR_BUF_GSO_TCP6;
        buf->gso_size = (uint16_t)mss;
    }
    if (got > 0 && got % mss != 0 && !is_probe) {
        pcb->small_end = seq + got;
        pcb->cork_over = false;
    }
    uint32_t space = got + (with_fin ? 1 : 0);
    sent(pcb, seq, seq + space);
    mir__tcp_pace_sent(pcb, space);
    hand_over(pcb, buf, seq, flags, NULL);
    return space;
}

/* Most payload one segment to the device may have. */
static uint32_t segment_max(const struct mir__tcp_pcb *pcb)
{
    uint32_t headers = pcb->busy->route.ip_header_len + header_len(pcb);
    uint32_t most = MIR_MIN(pcb->busy->route.gso_max, 65535u);
    if (most < headers + 2u * pcb->mss || pcb->cwr_due) /* that says one segment, not many */
        return pcb->mss;
    most -= headers;
    return most - most % pcb->mss;
}

/* Bytes that may go out at snd_nxt under both windows. */
static uint32_t usable_window(struct mir__tcp_pcb *pcb)
{
    uint32_t cwnd = pcb->cwnd;
    if (pcb->loss != NULL)
        cwnd += flight_of(pcb) - mir__tcp_pipe(pcb); /* what is not in the network takes no room */
    else if (!pcb->in_recovery && pcb->dup_acks > 0)
        cwnd += MIR_MIN(pcb->dup_acks, 2u) * pcb->mss; /* limited transmit, RFC 3042 */
    uint32_t wnd = MIR_MIN(pcb->snd_wnd, cwnd);
    uint32_t flight = flight_of(pcb);
    return wnd > flight ? wnd - flight : 0;
}

/* May a segment below mss go out that holds the last bytes of the queue? */
static bool may_send_tail(const struct mir__tcp_pcb *pcb, bool with_fin)
{
    if (with_fin || seq_lt(pcb->snd_nxt, pcb->snd_max))
        return true;
    if (pcb->cork)
        return pcb->cork_over;
    return pcb->nodelay || pcb->snd_nxt == pcb->snd_una || seq_le(pcb->small_end, pcb->snd_una);
}

/* How much of @unsent bytes goes into the next segment; 0 for nothing. */
static uint32_t next_len(struct mir__tcp_pcb *pcb, uint32_t unsent, uint32_t usable, bool fin_fits)
{
    uint32_t mss = pcb->mss;
    uint32_t len = MIR_MIN(MIR_MIN(unsent, usable), segment_max(pcb));
    uint32_t tail = len % mss;
    if (len < unsent && usable < unsent && pcb->cwnd < pcb->snd_wnd)
        pcb->is_cwnd_limited = true;
    if (tail == 0)
        return len;
    if (len == unsent)
        return may_send_tail(pcb, fin_fits) ? len : len - tail;
    if (len > mss)
        return len - tail;
    bool is_again = seq_lt(pcb->snd_nxt, pcb->snd_max);
    return is_again || (pcb->snd_wnd <= pcb->cwnd && len >= pcb->max_snd_wnd / 2) ? len : 0;
}

/* Send one segment from snd_nxt; false when there is nothing (more) to send. */
static bool send_some(struct mir__tcp_pcb *pcb)
{
    if (pcb->loss != NULL && pcb->loss->lost > 0 && pcb->loss->undo.frto != MIR__TCP_FRTO_NEW)
        return false; /* that comes first */
    uint32_t end = sendq_end(pcb);
    uint32_t unsent = seq_gt(end, pcb->snd_nxt) ? end - pcb->snd_nxt : 0;
    bool has_fin = pcb->fin_queued && seq_le(pcb->snd_nxt, end) && is_synchronized(pcb);
    if (unsent == 0 && !has_fin)
        return false;
    uint32_t usable = usable_window(pcb);
    uint32_t len = next_len(pcb, unsent, usable, has_fin && usable >= unsent);
    uint32_t probe = pcb->path_mtu != 0 ? mir__tcp_path_probe_len(pcb) : 0;
    if (probe > pcb->mss && MIR_MIN(unsent, usable) > probe)
        len = probe;
    else
        probe = 0;
    /* A FIN takes no room in the network: only the peer's window may hold it back. */
    bool with_fin = has_fin && len == unsent && pcb->snd_wnd > flight_of(pcb) + len;
    if ((len == 0 && !with_fin) || !mir__tcp_pace_allows(pcb) || !mir__tcp_has_room(pcb))
        return false;
    if (probe != 0)
        mir__tcp_path_probing(pcb, pcb->snd_nxt, pcb->snd_nxt + len);
    uint32_t space = transmit(pcb, pcb->snd_nxt, len, with_fin);
    if (probe != 0 && space != probe && pcb->loss != NULL)
        pcb->loss->has_mtu_probe = false;
    pcb->snd_nxt += space;
    if (pcb->loss != NULL)
        pcb->snd_nxt = pcb->snd_max;
    return space > 0;
}

/* Send what was lost again, as much as one segment to the device takes; false when there is nothing
 * (more) to send. */
static bool resend_some(struct mir__tcp_pcb *pcb)
{
    const struct mir__tcp_range *range = pcb->loss != NULL ? mir__tcp_board_next_lost(pcb) : NULL;
    if (range == NULL || pcb->loss->undo.frto == MIR__TCP_FRTO_NEW)
        return false;
    uint32_t pipe = mir__tcp_pipe(pcb);
    uint32_t usable = pcb->cwnd > pipe ? pcb->cwnd - pipe : 0;
    uint32_t before = range->seq - pcb->snd_una;
    uint32_t promised = pcb->snd_wnd > before ? pcb->snd_wnd - before : 0;
    uint32_t end = sendq_end(pcb);
    bool has_fin = seq_gt(range->end, end); /* the FIN takes the last number */
    uint32_t len = (has_fin ? end : range->end) - range->seq;
    bool with_fin = has_fin && promised > len;
    len = MIR_MIN(MIR_MIN(len, promised), segment_max(pcb));
    if (usable < MIR_MIN(MIR_MAX(len, 1u), (uint32_t)pcb->mss)) {
        pcb->is_cwnd_limited = true;
        return false;
    }
    len = MIR_MIN(len, usable);
    if (len > pcb->mss)
        len -= len % pcb->mss;
    with_fin = with_fin && range->seq + len == end;
    if ((len == 0 && !with_fin) || !mir__tcp_pace_allows(pcb) || !mir__tcp_has_room(pcb))
        return false;
    return transmit(pcb, range->seq, len, with_fin) > 0;
}

/* A tail loss probe: one new segment, though cwnd may be used up, or the last one again. */
static void send_tail_probe(struct mir__tcp_pcb *pcb)
{
    uint32_t end = sendq_end(pcb);
    uint32_t flight = flight_of(pcb);
    uint32_t room = pcb->snd_wnd > flight ? pcb->snd_wnd - flight : 0;
    uint32_t unsent = seq_gt(end, pcb->snd_nxt) ? end - pcb->snd_nxt : 0;
    uint32_t len = MIR_MIN(MIR_MIN(unsent, room), (uint32_t)pcb->mss);
    bool is_again = len == 0 || (len < unsent && len < pcb->mss);
    uint32_t seq = pcb->snd_nxt;
    pcb->loss->probe_due = false;
    if (!mir__tcp_has_room(pcb))
        return; /* the end of the queue may not have left yet */
    if (pcb->loss->sacked > 0 || pcb->loss->lost > 0 || pcb->snd_una == pcb->snd_max)
        return;
    if (is_again) {
        /* A FIN sent on its own is the last segment (RFC 8985 section 7.3), else the last data. */
        bool is_fin = pcb->snd_max == end + 1 && pcb->loss->last->seq == end;
        uint32_t back = is_fin ? 1 : MIR_MIN(pcb->snd_max - pcb->snd_una, (uint32_t)pcb->mss);
        seq = pcb->snd_max - back;
        len = MIR_MIN(back, end - seq);
    }
    bool with_fin = pcb->fin_queued && seq + len == end && (!is_again || pcb->snd_max == end + 1);
    if (transmit(pcb, seq, len, with_fin) == 0 || pcb->loss == NULL)
        return;
    MIR__TCP_COUNT(pcb->host, probes_out);
    pcb->snd_nxt = pcb->snd_max;
    pcb->loss->has_probe = true;
    pcb->loss->probe_is_again = is_again;
    pcb->loss->probe_end = pcb->snd_max;
    mir__tcp_probe_schedule(pcb);
}

/* All that was written is on its way and the window has room: the application is the limit. The
 * largest flight of this round trip is kept: in slow start half a window is use enough. */
static void judge_use(struct mir__tcp_pcb *pcb)
{
    uint32_t flight = flight_of(pcb);
    if (seq_ge(pcb->snd_nxt, sendq_end(pcb)) && flight + pcb->mss < pcb->cwnd)
        pcb->is_cwnd_limited = false;
    if (flight > pcb->busy->used || seq_ge(pcb->snd_una, pcb->busy->used_end)) {
        pcb->busy->used = flight;
        pcb->busy->used_end = pcb->snd_nxt;
    }
}

/* Is it still being tested? The end of the test marks the connection; the timer is for whatever
 * could go wrong meanwhile. */
static void wait_for_address(struct mir__tcp_pcb *pcb)
{
    struct mir__route route;
    if (mir__ip_route_soon(pcb->host->net, &pcb->node.remote, &pcb->node.local, &route) == 0) {
        if (mir__tcp_is_busy(pcb))
            mir__tcp_timer_set(pcb, MIR__TCP_T_REXMT, now_of(pcb->host) + ADDRESS_WAIT_US);
        return;
    }
    MIR__TCP_COUNT(pcb->host, connect_failed);
    mir__tcp_finish(pcb, -MIR_ENETUNREACH);
}

/* SYN, or SYN-ACK of a simultaneous open. */
static void send_syn(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_options opt;
    bool is_answer = pcb->state == MIR_TCP_S_SYN_RECEIVED;
    struct mir__tcp_tuple tuple = tuple_of(&pcb->node);
    uint32_t wnd = MIR_MIN(pcb->rcv_limit, 65535u);
    if (!refresh_route(pcb)) {
        if (pcb->waits_for_address)
            wait_for_address(pcb);
        else if (mir__tcp_is_busy(pcb))
            mir__tcp_timer_rexmt(pcb);
        return;
    }
    pcb->waits_for_address = false;
    mir__tcp_syn_options(pcb, &opt);
    uint32_t data_len = is_answer ? 0 : mir__tcp_fast_ask(pcb, &opt);
    if (is_answer)
        pcb->rcv_adv = seq_max(pcb->rcv_adv, pcb->rcv_nxt + wnd);
    uint32_t syn_flags = is_answer ? MIR__TCP_ACK : mir__tcp_ecn_ask(pcb);
    if (is_answer && pcb->has_ecn)
        syn_flags |= MIR__TCP_ECE;
    struct mir__tcp_control ctl = {
        .tuple = &tuple,
        .seq = pcb->iss,
        .ack = is_answer ? pcb->rcv_nxt : 0,
        .wnd = (uint16_t)wnd,
        .flags = (uint8_t)(MIR__TCP_SYN | syn_flags),
        .tos = pcb->tos,
        .opt = &opt,
        .data_of = pcb,
        .data_len = data_len,
    };
    pcb->syn_due = false;
    if (pcb->rexmt_count == 0)
        pcb->busy->progress_us = now_of(pcb->host);
    else
        pcb->retransmits++;
    if (pcb->snd_max == pcb->iss && !pcb->is_timing) {
        pcb->is_timing = true;
        pcb->busy->rtt_seq = pcb->iss + 1;
        pcb->busy->rtt_start_us = now_of(pcb->host);
    }
    if (!pcb->is_fast_open)
        pcb->snd_nxt = pcb->iss + 1 + data_len;
    pcb->snd_max = seq_max(pcb->snd_max, pcb->snd_nxt);
    pcb->bytes_sent += data_len;
    pcb->host->counters.bytes_out += data_len;
    pcb->segs_out++;
    if (is_answer)
        acknowledged(pcb);
    mir__tcp_timer_rexmt(pcb);
    mir__tcp_send_control(pcb->host, &ctl);
}

/* Data is queued, nothing is in flight, nothing was sent: only a probe can get things going. */
static void watch_window(struct mir__tcp_pcb *pcb)
{
    bool has_more = seq_gt(sendq_end(pcb), pcb->snd_nxt) ||
                    (pcb->fin_queued && seq_le(pcb->snd_nxt, sendq_end(pcb)));
    bool has_flight = pcb->snd_una != pcb->snd_nxt;
    if (pcb->loss != NULL) {
        has_flight = mir__tcp_pipe(pcb) > 0;
        has_more |= pcb->loss->lost > 0;
    }
    if (!has_more || has_flight || pcb->is_blocked || pcb->is_persist || !is_synchronized(pcb) ||
        mir__tcp_timer_runs(pcb, MIR__TCP_T_PACE))
        return;
    /* Behind a closed window retransmission sends nothing: what was in flight needs probes too. */
    if (mir__tcp_timer_runs(pcb, MIR__TCP_T_REXMT) && pcb->snd_una != pcb->snd_max &&
        pcb->snd_wnd > 0)
        return;
    /* What a cork holds back leaves by this timer too, after an RTO (RFC 9293 section 3.8.6.2.1,
     * case 4: the override timeout). */
    mir__tcp_timer_persist(pcb);
}

/* Is there data or a FIN, and a block to remember in that it could not be sent? */
static bool has_to_send(const struct mir__tcp_pcb *pcb)
{
    return mir__tcp_is_busy(pcb) && (pcb->busy->sendq.q.bytes > 0 ||
                                     (pcb->fin_queued && pcb->snd_una != pcb->snd_first + 1));
}

/* Nothing to do, not even a FIN that a shortage of memory left behind. */
static bool is_at_rest(const struct mir__tcp_pcb *pcb)
{
    return !mir__tcp_is_busy(pcb) && !pcb->ack_now &&
           (!pcb->fin_queued || pcb->snd_max == pcb->snd_first + 1);
}

void mir__tcp_output(struct mir__tcp_pcb *pcb)
{
    if (!is_synchronized(pcb)) {
        if (pcb->syn_due)
            send_syn(pcb);
        if (!pcb->is_fast_open || pcb->rexmt_count > 0)
            return;
    }
    if (is_at_rest(pcb))
        return;
    if (!refresh_route(pcb)) {
        if (has_to_send(pcb) && !mir__tcp_timer_runs(pcb, MIR__TCP_T_REXMT))
            mir__tcp_timer_rexmt(pcb);
        return;
    }
    if (pcb->snd_una == pcb->snd_max && now_of(pcb->host) - pcb->busy->sent_us > pcb->rto_us)
        pcb->cc->on_idle(pcb);
    if (pcb->rexmt_first && mir__tcp_has_room(pcb)) {
        uint32_t end = sendq_end(pcb);
        uint32_t len = seq_gt(end, pcb->snd_una) ? MIR_MIN(end - pcb->snd_una, pcb->mss) : 0;
        pcb->rexmt_first = false;
        (void)transmit(pcb, pcb->snd_una, len, pcb->fin_queued && pcb->snd_una + len == end);
    }
    while (resend_some(pcb) || send_some(pcb))
        continue;
    if (pcb->loss != NULL && pcb->loss->probe_due)
        send_tail_probe(pcb);
    judge_use(pcb);
    if ((pcb->ack_now || pcb->busy->sack.has_repeated) && !pcb->is_blocked &&
        mir__tcp_has_room(pcb))
        mir__tcp_send_ack(pcb);
    watch_window(pcb);
    mir__tcp_check(pcb);
}

void mir__tcp_send_ack(struct mir__tcp_pcb *pcb)
{
    if (!refresh_route(pcb))
        return;
    struct mir__tcp_options sack = {0};
    struct mir_buf *buf = new_segment(pcb);
    if (buf == NULL)
        return;
    if (pcb->busy->sack.count > 0 || pcb->busy->sack.has_repeated) {
        mir__tcp_sack_fill(pcb, &sack);
        (void)mir_buf_append(buf, mir__tcp_options_len(&sack));
    }
    /* Behind everything sent, or a peer that has it all would think the segment old. A probe's byte
     * may not have been taken. */
    hand_over(pcb, buf, pcb->is_persist ? pcb->snd_una : pcb->snd_max, MIR__TCP_ACK, &sack);
}

void mir__tcp_send_probe(struct mir__tcp_pcb *pcb)
{
    struct mir_buf *buf = refresh_route(pcb) ? new_segment(pcb) : NULL;
    if (buf != NULL)
        hand_over(pcb, buf, pcb->snd_una - 1, MIR__TCP_ACK, NULL);
}

void mir__tcp_send_persist(struct mir__tcp_pcb *pcb)
{
    uint32_t end = sendq_end(pcb);
    uint32_t seq = pcb->snd_una;
    uint32_t unsent = seq_gt(end, seq) ? end - seq : 0;
    if (!refresh_route(pcb))
        return;
    uint32_t len = MIR_MIN(MIR_MIN(unsent, MIR_MAX(pcb->snd_wnd, 1u)), pcb->mss);
    struct mir_buf *buf = new_segment(pcb);
    if (buf == NULL)
        return;
    uint32_t got = len > 0 ? mir__tcp_sendq_gather(pcb, seq, len, buf) : 0;
    bool with_fin = pcb->fin_queued && unsent == 0;
    uint32_t stop = seq + got + (with_fin ? 1 : 0);
    /* snd_nxt stays: if the byte is not taken it is sent again with what follows. */
    if (pcb->loss != NULL) {
        mir__tcp_board_probed(pcb, stop);
        if (pcb->loss != NULL)
            pcb->snd_nxt = seq_max(pcb->snd_max, stop);
    }
    pcb->snd_max = seq_max(pcb->snd_max, stop);
    pcb->is_timing = false;
    pcb->busy->sent_us = now_of(pcb->host);
    hand_over(pcb, buf, seq, (uint8_t)(MIR__TCP_ACK | (with_fin ? MIR__TCP_FIN : 0)), NULL);
}

void mir__tcp_send_reset(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_tuple tuple = tuple_of(&pcb->node);
    struct mir__tcp_options opt = {
        /* RFC 7323 section 3.2: RST should have them too */
        .has_ts = pcb->has_ts,
        .tsval = mir__tcp_tsval(pcb, now_of(pcb->host)),
        .tsecr = pcb->ts_recent,
    };
    struct mir__tcp_control ctl = {
        .tuple = &tuple,
        .seq = pcb->is_persist ? pcb->snd_una : pcb->snd_max,
        .ack = pcb->rcv_nxt,
        .flags = MIR__TCP_RST | MIR__TCP_ACK,
        .tos = pcb->tos,
        .opt = &opt,
    };
    mir__tcp_send_control(pcb->host, &ctl);
}

void mir__tcp_send_control(struct mir__tcp_state *host, const struct mir__tcp_control *ctl)
{
    struct mir__route route = {0};
    struct mir_ip src = *ctl->tuple->local;
    uint32_t opt_len = ctl->opt != NULL ? mir__tcp_options_len(ctl->opt) : 0;
    struct mir__tcp_header hdr = {
        .src_port = ctl->tuple->local_port,
        .dst_port = ctl->tuple->remote_port,
        .seq = ctl->seq,
        .ack = ctl->ack,
        .wnd = ctl->wnd,
        .flags = ctl->flags,
        .hdr_len = (uint8_t)(MIR__TCP_HEADER_BYTES + opt_len),
    };
    if (mir__ip_route(host->net, ctl->tuple->remote, &src, &route) < 0) {
        MIR__TCP_COUNT(host, output_failed);
        return;
    }
    struct mir_buf *buf = mir_buf_alloc(host->stack->bufs, MIR_BUF_HEADROOM);
    if (buf == NULL) {
        MIR__TCP_COUNT(host, output_no_buffer);
        return;
    }
    uint8_t *to = mir_buf_append(buf, hdr.hdr_len);
    mir__tcp_header_emit(to, &hdr);
    if (ctl->opt != NULL)
        mir__tcp_options_emit(to + MIR__TCP_HEADER_BYTES, ctl->opt);
    if (ctl->data_len > 0)
        (void)mir__tcp_sendq_gather(ctl->data_of, ctl->seq + 1, ctl->data_len, buf);
    if (ctl->flags & MIR__TCP_RST)
        MIR__TCP_COUNT(host, resets_out);
    MIR__TCP_COUNT(host, segs_out);
    mir__ip_transport_checksum(&route, &src, ctl->tuple->remote, MIR__PROTO_TCP, buf,
                               MIR__TCP_CSUM_OFFSET);
    struct mir__ip_params params = {
        .src = &src,
        .dst = ctl->tuple->remote,
        .protocol = MIR__PROTO_TCP,
        .tos = ctl->tos,
        .dont_fragment = true,
    };
    if (mir__ip_output(host->net, &route, &params, buf) < 0)
        MIR__TCP_COUNT(host, output_failed);
}
