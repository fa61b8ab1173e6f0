/* SPDX-License-Identifier: ISC */
/* `tcpdump`: frames as they pass, as a capture (pcapng) in pieces.
 *
 *   tap of the stack ─> filter ─> block into the newest chunk ─> items of base64, oldest chunk
 * first
 *
 * Chunks are page runs, a sixteenth of the memory at most; a frame is copied into the newest, up to
 * the snap length. When none is free the frame is dropped and counted: whoever captures is slower
 * than the network, and the network does not wait. Filters are programs of the classic packet
 * filter, checked before they run; they come compiled, because the one who asks has libpcap.
 *
 * Without a capture the stack has no tap and nothing of this runs or takes memory.
 *
 * Frames are shown as they are handed over: one of 64 KiB that the device cuts, and a checksum that
 * the device completes, look so in the capture.
 */
#include <mirari/bytes.h>

#include "lib/control/control.h"
#include "lib/wire/bpf.h"
#include "lib/wire/pcapng.h"

#define CHUNKS      16u
#define CHUNK_BYTES ((uint32_t)MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE)
#define SNAPLEN_MAX (65535u + 14u)

struct capture {
    struct mir_net_tap tap;
    struct mir_rpc_call *call;
    struct mir__control *control;
    struct mir_io_page *chunk[CHUNKS]; /* oldest first; NULL behind the last */
    uint32_t used[CHUNKS];
    struct mir_io_page *program; /* NULL: every frame */
    uint32_t sent;               /* of the oldest chunk */
    uint32_t chunks, chunks_max; /* in use; at most */
    uint32_t snaplen;
    uint32_t if_index; /* 0 = all */
    uint64_t left;     /* frames until it ends by itself */
    uint64_t frames, dropped;
};
_Static_assert(sizeof(struct capture) <= MIR_RPC_STATE_BYTES, "state of a call");

/* Where @need bytes go, or NULL. */
static uint8_t *take_room(struct capture *c, uint32_t need)
{
    uint32_t last = c->chunks - 1;
    if (c->chunks > 0 && c->used[last] + need <= CHUNK_BYTES)
        return c->chunk[last]->base + c->used[last];
    if (c->chunks == c->chunks_max || mir_page_alloc(c->control->app->pages, CHUNK_BYTES,
                                                     MIR_PAGE_OVERWRITE, &c->chunk[c->chunks]) < 0)
        return NULL;
    c->used[c->chunks] = 0;
    return c->chunk[c->chunks++]->base;
}

static void on_frame(void *arg, uint32_t if_index, bool is_out, const struct mir_buf *buf)
{
    struct capture *c = arg;
    uint32_t wanted = SNAPLEN_MAX;
    if (c->left == 0 || (c->if_index != 0 && if_index != c->if_index))
        return;
    if (c->program != NULL)
        wanted = mir__bpf_run((const struct mir__bpf *)(const void *)c->program->base, buf);
    if (wanted == 0)
        return;
    uint32_t len = MIR_MIN(mir_buf_total(buf), MIR_MIN(wanted, c->snaplen));
    uint8_t *out = take_room(c, len + 3 + MIR__PCAPNG_PACKET_OVERHEAD);
    if (out == NULL) {
        c->dropped++;
        return;
    }
    struct mir_clock *clock = c->control->app->clock;
    size_t size = mir__pcapng_put_packet(out, buf, len, clock->wall(clock),
                                         is_out ? MIR__PCAPNG_OUT : MIR__PCAPNG_IN);
    mir__pcapng_set_interface(out, c->if_index != 0 ? 0 : if_index - 1);
    c->used[c->chunks - 1] += (uint32_t)size;
    c->frames++;
    c->left--;
    mir_rpc_call_wake(c->call);
}

static void drop_oldest(struct capture *c)
{
    mir_page_release(c->chunk[0]);
    c->chunks--;
    for (uint32_t i = 0; i < c->chunks; i++) {
        c->chunk[i] = c->chunk[i + 1];
        c->used[i] = c->used[i + 1];
    }
    c->sent = 0;
}

static void put_counters(const struct capture *c, struct mir_json_out *out)
{
    mir_json_member_u64(out, "frames", c->frames);
    mir_json_member_u64(out, "dropped", c->dropped);
}

static int capture_more(struct mir_rpc_call *call)
{
    struct capture *c = call->state;
    while (c->chunks > 0) {
        struct mir_json_out *out = mir_rpc_item_begin(call);
        if (out == NULL)
            return -MIR_EAGAIN;
        mir_json_begin(out, '{');
        put_counters(c, out);
        mir_json_key(out, "data");
        /* The brackets and quotes behind it, and whole groups of four. */
        uint32_t room = (uint32_t)(mir_rpc_item_room(call) - 16) / 4 * 3;
        uint32_t len = MIR_MIN(room, c->used[0] - c->sent);
        mir_json_put_base64(out, c->chunk[0]->base + c->sent, len);
        mir_json_end(out, '}');
        int r = mir_rpc_item_end(call);
        if (r < 0)
            return r;
        c->sent += len;
        if (c->sent == c->used[0])
            drop_oldest(c);
    }
    if (c->left > 0)
        return -MIR_EAGAIN;
    struct mir_json_out *out = mir_rpc_result(call);
    mir_json_begin(out, '{');
    put_counters(c, out);
    mir_json_end(out, '}');
    return 0;
}

static void release(struct capture *c)
{
    while (c->chunks > 0)
        drop_oldest(c);
    if (c->program != NULL)
        mir_page_release(c->program);
    c->program = NULL;
}

static void capture_end(struct mir_rpc_call *call)
{
    struct capture *c = call->state;
    mir_net_remove_tap(c->control->net, &c->tap);
    release(c);
}

/* ---- beginning ------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 16 digits an instruction: code 4, jumps 2 and 2, k 8, each as a number. */
static int read_program(struct capture *c, char *text)
{
    struct mir__bpf *program = (struct mir__bpf *)(void *)c->program->base;
    size_t len = mir_str_len(text);
    if (len == 0 || len % 16 != 0 || len / 16 > MIR__BPF_MAX)
        return -MIR_EINVAL;
    for (size_t i = 0; i < len / 16; i++) {
        uint64_t word = 0;
        for (size_t k = 0; k < 16; k++) {
            int digit = hex_digit(text[16 * i + k]);
            if (digit < 0)
                return -MIR_EINVAL;
            word = word << 4 | (uint64_t)digit;
        }
        program[i] = (struct mir__bpf){.code = (uint16_t)(word >> 48),
                                       .jump_true = (uint8_t)(word >> 40),
                                       .jump_false = (uint8_t)(word >> 32),
                                       .k = (uint32_t)word};
    }
    return mir__bpf_check(program, (uint32_t)(len / 16));
}

/* The program lies in the first half of a run, its text meanwhile in the second. */
static int take_filter(struct mir_rpc_call *call)
{
    struct capture *c = call->state;
    uint32_t half = MIR__BPF_MAX * (uint32_t)sizeof(struct mir__bpf);
    int r = mir_page_alloc(c->control->app->pages, half + 16 * MIR__BPF_MAX + 1, MIR_PAGE_OVERWRITE,
                           &c->program);
    if (r < 0)
        return r;
    char *text = (char *)c->program->base + half;
    r = mir_rpc_text(call, "filter", text, c->program->size_bytes - half);
    if (r == 0)
        r = read_program(c, text);
    if (r == 0)
        return 0;
    mir_page_release(c->program);
    c->program = NULL;
    if (r == -MIR_ENOENT)
        return 0;
    return mir_rpc_fail(call, -MIR_EINVAL,
                        "filter is no program of at most 512 instructions, 16 hexadecimal digits "
                        "each, as pcap_compile() makes it");
}

static int find_interface(struct mir_rpc_call *call)
{
    struct capture *c = call->state;
    const struct mir_manifest *manifest = c->control->app->manifest;
    char name[64];
    int r = mir_rpc_text(call, "net", name, sizeof name);
    if (r == -MIR_ENOENT)
        return 0;
    for (uint32_t i = 0; r == 0 && i < manifest->net_count; i++) {
        if (mir_str_equal(manifest->nets[i].name, name)) {
            c->if_index = i + 1;
            return 0;
        }
    }
    return mir_rpc_fail(call, -MIR_EINVAL, "no such network; describe lists them");
}

/* The head of the capture: one interface block for each network that can be in it. */
static int put_head(struct capture *c)
{
    uint32_t count = c->control->app->manifest->net_count;
    uint32_t room = MIR__PCAPNG_SECTION_BYTES + count * MIR__PCAPNG_INTERFACE_BYTES;
    uint8_t *out = take_room(c, room);
    if (out == NULL)
        return -MIR_ENOMEM;
    size_t len = mir__pcapng_put_section(out, "Mirari");
    for (uint32_t i = 1; i <= count; i++) {
        if (c->if_index == 0 || c->if_index == i)
            len += mir__pcapng_put_interface(out + len, mir__control_if_name(c->control, i),
                                             c->snaplen);
    }
    c->used[0] = (uint32_t)len;
    return 0;
}

static int capture_begin(struct mir_rpc_call *call)
{
    struct capture *c = call->state;
    size_t arena;
    c->control = call->arg;
    c->call = call;
    /* A sixteenth of the memory, for several may capture at a time. */
    (void)mir_page_pool_arena(c->control->app->pages, &arena);
    c->chunks_max = (uint32_t)MIR_MAX(1u, MIR_MIN(arena / 16 / CHUNK_BYTES, (size_t)CHUNKS));
    c->snaplen = (uint32_t)mir_rpc_u64(call, "snaplen", SNAPLEN_MAX);
    c->snaplen = MIR_MIN(c->snaplen != 0 ? c->snaplen : SNAPLEN_MAX, SNAPLEN_MAX);
    c->left = mir_rpc_u64(call, "count", 0);
    c->left = c->left != 0 ? c->left : UINT64_MAX;
    int r = find_interface(call);
    if (r == 0)
        r = take_filter(call);
    if (r == 0)
        r = put_head(c);
    if (r < 0) {
        release(c);
        return r;
    }
    c->tap = (struct mir_net_tap){.frame = on_frame, .arg = c};
    mir_net_add_tap(c->control->net, &c->tap);
    return capture_more(call);
}

static const struct mir_rpc_param params[] = {
    {.name = "filter",
     .type = MIR_JSON_STRING,
     .help = "compiled packet filter: 16 hexadecimal digits an instruction"},
    {.name = "snaplen",
     .type = MIR_JSON_NUMBER,
     .max = UINT32_MAX,
     .help = "bytes of a frame at most; 0 = all"},
    {.name = "net", .type = MIR_JSON_STRING, .help = "this network only"},
    {.name = "count", .type = MIR_JSON_NUMBER, .help = "end after so many frames; 0 = never"},
};

const struct mir_rpc_method mir__control_capture[] = {
    {.name = "tcpdump",
     .help = "frames as they pass, as a capture (pcapng, base64), until canceled",
     .role = MIR_RPC_FULL,
     .is_stream = true,
     .begin = capture_begin,
     .more = capture_more,
     .end = capture_end,
     .params = params,
     .param_count = MIR_ARRAY_LEN(params)},
};
const uint32_t mir__control_capture_count = MIR_ARRAY_LEN(mir__control_capture);
