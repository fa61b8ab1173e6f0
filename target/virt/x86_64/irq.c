/* SPDX-License-Identifier: ISC */
/* Interrupts: the local APIC, I/O APICs, message-signalled interrupts.
 *
 * A slot is a number below 64, and vector 32 + slot is its interrupt. The last two are the timer
 * and the spurious vector. The handler marks the slot in a word, and that is all; the loop looks
 * there when it is awake. For a level-triggered line the handler also masks the line, or it would
 * come again at once: whoever served the device lets it in again.
 *
 * Interrupts are enabled in one place, the instruction that sleeps (mir__arch_wait). So no code of
 * the appliance is ever interrupted, and this file needs no atomic operation.
 *
 * The old interrupt controller is masked. x2APIC is used where the CPU has it, because its
 * registers are written without a trap to an emulated page. Without ACPI the addresses that every
 * PC has are taken.
 *
 * Compiled without vector registers.
 */
#include "target/virt/x86_64/acpi.h"
#include "target/virt/x86_64/internal.h"

#define IO_APICS_MAX 8u
#define OVERRIDES    16u
#define LINES_MAX    48u

enum { SLOT_TIMER = MIR__INTERRUPTS - 2, SLOT_SPURIOUS = MIR__INTERRUPTS - 1 };

/* Local APIC, Intel SDM volume 3, table 11-1: offsets; of x2APIC: MSR 0x800 + offset / 16. */
enum {
    APIC_ID = 0x20,
    APIC_PRIORITY = 0x80,
    APIC_EOI = 0xb0,
    APIC_SPURIOUS = 0xf0,
    APIC_TIMER = 0x320,
    APIC_LINT0 = 0x350,
    APIC_LINT1 = 0x360,
    APIC_INITIAL = 0x380,
    APIC_CURRENT = 0x390,
    APIC_DIVIDE = 0x3e0,
};

#define MSR_APIC_BASE    0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define BASE_ENABLED     (1u << 11)
#define BASE_X2APIC      (1u << 10)
#define SPURIOUS_ENABLED 0x100u
#define MASKED           0x10000u
#define LINT_NMI         0x400u
#define TIMER_DEADLINE   0x40000u
#define DIVIDE_BY_16     3u
#define DEFAULT_APIC     0xfee00000u
#define DEFAULT_IO_APIC  0xfec00000u

#define IO_VERSION   1u
#define IO_ENTRY(n)  (0x10u + 2 * (n))
#define ENTRY_LOW    (1u << 13)
#define ENTRY_LEVEL  (1u << 15)
#define PIC_MASTER   0x20
#define PIC_SLAVE    0xa0
#define PIC_MASK_ALL 0xff
#define PIC_INIT     0x11
#define PIC_8086     0x01

struct io_apic {
    volatile uint32_t *registers; /* [0] index, [4] window */
    uint32_t first, count;        /* global system interrupts */
};

/* A line that is in use. */
struct line {
    uint32_t gsi;
    uint8_t slot;
    bool is_level;
    const struct io_apic *io;
};

struct override {
    uint32_t gsi;
    bool is_there, is_level, is_low;
};

static volatile uint32_t *apic; /* NULL: x2APIC */
static struct io_apic io_apics[IO_APICS_MAX];
static unsigned io_apic_count;
static struct override overrides[OVERRIDES];
static struct line lines[LINES_MAX];
static unsigned line_count;
static int8_t line_of[MIR__INTERRUPTS]; /* index of the level-triggered line of a slot, or -1 */
static unsigned slots_used;
static bool has_deadline;
static volatile uint64_t pending;
static uint64_t counts[MIR__INTERRUPTS];
static mir_time_us idle_us;
static uint64_t sleeps;

/* ---- registers ------------------------------------------------------------------------------- */

static uint32_t apic_read(unsigned at)
{
    return apic != NULL ? apic[at / 4] : (uint32_t)mir__rdmsr(0x800 + at / 16);
}

static void apic_write(unsigned at, uint32_t value)
{
    if (apic != NULL)
        apic[at / 4] = value;
    else
        mir__wrmsr(0x800 + at / 16, value);
}

static uint32_t io_read(const struct io_apic *io, uint32_t at)
{
    io->registers[0] = at;
    return io->registers[4];
}

static void io_write(const struct io_apic *io, uint32_t at, uint32_t value)
{
    io->registers[0] = at;
    io->registers[4] = value;
}

static void set_masked(const struct line *line, bool is_masked)
{
    uint32_t at = IO_ENTRY(line->gsi - line->io->first);
    uint32_t low = io_read(line->io, at);
    io_write(line->io, at, is_masked ? low | MASKED : low & ~MASKED);
}

void mir__irq_enter(uint32_t vector)
{
    unsigned slot = vector - MIR__EXCEPTIONS;
    counts[slot]++;
    if (slot == SLOT_SPURIOUS)
        return;
    if (slot != SLOT_TIMER)
        pending |= 1ull << slot;
    if (line_of[slot] >= 0)
        set_masked(&lines[line_of[slot]], true);
    apic_write(APIC_EOI, 0);
}

/* ---- what ACPI says -------------------------------------------------------------------------- */

static void add_io_apic(uint64_t physical, uint32_t first)
{
    if (io_apic_count == IO_APICS_MAX)
        return;
    struct io_apic *io = &io_apics[io_apic_count];
    io->registers = mir__arch_map_physical(physical, 4096, MIR__MAP_WRITE | MIR__MAP_DEVICE);
    if (io->registers == NULL)
        return;
    io->first = first;
    io->count = (io_read(io, IO_VERSION) >> 16 & 0xff) + 1;
    for (uint32_t i = 0; i < io->count; i++)
        io_write(io, IO_ENTRY(i), MASKED);
    io_apic_count++;
}

/* ACPI 6.4, 5.2.12: polarity and trigger as the MPS INTI flags have it; 0 is what the bus does. */
static void add_override(uint8_t source, uint32_t gsi, uint16_t flags)
{
    if (source < OVERRIDES)
        overrides[source] = (struct override){
            .gsi = gsi,
            .is_there = true,
            .is_low = (flags & 3) == 3,
            .is_level = (flags >> 2 & 3) == 3,
        };
}

static void read_entry(const uint8_t *entry)
{
    enum { IO_APIC = 1, OVERRIDE = 2 };
    if (entry[0] == IO_APIC && entry[1] >= 12)
        add_io_apic(mir__acpi_u32(entry + 4), mir__acpi_u32(entry + 8));
    else if (entry[0] == OVERRIDE && entry[1] >= 10)
        add_override(entry[3], mir__acpi_u32(entry + 4), mir__acpi_u16(entry + 8));
}

static void read_madt(void)
{
    size_t size = 0, at = 44;
    const uint8_t *madt = mir__acpi_table("APIC", &size);
    while (madt != NULL && at + 2 <= size && madt[at + 1] >= 2 && madt[at + 1] <= size - at) {
        read_entry(madt + at);
        at += madt[at + 1];
    }
    if (io_apic_count == 0)
        add_io_apic(DEFAULT_IO_APIC, 0);
}

static void mask_old_controller(void)
{
    static const uint8_t bases[] = {PIC_MASTER, PIC_SLAVE};
    for (unsigned i = 0; i < 2; i++) {
        mir__out8(bases[i], PIC_INIT);
        mir__out8((uint16_t)(bases[i] + 1), MIR__EXCEPTIONS + 8); /* never raised */
        mir__out8((uint16_t)(bases[i] + 1), i == 0 ? 4 : 2);
        mir__out8((uint16_t)(bases[i] + 1), PIC_8086);
        mir__out8((uint16_t)(bases[i] + 1), PIC_MASK_ALL);
    }
}

int mir__arch_irq_open(void)
{
    struct mir__cpuid id = mir__cpuid(1, 0);
    uint64_t base = mir__rdmsr(MSR_APIC_BASE) | BASE_ENABLED;
    if ((id.d >> 9 & 1) == 0)
        return -MIR_ENOTSUP;
    mask_old_controller();
    if (id.c >> 21 & 1) {
        mir__wrmsr(MSR_APIC_BASE, base | BASE_X2APIC);
    } else {
        mir__wrmsr(MSR_APIC_BASE, base);
        apic =
            mir__arch_map_physical(base & 0xffffff000ull, 4096, MIR__MAP_WRITE | MIR__MAP_DEVICE);
        if (apic == NULL)
            return -MIR_ENOTSUP;
    }
    has_deadline = id.c >> 24 & 1;
    mir_memset(line_of, -1, sizeof line_of);
    apic_write(APIC_PRIORITY, 0);
    apic_write(APIC_LINT0, MASKED);
    apic_write(APIC_LINT1, LINT_NMI);
    apic_write(APIC_TIMER, MASKED);
    apic_write(APIC_DIVIDE, DIVIDE_BY_16);
    apic_write(APIC_SPURIOUS, SPURIOUS_ENABLED | (MIR__EXCEPTIONS + SLOT_SPURIOUS));
    read_madt();
    return io_apic_count > 0 ? 0 : -MIR_ENOTSUP;
}

/* ---- slots ----------------------------------------------------------------------------------- */

static uint32_t own_id(void)
{
    return apic != NULL ? apic_read(APIC_ID) >> 24 : apic_read(APIC_ID);
}

static const struct io_apic *io_of(uint32_t gsi)
{
    for (unsigned i = 0; i < io_apic_count; i++) {
        if (gsi >= io_apics[i].first && gsi - io_apics[i].first < io_apics[i].count)
            return &io_apics[i];
    }
    return NULL;
}

int mir__arch_irq_line(uint32_t gsi, bool is_level, bool is_low, unsigned *slot)
{
    const struct io_apic *io = io_of(gsi);
    for (unsigned i = 0; i < line_count; i++) {
        if (lines[i].gsi == gsi) {
            *slot = lines[i].slot;
            return 0;
        }
    }
    if (io == NULL)
        return -MIR_EINVAL;
    if (slots_used == SLOT_TIMER || line_count == LINES_MAX)
        return -MIR_ELIMIT;
    struct line *line = &lines[line_count];
    *line = (struct line){.gsi = gsi, .slot = (uint8_t)slots_used, .is_level = is_level, .io = io};
    if (is_level)
        line_of[slots_used] = (int8_t)line_count;
    io_write(io, IO_ENTRY(gsi - io->first) + 1, own_id() << 24);
    io_write(io, IO_ENTRY(gsi - io->first),
             (MIR__EXCEPTIONS + slots_used) | (is_level ? ENTRY_LEVEL : 0) |
                 (is_low ? ENTRY_LOW : 0));
    line_count++;
    *slot = slots_used++;
    return 0;
}

int mir__irq_isa(unsigned irq, bool is_pci, unsigned *slot)
{
    if (irq < OVERRIDES && overrides[irq].is_there)
        return mir__arch_irq_line(overrides[irq].gsi, overrides[irq].is_level,
                                  overrides[irq].is_low, slot);
    return mir__arch_irq_line(irq, is_pci, is_pci, slot);
}

int mir__arch_irq_msi(uint64_t *address, uint32_t *data, unsigned *slot)
{
    if (slots_used == SLOT_TIMER)
        return -MIR_ELIMIT;
    *address = DEFAULT_APIC | own_id() << 12;
    *data = MIR__EXCEPTIONS + slots_used;
    *slot = slots_used++;
    return 0;
}

uint64_t mir__arch_irq_take(void)
{
    uint64_t taken = pending;
    pending = 0;
    return taken;
}

void mir__arch_irq_unmask(unsigned slot)
{
    if (line_of[slot] >= 0)
        set_masked(&lines[line_of[slot]], false);
}

uint64_t mir__arch_irq_count(unsigned slot)
{
    return counts[slot];
}

/* ---- sleeping -------------------------------------------------------------------------------- */

uint32_t mir__irq_timer_count(void)
{
    return apic_read(APIC_CURRENT);
}

void mir__irq_timer_start(uint32_t count)
{
    apic_write(APIC_INITIAL, count);
}

static void set_timer(mir_time_us deadline_us, mir_time_us now_us)
{
    if (deadline_us == MIR_TIME_NEVER) {
        apic_write(APIC_TIMER, MASKED);
        apic_write(APIC_INITIAL, 0);
    } else if (has_deadline) {
        apic_write(APIC_TIMER, TIMER_DEADLINE | (MIR__EXCEPTIONS + SLOT_TIMER));
        /* The mode must be seen before the deadline (SDM 11.5.4.1). */
        __asm__ volatile("mfence" : : : "memory");
        mir__wrmsr(MSR_TSC_DEADLINE, mir__clock_tsc_after(deadline_us - now_us));
    } else {
        apic_write(APIC_TIMER, MIR__EXCEPTIONS + SLOT_TIMER);
        apic_write(APIC_INITIAL, mir__clock_timer_ticks(deadline_us - now_us));
    }
}

void mir__arch_wait(mir_time_us deadline_us)
{
    mir_time_us now_us = mir__arch_monotonic_us();
    if (pending != 0 || deadline_us <= now_us)
        return;
    set_timer(deadline_us, now_us);
    /* Interrupts are let in after the instruction that follows sti: none is lost in between. */
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    sleeps++;
    idle_us += mir__arch_monotonic_us() - now_us;
}

mir_time_us mir__arch_idle_us(uint64_t *sleep_count)
{
    *sleep_count = sleeps;
    return idle_us;
}
