/* SPDX-License-Identifier: ISC */
/* Datagrams of one flow in one frame. Not public. */
#ifndef DEV_NET_VNET_BUNDLE_H
#define DEV_NET_VNET_BUNDLE_H

#include "dev/net/vnet/vnet.h"

#define MIR__BUNDLE_MAX 64u /* datagrams in one that we make, as Linux has it */

/** A bundle that is being taken apart. */
struct mir__bundle {
    const struct mir_buf *buf; /* borrowed */
    uint32_t head;             /* Ethernet, IP and UDP headers together */
    uint32_t at;               /* of the next payload */
    uint16_t id;               /* of the next datagram, IPv4 */
    bool is_v4;
};

/** Is @buf, a frame to which mir__vnet_apply() was done or that mir__bundle_join() made, several
 *  datagrams? */
static inline bool mir__bundle_is(const struct mir_buf *buf)
{
    return (buf->flags & MIR_BUF_GSO_UDP) != 0;
}

/** How many datagrams (1 for any other frame). */
uint32_t mir__bundle_count(const struct mir_buf *buf);

/** Begin to take @buf apart, which must live until the last piece is made. Returns false if it is
 *  no UDP over IPv4 or IPv6. */
bool mir__bundle_open(struct mir__bundle *bundle, const struct mir_buf *buf) MIR_CHECK;

/** The next datagram as a frame of its own; NULL: that was the last, or no memory (@bundle->at is
 *  then before the end of the buffer). */
struct mir_buf *mir__bundle_next(struct mir__bundle *bundle, struct mir_buf_pool *bufs) MIR_CHECK;

/** Could @buf begin a bundle, or is it one that we made? */
static inline bool mir__bundle_may(const struct mir_buf *buf)
{
    return (buf->flags | MIR_BUF_GSO_UDP) == (MIR_BUF_CSUM_PARTIAL | MIR_BUF_GSO_UDP) &&
           buf->csum_offset == 6;
}

/** Join @buf to *@held, if both are datagrams of one flow and alike but for length, checksum and
 *  identification. Returns true if so: *@held is then perhaps another buffer, and @buf is still
 *  the caller's, to be released. */
bool mir__bundle_join(struct mir_buf_pool *bufs, struct mir_buf **held,
                      const struct mir_buf *buf) MIR_CHECK;

#endif
