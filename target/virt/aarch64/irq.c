/* SPDX-License-Identifier: ISC */
/* Interrupts: GICv2 and GICv3, and sleeping.
 *
 * There are no handlers. Interrupts stay masked in the CPU, which wfi does not mind: it ends when
 * one is pending, masked or not. Then the controller is asked which ones there are until it has no
 * more; each is marked in its slot, masked at the controller if it is a level that its device still
 * holds, and acknowledged.
 *
 *            distributor                CPU interface
 *     GICv2  registers                  registers              MSI: GICv2m frame
 *     GICv3  registers; redistributor   system registers       MSI: none (no ITS here)
 *            for numbers below 32
 *
 * MSIs of GICv2m are ordinary edge-triggered lines that a device raises by a write.
 *
 * Source: Arm Generic Interrupt Controller Architecture Specification, IHI 0048 (GICv2) and
 * IHI 0069 (GICv3); GICv2m: Server Base System Architecture, appendix E.
 */
#include "target/virt/aarch64/internal.h"

#define INTID_MAX  1020u
#define INTID_NONE 1020u /* and above: nothing pending */

/* Distributor; the redistributor has the same at its second frame for numbers below 32. */
enum {
    D_CTLR = 0x000,
    D_TYPER = 0x004,
    D_IGROUPR = 0x080,
    D_ISENABLER = 0x100,
    D_ICENABLER = 0x180,
    D_IPRIORITYR = 0x400,
    D_ITARGETSR = 0x800,
    D_ICFGR = 0xc00,
    D_IROUTER = 0x6000,
};
enum { C_CTLR = 0x00, C_PMR = 0x04, C_IAR = 0x0c, C_EOIR = 0x10 };
enum { R_TYPER = 0x08, R_WAKER = 0x14, R_SGI = 0x10000, R_FRAME = 0x20000 };
enum { M_TYPER = 0x008, M_SETSPI = 0x040 };

#define D_CTLR_ENABLE   0x3u
#define D_CTLR_AFFINITY 0x10u
#define WAKER_SLEEP     0x2u
#define WAKER_ASLEEP    0x4u
#define TYPER_LAST      0x10u
#define TYPER_VLPI      0x2u
#define PRIORITY        0xa0a0a0a0u
#define ALL_PRIORITIES  0xffu
#define PATIENCE        1000000u
#define TIMER_VIRTUAL   2u /* which of the timer's interrupts */
#define AFFINITY        0xff00ffffffull
#define CPU0            0x01u
#define TAKES           64u /* questions between two looks at the controller */

/* ICC_* system registers, by encoding: old assemblers do not know their names. */
#define ICC_IAR1    s3_0_c12_c12_0
#define ICC_EOIR1   s3_0_c12_c12_1
#define ICC_BPR1    s3_0_c12_c12_3
#define ICC_CTLR    s3_0_c12_c12_4
#define ICC_SRE     s3_0_c12_c12_5
#define ICC_IGRPEN1 s3_0_c12_c12_7
#define ICC_PMR     s3_0_c4_c6_0

struct slot {
    uint32_t intid;
    bool is_level;
    uint64_t count;
};

static volatile uint8_t *distributor, *cpu, *redistributor; /* cpu: GICv2; redistributor: GICv3 */
static uint32_t line_count;
static struct slot slots[MIR__SLOTS_MAX];
static unsigned slot_count, takes;
static uint64_t pending;       /* bits of slots */
static uint64_t unknown_count; /* interrupts that nobody asked for */

/* MSIs: numbers that the frame of GICv2m can raise. */
static uint64_t msi_frame;
static uint32_t msi_next, msi_end;

static uint32_t timer_intid;
static mir_time_us idle_us;
static uint64_t sleep_count;

/* ---- controller ------------------------------------------------------------------------------ */

/* Registers of @intid: those of GICv3's own 32 are in the redistributor. */
static volatile uint8_t *bank(uint32_t intid)
{
    return redistributor != NULL && intid < 32 ? redistributor + R_SGI : distributor;
}

/* Offset of the word that has the field of @intid, with @count fields in a word. */
static size_t word_of(uint32_t intid, uint32_t count)
{
    return (size_t)(intid / count) * 4;
}

static void mask(uint32_t intid)
{
    mir__mmio_write32(bank(intid) + D_ICENABLER + word_of(intid, 32), 1u << intid % 32);
}

static void unmask(uint32_t intid)
{
    mir__mmio_write32(bank(intid) + D_ISENABLER + word_of(intid, 32), 1u << intid % 32);
}

static void set_trigger(uint32_t intid, bool is_level)
{
    volatile uint8_t *at = bank(intid) + D_ICFGR + word_of(intid, 16);
    uint32_t bit = 2u << intid % 16 * 2, value = mir__mmio_read32(at);
    mir__mmio_write32(at, is_level ? value & ~bit : value | bit);
}

static uint32_t acknowledge(void)
{
    if (redistributor != NULL)
        return (uint32_t)mir__read_sysreg(ICC_IAR1) & 0xffffff;
    return mir__mmio_read32(cpu + C_IAR) & 0x3ff;
}

static void finish(uint32_t intid)
{
    mir__dsb();
    if (redistributor != NULL)
        mir__write_sysreg(ICC_EOIR1, intid);
    else
        mir__mmio_write32(cpu + C_EOIR, intid);
}

/* Everything off, of one priority, in the group that comes as IRQ, for this CPU. */
static void reset_distributor(void)
{
    uint64_t affinity = mir__read_sysreg(mpidr_el1) & AFFINITY;
    line_count = MIR_MIN(((mir__mmio_read32(distributor + D_TYPER) & 31) + 1) * 32, INTID_MAX);
    mir__mmio_write32(distributor + D_CTLR, 0);
    for (uint32_t i = redistributor != NULL ? 32 : 0; i < line_count; i += 32) {
        mir__mmio_write32(distributor + D_ICENABLER + i / 8, ~0u);
        if (redistributor != NULL)
            mir__mmio_write32(distributor + D_IGROUPR + i / 8, ~0u);
    }
    for (uint32_t i = 32; i < line_count; i += 4) {
        mir__mmio_write32(distributor + D_IPRIORITYR + i, PRIORITY);
        if (redistributor == NULL)
            mir__mmio_write32(distributor + D_ITARGETSR + i, CPU0 * 0x01010101u);
    }
    for (uint32_t i = 32; i < line_count && redistributor != NULL; i++)
        mir__mmio_write64(distributor + D_IROUTER + (size_t)i * 8, affinity);
    mir__mmio_write32(distributor + D_CTLR,
                      D_CTLR_ENABLE | (redistributor != NULL ? D_CTLR_AFFINITY : 0));
}

/* ---- GICv2 ----------------------------------------------------------------------------------- */

static void find_msi_frame(void)
{
    struct mir__fdt_walk walk;
    volatile uint8_t *frame;
    uint64_t size;
    if (mir__fdt_device("arm,gic-v2m-frame", &walk, &frame) < 0 ||
        mir__fdt_reg(&walk, 0, &msi_frame, &size) < 0)
        return;
    uint32_t typer = mir__mmio_read32(frame + M_TYPER);
    uint32_t first = typer >> 16 & 0x3ff, count = typer & 0x3ff;
    if (first < 32 || first >= line_count)
        return;
    msi_next = first;
    msi_end = MIR_MIN(first + count, line_count);
}

static int open_v2(struct mir__fdt_walk *walk)
{
    uint64_t base, size;
    if (mir__fdt_reg(walk, 1, &base, &size) < 0)
        return -MIR_ENOTSUP;
    cpu = mir__arch_map_physical(base, size, MIR__MAP_WRITE | MIR__MAP_DEVICE);
    if (cpu == NULL)
        return -MIR_ENOTSUP;
    reset_distributor();
    for (uint32_t i = 0; i < 32; i += 4)
        mir__mmio_write32(distributor + D_IPRIORITYR + i, PRIORITY);
    mir__mmio_write32(cpu + C_PMR, ALL_PRIORITIES);
    mir__mmio_write32(cpu + C_CTLR, 1);
    find_msi_frame();
    return 0;
}

/* ---- GICv3 ----------------------------------------------------------------------------------- */

/* The redistributor of this CPU: each says whose it is. */
static int find_redistributor(const struct mir__fdt_walk *walk)
{
    uint64_t base, size, mpidr = mir__read_sysreg(mpidr_el1);
    uint32_t affinity = (uint32_t)((mpidr >> 32 & 0xff) << 24 | (mpidr & 0xffffff));
    if (mir__fdt_reg(walk, 1, &base, &size) < 0)
        return -MIR_ENOTSUP;
    volatile uint8_t *all = mir__arch_map_physical(base, size, MIR__MAP_WRITE | MIR__MAP_DEVICE);
    if (all == NULL)
        return -MIR_ENOTSUP;
    for (uint64_t at = 0; at + R_FRAME <= size;) {
        uint32_t low = mir__mmio_read32(all + at + R_TYPER);
        if (mir__mmio_read32(all + at + R_TYPER + 4) == affinity) {
            redistributor = all + at;
            return 0;
        }
        if (low & TYPER_LAST)
            break;
        at += low & TYPER_VLPI ? 2 * R_FRAME : R_FRAME;
    }
    return -MIR_ENOTSUP;
}

static int wake_redistributor(void)
{
    volatile uint8_t *waker = redistributor + R_WAKER, *own = redistributor + R_SGI;
    unsigned turns = 0;
    mir__mmio_write32(waker, mir__mmio_read32(waker) & ~WAKER_SLEEP);
    while (mir__mmio_read32(waker) & WAKER_ASLEEP) {
        if (++turns == PATIENCE)
            return -MIR_ENOTSUP;
    }
    mir__mmio_write32(own + D_ICENABLER, ~0u);
    mir__mmio_write32(own + D_IGROUPR, ~0u);
    for (uint32_t i = 0; i < 32; i += 4)
        mir__mmio_write32(own + D_IPRIORITYR + i, PRIORITY);
    return 0;
}

static int open_v3(const struct mir__fdt_walk *walk)
{
    if (find_redistributor(walk) < 0)
        return -MIR_ENOTSUP;
    mir__write_sysreg(ICC_SRE, 7);
    mir__isb();
    if ((mir__read_sysreg(ICC_SRE) & 1) == 0 || wake_redistributor() < 0)
        return -MIR_ENOTSUP;
    reset_distributor();
    mir__write_sysreg(ICC_PMR, ALL_PRIORITIES);
    mir__write_sysreg(ICC_BPR1, 0);
    mir__write_sysreg(ICC_CTLR, 0);
    mir__write_sysreg(ICC_IGRPEN1, 1);
    mir__isb();
    return 0;
}

int mir__arch_irq_open(void)
{
    struct mir__fdt_walk walk;
    bool is_level;
    int r;
    if (mir__fdt_device("arm,cortex-a15-gic", &walk, &distributor) == 0 ||
        mir__fdt_device("arm,gic-400", &walk, &distributor) == 0)
        r = open_v2(&walk);
    else if (mir__fdt_device("arm,gic-v3", &walk, &distributor) == 0)
        r = open_v3(&walk);
    else
        return -MIR_ENOTSUP;
    if (r < 0)
        return r;
    if (mir__fdt_device("arm,armv8-timer", &walk, NULL) < 0 ||
        mir__fdt_interrupt(&walk, TIMER_VIRTUAL, &timer_intid, &is_level) < 0)
        return -MIR_ENOTSUP;
    mir__timer_clear();
    unmask(timer_intid);
    return 0;
}

/* ---- slots ----------------------------------------------------------------------------------- */

int mir__irq_take_intid(uint32_t intid, bool is_level, unsigned *slot)
{
    if (intid < 16 || intid >= line_count)
        return -MIR_EINVAL;
    for (unsigned i = 0; i < slot_count; i++) {
        if (slots[i].intid == intid) {
            *slot = i;
            return 0;
        }
    }
    if (slot_count == MIR__SLOTS_MAX)
        return -MIR_ELIMIT;
    slots[slot_count] = (struct slot){.intid = intid, .is_level = is_level};
    *slot = slot_count++;
    set_trigger(intid, is_level);
    unmask(intid);
    return 0;
}

int mir__arch_irq_line(uint32_t gsi, bool is_level, bool is_low, unsigned *slot)
{
    (void)is_low; /* the controller's lines have no polarity */
    if (gsi >= INTID_MAX - 32)
        return -MIR_EINVAL;
    return mir__irq_take_intid(gsi + 32, is_level, slot);
}

int mir__arch_irq_msi(uint64_t *address, uint32_t *data, unsigned *slot)
{
    if (msi_end == 0)
        return -MIR_ENOTSUP;
    if (msi_next == msi_end)
        return -MIR_ELIMIT;
    int r = mir__irq_take_intid(msi_next, false, slot);
    if (r < 0)
        return r;
    *address = msi_frame + M_SETSPI;
    *data = msi_next++;
    return 0;
}

static void mark(uint32_t intid)
{
    for (unsigned i = 0; i < slot_count; i++) {
        struct slot *slot = &slots[i];
        if (slot->intid != intid)
            continue;
        if (slot->is_level)
            mask(intid);
        pending |= 1ull << i;
        slot->count++;
        return;
    }
    unknown_count++;
    mask(intid);
}

/* All that the controller has. Bounded: an edge that comes again and again is no reason to stay. */
static void drain(void)
{
    for (unsigned i = 0; i < 2 * MIR__SLOTS_MAX; i++) {
        uint32_t intid = acknowledge();
        if (intid >= INTID_NONE)
            return;
        if (intid == timer_intid)
            mir__timer_clear();
        else
            mark(intid);
        finish(intid);
    }
}

uint64_t mir__arch_irq_take(void)
{
    uint64_t taken;
    /* Who never sleeps hears of the console and the power button all the same. */
    if (++takes % TAKES == 0)
        drain();
    taken = pending;
    pending = 0;
    return taken;
}

void mir__arch_irq_unmask(unsigned slot)
{
    MIR_ASSERT_OP(slot, <, slot_count);
    if (slots[slot].is_level)
        unmask(slots[slot].intid);
}

uint64_t mir__arch_irq_count(unsigned slot)
{
    MIR_ASSERT_OP(slot, <, slot_count);
    return slots[slot].count;
}

/* ---- sleeping -------------------------------------------------------------------------------- */

void mir__arch_wait(mir_time_us deadline_us)
{
    drain();
    mir_time_us before_us = mir__arch_monotonic_us();
    if (pending != 0 || deadline_us <= before_us)
        return;
    if (deadline_us != MIR_TIME_NEVER)
        mir__timer_set(deadline_us);
    mir__dsb();
    __asm__ volatile("wfi" : : : "memory");
    mir__timer_clear();
    drain();
    idle_us += mir__arch_monotonic_us() - before_us;
    sleep_count++;
}

mir_time_us mir__arch_idle_us(uint64_t *sleeps)
{
    *sleeps = sleep_count;
    return idle_us;
}
