/* SPDX-License-Identifier: ISC */
/* Two simulated hosts on one wire, and what must hold when they are at rest. */
#include "test/harness/sim_pair.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "test/harness/tap.h"

void sim_pair_open(struct sim_pair *pair, const struct sim_pair_config *config)
{
    static const char *const address[2] = {"10.0.0.1/24", "10.0.0.2/24"};
    memset(pair, 0, sizeof *pair);
    pair->seed = config->seed;
    check_int(mir_sim_open(&(struct mir_sim_config){.seed = config->seed}, &pair->sim), ==, 0);
    for (int i = 0; i < 2; i++) {
        check_int(mir_sim_add_host(pair->sim, &config->node[i], &config->port[i], address[i],
                                   &pair->node[i]),
                  ==, 0);
        pair->idle_bytes[i] = mir_page_pool_used_bytes(&pair->node[i]->pages);
    }
    check_int(mir_sim_join(&mir_sim_first_port(pair->node[0])->plug,
                           &mir_sim_first_port(pair->node[1])->plug, &config->wire[0],
                           &config->wire[1], &pair->wire),
              ==, 0);
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener;
    sim_flow_attach(arg, tcp_given);
}

void sim_pair_begin(struct sim_pair *pair, struct sim_flow *client, struct sim_flow *server,
                    uint64_t bytes)
{
    struct mir_tcp_listen_config listen = {.on_accept = on_accept, .arg = server};
    struct mir_tcp_listener *listener;
    uint64_t seed = pair->seed;
    *client = (struct sim_flow){.to_send = bytes, .tx_key = seed, .rx_key = 2, .chunk = 60000};
    *server = (struct sim_flow){.tx_key = 2, .rx_key = seed};
    listen.local.port = 80;
    listen.local.ip = mir_ip_from_v4(0);
    check_int(mir_tcp_listen(pair->node[1]->stack, &listen, &listener), ==, 0);
    listen.local.ip = mir_ip_from_v4(SIM_PAIR_IP(1));
    check_int(sim_flow_connect(client, pair->node[0]->stack, &listen.local), ==, 0);
}

void sim_pair_finish(struct sim_pair *pair, struct sim_flow *client, struct sim_flow *server)
{
    (void)mir_sim_run(pair->sim, mir_sim_now(pair->sim) + 500 * MIR_US_PER_S);
    sim_pair_check_idle(pair);
    sim_flow_fini(client);
    sim_flow_fini(server);
    (void)sim_pair_close(pair);
}

struct lookup {
    const char *name;
    uint64_t value;
    bool is_found;
};

static void on_line(void *arg, const char *name, uint64_t value)
{
    struct lookup *lookup = arg;
    if (strcmp(name, lookup->name) == 0) {
        lookup->value = value;
        lookup->is_found = true;
    }
}

uint64_t sim_stat(struct mir_stack *stack, const char *name)
{
    struct lookup lookup = {.name = name};
    stack->ops->stats(stack, on_line, &lookup);
    if (!check(lookup.is_found))
        tap_note("no statistic is called %s", name);
    return lookup.value;
}

void sim_pair_check_idle(struct sim_pair *pair)
{
    static const char *const zero[] = {"tcp_connections",       "tcp_half_open",
                                       "tcp_time_wait",         "buffers_used",
                                       "tcp_memory_used_bytes", "reassembly_bytes"};
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < sizeof zero / sizeof zero[0]; k++) {
            if (!check_int(sim_stat(pair->node[i]->stack, zero[k]), ==, 0))
                tap_note("node %d: %s", i, zero[k]);
        }
    }
}

uint64_t sim_pair_close(struct sim_pair *pair)
{
    struct mir_sim_stats stats;
    uint64_t hash = mir_sim_hash(pair->sim);
    mir_sim_get_stats(pair->sim, &stats);
    check_int(stats.violations, ==, 0);
    check_int(mir_sim_close(pair->sim), ==, 0);
    pair->sim = NULL;
    return hash;
}

size_t sim_host_memory(void)
{
    unsigned long total, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fscanf(file, "%lu %lu", &total, &resident) != 2)
            resident = 0;
        fclose(file);
    }
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}
