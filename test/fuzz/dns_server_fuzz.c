/* SPDX-License-Identifier: ISC */
/* Messages to a name server: whatever they are, the answer is none, or is shaped as one: it fits
 * what the asker can take, repeats the question, and every record in it can be read.
 *
 * The first octet says: over TCP or not. Two servers are asked, with ready answers and without:
 * both say the same.
 */
#include <stdlib.h>
#include <string.h>

#include "test/harness/authbed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(x)                                                                                 \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static const char zone_text[] =
    "$TTL 60\n@ SOA ns admin 1 2 3 4 5\n NS ns\n NS ns.sub\n MX 1 a\n A 192.0.2.1\n TXT \"x\"\n"
    "ns A 192.0.2.2\n AAAA 2001:db8::2\na A 192.0.2.3\nb CNAME a\nc CNAME b\nd CNAME d\n"
    "*.w A 192.0.2.4\n*.w MX 1 a.w\n*.v CNAME x.w\nx.y.z TXT \"x\"\nsub NS ns.sub\n"
    "sub DS 1 8 2 00ff\nns.sub A 192.0.2.5\no DNAME n\np DNAME o\nq CNAME x.p\n"
    "m SRV 1 2 3 a\n SRV 1 2 4 ns\nt CNAME x.o\nu CNAME sub\n";
static const char other_text[] =
    "$TTL 60\n@ SOA ns.a admin 1 2 3 4 5\n NS ns.a\nns.a A 192.0.2.9\n";

static struct testbed bed;
static struct mir_dns_zone *zones[2][2];
static struct mir_dns_server *servers[2];

static void make(uint32_t i)
{
    static const char *const origin[] = {"example", "e.example"};
    static const char *const text[] = {zone_text, other_text};
    for (uint32_t j = 0; j < 2; j++) {
        struct mir_dns_zone_config config = {.pages = &bed.pages,
                                             .origin = origin[j],
                                             .file = "zone",
                                             .text = text[j],
                                             .len = strlen(text[j])};
        REQUIRE(mir_dns_zone_open(&config, &zones[i][j]) == 0);
    }
    struct mir_dns_server_config config = {.stack = bed.stack,
                                           .rng = &bed.rng,
                                           .local = {.port = (uint16_t)(53 + i)},
                                           .zones = zones[i],
                                           .zone_count = 2,
                                           .limits = {.ready_bytes = i}};
    REQUIRE(mir_dns_server_open(&config, &servers[i]) == 0);
}

/* Returns the length of the answer; 0: none. */
static uint32_t ask(uint32_t i, const uint8_t *msg, uint32_t len, bool is_tcp, uint8_t *out)
{
    struct mir__auth_reply reply;
    mir__auth_ask(servers[i], msg, len, is_tcp, &reply);
    if (reply.verdict != MIR__AUTH_REPLY)
        return 0;
    uint32_t got = mir__auth_reply_len(&reply);
    REQUIRE(got <= (is_tcp ? 65535u : 1232u));
    REQUIRE(reply.question_len == 0 || got <= reply.limit);
    mir__auth_put(servers[i], &reply, msg, out);
    return got;
}

static void check_answer(const uint8_t *question, const uint8_t *answer, uint32_t len)
{
    struct mir__dns_reader reader;
    struct mir__dns_question q;
    struct mir__dns_record record;
    struct mir_dns_rdata rdata;
    int r;
    REQUIRE(mir__dns_read(&reader, answer, len) == 0);
    REQUIRE((reader.flags & MIR__DNS_QR) != 0 && mir_get_be16(question) == reader.id);
    while ((r = mir__dns_read_question(&reader, &q)) == 0)
        REQUIRE(memcmp(question + 12, answer + 12, q.name.len + 4u) == 0);
    REQUIRE(r == -MIR_EEOF);
    while ((r = mir__dns_read_record(&reader, &record)) == 0)
        REQUIRE(mir__dns_read_rdata(&reader, &record, &rdata) == 0);
    REQUIRE(r == -MIR_EEOF);
}

/* The same records; names in them may be compressed in other ways. */
static void compare(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len)
{
    static uint8_t data_a[65535], data_b[65535];
    struct mir__dns_reader ra, rb;
    struct mir__dns_record ca, cb;
    struct mir_dns_rdata da, db;
    uint16_t la, lb;
    REQUIRE(memcmp(a, b, MIR__DNS_HEADER_LEN) == 0);
    REQUIRE(mir__dns_read(&ra, a, a_len) == 0 && mir__dns_read(&rb, b, b_len) == 0);
    while (mir__dns_read_record(&ra, &ca) == 0) {
        REQUIRE(mir__dns_read_record(&rb, &cb) == 0);
        REQUIRE(mir_dns_name_equal(&ca.name, &cb.name) && ca.type == cb.type);
        REQUIRE(ca.ttl_s == cb.ttl_s && ca.section == cb.section && ca.class == cb.class);
        REQUIRE(mir__dns_read_rdata(&ra, &ca, &da) == 0 && mir__dns_read_rdata(&rb, &cb, &db) == 0);
        REQUIRE(mir__dns_put_rdata(&da, data_a, sizeof data_a, &la) == 0);
        REQUIRE(mir__dns_put_rdata(&db, data_b, sizeof data_b, &lb) == 0);
        REQUIRE(la == lb);
        for (uint32_t i = 0; i < la; i++) /* letters may be those of the question */
            REQUIRE(((data_a[i] ^ data_b[i]) & ~0x20) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t answer[2][65535], question[65535];
    static bool is_open;
    if (!is_open) {
        testbed_init(&bed, 1, 32 << 20, 0);
        testbed_open(&bed, NULL);
        make(0);
        make(1);
        is_open = true;
    }
    if (size < 1 || size > sizeof question)
        return 0;
    uint32_t len = (uint32_t)size - 1;
    memcpy(question, data + 1, len);
    uint32_t got = ask(0, question, len, data[0] & 1, answer[0]);
    uint32_t other = ask(1, question, len, data[0] & 1, answer[1]);
    REQUIRE((got > 0) == (other > 0));
    if (got > 0) {
        check_answer(question, answer[0], got);
        check_answer(question, answer[1], other);
        compare(answer[0], got, answer[1], other);
    }
    return 0;
}
