/* SPDX-License-Identifier: ISC */
/* What the files of target virt for aarch64 know of each other.
 *
 *   start.S    first instructions; stacks
 *   boot.c     what the loader tells: the device tree; order of the set-up
 *   paging.c   page tables, where everything is
 *   vectors.S, traps.c   exceptions
 *   serial.c   the console: PL011
 *   clock.c    generic timer, PL031
 *   irq.c      GICv2 and GICv3, sleeping
 *   pci.c      ECAM, addresses for devices, interrupt lines
 *   power.c    exit status, PSCI, power button
 *   random.c   random numbers of the CPU
 */
#ifndef TARGET_VIRT_AARCH64_INTERNAL_H
#define TARGET_VIRT_AARCH64_INTERNAL_H

#include "lib/fdt/fdt.h"
#include "target/virt/aarch64/cpu.h"
#include "target/virt/aarch64/layout.h"
#include "target/virt/internal.h"

/* ---- image.lds, start.S --------------------------------------------------------------------- */

/** Where the parts of the image end and begin, as offsets from its first byte. */
struct mir__layout {
    uint64_t text_end, constants, data, end;
    uint64_t tls, tls_filled, tls_size, tls_align; /* template of thread-local variables */
};
extern const struct mir__layout mir__layout;

extern uint8_t mir__stacks[MIR__STACKS]; /* layout.h */
extern uint64_t mir__boot_table[MIR__SLOTS];

/* ---- boot.c --------------------------------------------------------------------------------- */

/** From start.S, at physical addresses: @fdt is what the loader left in x0, @bias how far from
 *  where it was linked the image lies. Returns how far above the image is now mapped as well. */
uint64_t mir__boot_prepare(uint64_t fdt, uint64_t bias);
/** From start.S, at the addresses for good, @delta above the physical ones. */
MIR_NORETURN void mir__boot_enter(uint64_t delta);

/** The tree of the machine: first at its physical address, then mapped for reading. */
extern struct mir__fdt mir__fdt;

/** The first node compatible with @what; with its first registers mapped if @registers is not
 *  NULL. Returns 0, -MIR_ENOENT, -MIR_ENOMEM. */
int mir__fdt_device(const char *what, struct mir__fdt_walk *walk,
                    volatile uint8_t **registers) MIR_CHECK;
/** Interrupt number @index of the node: SPIs from 32, PPIs from 16 on. */
int mir__fdt_interrupt(const struct mir__fdt_walk *walk, uint32_t index, uint32_t *intid,
                       bool *is_level) MIR_CHECK;

/* ---- paging.c ------------------------------------------------------------------------------- */

/** Build the tables, all still at physical addresses; the image begins at @image. Returns the
 *  distance between the old and the new address of the image, or 0 if there is not enough memory
 *  for the tables. */
uint64_t mir__paging_prepare(uint64_t image, const uint64_t random[3]);
/** The image is where it stays: the first mappings go, nothing is both writable and executable. */
void mir__paging_enter(uint64_t delta);
/** What the hardware says @address leads to; false if to nothing. */
bool mir__paging_translate(uint64_t address, uint64_t *physical);

/* ---- traps.c, vectors.S --------------------------------------------------------------------- */

extern const uint8_t mir__vectors[];
void mir__traps_open(void);

/* ---- serial.c ------------------------------------------------------------------------------- */

/** Write to registers at @base from now on. */
void mir__serial_use(volatile uint8_t *base);
/** Map the registers of the console and use them. */
void mir__serial_open(void);

/* ---- irq.c ---------------------------------------------------------------------------------- */

/** Interrupt @intid as the controller counts (SPIs from 32, PPIs from 16). As
 *  mir__arch_irq_line(). */
int mir__irq_take_intid(uint32_t intid, bool is_level, unsigned *slot) MIR_CHECK;

/* ---- clock.c -------------------------------------------------------------------------------- */

/** Raise it at @deadline_us, or never again until told. */
void mir__timer_set(mir_time_us deadline_us);
void mir__timer_clear(void);

/* ---- random.c ------------------------------------------------------------------------------- */

/** 64 bits of the CPU's generator. False: there is none, or it gave nothing. */
bool mir__random_cpu(uint64_t *value);
/** [len] random bytes from the loader. */
void mir__random_seed(const uint8_t *bytes, uint32_t len);

/* ---- power.c -------------------------------------------------------------------------------- */

/** If the instruction at @pc is the call of a debugger's exit that nobody took: where to go on. */
bool mir__semihosting_refused(uintptr_t pc, uintptr_t *next);

#endif
