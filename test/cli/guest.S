/* SPDX-License-Identifier: ISC */
/* A guest for tests of `mirari run -t virt`: says "ready" on the serial port and does what it reads.
 *
 *   0x03, 'e'  prints "last words", ends with status 3      'p'  tells pvpanic, then ends
 *   'r'        resets the machine by a triple fault         'd'  hears nothing any more
 *   'c'        prints its command line                      else the byte comes back
 *
 * 32-bit code, entered as PVH has it: ebx points at hvm_start_info, whose command line is at 24.
 */
#define COM1   0x3f8
#define STATUS 0x3fd

    .section .note.pvh, "a", @note
    .long 4, 4, 18
    .asciz "Xen"
    .long start

    .text
    .code32
    .globl start
start:
    movl $stack, %esp
    movl %ebx, %ebp
    movl $ready, %esi
    call print
next:
    call read
    cmpb $3, %al
    je ended
    cmpb $'e', %al
    je ended
    cmpb $'p', %al
    je panics
    cmpb $'r', %al
    je resets
    cmpb $'d', %al
    je deaf
    cmpb $'c', %al
    je shows
    call put
    jmp next

ended:
    movl $words, %esi
    call print
    movw $0x501, %dx
    movw $3, %ax
    outw %ax, %dx
deaf:
    jmp deaf

panics:
    movw $0x505, %dx
    movb $1, %al
    outb %al, %dx
    jmp ended

resets:
    lidt none
    ud2

shows:
    movl 24(%ebp), %esi
    call print
    movb $'\n', %al
    call put
    jmp next

read:
    movw $STATUS, %dx
1:  inb %dx, %al
    testb $1, %al
    jz 1b
    movw $COM1, %dx
    inb %dx, %al
    ret

put:
    movb %al, %cl
    movw $STATUS, %dx
1:  inb %dx, %al
    testb $0x20, %al
    jz 1b
    movb %cl, %al
    movw $COM1, %dx
    outb %al, %dx
    ret

print:
    lodsb
    testb %al, %al
    jz 1f
    call put
    jmp print
1:  ret

    .section .rodata
ready: .asciz "ready\n"
words: .asciz "last words\n"
    .align 8
none: .long 0, 0

    .bss
    .skip 4096
stack:

    .section .note.GNU-stack, "", @progbits
