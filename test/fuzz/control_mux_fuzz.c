/* SPDX-License-Identifier: ISC */
/* The machine's end of its control channel, with a real RPC server: a host that says anything.
 *
 *   bytes      op argument...
 *   op % 8     0   HELLO: nonce
 *              1   OPEN: session, role, window in units of 64 bytes
 *              2   DATA: session, length, bytes
 *              3   DATA with a request: session, which one
 *              4   CREDIT: session, bytes in units of 64
 *              5   CLOSE: session; or a frame of any kind: kind, session, length, bytes
 *              6   bytes on the line: length, bytes
 *              7   the line takes as many bytes, or time passes
 *
 * A model of the protocol looks at both directions. Whatever comes out must be frames that an
 * honest machine says: an answer to the last HELLO first, no more of a session than the host has
 * room for, nothing behind a CLOSE. Nothing may be ready that nobody was woken for, and after it
 * nothing may be left.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mirari/bytes.h>

#include "lib/control/mux.h"
#include "test/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t arena[512 * MIR_PAGE_SIZE] MIR_ALIGNED(MIR_PAGE_SIZE);
static struct mir_page_pool pages;
static struct mir_loop loop;
static struct mir_rpc_server server;
static struct mir__mux mux;
static mir_time_us now_us;
static bool is_woken, is_in_output;

static struct fuzz_input source;

/* ---- methods ----------------------------------------------------------------------------------
 */

static int large_begin(struct mir_rpc_call *call)
{
    static char bytes[20000];
    memset(bytes, '~', sizeof bytes); /* 0x7e: a flag */
    mir_json_put_bytes(mir_rpc_result(call), bytes, sizeof bytes);
    return 0;
}

static int stream_more(struct mir_rpc_call *call)
{
    uint64_t *count = call->state;
    struct mir_json_out *out;
    while (*count < 40 && (out = mir_rpc_item_begin(call)) != NULL) {
        mir_json_put_u64(out, ++*count);
        if (mir_rpc_item_end(call) < 0)
            abort();
    }
    return *count < 40 ? -MIR_EAGAIN : 0;
}

static int never_more(struct mir_rpc_call *call)
{
    (void)call;
    return -MIR_EAGAIN;
}

static const struct mir_rpc_method methods[] = {
    {.name = "l", .help = "", .begin = large_begin},
    {.name = "s", .help = "", .is_stream = true, .begin = stream_more, .more = stream_more},
    {.name = "w", .help = "", .begin = never_more, .more = never_more},
    {.name = "f", .help = "", .role = MIR_RPC_FULL, .begin = large_begin},
};
static struct mir_rpc_methods set;

/* ---- the model --------------------------------------------------------------------------------
 */

struct model {
    bool is_open;                 /* the host has said OPEN, and not both CLOSE */
    bool host_closed, has_closed; /* who has said CLOSE */
    uint64_t window;              /* bytes that the machine may send */
    int64_t credit;               /* bytes that the host may send, as the machine has said */
};

static struct model sessions[MIR__LINE_SESSIONS];
static uint8_t nonce[8];
static bool has_begun, is_answered;
static struct mir__line_in to_machine, from_machine;

static void settle_model(struct model *s)
{
    if (s->host_closed && s->has_closed)
        *s = (struct model){0};
}

/* What the host says, whoever made it up. */
static void host_says(void *arg, const struct mir__line_frame *f)
{
    (void)arg;
    if (f->kind == MIR__LINE_IS_HELLO && f->len == MIR__LINE_HELLO) {
        memset(sessions, 0, sizeof sessions);
        memcpy(nonce, f->payload + 1, sizeof nonce);
        has_begun = true;
        is_answered = false;
    }
    if (!has_begun || f->session >= MIR__LINE_SESSIONS)
        return;
    struct model *s = &sessions[f->session];
    if (f->kind == MIR__LINE_IS_OPEN && !s->is_open && f->len >= MIR__LINE_OPEN) {
        *s = (struct model){.is_open = true, .window = mir_get_be32(f->payload + 1)};
    } else if (f->kind == MIR__LINE_IS_DATA && s->is_open && !s->host_closed) {
        s->credit -= f->len;
    } else if (f->kind == MIR__LINE_IS_CREDIT && s->is_open && f->len == 4) {
        s->window += mir_get_be32(f->payload);
    } else if (f->kind == MIR__LINE_IS_CLOSE && s->is_open) {
        s->host_closed = true;
        settle_model(s);
    }
}

static void machine_says(void *arg, const struct mir__line_frame *f)
{
    (void)arg;
    if (f->kind == MIR__LINE_IS_HELLO) {
        if (!has_begun || is_answered || f->len != MIR__LINE_HELLO ||
            f->payload[0] != MIR__LINE_VERSION || memcmp(f->payload + 1, nonce, 8) != 0)
            abort();
        is_answered = true;
        return;
    }
    if (!is_answered || f->session >= MIR__LINE_SESSIONS)
        abort();
    struct model *s = &sessions[f->session];
    if (!s->is_open || s->has_closed)
        abort();
    if (f->kind == MIR__LINE_IS_DATA) {
        if (f->len == 0 || f->len > s->window)
            abort();
        s->window -= f->len;
    } else if (f->kind == MIR__LINE_IS_CREDIT && f->len == 4) {
        s->credit += mir_get_be32(f->payload);
        if (s->credit > (int64_t)(MIR_RPC_HEADER_BYTES + MIR_RPC_REQUEST_MAX))
            abort();
    } else if (f->kind == MIR__LINE_IS_CLOSE && f->len <= MIR__LINE_CLOSE) {
        s->has_closed = true;
        settle_model(s);
    } else {
        abort();
    }
}

/* ---- the line ---------------------------------------------------------------------------------
 */

static void on_wake(void *arg)
{
    (void)arg;
    if (is_in_output)
        abort();
    is_woken = true;
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

/* The line takes up to @size bytes at a time, @times times. Returns: is there nothing more? */
static bool output(size_t size, unsigned times)
{
    static uint8_t out[MIR_PAGE_SIZE];
    for (unsigned i = 0; i < times; i++) {
        bool was_woken = is_woken;
        is_in_output = true;
        is_woken = false;
        size_t len = mir__mux_output(&mux, out, size);
        is_in_output = false;
        if (len > size || (len > 0 && !was_woken))
            abort();
        if (len == 0)
            return true;
        is_woken = true; /* who has taken some asks again */
        mir__line_take(&from_machine, out, len, machine_says, NULL);
        settle();
    }
    return false;
}

static void input(const uint8_t *bytes, size_t len)
{
    mir__line_take(&to_machine, bytes, len, host_says, NULL);
    mir__mux_input(&mux, bytes, len);
    settle();
}

static void frame(unsigned kind, uint8_t session, const void *payload, size_t len)
{
    static uint8_t bytes[2 + 2 * (MIR__LINE_HEADER + MIR__LINE_MAX)];
    const struct mir__line_frame f = {
        .kind = (uint8_t)kind, .session = session, .payload = payload, .len = (uint32_t)len};
    input(bytes, mir__line_put(bytes, &f));
}

/* ---- the input --------------------------------------------------------------------------------
 */

static void ask(void)
{
    static const char *const requests[] = {
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"l\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"s\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"w\",\"timeout_ms\":5}",
        "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"f\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"rpc.cancel\",\"params\":{\"id\":3}}",
        "{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"rpc.methods\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"w\"}",
    };
    char bytes[200];
    uint8_t session = fuzz_u8(&source);
    const char *text = requests[fuzz_u8(&source) % MIR_ARRAY_LEN(requests)];
    mir_put_be32(bytes, (uint32_t)strlen(text));
    memcpy(bytes + 4, text, strlen(text));
    frame(MIR__LINE_IS_DATA, session % 9, bytes, strlen(text) + 4);
}

static void say(uint8_t op)
{
    uint8_t payload[16] = {MIR__LINE_VERSION};
    size_t len;
    uint8_t session = fuzz_u8(&source);
    if (op == 0) {
        memset(payload + 1, session, 8);
        frame(MIR__LINE_IS_HELLO, 0, payload, MIR__LINE_HELLO);
    } else if (op == 1) {
        payload[0] = fuzz_u8(&source) & 1;
        mir_put_be32(payload + 1, fuzz_u8(&source) * 64u);
        memcpy(payload + MIR__LINE_OPEN, "me", 2);
        frame(MIR__LINE_IS_OPEN, session % 9, payload, MIR__LINE_OPEN + 2);
    } else if (op == 2) {
        const uint8_t *bytes = fuzz_bytes(&source, MIR__LINE_MAX, &len);
        frame(MIR__LINE_IS_DATA, session % 9, bytes, len);
    } else if (op == 4) {
        mir_put_be32(payload, fuzz_u8(&source) * 64u);
        frame(MIR__LINE_IS_CREDIT, session % 9, payload, 4);
    } else if (session < 128) {
        frame(MIR__LINE_IS_CLOSE, session % 9, NULL, 0);
    } else {
        uint8_t kind = fuzz_u8(&source) % 8;
        const uint8_t *bytes = fuzz_bytes(&source, MIR__LINE_MAX, &len);
        frame(kind, session, bytes, len);
    }
}

static void run_one(void)
{
    size_t len;
    uint8_t op = fuzz_u8(&source) % 8;
    if (op == 3) {
        ask();
    } else if (op == 6) {
        const uint8_t *bytes = fuzz_bytes(&source, 4096, &len);
        input(bytes, len);
    } else if (op == 7) {
        uint8_t how = fuzz_u8(&source);
        if (how < 32)
            now_us += how * MIR_US_PER_MS;
        else
            (void)output(MIR_MIN(MIR__MUX_OUTPUT_MIN + how * 16u, MIR_PAGE_SIZE), how % 4 + 1);
        settle();
    } else {
        say(op);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    source = (struct fuzz_input){.at = data, .left = size};
    memset(sessions, 0, sizeof sessions);
    memset(&to_machine, 0, sizeof to_machine);
    memset(&from_machine, 0, sizeof from_machine);
    has_begun = is_answered = is_woken = false;
    now_us = MIR_US_PER_S;
    if (mir_page_pool_init(&pages, arena, sizeof arena) < 0)
        abort();
    mir_loop_init(&loop, now_us);
    mir_rpc_server_init(&server, &(struct mir_rpc_server_config){.loop = &loop, .pages = &pages});
    set = (struct mir_rpc_methods){.methods = methods, .count = MIR_ARRAY_LEN(methods)};
    mir_rpc_server_add(&server, &set);
    mir__mux_init(&mux, &server, on_wake, NULL);
    while (source.left > 0)
        run_one();
    if (!output(MIR_PAGE_SIZE, 100000))
        abort();
    mir__mux_reset(&mux);
    settle();
    mir_rpc_server_fini(&server);
    if (mir_page_pool_used_bytes(&pages) != 0)
        abort();
    return 0;
}
