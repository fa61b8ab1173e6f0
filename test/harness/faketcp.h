/* SPDX-License-Identifier: ISC */
/* A stack without a network: TCP connections whose other end is the test.
 *
 * It keeps the contract of net.h and nothing else: bytes in order, room in the send buffer as the
 * test says, end of stream, failure. Time is virtual. What is accepted or taken wrongly (a call on
 * a closed connection, more views than fit) fails an assertion.
 */
#ifndef TEST_FAKETCP_H
#define TEST_FAKETCP_H

#include <mirari/net.h>

struct fake_conn;

struct fake_stack {
    struct mir_stack stack;
    struct mir_loop loop;
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    struct mir_tcp_listener *listener;
    void *arena;
    mir_time_us now_us;
    uint32_t open;      /* connections whose both ends are there */
    uint32_t send_room; /* of new connections; default 1 MiB */
    struct fake_conn *conns;
};

/* The client's end. Lives until fake_conn_free(). */
struct fake_conn {
    struct mir_tcp tcp;
    struct fake_stack *fake;
    struct fake_conn *next;
    /* to the server */
    struct mir_view in[64];
    uint32_t in_count;
    bool in_eof;
    /* from the server */
    uint8_t *out;
    size_t out_len, out_cap;
    uint32_t room;       /* bytes that still fit; shrinks as the server sends */
    bool is_blocked;     /* the server was told "no room" */
    bool got_fin;        /* shutdown or close */
    bool got_rst;        /* abort */
    bool is_closed;      /* the server gave the connection back */
    uint64_t send_calls; /* send and send_view */
};

void fake_stack_init(struct fake_stack *fake, size_t arena_bytes);
/** Everything the server took must have come back; returns false and says what has not. */
bool fake_stack_fini(struct fake_stack *fake);

/** Run the loop until nothing is ready. */
void fake_run(struct fake_stack *fake);
/** Let time pass in steps, running what is due. */
void fake_advance(struct fake_stack *fake, mir_time_us us);

/** A new connection to the listener. */
struct fake_conn *fake_connect(struct fake_stack *fake);
/** Bytes from the client, as one view; then the loop runs. */
void fake_send(struct fake_conn *conn, const void *data, size_t len);
void fake_send_text(struct fake_conn *conn, const char *text);
/** The same without an event: the bytes are just there. */
void fake_queue(struct fake_conn *conn, const void *data, size_t len);
void fake_send_fin(struct fake_conn *conn);
void fake_reset(struct fake_conn *conn);
/** The client read: room becomes @room, WRITABLE follows if the server waits for it. */
void fake_set_room(struct fake_conn *conn, uint32_t room);
/** Forget what the server sent so far. */
void fake_clear(struct fake_conn *conn);
/** As a NUL-terminated text. */
const char *fake_text(struct fake_conn *conn);
/** The client goes away; resets if the server still has its end. */
void fake_conn_free(struct fake_conn *conn);

#endif
