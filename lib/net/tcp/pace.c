/* SPDX-License-Identifier: ISC */
/* Pacing: a window is not sent in one burst.
 *
 *   rate    2 cwnd / srtt in slow start, which has to double; 1.2 cwnd / srtt else, so that the
 *           window and not the rate is what limits
 *   bucket  what may be sent at once before the rate applies
 *
 * ACKs clock a transfer in progress: it sends about as much as was acknowledged and does not come
 * near the rate. What does is the first window after a recovery that ended with one large ACK,
 * after a pause, or after a peer has opened its window wide; without pacing all of it would meet
 * the shortest queue of the path at once. So there are two ways to use this:
 *
 *   usual     a bucket of sixteen segments, and only where a round trip is long enough (4 ms) for
 *             timers to matter: nothing but such bursts is ever held back, and no timer runs else
 *   strict    a bucket of two segments: traffic is smooth. By configuration (tcp_pacing), or when
 *             the congestion control asks for it
 *
 * In both the bucket holds at least what the rate gives in two ticks of the timers, which may be
 * one tick late (lib/run). A connection that may not send yet waits for MIR__TCP_T_PACE.
 *
 * A path that was silent for a while, or a clock that jumped, leaves a long round trip in the
 * estimate, and a rate by that would be so low that it takes minutes until it is forgotten: a round
 * trip counts as four of the shortest at most. Queues longer than that are held by the ACK clock.
 *
 * Only one number is kept: when the bucket will be full again (the virtual scheduling form of a
 * leaky bucket). Probes and the first retransmission of a recovery are not held back.
 *
 * Source: RFC 9438 section 5.2 (bursts), RFC 9406 section 4.3 (slow start and pacing), RFC 6937
 * section 4; the factors are those of Linux.
 */
#include "lib/net/tcp/internal.h"

#define USUAL_RTT_US    (4 * MIR_US_PER_MS)
#define USUAL_SEGMENTS  16u
#define STRICT_SEGMENTS 2u
#define TICKS_US        2048u
#define LONG_ROUND      4u /* shortest round trips */

static bool is_strict(const struct mir__tcp_pcb *pcb)
{
    return pcb->host->pacing || pcb->cc->is_paced;
}

static bool is_paced(const struct mir__tcp_pcb *pcb)
{
    return pcb->srtt_us >= USUAL_RTT_US || (pcb->srtt_us != 0 && is_strict(pcb));
}

/* The round trip that a window is spread over. */
static mir_time_us round_of(const struct mir__tcp_pcb *pcb)
{
    return MIR_MIN((mir_time_us)pcb->srtt_us, (mir_time_us)pcb->min_rtt_us * LONG_ROUND);
}

/* Bytes for each five round trips. */
static uint64_t five_windows(const struct mir__tcp_pcb *pcb)
{
    uint64_t wnd = MIR_MAX(pcb->cwnd, (uint32_t)pcb->mss);
    if (pcb->in_recovery) /* cwnd says then how much is to be sent now, not how fast */
        wnd = MIR_MAX(wnd, (uint64_t)pcb->ssthresh);
    return pcb->cwnd < pcb->ssthresh / 2 ? 10 * wnd : 6 * wnd;
}

/* How long @len bytes take at the rate. */
static mir_time_us time_of(const struct mir__tcp_pcb *pcb, uint32_t len)
{
    return len * round_of(pcb) * 5 / five_windows(pcb);
}

uint64_t mir__tcp_pace_rate(const struct mir__tcp_pcb *pcb)
{
    if (!is_paced(pcb))
        return 0;
    return five_windows(pcb) * MIR_US_PER_S / 5 / round_of(pcb);
}

bool mir__tcp_pace_allows(struct mir__tcp_pcb *pcb)
{
    mir_time_us now_us = now_of(pcb->host);
    /* An empty bucket is rare: the rest is done only if there may be one. */
    if (MIR_LIKELY(pcb->busy->full_us <= now_us) || !is_paced(pcb))
        return true;
    uint32_t segments = is_strict(pcb) ? STRICT_SEGMENTS : USUAL_SEGMENTS;
    mir_time_us depth_us = MIR_MAX(time_of(pcb, segments * pcb->mss), (mir_time_us)TICKS_US);
    if (pcb->busy->full_us <= now_us + depth_us)
        return true;
    mir__tcp_timer_set(pcb, MIR__TCP_T_PACE, pcb->busy->full_us - depth_us);
    return false;
}

void mir__tcp_pace_sent(struct mir__tcp_pcb *pcb, uint32_t len)
{
    if (!is_paced(pcb))
        return;
    mir_time_us from_us = MIR_MAX(pcb->busy->full_us, now_of(pcb->host));
    pcb->busy->full_us = from_us + time_of(pcb, len);
}
