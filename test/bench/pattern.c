/* SPDX-License-Identifier: ISC */
/* The bytes that /bytes/N of the website appliance promises, made by other code, for comparison.
 *
 *   pattern N     writes the first N bytes to standard output
 *   pattern sum   reads standard input, prints "LENGTH CRC32", as /upload answers
 *
 * Byte i is byte i % 8 of mix(i / 8), little-endian, where mix is splitmix64.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

static uint8_t block[1u << 18];

static uint64_t mix(uint64_t n)
{
    uint64_t z = (n + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static int make(uint64_t size)
{
    for (uint64_t at = 0; at < size; at += sizeof block) {
        size_t len = size - at < sizeof block ? (size_t)(size - at) : sizeof block;
        for (size_t i = 0; i < len; i += 8) {
            uint64_t word = mix((at + i) / 8);
            memcpy(block + i, &word, 8);
        }
        if (fwrite(block, 1, len, stdout) != len)
            return 1;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}

static int sum(void)
{
    unsigned long crc = crc32(0, NULL, 0);
    uint64_t total = 0;
    size_t n;

    while ((n = fread(block, 1, sizeof block, stdin)) > 0) {
        crc = crc32(crc, block, (unsigned)n);
        total += n;
    }
    printf("%llu %08lx\n", (unsigned long long)total, crc);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: pattern N | pattern sum\n");
        return 64;
    }
    return strcmp(argv[1], "sum") == 0 ? sum() : make(strtoull(argv[1], NULL, 10));
}
