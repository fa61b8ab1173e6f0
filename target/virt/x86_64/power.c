/* SPDX-License-Identifier: ISC */
/* The end: exit status, power off, the power button, the news of a crash.
 *
 *   exit status    isa-debug-exit at port 0x501 (QEMU -device
 * isa-debug-exit,iobase=0x501,iosize=2): status s ends QEMU with (s << 1) | 1. Without the device
 * the write goes nowhere. power off      ACPI: sleep type of \_S5 into the PM1 control register, or
 * into the sleep control register of machines without fixed hardware (microvm) reset          ACPI
 * reset register, keyboard controller, PCI reset register, triple fault power button   PM1 event,
 * or the event device (microvm); both raise an interrupt crash          pvpanic, a port of which
 * the DSDT tells
 *
 * \_S5, the event device's registers and pvpanic's port are searched for in the DSDT (acpi.c).
 */
#include "target/virt/x86_64/acpi.h"
#include "target/virt/x86_64/internal.h"

#define DEBUG_EXIT_PORT 0x501
#define KEYBOARD_PORT   0x64
#define KEYBOARD_RESET  0xfe
#define PCI_RESET_PORT  0xcf9
#define PCI_RESET_ALL   0x06
#define PANICKED        1u

/* ACPI 6.4, table 5.9: the fixed description table. */
enum {
    FADT_SCI = 46,
    FADT_SMI_COMMAND = 48,
    FADT_ENABLE = 52,
    FADT_PM1A_EVENT = 56,
    FADT_PM1A_CONTROL = 64,
    FADT_PM1B_CONTROL = 68,
    FADT_PM1_EVENT_LEN = 88,
    FADT_FLAGS = 112,
    FADT_RESET = 116,
    FADT_RESET_VALUE = 128,
    FADT_SLEEP_CONTROL = 244,
};
#define FLAG_RESET   (1u << 10)
#define FLAG_REDUCED (1u << 20)

#define PM1_POWER_BUTTON (1u << 8) /* status and enable */
#define PM1_SCI          1u        /* control: ACPI mode */
#define PM1_SLEEP        (1u << 13)
#define SLEEP_ENABLE     (1u << 5)

#define GED_POWER_DOWN (1u << 1)

/* A register somewhere: generic address structure (5.2.3.2), memory or ports. */
struct reg {
    bool is_there, is_memory;
    uint16_t port;
    volatile uint8_t *memory;
};

static uint16_t pm1_event, pm1_enable, pm1a_control, pm1b_control;
static struct reg sleep_control, reset;
static uint8_t reset_value;
static uint64_t off_type_a, off_type_b;
static bool has_off;
static volatile uint32_t *events; /* of the event device: reading takes them */
static uint16_t panic_port;
static unsigned button_slot = MIR__SLOTS_MAX;

/* ---- registers ------------------------------------------------------------------------------- */

static struct reg find_reg(const uint8_t *address)
{
    enum { MEMORY = 0, PORTS = 1 };
    uint64_t at = mir__acpi_u64(address + 4);
    struct reg reg = {.port = (uint16_t)at, .is_memory = address[0] == MEMORY};
    if (at == 0 || address[0] > PORTS)
        return reg;
    if (reg.is_memory)
        reg.memory = mir__arch_map_physical(at, 1, MIR__MAP_WRITE | MIR__MAP_DEVICE);
    reg.is_there = !reg.is_memory || reg.memory != NULL;
    return reg;
}

static void write_reg(const struct reg *reg, uint8_t value)
{
    if (!reg->is_there)
        return;
    if (reg->is_memory)
        *reg->memory = value;
    else
        mir__out8(reg->port, value);
}

/* ---- what the DSDT says ---------------------------------------------------------------------- */

/* Name (\_S5, Package () { type a, type b, ... }) */
static void find_off(const uint8_t *dsdt, size_t size)
{
    enum { PACKAGE = 0x12 };
    size_t at = mir__acpi_search(dsdt, size, 0, "_S5_\x12", 5);
    if (at >= size - 8)
        return;
    at += 5;
    at += 1u + (dsdt[at] >> 6); /* length of the package: 1 to 4 bytes */
    at += 1;                    /* number of elements */
    has_off = at < size && mir__acpi_integer(dsdt, size, &at, &off_type_a);
    if (!has_off || !mir__acpi_integer(dsdt, size, &at, &off_type_b))
        off_type_b = off_type_a;
}

/* OperationRegion (EREG, SystemMemory, address, 4) of QEMU's generic event device, and behind it
 * its interrupt: an extended interrupt descriptor (6.4.3.6) with one number. */
static void find_events(const uint8_t *dsdt, size_t size)
{
    uint64_t address;
    unsigned slot;
    size_t device = mir__acpi_search(dsdt, size, 0, "ACPI0013", 8);
    size_t at = mir__acpi_search(dsdt, size, device,
                                 "\x5b\x80"
                                 "EREG\0",
                                 7) +
                7;
    size_t irq = mir__acpi_search(dsdt, size, device, "\x89\x06\0", 3);
    if (device == size || at >= size || irq + 9 > size || dsdt[irq + 4] != 1)
        return;
    if (!mir__acpi_integer(dsdt, size, &at, &address))
        return;
    bool is_edge = dsdt[irq + 3] & 2, is_low = dsdt[irq + 3] & 4;
    volatile uint32_t *registers =
        mir__arch_map_physical(address, 4, MIR__MAP_WRITE | MIR__MAP_DEVICE);
    if (registers == NULL ||
        mir__arch_irq_line(mir__acpi_u32(dsdt + irq + 5), !is_edge, is_low, &slot) < 0)
        return;
    events = registers;
    button_slot = slot;
}

/* Device with Name (_HID, "QEMU0001") and an I/O port descriptor: 0x47, flags, port. */
static void find_panic(const uint8_t *dsdt, size_t size)
{
    size_t device = mir__acpi_search(dsdt, size, 0, "QEMU0001", 8);
    size_t at = mir__acpi_search(dsdt, size, device, "\x47\x01", 2);
    if (device != size && at - device < 64 && at + 4 <= size)
        panic_port = mir__acpi_u16(dsdt + at + 2);
}

/* ---- fixed hardware -------------------------------------------------------------------------- */

static void enter_acpi_mode(const uint8_t *fadt)
{
    uint32_t smi = mir__acpi_u32(fadt + FADT_SMI_COMMAND);
    if (smi == 0 || fadt[FADT_ENABLE] == 0 || (mir__in16(pm1a_control) & PM1_SCI))
        return;
    mir__out8((uint16_t)smi, fadt[FADT_ENABLE]);
    for (unsigned i = 0; i < 100000 && (mir__in16(pm1a_control) & PM1_SCI) == 0; i++)
        ;
}

static void open_fixed(const uint8_t *fadt)
{
    uint16_t event = (uint16_t)mir__acpi_u32(fadt + FADT_PM1A_EVENT);
    unsigned slot;
    pm1a_control = (uint16_t)mir__acpi_u32(fadt + FADT_PM1A_CONTROL);
    pm1b_control = (uint16_t)mir__acpi_u32(fadt + FADT_PM1B_CONTROL);
    if (pm1a_control == 0)
        return;
    enter_acpi_mode(fadt);
    if (event == 0 || mir__irq_isa(mir__acpi_u16(fadt + FADT_SCI), true, &slot) < 0)
        return;
    pm1_event = event;
    pm1_enable = (uint16_t)(event + fadt[FADT_PM1_EVENT_LEN] / 2);
    mir__out16(pm1_event, PM1_POWER_BUTTON);
    mir__out16(pm1_enable, PM1_POWER_BUTTON);
    button_slot = slot;
}

static void read_tables(void)
{
    size_t size = 0, dsdt_size = 0;
    const uint8_t *fadt = mir__acpi_table("FACP", &size);
    const uint8_t *dsdt = mir__acpi_table("DSDT", &dsdt_size);
    if (dsdt != NULL) {
        find_off(dsdt, dsdt_size);
        find_events(dsdt, dsdt_size);
        find_panic(dsdt, dsdt_size);
    }
    if (fadt == NULL || size < FADT_RESET)
        return;
    uint32_t flags = mir__acpi_u32(fadt + FADT_FLAGS);
    if ((flags & FLAG_RESET) && size > FADT_RESET_VALUE) {
        reset = find_reg(fadt + FADT_RESET);
        reset_value = fadt[FADT_RESET_VALUE];
    }
    if (flags & FLAG_REDUCED) {
        if (size >= FADT_SLEEP_CONTROL + 12)
            sleep_control = find_reg(fadt + FADT_SLEEP_CONTROL);
    } else {
        open_fixed(fadt);
    }
}

unsigned mir__arch_power_open(void)
{
    read_tables();
    return button_slot;
}

bool mir__arch_power_pressed(void)
{
    bool is_pressed = false;
    if (pm1_event != 0 && (mir__in16(pm1_event) & PM1_POWER_BUTTON)) {
        mir__out16(pm1_event, PM1_POWER_BUTTON);
        is_pressed = true;
    }
    if (events != NULL && (*events & GED_POWER_DOWN))
        is_pressed = true;
    return is_pressed;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void power_off(void)
{
    if (!has_off)
        return;
    write_reg(&sleep_control, (uint8_t)((off_type_a & 7) << 2 | SLEEP_ENABLE));
    if (pm1a_control != 0)
        mir__out16(pm1a_control, (uint16_t)((off_type_a & 7) << 10 | PM1_SLEEP));
    if (pm1b_control != 0)
        mir__out16(pm1b_control, (uint16_t)((off_type_b & 7) << 10 | PM1_SLEEP));
}

void mir__arch_exit(int status)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) no_table = {0, 0};
    mir__out8(DEBUG_EXIT_PORT, (uint8_t)status);
    power_off();
    write_reg(&reset, reset_value);
    mir__out8(KEYBOARD_PORT, KEYBOARD_RESET);
    mir__out8(PCI_RESET_PORT, PCI_RESET_ALL);
    __asm__ volatile("lidt %0; int3" : : "m"(no_table));
    for (;;)
        __asm__ volatile("cli; hlt");
}

void mir__arch_panic(void)
{
    if (panic_port != 0)
        mir__out8(panic_port, PANICKED);
}
