/* SPDX-License-Identifier: ISC */
/* The four memory functions that compilers call. With them an image needs no C library at all.
 *
 *      0 .. 15 bytes    pieces of 8, 4, 2, 1 that may overlap each other
 *     16 .. 32          the first and the last 16
 *     more              32 at a time, and the first or last 32 once more for the rest
 *
 * What is stored last was loaded first, so ranges may overlap (memmove, and memcpy is the same).
 * Addresses need no alignment; memory is normal memory.
 */

    .macro function name
    .section .text.\name, "ax", %progbits
    .globl \name
    .hidden \name
    .type \name, %function
    .p2align 4
\name:
    .cfi_startproc
    .endm

    .macro end name
    .cfi_endproc
    .size \name, . - \name
    .endm

/* void *memmove(void *to, const void *from, size_t len) */
function memmove
    .globl memcpy
    .hidden memcpy
    .type memcpy, %function
memcpy:
    add x4, x1, x2 /* ends */
    add x5, x0, x2
    cmp x2, #16
    b.lo 4f
    cmp x2, #32
    b.hi 1f
    ldr q0, [x1]
    ldr q1, [x4, #-16]
    str q0, [x0]
    str q1, [x5, #-16]
    ret

1:  sub x3, x0, x1
    cmp x3, x2
    b.lo 3f

    ldp q2, q3, [x4, #-32]
    mov x3, x0
2:  ldp q0, q1, [x1], #32
    subs x2, x2, #32
    stp q0, q1, [x3], #32
    cmp x2, #32
    b.hi 2b
    stp q2, q3, [x5, #-32]
    ret

3:  ldp q2, q3, [x1] /* the destination begins inside the source: backwards */
31: ldp q0, q1, [x4, #-32]!
    subs x2, x2, #32
    stp q0, q1, [x5, #-32]!
    cmp x2, #32
    b.hi 31b
    stp q2, q3, [x0]
    ret

4:  tbz x2, #3, 5f
    ldr x6, [x1]
    ldr x7, [x4, #-8]
    str x6, [x0]
    str x7, [x5, #-8]
    ret
5:  tbz x2, #2, 6f
    ldr w6, [x1]
    ldr w7, [x4, #-4]
    str w6, [x0]
    str w7, [x5, #-4]
    ret
6:  tbz x2, #1, 7f
    ldrh w6, [x1]
    ldrh w7, [x4, #-2]
    strh w6, [x0]
    strh w7, [x5, #-2]
    ret
7:  cbz x2, 8f
    ldrb w6, [x1]
    strb w6, [x0]
8:  ret
end memmove

/* void *memset(void *at, int byte, size_t len) */
function memset
    dup v0.16b, w1
    add x5, x0, x2
    cmp x2, #16
    b.lo 3f
    mov x3, x0
    subs x2, x2, #32
    b.ls 2f
1:  stp q0, q0, [x3], #32
    subs x2, x2, #32
    b.hi 1b
    stp q0, q0, [x5, #-32]
    ret
2:  str q0, [x0]
    str q0, [x5, #-16]
    ret
3:  tbz x2, #3, 4f
    str d0, [x0]
    str d0, [x5, #-8]
    ret
4:  tbz x2, #2, 5f
    str s0, [x0]
    str s0, [x5, #-4]
    ret
5:  tbz x2, #1, 6f
    str h0, [x0]
    str h0, [x5, #-2]
    ret
6:  cbz x2, 7f
    strb w1, [x0]
7:  ret
end memset

/* int memcmp(const void *a, const void *b, size_t len) */
function memcmp
    subs x2, x2, #8
    b.lo 2f
1:  ldr x3, [x0], #8
    ldr x4, [x1], #8
    cmp x3, x4
    b.ne 4f
    subs x2, x2, #8
    b.hs 1b
2:  adds x2, x2, #8
    b.eq 3f
21: ldrb w3, [x0], #1
    ldrb w4, [x1], #1
    cmp w3, w4
    b.ne 5f
    subs x2, x2, #1
    b.ne 21b
3:  mov w0, #0
    ret
4:  rev x3, x3 /* the first byte that differs decides */
    rev x4, x4
    cmp x3, x4
5:  cset w0, hi
    csinv w0, w0, wzr, hs
    ret
end memcmp

    .section .note.GNU-stack, "", %progbits
