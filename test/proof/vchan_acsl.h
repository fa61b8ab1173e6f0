/* SPDX-License-Identifier: ISC */
/* What is proved of lib/vchan/vchan.c, and what of it is taken for granted: contracts for
 * Frama-C/WP.
 *
 * Proved of each function here without "assumed": no access outside the ring, the caller's buffer
 * and the structure, whatever the shared memory says; the counts that are returned; that both
 * indices stay within one ring of each other. wp.t names them.
 */
#ifndef TEST_PROOF_VCHAN_ACSL_H
#define TEST_PROOF_VCHAN_ACSL_H

#include <mirari/vchan.h>

#include "test/proof/index_acsl.h"

/*@ requires \false;
    assigns \nothing; */
void mir__assert_fail(const char *file, int line, const char *text, uint64_t left, uint64_t right);

/*@ predicate shape(struct mir_vchan *v) =
      \valid(v) && 1 <= v->in.size <= 1048576 && 1 <= v->out.size <= 1048576;
    logic integer there(struct mir_vchan *v) = ahead(v->in.theirs, v->in.mine);
    logic integer room(struct mir_vchan *v) =
      v->out.size - ahead(v->out.mine, v->out.theirs);
    predicate fits(struct mir_vchan *v) =
      shape(v) && there(v) <= v->in.size && room(v) >= 0;
    predicate in_ring(struct mir_vchan *v) =
      \valid_read(v->in.data + (0 .. v->in.size - 1));
    predicate out_ring(struct mir_vchan *v) =
      \valid(v->out.data + (0 .. v->out.size - 1)); */

/* Assumed: what these do besides is to call the channel, which touches no vchan. */
/*@ requires \valid(v);
    assigns v->state;
    ensures \result == -MIR_EPROTO && v->state == MIR_VCHAN_FAULTY; */
static int break_off(struct mir_vchan *v);
/*@ requires \valid(v);
    assigns v->stats.silent, v->stats.notified; */
static void tell(struct mir_vchan *v, uint8_t bit);
/*@ requires \valid(v);
    assigns \nothing; */
static void ask(struct mir_vchan *v, uint8_t bit);
/*@ requires \valid(v);
    assigns v->state;
    ensures -MIR_ERR_MAX < \result <= 0; */
static int peer_end(struct mir_vchan *v);

/* Proved. */
/*@ requires fits(v);
    assigns v->state, v->in.theirs;
    ensures fits(v);
    ensures \result == -MIR_EPROTO || (0 <= \result && \result == there(v));
    ensures there(v) >= \old(there(v)); */
static int look_in(struct mir_vchan *v);
/*@ requires fits(v);
    assigns v->state, v->out.theirs;
    ensures fits(v);
    ensures \result == -MIR_EPROTO || (0 <= \result && \result == room(v));
    ensures room(v) >= \old(room(v)); */
static int look_out(struct mir_vchan *v);
/*@ requires fits(v) && need >= 1;
    assigns v->state, v->in.theirs;
    ensures fits(v);
    ensures -MIR_ERR_MAX < \result;
    ensures \result < 0 || \result == 0 || (need <= \result && \result == there(v)); */
static int await_in(struct mir_vchan *v, uint32_t need, size_t want);
/*@ requires fits(v) && need >= 1;
    assigns v->state, v->out.theirs;
    ensures fits(v);
    ensures -MIR_ERR_MAX < \result;
    ensures \result < 0 || \result == 0 || (need <= \result && \result == room(v)); */
static int await_out(struct mir_vchan *v, uint32_t need, size_t want);
/*@ requires fits(v) && len <= there(v);
    assigns v->in.mine, v->stats;
    ensures fits(v);
    ensures there(v) == \old(there(v)) - len || there(v) == \old(there(v)); */
void mir_vchan_consume(struct mir_vchan *v, size_t len);
/*@ requires fits(v) && len <= room(v);
    assigns v->out.mine, v->stats;
    ensures fits(v);
    ensures room(v) == \old(room(v)) - len || room(v) == \old(room(v)); */
void mir_vchan_commit(struct mir_vchan *v, size_t len);
/*@ requires fits(v) && in_ring(v) && len <= there(v) && \valid(to + (0 .. len - 1));
    requires \separated(to + (0 .. len - 1), v);
    assigns to[0 .. len - 1], v->in.mine, v->stats;
    ensures fits(v); */
static void copy_in(struct mir_vchan *v, uint8_t *to, uint32_t len);
/*@ requires fits(v) && out_ring(v) && len <= room(v) && \valid_read(from + (0 .. len - 1));
    assigns v->out.mine, v->stats;
    ensures fits(v); */
static void copy_out(struct mir_vchan *v, const uint8_t *from, uint32_t len);

#endif
