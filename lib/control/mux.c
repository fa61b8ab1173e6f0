/* SPDX-License-Identifier: ISC */
/* The machine's end of a line of sessions.
 *
 *   host's clients ── tool ══ one line of bytes ══ mux ── sessions of the RPC server
 *
 * Both directions of every session have a window, so a client that does not read stops its own
 * session and nobody else's: the host is told how many bytes the session's input buffer takes, and
 * tells how many it keeps for its client. The line itself never waits for a session.
 *
 * The host is not believed: frames of sessions that are not open, more bytes than there was room
 * for, short ones and unknown kinds are dropped and counted; more bytes than allowed end their
 * session. A HELLO begins everything anew, whatever state the line was in; before the first one
 * nothing is taken.
 *
 * Without a session it has no memory but its structure, and does nothing.
 */
#include "lib/control/mux.h"

#include <mirari/bytes.h>

/* Room is told in pieces of at least so many bytes, unless none is left that the host knows of. */
#define CREDIT_MIN 4096u
#define WHO_MAX    39u

void mir__mux_init(struct mir__mux *mux, struct mir_rpc_server *server, void (*wake)(void *arg),
                   void *arg)
{
    mir_memset(mux, 0, sizeof *mux);
    mux->server = server;
    mux->wake = wake;
    mux->arg = arg;
    for (uint32_t i = 0; i < MIR__LINE_SESSIONS; i++)
        mux->sessions[i].mux = mux;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void give_credit(struct mir__mux_session *s)
{
    size_t room = mir_rpc_session_room(s->rpc);
    if (room <= s->may_come)
        return; /* one that is over has none at all */
    uint32_t more = (uint32_t)room - s->may_come;
    if (s->may_come > 0 && more < CREDIT_MIN)
        return;
    s->may_come += more;
    s->owes_credit += more;
}

static void end_session(struct mir__mux_session *s, enum mir__mux_state state, const char *why)
{
    if (s->state == MIR__MUX_OPEN)
        mir_rpc_session_close(s->rpc);
    s->rpc = NULL;
    s->state = (uint8_t)state;
    s->why = why;
    s->owes_credit = 0;
    s->owes_close = state != MIR__MUX_FREE;
}

static void on_wake(void *arg)
{
    struct mir__mux_session *s = arg;
    give_credit(s);
    s->mux->wake(s->mux->arg);
}

void mir__mux_reset(struct mir__mux *mux)
{
    for (uint32_t i = 0; i < MIR__LINE_SESSIONS; i++)
        end_session(&mux->sessions[i], MIR__MUX_FREE, NULL);
    mux->owes_hello = mux->has_begun = false;
}

/* ---- input ----------------------------------------------------------------------------------- */

static void take_hello(struct mir__mux *mux, const struct mir__line_frame *frame)
{
    if (frame->len != MIR__LINE_HELLO) {
        mux->refused++;
        return;
    }
    mir__mux_reset(mux);
    mir_memcpy(mux->hello, frame->payload, MIR__LINE_HELLO);
    mux->hello[0] = MIR__LINE_VERSION;
    mux->owes_hello = mux->has_begun = true;
}

static void take_open(struct mir__mux_session *s, const struct mir__line_frame *frame)
{
    char who[WHO_MAX + 1] = "";
    if (s->state != MIR__MUX_FREE || frame->len < MIR__LINE_OPEN) {
        s->mux->refused++;
        return;
    }
    bool is_full = frame->payload[0] == MIR_RPC_FULL;
    mir_memcpy(who, frame->payload + MIR__LINE_OPEN, MIR_MIN(frame->len - MIR__LINE_OPEN, WHO_MAX));
    struct mir_rpc_session_config config = {
        .role = is_full ? MIR_RPC_FULL : MIR_RPC_READ_ONLY, .peer = who, .wake = on_wake, .arg = s};
    int r = mir_rpc_session_open(s->mux->server, &config, &s->rpc);
    if (r < 0) {
        end_session(s, MIR__MUX_CLOSING,
                    r == -MIR_ELIMIT ? "too many clients of the control channel"
                                     : "no memory for another client of the control channel");
        return;
    }
    s->state = MIR__MUX_OPEN;
    s->may_send = mir_get_be32(frame->payload + 1);
    s->may_come = 0;
    give_credit(s);
}

static void take_data(struct mir__mux_session *s, const struct mir__line_frame *frame)
{
    if (s->state == MIR__MUX_CLOSING)
        return; /* on its way when we ended it */
    if (s->state != MIR__MUX_OPEN || frame->len > s->may_come) {
        s->mux->refused++;
        if (s->state == MIR__MUX_OPEN)
            end_session(s, MIR__MUX_CLOSING, "more bytes than there was room for");
        return;
    }
    s->may_come -= frame->len;
    /* All of it is taken, but by a session that is over and about to be closed. */
    (void)mir_rpc_session_input(s->rpc, frame->payload, frame->len);
    give_credit(s);
}

static void take_credit(struct mir__mux_session *s, const struct mir__line_frame *frame)
{
    uint32_t more = frame->len == 4 ? mir_get_be32(frame->payload) : 0;
    if (s->state == MIR__MUX_CLOSING)
        return;
    if (s->state != MIR__MUX_OPEN || more == 0)
        s->mux->refused++;
    else
        s->may_send = more > UINT32_MAX - s->may_send ? UINT32_MAX : s->may_send + more;
}

static void take_close(struct mir__mux_session *s)
{
    if (s->state == MIR__MUX_OPEN)
        end_session(s, MIR__MUX_LAST, NULL);
    else if (s->state == MIR__MUX_CLOSING)
        s->state = s->owes_close ? MIR__MUX_LAST : MIR__MUX_FREE;
    else
        s->mux->refused++;
}

static void take_frame(void *arg, const struct mir__line_frame *frame)
{
    struct mir__mux *mux = arg;
    struct mir__mux_session *s = &mux->sessions[frame->session % MIR__LINE_SESSIONS];
    if (frame->kind == MIR__LINE_IS_HELLO)
        take_hello(mux, frame);
    else if (!mux->has_begun || frame->session >= MIR__LINE_SESSIONS)
        mux->refused++;
    else if (frame->kind == MIR__LINE_IS_OPEN)
        take_open(s, frame);
    else if (frame->kind == MIR__LINE_IS_DATA)
        take_data(s, frame);
    else if (frame->kind == MIR__LINE_IS_CREDIT)
        take_credit(s, frame);
    else if (frame->kind == MIR__LINE_IS_CLOSE)
        take_close(s);
    else
        mux->refused++;
}

void mir__mux_input(struct mir__mux *mux, const void *data, size_t len)
{
    mir__line_take(&mux->in, data, len, take_frame, mux);
    mux->wake(mux->arg);
}

/* ---- output ---------------------------------------------------------------------------------- */

struct space {
    uint8_t *out;
    size_t at, size;
};

static bool has_space(const struct space *space, size_t len)
{
    return space->size - space->at >= mir__line_size(len);
}

static void put(struct space *space, enum mir__line_kind kind, size_t session, const void *payload,
                size_t len)
{
    const struct mir__line_frame frame = {.kind = (uint8_t)kind,
                                          .session = (uint8_t)session,
                                          .payload = payload,
                                          .len = (uint32_t)len};
    space->at += mir__line_put(space->out + space->at, &frame);
}

static void put_data(struct mir__mux_session *s, size_t number, struct space *space)
{
    const void *data;
    size_t len;
    while ((len = mir_rpc_session_output(s->rpc, &data)) > 0 && s->may_send > 0 &&
           has_space(space, 1)) {
        size_t left = (space->size - space->at - mir__line_size(0)) / 2;
        len = MIR_MIN(MIR_MIN(len, left), MIR_MIN((size_t)s->may_send, (size_t)MIR__LINE_MAX));
        put(space, MIR__LINE_IS_DATA, number, data, len);
        s->may_send -= (uint32_t)len;
        mir_rpc_session_sent(s->rpc, len);
    }
    if (len == 0 && mir_rpc_session_is_over(s->rpc))
        end_session(s, MIR__MUX_CLOSING, "the framing was broken");
}

static void put_session(struct mir__mux_session *s, size_t number, struct space *space)
{
    uint8_t credit[4];
    if (s->owes_credit > 0 && has_space(space, sizeof credit)) {
        mir_put_be32(credit, s->owes_credit);
        put(space, MIR__LINE_IS_CREDIT, number, credit, sizeof credit);
        s->owes_credit = 0;
    }
    if (s->state == MIR__MUX_OPEN)
        put_data(s, number, space);
    size_t len = s->why != NULL ? MIR_MIN(mir_str_len(s->why), (size_t)MIR__LINE_CLOSE) : 0;
    if (!s->owes_close || !has_space(space, len))
        return;
    put(space, MIR__LINE_IS_CLOSE, number, s->why, len);
    s->owes_close = false;
    if (s->state == MIR__MUX_LAST)
        s->state = MIR__MUX_FREE;
}

size_t mir__mux_output(struct mir__mux *mux, uint8_t *out, size_t size)
{
    struct space space = {.out = out, .size = size};
    MIR_ASSERT_OP(size, >=, MIR__MUX_OUTPUT_MIN);
    if (mux->owes_hello)
        put(&space, MIR__LINE_IS_HELLO, 0, mux->hello, sizeof mux->hello);
    mux->owes_hello = false;
    for (uint32_t i = 0; i < MIR__LINE_SESSIONS; i++) {
        size_t number = (mux->turn + i) % MIR__LINE_SESSIONS;
        put_session(&mux->sessions[number], number, &space);
    }
    mux->turn++;
    return space.at;
}
