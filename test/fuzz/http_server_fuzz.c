/* SPDX-License-Identifier: ISC */
/* The whole HTTP server over the test double of a stack. The input is a script: bytes of requests,
 * cut anywhere, and what else happens to a connection. After it nothing may be left.
 *
 *   0xff op arg   op % 8: 0 a piece ends here, 1 room becomes arg x 16, 2 time passes (arg x 0.25
 * s), 3 FIN, 4 reset, 5 another connection, 6 the handler answers now, 7 allocation number arg from
 * now fails other bytes   go to the connection
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <mirari/http.h>
#include <mirari/platform.h>

#include "test/harness/faketcp.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void mir_platform_abort(const char *text)
{
    fprintf(stderr, "%s\n", text);
    abort();
}

static uint8_t value_bytes[5000];
static struct mir_io_page value_page = {
    .base = value_bytes, .size_bytes = sizeof value_bytes, .flags = MIR_PAGE_STATIC};
#define HEAD_LINES "Content-Type: text/plain\r\nETag: \"e\"\r\n"
#define VALUE(n)                                                                                   \
    {                                                                                              \
        .page = &value_page, .size_bytes = n, .etag = "\"e\"", .head = HEAD_LINES,                 \
        .head_len = sizeof HEAD_LINES - 1                                                          \
    }
static const struct mir_kv_entry small = {
    "s", 1, "text/plain", 784111777000000, {VALUE(20), VALUE(10), VALUE(5)}};
static const struct mir_kv_entry large = {"l", 1, "text/plain", 0, {VALUE(5000)}};
static const struct mir_kv_entry folder = {"d/index.html", 12, "text/html", 0, {VALUE(30)}};

static int get(struct mir_kv *kv, const char *key, size_t len, const struct mir_kv_entry **entry)
{
    (void)kv;
    const struct mir_kv_entry *all[] = {&small, &large, &folder};
    for (size_t i = 0; i < MIR_ARRAY_LEN(all); i++) {
        if (all[i]->key_len == len && memcmp(all[i]->key, key, len) == 0) {
            *entry = all[i];
            return 0;
        }
    }
    return -MIR_ENOENT;
}

static struct mir_http_exchange *held[16];

static void forget(struct mir_http_exchange *exchange, int error, void *arg)
{
    (void)error, (void)arg;
    for (size_t i = 0; i < MIR_ARRAY_LEN(held); i++)
        held[i] = held[i] == exchange ? NULL : held[i];
}

static void hold(struct mir_http_exchange *exchange)
{
    for (size_t i = 0; i < MIR_ARRAY_LEN(held); i++) {
        if (held[i] == NULL) {
            held[i] = exchange;
            mir_http_on_end(exchange, forget, NULL);
            return;
        }
    }
    (void)!mir_http_respond(exchange, 503, NULL, NULL, 0);
}

static void on_body(struct mir_http_exchange *exchange, const uint8_t *data, size_t len,
                    bool is_last, void *arg)
{
    static uint8_t sum;
    (void)arg;
    for (size_t i = 0; i < len; i++) /* ASan looks at each */
        sum ^= data[i];
    value_bytes[0] = sum;
    if (len % 7 == 6)
        mir_http_pause_body(exchange);
    if (is_last)
        (void)!mir_http_respond(exchange, 200, "text/plain", value_bytes, 100);
}

static void on_writable(struct mir_http_exchange *exchange, void *arg)
{
    (void)arg;
    int r = 0;
    while (r == 0 && mir_http_send_room(exchange) > 0)
        r = mir_http_send(exchange, value_bytes, 700);
    if (r == -MIR_ERANGE)
        (void)!mir_http_finish(exchange);
}

/* The query says how it behaves. */
static void handler(struct mir_http_exchange *exchange, void *arg)
{
    struct mir_http_text query = mir_http_query(exchange);
    char how = query.len > 0 ? query.text[0] : 'r';
    (void)arg;
    (void)mir_http_header(exchange, "host");
    hold(exchange);
    if (how == 'b')
        mir_http_read_body(exchange, on_body, NULL);
    else if (how == 'r')
        (void)!mir_http_respond(exchange, 200, "text/plain", value_bytes, sizeof value_bytes);
    else if (how == 's' || how == 'c') {
        mir_http_on_writable(exchange, on_writable, NULL);
        if (mir_http_begin(exchange, 200, NULL, how == 's' ? 7000 : UINT64_MAX) == 0)
            on_writable(exchange, NULL);
    } /* else later */
}

static void answer_held(uint8_t arg)
{
    struct mir_http_exchange *exchange = held[arg % MIR_ARRAY_LEN(held)];
    if (exchange == NULL)
        return;
    mir_http_resume_body(exchange);
    if (mir_http_add_header(exchange, "X-Y", "z") < 0 ||
        mir_http_respond(exchange, 200, "text/plain", value_bytes, (size_t)arg * 19) < 0)
        (void)!mir_http_finish(exchange);
}

static void act(struct fake_stack *fake, struct fake_conn **conn, uint8_t op, uint8_t arg)
{
    switch (op % 8) {
    case 1:
        fake_set_room(*conn, arg * 16u);
        break;
    case 2:
        fake_advance(fake, arg * 250000ull);
        break;
    case 3:
        fake_send_fin(*conn);
        break;
    case 4:
        if (!(*conn)->is_closed)
            fake_reset(*conn);
        break;
    case 5:
        *conn = fake_connect(fake);
        break;
    case 6:
        answer_held(arg);
        fake_run(fake);
        break;
    case 7:
        mir_page_pool_fail_at(&fake->pages, arg);
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fake_stack fake;
    static const struct mir_kv_ops ops = {.get = get};
    static struct mir_kv kv = {&ops};
    struct mir_http_server *server;
    if (size > 4000)
        return 0;
    fake_stack_init(&fake, 4 << 20);
    struct mir_http_config config = {
        .stack = &fake.stack,
        .limits = {.request_line_bytes = 500,
                   .header_bytes = 2000,
                   .body_bytes = 100000,
                   .connections = 6,
                   .requests_per_connection = 30},
    };
    if (mir_http_server_open(&config, &server) < 0 || mir_http_route_kv(server, "/", &kv) < 0 ||
        mir_http_route(server, "/h", 127, handler, NULL) < 0)
        abort();
    struct fake_conn *conn = fake_connect(&fake);
    for (size_t at = 0, from = 0; at <= size; at++) {
        if (at < size && data[at] != 0xff)
            continue;
        if (at > from && !conn->is_closed && conn->in_count < MIR_ARRAY_LEN(conn->in))
            fake_send(conn, data + from, at - from);
        if (at + 2 < size)
            act(&fake, &conn, data[at + 1], data[at + 2]);
        at += 2;
        from = at + 1;
    }
    mir_page_pool_fail_at(&fake.pages, 0);
    while (fake.conns != NULL)
        fake_conn_free(fake.conns);
    mir_http_server_close(server);
    if (!fake_stack_fini(&fake))
        abort();
    for (size_t i = 0; i < MIR_ARRAY_LEN(held); i++) {
        if (held[i] != NULL) /* an end is told for every exchange */
            abort();
    }
    return 0;
}
