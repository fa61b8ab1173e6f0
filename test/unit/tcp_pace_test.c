/* SPDX-License-Identifier: ISC */
/* Pacing: a window that one ACK opens does not leave at once, what ACKs clock is not held back, and
 * where round trips are short nothing is.
 */
#include "test/harness/tcp_script.h"

#define MSS 1448u

static struct tcp_script s;

/* A connection with a round trip of @rtt_us and all of a stream to send. */
static void open_flow(mir_time_us rtt_us, bool is_strict)
{
    struct mir_net_config config = {.tcp_sndbuf_bytes = 4u << 20, .tcp_pacing = is_strict};
    script_open(&s, &config);
    s.ts = s.sack = true;
    s.wscale = 8;
    s.wnd = 65535;
    script_start_connect(&s);
    script_wait(&s, rtt_us);
    in(&s, "SA", 0, 1, 0);
    out(&s, "A", 1, 1, 0);
    check_int(script_send(&s, 1000000), ==, 1000000);
}

/* Everything that is sent now; returns the bytes. */
static uint32_t take_all(void)
{
    uint32_t bytes = 0;
    while (script_next(&s))
        bytes += s.len;
    return bytes;
}

static struct mir_tcp_info info(void)
{
    struct mir_tcp_info i;
    mir_tcp_get_info(s.tcp, &i);
    return i;
}

/* Let the window grow for @rounds, one large ACK each. Returns what was sent in all. */
static uint32_t grow(int rounds, mir_time_us rtt_us)
{
    uint32_t sent = 0;
    script_wait(&s, 0);
    for (int i = 0; i < rounds; i++) {
        for (int k = 0; k < 20; k++) {
            sent += take_all();
            script_wait(&s, rtt_us / 20);
        }
        sent += take_all();
        in(&s, "A", 1, 1 + sent, 0);
    }
    return sent;
}

static void test_burst(void)
{
    tap_case("one ACK opens a window: sixteen segments at once, the rest in half a round trip");
    open_flow(40000, false);
    (void)grow(7, 40000);
    uint32_t cwnd = info().cwnd_bytes;
    check_int(cwnd, >, 60 * MSS);
    check_int(info().flight_bytes, <=, 18 * MSS);
    uint32_t at_once = take_all();
    check_int(at_once, >=, 15 * MSS);
    check_int(at_once, <=, 18 * MSS);
    uint32_t sent = at_once;
    uint32_t most = 0;
    int steps = 0;
    for (; steps < 45 && sent + MSS <= cwnd; steps++) {
        script_wait(&s, 1024);
        uint32_t n = take_all();
        most = MIR_MAX(most, n);
        sent += n;
    }
    check_int(sent + MSS, >, cwnd);
    check_int(steps, >=, 8);
    check_int(steps, <=, 36); /* 1.2 windows a round trip or more */
    check_int(most, <=, 18 * MSS);
    script_close(&s);

    tap_case("what ACKs clock is sent with them, no timer between");
    open_flow(40000, false);
    uint32_t all = grow(7, 40000);
    script_wait(&s, 39000);
    all += take_all();
    uint32_t acked = all - info().flight_bytes;
    bool is_held = false;
    for (int i = 0; i < 28 && acked + 2 * MSS <= all; i++) {
        acked += 2 * MSS;
        script_wait(&s, 1300);
        in(&s, "A", 1, 1 + acked, 0);
        struct mir_tcp_info now = info();
        is_held |= now.flight_bytes + MSS <= MIR_MIN(now.cwnd_bytes, now.snd_wnd_bytes);
        (void)take_all();
    }
    check(!is_held);
    script_close(&s);

    tap_case("a short round trip: the whole window at once");
    open_flow(500, false);
    (void)grow(7, 500);
    uint32_t flight = info().flight_bytes;
    check_int(flight, >, 60 * MSS);
    check_int(flight + MSS, >, info().cwnd_bytes);
    script_close(&s);
}

static void test_strict(void)
{
    tap_case("strict: never more than two milliseconds' worth at once");
    open_flow(40000, true);
    (void)grow(7, 40000);
    uint32_t cwnd = info().cwnd_bytes;
    check_int(info().pacing_rate_bytes, >=, cwnd * 25ull);
    uint32_t limit = (uint32_t)(info().pacing_rate_bytes * 4096 / 1000000) + 3 * MSS;
    uint32_t sent = take_all();
    check_int(sent, <=, limit);
    for (int i = 0; i < 20; i++) {
        script_wait(&s, 1024);
        uint32_t n = take_all();
        check_int(n, <=, limit);
        sent += n;
    }
    check_int(sent, >, cwnd / 3);
    script_close(&s);
}

static void test_long_round_trip(void)
{
    tap_case("half a minute of silence: the rate is not one window for such a round trip");
    open_flow(40000, false);
    uint32_t sent = grow(5, 40000) + take_all();
    uint32_t tsval = s.opt.tsval;
    script_wait(&s, 30 * MIR_US_PER_S);
    (void)take_all();
    s.tsecr = tsval;
    in(&s, "A", 1, 1 + sent, 0);
    check_int(info().srtt_us, >, MIR_US_PER_S);
    check_int(info().pacing_rate_bytes, >=, info().cwnd_bytes * 6ull);
    script_close(&s);

    tap_case("acknowledgments were lost: the answer to a repetition tells no round trip");
    open_flow(40000, false);
    sent = grow(5, 40000) + take_all();
    tsval = s.opt.tsval;
    script_wait(&s, 30 * MIR_US_PER_S);
    (void)take_all();
    s.tsecr = tsval;
    s.sack_count = 1;
    s.sack_block[0][0] = 1 + sent - MSS;
    s.sack_block[0][1] = 1 + sent;
    in(&s, "A", 1, 1 + sent, 0);
    check_int(info().srtt_us, <, 100 * MIR_US_PER_MS);
    script_close(&s);
}

int main(void)
{
    tap_begin("tcp_pace");
    test_burst();
    test_strict();
    test_long_round_trip();
    return tap_done();
}
