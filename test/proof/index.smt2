; SPDX-License-Identifier: ISC
; The lemmas of index_acsl.h over bit vectors: a and b are 32 bits wide, arithmetic that must not wrap is done in 40.
; Each is refuted here: unsat means that it holds for all values.
(set-logic QF_BV)
(declare-const a (_ BitVec 32))
(declare-const b (_ BitVec 32))
(define-fun wide ((x (_ BitVec 32))) (_ BitVec 40) ((_ zero_extend 8) x))
(define-fun two32 () (_ BitVec 40) #x0100000000)
(define-fun ahead ((x (_ BitVec 32)) (y (_ BitVec 32))) (_ BitVec 40)
  (ite (bvuge x y) (bvsub (wide x) (wide y)) (bvadd (bvsub (wide x) (wide y)) two32)))
; ahead_is_difference
(push)
(assert (not (= (wide (bvsub a b)) (ahead a b))))
(check-sat)
(pop)
; sum_wraps
(push)
(define-fun sum () (_ BitVec 40) (bvadd (wide a) (wide b)))
(assert (not (= (wide (bvadd a b)) (ite (bvult sum two32) sum (bvsub sum two32)))))
(check-sat)
(pop)
; small_difference: the sign bit is clear, so the signed value is the same
(push)
(assert (bvult (ahead a b) #x0080000000))
(assert (not (= ((_ sign_extend 8) (bvsub a b)) (ahead a b))))
(check-sat)
(pop)
; mask_is_small
(push)
(assert (not (and (bvule (bvand a b) b) (bvule (bvand a b) a))))
(check-sat)
(pop)
