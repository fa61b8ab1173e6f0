/* SPDX-License-Identifier: ISC */
/* Answers of the authoritative server: what a question leads to, octet by octet where it counts. */
#include <stdio.h>
#include <string.h>

#include "test/harness/authbed.h"
#include "test/harness/tap.h"

static struct authbed bed;

#define SOA "example.org 5 SOA ns1.example.org admin.example.org 1 2 3 4 5"
enum { A = 1, NS = 2, CNAME = 5, MX = 15, TXT = 16, AAAA = 28, DS = 43, ANY = 255 };

static const char zone_text[] = "$TTL 60\n"
                                "@ SOA ns1 admin 1 2 3 4 5\n"
                                "  NS ns1\n"
                                "  NS ns.example.net.\n"
                                "  MX 10 mail\n"
                                "  TXT \"a text that is longer than the address below\"\n"
                                "  A 192.0.2.1\n"
                                "ns1 A 192.0.2.53\n"
                                "    AAAA 2001:db8::53\n"
                                "mail A 192.0.2.25\n"
                                "www CNAME @\n"
                                "alias CNAME www\n"
                                "away CNAME www.example.net.\n"
                                "nowhere CNAME gone\n"
                                "loop CNAME pool\n"
                                "pool CNAME loop\n"
                                "wild CNAME x.w\n"
                                "beyond CNAME y.sub\n"
                                "deep.er.and A 192.0.2.2\n"
                                "*.w A 192.0.2.3\n"
                                "*.w MX 10 mail\n"
                                "here.w TXT x\n"
                                "*.c CNAME mail\n"
                                "a.*.star A 192.0.2.4\n"
                                "sub NS ns.sub\n"
                                "    NS ns1\n"
                                "    NS a.other\n"
                                "    DS 1 8 2 00ff\n"
                                "ns.sub A 192.0.2.54\n"
                                "other NS a.other\n"
                                "a.other A 192.0.2.55\n"
                                "dn DNAME to\n"
                                "x.to A 192.0.2.6\n"
                                "todn CNAME x.dn\n"
                                "tosub CNAME sub\n"
                                "Big TXT \"1\"\n";

static void open_bed(const struct mir_dns_server_config *config)
{
    authbed_open(&bed);
    check_int(authbed_zone(&bed, "example.org", zone_text), ==, 0);
    check_str(bed.report, "");
    authbed_serve(&bed, config);
}

static void check_answer(const char *name, uint16_t type, const char *wanted)
{
    check_str(authbed_ask(&bed, name, type), wanted);
}

static void ask_all(void)
{
    tap_case("a set, with the addresses of hosts in it");
    check_answer("example.org", A, "NOERROR aa | example.org 60 A 192.0.2.1 | |");
    check_answer("example.org", MX,
                 "NOERROR aa | example.org 60 MX 10 mail.example.org | | mail.example.org 60 A "
                 "192.0.2.25");
    check_answer("example.org", NS,
                 "NOERROR aa | example.org 60 NS ns1.example.org ; example.org 60 NS "
                 "ns.example.net | | ns1.example.org 60 A 192.0.2.53 ; ns1.example.org 60 AAAA "
                 "2001:db8::53");
    tap_case("no such type, no such name, a name that only has others below it");
    check_answer("ns1.example.org", MX, "NOERROR aa | | " SOA " |");
    check_answer("nobody.example.org", A, "NXDOMAIN aa | | " SOA " |");
    check_answer("a.b.c.d.e.f.g.h.i.nobody.example.org", A, "NXDOMAIN aa | | " SOA " |");
    check_answer("and.example.org", A, "NOERROR aa | | " SOA " |");
    check_answer("er.and.example.org", ANY, "NOERROR aa | | " SOA " |");
    check_answer("x.er.and.example.org", A, "NXDOMAIN aa | | " SOA " |");
    check_answer("x.deep.er.and.example.org", A, "NXDOMAIN aa | | " SOA " |");
    tap_case("names that are not ours");
    check_answer("example.net", A, "REFUSED | | |");
    check_answer("org", A, "REFUSED | | |");
    check_answer(".", NS, "REFUSED | | |");
    check_answer("notexample.org", A, "REFUSED | | |");
}

static void ask_aliases(void)
{
    tap_case("aliases, to their end as far as it is in the zone");
    check_answer("alias.example.org", A,
                 "NOERROR aa | alias.example.org 60 CNAME www.example.org ; www.example.org 60 "
                 "CNAME example.org ; example.org 60 A 192.0.2.1 | |");
    check_answer("alias.example.org", CNAME,
                 "NOERROR aa | alias.example.org 60 CNAME www.example.org | |");
    check_answer("www.example.org", ANY, "NOERROR aa | www.example.org 60 CNAME example.org | |");
    check_answer("www.example.org", AAAA,
                 "NOERROR aa | www.example.org 60 CNAME example.org | " SOA " |");
    check_answer("away.example.org", A,
                 "NOERROR aa | away.example.org 60 CNAME www.example.net | |");
    check_answer("nowhere.example.org", A,
                 "NXDOMAIN aa | nowhere.example.org 60 CNAME gone.example.org | " SOA " |");
    check_answer("loop.example.org", A,
                 "NOERROR aa | loop.example.org 60 CNAME pool.example.org ; pool.example.org 60 "
                 "CNAME loop.example.org | |");
    check_answer("wild.example.org", A,
                 "NOERROR aa | wild.example.org 60 CNAME x.w.example.org ; x.w.example.org 60 A "
                 "192.0.2.3 | |");
    check_answer(
        "beyond.example.org", A,
        "NOERROR aa | beyond.example.org 60 CNAME y.sub.example.org | sub.example.org 60 "
        "NS ns.sub.example.org ; sub.example.org 60 NS ns1.example.org ; sub.example.org "
        "60 NS a.other.example.org | ns.sub.example.org 60 A 192.0.2.54 ; ns1.example.org "
        "60 A 192.0.2.53 ; ns1.example.org 60 AAAA 2001:db8::53 ; a.other.example.org 60 A "
        "192.0.2.55");
}

static void ask_wildcards(void)
{
    tap_case("wildcards");
    check_answer("x.w.example.org", A, "NOERROR aa | x.w.example.org 60 A 192.0.2.3 | |");
    check_answer("long.and.longer.w.example.org", MX,
                 "NOERROR aa | long.and.longer.w.example.org 60 MX 10 mail.example.org | | "
                 "mail.example.org 60 A 192.0.2.25");
    check_answer("*.w.example.org", A, "NOERROR aa | *.w.example.org 60 A 192.0.2.3 | |");
    check_answer("x.w.example.org", TXT, "NOERROR aa | | " SOA " |");
    check_answer("here.w.example.org", A, "NOERROR aa | | " SOA " |");
    check_answer("x.here.w.example.org", A, "NXDOMAIN aa | | " SOA " |");
    check_answer("w.example.org", A, "NOERROR aa | | " SOA " |");
    check_answer("a.b.c.example.org", A,
                 "NOERROR aa | a.b.c.example.org 60 CNAME mail.example.org ; mail.example.org 60 A "
                 "192.0.2.25 | |");
    check_answer("x.c.example.org", TXT,
                 "NOERROR aa | x.c.example.org 60 CNAME mail.example.org | " SOA " |");
    tap_case("a wildcard that only has others below it");
    check_answer("b.star.example.org", A, "NOERROR aa | | " SOA " |");
    check_answer("a.*.star.example.org", A, "NOERROR aa | a.*.star.example.org 60 A 192.0.2.4 | |");
    check_answer("b.*.star.example.org", A, "NXDOMAIN aa | | " SOA " |");
}

static void ask_delegations(void)
{
    static const char sub[] =
        "NOERROR | | sub.example.org 60 NS ns.sub.example.org ; sub.example.org 60 NS "
        "ns1.example.org ; sub.example.org 60 NS a.other.example.org | ns.sub.example.org 60 A "
        "192.0.2.54 ; ns1.example.org 60 A 192.0.2.53 ; ns1.example.org 60 AAAA 2001:db8::53 ; "
        "a.other.example.org 60 A 192.0.2.55";
    tap_case("delegations: referrals with glue, never authoritative");
    check_answer("sub.example.org", A, sub);
    check_answer("sub.example.org", NS, sub);
    check_answer("sub.example.org", ANY, sub);
    check_answer("a.b.c.sub.example.org", AAAA, sub);
    check_answer("ns.sub.example.org", A, sub);
    check_answer("x.ns.sub.example.org", DS, sub);
    tap_case("DS is of the upper side");
    check_answer("sub.example.org", DS,
                 "NOERROR aa | sub.example.org 60 TYPE43 \\# 6 0001080200ff | |");
    check_answer("other.example.org", DS, "NOERROR aa | | " SOA " |");
    check_answer(
        "tosub.example.org", DS,
        "NOERROR aa | tosub.example.org 60 CNAME sub.example.org ; sub.example.org 60 TYPE43 "
        "\\# 6 0001080200ff | |");
    tap_case("DNAME, and the alias that it makes");
    check_answer(
        "x.dn.example.org", A,
        "NOERROR aa | dn.example.org 60 TYPE39 \\# 16 02746f076578616d706c65036f726700 ; "
        "x.dn.example.org 60 CNAME x.to.example.org ; x.to.example.org 60 A 192.0.2.6 | |");
    check_answer("y.dn.example.org", A,
                 "NXDOMAIN aa | dn.example.org 60 TYPE39 \\# 16 02746f076578616d706c65036f726700 ; "
                 "y.dn.example.org 60 CNAME y.to.example.org | " SOA " |");
    check_answer("dn.example.org", A, "NOERROR aa | | " SOA " |");
    tap_case("an alias of what a DNAME renames");
    check_answer(
        "todn.example.org", A,
        "NOERROR aa | todn.example.org 60 CNAME x.dn.example.org ; dn.example.org 60 TYPE39 "
        "\\# 16 02746f076578616d706c65036f726700 ; x.dn.example.org 60 CNAME "
        "x.to.example.org ; x.to.example.org 60 A 192.0.2.6 | |");
    tap_case("ANY is one set, the smallest");
    check_answer("example.org", ANY, "NOERROR aa | example.org 60 A 192.0.2.1 | |");
}

static void test_answers(void)
{
    struct mir_dns_server_config config = {.limits = {.ready_bytes = 1}};
    struct mir_dns_server_stats stats;
    for (int round = 0; round < 2; round++) {
        tap_case(round == 0 ? "answers that were ready" : "the same without memory for ready ones");
        open_bed(round == 0 ? NULL : &config);
        ask_all();
        ask_aliases();
        ask_wildcards();
        ask_delegations();
        mir_dns_server_get_stats(bed.server, &stats);
        check(round == 0 ? stats.ready > 0 : stats.ready == 0);
        check(round == 0 ? stats.ready_left == 0 : stats.ready_left > 0);
        check_int(round == 0 ? stats.answered_ready : stats.answered_made, >, 40);
        authbed_close(&bed);
    }
}

/* ---- the message ------------------------------------------------------------------------------
 */

static void test_case(void)
{
    uint8_t question[512];
    tap_case("the question is repeated letter by letter, and its name is pointed to");
    open_bed(NULL);
    uint32_t len = authbed_question(&bed, "WwW.eXaMpLe.OrG", A, question);
    authbed_give(&bed, question, len);
    check_mem(bed.msg + 12, question + 12, len - 12);
    check_int(mir_get_be16(bed.msg), ==, 0x1234);
    check_int(mir_get_be16(bed.msg + len), ==, 0xc00c);
    check_int(bed.msg_len, ==, len + 12 + 2 + 12 + 4);
    check_answer("bIG.example.org", TXT, "NOERROR aa | bIG.example.org 60 TXT \"1\" | |");
    tap_case("RD comes back, other flags do not");
    bed.flags = MIR__DNS_RD | MIR__DNS_CD | MIR__DNS_AD | MIR__DNS_RA | MIR__DNS_TC;
    check_answer("example.org", A, "NOERROR aa rd | example.org 60 A 192.0.2.1 | |");
    authbed_close(&bed);
}

static void test_edns(void)
{
    tap_case("EDNS: our size, DO as it came");
    open_bed(NULL);
    bed.has_opt = true;
    bed.udp_bytes = 4096;
    check_answer("example.org", A, "NOERROR aa | example.org 60 A 192.0.2.1 | | OPT 1232 0");
    bed.dnssec_ok = true;
    check_answer("nobody.example.org", A, "NXDOMAIN aa | | " SOA " | OPT 1232 0 do");
    check_answer("example.net", A, "REFUSED | | | OPT 1232 0 do");
    tap_case("BADVERS for a later version");
    bed.version = 1;
    check_answer("example.org", A, "NOERROR | | | OPT 1232 1 do");
    authbed_close(&bed);
}

static void test_refusals(void)
{
    tap_case("other classes, types that are no data");
    open_bed(NULL);
    bed.class = 3;
    check_answer("version.bind", TXT, "REFUSED | | |");
    bed.class = 255;
    check_answer("example.org", A, "REFUSED | | |");
    bed.class = 0;
    check_answer("example.org", 253, "NOTIMP | | |");
    check_answer("example.org", 252, "FORMERR | | |"); /* AXFR in a datagram */
    check_answer("example.org", 41, "FORMERR | | |");
    check_answer("example.org", 0, "NOERROR aa | | " SOA " |");
    check_answer("example.org", 251,
                 "NOERROR aa | example.org 60 SOA ns1.example.org admin.example.org 1 2 3 4 5 | |");
    tap_case("other operations");
    bed.flags = 4 << 11;
    check_answer("example.org", 6, "NOTIMP | | |");
    bed.flags = 15 << 11;
    check_answer("example.org", 6, "NOTIMP | | |");
    tap_case("a response gets no answer");
    bed.flags = MIR__DNS_QR;
    check_answer("example.org", 1, "nothing");
    authbed_close(&bed);
}

/* A good question with @count octets at @at replaced, and cut or longer by @delta. */
static const char *give_bent(uint32_t at, const char *octets, uint32_t count, int delta)
{
    uint8_t question[600] = {0};
    uint32_t len = authbed_question(&bed, "www.example.org", A, question);
    memcpy(question + at, octets, count);
    authbed_give(&bed, question, (uint32_t)((int)len + delta));
    return authbed_text(&bed);
}

static void test_malformed(void)
{
    tap_case("malformed questions");
    open_bed(NULL);
    check_str(give_bent(0, "", 0, 0), "NOERROR aa | www.example.org 60 CNAME example.org ; "
                                      "example.org 60 A 192.0.2.1 | |");
    check_str(give_bent(0, "", 0, 1), "FORMERR | | |");
    check_str(give_bent(0, "", 0, -1), "FORMERR | | |");
    check_str(give_bent(0, "", 0, -4), "FORMERR | | |");
    check_str(give_bent(0, "", 0, -21), "FORMERR | | |"); /* the header alone */
    check_str(give_bent(0, "", 0, -20), "FORMERR | | |");
    check_str(give_bent(4, "\0\0", 2, 0), "FORMERR | | |");      /* no question (RFC 9619) */
    check_str(give_bent(4, "\0\2", 2, 0), "FORMERR | | |");      /* two */
    check_str(give_bent(6, "\0\1", 2, 0), "FORMERR | | |");      /* an answer */
    check_str(give_bent(8, "\0\1", 2, 0), "FORMERR | | |");      /* authority */
    check_str(give_bent(10, "\0\1", 2, 0), "FORMERR | | |");     /* an OPT that is not there */
    check_str(give_bent(12, "\xc0\x0c", 2, 0), "FORMERR | | |"); /* a name that is itself */
    check_str(give_bent(12, "\x40", 1, 0), "FORMERR | | |");
    check_str(give_bent(12, "\x3f", 1, 0), "FORMERR | | |");
    authbed_give(&bed, (const uint8_t *)"\0\1\0\0\0\1\0\0\0\0\0", 11);
    check_str(authbed_text(&bed), "nothing");
    authbed_close(&bed);
}

static uint32_t add_opt(uint8_t *out, const char *options, uint16_t len, uint16_t said)
{
    static const uint8_t opt[11] = {0, 0, 41, 4, 208};
    memcpy(out, opt, sizeof opt);
    mir_put_be16(out + 9, said);
    memcpy(out + 11, options, len);
    return 11u + len;
}

static void test_options(void)
{
    uint8_t question[600];
    tap_case("options of EDNS are stepped over, and must fit");
    open_bed(NULL);
    uint32_t len = authbed_question(&bed, "example.org", A, question);
    question[11] = 1;
    authbed_give(&bed, question, len + add_opt(question + len, "\0\12\0\2ab\0\3\0\0", 10, 10));
    check_str(authbed_text(&bed), "NOERROR aa | example.org 60 A 192.0.2.1 | | OPT 1232 0");
    authbed_give(&bed, question, len + add_opt(question + len, "\0\12\0\3ab", 6, 6));
    check_str(authbed_text(&bed), "FORMERR | | |");
    authbed_give(&bed, question, len + add_opt(question + len, "\0\12\0\2ab", 6, 7));
    check_str(authbed_text(&bed), "FORMERR | | |");
    tap_case("there is one OPT, and it is the root's");
    question[11] = 2;
    uint32_t more = add_opt(question + len, "", 0, 0);
    more += add_opt(question + len + more, "", 0, 0);
    authbed_give(&bed, question, len + more);
    check_str(authbed_text(&bed), "FORMERR | | |");
    question[11] = 1;
    memcpy(question + len, "\1a\0\0\51\4\320\0\0\0\0\0\0", 13);
    authbed_give(&bed, question, len + 13);
    check_str(authbed_text(&bed), "FORMERR | | |");
    authbed_close(&bed);
}

static void test_sizes(void)
{
    static char text[60000];
    size_t at = (size_t)snprintf(text, sizeof text,
                                 "$TTL 60\n@ SOA ns admin 1 2 3 4 5\n NS ns\nns A 1.2.3.4\n"
                                 "mx MX 1 m1\n MX 2 m2\n MX 3 m3\n");
    for (uint32_t i = 1; i <= 3; i++) {
        for (uint32_t j = 0; j < 20; j++)
            at += (size_t)snprintf(text + at, sizeof text - at, "m%u A 10.0.%u.%u\n", i, i, j);
    }
    for (uint32_t i = 0; i < 100; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "big A 10.1.0.%u\n", i);
    at += (size_t)snprintf(text + at, sizeof text - at, "cut NS ns.cut\n");
    for (uint32_t i = 0; i < 50; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "ns.cut A 10.2.0.%u\n", i);
    authbed_open(&bed);
    check_int(authbed_zone(&bed, "example.org", text), ==, 0);
    authbed_serve(&bed, NULL);
    tap_case("what is too long for a datagram loses what may be left out");
    check_answer("mx.example.org", MX,
                 "NOERROR aa | mx.example.org 60 MX 1 m1.example.org ; mx.example.org 60 MX 2 "
                 "m2.example.org ; mx.example.org 60 MX 3 m3.example.org | |");
    bed.has_opt = true;
    bed.udp_bytes = 4096;
    check(strstr(authbed_ask(&bed, "mx.example.org", MX), "10.0.3.19") != NULL);
    check_int(bed.msg_len, <=, 1232);
    tap_case("or is truncated: the question and TC");
    check_answer("big.example.org", A, "NOERROR aa tc | | | OPT 1232 0");
    check(strstr(authbed_ask(&bed, "x.cut.example.org", A), "10.2.0.49") != NULL);
    tap_case("the size that was told counts, from 512 on");
    bed.udp_bytes = 0;
    check_answer("mx.example.org", MX,
                 "NOERROR aa | mx.example.org 60 MX 1 m1.example.org ; mx.example.org 60 MX 2 "
                 "m2.example.org ; mx.example.org 60 MX 3 m3.example.org | | OPT 1232 0");
    bed.has_opt = false;
    check_answer("x.cut.example.org", A, "NOERROR tc | | |"); /* glue is needed (RFC 9471) */
    tap_case("over TCP it is whole");
    bed.is_tcp = true;
    check(strstr(authbed_ask(&bed, "big.example.org", A), "10.1.0.99") != NULL);
    check(strstr(authbed_ask(&bed, "x.cut.example.org", A), "10.2.0.49") != NULL);
    authbed_close(&bed);
}

static void test_zones(void)
{
    tap_case("several zones: the deepest answers, DS is asked above");
    authbed_open(&bed);
    check_int(authbed_zone(&bed, "example.org", zone_text), ==, 0);
    check_int(authbed_zone(&bed, "sub.example.org",
                           "$TTL 7\n@ SOA ns b 1 2 3 4 5\n NS ns\nns A 192.0.2.54\n"),
              ==, 0);
    check_int(authbed_zone(&bed, "and.example.org",
                           "$TTL 7\n@ SOA ns b 1 2 3 4 6\n NS ns\nns A 192.0.2.54\n"),
              ==, 0);
    authbed_serve(&bed, NULL);
    check_answer(
        "sub.example.org", A,
        "NOERROR aa | | sub.example.org 5 SOA ns.sub.example.org b.sub.example.org 1 2 3 4 "
        "5 |");
    check_answer("ns.sub.example.org", A, "NOERROR aa | ns.sub.example.org 7 A 192.0.2.54 | |");
    check_answer("sub.example.org", DS,
                 "NOERROR aa | sub.example.org 60 TYPE43 \\# 6 0001080200ff | |");
    /* Without a delegation above it, too. */
    check_answer(
        "deep.er.and.example.org", A,
        "NXDOMAIN aa | | and.example.org 6 SOA ns.and.example.org b.and.example.org 1 2 3 4 "
        "6 |");
    check_answer("example.org", DS, "NOERROR aa | | " SOA " |");
    authbed_close(&bed);
    tap_case("one zone twice is refused");
    authbed_open(&bed);
    struct mir_dns_server *server;
    check_int(authbed_zone(&bed, "example.org", zone_text), ==, 0);
    check_int(authbed_zone(&bed, "EXAMPLE.org", zone_text), ==, 0);
    struct mir_dns_server_config config = {
        .stack = bed.bed.stack, .rng = &bed.bed.rng, .zones = bed.zones, .zone_count = 2};
    check_int(mir_dns_server_open(&config, &server), ==, -MIR_EEXIST);
    tap_case("memory that fails while it opens is given back");
    config.zone_count = 1;
    int r = -MIR_ENOMEM;
    for (uint64_t nth = 1; r == -MIR_ENOMEM && nth < 200; nth++) {
        mir_page_pool_fail_at(&bed.bed.pages, nth);
        r = mir_dns_server_open(&config, &server);
    }
    mir_page_pool_fail_at(&bed.bed.pages, 0);
    check_int(r, ==, 0);
    mir_dns_server_close(server);
    authbed_close(&bed);
}

int main(void)
{
    tap_begin("dns_answer");
    test_answers();
    test_case();
    test_edns();
    test_refusals();
    test_malformed();
    test_options();
    test_sizes();
    test_zones();
    return tap_done();
}
