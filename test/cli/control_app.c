/* SPDX-License-Identifier: ISC */
/* The appliance whose control channel is tested, as a process and in a machine: it listens at port
 * 80, has a method "twice" and two hooks, of which the last may hang, and ends with status 5. */
#include <mirari/mirari.h>

static void say(struct mir_app *app, void *arg)
{
    mir_app_print(app, "hook %s\n", (const char *)arg);
}

static void hang(struct mir_app *app, void *arg)
{
    say(app, arg);
    for (;;)
        if (mir_app_bool(app, "busy"))
            __asm__ volatile("");
        else if (mir_task_sleep(app->loop, MIR_TIME_NEVER) < 0)
            return;
}

static int twice_begin(struct mir_rpc_call *call)
{
    mir_json_put_u64(mir_rpc_result(call), mir_rpc_u64(call, "n", 1) * 2);
    return 0;
}

static const struct mir_rpc_param params[] = {
    {.name = "n", .type = MIR_JSON_NUMBER, .max = 1000, .help = "a number"}};
static const struct mir_rpc_method methods[] = {{.name = "twice",
                                                 .help = "twice as much",
                                                 .begin = twice_begin,
                                                 .params = params,
                                                 .param_count = 1}};
static struct mir_rpc_methods set = {.methods = methods, .count = 1};
static struct mir_app_hook first = {.name = "first", .run = say, .arg = "first"};
static struct mir_app_hook last = {.name = "last", .arg = "last", .when = MIR_APP_AFTER_STOP};

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp, void *arg)
{
    (void)listener, (void)arg;
    mir_tcp_close(tcp);
}

int mir_app_main(struct mir_app *app)
{
    struct mir_tcp_listener *listener;
    struct mir_tcp_listen_config config = {.local = {.port = 80}, .on_accept = on_accept};
    if (mir_tcp_listen(app->stack, &config, &listener) < 0)
        return 1;
    last.run = mir_app_bool(app, "hang") ? hang : say;
    mir_app_add_hook(app, &first);
    mir_app_add_hook(app, &last);
    if (app->control != NULL)
        mir_rpc_server_add(app->control, &set);
    mir_app_print(app, "ready, control %d\n", app->control != NULL);
    mir_app_wait_stop(app);
    mir_app_print(app, "asked: %s\n", mir_app_end_reason(app));
    mir_tcp_unlisten(listener);
    return 5;
}
