/* SPDX-License-Identifier: ISC */
/* The methods of every server: what there is, canceling, and giving up a role.
 *
 * None of them goes on, so they are served when all calls of a session are taken.
 */
#include "lib/rpc/internal.h"

static const char *const roles[] = {"read-only", "full"};

static void put_param(struct mir_json_out *out, const struct mir_rpc_param *param)
{
    static const char *const types[] = {"null", "boolean", "number", "string", "array", "object"};
    mir_json_begin(out, '{');
    mir_json_member_text(out, "name", param->name);
    mir_json_member_text(out, "type", types[param->type]);
    mir_json_member_bool(out, "required", param->is_required);
    if (param->max != 0)
        mir_json_member_u64(out, "max", param->max);
    mir_json_member_text(out, "help", param->help);
    mir_json_end(out, '}');
}

static void put_method(struct mir_json_out *out, const struct mir_rpc_method *method)
{
    mir_json_begin(out, '{');
    mir_json_member_text(out, "name", method->name);
    mir_json_member_text(out, "help", method->help);
    mir_json_member_text(out, "role", roles[method->role]);
    mir_json_member_bool(out, "stream", method->is_stream);
    mir_json_key(out, "params");
    mir_json_begin(out, '[');
    for (uint32_t i = 0; i < method->param_count; i++)
        put_param(out, &method->params[i]);
    mir_json_end(out, ']');
    mir_json_end(out, '}');
}

static int methods_begin(struct mir_rpc_call *call)
{
    const struct mir_rpc_server *server = call->arg;
    char only[64];
    int r = mir_rpc_text(call, "name", only, sizeof only);
    if (r < 0 && r != -MIR_ENOENT)
        return r;
    bool is_one = r == 0;
    struct mir_json_out *out = mir_rpc_result(call);
    mir_json_begin(out, '{');
    mir_json_member_u64(out, "version", MIR_RPC_VERSION);
    mir_json_member_text(out, "role", roles[call->session->config.role]);
    mir_json_key(out, "methods");
    mir_json_begin(out, '[');
    mir_list_for_each (node, &server->sets) {
        const struct mir_rpc_methods *set = MIR_CONTAINER_OF(node, struct mir_rpc_methods, link);
        for (uint32_t i = 0; i < set->count; i++) {
            if (!is_one || mir_str_equal(set->methods[i].name, only))
                put_method(out, &set->methods[i]);
        }
    }
    mir_json_end(out, ']');
    mir_json_end(out, '}');
    return 0;
}

/* Ids are compared as they were written: 7 and "7" are two. */
static struct mir__rpc_slot *find_call(struct mir_rpc_session *s)
{
    const struct mir_json *json = s->json;
    uint32_t node = mir_json_find(json, s->params, "id");
    if (node == MIR_JSON_NONE)
        node = mir_json_find(json, s->params, "text_id");
    const struct mir_json_node *n = &json->nodes[node];
    uint32_t is_text = n->type == MIR_JSON_STRING;
    for (uint32_t i = 0; i < MIR_RPC_CALLS_MAX; i++) {
        struct mir__rpc_slot *slot = &s->slots[i];
        if (slot->state == MIR__RPC_RUNNING && slot->id_len == n->len + 2 * is_text &&
            mir_memcmp(slot->id, json->text + n->at - is_text, slot->id_len) == 0)
            return slot;
    }
    return NULL;
}

static int cancel_begin(struct mir_rpc_call *call)
{
    struct mir_rpc_session *s = call->session;
    if (mir_json_find(s->json, s->params, "id") == MIR_JSON_NONE &&
        mir_json_find(s->json, s->params, "text_id") == MIR_JSON_NONE)
        return mir_rpc_fail(call, -MIR_EINVAL, "rpc.cancel needs id or text_id");
    struct mir__rpc_slot *slot = find_call(s);
    if (slot == NULL)
        return mir_rpc_fail(call, -MIR_ENOENT, "no call with this id is running");
    s->server->counters.canceled++;
    mir__rpc_abort(slot, -MIR_ECANCELED);
    return 0;
}

static int drop_begin(struct mir_rpc_call *call)
{
    struct mir_rpc_session *s = call->session;
    if (s->config.role == MIR_RPC_FULL) {
        s->config.role = MIR_RPC_READ_ONLY;
        s->server->reader_count++;
    }
    return 0;
}

static const struct mir_rpc_param methods_params[] = {
    {.name = "name", .type = MIR_JSON_STRING, .help = "this method only"},
};
static const struct mir_rpc_param cancel_params[] = {
    {.name = "id", .type = MIR_JSON_NUMBER, .max = UINT64_MAX, .help = "of the call, a number"},
    {.name = "text_id", .type = MIR_JSON_STRING, .help = "of the call, a string"},
};

const struct mir_rpc_method mir__rpc_own_methods[] = {
    {.name = "rpc.methods",
     .help = "the methods there are, with their parameters",
     .begin = methods_begin,
     .params = methods_params,
     .param_count = MIR_ARRAY_LEN(methods_params)},
    {.name = "rpc.cancel",
     .help = "end a call of this session; its answer is an error",
     .begin = cancel_begin,
     .params = cancel_params,
     .param_count = MIR_ARRAY_LEN(cancel_params)},
    {.name = "rpc.drop",
     .help = "give up the full role: from now on this session only looks",
     .begin = drop_begin},
};
const uint32_t mir__rpc_own_method_count = MIR_ARRAY_LEN(mir__rpc_own_methods);
