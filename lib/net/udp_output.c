/* SPDX-License-Identifier: ISC */
/* UDP output.
 *
 * A socket keeps the route to its last destination, with all that was asked for: an echo server or
 * a DNS client that talks to one peer looks nothing up. Broadcasts need MIR_UDP_BROADCAST, as on
 * Linux: an address that happens to be one is more often a mistake than a wish.
 *
 * What goes to a group and has a possible member here too is copied into a bounded queue before it
 * leaves, and delivered from the loop, never inside the call. A group TTL of 0 stops it there.
 *
 * A datagram that the device has no room for is refused with -MIR_EAGAIN and counted (tx_no_room);
 * a task can wait for room instead, with mir_udp_send_wait().
 *
 * Source: RFC 768; RFC 1122 section 4.1.3.4 (a computed checksum of zero is sent as ones) and
 * 4.1.4 (what the application may choose); RFC 1112 section 6.1; RFC 6437 section 3 (flow labels).
 */
#include "lib/net/net_state.h"

enum { PAYLOAD_MAX4 = 65535 - 20 - 8, PAYLOAD_MAX = 65535 - 8 };

/* ---- routes --------------------------------------------------------------------------------- */

bool mir__udp_is_broadcast(const struct mir_net *net, const struct mir_ip *ip)
{
    uint32_t to = mir_ip_to_v4(ip);
    if (!mir_ip_is_v4(ip))
        return false;
    for (uint32_t i = 0; i < net->iface_count; i++) {
        const struct mir__iface *iface = &net->ifaces[i];
        if (iface->broadcast != 0 && iface->broadcast == to)
            return true;
        if (net->ifaddr.v4_count > 1 && mir__ifaddr_is_broadcast(iface, to))
            return true;
    }
    return to == UINT32_MAX;
}

static uint32_t make_flow_key(const struct mir__udp_socket *s)
{
    uint8_t input[34];
    mir_memcpy(input, s->peer_src.bytes, 16);
    mir_memcpy(input + 16, s->peer.bytes, 16);
    mir_put_be16(input + 32, s->port);
    return (uint32_t)mir_siphash(s->net->neigh.hash_key, input, sizeof input);
}

/* RFC 6437 section 3: the same for a five-tuple, evenly spread. IPv4 does not look at it. */
static uint32_t flow_label(const struct mir__udp_socket *s, uint16_t port)
{
    return (s->flow_key ^ port * 0x9e3779b1u) >> 12;
}

/* 0 is no destination. */
static uint32_t hash_of(const struct mir__udp_socket *s, const struct mir_ip *dst)
{
    return (uint32_t)mir_siphash(s->net->neigh.hash_key, dst->bytes, sizeof dst->bytes) | 1;
}

bool mir__udp_has_sent_to(const struct mir__udp_socket *s, const struct mir_ip *dst)
{
    uint32_t hash = hash_of(s, dst);
    if (mir_ip_equal(&s->peer, dst))
        return true;
    for (uint32_t i = 0; i < MIR__UDP_RECENT; i++) {
        if (s->recent[i] == hash)
            return true;
    }
    return false;
}

/* The destination changes: keep a trace of the one before. */
static void remember_peer(struct mir__udp_socket *s)
{
    if (mir_ip_is_any(&s->peer) || s->is_to_group)
        return;
    uint32_t hash = hash_of(s, &s->peer);
    for (uint32_t i = 0; i < MIR__UDP_RECENT; i++) {
        if (s->recent[i] == hash)
            return;
    }
    s->recent[s->recent_at] = hash;
    s->recent_at = (uint8_t)((s->recent_at + 1) % MIR__UDP_RECENT);
}

int mir__udp_route(struct mir__udp_socket *s, const struct mir_ip *dst, const struct mir_ip *from,
                   uint32_t if_index)
{
    struct mir_net *net = s->net;
    struct mir_ip src = *from;
    s->route.iface = NULL;
    if (if_index > net->iface_count)
        return -MIR_ENETUNREACH;
    if (if_index != 0 && mir_ip_is_any(&src) && mir_ip_is_v4(dst))
        src = mir_ip_from_v4(net->ifaces[if_index - 1].ip);
    else if (if_index != 0 && mir_ip_is_any(&src))
        (void)mir__ip6_select_source(&net->ifaces[if_index - 1], dst, &src);
    /* A group or broadcast is somewhere to send to, not from. */
    if (mir__udp_is_group(&src) || mir__udp_is_broadcast(net, &src))
        src = (struct mir_ip){{0}};
    bool is_to_broadcast = mir__udp_is_broadcast(net, dst);
    if (is_to_broadcast && !s->may_broadcast)
        return -MIR_EPERM;
    int r = mir__ip_route(net, dst, &src, &s->route);
    if (r < 0)
        return r;
    bool is_to_self = s->route.iface == &net->self.iface;
    if (if_index != 0 && !is_to_self && s->route.iface->index + 1 != if_index) {
        s->route.iface = NULL;
        return -MIR_ENETUNREACH;
    }
    if (!mir_ip_equal(&s->peer, dst))
        remember_peer(s);
    s->peer = *dst;
    s->peer_from = *from;
    s->peer_if = if_index;
    s->peer_src = src;
    s->is_to_group = mir__udp_is_group(dst);
    s->is_to_broadcast = is_to_broadcast;
    if (!mir_ip_is_v4(dst))
        s->flow_key = make_flow_key(s);
    return 0;
}

static bool is_kept(const struct mir__udp_socket *s, const struct mir_ip *dst)
{
    return s->route.iface != NULL && s->route.generation == s->net->route_generation &&
           mir_ip_equal(&s->peer, dst);
}

/* The kept route if it leads to @dst and still holds, else a new one. */
static int find_route(struct mir__udp_socket *s, const struct mir_ip *dst,
                      const struct mir_udp_msg *msg)
{
    bool is_plain = msg == NULL || (msg->if_index == 0 && mir_ip_is_any(&msg->from));
    if (MIR_LIKELY(is_plain && s->is_plain && is_kept(s, dst)))
        return 0;
    const struct mir_ip *from = msg != NULL && !mir_ip_is_any(&msg->from) ? &msg->from : &s->local;
    uint32_t if_index = msg != NULL ? msg->if_index : 0;
    if (if_index == 0 && mir__udp_is_group(dst))
        if_index = s->group_if;
    if (is_kept(s, dst) && s->peer_if == if_index && mir_ip_equal(&s->peer_from, from)) {
        s->is_plain = is_plain;
        return 0;
    }
    if (from != &s->local && !mir__ip_is_bindable(s->net, from))
        return -MIR_EADDRNOTAVAIL;
    s->is_plain = is_plain;
    return mir__udp_route(s, dst, from, if_index);
}

/* ---- groups of our own ---------------------------------------------------------------------- */

static bool has_socket(struct mir_net *net, uint16_t port)
{
    mir_list_for_each (node, mir__udp_port_bucket(net, port)) {
        if (MIR_CONTAINER_OF(node, struct mir__udp_socket, by_port)->port == port)
            return true;
    }
    return false;
}

/* Keep a copy of what goes to a group, for members among our own sockets. */
static void loop_back(struct mir__udp_socket *s, const struct mir__ip_params *params,
                      const struct mir_buf *buf, uint16_t port)
{
    struct mir_net *net = s->net;
    struct mir__ip_meta meta = {
        .src = *params->src,
        .dst = *params->dst,
        .ttl = params->ttl,
        .tos = params->tos,
        .is_broadcast = true,
        .iface = s->route.iface,
    };
    _Static_assert(sizeof meta <= MIR_BUF_HEADROOM, "meta data in the head room of a copy");
    if (!has_socket(net, port))
        return;
    struct mir_buf *copy = NULL;
    if (net->udp.loop.count < MIR__UDP_LOOP_MAX)
        copy = mir_buf_linearize(net->bufs, buf, MIR_BUF_HEADROOM);
    if (copy == NULL) {
        net->counters.udp_loop_dropped++;
        return;
    }
    copy->flags = MIR_BUF_CSUM_VALID | MIR_BUF_MULTICAST;
    mir_memcpy(copy->start, &meta, sizeof meta);
    mir_buf_queue_push(&net->udp.loop, copy);
    mir_loop_post(net->loop, &net->udp.loop_work);
}

/* ---- output -------------------------------------------------------------------------------- */

static void push_header(struct mir__udp_socket *s, const struct mir_endpoint *to,
                        struct mir_buf *buf)
{
    struct mir__udp header = {
        .src = s->port,
        .dst = to->port,
        .len = (uint16_t)(MIR__UDP_HEADER_LEN + mir_buf_total(buf)),
    };
    /* A received buffer that is sent again: its device spoke of another packet. */
    buf->flags = 0;
    buf->gso_size = 0;
    mir__udp_emit(&header, mir_buf_push(buf, MIR__UDP_HEADER_LEN));
    mir__ip_transport_checksum(&s->route, &s->peer_src, &to->ip, MIR__PROTO_UDP, buf,
                               MIR__UDP_CHECKSUM_AT);
    /* Zero would mean "no checksum". */
    if (!(buf->flags & MIR_BUF_CSUM_PARTIAL) && !mir__udp_has_checksum(buf->data))
        mir_put_be16(buf->data + MIR__UDP_CHECKSUM_AT, 0xffff);
}

/* What arrived may be sent again: a datagram that was put together, or copied for the members of a
 * group, has less room in front of it than we need. */
static struct mir_buf *make_headroom(struct mir_net *net, struct mir_buf *buf_given)
{
    struct mir_buf *copy = mir_buf_linearize(net->bufs, buf_given, MIR_BUF_HEADROOM);
    if (copy == NULL)
        net->counters.no_memory++;
    mir_buf_release(buf_given);
    return copy;
}

/* What can be refused before anything is done. */
static int check(struct mir__udp_socket *s, const struct mir_endpoint *to, uint32_t len)
{
    if (MIR_UNLIKELY(s->udp.error != 0))
        return mir_udp_take_error(&s->udp);
    if (to->port == 0)
        return to == &s->remote ? -MIR_ENOTCONN : -MIR_EINVAL;
    bool is_large = len > PAYLOAD_MAX4 && (len > PAYLOAD_MAX || mir_ip_is_v4(&to->ip));
    return is_large ? -MIR_ETOOBIG : 0;
}

static int output(struct mir__udp_socket *s, const struct mir_endpoint *to,
                  const struct mir_udp_msg *msg, struct mir_buf *buf_given)
{
    struct mir_buf *buf = buf_given;
    int r = check(s, to, mir_buf_total(buf));
    if (r == 0)
        r = find_route(s, &to->ip, msg);
    if (r < 0) {
        mir_buf_release(buf);
        return r;
    }
    if (MIR_UNLIKELY(mir_buf_headroom(buf) <
                     MIR__UDP_HEADER_LEN + MIR__IP6_HEADER_LEN + MIR__ETH_HEADER_LEN)) {
        buf = make_headroom(s->net, buf);
        if (buf == NULL)
            return -MIR_EAGAIN;
    }
    if (MIR_UNLIKELY(!mir__ip_may_send(s->net, &s->route))) {
        mir_buf_release(buf);
        return -MIR_EAGAIN;
    }
    push_header(s, to, buf);
    struct mir__ip_params params = {
        .src = &s->peer_src,
        .dst = &to->ip,
        .protocol = MIR__PROTO_UDP,
        .ttl = s->is_to_group ? s->group_ttl : s->ttl,
        .tos = s->tos,
        .dont_fragment = s->dont_fragment,
        .flow_label = flow_label(s, to->port),
    };
    if (MIR_UNLIKELY(msg != NULL)) {
        params.ttl = msg->ttl != 0 ? msg->ttl : params.ttl;
        params.tos = msg->tos != 0 ? msg->tos : params.tos;
        params.dont_fragment |= msg->dont_fragment;
    }
    s->net->counters.udp_out++;
    if (MIR_UNLIKELY(s->is_to_group)) {
        if (s->group_loop)
            loop_back(s, &params, buf, to->port);
        if (params.ttl == 0) { /* not beyond ourselves */
            mir_buf_release(buf);
            return 0;
        }
    }
    return mir__ip_output(s->net, &s->route, &params, buf);
}

int mir__udp_send_msg(struct mir_udp *udp, const struct mir_udp_msg *msg, struct mir_buf *buf_given)
{
    struct mir__udp_socket *s = mir__udp_of(udp);
    return output(s, msg->to.port != 0 ? &msg->to : &s->remote, msg, buf_given);
}

int mir__udp_send_buf(struct mir_udp *udp, const struct mir_endpoint *to, struct mir_buf *buf_given)
{
    struct mir__udp_socket *s = mir__udp_of(udp);
    return output(s, to != NULL ? to : &s->remote, NULL, buf_given);
}

int mir__udp_send(struct mir_udp *udp, const struct mir_endpoint *to, const void *data, size_t len)
{
    struct mir_net *net = mir__udp_of(udp)->net;
    if (len > PAYLOAD_MAX)
        return -MIR_ETOOBIG;
    bool is_small = MIR_BUF_HEADROOM + len <= MIR_BUF_HEAD_BYTES;
    struct mir_buf *buf =
        is_small ? mir_buf_alloc(net->bufs, MIR_BUF_HEADROOM)
                 : mir_buf_alloc_page(net->bufs, MIR_BUF_HEADROOM + len, MIR_BUF_HEADROOM);
    if (buf == NULL) {
        net->counters.no_memory++;
        return -MIR_EAGAIN;
    }
    if (len > 0)
        mir_memcpy(mir_buf_append(buf, (uint32_t)len), data, len);
    return mir__udp_send_buf(udp, to, buf);
}
