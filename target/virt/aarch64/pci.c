/* SPDX-License-Identifier: ISC */
/* PCI: configuration space by ECAM, windows for addresses of devices, interrupt lines.
 *
 * No firmware has been here: base address registers are empty (dev/pci/place.c). The windows that
 * the host bridge passes on are in the device tree ("ranges"). Lines come from the tree, too
 * ("interrupt-map").
 *
 * Ports (transitional devices) are memory of the bridge here.
 *
 * Limits: devices behind bridges are not looked for, as QEMU puts none there unless told to; a
 * window whose addresses differ on the two sides of the bridge is not used.
 *
 * Source: PCI Express Base Specification 4.0, section 7.2.2 (ECAM); PCI Local Bus Specification
 * 3.0, section 6.2.5 (base addresses); IEEE 1275 bindings, PCI Bus Binding 2.1 (ranges) and
 * Interrupt Mapping 0.9.
 */
#include <mirari/bytes.h>

#include "dev/pci/pci.h"
#include "target/virt/aarch64/internal.h"

#define BUS_BYTES    (1u << 20)
#define DEVICES      32u
#define FUNCTIONS    8u
#define CONFIG_BYTES 4096u
#define PORTS_FIRST  0x1000u /* below: addresses of a PC's own devices */
#define RANGE_CELLS  7u      /* three of PCI, two of the processor, two of size */
#define MAP_CHILD    4u      /* three of address, one of pin */
#define GIC_CELLS    3u
#define CELLS_MAX    8u

enum {
    CONFIG_PIN = 0x3d,
};

enum { WINDOW_PORTS = 1, WINDOW_MEMORY = 2, WINDOW_MEMORY64 = 3 };

static struct mir_pci_windows windows;
static volatile uint8_t *ecam, *ports;
static uint32_t ecam_bytes;
static uint8_t last_bus;
static bool is_open;

/* ---- configuration space --------------------------------------------------------------------- */

static volatile uint8_t *config_at(struct mir__pci_address at, uint32_t offset)
{
    uint32_t place =
        (uint32_t)at.bus << 20 | (uint32_t)at.device << 15 | (uint32_t)at.function << 12 | offset;
    if (at.device >= DEVICES || at.function >= FUNCTIONS || offset >= CONFIG_BYTES ||
        place >= ecam_bytes)
        return NULL;
    return ecam + place;
}

static uint32_t read_at(const volatile uint8_t *at, unsigned width)
{
    if (width == 1)
        return mir__mmio_read8(at);
    return width == 2 ? mir__mmio_read16(at) : mir__mmio_read32(at);
}

static void write_at(volatile uint8_t *at, unsigned width, uint32_t value)
{
    if (width == 1)
        mir__mmio_write8(at, (uint8_t)value);
    else if (width == 2)
        mir__mmio_write16(at, (uint16_t)value);
    else
        mir__mmio_write32(at, value);
}

uint32_t mir__arch_pci_read(struct mir__pci_address at, uint32_t offset, unsigned width)
{
    const volatile uint8_t *config = config_at(at, offset);
    return config != NULL ? read_at(config, width) : UINT32_MAX >> (32 - 8 * width);
}

void mir__arch_pci_write(struct mir__pci_address at, uint32_t offset, unsigned width,
                         uint32_t value)
{
    volatile uint8_t *config = config_at(at, offset);
    if (config != NULL)
        write_at(config, width, value);
}

/* ---- the bridge ------------------------------------------------------------------------------ */

static uint64_t two_cells(const struct mir__fdt_value *value, uint32_t index)
{
    return (uint64_t)mir__fdt_value_cell(value, index) << 32 |
           mir__fdt_value_cell(value, index + 1);
}

static void read_windows(const struct mir__fdt_walk *walk)
{
    struct mir__fdt_value ranges;
    if (mir__fdt_property(walk, "ranges", &ranges) < 0)
        return;
    for (uint32_t i = 0; i + RANGE_CELLS <= ranges.len / 4; i += RANGE_CELLS) {
        unsigned kind = mir__fdt_value_cell(&ranges, i) >> 24 & 3;
        uint64_t pci = two_cells(&ranges, i + 1), cpu = two_cells(&ranges, i + 3);
        uint64_t size = two_cells(&ranges, i + 5);
        if (kind == 0 || pci + size < pci)
            continue;
        struct mir_pci_window *window = kind == WINDOW_MEMORY ? &windows.memory : &windows.memory64;
        if (kind == WINDOW_PORTS && ports == NULL) {
            ports = mir__arch_map_physical(cpu, size, MIR__MAP_WRITE | MIR__MAP_DEVICE);
            if (ports == NULL || pci != 0)
                continue;
            windows.ports = (struct mir_pci_window){PORTS_FIRST, size};
        } else if (kind != WINDOW_PORTS && pci == cpu) {
            *window = (struct mir_pci_window){pci, pci + size};
        }
    }
}

bool mir__arch_pci_open(uint8_t *last)
{
    struct mir__fdt_walk walk;
    uint64_t base, size;
    if (!is_open) {
        is_open = true;
        if (mir__fdt_device("pci-host-ecam-generic", &walk, NULL) < 0 ||
            mir__fdt_reg(&walk, 0, &base, &size) < 0 || size < BUS_BYTES)
            return false;
        ecam_bytes = BUS_BYTES; /* the first bus: nothing is looked for on others */
        ecam = mir__arch_map_physical(base, ecam_bytes, MIR__MAP_WRITE | MIR__MAP_DEVICE);
        if (ecam == NULL)
            return false;
        read_windows(&walk);
    }
    *last = last_bus;
    return ecam != NULL;
}

bool mir__arch_pci_windows(struct mir_pci_windows *out)
{
    *out = windows;
    return is_open;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* Cells of an address in the node of the interrupt controller @phandle. */
static uint32_t parent_cells(uint32_t phandle)
{
    struct mir__fdt_walk walk;
    uint32_t cells;
    if (mir__fdt_find_phandle(&walk, &mir__fdt, phandle) < 0 ||
        mir__fdt_cell(&walk, "#address-cells", 0, &cells) < 0)
        return 0;
    return MIR_MIN(cells, CELLS_MAX);
}

int mir__arch_pci_line(struct mir__pci_address at, unsigned *slot)
{
    struct mir__fdt_walk walk;
    struct mir__fdt_value map, mask;
    uint32_t pin = mir__arch_pci_read(at, CONFIG_PIN, 1);
    uint32_t where =
        (uint32_t)at.bus << 16 | (uint32_t)at.device << 11 | (uint32_t)at.function << 8;
    if (pin < 1 || pin > 4 || mir__fdt_device("pci-host-ecam-generic", &walk, NULL) < 0 ||
        mir__fdt_property(&walk, "interrupt-map", &map) < 0 ||
        mir__fdt_property(&walk, "interrupt-map-mask", &mask) < 0 || mask.len < MAP_CHILD * 4)
        return -MIR_ENOTSUP;
    where &= mir__fdt_value_cell(&mask, 0);
    pin &= mir__fdt_value_cell(&mask, 3);
    for (uint32_t i = 0; i + MAP_CHILD < map.len / 4;) {
        uint32_t irq = i + MAP_CHILD + 1 + parent_cells(mir__fdt_value_cell(&map, i + MAP_CHILD));
        if (irq + GIC_CELLS > map.len / 4)
            break;
        if (mir__fdt_value_cell(&map, i) == where && mir__fdt_value_cell(&map, i + 3) == pin) {
            bool is_level = (mir__fdt_value_cell(&map, irq + 2) & 0xc) != 0;
            if (mir__fdt_value_cell(&map, irq) != 0)
                break;
            return mir__arch_irq_line(mir__fdt_value_cell(&map, irq + 1), is_level, false, slot);
        }
        i = irq + GIC_CELLS;
    }
    return -MIR_ENOTSUP;
}

/* ---- ports ----------------------------------------------------------------------------------- */

uint32_t mir__arch_port_read(uint16_t port, unsigned width)
{
    return ports != NULL ? read_at(ports + port, width) : UINT32_MAX >> (32 - 8 * width);
}

void mir__arch_port_write(uint16_t port, unsigned width, uint32_t value)
{
    if (ports != NULL)
        write_at(ports + port, width, value);
}
