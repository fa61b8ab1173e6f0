/* SPDX-License-Identifier: ISC */
/* The RPC server and the JSON reader: bytes of a peer, cut anywhere, read or not read.
 *
 *   0xff op   op % 8: 0 a piece ends, 1 everything waiting is read, 2 a little is read, 3 time
 *             passes, 4 the session ends and another begins, 5 calls that wait are woken, 6 what
 *             follows gets a header with its length, 7 the same, for a session that only looks
 *   others    go to the session
 *
 * Whatever comes out must be frames of valid JSON; after it nothing may be left.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mirari/bytes.h>
#include <mirari/platform.h>
#include <mirari/rpc.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void mir_platform_abort(const char *text)
{
    fprintf(stderr, "%s\n", text);
    abort();
}

static uint8_t arena[64 * MIR_PAGE_SIZE] MIR_ALIGNED(MIR_PAGE_SIZE);
static struct mir_page_pool pages;
static struct mir_loop loop;
static struct mir_rpc_server server;
static struct mir_rpc_session *session;
static struct mir_rpc_call *waiting[MIR_RPC_CALLS_MAX];
static mir_time_us now_us;
static uint8_t seen[1 << 16];
static size_t seen_len;

static int text_begin(struct mir_rpc_call *call)
{
    char text[40];
    if (mir_rpc_text(call, "t", text, sizeof text) == 0)
        mir_json_put_text(mir_rpc_result(call), text);
    return (int)mir_rpc_u64(call, "n", 0) % 3 == 1 ? -MIR_EIO : 0;
}

static int stream_more(struct mir_rpc_call *call)
{
    uint64_t *left = call->state;
    while (*left > 0) {
        struct mir_json_out *out = mir_rpc_item_begin(call);
        if (out == NULL)
            return -MIR_EAGAIN;
        size_t room = mir_rpc_item_room(call);
        mir_json_put_base64(out, seen, MIR_MIN(room, (size_t)*left * 37) / 4 * 3);
        (void)mir_rpc_item_end(call);
        --*left;
    }
    return 0;
}

static int stream_begin(struct mir_rpc_call *call)
{
    *(uint64_t *)call->state = mir_rpc_u64(call, "n", 3);
    return stream_more(call);
}

static int wait_begin(struct mir_rpc_call *call)
{
    for (size_t i = 0; i < MIR_ARRAY_LEN(waiting); i++) {
        if (waiting[i] == NULL) {
            waiting[i] = call;
            return -MIR_EAGAIN;
        }
    }
    abort();
}

static int wait_more(struct mir_rpc_call *call)
{
    (void)call;
    return 0;
}

static void wait_end(struct mir_rpc_call *call)
{
    for (size_t i = 0; i < MIR_ARRAY_LEN(waiting); i++)
        waiting[i] = waiting[i] == call ? NULL : waiting[i];
}

static const struct mir_rpc_param params[] = {
    {.name = "t", .type = MIR_JSON_STRING, .help = "text"},
    {.name = "n", .type = MIR_JSON_NUMBER, .max = 1000, .help = "number"}};
static const struct mir_rpc_method methods[] = {
    {.name = "t", .help = "", .begin = text_begin, .params = params, .param_count = 2},
    {.name = "s",
     .help = "",
     .is_stream = true,
     .begin = stream_begin,
     .more = stream_more,
     .params = params,
     .param_count = 2},
    {.name = "w", .help = "", .begin = wait_begin, .more = wait_more, .end = wait_end},
    {.name = "f", .help = "", .role = MIR_RPC_FULL, .begin = wait_more},
};
static struct mir_rpc_methods set;

static void check_frames(void)
{
    static struct mir_json_node nodes[4096];
    struct mir_json json;
    size_t error_at, at = 0;
    while (seen_len - at >= 4 && seen_len - at - 4 >= mir_get_be32(seen + at)) {
        uint32_t len = mir_get_be32(seen + at);
        if (len == 0 || len > MIR_RPC_FRAME_MAX ||
            mir_json_parse(&json, (char *)seen + at + 4, len, nodes, 4096, &error_at) < 0 ||
            mir_json_find(&json, 0, "jsonrpc") == MIR_JSON_NONE)
            abort();
        at += 4 + len;
    }
    memmove(seen, seen + at, seen_len - at);
    seen_len -= at;
}

static void take(size_t max)
{
    const void *data;
    size_t len = MIR_MIN(mir_rpc_session_output(session, &data), max);
    if (len > sizeof seen - seen_len)
        abort();
    memcpy(seen + seen_len, data, len);
    seen_len += len;
    check_frames();
    mir_rpc_session_sent(session, len);
}

static void settle(void)
{
    mir_time_us deadline;
    for (unsigned i = 0; i < 10000; i++) {
        (void)mir_loop_step(&loop, now_us, &deadline);
        if (deadline > now_us)
            return;
    }
    abort(); /* it spins */
}

static void on_wake(void *arg)
{
    (void)arg;
}

static void begin(enum mir_rpc_role role)
{
    struct mir_rpc_session_config config = {.role = role, .peer = "fuzz", .wake = on_wake};
    if (mir_rpc_session_open(&server, &config, &session) < 0)
        abort();
    seen_len = 0;
}

static void operate(uint8_t op, const uint8_t *data, size_t size, size_t *at)
{
    uint8_t head[4];
    switch (op % 8) {
    case 1:
        take(SIZE_MAX);
        break;
    case 2:
        take(op);
        break;
    case 3:
        now_us += op * 10 * MIR_US_PER_MS;
        break;
    case 4:
        mir_rpc_session_close(session);
        begin(MIR_RPC_FULL);
        break;
    case 5:
        for (size_t i = 0; i < MIR_ARRAY_LEN(waiting); i++)
            if (waiting[i] != NULL)
                mir_rpc_call_wake(waiting[i]);
        break;
    case 6:
    case 7: {
        size_t len = 0;
        while (*at + len < size && data[*at + len] != 0xff)
            len++;
        if (op % 8 == 7) {
            mir_rpc_session_close(session);
            begin(MIR_RPC_READ_ONLY);
        }
        mir_put_be32(head, (uint32_t)len);
        (void)mir_rpc_session_input(session, head, 4);
        break;
    }
    default:
        break;
    }
    settle();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (mir_page_pool_init(&pages, arena, sizeof arena) < 0)
        abort();
    now_us = MIR_US_PER_S;
    mir_loop_init(&loop, now_us);
    mir_rpc_server_init(&server, &(struct mir_rpc_server_config){.loop = &loop, .pages = &pages});
    set = (struct mir_rpc_methods){.methods = methods, .count = MIR_ARRAY_LEN(methods)};
    mir_rpc_server_add(&server, &set);
    begin(MIR_RPC_FULL);
    for (size_t at = 0; at < size;) {
        if (data[at] == 0xff && at + 1 < size) {
            uint8_t op = data[at + 1];
            at += 2;
            operate(op, data, size, &at);
            continue;
        }
        size_t len = 1;
        while (at + len < size && data[at + len] != 0xff)
            len++;
        (void)mir_rpc_session_input(session, data + at, len);
        at += len;
    }
    settle();
    take(SIZE_MAX);
    settle();
    mir_rpc_session_close(session);
    settle();
    if (mir_page_pool_used_bytes(&pages) != 0)
        abort();
    for (size_t i = 0; i < MIR_ARRAY_LEN(waiting); i++)
        if (waiting[i] != NULL)
            abort();
    return 0;
}
