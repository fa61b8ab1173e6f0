/* SPDX-License-Identifier: ISC */
/* Packets to ourselves: connections and datagrams to own addresses, 127.0.0.1 and ::1, by both
 * ends of one stack; nothing of it on the wire, nothing from the wire believed; bounds. */
#include <string.h>

#include "lib/net/net_state.h"
#include "lib/net/tcp/internal.h"
#include "test/harness/bed6.h"
#include "test/harness/tap.h"

enum { PORT = 80, BYTES = 3000000 };

static struct testbed bed;
static struct mir_tcp *client, *served;
static uint64_t sent, received, echoed;
static unsigned client_events;
static uint8_t pattern[251 * 16];

static void open_bed(void)
{
    static struct mir_net_prefix six;
    six = (struct mir_net_prefix){bed6_ip("fd00::2"), 64};
    struct mir_net_if_config interface = {.ip = mir_ip_from_v4(TESTBED_IP),
                                          .prefix_len = 24,
                                          .ip6 = MIR_IP6_STATIC,
                                          .ip6_no_dad = true,
                                          .addresses = &six,
                                          .address_count = 1};
    testbed_init(&bed, 7, 32 << 20, MIR_NET_TX_SG);
    testbed_open_if(&bed, NULL, &interface);
    testbed_run(&bed);
    while (testdev_next(&bed.dev) != NULL)
        continue;
    client = served = NULL;
    sent = received = echoed = 0;
    client_events = 0;
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i % 251);
}

static void close_bed(void)
{
    if (client != NULL)
        mir_tcp_abort(client);
    if (served != NULL)
        mir_tcp_abort(served);
    testbed_close(&bed);
}

/* But for announcements to groups. */
static uint32_t frames_out(void)
{
    uint32_t count = 0;
    for (const struct testdev_frame *frame; (frame = testdev_next(&bed.dev)) != NULL;)
        count += (frame->data[0] & 1) == 0;
    return count;
}

/* ---- TCP ------------------------------------------------------------------------------------- */

static void on_served(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir_view view;
    (void)arg;
    while (mir_tcp_send_room(tcp) > 65536 && mir_tcp_recv_view(tcp, &view) == 0) {
        uint32_t len = view.len;
        for (uint32_t i = 0; i < len; i++)
            if (view.data[i] != (uint8_t)((echoed + i) % 251)) {
                check_int(view.data[i], ==, (uint8_t)((echoed + i) % 251));
                break;
            }
        check_int(mir_tcp_send_view(tcp, view), ==, 0);
        echoed += len;
    }
    if (events & (MIR_TCP_CLOSED | MIR_TCP_FAILED))
        return;
    if (echoed == BYTES)
        (void)mir_tcp_shutdown(tcp);
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener;
    (void)arg;
    served = tcp_given;
    mir_tcp_set_handler(served, on_served, NULL);
}

static void on_client(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir_view view;
    (void)arg;
    client_events |= events;
    while (mir_tcp_recv_view(tcp, &view) == 0) {
        received += view.len;
        mir_view_release(&view);
    }
    while (sent < BYTES) {
        size_t at = (size_t)(sent % 251), queued = 0;
        size_t len = (size_t)MIR_MIN((uint64_t)(sizeof pattern - at), BYTES - sent);
        if (mir_tcp_send(tcp, pattern + at, len, &queued) < 0)
            break;
        sent += queued;
    }
    if (sent == BYTES && received == BYTES)
        (void)mir_tcp_shutdown(tcp);
}

static void echo_over(const char *to, const char *listen_on)
{
    struct mir_tcp_listen_config config = {.on_accept = on_accept, .local.port = PORT};
    struct mir_tcp_listener *listener;
    struct mir_endpoint remote = {.ip = bed6_ip(to), .port = PORT}, here, there;
    open_bed();
    if (listen_on != NULL)
        config.local.ip = bed6_ip(listen_on);
    check_int(mir_tcp_listen(bed.stack, &config, &listener), ==, 0);
    check_int(mir_tcp_connect(bed.stack, &remote, on_client, NULL, &client), ==, 0);
    testbed_advance(&bed, 100 * MIR_US_PER_MS);
    check(served != NULL);
    check_int(client_events & MIR_TCP_CONNECTED, !=, 0);
    mir_tcp_get_endpoints(client, &here, &there);
    check(mir_ip_equal(&here.ip, &remote.ip));
    for (int i = 0; i < 2000 && received < BYTES; i++)
        testbed_advance(&bed, MIR_US_PER_MS);
    check_int(received, ==, BYTES);
    check_int(echoed, ==, BYTES);
    testbed_advance(&bed, MIR_US_PER_S);
    check_int(client_events & MIR_TCP_CLOSED, !=, 0);
    check_int(frames_out(), ==, 0);
    check_int(bed.net->counters.self_dropped, ==, 0);
    check_int(mir__net_tcp(bed.net)->counters.retransmits, ==, 0);
    close_bed();
}

static void test_tcp(void)
{
    tap_case("a connection to an own IPv4 address, 3 MB there and back");
    echo_over("10.0.0.2", NULL);
    tap_case("to 127.0.0.1, where somebody listens on that address alone");
    echo_over("127.0.0.1", "127.0.0.1");
    tap_case("to an own IPv6 address");
    echo_over("fd00::2", "fd00::2");
    tap_case("to ::1");
    echo_over("::1", NULL);
}

static void test_refused(void)
{
    struct mir_endpoint nobody = {.ip = bed6_ip("10.0.0.2"), .port = 81}, same;
    struct mir_tcp *tcp;
    tap_case("where nobody listens a connection is refused at once");
    open_bed();
    check_int(mir_tcp_connect(bed.stack, &nobody, on_client, NULL, &client), ==, 0);
    testbed_advance(&bed, 10 * MIR_US_PER_MS);
    check_int(mir_tcp_error(client), ==, -MIR_ECONNREFUSED);
    tap_case("a connection with itself is none");
    same = (struct mir_endpoint){.ip = bed6_ip("127.0.0.1"), .port = 4000};
    check_int(mir__tcp_connect_from(bed.stack, &same, &same, &tcp), ==, -MIR_EADDRINUSE);
    tap_case("from 127.0.0.1 nobody else can be reached");
    struct mir_endpoint other = {.ip = bed6_ip("10.0.0.1"), .port = 80};
    same.port = 0;
    check_int(mir__tcp_connect_from(bed.stack, &same, &other, &tcp), ==, -MIR_ENETUNREACH);
    close_bed();
}

/* ---- UDP ------------------------------------------------------------------------------------- */

static struct mir_udp *a, *b;
static uint32_t datagrams, bytes, forever;
static struct mir_udp_meta last;
static int error_seen;

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta,
                        struct mir_buf *buf_given, void *arg)
{
    (void)arg;
    datagrams++;
    bytes += mir_buf_total(buf_given);
    last = *meta;
    if (forever > 0) {
        forever--;
        check_int(mir_udp_send_buf(udp, &meta->from, buf_given), ==, 0);
        return;
    }
    mir_buf_release(buf_given);
}

static void on_error(struct mir_udp *udp, const struct mir_udp_error *error, void *arg)
{
    (void)udp;
    (void)arg;
    error_seen = error->err;
}

static void open_udp(const char *from)
{
    struct mir_udp_config config = {.handler = on_datagram, .on_error = on_error};
    if (from != NULL)
        config.local.ip = bed6_ip(from);
    datagrams = bytes = forever = 0;
    error_seen = 0;
    open_bed();
    check_int(mir_udp_open_config(bed.stack, &config, &a), ==, 0);
    config.local.port = 7;
    check_int(mir_udp_open_config(bed.stack, &config, &b), ==, 0);
}

static void close_udp(void)
{
    mir_udp_close(a);
    mir_udp_close(b);
    check_int(frames_out(), ==, 0);
    close_bed();
}

static void test_udp(void)
{
    static const char *const ours[] = {"10.0.0.2", "127.0.0.1", "127.9.9.9", "fd00::2", "::1"};
    static uint8_t large[60000];
    for (size_t i = 0; i < MIR_ARRAY_LEN(ours); i++) {
        struct mir_endpoint to = {.ip = bed6_ip(ours[i]), .port = 7};
        tap_case("%s", ours[i]);
        open_udp(NULL);
        check_int(mir_udp_send(a, &to, "x", 1), ==, 0);
        check_int(datagrams, ==, 0); /* not inside the call */
        testbed_run(&bed);
        check_int(datagrams, ==, 1);
        check(mir_ip_equal(&last.to.ip, &to.ip));
        check_int(last.if_index, ==, 0);
        check(mir_ip_is_v4(&last.from.ip) == mir_ip_is_v4(&to.ip));
        check_int(mir_udp_send(a, &to, large, sizeof large), ==, 0); /* in fragments */
        testbed_run(&bed);
        check_int(bytes, ==, 60001);
        tap_case("nobody there: told");
        to.port = 9;
        check_int(mir_udp_send(a, &to, "x", 1), ==, 0);
        testbed_run(&bed);
        check_int(error_seen, ==, -MIR_ECONNREFUSED);
        close_udp();
    }
}

static void test_bounds(void)
{
    struct mir_endpoint to = {.ip = bed6_ip("10.0.0.2"), .port = 7};
    tap_case("what does not fit into the queue is refused and counted");
    open_udp(NULL);
    int refused = 0;
    for (int i = 0; i < 300; i++)
        refused += mir_udp_send(a, &to, "x", 1) == -MIR_EAGAIN;
    check_int(refused, ==, 44);
    check_int(bed.net->counters.tx_no_room, ==, 44);
    testbed_run(&bed);
    check_int(datagrams, ==, 256);
    tap_case("two sockets that answer each other leave time for others");
    datagrams = 0;
    forever = 1000000;
    check_int(mir_udp_send(a, &to, "x", 1), ==, 0);
    mir_time_us next_us;
    for (int i = 0; i < 100; i++)
        mir_loop_step(&bed.loop, bed.now_us, &next_us);
    check_int(datagrams, >=, 100);
    check_int(datagrams, <=, 100 * 1000);
    forever = 0;
    testbed_run(&bed);
    tap_case("what is on its way when the stack closes is given back");
    check_int(mir_udp_send(a, &to, "x", 1), ==, 0);
    close_udp();
    tap_case("an address that is gone meanwhile gets nothing");
    open_udp(NULL);
    check_int(mir_udp_send(a, &to, "x", 1), ==, 0);
    check_int(mir_net_remove_address(bed.net, &to.ip), ==, 0);
    testbed_run(&bed);
    check_int(datagrams, ==, 0);
    check_int(bed.net->counters.ip_martian, ==, 1);
    check_int(mir_udp_send(a, &to, "x", 1), ==, -MIR_ENETUNREACH);
    close_udp();
}

/* ---- the wire -------------------------------------------------------------------------------- */

static void test_wire(void)
{
    static const char *const pairs[][2] = {
        {"::1", "fd00::2"}, {"fd00::9", "::1"}, {"fd00::2", "fd00::2"}, {"::1", "::1"}};
    static const uint8_t udp[9] = {0, 7, 0, 7, 0, 9, 0, 0, 'x'};
    tap_case("from a wire neither our addresses nor those of every host itself are believed");
    open_udp(NULL);
    for (size_t i = 0; i < MIR_ARRAY_LEN(pairs); i++)
        bed6_inject(&bed, testbed_peer_mac, pairs[i][0], pairs[i][1], 64, 17, udp, sizeof udp);
    testbed_run(&bed);
    check_int(datagrams, ==, 0);
    check_int(bed.net->counters.ip_martian, ==, MIR_ARRAY_LEN(pairs));
    close_udp();
}

int main(void)
{
    tap_begin("net_self");
    test_tcp();
    test_refused();
    test_udp();
    test_bounds();
    test_wire();
    return tap_done();
}
