/* SPDX-License-Identifier: ISC */
/* Ready answers: what is remembered, what is not, and that nobody can tell the difference. */
#include "test/harness/httpbed.h"

static uint64_t ready_count(void)
{
    struct mir_http_stats stats;
    mir_http_server_stats(server, &stats);
    return stats.responses_ready;
}

static void test_ready_answers(void)
{
    static char first[2000];
    begin();
    tap_case("a request seen before gets the same bytes, without parsing");
    struct fake_conn *conn = fake_connect(&fake);
    snprintf(first, sizeof first, "%s", ask(conn, GET("/digits")));
    check_int(ready_count(), ==, 0);
    check_str(ask(conn, GET("/digits")), first);
    check_int(ready_count(), ==, 1);
    check_str(once(GET("/digits")), first);
    check_int(ready_count(), ==, 2);
    tap_case("HEAD stays without a body, and another path is another request");
    check_str(body_of(ask(conn, REQ("HEAD /digits", ""))), "");
    check_str(body_of(ask(conn, REQ("HEAD /digits", ""))), "");
    check_int(ready_count(), ==, 3);
    check_int(status_of(ask(conn, GET("/digitz"))), ==, 404);
    check_int(status_of(ask(conn, GET("/digitz"))), ==, 404);
    check_int(ready_count(), ==, 3);
    tap_case("conditions, ranges, closing and bodies are looked at every time");
    static const char *const never[] = {
        REQ("GET /digits", "If-None-Match: \"x\"\r\n"),
        REQ("GET /digits", "If-Modified-Since: Sun, 06 Nov 1988 08:49:37 GMT\r\n"),
        REQ("GET /digits", "Range: bytes=0-3\r\n"),
        REQ("GET /digits", "Connection: close\r\n"),
        REQ("GET /digits", "Content-Length: 3\r\n") "abc",
        "GET /digits HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        GET("/hello"),
    };
    for (size_t i = 0; i < MIR_ARRAY_LEN(never); i++) {
        snprintf(first, sizeof first, "%s", once(never[i]));
        check_str(once(never[i]), first);
        check_int(ready_count(), ==, 3);
    }
    tap_case("two requests in one view, and one cut in two, are parsed");
    fake_clear(conn);
    fake_send_text(conn, GET("/digits") GET("/digits"));
    check(has(fake_text(conn), "abcdefghijHTTP/1.1 200 OK"));
    fake_clear(conn);
    fake_send_text(conn, "GET /digits HTTP/1.1\r\nHo");
    fake_send_text(conn, "st: h\r\n\r\n");
    check_int(status_of(fake_text(conn)), ==, 200);
    tap_case("without room for all of it the answer waits as ever, and comes whole");
    uint64_t before = ready_count();
    fake_set_room(conn, 50);
    fake_clear(conn);
    fake_send_text(conn, GET("/digits"));
    check_int(ready_count(), ==, (long long)before);
    for (int i = 0; i < 20; i++)
        fake_set_room(conn, 50);
    check(has(fake_text(conn), "0123456789abcdefghij"));
    fake_set_room(conn, 1u << 20);
    tap_case("a new route takes over a path that was served from a store");
    check_int(mir_http_route(server, "/digits", MIR_HTTP_GET, hello, NULL), ==, 0);
    snprintf(first, sizeof first, "%s", ask(conn, GET("/hello")));
    check_str(body_of(ask(conn, GET("/digits"))), body_of(first));
    check_int(ready_count(), ==, (long long)before);
    end();
}

int main(void)
{
    tap_begin("http_ready");
    test_ready_answers();
    return tap_done();
}
