/* SPDX-License-Identifier: ISC */
/* The resolver against servers that answer well, badly, late, never, and with lies. */
#include <stdio.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/dnsbed.h"
#include "test/harness/tap.h"

static struct dnsbed bed;

/* What handlers were told. */
static struct {
    uint32_t calls;
    int error;
    bool is_nxdomain;
    uint32_t count;
    uint32_t ip[64];
    char canonical[MIR_DNS_NAME_TEXT_MAX];
    char name[MIR_DNS_NAME_TEXT_MAX];
} got;

static void on_answer(void *arg, int error, const struct mir_dns_answer *answer)
{
    struct mir_dns_rdata rdata;
    uint32_t at = 0;
    (void)arg;
    got.calls++;
    got.error = error;
    got.count = 0;
    got.canonical[0] = got.name[0] = '\0';
    got.is_nxdomain = answer != NULL && answer->is_nxdomain;
    if (answer == NULL)
        return;
    mir_dns_name_text(&answer->canonical, got.canonical);
    mir_dns_name_text(&answer->name, got.name);
    while (mir_dns_answer_next(answer, &at, &rdata)) {
        if (rdata.type == MIR_DNS_A && got.count < 64)
            got.ip[got.count] = mir_ip_to_v4(&rdata.ip);
        got.count++;
    }
}

static void begin(const char *name, uint16_t type)
{
    check_int(mir_dns_resolve(bed.dns, name, type, MIR_TIME_NEVER, on_answer, NULL, NULL), ==, 0);
}

static int ask_for(const char *name, uint16_t type, mir_time_us run_us)
{
    uint32_t before = got.calls;
    begin(name, type);
    check_int(got.calls, ==, before); /* never inside the call */
    dnsbed_run(&bed, run_us);
    check_int(got.calls, ==, before + 1);
    return got.error;
}

static int ask(const char *name)
{
    return ask_for(name, MIR_DNS_A, 60 * MIR_US_PER_S);
}

static int ask_soon(const char *name)
{
    return ask_for(name, MIR_DNS_A, 10 * MIR_US_PER_MS);
}

static struct mir_dns_stats stats(void)
{
    struct mir_dns_stats s;
    mir_dns_get_stats(bed.dns, &s);
    return s;
}

static bool is_name(const struct dnsbed_query *q, const char *name)
{
    return strcmp(q->lower, name) == 0;
}

/* ---- a server that knows a small zone -----------------------------------------------------------
 */

static bool answer_zone(struct dnsbed_query *q)
{
    if (is_name(q, "host.example") && q->question.type == MIR_DNS_A) {
        dnsbed_a(q, q->name, 60, 0x0a010101);
        dnsbed_a(q, q->name, 30, 0x0a010102);
    } else if (is_name(q, "host.example")) {
        dnsbed_soa(q, "example", 100, 20);
    } else if (is_name(q, "zero.example")) {
        dnsbed_a(q, q->name, 0, 0x0a010101);
    } else if (is_name(q, "long.example")) {
        dnsbed_a(q, q->name, 0x7fffffff, 0x0a010101);
    } else if (is_name(q, "sign.example")) {
        dnsbed_a(q, q->name, 0x80000001, 0x0a010101);
    } else if (is_name(q, "chain.example")) {
        dnsbed_a(q, "End.example", 50, 0x0a010103); /* out of order */
        dnsbed_cname(q, "mid.example", 40, "end.example");
        dnsbed_cname(q, q->name, 300, "mid.example");
    } else if (is_name(q, "half.example")) {
        dnsbed_cname(q, q->name, 10, "host.example");
    } else if (strncmp(q->lower, "loop", 4) == 0) {
        dnsbed_cname(q, q->name, 10,
                     is_name(q, "loop1.example") ? "loop2.example" : "loop1.example");
    } else if (is_name(q, "gone.example") || is_name(q, "gone.corp.example")) {
        mir__dns_write_flags(&q->w, MIR__DNS_QR | MIR__DNS_NXDOMAIN);
        dnsbed_soa(q, "example", 20, 100);
    } else if (is_name(q, "nosoa.example")) {
        mir__dns_write_flags(&q->w, MIR__DNS_QR | MIR__DNS_NXDOMAIN);
    } else if (is_name(q, "foreign.example")) {
        mir__dns_write_flags(&q->w, MIR__DNS_QR | MIR__DNS_NXDOMAIN);
        dnsbed_soa(q, "other", 100, 100);
    } else if (is_name(q, "short.corp.example")) {
        dnsbed_a(q, q->name, 60, 0x0a010104);
    } else if (is_name(q, "big.example")) {
        for (uint32_t i = 0; i < 120; i++)
            dnsbed_a(q, q->name, 60, 0x0a020000 + i);
    } else {
        mir__dns_write_flags(&q->w, MIR__DNS_QR | MIR__DNS_NXDOMAIN);
        dnsbed_soa(q, ".", 60, 60);
    }
    return true;
}

static void test_answers(void)
{
    tap_case("an answer, and from the cache until its time is over");
    dnsbed_open(&bed, NULL, 1, answer_zone);
    check_int(ask("Host.Example"), ==, 0);
    check_int(got.count, ==, 2);
    check_int(got.ip[0], ==, 0x0a010101);
    check_int(got.ip[1], ==, 0x0a010102);
    check_int(bed.asked_udp, ==, 1);
    /* the least time of the two was 30 s, a minute has passed */
    check_int(ask_soon("host.example."), ==, 0);
    check_int(bed.asked_udp, ==, 2);
    check_int(ask_soon("HOST.example"), ==, 0);
    check_int(got.count, ==, 2);
    check_int(bed.asked_udp, ==, 2);
    check_int(stats().answered_by_cache, ==, 1);
    dnsbed_run(&bed, 29 * MIR_US_PER_S);
    check_int(ask_soon("host.example"), ==, 0);
    check_int(bed.asked_udp, ==, 2);
    dnsbed_run(&bed, 2 * MIR_US_PER_S);
    check_int(ask_soon("host.example"), ==, 0);
    check_int(bed.asked_udp, ==, 3);
    tap_case("times: zero is not kept, the highest bit is zero, a day is the most");
    check_int(ask_soon("zero.example"), ==, 0);
    check_int(ask_soon("zero.example"), ==, 0);
    check_int(ask_soon("sign.example"), ==, 0);
    check_int(ask_soon("sign.example"), ==, 0);
    check_int(bed.asked_udp, ==, 7);
    check_int(ask_soon("long.example"), ==, 0);
    dnsbed_run(&bed, 86401 * MIR_US_PER_S);
    check_int(ask_soon("long.example"), ==, 0);
    check_int(bed.asked_udp, ==, 9);
    dnsbed_close(&bed);
}

static void test_none(void)
{
    dnsbed_open(&bed, NULL, 1, answer_zone);
    tap_case("no such name: kept for the time of the SOA");
    check_int(ask_soon("gone.example"), ==, -MIR_ENOENT);
    check(got.is_nxdomain);
    dnsbed_run(&bed, 19 * MIR_US_PER_S);
    check_int(ask_soon("gone.example"), ==, -MIR_ENOENT);
    check_int(bed.asked_udp, ==, 1);
    dnsbed_run(&bed, MIR_US_PER_S);
    check_int(ask_soon("gone.example"), ==, -MIR_ENOENT);
    check_int(bed.asked_udp, ==, 2);
    tap_case("none of that type: the minimum of the SOA");
    check_int(ask_for("host.example", MIR_DNS_AAAA, MIR_US_PER_MS), ==, -MIR_ENOENT);
    check(!got.is_nxdomain);
    dnsbed_run(&bed, 18 * MIR_US_PER_S);
    check_int(ask_for("host.example", MIR_DNS_AAAA, MIR_US_PER_MS), ==, -MIR_ENOENT);
    check_int(bed.asked_udp, ==, 3);
    dnsbed_run(&bed, 2 * MIR_US_PER_S);
    check_int(ask_for("host.example", MIR_DNS_AAAA, MIR_US_PER_MS), ==, -MIR_ENOENT);
    check_int(bed.asked_udp, ==, 4);
    tap_case("without an SOA of a zone above, none is not kept");
    check_int(ask_soon("nosoa.example"), ==, -MIR_ENOENT);
    check_int(ask_soon("nosoa.example"), ==, -MIR_ENOENT);
    check_int(ask_soon("foreign.example"), ==, -MIR_ENOENT);
    check_int(ask_soon("foreign.example"), ==, -MIR_ENOENT);
    check_int(bed.asked_udp, ==, 8);
    dnsbed_close(&bed);
}

static void test_aliases(void)
{
    dnsbed_open(&bed, NULL, 1, answer_zone);
    tap_case("aliases in one answer, in any order");
    check_int(ask_soon("chain.example"), ==, 0);
    check_int(got.count, ==, 1);
    check_int(got.ip[0], ==, 0x0a010103);
    check_str(got.canonical, "end.example");
    check_str(got.name, "chain.example");
    dnsbed_run(&bed, 41 * MIR_US_PER_S); /* the alias in the middle had 40 s */
    check_int(ask_soon("chain.example"), ==, 0);
    check_int(bed.asked_udp, ==, 2);
    tap_case("an alias without its end: the end is asked");
    check_int(ask_soon("half.example"), ==, 0);
    check_int(got.count, ==, 2);
    check_str(got.canonical, "host.example");
    check_int(bed.asked_udp, ==, 4);
    dnsbed_run(&bed, 11 * MIR_US_PER_S);
    check_int(ask_soon("half.example"), ==, 0);
    check_int(bed.asked_udp, ==, 6);
    tap_case("the alias itself can be asked for");
    check_int(ask_for("half.example", MIR_DNS_CNAME, MIR_US_PER_MS), ==, 0);
    check_int(got.count, ==, 1);
    tap_case("aliases in a circle end");
    uint32_t before = bed.asked_udp;
    check_int(ask("loop1.example"), ==, -MIR_EIO);
    check_int(bed.asked_udp - before, <=, 10);
    dnsbed_close(&bed);
}

static void test_truncation(void)
{
    dnsbed_open(&bed, NULL, 1, answer_zone);
    tap_case("a truncated answer comes whole over TCP");
    bed.udp_limit = 1232;
    check_int(ask_for("big.example", MIR_DNS_A, 100 * MIR_US_PER_MS), ==, 0);
    check_int(got.count, ==, 120);
    check_int(bed.asked_tcp, ==, 1);
    check_int(stats().truncated, ==, 1);
    check_int(stats().cached_bytes, >, 0);
    check_int(ask_soon("big.example"), ==, 0);
    check_int(got.count, ==, 120);
    check_int(bed.asked_tcp, ==, 1);
    mir_dns_flush(bed.dns);
    check_int(stats().cached_bytes, ==, 0);
    tap_case("large answers over UDP are taken too");
    bed.udp_limit = 0;
    check_int(ask_soon("big.example"), ==, 0);
    check_int(got.count, ==, 120);
    check_int(bed.asked_tcp, ==, 1);
    dnsbed_close(&bed);
}

/* ---- joining, canceling, limits
 * ------------------------------------------------------------------ */

static void never(void *arg, int error, const struct mir_dns_answer *answer)
{
    (void)arg, (void)error, (void)answer;
    check_str("called", "not called");
}

static void test_joining(void)
{
    struct mir_dns_query *query;
    dnsbed_open(&bed, NULL, 1, answer_zone);
    tap_case("the same question is asked once");
    got.calls = 0;
    for (int i = 0; i < 10; i++)
        begin(i % 2 ? "host.EXAMPLE" : "host.example", MIR_DNS_A);
    dnsbed_run(&bed, MIR_US_PER_MS);
    check_int(got.calls, ==, 10);
    check_int(bed.asked_udp, ==, 1);
    check_int(stats().joined, ==, 9);
    tap_case("a query can be taken back; the question of others goes on");
    mir_dns_flush(bed.dns);
    check_int(
        mir_dns_resolve(bed.dns, "host.example", MIR_DNS_A, MIR_TIME_NEVER, never, NULL, &query),
        ==, 0);
    begin("host.example", MIR_DNS_A);
    mir_dns_cancel(query);
    dnsbed_run(&bed, MIR_US_PER_MS);
    check_int(got.calls, ==, 11);
    check_int(got.error, ==, 0);
    /* one that has its answer already */
    check_int(
        mir_dns_resolve(bed.dns, "host.example", MIR_DNS_A, MIR_TIME_NEVER, never, NULL, &query),
        ==, 0);
    mir_dns_cancel(query);
    dnsbed_run(&bed, MIR_US_PER_MS);
    tap_case("a question that nobody waits for ends");
    bed.is_cut = true;
    check_int(mir_dns_resolve(bed.dns, "x.example", MIR_DNS_A, MIR_TIME_NEVER, never, NULL, &query),
              ==, 0);
    check_int(stats().questions, ==, 1);
    mir_dns_cancel(query);
    check_int(stats().questions, ==, 0);
    tap_case("closing takes back everything");
    for (int i = 0; i < 5; i++)
        check_int(mir_dns_resolve(bed.dns, i < 3 ? "x.example" : "y.example", MIR_DNS_A,
                                  MIR_TIME_NEVER, never, NULL, NULL),
                  ==, 0);
    check_int(mir_dns_resolve(bed.dns, "localhost", MIR_DNS_A, MIR_TIME_NEVER, never, NULL, NULL),
              ==, 0);
    bed.is_cut = false;
    dnsbed_close(&bed);
}

static void test_limits(void)
{
    struct mir_dns_config config = {.questions_max = 4, .queries_max = 6, .cache_max = 8};
    char name[32];
    dnsbed_open(&bed, &config, 1, answer_zone);
    tap_case("questions and queries have limits");
    got.calls = 0;
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "n%d.example", i);
        begin(name, MIR_DNS_A);
    }
    begin("n4.example", MIR_DNS_A);
    begin("n0.example", MIR_DNS_A);
    check_int(mir_dns_resolve(bed.dns, "n5.example", MIR_DNS_A, MIR_TIME_NEVER, never, NULL, NULL),
              ==, -MIR_ELIMIT);
    dnsbed_run(&bed, MIR_US_PER_MS);
    check_int(got.calls, ==, 6);
    check_int(bed.asked_udp, ==, 4);
    tap_case("the cache has a limit; what was used last stays");
    for (int i = 0; i < 30; i++) {
        snprintf(name, sizeof name, "m%d.example", i);
        check_int(ask_soon(name), ==, -MIR_ENOENT);
        check_int(ask_soon("host.example"), ==, 0);
    }
    check_int(stats().cached, ==, 8);
    check_int(bed.asked_udp, ==, 4 + 30 + 1);
    check_int(stats().evicted, >=, 20);
    dnsbed_close(&bed);
}

static void test_bad_arguments(void)
{
    struct mir_dns_query *query;
    dnsbed_open(&bed, NULL, 0, answer_zone);
    tap_case("what cannot be asked is refused at once");
    check_int(mir_dns_resolve(bed.dns, "", MIR_DNS_A, MIR_TIME_NEVER, never, NULL, &query), ==,
              -MIR_EMALFORMED);
    check_int(mir_dns_resolve(bed.dns, "a..b", MIR_DNS_A, MIR_TIME_NEVER, never, NULL, &query), ==,
              -MIR_EMALFORMED);
    check_int(mir_dns_resolve(bed.dns, "a", MIR_DNS_ANY, MIR_TIME_NEVER, never, NULL, &query), ==,
              -MIR_EINVAL);
    check_int(mir_dns_resolve(bed.dns, "a", MIR_DNS_OPT, MIR_TIME_NEVER, never, NULL, &query), ==,
              -MIR_EINVAL);
    tap_case("without a server nothing can be asked");
    check_int(ask_soon("a.example"), ==, -MIR_ENETUNREACH);
    tap_case("servers that come later");
    struct mir_endpoint server = {.ip = mir_ip_from_v4(DNSBED_SERVER_IP)};
    check_int(mir_dns_set_servers(bed.dns, &server, 1), ==, 0);
    check_int(ask_soon("host.example"), ==, 0);
    check_int(mir_dns_set_servers(bed.dns, &server, 5), ==, -MIR_EINVAL);
    tap_case("other servers while a question is under way");
    bed.is_cut = true;
    got.calls = 0;
    begin("chain.example", MIR_DNS_A);
    dnsbed_run(&bed, 10 * MIR_US_PER_MS);
    bed.is_cut = false;
    check_int(mir_dns_set_servers(bed.dns, &server, 1), ==, 0);
    dnsbed_run(&bed, 10 * MIR_US_PER_MS);
    check_int(got.calls, ==, 1);
    check_int(got.error, ==, 0);
    bed.is_cut = true;
    begin("half.example", MIR_DNS_A);
    check_int(mir_dns_set_servers(bed.dns, NULL, 0), ==, 0);
    dnsbed_run(&bed, 10 * MIR_US_PER_MS);
    check_int(got.error, ==, -MIR_ENETUNREACH);
    dnsbed_close(&bed);
}

/* ---- names
 * --------------------------------------------------------------------------------------- */

static void test_names(void)
{
    static const struct mir_dns_host hosts[] = {
        {"printer", {.bytes = {[10] = 255, [11] = 255, [12] = 10, [15] = 7}}},
        {"printer", {.bytes = {[0] = 0x20, [1] = 1, [15] = 7}}},
        {"v4only.example", {.bytes = {[10] = 255, [11] = 255, [12] = 10, [15] = 8}}}};
    struct mir_dns_config config = {
        .hosts = hosts, .host_count = 3, .search = "corp.example  example"};
    dnsbed_open(&bed, &config, 1, answer_zone);
    tap_case("names that need no server");
    check_int(ask_soon("10.1.2.3"), ==, 0);
    check_int(got.ip[0], ==, 0x0a010203);
    check_int(ask_for("2001:db8::1", MIR_DNS_AAAA, MIR_US_PER_MS), ==, 0);
    check_int(ask_soon("2001:db8::1"), ==, -MIR_ENOENT);
    check_int(ask_soon("localhost."), ==, 0);
    check_int(got.ip[0], ==, 0x7f000001);
    check_int(ask_for("a.localhost.", MIR_DNS_AAAA, MIR_US_PER_MS), ==, 0);
    check_int(ask_soon("x.invalid."), ==, -MIR_ENOENT);
    check_int(ask_for("x.local.", MIR_DNS_A, 1300 * MIR_US_PER_MS), ==, -MIR_ENOENT);
    check_int(ask_soon("PRINTER."), ==, 0);
    check_int(got.ip[0], ==, 0x0a000007);
    check_int(ask_for("printer.", MIR_DNS_AAAA, MIR_US_PER_MS), ==, 0);
    check_int(ask_for("v4only.example.", MIR_DNS_AAAA, MIR_US_PER_MS), ==, -MIR_ENOENT);
    check_int(bed.asked_udp, ==, 0);
    tap_case("short names are tried with the search domains first, long ones last");
    check_int(ask_soon("short"), ==, 0);
    check_str(got.name, "short.corp.example");
    check_int(bed.asked_udp, ==, 1);
    check_int(ask_soon("host"), ==, 0); /* host.corp.example does not exist */
    check_str(got.name, "host.example");
    check_int(bed.asked_udp, ==, 3);
    check_int(ask_soon("short.corp"), ==, 0); /* as it is, with the first, with the second */
    check_str(got.name, "short.corp.example");
    check_int(bed.asked_udp, ==, 5);
    check_int(ask_soon("short."), ==, -MIR_ENOENT);
    check_str(got.name, "short");
    check_int(bed.asked_udp, ==, 6);
    tap_case("a name that exists without the type ends the search");
    check_int(ask_for("host", MIR_DNS_AAAA, MIR_US_PER_MS), ==, -MIR_ENOENT);
    check_str(got.name, "host.example");
    dnsbed_close(&bed);
}

/* ---- tasks
 * ---------------------------------------------------------------------------------------- */

static int task_result[4];

static void run_task(void *arg)
{
    struct mir_dns_answer *answer;
    (void)arg;
    task_result[0] =
        mir_dns_resolve_wait(bed.dns, "host.example", MIR_DNS_A, MIR_TIME_NEVER, &answer);
    check(answer != NULL && answer->record_count == 2);
    mir_dns_answer_release(answer);
    task_result[1] =
        mir_dns_resolve_wait(bed.dns, "gone.example", MIR_DNS_A, MIR_TIME_NEVER, &answer);
    check(answer != NULL && answer->is_nxdomain);
    mir_dns_answer_release(answer);
    bed.is_cut = true;
    task_result[2] = mir_dns_resolve_wait(bed.dns, "other.example", MIR_DNS_A,
                                          bed.client.now_us + 100 * MIR_US_PER_MS, &answer);
    check(answer == NULL);
    task_result[3] =
        mir_dns_resolve_wait(bed.dns, "other.example", MIR_DNS_A, MIR_TIME_NEVER, &answer);
    check(answer == NULL);
}

static void test_tasks(void)
{
    struct mir_task *task;
    dnsbed_open(&bed, NULL, 1, answer_zone);
    tap_case("tasks wait for answers, up to their deadline, or until they are canceled");
    check_int(mir_task_spawn(&bed.client.loop, &bed.stacks.source, "t", 0, run_task, NULL, &task),
              ==, 0);
    dnsbed_run(&bed, 500 * MIR_US_PER_MS);
    check_int(task_result[0], ==, 0);
    check_int(task_result[1], ==, -MIR_ENOENT);
    check_int(task_result[2], ==, -MIR_ETIMEDOUT);
    mir_task_cancel(task);
    dnsbed_run(&bed, MIR_US_PER_MS);
    check_int(task_result[3], ==, -MIR_ECANCELED);
    bed.is_cut = false;
    dnsbed_close(&bed);
}

static void tell_domain(const char *text, mir_time_us lifetime_us)
{
    mir__dnsinfo_domain(&bed.client.net->ifaces[0], MIR__DNSINFO_DHCP4, text, strlen(text),
                        lifetime_us);
}

static void test_told_domains(void)
{
    struct mir_dns_config config = {.search = ""};
    dnsbed_open(&bed, NULL, 1, answer_zone);
    tap_case("search domains that the network tells are used, and forgotten with it");
    check_int(ask_soon("short"), ==, -MIR_ENOENT);
    tell_domain("corp.example", MIR_TIME_NEVER);
    check_int(ask_soon("short"), ==, 0);
    check_str(got.name, "short.corp.example");
    tap_case("localhost is never asked for in a domain of the network");
    uint32_t asked = bed.asked_udp;
    check_int(ask_soon("localhost"), ==, 0);
    check_int(got.ip[0], ==, 0x7f000001);
    check_int(ask_for("printer.local", MIR_DNS_A, 1300 * MIR_US_PER_MS), ==, -MIR_ENOENT);
    check_int(bed.asked_udp, ==, asked);
    tap_case("a question under way when the network tells other domains begins anew");
    tell_domain("corp.example", 0);
    bed.is_cut = true;
    begin("host", MIR_DNS_A);
    tell_domain("example", MIR_TIME_NEVER);
    bed.is_cut = false;
    begin("chain.example", MIR_DNS_A); /* looks at the domains */
    uint32_t calls = got.calls;
    dnsbed_run(&bed, 10 * MIR_US_PER_MS);
    check_int(got.calls, ==, calls + 2);
    check_int(ask_soon("host"), ==, 0);
    check_str(got.name, "host.example");
    dnsbed_close(&bed);
    dnsbed_open(&bed, &config, 1, answer_zone);
    tap_case("an empty list means none, whatever the network tells");
    tell_domain("corp.example", MIR_TIME_NEVER);
    check_int(ask_soon("short"), ==, -MIR_ENOENT);
    dnsbed_close(&bed);
}

static void wait_for_server(void *arg)
{
    *(int *)arg = mir_dns_wait_servers(bed.dns, MIR_TIME_NEVER);
}

static void test_no_server(void)
{
    int result = 1;
    dnsbed_open(&bed, NULL, 0, answer_zone);
    tap_case("where nobody can tell a name server, nobody waits for one");
    dnsbed_spawn(&bed, wait_for_server, &result);
    dnsbed_run(&bed, MIR_US_PER_MS);
    check_int(result, ==, -MIR_ENETUNREACH);
    dnsbed_close(&bed);
}

static void close_inside(void *arg, int error, const struct mir_dns_answer *answer)
{
    uint32_t *left = arg;
    struct mir_dns_rdata rdata;
    uint32_t at = 0, count = 0;
    check_int(error, ==, 0);
    mir_dns_close(bed.dns);
    bed.dns = NULL;
    while (mir_dns_answer_next(answer, &at, &rdata))
        count++;
    *left = count;
}

static void test_close_inside(void)
{
    uint32_t records = 0;
    dnsbed_open(&bed, NULL, 1, answer_zone);
    tap_case("a handler that closes the resolver can still read its answer");
    check_int(mir_dns_resolve(bed.dns, "host.example", MIR_DNS_A, MIR_TIME_NEVER, close_inside,
                              &records, NULL),
              ==, 0);
    dnsbed_run(&bed, 10 * MIR_US_PER_MS);
    check(bed.dns == NULL);
    check_int(records, ==, 2);
    dnsbed_close(&bed);
}

int main(void)
{
    tap_begin("dns_resolve");
    test_answers();
    test_none();
    test_aliases();
    test_truncation();
    test_joining();
    test_limits();
    test_bad_arguments();
    test_names();
    test_tasks();
    test_told_domains();
    test_no_server();
    test_close_inside();
    return tap_done();
}
