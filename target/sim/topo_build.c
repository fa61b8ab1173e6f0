/* SPDX-License-Identifier: ISC */
/* A network becomes a world: nodes, wires, addresses, routes, events.
 *
 * Addresses. Links that meet at a switch are one segment, every other link is one of its own. A
 * segment gets the next free part of 10.0.0.0/8 that holds its members, and fd00:0:0:N::/64;
 * members are numbered from 1 in the order of the links. Of each host only the first link carries
 * its address by which others know it, and its way to the rest: the first router of that segment.
 *
 * Routes are the shortest by number of routers, the first one found among equals. Routers are told
 * who is on their links. The mtu of a link is that of the ports at its ends.
 */
#include "target/sim/topology.h"

#include <stdlib.h>
#include <string.h>

#include "target/sim/internal.h"

#define NONE          MIR__TOPO_NONE
#define MEMORY        (8u << 20)
#define GIVE_UP_US    (4 * 3600 * MIR_US_PER_S)
#define REST_US       (2000 * MIR_US_PER_S)
#define SETTLE_US     (30 * MIR_US_PER_S)
#define STEP_US       (MIR_US_PER_S / 4)
#define ADDRESS_FIRST 0x0a000000u
#define ADDRESS_LAST  0x0affffffu

/* One end of a link at a host or router. */
struct interface {
    uint32_t node, link, side, segment;
    uint32_t port; /* of a router */
    struct mir_ip ip4, ip6;
    bool is_auto; /* ip6 is not its address, only in its prefix */
    const uint8_t *mac;
};

struct segment {
    uint32_t members, given;
    uint32_t base;
    uint8_t prefix_len;
    uint32_t first; /* interface */
};

struct plan {
    const struct mir__topo *topo;
    struct mir__world *world;
    char *error;
    uint32_t *root; /* links, then nodes: union-find */
    struct interface *interfaces;
    uint32_t interface_count;
    struct segment *segments; /* by number of the root */
    uint32_t *hop;            /* of routers: interface that the way of the search began with */
    uint32_t *queue;
    bool has_ip6; /* some job talks IPv6 */
};

struct mir__world_event {
    struct mir_sim_call call;
    struct mir__world *world;
    const struct mir__topo_event *topo;
};

/* ---- segments -----------------------------------------------------------------------------------
 */

static uint32_t root_of(struct plan *plan, uint32_t i)
{
    while (plan->root[i] != i)
        i = plan->root[i] = plan->root[plan->root[i]];
    return i;
}

static int find_segments(struct plan *plan)
{
    const struct mir__topo *topo = plan->topo;
    uint32_t total = topo->link_count + topo->node_count;
    for (uint32_t i = 0; i < total; i++)
        plan->root[i] = i;
    for (uint32_t i = 0; i < topo->link_count; i++) {
        for (uint32_t side = 0; side < 2; side++) {
            uint32_t node = topo->links[i].end[side];
            if (topo->nodes[node].kind == MIR__TOPO_SWITCH)
                plan->root[root_of(plan, topo->link_count + node)] = root_of(plan, i);
        }
    }
    for (uint32_t i = 0; i < topo->link_count; i++) {
        for (uint32_t side = 0; side < 2; side++) {
            uint32_t node = topo->links[i].end[side];
            if (topo->nodes[node].kind == MIR__TOPO_SWITCH)
                continue;
            struct interface *at = &plan->interfaces[plan->interface_count++];
            *at = (struct interface){
                .node = node, .link = i, .side = side, .segment = root_of(plan, i)};
            struct segment *segment = &plan->segments[at->segment];
            if (segment->members++ == 0)
                segment->first = plan->interface_count - 1;
        }
    }
    return 0;
}

static int give_addresses(struct plan *plan)
{
    uint64_t next = ADDRESS_FIRST;
    for (uint32_t i = 0; i < plan->interface_count; i++) {
        struct interface *at = &plan->interfaces[i];
        struct segment *segment = &plan->segments[at->segment];
        if (segment->prefix_len == 0) {
            uint32_t bits = 2;
            while ((1u << bits) < segment->members + 2)
                bits++;
            next = (next + (1u << bits) - 1) >> bits << bits;
            segment->base = (uint32_t)next;
            segment->prefix_len = (uint8_t)(32 - bits);
            next += 1u << bits;
            if (next > ADDRESS_LAST) {
                snprintf(plan->error, MIR__TOPO_ERROR_MAX, "more hosts than 10.0.0.0/8 holds");
                return -MIR_EINVAL;
            }
        }
        uint32_t number = ++segment->given;
        at->ip4 = mir_ip_from_v4(segment->base + number);
        at->ip6 = (struct mir_ip){{0xfd}};
        at->ip6.bytes[4] = (uint8_t)(at->segment >> 24);
        at->ip6.bytes[5] = (uint8_t)(at->segment >> 16);
        at->ip6.bytes[6] = (uint8_t)(at->segment >> 8);
        at->ip6.bytes[7] = (uint8_t)at->segment;
        at->ip6.bytes[13] = (uint8_t)(number >> 16);
        at->ip6.bytes[14] = (uint8_t)(number >> 8);
        at->ip6.bytes[15] = (uint8_t)number;
    }
    return 0;
}

/* ---- nodes and wires ----------------------------------------------------------------------------
 */

static int make_node(struct plan *plan, uint32_t i)
{
    const struct mir__topo_node *topo = &plan->topo->nodes[i];
    struct mir__world_node *node = &plan->world->nodes[i];
    struct mir_sim *sim = plan->world->sim;
    struct mir_sim_node_config config = {
        .name = topo->name, .memory_bytes = topo->memory_bytes != 0 ? topo->memory_bytes : MEMORY};
    node->topo = topo;
    node->world = plan->world;
    if (topo->kind == MIR__TOPO_ROUTER)
        return mir_sim_add_router(sim, topo->name, &node->router);
    if (topo->kind == MIR__TOPO_SWITCH)
        return mir_sim_add_switch(sim, topo->name, &node->hub);
    for (uint32_t k = 0; k < plan->topo->job_count; k++)
        config.is_raw |=
            plan->topo->jobs[k].node == i && plan->topo->jobs[k].role == MIR__ROLE_ATTACK;
    config.net.tcp_sndbuf_bytes = topo->sndbuf;
    config.net.tcp_rcvbuf_bytes = topo->rcvbuf;
    config.net.tcp_no_sack = topo->no_sack;
    config.net.tcp_ecn = topo->has_ecn ? MIR_NET_ECN_ON : MIR_NET_ECN_PASSIVE;
    config.net.congestion = topo->congestion[0] != '\0' ? topo->congestion : NULL;
    int r = mir_sim_add_node(sim, &config, &node->host);
    if (r == -MIR_EINVAL)
        snprintf(plan->error, MIR__TOPO_ERROR_MAX, "%s: congestion=%s is not known", topo->name,
                 topo->congestion);
    if (r == 0 && topo->drift_ppm != 0)
        mir_sim_node_drift(node->host, topo->drift_ppm);
    return r;
}

/* Is there a router beside it that tells hosts their prefix? */
static bool is_told(const struct plan *plan, const struct interface *at)
{
    for (uint32_t i = plan->segments[at->segment].first; i < plan->interface_count; i++) {
        const struct interface *other = &plan->interfaces[i];
        if (other->segment == at->segment && plan->topo->nodes[other->node].advertises)
            return true;
    }
    return false;
}

static int plug_host(struct plan *plan, struct interface *at, struct mir_sim_plug **plug)
{
    static const uint32_t offload =
        MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_TX_SG | MIR_NET_RX_CSUM | MIR_NET_RX_GRO;
    struct mir__world_node *node = &plan->world->nodes[at->node];
    const struct segment *segment = &plan->segments[at->segment];
    struct mir_sim_port_config config = {.mtu = plan->topo->links[at->link].mtu,
                                         .coalesce_us = node->topo->coalesce_us,
                                         .caps = node->topo->has_offload ? offload : 0};
    struct mir_net_if_config interface = {.ip = at->ip4, .prefix_len = segment->prefix_len};
    struct mir_sim_port *port;
    bool is_first = mir_ip_is_any(&node->ip);
    int r = mir_sim_add_port(node->host, &config, &port);
    if (r < 0)
        return r;
    at->mac = port->dev.info.mac;
    *plug = &port->plug;
    struct mir_net_prefix address6 = {at->ip6, 64};
    interface.gateway = mir_ip_from_v4(0);
    bool is_auto = plan->has_ip6 && node->host->net != NULL && is_told(plan, at);
    at->is_auto = is_auto;
    if (is_auto) {
        interface.ip6 = MIR_IP6_AUTO;
    } else if (plan->has_ip6) {
        interface.ip6 = MIR_IP6_STATIC;
        interface.addresses = &address6;
        interface.address_count = 1;
    }
    for (uint32_t i = segment->first; is_first && i < plan->interface_count; i++) {
        const struct interface *other = &plan->interfaces[i];
        if (other->segment == at->segment &&
            plan->topo->nodes[other->node].kind == MIR__TOPO_ROUTER) {
            interface.gateway = other->ip4;
            if (plan->has_ip6 && !is_auto)
                interface.gateway6 = other->ip6;
            break;
        }
    }
    if (is_first) {
        node->ip = at->ip4;
        node->is_auto = is_auto;
        if (!is_auto)
            node->ip6 = at->ip6;
        node->prefix_len = segment->prefix_len;
        node->gateway = interface.gateway;
    }
    return node->host->net != NULL ? mir_net_add_interface(node->host->net, &port->dev, &interface)
                                   : 0;
}

static int plug_router(struct plan *plan, struct interface *at, struct mir_sim_plug **plug)
{
    struct mir_sim_router *router = plan->world->nodes[at->node].router;
    struct mir_sim_router_port config = {.ip4 = at->ip4,
                                         .ip6 = at->ip6,
                                         .mtu = plan->topo->links[at->link].mtu,
                                         .advertises = plan->has_ip6 &&
                                                       plan->topo->nodes[at->node].advertises};
    int r = mir_sim_router_plug(router, &config, plug);
    if (r < 0)
        return r;
    at->port = (*plug)->router_port;
    at->mac = mir_sim_router_mac(*plug);
    return 0;
}

static int make_link(struct plan *plan, uint32_t i, uint32_t *interface)
{
    const struct mir__topo_link *link = &plan->topo->links[i];
    struct mir__world *world = plan->world;
    int r = 0;
    for (uint32_t side = 0; side < 2 && r == 0; side++) {
        struct mir__world_node *node = &world->nodes[link->end[side]];
        struct mir_sim_plug **plug = &world->plugs[i][side];
        if (node->hub != NULL)
            r = mir_sim_switch_plug(node->hub, plug);
        else if (node->router != NULL)
            r = plug_router(plan, &plan->interfaces[(*interface)++], plug);
        else
            r = plug_host(plan, &plan->interfaces[(*interface)++], plug);
        if (r == -MIR_ELIMIT) {
            snprintf(plan->error, MIR__TOPO_ERROR_MAX, "%s: too many links%s", node->topo->name,
                     node->hub != NULL ? " (a switch has 64 ports; a router takes more)" : "");
            return -MIR_EINVAL;
        }
    }
    return r < 0 ? r
                 : mir_sim_join(world->plugs[i][0], world->plugs[i][1], &link->way[0],
                                &link->way[1], &world->wires[i]);
}

/* ---- routes -------------------------------------------------------------------------------------
 */

static int connect_router(struct plan *plan, const struct interface *at)
{
    struct mir_sim_router *router = plan->world->nodes[at->node].router;
    const struct segment *segment = &plan->segments[at->segment];
    struct mir_ip base = mir_ip_from_v4(segment->base), base6 = at->ip6;
    memset(base6.bytes + 8, 0, 8);
    int r = mir_sim_router_route(router, &base, 96u + segment->prefix_len, NULL, at->port);
    if (r == 0)
        r = mir_sim_router_route(router, &base6, 64, NULL, at->port);
    for (uint32_t i = segment->first; i < plan->interface_count && r == 0; i++) {
        const struct interface *other = &plan->interfaces[i];
        if (other->segment != at->segment || other == at)
            continue;
        mir_sim_router_neighbour(router, &other->ip4, other->mac);
        if (!other->is_auto)
            mir_sim_router_neighbour(router, &other->ip6, other->mac);
        struct mir__world_node *node = &plan->world->nodes[other->node];
        if (node->host != NULL && mir_ip_equal(&node->ip, &other->ip4))
            memcpy(node->gateway_mac, at->mac, 6);
    }
    return r;
}

/* Routes of @from to the segment of @at, through the router at interface @hop. */
static int route_through(struct plan *plan, uint32_t from, const struct interface *at,
                         const struct interface *hop)
{
    struct mir_sim_router *router = plan->world->nodes[from].router;
    const struct segment *segment = &plan->segments[at->segment];
    struct mir_ip base = mir_ip_from_v4(segment->base), base6 = at->ip6;
    uint32_t bits = 96u + segment->prefix_len, port = NONE;
    memset(base6.bytes + 8, 0, 8);
    for (uint32_t i = 0; i < plan->interface_count; i++) {
        if (plan->interfaces[i].node == from && plan->interfaces[i].segment == hop->segment)
            port = plan->interfaces[i].port;
    }
    int r = 0;
    if (!mir__sim_router_has(router, &base, bits))
        r = mir_sim_router_route(router, &base, bits, &hop->ip4, port);
    if (r == 0 && !mir__sim_router_has(router, &base6, 64))
        r = mir_sim_router_route(router, &base6, 64, &hop->ip6, port);
    return r;
}

/* Routers on the segment of @at that the search has not come to. */
static void find_next(struct plan *plan, uint32_t from, const struct interface *at, uint32_t *tail)
{
    for (uint32_t i = plan->segments[at->segment].first; i < plan->interface_count; i++) {
        const struct interface *next = &plan->interfaces[i];
        if (next->segment != at->segment || next->node == from || plan->hop[next->node] != NONE ||
            plan->topo->nodes[next->node].kind != MIR__TOPO_ROUTER)
            continue;
        plan->hop[next->node] = at->node == from ? i : plan->hop[at->node];
        plan->queue[(*tail)++] = next->node;
    }
}

/* Everybody beyond the routers beside @from, through them, breadth first. */
static int search_from(struct plan *plan, uint32_t from)
{
    uint32_t tail = 0;
    for (uint32_t i = 0; i < plan->topo->node_count; i++)
        plan->hop[i] = NONE;
    plan->queue[tail++] = from;
    for (uint32_t head = 0; head < tail; head++) {
        uint32_t node = plan->queue[head];
        for (uint32_t i = 0; i < plan->interface_count; i++) {
            const struct interface *at = &plan->interfaces[i];
            if (at->node != node)
                continue;
            if (node != from) {
                int r = route_through(plan, from, at, &plan->interfaces[plan->hop[node]]);
                if (r < 0)
                    return r;
            }
            find_next(plan, from, at, &tail);
        }
    }
    return 0;
}

static int make_routes(struct plan *plan)
{
    int r = 0;
    for (uint32_t i = 0; i < plan->interface_count && r == 0; i++) {
        if (plan->topo->nodes[plan->interfaces[i].node].kind == MIR__TOPO_ROUTER)
            r = connect_router(plan, &plan->interfaces[i]);
    }
    uint32_t routers = 0;
    for (uint32_t i = 0; i < plan->topo->node_count; i++)
        routers += plan->topo->nodes[i].kind == MIR__TOPO_ROUTER;
    for (uint32_t i = 0; i < plan->topo->node_count && r == 0 && routers > 1; i++) {
        if (plan->topo->nodes[i].kind == MIR__TOPO_ROUTER)
            r = search_from(plan, i);
    }
    /* Hostile hosts without a router: the first neighbour. */
    for (uint32_t i = 0; i < plan->interface_count; i++) {
        const struct interface *at = &plan->interfaces[i];
        struct mir__world_node *node = &plan->world->nodes[at->node];
        static const uint8_t none[6];
        if (node->host == NULL || memcmp(node->gateway_mac, none, 6) != 0)
            continue;
        for (uint32_t k = 0; k < plan->interface_count; k++) {
            if (k != i && plan->interfaces[k].segment == at->segment)
                memcpy(node->gateway_mac, plan->interfaces[k].mac, 6);
        }
    }
    return r;
}

/* ---- the world ----------------------------------------------------------------------------------
 */

static int make_all(struct plan *plan)
{
    const struct mir__topo *topo = plan->topo;
    uint32_t interface = 0;
    int r = find_segments(plan);
    if (r == 0)
        r = give_addresses(plan);
    for (uint32_t i = 0; i < topo->node_count && r == 0; i++)
        r = make_node(plan, i);
    for (uint32_t i = 0; i < topo->link_count && r == 0; i++)
        r = make_link(plan, i, &interface);
    return r == 0 ? make_routes(plan) : r;
}

int mir__world_build(const struct mir__topo *topo, const struct mir_sim_config *config,
                     struct mir__world *world, char *error)
{
    uint32_t links = topo->link_count + 1, nodes = topo->node_count + 1;
    struct plan plan = {.topo = topo, .world = world, .error = error};
    memset(world, 0, sizeof *world);
    snprintf(error, MIR__TOPO_ERROR_MAX, "the network cannot be built");
    world->topo = topo;
    for (uint32_t i = 0; i < topo->job_count; i++)
        plan.has_ip6 |= topo->jobs[i].is_ip6;
    int r = mir_sim_open(config, &world->sim);
    if (r < 0)
        return r;
    world->nodes = calloc(nodes, sizeof *world->nodes);
    world->wires = calloc(links, sizeof *world->wires);
    world->plugs = calloc(links, sizeof *world->plugs);
    world->jobs = calloc(topo->job_count + 1, sizeof *world->jobs);
    world->events = calloc(topo->event_count + 1, sizeof *world->events);
    plan.root = calloc(links + nodes, sizeof *plan.root);
    plan.interfaces = calloc(2 * links, sizeof *plan.interfaces);
    plan.segments = calloc(links + nodes, sizeof *plan.segments);
    plan.hop = calloc(nodes, sizeof *plan.hop);
    plan.queue = calloc(nodes, sizeof *plan.queue);
    r = world->nodes == NULL || world->wires == NULL || world->plugs == NULL ||
                world->jobs == NULL || world->events == NULL || plan.root == NULL ||
                plan.interfaces == NULL || plan.segments == NULL || plan.hop == NULL ||
                plan.queue == NULL
            ? -MIR_ENOMEM
            : make_all(&plan);
    free(plan.root);
    free(plan.interfaces);
    free(plan.segments);
    free(plan.hop);
    free(plan.queue);
    world->began_us = mir_sim_now(world->sim);
    if (r < 0 && r != -MIR_EINVAL)
        snprintf(error, MIR__TOPO_ERROR_MAX, "the network cannot be built: %s", mir_strerror(r));
    if (r < 0)
        mir__world_close(world);
    return r;
}

void mir__world_complain(struct mir__world *world, const char *text)
{
    if (world->result.first[0] == '\0')
        snprintf(world->result.first, sizeof world->result.first, "%s", text);
}

static void happen(void *arg)
{
    struct mir__world_event *event = arg;
    const struct mir__topo_event *topo = event->topo;
    struct mir__world *world = event->world;
    struct mir_sim_wire *wire = topo->change <= MIR__TOPO_WIRE ? world->wires[topo->target] : NULL;
    struct mir_sim_node *node =
        topo->change > MIR__TOPO_WIRE ? world->nodes[topo->target].host : NULL;
    for (unsigned side = 0; wire != NULL && side < 2; side++) {
        struct mir_sim_plug *plug = world->plugs[topo->target][side];
        if (topo->change != MIR__TOPO_WIRE)
            mir_sim_wire_cut(wire, side, topo->change == MIR__TOPO_DOWN);
        else
            mir_sim_wire_set(wire, side, &topo->way[side]);
        if (topo->mtu != 0 && plug->router != NULL)
            mir_sim_router_mtu(plug, topo->mtu);
    }
    if (node != NULL && topo->change == MIR__TOPO_JUMP)
        mir_sim_node_jump(node, topo->value);
    else if (node != NULL)
        mir_sim_node_drift(node, (int32_t)topo->value);
}

static void take_own(void *arg, const struct mir_net_address *address)
{
    struct mir_ip *ip6 = arg;
    if (address->origin == MIR_NET_ADDRESS_SLAAC && address->state == MIR_NET_ADDRESS_PREFERRED)
        *ip6 = address->ip;
}

/* Hosts that configure themselves do so before anything else begins. */
static void settle(struct mir__world *world)
{
    mir_time_us end_us = mir_sim_now(world->sim) + SETTLE_US;
    for (uint32_t i = 0; i < world->topo->node_count; i++) {
        struct mir__world_node *node = &world->nodes[i];
        char text[120];
        while (node->is_auto && mir_ip_is_any(&node->ip6) && mir_sim_now(world->sim) < end_us) {
            (void)mir_sim_run(world->sim, mir_sim_now(world->sim) + STEP_US);
            mir_net_each_address(node->host->net, take_own, &node->ip6);
        }
        if (node->is_auto && mir_ip_is_any(&node->ip6)) {
            snprintf(text, sizeof text, "%s has no IPv6 address", node->topo->name);
            mir__world_complain(world, text);
        }
    }
}

void mir__world_run(struct mir__world *world, uint64_t limit_us)
{
    const struct mir__topo *topo = world->topo;
    struct mir_sim *sim = world->sim;
    char text[160];
    settle(world);
    world->began_us = mir_sim_now(sim);
    if (limit_us == 0)
        limit_us = topo->duration_us != 0 ? topo->duration_us : GIVE_UP_US;
    for (uint32_t i = 0; i < topo->event_count; i++) {
        struct mir__world_event *event = &world->events[i];
        *event = (struct mir__world_event){
            .world = world, .topo = &topo->events[i], .call = {.run = happen, .arg = event}};
        mir_sim_at(sim, &event->call, world->began_us + event->topo->at_us);
    }
    for (uint32_t i = 0; i < topo->node_count; i++) {
        if (world->nodes[i].host != NULL)
            world->nodes[i].idle_timers = world->nodes[i].host->loop.timer_count;
    }
    for (uint32_t i = 0; i < topo->job_count; i++) {
        if (world->jobs[i] != NULL)
            continue;
        int r = mir__job_start(world, &topo->jobs[i], &world->jobs[i]);
        if (r < 0) {
            snprintf(text, sizeof text, "%s %s cannot be started: %s",
                     topo->nodes[topo->jobs[i].node].name, mir__topo_roles[topo->jobs[i].role],
                     mir_strerror(r));
            mir__world_complain(world, text);
        }
    }
    mir_time_us end_us = world->began_us + limit_us;
    while (mir_sim_now(sim) < end_us && (world->ours > 0 || topo->duration_us != 0)) {
        mir_time_us next_us = MIR_MIN(mir_sim_now(sim) + STEP_US, end_us);
        enum mir_sim_end end = mir_sim_run(sim, next_us);
        if (end == MIR_SIM_STOPPED || (end == MIR_SIM_IDLE && topo->duration_us == 0))
            break;
    }
    world->result.took_us = mir_sim_now(sim) - world->began_us;
}

/* ---- the end ------------------------------------------------------------------------------------
 */

struct idle_look {
    struct mir__world *world;
    const char *node;
};

static void look_idle(void *arg, const char *name, uint64_t value)
{
    static const char *const zero[] = {"tcp_connections",       "tcp_half_open",
                                       "tcp_time_wait",         "buffers_used",
                                       "tcp_memory_used_bytes", "reassembly_bytes"};
    struct idle_look *look = arg;
    char text[160];
    for (size_t i = 0; i < MIR_ARRAY_LEN(zero); i++) {
        if (value == 0 || strcmp(name, zero[i]) != 0)
            continue;
        look->world->result.not_idle++;
        snprintf(text, sizeof text, "%s: %s is %llu at the end", look->node, name,
                 (unsigned long long)value);
        mir__world_complain(look->world, text);
    }
}

static void come_to_rest(struct mir__world *world)
{
    char text[160];
    const struct mir__topo *topo = world->topo;
    for (uint32_t i = 0; i < topo->job_count; i++) {
        if (world->jobs[i] != NULL)
            mir__job_stop(world->jobs[i]);
    }
    for (uint32_t i = 0; i < topo->event_count; i++)
        mir_sim_cancel(world->sim, &world->events[i].call);
    (void)mir_sim_run(world->sim, mir_sim_now(world->sim) + REST_US);
    for (uint32_t i = 0; i < topo->node_count; i++) {
        struct mir_sim_node *host = world->nodes[i].host;
        struct idle_look look = {world, topo->nodes[i].name};
        if (host == NULL || host->stack == NULL)
            continue;
        host->stack->ops->stats(host->stack, look_idle, &look);
        if (host->loop.timer_count > world->nodes[i].idle_timers) {
            world->result.not_idle++;
            snprintf(text, sizeof text, "%s: %u timers are still set at the end", look.node,
                     host->loop.timer_count);
            mir__world_complain(world, text);
        }
    }
}

void mir__world_close(struct mir__world *world)
{
    struct mir__world_result *result = &world->result;
    struct mir_sim_stats stats;
    char text[160];
    if (world->jobs != NULL && world->events != NULL && world->topo->job_count > 0)
        come_to_rest(world);
    for (uint32_t i = 0; world->jobs != NULL && i < world->topo->job_count; i++) {
        if (world->jobs[i] != NULL)
            mir__job_free(world->jobs[i]);
    }
    mir_sim_get_stats(world->sim, &stats);
    result->violations = stats.violations;
    result->events = stats.events;
    result->frames = stats.frames;
    result->watched = stats.watched;
    result->hash = mir_sim_hash(world->sim);
    if (stats.violations > 0) /* it came before whatever it caused */
        snprintf(result->first, sizeof result->first, "%s", world->sim->complaint);
    result->left_bytes = mir_sim_close(world->sim);
    if (result->left_bytes > 0) {
        snprintf(text, sizeof text, "%zu bytes of pages are left behind", result->left_bytes);
        mir__world_complain(world, text);
    }
    free(world->nodes);
    free(world->wires);
    free(world->plugs);
    free(world->jobs);
    free(world->events);
}

int mir__world_pcap(struct mir__world *world, const char *text)
{
    const char *equals = strchr(text, '=');
    for (uint32_t i = 0; equals != NULL && i < world->topo->link_count; i++) {
        const char *name = world->topo->links[i].name;
        if (strlen(name) == (size_t)(equals - text) && strncmp(name, text, strlen(name)) == 0)
            return mir_sim_wire_pcap(world->wires[i], equals + 1);
    }
    return -MIR_ENOENT;
}

void mir__world_describe(const struct mir__world *world, FILE *out)
{
    static const char *const kinds[] = {"host", "router", "switch"};
    char ip[MIR_IP_TEXT_MAX], gateway[MIR_IP_TEXT_MAX];
    for (uint32_t i = 0; i < world->topo->node_count; i++) {
        const struct mir__world_node *node = &world->nodes[i];
        fprintf(out, "%s %s", kinds[node->topo->kind], node->topo->name);
        if (node->host != NULL && !mir_ip_is_any(&node->ip))
            fprintf(out, " %s/%u via %s", mir_ip_text(&node->ip, ip), node->prefix_len,
                    mir_ip_text(&node->gateway, gateway));
        fputc('\n', out);
    }
}
