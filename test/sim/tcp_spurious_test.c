/* SPDX-License-Identifier: ISC */
/* What a delay spike costs: a wire that stands still for a while and then goes on, nothing lost.
 *
 * The retransmission timer goes off in every spike. A sender that believes it begins again with one
 * segment and half its threshold, each time; one that finds out (undo.c) goes on where it was. The
 * yardstick is the same transfer without spikes, plus the time the wire stood still.
 *
 *   tcp_spurious_test --seed 1
 */
#include "test/harness/sim_flow.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

#define BYTES      100000000u
#define GIVE_UP_US (600 * MIR_US_PER_S)

struct result {
    mir_time_us took_us;
    uint64_t timeouts, spurious, resent;
    uint32_t spikes;
};

static struct sim_flow client, server;

static struct result transfer(uint64_t seed, mir_time_us still_us)
{
    struct result result = {0};
    struct sim_pair pair;
    struct sim_pair_config config = {.seed = seed};
    size_t error_pos;
    for (int i = 0; i < 2; i++)
        check_int(mir_sim_wire_parse("rate=50m,delay=40ms,queue=32m", &config.wire[i], &error_pos),
                  ==, 0);
    config.node[1].net.tcp_rcvbuf_bytes = 550000; /* keeps the queue, and so the RTO, short */
    sim_pair_open(&pair, &config);
    sim_pair_begin(&pair, &client, &server, BYTES);
    mir_time_us began_us = mir_sim_now(pair.sim);
    mir_time_us next_us = began_us + MIR_US_PER_S;
    while (server.received < BYTES && mir_sim_now(pair.sim) < began_us + GIVE_UP_US) {
        (void)mir_sim_run(pair.sim, mir_sim_now(pair.sim) + 1000);
        if (still_us == 0 || mir_sim_now(pair.sim) < next_us || server.received > BYTES / 10 * 9)
            continue;
        mir_sim_wire_stall(pair.wire, 0, still_us);
        result.spikes++;
        next_us = mir_sim_now(pair.sim) + still_us + 4 * MIR_US_PER_S;
    }
    result.took_us = mir_sim_now(pair.sim) - began_us;
    check_int(server.received, ==, BYTES);
    check_int(server.wrong_at, ==, 0);
    result.timeouts = sim_stat(pair.node[0]->stack, "tcp_timeouts");
    result.spurious = sim_stat(pair.node[0]->stack, "tcp_spurious_timeouts");
    result.resent = sim_stat(pair.node[0]->stack, "tcp_retransmits");
    sim_pair_finish(&pair, &client, &server);
    return result;
}

int main(int argc, char **argv)
{
    static const uint32_t still_ms[] = {700, 1500, 3000};
    tap_begin("tcp_spurious");
    uint64_t seed = tap_seed(argc, argv, 1);
    struct result smooth = transfer(seed, 0);
    for (size_t i = 0; i < MIR_ARRAY_LEN(still_ms); i++) {
        mir_time_us still_us = still_ms[i] * MIR_US_PER_MS;
        tap_case("spikes of %u ms: each is found out, and costs little more than itself",
                 still_ms[i]);
        struct result r = transfer(seed, still_us);
        mir_time_us ideal_us = smooth.took_us + r.spikes * still_us;
        check_int(r.timeouts, >=, r.spikes);
        check_int(r.spurious, >=, r.spikes - 1);
        check_int(r.resent, <=, r.timeouts + 2 * r.spikes);
        check(r.took_us * 100 <= ideal_us * 106);
        tap_note("%u spikes: %.2f s (without %.2f s, wire still %.2f s): x %.2f of the ideal; "
                 "%u timeouts, %u undone, %u segments again",
                 r.spikes, (double)r.took_us / 1e6, (double)smooth.took_us / 1e6,
                 (double)(r.spikes * still_us) / 1e6, (double)r.took_us / (double)ideal_us,
                 (unsigned)r.timeouts, (unsigned)r.spurious, (unsigned)r.resent);
    }
    return tap_done();
}
