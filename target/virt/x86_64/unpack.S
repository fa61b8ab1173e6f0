/* SPDX-License-Identifier: ISC */
/* What stands in front of a packed image on x86-64 and unpacks it to where it was linked.
 *
 * `mirari build` takes these bytes out of the image that it has linked (cmd/mirari/pack.c), fills the
 * empty fields in, and puts the packed image behind them. So nothing here is relocated, and no image
 * loads it: its section is one of those that `strip` removes.
 *
 *   0    header of Multiboot2
 *   24   note of PVH, with the address of the code below
 *   64   where the packed bytes begin and end, where the image begins and ends in memory, its entry
 *   128  code; its first instruction takes the address of all this, which the tool fills in at 129
 *
 * It arrives as in start.S: 32-bit, no paging, interrupts off, eax and ebx say who has loaded it and
 * what that tells. Both are as they were when the image begins. Memory of the image that is not in
 * its file was cleared by the loader: it belongs to a segment of the packed one.
 *
 * Packed bytes are sequences of the LZ4 block format: token, literals, distance, more of the length.
 * Behind the last literals there is no distance. They were unpacked once by whoever wrote them and
 * lie in memory beside this, so they are believed.
 */
    .section .debug_unpack, "", @progbits
    .globl mir__unpack
    .hidden mir__unpack
mir__unpack:
multiboot2_header:
    .long 0xe85250d6, 0, multiboot2_end - multiboot2_header
    .long -(0xe85250d6 + 0 + (multiboot2_end - multiboot2_header))
    .short 0, 0
    .long 8
multiboot2_end:
    .long 4, 4, 18, 0x006e6558 /* Xen note 18 */
    .long 0                    /* address of the code */

    .org mir__unpack + 64
packed_begin:
    .quad 0
packed_end:
    .quad 0
image_begin:
    .quad 0
image_end:
    .quad 0
image_entry:
    .quad 0

/* esi next packed byte, edi next byte of the image, ecx a length, edx the token, then where a match is;
 * ebp the address of all this, esp what eax was. Nothing is written but the image: a stack here would be in the
 * page of the code, which an emulator watches, and takes twenty milliseconds instead of five. */
    .org mir__unpack + 128
    .code32
    .byte 0xbd /* movl $address, %ebp: what is in the file is where the loader has put it */
    .long 0
    cli
    cld
    movl %eax, %esp
    movl packed_begin - mir__unpack(%ebp), %esi
    movl image_begin - mir__unpack(%ebp), %edi

next_sequence:
    movzbl (%esi), %edx
    incl %esi
    movl %edx, %ecx
    shrl $4, %ecx
    cmpl $15, %ecx
    jne 2f
1:  movzbl (%esi), %eax
    incl %esi
    addl %eax, %ecx
    cmpl $255, %eax
    je 1b
2:  subl $4, %ecx
    jb 4f
3:  movl (%esi), %eax
    movl %eax, (%edi)
    addl $4, %esi
    addl $4, %edi
    subl $4, %ecx
    jae 3b
4:  addl $4, %ecx
    jz 6f
5:  movb (%esi), %al
    movb %al, (%edi)
    incl %esi
    incl %edi
    decl %ecx
    jnz 5b
6:  cmpl packed_end - mir__unpack(%ebp), %esi
    jae done

    movl %edx, %ecx
    movzwl (%esi), %eax
    addl $2, %esi
    movl %edi, %edx
    subl %eax, %edx
    andl $15, %ecx
    cmpl $15, %ecx
    jne 8f
7:  movzbl (%esi), %eax
    incl %esi
    addl %eax, %ecx
    cmpl $255, %eax
    je 7b
8:  addl $4, %ecx
    leal 4(%edx), %eax
    cmpl %edi, %eax
    ja 10f /* it overlaps what it makes */
    subl $4, %ecx
9:  movl (%edx), %eax
    movl %eax, (%edi)
    addl $4, %edx
    addl $4, %edi
    subl $4, %ecx
    jae 9b
    addl $4, %ecx
    jz next_sequence
10: movb (%edx), %al
    movb %al, (%edi)
    incl %edx
    incl %edi
    decl %ecx
    jnz 10b
    jmp next_sequence

done:
    movl %esp, %eax
    jmp *image_entry - mir__unpack(%ebp)
    .balign 16

    .section .note.GNU-stack, "", @progbits
