/* SPDX-License-Identifier: ISC */
/* IPv6 neighbours: duplicate addresses, resolution, each transition of reachability (lib/net/nd6.c,
 * lib/net/neigh.c). Simulated time. */
#include <mirari/format.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/bed6.h"
#include "test/harness/tap.h"

static struct testbed bed;
static struct mir_udp *udp;
static struct bed6_message message;
static const uint8_t mac_a[6] = {2, 0, 0, 0, 0xaa, 1};
static const uint8_t mac_b[6] = {2, 0, 0, 0, 0xbb, 2};

#define OWN    "2001:db8::2"
#define HOST   "2001:db8::5"
#define GROUP  "ff02::1:ff00:5" /* solicited-node group of HOST */
#define OWN_GR "ff02::1:ff00:2"

/* An interface with OWN/64 by configuration, tested and in use. */
static void open_bed(void)
{
    struct mir_net_prefix own = {.ip = bed6_ip(OWN), .prefix_len = 64};
    struct mir_net_if_config interface = {
        .ip6 = MIR_IP6_STATIC, .addresses = &own, .address_count = 1};
    struct mir_endpoint any = {.port = 1000};
    bed6_open_if(&bed, &interface);
    testbed_advance(&bed, 3 * MIR_US_PER_S);
    check_int(mir_udp_open(bed.stack, &any, NULL, NULL, &udp), ==, 0);
    testdev_clear(&bed.dev);
}

static int send_to(const char *ip, const char *text)
{
    struct mir_endpoint to = {.ip = bed6_ip(ip), .port = 9};
    int r = mir_udp_send(udp, &to, text, strlen(text));
    testbed_run(&bed);
    return r;
}

static bool next_udp(const uint8_t mac[6], const char *text)
{
    if (!check(bed6_next(&bed, 0, &message)) || !check_int(message.protocol, ==, MIR__PROTO_UDP) ||
        !check_mem(message.eth_dst, mac, 6))
        return false;
    return check_mem(message.data + 8, text, strlen(text));
}

static enum mir__neigh_state state_of(const char *ip)
{
    struct mir_ip addr = bed6_ip(ip);
    const struct mir__neigh *neigh = mir__neigh_find(bed.net, &bed.net->ifaces[0], &addr);
    return neigh != NULL ? (enum mir__neigh_state)neigh->state : (enum mir__neigh_state)99;
}

/* HOST is REACHABLE at mac_a. */
static void make_reachable(void)
{
    check_int(send_to(HOST, "x"), ==, 0);
    bed6_advert(&bed, HOST, OWN, HOST, "SO", mac_a);
    testdev_clear(&bed.dev);
    check_int(state_of(HOST), ==, MIR__NEIGH_REACHABLE);
}

/* The same, its time over, and not used. */
static void make_stale(void)
{
    make_reachable();
    testbed_advance(&bed, 46 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
}

static void test_duplicates(void)
{
    uint8_t own_test[64];
    tap_case("the link-local address is tested before it is used");
    bed6_open(&bed, MIR_IP6_LINK_LOCAL);
    bed6_expect_solicit(&bed, "::", "ff02::1:ff00:2", BED6_OWN_LL);
    check_int(bed6_address_state(&bed, BED6_OWN_LL), ==, MIR_NET_ADDRESS_TENTATIVE);
    testbed_advance(&bed, 900 * MIR_US_PER_MS);
    tap_case("again in the middle of the wait");
    bed6_expect_solicit(&bed, "::", "ff02::1:ff00:2", BED6_OWN_LL);
    check_int(bed6_address_state(&bed, BED6_OWN_LL), ==, MIR_NET_ADDRESS_TENTATIVE);
    tap_case("a question for a tentative address is not answered");
    bed6_solicit(&bed, BED6_PEER_LL, "ff02::1:ff00:2", BED6_OWN_LL, mac_a);
    check(bed6_none(&bed));
    tap_case("nobody objects: in use after a second, the routers are told (RFC 9131)");
    testbed_advance(&bed, 200 * MIR_US_PER_MS);
    check_int(bed6_address_state(&bed, BED6_OWN_LL), ==, MIR_NET_ADDRESS_PREFERRED);
    bed6_expect_advert(&bed, BED6_OWN_LL, "ff02::2", BED6_OWN_LL, "");
    check(bed6_none(&bed));
    tap_case("somebody else's test of our address is answered to all nodes");
    bed6_solicit(&bed, "::", "ff02::1:ff00:2", BED6_OWN_LL, NULL);
    bed6_expect_advert(&bed, BED6_OWN_LL, BED6_ALL_NODES, BED6_OWN_LL, "O");
    testbed_close(&bed);

    tap_case("our own test that the link sends back is no conflict (RFC 7527)");
    bed6_open(&bed, MIR_IP6_LINK_LOCAL);
    check(bed6_next(&bed, MIR__ND6_SOLICIT, &message));
    memcpy(own_test, message.data, message.len);
    bed6_inject(&bed, testbed_mac, "::", "ff02::1:ff00:2", 255, MIR__IP6_ICMP, own_test,
                message.len);
    check_int(testbed_stat(&bed, "nd_looped"), ==, 1);
    testbed_advance(&bed, 1100 * MIR_US_PER_MS);
    check_int(bed6_address_state(&bed, BED6_OWN_LL), ==, MIR_NET_ADDRESS_PREFERRED);
    testbed_close(&bed);

    tap_case("somebody has it: another link-local address is tried");
    bed6_open(&bed, MIR_IP6_LINK_LOCAL);
    testdev_clear(&bed.dev);
    bed6_advert(&bed, BED6_OWN_LL, BED6_ALL_NODES, BED6_OWN_LL, "O", mac_a);
    check_int(bed6_address_state(&bed, BED6_OWN_LL), ==, -1);
    check_int(testbed_stat(&bed, "nd_duplicate"), ==, 1);
    check(bed6_next(&bed, MIR__ND6_SOLICIT, &message));
    check(memcmp(message.data + 8, bed6_ip(BED6_OWN_LL).bytes, 16) != 0);
    testbed_advance(&bed, 1100 * MIR_US_PER_MS);
    check(mir__ifaddr_link_local(&bed.net->ifaces[0]) != NULL);
    testbed_close(&bed);

    tap_case("two hosts test the same address at the same time: neither takes it");
    struct mir_net_prefix own = {.ip = bed6_ip(OWN), .prefix_len = 64};
    struct mir_net_if_config interface = {
        .ip6 = MIR_IP6_STATIC, .addresses = &own, .address_count = 1};
    bed6_open_if(&bed, &interface);
    bed6_solicit(&bed, "::", OWN_GR, OWN, NULL);
    check_int(bed6_address_state(&bed, OWN), ==, MIR_NET_ADDRESS_DUPLICATE);
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    check_int(bed6_address_state(&bed, OWN), ==, MIR_NET_ADDRESS_DUPLICATE);
    testdev_clear(&bed.dev);
    bed6_solicit(&bed, BED6_PEER_LL, OWN_GR, OWN, mac_a);
    check(bed6_none(&bed));
    testbed_close(&bed);

    tap_case("all tries in vain: four link-local addresses, then no IPv6");
    bed6_open(&bed, MIR_IP6_LINK_LOCAL);
    for (int i = 0; i < 6; i++) {
        char text[MIR_IP_TEXT_MAX];
        struct mir_ip ip;
        if (!bed6_next(&bed, MIR__ND6_SOLICIT, &message))
            break;
        memcpy(ip.bytes, message.data + 8, 16);
        mir_ip_text(&ip, text);
        bed6_advert(&bed, text, BED6_ALL_NODES, text, "O", mac_a);
    }
    check_int(testbed_stat(&bed, "nd_duplicate"), ==, 4);
    testbed_advance(&bed, 60 * MIR_US_PER_S);
    check(mir__ifaddr_link_local(&bed.net->ifaces[0]) == NULL);
    check(bed6_none(&bed));
    testbed_close(&bed);

    tap_case("without tests addresses are there at once");
    interface.ip6_no_dad = true;
    bed6_open_if(&bed, &interface);
    check_int(bed6_address_state(&bed, OWN), ==, MIR_NET_ADDRESS_PREFERRED);
    testbed_close(&bed);
}

static void test_resolution(void)
{
    open_bed();
    tap_case("INCOMPLETE: the first packet asks the solicited-node group, from its own source");
    check_int(send_to(HOST, "one"), ==, 0);
    bed6_expect_solicit(&bed, OWN, GROUP, HOST);
    check_int(state_of(HOST), ==, MIR__NEIGH_INCOMPLETE);
    tap_case("INCOMPLETE -> REACHABLE: a solicited answer lets it go, the next asks nothing");
    bed6_advert(&bed, HOST, OWN, HOST, "SO", mac_a);
    next_udp(mac_a, "one");
    check_int(state_of(HOST), ==, MIR__NEIGH_REACHABLE);
    check_int(send_to(HOST, "two"), ==, 0);
    next_udp(mac_a, "two");
    check(bed6_none(&bed));

    tap_case("INCOMPLETE: an answer without link-layer address changes nothing");
    check_int(send_to("2001:db8::6", "x"), ==, 0);
    testdev_clear(&bed.dev);
    bed6_advert(&bed, "2001:db8::6", OWN, "2001:db8::6", "SO", NULL);
    check_int(state_of("2001:db8::6"), ==, MIR__NEIGH_INCOMPLETE);
    tap_case("INCOMPLETE -> STALE -> DELAY: an unsolicited one is used, and verified");
    bed6_advert(&bed, "2001:db8::6", BED6_ALL_NODES, "2001:db8::6", "O", mac_b);
    next_udp(mac_b, "x");
    check_int(state_of("2001:db8::6"), ==, MIR__NEIGH_DELAY);

    tap_case("INCOMPLETE -> FAILED: three questions a second apart, then refused; then anew");
    check_int(send_to("2001:db8::7", "x"), ==, 0);
    for (int i = 0; i < 3; i++) {
        bed6_expect_solicit(&bed, OWN, "ff02::1:ff00:7", "2001:db8::7");
        testbed_advance(&bed, 1002 * MIR_US_PER_MS);
    }
    check(bed6_none(&bed));
    check_int(state_of("2001:db8::7"), ==, MIR__NEIGH_FAILED);
    check_int(testbed_stat(&bed, "nd_unresolved_dropped"), ==, 1);
    check_int(send_to("2001:db8::7", "x"), ==, -MIR_EHOSTUNREACH);
    testbed_advance(&bed, 6 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    check_int(send_to("2001:db8::7", "again"), ==, 0);
    bed6_expect_solicit(&bed, OWN, "ff02::1:ff00:7", "2001:db8::7");
    testbed_close(&bed);
}

static void test_reachability(void)
{
    open_bed();
    tap_case("REACHABLE -> DELAY: its time is over and it is used: no question for five seconds");
    make_stale();
    check_int(send_to(HOST, "a"), ==, 0);
    next_udp(mac_a, "a");
    check_int(state_of(HOST), ==, MIR__NEIGH_DELAY);
    testbed_advance(&bed, 4900 * MIR_US_PER_MS);
    check(bed6_none(&bed));
    check_int(bed.net->neigh.unconfirmed_count, ==, 1);
    tap_case("DELAY -> PROBE: then asked by unicast, packets go out meanwhile");
    testbed_advance(&bed, 200 * MIR_US_PER_MS);
    check_int(state_of(HOST), ==, MIR__NEIGH_PROBE);
    bed6_expect_solicit(&bed, BED6_OWN_LL, HOST, HOST);
    check_int(send_to(HOST, "b"), ==, 0);
    next_udp(mac_a, "b");
    tap_case("PROBE -> REACHABLE: it answers, without its link-layer address too");
    bed6_advert(&bed, HOST, BED6_OWN_LL, HOST, "S", NULL);
    check_int(state_of(HOST), ==, MIR__NEIGH_REACHABLE);
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    check(bed6_none(&bed));
    check_int(bed.net->neigh.unconfirmed_count, ==, 0);

    tap_case("DELAY -> REACHABLE: a transport's progress spares the question");
    testbed_advance(&bed, 46 * MIR_US_PER_S);
    check_int(send_to(HOST, "c"), ==, 0);
    next_udp(mac_a, "c");
    struct mir_ip host = bed6_ip(HOST), src = bed6_ip(OWN);
    struct mir__route route, other;
    check_int(mir__ip_route(bed.net, &host, &src, &other), ==, 0);
    check_int(mir__ip_route(bed.net, &host, &src, &route), ==, 0);
    route.neighbour = mir__neigh_find(bed.net, &bed.net->ifaces[0], &host);
    other.neighbour = mir__neigh_find(bed.net, &bed.net->ifaces[0], &host);
    other.generation--;
    mir__ip_confirm(bed.net, &other);
    check_int(state_of(HOST), ==, MIR__NEIGH_DELAY);
    mir__ip_confirm(bed.net, &route);
    check_int(state_of(HOST), ==, MIR__NEIGH_REACHABLE);
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    check(bed6_none(&bed));

    tap_case("PROBE -> INCOMPLETE: three unicast questions in vain, then all are asked");
    testbed_advance(&bed, 46 * MIR_US_PER_S);
    check_int(send_to(HOST, "d"), ==, 0);
    next_udp(mac_a, "d");
    testbed_advance(&bed, 5100 * MIR_US_PER_MS);
    for (int i = 0; i < 3; i++) {
        bed6_expect_solicit(&bed, BED6_OWN_LL, HOST, HOST);
        testbed_advance(&bed, 1002 * MIR_US_PER_MS);
    }
    check_int(state_of(HOST), ==, MIR__NEIGH_INCOMPLETE);
    bed6_expect_solicit(&bed, BED6_OWN_LL, GROUP, HOST);
    check_int(send_to(HOST, "waits"), ==, 0);
    bed6_advert(&bed, HOST, BED6_OWN_LL, HOST, "SO", mac_b);
    next_udp(mac_b, "waits");
    testbed_close(&bed);
}

/* RFC 4861 section 7.2.5 and appendix C. */
static void test_flags(void)
{
    open_bed();
    tap_case("another address, no override: REACHABLE -> STALE, the old address stays");
    make_reachable();
    bed6_advert(&bed, HOST, OWN, HOST, "S", mac_b);
    check_int(state_of(HOST), ==, MIR__NEIGH_STALE);
    check_int(send_to(HOST, "a"), ==, 0);
    next_udp(mac_a, "a");
    tap_case("another address, no override, DELAY: nothing changes");
    bed6_advert(&bed, HOST, OWN, HOST, "S", mac_b);
    check_int(state_of(HOST), ==, MIR__NEIGH_DELAY);
    tap_case("another address with override, solicited: REACHABLE there");
    bed6_advert(&bed, HOST, OWN, HOST, "SO", mac_b);
    check_int(state_of(HOST), ==, MIR__NEIGH_REACHABLE);
    check_int(send_to(HOST, "b"), ==, 0);
    next_udp(mac_b, "b");
    tap_case("another address with override, not solicited: STALE there");
    bed6_advert(&bed, HOST, BED6_ALL_NODES, HOST, "O", mac_a);
    check_int(state_of(HOST), ==, MIR__NEIGH_STALE);
    check_int(send_to(HOST, "c"), ==, 0);
    next_udp(mac_a, "c");
    tap_case("the same address, not solicited: no change");
    make_reachable();
    bed6_advert(&bed, HOST, BED6_ALL_NODES, HOST, "O", mac_a);
    check_int(state_of(HOST), ==, MIR__NEIGH_REACHABLE);
    tap_case("an advertisement that nobody waits for makes no entry");
    bed6_advert(&bed, "2001:db8::66", BED6_ALL_NODES, "2001:db8::66", "O", mac_a);
    check_int(state_of("2001:db8::66"), ==, 99);
    testdev_clear(&bed.dev);

    tap_case("a question for us: answered to the asker, who is known as STALE");
    bed6_solicit(&bed, "2001:db8::70", OWN_GR, OWN, mac_b);
    bed6_expect_advert(&bed, OWN, "2001:db8::70", OWN, "SO");
    check_int(state_of("2001:db8::70"), ==, MIR__NEIGH_STALE);
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    check(bed6_none(&bed));
    make_reachable();
    tap_case("a question of a REACHABLE neighbour with the same address changes nothing");
    bed6_solicit(&bed, HOST, OWN_GR, OWN, mac_a);
    check_int(state_of(HOST), ==, MIR__NEIGH_REACHABLE);
    bed6_solicit(&bed, HOST, OWN_GR, OWN, mac_b);
    check_int(state_of(HOST), !=, MIR__NEIGH_REACHABLE);
    tap_case("a question for another host: nothing, and it is counted");
    testdev_clear(&bed.dev);
    uint64_t ignored = testbed_stat(&bed, "nd_ignored");
    bed6_solicit(&bed, "2001:db8::71", OWN_GR, "2001:db8::99:2", mac_b);
    check(bed6_none(&bed));
    check_int(state_of("2001:db8::71"), ==, 99);
    check_int(testbed_stat(&bed, "nd_ignored"), ==, ignored + 1);
    tap_case("an advertisement nobody asked for: nothing is learned, and it is counted");
    bed6_advert(&bed, "2001:db8::72", OWN, "2001:db8::72", "SO", mac_b);
    check_int(state_of("2001:db8::72"), ==, 99);
    check_int(testbed_stat(&bed, "nd_ignored"), ==, ignored + 2);
    testbed_close(&bed);
}

static void test_validity(void)
{
    struct mir__nd6_neighbour value = {.type = MIR__ND6_SOLICIT,
                                       .has_mac = true,
                                       .target = bed6_ip(OWN),
                                       .mac = {2, 0, 0, 0, 1, 1}};
    uint8_t msg[MIR__ND6_NEIGHBOUR_MAX];
    size_t len = mir__nd6_emit_neighbour(&value, msg);
    open_bed();
    tap_case("hop limit 254: it has crossed a router (section 7.1.1)");
    bed6_inject(&bed, mac_b, HOST, OWN_GR, 254, MIR__IP6_ICMP, msg, len);
    check_int(testbed_stat(&bed, "nd_malformed"), ==, 1);
    tap_case("in a fragment header, though whole (RFC 6980)");
    uint8_t fragment[8 + sizeof msg] = {MIR__IP6_ICMP};
    memcpy(fragment + 8, msg, len);
    struct mir_ip src = bed6_ip(HOST), dst = bed6_ip(OWN_GR);
    uint16_t sum = mir__csum_pseudo(&src, &dst, MIR__IP6_ICMP, (uint32_t)len);
    sum = (uint16_t)~mir__csum_add(sum, mir__csum_partial(msg, len));
    memcpy(fragment + 10, &sum, 2);
    bed6_inject(&bed, mac_b, HOST, OWN_GR, 255, MIR__IP6_FRAGMENT, fragment, 8 + len);
    check_int(testbed_stat(&bed, "nd_malformed"), ==, 2);
    tap_case("code 1, a group as target, an option of length 0, cut off");
    msg[1] = 1;
    bed6_inject(&bed, mac_b, HOST, OWN_GR, 255, MIR__IP6_ICMP, msg, len);
    msg[1] = 0;
    msg[8] = 0xff;
    bed6_inject(&bed, mac_b, HOST, OWN_GR, 255, MIR__IP6_ICMP, msg, len);
    msg[8] = 0x20;
    msg[25] = 0;
    bed6_inject(&bed, mac_b, HOST, OWN_GR, 255, MIR__IP6_ICMP, msg, len);
    msg[25] = 1;
    bed6_inject(&bed, mac_b, HOST, OWN_GR, 255, MIR__IP6_ICMP, msg, 23);
    check_int(testbed_stat(&bed, "nd_malformed"), ==, 6);
    tap_case("a test with a link-layer address, or to another group than the solicited-node one");
    bed6_inject(&bed, mac_b, "::", OWN_GR, 255, MIR__IP6_ICMP, msg, len);
    bed6_inject(&bed, mac_b, "::", BED6_ALL_NODES, 255, MIR__IP6_ICMP, msg, 24);
    check_int(testbed_stat(&bed, "nd_malformed"), ==, 8);
    tap_case("an advertisement to a group that says it was asked for (section 7.1.2)");
    bed6_advert(&bed, HOST, BED6_ALL_NODES, HOST, "S", mac_a);
    check_int(testbed_stat(&bed, "nd_malformed"), ==, 9);
    check(bed6_none(&bed));
    check_int(testbed_stat(&bed, "nd_entries"), ==, 0);
    tap_case("the good one is answered");
    bed6_inject(&bed, mac_b, HOST, OWN_GR, 255, MIR__IP6_ICMP, msg, len);
    bed6_expect_advert(&bed, OWN, HOST, OWN, "SO");
    tap_case("an advertisement for an address of ours in use is counted, not believed");
    bed6_advert(&bed, HOST, BED6_ALL_NODES, OWN, "O", mac_b);
    check_int(testbed_stat(&bed, "nd_conflict"), ==, 1);
    check_int(bed6_address_state(&bed, OWN), ==, MIR_NET_ADDRESS_PREFERRED);
    testbed_close(&bed);
}

static void test_link(void)
{
    open_bed();
    tap_case("the link comes back: neighbours are forgotten, addresses tested while in use");
    make_reachable();
    testbed_advance(&bed, 1 * MIR_US_PER_S);
    bed.dev.upper.link(bed.dev.upper.arg, false);
    bed.dev.upper.link(bed.dev.upper.arg, true);
    testbed_run(&bed);
    check_int(testbed_stat(&bed, "nd_entries"), ==, 0);
    check_int(bed6_address_state(&bed, OWN), ==, MIR_NET_ADDRESS_PREFERRED);
    check(bed6_next(&bed, MIR__ND6_SOLICIT, &message));
    check(mir_ip_is_any(&message.src));
    check(bed6_next(&bed, MIR__ND6_SOLICIT, &message));
    tap_case("and given up if somebody has taken one meanwhile");
    bed6_advert(&bed, HOST, BED6_ALL_NODES, OWN, "O", mac_b);
    check_int(bed6_address_state(&bed, OWN), ==, MIR_NET_ADDRESS_DUPLICATE);
    testbed_close(&bed);
}

static void test_floods(void)
{
    open_bed();
    make_reachable();
    tap_case("a flood of questions from made-up hosts: three quarters of the table, nobody goes");
    for (unsigned i = 0; i < 3000; i++) {
        char text[40];
        mir_format(text, sizeof text, "2001:db8::1:%x", i + 1);
        bed6_solicit(&bed, text, OWN_GR, OWN, mac_b);
        if (i % 64 == 0)
            testdev_clear(&bed.dev);
    }
    check_int(testbed_stat(&bed, "nd_entries"), ==, 768);
    check_int(testbed_stat(&bed, "nd_evicted"), ==, 0);
    check_int(state_of(HOST), ==, MIR__NEIGH_REACHABLE);
    tap_case("we answer hosts that do not exist (RFC 6583): bounded, and who answers stays");
    for (unsigned i = 0; i < 5000; i++) {
        char text[40];
        mir_format(text, sizeof text, "2001:db8::2:%x", i + 1);
        (void)send_to(text, "reply");
        if (i % 64 == 0)
            testdev_clear(&bed.dev);
    }
    check_int(testbed_stat(&bed, "nd_entries"), <=, 1024);
    check_int(bed.net->neigh.unresolved_count, <=, 512);
    check_int(state_of(HOST), ==, MIR__NEIGH_REACHABLE);
    check_int(mir_pool_used(&bed.bufs.pool), <=, 512 * 4);
    testdev_clear(&bed.dev);
    check_int(send_to(HOST, "ok"), ==, 0);
    next_udp(mac_a, "ok");
    tap_case("questions for new hosts are bounded in time");
    uint64_t asked = testbed_stat(&bed, "nd_solicits_out");
    for (unsigned i = 0; i < 5000; i++) {
        char text[40];
        mir_format(text, sizeof text, "2001:db8::3:%x", i + 1);
        (void)send_to(text, "reply");
        if (i % 64 == 0)
            testdev_clear(&bed.dev);
    }
    check_int(testbed_stat(&bed, "nd_solicits_out") - asked, <=, 300);
    check_int(testbed_stat(&bed, "neigh_rate_limited"), >, 4000);
    testbed_close(&bed);

    tap_case("hosts that do not answer hold half of an empty table, however long it lasts");
    open_bed();
    for (unsigned i = 0; i < 2000; i++) {
        char text[40];
        mir_format(text, sizeof text, "2001:db8::2:%x", i + 1);
        (void)send_to(text, "reply");
        testbed_advance(&bed, 3 * MIR_US_PER_MS);
        testdev_clear(&bed.dev);
    }
    check_int(testbed_stat(&bed, "nd_entries"), ==, 512);
    check_int(testbed_stat(&bed, "neigh_rate_limited"), ==, 0);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_nd6");
    test_duplicates();
    test_resolution();
    test_reachability();
    test_flags();
    test_validity();
    test_link();
    test_floods();
    return tap_done();
}
