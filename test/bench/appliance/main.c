/* SPDX-License-Identifier: ISC */
/* The appliance of the benchmarks. Nothing in it is faster than in any other appliance.
 *
 *   80     HTTP: the store "site", which holds 600.html
 *   5001   sink: takes what comes
 *   5002   source: sends zeros, by reference, until the peer closes
 *   5003   echo: request and response, and UDP datagrams
 */
#include <mirari/mirari.h>

#define SOURCE_BYTES 65536u /* 16 pages */

static struct mir_io_page *zeros;
static uint64_t bytes_in, bytes_out;

static void on_sink(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir_view view;
    int err = 0;
    (void)arg;
    while (!(events & (MIR_TCP_CLOSED | MIR_TCP_FAILED)) &&
           (err = mir_tcp_recv_view(tcp, &view)) == 0) {
        bytes_in += view.len;
        mir_view_release(&view);
    }
    if (err != -MIR_EAGAIN)
        mir_tcp_close(tcp);
}

static void on_source(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir_view view;
    int err = 0;
    (void)arg;
    while (!(events & (MIR_TCP_CLOSED | MIR_TCP_FAILED)) &&
           (err = mir_tcp_recv_view(tcp, &view)) == 0)
        mir_view_release(&view); /* a request, if the peer sends one */
    while (err == -MIR_EAGAIN && mir_tcp_send_room(tcp) > 0) {
        if (mir_tcp_send_view(tcp, mir_view_of_page(zeros, 0, SOURCE_BYTES)) < 0)
            err = -MIR_ECLOSED;
        else
            bytes_out += SOURCE_BYTES;
    }
    if (err != -MIR_EAGAIN)
        mir_tcp_abort(tcp); /* what is queued is of no use to anybody */
}

static void on_echo(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir_view view;
    int err = 0;
    (void)arg;
    if (events & (MIR_TCP_CLOSED | MIR_TCP_FAILED)) {
        mir_tcp_close(tcp);
        return;
    }
    while (err == 0 && mir_tcp_send_room(tcp) > 0) {
        err = mir_tcp_recv_view(tcp, &view);
        if (err == 0)
            err = mir_tcp_send_view(tcp, view);
    }
    if (err != 0 && err != -MIR_EAGAIN)
        mir_tcp_close(tcp);
}

/* The buffer that came goes back: its head room is what the headers took. */
static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta,
                        struct mir_buf *buf_given, void *arg)
{
    (void)arg;
    (void)mir_udp_send_buf(udp, &meta->from, buf_given);
}

/* The service is a listener's argument. */
static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    static const mir_tcp_handler_fn handlers[] = {on_sink, on_source, on_echo};
    mir_tcp_handler_fn handler = handlers[*(const int *)arg];
    (void)listener;
    if (mir_tcp_set_option(tcp_given, MIR_TCP_NODELAY, 1) < 0) {
        mir_tcp_abort(tcp_given);
        return;
    }
    mir_tcp_set_handler(tcp_given, handler, NULL);
    handler(tcp_given, MIR_TCP_READABLE | MIR_TCP_WRITABLE, NULL);
}

int mir_app_main(struct mir_app *app)
{
    static int services[] = {0, 1, 2};
    struct mir_tcp_listener *listeners[3];
    struct mir_http_config config = {.stack = app->stack,
                                     .clock = app->clock,
                                     .local.port = 80,
                                     .limits.idle_timeout_ms = 3600000};
    struct mir_http_server *server;
    struct mir_endpoint udp_port = {.port = 5003};
    struct mir_udp *udp;
    if (mir_page_alloc(app->pages, SOURCE_BYTES, MIR_PAGE_ZERO, &zeros) < 0 ||
        mir_http_server_open(&config, &server) < 0)
        return 1;
    int err = mir_http_route_kv(server, "/", mir_app_kv(app, "site"));
    for (int i = 0; i < 3 && err == 0; i++) {
        struct mir_tcp_listen_config listen = {
            .local.port = (uint16_t)(5001 + i), .on_accept = on_accept, .arg = &services[i]};
        err = mir_tcp_listen(app->stack, &listen, &listeners[i]);
    }
    if (err == 0)
        err = mir_udp_open(app->stack, &udp_port, on_datagram, NULL, &udp);
    if (err != 0) {
        mir_app_print(app, "bench: %s\n", mir_strerror(err));
        return 1;
    }
    mir_app_print(app, "bench: ready\n");
    mir_app_wait_stop(app);
    struct mir_http_stats stats;
    mir_http_server_stats(server, &stats);
    mir_app_print(app, "bench: %llu requests, %llu bytes in, %llu bytes out\n",
                  (unsigned long long)stats.requests, (unsigned long long)bytes_in,
                  (unsigned long long)bytes_out);
    mir_udp_close(udp);
    for (int i = 0; i < 3; i++)
        mir_tcp_unlisten(listeners[i]);
    mir_http_server_close(server);
    mir_page_release(zeros);
    return 0;
}
