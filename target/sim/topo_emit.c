/* SPDX-License-Identifier: ISC */
/* A network as text, so that a failing one can be kept, read and run again.
 *
 * Only what differs from the defaults is written. Groups are written as single nodes. Reading the
 * text back gives the same network: topology_test.c holds that for drawn ones.
 */
#include "target/sim/topology.h"

#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull;

static void put_chance(FILE *out, const char *name, uint32_t ppm)
{
    fprintf(out, " %s=%u.%04u%%", name, ppm / 10000, ppm % 10000);
}

static void put_wire(FILE *out, const struct mir_sim_wire_config *c)
{
    if (c->rate_bps != 0)
        fprintf(out, " rate=%llu", (ull)c->rate_bps);
    if (c->delay_us != 0)
        fprintf(out, " delay=%uus", c->delay_us);
    if (c->jitter_us != 0)
        fprintf(out, " jitter=%uus", c->jitter_us);
    if (c->loss_ppm != 0)
        put_chance(out, "loss", c->loss_ppm);
    if (c->loss_every != 0)
        fprintf(out, " every=%u", c->loss_every);
    if (c->burst_enter_ppm != 0)
        fprintf(out, " burst=%u.%04u%%/%u.%04u%%", c->burst_enter_ppm / 10000,
                c->burst_enter_ppm % 10000, c->burst_leave_ppm / 10000, c->burst_leave_ppm % 10000);
    if (c->burst_loss_ppm != 0)
        put_chance(out, "burst-loss", c->burst_loss_ppm);
    if (c->reorder_ppm != 0) {
        put_chance(out, "reorder", c->reorder_ppm);
        if (c->reorder_us != 0)
            fprintf(out, "/%uus", c->reorder_us);
    }
    if (c->duplicate_ppm != 0)
        put_chance(out, "dup", c->duplicate_ppm);
    if (c->corrupt_ppm != 0)
        put_chance(out, "corrupt", c->corrupt_ppm);
    if (c->queue_bytes != 0)
        fprintf(out, " queue=%u", c->queue_bytes);
    if (c->red_max_bytes != 0)
        fprintf(out, " red=%u/%u", c->red_min_bytes, c->red_max_bytes);
    if (c->codel_target_us != 0)
        fprintf(out, " codel=%uus/%uus", c->codel_target_us, c->codel_interval_us);
    if (c->fq_target_us != 0)
        fprintf(out, " fq-codel=%uus/%uus", c->fq_target_us, c->codel_interval_us);
    if (c->ecn != 0)
        fprintf(out, " ecn=%u", c->ecn);
    if (c->mtu != 0)
        fprintf(out, " blackhole=%u", c->mtu);
}

/* What @a has and @b has not is set to nothing. */
static void put_nothing(FILE *out, const struct mir_sim_wire_config *a,
                        const struct mir_sim_wire_config *b)
{
    const struct {
        uint64_t has, wants;
        const char *text;
    } words[] = {
        {a->rate_bps, b->rate_bps, "rate=0"},
        {a->delay_us, b->delay_us, "delay=0"},
        {a->jitter_us, b->jitter_us, "jitter=0"},
        {a->loss_ppm, b->loss_ppm, "loss=0"},
        {a->loss_every, b->loss_every, "every=0"},
        {a->burst_enter_ppm, b->burst_enter_ppm, "burst=0/0"},
        {a->burst_loss_ppm, b->burst_loss_ppm, "burst-loss=0"},
        {a->reorder_ppm, b->reorder_ppm, "reorder=0/0"},
        {a->reorder_us, b->reorder_us, "reorder=0/0"},
        {a->duplicate_ppm, b->duplicate_ppm, "dup=0"},
        {a->corrupt_ppm, b->corrupt_ppm, "corrupt=0"},
        {a->queue_bytes, b->queue_bytes, "queue=0"},
        {a->red_max_bytes, b->red_max_bytes, "red=0/0"},
        {a->codel_target_us, b->codel_target_us, "codel=0/0"},
        {a->fq_target_us, b->fq_target_us, "fq-codel=0/0"},
        {a->ecn, b->ecn, "ecn=0"},
        {a->mtu, b->mtu, "blackhole=0"},
    };
    for (size_t i = 0; i < MIR_ARRAY_LEN(words); i++) {
        if (words[i].has != 0 && words[i].wants == 0)
            fprintf(out, " %s", words[i].text);
    }
}

/* @base is what the text begins with: a link's own words, for an event of it. */
static void put_ways(FILE *out, const struct mir_sim_wire_config base[2],
                     const struct mir_sim_wire_config way[2])
{
    put_nothing(out, &base[0], &way[0]);
    put_wire(out, &way[0]);
    if (memcmp(&way[0], &way[1], sizeof way[0]) == 0 &&
        memcmp(&base[0], &base[1], sizeof base[0]) == 0)
        return;
    fputs(" back", out);
    put_nothing(out, &base[1], &way[1]);
    put_nothing(out, &way[0], &way[1]);
    put_wire(out, &way[1]);
}

static void put_node(FILE *out, const struct mir__topo_node *node)
{
    static const char *const kinds[] = {"host", "router", "switch"};
    fprintf(out, "%s %s", kinds[node->kind], node->name);
    if (node->memory_bytes != 0)
        fprintf(out, " memory=%u", node->memory_bytes);
    if (node->sndbuf != 0)
        fprintf(out, " sndbuf=%u", node->sndbuf);
    if (node->rcvbuf != 0)
        fprintf(out, " rcvbuf=%u", node->rcvbuf);
    if (node->coalesce_us != 0)
        fprintf(out, " coalesce=%uus", node->coalesce_us);
    if (node->drift_ppm != 0)
        fprintf(out, " drift=%dppm", node->drift_ppm);
    if (node->congestion[0] != '\0')
        fprintf(out, " congestion=%s", node->congestion);
    if (node->no_sack)
        fputs(" sack=off", out);
    if (node->has_offload)
        fputs(" offload=on", out);
    if (node->has_ecn)
        fputs(" ecn=on", out);
    if (node->advertises)
        fputs(" advertise=on", out);
    fputc('\n', out);
}

static void put_link(FILE *out, const struct mir__topo *topo, const struct mir__topo_link *link)
{
    static const struct mir_sim_wire_config none[2];
    fprintf(out, "link %s %s name=%s", topo->nodes[link->end[0]].name,
            topo->nodes[link->end[1]].name, link->name);
    if (link->mtu != 0)
        fprintf(out, " mtu=%u", link->mtu);
    put_ways(out, none, link->way);
    fputc('\n', out);
}

static void put_job(FILE *out, const struct mir__topo *topo, const struct mir__topo_job *job)
{
    fprintf(out, "run %s %s", topo->nodes[job->node].name, mir__topo_roles[job->role]);
    if (job->to != MIR__TOPO_NONE)
        fprintf(out, " to=%s", topo->nodes[job->to].name);
    if (job->kind[0] != '\0')
        fprintf(out, " kind=%s", job->kind);
    if (job->port != 0)
        fprintf(out, " port=%u", job->port);
    if (job->bytes != 0)
        fprintf(out, " bytes=%llu", (ull)job->bytes);
    if (job->flows != 1)
        fprintf(out, " flows=%u", job->flows);
    if (job->count != 1)
        fprintf(out, " count=%u", job->count);
    if (job->chunk != 0)
        fprintf(out, " chunk=%u", job->chunk);
    if (job->rate != 0)
        fprintf(out, " rate=%u", job->rate);
    if (job->start_us != 0)
        fprintf(out, " start=%lluus", (ull)job->start_us);
    if (job->every_us != 0)
        fprintf(out, " every=%lluus", (ull)job->every_us);
    if (job->is_ip6)
        fputs(" ip=6", out);
    fputc('\n', out);
}

static void put_event(FILE *out, const struct mir__topo *topo, const struct mir__topo_event *event)
{
    bool is_link = event->change <= MIR__TOPO_WIRE;
    fprintf(out, "at %lluus %s %s", (ull)event->at_us, is_link ? "link" : "clock",
            is_link ? topo->links[event->target].name : topo->nodes[event->target].name);
    if (event->change == MIR__TOPO_DOWN)
        fputs(" down", out);
    else if (event->change == MIR__TOPO_UP)
        fputs(" up", out);
    else if (event->change == MIR__TOPO_JUMP)
        fprintf(out, " jump=%s%lluus", event->value < 0 ? "-" : "", (ull)llabs(event->value));
    else if (event->change == MIR__TOPO_DRIFT)
        fprintf(out, " drift=%dppm", (int)event->value);
    if (event->change == MIR__TOPO_WIRE) {
        if (event->mtu != 0)
            fprintf(out, " mtu=%u", event->mtu);
        put_ways(out, topo->links[event->target].way, event->way);
    }
    fputc('\n', out);
}

void mir__topo_emit(const struct mir__topo *topo, FILE *out)
{
    for (uint32_t i = 0; i < topo->node_count; i++)
        put_node(out, &topo->nodes[i]);
    for (uint32_t i = 0; i < topo->link_count; i++)
        put_link(out, topo, &topo->links[i]);
    for (uint32_t i = 0; i < topo->job_count; i++)
        put_job(out, topo, &topo->jobs[i]);
    for (uint32_t i = 0; i < topo->event_count; i++)
        put_event(out, topo, &topo->events[i]);
    if (topo->duration_us != 0)
        fprintf(out, "duration %lluus\n", (ull)topo->duration_us);
}

static int copy_items(const void *from, uint32_t count, size_t size, void **to, uint32_t *room)
{
    *room = MIR_MAX(count, 1u);
    *to = malloc(*room * size);
    if (*to == NULL)
        return -MIR_ENOMEM;
    if (count > 0)
        memcpy(*to, from, count * size);
    return 0;
}

int mir__topo_copy(const struct mir__topo *from, struct mir__topo *to)
{
    *to = *from;
    to->nodes = NULL;
    to->links = NULL;
    to->jobs = NULL;
    to->events = NULL;
    int r = copy_items(from->nodes, from->node_count, sizeof *to->nodes, (void **)&to->nodes,
                       &to->node_room);
    if (r == 0)
        r = copy_items(from->links, from->link_count, sizeof *to->links, (void **)&to->links,
                       &to->link_room);
    if (r == 0)
        r = copy_items(from->jobs, from->job_count, sizeof *to->jobs, (void **)&to->jobs,
                       &to->job_room);
    if (r == 0)
        r = copy_items(from->events, from->event_count, sizeof *to->events, (void **)&to->events,
                       &to->event_room);
    if (r < 0)
        mir__topo_free(to);
    return r;
}
