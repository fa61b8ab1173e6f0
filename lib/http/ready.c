/* SPDX-License-Identifier: ISC */
/* Ready answers: a request seen before, byte for byte, needs no parsing.
 *
 * Clients that ask again send the same bytes: a browser, a proxy and a load generator alike. A
 * small answer from a store depends on nothing but these bytes, so the server keeps the last few
 * requests that got one, each with the value it led to:
 *
 *   received bytes --hash--> slot: request bytes equal? --> status lines of this second
 *                                                           + lines of the value + length + body
 *
 * Only plain cases get in: GET or HEAD of HTTP/1.1, kept alive, without a body, answered with 200
 * and a value that fits one send, and without the fields whose meaning depends on dates or ranges.
 * A request is looked up only when it is all there is in the received view. Routes may change the
 * answer, so a new route empties the table.
 *
 * Nothing is answered here that mir__http_static_begin() would not have answered with the same
 * bytes; when there is no room to send, it does.
 */
#include "lib/http/internal.h"

#define SLOTS       16u
#define REQUEST_MAX 432u

struct mir__http_ready {
    const struct mir_kv_body *value; /* NULL: empty */
    uint16_t len;                    /* of the request */
    uint8_t length_len;
    bool is_head;
    char length[48]; /* "Content-Length: 600\r\n\r\n" */
    uint8_t request[REQUEST_MAX];
};
#define TABLE_BYTES (SLOTS * sizeof(struct mir__http_ready))
_Static_assert(TABLE_BYTES <= 2 * MIR_PAGE_SIZE, "the table is a run of two pages");

/* Requests differ in their paths, which begin at the fifth byte, and in their length. */
static struct mir__http_ready *slot_of(const struct mir_http_server *server, const uint8_t *data,
                                       uint32_t len)
{
    uint32_t hash = len;
    for (uint32_t i = 4; i < MIR_MIN(len, 36u); i++)
        hash = hash * 31 + data[i];
    struct mir__http_ready *table = (struct mir__http_ready *)(void *)server->ready_page->base;
    return &table[(hash ^ hash >> 16) % SLOTS];
}

void mir__http_ready_reset(struct mir_http_server *server)
{
    bool has_store = false;
    for (uint32_t i = 0; i < server->route_count; i++)
        has_store |= server->route[i].kv != NULL;
    if (server->ready_page != NULL)
        mir_memset(server->ready_page->base, 0, server->ready_page->size_bytes);
    else if (has_store && mir_page_alloc(server->stack->pages, TABLE_BYTES, MIR_PAGE_ZERO,
                                         &server->ready_page) < 0)
        MIR_LOG(HTTP, DEBUG, "no memory for ready answers: every request is parsed");
}

static bool is_plain(const struct mir_http_exchange *exchange)
{
    const unsigned varying = 1u << MIR__HTTP_IF_MATCH | 1u << MIR__HTTP_IF_NONE_MATCH |
                             1u << MIR__HTTP_IF_MODIFIED_SINCE |
                             1u << MIR__HTTP_IF_UNMODIFIED_SINCE | 1u << MIR__HTTP_IF_RANGE |
                             1u << MIR__HTTP_RANGE;
    const struct mir__http_request *request = &exchange->request;
    return !(request->seen & varying) && request->minor > 0 && !exchange->close_after &&
           !exchange->has_body && (request->method & (MIR_HTTP_GET | MIR_HTTP_HEAD)) != 0;
}

void mir__http_ready_learn(const struct mir_http_exchange *exchange)
{
    struct mir_http_server *server = exchange->conn->server;
    const struct mir_kv_body *value = exchange->value;
    uint32_t len = exchange->head.len;
    if (server->ready_page == NULL || len > REQUEST_MAX ||
        value->size_bytes > MIR__HTTP_SMALL_BODY || !is_plain(exchange))
        return;
    struct mir__http_ready *slot = slot_of(server, exchange->head.data, len);
    struct mir__http_text_out out = {.at = slot->length, .end = slot->length + sizeof slot->length};
    mir__http_put_text(&out, "Content-Length: ");
    mir__http_put_number(&out, value->size_bytes);
    mir__http_put(&out, "\r\n\r\n", 4);
    slot->length_len = (uint8_t)(out.at - slot->length);
    slot->value = value;
    slot->is_head = exchange->is_head;
    slot->len = (uint16_t)len;
    mir_memcpy(slot->request, exchange->head.data, len);
}

/* The whole answer in the scratch; its length, or 0 if it does not fit. */
static size_t build(struct mir_http_server *server, const struct mir__http_ready *slot)
{
    const struct mir_kv_body *value = slot->value;
    struct mir__http_text_out out = mir__http_text_begin(server);
    const char *from = out.at;
    if (mir__http_now(server) >= server->date_until_us)
        mir__http_server_refresh(server);
    mir__http_put(&out, server->ok, server->ok_len);
    mir__http_put(&out, value->head, value->head_len);
    mir__http_put(&out, slot->length, slot->length_len);
    if (!slot->is_head)
        mir__http_put(&out, value->page->base, value->size_bytes);
    return out.is_cut ? 0 : (size_t)(out.at - from);
}

bool mir__http_ready_answer(struct mir__http_conn *conn)
{
    struct mir_http_server *server = conn->server;
    uint32_t len = conn->in.len;
    if (server->ready_page == NULL || len > REQUEST_MAX ||
        server->limits.requests_per_connection != 0)
        return false;
    const struct mir__http_ready *slot = slot_of(server, conn->in.data, len);
    if (slot->value == NULL || slot->len != len ||
        mir_memcmp(slot->request, conn->in.data, len) != 0)
        return false;
    size_t size = build(server, slot), queued = 0;
    if (size == 0 || mir_tcp_send_room(conn->tcp) < size)
        return false;
    int r = mir_tcp_send(conn->tcp, server->out, size, &queued);
    if (r == -MIR_EAGAIN)
        return false;
    mir_view_release(&conn->in);
    server->stats.requests++;
    server->stats.responses_2xx++;
    server->stats.responses_ready++;
    server->stats.bytes_out += queued;
    conn->requests++;
    /* There was room for all of it: less means that memory ran out in between. */
    if (r < 0 || queued != size)
        mir__http_conn_fail(conn, r < 0 ? r : -MIR_ENOMEM);
    return true;
}
