/* SPDX-License-Identifier: ISC */
/* Registers that are mapped into memory: one access of exactly the width asked for each.
 *
 * The compiler may not merge, split or reorder them (volatile); the target has mapped them so that
 * the processor does not either. Order against ordinary memory is the ring's business.
 */
#include "dev/virtio/regs.h"

static uint32_t read_mapped(const struct mir_regs *regs, uint32_t offset, unsigned width)
{
    uintptr_t at = regs->at + offset;
    if (width == 4)
        return *(volatile uint32_t *)at;
    return width == 2 ? *(volatile uint16_t *)at : *(volatile uint8_t *)at;
}

static void write_mapped(const struct mir_regs *regs, uint32_t offset, unsigned width,
                         uint32_t value)
{
    uintptr_t at = regs->at + offset;
    if (width == 4)
        *(volatile uint32_t *)at = value;
    else if (width == 2)
        *(volatile uint16_t *)at = (uint16_t)value;
    else
        *(volatile uint8_t *)at = (uint8_t)value;
}

struct mir_regs mir_regs_mapped(volatile void *base, uint32_t size_bytes)
{
    return (struct mir_regs){.read = read_mapped,
                             .write = write_mapped,
                             .at = (uintptr_t)base,
                             .size_bytes = size_bytes};
}
