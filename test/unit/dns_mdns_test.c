/* SPDX-License-Identifier: ISC */
/* The multicast DNS responder: probing, announcing, answering, giving way, goodbye; seen by a
 * listener on another stack of the same cable. */
#include <stdio.h>
#include <string.h>

#include <mirari/mdns.h>

#include "lib/dns/mdns.h"
#include "test/harness/dnsbed.h"
#include "test/harness/tap.h"

static struct dnsbed bed;
static struct mir_udp *ear; /* on the other stack */
static struct mir_mdns *mdns;

/* What was heard since the last look: messages, and their records as lines of text. */
static struct {
    uint32_t messages, probes, responses;
    mir_time_us first_us;
    char text[8192];
} heard;

static void hear_record(const struct mir__dns_reader *reader, const struct mir__dns_record *record)
{
    char name[MIR_DNS_NAME_TEXT_MAX], type[MIR_DNS_TYPE_TEXT_MAX], data[600];
    struct mir_dns_rdata rdata;
    check_int(mir__dns_read_rdata(reader, record, &rdata), ==, 0);
    mir_dns_rdata_text(&rdata, data, sizeof data);
    size_t at = strlen(heard.text);
    snprintf(heard.text + at, sizeof heard.text - at, "%d %s %s %u%s %s\n", (int)record->section,
             mir_dns_name_text(&record->name, name), mir_dns_type_text(record->type, type),
             record->ttl_s, record->class & 0x8000 ? " flush" : "", data);
}

static void on_heard(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf,
                     void *arg)
{
    struct mir__dns_reader reader;
    struct mir__dns_record record;
    (void)udp, (void)arg;
    check_int(meta->from.port, ==, 5353);
    if (heard.messages++ == 0)
        heard.first_us = bed.client.now_us;
    check_int(mir__dns_read(&reader, buf->data, mir_buf_total(buf)), ==, 0);
    *(reader.flags & MIR__DNS_QR ? &heard.responses : &heard.probes) += 1;
    while (mir__dns_read_record(&reader, &record) == 0)
        hear_record(&reader, &record);
    mir_buf_release(buf);
}

static void forget(void)
{
    memset(&heard, 0, sizeof heard);
}

static bool has(const char *line)
{
    bool found = strstr(heard.text, line) != NULL;
    if (!found)
        tap_note("not heard: %s; but: %s", line, heard.text);
    return found;
}

static char got_host[200], got_instance[100];

static void on_names(void *arg, const char *host, const char *instance)
{
    (void)arg;
    snprintf(got_host, sizeof got_host, "%s", host);
    snprintf(got_instance, sizeof got_instance, "%s", instance);
}

static bool no_answer(struct dnsbed_query *q)
{
    (void)q;
    return false;
}

static struct mir_mdns_config config_for(struct mir_stack *stack)
{
    return (struct mir_mdns_config){.stack = stack,
                                    .rng = &bed.client.rng,
                                    .host = "mirari",
                                    .type = "_http._tcp",
                                    .instance = "My Site",
                                    .port = 80,
                                    .txt = "path=/",
                                    .on_names = on_names};
}

static void open_bed(void)
{
    const struct mir_udp_config config = {
        .local = {.port = 5353}, .handler = on_heard, .reuse_addr = true};
    const struct mir_udp_group group = {.group = mir_ip_from_v4(0xe00000fb), .if_index = 1};
    dnsbed_open(&bed, NULL, 1, no_answer);
    check_int(mir_udp_open_config(mir_net_stack(bed.server_net), &config, &ear), ==, 0);
    check_int(mir_udp_join(ear, &group), ==, 0);
    check_int(mir_udp_set_option(ear, MIR_UDP_GROUP_LOOP, 0), ==, 0);
    dnsbed_run(&bed, MIR_US_PER_S);
    forget();
    got_host[0] = '\0';
}

static void open_responder(void)
{
    open_bed();
    struct mir_mdns_config config = config_for(bed.client.stack);
    check_int(mir_mdns_open(&config, &mdns), ==, 0);
}

static void close_bed(void)
{
    if (mdns != NULL)
        mir_mdns_close(mdns);
    mdns = NULL;
    dnsbed_run(&bed, MIR_US_PER_MS);
    mir_udp_close(ear);
    dnsbed_close(&bed);
}

/* A question from the listener's port; known: a PTR it has already, for so many seconds. */
static uint8_t out[1000];

static void send_query(const char *name, uint16_t type, uint16_t class, uint32_t known_s)
{
    const struct mir_endpoint to = {.ip = mir_ip_from_v4(0xe00000fb), .port = 5353};
    struct mir_dns_name parsed;
    struct mir__dns_writer w;
    check_int(mir_dns_name_parse(name, strlen(name), &parsed), ==, 0);
    mir__dns_write(&w, out, sizeof out, 0, 0);
    check_int(mir__dns_write_question(&w, &parsed, type, class), ==, 0);
    if (known_s > 0) {
        static const char instance[] = "My\\032Site._http._tcp.local";
        struct mir_dns_rdata ptr = {.type = MIR_DNS_PTR};
        check_int(mir_dns_name_parse(instance, strlen(instance), &ptr.name), ==, 0);
        check_int(mir__dns_write_record(&w, MIR__DNS_ANSWER, &parsed, 1, known_s, &ptr), ==, 0);
    }
    check_int(mir_udp_send(ear, &to, out, mir__dns_write_end(&w)), ==, 0);
}

static void send_address(const char *name, uint32_t ip, enum mir__dns_section section)
{
    const struct mir_endpoint to = {.ip = mir_ip_from_v4(0xe00000fb), .port = 5353};
    struct mir_dns_rdata a = {.type = MIR_DNS_A, .ip = mir_ip_from_v4(ip)};
    struct mir_dns_name parsed;
    struct mir__dns_writer w;
    check_int(mir_dns_name_parse(name, strlen(name), &parsed), ==, 0);
    mir__dns_write(&w, out, sizeof out, 0, section == MIR__DNS_ANSWER ? 0x8400 : 0);
    if (section == MIR__DNS_AUTHORITY)
        check_int(mir__dns_write_question(&w, &parsed, MIR_DNS_ANY, 1), ==, 0);
    check_int(mir__dns_write_record(&w, section, &parsed, 0x8001, 120, &a), ==, 0);
    check_int(mir_udp_send(ear, &to, out, mir__dns_write_end(&w)), ==, 0);
}

static void test_life(void)
{
    tap_case("three probes, two announcements");
    open_responder();
    dnsbed_run(&bed, 260 * MIR_US_PER_MS);
    check_int(heard.probes, ==, 1);
    check(has("2 mirari.local A 120 10.0.0.2\n"));
    check(has("2 My\\032Site._http._tcp.local SRV 120 0 0 80 mirari.local\n"));
    check(has("2 My\\032Site._http._tcp.local TXT 4500 \"path=/\"\n"));
    dnsbed_run(&bed, 2500 * MIR_US_PER_MS);
    check_int(heard.probes, ==, 3);
    check_int(heard.responses, ==, 2);
    check(has("1 mirari.local A 120 flush 10.0.0.2\n"));
    check(has("1 _http._tcp.local PTR 4500 My\\032Site._http._tcp.local\n"));
    check(has("1 _services._dns-sd._udp.local PTR 4500 _http._tcp.local\n"));
    check_str(got_host, "mirari.local");
    check_str(got_instance, "My Site");
    tap_case("then silence");
    forget();
    dnsbed_run(&bed, 60 * MIR_US_PER_S);
    check_int(heard.messages, ==, 0);
    tap_case("goodbye");
    mir_mdns_close(mdns);
    mdns = NULL;
    dnsbed_run(&bed, MIR_US_PER_MS);
    check_int(heard.responses, ==, 1);
    check(has("1 mirari.local A 0 flush 10.0.0.2\n"));
    check(has("1 _http._tcp.local PTR 0 My\\032Site._http._tcp.local\n"));
    close_bed();
}

static void ready(void)
{
    open_responder();
    dnsbed_run(&bed, 5 * MIR_US_PER_S);
    forget();
}

static void test_answers(void)
{
    ready();
    tap_case("a shared record is answered after 20 to 120 ms, with what comes next beside it");
    mir_time_us asked_us = bed.client.now_us;
    send_query("_http._tcp.local", MIR_DNS_PTR, 1, 0);
    dnsbed_run(&bed, 200 * MIR_US_PER_MS);
    check_int(heard.responses, ==, 1);
    check_int(heard.first_us - asked_us, >=, 20000);
    check_int(heard.first_us - asked_us, <=, 123000);
    check(has("1 _http._tcp.local PTR 4500 My"));
    check(has("3 My\\032Site._http._tcp.local SRV 120 flush"));
    check(has("3 mirari.local A 120 flush 10.0.0.2\n"));
    tap_case("who knows it gets no answer, unless it knows it too little");
    dnsbed_run(&bed, 2 * MIR_US_PER_S);
    forget();
    send_query("_http._tcp.local", MIR_DNS_PTR, 1, 4000);
    dnsbed_run(&bed, MIR_US_PER_S);
    check_int(heard.messages, ==, 0);
    send_query("_http._tcp.local", MIR_DNS_PTR, 1, 2000);
    dnsbed_run(&bed, MIR_US_PER_S);
    check_int(heard.messages, ==, 1);
    tap_case("what is ours alone is answered at once, at most once a second");
    dnsbed_run(&bed, 2 * MIR_US_PER_S);
    forget();
    for (int i = 0; i < 20; i++) {
        send_query("MIRARI.local", MIR_DNS_A, 1, 0);
        dnsbed_run(&bed, MIR_US_PER_MS);
    }
    check_int(heard.responses, ==, 1);
    check(has("1 mirari.local A 120 flush 10.0.0.2\n"));
    tap_case("a type that the name does not have");
    forget();
    send_query("mirari.local", MIR_DNS_MX, 1, 0);
    dnsbed_run(&bed, MIR_US_PER_MS);
    check_int(heard.responses, ==, 1);
    check(has("1 mirari.local NSEC 120 flush"));
    tap_case("names of others, other classes and nonsense get no answer");
    forget();
    send_query("other.local", MIR_DNS_A, 1, 0);
    send_query("mirari.local", MIR_DNS_A, 3, 0);
    const struct mir_endpoint to = {.ip = mir_ip_from_v4(0xe00000fb), .port = 5353};
    check_int(mir_udp_send(ear, &to, "nonsense", 8), ==, 0);
    dnsbed_run(&bed, MIR_US_PER_S);
    check_int(heard.messages, ==, 0);
    struct mir_mdns_stats stats;
    mir_mdns_get_stats(mdns, &stats);
    check_int(stats.malformed, ==, 1);
    check_int(stats.suppressed, >=, 19);
    tap_case("a question with the unicast bit is answered to its sender");
    send_query("_http._tcp.local", MIR_DNS_PTR, 0x8001, 0);
    dnsbed_run(&bed, MIR_US_PER_MS);
    check_int(heard.responses, ==, 1);
    close_bed();
}

static uint32_t legacy_answers;

static void on_legacy(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf,
                      void *arg)
{
    struct mir__dns_reader reader;
    struct mir__dns_question question;
    struct mir__dns_record record;
    (void)udp, (void)meta, (void)arg;
    legacy_answers++;
    check_int(mir__dns_read(&reader, buf->data, mir_buf_total(buf)), ==, 0);
    check_int(reader.id, ==, 0x1234);
    check_int(mir__dns_read_question(&reader, &question), ==, 0);
    check_int(mir__dns_read_record(&reader, &record), ==, 0);
    check_int(record.ttl_s, ==, 10);
    check_int(record.class, ==, 1);
    mir_buf_release(buf);
}

static void test_legacy(void)
{
    const struct mir_endpoint any = {.port = 0},
                              to = {.ip = mir_ip_from_v4(0xe00000fb), .port = 5353};
    struct mir_udp *udp;
    ready();
    tap_case("a plain resolver is answered as it expects");
    check_int(mir_udp_open(mir_net_stack(bed.server_net), &any, on_legacy, NULL, &udp), ==, 0);
    check_int(mir_udp_set_option(udp, MIR_UDP_GROUP_LOOP, 0), ==, 0);
    static const char query[] = "\x12\x34\0\0\0\1\0\0\0\0\0\0\6mirari\5local\0\0\1\0\1";
    check_int(mir_udp_send(udp, &to, query, sizeof query - 1), ==, 0);
    dnsbed_run(&bed, MIR_US_PER_MS);
    check_int(legacy_answers, ==, 1);
    check_int(heard.messages, ==, 0);
    mir_udp_close(udp);
    close_bed();
}

static void on_counted(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf,
                       void *arg)
{
    (void)udp, (void)meta, (void)arg;
    legacy_answers++;
    mir_buf_release(buf);
}

static void test_strangers(void)
{
    static const char query[] = "\x12\x34\0\0\0\1\0\0\0\0\0\0\6mirari\5local\0\0\1\0\1";
    const struct mir_endpoint any = {.port = 0},
                              us = {.ip = mir_ip_from_v4(0x0a000002), .port = 5353};
    struct mir_mdns_stats stats;
    struct mir_udp *udp;
    ready();
    legacy_answers = 0;
    check_int(mir_udp_open(mir_net_stack(bed.server_net), &any, on_counted, NULL, &udp), ==, 0);
    tap_case("a question by unicast from beyond a router is not answered");
    check_int(mir_udp_send(udp, &us, query, sizeof query - 1), ==, 0);
    dnsbed_run(&bed, MIR_US_PER_MS);
    check_int(legacy_answers, ==, 0);
    mir_mdns_get_stats(mdns, &stats);
    check_int(stats.foreign, ==, 1);
    tap_case("one from the link is");
    check_int(mir_udp_set_option(udp, MIR_UDP_TTL, 255), ==, 0);
    check_int(mir_udp_send(udp, &us, query, sizeof query - 1), ==, 0);
    dnsbed_run(&bed, MIR_US_PER_MS);
    check_int(legacy_answers, ==, 1);
    tap_case("a flood of questions with a false sender makes no flood of answers to him");
    dnsbed_run(&bed, MIR_US_PER_S);
    legacy_answers = 0;
    for (int i = 0; i < 1000; i++) {
        check_int(mir_udp_send(udp, &us, query, sizeof query - 1), ==, 0);
        dnsbed_run(&bed, 100);
    }
    check_int(legacy_answers, ==, 20);
    tap_case("a response by unicast from beyond a router changes no name");
    forget();
    check_int(mir_udp_set_option(ear, MIR_UDP_TTL, 64), ==, 0);
    struct mir_dns_rdata a = {.type = MIR_DNS_A, .ip = mir_ip_from_v4(0x0a000063)};
    struct mir_dns_name name;
    struct mir__dns_writer w;
    check_int(mir_dns_name_parse("mirari.local", 12, &name), ==, 0);
    mir__dns_write(&w, out, sizeof out, 0, 0x8400);
    check_int(mir__dns_write_record(&w, MIR__DNS_ANSWER, &name, 0x8001, 120, &a), ==, 0);
    check_int(mir_udp_send(ear, &us, out, mir__dns_write_end(&w)), ==, 0);
    dnsbed_run(&bed, 5 * MIR_US_PER_S);
    check_int(heard.probes, ==, 0);
    mir_udp_close(udp);
    close_bed();
}

static void test_defence(void)
{
    ready();
    tap_case("a name is defended against a probe although it was told a moment ago");
    send_query("mirari.local", MIR_DNS_A, 1, 0);
    dnsbed_run(&bed, 300 * MIR_US_PER_MS);
    check_int(heard.responses, ==, 1);
    forget();
    send_query("mirari.local", MIR_DNS_A, 1, 0);
    dnsbed_run(&bed, 10 * MIR_US_PER_MS);
    check_int(heard.responses, ==, 0); /* once in a second is enough for who only asks */
    send_address("mirari.local", 0x0a000063, MIR__DNS_AUTHORITY);
    dnsbed_run(&bed, 10 * MIR_US_PER_MS);
    check_int(heard.responses, ==, 1);
    check(has("1 mirari.local A 120 flush 10.0.0.2\n"));
    close_bed();
    tap_case("a name that somebody uses with records of other types is not taken");
    open_responder();
    dnsbed_run(&bed, 300 * MIR_US_PER_MS);
    const struct mir_endpoint to = {.ip = mir_ip_from_v4(0xe00000fb), .port = 5353};
    struct mir_dns_rdata six = {.type = MIR_DNS_AAAA, .ip = {{0xfd, [15] = 9}}};
    struct mir_dns_name name;
    struct mir__dns_writer w;
    check_int(mir_dns_name_parse("mirari.local", 12, &name), ==, 0);
    mir__dns_write(&w, out, sizeof out, 0, 0x8400);
    check_int(mir__dns_write_record(&w, MIR__DNS_ANSWER, &name, 0x8001, 120, &six), ==, 0);
    check_int(mir_udp_send(ear, &to, out, mir__dns_write_end(&w)), ==, 0);
    dnsbed_run(&bed, 5 * MIR_US_PER_S);
    check_str(got_host, "mirari-2.local");
    close_bed();
}

static void test_conflicts(void)
{
    tap_case("a name that somebody has: the next one");
    open_responder();
    dnsbed_run(&bed, 300 * MIR_US_PER_MS);
    send_address("mirari.local", 0x0a000063, MIR__DNS_ANSWER);
    dnsbed_run(&bed, 5 * MIR_US_PER_S);
    check_str(got_host, "mirari-2.local");
    check_str(got_instance, "My Site");
    check(has("1 mirari-2.local A 120 flush 10.0.0.2\n"));
    check(has("SRV 120 flush 0 0 80 mirari-2.local\n"));
    tap_case("the same data from somebody else is no conflict");
    forget();
    send_address("mirari-2.local", 0x0a000002, MIR__DNS_ANSWER);
    dnsbed_run(&bed, MIR_US_PER_S);
    check_int(heard.messages, ==, 0);
    tap_case("a name that was ours is probed for again, and kept if nobody defends it");
    send_address("mirari-2.local", 0x0a000063, MIR__DNS_ANSWER);
    dnsbed_run(&bed, 5 * MIR_US_PER_S);
    check_int(heard.probes, ==, 3);
    check_str(got_host, "mirari-2.local");
    close_bed();

    tap_case("probing at the same time: the greater data wins");
    open_responder();
    dnsbed_run(&bed, 300 * MIR_US_PER_MS);
    uint32_t before = heard.probes;
    send_address("mirari.local", 0x0a000001, MIR__DNS_AUTHORITY); /* less than ours */
    dnsbed_run(&bed, 300 * MIR_US_PER_MS);
    check_int(heard.probes, >, before);
    before = heard.probes;
    send_address("mirari.local", 0x0a000003, MIR__DNS_AUTHORITY); /* more */
    dnsbed_run(&bed, 900 * MIR_US_PER_MS);
    check_int(heard.probes, ==, before);
    dnsbed_run(&bed, 5 * MIR_US_PER_S);
    check_int(heard.probes, ==, before + 3);
    check_str(got_host, "mirari.local");
    close_bed();

    tap_case("many conflicts are not answered with many probes");
    open_responder();
    for (int i = 0; i < 100; i++) {
        char name[40] = "mirari.local";
        dnsbed_run(&bed, 300 * MIR_US_PER_MS);
        if (i > 0)
            snprintf(name, sizeof name, "mirari-%d.local", i + 1);
        send_address(name, 0x0a000063, MIR__DNS_ANSWER);
    }
    check_int(heard.probes, <=, 100);
    close_bed();
}

static void test_two(void)
{
    struct mir_mdns *other;
    struct mir_mdns_config config;
    open_responder();
    dnsbed_run(&bed, 5 * MIR_US_PER_S);
    tap_case("two responders with the same names: the later one takes others");
    config = config_for(mir_net_stack(bed.server_net));
    check_int(mir_mdns_open(&config, &other), ==, 0);
    dnsbed_run(&bed, 10 * MIR_US_PER_S);
    check_str(got_host, "mirari-2.local");
    check_str(got_instance, "My Site (2)");
    mir_mdns_close(other);
    close_bed();
}

static void test_arguments(void)
{
    struct mir_mdns_config config;
    open_bed();
    tap_case("names that cannot be");
    config = config_for(bed.client.stack);
    config.host = "";
    check_int(mir_mdns_open(&config, &mdns), ==, -MIR_EINVAL);
    config = config_for(bed.client.stack);
    config.type = "_http..";
    check_int(mir_mdns_open(&config, &mdns), ==, -MIR_EINVAL);
    config = config_for(bed.client.stack);
    config.port = 0;
    check_int(mir_mdns_open(&config, &mdns), ==, -MIR_EINVAL);
    mdns = NULL;
    close_bed();
}

int main(void)
{
    tap_begin("dns_mdns");
    test_life();
    test_answers();
    test_legacy();
    test_strangers();
    test_defence();
    test_conflicts();
    test_two();
    test_arguments();
    return tap_done();
}
