/* SPDX-License-Identifier: ISC */
/* One end of a test connection: sends and checks data in which every byte depends on its place.
 *
 * A byte that is lost, doubled, moved, or belongs to another connection is seen. The flow acts in
 * its handler only, so it works the same on every stack.
 */
#ifndef TEST_SIM_FLOW_H
#define TEST_SIM_FLOW_H

#include <mirari/net.h>

struct sim_flow {
    struct mir_tcp *tcp; /* NULL: not connected yet, or given back */
    /* What to do; set before use. */
    uint64_t tx_key, rx_key; /* which data is sent and expected */
    uint64_t to_send;        /* bytes; then shutdown, if wanted */
    uint32_t chunk;          /* bytes a send; 0 = 16 KiB */
    bool use_views;          /* send by reference */
    bool is_echo;            /* send back what comes (to_send is ignored) */
    bool is_paused;          /* do not read */
    bool stays_open;         /* no shutdown after the last byte */
    bool keeps;              /* do not close when both directions have ended */
    bool aborts_at_end;      /* instead of closing */
    /* What happened. */
    uint64_t sent, received;
    uint64_t wrong_at; /* position of the first wrong byte plus one; 0 = none */
    unsigned events;   /* all enum mir_tcp_events seen */
    uint32_t readable_count, writable_count, handler_calls;
    bool has_eof, is_shut, is_done; /* is_done: given back or failed */
    int error;                      /* -MIR_E* of a failed connection or call */
    /* private: */
    uint8_t *held; /* echo: received bytes that could not be sent yet */
    uint32_t held_len, held_at;
};

/** The byte pattern of @key at @position, [len] bytes. */
void sim_flow_pattern(uint64_t key, uint64_t position, void *out, size_t len);

/** Take over an accepted connection: sets the handler and begins. */
void sim_flow_attach(struct sim_flow *flow, struct mir_tcp *tcp_given);
/** Begin an active open. Returns as mir_tcp_connect(). */
int sim_flow_connect(struct sim_flow *flow, struct mir_stack *stack,
                     const struct mir_endpoint *remote);
/** Go on after is_paused or to_send was changed. */
void sim_flow_kick(struct sim_flow *flow);
/** Abort if it is still there; forget held data. */
void sim_flow_fini(struct sim_flow *flow);

#endif
