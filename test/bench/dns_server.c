/* SPDX-License-Identifier: ISC */
/* Cost of the name server alone: a question as octets to its answer as octets. No stack, no frames.
 * Prints "name value unit".
 *
 *   dns_server [SECONDS]     per figure, default 0.5
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mirari/platform.h>

#include "lib/dns/auth.h"

#define ARENA_BYTES ((size_t)64 << 20)
#define NAMES       1000u
#define QUESTIONS   4096u

void mir_platform_abort(const char *text)
{
    fprintf(stderr, "%s\n", text);
    abort();
}

static struct mir_page_pool pages;
static struct mir_loop loop;
static struct mir_rng rng;
static struct mir_dns_server *server;
static struct mir_udp udp;
static struct mir_tcp_listener listener;
static struct {
    uint8_t msg[64];
    uint32_t len;
} questions[QUESTIONS];

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "dns_server: %s\n", what);
    exit(1);
}

/* ---- a stack without a network -------------------------------------------------------------- */

static void close_nothing(struct mir_udp *it)
{
    (void)it;
}

static void unlisten(struct mir_tcp_listener *it)
{
    (void)it;
}

static const struct mir_udp_ops udp_ops = {.close = close_nothing};

static int open_udp(struct mir_stack *stack, const struct mir_udp_config *config,
                    struct mir_udp **out)
{
    (void)config;
    udp = (struct mir_udp){.ops = &udp_ops, .stack = stack};
    *out = &udp;
    return 0;
}

static int listen_tcp(struct mir_stack *stack, const struct mir_tcp_listen_config *config,
                      struct mir_tcp_listener **out)
{
    (void)config;
    listener = (struct mir_tcp_listener){.stack = stack};
    *out = &listener;
    return 0;
}

static const struct mir_stack_ops stack_ops = {
    .kind = "bench", .udp_open = open_udp, .tcp_listen = listen_tcp, .tcp_unlisten = unlisten};
static struct mir_stack stack = {.ops = &stack_ops, .loop = &loop, .pages = &pages};

/* ---- measuring ------------------------------------------------------------------------------ */

static void make_zone(struct mir_dns_zone **zone)
{
    static char text[NAMES * 100];
    size_t at = (size_t)snprintf(text, sizeof text,
                                 "$TTL 60\n@ SOA ns a 1 2 3 4 5\n NS ns\n"
                                 "ns A 1.2.3.4\n*.w A 1.2.3.5\nsub NS ns.sub\n"
                                 "ns.sub A 1.2.3.6\nold DNAME new\n*.new A 1.1.1.1\n");
    for (uint32_t i = 0; i < NAMES; i++)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "h%04u A 10.0.%u.%u\nm%04u MX 1 h%04u\n", i, i >> 8, i & 255, i, i);
    const struct mir_dns_zone_config config = {
        .pages = &pages, .origin = "bench.example", .file = "zone", .text = text, .len = at};
    must(mir_dns_zone_open(&config, zone) == 0, "zone");
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void make_questions(const char *form, uint16_t type)
{
    for (uint32_t i = 0; i < QUESTIONS; i++) {
        struct mir__dns_writer w;
        struct mir_dns_name name;
        struct mir__dns_edns edns = {.udp_bytes = 1232};
        char text[64];
        int len = snprintf(text, sizeof text, form, mir_rng_below(&rng, NAMES));
        must(mir_dns_name_parse(text, (size_t)len, &name) == 0, "name");
        mir__dns_write(&w, questions[i].msg, sizeof questions[i].msg, (uint16_t)i, 0);
        must(mir__dns_write_question(&w, &name, type, MIR__DNS_IN) == 0, "question");
        must(mir__dns_write_edns(&w, &edns) == 0, "question");
        questions[i].len = mir__dns_write_end(&w);
    }
}

static void measure(const char *what, const char *form, uint16_t type, double seconds)
{
    static uint8_t out[65535];
    struct mir__auth_reply reply;
    uint64_t count = 0;
    double began = now_s(), took;
    make_questions(form, type);
    do {
        for (uint32_t i = 0; i < QUESTIONS; i++) {
            mir__auth_ask(server, questions[i].msg, questions[i].len, false, &reply);
            mir__auth_put(server, &reply, questions[i].msg, out);
        }
        count += QUESTIONS;
        took = now_s() - began;
    } while (took < seconds);
    printf("%s %.0f ns\n", what, took / (double)count * 1e9);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 0.5;
    struct mir_dns_zone *zone;
    void *arena = aligned_alloc(MIR_PAGE_SIZE, ARENA_BYTES);
    must(arena != NULL && mir_page_pool_init(&pages, arena, ARENA_BYTES) == 0, "pages");
    mir_loop_init(&loop, MIR_US_PER_S);
    mir_rng_init_u64(&rng, 1);
    make_zone(&zone);
    const struct mir_dns_server_config config = {
        .stack = &stack, .rng = &rng, .zones = &zone, .zone_count = 1};
    must(mir_dns_server_open(&config, &server) == 0, "server");
    measure("dns_server_address", "h%04u.bench.example", MIR_DNS_A, seconds);
    measure("dns_server_mail", "m%04u.bench.example", MIR_DNS_MX, seconds);
    measure("dns_server_no_data", "h%04u.bench.example", MIR_DNS_AAAA, seconds);
    measure("dns_server_no_name", "n%04u.bench.example", MIR_DNS_A, seconds);
    measure("dns_server_wildcard", "x%04u.w.bench.example", MIR_DNS_A, seconds);
    measure("dns_server_referral", "x%04u.sub.bench.example", MIR_DNS_A, seconds);
    measure("dns_server_renamed", "x%04u.old.bench.example", MIR_DNS_A, seconds);
    measure("dns_server_refused", "x%04u.example.net", MIR_DNS_A, seconds);
    mir_dns_server_close(server);
    mir_dns_zone_close(zone);
    free(arena);
    return 0;
}
