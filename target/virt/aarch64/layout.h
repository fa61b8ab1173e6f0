/* SPDX-License-Identifier: ISC */
/* Numbers that assembly and C share: where the image is linked, sizes of stacks, page tables.
 *
 * Virtual addresses have 39 bits: one table with 512 entries of 1 GiB is the root. Who lives in
 * which entries is written here; where exactly inside is drawn at random at every boot.
 *
 *     0 ..   3   the machine as it is, while starting; nothing afterwards (so NULL is unmapped)
 *    64 .. 127   the image
 *   128 .. 255   memory of the appliance
 *   256 .. 383   stacks
 *   384 .. 511   registers of devices and tables of the firmware
 */
#ifndef TARGET_VIRT_AARCH64_LAYOUT_H
#define TARGET_VIRT_AARCH64_LAYOUT_H

/* As in image.lds. */
#define MIR__IMAGE_PHYSICAL 0x40100000
#define MIR__IMAGE_HEADER   64

#define MIR__PAGE 4096

/* One piece of memory with the stacks that are there from the start, as offsets of their upper
 * ends: a guard page and the stack of the loop, a guard page and the one of exceptions. */
#define MIR__LOOP_STACK      (64 * 1024)
#define MIR__TRAP_STACK      (16 * 1024)
#define MIR__STACK_LOOP_HIGH (MIR__PAGE + MIR__LOOP_STACK)
#define MIR__STACK_TRAP_HIGH (MIR__STACK_LOOP_HIGH + MIR__PAGE + MIR__TRAP_STACK)
#define MIR__STACKS          MIR__STACK_TRAP_HIGH

#define MIR__SLOT_BITS    30
#define MIR__SLOT_FIRST   4 /* below: as the machine is */
#define MIR__SLOT_IMAGE   64
#define MIR__SLOT_MEMORY  128
#define MIR__SLOT_STACKS  256
#define MIR__SLOT_DEVICES 384
#define MIR__SLOTS        512

/* Bits of a descriptor. */
#define MIR__PTE_VALID  (1 << 0)
#define MIR__PTE_TABLE  (1 << 1) /* levels 1 and 2: a table; level 3: a page */
#define MIR__PTE_DEVICE (1 << 2) /* second entry of MAIR */
#define MIR__PTE_READ   (1 << 7) /* not writable */
#define MIR__PTE_SHARED (3 << 8) /* inner shareable */
#define MIR__PTE_ACCESS (1 << 10)

/* Normal memory, cached; device memory, no gathering, no reordering. */
#define MIR__MAIR 0x04ff

/* 39 bits, cached and inner shareable walks, 4 KiB pages, nothing in the upper half. */
#define MIR__TCR (25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23)

#define MIR__SCTLR_RES1 0x30d00800
#define MIR__SCTLR_M    (1 << 0)
#define MIR__SCTLR_C    (1 << 2)
#define MIR__SCTLR_SA   (1 << 3)
#define MIR__SCTLR_I    (1 << 12)
#define MIR__SCTLR_WXN  (1 << 19)

#define MIR__R_RELATIVE 0x403

#endif
