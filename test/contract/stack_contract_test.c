/* SPDX-License-Identifier: ISC */
/* What an application may rely on, whatever stack it has: the same cases over the direct stack (two
 * simulated nodes) and over the socket stack (the host's loopback), over IPv4 and over IPv6.
 */
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "dev/net/host/host.h"
#include "lib/page/poison.h"
#include "target/sim/sim.h"
#include "target/unix/internal.h"
#include "test/harness/sim_flow.h"
#include "test/harness/tap.h"

/* ---- beds: where a stack lies ---------------------------------------------------------------- */

#define ARENA_BYTES ((size_t)64 << 20)
#define PATIENCE_US (20 * MIR_US_PER_S)

/* Two stacks, or twice the same one. */
struct bed {
    struct mir_stack *client, *server;
    struct mir_ip server_ip;
    /* direct */
    struct mir_sim *sim;
    struct mir_sim_node *nodes[2];
    /* socket */
    struct mir__poll poll;
    struct mir_clock clock;
    struct mir_loop loop;
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    void *arena;
};

static struct bed bed;
static uint64_t seed;

static void open_direct(bool is_v6)
{
    const char *const address[2] = {is_v6 ? "fd00::1/64" : "10.0.0.1/24",
                                    is_v6 ? "fd00::2/64" : "10.0.0.2/24"};
    const struct mir_sim_node_config node = {.memory_bytes = ARENA_BYTES};
    const struct mir_sim_wire_config wire = {.rate_bps = 1000000000, .delay_us = 200};
    check_int(mir_sim_open(&(struct mir_sim_config){.seed = seed}, &bed.sim), ==, 0);
    for (int i = 0; i < 2; i++)
        check_int(mir_sim_add_host(bed.sim, &node, NULL, address[i], &bed.nodes[i]), ==, 0);
    check_int(mir_sim_join(&mir_sim_first_port(bed.nodes[0])->plug,
                           &mir_sim_first_port(bed.nodes[1])->plug, &wire, NULL, NULL),
              ==, 0);
    bed.client = bed.nodes[0]->stack;
    bed.server = bed.nodes[1]->stack;
    bed.server_ip = mir_ip_from_v4(0x0a000002);
    if (is_v6) {
        check_int(mir_ip_parse("fd00::2", 7, &bed.server_ip), ==, 0);
        /* Both addresses are tested for duplicates first. */
        mir_sim_run(bed.sim, mir_sim_now(bed.sim) + 5 * MIR_US_PER_S);
    }
}

static mir_time_us host_now(struct mir_clock *clock)
{
    struct timespec ts;
    (void)clock;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (mir_time_us)ts.tv_sec * MIR_US_PER_S + (mir_time_us)ts.tv_nsec / 1000;
}

static void open_socket(const struct mir_host_stack_limits *limits)
{
    struct mir_host_stack_config config = {.limits = *limits};
    bed.clock = (struct mir_clock){host_now, host_now};
    bed.arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mir_loop_init(&bed.loop, host_now(NULL));
    check_int(mir_page_pool_init(&bed.pages, bed.arena, ARENA_BYTES), ==, 0);
    check_int(mir_buf_pool_init(&bed.bufs, &bed.pages, 4096), ==, 0);
    check_int(mir__poll_open(&bed.poll, &bed.clock, 0), ==, 0);
    config.loop = &bed.loop;
    config.pages = &bed.pages;
    config.bufs = &bed.bufs;
    config.poll = &bed.poll.base;
    check_int(mir_host_stack_open(&config, &bed.server), ==, 0);
    bed.client = bed.server;
    bed.server_ip = mir_ip_from_v4(0x7f000001);
}

static void open_bed(const char *kind)
{
    memset(&bed, 0, sizeof bed);
    bool is_v6 = strchr(kind, '6') != NULL;
    if (strncmp(kind, "direct", 6) == 0)
        open_direct(is_v6);
    else
        open_socket(&(struct mir_host_stack_limits){0});
    if (is_v6 && bed.sim == NULL)
        check_int(mir_ip_parse("::1", 3, &bed.server_ip), ==, 0);
    check_int(strncmp(bed.server->ops->kind, kind, 6), ==, 0);
}

/* One turn. False once nothing can happen any more. */
static bool turn(void)
{
    mir_time_us deadline_us;
    if (bed.sim != NULL)
        return mir_sim_run(bed.sim, mir_sim_now(bed.sim) + 1000) != MIR_SIM_IDLE;
    mir_loop_step(&bed.loop, host_now(NULL), &deadline_us);
    mir__poll_wait(&bed.poll, MIR_MIN(deadline_us, host_now(NULL) + 10000));
    return true;
}

static mir_time_us now(void)
{
    return bed.sim != NULL ? mir_sim_now(bed.sim) : host_now(NULL);
}

/* Go on until *@flag, or for a time that only a failure needs. */
static bool run_until(const bool *flag)
{
    mir_time_us give_up_us = now() + PATIENCE_US;
    while (!*flag && now() < give_up_us) {
        if (!turn())
            break;
    }
    return *flag;
}

/* Let things settle that must not happen. */
static void run_for(mir_time_us us)
{
    mir_time_us end_us = now() + us;
    while (now() < end_us)
        turn();
}

/* Close the stack: everything must have been given back. */
static void close_bed(void)
{
    if (bed.sim != NULL) {
        struct mir_sim_stats stats;
        mir_sim_get_stats(bed.sim, &stats);
        check_int(stats.violations, ==, 0);
        check_int(mir_sim_close(bed.sim), ==, 0);
        return;
    }
    mir_host_stack_close(bed.server);
    check_int(mir_pool_used(&bed.bufs.pool), ==, 0);
    mir_buf_pool_fini(&bed.bufs);
    check_int(mir_page_pool_used_bytes(&bed.pages), ==, 0);
    mir__poll_close(&bed.poll);
    mir__unpoison(bed.arena, ARENA_BYTES);
    munmap(bed.arena, ARENA_BYTES);
}

/* ---- a listener that gives its first connection a flow
 * -------------------------------------------- */

struct server {
    struct mir_tcp_listener *listener;
    struct mir_endpoint at;
    struct sim_flow model; /* of what the flow is to do */
    struct sim_flow flow;
    uint32_t accepted;
    bool has_one;
    bool aborts; /* in the accept callback */
};

static struct server server;
static struct sim_flow client;
static const struct sim_flow quiet = {.stays_open = true, .keeps = true};

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    struct server *s = arg;
    check(listener == s->listener);
    s->has_one = true;
    if (s->aborts || s->accepted++ > 0) {
        mir_tcp_abort(tcp_given);
        return;
    }
    s->flow = s->model;
    sim_flow_attach(&s->flow, tcp_given);
}

static void listen_on(uint16_t port)
{
    struct mir_tcp_listen_config config = {.on_accept = on_accept, .arg = &server};
    config.local.ip = bed.server_ip;
    config.local.port = port;
    check_int(mir_tcp_listen(bed.server, &config, &server.listener), ==, 0);
    server.at = server.listener->local;
    check_int(server.at.port, !=, 0);
}

/* Opens a bed and a connection whose ends behave as the two models say. */
static void begin(const char *kind, const char *title, const struct sim_flow *client_model,
                  const struct sim_flow *server_model)
{
    tap_case("%s: %s", kind, title);
    open_bed(kind);
    memset(&server, 0, sizeof server);
    server.model = *server_model;
    server.model.tx_key = 2;
    server.model.rx_key = 1;
    client = *client_model;
    client.tx_key = 1;
    client.rx_key = server_model->is_echo ? 1 : 2;
    listen_on(0);
    check_int(sim_flow_connect(&client, bed.client, &server.at), ==, 0);
    check_int(client.handler_calls, ==, 0);
}

static void finish(void)
{
    check_int(client.wrong_at, ==, 0);
    check_int(server.flow.wrong_at, ==, 0);
    sim_flow_fini(&client);
    sim_flow_fini(&server.flow);
    mir_tcp_unlisten(server.listener);
    close_bed();
}

/* ---- cases
 * ------------------------------------------------------------------------------------------ */

static void test_connect(const char *kind)
{
    struct mir_endpoint local, remote, server_local, server_remote;
    struct mir_tcp_info info;
    struct mir_view view;
    begin(kind, "connect and accept", &quiet, &quiet);
    check(run_until(&server.has_one));
    run_for(5000);
    check(client.events & MIR_TCP_CONNECTED);
    mir_tcp_get_endpoints(client.tcp, &local, &remote);
    mir_tcp_get_endpoints(server.flow.tcp, &server_local, &server_remote);
    check(mir_ip_equal(&local.ip, &server_remote.ip) && local.port == server_remote.port);
    check(mir_ip_equal(&remote.ip, &server_local.ip) && remote.port == server_local.port);
    check_int(remote.port, ==, server.at.port);
    mir_tcp_get_info(client.tcp, &info);
    check_int(info.state, ==, MIR_TCP_S_ESTABLISHED);
    check_int(info.mss, >=, 536);
    check_int(mir_tcp_error(client.tcp), ==, 0);
    check_int(mir_tcp_recv_view(client.tcp, &view), ==, -MIR_EAGAIN);
    check_int(mir_tcp_set_option(client.tcp, MIR_TCP_NODELAY, 1), ==, 0);
    check_int(mir_tcp_set_option(client.tcp, MIR_TCP_NODELAY, 2), ==, -MIR_ERANGE);
    check_int(mir_tcp_set_option(client.tcp, MIR_TCP_KEEPALIVE_IDLE_S, 60), ==, 0);
    check_int(mir_tcp_set_option(client.tcp, MIR_TCP_TOS, 0xb8), ==, 0);
    check_int(mir_tcp_set_option(client.tcp, MIR_TCP_TOS, 256), ==, -MIR_ERANGE);
    finish();
}

static void test_refused(const char *kind)
{
    tap_case("%s: refused", kind);
    open_bed(kind);
    memset(&server, 0, sizeof server);
    listen_on(0); /* a port that was free a moment ago */
    mir_tcp_unlisten(server.listener);
    run_for(2000);
    client = quiet;
    check_int(sim_flow_connect(&client, bed.client, &server.at), ==, 0);
    check_int(client.handler_calls, ==, 0);
    check(run_until(&client.is_done));
    check_int(client.events, ==, MIR_TCP_FAILED);
    check_int(client.error, ==, -MIR_ECONNREFUSED);
    sim_flow_fini(&client);
    close_bed();
}

static void test_echo(const char *kind)
{
    begin(kind, "echo of 300,000 bytes in odd pieces, ended by half-close",
          &(struct sim_flow){.to_send = 300000, .chunk = 777}, &(struct sim_flow){.is_echo = true});
    check(run_until(&client.is_done));
    check_int(client.error, ==, 0);
    check_int(client.received, ==, 300000);
    check(run_until(&server.flow.is_done));
    check_int(server.flow.received, ==, 300000);
    finish();
}

static void test_half_close(const char *kind)
{
    struct mir_view view;
    size_t queued;
    begin(kind, "half-close: data flows on in the other direction, then CLOSED",
          &(struct sim_flow){.to_send = 10, .keeps = true}, &quiet);
    check(run_until(&server.flow.has_eof));
    check_int(server.flow.received, ==, 10);
    check_int(mir_tcp_send(client.tcp, "x", 1, &queued), ==, -MIR_ECLOSED);
    check_int(mir_tcp_recv_view(server.flow.tcp, &view), ==, -MIR_EEOF);
    server.flow.to_send = 100000;
    server.flow.stays_open = false;
    sim_flow_kick(&server.flow);
    check(run_until(&client.has_eof));
    check_int(client.received, ==, 100000);
    run_for(300000);
    check(client.events & MIR_TCP_CLOSED);
    check(server.flow.events & MIR_TCP_CLOSED);
    check(!(client.events & MIR_TCP_FAILED));
    check_int(mir_tcp_recv_view(client.tcp, &view), ==, -MIR_EEOF);
    finish();
}

static void test_abort(const char *kind)
{
    begin(kind, "abort is seen as a reset", &quiet, &quiet);
    check(run_until(&server.has_one));
    run_for(5000);
    mir_tcp_abort(server.flow.tcp);
    server.flow.tcp = NULL;
    check(run_until(&client.is_done));
    check(client.events & MIR_TCP_FAILED);
    check_int(client.error, ==, -MIR_ECONNRESET);
    finish();

    begin(kind, "abort inside the accept callback", &quiet, &quiet);
    server.aborts = true;
    check(run_until(&client.is_done));
    check_int(client.error, ==, -MIR_ECONNRESET);
    finish();
}

static void test_close_unread(const char *kind)
{
    begin(kind, "close with unread data is a reset",
          &(struct sim_flow){.to_send = 5000, .stays_open = true, .keeps = true},
          &(struct sim_flow){.is_paused = true, .stays_open = true, .keeps = true});
    check(run_until(&server.has_one));
    run_for(20000);
    check_int(server.flow.readable_count, >, 0);
    mir_tcp_close(server.flow.tcp);
    server.flow.tcp = NULL;
    check(run_until(&client.is_done));
    check_int(client.error, ==, -MIR_ECONNRESET);
    finish();
}

static void test_close_queued(const char *kind)
{
    static uint8_t data[150000];
    size_t queued = 0, sent = 0;
    begin(kind, "close delivers what is queued", &quiet, &(struct sim_flow){0});
    check(run_until(&server.has_one));
    run_for(5000);
    sim_flow_pattern(1, 0, data, sizeof data);
    while (sent < sizeof data &&
           mir_tcp_send(client.tcp, data + sent, sizeof data - sent, &queued) == 0)
        sent += queued;
    check_int(sent, ==, sizeof data);
    mir_tcp_close(client.tcp);
    client.tcp = NULL;
    check(run_until(&server.flow.is_done));
    check_int(server.flow.error, ==, 0);
    check_int(server.flow.received, ==, sizeof data);
    check(server.flow.has_eof);
    finish();
}

static void test_backpressure(const char *kind)
{
    const uint64_t total = 24u << 20;
    begin(kind, "a reader that rests stops the sender; it goes on with WRITABLE",
          &(struct sim_flow){.to_send = total}, &(struct sim_flow){.is_paused = true});
    check(run_until(&server.has_one));
    run_for(MIR_US_PER_S);
    uint64_t stuck = client.sent;
    check_int(stuck, <, total);
    check_int(server.flow.received, ==, 0);
    /* READABLE comes for new data, not again and again. */
    check_int(server.flow.handler_calls, <, 20000);
    run_for(MIR_US_PER_S / 2);
    check_int(client.sent, ==, stuck);
    server.flow.is_paused = false;
    sim_flow_kick(&server.flow);
    check(run_until(&server.flow.is_done));
    check_int(server.flow.received, ==, total);
    check_int(client.writable_count, >, 0);
    check(run_until(&client.is_done));
    check_int(client.error, ==, 0);
    finish();
}

static void test_small_writes(const char *kind)
{
    begin(kind, "one byte a write", &(struct sim_flow){.to_send = 20000, .chunk = 1},
          &(struct sim_flow){.is_echo = true});
    check(run_until(&client.is_done));
    check_int(client.received, ==, 20000);
    check_int(client.error, ==, 0);
    check(run_until(&server.flow.is_done));
    finish();
}

static void test_large(const char *kind)
{
    for (int use_views = 0; use_views < 2; use_views++) {
        const struct sim_flow both = {
            .to_send = 6u << 20, .use_views = use_views != 0, .chunk = 60000};
        begin(kind,
              use_views ? "6 MiB in both directions, by reference"
                        : "6 MiB in both directions, by copy",
              &both, &both);
        check(run_until(&client.is_done));
        check(run_until(&server.flow.is_done));
        check_int(client.received, ==, both.to_send);
        check_int(server.flow.received, ==, both.to_send);
        check_int(client.error, ==, 0);
        check_int(server.flow.error, ==, 0);
        finish();
    }
}

static void test_ports(const char *kind)
{
    struct mir_tcp_listen_config config = {.on_accept = on_accept, .arg = &server};
    struct mir_tcp_listener *other;
    begin(kind, "a port in use is refused; it is free after unlisten, connections live on", &quiet,
          &(struct sim_flow){.is_echo = true});
    config.local = server.at;
    check_int(mir_tcp_listen(bed.server, &config, &other), ==, -MIR_EADDRINUSE);
    config.local.ip = mir_ip_from_v4(0x01020304);
    config.local.port = 0;
    check_int(mir_tcp_listen(bed.server, &config, &other), ==, -MIR_EADDRNOTAVAIL);
    check(run_until(&server.has_one));
    run_for(5000);
    mir_tcp_unlisten(server.listener);
    run_for(5000);
    listen_on(server.at.port);
    client.to_send = 1000;
    client.stays_open = client.keeps = false;
    sim_flow_kick(&client);
    check(run_until(&client.is_done));
    check_int(client.received, ==, 1000);
    finish();
}

static void test_states(const char *kind)
{
    struct mir_endpoint nowhere = {.port = 80};
    struct mir_tcp *tcp;
    size_t queued;
    uint8_t data[100];
    begin(kind, "what is sent before the connection is there arrives", &quiet, &quiet);
    sim_flow_pattern(1, 0, data, sizeof data);
    check_int(mir_tcp_send(client.tcp, data, sizeof data, &queued), ==, 0);
    check_int(queued, ==, sizeof data);
    check_int(mir_tcp_shutdown(client.tcp), ==, 0);
    check_int(mir_tcp_send(client.tcp, data, 1, &queued), ==, -MIR_ECLOSED);
    check(run_until(&server.flow.has_eof));
    check_int(server.flow.received, ==, sizeof data);
    finish();

    begin(kind, "an unconnected object can be closed", &quiet, &quiet);
    mir_tcp_close(client.tcp); /* while connecting */
    client.tcp = NULL;
    run_for(20000);
    nowhere.ip = mir_ip_from_v4(0xf0000001); /* class E */
    int r = mir_tcp_connect(bed.client, &nowhere, NULL, NULL, &tcp);
    if (r == 0)
        mir_tcp_abort(tcp);
    else
        check(r == -MIR_ENETUNREACH || r == -MIR_EINVAL);
    finish();
}

/* ---- UDP
 * ------------------------------------------------------------------------------------------- */

struct datagrams {
    struct mir_udp *udp;
    bool is_echo, has_one;
    uint32_t count, wrong;
    uint32_t len;
    struct mir_endpoint from;
    struct mir_udp_meta meta;
    struct mir_udp_error error;
    bool has_error;
};

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta,
                        struct mir_buf *buf_given, void *arg)
{
    static uint8_t data[70000], good[70000];
    struct datagrams *d = arg;
    d->count++;
    d->len = mir_buf_total(buf_given);
    d->from = meta->from;
    d->meta = *meta;
    d->has_one = true;
    check_int(mir_buf_copy_out(buf_given, 0, data, d->len), ==, 0);
    sim_flow_pattern(d->len, 0, good, d->len);
    d->wrong += memcmp(data, good, d->len) != 0;
    mir_buf_release(buf_given);
    if (d->is_echo)
        check_int(mir_udp_send(udp, &meta->from, data, d->len), ==, 0);
}

/* Even lengths by copy, odd ones in a buffer of ours. */
static void send_datagram(struct datagrams *d, const struct mir_endpoint *to, uint32_t len)
{
    static uint8_t data[70000];
    sim_flow_pattern(len, 0, data, len);
    if (len % 2 == 0) {
        check_int(mir_udp_send(d->udp, to, data, len), ==, 0);
        return;
    }
    struct mir_buf *buf =
        mir_buf_alloc_page(bed.client->bufs, MIR_BUF_HEADROOM + (size_t)len, MIR_BUF_HEADROOM);
    memcpy(mir_buf_append(buf, len), data, len);
    check_int(mir_udp_send_buf(d->udp, to, buf), ==, 0);
}

static void test_udp(const char *kind)
{
    static const uint32_t lens[] = {0, 1, 2, 1472, 1473, 3999, 4001, 20000, 65507};
    static uint8_t large[66000];
    struct datagrams ours = {0}, theirs = {.is_echo = true};
    struct mir_endpoint at = {0}, bound;
    struct mir_udp *other;
    tap_case("%s: datagrams of all sizes come back", kind);
    open_bed(kind);
    at.ip = bed.server_ip;
    check_int(mir_udp_open(bed.server, &at, on_datagram, &theirs, &theirs.udp), ==, 0);
    theirs.udp->ops->local(theirs.udp, &bound);
    check_int(bound.port, !=, 0);
    at.ip = mir_ip_from_v4(0);
    check_int(mir_udp_open(bed.client, &at, on_datagram, &ours, &ours.udp), ==, 0);
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        ours.has_one = false;
        send_datagram(&ours, &bound, lens[i]);
        check(run_until(&ours.has_one));
        check_int(ours.len, ==, lens[i]);
        check_int(ours.from.port, ==, bound.port);
    }
    check_int(ours.wrong, ==, 0);
    check_int(theirs.wrong, ==, 0);
    bool is_v4 = mir_ip_is_v4(&bound.ip);
    check_int(mir_udp_send(ours.udp, &bound, large, is_v4 ? 65508 : 65528), ==, -MIR_ETOOBIG);
    check_int(mir_udp_open(bed.server, &bound, on_datagram, &theirs, &other), ==, -MIR_EADDRINUSE);
    tap_case("%s: a socket of IPv4 sends nothing to the last bytes of an IPv6 address", kind);
    at = bound;
    check_int(mir_ip_parse("2001:db8::7f00:1", 16, &at.ip), ==, 0);
    check(!is_v4 || mir_udp_send(theirs.udp, &at, large, 100) < 0);
    mir_udp_close(ours.udp);
    mir_udp_close(theirs.udp);
    run_for(2000);
    check_int(mir_udp_open(bed.server, &bound, on_datagram, &theirs, &other), ==, 0);
    mir_udp_close(other);
    close_bed();
}

static void on_refused(struct mir_udp *udp, const struct mir_udp_error *error, void *arg)
{
    struct datagrams *d = arg;
    (void)udp;
    d->error = *error;
    d->has_error = true;
}

/* What every stack must do alike beyond sending and receiving. */
static void test_udp_more(const char *kind)
{
    struct datagrams ours = {0}, theirs = {0};
    struct mir_endpoint any = {0}, at = {.ip = bed.server_ip}, bound, local, none = {0};
    static uint8_t data[100];
    struct mir_udp_msg msg = {.ttl = 9, .tos = 0x48};
    struct mir_udp *other;
    sim_flow_pattern(100, 0, data, 100);
    open_bed(kind);
    at.ip = bed.server_ip;
    check_int(mir_udp_open(bed.server, &at, on_datagram, &theirs, &theirs.udp), ==, 0);
    mir_udp_get_local(theirs.udp, &bound);
    check_int(mir_udp_open(bed.client, &any, on_datagram, &ours, &ours.udp), ==, 0);
    tap_case("%s: a message's TTL and TOS, and where it was sent to", kind);
    msg.to = bound;
    struct mir_buf *buf = mir_buf_alloc(bed.client->bufs, MIR_BUF_HEADROOM);
    memcpy(mir_buf_append(buf, 100), data, 100);
    check_int(mir_udp_send_msg(ours.udp, &msg, buf), ==, 0);
    check(run_until(&theirs.has_one));
    check_int(theirs.meta.ttl, ==, 9);
    check_int(theirs.meta.tos, ==, 0x48);
    check(mir_ip_equal(&theirs.meta.to.ip, &bed.server_ip));
    check_int(theirs.meta.to.port, ==, bound.port);
    check_int(theirs.meta.if_index, >, 0);
    check(!theirs.meta.is_group);
    tap_case("%s: a connected socket has a source address and sends without a destination", kind);
    check_int(mir_udp_send(ours.udp, NULL, data, 100), ==, -MIR_ENOTCONN);
    check_int(mir_udp_connect(ours.udp, &bound), ==, 0);
    mir_udp_get_local(ours.udp, &local);
    check(!mir_ip_is_any(&local.ip));
    theirs.has_one = false;
    check_int(mir_udp_send(ours.udp, NULL, data, 100), ==, 0);
    check(run_until(&theirs.has_one));
    check_int(theirs.from.port, ==, local.port);
    tap_case("%s: it hears its peer and nobody else", kind);
    struct datagrams stranger = {0};
    at.port = 0;
    check_int(mir_udp_open(bed.server, &at, on_datagram, &stranger, &stranger.udp), ==, 0);
    check_int(mir_udp_send(stranger.udp, &local, data, 100), ==, 0);
    check_int(mir_udp_send(theirs.udp, &local, data, 100), ==, 0);
    check(run_until(&ours.has_one));
    run_for(2000);
    check_int(ours.count, ==, 1);
    check_int(ours.from.port, ==, bound.port);
    tap_case("%s: a closed port is told to the error handler, or to the next call", kind);
    mir_udp_set_handler(ours.udp, on_datagram, on_refused, &ours);
    mir_udp_close(theirs.udp);
    run_for(2000);
    check_int(mir_udp_send(ours.udp, NULL, data, 100), ==, 0);
    check(run_until(&ours.has_error));
    check_int(ours.error.err, ==, -MIR_ECONNREFUSED);
    check_int(ours.error.to.port, ==, bound.port);
    mir_udp_set_handler(ours.udp, on_datagram, NULL, &ours);
    check_int(mir_udp_send(ours.udp, NULL, data, 100), ==, 0);
    for (int i = 0; i < 1000 && ours.udp->error == 0; i++)
        run_for(1000);
    check_int(mir_udp_send(ours.udp, NULL, data, 100), ==, -MIR_ECONNREFUSED);
    check_int(mir_udp_send(ours.udp, NULL, data, 100), ==, 0);
    tap_case("%s: disconnected, it keeps its port", kind);
    check_int(mir_udp_connect(ours.udp, &none), ==, 0);
    ours.has_one = false;
    check_int(mir_udp_send(stranger.udp, &local, data, 100), ==, 0);
    check(run_until(&ours.has_one));
    tap_case("%s: a port is shared by consent only", kind);
    struct mir_udp_config share = {.local = local, .reuse_addr = true};
    share.local.ip = any.ip;
    check_int(mir_udp_open_config(bed.client, &share, &other), ==, -MIR_EADDRINUSE);
    share.local.port = 0;
    check_int(mir_udp_open_config(bed.client, &share, &other), ==, 0);
    mir_udp_get_local(other, &share.local);
    share.local.ip = any.ip;
    struct mir_udp *second;
    check_int(mir_udp_open_config(bed.client, &share, &second), ==, 0);
    mir_udp_close(second);
    mir_udp_close(other);
    mir_udp_close(ours.udp);
    mir_udp_close(stranger.udp);
    close_bed();
}

/* ---- many at a time
 * ----------------------------------------------------------------------------------- */

#define MANY 300

static struct sim_flow many[MANY], many_echo[MANY];
static uint32_t many_accepted;

static void on_accept_many(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener, (void)arg;
    struct sim_flow *flow = &many_echo[many_accepted++];
    *flow = (struct sim_flow){.is_echo = true, .rx_key = 7};
    sim_flow_attach(flow, tcp_given);
}

static void run_many(void)
{
    struct mir_tcp_listen_config config = {.on_accept = on_accept_many, .backlog = 512};
    struct mir_tcp_listener *listener;
    many_accepted = 0;
    config.local.ip = bed.server_ip;
    check_int(mir_tcp_listen(bed.server, &config, &listener), ==, 0);
    for (uint64_t i = 0; i < MANY; i++) {
        many[i] = (struct sim_flow){.to_send = 100 + 37 * i, .tx_key = 7, .rx_key = 7};
        check_int(sim_flow_connect(&many[i], bed.client, &listener->local), ==, 0);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        check(run_until(&many[i].is_done));
        check_int(many[i].error, ==, 0);
        check_int(many[i].received, ==, 100 + 37 * i);
        check_int(many[i].wrong_at, ==, 0);
    }
    check_int(many_accepted, ==, MANY);
    run_for(50000);
    for (uint32_t i = 0; i < MANY; i++) {
        check_int(many_echo[i].wrong_at, ==, 0);
        sim_flow_fini(&many[i]);
        sim_flow_fini(&many_echo[i]);
    }
    mir_tcp_unlisten(listener);
    close_bed();
}

static void test_many(const char *kind)
{
    tap_case("%s: %d connections at a time", kind, MANY);
    open_bed(kind);
    run_many();
}

static void test_socket_limit(void)
{
    tap_case("socket: at the limit of connections accepting pauses and nobody is turned away");
    memset(&bed, 0, sizeof bed);
    /* Clients count too: all connect, and only a few are served at a time. */
    open_socket(&(struct mir_host_stack_limits){.tcp_connections_max = MANY + 10});
    run_many();
}

int main(int argc, char **argv)
{
    static const char *const kinds[] = {"direct", "direct IPv6", "socket", "socket IPv6"};
    static void (*const tests[])(const char *) = {
        test_connect,      test_refused,      test_echo,  test_half_close,   test_abort,
        test_close_unread, test_close_queued, test_ports, test_backpressure, test_small_writes,
        test_large,        test_states,       test_udp,   test_udp_more,     test_many,
    };
    tap_begin("stack_contract");
    seed = tap_seed(argc, argv, 1);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
            tests[i](kinds[k]);
    }
    test_socket_limit();
    return tap_done();
}
