/* SPDX-License-Identifier: ISC */
/* IPv6 and ICMPv6 headers: golden bytes, limits, kinds of addresses, and emit -> parse. */
#include <string.h>

#include <mirari/rng.h>

#include "lib/wire/icmp6.h"
#include "lib/wire/ip6.h"
#include "test/harness/tap.h"

static struct mir_rng rng;

static struct mir_ip ip_of(const char *text)
{
    struct mir_ip ip = {{0}};
    check_int(mir_ip_parse(text, strlen(text), &ip), ==, 0);
    return ip;
}

static void test_header(void)
{
    static const uint8_t golden[40] = {
        0x6b, 0x81, 0x23, 0x45, 0,    0,    17, 63, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0,
        0,    0,    0,    1,    0xfe, 0x80, 0,  0,  0,    0, 0,    0,    0, 0, 0, 0, 0, 0, 0, 2};
    struct mir__ip6 ip;
    uint8_t out[40];
    tap_case("ip6: a header");
    check_int(mir__ip6_parse(golden, sizeof golden, &ip), ==, 0);
    check_int(ip.traffic_class, ==, 0xb8);
    check_int(ip.flow_label, ==, 0x12345);
    check_int(ip.next, ==, 17);
    check_int(ip.hops, ==, 63);
    check_int(ip.payload_len, ==, 0);
    struct mir_ip src = ip_of("2001:db8::1"), dst = ip_of("fe80::2");
    check(mir_ip_equal(&ip.src, &src) && mir_ip_equal(&ip.dst, &dst));
    check_int(mir__ip6_emit_len(&ip), ==, 40);
    mir__ip6_emit(&ip, out);
    check_mem(out, golden, 40);
    tap_case("ip6: short packets are truncated, other versions malformed");
    for (size_t len = 0; len < 40; len++)
        check_int(mir__ip6_parse(golden, len, &ip), ==, -MIR_ETRUNCATED);
    memcpy(out, golden, 40);
    out[5] = 1;
    check_int(mir__ip6_parse(out, 40, &ip), ==, -MIR_ETRUNCATED);
    check_int(mir__ip6_check(out, 40, 41), ==, 0);
    for (int version = 0; version < 16; version++) {
        memcpy(out, golden, 40);
        out[0] = (uint8_t)(version << 4);
        check_int(mir__ip6_parse(out, 40, &ip), ==, version == 6 ? 0 : -MIR_EMALFORMED);
    }
    tap_case("ip6: what was emitted is parsed as the same");
    for (int i = 0; i < 1000; i++) {
        struct mir__ip6 value = {0}, again;
        mir_rng_bytes(&rng, &value, sizeof value);
        value.flow_label &= 0xfffff;
        value.payload_len = 0;
        memset(out, 0xee, sizeof out);
        mir__ip6_emit(&value, out);
        check_int(mir__ip6_parse(out, 40, &again), ==, 0);
        check(value.traffic_class == again.traffic_class && value.next == again.next &&
              value.hops == again.hops && value.flow_label == again.flow_label &&
              mir_ip_equal(&value.src, &again.src) && mir_ip_equal(&value.dst, &again.dst));
    }
}

static void test_fragment(void)
{
    static const uint8_t golden[8] = {6, 0, 0x05, 0xa9, 1, 2, 3, 4};
    struct mir__ip6_fragment f;
    uint8_t out[8];
    tap_case("ip6: a fragment header");
    check_int(mir__ip6_fragment_parse(golden, 8, &f), ==, 0);
    check_int(f.next, ==, 6);
    check_int(f.offset, ==, 1448);
    check_int(f.more, ==, 1);
    check_int(f.id, ==, 0x01020304);
    mir__ip6_fragment_emit(&f, out);
    check_mem(out, golden, 8);
    for (size_t len = 0; len < 8; len++)
        check_int(mir__ip6_fragment_parse(golden, len, &f), ==, -MIR_ETRUNCATED);
    for (int i = 0; i < 1000; i++) {
        struct mir__ip6_fragment value = {.next = (uint8_t)i,
                                          .more = i & 1,
                                          .offset = (uint16_t)(mir_rng_u32(&rng) & 0xfff8),
                                          .id = mir_rng_u32(&rng)},
                                 again;
        mir__ip6_fragment_emit(&value, out);
        check_int(mir__ip6_fragment_parse(out, 8, &again), ==, 0);
        check(value.next == again.next && value.more == again.more &&
              value.offset == again.offset && value.id == again.id);
    }
}

static void test_addresses(void)
{
    static const struct {
        const char *text;
        bool is_host, is_group, is_link_local;
    } rows[] = {
        {"::", false, false, false},
        {"::1", false, false, false},
        {"::10.0.0.1", false, false, false},
        {"::ffff:10.0.0.1", false, false, false},
        {"::1:0:0:1", true, false, false},
        {"fe80::1", true, false, true},
        {"febf::1", true, false, true},
        {"fec0::1", true, false, false},
        {"ff02::1", false, true, false},
        {"2001:db8::1", true, false, false},
        {"64:ff9b::10.0.0.1", true, false, false},
    };
    tap_case("ip6: kinds of addresses");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mir_ip ip = ip_of(rows[i].text);
        bool is_good = check_int(mir__ip6_is_host(&ip), ==, rows[i].is_host) &&
                       check_int(mir__ip6_is_multicast(&ip), ==, rows[i].is_group) &&
                       check_int(mir__ip6_is_link_local(&ip), ==, rows[i].is_link_local);
        if (!is_good)
            tap_note("%s", rows[i].text);
    }
    struct mir_ip any = ip_of("::"), any4 = mir_ip_from_v4(0), own = ip_of("::1");
    check(mir__ip6_is_unspecified(&any) && !mir__ip6_is_unspecified(&any4));
    check(mir__ip6_is_loopback(&own) && !mir__ip6_is_loopback(&any));
}

static void test_icmp6(void)
{
    static const uint8_t golden[] = {2, 0, 0, 0, 0, 0, 5, 0, 'a', 'b'};
    struct mir__icmp6 icmp;
    uint8_t out[10];
    tap_case("icmp6: a message");
    check_int(mir__icmp6_parse(golden, sizeof golden, &icmp), ==, 0);
    check_int(icmp.type, ==, MIR__ICMP6_TOO_BIG);
    check_int(icmp.rest, ==, 1280);
    check_int(icmp.data_len, ==, 2);
    check_int(mir__icmp6_emit_len(&icmp), ==, 10);
    mir__icmp6_emit(&icmp, out);
    check_mem(out, golden, 10);
    for (size_t len = 0; len < 8; len++)
        check_int(mir__icmp6_parse(golden, len, &icmp), ==, -MIR_ETRUNCATED);
    check(mir__icmp6_type_is_error(127) && !mir__icmp6_type_is_error(128));
}

int main(int argc, char **argv)
{
    tap_begin("wire_ip6");
    mir_rng_init_u64(&rng, tap_seed(argc, argv, 1));
    test_header();
    test_fragment();
    test_addresses();
    test_icmp6();
    return tap_done();
}
