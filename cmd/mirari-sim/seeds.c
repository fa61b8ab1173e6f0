/* SPDX-License-Identifier: ISC */
/* mirari-sim seeds: many drawn networks, in some processes at once.
 *
 * Each worker takes every n-th seed and stops at the first that fails; the lowest of these is
 * shrunk. So the result of a range of seeds does not depend on which worker was faster.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/mirari-sim/sim.h"

#define JOBS_MAX 64u

struct request {
    uint64_t seed, count;
    uint32_t jobs;
    const char *out, *plant;
    bool is_show;
};

/* What a worker tells in the end. */
struct tally {
    uint64_t failed_seed; /* UINT64_MAX: none */
    uint64_t runs, flows, done, failed, resets, bytes, events, watched, virtual_us;
    struct sim_verdict verdict;
};

static void read_request(int argc, char **argv, struct request *request)
{
    static const char *const names[] = {"--seed", "--count", "--jobs",
                                        "--out",  "--show",  "--plant"};
    uint64_t jobs = 2;
    *request = (struct request){.seed = 1, .count = 100, .out = "failing.topo"};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0)
            request->seed = sim_number(argc, argv, &i);
        else if (strcmp(argv[i], "--count") == 0)
            request->count = sim_number(argc, argv, &i);
        else if (strcmp(argv[i], "--jobs") == 0)
            jobs = sim_number(argc, argv, &i);
        else if (strcmp(argv[i], "--out") == 0)
            request->out = sim_value(argc, argv, &i);
        else if (strcmp(argv[i], "--plant") == 0)
            request->plant = sim_value(argc, argv, &i);
        else if (strcmp(argv[i], "--show") == 0)
            request->is_show = true;
        else
            (void)sim_refuse_option(argv[i], names, MIR_ARRAY_LEN(names));
    }
    request->jobs = (uint32_t)MIR_MIN(MIR_MAX(jobs, 1ull), (uint64_t)JOBS_MAX);
}

static void draw(uint64_t seed, struct mir__topo *topo)
{
    if (sim_draw(seed, topo) < 0)
        (void)sim_refuse("no memory");
}

static void work(const struct request *request, uint32_t number, struct tally *tally)
{
    struct sim_verdict verdict;
    struct mir__topo topo;
    tally->failed_seed = UINT64_MAX;
    for (uint64_t i = number; i < request->count; i += request->jobs) {
        draw(request->seed + i, &topo);
        sim_try(&topo, request->seed + i, request->plant, &verdict);
        mir__topo_free(&topo);
        tally->runs++;
        tally->flows += verdict.result.started;
        tally->done += verdict.result.done;
        tally->failed += verdict.result.failed;
        tally->resets += verdict.result.resets;
        tally->bytes += verdict.result.bytes;
        tally->events += verdict.result.events;
        tally->watched += verdict.result.watched;
        tally->virtual_us += verdict.result.took_us;
        if (verdict.kind[0] != '\0') {
            tally->failed_seed = request->seed + i;
            tally->verdict = verdict;
            return;
        }
    }
}

/* All workers; *lowest is the failed one with the lowest seed, or one that did not fail. */
static void work_all(const struct request *request, struct tally *total, struct tally *lowest)
{
    int ends[JOBS_MAX];
    fflush(NULL);
    for (uint32_t i = 0; i < request->jobs; i++) {
        int pair[2];
        if (pipe(pair) < 0)
            (void)sim_refuse("no pipe");
        pid_t child = fork();
        if (child < 0)
            (void)sim_refuse("no process");
        if (child == 0) {
            struct tally tally = {0};
            work(request, i, &tally);
            _exit(write(pair[1], &tally, sizeof tally) == (ssize_t)sizeof tally ? 0 : 1);
        }
        close(pair[1]);
        ends[i] = pair[0];
    }
    lowest->failed_seed = UINT64_MAX;
    for (uint32_t i = 0; i < request->jobs; i++) {
        struct tally tally;
        if (read(ends[i], &tally, sizeof tally) != (ssize_t)sizeof tally)
            (void)sim_refuse("a worker ended early");
        close(ends[i]);
        total->runs += tally.runs;
        total->flows += tally.flows;
        total->done += tally.done;
        total->failed += tally.failed;
        total->resets += tally.resets;
        total->bytes += tally.bytes;
        total->events += tally.events;
        total->watched += tally.watched;
        total->virtual_us += tally.virtual_us;
        if (tally.failed_seed < lowest->failed_seed)
            *lowest = tally;
    }
    while (wait(NULL) > 0)
        continue;
}

static int shrink(const struct request *request, struct tally *failed)
{
    struct mir__topo topo;
    uint64_t seed = failed->failed_seed;
    printf("seed %llu fails: %s\n", (unsigned long long)seed, failed->verdict.kind);
    if (failed->verdict.text[0] != '\0')
        printf("  %s\n", failed->verdict.text);
    fflush(stdout);
    draw(seed, &topo);
    uint32_t runs = sim_shrink(&topo, &seed, request->plant, &failed->verdict);
    FILE *out = fopen(request->out, "w");
    if (out == NULL)
        return sim_refuse("--out: the file cannot be written");
    fprintf(out, "# %s\n# seed %llu\n", failed->verdict.kind, (unsigned long long)seed);
    mir__topo_emit(&topo, out);
    fclose(out);
    printf("the smallest network found that fails like this, after %u runs:\n\n", runs);
    mir__topo_emit(&topo, stdout);
    printf("\nreplay: mirari-sim run --seed %llu%s%s %s\n", (unsigned long long)seed,
           request->plant != NULL ? " --plant " : "", request->plant != NULL ? request->plant : "",
           request->out);
    mir__topo_free(&topo);
    return 1;
}

int sim_seeds(int argc, char **argv)
{
    struct request request;
    struct tally total = {0}, failed = {0};
    struct mir__topo topo;
    read_request(argc, argv, &request);
    if (request.is_show) {
        draw(request.seed, &topo);
        mir__topo_emit(&topo, stdout);
        mir__topo_free(&topo);
        return 0;
    }
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    work_all(&request, &total, &failed);
    clock_gettime(CLOCK_MONOTONIC, &after);
    printf(
        "%llu networks from seed %llu: %llu flows, %llu done, %llu given up (%llu of them reset)\n"
        "%llu MiB, %llu events, %llu frames checked, %llu virtual s\n",
        (unsigned long long)total.runs, (unsigned long long)request.seed,
        (unsigned long long)total.flows, (unsigned long long)total.done,
        (unsigned long long)total.failed, (unsigned long long)total.resets,
        (unsigned long long)(total.bytes >> 20), (unsigned long long)total.events,
        (unsigned long long)total.watched, (unsigned long long)(total.virtual_us / 1000000));
    fprintf(stderr, "%.1f s\n",
            (double)(after.tv_sec - before.tv_sec) +
                (double)(after.tv_nsec - before.tv_nsec) / 1e9);
    return failed.failed_seed == UINT64_MAX ? 0 : shrink(&request, &failed);
}
