/* SPDX-License-Identifier: ISC */
/* Addresses for PCI devices that no firmware has given any.
 *
 * A host bridge passes on windows of addresses; each base address register of each device on the
 * first bus gets a piece of one, at a multiple of its size, and the device decodes it from then on.
 * A register says itself how large its piece is: all ones are written, and the lowest bit that
 * stays is the size. Pieces of memory are whole pages, so that no two devices share one.
 *
 * Where a single register has an address already somebody was here before, and nothing is touched:
 * what else lies in the windows is not known then.
 *
 * A size that is no power of two, or larger than its window, is a device's mistake or lie: that
 * register gets nothing, and reads as absent.
 *
 * Limits: devices behind bridges get nothing.
 */
#include "dev/pci/pci.h"

enum config {
    CONFIG_ID = 0x00,
    CONFIG_COMMAND = 0x04,
    CONFIG_HEADER = 0x0e,
    CONFIG_BAR = 0x10,
};

#define PAGE_BYTES     4096u
#define HEADER_MANY    0x80u
#define COMMAND_DECODE 0x3u

enum { IS_PORTS = 1, IS_WIDE = 4, KIND = 7 };

/* ---- pieces --------------------------------------------------------------------------------- */

/* A piece of [size] bytes, a power of two. 0: there is none. */
static uint64_t allot(struct mir_pci_window *window, uint64_t size)
{
    uint64_t at = (window->next + size - 1) & ~(size - 1);
    if (at < window->next || at >= window->end || window->end - at < size)
        return 0;
    window->next = at + size;
    return at;
}

/* The register says which of its bits can be written: the size is the lowest. 0: it is absent. */
static uint64_t size_of(const struct mir_pci *pci, uint16_t bdf, uint32_t offset, bool is_wide,
                        uint32_t flags)
{
    uint64_t mask;
    pci->write(pci, bdf, offset, 4, UINT32_MAX);
    mask = pci->read(pci, bdf, offset, 4) & ~flags;
    if (is_wide) {
        pci->write(pci, bdf, offset + 4, 4, UINT32_MAX);
        mask |= (uint64_t)pci->read(pci, bdf, offset + 4, 4) << 32;
    }
    return mask & (~mask + 1);
}

/* Give base address register @index its piece. Returns how many registers it was. */
static unsigned place_register(const struct mir_pci *pci, uint16_t bdf, unsigned index,
                               struct mir_pci_windows *windows)
{
    uint32_t offset = CONFIG_BAR + index * 4, value = pci->read(pci, bdf, offset, 4);
    bool is_ports = (value & IS_PORTS) != 0;
    bool is_wide = (value & KIND) == IS_WIDE && index + 1 < MIR_PCI_BARS;
    uint64_t size = size_of(pci, bdf, offset, is_wide, is_ports ? 3 : 15), place = 0;
    if (size != 0 && is_ports)
        place = allot(&windows->ports, size);
    else if (size != 0)
        place = allot(&windows->memory, MIR_MAX(size, (uint64_t)PAGE_BYTES));
    if (size != 0 && place == 0 && is_wide)
        place = allot(&windows->memory64, MIR_MAX(size, (uint64_t)PAGE_BYTES));
    pci->write(pci, bdf, offset, 4, (uint32_t)place);
    if (is_wide)
        pci->write(pci, bdf, offset + 4, 4, (uint32_t)(place >> 32));
    return is_wide ? 2 : 1;
}

static void place_function(const struct mir_pci *pci, uint16_t bdf, struct mir_pci_windows *windows)
{
    uint32_t command = pci->read(pci, bdf, CONFIG_COMMAND, 2);
    pci->write(pci, bdf, CONFIG_COMMAND, 2, command & ~COMMAND_DECODE);
    for (unsigned i = 0; i < MIR_PCI_BARS;)
        i += place_register(pci, bdf, i, windows);
    pci->write(pci, bdf, CONFIG_COMMAND, 2, command | COMMAND_DECODE);
}

/* ---- the bus -------------------------------------------------------------------------------- */

static bool has_address(const struct mir_pci *pci, uint16_t bdf)
{
    for (unsigned i = 0; i < MIR_PCI_BARS; i++) {
        uint32_t value = pci->read(pci, bdf, CONFIG_BAR + i * 4, 4);
        bool is_upper = false;
        if (i > 0)
            is_upper = (pci->read(pci, bdf, CONFIG_BAR + (i - 1) * 4, 4) & KIND) == IS_WIDE;
        if ((value & (is_upper ? UINT32_MAX : value & IS_PORTS ? ~3u : ~15u)) != 0)
            return true;
    }
    return false;
}

/* The next function of bus 0 after @bdf that is no bridge; false: there is none. */
static bool next_function(const struct mir_pci *pci, uint16_t *bdf)
{
    for (uint32_t at = *bdf + 1u; at < 256; at++) {
        bool is_alone = (at & 7) != 0 &&
                        (pci->read(pci, (uint16_t)(at & ~7u), CONFIG_HEADER, 1) & HEADER_MANY) == 0;
        uint32_t id = is_alone ? 0 : pci->read(pci, (uint16_t)at, CONFIG_ID, 4) & 0xffff;
        if (id == 0 || id == 0xffff ||
            (pci->read(pci, (uint16_t)at, CONFIG_HEADER, 1) & ~HEADER_MANY) != 0)
            continue;
        *bdf = (uint16_t)at;
        return true;
    }
    return false;
}

bool mir_pci_place(const struct mir_pci *pci, struct mir_pci_windows *windows)
{
    /* Beginning before the first one, since 0 is the host bridge itself, which has no registers. */
    for (uint16_t bdf = 0; next_function(pci, &bdf);) {
        if (has_address(pci, bdf))
            return false;
    }
    for (uint16_t bdf = 0; next_function(pci, &bdf);)
        place_function(pci, bdf, windows);
    return true;
}
