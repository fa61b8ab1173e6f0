/* SPDX-License-Identifier: ISC */
/* The Xen network frontend against a backend in the same process: features, packets of all shapes,
 * a full ring, restarts, and backends drawn from a seed that do what no honest one does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/harness/tap.h"
#include "test/harness/xenbed.h"

#define BIG 65535u

static struct xenbed bed;
static uint8_t pattern[BIG + 64];

static struct {
    uint8_t data[XENBACK_FRAME];
    struct xenback_frame frame;
    uint32_t count;
} sent;

static void on_frame(void *arg, const struct xenback_frame *frame)
{
    (void)arg;
    memcpy(sent.data, frame->data, frame->len);
    sent.frame = *frame;
    sent.count++;
}

static void open_bed(const struct mir_netfront_config *config)
{
    xenbed_init(&bed, 1);
    memset(&sent, 0, sizeof sent);
    bed.b.on_frame = on_frame;
    check_int(xenbed_open(&bed, config), ==, 0);
    check_int(xenbed_start(&bed), ==, 0);
    xenbed_run(&bed);
}

static void close_bed(void)
{
    check_int(bed.b.violations, ==, 0);
    if (bed.b.violation != NULL)
        tap_note("%s", bed.b.violation);
    check_int(xenbed_close(&bed), ==, 0);
    check_int(bed.b.grants_used, ==, 0);
    check_int(bed.b.ports_open, ==, 0);
}

static struct mir_net_dev_stats stats(void)
{
    struct mir_net_dev_stats s;
    mir_net_dev_stats(bed.dev, &s);
    return s;
}

static struct mir_netfront_counters counters(void)
{
    struct mir_netfront_counters c;
    mir_netfront_counters(bed.dev, &c);
    return c;
}

/* ---- the store --------------------------------------------------------------------------------
 */

static int open_with(const char *path, const char *value)
{
    xenbed_init(&bed, 1);
    xenback_set(&bed.b, path, value);
    int r = xenbed_open(&bed, NULL);
    check_int(xenbed_close(&bed), ==, 0);
    return r;
}

static void test_store(void)
{
    static const char back[] = "/local/domain/0/backend/vif/5/0/";
    char path[80];
    tap_case("what the store says is checked");
    snprintf(path, sizeof path, "%sstate", back);
    check_int(open_with(path, "1"), ==, -MIR_EAGAIN);
    check_int(open_with(path, "zwei"), ==, -MIR_EAGAIN);
    snprintf(path, sizeof path, "%sfeature-rx-copy", back);
    check_int(open_with(path, "0"), ==, -MIR_ENOTSUP);
    check_int(open_with("device/vif/0/mac", "00:16:3e:00:00"), ==, -MIR_EPROTO);
    check_int(open_with("device/vif/0/mac", "01:16:3e:00:00:99"), ==, -MIR_EPROTO);
    check_int(open_with("device/vif/0/mac", "00:16:3e:00:00:9g"), ==, -MIR_EPROTO);
    snprintf(path, sizeof path, "%smtu", back);
    check_int(open_with(path, "99999999999999"), ==, 0);
    tap_case("rings, event channel and features are in the store, then the link is up");
    open_bed(NULL);
    static const char *const ones[] = {"request-rx-copy",   "feature-rx-notify",
                                       "feature-sg",        "feature-gso-tcpv4",
                                       "feature-gso-tcpv6", "feature-ipv6-csum-offload"};
    for (size_t i = 0; i < MIR_ARRAY_LEN(ones); i++)
        check_int(xenback_get_front(&bed.b, ones[i]), ==, 1);
    check_int(xenback_get_front(&bed.b, "feature-no-csum-offload"), ==, 0);
    check_int(xenback_get_front(&bed.b, "event-channel"), ==, 7);
    check_int(bed.net.link_ups, ==, 1);
    check_int(bed.dev->info.caps, ==,
              MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_TX_TSO6 | MIR_NET_RX_CSUM |
                  MIR_NET_RX_GRO | MIR_NET_TX_SG);
    check_int(bed.dev->info.gso_max, ==, BIG);
    check_int(bed.dev->info.mac[5], ==, 0x99);
    close_bed();
    tap_case("plain: nothing is offered and nothing promised");
    open_bed(&(struct mir_netfront_config){.is_plain = true});
    check_int(xenback_get_front(&bed.b, "feature-gso-tcpv4"), ==, 0);
    check_int(xenback_get_front(&bed.b, "feature-no-csum-offload"), ==, 1);
    check_int(bed.dev->info.caps, ==, MIR_NET_TX_SG);
    close_bed();
}

/* ---- sending ----------------------------------------------------------------------------------
 */

static void check_sent(uint32_t len)
{
    xenbed_run(&bed);
    check_int(sent.frame.len, ==, len);
    check(memcmp(sent.data, pattern, len) == 0);
}

static void test_pieces(void)
{
    tap_case("packets of 1 to 18 slots");
    open_bed(NULL);
    for (uint32_t views = 0; views < 18; views++) {
        uint32_t len = 100 + views * 70;
        struct mir_buf *buf = xenbed_frame(&bed, pattern, len, views, 33);
        buf->flags |= views > 0 ? MIR_BUF_GSO_TCP4 | MIR_BUF_CSUM_PARTIAL : 0;
        buf->gso_size = 1000;
        check_int(mir_net_dev_tx(bed.dev, buf), ==, 0);
        mir_net_dev_flush(bed.dev);
        check_sent(len);
        check_int(sent.frame.slots, ==, 1 + views);
        check_int(sent.frame.flags & MIR__NETIF_TX_EXTRA, ==, views > 0 ? MIR__NETIF_TX_EXTRA : 0);
        check_int(sent.frame.flags & MIR__NETIF_TX_CSUM_BLANK, ==, views > 0);
        check_int(sent.frame.extra.gso_size, ==, views > 0 ? 1000 : 0);
        check_int(sent.frame.extra.gso_type, ==, views > 0 ? MIR__NETIF_GSO_TCP4 : 0);
    }
    check_int(counters().tx_linearised, ==, 0);
    tap_case("more pieces than a packet may have are put together");
    for (uint32_t offset = 4000; offset < 4003; offset++) {
        uint32_t len = 100 + 18 * 200;
        struct mir_buf *buf = xenbed_frame(&bed, pattern, len, 18, offset);
        buf->flags |= MIR_BUF_GSO_TCP6 | MIR_BUF_CSUM_PARTIAL;
        buf->gso_size = 1440;
        check_int(mir_net_dev_tx(bed.dev, buf), ==, 0);
        mir_net_dev_flush(bed.dev);
        check_sent(len);
        check_int(sent.frame.slots, ==, 1);
        check_int(sent.frame.extra.gso_type, ==, MIR__NETIF_GSO_TCP6);
    }
    check_int(counters().tx_linearised, ==, 3);
    tap_case("the largest packet, and one that is larger");
    struct mir_buf *buf = xenbed_frame(&bed, pattern, BIG, 17, 100);
    buf->flags |= MIR_BUF_GSO_TCP4 | MIR_BUF_CSUM_PARTIAL;
    buf->gso_size = 1448;
    check_int(mir_net_dev_tx(bed.dev, buf), ==, 0);
    mir_net_dev_flush(bed.dev);
    check_sent(BIG);
    buf = xenbed_frame(&bed, pattern, BIG + 1, 17, 100);
    buf->flags |= MIR_BUF_GSO_TCP4 | MIR_BUF_CSUM_PARTIAL;
    buf->gso_size = 1448;
    check_int(mir_net_dev_tx(bed.dev, buf), ==, -MIR_ETOOBIG);
    close_bed();
}

static void test_poor(void)
{
    tap_case("a backend of single slots gets single slots");
    xenbed_init(&bed, 1);
    bed.b.on_frame = on_frame;
    xenback_set_back(&bed.b, "feature-sg", 0);
    check_int(xenbed_open(&bed, NULL), ==, 0);
    check_int(bed.dev->info.caps & (MIR_NET_TX_SG | MIR_NET_TX_TSO4), ==, 0);
    check_int(xenbed_start(&bed), ==, 0);
    xenbed_run(&bed);
    struct mir_buf *buf = mir_buf_alloc_page(&bed.net.bufs, 2 * MIR_PAGE_SIZE, 3500);
    memcpy(mir_buf_append(buf, 1500), pattern, 1500);
    check_int(mir_net_dev_tx(bed.dev, buf), ==, 0);
    mir_net_dev_flush(bed.dev);
    check_sent(1500);
    check_int(sent.frame.slots, ==, 1);
    close_bed();
    tap_case("one that is not trusted sees nothing but the packet");
    xenbed_init(&bed, 1);
    xenback_set(&bed.b, "device/vif/0/trusted", "0");
    check_int(xenbed_open(&bed, NULL), ==, 0);
    check_int(xenbed_start(&bed), ==, 0);
    xenbed_run(&bed);
    bed.b.holds = true;
    check_int(mir_net_dev_tx(bed.dev, xenbed_frame(&bed, pattern, 100, 0, 0)), ==, 0);
    uint32_t strange = 0, pages = 0;
    for (uint32_t i = 0; i < XENBACK_GRANTS; i++) {
        const uint8_t *page = bed.b.grant[i].page;
        if (!bed.b.grant[i].is_used || !bed.b.grant[i].is_readonly)
            continue;
        pages++;
        for (uint32_t k = 100; k < MIR_PAGE_SIZE; k++)
            strange += page[k] != 0;
    }
    check_int(pages, ==, 1);
    check_int(strange, ==, 0);
    close_bed();
}

static void test_full(void)
{
    uint32_t count = 0;
    tap_case("a full ring: room for control frames, none for data, told when there is");
    open_bed(NULL);
    bed.b.holds = true;
    while (mir_net_dev_tx_room(bed.dev) > 0 && count < 1000) {
        check_int(mir_net_dev_tx(bed.dev, xenbed_frame(&bed, pattern, 100, 17, 0)), ==, 0);
        count++;
    }
    check_int(count, ==, (MIR__NETFRONT_SLOTS - MIR_NET_TX_KEPT) / 19);
    for (uint32_t i = 0; i < MIR_NET_TX_KEPT; i++)
        check_int(mir_net_dev_tx(bed.dev, xenbed_frame(&bed, pattern, 60, 0, 0)), ==, 0);
    mir_net_dev_flush(bed.dev);
    xenbed_run(&bed);
    check_int(stats().tx_full, ==, 1);
    check_int(stats().tx_dropped, ==, 0);
    check_int(bed.net.tx_readys, ==, 0);
    while (mir_net_dev_tx(bed.dev, xenbed_frame(&bed, pattern, 60, 0, 0)) == 0)
        continue;
    check_int(stats().tx_dropped, ==, 1);
    bed.b.holds = false;
    xenbed_run(&bed);
    check_int(bed.net.tx_readys, ==, 1);
    check_int(mir_net_dev_tx_room(bed.dev), >, 5);
    tap_case("no grant left: the frame is dropped and its slots are free again");
    bed.b.grants_max = bed.b.grants_used + 3;
    check_int(mir_net_dev_tx(bed.dev, xenbed_frame(&bed, pattern, 100, 17, 0)), ==, -MIR_EAGAIN);
    check_int(counters().no_grant, ==, 1);
    bed.b.grants_max = XENBACK_GRANTS - 8;
    check_int(mir_net_dev_tx(bed.dev, xenbed_frame(&bed, pattern, 100, 17, 0)), ==, 0);
    mir_net_dev_flush(bed.dev);
    check_sent(100);
    close_bed();
}

/* ---- receiving --------------------------------------------------------------------------------
 */

static void test_receive(void)
{
    tap_case("frames of one to many pieces, with and without segments");
    open_bed(NULL);
    for (uint32_t len = 60; len < 60000; len += len / 3) {
        struct xenback_frame frame = {.data = pattern, .len = len};
        if (len > 1514) {
            frame.flags = MIR__NETIF_RX_EXTRA | MIR__NETIF_RX_DATA_VALID;
            frame.extra = (struct mir__netif_extra){
                .type = MIR__NETIF_EXTRA_GSO, .gso_size = 1448, .gso_type = MIR__NETIF_GSO_TCP6};
        }
        uint32_t before = bed.net.rx;
        check(xenback_send(&bed.b, &frame, len > 30000 ? 4000 : 1000 + len / 18));
        xenbed_run(&bed);
        check_int(bed.net.rx, ==, before + 1);
        check_int(bed.last_len, ==, len);
        check(memcmp(bed.last_data, pattern, len) == 0);
        check_int(bed.last_flags & MIR_BUF_GSO_TCP6, ==, len > 1514 ? MIR_BUF_GSO_TCP6 : 0);
    }
    check_int(counters().rx_copied, >, 0);
    tap_case("more pieces than a packet may have are an error of that frame alone");
    struct xenback_frame frame = {.data = pattern, .len = 60 * 25};
    check(xenback_send(&bed.b, &frame, 60));
    frame.len = 60;
    check(xenback_send(&bed.b, &frame, 60));
    uint32_t before = bed.net.rx;
    xenbed_run(&bed);
    check_int(bed.net.rx, ==, before + 1);
    check_int(stats().rx_errors, ==, 1);
    check_int(counters().faults, ==, 0);
    close_bed();
}

static void test_csum(void)
{
    uint8_t frame[80] = {[12] = 0x08, [13] = 0, [14] = 0x45, [23] = 6};
    uint16_t start, offset;
    tap_case("where a checksum is that the backend left to us");
    check(mir__netfront_find_csum(frame, 80, &start, &offset));
    check_int(start, ==, 34);
    check_int(offset, ==, 16);
    check(!mir__netfront_find_csum(frame, 40, &start, &offset));
    frame[14] = 0x4f;
    check(!mir__netfront_find_csum(frame, 80, &start, &offset));
    frame[14] = 0x44;
    check(!mir__netfront_find_csum(frame, 80, &start, &offset));
    memcpy(frame + 12, "\x86\xdd\x60", 3);
    frame[20] = 17;
    check(mir__netfront_find_csum(frame, 80, &start, &offset));
    check_int(start, ==, 54);
    check_int(offset, ==, 6);
    for (uint32_t len = 0; len < 62; len++)
        check(!mir__netfront_find_csum(frame, len, &start, &offset));
}

/* ---- backends that come and go, or lie --------------------------------------------------------
 */

static void test_restart(void)
{
    tap_case("a backend that goes away and comes back");
    open_bed(NULL);
    bed.b.holds = true;
    for (int i = 0; i < 3; i++)
        check_int(mir_net_dev_tx(bed.dev, xenbed_frame(&bed, pattern, 300, 3, 0)), ==, 0);
    mir_net_dev_flush(bed.dev);
    xenbed_run(&bed);
    bed.b.is_connected = false;
    xenback_set_back(&bed.b, "state", MIR_XENBUS_CLOSED);
    mir_netfront_store_changed(bed.dev);
    check_int(bed.net.link_downs, ==, 1);
    check_int(stats().tx_dropped, ==, 3);
    check_int(bed.b.grants_used, ==, 0);
    check_int(mir_net_dev_tx(bed.dev, xenbed_frame(&bed, pattern, 60, 0, 0)), ==, -MIR_EIO);
    check_int(mir_net_dev_tx_room(bed.dev), ==, 0);
    bed.b.holds = false;
    xenbed_pass(&bed, 100 * MIR_US_PER_MS);
    check_int(bed.net.link_ups, ==, 2);
    check_int(bed.net.tx_readys, ==, 1); /* tx_room() had said 0 */
    check_int(mir_net_dev_tx(bed.dev, xenbed_frame(&bed, pattern, 300, 3, 0)), ==, 0);
    mir_net_dev_flush(bed.dev);
    check_sent(300);
    tap_case("one that comes back with less is not used");
    xenback_set_back(&bed.b, "feature-sg", 0);
    xenback_set_back(&bed.b, "state", MIR_XENBUS_CLOSED);
    mir_netfront_store_changed(bed.dev);
    xenbed_pass(&bed, MIR_US_PER_S);
    check_int(bed.net.link_ups, ==, 2);
    xenback_set_back(&bed.b, "feature-sg", 1);
    xenbed_pass(&bed, 10 * MIR_US_PER_S);
    check_int(bed.net.link_ups, ==, 3);
    tap_case("stopped and started again");
    mir_net_dev_stop(bed.dev);
    check_int(bed.b.grants_used, ==, 0);
    check_int(xenbed_start(&bed), ==, 0);
    xenbed_pass(&bed, MIR_US_PER_S);
    check_int(bed.net.link_ups, ==, 4);
    close_bed();
}

static void test_kept(void)
{
    tap_case("what a backend does not let go of is never used again");
    open_bed(NULL);
    bed.b.holds = true;
    check_int(mir_net_dev_tx(bed.dev, xenbed_frame(&bed, pattern, 300, 3, 0)), ==, 0);
    mir_net_dev_flush(bed.dev);
    xenbed_run(&bed);
    bed.b.is_stubborn = true;
    for (uint32_t i = 0; i < XENBACK_GRANTS; i++)
        bed.b.grant[i].is_kept = true;
    uint32_t used = bed.b.grants_used;
    mir_net_dev_stop(bed.dev);
    check_int(counters().quarantined, ==, used);
    check_int(xenbed_close(&bed), >=, (used - 4) * MIR_PAGE_SIZE);
}

/* One frame is on its way, and its answers wait: @lie changes them. */
static void check_lie(const char *what, void (*lie)(struct xenback *b))
{
    tap_case("%s: the backend is given up, and taken again", what);
    open_bed(NULL);
    bed.b.holds = true;
    check_int(mir_net_dev_tx(bed.dev, xenbed_frame(&bed, pattern, 300, 2, 0)), ==, 0);
    mir_net_dev_flush(bed.dev);
    xenbed_run(&bed);
    check_int(bed.b.pending_count, ==, 3);
    lie(&bed.b);
    xenback_answer(&bed.b, bed.b.pending_count);
    bed.b.holds = false;
    xenbed_run(&bed);
    check_int(counters().faults, ==, 1);
    check_int(bed.net.link_downs, ==, 1);
    xenbed_pass(&bed, MIR_US_PER_S);
    check_int(bed.net.link_ups, ==, 2);
    check_int(mir_net_dev_tx(bed.dev, xenbed_frame(&bed, pattern, 300, 2, 0)), ==, 0);
    mir_net_dev_flush(bed.dev);
    check_sent(300);
    check_int(counters().faults, ==, 1);
    close_bed();
}

static void lie_null(struct xenback *b)
{
    b->pending[1].rsp.status = MIR__NETIF_NULL;
}
static void lie_twice(struct xenback *b)
{
    b->pending[1].rsp.id = b->pending[0].rsp.id;
}
static void lie_strange(struct xenback *b)
{
    b->pending[2].rsp.id = MIR__NETFRONT_SENDS;
}
static void lie_index(struct xenback *b)
{
    b->tx_prod += 1;
}
static void lie_back(struct xenback *b)
{
    b->tx_prod -= 4;
}

static void lie_receive(struct xenback *b)
{
    struct xenback_frame frame = {.data = pattern, .len = 100};
    b->evil.bad_id = 1;
    check(xenback_send(b, &frame, 100));
    b->evil.bad_id = 0;
}
static void test_lies(void)
{
    check_lie("an extra's answer without an extra", lie_null);
    check_lie("an answer twice", lie_twice);
    check_lie("an answer to what was never sent", lie_strange);
    check_lie("more answers than slots that were sent", lie_index);
    check_lie("an index that goes back", lie_back);
    check_lie("a page that was not the slot's", lie_receive);
}

static void hostile(uint64_t seed, bool keeps)
{
    xenbed_init(&bed, seed);
    check_int(xenbed_open(&bed, &(struct mir_netfront_config){.is_plain = seed % 5 == 0}), ==, 0);
    check_int(xenbed_start(&bed), ==, 0);
    uint32_t rate = 1u << (3 + xenback_draw(&bed.b) % 7);
    uint32_t *kinds[] = {&bed.b.evil.bad_id,  &bed.b.evil.bad_status, &bed.b.evil.index_jump,
                         &bed.b.evil.twice,   &bed.b.evil.bad_len,    &bed.b.evil.bad_flags,
                         &bed.b.evil.scribble};
    for (size_t i = 0; i < MIR_ARRAY_LEN(kinds); i++)
        *kinds[i] = xenback_draw(&bed.b) % 2 != 0 ? rate : 0;
    bed.b.evil.keep = keeps ? rate : 0;
    for (uint32_t i = 0; i < 150; i++)
        xenbed_step(&bed);
    check_int(bed.wrong, ==, 0);
}

static void test_hostile(void)
{
    uint64_t faults = 0, quarantined = 0, frames = 0, errors = 0;
    tap_case("hostile backends of 100 seeds do no harm");
    for (uint64_t seed = 1; seed <= 100; seed++) {
        bool keeps = seed % 4 == 0;
        hostile(seed, keeps);
        faults += counters().faults;
        quarantined += counters().quarantined;
        frames += stats().rx_frames + stats().tx_frames;
        errors += stats().rx_errors + stats().tx_errors;
        size_t left = xenbed_close(&bed);
        if (!keeps && left != 0) {
            tap_note("seed %llu", (unsigned long long)seed);
            check_int(left, ==, 0);
        }
        check_int(bed.b.ports_open, ==, 0);
    }
    tap_note("%llu frames, %llu faults, %llu errors, %llu pieces kept", (unsigned long long)frames,
             (unsigned long long)faults, (unsigned long long)errors,
             (unsigned long long)quarantined);
    check_int(faults, >, 50);
    check_int(quarantined, >, 50);
    check_int(frames, >, 10000);
}

int main(void)
{
    for (uint32_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i * 7 + (i >> 8));
    pattern[12] = 0x88;
    pattern[13] = 0xb5;
    test_store();
    test_pieces();
    test_poor();
    test_full();
    test_receive();
    test_csum();
    test_restart();
    test_kept();
    test_lies();
    test_hostile();
    return tap_done();
}
