/* SPDX-License-Identifier: ISC */
/* TCP: the life of connection objects, the operations of mir_tcp, the flush, statistics.
 *
 * Theory of operation. A connection object exists from connect, or from the ACK that completes a
 * passive open, until two things have happened: the protocol is done with it (state CLOSED; what
 * TIME_WAIT needs lives on in a smaller entry) and the application has given it back (close,
 * abort). Either may come first.
 *
 *   application      connect | on_accept ............................ close
 *   protocol         SYN ........ ESTABLISHED ........ finish()
 *   object           =====================================================> freed at the later one
 *
 * finish() may be called from anywhere, also while frames above us on the stack still use the
 * object: they hold it (in_use), and the last drop frees it.
 *
 * Input, timers and the application's calls only mark a connection. The flush delivers its events
 * and then lets it send, so what a handler writes leaves in the same breath as the ACK of what it
 * read. A handler may call anything, closing this or any other connection included; the lists are
 * walked so that any member may vanish meanwhile.
 *
 * A connection over IPv6 may be asked for while our address is still tested for duplicates, in the
 * first second: its SYN leaves when the address is free, and if it is not the connection fails.
 *
 * Memory. An idle connection is this object, less than half a KiB, and one pointer of the table;
 * it holds no page, and what only a busy one needs is apart (busy.c). All queued bytes of all
 * connections count towards memory_max: above it, windows stop opening, early segments are dropped
 * and writers wait, except that an empty queue may always take a page, so that everybody makes
 * progress.
 */
#include <mirari/log.h>

#include "lib/net/tcp/loss.h"

#define FLUSH_PASSES 4u

/* ---- objects ----------------------------------------------------------------------------------
 */

struct mir__tcp_pcb *mir__tcp_pcb_new(struct mir__tcp_state *host,
                                      const struct mir__tcp_tuple *tuple)
{
    struct mir__route route = {0};
    struct mir_ip local = *tuple->local;
    if (mir__ip_route(host->net, tuple->remote, &local, &route) < 0 &&
        mir__ip_route_soon(host->net, tuple->remote, &local, &route) < 0) {
        MIR__TCP_COUNT(host, output_failed);
        return NULL;
    }
    struct mir__tcp_pcb *pcb = mir_pool_alloc(&host->pcbs);
    if (pcb == NULL) {
        MIR__TCP_COUNT(host, drop_connection_limit);
        return NULL;
    }
    *pcb = (struct mir__tcp_pcb){
        .tcp = {.ops = &mir__tcp_ops, .stack = host->stack},
        .host = host,
        .busy = &host->rest,
        .cc = host->cc,
        .rto_us = MIR__TCP_RTO_INITIAL_US,
        .quick_acks = MIR__TCP_QUICK_ACKS,
        .keep_count = MIR__TCP_KEEP_COUNT,
        .linger_ms = MIR_TCP_LINGER_OFF,
        .keep_intvl_s = MIR__TCP_KEEP_INTVL_S,
        .snd_limit = host->sndbuf,
        .rcv_limit = host->rcvbuf,
        .snd_tuned = host->snd_tuned,
        .rcv_tuned = host->rcv_tuned,
        .peer_mss = MIR__TCP_MSS_DEFAULT,
        .adv_mss = mir__tcp_offer_mss(&route),
        .rcv_mss = MIR__TCP_MSS_DEFAULT,
        .received_us = now_of(host),
        .ts_offset = mir__tcp_ts_offset(host, tuple),
    };
    pcb->node.rcv_wscale =
        mir__tcp_wscale_for(mir__tcp_rcv_most(host, host->rcvbuf, host->rcv_tuned));
    mir__tcp_timer_init(pcb);
    if (!mir__tcp_wake(pcb)) {
        mir_pool_free(&host->pcbs, pcb);
        return NULL;
    }
    pcb->busy->route = route;
    mir_list_init(&pcb->pending);
    mir_list_push_back(&host->all, &pcb->all);
    mir__tcp_table_insert(host, &pcb->node, tuple, MIR__TCP_PCB);
    return pcb;
}

static void free_pcb(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_state *host = pcb->host;
    MIR_ASSERT_OP(pcb->state, ==, MIR_TCP_S_CLOSED);
    if (pcb->in_use > 0) {
        pcb->is_dead = true;
        return;
    }
    mir__tcp_recvq_release(pcb);
    mir__tcp_busy_release(pcb);
    mir_list_remove(&pcb->pending);
    mir_list_remove(&pcb->all);
    mir_pool_free(&host->pcbs, pcb);
}

void mir__tcp_drop(struct mir__tcp_pcb *pcb)
{
    MIR_ASSERT_OP(pcb->in_use, >, 0);
    if (--pcb->in_use == 0 && pcb->is_dead)
        free_pcb(pcb);
}

static void log_end(const struct mir__tcp_pcb *pcb, int err)
{
    struct mir_endpoint local = {pcb->node.local, pcb->node.local_port};
    struct mir_endpoint remote = {pcb->node.remote, pcb->node.remote_port};
    char local_text[MIR_ENDPOINT_TEXT_MAX];
    char remote_text[MIR_ENDPOINT_TEXT_MAX];
    MIR_LOG(TCP, DEBUG, "%s from %s failed in state %u: %s", mir_endpoint_text(&local, local_text),
            mir_endpoint_text(&remote, remote_text), (unsigned)pcb->state, mir_strerror(err));
}

void mir__tcp_finish(struct mir__tcp_pcb *pcb, int err)
{
    struct mir__tcp_state *host = pcb->host;
    if (pcb->state == MIR_TCP_S_CLOSED)
        return;
    bool is_time_wait = pcb->state == MIR_TCP_S_TIME_WAIT;
    if (err != 0)
        log_end(pcb, err);
    mir__tcp_fast_over(pcb);
    mir__tcp_table_remove(host, &pcb->node);
    if (is_time_wait)
        mir__tcp_time_wait_enter(pcb);
    MIR__TCP_COUNT(host, closed);
    mir__tcp_timer_stop_all(pcb);
    mir__tcp_board_close(pcb);
    mir__tcp_sendq_release(pcb);
    mir__tcp_reass_release(pcb);
    mir_list_remove(&pcb->pending);
    pcb->is_blocked = false;
    pcb->wants_write = false;
    pcb->ack_now = false;
    pcb->state = MIR_TCP_S_CLOSED;
    pcb->tcp.error = err;
    if (pcb->is_detached || !pcb->is_accepted) {
        pcb->is_detached = true;
        free_pcb(pcb);
        return;
    }
    mir__tcp_raise(pcb, err != 0 ? MIR_TCP_FAILED : MIR_TCP_CLOSED);
}

void mir__tcp_reset(struct mir__tcp_pcb *pcb, int err)
{
    if (pcb->state >= MIR_TCP_S_SYN_RECEIVED && pcb->state != MIR_TCP_S_TIME_WAIT)
        mir__tcp_send_reset(pcb);
    mir__tcp_finish(pcb, err);
}

void mir__tcp_establish(struct mir__tcp_pcb *pcb)
{
    pcb->state = pcb->fin_queued ? MIR_TCP_S_FIN_WAIT_1 : MIR_TCP_S_ESTABLISHED;
    pcb->syn_due = false;
    if (!pcb->is_fast_open) {
        pcb->small_end = pcb->iss;
        pcb->cc->init(pcb);
    }
    if (pcb->syn_rexmitted && pcb->srtt_us == 0)
        pcb->rto_us = MIR__TCP_RTO_AFTER_SYN_US;
    else
        pcb->rto_us = MIR__TCP_RTO_INITIAL_US;
    if (!pcb->is_detached) /* the deadline may be that of a close which lingers */
        mir__tcp_timer_keepalive(pcb);
    if (!pcb->is_passive)
        mir__tcp_raise(pcb, MIR_TCP_CONNECTED);
}

/* ---- marks and flush --------------------------------------------------------------------------
 */

void mir__tcp_mark(struct mir__tcp_pcb *pcb)
{
    struct mir__tcp_state *host = pcb->host;
    if (pcb->is_blocked) {
        mir_list_remove(&pcb->pending);
        pcb->is_blocked = false;
    }
    if (mir_list_is_linked(&pcb->pending))
        return;
    if (mir_list_is_empty(&host->pending))
        mir_loop_post(host->loop, &host->flush_work);
    mir_list_push_back(&host->pending, &pcb->pending);
}

void mir__tcp_raise(struct mir__tcp_pcb *pcb, unsigned events)
{
    if (pcb->is_detached)
        return;
    pcb->events |= (uint8_t)events;
    mir__tcp_mark(pcb);
}

/* Events stay until there is a handler to tell. */
static void deliver(struct mir__tcp_pcb *pcb)
{
    mir_tcp_handler_fn handler = pcb->tcp.handler;
    unsigned events = pcb->events;
    if (events == 0 || handler == NULL || pcb->is_detached)
        return;
    pcb->events = 0;
    handler(&pcb->tcp, events, pcb->tcp.handler_arg);
}

void mir__tcp_flush(struct mir__tcp_state *host)
{
    if (host->is_flushing)
        return;
    host->is_flushing = true;
    for (uint32_t pass = 0; pass < FLUSH_PASSES && !mir_list_is_empty(&host->pending); pass++) {
        struct mir_list round =
            host->pending; /* what is marked meanwhile waits for the next pass */
        struct mir_list *link;
        round.next->prev = &round;
        round.prev->next = &round;
        mir_list_init(&host->pending);
        while ((link = mir_list_pop_front(&round)) != NULL) {
            struct mir__tcp_pcb *pcb = MIR_CONTAINER_OF(link, struct mir__tcp_pcb, pending);
            mir__tcp_hold(pcb);
            deliver(pcb);
            if (pcb->state != MIR_TCP_S_CLOSED)
                mir__tcp_output(pcb);
            mir__tcp_drop(pcb);
        }
    }
    host->is_flushing = false;
    if (!mir_list_is_empty(&host->pending))
        mir_loop_post(host->loop, &host->flush_work);
}

void mir__tcp_addresses_changed(struct mir_net *net)
{
    struct mir__tcp_state *host = mir__net_tcp(net);
    if (host == NULL || !host->has_waiting)
        return;
    host->has_waiting = false;
    mir_list_for_each (node, &host->all) {
        struct mir__tcp_pcb *pcb = MIR_CONTAINER_OF(node, struct mir__tcp_pcb, all);
        if (!pcb->waits_for_address || pcb->state != MIR_TCP_S_SYN_SENT)
            continue;
        host->has_waiting = true;
        mir__tcp_mark(pcb);
    }
}

static void flush_posted(void *arg)
{
    mir__tcp_flush(arg);
}

/* ---- operations ---------------------------------------------------------------------------------
 */

/* Fill the local side of @tuple, whose address and port may be given. */
static int choose_local(struct mir__tcp_state *host, struct mir__tcp_tuple *tuple,
                        struct mir_ip *local)
{
    struct mir__route route = {0};
    if (!mir_ip_is_any(local) && !mir__ip_is_bindable(host->net, local))
        return -MIR_EADDRNOTAVAIL;
    int r = mir__ip_route(host->net, tuple->remote, local, &route);
    if (r < 0)
        r = mir__ip_route_soon(host->net, tuple->remote, local, &route);
    if (r < 0)
        return r;
    if (tuple->local_port == 0)
        return mir__tcp_choose_port(host, tuple);
    /* One end cannot be both. */
    bool is_both = tuple->local_port == tuple->remote_port && mir_ip_equal(local, tuple->remote);
    return is_both || mir__tcp_table_find(&host->table, tuple) != NULL ? -MIR_EADDRINUSE : 0;
}

int mir__tcp_connect_from(struct mir_stack *stack, const struct mir_endpoint *from,
                          const struct mir_endpoint *remote, struct mir_tcp **tcp)
{
    struct mir__tcp_state *host = mir__net_tcp(mir__net_of_stack(stack));
    struct mir_ip local = from->ip;
    struct mir__tcp_tuple tuple = {&local, &remote->ip, from->port, remote->port};
    if (remote->port == 0 || mir_ip_is_any(&remote->ip))
        return -MIR_EADDRNOTAVAIL;
    int r = choose_local(host, &tuple, &local);
    if (r < 0)
        return r;
    struct mir__tcp_pcb *pcb = mir__tcp_pcb_new(host, &tuple);
    if (pcb == NULL)
        return -MIR_ENOMEM;
    pcb->state = MIR_TCP_S_SYN_SENT;
    pcb->is_accepted = true;
    pcb->iss = mir__tcp_isn(host, &tuple);
    pcb->snd_una = pcb->snd_nxt = pcb->snd_max = pcb->iss;
    pcb->recover = pcb->iss;
    pcb->snd_first = pcb->iss + 1;
    pcb->syn_due = true;
    pcb->waits_for_address = pcb->busy->route.generation == 0;
    host->has_waiting |= pcb->waits_for_address;
    MIR__TCP_COUNT(host, active_opens);
    mir__tcp_mark(pcb);
    *tcp = &pcb->tcp;
    return 0;
}

int mir__tcp_connect(struct mir_stack *stack, const struct mir_endpoint *remote,
                     mir_tcp_handler_fn handler, void *arg, struct mir_tcp **tcp)
{
    static const struct mir_endpoint anywhere;
    int r = mir__tcp_connect_from(stack, &anywhere, remote, tcp);
    if (r == 0)
        mir_tcp_set_handler(*tcp, handler, arg);
    return r;
}

uint32_t mir__tcp_send_room_now(const struct mir__tcp_pcb *pcb)
{
    uint32_t queued = pcb->busy->sendq.q.bytes;
    if (pcb->state == MIR_TCP_S_CLOSED || pcb->fin_queued)
        return 0;
    uint32_t limit = mir__tcp_snd_limit(pcb);
    if (queued >= limit)
        return 0;
    if (pcb->host->memory_used >= pcb->host->memory_max)
        return queued == 0 ? MIR_MIN(limit, MIR_PAGE_SIZE) : 0;
    return limit - queued;
}

/* 0, or why nothing can be queued. */
static int may_send(const struct mir__tcp_pcb *pcb)
{
    if (pcb->tcp.error != 0)
        return pcb->tcp.error;
    if (pcb->fin_queued)
        return -MIR_ECLOSED;
    return pcb->state == MIR_TCP_S_CLOSED ? -MIR_ENOTCONN : 0;
}

static int refuse(struct mir__tcp_pcb *pcb)
{
    pcb->wants_write = true;
    MIR__TCP_COUNT(pcb->host, send_memory_limit);
    if (pcb->busy->sendq.q.bytes == 0)
        mir__tcp_timer_set(pcb, MIR__TCP_T_MEMORY, now_of(pcb->host) + MIR__TCP_MEMORY_RETRY_US);
    return -MIR_EAGAIN;
}

static int tcp_send(struct mir_tcp *tcp, const void *data, size_t len, size_t *queued_len)
{
    struct mir__tcp_pcb *pcb = pcb_of(tcp);
    uint32_t queued;
    int r = may_send(pcb);
    if (r < 0)
        return r;
    uint32_t room = mir__tcp_send_room_now(pcb);
    if (room == 0) {
        pcb->wants_write = true;
        return -MIR_EAGAIN;
    }
    if (len == 0) {
        *queued_len = 0;
        return 0;
    }
    uint32_t n = (uint32_t)MIR_MIN(len, (size_t)room);
    if (!mir__tcp_wake(pcb) || mir__tcp_sendq_copy(pcb, data, n, &queued) < 0)
        return refuse(pcb);
    if (queued < len)
        pcb->wants_write = true;
    *queued_len = queued;
    mir__tcp_mark(pcb);
    return 0;
}

static int tcp_send_view(struct mir_tcp *tcp, struct mir_view view_given)
{
    struct mir__tcp_pcb *pcb = pcb_of(tcp);
    int r = may_send(pcb);
    if (r == 0 && view_given.len > 0 && mir__tcp_send_room_now(pcb) == 0) {
        pcb->wants_write = true;
        r = -MIR_EAGAIN;
    }
    if (r < 0 || view_given.len == 0) {
        mir_view_release(&view_given);
        return r;
    }
    if (!mir__tcp_wake(pcb)) {
        mir_view_release(&view_given);
        return refuse(pcb);
    }
    if (mir__tcp_sendq_view(pcb, view_given) < 0)
        return refuse(pcb);
    mir__tcp_mark(pcb);
    return 0;
}

static int tcp_recv_view(struct mir_tcp *tcp, struct mir_view *view)
{
    struct mir__tcp_pcb *pcb = pcb_of(tcp);
    if (mir__tcp_recvq_pop(pcb, view)) {
        if (pcb->rcv_tuned)
            mir__tcp_tune_taken(pcb, view->len, now_of(pcb->host));
        if (pcb->state != MIR_TCP_S_CLOSED && mir__tcp_window_update_due(pcb)) {
            MIR__TCP_COUNT(pcb->host, window_updates_out);
            pcb->ack_now = true;
            mir__tcp_mark(pcb);
        }
        return 0;
    }
    if (pcb->fin_received)
        return -MIR_EEOF;
    if (pcb->tcp.error != 0)
        return pcb->tcp.error;
    return pcb->state == MIR_TCP_S_CLOSED ? -MIR_EEOF : -MIR_EAGAIN;
}

static int tcp_shutdown(struct mir_tcp *tcp)
{
    struct mir__tcp_pcb *pcb = pcb_of(tcp);
    if (pcb->state == MIR_TCP_S_CLOSED)
        return -MIR_ENOTCONN;
    if (pcb->fin_queued)
        return 0;
    pcb->fin_queued = true;
    pcb->cork = false;
    if (pcb->state == MIR_TCP_S_ESTABLISHED)
        pcb->state = MIR_TCP_S_FIN_WAIT_1;
    else if (pcb->state == MIR_TCP_S_CLOSE_WAIT)
        pcb->state = MIR_TCP_S_LAST_ACK;
    mir__tcp_mark(pcb);
    return 0;
}

static void tcp_close(struct mir_tcp *tcp)
{
    struct mir__tcp_pcb *pcb = pcb_of(tcp);
    pcb->is_detached = true;
    pcb->events = 0;
    pcb->tcp.handler = NULL;
    if (pcb->state == MIR_TCP_S_CLOSED) {
        free_pcb(pcb);
    } else if (pcb->state == MIR_TCP_S_SYN_SENT) {
        mir__tcp_finish(pcb, 0);
    } else if (pcb->busy->recvq.q.bytes > 0 || pcb->busy->reass.bytes > 0 || pcb->linger_ms == 0) {
        mir__tcp_reset(pcb, -MIR_ECONNABORTED);
    } else {
        if (pcb->state == MIR_TCP_S_FIN_WAIT_2)
            mir__tcp_timer_set(pcb, MIR__TCP_T_KEEP, now_of(pcb->host) + MIR__TCP_FIN_WAIT_2_US);
        else if (pcb->linger_ms != MIR_TCP_LINGER_OFF)
            mir__tcp_timer_set(pcb, MIR__TCP_T_KEEP,
                               now_of(pcb->host) + pcb->linger_ms * MIR_US_PER_MS);
        (void)tcp_shutdown(tcp);
    }
}

static void tcp_abort(struct mir_tcp *tcp)
{
    struct mir__tcp_pcb *pcb = pcb_of(tcp);
    pcb->is_detached = true;
    pcb->events = 0;
    pcb->tcp.handler = NULL;
    if (pcb->state == MIR_TCP_S_CLOSED)
        free_pcb(pcb);
    else
        mir__tcp_reset(pcb, -MIR_ECONNABORTED);
}

static int set_rcvbuf(struct mir__tcp_pcb *pcb, uint32_t value)
{
    if (value < 2048 || value > 1u << 30)
        return -MIR_ERANGE;
    bool is_offered = pcb->state != MIR_TCP_S_SYN_SENT || pcb->snd_max != pcb->iss;
    if (!is_offered)
        pcb->node.rcv_wscale = mir__tcp_wscale_for(value);
    pcb->rcv_tuned = false;
    /* What the scale agreed upon cannot express would only be memory. */
    pcb->rcv_limit = MIR_MIN(value, (uint32_t)65535 << pcb->node.rcv_wscale);
    return 0;
}

static int set_keepalive(struct mir__tcp_pcb *pcb, enum mir_tcp_option option, uint32_t value)
{
    if (option == MIR_TCP_KEEPALIVE_IDLE_S) {
        if (value > 1u << 20)
            return -MIR_ERANGE;
        pcb->keep_idle_s = value;
        mir__tcp_timer_keepalive(pcb);
        return 0;
    }
    if (value == 0 || value > (option == MIR_TCP_KEEPALIVE_COUNT ? 100u : 32767u))
        return -MIR_ERANGE;
    if (option == MIR_TCP_KEEPALIVE_COUNT)
        pcb->keep_count = (uint8_t)value;
    else
        pcb->keep_intvl_s = (uint16_t)value;
    return 0;
}

static int tcp_set_option(struct mir_tcp *tcp, enum mir_tcp_option option, uint32_t value)
{
    struct mir__tcp_pcb *pcb = pcb_of(tcp);
    switch (option) {
    case MIR_TCP_NODELAY:
    case MIR_TCP_CORK:
        if (value > 1)
            return -MIR_ERANGE;
        if (option == MIR_TCP_NODELAY)
            pcb->nodelay = value != 0;
        else
            pcb->cork = value != 0 && !pcb->fin_queued;
        if (pcb->state != MIR_TCP_S_CLOSED)
            mir__tcp_mark(pcb);
        return 0;
    case MIR_TCP_KEEPALIVE_IDLE_S:
    case MIR_TCP_KEEPALIVE_INTVL_S:
    case MIR_TCP_KEEPALIVE_COUNT:
        return set_keepalive(pcb, option, value);
    case MIR_TCP_USER_TIMEOUT_MS:
        if (value > 0 && value < 100)
            return -MIR_ERANGE;
        pcb->user_timeout_ms = value;
        return 0;
    case MIR_TCP_UNREACHABLE_ENDS:
        if (value > 1)
            return -MIR_ERANGE;
        pcb->unreachable_ends = value != 0;
        return 0;
    case MIR_TCP_LINGER_MS:
        pcb->linger_ms = value;
        return 0;
    case MIR_TCP_TOS:
        if (value > 255)
            return -MIR_ERANGE;
        pcb->tos = (uint8_t)(value & ~3u);
        return 0;
    case MIR_TCP_SNDBUF:
        if (value < 2048 || value > 1u << 30)
            return -MIR_ERANGE;
        pcb->snd_limit = value;
        pcb->snd_tuned = false;
        return 0;
    case MIR_TCP_RCVBUF:
        return set_rcvbuf(pcb, value);
    case MIR_TCP_MAXSEG:
        if (value < MIR__TCP_MSS_MIN || value > 65495)
            return -MIR_ERANGE;
        pcb->mss_limit = (uint16_t)value;
        if (pcb->state == MIR_TCP_S_SYN_SENT)
            pcb->adv_mss = MIR_MIN(pcb->adv_mss, (uint16_t)value);
        else
            mir__tcp_update_mss(pcb);
        return 0;
    }
    return -MIR_ENOTSUP;
}

static void tcp_endpoints(const struct mir_tcp *tcp, struct mir_endpoint *local,
                          struct mir_endpoint *remote)
{
    const struct mir__tcp_pcb *pcb = (const struct mir__tcp_pcb *)(const void *)tcp;
    *local = (struct mir_endpoint){pcb->node.local, pcb->node.local_port};
    *remote = (struct mir_endpoint){pcb->node.remote, pcb->node.remote_port};
}

static uint32_t tcp_send_room(const struct mir_tcp *tcp)
{
    /* The promise of WRITABLE at 0 is a mark in the object: const is about the caller's view. */
    struct mir__tcp_pcb *pcb = (struct mir__tcp_pcb *)(uintptr_t)tcp;
    uint32_t room = mir__tcp_send_room_now(pcb);
    if (room == 0 && pcb->state != MIR_TCP_S_CLOSED && !pcb->fin_queued)
        pcb->wants_write = true;
    return room;
}

const struct mir_tcp_ops mir__tcp_ops = {
    .send = tcp_send,
    .send_view = tcp_send_view,
    .recv_view = tcp_recv_view,
    .shutdown = tcp_shutdown,
    .close = tcp_close,
    .abort = tcp_abort,
    .set_option = tcp_set_option,
    .info = mir__tcp_info,
    .endpoints = tcp_endpoints,
    .send_room = tcp_send_room,
};

/* ---- the stack's TCP ----------------------------------------------------------------------------
 */

/* @given, or as many as @share_bytes of memory for each allow, at least @least. Nothing is taken
 * before it is needed. */
static uint32_t limit_of(uint32_t given, uint64_t arena_bytes, uint32_t share_bytes, uint32_t least)
{
    uint64_t most = MIR_MIN(arena_bytes / share_bytes, (uint64_t)UINT32_MAX / 2);
    return given != 0 ? given : MIR_MAX((uint32_t)most, least);
}

static int init_pools(struct mir__tcp_state *host, const struct mir_net_config *config)
{
    struct mir_page_pool *pages = host->stack->pages;
    /* Connections at rest, of 512 bytes each, may fill a quarter. */
    uint32_t connections = limit_of(config->tcp_connections_max, pages->arena_size, 4 * 512, 16384);
    uint32_t waits = limit_of(config->tcp_time_wait_max, pages->arena_size, 16384, 8192);
    uint32_t listeners = config->tcp_listeners_max != 0 ? config->tcp_listeners_max : 64;
    int r = mir_pool_init(&host->pcbs, "tcp connections", pages, sizeof(struct mir__tcp_pcb),
                          connections);
    if (r == 0)
        r = mir_pool_init(&host->busies, "tcp busy connections", pages,
                          sizeof(struct mir__tcp_busy), connections);
    if (r == 0)
        mir_pool_gives_back(&host->busies);
    if (r == 0)
        r = mir_pool_init(&host->losses, "tcp scoreboards", pages, sizeof(struct mir__tcp_loss),
                          connections);
    if (r == 0)
        r = mir_pool_init(&host->ranges, "tcp ranges", pages, sizeof(struct mir__tcp_range),
                          MIR__TCP_RANGES_ALL);
    if (r == 0)
        r = mir_pool_init(&host->half_opens, "tcp half-open", pages,
                          sizeof(struct mir__tcp_half_open), MIR__TCP_HALF_OPEN_MAX);
    if (r == 0)
        r = mir_pool_init(&host->time_waits, "tcp time-wait", pages,
                          sizeof(struct mir__tcp_time_wait), waits);
    if (r == 0)
        r = mir_pool_init(&host->listeners, "tcp listeners", pages,
                          sizeof(struct mir__tcp_listener), listeners);
    if (r == 0)
        r = mir_pool_init(&host->chunks, "tcp chunks", pages, sizeof(struct mir__tcp_chunk),
                          UINT32_MAX);
    if (r == 0)
        r = mir_pool_init(&host->earlies, "tcp early", pages, sizeof(struct mir__tcp_early),
                          UINT32_MAX);
    return r;
}

/* Where tuning ends: one connection takes at most a quarter of the memory for queues. */
static uint32_t end_of_tuning(const struct mir__tcp_state *host, uint32_t configured)
{
    if (configured != 0)
        return MIR_MIN(configured, 1u << 30);
    uint64_t share = MIR_MAX(host->memory_max / 4, (uint64_t)MIR__TCP_SNDBUF_BEGIN);
    return (uint32_t)MIR_MIN(share, (uint64_t)MIR__TCP_BUFFER_MAX);
}

static void size_buffers(struct mir__tcp_state *host, const struct mir_net_config *config)
{
    host->snd_tuned = config->tcp_sndbuf_bytes == 0;
    host->rcv_tuned = config->tcp_rcvbuf_bytes == 0;
    host->sndbuf_max = end_of_tuning(host, config->tcp_sndbuf_max_bytes);
    host->rcvbuf_max = end_of_tuning(host, config->tcp_rcvbuf_max_bytes);
    host->sndbuf = host->snd_tuned ? MIR_MIN(MIR__TCP_SNDBUF_BEGIN, host->sndbuf_max)
                                   : config->tcp_sndbuf_bytes;
    host->rcvbuf = host->rcv_tuned ? MIR_MIN(MIR__TCP_RCVBUF_BEGIN, host->rcvbuf_max)
                                   : config->tcp_rcvbuf_bytes;
    host->rcvbuf = MIR_MAX(host->rcvbuf, 2048u);
}

int mir__tcp_init(struct mir_net *net, const struct mir_net_config *config)
{
    struct mir_io_page *page;
    struct mir_stack *stack = mir_net_stack(net);
    const struct mir__tcp_cc *cc = mir__tcp_cc_find(config->congestion);
    if (cc == NULL)
        return -MIR_EINVAL;
    int r = mir_page_alloc(stack->pages, sizeof(struct mir__tcp_state), MIR_PAGE_ZERO, &page);
    if (r < 0)
        return r;
    struct mir__tcp_state *host = (struct mir__tcp_state *)(void *)page->base;
    host->page = page;
    host->net = net;
    host->stack = stack;
    host->loop = stack->loop;
    host->rng = mir__net_rng(net);
    host->no_sack = config->tcp_no_sack;
    host->no_timestamps = config->tcp_no_timestamps;
    host->ecn = (uint8_t)config->tcp_ecn;
    host->pacing = config->tcp_pacing;
    host->cc = cc;
    if (config->tcp_fastopen_key != NULL)
        mir__tcp_fast_key(host, config->tcp_fastopen_key);
    host->memory_max = config->tcp_memory_max_bytes != 0 ? config->tcp_memory_max_bytes
                                                         : stack->pages->arena_size / 2;
    size_buffers(host, config);
    mir_list_init(&host->all);
    mir_list_init(&host->pending);
    mir_list_init(&host->blocked);
    mir_work_init(&host->flush_work, flush_posted, host);
    mir__tcp_busy_init(host);
    mir__tcp_secrets_init(host);
    mir__tcp_listen_init(host);
    mir__tcp_time_wait_init(host);
    r = init_pools(host, config);
    if (r == 0)
        r = mir__tcp_table_init(host);
    if (r < 0) {
        mir_page_release(page);
        return r;
    }
    mir__net_set_tcp(net, host);
    return 0;
}

void mir__tcp_fini(struct mir_net *net)
{
    struct mir__tcp_state *host = mir__net_tcp(net);
    if (host == NULL)
        return;
    mir__tcp_listen_fini(host);
    while (!mir_list_is_empty(&host->all)) {
        struct mir__tcp_pcb *pcb = MIR_CONTAINER_OF(host->all.next, struct mir__tcp_pcb, all);
        MIR_ASSERT_OP(pcb->in_use, ==, 0); /* called by a handler of this connection */
        tcp_abort(&pcb->tcp);
    }
    mir__tcp_time_wait_fini(host);
    mir__tcp_fast_fini(host);
    mir_work_cancel(&host->flush_work);
    MIR_ASSERT_OP(host->memory_used, ==, 0);
    mir__tcp_table_fini(host);
    mir_pool_fini(&host->pcbs);
    mir_pool_fini(&host->busies);
    mir_pool_fini(&host->losses);
    mir_pool_fini(&host->ranges);
    mir_pool_fini(&host->half_opens);
    mir_pool_fini(&host->time_waits);
    mir_pool_fini(&host->listeners);
    mir_pool_fini(&host->chunks);
    mir_pool_fini(&host->earlies);
    mir__net_set_tcp(net, NULL);
    mir_page_release(host->page);
}

/* Connections the application has closed that still have something to send or to wait for. */
static uint64_t count_closing(const struct mir__tcp_state *host)
{
    uint64_t count = 0;
    mir_list_for_each (node, &host->all)
        count += MIR_CONTAINER_OF(node, struct mir__tcp_pcb, all)->is_detached;
    return count;
}

void mir__tcp_stats(struct mir_net *net, void (*line)(void *arg, const char *name, uint64_t value),
                    void *arg)
{
    const struct mir__tcp_state *host = mir__net_tcp(net);
    line(arg, "tcp_connections", mir_pool_used(&host->pcbs));
    line(arg, "tcp_busy", mir_pool_used(&host->busies));
    line(arg, "tcp_closing", count_closing(host));
    line(arg, "tcp_half_open", mir_pool_used(&host->half_opens));
    line(arg, "tcp_time_wait", mir_pool_used(&host->time_waits));
    line(arg, "tcp_listeners", mir_pool_used(&host->listeners));
    line(arg, "tcp_memory_used_bytes", host->memory_used);
    line(arg, "tcp_memory_max_bytes", host->memory_max);
    line(arg, "tcp_table_buckets", host->table.buckets);
    static const char names[] =
#define MIR__X(name) "tcp_" #name "\0"
        MIR__TCP_COUNTERS(MIR__X);
#undef MIR__X
    mir__net_put_counters(names, (const uint64_t *)&host->counters,
                          sizeof host->counters / sizeof(uint64_t), line, arg);
}
