/* SPDX-License-Identifier: ISC */
/* What the files of target virt for x86-64 know of each other.
 *
 *   start.S    first instructions; stacks
 *   boot.c     what the loader tells; order of the set-up
 *   paging.c   page tables, where everything is
 *   serial.c   the console
 *   power.c    exit status, power off, power button
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

#endif
