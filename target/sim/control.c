/* SPDX-License-Identifier: ISC */
/* The control channel of an appliance in the simulator: in the same process, at virtual times.
 *
 *   --call 2.5:netstat ── mir_sim_at() ── work of the node's loop ── session ── lib/control
 *                                                                       └── answers on stdout
 *
 * The methods are those of every target (lib/control) and the appliance's own. A call takes no
 * virtual time and sends no frame: one that only looks changes nothing on the wire. The same calls
 * give the same answers each time.
 *
 *   2.500000 netstat: {"proto":"tcp",...}      an item of a stream, or the result
 *   2.500000 nosuch failed: no method "nosuch"
 *
 * One session makes all calls: eight can go on at a time, one more fails. A stream (trace, tcpdump)
 * goes on until the run ends.
 */
#include "target/sim/control.h"

#include <stdio.h>
#include <string.h>

#include <mirari/bytes.h>
#include <mirari/format.h>
#include <mirari/json.h>

#include "target/sim/internal.h"

#define NODES_MAX 8192u
#define DECIMALS  6u

static struct mir_json_node nodes[NODES_MAX];

/* ---- the command line ------------------------------------------------------------------------ */

/* Seconds with at most six decimals. */
static bool read_time(const char *text, size_t len, mir_time_us *us)
{
    const char *dot = memchr(text, '.', len);
    size_t whole = dot != NULL ? (size_t)(dot - text) : len;
    size_t decimals = dot != NULL ? len - whole - 1 : 0;
    uint64_t seconds, part = 0;
    if (mir_parse_u64(text, whole, 1000000, &seconds) < 0 || (dot != NULL && decimals == 0) ||
        decimals > DECIMALS)
        return false;
    if (decimals > 0 && mir_parse_u64(dot + 1, decimals, 999999, &part) < 0)
        return false;
    for (size_t i = decimals; i < DECIMALS; i++)
        part *= 10;
    *us = seconds * MIR_US_PER_S + part;
    return true;
}

static bool is_object(const char *text)
{
    struct mir_json json;
    size_t error_at;
    return mir_json_parse(&json, text, strlen(text), nodes, NODES_MAX, &error_at) == 0 &&
           mir_json_is(&json, 0, MIR_JSON_OBJECT);
}

int mir__sim_control_add(struct mir__sim_control *c, const char *text)
{
    const char *colon = strchr(text, ':');
    if (c->count == MIR__SIM_ASKS_MAX)
        return -MIR_ELIMIT;
    struct mir__sim_ask *ask = &c->asks[c->count];
    if (colon == NULL || !read_time(text, (size_t)(colon - text), &ask->at_us))
        return -MIR_EINVAL;
    ask->method = colon + 1;
    ask->method_len = (int)strcspn(ask->method, ":");
    ask->params = ask->method[ask->method_len] == ':' ? ask->method + ask->method_len + 1 : NULL;
    for (int i = 0; i < ask->method_len; i++) {
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-",
                   ask->method[i]) == NULL)
            return -MIR_EINVAL;
    }
    if (ask->method_len == 0 || (ask->params != NULL && !is_object(ask->params)))
        return -MIR_EINVAL;
    c->count++;
    return 0;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void print_head(const struct mir__sim_control *c, const struct mir__sim_ask *ask)
{
    mir_time_us since_us = mir_sim_now(c->sim) - c->start_us;
    printf("%llu.%06llu %.*s", (unsigned long long)(since_us / MIR_US_PER_S),
           (unsigned long long)(since_us % MIR_US_PER_S), ask->method_len, ask->method);
}

/* As it stands in the answer. */
static void print_value(struct mir__sim_control *c, const struct mir__sim_ask *ask,
                        const struct mir_json *json, uint32_t node)
{
    const struct mir_json_node *value = &json->nodes[node];
    uint32_t quotes = value->type == MIR_JSON_STRING ? 1 : 0;
    print_head(c, ask);
    printf(": %.*s\n", (int)(value->len + 2 * quotes), json->text + value->at - quotes);
}

/* @ask NULL: of a call that the server could not read as far as its number. */
static void print_error(struct mir__sim_control *c, const struct mir__sim_ask *ask,
                        const struct mir_json *json, uint32_t error)
{
    char text[256];
    if (mir_json_text(json, mir_json_find(json, error, "message"), text, sizeof text) < 0)
        text[0] = '\0';
    if (ask != NULL)
        print_head(c, ask);
    printf("%s failed: %s\n", ask != NULL ? "" : "a call", text);
    c->failed++;
}

static struct mir__sim_ask *find(struct mir__sim_control *c, const struct mir_json *json,
                                 uint32_t object)
{
    uint64_t id;
    if (mir_json_u64(json, mir_json_find(json, object, "id"), c->count - 1, &id) < 0)
        return NULL;
    return &c->asks[id];
}

static void print_frame(struct mir__sim_control *c, const char *text, size_t len)
{
    struct mir_json json;
    size_t error_at;
    if (mir_json_parse(&json, text, len, nodes, NODES_MAX, &error_at) < 0) {
        printf("an answer of %zu bytes has too many parts to be shown\n", len);
        return;
    }
    uint32_t params = mir_json_find(&json, 0, "params");
    uint32_t result = mir_json_find(&json, 0, "result"), error = mir_json_find(&json, 0, "error");
    struct mir__sim_ask *ask = find(c, &json, params != MIR_JSON_NONE ? params : 0);
    MIR_ASSERT(ask != NULL || error != MIR_JSON_NONE); /* there is nobody else in this session */
    if (params != MIR_JSON_NONE) {
        print_value(c, ask, &json, mir_json_find(&json, params, "item"));
        return;
    }
    if (ask != NULL)
        ask->is_answered = true;
    if (error != MIR_JSON_NONE)
        print_error(c, ask, &json, error);
    else
        print_value(c, ask, &json, result);
}

/* Frames are in the output whole or not at all. */
static void take_answers(void *arg)
{
    struct mir__sim_control *c = arg;
    const void *data;
    size_t have;
    while ((have = mir_rpc_session_output(c->session, &data)) >= MIR_RPC_HEADER_BYTES) {
        size_t len = mir_get_be32(data);
        MIR_ASSERT_OP(len, <=, have - MIR_RPC_HEADER_BYTES);
        print_frame(c, (const char *)data + MIR_RPC_HEADER_BYTES, len);
        mir_rpc_session_sent(c->session, MIR_RPC_HEADER_BYTES + len);
    }
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void make_call(void *arg)
{
    struct mir__sim_ask *ask = arg;
    struct mir__sim_control *c = ask->owner;
    char frame[MIR_RPC_REQUEST_MAX];
    int len =
        snprintf(frame + MIR_RPC_HEADER_BYTES, sizeof frame - MIR_RPC_HEADER_BYTES,
                 "{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"%.*s\"%s%s}",
                 (unsigned)(ask - c->asks), ask->method_len, ask->method,
                 ask->params != NULL ? ",\"params\":" : "", ask->params != NULL ? ask->params : "");
    ask->is_begun = true;
    size_t total = MIR_RPC_HEADER_BYTES + (size_t)len;
    if (total >= sizeof frame || total > mir_rpc_session_room(c->session)) {
        print_head(c, ask);
        printf(" failed: it is too long, or too many calls wait\n");
        ask->is_answered = true;
        c->failed++;
        return;
    }
    mir_put_be32((uint8_t *)frame, (uint32_t)len);
    (void)mir_rpc_session_input(c->session, frame, total);
}

/* Into the loop of the node, whose clock is then right. */
static void moment_came(void *arg)
{
    struct mir__sim_ask *ask = arg;
    mir_loop_post(&ask->owner->node->loop, &ask->work);
    mir_sim_wake(ask->owner->node);
}

int mir__sim_control_start(struct mir__sim_control *c, struct mir_app *app,
                           struct mir_sim_node *node)
{
    if (c->count == 0)
        return 0;
    c->node = node;
    c->sim = node->sim;
    c->start_us = mir_sim_now(c->sim);
    struct mir__control_config config = {
        .app = app, .net = app->stack != NULL ? node->net : NULL, .target = "sim"};
    mir__control_init(&c->control, &config);
    struct mir_rpc_session_config session = {
        .role = MIR_RPC_FULL, .peer = "the simulation", .wake = take_answers, .arg = c};
    int r = mir_rpc_session_open(&c->control.server, &session, &c->session);
    if (r < 0) {
        c->session = NULL;
        mir__control_fini(&c->control);
        return r;
    }
    for (uint32_t i = 0; i < c->count; i++) {
        struct mir__sim_ask *ask = &c->asks[i];
        ask->owner = c;
        ask->moment = (struct mir_sim_call){.run = moment_came, .arg = ask};
        mir_work_init(&ask->work, make_call, ask);
        mir_sim_at(c->sim, &ask->moment, c->start_us + ask->at_us);
    }
    return 0;
}

void mir__sim_control_finish(struct mir__sim_control *c)
{
    if (c->session == NULL)
        return;
    take_answers(c);
    for (uint32_t i = 0; i < c->count; i++) {
        struct mir__sim_ask *ask = &c->asks[i];
        mir_sim_cancel(c->sim, &ask->moment);
        mir_work_cancel(&ask->work);
        if (!ask->is_begun) {
            print_head(c, ask);
            printf(" failed: the appliance had ended before the call\n");
            c->failed++;
        }
    }
    mir_rpc_session_close(c->session);
    c->session = NULL;
    mir__control_fini(&c->control);
}
