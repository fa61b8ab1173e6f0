/* SPDX-License-Identifier: ISC */
/* Ethernet and IPv4 input, routing, fragments on the way out, UDP (lib/net/{iface,ip,ip4,udp}.c).
 */
#include <stdlib.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

static struct testbed bed;
static struct mir_udp *udp;
static struct {
    uint32_t count;
    uint32_t len;
    struct mir_endpoint from;
    uint8_t data[65536];
    struct mir_udp *close_me;
} got;

static void on_datagram(struct mir_udp *socket, const struct mir_udp_meta *meta,
                        struct mir_buf *buf, void *arg)
{
    (void)socket, (void)arg;
    got.count++;
    got.len = mir_buf_total(buf);
    got.from = meta->from;
    check_int(mir_buf_copy_out(buf, 0, got.data, got.len), ==, 0);
    mir_buf_release(buf);
    if (got.close_me != NULL)
        mir_udp_close(got.close_me);
    got.close_me = NULL;
}

static struct mir_udp *open_udp(uint32_t ip, uint16_t port)
{
    struct mir_endpoint local = {.ip = mir_ip_from_v4(ip), .port = port};
    struct mir_udp *socket = NULL;
    check_int(mir_udp_open(bed.stack, &local, on_datagram, NULL, &socket), ==, 0);
    return socket;
}

static void open_bed(uint32_t caps)
{
    testbed_init(&bed, 7, 8 << 20, caps);
    testbed_open(&bed, NULL);
    memset(&got, 0, sizeof got);
    udp = open_udp(0, 7);
}

/* A good datagram "hello" to port 7; tests spoil it. */
static size_t make_hello(uint8_t *frame)
{
    return testbed_make_udp(frame, 5555, 7, "hello", 5);
}

static void fix_ip_checksum(uint8_t *frame)
{
    uint8_t *ip = frame + 14;
    memset(ip + 10, 0, 2);
    uint16_t sum = (uint16_t)~mir__csum_partial(ip, mir__ip4_header_len(ip));
    memcpy(ip + 10, &sum, 2);
}

/* The frame is dropped, and exactly this counter says why. */
static void dropped(const uint8_t *frame, size_t len, const char *counter)
{
    uint64_t before = testbed_stat(&bed, counter);
    uint32_t count = got.count;
    testdev_inject(&bed.dev, frame, len);
    testbed_run(&bed);
    check_int(got.count, ==, count);
    if (!check_int(testbed_stat(&bed, counter), ==, before + 1))
        tap_note("counter %s", counter);
    check_int(mir_pool_used(&bed.bufs.pool), ==, 0);
}

static void test_ethernet(void)
{
    uint8_t frame[200], spoiled[200];
    open_bed(0);
    size_t len = make_hello(frame);
    tap_case("a good datagram arrives, link padding is cut off");
    memset(frame + len, 0x77, 20);
    testdev_inject(&bed.dev, frame, len + 15);
    check_int(got.count, ==, 1);
    check_int(got.len, ==, 5);
    check_mem(got.data, "hello", 5);
    check_int(got.from.port, ==, 5555);
    check_int(mir_ip_to_v4(&got.from.ip), ==, TESTBED_PEER_IP);
    tap_case("a priority tag (VLAN 0) is ignored, other VLANs are dropped");
    memcpy(spoiled, frame, 12);
    memcpy(spoiled + 12, (const uint8_t[]){0x81, 0, 0xe0, 0}, 4);
    memcpy(spoiled + 16, frame + 12, len - 12);
    testdev_inject(&bed.dev, spoiled, len + 4);
    check_int(got.count, ==, 2);
    spoiled[15] = 9;
    dropped(spoiled, len + 4, "eth_vlan_dropped");
    tap_case("short frames, other types, frames for others");
    for (size_t n = 1; n < 14; n++)
        dropped(frame, n, "eth_short");
    memcpy(spoiled, frame, len);
    spoiled[12] = 0x86;
    spoiled[13] = 0xdd;
    dropped(spoiled, len, "eth_unknown_type");
    memcpy(spoiled, frame, len);
    spoiled[5] ^= 1;
    dropped(spoiled, len, "eth_not_for_us");
    testbed_close(&bed);
}

static void test_header(void)
{
    uint8_t frame[200], spoiled[200];
    open_bed(0);
    size_t len = make_hello(frame);
    tap_case("every flipped bit of the IP header is noticed or harmless; nothing leaks");
    for (size_t bit = 0; bit < 160; bit++) {
        memcpy(spoiled, frame, len);
        spoiled[14 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        uint32_t count = got.count;
        testdev_inject(&bed.dev, spoiled, len);
        check_int(got.count, ==, count);
        check_int(mir_pool_used(&bed.bufs.pool), ==, 0);
    }
    check_int(testbed_stat(&bed, "ip_bad_checksum") + testbed_stat(&bed, "ip_malformed"), ==, 160);
    tap_case("truncated at every length");
    for (size_t n = 15; n < len; n++)
        dropped(frame, n, "ip_malformed");
    testdev_clear(&bed.dev);
    tap_case("martian sources and destinations");
    const uint32_t sources[] = {0,          0x7f000001, 0xe0000001, 0xffffffff,
                                0xf0000001, TESTBED_IP, 0x0a0000ff, 0x00000001};
    for (size_t i = 0; i < MIR_ARRAY_LEN(sources); i++) {
        memcpy(spoiled, frame, len);
        mir_put_be32(spoiled + 26, sources[i]);
        fix_ip_checksum(spoiled);
        dropped(spoiled, len, "ip_martian");
    }
    memcpy(spoiled, frame, len);
    mir_put_be32(spoiled + 30, 0x7f000001);
    fix_ip_checksum(spoiled);
    dropped(spoiled, len, "ip_martian");
    tap_case("a packet for another host");
    mir_put_be32(spoiled + 30, 0x0a000003);
    fix_ip_checksum(spoiled);
    dropped(spoiled, len, "ip_not_for_us");
    tap_case("a unicast packet in a link broadcast (RFC 1122 section 3.3.6)");
    memcpy(spoiled, frame, len);
    memset(spoiled, 0xff, 6);
    dropped(spoiled, len, "ip_martian");
    check(testdev_next(&bed.dev) == NULL);
    testbed_close(&bed);
}

static void test_options(void)
{
    uint8_t plain[200], frame[240];
    open_bed(0);
    size_t len = make_hello(plain);
    static const struct {
        uint8_t options[8];
        bool ok;
        const char *what;
    } cases[] = {
        {{1, 1, 1, 1, 0, 0, 0, 0}, true, "NOPs and END"},
        {{0x94, 4, 0, 0, 1, 1, 1, 1}, true, "router alert"},
        {{7, 7, 4, 0, 0, 0, 0, 1}, true, "record route"},
        {{131, 7, 4, 10, 0, 0, 9, 0}, false, "loose source route"},
        {{137, 7, 4, 10, 0, 0, 9, 0}, false, "strict source route"},
        {{7, 9, 4, 0, 0, 0, 0, 0}, false, "an option longer than the header"},
        {{7, 1, 0, 0, 0, 0, 0, 0}, false, "an option of length 1"},
        {{1, 1, 1, 1, 1, 1, 1, 7}, false, "an option without a length"},
    };
    for (size_t i = 0; i < MIR_ARRAY_LEN(cases); i++) {
        tap_case("options: %s", cases[i].what);
        memcpy(frame, plain, 34);
        memcpy(frame + 34, cases[i].options, 8);
        memcpy(frame + 42, plain + 34, len - 34);
        frame[14] = 0x47;
        frame[17] = (uint8_t)(frame[17] + 8);
        fix_ip_checksum(frame);
        uint32_t count = got.count;
        if (!cases[i].ok) {
            dropped(frame, len + 8, "ip_malformed");
            continue;
        }
        testdev_inject(&bed.dev, frame, len + 8);
        check_int(got.count, ==, count + 1);
        check_mem(got.data, "hello", 5);
    }
    check_int(testbed_stat(&bed, "ip_options"), ==, MIR_ARRAY_LEN(cases));
    testbed_close(&bed);
}

static void test_udp_input(void)
{
    uint8_t frame[200];
    open_bed(0);
    size_t len = make_hello(frame);
    tap_case("udp: a wrong checksum is dropped, none is accepted");
    frame[len - 1] ^= 1;
    dropped(frame, len, "udp_bad_checksum");
    memset(frame + 40, 0, 2);
    testdev_inject(&bed.dev, frame, len);
    check_int(got.count, ==, 1);
    tap_case("udp: what the device vouches for is not summed");
    make_hello(frame);
    frame[len - 1] ^= 1;
    testdev_inject_more(&bed.dev, frame, len, MIR_BUF_CSUM_VALID);
    testdev_end_batch(&bed.dev);
    check_int(got.count, ==, 2);
    tap_case("udp: lengths below 8 and above the packet");
    len = make_hello(frame);
    mir_put_be16(frame + 38, 7);
    dropped(frame, len, "udp_malformed");
    mir_put_be16(frame + 38, 14);
    dropped(frame, len, "udp_malformed");
    tap_case("udp: bytes behind the length are not the datagram's");
    len = make_hello(frame);
    mir_put_be16(frame + 38, 12);
    memset(frame + 40, 0, 2);
    testdev_inject(&bed.dev, frame, len);
    check_int(got.len, ==, 4);
    tap_case("udp: limited and directed broadcast arrive");
    len = make_hello(frame);
    memset(frame, 0xff, 6);
    memset(frame + 40, 0, 2);
    for (int i = 0; i < 2; i++) {
        mir_put_be32(frame + 30, i == 0 ? 0xffffffff : 0x0a0000ff);
        fix_ip_checksum(frame);
        uint32_t count = got.count;
        testdev_inject(&bed.dev, frame, len);
        check_int(got.count, ==, count + 1);
    }
    tap_case("udp: a broadcast to a closed port is not answered");
    frame[37] = 99;
    testdev_inject(&bed.dev, frame, len);
    check(testdev_next(&bed.dev) == NULL);
    tap_case("udp: a handler may close its socket; another may close it meanwhile");
    len = make_hello(frame);
    got.close_me = udp;
    testdev_inject(&bed.dev, frame, len);
    dropped(frame, len, "udp_no_port");
    testbed_close(&bed);
}

static void test_bind(void)
{
    open_bed(0);
    struct mir_endpoint local = {.ip = mir_ip_from_v4(0), .port = 7};
    struct mir_udp *other;
    uint8_t frame[200];
    tap_case("bind: a port once, an address of ours only");
    check_int(mir_udp_open(bed.stack, &local, NULL, NULL, &other), ==, -MIR_EADDRINUSE);
    local.ip = mir_ip_from_v4(TESTBED_IP);
    check_int(mir_udp_open(bed.stack, &local, NULL, NULL, &other), ==, -MIR_EADDRINUSE);
    local = (struct mir_endpoint){.ip = mir_ip_from_v4(0x0a000003), .port = 8};
    check_int(mir_udp_open(bed.stack, &local, NULL, NULL, &other), ==, -MIR_EADDRNOTAVAIL);
    tap_case("bind: port 0 gives a free random port (RFC 6056)");
    local = (struct mir_endpoint){.ip = mir_ip_from_v4(0)};
    struct mir_udp *many[255];
    uint32_t increments = 0;
    uint16_t last = 0;
    for (size_t i = 0; i < MIR_ARRAY_LEN(many); i++) {
        struct mir_endpoint bound;
        check_int(mir_udp_open(bed.stack, &local, NULL, NULL, &many[i]), ==, 0);
        many[i]->ops->local(many[i], &bound);
        check_int(bound.port, >=, 49152);
        increments += bound.port == last + 1;
        last = bound.port;
    }
    check_int(increments, <, 10);
    tap_case("bind: the number of sockets is bounded");
    check_int(mir_udp_open(bed.stack, &local, NULL, NULL, &other), ==, -MIR_ENOMEM);
    for (size_t i = 0; i < MIR_ARRAY_LEN(many); i++)
        mir_udp_close(many[i]);
    tap_case("bind: a socket with an address is preferred to one without");
    mir_udp_close(udp);
    struct mir_udp *exact = open_udp(TESTBED_IP, 7);
    size_t len = make_hello(frame);
    testdev_inject(&bed.dev, frame, len);
    check_int(got.count, ==, 1);
    mir_udp_close(exact);
    testbed_close(&bed);
}

static int send_len(uint32_t ip, size_t len)
{
    static uint8_t data[65536];
    struct mir_endpoint to = {.ip = mir_ip_from_v4(ip), .port = 4000};
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 251);
    int r = mir_udp_send(udp, &to, data, len);
    testbed_run(&bed);
    return r;
}

/* Puts the frames of one datagram together again and checks all there is to check. */
static void check_sent(size_t len, uint32_t dst)
{
    static uint8_t payload[65536];
    uint32_t total = 0, end = 0;
    uint16_t id = 0;
    const struct testdev_frame *frame;
    memset(payload, 0, sizeof payload);
    for (uint32_t count = 0; (frame = testdev_next(&bed.dev)) != NULL; count++) {
        struct mir__ip4 ip;
        check_int(frame->len, <=, 1514);
        check_int(mir__ip4_parse(frame->data + 14, frame->len - 14, &ip), ==, 0);
        check(mir__ip4_checksum_ok(frame->data + 14));
        check_int(ip.total_len, ==, frame->len - 14);
        check_int(ip.src, ==, TESTBED_IP);
        check_int(ip.dst, ==, dst);
        check(!ip.dont_fragment);
        check(count == 0 || ip.id == id);
        check_int(ip.offset, ==, end);
        id = ip.id;
        memcpy(payload + ip.offset, frame->data + 34, frame->len - 34);
        total += frame->len - 34;
        end = ip.offset + frame->len - 34;
        check(ip.more_fragments == (end < len + 8));
    }
    if (!check_int(total, ==, len + 8))
        return;
    struct mir_ip src = mir_ip_from_v4(TESTBED_IP), to = mir_ip_from_v4(dst);
    uint16_t sum = mir__csum_pseudo(&src, &to, 17, total);
    check_int(mir__csum_add(sum, mir__csum_partial(payload, total)), ==, 0xffff);
    check(mir__udp_has_checksum(payload));
    check_int(mir__udp_len(payload), ==, total);
    for (size_t i = 0; i < len; i++) {
        if (payload[8 + i] != (uint8_t)(i * 7 + i / 251)) {
            check_int(i, ==, len);
            break;
        }
    }
}

static void test_output(void)
{
    static const size_t sizes[] = {0,    1,    100,  160,  161,  162,   1471, 1472,
                                   1473, 2952, 2953, 4000, 9000, 30000, 65507};
    for (uint32_t caps = 0; caps <= MIR_NET_TX_SG; caps += MIR_NET_TX_SG) {
        open_bed(caps);
        for (size_t i = 0; i < MIR_ARRAY_LEN(sizes); i++) {
            tap_case("send %zu bytes by UDP%s", sizes[i], caps ? ", with views" : "");
            check_int(send_len(TESTBED_PEER_IP, sizes[i]), ==, 0);
            check_sent(sizes[i], TESTBED_PEER_IP);
            check_int(mir_pool_used(&bed.bufs.pool), ==, 0);
        }
        tap_case("too big for UDP");
        check_int(send_len(TESTBED_PEER_IP, 65508), ==, -MIR_ETOOBIG);
        tap_case("a device without room for all fragments gets none");
        bed.dev.room = 2;
        check_int(send_len(TESTBED_PEER_IP, 4000), ==, -MIR_EAGAIN);
        check(testdev_next(&bed.dev) == NULL);
        check_int(send_len(TESTBED_PEER_IP, 1473), ==, 0);
        check_sent(1473, TESTBED_PEER_IP);
        bed.dev.room = UINT32_MAX;
        testbed_close(&bed);
    }
    open_bed(MIR_NET_TX_CSUM);
    tap_case("the checksum is left to a device that can, but not in fragments");
    check_int(send_len(TESTBED_PEER_IP, 100), ==, 0);
    const struct testdev_frame *frame = testdev_next(&bed.dev);
    if (check(frame != NULL)) {
        check(frame->flags & MIR_BUF_CSUM_PARTIAL);
        check_int(frame->csum_start, ==, 34);
        check_int(frame->csum_offset, ==, 6);
        struct mir_ip src = mir_ip_from_v4(TESTBED_IP), dst = mir_ip_from_v4(TESTBED_PEER_IP);
        uint16_t field, pseudo = mir__csum_pseudo(&src, &dst, 17, 108);
        memcpy(&field, frame->data + 40, 2);
        check_int(field, ==, pseudo);
    }
    check_int(send_len(TESTBED_PEER_IP, 3000), ==, 0);
    check_sent(3000, TESTBED_PEER_IP);
    testbed_close(&bed);
}

static void test_routes(void)
{
    open_bed(0);
    const struct testdev_frame *frame;
    tap_case("broadcasts and groups have their own Ethernet addresses");
    check_int(send_len(0xffffffff, 1), ==, -MIR_EPERM);
    check_int(send_len(0x0a0000ff, 1), ==, -MIR_EPERM);
    check_int(mir_udp_set_option(udp, MIR_UDP_BROADCAST, 1), ==, 0);
    check_int(send_len(0xffffffff, 1), ==, 0);
    frame = testdev_next(&bed.dev);
    check(frame != NULL && mir__mac_is_broadcast(frame->data));
    check_int(send_len(0x0a0000ff, 1), ==, 0);
    frame = testdev_next(&bed.dev);
    check(frame != NULL && mir__mac_is_broadcast(frame->data));
    check_int(send_len(0xefff0102, 1), ==, 0);
    frame = testdev_next(&bed.dev);
    check(frame != NULL && memcmp(frame->data, "\x01\x00\x5e\x7f\x01\x02", 6) == 0);
    check(frame != NULL && mir__ip4_ttl(frame->data + 14) == 1);
    tap_case("the broadcast address of a second network is one too");
    const struct mir_net_prefix other_net = {mir_ip_from_v4(0x0a010002), 24};
    check_int(mir_udp_set_option(udp, MIR_UDP_BROADCAST, 0), ==, 0);
    check_int(mir_net_add_address(bed.net, 1, &other_net), ==, 0);
    check_int(send_len(0x0a0100ff, 1), ==, -MIR_EPERM);
    check_int(mir_udp_set_option(udp, MIR_UDP_BROADCAST, 1), ==, 0);
    testdev_clear(&bed.dev);
    check_int(send_len(0x0a0100ff, 1), ==, 0);
    frame = testdev_next(&bed.dev);
    check(frame != NULL && mir__mac_is_broadcast(frame->data));
    check_int(mir_net_remove_address(bed.net, &other_net.ip), ==, 0);
    tap_case("no route to 0/8, to IPv6; to ourselves there is one, but not over the wire");
    check_int(send_len(0x00000001, 1), ==, -MIR_ENETUNREACH);
    check_int(send_len(TESTBED_IP, 1), ==, 0);
    check_int(send_len(0x7f000001, 1), ==, 0);
    check(testdev_next(&bed.dev) == NULL);
    struct mir_endpoint v6 = {.port = 1};
    v6.ip.bytes[0] = 0x20;
    check_int(mir_udp_send(udp, &v6, "x", 1), ==, -MIR_ENETUNREACH);
    tap_case("identifications of fragmentable packets do not repeat and do not count up");
    static bool seen[65536];
    uint32_t steps = 0;
    uint16_t last = 0;
    for (int i = 0; i < 65536; i++) {
        uint16_t id = mir__ip4_next_id(bed.net);
        if (!check(!seen[id]))
            break;
        seen[id] = true;
        steps += id == (uint16_t)(last + 1);
        last = id;
    }
    check_int(steps, <, 64);
    testbed_close(&bed);

    tap_case("two interfaces: the longest prefix wins, then the gateway");
    struct testdev second;
    struct mir_net_if_config config = {.ip = mir_ip_from_v4(0x0a000102), .prefix_len = 25};
    open_bed(0);
    testdev_init(&second, &bed.bufs, 9000, 0);
    second.dev.info.mac[5] = 0x22;
    check_int(mir_net_add_interface(bed.net, &second.dev, &config), ==, 0);
    struct mir__route route;
    struct mir_ip src = mir_ip_from_v4(0), dst = mir_ip_from_v4(0x0a000105);
    check_int(mir__ip_route(bed.net, &dst, &src, &route), ==, 0);
    check_int(route.iface->index, ==, 1);
    check_int(route.mtu, ==, 9000);
    check_int(mir_ip_to_v4(&src), ==, 0x0a000102);
    src = mir_ip_from_v4(0);
    dst = mir_ip_from_v4(0x0a000185); /* outside the /25 */
    check_int(mir__ip_route(bed.net, &dst, &src, &route), ==, 0);
    check_int(route.iface->index, ==, 0);
    check_int(route.next_hop4, ==, TESTBED_PEER_IP);
    tap_case("a source address that is not ours gives no route");
    src = mir_ip_from_v4(0x0a000009);
    check_int(mir__ip_route(bed.net, &dst, &src, &route), ==, -MIR_ENETUNREACH);
    tap_case("nine interfaces are too many; senseless addresses are refused");
    config.ip = mir_ip_from_v4(0x0a0002ff);
    config.prefix_len = 24;
    check_int(mir_net_add_interface(bed.net, &second.dev, &config), ==, -MIR_EINVAL);
    config.ip = mir_ip_from_v4(0x7f000001);
    check_int(mir_net_add_interface(bed.net, &second.dev, &config), ==, -MIR_EINVAL);
    testbed_close(&bed);
    testdev_fini(&second);
}

static void test_memory(void)
{
    tap_case("opening fails cleanly at every allocation");
    for (uint64_t n = 1; n < 14; n++) {
        struct mir_net_config config;
        struct mir_net *net;
        testbed_init(&bed, 1, 1 << 20, 0);
        config = (struct mir_net_config){
            .loop = &bed.loop, .pages = &bed.pages, .bufs = &bed.bufs, .rng = &bed.rng};
        mir_page_pool_fail_at(&bed.pages, n);
        int r = mir_net_open(&config, &net);
        mir_page_pool_fail_at(&bed.pages, 0);
        if (r == 0)
            mir_net_close(net);
        else
            check_int(r, ==, -MIR_ENOMEM);
        check(r == 0 || n < 12);
        testbed_close(&bed);
    }
    tap_case("a stack without buffers drops and counts, and works again later");
    uint8_t frame[100];
    open_bed(0);
    mir_pool_fail_at(&bed.bufs.pool, 2); /* the answer's buffer */
    size_t len = testbed_make_udp(frame, 1, 4444, "x", 1);
    testdev_inject(&bed.dev, frame, len);
    check_int(testbed_stat(&bed, "no_memory"), ==, 1);
    check(testdev_next(&bed.dev) == NULL);
    testdev_inject(&bed.dev, frame, len);
    check(testdev_next(&bed.dev) != NULL);
    testbed_close(&bed);
}

static void test_batch(void)
{
    uint8_t frame[100];
    open_bed(0);
    tap_case("one flush for a batch of answers, one for a step of sends");
    size_t len = testbed_make_udp(frame, 1, 4444, "x", 1);
    uint64_t flushes = bed.dev.flushes;
    for (int i = 0; i < 5; i++)
        testdev_inject_more(&bed.dev, frame, len, 0);
    check_int(bed.dev.flushes, ==, flushes);
    testdev_end_batch(&bed.dev);
    check_int(bed.dev.queued, ==, 5);
    check_int(bed.dev.flushes, ==, flushes + 1);
    struct mir_endpoint to = {.ip = mir_ip_from_v4(TESTBED_PEER_IP), .port = 4000};
    for (int i = 0; i < 5; i++)
        check_int(mir_udp_send(udp, &to, "x", 1), ==, 0);
    check_int(bed.dev.flushes, ==, flushes + 1);
    testbed_run(&bed);
    check_int(bed.dev.flushes, ==, flushes + 2);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_ip4");
    test_ethernet();
    test_header();
    test_options();
    test_udp_input();
    test_bind();
    test_output();
    test_routes();
    test_memory();
    test_batch();
    return tap_done();
}
