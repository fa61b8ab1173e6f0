/* SPDX-License-Identifier: ISC */
/* An HTTP server over the stack that is a test double, with a store, handlers that do what servers
 * meet in life, and ways to look at answers. For test programs that include it once.
 */
#ifndef TEST_HTTPBED_H
#define TEST_HTTPBED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mirari/http.h>

#include "test/harness/faketcp.h"
#include "test/harness/tap.h"

/* ---- a store ------------------------------------------------------------------------------------
 */

static uint8_t big_bytes[300000];
static uint8_t index_bytes[] = "<h1>index</h1>\n";
static uint8_t index_gz[] = "GZIPPED";
static uint8_t index_br[] = "BR";
static uint8_t digits[] = "0123456789abcdefghij";

#define PAGE(bytes, size)                                                                          \
    {                                                                                              \
        .base = bytes, .size_bytes = size, .flags = MIR_PAGE_STATIC                                \
    }
static struct mir_io_page pages[] = {PAGE(index_bytes, 15),
                                     PAGE(index_gz, 7),
                                     PAGE(index_br, 2),
                                     PAGE(digits, 20),
                                     PAGE(big_bytes, sizeof big_bytes),
                                     PAGE(digits, 0)};

#define HEAD(type, etag, more) "Content-Type: " type "\r\n" more "ETag: \"" etag "\"\r\n"
#define BODY(i, n, type, tag, more)                                                                \
    {                                                                                              \
        .page = &pages[i], .size_bytes = n, .etag = "\"" tag "\"", .head = HEAD(type, tag, more),  \
        .head_len = sizeof HEAD(type, tag, more) - 1                                               \
    }
#define VARY       "Vary: Accept-Encoding\r\n"
#define MODIFIED_S 784111777ull /* Sun, 06 Nov 1994 08:49:37 GMT */
static const struct mir_kv_entry entries[] = {
    {"404.html", 8, "text/html", 0, {BODY(3, 20, "text/html", "nf", "")}},
    {"a b.txt", 7, "text/plain", 0, {BODY(3, 20, "text/plain", "ab", "")}},
    {"big.bin",
     7,
     "application/octet-stream",
     0,
     {BODY(4, sizeof big_bytes, "application/octet-stream", "big", "")}},
    {"digits", 6, "text/plain", MODIFIED_S *MIR_US_PER_S, {BODY(3, 20, "text/plain", "d1", "")}},
    {"dir/index.html", 14, "text/html", 0, {BODY(0, 15, "text/html", "di", "")}},
    {"empty", 5, "text/plain", 0, {BODY(5, 0, "text/plain", "e0", "")}},
    {"index.html",
     10,
     "text/html",
     0,
     {BODY(0, 15, "text/html", "i0", VARY),
      BODY(1, 7, "text/html", "i1", VARY "Content-Encoding: gzip\r\n"),
      BODY(2, 2, "text/html", "i2", VARY "Content-Encoding: br\r\n")}},
};

MIR_UNUSED static int test_get(struct mir_kv *kv, const char *key, size_t len,
                               const struct mir_kv_entry **e)
{
    (void)kv;
    for (size_t i = 0; i < MIR_ARRAY_LEN(entries); i++) {
        if (entries[i].key_len == len && memcmp(entries[i].key, key, len) == 0) {
            *e = &entries[i];
            return 0;
        }
    }
    return -MIR_ENOENT;
}
static const struct mir_kv_ops test_kv_ops = {.get = test_get};
static struct mir_kv test_kv = {&test_kv_ops};

/* ---- a world
 * ------------------------------------------------------------------------------------- */

static mir_time_us wall_us;
MIR_UNUSED static mir_time_us read_wall(struct mir_clock *clock)
{
    (void)clock;
    return wall_us;
}
static struct mir_clock test_clock = {.wall = read_wall};

static struct fake_stack fake;
static struct mir_http_server *server;
static struct mir_http_exchange *held;  /* by the "later" handler */
static struct mir_http_exchange *taken; /* of the last upload */
static char upload[70000];
static size_t upload_len;
static int ends, last_error, lasts;
static bool pause_next;

MIR_UNUSED static void on_end(struct mir_http_exchange *exchange, int error, void *arg)
{
    (void)exchange, (void)arg;
    ends++;
    last_error = error;
    held = NULL;
}

MIR_UNUSED static void later(struct mir_http_exchange *exchange, void *arg)
{
    (void)arg;
    held = exchange;
    mir_http_on_end(exchange, on_end, NULL);
}

MIR_UNUSED static void hello(struct mir_http_exchange *exchange, void *arg)
{
    (void)arg;
    int r = mir_http_respond(exchange, 200, "text/plain", "hello", 5);
    check_int(r, ==, 0);
    check_int(mir_http_respond(exchange, 200, NULL, "again", 5), ==, -MIR_EEXIST);
}

MIR_UNUSED static void on_body(struct mir_http_exchange *exchange, const uint8_t *data, size_t len,
                               bool is_last, void *arg)
{
    (void)arg;
    check_int(upload_len + len, <=, sizeof upload);
    if (len > 0 && upload_len + len <= sizeof upload)
        memcpy(upload + upload_len, data, len);
    upload_len += len;
    lasts += is_last;
    if (pause_next) {
        pause_next = false;
        held = exchange;
        mir_http_pause_body(exchange);
    }
    if (is_last) {
        char text[64];
        int n = snprintf(text, sizeof text, "got %zu", upload_len);
        check_int(mir_http_respond(exchange, 200, "text/plain", text, (size_t)n), ==, 0);
    }
}

MIR_UNUSED static void take_upload(struct mir_http_exchange *exchange, void *arg)
{
    (void)arg;
    upload_len = 0;
    taken = exchange;
    mir_http_on_end(exchange, on_end, NULL);
    mir_http_read_body(exchange, on_body, NULL);
}

MIR_UNUSED static void take_zipped(struct mir_http_exchange *exchange, void *arg)
{
    check_int(mir_http_add_header(exchange, "Content-Encoding", "gzip"), ==, 0);
    take_upload(exchange, arg);
}

static int stream_left, stream_step;
MIR_UNUSED static void stream_more(struct mir_http_exchange *exchange, void *arg)
{
    (void)arg;
    while (stream_left > 0) {
        char piece[1000];
        memset(piece, 'a' + stream_left % 26, sizeof piece);
        int r = mir_http_send(exchange, piece, (size_t)MIR_MIN(stream_left, stream_step));
        if (r == -MIR_EAGAIN)
            return;
        check_int(r, ==, 0);
        if (r < 0)
            return;
        stream_left -= MIR_MIN(stream_left, stream_step);
    }
    check_int(mir_http_finish(exchange), ==, 0);
}

MIR_UNUSED static void stream(struct mir_http_exchange *exchange, void *arg)
{
    struct mir_http_text query = mir_http_query(exchange);
    (void)arg;
    stream_left = 5000;
    stream_step = 1000;
    mir_http_on_end(exchange, on_end, NULL);
    mir_http_on_writable(exchange, stream_more, NULL);
    check_int(mir_http_add_header(exchange, "X-Test", "yes"), ==, 0);
    check_int(mir_http_begin(exchange, 200, "text/plain", query.len > 0 ? 5000 : UINT64_MAX), ==,
              0);
    stream_more(exchange, NULL);
}

static struct mir_http_limits test_limits;

MIR_UNUSED static void begin(void)
{
    for (size_t i = 0; i < sizeof big_bytes; i++)
        big_bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    fake_stack_init(&fake, 64 * 1024 * 1024);
    wall_us = MODIFIED_S * MIR_US_PER_S + 500000;
    struct mir_http_config config = {
        .stack = &fake.stack, .clock = &test_clock, .local.port = 80, .limits = test_limits};
    check_int(mir_http_server_open(&config, &server), ==, 0);
    check_int(mir_http_route_kv(server, "/", &test_kv), ==, 0);
    check_int(mir_http_route(server, "/hello", MIR_HTTP_GET, hello, NULL), ==, 0);
    check_int(mir_http_route(server, "/later", MIR_HTTP_GET, later, NULL), ==, 0);
    check_int(mir_http_route(server, "/stream", MIR_HTTP_GET, stream, NULL), ==, 0);
    check_int(mir_http_route(server, "/upload", MIR_HTTP_POST | MIR_HTTP_PUT, take_upload, NULL),
              ==, 0);
    check_int(mir_http_route(server, "/api/", MIR_HTTP_GET, hello, NULL), ==, 0);
    check_int(mir_http_route_kv(server, "/docs/", &test_kv), ==, 0);
    ends = lasts = last_error = 0;
    held = NULL;
    pause_next = false;
}

MIR_UNUSED static void end(void)
{
    while (fake.conns != NULL)
        fake_conn_free(fake.conns);
    struct mir_http_stats stats;
    mir_http_server_stats(server, &stats);
    check_int(stats.connections_open, ==, 0);
    mir_http_server_close(server);
    check(fake_stack_fini(&fake));
    test_limits = (struct mir_http_limits){0};
}

/* ---- looking at answers
 * ----------------------------------------------------------------------------- */

MIR_UNUSED static const char *ask(struct fake_conn *conn, const char *request)
{
    fake_clear(conn);
    fake_send_text(conn, request);
    return fake_text(conn);
}

MIR_UNUSED static int status_of(const char *answer)
{
    int status = 0;
    return sscanf(answer, "HTTP/1.1 %d ", &status) == 1 ? status : -1;
}

MIR_UNUSED static bool has(const char *answer, const char *text)
{
    bool found = strstr(answer, text) != NULL;
    if (!found)
        tap_note("no \"%s\" in: %.400s", text, answer);
    return found;
}

MIR_UNUSED static const char *body_of(const char *answer)
{
    const char *body = strstr(answer, "\r\n\r\n");
    return body != NULL ? body + 4 : "(no body)";
}

/* One request on a connection of its own. */
MIR_UNUSED static const char *once(const char *request)
{
    static char copy[400000];
    struct fake_conn *conn = fake_connect(&fake);
    snprintf(copy, sizeof copy, "%s", ask(conn, request));
    fake_conn_free(conn);
    return copy;
}

#define REQ(line, fields) line " HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
#define GET(path)         REQ("GET " path, "")

#endif
