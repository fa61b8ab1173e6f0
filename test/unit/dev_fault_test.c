/* SPDX-License-Identifier: ISC */
/* Faults: the specification's language, and what happens to frames over a pipe. */
#include <stdlib.h>
#include <string.h>

#include "dev/net/fault/fault.h"
#include "dev/net/pipe/pipe.h"
#include "test/harness/tap.h"

#define ARENA ((size_t)8 << 20)

static bool link_is_up = true;
static unsigned link_changes;

static void on_link(void *arg, bool is_up)
{
    (void)arg;
    link_is_up = is_up;
    link_changes++;
}

static struct mir_fault_spec spec;
static char error[MIR_FAULT_ERROR_MAX];

static void test_parse(void)
{
    tap_case("a full specification");
    check_int(mir_fault_parse("loss=1%,dup=0.5%,reorder=2%,corrupt=0.1%,delay=10ms,jitter=2ms,"
                              "rate=10mbit,seed=7",
                              &spec, error),
              ==, 0);
    for (int i = 0; i < 2; i++) {
        check_int(spec.rule[i].loss_ppm, ==, 10000);
        check_int(spec.rule[i].dup_ppm, ==, 5000);
        check_int(spec.rule[i].reorder_ppm, ==, 20000);
        check_int(spec.rule[i].corrupt_ppm, ==, 1000);
        check_int(spec.rule[i].delay_us, ==, 10000);
        check_int(spec.rule[i].jitter_us, ==, 2000);
        check_int(spec.rule[i].rate_bps, ==, 10000000);
    }
    check_int(spec.seed, ==, 7);
    tap_case("directions, units, zero");
    check_int(
        mir_fault_parse("in:loss=20%,out:delay=1.5s,rate=1gbit,dup=25ppm,corrupt=0", &spec, error),
        ==, 0);
    check_int(spec.rule[MIR_FAULT_IN].loss_ppm, ==, 200000);
    check_int(spec.rule[MIR_FAULT_OUT].loss_ppm, ==, 0);
    check_int(spec.rule[MIR_FAULT_OUT].delay_us, ==, 1500000);
    check_int(spec.rule[MIR_FAULT_IN].dup_ppm, ==, 25);
    check_int(spec.seed, ==, 1);
    tap_case("a wire that is cut, and nothing at all");
    check_int(mir_fault_parse("down", &spec, error), ==, 0);
    check(spec.is_down);
    check_int(mir_fault_parse("none", &spec, error), ==, 0);
    check(!spec.is_down);
    check_int(spec.rule[MIR_FAULT_IN].loss_ppm, ==, 0);
    tap_case("mistakes say what is expected and change nothing");
    const char *const wrong[] = {"",
                                 "loss",
                                 "loss=",
                                 "loss=101%",
                                 "loss=1",
                                 "loss=-1%",
                                 "delay=10",
                                 "delay=99999s",
                                 "rate=5",
                                 "speed=1mbit",
                                 "loss=1%,",
                                 "seed=x",
                                 "in:",
                                 "loss=1.%%",
                                 "loss=1..2%",
                                 "delay=0.1234567s",
                                 "loss=%",
                                 "in:down",
                                 "down=1",
                                 "nonesuch",
                                 ",loss=1%",
                                 "in:seed=abc",
                                 "delay=99999999999999999999s"};
    for (size_t i = 0; i < MIR_ARRAY_LEN(wrong); i++) {
        error[0] = '\0';
        spec.seed = 42;
        if (!check_int(mir_fault_parse(wrong[i], &spec, error), ==, -MIR_EINVAL))
            tap_note("accepted: %s", wrong[i]);
        check(error[0] != '\0');
        check_int(spec.seed, ==, 42);
    }
    check_int(mir_fault_parse("delay=10", &spec, error), ==, -MIR_EINVAL);
    check_str(error, "\"delay=10\": a time such as 10ms, up to 60s");
}

struct bed {
    uint8_t *arena;
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    struct mir_loop loop;
    struct mir_pipe pipe;
    struct mir_fault fault;
    struct mir_net_dev *dev;
    mir_time_us now_us;
    uint32_t received, wrong_order, changed_bits, last;
    mir_time_us last_us;
};

static void on_frame(void *arg, struct mir_buf *buf_given)
{
    struct bed *bed = arg;
    uint32_t number = 0;
    for (uint32_t i = 0; i < buf_given->len; i++)
        bed->changed_bits += (uint32_t)__builtin_popcount(i < 20 ? 0 : buf_given->data[i] ^ 0x5au);
    memcpy(&number, buf_given->data + 14, 4);
    bed->wrong_order += number < bed->last;
    bed->last = MIR_MAX(bed->last, number);
    bed->received++;
    bed->last_us = bed->now_us;
    mir_buf_release(buf_given);
}

static void ignore_frame(void *arg, struct mir_buf *buf_given)
{
    (void)arg;
    mir_buf_release(buf_given);
}

static void bed_open(struct bed *bed, const char *text)
{
    memset(bed, 0, sizeof *bed);
    bed->now_us = 1000000;
    bed->arena = aligned_alloc(MIR_PAGE_SIZE, ARENA);
    mir_loop_init(&bed->loop, bed->now_us);
    struct mir_pipe_config pipe_config = {.loop = &bed->loop, .queue_max = 4096};
    check_int(mir_page_pool_init(&bed->pages, bed->arena, ARENA), ==, 0);
    check_int(mir_buf_pool_init(&bed->bufs, &bed->pages, 4096), ==, 0);
    check_int(mir_pipe_init(&bed->pipe, &pipe_config), ==, 0);
    struct mir_fault_config config = {
        .inner = mir_pipe_end(&bed->pipe, 0), .loop = &bed->loop, .bufs = &bed->bufs};
    if (!check_int(mir_fault_parse(text, &config.spec, error), ==, 0))
        tap_note("%s", error);
    mir_fault_init(&bed->fault, &config);
    bed->dev = &bed->fault.wrap.dev;
    struct mir_net_upper upper = {.rx = ignore_frame, .link = on_link, .arg = bed};
    struct mir_net_upper peer = {.rx = on_frame, .arg = bed};
    check_int(mir_net_dev_start(bed->dev, &upper), ==, 0);
    check_int(mir_net_dev_start(mir_pipe_end(&bed->pipe, 1), &peer), ==, 0);
}

static void bed_close(struct bed *bed)
{
    mir_net_dev_close(bed->dev);
    mir_net_dev_close(mir_pipe_end(&bed->pipe, 1));
    check_int(mir_pool_used(&bed->bufs.pool), ==, 0);
    check_int(bed->loop.timer_count, ==, 0);
    mir_buf_pool_fini(&bed->bufs);
    check_int(mir_page_pool_used_bytes(&bed->pages), ==, 0);
    free(bed->arena);
}

static void send_frame(struct bed *bed, uint32_t number)
{
    struct mir_buf *buf = mir_buf_alloc(&bed->bufs, 64);
    if (buf == NULL)
        abort();
    uint8_t *p = mir_buf_append(buf, 100);
    memset(p, 0x5a, 100);
    memcpy(p + 14, &number, 4);
    check_int(mir_net_dev_tx(bed->dev, buf), ==, 0);
}

static void run(struct bed *bed, mir_time_us until_us)
{
    mir_time_us next_us;
    for (;;) {
        mir_loop_step(&bed->loop, bed->now_us, &next_us);
        if (next_us > until_us)
            break;
        bed->now_us = MIR_MAX(bed->now_us, next_us);
    }
    bed->now_us = until_us;
}

/* Frame @i at its own millisecond. */
static void send_many(struct bed *bed, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        send_frame(bed, i);
        run(bed, bed->now_us + 1000);
    }
    run(bed, bed->now_us + 2000000);
}

static void test_behaviour(void)
{
    static struct bed bed;
    const struct mir_fault_stats *out = &bed.fault.stats[MIR_FAULT_OUT];
    tap_case("loss");
    bed_open(&bed, "loss=20%,seed=3");
    send_many(&bed, 1000);
    check_int(out->lost, >, 150);
    check_int(out->lost, <, 250);
    check_int(bed.received + out->lost, ==, 1000);
    uint64_t lost = out->lost;
    bed_close(&bed);
    tap_case("the same seed does the same");
    bed_open(&bed, "loss=20%,seed=3");
    send_many(&bed, 1000);
    check_int(out->lost, ==, lost);
    bed_close(&bed);
    tap_case("duplication");
    bed_open(&bed, "dup=10%");
    send_many(&bed, 1000);
    check_int(out->duplicated, >, 60);
    check_int(bed.received, ==, 1000 + out->duplicated);
    check_int(bed.changed_bits, ==, 0);
    bed_close(&bed);
    tap_case("corruption changes one bit of a copy");
    bed_open(&bed, "corrupt=50%");
    send_many(&bed, 500);
    check_int(out->corrupted, >, 200);
    check_int(bed.changed_bits, >, 100);
    check_int(bed.changed_bits, <=, out->corrupted);
    bed_close(&bed);
    tap_case("reordering; without it jitter keeps the order");
    bed_open(&bed, "reorder=10%");
    send_many(&bed, 1000);
    check_int(out->reordered, >, 60);
    check_int(bed.wrong_order, >, 30);
    check_int(bed.received, ==, 1000);
    bed_close(&bed);
    bed_open(&bed, "delay=20ms,jitter=20ms");
    send_many(&bed, 1000);
    check_int(bed.wrong_order, ==, 0);
    check_int(bed.received, ==, 1000);
    bed_close(&bed);
}

static void test_time(void)
{
    static struct bed bed;
    tap_case("delay");
    bed_open(&bed, "out:delay=10ms");
    send_frame(&bed, 1);
    run(&bed, bed.now_us + 9000);
    check_int(bed.received, ==, 0);
    run(&bed, bed.now_us + 3000);
    check_int(bed.received, ==, 1);
    bed_close(&bed);
    tap_case("rate: 100 frames of 100 bytes at 80 kbit/s take a second");
    bed_open(&bed, "out:rate=80kbit");
    mir_time_us start_us = bed.now_us;
    for (uint32_t i = 0; i < 100; i++)
        send_frame(&bed, i);
    run(&bed, bed.now_us + 2000000);
    check_int(bed.received, ==, 100);
    check_int(bed.last_us - start_us, >=, 1000000);
    check_int(bed.last_us - start_us, <, 1010000);
    bed_close(&bed);
    tap_case("what waits at the limit is dropped and counted; stop releases what waits");
    bed_open(&bed, "delay=1s");
    for (uint32_t i = 0; i < MIR_FAULT_QUEUE + 5; i++)
        send_frame(&bed, i);
    check_int(bed.fault.stats[MIR_FAULT_OUT].overflowed, ==, 5);
    bed_close(&bed);
    tap_case("frames that are dropped at the limit do not use up the rate");
    bed_open(&bed, "out:rate=80kbit");
    for (uint32_t i = 0; i < 2 * MIR_FAULT_QUEUE; i++)
        send_frame(&bed, i);
    run(&bed, bed.now_us + MIR_FAULT_QUEUE * 10000ull + 5000);
    check_int(bed.received, ==, MIR_FAULT_QUEUE);
    send_frame(&bed, 2 * MIR_FAULT_QUEUE);
    run(&bed, bed.now_us + 11000);
    check_int(bed.received, ==, MIR_FAULT_QUEUE + 1);
    bed_close(&bed);
}

static void set(struct bed *bed, const char *text)
{
    check_int(mir_fault_parse(text, &spec, error), ==, 0);
    mir_fault_set(&bed->fault, &spec);
}

static void test_set(void)
{
    static struct bed bed;
    const struct mir_fault_stats *out = &bed.fault.stats[MIR_FAULT_OUT];
    tap_case("other faults while it runs; what waits keeps its time");
    bed_open(&bed, "none");
    send_many(&bed, 100);
    check_int(bed.received, ==, 100);
    set(&bed, "delay=1s");
    send_frame(&bed, 100);
    set(&bed, "loss=100%");
    send_frame(&bed, 101);
    run(&bed, bed.now_us + 2000000);
    check_int(bed.received, ==, 101);
    check_int(out->lost, ==, 1);
    tap_case("a wire is cut and mended: the upper half hears each once, and nothing passes");
    link_changes = 0;
    set(&bed, "down");
    set(&bed, "down,loss=1%");
    check(!link_is_up);
    check_int(link_changes, ==, 1);
    send_many(&bed, 10);
    check_int(bed.received, ==, 101);
    check_int(out->cut, ==, 10);
    set(&bed, "none");
    check(link_is_up);
    check_int(link_changes, ==, 2);
    send_many(&bed, 10);
    check_int(bed.received, ==, 111);
    bed_close(&bed);
}

int main(void)
{
    tap_begin("dev_fault");
    test_set();
    test_parse();
    test_behaviour();
    test_time();
    return tap_done();
}
