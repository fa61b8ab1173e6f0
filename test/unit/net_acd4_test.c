/* SPDX-License-Identifier: ISC */
/* Conflict detection (lib/net/acd4.c) and link-local addresses (lib/net/linklocal4.c), with other
 * hosts played by hand.
 */
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

enum { ADDRESS = TESTBED_IP };

static const uint8_t other[6] = {2, 9, 9, 9, 9, 9};
static struct testbed bed;

static void open_with(struct mir_net_if_config config, uint64_t seed)
{
    testbed_init(&bed, seed, 4 << 20, 0);
    testbed_open_if(&bed, NULL, &config);
    testbed_run(&bed);
}

static struct mir_net_if_config by_hand(enum mir_net_acd acd)
{
    return (struct mir_net_if_config){
        .ip = mir_ip_from_v4(ADDRESS),
        .prefix_len = 24,
        .gateway = mir_ip_from_v4(TESTBED_PEER_IP),
        .acd = acd,
    };
}

static uint32_t address(void)
{
    struct mir_ip ip;
    bed.stack->ops->address(bed.stack, &ip);
    return mir_ip_to_v4(&ip);
}

/* The next ARP packet that was sent. */
static struct mir__arp arp;
static bool arp_is_to_all;
static bool next_arp(void)
{
    const struct testdev_frame *frame;
    do
        frame = testdev_next(&bed.dev);
    while (frame != NULL && mir__eth_type(frame->data) != MIR__ETH_TYPE_ARP);
    if (frame == NULL)
        return false;
    arp_is_to_all = mir__mac_is_broadcast(frame->data);
    return check_int(mir__arp_parse(frame->data + 14, frame->len - 14, &arp), ==, 0);
}

static void expect_probe(uint32_t ip)
{
    if (!check(next_arp()))
        return;
    check(arp.op == MIR__ARP_REQUEST && arp_is_to_all);
    check_int(arp.sender_ip, ==, 0);
    check_int(arp.target_ip, ==, ip);
}

static void expect_announcement(uint32_t ip)
{
    if (!check(next_arp()))
        return;
    check(arp.op == MIR__ARP_REQUEST && arp_is_to_all);
    check_int(arp.sender_ip, ==, ip);
    check_int(arp.target_ip, ==, ip);
}

static void hear(uint16_t op, uint32_t sender_ip, uint32_t target_ip)
{
    testbed_inject_arp(&bed, op, sender_ip, other, target_ip);
    testbed_run(&bed);
}

/* Runs until a frame is sent; returns how long that took. */
static mir_time_us wait_frame(mir_time_us max_us)
{
    mir_time_us begin_us = bed.now_us;
    while (bed.dev.queued == 0 && bed.now_us < begin_us + max_us)
        testbed_advance(&bed, 5 * MIR_US_PER_MS);
    return bed.now_us - begin_us;
}

static void test_full(void)
{
    tap_case(
        "full: up to a second, three probes 1 to 2 s apart, 2 s of silence, two announcements");
    for (uint64_t seed = 1; seed <= 20; seed++) {
        open_with(by_hand(MIR_NET_ACD_FULL), seed);
        check_int(wait_frame(9 * MIR_US_PER_S), <=, 1010 * MIR_US_PER_MS);
        expect_probe(ADDRESS);
        for (int i = 0; i < 2; i++) {
            mir_time_us waited_us = wait_frame(9 * MIR_US_PER_S);
            check_int(waited_us, >=, 995 * MIR_US_PER_MS);
            check_int(waited_us, <=, 2010 * MIR_US_PER_MS);
            expect_probe(ADDRESS);
        }
        check_int(address(), ==, 0);
        for (int i = 0; i < 2; i++) {
            mir_time_us waited_us = wait_frame(9 * MIR_US_PER_S);
            check(waited_us >= 1995 * MIR_US_PER_MS && waited_us <= 2010 * MIR_US_PER_MS);
            check_int(address(), ==, ADDRESS);
            expect_announcement(ADDRESS);
        }
        testbed_advance(&bed, 100 * MIR_US_PER_S);
        check(!next_arp());
        testbed_close(&bed);
    }
    tap_case("quick: two probes, used after 0.3 s");
    open_with(by_hand(MIR_NET_ACD_QUICK), 1);
    expect_probe(ADDRESS);
    testbed_advance(&bed, 160 * MIR_US_PER_MS);
    expect_probe(ADDRESS);
    check_int(address(), ==, 0);
    testbed_advance(&bed, 160 * MIR_US_PER_MS);
    check_int(address(), ==, ADDRESS);
    expect_announcement(ADDRESS);
    testbed_close(&bed);
    tap_case("by default an address by hand is used at once, and announced");
    open_with(by_hand(MIR_NET_ACD_DEFAULT), 1);
    check_int(address(), ==, ADDRESS);
    expect_announcement(ADDRESS);
    testbed_close(&bed);
}

static void test_taken(void)
{
    for (int kind = 0; kind < 3; kind++) {
        open_with(by_hand(MIR_NET_ACD_QUICK), 1);
        testdev_clear(&bed.dev);
        if (kind == 0) {
            tap_case(
                "taken: somebody answers the probe; the address is not used, asked again later");
            hear(MIR__ARP_REPLY, ADDRESS, 0);
        } else if (kind == 1) {
            tap_case("taken: somebody probes it too");
            hear(MIR__ARP_REQUEST, 0, ADDRESS);
        } else {
            tap_case("taken: somebody uses it to ask for another");
            hear(MIR__ARP_REQUEST, ADDRESS, 0x0a000063);
        }
        testbed_advance(&bed, 59 * MIR_US_PER_S);
        check_int(address(), ==, 0);
        check(!next_arp());
        check_int(testbed_stat(&bed, "arp_conflict"), ==, 1);
        tap_case("taken: a sign of him begins the pause anew; then it is free");
        hear(MIR__ARP_REQUEST, ADDRESS, 0x0a000063);
        testbed_advance(&bed, 58 * MIR_US_PER_S);
        check(!next_arp());
        testbed_advance(&bed, 3 * MIR_US_PER_S);
        expect_probe(ADDRESS);
        check_int(address(), ==, ADDRESS);
        testbed_close(&bed);
    }
    open_with(by_hand(MIR_NET_ACD_QUICK), 1);
    tap_case("what others say about other addresses is no conflict");
    hear(MIR__ARP_REPLY, 0x0a000063, 0);
    hear(MIR__ARP_REQUEST, 0, 0x0a000063);
    hear(MIR__ARP_REQUEST, 0x0a000063, ADDRESS);
    testbed_advance(&bed, MIR_US_PER_S);
    check_int(address(), ==, ADDRESS);
    check_int(testbed_stat(&bed, "arp_conflict"), ==, 0);
    testbed_close(&bed);
}

static void test_defence(void)
{
    open_with(by_hand(MIR_NET_ACD_DEFAULT), 1);
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    tap_case("defence: one announcement in ten seconds, however many conflicts; never given up");
    for (int i = 0; i < 1000; i++)
        hear(MIR__ARP_REPLY, ADDRESS, 0x0a000063);
    expect_announcement(ADDRESS);
    check(!next_arp());
    testbed_advance(&bed, 11 * MIR_US_PER_S);
    hear(MIR__ARP_REPLY, ADDRESS, 0x0a000063);
    expect_announcement(ADDRESS);
    check_int(address(), ==, ADDRESS);
    tap_case("defence: a probe for a held address is answered");
    hear(MIR__ARP_REQUEST, 0, ADDRESS);
    check(next_arp());
    check(arp.op == MIR__ARP_REPLY && arp.sender_ip == ADDRESS && !arp_is_to_all);
    tap_case("the second address of an interface is answered for and defended too");
    struct mir_net_prefix second = {.ip = mir_ip_from_v4(0x0a010005), .prefix_len = 24};
    check_int(mir_net_add_address(bed.net, 1, &second), ==, 0);
    testdev_clear(&bed.dev);
    hear(MIR__ARP_REQUEST, 0x0a010009, 0x0a010005);
    check(next_arp());
    check(arp.op == MIR__ARP_REPLY && arp.sender_ip == 0x0a010005);
    hear(MIR__ARP_REPLY, 0x0a010005, 0);
    hear(MIR__ARP_REPLY, 0x0a010005, 0);
    expect_announcement(0x0a010005);
    check(!next_arp());
    tap_case("an address that was taken away is not defended any more");
    testbed_advance(&bed, 11 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    struct mir_ip first = mir_ip_from_v4(ADDRESS);
    check_int(mir_net_remove_address(bed.net, &first), ==, 0);
    hear(MIR__ARP_REPLY, ADDRESS, 0x0a000063);
    testbed_advance(&bed, 11 * MIR_US_PER_S);
    check(!next_arp());
    testbed_close(&bed);
}

/* ---- link-local ----------------------------------------------------------------------------- */

static const struct mir_net_if_config alone = {.link_local4 = true};

static void test_link_local(void)
{
    open_with(alone, 1);
    tap_case("link-local: probed with the full times, then announced");
    wait_frame(2 * MIR_US_PER_S);
    check(next_arp());
    uint32_t ip = arp.target_ip;
    check(ip >= 0xa9fe0100 && ip <= 0xa9fefeff);
    testbed_advance(&bed, 3 * MIR_US_PER_S - 1000);
    check_int(address(), ==, 0);
    testbed_advance(&bed, 4 * MIR_US_PER_S);
    check_int(address(), ==, ip);
    tap_case("link-local: neighbours are reached directly, nothing goes to a router");
    struct mir__route route;
    struct mir_ip src = mir_ip_from_v4(0), dst = mir_ip_from_v4(0xa9fe0707);
    check_int(mir__ip_route(bed.net, &dst, &src, &route), ==, 0);
    check_int(route.next_hop4, ==, 0xa9fe0707);
    check_int(mir_ip_to_v4(&src), ==, ip);
    src = mir_ip_from_v4(0);
    dst = mir_ip_from_v4(0x08080808);
    check_int(mir__ip_route(bed.net, &dst, &src, &route), ==, -MIR_ENETUNREACH);
    tap_case("link-local: replies go to everybody (RFC 3927 section 2.5)");
    testdev_clear(&bed.dev);
    hear(MIR__ARP_REQUEST, 0xa9fe0808, ip);
    check(next_arp());
    check(arp.op == MIR__ARP_REPLY && arp_is_to_all);
    tap_case("link-local: defended once, then another one is taken");
    hear(MIR__ARP_REPLY, ip, 0);
    expect_announcement(ip);
    check_int(address(), ==, ip);
    hear(MIR__ARP_REPLY, ip, 0);
    check_int(address(), ==, 0);
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    check(address() != ip && address() >> 16 == 0xa9fe);
    testbed_close(&bed);
    tap_case("link-local: the same address at each start of the same hardware");
    open_with(alone, 77);
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    check_int(address(), ==, ip);
    testbed_close(&bed);
}

static void test_conflicts(void)
{
    uint32_t probed = 0, last = 0;
    open_with(alone, 1);
    tap_case("link-local: after ten conflicts one address a minute");
    mir_time_us begin_us = bed.now_us;
    while (bed.now_us < begin_us + 300 * MIR_US_PER_S) {
        testbed_advance(&bed, 100 * MIR_US_PER_MS);
        while (next_arp()) {
            if (arp.sender_ip == 0 && arp.target_ip != last) {
                last = arp.target_ip;
                probed++;
            }
            hear(MIR__ARP_REPLY, arp.target_ip, 0);
        }
    }
    check_int(probed, >=, 10 + 3);
    check_int(probed, <=, 10 + 5);
    check_int(address(), ==, 0);
    testbed_close(&bed);
}

static void test_with_dhcp(void)
{
    struct mir_net_if_config config = {.use_dhcp = true, .link_local4 = true};
    open_with(config, 1);
    tap_case("link-local: taken when three DISCOVERs had no answer, which go on");
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    check_int(address(), ==, 0);
    testbed_advance(&bed, 40 * MIR_US_PER_S);
    check_int(address() >> 16, ==, 0xa9fe);
    testdev_clear(&bed.dev);
    testbed_advance(&bed, 66 * MIR_US_PER_S);
    const struct testdev_frame *frame = testdev_next(&bed.dev);
    check(frame != NULL && mir__ip4_src(frame->data + 14) == 0 &&
          mir__udp_dst(frame->data + 34) == 67);
    struct mir_net_lease lease;
    check_int(mir_net_get_lease(bed.net, 1, &lease), ==, -MIR_ENOENT);
    testbed_close(&bed);
    config.link_local4 = false;
    open_with(config, 1);
    tap_case("link-local: not unless it is wished");
    testbed_advance(&bed, 200 * MIR_US_PER_S);
    check_int(address(), ==, 0);
    testbed_close(&bed);
}

static void test_removed(void)
{
    struct mir_net_prefix more = {.ip = mir_ip_from_v4(0x0a000707), .prefix_len = 24};
    struct mir_net_if_config config = by_hand(MIR_NET_ACD_FULL);
    struct mir_ip own = mir_ip_from_v4(ADDRESS);
    config.addresses = &more;
    config.address_count = 1;
    tap_case("an address that is probed does not push out the others when it is free");
    open_with(config, 6);
    check_int(address(), ==, 0x0a000707);
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    check_int(address(), ==, ADDRESS);
    check(mir__ifaddr_find4(bed.net, 0x0a000707) != NULL);
    tap_case("an address that was removed is not defended, nor announced when the link is back");
    check_int(mir_net_remove_address(bed.net, &own), ==, 0);
    testbed_advance(&bed, 30 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    hear(MIR__ARP_REPLY, ADDRESS, 0);
    hear(MIR__ARP_REPLY, ADDRESS, 0);
    bed.dev.upper.link(bed.dev.upper.arg, true);
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    while (next_arp())
        check(arp.sender_ip != ADDRESS && arp.target_ip != ADDRESS);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_acd4");
    test_full();
    test_taken();
    test_defence();
    test_link_local();
    test_conflicts();
    test_with_dhcp();
    test_removed();
    return tap_done();
}
