/* SPDX-License-Identifier: ISC */
/* Two simulated hosts, 10.0.0.1 and 10.0.0.2, on one wire. */
#ifndef TEST_SIM_PAIR_H
#define TEST_SIM_PAIR_H

#include "target/sim/sim.h"
#include "test/harness/sim_flow.h"

#define SIM_PAIR_IP(i) (0x0a000001u + (uint32_t)(i))

struct sim_pair_config {
    uint64_t seed;
    struct mir_sim_node_config node[2];
    struct mir_sim_port_config port[2];
    struct mir_sim_wire_config wire[2]; /* by direction */
};

struct sim_pair {
    uint64_t seed;
    struct mir_sim *sim;
    struct mir_sim_node *node[2];
    struct mir_sim_wire *wire;
    size_t idle_bytes[2]; /* page pool in use after opening */
};

/** Checks that everything opened. */
void sim_pair_open(struct sim_pair *pair, const struct sim_pair_config *config);
/** A connection from the first to the second; @client sends [bytes] bytes. */
void sim_pair_begin(struct sim_pair *pair, struct sim_flow *client, struct sim_flow *server,
                    uint64_t bytes);
/** Time for everything to end, then all of the checks; the pair is closed. */
void sim_pair_finish(struct sim_pair *pair, struct sim_flow *client, struct sim_flow *server);
/** One figure of a stack's statistics; checks that the name exists. */
uint64_t sim_stat(struct mir_stack *stack, const char *name);
/** Check that nothing is in use beyond what a stack keeps for later: connections, half-open and
 *  TIME_WAIT entries, buffers, queued bytes. */
void sim_pair_check_idle(struct sim_pair *pair);
/** Close it; checks that no page was left and no promise broken. Returns the run's hash. */
uint64_t sim_pair_close(struct sim_pair *pair);

/** Bytes of the host's memory that this process uses now. */
size_t sim_host_memory(void);

#endif
