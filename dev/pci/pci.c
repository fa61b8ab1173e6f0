/* SPDX-License-Identifier: ISC */
/* PCI configuration space: enumeration, capabilities, base addresses, MSI-X.
 *
 *   bus 0 --+-- 00.0 host bridge
 *           +-- 02.0 device           32 devices of up to 8 functions on a bus
 *           +-- 1c.0 bridge --- bus 1 --+-- ...
 *
 * Buses are numbered by firmware; a bridge is entered if its secondary bus is larger than its own,
 * which makes the walk finite whatever is written there. Addresses are firmware's as well, or
 * place.c gives them: a device whose registers got none is shown with an address of 0 and left
 * alone.
 *
 * A device can be hostile too: lists are followed a bounded number of steps, and tables must lie
 * inside the registers that hold them.
 */
#include "dev/pci/pci.h"

enum config {
    CONFIG_ID = 0x00,
    CONFIG_COMMAND = 0x04,
    CONFIG_STATUS = 0x06,
    CONFIG_CLASS = 0x08,
    CONFIG_HEADER = 0x0e,
    CONFIG_BAR = 0x10,
    CONFIG_BUSES = 0x18, /* of a bridge */
    CONFIG_SUBSYSTEM = 0x2c,
    CONFIG_CAPABILITIES = 0x34,
    CONFIG_LINE = 0x3c,
    CONFIG_PIN = 0x3d,
};

#define COMMAND_IO       0x001u
#define COMMAND_MEMORY   0x002u
#define COMMAND_MASTER   0x004u
#define COMMAND_NO_LINE  0x400u
#define STATUS_HAS_LIST  0x10u
#define HEADER_BRIDGE    1u
#define HEADER_MANY      0x80u
#define CAPABILITY_MSIX  0x11u
#define CAPABILITIES_MAX 48u /* of 4 bytes and more in 192 */
#define BAR_IO           1u
#define BAR_TYPE_64      4u
#define MSIX_ENTRY_BYTES 16u
#define MSIX_COUNT_MAX   2048u
#define MSIX_ENABLE      0x8000u
#define MSIX_MASK_ALL    0x4000u
#define DEPTH_MAX        8u

static uint32_t get(const struct mir_pci_device *d, uint32_t offset, unsigned width)
{
    return d->pci->read(d->pci, d->bdf, offset, width);
}

static void set(const struct mir_pci_device *d, uint32_t offset, unsigned width, uint32_t value)
{
    d->pci->write(d->pci, d->bdf, offset, width, value);
}

/* ---- scan -------------------------------------------------------------------------------------
 */

struct scan {
    const struct mir_pci *pci;
    bool (*found)(void *arg, const struct mir_pci_device *device);
    void *arg;
    bool is_over;
};

static void describe(struct mir_pci_device *d)
{
    uint32_t subsystem = get(d, CONFIG_SUBSYSTEM, 4);
    d->class_code = get(d, CONFIG_CLASS, 4) >> 8;
    d->subsystem_vendor = (uint16_t)subsystem;
    d->subsystem = (uint16_t)(subsystem >> 16);
    d->line = (uint8_t)get(d, CONFIG_LINE, 1);
    d->pin = (uint8_t)get(d, CONFIG_PIN, 1);
}

static void scan_bus(struct scan *scan, uint8_t bus, unsigned depth);

/* Returns the type of its header; 0xff: there is none. */
static uint8_t scan_function(struct scan *scan, uint16_t bdf, unsigned depth)
{
    struct mir_pci_device d = {.pci = scan->pci, .bdf = bdf};
    uint32_t id = get(&d, CONFIG_ID, 4);
    if ((id & 0xffff) == 0xffff || (id & 0xffff) == 0)
        return 0xff;
    uint8_t header = (uint8_t)get(&d, CONFIG_HEADER, 1);
    d.vendor = (uint16_t)id;
    d.device = (uint16_t)(id >> 16);
    if ((header & 0x7f) == HEADER_BRIDGE) {
        uint8_t secondary = (uint8_t)(get(&d, CONFIG_BUSES, 4) >> 8);
        if (secondary > bdf >> 8 && depth < DEPTH_MAX)
            scan_bus(scan, secondary, depth + 1);
    } else if ((header & 0x7f) == 0) {
        describe(&d);
        if (!scan->found(scan->arg, &d))
            scan->is_over = true;
    }
    return header;
}

static void scan_bus(struct scan *scan, uint8_t bus, unsigned depth)
{
    for (unsigned device = 0; device < 32 && !scan->is_over; device++) {
        uint16_t bdf = (uint16_t)(bus << 8 | device << 3);
        uint8_t header = scan_function(scan, bdf, depth);
        if (header == 0xff || !(header & HEADER_MANY))
            continue;
        for (unsigned function = 1; function < 8 && !scan->is_over; function++)
            (void)scan_function(scan, (uint16_t)(bdf | function), depth);
    }
}

void mir_pci_scan(const struct mir_pci *pci,
                  bool (*found)(void *arg, const struct mir_pci_device *device), void *arg)
{
    struct scan scan = {.pci = pci, .found = found, .arg = arg};
    scan_bus(&scan, 0, 0);
}

/* ---- registers --------------------------------------------------------------------------------
 */

uint32_t mir_pci_find_capability(const struct mir_pci_device *device, uint8_t id, uint32_t after)
{
    uint32_t at = after;
    if (after == 0) {
        if (!(get(device, CONFIG_STATUS, 2) & STATUS_HAS_LIST))
            return 0;
        at = CONFIG_CAPABILITIES - 1;
    }
    for (unsigned steps = 0; steps < CAPABILITIES_MAX; steps++) {
        at = get(device, at + 1, 1) & 0xfc;
        if (at < 0x40)
            return 0;
        if (get(device, at, 1) == id)
            return at;
    }
    return 0;
}

/* All ones are written; the bits that stay zero are the size. */
static uint32_t probe(const struct mir_pci_device *device, uint32_t offset, uint32_t value)
{
    set(device, offset, 4, UINT32_MAX);
    uint32_t mask = get(device, offset, 4);
    set(device, offset, 4, value);
    return mask;
}

void mir_pci_bar(const struct mir_pci_device *device, unsigned index, struct mir_pci_bar *bar)
{
    *bar = (struct mir_pci_bar){0};
    if (index >= MIR_PCI_BARS)
        return;
    uint32_t offset = CONFIG_BAR + 4 * index;
    uint32_t command = get(device, CONFIG_COMMAND, 2);
    set(device, CONFIG_COMMAND, 2, command & ~(COMMAND_IO | COMMAND_MEMORY));
    uint32_t low = get(device, offset, 4), high = 0;
    uint32_t mask = probe(device, offset, low), high_mask = UINT32_MAX;
    bool is_io = low & BAR_IO;
    if (!is_io && (low & 6) == BAR_TYPE_64 && index + 1 < MIR_PCI_BARS) {
        high = get(device, offset + 4, 4);
        high_mask = probe(device, offset + 4, high);
    }
    set(device, CONFIG_COMMAND, 2, command);
    mask &= is_io ? 0xfffffffcu : 0xfffffff0u;
    if (mask == 0)
        return;
    bar->is_io = is_io;
    bar->address = is_io ? low & 0xfffc : (uint64_t)high << 32 | (low & 0xfffffff0u);
    bar->size_bytes =
        is_io ? (uint64_t)(uint16_t)~mask + 1 : ~((uint64_t)high_mask << 32 | mask) + 1;
    /* Registers that go round the end of all addresses are none. */
    if (bar->size_bytes == 0 || bar->address + (bar->size_bytes - 1) < bar->address)
        *bar = (struct mir_pci_bar){0};
}

void mir_pci_enable(const struct mir_pci_device *device, bool with_messages)
{
    uint32_t command = get(device, CONFIG_COMMAND, 2);
    command |= COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER;
    command = with_messages ? command | COMMAND_NO_LINE : command & ~COMMAND_NO_LINE;
    set(device, CONFIG_COMMAND, 2, command);
}

/* ---- messages ---------------------------------------------------------------------------------
 */

int mir_pci_msix_open(const struct mir_pci_device *device, struct mir_pci_msix *msix)
{
    struct mir_pci_bar bar;
    struct mir_regs regs;
    uint32_t at = mir_pci_find_capability(device, CAPABILITY_MSIX, 0);
    if (at == 0)
        return -MIR_ENOTSUP;
    uint32_t count = (get(device, at + 2, 2) & (MSIX_COUNT_MAX - 1)) + 1;
    uint32_t place = get(device, at + 4, 4);
    uint64_t offset = place & ~7u, size = (uint64_t)count * MSIX_ENTRY_BYTES;
    mir_pci_bar(device, place & 7, &bar);
    if (bar.address == 0 || bar.is_io || offset > bar.size_bytes || size > bar.size_bytes - offset)
        return -MIR_ERANGE;
    int r = device->pci->map(device->pci, bar.address + offset, size, false, &regs);
    if (r < 0)
        return r;
    *msix = (struct mir_pci_msix){.table = regs, .capability = at, .count = count};
    for (uint32_t i = 0; i < count; i++)
        mir_regs_write(&msix->table, i * MSIX_ENTRY_BYTES + 12, 4, 1);
    return 0;
}

void mir_pci_msix_set(const struct mir_pci_msix *msix, uint32_t index, uint64_t address,
                      uint32_t data)
{
    uint32_t at = index * MSIX_ENTRY_BYTES;
    MIR_ASSERT_OP(index, <, msix->count);
    mir_regs_write(&msix->table, at, 4, (uint32_t)address);
    mir_regs_write(&msix->table, at + 4, 4, (uint32_t)(address >> 32));
    mir_regs_write(&msix->table, at + 8, 4, data);
    mir_regs_write(&msix->table, at + 12, 4, 0);
}

void mir_pci_msix_enable(const struct mir_pci_device *device, const struct mir_pci_msix *msix)
{
    uint32_t control = get(device, msix->capability + 2, 2);
    set(device, msix->capability + 2, 2, (control | MSIX_ENABLE) & ~MSIX_MASK_ALL);
}
