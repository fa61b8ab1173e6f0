/* SPDX-License-Identifier: ISC */
/* UDP sockets: meta data, connecting, ICMP errors, sharing of ports, groups, options, tasks
 * (lib/net/udp*.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/stacks.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

static struct testbed bed;

/* What one socket has got. */
struct seen {
    struct mir_udp *udp;
    uint32_t count, errors;
    struct mir_udp_meta meta;
    struct mir_udp_error error;
    struct mir_udp *close_me;
};

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf,
                        void *arg)
{
    struct seen *seen = arg;
    (void)udp;
    seen->count++;
    seen->meta = *meta;
    mir_buf_release(buf);
    if (seen->close_me != NULL)
        mir_udp_close(seen->close_me);
    seen->close_me = NULL;
}

static void on_error(struct mir_udp *udp, const struct mir_udp_error *error, void *arg)
{
    struct seen *seen = arg;
    (void)udp;
    seen->errors++;
    seen->error = *error;
}

static void open_bed(const struct mir_net_config *config)
{
    testbed_init(&bed, 11, 16 << 20, 0);
    testbed_open(&bed, config);
}

static int open_with(struct seen *seen, struct mir_udp_config config, uint32_t ip, uint16_t port)
{
    memset(seen, 0, sizeof *seen);
    config.local = (struct mir_endpoint){.ip = mir_ip_from_v4(ip), .port = port};
    config.handler = on_datagram;
    config.arg = seen;
    return mir_udp_open_config(bed.stack, &config, &seen->udp);
}

static void open_plain(struct seen *seen, uint16_t port)
{
    check_int(open_with(seen, (struct mir_udp_config){0}, 0, port), ==, 0);
}

/* A datagram from any address to any address of IPv4. */
static void inject(uint32_t src, uint16_t src_port, uint32_t dst, uint16_t dst_port)
{
    uint8_t frame[200];
    size_t len = testbed_make_udp(frame, src_port, dst_port, "hello", 5);
    uint8_t *ip = frame + 14;
    if (dst >> 28 == 0xe) {
        const uint8_t mac[6] = {1, 0, 0x5e, dst >> 16 & 0x7f, dst >> 8 & 0xff, dst & 0xff};
        memcpy(frame, mac, 6);
    } else if ((dst & 0xff) == 0xff) {
        memset(frame, 0xff, 6);
    }
    mir_put_be32(ip + 12, src);
    mir_put_be32(ip + 16, dst);
    ip[1] = 0xb9;
    ip[8] = 33;
    memset(ip + 10, 0, 2);
    uint16_t sum = (uint16_t)~mir__csum_partial(ip, 20);
    memcpy(ip + 10, &sum, 2);
    memset(ip + 26, 0, 2);
    testdev_inject(&bed.dev, frame, len);
    testbed_run(&bed);
}

static struct mir_endpoint peer_at(uint16_t port)
{
    return (struct mir_endpoint){.ip = mir_ip_from_v4(TESTBED_PEER_IP), .port = port};
}

/* The next IPv4 frame that was sent, ARP and IGMP left out. */
static const struct testdev_frame *next_ip(void)
{
    const struct testdev_frame *frame;
    do
        frame = testdev_next(&bed.dev);
    while (frame != NULL && (mir_get_be16(frame->data + 12) != MIR__ETH_TYPE_IP4 ||
                             mir__ip4_protocol(frame->data + 14) == MIR__PROTO_IGMP));
    return frame;
}

/* An ICMP error about the datagram in @frame, as a host or router would send it. */
static void inject_icmp(const struct testdev_frame *frame, uint8_t type, uint8_t code, uint16_t mtu)
{
    uint8_t out[200], icmp[8 + 28] = {type, code, 0, 0, 0, 0, (uint8_t)(mtu >> 8), (uint8_t)mtu};
    memcpy(icmp + 8, frame->data + 14, 28);
    uint16_t sum = (uint16_t)~mir__csum_partial(icmp, sizeof icmp);
    memcpy(icmp + 2, &sum, 2);
    size_t len = testbed_make_ip(out, MIR__PROTO_ICMP, icmp, sizeof icmp);
    testdev_inject(&bed.dev, out, len);
    testbed_run(&bed);
}

static void test_meta(void)
{
    struct seen a;
    open_bed(NULL);
    open_plain(&a, 7);
    tap_case("meta data: both ends, interface, TTL, TOS");
    inject(TESTBED_PEER_IP, 5555, TESTBED_IP, 7);
    check_int(a.count, ==, 1);
    check_int(mir_ip_to_v4(&a.meta.from.ip), ==, TESTBED_PEER_IP);
    check_int(a.meta.from.port, ==, 5555);
    check_int(mir_ip_to_v4(&a.meta.to.ip), ==, TESTBED_IP);
    check_int(a.meta.to.port, ==, 7);
    check_int(a.meta.if_index, ==, 1);
    check_int(a.meta.ttl, ==, 33);
    check_int(a.meta.tos, ==, 0xb9);
    check(!a.meta.is_group);
    inject(TESTBED_PEER_IP, 5555, 0x0a0000ff, 7);
    check(a.meta.is_group);
    check_int(mir_ip_to_v4(&a.meta.to.ip), ==, 0x0a0000ff);
    testbed_close(&bed);
}

static void test_connected(void)
{
    struct seen a, b, c;
    struct mir_endpoint local, peer = peer_at(1000), none = {0};
    open_bed(NULL);
    open_plain(&a, 7);
    tap_case("connected: only the peer's datagrams; others are refused by ICMP");
    check_int(mir_udp_send(a.udp, NULL, "x", 1), ==, -MIR_ENOTCONN);
    check_int(mir_udp_connect(a.udp, &peer), ==, 0);
    mir_udp_get_local(a.udp, &local);
    check_int(mir_ip_to_v4(&local.ip), ==, TESTBED_IP);
    inject(TESTBED_PEER_IP, 1000, TESTBED_IP, 7);
    check_int(a.count, ==, 1);
    inject(TESTBED_PEER_IP, 1001, TESTBED_IP, 7);
    inject(0x0a000009, 1000, TESTBED_IP, 7);
    check_int(a.count, ==, 1);
    check_int(testbed_stat(&bed, "udp_no_port"), ==, 2);
    tap_case("connected: sending needs no address");
    testdev_clear(&bed.dev);
    check_int(mir_udp_send(a.udp, NULL, "x", 1), ==, 0);
    const struct testdev_frame *frame = next_ip();
    check(frame != NULL && mir_get_be16(frame->data + 36) == 1000);
    tap_case("connected: another peer beside it on the same port, and one without");
    check_int(open_with(&b, (struct mir_udp_config){.reuse_addr = true}, 0, 7), ==,
              -MIR_EADDRINUSE);
    mir_udp_close(a.udp);
    const struct mir_udp_config share = {.reuse_addr = true};
    check_int(open_with(&a, share, 0, 7), ==, 0);
    check_int(open_with(&b, share, 0, 7), ==, 0);
    check_int(open_with(&c, share, 0, 7), ==, 0);
    check_int(mir_udp_connect(a.udp, &peer), ==, 0);
    check_int(mir_udp_connect(b.udp, &peer), ==, -MIR_EADDRINUSE);
    peer.port = 1001;
    check_int(mir_udp_connect(b.udp, &peer), ==, 0);
    for (uint16_t port = 1000; port < 1003; port++)
        inject(TESTBED_PEER_IP, port, TESTBED_IP, 7);
    check(a.count == 1 && b.count == 1 && c.count == 1);
    check_int(a.meta.from.port, ==, 1000);
    check_int(b.meta.from.port, ==, 1001);
    tap_case("connected: ended again");
    check_int(mir_udp_connect(a.udp, &none), ==, 0);
    mir_udp_close(c.udp);
    inject(0x0a000009, 77, TESTBED_IP, 7);
    check_int(a.count, ==, 2);
    tap_case("connected: not to a broadcast address without permission");
    peer.ip = mir_ip_from_v4(UINT32_MAX);
    check_int(mir_udp_connect(a.udp, &peer), ==, -MIR_EPERM);
    testbed_close(&bed);
}

static void test_errors(void)
{
    struct seen a, b;
    struct mir_endpoint peer = peer_at(1000);
    open_bed(NULL);
    open_plain(&a, 7);
    open_plain(&b, 8);
    tap_case("ICMP: the error handler of the right socket is told");
    mir_udp_set_handler(a.udp, on_datagram, on_error, &a);
    mir_udp_set_handler(b.udp, on_datagram, on_error, &b);
    check_int(mir_udp_send(a.udp, &peer, "x", 1), ==, 0);
    inject_icmp(next_ip(), 3, 3, 0);
    check_int(a.errors, ==, 1);
    check_int(b.errors, ==, 0);
    check_int(a.error.err, ==, -MIR_ECONNREFUSED);
    check_int(a.error.to.port, ==, 1000);
    check_int(mir_ip_to_v4(&a.error.to.ip), ==, TESTBED_PEER_IP);
    tap_case("ICMP: fragmentation needed tells the path's MTU");
    check_int(mir_udp_send(a.udp, &peer, "x", 1), ==, 0);
    inject_icmp(next_ip(), 3, 4, 1280);
    check_int(a.error.err, ==, -MIR_ETOOBIG);
    check_int(a.error.mtu, ==, 1280);
    tap_case("ICMP: a connected socket without handler keeps the error for one call");
    mir_udp_set_handler(a.udp, on_datagram, NULL, &a);
    check_int(mir_udp_send(a.udp, &peer, "x", 1), ==, 0);
    inject_icmp(next_ip(), 3, 3, 0);
    check_int(mir_udp_send(a.udp, &peer, "x", 1), ==, 0);
    check_int(testbed_stat(&bed, "udp_error_ignored"), ==, 1);
    check_int(mir_udp_connect(a.udp, &peer), ==, 0);
    inject_icmp(next_ip(), 3, 1, 0);
    check_int(mir_udp_send(a.udp, NULL, "x", 1), ==, -MIR_EHOSTUNREACH);
    check(next_ip() == NULL);
    check_int(mir_udp_send(a.udp, NULL, "x", 1), ==, 0);
    inject_icmp(next_ip(), 3, 3, 0);
    check_int(mir_udp_take_error(a.udp), ==, -MIR_ECONNREFUSED);
    check_int(mir_udp_take_error(a.udp), ==, 0);
    tap_case("a neighbour that does not answer is told in the same way");
    peer.ip = mir_ip_from_v4(0x0a000063);
    check_int(mir_udp_connect(a.udp, &peer), ==, 0);
    check_int(mir_udp_send(a.udp, NULL, "x", 1), ==, 0);
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    check_int(mir_udp_take_error(a.udp), ==, -MIR_EHOSTUNREACH);
    testbed_close(&bed);
}

/* ---- sharing a port ------------------------------------------------------------------------- */

static void test_sharing(void)
{
    struct seen s[5], other;
    const struct mir_udp_config groups = {.reuse_addr = true}, spread = {.reuse_port = true};
    uint32_t used = 0, again[5];
    open_bed(NULL);
    tap_case("reuse_addr: all must consent; unicast goes to the one opened last");
    check_int(open_with(&s[0], groups, 0, 7), ==, 0);
    check_int(open_with(&s[1], groups, 0, 7), ==, 0);
    check_int(open_with(&other, (struct mir_udp_config){0}, 0, 7), ==, -MIR_EADDRINUSE);
    check_int(open_with(&other, spread, 0, 7), ==, -MIR_EADDRINUSE);
    inject(TESTBED_PEER_IP, 99, TESTBED_IP, 7);
    check(s[0].count == 0 && s[1].count == 1);
    tap_case("reuse_addr: broadcasts go to all, each with the whole datagram");
    inject(TESTBED_PEER_IP, 99, 0x0a0000ff, 7);
    check(s[0].count == 1 && s[1].count == 2);
    tap_case("a handler may close any of those that follow");
    check_int(open_with(&s[2], groups, 0, 7), ==, 0);
    check_int(open_with(&s[3], groups, 0, 7), ==, 0);
    s[3].close_me = s[2].udp; /* the newest is asked first */
    inject(TESTBED_PEER_IP, 99, UINT32_MAX, 7);
    check(s[3].count == 1 && s[2].count == 0 && s[1].count == 3 && s[0].count == 2);
    s[3].close_me = s[3].udp;
    inject(TESTBED_PEER_IP, 99, UINT32_MAX, 7);
    check(s[3].count == 2 && s[1].count == 4 && s[0].count == 3);
    tap_case("reuse_port: peers are spread, and each stays where it is");
    for (int i = 0; i < 5; i++)
        check_int(open_with(&s[i], spread, 0, 8), ==, 0);
    for (uint16_t port = 1; port <= 200; port++)
        inject(TESTBED_PEER_IP, port, TESTBED_IP, 8);
    for (int i = 0; i < 5; i++) {
        used += s[i].count >= 20;
        again[i] = s[i].count;
    }
    check_int(used, ==, 5);
    for (uint16_t port = 1; port <= 200; port++)
        inject(TESTBED_PEER_IP, port, TESTBED_IP, 8);
    for (int i = 0; i < 5; i++)
        check_int(s[i].count, ==, 2 * again[i]);
    tap_case("IPv6 alone: no IPv4, and IPv4 beside it on the port");
    check_int(open_with(&s[0], (struct mir_udp_config){.v6_only = true}, 0, 9), ==, 0);
    inject(TESTBED_PEER_IP, 1, TESTBED_IP, 9);
    check_int(s[0].count, ==, 0);
    check_int(open_with(&s[1], (struct mir_udp_config){0}, TESTBED_IP, 9), ==, 0);
    inject(TESTBED_PEER_IP, 1, TESTBED_IP, 9);
    check_int(s[1].count, ==, 1);
    tap_case("beside it the any-address of IPv4 alone, not that of both");
    check_int(open_with(&s[2], (struct mir_udp_config){.v6_only = true}, 0, 10), ==, 0);
    check_int(open_with(&s[3], (struct mir_udp_config){0}, 0, 10), ==, -MIR_EADDRINUSE);
    check_int(open_with(&s[3], (struct mir_udp_config){.v4_only = true}, 0, 10), ==, 0);
    inject(TESTBED_PEER_IP, 1, TESTBED_IP, 10);
    check_int(s[3].count, ==, 1);
    testbed_close(&bed);
}

/* A thousand sockets on one port: one peer each. Counted, not timed: the chains stay short. */
static void test_many(void)
{
    enum { MANY = 1000 };
    static struct seen s[MANY];
    struct mir_net_config config = {.udp_sockets_max = MANY + 1};
    open_bed(&config);
    tap_case("a thousand connected sockets on one port each get their own");
    for (uint16_t i = 0; i < MANY; i++) {
        struct mir_endpoint peer = peer_at((uint16_t)(i + 1));
        check_int(open_with(&s[i], (struct mir_udp_config){.reuse_addr = true}, 0, 7), ==, 0);
        check_int(mir_udp_connect(s[i].udp, &peer), ==, 0);
    }
    uint32_t longest = 0;
    for (uint32_t i = 0; i <= bed.net->udp.bucket_mask; i++) {
        uint32_t len = 0;
        mir_list_for_each (node, &bed.net->udp.by_flow[i])
            len++;
        longest = MIR_MAX(longest, len);
    }
    check_int(longest, <=, 8);
    for (uint16_t i = 0; i < MANY; i++)
        inject(TESTBED_PEER_IP, (uint16_t)(i + 1), TESTBED_IP, 7);
    uint32_t wrong = 0;
    for (uint16_t i = 0; i < MANY; i++)
        wrong += s[i].count != 1 || s[i].meta.from.port != i + 1;
    check_int(wrong, ==, 0);
    testbed_close(&bed);
}

static void send_back(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf,
                      void *arg)
{
    (void)arg;
    check_int(mir_udp_send_buf(udp, &meta->from, buf), ==, 0);
}

static void test_send_back(void)
{
    struct seen a, b;
    open_bed(NULL);
    tap_case("each of two sockets may send back the buffer of a broadcast");
    check_int(open_with(&a, (struct mir_udp_config){.reuse_addr = true}, 0, 7), ==, 0);
    check_int(open_with(&b, (struct mir_udp_config){.reuse_addr = true}, 0, 7), ==, 0);
    mir_udp_set_handler(a.udp, send_back, NULL, NULL);
    mir_udp_set_handler(b.udp, send_back, NULL, NULL);
    testbed_inject_arp(&bed, MIR__ARP_REQUEST, TESTBED_PEER_IP, testbed_peer_mac, TESTBED_IP);
    testbed_run(&bed);
    testdev_clear(&bed.dev);
    inject(TESTBED_PEER_IP, 99, 0x0a0000ff, 7);
    for (int i = 0; i < 2; i++) {
        const struct testdev_frame *frame = next_ip();
        if (check(frame != NULL))
            check_mem(frame->data + 42, "hello", 5);
    }
    check(next_ip() == NULL);
    testbed_close(&bed);
}

/* ---- groups --------------------------------------------------------------------------------- */

static void test_groups(void)
{
    const uint32_t group = 0xefff0102, other = 0xefff0103;
    struct mir_udp_group all = {.group = mir_ip_from_v4(group), .if_index = 1};
    struct mir_udp_group one = all, wrong = all;
    struct seen a, b;
    open_bed(NULL);
    check_int(open_with(&a, (struct mir_udp_config){.reuse_addr = true}, 0, 7), ==, 0);
    check_int(open_with(&b, (struct mir_udp_config){.reuse_addr = true}, 0, 7), ==, 0);
    tap_case("groups: only members get what is sent to them, all hosts always");
    inject(TESTBED_PEER_IP, 1, group, 7);
    check(a.count == 0 && b.count == 0);
    check_int(testbed_stat(&bed, "ip_not_for_us"), ==, 1);
    inject(TESTBED_PEER_IP, 1, 0xe0000001, 7);
    check(a.count == 1 && b.count == 1);
    check_int(mir_udp_join(a.udp, &all), ==, 0);
    check_int(mir_udp_join(a.udp, &all), ==, -MIR_EEXIST);
    inject(TESTBED_PEER_IP, 1, group, 7);
    inject(TESTBED_PEER_IP, 1, other, 7);
    check(a.count == 2 && b.count == 1);
    check(a.meta.is_group);
    inject(TESTBED_PEER_IP, 1, group, 8);
    check_int(testbed_stat(&bed, "udp_no_member"), ==, 1);
    tap_case("groups: one source only (RFC 3678)");
    one.source = mir_ip_from_v4(0x0a000009);
    check_int(mir_udp_join(b.udp, &one), ==, 0);
    inject(TESTBED_PEER_IP, 1, group, 7);
    check(a.count == 3 && b.count == 1);
    inject(0x0a000009, 1, group, 7);
    check(a.count == 4 && b.count == 2);
    tap_case("groups: left again; what cannot be joined");
    check_int(mir_udp_leave(b.udp, &all), ==, -MIR_ENOENT);
    check_int(mir_udp_leave(b.udp, &one), ==, 0);
    inject(0x0a000009, 1, group, 7);
    check(a.count == 5 && b.count == 2);
    wrong.group = mir_ip_from_v4(TESTBED_PEER_IP);
    check_int(mir_udp_join(b.udp, &wrong), ==, -MIR_EINVAL);
    wrong = all;
    wrong.if_index = 2;
    check_int(mir_udp_join(b.udp, &wrong), ==, -MIR_ENETUNREACH);
    tap_case("groups: a socket bound to a group address");
    struct seen bound;
    check_int(open_with(&bound, (struct mir_udp_config){0}, group, 9), ==, 0);
    check_int(mir_udp_join(bound.udp, &all), ==, 0);
    inject(TESTBED_PEER_IP, 1, group, 9);
    inject(TESTBED_PEER_IP, 1, TESTBED_IP, 9);
    check_int(bound.count, ==, 1);
    struct mir_endpoint to = {.ip = mir_ip_from_v4(0), .port = 1};
    to = peer_at(1);
    testdev_clear(&bed.dev);
    check_int(mir_udp_send(bound.udp, &to, "x", 1), ==, 0);
    const struct testdev_frame *frame = next_ip();
    check(frame != NULL && mir__ip4_src(frame->data + 14) == TESTBED_IP);
    testbed_close(&bed);
}

static void test_bound_to_broadcast(void)
{
    const uint32_t subnet = 0x0a0000ff;
    struct seen s[2], none;
    struct mir_endpoint to = peer_at(1);
    open_bed(NULL);
    tap_case("bound to a broadcast address: what was sent there, and nothing else");
    check_int(open_with(&s[0], (struct mir_udp_config){0}, subnet, 9), ==, 0);
    check_int(open_with(&s[1], (struct mir_udp_config){0}, UINT32_MAX, 10), ==, 0);
    check_int(open_with(&none, (struct mir_udp_config){0}, 0x0a0001ff, 11), ==,
              -MIR_EADDRNOTAVAIL); /* of a subnet that is not ours */
    inject(TESTBED_PEER_IP, 1, subnet, 9);
    inject(TESTBED_PEER_IP, 1, TESTBED_IP, 9);
    inject(TESTBED_PEER_IP, 1, UINT32_MAX, 9);
    inject(TESTBED_PEER_IP, 1, UINT32_MAX, 10);
    inject(TESTBED_PEER_IP, 1, subnet, 10);
    check(s[0].count == 1 && s[1].count == 1);
    tap_case("bound to a broadcast address: it is no source");
    for (int i = 0; i < 2; i++) {
        testdev_clear(&bed.dev);
        check_int(mir_udp_send(s[i].udp, &to, "x", 1), ==, 0);
        const struct testdev_frame *frame = next_ip();
        check(frame != NULL && mir__ip4_src(frame->data + 14) == TESTBED_IP);
    }
    testbed_close(&bed);
}

static void test_group_loop(void)
{
    struct mir_endpoint to = {.ip = mir_ip_from_v4(0xefff0102), .port = 7};
    struct mir_udp_group group = {.group = to.ip};
    struct seen a;
    open_bed(NULL);
    open_plain(&a, 7);
    check_int(mir_udp_join(a.udp, &group), ==, 0);
    tap_case("groups: own members hear us, from the loop and not inside the call");
    check_int(mir_udp_send(a.udp, &to, "hello", 5), ==, 0);
    check_int(a.count, ==, 0);
    testbed_run(&bed);
    check_int(a.count, ==, 1);
    check_int(mir_ip_to_v4(&a.meta.from.ip), ==, TESTBED_IP);
    check(a.meta.is_group && a.meta.ttl == 1);
    const struct testdev_frame *frame = next_ip();
    check(frame != NULL && frame->data[14 + 8] == 1);
    tap_case("groups: a TTL of 0 stays here, no loop means no loop");
    check_int(mir_udp_set_option(a.udp, MIR_UDP_GROUP_TTL, 0), ==, 0);
    check_int(mir_udp_send(a.udp, &to, "hello", 5), ==, 0);
    testbed_run(&bed);
    check_int(a.count, ==, 2);
    check(next_ip() == NULL);
    check_int(mir_udp_set_option(a.udp, MIR_UDP_GROUP_TTL, 9), ==, 0);
    check_int(mir_udp_set_option(a.udp, MIR_UDP_GROUP_LOOP, 0), ==, 0);
    check_int(mir_udp_send(a.udp, &to, "hello", 5), ==, 0);
    testbed_run(&bed);
    check_int(a.count, ==, 2);
    frame = next_ip();
    check(frame != NULL && frame->data[14 + 8] == 9);
    tap_case("groups: what waits to be looped is bounded");
    check_int(mir_udp_set_option(a.udp, MIR_UDP_GROUP_LOOP, 1), ==, 0);
    for (int i = 0; i < 100; i++)
        check_int(mir_udp_send(a.udp, &to, "hello", 5), ==, 0);
    check_int(testbed_stat(&bed, "udp_loop_dropped"), ==, 100 - 64);
    testbed_close(&bed); /* with the queue full */
}

/* ---- sending -------------------------------------------------------------------------------- */

static void test_options(void)
{
    struct mir_endpoint to = peer_at(1000);
    struct mir_udp_msg msg = {.to = to};
    static uint8_t data[3000];
    struct seen a;
    open_bed(NULL);
    open_plain(&a, 7);
    tap_case("options: TTL and TOS of the socket, and of one message");
    check_int(mir_udp_set_option(a.udp, MIR_UDP_TTL, 17), ==, 0);
    check_int(mir_udp_set_option(a.udp, MIR_UDP_TOS, 0x2e << 2), ==, 0);
    check_int(mir_udp_send(a.udp, &to, "x", 1), ==, 0);
    const struct testdev_frame *frame = next_ip();
    check(frame != NULL && frame->data[22] == 17 && frame->data[15] == 0xb8);
    msg.ttl = 3;
    msg.tos = 4;
    check_int(mir_udp_send_views(a.udp, &msg, NULL, 0), ==, 0);
    frame = next_ip();
    check(frame != NULL && frame->data[22] == 3 && frame->data[15] == 4);
    check_int(mir_udp_set_option(a.udp, MIR_UDP_TTL, 0), ==, -MIR_ERANGE);
    check_int(mir_udp_set_option(a.udp, MIR_UDP_TTL, 256), ==, -MIR_ERANGE);
    check_int(mir_udp_set_option(a.udp, MIR_UDP_GROUP_IF, 2), ==, -MIR_ERANGE);
    tap_case("don't fragment: refused when too large, DF when not");
    check_int(mir_udp_send(a.udp, &to, data, 3000), ==, 0);
    testdev_clear(&bed.dev);
    check_int(mir_udp_set_option(a.udp, MIR_UDP_DONT_FRAGMENT, 1), ==, 0);
    check_int(mir_udp_send(a.udp, &to, data, 1473), ==, -MIR_ETOOBIG);
    check_int(mir_udp_send(a.udp, &to, data, 1472), ==, 0);
    frame = next_ip();
    check(frame != NULL && (frame->data[20] & 0x40) != 0);
    tap_case("source address and interface of one message");
    msg.from = mir_ip_from_v4(0x0a000077);
    check_int(mir_udp_send_views(a.udp, &msg, NULL, 0), ==, -MIR_EADDRNOTAVAIL);
    msg.from = mir_ip_from_v4(TESTBED_IP);
    msg.if_index = 1;
    check_int(mir_udp_send_views(a.udp, &msg, NULL, 0), ==, 0);
    msg.if_index = 2;
    check_int(mir_udp_send_views(a.udp, &msg, NULL, 0), ==, -MIR_ENETUNREACH);
    tap_case("views are gathered in one datagram, and consumed");
    struct mir_io_page *page;
    struct mir_view views[MIR_BUF_FRAG_MAX + 1];
    check_int(mir_page_alloc(&bed.pages, 64, MIR_PAGE_ZERO, &page), ==, 0);
    memcpy(page->base, "abcdefgh", 8);
    views[0] = mir_view_of_page(page, 4, 4);
    views[1] = mir_view_of_page(page, 0, 4);
    msg = (struct mir_udp_msg){.to = to};
    testdev_clear(&bed.dev);
    check_int(mir_udp_send_views(a.udp, &msg, views, 2), ==, 0);
    frame = next_ip();
    check(frame != NULL && frame->len == 42 + 8 && memcmp(frame->data + 42, "efghabcd", 8) == 0);
    for (size_t i = 0; i < MIR_ARRAY_LEN(views); i++)
        views[i] = mir_view_of_page(page, 0, 1);
    check_int(mir_udp_send_views(a.udp, &msg, views, MIR_ARRAY_LEN(views)), ==, -MIR_ELIMIT);
    mir_page_release(page);
    testbed_close(&bed);
}

/* ---- tasks ---------------------------------------------------------------------------------- */

static struct {
    struct mir_udp_task task;
    struct mir_udp_slot slots[4];
    uint32_t got;
    int last;
    bool is_done;
} worker;

static void work(void *arg)
{
    struct mir_udp_meta meta;
    struct mir_buf *buf;
    (void)arg;
    for (;;) {
        worker.last =
            mir_udp_recv_wait(&worker.task, mir_loop_now(&bed.loop) + MIR_US_PER_S, &meta, &buf);
        if (worker.last < 0)
            break;
        check_int(mir_buf_total(buf), ==, 5);
        check_int(meta.to.port, ==, 7);
        worker.got++;
        mir_buf_release(buf);
    }
    worker.is_done = true;
}

static void run_worker(void)
{
    struct test_stacks stacks;
    worker.got = 0;
    worker.is_done = false;
    test_stacks_init(&stacks, 4);
    check_int(mir_task_spawn(&bed.loop, &stacks.source, "worker", 0, work, NULL, NULL), ==, 0);
    testbed_run(&bed);
    inject(TESTBED_PEER_IP, 1, TESTBED_IP, 7);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    check(worker.is_done);
}

static void test_tasks(void)
{
    struct seen a;
    struct mir_endpoint peer = peer_at(1000);
    struct mir_buf *buf;
    open_bed(NULL);
    open_plain(&a, 7);
    mir_udp_task_init(&worker.task, a.udp, worker.slots, MIR_ARRAY_LEN(worker.slots));
    tap_case("tasks: what came before is there, the rest is waited for, until the deadline");
    inject(TESTBED_PEER_IP, 1, TESTBED_IP, 7);
    inject(TESTBED_PEER_IP, 2, TESTBED_IP, 7);
    run_worker();
    check_int(worker.got, ==, 3);
    check_int(worker.last, ==, -MIR_ETIMEDOUT);
    tap_case("tasks: the queue is bounded and counts");
    for (uint16_t i = 0; i < 7; i++)
        inject(TESTBED_PEER_IP, i + 1, TESTBED_IP, 7);
    check_int(worker.task.count, ==, 4);
    check_int(worker.task.dropped, ==, 3);
    for (int i = 0; i < 4; i++) {
        check_int(mir_udp_recv_wait(&worker.task, 0, NULL, &buf), ==, 0);
        mir_buf_release(buf);
    }
    check_int(mir_udp_recv_wait(&worker.task, 0, NULL, &buf), ==, -MIR_ETIMEDOUT);
    tap_case("tasks: an ICMP error ends the wait");
    testdev_clear(&bed.dev);
    check_int(mir_udp_send(a.udp, &peer, "x", 1), ==, 0);
    inject_icmp(next_ip(), 3, 3, 0);
    check_int(mir_udp_recv_wait(&worker.task, 0, NULL, &buf), ==, -MIR_ECONNREFUSED);
    inject(TESTBED_PEER_IP, 1, TESTBED_IP, 7);
    mir_udp_task_close(&worker.task);
    check_int(testbed_stat(&bed, "udp_sockets"), ==, 0);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_udp");
    test_meta();
    test_connected();
    test_errors();
    test_sharing();
    test_many();
    test_send_back();
    test_groups();
    test_bound_to_broadcast();
    test_group_loop();
    test_options();
    test_tasks();
    return tap_done();
}
