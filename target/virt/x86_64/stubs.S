/* SPDX-License-Identifier: ISC */
/* Where the CPU goes on exceptions and interrupts: one stub of 16 bytes for each vector.
 *
 * An exception saves every register in a struct mir__trap_registers (internal.h) and calls
 * mir__trap_enter(), which returns only if it made a page of a stack present. An interrupt saves
 * what C may change, and calls mir__irq_enter(), which is compiled without vector registers.
 */
#include "target/virt/x86_64/layout.h"

    .section .text.mir__stubs, "ax", @progbits
    .globl mir__stubs
    .hidden mir__stubs
    .p2align 4
mir__stubs:
    .set vector, 0
    .rept MIR__EXCEPTIONS
    .balign 16, 0xcc
    /* Exceptions 8, 10 to 14, 17, 21, 29 and 30 push an error code. */
    .if !((0x60227d00 >> vector) & 1)
    pushq $0
    .endif
    pushq $vector
    jmp exception
    .set vector, vector + 1
    .endr
    .rept MIR__INTERRUPTS
    .balign 16, 0xcc
    pushq $vector
    jmp interrupt
    .set vector, vector + 1
    .endr

    .type exception, @function
exception:
    cld
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rdi
    movq %rsp, %rbx
    andq $~15, %rsp
    call mir__trap_enter
    movq %rbx, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp
    iretq
    .size exception, . - exception

    .type interrupt, @function
interrupt:
    cld
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    movl 72(%rsp), %edi
    subq $8, %rsp
    call mir__irq_enter
    addq $8, %rsp
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
    addq $8, %rsp
    iretq
    .size interrupt, . - interrupt

    .section .note.GNU-stack, "", @progbits
