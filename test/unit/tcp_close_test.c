/* SPDX-License-Identifier: ISC */
/* Connections end: every path of RFC 9293 figure 5, aborts, TIME_WAIT. */
#include <string.h>

#include "test/harness/tcp_script.h"

static struct tcp_script s;

static uint8_t state(void)
{
    struct mir_tcp_info i;
    mir_tcp_get_info(s.tcp, &i);
    return i.state;
}

static void close_ours(void)
{
    mir_tcp_close(s.tcp);
    s.tcp = NULL;
}

static void test_active_close(void)
{
    tap_case("active close: FIN_WAIT_1, FIN_WAIT_2, TIME_WAIT, gone after 60 s");
    script_open(&s, NULL);
    script_accept(&s);
    check_int(mir_tcp_shutdown(s.tcp), ==, 0);
    out(&s, "FA", 1, 1, 0);
    check_int(state(), ==, MIR_TCP_S_FIN_WAIT_1);
    in(&s, "A", 1, 2, 0);
    check_int(state(), ==, MIR_TCP_S_FIN_WAIT_2);
    in(&s, "PA", 1, 2, 10); /* half-closed: the other direction goes on */
    check_int(s.received, ==, 10);
    check(script_next(&s));
    script_events(&s);
    in(&s, "FA", 11, 2, 0);
    out(&s, "A", 2, 12, 0);
    check_int(state(), ==, MIR_TCP_S_CLOSED);
    check_int(script_events(&s), ==, MIR_TCP_READABLE | MIR_TCP_CLOSED);
    struct mir_view view;
    check_int(mir_tcp_recv_view(s.tcp, &view), ==, -MIR_EEOF);
    check_int(script_stat(&s, "time_wait"), ==, 1);
    script_wait(&s, 59 * MIR_US_PER_S);
    check_int(script_stat(&s, "time_wait"), ==, 1);
    script_wait(&s, 2 * MIR_US_PER_S);
    check_int(script_stat(&s, "time_wait"), ==, 0);
    quiet(&s);
    script_close(&s);

    tap_case("data and FIN leave together; FIN acknowledged only with the data");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 100);
    close_ours();
    out(&s, "PFA", 1, 1, 100);
    in(&s, "A", 1, 101, 0);
    check_int(script_stat(&s, "connections"), ==, 1);
    script_wait(&s, 300000);
    out(&s, "FA", 101, 1, 0); /* the FIN alone again */
    in(&s, "FA", 1, 102, 0);
    while (script_next(&s))
        check_int(s.hdr.flags, ==, MIR__TCP_ACK);
    check_int(script_stat(&s, "connections"), ==, 0);
    script_close(&s);

    tap_case("FIN and its ACK in one segment: straight to TIME_WAIT");
    script_open(&s, NULL);
    script_accept(&s);
    close_ours();
    out(&s, "FA", 1, 1, 0);
    in(&s, "FA", 1, 2, 0);
    out(&s, "A", 2, 2, 0);
    check_int(script_stat(&s, "time_wait"), ==, 1);
    check_int(script_stat(&s, "connections"), ==, 0);
    script_close(&s);

    tap_case("FIN_WAIT_2 of a closed connection ends after 60 s");
    script_open(&s, NULL);
    script_accept(&s);
    close_ours();
    out(&s, "FA", 1, 1, 0);
    in(&s, "A", 1, 2, 0);
    script_wait(&s, 59 * MIR_US_PER_S);
    check_int(script_stat(&s, "connections"), ==, 1);
    script_wait(&s, 2 * MIR_US_PER_S);
    check_int(script_stat(&s, "connections"), ==, 0);
    check_int(script_stat(&s, "fin_wait_2_timeouts"), ==, 1);
    script_close(&s);

    tap_case("FIN_WAIT_2 with the application still there has no end by itself");
    script_open(&s, NULL);
    script_accept(&s);
    mir_tcp_shutdown(s.tcp);
    out(&s, "FA", 1, 1, 0);
    in(&s, "A", 1, 2, 0);
    script_wait(&s, 600 * MIR_US_PER_S);
    check_int(state(), ==, MIR_TCP_S_FIN_WAIT_2);
    script_close(&s);
}

static void test_passive_close(void)
{
    tap_case("passive close: CLOSE_WAIT, LAST_ACK, gone without TIME_WAIT");
    script_open(&s, NULL);
    script_accept(&s);
    in(&s, "FA", 1, 1, 0);
    out(&s, "A", 1, 2, 0);
    check_int(state(), ==, MIR_TCP_S_CLOSE_WAIT);
    check_int(script_events(&s), ==, MIR_TCP_READABLE);
    script_send(&s, 100); /* half-closed: ours goes on */
    out(&s, "PA", 1, 2, 100);
    in(&s, "A", 2, 101, 0);
    mir_tcp_shutdown(s.tcp);
    out(&s, "FA", 101, 2, 0);
    check_int(state(), ==, MIR_TCP_S_LAST_ACK);
    in(&s, "A", 2, 102, 0);
    check_int(script_events(&s), ==, MIR_TCP_CLOSED);
    check_int(script_stat(&s, "time_wait"), ==, 0);
    size_t queued;
    check_int(mir_tcp_send(s.tcp, "x", 1, &queued), ==, -MIR_ECLOSED);
    script_close(&s);

    tap_case("LAST_ACK: a lost FIN is sent again; its loss for ever ends it (ancestor's leak)");
    script_open(&s, NULL);
    script_accept(&s);
    in(&s, "FA", 1, 1, 0);
    close_ours();
    while (script_next(&s))
        continue;
    script_wait(&s, 1100 * MIR_US_PER_S);
    check_int(script_stat(&s, "connections"), ==, 0);
    check_int(script_stat(&s, "timed_out"), ==, 1);
    script_close(&s);

    tap_case("a FIN that comes again in CLOSE_WAIT is acknowledged again");
    script_open(&s, NULL);
    script_accept(&s);
    in(&s, "FA", 1, 1, 0);
    out(&s, "A", 1, 2, 0);
    in(&s, "FA", 1, 1, 0);
    out(&s, "A", 1, 2, 0);
    check_int(state(), ==, MIR_TCP_S_CLOSE_WAIT);
    script_close(&s);
}

static void test_simultaneous_close(void)
{
    tap_case("simultaneous close: CLOSING, TIME_WAIT (ancestor's leak)");
    script_open(&s, NULL);
    script_accept(&s);
    mir_tcp_shutdown(s.tcp);
    out(&s, "FA", 1, 1, 0);
    in(&s, "FA", 1, 1, 0);
    out(&s, "A", 2, 2, 0);
    check_int(state(), ==, MIR_TCP_S_CLOSING);
    in(&s, "A", 2, 2, 0);
    check_int(state(), ==, MIR_TCP_S_CLOSED);
    check_int(script_stat(&s, "time_wait"), ==, 1);
    check(script_events(&s) & MIR_TCP_CLOSED);
    script_close(&s);

    tap_case("CLOSING: our FIN was lost and is sent again");
    script_open(&s, NULL);
    script_accept(&s);
    close_ours();
    out(&s, "FA", 1, 1, 0);
    in(&s, "FA", 1, 1, 0);
    out(&s, "A", 2, 2, 0);
    script_wait(&s, 300000);
    out(&s, "FA", 1, 2, 0);
    in(&s, "A", 2, 2, 0);
    check_int(script_stat(&s, "connections"), ==, 0);
    script_close(&s);
}

static void test_abort(void)
{
    tap_case("abort: RST with our next number");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 10);
    out(&s, "PA", 1, 1, 10);
    mir_tcp_abort(s.tcp);
    s.tcp = NULL;
    out(&s, "RA", 11, 1, 0);
    check_int(script_stat(&s, "connections"), ==, 0);
    script_close(&s);

    tap_case("close with unread data: RST (RFC 2525 2.17)");
    script_open(&s, NULL);
    script_accept(&s);
    s.reads = false;
    in(&s, "PA", 1, 1, 10);
    check(script_next(&s));
    close_ours();
    out(&s, "RA", 1, 11, 0);
    check_int(script_stat(&s, "connections"), ==, 0);
    check_int(script_stat(&s, "memory_used_bytes"), ==, 0);
    script_close(&s);

    tap_case("data after close: RST");
    script_open(&s, NULL);
    script_accept(&s);
    close_ours();
    out(&s, "FA", 1, 1, 0);
    in(&s, "A", 1, 2, 0);
    in(&s, "PA", 1, 2, 10);
    out(&s, "RA", 2, 1, 0);
    check_int(script_stat(&s, "connections"), ==, 0);
    script_close(&s);

    tap_case("reset by the peer: FAILED; what was received can be read");
    script_open(&s, NULL);
    script_accept(&s);
    s.reads = false;
    in(&s, "PA", 1, 1, 10);
    check(script_next(&s));
    script_send(&s, 100);
    script_events(&s);
    in(&s, "R", 11, 0, 0);
    check_int(script_events(&s), ==, MIR_TCP_FAILED);
    check_int(mir_tcp_error(s.tcp), ==, -MIR_ECONNRESET);
    struct mir_view view;
    check_int(mir_tcp_recv_view(s.tcp, &view), ==, 0);
    mir_view_release(&view);
    check_int(mir_tcp_recv_view(s.tcp, &view), ==, -MIR_ECONNRESET);
    size_t queued;
    check_int(mir_tcp_send(s.tcp, "x", 1, &queued), ==, -MIR_ECONNRESET);
    check_int(mir_tcp_shutdown(s.tcp), ==, -MIR_ENOTCONN);
    while (script_next(&s))
        continue;
    script_close(&s);

    tap_case("a handler may abort its own connection");
    script_open(&s, NULL);
    script_accept(&s);
    s.aborts_on_event = true;
    in(&s, "PA", 1, 1, 10);
    out(&s, "RA", 1, 11, 0);
    quiet(&s);
    check_int(script_stat(&s, "connections"), ==, 0);
    script_close(&s);

    tap_case("closing the stack resets what is open");
    script_open(&s, NULL);
    script_accept(&s);
    script_send(&s, 100000);
    s.reads = false;
    in(&s, "PA", 1, 1, 100);
    in(&s, "PA", 301, 1, 100);
    s.tcp = NULL;
    s.listener = NULL;
    script_close(&s);
}

static void enter_time_wait(void)
{
    script_accept(&s);
    close_ours();
    out(&s, "FA", 1, 1, 0);
    in(&s, "FA", 1, 2, 0);
    out(&s, "A", 2, 2, 0);
    check_int(script_stat(&s, "time_wait"), ==, 1);
    script_wait(&s, MIR_US_PER_S);
}

static void test_time_wait(void)
{
    tap_case("TIME_WAIT: FIN again is acknowledged and the time starts again");
    script_open(&s, NULL);
    enter_time_wait();
    script_wait(&s, 50 * MIR_US_PER_S);
    in(&s, "FA", 1, 2, 0);
    out(&s, "A", 2, 2, 0);
    script_wait(&s, 50 * MIR_US_PER_S);
    check_int(script_stat(&s, "time_wait"), ==, 1);
    script_wait(&s, 11 * MIR_US_PER_S);
    check_int(script_stat(&s, "time_wait"), ==, 0);
    script_close(&s);

    tap_case("TIME_WAIT: RST does not end it (RFC 1337); a pure ACK is not answered");
    script_open(&s, NULL);
    enter_time_wait();
    in(&s, "R", 2, 0, 0);
    in(&s, "A", 2, 2, 0);
    quiet(&s);
    check_int(script_stat(&s, "time_wait"), ==, 1);
    in(&s, "PA", 2, 2, 10); /* old data */
    out(&s, "A", 2, 2, 0);
    script_close(&s);

    tap_case("TIME_WAIT: a SYN with a greater number is a new connection, its ISN above ours");
    script_open(&s, NULL);
    enter_time_wait();
    uint32_t old_isn = s.our_isn;
    in(&s, "S", 100000, 0, 0);
    check(script_next(&s));
    check_int(s.hdr.flags, ==, MIR__TCP_SYN | MIR__TCP_ACK);
    check((int32_t)(s.hdr.seq - old_isn) > 2);
    check_int(script_stat(&s, "time_wait"), ==, 0);
    check_int(script_stat(&s, "time_wait_reused"), ==, 1);
    script_close(&s);

    tap_case("TIME_WAIT: a SYN with an old number is answered by an ACK");
    script_open(&s, NULL);
    enter_time_wait();
    in(&s, "S", 0, 0, 0);
    out(&s, "A", 2, 2, 0);
    check_int(script_stat(&s, "time_wait"), ==, 1);
    script_close(&s);

    tap_case("TIME_WAIT: with timestamps the timestamp decides (RFC 6191)");
    script_open(&s, NULL);
    s.ts = true;
    enter_time_wait();
    s.tsval -= 100;
    in(&s, "S", 100000, 0, 0);
    out(&s, "A", 2, 2, 0);
    check(s.opt.has_ts);
    script_wait(&s, MIR_US_PER_S);
    s.tsval += 200;
    in(&s, "S", 0, 0, 0); /* even with a smaller sequence number */
    check(script_next(&s));
    check_int(s.hdr.flags, ==, MIR__TCP_SYN | MIR__TCP_ACK);
    script_close(&s);

    tap_case("TIME_WAIT entries are bounded: the oldest gives way");
    struct mir_net_config config = {.tcp_time_wait_max = 16};
    script_open(&s, &config);
    script_listen(&s, 0);
    for (uint16_t i = 0; i < 40; i++) {
        s.peer_port = (uint16_t)(50000 + i);
        script_accept(&s);
        close_ours();
        out(&s, "FA", 1, 1, 0);
        in(&s, "FA", 1, 2, 0);
        out(&s, "A", 2, 2, 0);
    }
    check_int(script_stat(&s, "time_wait"), ==, 16);
    check_int(script_stat(&s, "time_wait_recycled"), ==, 24);
    script_wait(&s, 61 * MIR_US_PER_S);
    check_int(script_stat(&s, "time_wait"), ==, 0);
    script_close(&s);
}

static void test_leaks(void)
{
    tap_case("ten thousand short connections leave nothing (ancestor: 30 KB each)");
    script_open(&s, NULL);
    script_listen(&s, 0);
    size_t idle = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        s.peer_port = (uint16_t)(1024 + i);
        s.peer_isn = i * 77777;
        s.received = 0;
        in(&s, "S", 0, 0, 0);
        out(&s, "SA", 0, 1, 0);
        in(&s, "PA", 1, 1, 100);
        check(script_next(&s));
        switch (i % 4) {
        case 0: /* we close first */
            script_send(&s, 200);
            close_ours();
            check(script_next(&s));
            in(&s, "FA", 101, 202, 0);
            break;
        case 1: /* the peer closes first */
            in(&s, "FA", 101, 1, 0);
            close_ours();
            while (script_next(&s))
                continue;
            in(&s, "A", 102, 2, 0);
            break;
        case 2: /* the peer resets */
            in(&s, "R", 101, 0, 0);
            close_ours();
            break;
        default: /* both at once */
            close_ours();
            in(&s, "FA", 101, 1, 0);
            in(&s, "A", 102, 2, 0);
            break;
        }
        testdev_clear(&s.bed.dev);
        if (i == 5000) {
            script_wait(&s, 61 * MIR_US_PER_S);
            idle = mir_page_pool_used_bytes(&s.bed.pages);
        }
    }
    check_int(script_stat(&s, "connections"), ==, 0);
    check_int(script_stat(&s, "memory_used_bytes"), ==, 0);
    script_wait(&s, 61 * MIR_US_PER_S);
    check_int(script_stat(&s, "time_wait"), ==, 0);
    check_int(mir_page_pool_used_bytes(&s.bed.pages), <=, idle + 4096);
    script_close(&s);
}

static void test_closed_window(void)
{
    struct mir_net_config config = {.tcp_rcvbuf_bytes = 2048};
    struct mir_tcp_info info;

    tap_case("our FIN is acknowledged by a probe of our closed window");
    script_open(&s, &config);
    s.reads = false;
    script_accept(&s);
    in(&s, "PA", 1, 1, 2048);
    check(script_next(&s));
    check_int(s.hdr.wnd, ==, 0);
    check_int(mir_tcp_shutdown(s.tcp), ==, 0);
    out(&s, "FA", 1, 2049, 0);
    in(&s, "A", 2049, 2, 1);
    mir_tcp_get_info(s.tcp, &info);
    check_int(info.state, ==, MIR_TCP_S_FIN_WAIT_2);
    out(&s, "A", 2, 2049, 0);
    script_close(&s);

    tap_case("closed by us, its window closed by the peer: not for ever");
    script_open(&s, NULL);
    script_accept(&s);
    s.wnd = 0;
    in(&s, "A", 1, 1, 0);
    script_send(&s, 100);
    mir_tcp_close(s.tcp);
    s.tcp = NULL;
    uint32_t probes = 0;
    bool is_reset = false;
    for (int i = 0; i < 180 && !is_reset; i++) {
        script_wait(&s, 10100000);
        while (script_next(&s)) {
            is_reset = (s.hdr.flags & MIR__TCP_RST) != 0;
            if (is_reset)
                break;
            in(&s, "A", 1, 1, 0);
            probes++;
        }
    }
    check(is_reset);
    check_int(probes, >=, 10);
    check_int(script_stat(&s, "connections"), ==, 0);
    script_close(&s);
}

static void test_linger(void)
{
    tap_case("linger 0: close is an abort, whatever was queued");
    script_open(&s, NULL);
    script_accept(&s);
    check_int(mir_tcp_set_option(s.tcp, MIR_TCP_LINGER_MS, 0), ==, 0);
    script_send(&s, 100);
    out(&s, "PA", 1, 1, 100);
    mir_tcp_close(s.tcp);
    s.tcp = NULL;
    out(&s, "RA", 101, 1, 0);
    quiet(&s);
    script_close(&s);

    tap_case("linger for 3 s: reset then, if the peer has not acknowledged everything");
    for (int is_acked = 0; is_acked < 2; is_acked++) {
        script_open(&s, NULL);
        script_accept(&s);
        check_int(mir_tcp_set_option(s.tcp, MIR_TCP_LINGER_MS, 3000), ==, 0);
        script_send(&s, 100);
        mir_tcp_close(s.tcp);
        s.tcp = NULL;
        out(&s, "FPA", 1, 1, 100);
        if (is_acked)
            in(&s, "A", 1, 102, 0);
        script_wait(&s, 2900000);
        bool is_reset = false;
        while (script_next(&s))
            is_reset |= (s.hdr.flags & MIR__TCP_RST) != 0;
        check(!is_reset);
        script_wait(&s, 200000);
        while (script_next(&s))
            is_reset |= (s.hdr.flags & MIR__TCP_RST) != 0;
        check_int(is_reset, ==, !is_acked);
        check_int(script_stat(&s, "linger_timeouts"), ==, !is_acked);
        script_close(&s);
    }

    tap_case("linger switched off again: as long as it takes");
    script_open(&s, NULL);
    script_accept(&s);
    check_int(mir_tcp_set_option(s.tcp, MIR_TCP_LINGER_MS, 0), ==, 0);
    check_int(mir_tcp_set_option(s.tcp, MIR_TCP_LINGER_MS, MIR_TCP_LINGER_OFF), ==, 0);
    mir_tcp_close(s.tcp);
    s.tcp = NULL;
    out(&s, "FA", 1, 1, 0);
    script_close(&s);
}

static void test_no_route(void)
{
    struct mir_net_prefix ours = {mir_ip_from_v4(TESTBED_IP), 24};
    for (int is_back = 0; is_back < 2; is_back++) {
        tap_case("closed while there is no route: %s",
                 is_back ? "FIN leaves when there is one again" : "given up after two minutes");
        script_open(&s, NULL);
        script_accept(&s);
        check_int(mir_tcp_set_option(s.tcp, MIR_TCP_USER_TIMEOUT_MS, 1000), ==, 0);
        check_int(mir_net_remove_address(s.bed.net, &ours.ip), ==, 0);
        mir_tcp_close(s.tcp);
        s.tcp = NULL;
        script_wait(&s, 3 * MIR_US_PER_S);
        quiet(&s);
        check_int(script_stat(&s, "connections"), ==, 1);
        check_int(script_stat(&s, "output_failed"), <, 40); /* tried now and then */
        if (is_back) {
            check_int(mir_net_add_address(s.bed.net, 0, &ours), ==, 0);
            script_wait(&s, 2 * MIR_US_PER_S);
            out(&s, "FA", 1, 1, 0);
        } else {
            script_wait(&s, 125 * MIR_US_PER_S);
            check_int(script_stat(&s, "connections"), ==, 0);
            check_int(script_stat(&s, "timed_out"), ==, 1);
        }
        script_close(&s);
    }
}

int main(void)
{
    tap_begin("tcp_close");
    test_active_close();
    test_passive_close();
    test_simultaneous_close();
    test_abort();
    test_time_wait();
    test_leaks();
    test_closed_window();
    test_linger();
    test_no_route();
    return tap_done();
}
