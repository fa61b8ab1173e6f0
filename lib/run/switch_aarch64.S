/* SPDX-License-Identifier: ISC */
/* Context switch for aarch64, AAPCS64.
 *
 * A context that does not run is a stack pointer; it points at this frame:
 *
 *       0  x29, x30 (return address)
 *      16  x19 … x28
 *      96  d8 … d15 (the callee-saved halves of v8 … v15)
 *     160  fpcr, 8 bytes free
 *
 * x18 belongs to the platform and is left alone. Pointer authentication and guarded control stacks
 * are not used. Call frame information holds at every instruction, see switch_x86_64.S.
 */
#define FRAME 176

/* void mir__switch(void **save_sp, void *load_sp) */
    .section .text.mir__switch, "ax", %progbits
    .globl mir__switch
    .hidden mir__switch
    .type mir__switch, %function
    .p2align 4
mir__switch:
    .cfi_startproc
    stp x29, x30, [sp, #-FRAME]!
    .cfi_def_cfa_offset FRAME
    .cfi_rel_offset x29, 0
    .cfi_rel_offset x30, 8
    stp x19, x20, [sp, #16]
    .cfi_rel_offset x19, 16
    .cfi_rel_offset x20, 24
    stp x21, x22, [sp, #32]
    .cfi_rel_offset x21, 32
    .cfi_rel_offset x22, 40
    stp x23, x24, [sp, #48]
    .cfi_rel_offset x23, 48
    .cfi_rel_offset x24, 56
    stp x25, x26, [sp, #64]
    .cfi_rel_offset x25, 64
    .cfi_rel_offset x26, 72
    stp x27, x28, [sp, #80]
    .cfi_rel_offset x27, 80
    .cfi_rel_offset x28, 88
    stp d8, d9, [sp, #96]
    .cfi_rel_offset d8, 96
    .cfi_rel_offset d9, 104
    stp d10, d11, [sp, #112]
    .cfi_rel_offset d10, 112
    .cfi_rel_offset d11, 120
    stp d12, d13, [sp, #128]
    .cfi_rel_offset d12, 128
    .cfi_rel_offset d13, 136
    stp d14, d15, [sp, #144]
    .cfi_rel_offset d14, 144
    .cfi_rel_offset d15, 152
    mrs x9, fpcr
    str x9, [sp, #160]

    mov x10, sp
    str x10, [x0]
    mov sp, x1

    ldr x10, [sp, #160]
    cmp x9, x10
    b.eq 1f
    msr fpcr, x10 /* slow, and rarely different */
1:  ldp x19, x20, [sp, #16]
    .cfi_restore x19
    .cfi_restore x20
    ldp x21, x22, [sp, #32]
    .cfi_restore x21
    .cfi_restore x22
    ldp x23, x24, [sp, #48]
    .cfi_restore x23
    .cfi_restore x24
    ldp x25, x26, [sp, #64]
    .cfi_restore x25
    .cfi_restore x26
    ldp x27, x28, [sp, #80]
    .cfi_restore x27
    .cfi_restore x28
    ldp d8, d9, [sp, #96]
    .cfi_restore d8
    .cfi_restore d9
    ldp d10, d11, [sp, #112]
    .cfi_restore d10
    .cfi_restore d11
    ldp d12, d13, [sp, #128]
    .cfi_restore d12
    .cfi_restore d13
    ldp d14, d15, [sp, #144]
    .cfi_restore d14
    .cfi_restore d15
    ldp x29, x30, [sp], #FRAME
    .cfi_restore x29
    .cfi_restore x30
    .cfi_def_cfa_offset 0
    ret
    .cfi_endproc
    .size mir__switch, . - mir__switch

/* void *mir__switch_prepare(void *top, void *arg): the frame above, returning to task_start */
    .section .text.mir__switch_prepare, "ax", %progbits
    .globl mir__switch_prepare
    .hidden mir__switch_prepare
    .type mir__switch_prepare, %function
    .p2align 4
mir__switch_prepare:
    .cfi_startproc
    sub x0, x0, #FRAME
    adr x9, task_start
    stp xzr, x9, [x0]
    stp x1, xzr, [x0, #16]
    stp xzr, xzr, [x0, #32]
    stp xzr, xzr, [x0, #48]
    stp xzr, xzr, [x0, #64]
    stp xzr, xzr, [x0, #80]
    stp xzr, xzr, [x0, #96]
    stp xzr, xzr, [x0, #112]
    stp xzr, xzr, [x0, #128]
    stp xzr, xzr, [x0, #144]
    mrs x9, fpcr
    stp x9, xzr, [x0, #160]
    ret
    .cfi_endproc
    .size mir__switch_prepare, . - mir__switch_prepare

/* Where a task begins: arg in x19, sp = top. The nop is for unwinders, see switch_x86_64.S. */
    .type task_start, %function
    .p2align 4
    .cfi_startproc
    .cfi_undefined x30
    nop
task_start:
    mov x0, x19
    bl mir__task_main
    brk #0
    .cfi_endproc
    .size task_start, . - task_start

    .section .note.GNU-stack, "", %progbits
