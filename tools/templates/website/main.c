/* Serves the files of the folder site/, and /hello from a handler. */
#include <mirari/mirari.h>

static void hello(struct mir_http_exchange *exchange, void *arg)
{
    static const char text[] = "Hello from C.\n";
    (void)arg;
    (void)mir_http_respond(exchange, 200, "text/plain; charset=utf-8", text, sizeof(text) - 1);
}

int mir_app_main(struct mir_app *app)
{
    struct mir_http_config config = {
        .stack = app->stack,
        .clock = app->clock,
        .local = {.port = (uint16_t)mir_app_int(app, "port")},
    };
    struct mir_http_server *server;
    int err = mir_http_server_open(&config, &server);
    if (err != 0) {
        mir_app_print(app, "port %u: %s\n", config.local.port, mir_strerror(err));
        return 1;
    }
    err = mir_http_route_kv(server, "/", mir_app_kv(app, "site"));
    if (err == 0)
        err = mir_http_route(server, "/hello", MIR_HTTP_GET | MIR_HTTP_HEAD, hello, app);
    if (err == 0)
        mir_app_wait_stop(app);
    mir_http_server_close(server);
    return err == 0 ? 0 : 1;
}
