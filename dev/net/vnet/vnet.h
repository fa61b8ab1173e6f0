/* SPDX-License-Identifier: ISC */
/* The header that Linux puts in front of a frame to say what is left to do for it.
 *
 *   0            1          2              4            6            8              10
 *   +------------+----------+--------------+------------+------------+--------------+-- frame
 *   | flags      | gso_type | hdr_len      | gso_size   | csum_start | csum_offset  |
 *   +------------+----------+--------------+------------+------------+--------------+--
 *   (all numbers little-endian; VIRTIO 1.2 section 5.1.6, struct virtio_net_hdr)
 *
 * With it each side may hand over a TCP segment of up to 64 KiB and leave the checksum to whoever
 * needs it. Taps and packet sockets have it in common.
 */
#ifndef DEV_NET_VNET_VNET_H
#define DEV_NET_VNET_VNET_H

#include <mirari/bytes.h>
#include <mirari/dev_net.h>

#define MIR__VNET_LEN       10u
#define MIR__VNET_ETH       14u /* link header */
#define MIR__VNET_FRAME_MAX (65535u + MIR__VNET_ETH)

enum { MIR__VNET_NEEDS_CSUM = 1, MIR__VNET_DATA_VALID = 2 };
enum {
    MIR__VNET_NONE = 0,
    MIR__VNET_TCPV4 = 1,
    MIR__VNET_TCPV6 = 4,
    MIR__VNET_UDP = 5, /* several datagrams: dev/net/vnet/bundle.h */
    MIR__VNET_ECN = 0x80
};

/** What the header of a received frame says becomes flags of @buf; an impossible offset means no
 *  help with the checksum. */
static inline void mir__vnet_apply(struct mir_buf *buf, const uint8_t hdr[MIR__VNET_LEN])
{
    uint32_t csum_start = mir_get_le16(hdr + 6), csum_offset = mir_get_le16(hdr + 8);
    uint8_t gso_type = hdr[1] & (uint8_t)~MIR__VNET_ECN;
    if (hdr[0] & MIR__VNET_NEEDS_CSUM && csum_start + csum_offset + 2 <= buf->len) {
        buf->flags |= MIR_BUF_CSUM_PARTIAL;
        buf->csum_start = (uint16_t)csum_start;
        buf->csum_offset = (uint16_t)csum_offset;
    } else if (hdr[0] & MIR__VNET_DATA_VALID) {
        buf->flags |= MIR_BUF_CSUM_VALID;
    }
    if (gso_type == MIR__VNET_NONE)
        return;
    buf->gso_size = mir_get_le16(hdr + 4);
    if (gso_type == MIR__VNET_TCPV4)
        buf->flags |= MIR_BUF_GSO_TCP4;
    else if (gso_type == MIR__VNET_TCPV6)
        buf->flags |= MIR_BUF_GSO_TCP6;
    else if (gso_type == MIR__VNET_UDP)
        buf->flags |= MIR_BUF_GSO_UDP;
}

/** The header of a frame to send that mir__vnet_check() let through. */
static inline void mir__vnet_fill(uint8_t hdr[MIR__VNET_LEN], const struct mir_buf *buf)
{
    mir_memset(hdr, 0, MIR__VNET_LEN);
    if (!(buf->flags & MIR_BUF_CSUM_PARTIAL))
        return;
    hdr[0] = MIR__VNET_NEEDS_CSUM;
    mir_put_le16(hdr + 6, buf->csum_start);
    mir_put_le16(hdr + 8, buf->csum_offset);
    if (!(buf->flags & (MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6 | MIR_BUF_GSO_UDP)))
        return;
    mir_put_le16(hdr + 4, buf->gso_size);
    if (buf->flags & MIR_BUF_GSO_UDP) {
        hdr[1] = MIR__VNET_UDP;
        mir_put_le16(hdr + 2, (uint16_t)(buf->csum_start + 8));
        return;
    }
    hdr[1] = buf->flags & MIR_BUF_GSO_TCP4 ? MIR__VNET_TCPV4 : MIR__VNET_TCPV6;
    /* Link, IP and TCP headers together: the data offset is in the TCP header. */
    uint32_t tcp_len = (uint32_t)(buf->data[buf->csum_start + 12] >> 4) * 4;
    mir_put_le16(hdr + 2, (uint16_t)(buf->csum_start + tcp_len));
}

/** May a device with @info send @buf? Returns 0, -MIR_EINVAL or -MIR_ETOOBIG. */
static inline MIR_CHECK int mir__vnet_check(const struct mir_net_dev_info *info,
                                            const struct mir_buf *buf)
{
    bool is_gso = buf->flags & (MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6);
    bool has_tag = buf->len >= MIR__VNET_ETH && mir_get_be16(buf->data + 12) == 0x8100;
    /* A VLAN tag is not counted: links carry 1,518 bytes for it. */
    uint32_t limit = is_gso ? info->gso_max : info->mtu + MIR__VNET_ETH + (has_tag ? 4u : 0u);
    if (is_gso && (!(buf->flags & MIR_BUF_CSUM_PARTIAL) || buf->gso_size == 0))
        return -MIR_EINVAL;
    if (buf->flags & MIR_BUF_CSUM_PARTIAL &&
        (uint32_t)buf->csum_start + buf->csum_offset + 2 > buf->len)
        return -MIR_EINVAL;
    if (is_gso && buf->csum_start + 20u > buf->len)
        return -MIR_EINVAL;
    if (mir_buf_total(buf) > limit)
        return -MIR_ETOOBIG;
    return buf->len >= MIR__VNET_ETH ? 0 : -MIR_EINVAL;
}

#endif
