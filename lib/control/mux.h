/* SPDX-License-Identifier: ISC */
/* The machine's end of a line of sessions (line.h): brings them to an RPC server. Not public. */
#ifndef LIB_CONTROL_MUX_H
#define LIB_CONTROL_MUX_H

#include <mirari/rpc.h>

#include "lib/control/line.h"

enum mir__mux_state {
    MIR__MUX_FREE,
    MIR__MUX_OPEN,
    MIR__MUX_CLOSING, /* we have ended it; the host has not yet */
    MIR__MUX_LAST,    /* the host has; our word is owed */
};

struct mir__mux_session {
    struct mir__mux *mux;
    struct mir_rpc_session *rpc; /* while it is open */
    uint8_t state;               /* enum mir__mux_state */
    bool owes_close;
    const char *why;      /* of the close, static; NULL: nothing */
    uint32_t may_send;    /* bytes that the host has room for */
    uint32_t may_come;    /* bytes that we have room for and have said so, or will */
    uint32_t owes_credit; /* of them not said yet */
};

struct mir__mux {
    /* private: */
    struct mir_rpc_server *server;
    void (*wake)(void *arg);
    void *arg;
    struct mir__line_in in;
    struct mir__mux_session sessions[MIR__LINE_SESSIONS];
    uint8_t hello[MIR__LINE_HELLO];
    bool owes_hello;
    bool has_begun; /* a HELLO came */
    uint32_t turn;
    uint64_t refused; /* frames that no honest host sends */
};

/** @wake: there may be output. Not inside mir__mux_output() and mir__mux_reset(). */
void mir__mux_init(struct mir__mux *mux, struct mir_rpc_server *server, void (*wake)(void *arg),
                   void *arg);
/** Bytes came. */
void mir__mux_input(struct mir__mux *mux, const void *data, size_t len);
/** The next bytes for the host: at most @size, which is MIR__MUX_OUTPUT_MIN at least. Returns how
 *  many; 0: nothing now. */
size_t mir__mux_output(struct mir__mux *mux, uint8_t *out, size_t size);
/** The line has broken: all sessions end. */
void mir__mux_reset(struct mir__mux *mux);

#define MIR__MUX_OUTPUT_MIN 512u

#endif
