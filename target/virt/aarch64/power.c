/* SPDX-License-Identifier: ISC */
/* The end: the exit status for the host, then power off. And the power button.
 *
 *   exit status    by semihosting, SYS_EXIT_EXTENDED: QEMU ends with it (-semihosting-config
 *                  enable=on,target=gdb; that target gives the guest no files of the host, while
 *                  `native` would). Where nobody takes it, the instruction is an undefined one:
 *                  traps.c asks mir__semihosting_refused() and goes on behind it.
 *   power off      PSCI SYSTEM_OFF, by the conduit that the device tree names
 *   button         a gpio-keys node with KEY_POWER on a PL061
 *
 * Source: Semihosting for AArch32 and AArch64, section 6.10; Arm Power State Coordination
 * Interface, DEN 0022; PL061 Technical Reference Manual, DDI 0190.
 */
#include "target/virt/aarch64/internal.h"

#define SYS_EXIT_EXTENDED 0x20u
#define APPLICATION_EXIT  0x20026u
#define HLT_SEMIHOSTING   0xd45e0000u
#define PSCI_SYSTEM_OFF   0x84000008u
#define PSCI_SYSTEM_RESET 0x84000009u
#define KEY_POWER         116u

enum {
    GPIO_DIRECTION = 0x400,
    GPIO_SENSE = 0x404,
    GPIO_BOTH_EDGES = 0x408,
    GPIO_RISING = 0x40c,
    GPIO_ENABLE = 0x410,
    GPIO_RAW = 0x414,
    GPIO_CLEAR = 0x41c,
};

static volatile uint8_t *gpio; /* NULL = there is no button */
static uint32_t button_bit;
static bool is_exiting;

/* ---- button ---------------------------------------------------------------------------------- */

static void set_bit(unsigned at, bool is_set)
{
    uint32_t value = mir__mmio_read32(gpio + at);
    mir__mmio_write32(gpio + at, is_set ? value | button_bit : value & ~button_bit);
}

/* The key that ends: which pin of which controller. */
static bool find_key(uint32_t *controller, uint32_t *pin)
{
    struct mir__fdt_walk walk;
    uint32_t code;
    if (mir__fdt_device("gpio-keys", &walk, NULL) < 0)
        return false;
    unsigned depth = walk.depth;
    while (mir__fdt_next(&walk) && walk.depth > depth) {
        if (mir__fdt_cell(&walk, "linux,code", 0, &code) == 0 && code == KEY_POWER)
            return mir__fdt_cell(&walk, "gpios", 0, controller) == 0 &&
                   mir__fdt_cell(&walk, "gpios", 1, pin) == 0 && *pin < 8;
    }
    return false;
}

unsigned mir__arch_power_open(void)
{
    struct mir__fdt_walk walk;
    uint32_t controller, pin, intid;
    uint64_t base, size;
    bool is_level;
    unsigned slot;
    if (!find_key(&controller, &pin) || mir__fdt_find_phandle(&walk, &mir__fdt, controller) < 0 ||
        !mir__fdt_is(&walk, "arm,pl061") || mir__fdt_reg(&walk, 0, &base, &size) < 0 ||
        mir__fdt_interrupt(&walk, 0, &intid, &is_level) < 0)
        return MIR__SLOTS_MAX;
    volatile uint8_t *at = mir__arch_map_physical(base, size, MIR__MAP_WRITE | MIR__MAP_DEVICE);
    if (at == NULL || mir__irq_take_intid(intid, is_level, &slot) < 0)
        return MIR__SLOTS_MAX;
    gpio = at;
    button_bit = 1u << pin;
    set_bit(GPIO_DIRECTION, false);
    set_bit(GPIO_SENSE, false);
    set_bit(GPIO_BOTH_EDGES, false);
    set_bit(GPIO_RISING, true);
    mir__mmio_write32(gpio + GPIO_CLEAR, button_bit);
    set_bit(GPIO_ENABLE, true);
    return slot;
}

bool mir__arch_power_pressed(void)
{
    bool is_pressed = (mir__mmio_read32(gpio + GPIO_RAW) & button_bit) != 0;
    mir__mmio_write32(gpio + GPIO_CLEAR, button_bit);
    return is_pressed;
}

/* ---- the end --------------------------------------------------------------------------------- */

bool mir__semihosting_refused(uintptr_t pc, uintptr_t *next)
{
    if (!is_exiting || *(const uint32_t *)pc != HLT_SEMIHOSTING)
        return false;
    *next = pc + 4;
    return true;
}

static void exit_by_semihosting(int status)
{
    uint64_t block[2] = {APPLICATION_EXIT, (uint64_t)status};
    register uint64_t operation __asm__("x0") = SYS_EXIT_EXTENDED;
    register uint64_t argument __asm__("x1") = (uintptr_t)block;
    is_exiting = true;
    __asm__ volatile("hlt #0xf000" : "+r"(operation) : "r"(argument), "m"(block) : "memory");
}

static void call_psci(uint32_t function)
{
    struct mir__fdt_walk walk;
    const char *method;
    register uint64_t x0 __asm__("x0");
    bool has_node = mir__fdt.blob != NULL && (mir__fdt_device("arm,psci-0.2", &walk, NULL) == 0 ||
                                              mir__fdt_device("arm,psci-1.0", &walk, NULL) == 0);
    bool is_smc =
        has_node && mir__fdt_text(&walk, "method", &method) == 0 && mir_str_equal(method, "smc");
    x0 = function;
    if (is_smc)
        __asm__ volatile("smc #0" : "+r"(x0) : : "x1", "x2", "x3", "memory");
    else
        __asm__ volatile("hvc #0" : "+r"(x0) : : "x1", "x2", "x3", "memory");
}

void mir__arch_exit(int status)
{
    exit_by_semihosting(status);
    call_psci(PSCI_SYSTEM_OFF);
    call_psci(PSCI_SYSTEM_RESET);
    for (;;)
        __asm__ volatile("wfi");
}

void mir__arch_panic(void)
{
}
