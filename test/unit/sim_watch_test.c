/* SPDX-License-Identifier: ISC */
/* The watcher of TCP: a conversation that keeps all rules is let pass, and each rule is seen when a
 * segment breaks it, from the sender's side and in the middle.
 */
#include <stdio.h>
#include <string.h>

#include "lib/wire/csum.h"
#include "lib/wire/eth.h"
#include "lib/wire/ip4.h"
#include "lib/wire/tcp.h"
#include "target/sim/watch.h"
#include "test/harness/tap.h"

#define A      0x0a000001u
#define B      0x0a000002u
#define A_ISN  0xfffffff0u /* sequence numbers wrap on the way */
#define B_ISN  5000u
#define PORT_A 40000
#define PORT_B 80

static struct mir__watch *watch;
static char first_rule[200];
static uint32_t rules;
static char report[9000];

static void on_rule(void *arg, const char *rule, const char *text)
{
    (void)arg;
    if (rules++ == 0)
        snprintf(first_rule, sizeof first_rule, "%s", rule);
    snprintf(report, sizeof report, "%s", text);
}

/* A segment as it is written in the tests: numbers relative to the ISNs. */
struct piece {
    bool from_b;
    uint8_t flags;
    uint32_t seq, ack, len;
    uint16_t wnd;
    struct mir__tcp_options opt;
    bool is_damaged;
    bool is_in; /* seen where it arrives */
};

static void show(const struct piece *piece, bool checks_all)
{
    static uint8_t frame[4000];
    static mir_time_us now_us = 1000000;
    uint32_t src = piece->from_b ? B : A, dst = piece->from_b ? A : B;
    uint32_t seq_base = piece->from_b ? B_ISN : A_ISN, ack_base = piece->from_b ? A_ISN : B_ISN;
    uint32_t options = mir__tcp_options_len(&piece->opt);
    struct mir__tcp_header hdr = {
        .src_port = piece->from_b ? PORT_B : PORT_A,
        .dst_port = piece->from_b ? PORT_A : PORT_B,
        .seq = seq_base + piece->seq,
        .ack = piece->flags & MIR__TCP_ACK ? ack_base + piece->ack : 0,
        .wnd = piece->wnd,
        .flags = piece->flags,
        .hdr_len = (uint8_t)(20 + options),
    };
    uint32_t tcp_len = hdr.hdr_len + piece->len;
    struct mir__ip4 ip = {.ttl = 64, .protocol = 6, .src = src, .dst = dst};
    ip.total_len = (uint16_t)(20 + tcp_len);
    memset(frame, 0, sizeof frame);
    frame[12] = 8;
    mir__ip4_emit(&ip, frame + 14);
    uint8_t *tcp = frame + 34;
    mir__tcp_header_emit(tcp, &hdr);
    mir__tcp_options_emit(tcp + 20, &piece->opt);
    memset(tcp + hdr.hdr_len, 0xa5, piece->len);
    struct mir_ip from = mir_ip_from_v4(src), to = mir_ip_from_v4(dst);
    uint16_t sum = (uint16_t)~mir__csum_add(mir__csum_partial(tcp, tcp_len),
                                            mir__csum_pseudo(&from, &to, 6, tcp_len));
    memcpy(tcp + 16, &sum, 2);
    if (piece->is_damaged)
        tcp[4] ^= 1;
    struct mir__watch_frame seen = {
        .where = "a",
        .now_us = now_us += 1000,
        .data = frame,
        .len = 34 + tcp_len,
        .is_checked = checks_all || !piece->is_in,
        .is_from_here = !piece->is_in && !checks_all,
    };
    mir__watch_see(watch, &seen);
}

#define S        MIR__TCP_SYN
#define K        MIR__TCP_ACK
#define F        MIR__TCP_FIN
#define IN       .from_b = true, .is_in = true
#define TS(v, e) .opt = {.has_ts = true, .tsval = (v), .tsecr = (e)}

static const struct piece syn = {.flags = S,
                                 .wnd = 65535,
                                 .opt = {.has_mss = true,
                                         .mss = 1460,
                                         .has_wscale = true,
                                         .wscale = 2,
                                         .sack_permitted = true,
                                         .has_ts = true,
                                         .tsval = 100}};
static const struct piece syn_ack = {.flags = S | K,
                                     IN,
                                     .ack = 1,
                                     .wnd = 8000,
                                     .opt = {.has_mss = true,
                                             .mss = 1000,
                                             .has_wscale = true,
                                             .wscale = 1,
                                             .sack_permitted = true,
                                             .has_ts = true,
                                             .tsval = 700,
                                             .tsecr = 100}};

/* Handshake, 500 bytes of ours, 3 x 500 of the peer of which the second is missing. */
static const struct piece opening[] = {
    {.flags = K, .seq = 1, .ack = 1, .wnd = 10000, TS(101, 700)},
    {.flags = K, IN, .seq = 1, .ack = 1, .wnd = 4000, TS(701, 101)},
    {.flags = K, .seq = 1, .ack = 1, .len = 500, .wnd = 10000, TS(102, 700)},
    {.flags = K, IN, .seq = 1, .ack = 501, .len = 500, .wnd = 4000, TS(702, 102)},
    {.flags = K, IN, .seq = 1001, .ack = 501, .len = 500, .wnd = 4000, TS(702, 102)},
};

static void open_watch(bool checks_all)
{
    check_int(mir__watch_open(on_rule, NULL, &watch), ==, 0);
    rules = 0;
    first_rule[0] = report[0] = '\0';
    show(&syn, checks_all);
    show(&syn_ack, checks_all);
    for (size_t i = 0; i < MIR_ARRAY_LEN(opening); i++)
        show(&opening[i], checks_all);
}

static const struct {
    const char *rule; /* NULL: none */
    bool middle_too;  /* seen in the middle as well */
    struct piece piece;
} cases[] = {
    {NULL, true, {.flags = K, .seq = 501, .ack = 501, .len = 900, .wnd = 9900, TS(103, 702)}},
    {NULL, true, {.flags = K | F, .seq = 501, .ack = 501, .wnd = 9900, TS(103, 702)}},
    {"ACK of data that was never sent",
     true,
     {.flags = K, .seq = 501, .ack = 1502, .wnd = 9000, TS(103, 702)}},
    {"ACK of data that has not arrived",
     false,
     {.flags = K, .seq = 501, .ack = 502, .wnd = 9900, TS(103, 702)}},
    {"ACK goes back", false, {.flags = K, .seq = 501, .ack = 0, .wnd = 10000, TS(103, 702)}},
    {"hole in what is sent",
     false,
     {.flags = K, .seq = 502, .ack = 501, .len = 1, .wnd = 9900, TS(103, 702)}},
    {"data beyond the window",
     true, /* edge: 501 + 4000 * 2 */
     {.flags = K, .seq = 8001, .ack = 501, .len = 501, .wnd = 9900, TS(103, 702)}},
    {"segment above the MSS",
     true,
     {.flags = K, .seq = 501, .ack = 501, .len = 989, .wnd = 9900, TS(103, 702)}},
    {"window taken back", false, {.flags = K, .seq = 501, .ack = 501, .wnd = 9873, TS(103, 702)}},
    {"no timestamps though agreed", true, {.flags = K, .seq = 501, .ack = 501, .wnd = 9900}},
    {"timestamp goes back", false, {.flags = K, .seq = 501, .ack = 501, .wnd = 9900, TS(99, 702)}},
    {"echo of a timestamp that was never sent",
     true,
     {.flags = K, .seq = 501, .ack = 501, .wnd = 9900, TS(103, 703)}},
    {"option of a SYN on another segment",
     true,
     {.flags = K,
      .seq = 501,
      .ack = 501,
      .wnd = 9900,
      .opt = {.has_mss = true, .mss = 1460, .has_ts = true, .tsval = 103, .tsecr = 702}}},
    {"SYN with FIN or RST", true, {.flags = S | F, .seq = 501, .wnd = 9900}},
    {NULL,
     true,
     {.flags = K,
      .seq = 501,
      .ack = 501,
      .wnd = 9900,
      .opt = {.has_ts = true,
              .tsval = 103,
              .tsecr = 702,
              .sack_count = 1,
              .sack = {{B_ISN + 1001, B_ISN + 1501}}}}},
    {NULL,
     true, /* a repeated segment, below the ACK */
     {.flags = K,
      .seq = 501,
      .ack = 501,
      .wnd = 9900,
      .opt = {.has_ts = true,
              .tsval = 103,
              .tsecr = 702,
              .sack_count = 1,
              .sack = {{B_ISN + 1, B_ISN + 501}}}}},
    {"SACK of data that has not arrived",
     false,
     {.flags = K,
      .seq = 501,
      .ack = 501,
      .wnd = 9900,
      .opt = {.has_ts = true,
              .tsval = 103,
              .tsecr = 702,
              .sack_count = 1,
              .sack = {{B_ISN + 900, B_ISN + 1501}}}}},
    {"SACK of data that was never sent",
     true,
     {.flags = K,
      .seq = 501,
      .ack = 501,
      .wnd = 9900,
      .opt = {.has_ts = true,
              .tsval = 103,
              .tsecr = 702,
              .sack_count = 1,
              .sack = {{B_ISN + 1001, B_ISN + 1502}}}}},
    {"empty SACK block",
     true,
     {.flags = K,
      .seq = 501,
      .ack = 501,
      .wnd = 9900,
      .opt = {.has_ts = true,
              .tsval = 103,
              .tsecr = 702,
              .sack_count = 1,
              .sack = {{B_ISN + 1001, B_ISN + 1001}}}}},
    {"a frame leaves damaged",
     false,
     {.flags = K, .seq = 501, .ack = 501, .wnd = 9900, .is_damaged = true, TS(103, 702)}},
};

static void test_rules(void)
{
    for (size_t i = 0; i < MIR_ARRAY_LEN(cases); i++) {
        const char *rule = cases[i].rule != NULL ? cases[i].rule : "";
        tap_case("%zu: %s", i, cases[i].rule != NULL ? rule : "all rules are kept");
        open_watch(false);
        check_int(rules, ==, 0);
        if (cases[i].piece.seq == 8001) { /* let it get there */
            static const struct piece more = {
                .flags = K, .seq = 501, .ack = 501, .len = 7500, .wnd = 9900, TS(103, 702)};
            struct piece part = more;
            for (part.len = 500; part.seq < 8001; part.seq += 500)
                show(&part, false);
        }
        show(&cases[i].piece, false);
        check_str(first_rule, rule);
        mir__watch_close(watch);
        if (cases[i].piece.seq == 8001)
            continue;
        open_watch(true);
        show(&cases[i].piece, true);
        check_str(first_rule, cases[i].middle_too ? rule : "");
        mir__watch_close(watch);
    }
}

static void test_lives(void)
{
    struct piece piece = {.flags = S, .from_b = true, .is_in = true, .seq = 90000, .wnd = 100};
    tap_case("a stray SYN of an earlier life changes nothing");
    open_watch(false);
    show(&piece, false);
    piece = opening[0];
    piece.ack = piece.seq = 501;
    piece.opt.tsval = 103;
    show(&piece, false);
    check_int(rules, ==, 0);
    piece.ack = 1502;
    show(&piece, false);
    check_str(first_rule, "ACK of data that was never sent");
    check(strstr(report, "10.0.0.1:40000") != NULL && strstr(report, "limit 1501") != NULL);
    check(strstr(report, "seq 1001 len 500") != NULL); /* the last packets */
    mir__watch_close(watch);

    tap_case("the same ports again: another connection");
    open_watch(false);
    piece = syn;
    piece.seq = 700000;
    show(&piece, false);
    piece = syn_ack;
    piece.seq = 40;
    piece.ack = 700001;
    show(&piece, false);
    piece = opening[0];
    piece.seq = 700001;
    piece.ack = 41;
    show(&piece, false);
    check_int(rules, ==, 0);
    piece.ack = 42;
    show(&piece, false);
    check_str(first_rule, "ACK of data that was never sent");
    mir__watch_close(watch);

    tap_case("a connection seen from its middle is learned: no rule is applied wrongly");
    check_int(mir__watch_open(on_rule, NULL, &watch), ==, 0);
    rules = 0;
    for (size_t i = 2; i < MIR_ARRAY_LEN(opening); i++)
        show(&opening[i], true);
    show(&cases[0].piece, true);
    check_int(rules, ==, 0);
    mir__watch_close(watch);

    tap_case("more connections than the table holds: the oldest are forgotten");
    struct mir__watch_stats stats;
    check_int(mir__watch_open(on_rule, NULL, &watch), ==, 0);
    static uint8_t frame[54] = {[12] = 8, [14] = 0x45, [17] = 40, [22] = 64, 6};
    frame[46] = 0x50;
    frame[47] = K;
    for (uint32_t i = 0; i < 70000; i++) {
        mir_put_be32(frame + 26, i);
        mir_put_be16(frame + 24, 0);
        uint16_t sum = (uint16_t)~mir__csum_partial(frame + 14, 20);
        memcpy(frame + 24, &sum, 2);
        struct mir__watch_frame seen = {
            .where = "a", .data = frame, .len = 54, .is_checked = true, .is_sum_known = true};
        mir__watch_see(watch, &seen);
    }
    mir__watch_get_stats(watch, &stats);
    check_int(stats.segments, ==, 70000);
    check_int(stats.forgotten, ==, 70000 - 65536);
    mir__watch_close(watch);
}

int main(void)
{
    tap_begin("sim_watch");
    test_rules();
    test_lives();
    return tap_done();
}
