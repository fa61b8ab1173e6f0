/* SPDX-License-Identifier: ISC */
/* Sending: what leaves when, timers, loss recovery, windows of the peer. */
#include <string.h>

#include "lib/net/tcp/internal.h"
#include "test/harness/tcp_script.h"

static struct tcp_script s;
/* Where the numbers are NewReno's. */
static const struct mir_net_config reno = {.congestion = "reno"};

static struct mir_tcp_info info(void)
{
    struct mir_tcp_info i;
    mir_tcp_get_info(s.tcp, &i);
    return i;
}

static void set(enum mir_tcp_option option, uint32_t value)
{
    check_int(mir_tcp_set_option(s.tcp, option, value), ==, 0);
}

static void test_coalescing(void)
{
    tap_case("writes of one step make one segment");
    script_open(&s, NULL);
    script_accept(&s);
    for (int i = 0; i < 100; i++)
        check_int(script_send(&s, 1), ==, 1);
    out(&s, "PA", 1, 1, 100);
    quiet(&s);

    tap_case("Nagle: a small segment waits while one is in flight");
    script_send(&s, 10);
    quiet(&s);
    script_send(&s, 10);
    quiet(&s);
    in(&s, "A", 1, 101, 0);
    out(&s, "PA", 101, 1, 20);

    tap_case("Nagle: full segments do not wait");
    script_send(&s, 1460);
    out(&s, "A", 121, 1, 1460);
    quiet(&s);
    script_close(&s);

    tap_case("Nagle: the first tail behind a full segment does not wait, whatever the ISN");
    for (uint16_t i = 0; i < 16; i++) {
        script_open(&s, NULL);
        s.peer_port = (uint16_t)(40000 + i);
        script_accept(&s);
        script_send(&s, 1560);
        out(&s, "A", 1, 1, 1460);
        out(&s, "PA", 1461, 1, 100);
        script_close(&s);
    }

    tap_case("no delay: each step's writes leave");
    script_open(&s, NULL);
    script_accept(&s);
    set(MIR_TCP_NODELAY, 1);
    for (uint32_t i = 0; i < 5; i++) {
        script_send(&s, 1);
        out(&s, "PA", 1 + i, 1, 1);
    }
    script_close(&s);

    tap_case("cork: only full segments until uncorked");
    script_open(&s, NULL);
    script_accept(&s);
    set(MIR_TCP_CORK, 1);
    script_send(&s, 1000);
    quiet(&s);
    script_wait(&s, 100 * MIR_US_PER_MS);
    quiet(&s);
    script_send(&s, 1000);
    out(&s, "A", 1, 1, 1460);
    quiet(&s);
    set(MIR_TCP_CORK, 0);
    out(&s, "PA", 1461, 1, 540);
    script_close(&s);

    tap_case("cork: a tail with nothing in flight waits an RTO, not for ever");
    script_open(&s, NULL);
    script_accept(&s);
    set(MIR_TCP_CORK, 1);
    script_send(&s, 1000);
    quiet(&s);
    script_wait(&s, 300 * MIR_US_PER_MS);
    out(&s, "PA", 1, 1, 1000);
    in(&s, "A", 1, 1001, 0);
    script_send(&s, 500);
    quiet(&s); /* the cork is still there */
    set(MIR_TCP_CORK, 0);
    out(&s, "PA", 1001, 1, 500);
    script_close(&s);

    tap_case(
        "one-byte writes on a slow path: at most one small segment in flight (ancestor's bug)");
    script_open(&s, NULL);
    script_accept(&s);
    uint32_t acked = 0;
    uint32_t written = 0;
    uint32_t segments = 0;
    for (int round = 0; round < 200; round++) {
        written += (uint32_t)script_send(&s, 1);
        script_wait(&s, 1000);
        while (script_next(&s)) {
            check_int(s.hdr.seq - s.our_isn, ==, 1 + acked);
            segments++;
        }
        if (round % 20 == 19) {
            acked = written < acked + s.len ? written : acked + s.len;
            in(&s, "A", 1, 1 + acked, 0);
        }
    }
    check_int(segments, <=, 12);
    script_close(&s);
}

static void test_rto(void)
{
    tap_case("RTO: a lost segment again after 200 ms and the round trip, then doubled");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 100);
    out(&s, "PA", 1, 1, 100);
    script_wait(&s, 10000);
    in(&s, "A", 1, 101, 0); /* round trip 10 ms */
    check_int(info().srtt_us, >=, 1);
    check_int(info().rto_us, >=, 200000);
    check_int(info().rto_us, <=, 230000);
    script_send(&s, 100);
    out(&s, "PA", 101, 1, 100);
    script_wait(&s, 190000);
    quiet(&s);
    script_wait(&s, 40000);
    out(&s, "PA", 101, 1, 100);
    script_wait(&s, 350000);
    quiet(&s);
    script_wait(&s, 80000);
    out(&s, "PA", 101, 1, 100);
    check_int(info().timeouts, ==, 2);
    check_int(info().cwnd_bytes, ==, 1460);

    tap_case("Karn: no round trip is taken from what was sent twice");
    uint32_t srtt = info().srtt_us;
    script_wait(&s, 5000);
    in(&s, "A", 1, 201, 0);
    check_int(info().srtt_us, ==, srtt);
    quiet(&s);
    script_close(&s);

    tap_case("RTO: go back and slow-start");
    script_open(&s, &reno);
    script_accept(&s);
    script_send(&s, 14600);
    for (uint32_t i = 0; i < 10; i++)
        out(&s, "A", 1 + i * 1460, 1, 1460);
    quiet(&s);
    script_wait(&s, 300000);
    out(&s, "A", 1, 1, 1460);
    quiet(&s);
    in(&s, "A", 1, 1461, 0);
    out(&s, "A", 1461, 1, 1460);
    out(&s, "A", 2921, 1, 1460);
    quiet(&s);
    check_int(info().ssthresh_bytes, ==, 7300);
    in(&s, "A", 1, 14601, 0); /* the rest had arrived after all */
    quiet(&s);
    check_int(info().flight_bytes, ==, 0);
    script_close(&s);

    tap_case("R2: fifteen retransmissions without an answer end the connection");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 100);
    uint32_t count = 0;
    script_wait(&s, 900 * MIR_US_PER_S);
    while (script_next(&s))
        count += s.len > 0;
    check_int(count, ==, 16);
    check_int(script_events(&s), ==, MIR_TCP_FAILED);
    check_int(mir_tcp_error(s.tcp), ==, -MIR_ETIMEDOUT);
    size_t queued;
    check_int(mir_tcp_send(s.tcp, "x", 1, &queued), ==, -MIR_ETIMEDOUT);
    script_close(&s);

    tap_case("user timeout ends it when it says");
    script_open(&s, NULL);
    script_accept(&s);
    set(MIR_TCP_USER_TIMEOUT_MS, 5000);
    script_send(&s, 100);
    script_wait(&s, 4900000);
    check_int(script_events(&s), ==, 0);
    script_wait(&s, 200000);
    check_int(script_events(&s), ==, MIR_TCP_FAILED);
    check_int(mir_tcp_error(s.tcp), ==, -MIR_ETIMEDOUT);
    script_close(&s);
}

static void test_initial_window(void)
{
    tap_case("initial window: ten segments, slow start by acknowledged bytes");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 60000);
    for (uint32_t i = 0; i < 10; i++)
        out(&s, "A", 1 + i * 1460, 1, 1460);
    quiet(&s);
    in(&s, "A", 1, 1 + 2 * 1460, 0);
    for (uint32_t i = 10; i < 14; i++)
        out(&s, "A", 1 + i * 1460, 1, 1460);
    quiet(&s);
    script_close(&s);

    tap_case("idle: the window starts again from ten segments (RFC 5681 4.1)");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 60000);
    uint32_t end = 0;
    for (int i = 0; i < 10 && end < 60001; i++) {
        while (script_next(&s))
            end = s.hdr.seq - s.our_isn + s.len;
        in(&s, "A", 1, end, 0);
    }
    check_int(end, ==, 60001);
    check_int(info().cwnd_bytes, >, 14600);
    script_wait(&s, 10 * MIR_US_PER_S);
    script_send(&s, 60000);
    uint32_t burst = 0;
    while (script_next(&s))
        burst++;
    check_int(burst, ==, 10);
    script_close(&s);
}

static void start_ten(void)
{
    script_open(&s, &reno);
    script_accept(&s);
    script_send(&s, 29200);
    for (uint32_t i = 0; i < 10; i++)
        out(&s, "A", 1 + i * 1460, 1, 1460);
    quiet(&s);
}

static void test_fast_retransmit(void)
{
    tap_case("limited transmit, fast retransmit, full acknowledgment (RFC 3042, 5681, 6582)");
    start_ten();
    in(&s, "A", 1, 1, 0);
    out(&s, "A", 14601, 1, 1460); /* limited transmit */
    in(&s, "A", 1, 1, 0);
    out(&s, "A", 16061, 1, 1460);
    in(&s, "A", 1, 1, 0);
    out(&s, "A", 1, 1, 1460); /* fast retransmit */
    quiet(&s);
    check_int(info().fast_retransmits, ==, 1);
    check_int(info().ssthresh_bytes, ==, 12 * 1460 / 2);
    check_int(info().cwnd_bytes, ==, 9 * 1460);
    for (int i = 0; i < 3; i++) {
        in(&s, "A", 1, 1, 0);
        quiet(&s);
    }
    in(&s, "A", 1, 1, 0); /* inflated beyond twelve segments in flight */
    out(&s, "A", 17521, 1, 1460);
    in(&s, "A", 1, 17521, 0); /* all that was outstanding: recovery ends */
    check_int(info().cwnd_bytes, <=, 6 * 1460);
    check_int(info().timeouts, ==, 0);
    while (script_next(&s))
        check_int(s.hdr.seq - s.our_isn, >=, 18981);
    script_close(&s);

    tap_case("partial acknowledgment: the next hole at once, without a timeout");
    start_ten();
    for (int i = 0; i < 3; i++)
        in(&s, "A", 1, 1, 0);
    out(&s, "A", 14601, 1, 1460);
    out(&s, "A", 16061, 1, 1460);
    out(&s, "A", 1, 1, 1460);
    quiet(&s);
    in(&s, "A", 1, 2921, 0); /* segments 1 and 2; 3 is missing too */
    out(&s, "A", 2921, 1, 1460);
    check_int(script_stat(&s, "partial_acks"), ==, 1);
    check_int(info().fast_retransmits, ==, 1);
    script_close(&s);

    tap_case("no second fast retransmit for the losses of one timeout (RFC 6582 careful variant)");
    start_ten();
    script_wait(&s, 300000);
    out(&s, "A", 1, 1, 1460);
    for (int i = 0; i < 5; i++)
        in(&s, "A", 1, 1, 0);
    check_int(info().fast_retransmits, ==, 0);
    script_close(&s);

    tap_case("window updates and data are no duplicate ACKs");
    start_ten();
    for (uint16_t i = 0; i < 5; i++) {
        s.wnd = (uint16_t)(60000 + i);
        in(&s, "A", 1, 1, 0);
    }
    s.wnd = 60004;
    for (uint32_t i = 0; i < 5; i++)
        in(&s, "PA", 1 + i * 10, 1, 10);
    check_int(info().fast_retransmits, ==, 0);
    script_close(&s);
}

/* What lies more than 2^31 behind seems to lie ahead: move the marks there, as time would. */
static void test_old_marks(void)
{
    tap_case("three duplicates count, however long ago the last loss was");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 10);
    out(&s, "PA", 1, 1, 10);
    pcb_of(s.tcp)->recover = pcb_of(s.tcp)->snd_una - 0x7ffffff0u;
    in(&s, "A", 1, 11, 0);
    script_send(&s, 14600);
    for (uint32_t i = 0; i < 10; i++)
        out(&s, "A", 11 + i * 1460, 1, 1460);
    in(&s, "A", 1, 1471, 0);
    for (int i = 0; i < 3; i++)
        in(&s, "A", 1, 1471, 0);
    out(&s, "A", 1471, 1, 1460);
    check_int(info().fast_retransmits, ==, 1);
    script_close(&s);

    tap_case("a tail does not wait because of a small segment long ago");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 10);
    out(&s, "PA", 1, 1, 10);
    pcb_of(s.tcp)->small_end = pcb_of(s.tcp)->snd_una - 0x7ffffff0u;
    in(&s, "A", 1, 11, 0);
    script_send(&s, 1460);
    out(&s, "PA", 11, 1, 1460);
    in(&s, "A", 1, 1471, 0);
    script_send(&s, 1560);
    out(&s, "A", 1471, 1, 1460);
    out(&s, "PA", 2931, 1, 100);
    script_close(&s);
}

static void test_zero_window(void)
{
    tap_case("zero window: data lost behind it is probed for, however long");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 14600);
    for (uint32_t i = 0; i < 10; i++)
        out(&s, "A", 1 + i * 1460, 1, 1460);
    s.wnd = 0;
    in(&s, "A", 1, 1461, 0);
    uint32_t lost_probes = 0;
    for (int i = 0; i < 180; i++) {
        script_wait(&s, 10100000);
        while (script_next(&s)) {
            check_int(s.hdr.seq - s.our_isn, ==, 1461);
            check_int(s.len, <=, 1);
            lost_probes++;
            in(&s, "A", 1, 1461, 0);
        }
    }
    check_int(lost_probes, >=, 28);
    check_int(script_events(&s), ==, 0);
    s.wnd = 65535;
    in(&s, "A", 1, 1461, 0);
    check(script_next(&s));
    check_int(s.hdr.seq - s.our_isn, ==, 1461);
    check_int(s.len, ==, 1460);
    script_close(&s);

    tap_case("zero window: probes with growing intervals, never given up while answered");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 100);
    out(&s, "PA", 1, 1, 100);
    s.wnd = 0;
    in(&s, "A", 1, 101, 0);
    script_send(&s, 5000);
    quiet(&s);
    uint32_t probes = 0;
    mir_time_us waited = 0;
    while (waited < 1800 * MIR_US_PER_S) {
        script_wait(&s, 100000);
        waited += 100000;
        if (waited % 10000000 == 0)
            testbed_inject_arp(&s.bed, 2, TESTBED_PEER_IP, testbed_peer_mac, TESTBED_IP);
        if (!script_next(&s))
            continue;
        check_int(s.hdr.seq - s.our_isn, ==, 101);
        check_int(s.len, ==, 1);
        in(&s, "A", 1, 101, 0);
        probes++;
        if (probes == 1) {
            check_int(waited, >=, 200000);
            check_int(waited, <=, 1200000);
        }
    }
    check_int(probes, >=, 28);
    check_int(probes, <=, 45);
    check_int(script_events(&s), ==, 0);

    tap_case("zero window: it opens, everything goes on");
    s.wnd = 65535;
    in(&s, "A", 1, 101, 0);
    out(&s, "A", 101, 1, 1460);
    out(&s, "A", 1561, 1, 1460);
    out(&s, "A", 3021, 1, 1460);
    out(&s, "PA", 4481, 1, 620);
    quiet(&s);
    in(&s, "A", 1, 5101, 0);
    check_int(info().send_queue_bytes, ==, 0);
    script_close(&s);

    tap_case("zero window: a probe's byte may be taken");
    script_open(&s, NULL);
    script_accept(&s);
    s.wnd = 0;
    in(&s, "A", 1, 1, 0);
    script_send(&s, 10);
    s.wnd = 0;
    in(&s, "PA", 1, 1, 5); /* a window update with data keeps it closed */
    while (script_next(&s))
        check_int(s.len, ==, 0);
    script_wait(&s, 300000);
    out(&s, "A", 1, 6, 1);
    in(&s, "A", 6, 2, 0);
    s.wnd = 1000;
    in(&s, "A", 6, 2, 0);
    out(&s, "PA", 2, 6, 9);
    script_close(&s);

    tap_case("zero window: FIN waits too, and is probed with");
    script_open(&s, NULL);
    script_accept(&s);
    s.wnd = 0;
    in(&s, "A", 1, 1, 0);
    mir_tcp_shutdown(s.tcp);
    quiet(&s);
    script_wait(&s, 1200000);
    out(&s, "FA", 1, 1, 0);
    s.wnd = 1000;
    in(&s, "A", 1, 2, 0);
    check_int(info().state, ==, MIR_TCP_S_FIN_WAIT_2);
    script_close(&s);

    tap_case("silly window: a window of a few bytes is not filled, until the timer says so");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 1000);
    out(&s, "PA", 1, 1, 1000);
    s.wnd = 10;
    in(&s, "A", 1, 1001, 0);
    script_send(&s, 5000);
    quiet(&s);
    script_wait(&s, 1300000);
    out(&s, "A", 1001, 1, 10);
    script_close(&s);

    tap_case("a small receiver: half of its largest window is worth a segment");
    script_open(&s, NULL);
    s.wnd = 800;
    script_accept(&s);
    script_send(&s, 3000);
    out(&s, "A", 1, 1, 800);
    s.wnd = 400;
    in(&s, "A", 1, 801, 0);
    out(&s, "A", 801, 1, 400);
    s.wnd = 100;
    in(&s, "A", 1, 1201, 0);
    quiet(&s);
    script_close(&s);

    tap_case("a window that shrinks below what is in flight does no harm");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 14600);
    for (uint32_t i = 0; i < 10; i++)
        out(&s, "A", 1 + i * 1460, 1, 1460);
    s.wnd = 1000;
    in(&s, "A", 1, 1461, 0);
    quiet(&s);
    script_wait(&s, 2000000);
    check(script_next(&s));
    s.wnd = 65535;
    in(&s, "A", 1, 14601, 0);
    check_int(info().send_queue_bytes, ==, 0);
    script_close(&s);
}

static void test_buffer(void)
{
    tap_case("send buffer: refused when full, WRITABLE when there is room");
    script_open(&s, NULL);
    script_accept(&s);
    set(MIR_TCP_SNDBUF, 20000);
    check_int(script_send(&s, 50000), ==, 20000);
    check_int(mir_tcp_send_room(s.tcp), ==, 0);
    size_t queued;
    check_int(mir_tcp_send(s.tcp, "x", 1, &queued), ==, -MIR_EAGAIN);
    uint32_t end = 1;
    while (script_next(&s))
        end = s.hdr.seq - s.our_isn + s.len;
    check_int(script_events(&s), ==, 0);
    in(&s, "A", 1, end, 0);
    check_int(script_events(&s), ==, MIR_TCP_WRITABLE);
    check_int(mir_tcp_send_room(s.tcp), >=, 5000);
    script_close(&s);

    tap_case("views are not copied, and released when acknowledged");
    script_open_caps(&s, NULL, MIR_NET_TX_SG);
    script_accept(&s);
    struct mir_io_page *page;
    check_int(mir_page_alloc(&s.bed.pages, 16384, MIR_PAGE_ZERO, &page), ==, 0);
    for (uint32_t i = 0; i < 10000; i++)
        page->base[i] = (uint8_t)(i * 5 + 1);
    check_int(mir_tcp_send_view(s.tcp, mir_view_of_page(page, 0, 10000)), ==, 0);
    for (uint32_t at = 0; at < 10000; at += 1460)
        out(&s, "A", 1 + at, 1, MIR_MIN(1460, 10000 - at));
    check_int(page->refs, ==, 2); /* the sent buffers are gone, the queue holds one */
    in(&s, "A", 1, 5000, 0);
    check_int(page->refs, ==, 2);
    in(&s, "A", 1, 10001, 0);
    check_int(page->refs, ==, 1);
    mir_page_release(page);
    script_close(&s);

    tap_case("segmentation offload: one frame of many segments");
    script_open_caps(&s, NULL, MIR_NET_TX_SG | MIR_NET_TX_CSUM | MIR_NET_TX_TSO4);
    script_accept(&s);
    script_send(&s, 20000);
    out(&s, "A", 1, 1, 14600);
    check_int(s.gso_size, ==, 1460);
    quiet(&s);
    in(&s, "A", 1, 14601, 0);
    out(&s, "PA", 14601, 1, 5400);
    check_int(s.gso_size, ==, 1460);
    script_close(&s);

    tap_case("a full device: output waits and goes on when told");
    script_open(&s, NULL);
    script_accept(&s);
    s.bed.dev.room = 2;
    script_send(&s, 7300);
    uint32_t taken = 0;
    while (script_next(&s))
        taken++;
    check_int(taken, >=, 1);
    check_int(info().timeouts, ==, 0);
    s.bed.dev.room = UINT32_MAX;
    s.bed.dev.upper.tx_ready(s.bed.dev.upper.arg);
    testbed_run(&s.bed);
    while (script_next(&s))
        taken++;
    check_int(taken, ==, 5);
    check_int(info().retransmits, ==, 0);
    script_close(&s);
}

static void test_keepalive(void)
{
    tap_case("keep-alive: probes, and an answer keeps it alive");
    script_open(&s, NULL);
    script_accept(&s);
    set(MIR_TCP_KEEPALIVE_IDLE_S, 60);
    set(MIR_TCP_KEEPALIVE_INTVL_S, 10);
    set(MIR_TCP_KEEPALIVE_COUNT, 3);
    script_wait(&s, 59 * MIR_US_PER_S);
    quiet(&s);
    script_wait(&s, 2 * MIR_US_PER_S);
    out(&s, "A", 0, 1, 0);
    in(&s, "A", 1, 1, 0);
    script_wait(&s, 55 * MIR_US_PER_S);
    quiet(&s);

    tap_case("keep-alive: no answer to three probes ends it");
    script_wait(&s, 6 * MIR_US_PER_S);
    out(&s, "A", 0, 1, 0);
    script_wait(&s, 21 * MIR_US_PER_S);
    out(&s, "A", 0, 1, 0);
    out(&s, "A", 0, 1, 0);
    check_int(script_events(&s), ==, 0);
    script_wait(&s, 11 * MIR_US_PER_S);
    out(&s, "RA", 1, 1, 0);
    check_int(script_events(&s), ==, MIR_TCP_FAILED);
    check_int(mir_tcp_error(s.tcp), ==, -MIR_ETIMEDOUT);
    script_close(&s);

    tap_case("keep-alive: what is not acknowledged asks already, and decides when it is over");
    script_open(&s, NULL);
    script_accept(&s);
    set(MIR_TCP_KEEPALIVE_IDLE_S, 60);
    set(MIR_TCP_KEEPALIVE_INTVL_S, 10);
    set(MIR_TCP_KEEPALIVE_COUNT, 3);
    script_send(&s, 100);
    script_wait(&s, 130 * MIR_US_PER_S);
    while (script_next(&s))
        check_int(s.len, ==, 100);
    check_int(script_stat(&s, "keepalive_probes"), ==, 0);
    in(&s, "A", 1, 101, 0);
    check_int(script_events(&s) & MIR_TCP_FAILED, ==, 0);
    script_wait(&s, 121 * MIR_US_PER_S);
    out(&s, "A", 100, 1, 0);
    script_close(&s);

    tap_case("without keep-alive an idle connection sends nothing, and holds no memory");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 5000);
    while (script_next(&s))
        continue;
    in(&s, "PA", 1, 5001, 3000);
    while (script_next(&s))
        continue;
    check_int(script_stat(&s, "memory_used_bytes"), ==, 0);
    script_wait(&s, 100000 * MIR_US_PER_MS);
    quiet(&s);
    script_close(&s);
}

static void test_path_mtu(void)
{
    tap_case("ICMP too big: smaller segments at once; the ICMP must be about something in flight");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 2920);
    out(&s, "A", 1, 1, 1460);
    out(&s, "PA", 1461, 1, 1460);
    uint8_t icmp[8 + 20 + 8] = {3, 4, 0, 0, 0, 0, 0x03, 0xe8}; /* next-hop MTU 1000 */
    static uint8_t frame[200];
    uint8_t *ip = icmp + 8;
    ip[0] = 0x45;
    ip[2] = 0x05;
    ip[3] = 0xdc;
    ip[6] = 0x40;
    ip[8] = 64;
    ip[9] = 6;
    memcpy(ip + 12, (uint8_t[]){10, 0, 0, 2, 10, 0, 0, 1}, 8);
    for (int wrong = 1; wrong >= 0; wrong--) {
        uint32_t seq = s.our_isn + (wrong ? 50000 : 1);
        memcpy(ip + 20, (uint8_t[]){0, 80, (uint8_t)(s.peer_port >> 8), (uint8_t)s.peer_port}, 4);
        for (int i = 0; i < 4; i++)
            ip[24 + i] = (uint8_t)(seq >> (24 - 8 * i));
        uint32_t sum = 0;
        ip[10] = ip[11] = 0;
        for (int i = 0; i < 20; i += 2)
            sum += (uint32_t)ip[i] << 8 | ip[i + 1];
        sum = (sum & 0xffff) + (sum >> 16);
        sum = ~sum;
        ip[10] = (uint8_t)(sum >> 8);
        ip[11] = (uint8_t)sum;
        sum = 0;
        icmp[2] = icmp[3] = 0;
        for (size_t i = 0; i < sizeof icmp; i += 2)
            sum += (uint32_t)icmp[i] << 8 | icmp[i + 1];
        sum = (sum & 0xffff) + (sum >> 16);
        sum = ~((sum & 0xffff) + (sum >> 16));
        icmp[2] = (uint8_t)(sum >> 8);
        icmp[3] = (uint8_t)sum;
        size_t len = testbed_make_ip(frame, 1, icmp, sizeof icmp);
        testdev_inject(&s.bed.dev, frame, len);
        testbed_run(&s.bed);
        if (wrong)
            quiet(&s);
    }
    check_int(info().mss, ==, 960);
    out(&s, "A", 1, 1, 960);
    out(&s, "A", 961, 1, 960);
    out(&s, "A", 1921, 1, 960);
    out(&s, "PA", 2881, 1, 40);
    quiet(&s);
    script_close(&s);
}

static struct mir_view filled(uint32_t len, uint8_t value)
{
    struct mir_io_page *page;
    check_int(mir_page_alloc(&s.bed.pages, len, MIR_PAGE_OVERWRITE, &page), ==, 0);
    memset(page->base, value, len);
    struct mir_view view = mir_view_of_page(page, 0, len);
    mir_page_release(page);
    return view;
}

static void test_gather(void)
{
    tap_case("several views in one call: one segment, their bytes in order");
    script_open(&s, NULL);
    script_accept(&s);
    struct mir_view views[4] = {filled(10, 'a'), {0}, filled(5, 'b'), filled(3, 'c')};
    uint32_t taken;
    check_int(mir_tcp_send_views(s.tcp, views, 4, &taken), ==, 0);
    check_int(taken, ==, 4);
    check(script_next(&s));
    check_int(s.len, ==, 18);
    check(memcmp(s.payload, "aaaaaaaaaabbbbbccc", 18) == 0);
    in(&s, "A", 1, 19, 0);

    tap_case("... more than there is room for: the others stay the caller's");
    check_int(mir_tcp_set_option(s.tcp, MIR_TCP_SNDBUF, 2048), ==, 0);
    struct mir_view more[3] = {filled(2000, 1), filled(100, 2), filled(100, 3)};
    check_int(mir_tcp_send_views(s.tcp, more, 3, &taken), ==, 0);
    check_int(taken, ==, 2);
    check_int(more[2].len, ==, 100);
    check_int(mir_tcp_send_views(s.tcp, more + 2, 1, &taken), ==, -MIR_EAGAIN);
    check_int(taken, ==, 0);
    check_int(more[2].len, ==, 100);
    mir_view_release(&more[2]);
    while (script_next(&s))
        continue;
    script_close(&s);

    tap_case("... on a connection that is shut: an error, nothing taken");
    script_open(&s, NULL);
    script_accept(&s);
    check_int(mir_tcp_shutdown(s.tcp), ==, 0);
    struct mir_view late = filled(10, 1);
    check_int(mir_tcp_send_views(s.tcp, &late, 1, &taken), ==, -MIR_ECLOSED);
    check_int(late.len, ==, 10);
    mir_view_release(&late);
    script_close(&s);
}

int main(void)
{
    tap_begin("tcp_send");
    test_coalescing();
    test_rto();
    test_initial_window();
    test_fast_retransmit();
    test_old_marks();
    test_zero_window();
    test_buffer();
    test_keepalive();
    test_path_mtu();
    test_gather();
    return tap_done();
}
