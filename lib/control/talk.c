/* SPDX-License-Identifier: ISC */
/* What the appliance says of itself: levels of the log, and its lines as they come.
 *
 * `trace` keeps lines in a ring of pages until they are sent. Lines that come faster than they are
 * read are dropped and counted; the log's own sink is not touched. The levels it asks for hold
 * while it runs: those before the first of several come back when the last has ended.
 */
#include <mirari/format.h>
#include <mirari/log.h>

#include "lib/control/control.h"

#define RING_BYTES (8u * MIR_PAGE_SIZE)

struct record {
    mir_time_us wall_us;
    const char *module;
    uint8_t level;
    uint16_t len;
};

struct trace {
    struct mir_log_tap tap;
    struct mir_rpc_call *call;
    struct mir__control *control;
    struct mir_io_page *ring;
    uint32_t at, len; /* of the ring's bytes in use */
    uint64_t dropped, told;
    bool has_levels;
};
_Static_assert(sizeof(struct trace) <= MIR_RPC_STATE_BYTES, "state of a call");

/* ---- log ------------------------------------------------------------------------------------- */

static int set_levels(struct mir_rpc_call *call, const char *spec)
{
    size_t bad_at = 0;
    int r = mir_log_set_levels(spec, &bad_at);
    if (r < 0)
        return mir_rpc_fail(call, r,
                            "\"%.60s\" is neither a level (error warn info debug trace) nor "
                            "MODULE=LEVEL of a known module",
                            spec + bad_at);
    return 0;
}

static int log_begin(struct mir_rpc_call *call)
{
    char spec[256];
    bool is_set = call->method->param_count > 0;
    int r = is_set ? mir_rpc_text(call, "set", spec, sizeof spec) : 0;
    if (r == 0 && is_set)
        r = set_levels(call, spec);
    if (r < 0)
        return r;
    struct mir_json_out *out = mir_rpc_result(call);
    mir_json_begin(out, '{');
    for (int i = 0; i < MIR_LOG_MODULE_COUNT; i++)
        mir_json_member_text(out, mir_log_module_name((enum mir_log_module)i),
                             mir_log_level_name((enum mir_log_level)mir__log_levels[i]));
    mir_json_end(out, '}');
    return 0;
}

/* ---- trace ----------------------------------------------------------------------------------- */

static void ring_copy_in(struct trace *trace, const void *data, uint32_t len)
{
    uint32_t to = (trace->at + trace->len) % RING_BYTES;
    uint32_t first = MIR_MIN(len, RING_BYTES - to);
    mir_memcpy(trace->ring->base + to, data, first);
    mir_memcpy(trace->ring->base, (const char *)data + first, len - first);
    trace->len += len;
}

static void ring_copy_out(struct trace *trace, void *data, uint32_t len)
{
    uint32_t first = MIR_MIN(len, RING_BYTES - trace->at);
    MIR_ASSERT_OP(len, <=, trace->len);
    mir_memcpy(data, trace->ring->base + trace->at, first);
    mir_memcpy((char *)data + first, trace->ring->base, len - first);
    trace->at = (trace->at + len) % RING_BYTES;
    trace->len -= len;
}

static void on_line(void *arg, enum mir_log_level level, const char *module, const char *line,
                    size_t len)
{
    struct trace *trace = arg;
    struct mir_clock *clock = trace->control->app->clock;
    struct record record = {.wall_us = clock->wall(clock),
                            .module = module,
                            .level = (uint8_t)level,
                            .len = (uint16_t)len};
    if (sizeof record + len > RING_BYTES - trace->len) {
        trace->dropped++;
        return;
    }
    ring_copy_in(trace, &record, sizeof record);
    ring_copy_in(trace, line, (uint32_t)len);
    mir_rpc_call_wake(trace->call);
}

static void put_record(struct trace *trace, struct mir_json_out *out)
{
    struct record record;
    char line[400];
    ring_copy_out(trace, &record, sizeof record);
    ring_copy_out(trace, line, record.len);
    mir_json_begin(out, '{');
    mir_json_member_u64(out, "wall_us", record.wall_us);
    mir_json_member_text(out, "level", mir_log_level_name((enum mir_log_level)record.level));
    mir_json_member_text(out, "module", record.module);
    mir_json_key(out, "text");
    mir_json_put_bytes(out, line, record.len);
    if (trace->dropped > trace->told)
        mir_json_member_u64(out, "dropped", trace->dropped);
    trace->told = trace->dropped;
    mir_json_end(out, '}');
}

static int trace_more(struct mir_rpc_call *call)
{
    struct trace *trace = call->state;
    while (trace->len > 0) {
        struct mir_json_out *out = mir_rpc_item_begin(call);
        if (out == NULL)
            break;
        put_record(trace, out);
        (void)mir_rpc_item_end(call);
    }
    return -MIR_EAGAIN;
}

static int hold_levels(struct trace *trace, const char *spec)
{
    struct mir__control *control = trace->control;
    uint8_t before[MIR_LOG_MODULE_COUNT];
    mir_memcpy(before, mir__log_levels, sizeof before);
    int r = set_levels(trace->call, spec);
    if (r < 0)
        return r;
    if (control->level_holders++ == 0)
        mir_memcpy(control->levels_before, before, sizeof before);
    trace->has_levels = true;
    return 0;
}

static int trace_begin(struct mir_rpc_call *call)
{
    struct trace *trace = call->state;
    char spec[256];
    trace->control = call->arg;
    trace->call = call;
    int r =
        mir_page_alloc(trace->control->app->pages, RING_BYTES, MIR_PAGE_OVERWRITE, &trace->ring);
    if (r < 0)
        return r;
    r = mir_rpc_text(call, "levels", spec, sizeof spec);
    if (r == 0)
        r = hold_levels(trace, spec);
    if (r < 0 && r != -MIR_ENOENT) {
        mir_page_release(trace->ring);
        return r;
    }
    trace->tap.sink = on_line;
    trace->tap.arg = trace;
    mir_log_add_tap(&trace->tap);
    return -MIR_EAGAIN;
}

static void trace_end(struct mir_rpc_call *call)
{
    struct trace *trace = call->state;
    mir_log_remove_tap(&trace->tap);
    mir_page_release(trace->ring);
    if (trace->has_levels && --trace->control->level_holders == 0)
        mir_memcpy(mir__log_levels, trace->control->levels_before, sizeof mir__log_levels);
}

static const struct mir_rpc_param set_params[] = {
    {.name = "set",
     .type = MIR_JSON_STRING,
     .is_required = true,
     .help = "LEVEL[,MODULE=LEVEL]...; error warn info debug trace"}};
static const struct mir_rpc_param trace_params[] = {
    {.name = "levels",
     .type = MIR_JSON_STRING,
     .help = "LEVEL[,MODULE=LEVEL]... while it runs; without, those that hold"}};

const struct mir_rpc_method mir__control_talk[] = {
    {.name = "log.levels", .help = "levels of the log's modules", .begin = log_begin},
    {.name = "log.set",
     .help = "set levels of the log",
     .role = MIR_RPC_FULL,
     .begin = log_begin,
     .params = set_params,
     .param_count = MIR_ARRAY_LEN(set_params)},
    {.name = "trace",
     .help = "lines of the log as they come, until canceled",
     .role = MIR_RPC_FULL,
     .is_stream = true,
     .begin = trace_begin,
     .more = trace_more,
     .end = trace_end,
     .params = trace_params,
     .param_count = MIR_ARRAY_LEN(trace_params)},
};
const uint32_t mir__control_talk_count = MIR_ARRAY_LEN(mir__control_talk);
