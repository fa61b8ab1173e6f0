/* SPDX-License-Identifier: ISC */
/* Random numbers of the CPU: RDSEED, else RDRAND. Works before relocation.
 *
 * Either may give nothing for a while; a few attempts, then it counts as not there. Never the only
 * source: what is read here is mixed with that of a device.
 */
#include "target/virt/arch.h"
#include "target/virt/x86_64/cpu.h"

#define ATTEMPTS 32u

bool mir__arch_random(uint64_t *value)
{
    bool has_seed = mir__cpuid(0, 0).a >= 7 && (mir__cpuid(7, 0).b >> 18 & 1) != 0;
    bool has_rand = mir__cpuid(1, 0).c >> 30 & 1;
    uint64_t v = 0;
    bool is_good = false;
    for (unsigned i = 0; i < ATTEMPTS && has_seed && !is_good; i++)
        __asm__ volatile("rdseed %0" : "=r"(v), "=@ccc"(is_good));
    for (unsigned i = 0; i < ATTEMPTS && has_rand && !is_good; i++)
        __asm__ volatile("rdrand %0" : "=r"(v), "=@ccc"(is_good));
    if (is_good)
        *value = v;
    return is_good;
}

uint64_t mir__arch_jitter(void)
{
    return mir__rdtsc();
}
