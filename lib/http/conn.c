/* SPDX-License-Identifier: ISC */
/* One connection: input, states, time limits, end.
 *
 *   IDLE --bytes--> HEAD --head complete--> EXCHANGE --answered, body read--> IDLE
 *                     |                         |
 *                     +--- error page ----------+--- close ---> LINGER --peer's FIN--> (gone)
 *
 * Everything happens in run(): it makes steps until none makes progress, then sets the time limit.
 * It is started by events of the TCP connection, by the timer, and by mir__http_conn_kick() after a
 * handler did something outside of it; what a handler does inside it is seen by the next step.
 * Requests of one connection are answered one after the other; while one is worked on, the next
 * ones stay in `in` or with TCP, whose window closes: that is the back-pressure.
 *
 * The head of a request is parsed in the received view. Only if it does not lie there whole, it is
 * collected, line by line, in a page, so that nothing behind the head is ever copied.
 *
 * Time limits are lazy: `deadline_us` moves with every request, the timer only when it would come
 * too late; when it fires early it is set again. A busy connection touches the wheel once a minute.
 *
 * A connection that fails is only marked DEAD when it happens inside run() or a handler's call; the
 * exchange's owner is told and memory released when run() is left.
 */
#include "lib/http/internal.h"

static void run(struct mir__http_conn *conn);

/* ---- end ----------------------------------------------------------------------------------------
 */

void mir__http_exchange_release(struct mir_http_exchange *exchange, int error)
{
    struct mir__http_conn *conn = exchange->conn;
    if (exchange->on_end != NULL)
        exchange->on_end(exchange, error, exchange->end_arg);
    conn->exchange = NULL;
    mir__http_out_release(exchange);
    mir_view_release(&exchange->head);
    if (exchange->path_page != NULL)
        mir_page_release(exchange->path_page);
    if (exchange->extra_page != NULL)
        mir_page_release(exchange->extra_page);
    mir_pool_free(&conn->server->exchange_pool, exchange);
}

void mir__http_conn_destroy(struct mir__http_conn *conn, int error)
{
    struct mir_http_server *server = conn->server;
    conn->is_running = true; /* what on_end does must not come back here */
    server->running++;
    if (conn->tcp != NULL && conn->state == MIR__HTTP_IDLE)
        mir_tcp_close(conn->tcp);
    else if (conn->tcp != NULL)
        mir_tcp_abort(conn->tcp);
    conn->tcp = NULL;
    conn->state = MIR__HTTP_DEAD;
    if (conn->exchange != NULL)
        mir__http_exchange_release(conn->exchange, error);
    mir_view_release(&conn->in);
    mir_timer_cancel(&conn->timer);
    mir_work_cancel(&conn->work);
    mir_list_remove(&conn->link);
    server->stats.connections_open--;
    mir_pool_free(&server->conn_pool, conn);
    server->running--;
}

void mir__http_conn_kick(struct mir__http_conn *conn)
{
    if (!conn->is_running)
        mir_loop_post(conn->server->stack->loop, &conn->work);
}

/* The TCP connection is not ours any more; the rest goes when run() is left. */
static void set_dead(struct mir__http_conn *conn, int error)
{
    conn->tcp = NULL;
    conn->state = MIR__HTTP_DEAD;
    conn->error = error;
    mir__http_conn_kick(conn);
}

void mir__http_conn_fail(struct mir__http_conn *conn, int error)
{
    if (conn->state == MIR__HTTP_DEAD)
        return;
    mir_tcp_abort(conn->tcp);
    set_dead(conn, error);
}

static void close_in_order(struct mir__http_conn *conn)
{
    mir_tcp_close(conn->tcp);
    set_dead(conn, -MIR_ECLOSED);
}

/* The next received bytes into conn->in, which is empty. 0, -MIR_EAGAIN, -MIR_EEOF; other errors
 * have ended the connection. */
static int fetch(struct mir__http_conn *conn)
{
    if (conn->has_eof)
        return -MIR_EEOF;
    mir_view_release(&conn->in);
    int r = mir_tcp_recv_view(conn->tcp, &conn->in);
    if (r == -MIR_EEOF)
        conn->has_eof = true;
    else if (r < 0 && r != -MIR_EAGAIN)
        mir__http_conn_fail(conn, r);
    return r;
}

/* Our answers are queued. If the peer has sent more than we read, closing now would reset the
 * connection and could destroy them: shut our direction and let the peer finish (RFC 9112 9.6). */
static void begin_close(struct mir__http_conn *conn, bool has_unread)
{
    if (!has_unread && conn->in.len == 0) {
        int r = fetch(conn);
        if (conn->state == MIR__HTTP_DEAD)
            return;
        has_unread = r == 0;
    }
    if (conn->has_eof || (!has_unread && conn->in.len == 0)) {
        close_in_order(conn);
        return;
    }
    int r = mir_tcp_shutdown(conn->tcp);
    if (r < 0) {
        mir__http_conn_fail(conn, r);
        return;
    }
    conn->state = MIR__HTTP_LINGER;
    conn->requests = 0;
    conn->deadline_us = mir__http_now(conn->server) + MIR__HTTP_LINGER_US;
}

static bool step_linger(struct mir__http_conn *conn)
{
    conn->requests += conn->in.len;
    mir_view_release(&conn->in);
    int r = fetch(conn);
    if (r == -MIR_EEOF)
        close_in_order(conn);
    else if (r == 0 && conn->requests > MIR__HTTP_LINGER_BYTES)
        mir__http_conn_fail(conn, -MIR_ELIMIT);
    return r == 0;
}

/* ---- head ---------------------------------------------------------------------------------------
 */

/* Before there is an exchange, or memory for one. */
static int send_refusal(struct mir_http_server *server, struct mir_tcp *tcp)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                               "Retry-After: 5\r\nConnection: close\r\n\r\n";
    size_t n;
    server->stats.responses_5xx++;
    return mir_tcp_send(tcp, text, sizeof text - 1, &n);
}

static void refuse(struct mir__http_conn *conn)
{
    if (send_refusal(conn->server, conn->tcp) < 0)
        mir__http_conn_fail(conn, -MIR_ENOMEM);
    else
        begin_close(conn, true);
}

static bool begin_exchange(struct mir__http_conn *conn)
{
    struct mir_http_exchange *exchange = mir_pool_alloc(&conn->server->exchange_pool);
    if (exchange == NULL) {
        refuse(conn);
        return true;
    }
    mir_memset(exchange, 0, offsetof(struct mir_http_exchange, range));
    mir__http_request_init(&exchange->request);
    exchange->conn = conn;
    conn->exchange = exchange;
    conn->state = MIR__HTTP_HEAD;
    conn->deadline_us =
        mir__http_now(conn->server) + conn->server->limits.header_timeout_ms * MIR_US_PER_MS;
    return true;
}

/* An error page before or instead of an answer; the connection ends after it. */
static void answer_error(struct mir__http_conn *conn, unsigned status)
{
    struct mir_http_exchange *exchange = conn->exchange;
    conn->state = MIR__HTTP_EXCHANGE;
    exchange->close_after = true;
    exchange->is_head = exchange->request.method == MIR_HTTP_HEAD;
    mir__http_respond_error(exchange, status, 0);
}

static bool wants_keep_alive(const struct mir__http_conn *conn,
                             const struct mir__http_request *request)
{
    uint32_t limit = conn->server->limits.requests_per_connection;
    if (request->flags & MIR__HTTP_RQ_CLOSE || (limit != 0 && conn->requests + 1 >= limit))
        return false;
    return request->minor > 0 || request->flags & MIR__HTTP_RQ_KEEP_ALIVE;
}

static void head_complete(struct mir__http_conn *conn)
{
    struct mir_http_exchange *exchange = conn->exchange;
    struct mir__http_request *request = &exchange->request;
    bool is_chunked = (request->flags & MIR__HTTP_RQ_CHUNKED) != 0;
    conn->server->stats.requests++;
    conn->state = MIR__HTTP_EXCHANGE;
    exchange->is_head = request->method == MIR_HTTP_HEAD;
    exchange->close_after = !wants_keep_alive(conn, request);
    exchange->has_body = is_chunked || request->content_length > 0;
    exchange->continue_due = exchange->has_body && request->flags & MIR__HTTP_RQ_CONTINUE;
    mir__http_body_init(&exchange->body,
                        is_chunked ? MIR__HTTP_BODY_CHUNKED : MIR__HTTP_BODY_LENGTH,
                        request->content_length);
    if (request->content_length > conn->server->limits.body_bytes) {
        answer_error(conn, 413);
        return;
    }
    mir__http_dispatch(exchange);
}

/* Room for @len more bytes of a head that is collected. */
static bool grow_head(struct mir__http_conn *conn, uint32_t len)
{
    struct mir_http_exchange *exchange = conn->exchange;
    struct mir_io_page *old = exchange->head.page;
    struct mir_io_page *page;
    if (old != NULL && exchange->head.len + len <= old->size_bytes)
        return true;
    if (mir_page_alloc(conn->server->stack->pages, exchange->head.len + len, MIR_PAGE_OVERWRITE,
                       &page) < 0)
        return false;
    if (old != NULL) {
        mir_memcpy(page->base, exchange->head.data, exchange->head.len);
        mir_page_release(old);
    }
    exchange->head.page = page;
    exchange->head.data = page->base;
    return true;
}

/* Move @n bytes behind the collected head. Returns 0 or the status to answer. */
static unsigned collect(struct mir__http_conn *conn, uint32_t n)
{
    struct mir_http_exchange *exchange = conn->exchange;
    if (n > MIR__HTTP_HEAD_MAX - exchange->head.len)
        return 431;
    if (!grow_head(conn, n))
        return 503;
    mir_memcpy(exchange->head.page->base + exchange->head.len, conn->in.data, n);
    exchange->head.len += n;
    mir_view_shrink_front(&conn->in, n);
    return 0;
}

/* Bytes of conn->in up to the end of the line, or what there is of it. */
static uint32_t rest_of_line(const struct mir__http_conn *conn)
{
    uint32_t n = 0;
    while (n < conn->in.len && conn->in.data[n] != '\n')
        n++;
    return MIR_MIN(n + 1, conn->in.len);
}

/* The whole head lies in conn->in: keep that part of it. */
static void keep_in_place(struct mir__http_conn *conn, uint32_t len)
{
    struct mir_http_exchange *exchange = conn->exchange;
    if (conn->in.len == len) {
        exchange->head = conn->in;
        conn->in = (struct mir_view){0};
        return;
    }
    exchange->head = mir_view_sub(&conn->in, 0, len);
    mir_view_shrink_front(&conn->in, len);
}

/* What parsing gave: on, an answer, or more bytes. @status: if not 0, what else was wrong. */
static bool head_parsed(struct mir__http_conn *conn, int result, unsigned status)
{
    if (status != 0)
        answer_error(conn, status);
    else if (result == 0)
        head_complete(conn);
    else if (result != -MIR_EAGAIN)
        answer_error(conn, conn->exchange->request.status);
    return conn->state != MIR__HTTP_HEAD;
}

/* The first bytes of a head: parse them where they are; collect them only if they are not all. */
static void parse_in_place(struct mir__http_conn *conn)
{
    struct mir__http_request *request = &conn->exchange->request;
    int r = mir__http_parse(request, &conn->server->limits, (const char *)conn->in.data,
                            MIR_MIN(conn->in.len, MIR__HTTP_HEAD_MAX));
    if (r == 0)
        keep_in_place(conn, request->at);
    head_parsed(conn, r, r == -MIR_EAGAIN ? collect(conn, conn->in.len) : 0);
}

/* More of a head that is collected: a line at a time, so that nothing behind it is copied. */
static void parse_collected(struct mir__http_conn *conn)
{
    struct mir_http_exchange *exchange = conn->exchange;
    int r = -MIR_EAGAIN;
    while (conn->in.len > 0) {
        unsigned status = collect(conn, rest_of_line(conn));
        if (status == 0)
            r = mir__http_parse(&exchange->request, &conn->server->limits,
                                (const char *)exchange->head.data, exchange->head.len);
        if (head_parsed(conn, r, status))
            return;
    }
}

static bool step_head(struct mir__http_conn *conn)
{
    if (conn->in.len == 0) {
        int r = fetch(conn);
        if (r == -MIR_EEOF)
            close_in_order(conn);
        if (r < 0)
            return false;
    }
    if (conn->exchange->head.page == NULL)
        parse_in_place(conn);
    else
        parse_collected(conn);
    return true;
}

/* ---- body ---------------------------------------------------------------------------------------
 */

static void body_failed(struct mir__http_conn *conn, unsigned status, int error)
{
    struct mir_http_exchange *exchange = conn->exchange;
    exchange->body_is_told = true;
    if (exchange->answer == MIR__HTTP_ANSWER_NONE) {
        exchange->error = error;
        answer_error(conn, status);
    } else if (exchange->answer == MIR__HTTP_ANSWER_DONE) {
        exchange->close_after = true; /* the answer is not to be lost by a reset */
    } else {
        mir__http_conn_fail(conn, error);
    }
}

bool mir__http_is_too_much_to_drop(const struct mir_http_exchange *exchange)
{
    const struct mir__http_body *body = &exchange->body;
    uint64_t known = body->kind == MIR__HTTP_BODY_LENGTH ? body->left : body->total;
    return !body->is_done && (exchange->continue_due || known > MIR__HTTP_DROP_MAX);
}

/* Is there a reason to read the body now? */
static bool wants_body(struct mir_http_exchange *exchange)
{
    const struct mir__http_body *body = &exchange->body;
    if (body->is_done)
        return false;
    if (exchange->answer != MIR__HTTP_ANSWER_DONE)
        return exchange->on_body != NULL && !exchange->body_is_paused;
    /* Answered: the rest is in the way of the next request. */
    if (mir__http_is_too_much_to_drop(exchange))
        exchange->close_after = true;
    return !exchange->close_after;
}

static void tell_body(struct mir_http_exchange *exchange, const uint8_t *data, size_t len)
{
    bool is_last = exchange->body.is_done;
    if (exchange->on_body == NULL || exchange->body_is_told ||
        exchange->answer == MIR__HTTP_ANSWER_DONE)
        return;
    exchange->body_is_told = is_last;
    if (len > 0 || is_last)
        exchange->on_body(exchange, data, len, is_last, exchange->body_arg);
}

/* 0: conn->in has bytes. */
static int await_body(struct mir__http_conn *conn)
{
    struct mir_http_exchange *exchange = conn->exchange;
    if (conn->in.len > 0)
        return 0;
    int r = fetch(conn);
    if (r == -MIR_EAGAIN && exchange->continue_due && exchange->answer == MIR__HTTP_ANSWER_NONE) {
        static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
        exchange->continue_due = false;
        int e = mir__http_out_bytes(exchange, text, sizeof text - 1);
        return e < 0 ? e : r;
    }
    if (r == -MIR_EEOF)
        body_failed(conn, 400, -MIR_ETRUNCATED);
    return r;
}

static bool step_body(struct mir__http_conn *conn)
{
    struct mir_http_exchange *exchange = conn->exchange;
    struct mir__http_piece piece;
    if (exchange->body.is_done && exchange->on_body != NULL && !exchange->body_is_told &&
        exchange->answer != MIR__HTTP_ANSWER_DONE) {
        tell_body(exchange, NULL, 0);
        return true;
    }
    if (!wants_body(exchange) || await_body(conn) < 0)
        return false;
    exchange->continue_due = false;
    int e = mir__http_body_next(&exchange->body, conn->server->limits.body_bytes, conn->in.data,
                                conn->in.len, &piece);
    if (e < 0) {
        body_failed(conn, e == -MIR_ETOOBIG ? 413 : 400, e);
        return true;
    }
    tell_body(exchange, piece.data, piece.len);
    mir_view_shrink_front(&conn->in, (uint32_t)piece.used);
    return true;
}

/* ---- exchange
 * ------------------------------------------------------------------------------------ */

static void end_exchange(struct mir__http_conn *conn)
{
    struct mir_http_exchange *exchange = conn->exchange;
    bool has_unread = !exchange->body.is_done;
    bool is_kept = !exchange->close_after && !has_unread;
    mir__http_exchange_release(exchange, exchange->error);
    if (conn->state == MIR__HTTP_DEAD)
        return;
    conn->requests++;
    conn->state = MIR__HTTP_IDLE;
    if (!is_kept)
        begin_close(conn, has_unread);
}

static bool step_exchange(struct mir__http_conn *conn)
{
    struct mir_http_exchange *exchange = conn->exchange;
    bool has_moved = mir__http_out_drain(exchange);
    if (conn->state != MIR__HTTP_DEAD && exchange->answer == MIR__HTTP_ANSWER_STATIC)
        has_moved |= mir__http_static_pump(exchange);
    if (conn->state != MIR__HTTP_DEAD && exchange->answer == MIR__HTTP_ANSWER_STREAM &&
        exchange->wants_writable && mir__http_out_room(exchange) > 0) {
        has_moved = true;
        exchange->wants_writable = false;
        if (exchange->on_writable != NULL)
            exchange->on_writable(exchange, exchange->writable_arg);
    }
    if (conn->state != MIR__HTTP_DEAD)
        has_moved |= step_body(conn);
    if (conn->state == MIR__HTTP_DEAD)
        return false;
    if (exchange->answer == MIR__HTTP_ANSWER_DONE && exchange->out_first == NULL &&
        (exchange->body.is_done || exchange->close_after)) {
        end_exchange(conn);
        return true;
    }
    return has_moved;
}

/* ---- time
 * ---------------------------------------------------------------------------------------- */

static bool waits_to_send(const struct mir_http_exchange *exchange)
{
    return exchange->out_first != NULL || exchange->answer == MIR__HTTP_ANSWER_STATIC ||
           (exchange->answer == MIR__HTTP_ANSWER_STREAM && exchange->wants_writable);
}

static bool waits_for_body(const struct mir_http_exchange *exchange)
{
    if (exchange->body.is_done)
        return false;
    return exchange->answer == MIR__HTTP_ANSWER_DONE ||
           (exchange->on_body != NULL && !exchange->body_is_paused);
}

/* When the connection has to have moved on. HEAD and LINGER have theirs from their beginning. */
static void set_deadline(struct mir__http_conn *conn, bool has_moved)
{
    const struct mir_http_limits *limits = &conn->server->limits;
    mir_time_us now_us = mir__http_now(conn->server);
    if (conn->state == MIR__HTTP_IDLE) {
        /* The lazy timer comes by here too, early and without anything having happened. */
        if (has_moved || conn->deadline_us == MIR_TIME_NEVER)
            conn->deadline_us = now_us + limits->idle_timeout_ms * MIR_US_PER_MS;
    } else if (conn->state == MIR__HTTP_EXCHANGE) {
        if (waits_to_send(conn->exchange)) {
            if (has_moved || conn->deadline_us == MIR_TIME_NEVER)
                conn->deadline_us = now_us + limits->send_timeout_ms * MIR_US_PER_MS;
        } else if (waits_for_body(conn->exchange)) {
            if (has_moved || conn->deadline_us == MIR_TIME_NEVER)
                conn->deadline_us = now_us + limits->body_timeout_ms * MIR_US_PER_MS;
        } else {
            conn->deadline_us = MIR_TIME_NEVER;
        }
    }
    if (conn->deadline_us < conn->timer_at_us) {
        conn->timer_at_us = conn->deadline_us;
        mir_timer_set(conn->server->stack->loop, &conn->timer, conn->deadline_us);
    }
}

static void too_late(struct mir__http_conn *conn)
{
    switch ((enum mir__http_conn_state)conn->state) {
    case MIR__HTTP_IDLE:
    case MIR__HTTP_LINGER:
        close_in_order(conn);
        break;
    case MIR__HTTP_HEAD:
        conn->server->stats.timeouts++;
        answer_error(conn, 408);
        break;
    case MIR__HTTP_EXCHANGE:
        conn->server->stats.timeouts++;
        if (waits_to_send(conn->exchange))
            mir__http_conn_fail(conn, -MIR_ETIMEDOUT);
        else
            body_failed(conn, 408, -MIR_ETIMEDOUT);
        break;
    case MIR__HTTP_DEAD:
        break;
    }
}

static void on_timer(void *arg)
{
    struct mir__http_conn *conn = arg;
    conn->timer_at_us = MIR_TIME_NEVER;
    if (conn->state != MIR__HTTP_DEAD && mir__http_now(conn->server) >= conn->deadline_us) {
        conn->is_running = true;
        too_late(conn);
        conn->is_running = false;
        conn->deadline_us = MIR_TIME_NEVER;
    }
    run(conn);
}

/* ---- the loop
 * ------------------------------------------------------------------------------------- */

static bool step(struct mir__http_conn *conn, uint32_t *burst)
{
    switch ((enum mir__http_conn_state)conn->state) {
    case MIR__HTTP_IDLE:
        if (conn->in.len == 0) {
            int r = fetch(conn);
            if (r == -MIR_EEOF)
                close_in_order(conn);
            if (r < 0)
                return false;
        }
        if ((*burst)++ == MIR__HTTP_BURST) {
            mir_loop_post(conn->server->stack->loop, &conn->work);
            return false;
        }
        return mir__http_ready_answer(conn) || begin_exchange(conn);
    case MIR__HTTP_HEAD:
        return step_head(conn);
    case MIR__HTTP_EXCHANGE:
        return step_exchange(conn);
    case MIR__HTTP_LINGER:
        return step_linger(conn);
    case MIR__HTTP_DEAD:
        break;
    }
    return false;
}

static void run(struct mir__http_conn *conn)
{
    struct mir_http_server *server = conn->server;
    uint32_t burst = 0;
    bool has_moved = false;
    conn->is_running = true;
    server->running++;
    while (step(conn, &burst))
        has_moved = true;
    server->running--;
    conn->is_running = false;
    if (conn->state == MIR__HTTP_DEAD)
        mir__http_conn_destroy(conn, conn->error);
    else
        set_deadline(conn, has_moved);
}

static void on_work(void *arg)
{
    run(arg);
}

static void on_tcp(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir__http_conn *conn = arg;
    if (events & (MIR_TCP_FAILED | MIR_TCP_CLOSED)) {
        int error = mir_tcp_error(tcp);
        mir_tcp_close(tcp);
        set_dead(conn, error < 0 ? error : -MIR_ECLOSED);
    }
    if (!conn->is_running)
        run(conn);
}

void mir__http_conn_open(struct mir_http_server *server, struct mir_tcp *tcp_given)
{
    struct mir__http_conn *conn = mir_pool_alloc(&server->conn_pool);
    server->stats.connections++;
    if (conn == NULL) {
        server->stats.connections_refused++;
        int r = send_refusal(server, tcp_given);
        MIR_LOG(HTTP, INFO, "connection refused open=%u sent=%d", server->stats.connections_open,
                r);
        mir_tcp_close(tcp_given);
        return;
    }
    mir_memset(conn, 0, sizeof *conn);
    conn->server = server;
    conn->tcp = tcp_given;
    conn->deadline_us = MIR_TIME_NEVER;
    conn->timer_at_us = MIR_TIME_NEVER;
    mir_timer_init(&conn->timer, on_timer, conn);
    mir_work_init(&conn->work, on_work, conn);
    mir_list_push_back(&server->conns, &conn->link);
    server->stats.connections_open++;
    /* Answers are sent whole: waiting for acknowledgements would only delay their ends. A stack
     * without the option works as well. */
    int r = mir_tcp_set_option(tcp_given, MIR_TCP_NODELAY, 1);
    if (r < 0)
        MIR_LOG(HTTP, DEBUG, "no TCP_NODELAY: %s", mir_strerror(r));
    mir_tcp_set_handler(tcp_given, on_tcp, conn);
    run(conn);
}
