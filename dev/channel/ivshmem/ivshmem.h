/* SPDX-License-Identifier: ISC */
/* QEMU's PCI device for memory that machines share (ivshmem-doorbell), as a region of channels. */
#ifndef DEV_CHANNEL_IVSHMEM_IVSHMEM_H
#define DEV_CHANNEL_IVSHMEM_IVSHMEM_H

#include "dev/channel/region/region.h"
#include "dev/pci/pci.h"

/** Caller's memory. */
struct mir_ivshmem {
    struct mir_region region; /**< for offer and take */
    /* private: */
    struct mir_pci_device pci;
    struct mir_regs regs;
    struct mir_pci_bar bar;
};

/** Is it one, of the revision that has MSI-X? */
bool mir_ivshmem_is(const struct mir_pci_device *device);

/**
 * mir_ivshmem_init() - reach the registers.
 *
 * dev->bar is then where the shared memory is: the target makes it visible, cached as other memory,
 * because both sides use atomic operations on it.
 *
 * Returns 0, -MIR_ENOTSUP (no such device), -MIR_ERANGE (registers or memory got no address).
 * Source  QEMU docs/specs/ivshmem-spec, "Device interface"
 */
int mir_ivshmem_init(struct mir_ivshmem *dev, const struct mir_pci_device *device) MIR_CHECK;

/**
 * mir_ivshmem_open() - be in the region.
 *
 * @memory   the shared memory, dev->bar.size_bytes
 * @changed  as in struct mir_region_config; may be NULL
 *
 * Interrupts by message (mir_pci_msix_open()) are the caller's: any is mir_region_heard().
 *
 * Returns 0, -MIR_EPROTO (no region of ours in there), -MIR_ENOTSUP (one of another version, or the
 *         device has no number: its server is gone).
 * Source  QEMU docs/specs/ivshmem-spec, "Device interface"
 * Tests   test/boot/ivshmem.t, test/unit/ivshmem_test.c
 */
int mir_ivshmem_open(struct mir_ivshmem *dev, void *memory, void (*changed)(void *arg),
                     void *arg) MIR_CHECK;

#endif
