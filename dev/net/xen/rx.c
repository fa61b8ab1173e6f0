/* SPDX-License-Identifier: ISC */
/* Receiving from a Xen backend: pages of ours are granted and come back filled.
 *
 *   request k (page, id k)  ->  the backend's answer k, in the same slot: offset, bytes, flags
 *
 *   answer (EXTRA, MORE) -> extra (GSO) -> answer (MORE) -> ... -> answer         one frame
 *
 * The slot of an extra had a page as well, which was not used: it is lent again as it is. A frame
 * may come in parts: what is there is kept until its end is. Each answer is copied once and
 * checked: identity, offset and length inside the page, number of pieces. A negative length is an
 * error of this frame; an identity that is not the slot's, or extras without end, is one of the
 * backend, which is given up.
 *
 * A page is ours again when its grant has ended. If the backend holds on to it the frame is dropped
 * and the page never used again (MirageOS advisory MSA02): it could change behind our back.
 *
 * What becomes of a frame is as in dev/net/virtio/rx.c: small ones are copied and their pages lent
 * again; of large ones the first page becomes the linear part, the others views, and new pages are
 * lent first, so that the backend never runs dry.
 */
#include "dev/net/xen/internal.h"

#define BATCH      64u
#define EXTRAS_MAX 4u
#define COPY_ROOM  (MIR_BUF_HEADROOM - MIR__VNET_ETH)
#define COPY_MAX   (MIR_BUF_HEAD_BYTES - COPY_ROOM)
#define SLOT_MASK  (MIR__NETFRONT_SLOTS - 1)

/* ---- pages ------------------------------------------------------------------------------------
 */

/* @ref is that of its grant, or MIR_XEN_NO_REF. Returns false if the page could not be lent and was
 * released. */
static bool lend(struct mir__netfront *n, struct mir_io_page *page, uint32_t ref)
{
    struct mir_xen *xen = n->device.xen;
    struct mir__xring_ticket ticket;
    if (ref == MIR_XEN_NO_REF &&
        xen->ops->grant(xen, n->device.back_domain, page->base, false, &ref) < 0) {
        n->counters.no_grant++;
        mir_page_release(page);
        return false;
    }
    mir__xring_ticket_init(&ticket, 1, NULL, NULL);
    int r = mir__xring_reserve(&n->rx, &ticket);
    if (MIR_UNLIKELY(r <
                     0)) { /* a faulty ring; there is always room: never more pages than slots */
        if (xen->ops->grant_end(xen, ref) == 0)
            mir_page_release(page);
        else
            n->counters.quarantined++;
        return false;
    }
    uint32_t index = ticket.first & SLOT_MASK;
    union mir__netif_rx slot = {.req = {.id = (uint16_t)index, .ref = ref}};
    n->lent[index] = (struct mir__netfront_lent){page, ref};
    n->rx_lent++;
    mir__xring_put(&n->rx, &ticket, 0, &slot);
    mir__xring_commit(&n->rx, &ticket);
    return true;
}

static bool lend_new(struct mir__netfront *n)
{
    struct mir_io_page *page;
    unsigned how = n->features.is_trusted ? MIR_PAGE_OVERWRITE : MIR_PAGE_ZERO;
    return mir_page_alloc(n->bufs->pages, MIR_PAGE_SIZE, how, &page) == 0 &&
           lend(n, page, MIR_XEN_NO_REF);
}

int mir__netfront_rx_fill(struct mir__netfront *n)
{
    while (n->rx_lent < n->rx_target && lend_new(n))
        continue;
    return n->rx_lent > 0 ? 0 : -MIR_ENOMEM;
}

void mir__netfront_rx_fini(struct mir__netfront *n)
{
    struct mir_xen *xen = n->device.xen;
    for (uint32_t i = 0; i < MIR__NETFRONT_SLOTS; i++) {
        struct mir_io_page *page = n->lent[i].page;
        n->lent[i].page = NULL;
        if (page == NULL)
            continue;
        if (xen->ops->grant_end(xen, n->lent[i].ref) == 0)
            mir_page_release(page);
        else
            n->counters.quarantined++;
    }
    for (uint32_t i = 0; i < n->arrival.count; i++)
        mir_page_release(n->arrival.page[i]);
    n->arrival = (struct mir__netfront_arrival){.count = 0};
    n->rx_lent = 0;
    mir_buf_release(n->rx_spare);
    n->rx_spare = NULL;
}

/* ---- slots ------------------------------------------------------------------------------------
 */

static int take_extra(struct mir__netfront *n, struct mir__netfront_lent lent,
                      const struct mir__netif_extra *extra)
{
    struct mir__netfront_arrival *a = &n->arrival;
    a->has_extra = extra->flags & MIR__NETIF_EXTRA_MORE;
    if (extra->type == MIR__NETIF_EXTRA_GSO) {
        a->gso_size = extra->gso_size;
        a->gso_type = extra->gso_type;
    }
    (void)lend(n, lent.page, lent.ref);
    return ++a->extras > EXTRAS_MAX ? -MIR_EPROTO : 0;
}

static int take_piece(struct mir__netfront *n, struct mir__netfront_lent lent,
                      const struct mir__netif_rx_rsp *rsp)
{
    struct mir__netfront_arrival *a = &n->arrival;
    struct mir_xen *xen = n->device.xen;
    bool is_kept = xen->ops->grant_end(xen, lent.ref) < 0;
    bool is_wrong =
        rsp->status < 0 || (uint32_t)rsp->offset + (uint32_t)rsp->status > MIR_PAGE_SIZE;
    a->is_bad |= is_wrong || is_kept || a->count == MIR__NETFRONT_PIECES_MAX;
    n->counters.quarantined += is_kept;
    if (!a->is_open) {
        a->flags = rsp->flags;
        a->has_extra = rsp->flags & MIR__NETIF_RX_EXTRA;
    }
    a->is_open = rsp->flags & MIR__NETIF_RX_MORE;
    if (is_kept)
        return mir__netfront_is_dead(n) ? -MIR_EPROTO : 0;
    if (a->count == MIR__NETFRONT_PIECES_MAX) {
        (void)lend(n, lent.page, MIR_XEN_NO_REF);
        return 0;
    }
    a->page[a->count] = lent.page;
    a->offset[a->count] = is_wrong ? 0 : rsp->offset;
    a->len[a->count] = is_wrong ? 0 : (uint32_t)rsp->status;
    a->total += a->len[a->count++];
    return 0;
}

/* Returns 0 (a frame is complete), -MIR_EAGAIN, -MIR_EPROTO. */
static int take_frame(struct mir__netfront *n)
{
    struct mir__netfront_arrival *a = &n->arrival;
    union mir__netif_rx slot;
    do {
        uint32_t index = n->rx.taken & SLOT_MASK;
        int r = mir__xring_take(&n->rx, &slot);
        if (r < 0)
            return r;
        struct mir__netfront_lent lent = n->lent[index];
        MIR_ASSERT(lent.page != NULL); /* the ring counts what was lent */
        n->lent[index].page = NULL;
        n->rx_lent--;
        if (a->has_extra) {
            r = take_extra(n, lent, &slot.extra);
        } else if (slot.rsp.id == index) {
            r = take_piece(n, lent, &slot.rsp);
        } else {
            n->lent[index] = lent; /* for the end of all */
            return -MIR_EPROTO;
        }
        if (r < 0)
            return r;
    } while (a->has_extra || a->is_open);
    return 0;
}

/* ---- frames -----------------------------------------------------------------------------------
 */

static void lend_again(struct mir__netfront *n, const struct mir__netfront_arrival *a,
                       uint32_t first)
{
    for (uint32_t i = 0; i < a->count; i++) {
        if (i < first)
            mir_page_release(a->page[i]);
        else
            (void)lend(n, a->page[i], MIR_XEN_NO_REF);
    }
}

static struct mir_buf *copy_small(struct mir__netfront *n, const struct mir__netfront_arrival *a)
{
    struct mir_buf *buf = mir_buf_alloc(n->bufs, COPY_ROOM);
    if (MIR_UNLIKELY(buf == NULL)) {
        buf = n->rx_spare;
        n->rx_spare = NULL;
    }
    if (buf != NULL) {
        mir_memcpy(mir_buf_append(buf, a->total), a->page[0]->base + a->offset[0], a->total);
        n->counters.rx_copied++;
    }
    lend_again(n, a, 0);
    return buf;
}

static struct mir_buf *take_pages(struct mir__netfront *n, const struct mir__netfront_arrival *a)
{
    for (uint32_t i = 0; i < a->count; i++) {
        if (MIR_UNLIKELY(!lend_new(n))) {
            lend_again(n, a, i);
            return NULL;
        }
    }
    struct mir_buf *buf = mir_buf_from_page(n->bufs, a->page[0], a->offset[0], a->len[0]);
    for (uint32_t i = 1; i < a->count; i++) {
        struct mir_view view = {a->page[i], a->page[i]->base + a->offset[i], a->len[i]};
        if (buf == NULL || a->len[i] == 0) {
            mir_page_release(a->page[i]);
        } else if (mir_buf_add_view(buf, view) < 0) { /* counted before: cannot be */
            mir_buf_release(buf);
            buf = NULL;
        }
    }
    return buf;
}

bool mir__netfront_find_csum(const uint8_t *frame, uint32_t len, uint16_t *start, uint16_t *offset)
{
    enum { IP4 = 0x0800, IP6 = 0x86dd, TCP = 6, UDP = 17 };
    const uint8_t *ip = frame + MIR__VNET_ETH;
    uint32_t left = len > MIR__VNET_ETH ? len - MIR__VNET_ETH : 0, header;
    uint8_t protocol;
    if (left < 20)
        return false;
    if (mir_get_be16(frame + 12) == IP4 && ip[0] >> 4 == 4) {
        header = (ip[0] & 15u) * 4u;
        protocol = ip[9];
        if (header < 20 || (mir_get_be16(ip + 6) & 0x3fff) != 0)
            return false;
    } else if (mir_get_be16(frame + 12) == IP6 && ip[0] >> 4 == 6) {
        header = 40;
        protocol = ip[6];
    } else {
        return false;
    }
    if (protocol != TCP && protocol != UDP)
        return false;
    *start = (uint16_t)(MIR__VNET_ETH + header);
    *offset = protocol == TCP ? 16 : 6;
    return left >= header + *offset + 2u;
}

/* What the backend says of checksum and segments. Returns false if it makes no sense. */
static bool apply(struct mir_buf *buf, const struct mir__netfront_arrival *a)
{
    if (a->flags & MIR__NETIF_RX_CSUM_BLANK) {
        if (mir__netfront_find_csum(buf->data, buf->len, &buf->csum_start, &buf->csum_offset))
            buf->flags |= MIR_BUF_CSUM_PARTIAL;
    } else if (a->flags & MIR__NETIF_RX_DATA_VALID) {
        buf->flags |= MIR_BUF_CSUM_VALID;
    }
    if (a->gso_type == 0)
        return true;
    if (a->gso_size == 0 || a->gso_type > MIR__NETIF_GSO_TCP6)
        return false;
    buf->gso_size = a->gso_size;
    buf->flags |= a->gso_type == MIR__NETIF_GSO_TCP4 ? MIR_BUF_GSO_TCP4 : MIR_BUF_GSO_TCP6;
    return true;
}

static void deliver(struct mir__netfront *n)
{
    struct mir__netfront_arrival a = n->arrival;
    uint32_t most = n->is_plain ? n->dev.info.mtu + MIR__VNET_ETH + 4u : MIR__NETFRONT_FRAME_MAX;
    n->arrival = (struct mir__netfront_arrival){.count = 0};
    bool is_wrong = a.is_bad || a.count == 0 || a.total > most || a.len[0] < MIR__VNET_ETH ||
                    (n->is_plain && (a.gso_type != 0 || a.flags & MIR__NETIF_RX_CSUM_BLANK));
    if (MIR_UNLIKELY(is_wrong)) {
        n->stats.rx_errors++;
        lend_again(n, &a, 0);
        return;
    }
    bool is_small = a.count == 1 && a.total <= COPY_MAX;
    struct mir_buf *buf = is_small ? copy_small(n, &a) : take_pages(n, &a);
    if (MIR_UNLIKELY(buf == NULL)) {
        n->stats.rx_dropped++;
        return;
    }
    if (MIR_UNLIKELY(!n->is_plain && !apply(buf, &a))) {
        n->stats.rx_errors++;
        mir_buf_release(buf);
        return;
    }
    n->stats.rx_frames++;
    n->stats.rx_bytes += a.total;
    n->upper.rx(n->upper.arg, buf);
}

bool mir__netfront_rx_poll(struct mir__netfront *n)
{
    uint32_t count = 0, epoch = n->epoch;
    int r = 0;
    if (n->rx_spare == NULL)
        n->rx_spare = mir_buf_alloc(n->bufs, COPY_ROOM);
    while (count < BATCH && (r = take_frame(n)) == 0) {
        count++;
        deliver(n);
        if (n->epoch != epoch)
            return true; /* stopped in rx: nothing of ours is left */
    }
    if (MIR_UNLIKELY(r == -MIR_EPROTO)) {
        mir__netfront_reset(n, n->rx.fault != 0 ? "it fills more pages than it was given"
                                                : "it fills pages that it was not given");
    } else {
        (void)!mir__netfront_rx_fill(n);
        if (mir__xring_publish(&n->rx))
            mir__netfront_notify(n);
    }
    if (count > 0 && n->is_started && n->upper.rx_end != NULL)
        n->upper.rx_end(n->upper.arg);
    return count > 0;
}
