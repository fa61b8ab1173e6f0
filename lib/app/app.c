/* SPDX-License-Identifier: ISC */
/* What an appliance may ask of its target: parameters, stores, console, tasks, the end.
 *
 * Asking for a parameter the manifest does not declare, or with another type, is a mistake of the
 * program and asserted; the values themselves were checked when the command line was read.
 */
#include <mirari/app.h>
#include <mirari/format.h>

#include "lib/app/options.h"

struct mir_kv *mir_app_kv(struct mir_app *app, const char *name)
{
    const struct mir_manifest *manifest = app->manifest;
    for (uint32_t i = 0; i < app->kv_count; i++) {
        if (mir_str_equal(app->kvs[i].name, name))
            return app->kvs[i].store;
    }
    for (uint32_t i = 0; i < manifest->kv_count; i++) {
        if (mir_str_equal(manifest->kvs[i].name, name))
            return manifest->kvs[i].store;
    }
    return NULL;
}

struct mir_block_dev *mir_app_disk(const struct mir_app *app, const char *name)
{
    const struct mir_manifest *manifest = app->manifest;
    uint32_t count = MIR_MIN(manifest->disk_count, app->block_count);
    for (uint32_t i = 0; i < count; i++) {
        if (mir_str_equal(manifest->disks[i].name, name))
            return app->blocks[i];
    }
    return NULL;
}

struct mir_channel_port *mir_app_channel(const struct mir_app *app, const char *name)
{
    for (uint32_t i = 0; i < app->channel_count; i++) {
        if (mir_str_equal(app->manifest->channels[i].name, name))
            return app->channels[i];
    }
    return NULL;
}

static const char *find_param(const struct mir_app *app, const char *name, enum mir_param_type type)
{
    const struct mir_manifest *manifest = app->manifest;
    for (uint32_t i = 0; i < manifest->param_count; i++) {
        if (!mir_str_equal(manifest->params[i].name, name))
            continue;
        MIR_ASSERT_OP(manifest->params[i].type, ==, type);
        return app->param_values[i];
    }
    mir__assert_fail(__FILE__, __LINE__, "parameter is declared in the manifest", 0, 0);
}

const char *mir_app_string(const struct mir_app *app, const char *name)
{
    return find_param(app, name, MIR_PARAM_STRING);
}

int64_t mir_app_int(const struct mir_app *app, const char *name)
{
    int64_t number = 0;
    bool is_valid =
        mir__app_param_value(MIR_PARAM_INT, find_param(app, name, MIR_PARAM_INT), &number);
    MIR_ASSERT(is_valid);
    return number;
}

bool mir_app_bool(const struct mir_app *app, const char *name)
{
    int64_t number = 0;
    bool is_valid =
        mir__app_param_value(MIR_PARAM_BOOL, find_param(app, name, MIR_PARAM_BOOL), &number);
    MIR_ASSERT(is_valid);
    return number != 0;
}

int mir_app_dns_open(struct mir_app *app, const struct mir_dns_config *config, struct mir_dns **dns)
{
    struct mir_dns_config full = {.ndots = 0};
    if (app->stack == NULL)
        return -MIR_ENOTSUP;
    if (config != NULL)
        full = *config;
    full.stack = app->stack;
    full.rng = app->rng;
    if (full.server_count == 0) {
        full.server_count = MIR_MIN(app->dns_count, MIR_DNS_SERVERS_MAX);
        for (uint32_t i = 0; i < full.server_count; i++)
            full.servers[i] = (struct mir_endpoint){.ip = app->dns[i]};
    }
    if (full.search == NULL)
        full.search = app->dns_search;
    return mir_dns_open(&full, dns);
}

/* Short texts on the stack; a long one in pages, cut at the largest run. */
void mir_app_print(struct mir_app *app, const char *fmt, ...)
{
    char text[512];
    struct mir_io_page *page = NULL;
    char *out = text;
    size_t size = sizeof text;
    va_list args;
    va_start(args, fmt);
    size_t len = mir_vformat(text, sizeof text, fmt, args);
    va_end(args);
    if (len >= sizeof text) {
        size_t want = MIR_MIN(len + 1, (size_t)MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE);
        if (mir_page_alloc(app->pages, want, MIR_PAGE_OVERWRITE, &page) == 0) {
            out = (char *)page->base;
            size = page->size_bytes;
            va_start(args, fmt);
            mir_vformat(out, size, fmt, args);
            va_end(args);
        }
    }
    mir_console_write(app->console, out, MIR_MIN(len, size - 1));
    if (page != NULL)
        mir_page_release(page);
}

void mir_app_wait_stop(struct mir_app *app)
{
    while (!app->is_stopping) {
        if (mir_wait_on(app->loop, &app->stop_asked, MIR_TIME_NEVER) < 0)
            return;
    }
}

int mir_app_spawn(struct mir_app *app, const char *name, void (*entry)(void *arg), void *arg)
{
    return mir_task_spawn(app->loop, app->stacks, name, 0, entry, arg, NULL);
}
