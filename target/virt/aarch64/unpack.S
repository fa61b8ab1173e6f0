/* SPDX-License-Identifier: ISC */
/* What stands in front of a packed image on aarch64 and unpacks it to where this was loaded.
 *
 * `mirari build` takes these bytes out of the image that it has linked (cmd/mirari/pack.c), fills the
 * empty fields in, and puts the packed image behind them. So nothing here is relocated, and no image
 * loads it: its section is one of those that `strip` removes.
 *
 *   0    header of a Linux image, whose first instruction goes to the code
 *   64   all relative to the beginning of this: where the memory of the image ends, on a page; bytes
 *        of this and what is packed, of sixteen each; where packed bytes begin and end; the entry
 *        of the image
 *   128  code
 *
 * It arrives as in start.S: MMU and caches off, so that only bytes may be read and written where
 * they are not aligned, and registers as the loader left them. x0 to x3 are left alone. First it
 * moves itself and the packed bytes behind the memory of the image, where nobody misses them
 * afterwards. What caches may hold of memory that is written goes before and after.
 *
 * Packed bytes are sequences of the LZ4 block format: token, literals, distance, more of the length.
 * Behind the last literals there is no distance. They were unpacked once by whoever wrote them and
 * lie in memory beside this, so they are believed.
 */
#define FIELDS 64

    .section .debug_unpack, "", %progbits
    .globl mir__unpack
    .hidden mir__unpack
mir__unpack:
    b code
    .long 0
    .quad 0x100000 /* from the start of memory, as in image.lds */
    .quad 0        /* bytes in memory */
    .quad 0x2      /* little endian, 4 KiB pages */
    .quad 0, 0, 0
    .long 0x644d5241, 0 /* "ARM\x64" */
    .org mir__unpack + FIELDS
    .quad 0, 0, 0, 0, 0

    .org mir__unpack + 128
code:
    adr x4, mir__unpack
    ldp x5, x6, [x4, #FIELDS]
    add x5, x4, x5 /* where this will be */
    add x6, x5, x6
    mov x7, x4
    mov x8, x5
    mov x9, x5
    mov x10, x6
    bl forget
1:  ldp x13, x14, [x7], #16
    stp x13, x14, [x8], #16
    cmp x8, x6
    b.lo 1b
    bl forget
    adr x13, moved
    sub x13, x13, x4
    add x13, x13, x5
    br x13

moved:
    mov x9, x4 /* the image, begin and end */
    mov x10, x5
    bl forget
    mov x7, x4 /* its next byte */
    ldp x8, x6, [x5, #FIELDS + 16]
    ldr x15, [x5, #FIELDS + 32]
    add x6, x5, x6 /* end of the packed bytes */
    add x15, x4, x15 /* entry of the image */
    add x5, x5, x8 /* the next packed byte */

next_sequence:
    ldrb w11, [x5], #1
    lsr w12, w11, #4
    bl more_length
    cbz x12, 2f
1:  ldrb w13, [x5], #1
    strb w13, [x7], #1
    subs x12, x12, #1
    b.ne 1b
2:  cmp x5, x6
    b.hs done
    ldrb w13, [x5], #1
    ldrb w14, [x5], #1
    orr w13, w13, w14, lsl #8
    sub x14, x7, x13
    and w12, w11, #15
    bl more_length
    add x12, x12, #4
3:  ldrb w13, [x14], #1
    strb w13, [x7], #1
    subs x12, x12, #1
    b.ne 3b
    b next_sequence

/* A length of 15 goes on in the bytes that follow, up to one that is not 255. */
more_length:
    cmp x12, #15
    b.ne 5f
4:  ldrb w13, [x5], #1
    add x12, x12, x13
    cmp w13, #255
    b.eq 4b
5:  ret

/* Memory from x9 to x10 out of the caches, code of it too. */
forget:
    dsb sy
    mrs x13, ctr_el0
    ubfx x13, x13, #16, #4
    mov x14, #4
    lsl x13, x14, x13
    mov x14, x9
6:  dc ivac, x14
    add x14, x14, x13
    cmp x14, x10
    b.lo 6b
    ic iallu
    dsb sy
    isb
    ret

done:
    bl forget
    br x15
    .balign 16

    .section .note.GNU-stack, "", %progbits
