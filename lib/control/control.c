/* SPDX-License-Identifier: ISC */
/* The control channel's server, and the methods about the appliance as a whole.
 *
 * Nothing is gathered before somebody asks: an appliance with an idle channel does not do anything
 * for it. Answers are bounded: lists come as items, each with what fits a frame.
 */
#include "lib/control/control.h"

#include <mirari/format.h>

static struct mir__control *control_of(const struct mir_rpc_call *call)
{
    return call->arg;
}

static mir_time_us now_of(const struct mir__control *control)
{
    return mir_loop_now(control->app->loop);
}

const char *mir__control_if_name(const struct mir__control *control, uint32_t if_index)
{
    const struct mir_manifest *manifest = control->app->manifest;
    return if_index >= 1 && if_index <= manifest->net_count ? manifest->nets[if_index - 1].name
                                                            : "?";
}

void mir__control_put_ip(struct mir_json_out *out, const char *name, const struct mir_ip *ip)
{
    char text[MIR_IP_TEXT_MAX];
    mir_json_member_text(out, name, mir_ip_text(ip, text));
}

/* ---- describe -------------------------------------------------------------------------------- */

static void put_names(struct mir__control *control, struct mir_json_out *out)
{
    const struct mir_app *app = control->app;
    const struct mir_manifest *manifest = app->manifest;
    mir_json_key(out, "nets");
    mir_json_begin(out, '[');
    for (uint32_t i = 0; i < manifest->net_count; i++)
        mir_json_put_text(out, manifest->nets[i].name);
    mir_json_end(out, ']');
    mir_json_key(out, "params");
    mir_json_begin(out, '{');
    for (uint32_t i = 0; i < manifest->param_count; i++)
        mir_json_member_text(out, manifest->params[i].name, app->param_values[i]);
    mir_json_end(out, '}');
}

static int describe_begin(struct mir_rpc_call *call)
{
    struct mir__control *control = control_of(call);
    const struct mir_app *app = control->app;
    mir_time_us now_us = now_of(control), lease_us = app->end.lease_until_us;
    struct mir_json_out *out = mir_rpc_result(call);
    struct mir_ip ip;
    mir_json_begin(out, '{');
    mir_json_member_text(out, "name", app->manifest->name);
    mir_json_member_text(out, "version", app->manifest->version);
    mir_json_member_text(out, "target", control->target);
    if (control->workers > 0) {
        mir_json_member_u64(out, "worker", control->worker);
        mir_json_member_u64(out, "workers", control->workers);
    }
    mir_json_member_text(out, "stack", app->stack != NULL ? app->stack->ops->kind : NULL);
    mir_json_member_u64(out, "uptime_us", now_us - control->started_us);
    mir_json_member_u64(out, "memory_bytes",
                        mir_page_pool_used_bytes(app->pages) +
                            mir_page_pool_free_bytes(app->pages));
    mir_json_member_text(out, "ends", mir_app_end_reason(app));
    if (lease_us != 0)
        mir_json_member_u64(out, "lease_left_us", lease_us > now_us ? lease_us - now_us : 0);
    if (app->stack != NULL) {
        app->stack->ops->address(app->stack, &ip);
        mir__control_put_ip(out, "address", &ip);
    }
    put_names(control, out);
    mir_json_end(out, '}');
    return 0;
}

/* ---- statistics ------------------------------------------------------------------------------ */

static void put_stat(void *arg, const char *name, uint64_t value)
{
    mir_json_member_u64(arg, name, value);
}

void mir__control_each_stat(struct mir__control *control, mir__control_line_fn line, void *arg)
{
    const struct mir_app *app = control->app;
    const struct mir_loop *loop = app->loop;
    line(arg, "uptime_us", now_of(control) - control->started_us);
    if (control->cpu_us != NULL)
        line(arg, "cpu_us", control->cpu_us());
    line(arg, "loop_steps", loop->steps);
    line(arg, "loop_works", loop->works);
    line(arg, "loop_timers_fired", loop->timers_fired);
    line(arg, "loop_timers", loop->timer_count);
    line(arg, "loop_tasks", loop->task_count);
    line(arg, "loop_task_switches", loop->task_switches);
    line(arg, "memory_used_bytes", mir_page_pool_used_bytes(app->pages));
    line(arg, "memory_free_bytes", mir_page_pool_free_bytes(app->pages));
    line(arg, "memory_peak_bytes", app->pages->peak_bytes);
    line(arg, "memory_failures", app->pages->failures);
    line(arg, "console_dropped_bytes", app->console != NULL ? app->console->dropped_bytes : 0);
    line(arg, "control_sessions_now", control->server.session_count);
#define MIR__X(name) line(arg, "control_" #name, control->server.counters.name);
    MIR_RPC_COUNTERS(MIR__X)
#undef MIR__X
    if (app->stack != NULL)
        app->stack->ops->stats(app->stack, line, arg);
}

static int stats_begin(struct mir_rpc_call *call)
{
    struct mir_json_out *out = mir_rpc_result(call);
    mir_json_begin(out, '{');
    mir__control_each_stat(control_of(call), put_stat, out);
    mir_json_end(out, '}');
    return 0;
}

/* ---- metrics --------------------------------------------------------------------------------- */

static int metrics_begin(struct mir_rpc_call *call)
{
    struct mir__control *control = control_of(call);
    struct mir_io_page *page;
    if (mir_page_alloc(control->app->pages, 8 * MIR_PAGE_SIZE, MIR_PAGE_OVERWRITE, &page) < 0)
        return -MIR_ENOMEM;
    size_t len = mir__control_metrics(control, (char *)page->base, page->size_bytes);
    mir_json_put_bytes(mir_rpc_result(call), (char *)page->base, len);
    mir_page_release(page);
    return 0;
}

/* ---- pages ----------------------------------------------------------------------------------- */

struct holders {
    struct mir_json_out *out;
    uint64_t bytes;
};

/* What is carved from page runs, in use or not. */
static uint64_t bytes_of(const struct mir_pool *pool)
{
    uint64_t bytes = 0;
    for (const struct mir_io_page *chunk = pool->chunks; chunk != NULL; chunk = chunk->next_free)
        bytes += chunk->size_bytes;
    return bytes;
}

static void put_pool(void *arg, const struct mir_pool *pool)
{
    struct holders *holders = arg;
    uint64_t bytes = bytes_of(pool);
    holders->bytes += bytes;
    mir_json_begin(holders->out, '{');
    mir_json_member_text(holders->out, "name", pool->name);
    mir_json_member_u64(holders->out, "bytes", bytes);
    mir_json_member_u64(holders->out, "used", mir_pool_used(pool));
    mir_json_member_u64(holders->out, "peak", pool->peak);
    mir_json_member_u64(holders->out, "limit", pool->limit);
    mir_json_member_u64(holders->out, "object_bytes", pool->object_size);
    mir_json_member_u64(holders->out, "failures", pool->failures);
    mir_json_end(holders->out, '}');
}

static int pages_begin(struct mir_rpc_call *call)
{
    struct mir__control *control = control_of(call);
    const struct mir_app *app = control->app;
    const struct mir_page_pool *pool = app->pages;
    uint64_t used = mir_page_pool_used_bytes(pool);
    struct holders holders = {.out = mir_rpc_result(call)};
    struct mir_json_out *out = holders.out;
    mir_json_begin(out, '{');
    mir_json_key(out, "pools");
    mir_json_begin(out, '[');
    if (control->net != NULL)
        mir_net_each_pool(control->net, put_pool, &holders);
    else
        put_pool(&holders, &app->bufs->pool);
    mir_json_end(out, ']');
    mir_json_member_u64(out, "used_bytes", used);
    mir_json_member_u64(out, "other_bytes", used > holders.bytes ? used - holders.bytes : 0);
    mir_json_member_u64(out, "free_bytes", mir_page_pool_free_bytes(pool));
    mir_json_member_u64(out, "peak_bytes", pool->peak_bytes);
    mir_json_member_u64(out, "failures", pool->failures);
    mir_json_member_u64(out, "control_bytes",
                        (uint64_t)control->server.session_count * 16 * MIR_PAGE_SIZE);
    mir_json_end(out, '}');
    return 0;
}

/* ---- shutdown -------------------------------------------------------------------------------- */

static int shutdown_begin(struct mir_rpc_call *call)
{
    struct mir__control *control = control_of(call);
    bool is_first = mir_app_shutdown(control->app, MIR_APP_END_CONTROL);
    struct mir_json_out *out = mir_rpc_result(call);
    mir_json_begin(out, '{');
    mir_json_member_bool(out, "asked", is_first);
    mir_json_member_text(out, "ends", mir_app_end_reason(control->app));
    mir_json_end(out, '}');
    return 0;
}

/* ---- the server ------------------------------------------------------------------------------ */

static const struct mir_rpc_method methods[] = {
    {.name = "describe", .help = "what this appliance is", .begin = describe_begin},
    {.name = "stats", .help = "all counters and gauges", .begin = stats_begin},
    {.name = "metrics", .help = "the same as text for Prometheus", .begin = metrics_begin},
    {.name = "pages", .help = "who holds the memory", .begin = pages_begin},
    {.name = "shutdown",
     .help = "ask the appliance to end, as SIGTERM does",
     .role = MIR_RPC_FULL,
     .begin = shutdown_begin},
};

static void add_methods(struct mir__control *control, struct mir_rpc_methods *set,
                        const struct mir_rpc_method *rows, uint32_t count)
{
    *set = (struct mir_rpc_methods){.methods = rows, .count = count, .arg = control};
    mir_rpc_server_add(&control->server, set);
}

void mir__control_init(struct mir__control *control, const struct mir__control_config *config)
{
    struct mir_app *app = config->app;
    *control = (struct mir__control){.app = app,
                                     .net = config->net,
                                     .target = config->target,
                                     .cpu_us = config->cpu_us,
                                     .worker = config->worker,
                                     .workers = config->workers,
                                     .started_us = mir_loop_now(app->loop)};
    mir_rpc_server_init(&control->server,
                        &(struct mir_rpc_server_config){.loop = app->loop, .pages = app->pages});
    add_methods(control, &control->own, methods, MIR_ARRAY_LEN(methods));
    add_methods(control, &control->talk, mir__control_talk, mir__control_talk_count);
    if (app->stack != NULL)
        add_methods(control, &control->look, mir__control_look, mir__control_look_count);
    if (config->net != NULL)
        add_methods(control, &control->capture, mir__control_capture, mir__control_capture_count);
    app->control = &control->server;
    if (app->manifest->extend != NULL)
        app->manifest->extend(app);
}

void mir__control_fini(struct mir__control *control)
{
    control->app->control = NULL;
    mir_rpc_server_fini(&control->server);
}
