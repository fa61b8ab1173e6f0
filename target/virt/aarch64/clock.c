/* SPDX-License-Identifier: ISC */
/* Time: the generic timer's virtual counter, and the PL031 for the date.
 *
 * The counter never stops and never changes its speed; a hypervisor that pauses the machine may
 * let it stand still meanwhile. Its comparator raises the interrupt that ends a sleep. Ticks become
 * microseconds, and back, by a multiplication with 32 fractional bits, whose error is below a
 * millisecond in a month.
 *
 * The PL031 counts seconds: the date is right to a second, and counted on from there.
 *
 * Source: Arm Architecture Reference Manual, D11 (the Generic Timer); PL031 Technical Reference
 * Manual, DDI 0224.
 */
#include "target/virt/aarch64/internal.h"

#define CONTROL_ENABLE 1u
#define SLEEP_MAX_US   (3600 * MIR_US_PER_S)
#define RTC_DATA       0x00

/* Monotonic time begins anywhere but zero. */
#define EPOCH_US MIR_US_PER_S

typedef unsigned __int128 wide;

static uint64_t us_per_tick, ticks_per_us; /* 32 fractional bits */
static uint64_t first_tick;
static mir_time_us wall_offset_us; /* 0 = unknown */

static uint64_t ticks(void)
{
    mir__isb(); /* not earlier than the instructions before */
    return mir__read_sysreg(cntvct_el0);
}

int mir__arch_clock_open(void)
{
    struct mir__fdt_walk walk;
    volatile uint8_t *rtc;
    uint64_t frequency = mir__read_sysreg(cntfrq_el0);
    if (frequency < 1000000 || frequency >> 32 != 0)
        return -MIR_ENOTSUP;
    us_per_tick = (MIR_US_PER_S << 32) / frequency;
    ticks_per_us = (frequency << 32) / MIR_US_PER_S;
    first_tick = ticks();
    if (mir__fdt_device("arm,pl031", &walk, &rtc) == 0)
        wall_offset_us = mir__mmio_read32(rtc + RTC_DATA) * MIR_US_PER_S - EPOCH_US;
    return 0;
}

mir_time_us mir__arch_monotonic_us(void)
{
    return (mir_time_us)((wide)(ticks() - first_tick) * us_per_tick >> 32) + EPOCH_US;
}

mir_time_us mir__arch_wall_us(void)
{
    return wall_offset_us == 0 ? 0 : wall_offset_us + mir__arch_monotonic_us();
}

const char *mir__arch_clock_name(void)
{
    return "generic timer";
}

void mir__timer_set(mir_time_us deadline_us)
{
    mir_time_us now_us = mir__arch_monotonic_us();
    mir_time_us at_us = deadline_us - EPOCH_US;
    /* Whoever sleeps longer wakes up and sleeps again. */
    if (deadline_us > now_us + SLEEP_MAX_US)
        at_us = now_us + SLEEP_MAX_US - EPOCH_US;
    uint64_t at = (uint64_t)((wide)at_us * ticks_per_us >> 32);
    mir__write_sysreg(cntv_cval_el0, first_tick + at + 1);
    mir__write_sysreg(cntv_ctl_el0, CONTROL_ENABLE);
    mir__isb();
}

void mir__timer_clear(void)
{
    mir__write_sysreg(cntv_ctl_el0, 0);
    mir__isb();
}
