/* SPDX-License-Identifier: ISC */
/* Listeners and half-open connections.
 *
 *   SYN -> half-open entry, SYN-ACK -> (SYN-ACK again after 1, 2, 4, 8, 16 s) -> ACK -> connection
 *                                                                            -> RST, or 63 s: gone
 *
 * A request is an entry of about a hundred bytes, not a connection object, until the peer has shown
 * that it can receive what we send. Each listener has a backlog of them, and the stack a limit;
 * above either, requests are answered with SYN cookies (cookie.c) and not remembered at all. So a
 * flood of SYNs costs a bounded amount of memory and does not shut out honest peers.
 *
 * Entries that wait for their n-th retransmission are in list n, in the order of time, because all
 * of a list wait equally long; one timer looks at the heads. Every SYN-ACK carries all the options
 * agreed. The application is told of a connection when the ACK has been processed, data that came
 * with it included, and may do with it whatever it likes inside on_accept.
 *
 * A SYN's data is kept with Fast Open only (fastopen.c); else the peer sends it again, as RFC 9293
 * section 3.10.7.2 allows.
 */
#include <mirari/log.h>

#include "lib/net/tcp/internal.h"

static uint32_t step_ms(uint8_t retries)
{
    return 1000u << retries;
}

static struct mir__tcp_half_open *half_of(struct mir_list *link)
{
    return MIR_CONTAINER_OF(link, struct mir__tcp_half_open, link);
}

/* ---- listeners --------------------------------------------------------------------------------
 */

static struct mir_list *bucket_of(struct mir__tcp_state *host, uint16_t port)
{
    return &host->listen[port % MIR__TCP_LISTEN_BUCKETS];
}

struct mir__tcp_listener *mir__tcp_listener_find(struct mir__tcp_state *host,
                                                 const struct mir_ip *local, uint16_t port)
{
    struct mir__tcp_listener *any = NULL;
    mir_list_for_each (link, bucket_of(host, port)) {
        struct mir__tcp_listener *listener = MIR_CONTAINER_OF(link, struct mir__tcp_listener, link);
        if (listener->pub.local.port != port)
            continue;
        if (mir_ip_equal(&listener->pub.local.ip, local))
            return listener;
        bool is_shut = mir_ip_is_v4(local) ? listener->v6_only : listener->v4_only;
        if (mir_ip_is_any(&listener->pub.local.ip) && !is_shut)
            any = listener;
    }
    return any;
}

bool mir__tcp_port_has_listener(struct mir__tcp_state *host, uint16_t port)
{
    mir_list_for_each (link, bucket_of(host, port))
        if (MIR_CONTAINER_OF(link, struct mir__tcp_listener, link)->pub.local.port == port)
            return true;
    return false;
}

/* Is exactly this address and port taken? Any and a specific address may both listen, and the
 * any-addresses of both families. */
static bool is_taken(struct mir__tcp_state *host, const struct mir_tcp_listen_config *config)
{
    const struct mir_endpoint *local = &config->local;
    mir_list_for_each (link, bucket_of(host, local->port)) {
        struct mir__tcp_listener *other = MIR_CONTAINER_OF(link, struct mir__tcp_listener, link);
        bool is_same = mir_ip_equal(&other->pub.local.ip, &local->ip);
        if (mir_ip_is_any(&other->pub.local.ip) && mir_ip_is_any(&local->ip))
            is_same = !(other->v6_only && config->v4_only) && !(other->v4_only && config->v6_only);
        if (other->pub.local.port == local->port && is_same)
            return true;
    }
    return false;
}

static int choose_listen_port(struct mir__tcp_state *host, struct mir_endpoint *local)
{
    uint32_t start = mir_rng_below(host->rng, 16384);
    for (uint32_t i = 0; i < 16384; i++) {
        local->port = (uint16_t)(49152 + (start + i) % 16384);
        if (mir__net_may_choose(host->net, local->port) &&
            !mir__tcp_port_has_listener(host, local->port))
            return 0;
    }
    return -MIR_EADDRNOTAVAIL;
}

int mir__tcp_listen(struct mir_stack *stack, const struct mir_tcp_listen_config *config,
                    struct mir_tcp_listener **listener_out)
{
    struct mir_net *net = mir__net_of_stack(stack);
    struct mir__tcp_state *host = mir__net_tcp(net);
    struct mir_endpoint local = config->local;
    MIR_ASSERT(config->on_accept != NULL);
    if (!mir_ip_is_any(&local.ip) && !mir__ip_is_bindable(net, &local.ip))
        return -MIR_EADDRNOTAVAIL;
    if (local.port == 0) {
        int r = choose_listen_port(host, &local);
        if (r < 0)
            return r;
    } else if (is_taken(host, config)) {
        return -MIR_EADDRINUSE;
    }
    struct mir__tcp_listener *listener = mir_pool_alloc(&host->listeners);
    if (listener == NULL)
        return -MIR_ENOMEM;
    *listener = (struct mir__tcp_listener){
        .pub = {.stack = stack, .local = local, .on_accept = config->on_accept, .arg = config->arg},
        .host = host,
        .backlog = config->backlog != 0 ? config->backlog : 256,
        .rcvbuf = config->rcvbuf_bytes != 0 ? MIR_MAX(config->rcvbuf_bytes, 2048u) : host->rcvbuf,
        .rcv_tuned = config->rcvbuf_bytes == 0 && host->rcv_tuned,
        .mss_max = config->mss_max,
        .fastopen_max = config->fastopen_max,
        .v6_only = config->v6_only,
        .v4_only = config->v4_only,
        .cookie_us = MIR_TIME_NEVER,
    };
    mir_list_push_back(bucket_of(host, local.port), &listener->link);
    *listener_out = &listener->pub;
    return 0;
}

/* ---- half-open entries ------------------------------------------------------------------------
 */

static void arm(struct mir__tcp_state *host)
{
    uint32_t now_ms = ms_of(now_of(host));
    uint32_t soonest_ms = UINT32_MAX;
    for (uint32_t i = 0; i <= MIR__TCP_R2_SYN_ACK; i++) {
        if (mir_list_is_empty(&host->half_open[i]))
            continue;
        uint32_t left_ms = half_of(host->half_open[i].next)->expires_ms - now_ms;
        soonest_ms = MIR_MIN(soonest_ms, (int32_t)left_ms < 0 ? 0 : left_ms);
    }
    if (soonest_ms == UINT32_MAX)
        mir_timer_cancel(&host->half_open_timer);
    else
        mir_timer_set(host->loop, &host->half_open_timer,
                      now_of(host) + soonest_ms * MIR_US_PER_MS);
}

static void wait_for_ack(struct mir__tcp_state *host, struct mir__tcp_half_open *half)
{
    struct mir_list *list = &host->half_open[half->retries];
    bool was_first = mir_list_is_empty(list);
    mir_list_remove(&half->link);
    mir_list_push_back(list, &half->link);
    half->expires_ms = ms_of(now_of(host)) + step_ms(half->retries);
    if (was_first)
        arm(host);
}

static void forget(struct mir__tcp_state *host, struct mir__tcp_half_open *half)
{
    half->listener->half_open--;
    mir__tcp_table_remove(host, &half->node);
    mir_list_remove(&half->link);
    mir_pool_free(&host->half_opens, half);
}

/* The SYN-ACK: @half is an entry, or made up for a cookie. */
static void send_syn_ack(struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple,
                         const struct mir__tcp_half_open *half, uint32_t tsval)
{
    struct mir__route route = {0};
    struct mir_ip src = *tuple->local;
    if (mir__ip_route(host->net, tuple->remote, &src, &route) < 0) {
        MIR__TCP_COUNT(host, output_failed);
        return;
    }
    const struct mir__tcp_listener *listener = half->listener;
    uint16_t mss = mir__tcp_offer_mss(&route);
    struct mir__tcp_options opt = {
        .has_mss = true,
        .mss = listener->mss_max != 0 ? MIR_MIN(mss, listener->mss_max) : mss,
        .has_wscale = half->wscale != MIR__TCP_NO_WSCALE,
        .wscale =
            mir__tcp_wscale_for(mir__tcp_rcv_most(host, listener->rcvbuf, listener->rcv_tuned)),
        .sack_permitted = half->has_sack,
        .has_ts = half->node.has_ts,
        .tsval = tsval,
        .tsecr = half->ts_recent,
    };
    uint8_t cookie[MIR__TCP_FAST_COOKIE];
    if (half->wants_cookie) {
        mir__tcp_fast_cookie(host, tuple, cookie);
        opt.has_cookie = true;
        opt.cookie_len = sizeof cookie;
        opt.cookie = cookie;
    }
    struct mir__tcp_control ctl = {
        .tuple = tuple,
        .seq = half->iss,
        .ack = half->irs + 1,
        .wnd = (uint16_t)MIR_MIN(listener->rcvbuf, 65535u),
        .flags = (uint8_t)(MIR__TCP_SYN | MIR__TCP_ACK | (half->has_ecn ? MIR__TCP_ECE : 0)),
        .opt = &opt,
    };
    mir__tcp_send_control(host, &ctl);
}

static uint32_t clock_for(const struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple)
{
    return ms_of(now_of(host)) + mir__tcp_ts_offset(host, tuple);
}

static void fire(void *arg)
{
    struct mir__tcp_state *host = arg;
    uint32_t now_ms = ms_of(now_of(host));
    for (uint32_t i = MIR__TCP_R2_SYN_ACK + 1; i-- > 0;) {
        struct mir_list *list = &host->half_open[i];
        while (!mir_list_is_empty(list) && seq_le(half_of(list->next)->expires_ms, now_ms)) {
            struct mir__tcp_half_open *half = half_of(list->next);
            if (half->retries == MIR__TCP_R2_SYN_ACK) {
                MIR__TCP_COUNT(host, half_open_timed_out);
                forget(host, half);
                continue;
            }
            struct mir__tcp_tuple tuple = tuple_of(&half->node);
            half->retries++;
            MIR__TCP_COUNT(host, syn_ack_retransmits);
            send_syn_ack(host, &tuple, half, clock_for(host, &tuple));
            wait_for_ack(host, half);
        }
    }
    arm(host);
}

void mir__tcp_listen_init(struct mir__tcp_state *host)
{
    for (uint32_t i = 0; i < MIR__TCP_LISTEN_BUCKETS; i++)
        mir_list_init(&host->listen[i]);
    for (uint32_t i = 0; i <= MIR__TCP_R2_SYN_ACK; i++)
        mir_list_init(&host->half_open[i]);
    mir_timer_init(&host->half_open_timer, fire, host);
}

void mir__tcp_unlisten(struct mir_tcp_listener *pub)
{
    struct mir__tcp_listener *listener = (struct mir__tcp_listener *)(void *)pub;
    struct mir__tcp_state *host = listener->host;
    for (uint32_t i = 0; i <= MIR__TCP_R2_SYN_ACK && listener->half_open > 0; i++)
        mir_list_for_each (link, &host->half_open[i])
            if (half_of(link)->listener == listener)
                forget(host, half_of(link));
    MIR_ASSERT_OP(listener->half_open, ==, 0);
    mir__tcp_fast_unlisten(listener);
    MIR_ASSERT_OP(listener->fast_pending, ==, 0);
    mir_list_remove(&listener->link);
    mir_pool_free(&host->listeners, listener);
}

void mir__tcp_listen_fini(struct mir__tcp_state *host)
{
    for (uint32_t i = 0; i < MIR__TCP_LISTEN_BUCKETS; i++)
        while (!mir_list_is_empty(&host->listen[i]))
            mir__tcp_unlisten(
                &MIR_CONTAINER_OF(host->listen[i].next, struct mir__tcp_listener, link)->pub);
    mir_timer_cancel(&host->half_open_timer);
}

/* ---- SYN ----------------------------------------------------------------------------------------
 */

static void answer_with_cookie(struct mir__tcp_listener *listener,
                               const struct mir__tcp_tuple *tuple,
                               const struct mir__tcp_segment *syn)
{
    struct mir__tcp_state *host = listener->host;
    uint32_t tsval = 0;
    bool has_ts = syn->opt.has_ts && !host->no_timestamps;
    struct mir__tcp_half_open half = {
        .listener = listener,
        .irs = syn->hdr.seq,
        .ts_recent = has_ts ? syn->opt.tsval : 0,
        .wscale = has_ts && syn->opt.has_wscale ? syn->opt.wscale : MIR__TCP_NO_WSCALE,
        .has_sack = has_ts && syn->opt.sack_permitted && !host->no_sack,
    };
    half.node.has_ts = has_ts;
    mir__tcp_cookie_make(host, tuple, syn, &half.iss, &tsval);
    if (listener->cookie_us == MIR_TIME_NEVER ||
        now_of(host) - listener->cookie_us > 60 * MIR_US_PER_S)
        MIR_LOG(TCP, WARN, "backlog of port %u is full: SYN cookies", listener->pub.local.port);
    listener->cookie_us = now_of(host);
    MIR__TCP_COUNT(host, cookies_sent);
    send_syn_ack(host, tuple, &half, tsval);
}

/* ---- ACK: a connection comes to be --------------------------------------------------------------
 */

static struct mir__tcp_pcb *make_connection(struct mir__tcp_listener *listener,
                                            const struct mir__tcp_tuple *tuple,
                                            const struct mir__tcp_half_open *half)
{
    struct mir__tcp_state *host = listener->host;
    struct mir__tcp_pcb *pcb = mir__tcp_pcb_new(host, tuple);
    if (pcb == NULL)
        return NULL;
    struct mir__tcp_options opt = {
        .has_mss = true,
        .mss = half->mss,
        .has_wscale = half->wscale != MIR__TCP_NO_WSCALE,
        .wscale = half->wscale,
        .sack_permitted = half->has_sack,
        .has_ts = half->node.has_ts,
        .tsval = half->ts_recent,
    };
    pcb->state = MIR_TCP_S_SYN_RECEIVED;
    pcb->is_passive = true;
    pcb->has_ecn = half->has_ecn;
    pcb->rcv_limit = listener->rcvbuf;
    pcb->rcv_tuned = listener->rcv_tuned;
    pcb->node.rcv_wscale =
        mir__tcp_wscale_for(mir__tcp_rcv_most(host, listener->rcvbuf, listener->rcv_tuned));
    pcb->mss_limit = listener->mss_max;
    if (listener->mss_max != 0)
        pcb->adv_mss = MIR_MIN(pcb->adv_mss, listener->mss_max);
    pcb->syn_rexmitted = half->retries > 0;
    pcb->iss = half->iss;
    pcb->snd_una = half->iss;
    pcb->snd_nxt = pcb->snd_max = half->iss + 1;
    pcb->recover = half->iss;
    pcb->snd_first = half->iss + 1;
    pcb->irs = half->irs;
    pcb->rcv_nxt = half->irs + 1;
    pcb->last_ack_sent = pcb->rcv_nxt;
    pcb->rcv_adv = pcb->rcv_nxt + MIR_MIN(pcb->rcv_limit, 65535u);
    pcb->snd_wnd = half->wnd;
    pcb->max_snd_wnd = half->wnd;
    mir__tcp_agree(pcb, &opt);
    if (half->retries == 0 && half->expires_ms != 0) {
        /* The SYN-ACK's round trip, to the millisecond, is the first sample. */
        uint32_t rtt_ms = ms_of(now_of(host)) - (half->expires_ms - step_ms(0));
        pcb->is_timing = true;
        pcb->busy->rtt_seq = half->iss + 1;
        pcb->busy->rtt_start_us = now_of(host) - rtt_ms * MIR_US_PER_MS;
    }
    return pcb;
}

static void give_to_application(struct mir__tcp_listener *listener, struct mir__tcp_pcb *pcb)
{
    MIR__TCP_COUNT(pcb->host, passive_opens);
    if (pcb->has_ecn)
        MIR__TCP_COUNT(pcb->host, ecn_agreed);
    pcb->is_accepted = true;
    listener->pub.on_accept(&listener->pub, &pcb->tcp, listener->pub.arg);
}

/* Process the ACK as SYN_RECEIVED does; if a connection came of it, give it to the application. */
static void open_connection(struct mir__tcp_listener *listener, struct mir__tcp_pcb *pcb,
                            struct mir__tcp_segment *seg)
{
    mir__tcp_hold(pcb);
    mir__tcp_input_pcb(pcb, seg);
    if (is_synchronized(pcb)) {
        give_to_application(listener, pcb);
    } else if (!pcb->is_dead) {
        mir__tcp_finish(pcb, -MIR_ECONNABORTED);
    }
    mir__tcp_drop(pcb);
}

/* What a SYN says, as an entry remembers it. */
static struct mir__tcp_half_open read_syn(struct mir__tcp_listener *listener,
                                          const struct mir__tcp_tuple *tuple,
                                          const struct mir__tcp_segment *syn, uint32_t isn_floor)
{
    struct mir__tcp_state *host = listener->host;
    struct mir__tcp_half_open half = {
        .listener = listener,
        .iss = mir__tcp_isn(host, tuple),
        .irs = syn->hdr.seq,
        .ts_recent = syn->opt.has_ts ? syn->opt.tsval : 0,
        .wnd = syn->hdr.wnd,
        .mss = mir__tcp_peer_mss(&syn->opt),
        .wscale = syn->opt.has_wscale ? MIR_MIN(syn->opt.wscale, (uint8_t)MIR__TCP_WSCALE_MAX)
                                      : (uint8_t)MIR__TCP_NO_WSCALE,
        .has_sack = syn->opt.sack_permitted && !host->no_sack,
        .has_ecn = mir__tcp_ecn_is_asked(host, syn),
        .wants_cookie = listener->fastopen_max > 0 && syn->opt.has_cookie,
    };
    if (isn_floor != 0 && seq_le(half.iss, isn_floor))
        half.iss = isn_floor + 65536 + mir_rng_below(host->rng, 65536);
    half.node.has_ts = syn->opt.has_ts && !host->no_timestamps;
    return half;
}

/* A SYN with a good cookie: the application gets the connection, and its data, at once. False: not
 * now; the ordinary way. */
static bool open_fast(struct mir__tcp_listener *listener, const struct mir__tcp_tuple *tuple,
                      const struct mir__tcp_half_open *half, struct mir__tcp_segment *syn)
{
    struct mir__tcp_state *host = listener->host;
    if (!half->wants_cookie || !mir__tcp_fast_check(host, tuple, &syn->opt))
        return false;
    if (mir__tcp_fast_pending(listener) >= listener->fastopen_max) {
        MIR__TCP_COUNT(host, fastopen_limit);
        return false;
    }
    struct mir__tcp_pcb *pcb = make_connection(listener, tuple, half);
    if (pcb == NULL)
        return false;
    mir__tcp_hold(pcb);
    mir__tcp_fast_begin(pcb, listener, syn);
    give_to_application(listener, pcb);
    mir__tcp_drop(pcb);
    return true;
}

static void syn_arrived(struct mir__tcp_listener *listener, const struct mir__tcp_tuple *tuple,
                        struct mir__tcp_segment *syn, uint32_t isn_floor)
{
    struct mir__tcp_state *host = listener->host;
    struct mir__tcp_half_open *half = NULL;
    struct mir__tcp_half_open request = read_syn(listener, tuple, syn, isn_floor);
    MIR__TCP_COUNT(host, syn_in);
    if (listener->pub.is_full) {
        MIR__TCP_COUNT(host, drop_listener_full);
        return;
    }
    if (open_fast(listener, tuple, &request, syn))
        return;
    if (listener->half_open < listener->backlog)
        half = mir_pool_alloc(&host->half_opens);
    if (half == NULL) {
        MIR__TCP_COUNT(host, drop_half_open_limit);
        answer_with_cookie(listener, tuple, syn);
        return;
    }
    *half = request;
    mir__tcp_table_insert(host, &half->node, tuple, MIR__TCP_HALF_OPEN);
    half->node.has_ts = syn->opt.has_ts && !host->no_timestamps;
    mir_list_init(&half->link);
    listener->half_open++;
    send_syn_ack(host, tuple, half, clock_for(host, tuple));
    wait_for_ack(host, half);
}

static bool accept_cookie(struct mir__tcp_listener *listener, const struct mir__tcp_tuple *tuple,
                          struct mir__tcp_segment *seg)
{
    struct mir__tcp_state *host = listener->host;
    struct mir__tcp_half_open half;
    if (listener->cookie_us == MIR_TIME_NEVER ||
        seg->now_us - listener->cookie_us > 128 * MIR_US_PER_S)
        return false;
    if (!mir__tcp_cookie_check(host, tuple, seg, &half)) {
        MIR__TCP_COUNT(host, cookies_invalid);
        return false;
    }
    struct mir__tcp_pcb *pcb = make_connection(listener, tuple, &half);
    if (pcb != NULL) {
        MIR__TCP_COUNT(host, cookies_accepted);
        open_connection(listener, pcb, seg);
    }
    return true;
}

void mir__tcp_input_listen(struct mir__tcp_listener *listener, struct mir__tcp_segment *seg,
                           uint32_t isn_floor)
{
    struct mir__tcp_state *host = listener->host;
    struct mir__tcp_tuple tuple = {&seg->meta->dst, &seg->meta->src, seg->hdr.dst_port,
                                   seg->hdr.src_port};
    uint8_t flags = seg->hdr.flags;
    if (flags & MIR__TCP_RST) {
        MIR__TCP_COUNT(host, drop_rst_invalid);
    } else if (flags & MIR__TCP_ACK) {
        if ((flags & MIR__TCP_SYN) || !accept_cookie(listener, &tuple, seg)) {
            MIR__TCP_COUNT(host, drop_listen);
            mir__tcp_reply_reset(host, seg);
        }
    } else if ((flags & (MIR__TCP_SYN | MIR__TCP_FIN)) == MIR__TCP_SYN) {
        syn_arrived(listener, &tuple, seg, isn_floor);
    } else {
        MIR__TCP_COUNT(host, drop_listen);
    }
}

/* ---- a segment for a half-open entry (section 3.10.7.4, SYN-RECEIVED) ---------------------------
 */

/* What the SYN-ACK promised. */
static uint32_t window_of(const struct mir__tcp_half_open *half)
{
    return MIR_MIN(half->listener->rcvbuf, 65535u);
}

/* The scale of our windows behind it. */
static uint8_t scale_of(const struct mir__tcp_state *host, const struct mir__tcp_half_open *half)
{
    const struct mir__tcp_listener *listener = half->listener;
    uint32_t most = mir__tcp_rcv_most(host, listener->rcvbuf, listener->rcv_tuned);
    return half->wscale != MIR__TCP_NO_WSCALE ? mir__tcp_wscale_for(most) : 0;
}

static void challenge_half_open(struct mir__tcp_state *host, const struct mir__tcp_half_open *half)
{
    struct mir__tcp_tuple tuple = tuple_of(&half->node);
    struct mir__tcp_options opt = {
        .has_ts = half->node.has_ts,
        .tsval = clock_for(host, &tuple),
        .tsecr = half->ts_recent,
    };
    struct mir__tcp_control ctl = {
        .tuple = &tuple,
        .seq = half->iss + 1,
        .ack = half->irs + 1,
        .wnd = (uint16_t)(window_of(half) >> scale_of(host, half)),
        .flags = MIR__TCP_ACK,
        .opt = &opt,
    };
    if (mir__tcp_may_challenge(host))
        mir__tcp_send_control(host, &ctl);
}

static void promote(struct mir__tcp_state *host, struct mir__tcp_half_open *half,
                    struct mir__tcp_segment *seg)
{
    struct mir__tcp_listener *listener = half->listener;
    struct mir__tcp_half_open kept = *half;
    struct mir__tcp_tuple tuple = tuple_of(&kept.node);
    /* The table holds one node per tuple: the entry goes before the connection comes. */
    mir__tcp_table_remove(host, &half->node);
    struct mir__tcp_pcb *pcb = make_connection(listener, &tuple, &kept);
    if (pcb == NULL) {
        /* No room now; the peer's next segment may find some. */
        bool has_ts = half->node.has_ts;
        mir__tcp_table_insert(host, &half->node, &tuple, MIR__TCP_HALF_OPEN);
        half->node.has_ts = has_ts;
        return;
    }
    forget(host, half);
    open_connection(listener, pcb, seg);
}

void mir__tcp_input_half_open(struct mir__tcp_state *host, struct mir__tcp_half_open *half,
                              struct mir__tcp_segment *seg)
{
    const struct mir__tcp_header *hdr = &seg->hdr;
    struct mir__tcp_tuple tuple = tuple_of(&half->node);
    uint32_t wnd = window_of(half);
    if ((hdr->flags & (MIR__TCP_SYN | MIR__TCP_ACK | MIR__TCP_RST)) == MIR__TCP_SYN &&
        hdr->seq == half->irs) {
        /* The same SYN again: our answer was lost. */
        MIR__TCP_COUNT(host, syn_duplicate);
        /* The newest is echoed, or the peer takes its wait for a round trip (RFC 7323 4.3). */
        if (half->node.has_ts && seg->opt.has_ts && seq_gt(seg->opt.tsval, half->ts_recent))
            half->ts_recent = seg->opt.tsval;
        send_syn_ack(host, &tuple, half, clock_for(host, &tuple));
        return;
    }
    if (half->node.has_ts && seg->opt.has_ts && !(hdr->flags & MIR__TCP_RST) &&
        seq_lt(seg->opt.tsval, half->ts_recent)) {
        /* Answered (RFC 7323 5.3 R1): a peer that began anew learns that it must reset the old. */
        MIR__TCP_COUNT(host, drop_paws);
        challenge_half_open(host, half);
        return;
    }
    if (hdr->seq - (half->irs + 1) >= wnd) {
        MIR__TCP_COUNT(host, drop_out_of_window);
        if (!(hdr->flags & MIR__TCP_RST))
            challenge_half_open(host, half);
    } else if (hdr->flags & MIR__TCP_RST) {
        if (hdr->seq == half->irs + 1) {
            MIR__TCP_COUNT(host, resets_in);
            forget(host, half);
        } else {
            MIR__TCP_COUNT(host, drop_rst_invalid);
            challenge_half_open(host, half);
        }
    } else if (hdr->flags & MIR__TCP_SYN) {
        challenge_half_open(host, half);
    } else if (!(hdr->flags & MIR__TCP_ACK)) {
        MIR__TCP_COUNT(host, drop_no_ack_flag);
    } else if (hdr->ack != half->iss + 1) {
        MIR__TCP_COUNT(host, drop_bad_ack);
        mir__tcp_reply_reset(host, seg);
    } else {
        promote(host, half, seg);
    }
}
