/* SPDX-License-Identifier: ISC */
/* Virtio over PCI: modern devices by their capabilities, transitional ones by an I/O window. */
#ifndef DEV_VIRTIO_PCI_H
#define DEV_VIRTIO_PCI_H

#include "dev/pci/pci.h"
#include "dev/virtio/virtio.h"

struct mir_virtio_pci {
    struct mir_virtio virtio; /* first */
    struct mir_pci_device pci;
    struct mir_regs common; /* of a legacy device: all there is */
    struct mir_regs notify;
    struct mir_regs isr;
    struct mir_regs config;
    struct mir_pci_bar bar; /* the one looked at last: windows mostly share one */
    uint8_t bar_index;
    uint32_t notify_multiplier;
    uint32_t config_at; /* of a legacy device: where its configuration begins */
    uint16_t queue_count;
};

/** Is it a virtio device at all? */
bool mir_virtio_pci_is(const struct mir_pci_device *device);

/**
 * mir_virtio_pci_init() - a virtio device on PCI.
 *
 * Interrupts are by line until mir_virtio_pci_use_messages().
 *
 * @use_legacy  take the old interface of a transitional device though it has the new one (for
 * tests)
 *
 * Returns 0, -MIR_ENOTSUP (no virtio device, or no interface that we know), -MIR_ERANGE (its
 *         registers got no address, or one that we cannot reach).
 * Source  VIRTIO 1.2 section 4.1
 */
int mir_virtio_pci_init(struct mir_virtio_pci *vp, const struct mir_pci_device *device,
                        bool use_legacy, struct mir_clock *clock,
                        struct mir_page_pool *pages) MIR_CHECK;

/** Queues interrupt by MSI-X entry @queue_vector, changes of the configuration by @config_vector;
 *  MSI-X is enabled. Before the driver opens the device. Source VIRTIO 1.2
 * section 4.1.4.3, 4.1.5.1.2. Returns nothing. */
void mir_virtio_pci_use_messages(struct mir_virtio_pci *vp, uint16_t config_vector,
                                 uint16_t queue_vector);

#endif
