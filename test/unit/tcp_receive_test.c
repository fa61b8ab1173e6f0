/* SPDX-License-Identifier: ISC */
/* Receiving: acknowledgments, windows, early and overlapping data, memory. */
#include <string.h>

#include "test/harness/tcp_script.h"

static struct tcp_script s;

static struct mir_tcp_info info(void)
{
    struct mir_tcp_info i;
    mir_tcp_get_info(s.tcp, &i);
    return i;
}

/* A connection whose first, quick ACKs are used up: `at` is the peer's next number. */
static uint32_t start_delayed(void)
{
    script_open(&s, NULL);
    script_accept(&s);
    uint32_t at = 1;
    for (int i = 0; i < 8; i++, at += 1460) {
        in(&s, "A", at, 1, 1460);
        out(&s, "A", 1, at + 1460, 0);
    }
    quiet(&s);
    return at;
}

static void test_delayed_ack(void)
{
    tap_case("delayed ACK: a single segment after 40 ms, every second full one at once");
    uint32_t at = start_delayed();
    in(&s, "PA", at, 1, 1460);
    quiet(&s);
    script_wait(&s, 38000);
    quiet(&s);
    script_wait(&s, 5000);
    out(&s, "A", 1, at + 1460, 0);
    at += 1460;
    in(&s, "A", at, 1, 1460);
    quiet(&s);
    in(&s, "A", at + 1460, 1, 1460);
    out(&s, "A", 1, at + 2920, 0);
    script_wait(&s, MIR_US_PER_S);
    quiet(&s);
    at += 2920;

    tap_case("a batch of twenty segments: one ACK");
    for (int i = 0; i < 20; i++, at += 1460)
        in_more(&s, "A", at, 1, 1460);
    script_batch_end(&s);
    out(&s, "A", 1, at, 0);
    quiet(&s);

    tap_case("the ACK rides on the answer");
    in(&s, "PA", at, 1, 100);
    quiet(&s);
    script_send(&s, 50);
    out(&s, "PA", 1, at + 100, 50);
    script_wait(&s, MIR_US_PER_S / 10);
    quiet(&s);
    at += 100;

    tap_case("one-byte writers are acknowledged within 40 ms, not one by one");
    uint32_t acks = 0;
    for (int i = 0; i < 400; i++, at++) {
        in(&s, "PA", at, 51, 1);
        script_wait(&s, 1000);
        while (script_next(&s))
            acks++;
    }
    script_wait(&s, 50000);
    while (script_next(&s))
        acks++;
    check_int(acks, >=, 9);
    check_int(acks, <=, 12);
    check_int(s.received, ==, at - 1);
    script_close(&s);

    tap_case("a merged frame of 64 KiB is taken and acknowledged at once");
    script_open_caps(&s, NULL, MIR_NET_RX_GRO | MIR_NET_RX_CSUM);
    s.wscale = 2;
    script_accept(&s);
    in(&s, "PA", 1, 1, 65000);
    out(&s, "A", 1, 65001, 0);
    check_int(s.received, ==, 65000);
    script_close(&s);
}

static void test_reassembly(void)
{
    tap_case("early segments: a duplicate ACK for each; the hole filled: all acknowledged");
    script_open(&s, NULL);
    script_accept(&s);
    in_more(&s, "A", 1001, 1, 1000);
    in_more(&s, "A", 3001, 1, 1000);
    in_more(&s, "A", 2001, 1, 1000);
    script_batch_end(&s);
    out(&s, "A", 1, 1, 0);
    out(&s, "A", 1, 1, 0);
    out(&s, "A", 1, 1, 0);
    check_int(s.received, ==, 0);
    in(&s, "A", 1, 1, 1000);
    out(&s, "A", 1, 4001, 0);
    quiet(&s);
    check_int(s.received, ==, 4000);
    script_close(&s);

    tap_case("overlaps of every kind: the first copy wins, no byte twice, none lost");
    script_open(&s, NULL);
    script_accept(&s);
    in(&s, "A", 1001, 1, 500); /* [1001, 1501) */
    in(&s, "A", 2001, 1, 500);
    s.fill = 1;                /* what overlaps is different, and must not be seen */
    in(&s, "A", 1101, 1, 300); /* inside */
    in(&s, "A", 2001, 1, 500); /* the same */
    s.fill = 0;
    in(&s, "A", 1501, 1, 500); /* between */
    s.fill = 1;
    in(&s, "A", 1401, 1, 900); /* over three */
    s.fill = 0;
    in(&s, "A", 801, 1, 200);
    in(&s, "A", 2501, 1, 100);
    in(&s, "A", 1, 1, 900); /* in order, into what is there */
    check_int(s.received, ==, 2600);
    check(!s.is_wrong);
    while (script_next(&s))
        continue;
    in(&s, "A", 2401, 1, 400); /* old and new */
    check_int(s.received, ==, 2800);
    out(&s, "A", 1, 2801, 0);
    in(&s, "A", 2001, 1, 500); /* all old: acknowledged */
    out(&s, "A", 1, 2801, 0);
    check_int(s.received, ==, 2800);
    check_int(script_stat(&s, "memory_used_bytes"), ==, 0);
    script_close(&s);

    tap_case("an early FIN waits for the data before it");
    script_open(&s, NULL);
    script_accept(&s);
    in(&s, "FA", 101, 1, 100);
    out(&s, "A", 1, 1, 0);
    check_int(info().state, ==, MIR_TCP_S_ESTABLISHED);
    in(&s, "A", 1, 1, 100);
    out(&s, "A", 1, 202, 0);
    check_int(info().state, ==, MIR_TCP_S_CLOSE_WAIT);
    check_int(s.received, ==, 200);
    script_close(&s);

    tap_case("an early FIN ends the stream: data behind it is not taken");
    script_open(&s, NULL);
    script_accept(&s);
    in(&s, "FA", 101, 1, 0);
    in(&s, "A", 1, 1, 200);
    check_int(s.received, ==, 100);
    check_int(info().state, ==, MIR_TCP_S_CLOSE_WAIT);
    script_close(&s);

    tap_case("pieces are bounded in number; what is dropped comes again and gets in");
    script_open(&s, NULL);
    script_accept(&s);
    for (uint32_t i = 0; i < 2000; i++) {
        in(&s, "A", 2 + i * 2, 1, 1);
        if (i % 64 == 0)
            testdev_clear(&s.bed.dev);
    }
    check_int(script_stat(&s, "drop_reass_limit"), ==, 2000 - 1024);
    check_int(script_stat(&s, "memory_used_bytes"), <=, 1024 * (1 + 64));
    testdev_clear(&s.bed.dev);
    in(&s, "A", 1, 1, 1400);
    in(&s, "A", 1401, 1, 1400);
    check_int(s.received, ==, 2800);
    check(!s.is_wrong);
    script_close(&s);

    tap_case("random pieces in random order");
    mir_time_us seed = 7;
    struct mir_rng rng;
    mir_rng_init_u64(&rng, seed);
    for (int run = 0; run < 20; run++) {
        script_open(&s, NULL);
        script_accept(&s);
        while (s.received < 20000) {
            uint32_t seq = 1 + mir_rng_below(&rng, 20000);
            uint32_t len = 1 + mir_rng_below(&rng, 1460);
            if (seq + len > 20001)
                len = 20001 - seq;
            if (mir_rng_below(&rng, 8) == 0)
                seq = (uint32_t)s.received + 1;
            in(&s, "A", seq, 1, MIR_MIN(len, 20001 - seq));
            testdev_clear(&s.bed.dev);
        }
        check(!s.is_wrong);
        check_int(s.received, ==, 20000);
        check_int(script_stat(&s, "memory_used_bytes"), ==, 0);
        script_close(&s);
    }
}

static void test_window(void)
{
    tap_case("an unread queue closes the window; nothing beyond it is taken; it opens in one step");
    struct mir_net_config config = {.tcp_rcvbuf_bytes = 8192};
    script_open(&s, &config);
    script_accept(&s);
    s.reads = false;
    uint32_t at = 1;
    uint32_t edge = 8193;
    for (int i = 0; i < 5; i++, at += 1460) {
        in(&s, "A", at, 1, 1460);
        while (script_next(&s))
            check_int(s.hdr.ack - s.peer_isn + s.hdr.wnd, >=, edge);
    }
    in(&s, "A", at, 1, 1460); /* 568 bytes too many */
    while (script_next(&s))
        continue;
    check_int(s.hdr.ack - s.peer_isn, ==, edge);
    check_int(s.hdr.wnd, ==, 0);
    check_int(info().recv_queue_bytes, ==, 8192);
    in(&s, "A", edge, 1, 1); /* a probe */
    out(&s, "A", 1, edge, 0);
    check_int(s.hdr.wnd, ==, 0);
    struct mir_view view;
    uint32_t got = 0;
    while (mir_tcp_recv_view(s.tcp, &view) == 0) {
        got += view.len;
        mir_view_release(&view);
    }
    check_int(got, ==, 8192);
    out(&s, "A", 1, edge, 0);
    check_int(s.hdr.wnd, ==, 8192);
    quiet(&s);
    s.received = 8192;
    s.reads = true;
    in(&s, "A", edge, 1, 100);
    check_int(s.received, ==, 8292);
    script_close(&s);

    tap_case("no silly window is offered while a slow reader takes a few bytes");
    script_open(&s, &config);
    script_accept(&s);
    s.reads = false;
    for (uint32_t i = 0; i < 5; i++)
        in(&s, "A", 1 + i * 1460, 1, 1460);
    in(&s, "A", 7301, 1, 892);
    while (script_next(&s))
        continue;
    check_int(s.hdr.wnd, ==, 0);
    check_int(mir_tcp_recv_view(s.tcp, &view), ==, 0);
    mir_view_release(&view);
    while (script_next(&s))
        check(s.hdr.wnd == 0 || s.hdr.wnd >= 1460);
    script_close(&s);

    tap_case("an ACK counts while our window is closed (3.10.7.4)");
    script_open(&s, &config);
    script_accept(&s);
    s.reads = false;
    script_send(&s, 100);
    out(&s, "PA", 1, 1, 100);
    for (uint32_t i = 0; i < 5; i++)
        in(&s, "A", 1 + i * 1460, 1, 1460);
    in(&s, "A", 7301, 1, 892);
    in(&s, "A", 8193, 101, 10);
    check_int(info().send_queue_bytes, ==, 0);
    in(&s, "R", 8193, 0, 0);
    check_int(script_events(&s) & MIR_TCP_FAILED, ==, MIR_TCP_FAILED);
    script_close(&s);

    tap_case("the right edge does not shrink when the limit does");
    struct mir_net_config large = {.tcp_rcvbuf_bytes = 1u << 20};
    script_open(&s, &large);
    s.wscale = 0;
    script_accept(&s);
    in(&s, "A", 1, 1, 100);
    check(script_next(&s));
    uint32_t promised = s.hdr.ack - s.peer_isn + ((uint32_t)s.hdr.wnd << 5);
    check_int(promised, >, 1000000);
    check_int(mir_tcp_set_option(s.tcp, MIR_TCP_RCVBUF, 4096), ==, 0);
    in(&s, "A", 101, 1, 100);
    check(script_next(&s));
    /* But for what the field cannot express (RFC 7323 section 2.4). */
    check_int(s.hdr.ack - s.peer_isn + ((uint32_t)s.hdr.wnd << 5), >, promised - 32);
    script_close(&s);
}

static void test_many_holes(void)
{
    tap_case("holes are limited in number; they close from either side, and what was refused comes "
             "again");
    struct mir_net_config large = {.tcp_rcvbuf_bytes = 8u << 20};
    script_open(&s, &large);
    s.sack = true;
    s.wscale = 7;
    s.reads = true;
    script_accept(&s);
    for (uint32_t i = 0; i < 20; i++)
        in(&s, "A", 1 + i * 1460, 1, 1460); /* the window opens */
    uint32_t base = 1 + 20 * 1460;
    for (uint32_t i = 2500; i > 0; i--) { /* every second piece of ten bytes, from the right */
        in_more(&s, "A", base + 20 * i, 1, 10);
        testdev_clear(&s.bed.dev);
    }
    check_int(script_stat(&s, "drop_reass_limit"), ==, 2500 - 2048);
    check_int(info().early_bytes, ==, 2048 * 10);
    for (uint32_t i = 2500; i > 1000; i--) { /* the holes between them, overlapping both sides */
        in_more(&s, "A", base + 20 * i - 15, 1, 20);
        testdev_clear(&s.bed.dev);
    }
    check_int(s.received, ==, 20 * 1460);
    in(&s, "A", base, 1, 20 * 1000 + 1000);
    for (uint32_t i = 0; i < 60; i++)
        in(&s, "A", base + 1000 * i, 1, 1000);
    check_int(s.received, ==, 20 * 1460 + 60000);
    check(!s.is_wrong);
    check_int(info().early_bytes, ==, 0);
    script_close(&s);
}

static void test_full_window(void)
{
    tap_case("a whole window of 1 MiB behind one hole is kept");
    struct mir_net_config large = {.tcp_rcvbuf_bytes = 1u << 20};
    script_open(&s, &large);
    s.ts = true;
    s.wscale = 7;
    script_accept(&s);
    for (uint32_t i = 0; i < 20; i++)
        in(&s, "A", 1 + i * 1448, 1, 1448); /* the window opens */
    uint32_t first = 1 + 20 * 1448;
    uint32_t last = first;
    for (; last + 1448 <= first + 1000000; last += 1448)
        if (last != first)
            in_more(&s, "A", last, 1, 1448);
    script_batch_end(&s);
    testdev_clear(&s.bed.dev);
    check_int(script_stat(&s, "drop_reass_limit"), ==, 0);
    in(&s, "A", first, 1, 1448);
    check(script_next(&s));
    check_int(s.hdr.ack - s.peer_isn, ==, last);
    script_close(&s);
}

static void test_memory(void)
{
    tap_case("one byte in each frame pins no more than twice the window and a page");
    struct mir_net_config config = {.tcp_rcvbuf_bytes = 65536};
    script_open(&s, &config);
    script_accept(&s);
    s.reads = false;
    size_t before = mir_page_pool_used_bytes(&s.bed.pages);
    for (uint32_t i = 0; i < 20000; i++) {
        in(&s, "A", 1 + i, 1, 1);
        testdev_clear(&s.bed.dev);
    }
    check_int(info().recv_queue_bytes, ==, 20000);
    check_int(mir_page_pool_used_bytes(&s.bed.pages) - before, <=, 2 * 65536 + 4096 + 8192);
    script_close(&s);

    tap_case("medium payloads: pinned memory is bounded too");
    script_open(&s, &config);
    script_accept(&s);
    s.reads = false;
    before = mir_page_pool_used_bytes(&s.bed.pages);
    for (uint32_t i = 0; i < 300; i++) {
        in(&s, "A", 1 + i * 200, 1, 200);
        testdev_clear(&s.bed.dev);
    }
    check_int(info().recv_queue_bytes, ==, 60000);
    check_int(mir_page_pool_used_bytes(&s.bed.pages) - before, <=, 2 * 65536 + 4096 + 8192);
    script_close(&s);

    tap_case("the stack's memory limit: windows stop opening, early data is dropped and counted");
    struct mir_net_config small = {.tcp_memory_max_bytes = 20000};
    script_open(&s, &small);
    script_accept(&s);
    s.reads = false;
    uint32_t at = 1;
    for (int i = 0; i < 20; i++, at += 1460)
        in(&s, "A", at, 1, 1460);
    uint32_t edge = 0;
    while (script_next(&s))
        edge = s.hdr.ack - s.peer_isn + s.hdr.wnd;
    in(&s, "A", at + 5000, 1, 100);
    check_int(script_stat(&s, "drop_memory"), ==, 1);
    check_int(edge, <=, 1 + 65535 + 20000);
    check_int(mir_tcp_send_room(s.tcp), ==, 4096); /* an empty queue may always take a page */
    check_int(script_send(&s, 10000), ==, 4096);
    check_int(mir_tcp_send_room(s.tcp), ==, 0);
    script_close(&s);

    tap_case("no pages: data is not acknowledged, and comes again");
    script_open(&s, NULL);
    script_accept(&s);
    in(&s, "PA", 1, 1, 50); /* small: copied into a page */
    out(&s, "A", 1, 51, 0);
    mir_page_pool_fail_at(&s.bed.pages, 1);
    in(&s, "PA", 51, 1, 50);
    mir_page_pool_fail_at(&s.bed.pages, 0);
    while (script_next(&s))
        check_int(s.hdr.ack - s.peer_isn, ==, 51);
    in(&s, "PA", 51, 1, 50);
    out(&s, "A", 1, 101, 0);
    check_int(s.received, ==, 100);
    script_close(&s);

    tap_case("no pages: a write is refused, WRITABLE comes later");
    script_open(&s, NULL);
    script_accept(&s);
    mir_page_pool_fail_at(&s.bed.pages, 1);
    size_t queued;
    check_int(mir_tcp_send(s.tcp, "x", 1, &queued), ==, -MIR_EAGAIN);
    script_wait(&s, 100000);
    check_int(script_events(&s), ==, MIR_TCP_WRITABLE);
    script_close(&s);
}

static void test_urgent(void)
{
    tap_case("urgent data is read in line");
    script_open(&s, NULL);
    script_accept(&s);
    in(&s, "PAU", 1, 1, 10);
    check_int(s.received, ==, 10);
    script_close(&s);
}

int main(void)
{
    tap_begin("tcp_receive");
    test_delayed_ack();
    test_reassembly();
    test_window();
    test_many_holes();
    test_full_window();
    test_memory();
    test_urgent();
    return tap_done();
}
