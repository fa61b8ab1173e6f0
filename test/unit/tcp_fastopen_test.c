/* SPDX-License-Identifier: ISC */
/* Fast Open, RFC 7413: both ends, what goes wrong, and the limits. */
#include <string.h>

#include "lib/net/tcp/internal.h"
#include "test/harness/tcp_script.h"

#define MSS 1460u

static struct tcp_script s;

static struct mir_tcp_info info(void)
{
    struct mir_tcp_info i;
    mir_tcp_get_info(s.tcp, &i);
    return i;
}

/* ---- server ------------------------------------------------------------------------------------
 */

static void open_server(uint32_t limit)
{
    script_open(&s, NULL);
    s.fastopen_max = limit;
    script_listen(&s, 0);
}

/* An ordinary handshake that asks for the cookie; the connection is ended by us. */
static void fetch_cookie(void)
{
    s.has_cookie = true;
    s.cookie_len = 0;
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check(s.opt.has_cookie);
    check_int(s.opt.cookie_len, ==, 8);
    memcpy(s.cookie, s.opt.cookie, 8);
    in(&s, "R", 1, 0, 0);
    s.cookie_len = 8;
    s.peer_port++;
    s.peer_isn += 100000;
}

static uint32_t others;
static struct mir_tcp *other_tcp;

static void on_other(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener;
    (void)arg;
    others++;
    other_tcp = tcp_given;
}

static void test_server(void)
{
    tap_case("server: no option without the listener's consent");
    script_open(&s, NULL);
    s.has_cookie = true;
    script_listen(&s, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check(!s.opt.has_cookie);
    script_close(&s);

    tap_case("server: a cookie on request, again with the SYN-ACK that is sent again");
    open_server(4);
    s.has_cookie = true;
    in(&s, "S", 0, 0, 100); /* data without a cookie is not taken */
    out(&s, "SA", 0, 1, 0);
    check_int(s.opt.cookie_len, ==, 8);
    script_wait(&s, 1100000);
    out(&s, "SA", 0, 1, 0);
    check_int(s.opt.cookie_len, ==, 8);
    in(&s, "A", 1, 1, 0);
    check_int(s.accepts, ==, 1);
    check_int(s.received, ==, 0);
    script_close(&s);

    tap_case("server: cookies of a set key are those that Linux makes with it, for ever");
    uint8_t key[16];
    memset(key, 0xa1, 4);
    memset(key + 4, 0xb2, 4);
    memset(key + 8, 0xc3, 4);
    memset(key + 12, 0xd4, 4);
    static const uint8_t linux_cookie[8] = {0x30, 0x21, 0xb9, 0xd8, 0x89, 0x01, 0x7e, 0xeb};
    uint8_t cookie[8];
    struct mir_ip local = mir_ip_from_v4(0xc0a80001u);
    struct mir_ip remote = mir_ip_from_v4(0xc0000201u);
    struct mir__tcp_tuple tuple = {&local, &remote, 8080, 40000};
    open_server(4);
    mir__tcp_fast_key(mir__net_tcp(s.bed.net), key);
    mir__tcp_fast_cookie(mir__net_tcp(s.bed.net), &tuple, cookie);
    check_mem(cookie, linux_cookie, 8);
    script_wait(&s, 8 * 3600 * MIR_US_PER_S);
    mir__tcp_fast_cookie(mir__net_tcp(s.bed.net), &tuple, cookie);
    check_mem(cookie, linux_cookie, 8);
    script_close(&s);

    tap_case("server: data in the SYN is delivered, the answer leaves before the handshake ends");
    open_server(4);
    fetch_cookie();
    s.answer_len = 3000;
    in(&s, "S", 0, 0, 100);
    check_int(s.accepts, ==, 1);
    check_int(s.received, ==, 100);
    out(&s, "SA", 0, 101, 0);
    out(&s, "A", 1, 101, MSS);
    out(&s, "A", 1461, 101, MSS);
    out(&s, "PA", 2921, 101, 80);
    quiet(&s);
    check_int(info().state, ==, MIR_TCP_S_SYN_RECEIVED);
    in(&s, "A", 101, 1, 0);
    check_int(info().state, ==, MIR_TCP_S_ESTABLISHED);
    in(&s, "A", 101, 3001, 0);
    check_int(info().send_queue_bytes, ==, 0);
    quiet(&s);
    in(&s, "PA", 101, 3001, 50);
    check_int(s.received, ==, 150);
    script_close(&s);

    tap_case("server: the ACK of the handshake acknowledges the answer too");
    open_server(4);
    fetch_cookie();
    s.answer_len = 500;
    in(&s, "S", 0, 0, 100);
    out(&s, "SA", 0, 101, 0);
    out(&s, "PA", 1, 101, 500);
    in(&s, "A", 101, 501, 0);
    check_int(info().state, ==, MIR_TCP_S_ESTABLISHED);
    check_int(info().send_queue_bytes, ==, 0);
    script_wait(&s, 5000000);
    quiet(&s);
    script_close(&s);

    tap_case("server: the SYN-ACK is lost: it alone goes again, then the answer");
    open_server(4);
    fetch_cookie();
    s.answer_len = 500;
    in(&s, "S", 0, 0, 100);
    out(&s, "SA", 0, 101, 0);
    out(&s, "PA", 1, 101, 500);
    script_wait(&s, 1100000);
    out(&s, "SA", 0, 101, 0);
    quiet(&s);
    in(&s, "S", 0, 0, 100); /* the peer's SYN again */
    out(&s, "SA", 0, 101, 0);
    check_int(s.accepts, ==, 1);
    check_int(s.received, ==, 100);
    in(&s, "A", 101, 1, 0);
    out(&s, "PA", 1, 101, 500);
    in(&s, "A", 101, 501, 0);
    check_int(info().send_queue_bytes, ==, 0);
    script_close(&s);

    tap_case("server: closed inside on_accept's answer: FIN waits for the handshake");
    open_server(4);
    fetch_cookie();
    s.answer_len = 10;
    in(&s, "S", 0, 0, 100);
    mir_tcp_shutdown(s.tcp);
    out(&s, "SA", 0, 101, 0);
    out(&s, "PA", 1, 101, 10);
    quiet(&s);
    in(&s, "A", 101, 11, 0);
    out(&s, "FA", 11, 101, 0);
    in(&s, "A", 101, 12, 0);
    check_int(info().state, ==, MIR_TCP_S_FIN_WAIT_2);
    script_close(&s);
}

static void test_server_limits(void)
{
    tap_case("server: a wrong cookie: ordinary handshake, data ignored, a good cookie in answer");
    open_server(4);
    fetch_cookie();
    s.cookie[3] ^= 1;
    in(&s, "S", 0, 0, 100);
    out(&s, "SA", 0, 1, 0);
    check_int(s.opt.cookie_len, ==, 8);
    check_int(s.accepts, ==, 0);
    check_int(script_stat(&s, "fastopen_bad_cookies"), ==, 1);
    script_close(&s);

    tap_case("server: cookies of the last key are good, older ones are not");
    for (int hours = 1; hours <= 5; hours += 2) {
        open_server(4);
        fetch_cookie();
        script_wait(&s, hours * 3600 * MIR_US_PER_S);
        uint8_t first[8];
        memcpy(first, s.cookie, 8);
        if (hours == 3) {
            /* Somebody else asked meanwhile: the key has changed. */
            fetch_cookie();
            check(memcmp(first, s.cookie, 8) != 0);
            memcpy(s.cookie, first, 8);
        }
        in(&s, "S", 0, 0, 100);
        out(&s, "SA", 0, hours < 5 ? 101 : 1, 0);
        script_close(&s);
    }

    tap_case("server: above the limit of unfinished ones, ordinary handshakes");
    open_server(2);
    fetch_cookie();
    s.closes_on_accept = true;
    for (int i = 0; i < 3; i++) {
        in(&s, "S", 0, 0, 0);
        out(&s, "SA", 0, 1, 0);
        check_int(s.accepts, ==, i < 2 ? i + 1 : 2);
        s.peer_port++;
    }
    check_int(script_stat(&s, "fastopen_accepted"), ==, 2);
    check_int(script_stat(&s, "fastopen_limit"), ==, 1);

    tap_case("server: nobody completes them: they are gone after a minute, the limit is free");
    script_wait(&s, 120 * MIR_US_PER_S);
    while (script_next(&s))
        continue;
    check_int(script_stat(&s, "connections"), ==, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(s.accepts, ==, 3);
    script_close(&s);

    tap_case("server: whoever resets what others opened in its name does not free the limit");
    open_server(2);
    fetch_cookie();
    s.closes_on_accept = true;
    for (int i = 0; i < 4; i++) {
        in(&s, "S", 0, 0, 0);
        out(&s, "SA", 0, 1, 0);
        in(&s, "R", 1, 0, 0);
        check_int(s.accepts, ==, i < 2 ? i + 1 : 2);
        s.peer_port++;
    }
    check_int(script_stat(&s, "fastopen_limit"), ==, 2);
    script_wait(&s, 61 * MIR_US_PER_S);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(s.accepts, ==, 3);
    script_close(&s);

    tap_case("server: each listener counts its own");
    open_server(1);
    fetch_cookie();
    struct mir_tcp_listen_config other = {
        .local.port = 81, .on_accept = on_other, .fastopen_max = 1};
    struct mir_tcp_listener *listener;
    check_int(mir_tcp_listen(s.bed.stack, &other, &listener), ==, 0);
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(s.accepts, ==, 1);
    s.our_port = 81;
    s.peer_port++;
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(others, ==, 1);
    check_int(script_stat(&s, "fastopen_limit"), ==, 0);
    uint32_t isn = s.our_isn;
    s.peer_port++;
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    check_int(others, ==, 1);
    check_int(script_stat(&s, "fastopen_limit"), ==, 1);
    tap_case("server: one that ends leaves its unfinished ones alone");
    s.peer_port--;
    s.our_isn = isn;
    mir_tcp_unlisten(listener);
    in(&s, "A", 1, 1, 0);
    in(&s, "FA", 1, 1, 0);
    out(&s, "A", 1, 2, 0);
    mir_tcp_abort(other_tcp);
    script_close(&s);
    s.our_port = 80;

    tap_case("server: the end of the handshake does not end the wait of a close that lingers");
    open_server(4);
    fetch_cookie();
    s.answer_len = 10;
    in(&s, "S", 0, 0, 0);
    out(&s, "SA", 0, 1, 0);
    out(&s, "PA", 1, 1, 10);
    check_int(mir_tcp_set_option(s.tcp, MIR_TCP_LINGER_MS, 3000), ==, 0);
    mir_tcp_close(s.tcp);
    s.tcp = NULL;
    in(&s, "A", 1, 1, 0);
    script_wait(&s, 3100000);
    while (script_next(&s))
        continue;
    check_int(s.hdr.flags & MIR__TCP_RST, !=, 0);
    check_int(script_stat(&s, "linger_timeouts"), ==, 1);
    script_close(&s);

    tap_case("server: RST ends it, the application is told");
    open_server(4);
    fetch_cookie();
    in(&s, "S", 0, 0, 100);
    out(&s, "SA", 0, 101, 0);
    in(&s, "R", 101, 0, 0);
    check(script_events(&s) & MIR_TCP_FAILED);
    check_int(mir_tcp_error(s.tcp), ==, -MIR_ECONNRESET);
    script_close(&s);

    tap_case("server: no memory for a connection object: the ordinary way");
    open_server(4);
    fetch_cookie();
    mir_pool_fail_at(&mir__net_tcp(mir__net_of_stack(s.bed.stack))->pcbs, 1);
    in(&s, "S", 0, 0, 100);
    out(&s, "SA", 0, 1, 0);
    script_close(&s);
}

/* ---- client ------------------------------------------------------------------------------------
 */

/* The first connection: the cookie is asked for, given, and the data follows. */
static void learn_cookie(void)
{
    script_open(&s, NULL);
    script_connect_data(&s, 100);
    out(&s, "S", 0, 0, 0);
    check(s.opt.has_cookie);
    check_int(s.opt.cookie_len, ==, 0);
    s.our_port = s.hdr.src_port;
    s.has_cookie = true;
    s.cookie_len = 8;
    memcpy(s.cookie, "sesame!!", 8);
    in(&s, "SA", 0, 1, 0);
    out(&s, "PA", 1, 1, 100);
    mir_tcp_abort(s.tcp);
    s.tcp = NULL;
    script_next(&s);
    s.peer_isn += 100000;
}

static void connect_again(uint32_t len, uint32_t in_syn)
{
    script_connect_data(&s, len);
    out(&s, "S", 0, 0, in_syn);
    check_int(s.opt.cookie_len, ==, 8);
    check(memcmp(s.opt.cookie, "sesame!!", 8) == 0);
    s.our_port = s.hdr.src_port;
}

static void test_client(void)
{
    tap_case("client: the cookie of last time, data in the SYN, all acknowledged");
    learn_cookie();
    connect_again(200, 200);
    s.has_cookie = false;
    in(&s, "SA", 0, 201, 0);
    out(&s, "A", 201, 1, 0);
    check(script_events(&s) & MIR_TCP_CONNECTED);
    check_int(info().send_queue_bytes, ==, 0);
    check_int(script_stat(&s, "fastopen_acked"), ==, 1);
    script_send(&s, 10);
    out(&s, "PA", 201, 1, 10);
    script_close(&s);

    tap_case("client: more than a SYN holds: the rest follows the handshake");
    learn_cookie();
    connect_again(3000, 1420); /* 1460 less room for 40 bytes of options */
    in(&s, "SA", 0, 1421, 0);
    out(&s, "A", 1421, 1, MSS);
    out(&s, "PA", 2881, 1, 120);
    script_close(&s);

    tap_case("client: the peer takes only the SYN, or a part: the rest is sent again at once");
    for (uint32_t taken = 0; taken <= 50; taken += 50) {
        learn_cookie();
        connect_again(200, 200);
        in(&s, "SA", 0, 1 + taken, 0);
        out(&s, "PA", 1 + taken, 1, 200 - taken);
        in(&s, "A", 1, 201, 0);
        check_int(info().send_queue_bytes, ==, 0);
        script_close(&s);
    }

    tap_case("client: the SYN with data gets no answer: again without, and the host is spared");
    learn_cookie();
    connect_again(200, 200);
    script_wait(&s, 1100000);
    s.has_cookie = false;
    out(&s, "S", 0, 0, 0);
    check(!s.opt.has_cookie);
    in(&s, "SA", 0, 1, 0);
    out(&s, "PA", 1, 1, 200);
    check_int(script_stat(&s, "fastopen_fallbacks"), ==, 1);
    in(&s, "A", 1, 201, 0);
    mir_tcp_abort(s.tcp);
    script_next(&s);
    s.peer_isn += 100000;
    script_connect_data(&s, 200);
    out(&s, "S", 0, 0, 0);
    check(!s.opt.has_cookie);
    mir_tcp_abort(s.tcp);
    s.tcp = NULL;
    script_wait(&s, 3700 * MIR_US_PER_S);
    while (script_next(&s))
        continue;
    connect_again(200, 200); /* an hour later it may be right again */
    script_close(&s);

    tap_case("client: the data was taken, the SYN-ACK lost: the answer to the plain SYN says so");
    learn_cookie();
    connect_again(200, 200);
    script_wait(&s, 1100000);
    out(&s, "S", 0, 0, 0);
    in(&s, "SA", 0, 201, 0);
    out(&s, "A", 201, 1, 0);
    check_int(info().send_queue_bytes, ==, 0);
    script_close(&s);

    tap_case("client: a peer without Fast Open is asked each time, and served as ever");
    script_open(&s, NULL);
    for (int i = 0; i < 2; i++) {
        script_connect_data(&s, 100);
        out(&s, "S", 0, 0, 0);
        check(s.opt.has_cookie);
        check_int(s.opt.cookie_len, ==, 0);
        s.our_port = s.hdr.src_port;
        in(&s, "SA", 0, 1, 0);
        out(&s, "PA", 1, 1, 100);
        mir_tcp_abort(s.tcp);
        s.tcp = NULL;
        script_next(&s);
    }
    script_close(&s);

    tap_case("client: refused");
    learn_cookie();
    connect_again(200, 200);
    in(&s, "RA", 0, 201, 0);
    check(script_events(&s) & MIR_TCP_FAILED);
    check_int(mir_tcp_error(s.tcp), ==, -MIR_ECONNREFUSED);
    script_close(&s);
}

int main(void)
{
    tap_begin("tcp_fastopen");
    test_server();
    test_server_limits();
    test_client();
    return tap_done();
}
