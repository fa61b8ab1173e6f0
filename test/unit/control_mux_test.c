/* SPDX-License-Identifier: ISC */
/* Sessions over one line of bytes: the machine's end, with a host that is honest, slow, or neither.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mirari/bytes.h>
#include <mirari/rng.h>

#include "lib/control/mux.h"
#include "test/harness/tap.h"

static uint8_t arena[512 * MIR_PAGE_SIZE] MIR_ALIGNED(MIR_PAGE_SIZE);
static struct mir_page_pool pages;
static struct mir_loop loop;
static struct mir_rpc_server server;
static struct mir__mux mux;
static unsigned wakes;
static mir_time_us now_us;

static int large_begin(struct mir_rpc_call *call)
{
    static char bytes[20000];
    memset(bytes, '~', sizeof bytes); /* 0x7e: a flag */
    mir_json_put_bytes(mir_rpc_result(call), bytes, sizeof bytes);
    return 0;
}

static const struct mir_rpc_method methods[] = {
    {.name = "large", .help = "many bytes", .begin = large_begin}};
static struct mir_rpc_methods set = {.methods = methods, .count = 1};

static void on_wake(void *arg)
{
    (void)arg;
    wakes++;
}

/* ---- the host -------------------------------------------------------------------------------- */

static struct mir__line_in host_in;
static uint8_t got[MIR__LINE_SESSIONS][1 << 16];
static uint32_t got_len[MIR__LINE_SESSIONS], credit[MIR__LINE_SESSIONS];
static unsigned hellos, closes[MIR__LINE_SESSIONS];
static char why[MIR__LINE_CLOSE + 1];

static void on_frame(void *arg, const struct mir__line_frame *f)
{
    (void)arg;
    if (f->kind == MIR__LINE_IS_HELLO) {
        hellos++;
        return;
    }
    if (!check_int(f->session, <, MIR__LINE_SESSIONS))
        return;
    if (f->kind == MIR__LINE_IS_DATA &&
        check_int(got_len[f->session] + f->len, <=, sizeof got[f->session])) {
        memcpy(got[f->session] + got_len[f->session], f->payload, f->len);
        got_len[f->session] += f->len;
    } else if (f->kind == MIR__LINE_IS_CREDIT && check_int(f->len, ==, 4)) {
        credit[f->session] += mir_get_be32(f->payload);
    } else if (f->kind == MIR__LINE_IS_CLOSE && check_int(f->len, <=, MIR__LINE_CLOSE)) {
        closes[f->session]++;
        memcpy(why, f->payload, f->len);
        why[f->len] = '\0';
    } else {
        check(false);
    }
}

/* Steps until nothing moves; @size: bytes the line takes at a time. */
static void run(size_t size)
{
    static uint8_t out[MIR_PAGE_SIZE];
    mir_time_us next_us;
    size_t len;
    for (unsigned quiet = 0; quiet < 4;) {
        now_us += 10;
        mir_loop_step(&loop, now_us, &next_us);
        len = mir__mux_output(&mux, out, size);
        check_int(len, <=, size);
        mir__line_take(&host_in, out, len, on_frame, NULL);
        quiet = len == 0 ? quiet + 1 : 0;
    }
}

static void say(enum mir__line_kind kind, uint8_t session, const void *payload, uint32_t len)
{
    static uint8_t bytes[2 + 2 * (MIR__LINE_HEADER + MIR__LINE_MAX)];
    const struct mir__line_frame frame = {
        .kind = (uint8_t)kind, .session = session, .payload = payload, .len = len};
    mir__mux_input(&mux, bytes, mir__line_put(bytes, &frame));
}

static void hello(void)
{
    uint8_t payload[MIR__LINE_HELLO] = {MIR__LINE_VERSION, 1, 2, 3, 4, 5, 6, 7, 8};
    memset(got_len, 0, sizeof got_len);
    memset(credit, 0, sizeof credit);
    memset(closes, 0, sizeof closes);
    why[0] = '\0';
    hellos = 0;
    say(MIR__LINE_IS_HELLO, 0, payload, sizeof payload);
    run(MIR_PAGE_SIZE);
    check_int(hellos, ==, 1);
}

static void open_session(uint8_t session, uint32_t window)
{
    uint8_t payload[] = {MIR_RPC_FULL, 0, 0, 0, 0, 'm', 'e'};
    mir_put_be32(payload + 1, window);
    say(MIR__LINE_IS_OPEN, session, payload, sizeof payload);
}

static void ask(uint8_t session, const char *method)
{
    char text[200];
    int len = snprintf(text + 4, sizeof text - 4,
                       "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}", method);
    mir_put_be32(text, (uint32_t)len);
    credit[session] -= (uint32_t)len + 4;
    say(MIR__LINE_IS_DATA, session, text, (uint32_t)len + 4);
}

static void give(uint8_t session, uint32_t more)
{
    uint8_t payload[4];
    mir_put_be32(payload, more);
    say(MIR__LINE_IS_CREDIT, session, payload, sizeof payload);
}

static void begin(void)
{
    memset(&host_in, 0, sizeof host_in);
    if (mir_page_pool_init(&pages, arena, sizeof arena) < 0)
        abort();
    mir_loop_init(&loop, now_us);
    mir_rpc_server_init(&server, &(struct mir_rpc_server_config){.loop = &loop, .pages = &pages});
    mir_rpc_server_add(&server, &set);
    mir__mux_init(&mux, &server, on_wake, NULL);
}

static void end(void)
{
    mir__mux_reset(&mux);
    mir_rpc_server_fini(&server);
    check_int(mir_page_pool_used_bytes(&pages), ==, 0);
}

/* ---- cases ----------------------------------------------------------------------------------- */

static unsigned frames;
static struct mir__line_frame last;

static void count_frame(void *arg, const struct mir__line_frame *f)
{
    (void)arg;
    frames++;
    last = *f;
}

static void test_line(void)
{
    static uint8_t payload[MIR__LINE_MAX], bytes[2 + 2 * (MIR__LINE_HEADER + MIR__LINE_MAX)];
    struct mir__line_in in = {0};
    tap_case("line: every byte goes through, in pieces of any length");
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)i;
    const struct mir__line_frame frame = {
        .kind = 0x7e, .session = 0x7d, .payload = payload, .len = sizeof payload};
    size_t len = mir__line_put(bytes, &frame);
    check_int(len, <=, mir__line_size(sizeof payload));
    for (size_t piece = 1; piece < 40; piece++) {
        frames = 0;
        for (size_t at = 0; at < len; at += piece)
            mir__line_take(&in, bytes + at, MIR_MIN(piece, len - at), count_frame, NULL);
        check_int(frames, ==, 1);
        check(last.kind == 0x7e && last.session == 0x7d && last.len == sizeof payload);
        check_mem(last.payload, payload, sizeof payload);
    }
    check_int(in.dropped, ==, 0);
    tap_case("line: half a frame, then a whole one: the whole one comes");
    mir__line_take(&in, bytes, len / 2, count_frame, NULL);
    frames = 0;
    mir__line_take(&in, bytes, len, count_frame, NULL);
    check_int(frames, ==, 1);
    check_int(in.dropped, ==, 1);
    tap_case("line: too long, too short, a wrong length: dropped and counted");
    static uint8_t junk[20000];
    memset(junk, 'x', sizeof junk);
    mir__line_take(&in, junk, sizeof junk, count_frame, NULL);
    mir__line_take(&in, "\x7e\1\2\x7e\x7e\1\2\0\5abc\x7e\x7e\1\2\0\1a\x7d\x7e", 21, count_frame,
                   NULL);
    check_int(frames, ==, 1);
    check_int(in.dropped, ==, 5);
}

static void test_sessions(void)
{
    begin();
    tap_case("before a HELLO nothing is taken");
    open_session(0, 1000);
    run(MIR_PAGE_SIZE);
    check_int(server.session_count, ==, 0);
    tap_case("two clients at a time, each its answers");
    hello();
    open_session(0, 32768);
    open_session(5, 32768);
    run(MIR_PAGE_SIZE);
    check_int(credit[0], >=, MIR_RPC_REQUEST_MAX);
    ask(0, "rpc.methods");
    ask(5, "large");
    run(MIR__MUX_OUTPUT_MIN);
    check_int(got_len[0], ==, 4 + mir_get_be32(got[0]));
    check_int(got_len[5], ==, 4 + mir_get_be32(got[5]));
    check_int(got_len[5], >, 20000);
    tap_case("the host closes: the same number can be used again at once after the answer");
    say(MIR__LINE_IS_CLOSE, 5, NULL, 0);
    run(MIR_PAGE_SIZE);
    check_int(closes[5], ==, 1);
    check_int(server.session_count, ==, 1);
    got_len[5] = 0;
    open_session(5, 1000);
    run(MIR_PAGE_SIZE);
    check_int(server.session_count, ==, 2);
    tap_case("one that does not read gets what it has room for, and holds up nobody");
    ask(5, "large");
    run(MIR_PAGE_SIZE);
    check_int(got_len[5], ==, 1000);
    got_len[0] = 0;
    ask(0, "rpc.methods");
    run(MIR_PAGE_SIZE);
    check_int(got_len[0], ==, 4 + mir_get_be32(got[0]));
    give(5, 500);
    run(MIR_PAGE_SIZE);
    check_int(got_len[5], ==, 1500);
    give(5, 100000);
    run(MIR_PAGE_SIZE);
    check_int(got_len[5], ==, 4 + mir_get_be32(got[5]));
    tap_case("room for requests is given again as they are done");
    for (unsigned i = 0; i < 2000; i++) {
        if (!check_int(credit[0], >=, 60))
            break;
        got_len[0] = 0;
        give(0, 5000);
        ask(0, "no such");
        run(MIR_PAGE_SIZE);
    }
    tap_case("a session whose framing is broken is answered, then closed");
    got_len[0] = 0;
    say(MIR__LINE_IS_DATA, 0, "\xff\xff\xff\xff", 4);
    run(MIR_PAGE_SIZE);
    check_int(got_len[0], >, 4);
    check_int(closes[0], ==, 1);
    say(MIR__LINE_IS_DATA, 0, "more", 4);
    say(MIR__LINE_IS_CLOSE, 0, NULL, 0);
    check_int(mux.refused, ==, 1); /* the OPEN at the beginning */
    tap_case("more than the limit of clients: a close that says why");
    server.sessions_max = 1;
    open_session(0, 1000);
    run(MIR_PAGE_SIZE);
    check_int(closes[0], ==, 2);
    check_str(why, "too many clients of the control channel");
    say(MIR__LINE_IS_CLOSE, 0, NULL, 0);
    server.sessions_max = 8;
    tap_case("a HELLO in the middle of anything begins anew");
    ask(5, "large");
    mir__mux_input(&mux, "\x7e\3\5\x10\0half", 9);
    hello();
    check_int(server.session_count, ==, 0);
    run(MIR_PAGE_SIZE);
    check_int(got_len[5], ==, 0);
    open_session(5, 32768);
    run(MIR_PAGE_SIZE);
    ask(5, "rpc.methods");
    run(MIR_PAGE_SIZE);
    check_int(got_len[5], ==, 4 + mir_get_be32(got[5]));
    end();
}

static void test_hostile(void)
{
    static uint8_t junk[MIR__LINE_MAX];
    begin();
    hello();
    tap_case("frames no honest host sends are refused and counted");
    say(MIR__LINE_IS_DATA, 3, "x", 1);
    say(MIR__LINE_IS_CREDIT, 3, "\0\0\0\1", 4);
    say(MIR__LINE_IS_CLOSE, 3, NULL, 0);
    say(MIR__LINE_IS_OPEN, 3, "\1", 1);
    say(MIR__LINE_IS_OPEN, 200, "\1\0\0\1\0", 5);
    say(99, 3, NULL, 0);
    say(MIR__LINE_IS_HELLO, 0, "\1", 1);
    check_int(mux.refused, ==, 7);
    open_session(3, 1000);
    open_session(3, 1000);
    say(MIR__LINE_IS_CREDIT, 3, "\0\0\0\0", 4);
    say(MIR__LINE_IS_CREDIT, 3, "\0\0\0\1\0", 5);
    check_int(mux.refused, ==, 10);
    check_int(server.session_count, ==, 1);
    tap_case("credits that never end do not wrap around");
    for (unsigned i = 0; i < 3; i++)
        say(MIR__LINE_IS_CREDIT, 3, "\xff\xff\xff\xff", 4);
    ask(3, "large");
    run(MIR_PAGE_SIZE);
    check_int(got_len[3], ==, 4 + mir_get_be32(got[3]));
    tap_case("more bytes than there is room for end the session");
    memset(junk, 0, sizeof junk);
    mir_put_be32(junk, MIR_RPC_REQUEST_MAX);
    for (unsigned i = 0; i < 6; i++)
        say(MIR__LINE_IS_DATA, 3, junk, sizeof junk);
    run(MIR_PAGE_SIZE);
    check_int(closes[3], ==, 1);
    check_int(server.session_count, ==, 0);
    end();
}

static void test_random(uint64_t seed)
{
    static uint8_t bytes[300];
    struct mir_rng rng;
    tap_case("random frames and bytes: nothing is left, and a HELLO mends it");
    mir_rng_init_u64(&rng, seed);
    begin();
    for (unsigned turn = 0; turn < 200; turn++) {
        uint8_t payload[MIR__LINE_HELLO] = {MIR__LINE_VERSION};
        say(MIR__LINE_IS_HELLO, 0, payload, sizeof payload);
        for (unsigned i = 0; i < 60; i++) {
            uint32_t len = mir_rng_u32(&rng) % sizeof bytes;
            mir_rng_bytes(&rng, bytes, len);
            if (mir_rng_u32(&rng) % 4 == 0)
                mir__mux_input(&mux, bytes, len);
            else
                say(2 + mir_rng_u32(&rng) % 4, (uint8_t)(mir_rng_u32(&rng) % 9), bytes,
                    mir_rng_u32(&rng) % 2 ? len % 8 : len);
            memset(got_len, 0, sizeof got_len);
            run(MIR__MUX_OUTPUT_MIN + mir_rng_u32(&rng) % 2000);
        }
    }
    hello();
    check_int(server.session_count, ==, 0);
    open_session(1, 32768);
    run(MIR_PAGE_SIZE);
    ask(1, "rpc.methods");
    run(MIR_PAGE_SIZE);
    check_int(got_len[1], ==, 4 + mir_get_be32(got[1]));
    check_int(host_in.dropped, ==, 0);
    end();
}

int main(int argc, char **argv)
{
    tap_begin("control_mux");
    uint64_t seed = tap_seed(argc, argv, 20261122);
    test_line();
    test_sessions();
    test_hostile();
    test_random(seed);
    return tap_done();
}
