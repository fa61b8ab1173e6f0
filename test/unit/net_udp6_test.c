/* SPDX-License-Identifier: ISC */
/* UDP sockets over IPv6: meta data, checksums, ICMPv6 errors, groups (lib/net/udp*.c). */
#include <stdio.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/bed6.h"
#include "test/harness/tap.h"

#define OWN   "2001:db8::2"
#define PEER  "2001:db8::1"
#define GROUP "ff15::77"

static struct testbed bed;
static struct {
    uint32_t count, errors;
    struct mir_udp_meta meta;
    struct mir_udp_error error;
} got;

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf,
                        void *arg)
{
    (void)udp, (void)arg;
    got.count++;
    got.meta = *meta;
    mir_buf_release(buf);
}

static void on_error(struct mir_udp *udp, const struct mir_udp_error *error, void *arg)
{
    (void)udp, (void)arg;
    got.errors++;
    got.error = *error;
}

static struct mir_udp *open_bed(struct mir_udp_config config)
{
    static const struct mir_net_prefix addresses[] = {{.prefix_len = 64}};
    struct mir_net_prefix own = addresses[0];
    struct mir_net_if_config interface = {
        .ip = mir_ip_from_v4(TESTBED_IP),
        .prefix_len = 24,
        .ip6 = MIR_IP6_STATIC,
        .ip6_no_dad = true,
        .addresses = &own,
        .address_count = 1,
    };
    struct mir_udp *udp = NULL;
    own.ip = bed6_ip(OWN);
    memset(&got, 0, sizeof got);
    testbed_init(&bed, 3, 8 << 20, 0);
    testbed_open_if(&bed, NULL, &interface);
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    config.local.port = 7;
    config.handler = on_datagram;
    config.on_error = on_error;
    check_int(mir_udp_open_config(bed.stack, &config, &udp), ==, 0);
    testdev_clear(&bed.dev);
    return udp;
}

static const uint8_t datagram[] = {0, 99, 0, 7, 0, 13, 0, 0, 'h', 'e', 'l', 'l', 'o'};

static void inject(const char *src, const char *dst)
{
    uint8_t bytes[sizeof datagram];
    memcpy(bytes, datagram, sizeof bytes);
    bed6_inject(&bed, testbed_peer_mac, src, dst, 33, MIR__PROTO_UDP, bytes, sizeof bytes);
    testbed_run(&bed);
}

static void test_meta(void)
{
    (void)open_bed((struct mir_udp_config){.v6_only = true});
    tap_case("meta data of an IPv6 datagram");
    inject(PEER, OWN);
    check_int(got.count, ==, 1);
    (void)bed6_check_ip(&got.meta.from.ip, PEER);
    (void)bed6_check_ip(&got.meta.to.ip, OWN);
    check(got.meta.from.port == 99 && got.meta.to.port == 7 && got.meta.ttl == 33);
    check(got.meta.if_index == 1 && !got.meta.is_group);
    tap_case("without a checksum it is dropped (RFC 8200 section 8.1)");
    uint8_t frame[14 + 40 + sizeof datagram] = {0};
    struct mir_ip src = bed6_ip(PEER), dst = bed6_ip(OWN);
    memcpy(frame, testbed_mac, 6);
    memcpy(frame + 6, testbed_peer_mac, 6);
    mir_put_be16(frame + 12, MIR__ETH_TYPE_IP6);
    frame[14] = 0x60;
    mir_put_be16(frame + 18, sizeof datagram);
    frame[20] = MIR__PROTO_UDP;
    frame[21] = 64;
    memcpy(frame + 22, src.bytes, 16);
    memcpy(frame + 38, dst.bytes, 16);
    memcpy(frame + 54, datagram, sizeof datagram);
    testdev_inject(&bed.dev, frame, sizeof frame);
    testbed_run(&bed);
    check_int(got.count, ==, 1);
    check_int(testbed_stat(&bed, "udp_bad_checksum"), ==, 1);
    tap_case("a socket of IPv6 alone hears no IPv4, a port that nobody has is refused by ICMPv6");
    uint8_t v4[100];
    size_t len = testbed_make_udp(v4, 99, 7, "hello", 5);
    testdev_inject(&bed.dev, v4, len);
    testbed_run(&bed);
    check_int(got.count, ==, 1);
    check_int(testbed_stat(&bed, "udp_no_port"), ==, 1);
    testbed_close(&bed);
}

static void test_errors(void)
{
    struct mir_udp *udp = open_bed((struct mir_udp_config){0});
    struct mir_endpoint peer = {.ip = bed6_ip(PEER), .port = 99}, local;
    tap_case("a connected socket of both families takes an IPv6 source");
    bed6_solicit(&bed, PEER, OWN, OWN, testbed_peer_mac); /* makes the peer known */
    testbed_run(&bed);
    check_int(mir_udp_connect(udp, &peer), ==, 0);
    mir_udp_get_local(udp, &local);
    (void)bed6_check_ip(&local.ip, OWN);
    testdev_clear(&bed.dev);
    check_int(mir_udp_send(udp, NULL, "x", 1), ==, 0);
    testbed_run(&bed);
    const struct testdev_frame *frame = testdev_next(&bed.dev);
    if (check(frame != NULL && frame->data[20] == MIR__PROTO_UDP)) {
        tap_case("ICMPv6 port unreachable and packet too big reach its error handler");
        uint8_t icmp[8 + 40 + 8] = {1, 4};
        memcpy(icmp + 8, frame->data + 14, 48);
        bed6_inject(&bed, testbed_peer_mac, PEER, OWN, 64, 58, icmp, sizeof icmp);
        testbed_run(&bed);
        check_int(got.errors, ==, 1);
        check_int(got.error.err, ==, -MIR_ECONNREFUSED);
        check_int(got.error.to.port, ==, 99);
        icmp[0] = 2;
        icmp[1] = 0;
        mir_put_be32(icmp + 4, 1300);
        memset(icmp + 2, 0, 2);
        bed6_inject(&bed, testbed_peer_mac, PEER, OWN, 64, 58, icmp, sizeof icmp);
        testbed_run(&bed);
        check_int(got.errors, ==, 2);
        check_int(got.error.err, ==, -MIR_ETOOBIG);
        check_int(got.error.mtu, ==, 1300);
    }
    testbed_close(&bed);
}

/* Packet too big about the datagram in @frame. */
static void too_big(const uint8_t *packet, uint16_t mtu)
{
    uint8_t icmp[8 + 48] = {2, 0};
    mir_put_be32(icmp + 4, mtu);
    memcpy(icmp + 8, packet, 48);
    bed6_inject(&bed, testbed_peer_mac, PEER, OWN, 64, 58, icmp, sizeof icmp);
    testbed_run(&bed);
}

static void test_path_mtu(void)
{
    struct mir_udp *udp = open_bed((struct mir_udp_config){0});
    uint8_t sent[20][48];
    struct mir_ip ip;
    tap_case("a socket that speaks to many learns the path of each");
    struct mir_net_route route = {.gateway = bed6_ip(PEER)};
    check_int(mir_net_add_route(bed.net, &route), ==, 0);
    bed6_solicit(&bed, PEER, OWN, OWN, testbed_peer_mac);
    testbed_run(&bed);
    for (unsigned i = 0; i < 20; i++) {
        char text[40];
        snprintf(text, sizeof text, "2001:db8:1::%x", i + 1);
        struct mir_endpoint to = {.ip = bed6_ip(text), .port = 99};
        testdev_clear(&bed.dev);
        check_int(mir_udp_send(udp, &to, "x", 1), ==, 0);
        const struct testdev_frame *frame = testdev_next(&bed.dev);
        while (frame != NULL && frame->data[20] != MIR__PROTO_UDP)
            frame = testdev_next(&bed.dev);
        if (!check(frame != NULL))
            break;
        memcpy(sent[i], frame->data + 14, 48);
    }
    too_big(sent[10], 1300);
    ip = bed6_ip("2001:db8:1::b");
    check_int(mir__pmtu_find(bed.net, &ip), ==, 1300);
    too_big(sent[19], 1400);
    ip = bed6_ip("2001:db8:1::14");
    check_int(mir__pmtu_find(bed.net, &ip), ==, 1400);
    tap_case("what it does not remember to have sent to is not believed");
    too_big(sent[0], 1300);
    check_int(bed.net->pmtu.count, ==, 2);
    sent[10][24 + 8] ^= 1;
    too_big(sent[10], 1300);
    check_int(bed.net->pmtu.count, ==, 2);
    testbed_close(&bed);
}

static void test_groups(void)
{
    struct mir_udp *udp = open_bed((struct mir_udp_config){0});
    struct mir_udp_group group = {.group = bed6_ip(GROUP), .if_index = 1};
    tap_case("groups of IPv6: members only, one source if asked, all nodes always");
    inject(PEER, GROUP);
    check_int(got.count, ==, 0);
    inject(PEER, BED6_ALL_NODES);
    check_int(got.count, ==, 1);
    check(got.meta.is_group);
    group.source = bed6_ip("2001:db8::9");
    check_int(mir_udp_join(udp, &group), ==, 0);
    inject(PEER, GROUP);
    check_int(got.count, ==, 1);
    inject("2001:db8::9", GROUP);
    check_int(got.count, ==, 2);
    (void)bed6_check_ip(&got.meta.to.ip, GROUP);
    check_int(mir_udp_leave(udp, &group), ==, 0);
    inject("2001:db8::9", GROUP);
    check_int(got.count, ==, 2);
    tap_case("what we send to a group of our own comes back, with IPv6 addresses");
    group.source = (struct mir_ip){{0}};
    check_int(mir_udp_join(udp, &group), ==, 0);
    struct mir_endpoint to = {.ip = bed6_ip(GROUP), .port = 7};
    check_int(mir_udp_send(udp, &to, "hello", 5), ==, 0);
    testbed_run(&bed);
    check_int(got.count, ==, 3);
    check(got.meta.from.port == 7 && got.meta.ttl == 1 && !mir_ip_is_v4(&got.meta.from.ip));
    testbed_close(&bed);
}

static uint32_t label_to(struct mir_udp *udp, const char *dst, uint16_t port)
{
    struct mir_endpoint to = {.ip = bed6_ip(dst), .port = port};
    const struct testdev_frame *frame;
    check_int(mir_udp_send(udp, &to, "x", 1), ==, 0);
    testbed_run(&bed);
    while ((frame = testdev_next(&bed.dev)) != NULL) {
        if (frame->data[14] >> 4 == 6 && mir__ip6_next(frame->data + 14) == MIR__PROTO_UDP)
            return mir__ip6_flow_label(frame->data + 14);
    }
    check(false);
    return 0;
}

static void test_v4_only(void)
{
    tap_case("a socket of IPv4 alone gets nothing of IPv6");
    struct mir_udp *udp = open_bed((struct mir_udp_config){.v4_only = true});
    inject(PEER, OWN);
    check_int(got.count, ==, 0);
    tap_case("one of IPv6 alone beside it does");
    struct mir_udp_config config = {.v6_only = true, .handler = on_datagram, .local.port = 7};
    struct mir_udp *six = NULL;
    check_int(mir_udp_open_config(bed.stack, &config, &six), ==, 0);
    inject(PEER, OWN);
    check_int(got.count, ==, 1);
    mir_udp_close(udp);
    mir_udp_close(six);
    testbed_close(&bed);
}

static void test_flow_labels(void)
{
    struct mir_udp *udp = open_bed((struct mir_udp_config){.v6_only = true});
    bed6_solicit(&bed, PEER, "ff02::1:ff00:2", OWN, testbed_peer_mac);
    tap_case("datagrams of one flow have one label, other flows others (RFC 6437)");
    uint32_t label = label_to(udp, PEER, 53);
    check_int(label, !=, 0);
    check_int(label_to(udp, PEER, 54), !=, label);
    check_int(label_to(udp, "ff02::99", 53), !=, label);
    check_int(label_to(udp, PEER, 53), ==, label);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_udp6");
    test_meta();
    test_errors();
    test_path_mtu();
    test_groups();
    test_flow_labels();
    test_v4_only();
    return tap_done();
}
