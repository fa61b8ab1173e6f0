/* SPDX-License-Identifier: ISC */
/* A network device around another one that is one VLAN of it (IEEE 802.1Q).
 *
 *   out   dst src type ...      ->   dst src 8100 id type ...      the tag goes into the head room
 *   in    dst src 8100 id type  ->   dst src type ...              other frames are dropped,
 * counted
 *
 * A layer of its own, so that neither the stack nor the devices know of tags, and an interface
 * without VLAN pays nothing. What the device below completes moves with the tag: the start of a
 * checksum that it is to fill in lies four bytes further, segments that it cuts repeat the tag as
 * part of the header, and the largest frame it can cut is four bytes smaller for us.
 *
 * The frame grows by four bytes and the MTU stays: links carry 1,518 bytes for that (clause G.2.3
 * of 802.1Q; a device that checks its limit allows for it).
 *
 * Priorities in are ignored, out 0. A second tag behind ours (QinQ, 802.1ad) is refused. A tag with
 * VLAN 0, a priority alone, belongs to the untagged network: interfaces without VLAN take it
 * (lib/net/iface.c), here it is foreign.
 *
 * Not done: several VLANs of one device (each network of an appliance has a device of its own),
 * dynamic registration.
 */
#include "dev/net/vlan/vlan.h"

#include <mirari/bytes.h>

#include "lib/wire/eth.h"

#define ETH_TYPE_QINQ 0x88a8u
#define MACS          12u

static struct mir_vlan *of(struct mir__wrap *wrap)
{
    return (struct mir_vlan *)(void *)wrap;
}

static void rx(struct mir__wrap *wrap, struct mir_buf *buf_given)
{
    struct mir_vlan *vlan = of(wrap);
    uint8_t macs[MACS];
    const uint8_t *frame = buf_given->data;
    bool is_whole = buf_given->len >= MIR__ETH_HEADER_LEN + MIR__ETH_TAG_LEN;
    if (!is_whole || !mir__eth_has_tag(frame) || (mir__eth_tci(frame) & 0xfff) != vlan->id) {
        vlan->foreign++;
        mir_buf_release(buf_given);
        return;
    }
    uint16_t type = mir__eth_type(frame);
    if (type == MIR__ETH_TYPE_VLAN || type == ETH_TYPE_QINQ) {
        vlan->nested++;
        mir_buf_release(buf_given);
        return;
    }
    mir_memcpy(macs, frame, MACS);
    mir_buf_pull(buf_given, MIR__ETH_TAG_LEN);
    mir_memcpy(buf_given->data, macs, MACS);
    if (buf_given->flags & MIR_BUF_CSUM_PARTIAL)
        buf_given->csum_start = (uint16_t)(buf_given->csum_start - MIR__ETH_TAG_LEN);
    mir__wrap_up(wrap, buf_given);
}

static int tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    struct mir_vlan *vlan = of(mir__wrap_of(dev));
    struct mir_buf *buf = buf_given;
    uint8_t macs[MACS];
    if (MIR_UNLIKELY(mir_buf_headroom(buf) < MIR__ETH_TAG_LEN)) {
        buf = mir_buf_linearize(vlan->bufs, buf_given, MIR__ETH_TAG_LEN);
        mir_buf_release(buf_given);
        if (buf == NULL) {
            vlan->no_memory++;
            return -MIR_EAGAIN;
        }
    }
    MIR_ASSERT_OP(buf->len, >=, MIR__ETH_HEADER_LEN);
    mir_memcpy(macs, buf->data, MACS);
    uint8_t *frame = mir_buf_push(buf, MIR__ETH_TAG_LEN);
    mir_memcpy(frame, macs, MACS);
    mir_put_be16(frame + MACS, MIR__ETH_TYPE_VLAN);
    mir_put_be16(frame + MACS + 2, vlan->id);
    if (buf->flags & MIR_BUF_CSUM_PARTIAL)
        buf->csum_start = (uint16_t)(buf->csum_start + MIR__ETH_TAG_LEN);
    return mir_net_dev_tx(vlan->wrap.inner, buf);
}

static int start(struct mir_net_dev *dev, const struct mir_net_upper *upper)
{
    struct mir__wrap *wrap = mir__wrap_of(dev);
    int r = mir__wrap_start(dev, upper);
    /* The device may know only now what it can do. */
    dev->info = wrap->inner->info;
    if (dev->info.gso_max > MIR__ETH_TAG_LEN)
        dev->info.gso_max -= MIR__ETH_TAG_LEN;
    return r;
}

static void get_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats)
{
    const struct mir_vlan *vlan = (const struct mir_vlan *)(const void *)dev;
    mir__wrap_stats(dev, stats);
    stats->rx_dropped += vlan->foreign + vlan->nested;
    stats->tx_dropped += vlan->no_memory;
}

static const struct mir_net_dev_ops vlan_ops = {
    .start = start,
    .stop = mir__wrap_stop,
    .tx = tx,
    .flush = mir__wrap_flush,
    .tx_room = mir__wrap_tx_room,
    .stats = get_stats,
    .close = mir__wrap_close,
};

void mir_vlan_init(struct mir_vlan *vlan, struct mir_net_dev *inner, struct mir_buf_pool *bufs,
                   uint16_t id)
{
    MIR_ASSERT(id >= 1 && id <= MIR_VLAN_ID_MAX);
    *vlan = (struct mir_vlan){.bufs = bufs, .id = id};
    mir__wrap_init(&vlan->wrap, inner, &vlan_ops);
    vlan->wrap.rx = rx;
    if (vlan->wrap.dev.info.gso_max > MIR__ETH_TAG_LEN)
        vlan->wrap.dev.info.gso_max -= MIR__ETH_TAG_LEN;
}
