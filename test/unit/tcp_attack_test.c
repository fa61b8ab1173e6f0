/* SPDX-License-Identifier: ISC */
/* What blind or odd peers send: RFC 5961, PAWS, malformed headers; numbers nobody may guess. */
#include <mirari/bytes.h>
#include <string.h>

#include "lib/wire/csum.h"
#include "test/harness/tcp_script.h"

static struct tcp_script s;

static void test_blind_rst(void)
{
    tap_case("RST exactly at rcv_nxt resets; elsewhere in the window: challenge; outside: nothing");
    script_open(&s, NULL);
    script_accept(&s);
    in(&s, "R", 2, 0, 0);
    out(&s, "A", 1, 1, 0);
    in(&s, "R", 60000, 0, 0);
    out(&s, "A", 1, 1, 0);
    in(&s, "R", 0, 0, 0);
    in(&s, "R", 0x40000000, 0, 0);
    quiet(&s);
    check_int(script_events(&s), ==, 0);
    in(&s, "R", 1, 0, 0);
    check_int(script_events(&s), ==, MIR_TCP_FAILED);
    script_close(&s);
}

static void test_blind_syn(void)
{
    tap_case("SYN on a connection: challenge ACK, whatever its number");
    script_open(&s, NULL);
    script_accept(&s);
    in(&s, "S", 1, 0, 0);
    out(&s, "A", 1, 1, 0);
    in(&s, "S", 0x40000000, 0, 0);
    out(&s, "A", 1, 1, 0);
    in(&s, "SA", 5, 1, 0);
    out(&s, "A", 1, 1, 0);
    quiet(&s);
    check_int(script_events(&s), ==, 0);

    tap_case("a peer that restarted gets through: challenge ACK, RST, SYN");
    in(&s, "S", 7777, 0, 0);
    out(&s, "A", 1, 1, 0);
    in(&s, "R", 1, 0, 0); /* what it answers in SYN_SENT */
    check_int(script_events(&s), ==, MIR_TCP_FAILED);
    in(&s, "S", 7777, 0, 0);
    check(script_next(&s));
    check_int(s.hdr.flags, ==, MIR__TCP_SYN | MIR__TCP_ACK);
    script_close(&s);
}

static void test_blind_data(void)
{
    tap_case("data with an ACK we never sent, or far too old: dropped, challenge ACK");
    script_open(&s, NULL);
    s.wnd = 1000;
    script_accept(&s);
    in(&s, "PA", 1, 2, 10);
    out(&s, "A", 1, 1, 0);
    in(&s, "PA", 1, 1u - 1001u, 10);
    out(&s, "A", 1, 1, 0);
    in(&s, "P", 1, 0, 10); /* no ACK at all */
    quiet(&s);
    check_int(s.received, ==, 0);
    in(&s, "PA", 1, 1u - 900u, 10); /* old, but within the largest window: its text counts */
    check_int(s.received, ==, 10);
    script_close(&s);

    tap_case("challenge ACKs are limited per connection and second");
    uint32_t answers = 0;
    script_open(&s, NULL);
    script_accept(&s);
    for (int i = 0; i < 1000; i++)
        in(&s, "R", 2, 0, 0);
    while (script_next(&s))
        answers++;
    check_int(answers, ==, 5);
    check_int(script_stat(&s, "challenge_acks_limited"), ==, 995);
    script_wait(&s, MIR_US_PER_S);
    in(&s, "R", 2, 0, 0);
    out(&s, "A", 1, 1, 0);
    script_close(&s);

    tap_case("segments outside the window: acknowledged, not taken");
    script_open(&s, NULL);
    script_accept(&s);
    in(&s, "PA", 0x10000000, 1, 10);
    out(&s, "A", 1, 1, 0);
    in(&s, "PA", 1u - 10u, 1, 10);
    out(&s, "A", 1, 1, 0);
    in(&s, "A", 0, 1, 0); /* somebody's keep-alive */
    out(&s, "A", 1, 1, 0);
    check_int(s.received, ==, 0);
    script_close(&s);
}

static void test_paws(void)
{
    tap_case("PAWS: an old timestamp is a ghost: dropped and acknowledged");
    script_open(&s, NULL);
    s.ts = true;
    script_accept(&s);
    s.tsval = 5000;
    in(&s, "PA", 1, 1, 10);
    out(&s, "A", 1, 11, 0);
    check_int(s.opt.tsecr, ==, 5000);
    s.tsval = 4999;
    in(&s, "PA", 11, 1, 10);
    out(&s, "A", 1, 11, 0);
    check_int(s.received, ==, 10);
    check_int(script_stat(&s, "drop_paws"), ==, 1);
    check_int(s.opt.tsecr, ==, 5000);
    in(&s, "R", 11, 0, 0); /* not for RST */
    check_int(script_events(&s) & MIR_TCP_FAILED, ==, MIR_TCP_FAILED);
    script_close(&s);

    tap_case("PAWS: timestamps wrap; after 24 days of silence any is new");
    script_open(&s, NULL);
    s.ts = true;
    s.tsval = 0xfffffff0u;
    script_accept(&s);
    s.tsval = 16;
    in(&s, "PA", 1, 1, 10);
    check_int(s.received, ==, 10);
    s.tsval = 0x90000000u;
    in(&s, "PA", 11, 1, 10);
    check_int(s.received, ==, 10);
    script_wait(&s, 25ull * 86400 * MIR_US_PER_S);
    testdev_clear(&s.bed.dev);
    in(&s, "PA", 11, 1, 10);
    check_int(s.received, ==, 20);
    script_close(&s);

    tap_case("timestamps agreed on and missing: dropped, but not RST");
    script_open(&s, NULL);
    s.ts = true;
    script_accept(&s);
    s.ts = false;
    in(&s, "PA", 1, 1, 10);
    quiet(&s);
    check_int(s.received, ==, 0);
    check_int(script_stat(&s, "drop_no_timestamp"), ==, 1);
    in(&s, "R", 1, 0, 0);
    check_int(script_events(&s), ==, MIR_TCP_FAILED);
    script_close(&s);

    tap_case("the echoed timestamp is that of the segment the ACK answers (RFC 7323 4.3)");
    script_open(&s, NULL);
    s.ts = true;
    script_accept(&s);
    s.tsval = 2000;
    in(&s, "PA", 101, 1, 100); /* early: does not count */
    out(&s, "A", 1, 1, 0);
    check_int(s.opt.tsecr, <, 2000);
    s.tsval = 3000;
    in(&s, "PA", 1, 1, 100);
    out(&s, "A", 1, 201, 0);
    check_int(s.opt.tsecr, ==, 3000);
    script_close(&s);
}

static size_t make_raw(uint8_t *frame, uint8_t *tcp, size_t len, bool good_sum)
{
    struct mir_ip src = mir_ip_from_v4(TESTBED_PEER_IP);
    struct mir_ip dst = mir_ip_from_v4(TESTBED_IP);
    if (len >= 18) {
        memset(tcp + 16, 0, 2);
        uint16_t sum = mir__csum_add(mir__csum_pseudo(&src, &dst, 6, (uint32_t)len),
                                     mir__csum_partial(tcp, len));
        sum = (uint16_t)(~sum + (good_sum ? 0 : 1));
        memcpy(tcp + 16, &sum, 2);
    }
    return testbed_make_ip(frame, 6, tcp, len);
}

static void test_malformed(void)
{
    uint8_t tcp[60] = {0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff};
    uint8_t frame[200];
    tap_case("short and malformed headers are dropped and counted");
    script_open(&s, NULL);
    script_listen(&s, 0);
    for (size_t len = 0; len < 20; len++)
        testdev_inject(&s.bed.dev, frame, make_raw(frame, tcp, len, true));
    check_int(script_stat(&s, "drop_malformed"), ==, 20);
    for (uint8_t offset = 0; offset < 16; offset++) {
        tcp[12] = (uint8_t)(offset << 4);
        if (offset != 5)
            testdev_inject(&s.bed.dev, frame, make_raw(frame, tcp, 20, true));
    }
    check_int(script_stat(&s, "drop_malformed"), ==, 35);
    tcp[12] = 0x50;
    testdev_inject(&s.bed.dev, frame, make_raw(frame, tcp, 20, false));
    check_int(script_stat(&s, "drop_bad_checksum"), ==, 1);
    quiet(&s);

    tap_case("options of a wrong length: dropped; unknown options: skipped");
    static const uint8_t bad[][4] = {{2, 0, 0, 0}, {3, 1, 0, 0}, {8, 10, 0, 0}, {1, 1, 1, 2}};
    tcp[12] = 0x60;
    for (size_t i = 0; i < MIR_ARRAY_LEN(bad); i++) {
        memcpy(tcp + 20, bad[i], 4);
        testdev_inject(&s.bed.dev, frame, make_raw(frame, tcp, 24, true));
    }
    check_int(script_stat(&s, "drop_bad_options"), ==, 4);
    quiet(&s);
    memcpy(tcp + 20, (uint8_t[]){77, 4, 1, 2}, 4);
    testdev_inject(&s.bed.dev, frame, make_raw(frame, tcp, 24, true));
    check(script_next(&s));
    check_int(s.hdr.flags, ==, MIR__TCP_SYN | MIR__TCP_ACK);

    tap_case("port 0 and broadcasts are not answered");
    tcp[12] = 0x50;
    memset(tcp, 0, 2);
    testdev_inject(&s.bed.dev, frame, make_raw(frame, tcp, 20, true));
    quiet(&s);
    memcpy(tcp, (uint8_t[]){0x9c, 0x50}, 2);
    size_t len = make_raw(frame, tcp, 20, true);
    memset(frame, 0xff, 6);
    testdev_inject(&s.bed.dev, frame, len);
    quiet(&s);
    script_close(&s);
}

static void test_all_flags(void)
{
    tap_case("every set of flags in every state: nothing breaks");
    for (int state = 0; state < 7; state++) {
        for (unsigned flags = 0; flags < 256; flags += flags < 63 ? 1 : 64) {
            char text[9];
            unsigned n = 0;
            for (unsigned bit = 0; bit < 8; bit++)
                if (flags & 1u << bit)
                    text[n++] = "FSRPAUEC"[bit];
            text[n] = '\0';
            script_memory_bytes = 2 << 20;
            script_open(&s, NULL);
            script_memory_bytes = 16 << 20;
            if (state == 0)
                script_listen(&s, 0);
            else if (state == 1)
                script_start_connect(&s);
            else
                script_accept(&s);
            if (state >= 3 && state != 5)
                mir_tcp_shutdown(s.tcp);
            while (script_next(&s))
                continue;
            if (state == 4)
                in(&s, "A", 1, 2, 0);
            if (state == 5 || state == 6)
                in(&s, "FA", 1, 1, 0);
            in(&s, text, state >= 5 ? 2 : 1, 1, 20);
            in(&s, text, state >= 5 ? 2 : 1, 2, 0);
            in(&s, text, 1, 1, 0);
            script_close(&s);
        }
    }
}

static void test_isn(void)
{
    tap_case("ISNs: grow with time for one pair of endpoints, are apart for others");
    script_open(&s, NULL);
    script_listen(&s, 0);
    uint32_t isn[8];
    for (uint16_t i = 0; i < 8; i++) {
        s.peer_port = (uint16_t)(40000 + i);
        in(&s, "S", 0, 0, 0);
        out(&s, "SA", 0, 1, 0);
        isn[i] = s.our_isn;
        for (uint16_t j = 0; j < i; j++)
            check(isn[i] - isn[j] > 1000 && isn[j] - isn[i] > 1000);
    }
    in(&s, "R", 1, 0, 0);
    script_wait(&s, 4000);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(s.our_isn - isn[7], ==, 1000); /* 4 us a step (RFC 6528 section 3) */
    script_close(&s);
}

static void test_ports(void)
{
    tap_case("local ports: random, high, all different for one remote endpoint");
    struct mir_net_config config = {.tcp_connections_max = 40000};
    static struct mir_tcp *tcp[32768];
    static uint8_t seen[65536];
    struct mir_endpoint remote = {mir_ip_from_v4(TESTBED_PEER_IP), 80};
    memset(&s, 0, sizeof s);
    testbed_init(&s.bed, 42, (size_t)64 << 20, 0);
    testbed_open(&s.bed, &config);
    s.bed.dev.queued_max = 1;
    uint32_t steps_by_one = 0;
    uint16_t last = 0;
    bool all_new = true;
    for (uint32_t i = 0; i < 32768; i++) {
        struct mir_endpoint local;
        int r = mir_tcp_connect(s.bed.stack, &remote, NULL, NULL, &tcp[i]);
        if (!check_int(r, ==, 0))
            break;
        mir_tcp_get_endpoints(tcp[i], &local, &remote);
        all_new &= seen[local.port] == 0 && local.port >= 32768;
        seen[local.port] = 1;
        if (i < 1000)
            steps_by_one += (uint16_t)(local.port - last) == 1;
        last = local.port;
        if (i % 256 == 0)
            testbed_run(&s.bed);
    }
    check(all_new);
    check_int(steps_by_one, <, 10);

    tap_case("all ports used up: an error, not an endless loop (ancestor's #462)");
    struct mir_tcp *extra;
    check_int(mir_tcp_connect(s.bed.stack, &remote, NULL, NULL, &extra), ==, -MIR_EADDRNOTAVAIL);
    remote.port = 81; /* another remote endpoint has them all free */
    check_int(mir_tcp_connect(s.bed.stack, &remote, NULL, NULL, &extra), ==, 0);
    mir_tcp_close(extra);
    for (uint32_t i = 0; i < 32768; i++)
        mir_tcp_close(tcp[i]);
    check_int(script_stat(&s, "connections"), ==, 0);
    check_int(script_stat(&s, "ports_exhausted"), ==, 1);
    testbed_close(&s.bed);
}

int main(void)
{
    tap_begin("tcp_attack");
    test_blind_rst();
    test_blind_syn();
    test_blind_data();
    test_paws();
    test_malformed();
    test_all_flags();
    test_isn();
    test_ports();
    return tap_done();
}
