/* SPDX-License-Identifier: ISC */
/* What the files of the HTTP server know of each other. Not public.
 *
 *   parse.c target.c chunk.c date.c negotiate.c   parsers (parse.h)
 *   server.c    open, close, accept, statistics; the ready first lines of answers
 *   route.c     routes, and what happens when the head of a request is there
 *   conn.c      one connection: input, states, time limits, end
 *   out.c       bytes to the connection: copies, views, the queue of what did not fit
 *   respond.c   answers of handlers: whole, streamed, error pages
 *   static.c    answers from a store
 *   ready.c     the same for requests that were seen before
 *
 * A connection that is idle is one struct mir__http_conn; everything about a request is in an
 * exchange, which exists from the first byte of the request to the last byte of the answer.
 */
#ifndef LIB_HTTP_INTERNAL_H
#define LIB_HTTP_INTERNAL_H

#include <mirari/err.h>
#include <mirari/http.h>
#include <mirari/log.h>

#include "lib/http/parse.h"

#define MIR__HTTP_ROUTES_MAX 32u
/** Handler's header lines of one answer. */
#define MIR__HTTP_EXTRA_MAX 2048u
/** Largest body of mir_http_respond(). */
#define MIR__HTTP_RESPOND_MAX (1u << 20)
/** Bodies up to this size are copied behind their head into one send. */
#define MIR__HTTP_SMALL_BODY 2048u
/** The server's scratch: a response head and a small body, built and sent in one go. */
#define MIR__HTTP_OUT_BYTES ((size_t)2 * MIR_PAGE_SIZE)
/** Most of a body that is given to TCP in one piece. */
#define MIR__HTTP_VIEW_MAX (256u << 10)
/** Body bytes nobody asked for: read and dropped up to here, else the connection is closed. */
#define MIR__HTTP_DROP_MAX (64u << 10)
/** After an error the peer's last bytes are awaited so long, so many. */
#define MIR__HTTP_LINGER_US    (2 * MIR_US_PER_S)
#define MIR__HTTP_LINGER_BYTES (1u << 20)
/** Requests answered in a row before other connections get their turn. */
#define MIR__HTTP_BURST 64u

struct mir__http_route {
    const char *prefix;
    uint32_t prefix_len;
    unsigned methods;
    mir_http_handler_fn handler; /* NULL: kv */
    void *arg;
    struct mir_kv *kv;
};

/** What did not fit into the connection's send buffer. */
struct mir__http_segment {
    struct mir__http_segment *next;
    struct mir_view view;
};

enum mir__http_conn_state {
    MIR__HTTP_IDLE,     /* no exchange; perhaps bytes of the next request in `in` */
    MIR__HTTP_HEAD,     /* a head has begun */
    MIR__HTTP_EXCHANGE, /* head complete */
    MIR__HTTP_LINGER,   /* answered, our direction is shut; what the peer still sends is dropped */
    MIR__HTTP_DEAD,     /* tcp is gone */
};

struct mir__http_conn {
    struct mir_list link; /* of the server's connections */
    struct mir_http_server *server;
    struct mir_tcp *tcp;
    struct mir_http_exchange *exchange;
    struct mir_view in; /* received, not looked at yet */
    struct mir_timer timer;
    struct mir_work work;
    mir_time_us deadline_us; /* the timer may be set earlier: it looks again when it fires */
    mir_time_us timer_at_us; /* MIR_TIME_NEVER: not set */
    uint32_t requests;       /* in LINGER: bytes dropped */
    int error;               /* DEAD: why */
    uint8_t state;
    bool is_running;
    bool has_eof; /* the peer has sent FIN */
};
_Static_assert(sizeof(struct mir__http_conn) <= 208, "an idle connection must stay small");

enum mir__http_answer {
    MIR__HTTP_ANSWER_NONE,
    MIR__HTTP_ANSWER_STREAM, /* a handler is sending pieces */
    MIR__HTTP_ANSWER_STATIC, /* static.c goes on as there is room */
    MIR__HTTP_ANSWER_DONE,   /* everything is queued */
};

struct mir_http_exchange {
    struct mir__http_conn *conn;
    struct mir_view head; /* bytes the request's offsets refer to; own page or the received one */
    struct mir_io_page *path_page; /* decoded path, if it had to be */
    struct mir_http_text path;
    struct mir_http_text query;
    struct mir_io_page *extra_page; /* header lines of the handler */
    uint32_t extra_len;

    /* request body */
    struct mir__http_body body;
    mir_http_body_fn on_body;
    void *body_arg;
    bool has_body;
    bool body_is_paused;
    bool body_is_told; /* is_last was said, or the body ended in an error */
    bool continue_due; /* 100 (Continue) has to be sent before the body is read */

    /* answer */
    uint8_t answer; /* enum mir__http_answer */
    bool is_head;
    bool is_chunked;
    bool close_after;
    bool wants_writable;
    int error;     /* what on_end is told if the server answered in place of the handler */
    uint64_t left; /* of a stream with Content-Length; UINT64_MAX: not counted */
    struct mir__http_segment *out_first;
    struct mir__http_segment *out_last;
    mir_http_end_fn on_end;
    void *end_arg;
    mir_http_writable_fn on_writable;
    void *writable_arg;

    /* static.c */
    const struct mir_kv_entry *entry;
    const struct mir_kv_body *value;
    uint32_t range_count; /* 0 or 1: value_at and value_left say it all; else multipart */
    uint32_t range_index;
    uint32_t value_at;
    uint32_t value_left;
    struct mir__http_range range[MIR__HTTP_RANGES_MAX];

    struct mir__http_request request; /* last: its end is written only as far as it is used */
};

struct mir_http_server {
    struct mir_stack *stack;
    struct mir_clock *clock;
    struct mir_tcp_listener *listener;
    struct mir_http_limits limits;
    struct mir_http_stats stats;
    struct mir_list conns;
    struct mir_pool conn_pool;
    struct mir_pool exchange_pool;
    struct mir_pool segment_pool;
    struct mir_io_page *page; /* this structure lives in it */
    uint8_t *out;             /* scratch, MIR__HTTP_OUT_BYTES */
    struct mir_io_page *out_page;
    struct mir_io_page *ready_page; /* ready.c; NULL: no store, or no memory */
    uint32_t route_count;
    uint32_t running; /* connections whose run() is on the stack */
    struct mir__http_route route[MIR__HTTP_ROUTES_MAX];

    mir_time_us date_until_us; /* monotonic: the lines below are good until then */
    uint64_t unix_s;           /* 0 without a clock */
    uint32_t ok_len;           /* "HTTP/1.1 200 OK\r\n" and the common lines */
    uint32_t common_at;        /* where the common lines begin in `ok` */
    char ok[192];
};

/* ---- server.c ------------------------------------------------------------------------------- */

/** The ready lines of now: made again once a second. */
void mir__http_server_refresh(struct mir_http_server *server);
static inline mir_time_us mir__http_now(const struct mir_http_server *server)
{
    return mir_loop_now(server->stack->loop);
}

/* ---- conn.c --------------------------------------------------------------------------------- */

/** Take over an accepted connection. */
void mir__http_conn_open(struct mir_http_server *server, MIR_GIVE struct mir_tcp *tcp_given);
/** Go on soon: something about the exchange has changed outside the connection's own events. */
void mir__http_conn_kick(struct mir__http_conn *conn);
/** End it at once with RST; @error is what the exchange's owner is told. */
void mir__http_conn_fail(struct mir__http_conn *conn, int error);
/** Release everything now; the exchange's owner is told @error. Not from inside run(). */
void mir__http_conn_destroy(struct mir__http_conn *conn, int error);
/** The rest of the body is not worth reading: the connection ends after the answer. */
bool mir__http_is_too_much_to_drop(const struct mir_http_exchange *exchange);
/** The exchange is over: release what it holds. */
void mir__http_exchange_release(struct mir_http_exchange *exchange, int error);

/* ---- route.c -------------------------------------------------------------------------------- */

/** The head is complete: find who answers and let him. */
void mir__http_dispatch(struct mir_http_exchange *exchange);

/* ---- out.c ---------------------------------------------------------------------------------- */

/** A text that is built up in the server's scratch. */
struct mir__http_text_out {
    char *at;
    char *end;
    bool is_cut;
};

struct mir__http_text_out mir__http_text_begin(struct mir_http_server *server);
void mir__http_put(struct mir__http_text_out *out, const void *text, size_t len);
void mir__http_put_text(struct mir__http_text_out *out, const char *text);
void mir__http_put_number(struct mir__http_text_out *out, uint64_t value);
/** Status line and the lines every answer has: Server, Date, Connection if needed. */
void mir__http_put_status(struct mir__http_text_out *out, struct mir_http_exchange *exchange,
                          unsigned status);
const char *mir__http_reason(unsigned status);

/** Queue bytes by copying. What TCP does not take now waits in pages. Returns 0 or an error that
 *  ended the connection. */
int mir__http_out_bytes(struct mir_http_exchange *exchange, const void *data, size_t len) MIR_CHECK;
/** Queue a view. */
int mir__http_out_view(struct mir_http_exchange *exchange,
                       MIR_GIVE struct mir_view view_given) MIR_CHECK;
/** Send what was built in the scratch. */
int mir__http_out_text(struct mir_http_exchange *exchange,
                       const struct mir__http_text_out *out) MIR_CHECK;
/** Bytes that could go out now; 0 while something waits. */
uint32_t mir__http_out_room(const struct mir_http_exchange *exchange);
/** Hand waiting segments to TCP. Returns true if any went. */
bool mir__http_out_drain(struct mir_http_exchange *exchange);
void mir__http_out_release(struct mir_http_exchange *exchange);

/* ---- respond.c, static.c --------------------------------------------------------------------- */

/** A small page that says what is wrong; @allow: methods for 405, else 0. */
void mir__http_respond_error(struct mir_http_exchange *exchange, unsigned status, unsigned allow);
/** "Allow: GET, HEAD\r\n" */
void mir__http_put_allow(struct mir__http_text_out *out, unsigned methods);

/** Remember a request that is about to be answered with 200 and exchange->value. */
void mir__http_ready_learn(const struct mir_http_exchange *exchange);
/** Answer what is in conn->in, if it is one request that is known; true if it was. */
bool mir__http_ready_answer(struct mir__http_conn *conn);
/** The routes have changed: forget everything; get the table's memory if a store is served. */
void mir__http_ready_reset(struct mir_http_server *server);

/** Answer from the route's store. */
void mir__http_static_begin(struct mir_http_exchange *exchange,
                            const struct mir__http_route *route);
/** Queue more of the value. Returns true if anything went. */
bool mir__http_static_pump(struct mir_http_exchange *exchange);
/** The store's "404.html" for the status 404; false if it has none. */
bool mir__http_static_not_found(struct mir_http_exchange *exchange, struct mir_kv *kv);
/** 301 to the path with "/" behind it, query kept. */
void mir__http_redirect_to_folder(struct mir_http_exchange *exchange);
/** Value of a list field: one line as it is, several joined in the server's scratch. */
struct mir_http_text mir__http_list(const struct mir_http_exchange *exchange,
                                    enum mir__http_known known);
/** Value of a field that may come once; text NULL if absent or repeated. */
struct mir_http_text mir__http_single(const struct mir_http_exchange *exchange,
                                      enum mir__http_known known);

#endif
