/* SPDX-License-Identifier: ISC */
/* What the loader tells, and the order in which the machine is set up.
 *
 * All of it is in a flattened device tree: memory, what of it is somebody's, the command line, the
 * console, seeds. A loader of Linux images hands over its address; QEMU, loading an ELF file, puts
 * it at the start of memory, which is where the image's first GiB begins.
 *
 * mir__boot_prepare() runs where the loader put the image, on a table that maps the first GiBs onto
 * themselves, relocated to there. mir__boot_enter() runs at the addresses for good.
 *
 * The canary of the stack protector and the random addresses come from the tree's kaslr-seed and
 * the CPU's generator, mixed with the counter; without either they are only as good as that
 * counter. The rng-seed is for random.c alone: addresses are printed in crash reports.
 */
#include <mirari/bytes.h>
#include <mirari/platform.h>

#include "target/virt/aarch64/internal.h"

#define FDT_MAX      (2u << 20) /* the limit of Linux's boot protocol */
#define MEMORY_ALIGN (1ull << 30)

struct mir__fdt mir__fdt;

static uint64_t image;      /* physical address */
static uint64_t draw_state; /* of draw() */

MIR_NORETURN static void refuse(const char *text)
{
    mir__arch_console_write(text, mir_str_len(text));
    mir__arch_exit(MIR__EXIT_UNAVAILABLE);
}

/* Bits of the CPU's generator and of the time, stirred (the finaliser of splitmix64). */
static uint64_t draw(void)
{
    uint64_t value = 0;
    (void)mir__random_cpu(&value);
    draw_state = (draw_state ^ value ^ mir__arch_jitter()) + 0x9e3779b97f4a7c15ull;
    uint64_t z = draw_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

/* ---- the device tree ------------------------------------------------------------------------- */

static bool open_tree(uint64_t at)
{
    const uint8_t *blob = (const uint8_t *)(uintptr_t)at;
    uint32_t size;
    if (at % 8 != 0 || mir__fdt_size(blob, &size) < 0 || size > FDT_MAX)
        return false;
    if (mir__fdt_open(&mir__fdt, blob, size) < 0)
        return false;
    mir__boot.fdt = at;
    return true;
}

static void read_memory(void)
{
    struct mir__fdt_walk walk;
    const char *type;
    uint64_t base, size;
    mir__fdt_walk(&walk, &mir__fdt);
    while (mir__fdt_next(&walk)) {
        if (mir__fdt_text(&walk, "device_type", &type) < 0 || !mir_str_equal(type, "memory"))
            continue;
        for (uint32_t i = 0; mir__fdt_reg(&walk, i, &base, &size) == 0; i++)
            mir__memory_add(&mir__boot, base, size);
    }
}

/* What of the memory is somebody's: reservations of both kinds, the tree, the image. */
static void cut_memory(void)
{
    struct mir__fdt_walk walk;
    uint64_t base, size;
    for (uint32_t i = 0; mir__fdt_reserved(&mir__fdt, i, &base, &size); i++)
        mir__memory_cut(&mir__boot, base, size);
    if (mir__fdt_find(&walk, &mir__fdt, "/reserved-memory", 16) == 0) {
        unsigned depth = walk.depth;
        while (mir__fdt_next(&walk) && walk.depth > depth)
            for (uint32_t i = 0; mir__fdt_reg(&walk, i, &base, &size) == 0; i++)
                mir__memory_cut(&mir__boot, base, size);
    }
    mir__memory_cut(&mir__boot, mir__boot.fdt, mir__fdt.size);
    mir__memory_cut(&mir__boot, image, mir__layout.end);
}

static void read_chosen(void)
{
    struct mir__fdt_walk walk;
    struct mir__fdt_value value;
    const char *text;
    if (mir__fdt_find(&walk, &mir__fdt, "/chosen", 7) < 0)
        return;
    if (mir__fdt_text(&walk, "bootargs", &text) == 0)
        mir__memory_command_line(&mir__boot, text, MIR__COMMAND_LINE_MAX);
    if (mir__fdt_property(&walk, "kaslr-seed", &value) == 0 && value.len >= 8)
        draw_state ^= mir_get_le64(value.data);
    if (mir__fdt_property(&walk, "rng-seed", &value) == 0)
        mir__random_seed(value.data, value.len);
}

uint64_t mir__boot_prepare(uint64_t fdt, uint64_t bias)
{
    uint64_t random[3];
    image = MIR__IMAGE_PHYSICAL + bias;
    mir_memcpy(mir__boot.loader, "FDT", sizeof "FDT");
    if (!open_tree(fdt != 0 ? fdt : image & ~(MEMORY_ALIGN - 1)))
        mir__arch_exit(MIR__EXIT_UNAVAILABLE); /* nobody knows where a console is */
    mir__serial_open();
    read_memory();
    cut_memory();
    read_chosen();
    if (mir__boot.memory_count == 0)
        refuse("mirari: the loader tells of no memory beyond this image\n");
    for (unsigned i = 0; i < MIR_ARRAY_LEN(random); i++)
        random[i] = draw();
    uint64_t delta = mir__paging_prepare(image, random);
    if (delta == 0)
        refuse("mirari: not enough memory for page tables\n");
    return delta;
}

/* ---- devices of the tree --------------------------------------------------------------------- */

int mir__fdt_device(const char *what, struct mir__fdt_walk *walk, volatile uint8_t **registers)
{
    uint64_t base, size;
    mir__fdt_walk(walk, &mir__fdt);
    while (mir__fdt_next(walk)) {
        if (!mir__fdt_is(walk, what))
            continue;
        if (registers == NULL)
            return 0;
        if (mir__fdt_reg(walk, 0, &base, &size) < 0)
            continue;
        *registers = mir__arch_map_physical(base, size, MIR__MAP_WRITE | MIR__MAP_DEVICE);
        return *registers != NULL ? 0 : -MIR_ENOMEM;
    }
    return -MIR_ENOENT;
}

/* Three cells each, as all of Arm's controllers have it: kind, number, flags. */
int mir__fdt_interrupt(const struct mir__fdt_walk *walk, uint32_t index, uint32_t *intid,
                       bool *is_level)
{
    uint32_t kind, number, flags;
    if (mir__fdt_cell(walk, "interrupts", index * 3, &kind) < 0 ||
        mir__fdt_cell(walk, "interrupts", index * 3 + 1, &number) < 0 ||
        mir__fdt_cell(walk, "interrupts", index * 3 + 2, &flags) < 0)
        return -MIR_ENOENT;
    if (kind > 1 || number >= (kind == 0 ? 988u : 16u))
        return -MIR_EMALFORMED;
    *intid = number + (kind == 0 ? 32 : 16);
    *is_level = (flags & 0xc) != 0;
    return 0;
}

bool mir__arch_virtio_mmio(unsigned index, uint64_t *physical, size_t *size, unsigned *gsi,
                           bool *is_level)
{
    struct mir__fdt_walk walk;
    uint64_t bytes;
    uint32_t intid;
    mir__fdt_walk(&walk, &mir__fdt);
    while (mir__fdt_next(&walk)) {
        if (!mir__fdt_is(&walk, "virtio,mmio") || mir__fdt_reg(&walk, 0, physical, &bytes) < 0 ||
            mir__fdt_interrupt(&walk, 0, &intid, is_level) < 0 || intid < 32)
            continue;
        if (index-- == 0) {
            *size = bytes;
            *gsi = intid - 32;
            return true;
        }
    }
    return false;
}

/* ---- thread-local storage, canary ------------------------------------------------------------ */

extern void (*const mir__init_start[])(void);
extern void (*const mir__init_end[])(void);

/* The compiler's name of it. Its lowest byte is zero: a string that runs over cannot carry it. */
uintptr_t __stack_chk_guard; /* NOLINT: reserved, for this */

#define TLS_MAX       4096u
#define CONTROL_WORDS 64u
#define CONTROL_SELF                                                                               \
    25u                    /* words below the thread pointer, musl 1.2: struct pthread, first word \
                            */
#define CONTROL_LOCALE 6u  /* pthread.locale */
#define TLS_GAP        16u /* two words of the ABI */

/* Thread-local variables begin behind the thread pointer (ELF TLS, variant I). Below it is what
 * musl takes for the running thread: errno and the "C" locale are in there. */
static struct {
    uint64_t control[CONTROL_WORDS];
    uint8_t variables[TLS_GAP + TLS_MAX];
} tls MIR_ALIGNED(64);

static void set_up_thread(uint64_t delta)
{
    static uint64_t c_locale[8];
    const struct mir__layout *l = &mir__layout;
    uint64_t align = MIR_MAX(l->tls_align, TLS_GAP);
    if (l->tls_size > TLS_MAX - align || align > 64)
        refuse("mirari: more than 4 KiB of thread-local variables\n");
    mir_memcpy(tls.variables + align, (const uint8_t *)(uintptr_t)(image + delta + l->tls),
               l->tls_filled);
    tls.control[CONTROL_WORDS - CONTROL_SELF] =
        (uintptr_t)&tls.control[CONTROL_WORDS - CONTROL_SELF];
    tls.control[CONTROL_WORDS - CONTROL_LOCALE] = (uintptr_t)c_locale;
    mir__write_sysreg(tpidr_el0, (uintptr_t)tls.variables);
}

void mir__boot_enter(uint64_t delta)
{
    mir__traps_open();
    mir__paging_enter(delta);
    const void *blob = mir__arch_map_physical(mir__boot.fdt, mir__fdt.size, MIR__MAP_READ);
    if (blob == NULL || mir__fdt_open(&mir__fdt, blob, mir__fdt.size) < 0)
        mir__arch_exit(MIR__EXIT_UNAVAILABLE);
    mir__serial_open();
    set_up_thread(delta);
    __stack_chk_guard = draw() & ~0xffull; /* here, where nobody returns from */
    for (void (*const *init)(void) = mir__init_start; init < mir__init_end; init++)
        (*init)();
    mir__start();
}
