/* SPDX-License-Identifier: ISC */
/* Which options are offered and what they come to mean for a connection.
 *
 * Our SYN offers MSS, window scale, SACK and timestamps. A SYN-ACK, and a SYN in a simultaneous
 * open, repeats only what the peer offered; a retransmission carries the same options, because the
 * peer may have seen nothing before. Both sides must have sent window scale, and both timestamps,
 * for either to be used (RFC 7323 sections 2.2, 3.2).
 *
 * MSS: no option means 536 (RFC 9293 section 3.7.1, MUST-15). An offer below 88 is raised to 88:
 * segments of a few bytes would only serve an attacker. The effective mss is what the peer takes,
 * what the path takes, and what the application allows, less the bytes of the options that every
 * segment carries (RFC 6691).
 */
#include "lib/net/tcp/internal.h"

uint8_t mir__tcp_wscale_for(uint32_t limit)
{
    uint8_t scale = 0;
    while (scale < MIR__TCP_WSCALE_MAX && limit >> scale > 65535)
        scale++;
    return scale;
}

uint16_t mir__tcp_offer_mss(const struct mir__route *route)
{
    /* What we can receive has nothing to do with what the path takes from us. */
    uint32_t headers = route->ip_header_len + MIR__TCP_HEADER_BYTES;
    uint32_t mtu = mir__ip_link_mtu(route);
    if (mtu < headers + MIR__TCP_MSS_MIN)
        return MIR__TCP_MSS_MIN;
    return (uint16_t)(mtu - headers);
}

uint16_t mir__tcp_peer_mss(const struct mir__tcp_options *opt)
{
    uint16_t mss = opt->has_mss ? opt->mss : MIR__TCP_MSS_DEFAULT;
    return MIR_MAX(mss, (uint16_t)MIR__TCP_MSS_MIN);
}

void mir__tcp_syn_options(const struct mir__tcp_pcb *pcb, struct mir__tcp_options *opt)
{
    bool is_answer = pcb->state == MIR_TCP_S_SYN_RECEIVED;
    *opt = (struct mir__tcp_options){
        .has_mss = true,
        .mss = pcb->adv_mss,
        .has_wscale = !is_answer || pcb->has_wscale,
        .wscale = pcb->node.rcv_wscale,
        .sack_permitted = is_answer ? pcb->has_sack : !pcb->host->no_sack,
        .has_ts = is_answer ? pcb->has_ts : !pcb->host->no_timestamps,
        .tsval = mir__tcp_tsval(pcb, now_of(pcb->host)),
        .tsecr = is_answer ? pcb->ts_recent : 0,
    };
}

void mir__tcp_agree(struct mir__tcp_pcb *pcb, const struct mir__tcp_options *opt)
{
    pcb->peer_mss = mir__tcp_peer_mss(opt);
    pcb->has_wscale = opt->has_wscale;
    if (opt->has_wscale)
        pcb->snd_wscale = MIR_MIN(opt->wscale, (uint8_t)MIR__TCP_WSCALE_MAX);
    else
        pcb->node.rcv_wscale = 0;
    pcb->has_sack = opt->sack_permitted && !pcb->host->no_sack;
    pcb->has_ts = opt->has_ts && !pcb->host->no_timestamps;
    if (pcb->has_ts) {
        pcb->ts_recent = opt->tsval;
        pcb->ts_recent_ms = ms_of(now_of(pcb->host));
    }
    mir__tcp_update_mss(pcb);
}

uint16_t mir__tcp_mss_at(const struct mir__tcp_pcb *pcb, uint32_t mtu)
{
    uint32_t headers = pcb->busy->route.ip_header_len + MIR__TCP_HEADER_BYTES;
    uint32_t mss = MIR_MIN(pcb->peer_mss, mtu > headers ? mtu - headers : 0);
    if (pcb->mss_limit != 0)
        mss = MIR_MIN(mss, pcb->mss_limit);
    if (pcb->has_ts)
        mss -= MIR_MIN(mss, MIR__TCP_TS_BYTES);
    return (uint16_t)MIR_MAX(mss, MIR__TCP_MSS_MIN - MIR__TCP_TS_BYTES);
}

void mir__tcp_update_mss(struct mir__tcp_pcb *pcb)
{
    uint32_t mtu = pcb->busy->route.mtu;
    if (mtu == 0)
        return; /* at rest: with the route of the next segment */
    if (pcb->path_mtu != 0)
        mtu = MIR_MIN(mtu, pcb->path_mtu);
    pcb->mss = mir__tcp_mss_at(pcb, mtu);
}
