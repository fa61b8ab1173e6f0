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
/** The exchange is over. @error: 0 (answered), < 0 if the client left, or if its body was wrong,
 *  too long or too late, which the server has answered itself. Last call about it. */
typedef void (*mir_http_end_fn)(struct mir_http_exchange *exchange, int error, void *arg);
/** Room to send more of a streamed answer. */
typedef void (*mir_http_writable_fn)(struct mir_http_exchange *exchange, void *arg);

/** Called when the headers are complete. */
typedef void (*mir_http_handler_fn)(struct mir_http_exchange *exchange, void *arg);

struct mir_http_config {
    struct mir_stack *stack;
    struct mir_clock *clock;   /**< for Date; may be NULL */
    struct mir_endpoint local; /**< where to listen; port 0 = choose one */
    struct mir_http_limits limits;
    const char *server_name; /**< Server header, at most 64 printable characters; NULL = "mirari" */
};

/**
 * mir_http_server_open() - listen.
 *
 * @config  borrowed; stack, clock and server_name's text must live as long as the server
 *
 * Returns 0, -MIR_EINVAL (server_name, or limits: request_line_bytes + header_bytes are at most
 *         64,000, header_count is at most 128), -MIR_ENOMEM, or the error of mir_tcp_listen().
 * Source  RFC 9112
 */
int mir_http_server_open(const struct mir_http_config *config,
                         struct mir_http_server **server) MIR_CHECK;
/** Stop listening and end all connections: idle ones in order, the others by reset; the owners of
 *  exchanges are told -MIR_ECANCELED. Not from a callback of this server (asserted). */
void mir_http_server_close(struct mir_http_server *server);
/** Where it listens, the chosen port included. */
void mir_http_server_local(const struct mir_http_server *server, struct mir_endpoint *local);

/* ---- routes ------------------------------------------------------------------------------- */

/**
 * mir_http_route() - let a handler answer a path, or all paths below one.
 *
 * The longest prefix that matches wins, whatever its methods: a request with another method gets
 * 405 with Allow. A handler of GET is called for HEAD too; what it sends as body is dropped.
 * OPTIONS is answered by the server unless a handler takes it.
 *
 * @prefix   "/api/" matches itself and everything below, "/exact" only itself; the text must
 *           live as long as the server
 * @methods  set of enum mir_http_method
 *
 * Returns 0, -MIR_EINVAL (no leading slash, no method), -MIR_ELIMIT (32 routes), -MIR_EEXIST.
 * Source  RFC 9110 sections 9.3.2, 9.3.7, 15.5.6
 */
int mir_http_route(struct mir_http_server *server, const char *prefix, unsigned methods,
                   mir_http_handler_fn handler, void *arg) MIR_CHECK;

/**
 * mir_http_route_kv() - answer the paths below one from a store.
 *
 * The key is what stands behind the prefix; empty or ending in "/", "index.html" is added. "dir" is
 * redirected to "dir/" when the key "dir/index.html" exists. GET and HEAD, ranges (several too),
 * conditional requests and ready encodings as RFC 9110 says. The key "404.html", if it exists, is
 * the error page for what is not there.
 *
 * @prefix  begins and ends with "/"
 * @kv      lent until the server is closed
 *
 * Returns 0, -MIR_EINVAL, -MIR_ELIMIT, -MIR_EEXIST.
 * Source  RFC 9110 sections 12.5.3, 13, 14
 */
int mir_http_route_kv(struct mir_http_server *server, const char *prefix,
                      struct mir_kv *kv) MIR_CHECK;

/* ---- the request ----------------------------------------------------------------------------
 *
 * An exchange is one request and its answer. It lives from the call of the handler until on_end
 * returns; there is an end for every exchange, so a handler that answers later sets on_end and
 * keeps the pointer until then. Every function below may be called in any callback and outside of
 * them.
 */

/** The method; one of those the route was made for, or HEAD. */
enum mir_http_method mir_http_method(const struct mir_http_exchange *exchange);
/** Decoded path without query; begins with "/", has no dot segments, no control characters. */
struct mir_http_text mir_http_path(const struct mir_http_exchange *exchange);
/** Behind the "?", as it came; text NULL without one. */
struct mir_http_text mir_http_query(const struct mir_http_exchange *exchange);
/** First header of that name (case-insensitive, given in lower case); text NULL if absent. */
struct mir_http_text mir_http_header(const struct mir_http_exchange *exchange, const char *name);
/** Content-Length; UINT64_MAX if the body is chunked, 0 without a body. */
uint64_t mir_http_content_length(const struct mir_http_exchange *exchange);

/** Ask for the body. Inside the handler only: without it the body is dropped (small ones are read,
 *  large ones end the connection). 100 (Continue) is sent when it is due. */
void mir_http_read_body(struct mir_http_exchange *exchange, mir_http_body_fn on_body, void *arg);
/** No more on_body until mir_http_resume_body(): the peer is slowed down by its window. */
void mir_http_pause_body(struct mir_http_exchange *exchange);
void mir_http_resume_body(struct mir_http_exchange *exchange);
/** Be told when the exchange is over, whatever the reason. */
void mir_http_on_end(struct mir_http_exchange *exchange, mir_http_end_fn on_end, void *arg);

/* ---- the answer ----------------------------------------------------------------------------- */

/**
 * mir_http_respond() - answer whole.
 *
 * @media_type  Content-Type; NULL = none
 * @body        [len] bytes, borrowed: copied. At most 1 MiB; what is larger is streamed
 *
 * Returns 0, -MIR_EEXIST (answered already), -MIR_ETOOBIG (500 was answered), or the error that
 *         ended the connection (on_end follows).
 * Source  RFC 9110 section 15, RFC 9112 section 6.3
 */
int mir_http_respond(struct mir_http_exchange *exchange, unsigned status, const char *media_type,
                     const void *body, size_t len);
/** Add a header line before the answer begins. Returns 0, -MIR_EINVAL (name is no token, value has
 *  control characters, or the name is one the server writes itself), -MIR_EEXIST (answered),
 *  -MIR_ELIMIT (2 KiB in all), -MIR_ENOMEM. */
int mir_http_add_header(struct mir_http_exchange *exchange, const char *name,
                        const char *value) MIR_CHECK;
/** Begin a streamed answer: @size known (Content-Length) or UINT64_MAX (chunked; to an HTTP/1.0
 *  peer: until close). Returns as mir_http_respond(). */
int mir_http_begin(struct mir_http_exchange *exchange, unsigned status, const char *media_type,
                   uint64_t size) MIR_CHECK;
/** Send a piece by reference. Taken whole or not at all; the view is consumed in every case.
 *  Returns 0, -MIR_EAGAIN (no room: on_writable follows), -MIR_ERANGE (more than @size), or the
 *  error that ended the connection. */
int mir_http_send_view(struct mir_http_exchange *exchange,
                       MIR_GIVE struct mir_view view_given) MIR_CHECK;
/** Send a piece by copying it, 1 MiB at most (-MIR_ETOOBIG). Taken whole or not at all. */
int mir_http_send(struct mir_http_exchange *exchange, const void *data, size_t len) MIR_CHECK;
/** Bytes that fit now; a larger piece is still taken whole if this is not 0. After 0, on_writable
 *  follows. */
uint32_t mir_http_send_room(struct mir_http_exchange *exchange);
/** Be told when there is room again. */
void mir_http_on_writable(struct mir_http_exchange *exchange, mir_http_writable_fn on_writable,
                          void *arg);
/** End a streamed answer. Returns 0, -MIR_ETRUNCATED (fewer bytes than @size: the connection is
 *  reset, so that the peer sees it), or the error that ended the connection. */
int mir_http_finish(struct mir_http_exchange *exchange);
/** Reset the connection. For an answer that began and cannot be completed. */
void mir_http_abort(struct mir_http_exchange *exchange);

struct mir_http_stats {
    uint64_t connections, requests, responses_2xx, responses_3xx, responses_4xx, responses_5xx;
    uint64_t responses_ready; /**< of responses_2xx: to requests seen before, without parsing */
    uint64_t bytes_out, timeouts, connections_refused;
    uint32_t connections_open;
};
/** Counters since the server was opened. */
void mir_http_server_stats(const struct mir_http_server *server, struct mir_http_stats *stats);

#endif
