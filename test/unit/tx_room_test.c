/* SPDX-License-Identifier: ISC */
/* A device that is full: what the stack does with TCP, UDP and control packets until there is room
 * again, or never. The device refuses what comes when it has no place left, and no test here lets
 * it come to that. */
#include <stdlib.h>
#include <string.h>

#include "test/harness/stacks.h"
#include "test/harness/tap.h"
#include "test/harness/tcp_pair.h"

#define RING    32u
#define SLOT_US 100u
#define FLOWS   4u

static struct tcp_pair pair;

/* One direction of one connection. */
static struct flow {
    struct mir_tcp *tcp, *peer;
    uint64_t total, sent, received;
    bool is_wrong, is_over;
    int error;
} flows[FLOWS];
static uint32_t flows_open;

static void open_pair(uint32_t caps, uint32_t ring)
{
    struct tcp_pair_config config = {.seed = 7, .caps = caps, .tx_room = ring, .slot_us = SLOT_US};
    memset(flows, 0, sizeof flows);
    flows_open = 0;
    tcp_pair_open(&pair, &config);
}

static uint64_t stat_of(int side, const char *name)
{
    return tcp_pair_stat(&pair, side, name);
}

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 131 + (offset >> 8) * 17 + (offset >> 16));
}

static void over(struct flow *flow)
{
    if (!flow->is_over && --flows_open == 0)
        pair.stop = true;
    flow->is_over = true;
}

static void on_server(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct flow *flow = arg;
    struct mir_view view;
    int r = -MIR_EAGAIN;
    while (!(events & MIR_TCP_FAILED) && (r = mir_tcp_recv_view(tcp, &view)) == 0) {
        for (uint32_t i = 0; i < view.len; i++)
            flow->is_wrong |= view.data[i] != byte_at(flow->received + i);
        flow->received += view.len;
        mir_view_release(&view);
    }
    if (r == -MIR_EEOF || events & MIR_TCP_FAILED) {
        mir_tcp_close(tcp);
        flow->peer = NULL;
        over(flow);
    }
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp, void *arg)
{
    struct flow *flow = &flows[listener->local.port - 80];
    (void)arg;
    flow->peer = tcp;
    mir_tcp_set_handler(tcp, on_server, flow);
}

static void on_client(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct flow *flow = arg;
    static uint8_t block[32768];
    if (events & MIR_TCP_FAILED) {
        flow->error = mir_tcp_error(tcp);
        mir_tcp_close(tcp);
        flow->tcp = NULL;
        over(flow);
        return;
    }
    while (flow->sent < flow->total) {
        size_t len = (size_t)MIR_MIN(flow->total - flow->sent, (uint64_t)sizeof block), queued;
        for (size_t i = 0; i < len; i++)
            block[i] = byte_at(flow->sent + i);
        if (mir_tcp_send(tcp, block, len, &queued) < 0)
            return;
        flow->sent += queued;
    }
    if (flow->total > 0 && flow->tcp != NULL) {
        flow->tcp = NULL;
        mir_tcp_close(tcp);
    }
}

static void begin_flow(uint32_t index, uint64_t total)
{
    struct mir_tcp_listener *listener;
    struct mir_tcp_listen_config config = {.local = {mir_ip_from_v4(0), (uint16_t)(80 + index)},
                                           .on_accept = on_accept};
    struct mir_endpoint remote = {pair.side[0].ip, (uint16_t)(80 + index)};
    struct flow *flow = &flows[index];
    flow->total = total;
    flows_open++;
    check_int(mir_tcp_listen(pair.side[0].stack, &config, &listener), ==, 0);
    check_int(mir_tcp_connect(pair.side[1].stack, &remote, on_client, flow, &flow->tcp), ==, 0);
}

static void check_no_harm(void)
{
    for (int i = 0; i < 2; i++) {
        check_int(pair.side[i].refused, ==, 0);
        check_int(stat_of(i, "retransmits"), ==, 0);
        check_int(stat_of(i, "timeouts"), ==, 0);
        check_int(stat_of(i, "tx_dropped"), ==, 0);
    }
}

/* ---- TCP ----------------------------------------------------------------------------------------
 */

static void test_bulk(const char *what, uint32_t caps, uint32_t ring)
{
    tap_case("%s through a device that is full nearly always: nothing is lost or sent twice", what);
    open_pair(caps, ring);
    begin_flow(0, 8 << 20);
    check(tcp_pair_run(&pair, 60 * MIR_US_PER_S));
    check_int(flows[0].received, ==, 8 << 20);
    check(!flows[0].is_wrong);
    check_int(stat_of(1, "output_blocked"), >, 10);
    check_no_harm();
    tcp_pair_run(&pair, 130 * MIR_US_PER_S);
    tcp_pair_close(&pair);
}

static void test_fair(void)
{
    uint64_t least = UINT64_MAX, most = 0;
    tap_case("connections that wait for room get it in turn");
    open_pair(0, RING);
    for (uint32_t i = 0; i < FLOWS; i++)
        begin_flow(i, 16 << 20);
    check(!tcp_pair_run(&pair, 3 * MIR_US_PER_S));
    for (uint32_t i = 0; i < FLOWS; i++) {
        least = MIR_MIN(least, flows[i].received);
        most = MIR_MAX(most, flows[i].received);
    }
    tap_note("received in 3 s: %llu to %llu KiB", (unsigned long long)least >> 10,
             (unsigned long long)most >> 10);
    check_int(least, >, most / 2);
    /* The device was never idle meanwhile. */
    check_int(pair.side[1].frames, >, 3 * MIR_US_PER_S / SLOT_US * 9 / 10);
    check_no_harm();
    tcp_pair_close(&pair);
}

static void test_pause(void)
{
    tap_case("a device that pauses for seconds: no timeout is taken for a loss");
    open_pair(0, RING);
    begin_flow(0, 4 << 20);
    check(!tcp_pair_run(&pair, 100 * MIR_US_PER_MS));
    check_int(flows[0].received, >, 0);
    for (int i = 0; i < 3; i++) {
        pair.side[1].is_stuck = true;
        check(!tcp_pair_run(&pair, 5 * MIR_US_PER_S));
        pair.side[1].is_stuck = false;
        tcp_pair_run(&pair, 50 * MIR_US_PER_MS);
    }
    check_int(stat_of(1, "timeouts_deferred"), >, 0);
    check(tcp_pair_run(&pair, 60 * MIR_US_PER_S));
    check_int(flows[0].received, ==, 4 << 20);
    check(!flows[0].is_wrong);
    check_no_harm();
    tcp_pair_run(&pair, 130 * MIR_US_PER_S);
    tcp_pair_close(&pair);
}

static void test_never(void)
{
    tap_case("a device that never sends again: connections end by their limits, nothing is left");
    open_pair(0, RING);
    begin_flow(0, 4 << 20);
    begin_flow(1, 4 << 20);
    check(!tcp_pair_run(&pair, 100 * MIR_US_PER_MS));
    check_int(flows[0].received, >, 0);
    pair.side[1].is_stuck = true;
    if (flows[1].tcp != NULL)
        check_int(mir_tcp_set_option(flows[1].tcp, MIR_TCP_USER_TIMEOUT_MS, 20000), ==, 0);
    tcp_pair_run(&pair, 60 * MIR_US_PER_S);
    check_int(flows[1].error, ==, -MIR_ETIMEDOUT);
    check_int(flows[0].error, ==, 0);
    tcp_pair_run(&pair, 3600 * MIR_US_PER_S);
    check_int(flows[0].error, ==, -MIR_ETIMEDOUT);
    check_int(stat_of(1, "connections"), ==, 0);
    check_int(stat_of(1, "memory_used_bytes"), ==, 0);
    check_int(pair.side[1].ring.count, <=, RING + MIR_NET_TX_KEPT);
    tcp_pair_close(&pair);
}

static void test_control(void)
{
    tap_case("a SYN passes a device that has no room for data");
    open_pair(0, RING);
    begin_flow(0, 64 << 20);
    check(!tcp_pair_run(&pair, 500 * MIR_US_PER_MS));
    pair.side[1].is_stuck = true;
    tcp_pair_run(&pair, 10 * MIR_US_PER_MS);
    check_int(mir_net_dev_tx_room(&pair.side[1].dev), ==, 0);
    check_int(pair.side[1].ring.count, ==, RING);
    begin_flow(1, 1000);
    tcp_pair_run(&pair, 5 * MIR_US_PER_MS);
    check_int(pair.side[1].ring.count, ==, RING + 1);
    pair.side[1].is_stuck = false;
    tcp_pair_run(&pair, 50 * MIR_US_PER_MS);
    check(flows[1].peer != NULL || flows[1].is_over);
    check_no_harm();
    tcp_pair_close(&pair);
}

/* ---- UDP ----------------------------------------------------------------------------------------
 */

static struct {
    struct mir_udp *from, *to;
    uint32_t got, wrong;
    /* the task */
    uint32_t count, sent;
    mir_time_us wait_us;
    int result;
    bool is_done;
} udp;

static void on_datagram(struct mir_udp *socket, const struct mir_udp_meta *meta,
                        struct mir_buf *buf_given, void *arg)
{
    uint32_t number;
    (void)socket;
    (void)meta;
    (void)arg;
    if (mir_buf_copy_out(buf_given, 0, &number, sizeof number) < 0 || number != udp.got)
        udp.wrong++;
    udp.got++;
    mir_buf_release(buf_given);
}

static void open_udp(void)
{
    struct mir_endpoint to = {mir_ip_from_v4(0), 9}, from = {mir_ip_from_v4(0), 0};
    open_pair(0, RING);
    memset(&udp, 0, sizeof udp);
    check_int(mir_udp_open(pair.side[0].stack, &to, on_datagram, NULL, &udp.to), ==, 0);
    check_int(mir_udp_open(pair.side[1].stack, &from, NULL, NULL, &udp.from), ==, 0);
    /* The neighbour is asked first. */
    struct mir_endpoint peer = {pair.side[0].ip, 9};
    check_int(mir_udp_send(udp.from, &peer, &(uint32_t){0}, 4), ==, 0);
    tcp_pair_run(&pair, 10 * MIR_US_PER_MS);
    check_int(udp.got, ==, 1);
}

static void test_udp_full(void)
{
    uint8_t data[1000] = {0};
    uint32_t count = 0, refused = 0;
    tap_case("UDP is refused at a full device, and counted; nothing is refused by the device");
    open_udp();
    struct mir_endpoint peer = {pair.side[0].ip, 9};
    for (int i = 0; i < 100; i++) {
        uint32_t number = 1 + count;
        memcpy(data, &number, sizeof number);
        int r = mir_udp_send(udp.from, &peer, data, sizeof data);
        count += r == 0;
        refused += r == -MIR_EAGAIN;
    }
    check_int(count, ==, RING);
    check_int(refused, ==, 100 - RING);
    check_int(stat_of(1, "tx_no_room"), ==, 100 - RING);
    tcp_pair_run(&pair, 10 * MIR_US_PER_MS);
    check_int(udp.got, ==, 1 + count);
    check_int(udp.wrong, ==, 0);
    check_no_harm();
    tcp_pair_close(&pair);
}

static void send_all(void *arg)
{
    struct mir_endpoint peer = {pair.side[0].ip, 9};
    (void)arg;
    for (; udp.sent < udp.count; udp.sent++) {
        uint32_t number = 1 + udp.sent;
        udp.result = mir_udp_send_wait(udp.from, &peer, &number, sizeof number,
                                       mir_loop_now(&pair.loop) + udp.wait_us);
        if (udp.result < 0)
            break;
    }
    udp.is_done = true;
}

static void spawn(struct test_stacks *stacks, uint32_t count, mir_time_us wait_us)
{
    test_stacks_init(stacks, 2);
    udp.count = count;
    udp.wait_us = wait_us;
    check_int(mir_task_spawn(&pair.loop, &stacks->source, "sender", 0, send_all, NULL, NULL), ==,
              0);
}

static void test_udp_wait(void)
{
    struct test_stacks stacks;
    tap_case("a task that waits for room sends everything, in order");
    open_udp();
    spawn(&stacks, 500, MIR_US_PER_S);
    tcp_pair_run(&pair, 500 * SLOT_US + 20 * MIR_US_PER_MS);
    check(udp.is_done);
    check_int(udp.result, ==, 0);
    check_int(udp.got, ==, 501);
    check_int(udp.wrong, ==, 0);
    check_no_harm();
    tap_case("it is told when time is up");
    pair.side[1].is_stuck = true;
    udp.is_done = false;
    udp.sent = 0;
    spawn(&stacks, 500, 2 * MIR_US_PER_S);
    tcp_pair_run(&pair, 1900 * MIR_US_PER_MS);
    check(!udp.is_done);
    tcp_pair_run(&pair, 200 * MIR_US_PER_MS);
    check(udp.is_done);
    check_int(udp.result, ==, -MIR_ETIMEDOUT);
    check_int(udp.sent, ==, RING);
    tap_case("and when its stack is closed meanwhile");
    udp.is_done = false;
    udp.sent = 0;
    spawn(&stacks, 500, 1000 * MIR_US_PER_S);
    tcp_pair_run(&pair, 100 * MIR_US_PER_MS);
    check(!udp.is_done);
    tcp_pair_close(&pair);
    mir_time_us next_us;
    mir_loop_step(&pair.loop, pair.now_us, &next_us);
    check(udp.is_done);
    check_int(udp.result, ==, -MIR_ECLOSED);
    check_int(stacks.used, ==, 0);
}

int main(void)
{
    test_bulk("bulk data", 0, RING);
    test_bulk("large segments",
              MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_RX_CSUM | MIR_NET_RX_GRO | MIR_NET_TX_SG,
              4);
    test_fair();
    test_pause();
    test_never();
    test_control();
    test_udp_full();
    test_udp_wait();
    return tap_done();
}
