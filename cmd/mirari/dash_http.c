/* SPDX-License-Identifier: ISC */
/* HTTP of `mirari dash`: who may ask what, the stream of samples, and what is asked of one
 * appliance.
 *
 *   GET  /, /style.css, ...        the page; holds nothing secret
 *   GET  /api/events               a look every second, as server-sent events
 *   GET  /api/detail?ID            connections, and the end of the log
 *   GET  /api/levels?ID            of the log
 *   POST /api/level     {"id", "set"}   full role only
 *   POST /api/shutdown  {"id"}          full role only
 *
 * Who may: the address that was printed ends in a token behind a "#", which a browser sends to
 * nobody; the page's script reads it there and shows it with every request (Authorization), and so
 * does no other page, not even one of another port of this host, to which a cookie would go.
 * Besides
 *
 *   - the socket is bound to 127.0.0.1;
 *   - Host must be that address, or localhost, with our port: a name that somebody else makes point
 *     here (DNS rebinding) is refused, and so is an Origin that is not ours;
 *   - the page may load nothing but its own parts, and be shown in no frame.
 *
 * A viewer that does not read is not sent to: when it has room again it gets the samples that it
 * missed, as far back as they are kept. Everything is bounded: viewers, requests, bodies.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/dash.h"

#define VIEWERS_MAX 16u
#define LOOK_US     MIR_US_PER_S
#define ANSWERS_US                                                                                 \
    (200 * MIR_US_PER_MS)               /* that a look's answers may take before they are shown    \
                                         */
#define WATCHED_US (120 * MIR_US_PER_S) /* how far graphs go back */
#define EVENT_MAX  ((size_t)1 << 20)
#define BODY_MAX   1024u
#define LOG_MAX    ((size_t)16 << 10)
#define TEXT_MAX   300u
#define JSON_TYPE  "application/json"

struct viewer {
    struct dash_web *web;
    struct mir_http_exchange *exchange; /* NULL: the place is free */
    struct look_cursor cursor;
};

struct dash_web {
    struct dash_web_config config;
    struct mir_http_server *server;
    char hosts[2][32]; /* that may be asked for */
    struct viewer viewers[VIEWERS_MAX];
    struct mir_timer look, show;
    mir_time_us watched_us; /* when somebody was here last */
    char *event;            /* [EVENT_MAX] */
};

/* A request whose answer comes later. */
struct wish {
    struct dash_web *web;
    struct mir_http_exchange *exchange;
    uint64_t call;
    char id[TEXT_MAX];
    bool is_detail, is_level;
    size_t body_len;
    char body[BODY_MAX + 1];
};

static mir_time_us now_of(const struct dash_web *web)
{
    return mir_loop_now(web->config.loop);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

/* What every answer says. Room for these few lines is always there; without memory for them there
 * is no answer. */
static bool add_headers(struct mir_http_exchange *exchange)
{
    static const char *const lines[][2] = {
        {"Content-Security-Policy",
         "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src "
         "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cache-Control", "no-store"},
    };
    for (size_t i = 0; i < LEN(lines); i++) {
        if (mir_http_add_header(exchange, lines[i][0], lines[i][1]) < 0) {
            mir_http_abort(exchange);
            return false;
        }
    }
    return true;
}

static void respond(struct mir_http_exchange *exchange, unsigned status, const char *type,
                    const void *body, size_t len)
{
    if (add_headers(exchange))
        (void)mir_http_respond(exchange, status, type, body, len); /* or the client is gone */
}

static void respond_error(struct mir_http_exchange *exchange, unsigned status, const char *text)
{
    struct str body = {0};
    str_text(&body, "{\"error\":");
    str_json(&body, text);
    str_text(&body, "}\n");
    respond(exchange, status, JSON_TYPE, body.data, body.len);
    str_free(&body);
}

/* ---- who may ----------------------------------------------------------------------------------
 */

static bool equals(struct mir_http_text text, const char *wanted)
{
    return text.text != NULL && text.len == strlen(wanted) &&
           memcmp(text.text, wanted, text.len) == 0;
}

/* Is the request from our own page, or from no page at all? */
static bool is_ours(const struct dash_web *web, const struct mir_http_exchange *exchange)
{
    struct mir_http_text host = mir_http_header(exchange, "host");
    struct mir_http_text origin = mir_http_header(exchange, "origin");
    struct mir_http_text site = mir_http_header(exchange, "sec-fetch-site");
    static const char scheme[] = "http://";
    size_t len = sizeof(scheme) - 1;
    if (!equals(host, web->hosts[0]) && !equals(host, web->hosts[1]))
        return false;
    if (origin.text != NULL &&
        (origin.len != len + host.len || memcmp(origin.text, scheme, len) != 0 ||
         memcmp(origin.text + len, host.text, host.len) != 0))
        return false;
    return site.text == NULL || equals(site, "same-origin") || equals(site, "none");
}

/* The time it takes says nothing about how much was right. */
static bool has_token(const struct dash_web *web, const struct mir_http_exchange *exchange)
{
    struct mir_http_text given = mir_http_header(exchange, "authorization");
    static const char scheme[] = "Bearer ";
    size_t at = sizeof(scheme) - 1, len = strlen(web->config.token);
    unsigned char difference = 0;
    if (given.text == NULL || given.len != at + len || memcmp(given.text, scheme, at) != 0)
        return false;
    for (size_t i = 0; i < len; i++)
        difference |= (unsigned char)(given.text[at + i] ^ web->config.token[i]);
    return difference == 0;
}

/* ---- the stream of looks ----------------------------------------------------------------------
 */

static void show(struct dash_web *web, struct viewer *viewer)
{
    struct mir_json_out out;
    static const char head[] = "data: ", tail[] = "\n\n";
    if (mir_http_send_room(viewer->exchange) == 0)
        return;
    struct look_cursor before = viewer->cursor;
    memcpy(web->event, head, sizeof(head));
    size_t at = sizeof(head) - 1;
    mir_json_out_init(&out, web->event + at, EVENT_MAX - at - sizeof(tail));
    mir_json_begin(&out, '{');
    mir_json_member_text(&out, "role", web->config.is_read_only ? "read-only" : "full");
    mir_json_member_u64(&out, "now_ms", now_of(web) / MIR_US_PER_MS);
    mir_json_key(&out, "appliances");
    look_tell(web->config.look, &viewer->cursor, &out);
    mir_json_end(&out, '}');
    at += out.len;
    memcpy(web->event + at, tail, sizeof(tail) - 1);
    if (out.is_full || mir_http_send(viewer->exchange, web->event, at + sizeof(tail) - 1) < 0)
        viewer->cursor = before;
}

static void on_show(void *arg)
{
    struct dash_web *web = arg;
    for (size_t i = 0; i < VIEWERS_MAX; i++) {
        if (web->viewers[i].exchange != NULL)
            show(web, &web->viewers[i]);
    }
}

static void on_look(void *arg)
{
    struct dash_web *web = arg;
    for (size_t i = 0; i < VIEWERS_MAX; i++) {
        if (web->viewers[i].exchange != NULL)
            web->watched_us = now_of(web);
    }
    if (now_of(web) - web->watched_us > WATCHED_US) {
        look_rest(web->config.look);
        return;
    }
    look_around(web->config.look);
    mir_timer_set(web->config.loop, &web->show, now_of(web) + ANSWERS_US);
    mir_timer_set(web->config.loop, &web->look, now_of(web) + LOOK_US);
}

/* Somebody is here. */
static void wake(struct dash_web *web)
{
    web->watched_us = now_of(web);
    if (!mir_timer_is_set(&web->look))
        on_look(web);
}

static void viewer_left(struct mir_http_exchange *exchange, int error, void *arg)
{
    struct viewer *viewer = arg;
    (void)exchange, (void)error;
    viewer->exchange = NULL;
}

static void serve_events(struct dash_web *web, struct mir_http_exchange *exchange)
{
    struct viewer *viewer = NULL;
    for (size_t i = 0; i < VIEWERS_MAX && viewer == NULL; i++)
        viewer = web->viewers[i].exchange == NULL ? &web->viewers[i] : NULL;
    if (viewer == NULL) {
        respond_error(exchange, 503, "too many pages watch already; close one");
        return;
    }
    if (!add_headers(exchange) ||
        mir_http_begin(exchange, 200, "text/event-stream", UINT64_MAX) < 0)
        return;
    *viewer = (struct viewer){.web = web, .exchange = exchange};
    mir_http_on_end(exchange, viewer_left, viewer);
    if (!mir_timer_is_set(&web->look))
        wake(web); /* the first look is shown when it was answered */
    else
        show(web, viewer);
}

/* ---- one appliance ----------------------------------------------------------------------------
 */

static void wish_ended(struct mir_http_exchange *exchange, int error, void *arg)
{
    struct wish *wish = arg;
    (void)exchange, (void)error;
    look_forget(wish->web->config.look, wish->call);
    free(wish);
}

static void put_rows(struct str *body, const struct str *rows, bool is_cut)
{
    str_text(body, "\"rows\":[");
    if (rows->len > 0)
        str_add(body, rows->data, rows->len);
    str_format(body, "],\"more\":%s", is_cut ? "true" : "false");
}

/* The end of the log, as the page shows it: what is no UTF-8 is replaced. */
static void put_log(struct str *body, const struct wish *wish)
{
    struct str log = {0};
    struct mir_json_out out;
    size_t size = 6 * LOG_MAX + 16;
    char *text = need(size);
    (void)look_log(wish->web->config.look, wish->id, LOG_MAX, &log);
    mir_json_out_init(&out, text, size);
    mir_json_put_bytes(&out, log.data != NULL ? log.data : "", log.len);
    str_text(body, ",\"log\":");
    str_add(body, text, out.len);
    str_free(&log);
    free(text);
}

static void on_answer(void *arg, enum look_result result, const char *text, const struct str *rows,
                      bool is_cut)
{
    static const unsigned statuses[] = {
        [LOOK_DONE] = 200, [LOOK_REFUSED] = 409, [LOOK_SILENT] = 504, [LOOK_GONE] = 404};
    struct wish *wish = arg;
    struct str body = {0};
    wish->call = 0;
    if (!wish->is_detail && result != LOOK_DONE) {
        respond_error(wish->exchange, statuses[result], text);
        return;
    }
    str_text(&body, "{");
    if (wish->is_detail) { /* the log is there whatever the appliance says, or does not say */
        put_rows(&body, rows, is_cut);
        put_log(&body, wish);
        str_text(&body, ",\"error\":");
        str_json(&body, result != LOOK_DONE ? text : NULL);
    } else {
        str_format(&body, "\"result\":%s", text);
    }
    str_text(&body, "}\n");
    respond(wish->exchange, 200, JSON_TYPE, body.data, body.len);
    str_free(&body);
}

static void ask(struct wish *wish, const char *method, const char *params)
{
    wake(wish->web);
    wish->call = look_call(wish->web->config.look, wish->id, method, params, on_answer, wish);
}

static struct wish *begin_wish(struct dash_web *web, struct mir_http_exchange *exchange)
{
    struct wish *wish = need(sizeof(*wish));
    *wish = (struct wish){.web = web, .exchange = exchange};
    mir_http_on_end(exchange, wish_ended, wish);
    return wish;
}

static void serve_one(struct dash_web *web, struct mir_http_exchange *exchange, bool is_detail)
{
    struct mir_http_text query = mir_http_query(exchange);
    if (query.text == NULL || query.len == 0 || query.len >= TEXT_MAX) {
        respond_error(exchange, 400, "name an appliance behind the \"?\"");
        return;
    }
    struct wish *wish = begin_wish(web, exchange);
    memcpy(wish->id, query.text, query.len);
    wish->is_detail = is_detail;
    if (is_detail)
        ask(wish, "netstat", "{\"info\":false}");
    else
        ask(wish, "log.levels", "{}");
}

/* The body of a POST is there. */
static void act(struct wish *wish)
{
    struct mir_json json;
    struct mir_json_node nodes[16];
    struct str params = {0};
    char set[TEXT_MAX] = "";
    size_t error_at;
    int r = mir_json_parse(&json, wish->body, wish->body_len, nodes, LEN(nodes), &error_at);
    if (r == 0)
        r = mir_json_text(&json, mir_json_find(&json, 0, "id"), wish->id, sizeof(wish->id));
    if (r == 0 && wish->is_level)
        r = mir_json_text(&json, mir_json_find(&json, 0, "set"), set, sizeof(set));
    if (r < 0) {
        respond_error(wish->exchange, 400, "the request is not what the page sends");
        return;
    }
    str_text(&params, "{");
    if (wish->is_level) {
        str_text(&params, "\"set\":");
        str_json(&params, set);
    }
    str_text(&params, "}");
    ask(wish, wish->is_level ? "log.set" : "shutdown", params.data);
    str_free(&params);
}

static void on_body(struct mir_http_exchange *exchange, const uint8_t *data, size_t len,
                    bool is_last, void *arg)
{
    struct wish *wish = arg;
    if (len > BODY_MAX - wish->body_len) {
        respond_error(exchange, 413, "the request is too long");
        return;
    }
    if (len > 0)
        memcpy(wish->body + wish->body_len, data, len);
    wish->body_len += len;
    if (is_last)
        act(wish);
}

static void serve_action(struct dash_web *web, struct mir_http_exchange *exchange, bool is_level)
{
    if (web->config.is_read_only) {
        respond_error(exchange, 403, "mirari dash runs with --read-only");
        return;
    }
    struct wish *wish = begin_wish(web, exchange);
    wish->is_level = is_level;
    mir_http_read_body(exchange, on_body, wish);
}

/* ---- the server -------------------------------------------------------------------------------
 */

static void serve_api(struct dash_web *web, struct mir_http_exchange *exchange,
                      struct mir_http_text path)
{
    bool is_post = mir_http_method(exchange) == MIR_HTTP_POST;
    if (!has_token(web, exchange))
        respond_error(exchange, 401, "open the address that mirari dash has printed, whole");
    else if (!is_post && equals(path, "/api/events"))
        serve_events(web, exchange);
    else if (!is_post && equals(path, "/api/detail"))
        serve_one(web, exchange, true);
    else if (!is_post && equals(path, "/api/levels"))
        serve_one(web, exchange, false);
    else if (is_post && equals(path, "/api/level"))
        serve_action(web, exchange, true);
    else if (is_post && equals(path, "/api/shutdown"))
        serve_action(web, exchange, false);
    else
        respond_error(exchange, 404, "there is no such thing");
}

static void serve(struct mir_http_exchange *exchange, void *arg)
{
    struct dash_web *web = arg;
    static const char api[] = "/api/";
    struct mir_http_text path = mir_http_path(exchange);
    const struct dash_file *file = dash_page_file(path);
    if (!is_ours(web, exchange))
        respond_error(exchange, 403, "this is asked for another host or by another page");
    else if (path.len >= sizeof(api) - 1 && memcmp(path.text, api, sizeof(api) - 1) == 0)
        serve_api(web, exchange, path);
    else if (file != NULL && mir_http_method(exchange) != MIR_HTTP_POST)
        respond(exchange, 200, file->media_type, file->data, file->len);
    else
        respond_error(exchange, 404, "there is no such page");
}

int dash_web_open(const struct dash_web_config *config, struct dash_web **out, uint16_t *port)
{
    struct mir_http_config http = {
        .stack = config->stack,
        .clock = config->clock,
        .local = {.ip = mir_ip_from_v4(0x7f000001), .port = config->port},
        .limits = {.connections = 48, .header_bytes = 8192, .body_bytes = BODY_MAX},
    };
    struct dash_web *web = need(sizeof(*web));
    struct mir_endpoint local;
    web->config = *config;
    web->event = need(EVENT_MAX);
    mir_timer_init(&web->look, on_look, web);
    mir_timer_init(&web->show, on_show, web);
    int r = mir_http_server_open(&http, &web->server);
    if (r == 0)
        r = mir_http_route(web->server, "/", MIR_HTTP_GET | MIR_HTTP_POST, serve, web);
    if (r < 0) {
        if (web->server != NULL)
            mir_http_server_close(web->server);
        free(web->event);
        free(web);
        return r;
    }
    mir_http_server_local(web->server, &local);
    /* Browsers do not write the port that http has anyway. */
    char suffix[8] = "";
    if (local.port != 80)
        snprintf(suffix, sizeof(suffix), ":%u", local.port);
    snprintf(web->hosts[0], sizeof(web->hosts[0]), "127.0.0.1%s", suffix);
    snprintf(web->hosts[1], sizeof(web->hosts[1]), "localhost%s", suffix);
    *out = web;
    *port = local.port;
    return 0;
}

void dash_web_close(struct dash_web *web)
{
    mir_timer_cancel(&web->look);
    mir_timer_cancel(&web->show);
    mir_http_server_close(web->server);
    free(web->event);
    free(web);
}
