/* SPDX-License-Identifier: ISC */
/* What routers tell: parameters, routers, prefixes, addresses from them, name servers, redirects
 * (lib/net/nd6_router.c, lib/net/slaac.c). Simulated time. */
#include <mirari/format.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/bed6.h"
#include "test/harness/tap.h"

static struct testbed bed;
static struct bed6_message message;
static struct bed6_advert ra;
static const uint8_t mac_2[6] = {2, 0, 0, 0, 0, 0x22};
static const uint8_t mac_3[6] = {2, 0, 0, 0, 0, 0x33};
static const uint8_t secret[16] = "sixteen bytes...";

static struct mir__iface *iface(void)
{
    return &bed.net->ifaces[0];
}

static void open_bed(bool temporary)
{
    struct mir_net_if_config interface = {
        .ip6 = MIR_IP6_AUTO, .ip6_secret = NULL, .ip6_temporary = temporary};
    bed6_open_if(&bed, &interface);
    testbed_advance(&bed, 1100 * MIR_US_PER_MS);
    testdev_clear(&bed.dev);
}

/* ---- what is there ------------------------------------------------------------------------- */

struct list {
    int origin;
    const char *prefix;
    unsigned count;
    struct mir_net_address found;
};

static void each(void *arg, const struct mir_net_address *address)
{
    struct list *list = arg;
    struct mir_ip prefix = bed6_ip(list->prefix);
    if ((int)address->origin != list->origin || !mir__ip_prefix_equal(&prefix, &address->ip, 64))
        return;
    /* The newest is the last. */
    list->found = *address;
    list->count++;
}

/* Addresses of @origin under a prefix; the last one in *found. */
static unsigned addresses(enum mir_net_address_origin origin, const char *prefix,
                          struct mir_net_address *found)
{
    struct list list = {(int)origin, prefix, 0, {{{0}}, 0, 0, 0, 0, 0, 0}};
    mir_net_each_address(bed.net, each, &list);
    *found = list.found;
    return list.count;
}

/* The next hop that a packet to @dst would take; "" if none. */
static const char *next_hop(const char *dst)
{
    static char text[MIR_IP_TEXT_MAX];
    struct mir_ip to = bed6_ip(dst), src = {{0}};
    struct mir__route route;
    if (mir__ip_route(bed.net, &to, &src, &route) < 0)
        return "";
    return mir_ip_text(&route.next_hop6, text);
}

static void advertise(uint16_t router_s, const char *prefix, uint32_t valid_s, uint32_t preferred_s)
{
    bed6_ra_begin(&ra, router_s);
    bed6_ra_mac(&ra, testbed_peer_mac);
    bed6_ra_prefix(&ra, prefix, 64, "LA", valid_s, preferred_s);
    bed6_ra_send(&bed, &ra);
}

static mir_time_us left_s(mir_time_us until_us)
{
    return (until_us - bed.now_us + MIR_US_PER_S / 2) / MIR_US_PER_S;
}

/* ---- tests --------------------------------------------------------------------------------- */

static void test_solicit(void)
{
    struct mir_net_if_config interface = {.ip6 = MIR_IP6_AUTO};
    mir_time_us last_us = 0, wait_us = 0;
    bed6_open_if(&bed, &interface);
    tap_case("routers are asked for when the link-local address is there");
    check(!bed6_next(&bed, MIR__ND6_ROUTER_SOLICIT, &message));
    testbed_advance(&bed, 1100 * MIR_US_PER_MS);
    check(bed6_next(&bed, MIR__ND6_ROUTER_SOLICIT, &message));
    bed6_check_ip(&message.dst, "ff02::2");
    bed6_check_ip(&message.src, BED6_OWN_LL);
    check_int(message.hops, ==, 255);
    check_int(message.len, ==, 16);
    check(message.checksum_ok);
    tap_case("again after 4, 8, 16 ... 3600 seconds, a tenth more or less (RFC 7559)");
    last_us = bed.now_us;
    mir_time_us expected_us = 4 * MIR_US_PER_S;
    for (int i = 0; i < 14; i++) {
        for (wait_us = 0; wait_us < 4100 * MIR_US_PER_S; wait_us = bed.now_us - last_us) {
            testbed_advance(&bed, MIR_US_PER_S / 4);
            if (bed6_next(&bed, MIR__ND6_ROUTER_SOLICIT, &message))
                break;
        }
        check(wait_us + MIR_US_PER_S >= expected_us - expected_us / 10 &&
              wait_us <= expected_us + expected_us / 10 + MIR_US_PER_S);
        expected_us = MIR_MIN(2 * expected_us, 3600 * MIR_US_PER_S);
        last_us = bed.now_us;
    }
    tap_case("an advertisement without a default router does not end it, one with does");
    bed6_ra_begin(&ra, 0);
    bed6_ra_send(&bed, &ra);
    check(mir_timer_is_set(&iface()->nd6.rs_timer));
    bed6_ra_begin(&ra, 1800);
    bed6_ra_send(&bed, &ra);
    check(!mir_timer_is_set(&iface()->nd6.rs_timer));
    testbed_close(&bed);
}

static void test_validity(void)
{
    open_bed(false);
    tap_case("advertisements not from a link-local address, of hop limit 64, of code 1, cut off");
    bed6_ra_begin(&ra, 1800);
    bed6_ra_send_from(&bed, testbed_peer_mac, "2001:db8::1", &ra);
    bed6_inject(&bed, testbed_peer_mac, BED6_PEER_LL, BED6_ALL_NODES, 64, 58, ra.data, ra.len);
    ra.data[1] = 1;
    bed6_ra_send(&bed, &ra);
    ra.data[1] = 0;
    ra.len = 15;
    bed6_ra_send(&bed, &ra);
    bed6_ra_begin(&ra, 1800);
    bed6_ra_mac(&ra, testbed_peer_mac);
    ra.data[17] = 0;
    bed6_ra_send(&bed, &ra);
    check_int(testbed_stat(&bed, "nd_malformed"), ==, 5);
    check_int(iface()->nd6.learned_count, ==, 0);
    check_str(next_hop("2001:db8:ffff::1"), "");
    tap_case("prefixes that make no sense are ignored one by one, the rest counts");
    bed6_ra_begin(&ra, 1800);
    bed6_ra_prefix(&ra, "2001:db8:1::", 64, "LA", 100, 200);  /* preferred longer than valid */
    bed6_ra_prefix(&ra, "fe80::", 64, "LA", 200, 100);        /* link-local */
    bed6_ra_prefix(&ra, "ff02::", 64, "LA", 200, 100);        /* a group */
    bed6_ra_prefix(&ra, "2001:db8:2::", 63, "A", 200, 100);   /* identifiers have 64 bits */
    bed6_ra_prefix(&ra, "2001:db8:3::", 129, "LA", 200, 100); /* no prefix */
    bed6_ra_prefix(&ra, "2001:db8:4::", 64, "A", 0, 0);       /* over already */
    bed6_ra_send(&bed, &ra);
    check_int(testbed_stat(&bed, "nd_ignored"), ==, 5);
    check_int(iface()->nd6.learned_count, ==, 1);
    check_int(bed.net->ifaddr.v6_count, ==, 1);
    bed6_check_ip(&iface()->nd6.learned[0].gateway, BED6_PEER_LL);
    tap_case("no connection begins with a link-local source that no router lets pass");
    check_str(next_hop("2001:db8:ffff::1"), "");
    advertise(1800, "2001:db8:1::", 3600, 1800);
    check_str(next_hop("2001:db8:ffff::1"), "");
    testbed_advance(&bed, 3 * MIR_US_PER_S);
    check_str(next_hop("2001:db8:ffff::1"), BED6_PEER_LL);
    testbed_close(&bed);

    tap_case("with configured addresses routers are not listened to");
    bed6_open(&bed, MIR_IP6_STATIC);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    check(!bed6_next(&bed, MIR__ND6_ROUTER_SOLICIT, &message));
    advertise(1800, "2001:db8:1::", 3600, 1800);
    check_int(bed.net->ifaddr.v6_count, ==, 1);
    check_str(next_hop("2001:db8:ffff::1"), "");
    testbed_close(&bed);
}

static void test_parameters(void)
{
    open_bed(false);
    tap_case("hop limit, MTU, times");
    bed6_ra_begin(&ra, 1800);
    ra.data[4] = 100;
    mir_put_be32(ra.data + 8, 10000);
    mir_put_be32(ra.data + 12, 2000);
    bed6_ra_mtu(&ra, 1400);
    bed6_ra_send(&bed, &ra);
    check_int(iface()->hops6, ==, 100);
    check_int(iface()->mtu6, ==, 1400);
    check_int(iface()->mtu, ==, 1500);
    check_int(iface()->nd6.times.retry_us, ==, 2 * MIR_US_PER_S);
    check(iface()->nd6.times.reachable_us >= 5 * MIR_US_PER_S &&
          iface()->nd6.times.reachable_us <= 15 * MIR_US_PER_S);
    tap_case("values out of reason are ignored: hop limit 1, MTU 1279 and 9000, hours of waiting");
    bed6_ra_begin(&ra, 1800);
    ra.data[4] = 1;
    mir_put_be32(ra.data + 8, 3600001);
    mir_put_be32(ra.data + 12, 1);
    bed6_ra_mtu(&ra, 1279);
    bed6_ra_send(&bed, &ra);
    check_int(iface()->hops6, ==, 100);
    check_int(iface()->mtu6, ==, 1400);
    check_int(iface()->nd6.times.retry_us, ==, 100 * MIR_US_PER_MS);
    check(iface()->nd6.times.reachable_us <= 15 * MIR_US_PER_S);
    bed6_ra_begin(&ra, 1800);
    bed6_ra_mtu(&ra, 9000);
    bed6_ra_send(&bed, &ra);
    check_int(iface()->mtu6, ==, 1400);
    testbed_close(&bed);
}

static void test_stable(void)
{
    struct mir_net_address a, b;
    open_bed(false);
    tap_case("a prefix gives a stable address, tested first");
    advertise(1800, "2001:db8:1::", 86400, 14400);
    check_int(addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a), ==, 1);
    check_int(a.state, ==, MIR_NET_ADDRESS_TENTATIVE);
    testbed_advance(&bed, 2100 * MIR_US_PER_MS);
    check_int(addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a), ==, 1);
    check_int(a.state, ==, MIR_NET_ADDRESS_PREFERRED);
    check(bed6_next(&bed, MIR__ND6_SOLICIT, &message));
    check_mem(message.data + 8, a.ip.bytes, 16);
    tap_case("its identifier does not tell the MAC");
    check(mir_get_be16(a.ip.bytes + 11) != 0xfffe);
    tap_case("the prefix is on the link, the rest goes to the router");
    check_str(next_hop("2001:db8:1::77"), "2001:db8:1::77");
    check_str(next_hop("2001:db8:2::77"), BED6_PEER_LL);
    tap_case("another prefix: another identifier");
    advertise(1800, "2001:db8:5::", 86400, 14400);
    check_int(addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:5::", &b), ==, 1);
    check(memcmp(a.ip.bytes + 8, b.ip.bytes + 8, 8) != 0);
    testbed_close(&bed);

    tap_case("with a given secret the same address comes back after a restart");
    struct mir_net_if_config interface = {.ip6 = MIR_IP6_AUTO, .ip6_secret = secret};
    bed6_open_if(&bed, &interface);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    advertise(1800, "2001:db8:1::", 86400, 14400);
    check_int(addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a), ==, 1);
    testbed_close(&bed);
    bed6_open_if(&bed, &interface);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    advertise(1800, "2001:db8:1::", 86400, 14400);
    check_int(addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &b), ==, 1);
    check_mem(&a.ip, &b.ip, 16);
    tap_case("somebody has it: the next of the row, three times, then none");
    for (int i = 0; i < 4; i++) {
        char text[MIR_IP_TEXT_MAX];
        check_int(addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a), ==, 1);
        check(i == 0 || memcmp(&a.ip, &b.ip, 16) != 0);
        b = a;
        mir_ip_text(&a.ip, text);
        bed6_advert(&bed, BED6_PEER_LL, BED6_ALL_NODES, text, "O", mac_2);
    }
    check_int(addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a), ==, 1);
    check_int(a.state, ==, MIR_NET_ADDRESS_DUPLICATE);
    testbed_close(&bed);
}

static void test_lifetimes(void)
{
    struct mir_net_address a;
    open_bed(false);
    tap_case(
        "deprecated at the end of the preferred lifetime, removed at the end of the valid one");
    advertise(1800, "2001:db8:1::", 10000, 100);
    testbed_advance(&bed, 99 * MIR_US_PER_S);
    check_int(addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a), ==, 1);
    check_int(a.state, ==, MIR_NET_ADDRESS_PREFERRED);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    (void)addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a);
    check_int(a.state, ==, MIR_NET_ADDRESS_DEPRECATED);
    tap_case("an advertisement makes it preferred again");
    advertise(1800, "2001:db8:1::", 10000, 200);
    (void)addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a);
    check_int(a.state, ==, MIR_NET_ADDRESS_PREFERRED);
    tap_case("two hours: a valid lifetime of a minute does not end it sooner (section 5.5.3 e)");
    advertise(1800, "2001:db8:1::", 60, 60);
    (void)addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a);
    check_int(left_s(a.valid_until_us), ==, 7200);
    check_int(left_s(a.preferred_until_us), ==, 60);
    tap_case("with less than two hours left it stays as it is; more than is left is believed");
    testbed_advance(&bed, 3600 * MIR_US_PER_S);
    advertise(1800, "2001:db8:1::", 60, 60);
    (void)addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a);
    check_int(left_s(a.valid_until_us), ==, 3600);
    advertise(1800, "2001:db8:1::", 3700, 60);
    (void)addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a);
    check_int(left_s(a.valid_until_us), ==, 3700);
    advertise(1800, "2001:db8:1::", 7300, 60);
    (void)addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a);
    check_int(left_s(a.valid_until_us), ==, 7300);
    testbed_advance(&bed, 7301 * MIR_US_PER_S);
    check_int(addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a), ==, 0);
    check_int(iface()->slaac.prefix_count, ==, 0);
    tap_case("for ever");
    advertise(1800, "2001:db8:1::", UINT32_MAX, UINT32_MAX);
    (void)addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a);
    check(a.valid_until_us == MIR_TIME_NEVER && a.preferred_until_us == MIR_TIME_NEVER);

    tap_case("renumbering: the old prefix is deprecated at once, the new one speaks");
    testbed_advance(&bed, 3 * MIR_US_PER_S);
    bed6_ra_begin(&ra, 1800);
    bed6_ra_prefix(&ra, "2001:db8:1::", 64, "LA", 7200, 0);
    bed6_ra_prefix(&ra, "2001:db8:9::", 64, "LA", 86400, 14400);
    bed6_ra_send(&bed, &ra);
    testbed_advance(&bed, 3 * MIR_US_PER_S);
    (void)addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a);
    check_int(a.state, ==, MIR_NET_ADDRESS_DEPRECATED);
    struct mir_ip to = bed6_ip("2001:db8:ffff::1"), src = {{0}};
    struct mir__route route;
    check_int(mir__ip_route(bed.net, &to, &src, &route), ==, 0);
    (void)addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:9::", &a);
    check_mem(&src, &a.ip, 16);
    testbed_advance(&bed, 7201 * MIR_US_PER_S);
    check_int(addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &a), ==, 0);

    tap_case("a flood of prefixes: eight are taken, the rest counted");
    for (unsigned i = 0; i < 500; i++) {
        char prefix[40];
        mir_format(prefix, sizeof prefix, "2001:db8:%x::", 0x1000 + i);
        advertise(1800, prefix, 86400, 14400);
    }
    check_int(iface()->slaac.prefix_count, ==, MIR__SLAAC_PREFIXES_MAX);
    check_int(iface()->nd6.learned_count, <=, MIR__ND6_LEARNED_MAX);
    check_int(bed.net->ifaddr.v6_count, <=, 1 + MIR__SLAAC_PREFIXES_MAX);
    check_int(testbed_stat(&bed, "nd_learned_full"), >, 800);
    testbed_close(&bed);
}

static void test_temporary(void)
{
    struct mir_net_address a, b, stable;
    open_bed(true);
    tap_case("a temporary address beside the stable one");
    advertise(1800, "2001:db8:1::", 30 * 86400, 7 * 86400);
    testbed_advance(&bed, 3 * MIR_US_PER_S);
    check_int(addresses(MIR_NET_ADDRESS_TEMPORARY, "2001:db8:1::", &a), ==, 1);
    check_int(addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &stable), ==, 1);
    check_int(a.state, ==, MIR_NET_ADDRESS_PREFERRED);
    tap_case("preferred for 14 to 24 hours, valid for two days, whatever the router says");
    mir_time_us preferred_s = left_s(a.preferred_until_us);
    check(preferred_s >= 86400 * 6 / 10 - 5 && preferred_s <= 86400);
    check_int(left_s(a.valid_until_us), ==, 2 * 86400 - 3);
    tap_case("repeated advertisements make no second one");
    advertise(1800, "2001:db8:1::", 30 * 86400, 7 * 86400);
    check_int(addresses(MIR_NET_ADDRESS_TEMPORARY, "2001:db8:1::", &b), ==, 1);
    check_int(left_s(b.valid_until_us), ==, 2 * 86400 - 3);
    tap_case("the next one is there before the preference of this one ends");
    testbed_advance(&bed, (preferred_s - 3) * MIR_US_PER_S);
    check_int(addresses(MIR_NET_ADDRESS_TEMPORARY, "2001:db8:1::", &b), ==, 2);
    check(memcmp(a.ip.bytes + 8, b.ip.bytes + 8, 8) != 0);
    testbed_advance(&bed, 4 * MIR_US_PER_S);
    char text[MIR_IP_TEXT_MAX];
    check_int(bed6_address_state(&bed, mir_ip_text(&a.ip, text)), ==, MIR_NET_ADDRESS_DEPRECATED);
    check_int(b.state, !=, MIR_NET_ADDRESS_DEPRECATED);
    tap_case("a week: never more than three, the stable one stays the same");
    for (int i = 0; i < 7 * 24; i++) {
        testbed_advance(&bed, 3600 * MIR_US_PER_S);
        advertise(1800, "2001:db8:1::", 30 * 86400, 7 * 86400);
        testdev_clear(&bed.dev);
        unsigned count = addresses(MIR_NET_ADDRESS_TEMPORARY, "2001:db8:1::", &b);
        if (count < 1 || count > 3)
            check_int(count, ==, 2);
    }
    check_int(bed6_address_state(&bed, mir_ip_text(&a.ip, text)), ==, -1);
    check_int(addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &b), ==, 1);
    check_mem(&b.ip, &stable.ip, 16);
    tap_case("somebody has it: another random one");
    (void)addresses(MIR_NET_ADDRESS_TEMPORARY, "2001:db8:1::", &a);
    bed.dev.upper.link(bed.dev.upper.arg, true);
    testbed_run(&bed);
    bed6_advert(&bed, BED6_PEER_LL, BED6_ALL_NODES, mir_ip_text(&a.ip, text), "O", mac_2);
    check_int(bed6_address_state(&bed, text), ==, -1);
    check_int(addresses(MIR_NET_ADDRESS_TEMPORARY, "2001:db8:1::", &b), >=, 1);
    check(memcmp(&a.ip, &b.ip, 16) != 0);
    testbed_close(&bed);
}

static void make_gateway_fail(const char *dst)
{
    struct mir_endpoint any = {.port = 0}, to = {.ip = bed6_ip(dst), .port = 9};
    struct mir_udp *udp;
    check_int(mir_udp_open(bed.stack, &any, NULL, NULL, &udp), ==, 0);
    testbed_advance(&bed, 60 * MIR_US_PER_S);
    (void)mir_udp_send(udp, &to, "x", 1);
    testbed_advance(&bed, 9 * MIR_US_PER_S); /* DELAY, three questions by unicast */
    mir_udp_close(udp);
}

static void test_routers(void)
{
    open_bed(false);
    advertise(1800, "2001:db8:1::", 86400, 14400);
    testbed_advance(&bed, 3 * MIR_US_PER_S);
    tap_case("two routers: the better preference (RFC 4191), then the first");
    bed6_ra_begin(&ra, 1800);
    bed6_ra_mac(&ra, mac_2);
    bed6_ra_send_from(&bed, mac_2, "fe80::2", &ra);
    check_str(next_hop("2001:db8:ffff::1"), BED6_PEER_LL);
    ra.data[5] = 0x08; /* high */
    bed6_ra_send_from(&bed, mac_2, "fe80::2", &ra);
    check_str(next_hop("2001:db8:ffff::1"), "fe80::2");
    tap_case("a more specific route over the other");
    bed6_ra_begin(&ra, 1800);
    bed6_ra_mac(&ra, testbed_peer_mac);
    bed6_ra_route(&ra, "2001:db8:ff00::", 40, MIR__ND6_LOW, 100);
    bed6_ra_send(&bed, &ra);
    check_str(next_hop("2001:db8:ff00::1"), BED6_PEER_LL);
    check_str(next_hop("2001:db8:fe00::1"), "fe80::2");
    testbed_advance(&bed, 101 * MIR_US_PER_S);
    check_str(next_hop("2001:db8:ff00::1"), "fe80::2");
    tap_case("the router in use does not answer: the other one (section 6.3.6)");
    make_gateway_fail("2001:db8:fe00::1");
    check_str(next_hop("2001:db8:fe00::1"), BED6_PEER_LL);
    tap_case("both silent: in turn");
    make_gateway_fail("2001:db8:fe00::1");
    check_str(next_hop("2001:db8:fe00::1"), "fe80::2");
    make_gateway_fail("2001:db8:fe00::1");
    check_str(next_hop("2001:db8:fe00::1"), BED6_PEER_LL);
    tap_case("it is back and says so: in use again");
    bed6_ra_begin(&ra, 1800);
    ra.data[5] = 0x08;
    bed6_ra_mac(&ra, mac_2);
    bed6_ra_send_from(&bed, mac_2, "fe80::2", &ra);
    check_str(next_hop("2001:db8:fe00::1"), "fe80::2");
    tap_case("lifetime 0: no default router any more, at once");
    bed6_ra_begin(&ra, 0);
    bed6_ra_send_from(&bed, mac_2, "fe80::2", &ra);
    check_str(next_hop("2001:db8:fe00::1"), BED6_PEER_LL);
    tap_case("it becomes a host (flag R is gone): the same (section 7.2.5)");
    bed6_advert(&bed, BED6_PEER_LL, BED6_ALL_NODES, BED6_PEER_LL, "RO", testbed_peer_mac);
    check_str(next_hop("2001:db8:fe00::1"), BED6_PEER_LL);
    bed6_advert(&bed, BED6_PEER_LL, BED6_ALL_NODES, BED6_PEER_LL, "O", testbed_peer_mac);
    check_str(next_hop("2001:db8:fe00::1"), "");
    tap_case("the lifetime of a router ends");
    bed6_ra_begin(&ra, 30);
    bed6_ra_send_from(&bed, mac_3, "fe80::3", &ra);
    check_str(next_hop("2001:db8:fe00::1"), "fe80::3");
    testbed_advance(&bed, 31 * MIR_US_PER_S);
    check_str(next_hop("2001:db8:fe00::1"), "");
    tap_case("what was configured is not touched");
    struct mir_net_route mine = {.gateway = bed6_ip("fe80::3"), .metric = 7};
    check_int(mir_net_add_route(bed.net, &mine), ==, 0);
    bed6_ra_send_from(&bed, mac_3, "fe80::3", &ra);
    bed6_ra_begin(&ra, 0);
    bed6_ra_send_from(&bed, mac_3, "fe80::3", &ra);
    check_str(next_hop("2001:db8:fe00::1"), "fe80::3");
    testbed_close(&bed);
}

static void redirect(const char *src, const char *target, const char *destination,
                     const uint8_t *mac)
{
    uint8_t msg[48] = {MIR__ND6_REDIRECT};
    struct mir_ip a = bed6_ip(target), b = bed6_ip(destination);
    memcpy(msg + 8, a.bytes, 16);
    memcpy(msg + 24, b.bytes, 16);
    msg[40] = MIR__ND6_OPT_TARGET_MAC;
    msg[41] = 1;
    memcpy(msg + 42, mac, 6);
    bed6_inject(&bed, testbed_peer_mac, src, BED6_OWN_LL, 255, 58, msg, sizeof msg);
}

static void test_redirects(void)
{
    open_bed(false);
    advertise(1800, "2001:db8:1::", 86400, 14400);
    testbed_advance(&bed, 3 * MIR_US_PER_S);
    tap_case("a better router for one destination");
    redirect(BED6_PEER_LL, "fe80::2", "2001:db8:7::1", mac_2);
    check_str(next_hop("2001:db8:7::1"), "fe80::2");
    check_str(next_hop("2001:db8:7::2"), BED6_PEER_LL);
    tap_case("only the router in use may say so now");
    redirect(BED6_PEER_LL, "fe80::3", "2001:db8:7::1", mac_3);
    check_str(next_hop("2001:db8:7::1"), "fe80::2");
    redirect("fe80::2", "fe80::3", "2001:db8:7::1", mac_3);
    check_str(next_hop("2001:db8:7::1"), "fe80::3");
    check_int(iface()->nd6.learned_count, ==, 3);
    tap_case("a destination that is a neighbour");
    redirect(BED6_PEER_LL, "2001:db8:8::1", "2001:db8:8::1", mac_2);
    check_str(next_hop("2001:db8:8::1"), "2001:db8:8::1");
    tap_case("from a stranger, from afar, to an address that is no router's: refused");
    redirect("fe80::99", "fe80::2", "2001:db8:7::5", mac_2);
    redirect("2001:db8:1::1", "fe80::2", "2001:db8:7::5", mac_2);
    redirect(BED6_PEER_LL, "2001:db8:1::2", "2001:db8:7::5", mac_2);
    redirect(BED6_PEER_LL, "fe80::2", "ff0e::1", mac_2);
    check_str(next_hop("2001:db8:7::5"), BED6_PEER_LL);
    check_int(testbed_stat(&bed, "nd_redirects_in"), ==, 3);
    tap_case("the router it points to does not answer: back to the default router (section 7.3.3)");
    make_gateway_fail("2001:db8:7::1");
    check_str(next_hop("2001:db8:7::1"), BED6_PEER_LL);
    tap_case("a flood of redirects: the oldest go, routers and prefixes stay");
    for (unsigned i = 1; i < 1000; i++) {
        char text[40];
        mir_format(text, sizeof text, "2001:db8:a::%x", i);
        redirect(BED6_PEER_LL, "fe80::2", text, mac_2);
    }
    check_int(iface()->nd6.learned_count, ==, MIR__ND6_LEARNED_MAX);
    check_str(next_hop("2001:db8:a::3e7"), "fe80::2");
    check_str(next_hop("2001:db8:a::1"), BED6_PEER_LL);
    check_str(next_hop("2001:db8:1::1"), "2001:db8:1::1");
    tap_case("after ten minutes they are over");
    testbed_advance(&bed, 601 * MIR_US_PER_S);
    check_str(next_hop("2001:db8:a::3e7"), BED6_PEER_LL);
    check_int(iface()->nd6.learned_count, ==, 2);
    testbed_close(&bed);
}

static void test_names(void)
{
    struct mir_ip servers[4];
    open_bed(false);
    tap_case("name servers of routers, with their lifetime (RFC 8106)");
    bed6_ra_begin(&ra, 1800);
    bed6_ra_dns(&ra, "2001:db8::53", 60);
    bed6_ra_dns(&ra, "fe80::1", UINT32_MAX);
    bed6_ra_send(&bed, &ra);
    check_int(mir_net_dns_servers(bed.net, servers, 4), ==, 2);
    bed6_check_ip(&servers[0], "2001:db8::53");
    testbed_advance(&bed, 61 * MIR_US_PER_S);
    check_int(mir_net_dns_servers(bed.net, servers, 4), ==, 1);
    bed6_check_ip(&servers[0], "fe80::1");
    bed6_ra_begin(&ra, 1800);
    bed6_ra_dns(&ra, "fe80::1", 0);
    bed6_ra_send(&bed, &ra);
    check_int(mir_net_dns_servers(bed.net, servers, 4), ==, 0);
    tap_case("an option of a wrong length is skipped");
    bed6_ra_begin(&ra, 1800);
    bed6_ra_dns(&ra, "fe80::1", 60);
    ra.data[17] = 2;
    ra.len -= 8;
    bed6_ra_send(&bed, &ra);
    check_int(mir_net_dns_servers(bed.net, servers, 4), ==, 0);
    testbed_close(&bed);
}

static void test_configured(void)
{
    struct mir_net_prefix own = {.ip = bed6_ip("2001:db8:1::77"), .prefix_len = 64};
    struct mir_net_route mine = {.gateway = bed6_ip(BED6_PEER_LL), .metric = 7};
    open_bed(false);
    tap_case("configured after a router told the same: the router's lifetime does not end it");
    bed6_ra_begin(&ra, 100);
    bed6_ra_prefix(&ra, "2001:db8:1::", 64, "L", 100, 50);
    bed6_ra_send(&bed, &ra);
    check_int(mir_net_add_address(bed.net, 0, &own), ==, 0);
    check_int(mir_net_add_route(bed.net, &mine), ==, 0);
    testbed_advance(&bed, 101 * MIR_US_PER_S);
    check_int(iface()->nd6.learned_count, ==, 0);
    check_str(next_hop("2001:db8:1::5"), "2001:db8:1::5");
    check_str(next_hop("2001:db8:fe00::1"), BED6_PEER_LL);
    tap_case("taken away while the router still tells it: there again with the next advertisement");
    bed6_ra_begin(&ra, 100);
    bed6_ra_prefix(&ra, "2001:db8:2::", 64, "L", 100, 50);
    bed6_ra_send(&bed, &ra);
    own.ip = bed6_ip("2001:db8:2::77");
    check_int(mir_net_add_address(bed.net, 0, &own), ==, 0);
    check_int(mir_net_remove_address(bed.net, &own.ip), ==, 0);
    check_str(next_hop("2001:db8:2::5"), BED6_PEER_LL);
    bed6_ra_send(&bed, &ra);
    check_str(next_hop("2001:db8:2::5"), "2001:db8:2::5");
    testbed_close(&bed);
}

static void test_many_routes(void)
{
    open_bed(false);
    advertise(0, "2001:db8:1::", 86400, 14400);
    testbed_advance(&bed, 3 * MIR_US_PER_S);
    tap_case("a flood of routes does not lock out the routers");
    for (unsigned i = 0; i < 40; i++) {
        char text[40];
        mir_format(text, sizeof text, "2001:db8:%x::", 0x100 + i);
        bed6_ra_begin(&ra, 0);
        bed6_ra_route(&ra, text, 48, MIR__ND6_MEDIUM, UINT32_MAX);
        bed6_ra_send_from(&bed, mac_3, "fe80::3", &ra);
    }
    check_int(iface()->nd6.learned_count, ==, MIR__ND6_LEARNED_MAX);
    check_str(next_hop("2001:db8:ffff::1"), "");
    bed6_ra_begin(&ra, 1800);
    bed6_ra_send(&bed, &ra);
    check_str(next_hop("2001:db8:ffff::1"), BED6_PEER_LL);
    ra.data[5] = 0x08; /* high */
    bed6_ra_send_from(&bed, mac_2, "fe80::2", &ra);
    check_str(next_hop("2001:db8:ffff::1"), "fe80::2");
    ra.data[5] = 0;
    tap_case("but a third router takes nobody's place");
    bed6_ra_send_from(&bed, mac_3, "fe80::3", &ra);
    check_int(iface()->nd6.learned_count, ==, MIR__ND6_LEARNED_MAX);
    check_str(next_hop("2001:db8:1::1"), "2001:db8:1::1");
    testbed_close(&bed);
}

/* ---- a connection before the address is free ------------------------------------------------- */

static unsigned tcp_events;

static void on_tcp(struct mir_tcp *tcp, unsigned events, void *arg)
{
    (void)tcp;
    (void)arg;
    tcp_events |= events;
}

static void test_connect_early(void)
{
    struct mir_endpoint far = {.ip = bed6_ip("2001:db8:99::1"), .port = 80}, local, remote;
    struct mir_net_address address;
    struct mir_tcp *tcp;
    char target[MIR_IP_TEXT_MAX];
    for (unsigned is_taken = 0; is_taken < 2; is_taken++) {
        open_bed(false);
        tcp_events = 0;
        tap_case(is_taken ? "a connection from an address that turns out to be taken fails"
                          : "a connection while the address is tested: the SYN follows the test");
        check_int(mir_tcp_connect(bed.stack, &far, on_tcp, NULL, &tcp), ==, -MIR_ENETUNREACH);
        bed6_ra_begin(&ra, 1800);
        bed6_ra_mac(&ra, testbed_peer_mac);
        bed6_ra_prefix(&ra, "2001:db8:1::", 64, "LA", 7200, 3600);
        bed6_ra_send(&bed, &ra);
        testbed_run(&bed);
        check_int(mir_tcp_connect(bed.stack, &far, on_tcp, NULL, &tcp), ==, 0);
        mir_tcp_get_endpoints(tcp, &local, &remote);
        check_int(addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &address), ==, 1);
        check(mir_ip_equal(&address.ip, &local.ip));
        check_int(address.state, ==, MIR_NET_ADDRESS_TENTATIVE);
        testbed_advance(&bed, 600 * MIR_US_PER_MS);
        testdev_clear(&bed.dev);
        if (is_taken) {
            mir_ip_text(&local.ip, target);
            bed6_advert(&bed, target, BED6_ALL_NODES, target, "O", mac_2);
            testbed_run(&bed);
            check_int(tcp_events & MIR_TCP_FAILED, !=, 0);
            check_int(mir_tcp_error(tcp), ==, -MIR_ENETUNREACH);
            mir_tcp_close(tcp);
        } else {
            bool is_syn = false;
            for (int i = 0; i < 20 && !is_syn; i++) {
                testbed_advance(&bed, 100 * MIR_US_PER_MS);
                while (bed6_next(&bed, BED6_ANY, &message))
                    is_syn |= message.protocol == 6 && message.data[13] == 2 &&
                              mir_ip_equal(&message.src, &local.ip);
                if (is_syn)
                    break;
            }
            check(is_syn);
            check_int(testbed_stat(&bed, "tcp_timeouts"), ==, 0);
            check(addresses(MIR_NET_ADDRESS_SLAAC, "2001:db8:1::", &address) == 1 &&
                  address.state == MIR_NET_ADDRESS_PREFERRED);
            mir_tcp_abort(tcp);
        }
        testbed_close(&bed);
    }
    tap_case("one that is given up while it waits leaves nothing behind");
    open_bed(false);
    bed6_ra_send(&bed, &ra);
    check_int(mir_tcp_connect(bed.stack, &far, on_tcp, NULL, &tcp), ==, 0);
    mir_tcp_abort(tcp);
    testbed_advance(&bed, 3 * MIR_US_PER_S);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_slaac");
    test_solicit();
    test_validity();
    test_parameters();
    test_stable();
    test_lifetimes();
    test_temporary();
    test_routers();
    test_redirects();
    test_names();
    test_configured();
    test_many_routes();
    test_connect_early();
    return tap_done();
}
