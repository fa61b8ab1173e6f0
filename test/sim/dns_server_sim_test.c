/* SPDX-License-Identifier: ISC */
/* The name server on simulated wires, in virtual time: losses, many questions on a connection,
 * peers that are slow or do not listen, limits, whole zones, secondaries that do not hear.
 */
#include <stdio.h>
#include <string.h>

#include <mirari/dns_server.h>

#include "lib/dns/auth.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

enum { NAMES = 2000, BIG = 100 };

static struct sim_pair pair;
static struct mir_dns_zone *zone;
static struct mir_dns_server *server;

static void open_pair(uint64_t seed, const char *wire, struct mir_dns_server_config config)
{
    static char text[NAMES * 40];
    struct sim_pair_config pair_config = {.seed = seed};
    size_t at;
    for (int i = 0; i < 2; i++)
        check_int(mir_sim_wire_parse(wire, &pair_config.wire[i], &at), ==, 0);
    sim_pair_open(&pair, &pair_config);
    at = (size_t)snprintf(text, sizeof text,
                          "$TTL 60\n@ SOA ns a 1 2 3 4 5\n NS ns\nns A 1.2.3.4\n");
    for (uint32_t i = 0; i < NAMES; i++)
        at +=
            (size_t)snprintf(text + at, sizeof text - at, "h%u A 10.0.%u.%u\n", i, i >> 8, i & 255);
    for (uint32_t i = 0; i < BIG; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "big A 10.9.0.%u\n", i);
    const struct mir_dns_zone_config zone_config = {.pages = pair.node[1]->stack->pages,
                                                    .origin = "example",
                                                    .file = "zone",
                                                    .text = text,
                                                    .len = at};
    check_int(mir_dns_zone_open(&zone_config, &zone), ==, 0);
    config.stack = pair.node[1]->stack;
    config.rng = &pair.node[1]->rng;
    config.zones = &zone;
    config.zone_count = 1;
    check_int(mir_dns_server_open(&config, &server), ==, 0);
}

static struct mir_dns_server_stats stats(void)
{
    struct mir_dns_server_stats s;
    mir_dns_server_get_stats(server, &s);
    return s;
}

static void run_for(mir_time_us us)
{
    (void)mir_sim_run(pair.sim, mir_sim_now(pair.sim) + us);
}

static void close_pair(void)
{
    mir_dns_server_close(server);
    mir_dns_zone_close(zone);
    run_for(300 * MIR_US_PER_S);
    sim_pair_check_idle(&pair);
    (void)sim_pair_close(&pair);
}

/* ---- a resolver of ours asks ---------------------------------------------------------------- */

static struct {
    uint32_t good, bad, big;
} got;

static void on_answer(void *arg, int error, const struct mir_dns_answer *answer)
{
    uint32_t number = (uint32_t)(uintptr_t)arg, at = 0;
    struct mir_dns_rdata rdata;
    bool is_good = error == 0 && mir_dns_answer_next(answer, &at, &rdata);
    if (number == NAMES)
        got.big += is_good && answer->record_count == BIG;
    else if (is_good && mir_ip_to_v4(&rdata.ip) == (0x0a000000u | number))
        got.good++;
    else
        got.bad++;
}

static void test_lossy(uint64_t seed, const char *wire)
{
    struct mir_dns *dns;
    char name[32];
    const uint32_t count = 400;
    tap_case("a resolver asks over a wire with %s", wire);
    memset(&got, 0, sizeof got);
    open_pair(seed, wire, (struct mir_dns_server_config){.stack = NULL});
    const struct mir_dns_config config = {
        .stack = pair.node[0]->stack,
        .rng = &pair.node[0]->rng,
        .servers = {{.ip = mir_ip_from_v4(SIM_PAIR_IP(1))}},
        .server_count = 1,
        .rounds = 8,
    };
    check_int(mir_dns_open(&config, &dns), ==, 0);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = i * 37 % NAMES;
        snprintf(name, sizeof name, "h%u.example.", number);
        if (i % 20 == 7) {
            snprintf(name, sizeof name, "big.example.");
            number = NAMES;
            mir_dns_flush(dns);
        }
        check_int(mir_dns_resolve(dns, name, MIR_DNS_A, MIR_TIME_NEVER, on_answer,
                                  (void *)(uintptr_t)number, NULL),
                  ==, 0);
        run_for(i % 16 == 15 ? 20 * MIR_US_PER_S : 1000);
    }
    run_for(600 * MIR_US_PER_S);
    check_int(got.good, ==, count - count / 20);
    check_int(got.big, ==, count / 20);
    check_int(got.bad, ==, 0);
    check_int(stats().truncated, >=, count / 20);
    tap_note("%llu questions by UDP, %llu by TCP for %u", (unsigned long long)stats().queries_udp,
             (unsigned long long)stats().queries_tcp, count);
    mir_dns_close(dns);
    close_pair();
}

/* ---- a connection, octet by octet -------------------------------------------------------------
 */

static struct client {
    struct mir_tcp *tcp;
    uint8_t *in;
    uint32_t len, size;
    bool is_deaf, has_ended, has_failed;
} client;

static void on_client(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct client *c = arg;
    struct mir_view view;
    if (events & MIR_TCP_FAILED)
        c->has_failed = true;
    while (!c->is_deaf && !c->has_failed && mir_tcp_recv_view(tcp, &view) == 0) {
        uint32_t room = MIR_MIN(view.len, c->size - c->len);
        memcpy(c->in + c->len, view.data, room);
        c->len += room;
        mir_view_release(&view);
    }
    bool is_over = !c->is_deaf && !c->has_failed && mir_tcp_recv_view(tcp, &view) == -MIR_EEOF;
    if (events & MIR_TCP_CLOSED || is_over)
        c->has_ended = true;
}

static void connect_client(bool is_deaf)
{
    static uint8_t in[4 << 20];
    const struct mir_endpoint to = {.ip = mir_ip_from_v4(SIM_PAIR_IP(1)), .port = 53};
    client = (struct client){.in = in, .size = sizeof in, .is_deaf = is_deaf};
    check_int(mir_tcp_connect(pair.node[0]->stack, &to, on_client, &client, &client.tcp), ==, 0);
    run_for(MIR_US_PER_S);
}

/* A question with its length in front. Returns the octets. */
static uint32_t make_question(uint8_t *out, uint16_t id, const char *text, uint16_t type)
{
    struct mir__dns_writer w;
    struct mir_dns_name name;
    check_int(mir_dns_name_parse(text, strlen(text), &name), ==, 0);
    mir__dns_write(&w, out + 2, 300, id, 0);
    check_int(mir__dns_write_question(&w, &name, type, MIR__DNS_IN), ==, 0);
    uint32_t len = mir__dns_write_end(&w);
    mir_put_be16(out, (uint16_t)len);
    return 2 + len;
}

static void send_all(const uint8_t *data, uint32_t len, uint32_t piece)
{
    for (uint32_t at = 0; at < len;) {
        size_t queued = 0;
        int r = mir_tcp_send(client.tcp, data + at, MIR_MIN(piece, len - at), &queued);
        if (r == -MIR_EAGAIN && client.is_deaf)
            return;
        check(r == 0 || r == -MIR_EAGAIN);
        at += (uint32_t)queued;
        run_for(2000);
    }
}

static void test_pipeline(uint64_t seed)
{
    static uint8_t out[2000 * 40];
    const uint32_t count = 1500;
    uint32_t len = 0, at = 0, answers = 0;
    char name[32];
    tap_case("many questions on one connection, in pieces of any size, answered in order");
    open_pair(seed, "rate=100m,delay=2,loss=1%", (struct mir_dns_server_config){.stack = NULL});
    connect_client(false);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, i % 100 == 50 ? "big.example" : "h%u.example", i);
        len += make_question(out + len, (uint16_t)i, name, MIR_DNS_A);
    }
    send_all(out, len, 17);
    run_for(60 * MIR_US_PER_S);
    while (client.len - at >= 2 && client.len - at - 2 >= mir_get_be16(client.in + at)) {
        check_int(mir_get_be16(client.in + at + 2), ==, answers);
        check_int(mir_get_be16(client.in + at + 8), ==, answers % 100 == 50 ? BIG : 1);
        at += 2u + mir_get_be16(client.in + at);
        answers++;
    }
    check_int(answers, ==, count);
    check_int(at, ==, client.len);
    tap_case("an idle connection ends, in order");
    check(client.has_ended && !client.has_failed);
    check_int(stats().tcp_timeouts, ==, 1);
    check_int(stats().tcp_open, ==, 0);
    mir_tcp_close(client.tcp);
    close_pair();
}

static void test_deaf(uint64_t seed)
{
    static uint8_t out[60 * 40];
    uint32_t len = 0;
    tap_case("who asks and does not listen stops, and is ended");
    open_pair(seed, "rate=100m,delay=1", (struct mir_dns_server_config){.stack = NULL});
    connect_client(true);
    for (uint32_t i = 0; i < 60; i++)
        len += make_question(out + len, 1, "big.example", MIR_DNS_A);
    for (uint32_t i = 0; i < 200; i++)
        send_all(out, len, len);
    check_int(stats().queries_tcp, <, 200 * 60);
    check_int(stats().tcp_open, ==, 1);
    uint64_t asked = stats().queries_tcp;
    run_for(5 * MIR_US_PER_S);
    check_int(stats().queries_tcp, <=, asked + 1); /* a closed window lets a little through */
    run_for(30 * MIR_US_PER_S);
    check_int(stats().tcp_open, ==, 0);
    check_int(stats().tcp_timeouts, ==, 1);
    mir_tcp_close(client.tcp);
    close_pair();
}

static void test_wrong(uint64_t seed)
{
    static const char *const wrong[] = {"\0\1x", "\0\13abcdefghijk", "\xff\xff",
                                        "\0\14\0\1\x80\0\0\1\0\0\0\0\0\0"};
    static const uint32_t lens[] = {3, 13, 2, 14};
    tap_case("what is no question ends the connection");
    open_pair(seed, "rate=100m,delay=1", (struct mir_dns_server_config){.stack = NULL});
    for (uint32_t i = 0; i < 4; i++) {
        connect_client(false);
        send_all((const uint8_t *)wrong[i], lens[i], lens[i]);
        run_for(MIR_US_PER_S);
        check_int(stats().tcp_bad, ==, i + 1);
        check_int(stats().tcp_open, ==, 0);
        mir_tcp_close(client.tcp);
    }
    tap_case("half a question is waited for, not for ever");
    connect_client(false);
    send_all((const uint8_t *)"\0\40abc", 5, 5);
    for (uint32_t i = 0; i < 8; i++) {
        run_for(MIR_US_PER_S);
        send_all((const uint8_t *)"x", 1, 1);
    }
    check_int(stats().tcp_open, ==, 1);
    run_for(3 * MIR_US_PER_S);
    check_int(stats().tcp_open, ==, 0);
    mir_tcp_close(client.tcp);
    close_pair();
}

static void test_limit(uint64_t seed)
{
    const struct mir_endpoint to = {.ip = mir_ip_from_v4(SIM_PAIR_IP(1)), .port = 53};
    struct mir_tcp *idle[5];
    static struct client clients[5];
    tap_case("too many connections: the one idle longest gives way");
    open_pair(seed, "rate=100m,delay=1",
              (struct mir_dns_server_config){.limits = {.tcp_connections = 4}});
    for (uint32_t i = 0; i < 5; i++) {
        clients[i] = (struct client){.in = NULL};
        check_int(mir_tcp_connect(pair.node[0]->stack, &to, on_client, &clients[i], &idle[i]), ==,
                  0);
        run_for(MIR_US_PER_S);
    }
    check_int(stats().tcp_open, ==, 4);
    check_int(stats().tcp_evicted, ==, 1);
    check(clients[0].has_failed && !clients[1].has_failed && !clients[4].has_failed);
    for (uint32_t i = 0; i < 5; i++)
        mir_tcp_close(idle[i]);
    run_for(MIR_US_PER_S);
    check_int(stats().tcp_open, ==, 0);
    close_pair();
}

/* ---- whole zones ---------------------------------------------------------------------------- */

static void test_transfer(uint64_t seed)
{
    const struct mir_net_prefix allowed[] = {{mir_ip_from_v4(SIM_PAIR_IP(0) & ~7u), 29}};
    struct mir_dns_server_config config = {.transfer = allowed, .transfer_count = 1};
    uint8_t out[64];
    uint32_t at = 0, records = 0, soas = 0, messages = 0;
    tap_case("a whole zone over a wire with losses");
    open_pair(seed, "rate=10m,delay=10,loss=2%,reorder=2%", config);
    connect_client(false);
    uint32_t len = make_question(out, 7, "EXAMPLE", 252);
    send_all(out, len, len);
    run_for(120 * MIR_US_PER_S);
    while (at < client.len) {
        struct mir__dns_reader reader;
        struct mir__dns_record record;
        uint32_t message_len = mir_get_be16(client.in + at);
        check_int(message_len, <=, client.len - at - 2);
        check_int(mir__dns_read(&reader, client.in + at + 2, message_len), ==, 0);
        check_int(reader.id, ==, 7);
        check_int(reader.flags, ==, MIR__DNS_QR | MIR__DNS_AA);
        check_int(reader.count[0], ==, messages == 0);
        /* More records than a reader of ours takes: count those of the header. */
        records += reader.count[1];
        check_int(mir__dns_read_record(&reader, &record), ==, 0);
        soas += record.type == MIR_DNS_SOA;
        at += 2 + message_len;
        messages++;
    }
    check_int(records, ==, 1 + 1 + 1 + NAMES + BIG + 1);
    check_int(soas, ==, 1);
    check_int(messages, >, 2);
    tap_note("%u messages, %u octets", messages, client.len);
    mir_tcp_close(client.tcp);
    tap_case("nobody else gets one");
    connect_client(false);
    server->transfer[0].ip = mir_ip_from_v4(SIM_PAIR_IP(0) + 8);
    send_all(out, len, len);
    run_for(MIR_US_PER_S);
    check_int(client.in[5] & 15, ==, MIR__DNS_REFUSED);
    check_int(stats().transfers, ==, 1);
    check_int(stats().transfers_refused, ==, 1);
    mir_tcp_close(client.tcp);
    close_pair();
}

/* ---- the rate limit ------------------------------------------------------------------------- */

static struct {
    uint32_t whole, truncated;
} counted;

static void count_answer(struct mir_udp *udp, const struct mir_udp_meta *meta,
                         struct mir_buf *buf_given, void *arg)
{
    (void)udp, (void)meta, (void)arg;
    if (buf_given->data[2] & 2)
        counted.truncated++;
    else
        counted.whole++;
    mir_buf_release(buf_given);
}

static void ask_often(struct mir_udp *udp, const char *text, uint32_t count)
{
    const struct mir_endpoint to = {.ip = mir_ip_from_v4(SIM_PAIR_IP(1)), .port = 53};
    uint8_t out[64];
    char name[64];
    memset(&counted, 0, sizeof counted);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, text, i);
        uint32_t len = make_question(out, 1, name, MIR_DNS_A);
        check_int(mir_udp_send(udp, &to, out + 2, len - 2), ==, 0);
        run_for(500);
    }
    run_for(1000);
}

static void test_rate(uint64_t seed)
{
    const struct mir_endpoint any = {.port = 0};
    struct mir_udp *udp;
    tap_case("equal answers to one network are limited, every second one too many is truncated");
    open_pair(seed, "rate=100m,delay=0",
              (struct mir_dns_server_config){.limits = {.rate_per_second = 100}});
    check_int(mir_udp_open(pair.node[0]->stack, &any, count_answer, NULL, &udp), ==, 0);
    /* Begin with a second of the clock. */
    run_for(MIR_US_PER_S - mir_sim_now(pair.sim) % MIR_US_PER_S);
    ask_often(udp, "h1.example", 1500);
    check_int(counted.whole, ==, 100);
    check_int(counted.truncated, ==, 700);
    check_int(stats().dropped_rate, ==, 700);
    tap_case("names that do not exist are one answer, whatever they are");
    ask_often(udp, "nobody%u.example", 300);
    check_int(counted.whole, >=, 100);
    check_int(counted.whole, <=, 200);
    tap_case("other answers are not touched");
    ask_often(udp, "h%u.example", 300);
    check_int(counted.whole, ==, 299); /* h1 is what was asked too often */
    tap_case("it is over when the flood is");
    run_for(20 * MIR_US_PER_S);
    ask_often(udp, "h1.example", 50);
    check_int(counted.whole, ==, 50);
    mir_udp_close(udp);
    close_pair();
}

/* ---- notices -------------------------------------------------------------------------------- */

static struct {
    uint32_t heard;
    mir_time_us at[8];
    bool answers;
} secondary;

static void on_notice(struct mir_udp *udp, const struct mir_udp_meta *meta,
                      struct mir_buf *buf_given, void *arg)
{
    struct mir__dns_reader reader;
    struct mir__dns_record record;
    uint8_t msg[512];
    uint32_t len = mir_buf_total(buf_given);
    (void)arg;
    check_int(mir_buf_copy_out(buf_given, 0, msg, len), ==, 0);
    mir_buf_release(buf_given);
    check_int(mir__dns_read(&reader, msg, len), ==, 0);
    check_int(reader.flags, ==, 4 << 11 | MIR__DNS_AA);
    check_int(mir__dns_read_record(&reader, &record), ==, 0);
    check_int(record.type, ==, MIR_DNS_SOA);
    if (secondary.heard < MIR_ARRAY_LEN(secondary.at))
        secondary.at[secondary.heard] = mir_sim_now(pair.sim);
    secondary.heard++;
    if (!secondary.answers)
        return;
    msg[2] |= 0x80;
    check_int(mir_udp_send(udp, &meta->from, msg, len), ==, 0);
}

static void test_notify(uint64_t seed)
{
    const struct mir_endpoint to[] = {{.ip = mir_ip_from_v4(SIM_PAIR_IP(0))}};
    const struct mir_endpoint port = {.port = 53};
    struct mir_dns_server_config config = {.notify = to, .notify_count = 1};
    struct mir_udp *udp;
    for (int round = 0; round < 2; round++) {
        tap_case(round == 0 ? "a secondary that does not hear is told five times"
                            : "one that answers is left alone");
        memset(&secondary, 0, sizeof secondary);
        secondary.answers = round == 1;
        open_pair(seed, "rate=100m,delay=1", config);
        check_int(mir_udp_open(pair.node[0]->stack, &port, on_notice, NULL, &udp), ==, 0);
        run_for(100 * MIR_US_PER_S);
        check_int(secondary.heard, ==, round == 0 ? 5 : 1);
        for (uint32_t i = 1; i < secondary.heard; i++)
            check_int((secondary.at[i] - secondary.at[i - 1] + 500000) / MIR_US_PER_S, ==,
                      1 << (i - 1));
        check_int(stats().notify_sent, ==, secondary.heard);
        check_int(stats().notify_failed, ==, round == 0);
        check_int(stats().notify_answered, ==, round == 1);
        mir_udp_close(udp);
        close_pair();
    }
}

int main(int argc, char **argv)
{
    tap_begin("dns_server");
    uint64_t seed = tap_seed(argc, argv, 1);
    test_lossy(seed, "rate=100m,delay=5");
    test_lossy(seed, "rate=100m,delay=5,loss=10%,dup=5%,reorder=10%");
    test_lossy(seed, "rate=100m,delay=5,corrupt=5%,jitter=3");
    test_pipeline(seed);
    test_deaf(seed);
    test_wrong(seed);
    test_limit(seed);
    test_transfer(seed);
    test_rate(seed);
    test_notify(seed);
    return tap_done();
}
