/* SPDX-License-Identifier: ISC */
/* Numbers that assembly and C share: where the image is, segments, sizes of stacks. */
#ifndef TARGET_VIRT_X86_64_LAYOUT_H
#define TARGET_VIRT_X86_64_LAYOUT_H

/* As in image.lds. */
#define MIR__IMAGE_PHYSICAL 0x100000
#define MIR__IMAGE_HEADERS  0x200

#define MIR__PAGE 4096

/* One piece of memory with all stacks that are there from the start, as offsets of their upper
 * ends: a guard page and the stack of the loop, then a guard page and a stack for each kind of
 * exception that cannot use the one it finds. */
#define MIR__LOOP_STACK         (64 * 1024)
#define MIR__TRAP_STACK         8192
#define MIR__TRAP_STACKS        4
#define MIR__STACK_LOOP_HIGH    (MIR__PAGE + MIR__LOOP_STACK)
#define MIR__STACK_TRAP_HIGH(n) (MIR__STACK_LOOP_HIGH + ((n) + 1) * (MIR__PAGE + MIR__TRAP_STACK))
#define MIR__STACKS             MIR__STACK_TRAP_HIGH(MIR__TRAP_STACKS - 1)

/* Vectors: exceptions of the CPU, then interrupts. */
#define MIR__EXCEPTIONS 32
#define MIR__INTERRUPTS 64

#define MIR__SELECTOR_CODE 0x08
#define MIR__SELECTOR_DATA 0x10
#define MIR__SELECTOR_TSS  0x18

/* Flat, present, ring 0, accessed. */
#define MIR__DESCRIPTOR_CODE 0x00af9b000000ffff
#define MIR__DESCRIPTOR_DATA 0x00cf93000000ffff

#endif
