/* SPDX-License-Identifier: ISC */
/* mirari-sim run, plan and check. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/mirari-sim/sim.h"
#include "target/sim/watch.h"

#define PCAPS_MAX 16

struct request {
    const char *file;
    uint64_t seed, limit_s;
    const char *pcap[PCAPS_MAX];
    uint32_t pcap_count;
    const char *trace, *plant;
    bool is_quiet, is_unwatched;
};

static void read_request(int argc, char **argv, struct request *request)
{
    static const char *const names[] = {"--seed",  "--pcap",      "--trace-tcp", "--limit",
                                        "--quiet", "--unwatched", "--plant"};
    request->seed = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0)
            request->seed = sim_number(argc, argv, &i);
        else if (strcmp(argv[i], "--limit") == 0)
            request->limit_s = sim_number(argc, argv, &i);
        else if (strcmp(argv[i], "--trace-tcp") == 0)
            request->trace = sim_value(argc, argv, &i);
        else if (strcmp(argv[i], "--plant") == 0)
            request->plant = sim_value(argc, argv, &i);
        else if (strcmp(argv[i], "--quiet") == 0)
            request->is_quiet = true;
        else if (strcmp(argv[i], "--unwatched") == 0)
            request->is_unwatched = true;
        else if (strcmp(argv[i], "--pcap") == 0 && request->pcap_count < PCAPS_MAX)
            request->pcap[request->pcap_count++] = sim_value(argc, argv, &i);
        else if (argv[i][0] == '-')
            (void)sim_refuse_option(argv[i], names, MIR_ARRAY_LEN(names));
        else if (request->file != NULL)
            (void)sim_refuse("one file at a time");
        else
            request->file = argv[i];
    }
    if (request->file == NULL)
        (void)sim_refuse("which file?");
}

static void load(const char *file, struct mir__topo *topo)
{
    char error[MIR__TOPO_ERROR_MAX];
    if (mir__topo_load(file, topo, error) < 0)
        (void)sim_refuse(error);
}

static void open_pcap(struct mir__world *world, const char *text)
{
    char error[160];
    int r = mir__world_pcap(world, text);
    if (r == 0)
        return;
    snprintf(error, sizeof error,
             r == -MIR_ENOENT ? "--pcap: \"%.80s\" is not LINK=FILE of a link there is"
                              : "--pcap: %.80s cannot be written",
             text);
    (void)sim_refuse(error);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void report(const struct request *request, const struct mir__world_result *result,
                   double took_s)
{
    printf("flows: %u started, %u done, %u failed, %u hung; %llu bytes arrived\n", result->started,
           result->done, result->failed, result->hung, (unsigned long long)result->bytes);
    printf("run %016llx: seed %llu, %llu.%06llu virtual s, %llu events, %llu frames, %llu segments "
           "checked, %llu violations\n",
           (unsigned long long)result->hash, (unsigned long long)request->seed,
           (unsigned long long)(result->took_us / 1000000),
           (unsigned long long)(result->took_us % 1000000), (unsigned long long)result->events,
           (unsigned long long)result->frames, (unsigned long long)result->watched,
           (unsigned long long)result->violations);
    if (result->first[0] != '\0')
        printf("FAILED: %s\n", result->first);
    fprintf(stderr, "%.2f s, %.0f events a second\n", took_s,
            (double)result->events / (took_s > 0 ? took_s : 1));
}

int sim_run(int argc, char **argv)
{
    struct request request = {0};
    struct mir__world world;
    struct mir__topo topo;
    char error[MIR__TOPO_ERROR_MAX];
    read_request(argc, argv, &request);
    load(request.file, &topo);
    double began_s = seconds_now();
    struct mir_sim_config config = {.seed = request.seed, .is_unwatched = request.is_unwatched};
    if (mir__world_build(&topo, &config, &world, error) < 0)
        (void)sim_refuse(error);
    if (request.plant != NULL && !mir__world_plant(&world, request.plant))
        (void)sim_refuse("--plant: ack, data, leak or crash");
    for (uint32_t i = 0; i < request.pcap_count; i++)
        open_pcap(&world, request.pcap[i]);
    if (request.trace != NULL && mir_sim_trace_tcp(world.sim, request.trace) < 0)
        (void)sim_refuse("--trace-tcp: the file cannot be written");
    mir__world_run(&world, request.limit_s * MIR_US_PER_S);
    for (uint32_t i = 0; i < topo.job_count && !request.is_quiet; i++) {
        if (world.jobs[i] != NULL)
            mir__job_report(world.jobs[i], stdout);
    }
    mir__world_close(&world);
    report(&request, &world.result, seconds_now() - began_s);
    mir__topo_free(&topo);
    return world.result.first[0] != '\0';
}

int sim_plan(int argc, char **argv)
{
    struct request request = {0};
    struct mir__world world;
    struct mir__topo topo;
    char error[MIR__TOPO_ERROR_MAX];
    read_request(argc, argv, &request);
    load(request.file, &topo);
    if (mir__world_build(&topo, &(struct mir_sim_config){.seed = 1}, &world, error) < 0)
        (void)sim_refuse(error);
    mir__world_describe(&world, stdout);
    mir__world_close(&world);
    mir__topo_free(&topo);
    return 0;
}

/* ---- captures -----------------------------------------------------------------------------------
 */

static void on_rule(void *arg, const char *rule, const char *text)
{
    (void)arg;
    (void)rule;
    fputs(text, stdout);
}

static uint32_t word(const uint8_t *at, bool is_swapped)
{
    uint32_t value;
    memcpy(&value, at, 4);
    return is_swapped ? __builtin_bswap32(value) : value;
}

/* Both directions are judged as from the middle: what is lost behind the capture nobody can know.
 */
static void check_packet(struct mir__watch *watch, const uint8_t *data, uint32_t len,
                         uint32_t whole, mir_time_us now_us)
{
    struct mir__watch_frame frame = {
        .where = "capture",
        .now_us = now_us,
        .data = data,
        .len = len,
        .is_checked = true,
        /* A host's own capture sees its segments before a card has filled in their sums. */
        .is_sum_known = true,
        .gso_size = len > 1514 ? 1 : 0,
    };
    if (len == whole)
        mir__watch_see(watch, &frame);
}

/* Blocks of pcapng: section, interface, enhanced packet. Returns false if it is not that. */
static bool check_blocks(struct mir__watch *watch, FILE *file)
{
    static uint8_t block[1 << 18];
    bool is_swapped = false;
    uint32_t link_type = 1;
    while (fread(block, 1, 12, file) == 12) {
        if (word(block, false) == 0x0a0d0d0a)
            is_swapped = word(block + 8, false) != 0x1a2b3c4d;
        uint32_t type = word(block, is_swapped), len = word(block + 4, is_swapped);
        if (len < 12 || len > sizeof block || len % 4 != 0 ||
            fread(block + 12, 1, len - 12, file) != len - 12)
            return false;
        if (type == 1 && len >= 16)
            link_type = word(block + 8, is_swapped) & 0xffff;
        if (type != 6 || len < 32 || link_type != 1)
            continue;
        uint32_t captured = word(block + 20, is_swapped);
        uint64_t now_us =
            (uint64_t)word(block + 12, is_swapped) << 32 | word(block + 16, is_swapped);
        if (captured <= len - 32)
            check_packet(watch, block + 28, captured, word(block + 24, is_swapped), now_us);
    }
    return feof(file) != 0;
}

int sim_check(int argc, char **argv)
{
    struct mir__watch_stats stats;
    struct mir__watch *watch;
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    uint8_t magic[4] = {0};
    if (file == NULL || mir__watch_open(on_rule, NULL, &watch) < 0)
        return sim_refuse("check needs a capture that can be read");
    bool is_pcapng = fread(magic, 1, 4, file) == 4 && word(magic, false) == 0x0a0d0d0a;
    rewind(file);
    if (!is_pcapng || !check_blocks(watch, file))
        return sim_refuse("not a whole pcapng file (editcap -F pcapng makes one of others)");
    fclose(file);
    mir__watch_get_stats(watch, &stats);
    printf("%llu segments, %llu connections from their start, %llu rules broken\n",
           (unsigned long long)stats.segments, (unsigned long long)stats.opened,
           (unsigned long long)stats.broken);
    mir__watch_close(watch);
    return stats.broken > 0;
}
