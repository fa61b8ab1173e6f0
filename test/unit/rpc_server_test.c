/* SPDX-License-Identifier: ISC */
/* The RPC server without a transport: bytes go in, frames come out, the clock is ours. */
#include <mirari/bytes.h>
#include <mirari/format.h>
#include <mirari/rpc.h>
#include <stdlib.h>
#include <string.h>

#include "test/harness/tap.h"

static uint8_t arena[256 * MIR_PAGE_SIZE] MIR_ALIGNED(MIR_PAGE_SIZE);
static struct mir_page_pool pages;
static struct mir_loop loop;
static struct mir_rpc_server server;
static mir_time_us now_us;
static unsigned wakes;

/* ---- methods -------------------------------------------------------------------------------- */

static unsigned ended, changed;
static struct mir_rpc_call *waiting;

static int echo_begin(struct mir_rpc_call *call)
{
    char text[64];
    int r = mir_rpc_text(call, "text", text, sizeof text);
    if (r < 0)
        return mir_rpc_fail(call, r, "text: too long");
    struct mir_json_out *out = mir_rpc_result(call);
    mir_json_begin(out, '{');
    mir_json_member_text(out, "text", text);
    mir_json_member_u64(out, "n", mir_rpc_u64(call, "n", 42));
    mir_json_member_bool(out, "b", mir_rpc_bool(call, "b", false));
    mir_json_end(out, '}');
    return 0;
}

struct count_state {
    uint64_t at, to;
};

static int count_more(struct mir_rpc_call *call)
{
    struct count_state *state = call->state;
    while (state->at < state->to) {
        struct mir_json_out *out = mir_rpc_item_begin(call);
        if (out == NULL)
            return -MIR_EAGAIN;
        mir_json_put_u64(out, state->at++);
        check_int(mir_rpc_item_end(call), ==, 0);
    }
    mir_json_put_text(mir_rpc_result(call), "done");
    return 0;
}

static int count_begin(struct mir_rpc_call *call)
{
    struct count_state *state = call->state;
    state->to = mir_rpc_u64(call, "to", 3);
    return count_more(call);
}

static void on_end(struct mir_rpc_call *call)
{
    ended++;
    if (waiting == call)
        waiting = NULL;
}

static int turns_more(struct mir_rpc_call *call)
{
    uint64_t *left = call->state;
    struct mir_json_out *out = mir_rpc_item_begin(call);
    mir_json_put_u64(out, *left);
    check_int(mir_rpc_item_end(call), ==, 0);
    if (--*left == 0)
        return 0;
    mir_rpc_call_wake(call);
    return -MIR_EAGAIN;
}

/* Takes its turns one after another without anybody's help. */
static int turns_begin(struct mir_rpc_call *call)
{
    *(uint64_t *)call->state = 5;
    return turns_more(call);
}

static int wait_begin(struct mir_rpc_call *call)
{
    waiting = call;
    return -MIR_EAGAIN;
}

static int wait_more(struct mir_rpc_call *call)
{
    mir_json_put_text(mir_rpc_result(call), "woken");
    return 0;
}

static int change_begin(struct mir_rpc_call *call)
{
    (void)call;
    changed++;
    return 0;
}

static int large_begin(struct mir_rpc_call *call)
{
    static char bytes[40000];
    memset(bytes, 'a', sizeof bytes);
    mir_json_put_bytes(mir_rpc_result(call), bytes, mir_rpc_u64(call, "n", 0));
    return 0;
}

static int fail_begin(struct mir_rpc_call *call)
{
    mir_json_put_text(mir_rpc_result(call), "begun and taken back");
    return -MIR_EIO;
}

static const struct mir_rpc_param echo_params[] = {
    {.name = "text", .type = MIR_JSON_STRING, .is_required = true, .help = "to say"},
    {.name = "n", .type = MIR_JSON_NUMBER, .max = 100, .help = "a number"},
    {.name = "b", .type = MIR_JSON_BOOL, .help = "a flag"}};
static const struct mir_rpc_param count_params[] = {
    {.name = "to", .type = MIR_JSON_NUMBER, .help = "so far"},
    {.name = "n", .type = MIR_JSON_NUMBER, .help = "bytes"}};
static const struct mir_rpc_method methods[] = {
    {.name = "echo",
     .help = "say it",
     .begin = echo_begin,
     .params = echo_params,
     .param_count = 3},
    {.name = "count",
     .help = "count",
     .is_stream = true,
     .begin = count_begin,
     .more = count_more,
     .end = on_end,
     .params = count_params,
     .param_count = 1},
    {.name = "wait", .help = "wait", .begin = wait_begin, .more = wait_more, .end = on_end},
    {.name = "change", .help = "change", .role = MIR_RPC_FULL, .begin = change_begin},
    {.name = "large",
     .help = "large",
     .begin = large_begin,
     .params = count_params,
     .param_count = 2},
    {.name = "turns", .help = "turns", .begin = turns_begin, .more = turns_more},
    {.name = "fail", .help = "fail", .begin = fail_begin},
};
/* Somebody whose structure begins with the server may be the argument. */
static struct mir_rpc_methods set = {
    .methods = methods, .count = MIR_ARRAY_LEN(methods), .arg = &server};

/* ---- a peer --------------------------------------------------------------------------------- */

static void on_wake(void *arg)
{
    (void)arg;
    wakes++;
}

static void settle(void)
{
    mir_time_us deadline;
    for (unsigned i = 0; i < 100; i++) {
        (void)mir_loop_step(&loop, now_us, &deadline);
        if (deadline > now_us)
            return;
    }
    check(false); /* the loop never comes to rest */
}

static void advance(mir_time_us us)
{
    now_us += us;
    settle();
}

static struct mir_rpc_session *open_as(enum mir_rpc_role role)
{
    struct mir_rpc_session *s = NULL;
    struct mir_rpc_session_config config = {.role = role, .peer = "test", .wake = on_wake};
    return mir_rpc_session_open(&server, &config, &s) == 0 ? s : NULL;
}

static void put(struct mir_rpc_session *s, const char *text)
{
    uint8_t frame[4];
    mir_put_be32(frame, (uint32_t)strlen(text));
    check_int(mir_rpc_session_input(s, frame, 4), ==, 4);
    check_int(mir_rpc_session_input(s, text, strlen(text)), ==, strlen(text));
}

/* The next frame, or "". */
static const char *get(struct mir_rpc_session *s)
{
    static char text[MIR_RPC_FRAME_MAX + 1];
    const void *data;
    settle();
    size_t len = mir_rpc_session_output(s, &data);
    text[0] = '\0';
    if (len < 4)
        return text;
    uint32_t frame = mir_get_be32(data);
    check_int(frame + 4, <=, len);
    memcpy(text, (const char *)data + 4, frame);
    text[frame] = '\0';
    mir_rpc_session_sent(s, frame + 4);
    return text;
}

static const char *ask(struct mir_rpc_session *s, const char *text)
{
    put(s, text);
    return get(s);
}

#define REQ(id, method, params)                                                                    \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"" method "\",\"params\":" params "}"

static bool has(const char *text, const char *word)
{
    bool found = strstr(text, word) != NULL;
    if (!found)
        tap_note("no %s in %s", word, text);
    return found;
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void test_calls(struct mir_rpc_session *s)
{
    tap_case("a call and its answer; ids come back as they were written");
    check_str(
        ask(s, REQ("7", "echo", "{\"text\":\"h\\u00e9\"}")),
        "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"text\":\"h\xc3\xa9\",\"n\":42,\"b\":false}}");
    check(has(ask(s, REQ("\"a\\\"b\"", "echo", "{\"text\":\"\",\"n\":100,\"b\":true}")),
              "\"id\":\"a\\\"b\",\"result\":{\"text\":\"\",\"n\":100,\"b\":true}"));
    check(has(ask(s, REQ("-1.5e3", "change", "{}")), "\"id\":-1.5e3,\"result\":null"));
    check_int(changed, ==, 1);
    tap_case("items before the result, and a result of its own");
    put(s, REQ("1", "count", "{}"));
    check_str(get(s),
              "{\"jsonrpc\":\"2.0\",\"method\":\"rpc.item\",\"params\":{\"id\":1,\"item\":0}}");
    check(has(get(s), "\"item\":1"));
    check(has(get(s), "\"item\":2"));
    check(has(get(s), "\"id\":1,\"result\":\"done\""));
    check_str(get(s), "");
    tap_case("a notification is carried out and not answered; one that streams is not");
    put(s, "{\"jsonrpc\":\"2.0\",\"method\":\"change\"}");
    check_str(get(s), "");
    check_int(changed, ==, 2);
    put(s, "{\"jsonrpc\":\"2.0\",\"method\":\"count\"}");
    put(s, "{\"jsonrpc\":\"2.0\",\"method\":\"nothing\"}");
    check_str(get(s), "");
    tap_case("bytes one by one make the same requests");
    const char *text = REQ("3", "echo", "{\"text\":\"slow\"}");
    uint8_t head[4];
    mir_put_be32(head, (uint32_t)strlen(text));
    for (unsigned i = 0; i < 4 + strlen(text); i++) {
        check_int(mir_rpc_session_input(s, i < 4 ? (const void *)(head + i) : text + i - 4, 1), ==,
                  1);
        settle();
    }
    check(has(get(s), "\"slow\""));
}

static void test_errors(struct mir_rpc_session *s)
{
    static const struct {
        const char *request, *answer;
    } rows[] = {
        {"{", "\"id\":null,\"error\":{\"code\":-32700,\"message\":\"no JSON: byte 1"},
        {"[]", "-32600,\"message\":\"batches"},
        {"{}", "\"code\":-32600"},
        {"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"echo\"}",
         "\"id\":1,\"error\":{\"code\":-32600"},
        {"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"echo\"}", "\"code\":-32600"},
        {"{\"jsonrpc\":\"2.0\",\"id\":[],\"method\":\"echo\"}", "\"code\":-32600"},
        {REQ("1", "nothing", "{}"), "\"code\":-32601"},
        {REQ("1", "echo", "{}"), "-32602,\"message\":\"echo needs the parameter text: to say"},
        {REQ("1", "echo", "[]"), "params are to be an object"},
        {REQ("1", "echo", "{\"text\":5}"), "parameter text is to be a string, not a number"},
        {REQ("1", "echo", "{\"text\":\"\",\"n\":101}"), "from 0 to 100"},
        {REQ("1", "echo", "{\"text\":\"\",\"n\":-1}"), "from 0 to 100"},
        {REQ("1", "echo", "{\"text\":\"\",\"tex\":1}"), "echo has no parameter tex"},
        {REQ("1", "echo", "{\"text\":\"\\u0000\"}"), "-32602"},
        {REQ("1", "fail", "{}"), "\"code\":-32014,\"message\":\"input/output error\""},
        {REQ("1", "rpc.cancel", "{\"id\":9}"), "-32005,\"message\":\"no call with this id"},
        {REQ("1", "rpc.cancel", "{}"), "-32602"},
    };
    tap_case("mistakes are answered with what is wrong");
    for (size_t i = 0; i < MIR_ARRAY_LEN(rows); i++)
        check(has(ask(s, rows[i].request), rows[i].answer));
    tap_case("results up to 24 KiB fit; a larger one becomes an error");
    check_int(strlen(ask(s, REQ("1", "large", "{\"n\":24000}"))), >, 24000);
    check(has(ask(s, REQ("1", "large", "{\"n\":40000}")), "\"code\":-32010"));
    check(has(ask(s, REQ("1", "echo", "{\"text\":\"still there\"}")), "still there"));
}

static void test_flow(struct mir_rpc_session *s)
{
    tap_case("a stream that nobody reads stops, and goes on when it is read");
    put(s, REQ("5", "count", "{\"to\":2000}"));
    settle();
    const void *data;
    size_t full = mir_rpc_session_output(s, &data);
    check_int(full, <, 32768);
    unsigned woken = wakes;
    settle();
    check_int(wakes, ==, woken);
    unsigned items = 0;
    const char *text;
    while (strstr(text = get(s), "rpc.item") != NULL)
        items++;
    check_int(items, ==, 2000);
    check(has(text, "\"done\""));
    tap_case("a call that wakes itself, in begin too, goes on by itself");
    put(s, REQ("1", "turns", "{}"));
    for (unsigned i = 0; i < 5; i++)
        check(has(get(s), "rpc.item"));
    check(has(get(s), "\"result\":null"));
    tap_case("other calls of the session are served meanwhile");
    put(s, REQ("6", "wait", "{}"));
    check(has(ask(s, REQ("7", "echo", "{\"text\":\"x\"}")), "\"id\":7"));
    check(waiting != NULL);
    mir_rpc_call_wake(waiting);
    check(has(get(s), "\"id\":6,\"result\":\"woken\""));
    tap_case("requests behind a full output wait in the input, whose room is bounded");
    const char *request = REQ("1", "large", "{\"n\":20000}");
    uint8_t head[4];
    s = open_as(MIR_RPC_FULL);
    mir_put_be32(head, (uint32_t)strlen(request));
    size_t sent = 0;
    while (mir_rpc_session_input(s, head, 4) == 4) {
        if (mir_rpc_session_input(s, request, strlen(request)) != strlen(request))
            break;
        sent++;
        settle();
        check_int(sent, <, 1000);
        if (sent == 1000)
            return;
    }
    check_int(sent, >, 100);
    for (size_t i = 0; i < sent; i++)
        check_int(strlen(get(s)), >, 20000);
    mir_rpc_session_close(s);
}

static void test_ends(struct mir_rpc_session *s)
{
    unsigned before = ended;
    char text[160];
    tap_case("a call ends when its time is over, or when it is canceled");
    put(s, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"wait\",\"timeout_ms\":50}");
    check_str(get(s), "");
    advance(49 * MIR_US_PER_MS);
    check_str(get(s), "");
    advance(3 * MIR_US_PER_MS);
    check(has(get(s), "\"id\":1,\"error\":{\"code\":-32012,\"message\":\"timed out\""));
    check_int(ended, ==, before + 1);
    put(s, REQ("\"w\"", "wait", "{}"));
    put(s, REQ("2", "rpc.cancel", "{\"text_id\":\"w\"}"));
    check(has(get(s), "\"id\":2,\"result\":null"));
    check(has(get(s), "\"id\":\"w\",\"error\":{\"code\":-32013"));
    check_int(ended, ==, before + 2);
    check(waiting == NULL);
    tap_case("no more than 8 calls at a time; canceling gets through");
    for (unsigned i = 0; i < 9; i++) {
        mir_format(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"wait\"}",
                   100 + i);
        put(s, text);
        settle();
    }
    check(has(get(s), "\"id\":108,\"error\":{\"code\":-32004"));
    check(has(ask(s, REQ("1", "rpc.cancel", "{\"id\":103}")), "\"result\":null"));
    check(has(get(s), "\"id\":103,\"error\""));
    check(has(ask(s, REQ("1", "echo", "{\"text\":\"room\"}")), "room"));
}

static void test_roles(void)
{
    tap_case("a read-only session looks and does not touch; a full one can give that up");
    struct mir_rpc_session *s = open_as(MIR_RPC_READ_ONLY);
    unsigned before = changed;
    check(has(ask(s, REQ("1", "change", "{}")), "-32017,\"message\":\"this channel is read-only"));
    check(has(ask(s, REQ("1", "echo", "{\"text\":\"x\"}")), "result"));
    mir_rpc_session_close(s);
    s = open_as(MIR_RPC_FULL);
    check(has(ask(s, REQ("1", "change", "{}")), "result"));
    check(has(ask(s, REQ("1", "rpc.drop", "{}")), "result"));
    check(has(ask(s, REQ("1", "change", "{}")), "read-only"));
    check_int(changed, ==, before + 1);
    tap_case("methods describe themselves");
    const char *all = ask(s, REQ("1", "rpc.methods", "{}"));
    check(has(all, "\"version\":1,\"role\":\"read-only\""));
    check(has(all, "{\"name\":\"echo\",\"help\":\"say it\",\"role\":\"read-only\",\"stream\":false,"
                   "\"params\":[{\"name\":\"text\",\"type\":\"string\",\"required\":true,"
                   "\"help\":\"to say\"},{\"name\":\"n\",\"type\":\"number\",\"required\":false,"
                   "\"max\":100,"));
    check(has(all, "rpc.cancel"));
    const char *one = ask(s, REQ("1", "rpc.methods", "{\"name\":\"count\"}"));
    check(has(one, "\"count\"") && strstr(one, "echo") == NULL);
    mir_rpc_session_close(s);
}

static void test_sessions(void)
{
    struct mir_rpc_session *s[9];
    tap_case("framing that makes no sense ends the session, with a word");
    static const uint8_t lengths[][4] = {{0, 0, 0, 0}, {0, 0, 0x40, 1}, {'G', 'E', 'T', ' '}};
    for (size_t i = 0; i < MIR_ARRAY_LEN(lengths); i++) {
        s[0] = open_as(MIR_RPC_FULL);
        check_int(mir_rpc_session_input(s[0], lengths[i], 4), ==, 4);
        check(has(get(s[0]), "a frame is a length of 4 bytes"));
        check(mir_rpc_session_is_over(s[0]));
        check_int(mir_rpc_session_input(s[0], "x", 1), ==, 0);
        mir_rpc_session_close(s[0]);
    }
    tap_case("sessions are counted: 8, of them 4 that only look");
    for (unsigned i = 0; i < 4; i++)
        s[i] = open_as(MIR_RPC_READ_ONLY);
    check(open_as(MIR_RPC_READ_ONLY) == NULL);
    for (unsigned i = 4; i < 8; i++)
        s[i] = open_as(MIR_RPC_FULL);
    check(s[7] != NULL && open_as(MIR_RPC_FULL) == NULL);
    for (unsigned i = 0; i < 8; i++)
        mir_rpc_session_close(s[i]);
    tap_case("without memory a session is refused and nothing is left");
    for (unsigned nth = 1; nth <= 3; nth++) {
        mir_page_pool_fail_at(&pages, nth);
        check(open_as(MIR_RPC_FULL) == NULL);
        check_int(mir_page_pool_used_bytes(&pages), ==, 0);
    }
    tap_case("a session that ends in the middle of calls gives everything back");
    s[0] = open_as(MIR_RPC_FULL);
    unsigned before = ended;
    put(s[0], REQ("1", "wait", "{}"));
    put(s[0], REQ("2", "count", "{\"to\":100000}"));
    settle();
    put(s[0], REQ("3", "echo", "{\"text\":\"never\"}"));
    mir_rpc_session_close(s[0]);
    settle();
    check_int(ended, ==, before + 2);
    check_int(mir_page_pool_used_bytes(&pages), ==, 0);
}

int main(void)
{
    tap_begin("rpc_server");
    check_int(mir_page_pool_init(&pages, arena, sizeof arena), ==, 0);
    now_us = 5 * MIR_US_PER_S;
    mir_loop_init(&loop, now_us);
    mir_rpc_server_init(&server, &(struct mir_rpc_server_config){.loop = &loop, .pages = &pages});
    mir_rpc_server_add(&server, &set);
    tap_case("a server without sessions has no memory");
    check_int(mir_page_pool_used_bytes(&pages), ==, 0);
    struct mir_rpc_session *s = open_as(MIR_RPC_FULL);
    test_calls(s);
    test_errors(s);
    test_flow(s);
    test_ends(s);
    mir_rpc_session_close(s);
    test_roles();
    test_sessions();
    mir_rpc_server_fini(&server);
    return tap_done();
}
