/* SPDX-License-Identifier: ISC */
/* Reactions to losses that were none are taken back: Eifel, F-RTO, D-SACK. */
#include "lib/net/tcp/internal.h"
#include "test/harness/tcp_script.h"

static struct tcp_script s;
static const struct mir_net_config reno = {.congestion = "reno"};
static uint32_t mss; /* payload of a full segment */
static uint32_t first_tsval;

static struct mir_tcp_info info(void)
{
    struct mir_tcp_info i;
    mir_tcp_get_info(s.tcp, &i);
    return i;
}

static uint32_t seg(uint32_t i)
{
    return 1 + i * mss;
}

static void sacks(uint32_t ack, uint32_t from, uint32_t to)
{
    s.sack_block[s.sack_count][0] = seg(from);
    s.sack_block[s.sack_count++][1] = seg(to);
    in(&s, "A", 1, seg(ack), 0);
}

static void drain(void)
{
    while (script_next(&s))
        continue;
}

/* Round trip 20 ms; @count segments are queued, the first ten on their way. */
static void start(const struct mir_net_config *config, bool has_ts, uint32_t count)
{
    script_open(&s, config);
    s.sack = true;
    s.ts = has_ts;
    mss = has_ts ? 1448 : 1460;
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    s.tsval++;
    script_wait(&s, 20000);
    in(&s, "A", 1, 1, 0);
    script_send(&s, count * mss);
    for (uint32_t i = 0; i < 10; i++)
        out(&s, "A", seg(i), 1, mss);
    first_tsval = s.opt.tsval;
    quiet(&s);
}

/* The probe and then the timeout; the first segment went out again. */
static void time_out(void)
{
    uint32_t before = info().timeouts;
    for (int i = 0; i < 100 && info().timeouts == before; i++) {
        drain();
        script_wait(&s, 10000);
    }
    out(&s, "A", seg(0), 1, info().mss); /* smaller the second time: the size may be why */
    quiet(&s);
    check_int(info().timeouts, ==, before + 1);
    check_int(info().cwnd_bytes, ==, info().mss);
}

static void test_eifel(void)
{
    tap_case("delay spike: an old timestamp comes back, what was in flight is not sent again");
    start(&reno, true, 40);
    uint32_t ssthresh = info().ssthresh_bytes;
    time_out();
    s.tsecr = first_tsval;
    in(&s, "A", 1, seg(2), 0);
    check_int(script_stat(&s, "spurious_timeouts"), ==, 1);
    check_int(info().ssthresh_bytes, ==, ssthresh);
    check_int(info().cwnd_bytes, >=, 8 * mss);
    while (script_next(&s))
        check_int(s.hdr.seq - s.our_isn, >=, seg(10));
    for (uint32_t i = 4; i <= 10; i += 2)
        in(&s, "A", 1, seg(i), 0);
    while (script_next(&s))
        check_int(s.hdr.seq - s.our_isn, >=, seg(10));
    check_int(info().cwnd_bytes, >=, 10 * mss);
    check_int(info().rto_us, >, 300000); /* it has learned */
    script_close(&s);

    tap_case("the timeout was right: a new timestamp comes back, slow start goes on");
    start(&reno, true, 40);
    time_out();
    script_wait(&s, 20000);
    s.tsecr = UINT32_MAX;
    in(&s, "A", 1, seg(1), 0);
    check_int(script_stat(&s, "spurious_timeouts"), ==, 0);
    out(&s, "A", seg(1), 1, mss);
    out(&s, "A", seg(2), 1, mss);
    quiet(&s);
    check_int(info().cwnd_bytes, ==, 2 * mss);
    script_close(&s);

    tap_case("many D-SACKs after one spike: the reordering window grows once");
    start(&reno, true, 10);
    time_out();
    s.tsecr = first_tsval;
    in(&s, "A", 1, seg(10), 0);
    for (uint32_t i = 0; i < 8; i++)
        sacks(10, i, i + 1);
    check_int(script_stat(&s, "dsacks_in"), ==, 8);
    check_int(pcb_of(s.tcp)->reo_extra, ==, 1);
    script_close(&s);

    tap_case("two timeouts in a spike: undone to what was before the first");
    start(&reno, true, 40);
    time_out();
    time_out();
    s.tsecr = first_tsval;
    in(&s, "A", 1, seg(10), 0);
    check_int(script_stat(&s, "spurious_timeouts"), ==, 1);
    check_int(info().cwnd_bytes, >=, 9 * mss);
    check(script_next(&s));
    check_int(s.hdr.seq - s.our_isn, >=, seg(10));
    script_close(&s);

    tap_case("a peer that claims old timestamps again and again gains nothing");
    start(&reno, true, 200);
    time_out();
    s.tsecr = first_tsval;
    uint32_t before = info().cwnd_bytes;
    in(&s, "A", 1, seg(1), 0);
    uint32_t after = info().cwnd_bytes;
    check_int(after, >, before);
    for (int i = 0; i < 20; i++)
        in(&s, "A", 1, seg(1), 0);
    check_int(info().cwnd_bytes, ==, after);
    script_close(&s);

    tap_case("CUBIC: its function of time is back too");
    start(NULL, true, 40);
    time_out();
    s.tsecr = first_tsval;
    in(&s, "A", 1, seg(10), 0);
    check_int(script_stat(&s, "spurious_timeouts"), ==, 1);
    check_int(info().ssthresh_bytes, ==, 1u << 30);
    script_close(&s);
}

static void test_frto(void)
{
    tap_case("F-RTO: originals still arrive: two new segments, then all is undone");
    start(&reno, false, 40);
    time_out();
    in(&s, "A", 1, seg(1), 0);
    while (script_next(&s))
        check_int(s.hdr.seq - s.our_isn, >=, seg(10));
    uint32_t resent = info().retransmits;
    in(&s, "A", 1, seg(2), 0);
    check_int(script_stat(&s, "spurious_timeouts"), ==, 1);
    while (script_next(&s))
        check_int(s.hdr.seq - s.our_isn, >=, seg(12));
    check_int(info().retransmits, ==, resent);
    check_int(info().cwnd_bytes, >=, 9 * mss);
    script_close(&s);

    tap_case("F-RTO: the new segments arrive over a hole: the loss was real");
    start(&reno, false, 40);
    time_out();
    in(&s, "A", 1, seg(1), 0);
    uint32_t new_data = 0;
    while (script_next(&s))
        new_data += s.hdr.seq - s.our_isn >= seg(10);
    check_int(new_data, ==, 2);
    sacks(1, 11, 12);
    check_int(script_stat(&s, "spurious_timeouts"), ==, 0);
    out(&s, "A", seg(1), 1, mss);
    drain();
    script_close(&s);

    tap_case("F-RTO: nothing new to send: the conventional way");
    start(&reno, false, 10);
    time_out();
    in(&s, "A", 1, seg(1), 0);
    out(&s, "A", seg(1), 1, mss);
    in(&s, "A", 1, seg(3), 0);
    check_int(script_stat(&s, "spurious_timeouts"), ==, 0);
    script_close(&s);

    tap_case(
        "F-RTO: less than a segment is new, and Nagle would hold it back: the conventional way");
    start(&reno, false, 10);
    script_send(&s, 10);
    time_out();
    in(&s, "A", 1, seg(1), 0);
    out(&s, "A", seg(1), 1, mss);
    script_close(&s);

    tap_case("F-RTO: not after a second timeout");
    start(&reno, false, 40);
    time_out();
    time_out();
    in(&s, "A", 1, seg(1), 0);
    check(script_next(&s));
    check_int(s.hdr.seq - s.our_isn, ==, seg(1));
    script_close(&s);
}

static void test_dsack(void)
{
    tap_case("D-SACK: a fast retransmission was not needed: the window is back");
    start(&reno, false, 40);
    script_wait(&s, 20000);
    uint32_t cwnd = info().cwnd_bytes;
    sacks(0, 1, 5);
    out(&s, "A", seg(0), 1, mss);
    check_int(info().cwnd_bytes, <, cwnd);
    drain();
    in(&s, "A", 1, seg(10), 0); /* the late one; no timestamps tell */
    check_int(info().cwnd_bytes, <, cwnd);
    drain();
    sacks(10, 0, 1);
    check_int(script_stat(&s, "spurious_recoveries"), ==, 1);
    check_int(info().cwnd_bytes, >=, cwnd);
    script_close(&s);

    tap_case("D-SACK of the first missing byte: impossible, the reduction stays");
    start(&reno, false, 40);
    script_wait(&s, 20000);
    sacks(0, 1, 5);
    out(&s, "A", seg(0), 1, mss);
    drain();
    s.sack_block[0][0] = seg(0), s.sack_block[0][1] = seg(1);
    s.sack_block[1][0] = seg(0), s.sack_block[1][1] = seg(5);
    s.sack_count = 2;
    in(&s, "A", 1, seg(0), 0);
    check_int(script_stat(&s, "spurious_recoveries"), ==, 0);
    check_int(script_stat(&s, "dsacks_in"), ==, 0);
    drain();
    script_close(&s);

    tap_case("D-SACK: half of what was sent again was needed: the reduction stays");
    start(&reno, false, 40);
    script_wait(&s, 20000);
    s.sack_block[0][0] = seg(1), s.sack_block[0][1] = seg(3);
    s.sack_block[1][0] = seg(4), s.sack_block[1][1] = seg(10);
    s.sack_count = 2;
    in(&s, "A", 1, seg(0), 0);
    drain();
    check_int(info().retransmits, ==, 2);
    in(&s, "A", 1, seg(10), 0);
    sacks(10, 0, 1);
    drain();
    check_int(script_stat(&s, "spurious_recoveries"), ==, 0);
    check_int(info().cwnd_bytes, <, 10 * mss);
    script_close(&s);

    tap_case("D-SACK after all is acknowledged: the next flight has the window of before");
    start(&reno, false, 10);
    script_wait(&s, 20000);
    sacks(0, 1, 5);
    drain();
    in(&s, "A", 1, seg(10), 0);
    sacks(10, 0, 1);
    check_int(script_stat(&s, "spurious_recoveries"), ==, 1);
    check_int(info().cwnd_bytes, >=, 10 * mss);
    script_close(&s);

    tap_case("reordering found by timestamps: recovery ends at once, reduction undone");
    start(&reno, true, 40);
    script_wait(&s, 20000);
    cwnd = info().cwnd_bytes;
    s.tsecr = first_tsval;
    sacks(0, 1, 5);
    out(&s, "A", seg(0), 1, mss);
    drain();
    in(&s, "A", 1, seg(5), 0);
    check_int(script_stat(&s, "spurious_recoveries"), ==, 1);
    check_int(info().cwnd_bytes, >=, cwnd);
    script_close(&s);

    tap_case("a real loss repaired by the retransmission: nothing is undone");
    start(&reno, true, 40);
    script_wait(&s, 20000);
    s.tsecr = first_tsval;
    sacks(0, 1, 5);
    drain();
    script_wait(&s, 20000);
    s.tsecr = UINT32_MAX;
    in(&s, "A", 1, seg(10), 0);
    check_int(script_stat(&s, "spurious_recoveries"), ==, 0);
    script_close(&s);
}

/* ---- what the review of recovery found ---------------------------------------------------------
 */

static void test_recovery_review(void)
{
    tap_case("a round trip below the clock's step does not become the smallest one for ever");
    start(&reno, true, 10);
    time_out();
    in(&s, "A", 1, seg(10), 0); /* in the same millisecond */
    check_int(info().min_rtt_us, >=, 1000);
    script_close(&s);

    tap_case("an ACK that moves nothing forward grows no window in recovery (RFC 9937 safeACK)");
    start(&reno, false, 40);
    script_wait(&s, 20000);
    sacks(0, 1, 7);
    drain(); /* pipe 3, ssthresh 5 */
    uint32_t sent = info().segs_out;
    sacks(0, 1, 8);
    drain();
    check_int(info().segs_out - sent, <=, 1);
    script_close(&s);

    tap_case("an acknowledgment up to SACKed data and not beyond: the peer dropped it");
    start(&reno, false, 40);
    script_wait(&s, 20000);
    sacks(0, 1, 10);
    drain();
    in(&s, "A", 1, seg(1), 0);
    check_int(script_stat(&s, "sack_reneged"), ==, 1);
    check(script_next(&s));
    check_int(s.hdr.seq - s.our_isn, ==, seg(1));
    drain();
    check_int(info().timeouts, ==, 0);
    script_close(&s);
}

int main(void)
{
    tap_begin("tcp_undo");
    test_eifel();
    test_frto();
    test_dsack();
    test_recovery_review();
    return tap_done();
}
