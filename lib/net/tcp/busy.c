/* SPDX-License-Identifier: ISC */
/* What a connection needs only while it has something to do.
 *
 *   struct mir__tcp_pcb ── busy ──> struct mir__tcp_busy    queues, timers of data, route, what
 *        (always)                        (while busy)       congestion control remembers
 *
 *   at rest ── busy ──> host->rest: one for all, empty, its timers not running, never written
 *
 * Most connections of a busy server do nothing at any one time. What they need then, addresses,
 * sequence numbers, windows, what was agreed, counters, is the connection object. Everything else
 * is a block that comes with the first thing to do and goes when nothing was done for two seconds.
 * As a connection at rest has a block too, one without contents, reading needs no test: its queues
 * are empty, its timers do not run. Whatever writes calls mir__tcp_wake() first.
 *
 * The block does not go at once, because a connection that answers requests would look up its route
 * and forget its congestion control for each of them. After two seconds neither is worth much: the
 * window falls back to the initial one anyway (RFC 5681 section 4.1). ssthresh, round trips and
 * reordering are kept in the connection.
 *
 * Blocks give their memory back to the page pool: it follows what is busy now, not a peak.
 */
#include "lib/net/tcp/loss.h"

#define REST_AFTER_US (2 * MIR_US_PER_S)
#define REST_GRAIN_US (1u << 16)

/* Rounded up to a grain, which is where a slot of the wheel's second level begins (run/timer.c):
 * connections then go to rest by the slot, and none is touched before, to sort it into a tick. */
static mir_time_us rest_at(mir_time_us now_us)
{
    return (now_us + REST_AFTER_US + REST_GRAIN_US - 1) / REST_GRAIN_US * REST_GRAIN_US;
}

void mir__tcp_busy_init(struct mir__tcp_state *host)
{
    host->rest = (struct mir__tcp_busy){0};
    for (uint32_t i = 0; i < MIR__TCP_BUSY_TIMERS; i++)
        host->rest.deadline[i] = MIR_TIME_NEVER;
}

bool mir__tcp_wake_slow(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_state *host = pcb->host;
    struct mir__tcp_busy *busy = mir_pool_alloc(&host->busies);
    if (busy == NULL) {
        MIR__TCP_COUNT(host, drop_memory);
        return false;
    }
    *busy = host->rest;
    pcb->busy = busy;
    if (is_synchronized(pcb) && pcb->cc->on_wake != NULL)
        pcb->cc->on_wake(pcb);
    mir__tcp_timer_set(pcb, MIR__TCP_T_REST, rest_at(now_of(host)));
    return true;
}

bool mir__tcp_has_congestion(const char *name)
{
    return name != NULL && mir__tcp_cc_find(name) != NULL;
}

/* The window stays; what the new one remembers begins as after a rest. */
int mir__tcp_set_congestion(struct mir_tcp *tcp, const char *name)
{
    struct mir__tcp_pcb *pcb = (struct mir__tcp_pcb *)(void *)tcp;
    const struct mir__tcp_cc *cc = name != NULL ? mir__tcp_cc_find(name) : NULL;
    if (tcp->ops != &mir__tcp_ops)
        return -MIR_ENOTSUP;
    if (cc == NULL)
        return -MIR_ENOENT;
    if (cc == pcb->cc)
        return 0;
    pcb->cc = cc;
    if (pcb->busy == &pcb->host->rest)
        return 0;
    mir_memset(&pcb->busy->cc_state, 0, sizeof pcb->busy->cc_state);
    if (is_synchronized(pcb) && cc->on_wake != NULL)
        cc->on_wake(pcb);
    return 0;
}

/* Everything is acknowledged, in both directions, and the application has taken it. */
static bool is_quiet(const struct mir__tcp_pcb *pcb)
{
    const struct mir__tcp_busy *busy = pcb->busy;
    return is_synchronized(pcb) && pcb->snd_una == pcb->snd_max && busy->sendq.q.first == NULL &&
           (!pcb->fin_queued || pcb->snd_max == pcb->snd_first + 1) &&
           busy->recvq.q.first == NULL && busy->reass.first == NULL && !busy->reass.has_fin &&
           !busy->sack.has_repeated && !pcb->ack_now && !pcb->ack_pending && !pcb->is_persist &&
           !pcb->rexmt_first && !mir_list_is_linked(&pcb->pending);
}

void mir__tcp_rest_fired(struct mir__tcp_pcb *pcb, mir_time_us now_us)
{
    mir_time_us last_us = MIR_MAX(pcb->busy->sent_us, pcb->received_us);
    if (!is_quiet(pcb) || now_us - last_us < REST_AFTER_US) {
        mir__tcp_timer_set(pcb, MIR__TCP_T_REST, rest_at(now_us));
        return;
    }
    mir__tcp_tune_rest(pcb);
    mir__tcp_board_close(pcb); /* it may have waited for the answer to a probe */
    mir__tcp_busy_release(pcb);
}

void mir__tcp_busy_release(struct mir__tcp_pcb *pcb)
{
    if (!mir__tcp_is_busy(pcb))
        return;
    mir__tcp_packer_release(&pcb->busy->sendq.packer);
    mir__tcp_packer_release(&pcb->busy->recvq.packer);
    mir__tcp_packer_release(&pcb->busy->reass.packer);
    mir_pool_free(&pcb->host->busies, pcb->busy);
    pcb->busy = &pcb->host->rest;
}
