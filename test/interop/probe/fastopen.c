/* SPDX-License-Identifier: ISC */
/* An appliance for Fast Open: answers each line on port 80, in SYNs too; a connection to port 81
 * makes it connect to port 8081 of that peer, with data in the SYN if it has a cookie. */
#include <mirari/mirari.h>

#include <string.h>

static struct mir_app *the_app;

static void on_request(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir_view view;
    size_t queued;
    (void)arg;
    while (mir_tcp_recv_view(tcp, &view) == 0) {
        struct mir_tcp_info info;
        mir_tcp_get_info(tcp, &info);
        mir_app_print(the_app, "request of %u bytes, %s\n", view.len,
                      info.state == MIR_TCP_S_SYN_RECEIVED ? "in a SYN" : "after a handshake");
        mir_view_release(&view);
        if (mir_tcp_send(tcp, "answer\n", 7, &queued) == 0)
            (void)mir_tcp_shutdown(tcp);
    }
    if (events & (MIR_TCP_CLOSED | MIR_TCP_FAILED))
        mir_tcp_close(tcp);
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener;
    mir_tcp_set_handler(tcp_given, on_request, arg);
    on_request(tcp_given, 0, arg);
}

static void on_reply(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir_view view;
    (void)arg;
    while (mir_tcp_recv_view(tcp, &view) == 0) {
        mir_app_print(the_app, "reply of %u bytes\n", view.len);
        mir_view_release(&view);
    }
    if (events & MIR_TCP_FAILED)
        mir_app_print(the_app, "failed: %s\n", mir_strerror(mir_tcp_error(tcp)));
    if (events & (MIR_TCP_CLOSED | MIR_TCP_FAILED))
        mir_tcp_close(tcp);
    else
        (void)mir_tcp_shutdown(tcp);
}

static void on_dial(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    struct mir_endpoint local;
    struct mir_tcp_connect_config config = {
        .data = "hello from a SYN\n", .len = 17, .handler = on_reply};
    struct mir_tcp *tcp;
    size_t queued;
    (void)listener;
    (void)arg;
    mir_tcp_get_endpoints(tcp_given, &local, &config.remote);
    mir_tcp_close(tcp_given);
    config.remote.port = 8081;
    if (mir_tcp_connect_data(the_app->stack, &config, &queued, &tcp) < 0)
        mir_app_print(the_app, "cannot connect\n");
}

int mir_app_main(struct mir_app *app)
{
    struct mir_tcp_listen_config answers = {
        .local = {.port = 80}, .on_accept = on_accept, .fastopen_max = 16};
    struct mir_tcp_listen_config dials = {.local = {.port = 81}, .on_accept = on_dial};
    struct mir_tcp_listener *a, *b;
    the_app = app;
    if (mir_tcp_listen(app->stack, &answers, &a) < 0 || mir_tcp_listen(app->stack, &dials, &b) < 0)
        return 1;
    mir_app_wait_stop(app);
    mir_tcp_unlisten(a);
    mir_tcp_unlisten(b);
    return 0;
}

static const struct mir_manifest_net nets[] = {{.name = "net0", .mode = "tap"}};
const struct mir_manifest mir_manifest = {
    .name = "fastopen", .version = "1", .memory_mib = 16, .nets = nets, .net_count = 1};
