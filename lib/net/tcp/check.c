/* SPDX-License-Identifier: ISC */
/* Invariants of a connection, checked after each segment in and out of debug builds.
 *
 *   snd_una <= snd_nxt <= snd_max        the send queue begins at snd_una, except for SYN and FIN
 *   rcv_nxt <= rcv_adv                   nothing received lies beyond what was promised
 *   queues count what they hold          early pieces are sorted, apart, and above rcv_nxt
 *   the scoreboard, if there is one, covers exactly what is outstanding, and its sums are true
 *   outstanding data has a timer         or nobody would ever send it again
 */
#include "lib/net/tcp/loss.h"

#ifdef MIR_DEBUG_BUILD

static void check_viewq(const struct mir__tcp_viewq *q)
{
    uint32_t bytes = 0;
    MIR_ASSERT((q->first == NULL) == (q->last == NULL));
    for (const struct mir__tcp_chunk *chunk = q->first; chunk != NULL; chunk = chunk->next) {
        MIR_ASSERT_OP(chunk->first, <, chunk->end);
        MIR_ASSERT_OP(chunk->end, <=, MIR__TCP_CHUNK_VIEWS);
        for (uint32_t i = chunk->first; i < chunk->end; i++) {
            MIR_ASSERT_OP(chunk->view[i].len, >, 0);
            bytes += chunk->view[i].len;
        }
        MIR_ASSERT(chunk->next != NULL || chunk == q->last);
    }
    MIR_ASSERT_OP(bytes, ==, q->bytes);
}

static void check_reass(const struct mir__tcp_pcb *pcb)
{
    const struct mir__tcp_reass *r = &pcb->busy->reass;
    uint32_t bytes = 0;
    uint32_t count = 0;
    uint32_t runs = 0;
    uint32_t floor = pcb->rcv_nxt;
    const struct mir__tcp_early *head = NULL;
    for (const struct mir__tcp_early *early = r->first; early != NULL; early = early->next) {
        MIR_ASSERT(count > 0 ? seq_ge(early->seq, floor) : seq_gt(early->seq, floor));
        if (count == 0 || early->seq != floor) {
            MIR_ASSERT(head == NULL || head->tail->next == early);
            head = early;
            runs++;
        }
        floor = early->seq + early->view.len;
        MIR_ASSERT(seq_le(floor, pcb->rcv_adv));
        MIR_ASSERT(early->next != NULL || early == r->last);
        bytes += early->view.len;
        count++;
    }
    MIR_ASSERT(head == r->last_run && (head == NULL || head->tail == r->last));
    MIR_ASSERT_OP(runs, ==, r->runs);
    MIR_ASSERT_OP(bytes, ==, r->bytes);
    MIR_ASSERT_OP(count, ==, r->count);
    MIR_ASSERT_OP(count, <=, MIR__TCP_REASS_SEGS_MAX);
}

static void check_board(const struct mir__tcp_pcb *pcb)
{
    const struct mir__tcp_loss *loss = pcb->loss;
    uint32_t sum[5] = {0};
    uint32_t count = 0;
    uint32_t at = pcb->snd_una;
    if (loss == NULL)
        return;
    MIR_ASSERT(pcb->has_sack && pcb->snd_nxt == pcb->snd_max);
    for (const struct mir__tcp_range *range = loss->first; range != NULL; range = range->next) {
        MIR_ASSERT_OP(range->seq, ==, at);
        MIR_ASSERT(seq_gt(range->end, range->seq));
        MIR_ASSERT(range->next != NULL || range == loss->last);
        at = range->end;
        for (uint32_t bit = 1; bit <= MIR__TCP_R_AGAIN; bit *= 2)
            sum[bit] += range->flags & bit ? range->end - range->seq : 0;
        count++;
    }
    MIR_ASSERT_OP(at, ==, pcb->snd_max);
    MIR_ASSERT_OP(count, ==, loss->count);
    MIR_ASSERT_OP(sum[MIR__TCP_R_SACKED], ==, loss->sacked);
    MIR_ASSERT_OP(sum[MIR__TCP_R_LOST], ==, loss->lost);
    MIR_ASSERT_OP(sum[MIR__TCP_R_AGAIN], ==, loss->again);
    MIR_ASSERT_OP(loss->sacked + loss->lost, <=, pcb->snd_max - pcb->snd_una);
}

/* What all connections at rest share has no contents. */
static void check_rest(const struct mir__tcp_busy *rest)
{
    for (uint32_t i = 0; i < MIR__TCP_BUSY_TIMERS; i++)
        MIR_ASSERT(rest->deadline[i] == MIR_TIME_NEVER);
    MIR_ASSERT(rest->sendq.q.first == NULL && rest->sendq.q.bytes == 0);
    MIR_ASSERT(rest->recvq.q.first == NULL && rest->recvq.q.bytes == 0);
    MIR_ASSERT(rest->reass.first == NULL && !rest->reass.has_fin && rest->sack.count == 0);
    MIR_ASSERT(!rest->sack.has_repeated && rest->route.iface == NULL && rest->sent_us == 0);
    MIR_ASSERT(rest->cc_state.cubic.last_ms == 0 && rest->cc_state.cubic.w_max == 0);
    MIR_ASSERT(rest->progress_us == 0 && rest->full_us == 0);
}

void mir__tcp_check(const struct mir__tcp_pcb *pcb)
{
    check_rest(&pcb->host->rest);
    if (pcb->state == MIR_TCP_S_CLOSED)
        return;
    MIR_ASSERT(seq_le(pcb->snd_una, pcb->snd_nxt));
    MIR_ASSERT(seq_le(pcb->snd_nxt, pcb->snd_max));
    MIR_ASSERT(pcb->node.is_in_table);
    check_viewq(&pcb->busy->sendq.q);
    check_viewq(&pcb->busy->recvq.q);
    if (!is_synchronized(pcb))
        return;
    uint32_t end = sendq_end(pcb);
    MIR_ASSERT(pcb->snd_una == pcb->snd_first ||
               (pcb->fin_queued && pcb->busy->sendq.q.bytes == 0 && pcb->snd_una == end + 1));
    MIR_ASSERT(seq_le(pcb->snd_max, end + (pcb->fin_queued ? 1 : 0)));
    MIR_ASSERT(seq_le(pcb->rcv_nxt, pcb->rcv_adv));
    MIR_ASSERT(pcb->mss > 0);
    MIR_ASSERT(pcb->cwnd >= pcb->mss || pcb->cwnd > 0);
    MIR_ASSERT(pcb->snd_una == pcb->snd_max || mir__tcp_timer_runs(pcb, MIR__TCP_T_REXMT));
    check_reass(pcb);
    check_board(pcb);
}

#endif
