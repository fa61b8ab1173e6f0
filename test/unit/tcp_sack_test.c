/* SPDX-License-Identifier: ISC */
/* Selective acknowledgment in both directions, RACK-TLP and PRR, rule by rule. */
#include "lib/net/tcp/loss.h"
#include "test/harness/tcp_script.h"

#define MSS 1460u

static struct tcp_script s;
static const struct mir_net_config reno = {.congestion = "reno"};

static struct mir_tcp_info info(void)
{
    struct mir_tcp_info i;
    mir_tcp_get_info(s.tcp, &i);
    return i;
}

static struct mir__tcp_state *host(void)
{
    return mir__net_tcp(mir__net_of_stack(s.bed.stack));
}

/* The next segment of the peer carries this block too. */
static void block(uint32_t left, uint32_t right)
{
    s.sack_block[s.sack_count][0] = left;
    s.sack_block[s.sack_count++][1] = right;
}

/* Sequence number of our segment @i. */
static uint32_t seg(uint32_t i)
{
    return 1 + i * MSS;
}

/* An ACK of everything before segment @ack that SACKs segments [from, to). */
static void sacks(uint32_t ack, uint32_t from, uint32_t to)
{
    block(seg(from), seg(to));
    in(&s, "A", 1, seg(ack), 0);
}

/* Connected over a round trip of 20 ms; ten segments of twenty are on their way. */
static void start_ten(void)
{
    script_open(&s, &reno);
    s.sack = true;
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    script_wait(&s, 20000);
    in(&s, "A", 1, 1, 0);
    script_send(&s, 20 * MSS);
    for (uint32_t i = 0; i < 10; i++)
        out(&s, "A", seg(i), 1, MSS);
    quiet(&s);
    script_wait(&s, 20000);
}

/* ---- negotiation --------------------------------------------------------------------------- */

static void test_negotiation(void)
{
    tap_case("SACK permitted: offered in our SYN, answered in kind, repeated with the SYN-ACK");
    script_open(&s, &reno);
    script_start_connect(&s);
    check(s.opt.sack_permitted);
    script_close(&s);
    for (int peer = 0; peer < 2; peer++) {
        script_open(&s, &reno);
        s.sack = peer == 1;
        script_listen(&s, 0);
        in(&s, "S", 0, 0, 0);
        out(&s, "SA", 0, 1, 0);
        check_int(s.opt.sack_permitted, ==, peer);
        script_wait(&s, 1100000);
        out(&s, "SA", 0, 1, 0);
        check_int(s.opt.sack_permitted, ==, peer);
        in(&s, "A", 1, 1, 0);
        in(&s, "PA", 101, 1, 100);
        out(&s, "A", 1, 1, 0);
        check_int(s.opt.sack_count, ==, peer);
        script_close(&s);
    }

    tap_case("no SACK of ours before the peer has agreed, and none at all if switched off");
    for (int peer = 0; peer < 2; peer++) {
        struct mir_net_config config = {.tcp_no_sack = peer == 1};
        script_open(&s, &config);
        s.sack = peer == 1;
        script_start_connect(&s);
        check_int(s.opt.sack_permitted, ==, peer == 0);
        in(&s, "SA", 0, 1, 0);
        out(&s, "A", 1, 1, 0);
        in(&s, "PA", 101, 1, 100);
        out(&s, "A", 1, 1, 0);
        check_int(s.opt.sack_count, ==, 0);
        script_close(&s);
    }

    tap_case("SYN cookies keep SACK through the timestamp, and lose it without one");
    for (int has = 0; has < 4; has++) {
        script_open(&s, &reno);
        script_listen(&s, 1);
        in(&s, "S", 0, 0, 0); /* fills the backlog */
        out(&s, "SA", 0, 1, 0);
        s.peer_port++;
        s.ts = (has & 1) != 0;
        s.sack = (has & 2) != 0;
        in(&s, "S", 0, 0, 0);
        out(&s, "SA", 0, 1, 0);
        check_int(script_stat(&s, "cookies_sent"), ==, 1);
        check_int(s.opt.sack_permitted, ==, has == 3);
        in(&s, "A", 1, 1, 0);
        check_int(script_stat(&s, "cookies_accepted"), ==, 1);
        in(&s, "PA", 101, 1, 100);
        out(&s, "A", 1, 1, 0);
        check_int(s.opt.sack_count, ==, has == 3);
        script_close(&s);
    }

    tap_case(
        "SYN cookies where timestamps are switched off: none is agreed, whatever the peer says");
    for (int late = 0; late < 2; late++) {
        struct mir_net_config without = {.tcp_no_timestamps = true};
        script_open(&s, &without);
        script_listen(&s, 1);
        in(&s, "S", 0, 0, 0);
        out(&s, "SA", 0, 1, 0);
        s.peer_port++;
        s.ts = s.sack = true;
        in(&s, "S", 0, 0, 0);
        out(&s, "SA", 0, 1, 0);
        check_int(script_stat(&s, "cookies_sent"), ==, 1);
        check(!s.opt.has_ts && !s.opt.sack_permitted && !s.opt.has_wscale);
        s.ts = late != 0;
        s.tsecr = 0;
        in(&s, "A", 1, 1, 0);
        check_int(script_stat(&s, "cookies_accepted"), ==, 1);
        in(&s, "PA", 1, 1, 100);
        out(&s, "A", 1, 101, 0);
        check(!s.opt.has_ts);
        script_close(&s);
    }
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void check_block(uint32_t i, uint32_t left, uint32_t right)
{
    check_int(s.opt.sack[i].left - s.peer_isn, ==, left);
    check_int(s.opt.sack[i].right - s.peer_isn, ==, right);
}

static void accept_with(bool has_ts)
{
    script_open(&s, &reno);
    s.sack = true;
    s.ts = has_ts;
    script_accept(&s);
}

static void test_blocks(void)
{
    for (int has_ts = 0; has_ts < 2; has_ts++) {
        tap_case("blocks: the youngest first, %d %s timestamps", has_ts ? 3 : 4,
                 has_ts ? "with" : "without");
        accept_with(has_ts);
        for (uint32_t i = 1; i <= 5; i++) {
            in(&s, "A", 1 + 1000 * i, 1, 100);
            out(&s, "A", 1, 1, 0);
            uint32_t count = MIR_MIN(i, has_ts ? 3u : 4u);
            check_int(s.opt.sack_count, ==, count);
            for (uint32_t k = 0; k < count; k++)
                check_block(k, 1 + 1000 * (i - k), 101 + 1000 * (i - k));
        }
        in(&s, "A", 4101, 1, 50); /* an older one grows: it comes first */
        out(&s, "A", 1, 1, 0);
        check_block(0, 4001, 4151);
        check_block(1, 5001, 5101);
        in(&s, "A", 4151, 1, 850); /* two become one */
        out(&s, "A", 1, 1, 0);
        check_block(0, 4001, 5101);
        check_block(1, 3001, 3101);
        script_close(&s);
    }

    tap_case("blocks: what is acknowledged is no longer reported; none when all is in order");
    accept_with(false);
    in(&s, "A", 101, 1, 100);
    out(&s, "A", 1, 1, 0);
    in(&s, "A", 301, 1, 100);
    out(&s, "A", 1, 1, 0);
    in(&s, "A", 1, 1, 100);
    out(&s, "A", 1, 201, 0);
    check_int(s.opt.sack_count, ==, 1);
    check_block(0, 301, 401);
    in(&s, "A", 201, 1, 100);
    out(&s, "A", 1, 401, 0);
    check_int(s.opt.sack_count, ==, 0);
    script_close(&s);

    tap_case("blocks: nothing is reported that found no memory");
    accept_with(false);
    mir_pool_fail_at(&host()->earlies, 1);
    in(&s, "A", 1001, 1, 1000);
    out(&s, "A", 1, 1, 0);
    check_int(script_stat(&s, "drop_reass_limit"), ==, 1);
    check_int(s.opt.sack_count, ==, 0);
    in(&s, "A", 1001, 1, 1000);
    out(&s, "A", 1, 1, 0);
    check_block(0, 1001, 2001);
    script_close(&s);
}

static void test_dsack_out(void)
{
    tap_case("D-SACK: a segment that came before, once (RFC 2883 4.1)");
    accept_with(false);
    in(&s, "PA", 1, 1, 200);
    out(&s, "A", 1, 201, 0);
    in(&s, "PA", 1, 1, 100);
    out(&s, "A", 1, 201, 0);
    check_int(s.opt.sack_count, ==, 1);
    check_block(0, 1, 101);
    in(&s, "PA", 301, 1, 100);
    out(&s, "A", 1, 201, 0);
    check_int(s.opt.sack_count, ==, 1);
    check_block(0, 301, 401);

    tap_case("D-SACK: a repeated part of a block is followed by the block (RFC 2883 4.2)");
    in(&s, "PA", 601, 1, 100);
    out(&s, "A", 1, 201, 0);
    in(&s, "PA", 301, 1, 50);
    out(&s, "A", 1, 201, 0);
    check_int(s.opt.sack_count, ==, 3);
    check_block(0, 301, 351);
    check_block(1, 301, 401);
    check_block(2, 601, 701);

    tap_case("D-SACK: only the known part of a segment with news (RFC 2883 4.3)");
    in(&s, "PA", 151, 1, 100);
    out(&s, "A", 1, 251, 0);
    check_block(0, 151, 201);
    check_int(script_stat(&s, "dsacks_out"), ==, 3);
    script_close(&s);

    tap_case("D-SACK: not without SACK permitted");
    script_open(&s, &reno);
    script_accept(&s);
    in(&s, "PA", 1, 1, 200);
    out(&s, "A", 1, 201, 0);
    in(&s, "PA", 1, 1, 200);
    out(&s, "A", 1, 201, 0);
    check_int(s.opt.sack_count, ==, 0);
    script_close(&s);
}

/* ---- sending: recovery ------------------------------------------------------------------------
 */

static void test_recovery(void)
{
    tap_case("recovery: limited transmit, three segments SACKed, only the hole again, PRR");
    start_ten();
    sacks(0, 1, 2);
    out(&s, "A", seg(10), 1, MSS);
    sacks(0, 1, 3);
    out(&s, "A", seg(11), 1, MSS);
    quiet(&s);
    sacks(0, 1, 4);
    out(&s, "A", seg(0), 1, MSS);
    quiet(&s);
    check_int(info().fast_retransmits, ==, 1);
    check_int(info().ssthresh_bytes, ==, 6 * MSS);
    for (uint32_t i = 5; i <= 10; i++) {
        /* Half of what is delivered may leave, and the retransmission was that; from pipe =
         * ssthresh on one for one. */
        sacks(0, 1, i);
        if (i >= 8)
            out(&s, "A", seg(4 + i), 1, MSS);
        quiet(&s);
    }
    in(&s, "A", 1, seg(12), 0);
    check_int(info().cwnd_bytes, ==, 6 * MSS);
    check_int(info().timeouts, ==, 0);
    check_int(info().retransmits, ==, 1);
    script_close(&s);

    tap_case("recovery: two holes are filled, what is SACKed is not sent again");
    start_ten();
    block(seg(1), seg(3));
    block(seg(4), seg(10));
    in(&s, "A", 1, seg(0), 0);
    out(&s, "A", seg(0), 1, MSS);
    out(&s, "A", seg(3), 1, MSS);
    while (script_next(&s))
        check_int(s.hdr.seq - s.our_isn, >=, seg(10));
    script_wait(&s, 20000);
    in(&s, "A", 1, seg(10), 0);
    check_int(info().retransmits, ==, 2);
    check_int(info().ssthresh_bytes, ==, 5 * MSS);
    script_close(&s);

    tap_case("recovery: one reduction, however many holes turn up in it");
    start_ten();
    sacks(0, 1, 4);
    out(&s, "A", seg(0), 1, MSS);
    while (script_next(&s))
        continue;
    uint32_t ssthresh = info().ssthresh_bytes;
    block(seg(1), seg(4));
    block(seg(5), seg(10));
    in(&s, "A", 1, seg(0), 0);
    while (script_next(&s))
        continue;
    check_int(info().fast_retransmits, ==, 1);
    check_int(info().ssthresh_bytes, ==, ssthresh);
    script_close(&s);

    tap_case("RACK: a lost retransmission is sent again without a timeout");
    start_ten();
    sacks(0, 1, 9);
    out(&s, "A", seg(0), 1, MSS);
    while (script_next(&s))
        continue;
    script_wait(&s, 20000);
    sacks(0, 1, 10); /* sent before the retransmission: says nothing of it */
    while (script_next(&s))
        check_int(s.hdr.seq - s.our_isn, >=, seg(10));
    script_wait(&s, 20000);
    sacks(0, 1, 13); /* sent after it */
    bool again = false;
    while (script_next(&s))
        again |= s.hdr.seq - s.our_isn == seg(0);
    check(again);
    check_int(info().timeouts, ==, 0);
    script_close(&s);

    tap_case("the first lost segment goes out, however small the window of PRR");
    start_ten();
    sacks(0, 9, 10);
    script_wait(&s, 6000); /* the reordering window: nine are lost */
    bool first = false;
    while (script_next(&s))
        first |= s.hdr.seq - s.our_isn == seg(0);
    check(first);
    script_close(&s);
}

static void test_blocks_in(void)
{
    tap_case("blocks that cannot be true are ignored and counted");
    start_ten();
    block(seg(9), seg(11));       /* never sent */
    block(seg(5), seg(4));        /* backwards */
    block(seg(0), seg(4));        /* would have been acknowledged */
    block(seg(0) - 5000, seg(0)); /* ancient */
    in(&s, "A", 1, seg(0), 0);
    quiet(&s);
    check_int(script_stat(&s, "sack_blocks_invalid"), ==, 2);
    script_wait(&s, 10000);
    check_int(info().fast_retransmits, ==, 0);
    script_close(&s);

    tap_case("reneging: SACKed data is kept, and sent again after a timeout");
    start_ten();
    sacks(0, 1, 10);
    while (script_next(&s))
        continue;
    check_int(info().send_queue_bytes, ==, 20 * MSS);
    script_wait(&s, 500000);
    check_int(info().timeouts, >=, 1);
    while (script_next(&s))
        continue;
    uint32_t resent = 0;
    for (uint32_t i = 1; i <= 12; i++) {
        in(&s, "A", 1, seg(i), 0); /* it has forgotten all it said */
        while (script_next(&s))
            resent += s.hdr.seq - s.our_isn < seg(10);
    }
    check_int(resent, >=, 9);
    script_close(&s);

    tap_case("timeout: what proves to have arrived after all is not sent again");
    start_ten();
    script_wait(&s, 200000);
    while (script_next(&s)) /* a probe, */
        continue;
    script_wait(&s, 400000);
    out(&s, "A", seg(0), 1, MSS); /* then the timeout */
    quiet(&s);
    check_int(info().timeouts, ==, 1);
    check_int(info().cwnd_bytes, ==, MSS);
    block(seg(2), seg(9));
    in(&s, "A", 1, seg(1), 0);
    out(&s, "A", seg(1), 1, MSS);
    while (script_next(&s))
        check_int(s.hdr.seq - s.our_isn, >=, seg(9));
    script_close(&s);

    tap_case("a peer that splits our data into crumbs: bounded, and whole in the end");
    start_ten();
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t at = 3 + i * 4 % (10 * MSS - 10);
        block(at, at + 1);
        in(&s, "A", 1, 1, 0);
        while (script_next(&s))
            continue;
    }
    check_int(script_stat(&s, "sack_range_limit"), >, 0);
    in(&s, "A", 1, seg(10), 0);
    while (script_next(&s))
        continue;
    script_close(&s);
}

/* ---- reordering -------------------------------------------------------------------------------
 */

static void test_reordering(void)
{
    tap_case("RACK: a segment overtaken is not lost before a quarter of the round trip");
    start_ten();
    sacks(0, 1, 2);
    out(&s, "A", seg(10), 1, MSS);
    script_wait(&s, 4000);
    quiet(&s);
    script_wait(&s, 2000); /* 5 ms: now it is */
    out(&s, "A", seg(0), 1, MSS);
    check_int(info().fast_retransmits, ==, 1);
    script_close(&s);

    tap_case("RACK: it arrived a little late: nothing is sent again, nothing is reduced");
    start_ten();
    sacks(0, 1, 2);
    out(&s, "A", seg(10), 1, MSS);
    script_wait(&s, 3000);
    in(&s, "A", 1, seg(2), 0);
    while (script_next(&s))
        check_int(s.hdr.seq - s.our_isn, >=, seg(11));
    script_wait(&s, 15000);
    check_int(info().retransmits, ==, 0);
    check_int(info().fast_retransmits, ==, 0);

    tap_case("RACK: once reordering was seen, three SACKed segments are no proof");
    sacks(2, 3, 10);
    while (script_next(&s))
        check_int(s.hdr.seq - s.our_isn, >=, seg(12));
    check_int(info().fast_retransmits, ==, 0);
    script_wait(&s, 7000);
    check_int(info().fast_retransmits, ==, 1);
    out(&s, "A", seg(2), 1, MSS);

    tap_case("RACK: a D-SACK widens the window");
    while (script_next(&s))
        continue;
    block(seg(2), seg(3));
    in(&s, "A", 1, seg(20), 0);
    check_int(script_stat(&s, "dsacks_in"), ==, 1);
    script_send(&s, 20 * MSS);
    while (script_next(&s))
        continue;
    script_wait(&s, 20000);
    sacks(20, 21, 24);
    script_wait(&s, 7000); /* a quarter is not enough any more */
    while (script_next(&s))
        check_int(s.hdr.seq - s.our_isn, >, seg(20));
    check_int(info().fast_retransmits, ==, 1);
    script_wait(&s, 5000);
    check_int(info().fast_retransmits, ==, 2);
    script_close(&s);
}

/* ---- tail loss probe ---------------------------------------------------------------------------
 */

/* Twenty segments are acknowledged; then three more are on their way, the last of the queue. */
static void start_tail(void)
{
    start_ten();
    in(&s, "A", 1, seg(10), 0);
    while (script_next(&s))
        continue;
    script_wait(&s, 20000);
    in(&s, "A", 1, seg(20), 0);
    quiet(&s);
    script_send(&s, 3 * MSS);
    for (uint32_t i = 20; i < 23; i++)
        out(&s, "A", seg(i), 1, MSS);
    quiet(&s);
}

static void test_probe(void)
{
    tap_case("TLP: after two round trips the last segment again, long before the timeout");
    start_tail();
    script_wait(&s, 38000);
    quiet(&s);
    script_wait(&s, 5000);
    out(&s, "A", seg(22), 1, MSS);
    quiet(&s);
    check_int(script_stat(&s, "probes_out"), ==, 1);
    check_int(info().timeouts, ==, 0);

    tap_case("TLP: its SACK shows the losses before it");
    script_wait(&s, 20000);
    sacks(20, 22, 23);
    script_wait(&s, 6000);
    out(&s, "A", seg(20), 1, MSS);
    script_next(&s);
    check_int(info().fast_retransmits, ==, 1);
    check_int(info().timeouts, ==, 0);
    script_close(&s);

    tap_case("TLP: one probe only; then the timeout");
    start_tail();
    script_wait(&s, 45000);
    out(&s, "A", seg(22), 1, MSS);
    script_wait(&s, 150000);
    quiet(&s);
    script_wait(&s, 250000);
    out(&s, "A", seg(20), 1, MSS);
    check_int(info().timeouts, ==, 1);
    script_close(&s);

    tap_case("TLP: it repaired the loss itself: the window is reduced for it (RFC 8985 7.4.2)");
    start_tail();
    script_wait(&s, 45000);
    out(&s, "A", seg(22), 1, MSS);
    uint32_t cwnd = info().cwnd_bytes;
    script_wait(&s, 20000);
    in(&s, "A", 1, seg(23), 0);
    check_int(info().cwnd_bytes, >=, cwnd);
    script_send(&s, MSS);
    out(&s, "A", seg(23), 1, MSS);
    in(&s, "A", 1, seg(24), 0);
    check_int(script_stat(&s, "probes_repaired"), ==, 1);
    check_int(info().cwnd_bytes, <, cwnd);
    script_close(&s);

    tap_case("TLP: a D-SACK says that nothing was lost: no reduction");
    start_tail();
    script_wait(&s, 45000);
    out(&s, "A", seg(22), 1, MSS);
    in(&s, "A", 1, seg(23), 0);
    cwnd = info().cwnd_bytes;
    block(seg(22), seg(23));
    in(&s, "A", 1, seg(23), 0);
    script_send(&s, MSS);
    out(&s, "A", seg(23), 1, MSS);
    in(&s, "A", 1, seg(24), 0);
    check_int(script_stat(&s, "probes_repaired"), ==, 0);
    check_int(info().cwnd_bytes, >=, cwnd);
    script_close(&s);

    tap_case("TLP: new data, where there is some, though cwnd is used up");
    start_ten();
    script_wait(&s, 25000);
    out(&s, "A", seg(10), 1, MSS);
    quiet(&s);
    check_int(script_stat(&s, "probes_out"), ==, 1);
    check_int(info().retransmits, ==, 0);
    script_close(&s);

    tap_case("TLP: no probe by an appliance that slept while the ACK waited at its device");
    start_tail();
    s.bed.now_us += 60 * MIR_US_PER_MS; /* not one step in all that time */
    testbed_run(&s.bed);
    quiet(&s);
    in(&s, "A", 1, seg(23), 0);
    script_wait(&s, 50000);
    quiet(&s);
    check_int(script_stat(&s, "probes_out"), ==, 0);
    script_close(&s);

    tap_case("TLP: a FIN alone is probed with too");
    start_tail();
    in(&s, "A", 1, seg(23), 0);
    mir_tcp_shutdown(s.tcp);
    out(&s, "FA", seg(23), 1, 0);
    script_wait(&s, 300000);
    out(&s, "FA", seg(23), 1, 0);
    in(&s, "A", 1, seg(23) + 1, 0);
    check_int(info().state, ==, MIR_TCP_S_FIN_WAIT_2);
    script_close(&s);
}

/* ---- windows, memory ----------------------------------------------------------------------------
 */

/* The peer has everything before @at and gets whatever is sent up to segment @end. */
static void take_until(uint32_t at, uint32_t end)
{
    for (int i = 0; i < 100 && at < seg(end); i++) {
        while (script_next(&s))
            at = MIR_MAX(at, s.hdr.seq - s.our_isn + s.len);
        in(&s, "A", 1, at, 0);
        script_wait(&s, 1000);
    }
    check_int(info().bytes_acked + 1, ==, seg(end));
}

static void test_window(void)
{
    tap_case("what is lost behind a closed window is probed for, and comes when it opens");
    start_ten();
    s.wnd = 0;
    block(seg(5), seg(10));
    in(&s, "A", 1, seg(0), 0);
    while (script_next(&s))
        continue;
    for (int i = 0; i < 30; i++) { /* far more than R2 allows retransmissions */
        script_wait(&s, 70 * MIR_US_PER_S);
        while (script_next(&s))
            check_int(s.len, <=, 1);
        in(&s, "A", 1, seg(0), 0);
    }
    check_int(script_events(&s), ==, 0);
    s.wnd = 65535;
    in(&s, "A", 1, seg(0), 0);
    out(&s, "A", seg(0), 1, MSS);
    take_until(seg(1), 20);
    check_int(info().send_queue_bytes, ==, 0);
    script_close(&s);
}

static void test_memory(void)
{
    tap_case("no memory for a scoreboard: the flight recovers as NewReno does");
    script_open(&s, &reno);
    s.sack = true;
    script_accept(&s);
    mir_pool_fail_at(&host()->losses, 1);
    script_send(&s, 20 * MSS);
    for (uint32_t i = 0; i < 10; i++)
        out(&s, "A", seg(i), 1, MSS);
    for (uint32_t i = 2; i < 5; i++)
        sacks(0, 1, i);
    out(&s, "A", seg(10), 1, MSS);
    out(&s, "A", seg(11), 1, MSS);
    out(&s, "A", seg(0), 1, MSS);
    check_int(info().cwnd_bytes, ==, 9 * MSS); /* NewReno's inflation */

    tap_case("... and the next flight has one again");
    take_until(seg(12), 20);
    script_send(&s, 8 * MSS);
    while (script_next(&s))
        continue;
    sacks(20, 21, 25);
    out(&s, "A", seg(20), 1, MSS);
    check_int(script_stat(&s, "rack_losses"), ==, 1);
    script_close(&s);

    tap_case("no memory for a range: information is rounded, data is not");
    for (uint64_t n = 1; n <= 12; n++) {
        script_open(&s, &reno);
        s.sack = true;
        script_accept(&s);
        mir_pool_fail_at(&host()->ranges, n);
        script_send(&s, 20 * MSS);
        uint32_t end = seg(0);
        for (uint32_t i = 0; i < 60 && end < seg(20); i++) {
            script_wait(&s, 20000);
            while (script_next(&s))
                if (s.hdr.seq - s.our_isn <= end)
                    end = MIR_MAX(end, s.hdr.seq - s.our_isn + s.len);
            if (i < 3)
                block(end + 2 * MSS, end + 3 * MSS + 7);
            in(&s, "A", 1, i < 3 ? end - MIR_MIN(end - 1, MSS) : end, 0);
        }
        check_int(end, ==, seg(20));
        script_close(&s);
    }

    tap_case("segmentation offload: one frame repairs a hole of many segments");
    script_open_caps(&s, NULL, MIR_NET_TX_SG | MIR_NET_TX_CSUM | MIR_NET_TX_TSO4);
    s.sack = true;
    script_accept(&s);
    script_send(&s, 40 * MSS);
    out(&s, "A", 1, 1, 10 * MSS);
    in(&s, "A", 1, seg(10), 0);
    out(&s, "A", seg(10), 1, 20 * MSS);
    block(seg(18), seg(30));
    in(&s, "A", 1, seg(10), 0);
    check(script_next(&s));
    check_int(s.hdr.seq - s.our_isn, ==, seg(10));
    check_int(s.len, >=, 2 * MSS);
    check_int(s.gso_size, ==, MSS);
    script_close(&s);
}

int main(void)
{
    tap_begin("tcp_sack");
    test_negotiation();
    test_blocks();
    test_dsack_out();
    test_recovery();
    test_blocks_in();
    test_reordering();
    test_probe();
    test_window();
    test_memory();
    return tap_done();
}
