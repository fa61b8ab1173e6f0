/* SPDX-License-Identifier: ISC */
/* What the parts of mirari-sim know of each other. */
#ifndef CMD_MIRARI_SIM_SIM_H
#define CMD_MIRARI_SIM_SIM_H

#include "target/sim/topology.h"

int sim_run(int argc, char **argv);
int sim_plan(int argc, char **argv);
int sim_seeds(int argc, char **argv);
int sim_check(int argc, char **argv);

/** Print and end with status 64. */
int sim_refuse(const char *text);
int sim_refuse_option(const char *option, const char *const *names, size_t count);
/** The value behind option argv[*at]. */
const char *sim_value(int argc, char **argv, int *at);
uint64_t sim_number(int argc, char **argv, int *at);

/* ---- draw.c, shrink.c -------------------------------------------------------------------------
 */

/** A network by chance. */
int sim_draw(uint64_t seed, struct mir__topo *topo) MIR_CHECK;

/** How a run went: "" = well, else a few words that name the kind of failure. */
struct sim_verdict {
    char kind[100];
    char text[200];
    struct mir__world_result result;
};

/** Run a network in a process of its own: a crash is a verdict too. */
void sim_try(const struct mir__topo *topo, uint64_t seed, const char *plant,
             struct sim_verdict *verdict);
/** Make @topo as small as it can be and still fail in the way of @verdict, which is told again of
 * the result; *@seed may become another one. Returns the number of runs that took. */
uint32_t sim_shrink(struct mir__topo *topo, uint64_t *seed, const char *plant,
                    struct sim_verdict *verdict);

#endif
