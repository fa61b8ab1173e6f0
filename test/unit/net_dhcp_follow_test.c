/* SPDX-License-Identifier: ISC */
/* A DHCP lease that another stack has got: taken, renewed, lost, over; and leading instead of
 * following (lib/net/dhcp.c). The stack that leads is played: its copies are made here. */
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

enum { LEASED = 0x0a000042, OTHER = 0x0a000043, ROUTER = 0x0a000001, LEASE_S = 1000 };

static struct testbed bed;

/* A lease whose REQUEST left at @sent_us, as bytes. */
static size_t make_copy(uint32_t ip, mir_time_us sent_us, uint8_t bytes[MIR_NET_LEASE_BYTES_MAX])
{
    struct mir__dhcp ack = {.op = MIR__DHCP_BOOTREPLY,
                            .type = MIR__DHCP_ACK,
                            .yiaddr = ip,
                            .subnet_mask = 0xffffff00,
                            .server_id = ROUTER,
                            .lease_s = LEASE_S,
                            .mtu = 1400,
                            .router_count = 1,
                            .dns_count = 1,
                            .domain_len = 4};
    memcpy(ack.chaddr, testbed_mac, 6);
    memcpy(ack.domain, "here", 4);
    ack.routers[0] = ROUTER;
    ack.dns[0] = ROUTER;
    mir_put_be32(bytes, (uint32_t)(sent_us >> 32));
    mir_put_be32(bytes + 4, (uint32_t)sent_us);
    return 8 + mir__dhcp_emit(&ack, bytes + 8);
}

static void open_bed(bool follows, const uint8_t *lease, size_t len)
{
    struct mir_net_if_config config = {.use_dhcp = true,
                                       .hostname = "hello",
                                       .dhcp_follows = follows,
                                       .dhcp_lease = lease,
                                       .dhcp_lease_len = len};
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

static int follow(uint32_t ip, mir_time_us sent_us)
{
    uint8_t bytes[MIR_NET_LEASE_BYTES_MAX];
    size_t len = make_copy(ip, sent_us, bytes);
    int r = mir_net_follow_lease(bed.net, 1, bytes, len);
    testbed_run(&bed);
    return r;
}

/* The next DHCP message that was sent; its type, 0: none. */
static uint8_t next_message(struct mir__dhcp *m)
{
    const struct testdev_frame *frame;
    while ((frame = testdev_next(&bed.dev)) != NULL) {
        if (mir__eth_type(frame->data) == MIR__ETH_TYPE_IP4 && frame->len > 42 &&
            check_int(mir__dhcp_parse(frame->data + 42, frame->len - 42, m), ==, 0))
            return m->type;
    }
    return 0;
}

static void test_follow(void)
{
    struct mir_net_lease lease;
    struct mir_ip dns[4];
    struct mir__dhcp m;
    open_bed(true, NULL, 0);
    tap_case("who follows asks nobody");
    testbed_advance(&bed, 100 * MIR_US_PER_S);
    check_int(next_message(&m), ==, 0);
    check_int(address(), ==, 0);
    tap_case("address, gateway, name server, MTU and times come with the lease");
    mir_time_us sent_us = bed.now_us - 5 * MIR_US_PER_S;
    check_int(follow(LEASED, sent_us), ==, 0);
    check_int(address(), ==, LEASED);
    if (check_int(mir_net_get_lease(bed.net, 1, &lease), ==, 0)) {
        check_int(mir_ip_to_v4(&lease.gateway), ==, ROUTER);
        check_int(lease.prefix_len, ==, 24);
        check_int(lease.expires_us, ==, sent_us + LEASE_S * MIR_US_PER_S);
    }
    check_int(mir_net_dns_servers(bed.net, dns, 4), ==, 1);
    check_int(mir__net_iface(bed.net, 1)->mtu, ==, 1400);
    tap_case("a renewal makes it longer, another address replaces it");
    testbed_advance(&bed, 900 * MIR_US_PER_S);
    sent_us = bed.now_us;
    check_int(follow(LEASED, sent_us), ==, 0);
    testbed_advance(&bed, 900 * MIR_US_PER_S);
    check_int(address(), ==, LEASED);
    check_int(follow(OTHER, bed.now_us), ==, 0);
    check_int(address(), ==, OTHER);
    tap_case("it ends by itself");
    testbed_advance(&bed, (LEASE_S - 1) * MIR_US_PER_S);
    check_int(address(), ==, OTHER);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    check_int(address(), ==, 0);
    check_int(mir_net_dns_servers(bed.net, dns, 4), ==, 0);
    tap_case("what is over already is not taken");
    check_int(follow(LEASED, bed.now_us - LEASE_S * MIR_US_PER_S), ==, -MIR_ENOENT);
    check_int(address(), ==, 0);
    tap_case("one that is lost is given up at once");
    check_int(follow(LEASED, bed.now_us), ==, 0);
    check_int(mir_net_follow_lease(bed.net, 1, NULL, 0), ==, 0);
    check_int(address(), ==, 0);
    check_int(next_message(&m), ==, 0);
    check_int(mir_net_follow_lease(bed.net, 2, NULL, 0), ==, -MIR_ENOENT);
    testbed_close(&bed);
}

/* Two others claim it within ten seconds: who follows defends it and leaves the rest to the first.
 */
static void test_quarrel(void)
{
    static const uint8_t foreign[6] = {2, 9, 9, 9, 9, 9};
    open_bed(true, NULL, 0);
    check_int(follow(LEASED, bed.now_us), ==, 0);
    tap_case("who follows gives nothing up because somebody else claims it");
    for (unsigned i = 0; i < 5; i++) {
        testbed_inject_arp(&bed, 1, LEASED, foreign, ROUTER);
        testbed_advance(&bed, MIR_US_PER_S);
    }
    check_int(address(), ==, LEASED);
    testbed_close(&bed);
}

static void test_copy(void)
{
    uint8_t bytes[MIR_NET_LEASE_BYTES_MAX], same[MIR_NET_LEASE_BYTES_MAX];
    size_t len = 0, same_len;
    open_bed(true, NULL, 0);
    tap_case("a copy of a copy is the same");
    check_int(mir_net_copy_lease(bed.net, 1, bytes, &len), ==, -MIR_ENOENT);
    same_len = make_copy(LEASED, bed.now_us - MIR_US_PER_S, same);
    check_int(mir_net_follow_lease(bed.net, 1, same, same_len), ==, 0);
    check_int(mir_net_copy_lease(bed.net, 1, bytes, &len), ==, 0);
    if (check_int(len, ==, same_len))
        check_mem(bytes, same, len);
    tap_case("copies without sense are refused and change nothing");
    check_int(mir_net_follow_lease(bed.net, 1, bytes, 7), ==, -MIR_EMALFORMED);
    check_int(mir_net_follow_lease(bed.net, 1, bytes, 100), ==, -MIR_EMALFORMED);
    check_int(mir_net_follow_lease(bed.net, 1, bytes, sizeof bytes + 1), ==, -MIR_EMALFORMED);
    bytes[8 + 28] ^= 1; /* of another card */
    check_int(mir_net_follow_lease(bed.net, 1, bytes, len), ==, -MIR_EMALFORMED);
    bytes[8 + 28] ^= 1;
    bytes[8] = MIR__DHCP_BOOTREQUEST;
    check_int(mir_net_follow_lease(bed.net, 1, bytes, len), ==, -MIR_EMALFORMED);
    check_int(address(), ==, LEASED);
    unsigned taken = 0;
    for (unsigned i = 0; i < 2000; i++) {
        memcpy(bytes, same, same_len);
        for (uint32_t n = mir_rng_below(&bed.rng, 4); n > 0; n--)
            bytes[mir_rng_below(&bed.rng, (uint32_t)same_len)] = (uint8_t)mir_rng_u32(&bed.rng);
        len = mir_rng_below(&bed.rng, (uint32_t)same_len + 1);
        taken += mir_net_follow_lease(bed.net, 1, bytes, len) == 0;
    }
    testbed_run(&bed);
    tap_note("%u of 2000 damaged copies were believed", taken);
    check_int(follow(OTHER, bed.now_us), ==, 0);
    check_int(address(), ==, OTHER);
    testbed_close(&bed);
}

static void test_lead(void)
{
    uint8_t bytes[MIR_NET_LEASE_BYTES_MAX];
    struct mir__dhcp m;
    size_t len = make_copy(LEASED, 990 * MIR_US_PER_S, bytes); /* ten seconds ago */
    open_bed(false, bytes, len);
    tap_case("started with a lease: it is in use at once, and asked about");
    check_int(address(), ==, LEASED);
    check_int(next_message(&m), ==, MIR__DHCP_REQUEST);
    check_int(m.requested_ip, ==, LEASED);
    check_int(m.server_id, ==, 0);
    check_int(mir_net_follow_lease(bed.net, 1, NULL, 0), ==, -MIR_ENOENT);
    tap_case("nobody answers: renewed at T1 all the same");
    testbed_advance(&bed, 489 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    testbed_advance(&bed, 1500 * MIR_US_PER_MS);
    testbed_inject_arp(&bed, 2, ROUTER, testbed_peer_mac, LEASED);
    testbed_run(&bed);
    check_int(next_message(&m), ==, MIR__DHCP_REQUEST);
    check_int(m.ciaddr, ==, LEASED);
    tap_case("no longer leading: the address stays, nothing is sent, nothing released");
    check_int(mir_net_lead_lease(bed.net, 1, false), ==, 0);
    testdev_clear(&bed.dev);
    testbed_advance(&bed, 400 * MIR_US_PER_S);
    check_int(next_message(&m), ==, 0);
    check_int(address(), ==, LEASED);
    tap_case("leading again: asked about");
    check_int(mir_net_lead_lease(bed.net, 1, true), ==, 0);
    check_int(next_message(&m), ==, MIR__DHCP_REQUEST);
    check_int(mir_net_lead_lease(bed.net, 1, false), ==, 0);
    check_int(mir_net_lead_lease(bed.net, 2, false), ==, -MIR_ENOENT);
    testdev_clear(&bed.dev);
    mir_net_close(bed.net);
    bed.net = NULL;
    check_int(next_message(&m), ==, 0);
    testbed_close(&bed);
    tap_case("to lead without a lease is to begin");
    open_bed(true, NULL, 0);
    check_int(mir_net_lead_lease(bed.net, 1, true), ==, 0);
    check_int(next_message(&m), ==, MIR__DHCP_DISCOVER);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_dhcp_follow");
    test_follow();
    test_quarrel();
    test_copy();
    test_lead();
    return tap_done();
}
