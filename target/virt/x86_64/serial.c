/* SPDX-License-Identifier: ISC */
/* The console: a 16550 at port 0x3f8, the first serial port of every virtual machine.
 *
 * Writing waits until the transmitter takes a byte, but not for ever: a port that is not there
 * reads as all ones and takes everything, one that is stuck loses bytes. Virtual ports take bytes
 * as fast as they come.
 *
 * A line feed is sent alone: the other end is a terminal in cooked mode, a file or a program.
 */
#include "target/virt/arch.h"
#include "target/virt/x86_64/cpu.h"
#include "target/virt/x86_64/internal.h"

#define PORT 0x3f8

enum {
    DATA = PORT,
    DIVISOR_LOW = PORT,
    INTERRUPTS = PORT + 1,
    DIVISOR_HIGH = PORT + 1,
    FIFO = PORT + 2,
    LINE = PORT + 3,
    MODEM = PORT + 4,
    STATUS = PORT + 5,
};

#define LINE_8N1          0x03
#define LINE_DIVISOR      0x80
#define FIFO_ON           0x07 /* on, and emptied */
#define MODEM_READY       0x0b /* DTR, RTS, and OUT2, which lets interrupts out */
#define INTERRUPT_RECEIVE 0x01
#define STATUS_RECEIVED   0x01
#define STATUS_EMPTY      0x20
#define IRQ               4
#define PATIENCE          100000u

void mir__serial_open(void)
{
    mir__out8(INTERRUPTS, 0);
    mir__out8(LINE, LINE_DIVISOR);
    mir__out8(DIVISOR_LOW, 1); /* 115,200 baud */
    mir__out8(DIVISOR_HIGH, 0);
    mir__out8(LINE, LINE_8N1);
    mir__out8(FIFO, FIFO_ON);
    mir__out8(MODEM, MODEM_READY);
}

void mir__arch_console_write(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned turns = 0;
        while ((mir__in8(STATUS) & STATUS_EMPTY) == 0 && turns < PATIENCE)
            turns++;
        mir__out8(DATA, (uint8_t)data[i]);
    }
}

int mir__arch_console_read(void)
{
    uint8_t status = mir__in8(STATUS);
    if (status == 0xff || (status & STATUS_RECEIVED) == 0)
        return -1;
    return mir__in8(DATA);
}

int mir__arch_console_irq(unsigned *slot)
{
    if (mir__in8(STATUS) == 0xff)
        return -MIR_ENOTSUP;
    int r = mir__irq_isa(IRQ, false, slot);
    if (r == 0)
        mir__out8(INTERRUPTS, INTERRUPT_RECEIVE);
    return r;
}
