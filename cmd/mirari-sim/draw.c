/* SPDX-License-Identifier: ISC */
/* A network by chance: a function of its seed.
 *
 * One to three routers in a line, or none; two to five hosts; one to four clients with a server
 * each; faults, queue disciplines, offloads, clocks and events here and there. What loses frames is
 * held to a budget per path, so that nearly all connections live: a stack that gives up under 60 %
 * of loss is right. Sizes are small, ten thousand networks are a matter of minutes.
 */
#include <mirari/rng.h>

#include <stdlib.h>
#include <string.h>

#include "cmd/mirari-sim/sim.h"

#define BUDGET_PPM 120000u

struct dice {
    struct mir_rng rng;
    uint32_t budget_ppm; /* of frames lost on the way, all links together */
};

static bool one_in(struct dice *dice, uint32_t n)
{
    return mir_rng_below(&dice->rng, n) == 0;
}

static uint32_t between(struct dice *dice, uint32_t low, uint32_t high)
{
    return low + mir_rng_below(&dice->rng, high - low + 1);
}

/* Each octave equally likely. */
static uint32_t octave(struct dice *dice, uint32_t low, uint32_t high)
{
    uint32_t octaves = 0;
    while ((uint64_t)low << (octaves + 1) <= high)
        octaves++;
    uint32_t base = low << mir_rng_below(&dice->rng, octaves + 1);
    return MIR_MIN(base + mir_rng_below(&dice->rng, base), high);
}

static uint32_t fault(struct dice *dice, bool counts)
{
    if (!one_in(dice, 4))
        return 0;
    uint32_t ppm = octave(dice, 500, 100000);
    if (counts) {
        ppm = MIR_MIN(ppm, dice->budget_ppm);
        dice->budget_ppm -= ppm;
    }
    return ppm;
}

static void draw_discipline(struct dice *dice, struct mir_sim_wire_config *wire)
{
    switch (mir_rng_below(&dice->rng, 8)) {
    case 0:
        wire->red_min_bytes = octave(dice, 3000, 30000);
        wire->red_max_bytes = 3 * wire->red_min_bytes;
        break;
    case 1:
        wire->codel_target_us = octave(dice, 1000, 20000);
        wire->codel_interval_us = 20 * wire->codel_target_us;
        break;
    case 2:
        wire->fq_target_us = octave(dice, 1000, 20000);
        wire->codel_interval_us = 20 * wire->fq_target_us;
        break;
    default:
        return;
    }
    wire->ecn = one_in(dice, 2);
}

static void draw_wire(struct dice *dice, struct mir_sim_wire_config *wire)
{
    /* 250 kbit/s to 1 Gbit/s */
    wire->rate_bps = 250000ull << mir_rng_below(&dice->rng, 13);
    wire->delay_us = one_in(dice, 3) ? 0 : octave(dice, 50, 100000);
    wire->jitter_us = one_in(dice, 3) ? octave(dice, 50, 20000) : 0;
    wire->loss_ppm = fault(dice, true);
    wire->corrupt_ppm = fault(dice, true);
    wire->duplicate_ppm = fault(dice, false);
    wire->reorder_ppm = fault(dice, false);
    if (wire->reorder_ppm > 0 && one_in(dice, 2))
        wire->reorder_us = octave(dice, 100, 50000);
    if (one_in(dice, 10))
        wire->loss_every = between(dice, 20, 200);
    if (one_in(dice, 8) && dice->budget_ppm >= 40000) {
        dice->budget_ppm -= 40000;
        wire->burst_enter_ppm = octave(dice, 1000, 8000);
        wire->burst_leave_ppm = between(dice, 200000, 600000);
    }
    if (one_in(dice, 2))
        wire->queue_bytes = octave(dice, 10000, 500000);
    draw_discipline(dice, wire);
}

static int draw_link(struct dice *dice, struct mir__topo *topo, uint32_t a, uint32_t b)
{
    struct mir__topo_link *link = mir__topo_add_link(topo);
    if (link == NULL)
        return -MIR_ENOMEM;
    snprintf(link->name, sizeof link->name, "l%u", topo->link_count);
    link->end[0] = a;
    link->end[1] = b;
    draw_wire(dice, &link->way[0]);
    link->way[1] = link->way[0];
    if (one_in(dice, 3)) {
        memset(&link->way[1], 0, sizeof link->way[1]);
        draw_wire(dice, &link->way[1]);
    }
    if (one_in(dice, 6))
        link->mtu = (uint16_t)between(dice, 600, 1500);
    return 0;
}

static int draw_node(struct dice *dice, struct mir__topo *topo, enum mir__topo_kind kind)
{
    struct mir__topo_node *node = mir__topo_add_node(topo);
    if (node == NULL)
        return -MIR_ENOMEM;
    node->kind = kind;
    snprintf(node->name, sizeof node->name, "%c%u",
             kind == MIR__TOPO_HOST     ? 'h'
             : kind == MIR__TOPO_ROUTER ? 'r'
                                        : 's',
             topo->node_count);
    if (kind != MIR__TOPO_HOST)
        return 0;
    node->sndbuf = one_in(dice, 2) ? octave(dice, 4096, 1u << 18) : 0;
    node->rcvbuf = one_in(dice, 2) ? octave(dice, 4096, 1u << 18) : 0;
    node->no_sack = one_in(dice, 6);
    node->has_offload = one_in(dice, 4);
    if (one_in(dice, 4))
        node->coalesce_us = octave(dice, 10, 2000);
    if (one_in(dice, 4))
        node->drift_ppm = (int32_t)between(dice, 0, 400) - 200;
    node->has_ecn = one_in(dice, 3);
    if (one_in(dice, 4))
        memcpy(node->congestion, "reno", 5);
    return 0;
}

/* A client and the server it needs, on hosts by chance. */
static int draw_job(struct dice *dice, struct mir__topo *topo, const uint32_t *hosts,
                    uint32_t host_count, uint32_t number)
{
    static const enum mir__topo_role servers[] = {MIR__ROLE_SINK, MIR__ROLE_ECHO, MIR__ROLE_WEB};
    static const enum mir__topo_role clients[] = {MIR__ROLE_SEND, MIR__ROLE_ASK, MIR__ROLE_HTTP};
    uint32_t kind = mir_rng_below(&dice->rng, 3);
    uint32_t at = mir_rng_below(&dice->rng, host_count);
    uint32_t from = (at + between(dice, 1, host_count - 1)) % host_count;
    struct mir__topo_job *server = mir__topo_add_job(topo);
    if (server == NULL)
        return -MIR_ENOMEM;
    server->node = hosts[at];
    server->role = servers[kind];
    server->port = (uint16_t)(1000 + number);
    if (kind == 2)
        server->bytes = octave(dice, 1, 60000);
    if (kind == 0 && one_in(dice, 5))
        server->rate = octave(dice, 5000, 100000);
    uint32_t rate = server->rate;
    struct mir__topo_job *client = mir__topo_add_job(topo);
    if (client == NULL)
        return -MIR_ENOMEM;
    client->node = hosts[from];
    client->to = hosts[at];
    client->role = clients[kind];
    client->port = (uint16_t)(1000 + number);
    client->flows = one_in(dice, 2) ? 1 : between(dice, 1, 6);
    client->bytes = rate != 0 ? octave(dice, 1, 50000) : octave(dice, 1, 200000);
    if (kind == 2)
        client->bytes = 0;
    client->count = kind == 2 ? between(dice, 1, 6) : 1;
    if (kind != 2 && one_in(dice, 4) && client->bytes < 20000)
        client->chunk = between(dice, 1, 300);
    client->start_us = one_in(dice, 2) ? 0 : octave(dice, 1000, 3000000);
    client->every_us = one_in(dice, 2) ? 0 : octave(dice, 100, 500000);
    return 0;
}

static int draw_event(struct dice *dice, struct mir__topo *topo, const uint32_t *hosts,
                      uint32_t host_count)
{
    struct mir__topo_event *event = mir__topo_add_event(topo);
    if (event == NULL)
        return -MIR_ENOMEM;
    event->at_us = octave(dice, 10000, 4000000);
    event->target = mir_rng_below(&dice->rng, topo->link_count);
    uint32_t what = mir_rng_below(&dice->rng, 4);
    if (what == 0) { /* cut, and healed */
        uint64_t at_us = event->at_us;
        uint32_t target = event->target;
        event->change = MIR__TOPO_DOWN;
        event = mir__topo_add_event(topo);
        if (event == NULL)
            return -MIR_ENOMEM;
        event->at_us = at_us + octave(dice, 1000, 4000000);
        event->target = target;
        event->change = MIR__TOPO_UP;
    } else if (what == 1) {
        const struct mir__topo_link *link = &topo->links[event->target];
        event->change = MIR__TOPO_WIRE;
        memcpy(event->way, link->way, sizeof event->way);
        if (one_in(dice, 2))
            event->mtu = (uint16_t)between(dice, 576, 1500);
        event->way[0].rate_bps = event->way[1].rate_bps = octave(dice, 500000, 50000000);
        event->way[0].delay_us = event->way[1].delay_us = octave(dice, 100, 200000);
    } else {
        event->change = what == 2 ? MIR__TOPO_JUMP : MIR__TOPO_DRIFT;
        event->target = hosts[mir_rng_below(&dice->rng, host_count)];
        event->value = what == 2 ? (int64_t)octave(dice, 1000, 60000000)
                                 : (int64_t)between(dice, 0, 1000) - 500;
        if (what == 2 && one_in(dice, 2))
            event->value = -event->value;
    }
    return 0;
}

int sim_draw(uint64_t seed, struct mir__topo *topo)
{
    struct dice dice = {.budget_ppm = BUDGET_PPM};
    uint32_t hosts[8];
    memset(topo, 0, sizeof *topo);
    mir_rng_init_u64(&dice.rng, seed ^ 0xd1ce);
    uint32_t routers = mir_rng_below(&dice.rng, 4), host_count = between(&dice, 2, 5);
    bool has_switch = routers == 0 && (host_count > 2 || one_in(&dice, 3));
    int r = 0;
    if (routers == 0 && !has_switch)
        host_count = 2;
    for (uint32_t i = 0; i < routers + has_switch && r == 0; i++)
        r = draw_node(&dice, topo, has_switch ? MIR__TOPO_SWITCH : MIR__TOPO_ROUTER);
    for (uint32_t i = 0; i < host_count && r == 0; i++) {
        hosts[i] = topo->node_count;
        r = draw_node(&dice, topo, MIR__TOPO_HOST);
    }
    for (uint32_t i = 0; i + 1 < routers && r == 0; i++)
        r = draw_link(&dice, topo, i, i + 1);
    for (uint32_t i = 0; i < host_count && r == 0 && routers + has_switch > 0; i++)
        r = draw_link(&dice, topo, hosts[i],
                      i < routers ? i : mir_rng_below(&dice.rng, routers + has_switch));
    if (routers + has_switch == 0 && r == 0)
        r = draw_link(&dice, topo, hosts[0], hosts[1]);
    uint32_t jobs = between(&dice, 1, 4), events = one_in(&dice, 2) ? between(&dice, 1, 3) : 0;
    for (uint32_t i = 0; i < jobs && r == 0; i++)
        r = draw_job(&dice, topo, hosts, host_count, i);
    for (uint32_t i = 0; i < events && r == 0; i++)
        r = draw_event(&dice, topo, hosts, host_count);
    if (r < 0)
        mir__topo_free(topo);
    return r;
}
