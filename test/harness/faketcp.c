/* SPDX-License-Identifier: ISC */
/* See faketcp.h. A connection is freed by the test only; the server's close and abort just mark it,
 * so that the test can look at what was sent. */
#include "test/harness/faketcp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fake_conn *conn_of(const struct mir_tcp *tcp)
{
    return (struct fake_conn *)((uintptr_t)tcp - offsetof(struct fake_conn, tcp));
}

static void assert_usable(const struct fake_conn *conn)
{
    MIR_ASSERT(!conn->is_closed);
    MIR_ASSERT(!conn->got_rst);
}

static void append(struct fake_conn *conn, const void *data, size_t len)
{
    if (conn->out_len + len + 1 > conn->out_cap) {
        conn->out_cap = 2 * (conn->out_len + len + 1);
        conn->out = realloc(conn->out, conn->out_cap);
        if (conn->out == NULL)
            abort();
    }
    memcpy(conn->out + conn->out_len, data, len);
    conn->out_len += len;
    conn->room -= (uint32_t)MIR_MIN(len, (size_t)conn->room);
}

static int send_state(struct fake_conn *conn)
{
    assert_usable(conn);
    conn->send_calls++;
    if (conn->tcp.error < 0)
        return conn->tcp.error;
    if (conn->got_fin)
        return -MIR_ECLOSED;
    if (conn->room == 0) {
        conn->is_blocked = true;
        return -MIR_EAGAIN;
    }
    return 0;
}

static int fake_tcp_send(struct mir_tcp *tcp, const void *data, size_t len, size_t *queued_len)
{
    struct fake_conn *conn = conn_of(tcp);
    int r = send_state(conn);
    if (r < 0)
        return r;
    size_t n = MIR_MIN(len, (size_t)conn->room);
    conn->is_blocked |= n < len;
    append(conn, data, n);
    *queued_len = n;
    return 0;
}

static int fake_tcp_send_view(struct mir_tcp *tcp, struct mir_view view_given)
{
    struct fake_conn *conn = conn_of(tcp);
    int r = send_state(conn);
    if (r == 0)
        append(conn, view_given.data, view_given.len);
    mir_view_release(&view_given);
    return r;
}

static int fake_tcp_recv_view(struct mir_tcp *tcp, struct mir_view *view)
{
    struct fake_conn *conn = conn_of(tcp);
    assert_usable(conn);
    if (conn->tcp.error < 0)
        return conn->tcp.error;
    if (conn->in_count == 0)
        return conn->in_eof ? -MIR_EEOF : -MIR_EAGAIN;
    *view = conn->in[0];
    memmove(conn->in, conn->in + 1, --conn->in_count * sizeof conn->in[0]);
    return 0;
}

static int fake_tcp_shutdown(struct mir_tcp *tcp)
{
    struct fake_conn *conn = conn_of(tcp);
    assert_usable(conn);
    conn->got_fin = true;
    return 0;
}

static void fake_tcp_close(struct mir_tcp *tcp)
{
    struct fake_conn *conn = conn_of(tcp);
    assert_usable(conn);
    if (conn->in_count > 0)
        conn->got_rst = true; /* RFC 2525 section 2.17 */
    conn->got_fin = true;
    conn->is_closed = true;
    conn->fake->open--;
}

static void fake_tcp_abort(struct mir_tcp *tcp)
{
    struct fake_conn *conn = conn_of(tcp);
    assert_usable(conn);
    conn->got_rst = true;
    conn->is_closed = true;
    conn->fake->open--;
}

static int fake_tcp_set_option(struct mir_tcp *tcp, enum mir_tcp_option option, uint32_t value)
{
    (void)value;
    assert_usable(conn_of(tcp));
    return option == MIR_TCP_NODELAY ? 0 : -MIR_ENOTSUP;
}

static void fake_tcp_info(const struct mir_tcp *tcp, struct mir_tcp_info *info)
{
    (void)tcp;
    memset(info, 0, sizeof *info);
}

static void fake_tcp_endpoints(const struct mir_tcp *tcp, struct mir_endpoint *local,
                               struct mir_endpoint *remote)
{
    (void)tcp;
    *local = (struct mir_endpoint){.port = 80};
    *remote = (struct mir_endpoint){.port = 40000};
}

static uint32_t fake_tcp_send_room(const struct mir_tcp *tcp)
{
    struct fake_conn *conn = conn_of(tcp);
    assert_usable(conn);
    if (conn->room == 0)
        conn->is_blocked = true;
    return conn->room;
}

static const struct mir_tcp_ops tcp_ops = {
    .send = fake_tcp_send,
    .send_view = fake_tcp_send_view,
    .recv_view = fake_tcp_recv_view,
    .shutdown = fake_tcp_shutdown,
    .close = fake_tcp_close,
    .abort = fake_tcp_abort,
    .set_option = fake_tcp_set_option,
    .info = fake_tcp_info,
    .endpoints = fake_tcp_endpoints,
    .send_room = fake_tcp_send_room,
};

static int fake_listen(struct mir_stack *stack, const struct mir_tcp_listen_config *config,
                       struct mir_tcp_listener **listener)
{
    struct fake_stack *fake = MIR_CONTAINER_OF(stack, struct fake_stack, stack);
    MIR_ASSERT(fake->listener == NULL);
    fake->listener = calloc(1, sizeof *fake->listener);
    if (fake->listener == NULL)
        abort();
    fake->listener->stack = stack;
    fake->listener->local = config->local;
    fake->listener->on_accept = config->on_accept;
    fake->listener->arg = config->arg;
    *listener = fake->listener;
    return 0;
}

static void fake_unlisten(struct mir_tcp_listener *listener)
{
    struct fake_stack *fake = MIR_CONTAINER_OF(listener->stack, struct fake_stack, stack);
    fake->listener = NULL;
    free(listener);
}

static const struct mir_stack_ops stack_ops = {
    .kind = "fake", .tcp_listen = fake_listen, .tcp_unlisten = fake_unlisten};

void fake_stack_init(struct fake_stack *fake, size_t arena_bytes)
{
    memset(fake, 0, sizeof *fake);
    fake->arena = aligned_alloc(MIR_PAGE_SIZE, arena_bytes);
    if (fake->arena == NULL || mir_page_pool_init(&fake->pages, fake->arena, arena_bytes) < 0 ||
        mir_buf_pool_init(&fake->bufs, &fake->pages, 64) < 0)
        abort();
    fake->now_us = 1000000;
    fake->send_room = 1u << 20;
    mir_loop_init(&fake->loop, fake->now_us);
    fake->stack = (struct mir_stack){
        .ops = &stack_ops, .loop = &fake->loop, .pages = &fake->pages, .bufs = &fake->bufs};
}

bool fake_stack_fini(struct fake_stack *fake)
{
    while (fake->conns != NULL)
        fake_conn_free(fake->conns);
    size_t used = mir_page_pool_used_bytes(&fake->pages);
    bool is_clean = used == 0 && fake->open == 0 && fake->listener == NULL;
    if (!is_clean)
        printf("# left: %zu bytes of pages, %u connections\n", used, fake->open);
    mir_buf_pool_fini(&fake->bufs);
    free(fake->arena);
    return is_clean;
}

void fake_run(struct fake_stack *fake)
{
    mir_time_us next;
    for (int i = 0; i < 10000; i++) {
        bool ran = mir_loop_step(&fake->loop, fake->now_us, &next);
        if (!ran && next > fake->now_us)
            return;
    }
    MIR_ASSERT(!"the loop never comes to rest");
}

void fake_advance(struct fake_stack *fake, mir_time_us us)
{
    mir_time_us until = fake->now_us + us;
    fake_run(fake);
    while (fake->now_us < until) {
        mir_time_us next;
        mir_loop_step(&fake->loop, fake->now_us, &next);
        fake->now_us = MIR_MIN(until, MIR_MAX(next, fake->now_us + 1024));
        fake_run(fake);
    }
}

struct fake_conn *fake_connect(struct fake_stack *fake)
{
    struct fake_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        abort();
    conn->tcp.ops = &tcp_ops;
    conn->tcp.stack = &fake->stack;
    conn->fake = fake;
    conn->room = fake->send_room;
    conn->next = fake->conns;
    fake->conns = conn;
    fake->open++;
    fake->listener->on_accept(fake->listener, &conn->tcp, fake->listener->arg);
    fake_run(fake);
    return conn;
}

static void event(struct fake_conn *conn, unsigned events)
{
    if (!conn->is_closed && conn->tcp.handler != NULL)
        conn->tcp.handler(&conn->tcp, events, conn->tcp.handler_arg);
    fake_run(conn->fake);
}

static void release_page(struct mir_io_page *page, void *arg)
{
    free(arg);
    free(page);
}

/* Pages of exactly the right size from malloc, so that ASan sees a read behind the end. */
void fake_queue(struct fake_conn *conn, const void *data, size_t len)
{
    struct mir_io_page *page = malloc(sizeof *page);
    uint8_t *copy = malloc(len > 0 ? len : 1);
    if (page == NULL || copy == NULL)
        abort();
    memcpy(copy, data, len);
    mir_page_wrap(page, copy, (uint32_t)len, MIR_PAGE_READONLY, release_page, copy);
    MIR_ASSERT_OP(conn->in_count, <, MIR_ARRAY_LEN(conn->in));
    if (conn->is_closed || len == 0)
        mir_page_release(page);
    else
        conn->in[conn->in_count++] = (struct mir_view){page, copy, (uint32_t)len};
}

void fake_send(struct fake_conn *conn, const void *data, size_t len)
{
    fake_queue(conn, data, len);
    event(conn, MIR_TCP_READABLE);
}

void fake_send_text(struct fake_conn *conn, const char *text)
{
    fake_send(conn, text, strlen(text));
}

void fake_send_fin(struct fake_conn *conn)
{
    conn->in_eof = true;
    event(conn, MIR_TCP_READABLE);
}

void fake_reset(struct fake_conn *conn)
{
    conn->tcp.error = -MIR_ECONNRESET;
    event(conn, MIR_TCP_FAILED);
}

void fake_set_room(struct fake_conn *conn, uint32_t room)
{
    conn->room = room;
    if (conn->is_blocked && room > 0) {
        conn->is_blocked = false;
        event(conn, MIR_TCP_WRITABLE);
    }
}

void fake_clear(struct fake_conn *conn)
{
    conn->out_len = 0;
}

const char *fake_text(struct fake_conn *conn)
{
    append(conn, "", 1);
    conn->out_len--;
    return (const char *)conn->out;
}

void fake_conn_free(struct fake_conn *conn)
{
    if (!conn->is_closed)
        fake_reset(conn);
    for (struct fake_conn **at = &conn->fake->conns; *at != NULL; at = &(*at)->next) {
        if (*at == conn) {
            *at = conn->next;
            break;
        }
    }
    for (uint32_t i = 0; i < conn->in_count; i++)
        mir_view_release(&conn->in[i]);
    free(conn->out);
    free(conn);
}
