/* SPDX-License-Identifier: ISC */
/* Master files: what they may say, and what is said about mistakes in them. */
#include <stdio.h>
#include <string.h>

#include "test/harness/authbed.h"
#include "test/harness/tap.h"

static struct authbed bed;

#define HEAD "$TTL 60\n@ SOA ns admin 1 2 3 4 5\n NS ns\nns A 192.0.2.53\n"

/* A zone with these entries more is good, and the name has this one record. */
static void check_record(const char *entries, const char *name, uint16_t type, const char *wanted)
{
    char text[4096], all[4096];
    const char *got = "";
    authbed_open(&bed);
    snprintf(text, sizeof text, HEAD "%s", entries);
    check_int(authbed_zone(&bed, "example.org", text), ==, 0);
    check_str(bed.report, "");
    if (bed.zone_count == 1) {
        authbed_serve(&bed, NULL);
        got = authbed_ask(&bed, name, type);
    }
    snprintf(all, sizeof all, "NOERROR aa | %s | |", wanted);
    check_str(got, all);
    authbed_close(&bed);
}

/* The file is not served, or not without a word, and this is what its author reads. */
static void check_report(const char *text, const char *wanted)
{
    authbed_open(&bed);
    check_int(authbed_zone(&bed, "example.org", text), ==, -MIR_EMALFORMED);
    check_str(bed.report, wanted);
    authbed_close(&bed);
}

static void check_warning(const char *entries, const char *wanted)
{
    char text[4096];
    authbed_open(&bed);
    snprintf(text, sizeof text, HEAD "%s", entries);
    check_int(authbed_zone(&bed, "example.org", text), ==, 0);
    check_str(bed.report, wanted);
    authbed_close(&bed);
}

static void test_forms(void)
{
    tap_case("an entry has its owner, TTL and class in any of their forms");
    check_record("a 30 IN A 1.2.3.4\n", "a.example.org", 1, "a.example.org 30 A 1.2.3.4");
    check_record("a IN 30 A 1.2.3.4\n", "a.example.org", 1, "a.example.org 30 A 1.2.3.4");
    check_record("a A 1.2.3.4\n", "a.example.org", 1, "a.example.org 60 A 1.2.3.4");
    check_record("a.example.org. a 1.2.3.4\n", "a.example.org", 1, "a.example.org 60 A 1.2.3.4");
    check_record("a TXT x\n  A 1.2.3.4\n", "a.example.org", 1, "a.example.org 60 A 1.2.3.4");
    check_record("a\t1h30m\tCLASS1\tTYPE1\t1.2.3.4\r\n", "a.example.org", 1,
                 "a.example.org 5400 A 1.2.3.4");
    check_record("a A 1.2.3.4 ; a comment\n", "a.example.org", 1, "a.example.org 60 A 1.2.3.4");
}

static void test_text(void)
{
    tap_case("parentheses, quotes, comments and escapes");
    check_record("a ( ; why\n 30\n A\n ) ( 1.2.3.4\n\n)\n", "a.example.org", 1,
                 "a.example.org 30 A 1.2.3.4");
    check_record("a TXT \"a ; b ( c\" d\\;e \"\\\"\" \\000\\255\n", "a.example.org", 16,
                 "a.example.org 60 TXT \"a ; b ( c\" \"d;e\" \"\\\"\" \"\\000\\255\"");
    check_record("a TXT \"\"\n", "a.example.org", 16, "a.example.org 60 TXT \"\"");
    check_record("a\\.b A 1.2.3.4\n", "a\\.b.example.org", 1, "a\\.b.example.org 60 A 1.2.3.4");
    check_record("\\097 A 1.2.3.4\n", "a.example.org", 1, "a.example.org 60 A 1.2.3.4");
    check_record("a CNAME b\\.\n", "a.example.org", 5, "a.example.org 60 CNAME b\\..example.org");
    check_record("a CNAME b\\\\.\n", "a.example.org", 5, "a.example.org 60 CNAME b\\\\");
    check_record("a TXT x\n", "a.example.org", 16, "a.example.org 60 TXT \"x\"");
    check_record("a TXT end-without-newline", "a.example.org", 16,
                 "a.example.org 60 TXT \"end-without-newline\"");
}

static void test_directives(void)
{
    tap_case("$ORIGIN and $TTL hold for what follows");
    check_record("$ORIGIN sub\n$TTL 1d\na A 1.2.3.4\n", "a.sub.example.org", 1,
                 "a.sub.example.org 86400 A 1.2.3.4");
    check_record("$ORIGIN example.org.\n$ORIGIN x.y\n@ A 1.2.3.4\n", "x.y.example.org", 1,
                 "x.y.example.org 60 A 1.2.3.4");
    tap_case("$INCLUDE, with origin and owner as before after it");
    authbed_open(&bed);
    bed.include_name = "more";
    bed.include_text = "$ORIGIN deep\na A 1.2.3.4\n";
    check_int(authbed_zone(&bed, "example.org",
                           HEAD "b A 1.1.1.1\n$INCLUDE more inner\n AAAA ::1\nc A 2.2.2.2\n"),
              ==, 0);
    check_str(bed.report, "");
    authbed_serve(&bed, NULL);
    check_str(authbed_ask(&bed, "a.deep.inner.example.org", 1),
              "NOERROR aa | a.deep.inner.example.org 60 A 1.2.3.4 | |");
    check_str(authbed_ask(&bed, "b.example.org", 28), "NOERROR aa | b.example.org 60 AAAA ::1 | |");
    check_str(authbed_ask(&bed, "c.example.org", 1), "NOERROR aa | c.example.org 60 A 2.2.2.2 | |");
    authbed_close(&bed);
}

static void test_types(void)
{
    tap_case("data of the types");
    check_record("a AAAA 2001:db8::1\n", "a.example.org", 28, "a.example.org 60 AAAA 2001:db8::1");
    check_record("a AAAA ::ffff:1.2.3.4\n", "a.example.org", 28,
                 "a.example.org 60 AAAA 1.2.3.4"); /* as mir_ip_text() has it */
    check_record("a MX 10 mail.example.net.\n", "a.example.org", 15,
                 "a.example.org 60 MX 10 mail.example.net");
    check_record("a MX 0 .\n", "a.example.org", 15, "a.example.org 60 MX 0 .");
    check_record("a SRV 1 2 3 b.example.net.\n", "a.example.org", 33,
                 "a.example.org 60 SRV 1 2 3 b.example.net");
    check_record("a CAA 128 issue \"ca.example; x=y\"\n", "a.example.org", 257,
                 "a.example.org 60 CAA 128 issue \"ca.example; x=y\"");
    check_record("a PTR b\n", "a.example.org", 12, "a.example.org 60 PTR b.example.org");
    check_record("a HINFO PC \"my os\"\n", "a.example.org", 13,
                 "a.example.org 60 TYPE13 \\# 9 025043056d79206f73");
}

static void test_more_types(void)
{
    tap_case("digits in several words, base 64, octets of any type");
    check_record("a TLSA 3 1 1 ab (CD\n ef)\n", "a.example.org", 52,
                 "a.example.org 60 TYPE52 \\# 6 030101abcdef");
    check_record("a DNSKEY 256 3 8 AQ ID BA==\n", "a.example.org", 48,
                 "a.example.org 60 TYPE48 \\# 8 0100030801020304");
    check_record("a TYPE65280 \\# 3 0a0B 0c\n", "a.example.org", 65280,
                 "a.example.org 60 TYPE65280 \\# 3 0a0b0c");
    check_record("a TYPE65280 \\# 0\n", "a.example.org", 65280, "a.example.org 60 TYPE65280 \\# 0");
    check_record("a A \\# 4 01020304\n", "a.example.org", 1, "a.example.org 60 A 1.2.3.4");
    check_record("a NAPTR 1 2 \"s\" \"SIP+D2U\" \"\" b.example.net.\n", "a.example.org", 35,
                 "a.example.org 60 TYPE35 \\# 30 00010002017307534950"
                 "2b443255000162076578616d706c65036e657400");
    tap_case("equal records are one");
    check_record("a A 1.2.3.4\na A 1.2.3.4\n", "a.example.org", 1, "a.example.org 60 A 1.2.3.4");
}

static void test_mistakes(void)
{
    tap_case("a mistake is reported with its line, what it is, and what to do");
    check_report(HEAD "a A 1.2.3\n", "zone:5: '1.2.3' is no IPv4 address; as 192.0.2.1\n");
    check_report(HEAD "\n;\na A ::1\n", "zone:7: '::1' is no IPv4 address; as 192.0.2.1\n");
    check_report(HEAD "a B 1\n", "zone:5: 'B' is no type; a name in the first column, then TTL and "
                                 "class, then the type: others as TYPE65280\n");
    check_report(HEAD "a A 1.2.3.4 5\n",
                 "zone:5: '5' is more than A has; take it out, or put a ';' "
                 "before a comment\n");
    check_report(HEAD "a MX 10\n", "zone:5: the data of MX ends too early\n");
    check_report(HEAD "a CH A 1.2.3.4\n", "zone:5: class CH; only IN is served\n");
    check_report(HEAD "a.example.net. A 1.2.3.4\n",
                 "zone:5: a.example.net is not in the zone example.org; names that do not end in a "
                 "dot are relative to the origin\n");
    check_report(HEAD "a (A 1.2.3.4\n",
                 "zone:6: the file ends inside '('; the entry began in line 5\n");
    check_report(HEAD "a A ) 1.2.3.4\n", "zone:5: ')' without a '('; take it out\n");
    check_report(HEAD "a TXT \"b\nc A 1.2.3.4\n",
                 "zone:5: '\"' without its end in this line; close the string, and use several for "
                 "a long text\n");
    check_report(HEAD "a TXT \\25\n", "zone:5: \\ and a digit begin \\DDD, three decimal digits\n");
    check_report(HEAD "a TXT \\256\n", "zone:5: \\256 is no octet; they end at \\255\n");
    check_report(HEAD "a..b A 1.2.3.4\n",
                 "zone:5: 'a..b' is no name; labels divided by single dots, "
                 "odd octets as \\DDD\n");
    check_report(HEAD "a 1x A 1.2.3.4\n",
                 "zone:5: '1x' is no time; seconds up to 2147483647, or as 1h30m\n");
    check_report(HEAD "a MX 65536 b\n", "zone:5: '65536' is no number from 0 to 65535\n");
    check_report(HEAD "$GENERATE 1-2 a A 1.2.3.4\n",
                 "zone:5: $GENERATE is not known; there are $ORIGIN, $TTL and $INCLUDE\n");
    check_report(HEAD "$INCLUDE x\n", "zone:5: $INCLUDE is not possible here; put the lines of the "
                                      "file in its place\n");
    check_report("@ SOA ns admin 1 2 3 4 5\n",
                 "zone:1: no TTL; begin the file with one for all, as '$TTL 1h'\n");
}

static void test_more_mistakes(void)
{
    tap_case("every mistake is reported, one for an entry");
    check_report(HEAD "a A (\n1.2.3\n x )\nb A 4\n",
                 "zone:6: '1.2.3' is no IPv4 address; as "
                 "192.0.2.1\nzone:8: '4' is no IPv4 address; as "
                 "192.0.2.1\n");
    tap_case("what messages alone have, and what belongs to signed zones");
    check_report(HEAD "a ANY \\# 0\n", "zone:5: ANY stands in messages only, not in zones\n");
    check_report(HEAD "a NSEC b A\n", "zone:5: NSEC belongs to a signed zone, which is not served; "
                                      "use the file that was not signed\n");
    tap_case("octets that are no data of their type");
    check_report(HEAD "a A \\# 3 010203\n", "zone:5: these octets are no data of type A\n");
    check_report(HEAD "a TYPE65280 \\# 3 0102\n", "zone:5: 2 octets where \\# says 3\n");
    check_report(HEAD "a TYPE65280 \\# 1 012\n",
                 "zone:5: an odd number of hexadecimal digits; an octet has two\n");
    check_report(HEAD "a DNSKEY 1 3 8 A=B\n", "zone:5: 'A=B' is not base 64\n");
    tap_case("an included file is named");
    authbed_open(&bed);
    bed.include_name = "more";
    bed.include_text = "\na A 1.2.3\n";
    check_int(authbed_zone(&bed, "example.org", HEAD "$INCLUDE more\n$INCLUDE less\n"), ==,
              -MIR_EMALFORMED);
    check_str(bed.report, "more:2: '1.2.3' is no IPv4 address; as 192.0.2.1\n"
                          "zone:6: there is no file 'less' to include; names are those of the "
                          "store\n");
    bed.include_text = "$INCLUDE more\n";
    check_int(authbed_zone(&bed, "example.org", HEAD "$INCLUDE more\n"), ==, -MIR_EMALFORMED);
    check_str(
        bed.report,
        "more:1: more than 8 files in each other, or 1000 in all; does one include itself?\n");
    authbed_close(&bed);
}

static void test_zone(void)
{
    tap_case("what a zone must have and what it must not");
    check_report("$TTL 60\n@ NS a.example.net.\n",
                 "zone:3: the zone has no SOA; add '@ SOA ...'\n");
    check_report("$TTL 60\n@ SOA a b 1 2 3 4 5\n", "zone:3: the zone has no NS; add '@ NS ...'\n");
    check_report(HEAD "@ SOA ns admin 2 2 3 4 5\n", "zone:2: the zone has 2 SOAs; there is one\n");
    check_report(HEAD "a SOA ns admin 1 2 3 4 5\n",
                 "zone:5: SOA of a.example.org; a zone has one, at its own name '@'\n");
    check_report(HEAD "a CNAME ns\na A 1.2.3.4\n",
                 "zone:5: a.example.org has a CNAME and A too; an alias has nothing else (RFC 2181 "
                 "section 10.1)\n");
    check_report(HEAD "a CNAME ns\na CNAME b\n",
                 "zone:5: a.example.org has 2 CNAMEs; it can be an alias of one name\n");
    check_report(HEAD "a DNAME b\nc.a A 1.2.3.4\n",
                 "zone:6: c.a.example.org is below a DNAME, which renames it; move it there\n");
    check_report(HEAD "*.a NS ns\n",
                 "zone:5: a wildcard cannot delegate or rename; name what is meant\n");
    check_report(HEAD "@ NS b\n",
                 "zone:3: NS leads to b.example.org, which has no address here; add "
                 "A or AAAA of it\n");
    check_report(HEAD "@ NS b\nb CNAME ns\n",
                 "zone:3: NS leads to the alias b.example.org; name the host itself (RFC 2181)\n");
    tap_case("what is odd is said and served");
    check_warning("a MX 10 b\n", "zone:5: warning: MX leads to b.example.org, which has no address "
                                 "here; add A or AAAA of it\n");
    check_warning("a 10 A 1.2.3.4\na 20 A 1.2.3.5\n",
                  "zone:5: warning: TTLs of A differ in line 6; the records of one type have one, "
                  "the least is taken\n");
    check_warning("a NS b.a\nb.a A 1.2.3.4\nb.a TXT x\n",
                  "zone:7: warning: TXT of b.a.example.org is delegated; it is never answered from "
                  "here\n");
}

static void test_limits(void)
{
    struct mir_dns_zone *zone;
    struct mir_dns_zone_config config = {
        .origin = "example.org", .file = "zone", .text = HEAD "a.b.c A 1.2.3.4\n"};
    tap_case("limits, and memory that fails at any moment");
    authbed_open(&bed);
    config.pages = &bed.bed.pages;
    config.len = strlen(config.text);
    config.names_max = 4;
    check_int(mir_dns_zone_open(&config, &zone), ==, -MIR_ELIMIT);
    config.names_max = 5;
    config.bytes_max = 100;
    check_int(mir_dns_zone_open(&config, &zone), ==, -MIR_ELIMIT);
    config.bytes_max = 0;
    config.origin = "a..b";
    check_int(mir_dns_zone_open(&config, &zone), ==, -MIR_EINVAL);
    config.origin = "example.org";
    int r = -MIR_ENOMEM;
    for (uint64_t nth = 1; r == -MIR_ENOMEM; nth++) {
        mir_page_pool_fail_at(&bed.bed.pages, nth);
        r = mir_dns_zone_open(&config, &zone);
    }
    mir_page_pool_fail_at(&bed.bed.pages, 0);
    check_int(r, ==, 0);
    struct mir_dns_zone_info info;
    mir_dns_zone_get_info(zone, &info);
    check_int(info.names, ==, 5);
    check_int(info.records, ==, 4);
    check_int(info.serial, ==, 1);
    check_int(info.bytes, <=, 8 * MIR_PAGE_SIZE);
    mir_dns_zone_close(zone);
    authbed_close(&bed);
}

static void test_many(void)
{
    static char text[4 << 20];
    size_t at = (size_t)snprintf(text, sizeof text, HEAD);
    char name[64], wanted[128];
    tap_case("a zone of 50,000 names");
    for (uint32_t i = 0; i < 50000; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "h%u A 10.%u.%u.%u\n", i, i >> 16,
                               i >> 8 & 255, i & 255);
    authbed_open(&bed);
    check_int(authbed_zone(&bed, "example.org", text), ==, 0);
    authbed_serve(&bed, NULL);
    for (uint32_t i = 0; i < 50000; i += 4999) {
        snprintf(name, sizeof name, "h%u.example.org", i);
        snprintf(wanted, sizeof wanted, "NOERROR aa | %s 60 A 10.%u.%u.%u | |", name, i >> 16,
                 i >> 8 & 255, i & 255);
        check_str(authbed_ask(&bed, name, 1), wanted);
    }
    struct mir_dns_server_stats stats;
    mir_dns_server_get_stats(bed.server, &stats);
    tap_note("%u answers ready in %llu bytes, %u left", stats.ready,
             (unsigned long long)stats.ready_bytes, stats.ready_left);
    authbed_close(&bed);
}

int main(void)
{
    tap_begin("dns_zone");
    test_forms();
    test_text();
    test_directives();
    test_types();
    test_more_types();
    test_mistakes();
    test_more_mistakes();
    test_zone();
    test_limits();
    test_many();
    return tap_done();
}
