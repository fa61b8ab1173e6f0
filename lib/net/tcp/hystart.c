/* SPDX-License-Identifier: ISC */
/* HyStart++ (RFC 9406): leave the first slow start when the round trip grows, before queues run
 * over.
 *
 * Slow start doubles the window each round trip until something is lost, and then a whole window
 * is: the queue at the bottleneck was filled in the last round. But a queue that fills is seen
 * before it is full, as delay:
 *
 *   round       until what was sent by its beginning is acknowledged; its delay is the smallest of
 *               at least 8 samples, which noise and delayed ACKs hardly touch
 *   slow start  window += acknowledged bytes. If a round's delay is above the last one's by an
 *               eighth of it (at least 4, at most 16 ms): conservative slow start
 *   CSS         window += a quarter of that. Back to slow start if the delay falls below that at
 *               entry: it was jitter. After 5 such rounds: ssthresh = cwnd, slow start is over
 *
 * One ACK counts 8 segments at most, since nothing is paced (section 4.3, L); where a device
 * segments for us, all of one large frame, which it sends at once anyway.
 *
 * Samples come from timestamps, one an ACK, in milliseconds. Without timestamps one segment a round
 * trip is timed: never 8, so slow start ends with the first loss, as RFC 5681's.
 */
#include "lib/net/tcp/internal.h"

#define MIN_RTT_THRESH_US  4000u
#define MAX_RTT_THRESH_US  16000u
#define MIN_RTT_DIVISOR    8u
#define N_RTT_SAMPLE       8u
#define CSS_GROWTH_DIVISOR 4u
#define CSS_ROUNDS         5u
#define L_SEGMENTS         8u
#define NO_RTT             UINT32_MAX

void mir__tcp_hystart_init(struct mir__tcp_hystart *h, uint32_t snd_nxt)
{
    *h = (struct mir__tcp_hystart){
        .window_end = snd_nxt,
        .last_rtt_us = NO_RTT,
        .round_rtt_us = NO_RTT,
        .baseline_us = NO_RTT,
    };
}

void mir__tcp_hystart_rtt(struct mir__tcp_hystart *h, uint32_t rtt_us)
{
    h->round_rtt_us = MIR_MIN(h->round_rtt_us, rtt_us);
    if (h->samples < UINT8_MAX)
        h->samples++;
}

/* Has delay risen, or, in CSS, fallen again? */
static void judge(struct mir__tcp_hystart *h)
{
    if (h->samples < N_RTT_SAMPLE)
        return;
    if (h->css_round > 0) {
        if (h->round_rtt_us < h->baseline_us) {
            h->baseline_us = NO_RTT;
            h->css_round = 0;
        }
        return;
    }
    if (h->last_rtt_us == NO_RTT)
        return;
    uint32_t rise = h->last_rtt_us / MIN_RTT_DIVISOR;
    rise = MIR_MIN(MIR_MAX(rise, MIN_RTT_THRESH_US), MAX_RTT_THRESH_US);
    if (h->round_rtt_us >= h->last_rtt_us + rise) {
        h->baseline_us = h->round_rtt_us;
        h->css_round = 1; /* the rest of this round counts as one */
    }
}

bool mir__tcp_hystart_round(struct mir__tcp_hystart *h, uint32_t snd_una, uint32_t snd_nxt)
{
    judge(h);
    if (seq_lt(snd_una, h->window_end))
        return false;
    h->window_end = snd_nxt;
    h->last_rtt_us = h->round_rtt_us;
    h->round_rtt_us = NO_RTT;
    h->samples = 0;
    if (h->css_round == 0)
        return false;
    return h->css_round++ >= CSS_ROUNDS;
}

void mir__tcp_hystart_ack(struct mir__tcp_pcb *pcb, struct mir__tcp_hystart *h, uint32_t acked)
{
    uint32_t most = MIR_MAX(L_SEGMENTS * pcb->mss, pcb->busy->route.gso_max);
    bool is_over = mir__tcp_hystart_round(h, pcb->snd_una, pcb->snd_nxt);
    uint32_t step = MIR_MIN(acked, most);
    if (h->css_round > 0)
        step /= CSS_GROWTH_DIVISOR;
    pcb->cwnd = MIR_MIN(pcb->cwnd + step, MIR__TCP_CWND_MAX - 1);
    if (is_over) {
        pcb->ssthresh = pcb->cwnd;
        MIR__TCP_COUNT(pcb->host, hystart_exits);
    }
}
