/* SPDX-License-Identifier: ISC */
/* Hostile and unlucky networks: floods of SYNs, fragments and ARP, readers that do not read, a wire
 * that is cut. Memory stays bounded and an honest client is served.
 *
 *   server 10.0.0.1 ----\
 *   client 10.0.0.2 -----(switch)
 *   hostile (raw)    ---/
 */
#include <string.h>

#include <mirari/bytes.h>

#include "lib/wire/csum.h"
#include "test/harness/sim_flow.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

#define SERVER_IP    0x0a000001u
#define CLIENT_IP    0x0a000002u
#define HOSTILE_IP   0x0a000063u
#define MEMORY_BYTES ((size_t)16 << 20)
#define FLOOD_GAP_US 10u /* 100,000 frames a second */

static uint64_t seed;

struct world {
    struct mir_sim *sim;
    struct mir_sim_node *server, *client, *hostile;
    struct mir_sim_wire *wire[3];
    struct mir_tcp_listener *listener;
    struct sim_flow client_flow, server_flow;
    struct mir_sim_call call;
    struct mir_rng dice;
    uint64_t flooded, to_flood;
    void (*flood_one)(struct world *w);
    size_t peak_bytes;
};

static struct world w;

/* ---- the world
 * ---------------------------------------------------------------------------------------- */

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    struct world *world = arg;
    (void)listener;
    if (world->server_flow.tcp != NULL) {
        mir_tcp_abort(tcp_given);
        return;
    }
    sim_flow_attach(&world->server_flow, tcp_given);
}

static void on_hostile_rx(void *arg, struct mir_buf *buf_given)
{
    (void)arg;
    mir_buf_release(buf_given);
}

static void plug_in(struct mir_sim_switch *hub, struct mir_sim_node *node, int i)
{
    const struct mir_sim_wire_config config = {.rate_bps = 1000000000, .delay_us = 50};
    struct mir_sim_plug *plug;
    check_int(mir_sim_switch_plug(hub, &plug), ==, 0);
    check_int(mir_sim_join(&mir_sim_first_port(node)->plug, plug, &config, NULL, &w.wire[i]), ==,
              0);
}

static void open_world(void)
{
    const struct mir_sim_node_config config = {.memory_bytes = MEMORY_BYTES};
    const struct mir_net_upper upper = {.rx = on_hostile_rx};
    struct mir_tcp_listen_config listen = {.on_accept = on_accept, .arg = &w};
    struct mir_sim_switch *hub;
    struct mir_sim_port *port;
    memset(&w, 0, sizeof w);
    mir_rng_init_u64(&w.dice, seed);
    check_int(mir_sim_open(&(struct mir_sim_config){.seed = seed}, &w.sim), ==, 0);
    check_int(mir_sim_add_host(w.sim, &config, NULL, "10.0.0.1/24", &w.server), ==, 0);
    check_int(mir_sim_add_host(w.sim, &config, NULL, "10.0.0.2/24", &w.client), ==, 0);
    check_int(mir_sim_add_node(w.sim, &(struct mir_sim_node_config){.is_raw = true}, &w.hostile),
              ==, 0);
    check_int(mir_sim_add_port(w.hostile, &(struct mir_sim_port_config){0}, &port), ==, 0);
    check_int(mir_net_dev_start(&port->dev, &upper), ==, 0);
    check_int(mir_sim_add_switch(w.sim, "hub", &hub), ==, 0);
    plug_in(hub, w.server, 0);
    plug_in(hub, w.client, 1);
    plug_in(hub, w.hostile, 2);
    listen.local.port = 80;
    listen.local.ip = mir_ip_from_v4(0);
    check_int(mir_tcp_listen(w.server->stack, &listen, &w.listener), ==, 0);
    /* Addresses are announced before anything hostile happens. */
    (void)mir_sim_run(w.sim, mir_sim_now(w.sim) + 10 * MIR_US_PER_S);
}

static void close_world(void)
{
    struct mir_sim_stats stats;
    sim_flow_fini(&w.client_flow);
    sim_flow_fini(&w.server_flow);
    mir_sim_get_stats(w.sim, &stats);
    check_int(stats.violations, ==, 0);
    check_int(mir_sim_close(w.sim), ==, 0);
}

/* ---- floods
 * -------------------------------------------------------------------------------------------- */

static void send_raw(const uint8_t *frame, uint32_t len)
{
    struct mir_buf *buf = mir_buf_alloc_page(&w.hostile->bufs, len, 0);
    if (!check(buf != NULL))
        return;
    memcpy(mir_buf_append(buf, len), frame, len);
    check_int(mir_net_dev_tx(&mir_sim_first_port(w.hostile)->dev, buf), ==, 0);
}

static void put_eth(uint8_t *f, const uint8_t *dst, uint16_t type)
{
    memcpy(f, dst, 6);
    memcpy(f + 6, mir_sim_first_port(w.hostile)->dev.info.mac, 6);
    mir_put_be16(f + 12, type);
}

static void put_ip(uint8_t *f, uint32_t src, uint32_t dst, uint8_t protocol, uint32_t payload,
                   uint16_t fragment)
{
    put_eth(f, mir_sim_first_port(w.server)->dev.info.mac, 0x0800);
    memset(f + 14, 0, 20);
    f[14] = 0x45;
    mir_put_be16(f + 16, (uint16_t)(20 + payload));
    mir_put_be16(f + 18, (uint16_t)mir_rng_u32(&w.dice));
    mir_put_be16(f + 20, fragment);
    f[22] = 64;
    f[23] = protocol;
    mir_put_be32(f + 26, src);
    mir_put_be32(f + 30, dst);
    uint16_t sum = (uint16_t)~mir__csum_partial(f + 14, 20);
    memcpy(f + 24, &sum, 2);
}

/* From addresses that do not exist, here and elsewhere. */
static void flood_syn(struct world *world)
{
    uint8_t f[60] = {0};
    uint32_t from = mir_rng_below(&world->dice, 2) == 0
                        ? 0x0a000000u + 100 + mir_rng_below(&world->dice, 100)
                        : 0xc0a80000u + mir_rng_below(&world->dice, 65536);
    struct mir_ip src = mir_ip_from_v4(from), dst = mir_ip_from_v4(SERVER_IP);
    put_ip(f, from, SERVER_IP, 6, 20, 0);
    mir_put_be16(f + 34, (uint16_t)(1024 + mir_rng_below(&world->dice, 60000)));
    mir_put_be16(f + 36, 80);
    mir_put_be32(f + 38, mir_rng_u32(&world->dice));
    f[46] = 5 << 4;
    f[47] = 2; /* SYN */
    mir_put_be16(f + 48, 65535);
    uint16_t sum = (uint16_t)~mir__csum_add(mir__csum_partial(f + 34, 20),
                                            mir__csum_pseudo(&src, &dst, 6, 20));
    memcpy(f + 50, &sum, 2);
    send_raw(f, 60);
}

/* Pieces of datagrams that never become whole. */
static void flood_fragments(struct world *world)
{
    uint8_t f[14 + 20 + 1400];
    uint16_t offset = (uint16_t)(mir_rng_below(&world->dice, 40) * 175);
    memset(f, 0x5a, sizeof f);
    put_ip(f, 0x0a000000u + 100 + mir_rng_below(&world->dice, 100), SERVER_IP, 17, 1400,
           (uint16_t)(0x2000 | (offset & 0x1fff)));
    send_raw(f, sizeof f);
}

/* Requests and unasked-for replies from a thousand neighbours, and lies about the client. */
static void flood_arp(struct world *world)
{
    static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};
    uint8_t f[42];
    bool is_reply = mir_rng_below(&world->dice, 2) == 0;
    uint32_t sender = 0x0a000000u + 3 + mir_rng_below(&world->dice, 250);
    put_eth(f, is_reply ? mir_sim_first_port(world->server)->dev.info.mac : broadcast, 0x0806);
    static const uint8_t head[6] = {0, 1, 8, 0, 6, 4};
    memcpy(f + 14, head, 6);
    mir_put_be16(f + 20, is_reply ? 2 : 1);
    mir_put_be16(f + 22, 0x0200);
    mir_put_be32(f + 24, mir_rng_u32(&world->dice));
    mir_put_be32(f + 28, sender);
    memset(f + 32, 0, 6);
    mir_put_be32(f + 38, SERVER_IP);
    send_raw(f, sizeof f);
}

static void flood(void *arg)
{
    struct world *world = arg;
    world->flood_one(world);
    world->peak_bytes = MIR_MAX(world->peak_bytes, mir_page_pool_used_bytes(&world->server->pages));
    if (++world->flooded < world->to_flood)
        mir_sim_at(world->sim, &world->call, mir_sim_now(world->sim) + FLOOD_GAP_US);
}

static void start_flood(void (*flood_one)(struct world *world), uint64_t count)
{
    w.flood_one = flood_one;
    w.to_flood = count;
    w.call.run = flood;
    w.call.arg = &w;
    mir_sim_at(w.sim, &w.call, mir_sim_now(w.sim));
}

static void connect_client(void)
{
    struct mir_endpoint to = {.ip = mir_ip_from_v4(SERVER_IP), .port = 80};
    check_int(sim_flow_connect(&w.client_flow, w.client->stack, &to), ==, 0);
}

/* 100 KB each way in the middle of the flood. */
static void check_honest_client(void)
{
    w.client_flow = (struct sim_flow){.to_send = 100000, .tx_key = 1, .rx_key = 2};
    w.server_flow = (struct sim_flow){.to_send = 100000, .tx_key = 2, .rx_key = 1};
    (void)mir_sim_run(w.sim, mir_sim_now(w.sim) + MIR_US_PER_S / 2);
    check_int(w.flooded, <, w.to_flood);
    connect_client();
    (void)mir_sim_run(w.sim, mir_sim_now(w.sim) + 60 * MIR_US_PER_S);
    check_int(w.client_flow.error, ==, 0);
    check_int(w.client_flow.received, ==, 100000);
    check_int(w.server_flow.received, ==, 100000);
    check_int(w.client_flow.wrong_at, ==, 0);
    check(w.client_flow.is_done && w.server_flow.is_done);
}

static void test_flood(const char *title, void (*flood_one)(struct world *world),
                       const char *must_be_counted)
{
    tap_case("%s: memory bounded, an honest client is served", title);
    open_world();
    size_t before = mir_page_pool_used_bytes(&w.server->pages);
    start_flood(flood_one, 300000);
    check_honest_client();
    check_int(w.flooded, ==, w.to_flood);
    check_int(w.peak_bytes, <, MEMORY_BYTES * 3 / 4);
    check_int(sim_stat(w.server->stack, must_be_counted), >, 0);
    /* Everything that was held for the flood goes in time. */
    (void)mir_sim_run(w.sim, mir_sim_now(w.sim) + 300 * MIR_US_PER_S);
    check_int(sim_stat(w.server->stack, "tcp_half_open"), ==, 0);
    check_int(sim_stat(w.server->stack, "reassembly_bytes"), ==, 0);
    check_int(sim_stat(w.server->stack, "buffers_used"), ==, 0);
    tap_note("pages: %zu KiB before, %zu at the peak; %s %llu", before >> 10, w.peak_bytes >> 10,
             must_be_counted, (unsigned long long)sim_stat(w.server->stack, must_be_counted));
    close_world();
}

/* ---- readers and wires
 * ------------------------------------------------------------------------------------ */

static void test_slow_reader(void)
{
    tap_case("a reader that rests for an hour: memory bounded, then everything arrives");
    open_world();
    w.client_flow = (struct sim_flow){.to_send = 20u << 20, .tx_key = 1, .rx_key = 2};
    w.server_flow = (struct sim_flow){.tx_key = 2, .rx_key = 1, .is_paused = true};
    connect_client();
    (void)mir_sim_run(w.sim, mir_sim_now(w.sim) + 3600 * MIR_US_PER_S);
    check_int(w.client_flow.error, ==, 0);
    check_int(w.client_flow.sent, <, 8u << 20);
    check_int(w.server_flow.received, ==, 0);
    check_int(mir_page_pool_used_bytes(&w.server->pages), <, MEMORY_BYTES / 2);
    check_int(sim_stat(w.client->stack, "tcp_persist_probes"), >, 20);
    w.server_flow.is_paused = false;
    sim_flow_kick(&w.server_flow);
    (void)mir_sim_run(w.sim, mir_sim_now(w.sim) + 100 * MIR_US_PER_S);
    check_int(w.server_flow.received, ==, 20u << 20);
    check_int(w.server_flow.wrong_at, ==, 0);
    close_world();

    tap_case("a reader that takes a piece now and then gets no silly windows");
    open_world();
    w.client_flow = (struct sim_flow){.to_send = 3000000, .tx_key = 1, .rx_key = 2};
    w.server_flow = (struct sim_flow){.tx_key = 2, .rx_key = 1, .is_paused = true};
    connect_client();
    for (int i = 0; i < 2000 && w.server_flow.received < w.client_flow.to_send; i++) {
        struct mir_view view;
        (void)mir_sim_run(w.sim, mir_sim_now(w.sim) + 20000);
        if (w.server_flow.tcp != NULL && i == 0)
            check_int(mir_tcp_set_option(w.server_flow.tcp, MIR_TCP_RCVBUF, 16384), ==, 0);
        if (w.server_flow.tcp == NULL || mir_tcp_recv_view(w.server_flow.tcp, &view) < 0)
            continue;
        w.server_flow.received += view.len;
        mir_view_release(&view);
    }
    uint64_t segments = sim_stat(w.client->stack, "tcp_segs_out");
    tap_note("%llu segments for %llu bytes", (unsigned long long)segments,
             (unsigned long long)w.server_flow.received);
    /* Full segments, and no more acknowledgments and probes than those. */
    check_int(w.server_flow.received, >, 2000000);
    check_int(segments, <, 2 * w.server_flow.received / 1448);
    close_world();
}

static void test_partition(void)
{
    tap_case("a cut wire heals: the connection goes on");
    open_world();
    w.client_flow = (struct sim_flow){.to_send = 30u << 20, .tx_key = 1, .rx_key = 2};
    w.server_flow = (struct sim_flow){.to_send = 5u << 20, .tx_key = 2, .rx_key = 1};
    connect_client();
    for (int i = 0; i < 3; i++) {
        (void)mir_sim_run(w.sim, mir_sim_now(w.sim) + 100000);
        mir_sim_wire_cut(w.wire[0], 0, true);
        mir_sim_wire_cut(w.wire[0], 1, i != 1);
        (void)mir_sim_run(w.sim, mir_sim_now(w.sim) + (uint64_t)(10 + 20 * i) * MIR_US_PER_S);
        mir_sim_wire_cut(w.wire[0], 0, false);
        mir_sim_wire_cut(w.wire[0], 1, false);
    }
    (void)mir_sim_run(w.sim, mir_sim_now(w.sim) + 200 * MIR_US_PER_S);
    check_int(w.client_flow.error, ==, 0);
    check_int(w.client_flow.received, ==, 5u << 20);
    check_int(w.server_flow.received, ==, 30u << 20);
    check_int(w.client_flow.wrong_at, ==, 0);
    check_int(w.server_flow.wrong_at, ==, 0);
    close_world();

    tap_case("a wire that stays cut ends the connection, both sides");
    open_world();
    w.client_flow = (struct sim_flow){.to_send = 30u << 20, .tx_key = 1, .rx_key = 2};
    w.server_flow = (struct sim_flow){.to_send = 5u << 20, .tx_key = 2, .rx_key = 1};
    connect_client();
    (void)mir_sim_run(w.sim, mir_sim_now(w.sim) + 20000);
    check_int(w.server_flow.received, >, 0);
    mir_sim_wire_cut(w.wire[0], 0, true);
    mir_sim_wire_cut(w.wire[0], 1, true);
    (void)mir_sim_run(w.sim, mir_sim_now(w.sim) + 3600 * MIR_US_PER_S);
    check(w.client_flow.is_done && w.server_flow.is_done);
    check(w.client_flow.error == -MIR_ETIMEDOUT || w.client_flow.error == -MIR_EHOSTUNREACH);
    check(w.server_flow.error == -MIR_ETIMEDOUT || w.server_flow.error == -MIR_EHOSTUNREACH);
    check_int(sim_stat(w.server->stack, "tcp_connections"), ==, 0);
    check_int(sim_stat(w.client->stack, "tcp_connections"), ==, 0);
    close_world();
}

int main(int argc, char **argv)
{
    tap_begin("flood");
    seed = tap_seed(argc, argv, 1);
    test_flood("SYN flood", flood_syn, "tcp_cookies_sent");
    test_flood("flood of fragments", flood_fragments, "ip_reassembly_limit");
    test_flood("ARP flood", flood_arp, "arp_in");
    test_slow_reader();
    test_partition();
    return tap_done();
}
