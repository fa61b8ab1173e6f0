/* SPDX-License-Identifier: ISC */
/* What a connection tells about itself (lib/net/tcp/info.c). */
#include "test/harness/tcp_script.h"

#define MSS 1448u
#define RTT (20 * MIR_US_PER_MS)

static struct tcp_script s;

static struct mir_tcp_info info(void)
{
    struct mir_tcp_info i;
    mir_tcp_get_info(s.tcp, &i);
    return i;
}

static void open_flow(void)
{
    script_open(&s, NULL);
    s.ts = s.sack = true;
    s.wscale = 8;
    s.wnd = 65535;
    script_start_connect(&s);
    script_wait(&s, RTT);
    in(&s, "SA", 0, 1, 0);
    out(&s, "A", 1, 1, 0);
}

static void block(uint32_t first, uint32_t count)
{
    s.sack_count = 1;
    s.sack_block[0][0] = 1 + first * MSS;
    s.sack_block[0][1] = 1 + (first + count) * MSS;
}

static void test_sending(void)
{
    tap_case("what was agreed, what is queued, what was never sent");
    open_flow();
    check(info().timestamps && info().sack);
    check_int(info().adv_mss, ==, 1460);
    check_int(info().sndbuf_bytes, ==, 256 << 10);
    check_int(info().rcvbuf_bytes, ==, 128 << 10);
    check_int(script_send(&s, 20 * MSS), ==, 20 * MSS);
    script_wait(&s, 0);
    while (script_next(&s))
        continue;
    check_int(info().flight_bytes, ==, 10 * MSS);
    check_int(info().notsent_bytes, ==, 10 * MSS);
    check_int(info().busy_ms, ==, 0);
    check_int(info().delivery_rate_bytes, ==, 0);
    check_int(info().pacing_rate_bytes, >=, 2 * 10 * MSS * 40); /* 50 round trips a second */

    tap_case("what is SACKed, lost, sent again");
    script_wait(&s, RTT);
    block(2, 4);
    in(&s, "A", 1, 1, 0); /* 0, 1 are missing */
    check_int(info().sacked_bytes, ==, 4 * MSS);
    check(info().in_recovery && !info().reordering_seen);
    check_int(info().lost_bytes + info().retrans_out_bytes, ==, 2 * MSS);
    while (script_next(&s))
        continue;
    script_wait(&s, RTT);
    block(2, 8);
    in(&s, "A", 1, 1, 0);
    check_int(info().sacked_bytes, ==, 8 * MSS);
    check_int(info().retrans_out_bytes, >=, MSS);
    check_int(info().retransmits, >=, 1);
    while (script_next(&s))
        continue;
    for (int i = 0; i < 10 && info().send_queue_bytes > 0; i++) {
        script_wait(&s, RTT);
        in(&s, "A", 1, (uint32_t)info().bytes_acked + 1 + info().flight_bytes, 0);
        while (script_next(&s))
            continue;
    }
    check(!info().in_recovery);
    check_int(info().flight_bytes, ==, 0);
    check_int(info().notsent_bytes, ==, 0);
    uint32_t busy_ms = info().busy_ms;
    check_int(busy_ms, >=, 60);
    check_int(busy_ms, <=, 120);
    check_int(info().sacked_bytes + info().lost_bytes + info().retrans_out_bytes, ==, 0);

    tap_case("how fast it goes");
    check_int(script_send(&s, 4 * MSS), ==, 4 * MSS);
    script_wait(&s, RTT);
    in(&s, "A", 1, 1 + 24 * MSS, 0);
    uint64_t rate = info().delivery_rate_bytes; /* four segments in 20 ms and a tick */
    check_int(rate, <=, 4 * MSS * 50);
    check_int(rate, >, 4 * MSS * 45);
    check_int(info().busy_ms, ==, busy_ms + 20);
    script_close(&s);
}

static void test_receiving(void)
{
    tap_case("the receiver's side: early bytes, its round trip, what the application takes");
    open_flow();
    s.reads = true;
    script_wait(&s, RTT);
    uint32_t at = 1;
    in(&s, "A", at + 1000, 1, 500);
    check_int(info().early_bytes, ==, 500);
    in(&s, "A", at, 1, 1000);
    check_int(info().early_bytes, ==, 0);
    at += 1500;
    for (int round = 0; round < 6; round++) {
        while (script_next(&s))
            continue;
        script_wait(&s, RTT);
        for (int i = 0; i < 40 * (1 + round); i++, at += 1448)
            in(&s, "A", at, 1, 1448);
    }
    check_int(info().rcv_mss, ==, 1448);
    check_int(info().rcv_rtt_us, >=, RTT);
    check_int(info().rcv_rtt_us, <=, RTT + 2000);
    check_int(info().rcv_space_bytes, >, 100000);
    check_int(info().rcvbuf_bytes, >, 128 << 10); /* has grown */
    check_int(info().last_received_ms, ==, 0);
    script_wait(&s, 500 * MIR_US_PER_MS);
    check_int(info().last_received_ms, ==, 500);
    script_close(&s);
}

int main(void)
{
    tap_begin("tcp_info");
    test_sending();
    test_receiving();
    return tap_done();
}
