/* SPDX-License-Identifier: ISC */
/* The user-mode network: DHCP from slirp, a whole TCP hand-shake through a forwarded port, ports
 * that are taken, configurations that make no sense. No privilege, no fixed port. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mirari/bytes.h>
#include <mirari/net.h>
#include <mirari/rng.h>

#include "dev/clock/host/clock.h"
#include "dev/net/user/user.h"
#include "target/unix/internal.h"
#include "test/harness/tap.h"

#define ARENA ((size_t)16 << 20)

static uint8_t arena[ARENA] MIR_ALIGNED(MIR_PAGE_SIZE);
static struct mir_page_pool pages;
static struct mir_buf_pool bufs;
static struct mir_loop loop;
static struct mir__poll poll_object;
static struct mir_rng rng;
static struct mir_net_dev *dev;
static struct mir_net *net;

static void open_all(struct mir_net_if_config *interface)
{
    char error[MIR_USER_ERROR_MAX];
    struct mir_clock *clock = mir_clock_host();
    mir_loop_init(&loop, clock->monotonic(clock));
    mir_rng_init_u64(&rng, 1);
    check_int(mir_page_pool_init(&pages, arena, ARENA), ==, 0);
    check_int(mir_buf_pool_init(&bufs, &pages, 1024), ==, 0);
    check_int(mir__poll_open(&poll_object, clock, 0), ==, 0);
    struct mir_user_config config = {.poll = &poll_object.base,
                                     .loop = &loop,
                                     .clock = clock,
                                     .bufs = &bufs,
                                     .mac = {2, 0, 0, 0, 0, 1}};
    check_int(mir_user_open(&config, &dev, error), ==, 0);
    struct mir_net_config net_config = {.loop = &loop, .pages = &pages, .bufs = &bufs, .rng = &rng};
    check_int(mir_net_open(&net_config, &net), ==, 0);
    check_int(mir_net_add_interface(net, dev, interface), ==, 0);
}

static void close_all(void)
{
    mir_net_close(net);
    mir_net_dev_close(dev);
    check_int(mir_pool_used(&bufs.pool), ==, 0);
    mir_buf_pool_fini(&bufs);
    check_int(mir_page_pool_used_bytes(&pages), ==, 0);
    mir__poll_close(&poll_object);
}

static void step(void)
{
    struct mir_clock *clock = mir_clock_host();
    mir_time_us now_us = clock->monotonic(clock), next_us;
    mir_loop_step(&loop, now_us, &next_us);
    mir__poll_wait(&poll_object, MIR_MIN(next_us, now_us + 20 * MIR_US_PER_MS));
}

/* Steps of at most 20 ms: five seconds are enough for anything here. */
#define STEPS_MAX 250
#define run_until(condition)                                                                       \
    do {                                                                                           \
        for (int steps = 0; !(condition) && steps < STEPS_MAX; steps++)                            \
            step();                                                                                \
        check(condition);                                                                          \
    } while (0)

static void test_dhcp(void)
{
    struct mir_net_if_config interface = {.use_dhcp = true, .hostname = "test"};
    struct mir_ip ip = {{0}};
    tap_case("slirp leases 10.0.2.15");
    open_all(&interface);
    struct mir_stack *stack = mir_net_stack(net);
    run_until((stack->ops->address(stack, &ip), !mir_ip_is_any(&ip)));
    check_int(mir_ip_to_v4(&ip), ==, 0x0a00020f);
    close_all();
}

static bool is_accepted;
static struct mir_tcp *accepted;

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener;
    (void)arg;
    accepted = tcp_given;
    is_accepted = true;
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_int(connect(fd, (struct sockaddr *)&addr, sizeof addr), ==, 0);
    return fd;
}

/* A port of the host that is in use while the descriptor is open. */
static int take_port(uint16_t *port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_int(bind(fd, (struct sockaddr *)&addr, sizeof addr), ==, 0);
    check_int(listen(fd, 1), ==, 0);
    check_int(getsockname(fd, (struct sockaddr *)&addr, &len), ==, 0);
    *port = ntohs(addr.sin_port);
    return fd;
}

static void test_forward(void)
{
    struct mir_net_if_config interface = {
        .ip = mir_ip_from_v4(0x0a00020f), .prefix_len = 24, .gateway = mir_ip_from_v4(0x0a000202)};
    struct mir_tcp_listen_config listen_config = {.local.port = 80, .on_accept = on_accept};
    struct mir_tcp_listener *listener;
    struct mir_user_forward forward = {.host_ip = mir_ip_from_v4(0x7f000001), .port = 80};
    uint16_t taken;
    open_all(&interface);
    tap_case("a port that is taken gives the next free one");
    int fd = take_port(&taken);
    forward.host_port = taken;
    check_int(mir_user_add_forward(dev, &forward), ==, 0);
    check_int(forward.host_port, !=, taken);
    close(fd);
    tap_case("a connection to it arrives, with data both ways, and close");
    check_int(mir_tcp_listen(mir_net_stack(net), &listen_config, &listener), ==, 0);
    fd = connect_to(forward.host_port);
    check_int(write(fd, "ping", 4), ==, 4);
    run_until(is_accepted);
    size_t queued = 0;
    struct mir_view view;
    char text[8] = "";
    check_int(mir_tcp_send(accepted, "pong", 4, &queued), ==, 0);
    run_until(recv(fd, text, 4, MSG_DONTWAIT | MSG_PEEK) == 4);
    check_mem(text, "pong", 4);
    int r = -MIR_EAGAIN;
    run_until((r = r == 0 ? 0 : mir_tcp_recv_view(accepted, &view)) == 0);
    check_int(view.len, ==, 4);
    check_mem(view.data, "ping", 4);
    mir_view_release(&view);
    mir_tcp_abort(accepted);
    close(fd);
    tap_case("many clients at once fit its queue");
    int clients[64];
    for (int i = 0; i < 64; i++)
        clients[i] = connect_to(forward.host_port); /* none is accepted yet */
    for (int i = 0; i < 64; i++)
        close(clients[i]);
    close_all();
}

static void test_forward6(void)
{
    struct mir_net_prefix address = {{{0xfd, [15] = 0x15}}, 64};
    struct mir_net_if_config interface = {
        .ip6 = MIR_IP6_STATIC, .ip6_no_dad = true, .addresses = &address, .address_count = 1};
    struct mir_tcp_listen_config listen_config = {.local.port = 80, .on_accept = on_accept};
    struct mir_tcp_listener *listener;
    struct mir_user_forward forward = {.host_ip = {{[15] = 1}}, .port = 80};
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    socklen_t len = sizeof addr;
    char text[8] = "";
    size_t queued = 0;
    tap_case("a port of ::1 leads to the appliance's IPv6 address");
    int taken = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (taken < 0 || bind(taken, (struct sockaddr *)&addr, sizeof addr) < 0) {
        tap_skip("this host has no ::1");
        return;
    }
    check_int(listen(taken, 1), ==, 0);
    check_int(getsockname(taken, (struct sockaddr *)&addr, &len), ==, 0);
    forward.host_port = ntohs(addr.sin6_port);
    open_all(&interface);
    check_int(mir_user_add_forward(dev, &forward), ==, 0);
    check_int(forward.host_port, !=, ntohs(addr.sin6_port)); /* that one was taken */
    close(taken);
    check_int(mir_tcp_listen(mir_net_stack(net), &listen_config, &listener), ==, 0);
    addr.sin6_port = htons(forward.host_port);
    is_accepted = false;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_int(connect(fd, (struct sockaddr *)&addr, sizeof addr), ==, 0);
    run_until(is_accepted);
    if (is_accepted) {
        struct mir_endpoint local, remote;
        mir_tcp_get_endpoints(accepted, &local, &remote);
        check(!mir_ip_is_v4(&remote.ip));
        check_int(mir_tcp_send(accepted, "pong", 4, &queued), ==, 0);
        run_until(recv(fd, text, 4, MSG_DONTWAIT | MSG_PEEK) == 4);
        check_mem(text, "pong", 4);
        mir_tcp_abort(accepted);
    }
    close(fd);
    close_all();
}

static void test_config(void)
{
    static const struct {
        uint32_t ip;
        uint8_t prefix_len;
        uint32_t gateway;
    } wrong[] = {{0x0a000202, 24, 0},         {0x0a000200, 24, 0}, {0x0a0002ff, 24, 0},
                 {0x0a00020f, 30, 0},         {0x0a00020f, 7, 0},  {0x0a00020f, 24, 0x0a000302},
                 {0x0a00020f, 24, 0x0a00020f}};
    char error[MIR_USER_ERROR_MAX];
    tap_case("configurations that make no sense are refused with a reason");
    for (size_t i = 0; i < MIR_ARRAY_LEN(wrong); i++) {
        struct mir_user_config config = {
            .ip = wrong[i].ip, .prefix_len = wrong[i].prefix_len, .gateway = wrong[i].gateway};
        error[0] = '\0';
        check_int(mir_user_open(&config, &dev, error), ==, -MIR_EINVAL);
        check(error[0] != '\0');
    }
}

int main(void)
{
    tap_begin("dev_user");
    test_dhcp();
    test_forward();
    test_forward6();
    test_config();
    return tap_done();
}
