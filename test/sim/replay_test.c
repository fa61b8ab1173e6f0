/* SPDX-License-Identifier: ISC */
/* A run is a function of its seed: the same one in this process, in a later world, and in another
 * process, whose addresses differ.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "test/harness/sim_flow.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

#define HOSTS 8
#define FLOWS (HOSTS - 1)

/* ---- two hosts, a bad wire
 * ------------------------------------------------------------------------- */

static struct sim_flow client, server;

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener, (void)arg;
    sim_flow_attach(&server, tcp_given);
}

static uint64_t run_pair(uint64_t seed)
{
    struct sim_pair pair;
    struct sim_pair_config config = {.seed = seed};
    struct mir_tcp_listen_config listen = {.on_accept = on_accept};
    struct mir_tcp_listener *listener;
    size_t at;
    for (int i = 0; i < 2; i++)
        check_int(mir_sim_wire_parse("rate=20m,delay=3ms,jitter=1ms,loss=3%,dup=2%,reorder=3%,"
                                     "corrupt=1%,burst=0.2%/30%",
                                     &config.wire[i], &at),
                  ==, 0);
    sim_pair_open(&pair, &config);
    client = (struct sim_flow){.to_send = 300000, .tx_key = 1, .rx_key = 2};
    server = (struct sim_flow){.to_send = 200000, .tx_key = 2, .rx_key = 1};
    listen.local.ip = mir_ip_from_v4(SIM_PAIR_IP(1));
    listen.local.port = 80;
    check_int(mir_tcp_listen(pair.node[1]->stack, &listen, &listener), ==, 0);
    check_int(sim_flow_connect(&client, pair.node[0]->stack, &listen.local), ==, 0);
    (void)mir_sim_run(pair.sim, mir_sim_now(pair.sim) + 300 * MIR_US_PER_S);
    check_int(client.received, ==, 200000);
    check_int(server.received, ==, 300000);
    return sim_pair_close(&pair);
}

/* ---- a switch with many hosts, tasks that talk
 * ------------------------------------------------------- */

struct talker {
    struct mir_sim_node *node;
    uint64_t received;
};

static struct talker talkers[HOSTS];
static struct sim_flow echo[FLOWS];
static uint32_t echo_count;

static void on_talk_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    struct sim_flow *flow = &echo[echo_count++];
    (void)listener;
    (void)arg;
    *flow = (struct sim_flow){.is_echo = true, .rx_key = 5};
    sim_flow_attach(flow, tcp_given);
}

/* A client written as a task: stacks and switches are part of the run. */
static void talk(void *arg)
{
    struct talker *talker = arg;
    struct mir_loop *loop = &talker->node->loop;
    struct mir_endpoint to = {.ip = mir_ip_from_v4(0x0a000001), .port = 7};
    struct mir_tcp_task flow;
    struct mir_view view;
    uint8_t data[2000];
    mir_time_us deadline_us = mir_loop_now(loop) + 100 * MIR_US_PER_S;
    (void)mir_task_sleep(loop, mir_loop_now(loop) + mir_rng_below(&talker->node->rng, 50000));
    if (mir_tcp_connect_wait(talker->node->stack, &to, deadline_us, &flow) < 0)
        return;
    for (uint64_t sent = 0; sent < 40000; sent += sizeof data) {
        sim_flow_pattern(5, sent, data, sizeof data);
        if (mir_tcp_send_wait(&flow, data, sizeof data, deadline_us) < 0)
            break;
        while (talker->received < sent + sizeof data &&
               mir_tcp_recv_view_wait(&flow, deadline_us, &view) == 0) {
            talker->received += view.len;
            mir_view_release(&view);
        }
    }
    mir_tcp_task_close(&flow);
}

static uint64_t run_many(uint64_t seed)
{
    static const char *const address[HOSTS] = {"10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24",
                                               "10.0.0.4/24", "10.0.0.5/24", "10.0.0.6/24",
                                               "10.0.0.7/24", "10.0.0.8/24"};
    const struct mir_sim_wire_config wire = {
        .rate_bps = 100000000, .delay_us = 500, .jitter_us = 300, .loss_ppm = 10000};
    const struct mir_sim_node_config config = {.memory_bytes = 8u << 20};
    struct mir_tcp_listen_config listen = {.on_accept = on_talk_accept};
    struct mir_tcp_listener *listener;
    struct mir_sim_switch *hub;
    struct mir_sim_plug *plug;
    struct mir_sim *sim;
    check_int(mir_sim_open(&(struct mir_sim_config){.seed = seed}, &sim), ==, 0);
    check_int(mir_sim_add_switch(sim, "hub", &hub), ==, 0);
    for (int i = 0; i < HOSTS; i++) {
        struct mir_sim_node *node;
        check_int(mir_sim_add_host(sim, &config, NULL, address[i], &node), ==, 0);
        check_int(mir_sim_switch_plug(hub, &plug), ==, 0);
        check_int(mir_sim_join(&mir_sim_first_port(node)->plug, plug, &wire, NULL, NULL), ==, 0);
        talkers[i] = (struct talker){.node = node};
    }
    listen.local.port = 7;
    listen.local.ip = mir_ip_from_v4(0);
    check_int(mir_tcp_listen(talkers[0].node->stack, &listen, &listener), ==, 0);
    for (int i = 1; i < HOSTS; i++)
        check_int(mir_task_spawn(&talkers[i].node->loop, &talkers[i].node->stacks, "talk", 0, talk,
                                 &talkers[i], NULL),
                  ==, 0);
    (void)mir_sim_run(sim, mir_sim_now(sim) + 200 * MIR_US_PER_S);
    for (int i = 1; i < HOSTS; i++)
        check_int(talkers[i].received, ==, 40000);
    check_int(echo_count, ==, FLOWS);
    while (echo_count > 0)
        sim_flow_fini(&echo[--echo_count]);
    uint64_t hash = mir_sim_hash(sim);
    check_int(mir_sim_close(sim), ==, 0);
    return hash;
}

/* ---- another process
 * ---------------------------------------------------------------------------------- */

static uint64_t run_elsewhere(const char *program, uint64_t seed)
{
    char command[4200], line[200];
    unsigned long long hash = 0;
    snprintf(command, sizeof command, "'%.4000s' --print --seed %llu", program,
             (unsigned long long)seed);
    FILE *pipe = popen(command, "r");
    if (!check(pipe != NULL))
        return 0;
    while (fgets(line, sizeof line, pipe) != NULL)
        (void)sscanf(line, "run %llx", &hash);
    check_int(pclose(pipe), ==, 0);
    return hash;
}

int main(int argc, char **argv)
{
    tap_begin("replay");
    uint64_t seed = tap_seed(argc, argv, 1);
    if (argc > 1 && strcmp(argv[1], "--print") == 0) {
        printf("run %016llx\n", (unsigned long long)(run_pair(seed) ^ run_many(seed)));
        return 0;
    }
    tap_case("two hosts: the same seed is the same run, in another world too");
    uint64_t pair_hash = run_pair(seed);
    void *shift = mmap(NULL, 1u << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check_int(pair_hash, ==, run_pair(seed));
    tap_note("run %016llx", (unsigned long long)pair_hash);

    tap_case("many hosts with tasks behind a switch: the same");
    uint64_t many_hash = run_many(seed);
    check_int(many_hash, ==, run_many(seed));
    munmap(shift, 1u << 20);

    tap_case("another seed is another run");
    check_int(pair_hash, !=, run_pair(seed + 1));
    check_int(many_hash, !=, run_many(seed + 1));

    tap_case("another process makes the same run");
    check_int(run_elsewhere(argv[0], seed), ==, pair_hash ^ many_hash);
    return tap_done();
}
