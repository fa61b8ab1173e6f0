/* SPDX-License-Identifier: ISC */
/* Connections come to be: active, passive, both at once; options; refusals; backlog and cookies. */
#include <string.h>

#include <mirari/bytes.h>

#include "lib/net/internal.h"
#include "test/harness/tcp_script.h"

static struct tcp_script s;

static void test_active(void)
{
    tap_case("active open: SYN, SYN-ACK, ACK; CONNECTED once");
    script_open(&s, NULL);
    s.ts = true;
    s.wscale = 7;
    script_start_connect(&s);
    check(s.opt.has_mss && s.opt.mss == 1460);
    check(s.opt.has_wscale && s.opt.wscale == 6); /* up to 2 MiB */
    check(s.opt.has_ts && s.opt.tsecr == 0);
    check_int(s.hdr.wnd, ==, 65535);
    quiet(&s);
    in(&s, "SA", 0, 1, 0);
    out(&s, "A", 1, 1, 0);
    check(s.opt.has_ts && s.opt.tsecr == 1000);
    check_int(s.hdr.wnd, ==, 2048); /* 128 KiB, scaled */
    check_int(script_events(&s), ==, MIR_TCP_CONNECTED);
    struct mir_tcp_info info;
    mir_tcp_get_info(s.tcp, &info);
    check_int(info.state, ==, MIR_TCP_S_ESTABLISHED);
    check_int(info.mss, ==, 1448);
    check_int(info.snd_wscale, ==, 7);
    check_int(info.snd_wnd_bytes, ==, 65535); /* the window of a SYN is never scaled */
    check(info.timestamps);
    script_close(&s);
}

static void test_passive(void)
{
    tap_case("passive open: options repeated only if offered");
    script_open(&s, NULL);
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check(s.opt.has_mss && s.opt.mss == 1460);
    check(!s.opt.has_wscale && !s.opt.has_ts);
    check_int(s.accepts, ==, 0);
    check_int(script_stat(&s, "half_open"), ==, 1);
    check_int(script_stat(&s, "connections"), ==, 0);
    in(&s, "A", 1, 1, 0);
    check_int(s.accepts, ==, 1);
    check_int(script_stat(&s, "half_open"), ==, 0);
    quiet(&s);
    script_close(&s);

    tap_case("passive open: data and FIN with the ACK are there when the application is told");
    script_open(&s, NULL);
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    in(&s, "PAF", 1, 1, 100);
    check_int(s.accepts, ==, 1);
    check_int(s.received, ==, 100);
    out(&s, "A", 1, 102, 0);
    check(script_events(&s) & MIR_TCP_READABLE);
    script_close(&s);

    tap_case("a SYN-ACK echoes the newest SYN's timestamp");
    script_open(&s, NULL);
    s.ts = true;
    s.tsval = 5000;
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(s.opt.tsecr, ==, 5000);
    s.tsval = 6000;
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(s.opt.tsecr, ==, 6000);
    s.tsval = 5500; /* the older one comes late */
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(s.opt.tsecr, ==, 6000);
    script_close(&s);

    tap_case("half-open: a peer that began anew, its clock too, can reset the old request");
    script_open(&s, NULL);
    s.ts = true;
    s.tsval = 5000;
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    s.tsval = 1000;
    in(&s, "S", 77777, 0, 0);
    out(&s, "A", 1, 1, 0); /* the answer it needs for its RST */
    check_int(script_stat(&s, "half_open"), ==, 1);
    in(&s, "R", 1, 0, 0);
    check_int(script_stat(&s, "half_open"), ==, 0);
    in(&s, "S", 77777, 0, 0);
    out(&s, "SA", 0, 77778, 0);
    script_close(&s);

    tap_case("half-open: challenges are limited in number");
    script_open(&s, NULL);
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    for (int i = 0; i < 3000; i++) {
        in(&s, "S", 77777, 0, 0);
        if (script_next(&s))
            check_int(s.len, ==, 0);
    }
    check_int(script_stat(&s, "challenge_acks"), <=, 2 * 1500);
    check_int(script_stat(&s, "challenge_acks_limited"), >=, 1500);
    script_close(&s);

    tap_case("on_accept may close at once");
    script_open(&s, NULL);
    s.closes_on_accept = true;
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    in(&s, "A", 1, 1, 0);
    out(&s, "FA", 1, 1, 0);
    in(&s, "FA", 1, 2, 0);
    out(&s, "A", 2, 2, 0);
    check_int(script_stat(&s, "connections"), ==, 0);
    check_int(script_stat(&s, "time_wait"), ==, 1);
    script_close(&s);
}

static void test_mss(void)
{
    static const struct {
        int offered;
        uint16_t expected;
    } cases[] = {{0, 536}, {1460, 1460}, {9000, 1460}, {1, 88}, {88, 88}, {200, 200}};
    for (size_t i = 0; i < MIR_ARRAY_LEN(cases); i++) {
        tap_case("MSS offered %d: segments of %u", cases[i].offered, cases[i].expected);
        struct mir_tcp_info info;
        script_open(&s, NULL);
        s.mss = cases[i].offered;
        script_accept(&s);
        mir_tcp_get_info(s.tcp, &info);
        check_int(info.mss, ==, cases[i].expected);
        check_int(script_send(&s, 2 * cases[i].expected), ==, 2 * cases[i].expected);
        out(&s, "A", 1, 1, cases[i].expected);
        out(&s, "PA", 1 + cases[i].expected, 1, cases[i].expected);
        script_close(&s);
    }
}

static void test_syn_retransmission(void)
{
    tap_case("SYN again after 1, 2, 4 s with the same options; failed after three minutes");
    script_open(&s, NULL);
    script_start_connect(&s);
    mir_time_us waited = 0;
    for (uint32_t n = 0; n < 3; n++) {
        script_wait(&s, ((mir_time_us)MIR_US_PER_S << n) - (n > 0 ? 20000 : 10000));
        quiet(&s);
        script_wait(&s, 20000);
        out(&s, "S", 0, 0, 0);
        check(s.opt.has_mss && s.opt.has_wscale && s.opt.has_ts);
        waited += (mir_time_us)MIR_US_PER_S << n;
    }
    uint32_t more = 0;
    script_wait(&s, 170 * MIR_US_PER_S - waited);
    check_int(script_events(&s), ==, 0);
    script_wait(&s, 100 * MIR_US_PER_S);
    while (script_next(&s))
        more++;
    check_int(more, ==, 4);
    check_int(script_events(&s), ==, MIR_TCP_FAILED);
    check_int(mir_tcp_error(s.tcp), ==, -MIR_ETIMEDOUT);
    script_close(&s);

    tap_case("SYN-ACK again with all its options, after 1, 2, 4, 8, 16 s; then forgotten");
    script_open(&s, NULL);
    s.ts = true;
    s.wscale = 3;
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    for (uint32_t n = 0; n < 5; n++) {
        script_wait(&s, ((mir_time_us)MIR_US_PER_S << n) + 5000);
        out(&s, "SA", 0, 1, 0);
        check(s.opt.has_mss && s.opt.has_wscale && s.opt.has_ts && s.opt.tsecr == 1000);
        quiet(&s);
    }
    check_int(script_stat(&s, "half_open"), ==, 1);
    script_wait(&s, 33 * MIR_US_PER_S);
    quiet(&s);
    check_int(script_stat(&s, "half_open"), ==, 0);
    check_int(script_stat(&s, "half_open_timed_out"), ==, 1);
    script_close(&s);

    tap_case("a SYN that comes again is answered again");
    script_open(&s, NULL);
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(script_stat(&s, "half_open"), ==, 1);
    script_close(&s);

    tap_case("a SYN that comes again is echoed with its own timestamp");
    script_open(&s, NULL);
    s.ts = true;
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    s.tsval += 1000;
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(s.opt.tsecr, ==, 2000);
    script_close(&s);

    tap_case("a late echo of the first SYN is no round trip: 3 s (RFC 6298 5.7; simulator's find)");
    script_open(&s, NULL);
    s.ts = true;
    script_start_connect(&s);
    s.tsecr = s.opt.tsval;
    script_wait(&s, 7500000);
    while (script_next(&s))
        continue;
    in(&s, "SA", 0, 1, 0);
    out(&s, "A", 1, 1, 0);
    struct mir_tcp_info late;
    mir_tcp_get_info(s.tcp, &late);
    check_int(late.rto_us, ==, 3000000);
    script_close(&s);

    tap_case("after a lost SYN the first window is one segment");
    script_open(&s, NULL);
    script_start_connect(&s);
    script_wait(&s, 1100000);
    out(&s, "S", 0, 0, 0);
    in(&s, "SA", 0, 1, 0);
    out(&s, "A", 1, 1, 0);
    script_send(&s, 5000);
    out(&s, "A", 1, 1, 1460);
    quiet(&s);
    script_close(&s);
}

static void test_simultaneous(void)
{
    tap_case("simultaneous open (RFC 9293 figure 7)");
    script_open(&s, NULL);
    script_start_connect(&s);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(script_events(&s), ==, 0);
    in(&s, "SA", 0, 1, 0);
    check_int(script_events(&s), ==, MIR_TCP_CONNECTED);
    check(script_next(&s)); /* an ACK of the peer's SYN-ACK */
    check_int(s.hdr.flags, ==, MIR__TCP_ACK);
    in(&s, "PA", 1, 1, 10);
    check_int(s.received, ==, 10);
    script_close(&s);

    tap_case("simultaneous open, the SYN-ACK lost, completed by an ACK");
    script_open(&s, NULL);
    script_start_connect(&s);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    script_wait(&s, 1100000);
    out(&s, "SA", 0, 1, 0);
    in(&s, "A", 1, 1, 0);
    check_int(script_events(&s), ==, MIR_TCP_CONNECTED);
    script_close(&s);

    tap_case("simultaneous open, then reset: refused");
    script_open(&s, NULL);
    script_start_connect(&s);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    in(&s, "RA", 1, 1, 0);
    check_int(script_events(&s), ==, MIR_TCP_FAILED);
    check_int(mir_tcp_error(s.tcp), ==, -MIR_ECONNREFUSED);
    script_close(&s);
}

static void be_told_unreachable(bool ends)
{
    struct mir_ip own = mir_ip_from_v4(TESTBED_IP), peer = mir_ip_from_v4(TESTBED_PEER_IP);
    uint8_t quoted[8];
    script_open(&s, NULL);
    script_start_connect(&s);
    check_int(mir_tcp_set_option(s.tcp, MIR_TCP_UNREACHABLE_ENDS, ends), ==, 0);
    mir_put_be16(quoted, s.hdr.src_port);
    mir_put_be16(quoted + 2, s.hdr.dst_port);
    mir_put_be32(quoted + 4, s.hdr.seq + 1); /* not what is in flight */
    mir__tcp_icmp_error(s.bed.net, &own, &peer, quoted, -MIR_EHOSTUNREACH, 0);
    check_int(script_events(&s), ==, 0);
    mir_put_be32(quoted + 4, s.hdr.seq);
    mir__tcp_icmp_error(s.bed.net, &own, &peer, quoted, -MIR_EHOSTUNREACH, 0);
    script_wait(&s, 1000);
    check_int(script_events(&s), ==, ends ? MIR_TCP_FAILED : 0);
    check_int(mir_tcp_error(s.tcp), ==, ends ? -MIR_EHOSTUNREACH : 0);
    if (!ends) {
        in(&s, "SA", 0, 1, 0);
        out(&s, "A", 1, 1, 0);
    }
    script_close(&s);
}

static void test_unreachable(void)
{
    tap_case("SYN_SENT: ICMP's unreachable is soft (RFC 9293 3.9.2.2)");
    be_told_unreachable(false);
    tap_case("SYN_SENT: it ends the attempt where that is asked for (RFC 5461 4.1)");
    be_told_unreachable(true);
}

static void test_syn_sent(void)
{
    tap_case("SYN_SENT: RST with a good ACK refuses, others are ignored (3.10.7.3)");
    script_open(&s, NULL);
    script_start_connect(&s);
    in(&s, "R", 0, 0, 0);
    quiet(&s);
    in(&s, "RA", 0, 2, 0); /* ACK of what was not sent */
    quiet(&s);
    in(&s, "RA", 0, 0, 0);
    quiet(&s);
    check_int(script_events(&s), ==, 0);
    in(&s, "RA", 0, 1, 0);
    quiet(&s);
    check_int(script_events(&s), ==, MIR_TCP_FAILED);
    check_int(mir_tcp_error(s.tcp), ==, -MIR_ECONNREFUSED);
    script_close(&s);

    tap_case("SYN_SENT: a bad ACK is answered by RST with its number");
    script_open(&s, NULL);
    script_start_connect(&s);
    in(&s, "SA", 0, 77, 0);
    out(&s, "R", 77, 0, 0);
    in(&s, "A", 500, 78, 0);
    out(&s, "R", 78, 0, 0);
    in(&s, "SA", 0, 1, 0);
    out(&s, "A", 1, 1, 0);
    check_int(script_events(&s), ==, MIR_TCP_CONNECTED);
    script_close(&s);

    tap_case("SYN_SENT: an ACK without SYN is dropped");
    script_open(&s, NULL);
    script_start_connect(&s);
    in(&s, "A", 0, 1, 0);
    quiet(&s);
    check_int(script_events(&s), ==, 0);
    script_close(&s);

    tap_case("SYN_SENT: data with the SYN-ACK is taken, as far as the window goes (fuzzer's find)");
    struct mir_net_config small = {.tcp_rcvbuf_bytes = 4096};
    script_open(&s, &small);
    script_start_connect(&s);
    s.received = UINT64_MAX; /* the first payload byte has the number of the SYN here */
    in(&s, "SA", 0, 1, 9000);
    check_int(s.received, ==, 4095);
    check(script_next(&s));
    check_int(s.hdr.ack - s.peer_isn, ==, 4097);
    s.is_wrong = false;
    script_close(&s);

    tap_case("SYN_SENT: writes before the connection leave with its ACK; close leaves nothing");
    script_open(&s, NULL);
    script_start_connect(&s);
    check_int(script_send(&s, 10), ==, 10);
    quiet(&s);
    in(&s, "SA", 0, 1, 0);
    out(&s, "PA", 1, 1, 10);
    script_close(&s);
    script_open(&s, NULL);
    script_start_connect(&s);
    mir_tcp_close(s.tcp);
    s.tcp = NULL;
    quiet(&s);
    in(&s, "SA", 0, 1, 0);
    out(&s, "R", 1, 0, 0);
    check_int(script_stat(&s, "connections"), ==, 0);
    script_close(&s);
}

static void test_no_listener(void)
{
    tap_case("closed port: RST as 3.10.7.1 says");
    script_open(&s, NULL);
    s.our_port = 81;
    s.our_isn = 0;
    in(&s, "S", 100, 0, 0);
    out(&s, "RA", 0, 101, 0);
    in(&s, "A", 100, 5555, 20);
    out(&s, "R", 5555, 0, 0);
    in(&s, "FP", 100, 0, 20);
    out(&s, "RA", 0, 121, 0);
    in(&s, "R", 100, 0, 0);
    in(&s, "RA", 100, 7, 0);
    quiet(&s);
    script_close(&s);

    tap_case("listening port: ACK gets RST; RST, FIN, nothing are dropped (3.10.7.2)");
    script_open(&s, NULL);
    script_listen(&s, 0);
    in(&s, "A", 100, 5555, 0);
    out(&s, "R", 5555, 0, 0);
    in(&s, "R", 100, 0, 0);
    in(&s, "F", 100, 0, 0);
    in(&s, "", 100, 0, 10);
    in(&s, "SF", 100, 0, 0);
    quiet(&s);
    check_int(script_stat(&s, "half_open"), ==, 0);
    script_close(&s);

    tap_case("resets for closed ports are limited in number");
    uint32_t resets = 0;
    script_open(&s, NULL);
    s.our_port = 81;
    for (uint32_t i = 0; i < 5000; i++)
        in(&s, "S", i, 0, 0);
    while (script_next(&s))
        resets++;
    check_int(resets, >=, 400);
    check_int(resets, <=, 2000);
    script_close(&s);
}

static void test_half_open(void)
{
    tap_case("half-open: wrong ACK gets RST and the entry stays");
    script_open(&s, NULL);
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    in(&s, "A", 1, 9, 0);
    out(&s, "R", 9, 0, 0);
    check_int(script_stat(&s, "half_open"), ==, 1);

    tap_case("half-open: SYN in the window, RST beside rcv_nxt: challenge ACK; RST at it: gone");
    in(&s, "S", 5, 0, 0);
    out(&s, "A", 1, 1, 0);
    in(&s, "R", 5, 0, 0);
    out(&s, "A", 1, 1, 0);
    in(&s, "R", 100000, 0, 0);
    quiet(&s);
    in(&s, "R", 1, 0, 0);
    quiet(&s);
    check_int(script_stat(&s, "half_open"), ==, 0);
    script_close(&s);

    tap_case("unlisten drops half-open entries and leaves connections alone");
    script_open(&s, NULL);
    script_accept(&s);
    uint16_t first_port = s.peer_port;
    s.peer_port = 40001;
    in(&s, "S", 0, 0, 0);
    check(script_next(&s));
    mir_tcp_unlisten(s.listener);
    s.listener = NULL;
    check_int(script_stat(&s, "half_open"), ==, 0);
    check_int(script_stat(&s, "connections"), ==, 1);
    s.peer_port = first_port;
    script_close(&s);
}

static void test_cookies(bool ts)
{
    tap_case("backlog full: SYN cookies, %s timestamps", ts ? "with" : "without");
    script_open(&s, NULL);
    s.ts = ts;
    s.wscale = 7;
    s.mss = 1400;
    script_listen(&s, 4);
    for (uint16_t i = 0; i < 4; i++) {
        s.peer_port = (uint16_t)(41000 + i);
        in(&s, "S", 0, 0, 0);
        check(script_next(&s));
    }
    check_int(script_stat(&s, "half_open"), ==, 4);
    s.peer_port = 42000;
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(s.opt.has_wscale, ==, ts);
    check_int(script_stat(&s, "half_open"), ==, 4);
    check_int(script_stat(&s, "cookies_sent"), ==, 1);
    quiet(&s);
    script_wait(&s, 30 * MIR_US_PER_S); /* the entries retransmit meanwhile */
    while (script_next(&s))
        continue;
    uint32_t cookie_ts = 0;
    in(&s, "S", 0, 0, 0); /* a fresh cookie */
    out(&s, "SA", 0, 1, 0);
    cookie_ts = s.opt.tsval;
    in(&s, "A", 1, 2, 0); /* a guess */
    out(&s, "R", 2, 0, 0);
    check_int(script_stat(&s, "cookies_invalid"), ==, 1);
    s.tsecr = cookie_ts;
    in(&s, "A", 1, 1, 0);
    check_int(s.accepts, ==, 1);
    struct mir_tcp_info info;
    if (check(s.tcp != NULL)) {
        mir_tcp_get_info(s.tcp, &info);
        check_int(info.mss, ==, 1380 - (ts ? 12 : 0));
        check_int(info.snd_wscale, ==, ts ? 7 : 0);
        check_int(info.timestamps, ==, ts);
    }
    s.tsecr = UINT32_MAX;
    in(&s, "PA", 1, 1, 10);
    check_int(s.received, ==, 10);
    script_close(&s);
}

static void test_cookies_no_timestamps(void)
{
    tap_case("SYN cookies do not agree to timestamps that are switched off");
    struct mir_net_config config = {.tcp_no_timestamps = true};
    script_open(&s, &config);
    s.ts = true;
    s.wscale = 7;
    script_listen(&s, 1);
    s.peer_port = 41000;
    in(&s, "S", 0, 0, 0);
    check(script_next(&s));
    s.peer_port = 42000;
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(script_stat(&s, "cookies_sent"), ==, 1);
    check(!s.opt.has_ts);
    check(!s.opt.has_wscale); /* there is no room to remember it */
    in(&s, "A", 1, 1, 0);
    check_int(s.accepts, ==, 1);
    struct mir_tcp_info info;
    if (check(s.tcp != NULL)) {
        mir_tcp_get_info(s.tcp, &info);
        check(!info.timestamps);
        check_int(info.snd_wscale, ==, 0);
    }
    script_close(&s);
}

static void test_cookie_age(void)
{
    tap_case("an old cookie is not accepted, nor one nobody sent");
    script_open(&s, NULL);
    script_listen(&s, 1);
    s.peer_port = 41000;
    in(&s, "S", 0, 0, 0);
    check(script_next(&s));
    s.peer_port = 42000;
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    script_wait(&s, 129 * MIR_US_PER_S);
    while (script_next(&s))
        continue;
    in(&s, "A", 1, 1, 0);
    out(&s, "R", 1, 0, 0);
    check_int(s.accepts, ==, 0);
    check_int(script_stat(&s, "connections"), ==, 0);
    script_close(&s);
}

static void test_flood(void)
{
    tap_case("a flood of SYNs costs a bounded amount of memory, and an honest peer gets in");
    script_open(&s, NULL);
    s.ts = true;
    s.bed.dev.queued_max = 100;
    script_listen(&s, 100000);
    for (uint32_t i = 0; i < 20000; i++) {
        s.peer_port = (uint16_t)(1024 + i);
        in(&s, "S", i, 0, 0);
        if (i % 50 == 0)
            testdev_clear(&s.bed.dev);
    }
    testdev_clear(&s.bed.dev);
    check_int(script_stat(&s, "half_open"), ==, 4096);
    check_int(script_stat(&s, "cookies_sent"), ==, 20000 - 4096);
    s.peer_port = 65000;
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    in(&s, "A", 1, 1, 0);
    check_int(s.accepts, ==, 1);
    script_wait(&s, 70 * MIR_US_PER_S);
    check_int(script_stat(&s, "half_open"), ==, 0);
    script_close(&s);
}

static void test_limits(void)
{
    tap_case("connection limit: the request waits half-open and gets in when there is room");
    struct mir_net_config config = {.tcp_connections_max = 1};
    script_open(&s, &config);
    script_accept(&s);
    s.peer_port = 40001;
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    in(&s, "A", 1, 1, 0);
    quiet(&s);
    check_int(s.accepts, ==, 1);
    check_int(script_stat(&s, "drop_connection_limit"), ==, 1);
    mir_tcp_abort(s.tcp);
    s.tcp = NULL;
    check(script_next(&s));
    in(&s, "A", 1, 1, 0);
    check_int(s.accepts, ==, 2);
    struct mir_tcp *extra;
    struct mir_endpoint remote = {mir_ip_from_v4(TESTBED_PEER_IP), 80};
    check_int(mir_tcp_connect(s.bed.stack, &remote, NULL, NULL, &extra), ==, -MIR_ENOMEM);
    script_close(&s);

    tap_case("listen: same port twice, foreign address, chosen port");
    script_open(&s, NULL);
    script_listen(&s, 0);
    struct mir_tcp_listener *other;
    struct mir_tcp_listen_config listen = {
        .local = {mir_ip_from_v4(0), 80}, .on_accept = s.listener->on_accept, .arg = &s};
    check_int(mir_tcp_listen(s.bed.stack, &listen, &other), ==, -MIR_EADDRINUSE);
    listen.local.ip = mir_ip_from_v4(0x01020304);
    check_int(mir_tcp_listen(s.bed.stack, &listen, &other), ==, -MIR_EADDRNOTAVAIL);
    listen.local = (struct mir_endpoint){mir_ip_from_v4(TESTBED_IP), 0};
    check_int(mir_tcp_listen(s.bed.stack, &listen, &other), ==, 0);
    check_int(other->local.port, >=, 49152);
    mir_tcp_unlisten(other);
    script_close(&s);
}

static void test_idle_memory(void)
{
    tap_case("an idle connection costs less than 1 KiB in all");
    script_open(&s, NULL);
    script_listen(&s, 0);
    for (uint16_t i = 0; i < 64; i++) { /* pools warm up */
        s.peer_port = (uint16_t)(10000 + i);
        s.tcp = NULL;
        script_accept(&s);
    }
    size_t before = mir_page_pool_used_bytes(&s.bed.pages);
    for (uint16_t i = 0; i < 3000; i++) {
        s.peer_port = (uint16_t)(20000 + i);
        s.tcp = NULL;
        script_accept(&s);
    }
    size_t each = (mir_page_pool_used_bytes(&s.bed.pages) - before) / 3000;
    tap_note("%zu bytes", each);
    check_int(each, <=, 1024);
    check_int(script_stat(&s, "connections"), ==, 3064);
    s.tcp = NULL;
    script_close(&s);
}

/* Handlers that close each other. */
static struct mir_tcp *partner[2];

static void closes_partner(struct mir_tcp *tcp, unsigned events, void *arg)
{
    (void)events;
    (void)arg;
    int other = tcp == partner[0];
    if (partner[other] != NULL)
        mir_tcp_abort(partner[other]);
    partner[other] = NULL;
}

static void test_handlers(void)
{
    tap_case("a handler may abort another connection that has an event in the same batch");
    uint32_t first_isn = 0;
    script_open(&s, NULL);
    for (uint16_t i = 0; i < 2; i++) {
        s.peer_port = (uint16_t)(40000 + i);
        s.tcp = NULL;
        script_accept(&s);
        if (i == 0)
            first_isn = s.our_isn;
        partner[i] = s.tcp;
        mir_tcp_set_handler(s.tcp, closes_partner, NULL);
    }
    s.tcp = NULL;
    in_more(&s, "A", 1, 1, 10);
    s.peer_port = 40000;
    s.our_isn = first_isn;
    in_more(&s, "A", 1, 1, 10);
    script_batch_end(&s);
    check_int(script_stat(&s, "connections"), ==, 1);
    script_close(&s);

    tap_case("a specific address goes before any address");
    script_open(&s, NULL);
    script_listen(&s, 0);
    struct mir_tcp_listener *any = s.listener;
    struct mir_tcp_listener *specific;
    struct mir_tcp_listen_config config = {
        .local = {mir_ip_from_v4(TESTBED_IP), 80}, .on_accept = any->on_accept, .arg = &s};
    check_int(mir_tcp_listen(s.bed.stack, &config, &specific), ==, 0);
    script_accept(&s);
    mir_tcp_unlisten(any);
    s.tcp = NULL;
    s.peer_port++;
    script_accept(&s);
    check_int(s.accepts, ==, 2);
    mir_tcp_unlisten(specific);
    s.listener = NULL;
    s.peer_port++;
    in(&s, "S", 0, 0, 0);
    while (script_next(&s))
        check(s.hdr.flags & MIR__TCP_RST);
    script_close(&s);
}

static void test_challenge_window(void)
{
    tap_case("a challenge before the handshake ends promises the window of the SYN-ACK, scaled");
    script_open(&s, NULL);
    s.wscale = 7;
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check(s.opt.has_wscale);
    uint32_t promised = s.hdr.wnd, scale = s.opt.wscale;
    in(&s, "S", 100, 0, 0);
    out(&s, "A", 1, 1, 0);
    check_int((uint32_t)s.hdr.wnd << scale, <=, promised);
    check_int((uint32_t)s.hdr.wnd << scale, >, promised / 2);
    script_close(&s);

    tap_case("without scaling as it is; of a listener with its own buffer that one's");
    script_open(&s, NULL);
    s.wscale = -1;
    s.rcvbuf = 8192;
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(s.hdr.wnd, ==, 8192);
    in(&s, "S", 100, 0, 0);
    out(&s, "A", 1, 1, 0);
    check_int(s.hdr.wnd, ==, 8192);
    in(&s, "A", 1 + 8192, 1, 0); /* beyond what was promised */
    out(&s, "A", 1, 1, 0);
    check_int(script_stat(&s, "drop_out_of_window"), ==, 1);
    script_close(&s);
}

static void test_full(void)
{
    tap_case("a listener that is full: requests are dropped, not refused; who is half open comes");
    script_open(&s, NULL);
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    s.listener->is_full = true;
    s.peer_port++;
    in(&s, "S", 0, 0, 0);
    quiet(&s);
    check_int(script_stat(&s, "drop_listener_full"), ==, 1);
    s.peer_port--;
    in(&s, "A", 1, 1, 0);
    check_int(s.accepts, ==, 1);
    script_close(&s);
}

int main(void)
{
    tap_begin("tcp_open");
    test_full();
    test_active();
    test_passive();
    test_mss();
    test_syn_retransmission();
    test_simultaneous();
    test_syn_sent();
    test_unreachable();
    test_no_listener();
    test_half_open();
    test_cookies(false);
    test_cookies(true);
    test_cookies_no_timestamps();
    test_cookie_age();
    test_flood();
    test_limits();
    test_idle_memory();
    test_handlers();
    test_challenge_window();
    return tap_done();
}
