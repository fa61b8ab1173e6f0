/* SPDX-License-Identifier: ISC */
/* The first instructions on aarch64: from whatever the loader left to C.
 *
 * The image is an ELF file whose first bytes, once loaded, are also the header of a Linux image:
 * loaders of either kind start it here. A Linux loader leaves the address of the device tree in x0;
 * one of ELF files leaves nothing, and boot.c looks where such loaders put it. MMU and caches are
 * off, interrupts masked, the exception level is 1 or 2. There is no stack.
 *
 *   down to EL1 -> a root table that maps the 1 GiB around the image and the one around the device
 *     tree as memory, the lowest as devices -> MMU and caches on -> .bss cleared, relocations
 *     applied for where the image was loaded -> mir__boot_prepare() (boot.c) adds the mappings for
 *     good and relocates again -> jump to where the image now is -> mir__boot_enter(), which drops
 *     the first mappings and never returns
 *
 * Code runs at EL1 with SP_EL0 as its stack pointer; exceptions take SP_EL1, so that they have a
 * stack of their own even if the one in use is used up.
 *
 * Below the code: the stack of the loop and that of exceptions, each with a guard page under it.
 */
#include "target/virt/aarch64/layout.h"

    .section .boot, "ax", %progbits
    .globl mir__entry
    .hidden mir__entry
    .type mir__entry, %function
mir__entry:
    msr daifset, #15
    mov x20, x0 /* the device tree */

    mrs x1, CurrentEL
    cmp x1, #(2 << 2)
    b.ne at_el1

    /* EL2: everything to EL1 untrapped, timers and the interrupt controller too. */
    mov x1, #(1 << 31) /* EL1 is 64-bit */
    msr hcr_el2, x1
    mrs x1, cnthctl_el2
    orr x1, x1, #3
    msr cnthctl_el2, x1
    msr cntvoff_el2, xzr
    mov x1, #0x33ff
    msr cptr_el2, x1
    msr hstr_el2, xzr
    msr vttbr_el2, xzr
    mrs x1, midr_el1
    msr vpidr_el2, x1
    mrs x1, mpidr_el1
    msr vmpidr_el2, x1
    mrs x1, id_aa64pfr0_el1
    ubfx x1, x1, #24, #4
    cbz x1, 1f
    mrs x1, s3_4_c12_c9_5 /* ICC_SRE_EL2: registers of GICv3, for EL1 too */
    orr x1, x1, #1
    orr x1, x1, #8
    msr s3_4_c12_c9_5, x1
    isb
    msr s3_4_c12_c11_0, xzr /* ICH_HCR_EL2 */
1:  ldr w1, =MIR__SCTLR_RES1
    msr sctlr_el1, x1
    mov x1, #0x3c5 /* EL1, own stack pointer, all masked */
    msr spsr_el2, x1
    adr x1, at_el1
    msr elr_el2, x1
    eret

at_el1:
    msr spsel, #0
    mov x1, #(3 << 20) /* floating point is for everybody */
    msr cpacr_el1, x1
    isb

    /* The root table. Written without caches: lines that a cache may hold of it go first. */
    adrp x21, mir__boot_table
    add x2, x21, #MIR__PAGE
    mov x1, x21
2:  dc ivac, x1
    stp xzr, xzr, [x1], #16
    cmp x1, x2
    b.lo 2b
    ldr w3, =(MIR__PTE_VALID | MIR__PTE_SHARED | MIR__PTE_ACCESS)
    orr w4, w3, #MIR__PTE_DEVICE
    str x4, [x21] /* the lowest GiB */
    adr x5, mir__entry
    bl map_slot
    cbz x20, 3f
    mov x5, x20
    bl map_slot
3:  dsb sy
    mov x1, x21
4:  dc ivac, x1
    add x1, x1, #16
    cmp x1, x2
    b.lo 4b

    ldr x1, =MIR__MAIR
    msr mair_el1, x1
    ldr x1, =MIR__TCR
    mrs x2, id_aa64mmfr0_el1
    and x2, x2, #7 /* bits of a physical address, at most 48 */
    mov x3, #5
    cmp x2, x3
    csel x2, x2, x3, lo
    orr x1, x1, x2, lsl #32
    msr tcr_el1, x1
    msr ttbr0_el1, x21
    dsb sy
    tlbi vmalle1
    ic iallu
    dsb sy
    isb
    ldr w1, =(MIR__SCTLR_RES1 | MIR__SCTLR_M | MIR__SCTLR_C | MIR__SCTLR_SA | MIR__SCTLR_I)
    msr sctlr_el1, x1
    isb

    adrp x1, mir__bss_start
    add x1, x1, :lo12:mir__bss_start
    adrp x2, mir__bss_end
    add x2, x2, :lo12:mir__bss_end
5:  cmp x1, x2
    b.hs 6f
    stp xzr, xzr, [x1], #16
    b 5b

6:  adr x22, mir__entry
    ldr x1, =(MIR__IMAGE_PHYSICAL + MIR__IMAGE_HEADER)
    sub x22, x22, x1 /* how far from where it was linked */
    mov x0, x22
    mov x1, x22
    bl mir__relocate

    adrp x1, mir__stacks
    add x2, x1, #MIR__STACK_TRAP_HIGH
    msr spsel, #1
    mov sp, x2
    msr spsel, #0
    add x2, x1, #MIR__STACK_LOOP_HIGH
    mov sp, x2
    mov x29, xzr
    mov x30, xzr
    mov x0, x20
    mov x1, x22
    bl mir__boot_prepare
    cbz x0, stop

    /* x0: distance from here to where the image now is as well */
    mov x23, x0
    mov x0, x22         /* where it can be written */
    add x1, x22, x23    /* where it will be */
    bl mir__relocate
    dsb ish
    isb
    adr x1, 7f
    add x1, x1, x23
    br x1
7:  mov x1, sp
    add x1, x1, x23
    mov sp, x1
    msr spsel, #1
    mov x1, sp
    add x1, x1, x23
    mov sp, x1
    msr spsel, #0
    mov x0, x23
    mov x29, xzr
    mov x30, xzr
    bl mir__boot_enter
stop:
    wfi
    b stop

/* The GiB around the address x5, as memory. */
map_slot:
    lsr x6, x5, #MIR__SLOT_BITS
    cmp x6, #MIR__SLOT_FIRST
    b.hs stop
    cbz x6, 8f
    orr x7, x3, x6, lsl #MIR__SLOT_BITS
    str x7, [x21, x6, lsl #3]
8:  ret

/* Apply the relocations of an image that lies x0 above where it was linked, for running x1 above.
 * Position-independent code has one kind only. */
    .globl mir__relocate
    .hidden mir__relocate
mir__relocate:
    adrp x2, mir__rela_start
    add x2, x2, :lo12:mir__rela_start
    adrp x3, mir__rela_end
    add x3, x3, :lo12:mir__rela_end
9:  cmp x2, x3
    b.hs 10f
    ldp x4, x5, [x2]
    ldr x6, [x2, #16]
    add x2, x2, #24
    cmp w5, #MIR__R_RELATIVE
    b.ne stop
    add x6, x6, x1
    str x6, [x4, x0]
    b 9b
10: ret

    .ltorg
    .size mir__entry, . - mir__entry

    .section .stacks, "aw", %nobits
    .p2align 12
    .globl mir__stacks
    .hidden mir__stacks
mir__stacks:
    .skip MIR__STACKS
    .globl mir__boot_table
    .hidden mir__boot_table
mir__boot_table:
    .skip MIR__PAGE

    .section .note.GNU-stack, "", %progbits
