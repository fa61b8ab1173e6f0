/* SPDX-License-Identifier: ISC */
/* What Frama-C is told before it reads the sources: shared memory as a hostile peer makes it.
 *
 * What a load of shared memory returns is not specified, so it may be anything, each time. Copies
 * must stay inside what is valid on our side and on the shared one. The calls of a channel are
 * pointers to functions and not known to the proof: see wp.t.
 */
#ifndef TEST_PROOF_FRAMA_H
#define TEST_PROOF_FRAMA_H

#include <stddef.h>
#include <stdint.h>

#include <mirari/base.h>

#define _Static_assert(...)
#undef offsetof
#define offsetof(type, member) ((size_t) & ((type *)0)->member)

/*@ assigns \nothing; */
uint32_t mir__shared_load32(const uint32_t *at);
/*@ assigns \nothing; */
uint8_t mir__shared_load8(const uint8_t *at);
/*@ assigns \nothing; */
void mir__shared_store32(uint32_t *at, uint32_t value);
/*@ assigns \nothing; */
void mir__shared_store8(uint8_t *at, uint8_t value);
/*@ assigns \nothing; */
uint8_t mir__shared_set_bits(uint8_t *at, uint8_t bits);
/*@ assigns \nothing; */
uint8_t mir__shared_clear_bits(uint8_t *at, uint8_t bits);
/*@ assigns \nothing; */
void mir__shared_fence(void);
/*@ requires \valid(to + (0 .. len - 1));
    requires \valid_read(from + (0 .. len - 1));
    assigns \nothing; */
void mir__shared_put(uint8_t *to, const uint8_t *from, size_t len);
/*@ requires \valid(to + (0 .. len - 1));
    requires \valid_read(from + (0 .. len - 1));
    assigns to[0 .. len - 1]; */
void mir__shared_get(uint8_t *to, const uint8_t *from, size_t len);

/* In the place of lib/ring/shared.h: bytes are bytes here, because WP takes void for char. */
#define LIB_RING_SHARED_H

#endif
