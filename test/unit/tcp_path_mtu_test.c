/* SPDX-License-Identifier: ISC */
/* Paths that carry less than they seem to: black holes, probes, what ICMP may say. */
#include "lib/net/route.h"
#include "test/harness/tcp_script.h"

static struct tcp_script s;
static const struct mir_net_config reno = {.tcp_sndbuf_bytes = 1u << 20, .congestion = "reno"};

static struct mir_tcp_info info(void)
{
    struct mir_tcp_info i;
    mir_tcp_get_info(s.tcp, &i);
    return i;
}

/* Our segments above this many bytes of IP packet vanish; the peer acknowledges the rest, with one
 * SACK block. Returns when @until bytes have been acknowledged, or after a minute. */
static uint32_t have, block_left, block_right;
static uint32_t largest; /* payload that got through */

static void play(uint32_t mtu, uint32_t until)
{
    for (int i = 0; i < 6000 && have < until + 1; i++) {
        uint32_t before = have;
        bool any = false;
        while (script_next(&s)) {
            uint32_t left = s.hdr.seq - s.our_isn, right = left + s.len;
            if (s.len == 0 || s.len + s.hdr.hdr_len + 20u > mtu)
                continue;
            any = true;
            largest = MIR_MAX(largest, s.len);
            if (left <= have && right > have) {
                have = right;
                if (block_right > 0 && block_left <= have) {
                    have = MIR_MAX(have, block_right);
                    block_left = block_right = 0;
                }
            } else if (left > have && (block_right == 0 || left <= block_right)) {
                block_left = block_right == 0 ? left : MIR_MIN(left, block_left);
                block_right = MIR_MAX(right, block_right);
            }
        }
        script_wait(&s, 10000);
        if (!any && have == before)
            continue;
        if (block_right > 0) {
            s.sack_block[0][0] = block_left;
            s.sack_block[0][1] = block_right;
            s.sack_count = 1;
        }
        in(&s, "A", 1, have, 0);
    }
    check_int(have, >=, until + 1);
}

static void start(bool has_sack)
{
    script_open(&s, &reno);
    s.sack = has_sack;
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    script_wait(&s, 20000);
    in(&s, "A", 1, 1, 0);
    have = 1;
    block_left = block_right = largest = 0;
}

static uint16_t cached(void)
{
    struct mir_ip peer = mir_ip_from_v4(TESTBED_PEER_IP);
    return mir__pmtu_find(mir__net_of_stack(s.bed.stack), &peer);
}

static void test_black_hole(void)
{
    tap_case("black hole at 1300 bytes: found by two timeouts, 1280 from then on");
    start(true);
    script_send(&s, 200000);
    play(1300, 100000);
    check_int(info().mss, ==, 1240);
    check_int(largest, ==, 1240);
    check_int(script_stat(&s, "pmtu_black_holes"), ==, 1);
    check_int(info().timeouts, ==, 2);

    tap_case("... confirmed by two probes that are lost, without a reduction for either");
    check_int(script_stat(&s, "pmtu_probes"), ==, 2);
    check_int(script_stat(&s, "pmtu_raised"), ==, 0);
    check_int(info().fast_retransmits, ==, 0);
    check_int(cached(), ==, 1280);
    play(1300, 200000);
    check_int(script_stat(&s, "pmtu_probes"), ==, 2);
    check_int(info().timeouts, ==, 2);

    tap_case("... the next connection to that host begins with what works");
    mir_tcp_abort(s.tcp);
    s.tcp = NULL;
    script_next(&s);
    s.peer_port++;
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    in(&s, "A", 1, 1, 0);
    check_int(info().mss, ==, 1240);
    script_close(&s);

    tap_case("... ten minutes later full size is tried again, and found to work");
    start(true);
    script_send(&s, 200000);
    play(1300, 200000);
    check_int(cached(), ==, 1280);
    for (int i = 0; i < 61; i++) {
        script_wait(&s, 10 * MIR_US_PER_S);
        while (script_next(&s))
            continue;
    }
    check_int(cached(), ==, 0);
    script_send(&s, 200000);
    play(1500, 400000);
    check_int(info().mss, ==, 1460);
    check_int(script_stat(&s, "pmtu_raised"), ==, 1);
    check_int(info().timeouts, ==, 2);
    script_close(&s);

    tap_case("black hole at 1100 bytes: 1024 bytes of payload after four timeouts");
    start(true);
    script_send(&s, 100000);
    play(1100, 100000);
    check_int(info().mss, ==, 1024);
    check_int(info().timeouts, ==, 4);
    script_close(&s);

    tap_case("black hole at 600 bytes: the floor, where routers may fragment");
    start(true);
    script_send(&s, 50000);
    play(600, 50000);
    check_int(info().mss, ==, 536);
    script_close(&s);

    tap_case("without SACK: stays at the size that works");
    start(false);
    script_send(&s, 100000);
    play(1300, 100000);
    check_int(info().mss, ==, 1240);
    check_int(script_stat(&s, "pmtu_probes"), ==, 0);
    script_close(&s);
}

static void test_outage(void)
{
    tap_case("the path was down for a while: one probe, full segments again");
    start(true);
    script_send(&s, 400000);
    play(1500, 50000);
    play(0, 0);
    for (int i = 0; i < 30; i++) {
        script_wait(&s, 100000);
        while (script_next(&s))
            continue;
    }
    check_int(info().mss, <, 1460);
    play(1500, 400000);
    check_int(info().mss, ==, 1460);
    check_int(script_stat(&s, "pmtu_raised"), ==, 1);
    check_int(script_stat(&s, "pmtu_probes"), ==, 1);
    check_int(cached(), ==, 0);
    script_close(&s);

    tap_case("timeouts of small segments say nothing about size");
    start(true);
    script_send(&s, 100);
    for (int i = 0; i < 50; i++) {
        script_wait(&s, 100000);
        while (script_next(&s))
            continue;
    }
    check_int(info().timeouts, >=, 3);
    check_int(script_stat(&s, "pmtu_black_holes"), ==, 0);
    script_close(&s);
}

int main(void)
{
    tap_begin("tcp_path_mtu");
    test_black_hole();
    test_outage();
    return tap_done();
}
