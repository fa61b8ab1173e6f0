/* SPDX-License-Identifier: ISC */
/* Virtio devices on registers that the DSDT lists, as QEMU's microvm does: a device LNRO0005 whose
 * resources are one range of memory and one interrupt, in a fixed shape (ACPI 6.4, 6.4.3.4 and
 * 6.4.3.6).
 */
#include "target/virt/x86_64/acpi.h"
#include "target/virt/x86_64/internal.h"

#define NEAR 128u /* the resources are not further behind the name */

bool mir__arch_virtio_mmio(unsigned index, uint64_t *physical, size_t *size, unsigned *gsi,
                           bool *is_level)
{
    enum { MEMORY_SIZE = 12, INTERRUPT_SIZE = 9, EDGE = 2 };
    size_t end = 0, at = 0;
    const uint8_t *dsdt = mir__acpi_table("DSDT", &end);
    for (unsigned i = 0; dsdt != NULL; i++) {
        at = mir__acpi_search(dsdt, end, at, "LNRO0005", 8);
        if (at == end)
            return false;
        at += 8;
        if (i < index)
            continue;
        size_t memory = mir__acpi_search(dsdt, end, at, "\x86\x09\0", 3);
        size_t irq = mir__acpi_search(dsdt, end, at, "\x89\x06\0", 3);
        if (memory + MEMORY_SIZE > end || irq + INTERRUPT_SIZE > end || irq - at > NEAR ||
            memory - at > NEAR || dsdt[irq + 4] != 1)
            return false;
        *physical = mir__acpi_u32(dsdt + memory + 4);
        *size = mir__acpi_u32(dsdt + memory + 8);
        *gsi = mir__acpi_u32(dsdt + irq + 5);
        *is_level = (dsdt[irq + 3] & EDGE) == 0;
        return true;
    }
    return false;
}
