/* SPDX-License-Identifier: ISC */
/* UDP (RFC 768, RFC 1122 section 4.1).
 *
 * Bound sockets sit in a hash of their port. A datagram goes to the socket bound to its very
 * destination address, else to one bound to any address; if there is none, ICMP port unreachable
 * answers it. There is no receive queue: the handler gets the datagram at once, so nothing can pile
 * up here.
 *
 * A socket keeps the route to the last destination: an echo server or a DNS client that talks to
 * one peer looks nothing up.
 *
 * Ephemeral ports are random (RFC 6056 algorithm 1) in 49152-65535.
 */
#include "lib/net/net_state.h"

enum { EPHEMERAL_FIRST = 49152, EPHEMERAL_COUNT = 16384, PAYLOAD_MAX = 65535 - 20 - 8 };

struct socket {
    struct mir_udp udp; /* first: the API's object */
    struct mir_list link;
    struct mir_net *net;
    struct mir_ip local;
    uint16_t port;
    struct mir_ip peer; /* of the kept route */
    struct mir_ip peer_src;
    struct mir__route route;
};

static struct mir_list *bucket_of(struct mir_net *net, uint16_t port)
{
    return &net->udp.buckets[port % MIR__UDP_BUCKETS];
}

static struct socket *find(struct mir_net *net, const struct mir_ip *dst, uint16_t port)
{
    struct socket *any = NULL;
    mir_list_for_each (node, bucket_of(net, port)) {
        struct socket *s = MIR_CONTAINER_OF(node, struct socket, link);
        if (s->port != port)
            continue;
        if (mir_ip_is_any(&s->local))
            any = s;
        else if (mir_ip_equal(&s->local, dst))
            return s;
    }
    return any;
}

/* ---- input --------------------------------------------------------------------------------- */

static bool checksum_ok(struct mir_net *net, const struct mir__ip_meta *meta,
                        const struct mir_buf *buf)
{
    if (!mir__udp_has_checksum(buf->data) ||
        mir__ip_transport_checksum_ok(meta, MIR__PROTO_UDP, buf))
        return true;
    net->counters.udp_bad_checksum++;
    return false;
}

static bool is_dhcp(const struct mir__ip_meta *meta, const uint8_t *udp)
{
    return mir__udp_dst(udp) == 68 && mir__udp_src(udp) == 67 &&
           mir__dhcp_wants_input(&meta->iface->dhcp);
}

static void deliver(struct mir_net *net, const struct mir__ip_meta *meta, struct mir_buf *buf)
{
    uint16_t port = mir__udp_dst(buf->data);
    struct mir_endpoint from = {.ip = meta->src, .port = mir__udp_src(buf->data)};
    if (is_dhcp(meta, buf->data)) {
        mir_buf_pull(buf, MIR__UDP_HEADER_LEN);
        mir__dhcp_input(meta->iface, meta, buf);
        return;
    }
    struct socket *s = find(net, &meta->dst, port);
    if (s == NULL && meta->is_broadcast) {
        /* A broadcast goes to a socket bound to the interface's address too. */
        struct mir_ip own = mir_ip_from_v4(meta->iface->ip);
        s = find(net, &own, port);
    }
    if (s == NULL) {
        net->counters.udp_no_port++;
        mir__icmp4_send_error(net, meta, buf, MIR__ICMP4_UNREACHABLE, MIR__ICMP4_PORT, 0);
        mir_buf_release(buf);
        return;
    }
    net->counters.udp_in++;
    mir_buf_pull(buf, MIR__UDP_HEADER_LEN);
    if (s->udp.handler != NULL)
        s->udp.handler(&s->udp, &from, buf, s->udp.handler_arg);
    else
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

/* ---- output -------------------------------------------------------------------------------- */

static struct socket *of(const struct mir_udp *udp)
{
    return (struct socket *)(uintptr_t)udp;
}

/* The kept route if it leads to @dst and still holds, else a new one. */
static int find_route(struct socket *s, const struct mir_ip *dst)
{
    struct mir_net *net = s->net;
    if (s->route.iface != NULL && s->route.generation == net->route_generation &&
        mir_ip_equal(&s->peer, dst))
        return 0;
    s->peer = *dst;
    s->peer_src = s->local;
    return mir__ip_route(net, dst, &s->peer_src, &s->route);
}

static int send_buf(struct mir_udp *udp, const struct mir_endpoint *to, struct mir_buf *buf_given)
{
    struct socket *s = of(udp);
    struct mir_buf *buf = buf_given;
    uint32_t len = mir_buf_total(buf);
    int r = len > PAYLOAD_MAX ? -MIR_ETOOBIG : to->port == 0 ? -MIR_EINVAL : 0;
    if (r == 0)
        r = find_route(s, &to->ip);
    if (r < 0) {
        mir_buf_release(buf);
        return r;
    }
    /* A received buffer that is sent again: its device spoke of another packet. */
    buf->flags = 0;
    buf->gso_size = 0;
    struct mir__udp header = {
        .src = s->port,
        .dst = to->port,
        .len = (uint16_t)(MIR__UDP_HEADER_LEN + len),
    };
    mir__udp_emit(&header, mir_buf_push(buf, MIR__UDP_HEADER_LEN));
    mir__ip_transport_checksum(&s->route, &s->peer_src, &to->ip, MIR__PROTO_UDP, buf,
                               MIR__UDP_CHECKSUM_AT);
    /* Zero would mean "no checksum". */
    if (!(buf->flags & MIR_BUF_CSUM_PARTIAL) && !mir__udp_has_checksum(buf->data))
        mir_put_be16(buf->data + MIR__UDP_CHECKSUM_AT, 0xffff);
    struct mir__ip_params params = {
        .src = &s->peer_src,
        .dst = &to->ip,
        .protocol = MIR__PROTO_UDP,
        /* RFC 1112 section 6.1: groups are local unless the application says otherwise. */
        .ttl = mir__ip4_is_multicast(mir_ip_to_v4(&to->ip)) ? 1 : 0,
    };
    s->net->counters.udp_out++;
    return mir__ip_output(s->net, &s->route, &params, buf);
}

static int send(struct mir_udp *udp, const struct mir_endpoint *to, const void *data, size_t len)
{
    struct mir_net *net = of(udp)->net;
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
    return send_buf(udp, to, buf);
}

static void close(struct mir_udp *udp)
{
    struct socket *s = of(udp);
    mir_list_remove(&s->link);
    mir_pool_free(&s->net->udp.sockets, s);
}

static void local(const struct mir_udp *udp, struct mir_endpoint *endpoint)
{
    const struct socket *s = of(udp);
    *endpoint = (struct mir_endpoint){.ip = s->local, .port = s->port};
}

static const struct mir_udp_ops udp_ops = {
    .send = send,
    .send_buf = send_buf,
    .close = close,
    .local = local,
};

/* ---- open ---------------------------------------------------------------------------------- */

/* Two sockets can share a port only if each has a different address of its own. */
static bool is_in_use(struct mir_net *net, const struct mir_ip *ip, uint16_t port)
{
    mir_list_for_each (node, bucket_of(net, port)) {
        const struct socket *s = MIR_CONTAINER_OF(node, struct socket, link);
        if (s->port == port &&
            (mir_ip_is_any(ip) || mir_ip_is_any(&s->local) || mir_ip_equal(ip, &s->local)))
            return true;
    }
    return false;
}

static uint16_t choose_port(struct mir_net *net, const struct mir_ip *ip)
{
    uint32_t start = mir_rng_below(net->rng, EPHEMERAL_COUNT);
    for (uint32_t i = 0; i < EPHEMERAL_COUNT; i++) {
        uint16_t port = (uint16_t)(EPHEMERAL_FIRST + (start + i) % EPHEMERAL_COUNT);
        if (!is_in_use(net, ip, port))
            return port;
    }
    return 0;
}

int mir__udp_open(struct mir_stack *stack, const struct mir_endpoint *local_ep,
                  mir_udp_handler_fn handler, void *arg, struct mir_udp **udp)
{
    struct mir_net *net = mir__net_of_stack(stack);
    uint16_t port = local_ep->port;
    if (!mir_ip_is_any(&local_ep->ip) && !mir__ip_is_local(net, &local_ep->ip))
        return -MIR_EADDRNOTAVAIL;
    if (port == 0)
        port = choose_port(net, &local_ep->ip);
    else if (is_in_use(net, &local_ep->ip, port))
        return -MIR_EADDRINUSE;
    if (port == 0)
        return -MIR_EADDRINUSE;
    struct socket *s = mir_pool_alloc(&net->udp.sockets);
    if (s == NULL) {
        net->counters.no_memory++;
        return -MIR_ENOMEM;
    }
    *s = (struct socket){
        .udp = {.ops = &udp_ops, .handler = handler, .handler_arg = arg, .stack = stack},
        .net = net,
        .local = local_ep->ip,
        .port = port,
    };
    mir_list_push_back(bucket_of(net, port), &s->link);
    *udp = &s->udp;
    return 0;
}

int mir__udp_init(struct mir_net *net, const struct mir_net_config *config)
{
    for (uint32_t i = 0; i < MIR__UDP_BUCKETS; i++)
        mir_list_init(&net->udp.buckets[i]);
    return mir_pool_init(&net->udp.sockets, "udp", net->pages, sizeof(struct socket),
                         config->udp_sockets_max != 0 ? config->udp_sockets_max : 256);
}

void mir__udp_fini(struct mir_net *net)
{
    for (uint32_t i = 0; i < MIR__UDP_BUCKETS; i++) {
        struct mir_list *node;
        while ((node = mir_list_pop_front(&net->udp.buckets[i])) != NULL)
            mir_pool_free(&net->udp.sockets, MIR_CONTAINER_OF(node, struct socket, link));
    }
    mir_pool_fini(&net->udp.sockets);
}
