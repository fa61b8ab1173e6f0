/* SPDX-License-Identifier: ISC */
/* What congestion marks are worth: a bottleneck that marks above a threshold, with a sender that
 * knows what it means and with one that does not.
 *
 *   tcp_ecn_sim_test --seed 1
 */
#include "test/harness/sim_flow.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

#define BYTES      40000000u
#define GIVE_UP_US (600 * MIR_US_PER_S)

struct result {
    double mbps;
    uint64_t resent, timeouts, reductions;
    uint32_t srtt_us; /* at the end: what waits in the queue */
    struct mir_sim_wire_stats wire;
};

static struct sim_flow client, server;

static struct result transfer(uint64_t seed, enum mir_net_ecn ecn, const char *congestion)
{
    struct result result = {0};
    struct sim_pair pair;
    struct sim_pair_config config = {.seed = seed};
    struct mir_tcp_info info = {0};
    size_t error_pos;
    for (int i = 0; i < 2; i++) {
        check_int(mir_sim_wire_parse("rate=20m,delay=10ms,queue=200k,mark=40k", &config.wire[i],
                                     &error_pos),
                  ==, 0);
        config.node[i].net.tcp_ecn = ecn;
        config.node[i].net.congestion = congestion;
    }
    sim_pair_open(&pair, &config);
    sim_pair_begin(&pair, &client, &server, BYTES);
    mir_time_us began_us = mir_sim_now(pair.sim);
    while (server.received < BYTES && mir_sim_now(pair.sim) < began_us + GIVE_UP_US) {
        (void)mir_sim_run(pair.sim, mir_sim_now(pair.sim) + 10000);
        if (client.tcp != NULL && server.received < BYTES / 10 * 9)
            mir_tcp_get_info(client.tcp, &info);
    }
    result.mbps = (double)BYTES * 8 / (double)(mir_sim_now(pair.sim) - began_us);
    check_int(server.received, ==, BYTES);
    check_int(server.wrong_at, ==, 0);
    check_int(info.ecn, ==, ecn == MIR_NET_ECN_ON);
    result.srtt_us = info.srtt_us;
    result.resent = sim_stat(pair.node[0]->stack, "tcp_retransmits");
    result.timeouts = sim_stat(pair.node[0]->stack, "tcp_timeouts");
    result.reductions = sim_stat(pair.node[0]->stack, "tcp_ecn_reductions");
    mir_sim_wire_get_stats(pair.wire, 0, &result.wire);
    sim_pair_finish(&pair, &client, &server);
    return result;
}

int main(int argc, char **argv)
{
    static const char *const congestion[] = {"cubic", "reno"};
    tap_begin("tcp_ecn_sim");
    uint64_t seed = tap_seed(argc, argv, 1);
    for (size_t i = 0; i < MIR_ARRAY_LEN(congestion); i++) {
        tap_case("%s: marks instead of losses: nothing is sent twice, the wire stays full",
                 congestion[i]);
        struct result with = transfer(seed, MIR_NET_ECN_ON, congestion[i]);
        struct result without = transfer(seed, MIR_NET_ECN_PASSIVE, congestion[i]);
        check_int(with.wire.queue_dropped, ==, 0);
        check_int(with.resent, ==, 0);
        check_int(with.wire.marked, >, 0);
        check_int(with.reductions, >, 2);
        check_int(without.wire.queue_dropped, >, 0);
        check_int(without.wire.marked, ==, 0);
        check(with.mbps >= 0.95 * without.mbps);
        tap_note("with %.2f Mbit/s, srtt %.1f ms, %u marks, %u reductions, %u dropped | without "
                 "%.2f Mbit/s, srtt %.1f ms, %u dropped, %u sent again",
                 with.mbps, with.srtt_us / 1e3, (unsigned)with.wire.marked,
                 (unsigned)with.reductions, (unsigned)with.wire.queue_dropped, without.mbps,
                 without.srtt_us / 1e3, (unsigned)without.wire.queue_dropped,
                 (unsigned)without.resent);
    }
    return tap_done();
}
