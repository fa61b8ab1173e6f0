/* SPDX-License-Identifier: ISC */
/* PCI configuration space: memory-mapped where ACPI says so (MCFG, or _CBA), else by ports 0xcf8
 * and 0xcfc.
 *
 * Only segment 0. Buses of the memory-mapped space are mapped when they are first asked for.
 *
 * A BIOS has given devices their addresses. Machines that start without one (microvm with pcie=on)
 * tell in the DSDT which addresses the host bridge passes on, as resource descriptors: data in a
 * fixed shape (ACPI 6.4 section 6.4.3.5), which is searched for. What lies below 1 MiB is of old
 * PCs.
 */
#include "dev/pci/pci.h"
#include "target/virt/x86_64/acpi.h"
#include "target/virt/x86_64/internal.h"

#define PORT_ADDRESS 0xcf8
#define PORT_DATA    0xcfc
#define ENABLED      0x80000000u
#define BUS_SIZE     0x100000u
#define SPACE_OLD    256u
#define SPACE        4096u

static uint64_t ecam; /* physical address of bus 0, or 0 */
static uint8_t first_bus, last_bus;
static volatile uint8_t *buses[256];
static bool is_there;

static void read_mcfg(void)
{
    enum { FIRST = 44, SIZE = 16 };
    size_t size = 0;
    const uint8_t *mcfg = mir__acpi_table("MCFG", &size);
    for (size_t at = FIRST; mcfg != NULL && at + SIZE <= size; at += SIZE) {
        if (mir__acpi_u16(mcfg + at + 8) != 0 || mcfg[at + 10] > mcfg[at + 11])
            continue;
        ecam = mir__acpi_u64(mcfg + at);
        first_bus = mcfg[at + 10];
        last_bus = mcfg[at + 11];
        return;
    }
}

/* The same in the DSDT, as a method that returns a number (PCI Firmware 3.2 section 4.1.3):
 * machines without a BIOS have no table for what its bridge has always had. Nobody numbers buses
 * behind the first there. */
static void read_cba(void)
{
    enum { NAME = 4, FLAGS = 1, RETURN = 0xa4 };
    size_t size = 0;
    const uint8_t *dsdt = mir__acpi_table("DSDT", &size);
    size_t at = dsdt != NULL ? mir__acpi_search(dsdt, size, 0, "_CBA", NAME) + NAME + FLAGS : 0;
    if (dsdt == NULL || at >= size || dsdt[at++] != RETURN ||
        !mir__acpi_integer(dsdt, size, &at, &ecam))
        ecam = 0;
    if (ecam % BUS_SIZE != 0)
        ecam = 0;
}

bool mir__arch_pci_open(uint8_t *last)
{
    read_mcfg();
    if (ecam == 0)
        read_cba();
    is_there = ecam != 0;
    if (!is_there) {
        last_bus = 255;
        mir__out32(PORT_ADDRESS, ENABLED);
        is_there = mir__in32(PORT_ADDRESS) == ENABLED;
    }
    *last = last_bus;
    return is_there;
}

/* A descriptor of memory with [width] bytes to a number, from which the window is what it covers.
 */
static void find_window(const uint8_t *dsdt, size_t size, unsigned width,
                        struct mir_pci_window *window)
{
    enum { HEADER = 6, NUMBERS = 5, LOW_END = 0x100000 };
    const uint8_t dword[] = {0x87, 0x17, 0, 0}, qword[] = {0x8a, 0x2b, 0, 0};
    const uint8_t *pattern = width == 8 ? qword : dword;
    for (size_t at = 0; (at = mir__acpi_search(dsdt, size, at, pattern, 4)) < size; at++) {
        uint64_t number[NUMBERS]; /* granularity, first, last, translation, length */
        if (size - at < HEADER + NUMBERS * width)
            return;
        for (unsigned i = 0; i < NUMBERS; i++) {
            const uint8_t *from = dsdt + at + HEADER + i * width;
            number[i] = width == 8 ? mir__acpi_u64(from) : mir__acpi_u32(from);
        }
        bool is_whole = number[2] > number[1] && number[2] - number[1] + 1 == number[4];
        if (!is_whole || number[3] != 0 || number[1] < LOW_END)
            continue;
        *window = (struct mir_pci_window){number[1], number[2] + 1};
        return;
    }
}

bool mir__arch_pci_windows(struct mir_pci_windows *windows)
{
    size_t size = 0;
    const uint8_t *dsdt = mir__acpi_table("DSDT", &size);
    if (dsdt == NULL || ecam == 0)
        return false;
    find_window(dsdt, size, 4, &windows->memory);
    find_window(dsdt, size, 8, &windows->memory64);
    return windows->memory.next != windows->memory.end;
}

static volatile uint8_t *space_of(struct mir__pci_address at)
{
    if (at.bus < first_bus || at.bus > last_bus)
        return NULL;
    if (buses[at.bus] == NULL)
        buses[at.bus] = mir__arch_map_physical(ecam + (uint64_t)at.bus * BUS_SIZE, BUS_SIZE,
                                               MIR__MAP_WRITE | MIR__MAP_DEVICE);
    if (buses[at.bus] == NULL)
        return NULL;
    return buses[at.bus] + (((uint32_t)at.device << 3 | at.function) << 12);
}

/* The port of the data, with the address chosen. */
static uint16_t choose(struct mir__pci_address at, uint32_t offset)
{
    mir__out32(PORT_ADDRESS, ENABLED | (uint32_t)at.bus << 16 | (uint32_t)at.device << 11 |
                                 (uint32_t)at.function << 8 | (offset & 0xfc));
    return (uint16_t)(PORT_DATA + (offset & 3));
}

uint32_t mir__arch_pci_read(struct mir__pci_address at, uint32_t offset, unsigned width)
{
    uint32_t nothing = width == 4 ? UINT32_MAX : (1u << 8 * width) - 1;
    MIR_ASSERT(at.device < 32 && at.function < 8 && offset % width == 0 && offset < SPACE);
    if (!is_there)
        return nothing;
    if (ecam == 0)
        return offset < SPACE_OLD ? mir__arch_port_read(choose(at, offset), width) : nothing;
    volatile uint8_t *space = space_of(at);
    if (space == NULL)
        return nothing;
    if (width == 1)
        return space[offset];
    if (width == 2)
        return *(volatile uint16_t *)(space + offset);
    return *(volatile uint32_t *)(space + offset);
}

void mir__arch_pci_write(struct mir__pci_address at, uint32_t offset, unsigned width,
                         uint32_t value)
{
    MIR_ASSERT(at.device < 32 && at.function < 8 && offset % width == 0 && offset < SPACE);
    if (!is_there)
        return;
    if (ecam == 0) {
        if (offset < SPACE_OLD)
            mir__arch_port_write(choose(at, offset), width, value);
        return;
    }
    volatile uint8_t *space = space_of(at);
    if (space == NULL)
        return;
    if (width == 1)
        space[offset] = (uint8_t)value;
    else if (width == 2)
        *(volatile uint16_t *)(space + offset) = (uint16_t)value;
    else
        *(volatile uint32_t *)(space + offset) = value;
}

/* What the firmware wrote is the number of an ISA interrupt; PCs have the same line on the I/O
 * APIC, level-triggered by an override of the MADT. */
int mir__arch_pci_line(struct mir__pci_address at, unsigned *slot)
{
    enum { INTERRUPT_LINE = 0x3c, NONE = 0xff };
    uint32_t line = mir__arch_pci_read(at, INTERRUPT_LINE, 1);
    if (line == 0 || line == NONE || line >= 16)
        return -MIR_ENOTSUP;
    return mir__irq_isa(line, true, slot);
}

uint32_t mir__arch_port_read(uint16_t port, unsigned width)
{
    return width == 1 ? mir__in8(port) : width == 2 ? mir__in16(port) : mir__in32(port);
}

void mir__arch_port_write(uint16_t port, unsigned width, uint32_t value)
{
    if (width == 1)
        mir__out8(port, (uint8_t)value);
    else if (width == 2)
        mir__out16(port, (uint16_t)value);
    else
        mir__out32(port, value);
}
