/* SPDX-License-Identifier: ISC */
/* Questions over TCP (RFC 7766).
 *
 * A connection may carry any number of questions, sent without waiting; they are answered in their
 * order, which RFC 7766 allows, because every answer is there at once. Each has its length in front
 * in two octets. A question that lies whole in a received view is read there; one in several pieces
 * is collected in a page.
 *
 * Nothing more is read while answers cannot be queued, so a peer that asks and does not listen
 * stops itself. `tcp_idle_ms` without a whole question, and without progress of what we send, ends
 * the connection: the timer looks at both, lazily. A question that is too long, or is none, ends it
 * too. When there are too many connections the one that was idle longest gives way, unless it is
 * sending a zone.
 *
 * Written to a peer that has closed its direction: what is queued is still delivered.
 */
#include "lib/dns/auth.h"

enum { PROGRESS_MIN = 1024 };

static void run(struct mir__auth_conn *conn);

static void end_conn(struct mir__auth_conn *conn, bool in_order)
{
    struct mir_dns_server *server = conn->server;
    if (in_order)
        mir_tcp_close(conn->tcp);
    else
        mir_tcp_abort(conn->tcp);
    if (conn->transfer.zone != NULL)
        server->transfers--;
    mir_timer_cancel(&conn->timer);
    mir_view_release(&conn->in);
    if (conn->page != NULL)
        mir_page_release(conn->page);
    mir_list_remove(&conn->link);
    server->stats.tcp_open--;
    mir_pool_free(&server->conn_pool, conn);
}

/* ---- time ----------------------------------------------------------------------------------- */

static mir_time_us idle_us(const struct mir__auth_conn *conn)
{
    return conn->server->limits.tcp_idle_ms * MIR_US_PER_MS;
}

static void touch(struct mir__auth_conn *conn)
{
    conn->active_us = mir__auth_now(conn->server);
    mir_list_remove(&conn->link);
    mir_list_push_back(&conn->server->conns, &conn->link);
}

static void on_timer(void *arg)
{
    struct mir__auth_conn *conn = arg;
    struct mir_tcp_info info;
    mir_tcp_get_info(conn->tcp, &info);
    /* What a closed window lets through, a few octets at a time, is no progress. */
    uint64_t taken = info.bytes_acked - conn->acked;
    conn->acked = info.bytes_acked;
    if (taken >= PROGRESS_MIN || (taken > 0 && info.send_queue_bytes == 0))
        touch(conn);
    mir_time_us due_us = conn->active_us + idle_us(conn);
    if (mir__auth_now(conn->server) >= due_us) {
        conn->server->stats.tcp_timeouts++;
        end_conn(conn, info.send_queue_bytes == 0 && conn->got == 0 && conn->in.len == 0);
        return;
    }
    mir_timer_set(conn->server->stack->loop, &conn->timer, due_us);
}

/* ---- answers -------------------------------------------------------------------------------- */

/* Queue [len] octets of server->out. False: the connection has failed. */
static bool send_out(struct mir__auth_conn *conn, uint32_t len)
{
    struct mir_dns_server *server = conn->server;
    size_t queued;
    if (mir_tcp_send_room(conn->tcp) >= len)
        return mir_tcp_send(conn->tcp, server->out->base, len, &queued) == 0 && queued == len;
    /* Not whole by copy: a view is taken whole, once, and then there is no room. */
    struct mir_io_page *page;
    if (mir_page_alloc(server->stack->pages, len, MIR_PAGE_OVERWRITE, &page) < 0) {
        server->stats.dropped_memory++;
        return false;
    }
    mir_memcpy(page->base, server->out->base, len);
    return mir_tcp_send_view(conn->tcp, (struct mir_view){page, page->base, len}) == 0;
}

static bool begin_transfer(struct mir__auth_conn *conn, struct mir__auth_reply *reply,
                           const uint8_t *msg)
{
    struct mir_dns_server *server = conn->server;
    struct mir_endpoint local, remote;
    mir_tcp_get_endpoints(conn->tcp, &local, &remote);
    if (!mir__auth_may_transfer(server, &remote.ip) ||
        server->transfers >= server->limits.transfers) {
        server->stats.transfers_refused++;
        return false;
    }
    server->transfers++;
    server->stats.transfers++;
    mir__auth_transfer_begin(conn, reply, msg);
    return true;
}

/* One question. False: the connection is of no use any more. */
static bool answer(struct mir__auth_conn *conn, const uint8_t *msg, uint32_t len)
{
    struct mir_dns_server *server = conn->server;
    struct mir__auth_reply reply;
    server->stats.queries_tcp++;
    mir__auth_ask(server, msg, len, true, &reply);
    if (reply.verdict == MIR__AUTH_DROP) {
        server->stats.tcp_bad++;
        return false;
    }
    touch(conn);
    if (reply.verdict == MIR__AUTH_TRANSFER) {
        if (begin_transfer(conn, &reply, msg))
            return true;
        reply.flags |= MIR__DNS_REFUSED;
        server->stats.refused++;
    }
    uint32_t reply_len = mir__auth_reply_len(&reply);
    mir_put_be16(server->out->base, (uint16_t)reply_len);
    mir__auth_put(server, &reply, msg, server->out->base + 2);
    return send_out(conn, 2 + reply_len);
}

/* ---- questions ------------------------------------------------------------------------------ */

/* Move what conn->in has of the length and the question behind conn->got. */
static int collect(struct mir__auth_conn *conn)
{
    struct mir_dns_server *server = conn->server;
    while (conn->got < 2 && conn->in.len > 0) {
        conn->prefix[conn->got++] = conn->in.data[0];
        mir_view_shrink_front(&conn->in, 1);
    }
    if (conn->got < 2)
        return -MIR_EAGAIN;
    uint32_t len = mir_get_be16(conn->prefix);
    if (len < MIR__DNS_HEADER_LEN || len > server->limits.tcp_query_bytes)
        return -MIR_ETOOBIG;
    if (conn->page == NULL &&
        mir_page_alloc(server->stack->pages, len, MIR_PAGE_OVERWRITE, &conn->page) < 0)
        return -MIR_ENOMEM;
    uint32_t more = MIR_MIN(2 + len - conn->got, conn->in.len);
    if (more > 0)
        mir_memcpy(conn->page->base + conn->got - 2, conn->in.data, more);
    mir_view_shrink_front(&conn->in, more);
    conn->got += more;
    return conn->got == 2 + len ? 0 : -MIR_EAGAIN;
}

/* Answer one question of conn->in. Returns 0, -MIR_EAGAIN (its rest is missing), or the end. */
static int step(struct mir__auth_conn *conn)
{
    const struct mir_view *in = &conn->in;
    uint32_t len = conn->got == 0 && in->len >= 2 ? mir_get_be16(in->data) : 0;
    if (len >= MIR__DNS_HEADER_LEN && len <= conn->server->limits.tcp_query_bytes &&
        len <= in->len - 2) {
        /* Answered before it is let go of. */
        bool is_good = answer(conn, in->data + 2, len);
        mir_view_shrink_front(&conn->in, 2 + len);
        return is_good ? 0 : -MIR_ECLOSED;
    }
    int r = collect(conn);
    if (r == -MIR_ETOOBIG)
        conn->server->stats.tcp_bad++;
    if (r < 0)
        return r;
    bool is_good = answer(conn, conn->page->base, conn->got - 2);
    mir_page_release(conn->page);
    conn->page = NULL;
    conn->got = 0;
    return is_good ? 0 : -MIR_ECLOSED;
}

/* Received octets into conn->in, which is empty. */
static int fetch(struct mir__auth_conn *conn)
{
    if (conn->has_eof)
        return -MIR_EEOF;
    mir_view_release(&conn->in);
    int r = mir_tcp_recv_view(conn->tcp, &conn->in);
    conn->has_eof = r == -MIR_EEOF;
    return r;
}

static int send_transfer(struct mir__auth_conn *conn)
{
    uint32_t len = mir__auth_transfer_next(conn, conn->server->out->base);
    if (conn->transfer.zone == NULL)
        conn->server->transfers--;
    return send_out(conn, len) ? 0 : -MIR_ECLOSED;
}

/* Everything that can be done now. */
static void run(struct mir__auth_conn *conn)
{
    int r = 0;
    while (r == 0 && mir_tcp_send_room(conn->tcp) > 0) {
        if (conn->transfer.zone != NULL)
            r = send_transfer(conn);
        else if (conn->in.len > 0)
            r = step(conn);
        else
            r = fetch(conn);
        if (r == -MIR_EAGAIN && conn->transfer.zone == NULL && conn->in.len == 0 && !conn->has_eof)
            r = fetch(conn);
    }
    if (r == 0 || r == -MIR_EAGAIN)
        return;
    end_conn(conn, r == -MIR_EEOF && conn->got == 0);
}

static void on_events(struct mir_tcp *tcp, unsigned events, void *arg)
{
    (void)tcp;
    struct mir__auth_conn *conn = arg;
    if ((events & (MIR_TCP_FAILED | MIR_TCP_CLOSED)) != 0)
        end_conn(conn, (events & MIR_TCP_FAILED) == 0);
    else
        run(conn);
}

/* ---- accept --------------------------------------------------------------------------------- */

/* Room for one more: the connection that was idle longest ends. */
static void evict(struct mir_dns_server *server)
{
    mir_list_for_each (node, &server->conns) {
        struct mir__auth_conn *conn = MIR_CONTAINER_OF(node, struct mir__auth_conn, link);
        if (conn->transfer.zone != NULL)
            continue;
        server->stats.tcp_evicted++;
        end_conn(conn, false);
        return;
    }
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    struct mir_dns_server *server = arg;
    (void)listener;
    if (server->stats.tcp_open >= server->limits.tcp_connections)
        evict(server);
    struct mir__auth_conn *conn = mir_pool_alloc(&server->conn_pool);
    if (conn == NULL) {
        server->stats.tcp_refused++;
        mir_tcp_abort(tcp_given);
        return;
    }
    mir_memset(conn, 0, sizeof *conn);
    conn->server = server;
    conn->tcp = tcp_given;
    mir_list_init(&conn->link);
    mir_timer_init(&conn->timer, on_timer, conn);
    server->stats.tcp_accepted++;
    server->stats.tcp_open++;
    touch(conn);
    mir_timer_set(server->stack->loop, &conn->timer, conn->active_us + idle_us(conn));
    mir_tcp_set_handler(tcp_given, on_events, conn);
    run(conn);
}

int mir__auth_tcp_open(struct mir_dns_server *server)
{
    const struct mir_tcp_listen_config config = {
        .local = server->local, .on_accept = on_accept, .arg = server};
    int r = mir_pool_init(&server->conn_pool, "dns connections", server->stack->pages,
                          sizeof(struct mir__auth_conn), server->limits.tcp_connections);
    return r == 0 ? mir_tcp_listen(server->stack, &config, &server->listener) : r;
}

void mir__auth_tcp_close(struct mir_dns_server *server)
{
    if (server->listener == NULL)
        return;
    mir_tcp_unlisten(server->listener);
    while (!mir_list_is_empty(&server->conns))
        end_conn(MIR_CONTAINER_OF(server->conns.next, struct mir__auth_conn, link), false);
    mir_pool_fini(&server->conn_pool);
}
