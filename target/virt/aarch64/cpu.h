/* SPDX-License-Identifier: ISC */
/* Instructions that C has no words for. */
#ifndef TARGET_VIRT_AARCH64_CPU_H
#define TARGET_VIRT_AARCH64_CPU_H

#include <mirari/base.h>

#define MIR__TEXT(name) #name

/* @name may be a macro. */
#define mir__read_sysreg(name)                                                                     \
    ({                                                                                             \
        uint64_t mir__v;                                                                           \
        __asm__ volatile("mrs %0, " MIR__TEXT(name) : "=r"(mir__v) : : "memory");                  \
        mir__v;                                                                                    \
    })

#define mir__write_sysreg(name, value)                                                             \
    do {                                                                                           \
        uint64_t mir__w = (value);                                                                 \
        __asm__ volatile("msr " MIR__TEXT(name) ", %0" : : "r"(mir__w) : "memory");                \
    } while (0)

/** What was written to registers of the CPU holds from here on. */
static inline void mir__isb(void)
{
    __asm__ volatile("isb" : : : "memory");
}

/** All memory accesses before are complete. */
static inline void mir__dsb(void)
{
    __asm__ volatile("dsb sy" : : : "memory");
}

/* Registers of devices. One instruction each: a hypervisor that emulates them can decode it. */

static inline uint32_t mir__mmio_read32(const volatile void *at)
{
    uint32_t v;
    __asm__ volatile("ldr %w0, [%1]" : "=r"(v) : "r"(at) : "memory");
    return v;
}

static inline void mir__mmio_write32(volatile void *at, uint32_t v)
{
    __asm__ volatile("str %w0, [%1]" : : "r"(v), "r"(at) : "memory");
}

static inline uint16_t mir__mmio_read16(const volatile void *at)
{
    uint32_t v;
    __asm__ volatile("ldrh %w0, [%1]" : "=r"(v) : "r"(at) : "memory");
    return (uint16_t)v;
}

static inline void mir__mmio_write16(volatile void *at, uint16_t v)
{
    __asm__ volatile("strh %w0, [%1]" : : "r"((uint32_t)v), "r"(at) : "memory");
}

static inline uint8_t mir__mmio_read8(const volatile void *at)
{
    uint32_t v;
    __asm__ volatile("ldrb %w0, [%1]" : "=r"(v) : "r"(at) : "memory");
    return (uint8_t)v;
}

static inline void mir__mmio_write8(volatile void *at, uint8_t v)
{
    __asm__ volatile("strb %w0, [%1]" : : "r"((uint32_t)v), "r"(at) : "memory");
}

static inline void mir__mmio_write64(volatile void *at, uint64_t v)
{
    __asm__ volatile("str %0, [%1]" : : "r"(v), "r"(at) : "memory");
}

#endif
