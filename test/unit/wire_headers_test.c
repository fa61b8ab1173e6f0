/* SPDX-License-Identifier: ISC */
/* Ethernet, ARP, IPv4, ICMP and UDP headers: golden bytes, limits, and emit -> parse. */
#include <stdlib.h>
#include <string.h>

#include <mirari/rng.h>

#include "lib/wire/arp.h"
#include "lib/wire/eth.h"
#include "lib/wire/icmp4.h"
#include "lib/wire/ip4.h"
#include "lib/wire/udp.h"
#include "test/harness/tap.h"

static struct mir_rng rng;

static void test_eth(void)
{
    static const uint8_t plain[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0};
    static const uint8_t tagged[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x81, 0, 0xa0, 7, 8, 6};
    struct mir__eth eth;
    uint8_t out[18];
    tap_case("eth: a plain header");
    check_int(mir__eth_parse(plain, sizeof plain, &eth), ==, 0);
    check_mem(eth.dst, plain, 6);
    check_mem(eth.src, plain + 6, 6);
    check_int(eth.type, ==, MIR__ETH_TYPE_IP4);
    check_int(eth.has_tag, ==, 0);
    check_int(mir__eth_header_len(plain), ==, 14);
    mir__eth_emit(&eth, out);
    check_mem(out, plain, sizeof plain);
    tap_case("eth: a tagged header");
    check_int(mir__eth_parse(tagged, sizeof tagged, &eth), ==, 0);
    check_int(eth.type, ==, MIR__ETH_TYPE_ARP);
    check_int(eth.tci, ==, 0xa007);
    check_int(mir__eth_emit_len(&eth), ==, 18);
    mir__eth_emit(&eth, out);
    check_mem(out, tagged, sizeof tagged);
    tap_case("eth: short headers are truncated, a cut tag too");
    for (size_t len = 0; len < 14; len++)
        check_int(mir__eth_parse(plain, len, &eth), ==, -MIR_ETRUNCATED);
    for (size_t len = 14; len < 18; len++)
        check_int(mir__eth_parse(tagged, len, &eth), ==, -MIR_ETRUNCATED);
    tap_case("eth: kinds of addresses");
    check(mir__mac_is_broadcast((const uint8_t[]){255, 255, 255, 255, 255, 255}));
    check(!mir__mac_is_broadcast((const uint8_t[]){255, 255, 255, 255, 255, 254}));
    check(mir__mac_is_group((const uint8_t[]){1, 0, 0x5e, 0, 0, 1}));
    check(!mir__mac_is_group((const uint8_t[]){2, 0, 0x5e, 0, 0, 1}));
    check(mir__mac_is_zero((const uint8_t[]){0, 0, 0, 0, 0, 0}));
    for (int i = 0; i < 6; i++) {
        uint8_t a[6] = {9, 9, 9, 9, 9, 9}, b[6] = {9, 9, 9, 9, 9, 9};
        check(mir__mac_equal(a, b));
        b[i] = 8;
        check(!mir__mac_equal(a, b));
        check(!mir__mac_is_zero(b));
    }
}

static void test_arp(void)
{
    static const uint8_t golden[28] = {0,  1, 8, 0, 6, 4, 0, 2, 2, 0, 0,  0, 0, 1,
                                       10, 0, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2};
    struct mir__arp arp;
    uint8_t out[28];
    tap_case("arp: a reply");
    check_int(mir__arp_parse(golden, 28, &arp), ==, 0);
    check_int(arp.op, ==, MIR__ARP_REPLY);
    check_int(arp.sender_ip, ==, 0x0a000001);
    check_int(arp.target_ip, ==, 0x0a000002);
    mir__arp_emit(&arp, out);
    check_mem(out, golden, 28);
    tap_case("arp: short packets and other hardware or protocols are refused");
    for (size_t len = 0; len < 28; len++)
        check_int(mir__arp_parse(golden, len, &arp), ==, -MIR_ETRUNCATED);
    for (size_t i = 0; i < 6; i++) {
        memcpy(out, golden, 28);
        out[i] ^= 1;
        check_int(mir__arp_parse(out, 28, &arp), ==, -MIR_EMALFORMED);
    }
}

static struct mir__ip4 random_ip4(void)
{
    struct mir__ip4 ip = {
        .tos = (uint8_t)mir_rng_u32(&rng),
        .ttl = (uint8_t)mir_rng_u32(&rng),
        .protocol = (uint8_t)mir_rng_u32(&rng),
        .options_len = (uint8_t)(4 * mir_rng_below(&rng, 11)),
        .dont_fragment = mir_rng_below(&rng, 2),
        .more_fragments = mir_rng_below(&rng, 2),
        .offset = (uint16_t)(8 * mir_rng_below(&rng, 8192)),
        .id = (uint16_t)mir_rng_u32(&rng),
        .src = mir_rng_u32(&rng),
        .dst = mir_rng_u32(&rng),
    };
    mir_rng_bytes(&rng, ip.options, ip.options_len);
    ip.total_len = (uint16_t)(20 + ip.options_len + mir_rng_below(&rng, 30));
    return ip;
}

static void test_ip4(void)
{
    tap_case("ip4: emit, then parse gives the same value, and the checksum is right");
    for (int i = 0; i < 3000; i++) {
        struct mir__ip4 ip = random_ip4(), back;
        uint8_t bytes[120];
        mir_rng_bytes(&rng, bytes, sizeof bytes);
        mir__ip4_emit(&ip, bytes);
        check_int(mir__ip4_parse(bytes, ip.total_len, &back), ==, 0);
        check(mir__ip4_checksum_ok(bytes));
        check_mem(&back, &ip, sizeof ip);
        bytes[mir_rng_below(&rng, 20)] ^= (uint8_t)(1 << mir_rng_below(&rng, 8));
        if (mir__ip4_check(bytes, sizeof bytes, sizeof bytes) == 0 &&
            mir__ip4_header_len(bytes) == mir__ip4_emit_len(&ip))
            check(!mir__ip4_checksum_ok(bytes));
    }
    struct mir__ip4 ip = {.total_len = 24, .protocol = 6}, back;
    uint8_t bytes[24] = {0};
    mir__ip4_emit(&ip, bytes);
    tap_case("ip4: every shorter length is truncated");
    for (size_t len = 0; len < 24; len++)
        check_int(mir__ip4_parse(bytes, len, &back), ==, -MIR_ETRUNCATED);
    tap_case("ip4: wrong version, short header length, total below header");
    bytes[0] = 0x65;
    check_int(mir__ip4_parse(bytes, 24, &back), ==, -MIR_EMALFORMED);
    bytes[0] = 0x44;
    check_int(mir__ip4_parse(bytes, 24, &back), ==, -MIR_EMALFORMED);
    bytes[0] = 0x46;
    check_int(mir__ip4_parse(bytes, 24, &back), ==, 0);
    bytes[3] = 23;
    check_int(mir__ip4_parse(bytes, 24, &back), ==, -MIR_EMALFORMED);
    bytes[0] = 0x4f;
    bytes[3] = 60;
    check_int(mir__ip4_parse(bytes, 24, &back), ==, -MIR_ETRUNCATED);
}

static void test_icmp4(void)
{
    tap_case("icmp4: an echo goes through emit and parse; one byte less than a header does not");
    const char *text = "abcdefgh!";
    struct mir__icmp4 icmp = {8, 0, 0x12345678, (const uint8_t *)text, 9}, back;
    uint8_t bytes[17];
    check_int(mir__icmp4_emit_len(&icmp), ==, 17);
    mir__icmp4_emit(&icmp, bytes);
    check_int(mir__csum_partial(bytes, 17), ==, 0xffff);
    check_int(mir__icmp4_parse(bytes, 17, &back), ==, 0);
    check_int(back.type, ==, 8);
    check_int(back.rest, ==, 0x12345678);
    check_int(mir__icmp4_id(bytes), ==, 0x1234);
    check_int(mir__icmp4_low(bytes), ==, 0x5678);
    check_int(back.data_len, ==, 9);
    check_mem(back.data, text, 9);
    check_int(mir__icmp4_parse(bytes, 7, &back), ==, -MIR_ETRUNCATED);
    check_int(mir__icmp4_parse(bytes, 8, &back), ==, 0);
    tap_case("icmp4: which types are errors");
    for (unsigned type = 0; type < 256; type++) {
        bool is_error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
        check_int(mir__icmp4_type_is_error((uint8_t)type), ==, is_error);
    }
}

static void test_udp(void)
{
    tap_case("udp: parse, emit, limits of the length field");
    uint8_t bytes[10] = {0x12, 0x34, 0, 53, 0, 10, 0, 0, 'h', 'i'}, out[8];
    struct mir__udp udp;
    check_int(mir__udp_parse(bytes, 10, &udp), ==, 0);
    check_int(udp.src, ==, 0x1234);
    check_int(udp.dst, ==, 53);
    check_int(udp.len, ==, 10);
    check(!mir__udp_has_checksum(bytes));
    mir__udp_emit(&udp, out);
    check_mem(out, bytes, 8);
    check_int(mir__udp_parse(bytes, 9, &udp), ==, -MIR_ETRUNCATED);
    check_int(mir__udp_parse(bytes, 7, &udp), ==, -MIR_ETRUNCATED);
    bytes[5] = 7;
    check_int(mir__udp_parse(bytes, 10, &udp), ==, -MIR_EMALFORMED);
    bytes[5] = 8;
    check_int(mir__udp_parse(bytes, 10, &udp), ==, 0);
}

int main(int argc, char **argv)
{
    tap_begin("wire_headers");
    mir_rng_init_u64(&rng, tap_seed(argc, argv, 1));
    test_eth();
    test_arp();
    test_ip4();
    test_icmp4();
    test_udp();
    return tap_done();
}
