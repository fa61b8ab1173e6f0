/* SPDX-License-Identifier: ISC */
/* Configuration spaces of a few PCI functions as bytes. */
#include "test/harness/pcispace.h"

#include <stdlib.h>
#include <string.h>

uint8_t pcispace[PCISPACE_FUNCTIONS][PCISPACE_BYTES];

uint8_t *pcispace_of(uint16_t bdf)
{
    static const uint16_t places[PCISPACE_FUNCTIONS] = {0x0000, 0x0008, 0x0009, 0x0100};
    for (unsigned i = 0; i < PCISPACE_FUNCTIONS; i++) {
        if (places[i] == bdf)
            return pcispace[i];
    }
    return NULL;
}

uint32_t pcispace_read(const struct mir_pci *pci, uint16_t bdf, uint32_t offset, unsigned width)
{
    uint32_t value = UINT32_MAX;
    (void)pci;
    if (offset % width != 0 && width != 2)
        abort();
    if (pcispace_of(bdf) != NULL && offset + width <= PCISPACE_BYTES)
        memcpy(&value, pcispace_of(bdf) + offset, width);
    return value & UINT32_MAX >> (32 - 8 * width);
}

void pcispace_write(const struct mir_pci *pci, uint16_t bdf, uint32_t offset, unsigned width,
                    uint32_t value)
{
    (void)pci;
    if (pcispace_of(bdf) != NULL && offset + width <= PCISPACE_BYTES)
        memcpy(pcispace_of(bdf) + offset, &value, width);
}
