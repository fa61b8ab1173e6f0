/* SPDX-License-Identifier: ISC */
/* A trace of every TCP connection of the world: what congestion control did, and when.
 *
 * After each step of a node its connections are looked at, and one whose window, threshold, round
 * trip or flight has changed gets a line (comma-separated values, with a heading):
 *
 *   time_s,node,connection,cwnd,ssthresh,srtt_us,flight,snd_wnd,retransmits
 *   1.020113,client,10.0.0.1:49152-10.0.0.2:80,14480,,20113,14480,65535,0
 *
 * Sizes are in bytes; ssthresh is empty before the first congestion. Time is the simulator's, not
 * that of the node's clock. tools/plot-tcp draws it.
 *
 * Only connections are looked at, nothing is changed: a traced run has the same hash as one that is
 * not. The first CONNECTIONS_MAX connections are traced, later ones are counted in the last line.
 */
#include "target/sim/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/net/tcp/internal.h"

#define CONNECTIONS_MAX 1024

struct traced {
    uint32_t hash;
    uint32_t iss;
    uint32_t node;
    uint32_t cwnd, ssthresh, srtt_us, flight;
};

struct mir__sim_trace {
    FILE *file;
    uint32_t count;
    uint64_t untraced; /* looks at connections beyond the limit */
    struct traced traced[CONNECTIONS_MAX];
};

int mir_sim_trace_tcp(struct mir_sim *sim, const char *path)
{
    if (sim->trace != NULL)
        return -MIR_EBUSY;
    struct mir__sim_trace *trace = calloc(1, sizeof *trace);
    if (trace == NULL)
        return -MIR_ENOMEM;
    trace->file = fopen(path, "w");
    if (trace->file == NULL) {
        free(trace);
        return -MIR_EIO;
    }
    fputs("time_s,node,connection,cwnd,ssthresh,srtt_us,flight,snd_wnd,retransmits\n", trace->file);
    sim->trace = trace;
    return 0;
}

/* NULL: there are too many. The latest are most likely asked for, so the search goes backwards. */
static struct traced *find(struct mir__sim_trace *trace, uint32_t node,
                           const struct mir__tcp_pcb *pcb)
{
    for (uint32_t i = trace->count; i-- > 0;) {
        struct traced *t = &trace->traced[i];
        if (t->hash == pcb->node.hash && t->iss == pcb->iss && t->node == node)
            return t;
    }
    if (trace->count == CONNECTIONS_MAX)
        return NULL;
    struct traced *t = &trace->traced[trace->count++];
    *t = (struct traced){.hash = pcb->node.hash, .iss = pcb->iss, .node = node};
    return t;
}

static void write_line(struct mir__sim_trace *trace, const struct mir_sim_node *node,
                       const struct mir__tcp_pcb *pcb)
{
    struct mir_endpoint local = {pcb->node.local, pcb->node.local_port};
    struct mir_endpoint remote = {pcb->node.remote, pcb->node.remote_port};
    char local_text[MIR_ENDPOINT_TEXT_MAX], remote_text[MIR_ENDPOINT_TEXT_MAX];
    char ssthresh[16] = "";
    mir_time_us now_us = mir_sim_now(node->sim);
    if (pcb->ssthresh < MIR__TCP_CWND_MAX)
        snprintf(ssthresh, sizeof ssthresh, "%u", pcb->ssthresh);
    fprintf(trace->file, "%llu.%06llu,%s,%s-%s,%u,%s,%u,%u,%u,%u\n",
            (unsigned long long)(now_us / MIR_US_PER_S),
            (unsigned long long)(now_us % MIR_US_PER_S), node->name,
            mir_endpoint_text(&local, local_text), mir_endpoint_text(&remote, remote_text),
            pcb->cwnd, ssthresh, pcb->srtt_us, flight_of(pcb), pcb->snd_wnd, pcb->retransmits);
}

void mir__sim_trace_node(struct mir__sim_trace *trace, const struct mir_sim_node *node)
{
    if (node->net == NULL)
        return;
    const struct mir__tcp_state *host = mir__net_tcp(node->net);
    mir_list_for_each (link, &host->all) {
        const struct mir__tcp_pcb *pcb = MIR_CONTAINER_OF(link, struct mir__tcp_pcb, all);
        if (!is_synchronized(pcb))
            continue;
        struct traced *t = find(trace, node->index, pcb);
        if (t == NULL) {
            trace->untraced++;
            continue;
        }
        uint32_t flight = flight_of(pcb);
        if (t->cwnd == pcb->cwnd && t->ssthresh == pcb->ssthresh && t->srtt_us == pcb->srtt_us &&
            t->flight == flight)
            continue;
        t->cwnd = pcb->cwnd;
        t->ssthresh = pcb->ssthresh;
        t->srtt_us = pcb->srtt_us;
        t->flight = flight;
        write_line(trace, node, pcb);
    }
}

int mir__sim_trace_close(struct mir__sim_trace *trace)
{
    if (trace->untraced > 0)
        fprintf(stderr, "sim: only the first %d connections were traced\n", CONNECTIONS_MAX);
    bool is_bad = ferror(trace->file) != 0;
    is_bad |= fclose(trace->file) != 0;
    free(trace);
    return is_bad ? -MIR_EIO : 0;
}
