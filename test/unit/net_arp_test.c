/* SPDX-License-Identifier: ISC */
/* ARP: resolution, probing, conflicts, and floods (lib/net/arp.c). */
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

static struct testbed bed;
static struct mir_udp *udp;
static const uint8_t mac_a[6] = {2, 0, 0, 0, 0xaa, 1};
static const uint8_t mac_b[6] = {2, 0, 0, 0, 0xbb, 2};
static const uint8_t mac_all[6] = {255, 255, 255, 255, 255, 255};

static void open_bed(uint32_t arp_entries_max)
{
    struct mir_net_config config = {.arp_entries_max = arp_entries_max};
    struct mir_endpoint any = {.ip = mir_ip_from_v4(0), .port = 1000};
    testbed_init(&bed, 1, 16 << 20, 0);
    testbed_open(&bed, &config);
    check_int(mir_udp_open(bed.stack, &any, NULL, NULL, &udp), ==, 0);
}

static int send_to(uint32_t ip, const char *text)
{
    struct mir_endpoint to = {.ip = mir_ip_from_v4(ip), .port = 9};
    int r = mir_udp_send(udp, &to, text, strlen(text));
    testbed_run(&bed);
    return r;
}

/* The next frame is an ARP packet; false if not. */
static bool next_arp(struct mir__arp *arp, struct mir__eth *eth)
{
    const struct testdev_frame *frame = testdev_next(&bed.dev);
    if (!check(frame != NULL) || !check_int(mir__eth_parse(frame->data, frame->len, eth), ==, 0) ||
        !check_int(eth->type, ==, MIR__ETH_TYPE_ARP))
        return false;
    check_int(frame->len, ==, 42);
    return check_int(mir__arp_parse(frame->data + 14, frame->len - 14, arp), ==, 0);
}

static bool next_udp(const uint8_t mac[6], const char *text)
{
    const struct testdev_frame *frame = testdev_next(&bed.dev);
    if (!check(frame != NULL) || !check_int(mir__eth_type(frame->data), ==, MIR__ETH_TYPE_IP4))
        return false;
    return check_mem(frame->data, mac, 6) &&
           check_int(frame->len, ==, 14 + 20 + 8 + strlen(text)) &&
           check_mem(frame->data + 42, text, strlen(text));
}

static void check_request(uint32_t target_ip, const uint8_t dst[6])
{
    struct mir__arp arp;
    struct mir__eth eth;
    if (!next_arp(&arp, &eth))
        return;
    check_int(arp.op, ==, MIR__ARP_REQUEST);
    check_int(arp.target_ip, ==, target_ip);
    check_int(arp.sender_ip, ==, TESTBED_IP);
    check_mem(eth.dst, dst, 6);
    check_mem(arp.sender_mac, testbed_mac, 6);
}

static void test_resolve(void)
{
    open_bed(0);
    tap_case("the first packet asks, the answer lets it go, the next needs no question");
    check_int(send_to(0x0a000005, "one"), ==, 0);
    check_request(0x0a000005, mac_all);
    check(testdev_next(&bed.dev) == NULL);
    testbed_inject_arp(&bed, MIR__ARP_REPLY, 0x0a000005, mac_a, TESTBED_IP);
    next_udp(mac_a, "one");
    check_int(send_to(0x0a000005, "two"), ==, 0);
    next_udp(mac_a, "two");
    check(testdev_next(&bed.dev) == NULL);

    tap_case("64 packets wait in order, the oldest gives way");
    for (int i = 0; i < 66; i++)
        check_int(send_to(0x0a000006, i < 2 ? "x" : (const char[]){(char)('0' + i), 0}), ==, 0);
    check_request(0x0a000006, mac_all);
    check(testdev_next(&bed.dev) == NULL);
    check_int(testbed_stat(&bed, "arp_unresolved_dropped"), ==, 2);
    testbed_inject_arp(&bed, MIR__ARP_REPLY, 0x0a000006, mac_b, TESTBED_IP);
    for (int i = 2; i < 66; i++)
        next_udp(mac_b, (const char[]){(char)('0' + i), 0});

    tap_case("a host that does not answer is asked three times, a second apart, then refused");
    check_int(send_to(0x0a000007, "x"), ==, 0);
    check_request(0x0a000007, mac_all);
    testbed_advance(&bed, MIR_US_PER_S - 1);
    check(testdev_next(&bed.dev) == NULL);
    testbed_advance(&bed, 10000);
    check_request(0x0a000007, mac_all);
    testbed_advance(&bed, MIR_US_PER_S + 10000);
    check_request(0x0a000007, mac_all);
    testbed_advance(&bed, MIR_US_PER_S + 10000);
    check(testdev_next(&bed.dev) == NULL);
    check_int(testbed_stat(&bed, "arp_unresolved_dropped"), ==, 3);
    check_int(send_to(0x0a000007, "x"), ==, -MIR_EHOSTUNREACH);
    check(testdev_next(&bed.dev) == NULL);
    tap_case("after a pause it is asked again");
    testbed_advance(&bed, 6 * MIR_US_PER_S);
    check_int(send_to(0x0a000007, "again"), ==, 0);
    check_request(0x0a000007, mac_all);
    testbed_inject_arp(&bed, MIR__ARP_REPLY, 0x0a000007, mac_a, TESTBED_IP);
    next_udp(mac_a, "again");

    tap_case("a host elsewhere is reached by the gateway's address");
    check_int(send_to(0x08080808, "far"), ==, 0);
    next_udp(testbed_peer_mac, "far");
    tap_case("everything is given back, waiting packets too");
    check_int(send_to(0x0a000009, "waits"), ==, 0);
    testbed_close(&bed);
}

static uint32_t frames_waiting(void)
{
    uint32_t count = 0;
    for (const struct testdev_frame *frame; (frame = testdev_next(&bed.dev)) != NULL;)
        count += mir__eth_type(frame->data) == MIR__ETH_TYPE_IP4;
    return count;
}

static void test_waiting(void)
{
    static char large[60001];
    memset(large, 'x', 60000);
    open_bed(1024);
    tap_case("all fragments of a large datagram wait for the answer");
    check_int(send_to(0x0a000005, large), ==, 0);
    check_int(bed.net->neigh.waiting_bytes, >, 60000);
    testbed_inject_arp(&bed, MIR__ARP_REPLY, 0x0a000005, mac_a, TESTBED_IP);
    check_int(frames_waiting(), ==, (60008 + 1479) / 1480);
    check_int(bed.net->neigh.waiting_bytes, ==, 0);
    tap_case("for one host not more than 64 KiB wait, the oldest give way");
    for (int i = 0; i < 3; i++)
        check_int(send_to(0x0a000006, large), ==, 0);
    check_int(bed.net->neigh.waiting_bytes, <=, 65536);
    check_int(bed.net->neigh.waiting_bytes, >, 60000);
    tap_case("for all hosts together a MiB, and four packets each");
    for (uint32_t i = 0; i < 60; i++)
        check_int(send_to(0x0a000010 + i, large), ==, 0);
    check_int(bed.net->neigh.waiting_bytes, >, 1 << 19);
    check_int(bed.net->neigh.waiting_bytes, <=, (1 << 20) + 61 * 4 * 1500);
    tap_case("those of hosts that do not answer are given back");
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    check_int(bed.net->neigh.waiting_bytes, ==, 0);
    check_int(send_to(0x0a000008, large), ==, 0);
    testbed_close(&bed);
}

static void test_stale(void)
{
    open_bed(0);
    tap_case("a stale neighbour is asked by unicast, packets go out meanwhile");
    testbed_advance(&bed, 61 * MIR_US_PER_S);
    check_int(send_to(TESTBED_PEER_IP, "one"), ==, 0);
    next_udp(testbed_peer_mac, "one");
    check_request(TESTBED_PEER_IP, testbed_peer_mac);
    check_int(send_to(TESTBED_PEER_IP, "two"), ==, 0);
    next_udp(testbed_peer_mac, "two");
    check(testdev_next(&bed.dev) == NULL);
    testbed_inject_arp(&bed, MIR__ARP_REPLY, TESTBED_PEER_IP, testbed_peer_mac, TESTBED_IP);
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    check(testdev_next(&bed.dev) == NULL);

    tap_case("an idle neighbour is not asked");
    testbed_advance(&bed, 1000 * MIR_US_PER_S);
    check(testdev_next(&bed.dev) == NULL);

    tap_case("three unicast questions in vain, then broadcast ones, then refused");
    check_int(send_to(TESTBED_PEER_IP, "x"), ==, 0);
    next_udp(testbed_peer_mac, "x");
    for (int i = 0; i < 3; i++) {
        check_request(TESTBED_PEER_IP, testbed_peer_mac);
        testbed_advance(&bed, MIR_US_PER_S + 2000);
    }
    for (int i = 0; i < 3; i++) {
        check_request(TESTBED_PEER_IP, mac_all);
        testbed_advance(&bed, MIR_US_PER_S + 2000);
    }
    check(testdev_next(&bed.dev) == NULL);
    check_int(send_to(TESTBED_PEER_IP, "x"), ==, -MIR_EHOSTUNREACH);

    tap_case("a neighbour that moved to another MAC is believed when it says so");
    testbed_inject_arp(&bed, MIR__ARP_REQUEST, TESTBED_PEER_IP, mac_b, TESTBED_PEER_IP);
    check_int(send_to(TESTBED_PEER_IP, "moved"), ==, 0);
    next_udp(mac_b, "moved");
    testbed_close(&bed);
}

static void test_answers(void)
{
    struct mir__arp arp;
    struct mir__eth eth;
    open_bed(0);
    tap_case("a question for us is answered to the asker alone");
    testbed_inject_arp(&bed, MIR__ARP_REQUEST, 0x0a000063, mac_a, TESTBED_IP);
    if (next_arp(&arp, &eth)) {
        check_int(arp.op, ==, MIR__ARP_REPLY);
        check_int(arp.sender_ip, ==, TESTBED_IP);
        check_mem(arp.sender_mac, testbed_mac, 6);
        check_int(arp.target_ip, ==, 0x0a000063);
        check_mem(arp.target_mac, mac_a, 6);
        check_mem(eth.dst, mac_a, 6);
        check_mem(eth.src, testbed_mac, 6);
    }
    tap_case("the asker is known from now on");
    check_int(send_to(0x0a000063, "hi"), ==, 0);
    next_udp(mac_a, "hi");
    tap_case("a probe for our address (RFC 5227) is answered, and makes no entry");
    uint64_t entries = testbed_stat(&bed, "arp_entries");
    testbed_inject_arp(&bed, MIR__ARP_REQUEST, 0, mac_b, TESTBED_IP);
    check(next_arp(&arp, &eth) && arp.op == MIR__ARP_REPLY);
    check_int(testbed_stat(&bed, "arp_entries"), ==, entries);
    tap_case("a question for somebody else is not answered and makes no entry");
    testbed_inject_arp(&bed, MIR__ARP_REQUEST, 0x0a000064, mac_b, 0x0a000065);
    check(testdev_next(&bed.dev) == NULL);
    check_int(testbed_stat(&bed, "arp_entries"), ==, entries);
    tap_case("a reply that nobody asked for makes no entry");
    testbed_inject_arp(&bed, MIR__ARP_REPLY, 0x0a000064, mac_b, TESTBED_IP);
    check_int(testbed_stat(&bed, "arp_entries"), ==, entries);
    tap_case("a stranger from another network is answered but not kept");
    testbed_inject_arp(&bed, MIR__ARP_REQUEST, 0xc0a80101, mac_b, TESTBED_IP);
    check(next_arp(&arp, &eth) && arp.op == MIR__ARP_REPLY);
    check_int(testbed_stat(&bed, "arp_entries"), ==, entries);

    tap_case("malformed and senseless packets are counted and change nothing");
    uint8_t frame[60] = {255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0xaa, 1, 8,    6,
                         0,   1,   8,   0,   6,   4,   0, 1, 2, 0, 0,    0, 0xaa, 1};
    mir_put_be32(frame + 28, TESTBED_PEER_IP);
    mir_put_be32(frame + 38, TESTBED_IP);
    uint64_t malformed = testbed_stat(&bed, "arp_malformed");
    for (size_t len = 14; len < 42; len++)
        testdev_inject(&bed.dev, frame, len);
    check_int(testbed_stat(&bed, "arp_malformed"), ==, malformed + 28);
    frame[21] = 3; /* operation */
    testdev_inject(&bed.dev, frame, 42);
    frame[21] = 1;
    frame[22] = 1; /* group address as a sender */
    testdev_inject(&bed.dev, frame, 42);
    memset(frame + 22, 0, 6);
    testdev_inject(&bed.dev, frame, 42);
    frame[22] = 2;
    mir_put_be32(frame + 28, 0x0a0000ff); /* the broadcast address as a sender */
    testdev_inject(&bed.dev, frame, 42);
    mir_put_be32(frame + 28, 0xe0000001);
    testdev_inject(&bed.dev, frame, 42);
    check_int(testbed_stat(&bed, "arp_malformed"), ==, malformed + 33);
    check(testdev_next(&bed.dev) == NULL);
    check_int(send_to(TESTBED_PEER_IP, "still"), ==, 0);
    next_udp(testbed_peer_mac, "still");
    testbed_close(&bed);
}

static void test_conflict(void)
{
    open_bed(0);
    tap_case("another host with our address: defended by one announcement in ten seconds");
    for (int i = 0; i < 20; i++)
        testbed_inject_arp(&bed, MIR__ARP_REQUEST, TESTBED_IP, mac_a, 0x0a000077);
    check_request(TESTBED_IP, mac_all);
    check(testdev_next(&bed.dev) == NULL);
    check_int(testbed_stat(&bed, "arp_conflict"), ==, 20);
    testbed_advance(&bed, 11 * MIR_US_PER_S);
    testbed_inject_arp(&bed, MIR__ARP_REPLY, TESTBED_IP, mac_a, 0x0a000077);
    check_request(TESTBED_IP, mac_all);
    tap_case("our own packets that come back are no conflict");
    testbed_inject_arp(&bed, MIR__ARP_REQUEST, TESTBED_IP, testbed_mac, TESTBED_IP);
    check_int(testbed_stat(&bed, "arp_conflict"), ==, 21);
    testbed_close(&bed);

    tap_case("a fixed address is announced twice, two seconds apart");
    struct mir_net_if_config config = {.ip = mir_ip_from_v4(TESTBED_IP), .prefix_len = 24};
    testbed_init(&bed, 1, 4 << 20, 0);
    testbed_open_if(&bed, NULL, &config);
    testbed_run(&bed);
    check_request(TESTBED_IP, mac_all);
    testbed_advance(&bed, 1900 * MIR_US_PER_MS);
    check(testdev_next(&bed.dev) == NULL);
    testbed_advance(&bed, 200 * MIR_US_PER_MS);
    check_request(TESTBED_IP, mac_all);
    testbed_advance(&bed, 60 * MIR_US_PER_S);
    check(testdev_next(&bed.dev) == NULL);
    testbed_close(&bed);
}

static void test_floods(void)
{
    open_bed(64);
    tap_case("a flood of questions from made-up hosts fills three quarters and evicts nobody");
    for (uint32_t i = 0; i < 5000; i++)
        testbed_inject_arp(&bed, MIR__ARP_REQUEST, 0x0a000003 + i % 240, mac_a, TESTBED_IP);
    check_int(testbed_stat(&bed, "arp_entries"), ==, 48);
    check_int(testbed_stat(&bed, "arp_evicted"), ==, 0);
    testdev_clear(&bed.dev);
    check_int(send_to(TESTBED_PEER_IP, "ok"), ==, 0);
    next_udp(testbed_peer_mac, "ok");

    tap_case("a scan of ours makes room by evicting; the neighbour in use stays");
    for (uint32_t i = 3; i < 250; i++) {
        (void)send_to(0x0a000000 + i, "scan");
        (void)send_to(TESTBED_PEER_IP, "busy");
    }
    check_int(testbed_stat(&bed, "arp_entries"), <=, 64);
    check_int(testbed_stat(&bed, "arp_evicted"), >, 100);
    testdev_clear(&bed.dev);
    check_int(send_to(TESTBED_PEER_IP, "ok"), ==, 0);
    next_udp(testbed_peer_mac, "ok");
    check(testdev_next(&bed.dev) == NULL);
    tap_case("hosts that do not answer hold half of the table at most, and cost routes nothing");
    uint64_t evicted = testbed_stat(&bed, "arp_evicted");
    uint32_t generation = bed.net->route_generation;
    uint32_t answering = (uint32_t)testbed_stat(&bed, "arp_entries");
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    for (uint32_t i = 250; i < 254; i++)
        testbed_inject_arp(&bed, MIR__ARP_REQUEST, 0x0a000000u + i, mac_a, TESTBED_IP);
    for (uint32_t i = 3; i < 250; i++)
        (void)send_to(0x0a000000 + i, "scan");
    check_int(bed.net->neigh.unresolved_count, <=, 32);
    check_int(testbed_stat(&bed, "arp_evicted"), >, evicted);
    check_int(testbed_stat(&bed, "arp_entries"), <=, answering + 4);
    check_int(bed.net->route_generation, ==, generation);
    tap_case("waiting packets are bounded by the table");
    check_int(mir_pool_used(&bed.bufs.pool), <=, 64 * 4);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_arp");
    test_resolve();
    test_waiting();
    test_stale();
    test_answers();
    test_conflict();
    test_floods();
    return tap_done();
}
