/* SPDX-License-Identifier: ISC */
/* What the files of lib/run share. */
#ifndef LIB_RUN_INTERNAL_H
#define LIB_RUN_INTERNAL_H

#include <mirari/run.h>

#define MIR__TICK_SHIFT 10 /* one tick is 1,024 us */

/** Empty wheel standing at @now_us. */
void mir__wheel_init(struct mir_loop *loop, mir_time_us now_us);
/** Move every timer that is due at @now_us to loop->expired. */
void mir__wheel_advance(struct mir_loop *loop, mir_time_us now_us);
/** When the wheel has something to do next; MIR_TIME_NEVER if it is empty. */
mir_time_us mir__wheel_next(const struct mir_loop *loop);
/** Fire the timers that are in loop->expired now. Returns how many. */
uint32_t mir__timers_fire(struct mir_loop *loop);

/* ---- switch_<arch>.S ---------------------------------------------------------------------- */

/** Save the callee-saved state on the stack, its pointer in *@save_sp; continue at @load_sp. */
void mir__switch(void **save_sp, void *load_sp);
/** A first frame below @top (16-byte aligned) that calls mir__task_main(@arg). Returns its sp. */
void *mir__switch_prepare(void *top, void *arg);
/** Called on the new stack by the first frame. */
MIR_NORETURN void mir__task_main(void *arg);

#endif
