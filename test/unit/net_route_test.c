/* SPDX-License-Identifier: ISC */
/* The routing table, addresses, path MTUs, and what mir__ip_route() makes of them
 * (lib/net/{route,ifaddr,pmtu,ip,select6}.c). */
#include <stdlib.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/bed6.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

static struct testbed bed;
static uint64_t seed;

static struct mir_ip ip_of(const char *text)
{
    struct mir_ip ip = {{0}};
    check_int(mir_ip_parse(text, strlen(text), &ip), ==, 0);
    return ip;
}

static struct mir_net_prefix prefix_of(const char *text)
{
    struct mir_net_prefix prefix = {0};
    check_int(mir_ip_parse_prefix(text, strlen(text), &prefix.ip, &prefix.prefix_len), ==, 0);
    return prefix;
}

/* 10.0.0.2/24 and fd00::2/64, usable. */
static void open_bed(void)
{
    struct mir_net_prefix own = prefix_of("fd00::2/64");
    struct mir_net_if_config interface = {.ip = mir_ip_from_v4(TESTBED_IP),
                                          .prefix_len = 24,
                                          .gateway = mir_ip_from_v4(TESTBED_PEER_IP),
                                          .ip6 = MIR_IP6_STATIC,
                                          .gateway6 = ip_of("fd00::1"),
                                          .addresses = &own,
                                          .address_count = 1};
    testbed_init(&bed, seed, 16 << 20, 0);
    testbed_open_if(&bed, NULL, &interface);
    testbed_advance(&bed, 3 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
}

static int add_route(const char *prefix, const char *gateway, uint32_t metric)
{
    struct mir_net_prefix p = prefix_of(prefix);
    struct mir_net_route route = {.prefix = p.ip, .prefix_len = p.prefix_len, .metric = metric};
    if (gateway != NULL)
        route.gateway = ip_of(gateway);
    return mir_net_add_route(bed.net, &route);
}

static int remove_route(const char *prefix, const char *gateway)
{
    struct mir_net_prefix p = prefix_of(prefix);
    struct mir_net_route route = {.prefix = p.ip, .prefix_len = p.prefix_len};
    if (gateway != NULL)
        route.gateway = ip_of(gateway);
    return mir_net_remove_route(bed.net, &route);
}

/* Next hop to @dst as text, "none" without a route; the source that was chosen in @src. */
static const char *next_hop(const char *dst, struct mir_ip *src)
{
    static char text[MIR_IP_TEXT_MAX];
    struct mir_ip to = ip_of(dst), from = {{0}};
    struct mir__route route;
    int r = mir__ip_route(bed.net, &to, &from, &route);
    if (src != NULL)
        *src = from;
    if (r < 0)
        return "none";
    struct mir_ip hop =
        route.ip_header_len == 20 ? mir_ip_from_v4(route.next_hop4) : route.next_hop6;
    return mir_ip_text(&hop, text);
}

static void test_choice(void)
{
    open_bed();
    tap_case("connected networks and default routes of both families");
    check_str(next_hop("10.0.0.9", NULL), "10.0.0.9");
    check_str(next_hop("192.0.2.1", NULL), "10.0.0.1");
    check_str(next_hop("fd00::9", NULL), "fd00::9");
    check_str(next_hop("2001:db8::1", NULL), "fd00::1");
    check_str(next_hop("10.0.0.2", NULL), "10.0.0.2"); /* ourselves */
    check_str(next_hop("fd00::2", NULL), "fd00::2");
    check_str(next_hop("::1", NULL), "::1");
    tap_case("the longest prefix wins, whatever the order and metric");
    check_int(add_route("192.0.2.0/24", "10.0.0.3", 900), ==, 0);
    check_int(add_route("192.0.2.128/25", "10.0.0.4", 1000), ==, 0);
    check_int(add_route("192.0.2.200/32", "10.0.0.5", 0), ==, 0);
    check_int(add_route("2001:db8::/32", "fd00::3", 0), ==, 0);
    check_int(add_route("2001:db8:0:1::/64", "fd00::4", 0), ==, 0);
    check_str(next_hop("192.0.2.1", NULL), "10.0.0.3");
    check_str(next_hop("192.0.2.129", NULL), "10.0.0.4");
    check_str(next_hop("192.0.2.200", NULL), "10.0.0.5");
    check_str(next_hop("192.0.3.1", NULL), "10.0.0.1");
    check_str(next_hop("2001:db8::1", NULL), "fd00::3");
    check_str(next_hop("2001:db8:0:1::1", NULL), "fd00::4");
    tap_case("among equals the lowest metric, then the oldest");
    check_int(add_route("192.0.2.0/24", "10.0.0.6", 5), ==, 0);
    check_str(next_hop("192.0.2.1", NULL), "10.0.0.6");
    check_int(add_route("192.0.2.0/24", "10.0.0.6", 900), ==, 0); /* changes the metric */
    check_str(next_hop("192.0.2.1", NULL), "10.0.0.3");
    tap_case("a gateway that does not answer is the last choice");
    struct mir_ip dst = ip_of("192.0.2.1");
    struct mir__route_entry *entry = mir__route_find(bed.net, &dst, NULL);
    mir__route_set_unreachable(bed.net, entry, true);
    check_str(next_hop("192.0.2.1", NULL), "10.0.0.6");
    tap_case("what is removed is gone; what is not there cannot be removed");
    check_int(remove_route("192.0.2.0/24", "10.0.0.6"), ==, 0);
    check_int(remove_route("192.0.2.0/24", "10.0.0.6"), ==, -MIR_ENOENT);
    check_str(next_hop("192.0.2.1", NULL), "10.0.0.3");
    check_int(remove_route("192.0.2.0/24", "10.0.0.3"), ==, 0);
    check_str(next_hop("192.0.2.1", NULL), "10.0.0.1");
    check_int(remove_route("0.0.0.0/0", "10.0.0.1"), ==, 0);
    check_str(next_hop("192.0.2.1", NULL), "none");
    check_str(next_hop("2001:dead::1", NULL), "fd00::1"); /* the other family's is still there */
    tap_case("nonsense is refused");
    check_int(add_route("192.0.2.0/24", "fd00::1", 0), ==, -MIR_EINVAL);
    check_int(add_route("2001:db8::/32", "10.0.0.1", 0), ==, -MIR_EINVAL);
    testbed_close(&bed);
}

/* ---- against the simplest thing that works --------------------------------------------------- */

struct naive {
    struct mir_ip prefix;
    uint32_t len; /* of 128 */
    uint32_t metric;
    uint32_t age;
};

#define NAIVE_MAX 200
static struct naive naive[NAIVE_MAX];
static uint32_t naive_count;

static bool bit_equal(const struct mir_ip *a, const struct mir_ip *b, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        if ((a->bytes[i / 8] ^ b->bytes[i / 8]) & 0x80 >> i % 8)
            return false;
    }
    return true;
}

static const struct naive *naive_find(const struct mir_ip *dst)
{
    const struct naive *best = NULL;
    for (uint32_t i = 0; i < naive_count; i++) {
        const struct naive *n = &naive[i];
        if (mir_ip_is_v4(dst) != (n->len >= 96 && mir_ip_is_v4(&n->prefix)) ||
            !bit_equal(dst, &n->prefix, n->len))
            continue;
        if (best == NULL || n->len > best->len ||
            (n->len == best->len &&
             (n->metric < best->metric || (n->metric == best->metric && n->age < best->age))))
            best = n;
    }
    return best;
}

/* Few different bits, so that prefixes lie within each other. */
static struct mir_ip random_ip(bool is_v4)
{
    struct mir_ip ip = {{0x20, 0x01}};
    uint32_t low = mir_rng_u32(&bed.rng) & mir_rng_u32(&bed.rng) & mir_rng_u32(&bed.rng);
    if (is_v4)
        return mir_ip_from_v4(0x0b000000u | (low & 0xffffff));
    ip.bytes[3] = (uint8_t)(mir_rng_u32(&bed.rng) & 1);
    ip.bytes[7] = (uint8_t)(mir_rng_u32(&bed.rng) & 3);
    mir_put_be32(ip.bytes + 12, low);
    return ip;
}

static bool compare_once(void)
{
    bool is_v4 = mir_rng_below(&bed.rng, 2) == 0;
    struct mir_ip dst = random_ip(is_v4);
    const struct naive *n = naive_find(&dst);
    const struct mir__route_entry *entry = mir__route_find(bed.net, &dst, NULL);
    if (n == NULL)
        return check(entry == NULL || entry->origin == MIR__ROUTE_CONNECTED ||
                     mir_ip_to_v4(&entry->gateway) == TESTBED_PEER_IP ||
                     entry->gateway.bytes[15] == 1);
    if (!check(entry != NULL) || !check_int(entry->prefix_len, ==, n->len))
        return false;
    return check_int(entry->metric, ==, n->metric) &&
           check(bit_equal(&entry->prefix, &n->prefix, n->len));
}

static void test_random(void)
{
    tap_case("random tables answer as a search through all routes does");
    for (int round = 0; round < 20; round++) {
        open_bed();
        naive_count = 0;
        for (uint32_t i = 0; i < NAIVE_MAX; i++) {
            bool is_v4 = mir_rng_below(&bed.rng, 2) == 0;
            uint32_t len = is_v4 ? 1 + mir_rng_below(&bed.rng, 32) : mir_rng_below(&bed.rng, 129);
            struct mir_net_route route = {
                .prefix = random_ip(is_v4),
                .prefix_len = (uint8_t)len,
                /* All different, so that none replaces another. */
                .gateway = is_v4 ? mir_ip_from_v4(0x0a000100u + i) : random_ip(false),
                .metric = mir_rng_below(&bed.rng, 4),
            };
            route.gateway.bytes[14] ^= (uint8_t)i;
            route.gateway.bytes[13] ^= (uint8_t)(i >> 8);
            if (!is_v4 && len == 0)
                continue; /* the default route is there */
            if (mir_net_add_route(bed.net, &route) < 0)
                continue;
            naive[naive_count++] =
                (struct naive){route.prefix, len + (is_v4 ? 96 : 0), route.metric, i};
        }
        for (int i = 0; i < 500 && compare_once(); i++)
            ;
        testbed_close(&bed);
    }
}

static void test_limit(void)
{
    struct mir_net_config config = {.routes_max = 4, .addresses_max = 2};
    struct mir_net_prefix more = prefix_of("10.9.0.2/24");
    tap_case("routes and addresses beyond their limits are refused");
    testbed_init(&bed, seed, 8 << 20, 0);
    testbed_open(&bed, &config); /* its network and a default route */
    check_int(add_route("192.0.2.0/24", "10.0.0.1", 0), ==, 0);
    check_int(add_route("192.0.3.0/24", "10.0.0.1", 0), ==, 0);
    check_int(add_route("192.0.4.0/24", "10.0.0.1", 0), ==, -MIR_ELIMIT);
    check_int(mir_net_add_address(bed.net, 1, &more), ==, -MIR_ELIMIT); /* no room for its route */
    check_int(remove_route("192.0.3.0/24", "10.0.0.1"), ==, 0);
    check_int(mir_net_add_address(bed.net, 1, &more), ==, 0);
    more = prefix_of("10.8.0.2/24");
    check_int(mir_net_add_address(bed.net, 1, &more), ==, -MIR_ELIMIT);
    check_int(mir_net_add_address(bed.net, 2, &more), ==, -MIR_ENOENT);
    testbed_close(&bed);
}

/* ---- addresses ------------------------------------------------------------------------------- */

static void count_one(void *arg, const struct mir_net_address *address)
{
    uint32_t *counts = arg;
    counts[address->state]++;
    check(address->prefix_len > 0);
    check_int(address->if_index, ==, 1);
}

static void expect_first(void *arg, const struct mir_net_route *route)
{
    ++*(uint32_t *)arg;
    check_int(route->if_index, ==, 1);
}

static void test_addresses(void)
{
    struct mir_net_prefix second = prefix_of("10.0.7.2/24"), six = prefix_of("fd00:7::2/64");
    struct mir_net_prefix alias = prefix_of("10.0.0.3/24");
    uint32_t counts[4] = {0};
    struct mir_ip src;
    open_bed();
    tap_case("a second IPv4 address: its network is connected, it speaks there");
    check_int(mir_net_add_address(bed.net, 1, &second), ==, 0);
    check_int(mir_net_add_address(bed.net, 1, &second), ==, -MIR_EEXIST);
    check_str(next_hop("10.0.7.9", &src), "10.0.7.9");
    check_int(mir_ip_to_v4(&src), ==, 0x0a000702);
    next_hop("192.0.2.1", &src);
    check_int(mir_ip_to_v4(&src), ==, TESTBED_IP);
    tap_case("an IPv6 address is tentative first, and not used until it is tested");
    check_int(mir_net_add_address(bed.net, 1, &six), ==, 0);
    check(!mir__ip_is_local(bed.net, &six.ip));
    mir_net_each_address(bed.net, count_one, counts);
    check_int(counts[MIR_NET_ADDRESS_TENTATIVE], ==, 1);
    check_int(counts[MIR_NET_ADDRESS_PREFERRED], ==, 4); /* 2 IPv4, link-local, fd00::2 */
    testbed_advance(&bed, 3 * MIR_US_PER_S);
    check(mir__ip_is_local(bed.net, &six.ip));
    next_hop("fd00:7::9", &src);
    check(mir_ip_equal(&src, &six.ip));
    tap_case("removed: neither ours nor a route to its network");
    check_int(mir_net_remove_address(bed.net, &six.ip), ==, 0);
    check_int(mir_net_remove_address(bed.net, &six.ip), ==, -MIR_ENOENT);
    check(!mir__ip_is_local(bed.net, &six.ip));
    check_str(next_hop("fd00:7::9", NULL), "fd00::1");
    tap_case("two addresses of one network: the route stays until the last goes");
    check_int(mir_net_add_address(bed.net, 1, &alias), ==, 0);
    src = mir_ip_from_v4(TESTBED_IP);
    check_int(mir_net_remove_address(bed.net, &src), ==, 0);
    check_str(next_hop("10.0.0.9", &src), "10.0.0.9");
    check_int(mir_ip_to_v4(&src), ==, 0x0a000003);
    check_int(mir_net_remove_address(bed.net, &alias.ip), ==, 0);
    check_str(next_hop("10.0.0.9", NULL), "10.0.0.1");
    tap_case("interfaces are counted from 1 here as for UDP; 0 means the first");
    struct mir_net_route none = {.prefix = second.ip, .prefix_len = 8, .if_index = 2};
    uint32_t routes = 0;
    check_int(mir_net_add_address(bed.net, 0, &alias), ==, 0);
    check_int(mir_net_remove_address(bed.net, &alias.ip), ==, 0);
    check_int(mir_net_add_route(bed.net, &none), ==, -MIR_ENOENT);
    none.if_index = 0;
    check_int(mir_net_add_route(bed.net, &none), ==, 0);
    none.if_index = 1;
    check_int(mir_net_remove_route(bed.net, &none), ==, 0);
    mir_net_each_route(bed.net, expect_first, &routes);
    check_int(routes, >, 0);
    tap_case("what is not one host's address is refused");
    static const char *const bad[] = {"10.0.0.0/24", "10.0.0.255/24", "127.0.0.1/8", "224.0.0.1/4",
                                      "::1/128",     "ff02::1/64",    "::5/64"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct mir_net_prefix address = prefix_of(bad[i]);
        if (!check_int(mir_net_add_address(bed.net, 1, &address), ==, -MIR_EINVAL))
            tap_note("%s", bad[i]);
    }
    testbed_close(&bed);
}

static void test_lifetimes(void)
{
    struct mir__ifaddr_spec spec = {.ip = {{0xfd, 9, [15] = 2}}, .prefix_len = 64};
    struct mir__ifaddr *addr;
    open_bed();
    tap_case("preferred, deprecated, gone: by themselves, at their times");
    mir_time_us now_us = bed.now_us;
    spec.origin = MIR__IFADDR_SLAAC;
    spec.preferred_until_us = now_us + 100 * MIR_US_PER_S;
    spec.valid_until_us = now_us + 200 * MIR_US_PER_S;
    check_int(mir__ifaddr_add(&bed.net->ifaces[0], &spec, &addr), ==, 0);
    testbed_advance(&bed, 99 * MIR_US_PER_S);
    check_int(addr->state, ==, MIR__IFADDR_PREFERRED);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    check_int(addr->state, ==, MIR__IFADDR_DEPRECATED);
    check(mir__ip_is_local(bed.net, &spec.ip));
    mir__ifaddr_set_lifetimes(addr, bed.now_us + 50 * MIR_US_PER_S, now_us + 200 * MIR_US_PER_S);
    check_int(addr->state, ==, MIR__IFADDR_PREFERRED);
    testbed_advance(&bed, 51 * MIR_US_PER_S);
    check_int(addr->state, ==, MIR__IFADDR_DEPRECATED);
    testbed_advance(&bed, 50 * MIR_US_PER_S);
    check(mir__ifaddr_find(bed.net, &spec.ip) == NULL);
    testbed_close(&bed);
}

/* ---- source addresses (RFC 6724 section 5) ----------------------------------------------------
 */

static void source_is(const char *dst, const char *wanted)
{
    struct mir_ip to = ip_of(dst), src = {{0}};
    char text[MIR_IP_TEXT_MAX];
    check(mir__ip6_select_source(&bed.net->ifaces[0], &to, &src));
    check_str(mir_ip_text(&src, text), wanted);
}

static void add6(const char *address, enum mir__ifaddr_origin origin, mir_time_us preferred_us)
{
    struct mir_net_prefix p = prefix_of(address);
    struct mir__ifaddr_spec spec = {.ip = p.ip,
                                    .prefix_len = p.prefix_len,
                                    .origin = origin,
                                    .preferred_until_us = preferred_us};
    check_int(mir__ifaddr_add(&bed.net->ifaces[0], &spec, NULL), ==, 0);
    testbed_advance(&bed, 3 * MIR_US_PER_S);
}

static void test_sources(void)
{
    open_bed(); /* fd00::2 and a link-local address */
    add6("2001:db8:1::2/64", MIR__IFADDR_MANUAL, 0);
    tap_case("rule 2: the scope of the destination");
    source_is("fe80::9", BED6_OWN_LL);
    source_is("ff02::9", BED6_OWN_LL);
    source_is("2001:db8:1::9", "2001:db8:1::2");
    tap_case("rule 6: the label, so that unique local speaks to unique local");
    source_is("fd12::1", "fd00::2");
    source_is("2a00::1", "2001:db8:1::2");
    tap_case("rule 8: the longest common prefix");
    add6("2001:db8:2::2/64", MIR__IFADDR_MANUAL, 0);
    source_is("2001:db8:2::9", "2001:db8:2::2");
    source_is("2001:db8:1::9", "2001:db8:1::2");
    tap_case("rule 7: a temporary address before that");
    add6("2001:db8:1::7/64", MIR__IFADDR_TEMPORARY, 0);
    source_is("2001:db8:2::9", "2001:db8:1::7");
    tap_case("rule 3: not a deprecated one");
    add6("2001:db8:3::2/64", MIR__IFADDR_TEMPORARY, bed.now_us + 2 * MIR_US_PER_S);
    source_is("2001:db8:3::9", "2001:db8:1::7");
    tap_case("rule 1: the destination itself");
    source_is("2001:db8:3::2", "2001:db8:3::2");
    testbed_close(&bed);
}

/* ---- path MTUs --------------------------------------------------------------------------------
 */

static void test_path_mtu(void)
{
    struct mir_net_config config = {.path_mtu_entries_max = 3};
    struct mir_ip v4 = ip_of("192.0.2.1"), v6 = ip_of("2001:db8::1"), ip;
    struct mir__route route;
    open_bed();
    tap_case("a path MTU is used by the next route, never raised, and never below the minimum");
    check_int(mir__pmtu_update(bed.net, &v4, 1400), ==, 1400);
    check_int(mir__pmtu_update(bed.net, &v4, 1450), ==, 1400);
    check_int(mir__pmtu_update(bed.net, &v6, 600), ==, 1280);
    ip = (struct mir_ip){{0}};
    check_int(mir__ip_route(bed.net, &v4, &ip, &route), ==, 0);
    check_int(route.mtu, ==, 1400);
    check_int(mir__ip_link_mtu(&route), ==, 1500);
    ip = (struct mir_ip){{0}};
    check_int(mir__ip_route(bed.net, &v6, &ip, &route), ==, 0);
    check_int(route.mtu, ==, 1280);
    check_int(mir__pmtu_update(bed.net, &v4, 40), ==, 68);
    tap_case("it is forgotten after ten minutes, and kept routes are looked up again");
    uint32_t generation = bed.net->route_generation;
    testbed_advance(&bed, 601 * MIR_US_PER_S);
    check_int(mir__pmtu_find(bed.net, &v4), ==, 0);
    check_int(mir__pmtu_find(bed.net, &v6), ==, 0);
    check(bed.net->route_generation != generation);
    testbed_close(&bed);

    tap_case("a full table forgets the oldest");
    testbed_init(&bed, seed, 8 << 20, 0);
    testbed_open(&bed, &config);
    for (uint32_t i = 1; i <= 4; i++) {
        ip = mir_ip_from_v4(0xc0000200u + i);
        check_int(mir__pmtu_update(bed.net, &ip, (uint16_t)(1000 + i)), ==, 1000 + i);
        testbed_advance(&bed, MIR_US_PER_S);
    }
    check_int(mir__pmtu_find(bed.net, &v4), ==, 0);
    check_int(mir__pmtu_find(bed.net, &ip), ==, 1004);
    check_int(testbed_stat(&bed, "path_mtus"), ==, 3);
    testbed_close(&bed);
}

int main(int argc, char **argv)
{
    tap_begin("net_route");
    seed = tap_seed(argc, argv, 1);
    test_choice();
    test_random();
    test_limit();
    test_addresses();
    test_lifetimes();
    test_sources();
    test_path_mtu();
    return tap_done();
}
