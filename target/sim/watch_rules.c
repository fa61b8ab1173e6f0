/* SPDX-License-Identifier: ISC */
/* What a TCP sender may not do, as far as a watcher can see it.
 *
 *   sequence   nothing beyond what was sent before it: no holes (RFC 9293 section 3.4)
 *   window     no data beyond the highest right edge the peer promised, but for a probe of one byte
 *              (sections 3.8.6, 3.8.6.1)
 *   ACK        nothing acknowledged that has not arrived, and never less than before
 *   SACK       only what has arrived, and never an empty block (RFC 2018 section 4); a first block
 *              at or below the ACK is a repeated segment (RFC 2883)
 *   edge       a window is not taken back, but for what its scale cannot express (RFC 7323 2.4)
 *   FIN        has one place, and no data lies behind it
 *   size       payload and options fit the MSS of the peer (RFC 6691)
 *   options    MSS, window scale and SACK-permitted on SYN only; timestamps on every segment once
 *              agreed (RFC 7323 section 3.2), never running backwards, echoing what was sent
 *   flags      SYN goes neither with FIN nor with RST
 *
 * What was agreed is known only after both SYNs were seen and acknowledged: a SYN is a candidate
 * until a segment of the peer acknowledges exactly it, so a stray SYN of an earlier life of the
 * ports changes nothing. A connection first seen in the middle is learned, and rules that need its
 * SYNs are not applied. Where a rule depends on what the receiver has got, the watcher assumes that
 * all that arrived was accepted: it may let something pass, but does not accuse wrongly.
 */
#include "target/sim/watch.h"

#include "lib/net/tcp/seq.h"
#include "lib/wire/tcp.h"

#define FAR       (1u << 30)
#define MSS_TRUST 88u /* smaller offers may be raised by the sender */
#define MSS_NONE  536u

static bool has_flag(const struct mir__watch_look *look, uint8_t flag)
{
    return (look->seg->flags & flag) != 0;
}

static uint32_t end_of(const struct mir__watch_segment *seg)
{
    return seg->seq + seg->len + ((seg->flags & MIR__TCP_SYN) != 0) +
           ((seg->flags & MIR__TCP_FIN) != 0);
}

static bool knows_options(const struct mir__watch_look *look)
{
    return look->from->is_known && look->to->is_known && look->from->syn.is_set &&
           look->to->syn.is_set;
}

static uint32_t scale_of(const struct mir__watch_half *half, const struct mir__watch_half *other)
{
    return half->syn.has_wscale && other->syn.has_wscale ? half->syn.wscale : 0;
}

/* ---- what has arrived -------------------------------------------------------------------------
 */

static void drop_range(struct mir__watch_half *half, uint32_t index)
{
    half->range[index] = half->range[--half->range_count];
}

/* in_order moves over ranges that begin at or before it. */
static void advance(struct mir__watch_half *half)
{
    for (uint32_t i = 0; i < half->range_count;) {
        if (seq_gt(half->range[i].left, half->in_order)) {
            i++;
            continue;
        }
        half->in_order = seq_max(half->in_order, half->range[i].right);
        drop_range(half, i);
        i = 0;
    }
}

static void add_range(struct mir__watch_half *half, uint32_t left, uint32_t right)
{
    if (seq_le(left, half->in_order)) {
        half->in_order = seq_max(half->in_order, right);
        advance(half);
    } else {
        for (uint32_t i = 0; i < half->range_count;) {
            struct mir__watch_range *range = &half->range[i];
            if (seq_lt(range->right, left) || seq_gt(range->left, right)) {
                i++;
                continue;
            }
            left = seq_lt(range->left, left) ? range->left : left;
            right = seq_max(range->right, right);
            drop_range(half, i);
        }
        if (half->range_count < MIR__WATCH_RANGES)
            half->range[half->range_count++] = (struct mir__watch_range){left, right};
        else
            half->is_vague = true;
    }
    if (half->in_order == half->max_end && half->range_count == 0)
        half->is_vague = false;
    else if (half->is_vague && seq_gt(half->in_order, half->max_end))
        half->in_order = half->max_end;
}

static bool has_arrived(const struct mir__watch_half *half, uint32_t left, uint32_t right)
{
    if (half->is_vague || half->has_fragments)
        return half->has_fragments || seq_le(right, half->max_end);
    if (seq_le(right, half->in_order))
        return true;
    for (uint32_t i = 0; i < half->range_count; i++) {
        if (seq_ge(left, half->range[i].left) && seq_le(right, half->range[i].right))
            return true;
    }
    return false;
}

/* ---- who is who -------------------------------------------------------------------------------
 */

static void adopt(struct mir__watch_half *half)
{
    struct mir__watch_syn syn = half->candidate;
    *half = (struct mir__watch_half){.syn = syn, .candidate = syn, .is_known = true};
    half->in_order = syn.isn + 1 + syn.len;
    half->max_end = half->in_order;
}

static void note_syn(struct mir__watch_look *look)
{
    const struct mir__watch_segment *seg = look->seg;
    look->from->candidate = (struct mir__watch_syn){
        .is_set = true,
        .has_wscale = seg->has_wscale,
        .has_ts = seg->has_ts,
        .has_sack = seg->has_sack_permitted,
        .wscale = seg->wscale,
        .mss = seg->has_mss ? seg->mss : 0,
        .isn = seg->seq,
        .len = seg->len,
    };
}

/* Does the segment acknowledge a SYN that we have only heard of? */
static void settle_peer(struct mir__watch_look *look)
{
    struct mir__watch_half *to = look->to;
    uint32_t into = look->seg->ack - to->candidate.isn;
    if (!to->candidate.is_set || into == 0 || into > 1 + to->candidate.len)
        return;
    if (to->is_known && to->syn.is_set && to->syn.isn == to->candidate.isn)
        return;
    adopt(to);
    if (has_flag(look, MIR__TCP_SYN))
        look->from->is_known = false; /* what we knew was an earlier life */
    else if (look->from->is_known && look->from->syn.is_set)
        mir__watch_opened(look->watch);
}

/* The sender goes on after a SYN that nobody has acknowledged here, or we came late. */
static void settle_sender(struct mir__watch_look *look)
{
    struct mir__watch_half *from = look->from;
    if (from->is_known)
        return;
    uint32_t into = look->seg->seq - from->candidate.isn;
    if (from->candidate.is_set && into >= 1 && into < FAR) {
        adopt(from);
        return;
    }
    *from = (struct mir__watch_half){
        .candidate = from->candidate, .is_known = true, .is_learned = true, .is_vague = true};
    from->max_end = end_of(look->seg);
    from->in_order = from->max_end;
}

static void settle_unknown_peer(struct mir__watch_look *look)
{
    struct mir__watch_half *to = look->to;
    if (to->is_known)
        return;
    *to = (struct mir__watch_half){
        .candidate = to->candidate, .is_known = true, .is_learned = true, .is_vague = true};
    to->max_end = look->seg->ack;
    to->in_order = look->seg->ack;
}

/* ---- rules ------------------------------------------------------------------------------------
 */

static void check_ack(const struct mir__watch_look *look)
{
    const struct mir__watch_segment *seg = look->seg;
    const struct mir__watch_half *from = look->from;
    struct mir__watch_half *to = look->to;
    if (to->is_learned || to->has_fragments)
        to->max_end = seq_max(to->max_end, seg->ack); /* we have not seen all of it */
    else if (seq_gt(seg->ack, to->max_end))
        mir__watch_break(look, "ACK of data that was never sent", seg->ack, to->max_end, to);
    else if (look->frame->is_from_here && !to->is_vague && seq_gt(seg->ack, to->in_order))
        mir__watch_break(look, "ACK of data that has not arrived", seg->ack, to->in_order, to);
    if (!look->frame->is_from_here || !from->has_ack)
        return;
    if (seq_lt(seg->ack, from->ack))
        mir__watch_break(look, "ACK goes back", seg->ack, from->ack, to);
}

static void check_sack(const struct mir__watch_look *look)
{
    const struct mir__watch_segment *seg = look->seg;
    const struct mir__watch_half *to = look->to;
    for (uint32_t i = 0; i < seg->sack_count; i++) {
        const struct mir__watch_range *block = &seg->sack[i];
        if (!seq_lt(block->left, block->right))
            mir__watch_break(look, "empty SACK block", block->left, block->right, to);
        else if (seq_gt(block->right, to->max_end) && !to->has_fragments)
            mir__watch_break(look, "SACK of data that was never sent", block->right, to->max_end,
                             to);
        else if (i > 0 && seq_le(block->right, seg->ack))
            mir__watch_break(look, "SACK below the ACK", block->right, seg->ack, to);
        else if (look->frame->is_from_here && !has_arrived(to, block->left, block->right))
            mir__watch_break(look, "SACK of data that has not arrived", block->left, block->right,
                             to);
    }
}

static void check_data(const struct mir__watch_look *look)
{
    const struct mir__watch_segment *seg = look->seg;
    const struct mir__watch_half *from = look->from, *to = look->to;
    uint32_t data_end = seg->seq + seg->len;
    bool is_whole = look->frame->is_from_here && !look->frame->may_lack && !from->is_learned &&
                    !from->has_fragments;
    if (is_whole && seq_gt(seg->seq, from->max_end))
        mir__watch_break(look, "hole in what is sent", seg->seq, from->max_end, from);
    if (to->has_edge && knows_options(look) && seg->len > 1 && seq_gt(data_end, to->edge))
        mir__watch_break(look, "data beyond the window", data_end, to->edge, from);
    if (from->has_fin && seq_gt(data_end, from->fin_seq) && seg->len > 0)
        mir__watch_break(look, "data behind the FIN", data_end, from->fin_seq, from);
    if (from->has_fin && has_flag(look, MIR__TCP_FIN) && data_end != from->fin_seq)
        mir__watch_break(look, "FIN at another place", data_end, from->fin_seq, from);
}

static void check_size(const struct mir__watch_look *look)
{
    const struct mir__watch_segment *seg = look->seg;
    uint32_t mss = look->to->syn.mss != 0 ? look->to->syn.mss : MSS_NONE;
    uint32_t payload =
        look->frame->gso_size != 0 ? MIR_MIN(seg->len, (uint32_t)look->frame->gso_size) : seg->len;
    if (payload > 0 && mss >= MSS_TRUST && payload + seg->options_len > mss)
        mir__watch_break(look, "segment above the MSS", payload + seg->options_len, mss, NULL);
}

static void check_edge(const struct mir__watch_look *look)
{
    const struct mir__watch_half *from = look->from;
    uint32_t scale = scale_of(from, look->to);
    uint32_t edge = look->seg->ack + (look->seg->wnd << scale);
    if (from->has_edge && seq_lt(edge + (1u << scale) - 1, from->edge))
        mir__watch_break(look, "window taken back", edge, from->edge, look->to);
}

static void check_timestamps(const struct mir__watch_look *look)
{
    const struct mir__watch_segment *seg = look->seg;
    const struct mir__watch_half *from = look->from, *to = look->to;
    bool are_agreed = from->syn.has_ts && to->syn.has_ts;
    if (are_agreed != seg->has_ts) {
        mir__watch_break(look, are_agreed ? "no timestamps though agreed" : "timestamps not agreed",
                         seg->has_ts, are_agreed, NULL);
        return;
    }
    if (!are_agreed)
        return;
    if (look->frame->is_from_here && from->has_tsval && seq_lt(seg->tsval, from->tsval))
        mir__watch_break(look, "timestamp goes back", seg->tsval, from->tsval, NULL);
    if (to->has_tsval && seq_gt(seg->tsecr, to->tsval))
        mir__watch_break(look, "echo of a timestamp that was never sent", seg->tsecr, to->tsval,
                         NULL);
}

static void check_agreed(const struct mir__watch_look *look)
{
    const struct mir__watch_segment *seg = look->seg;
    if (seg->has_mss || seg->has_wscale || seg->has_sack_permitted)
        mir__watch_break(look, "option of a SYN on another segment", seg->options_len, 0, NULL);
    if (!knows_options(look))
        return;
    check_size(look);
    check_timestamps(look);
    if (look->frame->is_from_here)
        check_edge(look);
    if (seg->sack_count > 0 && !(look->from->syn.has_sack && look->to->syn.has_sack))
        mir__watch_break(look, "SACK not agreed", seg->sack_count, 0, NULL);
}

/* ---- taking note ------------------------------------------------------------------------------
 */

static void note_data(struct mir__watch_look *look)
{
    const struct mir__watch_segment *seg = look->seg;
    struct mir__watch_half *from = look->from;
    uint32_t end = end_of(seg);
    if (seg->seq - from->in_order + FAR > 2 * FAR) /* neither near behind nor near ahead */
        return;
    from->max_end = seq_max(from->max_end, end);
    if (end != seg->seq)
        add_range(from, seg->seq, end);
    if (has_flag(look, MIR__TCP_FIN) && !from->has_fin) {
        from->has_fin = true;
        from->fin_seq = seg->seq + seg->len;
    }
}

static void note_ack(struct mir__watch_look *look)
{
    const struct mir__watch_segment *seg = look->seg;
    struct mir__watch_half *from = look->from;
    uint32_t scale = has_flag(look, MIR__TCP_SYN) ? 0 : scale_of(from, look->to);
    uint32_t edge = seg->ack + (seg->wnd << scale);
    if (!from->has_ack || seq_gt(seg->ack, from->ack))
        from->ack = seg->ack;
    from->has_ack = true;
    if (!from->has_edge || seq_gt(edge, from->edge))
        from->edge = edge;
    from->has_edge = true;
    if (seg->has_ts && (!from->has_tsval || seq_gt(seg->tsval, from->tsval))) {
        from->tsval = seg->tsval;
        from->has_tsval = true;
    }
}

static void judge_syn(struct mir__watch_look *look)
{
    const struct mir__watch_frame *frame = look->frame;
    if (frame->is_checked && (look->seg->flags & (MIR__TCP_FIN | MIR__TCP_RST)) != 0)
        mir__watch_break(look, "SYN with FIN or RST", look->seg->flags, MIR__TCP_SYN, NULL);
    note_syn(look);
    bool is_own = frame->is_from_here || (frame->is_checked && has_flag(look, MIR__TCP_ACK));
    if (is_own && look->from->is_known && look->from->syn.isn != look->seg->seq)
        look->from->is_known = look->from->has_ack = false; /* another life */
    if (!has_flag(look, MIR__TCP_ACK))
        return;
    settle_peer(look);
    if (look->to->is_known && look->to->syn.is_set && frame->is_checked)
        check_ack(look);
}

void mir__watch_judge(struct mir__watch_look *look)
{
    if (has_flag(look, MIR__TCP_SYN)) {
        judge_syn(look);
        return;
    }
    /* Who gets a reset may ignore it, and who sends one may never have known the connection: what
     * is known stays known until another SYN is acknowledged. */
    if (has_flag(look, MIR__TCP_RST) || !has_flag(look, MIR__TCP_ACK))
        return;
    settle_peer(look);
    settle_sender(look);
    settle_unknown_peer(look);
    if (look->frame->is_checked) {
        check_ack(look);
        check_data(look);
        check_sack(look);
        check_agreed(look);
    }
    note_data(look);
    note_ack(look);
}
