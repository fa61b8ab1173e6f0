/* SPDX-License-Identifier: ISC */
/* A window of a device's registers: mapped memory, I/O ports, or a device that a test simulates.
 *
 * Everything a driver does with registers goes through here, so that it runs the same under a
 * target and under a test. Registers are little-endian, like every machine of ours.
 */
#ifndef DEV_VIRTIO_REGS_H
#define DEV_VIRTIO_REGS_H

#include <mirari/base.h>

struct mir_regs {
    /** @width is 1, 2 or 4 bytes; @offset is a multiple of it. */
    uint32_t (*read)(const struct mir_regs *regs, uint32_t offset, unsigned width);
    void (*write)(const struct mir_regs *regs, uint32_t offset, unsigned width, uint32_t value);
    uintptr_t at;        /**< address or first port; free for a simulated device */
    uint32_t size_bytes; /**< nothing outside is touched */
};

/** A window on registers that are mapped at @base, uncached. Returns it. Source: none. */
struct mir_regs mir_regs_mapped(volatile void *base, uint32_t size_bytes);

static inline uint32_t mir_regs_read(const struct mir_regs *regs, uint32_t offset, unsigned width)
{
    MIR_ASSERT_OP((uint64_t)offset + width, <=, regs->size_bytes);
    return regs->read(regs, offset, width);
}

static inline void mir_regs_write(const struct mir_regs *regs, uint32_t offset, unsigned width,
                                  uint32_t value)
{
    MIR_ASSERT_OP((uint64_t)offset + width, <=, regs->size_bytes);
    regs->write(regs, offset, width, value);
}

#endif
