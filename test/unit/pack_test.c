/* SPDX-License-Identifier: ISC */
/* Packed images: what is packed unpacks to the same, is small where it can be, and damage is seen.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/pack.h"
#include "test/harness/tap.h"

static uint64_t state;

static unsigned char byte_by_chance(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned char)(state >> 56);
}

/* Packs, checks that it unpacks, and returns its size. */
static size_t round_trip(const unsigned char *bytes, size_t len)
{
    struct str packed = {0};
    pack_bytes(bytes, len, &packed);
    check(pack_is(&packed, bytes, len));
    size_t size = packed.len;
    str_free(&packed);
    return size;
}

/* The format, written by hand: the tool and the assembly of the images must both read it so. */
static void test_format(void)
{
    static const unsigned char text[] = "abcdabcdabcdabcdabcdabcdx";
    static const unsigned char want[] = {0x4f, 'a', 'b', 'c', 'd', 4, 0, 1, 0x10, 'x'};
    struct str packed = {0};
    tap_case("bytes of the format");
    pack_bytes(text, sizeof(text) - 1, &packed);
    check_int(packed.len, ==, sizeof(want));
    if (packed.len == sizeof(want))
        check_mem(packed.data, want, sizeof(want));
    str_free(&packed);
}

static void test_lengths(void)
{
    unsigned char bytes[1200];
    tap_case("literals and matches of every length around the ends of their fields");
    for (size_t literals = 0; literals < 560; literals += literals < 18 ? 1 : 63) {
        for (size_t match = 0; match < 560; match += match < 22 ? 1 : 59) {
            for (size_t i = 0; i < literals; i++)
                bytes[i] = byte_by_chance();
            memset(bytes + literals, 7, match);
            round_trip(bytes, literals + match);
        }
    }
    tap_case("the empty image, and short ones");
    for (size_t len = 0; len < 9; len++)
        round_trip(bytes, len);
}

static void test_distances(void)
{
    enum { FAR = 65535, LEN = FAR + 64 };
    unsigned char *bytes = malloc(LEN);
    tap_case("a match may begin 65,535 bytes before, not earlier");
    for (unsigned more = 0; more < 2; more++) {
        for (size_t i = 0; i < LEN; i++)
            bytes[i] = byte_by_chance();
        memcpy(bytes + FAR + more, bytes, 60);
        size_t size = round_trip(bytes, FAR + more + 60);
        /* Literals take 257 bytes for their number, the match six, or sixty without it. */
        check(more == 0 ? size < FAR + 290 : size > FAR + 300);
    }
    free(bytes);
}

static void test_sizes(void)
{
    enum { LEN = 300000 };
    unsigned char *bytes = calloc(1, LEN);
    tap_case("zeros are next to nothing");
    check_int(round_trip(bytes, LEN), <, LEN / 200);
    tap_case("what overlaps itself: three bytes again and again");
    for (size_t i = 0; i < LEN; i++)
        bytes[i] = (unsigned char)(i % 3);
    check_int(round_trip(bytes, LEN), <, LEN / 200);
    tap_case("bytes by chance grow by less than a hundredth");
    for (size_t i = 0; i < LEN; i++)
        bytes[i] = byte_by_chance();
    check_int(round_trip(bytes, LEN), <, LEN + LEN / 100);
    tap_case("words of few letters become a good deal less");
    for (size_t i = 0; i < LEN / 10; i++)
        bytes[i] = "mirai"[byte_by_chance() % 5];
    check_int(round_trip(bytes, LEN / 10), <, LEN / 20);
    free(bytes);
}

static void test_damage(void)
{
    unsigned char bytes[3000];
    struct str packed = {0};
    size_t seen = 0;
    tap_case("a byte more, less or other is seen");
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = i % 7 < 4 ? (unsigned char)(i % 7) : byte_by_chance() & 3;
    pack_bytes(bytes, sizeof(bytes), &packed);
    check(pack_is(&packed, bytes, sizeof(bytes)));
    check(!pack_is(&packed, bytes, sizeof(bytes) - 1));
    packed.len--;
    check(!pack_is(&packed, bytes, sizeof(bytes)));
    packed.len++;
    bytes[1234] ^= 1;
    check(!pack_is(&packed, bytes, sizeof(bytes)));
    bytes[1234] ^= 1;
    for (size_t i = 0; i < packed.len; i++) {
        unsigned char was = (unsigned char)packed.data[i];
        packed.data[i] = (char)(was ^ (1 << i % 8));
        seen += !pack_is(&packed, bytes, sizeof(bytes));
        packed.data[i] = (char)was;
    }
    /* Another distance can lead to the same bytes. */
    check_int(seen, >, packed.len * 3 / 4);
    tap_case("any bytes can be asked about");
    for (unsigned round = 0; round < 1000; round++) {
        for (size_t i = 0; i < packed.len; i++)
            packed.data[i] = (char)(byte_by_chance() & (round % 2 ? 0xff : 0x13));
        check(!pack_is(&packed, bytes, sizeof(bytes)));
    }
    str_free(&packed);
}

int main(int argc, char **argv)
{
    tap_begin("pack");
    state = tap_seed(argc, argv, 1);
    test_format();
    test_lengths();
    test_distances();
    test_sizes();
    test_damage();
    return tap_done();
}
