/* SPDX-License-Identifier: ISC */
/* How large segments may be on a path: what ICMP tells, and what silence tells.
 *
 * ICMP: "too big" about a segment that is in flight is believed (input.c checks), down to 576 bytes
 * for IPv4, 1280 for IPv6. The number goes to the stack's cache (lib/net/pmtu.c), where other
 * connections to the same host find it, and where it is forgotten after ten minutes; then full
 * segments are tried again. At IPv4's floor routers may fragment: DF is not set.
 *
 * Black holes (RFC 2923 section 2.1; RFC 4821, 8899): a router drops what is too big and its ICMP
 * does not arrive. Small segments pass, full ones never do:
 *
 *   timeout 2, 4, 6 of the same data     segments for 1280, 1064, 576 bytes of MTU, if that is less
 *   data is acknowledged again           was it the size, or was the path down for a while?
 *   probe                                one segment of full size among small ones
 *     acknowledged                       it was not the size: back to full segments
 *     lost, twice                        it was: the small size goes to the cache, for all; when it
 *                                        is forgotten the next probe goes out
 *
 * A probe is ordinary data. Its loss is found by SACK, is repaired in small pieces, and is no sign
 * of congestion (RFC 4821 section 7.5). So an outage costs a few small segments, a black hole about
 * a second once in ten minutes for a new connection and nothing for one that lives on.
 *
 * Without SACK nothing is probed: the connection stays at the size that works. The search knows
 * these three sizes only; a path of 1400 bytes is used with 1280.
 */
#include "lib/net/tcp/loss.h"

#include "lib/net/route.h"

static uint16_t floor_of(const struct mir__tcp_pcb *pcb)
{
    return mir_ip_is_v4(&pcb->node.remote) ? MIR__TCP_PMTU_MIN : 1280;
}

void mir__tcp_path_mtu_told(struct mir__tcp_pcb *pcb, uint16_t mtu)
{
    struct mir__route *route = &pcb->busy->route;
    mtu = MIR_MAX(mtu, floor_of(pcb));
    if (mtu >= route->mtu || (pcb->path_mtu != 0 && mtu >= pcb->path_mtu))
        return;
    MIR__TCP_COUNT(pcb->host, pmtu_reductions);
    route->mtu = mir__pmtu_update(pcb->host->net, &pcb->node.remote, mtu);
    pcb->path_mtu = 0; /* the truth is better than a search */
    mir__tcp_update_mss(pcb);
    /* What was too big is sent again, smaller, at once; this is no sign of congestion
     * (RFC 1191 section 6.5). */
    if (pcb->loss != NULL) {
        pcb->loss->has_mtu_probe = false;
        mir__tcp_board_all_lost(pcb, false);
    } else {
        pcb->snd_nxt = pcb->snd_una;
    }
    pcb->is_timing = false;
    mir__tcp_mark(pcb);
}

void mir__tcp_path_timeout(struct mir__tcp_pcb *pcb)
{
    static const uint16_t steps[] = {1280, 1064, MIR__TCP_PMTU_MIN};
    uint32_t step = pcb->rexmt_count / 2u;
    if (pcb->loss != NULL)
        pcb->loss->has_mtu_probe = false;
    if (pcb->rexmt_count % 2 != 0 || step == 0 || step > MIR_ARRAY_LEN(steps))
        return;
    uint16_t mtu = MIR_MAX(steps[step - 1], floor_of(pcb));
    uint32_t in_flight = pcb->snd_max - pcb->snd_una;
    if (pcb->busy->route.mtu <= mtu || (pcb->path_mtu != 0 && pcb->path_mtu <= mtu) ||
        MIR_MIN(in_flight, (uint32_t)pcb->mss) <= mir__tcp_mss_at(pcb, mtu))
        return; /* not size */
    MIR__TCP_COUNT(pcb->host, pmtu_black_holes);
    pcb->path_mtu = mtu;
    pcb->mtu_probe_failed = false;
    mir__tcp_update_mss(pcb);
}

uint32_t mir__tcp_path_probe_len(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_loss *loss = pcb->loss;
    if (loss == NULL || loss->has_mtu_probe || loss->sacked + loss->lost > 0 || pcb->in_recovery ||
        loss->in_timeout || pcb->snd_una == pcb->snd_max || pcb->busy->route.mtu <= pcb->path_mtu)
        return 0;
    return mir__tcp_mss_at(pcb, pcb->busy->route.mtu);
}

void mir__tcp_path_probing(struct mir__tcp_pcb *pcb, uint32_t seq, uint32_t end)
{
    MIR__TCP_COUNT(pcb->host, pmtu_probes);
    pcb->loss->has_mtu_probe = true;
    pcb->loss->mtu_seq = seq;
    pcb->loss->mtu_end = end;
}

void mir__tcp_path_acked(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_loss *loss = pcb->loss;
    if (!loss->has_mtu_probe || seq_lt(pcb->snd_una, loss->mtu_end))
        return;
    MIR__TCP_COUNT(pcb->host, pmtu_raised);
    loss->has_mtu_probe = false;
    pcb->path_mtu = 0;
    mir__tcp_update_mss(pcb);
}

bool mir__tcp_path_lost(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_loss *loss = pcb->loss;
    const struct mir__tcp_range *range = mir__tcp_board_next_lost(pcb);
    if (!loss->has_mtu_probe || range == NULL || seq_gt(range->end, loss->mtu_end) ||
        seq_le(range->end, loss->mtu_seq))
        return false;
    loss->has_mtu_probe = false;
    bool is_all = range->seq == loss->mtu_seq && range->end == loss->mtu_end &&
                  loss->lost == range->end - range->seq;
    if (!is_all)
        return false; /* others were lost too: it may be congestion */
    if (!pcb->mtu_probe_failed) {
        pcb->mtu_probe_failed = true;
        return true;
    }
    pcb->mtu_probe_failed = false;
    pcb->busy->route.mtu =
        mir__pmtu_update(pcb->host->net, &pcb->node.remote, MIR_MAX(pcb->path_mtu, floor_of(pcb)));
    return true;
}
