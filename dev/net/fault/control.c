/* SPDX-License-Identifier: ISC */
/* Faults over the control channel: what happens to the frames of a running appliance, and what has.
 *
 * Only appliances that were started with --fault have such devices, and therefore these methods;
 * `--fault none` puts one there that does nothing yet. A test does so, nobody else needs to.
 */
#include <mirari/err.h>

#include "dev/net/fault/fault.h"

#define NAME_MAX_BYTES 64u

/* The device that parameter "net" names, or the first. */
static int fault_of(struct mir_rpc_call *call, struct mir_fault **fault)
{
    const struct mir_fault_control *control = call->arg;
    char name[NAME_MAX_BYTES];
    int r = mir_rpc_text(call, "net", name, sizeof name);
    if (r == -MIR_ENOENT) {
        *fault = control->row[0].fault;
        return 0;
    }
    for (uint32_t i = 0; i < control->count && r == 0; i++) {
        size_t len = mir_str_len(name);
        if (mir_str_len(control->row[i].name) == len &&
            mir_memcmp(control->row[i].name, name, len) == 0) {
            *fault = control->row[i].fault;
            return 0;
        }
    }
    return mir_rpc_fail(call, -MIR_ENOENT, "no network of that name was started with --fault");
}

static void put_way(struct mir_json_out *out, const char *name, const struct mir_fault_stats *stats)
{
    mir_json_key(out, name);
    mir_json_begin(out, '{');
    mir_json_member_u64(out, "passed", stats->passed);
    mir_json_member_u64(out, "lost", stats->lost);
    mir_json_member_u64(out, "duplicated", stats->duplicated);
    mir_json_member_u64(out, "reordered", stats->reordered);
    mir_json_member_u64(out, "corrupted", stats->corrupted);
    mir_json_member_u64(out, "delayed", stats->delayed);
    mir_json_member_u64(out, "overflowed", stats->overflowed);
    mir_json_member_u64(out, "cut", stats->cut);
    mir_json_end(out, '}');
}

static void put_counters(struct mir_rpc_call *call, const struct mir_fault *fault)
{
    struct mir_json_out *out = mir_rpc_result(call);
    mir_json_begin(out, '{');
    mir_json_member_bool(out, "down", fault->config.spec.is_down);
    put_way(out, "in", &fault->stats[MIR_FAULT_IN]);
    put_way(out, "out", &fault->stats[MIR_FAULT_OUT]);
    mir_json_end(out, '}');
}

static int get_begin(struct mir_rpc_call *call)
{
    struct mir_fault *fault = NULL;
    int r = fault_of(call, &fault);
    if (r == 0)
        put_counters(call, fault);
    return r;
}

static int set_begin(struct mir_rpc_call *call)
{
    char text[256], why[MIR_FAULT_ERROR_MAX];
    struct mir_fault_spec spec;
    struct mir_fault *fault = NULL;
    int r = fault_of(call, &fault);
    if (r == 0)
        r = mir_rpc_text(call, "spec", text, sizeof text);
    if (r < 0)
        return r;
    r = mir_fault_parse(text, &spec, why);
    if (r < 0)
        return mir_rpc_fail(call, r, "%s", why);
    mir_fault_set(fault, &spec);
    put_counters(call, fault);
    return 0;
}

static const struct mir_rpc_param params[] = {
    {.name = "net", .type = MIR_JSON_STRING, .help = "of several the name of the network"},
    {.name = "spec",
     .type = MIR_JSON_STRING,
     .is_required = true,
     .help = "as --fault: loss=1%,out:delay=10ms; none; down"},
};

static const struct mir_rpc_method methods[] = {
    {.name = "fault.get",
     .help = "what happened to frames",
     .begin = get_begin,
     .params = params,
     .param_count = 1},
    {.name = "fault.set",
     .help = "what happens to frames from now on",
     .role = MIR_RPC_FULL,
     .begin = set_begin,
     .params = params,
     .param_count = MIR_ARRAY_LEN(params)},
};

void mir_fault_control_serve(struct mir_fault_control *control, struct mir_rpc_server *server)
{
    if (control->count == 0 || server == NULL)
        return;
    control->methods = (struct mir_rpc_methods){
        .methods = methods, .count = MIR_ARRAY_LEN(methods), .arg = control};
    mir_rpc_server_add(server, &control->methods);
}
