/* SPDX-License-Identifier: ISC */
/* PCI configuration space from the input: addresses, enumeration, capabilities, windows, messages,
 * and a virtio device found there is opened. Registers are bytes of the input, too. Nothing is
 * touched outside a window, and everything ends.
 */
#include <stdlib.h>
#include <string.h>

#include "dev/net/virtio/virtio.h"
#include "dev/virtio/pci.h"
#include "test/harness/pcispace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA ((size_t)1 << 20)

static const uint8_t *input;
static size_t input_size, input_at;
static mir_time_us now_us;

static mir_time_us read_clock(struct mir_clock *clock)
{
    (void)clock;
    return now_us += 1000;
}

static void write_space(const struct mir_pci *pci, uint16_t bdf, uint32_t offset, unsigned width,
                        uint32_t value)
{
    const uint8_t *space = pcispace_of(bdf);
    if (space != NULL && offset >= 0x10 && offset < 0x28 && value == UINT32_MAX)
        value = 0xfffff000u | space[offset]; /* 4 KiB, of the kind it was */
    pcispace_write(pci, bdf, offset, width, value);
}

static uint32_t read_register(const struct mir_regs *regs, uint32_t offset, unsigned width)
{
    uint32_t value = 0;
    if (offset + width > regs->size_bytes)
        abort();
    for (unsigned i = 0; i < width; i++)
        value = value << 8 | (input_at < input_size ? input[input_at++] : 0u);
    return value;
}

static void write_register(const struct mir_regs *regs, uint32_t offset, unsigned width,
                           uint32_t value)
{
    (void)value;
    if (offset + width > regs->size_bytes)
        abort();
}

static int map_registers(const struct mir_pci *pci, uint64_t address, uint64_t size_bytes,
                         bool is_io, struct mir_regs *regs)
{
    (void)pci;
    (void)is_io;
    if (size_bytes == 0 || address == 0 || size_bytes > UINT32_MAX)
        abort();
    *regs = (struct mir_regs){
        .read = read_register, .write = write_register, .size_bytes = (uint32_t)size_bytes};
    return 0;
}

static struct mir_page_pool pages;
static struct mir_buf_pool bufs;
static struct mir_loop loop;

static bool on_device(void *arg, const struct mir_pci_device *device)
{
    static struct mir_virtio_pci vp;
    struct mir_pci_msix msix;
    struct mir_net_dev *dev;
    uint32_t *left = arg;
    if (mir_pci_msix_open(device, &msix) == 0) {
        mir_pci_msix_set(&msix, 0, 0xfee00000, 1);
        mir_pci_msix_enable(device, &msix);
    }
    struct mir_clock clock = {.monotonic = read_clock, .wall = read_clock};
    if (mir_virtio_pci_init(&vp, device, input_size % 2, &clock, &pages) < 0)
        return --*left > 0;
    mir_virtio_pci_use_messages(&vp, 0, 1);
    struct mir_virtio_net_config config = {.virtio = &vp.virtio, .loop = &loop, .bufs = &bufs};
    if (vp.virtio.device == MIR_VIRTIO_NET && mir_virtio_net_open(&config, &dev) == 0)
        mir_net_dev_close(dev);
    return --*left > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mir_pci pci = {.read = pcispace_read, .write = write_space, .map = map_registers};
    uint32_t left = 16;
    uint8_t *arena = aligned_alloc(MIR_PAGE_SIZE, ARENA);
    memset(pcispace, 0, sizeof pcispace);
    memcpy(pcispace, data, size < sizeof pcispace ? size : sizeof pcispace);
    input = data;
    input_size = size;
    input_at = 0;
    now_us = 1000000;
    mir_loop_init(&loop, now_us);
    if (arena == NULL || mir_page_pool_init(&pages, arena, ARENA) < 0 ||
        mir_buf_pool_init(&bufs, &pages, 64) < 0)
        abort();
    struct mir_pci_windows windows = {{0x1000, 0x2000}, {0xc0000000, 0xc0010000}, {0, 0}};
    if (mir_pci_place(&pci, &windows) && windows.memory.next > windows.memory.end)
        abort();
    mir_pci_scan(&pci, on_device, &left);
    if (mir_page_pool_used_bytes(&pages) != 0)
        abort();
    mir_buf_pool_fini(&bufs);
    free(arena);
    return 0;
}
