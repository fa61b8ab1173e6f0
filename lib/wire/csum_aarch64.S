/* SPDX-License-Identifier: ISC */
/* No faster inner loop of the checksum for aarch64: compilers use NEON unasked, and that is what
 * there is. See csum_x86_64.S for what these two are.
 */
    .text
    .globl mir__csum_has_simd
    .type mir__csum_has_simd, %function
mir__csum_has_simd:
    .globl mir__csum_blocks_simd
    .type mir__csum_blocks_simd, %function
mir__csum_blocks_simd:
    mov x0, #0
    ret
    .size mir__csum_blocks_simd, . - mir__csum_blocks_simd
    .size mir__csum_has_simd, . - mir__csum_has_simd

    .section .note.GNU-stack, "", %progbits
