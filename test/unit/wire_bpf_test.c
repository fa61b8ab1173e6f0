/* SPDX-License-Identifier: ISC */
/* Packet filters: known programs on known frames, what is refused, and random programs: a checked
 * one ends, whatever it is, and says of a frame in pieces what it says of the same frame whole. */
#include <string.h>

#include <mirari/rng.h>

#include "lib/wire/bpf.h"
#include "test/harness/tap.h"

static uint8_t arena[64 * MIR_PAGE_SIZE] MIR_ALIGNED(MIR_PAGE_SIZE);
static struct mir_page_pool pages;
static struct mir_buf_pool bufs;

/* "tcp port 80" as libpcap 1.10 compiles it for Ethernet. */
static const struct mir__bpf tcp_port_80[] = {
    {0x28, 0, 0, 0x0000000c},  {0x15, 0, 6, 0x000086dd},   {0x30, 0, 0, 0x00000014},
    {0x15, 0, 15, 0x00000006}, {0x28, 0, 0, 0x00000036},   {0x15, 12, 0, 0x00000050},
    {0x28, 0, 0, 0x00000038},  {0x15, 10, 11, 0x00000050}, {0x15, 0, 10, 0x00000800},
    {0x30, 0, 0, 0x00000017},  {0x15, 0, 8, 0x00000006},   {0x28, 0, 0, 0x00000014},
    {0x45, 6, 0, 0x00001fff},  {0xb1, 0, 0, 0x0000000e},   {0x48, 0, 0, 0x0000000e},
    {0x15, 2, 0, 0x00000050},  {0x48, 0, 0, 0x00000010},   {0x15, 0, 1, 0x00000050},
    {0x06, 0, 0, 0x00040000},  {0x06, 0, 0, 0x00000000},
};

static uint8_t frame[54];

static void make_frame(uint8_t protocol, uint16_t port, uint8_t fragment)
{
    memset(frame, 0, sizeof frame);
    frame[12] = 8;
    frame[14] = 0x45;
    frame[21] = fragment;
    frame[23] = protocol;
    frame[36] = (uint8_t)(port >> 8);
    frame[37] = (uint8_t)port;
}

static struct mir_buf *buf_of(const uint8_t *data, uint32_t len, uint32_t linear)
{
    struct mir_buf *buf = mir_buf_alloc(&bufs, 0);
    struct mir_io_page *page;
    check(buf != NULL);
    memcpy(mir_buf_append(buf, linear), data, linear);
    if (linear == len)
        return buf;
    check_int(mir_page_alloc(&pages, MIR_PAGE_SIZE, MIR_PAGE_OVERWRITE, &page), ==, 0);
    memcpy(page->base, data + linear, len - linear);
    for (uint32_t at = 0; at < len - linear;) {
        uint32_t piece = MIR_MIN(7u, len - linear - at);
        check_int(mir_buf_add_view(buf, mir_view_of_page(page, at, piece)), ==, 0);
        at += piece;
    }
    mir_page_release(page);
    return buf;
}

static uint32_t run_on_frame(const struct mir__bpf *program, uint32_t linear)
{
    struct mir_buf *buf = buf_of(frame, sizeof frame, linear);
    uint32_t wanted = mir__bpf_run(program, buf);
    mir_buf_release(buf);
    return wanted;
}

static void test_known(void)
{
    tap_case("tcp port 80, as libpcap compiles it");
    check_int(mir__bpf_check(tcp_port_80, MIR_ARRAY_LEN(tcp_port_80)), ==, 0);
    make_frame(6, 80, 0);
    check_int(run_on_frame(tcp_port_80, sizeof frame), ==, 0x40000);
    check_int(run_on_frame(tcp_port_80, 3), ==, 0x40000);
    make_frame(6, 81, 0);
    check_int(run_on_frame(tcp_port_80, sizeof frame), ==, 0);
    make_frame(17, 80, 0);
    check_int(run_on_frame(tcp_port_80, sizeof frame), ==, 0);
    make_frame(6, 80, 5);
    check_int(run_on_frame(tcp_port_80, sizeof frame), ==, 0);
    tap_case("a load beyond the frame: not wanted");
    static const struct mir__bpf far[] = {{0x20, 0, 0, 51}, {0x06, 0, 0, 9}};
    static const struct mir__bpf index[] = {
        {0x01, 0, 0, UINT32_MAX}, {0x50, 0, 0, 2}, {0x06, 0, 0, 9}};
    static const struct mir__bpf divide[] = {{0x3c, 0, 0, 0}, {0x06, 0, 0, 9}};
    static const struct mir__bpf length[] = {{0x80, 0, 0, 0}, {0x16, 0, 0, 0}};
    check_int(mir__bpf_check(far, 2) | mir__bpf_check(index, 3) | mir__bpf_check(divide, 2) |
                  mir__bpf_check(length, 2),
              ==, 0);
    check_int(run_on_frame(far, sizeof frame), ==, 0);
    check_int(run_on_frame(index, sizeof frame), ==, 0);
    check_int(run_on_frame(divide, sizeof frame), ==, 0);
    check_int(run_on_frame(length, sizeof frame), ==, sizeof frame);
}

static void test_refused(void)
{
    static const struct mir__bpf rows[][2] = {
        {{0x06, 0, 0, 1}, {0x00, 0, 0, 0}}, /* does not return at its end */
        {{0x05, 0, 0, 1}, {0x06, 0, 0, 0}}, /* jumps beyond its end */
        {{0x05, 0, 0, UINT32_MAX}, {0x06, 0, 0, 0}},
        {{0x15, 1, 0, 0}, {0x06, 0, 0, 0}},
        {{0x15, 0, 255, 0}, {0x06, 0, 0, 0}},
        {{0x60, 0, 0, 16}, {0x06, 0, 0, 0}}, /* memory that is not there */
        {{0x02, 0, 0, 16}, {0x06, 0, 0, 0}},
        {{0x34, 0, 0, 0}, {0x06, 0, 0, 0}}, /* divides by zero */
        {{0x94, 0, 0, 0}, {0x06, 0, 0, 0}},
        {{0x64, 0, 0, 32}, {0x06, 0, 0, 0}},
        {{0x38, 0, 0, 0}, {0x06, 0, 0, 0}}, /* no such size, mode, operation */
        {{0xa0, 0, 0, 0}, {0x06, 0, 0, 0}},
        {{0x21, 0, 0, 0}, {0x06, 0, 0, 0}},
        {{0xf4, 0, 0, 1}, {0x06, 0, 0, 0}},
        {{0x55, 0, 0, 1}, {0x06, 0, 0, 0}},
        {{0x120, 0, 0, 1}, {0x06, 0, 0, 0}},
        {{0x0e, 0, 0, 1}, {0x0e, 0, 0, 0}},
        {{0x17, 0, 0, 1}, {0x06, 0, 0, 0}},
    };
    tap_case("programs that are none");
    for (size_t i = 0; i < MIR_ARRAY_LEN(rows); i++)
        if (!check_int(mir__bpf_check(rows[i], 2), ==, -MIR_EINVAL))
            tap_note("row %zu", i);
    check_int(mir__bpf_check(rows[0], 0), ==, -MIR_EINVAL);
    check_int(mir__bpf_check(rows[0], 1), ==, 0);
}

static void test_random(uint64_t seed)
{
    struct mir_rng rng;
    uint8_t key[32] = {0};
    struct mir__bpf program[24];
    unsigned good = 0, tries = 0;
    memcpy(key, &seed, sizeof seed);
    mir_rng_init(&rng, key);
    tap_case("random programs: those that pass the check end, and pieces change nothing");
    for (; good < 3000 && tries < 3000000; tries++) {
        uint32_t count = 1 + mir_rng_u32(&rng) % MIR_ARRAY_LEN(program);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t bits = mir_rng_u32(&rng);
            program[i] = (struct mir__bpf){.code = (uint16_t)(bits & 0xff),
                                           .jump_true = (uint8_t)(bits >> 8 & 7),
                                           .jump_false = (uint8_t)(bits >> 16 & 7),
                                           .k = bits >> 24 & 63};
            while (i + 1 < count &&
                   mir__bpf_check((struct mir__bpf[]){program[i], {6, 0, 0, 0}}, 2) < 0 &&
                   (program[i].code & 7) != 5)
                program[i].code = (uint16_t)(mir_rng_u32(&rng) & 0xff);
        }
        program[count - 1] = (struct mir__bpf){.code = 0x16};
        if (mir__bpf_check(program, count) < 0)
            continue;
        good++;
        mir_rng_bytes(&rng, frame, sizeof frame);
        uint32_t whole = run_on_frame(program, sizeof frame);
        check_int(run_on_frame(program, mir_rng_u32(&rng) % sizeof frame), ==, whole);
    }
    tap_note("%u of %u programs", good, tries);
    check_int(good, ==, 3000);
    check_int(mir_pool_used(&bufs.pool), ==, 0);
}

int main(int argc, char **argv)
{
    tap_begin("wire_bpf");
    check_int(mir_page_pool_init(&pages, arena, sizeof arena), ==, 0);
    check_int(mir_buf_pool_init(&bufs, &pages, 16), ==, 0);
    test_known();
    test_refused();
    test_random(tap_seed(argc, argv, 20261122));
    return tap_done();
}
