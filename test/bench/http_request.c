/* SPDX-License-Identifier: ISC */
/* Cost of one request in the HTTP layer alone: a 600-byte page, keep-alive, a browser's header
 * lines or as few as a load generator sends; TCP is the test double. Prints "name value unit". */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <mirari/http.h>
#include <mirari/platform.h>

#include "test/harness/faketcp.c"

void mir_platform_abort(const char *text)
{
    fprintf(stderr, "%s\n", text);
    abort();
}

static uint8_t page_bytes[600];
static struct mir_io_page page = {
    .base = page_bytes, .size_bytes = sizeof page_bytes, .flags = MIR_PAGE_STATIC};
static const char head[] =
    "Content-Type: text/html; charset=utf-8\r\nETag: \"0123456789abcdef\"\r\n"
    "Vary: Accept-Encoding\r\nCache-Control: public, max-age=300\r\n"
    "Accept-Ranges: bytes\r\n";
static const struct mir_kv_entry entry = {.key = "600.html",
                                          .key_len = 8,
                                          .media_type = "text/html",
                                          .body = {{.page = &page,
                                                    .size_bytes = sizeof page_bytes,
                                                    .etag = "\"0123456789abcdef\"",
                                                    .head = head,
                                                    .head_len = sizeof head - 1}}};

static int get(struct mir_kv *kv, const char *key, size_t len, const struct mir_kv_entry **found)
{
    (void)kv;
    if (len != entry.key_len || memcmp(key, entry.key, len) != 0)
        return -MIR_ENOENT;
    *found = &entry;
    return 0;
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void keep(struct mir_io_page *released, void *arg)
{
    (void)arg;
    released->refs = 1;
}

static void measure(const char *name, struct fake_stack *fake, const char *request, int count)
{
    struct fake_conn *conn = fake_connect(fake);
    struct mir_io_page in;
    size_t len = strlen(request);
    uint8_t copy[2000];
    memcpy(copy, request, len);
    mir_page_wrap(&in, copy, (uint32_t)len, 0, keep, NULL);
    double best = 1e18;
    for (int round = 0; round < 5; round++) {
        double start = now_ns();
        for (int i = 0; i < count; i++) {
            conn->in[0] = (struct mir_view){mir_page_acquire(&in), copy, (uint32_t)len};
            conn->in_count = 1;
            conn->out_len = 0;
            conn->room = 1 << 20;
            conn->tcp.handler(&conn->tcp, MIR_TCP_READABLE, conn->tcp.handler_arg);
        }
        double ns = (now_ns() - start) / count;
        best = ns < best ? ns : best;
    }
    printf("%s %.1f ns\n", name, best);
    conn->out_len = MIR_MIN(conn->out_len, (size_t)15);
    if (strcmp(fake_text(conn), "HTTP/1.1 200 OK") != 0)
        abort();
    fake_conn_free(conn);
}

int main(int argc, char **argv)
{
    static struct fake_stack fake;
    static const struct mir_kv_ops ops = {.get = get};
    static struct mir_kv kv = {&ops};
    int count = argc > 1 ? atoi(argv[1]) : 200000;
    struct mir_http_server *server;
    fake_stack_init(&fake, 16 << 20);
    struct mir_http_config config = {.stack = &fake.stack};
    if (mir_http_server_open(&config, &server) < 0 || mir_http_route_kv(server, "/", &kv) < 0)
        return 1;
    measure("http_request_short", &fake, "GET /600.html HTTP/1.1\r\nHost: 10.0.0.2\r\n\r\n", count);
    measure(
        "http_request_browser", &fake,
        "GET /600.html HTTP/1.1\r\nHost: 10.0.0.2:8080\r\nConnection: keep-alive\r\n"
        "Cache-Control: max-age=0\r\nUpgrade-Insecure-Requests: 1\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/126.0.0.0 Safari/537.36\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
        "*/*;q=0.8\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: en-US,en;q=0.9\r\n\r\n",
        count);
    mir_http_server_close(server);
    return fake_stack_fini(&fake) ? 0 : 1;
}
