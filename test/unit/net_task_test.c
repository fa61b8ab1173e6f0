/* SPDX-License-Identifier: ISC */
/* Two stacks on one cable: calls of tasks that look blocking, and ICMP that reaches TCP. */
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/stacks.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

enum { PORT = 80, BYTES = 300000 };

static struct testbed bed; /* the client's; the server shares its pools and its loop */
static struct testdev server_dev;
static struct mir_net *server;
static struct test_stacks stacks;
static bool is_cut; /* the cable */
static uint32_t echoed;
static int ended;

static void open_both(void)
{
    struct mir_net_config config;
    struct mir_net_if_config interface = {.ip = mir_ip_from_v4(0x0a000009), .prefix_len = 24};
    testbed_init(&bed, 5, 16 << 20, MIR_NET_TX_SG);
    testbed_open(&bed, NULL);
    config = (struct mir_net_config){
        .loop = &bed.loop, .pages = &bed.pages, .bufs = &bed.bufs, .rng = &bed.rng};
    testdev_init(&server_dev, &bed.bufs, 1500, 0);
    server_dev.dev.info.mac[5] = 9;
    check_int(mir_net_open(&config, &server), ==, 0);
    check_int(mir_net_add_interface(server, &server_dev.dev, &interface), ==, 0);
    test_stacks_init(&stacks, 16);
    is_cut = false;
    echoed = 0;
    ended = 0;
}

static bool carry(struct testdev *from, struct testdev *to)
{
    const struct testdev_frame *frame;
    bool any = false;
    while ((frame = testdev_next(from)) != NULL) {
        any = true;
        if (!is_cut)
            testdev_inject_more(to, frame->data, frame->len, 0);
    }
    if (any)
        testdev_end_batch(to);
    return any;
}

/* Let time go on by up to @delta_us while frames go to and fro. */
static void run(mir_time_us delta_us)
{
    mir_time_us end_us = bed.now_us + delta_us, next;
    for (;;) {
        bool is_moving;
        do {
            testbed_run(&bed);
            is_moving = carry(&bed.dev, &server_dev);
            is_moving = carry(&server_dev, &bed.dev) || is_moving;
        } while (is_moving);
        mir_loop_step(&bed.loop, bed.now_us, &next);
        if (bed.now_us >= end_us)
            return;
        bed.now_us = MIR_MIN(MIR_MAX(next, bed.now_us), end_us);
    }
}

static void close_both(void)
{
    run(300 * MIR_US_PER_S);
    mir_net_close(server);
    testbed_close(&bed);
    testdev_fini(&server_dev);
    check_int(stacks.used, ==, 0);
}

static void spawn(void (*entry)(void *arg), void *arg)
{
    check_int(mir_task_spawn(&bed.loop, &stacks.source, "test", 0, entry, arg, NULL), ==, 0);
}

/* ---- the server: a task for each connection -------------------------------------------------- */

static void serve(void *arg)
{
    struct mir_tcp_task flow;
    struct mir_view view;
    mir_tcp_task_init(&flow, arg);
    int r;
    while ((r = mir_tcp_recv_view_wait(&flow, MIR_TIME_NEVER, &view)) == 0) {
        echoed += view.len;
        r = mir_tcp_send_view_wait(&flow, view, MIR_TIME_NEVER);
        if (r < 0)
            break;
    }
    ended = r;
    mir_tcp_task_close(&flow);
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp, void *arg)
{
    (void)listener, (void)arg;
    spawn(serve, tcp);
}

static void listen_on_server(void)
{
    struct mir_tcp_listen_config config = {.local = {.ip = mir_ip_from_v4(0), .port = PORT},
                                           .on_accept = on_accept};
    struct mir_tcp_listener *listener;
    check_int(mir_tcp_listen(mir_net_stack(server), &config, &listener), ==, 0);
}

/* ---- the client ------------------------------------------------------------------------------ */

static struct mir_endpoint remote = {.port = PORT};
static int result;
static uint32_t received;
static bool is_right;

static void send_all(void *arg)
{
    static uint8_t data[BYTES];
    for (uint32_t i = 0; i < BYTES; i++)
        data[i] = (uint8_t)(i * 13 + i / 257);
    result = mir_tcp_send_wait(arg, data, BYTES, MIR_TIME_NEVER);
    (void)mir_tcp_shutdown(((struct mir_tcp_task *)arg)->tcp);
}

static void talk(void *arg)
{
    struct mir_tcp_task flow;
    struct mir_view view;
    int r;
    (void)arg;
    received = 0;
    is_right = true;
    result = mir_tcp_connect_wait(bed.stack, &remote, MIR_TIME_NEVER, &flow);
    if (result < 0)
        return;
    spawn(send_all, &flow);
    while ((r = mir_tcp_recv_view_wait(&flow, MIR_TIME_NEVER, &view)) == 0) {
        for (uint32_t i = 0; i < view.len; i++, received++)
            is_right &= view.data[i] == (uint8_t)(received * 13 + received / 257);
        mir_view_release(&view);
    }
    if (result == 0 && r != -MIR_EEOF)
        result = r;
    mir_tcp_task_close(&flow);
}

static void connect_for_a_second(void *arg)
{
    struct mir_tcp_task flow;
    (void)arg;
    result = 1;
    result = mir_tcp_connect_wait(bed.stack, &remote, bed.now_us + MIR_US_PER_S, &flow);
    if (result == 0)
        mir_tcp_task_close(&flow);
}

static void receive_for_a_second(void *arg)
{
    struct mir_tcp_task flow;
    struct mir_view view;
    (void)arg;
    result = 1;
    if (mir_tcp_connect_wait(bed.stack, &remote, MIR_TIME_NEVER, &flow) < 0)
        return;
    result = mir_tcp_recv_view_wait(&flow, mir_loop_now(&bed.loop) + MIR_US_PER_S, &view);
    mir_tcp_task_close(&flow);
}

/* Sends until nothing more fits, then by view: both must give up at their deadline. */
static int view_result;
static void send_into_nothing(void *arg)
{
    static uint8_t data[3 << 20];
    struct mir_tcp_task flow;
    struct mir_io_page *page;
    (void)arg;
    result = 1;
    if (mir_tcp_connect_wait(bed.stack, &remote, MIR_TIME_NEVER, &flow) < 0)
        return;
    is_cut = true;
    mir_time_us deadline_us = mir_loop_now(&bed.loop) + MIR_US_PER_S;
    result = mir_tcp_send_wait(&flow, data, sizeof data, deadline_us);
    check_int(mir_page_alloc(&bed.pages, 4096, 0, &page), ==, 0);
    view_result =
        mir_tcp_send_view_wait(&flow, mir_view_of_page(page, 0, 4096), deadline_us + 1000);
    check_int(page->refs, ==, 1);
    mir_page_release(page);
    mir_tcp_abort(flow.tcp);
    is_cut = false;
}

static void test_tasks(void)
{
    open_both();
    listen_on_server();
    remote.ip = mir_ip_from_v4(0x0a000009);
    tap_case("300,000 bytes to an echo server and back, by tasks");
    spawn(talk, NULL);
    run(30 * MIR_US_PER_S);
    check_int(result, ==, 0);
    check_int(received, ==, BYTES);
    check_int(echoed, ==, BYTES);
    check(is_right);
    check_int(ended, ==, -MIR_EEOF);
    tap_case("nobody sends: recv_view_wait gives up at its deadline");
    spawn(receive_for_a_second, NULL);
    run(2 * MIR_US_PER_S);
    check_int(result, ==, -MIR_ETIMEDOUT);
    tap_case("nobody acknowledges: send_wait and send_view_wait give up at theirs");
    spawn(send_into_nothing, NULL);
    run(3 * MIR_US_PER_S);
    check_int(result, ==, -MIR_ETIMEDOUT);
    check_int(view_result, ==, -MIR_ETIMEDOUT);
    tap_case("a closed port refuses");
    remote.port = PORT + 1;
    spawn(connect_for_a_second, NULL);
    run(2 * MIR_US_PER_S);
    check_int(result, ==, -MIR_ECONNREFUSED);
    tap_case("a host that is not there: connect_wait gives up at its deadline");
    remote.ip = mir_ip_from_v4(0x0a0000aa);
    remote.port = PORT;
    spawn(connect_for_a_second, NULL);
    run(2 * MIR_US_PER_S);
    check_int(result, ==, -MIR_ETIMEDOUT);
    close_both();
}

/* ---- waiting for an address ------------------------------------------------------------------ */

static struct mir_ip address;

static void wait_address(void *arg)
{
    result = 1;
    result = mir_stack_wait_address(bed.stack, bed.now_us + *(mir_time_us *)arg, &address);
}

static void test_address(void)
{
    static mir_time_us second = MIR_US_PER_S, minute = 60 * MIR_US_PER_S;
    struct mir_net_if_config config = {.use_dhcp = true};
    testbed_init(&bed, 5, 4 << 20, 0);
    testbed_open_if(&bed, NULL, &config);
    test_stacks_init(&stacks, 16);
    tap_case("no address comes: the wait ends at its deadline");
    spawn(wait_address, &second);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    check_int(result, ==, -MIR_ETIMEDOUT);
    tap_case("an address comes: the wait ends at once");
    spawn(wait_address, &minute);
    testbed_advance(&bed, MIR_US_PER_S);
    check_int(result, ==, 1);
    mir__iface_set_address(&bed.net->ifaces[0], TESTBED_IP, 24, 0);
    testbed_run(&bed);
    check_int(result, ==, 0);
    check_int(mir_ip_to_v4(&address), ==, TESTBED_IP);
    testbed_close(&bed);
}

/* ---- ICMP to TCP ----------------------------------------------------------------------------- */

static unsigned tcp_events;

static void on_event(struct mir_tcp *tcp, unsigned events, void *arg)
{
    (void)tcp, (void)arg;
    tcp_events |= events;
}

/* Answers the last frame sent with an ICMP error that quotes it. */
static void inject_error(uint8_t type, uint8_t code, uint16_t mtu, uint32_t spoil)
{
    uint8_t quote[28], message[36], frame[100];
    const struct testdev_frame *sent = NULL, *next;
    while ((next = testdev_next(&bed.dev)) != NULL) {
        sent = next;
        memcpy(quote, sent->data + 14, sizeof quote);
    }
    struct mir__icmp4 icmp = {type, code, mtu, quote, sizeof quote};
    mir_put_be32(quote + 24, mir_get_be32(quote + 24) + spoil);
    mir__icmp4_emit(&icmp, message);
    testdev_inject(&bed.dev, frame, testbed_make_ip(frame, 1, message, sizeof message));
    testbed_run(&bed);
}

static void test_icmp(void)
{
    struct mir_endpoint to = {.ip = mir_ip_from_v4(TESTBED_PEER_IP), .port = PORT};
    struct mir_tcp *tcp;
    testbed_init(&bed, 5, 4 << 20, 0);
    testbed_open(&bed, NULL);
    tap_case("no connection to a broadcast or group address (RFC 9293 MUST-46)");
    static const uint32_t groups[] = {0xffffffff, 0x0a0000ff, 0xe0000001};
    for (size_t i = 0; i < MIR_ARRAY_LEN(groups); i++) {
        struct mir_endpoint group = {.ip = mir_ip_from_v4(groups[i]), .port = PORT};
        check_int(mir_tcp_connect(bed.stack, &group, on_event, NULL, &tcp), ==, -MIR_ENETUNREACH);
    }
    tap_case("a port unreachable with a wrong sequence number is ignored (RFC 5927)");
    tcp_events = 0;
    check_int(mir_tcp_connect(bed.stack, &to, on_event, NULL, &tcp), ==, 0);
    testbed_run(&bed);
    inject_error(3, MIR__ICMP4_PORT, 0, 77);
    check_int(tcp_events, ==, 0);
    tap_case("host unreachable does not end a connection attempt");
    testbed_advance(&bed, 1500 * MIR_US_PER_MS);
    inject_error(3, MIR__ICMP4_HOST, 0, 0);
    check_int(tcp_events, ==, 0);
    tap_case("a port unreachable about our SYN refuses the connection");
    testbed_advance(&bed, 3000 * MIR_US_PER_MS);
    inject_error(3, MIR__ICMP4_PORT, 0, 0);
    check_int(tcp_events, ==, MIR_TCP_FAILED);
    check_int(mir_tcp_error(tcp), ==, -MIR_ECONNREFUSED);
    mir_tcp_close(tcp);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_task");
    test_tasks();
    test_address();
    test_icmp();
    return tap_done();
}
