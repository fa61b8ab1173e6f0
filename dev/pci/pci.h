/* SPDX-License-Identifier: ISC */
/* PCI: what is on the bus, its registers and their addresses, its interrupts by message. Not more
 * than drivers of virtual devices need. */
#ifndef DEV_PCI_PCI_H
#define DEV_PCI_PCI_H

#include <mirari/base.h>
#include <mirari/err.h>

#include "dev/virtio/regs.h"

#define MIR_PCI_BARS 6u

/** What a target gives: configuration space, and registers made reachable. */
struct mir_pci {
    /** @bdf is bus << 8 | device << 3 | function; @width 1, 2 or 4, @offset a multiple. An absent
     *  device reads as all ones. */
    uint32_t (*read)(const struct mir_pci *pci, uint16_t bdf, uint32_t offset, unsigned width);
    void (*write)(const struct mir_pci *pci, uint16_t bdf, uint32_t offset, unsigned width,
                  uint32_t value);
    /** Registers at bus address @address (a port if @is_io), [size] bytes, uncached. Returns 0 or
     *  -MIR_ERANGE. */
    int (*map)(const struct mir_pci *pci, uint64_t address, uint64_t size_bytes, bool is_io,
               struct mir_regs *regs);
    void *arg;
};

struct mir_pci_bar {
    uint64_t address; /**< 0: absent, or no address was given */
    uint64_t size_bytes;
    bool is_io;
};

struct mir_pci_device {
    const struct mir_pci *pci;
    uint16_t bdf;
    uint16_t vendor, device;
    uint16_t subsystem_vendor, subsystem;
    uint32_t class_code; /**< class, subclass, programming interface: 24 bits */
    uint8_t line;        /**< what firmware wrote: the interrupt of its pin; 0xff = none */
    uint8_t pin;         /**< 1 .. 4 = A .. D; 0 = none */
};

/**
 * mir_pci_scan() - every function on every bus below bus 0.
 *
 * @found  called for each, with a structure that is valid during the call; false ends the scan
 *
 * Returns nothing.
 * Cost    32 reads of configuration for each bus that exists, 8 for each device of several
 * functions Source  PCI Local Bus Specification 3.0 sections 6.1, 6.2; PCI-to-PCI Bridge 1.2
 * section 3.2
 */
void mir_pci_scan(const struct mir_pci *pci,
                  bool (*found)(void *arg, const struct mir_pci_device *device), void *arg);

/** Bus addresses that nobody has yet; empty where next is end. */
struct mir_pci_window {
    uint64_t next, end;
};
struct mir_pci_windows {
    struct mir_pci_window ports, memory; /**< memory below 4 GiB */
    struct mir_pci_window memory64;
};

/**
 * mir_pci_place() - give the devices on bus 0 addresses, if nobody has.
 *
 * For machines without firmware that does it. Nothing is touched if a single register has an
 * address. Devices answer to their registers from now on.
 *
 * @windows  what the host bridge passes on; what was used of it is gone
 *
 * Returns true if the addresses are ours.
 * Cost    256 reads of configuration and some more for each device
 * Source  PCI Local Bus Specification 3.0 section 6.2.5.1
 */
bool mir_pci_place(const struct mir_pci *pci, struct mir_pci_windows *windows);

/** Where capability @id is in the configuration, after offset @after (0: the first); 0 = none. The
 *  list is followed a bounded number of steps. Source PCI 3.0 section 6.7. */
uint32_t mir_pci_find_capability(const struct mir_pci_device *device, uint8_t id, uint32_t after);

/** Address and size of a base address register. The device must not decode meanwhile. Returns
 *  nothing. Source PCI 3.0 section 6.2.5.1. */
void mir_pci_bar(const struct mir_pci_device *device, unsigned index, struct mir_pci_bar *bar);

/** Let the device answer to its registers and reach memory; lines of its own are off if
 *  @with_messages. Source: PCI 3.0 section 6.2.2. Returns nothing. */
void mir_pci_enable(const struct mir_pci_device *device, bool with_messages);

/** Interrupts by message (MSI-X). */
struct mir_pci_msix {
    struct mir_regs table;
    uint32_t capability;
    uint32_t count; /**< entries */
};

/** Find and reach the table of messages; all entries are masked. Returns 0, -MIR_ENOTSUP (it has
 *  none), -MIR_ERANGE. Source PCI 3.0 section 6.8.2. */
int mir_pci_msix_open(const struct mir_pci_device *device, struct mir_pci_msix *msix) MIR_CHECK;
/** Entry @index writes @data to @address. */
void mir_pci_msix_set(const struct mir_pci_msix *msix, uint32_t index, uint64_t address,
                      uint32_t data);
/** From now on messages, not lines. */
void mir_pci_msix_enable(const struct mir_pci_device *device, const struct mir_pci_msix *msix);

#endif
