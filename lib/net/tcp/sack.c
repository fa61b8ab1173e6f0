/* SPDX-License-Identifier: ISC */
/* The receiver's half of selective acknowledgment: which blocks our ACKs report.
 *
 *   rcv_nxt .... [ block ] .... [ block ] ...      what reassembly holds, without its inner seams
 *
 * RFC 2018 section 4: the first block holds the segment that caused the ACK, the others repeat what
 * was reported most recently, so that the loss of a few ACKs loses no news. So the four youngest
 * blocks are kept in the order in which they last grew; a segment that touches one makes it larger
 * and puts it first, one that touches two joins them, and what rcv_nxt has passed goes. No walk
 * through the reassembly queue is needed, however long it is. A block is noted only when the data
 * is really held, and held data is never given up before rcv_nxt has passed it, except with the
 * connection: we do not renege.
 *
 * A segment that arrives twice is told of once, as the first block of the next bare ACK (D-SACK,
 * RFC 2883); its sender can see that a retransmission was not needed.
 *
 * Blocks go into segments without data only. Each early or repeated segment causes one of those at
 * once, and segments with data keep their full size.
 */
#include "lib/net/tcp/loss.h"

void mir__tcp_sack_held(struct mir__tcp_pcb *pcb, uint32_t left, uint32_t right)
{
    struct mir__tcp_sack *s = &pcb->busy->sack;
    uint32_t kept = 0;
    if (!pcb->has_sack)
        return;
    for (uint32_t i = 0; i < s->count; i++) {
        struct mir__tcp_block b = s->block[i];
        if (seq_le(b.left, right) && seq_le(left, b.right)) {
            left = seq_lt(b.left, left) ? b.left : left;
            right = seq_max(b.right, right);
        } else {
            s->block[kept++] = b;
        }
    }
    kept = MIR_MIN(kept, MIR__TCP_SACK_BLOCKS - 1);
    for (uint32_t i = kept; i > 0; i--)
        s->block[i] = s->block[i - 1];
    s->block[0] = (struct mir__tcp_block){left, right};
    s->count = (uint8_t)(kept + 1);
}

void mir__tcp_sack_passed(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_sack *s = &pcb->busy->sack;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->count; i++)
        if (seq_gt(s->block[i].left, pcb->rcv_nxt))
            s->block[kept++] = s->block[i];
    s->count = (uint8_t)kept;
}

void mir__tcp_sack_repeated(struct mir__tcp_pcb *pcb, uint32_t left, uint32_t right)
{
    /* Only the first piece of a segment is reported (RFC 2883 section 4). */
    if (!pcb->has_sack || pcb->busy->sack.has_repeated || !mir__tcp_wake(pcb))
        return;
    pcb->busy->sack.repeated = (struct mir__tcp_block){left, right};
    pcb->busy->sack.has_repeated = true;
}

void mir__tcp_sack_fill(struct mir__tcp_pcb *pcb, struct mir__tcp_options *opt)
{
    struct mir__tcp_sack *s = &pcb->busy->sack;
    uint32_t most = pcb->has_ts ? MIR__TCP_SACK_BLOCKS - 1 : MIR__TCP_SACK_BLOCKS;
    uint32_t n = 0;
    if (s->has_repeated) {
        opt->sack[n].left = s->repeated.left;
        opt->sack[n++].right = s->repeated.right;
        s->has_repeated = false;
        MIR__TCP_COUNT(pcb->host, dsacks_out);
        /* A repeated part of a block is followed by that block, which tells it from news. */
        for (uint32_t i = 1; i < s->count; i++)
            if (seq_le(s->block[i].left, opt->sack[0].left) &&
                seq_ge(s->block[i].right, opt->sack[0].right))
                mir__tcp_sack_held(pcb, s->block[i].left, s->block[i].right);
    }
    for (uint32_t i = 0; i < s->count && n < most; i++, n++) {
        opt->sack[n].left = s->block[i].left;
        opt->sack[n].right = s->block[i].right;
    }
    opt->sack_count = (uint8_t)n;
}
