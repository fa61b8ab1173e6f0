/* SPDX-License-Identifier: ISC */
/* Buffer sizes that follow the path: nobody sets them by hand.
 *
 * Receive. The window has to be what arrives in a round trip, twice, because a sender in slow start
 * doubles: so it is measured what the application takes in each round trip (dynamic right-sizing,
 * M. Fisk and W. Feng, 2001). When that is more than ever before, the limit becomes
 *
 *   2 x taken + 16 segments, and as much more as `taken` has grown by since the last round trip
 *
 * An application that does not read, or a sender that has nothing, makes no limit grow. The round
 * trip as the receiver sees it is the age of the timestamp that data echoes (RFC 7323 section 4),
 * or, without timestamps, the time in which a whole window arrives; both are too long when the
 * sender pauses, and a long round trip only makes more bytes count, so the smallest is taken, and
 * let grow by an eighth of the difference.
 *
 * Send. What is queued has to cover what is in flight and what the application writes while that is
 * acknowledged: two congestion windows. There is nothing to remember.
 *
 * They begin at 128 and 256 KiB, end at limits of the configuration, never grow while the stack has
 * half of its memory in queues, and above three quarters of it connections get no more than they
 * began with: a promise made is kept (window.c), further ones are small. A connection that comes to
 * rest begins anew. SNDBUF and RCVBUF switch tuning off for their direction.
 *
 * Source: RFC 9293 section 3.8.6.2.2; RFC 7323 section 2.
 */
#include "lib/net/tcp/internal.h"

/* Shorter ones would be the granularity of clocks. */
#define ROUND_MIN_US MIR_US_PER_MS

static bool is_tight(const struct mir__tcp_state *host)
{
    return host->memory_used > host->memory_max / 2;
}

uint32_t mir__tcp_snd_limit(const struct mir__tcp_pcb *pcb)
{
    const struct mir__tcp_state *host = pcb->host;
    if (!pcb->snd_tuned || is_tight(host))
        return pcb->snd_limit;
    return MIR_MIN(MIR_MAX(2 * MIR_MIN(pcb->cwnd, 1u << 30), pcb->snd_limit), host->sndbuf_max);
}

uint32_t mir__tcp_rcv_limit(const struct mir__tcp_pcb *pcb)
{
    const struct mir__tcp_state *host = pcb->host;
    if (pcb->rcv_tuned && host->memory_used > host->memory_max / 4 * 3)
        return MIR_MIN(pcb->rcv_limit, host->rcvbuf);
    return pcb->rcv_limit;
}

static void take_round(struct mir__tcp_tune *t, mir_time_us round_us)
{
    uint32_t us = (uint32_t)MIR_MIN(MIR_MAX(round_us, ROUND_MIN_US), MIR__TCP_RTO_MAX_US);
    if (t->round_us == 0 || us < t->round_us)
        t->round_us = us;
    else
        t->round_us += (us - t->round_us) / 8;
}

void mir__tcp_tune_arrived(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    struct mir__tcp_tune *t = &pcb->busy->tune;
    if (pcb->has_ts) {
        uint32_t age_ms = mir__tcp_tsval(pcb, seg->now_us) - seg->opt.tsecr;
        if (seg->opt.tsecr == t->tsecr || seg->opt.tsecr == 0 || seg->len < pcb->rcv_mss)
            return;
        t->tsecr = seg->opt.tsecr;
        if (age_ms < MIR__TCP_RTO_MAX_US / MIR_US_PER_MS)
            take_round(t, age_ms * MIR_US_PER_MS);
        return;
    }
    if (t->window_us != 0 && seq_lt(pcb->rcv_nxt, t->window_end))
        return;
    if (t->window_us != 0)
        take_round(t, seg->now_us - t->window_us);
    t->window_us = seg->now_us;
    t->window_end = pcb->rcv_adv;
}

static void grow(struct mir__tcp_pcb *pcb, struct mir__tcp_tune *t)
{
    const struct mir__tcp_state *host = pcb->host;
    uint64_t want = 2 * (uint64_t)t->taken + 16u * pcb->rcv_mss;
    want += 2 * want * (t->taken - t->most) / t->most;
    uint32_t most = MIR_MIN(host->rcvbuf_max, (uint32_t)65535 << pcb->node.rcv_wscale);
    if (want > pcb->rcv_limit && !is_tight(host))
        pcb->rcv_limit = (uint32_t)MIR_MIN(want, (uint64_t)most);
    t->most = t->taken;
}

void mir__tcp_tune_taken(struct mir__tcp_pcb *pcb, uint32_t len, mir_time_us now_us)
{
    struct mir__tcp_tune *t = &pcb->busy->tune;
    t->taken += MIR_MIN(len, UINT32_MAX - t->taken);
    if (t->round_us == 0 || now_us - t->begin_us < t->round_us)
        return;
    if (t->most == 0)
        t->most = MIR__TCP_INITIAL_SEGMENTS * pcb->rcv_mss;
    /* A pause makes a round longer than a round trip: then it says nothing. */
    if (t->taken > t->most && t->begin_us != 0 && now_us - t->begin_us < 2 * t->round_us)
        grow(pcb, t);
    t->taken = 0;
    t->begin_us = now_us;
}

void mir__tcp_tune_rest(struct mir__tcp_pcb *pcb)
{
    if (pcb->rcv_tuned)
        pcb->rcv_limit = MIR_MIN(pcb->rcv_limit, pcb->host->rcvbuf);
}
