/* SPDX-License-Identifier: ISC */
/* What an architecture gives to target virt: target/virt/<arch>/ implements all of this.
 *
 * Nothing else in target/virt knows which architecture it is. The calls are grouped as they are
 * needed: what was found at boot, console, time, interrupts, memory, PCI, power, randomness.
 *
 * One thread on one CPU. Interrupts are off whenever C code of the appliance runs; they are let in
 * only inside mir__arch_wait(), so no handler ever interrupts a library, and none needs a lock. A
 * handler marks its slot pending and acknowledges; that is all.
 *
 * How the machine comes here: start.S -> boot.c (memory map, page tables, relocation) -> traps and
 * console -> mir__start(), which never returns.
 */
#ifndef TARGET_VIRT_ARCH_H
#define TARGET_VIRT_ARCH_H

#include <mirari/base.h>
#include <mirari/err.h>

struct mir_page_pool;
struct mir_pci_windows;

/* ---- what was found at boot ----------------------------------------------------------------- */

#define MIR__REGIONS_MAX      32u
#define MIR__COMMAND_LINE_MAX 4096u

/** Usable memory, by physical address. */
struct mir__region {
    uint64_t base, size;
};

/** Filled by boot.c before anything else runs. */
struct mir__boot {
    char loader[16]; /**< protocol we were started by: "PVH", "Multiboot2", "FDT" */
    char command_line[MIR__COMMAND_LINE_MAX];    /**< as given; NUL-terminated */
    bool is_command_line_cut;                    /**< it was longer */
    struct mir__region memory[MIR__REGIONS_MAX]; /**< sorted, whole pages, without overlap */
    uint32_t memory_count;
    uint64_t acpi_rsdp; /**< physical address of the root pointer, 0 = none told */
    uint64_t fdt;       /**< physical address of a device tree, 0 = none */
};
extern struct mir__boot mir__boot;

/** The target's part (start.c), called once, on the loop's stack. */
MIR_NORETURN void mir__start(void);

/* ---- console -------------------------------------------------------------------------------- */

/** Write to the first serial port. Works from the first instruction in C on, and in a crash. */
void mir__arch_console_write(const char *data, size_t len);
/** Next byte that came in, or -1. */
int mir__arch_console_read(void);
/** Let the console's input end mir__arch_wait(). Returns 0 or -MIR_ENOTSUP; @slot as below. */
int mir__arch_console_irq(unsigned *slot) MIR_CHECK;

/* ---- time ----------------------------------------------------------------------------------- */

/** Find clocks and timers; needs ACPI or the device tree. Returns 0 or -MIR_ENOTSUP. */
int mir__arch_clock_open(void) MIR_CHECK;
/** Microseconds since some moment before the start; never goes back. */
mir_time_us mir__arch_monotonic_us(void);
/** Microseconds since 1970-01-01 00:00 UTC; 0 if the machine does not know. */
mir_time_us mir__arch_wall_us(void);
/** What the time comes from: "kvmclock", "tsc calibrated by hpet", ... for the log. */
const char *mir__arch_clock_name(void);

/* ---- interrupts ----------------------------------------------------------------------------- */

#define MIR__SLOTS_MAX 64u

/** Find and set up the interrupt controllers. Returns 0 or -MIR_ENOTSUP. */
int mir__arch_irq_open(void) MIR_CHECK;

/**
 * mir__arch_irq_line() - take an interrupt line.
 *
 * @gsi      global system interrupt (ACPI) or SPI number (device tree); ISA interrupts are looked
 *           up with mir__arch_irq_isa()
 * @is_level level-triggered: the handler masks the line, mir__arch_irq_unmask() lets it in again
 *           once the device was served
 * @is_low   active low
 * @slot     out: number of the source, below MIR__SLOTS_MAX; lines that are shared share a slot
 *
 * Returns 0, -MIR_EINVAL (no such line), -MIR_ELIMIT (no slot left). The line is unmasked.
 * Source  none
 */
int mir__arch_irq_line(uint32_t gsi, bool is_level, bool is_low, unsigned *slot) MIR_CHECK;

/** What a device must write where to raise the interrupt of @slot (MSI, MSI-X): each call takes a
 *  new slot. Returns 0, -MIR_ELIMIT (no slot left), -MIR_ENOTSUP. */
int mir__arch_irq_msi(uint64_t *address, uint32_t *data, unsigned *slot) MIR_CHECK;

/** The slots, as bits, whose interrupts were raised since the last call. */
uint64_t mir__arch_irq_take(void);
/** Let a level-triggered line in again; nothing for others. */
void mir__arch_irq_unmask(unsigned slot);
/** Interrupts taken on @slot since boot. */
uint64_t mir__arch_irq_count(unsigned slot);

/** Sleep until an interrupt comes or until @deadline_us (monotonic). Returns at once if one is
 *  pending; may return early. Interrupts are off before and after. */
void mir__arch_wait(mir_time_us deadline_us);
/** Microseconds spent in mir__arch_wait(), and how often it slept. */
mir_time_us mir__arch_idle_us(uint64_t *sleeps);

/* ---- memory --------------------------------------------------------------------------------- */

enum mir__map_flags {
    MIR__MAP_READ = 0,
    MIR__MAP_WRITE = 1,
    MIR__MAP_DEVICE = 2, /**< not cached, not reordered */
};

/**
 * mir__arch_map_physical() - make a physical range visible, for good.
 *
 * For registers of devices (MIR__MAP_WRITE | MIR__MAP_DEVICE) and tables of the firmware
 * (MIR__MAP_READ). The range need not be aligned; never executable.
 *
 * Returns the virtual address of @physical, or NULL (no memory for page tables, or no address
 * space left).
 * Source  none
 */
void *mir__arch_map_physical(uint64_t physical, size_t size, unsigned flags) MIR_CHECK;

/**
 * mir__arch_dma() - the address by which a device reaches memory of ours.
 *
 * @memory  in the page pool, in the image (a crunched store, a static structure) or on a stack
 *
 * Physical memory is contiguous inside a page run, inside an object of the image, and inside a
 * page of a stack. Asserts that the address is mapped.
 *
 * Returns the physical address.
 * Cost    O(1)
 * Source  none
 */
uint64_t mir__arch_dma(const volatile void *memory);

/** The memory of the appliance: the largest range that is left, whole pages. Once. */
void *mir__arch_take_memory(size_t *size_bytes);
/** From now on page tables come from @pages. */
void mir__arch_use_pool(struct mir_page_pool *pages);

/** Virtual addresses for stacks: [size] bytes with nothing behind them. Once; page-aligned. */
void *mir__arch_stack_space(size_t size_bytes);
/** Make the page tables for [size] bytes at @at of it. Returns 0 or -MIR_ENOMEM. */
int mir__arch_stack_tables(void *at, size_t size_bytes) MIR_CHECK;
/** Put @page, of the page pool, read-write behind the virtual page @at. The tables are there, so it
 *  takes no memory: it is called in the middle of anything, when a stack grows. */
void mir__arch_map_page(void *at, void *page);
/** Take it away again. Returns the page that was behind @at, or NULL. */
void *mir__arch_unmap_page(void *at);
/** Is there a page behind @at? */
bool mir__arch_is_mapped(const void *at);
/** The stack the loop runs on, and whether an address is in the guard page below it (or below one
 *  of those for exceptions). */
void mir__arch_loop_stack(uintptr_t *low, uintptr_t *high);
bool mir__arch_is_guard(uintptr_t address);

/* ---- PCI ------------------------------------------------------------------------------------ */

/** A function of a PCI device. */
struct mir__pci_address {
    uint8_t bus, device, function;
};

/** Is there a PCI bus? @last_bus out: highest bus number that can be asked for. */
bool mir__arch_pci_open(uint8_t *last_bus);
/** Addresses for devices that got none from firmware; false: firmware did its work, or the windows
 *  are not known. */
bool mir__arch_pci_windows(struct mir_pci_windows *windows);
/** Read or write [width] = 1, 2 or 4 bytes of configuration space, @offset a multiple of @width.
 *  What is not there reads as all ones. Offsets from 256 on need ECAM; without it they read as all
 *  ones too. */
uint32_t mir__arch_pci_read(struct mir__pci_address at, uint32_t offset, unsigned width);
void mir__arch_pci_write(struct mir__pci_address at, uint32_t offset, unsigned width,
                         uint32_t value);
/** The line of an INTx pin as the firmware routed it. Returns 0 or -MIR_ENOTSUP. */
int mir__arch_pci_line(struct mir__pci_address at, unsigned *slot) MIR_CHECK;

/** Ports of PCI devices (transitional virtio): [width] = 1, 2 or 4 bytes. */
uint32_t mir__arch_port_read(uint16_t port, unsigned width);
void mir__arch_port_write(uint16_t port, unsigned width, uint32_t value);

/* ---- devices that firmware tables name ------------------------------------------------------ */

/** A virtio-mmio device that ACPI or the device tree lists; those on the command line come from
 *  there. Returns false after the last one. */
bool mir__arch_virtio_mmio(unsigned index, uint64_t *physical, size_t *size, unsigned *gsi,
                           bool *is_level);

/* ---- power ---------------------------------------------------------------------------------- */

/** Find the power button and the way to power off. What is not there is not used. Returns the slot
 *  of the button's interrupt, MIR__SLOTS_MAX if there is none. */
unsigned mir__arch_power_open(void);
/** Its interrupt came: was the button pressed? */
bool mir__arch_power_pressed(void);
/** Tell the host the exit status (isa-debug-exit, semihosting), then power off; if there is no way
 *  to do that, reset; if that does nothing, stop the CPU. */
MIR_NORETURN void mir__arch_exit(int status);
/** Tell the host of a crash (pvpanic), if there is a way. */
void mir__arch_panic(void);

/* ---- randomness ----------------------------------------------------------------------------- */

/** 64 bits of the CPU's own generator. Returns false if there is none, or it gave nothing. */
bool mir__arch_random(uint64_t *value);
/** Something that differs from boot to boot (time stamps); never enough alone. */
uint64_t mir__arch_jitter(void);

/* ---- crash reports -------------------------------------------------------------------------- */

/** How deep the call chain is followed: frame pointers, between two addresses. */
struct mir__frame {
    uintptr_t pc, frame, sp;
};
/** The caller's own. */
struct mir__frame mir__arch_frame(void);
/** Next outer frame; false at the end. @low and @high bound the stack. */
bool mir__arch_unwind(struct mir__frame *frame, uintptr_t low, uintptr_t high);
/** An address in the code of the image, as the linker had it; 0 if it is not there. */
uintptr_t mir__arch_image_address(uintptr_t pc);

/** The target's part (crash.c): an exception of the CPU. @registers is text, complete lines.
 *  @address is what was accessed, if @has_address. Ends with the crash status. */
struct mir__trap {
    const char *name;
    bool has_address;
    uintptr_t address;
    const char *access; /**< "read of", "write to", "call of", or NULL */
    struct mir__frame frame;
    const char *registers;
};
MIR_NORETURN void mir__crash(const struct mir__trap *trap);

#endif
