/* SPDX-License-Identifier: ISC */
/* DNS messages: random messages written and read again, names and their text, and what must be
 * refused: pointers that lead nowhere, lengths that lie, too much of everything. */
#include <stdio.h>
#include <string.h>

#include <mirari/rng.h>

#include "lib/wire/dns.h"
#include "test/harness/tap.h"

static struct mir_rng rng;

static struct mir_dns_name name_of(const char *text)
{
    struct mir_dns_name name = {0};
    check_int(mir_dns_name_parse(text, strlen(text), &name), ==, 0);
    return name;
}

static void check_name(const struct mir_dns_name *name, const char *wanted)
{
    char text[MIR_DNS_NAME_TEXT_MAX];
    check_str(mir_dns_name_text(name, text), wanted);
}

/* ---- names ------------------------------------------------------------------------------------
 */

static void test_name_text(void)
{
    static const char *const good[] = {"example.org",
                                       "a",
                                       "xn--bcher-kva.example",
                                       "_http._tcp.local",
                                       "My\\032Site\\.1._http._tcp.local",
                                       "\\000\\255.x",
                                       "."};
    static const char *const bad[] = {"", "a..b", ".a", "..", "a\\", "a\\25", "a\\256", "a\\2x0"};
    struct mir_dns_name name;
    tap_case("names survive text");
    for (size_t i = 0; i < MIR_ARRAY_LEN(good); i++) {
        name = name_of(good[i]);
        check_name(&name, good[i]);
    }
    name = name_of("example.org.");
    check_name(&name, "example.org");
    check_mem(name.wire, "\7example\3org", 13);
    check_int(name.len, ==, 13);
    tap_case("what is no name is refused");
    for (size_t i = 0; i < MIR_ARRAY_LEN(bad); i++)
        check_int(mir_dns_name_parse(bad[i], strlen(bad[i]), &name), ==, -MIR_EMALFORMED);
}

static void test_name_limits(void)
{
    char text[300];
    struct mir_dns_name name;
    tap_case("labels of 63 and names of 255 octets are the largest");
    memset(text, 'x', sizeof text);
    check_int(mir_dns_name_parse(text, 63, &name), ==, 0);
    check_int(name.len, ==, 65);
    check_int(mir_dns_name_parse(text, 64, &name), ==, -MIR_ETOOBIG);
    text[63] = text[127] = text[191] = '.';
    check_int(mir_dns_name_parse(text, 253, &name), ==, 0);
    check_int(name.len, ==, 255);
    text[253] = '.';
    check_int(mir_dns_name_parse(text, 254, &name), ==, 0);
    text[253] = 'x';
    check_int(mir_dns_name_parse(text, 254, &name), ==, -MIR_ETOOBIG);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 ? '.' : 'a';
    check_int(mir_dns_name_parse(text, 253, &name), ==, 0);
    check_int(mir_dns_name_parse(text, 255, &name), ==, -MIR_ETOOBIG);
}

static void test_name_compare(void)
{
    struct mir_dns_name a = name_of("Example.ORG"), b = name_of("eXample.org");
    struct mir_dns_name org = name_of("org"), root = name_of("."), www = name_of("www.example.org");
    struct mir_dns_name other = name_of("notexample.org"),
                        tricky = name_of("a\\007example\\003org");
    tap_case("comparison folds letters, and only them");
    check(mir_dns_name_equal(&a, &b));
    check(!mir_dns_name_equal(&a, &www));
    struct mir_dns_name at = name_of("x@y"), grave = name_of("x`y");
    check(!mir_dns_name_equal(&at, &grave));
    tap_case("a name is in its ancestors, by labels");
    check(mir_dns_name_is_in(&www, &a));
    check(mir_dns_name_is_in(&a, &a));
    check(mir_dns_name_is_in(&a, &org));
    check(mir_dns_name_is_in(&a, &root));
    check(!mir_dns_name_is_in(&other, &a));
    check(!mir_dns_name_is_in(&tricky, &a));
    check(!mir_dns_name_is_in(&org, &a));
    tap_case("names of addresses");
    struct mir_dns_name name;
    struct mir_ip ip = mir_ip_from_v4(0x0a000002);
    mir_dns_name_of_ip(&ip, &name);
    check_name(&name, "2.0.0.10.in-addr.arpa");
    check_int(mir_ip_parse("2001:db8::1", 11, &ip), ==, 0);
    mir_dns_name_of_ip(&ip, &name);
    check_name(&name, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
}

/* ---- messages by hand --------------------------------------------------------------------------
 */

static int read_name(const void *bytes, size_t len, uint32_t at, struct mir_dns_name *name)
{
    uint8_t msg[700] = {0};
    memcpy(msg + 12, bytes, len);
    at += 12;
    return mir__dns_read_name(msg, (uint32_t)(12 + len), &at, name);
}

static void test_pointers(void)
{
    struct mir_dns_name name;
    uint8_t chain[600];
    tap_case("pointers lead back");
    check_int(read_name("\3org\0\3www\300\14", 11, 5, &name), ==, 0);
    check_name(&name, "www.org");
    tap_case("pointers to themselves, forwards, to each other and into the header are refused");
    check_int(read_name("\300\14", 2, 0, &name), ==, -MIR_EMALFORMED);
    check_int(read_name("\300\16\1a\0", 5, 0, &name), ==, -MIR_EMALFORMED);
    check_int(read_name("\1a\300\14", 4, 0, &name), ==, -MIR_EMALFORMED);
    check_int(read_name("\300\16\300\14", 4, 2, &name), ==, -MIR_EMALFORMED);
    check_int(read_name("\300\4", 2, 0, &name), ==, -MIR_EMALFORMED);
    check_int(read_name("\0\300\377", 3, 1, &name), ==, -MIR_EMALFORMED);
    tap_case("names that end too early, and labels of the two unused kinds");
    check_int(read_name("\3or", 3, 0, &name), ==, -MIR_ETRUNCATED);
    check_int(read_name("\3org", 4, 0, &name), ==, -MIR_ETRUNCATED);
    check_int(read_name("\300", 1, 0, &name), ==, -MIR_ETRUNCATED);
    check_int(read_name("\100abc", 4, 0, &name), ==, -MIR_EMALFORMED);
    check_int(read_name("\200abc", 4, 0, &name), ==, -MIR_EMALFORMED);
    tap_case("a chain of pointers has an end");
    chain[0] = 0;
    for (uint32_t i = 1; i < 600; i += 2)
        mir_put_be16(chain + MIR_MIN(i, 598u), (uint16_t)(0xc000 | (i == 1 ? 12 : 12 + i - 2)));
    check_int(read_name(chain, 599, 1 + 2 * 126, &name), ==, 0);
    check_int(read_name(chain, 599, 1 + 2 * 127, &name), ==, -MIR_EMALFORMED);
    tap_case("pointers cannot make a name too long");
    for (uint32_t i = 0; i < 8; i++) { /* each piece adds 32 octets to the one before it */
        chain[i * 34] = 31;
        memset(chain + i * 34 + 1, 'x', 31);
        mir_put_be16(chain + i * 34 + 32, (uint16_t)(i == 0 ? 0 : 0xc000 | (12 + (i - 1) * 34)));
    }
    check_int(read_name(chain, 272, 6 * 34, &name), ==, 0);
    check_int(name.len, ==, 7 * 32 + 1);
    check_int(read_name(chain, 272, 7 * 34, &name), ==, -MIR_EMALFORMED);
}

static int read_data(uint16_t type, const void *data, uint16_t len)
{
    struct mir_dns_rdata rdata;
    return mir__dns_get_rdata(data, len, type, &rdata);
}

static void test_bad_data(void)
{
    tap_case("data that does not have the form of its type is refused");
    check_int(read_data(MIR_DNS_A, "\1\2\3", 3), ==, -MIR_EMALFORMED);
    check_int(read_data(MIR_DNS_A, "\1\2\3\4\5", 5), ==, -MIR_EMALFORMED);
    check_int(read_data(MIR_DNS_AAAA, "\1\2\3\4", 4), ==, -MIR_EMALFORMED);
    check_int(read_data(MIR_DNS_NS, "\1a\0x", 4), ==, -MIR_EMALFORMED);
    check_int(read_data(MIR_DNS_NS, "", 0), ==, -MIR_EMALFORMED);
    check_int(read_data(MIR_DNS_MX, "\0", 1), ==, -MIR_EMALFORMED);
    check_int(read_data(MIR_DNS_MX, "\0\1", 2), ==, -MIR_EMALFORMED);
    check_int(read_data(MIR_DNS_SRV, "\0\1\0\2\0", 5), ==, -MIR_EMALFORMED);
    check_int(read_data(MIR_DNS_SOA, "\0\0\1\2\3", 5), ==, -MIR_EMALFORMED);
    check_int(read_data(MIR_DNS_TXT, "", 0), ==, -MIR_EMALFORMED);
    check_int(read_data(MIR_DNS_TXT, "\4abc", 4), ==, -MIR_EMALFORMED);
    check_int(read_data(MIR_DNS_CAA, "\0", 1), ==, -MIR_EMALFORMED);
    check_int(read_data(MIR_DNS_CAA, "\0\0x", 3), ==, -MIR_EMALFORMED);
    check_int(read_data(MIR_DNS_CAA, "\0\5issu", 6), ==, -MIR_EMALFORMED);
    check_int(read_data(65280, "", 0), ==, 0);
}

static void test_bad_messages(void)
{
    struct mir__dns_reader reader;
    struct mir__dns_record record;
    uint8_t msg[12 + 600 * 5] = {0};
    tap_case("messages whose counts and lengths lie");
    check_int(mir__dns_read(&reader, msg, 11), ==, -MIR_ETRUNCATED);
    check_int(mir__dns_read(&reader, msg, 65536), ==, -MIR_ETOOBIG);
    mir_put_be16(msg + 6, 1);
    check_int(mir__dns_read(&reader, msg, 12), ==, 0);
    check_int(mir__dns_read_record(&reader, &record), ==, -MIR_ETRUNCATED);
    check_int(mir__dns_read(&reader, msg, 22), ==, 0);
    check_int(mir__dns_read_record(&reader, &record), ==, -MIR_ETRUNCATED);
    msg[22] = 1; /* length of the data: one octet that is not there */
    check_int(mir__dns_read(&reader, msg, 23), ==, 0);
    check_int(mir__dns_read_record(&reader, &record), ==, -MIR_ETRUNCATED);
    tap_case("more than 512 questions and records are not looked at");
    memset(msg, 0, sizeof msg);
    mir_put_be16(msg + 4, 600);
    check_int(mir__dns_read(&reader, msg, sizeof msg), ==, 0);
    check_int(mir__dns_read_record(&reader, &record), ==, -MIR_ELIMIT);
}

/* ---- writing -----------------------------------------------------------------------------------
 */

static void test_compression(void)
{
    static const uint8_t wanted[] = "\1\2\201\200\0\1\0\2\0\0\0\0"
                                    "\3www\7Example\3org\0\0\1\0\1"
                                    "\300\14\0\5\0\1\0\0\0\74\0\2\300\20"
                                    "\300\20\0\1\0\1\0\0\0\74\0\4\12\0\0\2";
    struct mir_dns_name www = name_of("www.Example.org"), apex = name_of("Example.org");
    struct mir_dns_name other = name_of("x.example.org");
    struct mir_dns_rdata cname = {.type = MIR_DNS_CNAME, .name = apex};
    struct mir_dns_rdata a = {.type = MIR_DNS_A, .ip = mir_ip_from_v4(0x0a000002)};
    struct mir__dns_writer w;
    uint8_t out[512];
    tap_case("names and their ends are written once");
    mir__dns_write(&w, out, sizeof out, 0x0102, 0x8180);
    check_int(mir__dns_write_question(&w, &www, MIR_DNS_A, 1), ==, 0);
    check_int(mir__dns_write_record(&w, MIR__DNS_ANSWER, &www, 1, 60, &cname), ==, 0);
    check_int(mir__dns_write_record(&w, MIR__DNS_ANSWER, &apex, 1, 60, &a), ==, 0);
    check_int(mir__dns_write_end(&w), ==, sizeof wanted - 1);
    check_mem(out, wanted, sizeof wanted - 1);
    tap_case("case is kept: other letters are other octets");
    uint32_t before = w.at;
    check_int(mir__dns_write_record(&w, MIR__DNS_ANSWER, &other, 1, 60, &a), ==, 0);
    check_int(w.at - before, ==, 2 + 8 + 2 + 14); /* "org" only is shared */
    tap_case("what does not fit is taken back whole");
    mir__dns_write(&w, out, 60, 1, 0);
    check_int(mir__dns_write_question(&w, &apex, MIR_DNS_A, 1), ==, 0);
    before = w.at;
    check_int(mir__dns_write_record(&w, MIR__DNS_ANSWER, &www, 1, 60, &a), ==, 0);
    uint32_t after = w.at;
    check_int(mir__dns_write_record(&w, MIR__DNS_ANSWER, &www, 1, 60, &a), ==, -MIR_ETOOBIG);
    check_int(w.at, ==, after);
    check_int(mir__dns_write_end(&w), ==, after);
    check_int(mir_get_be16(out + 6), ==, 1);
    check_int(before, <, after);
}

static void random_name(struct mir_dns_name *name)
{
    static const char *const labels[] = {"a", "B", "example", "Example", "org", "x\\000y", "_tcp"};
    char text[200];
    size_t at = 0, count = mir_rng_below(&rng, 6);
    for (size_t i = 0; i < count; i++)
        at += (size_t)sprintf(text + at, "%s.", labels[mir_rng_below(&rng, 7)]);
    *name = name_of(at > 0 ? text : ".");
}

static uint8_t random_bytes[300];

static void random_rdata(struct mir_dns_rdata *rdata)
{
    static const uint16_t types[] = {MIR_DNS_A,   MIR_DNS_AAAA, MIR_DNS_NS,  MIR_DNS_CNAME,
                                     MIR_DNS_PTR, MIR_DNS_MX,   MIR_DNS_SRV, MIR_DNS_SOA,
                                     MIR_DNS_TXT, MIR_DNS_CAA,  65280,       MIR_DNS_NSEC};
    memset(rdata, 0, sizeof *rdata);
    mir_rng_bytes(&rng, random_bytes, sizeof random_bytes);
    rdata->type = types[mir_rng_below(&rng, MIR_ARRAY_LEN(types))];
    uint16_t len = (uint16_t)mir_rng_below(&rng, 100);
    switch (rdata->type) {
    case MIR_DNS_A:
        rdata->ip = mir_ip_from_v4(mir_rng_u32(&rng));
        break;
    case MIR_DNS_AAAA:
        mir_rng_bytes(&rng, &rdata->ip, 16);
        break;
    case MIR_DNS_MX:
        rdata->mx.preference = (uint16_t)mir_rng_u32(&rng);
        random_name(&rdata->mx.exchange);
        break;
    case MIR_DNS_SRV:
        rdata->srv.port = (uint16_t)mir_rng_u32(&rng);
        random_name(&rdata->srv.target);
        break;
    case MIR_DNS_SOA:
        random_name(&rdata->soa.primary);
        random_name(&rdata->soa.mailbox);
        rdata->soa.serial = mir_rng_u32(&rng);
        rdata->soa.minimum_s = mir_rng_u32(&rng);
        break;
    case MIR_DNS_CAA:
        rdata->caa = (struct mir_dns_caa){128, 5, "issue", len, random_bytes};
        break;
    case MIR_DNS_TXT:
        random_bytes[0] = (uint8_t)len;
        random_bytes[len + 1] = 0;
        rdata->raw = (struct mir_dns_raw){random_bytes, (uint16_t)(len + 2)};
        break;
    case 65280:
    case MIR_DNS_NSEC:
        rdata->raw = (struct mir_dns_raw){random_bytes, len};
        break;
    default:
        random_name(&rdata->name);
        break;
    }
}

static char wanted_text[16][2000];

static void test_round_trip(void)
{
    static uint8_t out[65535];
    tap_case("random messages read back as they were written");
    for (uint32_t run = 0; run < 3000; run++) {
        struct mir__dns_writer w;
        struct mir__dns_reader reader;
        struct mir__dns_record record;
        struct mir_dns_rdata rdata;
        struct mir_dns_name names[16];
        uint32_t count = mir_rng_below(&rng, 16);
        mir__dns_write(&w, out, sizeof out, 7, MIR__DNS_QR);
        for (uint32_t i = 0; i < count; i++) {
            random_name(&names[i]);
            random_rdata(&rdata);
            mir_dns_rdata_text(&rdata, wanted_text[i], sizeof wanted_text[i]);
            check_int(mir__dns_write_record(&w, MIR__DNS_ANSWER + (i > 3) + (i > 9), &names[i], 1,
                                            i, &rdata),
                      ==, 0);
        }
        uint32_t len = mir__dns_write_end(&w);
        check_int(mir__dns_read(&reader, out, len), ==, 0);
        for (uint32_t i = 0; i < count; i++) {
            char text[2000];
            check_int(mir__dns_read_record(&reader, &record), ==, 0);
            check_int(record.ttl_s, ==, i);
            check_int(record.section, ==, MIR__DNS_ANSWER + (i > 3) + (i > 9));
            check_int(record.name.len, ==, names[i].len);
            check_mem(record.name.wire, names[i].wire, names[i].len);
            check_int(mir__dns_read_rdata(&reader, &record, &rdata), ==, 0);
            mir_dns_rdata_text(&rdata, text, sizeof text);
            check_str(text, wanted_text[i]);
        }
        check_int(mir__dns_read_record(&reader, &record), ==, -MIR_EEOF);
        /* Every prefix is refused somewhere, and never read beyond. */
        uint32_t cut = mir_rng_below(&rng, len);
        int r = mir__dns_read(&reader, out, cut);
        while (r == 0)
            r = mir__dns_read_record(&reader, &record);
        check_int(r, ==, cut >= 12 && count == 0 ? -MIR_EEOF : -MIR_ETRUNCATED);
    }
}

static void test_text(void)
{
    char text[64], type[MIR_DNS_TYPE_TEXT_MAX];
    uint16_t number = 0;
    struct mir_dns_rdata rdata = {.type = MIR_DNS_TXT, .raw = {(const uint8_t *)"\3a\"b\2\1z", 7}};
    tap_case("data and types as text");
    mir_dns_rdata_text(&rdata, text, sizeof text);
    check_str(text, "\"a\\\"b\" \"\\001z\"");
    check_int(mir_dns_rdata_text(&rdata, text, 5), ==, 14);
    check_str(text, "\"a\\\"");
    rdata = (struct mir_dns_rdata){.type = 65280, .raw = {(const uint8_t *)"\1\377", 2}};
    mir_dns_rdata_text(&rdata, text, sizeof text);
    check_str(text, "\\# 2 01ff");
    check_str(mir_dns_type_text(65535, type), "TYPE65535");
    check_int(mir_dns_type_parse("srv", 3, &number), ==, 0);
    check_int(number, ==, MIR_DNS_SRV);
    check_int(mir_dns_type_parse("TYPE28", 6, &number), ==, 0);
    check_int(number, ==, 28);
    check_int(mir_dns_type_parse("TYPE65536", 9, &number), ==, -MIR_EINVAL);
    check_int(mir_dns_type_parse("nothing", 7, &number), ==, -MIR_EINVAL);
    tap_case("EDNS");
    struct mir__dns_writer w;
    struct mir__dns_reader reader;
    struct mir__dns_record record;
    struct mir__dns_edns edns = {.udp_bytes = 1232, .rcode_high = 1, .dnssec_ok = true}, got;
    uint8_t out[64];
    mir__dns_write(&w, out, sizeof out, 1, 0);
    check_int(mir__dns_write_edns(&w, &edns), ==, 0);
    check_int(mir__dns_write_end(&w), ==, 12 + 11);
    check_int(mir__dns_read(&reader, out, w.at), ==, 0);
    check_int(mir__dns_read_record(&reader, &record), ==, 0);
    check_int(record.type, ==, MIR_DNS_OPT);
    mir__dns_edns_of(&record, &got);
    check_int(got.udp_bytes, ==, 1232);
    check_int(got.rcode_high, ==, 1);
    check_int(got.version, ==, 0);
    check(got.dnssec_ok);
}

int main(int argc, char **argv)
{
    tap_begin("wire_dns");
    mir_rng_init_u64(&rng, tap_seed(argc, argv, 1));
    test_name_text();
    test_name_limits();
    test_name_compare();
    test_pointers();
    test_bad_data();
    test_bad_messages();
    test_compression();
    test_round_trip();
    test_text();
    return tap_done();
}
