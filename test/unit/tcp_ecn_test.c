/* SPDX-License-Identifier: ISC */
/* Explicit congestion notification, RFC 3168, rule by rule. */
#include "lib/net/tcp/internal.h"
#include "test/harness/tcp_script.h"

#define MSS 1460u
#define ECT 2
#define CE  3

static struct tcp_script s;
static const struct mir_net_config passive = {.congestion = "reno"};
static const struct mir_net_config asking = {.congestion = "reno", .tcp_ecn = MIR_NET_ECN_ON};
static const struct mir_net_config refusing = {.congestion = "reno", .tcp_ecn = MIR_NET_ECN_OFF};

static struct mir_tcp_info info(void)
{
    struct mir_tcp_info i;
    mir_tcp_get_info(s.tcp, &i);
    return i;
}

static uint32_t seg(uint32_t i)
{
    return 1 + i * MSS;
}

static void drain(void)
{
    while (script_next(&s))
        continue;
}

/* A peer that asks; agreed if @config lets us. */
static void accept_asking(const struct mir_net_config *config)
{
    script_open(&s, config);
    s.sack = true;
    script_listen(&s, 0);
    in(&s, "SEC", 0, 0, 0);
}

static void start(void)
{
    accept_asking(&passive);
    out(&s, "SAE", 0, 1, 0);
    check_int(s.out_tos, ==, 0);
    script_wait(&s, 20000);
    in(&s, "A", 1, 1, 0);
    check(info().ecn);
}

static void test_agreement(void)
{
    tap_case("passive: a SYN that asks is answered with ECE, again with the second SYN-ACK");
    accept_asking(&passive);
    out(&s, "SAE", 0, 1, 0);
    script_wait(&s, 1100000);
    out(&s, "SAE", 0, 1, 0);
    in(&s, "A", 1, 1, 0);
    check(info().ecn);
    check_int(script_stat(&s, "ecn_agreed"), ==, 1);
    script_close(&s);

    tap_case("off: not agreed");
    accept_asking(&refusing);
    out(&s, "SA", 0, 1, 0);
    in(&s, "A", 1, 1, 0);
    check(!info().ecn);
    script_close(&s);

    tap_case("a SYN with one of the two flags, or with marks in its IP header: not agreed");
    const char *const syns[] = {"SE", "SC", "S"};
    for (int i = 0; i < 3; i++) {
        script_open(&s, &passive);
        script_listen(&s, 0);
        in(&s, syns[i], 0, 0, 0);
        out(&s, "SA", 0, 1, 0);
        script_close(&s);
    }
    script_open(&s, &passive);
    script_listen(&s, 0);
    s.tos = ECT;
    in(&s, "SEC", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    script_close(&s);

    tap_case("passive: our SYN does not ask");
    script_open(&s, &passive);
    script_start_connect(&s);
    script_close(&s);

    tap_case("on: our SYN asks, not marked itself; ECE alone is the answer");
    const char *const answers[] = {"SAE", "SA", "SAEC"};
    for (int i = 0; i < 3; i++) {
        struct mir_endpoint remote = {mir_ip_from_v4(TESTBED_PEER_IP), 80};
        script_open(&s, &asking);
        check_int(mir_tcp_connect(s.bed.stack, &remote, NULL, NULL, &s.tcp), ==, 0);
        s.peer_port = 80;
        out(&s, "SEC", 0, 0, 0);
        check_int(s.out_tos, ==, 0);
        s.our_port = s.hdr.src_port;
        in(&s, answers[i], 0, 1, 0);
        out(&s, "A", 1, 1, 0);
        check_int(info().ecn, ==, i == 0);
        script_close(&s);
    }

    tap_case("on: the SYN gets no answer: the second one does not ask (6.1.1.1)");
    struct mir_endpoint remote = {mir_ip_from_v4(TESTBED_PEER_IP), 80};
    script_open(&s, &asking);
    check_int(mir_tcp_connect(s.bed.stack, &remote, NULL, NULL, &s.tcp), ==, 0);
    s.peer_port = 80;
    out(&s, "SEC", 0, 0, 0);
    s.our_port = s.hdr.src_port;
    script_wait(&s, 1100000);
    out(&s, "S", 0, 0, 0);
    in(&s, "SAE", 0, 1, 0); /* of the first, late: we do not count on it */
    out(&s, "A", 1, 1, 0);
    check(!info().ecn);
    check_int(script_stat(&s, "ecn_fallbacks"), ==, 1);
    script_close(&s);

    tap_case("SYN cookies: without");
    script_open(&s, &passive);
    script_listen(&s, 1);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    s.peer_port++;
    in(&s, "SEC", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(script_stat(&s, "cookies_sent"), ==, 1);
    script_close(&s);
}

static void test_receiver(void)
{
    tap_case("marked data: ECE on every ACK at once, until CWR comes");
    start();
    in(&s, "PA", 1, 1, 100);
    out(&s, "A", 1, 101, 0);
    s.tos = CE;
    in(&s, "PA", 101, 1, 100);
    out(&s, "AE", 1, 201, 0);
    s.tos = ECT;
    in(&s, "PA", 201, 1, 100);
    out(&s, "AE", 1, 301, 0);
    script_send(&s, 10);
    out(&s, "PAE", 1, 301, 10);
    in(&s, "PAC", 301, 11, 100);
    out(&s, "A", 11, 401, 0);
    check_int(script_stat(&s, "ecn_marks_in"), ==, 1);

    tap_case("CWR on marked data: a new round begins");
    s.tos = CE;
    in(&s, "PAC", 401, 11, 100);
    out(&s, "AE", 11, 501, 0);
    script_close(&s);

    tap_case("marks on a connection without agreement mean nothing");
    script_open(&s, &passive);
    script_accept(&s);
    s.tos = CE;
    in(&s, "PA", 1, 1, 100);
    out(&s, "A", 1, 101, 0);
    in(&s, "AE", 101, 1, 0);
    check_int(script_stat(&s, "ecn_reductions"), ==, 0);
    script_close(&s);
}

static void test_sender(void)
{
    tap_case("ECT(0) on new data; not on ACKs, retransmissions, probes of a closed window");
    start();
    in(&s, "PA", 1, 1, 100);
    out(&s, "A", 1, 101, 0);
    check_int(s.out_tos, ==, 0);
    script_send(&s, 3 * MSS);
    for (uint32_t i = 0; i < 3; i++) {
        out(&s, "A", seg(i), 101, MSS);
        check_int(s.out_tos, ==, ECT);
    }
    script_wait(&s, 900000); /* probe and timeout */
    while (script_next(&s))
        check_int(s.out_tos, ==, 0);
    s.wnd = 0;
    in(&s, "A", 101, seg(3), 0);
    script_send(&s, 100);
    script_wait(&s, 3000000);
    check(script_next(&s));
    check_int(s.len, ==, 1);
    check_int(s.out_tos, ==, 0);
    script_close(&s);

    tap_case("ECE: half the window, once a round trip; CWR on the next new data, once");
    start();
    script_send(&s, 40 * MSS);
    for (uint32_t i = 0; i < 10; i++)
        out(&s, "A", seg(i), 1, MSS);
    script_wait(&s, 20000);
    in(&s, "AE", 1, seg(1), 0); /* and no growth for what it acknowledges: RFC 3168 6.1.2 */
    check_int(info().ssthresh_bytes, ==, 5 * MSS);
    check_int(info().cwnd_bytes, ==, 5 * MSS);
    for (uint32_t i = 2; i <= 10; i++)
        in(&s, "AE", 1, seg(i), 0);
    check_int(info().ssthresh_bytes, ==, 5 * MSS);
    uint32_t cwrs = 0;
    uint32_t i;
    for (i = 10; script_next(&s); i++) {
        check_int(s.hdr.seq - s.our_isn, ==, seg(i));
        check_int(s.len, ==, MSS);
        check((s.hdr.flags & MIR__TCP_CWR) == 0 || i == 10);
        cwrs += (s.hdr.flags & MIR__TCP_CWR) != 0;
    }
    check_int(cwrs, ==, 1);
    check_int(script_stat(&s, "ecn_reductions"), ==, 1);
    check_int(info().retransmits, ==, 0);

    tap_case("ECE goes on a window later: the next reduction");
    in(&s, "AE", 1, seg(11), 0);
    check_int(script_stat(&s, "ecn_reductions"), ==, 2);
    script_close(&s);

    tap_case("a loss in the window that was reduced for a mark: repaired, no second reduction");
    start();
    script_send(&s, 40 * MSS);
    drain();
    script_wait(&s, 20000);
    in(&s, "AE", 1, seg(1), 0);
    drain();
    uint32_t ssthresh = info().ssthresh_bytes;
    s.sack_block[0][0] = seg(2);
    s.sack_block[0][1] = seg(9);
    s.sack_count = 1;
    in(&s, "AE", 1, seg(1), 0);
    check(script_next(&s));
    check_int(s.hdr.seq - s.our_isn, ==, seg(1));
    check_int(info().ssthresh_bytes, ==, ssthresh);
    check_int(info().fast_retransmits, ==, 1);
    script_close(&s);

    tap_case("a reduction for a loss is told by CWR too");
    start();
    script_send(&s, 40 * MSS);
    drain();
    script_wait(&s, 20000);
    s.sack_block[0][0] = seg(1);
    s.sack_block[0][1] = seg(9);
    s.sack_count = 1;
    in(&s, "A", 1, seg(0), 0);
    out(&s, "A", seg(0), 1, MSS);
    check_int(s.out_tos, ==, 0);
    script_next(&s);
    in(&s, "A", 1, seg(10), 0);
    bool told = (s.hdr.flags & MIR__TCP_CWR) != 0;
    while (script_next(&s))
        told |= (s.hdr.flags & MIR__TCP_CWR) != 0;
    check(told);
    script_close(&s);

    tap_case("a window reduced for a mark is not given back by D-SACKs");
    start();
    script_send(&s, 40 * MSS);
    drain();
    script_wait(&s, 20000);
    in(&s, "AE", 1, seg(1), 0);
    ssthresh = info().ssthresh_bytes;
    s.sack_block[0][0] = seg(2);
    s.sack_block[0][1] = seg(9);
    s.sack_count = 1;
    in(&s, "AE", 1, seg(1), 0);
    drain();
    in(&s, "A", 1, seg(10), 0);
    drain();
    s.sack_block[0][0] = seg(1);
    s.sack_block[0][1] = seg(2);
    s.sack_count = 1;
    in(&s, "A", 1, seg(10), 0);
    check_int(info().ssthresh_bytes, ==, ssthresh);
    check_int(script_stat(&s, "spurious_recoveries"), ==, 0);
    script_close(&s);

    tap_case("ECE during a recovery that was not needed: D-SACKs give nothing back");
    for (int has_mark = 0; has_mark < 2; has_mark++) {
        start();
        script_send(&s, 40 * MSS);
        drain();
        script_wait(&s, 20000);
        uint32_t cwnd = info().cwnd_bytes;
        s.sack_count = 1;
        s.sack_block[0][0] = seg(1), s.sack_block[0][1] = seg(5);
        in(&s, has_mark ? "AE" : "A", 1, 1, 0);
        drain();
        in(&s, "A", 1, seg(10), 0);
        drain();
        s.sack_count = 1;
        s.sack_block[0][0] = seg(0), s.sack_block[0][1] = seg(1);
        in(&s, "A", 1, seg(10), 0);
        check_int(info().cwnd_bytes >= cwnd, ==, !has_mark);
        script_close(&s);
    }

    tap_case("ECE right after a recovery was taken back: the window is reduced for the mark");
    start();
    script_send(&s, 60 * MSS);
    drain();
    script_wait(&s, 20000);
    uint32_t whole = info().cwnd_bytes;
    s.sack_count = 1;
    s.sack_block[0][0] = seg(1), s.sack_block[0][1] = seg(5);
    in(&s, "A", 1, 1, 0);
    drain();
    s.sack_count = 2;
    s.sack_block[0][0] = seg(0), s.sack_block[0][1] = seg(1);
    s.sack_block[1][0] = seg(6), s.sack_block[1][1] = seg(7);
    in(&s, "A", 1, seg(5), 0);
    check_int(script_stat(&s, "spurious_recoveries"), ==, 1);
    check_int(info().cwnd_bytes, >=, whole);
    in(&s, "AE", 1, seg(8), 0);
    check_int(script_stat(&s, "ecn_reductions"), ==, 1);
    check_int(info().cwnd_bytes, <, whole);
    script_close(&s);

    tap_case("ECE at a connection at rest: what all of them share stays empty");
    script_open(&s, NULL);
    s.sack = true;
    s.reads = true;
    script_listen(&s, 0);
    in(&s, "SEC", 0, 0, 0);
    out(&s, "SAE", 0, 1, 0);
    in(&s, "A", 1, 1, 0);
    script_wait(&s, 5 * MIR_US_PER_S);
    check_int(script_stat(&s, "busy"), ==, 0);
    in(&s, "AE", 1, 1, 0);
    in(&s, "PAE", 1, 1, 100);
    check_int(script_stat(&s, "ecn_echoes_in"), >=, 1);
    check_int(mir__net_tcp(mir__net_of_stack(s.bed.stack))->rest.cc_state.cubic.w_max, ==, 0);
    script_close(&s);

    tap_case("segmentation offload: CWR goes on one segment, the rest in large frames");
    script_open_caps(&s, &passive, MIR_NET_TX_SG | MIR_NET_TX_CSUM | MIR_NET_TX_TSO4);
    script_listen(&s, 0);
    in(&s, "SEC", 0, 0, 0);
    out(&s, "SAE", 0, 1, 0);
    in(&s, "A", 1, 1, 0);
    script_send(&s, 40 * MSS);
    out(&s, "A", 1, 1, 10 * MSS);
    check_int(s.out_tos, ==, ECT);
    in(&s, "AE", 1, seg(10), 0);
    out(&s, "AC", seg(10), 1, MSS);
    check(script_next(&s));
    check_int(s.hdr.flags & MIR__TCP_CWR, ==, 0);
    check_int(s.len, >, MSS);
    script_close(&s);
}

static void test_type_of_service(void)
{
    struct mir_endpoint peer = {.ip = mir_ip_from_v4(TESTBED_PEER_IP), .port = 80};
    struct mir_tcp *tcp;
    tap_case("the type of service is in all segments, the bits of ECN are not the application's");
    script_open(&s, NULL);
    script_accept(&s);
    check_int(mir_tcp_set_option(s.tcp, MIR_TCP_TOS, 256), ==, -MIR_ERANGE);
    check_int(mir_tcp_set_option(s.tcp, MIR_TCP_TOS, 0xb8 + 3), ==, 0);
    script_send(&s, 10);
    out(&s, "PA", 1, 1, 10);
    check_int(s.out_tos, ==, 0xb8);
    in(&s, "PA", 1, 11, 10);
    out(&s, "A", 11, 11, 0);
    check_int(s.out_tos, ==, 0xb8);
    mir_tcp_abort(s.tcp);
    s.tcp = NULL;
    testbed_run(&s.bed);
    out(&s, "RA", 11, 11, 0);
    check_int(s.out_tos, ==, 0xb8);
    tap_case("the SYN too, if it is set at once");
    check_int(mir_tcp_connect(s.bed.stack, &peer, NULL, NULL, &tcp), ==, 0);
    check_int(mir_tcp_set_option(tcp, MIR_TCP_TOS, 0x20), ==, 0);
    testbed_run(&s.bed);
    check(script_next(&s));
    check_int(s.hdr.flags & MIR__TCP_SYN, !=, 0);
    check_int(s.out_tos, ==, 0x20);
    mir_tcp_abort(tcp);
    script_close(&s);
}

int main(void)
{
    tap_begin("tcp_ecn");
    test_agreement();
    test_receiver();
    test_sender();
    test_type_of_service();
    return tap_done();
}
