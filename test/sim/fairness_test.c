/* SPDX-License-Identifier: ISC */
/* Many flows, many seeds: how a bottleneck is shared, what loss costs, and what its queue does.
 *
 *   senders --(own wires)-- switch --bottleneck-- sink
 *
 * Every figure is the mean of SEEDS runs, with the worst beside it; thresholds are for the mean,
 * and lower ones for the worst, so that one unlucky run does not fail a good stack, nor a lucky one
 * pass a bad one. docs/howto/simulate.md has the table.
 *
 * Formulas:
 *   Jain's index  (sum x)^2 / (n sum x^2)
 *   PFTK          Padhye, Firoiu, Towsley, Kurose 1998, equation 30, in segments a second:
 *                 1 / (R sqrt(2bp/3) + T min(1, 3 sqrt(3bp/8)) p (1 + 32 p^2)), b = 1
 *                 It is about Reno, which loses a timeout where recovery by SACK does not: the
 *                 measured figure may be above it at high loss, and must not be far below.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "target/sim/sim.h"
#include "test/harness/sim_flow.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

#define MSS       1448.0
#define FLOWS_MAX 32
#if defined(__SANITIZE_ADDRESS__)
#define SEEDS 1
#else
#define SEEDS 3
#endif

struct world {
    struct mir_sim *sim;
    struct mir_sim_node *sink;
    struct mir_sim_wire *bottleneck;
    struct mir_tcp_listener *listener;
    uint32_t count;
    struct mir_sim_node *node[FLOWS_MAX];
    struct sim_flow sender[FLOWS_MAX];
    struct sim_flow receiver[FLOWS_MAX];
    uint64_t marked[FLOWS_MAX];
};

struct scenario {
    uint32_t count;
    const char *first, *others;        /* congestion control */
    uint32_t delay_us, first_delay_us; /* of senders' wires, one way; 0: the same */
    const char *wire;                  /* the bottleneck */
    double settle, seconds;
};

struct outcome {
    double share[FLOWS_MAX]; /* of all that arrived */
    double bytes_per_s;
    double jain;
    double wait_us; /* mean in the bottleneck's queue */
    struct mir_sim_wire_stats stats;
};

static struct world w;
static uint64_t seed;

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    struct mir_endpoint local, remote;
    (void)listener;
    (void)arg;
    mir_tcp_get_endpoints(tcp_given, &local, &remote);
    uint32_t i = (mir_ip_to_v4(&remote.ip) & 0xff) - 1;
    w.receiver[i] = (struct sim_flow){.rx_key = i + 1, .stays_open = true};
    sim_flow_attach(&w.receiver[i], tcp_given);
}

static void add_sender(const struct scenario *sc, struct mir_sim_switch *hub, uint32_t i)
{
    struct mir_sim_node_config config = {.name = "sender", .memory_bytes = 16u << 20};
    struct mir_sim_port_config port = {0};
    bool is_first = i == 0;
    struct mir_sim_wire_config wire = {
        .delay_us = is_first && sc->first_delay_us != 0 ? sc->first_delay_us : sc->delay_us,
        .queue_bytes = 16u << 20};
    struct mir_sim_plug *plug;
    char address[20];
    snprintf(address, sizeof address, "10.0.0.%u/24", i + 1);
    config.net.congestion = is_first ? sc->first : sc->others;
    config.net.tcp_ecn = strstr(sc->wire, "ecn=1") != NULL ? MIR_NET_ECN_ON : MIR_NET_ECN_OFF;
    check_int(mir_sim_add_host(w.sim, &config, &port, address, &w.node[i]), ==, 0);
    check_int(mir_sim_switch_plug(hub, &plug), ==, 0);
    check_int(mir_sim_join(&mir_sim_first_port(w.node[i])->plug, plug, &wire, NULL, NULL), ==, 0);
}

static void open_world(const struct scenario *sc, uint64_t with_seed)
{
    struct mir_sim_switch *hub;
    struct mir_sim_plug *plug;
    struct mir_sim_node_config config = {.name = "sink", .memory_bytes = 64u << 20};
    struct mir_sim_port_config port = {0};
    struct mir_sim_wire_config forth = {0}, back = {.queue_bytes = 16u << 20};
    size_t error_at;
    memset(&w, 0, sizeof w);
    w.count = sc->count;
    check_int(mir_sim_wire_parse(sc->wire, &forth, &error_at), ==, 0);
    check_int(mir_sim_open(&(struct mir_sim_config){.seed = with_seed}, &w.sim), ==, 0);
    check_int(mir_sim_add_switch(w.sim, "switch", &hub), ==, 0);
    check_int(mir_sim_add_host(w.sim, &config, &port, "10.0.0.100/24", &w.sink), ==, 0);
    check_int(mir_sim_switch_plug(hub, &plug), ==, 0);
    check_int(mir_sim_join(plug, &mir_sim_first_port(w.sink)->plug, &forth, &back, &w.bottleneck),
              ==, 0);
    for (uint32_t i = 0; i < sc->count; i++)
        add_sender(sc, hub, i);
    struct mir_tcp_listen_config listen = {.on_accept = on_accept};
    listen.local.port = 80;
    listen.local.ip = mir_ip_from_v4(0);
    check_int(mir_tcp_listen(w.sink->stack, &listen, &w.listener), ==, 0);
}

static void run_for(double seconds)
{
    (void)mir_sim_run(w.sim, mir_sim_now(w.sim) + (mir_time_us)(seconds * 1e6));
}

static void close_world(void)
{
    struct mir_sim_stats stats;
    for (uint32_t i = 0; i < w.count; i++) {
        check_int(w.receiver[i].wrong_at, ==, 0);
        sim_flow_fini(&w.sender[i]);
        mir_sim_wake(w.node[i]);
    }
    run_for(2);
    for (uint32_t i = 0; i < w.count; i++)
        sim_flow_fini(&w.receiver[i]);
    mir_tcp_unlisten(w.listener);
    run_for(1);
    mir_sim_get_stats(w.sim, &stats);
    check_int(stats.violations, ==, 0);
    check_int(mir_sim_close(w.sim), ==, 0);
}

static struct outcome run_once(const struct scenario *sc, uint64_t with_seed)
{
    struct outcome out = {0};
    struct mir_sim_wire_stats before;
    double total = 0, squares = 0;
    struct mir_endpoint to = {.port = 80};
    to.ip = mir_ip_from_v4(0x0a000064);
    open_world(sc, with_seed);
    for (uint32_t i = 0; i < sc->count; i++) {
        w.sender[i] = (struct sim_flow){
            .tx_key = i + 1, .to_send = UINT64_MAX, .stays_open = true, .chunk = 65536};
        check_int(sim_flow_connect(&w.sender[i], w.node[i]->stack, &to), ==, 0);
        mir_sim_wake(w.node[i]);
        run_for(3.0 / sc->count + (double)mir_rng_below(mir_sim_rng(w.sim), 100) / 1000);
    }
    run_for(sc->settle);
    mir_sim_wire_get_stats(w.bottleneck, 0, &before);
    for (uint32_t i = 0; i < sc->count; i++)
        w.marked[i] = w.receiver[i].received;
    run_for(sc->seconds);
    mir_sim_wire_get_stats(w.bottleneck, 0, &out.stats);
    for (uint32_t i = 0; i < sc->count; i++) {
        out.share[i] = (double)(w.receiver[i].received - w.marked[i]);
        total += out.share[i];
        squares += out.share[i] * out.share[i];
    }
    for (uint32_t i = 0; i < sc->count; i++)
        out.share[i] /= total;
    out.bytes_per_s = total / sc->seconds;
    out.jain = total * total / (sc->count * squares);
    out.wait_us = (double)(out.stats.waited_us - before.waited_us) /
                  (double)(out.stats.frames - before.frames);
    close_world();
    return out;
}

/* ---- sharing ------------------------------------------------------------------------------------
 */

static void test_jain(void)
{
    static const struct {
        uint32_t count;
        const char *congestion;
        double mean, worst;
    } rows[] = {{2, "cubic", 0.9, 0.8},
                {8, "cubic", 0.9, 0.8},
                {32, "cubic", 0.85, 0.75},
                {2, "reno", 0.9, 0.8},
                {8, "reno", 0.9, 0.8}};
    for (size_t i = 0; i < MIR_ARRAY_LEN(rows); i++) {
        struct scenario sc = {.count = rows[i].count,
                              .first = rows[i].congestion,
                              .others = rows[i].congestion,
                              .delay_us = 10000,
                              .wire = "rate=40m,queue=100k",
                              .settle = 10,
                              .seconds = 30};
        double sum = 0, worst = 1, use = 0;
        tap_case("%u %s flows: Jain index at least %.2f, in no run below %.2f, link 85 %% in use",
                 rows[i].count, rows[i].congestion, rows[i].mean, rows[i].worst);
        for (uint32_t k = 0; k < SEEDS; k++) {
            struct outcome out = run_once(&sc, seed + k);
            sum += out.jain;
            worst = fmin(worst, out.jain);
            use += out.bytes_per_s * 8 / 40e6 / SEEDS;
        }
        tap_note("Jain %.3f, worst %.3f; %.1f %% of the link", sum / SEEDS, worst, use * 100);
        check(sum / SEEDS >= rows[i].mean);
        check(worst >= rows[i].worst);
        check(use >= 0.85);
    }
}

static void test_mixed(void)
{
    struct scenario sc = {.count = 2,
                          .first = "reno",
                          .others = "cubic",
                          .delay_us = 10000,
                          .wire = "rate=20m,queue=50k",
                          .settle = 10,
                          .seconds = 40};
    double sum = 0, worst = 1;
    tap_case("NewReno beside CUBIC keeps 25 %% of the link in the mean, 15 %% in every run");
    for (uint32_t k = 0; k < SEEDS; k++) {
        struct outcome out = run_once(&sc, seed + k);
        sum += out.share[0];
        worst = fmin(worst, out.share[0]);
    }
    tap_note("NewReno's share %.1f %%, worst %.1f %%", sum / SEEDS * 100, worst * 100);
    check(sum / SEEDS >= 0.25 && worst >= 0.15);

    double ratio[2] = {0};
    static const char *const names[2] = {"cubic", "reno"};
    tap_case("a round trip 4 times as long costs CUBIC a factor below 4, and less than NewReno");
    for (uint32_t i = 0; i < 2; i++) {
        struct scenario far = {.count = 2,
                               .first = names[i],
                               .others = names[i],
                               .delay_us = 5000,
                               .first_delay_us = 20000,
                               .wire = "rate=20m,queue=80k",
                               .settle = 15,
                               .seconds = 45};
        for (uint32_t k = 0; k < SEEDS; k++) {
            struct outcome out = run_once(&far, seed + k);
            ratio[i] += out.share[1] / out.share[0] / SEEDS;
        }
    }
    tap_note("near : far %.2f with CUBIC, %.2f with NewReno; the square of the ratio is 16",
             ratio[0], ratio[1]);
    check(ratio[0] < 4 && ratio[0] < ratio[1]);
}

/* ---- loss ---------------------------------------------------------------------------------------
 */

static void test_pftk(void)
{
    static const struct {
        double p, low, high;
    } rows[] = {{0.005, 0.75, 1.25}, {0.01, 0.75, 1.3}, {0.03, 0.75, 1.6}, {0.05, 0.75, 2.0}};
    const double rtt = 0.05, rto = 0.25;
    for (size_t i = 0; i < MIR_ARRAY_LEN(rows); i++) {
        char wire[64];
        snprintf(wire, sizeof wire, "rate=1g,queue=4m,loss=%.1f%%", rows[i].p * 100);
        struct scenario sc = {.count = 1,
                              .first = "reno",
                              .delay_us = 25000,
                              .wire = wire,
                              .settle = 5,
                              .seconds = 100};
        double p = rows[i].p, sum = 0;
        double formula =
            1 / (rtt * sqrt(2 * p / 3) + rto * fmin(1, 3 * sqrt(3 * p / 8)) * p * (1 + 32 * p * p));
        tap_case("NewReno at %.1f %% of loss: %.2f to %.2f of PFTK", p * 100, rows[i].low,
                 rows[i].high);
        for (uint32_t k = 0; k < SEEDS; k++)
            sum += run_once(&sc, seed + k).bytes_per_s / MSS / SEEDS;
        tap_note("%.0f segments a second, PFTK %.0f, Mathis %.0f: ratio %.2f", sum, formula,
                 sqrt(1.5 / p) / rtt, sum / formula);
        check(sum / formula >= rows[i].low && sum / formula <= rows[i].high);
    }
}

/* ---- queues -------------------------------------------------------------------------------------
 */

static struct outcome run_queue(const char *wire)
{
    struct scenario sc = {.count = 4,
                          .first = "cubic",
                          .others = "cubic",
                          .delay_us = 15000,
                          .wire = wire,
                          .settle = 10,
                          .seconds = 30};
    struct outcome mean = {0};
    for (uint32_t k = 0; k < SEEDS; k++) {
        struct outcome out = run_once(&sc, seed + k);
        mean.wait_us += out.wait_us / SEEDS;
        mean.bytes_per_s += out.bytes_per_s / SEEDS;
        mean.jain += out.jain / SEEDS;
        mean.stats = out.stats;
    }
    tap_note("%s: waits %.1f ms, %.1f %% of the link, Jain %.3f; %llu dropped early, %llu marked, "
             "%llu at the end",
             wire, mean.wait_us / 1000, mean.bytes_per_s * 8 / 10e6 * 100, mean.jain,
             (unsigned long long)mean.stats.aqm_dropped, (unsigned long long)mean.stats.marked,
             (unsigned long long)mean.stats.queue_dropped);
    check(mean.bytes_per_s * 8 >= 10e6 * 0.85);
    return mean;
}

static void test_queues(void)
{
    tap_case("four CUBIC flows on 10 Mbit/s: a queue of 256 KiB stands for 100 ms and more");
    struct outcome tail = run_queue("rate=10m,queue=256k");
    check(tail.wait_us > 100000);
    check_int(tail.stats.aqm_dropped, ==, 0);

    tap_case("CoDel with a target of 5 ms keeps it below 20 ms, and the link at 85 %%");
    struct outcome codel = run_queue("rate=10m,queue=256k,codel=5ms/100ms");
    check(codel.wait_us < 20000);
    check_int(codel.stats.aqm_dropped, >, 0);
    check_int(codel.stats.queue_dropped, ==, 0);

    tap_case("with ECN it marks instead of dropping");
    struct outcome ecn = run_queue("rate=10m,queue=256k,codel=5ms/100ms,ecn=1");
    check(ecn.wait_us < 20000);
    check_int(ecn.stats.marked, >, 0);
    check_int(ecn.stats.aqm_dropped * 20, <, ecn.stats.marked);

    tap_case("FQ-CoDel too, and its flows are equal: Jain index 0.95");
    struct outcome fair = run_queue("rate=10m,queue=256k,fq-codel=5ms/100ms");
    check(fair.wait_us < 30000);
    check(fair.jain >= 0.95); /* two flows may share a list */

    tap_case("RED between 20 and 60 KiB keeps it below the second");
    struct outcome red = run_queue("rate=10m,queue=256k,red=20k/60k");
    check(red.wait_us < 65536 * 8 / 10.0);
    check_int(red.stats.aqm_dropped, >, 0);
}

int main(int argc, char **argv)
{
    tap_begin("fairness");
    seed = tap_seed(argc, argv, 1);
    test_jain();
    test_mixed();
    test_pftk();
    test_queues();
    return tap_done();
}
