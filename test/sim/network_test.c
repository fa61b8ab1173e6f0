/* SPDX-License-Identifier: ISC */
/* Whole networks: the same run for the same seed, a thousand nodes, routers on the way, path MTU,
 * IPv6, clocks that drift and jump, and the faults that can be planted.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "target/sim/topology.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

static uint64_t seed;

static struct mir__world_result run(const char *text, uint64_t with_seed, const char *plant)
{
    static struct mir__world world;
    char error[MIR__TOPO_ERROR_MAX] = "";
    struct mir__topo topo;
    if (!check_int(mir__topo_parse(text, "text", &topo, error), ==, 0) ||
        !check_int(
            mir__world_build(&topo, &(struct mir_sim_config){.seed = with_seed}, &world, error), ==,
            0)) {
        tap_note("%s", error);
        return (struct mir__world_result){0};
    }
    if (plant != NULL)
        check(mir__world_plant(&world, plant));
    mir__world_run(&world, 0);
    mir__world_close(&world);
    mir__topo_free(&topo);
    return world.result;
}

static void check_good(const struct mir__world_result *result, uint32_t flows)
{
    check_str(result->first, "");
    check_int(result->done, ==, flows);
    check_int(result->failed + result->hung + result->wrong, ==, 0);
    check_int(result->violations, ==, 0);
    check_int(result->left_bytes, ==, 0);
    check_int(result->watched, >, 0);
}

static const char dumbbell[] =
    "host l*3\nhost r*3\nrouter west\nrouter mid\nrouter east\n"
    "link l* west rate=100m delay=1ms\nlink r* east rate=100m delay=1ms\n"
    "link west mid rate=20m delay=5ms loss=1% jitter=2ms\n"
    "link mid east rate=20m delay=5ms reorder=2% dup=1% corrupt=1%\n"
    "run r1 sink\nrun r2 echo\nrun r3 web bytes=20k\n"
    "run l1 send to=r1 bytes=500k flows=2\nrun l2 ask to=r2 bytes=100k\n"
    "run l3 http to=r3 flows=3 count=4\n"
    "run l3 udp to=r1 count=50 every=1ms\n";

static void test_replay(void)
{
    tap_case("the same seed is the same run, another seed is another");
    struct mir__world_result a = run(dumbbell, seed, NULL), b = run(dumbbell, seed, NULL);
    struct mir__world_result c = run(dumbbell, seed + 1, NULL);
    check_good(&a, 6);
    check_good(&c, 6);
    check(a.hash == b.hash && a.events == b.events);
    check(a.hash != c.hash);
    tap_note("run %016llx, %llu events", (unsigned long long)a.hash, (unsigned long long)a.events);
}

static void test_thousand(void)
{
    static const char text[] = "host server memory=64m\nhost client*1000 memory=512k\nrouter core\n"
                               "link server core rate=1g delay=1ms queue=512k\n"
                               "link client* core rate=20m delay=10ms jitter=5ms loss=0.1%\n"
                               "run server web bytes=10k\n"
                               "run client* http to=server count=5 start=10ms\n";
    struct timespec before, after;
    tap_case("a thousand clients in one process");
    size_t memory = sim_host_memory();
    clock_gettime(CLOCK_MONOTONIC, &before);
    struct mir__world_result result = run(text, seed, NULL);
    clock_gettime(CLOCK_MONOTONIC, &after);
    check_good(&result, 1000);
    double took =
        (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    tap_note("%llu events in %.2f s: %.0f a second; %zu KiB left in use afterwards",
             (unsigned long long)result.events, took, (double)result.events / took,
             (sim_host_memory() - memory) / 1024);
    check_int(result.bytes, >, 50000000);
}

static void test_paths(void)
{
    struct mir__world_result result;
    tap_case("a small MTU on the way is discovered; a smaller one later too");
    result = run("host a\nhost b\nrouter r\nrouter s\nlink a r rate=50m delay=2ms\n"
                 "link r s name=mid rate=20m delay=5ms mtu=1400\nlink s b rate=50m delay=2ms\n"
                 "run b sink\nrun a send to=b bytes=4m\nat 800ms link mid mtu=900\n",
                 seed, NULL);
    check_good(&result, 1);

    tap_case("over IPv6, through routers, a small MTU on the way");
    result = run("host a\nhost b\nrouter r\nrouter s\nlink a r rate=50m delay=2ms\n"
                 "link r s rate=20m delay=5ms mtu=1400 loss=0.5%\nlink s b rate=50m delay=2ms\n"
                 "run b sink\nrun a send to=b bytes=1m ip=6 start=3s\n",
                 seed, NULL);
    check_good(&result, 1);

    tap_case("hosts that take their IPv6 addresses from routers, behind switches, over bad wires");
    result = run("host a*3\nhost b*2\nrouter r advertise=on\nrouter s advertise=on\n"
                 "switch x\nswitch y\nlink a* x rate=50m delay=1ms loss=5%\nlink x r\n"
                 "link r s rate=20m delay=5ms mtu=1400 loss=0.5%\nlink s y\n"
                 "link y b* rate=50m delay=1ms loss=5% dup=2%\n"
                 "run b1 sink\nrun b2 echo\nrun a* send to=b1 bytes=300k ip=6\n"
                 "run a* ask to=b2 bytes=30k ip=6\nrun a2 echo\nrun b1 ask to=a2 bytes=30k ip=6\n",
                 seed, NULL);
    check_good(&result, 7);

    tap_case("without a router that advertises addresses are given as before");
    result = run("host a\nhost b\nrouter r advertise=off\nlink a r delay=1ms\nlink r b delay=1ms\n"
                 "run b sink\nrun a send to=b bytes=100k ip=6 start=3s\n",
                 seed, NULL);
    check_good(&result, 1);

    tap_case("a cut of five seconds is survived");
    result = run(
        "host a\nhost b\nlink a b name=wire rate=10m delay=5ms\n"
        "run b sink\nrun a send to=b bytes=2m\nat 500ms link wire down\nat 5500ms link wire up\n",
        seed, NULL);
    check_good(&result, 1);
    check_int(result.took_us, >, 6000000);

    tap_case("clocks that drift by 300 ppm, jump an hour ahead and back");
    result = run("host a drift=300ppm\nhost b drift=-300ppm\nlink a b rate=10m delay=20ms loss=1%\n"
                 "run b sink\nrun a send to=b bytes=3m\nat 1s clock a jump=3600s\n"
                 "at 2s clock b jump=-3600s\nat 2s clock a drift=-100ppm\n",
                 seed, NULL);
    check_good(&result, 1);

    tap_case("a reader of 20 kB/s: windows close and open");
    result = run("host a rcvbuf=16k\nhost b rcvbuf=16k\nlink a b rate=10m delay=5ms loss=1%\n"
                 "run b sink rate=20k\nrun a send to=b bytes=200k\n",
                 seed, NULL);
    check_good(&result, 1);
    check_int(result.took_us, >, 5000000);
}

static void test_floor(void)
{
    static const char text[] = "host a\nhost b\nrouter r\nrouter s\nlink a r rate=50m delay=2ms\n"
                               "link r s name=mid rate=20m delay=5ms\n"
                               "link s b rate=50m delay=2ms\nrun b sink\n"
                               "run a send to=b bytes=20m\n"
                               "at 300ms link mid down\nat 10s link mid mtu=1400\n"
                               "at 20s link mid up\n";
    static struct mir__world world;
    struct mir_sim_router_stats stats;
    char error[MIR__TOPO_ERROR_MAX];
    struct mir__topo topo;
    tap_case("after an outage the probe of a full segment is not fragmented on the way");
    check_int(mir__topo_parse(text, "text", &topo, error), ==, 0);
    check_int(mir__world_build(&topo, &(struct mir_sim_config){.seed = seed}, &world, error), ==,
              0);
    mir__world_run(&world, 0);
    mir_sim_router_get_stats(world.nodes[2].router, &stats);
    mir__world_close(&world);
    mir__topo_free(&topo);
    check_good(&world.result, 1);
    check_int(stats.fragments, ==, 0);
    tap_note("%llu forwarded, %llu too big", (unsigned long long)stats.forwarded,
             (unsigned long long)stats.too_big);
}

static void test_drift(void)
{
    struct mir_sim *sim;
    struct mir_sim_node *node;
    struct mir_sim_node_config config = {.name = "n", .memory_bytes = 1 << 20, .is_raw = true};
    tap_case("a clock shows what its drift and its jumps say");
    check_int(mir_sim_open(&(struct mir_sim_config){.seed = 1}, &sim), ==, 0);
    check_int(mir_sim_add_node(sim, &config, &node), ==, 0);
    mir_time_us began_us = node->clock.monotonic(&node->clock);
    mir_time_us wall_us = node->clock.wall(&node->clock);
    mir_sim_node_drift(node, 100000);
    (void)mir_sim_run(sim, mir_sim_now(sim) + 10 * MIR_US_PER_S);
    check_int(node->clock.monotonic(&node->clock) - began_us, ==, 11000000);
    check_int(node->clock.wall(&node->clock) - wall_us, ==, 11000000);
    mir_sim_node_jump(node, 5000000);
    check_int(node->clock.monotonic(&node->clock) - began_us, ==, 16000000);
    check_int(node->clock.wall(&node->clock) - wall_us, ==, 16000000);
    mir_sim_node_jump(node, -7000000);
    check_int(node->clock.monotonic(&node->clock) - began_us, ==, 16000000);
    check_int(node->clock.wall(&node->clock) - wall_us, ==, 9000000);
    mir_sim_node_drift(node, 0);
    (void)mir_sim_run(sim, mir_sim_now(sim) + MIR_US_PER_S);
    check_int(node->clock.monotonic(&node->clock) - began_us, ==, 17000000);
    check_int(node->clock.wall(&node->clock) - wall_us, ==, 10000000);
    check_int(mir_sim_close(sim), ==, 0);
}

static void test_plants(void)
{
    struct mir__world_result result;
    tap_case("planted faults are seen: a wrong ACK, a wrong byte, a lost page");
    fflush(stdout);
    result = run(dumbbell, seed, "ack");
    check_str(result.first, "ACK of data that was never sent");
    check_int(result.violations, >, 0);
    result = run("host a\nhost b\nlink a b rate=10m\nrun b sink\nrun a send to=b\n", seed, "data");
    check_int(result.wrong, >, 0);
    result = run(dumbbell, seed, "leak");
    check_int(result.left_bytes, ==, 4096);
}

int main(int argc, char **argv)
{
    tap_begin("network");
    seed = tap_seed(argc, argv, 1);
    test_replay();
    test_thousand();
    test_paths();
    test_floor();
    test_drift();
    test_plants();
    return tap_done();
}
