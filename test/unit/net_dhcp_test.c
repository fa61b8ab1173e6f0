/* SPDX-License-Identifier: ISC */
/* The DHCP client against a scripted server (lib/net/dhcp.c). */
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

enum { OFFERED = 0x0a000042, SERVER = TESTBED_PEER_IP, LEASE_S = 1000 };

static struct testbed bed;
static struct mir__dhcp seen;   /* the client's last message */
static struct mir__ip4 seen_ip; /* and the packet it came in */
static uint8_t seen_dst_mac[6];

static void open_bed(void)
{
    struct mir_net_if_config config = {.use_dhcp = true, .hostname = "hello"};
    testbed_init(&bed, 11, 4 << 20, 0);
    testbed_open_if(&bed, NULL, &config);
    testbed_run(&bed);
}

static uint32_t address(void)
{
    struct mir_ip ip;
    bed.stack->ops->address(bed.stack, &ip);
    return mir_ip_to_v4(&ip);
}

/* Takes the next DHCP message out of what was sent; ARP packets on the way are counted. */
static uint32_t arp_seen;
static bool next_message(void)
{
    const struct testdev_frame *frame;
    arp_seen = 0;
    while ((frame = testdev_next(&bed.dev)) != NULL) {
        struct mir__udp udp;
        if (mir__eth_type(frame->data) == MIR__ETH_TYPE_ARP) {
            arp_seen++;
            continue;
        }
        memcpy(seen_dst_mac, frame->data, 6);
        check_int(mir__ip4_parse(frame->data + 14, frame->len - 14, &seen_ip), ==, 0);
        check_int(mir__udp_parse(frame->data + 34, frame->len - 34, &udp), ==, 0);
        check_int(udp.src, ==, 68);
        check_int(udp.dst, ==, 67);
        struct mir_ip src = mir_ip_from_v4(seen_ip.src), dst = mir_ip_from_v4(seen_ip.dst);
        uint16_t sum = mir__csum_pseudo(&src, &dst, 17, udp.len);
        check_int(mir__csum_add(sum, mir__csum_partial(frame->data + 34, udp.len)), ==, 0xffff);
        return check_int(mir__dhcp_parse(frame->data + 42, udp.len - 8u, &seen), ==, 0);
    }
    return false;
}

static void expect(uint8_t type)
{
    if (check(next_message()))
        check_int(seen.type, ==, type);
}

/* What the server says, about the client's last message. */
static struct mir__dhcp make_answer(uint8_t type)
{
    struct mir__dhcp m;
    memset(&m, 0, sizeof m);
    m.op = MIR__DHCP_BOOTREPLY;
    m.type = type;
    m.xid = seen.xid;
    memcpy(m.chaddr, testbed_mac, 6);
    m.server_id = SERVER;
    if (type == MIR__DHCP_NAK)
        return m;
    m.yiaddr = OFFERED;
    m.subnet_mask = 0xffffff00;
    m.router_count = 1;
    m.routers[0] = SERVER;
    m.dns_count = 1;
    m.dns[0] = SERVER;
    m.lease_s = LEASE_S;
    return m;
}

static void inject_bytes(const uint8_t *message, size_t len, bool broadcast)
{
    static uint8_t frame[2000];
    struct mir__ip4 ip;
    size_t n = testbed_make_udp(frame, 67, 68, message, len);
    check_int(mir__ip4_parse(frame + 14, n - 14, &ip), ==, 0);
    ip.src = SERVER;
    ip.dst = broadcast ? 0xffffffff : OFFERED;
    mir__ip4_emit(&ip, frame + 14);
    memset(frame + 40, 0, 2); /* no UDP checksum: the addresses changed */
    if (broadcast)
        memset(frame, 0xff, 6);
    testdev_inject(&bed.dev, frame, n);
    testbed_run(&bed);
}

static void answer(const struct mir__dhcp *m, bool broadcast)
{
    uint8_t bytes[MIR__DHCP_EMIT_MAX];
    size_t len = mir__dhcp_emit(m, bytes);
    inject_bytes(bytes, len, broadcast);
}

static void say(uint8_t type)
{
    struct mir__dhcp m = make_answer(type);
    answer(&m, true);
}

/* From nothing to BOUND. */
static void get_lease(void)
{
    expect(MIR__DHCP_DISCOVER);
    say(MIR__DHCP_OFFER);
    expect(MIR__DHCP_REQUEST);
    say(MIR__DHCP_ACK);
    testbed_advance(&bed, 400 * MIR_US_PER_MS);
    check_int(address(), ==, OFFERED);
}

static void test_normal(void)
{
    open_bed();
    tap_case("DISCOVER: to everybody, from nobody, with our name, and asks for a broadcast");
    expect(MIR__DHCP_DISCOVER);
    check_int(seen_ip.src, ==, 0);
    check_int(seen_ip.dst, ==, 0xffffffff);
    check(mir__mac_is_broadcast(seen_dst_mac));
    check(seen.broadcast);
    check_int(seen.ciaddr, ==, 0);
    check_mem(seen.chaddr, testbed_mac, 6);
    check_int(seen.hostname_len, ==, 5);
    check_mem(seen.hostname, "hello", 5);
    /* RFC 4361: type 255, interface, DUID-LL */
    static const uint8_t client_id[9] = {255, 0, 0, 0, 1, 0, 3, 0, 1};
    check_int(seen.client_id_len, ==, 15);
    check_mem(seen.client_id, client_id, 9);
    check_mem(seen.client_id + 9, testbed_mac, 6);
    tap_case("it asks for routes before routers (RFC 3442)");
    const uint8_t *routes = memchr(seen.parameters, 121, seen.parameter_count);
    const uint8_t *routers = memchr(seen.parameters, 3, seen.parameter_count);
    check(routes != NULL && routers != NULL && routes < routers);
    check(memchr(seen.parameters, 119, seen.parameter_count) != NULL);
    uint32_t xid = seen.xid;
    tap_case("REQUEST: names the server and the address");
    say(MIR__DHCP_OFFER);
    expect(MIR__DHCP_REQUEST);
    check_int(seen.xid, ==, xid);
    check_int(seen.server_id, ==, SERVER);
    check_int(seen.requested_ip, ==, OFFERED);
    check_int(seen.ciaddr, ==, 0);
    tap_case("the address is probed twice before it is used, then announced");
    say(MIR__DHCP_ACK);
    check(!next_message());
    check_int(arp_seen, ==, 1);
    check_int(address(), ==, 0);
    testbed_advance(&bed, 400 * MIR_US_PER_MS);
    check(!next_message());
    check_int(arp_seen, ==, 3); /* second probe, announcement, question for the server */
    check_int(address(), ==, OFFERED);
    tap_case("the name server that was told can be asked for");
    struct mir_ip name_server;
    check_int(mir_net_dns_servers(bed.net, &name_server, 1), ==, 1);
    check_int(mir_ip_to_v4(&name_server), ==, SERVER);
    tap_case("closing releases the lease by unicast");
    testbed_inject_arp(&bed, MIR__ARP_REQUEST, SERVER, testbed_peer_mac, OFFERED);
    testdev_clear(&bed.dev);
    mir_net_close(bed.net);
    bed.net = NULL;
    expect(MIR__DHCP_RELEASE);
    check_int(seen.ciaddr, ==, OFFERED);
    check_int(seen.server_id, ==, SERVER);
    check_int(seen_ip.dst, ==, SERVER);
    check_mem(seen_dst_mac, testbed_peer_mac, 6);
    testbed_close(&bed);

    tap_case("answers by unicast to the address we do not have yet are taken too");
    open_bed();
    expect(MIR__DHCP_DISCOVER);
    struct mir__dhcp m = make_answer(MIR__DHCP_OFFER);
    answer(&m, false);
    expect(MIR__DHCP_REQUEST);
    m = make_answer(MIR__DHCP_ACK);
    m.mtu = 1400;
    answer(&m, false);
    testbed_advance(&bed, 400 * MIR_US_PER_MS);
    check_int(address(), ==, OFFERED);
    tap_case("the MTU option lowers the interface's MTU");
    struct mir__route route;
    struct mir_ip src = mir_ip_from_v4(0), dst = mir_ip_from_v4(0x08080808);
    check_int(mir__ip_route(bed.net, &dst, &src, &route), ==, 0);
    check_int(route.mtu, ==, 1400);
    check_int(route.next_hop4, ==, SERVER);
    testbed_close(&bed);
}

static void test_repeats(void)
{
    open_bed();
    tap_case("DISCOVER is repeated after 4, 8, 16, 32, 64, 64 s, each +-1 s, secs counts");
    expect(MIR__DHCP_DISCOVER);
    static const uint32_t waits[] = {4, 8, 16, 32, 64, 64};
    uint32_t elapsed_max = 0;
    for (size_t i = 0; i < MIR_ARRAY_LEN(waits); i++) {
        mir_time_us asked_us = bed.now_us;
        while (bed.dev.queued == 0 && bed.now_us < asked_us + 100 * MIR_US_PER_S)
            testbed_advance(&bed, 10000);
        mir_time_us waited_us = bed.now_us - asked_us;
        check_int(waited_us, >=, (waits[i] - 1) * MIR_US_PER_S);
        check_int(waited_us, <=, (waits[i] + 1) * MIR_US_PER_S + 50000);
        elapsed_max += waits[i] + 1;
        expect(MIR__DHCP_DISCOVER);
        check_int(seen.secs, <=, elapsed_max);
        check_int(seen.secs, >=, elapsed_max - 2 * (i + 1) - 1);
    }
    tap_case("REQUEST is repeated three times, then all begins anew");
    say(MIR__DHCP_OFFER);
    for (int i = 0; i < 4; i++) {
        expect(MIR__DHCP_REQUEST);
        mir_time_us asked_us = bed.now_us;
        while (bed.dev.queued == 0 && bed.now_us < asked_us + 100 * MIR_US_PER_S)
            testbed_advance(&bed, 10000);
    }
    uint32_t xid = seen.xid;
    expect(MIR__DHCP_DISCOVER);
    check_int(seen.xid, !=, xid);
    testbed_close(&bed);
}

static void test_renewal(void)
{
    open_bed();
    get_lease();
    testbed_inject_arp(&bed, MIR__ARP_REQUEST, SERVER, testbed_peer_mac, OFFERED);
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    tap_case("at T1 the server is asked by unicast; its ACK renews");
    testbed_advance(&bed, 490 * MIR_US_PER_S);
    check(!next_message());
    testbed_advance(&bed, 6 * MIR_US_PER_S);
    expect(MIR__DHCP_REQUEST);
    check_int(seen.ciaddr, ==, OFFERED);
    check_int(seen.requested_ip, ==, 0);
    check_int(seen.server_id, ==, 0);
    check(!seen.broadcast);
    check_int(seen_ip.dst, ==, SERVER);
    check_int(seen_ip.src, ==, OFFERED);
    struct mir__dhcp m = make_answer(MIR__DHCP_ACK);
    answer(&m, false);
    testdev_clear(&bed.dev);
    testbed_advance(&bed, 490 * MIR_US_PER_S);
    check(!next_message());
    check_int(address(), ==, OFFERED);

    tap_case("without an answer: again at half of the rest, everybody at T2, gone at the end");
    uint32_t unicasts = 0, broadcasts = 0;
    mir_time_us begin_us = bed.now_us;
    while (address() != 0 && bed.now_us < begin_us + 2000 * MIR_US_PER_S) {
        testbed_inject_arp(&bed, MIR__ARP_REPLY, SERVER, testbed_peer_mac, OFFERED);
        testbed_advance(&bed, MIR_US_PER_S);
        while (address() != 0 && next_message()) {
            check_int(seen.type, ==, MIR__DHCP_REQUEST);
            check_int(seen.ciaddr, ==, OFFERED);
            if (seen_ip.dst == SERVER) {
                unicasts++;
                check_int(broadcasts, ==, 0);
            } else {
                broadcasts++;
                check_int(seen_ip.dst, ==, 0xffffffff);
            }
        }
    }
    check_int(unicasts, >=, 3);
    check_int(unicasts, <=, 6);
    check_int(broadcasts, >=, 2);
    check_int(broadcasts, <=, 3);
    /* The lease was 1000 s from the renewal, of which 490 were over. */
    check_int((bed.now_us - begin_us) / MIR_US_PER_S, >=, 509);
    check_int((bed.now_us - begin_us) / MIR_US_PER_S, <=, 512);
    tap_case("after the end of the lease the search begins, with a wish for the old address");
    expect(MIR__DHCP_DISCOVER);
    check_int(seen.requested_ip, ==, OFFERED);
    testbed_close(&bed);

    open_bed();
    get_lease();
    tap_case("REBINDING takes an ACK of another server");
    testdev_clear(&bed.dev);
    testbed_advance(&bed, 880 * MIR_US_PER_S);
    while (next_message())
        ;
    check_int(seen_ip.dst, ==, 0xffffffff);
    m = make_answer(MIR__DHCP_ACK);
    m.server_id = 0x0a0000fe;
    answer(&m, false);
    testdev_clear(&bed.dev);
    testbed_advance(&bed, 400 * MIR_US_PER_S);
    check_int(address(), ==, OFFERED);
    check(!next_message());
    testbed_close(&bed);

    open_bed();
    get_lease();
    tap_case("a NAK to a renewal takes the address away at once and starts anew");
    testdev_clear(&bed.dev);
    testbed_advance(&bed, 880 * MIR_US_PER_S);
    while (next_message())
        ;
    say(MIR__DHCP_NAK);
    check_int(address(), ==, 0);
    expect(MIR__DHCP_DISCOVER);
    say(MIR__DHCP_OFFER);
    expect(MIR__DHCP_REQUEST);
    tap_case("a NAK to a REQUEST: a pause, then anew; never a loop at the speed of the wire");
    say(MIR__DHCP_NAK);
    check(!next_message());
    testbed_advance(&bed, 2100 * MIR_US_PER_MS);
    expect(MIR__DHCP_DISCOVER);
    check_int(seen.requested_ip, ==, 0);
    testbed_close(&bed);
}

static void test_infinite(void)
{
    open_bed();
    tap_case("an endless lease is never renewed");
    expect(MIR__DHCP_DISCOVER);
    say(MIR__DHCP_OFFER);
    expect(MIR__DHCP_REQUEST);
    struct mir__dhcp m = make_answer(MIR__DHCP_ACK);
    m.lease_s = UINT32_MAX;
    answer(&m, true);
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    check_int(address(), ==, OFFERED);
    testdev_clear(&bed.dev);
    testbed_advance(&bed, 100000 * MIR_US_PER_S);
    check(!next_message());
    check_int(address(), ==, OFFERED);
    testbed_close(&bed);
    open_bed();
    tap_case("T1 and T2 of the server are used; senseless ones are replaced");
    expect(MIR__DHCP_DISCOVER);
    say(MIR__DHCP_OFFER);
    expect(MIR__DHCP_REQUEST);
    m = make_answer(MIR__DHCP_ACK);
    m.t1_s = 100;
    m.t2_s = 200;
    answer(&m, true);
    testbed_advance(&bed, 98 * MIR_US_PER_S);
    check(!next_message());
    testbed_advance(&bed, 3 * MIR_US_PER_S);
    /* The server's MAC is not known: the request waits for ARP. */
    testbed_inject_arp(&bed, MIR__ARP_REPLY, SERVER, testbed_peer_mac, OFFERED);
    expect(MIR__DHCP_REQUEST);
    m = make_answer(MIR__DHCP_ACK);
    m.t1_s = 900;
    m.t2_s = 800;
    answer(&m, false);
    testdev_clear(&bed.dev);
    testbed_advance(&bed, 497 * MIR_US_PER_S);
    check(!next_message());
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    testbed_inject_arp(&bed, MIR__ARP_REPLY, SERVER, testbed_peer_mac, OFFERED);
    expect(MIR__DHCP_REQUEST);
    testbed_close(&bed);
}

static void test_conflict(void)
{
    static const uint8_t other[6] = {2, 9, 9, 9, 9, 9};
    for (int kind = 0; kind < 2; kind++) {
        open_bed();
        expect(MIR__DHCP_DISCOVER);
        say(MIR__DHCP_OFFER);
        expect(MIR__DHCP_REQUEST);
        say(MIR__DHCP_ACK);
        testdev_clear(&bed.dev);
        if (kind == 0) {
            tap_case("somebody answers the probe: DECLINE, a pause of 10 s, anew");
            testbed_inject_arp(&bed, MIR__ARP_REPLY, OFFERED, other, 0);
        } else {
            tap_case("somebody else probes the same address: DECLINE");
            testbed_inject_arp(&bed, MIR__ARP_REQUEST, 0, other, OFFERED);
        }
        testbed_run(&bed);
        expect(MIR__DHCP_DECLINE);
        check_int(seen.requested_ip, ==, OFFERED);
        check_int(seen.server_id, ==, SERVER);
        check_int(seen_ip.dst, ==, 0xffffffff);
        check_int(address(), ==, 0);
        testbed_advance(&bed, 9900 * MIR_US_PER_MS);
        check(!next_message());
        testbed_advance(&bed, 200 * MIR_US_PER_MS);
        get_lease();
        testbed_close(&bed);
    }
}

static void test_held_conflict(void)
{
    static const uint8_t other[6] = {2, 9, 9, 9, 9, 9};
    open_bed();
    get_lease();
    testbed_advance(&bed, 20 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    tap_case("a leased address is defended once; the second conflict is a DECLINE, then anew");
    testbed_inject_arp(&bed, MIR__ARP_REPLY, OFFERED, other, 0);
    testbed_run(&bed);
    check(!next_message());
    check_int(arp_seen, ==, 1);
    check_int(address(), ==, OFFERED);
    testbed_inject_arp(&bed, MIR__ARP_REPLY, OFFERED, other, 0);
    testbed_run(&bed);
    expect(MIR__DHCP_DECLINE);
    check_int(seen.requested_ip, ==, OFFERED);
    check_int(seen.server_id, ==, SERVER);
    check_int(seen_ip.src, ==, 0);
    check_int(address(), ==, 0);
    testbed_advance(&bed, 10100 * MIR_US_PER_MS);
    expect(MIR__DHCP_DISCOVER);
    check_int(seen.requested_ip, ==, 0);
    testbed_close(&bed);
}

static void test_made_up(void)
{
    struct mir_net_if_config config = {.use_dhcp = true, .link_local4 = true};
    testbed_init(&bed, 13, 4 << 20, 0);
    testbed_open_if(&bed, NULL, &config);
    testbed_advance(&bed, 60 * MIR_US_PER_S);
    tap_case("an address made up for want of a server goes when there is a lease");
    check_int(address() >> 16, ==, 0xa9fe);
    testdev_clear(&bed.dev);
    while (bed.dev.queued == 0 && bed.now_us < 2000 * MIR_US_PER_S)
        testbed_advance(&bed, 100 * MIR_US_PER_MS);
    check_int(address() >> 16, ==, 0xa9fe);
    get_lease();
    testbed_close(&bed);
}

static void ignored(struct mir__dhcp m, const char *counter)
{
    uint64_t before = testbed_stat(&bed, counter);
    answer(&m, true);
    if (!check_int(testbed_stat(&bed, counter), ==, before + 1))
        tap_note("counter %s", counter);
    check(!next_message());
    check_int(address(), ==, 0);
}

static void test_bad_answers(void)
{
    open_bed();
    expect(MIR__DHCP_DISCOVER);
    struct mir__dhcp m = make_answer(MIR__DHCP_OFFER);
    tap_case("offers for others, requests, and offers without sense are dropped and counted");
    m.xid++;
    ignored(m, "dhcp_ignored");
    m = make_answer(MIR__DHCP_OFFER);
    m.chaddr[5]++;
    ignored(m, "dhcp_ignored");
    m = make_answer(MIR__DHCP_OFFER);
    m.op = MIR__DHCP_BOOTREQUEST;
    ignored(m, "dhcp_ignored");
    m = make_answer(MIR__DHCP_OFFER);
    m.server_id = 0;
    ignored(m, "dhcp_malformed");
    const uint32_t senseless[] = {0, 0x7f000001, 0xe0000001, 0xffffffff};
    for (size_t i = 0; i < MIR_ARRAY_LEN(senseless); i++) {
        m = make_answer(MIR__DHCP_OFFER);
        m.yiaddr = senseless[i];
        ignored(m, "dhcp_malformed");
    }
    ignored(make_answer(MIR__DHCP_ACK), "dhcp_ignored");
    ignored(make_answer(MIR__DHCP_NAK), "dhcp_ignored");
    tap_case("a message cut at every length does no harm");
    uint8_t bytes[MIR__DHCP_EMIT_MAX];
    m = make_answer(MIR__DHCP_OFFER);
    size_t len = mir__dhcp_emit(&m, bytes);
    uint64_t malformed = testbed_stat(&bed, "dhcp_malformed");
    for (size_t n = 0; n < 250; n++)
        inject_bytes(bytes, n, true);
    check_int(testbed_stat(&bed, "dhcp_malformed"), >=, malformed + 240);
    check(len > 250);
    tap_case("acknowledgements that do not fit the choice");
    say(MIR__DHCP_OFFER);
    expect(MIR__DHCP_REQUEST);
    m = make_answer(MIR__DHCP_ACK);
    m.server_id++;
    ignored(m, "dhcp_ignored");
    m = make_answer(MIR__DHCP_ACK);
    m.yiaddr++;
    ignored(m, "dhcp_ignored");
    m = make_answer(MIR__DHCP_ACK);
    m.lease_s = 0;
    ignored(m, "dhcp_malformed");
    m.lease_s = 9;
    ignored(m, "dhcp_malformed");
    m = make_answer(MIR__DHCP_ACK);
    m.subnet_mask = 0xff00ff00;
    ignored(m, "dhcp_malformed");
    m = make_answer(MIR__DHCP_ACK);
    m.routers[0] = 0xe0000001;
    ignored(m, "dhcp_malformed");
    m = make_answer(MIR__DHCP_ACK);
    m.subnet_mask = 0xffffffc0; /* 10.0.0.66 in /26: host 2 */
    answer(&m, true);
    testbed_advance(&bed, MIR_US_PER_S);
    check_int(address(), ==, OFFERED);
    tap_case("once bound, offers and acknowledgements are ignored");
    testdev_clear(&bed.dev);
    for (int i = 0; i < 10; i++) {
        say(MIR__DHCP_OFFER);
        say(MIR__DHCP_ACK);
        say(MIR__DHCP_NAK);
    }
    check(!next_message());
    check_int(address(), ==, OFFERED);
    testbed_close(&bed);
}

static void flap_link(void)
{
    bed.dev.upper.link(bed.dev.upper.arg, false);
    bed.dev.upper.link(bed.dev.upper.arg, true);
    testbed_run(&bed);
}

static void test_link(void)
{
    open_bed();
    get_lease();
    tap_case("the link comes back: everybody is asked whether the address is right here");
    testdev_clear(&bed.dev);
    flap_link();
    expect(MIR__DHCP_REQUEST);
    check_int(seen.ciaddr, ==, 0);
    check_int(seen.requested_ip, ==, OFFERED);
    check_int(seen.server_id, ==, 0);
    check_int(seen_ip.src, ==, 0);
    check_int(seen_ip.dst, ==, 0xffffffff);
    check_int(address(), ==, OFFERED);
    say(MIR__DHCP_ACK);
    check_int(address(), ==, OFFERED);
    tap_case("another network's server says NAK: the address goes at once");
    testdev_clear(&bed.dev);
    flap_link();
    expect(MIR__DHCP_REQUEST);
    say(MIR__DHCP_NAK);
    check_int(address(), ==, 0);
    expect(MIR__DHCP_DISCOVER);
    testbed_close(&bed);
    open_bed();
    get_lease();
    tap_case("nobody answers: the lease is used to its end");
    flap_link();
    testbed_advance(&bed, 60 * MIR_US_PER_S);
    check_int(address(), ==, OFFERED);
    testbed_advance(&bed, 1000 * MIR_US_PER_S);
    check_int(address(), ==, 0);
    testbed_close(&bed);
}

/* ---- the address of last time --------------------------------------------------------------- */

static void open_again(void)
{
    struct mir_net_if_config config = {.use_dhcp = true, .dhcp_last_ip = mir_ip_from_v4(OFFERED)};
    testbed_init(&bed, 12, 4 << 20, 0);
    testbed_open_if(&bed, NULL, &config);
    testbed_run(&bed);
}

static void test_reboot(void)
{
    struct mir_net_lease lease;
    open_again();
    tap_case("the address of last time is asked for without a DISCOVER, and probed");
    check_int(mir_net_get_lease(bed.net, 1, &lease), ==, -MIR_ENOENT);
    expect(MIR__DHCP_REQUEST);
    check_int(seen.requested_ip, ==, OFFERED);
    check_int(seen.server_id, ==, 0);
    check_int(seen.ciaddr, ==, 0);
    say(MIR__DHCP_ACK);
    check_int(address(), ==, 0);
    testbed_advance(&bed, 400 * MIR_US_PER_MS);
    check_int(address(), ==, OFFERED);
    tap_case("the lease can be had, to keep it");
    check_int(mir_net_get_lease(bed.net, 1, &lease), ==, 0);
    check_int(mir_ip_to_v4(&lease.ip), ==, OFFERED);
    check_int(mir_ip_to_v4(&lease.gateway), ==, SERVER);
    check_int(mir_ip_to_v4(&lease.server), ==, SERVER);
    check_int(lease.prefix_len, ==, 24);
    check_int(lease.expires_us, ==, 1000 * MIR_US_PER_S + LEASE_S * MIR_US_PER_S);
    check_int(mir_net_get_lease(bed.net, 2, &lease), ==, -MIR_ENOENT);
    testbed_close(&bed);
    open_again();
    tap_case("NAK: all begins anew, without a wish");
    expect(MIR__DHCP_REQUEST);
    say(MIR__DHCP_NAK);
    expect(MIR__DHCP_DISCOVER);
    check_int(seen.requested_ip, ==, 0);
    testbed_close(&bed);
    open_again();
    tap_case("nobody answers: after two tries a DISCOVER, with the old address as a wish");
    expect(MIR__DHCP_REQUEST);
    testbed_advance(&bed, 5100 * MIR_US_PER_MS);
    expect(MIR__DHCP_REQUEST);
    testbed_advance(&bed, 9100 * MIR_US_PER_MS);
    expect(MIR__DHCP_DISCOVER);
    check_int(seen.requested_ip, ==, OFFERED);
    testbed_close(&bed);
}

/* ---- what the lease says -------------------------------------------------------------------- */

static void get_lease_of(struct mir__dhcp *m)
{
    expect(MIR__DHCP_DISCOVER);
    m->xid = seen.xid;
    say(MIR__DHCP_OFFER);
    expect(MIR__DHCP_REQUEST);
    answer(m, true);
    testbed_advance(&bed, 400 * MIR_US_PER_MS);
    check_int(address(), ==, OFFERED);
}

static uint32_t next_hop(uint32_t dst)
{
    struct mir__route route;
    struct mir_ip src = mir_ip_from_v4(0), to = mir_ip_from_v4(dst);
    return mir__ip_route(bed.net, &to, &src, &route) < 0 ? 0 : route.next_hop4;
}

static void test_routes(void)
{
    static const struct mir__dhcp_route routes[] = {
        {0xc0a80000, 16, 0x0a000005}, /* by another router */
        {0xac100000, 12, 0},          /* on the link */
        {0, 0, 0x0a000006},           /* the default */
        {0x08080000, 16, 0xe0000001}, /* senseless */
    };
    open_bed();
    struct mir__dhcp m = make_answer(MIR__DHCP_ACK);
    m.route_count = 4;
    memcpy(m.routes, routes, sizeof routes);
    tap_case("classless routes are used, and option 3 then is not (RFC 3442)");
    get_lease_of(&m);
    check_int(next_hop(0xc0a80101), ==, 0x0a000005);
    check_int(next_hop(0xac100101), ==, 0xac100101);
    check_int(next_hop(0x01010101), ==, 0x0a000006);
    check_int(next_hop(0x08080808), ==, 0x0a000006);
    tap_case("a renewal with other routes replaces them");
    flap_link();
    testdev_clear(&bed.dev);
    testbed_advance(&bed, 6 * MIR_US_PER_S);
    expect(MIR__DHCP_REQUEST);
    m.xid = seen.xid;
    m.route_count = 1;
    answer(&m, true);
    check_int(next_hop(0xc0a80101), ==, 0x0a000005);
    check_int(next_hop(0x01010101), ==, 0);
    tap_case("the routes go with the lease");
    testbed_advance(&bed, 2000 * MIR_US_PER_S);
    check_int(address(), ==, 0);
    check_int(next_hop(0xc0a80101), ==, 0);
    testbed_close(&bed);
    open_bed();
    m = make_answer(MIR__DHCP_ACK);
    m.router_count = 2;
    m.routers[1] = 0x0a000005;
    tap_case("without them the first router is used");
    get_lease_of(&m);
    check_int(next_hop(0x01010101), ==, SERVER);
    testbed_close(&bed);
}

static void test_gateways(void)
{
    static const struct mir__dhcp_route senseless[] = {{0, 0, 0xe0000001}};
    struct mir_net_lease lease;
    open_bed();
    struct mir__dhcp m = make_answer(MIR__DHCP_ACK);
    m.route_count = 1;
    memcpy(m.routes, senseless, sizeof senseless);
    m.t1_s = 100;
    tap_case("a default route by a group is none");
    get_lease_of(&m);
    check_int(next_hop(0x01010101), ==, 0);
    tap_case("a time of renewal without one of rebinding is kept");
    check_int(mir_net_get_lease(bed.net, 1, &lease), ==, 0);
    check_int(lease.renew_us, ==, lease.expires_us - (LEASE_S - 100) * MIR_US_PER_S);
    testbed_close(&bed);
    open_bed();
    m = make_answer(MIR__DHCP_ACK);
    m.routers[0] = OFFERED;
    tap_case("nor is one by our own address");
    get_lease_of(&m);
    check_int(next_hop(0x01010101), ==, 0);
    testbed_close(&bed);
}

static void test_names(void)
{
    char domains[6][MIR_NET_DNS_DOMAIN_MAX];
    open_bed();
    struct mir__dhcp m = make_answer(MIR__DHCP_ACK);
    memcpy(m.search, "\1a\3org\0\1b\3org\0", 14);
    m.search_len = 14;
    memcpy(m.domain, "c.org", 5);
    m.domain_len = 5;
    tap_case("search domains come before the domain, and go with the lease");
    get_lease_of(&m);
    if (check_int(mir_net_dns_domains(bed.net, domains, 6), ==, 2)) { /* as many as are kept */
        check_str(domains[0], "a.org");
        check_str(domains[1], "b.org");
    }
    testbed_advance(&bed, 2000 * MIR_US_PER_S);
    check_int(mir_net_dns_domains(bed.net, domains, 6), ==, 0);
    testbed_close(&bed);
}

static bool has_address(uint32_t ip)
{
    return mir__ifaddr_find4(bed.net, ip) != NULL;
}

static void test_static_beside(void)
{
    enum { BESIDE = 0x0a000909 };
    struct mir_net_prefix beside = {.ip = mir_ip_from_v4(BESIDE), .prefix_len = 24};
    struct mir_net_if_config config = {
        .use_dhcp = true, .hostname = "hello", .addresses = &beside, .address_count = 1};
    testbed_init(&bed, 11, 4 << 20, 0);
    testbed_open_if(&bed, NULL, &config);
    testbed_run(&bed);
    tap_case("a static address beside DHCP: the question still comes from nobody");
    check_int(address(), ==, BESIDE);
    expect(MIR__DHCP_DISCOVER);
    check_int(seen_ip.src, ==, 0);
    tap_case("the lease does not push the static address out, and comes first");
    say(MIR__DHCP_OFFER);
    expect(MIR__DHCP_REQUEST);
    say(MIR__DHCP_ACK);
    testbed_advance(&bed, 400 * MIR_US_PER_MS);
    check_int(address(), ==, OFFERED);
    check(has_address(BESIDE));
    check_int(next_hop(0x01010101), ==, SERVER);
    check_int(next_hop(0x0a000907), ==, 0x0a000907);
    tap_case("the lease ends: the static address stays, the default route goes");
    testbed_advance(&bed, 2000 * MIR_US_PER_S);
    check_int(address(), ==, BESIDE);
    check(!has_address(OFFERED));
    check_int(next_hop(0x01010101), ==, 0);
    check_int(next_hop(0x0a000907), ==, 0x0a000907);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_dhcp");
    test_normal();
    test_repeats();
    test_renewal();
    test_infinite();
    test_conflict();
    test_held_conflict();
    test_made_up();
    test_bad_answers();
    test_link();
    test_reboot();
    test_routes();
    test_gateways();
    test_names();
    test_static_beside();
    return tap_done();
}
