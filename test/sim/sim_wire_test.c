/* SPDX-License-Identifier: ISC */
/* Wires and switches of the simulator, with raw frames: no stack takes part. */
#include <string.h>

#include <mirari/bytes.h>

#include "lib/wire/csum.h"
#include "target/sim/sim.h"
#include "test/harness/tap.h"

#define FRAME_BYTES 100u
#define FRAMES_MAX  20000u

/* A raw node that notes what it receives. */
struct station {
    struct mir_sim_node *node;
    struct mir_sim_port *port;
    uint32_t count, batches;
    uint32_t number[FRAMES_MAX]; /* as sent, in order of arrival */
    mir_time_us at_us[FRAMES_MAX];
    uint32_t damaged; /* payload differs */
    uint8_t last[70000];
    uint32_t last_len;
    uint16_t last_flags;
};

static uint64_t seed;

static void fill(uint8_t *data, uint32_t from, uint32_t len, uint32_t number)
{
    for (uint32_t i = from; i < len; i++)
        data[i] = (uint8_t)(number * 7 + i);
}

static void on_rx(void *arg, struct mir_buf *buf_given)
{
    struct station *station = arg;
    uint8_t good[FRAME_BYTES];
    uint32_t total = mir_buf_total(buf_given);
    station->last_len = total;
    station->last_flags = buf_given->flags;
    check_int(mir_buf_copy_out(buf_given, 0, station->last, total), ==, 0);
    uint32_t number = mir_get_be32(station->last + 14);
    if (station->count < FRAMES_MAX) {
        station->number[station->count] = number;
        station->at_us[station->count++] = mir_sim_now(station->node->sim);
    }
    fill(good, 18, FRAME_BYTES, number);
    if (total == FRAME_BYTES && memcmp(good + 18, station->last + 18, FRAME_BYTES - 18) != 0)
        station->damaged++;
    mir_buf_release(buf_given);
}

static void on_rx_end(void *arg)
{
    ((struct station *)arg)->batches++;
}

static void add_station(struct mir_sim *sim, struct station *station,
                        const struct mir_sim_port_config *config)
{
    const struct mir_sim_port_config plain = {0};
    const struct mir_net_upper upper = {.rx = on_rx, .rx_end = on_rx_end, .arg = station};
    memset(station, 0, sizeof *station);
    check_int(mir_sim_add_node(sim, &(struct mir_sim_node_config){.is_raw = true}, &station->node),
              ==, 0);
    check_int(mir_sim_add_port(station->node, config != NULL ? config : &plain, &station->port), ==,
              0);
    check_int(mir_net_dev_start(&station->port->dev, &upper), ==, 0);
}

static struct mir_buf *make_frame(struct station *from, const uint8_t *dst, uint32_t number)
{
    struct mir_buf *buf = mir_buf_alloc(&from->node->bufs, 0);
    if (!check(buf != NULL))
        return NULL;
    uint8_t *data = mir_buf_append(buf, FRAME_BYTES);
    memcpy(data, dst, 6);
    memcpy(data + 6, from->port->dev.info.mac, 6);
    mir_put_be16(data + 12, 0x0800);
    mir_put_be32(data + 14, number);
    fill(data, 18, FRAME_BYTES, number);
    return buf;
}

static void send_one(struct station *from, const struct station *to, uint32_t number)
{
    static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};
    struct mir_buf *buf = make_frame(from, to != NULL ? to->port->dev.info.mac : broadcast, number);
    if (buf != NULL)
        check_int(mir_net_dev_tx(&from->port->dev, buf), ==, 0);
}

static struct station a, b, c;

/* A world of two stations and one wire whose first direction is @text. */
static struct mir_sim *open_pair(const char *text, struct mir_sim_wire **wire)
{
    struct mir_sim_wire_config config = {0}, plain = {0};
    struct mir_sim *sim;
    size_t at;
    check_int(mir_sim_wire_parse(text, &config, &at), ==, 0);
    check_int(mir_sim_open(&(struct mir_sim_config){.seed = seed}, &sim), ==, 0);
    add_station(sim, &a, NULL);
    add_station(sim, &b, NULL);
    check_int(mir_sim_join(&a.port->plug, &b.port->plug, &config, &plain, wire), ==, 0);
    return sim;
}

/* One frame each @gap_us; returns when all have arrived. */
static void send_many(struct mir_sim *sim, uint32_t count, uint32_t gap_us)
{
    mir_time_us start_us = mir_sim_now(sim);
    for (uint32_t i = 0; i < count; i++) {
        send_one(&a, &b, i);
        if (gap_us != 0)
            (void)mir_sim_run(sim, start_us + (i + 1) * (uint64_t)gap_us);
    }
    check_int(mir_sim_run(sim, MIR_TIME_NEVER), ==, MIR_SIM_IDLE);
}

static void test_parse(void)
{
    struct mir_sim_wire_config config = {.loss_ppm = 77};
    size_t at = 99;
    tap_case("wire from text");
    check_int(mir_sim_wire_parse("rate=10m,delay=20ms,jitter=1.5,reorder=2%/5ms,dup=0.1%,"
                                 "corrupt=0.0001%,queue=64k,mtu=1400,burst=1%/30%",
                                 &config, &at),
              ==, 0);
    check_int(config.rate_bps, ==, 10000000);
    check_int(config.delay_us, ==, 20000);
    check_int(config.jitter_us, ==, 1500);
    check_int(config.reorder_ppm, ==, 20000);
    check_int(config.reorder_us, ==, 5000);
    check_int(config.duplicate_ppm, ==, 1000);
    check_int(config.corrupt_ppm, ==, 1);
    check_int(config.queue_bytes, ==, 65536);
    check_int(config.mtu, ==, 1400);
    check_int(config.burst_enter_ppm, ==, 10000);
    check_int(config.burst_leave_ppm, ==, 300000);
    check_int(config.loss_ppm, ==, 77);
    tap_case("bad wire text is refused with its place, and changes nothing");
    static const char *const bad[] = {
        "delay=1,loss=",     "delay=1,loss=101%",   "delay=1,lost=1%",
        "delay=1,loss=1x",   "delay=1,loss",        "delay=1,dup=1%/2%",
        "delay=1,mtu=70000", "delay=1,rate=99999g", "delay=1,,"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        at = 0;
        check_int(mir_sim_wire_parse(bad[i], &config, &at), ==, -MIR_EINVAL);
        check_int(at, ==, 8);
    }
    check_int(config.delay_us, ==, 20000);
}

static void test_time(void)
{
    struct mir_sim *sim;
    tap_case("rate and delay give the time of arrival");
    sim = open_pair("rate=1m,delay=10ms", NULL);
    mir_time_us start_us = mir_sim_now(sim);
    send_many(sim, 3, 0);
    check_int(b.count, ==, 3);
    /* (100 + 24) bytes at 1 Mbit/s are 992 us. */
    for (uint32_t i = 0; i < b.count; i++)
        check_int(b.at_us[i] - start_us, ==, 10000 + 992 * (i + 1));
    check_int(mir_sim_close(sim), ==, 0);

    tap_case("jitter delays and keeps the order");
    sim = open_pair("delay=1ms,jitter=20ms", NULL);
    send_many(sim, 1000, 100);
    check_int(b.count, ==, 1000);
    for (uint32_t i = 0; i < b.count; i++)
        check_int(b.number[i], ==, i);
    check_int(mir_sim_close(sim), ==, 0);
}

static void test_chances(void)
{
    struct mir_sim_wire_stats stats;
    struct mir_sim_wire *wire;
    struct mir_sim *sim;
    tap_case("loss, duplication, reordering and corruption happen as often as asked");
    sim = open_pair("delay=5,loss=10%,dup=5%,reorder=4%/3ms,corrupt=2%", &wire);
    send_many(sim, 10000, 200);
    mir_sim_wire_get_stats(wire, 0, &stats);
    tap_note("lost %llu dup %llu reordered %llu corrupted %llu", (unsigned long long)stats.lost,
             (unsigned long long)stats.duplicated, (unsigned long long)stats.reordered,
             (unsigned long long)stats.corrupted);
    check_int(stats.frames, ==, 10000);
    check(stats.lost > 850 && stats.lost < 1150);
    check(stats.duplicated > 350 && stats.duplicated < 550);
    check(stats.reordered > 280 && stats.reordered < 480);
    check(stats.corrupted > 120 && stats.corrupted < 270);
    check_int(b.count, ==, stats.delivered);
    check_int(stats.delivered, ==, 10000 - stats.lost + stats.duplicated);
    check_int(b.damaged, >, 0);
    check_int(b.damaged, <=, stats.corrupted);
    uint32_t late = 0;
    for (uint32_t i = 1; i < b.count; i++)
        late += b.number[i] < b.number[i - 1];
    check_int(late, >, 100);
    check_int(mir_sim_close(sim), ==, 0);

    tap_case("bursts lose frames in a row");
    sim = open_pair("burst=1%/20%", &wire);
    send_many(sim, 10000, 10);
    mir_sim_wire_get_stats(wire, 0, &stats);
    /* In the bad state 1 of 21 frames of the time, 5 in a row on average. */
    check(stats.burst_lost > 300 && stats.burst_lost < 700);
    uint32_t gaps = 0;
    for (uint32_t i = 1; i < b.count; i++)
        gaps += b.number[i] != b.number[i - 1] + 1;
    check(stats.burst_lost > 3ull * gaps);
    check_int(mir_sim_close(sim), ==, 0);
}

static void test_limits(void)
{
    struct mir_sim_wire_stats stats;
    struct mir_sim_wire *wire;
    struct mir_sim *sim;
    tap_case("a full queue drops, and only what does not fit");
    sim = open_pair("rate=1m,queue=10k", &wire);
    send_many(sim, 1000, 0);
    mir_sim_wire_get_stats(wire, 0, &stats);
    check_int(stats.queue_dropped + b.count, ==, 1000);
    check(b.count >= 80 && b.count <= 110);
    check_int(mir_sim_close(sim), ==, 0);

    tap_case("a path MTU is a black hole");
    sim = open_pair("mtu=80", &wire);
    send_many(sim, 10, 0);
    mir_sim_wire_get_stats(wire, 0, &stats);
    check_int(stats.too_big, ==, 10);
    check_int(b.count, ==, 0);
    check_int(mir_sim_close(sim), ==, 0);

    tap_case("a cut wire drops until it is healed, one direction at a time");
    sim = open_pair("", &wire);
    mir_sim_wire_cut(wire, 0, true);
    send_one(&a, &b, 1);
    send_one(&b, &a, 2);
    (void)mir_sim_run(sim, MIR_TIME_NEVER);
    check_int(b.count, ==, 0);
    check_int(a.count, ==, 1);
    mir_sim_wire_cut(wire, 0, false);
    send_one(&a, &b, 3);
    (void)mir_sim_run(sim, MIR_TIME_NEVER);
    check_int(b.count, ==, 1);
    check_int(mir_sim_close(sim), ==, 0);

    tap_case("frames in flight at the end are released");
    sim = open_pair("delay=1s", &wire);
    send_one(&a, &b, 1);
    check_int(mir_sim_run(sim, mir_sim_now(sim) + 1000), ==, MIR_SIM_TIME);
    check_int(mir_sim_close(sim), ==, 0);
}

static void test_contract(void)
{
    struct mir_sim_stats stats;
    struct mir_sim *sim;
    tap_case("a frame above the MTU is refused and counted as a violation");
    sim = open_pair("", NULL);
    struct mir_buf *buf = mir_buf_alloc_page(&a.node->bufs, 4000, 0);
    memset(mir_buf_append(buf, 1515), 0, 1515);
    check_int(mir_net_dev_tx(&a.port->dev, buf), ==, -MIR_ETOOBIG);
    mir_sim_get_stats(sim, &stats);
    check_int(stats.violations, ==, 1);
    check_int(mir_sim_close(sim), ==, 0);

    tap_case("a leak is found");
    sim = open_pair("", NULL);
    buf = mir_buf_alloc(&a.node->bufs, 0);
    check_int(mir_sim_close(sim), ==, sizeof(struct mir_buf));
}

static void on_tx_ready(void *arg)
{
    ((struct station *)arg)->batches += 1000;
}

static void test_ring(void)
{
    const struct mir_sim_port_config config = {.ring_bytes = 3000, .coalesce_us = 500};
    const struct mir_sim_wire_config slow = {.rate_bps = 1000000};
    struct mir_sim *sim;
    tap_case("a full ring says so, and when it has room again");
    check_int(mir_sim_open(&(struct mir_sim_config){.seed = seed}, &sim), ==, 0);
    add_station(sim, &a, &config);
    add_station(sim, &b, NULL);
    a.port->upper.tx_ready = on_tx_ready;
    check_int(mir_sim_join(&a.port->plug, &b.port->plug, &slow, NULL, NULL), ==, 0);
    uint32_t sent = 0;
    while (mir_net_dev_tx_room(&a.port->dev) > 0 && sent < 100)
        send_one(&a, &b, sent++);
    check(sent >= 24 && sent <= 32);
    check_int(a.batches, ==, 0);
    (void)mir_sim_run(sim, mir_sim_now(sim) + 20000);
    check_int(a.batches, ==, 1000);
    check_int(mir_net_dev_tx_room(&a.port->dev), >, 0);
    (void)mir_sim_run(sim, MIR_TIME_NEVER);
    check_int(b.count, ==, sent);

    tap_case("coalesced frames come as one batch");
    for (uint32_t i = 0; i < 10; i++)
        send_one(&b, &a, i);
    a.batches = 0;
    mir_sim_wire_set(b.port->plug.wire, 1, &(struct mir_sim_wire_config){0});
    for (uint32_t i = 0; i < 10; i++)
        send_one(&b, &a, i);
    (void)mir_sim_run(sim, MIR_TIME_NEVER);
    check_int(a.count, ==, 20);
    check_int(a.batches, <, 20);
    check_int(mir_sim_close(sim), ==, 0);
}

static void test_switch(void)
{
    const struct mir_sim_wire_config plain = {.delay_us = 10};
    struct station *const all[] = {&a, &b, &c};
    struct mir_sim_switch *hub;
    struct mir_sim_plug *plug;
    struct mir_sim *sim;
    tap_case("a switch floods what it does not know, then learns");
    check_int(mir_sim_open(&(struct mir_sim_config){.seed = seed}, &sim), ==, 0);
    check_int(mir_sim_add_switch(sim, "hub", &hub), ==, 0);
    for (size_t i = 0; i < 3; i++) {
        add_station(sim, all[i], NULL);
        check_int(mir_sim_switch_plug(hub, &plug), ==, 0);
        check_int(mir_sim_join(&all[i]->port->plug, plug, &plain, NULL, NULL), ==, 0);
    }
    send_one(&a, &b, 1); /* b is unknown: b and c hear it */
    (void)mir_sim_run(sim, MIR_TIME_NEVER);
    check_int(b.count, ==, 1);
    check_int(c.count, ==, 1);
    send_one(&b, &a, 2); /* a is known */
    (void)mir_sim_run(sim, MIR_TIME_NEVER);
    check_int(a.count, ==, 1);
    check_int(c.count, ==, 1);
    send_one(&a, &b, 3); /* and so is b now */
    send_one(&c, NULL, 4);
    (void)mir_sim_run(sim, MIR_TIME_NEVER);
    check_int(c.count, ==, 1);
    check_int(b.count, ==, 3);
    check_int(a.count, ==, 2);

    tap_case("a ring of switches does not circulate a broadcast for ever");
    struct mir_sim_switch *other;
    check_int(mir_sim_add_switch(sim, "other", &other), ==, 0);
    for (int i = 0; i < 2; i++) {
        struct mir_sim_plug *far;
        check_int(mir_sim_switch_plug(hub, &plug), ==, 0);
        check_int(mir_sim_switch_plug(other, &far), ==, 0);
        check_int(mir_sim_join(plug, far, &plain, NULL, NULL), ==, 0);
    }
    send_one(&a, NULL, 5);
    check_int(mir_sim_run(sim, MIR_TIME_NEVER), ==, MIR_SIM_IDLE);
    check_int(mir_sim_close(sim), ==, 0);
}

/* A TCP frame of 40,000 bytes with headers that a stack would have left for the device. */
static struct mir_buf *make_large(struct station *from)
{
    struct mir_buf *buf = mir_buf_alloc_page(&from->node->bufs, 40054, 0);
    uint8_t *f = mir_buf_append(buf, 40054);
    struct mir_ip src = mir_ip_from_v4(0x0a000001), dst = mir_ip_from_v4(0x0a000002);
    memset(f, 0, 54);
    mir_put_be16(f + 12, 0x0800);
    f[14] = 0x45;
    mir_put_be16(f + 16, 40040);
    mir_put_be16(f + 18, 1000);
    f[22] = 64;
    f[23] = 6;
    mir_put_be32(f + 26, 0x0a000001);
    mir_put_be32(f + 30, 0x0a000002);
    mir_put_be32(f + 38, 0xffffff00); /* sequence number, about to wrap */
    f[46] = 5 << 4;
    f[47] = 0x19; /* ACK, PSH, FIN */
    uint16_t pseudo = mir__csum_pseudo(&src, &dst, 6, 40020);
    memcpy(f + 50, &pseudo, 2);
    for (uint32_t i = 0; i < 40000; i++)
        f[54 + i] = (uint8_t)(i * 13 >> 3);
    buf->flags = MIR_BUF_GSO_TCP4 | MIR_BUF_CSUM_PARTIAL;
    buf->gso_size = 1460;
    buf->csum_start = 34;
    buf->csum_offset = 16;
    return buf;
}

static uint32_t segment_at, segment_count;

static void on_segment(void *arg, unsigned direction, mir_time_us now_us, const uint8_t *f,
                       uint32_t len, const char *fate)
{
    struct mir_ip src = mir_ip_from_v4(0x0a000001), dst = mir_ip_from_v4(0x0a000002);
    uint32_t payload = len - 54;
    (void)arg, (void)direction, (void)now_us, (void)fate;
    check_int(len, <=, 1514);
    check_int(mir_get_be16(f + 16), ==, len - 14);
    check_int(mir_get_be16(f + 18), ==, 1000 + segment_count);
    check_int(mir_get_be32(f + 38), ==, 0xffffff00u + segment_at);
    check_int(f[47], ==, segment_at + payload == 40000 ? 0x19 : 0x10);
    check_int(mir__csum_partial(f + 14, 20), ==, 0xffff);
    check_int(mir__csum_add(mir__csum_partial(f + 34, len - 34),
                            mir__csum_pseudo(&src, &dst, 6, len - 34)),
              ==, 0xffff);
    check_int(f[54], ==, (uint8_t)(segment_at * 13 >> 3));
    segment_at += payload;
    segment_count++;
}

static void test_offload(void)
{
    const struct mir_sim_port_config large = {.caps = MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 |
                                                      MIR_NET_RX_CSUM | MIR_NET_RX_GRO};
    const struct mir_sim_wire_config plain = {0};
    struct mir_sim_wire *wire;
    struct mir_sim *sim;
    for (int takes_large = 0; takes_large < 2; takes_large++) {
        tap_case(takes_large ? "a large frame passes to a port that takes it"
                             : "a large frame is cut for a port that does not take it");
        check_int(mir_sim_open(&(struct mir_sim_config){.seed = seed}, &sim), ==, 0);
        add_station(sim, &a, &large);
        add_station(sim, &b, takes_large ? &large : NULL);
        check_int(mir_sim_join(&a.port->plug, &b.port->plug, &plain, NULL, &wire), ==, 0);
        segment_at = segment_count = 0;
        if (!takes_large)
            mir_sim_wire_tap(wire, on_segment, NULL);
        check_int(mir_net_dev_tx(&a.port->dev, make_large(&a)), ==, 0);
        (void)mir_sim_run(sim, MIR_TIME_NEVER);
        if (takes_large) {
            check_int(b.last_len, ==, 40054);
            check_int(b.last_flags, ==, MIR_BUF_GSO_TCP4 | MIR_BUF_CSUM_PARTIAL);
        } else {
            check_int(segment_at, ==, 40000);
            check_int(segment_count, ==, 28);
            check_int(b.count, ==, 28);
        }
        check_int(mir_sim_close(sim), ==, 0);
    }
}

static uint64_t run_hash(uint64_t of_seed)
{
    struct mir_sim *sim;
    uint64_t keep = seed;
    seed = of_seed;
    sim = open_pair("delay=5,loss=10%,dup=5%,reorder=4%/3ms,corrupt=2%,jitter=1ms", NULL);
    send_many(sim, 2000, 100);
    uint64_t hash = mir_sim_hash(sim);
    check_int(mir_sim_close(sim), ==, 0);
    seed = keep;
    return hash;
}

static void test_replay(void)
{
    tap_case("a seed gives one run, another seed another run");
    uint64_t first = run_hash(seed);
    check_int(first, ==, run_hash(seed));
    check_int(first, !=, run_hash(seed + 1));
}

static void count_call(void *arg)
{
    ++*(int *)arg;
}

static void test_calls(void)
{
    struct mir_sim_call call = {0};
    struct mir_sim *sim;
    int called = 0;
    tap_case("calls happen at their time, move and are cancelled");
    check_int(mir_sim_open(&(struct mir_sim_config){.seed = seed}, &sim), ==, 0);
    mir_time_us start_us = mir_sim_now(sim);
    call.run = count_call;
    call.arg = &called;
    mir_sim_at(sim, &call, start_us + 1000);
    mir_sim_at(sim, &call, start_us + 2000);
    check_int(mir_sim_run(sim, start_us + 1999), ==, MIR_SIM_TIME);
    check_int(called, ==, 0);
    check_int(mir_sim_run(sim, start_us + 2000), ==, MIR_SIM_IDLE);
    check_int(called, ==, 1);
    mir_sim_at(sim, &call, start_us + 3000);
    mir_sim_cancel(sim, &call);
    check_int(mir_sim_run(sim, start_us + 5000), ==, MIR_SIM_IDLE);
    check_int(called, ==, 1);
    check_int(mir_sim_now(sim), ==, start_us + 5000);
    check_int(mir_sim_close(sim), ==, 0);
}

int main(int argc, char **argv)
{
    tap_begin("sim_wire");
    seed = tap_seed(argc, argv, 1);
    test_parse();
    test_time();
    test_chances();
    test_limits();
    test_contract();
    test_ring();
    test_switch();
    test_offload();
    test_replay();
    test_calls();
    return tap_done();
}
