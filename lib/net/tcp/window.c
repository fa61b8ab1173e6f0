/* SPDX-License-Identifier: ISC */
/* Windows: what we promise the peer, what the peer promises us.
 *
 *      rcv_nxt                        rcv_adv
 *   ------|------------------------------|------->   bytes received | promised | not promised
 *
 * rcv_adv never moves left (RFC 9293 section 3.8.6, SHLD-14): a promise is kept even if the limit
 * is lowered. It moves right by at least the smaller of one segment and half the buffer, or not
 * at all, so that no silly window is offered (section 3.8.6.2.2, MUST-39). The promise counts
 * bytes; recvq.c sees to it that a byte does not pin much more memory than itself. When all
 * connections together use too much memory the edge stops moving, which slows peers down without
 * breaking any promise.
 *
 * A window update is sent without being asked once it opens the window by two segments and a
 * quarter of the buffer, or by half of it.
 */
#include "lib/net/tcp/internal.h"

/* Where the right edge could be now. */
static uint32_t edge_wanted(const struct mir__tcp_pcb *pcb)
{
    uint32_t held = pcb->busy->recvq.q.bytes;
    uint32_t limit = mir__tcp_rcv_limit(pcb);
    uint32_t room = limit > held ? limit - held : 0;
    uint32_t most = (uint32_t)65535 << pcb->node.rcv_wscale;
    if (pcb->host->memory_used > pcb->host->memory_max)
        room = 0;
    return pcb->rcv_nxt + MIR_MIN(room, most);
}

uint16_t mir__tcp_window_to_send(struct mir__tcp_pcb *pcb)
{
    uint32_t edge = edge_wanted(pcb);
    uint32_t step = MIR_MIN((uint32_t)pcb->rcv_mss, pcb->rcv_limit / 2);
    uint8_t scale = pcb->node.rcv_wscale;
    if (seq_ge(edge, pcb->rcv_adv + step)) {
        /* What the field cannot express is not promised. */
        uint32_t wnd = (edge - pcb->rcv_nxt) >> scale << scale;
        pcb->rcv_adv = seq_max(pcb->rcv_adv, pcb->rcv_nxt + wnd);
    }
    /* Rounded down: rounding up would promise bytes beyond rcv_adv. What an odd promise loses here
     * is still accepted when it comes (RFC 7323 section 2.4). */
    return (uint16_t)MIR_MIN(mir__tcp_rcv_wnd(pcb) >> scale, 65535u);
}

bool mir__tcp_window_update_due(const struct mir__tcp_pcb *pcb)
{
    uint32_t edge = edge_wanted(pcb);
    if (!may_receive(pcb) || seq_le(edge, pcb->rcv_adv))
        return false;
    uint32_t gain = edge - pcb->rcv_adv;
    return gain >= pcb->rcv_limit / 2 ||
           (gain >= 2u * pcb->rcv_mss &&
            (gain >= pcb->rcv_limit / 4 || mir__tcp_rcv_wnd(pcb) < pcb->rcv_limit / 8));
}

bool mir__tcp_window_take(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg)
{
    const struct mir__tcp_header *hdr = &seg->hdr;
    uint32_t wnd = (uint32_t)hdr->wnd << pcb->snd_wscale;
    /* The acknowledgment says which segment is newer, and only among equal ones the sequence
     * number. The order of RFC 9293 is the other way round: a segment sent again, which is old by
     * its number, may acknowledge more, and the window of before would then reach beyond what was
     * promised. */
    bool is_older = seq_gt(pcb->snd_wl2, hdr->ack) ||
                    (pcb->snd_wl2 == hdr->ack && seq_gt(pcb->snd_wl1, hdr->seq));
    if (is_older)
        return false;
    bool is_changed = wnd != pcb->snd_wnd;
    pcb->snd_wnd = wnd;
    pcb->snd_wl1 = seq_max(pcb->snd_wl1, hdr->seq);
    pcb->snd_wl2 = hdr->ack;
    pcb->max_snd_wnd = MIR_MAX(pcb->max_snd_wnd, wnd);
    return is_changed;
}
