/* SPDX-License-Identifier: ISC */
/* UDP sockets: tables, life, options, groups (RFC 768, RFC 1122 section 4.1).
 *
 * A socket is in two of three hash tables:
 *
 *   by_port    all of them: conflicts on open, delivery to groups
 *   by_local   those without a peer, by port and address: two look-ups, the very address, then any
 *   by_flow    those with a peer, by port and peer: thousands of them may share one port
 *
 * so a unicast datagram costs the same with one socket on its port as with a thousand. by_flow is
 * asked first and only if somebody is connected; the very address only if somebody is bound to one.
 *
 * Sharing a port needs the consent of all who share it. With reuse_addr the one opened last gets
 * unicast, as on Linux; with reuse_port a hash of the peer chooses among those bound to the same
 * address, so one peer always reaches the same socket. Groups and broadcasts go to all.
 *
 * There is no receive queue: handlers get datagrams at once, so nothing can pile up here. Tasks
 * have a bounded queue of their own (udp_any.c).
 *
 * Ephemeral ports are random (RFC 6056 algorithm 1) in 49152-65535.
 *
 * Not done: UDP-Lite, corking, segmentation offload (GSO, GRO).
 */
#include "lib/net/net_state.h"

enum { EPHEMERAL_FIRST = 49152, EPHEMERAL_COUNT = 16384, BUCKETS_MIN = 64, MEMBERS_MAX = 1024 };

/* ---- tables --------------------------------------------------------------------------------- */

bool mir__udp_is_group(const struct mir_ip *ip)
{
    return mir_ip_is_v4(ip) ? mir__ip4_is_multicast(mir_ip_to_v4(ip)) : ip->bytes[0] == 0xff;
}

/* Each word meets a part of the key before it meets another word (the NH of RFC 4418), so who does
 * not know the key cannot choose peers that share a bucket. */
static uint32_t hash(const struct mir_net *net, uint32_t ports, const struct mir_ip *ip)
{
    const uint32_t *key = net->udp.hash_key;
    const uint8_t *b = ip->bytes;
    uint64_t sum = (uint64_t)(mir_get_be32(b) + key[0]) * (mir_get_be32(b + 4) + key[1]) +
                   (uint64_t)(mir_get_be32(b + 8) + key[2]) * (mir_get_be32(b + 12) + key[3]) +
                   (uint64_t)(ports + key[4]) * key[5];
    sum = (sum ^ sum >> 32) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(sum >> 32);
}

struct mir_list *mir__udp_port_bucket(struct mir_net *net, uint16_t port)
{
    return &net->udp.by_port[port & net->udp.bucket_mask];
}

static struct mir_list *local_bucket(struct mir_net *net, uint16_t port, const struct mir_ip *ip)
{
    return &net->udp.by_local[hash(net, port, ip) & net->udp.bucket_mask];
}

static uint32_t flow_hash(const struct mir_net *net, uint16_t port, const struct mir_endpoint *peer)
{
    return hash(net, (uint32_t)port << 16 | peer->port, &peer->ip);
}

static struct mir_list *flow_bucket(struct mir_net *net, uint16_t port,
                                    const struct mir_endpoint *peer)
{
    return &net->udp.by_flow[flow_hash(net, port, peer) & net->udp.bucket_mask];
}

static struct mir__udp_socket *find_flow(struct mir_net *net, const struct mir_ip *local,
                                         uint16_t port, const struct mir_endpoint *peer)
{
    mir_list_for_each (node, flow_bucket(net, port, peer)) {
        struct mir__udp_socket *s = MIR_CONTAINER_OF(node, struct mir__udp_socket, lookup);
        if (s->port == port && s->remote.port == peer->port &&
            mir_ip_equal(&s->remote.ip, &peer->ip) && mir_ip_equal(&s->local, local))
            return s;
    }
    return NULL;
}

/* The one of those that share by reuse_port whose turn the peer's hash says it is. */
static struct mir__udp_socket *spread(struct mir_net *net, const struct mir_list *bucket,
                                      const struct mir__udp_socket *like,
                                      const struct mir_endpoint *peer)
{
    struct mir__udp_socket *sharers[64];
    uint32_t count = 0;
    mir_list_for_each (node, bucket) {
        struct mir__udp_socket *s = MIR_CONTAINER_OF(node, struct mir__udp_socket, lookup);
        if (count < MIR_ARRAY_LEN(sharers) && s->reuse_port && s->port == like->port &&
            mir_ip_equal(&s->bound, &like->bound) && s->v6_only == like->v6_only &&
            s->v4_only == like->v4_only)
            sharers[count++] = s;
    }
    return sharers[flow_hash(net, like->port, peer) % count];
}

static struct mir__udp_socket *find_bound(struct mir_net *net, const struct mir_ip *local,
                                          bool is_v4, uint16_t port,
                                          const struct mir_endpoint *peer)
{
    struct mir_list *bucket = local_bucket(net, port, local);
    mir_list_for_each (node, bucket) {
        struct mir__udp_socket *s = MIR_CONTAINER_OF(node, struct mir__udp_socket, lookup);
        bool is_shut = mir_ip_is_any(local) && (is_v4 ? s->v6_only : s->v4_only);
        if (s->port != port || is_shut || !mir_ip_equal(&s->bound, local))
            continue;
        return MIR_UNLIKELY(s->reuse_port) ? spread(net, bucket, s, peer) : s;
    }
    return NULL;
}

struct mir__udp_socket *mir__udp_find(struct mir_net *net, const struct mir_ip *dst, uint16_t port,
                                      const struct mir_endpoint *from)
{
    static const struct mir_ip any;
    struct mir__udp_socket *s = NULL;
    if (net->udp.flow_count > 0)
        s = find_flow(net, dst, port, from);
    if (s == NULL && net->udp.specific_count > 0)
        s = find_bound(net, dst, false, port, from);
    return s != NULL ? s : find_bound(net, &any, mir_ip_is_v4(dst), port, from);
}

bool mir__udp_flow_exists(struct mir__udp_socket *s, const struct mir_ip *local,
                          const struct mir_endpoint *remote)
{
    const struct mir__udp_socket *other = find_flow(s->net, local, s->port, remote);
    return other != NULL && other != s;
}

void mir__udp_link(struct mir__udp_socket *s)
{
    struct mir_net *net = s->net;
    if (s->remote.port != 0) {
        mir_list_push_front(flow_bucket(net, s->port, &s->remote), &s->lookup);
        net->udp.flow_count++;
        return;
    }
    /* In front: the one opened last is found first. */
    mir_list_push_front(local_bucket(net, s->port, &s->bound), &s->lookup);
    net->udp.specific_count += !mir_ip_is_any(&s->bound);
}

void mir__udp_unlink(struct mir__udp_socket *s)
{
    struct mir__udp_state *state = &s->net->udp;
    mir_list_remove(&s->lookup);
    if (s->remote.port != 0)
        state->flow_count--;
    else
        state->specific_count -= !mir_ip_is_any(&s->bound);
}

/* ---- groups --------------------------------------------------------------------------------- */

static struct mir__udp_member *find_member(const struct mir__udp_socket *s,
                                           const struct mir_udp_group *group, uint32_t if_index)
{
    mir_list_for_each (node, &s->members) {
        struct mir__udp_member *m = MIR_CONTAINER_OF(node, struct mir__udp_member, link);
        if (m->if_index == if_index && mir_ip_equal(&m->group, &group->group) &&
            mir_ip_equal(&m->source, &group->source))
            return m;
    }
    return NULL;
}

/* The interface meant: as said, or that of the route to the group. 0: none. */
static uint32_t group_interface(struct mir__udp_socket *s, const struct mir_udp_group *group)
{
    struct mir__route route;
    struct mir_ip src = s->bound;
    if (group->if_index != 0)
        return group->if_index <= s->net->iface_count ? group->if_index : 0;
    if (mir__ip_route(s->net, &group->group, &src, &route) < 0)
        return s->net->iface_count == 1 ? 1 : 0; /* no address yet: the one there is */
    return route.iface->index + 1;
}

struct sources {
    uint32_t *out;
    uint32_t max;
    uint32_t count;
    bool is_every;
};

static void take_source(struct sources *sources, const struct mir__udp_member *m)
{
    uint32_t source = mir_ip_to_v4(&m->source);
    for (uint32_t i = 0; i < sources->count; i++) {
        if (sources->out[i] == source)
            return;
    }
    sources->is_every |= mir_ip_is_any(&m->source) || sources->count == sources->max;
    if (!sources->is_every)
        sources->out[sources->count++] = source;
}

/* Takes the sources of one socket's memberships in @group. Returns their number. */
static uint32_t take_sources(const struct mir__udp_socket *s, const struct mir__group *group,
                             struct sources *sources)
{
    uint32_t count = 0;
    mir_list_for_each (node, &s->members) {
        const struct mir__udp_member *m = MIR_CONTAINER_OF(node, struct mir__udp_member, link);
        if (m->if_index != group->iface->index + 1 || !mir_ip_equal(&m->group, &group->ip))
            continue;
        take_source(sources, m);
        count++;
    }
    return count;
}

int mir__udp_group_sources(const struct mir__group *group, uint32_t *out, uint32_t max)
{
    const struct mir__udp_state *state = &group->iface->net->udp;
    struct sources sources = {.out = out, .max = max};
    uint32_t members = 0;
    for (uint32_t i = 0; i <= state->bucket_mask; i++) {
        mir_list_for_each (node, &state->by_port[i])
            members += take_sources(MIR_CONTAINER_OF(node, struct mir__udp_socket, by_port), group,
                                    &sources);
    }
    /* Who joined by other ways than a socket wants everything. */
    return sources.is_every || members < group->refs ? -1 : (int)sources.count;
}

static void drop_member(struct mir__udp_socket *s, struct mir__udp_member *m)
{
    struct mir_net *net = s->net;
    struct mir__iface *iface = &net->ifaces[m->if_index - 1];
    struct mir_ip ip = m->group;
    mir_list_remove(&m->link);
    mir_pool_free(&net->udp.members, m);
    mir__group_leave(iface, &ip);
    struct mir__group *group = mir__group_find(iface, &ip);
    if (group != NULL && mir_ip_is_v4(&ip))
        mir__igmp_filter_changed(group);
}

static int join(struct mir_udp *udp, const struct mir_udp_group *group)
{
    struct mir__udp_socket *s = mir__udp_of(udp);
    struct mir_net *net = s->net;
    if (!mir__udp_is_group(&group->group))
        return -MIR_EINVAL;
    uint32_t if_index = group_interface(s, group);
    if (if_index == 0)
        return -MIR_ENETUNREACH;
    if (find_member(s, group, if_index) != NULL)
        return -MIR_EEXIST;
    struct mir__udp_member *m = mir_pool_alloc(&net->udp.members);
    if (m == NULL)
        return -MIR_ELIMIT;
    *m = (struct mir__udp_member){
        .group = group->group,
        .source = group->source,
        .if_index = if_index,
    };
    /* A member before the group is joined: the report then knows the sources. */
    struct mir__iface *iface = &net->ifaces[if_index - 1];
    struct mir__group *known = mir__group_find(iface, &group->group);
    mir_list_push_back(&s->members, &m->link);
    int r = mir__group_join(iface, &group->group);
    if (r < 0) {
        mir_list_remove(&m->link);
        mir_pool_free(&net->udp.members, m);
    } else if (known != NULL && mir_ip_is_v4(&group->group)) {
        mir__igmp_filter_changed(known);
    }
    return r;
}

static int leave(struct mir_udp *udp, const struct mir_udp_group *group)
{
    struct mir__udp_socket *s = mir__udp_of(udp);
    struct mir__udp_member *m = find_member(s, group, group_interface(s, group));
    if (m == NULL)
        return -MIR_ENOENT;
    drop_member(s, m);
    return 0;
}

/* ---- connect, options, close ---------------------------------------------------------------- */

static int connect(struct mir_udp *udp, const struct mir_endpoint *peer)
{
    struct mir__udp_socket *s = mir__udp_of(udp);
    if (peer->port != 0) {
        uint32_t if_index = mir__udp_is_group(&peer->ip) ? s->group_if : 0;
        int r = mir__udp_route(s, &peer->ip, &s->bound, if_index);
        if (r < 0)
            return r;
        if (mir__udp_flow_exists(s, &s->peer_src, peer))
            return -MIR_EADDRINUSE;
    }
    mir__udp_unlink(s);
    s->remote = *peer;
    s->local = peer->port != 0 ? s->peer_src : s->bound;
    s->route.iface = NULL;
    s->udp.error = 0;
    mir__udp_link(s);
    return 0;
}

static int set_option(struct mir_udp *udp, enum mir_udp_option option, uint32_t value)
{
    struct mir__udp_socket *s = mir__udp_of(udp);
    uint32_t max = option == MIR_UDP_GROUP_IF ? s->net->iface_count
                   : option == MIR_UDP_TTL || option == MIR_UDP_TOS || option == MIR_UDP_GROUP_TTL
                       ? 255
                       : 1;
    if (value > max || (option == MIR_UDP_TTL && value == 0))
        return -MIR_ERANGE;
    switch (option) {
    case MIR_UDP_TTL:
        s->ttl = (uint8_t)value;
        return 0;
    case MIR_UDP_TOS:
        s->tos = (uint8_t)value;
        return 0;
    case MIR_UDP_DONT_FRAGMENT:
        s->dont_fragment = value != 0;
        return 0;
    case MIR_UDP_BROADCAST:
        s->may_broadcast = value != 0;
        s->route.iface = NULL;
        return 0;
    case MIR_UDP_GROUP_TTL:
        s->group_ttl = (uint8_t)value;
        return 0;
    case MIR_UDP_GROUP_LOOP:
        s->group_loop = value != 0;
        return 0;
    case MIR_UDP_GROUP_IF:
        s->group_if = value;
        s->route.iface = NULL;
        return 0;
    }
    return -MIR_ENOTSUP;
}

static void close(struct mir_udp *udp)
{
    struct mir__udp_socket *s = mir__udp_of(udp);
    for (struct mir__udp_walk *walk = s->net->udp.walks; walk != NULL; walk = walk->outer) {
        if (walk->at == &s->by_port)
            walk->at = s->by_port.next;
    }
    mir_list_for_each (node, &s->members)
        drop_member(s, MIR_CONTAINER_OF(node, struct mir__udp_member, link));
    mir__udp_unlink(s);
    mir_list_remove(&s->by_port);
    mir_pool_free(&s->net->udp.sockets, s);
}

static void local(const struct mir_udp *udp, struct mir_endpoint *endpoint)
{
    const struct mir__udp_socket *s = mir__udp_of(udp);
    *endpoint = (struct mir_endpoint){.ip = s->local, .port = s->port};
}

static const struct mir_udp_ops udp_ops = {
    .send = mir__udp_send,
    .send_buf = mir__udp_send_buf,
    .send_msg = mir__udp_send_msg,
    .connect = connect,
    .set_option = set_option,
    .join = join,
    .leave = leave,
    .close = close,
    .local = local,
};

/* ---- open ---------------------------------------------------------------------------------- */

/* Could a packet be for both? */
static bool overlap(const struct mir__udp_socket *s, const struct mir_udp_config *config)
{
    const struct mir_ip *ip = &config->local.ip;
    bool is_any = mir_ip_is_any(ip), other_is_any = mir_ip_is_any(&s->bound);
    if (is_any && other_is_any)
        return !(config->v6_only && s->v4_only) && !(config->v4_only && s->v6_only);
    if (is_any)
        return mir_ip_is_v4(&s->bound) ? !config->v6_only : !config->v4_only;
    if (other_is_any)
        return mir_ip_is_v4(ip) ? !s->v6_only : !s->v4_only;
    return mir_ip_equal(ip, &s->bound);
}

static bool is_in_use(struct mir_net *net, const struct mir_udp_config *config, uint16_t port)
{
    mir_list_for_each (node, mir__udp_port_bucket(net, port)) {
        const struct mir__udp_socket *s = MIR_CONTAINER_OF(node, struct mir__udp_socket, by_port);
        bool may_share =
            (s->reuse_addr && config->reuse_addr) || (s->reuse_port && config->reuse_port);
        if (s->port == port && !may_share && overlap(s, config))
            return true;
    }
    return false;
}

static uint16_t choose_port(struct mir_net *net, const struct mir_udp_config *config)
{
    struct mir_udp_config alone = *config;
    alone.reuse_addr = alone.reuse_port = false;
    uint32_t start = mir_rng_below(net->rng, EPHEMERAL_COUNT);
    for (uint32_t i = 0; i < EPHEMERAL_COUNT; i++) {
        uint16_t port = (uint16_t)(EPHEMERAL_FIRST + (start + i) % EPHEMERAL_COUNT);
        if (mir__net_may_choose(net, port) && !is_in_use(net, &alone, port))
            return port;
    }
    return 0;
}

/* A group or a broadcast may be bound to as well: only what is sent to it arrives. */
static bool can_bind(const struct mir_net *net, const struct mir_ip *ip)
{
    return mir_ip_is_any(ip) || mir__udp_is_group(ip) || mir__ip_is_bindable(net, ip) ||
           mir__udp_is_broadcast(net, ip);
}

int mir__udp_open(struct mir_stack *stack, const struct mir_udp_config *config,
                  struct mir_udp **udp)
{
    static const struct mir_ip any;
    struct mir_net *net = mir__net_of_stack(stack);
    uint16_t port = config->local.port;
    if (!can_bind(net, &config->local.ip))
        return -MIR_EADDRNOTAVAIL;
    if (port == 0)
        port = choose_port(net, config);
    else if (is_in_use(net, config, port))
        return -MIR_EADDRINUSE;
    if (port == 0)
        return -MIR_EADDRINUSE;
    struct mir__udp_socket *s = mir_pool_alloc(&net->udp.sockets);
    if (s == NULL) {
        net->counters.no_memory++;
        return -MIR_ENOMEM;
    }
    *s = (struct mir__udp_socket){
        .udp = {.ops = &udp_ops,
                .handler = config->handler,
                .on_error = config->on_error,
                .handler_arg = config->arg,
                .stack = stack},
        .net = net,
        .bound = mir_ip_is_any(&config->local.ip) ? any : config->local.ip,
        .port = port,
        .reuse_addr = config->reuse_addr,
        .reuse_port = config->reuse_port,
        .v6_only = config->v6_only,
        .v4_only = config->v4_only,
        .group_ttl = 1,
        .group_loop = true,
    };
    s->local = s->bound;
    mir_list_init(&s->members);
    mir_list_push_front(mir__udp_port_bucket(net, port), &s->by_port);
    mir__udp_link(s);
    *udp = &s->udp;
    return 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

static int make_tables(struct mir_net *net, uint32_t sockets_max)
{
    struct mir__udp_state *state = &net->udp;
    struct mir_list **tables[] = {&state->by_port, &state->by_local, &state->by_flow};
    uint32_t count = BUCKETS_MIN;
    while (count < sockets_max && count < MIR__UDP_BUCKETS_MAX)
        count *= 2;
    state->bucket_mask = count - 1;
    for (size_t t = 0; t < MIR_ARRAY_LEN(tables); t++) {
        int r = mir_page_alloc(net->pages, count * sizeof(struct mir_list), MIR_PAGE_OVERWRITE,
                               &state->pages[t]);
        if (r < 0) {
            state->pages[t] = NULL;
            return r;
        }
        *tables[t] = (struct mir_list *)(void *)state->pages[t]->base;
        for (uint32_t i = 0; i < count; i++)
            mir_list_init(&(*tables[t])[i]);
    }
    return 0;
}

static void free_tables(struct mir__udp_state *state)
{
    for (size_t t = 0; t < MIR_ARRAY_LEN(state->pages); t++) {
        if (state->pages[t] != NULL)
            mir_page_release(state->pages[t]);
        state->pages[t] = NULL;
    }
}

int mir__udp_init(struct mir_net *net, const struct mir_net_config *config)
{
    uint32_t sockets_max = config->udp_sockets_max != 0 ? config->udp_sockets_max : 256;
    struct mir__udp_state *state = &net->udp;
    mir_rng_bytes(net->rng, state->hash_key, sizeof state->hash_key);
    state->hash_key[5] |= 1;
    mir_work_init(&state->loop_work, mir__udp_loop_run, net);
    int r = mir_pool_init(&state->sockets, "udp", net->pages, sizeof(struct mir__udp_socket),
                          sockets_max);
    if (r == 0)
        r = mir_pool_init(&state->members, "udp members", net->pages,
                          sizeof(struct mir__udp_member), MEMBERS_MAX);
    if (r == 0)
        r = make_tables(net, sockets_max);
    if (r < 0)
        free_tables(state);
    return r;
}

void mir__udp_fini(struct mir_net *net)
{
    struct mir__udp_state *state = &net->udp;
    mir_work_cancel(&state->loop_work);
    mir_buf_queue_release(&state->loop);
    for (uint32_t i = 0; i <= state->bucket_mask; i++) {
        mir_list_for_each (node, &state->by_port[i])
            close(&MIR_CONTAINER_OF(node, struct mir__udp_socket, by_port)->udp);
    }
    mir_pool_fini(&state->members);
    mir_pool_fini(&state->sockets);
    free_tables(state);
}
