/* SPDX-License-Identifier: ISC */
/* UDP input: datagrams to sockets, to all members of a group, and what ICMP says about ours.
 *
 * Unicast has one receiver; if there is none, ICMP port unreachable answers. A datagram to a group
 * or broadcast address goes to every socket on its port that wants it: the last of them gets the
 * buffer, those before it copies. A handler may close any socket meanwhile, its own too: the walk
 * is known to close(), which moves it on.
 *
 * A socket wants a group's datagrams if it has joined the group on the interface they came in by,
 * for every sender or for this one; those to all hosts of the link it always wants. A connected
 * socket wants only its peer's.
 *
 * Source: RFC 768; RFC 1122 section 4.1.3; RFC 1112 section 7.2; RFC 8200 section 8.1 (an IPv6
 * datagram without checksum is dropped); RFC 3678 (source filters).
 */
#include "lib/net/net_state.h"

/* ---- groups --------------------------------------------------------------------------------- */

static bool is_all_hosts(const struct mir_ip *ip)
{
    static const struct mir_ip all_v6 = {{0xff, 0x02, [15] = 1}};
    return (mir_ip_is_v4(ip) && mir_ip_to_v4(ip) == 0xe0000001u) || mir_ip_equal(ip, &all_v6);
}

static bool has_joined(const struct mir__udp_socket *s, const struct mir__ip_meta *meta)
{
    uint32_t if_index = meta->iface->index + 1;
    mir_list_for_each (node, &s->members) {
        const struct mir__udp_member *m = MIR_CONTAINER_OF(node, struct mir__udp_member, link);
        if (m->if_index == if_index && mir_ip_equal(&m->group, &meta->dst) &&
            (mir_ip_is_any(&m->source) || mir_ip_equal(&m->source, &meta->src)))
            return true;
    }
    return false;
}

/* Is a socket bound to the right address for what was sent to a group or broadcast? */
static bool is_bound_for(const struct mir__udp_socket *s, const struct mir__ip_meta *meta)
{
    if (mir_ip_is_any(&s->bound))
        return mir_ip_is_v4(&meta->dst) ? !s->v6_only : !s->v4_only;
    if (mir_ip_equal(&s->bound, &meta->dst))
        return true;
    /* Its broadcasts reach a socket bound to the interface's address too. */
    return !mir__udp_is_group(&meta->dst) && mir_ip_is_v4(&s->bound) &&
           mir_ip_to_v4(&s->bound) == meta->iface->ip;
}

static bool wants(const struct mir__udp_socket *s, const struct mir__ip_meta *meta, uint16_t port,
                  uint16_t from_port)
{
    if (s->port != port || !is_bound_for(s, meta))
        return false;
    if (s->remote.port != 0 &&
        (s->remote.port != from_port || !mir_ip_equal(&s->remote.ip, &meta->src)))
        return false;
    return !mir__udp_is_group(&meta->dst) || is_all_hosts(&meta->dst) || has_joined(s, meta);
}

/* ---- delivery ------------------------------------------------------------------------------- */

static void hand_over(struct mir__udp_socket *s, const struct mir__ip_meta *meta,
                      struct mir_buf *buf_given)
{
    struct mir_udp_meta about = {
        .from = {.ip = meta->src, .port = mir__udp_src(buf_given->data)},
        .to = {.ip = meta->dst, .port = mir__udp_dst(buf_given->data)},
        .if_index = meta->iface->index + 1,
        .ttl = meta->ttl,
        .tos = meta->tos,
        .is_group = meta->is_broadcast,
    };
    s->net->counters.udp_in++;
    mir_buf_pull(buf_given, MIR__UDP_HEADER_LEN);
    if (s->udp.handler != NULL)
        s->udp.handler(&s->udp, &about, buf_given, s->udp.handler_arg);
    else
        mir_buf_release(buf_given);
}

/* The next socket from walk->at on that wants the datagram; the walk then stands behind it. */
static struct mir__udp_socket *next_receiver(struct mir__udp_walk *walk, struct mir_list *head,
                                             const struct mir__ip_meta *meta, uint16_t port,
                                             uint16_t from_port)
{
    while (walk->at != head) {
        struct mir__udp_socket *s = MIR_CONTAINER_OF(walk->at, struct mir__udp_socket, by_port);
        if (wants(s, meta, port, from_port))
            return s;
        walk->at = walk->at->next;
    }
    return NULL;
}

uint32_t mir__udp_deliver_group(struct mir_net *net, const struct mir__ip_meta *meta,
                                struct mir_buf *buf_given)
{
    uint16_t port = mir__udp_dst(buf_given->data), from_port = mir__udp_src(buf_given->data);
    struct mir_list *head = mir__udp_port_bucket(net, port);
    struct mir__udp_walk walk = {.at = head->next, .outer = net->udp.walks};
    struct mir_buf *buf = buf_given;
    uint32_t count = 0;
    net->udp.walks = &walk;
    struct mir__udp_socket *s = next_receiver(&walk, head, meta, port, from_port);
    while (s != NULL && buf != NULL) {
        walk.at = walk.at->next;
        /* Looking does not call anybody: s is still there when the next one is known. */
        bool is_last = next_receiver(&walk, head, meta, port, from_port) == NULL;
        struct mir_buf *copy = is_last ? buf : mir_buf_linearize(net->bufs, buf, 0);
        if (is_last)
            buf = NULL;
        if (copy != NULL) {
            hand_over(s, meta, copy);
            count++;
        } else {
            net->counters.no_memory++;
        }
        s = next_receiver(&walk, head, meta, port, from_port);
    }
    net->udp.walks = walk.outer;
    mir_buf_release(buf);
    return count;
}

/* What we sent to groups of our own comes back here, outside of anybody's call. */
void mir__udp_loop_run(void *arg)
{
    struct mir_net *net = arg;
    uint32_t count = net->udp.loop.count;
    while (count-- > 0) {
        struct mir_buf *buf = mir_buf_queue_pop(&net->udp.loop);
        struct mir__ip_meta meta;
        mir_memcpy(&meta, buf->start, sizeof meta);
        (void)mir__udp_deliver_group(net, &meta, buf);
    }
    if (net->udp.loop.count > 0)
        mir_loop_post(net->loop, &net->udp.loop_work);
}

/* ---- input --------------------------------------------------------------------------------- */

static bool checksum_ok(struct mir_net *net, const struct mir__ip_meta *meta,
                        const struct mir_buf *buf)
{
    bool is_good = mir__udp_has_checksum(buf->data)
                       ? mir__ip_transport_checksum_ok(meta, MIR__PROTO_UDP, buf)
                       : mir_ip_is_v4(&meta->dst);
    net->counters.udp_bad_checksum += !is_good;
    return is_good;
}

static bool is_dhcp(const struct mir__ip_meta *meta, const uint8_t *udp)
{
    return mir__udp_dst(udp) == 68 && mir__udp_src(udp) == 67 &&
           mir__dhcp_wants_input(&meta->iface->dhcp);
}

static bool is_dhcp6(const struct mir__ip_meta *meta, const uint8_t *udp)
{
    return mir__udp_dst(udp) == 546 && meta->iface->dhcp6.is_asking && mir__udp_src(udp) == 547 &&
           !mir_ip_is_v4(&meta->dst);
}

static void deliver(struct mir_net *net, const struct mir__ip_meta *meta, struct mir_buf *buf)
{
    struct mir_endpoint from = {.ip = meta->src, .port = mir__udp_src(buf->data)};
    if (MIR_UNLIKELY(is_dhcp6(meta, buf->data))) {
        mir_buf_pull(buf, MIR__UDP_HEADER_LEN);
        mir__dhcp6_input(meta->iface, meta, buf);
        return;
    }
    if (MIR_UNLIKELY(is_dhcp(meta, buf->data))) {
        mir_buf_pull(buf, MIR__UDP_HEADER_LEN);
        mir__dhcp_input(meta->iface, meta, buf);
        return;
    }
    if (MIR_UNLIKELY(meta->is_broadcast)) {
        if (mir__udp_deliver_group(net, meta, buf) == 0)
            net->counters.udp_no_member++;
        return;
    }
    struct mir__udp_socket *s = mir__udp_find(net, &meta->dst, mir__udp_dst(buf->data), &from);
    if (MIR_LIKELY(s != NULL)) {
        hand_over(s, meta, buf);
        return;
    }
    net->counters.udp_no_port++;
    mir__ip_refuse_port(net, meta, buf);
    mir_buf_release(buf);
}

void mir__udp_input(struct mir_net *net, const struct mir__ip_meta *meta, struct mir_buf *buf_given)
{
    struct mir_buf *buf = buf_given;
    if (mir__udp_check(buf->data, buf->len, mir_buf_total(buf)) < 0) {
        net->counters.udp_malformed++;
        mir_buf_release(buf);
        return;
    }
    mir_buf_trim(buf, mir__udp_len(buf->data));
    if (!checksum_ok(net, meta, buf)) {
        mir_buf_release(buf);
        return;
    }
    deliver(net, meta, buf);
}

void mir__udp_icmp_error(struct mir_net *net, const struct mir_ip *local,
                         const struct mir_ip *remote, const uint8_t segment[8], int err,
                         uint16_t mtu)
{
    struct mir_udp_error error = {
        .err = err,
        .to = {.ip = *remote, .port = mir__udp_dst(segment)},
        .mtu = err == -MIR_ETOOBIG ? mtu : 0,
    };
    struct mir__udp_socket *s = mir__udp_find(net, local, mir__udp_src(segment), &error.to);
    /* It has really sent there: the path's MTU is known from now on. A kept route of others is
     * found anew only where it is this one. */
    if (error.mtu != 0 && s != NULL && mir__udp_has_sent_to(s, remote)) {
        bool is_kept = s->route.iface != NULL && mir_ip_equal(&s->peer, remote);
        if (!is_kept || error.mtu < s->route.mtu)
            error.mtu = mir__pmtu_update(net, remote, mtu);
        if (is_kept && error.mtu < s->route.mtu)
            s->route.iface = NULL;
    }
    if (s == NULL || (s->udp.on_error == NULL && s->remote.port == 0)) {
        net->counters.udp_error_ignored++;
        return;
    }
    net->counters.udp_error_in++;
    if (s->udp.on_error != NULL)
        s->udp.on_error(&s->udp, &error, s->udp.handler_arg);
    else
        s->udp.error = err;
}
