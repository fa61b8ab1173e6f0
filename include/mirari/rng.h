/* SPDX-License-Identifier: ISC */
/* Random numbers and keyed hashing for protocols. Seeded by the target's entropy device. */
#ifndef MIRARI_RNG_H
#define MIRARI_RNG_H

#include <mirari/base.h>

/** ChaCha20 generator with fast key erasure. Caller's memory; not shared between threads. */
struct mir_rng {
    /* private: */
    uint32_t key[8];
    uint8_t block[512];
    uint32_t used;
};

/**
 * mir_rng_init() - seed a generator.
 *
 * @seed  32 bytes from the entropy device (or from the simulator's seed)
 *
 * Returns nothing. The same seed gives the same stream.
 * Source  RFC 8439 section 2.3 (ChaCha20 block)
 */
void mir_rng_init(struct mir_rng *rng, const uint8_t seed[32]);

/** Seed a deterministic generator from a number: tests and the simulator only. */
void mir_rng_init_u64(struct mir_rng *rng, uint64_t seed);

/** Fill [len] bytes of @out. */
void mir_rng_bytes(struct mir_rng *rng, void *out, size_t len);
uint32_t mir_rng_u32(struct mir_rng *rng);
uint64_t mir_rng_u64(struct mir_rng *rng);

/** A number 0 .. limit-1 without bias; @limit >= 1. */
uint32_t mir_rng_below(struct mir_rng *rng, uint32_t limit);

/**
 * mir_siphash() - SipHash-2-4 of [len] bytes under a 16-byte key.
 *
 * Returns the 64-bit hash.
 * Source  Aumasson, Bernstein: SipHash (2012); use in RFC 6528 section 3
 */
uint64_t mir_siphash(const uint8_t key[16], const void *data, size_t len);

#endif
