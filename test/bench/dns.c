/* SPDX-License-Identifier: ISC */
/* Cost of the resolver alone: answers from the cache, and questions that are written, sent to a
 * server in the same process, checked, kept and delivered. The stack is a test double: no frames.
 * Prints "name value unit".
 *
 *   dns [SECONDS]     per figure, default 0.5
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mirari/platform.h>
#include <mirari/rng.h>

#include "lib/wire/dns.h"

#define ARENA_BYTES ((size_t)16 << 20)
#define NAMES       64u

void mir_platform_abort(const char *text)
{
    fprintf(stderr, "%s\n", text);
    abort();
}

static struct mir_page_pool pages;
static struct mir_buf_pool bufs;
static struct mir_loop loop;
static struct mir_rng rng;
static struct mir_dns *dns;
static uint64_t answered;

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "dns: %s\n", what);
    exit(1);
}

/* ---- the stack, which is the server -------------------------------------------------------------
 */

struct fake {
    struct mir_udp udp; /* first */
    struct mir_work work;
    struct mir_endpoint to;
    uint8_t query[512];
    uint32_t len;
    bool is_used;
};

static struct fake sockets[128];

static uint32_t write_answer(const struct fake *s, uint8_t *out, uint32_t size)
{
    struct mir__dns_reader reader;
    struct mir__dns_question question;
    struct mir__dns_writer w;
    struct mir_dns_rdata a = {.type = MIR_DNS_A, .ip = mir_ip_from_v4(0x0a000001)};
    must(mir__dns_read(&reader, s->query, s->len) == 0, "query");
    must(mir__dns_read_question(&reader, &question) == 0, "question");
    mir__dns_write(&w, out, size, reader.id, MIR__DNS_QR | MIR__DNS_RD | MIR__DNS_RA);
    must(mir__dns_write_question(&w, &question.name, question.type, 1) == 0, "answer");
    for (int i = 0; i < 2; i++)
        must(mir__dns_write_record(&w, MIR__DNS_ANSWER, &question.name, 1, 60, &a) == 0, "answer");
    return mir__dns_write_end(&w);
}

static void answer(void *arg)
{
    struct fake *s = arg;
    struct mir_udp_meta meta = {.from = s->to};
    struct mir_buf *buf = mir_buf_alloc(&bufs, 0);
    must(buf != NULL, "buffers");
    uint8_t out[256];
    uint32_t len = write_answer(s, out, sizeof out);
    memcpy(mir_buf_append(buf, len), out, len);
    s->udp.handler(&s->udp, &meta, buf, s->udp.handler_arg);
}

static int fake_send(struct mir_udp *udp, const struct mir_endpoint *to, const void *data,
                     size_t len)
{
    struct fake *s = (struct fake *)(void *)udp;
    s->to = *to;
    s->len = (uint32_t)len;
    memcpy(s->query, data, len);
    mir_loop_post(&loop, &s->work);
    return 0;
}

static void fake_close(struct mir_udp *udp)
{
    struct fake *s = (struct fake *)(void *)udp;
    mir_work_cancel(&s->work);
    s->is_used = false;
}

static const struct mir_udp_ops udp_ops = {.send = fake_send, .close = fake_close};

static int fake_open(struct mir_stack *stack, const struct mir_udp_config *config,
                     struct mir_udp **udp)
{
    struct fake *s = sockets;
    while (s->is_used)
        s++;
    s->is_used = true;
    s->udp = (struct mir_udp){
        .ops = &udp_ops, .handler = config->handler, .handler_arg = config->arg, .stack = stack};
    mir_work_init(&s->work, answer, s);
    *udp = &s->udp;
    return 0;
}

static const struct mir_stack_ops stack_ops = {.kind = "bench", .udp_open = fake_open};
static struct mir_stack stack = {.ops = &stack_ops, .loop = &loop, .pages = &pages, .bufs = &bufs};

/* ---- measuring
 * ----------------------------------------------------------------------------------- */

static void on_answer(void *arg, int error, const struct mir_dns_answer *found)
{
    (void)arg;
    must(error == 0 && found->record_count == 2, "wrong answer");
    answered++;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void ask_all(char (*names)[32])
{
    mir_time_us next;
    for (uint32_t i = 0; i < NAMES; i++)
        must(mir_dns_resolve(dns, names[i], MIR_DNS_A, MIR_TIME_NEVER, on_answer, NULL, NULL) == 0,
             "resolve");
    for (uint64_t wanted = answered / NAMES * NAMES + NAMES; answered < wanted;)
        mir_loop_step(&loop, mir_loop_now(&loop) + 1, &next);
}

static void measure(const char *what, bool is_cached, double seconds, char (*names)[32])
{
    uint64_t before = answered;
    double began = now_s(), took;
    do {
        if (!is_cached)
            mir_dns_flush(dns);
        ask_all(names);
        took = now_s() - began;
    } while (took < seconds);
    printf("%s %.0f answers/s\n", what, (double)(answered - before) / took);
}

int main(int argc, char **argv)
{
    static char names[NAMES][32];
    double seconds = argc > 1 ? atof(argv[1]) : 0.5;
    void *arena = aligned_alloc(MIR_PAGE_SIZE, ARENA_BYTES);
    must(arena != NULL && mir_page_pool_init(&pages, arena, ARENA_BYTES) == 0, "pages");
    must(mir_buf_pool_init(&bufs, &pages, 1024) == 0, "buffers");
    mir_loop_init(&loop, MIR_US_PER_S);
    mir_rng_init_u64(&rng, 1);
    struct mir_dns_config config = {.stack = &stack,
                                    .rng = &rng,
                                    .servers = {{.ip = mir_ip_from_v4(0x0a000002)}},
                                    .server_count = 1};
    must(mir_dns_open(&config, &dns) == 0, "resolver");
    for (uint32_t i = 0; i < NAMES; i++)
        snprintf(names[i], sizeof names[i], "host%u.example.org", i);
    measure("dns_uncached", false, seconds, names);
    measure("dns_cached", true, seconds, names);
    mir_dns_close(dns);
    free(arena);
    return 0;
}
