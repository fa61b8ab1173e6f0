/* SPDX-License-Identifier: ISC */
/* Context switch for x86-64, System V ABI.
 *
 * A context that does not run is a stack pointer; it points at this frame:
 *
 *      0  mxcsr (4 bytes), x87 control word (2 bytes)
 *      8  r15   16  r14   24  r13   32  r12   40  rbx   48  rbp
 *     56  return address
 *
 * Everything else is caller-saved, and the compiler has dealt with it at the call. Control words are
 * callee-saved by the ABI. To load them is slow, and they rarely differ: they are compared first. The
 * low six bits of mxcsr are status (an inexact result has been seen), not control, and not compared.
 *
 * Call frame information holds at every instruction: both stacks have the same frame when the
 * pointer changes, so gdb and perf unwind through a switch. A task's first frame has no caller
 * (undefined rip, zero rbp) and ends the backtrace.
 */

/* Images of target virt load no .eh_frame; their debuggers read the other section. */
    .cfi_sections .eh_frame, .debug_frame

/* void mir__switch(void **save_sp, void *load_sp) */
    .section .text.mir__switch, "ax", @progbits
    .globl mir__switch
    .hidden mir__switch
    .type mir__switch, @function
    .p2align 4
mir__switch:
    .cfi_startproc
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r15, 0
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movl (%rsp), %eax
    movzwl 4(%rsp), %edx

    movq %rsp, (%rdi)
    movq %rsi, %rsp

    xorl (%rsp), %eax
    testl $0xffffffc0, %eax
    je 1f
    ldmxcsr (%rsp)
1:  cmpw 4(%rsp), %dx
    je 2f
    fldcw 4(%rsp)
2:  addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore r12
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbp
    ret
    .cfi_endproc
    .size mir__switch, . - mir__switch

/* void *mir__switch_prepare(void *top, void *arg): the frame above, returning to task_start */
    .section .text.mir__switch_prepare, "ax", @progbits
    .globl mir__switch_prepare
    .hidden mir__switch_prepare
    .type mir__switch_prepare, @function
    .p2align 4
mir__switch_prepare:
    .cfi_startproc
    leaq -64(%rdi), %rax
    stmxcsr (%rax)
    fnstcw 4(%rax)
    xorl %ecx, %ecx
    movq %rcx, 8(%rax)
    movq %rcx, 16(%rax)
    movq %rcx, 24(%rax)
    movq %rcx, 32(%rax)
    movq %rsi, 40(%rax)
    movq %rcx, 48(%rax)
    leaq task_start(%rip), %rdx
    movq %rdx, 56(%rax)
    ret
    .cfi_endproc
    .size mir__switch_prepare, . - mir__switch_prepare

/* Where a task begins: arg in rbx, rsp = top. Unwinders look up the byte before a return address, and
 * this one is returned to: the nop is there for them. */
    .type task_start, @function
    .p2align 4
    .cfi_startproc
    .cfi_undefined rip
    nop
task_start:
    movq %rbx, %rdi
    call mir__task_main
    ud2
    .cfi_endproc
    .size task_start, . - task_start

    .section .note.GNU-stack, "", @progbits
