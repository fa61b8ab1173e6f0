/* SPDX-License-Identifier: ISC */
/* The other end of a simulated appliance: a scripted client on a node of its own. */
#ifndef TARGET_SIM_PEER_H
#define TARGET_SIM_PEER_H

#include "target/sim/sim.h"

enum mir__sim_peer_kind {
    MIR__SIM_PEER_NONE,
    MIR__SIM_PEER_HTTP,     /* GET a path, hash what comes */
    MIR__SIM_PEER_ECHO,     /* send data over TCP, compare what comes back */
    MIR__SIM_PEER_UDP_ECHO, /* the same with datagrams, repeated when they get lost */
};

struct mir__sim_peer {
    enum mir__sim_peer_kind kind;
    const char *path;        /* HTTP */
    struct mir_endpoint to;  /* of the appliance */
    uint32_t count;          /* requests or echoes, one after the other */
    uint32_t bytes;          /* per echo */
    mir_time_us deadline_us; /* on the node's clock */
    struct mir_sim_node *node;
    void (*on_done)(void *arg);
    void *arg;
    /* Result. */
    bool is_done;
    uint32_t good, bad;
};

/**
 * mir__sim_peer_parse() - "none", "http:PATH", "echo" or "udp-echo".
 *
 * Returns 0 or -MIR_EINVAL.
 * Source  none
 */
int mir__sim_peer_parse(const char *text, struct mir__sim_peer *peer) MIR_CHECK;

/** Start the peer's task; it prints one line for each exchange. Returns 0 or -MIR_ENOMEM. */
int mir__sim_peer_start(struct mir__sim_peer *peer) MIR_CHECK;

#endif
