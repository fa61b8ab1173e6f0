/* SPDX-License-Identifier: ISC */
/* One contract, every network device: what mirari/dev_net.h promises holds for each of them.
 *
 * A subject opens a device and knows how to provoke frames to it (the other end of a pipe, a packet
 * socket on the host's side of a tap or the other end of a veth pair, ARP requests that slirp
 * answers) and how to count frames that came out. Taps and packet sockets need root: the test makes
 * a network namespace of its own, and skips without.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mirari/bytes.h>

#include "dev/clock/host/clock.h"
#include "dev/net/fault/fault.h"
#include "dev/net/packet/packet.h"
#include "dev/net/pcap/pcap.h"
#include "dev/net/pipe/pipe.h"
#include "dev/net/tap/tap.h"
#include "dev/net/trace/trace.h"
#include "dev/net/user/user.h"
#include "target/unix/internal.h"
#include "test/harness/tap.h"
#include "test/harness/virtdev_net.h"

#define ARENA     ((size_t)16 << 20)
#define WAIT_US   (2 * MIR_US_PER_S)
#define TEST_TYPE 0x88b5 /* IEEE 802 local experimental */
#define FRAME_LEN 100u
#define BATCH     32u

struct fixture {
    uint8_t *arena;
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    struct mir_loop loop;
    struct mir_clock *clock;
    struct mir__poll poll;
    struct mir_net_dev *dev;
    struct mir_net_dev *peer; /* other end of a pipe, or NULL */
    int packet_fd;            /* host's side of a tap, other end of a veth pair, or -1 */
    uint32_t rx, rx_ends, tx_readys, link_ups, wrong;
    uint32_t peer_rx;
    bool stop_in_rx;
    size_t captured;
    uint32_t lines;
};

struct subject {
    const char *name;
    /* Returns a reason to skip, or NULL. */
    const char *(*open)(struct fixture *f);
    /* Make @count frames come to the device. */
    void (*provoke)(struct fixture *f, uint32_t count);
    /* Frames that the other side has seen; UINT32_MAX: nobody can tell. */
    uint32_t (*seen)(struct fixture *f);
};

/* ---- fixture ----------------------------------------------------------------------------------
 */

static void on_rx(void *arg, struct mir_buf *buf_given)
{
    struct fixture *f = arg;
    uint8_t head[14];
    if (mir_buf_copy_out(buf_given, 0, head, sizeof head) < 0)
        f->wrong++;
    else if (mir_get_be16(head + 12) == TEST_TYPE || mir_get_be16(head + 12) == 0x0806)
        f->rx++;
    mir_buf_release(buf_given);
    if (f->stop_in_rx)
        mir_net_dev_stop(f->dev);
}
static void on_rx_end(void *arg)
{
    ((struct fixture *)arg)->rx_ends++;
}
static void on_tx_ready(void *arg)
{
    ((struct fixture *)arg)->tx_readys++;
}
static void on_link(void *arg, bool is_up)
{
    ((struct fixture *)arg)->link_ups += is_up;
}
static void on_peer_rx(void *arg, struct mir_buf *buf_given)
{
    ((struct fixture *)arg)->peer_rx++;
    mir_buf_release(buf_given);
}

static void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    f->packet_fd = -1;
    f->clock = mir_clock_host();
    f->arena = aligned_alloc(MIR_PAGE_SIZE, ARENA);
    mir_loop_init(&f->loop, f->clock->monotonic(f->clock));
    bool is_ready = f->arena != NULL && mir_page_pool_init(&f->pages, f->arena, ARENA) == 0 &&
                    mir_buf_pool_init(&f->bufs, &f->pages, 2048) == 0 &&
                    mir__poll_open(&f->poll, f->clock, 0) == 0;
    if (!is_ready)
        abort();
}

static int start(struct fixture *f)
{
    struct mir_net_upper upper = {
        .rx = on_rx, .rx_end = on_rx_end, .tx_ready = on_tx_ready, .link = on_link, .arg = f};
    return mir_net_dev_start(f->dev, &upper);
}

/* Run loop and devices until @count frames are here, or time is up. */
static void run_until(struct fixture *f, uint32_t count)
{
    mir_time_us now_us = f->clock->monotonic(f->clock), end_us = now_us + WAIT_US, next_us;
    while (f->rx < count && now_us < end_us) {
        mir_loop_step(&f->loop, now_us, &next_us);
        if (f->rx >= count)
            break;
        mir__poll_wait(&f->poll, MIR_MIN(next_us, now_us + 10 * MIR_US_PER_MS));
        now_us = f->clock->monotonic(f->clock);
    }
}

/* What is on its way arrives; nothing that is not. */
static void settle(struct fixture *f)
{
    for (int i = 0; i < 8; i++) {
        mir_time_us now_us = f->clock->monotonic(f->clock), next_us;
        mir_loop_step(&f->loop, now_us, &next_us);
        mir__poll_wait(&f->poll, now_us);
    }
}

static struct mir_buf *make_frame(struct fixture *f, uint32_t len, uint32_t number)
{
    struct mir_buf *buf = mir_buf_alloc_page(&f->bufs, len + 64, 64);
    if (buf == NULL)
        abort();
    uint8_t *p = mir_buf_append(buf, len);
    memset(p, (int)number, len);
    memset(p, 0xff, 6);
    memcpy(p + 6, f->dev->info.mac, 6);
    mir_put_be16(p + 12, TEST_TYPE);
    return buf;
}

/* ---- pipe and middlewares -----------------------------------------------------------------------
 */

static struct mir_pipe the_pipe;
static struct mir_pcap the_pcap;
static struct mir_fault the_fault;
static struct mir_trace the_trace;

static const char *open_pipe(struct fixture *f)
{
    struct mir_pipe_config config = {.loop = &f->loop, .caps = MIR_NET_TX_SG, .queue_max = 64};
    struct mir_net_upper upper = {.rx = on_peer_rx, .arg = f};
    check_int(mir_pipe_init(&the_pipe, &config), ==, 0);
    f->dev = mir_pipe_end(&the_pipe, 0);
    f->peer = mir_pipe_end(&the_pipe, 1);
    check_int(mir_net_dev_start(f->peer, &upper), ==, 0);
    return NULL;
}

static int count_capture(void *arg, const void *data, size_t len)
{
    (void)data;
    ((struct fixture *)arg)->captured += len;
    return 0;
}

static const char *open_pcap(struct fixture *f)
{
    open_pipe(f);
    struct mir_pcap_config config = {.inner = f->dev,
                                     .loop = &f->loop,
                                     .clock = f->clock,
                                     .pages = &f->pages,
                                     .name = "net0",
                                     .sink = count_capture,
                                     .arg = f};
    check_int(mir_pcap_init(&the_pcap, &config), ==, 0);
    f->dev = &the_pcap.wrap.dev;
    return NULL;
}

static const char *open_fault(struct fixture *f)
{
    open_pipe(f);
    struct mir_fault_config config = {.inner = f->dev, .loop = &f->loop, .bufs = &f->bufs};
    mir_fault_init(&the_fault, &config);
    f->dev = &the_fault.wrap.dev;
    return NULL;
}

static void count_line(void *arg, const char *line, size_t len)
{
    (void)line;
    (void)len;
    ((struct fixture *)arg)->lines++;
}

static const char *open_trace(struct fixture *f)
{
    open_pipe(f);
    mir_trace_init(&the_trace, f->dev, "net0", count_line, f);
    f->dev = &the_trace.wrap.dev;
    return NULL;
}

static void provoke_pipe(struct fixture *f, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        check_int(mir_net_dev_tx(f->peer, make_frame(f, FRAME_LEN, i)), ==, 0);
}

static uint32_t seen_pipe(struct fixture *f)
{
    return f->peer_rx;
}

/* ---- tap
 * ------------------------------------------------------------------------------------------ */

/* A network namespace of the test's own, without the frames that IPv6 sends by itself. */
static bool enter_namespace(void)
{
    static bool is_inside;
    if (is_inside)
        return true;
    if (unshare(CLONE_NEWNET) < 0)
        return false;
    is_inside = true;
    FILE *file = fopen("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w");
    if (file != NULL) {
        (void)fputs("1", file);
        fclose(file);
    }
    return true;
}

/* A socket for the test's frames on interface @ifname. */
static void open_other_side(struct fixture *f, const char *ifname)
{
    f->packet_fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(TEST_TYPE));
    struct sockaddr_ll addr = {.sll_family = AF_PACKET,
                               .sll_protocol = htons(TEST_TYPE),
                               .sll_ifindex = (int)if_nametoindex(ifname)};
    check_int(bind(f->packet_fd, (struct sockaddr *)&addr, sizeof addr), ==, 0);
}

static const char *open_tap(struct fixture *f)
{
    char error[MIR_TAP_ERROR_MAX];
    struct mir_tap_config config = {
        .poll = &f->poll.base, .bufs = &f->bufs, .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500};
    if (!enter_namespace())
        return "needs root: no network namespace";
    int r = mir_tap_open(&config, &f->dev, error);
    if (r == -MIR_ENOTSUP || r == -MIR_EPERM)
        return "this host gives no tap";
    check_int(r, ==, 0);
    if (r < 0)
        return error[0] != '\0' ? strdup(error) : "?";
    open_other_side(f, mir_tap_ifname(f->dev));
    return NULL;
}

static void provoke_tap(struct fixture *f, uint32_t count)
{
    uint8_t frame[FRAME_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9};
    mir_put_be16(frame + 12, TEST_TYPE);
    for (uint32_t i = 0; i < count; i++)
        check_int(send(f->packet_fd, frame, sizeof frame, 0), ==, FRAME_LEN);
}

static uint32_t seen_tap(struct fixture *f)
{
    uint8_t frame[2048];
    struct sockaddr_ll from;
    socklen_t len = sizeof from;
    while (recvfrom(f->packet_fd, frame, sizeof frame, 0, (struct sockaddr *)&from, &len) > 0) {
        /* Ours to the tap are seen as outgoing. */
        f->peer_rx += from.sll_pkttype != PACKET_OUTGOING;
        len = sizeof from;
    }
    return f->peer_rx;
}

/* ---- packet
 * --------------------------------------------------------------------------------------- */

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};

static int open_packet_on(struct fixture *f, const char *ifname, char *error)
{
    struct mir_packet_config config = {
        .poll = &f->poll.base, .bufs = &f->bufs, .ifname = ifname, .mtu = 1500};
    memcpy(config.mac, our_mac, 6);
    return mir_packet_open(&config, &f->dev, error);
}

/* A socket of a group; it is kept, as a monitor keeps it, and read by a device. */
static int the_queue = -1;

static int adopt_packet(struct fixture *f, char *error)
{
    struct mir_packet_config config = {
        .poll = &f->poll.base, .bufs = &f->bufs, .ifname = "pk0", .mtu = 1500};
    struct mir_packet_queue queue = {.fd = dup(the_queue), .ifname = "pk0", .mtu = 1500};
    memcpy(config.mac, our_mac, 6);
    return mir_packet_adopt(&config, &queue, &f->dev, error);
}

static int open_queue_on(struct fixture *f, const char *ifname, char *error)
{
    struct mir_packet_config config = {.ifname = ifname, .mtu = 1500};
    struct mir_packet_queue queue;
    uint32_t group = 0;
    memcpy(config.mac, our_mac, 6);
    int r = mir_packet_open_queue(&config, &group, &queue, error);
    if (r < 0)
        return r;
    check(group != 0);
    check_str(queue.ifname, ifname);
    check_int(queue.mtu, ==, 1500);
    (void)close(the_queue);
    the_queue = queue.fd;
    return adopt_packet(f, error);
}

/* A veth pair, new for each fixture: "pk0" for the device, "pk1" for the other side. */
static const char *open_packet_by(struct fixture *f,
                                  int (*open)(struct fixture *f, const char *ifname, char *error))
{
    char error[MIR_PACKET_ERROR_MAX];
    if (!enter_namespace())
        return "needs root: no network namespace";
    /* The kernel lets frames through some time after both ends are up: it is asked until then. */
    if (system("ip link delete pk0 2>/dev/null; ip link add pk0 type veth peer name pk1 && "
               "ip link set pk0 up && ip link set pk1 up && for try in $(seq 300); do "
               "test $(ip -br link | grep -c '^pk[01].* UP ') = 2 && exit 0; sleep 0.01; done; "
               "exit 1") != 0)
        return "this host gives no veth pair";
    int r = open(f, "pk0", error);
    if (r == -MIR_ENOTSUP)
        return "this host gives no packet ring";
    check_int(r, ==, 0);
    if (r < 0)
        return strdup(error);
    open_other_side(f, "pk1");
    return NULL;
}

static const char *open_packet(struct fixture *f)
{
    return open_packet_by(f, open_packet_on);
}

static const char *open_adopted(struct fixture *f)
{
    return open_packet_by(f, open_queue_on);
}

/* ---- user
 * ----------------------------------------------------------------------------------------- */

static const char *open_user(struct fixture *f)
{
    char error[MIR_USER_ERROR_MAX];
    struct mir_user_config config = {.poll = &f->poll.base,
                                     .loop = &f->loop,
                                     .clock = f->clock,
                                     .bufs = &f->bufs,
                                     .mac = {2, 0, 0, 0, 0, 1}};
    check_int(mir_user_open(&config, &f->dev, error), ==, 0);
    return NULL;
}

/* slirp answers each ARP request for its gateway. */
static void provoke_user(struct fixture *f, uint32_t count)
{
    static const uint8_t head[8] = {0, 1, 8, 0, 6, 4, 0, 1};
    for (uint32_t i = 0; i < count; i++) {
        struct mir_buf *buf = make_frame(f, 42, 0);
        uint8_t *p = buf->data;
        mir_put_be16(p + 12, 0x0806);
        memcpy(p + 14, head, 8);
        memcpy(p + 22, f->dev->info.mac, 6);
        mir_put_be32(p + 28, 0x0a00020f);
        memset(p + 32, 0, 6);
        mir_put_be32(p + 38, 0x0a000202);
        check_int(mir_net_dev_tx(f->dev, buf), ==, 0);
    }
}

static uint32_t seen_user(struct fixture *f)
{
    (void)f;
    return UINT32_MAX;
}

/* ---- virtio
 * ---------------------------------------------------------------------------------------
 *
 * The driver against a device in memory, which is served and looked at before every wait. */

static struct virtdev_net the_virtio;
static struct mir_host_hook virtio_hook;

static void turn_virtio(void *arg, mir_time_us now_us, mir_time_us *deadline_us)
{
    struct fixture *f = arg;
    struct mir_virtio_driver *driver = mir_virtio_net_driver(f->dev);
    bool found = virtdev_run(&the_virtio.d);
    found |= mir_virtio_driver_poll(driver, virtdev_events(&the_virtio.d, driver->virtio));
    if (found || mir_virtio_driver_arm(driver))
        *deadline_us = now_us;
}

static void on_virtio_frame(void *arg, const uint8_t *header, const uint8_t *frame, uint32_t len)
{
    struct fixture *f = arg;
    (void)header;
    f->peer_rx += len >= 14 && mir_get_be16(frame + 12) == TEST_TYPE;
}

static const char *open_virtio_on(struct fixture *f, enum virtdev_transport transport)
{
    int r;
    virtdev_net_init(&the_virtio, transport, VIRTDEV_NET_ALL, 256);
    the_virtio.on_frame = on_virtio_frame;
    the_virtio.arg = f;
    struct mir_virtio_net_config config = {
        .virtio = virtdev_attach(&the_virtio.d, f->clock, &f->pages, &r),
        .loop = &f->loop,
        .bufs = &f->bufs,
    };
    check_int(r, ==, 0);
    check_int(mir_virtio_net_open(&config, &f->dev), ==, 0);
    virtio_hook = (struct mir_host_hook){.before_wait = turn_virtio, .arg = f};
    f->poll.base.ops->add_hook(&f->poll.base, &virtio_hook);
    return NULL;
}

static const char *open_virtio_mmio(struct fixture *f)
{
    return open_virtio_on(f, VIRTDEV_MMIO);
}
static const char *open_virtio_mmio_legacy(struct fixture *f)
{
    return open_virtio_on(f, VIRTDEV_MMIO_LEGACY);
}
static const char *open_virtio_pci(struct fixture *f)
{
    return open_virtio_on(f, VIRTDEV_PCI);
}
static const char *open_virtio_pci_legacy(struct fixture *f)
{
    return open_virtio_on(f, VIRTDEV_PCI_LEGACY);
}

static void provoke_virtio(struct fixture *f, uint32_t count)
{
    uint8_t frame[FRAME_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9};
    (void)f;
    mir_put_be16(frame + 12, TEST_TYPE);
    for (uint32_t i = 0; i < count; i++)
        (void)virtdev_net_send(&the_virtio, NULL, frame, sizeof frame);
}

static uint32_t seen_virtio(struct fixture *f)
{
    check_int(the_virtio.d.violations, ==, 0);
    if (the_virtio.d.violations != 0)
        tap_note("the driver: %s", the_virtio.d.violation);
    return f->peer_rx;
}

/* ---- the contract
 * ----------------------------------------------------------------------------------- */

static const struct subject subjects[] = {
    {"pipe", open_pipe, provoke_pipe, seen_pipe},
    {"pcap(pipe)", open_pcap, provoke_pipe, seen_pipe},
    {"fault(pipe)", open_fault, provoke_pipe, seen_pipe},
    {"trace(pipe)", open_trace, provoke_pipe, seen_pipe},
    {"tap", open_tap, provoke_tap, seen_tap},
    {"packet", open_packet, provoke_tap, seen_tap},
    {"user", open_user, provoke_user, seen_user},
    {"virtio(mmio)", open_virtio_mmio, provoke_virtio, seen_virtio},
    {"virtio(mmio, legacy)", open_virtio_mmio_legacy, provoke_virtio, seen_virtio},
    {"virtio(pci)", open_virtio_pci, provoke_virtio, seen_virtio},
    {"virtio(pci, legacy)", open_virtio_pci_legacy, provoke_virtio, seen_virtio},
};

static void check_info(struct fixture *f)
{
    const struct mir_net_dev_info *info = &f->dev->info;
    check(info->kind != NULL);
    check_int(info->mtu, >=, 576);
    check((info->mac[0] & 1) == 0);
    bool has_tso = info->caps & (MIR_NET_TX_TSO4 | MIR_NET_TX_TSO6);
    check(!has_tso || info->caps & MIR_NET_TX_CSUM);
    check_int(has_tso ? info->gso_max : 65549, >=, info->mtu + 14);
    check(has_tso || info->gso_max == 0);
}

static void check_send(struct fixture *f, const struct subject *s)
{
    struct mir_net_dev_stats before, after;
    uint32_t seen = s->seen(f);
    mir_net_dev_stats(f->dev, &before);
    check_int(mir_net_dev_tx_room(f->dev), >=, BATCH);
    for (uint32_t i = 0; i < BATCH; i++)
        check_int(mir_net_dev_tx(f->dev, make_frame(f, FRAME_LEN, i)), ==, 0);
    mir_net_dev_flush(f->dev);
    settle(f);
    mir_net_dev_stats(f->dev, &after);
    check_int(after.tx_frames - before.tx_frames, ==, BATCH);
    check_int(after.tx_bytes - before.tx_bytes, ==, BATCH * FRAME_LEN);
    if (seen != UINT32_MAX)
        check_int(s->seen(f) - seen, ==, BATCH);
}

static void check_largest(struct fixture *f)
{
    struct mir_net_dev_stats before, after;
    mir_net_dev_stats(f->dev, &before);
    check_int(mir_net_dev_tx(f->dev, make_frame(f, f->dev->info.mtu + 14u, 1)), ==, 0);
    check_int(mir_net_dev_tx(f->dev, make_frame(f, f->dev->info.mtu + 15u, 1)), ==, -MIR_ETOOBIG);
    mir_net_dev_flush(f->dev);
    mir_net_dev_stats(f->dev, &after);
    check_int(after.tx_frames - before.tx_frames, ==, 1);
    check_int(after.tx_errors - before.tx_errors, ==, 1);
    settle(f);
}

static void check_receive(struct fixture *f, const struct subject *s)
{
    struct mir_net_dev_stats before, after;
    uint32_t rx = f->rx, ends = f->rx_ends;
    mir_net_dev_stats(f->dev, &before);
    s->provoke(f, BATCH);
    run_until(f, rx + BATCH);
    mir_net_dev_stats(f->dev, &after);
    check_int(f->rx - rx, ==, BATCH);
    check_int(f->rx_ends - ends, >=, 1);
    check_int(f->rx_ends - ends, <=, BATCH);
    check_int(after.rx_frames - before.rx_frames, >=, BATCH);
    check_int(f->wrong, ==, 0);
}

static void check_stop(struct fixture *f, const struct subject *s)
{
    s->provoke(f, 3);
    mir_net_dev_stop(f->dev);
    uint32_t rx = f->rx, ends = f->rx_ends;
    settle(f);
    check_int(f->rx, ==, rx);
    check_int(f->rx_ends, ==, ends);
    mir_net_dev_stop(f->dev);
    check_int(mir_net_dev_tx(f->dev, make_frame(f, FRAME_LEN, 1)), <, 0);
}

static void check_stop_in_rx(struct fixture *f, const struct subject *s)
{
    check_int(start(f), ==, 0);
    uint32_t rx = f->rx;
    s->provoke(f, 8);
    f->stop_in_rx = true;
    run_until(f, rx + 1);
    settle(f);
    check_int(f->rx, ==, rx + 1);
    f->stop_in_rx = false;
}

static void close_fixture(struct fixture *f)
{
    if (f->dev != NULL)
        mir_net_dev_close(f->dev);
    if (f->peer != NULL)
        mir_net_dev_close(f->peer);
    if (f->packet_fd >= 0)
        close(f->packet_fd);
    check_int(mir_pool_used(&f->bufs.pool), ==, 0);
    mir_buf_pool_fini(&f->bufs);
    check_int(mir_page_pool_used_bytes(&f->pages), ==, 0);
    mir__poll_close(&f->poll);
    free(f->arena);
}

static void test_subject(const struct subject *s)
{
    struct fixture f;
    fixture_init(&f);
    tap_case("%s: opens and describes itself", s->name);
    const char *skip = s->open(&f);
    if (skip != NULL) {
        tap_skip(skip);
        close_fixture(&f);
        return;
    }
    check_info(&f);
    tap_case("%s: refuses frames before start, and consumes them", s->name);
    check_int(mir_net_dev_tx(f.dev, make_frame(&f, FRAME_LEN, 1)), <, 0);
    tap_case("%s: starts once", s->name);
    check_int(start(&f), ==, 0);
    check_int(start(&f), ==, -MIR_EBUSY);
    check_int(f.link_ups, ==, 1);
    settle(&f);
    tap_case("%s: sends a batch and counts it", s->name);
    check_send(&f, s);
    tap_case("%s: takes the largest frame, refuses one byte more", s->name);
    check_largest(&f);
    tap_case("%s: receives a batch and ends it", s->name);
    check_receive(&f, s);
    tap_case("%s: delivers nothing after stop; stopping twice is harmless", s->name);
    check_stop(&f, s);
    tap_case("%s: starts again; stop inside rx ends the batch", s->name);
    check_stop_in_rx(&f, s);
    tap_case("%s: receives after a restart", s->name);
    check_int(start(&f), ==, 0);
    settle(&f); /* a host may have kept what came meanwhile */
    check_receive(&f, s);
    tap_case("%s: close gives everything back", s->name);
    close_fixture(&f);
}

static const struct subject adopted = {"packet, adopted", open_adopted, provoke_tap, seen_tap};

/* ---- beyond the contract
 * ------------------------------------------------------------------------- */

static void test_full_pipe(void)
{
    struct fixture f;
    struct mir_net_dev_stats stats;
    fixture_init(&f);
    tap_case("pipe: a full queue drops, counts, and tells when there is room");
    open_pipe(&f);
    check_int(start(&f), ==, 0);
    for (uint32_t i = 0; i < 64; i++)
        check_int(mir_net_dev_tx(f.dev, make_frame(&f, FRAME_LEN, i)), ==, 0);
    check_int(mir_net_dev_tx_room(f.dev), ==, 0);
    for (uint32_t i = 0; i < MIR_NET_TX_KEPT; i++)
        check_int(mir_net_dev_tx(f.dev, make_frame(&f, FRAME_LEN, i)), ==, 0);
    check_int(mir_net_dev_tx(f.dev, make_frame(&f, FRAME_LEN, 1)), ==, -MIR_EAGAIN);
    mir_net_dev_stats(f.dev, &stats);
    check_int(stats.tx_dropped, ==, 1);
    check_int(stats.tx_full, ==, 1);
    check_int(f.tx_readys, ==, 0);
    settle(&f);
    check_int(f.tx_readys, ==, 1);
    check_int(mir_net_dev_tx_room(f.dev), ==, 64);
    check_int(f.peer_rx, ==, 64 + MIR_NET_TX_KEPT);
    close_fixture(&f);
}

static void test_no_memory(const struct subject *s)
{
    struct fixture f;
    struct mir_net_dev_stats before, after;
    /* A tap and a packet socket keep one buffer back for small frames: the ACK that frees memory
     * must come through. */
    uint32_t saved = s->provoke == provoke_tap ? 1 : 0;
    fixture_init(&f);
    tap_case(
        "%s: without memory a received frame is dropped and counted, or saved by a spare buffer",
        s->name);
    const char *skip = s->open(&f);
    if (skip != NULL) {
        tap_skip(skip);
        close_fixture(&f);
        return;
    }
    check_int(start(&f), ==, 0);
    s->provoke(&f, 1);
    run_until(&f, 1);
    check_int(f.rx, ==, 1);
    mir_net_dev_stats(f.dev, &before);
    if (s->provoke == provoke_tap) {
        s->provoke(&f, 1);
        mir_pool_fail_at(&f.bufs.pool, 1);
    } else {
        mir_pool_fail_at(&f.bufs.pool, 2); /* the first is for the request */
        s->provoke(&f, 1);
    }
    settle(&f);
    mir_net_dev_stats(f.dev, &after);
    check_int(after.rx_dropped - before.rx_dropped, ==, saved == 0 ? 1 : 0);
    check_int(f.rx, ==, 1 + saved);
    s->provoke(&f, 1);
    run_until(&f, 2 + saved);
    check_int(f.rx, ==, 2 + saved);
    close_fixture(&f);
}

/* Only what is for us comes through the filter: our MAC, broadcast, multicast. */
static void test_packet_filter(void)
{
    static const struct {
        uint8_t mac[6];
        bool is_ours;
    } cases[] = {{{2, 0, 0, 0, 0, 1}, true},
                 {{2, 0, 0, 0, 0, 2}, false},
                 {{2, 1, 0, 0, 0, 1}, false},
                 {{2, 0, 0, 1, 0, 1}, false},
                 {{1, 0, 0x5e, 0, 0, 1}, true},
                 {{0x33, 0x33, 0, 0, 0, 1}, true},
                 {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, true}};
    uint8_t frame[FRAME_LEN] = {0};
    struct fixture f;
    fixture_init(&f);
    tap_case("packet: frames for others and our own stay out");
    const char *skip = open_packet(&f);
    if (skip != NULL) {
        tap_skip(skip);
        close_fixture(&f);
        return;
    }
    check_int(start(&f), ==, 0);
    mir_put_be16(frame + 12, TEST_TYPE);
    for (size_t i = 0; i < MIR_ARRAY_LEN(cases); i++) {
        uint32_t rx = f.rx;
        memcpy(frame, cases[i].mac, 6);
        check_int(send(f.packet_fd, frame, sizeof frame, 0), ==, FRAME_LEN);
        if (cases[i].is_ours)
            run_until(&f, rx + 1);
        else
            settle(&f);
        check_int(f.rx - rx, ==, cases[i].is_ours);
    }
    uint32_t rx = f.rx;
    check_int(mir_net_dev_tx(f.dev, make_frame(&f, FRAME_LEN, 1)), ==, 0);
    mir_net_dev_flush(f.dev);
    settle(&f);
    check_int(f.rx, ==, rx);
    close_fixture(&f);
}

/* More than the ring has slots while nobody looks: dropped and counted; then it goes on. */
static void test_packet_overrun(void)
{
    struct mir_net_dev_stats stats;
    struct fixture f;
    fixture_init(&f);
    tap_case("packet: what a full ring drops is counted, and the ring goes on");
    const char *skip = open_packet(&f);
    if (skip != NULL) {
        tap_skip(skip);
        close_fixture(&f);
        return;
    }
    check_int(start(&f), ==, 0);
    provoke_tap(&f, 1500);
    run_until(&f, 1024);
    settle(&f);
    mir_net_dev_stats(f.dev, &stats);
    check_int(f.rx, ==, 1024);
    check_int(stats.rx_dropped, ==, 1500 - 1024);
    provoke_tap(&f, 1000);
    run_until(&f, 2024);
    check_int(f.rx, ==, 2024);
    close_fixture(&f);
}

/* A slow queue behind the device: frames charged to the socket fill it. */
static void test_packet_full(void)
{
    struct mir_net_dev_stats stats;
    struct fixture f;
    int r = 0;
    fixture_init(&f);
    tap_case("packet: at a full socket frames wait, then drop; it tells when there is room");
    const char *skip = open_packet(&f);
    if (skip == NULL && system("tc qdisc add dev pk0 root tbf rate 1mbit burst 64kb limit 64mb "
                               "2>/dev/null") != 0)
        skip = "this host gives no tbf queue";
    if (skip != NULL) {
        tap_skip(skip);
        close_fixture(&f);
        return;
    }
    check_int(start(&f), ==, 0);
    for (uint32_t i = 0; i < 50000 && r == 0; i++)
        r = mir_net_dev_tx(f.dev, make_frame(&f, 1514, i));
    check_int(r, ==, -MIR_EAGAIN);
    check_int(mir_net_dev_tx_room(f.dev), ==, 0);
    mir_net_dev_stats(f.dev, &stats);
    check_int(stats.tx_dropped, ==, 1); /* the last one: all before are sent or wait */
    check_int(stats.tx_full, ==, 1);
    check_int(stats.tx_errors, ==, 0);
    check_int(f.tx_readys, ==, 0);
    check_int(system("tc qdisc delete dev pk0 root"), ==, 0); /* and the frames in it */
    mir_time_us end_us = f.clock->monotonic(f.clock) + WAIT_US;
    while (f.tx_readys == 0 && f.clock->monotonic(f.clock) < end_us)
        mir__poll_wait(&f.poll, f.clock->monotonic(f.clock) + 10 * MIR_US_PER_MS);
    check_int(f.tx_readys, ==, 1);
    check_int(mir_net_dev_tx_room(f.dev), >, 0);
    check_int(mir_net_dev_tx(f.dev, make_frame(&f, FRAME_LEN, 1)), ==, 0);
    mir_net_dev_flush(f.dev);
    close_fixture(&f);
}

/* The host's news come when they come. */
static void wait_for_link_ups(struct fixture *f, uint32_t count)
{
    mir_time_us now_us = f->clock->monotonic(f->clock), end_us = now_us + 3 * WAIT_US;
    while (f->link_ups < count && now_us < end_us) {
        mir__poll_wait(&f->poll, now_us + 10 * MIR_US_PER_MS);
        now_us = f->clock->monotonic(f->clock);
    }
    check_int(f->link_ups, ==, count);
}

/* A watch that is ready forever would be called at every look; late news are a few. */
static void check_rests(struct fixture *f)
{
    uint64_t events = f->poll.events;
    for (int i = 0; i < 4; i++)
        settle(f);
    check_int(f->poll.events - events, <, 8);
}

/* Down, up, removed: told once each, and nothing spins or crashes. */
static void test_packet_link(void)
{
    struct fixture f;
    fixture_init(&f);
    tap_case("packet: an interface that goes down, comes back and is removed");
    const char *skip = open_packet(&f);
    if (skip != NULL) {
        tap_skip(skip);
        close_fixture(&f);
        return;
    }
    check_int(start(&f), ==, 0);
    check_int(f.link_ups, ==, 1);
    check_int(system("ip link set pk0 down"), ==, 0);
    settle(&f);
    check_int(mir_net_dev_tx(f.dev, make_frame(&f, FRAME_LEN, 1)), ==, -MIR_EIO);
    check_rests(&f);
    check_int(system("ip link set pk0 up"), ==, 0);
    wait_for_link_ups(&f, 2);
    /* The other end may be ready later. */
    for (int tries = 0; tries < 500 && f.rx == 0; tries++) {
        provoke_tap(&f, 1);
        settle(&f);
        mir__poll_wait(&f.poll, f.clock->monotonic(f.clock) + 10 * MIR_US_PER_MS);
    }
    check_int(f.rx, >=, 1);
    check_int(system("ip link delete pk0"), ==, 0);
    settle(&f);
    check_int(mir_net_dev_tx(f.dev, make_frame(&f, FRAME_LEN, 1)), ==, -MIR_EIO);
    check_rests(&f);
    mir_net_dev_stop(f.dev);
    check_int(start(&f), ==, -MIR_EIO);
    close_fixture(&f);
}

static void test_packet_refusals(void)
{
    char error[MIR_PACKET_ERROR_MAX];
    struct fixture f;
    fixture_init(&f);
    tap_case("packet: an interface that is absent, not Ethernet or has our MAC is refused");
    const char *skip = open_packet(&f);
    if (skip != NULL) {
        tap_skip(skip);
        close_fixture(&f);
        return;
    }
    struct mir_net_dev *dev = f.dev;
    check_int(open_packet_on(&f, "absent0", error), ==, -MIR_EINVAL);
    check(strstr(error, "no such interface") != NULL);
    check_int(open_packet_on(&f, "lo", error), ==, -MIR_EINVAL);
    check(strstr(error, "not an Ethernet") != NULL);
    check_int(open_packet_on(&f, "sixteen-letters-", error), ==, -MIR_EINVAL);
    check_int(open_packet_on(&f, NULL, error), ==, -MIR_EINVAL);
    check_int(system("ip link set pk1 address 02:00:00:00:00:01"), ==, 0);
    check_int(open_packet_on(&f, "pk1", error), ==, -MIR_EINVAL);
    check(strstr(error, "MAC") != NULL);
    f.dev = dev;
    close_fixture(&f);
}

/* Frames that nobody reads, waited for until the kernel has counted them all. */
static void fill_queue(struct fixture *f, uint32_t count)
{
    struct tpacket_stats stats;
    socklen_t len = sizeof stats;
    uint32_t seen = 0, sent = 0;
    check_int(getsockopt(the_queue, SOL_PACKET, PACKET_STATISTICS, &stats, &len), ==, 0);
    mir_time_us end_us = f->clock->monotonic(f->clock) + WAIT_US;
    while (seen < count && f->clock->monotonic(f->clock) < end_us) {
        uint32_t n = seen < sent ? 0 : MIR_MIN(count - sent, BATCH);
        provoke_tap(f, n);
        sent += n;
        if (getsockopt(the_queue, SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0)
            seen += stats.tp_packets;
    }
    check_int(seen, >=, count);
}

/* Each reader of a ring goes on where the one before has stopped, wherever that is: the ring has
 * 1,024 slots, and what does not fit is dropped. */
static void test_packet_readers(void)
{
    static const struct {
        uint32_t read, unread;
    } turns[] = {{0, 0}, {0, 7}, {5, 0}, {1015, 20}, {3, 1100}, {100, 1024}, {0, 1}, {1024, 64}};
    char error[MIR_PACKET_ERROR_MAX];
    struct fixture f;
    fixture_init(&f);
    tap_case("packet: the next reader of a ring finds where the one before has stopped");
    const char *skip = open_adopted(&f);
    if (skip != NULL) {
        tap_skip(skip);
        close_fixture(&f);
        return;
    }
    check_int(start(&f), ==, 0);
    for (size_t i = 0; i < MIR_ARRAY_LEN(turns); i++) {
        f.rx = 0;
        for (uint32_t left = turns[i].read, n; left > 0; left -= n) {
            n = MIR_MIN(left, BATCH);
            provoke_tap(&f, n);
            run_until(&f, turns[i].read - left + n);
        }
        check_int(f.rx, ==, turns[i].read);
        mir_net_dev_close(f.dev);
        f.rx = 0;
        fill_queue(&f, turns[i].unread);
        uint32_t fit = MIR_MIN(turns[i].unread, 1024u);
        f.dev = NULL;
        if (!check_int(adopt_packet(&f, error), ==, 0) || !check_int(start(&f), ==, 0))
            break;
        /* A full ring may have a frame or two of the kernel's own. */
        uint32_t least = fit == 1024 ? fit - 16 : fit;
        run_until(&f, least);
        settle(&f);
        check_int(f.rx, >=, least);
        check_int(f.rx, <=, fit);
    }
    close_fixture(&f);
}

static void test_middleware_output(void)
{
    struct fixture f;
    fixture_init(&f);
    tap_case("pcap: every frame is captured");
    open_pcap(&f);
    check_int(start(&f), ==, 0);
    check_send(&f, &subjects[1]);
    mir_net_dev_stop(f.dev);
    check_int(the_pcap.frames, ==, BATCH);
    check_int(f.captured, >, BATCH * (FRAME_LEN + 32));
    close_fixture(&f);
    fixture_init(&f);
    tap_case("trace: a line for every frame");
    open_trace(&f);
    check_int(start(&f), ==, 0);
    check_send(&f, &subjects[3]);
    check_int(f.lines, ==, BATCH);
    close_fixture(&f);
}

int main(void)
{
    tap_begin("net_contract");
    for (size_t i = 0; i < MIR_ARRAY_LEN(subjects); i++)
        test_subject(&subjects[i]);
    test_full_pipe();
    test_no_memory(&subjects[4]);
    test_no_memory(&subjects[5]);
    test_no_memory(&subjects[6]);
    test_packet_filter();
    test_packet_overrun();
    test_packet_full();
    test_packet_link();
    test_packet_refusals();
    test_subject(&adopted);
    test_packet_readers();
    test_middleware_output();
    return tap_done();
}
