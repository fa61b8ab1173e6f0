/* SPDX-License-Identifier: ISC */
/* What an established connection costs that has nothing to do: ten thousand of them, each of which
 * has carried data in both directions. `idle_test --count 1000000` does it with a million, both
 * ends in one process: a minute or two and 3 GB of memory.
 */
#include <stdlib.h>
#include <string.h>

#include "test/harness/sim_flow.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

#define PORT_EACH   15000u /* connections of one listener: ephemeral ports are 16384 */
#define BYTES       3000
#define LIMIT_BYTES 512

static struct sim_flow *client, *server;
static uint32_t accepted, connections = 10000;

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener, (void)arg;
    struct sim_flow *flow = &server[accepted++];
    *flow = (struct sim_flow){.to_send = BYTES, .tx_key = 2, .rx_key = 1, .stays_open = true};
    sim_flow_attach(flow, tcp_given);
}

static uint32_t run_all(struct sim_pair *pair, mir_time_us us)
{
    uint32_t whole = 0;
    (void)mir_sim_run(pair->sim, mir_sim_now(pair->sim) + us);
    for (uint32_t i = 0; i < connections; i++)
        whole += client[i].received == BYTES && server[i].received == BYTES;
    return whole;
}

int main(int argc, char **argv)
{
    struct sim_pair pair;
    struct sim_pair_config config = {0};
    struct mir_tcp_listen_config listen = {.on_accept = on_accept, .backlog = 4096};
    struct mir_tcp_listener *listener;
    tap_begin("idle");
    config.seed = tap_seed(argc, argv, 1);
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--count") == 0)
            connections = (uint32_t)strtoul(argv[i + 1], NULL, 10);
    client = calloc(connections, sizeof *client);
    server = calloc(connections, sizeof *server);
    for (int i = 0; i < 2; i++) {
        config.node[i].memory_bytes = ((size_t)64 << 20) + (size_t)connections * 4096;
        config.wire[i] = (struct mir_sim_wire_config){.rate_bps = 10000000000ull, .delay_us = 100};
    }
    for (int i = 0; i < 2; i++) {
        config.node[i].net.tcp_connections_max = connections + 1;
        config.node[i].net.tcp_listeners_max = 64 + connections / PORT_EACH;
        config.node[i].net.tcp_time_wait_max = connections;
    }
    sim_pair_open(&pair, &config);
    listen.local.ip = mir_ip_from_v4(0);
    for (uint32_t i = 0; i <= connections / PORT_EACH; i++) {
        listen.local.port = (uint16_t)(1000 + i);
        check_int(mir_tcp_listen(pair.node[1]->stack, &listen, &listener), ==, 0);
    }

    tap_case("%u connections carry data and come to rest", connections);
    listen.local.ip = mir_ip_from_v4(SIM_PAIR_IP(1));
    for (uint32_t i = 0; i < connections; i++) {
        listen.local.port = (uint16_t)(1000 + i / PORT_EACH);
        client[i] =
            (struct sim_flow){.to_send = BYTES, .tx_key = 1, .rx_key = 2, .stays_open = true};
        check_int(sim_flow_connect(&client[i], pair.node[0]->stack, &listen.local), ==, 0);
        if (i % 100 == 99)
            (void)mir_sim_run(pair.sim, mir_sim_now(pair.sim) + 10000);
    }
    check_int(run_all(&pair, 100 * MIR_US_PER_S), ==, connections);
    check_int(accepted, ==, connections);

    tap_case("an idle connection takes at most %d bytes of page memory", LIMIT_BYTES);
    for (int i = 0; i < 2; i++) {
        size_t used = mir_page_pool_used_bytes(&pair.node[i]->pages) - pair.idle_bytes[i];
        check_int(used / connections, <=, LIMIT_BYTES);
        tap_note("%s: %zu bytes a connection, %u timers set", i == 0 ? "client" : "server",
                 used / connections, pair.node[i]->loop.timer_count);
    }

    tap_case("at rest nothing happens: no event in an hour");
    struct mir_sim_stats before, after;
    mir_sim_get_stats(pair.sim, &before);
    check_int(run_all(&pair, 3600 * MIR_US_PER_S), ==, connections);
    mir_sim_get_stats(pair.sim, &after);
    /* Neighbours are asked for now and then; connections are not what causes it. */
    check_int(after.frames - before.frames, <, 200);
    tap_note("%llu events, %llu frames", (unsigned long long)(after.events - before.events),
             (unsigned long long)(after.frames - before.frames));

    tap_case("they are still there, and end");
    for (uint32_t i = 0; i < connections; i++) {
        client[i].stays_open = server[i].stays_open = false;
        sim_flow_kick(&client[i]);
        sim_flow_kick(&server[i]);
        if (i % 100 == 99)
            (void)mir_sim_run(pair.sim, mir_sim_now(pair.sim) + 10000);
    }
    (void)run_all(&pair, 300 * MIR_US_PER_S);
    for (uint32_t i = 0; i < connections; i++) {
        check(client[i].is_done && client[i].error == 0);
        check(server[i].is_done && server[i].error == 0);
    }
    sim_pair_check_idle(&pair);
    (void)sim_pair_close(&pair);
    free(client);
    free(server);
    return tap_done();
}
