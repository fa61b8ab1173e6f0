/* SPDX-License-Identifier: ISC */
/* Sessions: bytes in, requests one after another, bytes out.
 *
 *   input ─> [4+len] frame whole? ─> request.c ─> a slot ─> items and answers ─> output
 *
 * Everything happens in the session's work, never inside input() or sent(): so a method may be
 * called whatever the transport is doing, and many requests of one peer take many steps of the
 * loop. One run of the work begins at most one request and gives every call that goes on one turn.
 *
 * Back pressure: a request is begun only when the output has room for a whole result; until then it
 * stays in the input buffer, which holds one of the largest size, and input() takes no more. A call
 * whose items find no room waits. So a peer that does not read costs what its session has, and no
 * time.
 *
 * Sent bytes leave the output buffer when all are sent, or when what is left must be moved to make
 * room for a result.
 */
#include "lib/rpc/internal.h"

#include <mirari/bytes.h>

#define SESSIONS_DEFAULT 8u

void mir_rpc_server_init(struct mir_rpc_server *server, const struct mir_rpc_server_config *config)
{
    *server = (struct mir_rpc_server){
        .loop = config->loop,
        .pages = config->pages,
        .sessions_max = config->sessions_max != 0 ? config->sessions_max : SESSIONS_DEFAULT,
        .own = {.methods = mir__rpc_own_methods, .count = mir__rpc_own_method_count}};
    server->readers_max = config->readers_max != 0 ? config->readers_max : server->sessions_max / 2;
    mir_list_init(&server->sets);
    mir_list_init(&server->sessions);
    server->own.arg = server;
    mir_rpc_server_add(server, &server->own);
}

void mir_rpc_server_fini(struct mir_rpc_server *server)
{
    MIR_ASSERT_OP(server->session_count, ==, 0);
}

void mir_rpc_server_add(struct mir_rpc_server *server, struct mir_rpc_methods *methods)
{
    mir_list_push_back(&server->sets, &methods->link);
}

/* ---- turns ---------------------------------------------------------------------------------- */

/* Move what is left to send to the front if a result would not fit behind it. */
static void make_room(struct mir_rpc_session *s)
{
    if (s->out_at == 0 || mir__rpc_free(s) >= MIR__RPC_RESULT_ROOM)
        return;
    mir_memmove(s->output->base, s->output->base + s->out_at, s->out_len - s->out_at);
    s->out_len -= s->out_at;
    s->out_at = 0;
}

static bool is_ready(const struct mir_rpc_session *s, const struct mir__rpc_slot *slot)
{
    bool has_room = mir__rpc_free(s) >= 2 * MIR_RPC_ITEM_ROOM;
    if (slot->state == MIR__RPC_FAILED)
        return has_room;
    return slot->state == MIR__RPC_RUNNING && has_room && (slot->is_woken || slot->wants_room);
}

static void turn_slots(struct mir_rpc_session *s)
{
    for (uint32_t i = 0; i < MIR_RPC_CALLS_MAX; i++) {
        struct mir__rpc_slot *slot = &s->slots[(s->turn + i) % MIR_RPC_CALLS_MAX];
        if (!is_ready(s, slot))
            continue;
        if (slot->state == MIR__RPC_FAILED)
            mir__rpc_answer_failed(slot);
        else
            mir__rpc_go_on(slot);
    }
    s->turn++;
}

/* Length of the first request; 0: it is not whole yet, or not to be believed. */
static uint32_t whole_request(struct mir_rpc_session *s)
{
    if (s->in_len < MIR_RPC_HEADER_BYTES || s->is_over)
        return 0;
    uint32_t len = mir_get_be32(s->input);
    if (len == 0 || len > MIR_RPC_REQUEST_MAX) {
        s->server->counters.malformed++;
        s->is_over = true;
        if (mir__rpc_free(s) >= MIR_RPC_ITEM_ROOM)
            mir__rpc_put_error(s, NULL, 0, MIR_RPC_INVALID_REQUEST,
                               "a frame is a length of 4 bytes, big-endian, 1 to 16384, and so "
                               "many bytes of JSON");
        return 0;
    }
    return s->in_len - MIR_RPC_HEADER_BYTES >= len ? len : 0;
}

static bool take_request(struct mir_rpc_session *s)
{
    uint32_t len = whole_request(s);
    if (len == 0 || mir__rpc_free(s) < MIR__RPC_RESULT_ROOM)
        return false;
    s->server->counters.requests++;
    mir__rpc_request(s, s->input + MIR_RPC_HEADER_BYTES, len);
    uint32_t used = MIR_RPC_HEADER_BYTES + len;
    s->in_len -= used;
    mir_memmove(s->input, s->input + used, s->in_len);
    return true;
}

static bool has_work(struct mir_rpc_session *s)
{
    for (uint32_t i = 0; i < MIR_RPC_CALLS_MAX; i++) {
        if (is_ready(s, &s->slots[i]))
            return true;
    }
    return whole_request(s) != 0 && mir__rpc_free(s) >= MIR__RPC_RESULT_ROOM;
}

static void run_session(void *arg)
{
    struct mir_rpc_session *s = arg;
    make_room(s);
    turn_slots(s);
    make_room(s);
    take_request(s);
    if (has_work(s))
        mir_loop_post(s->server->loop, &s->work);
    bool has_input_room = s->input_was_full && mir_rpc_session_room(s) > 0;
    if (has_input_room)
        s->input_was_full = false;
    /* Last: the transport may close the session. */
    if (has_input_room || s->out_len > s->out_at || s->is_over)
        s->config.wake(s->config.arg);
}

/* ---- flows ---------------------------------------------------------------------------------- */

static int take_memory(struct mir_rpc_server *server, struct mir_io_page **page,
                       struct mir_io_page **output)
{
    if (server->scratch == NULL &&
        mir_page_alloc(server->pages, MIR__RPC_RUN_BYTES, MIR_PAGE_OVERWRITE, &server->scratch) < 0)
        return -MIR_ENOMEM;
    if (mir_page_alloc(server->pages, MIR__RPC_RUN_BYTES, MIR_PAGE_ZERO, page) < 0)
        return -MIR_ENOMEM;
    if (mir_page_alloc(server->pages, MIR__RPC_RUN_BYTES, MIR_PAGE_OVERWRITE, output) == 0)
        return 0;
    mir_page_release(*page);
    return -MIR_ENOMEM;
}

static void give_scratch(struct mir_rpc_server *server)
{
    if (server->session_count > 0 || server->scratch == NULL)
        return;
    mir_page_release(server->scratch);
    server->scratch = NULL;
}

static void on_time(void *arg)
{
    struct mir__rpc_slot *slot = arg;
    slot->call.session->server->counters.timed_out++;
    mir__rpc_abort(slot, -MIR_ETIMEDOUT);
}

int mir_rpc_session_open(struct mir_rpc_server *server, const struct mir_rpc_session_config *config,
                         struct mir_rpc_session **session)
{
    bool is_reader = config->role == MIR_RPC_READ_ONLY;
    struct mir_io_page *page, *output;
    int r = server->session_count >= server->sessions_max ||
                    (is_reader && server->reader_count >= server->readers_max)
                ? -MIR_ELIMIT
                : take_memory(server, &page, &output);
    if (r < 0) {
        server->counters.sessions_refused++;
        give_scratch(server);
        return r;
    }
    struct mir_rpc_session *s = (struct mir_rpc_session *)(void *)page->base;
    s->server = server;
    s->config = *config;
    s->page = page;
    s->output = output;
    for (size_t i = 0; config->peer != NULL && i < sizeof s->peer - 1 && config->peer[i]; i++)
        s->peer[i] = config->peer[i];
    mir_work_init(&s->work, run_session, s);
    for (uint32_t i = 0; i < MIR_RPC_CALLS_MAX; i++) {
        s->slots[i].call = (struct mir_rpc_call){.session = s, .state = s->slots[i].memory};
        mir_timer_init(&s->slots[i].timer, on_time, &s->slots[i]);
    }
    mir_list_push_back(&server->sessions, &s->link);
    server->session_count++;
    server->reader_count += is_reader;
    server->counters.sessions++;
    *session = s;
    return 0;
}

size_t mir_rpc_session_room(const struct mir_rpc_session *s)
{
    return s->is_over ? 0 : sizeof s->input - s->in_len;
}

size_t mir_rpc_session_input(struct mir_rpc_session *s, const void *data, size_t len)
{
    size_t taken = MIR_MIN(len, mir_rpc_session_room(s));
    mir_memcpy(s->input + s->in_len, data, taken);
    s->in_len += (uint32_t)taken;
    s->input_was_full = taken < len || mir_rpc_session_room(s) == 0;
    if (taken > 0)
        mir_loop_post(s->server->loop, &s->work);
    return taken;
}

size_t mir_rpc_session_output(const struct mir_rpc_session *s, const void **data)
{
    *data = s->output->base + s->out_at;
    return s->out_len - s->out_at;
}

void mir_rpc_session_sent(struct mir_rpc_session *s, size_t len)
{
    MIR_ASSERT_OP(len, <=, s->out_len - s->out_at);
    s->out_at += (uint32_t)len;
    if (s->out_at == s->out_len)
        s->out_at = s->out_len = 0;
    /* What had no room has some now. */
    if (len > 0)
        mir_loop_post(s->server->loop, &s->work);
}

bool mir_rpc_session_is_over(const struct mir_rpc_session *s)
{
    return s->is_over;
}

void mir_rpc_session_close(struct mir_rpc_session *s)
{
    struct mir_rpc_server *server = s->server;
    for (uint32_t i = 0; i < MIR_RPC_CALLS_MAX; i++)
        mir__rpc_drop(&s->slots[i]);
    mir_work_cancel(&s->work);
    mir_list_remove(&s->link);
    server->session_count--;
    server->reader_count -= s->config.role == MIR_RPC_READ_ONLY;
    mir_page_release(s->output);
    mir_page_release(s->page);
    give_scratch(server);
}
