/* SPDX-License-Identifier: ISC */
/* The HTTP server over a stack that is a test double: every byte in and out is seen here. */
#include "test/harness/httpbed.h"

/* ---- the tests
 * ----------------------------------------------------------------------------------------- */

static void test_static(void)
{
    const char *a;
    begin();
    tap_case("a small page leaves in one send with all its lines");
    struct fake_conn *conn = fake_connect(&fake);
    a = ask(conn, GET("/digits"));
    check_int(conn->send_calls, ==, 1);
    check_str(a, "HTTP/1.1 200 OK\r\nServer: mirari\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                 "Content-Type: text/plain\r\nETag: \"d1\"\r\nContent-Length: 20\r\n\r\n"
                 "0123456789abcdefghij");
    tap_case("keep-alive: the same connection answers again, with a newer date");
    wall_us += 2 * MIR_US_PER_S;
    fake_advance(&fake, 2 * MIR_US_PER_S);
    a = ask(conn, GET("/digits"));
    check(has(a, "Date: Sun, 06 Nov 1994 08:49:39 GMT\r\n"));
    check(!conn->got_fin);
    tap_case("HEAD: the same head, no body");
    a = ask(conn, REQ("HEAD /digits", ""));
    check(has(a, "Content-Length: 20\r\n\r\n"));
    check_str(body_of(a), "");
    tap_case("empty file");
    a = ask(conn, GET("/empty"));
    check(has(a, "Content-Length: 0\r\n\r\n"));
    check_int(status_of(a), ==, 200);
    tap_case("folders: index.html, redirect to the slash, query kept");
    check_str(body_of(ask(conn, GET("/"))), "<h1>index</h1>\n");
    check_str(body_of(ask(conn, GET("/dir/"))), "<h1>index</h1>\n");
    check_str(body_of(ask(conn, GET("/docs/dir/"))), "<h1>index</h1>\n");
    a = ask(conn, GET("/dir?x=1"));
    check_int(status_of(a), ==, 301);
    check(has(a, "\r\nLocation: /dir/?x=1\r\n"));
    a = ask(conn, GET("/docs"));
    check(has(a, "\r\nLocation: /docs/\r\n"));
    tap_case("404 with the store's page, without it outside of HEAD, no connection lost");
    a = ask(conn, GET("/nothing"));
    check_int(status_of(a), ==, 404);
    check_str(body_of(a), "0123456789abcdefghij");
    check(!conn->got_fin);
    tap_case("decoded paths find their keys; dot-dot does not leave the root");
    check_int(status_of(ask(conn, GET("/a%20b.txt"))), ==, 200);
    check_int(status_of(ask(conn, GET("/dir/../digits"))), ==, 200);
    check_int(status_of(ask(conn, GET("/%64igits"))), ==, 200);
    check_int(status_of(ask(conn, GET("//digits"))), ==, 200);
    check_int(status_of(ask(conn, GET("http://h/digits"))), ==, 200);
    check_int(status_of(once(GET("/../digits"))), ==, 400);
    check_int(status_of(once(GET("/dir/%2e%2e/%2e%2E/etc"))), ==, 400);
    check_int(status_of(once(GET("/digits%00.html"))), ==, 400);
    check_int(status_of(once(GET("/%zz"))), ==, 400);
    tap_case("a large file goes by reference and whole");
    a = ask(conn, GET("/big.bin"));
    const char *body = body_of(a);
    check_int(conn->out_len - (size_t)(body - a), ==, sizeof big_bytes);
    check_mem(body, big_bytes, sizeof big_bytes);
    end();
}

static void test_methods(void)
{
    const char *a;
    begin();
    tap_case("405 with Allow, 501, OPTIONS, HEAD of a handler");
    a = once(REQ("POST /digits", "Content-Length: 0\r\n"));
    check_int(status_of(a), ==, 405);
    check(has(a, "\r\nAllow: GET, HEAD, OPTIONS\r\n"));
    check_int(status_of(once(REQ("BREW /digits", ""))), ==, 501);
    check_int(status_of(once(REQ("CONNECT h:80", ""))), ==, 501);
    a = once(REQ("OPTIONS /upload", ""));
    check_int(status_of(a), ==, 204);
    check(has(a, "\r\nAllow: POST, PUT, OPTIONS\r\n"));
    check_int(status_of(once(REQ("OPTIONS *", ""))), ==, 204);
    a = once(REQ("HEAD /hello", ""));
    check(has(a, "Content-Length: 5\r\n"));
    check_str(body_of(a), "");
    tap_case("longest prefix wins; exact routes match only themselves");
    check_str(body_of(once(GET("/api/x/y"))), "hello");
    check_int(status_of(once(GET("/hello/x"))), ==, 404);
    check_int(mir_http_route(server, "/hello", MIR_HTTP_GET, hello, NULL), ==, -MIR_EEXIST);
    check_int(mir_http_route(server, "hello", MIR_HTTP_GET, hello, NULL), ==, -MIR_EINVAL);
    check_int(mir_http_route_kv(server, "/x", &test_kv), ==, -MIR_EINVAL);
    end();
}

static void test_versions(void)
{
    const char *a;
    begin();
    tap_case("HTTP/1.0 closes, unless it asks to stay");
    struct fake_conn *conn = fake_connect(&fake);
    a = ask(conn, "GET /digits HTTP/1.0\r\n\r\n");
    check_int(status_of(a), ==, 200);
    check(has(a, "\r\nConnection: close\r\n"));
    check(conn->is_closed && !conn->got_rst);
    conn = fake_connect(&fake);
    a = ask(conn, "GET /digits HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    check(has(a, "\r\nConnection: keep-alive\r\n"));
    check(!conn->is_closed);
    tap_case("Connection: close is honoured");
    a = ask(conn, REQ("GET /digits", "Connection: foo, Close\r\n"));
    check(has(a, "\r\nConnection: close\r\n"));
    check(conn->is_closed && conn->got_fin && !conn->got_rst);
    tap_case("505 and 400 for other versions");
    check_int(status_of(once("GET / HTTP/2.0\r\nHost: h\r\n\r\n")), ==, 505);
    check_int(status_of(once("GET /\r\n\r\n")), ==, 400);
    tap_case("streams: chunked to 1.1, until close to 1.0, counted when the size is known");
    a = once(GET("/stream"));
    check(has(a, "\r\nTransfer-Encoding: chunked\r\n"));
    check(has(a, "\r\nX-Test: yes\r\n"));
    check(has(a, "\r\n\r\n3e8\r\n"));
    check(has(a, "\r\n0\r\n\r\n"));
    a = once("GET /stream HTTP/1.0\r\n\r\n");
    check(strstr(a, "chunked") == NULL);
    check_int(strlen(body_of(a)), ==, 5000);
    a = once(GET("/stream?sized"));
    check(has(a, "\r\nContent-Length: 5000\r\n"));
    check_int(strlen(body_of(a)), ==, 5000);
    a = once(REQ("HEAD /stream", ""));
    check_str(body_of(a), "");
    end();
}

static void test_pieces(void)
{
    static const char request[] =
        "\r\nPOST /upload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
        "\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: t\r\n\r\n" GET("/digits");
    begin();
    tap_case("a request that comes byte by byte");
    struct fake_conn *conn = fake_connect(&fake);
    for (size_t i = 0; i + 1 < sizeof request; i++)
        fake_send(conn, request + i, 1);
    check_mem(upload, "hello world", 11);
    check_int(upload_len, ==, 11);
    check_int(lasts, ==, 1);
    check(has(fake_text(conn), "got 11"));
    check(has(fake_text(conn), "0123456789abcdefghij"));
    tap_case("every cut into two pieces gives the same answers");
    char first[2000];
    snprintf(first, sizeof first, "%s", fake_text(conn));
    int different = 0;
    for (size_t cut = 1; cut + 1 < sizeof request; cut++) {
        conn = fake_connect(&fake);
        fake_send(conn, request, cut);
        fake_send(conn, request + cut, sizeof request - 1 - cut);
        if (strcmp(fake_text(conn), first) != 0) {
            tap_note("cut at %zu: %.300s", cut, fake_text(conn));
            different++;
        }
        fake_conn_free(conn);
    }
    check_int(different, ==, 0);
    end();
}

static void test_pipelining(void)
{
    static char many[20000];
    begin();
    tap_case("pipelined requests are answered in order");
    struct fake_conn *conn = fake_connect(&fake);
    const char *a = ask(conn, GET("/digits") GET("/hello") GET("/later") GET("/"));
    check(strstr(a, "abcdefghij") < strstr(a, "hello"));
    check(strstr(a, "index") == NULL);
    check(held != NULL);
    check_int(mir_http_respond(held, 200, "text/plain", "LATE", 4), ==, 0);
    fake_run(&fake);
    a = fake_text(conn);
    check(strstr(a, "LATE") != NULL && strstr(a, "LATE") < strstr(a, "index"));
    check_int(ends, ==, 1);
    check_int(last_error, ==, 0);
    tap_case("500 in one view");
    const size_t one = sizeof GET("/hello") - 1;
    for (size_t i = 0; i < 500; i++)
        memcpy(many + i * one, GET("/hello"), one);
    fake_clear(conn);
    fake_send(conn, many, 500 * one);
    int n = 0;
    for (const char *p = fake_text(conn); (p = strstr(p, "HTTP/1.1 200 OK")) != NULL; p++)
        n++;
    check_int(n, ==, 500);
    tap_case("a full send buffer stops the pipeline and goes on later");
    fake_clear(conn);
    fake_set_room(conn, 100);
    fake_send(conn, many, 500 * one);
    for (int i = 0; i < 2000; i++)
        fake_set_room(conn, 100);
    n = 0;
    for (const char *p = fake_text(conn); (p = strstr(p, "HTTP/1.1 200 OK")) != NULL; p++)
        n++;
    check_int(n, ==, 500);
    end();
}

static void test_uploads(void)
{
    const char *a;
    static char big[66000];
    memset(big, 'u', sizeof big);
    begin();
    tap_case("counted upload");
    struct fake_conn *conn = fake_connect(&fake);
    a = ask(conn, REQ("PUT /upload", "Content-Length: 5\r\n") "hello" GET("/hello"));
    check(has(a, "got 5"));
    check(has(a, "\r\n\r\nhello"));
    tap_case("empty uploads, with and without a length, tell the end once");
    lasts = 0;
    check(has(ask(conn, REQ("PUT /upload", "Content-Length: 0\r\n")), "got 0"));
    check(has(ask(conn, REQ("PUT /upload", "")), "got 0"));
    check_int(lasts, ==, 2);
    tap_case("100 (Continue) is sent when the body is awaited, not when it is there");
    a = ask(conn, REQ("PUT /upload", "Content-Length: 3\r\nExpect: 100-Continue\r\n"));
    check_str(a, "HTTP/1.1 100 Continue\r\n\r\n");
    check(has(ask(conn, "abc"), "got 3"));
    a = ask(conn, REQ("PUT /upload", "Content-Length: 3\r\nExpect: 100-continue\r\n") "abc");
    check(strstr(a, "Continue") == NULL);
    check_int(status_of(a), ==, 200);
    tap_case("no 100 when nobody wants the body: the connection ends");
    a = ask(conn, REQ("GET /hello", "Content-Length: 3\r\nExpect: 100-continue\r\n"));
    check(has(a, "HTTP/1.1 200 OK"));
    check(conn->got_fin);
    conn = fake_connect(&fake);
    check_int(status_of(ask(conn, REQ("GET /hello", "Expect: 200-ok\r\n"))), ==, 417);
    tap_case("a small body nobody asked for is read over, a large one ends the connection");
    conn = fake_connect(&fake);
    a = ask(conn, REQ("GET /hello", "Content-Length: 4\r\n") "GET " GET("/digits"));
    check(has(a, "abcdefghij"));
    a = ask(conn, REQ("GET /hello", "Content-Length: 100000\r\n"));
    check(has(a, "hello"));
    check(conn->got_fin && !conn->is_closed);
    fake_send(conn, big, sizeof big);
    fake_send_fin(conn);
    check(conn->is_closed && !conn->got_rst);
    tap_case("paused: nothing is taken from TCP until it is resumed");
    conn = fake_connect(&fake);
    pause_next = true;
    fake_send_text(conn, REQ("PUT /upload", "Content-Length: 66000\r\n"));
    fake_send(conn, big, 1000);
    check_int(upload_len, ==, 1000);
    fake_send(conn, big, 32000);
    fake_send(conn, big, 33000);
    check_int(upload_len, ==, 1000);
    check_int(conn->in_count, ==, 2);
    fake_advance(&fake, 100 * MIR_US_PER_S);
    check(!conn->is_closed);
    mir_http_resume_body(held);
    fake_run(&fake);
    check_int(upload_len, ==, 66000);
    check(has(fake_text(conn), "got 66000"));
    tap_case("413 before the body, and when a chunked body grows too large");
    end();
    test_limits.body_bytes = 10;
    begin();
    check_int(status_of(once(REQ("PUT /upload", "Content-Length: 11\r\n"))), ==, 413);
    check_int(status_of(once(
                  REQ("PUT /upload", "Transfer-Encoding: chunked\r\n") "6\r\nabcdef\r\n5\r\n")),
              ==, 413);
    tap_case("a broken or short chunked body is 400, and the handler hears of it");
    ends = 0;
    check_int(status_of(once(REQ("PUT /upload", "Transfer-Encoding: chunked\r\n") "zz\r\n")), ==,
              400);
    check_int(ends, ==, 1);
    conn = fake_connect(&fake);
    fake_send_text(conn, REQ("PUT /upload", "Content-Length: 10\r\n") "abc");
    fake_send_fin(conn);
    check_int(status_of(fake_text(conn)), ==, 400);
    check(conn->is_closed);
    end();
}

static void test_client_leaves(void)
{
    begin();
    tap_case("reset while a handler works: on_end with the error, later calls fail");
    struct fake_conn *conn = fake_connect(&fake);
    fake_send_text(conn, GET("/later"));
    check(held != NULL);
    fake_reset(conn);
    check_int(ends, ==, 1);
    check_int(last_error, ==, -MIR_ECONNRESET);
    tap_case("half-closed: the answer still comes, then the connection ends");
    conn = fake_connect(&fake);
    fake_send_text(conn, GET("/later"));
    fake_send_fin(conn);
    check(held != NULL && !conn->is_closed);
    check_int(mir_http_respond(held, 200, NULL, "x", 1), ==, 0);
    fake_run(&fake);
    check(has(fake_text(conn), "Content-Length: 1"));
    check(conn->is_closed && !conn->got_rst);
    tap_case("a handler that sends too little resets, too much is refused");
    conn = fake_connect(&fake);
    fake_send_text(conn, GET("/later"));
    check_int(mir_http_begin(held, 200, NULL, 10), ==, 0);
    check_int(mir_http_send(held, "0123456789x", 11), ==, -MIR_ERANGE);
    check_int(mir_http_send(held, "01234", 5), ==, 0);
    check_int(mir_http_finish(held), ==, -MIR_ETRUNCATED);
    check(conn->got_rst);
    check_int(mir_http_send(held, "01234", 5), ==, -MIR_ECLOSED);
    fake_run(&fake);
    check_int(last_error, ==, -MIR_ETRUNCATED);
    tap_case("large answers of a handler wait in pages and arrive whole; header checks");
    conn = fake_connect(&fake);
    fake_send_text(conn, GET("/later"));
    check_int(mir_http_add_header(held, "X-A", "b\r\nEvil: 1"), ==, -MIR_EINVAL);
    check_int(mir_http_add_header(held, "Content-Length", "5"), ==, -MIR_EINVAL);
    check_int(mir_http_add_header(held, "bad name", "5"), ==, -MIR_EINVAL);
    fake_set_room(conn, 500);
    check_int(mir_http_respond(held, 201, "x/y", big_bytes, sizeof big_bytes), ==, 0);
    for (int i = 0; i < 10; i++)
        fake_set_room(conn, 40000);
    const char *body = body_of(fake_text(conn));
    check_int(conn->out_len - (size_t)(body - fake_text(conn)), ==, sizeof big_bytes);
    check_mem(body_of(fake_text(conn)), big_bytes, sizeof big_bytes);
    tap_case("server closed while a handler works");
    fake_send_text(conn, GET("/later"));
    ends = 0;
    mir_http_server_close(server);
    check_int(ends, ==, 1);
    check_int(last_error, ==, -MIR_ECANCELED);
    check(fake_stack_fini(&fake));
}

static void test_time(void)
{
    begin();
    tap_case("idle connections are closed silently after 60 s");
    struct fake_conn *conn = fake_connect(&fake);
    fake_send_text(conn, GET("/hello"));
    fake_clear(conn);
    fake_advance(&fake, 59 * MIR_US_PER_S);
    check(!conn->is_closed);
    fake_advance(&fake, 2 * MIR_US_PER_S);
    check(conn->is_closed && !conn->got_rst);
    check_str(fake_text(conn), "");
    tap_case("a slow head gets 408 after 10 s, however busily it trickles");
    conn = fake_connect(&fake);
    fake_send_text(conn, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < 10 && conn->out_len == 0; i++) {
        fake_send_text(conn, "A: b\r\n");
        fake_advance(&fake, MIR_US_PER_S);
    }
    fake_advance(&fake, 20000);
    check_int(status_of(fake_text(conn)), ==, 408);
    check(conn->got_fin);
    tap_case("408 for a body that stops");
    conn = fake_connect(&fake);
    fake_send_text(conn, REQ("PUT /upload", "Content-Length: 10\r\n") "abc");
    fake_advance(&fake, 29 * MIR_US_PER_S);
    fake_send_text(conn, "d");
    fake_advance(&fake, 29 * MIR_US_PER_S);
    check(conn->out_len == 0);
    fake_advance(&fake, 2 * MIR_US_PER_S);
    check_int(status_of(fake_text(conn)), ==, 408);
    tap_case("a client that does not read is reset after 30 s without progress");
    conn = fake_connect(&fake);
    fake_set_room(conn, 1000);
    fake_send_text(conn, GET("/big.bin"));
    fake_advance(&fake, 29 * MIR_US_PER_S);
    fake_set_room(conn, 1000);
    fake_advance(&fake, 29 * MIR_US_PER_S);
    check(!conn->is_closed);
    fake_advance(&fake, 2 * MIR_US_PER_S);
    check(conn->got_rst);
    tap_case("the same for a handler's stream");
    conn = fake_connect(&fake);
    fake_set_room(conn, 1000);
    ends = 0;
    fake_send_text(conn, GET("/stream"));
    fake_advance(&fake, 31 * MIR_US_PER_S);
    check(conn->got_rst);
    check_int(ends, ==, 1);
    check_int(last_error, ==, -MIR_ETIMEDOUT);
    tap_case("a handler may take its time");
    conn = fake_connect(&fake);
    fake_send_text(conn, GET("/later"));
    fake_advance(&fake, 1000 * MIR_US_PER_S);
    check(!conn->is_closed && held != NULL);
    tap_case("after an error page the peer's bytes are dropped for 2 s, then the connection ends");
    conn = fake_connect(&fake);
    fake_send_text(conn, "BAD\r\n\r\n trailing");
    check(conn->got_fin && !conn->is_closed);
    fake_send_text(conn, "more");
    fake_advance(&fake, 3 * MIR_US_PER_S);
    check(conn->is_closed);
    end();
}

static void test_late_answers(void)
{
    begin();
    tap_case("an idle connection does not live on because its timer came early");
    struct fake_conn *conn = fake_connect(&fake);
    fake_send_text(conn, GET("/hello"));
    fake_advance(&fake, 30 * MIR_US_PER_S);
    fake_send_text(conn, GET("/hello"));
    fake_advance(&fake, 59 * MIR_US_PER_S);
    check(!conn->is_closed);
    fake_advance(&fake, 2 * MIR_US_PER_S);
    check(conn->is_closed);
    tap_case("a late answer has the date of its own time");
    conn = fake_connect(&fake);
    fake_send_text(conn, GET("/later"));
    fake_advance(&fake, 100 * MIR_US_PER_S);
    wall_us += 100 * MIR_US_PER_S;
    check_int(mir_http_respond(held, 200, NULL, NULL, 0), ==, 0);
    fake_run(&fake);
    check(has(fake_text(conn), "Date: Sun, 06 Nov 1994 08:51:17 GMT\r\n"));
    tap_case("a piece that does not fit, sent from outside, is under the time limit");
    conn = fake_connect(&fake);
    fake_send_text(conn, GET("/later"));
    fake_set_room(conn, 1000);
    check_int(mir_http_begin(held, 200, NULL, UINT64_MAX), ==, 0);
    check_int(mir_http_send(held, big_bytes, 100000), ==, 0);
    fake_advance(&fake, 31 * MIR_US_PER_S);
    check(conn->got_rst);
    check_int(last_error, ==, -MIR_ETIMEDOUT);
    tap_case("a body paused from outside of its callback is not the client's fault");
    conn = fake_connect(&fake);
    fake_send_text(conn, REQ("PUT /upload", "Content-Length: 4\r\n") "ab");
    fake_advance(&fake, MIR_US_PER_S);
    mir_http_pause_body(taken);
    fake_advance(&fake, 100 * MIR_US_PER_S);
    check_str(fake_text(conn), "");
    mir_http_resume_body(taken);
    fake_send_text(conn, "cd");
    check(has(fake_text(conn), "got 4"));
    end();
}

static void test_answers_in_place_of_the_handler(void)
{
    begin();
    tap_case("an error page has none of the handler's header lines, and the handler is told why");
    check_int(mir_http_route(server, "/zipped", MIR_HTTP_PUT, take_zipped, NULL), ==, 0);
    struct fake_conn *conn = fake_connect(&fake);
    fake_send_text(conn, REQ("PUT /zipped", "Transfer-Encoding: chunked\r\n") "zz\r\n");
    check_int(status_of(fake_text(conn)), ==, 400);
    check(strstr(fake_text(conn), "Content-Encoding") == NULL);
    fake_conn_free(conn);
    check_int(last_error, ==, -MIR_EMALFORMED);
    tap_case("a handler is told that its body came too late, and that it was cut");
    conn = fake_connect(&fake);
    fake_send_text(conn, REQ("PUT /upload", "Content-Length: 10\r\n") "abc");
    fake_advance(&fake, 31 * MIR_US_PER_S);
    check_int(last_error, ==, -MIR_ETIMEDOUT);
    fake_conn_free(conn);
    conn = fake_connect(&fake);
    fake_send_text(conn, REQ("PUT /upload", "Content-Length: 10\r\n") "abc");
    fake_send_fin(conn);
    check_int(last_error, ==, -MIR_ETRUNCATED);
    fake_conn_free(conn);
    tap_case("the answer to a request whose body nobody reads is not lost when the body is cut");
    conn = fake_connect(&fake);
    fake_send_text(conn, REQ("POST /hello", "Content-Length: 10\r\n") "abc");
    fake_send_fin(conn);
    check_int(status_of(fake_text(conn)), ==, 405);
    check(conn->is_closed && !conn->got_rst);
    fake_conn_free(conn);
    tap_case("a handler that pauses its body and answers then does not block the connection");
    conn = fake_connect(&fake);
    pause_next = true;
    fake_send_text(conn, REQ("PUT /upload", "Content-Length: 4\r\n") "ab");
    check_int(mir_http_respond(taken, 507, NULL, "full", 4), ==, 0);
    fake_run(&fake);
    check_int(status_of(fake_text(conn)), ==, 507);
    fake_clear(conn);
    fake_send_text(conn, "cd" GET("/hello"));
    check_int(status_of(fake_text(conn)), ==, 200);
    fake_conn_free(conn);
    tap_case("an answer after which the connection ends says so");
    check(has(once(REQ("POST /hello", "Content-Length: 1000000\r\n") "abc"),
              "Connection: close\r\n"));
    check(has(once(REQ("POST /hello", "Content-Length: 3\r\nExpect: 100-continue\r\n")),
              "Connection: close\r\n"));
    check(strstr(once(REQ("POST /hello", "Content-Length: 3\r\n") "abc"), "Connection") == NULL);
    end();
}

static void test_limits_of_requests(void)
{
    static char request[70000];
    begin();
    tap_case("414, 431 by bytes, 431 by count");
    size_t n = (size_t)snprintf(request, sizeof request, "GET /");
    memset(request + n, 'a', 9000);
    snprintf(request + n + 9000, 100, " HTTP/1.1\r\nHost: h\r\n\r\n");
    check_int(status_of(once(request)), ==, 414);
    n = (size_t)snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: h\r\nA: ");
    memset(request + n, 'a', 17000);
    snprintf(request + n + 17000, 100, "\r\n\r\n");
    check_int(status_of(once(request)), ==, 431);
    n = (size_t)snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < 100; i++)
        n += (size_t)snprintf(request + n, 100, "A: %d\r\n", i);
    snprintf(request + n, 100, "\r\n");
    check_int(status_of(once(request)), ==, 431);
    tap_case("an unfinished line that is too long is refused before it ends");
    struct fake_conn *conn = fake_connect(&fake);
    memset(request, 'A', sizeof request);
    for (int i = 0; i < 9 && conn->out_len == 0; i++)
        fake_send(conn, request, 1000);
    check_int(status_of(fake_text(conn)), ==, 414);
    tap_case("a head of the largest size is taken, in one piece and in many");
    n = (size_t)snprintf(request, sizeof request, "GET /digits HTTP/1.1\r\nHost: h\r\nA: ");
    memset(request + n, 'a', 16000);
    snprintf(request + n + 16000, 100, "\r\n\r\n");
    check_int(status_of(once(request)), ==, 200);
    conn = fake_connect(&fake);
    for (size_t at = 0; at < strlen(request); at += 777)
        fake_send(conn, request + at, MIR_MIN((size_t)777, strlen(request) - at));
    check_int(status_of(fake_text(conn)), ==, 200);
    end();
    tap_case("503 above the limit of connections; requests per connection");
    test_limits.connections = 2;
    test_limits.requests_per_connection = 2;
    begin();
    struct fake_conn *one = fake_connect(&fake);
    struct fake_conn *two = fake_connect(&fake);
    struct fake_conn *three = fake_connect(&fake);
    check_int(status_of(fake_text(three)), ==, 503);
    check(three->is_closed);
    check_int(status_of(ask(two, GET("/hello"))), ==, 200);
    check(!two->got_fin);
    check(has(ask(two, GET("/hello")), "Connection: close"));
    check(two->is_closed);
    check_int(status_of(ask(one, GET("/hello"))), ==, 200);
    struct mir_http_stats stats;
    mir_http_server_stats(server, &stats);
    check_int(stats.connections_refused, ==, 1);
    check_int(stats.requests, ==, 3);
    end();
}

static void test_negotiation(void)
{
    begin();
    tap_case("encodings");
    check_str(body_of(once(REQ("GET /", "Accept-Encoding: gzip\r\n"))), "GZIPPED");
    check_str(body_of(once(REQ("GET /", "Accept-Encoding: gzip, br\r\n"))), "BR");
    check_str(body_of(once(REQ("GET /", "Accept-Encoding: gzip\r\nAccept-Encoding: br\r\n"))),
              "BR");
    check_str(body_of(once(REQ("GET /", "Accept-Encoding: br;q=0.5, gzip\r\n"))), "GZIPPED");
    check_str(body_of(once(REQ("GET /", "Accept-Encoding: br;q=0, gzip;q=0\r\n"))),
              "<h1>index</h1>\n");
    check_str(body_of(once(REQ("GET /", "Accept-Encoding: *\r\n"))), "BR");
    check_str(body_of(once(REQ("GET /", "Accept-Encoding: \r\n"))), "<h1>index</h1>\n");
    check_str(body_of(once(REQ("GET /", "Accept-Encoding: identity, gzip;q=0.9\r\n"))),
              "<h1>index</h1>\n");
    check(has(once(REQ("GET /", "Accept-Encoding: br\r\n")), "\r\nContent-Encoding: br\r\n"));
    check(has(once(GET("/")), "\r\nVary: Accept-Encoding\r\n"));
    tap_case("conditions by entity tag");
    check_int(status_of(once(REQ("GET /digits", "If-None-Match: \"d1\"\r\n"))), ==, 304);
    check_int(status_of(once(REQ("GET /digits", "If-None-Match: \"x\", W/\"d1\"\r\n"))), ==, 304);
    check_int(status_of(once(REQ("GET /digits", "If-None-Match: *\r\n"))), ==, 304);
    check_int(status_of(once(REQ("GET /digits", "If-None-Match: \"d2\"\r\n"))), ==, 200);
    check_int(status_of(once(REQ("GET /", "If-None-Match: \"i0\"\r\nAccept-Encoding: br\r\n"))), ==,
              200);
    check_int(status_of(once(REQ("GET /digits", "If-Match: \"d1\"\r\n"))), ==, 200);
    check_int(status_of(once(REQ("GET /digits", "If-Match: W/\"d1\"\r\n"))), ==, 412);
    check_int(status_of(once(REQ("GET /digits", "If-Match: \"z\"\r\n"))), ==, 412);
    const char *a = once(REQ("GET /digits", "If-None-Match: \"d1\"\r\n"));
    check(has(a, "ETag: \"d1\"\r\n") && strstr(a, "Content-") == NULL);
    check_str(body_of(a), "");
    tap_case("conditions by date, in all three forms");
#define SINCE "If-Modified-Since: "
    check_int(status_of(once(REQ("GET /digits", SINCE "Sun, 06 Nov 1994 08:49:37 GMT\r\n"))), ==,
              304);
    check_int(status_of(once(REQ("GET /digits", SINCE "Sunday, 06-Nov-94 08:49:37 GMT\r\n"))), ==,
              304);
    check_int(status_of(once(REQ("GET /digits", SINCE "Sun Nov  6 08:49:37 1994\r\n"))), ==, 304);
    check_int(status_of(once(REQ("GET /digits", SINCE "Sun, 06 Nov 1994 08:49:36 GMT\r\n"))), ==,
              200);
    check_int(status_of(once(REQ("GET /digits", SINCE "yesterday\r\n"))), ==, 200);
    check_int(status_of(once(
                  REQ("GET /digits", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n"))),
              ==, 412);
    check_int(status_of(once(REQ("GET /digits", "If-None-Match: \"z\"\r\n" SINCE
                                                "Sun, 06 Nov 1994 08:49:37 GMT\r\n"))),
              ==, 200);
    end();
}

static void test_ranges(void)
{
    begin();
    tap_case("one range");
    const char *a = once(REQ("GET /digits", "Range: bytes=2-4\r\n"));
    check_int(status_of(a), ==, 206);
    check(has(a, "\r\nContent-Range: bytes 2-4/20\r\nContent-Length: 3\r\n"));
    check_str(body_of(a), "234");
    check_str(body_of(once(REQ("GET /digits", "Range: bytes=18-\r\n"))), "ij");
    check_str(body_of(once(REQ("GET /digits", "Range: bytes=-3\r\n"))), "hij");
    check_str(body_of(once(REQ("GET /digits", "Range: bytes=15-999\r\n"))), "fghij");
    check_str(body_of(once(REQ("GET /digits", "Range: bytes=-999\r\n"))), "0123456789abcdefghij");
    tap_case("416");
    a = once(REQ("GET /digits", "Range: bytes=20-\r\n"));
    check_int(status_of(a), ==, 416);
    check(has(a, "\r\nContent-Range: bytes */20\r\n"));
    check_int(status_of(once(REQ("GET /digits", "Range: bytes=-0\r\n"))), ==, 416);
    check_int(status_of(once(REQ("GET /empty", "Range: bytes=0-\r\n"))), ==, 416);
    tap_case("what is not a usable range is ignored");
    check_int(status_of(once(REQ("GET /digits", "Range: bytes=4-2\r\n"))), ==, 200);
    check_int(status_of(once(REQ("GET /digits", "Range: lines=1-2\r\n"))), ==, 200);
    check_int(status_of(once(REQ("GET /digits", "Range: bytes=a-b\r\n"))), ==, 200);
    check_int(status_of(once(REQ("GET /digits", "Range: bytes=\r\n"))), ==, 200);
    check_int(status_of(once(REQ("HEAD /digits", "Range: bytes=1-2\r\n"))), ==, 200);
    check_int(status_of(once(REQ("GET /digits", "Range: bytes=0-19,0-19\r\n"))), ==, 200);
    check_int(status_of(once(REQ("GET /digits", "Range: bytes=1-1\r\nRange: bytes=2-2\r\n"))), ==,
              200);
    tap_case("several ranges: multipart/byteranges with the right length");
    a = once(REQ("GET /digits", "Range: bytes=0-1, 10-11,-1\r\n"));
    check_int(status_of(a), ==, 206);
    check(has(a, "\r\nContent-Type: multipart/byteranges; boundary=mirari-part-d1\r\n"));
    const char *body = body_of(a);
    check_str(
        body,
        "\r\n--mirari-part-d1\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/20\r\n\r\n01"
        "\r\n--mirari-part-d1\r\nContent-Type: text/plain\r\nContent-Range: bytes "
        "10-11/20\r\n\r\nab"
        "\r\n--mirari-part-d1\r\nContent-Type: text/plain\r\nContent-Range: bytes 19-19/20\r\n\r\nj"
        "\r\n--mirari-part-d1--\r\n");
    char line[64];
    snprintf(line, sizeof line, "Content-Length: %zu\r\n", strlen(body));
    check(has(a, line));
    tap_case("If-Range");
    check_int(status_of(once(REQ("GET /digits", "Range: bytes=1-2\r\nIf-Range: \"d1\"\r\n"))), ==,
              206);
    check_int(status_of(once(REQ("GET /digits", "Range: bytes=1-2\r\nIf-Range: \"d2\"\r\n"))), ==,
              200);
    check_int(status_of(once(REQ("GET /digits", "Range: bytes=1-2\r\nIf-Range: W/\"d1\"\r\n"))), ==,
              200);
    check_int(status_of(once(REQ("GET /digits", "Range: bytes=1-2\r\nIf-Range: Sun, 06 Nov 1994 "
                                                "08:49:37 GMT\r\n"))),
              ==, 206);
    check_int(status_of(once(REQ("GET /digits", "Range: bytes=1-2\r\nIf-Range: Sun, 06 Nov 1994 "
                                                "08:49:38 GMT\r\n"))),
              ==, 200);
    tap_case("a large range through a small window");
    struct fake_conn *conn = fake_connect(&fake);
    fake_set_room(conn, 3000);
    fake_send_text(conn, REQ("GET /big.bin", "Range: bytes=12345-299998, 0-0\r\n"));
    for (int i = 0; i < 200; i++)
        fake_set_room(conn, 3000);
    const uint8_t *part = memmem(conn->out, conn->out_len, "/300000\r\n\r\n", 11);
    check(part != NULL && memcmp(part + 11, big_bytes + 12345, 299999 - 12345) == 0);
    check(memcmp(conn->out + conn->out_len - 6, "ig--\r\n", 6) == 0);
    end();
}

static void test_memory(void)
{
    tap_case(
        "every failing allocation ends in an answer or a closed connection, and nothing leaks");
    int answered = 0, survived = 0;
    for (uint64_t nth = 1; nth < 12; nth++) {
        begin();
        struct fake_conn *conn = fake_connect(&fake);
        fake_set_room(conn, 100);
        mir_page_pool_fail_at(&fake.pages, nth);
        fake_send_text(conn, "GET /%64igits HTTP/1.1\r\nHost: h\r\nA: ");
        fake_send_text(conn, "b\r\n\r\n" GET("/later"));
        for (int i = 0; i < 20; i++)
            fake_set_room(conn, 100);
        if (held != NULL && mir_http_respond(held, 200, NULL, big_bytes, sizeof big_bytes) == 0)
            answered++;
        for (int i = 0; i < 50; i++)
            fake_set_room(conn, 100000);
        survived += !conn->is_closed;
        mir_page_pool_fail_at(&fake.pages, 0);
        end();
    }
    check_int(survived, >, 0);
    check_int(survived, <, 11);
    tap_case("100,000 requests leave nothing behind");
    begin();
    size_t used = 0;
    for (int i = 0; i < 100; i++) {
        struct fake_conn *conn = fake_connect(&fake);
        for (int j = 0; j < 1000; j++) {
            fake_clear(conn);
            fake_queue(conn, GET("/digits"), sizeof GET("/digits") - 1);
            conn->room = 1u << 20;
            conn->tcp.handler(&conn->tcp, MIR_TCP_READABLE, conn->tcp.handler_arg);
        }
        fake_conn_free(conn);
        if (i == 0)
            used = mir_page_pool_used_bytes(&fake.pages);
    }
    check_int(mir_page_pool_used_bytes(&fake.pages), ==, used);
    struct mir_http_stats stats;
    mir_http_server_stats(server, &stats);
    check_int(stats.responses_2xx, ==, 100000);
    end();
}

int main(void)
{
    tap_begin("http_server");
    test_static();
    test_methods();
    test_versions();
    test_pieces();
    test_pipelining();
    test_uploads();
    test_client_leaves();
    test_time();
    test_late_answers();
    test_answers_in_place_of_the_handler();
    test_limits_of_requests();
    test_negotiation();
    test_ranges();
    test_memory();
    return tap_done();
}
