/* SPDX-License-Identifier: ISC */
/* The console: the PL011 that the device tree calls stdout, else the first one it has.
 *
 * Writing waits until the transmitter takes a byte, but not for ever: one that is stuck loses
 * bytes. Virtual ports take bytes as fast as they come. Nothing is printed before a tree was found:
 * nobody knows where the port is.
 *
 * A line feed is sent alone: the other end is a terminal in cooked mode, a file or a program.
 *
 * Source: Arm PrimeCell UART (PL011) Technical Reference Manual, DDI 0183.
 */
#include "target/virt/aarch64/internal.h"

enum {
    DATA = 0x00,
    FLAGS = 0x18,
    LINE = 0x2c,
    CONTROL = 0x30,
    INTERRUPTS = 0x38,
    CLEAR = 0x44,
};

#define FLAGS_EMPTY       0x10u
#define FLAGS_FULL        0x20u
#define LINE_8N1_FIFO     0x70u
#define CONTROL_ON        0x301u /* port, transmitter, receiver */
#define INTERRUPT_RECEIVE 0x50u  /* a byte came; some are waiting for company */
#define PATIENCE          100000u

static volatile uint8_t *port;

/* stdout-path is a path or an alias, and may have settings behind a colon. */
static int find_stdout(struct mir__fdt_walk *walk)
{
    const char *path;
    size_t len = 0;
    if (mir__fdt_find(walk, &mir__fdt, "/chosen", 7) < 0 ||
        mir__fdt_text(walk, "stdout-path", &path) < 0)
        return -MIR_ENOENT;
    while (path[len] != '\0' && path[len] != ':')
        len++;
    if (mir__fdt_find(walk, &mir__fdt, path, len) < 0 || !mir__fdt_is(walk, "arm,pl011"))
        return -MIR_ENOENT;
    return 0;
}

static int find_port(struct mir__fdt_walk *walk)
{
    if (find_stdout(walk) == 0)
        return 0;
    return mir__fdt_device("arm,pl011", walk, NULL);
}

void mir__serial_open(void)
{
    struct mir__fdt_walk walk;
    uint64_t base, size;
    port = NULL;
    if (find_port(&walk) < 0 || mir__fdt_reg(&walk, 0, &base, &size) < 0)
        return;
    port = mir__arch_map_physical(base, size, MIR__MAP_WRITE | MIR__MAP_DEVICE);
    if (port == NULL)
        return;
    mir__mmio_write32(port + INTERRUPTS, 0);
    mir__mmio_write32(port + LINE, LINE_8N1_FIFO);
    mir__mmio_write32(port + CONTROL, CONTROL_ON);
}

void mir__arch_console_write(const char *data, size_t len)
{
    for (size_t i = 0; i < len && port != NULL; i++) {
        unsigned turns = 0;
        while ((mir__mmio_read32(port + FLAGS) & FLAGS_FULL) != 0 && turns < PATIENCE)
            turns++;
        mir__mmio_write32(port + DATA, (uint8_t)data[i]);
    }
}

int mir__arch_console_read(void)
{
    if (port == NULL || (mir__mmio_read32(port + FLAGS) & FLAGS_EMPTY) != 0)
        return -1;
    return (int)(mir__mmio_read32(port + DATA) & 0xff);
}

int mir__arch_console_irq(unsigned *slot)
{
    struct mir__fdt_walk walk;
    uint32_t intid;
    bool is_level;
    if (port == NULL || find_port(&walk) < 0 ||
        mir__fdt_interrupt(&walk, 0, &intid, &is_level) < 0 ||
        mir__irq_take_intid(intid, is_level, slot) < 0)
        return -MIR_ENOTSUP;
    mir__mmio_write32(port + CLEAR, INTERRUPT_RECEIVE);
    mir__mmio_write32(port + INTERRUPTS, INTERRUPT_RECEIVE);
    return 0;
}
