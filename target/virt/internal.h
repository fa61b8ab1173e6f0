/* SPDX-License-Identifier: ISC */
/* What the files of target virt know of each other. Not public.
 *
 *   arch.h       what an architecture gives; x86_64/, aarch64/
 *   memory.c     the memory map the loader told, made usable
 *   start.c      from the boot information to mir_app_main() and the exit status
 */
#ifndef TARGET_VIRT_INTERNAL_H
#define TARGET_VIRT_INTERNAL_H

#include "target/virt/arch.h"

/* As in target unix. */
#define MIR__EXIT_USAGE       64
#define MIR__EXIT_UNAVAILABLE 69
#define MIR__EXIT_CRASH       70

/* ---- memory.c ------------------------------------------------------------------------------- */

/* All of it runs before the image is relocated: no pointers in static data. */

/** Whole pages of [base, base+size) are usable. Ranges beyond MIR__REGIONS_MAX are not used. */
void mir__memory_add(struct mir__boot *boot, uint64_t base, uint64_t size);
/** They are not, whatever else was said; every page that is touched goes. After all additions. */
void mir__memory_cut(struct mir__boot *boot, uint64_t base, uint64_t size);
/** Keep a copy of the command line, NUL-terminated or [max] bytes long. */
void mir__memory_command_line(struct mir__boot *boot, const char *text, size_t max);

#endif
