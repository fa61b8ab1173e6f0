/* SPDX-License-Identifier: ISC */
/* Options and figures of a host socket in the terms of the API. */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "dev/net/host/internal.h"

static int set_int(int fd, int level, int name, uint32_t value)
{
    int number = (int)value;
    if (value > INT32_MAX)
        return -MIR_ERANGE;
    if (setsockopt(fd, level, name, &number, sizeof number) == 0)
        return 0;
    return errno == EINVAL ? -MIR_ERANGE : mir__host_error(errno);
}

static int set_idle(int fd, uint32_t seconds)
{
    int r = seconds != 0 ? set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds) : 0;
    return r < 0 ? r : set_int(fd, SOL_SOCKET, SO_KEEPALIVE, seconds != 0);
}

/* A socket of IPv6 may speak IPv4 too: what does not fit it is refused, and that is no error. */
static int set_tos(int fd, uint32_t value)
{
    if (value > 255)
        return -MIR_ERANGE;
    int r4 = set_int(fd, IPPROTO_IP, IP_TOS, value & ~3u);
    int r6 = set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, value & ~3u);
    return r4 == 0 || r6 == 0 ? 0 : r4;
}

/* A time would make close() wait for it, and the loop with it. */
static int set_linger(int fd, uint32_t value)
{
    struct linger linger = {.l_onoff = value == 0};
    if (value != 0 && value != MIR_TCP_LINGER_OFF)
        return -MIR_ENOTSUP;
    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0
               ? 0
               : mir__host_error(errno);
}

int mir__host_set_option(struct mir_tcp *head, enum mir_tcp_option option, uint32_t value)
{
    struct mir__host_tcp *tcp = (struct mir__host_tcp *)(void *)head;
    int fd = tcp->watch.fd;
    if (tcp->state == MIR__HOST_FAILED)
        return tcp->head.error;
    switch (option) {
    case MIR_TCP_NODELAY:
        return value > 1 ? -MIR_ERANGE : set_int(fd, IPPROTO_TCP, TCP_NODELAY, value);
    case MIR_TCP_KEEPALIVE_IDLE_S:
        return set_idle(fd, value);
    case MIR_TCP_KEEPALIVE_INTVL_S:
        return set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, value);
    case MIR_TCP_KEEPALIVE_COUNT:
        return set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, value);
    case MIR_TCP_USER_TIMEOUT_MS:
        return set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, value);
    case MIR_TCP_SNDBUF:
        if (value == 0)
            return -MIR_ERANGE;
        tcp->sndbuf_bytes = value;
        return 0;
    case MIR_TCP_RCVBUF:
        return value == 0 ? -MIR_ERANGE : set_int(fd, SOL_SOCKET, SO_RCVBUF, value);
    case MIR_TCP_CORK:
        return value > 1 ? -MIR_ERANGE : set_int(fd, IPPROTO_TCP, TCP_CORK, value);
    case MIR_TCP_LINGER_MS:
        return set_linger(fd, value);
    case MIR_TCP_MAXSEG:
        return set_int(fd, IPPROTO_TCP, TCP_MAXSEG, value);
    case MIR_TCP_TOS:
        return set_tos(fd, value);
    case MIR_TCP_UNREACHABLE_ENDS:
        return value > 1 ? -MIR_ERANGE : 0;
    }
    return -MIR_ENOTSUP;
}

/* Linux numbers its states from 1 = ESTABLISHED (include/net/tcp_states.h). */
static uint8_t state_of(uint8_t host_state)
{
    static const uint8_t states[] = {
        [1] = MIR_TCP_S_ESTABLISHED, [2] = MIR_TCP_S_SYN_SENT,   [3] = MIR_TCP_S_SYN_RECEIVED,
        [4] = MIR_TCP_S_FIN_WAIT_1,  [5] = MIR_TCP_S_FIN_WAIT_2, [6] = MIR_TCP_S_TIME_WAIT,
        [7] = MIR_TCP_S_CLOSED,      [8] = MIR_TCP_S_CLOSE_WAIT, [9] = MIR_TCP_S_LAST_ACK,
        [10] = MIR_TCP_S_LISTEN,     [11] = MIR_TCP_S_CLOSING,
    };
    return host_state < sizeof states ? states[host_state] : MIR_TCP_S_CLOSED;
}

void mir__host_info(const struct mir_tcp *head, struct mir_tcp_info *info)
{
    const struct mir__host_tcp *tcp = (const struct mir__host_tcp *)(const void *)head;
    struct tcp_info host;
    socklen_t len = sizeof host;
    memset(info, 0, sizeof *info);
    memset(&host, 0, sizeof host);
    info->bytes_sent = tcp->bytes_sent;
    info->bytes_received = tcp->bytes_received;
    info->send_queue_bytes = tcp->queued_bytes;
    if (tcp->state == MIR__HOST_FAILED ||
        getsockopt(tcp->watch.fd, IPPROTO_TCP, TCP_INFO, &host, &len) != 0)
        return;
    info->state = state_of(host.tcpi_state);
    info->mss = (uint16_t)MIR_MIN(host.tcpi_snd_mss, 65535u);
    info->srtt_us = host.tcpi_rtt;
    info->rttvar_us = host.tcpi_rttvar;
    info->rto_us = host.tcpi_rto;
    info->min_rtt_us = host.tcpi_min_rtt;
    info->cwnd_bytes = host.tcpi_snd_cwnd * host.tcpi_snd_mss;
    info->ssthresh_bytes = host.tcpi_snd_ssthresh < UINT32_MAX / 65536
                               ? host.tcpi_snd_ssthresh * host.tcpi_snd_mss
                               : UINT32_MAX;
    info->flight_bytes = host.tcpi_unacked * host.tcpi_snd_mss;
    info->rcv_wnd_bytes = host.tcpi_rcv_space;
    info->send_queue_bytes += host.tcpi_notsent_bytes;
    info->bytes_acked = host.tcpi_bytes_acked;
    info->segs_out = host.tcpi_segs_out;
    info->segs_in = host.tcpi_segs_in;
    info->retransmits = host.tcpi_total_retrans;
    info->in_recovery = host.tcpi_ca_state == TCP_CA_Recovery;
    info->backoffs = host.tcpi_backoff;
    info->rcv_mss = (uint16_t)MIR_MIN(host.tcpi_rcv_mss, 65535u);
    info->adv_mss = (uint16_t)MIR_MIN(host.tcpi_advmss, 65535u);
    info->sacked_bytes = host.tcpi_sacked * host.tcpi_snd_mss;
    info->lost_bytes = host.tcpi_lost * host.tcpi_snd_mss;
    info->retrans_out_bytes = host.tcpi_retrans * host.tcpi_snd_mss;
    info->notsent_bytes = host.tcpi_notsent_bytes;
    info->rcv_rtt_us = host.tcpi_rcv_rtt;
    info->rcv_space_bytes = host.tcpi_rcv_space;
    info->last_received_ms = host.tcpi_last_data_recv;
    info->busy_ms = (uint32_t)(host.tcpi_busy_time / 1000);
    info->pacing_rate_bytes = host.tcpi_pacing_rate;
    info->delivery_rate_bytes = host.tcpi_delivery_rate;
    info->sack = (host.tcpi_options & 2) != 0; /* TCPI_OPT_SACK */
    info->snd_wscale = host.tcpi_snd_wscale;
    info->rcv_wscale = host.tcpi_rcv_wscale;
    info->timestamps = (host.tcpi_options & 1) != 0; /* TCPI_OPT_TIMESTAMPS */
}
