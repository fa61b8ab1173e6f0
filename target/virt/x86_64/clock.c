/* SPDX-License-Identifier: ISC */
/* Time: the time stamp counter, and what says how fast it runs.
 *
 *   kvmclock    the hypervisor writes scale and offset in a page; wall time too (KVM)
 *   CPUID       leaf 0x40000010 of hypervisors, leaf 0x15 of CPUs
 *   reference   otherwise the counter is timed against HPET, ACPI timer or PIT, whichever is there
 *               first in this order, for 10 ms
 *
 * Wall time without kvmclock comes from the real-time clock, read once: it counts seconds, so wall
 * time may be up to a second behind. The timer that ends a sleep is the local APIC's: in deadline
 * mode it needs no calibration, else it is timed in the same 10 ms.
 *
 * One CPU, so the counter needs no synchronisation; monotonic time is still kept from going back,
 * because a hypervisor may change the scale between two readings.
 */
#include "target/virt/x86_64/acpi.h"
#include "target/virt/x86_64/internal.h"

#define START_US       MIR_US_PER_S /* monotonic time never begins with zero */
#define CALIBRATION_US 10000u
#define TIMER_FULL     0xffffffffu

#define HYPERVISOR_LEAF   0x40000000u
#define HYPERVISOR_TIMING 0x40000010u
#define KVM_FEATURES      0x40000001u
#define KVM_CLOCK         (1u << 3)
#define MSR_KVM_WALL      0x4b564d00u
#define MSR_KVM_SYSTEM    0x4b564d01u
#define KVM_ENABLED       1u

#define PIT_HZ        1193182u
#define PIT_COUNTER   0x42
#define PIT_CONTROL   0x43
#define PIT_GATE      0x61
#define ACPI_TIMER_HZ 3579545u

/* Both structures: Documentation/virt/kvm/x86/msr.rst of Linux; the format is ABI. */
struct kvm_time {
    uint32_t version, reserved;
    uint64_t tsc, system_ns;
    uint32_t multiplier;
    int8_t shift;
    uint8_t flags, reserved2[2];
} MIR_ALIGNED(32);

struct kvm_wall {
    uint32_t version, seconds, nanoseconds;
} MIR_ALIGNED(32);

/* Something that counts at a known rate. */
struct reference {
    const char *name;
    uint64_t hz, mask; /* it wraps behind the mask */
    uint64_t (*read)(void);
};

static volatile struct kvm_time kvm_time;
static volatile struct kvm_wall kvm_wall;
static const volatile uint64_t *hpet;
static uint16_t acpi_timer;
static const char *name = "none";
static bool is_kvm;
static uint64_t tsc_hz, tsc_start;
static uint64_t us_per_tick; /* of the counter, times 2^32 */
static uint64_t timer_hz;    /* of the local APIC's timer */
static mir_time_us last_us, wall_offset_us;
static bool has_wall;

/* ---- kvmclock -------------------------------------------------------------------------------- */

static bool open_kvm(void)
{
    struct mir__cpuid id = mir__cpuid(HYPERVISOR_LEAF, 0);
    bool is_there = (mir__cpuid(1, 0).c >> 31 & 1) != 0 && id.b == 0x4b4d564b && id.c == 0x564b4d56;
    if (!is_there || (mir__cpuid(KVM_FEATURES, 0).a & KVM_CLOCK) == 0)
        return false;
    mir__wrmsr(MSR_KVM_SYSTEM, mir__arch_dma(&kvm_time) | KVM_ENABLED);
    mir__wrmsr(MSR_KVM_WALL, mir__arch_dma(&kvm_wall));
    return kvm_time.multiplier != 0;
}

static uint64_t kvm_ns(void)
{
    uint32_t version;
    uint64_t ns;
    do {
        version = kvm_time.version & ~1u;
        __asm__ volatile("lfence" : : : "memory");
        uint64_t ticks = mir__rdtsc() - kvm_time.tsc;
        int shift = kvm_time.shift;
        ticks = shift >= 0 ? ticks << shift : ticks >> -shift;
        ns = kvm_time.system_ns + (uint64_t)((unsigned __int128)ticks * kvm_time.multiplier >> 32);
        __asm__ volatile("" : : : "memory");
    } while (kvm_time.version != version);
    return ns;
}

/* The rate that it scales by. */
static uint64_t kvm_hz(void)
{
    uint64_t hz = (1000000000ull << 32) / kvm_time.multiplier;
    return kvm_time.shift < 0 ? hz << -kvm_time.shift : hz >> kvm_time.shift;
}

/* ---- references ------------------------------------------------------------------------------ */

static uint64_t read_hpet(void)
{
    enum { COUNTER = 0xf0 };
    return hpet[COUNTER / 8] & UINT32_MAX;
}

static uint64_t read_acpi_timer(void)
{
    return mir__in32(acpi_timer);
}

/* Counter 2, latched; it counts down. */
static uint64_t read_pit(void)
{
    mir__out8(PIT_CONTROL, 0x80);
    uint8_t low = mir__in8(PIT_COUNTER);
    return 0xffffu - (low | (uint32_t)mir__in8(PIT_COUNTER) << 8);
}

static bool find_hpet(struct reference *r)
{
    enum { ADDRESS = 44, PERIOD = 0, CONFIGURATION = 0x10, ENABLED = 1 };
    size_t size = 0;
    const uint8_t *table = mir__acpi_table("HPET", &size);
    if (table == NULL || size < ADDRESS + 8)
        return false;
    volatile uint64_t *registers = mir__arch_map_physical(mir__acpi_u64(table + ADDRESS), 1024,
                                                          MIR__MAP_WRITE | MIR__MAP_DEVICE);
    uint64_t period_fs = registers != NULL ? registers[PERIOD] >> 32 : 0;
    if (period_fs == 0 || period_fs > 100000000)
        return false;
    registers[CONFIGURATION / 8] |= ENABLED;
    hpet = registers;
    *r = (struct reference){"tsc by hpet", 1000000000000000ull / period_fs, UINT32_MAX, read_hpet};
    return true;
}

static bool find_acpi_timer(struct reference *r)
{
    enum { PORT = 76 };
    size_t size = 0;
    const uint8_t *fadt = mir__acpi_table("FACP", &size);
    if (fadt == NULL || size < PORT + 4 || mir__acpi_u32(fadt + PORT) == 0)
        return false;
    acpi_timer = (uint16_t)mir__acpi_u32(fadt + PORT);
    *r = (struct reference){"tsc by acpi timer", ACPI_TIMER_HZ, 0xffffff, read_acpi_timer};
    return mir__in32(acpi_timer) != UINT32_MAX;
}

static bool find_pit(struct reference *r)
{
    enum { COUNTER_2_RATE = 0xb4, GATE_ON = 1, SPEAKER_OFF = 0xfc };
    mir__out8(PIT_GATE, (uint8_t)((mir__in8(PIT_GATE) & SPEAKER_OFF) | GATE_ON));
    mir__out8(PIT_CONTROL, COUNTER_2_RATE);
    mir__out8(PIT_COUNTER, 0);
    mir__out8(PIT_COUNTER, 0);
    *r = (struct reference){"tsc by pit", PIT_HZ, 0xffff, read_pit};
    uint64_t first = read_pit();
    for (unsigned i = 0; i < 1000; i++) {
        if (read_pit() != first)
            return true;
    }
    return false;
}

/* One reading of both, from the attempt that took the shortest. */
static void read_both(const struct reference *r, uint64_t *ticks, uint64_t *tsc)
{
    uint64_t shortest = UINT64_MAX;
    for (unsigned i = 0; i < 5; i++) {
        uint64_t before = mir__rdtsc(), value = r->read(), after = mir__rdtsc();
        if (after - before >= shortest)
            continue;
        shortest = after - before;
        *ticks = value;
        *tsc = before + (after - before) / 2;
    }
}

static uint64_t per_second(uint64_t count, uint64_t ticks, uint64_t hz)
{
    return (uint64_t)((unsigned __int128)count * hz / ticks);
}

static bool calibrate(const struct reference *r)
{
    uint64_t wanted = r->hz * CALIBRATION_US / MIR_US_PER_S, passed, from, to, tsc, tsc_end;
    unsigned turns = 0;
    mir__irq_timer_start(TIMER_FULL);
    uint32_t timer = mir__irq_timer_count();
    read_both(r, &from, &tsc);
    do {
        to = r->read();
        passed = (to - from) & r->mask;
    } while (passed < wanted && ++turns < 10000000u);
    read_both(r, &to, &tsc_end);
    uint32_t timer_passed = timer - mir__irq_timer_count();
    mir__irq_timer_start(0);
    passed = (to - from) & r->mask;
    if (passed < wanted || tsc_end <= tsc)
        return false;
    if (tsc_hz == 0)
        tsc_hz = per_second(tsc_end - tsc, passed, r->hz);
    timer_hz = per_second(timer_passed, passed, r->hz);
    name = r->name;
    return tsc_hz > 0 && timer_hz > 0;
}

/* Rates that are told. */
static void ask_cpu(void)
{
    struct mir__cpuid id = mir__cpuid(0, 0);
    bool is_guest = mir__cpuid(1, 0).c >> 31 & 1;
    if (is_guest && mir__cpuid(HYPERVISOR_LEAF, 0).a >= HYPERVISOR_TIMING) {
        struct mir__cpuid timing = mir__cpuid(HYPERVISOR_TIMING, 0);
        tsc_hz = (uint64_t)timing.a * 1000;
        timer_hz = (uint64_t)timing.b * 1000 / 16;
    }
    if (tsc_hz == 0 && id.a >= 0x15) {
        struct mir__cpuid ratio = mir__cpuid(0x15, 0);
        if (ratio.a != 0 && ratio.b != 0 && ratio.c != 0)
            tsc_hz = (uint64_t)ratio.c * ratio.b / ratio.a;
    }
}

static int open_counter(void)
{
    struct reference reference;
    bool needs_timer = (mir__cpuid(1, 0).c >> 24 & 1) == 0;
    ask_cpu();
    name = "tsc by cpuid";
    if (is_kvm && tsc_hz == 0)
        tsc_hz = kvm_hz();
    if (tsc_hz != 0 && (!needs_timer || timer_hz != 0))
        return 0;
    if ((find_hpet(&reference) && calibrate(&reference)) ||
        (find_acpi_timer(&reference) && calibrate(&reference)) ||
        (find_pit(&reference) && calibrate(&reference)))
        return 0;
    return -MIR_ENOTSUP;
}

/* ---- real-time clock ------------------------------------------------------------------------- */

enum { RTC_INDEX = 0x70, RTC_DATA = 0x71 };

struct rtc {
    uint8_t second, minute, hour, day, month, year, century;
};

static uint8_t rtc_read(uint8_t at)
{
    mir__out8(RTC_INDEX, at);
    return mir__in8(RTC_DATA);
}

static struct rtc rtc_read_all(void)
{
    enum { UPDATING = 0x80, STATUS_A = 10 };
    for (unsigned i = 0; i < 100000 && (rtc_read(STATUS_A) & UPDATING); i++)
        ;
    return (struct rtc){rtc_read(0), rtc_read(2), rtc_read(4),   rtc_read(7),
                        rtc_read(8), rtc_read(9), rtc_read(0x32)};
}

static uint8_t from_bcd(uint8_t v)
{
    return (uint8_t)((v >> 4) * 10 + (v & 15));
}

/* Days since 1970-01-01, in years that begin in March. */
static uint64_t days_of(uint32_t year, uint32_t month, uint32_t day)
{
    uint32_t y = month <= 2 ? year - 1 : year, m = (month + 9) % 12;
    uint64_t era = y / 400, of_era = y % 400;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * m + 2) / 5 + day - 1 -
           719468;
}

/* Seconds since 1970, or 0: there is no such clock, or it says nonsense. */
static uint64_t read_rtc(void)
{
    enum { STATUS_B = 11, BINARY = 4, HOURS_24 = 2, PM = 0x80 };
    struct rtc a = rtc_read_all(), b;
    uint8_t mode = rtc_read(STATUS_B);
    for (unsigned i = 0; i < 10; i++) {
        b = a;
        a = rtc_read_all();
        if (mir_memcmp(&a, &b, sizeof a) == 0)
            break;
    }
    bool is_pm = (mode & HOURS_24) == 0 && (a.hour & PM);
    a.hour &= 0x7f;
    if ((mode & BINARY) == 0)
        a = (struct rtc){from_bcd(a.second), from_bcd(a.minute), from_bcd(a.hour),
                         from_bcd(a.day),    from_bcd(a.month),  from_bcd(a.year),
                         from_bcd(a.century)};
    if ((mode & HOURS_24) == 0)
        a.hour = (uint8_t)(a.hour % 12 + (is_pm ? 12 : 0));
    if (a.month < 1 || a.month > 12 || a.day < 1 || a.day > 31 || a.hour > 23 || a.minute > 59 ||
        a.second > 60 || a.year > 99)
        return 0;
    uint32_t century = a.century >= 19 && a.century <= 29 ? a.century : 20;
    return ((days_of(century * 100u + a.year, a.month, a.day) * 24 + a.hour) * 60 + a.minute) * 60 +
           a.second;
}

static void open_wall(void)
{
    uint64_t seconds = 0;
    if (is_kvm && kvm_wall.seconds != 0) {
        wall_offset_us = kvm_wall.seconds * MIR_US_PER_S + kvm_wall.nanoseconds / 1000 - START_US;
        has_wall = true;
        return;
    }
    seconds = read_rtc();
    has_wall = seconds != 0;
    wall_offset_us = seconds * MIR_US_PER_S - mir__arch_monotonic_us();
}

/* ---- what others ask for --------------------------------------------------------------------- */

int mir__arch_clock_open(void)
{
    is_kvm = open_kvm();
    int r = open_counter();
    if (is_kvm)
        name = "kvmclock";
    if (r < 0)
        return r;
    us_per_tick = (uint64_t)(((unsigned __int128)MIR_US_PER_S << 32) / tsc_hz);
    tsc_start = mir__rdtsc();
    open_wall();
    return 0;
}

mir_time_us mir__arch_monotonic_us(void)
{
    mir_time_us now_us = START_US;
    if (is_kvm)
        now_us += kvm_ns() / 1000;
    else
        now_us += (uint64_t)((unsigned __int128)(mir__rdtsc() - tsc_start) * us_per_tick >> 32);
    last_us = MIR_MAX(last_us, now_us);
    return last_us;
}

mir_time_us mir__arch_wall_us(void)
{
    return has_wall ? mir__arch_monotonic_us() + wall_offset_us : 0;
}

const char *mir__arch_clock_name(void)
{
    return name;
}

uint64_t mir__clock_tsc_after(mir_time_us delay_us)
{
    unsigned __int128 ticks = (unsigned __int128)delay_us * tsc_hz / MIR_US_PER_S;
    return ticks >> 62 != 0 ? UINT64_MAX : mir__rdtsc() + (uint64_t)ticks + 1;
}

uint32_t mir__clock_timer_ticks(mir_time_us delay_us)
{
    unsigned __int128 ticks = (unsigned __int128)delay_us * timer_hz / MIR_US_PER_S + 1;
    return ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
}
