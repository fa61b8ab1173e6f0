/* SPDX-License-Identifier: ISC */
/* The first instructions on x86-64: from 32-bit protected mode to C.
 *
 * Both protocols arrive here alike: flat 32-bit segments, no paging, interrupts off; ebx points at
 * what the loader tells (a start_info of PVH, an information block of Multiboot2), eax holds the
 * magic number of Multiboot2. There is no stack. Nothing here may need a relocation: addresses are
 * relative to where the code runs.
 *
 *   tables that map the lowest 4 GiB onto themselves -> long mode -> mir__boot_prepare() (boot.c)
 *     builds the real tables and relocates the image -> jump to where the image now is
 *     -> mir__boot_enter(), which drops the first tables and never returns
 *
 * Below the code: the stack of the loop and those of exceptions, a guard page under each.
 */
#include "target/virt/x86_64/layout.h"

#define CR0_PE         (1 << 0)
#define CR0_MP         (1 << 1)
#define CR0_EM         (1 << 2)
#define CR0_TS         (1 << 3)
#define CR0_WP         (1 << 16)
#define CR0_PG         (1 << 31)
#define CR4_PAE        (1 << 5)
#define CR4_OSFXSR     (1 << 9)
#define CR4_OSXMMEXCPT (1 << 10)
#define MSR_EFER       0xc0000080
#define EFER_LME       (1 << 8)

    .section .boot, "ax", @progbits
boot_begin:
    .globl mir__image_start
    .hidden mir__image_start
    .set mir__image_start, boot_begin - MIR__IMAGE_HEADERS
    .p2align 3
multiboot2_header:
    .long 0xe85250d6, 0, multiboot2_end - multiboot2_header
    .long -(0xe85250d6 + 0 + (multiboot2_end - multiboot2_header))
    .short 0, 0
    .long 8
multiboot2_end:

    .p2align 3
    .skip 16
scratch_top:

    .code32
    .globl mir__entry
    .hidden mir__entry
    .type mir__entry, @function
mir__entry:
    cli
    cld
    movl $(MIR__IMAGE_PHYSICAL + MIR__IMAGE_HEADERS + scratch_top - boot_begin), %esp
    movl %eax, %esi
    movl %ebx, %edi
    call 1f
1:  popl %ebp

    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb no_long_mode
    movl $0x80000001, %eax
    cpuid
    btl $29, %edx
    jnc no_long_mode

    /* pml4[0] -> pdpt; pdpt[0 .. 3] -> four directories of 2 MiB pages */
    leal mir__boot_tables - 1b(%ebp), %eax
    leal 0x1003(%eax), %ecx
    movl %ecx, (%eax)
    leal 0x2003(%eax), %ecx
    movl %ecx, 0x1000(%eax)
    addl $0x1000, %ecx
    movl %ecx, 0x1008(%eax)
    addl $0x1000, %ecx
    movl %ecx, 0x1010(%eax)
    addl $0x1000, %ecx
    movl %ecx, 0x1018(%eax)
    leal 0x2000(%eax), %ecx
    movl $0x83, %edx
2:  movl %edx, (%ecx)
    addl $8, %ecx
    addl $0x200000, %edx
    cmpl $0x83, %edx
    jne 2b

    movl %eax, %cr3
    movl %cr4, %eax
    orl $(CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT), %eax
    movl %eax, %cr4
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME, %eax
    wrmsr
    movl %cr0, %eax
    andl $~(CR0_EM | CR0_TS), %eax
    orl $(CR0_PG | CR0_WP | CR0_MP | CR0_PE), %eax
    movl %eax, %cr0

    leal boot_gdt - 1b(%ebp), %eax
    pushl %eax
    pushw $(boot_gdt_end - boot_gdt - 1)
    lgdt (%esp)
    addl $6, %esp
    leal long_mode - 1b(%ebp), %eax
    pushl $MIR__SELECTOR_CODE
    pushl %eax
    lret

/* A message on the serial port; the ports work without a set-up on every virtual machine. */
no_long_mode:
    leal no_long_mode_text - 1b(%ebp), %esi
3:  lodsb
    testb %al, %al
    jz 4f
    movw $0x3f8, %dx
    outb %al, %dx
    jmp 3b
4:  hlt
    jmp 4b
no_long_mode_text:
    .asciz "mirari: this CPU has no 64-bit mode\n"

    .p2align 3
boot_gdt:
    .quad 0
    .quad MIR__DESCRIPTOR_CODE
    .quad MIR__DESCRIPTOR_DATA
boot_gdt_end:

    .code64
long_mode:
    movl $MIR__SELECTOR_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    fninit
    /* The upper halves are not zero by promise. */
    movl %edi, %edi
    movl %esi, %esi
    leaq mir__stacks + MIR__STACK_LOOP_HIGH(%rip), %rsp
    xorl %ebp, %ebp
    call mir__boot_prepare
    /* rax: distance from here to where the image is now as well */
    leaq high(%rip), %rcx
    addq %rax, %rcx
    jmp *%rcx
high:
    leaq mir__stacks + MIR__STACK_LOOP_HIGH(%rip), %rsp
    xorl %ebp, %ebp
    pushq $0
    pushq $0
    call mir__boot_enter
    ud2

    .section .stacks, "aw", @nobits
    .p2align 12
    .globl mir__stacks
    .hidden mir__stacks
mir__stacks:
    .skip MIR__STACKS

/* An image with a relocation always has a table of them, which image.lds names. */
    .section .data.rel.ro.anchor, "aw", @progbits
    .p2align 3
    .quad mir__entry

    .section .bss.mir__boot_tables, "aw", @nobits
    .p2align 12
    .globl mir__boot_tables
    .hidden mir__boot_tables
mir__boot_tables:
    .skip 6 * MIR__PAGE

    .section .note.GNU-stack, "", @progbits
