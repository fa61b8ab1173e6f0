/* SPDX-License-Identifier: ISC */
/* What the files of lib/rpc know of each other. Not public. */
#ifndef LIB_RPC_INTERNAL_H
#define LIB_RPC_INTERNAL_H

#include <mirari/rpc.h>

#define MIR__RPC_RUN_BYTES  (8u * MIR_PAGE_SIZE)
#define MIR__RPC_NODES_MAX  ((uint32_t)(MIR__RPC_RUN_BYTES / sizeof(struct mir_json_node)))
#define MIR__RPC_INPUT_SIZE (MIR_RPC_HEADER_BYTES + MIR_RPC_REQUEST_MAX)
/* Free bytes of output without which no request is begun: its result may take so many. */
#define MIR__RPC_RESULT_ROOM (24u * 1024u)
/* Of an error's frame; whoever begins a call or goes on with one leaves so many. */
#define MIR__RPC_ERROR_ROOM 2048u
#define MIR__RPC_REASON_MAX 201u

enum mir__rpc_state {
    MIR__RPC_FREE,
    MIR__RPC_RUNNING,
    MIR__RPC_FAILED, /* ended; the answer waits for room */
};

struct mir__rpc_slot {
    struct mir_rpc_call call; /* first */
    uint8_t state;            /* enum mir__rpc_state */
    bool is_woken;
    bool wants_room;
    bool is_notification; /* nobody wants the answer */
    bool began;           /* with -MIR_EAGAIN: end() is owed */
    int error;
    struct mir_timer timer;
    uint32_t id_len;
    char id[MIR_RPC_ID_MAX];
    char reason[MIR__RPC_REASON_MAX];
    uint64_t memory[MIR_RPC_STATE_BYTES / 8];
};

struct mir_rpc_session {
    struct mir_rpc_server *server;
    struct mir_rpc_session_config config;
    char peer[40];
    struct mir_list link;
    struct mir_work work;
    struct mir_io_page *page;   /* holds this structure */
    struct mir_io_page *output; /* frames that wait to be sent */
    uint32_t out_at, out_len;   /* of them sent; all */
    uint32_t in_len;
    bool is_over;
    bool input_was_full;
    /* What is being written. */
    struct mir__rpc_slot *writing;
    uint32_t frame_at; /* its header */
    bool has_result;
    struct mir_json_out out;
    /* Parameters of the call that begins; else NULL. */
    const struct mir_json *json;
    uint32_t params;
    uint32_t turn; /* whose call is looked at first */
    struct mir__rpc_slot slots[MIR_RPC_CALLS_MAX];
    char input[MIR__RPC_INPUT_SIZE];
};
_Static_assert(sizeof(struct mir_rpc_session) <= MIR__RPC_RUN_BYTES, "a session is one run");

/* ---- frame.c: what goes out ----------------------------------------------------------------- */

/** Free bytes of output. */
static inline uint32_t mir__rpc_free(const struct mir_rpc_session *s)
{
    return MIR__RPC_RUN_BYTES - s->out_len;
}
/** Begin a frame in [room] bytes; s->out is where it goes. */
void mir__rpc_frame_begin(struct mir_rpc_session *s, uint32_t room);
/** End it. Returns 0, -MIR_ETOOBIG: it did not fit and is not there. */
int mir__rpc_frame_end(struct mir_rpc_session *s);
/** An error, with the id as it stands in the request (NULL: null). There is room. */
void mir__rpc_put_error(struct mir_rpc_session *s, const char *id, size_t id_len, int code,
                        const char *message);

/* ---- request.c: what comes in --------------------------------------------------------------- */

/** Handle a request of [len] bytes. There is room for an answer. */
void mir__rpc_request(struct mir_rpc_session *s, const char *text, size_t len);
/** One turn of a call that goes on. */
void mir__rpc_go_on(struct mir__rpc_slot *slot);
/** End a call from outside; its answer is an error. */
void mir__rpc_abort(struct mir__rpc_slot *slot, int error);
/** The answer to one that has failed, and its end. There is room. */
void mir__rpc_answer_failed(struct mir__rpc_slot *slot);
/** End it without a word. */
void mir__rpc_drop(struct mir__rpc_slot *slot);

extern const struct mir_rpc_method mir__rpc_own_methods[];
extern const uint32_t mir__rpc_own_method_count;

#endif
