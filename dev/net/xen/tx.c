/* SPDX-License-Identifier: ISC */
/* Sending to a Xen backend: pages of the buffer itself are granted, slot by slot.
 *
 *   | linear part ... | ... next page | view | view ...      a slot for each page that is touched
 *
 *   request (size of all, checksum, EXTRA, MORE) -> extra (GSO) -> request (MORE) -> ... -> request
 *
 * All slots of a packet are reserved together (lib/ring/xring), so no other one comes between, and
 * none is shown before all are filled. A packet of more than 18 slots, which no backend need take,
 * is copied into one run of pages: then 16 are enough for the largest. So is every packet for a
 * backend that is not trusted, as it could read what else lies in a granted page (MirageOS advisory
 * MSA01); the rest of the copy's last page is zeroed. What could never fit is refused at once.
 *
 * Each slot has an identity of its own until the backend has answered it, which it must do once
 * (MSA00). Then its grant ends; if the backend still has the page, the buffer is never used again
 * (MSA02). There are twice as many identities as slots: the first of a packet stays taken until the
 * last is answered.
 *
 * Nobody asks for events of what was sent unless the ring is full: see dev/net/virtio/tx.c.
 */
#include "dev/net/xen/internal.h"

#define LOOK_MIN_US (20 * MIR_US_PER_MS)
#define LOOK_MAX_US MIR_US_PER_S

/* ---- identities -------------------------------------------------------------------------------
 */

void mir__netfront_tx_init(struct mir__netfront *n)
{
    for (uint32_t i = 0; i < MIR__NETFRONT_SENDS; i++)
        n->sends[i] = (struct mir__netfront_send){.next = (uint16_t)(i + 1)};
    n->sends[MIR__NETFRONT_SENDS - 1].next = MIR__NETFRONT_NONE;
    n->free_send = 0;
    n->extras_out = 0;
    n->is_held = false;
    n->tx_seen = 0;
}

static uint16_t take_id(struct mir__netfront *n)
{
    uint16_t id = n->free_send;
    MIR_ASSERT_OP(id, <, MIR__NETFRONT_SENDS);
    n->free_send = n->sends[id].next;
    return id;
}

static void give_id(struct mir__netfront *n, uint16_t id)
{
    n->sends[id] = (struct mir__netfront_send){.next = n->free_send};
    n->free_send = id;
}

/* The backend is done with slot @id, or all is over. */
static void end_slot(struct mir__netfront *n, uint16_t id)
{
    struct mir__netfront_send *send = &n->sends[id], *first = &n->sends[send->first];
    uint16_t first_id = send->first;
    struct mir_xen *xen = n->device.xen;
    send->is_out = false;
    if (MIR_UNLIKELY(xen->ops->grant_end(xen, send->ref) < 0)) {
        n->counters.quarantined++;
        first->is_lost = true;
    }
    if (id != first_id)
        give_id(n, id);
    if (--first->left > 0)
        return;
    if (MIR_LIKELY(!first->is_lost))
        mir_buf_release(first->buf);
    give_id(n, first_id);
}

/* ---- one packet -------------------------------------------------------------------------------
 */

struct packet {
    struct mir__xring_ticket ticket;
    uint32_t at;    /* of the ticket, the next slot */
    uint32_t slots; /* requests to come */
    uint16_t id[MIR__NETIF_SLOTS_MAX];
    uint32_t ids;
};

static uint32_t pages_of(const uint8_t *data, uint32_t len)
{
    return ((uint32_t)((uintptr_t)data % MIR_PAGE_SIZE) + len + MIR_PAGE_SIZE - 1) / MIR_PAGE_SIZE;
}

static uint32_t slots_of(const struct mir_buf *buf)
{
    uint32_t slots = pages_of(buf->data, buf->len);
    for (uint32_t i = 0; i < buf->frag_count; i++)
        slots += pages_of(buf->frag[i].data, buf->frag[i].len);
    return slots;
}

static bool is_large(const struct mir_buf *buf)
{
    return buf->flags & (MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6);
}

static void put_extra(struct mir__netfront *n, struct packet *p, const struct mir_buf *buf)
{
    union mir__netif_tx slot = {
        .extra = {
            .type = MIR__NETIF_EXTRA_GSO,
            .gso_size = buf->gso_size,
            .gso_type = buf->flags & MIR_BUF_GSO_TCP4 ? MIR__NETIF_GSO_TCP4 : MIR__NETIF_GSO_TCP6,
        }};
    mir__xring_put(&n->tx, &p->ticket, p->at++, &slot);
}

/* A slot for [data, data+len), which lies in one page. */
static int put_slot(struct mir__netfront *n, struct packet *p, const struct mir_buf *buf,
                    const uint8_t *data, uint32_t len)
{
    struct mir_xen *xen = n->device.xen;
    uint32_t offset = (uint32_t)((uintptr_t)data % MIR_PAGE_SIZE), ref;
    bool is_first = p->ids == 0;
    if (xen->ops->grant(xen, n->device.back_domain, data - offset, true, &ref) < 0)
        return -MIR_EAGAIN;
    uint16_t id = take_id(n);
    p->id[p->ids++] = id;
    n->sends[id] = (struct mir__netfront_send){.ref = ref, .first = p->id[0], .is_out = true};
    n->sends[p->id[0]].left++;
    union mir__netif_tx slot = {.req = {
                                    .ref = ref,
                                    .offset = (uint16_t)offset,
                                    .id = id,
                                    .size = (uint16_t)(is_first ? mir_buf_total(buf) : len),
                                }};
    if (is_first && buf->flags & MIR_BUF_CSUM_PARTIAL)
        slot.req.flags |= MIR__NETIF_TX_CSUM_BLANK | MIR__NETIF_TX_DATA_VALID;
    if (is_first && is_large(buf))
        slot.req.flags |= MIR__NETIF_TX_EXTRA;
    if (--p->slots > 0)
        slot.req.flags |= MIR__NETIF_TX_MORE;
    mir__xring_put(&n->tx, &p->ticket, p->at++, &slot);
    if (is_first && is_large(buf))
        put_extra(n, p, buf);
    return 0;
}

static int put_piece(struct mir__netfront *n, struct packet *p, const struct mir_buf *buf,
                     const uint8_t *data, uint32_t len)
{
    int r = 0;
    while (len > 0 && r == 0) {
        uint32_t room = MIR_PAGE_SIZE - (uint32_t)((uintptr_t)data % MIR_PAGE_SIZE);
        uint32_t some = MIR_MIN(len, room);
        r = put_slot(n, p, buf, data, some);
        data += some;
        len -= some;
    }
    return r;
}

/* Nothing of it was shown: as if it had never been. */
static void take_back(struct mir__netfront *n, struct packet *p)
{
    struct mir_xen *xen = n->device.xen;
    for (uint32_t i = 0; i < p->ids; i++) {
        (void)xen->ops->grant_end(xen, n->sends[p->id[i]].ref);
        give_id(n, p->id[i]);
    }
    mir__xring_cancel(&n->tx, &p->ticket);
}

/* Returns 0 or -MIR_EAGAIN; the buffer is the ring's only on success. */
static int submit(struct mir__netfront *n, struct mir_buf *buf, uint32_t slots)
{
    struct packet p = {.slots = slots};
    mir__xring_ticket_init(&p.ticket, slots + is_large(buf), NULL, NULL);
    if (mir__xring_reserve(&n->tx, &p.ticket) < 0)
        return -MIR_EAGAIN;
    int r = put_piece(n, &p, buf, buf->data, buf->len);
    for (uint32_t i = 0; i < buf->frag_count && r == 0; i++)
        r = put_piece(n, &p, buf, buf->frag[i].data, buf->frag[i].len);
    if (MIR_UNLIKELY(r < 0)) {
        n->counters.no_grant++;
        take_back(n, &p);
        return r;
    }
    n->sends[p.id[0]].buf = buf;
    n->extras_out += is_large(buf);
    mir__xring_commit(&n->tx, &p.ticket);
    n->is_held = true;
    return 0;
}

/* The same packet from the beginning of a page on, with nothing else behind it. */
static struct mir_buf *make_linear(struct mir__netfront *n, struct mir_buf *buf_given)
{
    uint32_t total = mir_buf_total(buf_given);
    struct mir_buf *copy = mir_buf_alloc_page(n->bufs, total, 0);
    if (copy != NULL) {
        uint8_t *to = mir_buf_append(copy, total);
        uint32_t rest = (MIR_PAGE_SIZE - total % MIR_PAGE_SIZE) % MIR_PAGE_SIZE;
        int r = mir_buf_copy_out(buf_given, 0, to, total);
        MIR_ASSERT(r == 0);
        mir_memset(to + total, 0, rest);
        copy->flags = buf_given->flags;
        copy->gso_size = buf_given->gso_size;
        copy->csum_start = buf_given->csum_start;
        copy->csum_offset = buf_given->csum_offset;
        n->counters.tx_linearised++;
    }
    mir_buf_release(buf_given);
    return copy;
}

/* ---- the contract -----------------------------------------------------------------------------
 */

static void fill_up(struct mir__netfront *n)
{
    n->stats.tx_full += !n->is_full;
    n->is_full = true;
}

static int refuse(struct mir__netfront *n, struct mir_buf *buf_given, int r)
{
    if (r == -MIR_EAGAIN)
        n->stats.tx_dropped++;
    else
        n->stats.tx_errors++;
    mir_buf_release(buf_given);
    return r;
}

int mir__netfront_tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    struct mir__netfront *n = mir__netfront_of(dev);
    struct mir_buf *buf = buf_given;
    uint32_t total = mir_buf_total(buf);
    int r = MIR_LIKELY(n->is_up) ? mir__vnet_check(&dev->info, buf) : -MIR_EIO;
    if (r == 0 && total > MIR__NETFRONT_FRAME_MAX)
        r = -MIR_ETOOBIG;
    if (MIR_UNLIKELY(r < 0))
        return refuse(n, buf, r);
    uint32_t slots = slots_of(buf);
    if (MIR_UNLIKELY(slots > n->slots_max || !n->features.is_trusted)) {
        buf = make_linear(n, buf);
        if (buf == NULL)
            return refuse(n, NULL, -MIR_EAGAIN);
        slots = slots_of(buf);
        if (slots > n->slots_max)
            return refuse(n, buf, -MIR_ETOOBIG);
    }
    r = submit(n, buf, slots);
    if (MIR_UNLIKELY(r < 0)) {
        fill_up(n);
        return refuse(n, buf, r);
    }
    n->stats.tx_frames++;
    n->stats.tx_bytes += total;
    return 0;
}

/* Frames with data that fit surely; the places of a few control frames are not counted. */
static uint32_t room(const struct mir__netfront *n)
{
    uint32_t free = mir__xring_room(&n->tx), each = n->slots_max + 1;
    return free > MIR_NET_TX_KEPT ? (free - MIR_NET_TX_KEPT) / each : 0;
}

uint32_t mir__netfront_tx_room(struct mir_net_dev *dev)
{
    struct mir__netfront *n = mir__netfront_of(dev);
    uint32_t frames = n->is_up ? room(n) : 0;
    if (MIR_UNLIKELY(frames == 0)) /* also when it is up again there is room */
        fill_up(n);
    return frames;
}

void mir__netfront_tx_flush(struct mir_net_dev *dev)
{
    struct mir__netfront *n = mir__netfront_of(dev);
    if (!n->is_up || !n->is_held)
        return;
    n->is_held = false;
    if (mir__xring_publish(&n->tx))
        mir__netfront_notify(n);
    if (!mir_timer_is_set(&n->timer)) {
        n->look_us = LOOK_MIN_US;
        n->tx_seen = n->tx.taken;
        mir_timer_set(n->loop, &n->timer, mir_loop_now(n->loop) + LOOK_MIN_US);
    }
}

/* ---- answers ----------------------------------------------------------------------------------
 */

/* Returns false if no honest backend says so. */
static bool take_answer(struct mir__netfront *n, const struct mir__netif_tx_rsp *rsp)
{
    if (rsp->status == MIR__NETIF_NULL) {
        if (n->extras_out == 0)
            return false;
        n->extras_out--;
        return true;
    }
    if (rsp->id >= MIR__NETFRONT_SENDS || !n->sends[rsp->id].is_out)
        return false;
    if (MIR_UNLIKELY(rsp->status != MIR__NETIF_OKAY && n->sends[rsp->id].first == rsp->id)) {
        n->stats.tx_dropped += rsp->status == MIR__NETIF_DROPPED;
        n->stats.tx_errors += rsp->status != MIR__NETIF_DROPPED;
    }
    end_slot(n, rsp->id);
    return true;
}

bool mir__netfront_tx_poll(struct mir__netfront *n)
{
    union mir__netif_tx slot;
    uint32_t count = 0;
    int r;
    while ((r = mir__xring_take(&n->tx, &slot)) == 0) {
        count++;
        if (MIR_UNLIKELY(!take_answer(n, &slot.rsp) || mir__netfront_is_dead(n))) {
            r = -MIR_EPROTO;
            break;
        }
    }
    if (MIR_UNLIKELY(r == -MIR_EPROTO)) {
        mir__netfront_reset(n, n->tx.fault != 0 ? "it answers more than was sent"
                                                : "it answers what was not sent");
        return true;
    }
    if (n->is_full && room(n) > 0 && mir__xring_room(&n->tx) >= n->tx.count / 4) {
        n->is_full = false;
        if (n->upper.tx_ready != NULL)
            n->upper.tx_ready(n->upper.arg);
    }
    return count > 0;
}

void mir__netfront_tx_look(struct mir__netfront *n)
{
    (void)mir__netfront_tx_poll(n);
    if (!n->is_up || n->tx.published == n->tx.taken)
        return;
    bool is_stalled = n->tx.taken == n->tx_seen;
    n->look_us = is_stalled ? MIR_MIN(n->look_us * 2, LOOK_MAX_US) : LOOK_MIN_US;
    if (is_stalled)
        mir__netfront_notify(n); /* it may have missed the last one */
    n->tx_seen = n->tx.taken;
    mir_timer_set(n->loop, &n->timer, mir_loop_now(n->loop) + n->look_us);
}

void mir__netfront_tx_fini(struct mir__netfront *n)
{
    for (uint16_t id = 0; id < MIR__NETFRONT_SENDS; id++) {
        if (!n->sends[id].is_out)
            continue;
        n->stats.tx_dropped += n->sends[id].first == id;
        end_slot(n, id);
    }
}
