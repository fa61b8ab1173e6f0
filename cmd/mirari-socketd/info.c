/* SPDX-License-Identifier: ISC */
/* struct tcp_info of a connection, from what the stack tells about it.
 *
 * Windows that the kernel counts in segments are counted so here, in full ones of the present size.
 */
#include "cmd/mirari-socketd/socketd.h"

#include <linux/tcp.h>

/* TCP_ESTABLISHED and the like, which only <netinet/tcp.h> has. */
static uint8_t linux_state(uint8_t state)
{
    static const uint8_t states[] = {
        [MIR_TCP_S_CLOSED] = 7,       [MIR_TCP_S_LISTEN] = 10,     [MIR_TCP_S_SYN_SENT] = 2,
        [MIR_TCP_S_SYN_RECEIVED] = 3, [MIR_TCP_S_ESTABLISHED] = 1, [MIR_TCP_S_FIN_WAIT_1] = 4,
        [MIR_TCP_S_FIN_WAIT_2] = 5,   [MIR_TCP_S_CLOSE_WAIT] = 8,  [MIR_TCP_S_CLOSING] = 11,
        [MIR_TCP_S_LAST_ACK] = 9,     [MIR_TCP_S_TIME_WAIT] = 6,
    };
    return state < MIR_ARRAY_LEN(states) ? states[state] : 7;
}

static uint32_t segments(uint32_t bytes, uint32_t mss)
{
    return mss == 0 ? 0 : (bytes + mss - 1) / mss;
}

static uint8_t congestion_state(const struct mir_tcp_info *from)
{
    if (from->backoffs > 0)
        return TCP_CA_Loss;
    if (from->in_recovery)
        return TCP_CA_Recovery;
    return from->sacked_bytes > 0 ? TCP_CA_Disorder : TCP_CA_Open;
}

static void fill(const struct mir_tcp_info *from, bool is_v4, struct tcp_info *to)
{
    uint32_t mss = from->mss;
    to->tcpi_state = linux_state(from->state);
    to->tcpi_ca_state = congestion_state(from);
    to->tcpi_retransmits = to->tcpi_backoff = from->backoffs;
    to->tcpi_options =
        (uint8_t)((from->timestamps ? TCPI_OPT_TIMESTAMPS : 0) | (from->sack ? TCPI_OPT_SACK : 0) |
                  (from->snd_wscale != 0 || from->rcv_wscale != 0 ? TCPI_OPT_WSCALE : 0) |
                  (from->ecn ? TCPI_OPT_ECN : 0));
    to->tcpi_snd_wscale = from->snd_wscale & 15u;
    to->tcpi_rcv_wscale = from->rcv_wscale & 15u;
    to->tcpi_rto = from->rto_us;
    to->tcpi_ato = 40000;
    to->tcpi_snd_mss = mss;
    to->tcpi_rcv_mss = from->rcv_mss;
    to->tcpi_unacked = segments(from->flight_bytes, mss);
    to->tcpi_sacked = segments(from->sacked_bytes, mss);
    to->tcpi_lost = segments(from->lost_bytes, mss);
    to->tcpi_retrans = segments(from->retrans_out_bytes, mss);
    to->tcpi_last_data_recv = to->tcpi_last_ack_recv = from->last_received_ms;
    to->tcpi_pmtu = mss + (from->timestamps ? 12 : 0) + (is_v4 ? 40 : 60);
    to->tcpi_rcv_ssthresh = from->rcv_wnd_bytes;
    to->tcpi_rtt = from->srtt_us;
    to->tcpi_rttvar = from->rttvar_us;
    to->tcpi_min_rtt = from->min_rtt_us;
    to->tcpi_snd_ssthresh =
        from->ssthresh_bytes >= 1u << 30 || mss == 0 ? 0x7fffffff : from->ssthresh_bytes / mss;
    to->tcpi_snd_cwnd = mss != 0 ? from->cwnd_bytes / mss : 0;
    to->tcpi_advmss = from->adv_mss;
    to->tcpi_reordering = 3;
    to->tcpi_rcv_rtt = from->rcv_rtt_us;
    to->tcpi_rcv_space = from->rcv_space_bytes;
    to->tcpi_total_retrans = from->retransmits;
    to->tcpi_pacing_rate = from->pacing_rate_bytes;
    to->tcpi_max_pacing_rate = UINT64_MAX;
    to->tcpi_delivery_rate = from->delivery_rate_bytes;
    to->tcpi_bytes_acked = from->bytes_acked;
    to->tcpi_bytes_received = from->bytes_received;
    to->tcpi_bytes_sent = from->bytes_sent;
    to->tcpi_segs_out = from->segs_out;
    to->tcpi_segs_in = from->segs_in;
    to->tcpi_notsent_bytes = from->notsent_bytes;
    to->tcpi_busy_time = (uint64_t)from->busy_ms * 1000;
    to->tcpi_reord_seen = from->reordering_seen;
    to->tcpi_snd_wnd = from->snd_wnd_bytes;
}

uint32_t sd_tcp_info(const struct sd_socket *s, void *out, uint32_t size)
{
    struct tcp_info info;
    struct mir_tcp_info from;
    memset(&info, 0, sizeof info);
    if (s->tcp != NULL) {
        mir_tcp_get_info(s->tcp, &from);
        fill(&from, mir_ip_is_v4(&s->remote.ip), &info);
    } else {
        info.tcpi_state =
            linux_state(s->state == SOCK_S_LISTENING ? MIR_TCP_S_LISTEN : MIR_TCP_S_CLOSED);
        info.tcpi_unacked = s->waiting_count;
        info.tcpi_sacked = s->backlog;
    }
    size = (uint32_t)MIR_MIN((size_t)size, sizeof info);
    memcpy(out, &info, size);
    return size;
}
