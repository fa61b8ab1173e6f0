/* SPDX-License-Identifier: ISC */
/* Parsers of the HTTP server: request heads, paths, chunked bodies, dates, lists. Tables of what is
 * taken and what is refused, each tried whole and in two pieces at every cut. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mirari/err.h>

#include "lib/http/parse.h"
#include "test/harness/tap.h"

static const struct mir_http_limits limits = {
    .request_line_bytes = 200, .header_bytes = 600, .header_count = 12};

/* ---- heads ------------------------------------------------------------------------------------
 */

/* 0: a whole head; 1: more is needed; else the status to answer. */
static int parse_once(struct mir__http_request *r, const char *text, size_t len)
{
    /* Exactly so many bytes, so that ASan sees a read behind them. */
    char *copy = malloc(len > 0 ? len : 1);
    memcpy(copy, text, len);
    int e = mir__http_parse(r, &limits, copy, (uint32_t)len);
    free(copy);
    return e == 0 ? 0 : e == -MIR_EAGAIN ? 1 : r->status;
}

static struct mir__http_request parsed;

static int parse(const char *text, size_t len)
{
    mir__http_request_init(&parsed);
    int whole = parse_once(&parsed, text, len);
    for (size_t cut = 0; cut < len; cut++) {
        static struct mir__http_request r;
        mir__http_request_init(&r);
        int result = parse_once(&r, text, cut);
        if (result == 1)
            result = parse_once(&r, text, len);
        bool is_same =
            result == whole && (whole != 0 || (r.at == parsed.at && r.flags == parsed.flags &&
                                               r.field_count == parsed.field_count));
        if (!is_same) {
            tap_note("cut at %zu: %d, whole: %d: %.100s", cut, result, whole, text);
            return -1;
        }
    }
    return whole;
}

struct head {
    const char *text;
    int result;
};

#define H "Host: h\r\n"
static const struct head lines[] = {
    {"GET / HTTP/1.1\r\n" H "\r\n", 0},
    {"HEAD / HTTP/1.1\r\n" H "\r\n", 0},
    {"POST / HTTP/1.1\r\n" H "\r\n", 0},
    {"PUT / HTTP/1.1\r\n" H "\r\n", 0},
    {"DELETE / HTTP/1.1\r\n" H "\r\n", 0},
    {"OPTIONS / HTTP/1.1\r\n" H "\r\n", 0},
    {"OPTIONS * HTTP/1.1\r\n" H "\r\n", 0},
    {"PATCH / HTTP/1.1\r\n" H "\r\n", 0},
    {"\r\nGET / HTTP/1.1\r\n" H "\r\n", 0},
    {"\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", 0},
    {"GET / HTTP/1.0\r\n\r\n", 0},
    {"GET / HTTP/1.7\r\n" H "\r\n", 0},
    {"GET /a/b/c?d=e&f HTTP/1.1\r\n" H "\r\n", 0},
    {"GET /? HTTP/1.1\r\n" H "\r\n", 0},
    {"GET /%20%41 HTTP/1.1\r\n" H "\r\n", 0},
    {"GET /a|b^c`{} HTTP/1.1\r\n" H "\r\n", 0},
    {"GET http://h/ HTTP/1.1\r\n" H "\r\n", 0},
    {"GET HTTP://h HTTP/1.1\r\n" H "\r\n", 0},
    {"GET https://h:8080/x?y HTTP/1.1\r\n" H "\r\n", 0},
    {"GET http://h?x HTTP/1.1\r\n" H "\r\n", 0},
    {"", 1},
    {"\r", 1},
    {"\r\n", 1},
    {"GET", 1},
    {"GET / HTTP/1.1", 1},
    {"GET / HTTP/1.1\r\n", 1},
    {"GET / HTTP/1.1\r\n" H, 1},
    {"GET / HTTP/1.1\r\n" H "\r", 1},
    /* refused */
    {"\n", 400},
    {"\r\n\r\n\r\n", 400},
    {" GET / HTTP/1.1\r\n" H "\r\n", 400},
    {"GET  / HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /  HTTP/1.1\r\n" H "\r\n", 400},
    {"GET / HTTP/1.1 \r\n" H "\r\n", 400},
    {"GET\t/\tHTTP/1.1\r\n" H "\r\n", 400},
    {"GET / HTTP/1.1\n" H "\n", 400},
    {"GET / HTTP/1.1\r\r\n" H "\r\n", 400},
    {"GET / \r\n" H "\r\n", 400},
    {"GET /\r\n" H "\r\n", 400},
    {"GET\r\n" H "\r\n", 400},
    {"G(T / HTTP/1.1\r\n" H "\r\n", 400},
    {"GET / http/1.1\r\n" H "\r\n", 400},
    {"GET / HTTP/1.1x\r\n" H "\r\n", 400},
    {"GET / HTTP/11\r\n" H "\r\n", 400},
    {"GET / HTTP/1.\r\n" H "\r\n", 400},
    {"GET / HTTP/.1\r\n" H "\r\n", 400},
    {"GET / HTTP/1.10\r\n" H "\r\n", 400},
    {"GET / HTTP/a.b\r\n" H "\r\n", 400},
    {"GET / XTTP/1.1\r\n" H "\r\n", 400},
    {"GET a HTTP/1.1\r\n" H "\r\n", 400},
    {"GET * HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /#f HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /\x7f HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /\x01 HTTP/1.1\r\n" H "\r\n", 400},
    {"GET ftp://h/ HTTP/1.1\r\n" H "\r\n", 400},
    {"GET http:// HTTP/1.1\r\n" H "\r\n", 400},
    {"GET http:///x HTTP/1.1\r\n" H "\r\n", 400},
    {"GET http://u@h/ HTTP/1.1\r\n" H "\r\n", 400},
    {"CONNECT h:443 HTTP/1.1\r\n" H "\r\n", 501},
    {"TRACE / HTTP/1.1\r\n" H "\r\n", 501},
    {"get / HTTP/1.1\r\n" H "\r\n", 501},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
    {"GET / HTTP/0.9\r\n" H "\r\n", 505},
    {"GET / HTTP/3.0\r\n" H "\r\n", 505},
    {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
};

#define F(fields) "GET / HTTP/1.1\r\n" fields "\r\n"
#define P(fields) "POST / HTTP/1.1\r\n" H fields "\r\n"
static const struct head fields[] = {
    {F("host:h\r\n"), 0},
    {F("HOST:\t h \t\r\n"), 0},
    {F("Host:\r\n"), 0},
    {F("Host: [::1]:80\r\n"), 0},
    {F("Host: a.b-c_d~:8080\r\n"), 0},
    {F(H "A:\r\n"), 0},
    {F(H "A: b c\td\r\n"), 0},
    {F(H "A: \x80\xff\r\n"), 0},
    {F(H "!#$%&'*+-.^_`|~09azAZ: x\r\n"), 0},
    {F(H "Connection: close, keep-alive\r\n"), 0},
    {P("Content-Length: 0\r\n"), 0},
    {P("Content-Length: 18446744073709551615\r\n"), 0},
    {P("Content-Length: 007\r\n"), 0},
    {P("Transfer-Encoding: chunked\r\n"), 0},
    {P("Transfer-Encoding: CHUNKED \r\n"), 0},
    {P("Expect: 100-continue\r\n"), 0},
    {"POST / HTTP/1.0\r\nExpect: what\r\n\r\n", 0},
    /* refused: Host */
    {F(""), 400},
    {F("A: b\r\n"), 400},
    {F(H H), 400},
    {F("Host: a\r\nhOST: b\r\n"), 400},
    {F("Host: a b\r\n"), 400},
    {F("Host: a/b\r\n"), 400},
    {F("Host: u@h\r\n"), 400},
    {F("Host: h\x80\r\n"), 400},
    {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
    /* refused: form of a field */
    {F(H "A : b\r\n"), 400},
    {F(H "A\t: b\r\n"), 400},
    {F(H " A: b\r\n"), 400},
    {F(H "A: b\r\n c\r\n"), 400},
    {F(H "A: b\r\n\tc\r\n"), 400},
    {F(H ": b\r\n"), 400},
    {F(H "A\r\n"), 400},
    {F(H "A b: c\r\n"), 400},
    {F(H "A\x80: c\r\n"), 400},
    {F(H "A(: c\r\n"), 400},
    {F(H "A: b\rc\r\n"), 400},
    {F(H "A: b\nX: y\r\n"), 400},
    {F(H "A: b\r\r\n"), 400},
    {F(H "A: \x01\r\n"), 400},
    {F(H "A: \x7f\r\n"), 400},
    {"GET / HTTP/1.1\r\n" H "A: b\r\n\n", 400},
    {"GET / HTTP/1.1\r\n" H "\n", 400},
    /* refused: framing that two readers could understand differently */
    {P("Content-Length: 1\r\nContent-Length: 1\r\n"), 400},
    {P("Content-Length: 1\r\nContent-Length: 2\r\n"), 400},
    {P("Content-Length: 1, 1\r\n"), 400},
    {P("Content-Length: +1\r\n"), 400},
    {P("Content-Length: -1\r\n"), 400},
    {P("Content-Length: 0x1\r\n"), 400},
    {P("Content-Length: 1 2\r\n"), 400},
    {P("Content-Length: 1.0\r\n"), 400},
    {P("Content-Length: \r\n"), 400},
    {P("Content-Length: 18446744073709551616\r\n"), 400},
    {P("Content-Length: 99999999999999999999999999\r\n"), 400},
    {P("Content-Length : 5\r\n"), 400},
    {P("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400},
    {P("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400},
    {P("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
    {P("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), 400},
    {P("Transfer-Encoding: chunked, chunked\r\n"), 400},
    {P("Transfer-Encoding: chunked, identity\r\n"), 400},
    {P("Transfer-Encoding: identity\r\n"), 400},
    {P("Transfer-Encoding: xchunked\r\n"), 400},
    {P("Transfer-Encoding: \"chunked\"\r\n"), 400},
    {P("Transfer-Encoding: chunked;q=1\r\n"), 400},
    {P("Transfer-Encoding: \r\n"), 400},
    {P("Transfer-Encoding:\x0b"
       "chunked\r\n"),
     400},
    {P("Transfer-Encoding\x0b: chunked\r\n"), 400},
    {P("Transfer-Encoding: gzip, chunked\r\n"), 501},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {P("Expect: 200-ok\r\n"), 417},
    {P("Expect: 100-continue\r\nExpect: 100-continue\r\n"), 417},
    {P("Expect:\r\n"), 417},
};

static void run_table(const char *name, const struct head *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tap_case("%s %zu: %d", name, i, table[i].result);
        if (!check_int(parse(table[i].text, strlen(table[i].text)), ==, table[i].result))
            tap_note("%.200s", table[i].text);
    }
}

static void test_nul(void)
{
    tap_case("NUL is refused in every place");
    static const char good[] = "GET /ab?c HTTP/1.1\r\nHost: host\r\nName: value\r\n\r\n";
    int taken = 0;
    for (size_t i = 0; i + 1 < sizeof good; i++) {
        char bad[sizeof good];
        memcpy(bad, good, sizeof good);
        bad[i] = '\0';
        int r = parse(bad, sizeof good - 1);
        /* In place of the last CR or LF the head has no end yet, or has a bare LF. */
        if (r != 400 && !(r == 1 && i == sizeof good - 2)) {
            tap_note("offset %zu: %d", i, r);
            taken++;
        }
    }
    check_int(taken, ==, 0);
}

static void test_values(void)
{
    tap_case("what is found in a head");
    static const char text[] = "\r\nPOST http://Ho:1/a/%2e?q=1 HTTP/1.1\r\nHost: x\r\n"
                               "content-LENGTH: 42\r\nConnection: foo, Close\r\nIf-Match: a\r\n"
                               "Accept-Encoding:  gzip\t\r\n\r\nbody";
    check_int(parse(text, sizeof text - 1), ==, 0);
    check_int(parsed.at, ==, sizeof text - 1 - 4);
    check_int(parsed.method, ==, MIR_HTTP_POST);
    check_int(parsed.content_length, ==, 42);
    check_int(parsed.flags, ==, MIR__HTTP_RQ_LENGTH | MIR__HTTP_RQ_CLOSE | MIR__HTTP_RQ_PATH_RAW);
    check_mem(text + parsed.path_at, "/a/%2e", 6);
    check_int(parsed.path_len, ==, 6);
    check_mem(text + parsed.query_at, "q=1", 3);
    check_int(parsed.query_len, ==, 3);
    check_mem(text + parsed.authority_at, "Ho:1", 4);
    const struct mir__http_field *f = mir__http_known(&parsed, MIR__HTTP_ACCEPT_ENCODING);
    check(f != NULL && f->value_len == 4 && memcmp(text + f->value_at, "gzip", 4) == 0);
    check(mir__http_known(&parsed, MIR__HTTP_RANGE) == NULL);
    tap_case("every field the server looks at is recognised in any case");
    static const char *const names[] = {
#define MIR__X(name, n) n,
        MIR__HTTP_KNOWN(MIR__X)
#undef MIR__X
    };
    for (size_t i = 1; i < MIR_ARRAY_LEN(names); i++) {
        char head[200];
        if (strcmp(names[i], "expect") == 0 || strcmp(names[i], "transfer-encoding") == 0)
            continue;
        int n = snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\n%s: 1\r\n\r\n", names[i]);
        head[25] = (char)(head[25] - 32);
        check_int(parse(head, (size_t)n), ==, 0);
        f = mir__http_known(&parsed, (enum mir__http_known)(i + 1));
        check(f != NULL && f->value_at == n - 5);
    }
    tap_case("names that only resemble them are not");
    static const char near[] = F(H "Content-Lengtj: x\r\nIf-Rangf: y\r\nxost: z\r\n");
    check_int(parse(near, sizeof near - 1), ==, 0);
    check_int(parsed.seen, ==, 1 << MIR__HTTP_HOST);
}

static void test_limits(void)
{
    char text[2000];
    tap_case("limits: a line or a head of just the largest size is taken, one byte more is not");
    for (int extra = 0; extra < 2; extra++) {
        int n = snprintf(text, sizeof text, "GET /");
        int fill = 200 - 5 - 11 + extra;
        memset(text + n, 'a', (size_t)fill);
        strcpy(text + n + fill, " HTTP/1.1\r\n" H "\r\n");
        check_int(parse(text, strlen(text)), ==, extra ? 414 : 0);
        n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" H "A: ");
        fill = 600 - 9 - 3 - 4 + extra;
        memset(text + n, 'a', (size_t)fill);
        strcpy(text + n + fill, "\r\n\r\n");
        check_int(parse(text, strlen(text)), ==, extra ? 431 : 0);
        n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" H);
        for (int i = 0; i < 11 + extra; i++)
            n += snprintf(text + n, 50, "N%d: v\r\n", i);
        strcpy(text + n, "\r\n");
        check_int(parse(text, strlen(text)), ==, extra ? 431 : 0);
        n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" H);
        memset(text + n, 'n', (size_t)(255 + extra));
        strcpy(text + n + 255 + extra, ": v\r\n\r\n");
        check_int(parse(text, strlen(text)), ==, extra ? 431 : 0);
    }
}

/* ---- paths --------------------------------------------------------------------------------------
 */

static void test_paths(void)
{
    static const struct {
        const char *in, *out; /* out NULL: refused */
    } table[] = {
        {"/", "/"},
        {"/a", "/a"},
        {"/a/", "/a/"},
        {"/a/b", "/a/b"},
        {"/%41", "/A"},
        {"/%7e", "/~"},
        {"/a%2Fb", "/a/b"},
        {"/.", "/"},
        {"/./", "/"},
        {"/a/.", "/a/"},
        {"/a/./b", "/a/b"},
        {"/a/..", "/"},
        {"/a/../", "/"},
        {"/a/b/../c", "/a/c"},
        {"/a/b/..", "/a/"},
        {"/a/../b/../c", "/c"},
        {"//", "/"},
        {"//a", "/a"},
        {"/a//b", "/a/b"},
        {"/a//../b", "/b"},
        {"/...", "/..."},
        {"/.a", "/.a"},
        {"/..a", "/..a"},
        {"/a..", "/a.."},
        {"/a/b/c/../../d", "/a/d"},
        {"/%2e", "/"},
        {"/a/%2e%2E/b", "/b"},
        {"/%c3%a4", "/\xc3\xa4"},
        {"/a%20b", "/a b"},
        {"/%25%32", "/%2"},
        {"/..", NULL},
        {"/../", NULL},
        {"/a/../..", NULL},
        {"/%2e%2e/", NULL},
        {"/%2e./a", NULL},
        {"/..%2fa", NULL},
        {"/a/%2e%2e%2f%2e%2e", NULL},
        {"/%", NULL},
        {"/%4", NULL},
        {"/%4g", NULL},
        {"/%g4", NULL},
        {"/%00", NULL},
        {"/a%00.html", NULL},
        {"/%0a", NULL},
        {"/%0d%0aX: y", NULL},
        {"/%1f", NULL},
        {"/%7f", NULL},
        {"/a/b/../../..", NULL},
        {"//..", NULL},
        {"/./..", NULL},
    };
    tap_case("paths: decoding, dot segments, slashes");
    for (size_t i = 0; i < MIR_ARRAY_LEN(table); i++) {
        char out[100] = "";
        int n = mir__http_normalise_path(table[i].in, (uint32_t)strlen(table[i].in), out);
        out[n > 0 ? n : 0] = '\0';
        if (!check(table[i].out == NULL ? n < 0 : n > 0 && strcmp(out, table[i].out) == 0))
            tap_note("%s -> %d %s", table[i].in, n, out);
    }
}

/* ---- bodies
 * ---------------------------------------------------------------------------------------- */

/* Payload into @out; its length, or a negative error; -MIR_EAGAIN: not complete. */
static int decode(const char *text, size_t len, size_t step, char *out, size_t *used)
{
    struct mir__http_body body;
    size_t at = 0, out_len = 0;
    mir__http_body_init(&body, MIR__HTTP_BODY_CHUNKED, 0);
    while (!body.is_done && at < len) {
        size_t n = MIR_MIN(step, len - at);
        struct mir__http_piece piece;
        int e = mir__http_body_next(&body, 1000, (const uint8_t *)text + at, n, &piece);
        if (e < 0)
            return e;
        if (piece.len > 0)
            memcpy(out + out_len, piece.data, piece.len);
        out_len += piece.len;
        at += piece.used;
    }
    *used = at;
    return body.is_done ? (int)out_len : -MIR_EAGAIN;
}

static void test_chunked(void)
{
    static const struct {
        const char *text;
        int result; /* payload bytes or an error */
    } table[] = {
        {"0\r\n\r\n", 0},
        {"5\r\nhello\r\n0\r\n\r\n", 5},
        {"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", 11},
        {"00000000000000a\r\n0123456789\r\n000\r\n\r\n", 10},
        {"A\r\n0123456789\r\n0\r\n\r\n", 10},
        {"1;a\r\nx\r\n0;b=c\r\n\r\n", 1},
        {"1 ;a=\"b c\"\r\nx\r\n0\r\n\r\n", 1},
        {"1\t ;a\r\nx\r\n0\r\n\r\n", 1},
        {"0\r\nA: b\r\nC:\r\n\r\n", 0},
        {"", -MIR_EAGAIN},
        {"5\r\nhel", -MIR_EAGAIN},
        {"5\r\nhello\r\n0\r\n", -MIR_EAGAIN},
        {"0\r\nA: b\r\n", -MIR_EAGAIN},
        {"\r\n", -MIR_EMALFORMED},
        {";x\r\n", -MIR_EMALFORMED},
        {"g\r\n", -MIR_EMALFORMED},
        {"-1\r\n", -MIR_EMALFORMED},
        {"+1\r\n", -MIR_EMALFORMED},
        {"0x1\r\n", -MIR_EMALFORMED},
        {" 1\r\n", -MIR_EMALFORMED},
        {"1 \r\nx\r\n", -MIR_EMALFORMED},
        {"1 x\r\n", -MIR_EMALFORMED},
        {"1\nx\r\n", -MIR_EMALFORMED},
        {"1\r\rx", -MIR_EMALFORMED},
        {"1\rx", -MIR_EMALFORMED},
        {"1;a\nx\r\n", -MIR_EMALFORMED},
        {"1;\x01\r\nx", -MIR_EMALFORMED},
        {"1\r\nxy", -MIR_EMALFORMED},
        {"1\r\nx\n", -MIR_EMALFORMED},
        {"1\r\nx\r\r", -MIR_EMALFORMED},
        {"1\r\nx\r\n\r\n", -MIR_EMALFORMED},
        {"00000000000000001\r\nx\r\n", -MIR_EMALFORMED},
        {"10000000000000000\r\n", -MIR_ETOOBIG},
        {"ffffffffffffffff\r\n", -MIR_ETOOBIG},
        {"3e9\r\n", -MIR_ETOOBIG},
        {"0\r\n A: b\r\n\r\n", -MIR_EMALFORMED},
        {"0\r\nA : b\r\n\r\n", -MIR_EMALFORMED},
        {"0\r\n: b\r\n\r\n", -MIR_EMALFORMED},
        {"0\r\nA\r\n\r\n", -MIR_EMALFORMED},
        {"0\r\nA: \x01\r\n\r\n", -MIR_EMALFORMED},
        {"0\r\nA: b\n\r\n", -MIR_EMALFORMED},
        {"0\r\n\n", -MIR_EMALFORMED},
        {"0\r\n\rx", -MIR_EMALFORMED},
    };
    char out[2000];
    tap_case("chunked bodies, in steps of 1, 2, 3, 7 and all bytes");
    for (size_t i = 0; i < MIR_ARRAY_LEN(table); i++) {
        static const size_t steps[] = {1, 2, 3, 7, 1000};
        for (size_t s = 0; s < MIR_ARRAY_LEN(steps); s++) {
            size_t used = 0, len = strlen(table[i].text);
            int r = decode(table[i].text, len, steps[s], out, &used);
            if (!check_int(r, ==, table[i].result) || (r >= 0 && !check_int(used, ==, len)))
                tap_note("step %zu: %s", steps[s], table[i].text);
        }
    }
    tap_case("what follows a body is left alone; payload is exact");
    size_t used;
    check_int(decode("3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\nGET /", 28, 1000, out, &used), ==, 6);
    check_int(used, ==, 21);
    check_mem(out, "abcdef", 6);
    tap_case("extensions and trailers are bounded together");
    static char text[20000];
    size_t n = (size_t)sprintf(text, "1;");
    memset(text + n, 'x', 9000);
    check_int(decode(text, n + 9000, 1000, out, &used), ==, -MIR_EMALFORMED);
    n = (size_t)sprintf(text, "0\r\n");
    for (int i = 0; i < 1000; i++)
        n += (size_t)sprintf(text + n, "A: 1234567\r\n");
    check_int(decode(text, n, 1000, out, &used), ==, -MIR_EMALFORMED);
    n = 0;
    for (int i = 0; i < 900; i++)
        n += (size_t)sprintf(text + n, "1;aaaaaaaaaa\r\nx\r\n");
    check_int(decode(text, n, 1000, out, &used), ==, -MIR_EMALFORMED);
}

/* ---- dates
 * ------------------------------------------------------------------------------------------ */

static void test_dates(void)
{
    char text[MIR__HTTP_DATE_LEN + 1] = "";
    uint64_t s, seed = 88172645463325252;
    tap_case("dates out and in again are the same, 1970 to 9999");
    mir__http_date_emit(784111777, text);
    check_str(text, "Sun, 06 Nov 1994 08:49:37 GMT");
    mir__http_date_emit(0, text);
    check_str(text, "Thu, 01 Jan 1970 00:00:00 GMT");
    mir__http_date_emit(951782400, text);
    check_str(text, "Tue, 29 Feb 2000 00:00:00 GMT");
    mir__http_date_emit(253402300799, text);
    check_str(text, "Fri, 31 Dec 9999 23:59:59 GMT");
    int wrong = 0;
    for (int i = 0; i < 20000; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        uint64_t unix_s = seed % 253402300800;
        mir__http_date_emit(unix_s, text);
        wrong += mir__http_date_parse(text, MIR__HTTP_DATE_LEN, 0, &s) < 0 || s != unix_s;
    }
    check_int(wrong, ==, 0);
    tap_case("the two old forms; two-digit years lie at most 50 years ahead");
    static const char rfc850[] = "Sunday, 06-Nov-94 08:49:37 GMT",
                      asctime[] = "Sun Nov  6 08:49:37 1994";
    check_int(mir__http_date_parse(rfc850, sizeof rfc850 - 1, 1700000000, &s), ==, 0);
    check_int(s, ==, 784111777);
    check_int(mir__http_date_parse(asctime, sizeof asctime - 1, 0, &s), ==, 0);
    check_int(s, ==, 784111777);
    check_int(mir__http_date_parse("Monday, 01-Jan-40 00:00:00 GMT", 30, 1700000000, &s), ==, 0);
    check_int(s, ==, 2208988800);
    tap_case("what is no date");
    static const char *const bad[] = {"",
                                      "Sun",
                                      "Sun,",
                                      "Sun, ",
                                      "now",
                                      "Sun, 06 Nov 1994 08:49:37",
                                      "Sun, 06 Nov 1994 08:49:37 UTC",
                                      "Sun, 6 Nov 1994 08:49:37 GMT",
                                      "Sun, 06 Nov 1994 08:49:37 GMT ",
                                      "Sun, 31 Feb 1994 08:49:37 GMT",
                                      "Sun, 00 Nov 1994 08:49:37 GMT",
                                      "Sun, 06 Nov 1994 24:49:37 GMT",
                                      "Sun, 06 Nov 1994 08:60:37 GMT",
                                      "Sun, 06 Nov 1994 08:49:61 GMT",
                                      "Sun, 06 nov 1994 08:49:37 GMT",
                                      "Sun, 06 Nov 1969 08:49:37 GMT",
                                      "Sun, 06 Nov 94 08:49:37 GMT",
                                      "Sunday, 06-Nov-1994 08:49:37 GMT",
                                      "Sun Nov 6 08:49:37 1994",
                                      "Sun, 0x Nov 1994 08:49:37 GMT",
                                      "784111777"};
    for (size_t i = 0; i < MIR_ARRAY_LEN(bad); i++) {
        if (!check_int(mir__http_date_parse(bad[i], (uint32_t)strlen(bad[i]), 0, &s), <, 0))
            tap_note("%s", bad[i]);
    }
}

/* ---- lists
 * --------------------------------------------------------------------------------------------- */

static void test_lists(void)
{
    static const struct {
        const char *value;
        enum mir_kv_encoding all, only_gzip;
    } encodings[] = {
        {"", MIR_KV_IDENTITY, MIR_KV_IDENTITY},
        {"gzip", MIR_KV_GZIP, MIR_KV_GZIP},
        {"GZIP", MIR_KV_GZIP, MIR_KV_GZIP},
        {"x-gzip", MIR_KV_GZIP, MIR_KV_GZIP},
        {"br", MIR_KV_BROTLI, MIR_KV_IDENTITY},
        {"gzip, deflate, br, zstd", MIR_KV_BROTLI, MIR_KV_GZIP},
        {"br;q=1.0, gzip;q=0.8, *;q=0.1", MIR_KV_BROTLI, MIR_KV_GZIP},
        {"gzip;q=1, br;q=0.999", MIR_KV_GZIP, MIR_KV_GZIP},
        {"gzip;q=0", MIR_KV_IDENTITY, MIR_KV_IDENTITY},
        {"gzip;q=0.000, br;q=0", MIR_KV_IDENTITY, MIR_KV_IDENTITY},
        {"*", MIR_KV_BROTLI, MIR_KV_GZIP},
        {"*;q=0", MIR_KV_IDENTITY, MIR_KV_IDENTITY},
        {"br;q=0, *", MIR_KV_GZIP, MIR_KV_GZIP},
        {"identity", MIR_KV_IDENTITY, MIR_KV_IDENTITY},
        {"identity;q=0.5, gzip;q=0.4", MIR_KV_IDENTITY, MIR_KV_IDENTITY},
        {"identity;q=0.5, gzip;q=0.5", MIR_KV_GZIP, MIR_KV_GZIP},
        {"gzip;q=2", MIR_KV_IDENTITY, MIR_KV_IDENTITY},
        {"gzip;q=0.5555", MIR_KV_IDENTITY, MIR_KV_IDENTITY},
        {"gzip;q=x", MIR_KV_IDENTITY, MIR_KV_IDENTITY},
        {"gzip ; q=0.5", MIR_KV_GZIP, MIR_KV_GZIP},
        {",,gzip,,", MIR_KV_GZIP, MIR_KV_GZIP},
        {"gzipp, brr", MIR_KV_IDENTITY, MIR_KV_IDENTITY},
    };
    tap_case("Accept-Encoding");
    for (size_t i = 0; i < MIR_ARRAY_LEN(encodings); i++) {
        const char *v = encodings[i].value;
        bool ok = mir__http_choose_encoding(v, (uint32_t)strlen(v), 7) == encodings[i].all &&
                  mir__http_choose_encoding(v, (uint32_t)strlen(v), 3) == encodings[i].only_gzip;
        if (!check(ok))
            tap_note("%s", v);
    }
    tap_case("entity tags");
#define ETAG(list, weak) mir__http_etag_in_list(list, sizeof list - 1, "\"a,b\"", weak)
    check(ETAG("\"a,b\"", false));
    check(ETAG("\"x\", \"a,b\"", false));
    check(ETAG("\"x\",\"a,b\"", false));
    check(ETAG("W/\"a,b\"", true));
    check(ETAG("*", false));
    check(!ETAG("W/\"a,b\"", false));
    check(!ETAG("\"a\"", true));
    check(!ETAG("a,b", true));
    check(!ETAG("\"a,b", true));
    check(!ETAG("", true));
    check(!ETAG("W/", true));
    check(!ETAG("w/\"a,b\"", true));
    check(!mir__http_etag_in_list("\"\"", 2, NULL, true));
    tap_case("ranges never leave the value");
    struct mir__http_range r[MIR__HTTP_RANGES_MAX];
    uint32_t n;
#define RANGE(v, size) mir__http_parse_ranges(v, sizeof v - 1, size, r, &n)
    check_int(RANGE("bytes=0-0", 1), ==, MIR__HTTP_RANGE_OK);
    check(n == 1 && r[0].first == 0 && r[0].len == 1);
    check_int(RANGE("bytes=0-18446744073709551616", 10), ==, MIR__HTTP_RANGE_OK);
    check(r[0].len == 10);
    check_int(RANGE("bytes=99999999999999999999-", 10), ==, MIR__HTTP_RANGE_UNSATISFIABLE);
    check_int(RANGE("bytes=4294967295-4294967296", UINT32_MAX), ==, MIR__HTTP_RANGE_UNSATISFIABLE);
    check_int(RANGE("bytes=4294967294-", UINT32_MAX), ==, MIR__HTTP_RANGE_OK);
    check(r[0].first == UINT32_MAX - 1 && r[0].len == 1);
    check_int(RANGE("bytes=-99999999999999999999", 10), ==, MIR__HTTP_RANGE_OK);
    check(r[0].first == 0 && r[0].len == 10);
    check_int(RANGE("bytes=1-2,5-5,20-", 10), ==, MIR__HTTP_RANGE_OK);
    check_int(n, ==, 2);
    check_int(RANGE("bytes=0-,1-", 10), ==, MIR__HTTP_RANGE_IGNORE);
    check_int(RANGE("bytes=1-0", 10), ==, MIR__HTTP_RANGE_IGNORE);
    check_int(RANGE("bytes=-", 10), ==, MIR__HTTP_RANGE_IGNORE);
    check_int(RANGE("bytes=0-0,", 10), ==, MIR__HTTP_RANGE_OK);
    check_int(RANGE("bytes=1", 10), ==, MIR__HTTP_RANGE_IGNORE);
    check_int(RANGE("bytes=1-2x", 10), ==, MIR__HTTP_RANGE_IGNORE);
    check_int(RANGE("bytes =1-2", 10), ==, MIR__HTTP_RANGE_IGNORE);
    check_int(RANGE("bytes=1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,10-10,11-11,12-12,13-13,14-14,15-15,"
                    "16-16",
                    99),
              ==, MIR__HTTP_RANGE_OK);
    check_int(n, ==, 16);
    check_int(RANGE("bytes=1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,10-10,11-11,12-12,13-13,14-14,15-15,"
                    "16-16,17-17",
                    99),
              ==, MIR__HTTP_RANGE_IGNORE);
}

int main(void)
{
    tap_begin("http_parse");
    run_table("request line", lines, MIR_ARRAY_LEN(lines));
    run_table("fields", fields, MIR_ARRAY_LEN(fields));
    test_nul();
    test_values();
    test_limits();
    test_paths();
    test_chunked();
    test_dates();
    test_lists();
    return tap_done();
}
