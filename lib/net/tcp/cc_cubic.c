/* SPDX-License-Identifier: ISC */
/* CUBIC congestion control (RFC 9438), in integers.
 *
 * After a loss the window falls to 0.7 of what it was and then follows a cubic function of *time*,
 * not of acknowledgments: quickly back towards W_max, the window at the loss, slowly around it,
 * and, if nothing is lost there, ever faster beyond (section 4.2):
 *
 *   cwnd                                     /       W_cubic(t) = C (t - K)^3 + W_max
 *     W_max - - - - - - -  ______-----______/        K = cuberoot((W_max - cwnd_epoch) / C)
 *                    __---   concave | convex        C = 0.4 segments / s^3
 *     cwnd_epoch   _/                K               t: since the epoch began
 *
 *   growth      per ACK (target - cwnd) * acked / cwnd, target = W_cubic(t + srtt) within
 *               [cwnd, 1.5 cwnd] (4.4, 4.5)
 *   Reno-friendly region   w_est is what a Reno flow of the same average would have: 9/17 mss a
 *               window, one mss from cwnd_prior on; cwnd is never below it (4.3)
 *   loss        ssthresh = 0.7 flight; W_max = cwnd, or 0.85 cwnd if the last W_max was not reached
 *               again (fast convergence, 4.6, 4.7)
 *   timeout     cwnd = 1 mss; the next epoch has K = 0 and begins where slow start ends (4.8)
 *   slow start  the first one by HyStart++ (hystart.c, section 4.10); later ones by bytes
 *               acknowledged up to ssthresh
 *   idle        cwnd falls back to the initial window, ssthresh keeps 3/4 of it (RFC 7661's and
 *               RFC 5681 section 4.1's concern)
 *
 * An epoch is one stretch of congestion avoidance; it begins with the first ACK there. Time in
 * which the window was not what limited the sender does not count: the epoch's beginning moves by
 * it (section 4.2, last paragraph; 5.8). For that, last_ms is the last ACK, and restart says that
 * nothing was outstanding until now.
 *
 * Units: bytes and milliseconds. With the window below 2^30 and mss from 88 to 65495 every product
 * fits 64 bits; the error of the window function is below one byte per 1000 plus one byte, that of
 * K below a millisecond.
 *
 * A reaction that was spurious (section 4.9) is taken back in undo.c, which keeps this state.
 */
#include "lib/net/tcp/internal.h"

#define BETA_NUM 7u /* 0.7: section 4.6 */
#define BETA_DEN 10u
#define TIME_MAX_MS                                                                                \
    500000u /* keeps (t - K)^3 * mss in 64 bits; the window is at its limit by then */

/* The largest r with r^3 <= @x. */
static uint32_t cube_root(uint64_t x)
{
    uint64_t root = 0;
    for (int bit = 21; bit >= 0; bit--) {
        uint64_t next = root | (uint64_t)1 << bit;
        /* next is below 2^22: no overflow only below 2642246, the root of 2^64. */
        if (next < 2642246 && next * next * next <= x)
            root = next;
    }
    return (uint32_t)root;
}

uint32_t mir__tcp_cubic_k_ms(uint32_t drop_bytes, uint32_t mss)
{
    /* K[s]^3 = segments / 0.4, hence K[ms]^3 = bytes / mss * 2.5e9; rounded up from one half. */
    uint64_t cube = (uint64_t)drop_bytes * 2500000000u / mss;
    uint64_t root = cube_root(cube);
    uint64_t twice = 2 * root + 1;
    return (uint32_t)(twice * twice * twice <= 8 * cube ? root + 1 : root);
}

uint32_t mir__tcp_cubic_window(uint32_t w_max, uint32_t k_ms, uint32_t t_ms, uint32_t mss)
{
    bool is_convex = t_ms >= k_ms;
    uint64_t d = MIR_MIN(is_convex ? t_ms - k_ms : k_ms - t_ms, TIME_MAX_MS);
    uint64_t delta = d * d * d / 1000 * 2 * mss / 5000000; /* 0.4 mss d^3 / 10^9 */
    if (is_convex)
        return (uint32_t)MIR_MIN(w_max + delta, (uint64_t)MIR__TCP_CWND_MAX);
    return delta < w_max ? w_max - (uint32_t)delta : 0;
}

static void cubic_init(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_cubic *c = &pcb->busy->cc_state.cubic;
    *c = (struct mir__tcp_cubic){0};
    /* A lost SYN or SYN-ACK: begin with one segment (RFC 5681 section 3.1). */
    pcb->cwnd = pcb->syn_rexmitted ? pcb->mss : mir__tcp_initial_window(pcb);
    pcb->ssthresh = MIR__TCP_CWND_MAX;
    pcb->cc_acked = 0;
    mir__tcp_hystart_init(&c->hystart, pcb->snd_nxt);
}

static void begin_epoch(struct mir__tcp_pcb *pcb, struct mir__tcp_cubic *c, uint32_t now_ms)
{
    c->has_epoch = true;
    c->epoch_ms = now_ms;
    c->w_est = pcb->cwnd;
    c->est_acked = 0;
    pcb->cc_acked = 0;
    if (pcb->cwnd < c->w_max) {
        c->k_ms = mir__tcp_cubic_k_ms(c->w_max - pcb->cwnd, pcb->mss);
    } else { /* after slow start without loss, or a timeout */
        c->k_ms = 0;
        c->w_max = pcb->cwnd;
    }
    c->cwnd_prior = MIR_MAX(c->cwnd_prior, pcb->cwnd);
}

/* What Reno would have by now: one mss for each cwnd (once cwnd_prior is reached; before, each
 * 17/9 cwnd) of acknowledged bytes. Section 4.3. */
static void grow_estimate(const struct mir__tcp_pcb *pcb, struct mir__tcp_cubic *c, uint32_t acked)
{
    uint32_t need = pcb->cwnd;
    if (c->w_est < c->cwnd_prior)
        need = (uint32_t)((uint64_t)need * 17 / 9);
    c->est_acked += acked;
    uint32_t steps = c->est_acked / need;
    c->est_acked -= steps * need;
    c->w_est = (uint32_t)MIR_MIN(c->w_est + (uint64_t)steps * pcb->mss, MIR__TCP_CWND_MAX);
}

static void avoid_congestion(struct mir__tcp_pcb *pcb, struct mir__tcp_cubic *c, uint32_t acked,
                             uint32_t now_ms)
{
    if (!c->has_epoch)
        begin_epoch(pcb, c, now_ms);
    uint32_t t_ms = now_ms - c->epoch_ms;
    uint32_t cwnd = pcb->cwnd;
    grow_estimate(pcb, c, acked);
    if (mir__tcp_cubic_window(c->w_max, c->k_ms, t_ms, pcb->mss) < c->w_est) {
        pcb->cwnd = MIR_MAX(cwnd, c->w_est);
        pcb->cc_acked = 0;
        return;
    }
    uint32_t target =
        mir__tcp_cubic_window(c->w_max, c->k_ms, t_ms + pcb->srtt_us / 1000, pcb->mss);
    target = MIR_MIN(target, cwnd + cwnd / 2);
    if (target <= cwnd)
        return;
    /* The remainder is kept, or small steps of a large window would all be lost. */
    uint64_t step = (uint64_t)(target - cwnd) * MIR_MIN(acked, cwnd) + pcb->cc_acked;
    pcb->cwnd += (uint32_t)(step / cwnd);
    pcb->cc_acked = (uint32_t)(step % cwnd);
}

static void cubic_on_ack(struct mir__tcp_pcb *pcb, uint32_t acked)
{
    struct mir__tcp_cubic *c = &pcb->busy->cc_state.cubic;
    uint32_t now_ms = ms_of(now_of(pcb->host));
    uint32_t since_ms = now_ms - c->last_ms;
    c->last_ms = now_ms;
    /* A window beyond the peer's limits nothing either. */
    bool is_used = mir__tcp_cwnd_used(pcb) && pcb->cwnd <= pcb->snd_wnd;
    if (!is_used)
        c->epoch_ms += since_ms;
    if (pcb->cwnd < pcb->ssthresh) {
        if (pcb->ssthresh == MIR__TCP_CWND_MAX)
            mir__tcp_hystart_ack(pcb, &c->hystart, is_used ? acked : 0);
        else if (is_used)
            pcb->cwnd += MIR_MIN(acked, pcb->ssthresh - pcb->cwnd);
        return;
    }
    if (is_used && pcb->cwnd < MIR__TCP_CWND_MAX)
        avoid_congestion(pcb, c, acked, now_ms);
}

static void cubic_on_rtt(struct mir__tcp_pcb *pcb, uint32_t rtt_us)
{
    if (pcb->ssthresh == MIR__TCP_CWND_MAX)
        mir__tcp_hystart_rtt(&pcb->busy->cc_state.cubic.hystart, rtt_us);
}

static void cubic_on_restart(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_cubic *c = &pcb->busy->cc_state.cubic;
    uint32_t now_ms = ms_of(now_of(pcb->host));
    c->epoch_ms += now_ms - c->last_ms;
    c->last_ms = now_ms;
}

/* No epoch, no W_max: from ssthresh on the window grows as after a slow start without loss. */
static void cubic_on_wake(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_cubic *c = &pcb->busy->cc_state.cubic;
    c->last_ms = ms_of(now_of(pcb->host));
    mir__tcp_hystart_init(&c->hystart, pcb->snd_nxt);
}

/* Section 4.6; what limited transmit sent beyond the window does not count. */
static uint32_t reduced(const struct mir__tcp_pcb *pcb, uint32_t flight)
{
    uint64_t used = MIR_MIN(flight, pcb->cwnd);
    return MIR_MAX((uint32_t)(used * BETA_NUM / BETA_DEN), 2u * pcb->mss);
}

static void cubic_on_loss(struct mir__tcp_pcb *pcb, uint32_t flight)
{
    struct mir__tcp_cubic *c = &pcb->busy->cc_state.cubic;
    uint32_t cwnd = pcb->cwnd;
    /* Fast convergence: who could not get back to where it was gives way to newcomers. */
    c->w_max = cwnd < c->w_max ? (uint32_t)((uint64_t)cwnd * (BETA_DEN + BETA_NUM) / (2 * BETA_DEN))
                               : cwnd;
    c->cwnd_prior = cwnd;
    c->has_epoch = false;
    pcb->ssthresh = reduced(pcb, flight);
    pcb->cwnd = pcb->ssthresh;
    pcb->cc_acked = 0;
}

static void cubic_on_recovered(struct mir__tcp_pcb *pcb, uint32_t flight)
{
    /* RFC 6582 section 3.2 step 3, full acknowledgment, option 1: no burst. */
    pcb->cwnd = MIR_MIN(pcb->ssthresh, MIR_MAX(flight, pcb->mss) + pcb->mss);
    pcb->busy->cc_state.cubic.last_ms = ms_of(now_of(pcb->host));
}

static void cubic_on_timeout(struct mir__tcp_pcb *pcb, uint32_t flight, bool again)
{
    struct mir__tcp_cubic *c = &pcb->busy->cc_state.cubic;
    if (!again) {
        pcb->ssthresh = reduced(pcb, flight);
        c->cwnd_prior = pcb->cwnd;
    }
    c->w_max = 0; /* whatever slow start reaches becomes it */
    c->has_epoch = false;
    pcb->cwnd = pcb->mss;
    pcb->cc_acked = 0;
}

static void cubic_on_idle(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_cubic *c = &pcb->busy->cc_state.cubic;
    uint32_t restart = mir__tcp_initial_window(pcb);
    if (pcb->cwnd <= restart)
        return;
    if (pcb->ssthresh != MIR__TCP_CWND_MAX)
        pcb->ssthresh = MIR_MAX(pcb->ssthresh, pcb->cwnd / 4 * 3);
    pcb->cwnd = restart;
    c->has_epoch = false;
    mir__tcp_hystart_init(&c->hystart, pcb->snd_nxt);
}

const struct mir__tcp_cc mir__tcp_cc_cubic = {
    .name = "cubic",
    .init = cubic_init,
    .on_ack = cubic_on_ack,
    .on_loss = cubic_on_loss,
    .on_recovered = cubic_on_recovered,
    .on_timeout = cubic_on_timeout,
    .on_idle = cubic_on_idle,
    .on_rtt = cubic_on_rtt,
    .on_restart = cubic_on_restart,
    .on_wake = cubic_on_wake,
};
