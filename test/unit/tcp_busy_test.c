/* SPDX-License-Identifier: ISC */
/* A connection at rest has no block of its own (lib/net/tcp/busy.c); whatever it is asked to do
 * then works as if it had never been at rest, and a shortage of memory is only a delay.
 */
#include "test/harness/tcp_script.h"

#include "lib/net/tcp/loss.h"

static struct tcp_script s;

static void come_to_rest(void)
{
    script_wait(&s, 5 * MIR_US_PER_S);
    check_int(script_stat(&s, "busy"), ==, 0);
    quiet(&s);
}

/* One connection, at rest. */
static void open_at_rest(void)
{
    script_open(&s, NULL);
    s.ts = s.sack = true;
    s.wscale = 7;
    s.reads = true;
    script_accept(&s);
    check_int(script_stat(&s, "busy"), ==, 1);
    come_to_rest();
}

static void test_coming_and_going(void)
{
    tap_case("two seconds of silence, and the block is gone; nothing runs any more");
    open_at_rest();
    check_int(s.bed.loop.timer_count, <=, 1); /* a neighbour's */
    script_close(&s);

    tap_case("data sent after rest");
    open_at_rest();
    check_int(script_send(&s, 300), ==, 300);
    script_wait(&s, 0);
    out(&s, "A", 1, 1, 300);
    check_int(script_stat(&s, "busy"), ==, 1);
    script_wait(&s, 900 * MIR_US_PER_MS);
    check(script_next(&s)); /* sent again: the timer runs */
    in(&s, "A", 1, 301, 0);
    while (script_next(&s))
        continue;
    come_to_rest();
    script_close(&s);

    tap_case("data received after rest is read and acknowledged");
    open_at_rest();
    in(&s, "PA", 1, 1, 1000);
    script_wait(&s, 50 * MIR_US_PER_MS);
    out(&s, "A", 1, 1001, 0);
    check_int(s.received, ==, 1000);
    come_to_rest();
    in(&s, "PA", 1001, 1, 5);
    script_wait(&s, 50 * MIR_US_PER_MS);
    out(&s, "A", 1, 1006, 0);
    script_close(&s);

    tap_case("unread data keeps the block, however long");
    open_at_rest();
    s.reads = false;
    in(&s, "PA", 1, 1, 1000);
    script_wait(&s, 60 * MIR_US_PER_S);
    check_int(script_stat(&s, "busy"), ==, 1);
    script_close(&s);

    tap_case("unacknowledged data keeps it, and a hole in what was received");
    open_at_rest();
    in(&s, "PA", 101, 1, 100);
    out(&s, "A", 1, 1, 0);
    script_wait(&s, 60 * MIR_US_PER_S);
    check_int(script_stat(&s, "busy"), ==, 1);
    in(&s, "PA", 1, 1, 100);
    out(&s, "A", 1, 201, 0);
    check_int(s.received, ==, 200);
    come_to_rest();
    script_close(&s);
}

static void test_control(void)
{
    tap_case("a FIN of the peer, then ours, each after rest");
    open_at_rest();
    in(&s, "FA", 1, 1, 0);
    out(&s, "A", 1, 2, 0);
    come_to_rest();
    check_int(mir_tcp_shutdown(s.tcp), ==, 0);
    script_wait(&s, 0);
    out(&s, "FA", 1, 2, 0);
    script_wait(&s, 1200 * MIR_US_PER_MS);
    check(script_next(&s)); /* again */
    in(&s, "A", 2, 2, 0);
    script_close(&s);

    tap_case("our FIN, rest in FIN_WAIT_2, then data and FIN of the peer");
    open_at_rest();
    check_int(mir_tcp_shutdown(s.tcp), ==, 0);
    script_wait(&s, 0);
    out(&s, "FA", 1, 1, 0);
    in(&s, "A", 1, 2, 0);
    come_to_rest();
    in(&s, "PA", 1, 2, 700);
    script_wait(&s, 50 * MIR_US_PER_MS);
    out(&s, "A", 2, 701, 0);
    check_int(s.received, ==, 700);
    come_to_rest();
    in(&s, "FA", 701, 2, 0);
    out(&s, "A", 2, 702, 0);
    script_close(&s);

    tap_case("segments that are not acceptable, options, a duplicate: answered at rest");
    open_at_rest();
    in(&s, "R", 20, 0, 0);
    out(&s, "A", 1, 1, 0); /* challenge */
    come_to_rest();
    in(&s, "PA", (uint32_t)-99, 1, 100);
    out(&s, "A", 1, 1, 0);
    check_int(s.opt.sack_count, ==, 1); /* told as a duplicate */
    come_to_rest();
    check_int(mir_tcp_set_option(s.tcp, MIR_TCP_MAXSEG, 500), ==, 0);
    check_int(mir_tcp_set_option(s.tcp, MIR_TCP_NODELAY, 1), ==, 0);
    script_wait(&s, 0);
    check_int(script_stat(&s, "busy"), ==, 0);
    check_int(script_send(&s, 1000), ==, 1000);
    script_wait(&s, 0);
    out(&s, "A", 1, 1, 488);
    script_close(&s);

    tap_case("keep-alive probes of a connection at rest");
    open_at_rest();
    check_int(mir_tcp_set_option(s.tcp, MIR_TCP_KEEPALIVE_IDLE_S, 100), ==, 0);
    script_wait(&s, 101 * MIR_US_PER_S);
    out(&s, "A", 0, 1, 0);
    in(&s, "A", 1, 1, 0);
    come_to_rest();
    script_close(&s);

    tap_case("a reset while at rest");
    open_at_rest();
    in(&s, "R", 1, 0, 0);
    check_int(mir_tcp_error(s.tcp), ==, -MIR_ECONNRESET);
    script_close(&s);
}

static void fail_next_block(void)
{
    mir_pool_fail_at(&pcb_of(s.tcp)->host->busies, 1);
}

static void test_shortage(void)
{
    tap_case("no memory to wake: a write is refused and invited again");
    open_at_rest();
    size_t queued;
    fail_next_block();
    check_int(mir_tcp_send(s.tcp, "x", 1, &queued), ==, -MIR_EAGAIN);
    (void)script_events(&s);
    script_wait(&s, 100 * MIR_US_PER_MS);
    check(script_events(&s) & MIR_TCP_WRITABLE);
    check_int(script_send(&s, 1), ==, 1);
    script_wait(&s, 0);
    out(&s, "A", 1, 1, 1);
    script_close(&s);

    tap_case("... data of the peer is not taken, and comes again");
    open_at_rest();
    fail_next_block();
    in(&s, "PA", 1, 1, 100);
    script_wait(&s, 50 * MIR_US_PER_MS);
    quiet(&s);
    in(&s, "PA", 1, 1, 100);
    script_wait(&s, 50 * MIR_US_PER_MS);
    out(&s, "A", 1, 101, 0);
    check_int(s.received, ==, 100);
    script_close(&s);

    tap_case("... a FIN leaves a little later");
    open_at_rest();
    fail_next_block();
    check_int(mir_tcp_shutdown(s.tcp), ==, 0);
    script_wait(&s, 0);
    quiet(&s);
    script_wait(&s, 100 * MIR_US_PER_MS);
    out(&s, "FA", 1, 1, 0);
    script_close(&s);
}

static void test_window(void)
{
    tap_case("after rest the congestion window begins anew, ssthresh is kept");
    struct mir_tcp_info info;
    open_at_rest();
    for (int i = 0; i < 4; i++) {
        check_int(script_send(&s, 60000), ==, 60000);
        while (pcb_of(s.tcp)->snd_una != s.our_isn + 1 + 60000u * (uint32_t)(i + 1)) {
            script_wait(&s, MIR_US_PER_MS);
            while (script_next(&s))
                continue;
            in(&s, "A", 1, pcb_of(s.tcp)->snd_max - s.our_isn, 0);
        }
    }
    mir_tcp_get_info(s.tcp, &info);
    check_int(info.cwnd_bytes, >, 2 * 14600);
    come_to_rest();
    check_int(script_send(&s, 60000), ==, 60000);
    script_wait(&s, 0);
    mir_tcp_get_info(s.tcp, &info);
    check_int(info.cwnd_bytes, <=, 14600);
    uint32_t burst = 0;
    while (script_next(&s))
        burst += s.len;
    check_int(burst, <=, 14600);
    script_close(&s);
}

int main(void)
{
    tap_begin("tcp_busy");
    test_coming_and_going();
    test_control();
    test_shortage();
    test_window();
    return tap_done();
}
