/* SPDX-License-Identifier: ISC */
/* Looking ahead: the memory of a frame's connection is asked for before the frame is processed.
 *
 * With many connections in use each frame is for another one, which no cache holds: its bucket, its
 * object, its block, one miss after the other, and each is waited for. So when TCP has more
 * connections than caches do (mir__tcp_is_crowded), the frames of a device's batch are held until
 * there are MIR__AHEAD_FRAMES of them or the batch ends. Then each step is taken for all of them
 * before the next one, and their misses go on at the same time:
 *
 *   hold     addresses and ports -> hash, ask for the bucket
 *   take     ask for the object the bucket names, for all frames; then for its block; then process
 *
 * The steps only read, and know nothing afterwards that processing relies on: what it does to the
 * table meanwhile, even to free a connection, is no matter. A frame whose addresses and ports are
 * those of the frame before needs no step, so one busy connection pays for a comparison. Frames
 * keep their order, whatever is in them. Frames with options of IP or a tag of VLAN are held and
 * not looked at.
 */
#include "lib/net/net_state.h"

/* Where in the frame (addresses, ports) and how long the addresses are; false: not looked at. */
static bool find_flow(const struct mir_buf *buf, uint32_t *at, uint32_t *len)
{
    const uint8_t *ip = buf->data + MIR__ETH_HEADER_LEN;
    if (buf->len >= MIR__ETH_HEADER_LEN + MIR__IP4_HEADER_LEN + 4u && ip[0] == 0x45 &&
        mir__eth_type(buf->data) == MIR__ETH_TYPE_IP4 && mir__ip4_protocol(ip) == MIR__PROTO_TCP) {
        *at = MIR__ETH_HEADER_LEN + 12;
        *len = 4;
        return true;
    }
    if (buf->len >= MIR__ETH_HEADER_LEN + MIR__IP6_HEADER_LEN + 4u &&
        mir__eth_type(buf->data) == MIR__ETH_TYPE_IP6 && mir__ip6_next(ip) == MIR__PROTO_TCP) {
        *at = MIR__ETH_HEADER_LEN + 8;
        *len = 16;
        return true;
    }
    return false;
}

static uint32_t begin(struct mir_net *net, const uint8_t *flow, uint32_t len)
{
    struct mir_ip remote, local;
    const uint8_t *ports = flow + (size_t)2 * len;
    if (len == 4) {
        remote = mir_ip_from_v4(mir_get_be32(flow));
        local = mir_ip_from_v4(mir_get_be32(flow + 4));
    } else {
        mir_memcpy(remote.bytes, flow, sizeof remote.bytes);
        mir_memcpy(local.bytes, flow + 16, sizeof local.bytes);
    }
    struct mir_endpoint here = {.ip = local, .port = mir_get_be16(ports + 2)};
    struct mir_endpoint there = {.ip = remote, .port = mir_get_be16(ports)};
    return mir__tcp_ahead_bucket(net, &here, &there);
}

bool mir__ahead_hold(struct mir__iface *iface, struct mir_buf *buf_given)
{
    struct mir__ahead *ahead = &iface->ahead;
    uint32_t i = ahead->count++;
    uint32_t at, len;
    ahead->frames[i] = buf_given;
    ahead->is_new[i] = false;
    if (!find_flow(buf_given, &at, &len))
        return ahead->count == MIR__AHEAD_FRAMES;
    const uint8_t *flow = buf_given->data + at;
    if (ahead->flow_len == len && mir_memcmp(ahead->flow, flow, 2 * len + 4) == 0)
        return ahead->count == MIR__AHEAD_FRAMES;
    ahead->flow_len = (uint8_t)len;
    mir_memcpy(ahead->flow, flow, 2 * len + 4);
    ahead->hash[i] = begin(iface->net, flow, len);
    ahead->is_new[i] = true;
    return ahead->count == MIR__AHEAD_FRAMES;
}

uint32_t mir__ahead_take(struct mir__iface *iface, struct mir_buf *frames[MIR__AHEAD_FRAMES])
{
    struct mir__ahead *ahead = &iface->ahead;
    uint32_t count = ahead->count;
    for (uint32_t i = 0; i < count; i++)
        if (ahead->is_new[i])
            mir__tcp_ahead_object(iface->net, ahead->hash[i]);
    for (uint32_t i = 0; i < count; i++)
        if (ahead->is_new[i])
            mir__tcp_ahead_block(iface->net, ahead->hash[i]);
    mir_memcpy(frames, ahead->frames, count * sizeof ahead->frames[0]);
    ahead->count = 0;
    ahead->flow_len = 0;
    return count;
}

void mir__ahead_release(struct mir__iface *iface)
{
    while (iface->ahead.count > 0)
        mir_buf_release(iface->ahead.frames[--iface->ahead.count]);
}
