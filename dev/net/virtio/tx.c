/* SPDX-License-Identifier: ISC */
/* Sending over virtio: the buffer itself goes to the device, header, linear part and views.
 *
 *   | head room |hdr 12| Ethernet IP TCP ... |   view   |   view   |
 *               '------- 1 descriptor -------'---- 1 ---'---- 1 ---'
 *
 * The header (VIRTIO 1.2 section 5.1.6) is pushed into the buffer's own head room, so that a linear
 * frame is one descriptor; devices from before 1.0 may want it in one of its own. A frame without
 * that room is copied. The buffer is released when the device has returned the chain, not before
 * (advisories MSA00, MSA02), and the device sees no byte of it that nobody wrote (MSA01).
 *
 * Frames are shown to the device at flush, all of a batch with one notification at most. Nobody
 * asks for interrupts of what was sent: it is released when the next batch goes out, when something
 * is received, and by a timer that is set while anything is on its way. Only when the ring is full
 * is an interrupt asked for, at half of it; it counts as full while there still are descriptors for
 * a few control frames. If the timer finds that nothing moves the device is notified again, should
 * it have missed it, and the pause grows.
 */
#include "dev/net/virtio/internal.h"

#define LOOK_MIN_US (20 * MIR_US_PER_MS)
#define LOOK_MAX_US MIR_US_PER_S

/* Frames with data that fit surely, each of one descriptor with a table or of many without. What is
 * kept back is for control frames. */
static uint32_t room(const struct mir__virtnet *n)
{
    const struct mir__virtq *ring = &n->tx.ring;
    uint32_t kept = MIR_MIN(MIR_NET_TX_KEPT, ring->size / 4u), free = ring->free_count;
    uint32_t need = ring->tables_left > 0 ? 1 : MIR__VIRTNET_TX_SEGS;
    return free >= kept + need ? free - kept : 0;
}

static void fill_up(struct mir__virtnet *n)
{
    n->stats.tx_full += !n->is_full;
    n->is_full = true;
}

/* Returns how many frames were released. */
static uint32_t release_sent(struct mir__virtnet *n)
{
    void *token;
    uint32_t len, count = 0;
    int r;
    while ((r = mir__virtq_take(&n->tx.ring, &token, &len)) == 0) {
        count++;
        mir_buf_release(token);
    }
    if (MIR_UNLIKELY(r == -MIR_EPROTO)) {
        mir__virtnet_reset(n, mir__virtq_fault_text(n->tx.ring.fault));
        return 0;
    }
    return count;
}

bool mir__virtnet_tx_poll(struct mir__virtnet *n)
{
    uint32_t count = release_sent(n);
    if (n->is_up && n->is_full && room(n) > n->tx.ring.size / 4u) {
        n->is_full = false;
        mir__virtq_disarm(&n->tx.ring);
        if (n->upper.tx_ready != NULL)
            n->upper.tx_ready(n->upper.arg);
    }
    return count > 0;
}

void mir__virtnet_tx_look(struct mir__virtnet *n)
{
    (void)mir__virtnet_tx_poll(n);
    if (!n->is_up || n->tx.ring.in_flight == 0)
        return;
    if (n->tx.ring.used_idx == n->tx_seen) {
        n->counters.tx_stalls++;
        n->tx_look_us = MIR_MIN(n->tx_look_us * 2, LOOK_MAX_US);
        mir__virtio_ring(&n->tx);
    } else {
        n->tx_look_us = LOOK_MIN_US;
    }
    n->tx_seen = n->tx.ring.used_idx;
    mir_timer_set(n->loop, &n->timer, mir_loop_now(n->loop) + n->tx_look_us);
}

/* A frame whose head room is too small, with some. */
static struct mir_buf *make_room(struct mir__virtnet *n, struct mir_buf *buf_given)
{
    struct mir_buf *copy = mir_buf_linearize(n->bufs, buf_given, MIR_BUF_HEADROOM);
    mir_buf_release(buf_given);
    n->counters.tx_copied++;
    return copy;
}

/* The chain of a frame. Returns 0 or -MIR_EAGAIN; the buffer is the device's only on success. */
static int submit(struct mir__virtnet *n, struct mir_buf *buf)
{
    struct mir__virtq_seg segs[MIR__VIRTNET_TX_SEGS];
    uint32_t count = 0, header_len = n->header_len;
    uint8_t *front = buf->data - header_len;
    mir__vnet_fill(front, buf);
    if (header_len > MIR__VNET_LEN)
        mir_memset(front + MIR__VNET_LEN, 0, header_len - MIR__VNET_LEN);
    uint64_t address = mir__virtio_address(n->virtio, front);
    if (MIR_LIKELY(n->has_one_piece)) {
        segs[count++] = (struct mir__virtq_seg){address, header_len + buf->len};
    } else {
        segs[count++] = (struct mir__virtq_seg){address, header_len};
        segs[count++] = (struct mir__virtq_seg){address + header_len, buf->len};
    }
    for (uint32_t i = 0; i < buf->frag_count; i++)
        segs[count++] = (struct mir__virtq_seg){mir__virtio_address(n->virtio, buf->frag[i].data),
                                                buf->frag[i].len};
    return mir__virtq_add(&n->tx.ring, segs, count, 0, buf);
}

static int send_checked(struct mir__virtnet *n, struct mir_buf *buf_given)
{
    struct mir_buf *buf = buf_given;
    uint32_t total = mir_buf_total(buf);
    bool is_large = buf->flags & (MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6);
    if (MIR_UNLIKELY(mir_buf_headroom(buf) < n->header_len)) {
        buf = make_room(n, buf);
        if (buf == NULL) {
            n->stats.tx_dropped++;
            return -MIR_EAGAIN;
        }
    }
    int r = submit(n, buf);
    if (MIR_UNLIKELY(r == -MIR_EAGAIN) && release_sent(n) > 0)
        r = submit(n, buf);
    if (MIR_UNLIKELY(r < 0)) {
        fill_up(n);
        n->stats.tx_dropped++;
        mir_buf_release(buf);
        return r;
    }
    n->is_held = true;
    n->stats.tx_frames++;
    n->stats.tx_bytes += total;
    if (is_large) {
        n->counters.tx_large++;
        n->counters.tx_large_bytes += total;
    }
    return 0;
}

int mir__virtnet_tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    struct mir__virtnet *n = mir__virtnet_of(dev);
    int r = MIR_LIKELY(n->is_up) ? mir__vnet_check(&dev->info, buf_given) : -MIR_EIO;
    if (MIR_UNLIKELY(r < 0)) {
        n->stats.tx_errors++;
        mir_buf_release(buf_given);
        return r;
    }
    return send_checked(n, buf_given);
}

void mir__virtnet_tx_flush(struct mir_net_dev *dev)
{
    struct mir__virtnet *n = mir__virtnet_of(dev);
    if (!n->is_up || !n->is_held)
        return;
    n->is_held = false;
    mir__virtio_kick(&n->tx);
    (void)release_sent(n);
    if (n->is_up && !mir_timer_is_set(&n->timer)) {
        n->tx_look_us = LOOK_MIN_US;
        n->tx_seen = n->tx.ring.used_idx;
        mir_timer_set(n->loop, &n->timer, mir_loop_now(n->loop) + LOOK_MIN_US);
    }
}

uint32_t mir__virtnet_tx_room(struct mir_net_dev *dev)
{
    struct mir__virtnet *n = mir__virtnet_of(dev);
    if (!n->is_up) {
        fill_up(n); /* there is room when it is up again */
        return 0;
    }
    uint32_t frames = room(n);
    if (MIR_UNLIKELY(frames == 0)) {
        (void)release_sent(n);
        frames = n->is_up ? room(n) : 0;
        if (frames == 0)
            fill_up(n);
    }
    return frames;
}
