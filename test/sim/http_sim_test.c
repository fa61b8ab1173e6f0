/* SPDX-License-Identifier: ISC */
/* The HTTP server on the real stack, over wires that lose, reorder, double and damage frames: every
 * byte of every answer is compared, whole files, ranges at odd offsets, streams and uploads. The
 * store's pages carry block sums, so wrong ones show as transfers that never end.
 *
 *   http_sim_test [--seed N] [--count N]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mirari/http.h>

#include "target/sim/sim.h"
#include "test/harness/tap.h"

#define BIG      300001u
#define SMALL    600u
#define CLIENTS  8
#define REQUESTS 12

/* ---- what is served ---------------------------------------------------------------------------
 */

static uint8_t big_bytes[75 * MIR_PAGE_SIZE] MIR_ALIGNED(4096);
static uint16_t big_sums[sizeof big_bytes / MIR_PAGE_SUM_BLOCK + 1];
static struct mir_io_page big_page = {.base = big_bytes,
                                      .size_bytes = sizeof big_bytes,
                                      .flags = MIR_PAGE_STATIC | MIR_PAGE_READONLY,
                                      .block_sums = big_sums};
#define LINES "Content-Type: application/octet-stream\r\nETag: \"x\"\r\n"
#define VALUE(n)                                                                                   \
    {                                                                                              \
        {                                                                                          \
            .page = &big_page, .size_bytes = n, .etag = "\"x\"", .head = LINES,                    \
            .head_len = sizeof LINES - 1                                                           \
        }                                                                                          \
    }
static const struct mir_kv_entry big_entry = {"big", 3, "x/y", 0, VALUE(BIG)};
static const struct mir_kv_entry small_entry = {"small", 5, "x/y", 0, VALUE(SMALL)};

static void make_big(void)
{
    uint32_t sum = 0, seed = 7;
    for (uint32_t i = 0; i < BIG; i++)
        big_bytes[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
    for (uint32_t i = 0; i < sizeof big_bytes; i += 2) {
        if (i % MIR_PAGE_SUM_BLOCK == 0)
            big_sums[i / MIR_PAGE_SUM_BLOCK] = (uint16_t)sum;
        sum += big_bytes[i] | (uint32_t)big_bytes[i + 1] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    big_sums[sizeof big_bytes / MIR_PAGE_SUM_BLOCK] = (uint16_t)sum;
}

static int get(struct mir_kv *kv, const char *key, size_t len, const struct mir_kv_entry **entry)
{
    (void)kv;
    *entry = len == 3 ? &big_entry : &small_entry;
    return (len == 3 && memcmp(key, "big", 3) == 0) || (len == 5 && memcmp(key, "small", 5) == 0)
               ? 0
               : -MIR_ENOENT;
}

/* The big value again, copied piece by piece, as a chunked stream. */
static void more(struct mir_http_exchange *exchange, void *arg)
{
    uint32_t *at = arg;
    while (*at < BIG) {
        uint32_t n = MIR_MIN(BIG - *at, 7777u);
        int r = mir_http_send(exchange, big_bytes + *at, n);
        if (r < 0)
            return;
        *at += n;
    }
    (void)mir_http_finish(exchange);
}

static void end_stream(struct mir_http_exchange *exchange, int error, void *arg)
{
    (void)exchange, (void)error;
    free(arg);
}

static void stream(struct mir_http_exchange *exchange, void *arg)
{
    uint32_t *at = calloc(1, sizeof *at);
    (void)arg;
    mir_http_on_end(exchange, end_stream, at);
    mir_http_on_writable(exchange, more, at);
    if (mir_http_begin(exchange, 200, NULL, BIG) == 0)
        more(exchange, at);
}

/* An upload is the big value, as much of it as comes; the answer says how much was right. */
static void take(struct mir_http_exchange *exchange, const uint8_t *data, size_t len, bool is_last,
                 void *arg)
{
    uint32_t *at = arg;
    if (*at + len <= BIG && (len == 0 || memcmp(data, big_bytes + *at, len) == 0))
        *at += (uint32_t)len;
    if (is_last) {
        char text[16];
        snprintf(text, sizeof text, "%010u", *at);
        (void)mir_http_respond(exchange, 200, NULL, text, 10);
    }
}

static void upload(struct mir_http_exchange *exchange, void *arg)
{
    uint32_t *at = calloc(1, sizeof *at);
    (void)arg;
    mir_http_on_end(exchange, end_stream, at);
    mir_http_read_body(exchange, take, at);
}

/* ---- clients -----------------------------------------------------------------------------------
 */

enum kind { GET_BIG, GET_RANGE, GET_SMALL, GET_STREAM, PUT_UPLOAD, KINDS };

struct client {
    struct mir_sim_node *node;
    struct mir_tcp *tcp;
    enum kind kind;
    uint32_t done;
    /* request */
    char head[300];
    uint32_t head_len, sent, body_len;
    /* answer */
    char got_head[600];
    uint32_t got_head_len, got_body;
    bool in_body;
    uint32_t first, len; /* of the big value */
    char upload_text[16];
};

static struct client clients[CLIENTS];
static uint32_t finished, wrong;
static struct mir_sim *sim;
static struct mir_rng dice;

static void next_request(struct client *c)
{
    c->kind = (enum kind)mir_rng_below(&dice, KINDS);
    c->first = 0;
    c->len = c->kind == GET_SMALL ? SMALL : BIG;
    c->body_len = 0;
    const char *const paths[KINDS] = {"GET /big", "GET /big", "GET /small", "GET /stream",
                                      "PUT /upload"};
    char more_lines[100] = "";
    if (c->kind == GET_RANGE) {
        c->first = mir_rng_below(&dice, BIG);
        c->len = 1 + mir_rng_below(&dice, BIG - c->first);
        snprintf(more_lines, sizeof more_lines, "Range: bytes=%u-%u\r\n", c->first,
                 c->first + c->len - 1);
    } else if (c->kind == PUT_UPLOAD) {
        c->body_len = mir_rng_below(&dice, BIG);
        c->len = 10;
        snprintf(c->upload_text, sizeof c->upload_text, "%010u", c->body_len);
        snprintf(more_lines, sizeof more_lines, "Content-Length: %u\r\n", c->body_len);
    }
    c->head_len = (uint32_t)snprintf(c->head, sizeof c->head, "%s HTTP/1.1\r\nHost: h\r\n%s\r\n",
                                     paths[c->kind], more_lines);
    c->sent = c->got_head_len = c->got_body = 0;
    c->in_body = false;
}

/* Head, then as much of the big value as the upload has. */
static void send_request(struct client *c)
{
    while (c->sent < c->head_len + c->body_len) {
        bool is_head = c->sent < c->head_len;
        uint32_t at = is_head ? c->sent : c->sent - c->head_len;
        const void *data = is_head ? (const void *)(c->head + at) : big_bytes + at;
        size_t n = 0;
        if (mir_tcp_send(c->tcp, data, (is_head ? c->head_len : c->body_len) - at, &n) < 0)
            return;
        c->sent += (uint32_t)n;
    }
}

static void take_head(struct client *c)
{
    char wanted[60];
    c->got_head[c->got_head_len] = '\0';
    snprintf(wanted, sizeof wanted, "\r\nContent-Length: %u\r\n", c->len);
    bool is_right =
        strncmp(c->got_head, c->kind == GET_RANGE ? "HTTP/1.1 206" : "HTTP/1.1 200", 12) == 0 &&
        strstr(c->got_head, wanted) != NULL;
    if (!is_right) {
        tap_note("kind %d: %s", c->kind, c->got_head);
        wrong++;
    }
    c->in_body = true;
}

static void take_byte(struct client *c, uint8_t byte)
{
    if (c->in_body) {
        uint8_t right = c->kind == PUT_UPLOAD ? (uint8_t)c->upload_text[c->got_body]
                                              : big_bytes[c->first + c->got_body];
        wrong += byte != right;
        c->got_body++;
        return;
    }
    if (c->got_head_len + 1 < sizeof c->got_head)
        c->got_head[c->got_head_len++] = (char)byte;
    if (c->got_head_len > 4 && memcmp(c->got_head + c->got_head_len - 4, "\r\n\r\n", 4) == 0)
        take_head(c);
}

static void on_client(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct client *c = arg;
    struct mir_view view;
    if (events & MIR_TCP_FAILED) {
        tap_note("client failed: %s", mir_strerror(mir_tcp_error(tcp)));
        wrong++;
        finished++;
        mir_tcp_close(tcp);
        return;
    }
    while (mir_tcp_recv_view(tcp, &view) == 0) {
        for (uint32_t i = 0; i < view.len; i++) {
            take_byte(c, view.data[i]);
            if (c->in_body && c->got_body == c->len) {
                wrong += i + 1 != view.len; /* nothing comes unasked */
                c->done++;
                next_request(c);
            }
        }
        mir_view_release(&view);
    }
    if (c->done < REQUESTS) {
        send_request(c);
        return;
    }
    mir_tcp_close(tcp);
    if (++finished == CLIENTS)
        mir_sim_stop(sim);
}

/* ---- a run
 * ----------------------------------------------------------------------------------------- */

static void must(int r)
{
    if (r < 0) {
        tap_note("set-up: %s", mir_strerror(r));
        abort();
    }
}

static void run(uint64_t seed, const char *wire_text, uint32_t caps)
{
    static const struct mir_kv_ops ops = {.get = get};
    static struct mir_kv kv = {&ops};
    struct mir_sim_config config = {.seed = seed};
    struct mir_sim_node_config names[2] = {{.name = "server"}, {.name = "client"}};
    struct mir_sim_port_config ports[2] = {{.caps = caps}};
    struct mir_sim_wire_config wire = {0};
    struct mir_sim_node *a, *b;
    struct mir_http_server *server;
    size_t error;
    finished = wrong = 0;
    mir_rng_init_u64(&dice, seed);
    must(mir_sim_open(&config, &sim));
    must(mir_sim_add_host(sim, &names[0], &ports[0], "10.0.0.1/24", &a));
    must(mir_sim_add_host(sim, &names[1], &ports[1], "10.0.0.2/24", &b));
    must(mir_sim_wire_parse(wire_text, &wire, &error));
    must(mir_sim_join(&mir_sim_first_port(a)->plug, &mir_sim_first_port(b)->plug, &wire, NULL,
                      NULL));
    struct mir_http_config http = {.stack = a->stack, .clock = &a->clock, .local.port = 80};
    must(mir_http_server_open(&http, &server));
    must(mir_http_route_kv(server, "/", &kv));
    must(mir_http_route(server, "/stream", MIR_HTTP_GET, stream, NULL));
    must(mir_http_route(server, "/upload", MIR_HTTP_PUT, upload, NULL));
    struct mir_endpoint remote = {mir_ip_from_v4(0x0a000001), 80};
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.node = b};
        next_request(&clients[i]);
        must(mir_tcp_connect(b->stack, &remote, on_client, &clients[i], &clients[i].tcp));
    }
    mir_sim_wake(b);
    mir_sim_run(sim, mir_sim_now(sim) + 3000 * MIR_US_PER_S);
    check_int(finished, ==, CLIENTS);
    check_int(wrong, ==, 0);
    mir_sim_run(sim, mir_sim_now(sim) + 5 * MIR_US_PER_S);
    struct mir_http_stats stats;
    mir_http_server_stats(server, &stats);
    if (finished == CLIENTS && wrong == 0) {
        check_int(stats.requests, ==, CLIENTS * REQUESTS);
        check_int(stats.responses_2xx, ==, CLIENTS * REQUESTS);
        check_int(stats.connections_open, ==, 0);
    }
    struct mir_sim_stats sim_stats;
    mir_sim_get_stats(sim, &sim_stats);
    check_int(sim_stats.violations, ==, 0);
    mir_http_server_close(server);
    check_int(mir_sim_close(sim), ==, 0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *wire;
        uint32_t caps;
    } cases[] = {
        {"clean wire, checksums in software", "rate=1g,delay=100us", 0},
        {"clean wire, offloads", "rate=1g,delay=100us",
         MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_TX_SG},
        {"views without offloads", "rate=1g,delay=100us", MIR_NET_TX_SG},
        {"loss and reordering", "rate=100m,delay=2ms,loss=1%,reorder=2%", MIR_NET_TX_SG},
        {"everything", "rate=100m,delay=1ms,loss=1%,reorder=1%,dup=1%,corrupt=0.5%", 0},
        {"small queue", "rate=20m,delay=5ms,queue=32k", MIR_NET_TX_SG},
    };
    uint32_t count = 1;
    tap_begin("http_sim");
    uint64_t seed = tap_seed(argc, argv, 1);
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--count") == 0)
            count = (uint32_t)atoi(argv[i + 1]);
    }
    make_big();
    for (uint32_t s = 0; s < count; s++) {
        for (size_t i = 0; i < MIR_ARRAY_LEN(cases); i++) {
            tap_case("%s, seed %llu", cases[i].name, (unsigned long long)(seed + s));
            run(seed + s, cases[i].wire, cases[i].caps);
        }
    }
    return tap_done();
}
