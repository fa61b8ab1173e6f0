/* SPDX-License-Identifier: ISC */
/* DHCP messages: emit -> parse, overloaded fields, and what must be refused. */
#include <stdlib.h>
#include <string.h>

#include <mirari/rng.h>

#include "lib/wire/dhcp.h"
#include "test/harness/tap.h"

static struct mir_rng rng;

static void random_text(void *out, uint8_t *len, uint32_t max)
{
    *len = (uint8_t)mir_rng_below(&rng, max + 1);
    mir_rng_bytes(&rng, out, *len);
}

static void random_addrs(uint32_t *out, uint8_t *count)
{
    *count = (uint8_t)mir_rng_below(&rng, MIR__DHCP_ADDRS_MAX + 1);
    for (uint32_t i = 0; i < *count; i++)
        out[i] = mir_rng_u32(&rng);
}

static struct mir__dhcp random_message(void)
{
    struct mir__dhcp m;
    memset(&m, 0, sizeof m);
    m.op = (uint8_t)(1 + mir_rng_below(&rng, 2));
    m.type = (uint8_t)(1 + mir_rng_below(&rng, 8));
    m.broadcast = mir_rng_below(&rng, 2);
    m.xid = mir_rng_u32(&rng);
    m.secs = (uint16_t)mir_rng_u32(&rng);
    m.mtu = (uint16_t)mir_rng_u32(&rng);
    m.max_size = (uint16_t)mir_rng_u32(&rng);
    m.ciaddr = mir_rng_u32(&rng);
    m.yiaddr = mir_rng_u32(&rng);
    m.siaddr = mir_rng_u32(&rng);
    m.giaddr = mir_rng_u32(&rng);
    mir_rng_bytes(&rng, m.chaddr, 6);
    m.subnet_mask = mir_rng_u32(&rng);
    m.requested_ip = mir_rng_below(&rng, 2) * 0x0a000007;
    m.server_id = mir_rng_u32(&rng);
    m.lease_s = mir_rng_u32(&rng);
    m.t1_s = mir_rng_u32(&rng);
    m.t2_s = mir_rng_u32(&rng);
    random_addrs(m.routers, &m.router_count);
    random_addrs(m.dns, &m.dns_count);
    random_text(m.hostname, &m.hostname_len, 40);
    random_text(m.domain, &m.domain_len, 40);
    random_text(m.message, &m.message_len, 40);
    random_text(m.client_id, &m.client_id_len, 20);
    random_text(m.parameters, &m.parameter_count, 20);
    m.route_count = (uint8_t)mir_rng_below(&rng, 4);
    for (uint32_t i = 0; i < m.route_count; i++) {
        uint32_t len = mir_rng_below(&rng, 33);
        m.routes[i].prefix_len = len;
        m.routes[i].dst = len == 0 ? 0 : mir_rng_u32(&rng) & UINT32_MAX << (32 - len);
        m.routes[i].gateway = mir_rng_u32(&rng);
    }
    if (mir_rng_below(&rng, 2)) {
        m.search_len = 16;
        memcpy(m.search, "\7example\3org\0\1a\0", 16);
    }
    return m;
}

static void test_round_trip(void)
{
    tap_case("emit, then parse gives the same value");
    for (int i = 0; i < 2000; i++) {
        struct mir__dhcp m = random_message(), back;
        uint8_t bytes[MIR__DHCP_EMIT_MAX];
        memset(bytes, 0xee, sizeof bytes);
        size_t len = mir__dhcp_emit(&m, bytes);
        check_int(len, >=, 300);
        check_int(mir__dhcp_parse(bytes, len, &back), ==, 0);
        check_mem(&back, &m, sizeof m);
    }
    tap_case("texts that do not fit together are refused");
    struct mir__dhcp m = random_message();
    uint8_t bytes[MIR__DHCP_EMIT_MAX];
    m.hostname_len = m.domain_len = m.message_len = m.client_id_len = m.parameter_count = 63;
    m.router_count = m.dns_count = 4;
    check_int(mir__dhcp_emit(&m, bytes), ==, 0);
}

/* A message with options of the test's choice. */
static int parse_options(const uint8_t *options, size_t len, struct mir__dhcp *out)
{
    uint8_t bytes[240 + 300] = {2, 1, 6, 0};
    memcpy(bytes + 236, (const uint8_t[]){0x63, 0x82, 0x53, 0x63}, 4);
    memcpy(bytes + 240, options, len);
    /* An exact copy for ASan. */
    uint8_t *exact = malloc(240 + len);
    memcpy(exact, bytes, 240 + len);
    int r = mir__dhcp_parse(exact, 240 + len, out);
    free(exact);
    return r;
}
#define PARSE(...)                                                                                 \
    parse_options((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), &m)

static void check_routes(const struct mir__dhcp *m)
{
    if (!check_int(m->route_count, ==, 4))
        return;
    check(m->routes[0].dst == 0 && m->routes[0].prefix_len == 0);
    check_int(m->routes[0].gateway, ==, 0x0a000001);
    check(m->routes[1].dst == 0x0a000000 && m->routes[1].gateway == 0x0a000002);
    /* Bits behind the width are no part of the destination. */
    check(m->routes[2].dst == 0xc0a80180 && m->routes[2].prefix_len == 25);
    check(m->routes[3].dst == 0x01020304 && m->routes[3].gateway == 0);
}

static void test_routes(void)
{
    struct mir__dhcp m;
    tap_case("classless routes: every width, octets only as needed (RFC 3442)");
    check_int(PARSE(53, 1, 5, 121, 29, 0, 10, 0, 0, 1, 8, 10, 10, 0, 0, 2, 25, 192, 168, 1, 255, 10,
                    0, 0, 3, 32, 1, 2, 3, 4, 0, 0, 0, 0),
              ==, 0);
    check_routes(&m);
    tap_case("routes split over two options are joined (RFC 3396)");
    check_int(PARSE(53, 1, 5, 121, 21, 0, 10, 0, 0, 1, 8, 10, 10, 0, 0, 2, 25, 192, 168, 1, 255, 10,
                    0, 0, 3, 32, 121, 8, 1, 2, 3, 4, 0, 0, 0, 0, 255),
              ==, 0);
    check_routes(&m);
    tap_case("routes wider than 32 or cut off are malformed");
    check_int(PARSE(53, 1, 5, 121, 9, 33, 1, 2, 3, 4, 10, 0, 0, 1, 255), ==, -MIR_EMALFORMED);
    check_int(PARSE(53, 1, 5, 121, 8, 24, 1, 2, 3, 10, 0, 0, 1, 255), ==, 0);
    check_int(PARSE(53, 1, 5, 121, 7, 24, 1, 2, 3, 10, 0, 0, 255), ==, -MIR_EMALFORMED);
}

static void test_search(void)
{
    struct mir__dhcp m;
    char text[MIR__DHCP_SEARCH_MAX];
    size_t at = 0;
    tap_case("search domains: pointers into the list are followed (RFC 3397)");
    check_int(PARSE(53, 1, 5, 119, 9, 3, 'e', 'n', 'g', 5, 'a', 'p', 'p', 'l', 119, 17, 'e', 3, 'c',
                    'o', 'm', 0, 9, 'm', 'a', 'r', 'k', 'e', 't', 'i', 'n', 'g', 0xc0, 4, 255),
              ==, -MIR_ETRUNCATED);
    check_int(PARSE(53, 1, 5, 119, 9, 3, 'e', 'n', 'g', 5, 'a', 'p', 'p', 'l', 119, 18, 'e', 3, 'c',
                    'o', 'm', 0, 9, 'm', 'a', 'r', 'k', 'e', 't', 'i', 'n', 'g', 0xc0, 4, 255),
              ==, 0);
    size_t len = mir__dhcp_next_domain(&m, &at, text);
    check_int(len, ==, 13);
    check_mem(text, "eng.apple.com", 13);
    len = mir__dhcp_next_domain(&m, &at, text);
    check_int(len, ==, 19);
    check_mem(text, "marketing.apple.com", 19);
    check_int(mir__dhcp_next_domain(&m, &at, text), ==, 0);
    tap_case("search domains: loops, pointers forward and broken labels are malformed");
    check_int(PARSE(53, 1, 5, 119, 2, 0xc0, 0, 255), ==, -MIR_EMALFORMED);
    check_int(PARSE(53, 1, 5, 119, 4, 1, 'a', 0xc0, 2, 255), ==, -MIR_EMALFORMED);
    check_int(PARSE(53, 1, 5, 119, 4, 1, 'a', 0xc0, 0, 255), ==, -MIR_EMALFORMED);
    check_int(PARSE(53, 1, 5, 119, 3, 5, 'a', 'b', 255), ==, -MIR_EMALFORMED);
    check_int(PARSE(53, 1, 5, 119, 2, 1, 'a', 255), ==, -MIR_EMALFORMED);
    check_int(PARSE(53, 1, 5, 119, 3, 0x41, 'a', 0, 255), ==, -MIR_EMALFORMED);
    tap_case("search domains: what does not fit any more is left out whole");
    uint8_t many[270] = {53, 1, 5, 119, 255};
    for (int i = 0; i < 4; i++) {
        many[5 + 62 * i] = 60;
        memset(many + 5 + 62 * i + 1, 'a' + i, 60);
    }
    many[5 + 248] = 1;
    many[5 + 249] = 'z';
    many[5 + 254] = 255; /* 4 x 62, 3, then roots */
    many[5 + 255 - 1] = 0;
    check_int(parse_options(many, 5 + 255, &m), ==, 0);
    check_int(m.search_len, ==, 255);
}

static void test_options(void)
{
    struct mir__dhcp m;
    tap_case("pads, an absent END, and unknown options are fine");
    check_int(PARSE(0, 0, 53, 1, 5, 0, 200, 3, 1, 2, 3), ==, 0);
    check_int(m.type, ==, 5);
    tap_case("nothing behind END counts");
    check_int(PARSE(53, 1, 5, 255, 51, 4, 1, 2, 3, 4), ==, 0);
    check_int(m.lease_s, ==, 0);
    tap_case("an option that goes over the end is truncated");
    check_int(PARSE(53, 1, 5, 51, 4, 1, 2, 3), ==, -MIR_ETRUNCATED);
    check_int(PARSE(53, 1, 5, 51), ==, -MIR_ETRUNCATED);
    tap_case("no message type is malformed");
    check_int(PARSE(51, 4, 1, 2, 3, 4, 255), ==, -MIR_EMALFORMED);
    check_int(PARSE(53, 1, 0, 255), ==, -MIR_EMALFORMED);
    tap_case("options of a wrong length are malformed, even the second time");
    check_int(PARSE(53, 2, 5, 5), ==, -MIR_EMALFORMED);
    check_int(PARSE(53, 1, 5, 51, 3, 1, 2, 3), ==, -MIR_EMALFORMED);
    check_int(PARSE(53, 1, 5, 1, 5, 1, 2, 3, 4, 5), ==, -MIR_EMALFORMED);
    check_int(PARSE(53, 1, 5, 3, 0), ==, -MIR_EMALFORMED);
    check_int(PARSE(53, 1, 5, 3, 6, 1, 2, 3, 4, 5, 6), ==, -MIR_EMALFORMED);
    check_int(PARSE(53, 1, 5, 26, 1, 5), ==, -MIR_EMALFORMED);
    check_int(PARSE(53, 1, 5, 12, 0), ==, -MIR_EMALFORMED);
    check_int(PARSE(53, 1, 5, 51, 4, 0, 0, 0, 9, 51, 1, 0), ==, -MIR_EMALFORMED);
    tap_case("the first occurrence counts");
    check_int(PARSE(53, 1, 5, 51, 4, 0, 0, 0, 9, 51, 4, 0, 0, 0, 8), ==, 0);
    check_int(m.lease_s, ==, 9);
    tap_case("a list longer than we keep is cut off");
    check_int(PARSE(53, 1, 5, 6, 24, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6,
                    6, 6, 6),
              ==, 0);
    check_int(m.dns_count, ==, 4);
    check_int(m.dns[3], ==, 0x04040404);
}

static void test_fields(void)
{
    struct mir__dhcp m;
    uint8_t bytes[300] = {2, 1, 6, 0};
    memcpy(bytes + 236, (const uint8_t[]){0x63, 0x82, 0x53, 0x63, 52, 1, 3, 255}, 8);
    tap_case("options overloaded into file and sname are read, in that order");
    memcpy(bytes + 108, (const uint8_t[]){53, 1, 2, 51, 4, 0, 0, 0, 7, 255}, 10);
    memcpy(bytes + 44, (const uint8_t[]){51, 4, 0, 0, 0, 8, 54, 4, 10, 0, 0, 1, 255}, 13);
    check_int(mir__dhcp_parse(bytes, 300, &m), ==, 0);
    check_int(m.type, ==, 2);
    check_int(m.lease_s, ==, 7);
    check_int(m.server_id, ==, 0x0a000001);
    tap_case("an unknown overload is malformed");
    bytes[242] = 4;
    check_int(mir__dhcp_parse(bytes, 300, &m), ==, -MIR_EMALFORMED);
    bytes[242] = 1;
    check_int(mir__dhcp_parse(bytes, 300, &m), ==, 0);
    tap_case("wrong hardware type, op, magic; short messages");
    for (size_t at = 0; at < 3; at++) {
        bytes[at] ^= 0x40;
        check_int(mir__dhcp_parse(bytes, 300, &m), ==, -MIR_EMALFORMED);
        bytes[at] ^= 0x40;
    }
    bytes[237]++;
    check_int(mir__dhcp_parse(bytes, 300, &m), ==, -MIR_EMALFORMED);
    bytes[237]--;
    for (size_t len = 0; len < 240; len++)
        check_int(mir__dhcp_parse(bytes, len, &m), ==, -MIR_ETRUNCATED);
}

int main(int argc, char **argv)
{
    tap_begin("wire_dhcp");
    mir_rng_init_u64(&rng, tap_seed(argc, argv, 1));
    test_round_trip();
    test_options();
    test_routes();
    test_search();
    test_fields();
    return tap_done();
}
