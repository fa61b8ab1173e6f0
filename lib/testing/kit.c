/* SPDX-License-Identifier: ISC */
/* The table of test methods, what they share, and those that need no file of their own.
 *
 * A method that goes on keeps its state in a page run of its own, which goes back when the call
 * ends, however it ends: a driver that leaves leaves nothing behind. Servers stay until the
 * appliance ends.
 */
#include <mirari/format.h>
#include <mirari/log.h>

#include "lib/testing/testing.h"

/* ---- jobs ------------------------------------------------------------------------------------ */

struct mir__testing_job *mir__testing_job_of(const struct mir_rpc_call *call)
{
    return *(struct mir__testing_job **)call->state;
}

bool mir__testing_endpoint(const char *text, struct mir_endpoint *ep)
{
    size_t len = mir_str_len(text), colon = len;
    uint64_t port;
    while (colon > 0 && text[colon - 1] != ':')
        colon--;
    if (colon < 2 || mir_parse_u64(text + colon, len - colon, 65535, &port) < 0 || port == 0)
        return false;
    bool is_v6 = text[0] == '[' && text[colon - 2] == ']';
    size_t ip_len = colon - 1 - 2u * is_v6;
    ep->port = (uint16_t)port;
    return mir_ip_parse(text + is_v6, ip_len, &ep->ip) == 0;
}

/* Only methods that declare it have it. */
static bool has_param(const struct mir_rpc_call *call, const char *name)
{
    size_t len = mir_str_len(name);
    for (uint32_t i = 0; i < call->method->param_count; i++) {
        if (mir_str_len(call->method->params[i].name) == len &&
            mir_memcmp(call->method->params[i].name, name, len) == 0)
            return true;
    }
    return false;
}

int mir__testing_job_open(struct mir_rpc_call *call, size_t size, struct mir__testing_job **job)
{
    struct mir__testing *kit = call->arg;
    struct mir_io_page *page;
    struct mir_endpoint to = {.port = 0};
    char text[80];
    if (kit->app->stack == NULL)
        return mir_rpc_fail(call, -MIR_ENOTSUP, "this appliance has no network");
    int r = has_param(call, "to") ? mir_rpc_text(call, "to", text, sizeof text) : 0;
    if (r < 0 || (has_param(call, "to") && !mir__testing_endpoint(text, &to)))
        return mir_rpc_fail(call, -MIR_EINVAL, "to: write ADDRESS:PORT, IPv6 as [ADDRESS]:PORT");
    r = mir_page_alloc(kit->app->pages, size, MIR_PAGE_ZERO, &page);
    if (r < 0)
        return r;
    struct mir__testing_job *made = (struct mir__testing_job *)(void *)page->base;
    *made = (struct mir__testing_job){
        .call = call, .kit = kit, .page = page, .to = to, .began_us = mir_loop_now(kit->app->loop)};
    *(struct mir__testing_job **)call->state = made;
    *job = made;
    return 0;
}

void mir__testing_job_close(struct mir_rpc_call *call)
{
    mir_page_release(mir__testing_job_of(call)->page);
}

void mir__testing_job_over(struct mir__testing_job *job, int err)
{
    if (job->is_over)
        return;
    job->is_over = true;
    job->err = err;
    mir_rpc_call_wake(job->call);
}

uint64_t mir__testing_job_us(const struct mir__testing_job *job)
{
    return mir_loop_now(job->kit->app->loop) - job->began_us;
}

/* ---- the pattern ----------------------------------------------------------------------------- */

/* Any byte follows from its place alone, and neighbours are unlike: a byte that is lost, doubled or
 * moved changes what comes. */
static uint8_t pattern_byte(uint64_t at)
{
    uint64_t x = at * 0x9e3779b97f4a7c15u;
    return (uint8_t)(x >> 56 ^ x >> 29);
}

void mir__testing_pattern(uint64_t at, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = pattern_byte(at + i);
}

uint32_t mir__testing_wrong(uint64_t at, const uint8_t *data, size_t len)
{
    uint32_t wrong = 0;
    for (size_t i = 0; i < len; i++)
        wrong += data[i] != pattern_byte(at + i);
    return wrong;
}

/* ---- small methods --------------------------------------------------------------------------- */

static int log_begin(struct mir_rpc_call *call)
{
    char text[256];
    int r = mir_rpc_text(call, "text", text, sizeof text);
    if (r == 0)
        MIR_LOG(APP, WARN, "%s", text);
    return r;
}

static int crash_begin(struct mir_rpc_call *call)
{
    bool is_asked = call->arg != NULL;
    MIR_ASSERT(!is_asked);
    return 0;
}

static int hang_begin(struct mir_rpc_call *call)
{
    volatile bool is_asked = call->arg != NULL;
    while (is_asked)
        ;
    return 0;
}

static int echo_begin(struct mir_rpc_call *call)
{
    char protocol[8] = "tcp";
    int r = mir_rpc_text(call, "protocol", protocol, sizeof protocol);
    if (r == -MIR_ENOENT || (r == 0 && mir_memcmp(protocol, "tcp", 4) == 0))
        return mir__testing_tcp_begin(call);
    if (r == 0 && mir_memcmp(protocol, "udp", 4) == 0)
        return mir__testing_udp_begin(call);
    return mir_rpc_fail(call, -MIR_EINVAL, "protocol: tcp or udp");
}

/* Which of the two it is, is known by what kind of job there is: its first word says so. */
static bool is_udp(const struct mir_rpc_call *call)
{
    return ((void **)call->state)[1] != NULL;
}

static int echo_more(struct mir_rpc_call *call)
{
    return is_udp(call) ? mir__testing_udp_more(call) : mir__testing_tcp_more(call);
}

static void echo_end(struct mir_rpc_call *call)
{
    if (is_udp(call))
        mir__testing_udp_end(call);
    else
        mir__testing_tcp_end(call);
}

/* ---- the table ------------------------------------------------------------------------------- */

#define TEXT(n, needed, h)                                                                         \
    {                                                                                              \
        .name = (n), .type = MIR_JSON_STRING, .is_required = (needed), .help = (h)                 \
    }
#define NUMBER(n, needed, limit, h)                                                                \
    {                                                                                              \
        .name = (n), .type = MIR_JSON_NUMBER, .is_required = (needed), .max = (limit), .help = (h) \
    }

static const struct mir_rpc_param serve_params[] = {
    NUMBER("port", true, 65535, "where"),
    TEXT("protocol", false, "tcp (if nothing is said) or udp"),
    TEXT("does", false, "echo (if nothing is said) or discard"),
};
static const struct mir_rpc_param echo_params[] = {
    TEXT("to", true, "ADDRESS:PORT of an echo service"),
    NUMBER("bytes", false, 1u << 30, "to send; 10000. UDP: of a datagram, 8 to 1400; 100"),
    TEXT("protocol", false, "tcp (if nothing is said) or udp"),
    NUMBER("count", false, 100000, "datagrams, each again until it is answered; 10"),
};
static const struct mir_rpc_param send_params[] = {
    TEXT("to", true, "ADDRESS:PORT of somebody who reads"),
    NUMBER("bytes", false, 1u << 30, "to send; 10000"),
};
static const struct mir_rpc_param get_params[] = {
    TEXT("to", true, "ADDRESS:PORT of a server"),
    TEXT("path", false, "/ if nothing is said"),
    NUMBER("count", false, 1000000, "requests, each with a connection of its own; 1"),
    NUMBER("parallel", false, 16, "connections at a time; 1"),
};
static const struct mir_rpc_param resolve_params[] = {
    TEXT("name", true, "of a host"),
    TEXT("server", false, "ADDRESS:PORT of a name server, instead of those it knows"),
};
static const struct mir_rpc_param log_params[] = {TEXT("text", true, "a line")};

#define PARAMS(p) .params = (p), .param_count = MIR_ARRAY_LEN(p)

static const struct mir_rpc_method methods[] = {
    {.name = "test.serve",
     .help = "answer on a port, until the end",
     .role = MIR_RPC_FULL,
     .begin = mir__testing_serve,
     PARAMS(serve_params)},
    {.name = "test.services", .help = "what the servers saw", .begin = mir__testing_services},
    {.name = "test.echo",
     .help = "send to an echo service and compare",
     .role = MIR_RPC_FULL,
     .begin = echo_begin,
     .more = echo_more,
     .end = echo_end,
     PARAMS(echo_params)},
    {.name = "test.send",
     .help = "send over TCP",
     .role = MIR_RPC_FULL,
     .begin = mir__testing_tcp_begin,
     .more = mir__testing_tcp_more,
     .end = mir__testing_tcp_end,
     PARAMS(send_params)},
    {.name = "test.get",
     .help = "ask for a page over HTTP",
     .role = MIR_RPC_FULL,
     .begin = mir__testing_get_begin,
     .more = mir__testing_get_more,
     .end = mir__testing_get_end,
     PARAMS(get_params)},
    {.name = "test.resolve",
     .help = "addresses of a name",
     .role = MIR_RPC_FULL,
     .begin = mir__testing_resolve_begin,
     .more = mir__testing_resolve_more,
     .end = mir__testing_resolve_end,
     PARAMS(resolve_params)},
    {.name = "test.log",
     .help = "log a line",
     .role = MIR_RPC_FULL,
     .begin = log_begin,
     PARAMS(log_params)},
    {.name = "test.crash", .help = "fail an assertion", .role = MIR_RPC_FULL, .begin = crash_begin},
    {.name = "test.hang",
     .help = "do not return to the loop, ever",
     .role = MIR_RPC_FULL,
     .begin = hang_begin},
};

static void say_goodbye(struct mir_app *app, void *arg)
{
    (void)app;
    mir__testing_unserve(arg);
}

void mir_testing_add(struct mir_app *app)
{
    struct mir_io_page *page;
    if (app->control == NULL ||
        mir_page_alloc(app->pages, sizeof(struct mir__testing), MIR_PAGE_ZERO, &page) < 0)
        return;
    struct mir__testing *kit = (struct mir__testing *)(void *)page->base;
    *kit = (struct mir__testing){
        .app = app,
        .methods = {.methods = methods, .count = MIR_ARRAY_LEN(methods), .arg = kit},
        .bye = {.name = "testing", .run = say_goodbye, .arg = kit, .when = MIR_APP_AFTER_STOP}};
    mir_rpc_server_add(app->control, &kit->methods);
    mir_app_add_hook(app, &kit->bye);
}
