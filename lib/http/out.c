/* SPDX-License-Identifier: ISC */
/* Bytes to the connection.
 *
 * Heads are built in the server's scratch and sent from there before anybody else can use it: TCP
 * copies them behind what is queued, so a head, a small body and the answers to pipelined requests
 * leave in common segments. Larger bodies go as views.
 *
 * What TCP does not take waits in a list of views that belongs to the exchange; copied bytes move
 * to pages for that. Producers stop at mir__http_out_room() == 0, so the list is short: at most one
 * answer of mir_http_respond(), or a part header.
 */
#include "lib/http/internal.h"

/* ---- text -------------------------------------------------------------------------------------
 */

struct mir__http_text_out mir__http_text_begin(struct mir_http_server *server)
{
    char *at = (char *)server->out;
    return (struct mir__http_text_out){.at = at, .end = at + MIR__HTTP_OUT_BYTES};
}

void mir__http_put(struct mir__http_text_out *out, const void *text, size_t len)
{
    if ((size_t)(out->end - out->at) < len) {
        out->is_cut = true;
        return;
    }
    if (len == 0)
        return; /* @text may be NULL then */
    mir_memcpy(out->at, text, len);
    out->at += len;
}

void mir__http_put_text(struct mir__http_text_out *out, const char *text)
{
    mir__http_put(out, text, mir_str_len(text));
}

void mir__http_put_number(struct mir__http_text_out *out, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    mir__http_put(out, digits + at, sizeof digits - at);
}

const char *mir__http_reason(unsigned status)
{
    static const struct {
        uint16_t status;
        const char *reason;
    } table[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < MIR_ARRAY_LEN(table); i++) {
        if (table[i].status == status)
            return table[i].reason;
    }
    return "Other";
}

static void count(struct mir_http_server *server, unsigned status)
{
    if (status < 300)
        server->stats.responses_2xx++;
    else if (status < 400)
        server->stats.responses_3xx++;
    else if (status < 500)
        server->stats.responses_4xx++;
    else
        server->stats.responses_5xx++;
}

void mir__http_put_status(struct mir__http_text_out *out, struct mir_http_exchange *exchange,
                          unsigned status)
{
    struct mir_http_server *server = exchange->conn->server;
    count(server, status);
    if (mir__http_now(server) >= server->date_until_us)
        mir__http_server_refresh(server);
    if (exchange->on_body == NULL && mir__http_is_too_much_to_drop(exchange))
        exchange->close_after = true; /* known now: say it */
    if (status == 200) {
        mir__http_put(out, server->ok, server->ok_len);
    } else {
        mir__http_put_text(out, "HTTP/1.1 ");
        mir__http_put_number(out, status);
        mir__http_put_text(out, " ");
        mir__http_put_text(out, mir__http_reason(status));
        mir__http_put_text(out, "\r\n");
        mir__http_put(out, server->ok + server->common_at, server->ok_len - server->common_at);
    }
    if (exchange->close_after)
        mir__http_put_text(out, "Connection: close\r\n");
    else if (exchange->request.minor == 0)
        mir__http_put_text(out, "Connection: keep-alive\r\n");
}

/* ---- the queue ---------------------------------------------------------------------------------
 */

static int push(struct mir_http_exchange *exchange, struct mir_view view_given)
{
    struct mir__http_conn *conn = exchange->conn;
    struct mir__http_segment *segment = mir_pool_alloc(&conn->server->segment_pool);
    if (segment == NULL) {
        mir_view_release(&view_given);
        mir__http_conn_fail(conn, -MIR_ENOMEM);
        return -MIR_ENOMEM;
    }
    segment->next = NULL;
    segment->view = view_given;
    if (exchange->out_last != NULL)
        exchange->out_last->next = segment;
    else
        exchange->out_first = segment;
    exchange->out_last = segment;
    mir__http_conn_kick(conn); /* sets the time limit */
    return 0;
}

static int push_copy(struct mir_http_exchange *exchange, const uint8_t *data, size_t len)
{
    struct mir__http_conn *conn = exchange->conn;
    while (len > 0) {
        uint32_t n = (uint32_t)MIR_MIN(len, (size_t)MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE);
        struct mir_io_page *page;
        int r = mir_page_alloc(conn->server->stack->pages, n, MIR_PAGE_OVERWRITE, &page);
        if (r < 0) {
            mir__http_conn_fail(conn, r);
            return r;
        }
        mir_memcpy(page->base, data, n);
        r = push(exchange, (struct mir_view){page, page->base, n});
        if (r < 0)
            return r;
        data += n;
        len -= n;
    }
    return 0;
}

void mir__http_out_release(struct mir_http_exchange *exchange)
{
    while (exchange->out_first != NULL) {
        struct mir__http_segment *segment = exchange->out_first;
        exchange->out_first = segment->next;
        mir_view_release(&segment->view);
        mir_pool_free(&exchange->conn->server->segment_pool, segment);
    }
    exchange->out_last = NULL;
}

/* ---- to TCP ------------------------------------------------------------------------------------
 */

/* Give a view to TCP. On -MIR_EAGAIN @view is left as it was; other errors end the connection. */
static int send_view(struct mir__http_conn *conn, struct mir_view *view)
{
    struct mir_view given = mir_view_sub(view, 0, view->len);
    int r = mir_tcp_send_view(conn->tcp, given);
    if (r == -MIR_EAGAIN)
        return r;
    if (r == 0)
        conn->server->stats.bytes_out += view->len;
    else
        mir__http_conn_fail(conn, r);
    mir_view_release(view);
    return r;
}

uint32_t mir__http_out_room(const struct mir_http_exchange *exchange)
{
    if (exchange->out_first != NULL || exchange->conn->state == MIR__HTTP_DEAD)
        return 0;
    return mir_tcp_send_room(exchange->conn->tcp);
}

bool mir__http_out_drain(struct mir_http_exchange *exchange)
{
    struct mir__http_conn *conn = exchange->conn;
    bool has_moved = false;
    while (exchange->out_first != NULL && mir_tcp_send_room(conn->tcp) > 0) {
        struct mir__http_segment *segment = exchange->out_first;
        int r = send_view(conn, &segment->view);
        if (r == -MIR_EAGAIN)
            break;
        exchange->out_first = segment->next;
        if (exchange->out_first == NULL)
            exchange->out_last = NULL;
        mir_pool_free(&conn->server->segment_pool, segment);
        has_moved = true;
        if (r < 0)
            break;
    }
    return has_moved;
}

int mir__http_out_bytes(struct mir_http_exchange *exchange, const void *data, size_t len)
{
    struct mir__http_conn *conn = exchange->conn;
    size_t n = 0;
    if (conn->state == MIR__HTTP_DEAD)
        return -MIR_ECLOSED;
    if (len == 0)
        return 0;
    if (exchange->out_first == NULL) {
        int r = mir_tcp_send(conn->tcp, data, len, &n);
        if (r < 0 && r != -MIR_EAGAIN) {
            mir__http_conn_fail(conn, r);
            return r;
        }
        if (r < 0)
            n = 0;
        conn->server->stats.bytes_out += n;
    }
    return n == len ? 0 : push_copy(exchange, (const uint8_t *)data + n, len - n);
}

int mir__http_out_view(struct mir_http_exchange *exchange, struct mir_view view_given)
{
    struct mir__http_conn *conn = exchange->conn;
    if (conn->state == MIR__HTTP_DEAD || view_given.len == 0) {
        mir_view_release(&view_given);
        return conn->state == MIR__HTTP_DEAD ? -MIR_ECLOSED : 0;
    }
    if (mir__http_out_room(exchange) > 0) {
        int r = send_view(conn, &view_given);
        if (r != -MIR_EAGAIN)
            return r;
    }
    return push(exchange, view_given);
}

int mir__http_out_text(struct mir_http_exchange *exchange, const struct mir__http_text_out *out)
{
    const char *from = (const char *)exchange->conn->server->out;
    if (out->is_cut) {
        mir__http_conn_fail(exchange->conn, -MIR_ELIMIT);
        return -MIR_ELIMIT;
    }
    return mir__http_out_bytes(exchange, from, (size_t)(out->at - from));
}
