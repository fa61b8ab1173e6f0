/* SPDX-License-Identifier: ISC */
/* IPv6 input and output: addresses, extension headers, fragments, ICMPv6, path MTU
 * (lib/net/{ip6,icmp6,frag,reass}.c). */
#include <stdlib.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "lib/net/tcp/internal.h"
#include "test/harness/bed6.h"
#include "test/harness/tap.h"

#define OWN  "fd00::2"
#define PEER "fd00::5"

static struct testbed bed;
static struct mir_udp *udp;
static struct bed6_message message;
static struct {
    uint32_t count, len;
    uint8_t data[70000];
} got;

static void on_datagram(struct mir_udp *socket, const struct mir_udp_meta *meta,
                        struct mir_buf *buf, void *arg)
{
    (void)socket, (void)meta, (void)arg;
    got.count++;
    got.len = mir_buf_total(buf);
    check_int(mir_buf_copy_out(buf, 0, got.data, got.len), ==, 0);
    mir_buf_release(buf);
}

/* OWN/64, PEER known by its MAC, a socket on port 7. */
static void open_bed(void)
{
    struct mir_net_prefix own = {.ip = bed6_ip(OWN), .prefix_len = 64};
    struct mir_net_if_config interface = {
        .ip6 = MIR_IP6_STATIC, .addresses = &own, .address_count = 1};
    struct mir_endpoint any = {.port = 7};
    bed6_open_if(&bed, &interface);
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    bed6_solicit(&bed, PEER, "ff02::1:ff00:2", OWN, testbed_peer_mac);
    memset(&got, 0, sizeof got);
    check_int(mir_udp_open(bed.stack, &any, on_datagram, NULL, &udp), ==, 0);
    testdev_clear(&bed.dev);
}

static void inject(const char *src, const char *dst, uint8_t next, const void *data, size_t len)
{
    bed6_inject(&bed, testbed_peer_mac, src, dst, 64, next, data, len);
    testbed_run(&bed);
}

/* A datagram "hello" for port 7, checksum right for PEER -> OWN. Returns its length. */
static size_t make_hello(uint8_t out[13])
{
    struct mir_ip src = bed6_ip(PEER), dst = bed6_ip(OWN);
    static const uint8_t plain[13] = {0x15, 0xb3, 0, 7, 0, 13, 0, 0, 'h', 'e', 'l', 'l', 'o'};
    memcpy(out, plain, 13);
    uint16_t sum = mir__csum_add(mir__csum_pseudo(&src, &dst, 17, 13), mir__csum_partial(out, 13));
    sum = (uint16_t)~sum;
    memcpy(out + 6, &sum, 2);
    return 13;
}

/* The headers @ext (whose last next-header is 17) with the datagram behind them. */
static void inject_ext(uint8_t first, const void *ext, size_t len)
{
    static uint8_t packet[2000];
    memcpy(packet, ext, len);
    len += make_hello(packet + len);
    inject(PEER, OWN, first, packet, len);
}

static bool arrives(void)
{
    uint32_t before = got.count;
    got.count = 0;
    bool is_there = before == 1 && got.len == 5 && memcmp(got.data, "hello", 5) == 0;
    return check(is_there) && check_int(mir_pool_used(&bed.bufs.pool), ==, 0);
}

static bool dropped(const char *counter, uint64_t by)
{
    if (!check(bed6_none(&bed)) || !check_int(got.count, ==, 0))
        return false;
    if (!check_int(testbed_stat(&bed, counter), ==, by)) {
        tap_note("counter %s", counter);
        return false;
    }
    return check_int(mir_pool_used(&bed.bufs.pool), ==, 0);
}

/* An ICMPv6 error came, and it points there. */
static bool complains(uint8_t type, uint8_t code, uint32_t pointer)
{
    check_int(got.count, ==, 0);
    if (!check(bed6_next(&bed, type, &message)))
        return false;
    bool is_good = bed6_check_ip(&message.dst, PEER) && check(message.checksum_ok) &&
                   check_int(message.data[1], ==, code) &&
                   check_int(mir_get_be32(message.data + 4), ==, pointer);
    return check_int(mir_pool_used(&bed.bufs.pool), ==, 0) && is_good;
}

static void test_addresses(void)
{
    uint8_t hello[13];
    size_t len = make_hello(hello);
    open_bed();
    tap_case("a datagram arrives");
    inject(PEER, OWN, 17, hello, len);
    arrives();
    tap_case("martians: sources that no host has, our own, IPv4 in disguise");
    static const char *const sources[] = {"ff02::1",         "::1",       "::", OWN,
                                          "::ffff:10.0.0.1", "::10.0.0.1"};
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        inject(sources[i], OWN, 17, hello, len);
        dropped("ip_martian", i + 1);
    }
    static const char *const targets[] = {"ff01::1", "ff00::1", "::1", "::ffff:10.0.0.2"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        inject(PEER, targets[i], 17, hello, len);
        dropped("ip_martian", 7 + i);
    }
    tap_case("others' addresses and groups that were not joined");
    inject(PEER, "fd00::3", 17, hello, len);
    dropped("ip_not_for_us", 1);
    inject(PEER, "ff02::42", 17, hello, len);
    dropped("ip6_group_not_joined", 1);
    tap_case("a datagram without checksum is dropped (RFC 8200 section 8.1)");
    memset(hello + 6, 0, 2);
    inject(PEER, OWN, 44, (uint8_t[8]){17}, 8); /* and an empty one, behind an atomic header */
    check_int(testbed_stat(&bed, "udp_malformed"), ==, 1);
    testbed_close(&bed);
}

/* ---- extension headers ----------------------------------------------------------------------- */

static void test_extensions(void)
{
    static const uint8_t pads[] = {17, 0, 1, 4, 0, 0, 0, 0};
    static const uint8_t two[] = {60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t route_done[] = {17, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t atomic[] = {17, 0, 0, 0, 1, 2, 3, 4};
    open_bed();
    tap_case("options of padding, hop-by-hop and destination, an ended route, an atomic fragment");
    inject_ext(0, pads, sizeof pads);
    arrives();
    inject_ext(60, pads, sizeof pads);
    arrives();
    inject_ext(0, two, sizeof two);
    arrives();
    inject_ext(43, route_done, sizeof route_done);
    arrives();
    inject_ext(44, atomic, sizeof atomic);
    arrives();
    check_int(testbed_stat(&bed, "ip6_extension_headers"), ==, 5);
    tap_case("options that are not known: the two high bits decide");
    static const uint8_t types[] = {0x1e, 0x5e, 0x9e, 0xde};
    for (int i = 0; i < 4; i++) {
        uint8_t ext[] = {17, 0, types[i], 4, 0, 0, 0, 0};
        inject_ext(60, ext, sizeof ext);
        if (i == 0)
            arrives();
        else if (i == 1)
            dropped("ip6_extension_refused", 1);
        else
            complains(MIR__ICMP6_PARAMETER_PROBLEM, MIR__ICMP6_BAD_OPTION, 42);
    }
    tap_case("a jumbogram is such an option");
    static const uint8_t jumbo[] = {17, 0, 0xc2, 4, 0, 1, 0, 0};
    inject_ext(0, jumbo, sizeof jumbo);
    complains(MIR__ICMP6_PARAMETER_PROBLEM, MIR__ICMP6_BAD_OPTION, 42);
    tap_case("a routing header of type 0, or any that wants to go on (RFC 5095)");
    static const uint8_t rh0[24] = {17, 2, 0, 1};
    inject_ext(43, rh0, sizeof rh0);
    complains(MIR__ICMP6_PARAMETER_PROBLEM, MIR__ICMP6_BAD_FIELD, 42);
    tap_case("hop-by-hop options anywhere but first");
    static const uint8_t late[] = {0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0};
    inject_ext(60, late, sizeof late);
    complains(MIR__ICMP6_PARAMETER_PROBLEM, MIR__ICMP6_BAD_NEXT, 40);
    tap_case("an unknown header is told with where its number is");
    static const uint8_t unknown[] = {253, 0, 1, 4, 0, 0, 0, 0};
    inject_ext(60, unknown, sizeof unknown);
    complains(MIR__ICMP6_PARAMETER_PROBLEM, MIR__ICMP6_BAD_NEXT, 40);
    inject(PEER, OWN, 253, "x", 1);
    complains(MIR__ICMP6_PARAMETER_PROBLEM, MIR__ICMP6_BAD_NEXT, 6);
    tap_case("no next header: the end");
    inject(PEER, OWN, 59, "x", 1);
    check(bed6_none(&bed));
    tap_case("an option that runs out of its header, a header that runs out of the packet");
    static const uint8_t over[] = {17, 0, 1, 9, 0, 0, 0, 0};
    inject_ext(60, over, sizeof over);
    complains(MIR__ICMP6_PARAMETER_PROBLEM, MIR__ICMP6_BAD_FIELD, 42);
    uint64_t malformed = testbed_stat(&bed, "ip_malformed");
    static const uint8_t far[] = {17, 255, 1, 4, 0, 0, 0, 0};
    inject_ext(60, far, sizeof far);
    dropped("ip_malformed", malformed + 1);
    testbed_close(&bed);
}

static void test_limits(void)
{
    uint8_t chain[16 * 8], wide[1024] = {17, 79};
    open_bed();
    tap_case("eight headers are walked, nine are not");
    for (int count = 8; count <= 9; count++) {
        for (int i = 0; i < count; i++)
            memcpy(chain + 8 * i, (uint8_t[8]){i == count - 1 ? 17 : 60, 0, 1, 4}, 8);
        inject_ext(60, chain, 8u * (unsigned)count);
        if (count == 8)
            arrives();
        else
            dropped("ip6_extension_refused", 1);
    }
    tap_case("more than 512 bytes of headers are not");
    for (size_t at = 2; at < 640; at++)
        wide[at] = 0;
    inject_ext(60, wide, 640);
    dropped("ip6_extension_refused", 2);
    tap_case("nor more than eight options in a header");
    uint8_t many[24] = {17, 2};
    for (size_t i = 0; i < 11; i++)
        many[2 + 2 * i] = 0x1e;
    inject_ext(60, many, 24);
    dropped("ip6_extension_refused", 3);
    testbed_close(&bed);
}

/* ---- fragments ------------------------------------------------------------------------------- */

static void inject_fragment(uint32_t id, uint32_t offset, bool more, const void *data, size_t len)
{
    static uint8_t packet[1500];
    struct mir__ip6_fragment fragment = {
        .next = 17, .more = more, .offset = (uint16_t)offset, .id = id};
    mir__ip6_fragment_emit(&fragment, packet);
    memcpy(packet + 8, data, len);
    inject(PEER, OWN, 44, packet, len + 8);
}

static void test_fragments(void)
{
    uint8_t hello[16] = {0};
    make_hello(hello);
    open_bed();
    tap_case("two fragments in either order");
    inject_fragment(1, 0, true, hello, 8);
    inject_fragment(1, 8, false, hello + 8, 5);
    arrives();
    inject_fragment(2, 8, false, hello + 8, 5);
    inject_fragment(2, 0, true, hello, 8);
    arrives();
    tap_case("an overlap kills the datagram, and the rest of it (RFC 5722)");
    uint8_t wrong[16] = {9};
    inject_fragment(3, 8, false, hello + 8, 5);
    inject_fragment(3, 8, true, wrong, 8);
    inject_fragment(3, 0, true, hello, 8);
    dropped("ip_reassembly_overlap", 1);
    tap_case("a duplicate does not");
    inject_fragment(4, 0, true, hello, 8);
    inject_fragment(4, 0, true, hello, 8);
    inject_fragment(4, 8, false, hello + 8, 5);
    arrives();
    tap_case("a length that is no multiple of eight, an end beyond 65,535");
    inject_fragment(5, 0, true, hello, 13);
    complains(MIR__ICMP6_PARAMETER_PROBLEM, MIR__ICMP6_BAD_FIELD, 4);
    inject_fragment(6, 65528, false, hello, 13);
    complains(MIR__ICMP6_PARAMETER_PROBLEM, MIR__ICMP6_BAD_FIELD, 42);
    tap_case("a first fragment without the whole chain of headers (RFC 7112)");
    static const uint8_t chain[16] = {44, 0, 1, 4, 0, 0, 0, 0, 60, 0, 0, 1, 0, 0, 0, 7};
    static uint8_t packet[32];
    memcpy(packet, chain, 16);
    memcpy(packet + 16, (uint8_t[8]){60, 0, 1, 4}, 8);
    inject(PEER, OWN, 60, packet, 24);
    complains(MIR__ICMP6_PARAMETER_PROBLEM, MIR__ICMP6_SHORT_FIRST, 0);
    tap_case("fragments of fragments are refused");
    uint64_t refused = testbed_stat(&bed, "ip6_extension_refused");
    struct mir__ip6_fragment inner = {.next = 17, .more = false, .offset = 0, .id = 9};
    mir__ip6_fragment_emit(&inner, packet + 8);
    memcpy(packet + 16, hello, 13);
    packet[0] = 44, packet[1] = 0, packet[2] = 0, packet[3] = 1;
    mir_put_be32(packet + 4, 77);
    inject(PEER, OWN, 44, packet, 24);
    memcpy(packet + 8, hello + 8, 5);
    packet[3] = 16;
    inject(PEER, OWN, 44, packet, 13);
    check_int(testbed_stat(&bed, "ip6_extension_refused"), ==, refused + 1);
    check_int(got.count, ==, 0);
    tap_case("after 60 seconds it is given up and told");
    testdev_clear(&bed.dev);
    inject_fragment(10, 0, true, hello, 8);
    testbed_advance(&bed, 59 * MIR_US_PER_S);
    check_int(testbed_stat(&bed, "reassembly_datagrams"), >, 0);
    bed6_solicit(&bed, PEER, OWN, OWN, testbed_peer_mac);
    testdev_clear(&bed.dev);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    if (check(bed6_next(&bed, MIR__ICMP6_TIME_EXCEEDED, &message)))
        check_int(message.data[1], ==, 1);
    check_int(testbed_stat(&bed, "reassembly_datagrams"), ==, 0);
    testbed_close(&bed);
}

/* What we send is cut to the path, in pieces that fit together. */
static void test_fragments_out(void)
{
    static uint8_t data[4000], back[5000];
    struct mir_endpoint to = {.ip = bed6_ip(PEER), .port = 9};
    uint32_t id = 0, end = 0;
    int count = 0;
    open_bed();
    tap_case("a large datagram leaves in fragments of multiples of eight");
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    check_int(mir_udp_send(udp, &to, data, sizeof data), ==, 0);
    testbed_run(&bed);
    const struct testdev_frame *f;
    while ((f = testdev_next(&bed.dev)) != NULL) {
        const uint8_t *ip = f->data + 14, *ext = ip + 40;
        check_int(f->len, <=, 1514);
        check_int(mir__ip6_next(ip), ==, 44);
        check_int(ext[0], ==, 17);
        check_int(count > 0 && mir__ip6_fragment_id(ext) != id, ==, 0);
        id = mir__ip6_fragment_id(ext);
        check_int(mir__ip6_fragment_offset(ext), ==, end);
        memcpy(back + end, ext + 8, f->len - 62);
        end += f->len - 62;
        check_int(mir__ip6_fragment_more(ext), ==, end < 4008);
        count++;
    }
    check_int(count, ==, 3);
    check_int(end, ==, 4008);
    check_mem(back + 8, data, sizeof data);
    tap_case("the next one has another identification");
    check_int(mir_udp_send(udp, &to, data, 2000), ==, 0);
    testbed_run(&bed);
    f = testdev_next(&bed.dev);
    check(f != NULL && mir__ip6_fragment_id(f->data + 54) != id);
    testdev_clear(&bed.dev);
    tap_case("what fits has no fragment header");
    check_int(mir_udp_send(udp, &to, data, 1452), ==, 0);
    testbed_run(&bed);
    f = testdev_next(&bed.dev);
    check(f != NULL && mir__ip6_next(f->data + 14) == 17 && f->len == 1514);
    testbed_close(&bed);
}

/* ---- ICMPv6 -----------------------------------------------------------------------------------
 */

static void test_echo(void)
{
    static uint8_t echo[1400] = {MIR__ICMP6_ECHO, 0, 0, 0, 1, 2, 3, 4, 'x'};
    open_bed();
    tap_case("echo comes back with the same bytes");
    inject(PEER, OWN, 58, echo, 1000);
    if (check(bed6_next(&bed, MIR__ICMP6_ECHO_REPLY, &message))) {
        check(message.checksum_ok);
        check_int(message.len, ==, 1000);
        check_mem(message.data + 4, echo + 4, 996);
        bed6_check_ip(&message.src, OWN);
        bed6_check_ip(&message.dst, PEER);
    }
    tap_case("all nodes: from an address of ours");
    inject(PEER, "ff02::1", 58, echo, 20);
    if (check(bed6_next(&bed, MIR__ICMP6_ECHO_REPLY, &message))) {
        check(message.checksum_ok);
        bed6_check_ip(&message.src, OWN);
    }
    tap_case("a closed port is told with the packet, and errors are not answered");
    uint8_t hello[13];
    make_hello(hello);
    mir_put_be16(hello + 2, 9);
    inject(PEER, OWN, 17, hello, 13);
    if (check(bed6_next(&bed, MIR__ICMP6_UNREACHABLE, &message))) {
        check_int(message.data[1], ==, MIR__ICMP6_PORT);
        check_int(message.len, ==, 8 + 40 + 13);
        check_mem(message.data + 48, hello, 6);
    }
    inject(PEER, OWN, 58, (uint8_t[8]){100}, 8); /* an unknown error */
    check(bed6_none(&bed));
    tap_case("errors are bounded");
    for (int i = 0; i < 500; i++)
        inject(PEER, OWN, 253, "x", 1);
    check_int(testbed_stat(&bed, "icmp_rate_limited"), >, 400);
    testdev_clear(&bed.dev);
    tap_case("a quote never makes more than 1280 bytes");
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    inject(PEER, OWN, 253, echo, 1400);
    if (check(bed6_next(&bed, MIR__ICMP6_PARAMETER_PROBLEM, &message)))
        check_int(message.len, ==, 1240);
    testbed_close(&bed);
}

/* Packet too big about the datagram that we have sent to PEER, port 9. */
static void inject_too_big(uint32_t mtu, const char *quoted_dst)
{
    uint8_t error[8 + 48] = {MIR__ICMP6_TOO_BIG};
    struct mir__ip6 quoted = {.next = 17,
                              .hops = 60,
                              .payload_len = 1460,
                              .src = bed6_ip(OWN),
                              .dst = bed6_ip(quoted_dst)};
    mir_put_be32(error + 4, mtu);
    mir__ip6_emit(&quoted, error + 8);
    mir_put_be16(error + 48, 7);
    mir_put_be16(error + 50, 9);
    mir_put_be16(error + 52, 1460);
    inject("fd00::1", OWN, 58, error, sizeof error);
}

static void test_path_mtu(void)
{
    static uint8_t data[1452];
    struct mir_endpoint to = {.ip = bed6_ip(PEER), .port = 9};
    struct mir_ip peer = bed6_ip(PEER), stranger = bed6_ip("fd00::77");
    open_bed();
    check_int(mir_udp_send(udp, &to, data, sizeof data), ==, 0);
    testbed_run(&bed);
    testdev_clear(&bed.dev);
    tap_case("packet too big below 1280 is not believed (RFC 8201)");
    inject_too_big(1279, PEER);
    check_int(mir__pmtu_find(bed.net, &peer), ==, 0);
    check_int(testbed_stat(&bed, "icmp_malformed"), ==, 1);
    tap_case("nor one about what we have not sent");
    inject_too_big(1300, "fd00::77");
    check_int(mir__pmtu_find(bed.net, &stranger), ==, 0);
    tap_case("about a datagram of ours it counts: the next is cut to it");
    inject_too_big(1300, PEER);
    check_int(mir__pmtu_find(bed.net, &peer), ==, 1300);
    check_int(mir_udp_send(udp, &to, data, sizeof data), ==, 0);
    testbed_run(&bed);
    const struct testdev_frame *f = testdev_next(&bed.dev);
    check(f != NULL && f->len <= 1314 && mir__ip6_next(f->data + 14) == 44);
    testdev_clear(&bed.dev);
    tap_case("after ten minutes the whole packet is tried again");
    testbed_advance(&bed, 601 * MIR_US_PER_S);
    bed6_solicit(&bed, PEER, OWN, OWN, testbed_peer_mac);
    testdev_clear(&bed.dev);
    check_int(mir_udp_send(udp, &to, data, sizeof data), ==, 0);
    testbed_run(&bed);
    f = testdev_next(&bed.dev);
    check(f != NULL && f->len == 1514);
    testbed_close(&bed);
}

/* An interface without IPv6 does not look at its frames. */
static void test_off(void)
{
    uint8_t hello[13];
    tap_case("IPv6 is off: its frames are of an unknown type");
    testbed_init(&bed, 7, 8 << 20, 0);
    testbed_open(&bed, NULL);
    uint64_t before = testbed_stat(&bed, "eth_unknown_type");
    inject(PEER, OWN, 17, hello, make_hello(hello));
    check_int(testbed_stat(&bed, "eth_unknown_type"), ==, before + 1);
    struct mir_net_prefix address = {.ip = bed6_ip(OWN), .prefix_len = 64};
    check_int(mir_net_add_address(bed.net, 1, &address), ==, -MIR_EINVAL);
    testbed_close(&bed);
}

static void refuse(struct mir_tcp_listener *listener, struct mir_tcp *tcp, void *arg)
{
    (void)listener, (void)arg;
    mir_tcp_close(tcp);
}

/* One listener for both families, unless it says otherwise. */
static void test_listeners(void)
{
    struct mir_tcp_listen_config config = {.local = {.port = 80}, .on_accept = refuse};
    struct mir_tcp_listener *both, *six, *other;
    struct mir_ip v4 = mir_ip_from_v4(TESTBED_IP), v6 = bed6_ip(OWN);
    open_bed();
    struct mir__tcp_state *host = mir__net_tcp(bed.net);
    tap_case("a listener of any address is found for both families");
    check_int(mir_tcp_listen(bed.stack, &config, &both), ==, 0);
    check(&mir__tcp_listener_find(host, &v4, 80)->pub == both);
    check(&mir__tcp_listener_find(host, &v6, 80)->pub == both);
    tap_case("any address of either form is the same port");
    config.local.ip = mir_ip_from_v4(0);
    check_int(mir_tcp_listen(bed.stack, &config, &other), ==, -MIR_EADDRINUSE);
    tap_case("one of IPv6 alone is not found for IPv4");
    config.v6_only = true;
    config.local.port = 81;
    check_int(mir_tcp_listen(bed.stack, &config, &six), ==, 0);
    check(mir__tcp_listener_find(host, &v4, 81) == NULL);
    check(&mir__tcp_listener_find(host, &v6, 81)->pub == six);
    tap_case("beside it one of IPv4 alone; not one of both");
    config.v6_only = false;
    check_int(mir_tcp_listen(bed.stack, &config, &other), ==, -MIR_EADDRINUSE);
    config.v4_only = true;
    check_int(mir_tcp_listen(bed.stack, &config, &other), ==, 0);
    check(&mir__tcp_listener_find(host, &v4, 81)->pub == other);
    check(&mir__tcp_listener_find(host, &v6, 81)->pub == six);
    config.local.port = 82;
    check_int(mir_tcp_listen(bed.stack, &config, &other), ==, 0);
    check(mir__tcp_listener_find(host, &v6, 82) == NULL);
    testbed_close(&bed);
}

/* A second interface on a device of its own, IPv6 alone. */
static void add_interface(struct testdev *dev)
{
    struct mir_net_if_config interface = {.ip6 = MIR_IP6_STATIC, .ip6_no_dad = true};
    testdev_init(dev, &bed.bufs, 1500, 0);
    dev->dev.info.mac[5] = 9;
    check_int(mir_net_add_interface(bed.net, &dev->dev, &interface), ==, 0);
    testbed_run(&bed);
    testdev_clear(dev);
}

/* The destination of the next frame other than IPv6 groups' that left over @dev. */
static bool leaves_to(struct testdev *dev, const char *ip)
{
    const struct testdev_frame *frame;
    struct mir_ip dst = bed6_ip(ip);
    while ((frame = testdev_next(dev)) != NULL) {
        if (frame->data[0] != 0x33)
            return check_mem(frame->data + 14 + 24, dst.bytes, 16);
    }
    return false;
}

static void test_two_links(void)
{
    static struct testdev second;
    static const char ll_peer[] = "fe80::77";
    static uint8_t echo[64] = {MIR__ICMP6_ECHO, 0, 0, 0, 1, 2, 3, 4, 'x'};
    static uint8_t option[16] = {59, 1, 0x80, 4};
    open_bed();
    add_interface(&second);
    struct mir_net_upper first = bed.dev.upper;
    bed.dev.upper = second.upper; /* what comes now comes by the second link */
    bed6_solicit(&bed, ll_peer, "ff02::1:ff00:9", "fe80::ff:fe00:9", testbed_peer_mac);
    testdev_clear(&second);
    tap_case("a ping of all nodes on the second link is answered there");
    inject(ll_peer, "ff02::1", 58, echo, sizeof echo);
    check(leaves_to(&second, ll_peer));
    tap_case("so is an option that nobody knows");
    inject(ll_peer, "ff02::1", 60, option, sizeof option);
    check(leaves_to(&second, ll_peer));
    check(!leaves_to(&bed.dev, ll_peer));
    bed.dev.upper = first;
    testbed_close(&bed);
    testdev_fini(&second);
}

int main(void)
{
    tap_begin("net_ip6");
    test_addresses();
    test_extensions();
    test_limits();
    test_fragments();
    test_fragments_out();
    test_echo();
    test_path_mtu();
    test_off();
    test_listeners();
    test_two_links();
    return tap_done();
}
