/* SPDX-License-Identifier: ISC */
/* IPv6 hosts that configure themselves on one simulated switch: tests of addresses among many, a
 * duplicate, resolution over wires that lose frames, and reachability that TCP confirms. */
#include <mirari/format.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "target/sim/sim.h"
#include "test/harness/sim_flow.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

enum { HOSTS = 16 };

static struct mir_sim *sim;
static struct mir_sim_switch *hub;
static struct mir_sim_node *host[HOSTS + 1];

static struct mir_ip ip_of(unsigned i)
{
    struct mir_ip ip = {{0x20, 1, 0x0d, 0xb8}};
    ip.bytes[15] = (uint8_t)(i + 1);
    return ip;
}

/* A host with link-local address and 2001:db8::@number, on the switch. */
static void add_host(unsigned i, unsigned number, uint32_t loss_ppm, uint64_t rate_bps)
{
    static char names[HOSTS + 1][8];
    struct mir_net_prefix own = {.ip = ip_of(number), .prefix_len = 64};
    struct mir_net_if_config interface = {
        .ip6 = MIR_IP6_STATIC, .addresses = &own, .address_count = 1};
    struct mir_sim_port_config plain = {0};
    struct mir_sim_wire_config wire = {.delay_us = 100, .loss_ppm = loss_ppm, .rate_bps = rate_bps};
    struct mir_sim_node_config config = {.name = names[i], .memory_bytes = 8 << 20};
    struct mir_sim_port *port;
    struct mir_sim_plug *plug;
    struct mir_sim_wire *made;
    mir_format(names[i], sizeof names[i], "h%u", i);
    check_int(mir_sim_add_node(sim, &config, &host[i]), ==, 0);
    check_int(mir_sim_add_port(host[i], &plain, &port), ==, 0);
    check_int(mir_sim_switch_plug(hub, &plug), ==, 0);
    check_int(mir_sim_join(&port->plug, plug, &wire, &wire, &made), ==, 0);
    check_int(mir_net_add_interface(host[i]->net, &port->dev, &interface), ==, 0);
}

static void open_world(uint64_t seed, unsigned hosts, uint32_t loss_ppm, uint64_t rate_bps)
{
    check_int(mir_sim_open(&(struct mir_sim_config){.seed = seed}, &sim), ==, 0);
    check_int(mir_sim_add_switch(sim, "hub", &hub), ==, 0);
    for (unsigned i = 0; i < hosts; i++)
        add_host(i, i, loss_ppm, rate_bps);
}

static void run_for(mir_time_us time_us)
{
    (void)mir_sim_run(sim, mir_sim_now(sim) + time_us);
}

static uint64_t stat(unsigned i, const char *name)
{
    return sim_stat(host[i]->stack, name);
}

struct count {
    unsigned preferred, duplicate, other;
};

static void each(void *arg, const struct mir_net_address *address)
{
    struct count *count = arg;
    if (address->state == MIR_NET_ADDRESS_PREFERRED)
        count->preferred++;
    else if (address->state == MIR_NET_ADDRESS_DUPLICATE)
        count->duplicate++;
    else
        count->other++;
}

static struct count count_of(unsigned i)
{
    struct count count = {0};
    mir_net_each_address(host[i]->net, each, &count);
    return count;
}

static void test_addresses(void)
{
    open_world(1, HOSTS, 0, 0);
    tap_case("%d hosts on a switch take two addresses each", HOSTS);
    run_for(3 * MIR_US_PER_S);
    for (unsigned i = 0; i < HOSTS; i++) {
        struct count count = count_of(i);
        if (count.preferred != 2 || count.other != 0)
            check_int(count.preferred, ==, 2);
        if (stat(i, "nd_duplicate") != 0)
            check_int(stat(i, "nd_duplicate"), ==, 0);
    }
    tap_case("one more with an address that is taken: it does not get it, the owner keeps it");
    add_host(HOSTS, 3, 0, 0);
    run_for(3 * MIR_US_PER_S);
    struct count late = count_of(HOSTS);
    check_int(late.preferred, ==, 1);
    check_int(late.duplicate, ==, 1);
    check_int(count_of(3).preferred, ==, 2);
    check_int(stat(HOSTS, "nd_duplicate"), ==, 1);
    check_int(mir_sim_close(sim), ==, 0);
}

/* ---- reachability --------------------------------------------------------------------------- */

static struct sim_flow client, server;

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener;
    (void)arg;
    sim_flow_attach(&server, tcp_given);
}

static void transfer(uint64_t seed, uint32_t loss_ppm)
{
    struct mir_tcp_listen_config listen = {.local = {.port = 80}, .on_accept = on_accept};
    struct mir_endpoint to = {.ip = ip_of(1), .port = 80};
    struct mir_tcp_listener *listener;
    open_world(seed, 2, loss_ppm, 2000000);
    run_for(3 * MIR_US_PER_S);
    client = (struct sim_flow){.tx_key = 7, .to_send = 30 << 20};
    server = (struct sim_flow){.rx_key = 7};
    check_int(mir_tcp_listen(host[1]->stack, &listen, &listener), ==, 0);
    check_int(sim_flow_connect(&client, host[0]->stack, &to), ==, 0);
    run_for(MIR_US_PER_S * 9 / 2);
    uint64_t asked = stat(0, "nd_solicits_out");
    run_for(115 * MIR_US_PER_S);
    tap_note("solicitations: sender %u and %u, receiver %u", (unsigned)asked,
             (unsigned)(stat(0, "nd_solicits_out") - asked), (unsigned)stat(1, "nd_solicits_out"));
    check_int(stat(0, "nd_solicits_out"), ==, asked);
    check_int(stat(1, "nd_solicits_out"), <=, 6); /* new data is progress too */
    check(server.received > 15 << 20);
    check_int(stat(0, "nd_unresolved_dropped"), ==, 0);
    run_for(600 * MIR_US_PER_S);
    check_int(server.received, ==, 30 << 20);
    check_int(server.wrong_at, ==, 0);
    mir_tcp_unlisten(listener);
    sim_flow_fini(&client);
    sim_flow_fini(&server);
    check_int(mir_sim_close(sim), ==, 0);
}

static void test_resolution(void)
{
    tap_case("frames are lost on every wire: every host finds every other in the end");
    unsigned reached = 0;
    open_world(5, 6, 50000, 0);
    run_for(5 * MIR_US_PER_S);
    for (unsigned round = 0; round < 6; round++) {
        for (unsigned i = 0; i < 6; i++) {
            for (unsigned k = 0; k < 6; k++) {
                struct mir_ip to = ip_of(k);
                if (i != k && mir__neigh_find(host[i]->net, &host[i]->net->ifaces[0], &to) == NULL)
                    mir__neigh_warm(&host[i]->net->ifaces[0], &mir__neigh_nd6, &to);
            }
        }
        run_for(12 * MIR_US_PER_S);
    }
    for (unsigned i = 0; i < 6; i++) {
        for (unsigned k = 0; k < 6; k++) {
            struct mir_ip to = ip_of(k);
            const struct mir__neigh *neigh =
                mir__neigh_find(host[i]->net, &host[i]->net->ifaces[0], &to);
            reached += neigh != NULL && mir__neigh_is_resolved(neigh);
        }
    }
    check_int(reached, >=, 29); /* of 30: three lost questions in a row leave one FAILED */
    check_int(mir_sim_close(sim), ==, 0);
}

int main(void)
{
    tap_begin("ip6_auto");
    test_addresses();
    tap_case("two minutes of TCP: it spares both ends every question");
    transfer(2, 0);
    tap_case("the same with frames lost");
    transfer(3, 5000);
    test_resolution();
    return tap_done();
}
