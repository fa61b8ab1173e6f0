/* SPDX-License-Identifier: ISC */
/* Instructions that C has no words for. */
#ifndef TARGET_VIRT_X86_64_CPU_H
#define TARGET_VIRT_X86_64_CPU_H

#include <mirari/base.h>

static inline uint8_t mir__in8(uint16_t port)
{
    uint8_t v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

static inline uint16_t mir__in16(uint16_t port)
{
    uint16_t v;
    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

static inline uint32_t mir__in32(uint16_t port)
{
    uint32_t v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

static inline void mir__out8(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void mir__out16(uint16_t port, uint16_t v)
{
    __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void mir__out32(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline uint64_t mir__rdmsr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static inline void mir__wrmsr(uint32_t msr, uint64_t v)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

struct mir__cpuid {
    uint32_t a, b, c, d;
};

static inline struct mir__cpuid mir__cpuid(uint32_t leaf, uint32_t sub_leaf)
{
    struct mir__cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
                     : "a"(leaf), "c"(sub_leaf));
    return r;
}

static inline uint64_t mir__rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

#define MIR__CONTROL_REGISTER(name)                                                                \
    static inline uint64_t mir__read_##name(void)                                                  \
    {                                                                                              \
        uint64_t v;                                                                                \
        __asm__ volatile("movq %%" #name ", %0" : "=r"(v) : : "memory");                           \
        return v;                                                                                  \
    }                                                                                              \
    static inline void mir__write_##name(uint64_t v)                                               \
    {                                                                                              \
        __asm__ volatile("movq %0, %%" #name : : "r"(v) : "memory");                               \
    }
MIR__CONTROL_REGISTER(cr0)
MIR__CONTROL_REGISTER(cr2)
MIR__CONTROL_REGISTER(cr3)
MIR__CONTROL_REGISTER(cr4)

static inline void mir__invlpg(const void *address)
{
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

#endif
