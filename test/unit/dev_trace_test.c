/* SPDX-License-Identifier: ISC */
/* Lines of the trace, for good frames and for every truncation of them; blocks of a capture. */
#include <stdlib.h>
#include <string.h>

#include <mirari/bytes.h>

#include "dev/net/trace/trace.h"
#include "lib/wire/pcapng.h"
#include "test/harness/tap.h"

#define ARENA ((size_t)1 << 20)

static uint8_t *arena;
static struct mir_page_pool pages;
static struct mir_buf_pool bufs;

static const uint8_t tcp_frame[] = {
    2,    0,    0, 0,  0, 2, 2,    0, 0,  0, 0, 1, 8,    0, /* Ethernet */
    0x45, 0,    0, 44, 0, 1, 0x40, 0, 64, 6, 0, 0, 10,   0,    0,    1,    10, 0, 0, 2, /* IPv4 */
    0x30, 0x39, 0, 80, 0, 0, 0,    1, 0,  0, 0, 2, 0x50, 0x12, 0xff, 0xff, 0,  0, 0, 0, 1, 2, 3, 4};
static const uint8_t arp_frame[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,  1, 8, 6,
                                    0,    1,    8,    0,    6,    4,    0, 1, 2, 0, 0,  0, 0, 1,
                                    10,   0,    0,    1,    0,    0,    0, 0, 0, 0, 10, 0, 0, 2};

static struct mir_buf *frame_of(const uint8_t *data, size_t len)
{
    struct mir_buf *buf = mir_buf_alloc(&bufs, 0);
    if (buf == NULL)
        abort();
    memcpy(mir_buf_append(buf, (uint32_t)len), data, len);
    return buf;
}

static void check_line(const uint8_t *data, size_t len, const char *expected)
{
    char line[256];
    struct mir_buf *buf = frame_of(data, len);
    mir_trace_format(buf, line, sizeof line);
    check_str(line, expected);
    mir_buf_release(buf);
}

static void test_trace(void)
{
    char line[256];
    tap_case("TCP and ARP in one line");
    check_line(tcp_frame, sizeof tcp_frame,
               "58 10.0.0.1:12345 > 10.0.0.2:80 tcp S. seq 1 ack 2 win 65535 len 4");
    check_line(arp_frame, sizeof arp_frame, "42 arp who-has 10.0.0.2 tell 10.0.0.1");
    tap_case("every truncation is said, none is read beyond");
    for (size_t len = 0; len < sizeof tcp_frame; len++) {
        struct mir_buf *buf = frame_of(tcp_frame, len);
        check_int(mir_trace_format(buf, line, sizeof line), >, 0);
        mir_buf_release(buf);
    }
    check_line(tcp_frame, 13, "13 short");
    check_line(tcp_frame, 20, "20 ip4 malformed");
    check_line(arp_frame, 30, "30 arp short");
    tap_case("a small line is cut");
    struct mir_buf *buf = frame_of(tcp_frame, sizeof tcp_frame);
    check_int(mir_trace_format(buf, line, 8), >, 8);
    check_int(strlen(line), ==, 7);
    mir_buf_release(buf);
}

static void test_pcapng(void)
{
    uint8_t out[512];
    tap_case("pcapng: section header");
    size_t len = mir__pcapng_put_section(out, "Mirari");
    check_int(len % 4, ==, 0);
    check_int(len, <=, MIR__PCAPNG_SECTION_BYTES);
    check_int(mir_get_le32(out), ==, 0x0a0d0d0a);
    check_int(mir_get_le32(out + 4), ==, len);
    check_int(mir_get_le32(out + len - 4), ==, len);
    check_int(mir_get_le32(out + 8), ==, 0x1a2b3c4d);
    tap_case("pcapng: interface, its name cut at 64");
    len = mir__pcapng_put_interface(out,
                                    "a-name-that-is-a-good-deal-longer-than-sixty-four-bytes-"
                                    "so-that-it-has-to-be-cut",
                                    96);
    check_int(len, <=, MIR__PCAPNG_INTERFACE_BYTES);
    check_int(mir_get_le32(out + len - 4), ==, len);
    check_int(mir_get_le16(out + 8), ==, 1);
    check_int(mir_get_le32(out + 12), ==, 96);
    tap_case("pcapng: packet, padded, with direction");
    for (uint32_t captured = 55; captured <= 58; captured++) {
        struct mir_buf *buf = frame_of(tcp_frame, sizeof tcp_frame);
        len = mir__pcapng_put_packet(out, buf, captured, 0x0005000400030002ull, MIR__PCAPNG_OUT);
        check_int(len % 4, ==, 0);
        check_int(len, <=, captured + 3 + MIR__PCAPNG_PACKET_OVERHEAD);
        check_int(mir_get_le32(out + len - 4), ==, len);
        check_int(mir_get_le32(out + 12), ==, 0x00050004);
        check_int(mir_get_le32(out + 20), ==, captured);
        check_int(mir_get_le32(out + 24), ==, sizeof tcp_frame);
        check_mem(out + 28, tcp_frame, captured);
        uint32_t option = 28 + (captured + 3) / 4 * 4;
        check_int(mir_get_le16(out + option), ==, 2);
        check_int(mir_get_le32(out + option + 4), ==, MIR__PCAPNG_OUT);
        mir_buf_release(buf);
    }
}

int main(void)
{
    tap_begin("dev_trace");
    arena = aligned_alloc(MIR_PAGE_SIZE, ARENA);
    if (arena == NULL || mir_page_pool_init(&pages, arena, ARENA) < 0 ||
        mir_buf_pool_init(&bufs, &pages, 16) < 0)
        return 1;
    test_trace();
    test_pcapng();
    tap_case("everything is given back");
    check_int(mir_pool_used(&bufs.pool), ==, 0);
    mir_buf_pool_fini(&bufs);
    free(arena);
    return tap_done();
}
