/* SPDX-License-Identifier: ISC */
/* What the files of target virt for x86-64 know of each other.
 *
 *   start.S    first instructions; stacks
 *   boot.c     what the loader tells; order of the set-up
 *   paging.c   page tables, where everything is
 *   stubs.S    stubs of exceptions and interrupts
 *   traps.c    segments, interrupt table, exceptions, call chains
 *   irq.c      interrupt controllers, sleeping
 *   acpi.c     tables of the firmware
 *   clock.c    time
 *   pci.c      configuration space, ports
 *   serial.c   the console
 *   power.c    exit status, power off, power button
 *   random.c   random numbers of the CPU
 */
#ifndef TARGET_VIRT_X86_64_INTERNAL_H
#define TARGET_VIRT_X86_64_INTERNAL_H

#include "target/virt/internal.h"
#include "target/virt/x86_64/cpu.h"
#include "target/virt/x86_64/layout.h"

/* ---- image.lds, start.S --------------------------------------------------------------------- */

/** First byte of the image. */
extern const uint8_t mir__image_start[];
/** Where its parts end and begin, as offsets from there: numbers, so that no relocation matters. */
struct mir__layout {
    uint64_t text_end, constants, data, end;
    uint64_t tls, tls_filled, tls_size; /* template of thread-local variables; sizes */
};
extern const struct mir__layout mir__layout;

extern uint8_t mir__stacks[MIR__STACKS]; /* layout.h */
extern uint64_t mir__boot_tables[];

/* ---- boot.c --------------------------------------------------------------------------------- */

/** From start.S, at physical addresses: @info and @magic are what the loader left in ebx and eax.
 *  Returns how far above the image is now mapped as well. */
uint64_t mir__boot_prepare(uint64_t info, uint64_t magic);
/** From start.S, at the addresses for good. */
MIR_NORETURN void mir__boot_enter(void);

/* ---- paging.c ------------------------------------------------------------------------------- */

/** Build the tables and move the image, all still at physical addresses. @random is 64 random
 *  bits. Returns the distance between the old and the new address of the image, or 0 if there is
 *  not enough memory for the tables. */
uint64_t mir__paging_prepare(const uint64_t random[3]);
/** Use them; the lowest 4 GiB are no longer mapped. */
void mir__paging_enter(void);

/* ---- serial.c ------------------------------------------------------------------------------- */

void mir__serial_open(void);

/* ---- traps.c -------------------------------------------------------------------------------- */

/** As stubs.S pushes them, and then the CPU. */
struct mir__trap_registers {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error, rip, cs, flags, rsp, ss;
};

/** From now on exceptions are reported. */
void mir__traps_open(void);
/** From stubs.S. Returns if the task can go on. */
void mir__trap_enter(const struct mir__trap_registers *registers);

/* ---- irq.c ---------------------------------------------------------------------------------- */

/** From stubs.S. */
void mir__irq_enter(uint32_t vector);
/** The line of an ISA interrupt, as ACPI has it; @is_pci: what a PCI device was routed to. Returns
 *  as mir__arch_irq_line(). */
int mir__irq_isa(unsigned irq, bool is_pci, unsigned *slot) MIR_CHECK;
/** The timer that ends sleeps, for its calibration: it counts down from @count; 0 stops it. */
void mir__irq_timer_start(uint32_t count);
uint32_t mir__irq_timer_count(void);

/* ---- clock.c -------------------------------------------------------------------------------- */

/** What the time stamp counter shows, or how often the timer ticks, after @delay_us. */
uint64_t mir__clock_tsc_after(mir_time_us delay_us);
uint32_t mir__clock_timer_ticks(mir_time_us delay_us);

#endif
