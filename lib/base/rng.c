/* SPDX-License-Identifier: ISC */
/* ChaCha20 generator with fast key erasure.
 *
 * A refill makes eight ChaCha20 blocks under the current key with a zero nonce; the first 32 bytes
 * become the next key at once and are wiped, so a later look at the state tells nothing of what was
 * handed out before. Bytes are wiped as they leave.
 *
 * Source: RFC 8439 section 2.3; D. J. Bernstein, "Fast-key-erasure random-number generators".
 */
#include <mirari/bytes.h>
#include <mirari/rng.h>

#include "lib/base/chacha20.h"

static inline uint32_t rotl(uint32_t v, int n)
{
    return v << n | v >> (32 - n);
}

#define QUARTER(a, b, c, d)                                                                        \
    do {                                                                                           \
        a += b;                                                                                    \
        d = rotl(d ^ a, 16);                                                                       \
        c += d;                                                                                    \
        b = rotl(b ^ c, 12);                                                                       \
        a += b;                                                                                    \
        d = rotl(d ^ a, 8);                                                                        \
        c += d;                                                                                    \
        b = rotl(b ^ c, 7);                                                                        \
    } while (0)

void mir__chacha20_block(const uint32_t key[8], uint32_t counter, const uint32_t nonce[3],
                         uint8_t out[64])
{
    uint32_t in[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    uint32_t x[16];
    mir_memcpy(in + 4, key, 32);
    in[12] = counter;
    mir_memcpy(in + 13, nonce, 12);
    mir_memcpy(x, in, sizeof x);
    for (int i = 0; i < 10; i++) {
        QUARTER(x[0], x[4], x[8], x[12]);
        QUARTER(x[1], x[5], x[9], x[13]);
        QUARTER(x[2], x[6], x[10], x[14]);
        QUARTER(x[3], x[7], x[11], x[15]);
        QUARTER(x[0], x[5], x[10], x[15]);
        QUARTER(x[1], x[6], x[11], x[12]);
        QUARTER(x[2], x[7], x[8], x[13]);
        QUARTER(x[3], x[4], x[9], x[14]);
    }
    for (size_t i = 0; i < 16; i++)
        mir_put_le32(out + 4 * i, x[i] + in[i]);
}

static void refill(struct mir_rng *rng)
{
    static const uint32_t nonce[3];
    for (uint32_t i = 0; i < sizeof rng->block / 64; i++)
        mir__chacha20_block(rng->key, i, nonce, rng->block + (size_t)64 * i);
    mir_memcpy(rng->key, rng->block, sizeof rng->key);
    mir_memset(rng->block, 0, sizeof rng->key);
    rng->used = sizeof rng->key;
}

void mir_rng_init(struct mir_rng *rng, const uint8_t seed[32])
{
    for (size_t i = 0; i < 8; i++)
        rng->key[i] = mir_get_le32(seed + 4 * i);
    refill(rng);
}

void mir_rng_init_u64(struct mir_rng *rng, uint64_t seed)
{
    uint8_t bytes[32] = {0};
    mir_put_le64(bytes, seed);
    mir_rng_init(rng, bytes);
}

void mir_rng_bytes(struct mir_rng *rng, void *out, size_t len)
{
    uint8_t *to = out;
    while (len > 0) {
        if (rng->used == sizeof rng->block)
            refill(rng);
        size_t n = MIR_MIN(len, sizeof rng->block - rng->used);
        mir_memcpy(to, rng->block + rng->used, n);
        mir_memset(rng->block + rng->used, 0, n);
        rng->used += (uint32_t)n;
        to += n;
        len -= n;
    }
}

uint32_t mir_rng_u32(struct mir_rng *rng)
{
    uint32_t v;
    mir_rng_bytes(rng, &v, sizeof v);
    return v;
}

uint64_t mir_rng_u64(struct mir_rng *rng)
{
    uint64_t v;
    mir_rng_bytes(rng, &v, sizeof v);
    return v;
}

uint32_t mir_rng_below(struct mir_rng *rng, uint32_t limit)
{
    MIR_ASSERT_OP(limit, >, 0);
    /* Numbers below 2^32 mod limit would favour small results: draw again. */
    uint32_t reject_below = (0u - limit) % limit;
    uint32_t v;
    do {
        v = mir_rng_u32(rng);
    } while (v < reject_below);
    return v % limit;
}
