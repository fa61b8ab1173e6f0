/* SPDX-License-Identifier: ISC */
/* The server object: open, accept, close, statistics, and the ready first lines.
 *
 * All memory comes from the stack's pages: the server lives in a page run, connections, exchanges
 * and waiting segments in pools with limits. The first lines of a "200 OK" with Server and Date are
 * kept ready and made again at most once a second, when the loop's time says that the second of the
 * wall clock is over; the clock is not read for other requests.
 */
#include "lib/http/internal.h"

#define NAME_MAX_LEN 64u

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value != 0 ? value : fallback;
}

static int check_limits(struct mir_http_limits *limits)
{
    limits->request_line_bytes = or_default(limits->request_line_bytes, 8192);
    limits->header_bytes = or_default(limits->header_bytes, 16384);
    limits->header_count = or_default(limits->header_count, 100);
    limits->body_bytes = limits->body_bytes != 0 ? limits->body_bytes : 1ull << 30;
    limits->header_timeout_ms = or_default(limits->header_timeout_ms, 10000);
    limits->idle_timeout_ms = or_default(limits->idle_timeout_ms, 60000);
    limits->body_timeout_ms = or_default(limits->body_timeout_ms, 30000);
    limits->send_timeout_ms = or_default(limits->send_timeout_ms, 30000);
    limits->connections = or_default(limits->connections, 10000);
    /* Offsets in a head are 16 bits wide. */
    uint64_t head = (uint64_t)limits->request_line_bytes + limits->header_bytes;
    if (head > MIR__HTTP_HEAD_MAX - 16 || limits->header_count > MIR__HTTP_FIELDS_MAX)
        return -MIR_EINVAL;
    return 0;
}

void mir__http_server_refresh(struct mir_http_server *server)
{
    char *date = server->ok + server->ok_len - MIR__HTTP_DATE_LEN - 2;
    if (server->clock == NULL) {
        server->date_until_us = MIR_TIME_NEVER;
        return;
    }
    mir_time_us wall_us = server->clock->wall(server->clock);
    server->unix_s = wall_us / MIR_US_PER_S;
    server->date_until_us = mir__http_now(server) + MIR_US_PER_S - wall_us % MIR_US_PER_S;
    mir__http_date_emit(server->unix_s, date);
}

static void put(struct mir_http_server *server, const char *text)
{
    size_t len = mir_str_len(text);
    mir_memcpy(server->ok + server->ok_len, text, len);
    server->ok_len += (uint32_t)len;
}

static void make_lines(struct mir_http_server *server, const char *name)
{
    put(server, "HTTP/1.1 200 OK\r\n");
    server->common_at = server->ok_len;
    put(server, "Server: ");
    put(server, name);
    put(server, "\r\n");
    if (server->clock != NULL)
        put(server, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
    mir__http_server_refresh(server);
}

static bool is_name(const char *name)
{
    size_t len = mir_str_len(name);
    for (size_t i = 0; i < len; i++) {
        if (name[i] < 0x20 || name[i] > 0x7e)
            return false;
    }
    return len > 0 && len <= NAME_MAX_LEN;
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener;
    mir__http_conn_open(arg, tcp_given);
}

static int init_pools(struct mir_http_server *server, struct mir_page_pool *pages)
{
    uint32_t limit = server->limits.connections;
    uint32_t segments = limit > UINT32_MAX / 32 ? UINT32_MAX : 32 * limit;
    int r = mir_pool_init(&server->conn_pool, "http connections", pages,
                          sizeof(struct mir__http_conn), limit);
    if (r == 0)
        r = mir_pool_init(&server->exchange_pool, "http exchanges", pages,
                          sizeof(struct mir_http_exchange), limit);
    if (r == 0)
        r = mir_pool_init(&server->segment_pool, "http segments", pages,
                          sizeof(struct mir__http_segment), segments);
    return r;
}

static void release(struct mir_http_server *server)
{
    mir_pool_fini(&server->segment_pool);
    mir_pool_fini(&server->exchange_pool);
    mir_pool_fini(&server->conn_pool);
    if (server->ready_page != NULL)
        mir_page_release(server->ready_page);
    mir_page_release(server->out_page);
    mir_page_release(server->page);
}

int mir_http_server_open(const struct mir_http_config *config, struct mir_http_server **out)
{
    struct mir_io_page *page, *out_page;
    struct mir_page_pool *pages = config->stack->pages;
    struct mir_http_limits limits = config->limits;
    const char *name = config->server_name != NULL ? config->server_name : "mirari";
    if (check_limits(&limits) < 0 || !is_name(name))
        return -MIR_EINVAL;
    int r = mir_page_alloc(pages, sizeof(struct mir_http_server), MIR_PAGE_ZERO, &page);
    if (r < 0)
        return r;
    r = mir_page_alloc(pages, MIR__HTTP_OUT_BYTES, MIR_PAGE_ZERO, &out_page);
    if (r < 0) {
        mir_page_release(page);
        return r;
    }
    struct mir_http_server *server = (struct mir_http_server *)(void *)page->base;
    server->page = page;
    server->out_page = out_page;
    server->out = out_page->base;
    server->stack = config->stack;
    server->clock = config->clock;
    server->limits = limits;
    mir_list_init(&server->conns);
    make_lines(server, name);
    r = init_pools(server, pages);
    if (r < 0)
        goto err;
    struct mir_tcp_listen_config listen = {
        .local = config->local, .on_accept = on_accept, .arg = server};
    r = mir_tcp_listen(config->stack, &listen, &server->listener);
    if (r < 0)
        goto err;
    *out = server;
    return 0;
err:
    release(server);
    return r;
}

void mir_http_server_close(struct mir_http_server *server)
{
    MIR_ASSERT_OP(server->running, ==, 0);
    mir_tcp_unlisten(server->listener);
    while (!mir_list_is_empty(&server->conns)) {
        struct mir__http_conn *conn =
            MIR_CONTAINER_OF(server->conns.next, struct mir__http_conn, link);
        mir__http_conn_destroy(conn, -MIR_ECANCELED);
    }
    release(server);
}

void mir_http_server_local(const struct mir_http_server *server, struct mir_endpoint *local)
{
    *local = server->listener->local;
}

void mir_http_server_stats(const struct mir_http_server *server, struct mir_http_stats *stats)
{
    *stats = server->stats;
}
