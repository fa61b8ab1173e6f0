/* SPDX-License-Identifier: ISC */
/* Looking up both families, their order, and connecting by name to whichever answers first.
 *
 * The stack of the sorting and racing tests is a fake one: it notes each connection that is begun,
 * and the test says when it succeeds or fails. Names are answered by servers of the bed.
 */
#include <string.h>

#include "test/harness/dnsbed.h"
#include "test/harness/tap.h"

static struct dnsbed bed;

/* ---- the fake stack: UDP of the real one, connections and sources of our own
 * ---------------------- */

enum { FAKE_MAX = 32 };

static struct {
    struct mir_stack stack;
    struct mir_stack_ops ops;
    struct mir_udp_ops udp_ops;
    struct mir_tcp tcp[FAKE_MAX];
    struct mir_ip to[FAKE_MAX];
    mir_time_us at_us[FAKE_MAX];
    bool is_open[FAKE_MAX];
    uint32_t count, aborted, closed;
    int connect_result;             /* 0: begins */
    struct mir_ip source4, source6; /* any: unreachable */
    struct mir_ip connected_to;
} fake;

static void fake_over(struct mir_tcp *tcp)
{
    check(fake.is_open[tcp - fake.tcp]);
    fake.is_open[tcp - fake.tcp] = false;
}

static void fake_abort(struct mir_tcp *tcp)
{
    fake_over(tcp);
    fake.aborted++;
}

static void fake_close(struct mir_tcp *tcp)
{
    fake_over(tcp);
    fake.closed++;
}

static const struct mir_tcp_ops fake_tcp_ops = {.abort = fake_abort, .close = fake_close};

static int fake_connect(struct mir_stack *stack, const struct mir_endpoint *remote,
                        mir_tcp_handler_fn handler, void *arg, struct mir_tcp **tcp)
{
    if (remote->port == 53) /* the resolver's own */
        return bed.client.stack->ops->tcp_connect(stack, remote, handler, arg, tcp);
    if (fake.connect_result < 0)
        return fake.connect_result;
    uint32_t i = fake.count++;
    fake.tcp[i] = (struct mir_tcp){
        .ops = &fake_tcp_ops, .handler = handler, .handler_arg = arg, .stack = stack};
    fake.to[i] = remote->ip;
    fake.at_us[i] = bed.client.now_us;
    fake.is_open[i] = true;
    *tcp = &fake.tcp[i];
    return 0;
}

static void fake_event(uint32_t i, unsigned events, int error)
{
    fake.tcp[i].error = error;
    fake.tcp[i].handler(&fake.tcp[i], events, fake.tcp[i].handler_arg);
}

/* What is asked of a socket that mir_dns_sort() connects. */
static int fake_udp_connect(struct mir_udp *udp, const struct mir_endpoint *peer)
{
    const struct mir_ip *source = mir_ip_is_v4(&peer->ip) ? &fake.source4 : &fake.source6;
    (void)udp;
    fake.connected_to = peer->ip;
    return mir_ip_is_any(source) ? -MIR_ENETUNREACH : 0;
}

static void fake_udp_local(const struct mir_udp *udp, struct mir_endpoint *local)
{
    (void)udp;
    local->ip = mir_ip_is_v4(&fake.connected_to) ? fake.source4 : fake.source6;
}

static void fake_udp_close(struct mir_udp *udp)
{
    (void)udp;
}

static int fake_udp_open(struct mir_stack *stack, const struct mir_udp_config *config,
                         struct mir_udp **udp)
{
    static struct mir_udp probe;
    if (config->handler != NULL)
        return bed.client.stack->ops->udp_open(bed.client.stack, config, udp);
    fake.udp_ops = (struct mir_udp_ops){
        .connect = fake_udp_connect, .local = fake_udp_local, .close = fake_udp_close};
    probe = (struct mir_udp){.ops = &fake.udp_ops, .stack = stack};
    *udp = &probe;
    return 0;
}

static struct mir_ip ip_of(const char *text)
{
    struct mir_ip ip = {{0}};
    check_int(mir_ip_parse(text, strlen(text), &ip), ==, 0);
    return ip;
}

static void open_fake(dnsbed_answer_fn answer)
{
    struct mir_dns_config config = {.server_count = 1};
    dnsbed_open(&bed, NULL, 1, answer);
    mir_dns_close(bed.dns);
    memset(&fake, 0, sizeof fake);
    fake.ops = *bed.client.stack->ops;
    fake.ops.tcp_connect = fake_connect;
    fake.ops.dns_domains = NULL; /* the real stack's own */
    fake.ops.udp_open = fake_udp_open;
    fake.stack = *bed.client.stack;
    fake.stack.ops = &fake.ops;
    fake.source4 = ip_of("10.0.0.2");
    fake.source6 = ip_of("2001:db8::2");
    config.stack = &fake.stack;
    config.rng = &bed.client.rng;
    config.servers[0] = (struct mir_endpoint){.ip = mir_ip_from_v4(DNSBED_SERVER_IP)};
    check_int(mir_dns_open(&config, &bed.dns), ==, 0);
}

/* ---- the order
 * ------------------------------------------------------------------------------------- */

static void check_order(const char *const *in, const char *const *wanted, uint32_t count)
{
    struct mir_ip ip[MIR_DNS_ADDRESSES_MAX];
    char text[MIR_IP_TEXT_MAX];
    for (uint32_t i = 0; i < count; i++)
        ip[i] = ip_of(in[i]);
    mir_dns_sort(&fake.stack, ip, count);
    for (uint32_t i = 0; i < count; i++)
        check_str(mir_ip_text(&ip[i], text), wanted[i]);
}

#define ORDER(in, wanted)                                                                          \
    check_order((const char *const[]){in}, (const char *const[]){wanted},                          \
                MIR_ARRAY_LEN(((const char *const[]){in})))
#define LIST(...) __VA_ARGS__

static bool answer_none(struct dnsbed_query *q)
{
    (void)q;
    return false;
}

static void test_order(void)
{
    open_fake(answer_none);
    tap_case("native IPv6 before IPv4 (rule 6)");
    ORDER(LIST("198.51.100.1", "2001:db8::1"), LIST("2001:db8::1", "198.51.100.1"));
    tap_case("what cannot be reached is last (rule 1)");
    fake.source6 = (struct mir_ip){{0}};
    ORDER(LIST("2001:db8::1", "198.51.100.1"), LIST("198.51.100.1", "2001:db8::1"));
    tap_case("equal ones keep their order (rule 10)");
    ORDER(LIST("198.51.100.9", "198.51.100.1", "10.0.0.3"),
          LIST("198.51.100.9", "198.51.100.1", "10.0.0.3"));
    tap_case("the same scope as the source (rule 2)");
    fake.source6 = ip_of("fe80::2");
    ORDER(LIST("2001:db8::1", "198.51.100.1", "fe80::1"),
          LIST("fe80::1", "198.51.100.1", "2001:db8::1"));
    tap_case("the same label as the source (rule 5)");
    fake.source6 = ip_of("2002:c633:6401::2");
    ORDER(LIST("2001:db8:1::1", "2002:c633:6401::1"), LIST("2002:c633:6401::1", "2001:db8:1::1"));
    fake.source6 = ip_of("fd00::2");
    ORDER(LIST("2001:db8::1", "198.51.100.1", "fd00::1"),
          LIST("198.51.100.1", "fd00::1", "2001:db8::1"));
    tap_case("smaller scope (rule 8), longer common prefix (rule 9)");
    fake.source6 = ip_of("2001:db8:1::2");
    ORDER(LIST("2001:db8:3ffe::1", "2001:db8:1::1"), LIST("2001:db8:1::1", "2001:db8:3ffe::1"));
    dnsbed_close(&bed);
}

/* ---- names with both families
 * ----------------------------------------------------------------------- */

static uint32_t v4_count, v6_count;
static bool holds_v4, holds_v6; /* the answer is sent later */
static struct dnsbed_query held[2];
static uint8_t held_bytes[2][512];
static uint32_t held_count;

static void add_addresses(struct dnsbed_query *q)
{
    for (uint32_t i = 0; q->question.type == MIR_DNS_A && i < v4_count; i++)
        dnsbed_a(q, q->name, 60, 0xc6336401 + i);
    for (uint32_t i = 0; q->question.type == MIR_DNS_AAAA && i < v6_count; i++) {
        struct mir_dns_rdata rdata = {.type = MIR_DNS_AAAA, .ip = ip_of("2001:db8::1")};
        rdata.ip.bytes[15] = (uint8_t)(1 + i);
        dnsbed_record(q, MIR__DNS_ANSWER, q->name, 60, &rdata);
    }
    bool is_v4 = q->question.type == MIR_DNS_A;
    if ((is_v4 ? v4_count : v6_count) == 0)
        dnsbed_soa(q, "example", 60, 60);
}

static bool answer_both(struct dnsbed_query *q)
{
    bool is_v4 = q->question.type == MIR_DNS_A;
    add_addresses(q);
    if (!(is_v4 ? holds_v4 : holds_v6))
        return true;
    held[held_count] = *q;
    memcpy(held_bytes[held_count], q->w.out, q->w.at);
    held[held_count].w.out = held_bytes[held_count];
    held_count++;
    return false;
}

static void send_held(void)
{
    check_int(held_count, ==, 1);
    dnsbed_send(&held[0], 0, &held[0].w);
    held_count = 0;
}

static struct {
    uint32_t calls;
    int error;
    struct mir_tcp *tcp;
} won;

static struct mir_tcp_race race;

static void on_won(void *arg, int error, struct mir_tcp *tcp_given)
{
    (void)arg;
    won.calls++;
    won.error = error;
    won.tcp = tcp_given;
}

static mir_time_us began_us;

static void begin(uint32_t v6, uint32_t v4, mir_time_us timeout_us)
{
    open_fake(answer_both);
    v6_count = v6;
    v4_count = v4;
    holds_v4 = holds_v6 = false;
    held_count = 0;
    memset(&won, 0, sizeof won);
    began_us = bed.client.now_us;
    check_int(mir_tcp_connect_name(&race, bed.dns, "www.example", 80, began_us + timeout_us, on_won,
                                   NULL),
              ==, 0);
}

static mir_time_us after_ms(uint32_t i)
{
    return (fake.at_us[i] - began_us) / MIR_US_PER_MS;
}

static void finish(void)
{
    uint32_t open = 0;
    for (uint32_t i = 0; i < fake.count; i++)
        open += fake.is_open[i];
    if (won.tcp != NULL)
        mir_tcp_close(won.tcp);
    check_int(open, ==, won.tcp != NULL ? 1 : 0);
    dnsbed_close(&bed);
}

static void test_race(void)
{
    tap_case("an attempt every 250 ms, families in turn, the first wins, the others are aborted");
    begin(2, 2, 60 * MIR_US_PER_S);
    dnsbed_run(&bed, 10 * MIR_US_PER_MS);
    check_int(fake.count, ==, 1);
    check(!mir_ip_is_v4(&fake.to[0]));
    dnsbed_run(&bed, 230 * MIR_US_PER_MS);
    check_int(fake.count, ==, 1);
    dnsbed_run(&bed, 20 * MIR_US_PER_MS);
    check_int(fake.count, ==, 2);
    check(mir_ip_is_v4(&fake.to[1]));
    dnsbed_run(&bed, 250 * MIR_US_PER_MS);
    check_int(fake.count, ==, 3);
    check(!mir_ip_is_v4(&fake.to[2]));
    fake_event(1, MIR_TCP_CONNECTED, 0);
    check_int(won.calls, ==, 1);
    check(won.tcp == &fake.tcp[1]);
    check_int(fake.aborted, ==, 2);
    dnsbed_run(&bed, MIR_US_PER_S);
    check_int(fake.count, ==, 3);
    finish();

    tap_case("a failed attempt is followed by the next at once");
    begin(1, 1, 60 * MIR_US_PER_S);
    dnsbed_run(&bed, 10 * MIR_US_PER_MS);
    fake_event(0, MIR_TCP_FAILED, -MIR_ECONNREFUSED);
    check_int(fake.count, ==, 2);
    check_int(won.calls, ==, 0);
    fake_event(1, MIR_TCP_FAILED, -MIR_ETIMEDOUT);
    tap_case("all failed: the error of the one that got furthest");
    check_int(won.calls, ==, 1);
    check_int(won.error, ==, -MIR_ECONNREFUSED);
    finish();
}

static void test_resolution_delay(void)
{
    tap_case("A first: AAAA is waited for 50 ms");
    begin(1, 1, 60 * MIR_US_PER_S);
    holds_v6 = true;
    dnsbed_run(&bed, 30 * MIR_US_PER_MS);
    check_int(fake.count, ==, 0);
    send_held();
    dnsbed_run(&bed, 5 * MIR_US_PER_MS);
    check_int(fake.count, ==, 1);
    check(!mir_ip_is_v4(&fake.to[0]));
    mir_tcp_race_cancel(&race);
    finish();

    tap_case("AAAA later than that: IPv4 begins, IPv6 joins");
    begin(1, 2, 60 * MIR_US_PER_S);
    holds_v6 = true;
    dnsbed_run(&bed, 60 * MIR_US_PER_MS);
    check_int(fake.count, ==, 1);
    check(mir_ip_is_v4(&fake.to[0]));
    check_int(after_ms(0), >=, 50);
    check_int(after_ms(0), <=, 53);
    send_held();
    dnsbed_run(&bed, 300 * MIR_US_PER_MS);
    check_int(fake.count, ==, 2);
    check(!mir_ip_is_v4(&fake.to[1]));
    mir_tcp_race_cancel(&race);
    check_int(won.calls, ==, 0);
    finish();

    tap_case("AAAA first: nobody waits for A");
    begin(1, 1, 60 * MIR_US_PER_S);
    holds_v4 = true;
    dnsbed_run(&bed, 5 * MIR_US_PER_MS);
    check_int(fake.count, ==, 1);
    fake_event(0, MIR_TCP_FAILED, -MIR_EHOSTUNREACH);
    check_int(won.calls, ==, 0); /* A may bring more */
    send_held();
    dnsbed_run(&bed, 5 * MIR_US_PER_MS);
    check_int(fake.count, ==, 2);
    fake_event(1, MIR_TCP_CONNECTED, 0);
    check_int(won.error, ==, 0);
    finish();
}

static void test_late_family(void)
{
    tap_case("A just behind AAAA: its attempt waits for the 250 ms all the same");
    begin(1, 1, 60 * MIR_US_PER_S);
    holds_v4 = true;
    dnsbed_run(&bed, 5 * MIR_US_PER_MS);
    check_int(fake.count, ==, 1);
    send_held();
    dnsbed_run(&bed, 200 * MIR_US_PER_MS);
    check_int(fake.count, ==, 1);
    dnsbed_run(&bed, 60 * MIR_US_PER_MS);
    check_int(fake.count, ==, 2);
    check_int(after_ms(1), >=, 250);
    mir_tcp_race_cancel(&race);
    finish();

    tap_case("A long after AAAA: at once");
    begin(1, 1, 60 * MIR_US_PER_S);
    holds_v4 = true;
    dnsbed_run(&bed, 400 * MIR_US_PER_MS);
    check_int(fake.count, ==, 1);
    send_held();
    dnsbed_run(&bed, 5 * MIR_US_PER_MS);
    check_int(fake.count, ==, 2);
    mir_tcp_race_cancel(&race);
    finish();
}

static void test_ends(void)
{
    tap_case("no addresses at all");
    begin(0, 0, 60 * MIR_US_PER_S);
    dnsbed_run(&bed, 10 * MIR_US_PER_MS);
    check_int(won.calls, ==, 1);
    check_int(won.error, ==, -MIR_ENOENT);
    finish();

    tap_case("one family only");
    begin(0, 1, 60 * MIR_US_PER_S);
    dnsbed_run(&bed, 10 * MIR_US_PER_MS);
    check_int(fake.count, ==, 1);
    fake_event(0, MIR_TCP_CONNECTED, 0);
    finish();

    tap_case("the deadline ends everything");
    begin(2, 2, 400 * MIR_US_PER_MS);
    dnsbed_run(&bed, 410 * MIR_US_PER_MS);
    check_int(won.calls, ==, 1);
    check_int(won.error, ==, -MIR_ETIMEDOUT);
    check_int(fake.aborted, ==, 2);
    finish();

    tap_case("no route to any of them");
    begin(2, 2, 60 * MIR_US_PER_S);
    fake.connect_result = -MIR_ENETUNREACH;
    dnsbed_run(&bed, 10 * MIR_US_PER_MS);
    check_int(won.error, ==, -MIR_ENETUNREACH);
    finish();

    tap_case("more addresses than are kept");
    begin(20, 20, 60 * MIR_US_PER_S);
    for (uint32_t i = 0; i < 32; i++)
        dnsbed_run(&bed, 256 * MIR_US_PER_MS);
    check_int(fake.count, ==, 32);
    mir_tcp_race_cancel(&race);
    finish();
}

/* ---- over the real stack, from tasks
 * ------------------------------------------------------------------ */

static bool answer_local(struct dnsbed_query *q)
{
    if (q->question.type == MIR_DNS_A)
        dnsbed_a(q, q->name, 60, DNSBED_SERVER_IP);
    else
        dnsbed_soa(q, "example", 60, 60);
    return true;
}

static int results[4];

static void run_task(void *arg)
{
    struct mir_dns_addresses found;
    struct mir_tcp_task flow;
    (void)arg;
    results[0] = mir_dns_lookup_wait(bed.dns, "www.example", MIR_TIME_NEVER, &found);
    check_int(found.count, ==, 1);
    results[1] = mir_tcp_connect_name_wait(bed.dns, "www.example", 53, MIR_TIME_NEVER, &flow);
    check(flow.tcp != NULL);
    mir_tcp_task_close(&flow);
    results[2] = mir_tcp_connect_name_wait(bed.dns, "www.example", 9, MIR_TIME_NEVER, &flow);
    check(flow.tcp == NULL);
    bed.is_cut = true;
    results[3] = mir_tcp_connect_name_wait(bed.dns, "www.example", 53, MIR_TIME_NEVER, &flow);
}

static void test_tasks(void)
{
    struct mir_task *task;
    dnsbed_open(&bed, NULL, 1, answer_local);
    tap_case("tasks look up and connect by name");
    check_int(mir_task_spawn(&bed.client.loop, &bed.stacks.source, "t", 0, run_task, NULL, &task),
              ==, 0);
    dnsbed_run(&bed, MIR_US_PER_S);
    check_int(results[0], ==, 0);
    check_int(results[1], ==, 0);
    check_int(results[2], ==, -MIR_ECONNREFUSED);
    mir_task_cancel(task);
    dnsbed_run(&bed, MIR_US_PER_MS);
    check_int(results[3], ==, -MIR_ECANCELED);
    bed.is_cut = false;
    dnsbed_close(&bed);
}

int main(void)
{
    tap_begin("dns_race");
    test_order();
    test_race();
    test_resolution_delay();
    test_late_family();
    test_ends();
    test_tasks();
    return tap_done();
}
