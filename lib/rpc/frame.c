/* SPDX-License-Identifier: ISC */
/* Frames on their way out: a header whose length is filled in when the frame is whole.
 *
 * One frame is written at a time, at the end of the output. One that does not fit is taken back as
 * if it had never begun.
 */
#include <mirari/bytes.h>
#include <mirari/format.h>

#include "lib/rpc/internal.h"

/* "}}" of an item, and what closes a result. */
#define CLOSING_BYTES 8u

void mir__rpc_frame_begin(struct mir_rpc_session *s, uint32_t room)
{
    MIR_ASSERT_OP(room, <=, mir__rpc_free(s));
    MIR_ASSERT_OP(room, >, MIR_RPC_HEADER_BYTES);
    s->frame_at = s->out_len;
    mir_json_out_init(&s->out, (char *)s->output->base + s->frame_at + MIR_RPC_HEADER_BYTES,
                      room - MIR_RPC_HEADER_BYTES);
    mir_json_begin(&s->out, '{');
    mir_json_member_text(&s->out, "jsonrpc", "2.0");
}

int mir__rpc_frame_end(struct mir_rpc_session *s)
{
    mir_json_end(&s->out, '}');
    s->writing = NULL;
    if (s->out.is_full)
        return -MIR_ETOOBIG;
    mir_put_be32(s->output->base + s->frame_at, (uint32_t)s->out.len);
    s->out_len = s->frame_at + MIR_RPC_HEADER_BYTES + (uint32_t)s->out.len;
    return 0;
}

static void put_id(struct mir_rpc_session *s, const char *id, size_t id_len)
{
    mir_json_key(&s->out, "id");
    if (id_len > 0)
        mir_json_put_raw(&s->out, id, id_len);
    else
        mir_json_put_null(&s->out);
}

void mir__rpc_put_error(struct mir_rpc_session *s, const char *id, size_t id_len, int code,
                        const char *message)
{
    char number[16];
    s->server->counters.errors++;
    mir__rpc_frame_begin(s, MIR__RPC_ERROR_ROOM);
    put_id(s, id, id_len);
    mir_json_key(&s->out, "error");
    mir_json_begin(&s->out, '{');
    mir_json_key(&s->out, "code");
    mir_json_put_raw(&s->out, number, mir_format(number, sizeof number, "%d", code));
    mir_json_member_text(&s->out, "message", message);
    mir_json_end(&s->out, '}');
    int r = mir__rpc_frame_end(s);
    MIR_ASSERT_OP(r, ==, 0);
}

/* ---- for methods ----------------------------------------------------------------------------- */

static struct mir__rpc_slot *slot_of(struct mir_rpc_call *call)
{
    return (struct mir__rpc_slot *)(void *)call;
}

struct mir_json_out *mir_rpc_result(struct mir_rpc_call *call)
{
    struct mir_rpc_session *s = call->session;
    struct mir__rpc_slot *slot = slot_of(call);
    if (s->writing == slot && s->has_result)
        return &s->out;
    MIR_ASSERT(s->writing == NULL);
    mir__rpc_frame_begin(s, mir__rpc_free(s) - CLOSING_BYTES);
    s->writing = slot;
    s->has_result = true;
    put_id(s, slot->id, slot->id_len);
    mir_json_key(&s->out, "result");
    return &s->out;
}

struct mir_json_out *mir_rpc_item_begin(struct mir_rpc_call *call)
{
    struct mir_rpc_session *s = call->session;
    struct mir__rpc_slot *slot = slot_of(call);
    MIR_ASSERT(s->writing == NULL);
    /* Room for the frame around it, and for an answer behind it. */
    if (mir__rpc_free(s) < 2 * MIR_RPC_ITEM_ROOM) {
        slot->wants_room = true;
        return NULL;
    }
    mir__rpc_frame_begin(s, mir__rpc_free(s) - MIR__RPC_ERROR_ROOM);
    s->writing = slot;
    s->has_result = false;
    mir_json_member_text(&s->out, "method", "rpc.item");
    mir_json_key(&s->out, "params");
    mir_json_begin(&s->out, '{');
    put_id(s, slot->id, slot->id_len);
    mir_json_key(&s->out, "item");
    return &s->out;
}

size_t mir_rpc_item_room(const struct mir_rpc_call *call)
{
    const struct mir_json_out *out = &call->session->out;
    return out->is_full ? 0 : out->size - out->len - CLOSING_BYTES;
}

int mir_rpc_item_end(struct mir_rpc_call *call)
{
    struct mir_rpc_session *s = call->session;
    MIR_ASSERT(s->writing == slot_of(call) && !s->has_result);
    mir_json_end(&s->out, '}');
    int r = mir__rpc_frame_end(s);
    s->server->counters.items += r == 0;
    return r;
}

int mir_rpc_fail(struct mir_rpc_call *call, int err, const char *fmt, ...)
{
    struct mir__rpc_slot *slot = slot_of(call);
    va_list args;
    va_start(args, fmt);
    (void)mir_vformat(slot->reason, sizeof slot->reason, fmt, args);
    va_end(args);
    return err;
}

void mir_rpc_call_wake(struct mir_rpc_call *call)
{
    struct mir__rpc_slot *slot = slot_of(call);
    /* In begin() it is not running yet, but will be. */
    if (slot->state == MIR__RPC_FAILED || slot->is_woken)
        return;
    slot->is_woken = true;
    mir_loop_post(call->session->server->loop, &call->session->work);
}

const char *mir_rpc_peer(const struct mir_rpc_call *call)
{
    return call->session->peer;
}
