/* SPDX-License-Identifier: ISC */
/* NewReno congestion control: slow start, congestion avoidance, and what a loss does to cwnd.
 *
 *   initial window  10 segments (RFC 6928)
 *   slow start      cwnd grows by the bytes acknowledged, while cwnd < ssthresh (RFC 5681 3.1, with
 *                   byte counting, RFC 3465; one ACK for a 64 KiB frame counts all of it)
 *   avoidance       one mss for each cwnd of acknowledged bytes
 *   loss            ssthresh = max(flight / 2, 2 mss); recovery in ack.c inflates from there
 *   timeout         cwnd = 1 mss; ssthresh changes only for the first timeout of a segment
 *   idle            cwnd falls back to the initial window (RFC 5681 section 4.1)
 *
 * A window that is not used does not grow (RFC 7661's concern): on_ack() looks at is_cwnd_limited,
 * which output sets when cwnd, not the application or the peer, ended a burst. In slow start, where
 * the next window is twice as large, it is enough that half of it was used (RFC 7661 section 4.2).
 *
 * Everything is behind struct mir__tcp_cc; CUBIC (cc_cubic.c) and others take the same place. Which
 * one a stack uses is in its configuration.
 */
#include "lib/net/tcp/internal.h"

uint32_t mir__tcp_initial_window(const struct mir__tcp_pcb *pcb)
{
    uint32_t mss = pcb->mss;
    return MIR_MIN(MIR__TCP_INITIAL_SEGMENTS * mss, MIR_MAX(2 * mss, 14600u));
}

static void reno_init(struct mir__tcp_pcb *pcb)
{
    /* A lost SYN or SYN-ACK: begin with one segment (RFC 5681 section 3.1). */
    pcb->cwnd = pcb->syn_rexmitted ? pcb->mss : mir__tcp_initial_window(pcb);
    pcb->ssthresh = MIR__TCP_CWND_MAX;
    pcb->cc_acked = 0;
}

static void reno_on_ack(struct mir__tcp_pcb *pcb, uint32_t acked)
{
    if (!mir__tcp_cwnd_used(pcb) || pcb->cwnd >= MIR__TCP_CWND_MAX)
        return;
    if (pcb->cwnd < pcb->ssthresh) {
        uint32_t grown = MIR_MIN(acked, pcb->ssthresh - pcb->cwnd);
        pcb->cwnd += grown;
        acked -= grown;
    }
    pcb->cc_acked += acked;
    if (pcb->cc_acked >= pcb->cwnd) {
        pcb->cc_acked -= pcb->cwnd;
        pcb->cwnd += pcb->mss;
    }
}

static uint32_t half_of(const struct mir__tcp_pcb *pcb, uint32_t flight)
{
    return MIR_MAX(flight / 2, 2u * pcb->mss);
}

static void reno_on_loss(struct mir__tcp_pcb *pcb, uint32_t flight)
{
    pcb->ssthresh = half_of(pcb, flight);
    pcb->cwnd = pcb->ssthresh;
    pcb->cc_acked = 0;
}

static void reno_on_recovered(struct mir__tcp_pcb *pcb, uint32_t flight)
{
    /* RFC 6582 section 3.2 step 3, full acknowledgment, option 1: no burst. */
    pcb->cwnd = MIR_MIN(pcb->ssthresh, MIR_MAX(flight, pcb->mss) + pcb->mss);
}

static void reno_on_timeout(struct mir__tcp_pcb *pcb, uint32_t flight, bool again)
{
    if (!again)
        pcb->ssthresh = half_of(pcb, flight);
    pcb->cwnd = pcb->mss;
    pcb->cc_acked = 0;
}

static void reno_on_idle(struct mir__tcp_pcb *pcb)
{
    pcb->cwnd = MIR_MIN(pcb->cwnd, mir__tcp_initial_window(pcb));
}

const struct mir__tcp_cc mir__tcp_cc_reno = {
    .name = "reno",
    .init = reno_init,
    .on_ack = reno_on_ack,
    .on_loss = reno_on_loss,
    .on_recovered = reno_on_recovered,
    .on_timeout = reno_on_timeout,
    .on_idle = reno_on_idle,
};

static bool is_name(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

const struct mir__tcp_cc *mir__tcp_cc_find(const char *name)
{
    if (name == NULL || is_name(name, mir__tcp_cc_cubic.name))
        return &mir__tcp_cc_cubic;
    return is_name(name, mir__tcp_cc_reno.name) ? &mir__tcp_cc_reno : NULL;
}
