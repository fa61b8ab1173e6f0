/* SPDX-License-Identifier: ISC */
/* TIME_WAIT: what is left of a connection for two maximum segment lifetimes.
 *
 * The connection object is replaced by an entry of 96 bytes that can do the three things asked of
 * the state (RFC 9293 section 3.10.7.4): acknowledge a FIN that is sent again, keep old duplicates
 * out of a new connection, and give way to one that is evidently new.
 *
 *   RST             ignored: TIME_WAIT is not to be assassinated (RFC 1337 section 3, fix F1)
 *   SYN, new        a greater timestamp (RFC 6191), or without timestamps a greater sequence number
 *                   (RFC 9293 section 3.6.1): the entry goes, the listener takes the SYN, with an
 *                   ISN above everything we sent
 *   FIN             acknowledged, and the time starts again
 *   anything else   acknowledged if it has data or a SYN (limited in number), else dropped
 *
 * Entries are in the order of their expiry, because all live equally long; one timer serves all.
 * Their number is bounded: the oldest gives way, which risks only what TIME_WAIT protects from.
 */
#include "lib/net/tcp/internal.h"

#define TIME_WAIT_MS ((uint32_t)(2 * MIR__TCP_MSL_US / MIR_US_PER_MS))
#define ANSWER_MS    100u

static struct mir__tcp_time_wait *wait_of(struct mir_list *link)
{
    return MIR_CONTAINER_OF(link, struct mir__tcp_time_wait, link);
}

static void arm(struct mir__tcp_state *host)
{
    if (mir_list_is_empty(&host->time_wait)) {
        mir_timer_cancel(&host->time_wait_timer);
        return;
    }
    uint32_t left_ms = wait_of(host->time_wait.next)->expires_ms - ms_of(now_of(host));
    if ((int32_t)left_ms < 0)
        left_ms = 0;
    mir_timer_set(host->loop, &host->time_wait_timer, now_of(host) + (left_ms + 1) * MIR_US_PER_MS);
}

void mir__tcp_time_wait_remove(struct mir__tcp_state *host, struct mir__tcp_time_wait *wait)
{
    mir__tcp_table_remove(host, &wait->node);
    mir_list_remove(&wait->link);
    mir_pool_free(&host->time_waits, wait);
}

static void fire(void *arg)
{
    struct mir__tcp_state *host = arg;
    uint32_t now_ms = ms_of(now_of(host));
    while (!mir_list_is_empty(&host->time_wait) &&
           seq_le(wait_of(host->time_wait.next)->expires_ms, now_ms))
        mir__tcp_time_wait_remove(host, wait_of(host->time_wait.next));
    arm(host);
}

void mir__tcp_time_wait_init(struct mir__tcp_state *host)
{
    mir_list_init(&host->time_wait);
    mir_timer_init(&host->time_wait_timer, fire, host);
}

void mir__tcp_time_wait_fini(struct mir__tcp_state *host)
{
    mir_timer_cancel(&host->time_wait_timer);
    while (!mir_list_is_empty(&host->time_wait))
        mir__tcp_time_wait_remove(host, wait_of(host->time_wait.next));
}

/* (Re)start two maximum segment lifetimes. */
static void restart(struct mir__tcp_state *host, struct mir__tcp_time_wait *wait)
{
    mir_list_remove(&wait->link);
    mir_list_push_back(&host->time_wait, &wait->link);
    wait->expires_ms = ms_of(now_of(host)) + TIME_WAIT_MS;
    if (!mir_timer_is_set(&host->time_wait_timer))
        arm(host);
}

void mir__tcp_time_wait_enter(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_state *host = pcb->host;
    struct mir__tcp_tuple tuple = tuple_of(&pcb->node);
    if (mir_pool_used(&host->time_waits) >= host->time_waits.limit &&
        !mir_list_is_empty(&host->time_wait)) {
        MIR__TCP_COUNT(host, time_wait_recycled);
        mir__tcp_time_wait_remove(host, wait_of(host->time_wait.next));
    }
    struct mir__tcp_time_wait *wait = mir_pool_alloc(&host->time_waits);
    if (wait == NULL)
        return; /* counted by the pool */
    *wait = (struct mir__tcp_time_wait){
        .snd_nxt = pcb->snd_max,
        .rcv_nxt = pcb->rcv_nxt,
        .ts_recent = pcb->ts_recent,
        .rcv_wnd = mir__tcp_rcv_wnd(pcb),
        .acked_ms = ms_of(now_of(host)) - ANSWER_MS,
    };
    mir__tcp_table_insert(host, &wait->node, &tuple, MIR__TCP_TIME_WAIT);
    wait->node.has_ts = pcb->has_ts;
    wait->node.rcv_wscale = pcb->node.rcv_wscale;
    mir_list_init(&wait->link);
    restart(host, wait);
}

static void answer(struct mir__tcp_state *host, struct mir__tcp_time_wait *wait)
{
    uint32_t now_ms = ms_of(now_of(host));
    struct mir__tcp_tuple tuple = tuple_of(&wait->node);
    if (now_ms - wait->acked_ms < ANSWER_MS) {
        MIR__TCP_COUNT(host, challenge_acks_limited);
        return;
    }
    wait->acked_ms = now_ms;
    struct mir__tcp_options opt = {
        .has_ts = wait->node.has_ts,
        .tsval = now_ms + mir__tcp_ts_offset(host, &tuple),
        .tsecr = wait->ts_recent,
    };
    struct mir__tcp_control ctl = {
        .tuple = &tuple,
        .seq = wait->snd_nxt,
        .ack = wait->rcv_nxt,
        .wnd = (uint16_t)MIR_MIN(wait->rcv_wnd >> wait->node.rcv_wscale, 65535u),
        .flags = MIR__TCP_ACK,
        .opt = &opt,
    };
    mir__tcp_send_control(host, &ctl);
}

static bool is_new_connection(const struct mir__tcp_time_wait *wait,
                              const struct mir__tcp_segment *seg)
{
    if ((seg->hdr.flags & (MIR__TCP_SYN | MIR__TCP_ACK | MIR__TCP_FIN)) != MIR__TCP_SYN)
        return false;
    if (wait->node.has_ts && seg->opt.has_ts && seg->opt.tsval != wait->ts_recent)
        return seq_gt(seg->opt.tsval, wait->ts_recent);
    return seq_gt(seg->hdr.seq, wait->rcv_nxt);
}

void mir__tcp_input_time_wait(struct mir__tcp_state *host, struct mir__tcp_time_wait *wait,
                              struct mir__tcp_segment *seg)
{
    uint8_t flags = seg->hdr.flags;
    if (flags & MIR__TCP_RST) {
        MIR__TCP_COUNT(host, time_wait_resets_ignored);
        return;
    }
    if (is_new_connection(wait, seg)) {
        struct mir__tcp_listener *listener =
            mir__tcp_listener_find(host, &seg->meta->dst, seg->hdr.dst_port);
        if (listener != NULL) {
            uint32_t snd_nxt = wait->snd_nxt;
            MIR__TCP_COUNT(host, time_wait_reused);
            mir__tcp_time_wait_remove(host, wait);
            mir__tcp_input_listen(listener, seg, snd_nxt);
            return;
        }
    }
    bool is_old = wait->node.has_ts && seg->opt.has_ts && seq_lt(seg->opt.tsval, wait->ts_recent);
    if (is_old)
        MIR__TCP_COUNT(host, drop_paws);
    if ((flags & MIR__TCP_FIN) && !is_old)
        restart(host, wait);
    if (seg->len > 0 || (flags & (MIR__TCP_SYN | MIR__TCP_FIN)))
        answer(host, wait);
    else if (!is_old && seg->hdr.seq != wait->rcv_nxt)
        MIR__TCP_COUNT(host, drop_out_of_window);
}
