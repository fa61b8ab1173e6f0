/* SPDX-License-Identifier: ISC */
/* Requests: what they must look like, whom they mean, and how a call lives and ends.
 *
 *   FREE ─ request ─> begin() ── 0 or an error ───────────────────────────────> answered, FREE
 *                        └─ -MIR_EAGAIN ─> RUNNING ─ more() ── 0 or an error ─> answered, FREE
 *                                             └─ canceled, out of time ─> FAILED ─> the same
 *
 * A request without an id is a notification: it is carried out and nothing is said, as JSON-RPC
 * wants it; a method that streams is refused then, for nobody could tell its items. When all slots
 * are taken a request is refused, except rpc.cancel and the other methods of ours, which never go
 * on: they use a slot of their own for the moment.
 *
 * Batches (arrays of requests) are refused: frames do the same without a limit of their own.
 */
#include <mirari/format.h>
#include <mirari/log.h>

#include "lib/rpc/internal.h"

#define TIMEOUT_MAX_MS (7ull * 24 * 3600 * 1000)

static const char *const type_names[] = {"null", "boolean", "number", "string", "array", "object"};

/* ---- what is asked for ----------------------------------------------------------------------- */

static const struct mir_rpc_method *find_method(const struct mir_rpc_server *server,
                                                const struct mir_json *json, uint32_t name,
                                                void **arg)
{
    mir_list_for_each (node, &server->sets) {
        const struct mir_rpc_methods *set = MIR_CONTAINER_OF(node, struct mir_rpc_methods, link);
        for (uint32_t i = 0; i < set->count; i++) {
            if (!mir_json_equal(json, name, set->methods[i].name))
                continue;
            *arg = set->arg;
            return &set->methods[i];
        }
    }
    return NULL;
}

static const struct mir_rpc_param *find_param(const struct mir_rpc_method *method,
                                              const struct mir_json *json, uint32_t name)
{
    for (uint32_t i = 0; i < method->param_count; i++) {
        if (mir_json_equal(json, name, method->params[i].name))
            return &method->params[i];
    }
    return NULL;
}

static uint64_t max_of(const struct mir_rpc_param *param)
{
    return param->max != 0 ? param->max : (1ull << 53) - 1;
}

/* Is the value as the method wants it? */
static int check_value(struct mir_rpc_call *call, const struct mir_json *json,
                       const struct mir_rpc_param *param, uint32_t value)
{
    uint64_t number;
    if (!mir_json_is(json, value, param->type))
        return mir_rpc_fail(call, -MIR_EINVAL, "parameter %s is to be a %s, not a %s", param->name,
                            type_names[param->type], type_names[json->nodes[value].type]);
    if (param->type == MIR_JSON_NUMBER && mir_json_u64(json, value, max_of(param), &number) < 0)
        return mir_rpc_fail(call, -MIR_EINVAL,
                            "parameter %s is to be a whole number from 0 to %llu", param->name,
                            (unsigned long long)max_of(param));
    return 0;
}

static int check_params(struct mir_rpc_call *call, const struct mir_json *json, uint32_t params)
{
    const struct mir_rpc_method *method = call->method;
    if (params != MIR_JSON_NONE && !mir_json_is(json, params, MIR_JSON_OBJECT))
        return mir_rpc_fail(call, -MIR_EINVAL, "params are to be an object, by name");
    uint32_t count = params != MIR_JSON_NONE ? json->nodes[params].count : 0;
    for (uint32_t i = 0, at = params + 1; i < count; i++, at = json->nodes[at + 1].next) {
        const struct mir_rpc_param *param = find_param(method, json, at);
        if (param == NULL)
            return mir_rpc_fail(call, -MIR_EINVAL, "%s has no parameter %.*s; see rpc.methods",
                                method->name, (int)MIR_MIN(json->nodes[at].len, 40u),
                                json->text + json->nodes[at].at);
        int r = check_value(call, json, param, at + 1);
        if (r < 0)
            return r;
    }
    for (uint32_t i = 0; i < method->param_count; i++) {
        if (method->params[i].is_required &&
            mir_json_find(json, params, method->params[i].name) == MIR_JSON_NONE)
            return mir_rpc_fail(call, -MIR_EINVAL, "%s needs the parameter %s: %s", method->name,
                                method->params[i].name, method->params[i].help);
    }
    return 0;
}

static uint32_t param_node(const struct mir_rpc_call *call, const char *name,
                           enum mir_json_type type)
{
    const struct mir_rpc_method *method = call->method;
    MIR_ASSERT(call->session->json != NULL);
    for (uint32_t i = 0; i < method->param_count; i++) {
        if (mir_str_equal(method->params[i].name, name)) {
            MIR_ASSERT_OP(method->params[i].type, ==, type);
            return mir_json_find(call->session->json, call->session->params, name);
        }
    }
    mir__assert_fail(__FILE__, __LINE__, "the method declares this parameter", 0, 0);
}

uint64_t mir_rpc_u64(const struct mir_rpc_call *call, const char *name, uint64_t fallback)
{
    uint64_t value;
    uint32_t node = param_node(call, name, MIR_JSON_NUMBER);
    return mir_json_u64(call->session->json, node, UINT64_MAX, &value) < 0 ? fallback : value;
}

bool mir_rpc_bool(const struct mir_rpc_call *call, const char *name, bool fallback)
{
    bool value;
    uint32_t node = param_node(call, name, MIR_JSON_BOOL);
    return mir_json_bool(call->session->json, node, &value) < 0 ? fallback : value;
}

int mir_rpc_text(const struct mir_rpc_call *call, const char *name, char *out, size_t size)
{
    uint32_t node = param_node(call, name, MIR_JSON_STRING);
    if (node == MIR_JSON_NONE)
        return -MIR_ENOENT;
    return mir_json_text(call->session->json, node, out, size);
}

/* ---- how a call ends ------------------------------------------------------------------------- */

static void end_call(struct mir__rpc_slot *slot)
{
    mir_timer_cancel(&slot->timer);
    if (slot->began && slot->call.method->end != NULL)
        slot->call.method->end(&slot->call);
    slot->began = false;
}

void mir__rpc_drop(struct mir__rpc_slot *slot)
{
    end_call(slot);
    slot->state = MIR__RPC_FREE;
}

/* What was begun for it is not said. */
static void take_back(struct mir__rpc_slot *slot)
{
    if (slot->call.session->writing == slot)
        slot->call.session->writing = NULL;
}

void mir__rpc_answer_failed(struct mir__rpc_slot *slot)
{
    struct mir_rpc_session *s = slot->call.session;
    int code = slot->error == -MIR_EINVAL ? MIR_RPC_INVALID_PARAMS : -32000 + slot->error;
    take_back(slot);
    if (!slot->is_notification)
        mir__rpc_put_error(s, slot->id, slot->id_len, code,
                           slot->reason[0] != '\0' ? slot->reason : mir_strerror(slot->error));
    mir__rpc_drop(slot);
}

static void fail_call(struct mir__rpc_slot *slot, int error)
{
    slot->error = error;
    mir__rpc_answer_failed(slot);
}

void mir__rpc_abort(struct mir__rpc_slot *slot, int error)
{
    end_call(slot);
    slot->state = MIR__RPC_FAILED;
    slot->error = error;
    slot->reason[0] = '\0';
    mir_loop_post(slot->call.session->server->loop, &slot->call.session->work);
}

static void answer(struct mir__rpc_slot *slot)
{
    struct mir_rpc_session *s = slot->call.session;
    if (slot->is_notification) {
        take_back(slot);
        mir__rpc_drop(slot);
        return;
    }
    if (s->writing != slot)
        mir_json_put_null(mir_rpc_result(&slot->call));
    if (mir__rpc_frame_end(s) == 0)
        mir__rpc_drop(slot);
    else
        fail_call(slot, mir_rpc_fail(&slot->call, -MIR_ETOOBIG, "the result does not fit a frame"));
}

static void take_outcome(struct mir__rpc_slot *slot, int r)
{
    if (r == 0) {
        answer(slot);
    } else if (r == -MIR_EAGAIN && slot->call.method->more != NULL) {
        MIR_ASSERT(slot->call.session->writing == NULL);
        slot->state = MIR__RPC_RUNNING;
        slot->began = true;
    } else {
        fail_call(slot, r);
    }
}

void mir__rpc_go_on(struct mir__rpc_slot *slot)
{
    slot->is_woken = slot->wants_room = false;
    take_outcome(slot, slot->call.method->more(&slot->call));
}

/* ---- requests -------------------------------------------------------------------------------- */

static struct mir__rpc_slot *free_slot(struct mir_rpc_session *s)
{
    for (uint32_t i = 0; i < MIR_RPC_CALLS_MAX; i++) {
        if (s->slots[i].state == MIR__RPC_FREE)
            return &s->slots[i];
    }
    return NULL;
}

/* The id as it stands in the request: a number or a string. Returns false: there is none that can
 * be answered. */
static bool read_id(const struct mir_json *json, const char **id, size_t *len)
{
    uint32_t node = mir_json_find(json, 0, "id");
    *id = NULL;
    *len = 0;
    if (node == MIR_JSON_NONE)
        return true;
    const struct mir_json_node *n = &json->nodes[node];
    bool is_text = n->type == MIR_JSON_STRING;
    if ((!is_text && n->type != MIR_JSON_NUMBER) || n->len + 2 > MIR_RPC_ID_MAX)
        return false;
    *id = json->text + n->at - is_text;
    *len = n->len + (is_text ? 2u : 0u);
    return true;
}

static void begin_call(struct mir__rpc_slot *slot, const struct mir_json *json)
{
    struct mir_rpc_session *s = slot->call.session;
    uint32_t params = mir_json_find(json, 0, "params");
    uint32_t timeout = mir_json_find(json, 0, "timeout_ms");
    uint64_t timeout_ms = 0;
    if (timeout != MIR_JSON_NONE && mir_json_u64(json, timeout, TIMEOUT_MAX_MS, &timeout_ms) < 0) {
        fail_call(slot, mir_rpc_fail(&slot->call, -MIR_EINVAL,
                                     "timeout_ms is to be a number of milliseconds"));
        return;
    }
    int r = check_params(&slot->call, json, params);
    if (r == 0) {
        s->json = json;
        s->params = params;
        r = slot->call.method->begin(&slot->call);
        s->json = NULL;
    }
    take_outcome(slot, r);
    if (slot->state == MIR__RPC_RUNNING && timeout != MIR_JSON_NONE)
        mir_timer_set(s->server->loop, &slot->timer,
                      mir_loop_now(s->server->loop) + timeout_ms * MIR_US_PER_MS);
}

/* Why the method cannot be called by this session, in words; NULL: it can. */
static const char *refusal(const struct mir_rpc_session *s, const struct mir_rpc_method *method,
                           bool has_id)
{
    if (method->role > s->config.role)
        return "this channel is read-only";
    return method->is_stream && !has_id ? "" : NULL;
}

static void dispatch(struct mir_rpc_session *s, const struct mir_json *json, const char *id,
                     size_t id_len)
{
    void *arg = NULL;
    const struct mir_rpc_method *method =
        find_method(s->server, json, mir_json_find(json, 0, "method"), &arg);
    struct mir__rpc_slot *slot = free_slot(s), spare;
    if (method == NULL) {
        if (id != NULL)
            mir__rpc_put_error(s, id, id_len, MIR_RPC_NO_METHOD,
                               "no such method; rpc.methods lists them");
        return;
    }
    const char *why = refusal(s, method, id != NULL);
    bool is_own =
        method >= mir__rpc_own_methods && method < mir__rpc_own_methods + mir__rpc_own_method_count;
    if (why == NULL && slot == NULL && !is_own)
        why = "8 calls of this session are running; wait for one, or cancel it";
    if (why != NULL) {
        if (id != NULL)
            mir__rpc_put_error(s, id, id_len,
                               -32000 - (slot == NULL ? (int)MIR_ELIMIT : (int)MIR_EPERM), why);
        return;
    }
    if (is_own) {
        slot = &spare;
        mir_timer_init(&slot->timer, NULL, NULL);
        slot->call = (struct mir_rpc_call){.session = s, .state = slot->memory};
    }
    mir_memset(slot->memory, 0, sizeof slot->memory);
    slot->call.method = method;
    slot->call.arg = arg;
    slot->state = MIR__RPC_FREE;
    slot->is_woken = slot->wants_room = slot->began = false;
    slot->is_notification = id == NULL;
    slot->reason[0] = '\0';
    slot->id_len = (uint32_t)id_len;
    if (id != NULL)
        mir_memcpy(slot->id, id, id_len);
    if (method->role == MIR_RPC_FULL)
        MIR_LOG(RPC, INFO, "%s: %s", s->peer, method->name);
    begin_call(slot, json);
}

void mir__rpc_request(struct mir_rpc_session *s, const char *text, size_t len)
{
    struct mir_json json;
    size_t error_at = 0, id_len;
    char message[80];
    const char *id;
    struct mir_json_node *nodes = (struct mir_json_node *)(void *)s->server->scratch->base;
    int r = mir_json_parse(&json, text, len, nodes, MIR__RPC_NODES_MAX, &error_at);
    if (r < 0) {
        s->server->counters.malformed++;
        mir_format(message, sizeof message,
                   r == -MIR_ELIMIT ? "JSON too large or nested too deep"
                                    : "no JSON: byte %zu does not belong there",
                   error_at);
        mir__rpc_put_error(s, NULL, 0, MIR_RPC_PARSE_ERROR, message);
        return;
    }
    bool is_request = mir_json_equal(&json, mir_json_find(&json, 0, "jsonrpc"), "2.0") &&
                      mir_json_is(&json, mir_json_find(&json, 0, "method"), MIR_JSON_STRING);
    if (!read_id(&json, &id, &id_len) || !is_request) {
        s->server->counters.malformed++;
        mir__rpc_put_error(s, id, id_len, MIR_RPC_INVALID_REQUEST,
                           mir_json_is(&json, 0, MIR_JSON_ARRAY)
                               ? "batches are not served: send one request in each frame"
                               : "a request is an object with jsonrpc \"2.0\", method, and an id "
                                 "that is a number or a string of at most 62 bytes");
        return;
    }
    dispatch(s, &json, id, id_len);
}
