/* SPDX-License-Identifier: ISC */
/* Where the CPU goes on an exception: registers are kept, traps.c looks at them.
 *
 * The appliance runs with SP_EL0, exceptions with SP_EL1, the top of the stack for them: a stack
 * that is used up does not matter here. An exception of the handler itself (the second four) begins
 * that stack anew, since what is on it is of no more use than its caller.
 *
 * Interrupts are masked always, so only exceptions that cannot be come here: the loop asks the
 * interrupt controller (irq.c).
 *
 *      0  x0 … x30      248  stack pointer     256  pc, pstate     272  esr, far
 *    288  q0 … q31      800  fpsr, fpcr
 *
 * What returns is a page fault that a stack grew by; C code may use vector registers meanwhile.
 */
#include "target/virt/aarch64/layout.h"

#define FRAME   816
#define VECTORS 288

    .macro vector number
    .p2align 7
    .if \number >= 4
    adrp x16, mir__stacks
    add x16, x16, #MIR__STACK_TRAP_HIGH
    mov sp, x16
    .endif
    sub sp, sp, #FRAME
    stp x0, x1, [sp]
    mov x0, #\number
    b save
    .endm

    .section .text.mir__vectors, "ax", %progbits
    .globl mir__vectors
    .hidden mir__vectors
    .p2align 11
mir__vectors:
    vector 0
    vector 1
    vector 2
    vector 3
    vector 4
    vector 5
    vector 6
    vector 7
    vector 8
    vector 9
    vector 10
    vector 11
    vector 12
    vector 13
    vector 14
    vector 15

save:
    stp x2, x3, [sp, #16]
    stp x4, x5, [sp, #32]
    stp x6, x7, [sp, #48]
    stp x8, x9, [sp, #64]
    stp x10, x11, [sp, #80]
    stp x12, x13, [sp, #96]
    stp x14, x15, [sp, #112]
    stp x16, x17, [sp, #128]
    stp x18, x19, [sp, #144]
    stp x20, x21, [sp, #160]
    stp x22, x23, [sp, #176]
    stp x24, x25, [sp, #192]
    stp x26, x27, [sp, #208]
    stp x28, x29, [sp, #224]
    mrs x2, sp_el0
    stp x30, x2, [sp, #240]
    mrs x2, elr_el1
    mrs x3, spsr_el1
    stp x2, x3, [sp, #256]
    mrs x2, esr_el1
    mrs x3, far_el1
    stp x2, x3, [sp, #272]
    add x4, sp, #VECTORS
    stp q0, q1, [x4, #0]
    stp q2, q3, [x4, #32]
    stp q4, q5, [x4, #64]
    stp q6, q7, [x4, #96]
    stp q8, q9, [x4, #128]
    stp q10, q11, [x4, #160]
    stp q12, q13, [x4, #192]
    stp q14, q15, [x4, #224]
    stp q16, q17, [x4, #256]
    stp q18, q19, [x4, #288]
    stp q20, q21, [x4, #320]
    stp q22, q23, [x4, #352]
    stp q24, q25, [x4, #384]
    stp q26, q27, [x4, #416]
    stp q28, q29, [x4, #448]
    stp q30, q31, [x4, #480]
    mrs x2, fpsr
    mrs x3, fpcr
    str x2, [sp, #800]
    str x3, [sp, #808]
    mov x1, sp
    mov x29, xzr
    bl mir__trap

    /* It came back: go on where the frame says. */
    add x4, sp, #VECTORS
    ldp q0, q1, [x4, #0]
    ldp q2, q3, [x4, #32]
    ldp q4, q5, [x4, #64]
    ldp q6, q7, [x4, #96]
    ldp q8, q9, [x4, #128]
    ldp q10, q11, [x4, #160]
    ldp q12, q13, [x4, #192]
    ldp q14, q15, [x4, #224]
    ldp q16, q17, [x4, #256]
    ldp q18, q19, [x4, #288]
    ldp q20, q21, [x4, #320]
    ldp q22, q23, [x4, #352]
    ldp q24, q25, [x4, #384]
    ldp q26, q27, [x4, #416]
    ldp q28, q29, [x4, #448]
    ldp q30, q31, [x4, #480]
    ldr x2, [sp, #800]
    ldr x3, [sp, #808]
    msr fpsr, x2
    msr fpcr, x3
    ldp x2, x3, [sp, #256]
    msr elr_el1, x2
    msr spsr_el1, x3
    ldp x2, x3, [sp, #16]
    ldp x4, x5, [sp, #32]
    ldp x6, x7, [sp, #48]
    ldp x8, x9, [sp, #64]
    ldp x10, x11, [sp, #80]
    ldp x12, x13, [sp, #96]
    ldp x14, x15, [sp, #112]
    ldp x16, x17, [sp, #128]
    ldr x30, [sp, #240]
    ldr x29, [sp, #232]
    ldp x0, x1, [sp]
    add sp, sp, #FRAME
    eret

    .section .note.GNU-stack, "", %progbits
