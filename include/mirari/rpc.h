/* SPDX-License-Identifier: ISC */
/* Calls of methods by others: JSON-RPC 2.0 in frames, over any flow of bytes.
 *
 *    0                   4
 *    +-------------------+----------------------------------+
 *    | length, 32 bits   | one JSON object of [length] bytes |     length: big-endian, 1 .. limit
 *    +-------------------+----------------------------------+
 *
 *   -> {"jsonrpc":"2.0","id":7,"method":"netstat","params":{"listening":true},"timeout_ms":2000}
 *   <- {"jsonrpc":"2.0","method":"rpc.item","params":{"id":7,"item":{...}}}       any number
 *   <- {"jsonrpc":"2.0","id":7,"result":{"count":3}}       or "error":{"code":..,"message":".."}
 *
 * A session is one flow. Bytes go in by mir_rpc_session_input() and come out by
 * mir_rpc_session_output(); who carries them (a Unix socket, a serial port, a test) is not known
 * here. Several calls of a session run at a time, told apart by their ids; `rpc.cancel` with an id
 * ends one, and so does its time.
 *
 * Methods are rows of tables and describe themselves: rpc.methods tells names, parameters, help and
 * the role that is needed. Parameters are checked against the description before a method begins.
 *
 * Everything is bounded: sessions, calls of one, the length of a request and of what waits to be
 * sent. A session that is not read stops; nobody else notices. Without a session the server has no
 * memory but its structure and does nothing at all.
 *
 * Errors have the codes of JSON-RPC, or -32000 minus the number of a MIR_E* error.
 */
#ifndef MIRARI_RPC_H
#define MIRARI_RPC_H

#include <mirari/json.h>
#include <mirari/page.h>
#include <mirari/run.h>

/** Of the protocol; told by rpc.methods. Additions do not change it. */
#define MIR_RPC_VERSION 1u

#define MIR_RPC_HEADER_BYTES 4u
#define MIR_RPC_REQUEST_MAX  16384u /**< bytes of one request */
#define MIR_RPC_FRAME_MAX    32764u /**< bytes of one answer or item */
#define MIR_RPC_CALLS_MAX    8u     /**< of one session at a time */
#define MIR_RPC_STATE_BYTES  512u   /**< that a call may keep */
#define MIR_RPC_ID_MAX       64u    /**< bytes of an id, as it stands in the request */
#define MIR_RPC_ITEM_ROOM    4096u  /**< an item that takes no more always fits */

enum mir_rpc_role {
    MIR_RPC_READ_ONLY, /**< may look */
    MIR_RPC_FULL,      /**< may change things */
};

/** Codes of JSON-RPC 2.0 section 5.1. */
enum mir_rpc_code {
    MIR_RPC_PARSE_ERROR = -32700,
    MIR_RPC_INVALID_REQUEST = -32600,
    MIR_RPC_NO_METHOD = -32601,
    MIR_RPC_INVALID_PARAMS = -32602,
};

struct mir_rpc_session;
struct mir_rpc_call;

/** A parameter of a method. */
struct mir_rpc_param {
    const char *name;
    enum mir_json_type type; /**< NUMBER (whole, 0 .. max), STRING or BOOL */
    bool is_required;
    uint64_t max; /**< of a number; 0 = 2^53 - 1 */
    const char *help;
};

struct mir_rpc_method {
    const char *name; /**< "rpc." is ours */
    const char *help; /**< one line */
    enum mir_rpc_role role;
    bool is_stream; /**< answers with items */
    const struct mir_rpc_param *params;
    uint32_t param_count;
    /** Begin. 0: it is done. -MIR_EAGAIN: it goes on; more() follows when there is room for items,
     *  or after mir_rpc_call_wake(). Any other error ends it; mir_rpc_fail() says it in words. */
    int (*begin)(struct mir_rpc_call *call);
    /** Go on; returns as begin. NULL: never goes on. */
    int (*more)(struct mir_rpc_call *call);
    /** Of every call that began with -MIR_EAGAIN, once, however it ends. NULL: nothing to do. */
    void (*end)(struct mir_rpc_call *call);
};

/** A call, as its method sees it. */
struct mir_rpc_call {
    const struct mir_rpc_method *method;
    struct mir_rpc_session *session;
    void *arg;   /**< of the method's set */
    void *state; /**< [MIR_RPC_STATE_BYTES], zeroed before begin */
};

/** A parameter that was given, or @fallback; asserts that the method declares it with that type.
 *  During begin only, as the others. */
uint64_t mir_rpc_u64(const struct mir_rpc_call *call, const char *name, uint64_t fallback);
bool mir_rpc_bool(const struct mir_rpc_call *call, const char *name, bool fallback);
/** Returns 0, -MIR_ENOENT (not given), -MIR_EINVAL (a NUL in it), -MIR_ELIMIT (too long). */
int mir_rpc_text(const struct mir_rpc_call *call, const char *name, char *out,
                 size_t size) MIR_CHECK;

/** Where the result goes, one value; no item may follow. Without one the result is null. */
struct mir_json_out *mir_rpc_result(struct mir_rpc_call *call);
/** Begin an item: where its one value goes, or NULL if there is no room now (return -MIR_EAGAIN).
 *  One of at most MIR_RPC_ITEM_ROOM bytes fits. */
struct mir_json_out *mir_rpc_item_begin(struct mir_rpc_call *call);
/** Bytes that the item which was begun may take in all. */
size_t mir_rpc_item_room(const struct mir_rpc_call *call);
/** End the item. Returns 0, -MIR_ETOOBIG: it did not fit and was left out. */
int mir_rpc_item_end(struct mir_rpc_call *call);
/** Why a call fails, in words; cut at 200 bytes. Returns @err. */
int mir_rpc_fail(struct mir_rpc_call *call, int err, const char *fmt, ...) MIR_PRINTF(3, 4);
/** A call that goes on has something to say: more() is called soon. From anywhere in the loop. */
void mir_rpc_call_wake(struct mir_rpc_call *call);
/** Who asked, as the flow's owner named him. */
const char *mir_rpc_peer(const struct mir_rpc_call *call);

/* ---- server ------------------------------------------------------------------------------- */

/** A table of methods and what they get as call->arg. Caller's memory. */
struct mir_rpc_methods {
    const struct mir_rpc_method *methods;
    uint32_t count;
    void *arg;
    struct mir_list link; /* private */
};

#define MIR_RPC_COUNTERS(X)                                                                        \
    X(sessions)                                                                                    \
    X(sessions_refused)                                                                            \
    X(requests)                                                                                    \
    X(errors)                                                                                      \
    X(malformed)                                                                                   \
    X(items)                                                                                       \
    X(canceled)                                                                                    \
    X(timed_out)

struct mir_rpc_server {
    /* private: */
    struct mir_loop *loop;
    struct mir_page_pool *pages;
    uint32_t sessions_max, readers_max;
    struct mir_list sets;     /* struct mir_rpc_methods */
    struct mir_list sessions; /* struct mir_rpc_session */
    uint32_t session_count, reader_count;
    struct mir_io_page *scratch; /* nodes of the request being read; while there are sessions */
    struct mir_rpc_methods own;
    struct {
#define MIR__X(name) uint64_t name;
        MIR_RPC_COUNTERS(MIR__X)
#undef MIR__X
    } counters;
};

struct mir_rpc_server_config {
    struct mir_loop *loop;
    struct mir_page_pool *pages;
    uint32_t sessions_max; /**< 0 = 8, 64 KiB each */
    uint32_t readers_max;  /**< of them read-only ones; 0 = half */
};

/** Prepare a server; it takes no memory before its first session. */
void mir_rpc_server_init(struct mir_rpc_server *server, const struct mir_rpc_server_config *config);
/** End: there must be no session any more. */
void mir_rpc_server_fini(struct mir_rpc_server *server);
/** Add methods; of two with one name those added first count. Lent until the end. */
void mir_rpc_server_add(struct mir_rpc_server *server, struct mir_rpc_methods *methods);

struct mir_rpc_session_config {
    enum mir_rpc_role role;
    const char *peer; /**< for the log, copied; at most 39 bytes */
    /** There is output, or room for input again, or the session is over. Never inside one of the
     *  functions below. */
    void (*wake)(void *arg);
    void *arg;
};

/** A flow begins. Returns 0, -MIR_ELIMIT (sessions), -MIR_ENOMEM. */
int mir_rpc_session_open(struct mir_rpc_server *server, const struct mir_rpc_session_config *config,
                         struct mir_rpc_session **session) MIR_CHECK;
/** [len] bytes from the peer, borrowed. Returns how many were taken; fewer: wait for wake(). */
size_t mir_rpc_session_input(struct mir_rpc_session *session, const void *data, size_t len);
/** Room for input now. */
size_t mir_rpc_session_room(const struct mir_rpc_session *session);
/** Bytes for the peer, in *@data; stays the same until _sent() or the next step of the loop. */
size_t mir_rpc_session_output(const struct mir_rpc_session *session, const void **data);
/** So many of them were taken. */
void mir_rpc_session_sent(struct mir_rpc_session *session, size_t len);
/** The peer broke the framing: close the flow when there is no output left. */
bool mir_rpc_session_is_over(const struct mir_rpc_session *session);
/** The flow has ended: calls end, memory goes back. */
void mir_rpc_session_close(struct mir_rpc_session *session);

#endif
