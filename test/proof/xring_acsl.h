/* SPDX-License-Identifier: ISC */
/* What is proved of lib/ring/xring.c: contracts for Frama-C/WP.
 *
 * The state of a ring that counts is fits_ring(): how far its indices are apart at either end.
 * Every function here keeps it, whatever the peer's index says, and touches no byte outside the
 * slots - but for take(), of which only the second is proved: that it keeps fits_ring() is
 * explored. What moves tickets between lists is explored and tested, not proved.
 */
#ifndef TEST_PROOF_XRING_ACSL_H
#define TEST_PROOF_XRING_ACSL_H

#include "lib/ring/xring.h"
#include "test/proof/index_acsl.h"

/*@ requires \false;
    assigns \nothing; */
void mir__assert_fail(const char *file, int line, const char *text, uint64_t left, uint64_t right);

/*@ lemma slot_fits: \forall integer i, c, e; 0 <= i < c && 0 <= e ==> 0 <= i * e && i * e + e <= c
   * e; logic integer in_flight(struct mir__xring *r) = r->is_front ? ahead(r->published, r->taken)
   : ahead(r->taken, r->published); logic integer kept(struct mir__xring *r) = r->is_front ?
   ahead(r->reserved, r->taken) : ahead(r->taken, r->reserved); logic integer most(struct mir__xring
   *r) = r->is_front ? in_flight(r) : r->count - in_flight(r); logic integer free_slots(struct
   mir__xring *r) = r->is_front ? r->count - kept(r) : kept(r); predicate fits_ring(struct
   mir__xring *r) = \valid(r) && 2 <= r->count <= 4096 && 4 <= r->entry_bytes <= 256 && (r->is_front
   == 0 || r->is_front == 1) && (r->is_front ? in_flight(r) <= kept(r) <= r->count : kept(r) <=
   in_flight(r) <= r->count) && ahead(r->seen, r->taken) <= most(r); predicate has_slots(struct
   mir__xring *r) = \valid(r->slots + (0 .. r->count * r->entry_bytes - 1)); */

/*@ requires fits_ring(ring);
    assigns \nothing;
    ensures \result == free_slots(ring) && \result <= ring->count; */
static uint32_t unreserved(const struct mir__xring *ring);
/*@ requires fits_ring(ring);
    assigns \nothing;
    ensures \result == most(ring) && \result <= ring->count; */
static uint32_t bound(const struct mir__xring *ring);
/*@ requires fits_ring(ring) && has_slots(ring);
    assigns \nothing;
    ensures \valid(\result + (0 .. ring->entry_bytes - 1)); */
static uint8_t *slot(const struct mir__xring *ring, uint32_t index);
/*@ requires fits_ring(ring) && \valid(there) && \separated(ring, there);
    assigns ring->fault, ring->seen, *there;
    ensures fits_ring(ring);
    ensures \result == 0 || \result == -MIR_EPROTO;
    ensures \result == 0 ==> *there == ahead(ring->seen, ring->taken) && *there <= most(ring);
    ensures \result != 0 ==> ring->seen == \old(ring->seen); */
static int look(struct mir__xring *ring, uint32_t *there);
/*@ requires fits_ring(ring);
    assigns \nothing;
    ensures \result == 0 || \result == free_slots(ring); */
uint32_t mir__xring_room(const struct mir__xring *ring);
/*@ requires fits_ring(ring) && has_slots(ring);
    requires \valid(entry + (0 .. ring->entry_bytes - 1));
    requires \separated(entry + (0 .. ring->entry_bytes - 1), ring);
    assigns ring->fault, ring->seen, ring->taken, entry[0 .. ring->entry_bytes - 1]; */
static int take(struct mir__xring *ring, uint8_t *entry);
/*@ requires fits_ring(ring);
    assigns ring->fault, ring->seen;
    ensures fits_ring(ring); */
bool mir__xring_arm(struct mir__xring *ring);

#endif
