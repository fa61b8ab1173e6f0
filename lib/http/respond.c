/* SPDX-License-Identifier: ISC */
/* Answers of handlers: the public functions of an exchange.
 *
 * Framing belongs to the server: Content-Length, Transfer-Encoding, Connection, Date and Server are
 * written here and refused from handlers. Pieces of a streamed answer are taken whole or not at
 * all, so that no handler has to remember half a piece; the send buffer may be overshot by one
 * piece.
 *
 * Any call may find the connection dead. The exchange itself stays until its on_end was called, and
 * that never happens inside one of these functions.
 */
#include "lib/http/internal.h"

#include <mirari/format.h>

static bool is_dead(const struct mir_http_exchange *exchange)
{
    return exchange->conn->state == MIR__HTTP_DEAD;
}

static bool has_no_body(const struct mir_http_exchange *exchange, unsigned status)
{
    return exchange->is_head || status == 204 || status == 304;
}

/* ---- the request
 * ---------------------------------------------------------------------------------- */

enum mir_http_method mir_http_method(const struct mir_http_exchange *exchange)
{
    return (enum mir_http_method)exchange->request.method;
}

struct mir_http_text mir_http_path(const struct mir_http_exchange *exchange)
{
    return exchange->path;
}

struct mir_http_text mir_http_query(const struct mir_http_exchange *exchange)
{
    return exchange->query;
}

struct mir_http_text mir_http_header(const struct mir_http_exchange *exchange, const char *name)
{
    const char *head = (const char *)exchange->head.data;
    for (uint32_t i = 0; i < exchange->request.field_count; i++) {
        const struct mir__http_field *field = &exchange->request.field[i];
        if (mir__http_equal_nocase(head + field->name_at, field->name_len, name))
            return (struct mir_http_text){head + field->value_at, field->value_len};
    }
    return (struct mir_http_text){NULL, 0};
}

uint64_t mir_http_content_length(const struct mir_http_exchange *exchange)
{
    if (exchange->request.flags & MIR__HTTP_RQ_CHUNKED)
        return UINT64_MAX;
    return exchange->request.content_length;
}

void mir_http_read_body(struct mir_http_exchange *exchange, mir_http_body_fn on_body, void *arg)
{
    exchange->on_body = on_body;
    exchange->body_arg = arg;
    mir__http_conn_kick(exchange->conn);
}

void mir_http_pause_body(struct mir_http_exchange *exchange)
{
    exchange->body_is_paused = true;
    mir__http_conn_kick(exchange->conn); /* takes the time limit away */
}

void mir_http_resume_body(struct mir_http_exchange *exchange)
{
    exchange->body_is_paused = false;
    mir__http_conn_kick(exchange->conn);
}

void mir_http_on_end(struct mir_http_exchange *exchange, mir_http_end_fn on_end, void *arg)
{
    exchange->on_end = on_end;
    exchange->end_arg = arg;
}

/* ---- header lines
 * ---------------------------------------------------------------------------------- */

static bool is_token(const char *name)
{
    for (const char *c = name; *c != '\0'; c++) {
        bool is_alnum =
            (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (!is_alnum && *c != '-' && *c != '_' && *c != '.')
            return false;
    }
    return *name != '\0';
}

static bool is_value(const char *value)
{
    for (const char *c = value; *c != '\0'; c++) {
        if (((uint8_t)*c < 0x20 && *c != '\t') || *c == 0x7f)
            return false;
    }
    return true;
}

static bool is_reserved(const char *name)
{
    static const char *const names[] = {"content-length", "transfer-encoding", "connection", "date",
                                        "server",         "content-type",      "trailer"};
    for (size_t i = 0; i < MIR_ARRAY_LEN(names); i++) {
        if (mir__http_equal_nocase(name, (uint32_t)mir_str_len(name), names[i]))
            return true;
    }
    return false;
}

int mir_http_add_header(struct mir_http_exchange *exchange, const char *name, const char *value)
{
    if (!is_token(name) || !is_value(value) || is_reserved(name))
        return -MIR_EINVAL;
    if (exchange->answer != MIR__HTTP_ANSWER_NONE)
        return -MIR_EEXIST;
    size_t len = mir_str_len(name) + mir_str_len(value) + 4;
    if (len > MIR__HTTP_EXTRA_MAX - exchange->extra_len)
        return -MIR_ELIMIT;
    if (exchange->extra_page == NULL) {
        int r = mir_page_alloc(exchange->conn->server->stack->pages, MIR__HTTP_EXTRA_MAX + 1,
                               MIR_PAGE_OVERWRITE, &exchange->extra_page);
        if (r < 0)
            return r;
    }
    char *at = (char *)exchange->extra_page->base + exchange->extra_len;
    mir_format(at, len + 1, "%s: %s\r\n", name, value);
    exchange->extra_len += (uint32_t)len;
    return 0;
}

void mir__http_put_allow(struct mir__http_text_out *out, unsigned methods)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"};
    const char *separator = "Allow: ";
    for (size_t i = 0; i < MIR_ARRAY_LEN(names); i++) {
        if (!(methods & 1u << i))
            continue;
        mir__http_put_text(out, separator);
        mir__http_put_text(out, names[i]);
        separator = ", ";
    }
    mir__http_put_text(out, "\r\n");
}

/* Status, common lines, handler's lines, type. */
static void put_head(struct mir__http_text_out *out, struct mir_http_exchange *exchange,
                     unsigned status, const char *media_type)
{
    mir__http_put_status(out, exchange, status);
    if (exchange->extra_len > 0)
        mir__http_put(out, exchange->extra_page->base, exchange->extra_len);
    if (media_type != NULL) {
        mir__http_put_text(out, "Content-Type: ");
        mir__http_put_text(out, media_type);
        mir__http_put_text(out, "\r\n");
    }
}

/* A final status and a media type that is a header value: both are the handler's. */
static void check_answer(unsigned status, const char *media_type)
{
    MIR_ASSERT_OP(status, >=, 200);
    MIR_ASSERT_OP(status, <=, 599);
    MIR_ASSERT(media_type == NULL || (is_value(media_type) && mir_str_len(media_type) <= 256));
}

/* ---- whole
 * ------------------------------------------------------------------------------------------ */

static int respond(struct mir_http_exchange *exchange, struct mir__http_text_out *out,
                   const void *body, size_t len)
{
    exchange->answer = MIR__HTTP_ANSWER_DONE;
    mir__http_conn_kick(exchange->conn);
    if (len <= MIR__HTTP_SMALL_BODY) {
        mir__http_put(out, body, len);
        return mir__http_out_text(exchange, out);
    }
    int r = mir__http_out_text(exchange, out);
    return r < 0 ? r : mir__http_out_bytes(exchange, body, len);
}

int mir_http_respond(struct mir_http_exchange *exchange, unsigned status, const char *media_type,
                     const void *body, size_t len)
{
    check_answer(status, media_type);
    if (is_dead(exchange))
        return -MIR_ECLOSED;
    if (exchange->answer != MIR__HTTP_ANSWER_NONE)
        return -MIR_EEXIST;
    if (len > MIR__HTTP_RESPOND_MAX) {
        mir__http_respond_error(exchange, 500, 0);
        return -MIR_ETOOBIG;
    }
    exchange->on_body = NULL; /* what comes after the answer is dropped */
    struct mir__http_text_out out = mir__http_text_begin(exchange->conn->server);
    put_head(&out, exchange, status, media_type);
    if (status != 204 && status != 304) {
        mir__http_put_text(&out, "Content-Length: ");
        mir__http_put_number(&out, len);
        mir__http_put_text(&out, "\r\n");
    }
    mir__http_put_text(&out, "\r\n");
    return respond(exchange, &out, body, has_no_body(exchange, status) ? 0 : len);
}

void mir__http_respond_error(struct mir_http_exchange *exchange, unsigned status, unsigned allow)
{
    char body[256];
    struct mir_http_server *server = exchange->conn->server;
    exchange->extra_len = 0; /* the handler's lines describe another answer */
    exchange->on_body = NULL;
    const char *reason = mir__http_reason(status);
    size_t len = mir_format(body, sizeof body,
                            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>%u %s</title>\n"
                            "<h1>%u %s</h1>\n",
                            status, reason, status, reason);
    struct mir__http_text_out out = mir__http_text_begin(server);
    put_head(&out, exchange, status, "text/html; charset=utf-8");
    if (allow != 0)
        mir__http_put_allow(&out, allow);
    if (status == 503)
        mir__http_put_text(&out, "Retry-After: 5\r\n");
    mir__http_put_text(&out, "Content-Length: ");
    mir__http_put_number(&out, len);
    mir__http_put_text(&out, "\r\n\r\n");
    int r = respond(exchange, &out, body, exchange->is_head ? 0 : len);
    MIR_LOG(HTTP, DEBUG, "answered status=%u sent=%d", status, r);
}

/* ---- streamed
 * ---------------------------------------------------------------------------------------- */

int mir_http_begin(struct mir_http_exchange *exchange, unsigned status, const char *media_type,
                   uint64_t size)
{
    check_answer(status, media_type);
    if (is_dead(exchange))
        return -MIR_ECLOSED;
    if (exchange->answer != MIR__HTTP_ANSWER_NONE)
        return -MIR_EEXIST;
    bool is_sized = size != UINT64_MAX;
    exchange->left = size;
    exchange->is_chunked = !is_sized && exchange->request.minor > 0;
    if (!is_sized && !exchange->is_chunked)
        exchange->close_after = true;
    struct mir__http_text_out out = mir__http_text_begin(exchange->conn->server);
    put_head(&out, exchange, status, media_type);
    if (is_sized && status != 204 && status != 304) {
        mir__http_put_text(&out, "Content-Length: ");
        mir__http_put_number(&out, size);
        mir__http_put_text(&out, "\r\n");
    }
    if (exchange->is_chunked && status != 204 && status != 304)
        mir__http_put_text(&out, "Transfer-Encoding: chunked\r\n");
    mir__http_put_text(&out, "\r\n");
    exchange->answer = MIR__HTTP_ANSWER_STREAM;
    if (has_no_body(exchange, status))
        exchange->is_head = true;
    return mir__http_out_text(exchange, &out);
}

/* May a piece go now? 0 yes; 1 it is dropped, as to HEAD. */
static int check_piece(struct mir_http_exchange *exchange, size_t len)
{
    if (is_dead(exchange))
        return -MIR_ECLOSED;
    if (exchange->answer != MIR__HTTP_ANSWER_STREAM)
        return -MIR_EINVAL;
    if (exchange->left != UINT64_MAX && len > exchange->left)
        return -MIR_ERANGE;
    if (!exchange->is_head && mir_http_send_room(exchange) == 0)
        return -MIR_EAGAIN;
    if (exchange->left != UINT64_MAX)
        exchange->left -= len;
    return exchange->is_head || len == 0;
}

static int put_chunk_size(struct mir_http_exchange *exchange, size_t len)
{
    char text[20];
    size_t n = mir_format(text, sizeof text, "%zx\r\n", len);
    return mir__http_out_bytes(exchange, text, n);
}

int mir_http_send_view(struct mir_http_exchange *exchange, struct mir_view view_given)
{
    int r = check_piece(exchange, view_given.len);
    if (r != 0) {
        mir_view_release(&view_given);
        return r > 0 ? 0 : r;
    }
    if (exchange->is_chunked)
        r = put_chunk_size(exchange, view_given.len);
    if (r < 0) {
        mir_view_release(&view_given);
        return r;
    }
    r = mir__http_out_view(exchange, view_given);
    if (r == 0 && exchange->is_chunked)
        r = mir__http_out_bytes(exchange, "\r\n", 2);
    return r;
}

int mir_http_send(struct mir_http_exchange *exchange, const void *data, size_t len)
{
    if (len > MIR__HTTP_RESPOND_MAX)
        return -MIR_ETOOBIG;
    int r = check_piece(exchange, len);
    if (r != 0)
        return r > 0 ? 0 : r;
    if (!exchange->is_chunked)
        return mir__http_out_bytes(exchange, data, len);
    r = put_chunk_size(exchange, len);
    if (r == 0)
        r = mir__http_out_bytes(exchange, data, len);
    return r < 0 ? r : mir__http_out_bytes(exchange, "\r\n", 2);
}

uint32_t mir_http_send_room(struct mir_http_exchange *exchange)
{
    uint32_t room = mir__http_out_room(exchange);
    if (room == 0 && !exchange->wants_writable) {
        exchange->wants_writable = true;
        mir__http_conn_kick(exchange->conn); /* sets the time limit */
    }
    return room;
}

void mir_http_on_writable(struct mir_http_exchange *exchange, mir_http_writable_fn on_writable,
                          void *arg)
{
    exchange->on_writable = on_writable;
    exchange->writable_arg = arg;
}

int mir_http_finish(struct mir_http_exchange *exchange)
{
    if (is_dead(exchange))
        return -MIR_ECLOSED;
    if (exchange->answer != MIR__HTTP_ANSWER_STREAM)
        return -MIR_EINVAL;
    if (!exchange->is_head && exchange->left != UINT64_MAX && exchange->left > 0) {
        mir__http_conn_fail(exchange->conn, -MIR_ETRUNCATED);
        return -MIR_ETRUNCATED;
    }
    exchange->answer = MIR__HTTP_ANSWER_DONE;
    mir__http_conn_kick(exchange->conn);
    if (exchange->is_chunked && !exchange->is_head)
        return mir__http_out_bytes(exchange, "0\r\n\r\n", 5);
    return 0;
}

void mir_http_abort(struct mir_http_exchange *exchange)
{
    mir__http_conn_fail(exchange->conn, -MIR_ECONNABORTED);
}
