/* SPDX-License-Identifier: ISC */
/* Buffers that size themselves: a path of 100 ms and 1 Gbit/s is filled without anybody having set
 * anything, slow readers and small paths keep small buffers, and all of them share a bounded
 * memory.
 */
#include <stdlib.h>
#include <string.h>

#include "test/harness/sim_flow.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

#define FLOWS 8

static struct sim_flow sender[FLOWS], receiver[FLOWS];
static uint32_t accepted;
static bool is_paused;
static uint64_t seed;

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener, (void)arg;
    struct sim_flow *flow = &receiver[accepted];
    *flow = (struct sim_flow){.rx_key = 1, .stays_open = true, .is_paused = is_paused};
    accepted++;
    sim_flow_attach(flow, tcp_given);
}

/* Senders on node 0, receivers on node 1. */
static void open_world(struct sim_pair *pair, struct sim_pair_config *config, uint32_t flows,
                       uint64_t to_send)
{
    struct mir_tcp_listen_config listen = {.on_accept = on_accept};
    struct mir_tcp_listener *listener;
    config->seed = seed;
    accepted = 0;
    sim_pair_open(pair, config);
    listen.local = (struct mir_endpoint){.ip = mir_ip_from_v4(0), .port = 80};
    check_int(mir_tcp_listen(pair->node[1]->stack, &listen, &listener), ==, 0);
    listen.local.ip = mir_ip_from_v4(SIM_PAIR_IP(1));
    for (uint32_t i = 0; i < flows; i++) {
        sender[i] =
            (struct sim_flow){.tx_key = 1, .to_send = to_send, .stays_open = true, .chunk = 65536};

        check_int(sim_flow_connect(&sender[i], pair->node[0]->stack, &listen.local), ==, 0);
        mir_sim_wake(pair->node[0]);
        (void)mir_sim_run(pair->sim, mir_sim_now(pair->sim) + 1000);
    }
}

static void close_world(struct sim_pair *pair, uint32_t flows)
{
    for (uint32_t i = 0; i < flows; i++) {
        check_int(receiver[i].wrong_at, ==, 0);
        sim_flow_fini(&sender[i]);
        sim_flow_fini(&receiver[i]);
    }
    (void)mir_sim_run(pair->sim, mir_sim_now(pair->sim) + 100 * MIR_US_PER_S);
    sim_pair_check_idle(pair);
    (void)sim_pair_close(pair);
}

static void run_for(struct sim_pair *pair, mir_time_us us)
{
    (void)mir_sim_run(pair->sim, mir_sim_now(pair->sim) + us);
}

static uint64_t received(uint32_t flows)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < flows; i++)
        sum += receiver[i].received;
    return sum;
}

struct path {
    const char *name;
    uint64_t rate_bps;
    uint32_t rtt_ms;
    uint32_t settle_ms; /* for slow start, and what follows it */
    uint32_t percent;
};

static void test_path(const struct path *path)
{
    struct sim_pair pair;
    struct sim_pair_config config = {0};
    struct mir_tcp_info info;
    tap_case("%s: %u %% of the link or more, nothing tuned", path->name, path->percent);
    for (int i = 0; i < 2; i++) {
        config.node[i].memory_bytes = (size_t)256 << 20;
        config.wire[i] = (struct mir_sim_wire_config){
            .rate_bps = path->rate_bps, .delay_us = path->rtt_ms * 500, .queue_bytes = 4u << 20};
    }
    open_world(&pair, &config, 1, UINT64_MAX);
    run_for(&pair, path->settle_ms * MIR_US_PER_MS);
    uint64_t before = received(1);
    run_for(&pair, 2 * MIR_US_PER_S);
    double rate = (double)(received(1) - before) * 8 / 2;
    /* Of what fits frames of 1,514 bytes with 1,448 of payload. */
    double most = (double)path->rate_bps * 1448 / 1514;
    mir_tcp_get_info(receiver[0].tcp, &info);
    tap_note("%.1f Mbit/s, %.1f %% of the link", rate / 1e6, 100 * rate / most);
    check_int((long long)rate, >=, (long long)(most * path->percent / 100));
    close_world(&pair, 1);
}

static void test_idle_reader(void)
{
    struct sim_pair pair;
    struct sim_pair_config config = {0};
    struct mir_tcp_info info;
    tap_case("a receiver that does not read is offered no more than the first window");
    for (int i = 0; i < 2; i++) {
        config.node[i].memory_bytes = (size_t)64 << 20;
        config.wire[i] = (struct mir_sim_wire_config){.rate_bps = 1000000000, .delay_us = 5000};
    }
    is_paused = true;
    open_world(&pair, &config, 1, UINT64_MAX);
    run_for(&pair, 10 * MIR_US_PER_S);
    mir_tcp_get_info(receiver[0].tcp, &info);
    check_int(info.recv_queue_bytes, <=, 128 << 10);
    check_int(info.recv_queue_bytes, >, 60 << 10);
    is_paused = receiver[0].is_paused = false;
    sim_flow_kick(&receiver[0]);
    mir_sim_wake(pair.node[1]);
    uint64_t before = received(1);
    run_for(&pair, 3 * MIR_US_PER_S);
    check(received(1) - before > 100000000); /* and when it reads, it gets everything */
    close_world(&pair, 1);
}

static void test_memory(void)
{
    struct sim_pair pair;
    struct sim_pair_config config = {0};
    tap_case("eight flows with little memory: bounded, and none of them starves");
    for (int i = 0; i < 2; i++) {
        config.node[i].memory_bytes = (size_t)16 << 20;
        config.node[i].net.tcp_memory_max_bytes = 2u << 20;
        config.wire[i] = (struct mir_sim_wire_config){
            .rate_bps = 1000000000, .delay_us = 20000, .queue_bytes = 1u << 20};
    }
    open_world(&pair, &config, FLOWS, UINT64_MAX);
    uint64_t highest[2] = {0};
    for (int step = 0; step < 1000; step++) {
        run_for(&pair, 10 * MIR_US_PER_MS);
        for (int i = 0; i < 2; i++) {
            uint64_t used = sim_stat(pair.node[i]->stack, "tcp_memory_used_bytes");
            highest[i] = MIR_MAX(highest[i], used);
        }
    }
    tap_note("most in queues: sender %llu, receiver %llu bytes; %llu bytes in 10 s",
             (unsigned long long)highest[0], (unsigned long long)highest[1],
             (unsigned long long)received(FLOWS));
    check_int(highest[0], <=, (2 << 20) + FLOWS * 65536);
    check_int(highest[1], <=, (2 << 20) + FLOWS * 65536);
    for (int i = 0; i < FLOWS; i++)
        check(receiver[i].received > received(FLOWS) / (FLOWS * 5));
    check_int(received(FLOWS), >, 100000000);
    close_world(&pair, FLOWS);
}

static void test_fixed(void)
{
    struct sim_pair pair;
    struct sim_pair_config config = {0};
    tap_case("RCVBUF and SNDBUF switch it off");
    for (int i = 0; i < 2; i++) {
        config.node[i].memory_bytes = (size_t)64 << 20;
        config.wire[i] = (struct mir_sim_wire_config){.rate_bps = 1000000000, .delay_us = 50000};
    }
    for (int i = 0; i < 2; i++) {
        open_world(&pair, &config, 1, UINT64_MAX);
        run_for(&pair, 300 * MIR_US_PER_MS);
        struct mir_tcp *tcp = i == 0 ? receiver[0].tcp : sender[0].tcp;
        check_int(mir_tcp_set_option(tcp, i == 0 ? MIR_TCP_RCVBUF : MIR_TCP_SNDBUF, 200000), ==, 0);
        run_for(&pair, 10 * MIR_US_PER_S);
        uint64_t before = received(1);
        run_for(&pair, 10 * MIR_US_PER_S);
        /* At most 200,000 bytes a round trip of 100 ms (and a last chunk of 64 KiB). */
        check_int(received(1) - before, <=, 101 * (200000 + 65536));
        /* WRITABLE comes when a quarter is free: less than all of it is in flight. */
        check_int(received(1) - before, >, 95 * (i == 0 ? 190000 : 150000));
        close_world(&pair, 1);
    }
}

int main(int argc, char **argv)
{
    static const struct path paths[] = {
        {"100 ms x 1 Gbit/s", 1000000000, 100, 2500, 90},
        {"10 ms x 500 Mbit/s", 500000000, 10, 2000, 90},
        {"200 ms x 50 Mbit/s", 50000000, 200, 8000, 90},
        {"1 ms x 100 Mbit/s", 100000000, 1, 1000, 90},
    };
    tap_begin("tuning");
    seed = tap_seed(argc, argv, 1);
    for (size_t i = 0; i < MIR_ARRAY_LEN(paths); i++)
        test_path(&paths[i]);
    test_idle_reader();
    test_memory();
    test_fixed();
    return tap_done();
}
