/* SPDX-License-Identifier: ISC */
/* A segment arrives: RFC 9293 section 3.10.7, with RFC 5961 and RFC 7323 woven in.
 *
 * Theory of operation. Header, checksum and options are looked at once; one table look-up finds
 * what the segment is for: a connection, a half-open entry (listen.c), a TIME_WAIT entry
 * (time_wait.c); a listener is looked for only then; nobody: RST, as the state CLOSED answers.
 *
 * For a synchronized connection the order of the tests is
 *
 *   1 timestamps     PAWS: older than what we have seen is a ghost (RFC 7323 section 5)
 *   2 sequence       outside the promised window: acknowledge, drop (section 3.10.7.4 "first")
 *   3 RST            only exactly at rcv_nxt; in the window: challenge ACK (RFC 5961 section 3)
 *   4 SYN            challenge ACK, whatever its number (RFC 5961 section 4)
 *   5 ACK            needed; must be within [una - max window, max] (RFC 5961 section 5)
 *   6 text, FIN
 *
 * Before all that stands header prediction: in ESTABLISHED, a segment that is exactly the next one,
 * has no flags but ACK and PSH, and acknowledges something sane while nothing is being recovered,
 * has passed all these tests by construction; most segments of a bulk transfer take this path.
 *
 * Handlers of the application do not run in here: events are collected and delivered by the flush
 * at the end of the device's batch. Only on_accept is called at once, as the last act.
 *
 * Answers to segments that do not belong here are limited in number per second, per connection and
 * for the stack, so that two confused peers or one attacker cannot make us talk for ever.
 */
#include "lib/net/tcp/loss.h"

#define CHALLENGES_A_SECOND 1000u
#define RESETS_A_SECOND     1000u

/* One of @per_second tokens; refilled each second, a little unevenly so that a counting attacker
 * learns nothing (RFC 5961 section 7 as amended by practice: CVE-2016-5696). */
static bool take_token(struct mir__tcp_state *host, uint32_t *second, uint32_t *left,
                       uint32_t per_second)
{
    uint32_t now_s = (uint32_t)(now_of(host) / MIR_US_PER_S);
    if (*second != now_s || *left > 2 * per_second) {
        *second = now_s;
        *left = per_second / 2 + mir_rng_below(host->rng, per_second);
    }
    if (*left == 0)
        return false;
    (*left)--;
    return true;
}

bool mir__tcp_may_challenge(struct mir__tcp_state *host)
{
    if (take_token(host, &host->challenge_s, &host->challenge_left, CHALLENGES_A_SECOND)) {
        MIR__TCP_COUNT(host, challenge_acks);
        return true;
    }
    MIR__TCP_COUNT(host, challenge_acks_limited);
    return false;
}

void mir__tcp_challenge(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_state *host = pcb->host;
    uint16_t now_s = (uint16_t)(now_of(host) / MIR_US_PER_S);
    if (pcb->challenge_s != now_s) {
        pcb->challenge_s = now_s;
        pcb->challenges = 0;
    }
    if (pcb->challenges >= MIR__TCP_CHALLENGES) {
        MIR__TCP_COUNT(host, challenge_acks_limited);
        return;
    }
    if (!mir__tcp_may_challenge(host))
        return;
    pcb->challenges++;
    mir__tcp_send_ack(pcb);
}

void mir__tcp_reply_reset(struct mir__tcp_state *host, const struct mir__tcp_segment *seg)
{
    const struct mir__tcp_header *hdr = &seg->hdr;
    struct mir__tcp_tuple tuple = {&seg->meta->dst, &seg->meta->src, hdr->dst_port, hdr->src_port};
    struct mir__tcp_control ctl = {.tuple = &tuple};
    if (hdr->flags & MIR__TCP_RST)
        return;
    if (!take_token(host, &host->reset_s, &host->reset_left, RESETS_A_SECOND))
        return;
    if (hdr->flags & MIR__TCP_ACK) {
        ctl.seq = hdr->ack;
        ctl.flags = MIR__TCP_RST;
    } else {
        ctl.ack = hdr->seq + seg->len + ((hdr->flags & MIR__TCP_SYN) ? 1 : 0) +
                  ((hdr->flags & MIR__TCP_FIN) ? 1 : 0);
        ctl.flags = MIR__TCP_RST | MIR__TCP_ACK;
    }
    mir__tcp_send_control(host, &ctl);
}

/* Cut off what is known already and what was not promised. */
static void trim(struct mir__tcp_pcb *pcb, struct mir__tcp_segment *seg)
{
    if (seq_lt(seg->seq, pcb->rcv_nxt)) {
        uint32_t known = MIR_MIN(pcb->rcv_nxt - seg->seq, seg->len);
        pcb->host->counters.duplicate_bytes_in += known;
        if (known > 0)
            mir__tcp_sack_repeated(pcb, seg->seq, seg->seq + known);
        seg->skip += known;
        seg->seq += known;
        seg->len -= known;
        pcb->ack_now = true;
    }
    uint32_t room = pcb->rcv_adv - seg->seq;
    if (seg->len > room || seq_gt(seg->seq, pcb->rcv_adv)) {
        seg->len = seq_gt(seg->seq, pcb->rcv_adv) ? 0 : room;
        seg->hdr.flags &= (uint8_t)~MIR__TCP_FIN;
        pcb->ack_now = true;
    } else if (seg->len == room && (seg->hdr.flags & MIR__TCP_FIN) && room > 0) {
        /* A FIN just beyond the edge takes no buffer: let it in. */
        pcb->rcv_adv++;
    }
}

/* ---- SYN_SENT (section 3.10.7.3) ----------------------------------------------------------------
 */

static void syn_sent(struct mir__tcp_pcb *pcb, struct mir__tcp_segment *seg)
{
    const struct mir__tcp_header *hdr = &seg->hdr;
    struct mir__tcp_state *host = pcb->host;
    bool has_ack = (hdr->flags & MIR__TCP_ACK) != 0;
    if (has_ack && (seq_le(hdr->ack, pcb->iss) || seq_gt(hdr->ack, pcb->snd_max))) {
        MIR__TCP_COUNT(host, drop_bad_ack);
        mir__tcp_reply_reset(host, seg);
        return;
    }
    if (hdr->flags & MIR__TCP_RST) {
        if (!has_ack) {
            MIR__TCP_COUNT(host, drop_rst_invalid);
            return;
        }
        MIR__TCP_COUNT(host, resets_in);
        MIR__TCP_COUNT(host, connect_failed);
        mir__tcp_finish(pcb, -MIR_ECONNREFUSED);
        return;
    }
    if (!(hdr->flags & MIR__TCP_SYN)) {
        MIR__TCP_COUNT(host, drop_out_of_window);
        return;
    }
    pcb->irs = hdr->seq;
    pcb->rcv_nxt = hdr->seq + 1;
    pcb->last_ack_sent = pcb->rcv_nxt;
    pcb->rcv_adv = pcb->rcv_nxt + MIR_MIN(pcb->rcv_limit, 65535u);
    pcb->snd_wnd = hdr->wnd;
    pcb->max_snd_wnd = hdr->wnd;
    pcb->snd_wl1 = hdr->seq;
    pcb->snd_wl2 = hdr->ack;
    mir__tcp_agree(pcb, &seg->opt);
    if (!has_ack) {
        /* Both sides opened at once. */
        pcb->state = MIR_TCP_S_SYN_RECEIVED;
        pcb->syn_due = true;
        mir__tcp_mark(pcb);
        return;
    }
    mir__tcp_ecn_answered(pcb, seg);
    mir__tcp_establish(pcb);
    mir__tcp_new_ack(pcb, seg);
    mir__tcp_fast_answered(pcb, seg);
    pcb->ack_now = true;
    seg->seq = hdr->seq + 1;
    trim(pcb, seg);
    mir__tcp_process_text(pcb, seg);
    mir__tcp_mark(pcb);
}

/* ---- synchronized states (section 3.10.7.4)
 * ------------------------------------------------------- */

/* RFC 7323 section 5.3 R1-R3. False: drop. */
static bool check_timestamp(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    if (!pcb->has_ts || (seg->hdr.flags & MIR__TCP_RST))
        return true;
    if (!seg->opt.has_ts) {
        MIR__TCP_COUNT(pcb->host, drop_no_timestamp);
        return false;
    }
    uint32_t now_ms = ms_of(seg->now_us);
    if (seq_lt(seg->opt.tsval, pcb->ts_recent) &&
        now_ms - pcb->ts_recent_ms <= MIR__TCP_PAWS_IDLE_MS) {
        MIR__TCP_COUNT(pcb->host, drop_paws);
        if (seg->len > 0 || (seg->hdr.flags & (MIR__TCP_SYN | MIR__TCP_FIN)))
            mir__tcp_challenge(pcb);
        return false;
    }
    return true;
}

/* Remember the timestamp of the segment that our next ACK answers (RFC 7323 section 4.3). */
static void take_timestamp(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    if (!pcb->has_ts || !seg->opt.has_ts || seq_gt(seg->hdr.seq, pcb->last_ack_sent))
        return;
    if (seq_ge(seg->opt.tsval, pcb->ts_recent) ||
        ms_of(seg->now_us) - pcb->ts_recent_ms > MIR__TCP_PAWS_IDLE_MS) {
        pcb->ts_recent = seg->opt.tsval;
        pcb->ts_recent_ms = ms_of(seg->now_us);
    }
}

/* Is any of the segment inside the promised window? (section 3.10.7.4, "first", the table) */
static bool is_in_window(const struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    uint32_t wnd = mir__tcp_rcv_wnd(pcb);
    uint32_t seq = seg->hdr.seq;
    uint32_t len = seg->len + ((seg->hdr.flags & MIR__TCP_SYN) ? 1 : 0) +
                   ((seg->hdr.flags & MIR__TCP_FIN) ? 1 : 0);
    /* A peer that has filled the window sends its bare ACKs from the edge itself: they count. */
    if (len == 0)
        return seq - pcb->rcv_nxt <= wnd;
    if (wnd == 0)
        return false;
    return seq - pcb->rcv_nxt < wnd || seq + len - 1 - pcb->rcv_nxt < wnd;
}

/* Our FIN may have been acknowledged: move on. False: the connection is gone. */
static bool after_ack(struct mir__tcp_pcb *pcb)
{
    bool is_fin_acked =
        pcb->fin_queued && pcb->busy->sendq.q.bytes == 0 && seq_gt(pcb->snd_una, pcb->snd_first);
    if (!is_fin_acked)
        return true;
    switch (pcb->state) {
    case MIR_TCP_S_FIN_WAIT_1:
        pcb->state = MIR_TCP_S_FIN_WAIT_2;
        if (pcb->is_detached)
            mir__tcp_timer_set(pcb, MIR__TCP_T_KEEP, now_of(pcb->host) + MIR__TCP_FIN_WAIT_2_US);
        return true;
    case MIR_TCP_S_CLOSING:
        pcb->state = MIR_TCP_S_TIME_WAIT;
        return true;
    case MIR_TCP_S_LAST_ACK:
        mir__tcp_finish(pcb, 0);
        return false;
    default:
        return true;
    }
}

/* TIME_WAIT was entered: the last ACK, and a smaller entry takes over. */
static void leave_to_time_wait(struct mir__tcp_pcb *pcb)
{
    if (pcb->state != MIR_TCP_S_TIME_WAIT)
        return;
    if (pcb->ack_now)
        mir__tcp_send_ack(pcb);
    mir__tcp_finish(pcb, 0);
}

/* The sequence number is not acceptable. */
static void unacceptable(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    MIR__TCP_COUNT(pcb->host, drop_out_of_window);
    if (seg->hdr.flags & MIR__TCP_RST) {
        MIR__TCP_COUNT(pcb->host, drop_rst_invalid);
        return;
    }
    /* Section 3.10.7.4: with a closed window, an ACK at rcv_nxt still counts. */
    if (mir__tcp_rcv_wnd(pcb) == 0 && seg->hdr.seq == pcb->rcv_nxt &&
        (seg->hdr.flags & (MIR__TCP_SYN | MIR__TCP_ACK)) == MIR__TCP_ACK) {
        struct mir__tcp_segment bare = *seg;
        pcb->ack_now = true;
        if (!mir__tcp_process_ack(pcb, &bare) || after_ack(pcb)) {
            mir__tcp_mark(pcb);
            leave_to_time_wait(pcb);
        }
        return;
    }
    if (seg->len > 0) {
        pcb->host->counters.duplicate_bytes_in += seg->len;
        if (seq_lt(seg->seq, pcb->rcv_nxt) && pcb->rcv_nxt - seg->seq >= seg->len)
            mir__tcp_sack_repeated(pcb, seg->seq, seg->seq + seg->len);
        mir__tcp_send_ack(pcb);
    } else {
        mir__tcp_challenge(pcb);
    }
}

static void reset_arrived(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    if (seg->hdr.seq != pcb->rcv_nxt) {
        MIR__TCP_COUNT(pcb->host, drop_rst_invalid);
        mir__tcp_challenge(pcb);
        return;
    }
    MIR__TCP_COUNT(pcb->host, resets_in);
    mir__tcp_fast_reset(pcb);
    if (pcb->state == MIR_TCP_S_SYN_RECEIVED)
        MIR__TCP_COUNT(pcb->host, connect_failed);
    bool is_over = pcb->state == MIR_TCP_S_CLOSING || pcb->state == MIR_TCP_S_LAST_ACK;
    bool is_refused = pcb->state == MIR_TCP_S_SYN_RECEIVED && !pcb->is_passive;
    int err = is_refused ? -MIR_ECONNREFUSED : -MIR_ECONNRESET;
    mir__tcp_finish(pcb, is_over ? 0 : err);
}

/* SYN_RECEIVED: is it the ACK we wait for? (section 3.10.7.4, "fifth") */
static bool complete_handshake(struct mir__tcp_pcb *pcb, struct mir__tcp_segment *seg)
{
    const struct mir__tcp_header *hdr = &seg->hdr;
    /* With Fast Open snd_una is beyond the SYN already. */
    if (seq_lt(hdr->ack, pcb->iss + 1) || seq_gt(hdr->ack, pcb->snd_max)) {
        MIR__TCP_COUNT(pcb->host, drop_bad_ack);
        mir__tcp_reply_reset(pcb->host, seg);
        return false;
    }
    pcb->snd_wnd = (uint32_t)hdr->wnd << pcb->snd_wscale;
    pcb->max_snd_wnd = MIR_MAX(pcb->max_snd_wnd, pcb->snd_wnd);
    pcb->snd_wl1 = hdr->seq;
    pcb->snd_wl2 = hdr->ack;
    mir__tcp_establish(pcb);
    if (pcb->is_fast_open)
        mir__tcp_fast_completed(pcb);
    return true;
}

/* The tests are passed: acknowledgment, text, FIN. */
static void accepted(struct mir__tcp_pcb *pcb, struct mir__tcp_segment *seg)
{
    if (!mir__tcp_process_ack(pcb, seg) || !after_ack(pcb))
        return;
    /* Not before: whoever guesses the window but not the acknowledgment could set a timestamp that
     * makes every honest segment look old. */
    take_timestamp(pcb, seg);
    if (pcb->has_ecn)
        mir__tcp_ecn_input(pcb, seg);
    if (pcb->is_detached && seg->len > 0 && may_receive(pcb)) {
        /* Nobody will read this: tell the peer (RFC 2525 section 2.17). */
        MIR__TCP_COUNT(pcb->host, drop_after_close);
        mir__tcp_reset(pcb, -MIR_ECONNABORTED);
        return;
    }
    mir__tcp_process_text(pcb, seg);
    if (pcb->ack_now)
        mir__tcp_mark(pcb);
    leave_to_time_wait(pcb);
}

/* Header prediction: true if the segment was dealt with. */
static bool predicted(struct mir__tcp_pcb *pcb, struct mir__tcp_segment *seg)
{
    const struct mir__tcp_header *hdr = &seg->hdr;
    if (pcb->state != MIR_TCP_S_ESTABLISHED || (hdr->flags & ~MIR__TCP_PSH) != MIR__TCP_ACK ||
        hdr->seq != pcb->rcv_nxt || pcb->busy->reass.first != NULL || pcb->busy->reass.has_fin ||
        pcb->dup_acks != 0 || pcb->is_persist || pcb->is_detached ||
        seq_lt(hdr->ack, pcb->snd_una) || seq_gt(hdr->ack, pcb->snd_max) ||
        seg->len > mir__tcp_rcv_wnd(pcb) || (seg->len == 0 && hdr->ack == pcb->snd_una))
        return false;
    if (pcb->has_ecn && mir__tcp_ecn_is_marked(seg))
        return false;
    if (pcb->has_ts && (!seg->opt.has_ts || seq_lt(seg->opt.tsval, pcb->ts_recent)))
        return false;
    MIR__TCP_COUNT(pcb->host, fast_path_in);
    take_timestamp(pcb, seg);
    if (hdr->ack != pcb->snd_una)
        mir__tcp_new_ack(pcb, seg);
    if (mir__tcp_window_take(pcb, seg))
        mir__tcp_mark(pcb);
    if (seg->len > 0)
        mir__tcp_process_text(pcb, seg);
    return true;
}

static void synchronized(struct mir__tcp_pcb *pcb, struct mir__tcp_segment *seg)
{
    if (predicted(pcb, seg) || !check_timestamp(pcb, seg))
        return;
    if (!is_in_window(pcb, seg)) {
        unacceptable(pcb, seg);
        return;
    }
    if (seg->hdr.flags & MIR__TCP_RST) {
        reset_arrived(pcb, seg);
        return;
    }
    if (seg->hdr.flags & MIR__TCP_SYN) {
        mir__tcp_challenge(pcb);
        return;
    }
    if (!(seg->hdr.flags & MIR__TCP_ACK)) {
        MIR__TCP_COUNT(pcb->host, drop_no_ack_flag);
        return;
    }
    if (pcb->state == MIR_TCP_S_SYN_RECEIVED && !complete_handshake(pcb, seg))
        return;
    trim(pcb, seg);
    accepted(pcb, seg);
}

/* SYN_RECEIVED of a simultaneous open: the peer's SYN-ACK has the SYN at irs, before rcv_nxt. */
static bool is_crossed_syn_ack(const struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    return pcb->state == MIR_TCP_S_SYN_RECEIVED && seg->hdr.seq == pcb->irs &&
           (seg->hdr.flags & (MIR__TCP_SYN | MIR__TCP_RST)) == MIR__TCP_SYN;
}

void mir__tcp_input_pcb(struct mir__tcp_pcb *pcb, struct mir__tcp_segment *seg)
{
    mir__tcp_hold(pcb);
    pcb->segs_in++;
    pcb->received_us = seg->now_us;
    pcb->keep_sent = 0;
    seg->seq = seg->hdr.seq;
    if (pcb->state == MIR_TCP_S_SYN_SENT) {
        syn_sent(pcb, seg);
    } else if (is_crossed_syn_ack(pcb, seg)) {
        if (seg->hdr.flags & MIR__TCP_ACK) {
            /* Its SYN is known; the rest is an ordinary ACK at rcv_nxt. */
            seg->hdr.flags &= (uint8_t)~MIR__TCP_SYN;
            seg->hdr.seq++;
            seg->seq++;
            pcb->ack_now = true;
            synchronized(pcb, seg);
        } else {
            pcb->syn_due = true;
            mir__tcp_mark(pcb);
        }
    } else if (pcb->state != MIR_TCP_S_CLOSED) {
        synchronized(pcb, seg);
    }
    if (!pcb->is_dead && pcb->state != MIR_TCP_S_CLOSED)
        mir__tcp_check(pcb);
    mir__tcp_drop(pcb);
}

/* ---- entry
 * ------------------------------------------------------------------------------------------ */

static void dispatch(struct mir__tcp_state *host, struct mir__tcp_segment *seg)
{
    struct mir__tcp_tuple tuple = {&seg->meta->dst, &seg->meta->src, seg->hdr.dst_port,
                                   seg->hdr.src_port};
    struct mir__tcp_node *node = mir__tcp_table_find(&host->table, &tuple);
    if (node == NULL) {
        struct mir__tcp_listener *listener =
            mir__tcp_listener_find(host, &seg->meta->dst, seg->hdr.dst_port);
        if (listener != NULL) {
            mir__tcp_input_listen(listener, seg, 0);
        } else {
            MIR__TCP_COUNT(host, drop_no_port);
            mir__tcp_reply_reset(host, seg);
        }
    } else if (node->kind == MIR__TCP_PCB) {
        mir__tcp_input_pcb(pcb_of_node(node), seg);
    } else if (node->kind == MIR__TCP_HALF_OPEN) {
        mir__tcp_input_half_open(host, MIR_CONTAINER_OF(node, struct mir__tcp_half_open, node),
                                 seg);
    } else {
        mir__tcp_input_time_wait(host, MIR_CONTAINER_OF(node, struct mir__tcp_time_wait, node),
                                 seg);
    }
}

/* Header, checksum, options. False: dropped and counted. */
static bool read_headers(struct mir__tcp_state *host, struct mir__tcp_segment *seg)
{
    struct mir_buf *buf = seg->buf;
    if (mir__tcp_header_parse(buf->data, buf->len, &seg->hdr) < 0 || seg->hdr.src_port == 0 ||
        seg->hdr.dst_port == 0) {
        MIR__TCP_COUNT(host, drop_malformed);
        return false;
    }
    if (seg->meta->is_broadcast) {
        MIR__TCP_COUNT(host, drop_broadcast); /* RFC 9293 section 3.9.2.3, MUST-57 */
        return false;
    }
    if (!mir__ip_transport_checksum_ok(seg->meta, MIR__PROTO_TCP, buf)) {
        MIR__TCP_COUNT(host, drop_bad_checksum);
        return false;
    }
    if (mir__tcp_options_parse(buf->data + MIR__TCP_HEADER_BYTES,
                               seg->hdr.hdr_len - MIR__TCP_HEADER_BYTES, &seg->opt) < 0) {
        MIR__TCP_COUNT(host, drop_bad_options);
        return false;
    }
    mir_buf_pull(buf, seg->hdr.hdr_len);
    seg->len = mir_buf_total(buf);
    return true;
}

void mir__tcp_input(struct mir_net *net, const struct mir__ip_meta *meta, struct mir_buf *buf_given)
{
    struct mir__tcp_state *host = mir__net_tcp(net);
    struct mir__tcp_segment seg;
    seg.meta = meta;
    seg.buf = buf_given;
    seg.skip = 0;
    seg.now_us = now_of(host);
    MIR__TCP_COUNT(host, segs_in);
    if (read_headers(host, &seg))
        dispatch(host, &seg);
    mir_buf_release(buf_given);
}

void mir__tcp_input_end(struct mir_net *net)
{
    mir__tcp_flush(mir__net_tcp(net));
}

static void move_all(struct mir_list *to, struct mir_list *from)
{
    struct mir_list *link;
    while ((link = mir_list_pop_front(from)) != NULL)
        mir_list_push_back(to, link);
}

/* In turn: who has waited longest sends first. Who then wants more, or heard an acknowledgment
 * meanwhile, stands behind those who did not come to send: or the first one would take the room of
 * all. */
void mir__tcp_tx_ready(struct mir_net *net)
{
    struct mir__tcp_state *host = mir__net_tcp(net);
    struct mir_list turn, passed, *link;
    mir_list_init(&turn);
    mir_list_init(&passed);
    move_all(&turn, &host->blocked);
    host->is_in_turn = true;
    while ((link = mir_list_pop_front(&turn)) != NULL) {
        struct mir__tcp_pcb *pcb = MIR_CONTAINER_OF(link, struct mir__tcp_pcb, pending);
        if (mir__tcp_is_busy(pcb) && mir__ip_tx_room(&pcb->busy->route) == 0) {
            mir_list_push_back(&passed, link);
            continue;
        }
        pcb->is_blocked = false;
        mir__tcp_mark(pcb);
        mir__tcp_flush(host);
    }
    host->is_in_turn = false;
    move_all(&passed, &host->blocked);
    move_all(&host->blocked, &passed);
}

/* ---- ICMP
 * ---------------------------------------------------------------------------------------------- */

void mir__tcp_icmp_error(struct mir_net *net, const struct mir_ip *local,
                         const struct mir_ip *remote, const uint8_t segment[8], int err,
                         uint16_t mtu)
{
    struct mir__tcp_state *host = mir__net_tcp(net);
    struct mir__tcp_tuple tuple = {local, remote, mir_get_be16(segment), mir_get_be16(segment + 2)};
    struct mir__tcp_node *node = mir__tcp_table_find(&host->table, &tuple);
    uint32_t seq = mir_get_be32(segment + 4);
    MIR__TCP_COUNT(host, icmp_in);
    if (node == NULL || node->kind != MIR__TCP_PCB) {
        MIR__TCP_COUNT(host, icmp_invalid);
        return;
    }
    struct mir__tcp_pcb *pcb = pcb_of_node(node);
    /* RFC 5927 section 4.1: it must be about something we have in flight. */
    if (seq_lt(seq, pcb->snd_una) || seq_ge(seq, pcb->snd_max)) {
        MIR__TCP_COUNT(host, icmp_invalid);
        return;
    }
    if (err == -MIR_ETOOBIG) {
        if (is_synchronized(pcb))
            mir__tcp_path_mtu_told(pcb, mtu);
    } else if (!is_synchronized(pcb) && (err == -MIR_ECONNREFUSED || pcb->unreachable_ends)) {
        MIR__TCP_COUNT(host, connect_failed);
        mir__tcp_finish(pcb, err);
    } else {
        /* Soft (RFC 9293 section 3.9.2.2, RFC 5927 section 5.2): only told if all else fails. */
        pcb->soft_error = (int16_t)err;
    }
}
