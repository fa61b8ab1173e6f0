/* SPDX-License-Identifier: ISC */
/* The memory functions of target virt for aarch64, compared with loops: every length to 200, every
 * alignment to 16, overlapping ranges in both directions, and the bytes around.
 *
 * aarch64.t compiles it with mem.S, whose functions get the names used here, and runs it by
 * qemu-aarch64.
 */
#include <string.h>

#include "test/harness/tap.h"

void *our_memcpy(void *to, const void *from, size_t len);
void *our_memmove(void *to, const void *from, size_t len);
void *our_memset(void *at, int byte, size_t len);
int our_memcmp(const void *a, const void *b, size_t len);

enum { LEN_MAX = 200, ALIGN_MAX = 16, ROOM = 1024, MIDDLE = 400 };

static unsigned char got[ROOM], expected[ROOM], source[ROOM];

static void fill(unsigned char *bytes, unsigned seed)
{
    for (unsigned i = 0; i < ROOM; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 256 * 13 + seed);
}

static void copy_up(unsigned char *to, const unsigned char *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = from[i];
}

static void test_copy(void)
{
    unsigned failures = 0;
    tap_case("memcpy: every length and alignment");
    fill(source, 3);
    for (size_t len = 0; len <= LEN_MAX; len++) {
        for (size_t align = 0; align < ALIGN_MAX * ALIGN_MAX; align++) {
            size_t to = MIDDLE + align % ALIGN_MAX, from = MIDDLE + align / ALIGN_MAX;
            fill(got, 100);
            fill(expected, 100);
            copy_up(expected + to, source + from, len);
            failures += our_memcpy(got + to, source + from, len) != got + to;
            failures += memcmp(got, expected, ROOM) != 0;
        }
    }
    check_int(failures, ==, 0);
}

static void test_move(void)
{
    unsigned failures = 0;
    tap_case("memmove: ranges that overlap, in both directions");
    for (size_t len = 0; len <= LEN_MAX; len++) {
        for (int shift = -LEN_MAX; shift <= LEN_MAX; shift++) {
            unsigned char *to = got + MIDDLE + shift;
            fill(got, 5);
            fill(source, 5);
            fill(expected, 5);
            copy_up(expected + MIDDLE + shift, source + MIDDLE, len);
            failures += our_memmove(to, got + MIDDLE, len) != to;
            failures += memcmp(got, expected, ROOM) != 0;
        }
    }
    check_int(failures, ==, 0);
}

static void test_set(void)
{
    unsigned failures = 0;
    tap_case("memset: every length and alignment");
    for (size_t len = 0; len <= LEN_MAX; len++) {
        for (size_t align = 0; align < ALIGN_MAX; align++) {
            fill(got, 9);
            fill(expected, 9);
            for (size_t i = 0; i < len; i++)
                expected[MIDDLE + align + i] = 0xa5;
            failures += our_memset(got + MIDDLE + align, 0x7a5, len) != got + MIDDLE + align;
            failures += memcmp(got, expected, ROOM) != 0;
        }
    }
    check_int(failures, ==, 0);
}

static int sign(int value)
{
    return (value > 0) - (value < 0);
}

static void test_compare(void)
{
    unsigned failures = 0;
    tap_case("memcmp: the first byte that differs decides");
    for (size_t len = 0; len <= LEN_MAX; len++) {
        fill(got, 1);
        fill(source, 1);
        failures += our_memcmp(got + 1, source + 1, len) != 0;
        for (size_t at = 0; at < len; at++) {
            got[1 + at] ^= 0x80;
            got[1 + len - 1] ^= 0x01; /* and one behind it */
            failures += sign(our_memcmp(got + 1, source + 1, len)) !=
                        sign(memcmp(got + 1, source + 1, len));
            got[1 + len - 1] ^= 0x01;
            got[1 + at] ^= 0x80;
        }
    }
    check_int(failures, ==, 0);
}

int main(void)
{
    tap_begin("aarch64_mem");
    test_copy();
    test_move();
    test_set();
    test_compare();
    return tap_done();
}
