/* SPDX-License-Identifier: ISC */
/* QEMU's PCI device for memory that machines share.
 *
 *   BAR 0   registers: 8 our number, 12 doorbell (number << 16 | vector)
 *   BAR 1   MSI-X
 *   BAR 2   the memory
 *
 * The device says who we are and lets us ring others. Who comes and goes it does not say: the
 * keeper of the region (the ivshmem server) writes that into the memory and rings.
 *
 * Limits: revision 1 of the device, vector 0, no interrupts by line (the device has none then).
 */
#include "dev/channel/ivshmem/ivshmem.h"

enum registers { REGISTER_NUMBER = 8, REGISTER_DOORBELL = 12, REGISTER_BYTES = 16 };

#define VENDOR     0x1af4u
#define DEVICE     0x1110u
#define NUMBER_MAX 0xffffu

bool mir_ivshmem_is(const struct mir_pci_device *device)
{
    return device->vendor == VENDOR && device->device == DEVICE;
}

int mir_ivshmem_init(struct mir_ivshmem *dev, const struct mir_pci_device *device)
{
    struct mir_pci_bar bar;
    if (!mir_ivshmem_is(device))
        return -MIR_ENOTSUP;
    *dev = (struct mir_ivshmem){.pci = *device};
    mir_list_init(&dev->region.ends);
    mir_pci_bar(&dev->pci, 0, &bar);
    mir_pci_bar(&dev->pci, 2, &dev->bar);
    if (bar.address == 0 || bar.is_io || bar.size_bytes < REGISTER_BYTES || dev->bar.address == 0 ||
        dev->bar.is_io || dev->bar.size_bytes < MIR_REGION_BYTES_MIN)
        return -MIR_ERANGE;
    int r = device->pci->map(device->pci, bar.address, bar.size_bytes, false, &dev->regs);
    if (r == 0)
        mir_pci_enable(&dev->pci, true);
    return r;
}

static void ring(void *arg, uint32_t peer)
{
    struct mir_ivshmem *dev = arg;
    mir_regs_write(&dev->regs, REGISTER_DOORBELL, 4, peer << 16);
}

int mir_ivshmem_open(struct mir_ivshmem *dev, void *memory, void (*changed)(void *arg), void *arg)
{
    uint32_t number = mir_regs_read(&dev->regs, REGISTER_NUMBER, 4);
    if (number > NUMBER_MAX)
        return -MIR_ENOTSUP;
    const struct mir_region_config config = {
        .memory = memory,
        .bytes = dev->bar.size_bytes,
        .self = number,
        .ring = ring,
        .ring_arg = dev,
        .changed = changed,
        .arg = arg,
    };
    return mir_region_open(&dev->region, &config);
}
