/* SPDX-License-Identifier: ISC */
/* The simulator's router, from hosts without a stack on either side: what comes out, byte by byte.
 *
 *   left 10.0.1.2, fd00:1::2 ---- r ---- right 10.0.2.2, fd00:2::2; 10.9.0.0/16 behind right
 */
#include <string.h>

#include "lib/wire/csum.h"
#include "lib/wire/eth.h"
#include "lib/wire/icmp4.h"
#include "lib/wire/ip4.h"
#include "target/sim/sim.h"
#include "test/harness/tap.h"

struct end {
    struct mir_sim_node *node;
    struct mir_sim_port *port;
    struct mir_sim_plug *far; /* the router's */
    uint8_t frame[64][2000];
    uint32_t len[64];
    uint32_t count;
};

static struct mir_sim *sim;
static struct mir_sim_router *router;
static struct end ends[2];

static struct mir_ip ip6(uint8_t net, uint8_t host)
{
    return (struct mir_ip){{0xfd, 0, 0, net, [15] = host}};
}

static void on_frame(void *arg, struct mir_buf *buf)
{
    struct end *end = arg;
    uint32_t len = mir_buf_total(buf);
    if (check(end->count < 64 && len <= 2000)) {
        check_int(mir_buf_copy_out(buf, 0, end->frame[end->count], len), ==, 0);
        end->len[end->count++] = len;
    }
    mir_buf_release(buf);
}

static void open_world(uint16_t right_mtu)
{
    check_int(mir_sim_open(&(struct mir_sim_config){.seed = 1}, &sim), ==, 0);
    check_int(mir_sim_add_router(sim, "r", &router), ==, 0);
    for (uint32_t i = 0; i < 2; i++) {
        struct end *end = &ends[i];
        struct mir_sim_node_config config = {
            .name = "end", .is_raw = true, .memory_bytes = 1 << 20};
        struct mir_sim_port_config port = {.mtu = 1500};
        struct mir_sim_router_port side = {
            .ip4 = mir_ip_from_v4(0x0a000001 + ((i + 1) << 8)),
            .ip6 = ip6((uint8_t)(i + 1), 1),
            .mtu = i == 1 ? right_mtu : 1500,
        };
        struct mir_ip net4 = mir_ip_from_v4(0x0a000000 + ((i + 1) << 8)),
                      net6 = ip6((uint8_t)(i + 1), 0);
        struct mir_ip host4 = mir_ip_from_v4(0x0a000002 + ((i + 1) << 8)),
                      host6 = ip6((uint8_t)(i + 1), 2);
        memset(end, 0, sizeof *end);
        check_int(mir_sim_add_node(sim, &config, &end->node), ==, 0);
        check_int(mir_sim_add_port(end->node, &port, &end->port), ==, 0);
        check_int(mir_sim_router_plug(router, &side, &end->far), ==, 0);
        check_int(
            mir_sim_join(&end->port->plug, end->far, &(struct mir_sim_wire_config){0}, NULL, NULL),
            ==, 0);
        check_int(mir_sim_router_route(router, &net4, 96 + 24, NULL, i), ==, 0);
        check_int(mir_sim_router_route(router, &net6, 64, NULL, i), ==, 0);
        mir_sim_router_neighbour(router, &host4, end->port->dev.info.mac);
        mir_sim_router_neighbour(router, &host6, end->port->dev.info.mac);
        struct mir_net_upper upper = {.rx = on_frame, .arg = end};
        check_int(mir_net_dev_start(&end->port->dev, &upper), ==, 0);
    }
    struct mir_ip behind = mir_ip_from_v4(0x0a090000), via = mir_ip_from_v4(0x0a000202);
    check_int(mir_sim_router_route(router, &behind, 96 + 16, &via, 1), ==, 0);
}

static void close_world(void)
{
    check_int(mir_sim_close(sim), ==, 0);
}

static void send_from(uint32_t i, uint16_t type, const uint8_t *packet, uint32_t len)
{
    struct mir_buf *buf = mir_buf_alloc_page(&ends[i].node->bufs, 2000, 0);
    uint8_t *to = mir_buf_append(buf, 14 + len);
    memcpy(to, mir_sim_router_mac(ends[i].far), 6);
    memcpy(to + 6, ends[i].port->dev.info.mac, 6);
    mir_put_be16(to + 12, type);
    memcpy(to + 14, packet, len);
    ends[0].count = ends[1].count = 0;
    check_int(mir_net_dev_tx(&ends[i].port->dev, buf), ==, 0);
    (void)mir_sim_run(sim, mir_sim_now(sim) + 1000);
}

static void send4(uint32_t dst, uint8_t ttl, bool df, uint32_t payload)
{
    uint8_t packet[2000] = {0};
    struct mir__ip4 ip = {.ttl = ttl,
                          .protocol = 17,
                          .dont_fragment = df,
                          .id = 77,
                          .total_len = (uint16_t)(20 + payload),
                          .src = 0x0a000102,
                          .dst = dst};
    mir__ip4_emit(&ip, packet);
    for (uint32_t i = 0; i < payload; i++)
        packet[20 + i] = (uint8_t)i;
    send_from(0, 0x0800, packet, 20 + payload);
}

static void send6(struct mir_ip dst, uint8_t hops, uint32_t payload)
{
    uint8_t packet[2000] = {0x60};
    struct mir_ip src = ip6(1, 2);
    mir_put_be16(packet + 4, (uint16_t)payload);
    packet[6] = 17;
    packet[7] = hops;
    memcpy(packet + 8, src.bytes, 16);
    memcpy(packet + 24, dst.bytes, 16);
    send_from(0, 0x86dd, packet, 40 + payload);
}

/* The left end got one ICMP error with this type, code and last word. */
static void check_error4(uint8_t type, uint8_t code, uint32_t rest)
{
    const uint8_t *ip = ends[0].frame[0] + 14;
    if (!check_int(ends[0].count, ==, 1))
        return;
    check(mir__ip4_checksum_ok(ip));
    check_int(mir__ip4_src(ip), ==, 0x0a000101);
    check_int(ip[20], ==, type);
    check_int(ip[21], ==, code);
    check_int(mir_get_be32(ip + 24), ==, rest);
    check_int(mir__csum_partial(ip + 20, mir__ip4_total_len(ip) - 20u), ==, 0xffff);
    check_int(mir__ip4_src(ip + 28), ==, 0x0a000102); /* what it is about */
}

static void check_error6(uint8_t type, uint8_t code, uint32_t rest)
{
    const uint8_t *ip = ends[0].frame[0] + 14;
    struct mir_ip src, dst;
    if (!check_int(ends[0].count, ==, 1))
        return;
    uint32_t len = mir_get_be16(ip + 4);
    memcpy(src.bytes, ip + 8, 16);
    memcpy(dst.bytes, ip + 24, 16);
    check_int(ip[40], ==, type);
    check_int(ip[41], ==, code);
    check_int(mir_get_be32(ip + 44), ==, rest);
    check_int(mir__csum_add(mir__csum_partial(ip + 40, len), mir__csum_pseudo(&src, &dst, 58, len)),
              ==, 0xffff);
}

static void test_forward4(void)
{
    struct mir_sim_router_stats stats;
    tap_case("IPv4: TTL one less, checksum right, the neighbour's address");
    open_world(1500);
    send4(0x0a000202, 9, true, 100);
    check_int(ends[1].count, ==, 1);
    const uint8_t *frame = ends[1].frame[0];
    check_int(frame[14 + 8], ==, 8);
    check(mir__ip4_checksum_ok(frame + 14));
    check_mem(frame, ends[1].port->dev.info.mac, 6);
    check_mem(frame + 6, mir_sim_router_mac(ends[1].far), 6);

    tap_case("IPv4: the longest prefix counts, over a next hop");
    send4(0x0a090909, 9, true, 100);
    check_int(ends[1].count, ==, 1);
    struct mir_ip narrow = mir_ip_from_v4(0x0a090900);
    check_int(mir_sim_router_route(router, &narrow, 96 + 24, NULL, 0), ==, 0);
    send4(0x0a090909, 9, true, 100);
    check_int(ends[1].count, ==, 0);
    check_error4(MIR__ICMP4_UNREACHABLE, MIR__ICMP4_HOST, 0);

    tap_case("IPv4: time exceeded, no route");
    send4(0x0a000202, 1, true, 100);
    check_int(ends[1].count, ==, 0);
    check_error4(MIR__ICMP4_TIME_EXCEEDED, 0, 0);
    send4(0x0b000001, 9, true, 100);
    check_error4(MIR__ICMP4_UNREACHABLE, MIR__ICMP4_NET, 0);
    mir_sim_router_get_stats(router, &stats);
    check_int(stats.forwarded, ==, 2);
    check_int(stats.expired, ==, 1);
    check_int(stats.no_route, ==, 1);

    tap_case("IPv4: nothing is said about an ICMP error, a broadcast or a damaged header");
    uint8_t packet[56] = {0};
    struct mir__ip4 ip = {
        .ttl = 1, .protocol = 1, .total_len = 56, .src = 0x0a000102, .dst = 0x0a000202};
    mir__ip4_emit(&ip, packet);
    packet[20] = MIR__ICMP4_UNREACHABLE;
    send_from(0, 0x0800, packet, 56);
    check_int(ends[0].count + ends[1].count, ==, 0);
    send4(0xffffffff, 9, true, 10);
    check_int(ends[0].count + ends[1].count, ==, 0);
    packet[10] ^= 1;
    send_from(0, 0x0800, packet, 56);
    check_int(ends[0].count + ends[1].count, ==, 0);
    close_world();
}

static void test_size(void)
{
    tap_case("IPv4: too big with DF is told, with the MTU");
    open_world(600);
    send4(0x0a000202, 9, true, 1000);
    check_int(ends[1].count, ==, 0);
    check_error4(MIR__ICMP4_UNREACHABLE, MIR__ICMP4_FRAG_NEEDED, 600);

    tap_case("IPv4: without DF it is fragmented, and nothing is lost");
    send4(0x0a000202, 9, false, 1400);
    check_int(ends[1].count, ==, 3);
    uint32_t total = 0;
    for (uint32_t i = 0; i < ends[1].count; i++) {
        const uint8_t *ip = ends[1].frame[i] + 14;
        uint32_t len = mir__ip4_total_len(ip) - 20u;
        check(mir__ip4_checksum_ok(ip));
        check_int(mir__ip4_total_len(ip), <=, 600);
        check_int(mir__ip4_offset(ip), ==, total);
        check_int((mir__ip4_fragment_word(ip) & MIR__IP4_MF) != 0, ==, i < 2);
        check_int(ip[20], ==, (uint8_t)total);
        total += len;
    }
    check_int(total, ==, 1400);

    tap_case("IPv6: too big is told; the MTU of a port can change");
    send6(ip6(2, 2), 9, 1000);
    check_int(ends[1].count, ==, 0);
    check_error6(2, 0, 600);
    mir_sim_router_mtu(ends[1].far, 1280);
    send6(ip6(2, 2), 9, 1000);
    check_int(ends[1].count, ==, 1);
    check_int(ends[1].frame[0][14 + 7], ==, 8);

    tap_case("IPv6: hop limit, no route, nothing beyond the link for link-local addresses");
    send6(ip6(2, 2), 1, 10);
    check_error6(3, 0, 0);
    send6(ip6(9, 2), 9, 10);
    check_error6(1, 0, 0);
    send6((struct mir_ip){{0xfe, 0x80, [15] = 9}}, 9, 10);
    check_int(ends[0].count + ends[1].count, ==, 0);
    close_world();
}

static void test_own(void)
{
    static const uint8_t arp[28] = {0,  1, 8, 0, 6, 4, 0, 1, 2, 2, 2,  2, 2, 2,
                                    10, 0, 1, 2, 0, 0, 0, 0, 0, 0, 10, 0, 1, 1};
    tap_case("ARP and echo requests for its own addresses are answered");
    open_world(1500);
    send_from(0, 0x0806, arp, sizeof arp);
    check_int(ends[0].count, ==, 1);
    check_int(ends[0].frame[0][14 + 7], ==, 2);
    check_mem(ends[0].frame[0] + 14 + 8, mir_sim_router_mac(ends[0].far), 6);
    uint8_t packet[64] = {0};
    struct mir__ip4 ip = {
        .ttl = 9, .protocol = 1, .total_len = 60, .src = 0x0a000102, .dst = 0x0a000201};
    struct mir__icmp4 echo = {8, 0, 0x12340001, (const uint8_t *)"abcdefghijklmnopqrstuvwxyz012345",
                              32};
    mir__ip4_emit(&ip, packet);
    mir__icmp4_emit(&echo, packet + 20);
    send_from(0, 0x0800, packet, 60);
    check_int(ends[0].count, ==, 1);
    check_int(ends[0].frame[0][34], ==, 0);
    check_mem(ends[0].frame[0] + 38, packet + 24, 36);
    close_world();
}

int main(void)
{
    tap_begin("router");
    test_forward4();
    test_size();
    test_own();
    return tap_done();
}
