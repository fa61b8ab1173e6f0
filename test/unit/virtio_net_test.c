/* SPDX-License-Identifier: ISC */
/* The virtio network driver on a device in memory: offloads, merged buffers, memory that runs out,
 * resets, the link, the control queue, and the advisories MSA00 to MSA02. That it keeps the
 * contract of a network device on all transports shows test/contract/net_contract_test.c. */
#include <string.h>

#include "test/harness/tap.h"
#include "test/harness/virtbed.h"

static struct virtbed bed;

#define LEGACY_HEADER (VIRTDEV_NET_ALL & ~MIR_VIRTIO_F_ANY_LAYOUT)

static void open_bed(enum virtdev_transport transport, uint64_t features, uint16_t queue_max)
{
    virtbed_init(&bed, transport, features, queue_max);
    check_int(virtbed_open(&bed, NULL), ==, 0);
    check_int(virtbed_start(&bed), ==, 0);
    virtbed_run(&bed);
}

static void close_bed(void)
{
    check_int(bed.m.d.violations, ==, 0);
    if (bed.m.d.violations != 0)
        tap_note("the driver: %s", bed.m.d.violation);
    check_int(virtbed_close(&bed), ==, 0);
}

static struct mir_virtio_net_counters counters(void)
{
    struct mir_virtio_net_counters c;
    mir_virtio_net_counters(bed.dev, &c);
    return c;
}

static struct mir_net_dev_stats stats(void)
{
    struct mir_net_dev_stats s;
    mir_net_dev_stats(bed.dev, &s);
    return s;
}

/* ---- features
 * ------------------------------------------------------------------------------------ */

static void test_features(void)
{
    tap_case("everything that is offered becomes a capability");
    open_bed(VIRTDEV_MMIO, VIRTDEV_NET_ALL, 256);
    const struct mir_net_dev_info *info = &bed.dev->info;
    check_int(info->caps, ==,
              MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_TX_TSO6 | MIR_NET_RX_CSUM |
                  MIR_NET_RX_GRO | MIR_NET_TX_SG);
    check_int(info->gso_max, ==, 65549);
    check_int(info->mtu, ==, 1500);
    check_int(info->mac[5], ==, 0x99);
    close_bed();
    tap_case("what needs another feature is not taken without it");
    open_bed(VIRTDEV_MMIO,
             VIRTDEV_NET_ALL &
                 ~(MIR__VIRTNET_F_CSUM | MIR__VIRTNET_F_GUEST_CSUM | MIR__VIRTNET_F_CTRL_VQ),
             256);
    check_int(bed.dev->info.caps, ==, MIR_NET_TX_SG);
    check(!(bed.m.d.accepted & (MIR__VIRTNET_F_GUEST_TSO4 | MIR__VIRTNET_F_HOST_TSO4 |
                                MIR__VIRTNET_F_GUEST_ECN | MIR__VIRTNET_F_CTRL_RX)));
    close_bed();
    tap_case("no merged buffers, no large frames inwards");
    open_bed(VIRTDEV_MMIO, VIRTDEV_NET_ALL & ~MIR__VIRTNET_F_MRG_RXBUF, 256);
    check(!(bed.dev->info.caps & MIR_NET_RX_GRO));
    check(bed.dev->info.caps & MIR_NET_TX_TSO4);
    close_bed();
    tap_case("plain: no offloads though they are offered");
    struct mir_virtio_net_config config = {.is_plain = true, .mtu = 1400};
    virtbed_init(&bed, VIRTDEV_PCI, VIRTDEV_NET_ALL, 256);
    check_int(virtbed_open(&bed, &config), ==, 0);
    check_int(bed.dev->info.caps, ==, MIR_NET_TX_SG);
    check_int(bed.dev->info.gso_max, ==, 0);
    check_int(bed.dev->info.mtu, ==, 1400);
    close_bed();
    tap_case("the device's MTU is taken, a smaller one of ours too");
    virtbed_init(&bed, VIRTDEV_MMIO, VIRTDEV_NET_ALL | MIR__VIRTNET_F_MTU, 256);
    mir_put_le16(bed.m.d.config + 10, 9000);
    check_int(virtbed_open(&bed, NULL), ==, 0);
    check_int(bed.dev->info.mtu, ==, 9000);
    close_bed();
}

static void test_refusals(void)
{
    tap_case("another kind of device, no device, another version: refused");
    virtbed_init(&bed, VIRTDEV_MMIO, VIRTDEV_NET_ALL, 256);
    bed.m.d.id = MIR_VIRTIO_BLOCK;
    check_int(virtbed_open(&bed, NULL), ==, -MIR_EINVAL);
    bed.m.d.id = 0;
    check_int(virtbed_open(&bed, NULL), ==, -MIR_ENOENT);
    close_bed();
    tap_case("a device without VERSION_1 on a modern transport is refused");
    virtbed_init(&bed, VIRTDEV_MMIO, VIRTDEV_NET_ALL, 256);
    bed.m.d.offered &= ~MIR_VIRTIO_F_VERSION_1;
    check_int(virtbed_open(&bed, NULL), ==, -MIR_ENOTSUP);
    check(bed.m.d.status == 0 || bed.m.d.status & MIR_VIRTIO_FAILED);
    close_bed();
    tap_case("no queue, a tiny one: refused, all memory back");
    virtbed_init(&bed, VIRTDEV_MMIO, VIRTDEV_NET_ALL, 256);
    bed.m.d.queue[1].size_max = 0;
    check_int(virtbed_open(&bed, NULL), ==, 0);
    check_int(virtbed_start(&bed), ==, -MIR_ENOENT);
    close_bed();
    virtbed_init(&bed, VIRTDEV_MMIO, VIRTDEV_NET_ALL & ~MIR_VIRTIO_F_INDIRECT, 16);
    check_int(virtbed_open(&bed, NULL), ==, 0);
    check_int(virtbed_start(&bed), ==, -MIR_ENOTSUP);
    close_bed();
    tap_case("a multicast MAC is refused");
    virtbed_init(&bed, VIRTDEV_MMIO, VIRTDEV_NET_ALL, 256);
    bed.m.d.config[0] = 1;
    check_int(virtbed_open(&bed, NULL), ==, -MIR_EINVAL);
    close_bed();
    tap_case("memory that runs out while opening: refused, all memory back");
    for (uint64_t nth = 1; nth < 12; nth++) {
        virtbed_init(&bed, VIRTDEV_MMIO, VIRTDEV_NET_ALL, 256);
        mir_page_pool_fail_at(&bed.net.pages, nth);
        if (virtbed_open(&bed, NULL) == 0)
            (void)virtbed_start(&bed);
        mir_page_pool_fail_at(&bed.net.pages, 0);
        close_bed();
    }
}

/* ---- send
 * ---------------------------------------------------------------------------------------- */

static uint8_t sent[VIRTDEV_NET_FRAME_MAX];
static uint8_t sent_header[12];
static uint32_t sent_len;

static void note_frame(void *arg, const uint8_t *header, const uint8_t *frame, uint32_t len)
{
    (void)arg;
    memcpy(sent, frame, len);
    memcpy(sent_header, header, 12);
    sent_len = len;
}

/* A TCP segment of @len bytes of which all but the headers are views of pages. */
static struct mir_buf *make_tso(uint32_t len)
{
    struct mir_buf *buf = virtbed_frame(&bed, 54, 1);
    buf->flags = MIR_BUF_CSUM_PARTIAL | MIR_BUF_GSO_TCP4;
    buf->gso_size = 1448;
    buf->csum_start = 34;
    buf->csum_offset = 16;
    buf->data[34 + 12] = 5 << 4;
    for (uint32_t left = len - 54, number = 0; left > 0; number++) {
        struct mir_io_page *page;
        uint32_t n = MIR_MIN(left, MIR_PAGE_SIZE);
        check_int(mir_page_alloc(&bed.net.pages, MIR_PAGE_SIZE, MIR_PAGE_OVERWRITE, &page), ==, 0);
        memset(page->base, (int)number + 1, MIR_PAGE_SIZE);
        check_int(mir_buf_add_view(buf, (struct mir_view){page, page->base, n}), ==, 0);
        left -= n;
    }
    return buf;
}

static void test_send(enum virtdev_transport transport, uint64_t features)
{
    tap_case("%s: 64 KiB in one frame with its header, nothing copied",
             virtdev_transport_name[transport]);
    open_bed(transport, features, 256);
    bed.m.on_frame = note_frame;
    check_int(mir_net_dev_tx(bed.dev, make_tso(65549)), ==, 0);
    mir_net_dev_flush(bed.dev);
    virtbed_run(&bed);
    check_int(sent_len, ==, 65549);
    check_int(sent_header[0], ==, MIR__VNET_NEEDS_CSUM);
    check_int(sent_header[1], ==, MIR__VNET_TCPV4);
    check_int(mir_get_le16(sent_header + 2), ==, 54);
    check_int(mir_get_le16(sent_header + 4), ==, 1448);
    check_int(mir_get_le16(sent_header + 6), ==, 34);
    check_int(mir_get_le16(sent_header + 8), ==, 16);
    check_int(mir_get_le16(sent_header + 10), ==, 0);
    check_int(sent[54], ==, 1);
    check_int(sent[54 + 4096], ==, 2);
    check_int(counters().tx_copied, ==, 0);
    check_int(counters().tx_large, ==, 1);
    tap_case("%s: a frame without head room is copied", virtdev_transport_name[transport]);
    struct mir_buf *buf = virtbed_frame(&bed, 100, 5);
    struct mir_view view = {mir_page_acquire(buf->page), buf->data, buf->len};
    mir_buf_release(buf);
    check_int(mir_net_dev_tx(bed.dev, mir_buf_from_view(&bed.net.bufs, view)), ==, 0);
    mir_net_dev_flush(bed.dev);
    virtbed_run(&bed);
    check_int(sent_len, ==, 100);
    check_int(sent[20], ==, (uint8_t)(5 + 20 * 7));
    check_int(counters().tx_copied, ==, 1);
    close_bed();
}

static void test_full(void)
{
    uint32_t count = 0;
    tap_case("a full ring drops and counts, asks for an interrupt, and tells when there is room");
    open_bed(VIRTDEV_MMIO, VIRTDEV_NET_ALL, 64);
    bed.m.holds = true;
    while (mir_net_dev_tx_room(bed.dev) > 0) {
        check_int(mir_net_dev_tx(bed.dev, virtbed_frame(&bed, 100, count)), ==, 0);
        count++;
    }
    check_int(count, ==, 64 - MIR_NET_TX_KEPT);
    check_int(stats().tx_dropped, ==, 0);
    while (mir_net_dev_tx(bed.dev, virtbed_frame(&bed, 100, count)) == 0)
        count++;
    mir_net_dev_flush(bed.dev);
    virtbed_run(&bed);
    check_int(count, ==, 64);
    check_int(mir_net_dev_tx_room(bed.dev), ==, 0);
    check_int(stats().tx_dropped, ==, 1);
    check_int(stats().tx_full, ==, 1);
    check_int(bed.net.tx_readys, ==, 0);
    uint32_t before = bed.m.d.interrupts;
    virtdev_net_return(&bed.m, 31, false);
    check_int(bed.m.d.interrupts - before, ==, 0);
    virtdev_net_return(&bed.m, 10, false);
    check_int(bed.m.d.interrupts - before, ==, 1);
    virtbed_run(&bed);
    check_int(bed.net.tx_readys, ==, 1);
    check_int(mir_net_dev_tx_room(bed.dev), >, 16);
    tap_case("nobody asks for interrupts of what was sent; a timer releases it");
    before = bed.m.d.interrupts;
    virtdev_net_return(&bed.m, 64, true);
    check_int(bed.m.d.interrupts, ==, before);
    virtbed_pass(&bed, 50 * MIR_US_PER_MS);
    check_int(mir_pool_used(&bed.net.bufs.pool), <=, 1);
    tap_case("a device that sleeps over its frames is notified again, less and less often");
    bed.m.holds = false;
    bed.m.d.is_lazy = true;
    uint32_t notified = bed.m.d.notifications;
    check_int(mir_net_dev_tx(bed.dev, virtbed_frame(&bed, 100, 1)), ==, 0);
    mir_net_dev_flush(bed.dev);
    virtbed_pass(&bed, 2 * MIR_US_PER_S);
    check_int(bed.m.d.notifications - notified, >=, 3);
    check_int(bed.m.d.notifications - notified, <=, 10);
    check_int(counters().tx_stalls, >=, 3);
    bed.m.d.is_lazy = false;
    virtbed_pass(&bed, 2 * MIR_US_PER_S);
    check_int(mir_pool_used(&bed.net.bufs.pool), <=, 1);
    check(!mir_timer_is_set(&mir__virtnet_of(bed.dev)->timer));
    close_bed();
}

static void test_batch(void)
{
    tap_case("a batch is one notification; the device sees nothing before flush");
    open_bed(VIRTDEV_PCI, VIRTDEV_NET_ALL, 256);
    uint32_t before = bed.m.d.notifications;
    for (uint32_t i = 0; i < 32; i++)
        check_int(mir_net_dev_tx(bed.dev, virtbed_frame(&bed, 100, i)), ==, 0);
    check_int(virtdev_available(&bed.m.d, 1), ==, 0);
    mir_net_dev_flush(bed.dev);
    check_int(virtdev_available(&bed.m.d, 1), ==, 32);
    check_int(bed.m.d.notifications - before, ==, 1);
    virtbed_run(&bed);
    check_int(bed.m.frames, ==, 32);
    close_bed();
}

/* ---- receive
 * ------------------------------------------------------------------------------------- */

static uint8_t frame[VIRTDEV_NET_FRAME_MAX];

static bool receive(const uint8_t *header, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        frame[i] = (uint8_t)(i * 11 + len);
    uint32_t before = bed.net.rx;
    if (!virtdev_net_send(&bed.m, header, frame, len))
        return false;
    virtbed_run(&bed);
    return bed.net.rx == before + 1;
}

static bool is_same(uint32_t len)
{
    static uint8_t got[VIRTDEV_NET_FRAME_MAX];
    return mir_buf_total(bed.last) == len && mir_buf_copy_out(bed.last, 0, got, len) == 0 &&
           memcmp(got, frame, len) == 0;
}

static void test_receive(void)
{
    static const uint32_t lens[] = {14, 60, 173, 174, 175, 600, 1514, 4066, 4067, 8000, 65549};
    static const uint8_t gso[10] = {
        MIR__VNET_NEEDS_CSUM, MIR__VNET_TCPV6, 74, 0, 0x94, 5, 54, 0, 16, 0};
    static const uint8_t valid[10] = {MIR__VNET_DATA_VALID};
    open_bed(VIRTDEV_MMIO, VIRTDEV_NET_ALL, 256);
    for (size_t i = 0; i < MIR_ARRAY_LEN(lens); i++) {
        tap_case("a frame of %u bytes comes up whole", lens[i]);
        check(receive(NULL, lens[i]));
        check(is_same(lens[i]));
        check_int(bed.last->flags, ==, 0);
    }
    tap_case("64 KiB come as pages of the ring: nothing is copied");
    uint64_t copied = counters().rx_copied;
    check(receive(gso, 65549));
    check_int(bed.last->frag_count, ==, 16);
    check_int(bed.last->flags, ==, MIR_BUF_CSUM_PARTIAL | MIR_BUF_GSO_TCP6);
    check_int(bed.last->gso_size, ==, 1428);
    check_int(counters().rx_copied, ==, copied);
    check_int(counters().rx_large, >=, 2);
    check_int(mir_buf_headroom(bed.last), >=, 12);
    tap_case("a checksum that the device vouches for");
    check(receive(valid, 100));
    check_int(bed.last->flags, ==, MIR_BUF_CSUM_VALID);
    tap_case("all pages go round many times");
    for (uint32_t i = 0; i < 300; i++)
        check(receive(NULL, 60 + i * 200));
    close_bed();
    tap_case("without merged buffers, MTU 9000: one run of pages for each frame");
    virtbed_init(&bed, VIRTDEV_PCI_LEGACY,
                 (LEGACY_HEADER & ~MIR__VIRTNET_F_MRG_RXBUF) | MIR__VIRTNET_F_MTU, 64);
    mir_put_le16(bed.m.d.config + 10, 9000);
    check_int(virtbed_open(&bed, NULL), ==, 0);
    check_int(virtbed_start(&bed), ==, 0);
    virtbed_run(&bed);
    check(receive(NULL, 9014));
    check(is_same(9014));
    check_int(bed.last->frag_count, ==, 0);
    check(receive(NULL, 60));
    check(is_same(60));
    close_bed();
}

static void test_wrong_frames(void)
{
    tap_case("frames too short, too long: dropped and counted, the ring stays full");
    open_bed(VIRTDEV_MMIO,
             VIRTDEV_NET_ALL & ~(MIR__VIRTNET_F_GUEST_TSO4 | MIR__VIRTNET_F_GUEST_TSO6), 256);
    uint32_t lent = virtdev_available(&bed.m.d, 0);
    check(!receive(NULL, 13));
    check(!receive(NULL, 1519));
    check(!receive(NULL, 5000));
    check(receive(NULL, 1518)); /* with a tag */
    check_int(stats().rx_errors, ==, 3);
    check_int(virtdev_available(&bed.m.d, 0), ==, lent);
    tap_case("a chain too short for its header");
    struct virtdev_chain chain;
    check(virtdev_pop(&bed.m.d, 0, &chain));
    virtdev_push(&bed.m.d, 0, chain.head, 5);
    virtdev_publish(&bed.m.d, 0);
    virtbed_run(&bed);
    check_int(stats().rx_errors, ==, 4);
    check_int(counters().resets, ==, 0);
    close_bed();
    tap_case("a number of pages that cannot be resets the device");
    static const uint16_t counts[] = {0, 20, 2, 0xffff};
    for (size_t i = 0; i < MIR_ARRAY_LEN(counts); i++) {
        open_bed(VIRTDEV_MMIO, VIRTDEV_NET_ALL, 256);
        uint8_t header[12] = {0};
        mir_put_le16(header + 10, counts[i]);
        check(virtdev_pop(&bed.m.d, 0, &chain));
        virtdev_write(&chain, 0, header, 12);
        virtdev_push(&bed.m.d, 0, chain.head, 100);
        virtdev_publish(&bed.m.d, 0);
        (void)mir_virtio_driver_poll(mir_virtio_net_driver(bed.dev), 0);
        check_int(counters().faults, ==, 1);
        check_int(bed.net.link_downs, ==, 1);
        virtbed_pass(&bed, 10 * MIR_US_PER_MS);
        check_int(bed.net.link_ups, ==, 2);
        check(receive(NULL, 100));
        close_bed();
    }
}

static void test_no_memory(void)
{
    struct mir_io_page *hoard[4096];
    uint32_t count = 0;
    open_bed(VIRTDEV_MMIO, VIRTDEV_NET_ALL, 64);
    uint32_t lent = virtdev_available(&bed.m.d, 0);
    tap_case("without memory frames are dropped, their pages lent again");
    while (mir_page_alloc(&bed.net.pages, MIR_PAGE_SIZE, MIR_PAGE_OVERWRITE, &hoard[count]) == 0)
        count++;
    for (int i = 0; i < 100; i++) {
        check(!receive(NULL, 1514));
        check(!receive(NULL, 30000));
    }
    check_int(stats().rx_dropped, ==, 200);
    check_int(virtdev_available(&bed.m.d, 0), ==, lent);
    tap_case("an ACK still comes through");
    mir_pool_fail_at(&bed.net.bufs.pool, 1);
    check(receive(NULL, 66));
    tap_case("with memory again everything comes");
    while (count > 0)
        mir_page_release(hoard[--count]);
    check(receive(NULL, 65000));
    check(is_same(65000));
    close_bed();
}

/* ---- memory: the advisories
 * ---------------------------------------------------------------------- */

static void test_stale_data(void)
{
    tap_case("MSA01: nothing behind the received length is shown");
    open_bed(VIRTDEV_MMIO, VIRTDEV_NET_ALL, 64);
    check(receive(NULL, 1514));
    uint8_t *base = bed.last->page->base;
    mir_buf_release(bed.last);
    bed.last = NULL;
    (void)base;
    for (uint32_t len = 200; len < 1400; len += 100) {
        check(receive(NULL, len));
        check_int(mir_buf_total(bed.last), ==, len);
        check(is_same(len));
    }
    tap_case("MSA01: what is sent has no byte but header and frame");
    bed.m.on_frame = note_frame;
    struct mir_buf *buf = virtbed_frame(&bed, 60, 9);
    memset(buf->data - 40, 0xee, 40);
    check_int(mir_net_dev_tx(bed.dev, buf), ==, 0);
    mir_net_dev_flush(bed.dev);
    virtbed_run(&bed);
    static const uint8_t zero[12];
    check_mem(sent_header, zero, 12);
    check_int(sent_len, ==, 60);
    close_bed();
}

static void test_unconfirmed(void)
{
    tap_case("MSA02: pages of a device that does not confirm its reset are never used again");
    open_bed(VIRTDEV_MMIO, VIRTDEV_NET_ALL, 64);
    bed.m.holds = true;
    for (uint32_t i = 0; i < 8; i++)
        check_int(mir_net_dev_tx(bed.dev, virtbed_frame(&bed, 1000, i)), ==, 0);
    mir_net_dev_flush(bed.dev);
    virtbed_run(&bed);
    bed.m.d.keeps_memory = true;
    mir_net_dev_stop(bed.dev);
    check_int(counters().quarantined, ==, 64 + 8);
    check_int(mir_pool_used(&bed.net.bufs.pool), ==, 8);
    size_t held = mir_page_pool_used_bytes(&bed.net.pages);
    check_int(held, >=, (64 + 8) * MIR_PAGE_SIZE);
    check_int(virtbed_start(&bed), ==, -MIR_EIO);
    check_int(mir_net_dev_tx(bed.dev, virtbed_frame(&bed, 100, 1)), ==, -MIR_EIO);
    /* What the device still writes hits nobody. */
    struct virtdev_chain chain;
    struct mir_io_page *page;
    while (virtdev_pop(&bed.m.d, 0, &chain))
        memset(chain.seg[0].data, 0x66, chain.seg[0].len);
    for (int i = 0; i < 200; i++) {
        check_int(mir_page_alloc(&bed.net.pages, MIR_PAGE_SIZE, MIR_PAGE_ZERO, &page), ==, 0);
        check_int(page->base[100], ==, 0);
    }
    mir_net_dev_close(bed.dev);
    tap_case("MSA02: what is on its way when a device is stopped comes back after its reset only");
    open_bed(VIRTDEV_MMIO, VIRTDEV_NET_ALL, 64);
    bed.m.holds = true;
    check_int(mir_net_dev_tx(bed.dev, virtbed_frame(&bed, 1000, 1)), ==, 0);
    mir_net_dev_flush(bed.dev);
    virtbed_run(&bed);
    virtbed_pass(&bed, MIR_US_PER_S);
    check_int(mir_pool_used(&bed.net.bufs.pool), >=, 1);
    uint32_t resets = bed.m.d.resets;
    mir_net_dev_stop(bed.dev);
    check_int(bed.m.d.resets, ==, resets + 1);
    check_int(mir_pool_used(&bed.net.bufs.pool), ==, 0);
    close_bed();
}

/* ---- link, control, reset
 * ------------------------------------------------------------------------ */

static void test_link(void)
{
    tap_case("the link goes down and up");
    open_bed(VIRTDEV_PCI, VIRTDEV_NET_ALL, 64);
    check_int(bed.net.link_ups, ==, 1);
    virtdev_net_set_status(&bed.m, 0);
    virtbed_run(&bed);
    check_int(bed.net.link_downs, ==, 1);
    virtdev_net_set_status(&bed.m, MIR__VIRTNET_LINK_UP);
    virtbed_run(&bed);
    check_int(bed.net.link_ups, ==, 2);
    tap_case("an announcement is passed on and acknowledged");
    virtdev_net_set_status(&bed.m, MIR__VIRTNET_LINK_UP | MIR__VIRTNET_ANNOUNCE);
    virtbed_run(&bed);
    check_int(bed.net.link_ups, ==, 3);
    check_int(bed.m.announce_acks, ==, 1);
    close_bed();
}

static void test_control(void)
{
    struct mir_virtio_net_config config = {.has_mac = true, .mac = {2, 0, 0, 0, 0, 0x42}};
    tap_case("our own MAC, not promiscuous, all multicast");
    virtbed_init(&bed, VIRTDEV_MMIO, VIRTDEV_NET_ALL, 256);
    bed.m.is_promiscuous = true;
    check_int(virtbed_open(&bed, &config), ==, 0);
    check_int(virtbed_start(&bed), ==, 0);
    virtbed_run(&bed);
    check_int(bed.dev->info.mac[5], ==, 0x42);
    check_int(bed.m.mac[5], ==, 0x42);
    check(!bed.m.is_promiscuous);
    check(bed.m.is_all_multicast);
    mir_virtio_net_set_promiscuous(bed.dev, true);
    virtbed_run(&bed);
    check(bed.m.is_promiscuous);
    close_bed();
    tap_case("a device that refuses our MAC is told to be promiscuous, if it will");
    virtbed_init(&bed, VIRTDEV_MMIO, VIRTDEV_NET_ALL, 256);
    bed.m.refuses = true;
    check_int(virtbed_open(&bed, &config), ==, 0);
    check_int(virtbed_start(&bed), ==, 0);
    virtbed_run(&bed);
    check_int(counters().control_refused, >=, 2);
    close_bed();
    tap_case("several pairs of queues: the control queue lies behind them, one pair is used");
    virtbed_init(&bed, VIRTDEV_PCI, VIRTDEV_NET_ALL | MIR__VIRTNET_F_MQ, 256);
    bed.m.d.queue_count = 5;
    for (int i = 0; i < 5; i++)
        bed.m.d.queue[i].size_max = 256;
    mir_put_le16(bed.m.d.config + 8, 2);
    check_int(virtbed_open(&bed, NULL), ==, 0);
    check_int(virtbed_start(&bed), ==, 0);
    virtbed_run(&bed);
    check_int(bed.m.pairs, ==, 1);
    close_bed();
    tap_case("so many pairs that the control queue would have the number of the first one");
    virtbed_init(&bed, VIRTDEV_PCI, VIRTDEV_NET_ALL | MIR__VIRTNET_F_MQ, 256);
    mir_put_le16(bed.m.d.config + 8, 0x8000);
    check_int(virtbed_open(&bed, NULL), ==, -MIR_ENOTSUP);
    close_bed();
}

static void test_reset(void)
{
    tap_case("a device that asks for a reset gets one, and frames flow again");
    open_bed(VIRTDEV_PCI, VIRTDEV_NET_ALL, 64);
    bed.m.holds = true;
    for (uint32_t i = 0; i < 4; i++)
        check_int(mir_net_dev_tx(bed.dev, virtbed_frame(&bed, 100, i)), ==, 0);
    mir_net_dev_flush(bed.dev);
    virtbed_run(&bed);
    virtdev_need_reset(&bed.m.d);
    (void)mir_virtio_driver_poll(mir_virtio_net_driver(bed.dev),
                                 virtdev_events(&bed.m.d, bed.virtio));
    check_int(bed.net.link_downs, ==, 1);
    check_int(stats().tx_dropped, ==, 4);
    check_int(mir_net_dev_tx(bed.dev, virtbed_frame(&bed, 100, 1)), ==, -MIR_EIO);
    check_int(mir_net_dev_tx_room(bed.dev), ==, 0);
    bed.m.holds = false;
    virtbed_pass(&bed, 10 * MIR_US_PER_MS);
    check_int(bed.net.link_ups, ==, 2);
    check_int(bed.net.tx_readys, ==, 1); /* tx_room() had said 0 */
    check_int(counters().resets, ==, 1);
    check_int(counters().faults, ==, 0);
    check(receive(NULL, 5000));
    check_int(mir_net_dev_tx(bed.dev, virtbed_frame(&bed, 100, 1)), ==, 0);
    tap_case("one that asks all the time is reset less and less often");
    for (int i = 0; i < 500; i++) {
        virtdev_need_reset(&bed.m.d);
        virtbed_pass(&bed, 20 * MIR_US_PER_MS);
    }
    check_int(counters().resets, >, 5);
    check_int(counters().resets, <, 30);
    close_bed();
    tap_case("one whose features are others after a reset is tried again, not used");
    open_bed(VIRTDEV_PCI, VIRTDEV_NET_ALL, 64);
    bed.m.d.offered &= ~MIR__VIRTNET_F_MRG_RXBUF;
    virtdev_need_reset(&bed.m.d);
    virtbed_pass(&bed, MIR_US_PER_S);
    check_int(bed.net.link_ups, ==, 1);
    bed.m.d.offered |= MIR__VIRTNET_F_MRG_RXBUF;
    virtbed_pass(&bed, 2 * MIR_US_PER_S);
    check_int(bed.net.link_ups, ==, 2);
    check(receive(NULL, 5000));
    close_bed();
}

int main(void)
{
    tap_begin("virtio_net");
    test_features();
    test_refusals();
    test_send(VIRTDEV_MMIO, VIRTDEV_NET_ALL);
    test_send(VIRTDEV_PCI_LEGACY, LEGACY_HEADER);
    test_send(VIRTDEV_MMIO_LEGACY, VIRTDEV_NET_ALL & ~MIR_VIRTIO_F_INDIRECT);
    test_full();
    test_batch();
    test_receive();
    test_wrong_frames();
    test_no_memory();
    test_stale_data();
    test_unconfirmed();
    test_link();
    test_control();
    test_reset();
    return tap_done();
}
