/* SPDX-License-Identifier: ISC */
/* CRC-32: known values, zlib as the second opinion, every cut. */
#include <string.h>
#include <zlib.h>

#include <mirari/crc.h>

#include "test/harness/tap.h"

/* The form for small images beside the one of the library. */
#ifndef __OPTIMIZE_SIZE__
#define __OPTIMIZE_SIZE__ 1
#endif
#define mir_crc32 small_crc32
uint32_t small_crc32(uint32_t crc, const void *data, size_t len);
#include "lib/base/crc.c"
#undef mir_crc32
uint32_t mir_crc32(uint32_t crc, const void *data, size_t len);

typedef uint32_t (*crc_fn)(uint32_t crc, const void *data, size_t len);

static void test_form(const char *name, crc_fn crc)
{
    uint8_t data[1000];
    uint32_t seed = 1;
    int wrong = 0;
    tap_case("%s: check value and the empty text", name);
    check_int(crc(0, "123456789", 9), ==, 0xcbf43926);
    check_int(crc(0, "", 0), ==, 0);
    tap_case("%s: every length and cut agrees with zlib", name);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
    for (size_t len = 0; len < 100; len++) {
        for (size_t cut = 0; cut <= len; cut++)
            wrong += crc(crc(0, data, cut), data + cut, len - cut) !=
                     (uint32_t)crc32(0, data, (uInt)len);
    }
    wrong += crc(0, data, sizeof data) != (uint32_t)crc32(0, data, sizeof data);
    check_int(wrong, ==, 0);
}

int main(void)
{
    tap_begin("base_crc");
    test_form("eight tables", mir_crc32);
    test_form("one table", small_crc32);
    return tap_done();
}
