/* SPDX-License-Identifier: ISC */
/* A failing network is made small.
 *
 * Each step takes something away: a server with its clients, a job, an event, a host with its link,
 * a router or switch with two links (which become one), a fault of a link, a setting of a host; or
 * makes a number smaller. What is left is run, with the seed and two others, since fewer frames are
 * other dice; if it fails in the same way the step is kept. This goes on until no step helps, or
 * RUNS_MAX runs are spent.
 *
 * A try runs in a process of its own: an assertion that fails, a crash and an endless loop are ways
 * to fail like any other. The way is named by a few words; where a number or a name is in them they
 * are cut off, so that it is the same way after things were renamed or have become smaller.
 */
#include <mirari/platform.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari-sim/sim.h"

#define RUNS_MAX    1500u
#define SECONDS_MAX 30u
#define SEEDS       3u

/* ---- one try ------------------------------------------------------------------------------------
 */

static void judge(struct sim_verdict *verdict)
{
    const struct mir__world_result *result = &verdict->result;
    const char *kind = "";
    verdict->kind[0] = '\0';
    if (result->violations > 0) {
        snprintf(verdict->kind, sizeof verdict->kind, "violation: %.80s", result->first);
        return;
    }
    if (result->wrong > 0)
        kind = "wrong data";
    else if (result->hung > 0)
        kind = "a flow that never ends";
    else if (result->left_bytes > 0)
        kind = "pages left behind";
    else if (result->not_idle > 0)
        kind = "not at rest in the end";
    else if (result->first[0] != '\0')
        kind = "failure";
    snprintf(verdict->kind, sizeof verdict->kind, "%s", kind);
}

static void run_child(const struct mir__topo *topo, uint64_t seed, const char *plant,
                      struct sim_verdict *verdict)
{
    struct mir__world world;
    char error[MIR__TOPO_ERROR_MAX];
    if (mir__world_build(topo, &(struct mir_sim_config){.seed = seed}, &world, error) < 0) {
        snprintf(verdict->kind, sizeof verdict->kind, "cannot be built");
        snprintf(verdict->text, sizeof verdict->text, "%.190s", error);
        return;
    }
    if (plant != NULL && !mir__world_plant(&world, plant))
        (void)sim_refuse("--plant: ack, data, leak or crash");
    mir__world_run(&world, 0);
    mir__world_close(&world);
    verdict->result = world.result;
    snprintf(verdict->text, sizeof verdict->text, "%.190s", world.result.first);
    judge(verdict);
}

/* The verdict of a process that did not live to tell. */
static void read_death(int status, int errors, struct sim_verdict *verdict)
{
    char line[1000];
    ssize_t len = read(errors, line, sizeof line - 1);
    line[len > 0 ? len : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    snprintf(verdict->text, sizeof verdict->text, "%.190s", line);
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGALRM || WTERMSIG(status) == SIGKILL))
        snprintf(verdict->kind, sizeof verdict->kind, "endless: %u s and not done", SECONDS_MAX);
    else if (WIFSIGNALED(status))
        snprintf(verdict->kind, sizeof verdict->kind, "crash: signal %d", WTERMSIG(status));
    else
        snprintf(verdict->kind, sizeof verdict->kind, "abort: %.80s", line);
}

void sim_try(const struct mir__topo *topo, uint64_t seed, const char *plant,
             struct sim_verdict *verdict)
{
    int answer[2], errors[2];
    memset(verdict, 0, sizeof *verdict);
    fflush(NULL);
    if (pipe(answer) < 0 || pipe(errors) < 0)
        (void)sim_refuse("no pipe");
    pid_t child = fork();
    if (child < 0)
        (void)sim_refuse("no process");
    if (child == 0) {
        close(answer[0]);
        close(errors[0]);
        dup2(errors[1], STDERR_FILENO);
        alarm(SECONDS_MAX);
        run_child(topo, seed, plant, verdict);
        ssize_t written = write(answer[1], verdict, sizeof *verdict);
        _exit(written == (ssize_t)sizeof *verdict ? 0 : 1);
    }
    close(answer[1]);
    close(errors[1]);
    int status;
    ssize_t got = read(answer[0], verdict, sizeof *verdict);
    while (waitpid(child, &status, 0) < 0)
        continue;
    if (got != (ssize_t)sizeof *verdict)
        read_death(status, errors[0], verdict);
    close(answer[0]);
    close(errors[0]);
}

/* ---- steps --------------------------------------------------------------------------------------
 */

static void drop_job(struct mir__topo *topo, uint32_t at)
{
    memmove(&topo->jobs[at], &topo->jobs[at + 1], (--topo->job_count - at) * sizeof topo->jobs[0]);
}

static void drop_event(struct mir__topo *topo, uint32_t at)
{
    memmove(&topo->events[at], &topo->events[at + 1],
            (--topo->event_count - at) * sizeof topo->events[0]);
}

static void drop_link(struct mir__topo *topo, uint32_t at)
{
    for (uint32_t i = topo->event_count; i-- > 0;) {
        struct mir__topo_event *event = &topo->events[i];
        if (event->change > MIR__TOPO_WIRE || event->target < at)
            continue;
        if (event->target == at)
            drop_event(topo, i);
        else
            event->target--;
    }
    memmove(&topo->links[at], &topo->links[at + 1],
            (--topo->link_count - at) * sizeof topo->links[0]);
}

static void drop_node(struct mir__topo *topo, uint32_t at)
{
    for (uint32_t i = topo->link_count; i-- > 0;) {
        if (topo->links[i].end[0] == at || topo->links[i].end[1] == at)
            drop_link(topo, i);
    }
    for (uint32_t i = topo->event_count; i-- > 0;) {
        struct mir__topo_event *event = &topo->events[i];
        if (event->change > MIR__TOPO_WIRE && event->target == at)
            drop_event(topo, i);
        else if (event->change > MIR__TOPO_WIRE && event->target > at)
            event->target--;
    }
    for (uint32_t i = topo->job_count; i-- > 0;) {
        struct mir__topo_job *job = &topo->jobs[i];
        if (job->node == at || job->to == at) {
            drop_job(topo, i);
            continue;
        }
        job->node -= job->node > at;
        job->to -= job->to != MIR__TOPO_NONE && job->to > at;
    }
    for (uint32_t i = 0; i < topo->link_count; i++) {
        for (int k = 0; k < 2; k++)
            topo->links[i].end[k] -= topo->links[i].end[k] > at;
    }
    memmove(&topo->nodes[at], &topo->nodes[at + 1],
            (--topo->node_count - at) * sizeof topo->nodes[0]);
}

static bool has_job(const struct mir__topo *topo, uint32_t node)
{
    for (uint32_t i = 0; i < topo->job_count; i++) {
        if (topo->jobs[i].node == node || topo->jobs[i].to == node)
            return true;
    }
    return false;
}

/* Hosts without a job go; a router or switch with one link goes, with two they become one. */
static bool drop_or_bridge(struct mir__topo *topo, uint32_t at)
{
    uint32_t links[2], count = 0;
    for (uint32_t i = 0; i < topo->link_count; i++) {
        if (topo->links[i].end[0] != at && topo->links[i].end[1] != at)
            continue;
        if (count < 2)
            links[count] = i;
        count++;
    }
    bool is_host = topo->nodes[at].kind == MIR__TOPO_HOST;
    if (is_host ? has_job(topo, at) : count > 2)
        return false;
    if (!is_host && count == 2) {
        struct mir__topo_link *kept = &topo->links[links[0]];
        const struct mir__topo_link *other = &topo->links[links[1]];
        uint32_t far = other->end[other->end[0] == at];
        if (kept->end[kept->end[0] == at] == far)
            return false;
        kept->end[kept->end[1] == at] = far;
        drop_link(topo, links[1]);
    }
    drop_node(topo, at);
    return true;
}

/* Number @which of what a link has that can be less; false: there are not so many, *is_done; or it
 * is at its least already. */
static bool ease_link(struct mir__topo_link *link, uint32_t which, bool *is_done)
{
    struct mir__topo_link before = *link;
    struct mir_sim_wire_config *way = link->way;
    *is_done = false;
    switch (which) {
    case 0:
        way[1] = way[0];
        break;
    case 1:
        way[0] = way[1] =
            (struct mir_sim_wire_config){.rate_bps = way[0].rate_bps, .delay_us = way[0].delay_us};
        break;
    case 2:
        way[0] = (struct mir_sim_wire_config){.rate_bps = 10000000, .delay_us = 10000};
        break;
    case 3:
        way[1] = (struct mir_sim_wire_config){.rate_bps = 10000000, .delay_us = 10000};
        break;
    case 4:
        link->mtu = 0;
        break;
#define EASE(number, action)                                                                       \
    case number:                                                                                   \
    case number + 1: {                                                                             \
        struct mir_sim_wire_config *w = &way[which - (number)];                                    \
        action;                                                                                    \
        break;                                                                                     \
    }
        EASE(5, w->loss_ppm = 0)
        EASE(7, w->corrupt_ppm = 0)
        EASE(9, w->duplicate_ppm = 0)
        EASE(11, w->reorder_ppm = w->reorder_us = 0)
        EASE(13, w->burst_enter_ppm = w->burst_leave_ppm = w->burst_loss_ppm = 0)
        EASE(15, w->loss_every = 0)
        EASE(17, w->jitter_us = 0)
        EASE(19, w->queue_bytes = 0)
        EASE(21, w->red_min_bytes = w->red_max_bytes = 0)
        EASE(23, w->codel_target_us = w->fq_target_us = w->codel_interval_us = 0)
        EASE(25, w->ecn = 0)
        EASE(27, w->rate_bps = 10000000)
        EASE(29, w->delay_us = 10000)
        EASE(31, w->mtu = 0)
#undef EASE
    default:
        *is_done = true;
    }
    return memcmp(&before, link, sizeof before) != 0;
}

static bool ease_node(struct mir__topo_node *node, uint32_t which, bool *is_done)
{
    struct mir__topo_node before = *node;
    *is_done = false;
    switch (which) {
    case 0:
        node->sndbuf = node->rcvbuf = node->coalesce_us = 0;
        node->drift_ppm = 0;
        node->no_sack = node->has_offload = node->has_ecn = false;
        memset(node->congestion, 0, sizeof node->congestion);
        break;
    case 1:
        node->sndbuf = 0;
        break;
    case 2:
        node->rcvbuf = 0;
        break;
    case 3:
        node->coalesce_us = 0;
        break;
    case 4:
        node->drift_ppm = 0;
        break;
    case 5:
        node->no_sack = false;
        break;
    case 6:
        node->has_offload = false;
        break;
    case 7:
        node->has_ecn = false;
        break;
    case 8:
        memset(node->congestion, 0, sizeof node->congestion);
        break;
    default:
        *is_done = true;
    }
    return memcmp(&before, node, sizeof before) != 0;
}

static bool ease_job(struct mir__topo_job *job, uint32_t which, bool *is_done)
{
    struct mir__topo_job before = *job;
    *is_done = false;
    switch (which) {
    case 0:
        job->flows = 1;
        break;
    case 1:
        job->flows = MIR_MAX(job->flows / 2, 1u);
        break;
    case 2:
        job->count = 1;
        break;
    case 3:
        job->count = MIR_MAX(job->count / 2, 1u);
        break;
    case 4:
        job->bytes = job->bytes > 1 ? job->bytes / 2 : job->bytes;
        break;
    case 5:
        job->bytes -= job->bytes / 8;
        break;
    case 6:
        job->start_us = 0;
        break;
    case 7:
        job->every_us = 0;
        break;
    case 8:
        job->chunk = 0;
        break;
    case 9:
        job->rate = 0;
        break;
    default:
        *is_done = true;
    }
    return memcmp(&before, job, sizeof before) != 0;
}

/* ---- the search ---------------------------------------------------------------------------------
 */

struct search {
    struct mir__topo *topo;
    uint64_t *seed;
    const char *plant;
    struct sim_verdict *verdict;
    uint32_t runs;
    bool has_gained;
};

/* Is it the same way to fail? */
static bool is_kind(const char *a, const char *b)
{
    size_t len = strcspn(a, "0123456789");
    return a[0] != '\0' && (strcmp(a, b) == 0 || (len > 8 && strncmp(a, b, len) == 0));
}

/* Takes @smaller if it still fails, else frees it. True if taken. */
static bool consider(struct search *search, struct mir__topo *smaller)
{
    struct sim_verdict verdict;
    for (uint32_t i = 0; i < SEEDS && search->runs < RUNS_MAX; i++) {
        search->runs++;
        sim_try(smaller, *search->seed + i, search->plant, &verdict);
        if (!is_kind(verdict.kind, search->verdict->kind))
            continue;
        mir__topo_free(search->topo);
        *search->topo = *smaller;
        *search->seed += i;
        *search->verdict = verdict;
        search->has_gained = true;
        return true;
    }
    mir__topo_free(smaller);
    return false;
}

/* A server with its clients: alone each of them would stay for the other's sake. */
static void drop_services(struct search *search)
{
    struct mir__topo copy;
    for (uint32_t i = search->topo->job_count; i-- > 0;) {
        if (i >= search->topo->job_count || mir__topo_copy(search->topo, &copy) < 0)
            continue;
        uint16_t port = copy.jobs[i].port;
        for (uint32_t k = copy.job_count; k-- > 0;) {
            if (copy.jobs[k].port == port)
                drop_job(&copy, k);
        }
        if (copy.job_count > 0)
            (void)consider(search, &copy);
        else
            mir__topo_free(&copy);
    }
}

static void drop_things(struct search *search)
{
    struct mir__topo copy;
    drop_services(search);
    for (uint32_t i = search->topo->job_count; i-- > 0;) {
        if (i >= search->topo->job_count || mir__topo_copy(search->topo, &copy) < 0)
            continue;
        drop_job(&copy, i);
        (void)consider(search, &copy);
    }
    for (uint32_t i = search->topo->event_count; i-- > 0;) {
        if (i >= search->topo->event_count || mir__topo_copy(search->topo, &copy) < 0)
            continue;
        drop_event(&copy, i);
        (void)consider(search, &copy);
    }
    for (uint32_t i = search->topo->node_count; i-- > 0;) {
        if (i >= search->topo->node_count || mir__topo_copy(search->topo, &copy) < 0)
            continue;
        if (drop_or_bridge(&copy, i))
            (void)consider(search, &copy);
        else
            mir__topo_free(&copy);
    }
}

enum thing { LINK, NODE, JOB };

static void ease_things(struct search *search, enum thing thing)
{
    struct mir__topo copy;
    const struct mir__topo *topo = search->topo;
    uint32_t count = thing == LINK   ? topo->link_count
                     : thing == NODE ? topo->node_count
                                     : topo->job_count;
    for (uint32_t i = 0; i < count; i++) {
        bool is_done = false;
        for (uint32_t which = 0; !is_done && search->runs < RUNS_MAX; which++) {
            if (mir__topo_copy(search->topo, &copy) < 0)
                return;
            bool is_less = thing == LINK   ? ease_link(&copy.links[i], which, &is_done)
                           : thing == NODE ? ease_node(&copy.nodes[i], which, &is_done)
                                           : ease_job(&copy.jobs[i], which, &is_done);
            if (is_less)
                (void)consider(search, &copy);
            else
                mir__topo_free(&copy);
        }
    }
}

uint32_t sim_shrink(struct mir__topo *topo, uint64_t *seed, const char *plant,
                    struct sim_verdict *verdict)
{
    struct search search = {.topo = topo, .seed = seed, .plant = plant, .verdict = verdict};
    do {
        search.has_gained = false;
        drop_things(&search);
        ease_things(&search, LINK);
        ease_things(&search, NODE);
        ease_things(&search, JOB);
    } while (search.has_gained && search.runs < RUNS_MAX);
    return search.runs;
}
