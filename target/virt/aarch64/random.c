/* SPDX-License-Identifier: ISC */
/* Random numbers: RNDR of the CPU (FEAT_RNG), else what the loader sent along. Works before
 * relocation.
 *
 * RNDR may give nothing for a while; a few attempts, then it counts as not there. A loader that
 * puts an rng-seed into the device tree gives enough for one seed, each bit of which is handed out
 * once; whoever started the machine could know it, but could read its memory as well. Never the
 * only source: what is read here is mixed with that of a device.
 */
#include <mirari/bytes.h>

#include "target/virt/aarch64/internal.h"

#define ATTEMPTS      32u
#define FEATURE_SHIFT 60
#define SEED_WORDS    4u

static uint64_t seed[SEED_WORDS];
static uint32_t seed_count; /* words that were not handed out yet */

bool mir__random_cpu(uint64_t *value)
{
    if (mir__read_sysreg(id_aa64isar0_el1) >> FEATURE_SHIFT == 0)
        return false;
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        uint64_t v, is_good;
        __asm__ volatile("mrs %0, s3_3_c2_c4_0\n\tcset %1, ne"
                         : "=&r"(v), "=r"(is_good)
                         :
                         : "cc", "memory");
        if (is_good) {
            *value = v;
            return true;
        }
    }
    return false;
}

void mir__random_seed(const uint8_t *bytes, uint32_t len)
{
    seed_count = MIR_MIN(len / 8, SEED_WORDS);
    for (uint32_t i = 0; i < seed_count; i++)
        seed[i] = mir_get_le64(bytes + (size_t)i * 8);
}

bool mir__arch_random(uint64_t *value)
{
    if (mir__random_cpu(value))
        return true;
    if (seed_count == 0)
        return false;
    *value = seed[--seed_count];
    seed[seed_count] = 0;
    return true;
}

uint64_t mir__arch_jitter(void)
{
    mir__isb();
    return mir__read_sysreg(cntvct_el0);
}
