/* SPDX-License-Identifier: ISC */
/* What the loader tells, and the order in which the machine is set up.
 *
 *   PVH          ebx -> hvm_start_info: command line, memory map, ACPI root pointer (QEMU -kernel,
 *                Firecracker, cloud-hypervisor)
 *   Multiboot2   eax = magic, ebx -> tags with the same (GRUB, Limine)
 *
 * mir__boot_prepare() runs where the loader put the image, on tables that map the lowest 4 GiB onto
 * themselves, before relocation; it calls only what does the same. Everything it reads was written
 * by the loader, which could do worse than lie in a table, so sizes are checked only to stay inside
 * what is mapped. mir__boot_enter() runs at the addresses for good.
 *
 * The canary of the stack protector and the random addresses come from RDSEED or RDRAND, mixed with
 * the time stamp counter; on a CPU that has neither they are only as good as that counter.
 */
#include <mirari/platform.h>

#include "target/virt/x86_64/acpi.h"
#include "target/virt/x86_64/internal.h"

#define PVH_MAGIC        0x336ec578u
#define MULTIBOOT2_MAGIC 0x36d76289u
#define MAP_ENTRIES_MAX  256u
#define TYPE_USABLE      1u
#define LOW_MEMORY       0x100000u

/* Xen, xen/include/public/arch-x86/hvm/start_info.h: the format is ABI. */
struct pvh_start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, command_line, rsdp;
    /* version 1: */
    uint64_t map;
    uint32_t map_entries, reserved;
};

struct pvh_map_entry {
    uint64_t base, size;
    uint32_t type, reserved;
};

/* Multiboot2 specification 3.6. */
struct multiboot2_tag {
    uint32_t type, size;
};

enum {
    TAG_END = 0,
    TAG_COMMAND_LINE = 1,
    TAG_MAP = 6,
    TAG_RSDP_OLD = 14,
    TAG_RSDP_NEW = 15,
};

struct multiboot2_map {
    struct multiboot2_tag tag;
    uint32_t entry_size, entry_version;
};

static const void *physical(uint64_t address)
{
    return (const void *)(uintptr_t)address;
}

/* ---- PVH ------------------------------------------------------------------------------------- */

static void read_pvh(const struct pvh_start_info *info)
{
    const struct pvh_map_entry *map = physical(info->map);
    uint32_t count = info->version >= 1 ? MIR_MIN(info->map_entries, MAP_ENTRIES_MAX) : 0;
    mir_memcpy(mir__boot.loader, "PVH", sizeof "PVH");
    mir__boot.acpi_rsdp = info->rsdp;
    if (info->command_line != 0)
        mir__memory_command_line(&mir__boot, physical(info->command_line), MIR__COMMAND_LINE_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (map[i].type == TYPE_USABLE)
            mir__memory_add(&mir__boot, map[i].base, map[i].size);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (map[i].type != TYPE_USABLE)
            mir__memory_cut(&mir__boot, map[i].base, map[i].size);
    }
}

/* ---- Multiboot2 ------------------------------------------------------------------------------ */

static void read_multiboot2_map(const struct multiboot2_map *map)
{
    const uint8_t *first = (const uint8_t *)(map + 1);
    if (map->entry_size < sizeof(struct pvh_map_entry) || map->tag.size < sizeof *map)
        return;
    uint32_t count = (map->tag.size - (uint32_t)sizeof *map) / map->entry_size;
    for (unsigned turn = 0; turn < 2; turn++) {
        for (uint32_t i = 0; i < MIR_MIN(count, MAP_ENTRIES_MAX); i++) {
            const struct pvh_map_entry *entry = (const void *)(first + i * map->entry_size);
            if (turn == 0 && entry->type == TYPE_USABLE)
                mir__memory_add(&mir__boot, entry->base, entry->size);
            if (turn == 1 && entry->type != TYPE_USABLE)
                mir__memory_cut(&mir__boot, entry->base, entry->size);
        }
    }
}

static void read_multiboot2(uint64_t info)
{
    uint32_t total = *(const uint32_t *)physical(info), at = 8;
    mir_memcpy(mir__boot.loader, "Multiboot2", sizeof "Multiboot2");
    while (at + sizeof(struct multiboot2_tag) <= total) {
        const struct multiboot2_tag *tag = physical(info + at);
        if (tag->type == TAG_END || tag->size < sizeof *tag || tag->size > total - at)
            return;
        if (tag->type == TAG_COMMAND_LINE)
            mir__memory_command_line(&mir__boot, (const char *)(tag + 1), tag->size - sizeof *tag);
        else if (tag->type == TAG_MAP)
            read_multiboot2_map((const void *)tag);
        else if (tag->type == TAG_RSDP_NEW ||
                 (tag->type == TAG_RSDP_OLD && mir__boot.acpi_rsdp == 0))
            mir__boot.acpi_rsdp = info + at + sizeof *tag; /* a copy, inside the tag */
        at += (tag->size + 7) & ~7u;
    }
}

/* ---- the machine ----------------------------------------------------------------------------- */

MIR_NORETURN static void refuse(const char *text)
{
    mir__arch_console_write(text, mir_str_len(text));
    mir__arch_exit(MIR__EXIT_UNAVAILABLE);
}

/* Bits of the CPU's generator and of the time, stirred (the finaliser of splitmix64). */
static uint64_t draw(uint64_t *state)
{
    uint64_t value = 0;
    (void)mir__arch_random(&value);
    *state = (*state ^ value ^ mir__arch_jitter()) + 0x9e3779b97f4a7c15ull;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

uint64_t mir__boot_prepare(uint64_t info, uint64_t magic)
{
    uint64_t state = 0, random[3];
    mir__serial_open();
    if (*(const uint32_t *)physical(info) == PVH_MAGIC)
        read_pvh(physical(info));
    else if (magic == MULTIBOOT2_MAGIC)
        read_multiboot2(info);
    else
        refuse("mirari: started by something that speaks neither PVH nor Multiboot2\n");
    /* The BIOS keeps things in the first megabyte. */
    mir__memory_cut(&mir__boot, 0, LOW_MEMORY);
    mir__memory_cut(&mir__boot, MIR__IMAGE_PHYSICAL, mir__layout.end);
    if (mir__boot.memory_count == 0)
        refuse("mirari: the loader tells of no memory beyond this image\n");
    for (unsigned i = 0; i < MIR_ARRAY_LEN(random); i++)
        random[i] = draw(&state);
    uint64_t delta = mir__paging_prepare(random);
    if (delta == 0)
        refuse("mirari: not enough memory for page tables\n");
    return delta;
}

/* ---- thread-local storage, canary ------------------------------------------------------------ */

extern void (*const mir__init_start[])(void);
extern void (*const mir__init_end[])(void);

#define MSR_FS_BASE    0xc0000100u
#define TLS_MAX        4096u
#define CONTROL_WORDS  128u
#define CONTROL_CANARY 5u  /* %fs:0x28, of the ABI */
#define CONTROL_LOCALE 21u /* musl 1.2: pthread.locale */

/* Thread-local variables end where the control block begins (ELF TLS, variant II). The block is
 * what musl takes for the running thread: its own address, the canary, errno, the "C" locale. */
static struct {
    uint8_t variables[TLS_MAX] MIR_ALIGNED(64);
    uint64_t control[CONTROL_WORDS];
} tls;

static void set_up_thread(void)
{
    static uint64_t c_locale[8];
    const struct mir__layout *l = &mir__layout;
    uint64_t state = (uintptr_t)&tls;
    if (l->tls_size > TLS_MAX)
        refuse("mirari: more than 4 KiB of thread-local variables\n");
    mir_memcpy(tls.variables + TLS_MAX - l->tls_size, mir__image_start + l->tls, l->tls_filled);
    tls.control[0] = (uintptr_t)tls.control;
    /* Its lowest byte is zero: a string that runs over cannot carry it along. */
    tls.control[CONTROL_CANARY] = draw(&state) & ~0xffull;
    tls.control[CONTROL_LOCALE] = (uintptr_t)c_locale;
    mir__wrmsr(MSR_FS_BASE, (uintptr_t)tls.control);
}

void mir__boot_enter(void)
{
    mir__paging_enter();
    set_up_thread();
    mir__traps_open();
    mir__acpi_open();
    for (void (*const *init)(void) = mir__init_start; init < mir__init_end; init++)
        (*init)();
    mir__start();
}
