/* SPDX-License-Identifier: ISC */
/* Explicit congestion notification (RFC 3168): routers mark packets instead of dropping them.
 *
 *   sender            router            receiver
 *     |--- ECT(0) data --->| queue grows     |
 *     |                    |--- CE data ---->|   every ACK from now on says ECE
 *     |<---------------- ECE ----------------|   window reduced, once for what is in flight
 *     |--- CWR, new data ------------------->|   no more ECE
 *
 * Agreed in the handshake: ECE and CWR in the SYN, ECE in the SYN-ACK. Passive (the default) means
 * agreeing when asked; asking is for networks one knows, or for everybody: a SYN that is sent again
 * asks no more, since some middlebox may drop what it does not understand (section 6.1.1.1). A SYN
 * whose IP header already says ECT or CE went through something that plays with these bits: it is
 * answered without. SYN cookies have no room to remember the agreement; nor is it made in a
 * simultaneous open.
 *
 * ECT(0) is set on new data only, never on retransmissions, window probes, pure ACKs, SYNs or RSTs
 * (sections 6.1.1, 6.1.4 to 6.1.6). A window is reduced once, whether by marks, losses or both:
 * `recover` is where the next reaction may begin. The reduction is the congestion control's own for
 * a loss, 0.7 for CUBIC (RFC 9438 section 4.6); the milder one that RFC 8511 allows is not used. No
 * reaction to a mark is ever taken back (undo.c).
 *
 * What it does not do: accurate feedback (RFC 9768), ECT on control packets.
 */
#include "lib/net/tcp/loss.h"

#define ECN_MASK 3u
#define ECN_CE   3u

uint8_t mir__tcp_ecn_ask(struct mir__tcp_pcb *pcb)
{
    if (pcb->host->ecn != MIR_NET_ECN_ON || pcb->state != MIR_TCP_S_SYN_SENT)
        return 0;
    if (pcb->syn_rexmitted) {
        MIR__TCP_COUNT(pcb->host, ecn_fallbacks);
        return 0;
    }
    return MIR__TCP_ECE | MIR__TCP_CWR;
}

bool mir__tcp_ecn_is_asked(const struct mir__tcp_state *host, const struct mir__tcp_segment *syn)
{
    return host->ecn != MIR_NET_ECN_OFF &&
           (syn->hdr.flags & (MIR__TCP_ECE | MIR__TCP_CWR)) == (MIR__TCP_ECE | MIR__TCP_CWR) &&
           (syn->meta->tos & ECN_MASK) == 0;
}

void mir__tcp_ecn_answered(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *syn_ack)
{
    bool has_asked = pcb->host->ecn == MIR_NET_ECN_ON && !pcb->syn_rexmitted;
    pcb->has_ecn = has_asked &&
                   (syn_ack->hdr.flags & (MIR__TCP_ECE | MIR__TCP_CWR)) == MIR__TCP_ECE &&
                   (syn_ack->meta->tos & ECN_MASK) == 0;
    if (pcb->has_ecn)
        MIR__TCP_COUNT(pcb->host, ecn_agreed);
}

/* Our data met congestion. */
static void echo_arrived(struct mir__tcp_pcb *pcb)
{
    MIR__TCP_COUNT(pcb->host, ecn_echoes_in);
    mir__tcp_undo_forget(pcb); /* a recovery meanwhile had its reason, lost or not */
    /* This window was reduced already; CWR, sent behind it, must have had a chance to arrive. */
    if (seq_le(pcb->snd_una, pcb->recover))
        return;
    if (!mir__tcp_wake(pcb)) /* the congestion control remembers */
        return;
    MIR__TCP_COUNT(pcb->host, ecn_reductions);
    pcb->cc->on_loss(pcb, pcb->cwnd);
    pcb->recover = pcb->snd_max;
    pcb->in_cwr = seq_lt(pcb->snd_una, pcb->snd_max);
    pcb->cwr_due = true;
}

void mir__tcp_ecn_input(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    if (seg->hdr.flags & MIR__TCP_ECE)
        echo_arrived(pcb);
    if (seg->len == 0)
        return;
    if (seg->hdr.flags & MIR__TCP_CWR)
        pcb->ece_due = false;
    if (mir__tcp_ecn_is_marked(seg)) {
        MIR__TCP_COUNT(pcb->host, ecn_marks_in);
        pcb->ack_now |= !pcb->ece_due; /* the sooner the sender knows the better */
        pcb->ece_due = true;
    }
}
