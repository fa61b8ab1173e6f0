/* SPDX-License-Identifier: ISC */
/* The end: the exit status for the host, then power off.
 *
 *   isa-debug-exit at port 0x501 (QEMU -device isa-debug-exit,iobase=0x501,iosize=2): status s ends
 *   QEMU with (s << 1) | 1. Where the device is not there the write goes nowhere.
 *
 * Then a reset: keyboard controller, PCI reset register, and a triple fault, which no machine
 * survives.
 */
#include "target/virt/arch.h"
#include "target/virt/x86_64/internal.h"

#define DEBUG_EXIT_PORT 0x501
#define KEYBOARD_PORT   0x64
#define KEYBOARD_RESET  0xfe
#define PCI_RESET_PORT  0xcf9
#define PCI_RESET_ALL   0x06

void mir__arch_exit(int status)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) no_table = {0, 0};
    mir__out8(DEBUG_EXIT_PORT, (uint8_t)status);
    mir__out8(KEYBOARD_PORT, KEYBOARD_RESET);
    mir__out8(PCI_RESET_PORT, PCI_RESET_ALL);
    __asm__ volatile("lidt %0; int3" : : "m"(no_table));
    for (;;)
        __asm__ volatile("cli; hlt");
}
