/* SPDX-License-Identifier: ISC */
/* Servers that are silent, refuse, lie or have habits; and those that try to answer for them. */
#include <string.h>

#include "test/harness/dnsbed.h"
#include "test/harness/tap.h"

static struct dnsbed bed;

static struct {
    uint32_t calls;
    int error;
    uint32_t count;
    uint32_t ip;
} got;

static void on_answer(void *arg, int error, const struct mir_dns_answer *answer)
{
    struct mir_dns_rdata rdata;
    uint32_t at = 0;
    (void)arg;
    got.calls++;
    got.error = error;
    got.count = answer != NULL ? answer->record_count : 0;
    got.ip = 0;
    if (answer != NULL && mir_dns_answer_next(answer, &at, &rdata))
        got.ip = mir_ip_to_v4(&rdata.ip);
}

static int ask(const char *name, mir_time_us run_us)
{
    uint32_t before = got.calls;
    check_int(mir_dns_resolve(bed.dns, name, MIR_DNS_A, MIR_TIME_NEVER, on_answer, NULL, NULL), ==,
              0);
    dnsbed_run(&bed, run_us);
    return got.calls == before ? -MIR_EAGAIN : got.error;
}

static struct mir_dns_stats stats(void)
{
    struct mir_dns_stats s;
    mir_dns_get_stats(bed.dns, &s);
    return s;
}

enum { GOOD = 0x0a010101, EVIL = 0x06060606 };

static bool answer_good(struct dnsbed_query *q)
{
    dnsbed_a(q, q->name, 1, GOOD);
    return true;
}

/* ---- servers that do not help
 * -------------------------------------------------------------------- */

static uint32_t silent, refusing; /* servers, by bit */
static uint32_t asked_of[DNSBED_SERVERS];
static uint16_t refusal;

static bool answer_some(struct dnsbed_query *q)
{
    asked_of[q->server]++;
    if (silent >> q->server & 1)
        return false;
    if (refusing >> q->server & 1) {
        mir__dns_write_flags(&q->w, MIR__DNS_QR | refusal);
        return true;
    }
    return answer_good(q);
}

static void test_silence(void)
{
    memset(asked_of, 0, sizeof asked_of);
    silent = 1, refusing = 0;
    dnsbed_open(&bed, NULL, 2, answer_some);
    tap_case("a silent server: the next one after a second");
    check_int(ask("a.example", 999 * MIR_US_PER_MS), ==, -MIR_EAGAIN);
    dnsbed_run(&bed, 10 * MIR_US_PER_MS);
    check_int(got.error, ==, 0);
    check_int(asked_of[0], ==, 1);
    check_int(asked_of[1], ==, 1);
    tap_case("it is asked last for a while, then first again");
    check_int(ask("b.example", 10 * MIR_US_PER_MS), ==, 0);
    check_int(asked_of[0], ==, 1);
    dnsbed_run(&bed, 6 * MIR_US_PER_S);
    silent = 0;
    check_int(ask("c.example", 10 * MIR_US_PER_MS), ==, 0);
    check_int(asked_of[0], ==, 2);
    check_int(asked_of[1], ==, 2);
    tap_case("all silent: three rounds of 1, 2 and 4 s each, the last without EDNS");
    silent = 3;
    check_int(ask("d.example", 13900 * MIR_US_PER_MS), ==, -MIR_EAGAIN);
    dnsbed_run(&bed, 200 * MIR_US_PER_MS);
    check_int(got.error, ==, -MIR_ETIMEDOUT);
    check_int(asked_of[0] + asked_of[1], ==, 4 + 6);
    check_int(ask("d.example", 10 * MIR_US_PER_MS), ==, -MIR_ETIMEDOUT); /* remembered */
    check_int(asked_of[0] + asked_of[1], ==, 4 + 6);
    silent = 0;
    dnsbed_run(&bed, MIR_US_PER_S);
    check_int(ask("d.example", 10 * MIR_US_PER_MS), ==, 0);
    tap_case("the deadline of the caller");
    silent = 3;
    check_int(mir_dns_resolve(bed.dns, "e.example", MIR_DNS_A,
                              bed.client.now_us + 300 * MIR_US_PER_MS, on_answer, NULL, NULL),
              ==, 0);
    dnsbed_run(&bed, 310 * MIR_US_PER_MS);
    check_int(got.error, ==, -MIR_ETIMEDOUT);
    check_int(stats().questions, ==, 0);
    dnsbed_close(&bed);
}

static void test_refusal(void)
{
    static const uint16_t codes[] = {MIR__DNS_SERVFAIL, MIR__DNS_REFUSED, 9};
    for (size_t i = 0; i < MIR_ARRAY_LEN(codes); i++) {
        tap_case("response code %u: the next server at once", codes[i]);
        silent = 0, refusing = 1, refusal = codes[i];
        memset(asked_of, 0, sizeof asked_of);
        dnsbed_open(&bed, NULL, 2, answer_some);
        check_int(ask("a.example", 10 * MIR_US_PER_MS), ==, 0);
        check_int(asked_of[0], ==, 1);
        refusing = 3;
        check_int(ask("b.example", 10 * MIR_US_PER_MS), ==, -MIR_EIO);
        check_int(asked_of[0] + asked_of[1], ==, 4);
        check_int(ask("b.example", 10 * MIR_US_PER_MS), ==, -MIR_EIO);
        check_int(asked_of[0] + asked_of[1], ==, 4);
        dnsbed_close(&bed);
    }
    tap_case("one refuses, one is silent");
    refusing = 1, silent = 2;
    dnsbed_open(&bed, NULL, 2, answer_some);
    check_int(ask("a.example", 30 * MIR_US_PER_S), <, 0);
    check_int(stats().questions, ==, 0);
    dnsbed_close(&bed);
}

static void test_nobody_there(void)
{
    struct mir_endpoint servers[2] = {{.ip = mir_ip_from_v4(DNSBED_SERVER_IP), .port = 99},
                                      {.ip = mir_ip_from_v4(DNSBED_SERVER_IP), .port = 54}};
    silent = refusing = 0;
    dnsbed_open(&bed, NULL, 1, answer_some);
    tap_case("no server on that port: ICMP says so, nobody waits");
    check_int(mir_dns_set_servers(bed.dns, servers, 2), ==, 0);
    check_int(ask("a.example", 10 * MIR_US_PER_MS), ==, 0);
    check_int(mir_dns_set_servers(bed.dns, servers, 1), ==, 0);
    check_int(ask("b.example", 10 * MIR_US_PER_MS), ==, -MIR_ECONNREFUSED);
    tap_case("a port without server beside a silent one: that one has all its rounds");
    silent = 2;
    const struct mir_endpoint silent_first[2] = {servers[1], servers[0]};
    check_int(mir_dns_set_servers(bed.dns, silent_first, 2), ==, 0);
    memset(asked_of, 0, sizeof asked_of);
    check_int(ask("d.example", 60 * MIR_US_PER_S), <, 0);
    check_int(asked_of[1], ==, 3);
    silent = 0;
    tap_case("no route to any server");
    servers[0].ip = mir_ip_from_v4(0xe0000001);
    servers[0].ip.bytes[0] = 1; /* an IPv6 address nobody routes */
    servers[0].ip.bytes[10] = 0;
    check_int(mir_dns_set_servers(bed.dns, servers, 1), ==, 0);
    check_int(ask("c.example", 10 * MIR_US_PER_MS), <, 0);
    check_int(stats().questions, ==, 0);
    dnsbed_close(&bed);
}

/* ---- habits
 * ---------------------------------------------------------------------------------------- */

static bool answer_old(struct dnsbed_query *q)
{
    if (!q->has_edns)
        return answer_good(q);
    mir__dns_write_flags(&q->w, MIR__DNS_QR | MIR__DNS_FORMERR);
    return true;
}

static bool answer_lower(struct dnsbed_query *q)
{
    struct mir_dns_name lower;
    check_int(mir_dns_name_parse(q->lower, strlen(q->lower), &lower), ==, 0);
    mir__dns_write(&q->w, q->w.out, q->w.size, q->id, MIR__DNS_QR);
    check_int(mir__dns_write_question(&q->w, &lower, q->question.type, 1), ==, 0);
    return answer_good(q);
}

static bool answer_tcp_broken(struct dnsbed_query *q)
{
    if (!q->is_tcp) {
        mir__dns_write_flags(&q->w, MIR__DNS_QR | MIR__DNS_TC);
        return true;
    }
    q->id++;
    return answer_good(q);
}

static bool answer_referral(struct dnsbed_query *q)
{
    struct mir_dns_rdata ns = {.type = MIR_DNS_NS};
    check_int(mir_dns_name_parse("ns.example", 10, &ns.name), ==, 0);
    dnsbed_record(q, MIR__DNS_AUTHORITY, "example", 60, &ns);
    return true;
}

static bool answer_garbage(struct dnsbed_query *q)
{
    struct mir_dns_rdata bad = {.type = 65280, .raw = {(const uint8_t *)"\1\2\3", 3}};
    dnsbed_record(q, MIR__DNS_ANSWER, q->name, 60, &bad);
    mir_put_be16(q->w.out + q->w.at - 13, MIR_DNS_A); /* an A of three octets */
    return true;
}

static void test_habits(void)
{
    dnsbed_open(&bed, NULL, 1, answer_old);
    tap_case("a server without EDNS is asked without, for ten minutes");
    check_int(ask("a.example", 10 * MIR_US_PER_MS), ==, 0);
    check_int(bed.asked_udp, ==, 2);
    check_int(ask("b.example", 10 * MIR_US_PER_MS), ==, 0);
    check_int(bed.asked_udp, ==, 3);
    dnsbed_run(&bed, 601 * MIR_US_PER_S);
    check_int(ask("c.example", 10 * MIR_US_PER_MS), ==, 0);
    check_int(bed.asked_udp, ==, 5);
    dnsbed_close(&bed);

    dnsbed_open(&bed, NULL, 1, answer_lower);
    tap_case("a server that changes letters is believed over TCP, and asked in lower case then");
    check_int(ask("abcdefghij.example", 100 * MIR_US_PER_MS), ==, 0);
    check_int(bed.asked_tcp, ==, 1);
    check_int(stats().refused_case, ==, 1);
    check_int(ask("bcdefghijk.example", 100 * MIR_US_PER_MS), ==, 0);
    check_int(bed.asked_tcp, ==, 1);
    check_int(bed.asked_udp, ==, 2);
    dnsbed_close(&bed);

    dnsbed_open(&bed, NULL, 1, answer_tcp_broken);
    tap_case("nonsense over TCP is a failure of the server");
    check_int(ask("a.example", 60 * MIR_US_PER_S), ==, -MIR_EIO);
    dnsbed_close(&bed);

    dnsbed_open(&bed, NULL, 1, answer_referral);
    tap_case("a referral is no answer of a recursive server");
    check_int(ask("a.example", 10 * MIR_US_PER_MS), ==, -MIR_EIO);
    dnsbed_close(&bed);

    dnsbed_open(&bed, NULL, 1, answer_garbage);
    tap_case("records that cannot be read are no answer");
    check_int(ask("a.example", 10 * MIR_US_PER_MS), ==, -MIR_EIO);
    check_int(stats().refused_form, ==, 1);
    dnsbed_close(&bed);
}

/* ---- forgers
 * ---------------------------------------------------------------------------------------- */

/* What a forger sends before the answer: same question, but for what the case says. */
static void forge(struct dnsbed_query *q, uint32_t server, uint16_t id, const char *name)
{
    static uint8_t out[512];
    struct mir__dns_writer w;
    struct mir_dns_name parsed;
    struct mir_dns_rdata a = {.type = MIR_DNS_A, .ip = mir_ip_from_v4(EVIL)};
    check_int(mir_dns_name_parse(name, strlen(name), &parsed), ==, 0);
    mir__dns_write(&w, out, sizeof out, id, MIR__DNS_QR | MIR__DNS_RA);
    check_int(mir__dns_write_question(&w, &parsed, MIR_DNS_A, 1), ==, 0);
    check_int(mir__dns_write_record(&w, MIR__DNS_ANSWER, &parsed, 1, 3600, &a), ==, 0);
    dnsbed_send(q, server, &w);
}

static bool answer_after_storm(struct dnsbed_query *q)
{
    if (q->is_tcp)
        return answer_good(q);
    for (uint16_t i = 1; i <= 40; i++)
        forge(q, 0, (uint16_t)(q->id + i), q->name);
    return false;
}

static bool answer_case_forged(struct dnsbed_query *q)
{
    char flipped[MIR_DNS_NAME_TEXT_MAX];
    if (q->is_tcp)
        return answer_good(q);
    strcpy(flipped, q->name);
    flipped[0] ^= 0x20;
    forge(q, 0, q->id, flipped);
    return answer_good(q);
}

/* True answers with presents nobody asked for. */
static bool answer_poisoned(struct dnsbed_query *q)
{
    struct mir_dns_rdata evil = {.type = MIR_DNS_A, .ip = mir_ip_from_v4(EVIL)};
    struct mir_dns_rdata ns = {.type = MIR_DNS_NS};
    if (strcmp(q->lower, "bank.example") == 0)
        return answer_good(q);
    check_int(mir_dns_name_parse("bank.example", 12, &ns.name), ==, 0);
    dnsbed_a(q, "bank.example", 3600, EVIL);
    dnsbed_a(q, q->name, 60, GOOD);
    dnsbed_record(q, MIR__DNS_AUTHORITY, "example", 3600, &ns);
    dnsbed_record(q, MIR__DNS_ADDITIONAL, "bank.example", 3600, &evil);
    return true;
}

static bool answer_forged(struct dnsbed_query *q)
{
    if (q->is_tcp)
        return answer_good(q);
    forge(q, 0, (uint16_t)(q->id + 1), q->name);
    forge(q, 1, q->id, q->name);
    forge(q, 0, q->id, "other.example");
    return answer_good(q);
}

static void test_forgeries(void)
{
    dnsbed_open(&bed, NULL, 1, answer_forged);
    tap_case("answers with a wrong id, source or question are passed over");
    check_int(ask("victim.example", 10 * MIR_US_PER_MS), ==, 0);
    check_int(got.ip, ==, GOOD);
    check_int(got.count, ==, 1);
    check_int(stats().refused_id, ==, 1);
    check_int(stats().refused_source, ==, 1);
    check_int(stats().refused_question, ==, 1);
    check_int(bed.asked_tcp, ==, 0);
    dnsbed_close(&bed);

    dnsbed_open(&bed, NULL, 1, answer_after_storm);
    tap_case("many wrong ids: somebody guesses, TCP is asked");
    check_int(ask("victim.example", 100 * MIR_US_PER_MS), ==, 0);
    check_int(got.ip, ==, GOOD);
    check_int(bed.asked_tcp, ==, 1);
    dnsbed_close(&bed);

    dnsbed_open(&bed, NULL, 1, answer_case_forged);
    tap_case("an answer with other letters is not believed, TCP is asked");
    check_int(ask("victim.example", 100 * MIR_US_PER_MS), ==, 0);
    check_int(got.ip, ==, GOOD);
    check_int(bed.asked_tcp, ==, 1);
    dnsbed_close(&bed);

    dnsbed_open(&bed, NULL, 1, answer_poisoned);
    tap_case("records of other names are not kept, whichever section they come in");
    check_int(ask("www.example", 10 * MIR_US_PER_MS), ==, 0);
    check_int(got.ip, ==, GOOD);
    check_int(got.count, ==, 1);
    check_int(ask("bank.example", 10 * MIR_US_PER_MS), ==, 0);
    check_int(got.ip, ==, GOOD);
    check_int(bed.asked_udp, ==, 2);
    dnsbed_close(&bed);
}

static void test_ports(void)
{
    char name[] = "a0.example";
    uint32_t same = 0;
    dnsbed_open(&bed, NULL, 1, answer_good);
    tap_case("every question goes from a port of its own");
    for (uint32_t i = 0; i < 60; i++) {
        name[0] = (char)('a' + i % 20);
        name[1] = (char)('0' + i / 20);
        check_int(ask(name, 10 * MIR_US_PER_MS), ==, 0);
    }
    for (uint32_t i = 0; i < 60; i++) {
        for (uint32_t j = 0; j < i; j++)
            same += bed.ports[i] == bed.ports[j];
    }
    check_int(same, <=, 3); /* 60 of 16,384: 0.1 pairs are to be expected */
    dnsbed_close(&bed);
}

int main(void)
{
    tap_begin("dns_servers");
    test_silence();
    test_refusal();
    test_nobody_there();
    test_habits();
    test_forgeries();
    test_ports();
    return tap_done();
}
