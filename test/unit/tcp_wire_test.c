/* SPDX-License-Identifier: ISC */
/* TCP header and options: parse, emit, and back again. */
#include <string.h>

#include "lib/wire/tcp.h"
#include "test/harness/tap.h"

static void test_header(void)
{
    uint8_t bytes[20];
    struct mir__tcp_header in = {1, 65535, 0x01020304, 0xfffefdfc, 4096, 0x12, 20};
    struct mir__tcp_header back;
    tap_case("header: parse of emit is the same");
    mir__tcp_header_emit(bytes, &in);
    check_int(mir__tcp_header_parse(bytes, 20, &back), ==, 0);
    check_int(back.src_port, ==, 1);
    check_int(back.dst_port, ==, 65535);
    check_int(back.seq, ==, 0x01020304);
    check_int(back.ack, ==, 0xfffefdfc);
    check_int(back.wnd, ==, 4096);
    check_int(back.flags, ==, 0x12);
    check_int(back.hdr_len, ==, 20);

    tap_case("header: too short, offset below 5, offset beyond the end");
    for (uint32_t len = 0; len < 20; len++)
        check_int(mir__tcp_header_parse(bytes, len, &back), ==, -MIR_ETRUNCATED);
    bytes[12] = 0x40;
    check_int(mir__tcp_header_parse(bytes, 20, &back), ==, -MIR_EMALFORMED);
    bytes[12] = 0x60;
    check_int(mir__tcp_header_parse(bytes, 20, &back), ==, -MIR_ETRUNCATED);
}

static void test_options(void)
{
    uint8_t bytes[40];
    tap_case("options: all sets, parse of emit is the same, the length is as announced");
    for (unsigned set = 0; set < 64; set++) {
        struct mir__tcp_options in = {
            .has_mss = set & 1,
            .has_wscale = set & 2,
            .has_ts = set & 4,
            .sack_permitted = set & 8,
            .sack_count = set & 16 ? 2 : 0,
            .has_cookie = set & 32,
            .cookie_len = set & 2 ? 8 : 0,
            .cookie = (const uint8_t *)"cookie!!",
            .mss = 1460,
            .wscale = 7,
            .tsval = 0x11223344,
            .tsecr = 0x55667788,
            .sack = {{1, 2}, {0xfffffff0u, 3}},
        };
        struct mir__tcp_options back;
        uint32_t len = mir__tcp_options_len(&in);
        if (len > 40)
            continue;
        check_int(mir__tcp_options_emit(bytes, &in), ==, len);
        check_int(len % 4, ==, 0);
        check_int(mir__tcp_options_parse(bytes, len, &back), ==, 0);
        check_int(back.has_mss, ==, in.has_mss);
        check_int(back.has_wscale, ==, in.has_wscale);
        check_int(back.has_ts, ==, in.has_ts);
        check_int(back.sack_permitted, ==, in.sack_permitted);
        check_int(back.sack_count, ==, in.sack_count);
        check_int(back.has_cookie, ==, in.has_cookie);
        check(!in.has_cookie || back.cookie_len == in.cookie_len);
        check(!in.has_cookie || in.cookie_len == 0 || back.cookie[7] == '!');
        check(!in.has_mss || back.mss == 1460);
        check(!in.has_wscale || back.wscale == 7);
        check(!in.has_ts || (back.tsval == 0x11223344 && back.tsecr == 0x55667788));
        check(in.sack_count == 0 || back.sack[1].left == 0xfffffff0u);
    }

    tap_case("options: what follows the end mark does not count; NOPs anywhere");
    struct mir__tcp_options opt;
    static const uint8_t ended[] = {1, 3, 3, 5, 0, 2, 4, 1};
    check_int(mir__tcp_options_parse(ended, sizeof ended, &opt), ==, 0);
    check(opt.has_wscale && opt.wscale == 5 && !opt.has_mss);

    tap_case("options: a known kind of a wrong length is ignored, a length past the end refused");
    static const uint8_t odd[] = {2, 3, 9, 4, 3, 0, 8, 2};
    check_int(mir__tcp_options_parse(odd, 7, &opt), ==, -MIR_EMALFORMED);
    static const uint8_t wrong[] = {2, 3, 9, 3, 4, 1, 1, 1, 8, 3, 0, 1};
    check_int(mir__tcp_options_parse(wrong, sizeof wrong, &opt), ==, 0);
    check(!opt.has_mss && !opt.has_wscale && !opt.has_ts);
    for (uint8_t len = 0; len < 2; len++) {
        const uint8_t bad[] = {77, len, 0, 0};
        check_int(mir__tcp_options_parse(bad, 4, &opt), ==, -MIR_EMALFORMED);
    }
}

int main(void)
{
    tap_begin("tcp_wire");
    test_header();
    test_options();
    return tap_done();
}
