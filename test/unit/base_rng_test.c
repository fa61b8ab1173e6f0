/* SPDX-License-Identifier: ISC */
/* ChaCha20 generator and SipHash against published vectors. */
#include <string.h>

#include <mirari/bytes.h>
#include <mirari/rng.h>

#include "lib/base/chacha20.h"
#include "test/harness/tap.h"

/* RFC 8439 section 2.3.2 */
static const uint8_t rfc_block[64] = {
    0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15, 0x50, 0x0f, 0xdd, 0x1f, 0xa3, 0x20, 0x71, 0xc4,
    0xc7, 0xd1, 0xf4, 0xc7, 0x33, 0xc0, 0x68, 0x03, 0x04, 0x22, 0xaa, 0x9a, 0xc3, 0xd4, 0x6c, 0x4e,
    0xd2, 0x82, 0x64, 0x46, 0x07, 0x9f, 0xaa, 0x09, 0x14, 0xc2, 0xd7, 0x05, 0xd9, 0x8b, 0x02, 0xa2,
    0xb5, 0x12, 0x9c, 0xd1, 0xde, 0x16, 0x4e, 0xb9, 0xcb, 0xd0, 0x83, 0xe8, 0xa2, 0x50, 0x3c, 0x4e,
};

/* The paper's vectors: key 00 01 .. 0f, message 00 01 .. of length 0 .. 63. */
static const uint64_t sip_vectors[64] = {
    0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
    0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
    0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
    0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5,
    0x3f2acc7f57c29bdb, 0x699ae9f52cbe4794, 0x4bc1b3f0968dd39c, 0xbb6dc91da77961bd,
    0xbed65cf21aa2ee98, 0xd0f2cbb02e3b67c7, 0x93536795e3a33e88, 0xa80c038ccd5ccec8,
    0xb8ad50c6f649af94, 0xbce192de8a85b8ea, 0x17d835b85bbb15f3, 0x2f2e6163076bcfad,
    0xde4daaaca71dc9a5, 0xa6a2506687956571, 0xad87a3535c49ef28, 0x32d892fad841c342,
    0x7127512f72f27cce, 0xa7f32346f95978e3, 0x12e0b01abb051238, 0x15e034d40fa197ae,
    0x314dffbe0815a3b4, 0x027990f029623981, 0xcadcd4e59ef40c4d, 0x9abfd8766a33735c,
    0x0e3ea96b5304a7d0, 0xad0c42d6fc585992, 0x187306c89bc215a9, 0xd4a60abcf3792b95,
    0xf935451de4f21df2, 0xa9538f0419755787, 0xdb9acddff56ca510, 0xd06c98cd5c0975eb,
    0xe612a3cb9ecba951, 0xc766e62cfcadaf96, 0xee64435a9752fe72, 0xa192d576b245165a,
    0x0a8787bf8ecb74b2, 0x81b3e73d20b49b6f, 0x7fa8220ba3b2ecea, 0x245731c13ca42499,
    0xb78dbfaf3a8d83bd, 0xea1ad565322a1a0b, 0x60e61c23a3795013, 0x6606d7e446282b93,
    0x6ca4ecb15c5f91e1, 0x9f626da15c9625f3, 0xe51b38608ef25f57, 0x958a324ceb064572,
};

static void test_chacha(void)
{
    tap_case("ChaCha20 block: RFC 8439 section 2.3.2");
    uint32_t key[8];
    const uint32_t nonce[3] = {0x09000000, 0x4a000000, 0};
    uint8_t bytes[32], out[64];
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    for (unsigned i = 0; i < 8; i++)
        key[i] = mir_get_le32(bytes + (size_t)4 * i);
    mir__chacha20_block(key, 1, nonce, out);
    check_mem(out, rfc_block, 64);
}

static void test_stream(void)
{
    tap_case("the stream is ChaCha20 under a key that is replaced at each refill");
    uint8_t seed[32];
    uint32_t key[8];
    const uint32_t nonce[3] = {0, 0, 0};
    struct mir_rng rng;
    static uint8_t got[480 * 3], want[512];
    for (unsigned i = 0; i < 32; i++)
        seed[i] = (uint8_t)(i * 7 + 1);
    for (unsigned i = 0; i < 8; i++)
        key[i] = mir_get_le32(seed + (size_t)4 * i);
    mir_rng_init(&rng, seed);
    mir_rng_bytes(&rng, got, sizeof got);
    for (size_t fill = 0; fill < 3; fill++) {
        for (uint32_t block = 0; block < 8; block++)
            mir__chacha20_block(key, block, nonce, want + (size_t)64 * block);
        check_mem(got + 480 * fill, want + 32, 480);
        for (unsigned i = 0; i < 8; i++)
            key[i] = mir_get_le32(want + (size_t)4 * i);
    }

    tap_case("pieces of any size give the same stream");
    static uint8_t pieces[480 * 3];
    mir_rng_init(&rng, seed);
    size_t at = 0;
    for (size_t n = 1; at < sizeof pieces; n = n * 3 % 101 + 1) {
        size_t len = MIR_MIN(n, sizeof pieces - at);
        mir_rng_bytes(&rng, pieces + at, len);
        at += len;
    }
    check_mem(pieces, got, sizeof got);
    mir_rng_bytes(&rng, NULL, 0);

    tap_case("what was handed out is not in the state any more");
    uint8_t secret[16];
    mir_rng_bytes(&rng, secret, sizeof secret);
    bool is_found = false;
    for (size_t i = 0; i + sizeof secret <= sizeof rng; i++)
        is_found |= memcmp((uint8_t *)&rng + i, secret, sizeof secret) == 0;
    check(!is_found);

    tap_case("seeds differ, equal seeds agree");
    struct mir_rng a, b, c;
    mir_rng_init_u64(&a, 1);
    mir_rng_init_u64(&b, 1);
    mir_rng_init_u64(&c, 2);
    uint64_t x = mir_rng_u64(&a);
    check(x == mir_rng_u64(&b));
    check(x != mir_rng_u64(&c));
}

static void test_below(uint64_t seed)
{
    struct mir_rng rng;
    mir_rng_init_u64(&rng, seed);

    tap_case("below: always in range, 1 gives 0");
    const uint32_t limits[] = {1, 2, 3, 7, 1000, 0x7fffffff, 0x80000000, 0x80000001, UINT32_MAX};
    for (size_t i = 0; i < MIR_ARRAY_LEN(limits); i++) {
        for (int n = 0; n < 1000; n++)
            check(mir_rng_below(&rng, limits[i]) < limits[i]);
    }

    /* 2^32 mod 3*2^30 = 2^30: without rejection the lowest third would come up half the time. */
    tap_case("below: no bias towards small numbers");
    const uint32_t third = 1u << 30;
    uint32_t counts[3] = {0};
    for (int n = 0; n < 30000; n++)
        counts[mir_rng_below(&rng, 3 * third) / third]++;
    for (int i = 0; i < 3; i++) {
        check_int(counts[i], >, 9500); /* 10,000 expected, deviation 82 */
        check_int(counts[i], <, 10500);
    }

    tap_case("below: every value of a small range comes up equally often");
    uint32_t faces[6] = {0};
    for (int n = 0; n < 60000; n++)
        faces[mir_rng_below(&rng, 6)]++;
    for (int i = 0; i < 6; i++) {
        check_int(faces[i], >, 9500);
        check_int(faces[i], <, 10500);
    }
}

static void test_siphash(void)
{
    tap_case("SipHash-2-4: the 64 vectors of the paper's reference");
    uint8_t key[16], message[64 + 1];
    for (unsigned i = 0; i < 16; i++)
        key[i] = (uint8_t)i;
    for (unsigned i = 0; i < 64; i++)
        message[i] = (uint8_t)i;
    for (size_t len = 0; len < 64; len++)
        check(mir_siphash(key, message, len) == sip_vectors[len]);

    tap_case("SipHash of unaligned data");
    memmove(message + 1, message, 64);
    for (size_t len = 0; len < 64; len++)
        check(mir_siphash(key, message + 1, len) == sip_vectors[len]);
}

int main(int argc, char **argv)
{
    tap_begin("base_rng");
    uint64_t seed = tap_seed(argc, argv, 1);
    test_chacha();
    test_stream();
    test_below(seed);
    test_siphash();
    return tap_done();
}
