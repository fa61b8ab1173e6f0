/* SPDX-License-Identifier: ISC */
/* What a segment's data and FIN mean, and when to acknowledge.
 *
 * In-order data goes to the receive queue and may free early pieces behind it; early data goes to
 * reassembly, and each such segment is acknowledged at once, one by one: the duplicate ACKs are how
 * the sender learns of the hole (RFC 5681 section 3.2; section 4.2 for the segment that fills one).
 *
 * Otherwise (RFC 9293 section 3.8.6.3, MUST-58, SHLD-18) an ACK is due at once for every two full
 * segments, else within 40 ms. The first eight segments are acknowledged at once, so that the
 * peer's slow start is not held up. "At once" means the end of the device's batch: one ACK then
 * covers however many segments came. What a full segment is we learn from the segments we see.
 *
 * The urgent pointer is ignored: urgent data is read in line (RFC 6093 section 4).
 */
#include "lib/net/tcp/internal.h"

void mir__tcp_ack_policy(struct mir__tcp_pcb *pcb, uint32_t len, mir_time_us now_us)
{
    if (len > pcb->rcv_mss)
        pcb->rcv_mss = (uint16_t)MIR_MIN(len, (uint32_t)pcb->adv_mss);
    pcb->ack_pending = true;
    if (pcb->quick_acks > 0) {
        pcb->quick_acks--;
        pcb->ack_now = true;
    } else if (pcb->rcv_nxt - pcb->last_ack_sent >= 2u * pcb->rcv_mss) {
        pcb->ack_now = true;
    } else if (!mir__tcp_timer_runs(pcb, MIR__TCP_T_DELACK)) {
        mir__tcp_timer_set(pcb, MIR__TCP_T_DELACK, now_us + MIR__TCP_DELACK_US);
    }
}

static void take_in_order(struct mir__tcp_pcb *pcb, struct mir__tcp_segment *seg)
{
    uint32_t taken;
    if (pcb->rcv_tuned)
        mir__tcp_tune_arrived(pcb, seg);
    bool fills_hole = pcb->busy->reass.first != NULL;
    int r = mir__tcp_recvq_add(pcb, seg->buf, seg->skip, seg->len, &taken);
    pcb->rcv_nxt += taken;
    pcb->bytes_received += taken;
    pcb->host->counters.bytes_in += taken;
    /* New data: our acknowledgments arrive. */
    mir__ip_confirm(pcb->host->net, &pcb->busy->route);
    if (r < 0) {
        /* Not acknowledged, so the peer sends it again. */
        MIR__TCP_COUNT(pcb->host, drop_memory);
        seg->hdr.flags &= (uint8_t)~MIR__TCP_FIN;
    }
    if (taken == 0)
        return;
    if (fills_hole) {
        mir__tcp_reass_pull(pcb);
        pcb->ack_now = true;
    }
    mir__tcp_ack_policy(pcb, taken, seg->now_us);
    mir__tcp_raise(pcb, MIR_TCP_READABLE);
}

/* The peer's FIN is the next thing in order. */
static void take_fin(struct mir__tcp_pcb *pcb)
{
    pcb->rcv_nxt++;
    pcb->rcv_adv = seq_max(pcb->rcv_adv, pcb->rcv_nxt);
    pcb->fin_received = true;
    pcb->ack_now = true;
    mir__tcp_reass_release(pcb);
    mir__tcp_raise(pcb, MIR_TCP_READABLE);
    switch (pcb->state) {
    case MIR_TCP_S_ESTABLISHED:
        pcb->state = MIR_TCP_S_CLOSE_WAIT;
        break;
    case MIR_TCP_S_FIN_WAIT_1:
        /* If our FIN were acknowledged, process_ack would have moved on already. */
        pcb->state = MIR_TCP_S_CLOSING;
        break;
    case MIR_TCP_S_FIN_WAIT_2:
        mir__tcp_send_ack(pcb);
        pcb->state = MIR_TCP_S_TIME_WAIT;
        break;
    default:
        break;
    }
}

void mir__tcp_process_text(struct mir__tcp_pcb *pcb, struct mir__tcp_segment *seg)
{
    bool has_fin = (seg->hdr.flags & MIR__TCP_FIN) != 0;
    if (!may_receive(pcb) || (seg->len == 0 && !has_fin))
        return;
    if (!mir__tcp_wake(pcb)) {
        MIR__TCP_COUNT(pcb->host, drop_memory); /* the peer sends it again */
        return;
    }
    if (pcb->busy->reass.has_fin && seq_gt(seg->seq + seg->len, pcb->busy->reass.fin_seq)) {
        /* Nothing comes behind the end of the stream, whoever says so later. */
        seg->len =
            seq_lt(seg->seq, pcb->busy->reass.fin_seq) ? pcb->busy->reass.fin_seq - seg->seq : 0;
        pcb->ack_now = true;
    }
    if (seg->seq != pcb->rcv_nxt) {
        MIR__TCP_COUNT(pcb->host, out_of_order_in);
        if (seg->len > 0)
            mir__tcp_reass_add(pcb, seg);
        if (has_fin && !pcb->busy->reass.has_fin) {
            pcb->busy->reass.has_fin = true;
            pcb->busy->reass.fin_seq = seg->seq + seg->len;
        }
        mir__tcp_send_ack(pcb);
        return;
    }
    if (seg->len > 0)
        take_in_order(pcb, seg);
    has_fin = (seg->hdr.flags & MIR__TCP_FIN) != 0;
    if (has_fin && !pcb->busy->reass.has_fin) {
        pcb->busy->reass.has_fin = true;
        pcb->busy->reass.fin_seq = seg->seq + seg->len;
    }
    if (pcb->busy->reass.has_fin && pcb->rcv_nxt == pcb->busy->reass.fin_seq)
        take_fin(pcb);
    mir__tcp_mark(pcb);
}
