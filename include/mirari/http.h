/* SPDX-License-Identifier: ISC */
/* HTTP/1.1 server (RFC 9110, 9112): routing to handlers and to key-value stores.
 *
 * A server takes connections of any stack. Static content goes out by reference: ready header
 * lines and pages of the store. A handler gets the parsed request, body pieces as they come, and
 * answers at once or later, whole or chunked.
 */
#ifndef MIRARI_HTTP_H
#define MIRARI_HTTP_H

#include <mirari/base.h>
#include <mirari/dev_kv.h>
#include <mirari/dev_clock.h>
#include <mirari/net.h>

struct mir_http_server;
struct mir_http_exchange;

enum mir_http_method {
    MIR_HTTP_GET = 1,
    MIR_HTTP_HEAD = 2,
    MIR_HTTP_POST = 4,
    MIR_HTTP_PUT = 8,
    MIR_HTTP_DELETE = 16,
    MIR_HTTP_OPTIONS = 32,
    MIR_HTTP_PATCH = 64,
};

/** Limits; 0 takes the default in brackets. What exceeds them gets the 4xx in the second bracket.
 */
struct mir_http_limits {
    uint32_t request_line_bytes;      /**< [8192] [414] */
    uint32_t header_bytes;            /**< all header lines [16384] [431] */
    uint32_t header_count;            /**< [100] [431] */
    uint64_t body_bytes;              /**< [1 GiB] [413] */
    uint32_t header_timeout_ms;       /**< first byte to end of headers [10000] [408] */
    uint32_t idle_timeout_ms;         /**< keep-alive wait [60000] [closed silently] */
    uint32_t body_timeout_ms;         /**< without progress [30000] [408] */
    uint32_t send_timeout_ms;         /**< without progress [30000] [aborted] */
    uint32_t connections;             /**< [10000] [503 and close] */
    uint32_t requests_per_connection; /**< [0 = no limit] [Connection: close] */
};

/** A slice of the request, not NUL-terminated; valid until the exchange ends. */
struct mir_http_text {
    const char *text;
    uint32_t len;
};

/** Body bytes, borrowed; @is_last marks the end (len may be 0 then). */
typedef void (*mir_http_body_fn)(struct mir_http_exchange *exchange, const uint8_t *data,
                                 size_t len, bool is_last, void *arg);
/** The exchange is over (answered, or the client left: @error < 0). Last call about it. */
typedef void (*mir_http_end_fn)(struct mir_http_exchange *exchange, int error, void *arg);
/** Room to send more of a streamed answer. */
typedef void (*mir_http_writable_fn)(struct mir_http_exchange *exchange, void *arg);

/** Called when the headers are complete. */
typedef void (*mir_http_handler_fn)(struct mir_http_exchange *exchange, void *arg);

struct mir_http_config {
    struct mir_stack *stack;
    struct mir_clock *clock;   /**< for Date; may be NULL */
    struct mir_endpoint local; /**< where to listen */
    struct mir_http_limits limits;
    const char *server_name; /**< Server header; NULL = "mirari" */
};

/** Listen as @config says. Returns 0, -MIR_EINVAL, -MIR_EADDRINUSE, -MIR_ENOMEM. */
int mir_http_server_open(const struct mir_http_config *config,
                         struct mir_http_server **server) MIR_CHECK;
/** Stop listening and end all connections. */
void mir_http_server_close(struct mir_http_server *server);

/** Route @prefix ("/api/" matches below it; "/exact" itself) and @methods to a handler. The longest
 *  prefix wins. Returns 0, -MIR_ELIMIT (32 routes), -MIR_EEXIST. */
int mir_http_route(struct mir_http_server *server, const char *prefix, unsigned methods,
                   mir_http_handler_fn handler, void *arg) MIR_CHECK;
/** Serve @prefix from a store: "/" + key; a key ending in "/" or empty takes "index.html";
 *  "/dir" is redirected to "/dir/" when "dir/index.html" exists. GET and HEAD, ranges, conditional
 *  requests and encodings as RFC 9110 says. Key "404.html" is the error page if it exists. */
int mir_http_route_kv(struct mir_http_server *server, const char *prefix,
                      struct mir_kv *kv) MIR_CHECK;

/** The method of the request; one of those the route was made for. */
enum mir_http_method mir_http_method(const struct mir_http_exchange *exchange);
/** Decoded path, without query. */
struct mir_http_text mir_http_path(const struct mir_http_exchange *exchange);
struct mir_http_text mir_http_query(const struct mir_http_exchange *exchange);
/** First header of that name (case-insensitive); text NULL if absent. */
struct mir_http_text mir_http_header(const struct mir_http_exchange *exchange, const char *name);

/** Ask for the body; otherwise it is read and dropped (up to the limit). Inside the handler only.
 */
void mir_http_read_body(struct mir_http_exchange *exchange, mir_http_body_fn on_body, void *arg);
void mir_http_on_end(struct mir_http_exchange *exchange, mir_http_end_fn on_end, void *arg);

/** Answer whole: @body borrowed. Returns 0 or an error (answered already, client gone). */
int mir_http_respond(struct mir_http_exchange *exchange, unsigned status, const char *media_type,
                     const void *body, size_t len);
/** Add a header line before the answer begins. Returns 0, -MIR_EINVAL (CR, LF, NUL), -MIR_ELIMIT.
 */
int mir_http_add_header(struct mir_http_exchange *exchange, const char *name,
                        const char *value) MIR_CHECK;
/** Begin a streamed answer: @size known (Content-Length) or UINT64_MAX (chunked). */
int mir_http_begin(struct mir_http_exchange *exchange, unsigned status, const char *media_type,
                   uint64_t size) MIR_CHECK;
/** Send a piece; -MIR_EAGAIN when the send buffer is full (on_writable follows). View consumed on
 *  success and on error. */
int mir_http_send_view(struct mir_http_exchange *exchange,
                       MIR_GIVE struct mir_view view_given) MIR_CHECK;
int mir_http_send(struct mir_http_exchange *exchange, const void *data, size_t len) MIR_CHECK;
/** Bytes a piece may have now. */
uint32_t mir_http_send_room(const struct mir_http_exchange *exchange);
void mir_http_on_writable(struct mir_http_exchange *exchange, mir_http_writable_fn on_writable,
                          void *arg);
/** End a streamed answer. */
int mir_http_finish(struct mir_http_exchange *exchange);

struct mir_http_stats {
    uint64_t connections, requests, responses_2xx, responses_3xx, responses_4xx, responses_5xx;
    uint64_t bytes_out, timeouts, connections_refused;
    uint32_t connections_open;
};
/** Counters since the server was opened. */
void mir_http_server_stats(const struct mir_http_server *server, struct mir_http_stats *stats);

#endif
