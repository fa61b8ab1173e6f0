/* SPDX-License-Identifier: ISC */
/* Random numbers of the CPU: RNDR (FEAT_RNG). Works before relocation.
 *
 * It may give nothing for a while; a few attempts, then it counts as not there. Never the only
 * source: what is read here is mixed with that of a device.
 */
#include "target/virt/aarch64/cpu.h"
#include "target/virt/arch.h"

#define ATTEMPTS      32u
#define FEATURE_SHIFT 60

bool mir__arch_random(uint64_t *value)
{
    if (mir__read_sysreg(id_aa64isar0_el1) >> FEATURE_SHIFT == 0)
        return false;
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        uint64_t v;
        bool is_good;
        __asm__ volatile("mrs %0, s3_3_c2_c4_0\n\tcset %w1, ne"
                         : "=r"(v), "=r"(is_good)
                         :
                         : "cc", "memory");
        if (is_good) {
            *value = v;
            return true;
        }
    }
    return false;
}

uint64_t mir__arch_jitter(void)
{
    mir__isb();
    return mir__read_sysreg(cntvct_el0);
}
