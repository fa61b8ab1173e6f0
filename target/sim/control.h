/* SPDX-License-Identifier: ISC */
/* Calls of an appliance's control methods at moments of virtual time. */
#ifndef TARGET_SIM_CONTROL_H
#define TARGET_SIM_CONTROL_H

#include "lib/control/control.h"
#include "target/sim/sim.h"

#define MIR__SIM_ASKS_MAX 32u

/** One call, from the command line. */
struct mir__sim_ask {
    mir_time_us at_us;  /* after the start */
    const char *method; /* [method_len] bytes of the command line */
    int method_len;
    const char *params; /* a JSON object; NULL: none */
    struct mir_sim_call moment;
    struct mir_work work;
    struct mir__sim_control *owner;
    bool is_begun, is_answered;
};

struct mir__sim_control {
    struct mir__sim_ask asks[MIR__SIM_ASKS_MAX];
    uint32_t count;
    uint32_t failed; /* answered with an error, or never made */
    struct mir_sim *sim;
    struct mir_sim_node *node;
    mir_time_us start_us;
    struct mir__control control;
    struct mir_rpc_session *session; /* NULL: nobody asks anything */
};

/** TIME:METHOD[:PARAMS] with TIME in seconds ("2.5") and PARAMS a JSON object; @text is borrowed
 * for the whole run. Returns 0, -MIR_EINVAL, -MIR_ELIMIT. */
int mir__sim_control_add(struct mir__sim_control *c, const char *text);

/** @app runs on @node from now on. Without calls nothing happens and nothing is linked to the node.
 *  Returns 0 or -MIR_ENOMEM. */
int mir__sim_control_start(struct mir__sim_control *c, struct mir_app *app,
                           struct mir_sim_node *node);

/** The run is over: what is still to be said is printed. Before the node's network is closed. */
void mir__sim_control_finish(struct mir__sim_control *c);

#endif
