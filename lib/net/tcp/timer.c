/* SPDX-License-Identifier: ISC */
/* Timers of a connection.
 *
 * There is one timer of the loop per connection and a deadline for each purpose. The timer goes off
 * at, or before, the earliest deadline: moving a deadline further away, which each ACK does to the
 * retransmission deadline, touches only a number. When the timer goes off too early for all
 * deadlines, it is set again.
 *
 *   REXMT   data, SYN or FIN is not acknowledged: RFC 6298. The interval doubles with every loss,
 * is at least 200 ms (a deviation allowed by its note in section 2.4, as everywhere) and at most 60
 * s. After MIR__TCP_R2_DATA times, or the user timeout, the connection fails. While the peer's
 * window is closed the same deadline means: probe (RFC 9293 3.8.6.1); a peer that answers probes
 * may keep its window closed for ever, unless a user timeout is set or the application has closed
 * the connection: then MIR__TCP_R2_DATA probes are enough. DELACK  at most 40 ms after
 * data arrived (RFC 9293 section 3.8.6.3, MUST-58). KEEP    idle connections, if the application
 * asked for it (section 3.8.4); FIN_WAIT_2 of closed connections, whose peer may never send its
 * FIN. MEMORY  the application was refused memory and no acknowledgment will tell it when to go on.
 * LOSS    the reordering window of RACK, or a tail loss probe, which comes before REXMT (rack.c).
 *
 * RTT samples: one segment at a time is timed in microseconds, retransmitted ones never (Karn).
 */
#include "lib/net/tcp/loss.h"

static void fire(void *arg);

static void forget_all(struct mir__tcp_pcb *pcb)
{
    for (uint32_t i = 0; i < MIR__TCP_TIMERS; i++)
        mir__tcp_timer_stop(pcb, (enum mir__tcp_timer)i);
}

void mir__tcp_timer_init(struct mir__tcp_pcb *pcb)
{
    mir_timer_init(&pcb->timer, fire, pcb);
    forget_all(pcb);
}

static void arm(struct mir__tcp_pcb *pcb, mir_time_us at_us)
{
    if (!mir_timer_is_set(&pcb->timer) || at_us < pcb->timer.deadline_us)
        mir_timer_set(pcb->host->loop, &pcb->timer, at_us);
}

void mir__tcp_timer_set(struct mir__tcp_pcb *pcb, enum mir__tcp_timer which, mir_time_us at_us)
{
    if (which < MIR__TCP_BUSY_TIMERS) {
        MIR_ASSERT(mir__tcp_is_busy(pcb));
        pcb->busy->deadline[which] = at_us;
    } else {
        pcb->deadline[which - MIR__TCP_BUSY_TIMERS] = at_us;
    }
    arm(pcb, at_us);
}

void mir__tcp_timer_stop_all(struct mir__tcp_pcb *pcb)
{
    mir_timer_cancel(&pcb->timer);
    forget_all(pcb);
}

static mir_time_us backed_off(const struct mir__tcp_pcb *pcb)
{
    mir_time_us interval = (mir_time_us)pcb->rto_us << MIR_MIN(pcb->rexmt_count, (uint8_t)20);
    return MIR_MIN(interval, MIR__TCP_RTO_MAX_US);
}

static bool user_timeout_passed(const struct mir__tcp_pcb *pcb, mir_time_us now_us)
{
    return pcb->user_timeout_ms != 0 &&
           now_us - pcb->busy->progress_us >= (mir_time_us)pcb->user_timeout_ms * MIR_US_PER_MS;
}

/* The deadline after @interval, earlier if the user timeout ends before. */
static void set_rexmt(struct mir__tcp_pcb *pcb, mir_time_us interval)
{
    mir_time_us at_us = now_of(pcb->host) + interval;
    /* What could not be sent yet is not waited for. */
    if (pcb->user_timeout_ms != 0 && (pcb->snd_una != pcb->snd_max || pcb->is_persist)) {
        mir_time_us limit_us =
            pcb->busy->progress_us + (mir_time_us)pcb->user_timeout_ms * MIR_US_PER_MS;
        at_us = MIR_MIN(at_us, MIR_MAX(limit_us, now_of(pcb->host) + MIR_US_PER_MS));
    }
    mir__tcp_timer_set(pcb, MIR__TCP_T_REXMT, at_us);
}

void mir__tcp_timer_rexmt(struct mir__tcp_pcb *pcb)
{
    pcb->is_persist = false;
    set_rexmt(pcb, backed_off(pcb));
}

void mir__tcp_timer_persist(struct mir__tcp_pcb *pcb)
{
    if (!pcb->is_persist) {
        pcb->is_persist = true;
        pcb->rexmt_count = 0;
        pcb->busy->progress_us = now_of(pcb->host);
    }
    set_rexmt(pcb, backed_off(pcb));
}

void mir__tcp_timer_keepalive(struct mir__tcp_pcb *pcb)
{
    if (pcb->keep_idle_s == 0 || !is_synchronized(pcb))
        mir__tcp_timer_stop(pcb, MIR__TCP_T_KEEP);
    else
        mir__tcp_timer_set(pcb, MIR__TCP_T_KEEP,
                           pcb->received_us + pcb->keep_idle_s * MIR_US_PER_S);
}

void mir__tcp_rtt_sample(struct mir__tcp_pcb *pcb, uint32_t rtt_us)
{
    uint32_t rtt = MIR_MAX(rtt_us, 1u);
    if (pcb->min_rtt_us == 0 || rtt < pcb->min_rtt_us)
        pcb->min_rtt_us = rtt;
    if (pcb->srtt_us == 0) {
        pcb->srtt_us = rtt;
        pcb->rttvar_us = rtt / 2;
    } else {
        uint32_t delta = rtt > pcb->srtt_us ? rtt - pcb->srtt_us : pcb->srtt_us - rtt;
        pcb->rttvar_us = pcb->rttvar_us - pcb->rttvar_us / 4 + delta / 4;
        pcb->srtt_us = MIR_MAX(pcb->srtt_us - pcb->srtt_us / 8 + rtt / 8, 1u);
    }
    /* The minimum is for the deviation: a peer may delay its ACK by about as much. */
    uint64_t rto = pcb->srtt_us + MIR_MAX((uint64_t)4 * pcb->rttvar_us, MIR__TCP_RTO_MIN_US);
    pcb->rto_us = (uint32_t)MIR_MIN(rto, MIR__TCP_RTO_MAX_US);
}

static void give_up(struct mir__tcp_pcb *pcb)
{
    MIR__TCP_COUNT(pcb->host, timed_out);
    if (!is_synchronized(pcb))
        MIR__TCP_COUNT(pcb->host, connect_failed);
    mir__tcp_reset(pcb, pcb->soft_error != 0 ? pcb->soft_error : -MIR_ETIMEDOUT);
}

static void persist_fired(struct mir__tcp_pcb *pcb, mir_time_us now_us)
{
    if (pcb->cork && pcb->snd_wnd >= pcb->mss && pcb->snd_una == pcb->snd_max) {
        pcb->is_persist = false;
        pcb->cork_over = true;
        mir__tcp_mark(pcb);
        return;
    }
    bool is_silent =
        pcb->rexmt_count >= MIR__TCP_R2_DATA && now_us - pcb->received_us > 2 * MIR__TCP_RTO_MAX_US;
    /* Nobody is left who could lose patience. */
    bool is_orphan = pcb->is_detached && pcb->rexmt_count >= MIR__TCP_R2_DATA;
    if (is_silent || is_orphan || user_timeout_passed(pcb, now_us)) {
        give_up(pcb);
        return;
    }
    MIR__TCP_COUNT(pcb->host, persist_probes);
    pcb->rexmt_count = (uint8_t)MIR_MIN(pcb->rexmt_count + 1u, MIR__TCP_R2_DATA);
    mir__tcp_send_persist(pcb);
    set_rexmt(pcb, backed_off(pcb));
}

static void rexmt_fired(struct mir__tcp_pcb *pcb, mir_time_us now_us)
{
    bool is_syn = !is_synchronized(pcb);
    if (pcb->is_persist) {
        persist_fired(pcb, now_us);
        return;
    }
    bool is_idle = pcb->snd_una == pcb->snd_max && !is_syn;
    if (is_idle && !pcb->is_blocked) {
        if (pcb->is_detached && pcb->busy->route.iface == NULL &&
            now_us - pcb->received_us > 2 * MIR__TCP_RTO_MAX_US)
            give_up(pcb); /* no way to send it, and nobody to lose patience */
        else
            mir__tcp_mark(pcb); /* a buffer or a route was missing */
        return;
    }
    uint32_t syn_limit = pcb->is_passive ? MIR__TCP_R2_SYN_ACK : MIR__TCP_R2_SYN;
    if (pcb->rexmt_count >= (is_syn ? syn_limit : MIR__TCP_R2_DATA) ||
        user_timeout_passed(pcb, now_us)) {
        give_up(pcb);
        return;
    }
    pcb->rexmt_count++;
    if (!is_syn && !mir__tcp_has_room(pcb)) {
        /* It could not be sent again, and what is in flight may not have left: no loss. */
        MIR__TCP_COUNT(pcb->host, timeouts_deferred);
        mir__tcp_timer_rexmt(pcb);
        return;
    }
    if (is_idle) {
        mir__tcp_mark(pcb);
        return;
    }
    pcb->timeouts++;
    MIR__TCP_COUNT(pcb->host, timeouts);
    pcb->is_timing = false;
    if (is_syn) {
        pcb->syn_due = true;
        pcb->syn_rexmitted = true;
    } else {
        mir__tcp_path_timeout(pcb);
        mir__tcp_undo_begin(pcb, true);
        mir__tcp_ecn_reduced(pcb);
        pcb->cc->on_timeout(pcb, pcb->snd_max - pcb->snd_una, pcb->rexmt_count > 1);
        pcb->recover = pcb->snd_max;
        pcb->in_recovery = false;
        pcb->rexmt_first = false;
        pcb->dup_acks = 0;
        if (pcb->loss != NULL)
            mir__tcp_recovery_timeout(pcb);
        else
            pcb->snd_nxt = pcb->snd_una;
    }
    mir__tcp_timer_rexmt(pcb);
    mir__tcp_mark(pcb);
}

static void keep_fired(struct mir__tcp_pcb *pcb, mir_time_us now_us)
{
    if (pcb->state == MIR_TCP_S_FIN_WAIT_2 && pcb->is_detached) {
        MIR__TCP_COUNT(pcb->host, fin_wait_2_timeouts);
        mir__tcp_finish(pcb, 0);
        return;
    }
    if (pcb->is_detached && pcb->linger_ms != MIR_TCP_LINGER_OFF) {
        MIR__TCP_COUNT(pcb->host, linger_timeouts);
        mir__tcp_reset(pcb, -MIR_ETIMEDOUT);
        return;
    }
    mir_time_us idle_us = pcb->keep_idle_s * MIR_US_PER_S;
    if (idle_us == 0 || !is_synchronized(pcb))
        return;
    if (now_us - pcb->received_us < idle_us) {
        mir__tcp_timer_keepalive(pcb);
        return;
    }
    if (pcb->snd_una != pcb->snd_max || pcb->is_persist) {
        /* What is outstanding asks the peer already (RFC 9293 section 3.8.4, MUST-26). */
        mir__tcp_timer_set(pcb, MIR__TCP_T_KEEP, now_us + idle_us);
        return;
    }
    if (pcb->keep_sent >= pcb->keep_count) {
        MIR__TCP_COUNT(pcb->host, keepalive_failed);
        mir__tcp_reset(pcb, pcb->soft_error != 0 ? pcb->soft_error : -MIR_ETIMEDOUT);
        return;
    }
    pcb->keep_sent++;
    MIR__TCP_COUNT(pcb->host, keepalive_probes);
    mir__tcp_send_probe(pcb);
    mir__tcp_timer_set(pcb, MIR__TCP_T_KEEP, now_us + pcb->keep_intvl_s * MIR_US_PER_S);
}

static void memory_fired(struct mir__tcp_pcb *pcb, mir_time_us now_us)
{
    if (pcb->state != MIR_TCP_S_CLOSED)
        mir__tcp_mark(pcb); /* output may have missed its block */
    if (!pcb->wants_write)
        return;
    if (mir__tcp_send_room_now(pcb) > 0) {
        pcb->wants_write = false;
        mir__tcp_raise(pcb, MIR_TCP_WRITABLE);
    } else {
        mir__tcp_timer_set(pcb, MIR__TCP_T_MEMORY, now_us + MIR__TCP_MEMORY_RETRY_US);
    }
}

static void fire_one(struct mir__tcp_pcb *pcb, enum mir__tcp_timer which, mir_time_us now_us)
{
    switch (which) {
    case MIR__TCP_T_LOSS:
        mir__tcp_recovery_timer(pcb, now_us);
        break;
    case MIR__TCP_T_REXMT:
        rexmt_fired(pcb, now_us);
        break;
    case MIR__TCP_T_DELACK:
        if (pcb->ack_pending) {
            MIR__TCP_COUNT(pcb->host, delayed_acks);
            pcb->ack_now = true;
            mir__tcp_mark(pcb);
        }
        break;
    case MIR__TCP_T_PACE:
        mir__tcp_mark(pcb);
        break;
    case MIR__TCP_T_REST:
        mir__tcp_rest_fired(pcb, now_us);
        break;
    case MIR__TCP_T_KEEP:
        keep_fired(pcb, now_us);
        break;
    case MIR__TCP_T_MEMORY:
        memory_fired(pcb, now_us);
        break;
    case MIR__TCP_TIMERS:
        break;
    }
}

static void fire(void *arg)
{
    struct mir__tcp_pcb *pcb = arg;
    mir_time_us now_us = now_of(pcb->host);
    mir__tcp_hold(pcb);
    for (uint32_t i = 0; i < MIR__TCP_TIMERS; i++) {
        enum mir__tcp_timer which = (enum mir__tcp_timer)i;
        if (mir__tcp_deadline(pcb, which) > now_us)
            continue;
        mir__tcp_timer_stop(pcb, which);
        fire_one(pcb, which, now_us);
    }
    mir_time_us next_us = MIR_TIME_NEVER;
    for (uint32_t i = 0; i < MIR__TCP_TIMERS; i++)
        next_us = MIR_MIN(next_us, mir__tcp_deadline(pcb, (enum mir__tcp_timer)i));
    if (next_us != MIR_TIME_NEVER)
        arm(pcb, next_us);
    mir__tcp_drop(pcb);
}
