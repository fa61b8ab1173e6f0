/* SPDX-License-Identifier: ISC */
/* The tap: how the host's side is set up, the vnet header in both directions, what a small frame
 * costs, and what is said when it cannot be opened. Needs root: it works in a network namespace of
 * its own and skips without.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mirari/bytes.h>
#include <mirari/log.h>
#include <mirari/net.h>

#include "dev/clock/host/clock.h"
#include "dev/net/tap/tap.h"
#include "lib/wire/csum.h"
#include "target/unix/internal.h"
#include "test/harness/tap.h"

#define ARENA   ((size_t)32 << 20)
#define HOST_IP 0x0a090001u
#define OUR_IP  0x0a090002u

static uint8_t arena[ARENA] MIR_ALIGNED(MIR_PAGE_SIZE);
static struct mir_page_pool pages;
static struct mir_buf_pool bufs;
static struct mir__poll poll_object;
static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 7};
static uint8_t host_mac[6];

static struct mir_buf_queue received; /* UDP over IPv4 to us only */

static void on_rx(void *arg, struct mir_buf *buf_given)
{
    (void)arg;
    const uint8_t *p = buf_given->data;
    if (buf_given->len >= 42 && mir_get_be16(p + 12) == 0x0800 && p[23] == 17 &&
        mir_get_be32(p + 30) == OUR_IP)
        mir_buf_queue_push(&received, buf_given);
    else
        mir_buf_release(buf_given);
}

static struct mir_tap_config config_of(const char *ifname)
{
    struct mir_tap_config config = {.poll = &poll_object.base,
                                    .bufs = &bufs,
                                    .ifname = ifname,
                                    .mtu = 1400,
                                    .has_host_ip = true,
                                    .host_ip = HOST_IP,
                                    .host_prefix_len = 24};
    memcpy(config.mac, our_mac, 6);
    return config;
}

static struct mir_net_dev *open_started(const struct mir_tap_config *config)
{
    char error[MIR_TAP_ERROR_MAX];
    struct mir_net_dev *dev = NULL;
    struct mir_net_upper upper = {.rx = on_rx};
    if (!check_int(mir_tap_open(config, &dev, error), ==, 0))
        tap_note("%s", error);
    if (dev == NULL)
        exit(1);
    check_int(mir_net_dev_start(dev, &upper), ==, 0);
    return dev;
}

static void ask(const struct mir_net_dev *dev, unsigned long request, struct ifreq *ifr)
{
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memset(ifr, 0, sizeof *ifr);
    strcpy(ifr->ifr_name, mir_tap_ifname(dev));
    check_int(ioctl(sock, request, ifr), ==, 0);
    close(sock);
}

/* A UDP socket of the host, with us in its neighbour table. */
static int host_socket(const struct mir_net_dev *dev)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(OUR_IP)};
    struct ifreq ifr;
    char command[128];
    ask(dev, SIOCGIFHWADDR, &ifr);
    memcpy(host_mac, ifr.ifr_hwaddr.sa_data, 6);
    snprintf(command, sizeof command, "ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:07 dev %s",
             mir_tap_ifname(dev));
    check_int(system(command), ==, 0);
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    check_int(connect(sock, (struct sockaddr *)&to, sizeof to), ==, 0);
    return sock;
}

static void wait_received(uint32_t count)
{
    struct mir_clock *clock = mir_clock_host();
    mir_time_us end_us = clock->monotonic(clock) + 2 * MIR_US_PER_S;
    while (received.count < count && clock->monotonic(clock) < end_us)
        mir__poll_wait(&poll_object, clock->monotonic(clock) + 10 * MIR_US_PER_MS);
    check_int(received.count, ==, count);
}

static void test_configuration(struct mir_net_dev *dev)
{
    struct ifreq ifr;
    struct sockaddr_in addr;
    char error[MIR_TAP_ERROR_MAX];
    struct mir_net_dev *second;
    tap_case("a new tap has address and MTU and is up");
    ask(dev, SIOCGIFADDR, &ifr);
    memcpy(&addr, &ifr.ifr_addr, sizeof addr);
    check_int(ntohl(addr.sin_addr.s_addr), ==, HOST_IP);
    ask(dev, SIOCGIFNETMASK, &ifr);
    memcpy(&addr, &ifr.ifr_netmask, sizeof addr);
    check_int(ntohl(addr.sin_addr.s_addr), ==, 0xffffff00);
    ask(dev, SIOCGIFMTU, &ifr);
    check_int(ifr.ifr_mtu, ==, 1400);
    check_int(dev->info.mtu, ==, 1400);
    ask(dev, SIOCGIFFLAGS, &ifr);
    check((ifr.ifr_flags & IFF_UP) != 0);
    tap_case("one that is in use, and names that cannot be, are refused with a reason");
    struct mir_tap_config config = config_of(mir_tap_ifname(dev));
    check_int(mir_tap_open(&config, &second, error), ==, -MIR_EBUSY);
    check(strstr(error, "used by another process") != NULL);
    config.ifname = "lo";
    check_int(mir_tap_open(&config, &second, error), ==, -MIR_EINVAL);
    check(strstr(error, "not a tap") != NULL);
    config.ifname = "a-name-of-16-let";
    check_int(mir_tap_open(&config, &second, error), ==, -MIR_EINVAL);
}

static void test_receive(int sock)
{
    char text[1000] = "hello";
    tap_case("a datagram of the host comes with its checksum left to us");
    check_int(send(sock, text, 5, 0), ==, 5);
    wait_received(1);
    struct mir_buf *buf = mir_buf_queue_pop(&received);
    check((buf->flags & MIR_BUF_CSUM_PARTIAL) != 0);
    check_int(buf->csum_start, ==, 34);
    check_int(buf->csum_offset, ==, 6);
    check_mem(buf->data + 42, "hello", 5);
    check((uintptr_t)(buf->data + 14) % 4 == 0);
    mir_buf_release(buf);
    tap_case("small frames do not hold large runs");
    size_t before = mir_page_pool_used_bytes(&pages);
    for (int i = 0; i < 64; i++)
        check_int(send(sock, text, 20, 0), ==, 20);
    wait_received(64);
    /* One 68 KiB run to land in, and chunks of the buffer pool. */
    check_int(mir_page_pool_used_bytes(&pages) - before, <, 300000);
    mir_buf_queue_release(&received);
    tap_case("a thousand bytes take a page");
    check_int(send(sock, text, sizeof text, 0), ==, sizeof text);
    wait_received(1);
    buf = mir_buf_queue_pop(&received);
    check_int(buf->len, ==, 42 + sizeof text);
    check_int(buf->page->size_bytes, ==, MIR_PAGE_SIZE);
    mir_buf_release(buf);
}

/* A UDP datagram from us with the pseudo-header sum only, payload in a view. */
static struct mir_buf *make_partial(uint16_t port, const char *text, uint32_t len, bool is_split)
{
    struct mir_buf *buf = mir_buf_alloc(&bufs, 64);
    struct mir_io_page *page;
    struct mir_ip src = mir_ip_from_v4(OUR_IP), dst = mir_ip_from_v4(HOST_IP);
    if (buf == NULL || mir_page_alloc(&pages, len, MIR_PAGE_ZERO, &page) < 0)
        abort();
    uint8_t *p = mir_buf_append(buf, 42);
    memset(p, 0, 42);
    memcpy(p, host_mac, 6);
    memcpy(p + 6, our_mac, 6);
    mir_put_be16(p + 12, 0x0800);
    p[14] = 0x45;
    mir_put_be16(p + 16, (uint16_t)(28 + len));
    p[22] = 64;
    p[23] = 17;
    mir_put_be32(p + 26, OUR_IP);
    mir_put_be32(p + 30, HOST_IP);
    uint16_t sum = (uint16_t)~mir__csum_partial(p + 14, 20);
    memcpy(p + 24, &sum, 2);
    mir_put_be16(p + 34, 9);
    mir_put_be16(p + 36, port);
    mir_put_be16(p + 38, (uint16_t)(8 + len));
    sum = mir__csum_pseudo(&src, &dst, 17, 8 + len);
    memcpy(p + 40, &sum, 2);
    buf->flags = MIR_BUF_CSUM_PARTIAL;
    buf->csum_start = 34;
    buf->csum_offset = 6;
    if (is_split) {
        memcpy(page->base, text, len);
        check_int(mir_buf_add_view(buf, mir_view_of_page(page, 0, len)), ==, 0);
    } else {
        memcpy(mir_buf_append(buf, len), text, len);
    }
    mir_page_release(page);
    return buf;
}

static void test_send(struct mir_net_dev *dev, int sock)
{
    struct sockaddr_in local;
    socklen_t len = sizeof local;
    char text[64];
    check_int(getsockname(sock, (struct sockaddr *)&local, &len), ==, 0);
    for (int is_split = 0; is_split < 2; is_split++) {
        tap_case(is_split ? "payload in a view: the host completes the checksum"
                          : "linear: the host completes the checksum");
        struct mir_buf *buf = make_partial(ntohs(local.sin_port), "partial", 7, is_split);
        check_int(mir_net_dev_tx(dev, buf), ==, 0);
        mir_net_dev_flush(dev);
        check_int(recv(sock, text, sizeof text, 0), ==, 7);
        check_mem(text, "partial", 7);
    }
    tap_case("offsets outside the frame are refused");
    struct mir_buf *buf = make_partial(9, "partial", 7, false);
    buf->csum_start = 60;
    check_int(mir_net_dev_tx(dev, buf), ==, -MIR_EINVAL);
    tap_case("a segment without its size is refused");
    buf = make_partial(9, "partial", 7, false);
    buf->flags |= MIR_BUF_GSO_TCP4;
    check_int(mir_net_dev_tx(dev, buf), ==, -MIR_EINVAL);
}

static void test_existing(void)
{
    struct ifreq ifr;
    tap_case("an existing tap is used as it is, and stays");
    check_int(system("ip tuntap add kept0 mode tap vnet_hdr && ip link set kept0 mtu 1300 up && "
                     "ip addr add 10.8.0.1/24 dev kept0"),
              ==, 0);
    struct mir_tap_config config = config_of("kept0");
    config.mtu = 0;
    struct mir_net_dev *dev = open_started(&config);
    check_int(dev->info.mtu, ==, 1300);
    ask(dev, SIOCGIFADDR, &ifr);
    struct sockaddr_in addr;
    memcpy(&addr, &ifr.ifr_addr, sizeof addr);
    check_int(ntohl(addr.sin_addr.s_addr), ==, 0x0a080001);
    mir_net_dev_close(dev);
    check_int(if_nametoindex("kept0"), >, 0);
}

static unsigned link_downs;

static void on_link(void *arg, bool is_up)
{
    (void)arg;
    link_downs += !is_up;
}

static void test_removed(void)
{
    char error[MIR_TAP_ERROR_MAX];
    struct mir_net_dev *dev;
    struct mir_clock *clock = mir_clock_host();
    struct mir_net_upper upper = {.rx = on_rx, .link = on_link};
    tap_case("an interface that somebody removes: link down, errors, no spinning");
    struct mir_tap_config config = config_of("gone0");
    check_int(mir_tap_open(&config, &dev, error), ==, 0);
    check_int(mir_net_dev_start(dev, &upper), ==, 0);
    check_int(system("ip link del gone0"), ==, 0);
    for (int i = 0; i < 10 && link_downs == 0; i++)
        mir__poll_wait(&poll_object, clock->monotonic(clock) + 10 * MIR_US_PER_MS);
    check_int(link_downs, ==, 1);
    mir_time_us start_us = clock->monotonic(clock);
    mir__poll_wait(&poll_object, start_us + 5000);
    check_int(clock->monotonic(clock) - start_us, >=, 5000);
    check_int(mir_net_dev_tx(dev, make_partial(9, "x", 1, false)), ==, -MIR_EIO);
    mir_net_dev_close(dev);
}

static void test_plain(void)
{
    tap_case("plain: no offloads, checksums complete");
    struct mir_tap_config config = config_of("plain0");
    config.is_plain = true;
    struct mir_net_dev *dev = open_started(&config);
    check_int(dev->info.caps, ==, MIR_NET_TX_SG);
    int sock = host_socket(dev);
    check_int(send(sock, "hello", 5, 0), ==, 5);
    wait_received(1);
    struct mir_buf *buf = mir_buf_queue_pop(&received);
    check_int(buf->flags & MIR_BUF_CSUM_PARTIAL, ==, 0);
    mir_buf_release(buf);
    close(sock);
    mir_net_dev_close(dev);
    check_int(if_nametoindex("plain0"), ==, 0);
}

static void test_removed_without_memory(void)
{
    char error[MIR_TAP_ERROR_MAX];
    struct mir_net_dev *dev;
    struct mir_buf_queue all = {0};
    struct mir_clock *clock = mir_clock_host();
    struct mir_net_upper upper = {.rx = on_rx, .link = on_link};
    tap_case("the same while there is no buffer to read into");
    struct mir_tap_config config = config_of("gone1");
    link_downs = 0;
    check_int(mir_tap_open(&config, &dev, error), ==, 0);
    check_int(mir_net_dev_start(dev, &upper), ==, 0);
    for (struct mir_buf *buf; (buf = mir_buf_alloc(&bufs, 0)) != NULL;)
        mir_buf_queue_push(&all, buf);
    check_int(system("ip link del gone1"), ==, 0);
    for (int i = 0; i < 10 && link_downs == 0; i++)
        mir__poll_wait(&poll_object, clock->monotonic(clock) + 10 * MIR_US_PER_MS);
    check_int(link_downs, ==, 1);
    mir_buf_queue_release(&all);
    mir_net_dev_close(dev);
}

static uint32_t warnings;

static void count_warnings(void *arg, enum mir_log_level level, const char *module,
                           const char *line, size_t len)
{
    (void)arg;
    (void)module;
    (void)len;
    warnings += level == MIR_WARN && strstr(line, "twin0") != NULL;
}

static void test_twin(void)
{
    char error[MIR_TAP_ERROR_MAX];
    struct mir_net_dev *first, *second;
    tap_case("a second tap with the address of the first is said, not a silent host");
    struct mir_tap_config config = config_of("twin0");
    mir_log_set_sink(count_warnings, NULL);
    check_int(mir_tap_open(&config, &first, error), ==, 0);
    check_int(warnings, ==, 0);
    config.ifname = "twin1";
    check_int(mir_tap_open(&config, &second, error), ==, 0);
    check_int(warnings, ==, 1);
    mir_log_set_sink(NULL, NULL);
    mir_net_dev_close(second);
    mir_net_dev_close(first);
}

int main(void)
{
    tap_begin("dev_tap");
    if (unshare(CLONE_NEWNET) < 0 || access("/dev/net/tun", R_OK | W_OK) < 0 ||
        system("ip link set lo up") != 0) {
        tap_case("tap");
        tap_skip("needs root, /dev/net/tun and ip");
        return tap_done();
    }
    if (mir_page_pool_init(&pages, arena, ARENA) < 0 ||
        mir_buf_pool_init(&bufs, &pages, 1024) < 0 ||
        mir__poll_open(&poll_object, mir_clock_host(), 0) < 0)
        return 1;
    struct mir_tap_config config = config_of(NULL);
    tap_case("opens");
    struct mir_net_dev *dev = open_started(&config);
    int sock = host_socket(dev);
    test_configuration(dev);
    test_receive(sock);
    test_send(dev, sock);
    close(sock);
    mir_net_dev_close(dev);
    test_existing();
    test_plain();
    test_twin();
    test_removed();
    test_removed_without_memory();
    tap_case("everything is given back");
    check_int(mir_pool_used(&bufs.pool), ==, 0);
    mir_buf_pool_fini(&bufs);
    check_int(mir_page_pool_used_bytes(&pages), ==, 0);
    mir__poll_close(&poll_object);
    return tap_done();
}
