/* SPDX-License-Identifier: ISC */
/* Receiving over virtio: pages of ours are lent to the device and go up as they come back.
 *
 *   page   | 18 |header 12| Ethernet | IP ...  up to the page's end |     the first of a frame
 *   page   | 18 | more of the frame                                 |     merged: up to 18 more
 *
 * With mergeable buffers (VIRTIO 1.2 section 5.1.6.4) the device puts a frame of 64 KiB into as
 * many pages as it takes and says how many in the header of the first. The first becomes the linear
 * part of a packet buffer, the others its views: nothing is copied. Without them one run of pages
 * holds the largest frame, and large ones are not asked for.
 *
 * A frame that fits the inside of a packet buffer is copied there, and its page goes back to the
 * device at once: an ACK does not hold a page. For every page that goes up another one is lent
 * first. If there is none the frame is dropped and its pages are lent again, so the device never
 * runs dry however long memory is short; an ACK, which frees memory, still finds a spare buffer.
 *
 * What the device says of a frame is copied once and checked: number of pages, lengths (lib/ring
 * has compared each with what was lent), checksum offsets. Nothing behind the received length is
 * ever shown (advisory MSA01). Against a device that changes a frame while we parse it there is no
 * help: it can reach all memory of its guest anyhow.
 *
 * At most BATCH frames or BATCH_BYTES a call, as dev/net/tap.
 */
#include "dev/net/virtio/internal.h"

#define BATCH       64u
#define BATCH_BYTES (512u << 10)
#define PAGES_MAX   (1u + MIR_BUF_FRAG_MAX)
#define COPY_ROOM   (MIR_BUF_HEADROOM - MIR__VNET_ETH)
#define COPY_MAX    (MIR_BUF_HEAD_BYTES - COPY_ROOM)

/* A frame as it came, in pages that are ours again. */
struct arrival {
    struct mir_io_page *page[PAGES_MAX];
    uint32_t len[PAGES_MAX];
    uint32_t count;
    uint32_t total; /* without header */
    uint8_t header[MIR__VIRTNET_HEADER_MAX];
};

static void lend(struct mir__virtnet *n, struct mir_io_page *page)
{
    struct mir__virtq_seg seg = {
        mir__virtio_address(n->virtio, page->base + MIR__VIRTNET_RX_OFFSET), n->rx_room};
    /* There is always room: never more pages than descriptors. */
    if (mir__virtq_add(&n->rx.ring, &seg, 0, 1, page) < 0)
        mir_page_release(page);
}

static bool lend_new(struct mir__virtnet *n)
{
    struct mir_io_page *page;
    if (mir_page_alloc(n->bufs->pages, n->rx_page_bytes, MIR_PAGE_OVERWRITE, &page) < 0)
        return false;
    lend(n, page);
    return true;
}

int mir__virtnet_rx_fill(struct mir__virtnet *n)
{
    while (n->rx.ring.in_flight < n->rx_target) {
        if (!lend_new(n))
            break;
    }
    return n->rx.ring.in_flight > 0 ? 0 : -MIR_ENOMEM;
}

/* ---- what came ----------------------------------------------------------------------------------
 */

static int take_page(struct mir__virtnet *n, struct arrival *a)
{
    void *token;
    int r = mir__virtq_take(&n->rx.ring, &token, &a->len[a->count]);
    if (r < 0)
        return r;
    a->total += a->len[a->count];
    a->page[a->count++] = token;
    return 0;
}

/* All pages of the next frame. Returns 0, -MIR_EAGAIN (none), -MIR_EPROTO. */
static int take_frame(struct mir__virtnet *n, struct arrival *a)
{
    uint32_t pages = 1;
    a->count = 0;
    a->total = 0;
    int r = take_page(n, a);
    if (r < 0)
        return r;
    if (a->len[0] < n->header_len) {
        a->total = 0;
        return 0;
    }
    /* Once: later the device may have changed it. */
    mir_memcpy(a->header, a->page[0]->base + MIR__VIRTNET_RX_OFFSET, n->header_len);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (n->features & MIR__VIRTNET_F_MRG_RXBUF)
        pages = mir_get_le16(a->header + 10);
    if (pages == 0 || pages > PAGES_MAX)
        return -MIR_EPROTO;
    while (a->count < pages) {
        /* The device shows the pages of a frame together (section 5.1.6.4.1). */
        if (take_page(n, a) < 0)
            return -MIR_EPROTO;
    }
    a->total -= n->header_len;
    return 0;
}

static void lend_again(struct mir__virtnet *n, const struct arrival *a, uint32_t first)
{
    for (uint32_t i = 0; i < a->count; i++) {
        if (i < first)
            mir_page_release(a->page[i]);
        else
            lend(n, a->page[i]);
    }
}

static struct mir_buf *copy_small(struct mir__virtnet *n, const struct arrival *a)
{
    struct mir_buf *buf = mir_buf_alloc(n->bufs, COPY_ROOM);
    if (MIR_UNLIKELY(buf == NULL)) {
        buf = n->rx_spare;
        n->rx_spare = NULL;
    }
    if (buf != NULL) {
        const uint8_t *from = a->page[0]->base + MIR__VIRTNET_RX_OFFSET + n->header_len;
        mir_memcpy(mir_buf_append(buf, a->total), from, a->total);
        n->counters.rx_copied++;
    }
    lend_again(n, a, 0);
    return buf;
}

static struct mir_buf *take_pages(struct mir__virtnet *n, const struct arrival *a)
{
    for (uint32_t i = 0; i < a->count; i++) {
        if (MIR_UNLIKELY(!lend_new(n))) {
            lend_again(n, a, i);
            return NULL;
        }
    }
    struct mir_buf *buf = mir_buf_from_page(
        n->bufs, a->page[0], MIR__VIRTNET_RX_OFFSET + n->header_len, a->len[0] - n->header_len);
    if (MIR_UNLIKELY(buf == NULL)) {
        for (uint32_t i = 1; i < a->count; i++)
            mir_page_release(a->page[i]);
        return NULL;
    }
    for (uint32_t i = 1; i < a->count; i++) {
        struct mir_view view = {a->page[i], a->page[i]->base + MIR__VIRTNET_RX_OFFSET, a->len[i]};
        if (mir_buf_add_view(buf, view) < 0) { /* counted before: cannot be */
            mir_buf_release(buf);
            return NULL;
        }
    }
    return buf;
}

static void deliver(struct mir__virtnet *n, const struct arrival *a)
{
    bool is_wrong = a->total < MIR__VNET_ETH || a->total > n->rx_frame_max ||
                    (a->count > 1 && a->len[0] < n->header_len + MIR__VNET_ETH) ||
                    (a->header[1] & ~MIR__VNET_ECN) == MIR__VNET_UDP; /* never agreed on */
    if (MIR_UNLIKELY(is_wrong)) {
        n->stats.rx_errors++;
        lend_again(n, a, 0);
        return;
    }
    struct mir_buf *buf =
        a->count == 1 && a->total <= COPY_MAX ? copy_small(n, a) : take_pages(n, a);
    if (MIR_UNLIKELY(buf == NULL)) {
        n->stats.rx_dropped++;
        return;
    }
    if ((a->header[0] | a->header[1]) != 0 && n->dev.info.caps & MIR_NET_RX_CSUM)
        mir__vnet_apply(buf, a->header);
    n->stats.rx_frames++;
    n->stats.rx_bytes += a->total;
    if (a->total > n->dev.info.mtu + MIR__VNET_ETH + 4u) {
        n->counters.rx_large++;
        n->counters.rx_large_bytes += a->total;
    }
    n->upper.rx(n->upper.arg, buf);
}

bool mir__virtnet_rx_poll(struct mir__virtnet *n)
{
    struct arrival a;
    uint32_t count = 0, epoch = n->epoch;
    uint64_t enough = n->stats.rx_bytes + BATCH_BYTES;
    int r = 0;
    if (n->rx_spare == NULL)
        n->rx_spare = mir_buf_alloc(n->bufs, COPY_ROOM);
    while (count < BATCH && n->stats.rx_bytes < enough) {
        r = take_frame(n, &a);
        if (r < 0)
            break;
        count++;
        deliver(n, &a);
        if (n->epoch != epoch)
            return true; /* stopped in rx: nothing of ours is left */
    }
    if (MIR_UNLIKELY(r == -MIR_EPROTO)) {
        for (uint32_t i = 0; i < a.count; i++)
            mir_page_release(a.page[i]);
        mir__virtnet_reset(n, n->rx.ring.fault != 0 ? mir__virtq_fault_text(n->rx.ring.fault)
                                                    : "a received frame of impossible pieces");
    } else if (count > 0) {
        if (n->rx.ring.in_flight < n->rx_target)
            (void)!mir__virtnet_rx_fill(n);
        mir__virtio_kick(&n->rx);
    }
    if (count > 0 && n->is_started && n->upper.rx_end != NULL)
        n->upper.rx_end(n->upper.arg);
    return count > 0;
}
