/* SPDX-License-Identifier: ISC */
/* Socket options, TCP_INFO, fcntl and ioctl.
 *
 * An option is kept with the socket and applied to the connection when there is one; accepted
 * sockets inherit what the listener had. Sizes of buffers are told as Linux tells them: twice what
 * was asked for, of which half may be received data, but all of it data to send. Options the stack
 * has no use for are refused with ENOPROTOOPT rather than taken and ignored; the exceptions are
 * those that ask for what is the case anyway (SO_REUSEADDR).
 *
 * TCP_INFO counts in segments where Linux does. Fields of which the stack knows nothing are zero.
 */
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/sockios.h>
#include <linux/tcp.h>

#include "lib/net/tcp/loss.h"
#include "target/packetdrill/internal.h"

#include <fcntl.h>

enum { KEEP_IDLE_DEFAULT_S = 7200, BUF_MIN = 2304 };

static const struct mir__tcp_pcb *pcb_const(const struct px_sock *sock)
{
    return (const struct mir__tcp_pcb *)(const void *)sock->tcp;
}

/* ---- applying ----------------------------------------------------------------------------------
 */

static void set(struct px_sock *sock, enum mir_tcp_option option, uint32_t value)
{
    /* What is out of range for the stack was in range for the socket layer: keep what there is. */
    if (mir_tcp_set_option(sock->tcp, option, value) < 0)
        sock->edges++;
}

static int set_congestion(struct px_sock *sock, const char *name)
{
    const struct mir__tcp_cc *cc = mir__tcp_cc_find(name);
    if (cc == NULL)
        return -ENOENT;
    if (sock->tcp != NULL && pcb_of(sock->tcp)->state != MIR_TCP_S_CLOSED) {
        struct mir__tcp_pcb *pcb = pcb_of(sock->tcp);
        bool is_new = pcb->cc != cc;
        uint32_t cwnd = pcb->cwnd;
        if (!mir__tcp_wake(pcb))
            return -ENOMEM;
        pcb->cc = cc;
        if (is_new && is_synchronized(pcb)) {
            uint32_t ssthresh = pcb->ssthresh;
            cc->init(pcb);
            pcb->cwnd = cwnd;
            pcb->ssthresh = ssthresh;
        }
    }
    return 0;
}

void px__options_apply(struct px_sock *sock)
{
    const struct px_options *options = &sock->options;
    if (sock->listener != NULL) {
        struct mir__tcp_listener *listener = (struct mir__tcp_listener *)(void *)sock->listener;
        listener->mss_max = options->maxseg;
        listener->fastopen_max = options->fastopen;
        listener->rcvbuf = options->rcvbuf != 0 ? options->rcvbuf : listener->rcvbuf;
        return;
    }
    if (options->rcvbuf != 0)
        set(sock, MIR_TCP_RCVBUF, options->rcvbuf);
    if (options->sndbuf != 0)
        set(sock, MIR_TCP_SNDBUF, options->sndbuf);
    if (options->maxseg != 0)
        set(sock, MIR_TCP_MAXSEG, options->maxseg);
    if (options->tos != 0)
        set(sock, MIR_TCP_TOS, options->tos);
    if (options->nodelay)
        set(sock, MIR_TCP_NODELAY, 1);
    if (options->cork)
        set(sock, MIR_TCP_CORK, 1);
    if (options->keep_intvl_s != 0)
        set(sock, MIR_TCP_KEEPALIVE_INTVL_S, options->keep_intvl_s);
    if (options->keep_count != 0)
        set(sock, MIR_TCP_KEEPALIVE_COUNT, options->keep_count);
    if (options->keepalive)
        set(sock, MIR_TCP_KEEPALIVE_IDLE_S,
            options->keep_idle_s != 0 ? options->keep_idle_s : KEEP_IDLE_DEFAULT_S);
    if (options->user_timeout_ms != 0)
        set(sock, MIR_TCP_USER_TIMEOUT_MS, options->user_timeout_ms);
    if (options->congestion[0] != '\0')
        (void)set_congestion(sock, options->congestion);
}

/* ---- TCP_INFO ----------------------------------------------------------------------------------
 */

static uint8_t linux_state(uint8_t state)
{
    static const uint8_t of[] = {
        [MIR_TCP_S_CLOSED] = 7,       [MIR_TCP_S_LISTEN] = 10,     [MIR_TCP_S_SYN_SENT] = 2,
        [MIR_TCP_S_SYN_RECEIVED] = 3, [MIR_TCP_S_ESTABLISHED] = 1, [MIR_TCP_S_FIN_WAIT_1] = 4,
        [MIR_TCP_S_FIN_WAIT_2] = 5,   [MIR_TCP_S_CLOSE_WAIT] = 8,  [MIR_TCP_S_CLOSING] = 11,
        [MIR_TCP_S_LAST_ACK] = 9,     [MIR_TCP_S_TIME_WAIT] = 6,
    };
    return state < sizeof of ? of[state] : 7;
}

static uint32_t segments(uint32_t bytes, uint32_t mss)
{
    return mss == 0 ? 0 : (bytes + mss - 1) / mss;
}

/* Linux counts as lost what was sent again too, until it is acknowledged. */
static uint32_t lost_bytes(const struct mir__tcp_pcb *pcb, bool in_timeout)
{
    uint32_t bytes = 0;
    uint8_t flags = MIR__TCP_R_LOST;
    if (in_timeout || pcb->in_recovery)
        flags |= MIR__TCP_R_AGAIN;
    for (const struct mir__tcp_range *range = pcb->loss->first; range; range = range->next)
        if ((range->flags & flags) != 0 && !(range->flags & MIR__TCP_R_SACKED))
            bytes += range->end - range->seq;
    return bytes;
}

static void fill_loss(const struct mir__tcp_pcb *pcb, uint32_t mss, struct tcp_info *info)
{
    const struct mir__tcp_loss *loss = pcb->loss;
    bool in_timeout = loss != NULL ? loss->in_timeout : pcb->rexmt_count > 0;
    info->tcpi_unacked = segments(pcb->snd_max - pcb->snd_una, mss);
    info->tcpi_ca_state = TCP_CA_Open;
    if (loss != NULL) {
        info->tcpi_sacked = segments(loss->sacked, mss);
        info->tcpi_lost = segments(lost_bytes(pcb, in_timeout), mss);
        info->tcpi_retrans = segments(loss->again, mss);
    }
    if (in_timeout)
        info->tcpi_ca_state = TCP_CA_Loss;
    else if (pcb->in_recovery)
        info->tcpi_ca_state = TCP_CA_Recovery;
    else if (pcb->in_cwr)
        info->tcpi_ca_state = TCP_CA_CWR;
    else if (pcb->dup_acks > 0 || info->tcpi_sacked > 0)
        info->tcpi_ca_state = TCP_CA_Disorder;
}

static uint32_t ago_ms(const struct px_sock *sock, mir_time_us at_us)
{
    return at_us == 0 ? 0 : (uint32_t)((sock->px->now_us - at_us) / MIR_US_PER_MS);
}

static void fill_info(const struct px_sock *sock, struct tcp_info *info)
{
    const struct mir__tcp_pcb *pcb = pcb_const(sock);
    uint32_t mss = pcb->mss;
    uint32_t flight = pcb->snd_max - pcb->snd_una;
    struct mir_tcp_info more;
    mir_tcp_get_info(sock->tcp, &more);
    info->tcpi_state = linux_state(pcb->state);
    fill_loss(pcb, mss, info);
    info->tcpi_retransmits = pcb->is_persist ? 0 : pcb->rexmt_count;
    info->tcpi_backoff = pcb->rexmt_count;
    info->tcpi_probes = pcb->is_persist ? pcb->rexmt_count : pcb->keep_sent;
    info->tcpi_options =
        (uint8_t)((pcb->has_ts ? TCPI_OPT_TIMESTAMPS : 0) | (pcb->has_sack ? TCPI_OPT_SACK : 0) |
                  (pcb->has_wscale ? TCPI_OPT_WSCALE : 0) | (pcb->has_ecn ? TCPI_OPT_ECN : 0) |
                  (pcb->had_syn_data ? TCPI_OPT_SYN_DATA : 0));
    info->tcpi_snd_wscale = pcb->snd_wscale & 15u;
    info->tcpi_rcv_wscale = pcb->node.rcv_wscale & 15u;
    info->tcpi_rto = pcb->rto_us;
    info->tcpi_ato = MIR__TCP_DELACK_US;
    info->tcpi_snd_mss = mss;
    info->tcpi_rcv_mss = pcb->rcv_mss;
    info->tcpi_last_data_sent = ago_ms(sock, pcb->busy->sent_us);
    info->tcpi_last_data_recv = ago_ms(sock, pcb->received_us);
    info->tcpi_last_ack_recv = ago_ms(sock, pcb->received_us);
    info->tcpi_pmtu = pcb->path_mtu != 0 ? pcb->path_mtu : pcb->busy->route.mtu;
    info->tcpi_rcv_ssthresh = mir__tcp_rcv_wnd(pcb);
    info->tcpi_rtt = pcb->srtt_us;
    info->tcpi_rttvar = pcb->rttvar_us;
    info->tcpi_snd_ssthresh =
        pcb->ssthresh >= (1u << 30) ? 0x7fffffff : (mss != 0 ? pcb->ssthresh / mss : 0);
    info->tcpi_snd_cwnd = mss != 0 ? pcb->cwnd / mss : 0;
    info->tcpi_advmss = pcb->adv_mss;
    info->tcpi_reordering = 3;
    /* As if all segments had been full; the SYN counts for one. */
    info->tcpi_delivered = is_synchronized(pcb)
                               ? 1 + segments((uint32_t)pcb->bytes_acked, mss) + info->tcpi_sacked
                               : 0;
    info->tcpi_rcv_space = more.rcv_space_bytes;
    info->tcpi_rcv_rtt = more.rcv_rtt_us;
    info->tcpi_pacing_rate = more.pacing_rate_bytes;
    info->tcpi_delivery_rate = more.delivery_rate_bytes;
    info->tcpi_busy_time = (uint64_t)more.busy_ms * 1000;
    info->tcpi_reord_seen = more.reordering_seen;
    info->tcpi_total_retrans = pcb->retransmits;
    info->tcpi_bytes_acked = pcb->bytes_acked;
    info->tcpi_bytes_received = pcb->bytes_received;
    info->tcpi_segs_out = pcb->segs_out;
    info->tcpi_segs_in = pcb->segs_in;
    info->tcpi_notsent_bytes =
        pcb->busy->sendq.q.bytes > flight ? pcb->busy->sendq.q.bytes - flight : 0;
    info->tcpi_min_rtt = pcb->min_rtt_us;
    info->tcpi_bytes_sent = pcb->bytes_sent;
    info->tcpi_snd_wnd = pcb->snd_wnd;
}

/* ---- get ---------------------------------------------------------------------------------------
 */

static int give(void *value, socklen_t *len, const void *from, size_t size)
{
    *len = (socklen_t)MIR_MIN((size_t)*len, size);
    memcpy(value, from, *len);
    return 0;
}

static int get_socket(struct px_sock *sock, int name, void *value, socklen_t *len)
{
    const struct px_options *options = &sock->options;
    int number;
    switch (name) {
    case SO_ERROR:
        number = -px__take_error(sock);
        break;
    case SO_TYPE:
        number = sock->kind == PX_UDP ? SOCK_DGRAM : SOCK_STREAM;
        break;
    case SO_DOMAIN:
        number = sock->domain;
        break;
    case SO_PROTOCOL:
        number = sock->kind == PX_UDP ? IPPROTO_UDP : IPPROTO_TCP;
        break;
    case SO_ACCEPTCONN:
        number = sock->state == PX_LISTENING;
        break;
    case SO_REUSEADDR:
        number = options->reuse_addr;
        break;
    case SO_KEEPALIVE:
        number = options->keepalive;
        break;
    case SO_SNDBUF:
        number = (int)(options->sndbuf != 0 ? options->sndbuf : 131072u);
        break;
    case SO_RCVBUF:
        number = (int)(2 * (options->rcvbuf != 0 ? options->rcvbuf : 65536u));
        break;
    case SO_LINGER: {
        struct linger linger = {options->linger, options->linger_s};
        return give(value, len, &linger, sizeof linger);
    }
    default:
        return -ENOPROTOOPT;
    }
    return give(value, len, &number, sizeof number);
}

static int get_info(const struct px_sock *sock, void *value, socklen_t *len)
{
    struct tcp_info info;
    memset(&info, 0, sizeof info);
    if (sock->tcp != NULL)
        fill_info(sock, &info);
    else
        info.tcpi_state = sock->state == PX_LISTENING ? 10 : 7;
    return give(value, len, &info, sizeof info);
}

static int get_congestion(const struct px_sock *sock, void *value, socklen_t *len)
{
    const struct mir__tcp_cc *cc = mir__tcp_cc_find(NULL);
    char name[16] = {0};
    if (sock->tcp != NULL)
        cc = pcb_const(sock)->cc;
    else if (sock->options.congestion[0] != '\0')
        cc = mir__tcp_cc_find(sock->options.congestion);
    if (cc != NULL)
        strncpy(name, cc->name, sizeof name - 1);
    return give(value, len, name, sizeof name);
}

static int get_tcp(struct px_sock *sock, int name, void *value, socklen_t *len)
{
    const struct px_options *options = &sock->options;
    int number;
    switch (name) {
    case TCP_INFO:
        return get_info(sock, value, len);
    case TCP_CONGESTION:
        return get_congestion(sock, value, len);
    case TCP_NODELAY:
        number = options->nodelay;
        break;
    case TCP_CORK:
        number = options->cork;
        break;
    case TCP_MAXSEG:
        number = MIR__TCP_MSS_DEFAULT;
        if (sock->tcp != NULL && is_synchronized(pcb_const(sock)))
            number = pcb_const(sock)->mss;
        else if (options->maxseg != 0)
            number = options->maxseg;
        break;
    case TCP_KEEPIDLE:
        number = (int)(options->keep_idle_s != 0 ? options->keep_idle_s : KEEP_IDLE_DEFAULT_S);
        break;
    case TCP_KEEPINTVL:
        number = (int)(options->keep_intvl_s != 0 ? options->keep_intvl_s : MIR__TCP_KEEP_INTVL_S);
        break;
    case TCP_KEEPCNT:
        number = (int)(options->keep_count != 0 ? options->keep_count : MIR__TCP_KEEP_COUNT);
        break;
    case TCP_FASTOPEN:
        number = (int)options->fastopen;
        break;
    case TCP_FASTOPEN_CONNECT:
        number = options->fastopen_connect;
        break;
    case TCP_NOTSENT_LOWAT:
        number = (int)options->notsent_lowat;
        break;
    case TCP_USER_TIMEOUT:
        number = (int)options->user_timeout_ms;
        break;
    default:
        return -ENOPROTOOPT;
    }
    return give(value, len, &number, sizeof number);
}

static bool is_tos(const struct px_sock *sock, int level, int name)
{
    return sock->kind == PX_TCP && ((level == IPPROTO_IP && name == IP_TOS) ||
                                    (level == IPPROTO_IPV6 && name == IPV6_TCLASS));
}

int px_getsockopt(struct px_host *px, int fd, int level, int name, void *value, socklen_t *len)
{
    struct px_sock *sock = px__sock(px, fd);
    if (sock == NULL)
        return -EBADF;
    if (sock->kind == PX_EPOLL)
        return -ENOTSOCK;
    if (value == NULL || len == NULL)
        return -EFAULT;
    if ((int)*len < 0)
        return -EINVAL;
    if (is_tos(sock, level, name)) {
        int number = sock->options.tos;
        return give(value, len, &number, sizeof number);
    }
    if (level == SOL_SOCKET)
        return get_socket(sock, name, value, len);
    if (level == IPPROTO_TCP)
        return sock->kind == PX_TCP ? get_tcp(sock, name, value, len) : -EOPNOTSUPP;
    return -ENOPROTOOPT;
}

/* ---- set ---------------------------------------------------------------------------------------
 */

static int set_timeout(int64_t *timeout_us, const void *value, socklen_t len)
{
    struct timeval tv;
    if (len < (socklen_t)sizeof tv)
        return -EINVAL;
    memcpy(&tv, value, sizeof tv);
    if (tv.tv_usec < 0 || tv.tv_usec >= 1000000 || tv.tv_sec > 1000000000)
        return -EDOM;
    *timeout_us = tv.tv_sec < 0 ? 1 : (int64_t)tv.tv_sec * 1000000 + tv.tv_usec;
    return 0;
}

static int set_linger(struct px_sock *sock, const void *value, socklen_t len)
{
    struct linger linger;
    if (len < (socklen_t)sizeof linger)
        return -EINVAL;
    memcpy(&linger, value, sizeof linger);
    sock->options.linger = linger.l_onoff != 0;
    sock->options.linger_s = MIR_MAX(linger.l_linger, 0);
    return 0;
}

static int set_socket(struct px_sock *sock, int name, int number)
{
    struct px_options *options = &sock->options;
    switch (name) {
    case SO_REUSEADDR:
    case SO_REUSEPORT:
        options->reuse_addr = number != 0;
        return 0;
    case SO_KEEPALIVE:
        options->keepalive = number != 0;
        if (sock->tcp != NULL && !options->keepalive)
            set(sock, MIR_TCP_KEEPALIVE_IDLE_S, 0);
        break;
    case SO_SNDBUF:
        options->sndbuf = 2 * (uint32_t)MIR_MIN(MIR_MAX(number, BUF_MIN), 4 << 20);
        break;
    case SO_RCVBUF:
        options->rcvbuf = (uint32_t)MIR_MIN(MIR_MAX(number, BUF_MIN), 16 << 20);
        break;
    default:
        return -ENOPROTOOPT;
    }
    if (sock->tcp != NULL || sock->listener != NULL)
        px__options_apply(sock);
    return 0;
}

static int set_bounded(uint32_t *to, int number, int most)
{
    if (number < 1 || number > most)
        return -EINVAL;
    *to = (uint32_t)number;
    return 0;
}

/* No delay: what a cork holds back leaves too, the cork stays for what comes after. */
static void push(struct px_sock *sock)
{
    set(sock, MIR_TCP_CORK, 0);
    px_settle(sock->px);
    if (sock->options.cork)
        set(sock, MIR_TCP_CORK, 1);
}

static int set_tcp(struct px_sock *sock, int name, int number)
{
    struct px_options *options = &sock->options;
    int r = 0;
    switch (name) {
    case TCP_NODELAY:
    case TCP_CORK:
        if (name == TCP_NODELAY)
            options->nodelay = number != 0;
        else
            options->cork = number != 0;
        if (sock->tcp != NULL)
            set(sock, name == TCP_NODELAY ? MIR_TCP_NODELAY : MIR_TCP_CORK, number != 0);
        if (sock->tcp != NULL && name == TCP_NODELAY && number != 0)
            push(sock);
        return 0;
    case TCP_MAXSEG:
        if (number < (int)MIR__TCP_MSS_MIN || number > 32767)
            return -EINVAL;
        options->maxseg = (uint16_t)number;
        break;
    case TCP_KEEPIDLE:
        r = set_bounded(&options->keep_idle_s, number, 32767);
        break;
    case TCP_KEEPINTVL:
        r = set_bounded(&options->keep_intvl_s, number, 32767);
        break;
    case TCP_KEEPCNT:
        r = set_bounded(&options->keep_count, number, 100);
        break;
    case TCP_USER_TIMEOUT:
        if (number < 0)
            return -EINVAL;
        options->user_timeout_ms = (uint32_t)number;
        if (sock->tcp != NULL)
            set(sock, MIR_TCP_USER_TIMEOUT_MS, options->user_timeout_ms);
        break;
    case TCP_FASTOPEN:
        if (number < 0 || sock->state == PX_CONNECTED || sock->state == PX_CONNECTING)
            return -EINVAL;
        options->fastopen = (uint32_t)number;
        break;
    case TCP_FASTOPEN_CONNECT:
        if (number != 0 && number != 1)
            return -EINVAL;
        if (sock->state != PX_FRESH)
            return -EINVAL;
        options->fastopen_connect = number != 0;
        return 0;
    case TCP_NOTSENT_LOWAT:
        options->notsent_lowat = (uint32_t)number;
        return 0;
    case TCP_QUICKACK:
        if (sock->tcp != NULL)
            pcb_of(sock->tcp)->quick_acks = number != 0 ? MIR__TCP_QUICK_ACKS : 0;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
    if (r == 0 && (sock->tcp != NULL || sock->listener != NULL))
        px__options_apply(sock);
    return r;
}

static int set_congestion_option(struct px_sock *sock, const void *value, socklen_t len)
{
    char name[16] = {0};
    if (len < 1)
        return -EINVAL;
    memcpy(name, value, MIR_MIN((size_t)len, sizeof name - 1));
    int r = set_congestion(sock, name);
    if (r == 0)
        memcpy(sock->options.congestion, name, sizeof name);
    return r;
}

/* One byte is enough, as on Linux. */
static int set_tos(struct px_sock *sock, const void *value, socklen_t len)
{
    int number = 0;
    if (len < 1)
        return -EINVAL;
    if (len < (socklen_t)sizeof number)
        number = *(const uint8_t *)value;
    else
        memcpy(&number, value, sizeof number);
    if (number < 0 || number > 255)
        return -EINVAL;
    sock->options.tos = (uint8_t)(number & ~3);
    if (sock->tcp != NULL)
        set(sock, MIR_TCP_TOS, sock->options.tos);
    return 0;
}

int px_setsockopt(struct px_host *px, int fd, int level, int name, const void *value, socklen_t len)
{
    struct px_sock *sock = px__sock(px, fd);
    int number = 0;
    int r;
    if (sock == NULL)
        return -EBADF;
    if (sock->kind == PX_EPOLL)
        return -ENOTSOCK;
    if (value == NULL)
        return -EFAULT;
    if (level == IPPROTO_TCP && sock->kind != PX_TCP)
        return -EOPNOTSUPP;
    if (is_tos(sock, level, name))
        return set_tos(sock, value, len);
    if (level == SOL_SOCKET && name == SO_LINGER)
        return set_linger(sock, value, len);
    if (level == SOL_SOCKET && name == SO_RCVTIMEO)
        return set_timeout(&sock->options.rcv_timeout_us, value, len);
    if (level == SOL_SOCKET && name == SO_SNDTIMEO)
        return set_timeout(&sock->options.snd_timeout_us, value, len);
    if (level == IPPROTO_TCP && name == TCP_CONGESTION)
        return set_congestion_option(sock, value, len);
    if (len < (socklen_t)sizeof number)
        return -EINVAL;
    memcpy(&number, value, sizeof number);
    if (level == SOL_SOCKET)
        r = set_socket(sock, name, number);
    else if (level == IPPROTO_TCP)
        r = set_tcp(sock, name, number);
    else
        r = -ENOPROTOOPT;
    px_settle(px);
    return r;
}

/* ---- fcntl, ioctl ------------------------------------------------------------------------------
 */

int px_fcntl(struct px_host *px, int fd, int command, long arg)
{
    struct px_sock *sock = px__sock(px, fd);
    if (sock == NULL)
        return -EBADF;
    switch (command) {
    case F_GETFL:
        return O_RDWR | (sock->nonblock ? O_NONBLOCK : 0);
    case F_SETFL:
        sock->nonblock = (arg & O_NONBLOCK) != 0;
        return 0;
    case F_GETFD:
    case F_SETFD:
        return 0;
    default:
        return -EINVAL;
    }
}

int px_ioctl(struct px_host *px, int fd, unsigned long request, int *value)
{
    struct px_sock *sock = px__sock(px, fd);
    if (sock == NULL)
        return -EBADF;
    if (sock->kind == PX_EPOLL)
        return -ENOTTY;
    if (value == NULL)
        return -EFAULT;
    if (request == FIONBIO) {
        sock->nonblock = *value != 0;
        return 0;
    }
    if (sock->kind == PX_UDP) {
        if (request != FIONREAD)
            return -ENOTTY;
        *value = sock->dgram_first != NULL ? (int)mir_buf_total(sock->dgram_first->buf) : 0;
        return 0;
    }
    if (sock->state == PX_LISTENING)
        return -EINVAL;
    const struct mir__tcp_pcb *pcb = pcb_const(sock);
    *value = 0;
    switch (request) {
    case FIONREAD:
        if (pcb != NULL)
            *value = (int)(sock->held_bytes + pcb->busy->recvq.q.bytes);
        return 0;
    case SIOCOUTQ:
        /* The FIN counts until it is acknowledged, as in write_seq - snd_una. */
        if (pcb != NULL && pcb->state != MIR_TCP_S_CLOSED && is_synchronized(pcb))
            *value = (int)(pcb->busy->sendq.q.bytes +
                           (pcb->fin_queued && seq_le(pcb->snd_una, sendq_end(pcb)) ? 1u : 0u));
        return 0;
    case SIOCOUTQNSD:
        if (pcb != NULL && seq_gt(sendq_end(pcb), pcb->snd_max))
            *value = (int)(sendq_end(pcb) - pcb->snd_max);
        return 0;
    default:
        return -ENOTTY;
    }
}
