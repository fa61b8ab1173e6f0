/* SPDX-License-Identifier: ISC */
/* Addresses and their text, lib/net/addr.c. */
#include <stdlib.h>
#include <string.h>

#include <mirari/net.h>

#include "test/harness/tap.h"

static void good(const char *text, const char *expected)
{
    struct mir_ip ip;
    char out[MIR_IP_TEXT_MAX];
    if (check_int(mir_ip_parse(text, strlen(text), &ip), ==, 0))
        check_str(mir_ip_text(&ip, out), expected);
    else
        tap_note("%s", text);
}

static void bad(const char *text)
{
    struct mir_ip ip;
    size_t len = strlen(text);
    /* An exact copy: no NUL behind it. */
    char *exact = malloc(len > 0 ? len : 1);
    memcpy(exact, text, len);
    if (!check_int(mir_ip_parse(exact, len, &ip), ==, -MIR_EMALFORMED))
        tap_note("accepted: %s", text);
    free(exact);
}

static void test_v4(void)
{
    tap_case("dotted quads");
    good("0.0.0.0", "0.0.0.0");
    good("10.0.0.2", "10.0.0.2");
    good("255.255.255.255", "255.255.255.255");
    tap_case("what is not a dotted quad");
    const char *const texts[] = {"",          "1.2.3",     "1.2.3.4.5", "1.2.3.256",  "01.2.3.4",
                                 "1.2.3.04",  "1..2.3",    "1.2.3.4 ",  " 1.2.3.4",   "1.2.3.4/",
                                 "0x1.2.3.4", "1.2.3.-1",  "1.2.3.",    "1234.1.1.1", "1.2.3.4444",
                                 "a.b.c.d",   "1.2.3.4\n", ".1.2.3.4"};
    for (size_t i = 0; i < MIR_ARRAY_LEN(texts); i++)
        bad(texts[i]);
    tap_case("values");
    struct mir_ip ip = mir_ip_from_v4(0x0a000002), any = mir_ip_from_v4(0);
    check(mir_ip_is_v4(&ip));
    check_int(mir_ip_to_v4(&ip), ==, 0x0a000002);
    check(!mir_ip_is_any(&ip));
    check(mir_ip_is_any(&any));
    check(!mir_ip_equal(&ip, &any));
    memset(any.bytes, 0, 16);
    check(mir_ip_is_any(&any));
    check(!mir_ip_is_v4(&any));
}

static void test_v6(void)
{
    tap_case("IPv6 text, RFC 5952 form comes out");
    good("::", "::");
    good("::1", "::1");
    good("1::", "1::");
    good("2001:DB8::1", "2001:db8::1");
    good("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1");
    good("2001:0:0:1:0:0:0:1", "2001:0:0:1::1");
    good("0:0:0:0:0:0:0:1", "::1");
    good("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1");
    good("fe80:0000::0001", "fe80::1");
    good("::ffff:1.2.3.4", "1.2.3.4");
    good("64:ff9b::1.2.3.4", "64:ff9b::102:304");
    good("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8");
    good("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304");
    good("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    tap_case("what is not IPv6 text");
    const char *const texts[] = {":",
                                 ":::",
                                 "1:2:3",
                                 "1:2:3:4:5:6:7",
                                 "1::2::3",
                                 "12345::",
                                 "1:2:3:4:5:6:7:8:9",
                                 "g::",
                                 "::1%eth0",
                                 "1:2:3:4:5:6:7::8:9",
                                 "::1.2.3",
                                 "::1.2.3.4:5",
                                 "1:",
                                 ":1",
                                 "1:2:3:4:5:6:7:1.2.3.4",
                                 "[::1]"};
    for (size_t i = 0; i < MIR_ARRAY_LEN(texts); i++)
        bad(texts[i]);
}

static void test_prefix(void)
{
    struct mir_ip ip;
    uint8_t len = 99;
    tap_case("prefixes");
    check_int(mir_ip_parse_prefix("10.0.0.2/24", 11, &ip, &len), ==, 0);
    check_int(len, ==, 24);
    check_int(mir_ip_to_v4(&ip), ==, 0x0a000002);
    check_int(mir_ip_parse_prefix("::1/128", 7, &ip, &len), ==, 0);
    check_int(len, ==, 128);
    check_int(mir_ip_parse_prefix("10.0.0.2/33", 11, &ip, &len), ==, -MIR_ERANGE);
    check_int(mir_ip_parse_prefix("10.0.0.2/", 9, &ip, &len), ==, -MIR_EMALFORMED);
    check_int(mir_ip_parse_prefix("10.0.0.2", 8, &ip, &len), ==, -MIR_EMALFORMED);
    check_int(mir_ip_parse_prefix("10.0.0.2/2x", 11, &ip, &len), ==, -MIR_EMALFORMED);
    check_int(mir_ip_parse_prefix("/24", 3, &ip, &len), ==, -MIR_EMALFORMED);
    check_int(len, ==, 128);
    tap_case("endpoints as text");
    char out[MIR_ENDPOINT_TEXT_MAX];
    struct mir_endpoint ep = {.ip = mir_ip_from_v4(0x7f000001), .port = 8080};
    check_str(mir_endpoint_text(&ep, out), "127.0.0.1:8080");
    check_int(mir_ip_parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 39, &ep.ip), ==, 0);
    ep.port = 65535;
    check_str(mir_endpoint_text(&ep, out), "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

int main(void)
{
    tap_begin("net_addr");
    test_v4();
    test_v6();
    test_prefix();
    return tap_done();
}
