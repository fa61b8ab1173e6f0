/* SPDX-License-Identifier: ISC */
/* Configuration spaces of a few PCI functions as bytes: a bus with two devices, the second of two
 * functions, and one on the bus behind. */
#ifndef TEST_PCISPACE_H
#define TEST_PCISPACE_H

#include "dev/pci/pci.h"

#define PCISPACE_FUNCTIONS 4u
#define PCISPACE_BYTES     256u

extern uint8_t pcispace[PCISPACE_FUNCTIONS][PCISPACE_BYTES];

/** That of 00:00.0, 00:01.0, 00:01.1 and 01:00.0; NULL: no such function. */
uint8_t *pcispace_of(uint16_t bdf);
/** As struct mir_pci has them: bytes are read and written as they are. */
uint32_t pcispace_read(const struct mir_pci *pci, uint16_t bdf, uint32_t offset, unsigned width);
void pcispace_write(const struct mir_pci *pci, uint16_t bdf, uint32_t offset, unsigned width,
                    uint32_t value);

#endif
