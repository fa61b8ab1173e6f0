/* SPDX-License-Identifier: ISC */
/* Free-running indices of 32 bits, without a remainder in sight: how far one is ahead of another.
 *
 * The lemmas say how C converts to 32 bits, and what a mask does. WP's own theory of that has no
 * rule that its provers could use, so they are proved apart, by Z3 over bit vectors: index.smt2 has
 * the same statements.
 */
#ifndef TEST_PROOF_INDEX_ACSL_H
#define TEST_PROOF_INDEX_ACSL_H

#include <stdint.h>

/*@ logic integer ahead(integer a, integer b) = a >= b ? a - b : a - b + 4294967296;
    lemma ahead_is_difference: \forall integer a, b;
      0 <= a < 4294967296 && 0 <= b < 4294967296 ==> (uint32_t)(a - b) == ahead(a, b);
    lemma sum_wraps: \forall integer a, n;
      0 <= a < 4294967296 && 0 <= n < 4294967296 ==>
        (uint32_t)(a + n) == (a + n < 4294967296 ? a + n : a + n - 4294967296);
    lemma small_difference: \forall integer a, b;
      0 <= a < 4294967296 && 0 <= b < 4294967296 && ahead(a, b) < 2147483648 ==>
        (int)(a - b) == ahead(a, b);
    lemma mask_is_small: \forall integer x, m;
      0 <= x < 4294967296 && 0 <= m < 4294967296 ==>
        0 <= (x & m) <= m && (x & m) <= x;
*/

#endif
