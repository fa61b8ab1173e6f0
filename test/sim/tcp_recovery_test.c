/* SPDX-License-Identifier: ISC */
/* What loss recovery with SACK is worth: the same bytes over the same bad wires, with SACK and
 * without (plain NewReno), several seeds each. Prints the table and insists on the gain.
 *
 *   tcp_recovery_test --seed 1
 */
#include <string.h>

#include "test/harness/sim_flow.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

#define BYTES      4000000u
#define RUNS       25u
#define GIVE_UP_US (3600 * MIR_US_PER_S)

struct result {
    double mbps; /* mean of the runs, by total time */
    double timeouts, resent_percent;
};

static struct sim_flow client, server;

/* Virtual microseconds until the server had it all. */
static mir_time_us run_once(const char *wire, uint64_t seed, bool has_sack, struct result *sum)
{
    struct sim_pair pair;
    struct sim_pair_config config = {.seed = seed};
    size_t error_pos;
    for (int i = 0; i < 2; i++) {
        check_int(mir_sim_wire_parse(wire, &config.wire[i], &error_pos), ==, 0);
        config.node[i].net.tcp_no_sack = !has_sack;
    }
    sim_pair_open(&pair, &config);
    sim_pair_begin(&pair, &client, &server, BYTES);
    mir_time_us began_us = mir_sim_now(pair.sim);
    while (server.received < BYTES && mir_sim_now(pair.sim) < began_us + GIVE_UP_US)
        (void)mir_sim_run(pair.sim, mir_sim_now(pair.sim) + 10000);
    mir_time_us took_us = mir_sim_now(pair.sim) - began_us;
    check_int(server.received, ==, BYTES);
    check_int(server.wrong_at, ==, 0);
    if (strstr(wire, "reorder") == NULL)
        check_int(sim_stat(pair.node[0]->stack, "tcp_reordering_in"), ==, 0);
    sum->timeouts += (double)sim_stat(pair.node[0]->stack, "tcp_timeouts") / RUNS;
    sum->resent_percent += (double)sim_stat(pair.node[0]->stack, "tcp_retransmits") * 1448 * 100 /
                           ((double)BYTES * RUNS);
    sim_pair_finish(&pair, &client, &server);
    return took_us;
}

static struct result run_all(const char *wire, uint64_t seed, bool has_sack)
{
    struct result sum = {0};
    mir_time_us took_us = 0;
    for (uint32_t i = 0; i < RUNS; i++)
        took_us += run_once(wire, seed + i, has_sack, &sum);
    sum.mbps = (double)BYTES * 8 * RUNS / (double)took_us;
    return sum;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *wire;
        uint32_t percent; /* of plain NewReno's throughput that SACK must reach */
    } rows[] = {
        {"rate=50m,delay=10ms,queue=256k", 98},
        {"rate=50m,delay=10ms,queue=256k,loss=1%", 93},
        {"rate=50m,delay=10ms,queue=256k,loss=2%", 97},
        {"rate=50m,delay=10ms,queue=256k,loss=5%", 115},
        {"rate=50m,delay=10ms,queue=256k,burst=0.3%/30%", 120},
        {"rate=50m,delay=10ms,queue=256k,reorder=20%/5ms", 150},
        {"rate=50m,delay=10ms,queue=256k,reorder=20%/20ms", 150},
        {"rate=50m,delay=10ms,queue=256k,loss=1%,reorder=20%/5ms", 105},
        {"rate=5m,delay=40ms,queue=16k", 98},
    };
    tap_begin("tcp_recovery");
    uint64_t seed = tap_seed(argc, argv, 1);
    for (size_t i = 0; i < MIR_ARRAY_LEN(rows); i++) {
        tap_case("%s: at least %u %% of NewReno", rows[i].wire, rows[i].percent);
        struct result with = run_all(rows[i].wire, seed, true);
        struct result without = run_all(rows[i].wire, seed, false);
        check(with.mbps * 100 >= without.mbps * rows[i].percent);
        tap_note("SACK %6.2f Mbit/s %4.1f RTOs %5.2f %% resent | NewReno %6.2f Mbit/s %4.1f RTOs "
                 "%5.2f %% resent | x %.2f",
                 with.mbps, with.timeouts, with.resent_percent, without.mbps, without.timeouts,
                 without.resent_percent, with.mbps / without.mbps);
    }
    return tap_done();
}
