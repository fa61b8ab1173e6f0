/* SPDX-License-Identifier: ISC */
/* What <mirari/net_look.h> tells of the direct stack.
 *
 * A walk over hashed tables remembers the bucket and how many of it were told. The table of
 * connections grows by splitting buckets: what moves then moves to a bucket that comes later, so it
 * is told again rather than missed. A bucket that loses a node while the walk stands in it may lose
 * one more for the walk.
 *
 *   stage 0 listeners -> 1 connections, half-open and TIME_WAIT entries -> 2 UDP sockets
 */
#include <mirari/net_look.h>

#include "lib/net/net_state.h"
#include "lib/net/tcp/internal.h"

enum { STAGE_LISTENERS, STAGE_TABLE, STAGE_UDP, STAGE_END };

struct cursor {
    struct mir_net *net;
    struct mir_net_walk *walk;
    struct mir_net_flow *out;
    uint32_t max, count;
    uint32_t seen; /* in this bucket */
};

const char *mir_tcp_state_name(uint8_t state)
{
    static const char *const names[] = {"CLOSED",      "LISTEN",     "SYN_SENT",   "SYN_RECEIVED",
                                        "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT",
                                        "CLOSING",     "LAST_ACK",   "TIME_WAIT"};
    return state < MIR_ARRAY_LEN(names) ? names[state] : "?";
}

/* Room for one more of this bucket, or NULL: told before, or the array is full. */
static struct mir_net_flow *next_slot(struct cursor *c)
{
    if (c->seen++ < c->walk->skip || c->count == c->max)
        return NULL;
    struct mir_net_flow *flow = &c->out[c->count++];
    mir_memset(flow, 0, sizeof *flow);
    c->walk->skip = c->seen;
    return flow;
}

static void tell_listeners(struct cursor *c, const struct mir_list *bucket)
{
    mir_list_for_each (node, bucket) {
        const struct mir__tcp_listener *l = MIR_CONTAINER_OF(node, struct mir__tcp_listener, link);
        struct mir_net_flow *flow = next_slot(c);
        if (flow == NULL)
            continue;
        flow->kind = MIR_NET_FLOW_LISTENER;
        flow->state = MIR_TCP_S_LISTEN;
        flow->local = l->pub.local;
        flow->waiting = l->half_open;
        flow->backlog = l->backlog;
    }
}

static void tell_node(struct mir_net_flow *flow, const struct mir__tcp_node *node)
{
    flow->local = (struct mir_endpoint){node->local, node->local_port};
    flow->remote = (struct mir_endpoint){node->remote, node->remote_port};
    switch ((enum mir__tcp_kind)node->kind) {
    case MIR__TCP_PCB: {
        const struct mir__tcp_pcb *pcb =
            MIR_CONTAINER_OF((uintptr_t)node, struct mir__tcp_pcb, node);
        flow->kind = MIR_NET_FLOW_CONNECTION;
        mir__tcp_info((const struct mir_tcp *)(const void *)pcb, &flow->info);
        flow->state = flow->info.state;
        break;
    }
    case MIR__TCP_HALF_OPEN:
        flow->kind = MIR_NET_FLOW_HALF_OPEN;
        flow->state = MIR_TCP_S_SYN_RECEIVED;
        break;
    case MIR__TCP_TIME_WAIT:
        flow->kind = MIR_NET_FLOW_TIME_WAIT;
        flow->state = MIR_TCP_S_TIME_WAIT;
        break;
    }
}

static void tell_nodes(struct cursor *c, const struct mir__tcp_node *node)
{
    for (; node != NULL; node = node->next) {
        struct mir_net_flow *flow = next_slot(c);
        if (flow != NULL)
            tell_node(flow, node);
    }
}

static void tell_udp(struct cursor *c, const struct mir_list *bucket)
{
    mir_list_for_each (node, bucket) {
        const struct mir__udp_socket *s = MIR_CONTAINER_OF(node, struct mir__udp_socket, by_port);
        struct mir_net_flow *flow = next_slot(c);
        if (flow == NULL)
            continue;
        flow->kind = MIR_NET_FLOW_UDP;
        flow->local = (struct mir_endpoint){s->local, s->port};
        flow->remote = s->remote;
    }
}

/* One bucket of the stage the walk is in. False: there is no such bucket. */
static bool tell_bucket(struct cursor *c)
{
    struct mir__tcp_state *tcp = c->net->tcp;
    uint32_t at = c->walk->at;
    c->seen = 0;
    switch (c->walk->stage) {
    case STAGE_LISTENERS:
        if (at < MIR__TCP_LISTEN_BUCKETS)
            tell_listeners(c, &tcp->listen[at]);
        return at < MIR__TCP_LISTEN_BUCKETS;
    case STAGE_TABLE:
        if (at < tcp->table.buckets)
            tell_nodes(c, mir__tcp_table_bucket(&tcp->table, at));
        return at < tcp->table.buckets;
    default:
        if (at <= c->net->udp.bucket_mask)
            tell_udp(c, &c->net->udp.by_port[at]);
        return at <= c->net->udp.bucket_mask;
    }
}

uint32_t mir__net_next_flows(struct mir_stack *stack, struct mir_net_walk *walk,
                             struct mir_net_flow *out, uint32_t max)
{
    struct cursor c = {
        .net = (struct mir_net *)(void *)stack, .walk = walk, .out = out, .max = max};
    while (walk->stage < STAGE_END && c.count < max) {
        bool is_bucket = tell_bucket(&c);
        if (c.count == max)
            break;
        walk->skip = 0;
        walk->at = is_bucket ? walk->at + 1 : 0;
        walk->stage += !is_bucket;
    }
    return c.count;
}

/* ---- neighbours, interfaces, pools ----------------------------------------------------------- */

static void tell_neighbour(struct mir_net_neighbour *out, const struct mir__neigh *neigh)
{
    static const char *const states[] = {"incomplete", "reachable", "stale",
                                         "delay",      "probe",     "failed"};
    *out = (struct mir_net_neighbour){.ip = neigh->ip,
                                      .if_index = neigh->iface->index + 1,
                                      .is_router = neigh->is_router,
                                      .state = states[neigh->state]};
    if (mir__neigh_is_resolved(neigh))
        mir_memcpy(out->mac, neigh->header, 6);
}

uint32_t mir_net_next_neighbours(struct mir_net *net, struct mir_net_walk *walk,
                                 struct mir_net_neighbour *out, uint32_t max)
{
    uint32_t count = 0;
    while (walk->at < MIR__NEIGH_BUCKETS) {
        uint32_t seen = 0;
        mir_list_for_each (node, &net->neigh.buckets[walk->at]) {
            if (seen++ < walk->skip)
                continue;
            if (count == max)
                return count;
            walk->skip = seen;
            tell_neighbour(&out[count++], MIR_CONTAINER_OF(node, struct mir__neigh, bucket));
        }
        walk->skip = 0;
        walk->at++;
    }
    return count;
}

int mir_net_get_interface(const struct mir_net *net, uint32_t if_index,
                          struct mir_net_interface *out)
{
    if (if_index == 0 || if_index > net->iface_count)
        return -MIR_ENOENT;
    const struct mir__iface *iface = &net->ifaces[if_index - 1];
    *out = (struct mir_net_interface){
        .dev = iface->dev->info, .mtu = iface->mtu, .is_up = iface->is_started};
    if (iface->dev->ops->stats != NULL)
        mir_net_dev_stats(iface->dev, &out->stats);
    return 0;
}

void mir_net_each_pool(const struct mir_net *net,
                       void (*each)(void *arg, const struct mir_pool *pool), void *arg)
{
    const struct mir__tcp_state *tcp = net->tcp;
    const struct mir_pool *const pools[] = {
        &net->bufs->pool,  &tcp->pcbs,        &tcp->busies,     &tcp->half_opens,  &tcp->losses,
        &tcp->ranges,      &tcp->time_waits,  &tcp->listeners,  &tcp->chunks,      &tcp->earlies,
        &net->udp.sockets, &net->udp.members, &net->neigh.pool, &net->ifaddr.pool, &net->group.pool,
        &net->route.pool,  &net->pmtu.pool,   &net->reass.pool,
    };
    for (size_t i = 0; i < MIR_ARRAY_LEN(pools); i++)
        each(arg, pools[i]);
}

/* ---- taps ------------------------------------------------------------------------------------ */

void mir__net_show(struct mir__iface *iface, bool is_out, const struct mir_buf *buf)
{
    mir_list_for_each (node, &iface->net->taps) {
        struct mir_net_tap *tap = MIR_CONTAINER_OF(node, struct mir_net_tap, link);
        tap->frame(tap->arg, iface->index + 1, is_out, buf);
    }
}

void mir_net_add_tap(struct mir_net *net, struct mir_net_tap *tap)
{
    mir_list_push_back(&net->taps, &tap->link);
    net->has_taps = true;
}

void mir_net_remove_tap(struct mir_net *net, struct mir_net_tap *tap)
{
    mir_list_remove(&tap->link);
    net->has_taps = !mir_list_is_empty(&net->taps);
}
