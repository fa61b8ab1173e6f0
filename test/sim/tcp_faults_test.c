/* SPDX-License-Identifier: ISC */
/* TCP over wires that lose, repeat, reorder, damage and delay frames: for each seed a world is made
 * by chance, data goes in both directions at once over some connections, and must arrive intact,
 * whole and in order; every connection must end, and afterwards nothing may be in use.
 *
 *   tcp_faults_test --seed 1 --count 1000
 *
 * A failure prints the command that replays exactly that run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/harness/sim_flow.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

#if defined(__SANITIZE_ADDRESS__)
#define COUNT_DEFAULT 1000
#else
#define COUNT_DEFAULT 1000
#endif
#define SEEDS_PER_CASE    100
#define FLOWS_MAX         4
#define GIVE_UP_US        (4 * 3600 * MIR_US_PER_S)
#define REST_US           (2000 * MIR_US_PER_S)
#define FAULT_BUDGET_PPM  200000u
#define TIME_OUTS_ALLOWED 10 /* in a thousand seeds, at the heaviest loss */

/* What was found with larger counts. A seed stands for its world only as long as the same things
 * are drawn for it: after a change to draw_world() take out the fix and look for others. */
static const uint64_t once_failed[] = {
    5451,  /* timed out behind a closed window whose reopening got lost: no probes */
    15369, /* a round trip of seven seconds: SYN-ACK echoed the time of the first of four SYNs */
};

struct world {
    struct sim_pair pair;
    struct sim_pair_config config;
    struct mir_rng dice; /* not the simulator's: a draw more does not change the run */
    uint64_t seed;
    uint32_t flow_count;
    struct sim_flow flow[2][FLOWS_MAX]; /* by node */
    struct mir_tcp_listener *listener;
    uint32_t accepted;
    struct mir_sim_call rest_call, cut_call, short_call;
    bool is_resting, is_cut, is_short;
    uint32_t rest_left, short_left;
};

static uint32_t failed_seeds, time_outs;
static uint64_t total_bytes, total_events, total_virtual_us;

/* ---- a world by chance
 * --------------------------------------------------------------------------- */

static bool one_in(struct world *w, uint32_t n)
{
    return mir_rng_below(&w->dice, n) == 0;
}

/* Between @low and @high, each octave equally likely. */
static uint64_t draw_log(struct world *w, uint64_t low, uint64_t high)
{
    uint32_t octaves = 0;
    while (low << (octaves + 1) <= high)
        octaves++;
    uint64_t base = low << mir_rng_below(&w->dice, octaves + 1);
    uint64_t drawn = base + mir_rng_u64(&w->dice) % base;
    return MIR_MIN(drawn, high);
}

/* 0.1 % to 20 %, or none; what is taken from the budget of lost frames counts against it. */
static uint32_t draw_fault(struct world *w, uint32_t *budget)
{
    if (one_in(w, 2))
        return 0;
    uint32_t ppm = (uint32_t)draw_log(w, 1000, 200000);
    if (budget != NULL) {
        ppm = MIR_MIN(ppm, *budget);
        *budget -= ppm;
    }
    return ppm;
}

static void draw_wire(struct world *w, struct mir_sim_wire_config *wire)
{
    uint32_t budget = FAULT_BUDGET_PPM;
    wire->rate_bps = draw_log(w, 200000, 10000000000ull);
    wire->delay_us = one_in(w, 4) ? 0 : (uint32_t)draw_log(w, 10, 200000);
    wire->jitter_us = one_in(w, 2) ? 0 : (uint32_t)draw_log(w, 10, 50000);
    wire->loss_ppm = draw_fault(w, &budget);
    wire->corrupt_ppm = draw_fault(w, &budget);
    wire->reorder_ppm = draw_fault(w, NULL);
    wire->reorder_us = one_in(w, 2) ? 0 : (uint32_t)draw_log(w, 100, 100000);
    wire->duplicate_ppm = draw_fault(w, NULL);
    wire->queue_bytes = (uint32_t)draw_log(w, 20000, 1u << 20);
    if (one_in(w, 6) && budget >= 100000) {
        wire->burst_enter_ppm = (uint32_t)draw_log(w, 1000, 20000);
        wire->burst_leave_ppm = 200000 + mir_rng_below(&w->dice, 500000);
    }
}

static void draw_host(struct world *w, int i)
{
    static const uint32_t offloads[] = {
        0,
        MIR_NET_TX_SG,
        MIR_NET_TX_CSUM | MIR_NET_RX_CSUM,
        MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_TX_SG,
        MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_TX_SG | MIR_NET_RX_CSUM | MIR_NET_RX_GRO,
    };
    struct mir_sim_node_config *node = &w->config.node[i];
    struct mir_sim_port_config *port = &w->config.port[i];
    node->name = i == 0 ? "client" : "server";
    node->net.tcp_sndbuf_bytes = (uint32_t)draw_log(w, 4096, 1u << 20);
    node->net.tcp_rcvbuf_bytes = (uint32_t)draw_log(w, 4096, 1u << 20);
    /* Not drawn, so that seeds found earlier keep their worlds. */
    if (w->seed % 4 == 2)
        node->net.tcp_sndbuf_bytes = node->net.tcp_rcvbuf_bytes = 0;
    node->net.tcp_pacing = w->seed % 16 == 4;
    if (w->seed % 3 == 0)
        node->net.tcp_ecn = MIR_NET_ECN_ON;
    /* Time stamps are milliseconds in 32 bits: some clocks pass that border during the run. */
    if (one_in(w, 3))
        node->clock_offset_us = ((1ull << 32) - 5000) * 1000 - MIR_US_PER_S;
    else
        node->clock_offset_us = mir_rng_u64(&w->dice) >> 20;
    port->mtu = (uint16_t)(one_in(w, 2) ? 1500 : draw_log(w, 576, 9000));
    port->caps = offloads[mir_rng_below(&w->dice, MIR_ARRAY_LEN(offloads))];
    port->ring_bytes = one_in(w, 3) ? 0 : (uint32_t)draw_log(w, 10000, 200000);
    port->coalesce_us = one_in(w, 2) ? 0 : (uint32_t)draw_log(w, 10, 2000);
}

static void draw_flow(struct world *w, struct sim_flow *flow, uint32_t number, int i)
{
    *flow = (struct sim_flow){0};
    flow->tx_key = w->seed * 100 + number * 2 + (uint32_t)i;
    flow->rx_key = w->seed * 100 + number * 2 + (uint32_t)!i;
    flow->to_send = one_in(w, 8) ? mir_rng_below(&w->dice, 3) : draw_log(w, 1, 400000);
    flow->chunk =
        one_in(w, 6) ? 1 + mir_rng_below(&w->dice, 20) : (uint32_t)draw_log(w, 100, 60000);
    flow->use_views = one_in(w, 2);
    /* One byte a page would be a test of the page pool. */
    if (flow->use_views)
        flow->chunk = MIR_MAX(flow->chunk, 500u);
}

static void draw_world(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->seed = seed;
    mir_rng_init_u64(&w->dice, seed ^ 0x5eed);
    w->config.seed = seed;
    for (int i = 0; i < 2; i++) {
        draw_host(w, i);
        draw_wire(w, &w->config.wire[i]);
    }
    if (one_in(w, 2))
        w->config.wire[1] = w->config.wire[0];
    w->flow_count = 1 + mir_rng_below(&w->dice, FLOWS_MAX);
    for (uint32_t k = 0; k < w->flow_count; k++) {
        draw_flow(w, &w->flow[0][k], k, 0);
        draw_flow(w, &w->flow[1][k], k, 1);
    }
    w->is_resting = one_in(w, 3);
    w->is_cut = one_in(w, 5);
    w->is_short = one_in(w, 6);
    /* Some wires mark congestion, some swallow what is above their own size. */
    for (int i = 0; i < 2; i++) {
        if (seed % 3 == 0)
            w->config.wire[i].mark_bytes = w->config.wire[i].queue_bytes / 4;
        if (seed % 16 == 9)
            w->config.wire[i].mtu = 1400;
    }
    /* Now and then one side does without SACK. */
    if (seed % 8 < 2)
        w->config.node[seed % 8].net.tcp_no_sack = true;
}

/* ---- the run
 * ------------------------------------------------------------------------------------------ */

/* The first byte of the client's data says which flow it is: connections may arrive in any order.
 */
static void on_first_bytes(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct world *w = arg;
    struct mir_endpoint local, remote;
    (void)events;
    mir_tcp_get_endpoints(tcp, &local, &remote);
    for (uint32_t k = 0; k < w->flow_count; k++) {
        struct mir_endpoint ours, theirs;
        if (w->flow[0][k].tcp == NULL || w->flow[1][k].tcp != NULL)
            continue;
        mir_tcp_get_endpoints(w->flow[0][k].tcp, &ours, &theirs);
        if (ours.port == remote.port) {
            sim_flow_attach(&w->flow[1][k], tcp);
            return;
        }
    }
    mir_tcp_abort(tcp); /* its client has given up already */
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    struct world *w = arg;
    (void)listener;
    w->accepted++;
    on_first_bytes(tcp_given, 0, w);
}

/* Readers rest and go on: zero windows and their probes. */
static void toggle_rest(void *arg)
{
    struct world *w = arg;
    bool pauses = w->rest_left % 2 == 0;
    for (int i = 0; i < 2; i++) {
        for (uint32_t k = 0; k < w->flow_count; k++) {
            struct sim_flow *flow = &w->flow[i][k];
            flow->is_paused = pauses && k % 2 == 0;
            if (!flow->is_paused && flow->tcp != NULL)
                sim_flow_kick(flow);
        }
        mir_sim_wake(w->pair.node[i]);
    }
    if (--w->rest_left > 0)
        mir_sim_at(w->pair.sim, &w->rest_call,
                   mir_sim_now(w->pair.sim) + 1000 + mir_rng_below(&w->dice, 3000000));
}

static void toggle_cut(void *arg)
{
    struct world *w = arg;
    mir_sim_wire_cut(w->pair.wire, 0, w->is_cut);
    mir_sim_wire_cut(w->pair.wire, 1, w->is_cut);
    if (w->is_cut)
        mir_sim_at(w->pair.sim, &w->cut_call,
                   mir_sim_now(w->pair.sim) + 1000 + mir_rng_below(&w->dice, 5000000));
    w->is_cut = false;
}

/* One of the next requests for memory fails, here or there, again and again. */
static void cause_shortage(void *arg)
{
    struct world *w = arg;
    int i = (int)mir_rng_below(&w->dice, 2);
    struct mir_sim_node *node = w->pair.node[i];
    if (one_in(w, 2))
        mir_page_pool_fail_at(&node->pages, 1 + mir_rng_below(&w->dice, 30));
    else
        mir_pool_fail_at(&node->bufs.pool, 1 + mir_rng_below(&w->dice, 30));
    /* Flows whose own pages were refused have nobody who would tell them to go on. */
    for (uint32_t k = 0; k < w->flow_count; k++)
        sim_flow_kick(&w->flow[i][k]);
    mir_sim_wake(node);
    if (--w->short_left > 0) {
        mir_sim_at(w->pair.sim, &w->short_call,
                   mir_sim_now(w->pair.sim) + draw_log(w, 100, 100000));
        return;
    }
    for (i = 0; i < 2; i++) {
        mir_page_pool_fail_at(&w->pair.node[i]->pages, 0);
        mir_pool_fail_at(&w->pair.node[i]->bufs.pool, 0);
        for (uint32_t k = 0; k < w->flow_count; k++)
            sim_flow_kick(&w->flow[i][k]);
        mir_sim_wake(w->pair.node[i]);
    }
}

static void start(struct world *w)
{
    struct mir_tcp_listen_config listen = {.on_accept = on_accept, .arg = w};
    mir_time_us now_us = mir_sim_now(w->pair.sim);
    listen.local.port = 80;
    listen.local.ip = mir_ip_from_v4(SIM_PAIR_IP(1));
    check_int(mir_tcp_listen(w->pair.node[1]->stack, &listen, &w->listener), ==, 0);
    for (uint32_t k = 0; k < w->flow_count; k++)
        check_int(sim_flow_connect(&w->flow[0][k], w->pair.node[0]->stack, &listen.local), ==, 0);
    w->rest_call.run = toggle_rest;
    w->rest_call.arg = w;
    w->rest_left = w->is_resting ? 12 : 0;
    if (w->is_resting)
        mir_sim_at(w->pair.sim, &w->rest_call, now_us + mir_rng_below(&w->dice, 1000000));
    w->short_call.run = cause_shortage;
    w->short_call.arg = w;
    w->short_left = 500;
    if (w->is_short)
        mir_sim_at(w->pair.sim, &w->short_call, now_us + mir_rng_below(&w->dice, 1000));
    w->cut_call.run = toggle_cut;
    w->cut_call.arg = w;
    if (w->is_cut)
        mir_sim_at(w->pair.sim, &w->cut_call, now_us + mir_rng_below(&w->dice, 1000000));
}

static bool is_over(const struct world *w)
{
    for (uint32_t k = 0; k < w->flow_count; k++) {
        const struct sim_flow *client = &w->flow[0][k], *server = &w->flow[1][k];
        /* A client that failed may never have reached the server. */
        if (!client->is_done || (!server->is_done && (server->tcp != NULL || client->error == 0)))
            return false;
    }
    return true;
}

/* No answer to segments, or to questions for the neighbour's address. */
static bool gave_up(const struct sim_flow *flow)
{
    return flow->error == -MIR_ETIMEDOUT || flow->error == -MIR_EHOSTUNREACH;
}

static bool check_flows(struct world *w)
{
    bool is_good = true;
    bool has_timed_out = false;
    for (uint32_t k = 0; k < w->flow_count; k++) {
        const struct sim_flow *client = &w->flow[0][k], *server = &w->flow[1][k];
        is_good &= check_int(client->wrong_at, ==, 0) && check_int(server->wrong_at, ==, 0);
        is_good &= check_int(server->received, <=, client->to_send);
        is_good &= check_int(client->received, <=, server->to_send);
        /* Heavy loss can end a connection; nothing else may. */
        if (gave_up(client) || gave_up(server)) {
            has_timed_out = true;
            continue;
        }
        /* A server that has no memory for one more connection, or whose half-open entry ran out
         * because all answers were lost, resets it. */
        if (client->error == -MIR_ECONNRESET && server->handler_calls == 0 &&
            server->received + server->sent == 0) {
            has_timed_out |= !w->is_short;
            continue;
        }
        is_good &= check_int(client->error, ==, 0) && check_int(server->error, ==, 0);
        is_good &= check_int(server->received, ==, client->to_send);
        is_good &= check_int(client->received, ==, server->to_send);
        total_bytes += client->received + server->received;
    }
    time_outs += has_timed_out;
    return is_good;
}

static void describe(const struct world *w)
{
    for (int i = 0; i < 2; i++) {
        const struct mir_sim_wire_config *c = &w->config.wire[i];
        tap_note("wire %d: rate=%llu,delay=%uus,jitter=%uus,loss=%.2f%%,corrupt=%.2f%%,"
                 "reorder=%.2f%%/%uus,dup=%.2f%%,queue=%u,burst=%.2f%%/%.0f%%",
                 i, (unsigned long long)c->rate_bps, c->delay_us, c->jitter_us, c->loss_ppm / 1e4,
                 c->corrupt_ppm / 1e4, c->reorder_ppm / 1e4, c->reorder_us, c->duplicate_ppm / 1e4,
                 c->queue_bytes, c->burst_enter_ppm / 1e4, c->burst_leave_ppm / 1e4);
        tap_note("host %d: mtu %u caps %u ring %u coalesce %u sndbuf %u rcvbuf %u", i,
                 w->config.port[i].mtu, w->config.port[i].caps, w->config.port[i].ring_bytes,
                 w->config.port[i].coalesce_us, w->config.node[i].net.tcp_sndbuf_bytes,
                 w->config.node[i].net.tcp_rcvbuf_bytes);
    }
    tap_note("readers rest %d, wire is cut %d, memory is short %d", w->is_resting, w->is_cut,
             w->is_short);
    for (uint32_t k = 0; k < w->flow_count; k++) {
        const struct sim_flow *client = &w->flow[0][k], *server = &w->flow[1][k];
        tap_note("flow %u: client sent %llu/%llu got %llu error %d, server sent %llu/%llu got %llu "
                 "error %d",
                 k, (unsigned long long)client->sent, (unsigned long long)client->to_send,
                 (unsigned long long)client->received, client->error,
                 (unsigned long long)server->sent, (unsigned long long)server->to_send,
                 (unsigned long long)server->received, server->error);
    }
}

static void run_seed(uint64_t seed, bool is_verbose, const char *pcap)
{
    static struct world w;
    struct mir_sim_stats stats;
    draw_world(&w, seed);
    sim_pair_open(&w.pair, &w.config);
    if (pcap != NULL)
        check_int(mir_sim_wire_pcap(w.pair.wire, pcap), ==, 0);
    mir_time_us began_us = mir_sim_now(w.pair.sim);
    start(&w);
    while (!is_over(&w) && mir_sim_now(w.pair.sim) < began_us + GIVE_UP_US) {
        if (mir_sim_run(w.pair.sim, mir_sim_now(w.pair.sim) + MIR_US_PER_S) == MIR_SIM_IDLE)
            break;
    }
    mir_time_us took_us = mir_sim_now(w.pair.sim) - began_us;
    bool is_good = check(is_over(&w));
    is_good &= check_flows(&w);
    mir_sim_get_stats(w.pair.sim, &stats);
    is_good &= w.is_short || check_int(stats.rx_no_memory, ==, 0);
    total_events += stats.events;
    total_virtual_us += took_us;
    if (is_verbose || !is_good)
        describe(&w);
    if (is_verbose)
        tap_note("%.3f virtual s, %llu events, %llu frames", (double)took_us / 1e6,
                 (unsigned long long)stats.events, (unsigned long long)stats.frames);
    if (is_good) {
        mir_tcp_unlisten(w.listener);
        (void)mir_sim_run(w.pair.sim, mir_sim_now(w.pair.sim) + REST_US);
        sim_pair_check_idle(&w.pair);
    } else {
        failed_seeds++;
        tap_note("replay: tcp_faults_test --seed %llu --count 1", (unsigned long long)seed);
        for (int i = 0; i < 2; i++) {
            for (uint32_t k = 0; k < w.flow_count; k++)
                sim_flow_fini(&w.flow[i][k]);
        }
    }
    uint64_t hash = sim_pair_close(&w.pair);
    if (is_verbose)
        tap_note("run %016llx", (unsigned long long)hash);
}

static const char *argument(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    }
    return NULL;
}

int main(int argc, char **argv)
{
    tap_begin("tcp_faults");
    uint64_t seed = tap_seed(argc, argv, 1);
    const char *count_text = argument(argc, argv, "--count");
    const char *pcap = argument(argc, argv, "--pcap");
    uint64_t count = count_text != NULL ? strtoull(count_text, NULL, 0) : COUNT_DEFAULT;
    if (count_text == NULL) {
        tap_case("seeds that once failed");
        for (size_t i = 0; i < MIR_ARRAY_LEN(once_failed); i++)
            run_seed(once_failed[i], false, NULL);
    }
    for (uint64_t i = 0; i < count; i++) {
        if (i % SEEDS_PER_CASE == 0)
            tap_case("seeds %llu to %llu: data intact, connections end, nothing in use",
                     (unsigned long long)(seed + i),
                     (unsigned long long)(seed + MIR_MIN(i + SEEDS_PER_CASE, count) - 1));
        run_seed(seed + i, count == 1, pcap);
    }
    tap_case("few connections timed out");
    check_int(time_outs, <=, 1 + count * TIME_OUTS_ALLOWED / 1000);
    tap_note("%llu seeds, %u failed, %u with a time-out; %llu MiB, %llu events, %llu virtual s",
             (unsigned long long)count, failed_seeds, time_outs,
             (unsigned long long)(total_bytes >> 20), (unsigned long long)total_events,
             (unsigned long long)(total_virtual_us / MIR_US_PER_S));
    return tap_done();
}
