/* SPDX-License-Identifier: ISC */
/* Messages of neighbour discovery, listener discovery and stateless DHCPv6 (lib/wire). */
#include <string.h>

#include "lib/wire/dhcp6.h"
#include "lib/wire/domain.h"
#include "lib/wire/mld6.h"
#include "lib/wire/nd6.h"
#include "test/harness/tap.h"

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 7};

static struct mir_ip ip_of(const char *text)
{
    struct mir_ip ip;
    MIR_ASSERT(mir_ip_parse(text, strlen(text), &ip) == 0);
    return ip;
}

static bool check_ip(const struct mir_ip *ip, const char *text)
{
    char out[MIR_IP_TEXT_MAX];
    return check_str(mir_ip_text(ip, out), text);
}

static void test_neighbours(void)
{
    struct mir__nd6_neighbour a = {.type = MIR__ND6_SOLICIT, .has_mac = true, .has_nonce = true};
    struct mir__nd6_neighbour b;
    uint8_t out[64];
    tap_case("a solicitation with link-layer address and nonce");
    a.target = ip_of("fe80::1234");
    memcpy(a.mac, mac, 6);
    memcpy(a.nonce, "nonce!", 6);
    size_t len = mir__nd6_emit_neighbour(&a, out);
    check_int(len, ==, MIR__ND6_NEIGHBOUR_MAX);
    check_mem(out,
              ((const uint8_t[]){135, 0, 0, 0, 0, 0,    0,    0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0,  0,
                                 0,   0, 0, 0, 0, 0x12, 0x34, 1, 1,    2,    0, 0, 0, 0, 7, 14, 1}),
              34);
    check_int(mir__nd6_parse_neighbour(out, len, &b), ==, 0);
    check_mem(&a, &b, sizeof a);
    tap_case("every shorter length is refused");
    for (size_t i = 0; i < len; i++) {
        if (i != 24 && i != 32)
            check_int(mir__nd6_parse_neighbour(out, i, &b), <, 0);
    }
    tap_case("an option of length 0, and one that does not fit");
    out[25] = 0;
    check_int(mir__nd6_parse_neighbour(out, len, &b), ==, -MIR_EMALFORMED);
    out[25] = 3;
    check_int(mir__nd6_parse_neighbour(out, len, &b), ==, -MIR_EMALFORMED);
    out[25] = 2; /* covers the nonce: a link-layer address that Ethernet does not have */
    check_int(mir__nd6_parse_neighbour(out, len, &b), ==, -MIR_EMALFORMED);
    out[25] = 1;
    out[26] = 1; /* a group as a link-layer address */
    check_int(mir__nd6_parse_neighbour(out, len, &b), ==, -MIR_EMALFORMED);
    out[26] = 2;
    out[8] = 0xff;
    check_int(mir__nd6_parse_neighbour(out, len, &b), ==, -MIR_EMALFORMED);
    out[8] = 0xfe;
    out[1] = 1;
    check_int(mir__nd6_parse_neighbour(out, len, &b), ==, -MIR_EMALFORMED);
    tap_case("an advertisement keeps its three flags apart");
    for (unsigned flags = 0; flags < 8; flags++) {
        a = (struct mir__nd6_neighbour){.type = MIR__ND6_ADVERT,
                                        .is_router = flags & 4,
                                        .is_solicited = flags & 2,
                                        .is_override = flags & 1,
                                        .target = ip_of("2001:db8::1")};
        check_int(mir__nd6_emit_neighbour(&a, out), ==, 24);
        check_int(out[4], ==, flags << 5);
        check_int(mir__nd6_parse_neighbour(out, 24, &b), ==, 0);
        check_mem(&a, &b, sizeof a);
    }
    tap_case("a router solicitation");
    check_int(mir__nd6_emit_router_solicit(NULL, out), ==, 8);
    check_int(mir__nd6_emit_router_solicit(mac, out), ==, 16);
    check_mem(out, ((const uint8_t[]){133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 7}), 16);
}

/* As radvd writes it. */
static const uint8_t advert[] =
    {
        134,  0,    0,    0,    64,  0x48, 0x07, 0x08, 0,    0,    0x75, 0x30, 0, 0,
        0x03, 0xe8, /* 1800 s, high, O */
        3,    4,    64,   0xc0, 0,   1,    0x51, 0x80, 0,    0,    0x38, 0x40, 0, 0,
        0,    0, /* prefix */
        0x20, 0x01, 0x0d, 0xb8, 0,   1,    0,    2,    0xff, 0,    0,    0,    0, 0,
        0,    1,                                       /* dirty tail */
        5,    1,    0,    0,    0,   0,    0x05, 0xd4, /* MTU 1492 */
        1,    1,    2,    0,    0,   0,    0,    7,    /* source */
        24,   2,    48,   0x18, 0,   0,    2,    0x58, 0x20, 0x01, 0x0d, 0xb8, 0, 9,
        0,    0, /* route, low */
        25,   3,    0,    0,    0,   0,    0,    60,   0x20, 0x01, 0x0d, 0xb8, 0, 0,
        0,    0,    0,    0,    0,   0,    0,    0,    0,    0x53, 31,   4,    0, 0,
        0,    0,    0,    61,   7,   'e',  'x',  'a',  'm',  'p',  'l',  'e',  3, 'o',
        'r',  'g',  0,    1,    'a', 0,    0,    0,    0,    0,    0,    0,    0, 0,
};

static void test_router(void)
{
    struct mir__nd6_router router;
    struct mir__nd6_option option;
    struct mir__nd6_prefix prefix;
    struct mir__nd6_route route;
    char text[MIR__DOMAIN_TEXT_MAX];
    size_t at = MIR__ND6_ADVERT_OPTIONS_AT, name_at = 0;
    tap_case("a router's advertisement: fixed part, MTU, link-layer address");
    check_int(mir__nd6_parse_router(advert, sizeof advert, &router), ==, 0);
    check_int(router.hop_limit, ==, 64);
    check(router.is_other && !router.is_managed && router.has_mac);
    check_int(router.preference, ==, MIR__ND6_HIGH);
    check_int(router.lifetime_s, ==, 1800);
    check_int(router.reachable_ms, ==, 30000);
    check_int(router.retrans_ms, ==, 1000);
    check_int(router.mtu, ==, 1492);
    check_mem(router.mac, mac, 6);
    tap_case("its prefix: bits behind the length are cleared");
    check_int(mir__nd6_next_option(advert, sizeof advert, &at, &option), ==, 1);
    check_int(mir__nd6_parse_prefix(&option, &prefix), ==, 0);
    check_ip(&prefix.prefix, "2001:db8:1:2::");
    check_int(prefix.len, ==, 64);
    check(prefix.is_on_link && prefix.is_autonomous);
    check_int(prefix.valid_s, ==, 86400);
    check_int(prefix.preferred_s, ==, 14400);
    check_int(mir__nd6_parse_route(&option, &route), ==, -MIR_EMALFORMED);
    check_int(mir__nd6_next_option(advert, sizeof advert, &at, &option), ==, 1);
    check_int(mir__nd6_parse_prefix(&option, &prefix), ==, -MIR_EMALFORMED);
    check_int(mir__nd6_next_option(advert, sizeof advert, &at, &option), ==, 1);
    tap_case("its route (RFC 4191)");
    check_int(mir__nd6_next_option(advert, sizeof advert, &at, &option), ==, 1);
    check_int(mir__nd6_parse_route(&option, &route), ==, 0);
    check_ip(&route.prefix, "2001:db8:9::");
    check_int(route.len, ==, 48);
    check_int(route.preference, ==, MIR__ND6_LOW);
    check_int(route.lifetime_s, ==, 600);
    tap_case("its name server and search list");
    check_int(mir__nd6_next_option(advert, sizeof advert, &at, &option), ==, 1);
    check_int(mir__nd6_rdnss_count(&option), ==, 1);
    struct mir_ip server = mir__nd6_rdnss_at(&option, 0);
    check_ip(&server, "2001:db8::53");
    check_int(mir__nd6_dns_lifetime_s(&option), ==, 60);
    check_int(mir__nd6_next_option(advert, sizeof advert, &at, &option), ==, 1);
    check_int(mir__nd6_dns_lifetime_s(&option), ==, 61);
    check_int(mir__domain_next(option.data + 6, option.len - 6, &name_at, text), ==, 11);
    check_str(text, "example.org");
    check_int(mir__domain_next(option.data + 6, option.len - 6, &name_at, text), ==, 1);
    check_str(text, "a");
    check_int(mir__domain_next(option.data + 6, option.len - 6, &name_at, text), ==, 0);
    check_int(mir__nd6_next_option(advert, sizeof advert, &at, &option), ==, 0);

    tap_case("cut off anywhere but between options: refused");
    unsigned accepted = 0;
    for (size_t len = 0; len < sizeof advert; len++)
        accepted += mir__nd6_parse_router(advert, len, &router) == 0;
    check_int(accepted, ==, 6);
    tap_case("a prefix of 129 bits and a route longer than its octets are ignored");
    uint8_t copy[sizeof advert];
    memcpy(copy, advert, sizeof copy);
    copy[18] = 129;
    at = 16;
    check_int(mir__nd6_next_option(copy, sizeof copy, &at, &option), ==, 1);
    check_int(mir__nd6_parse_prefix(&option, &prefix), ==, -MIR_EMALFORMED);
    copy[66] = 65;
    at = 64;
    check_int(mir__nd6_next_option(copy, sizeof copy, &at, &option), ==, 1);
    check_int(option.type, ==, MIR__ND6_OPT_ROUTE);
    check_int(mir__nd6_parse_route(&option, &route), ==, -MIR_EMALFORMED);
    copy[66] = 64;
    check_int(mir__nd6_parse_route(&option, &route), ==, 0);
    copy[67] = 0x10; /* reserved preference */
    check_int(mir__nd6_parse_route(&option, &route), ==, -MIR_EMALFORMED);
    tap_case("the reserved preference of a router counts as medium");
    copy[5] = 0x10;
    check_int(mir__nd6_parse_router(copy, sizeof copy, &router), ==, 0);
    check_int(router.preference, ==, MIR__ND6_MEDIUM);
    copy[5] = 0x18;
    check_int(mir__nd6_parse_router(copy, sizeof copy, &router), ==, 0);
    check_int(router.preference, ==, MIR__ND6_LOW);
}

static void test_redirect(void)
{
    uint8_t msg[56] = {137};
    struct mir__nd6_redirect redirect;
    struct mir_ip target = ip_of("fe80::2"), destination = ip_of("2001:db8:5::1");
    tap_case("a redirect");
    memcpy(msg + 8, target.bytes, 16);
    memcpy(msg + 24, destination.bytes, 16);
    msg[40] = 2;
    msg[41] = 1;
    memcpy(msg + 42, mac, 6);
    msg[48] = 4;
    msg[49] = 1;
    check_int(mir__nd6_parse_redirect(msg, sizeof msg, &redirect), ==, 0);
    check_ip(&redirect.target, "fe80::2");
    check_ip(&redirect.destination, "2001:db8:5::1");
    check(redirect.has_mac);
    check_mem(redirect.mac, mac, 6);
    tap_case("short, of another code, to a group: refused");
    for (size_t len = 0; len < 40; len++)
        check_int(mir__nd6_parse_redirect(msg, len, &redirect), ==, -MIR_ETRUNCATED);
    msg[1] = 1;
    check_int(mir__nd6_parse_redirect(msg, sizeof msg, &redirect), ==, -MIR_EMALFORMED);
    msg[1] = 0;
    msg[24] = 0xff;
    check_int(mir__nd6_parse_redirect(msg, sizeof msg, &redirect), ==, -MIR_EMALFORMED);
}

static void test_domains(void)
{
    char text[MIR__DOMAIN_TEXT_MAX];
    uint8_t list[300] = {0};
    size_t at = 0;
    tap_case("names: pointers, labels beyond the end, odd octets and long names are refused");
    check_int(mir__domain_next((const uint8_t *)"\xc0\x0c", 2, &at, text), ==, -MIR_EMALFORMED);
    check_int(mir__domain_next((const uint8_t *)"\x03"
                                                "ab",
                               3, &at, text),
              ==, -MIR_EMALFORMED);
    check_int(mir__domain_next((const uint8_t *)"\x02"
                                                "ab",
                               3, &at, text),
              ==, -MIR_EMALFORMED);
    check_int(mir__domain_next((const uint8_t *)"\x02"
                                                "a.",
                               4, &at, text),
              ==, -MIR_EMALFORMED);
    check_int(mir__domain_next((const uint8_t *)"\x02"
                                                "a\n",
                               4, &at, text),
              ==, -MIR_EMALFORMED);
    check_int(at, ==, 0);
    for (size_t i = 0; i < 5; i++) {
        list[i * 51] = 50;
        memset(list + i * 51 + 1, 'x', 50);
    }
    check_int(mir__domain_next(list, sizeof list, &at, text), ==, -MIR_EMALFORMED);
    list[4 * 51] = 49;
    list[5 * 51 - 1] = 0;
    check_int(mir__domain_next(list, sizeof list, &at, text), ==, 4 * 51 + 49);
    check_int(strlen(text), ==, 253);
    check_int(mir__domain_next(list, sizeof list, &at, text), ==, 0);
}

static void test_mld(void)
{
    uint8_t msg[60] = {130, 0, 0, 0, 0x27, 0x10};
    struct mir__mld6_query query;
    struct mir_ip group = ip_of("ff02::fb");
    tap_case("a query of version 1: general, for a group");
    check_int(mir__mld6_parse_query(msg, 24, &query), ==, 0);
    check_int(query.version, ==, 1);
    check_int(query.response_ms, ==, 10000);
    check(mir_ip_is_any(&query.group));
    memcpy(msg + 8, group.bytes, 16);
    check_int(mir__mld6_parse_query(msg, 24, &query), ==, 0);
    check(mir_ip_equal(&query.group, &group));
    tap_case("neither version's length; a group that is none");
    for (size_t len = 0; len < 28; len++) {
        if (len != 24)
            check_int(mir__mld6_parse_query(msg, len, &query), <, 0);
    }
    msg[8] = 0xfe;
    check_int(mir__mld6_parse_query(msg, 24, &query), ==, -MIR_EMALFORMED);
    msg[8] = 0xff;
    tap_case("a query of version 2: codes beyond the linear part, sources must fit");
    msg[24] = 0x0a;
    msg[25] = 125;
    msg[27] = 2;
    check_int(mir__mld6_parse_query(msg, 60, &query), ==, 0);
    check_int(query.version, ==, 2);
    check_int(query.robustness, ==, 2);
    check_int(query.interval_s, ==, 125);
    check_int(query.sources, ==, 2);
    check_int(mir__mld6_parse_query(msg, 59, &query), ==, -MIR_EMALFORMED);
    msg[4] = 0x80; /* exponent 0, mantissa 0x001 */
    msg[5] = 1;
    msg[25] = 0x8f;
    check_int(mir__mld6_parse_query(msg, 60, &query), ==, 0);
    check_int(query.response_ms, ==, 0x1001 << 3);
    check_int(query.interval_s, ==, 31 << 3);
    tap_case("reports");
    mir__mld6_emit_v1(MIR__MLD6_REPORT1, &group, msg);
    check_int(msg[0], ==, 131);
    check_mem(msg + 8, group.bytes, 16);
    mir__mld6_emit_header(3, msg);
    mir__mld6_emit_record(MIR__MLD6_TO_EXCLUDE, &group, msg + 8);
    check_mem(msg, ((const uint8_t[]){143, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0xff, 2}), 14);
}

static void test_dhcp6(void)
{
    uint8_t msg[200];
    struct mir__dhcp6_reply reply;
    tap_case("an Information-request");
    mir__dhcp6_emit_request(0xabcdef, mac, 100, msg);
    check_mem(msg, ((const uint8_t[]){11, 0xab, 0xcd, 0xef, 0, 1,  0, 10, 0, 3,  0, 1,
                                      2,  0,    0,    0,    0, 7,  0, 8,  0, 2,  0, 100,
                                      0,  6,    0,    8,    0, 23, 0, 24, 0, 32, 0, 83}),
              MIR__DHCP6_REQUEST_LEN);
    tap_case("a Reply");
    static const uint8_t golden[] = {
        7, 0xab, 0xcd, 0xef, 0,    1,   0,   10,   0, 3,  0, 1, 2, 0, 0, 0,   0, 7, /* client */
        0, 2,    0,    10,   0,    3,   0,   1,    2, 0,  0, 0, 0, 1,               /* server */
        0, 23,   0,    16,   0x20, 1,   0xd, 0xb8, 0, 0,  0, 0, 0, 0, 0, 0,   0, 0,
        0, 5,                                                                 /* name server */
        0, 24,   0,    5,    3,    'l', 'a', 'b',  0,                         /* domain */
        0, 32,   0,    4,    0,    0,   2,   0x58, 0, 83, 0, 4, 0, 0, 0, 100, /* refresh */
    };
    check_int(mir__dhcp6_parse_reply(golden, sizeof golden, mac, &reply), ==, 0);
    check_int(reply.xid, ==, 0xabcdef);
    check_int(reply.server_count, ==, 1);
    check_ip(&reply.servers[0], "2001:db8::5");
    check_int(reply.domains_len, ==, 5);
    check(reply.has_refresh);
    check_int(reply.refresh_s, ==, 600);
    check_int(reply.inf_max_rt_s, ==, 100);
    tap_case("somebody else's, without a server, of another type, cut off");
    uint8_t other[6] = {2, 0, 0, 0, 0, 8};
    check_int(mir__dhcp6_parse_reply(golden, sizeof golden, other, &reply), ==, -MIR_EMALFORMED);
    unsigned accepted = 0;
    for (size_t len = 0; len < sizeof golden; len++)
        accepted += mir__dhcp6_parse_reply(golden, len, mac, &reply) == 0;
    check_int(accepted, ==, 4);
    memcpy(msg, golden, sizeof golden);
    msg[0] = 2;
    check_int(mir__dhcp6_parse_reply(msg, sizeof golden, mac, &reply), ==, -MIR_EMALFORMED);
    msg[0] = 7;
    msg[35] = 15;
    check_int(mir__dhcp6_parse_reply(msg, sizeof golden, mac, &reply), <, 0);
}

int main(void)
{
    tap_begin("wire_nd6");
    test_neighbours();
    test_router();
    test_redirect();
    test_domains();
    test_mld();
    test_dhcp6();
    return tap_done();
}
