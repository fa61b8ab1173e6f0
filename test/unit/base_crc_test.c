/* SPDX-License-Identifier: ISC */
/* CRC-32: known values, zlib as the second opinion, every cut. */
#include <string.h>
#include <zlib.h>

#include <mirari/crc.h>

#include "test/harness/tap.h"

int main(void)
{
    uint8_t data[1000];
    uint32_t seed = 1;
    tap_begin("base_crc");
    tap_case("check value and the empty text");
    check_int(mir_crc32(0, "123456789", 9), ==, 0xcbf43926);
    check_int(mir_crc32(0, "", 0), ==, 0);
    tap_case("every length and cut agrees with zlib");
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
    int wrong = 0;
    for (size_t len = 0; len < 100; len++) {
        for (size_t cut = 0; cut <= len; cut++)
            wrong += mir_crc32(mir_crc32(0, data, cut), data + cut, len - cut) !=
                     (uint32_t)crc32(0, data, (uInt)len);
    }
    wrong += mir_crc32(0, data, sizeof data) != (uint32_t)crc32(0, data, sizeof data);
    check_int(wrong, ==, 0);
    return tap_done();
}
