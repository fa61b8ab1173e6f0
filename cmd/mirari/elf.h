/* SPDX-License-Identifier: ISC */
/* What the tool reads from ELF files: sections, symbols, and which source file made an address. */
#ifndef CMD_MIRARI_ELF_H
#define CMD_MIRARI_ELF_H

#include <elf.h>

#include "cmd/mirari/tool.h"

struct elf_section {
    const char *name;
    uint32_t type, link;
    uint64_t flags, addr, offset,
        size; /**< in the file: offset + size lies inside, or type NOBITS */
};

struct elf_symbol {
    const char *name;
    uint64_t addr, size;
    uint32_t section; /**< index, valid */
};

/** A file of 64 bits, little endian, whole in memory. All texts and tables lie inside it. */
struct elf {
    struct str bytes;
    uint16_t machine;
    uint64_t entry;
    struct elf_section *section;
    size_t section_count;
    struct elf_symbol *symbol; /**< functions, objects and untyped ones of loaded sections */
    size_t symbol_count;
};

#define ELF_SIZE_MAX ((size_t)1 << 30)

/** Read and check. Returns 0, or EXIT_FAIL after a message. */
int elf_open(const char *path, struct elf *elf);
/** The section of that name, or NULL. */
const struct elf_section *elf_find(const struct elf *elf, const char *name);
void elf_close(struct elf *elf);

/** Write the names of @image's functions as assembly to @path, if they differ from what is there.
 *  Returns 0, or EXIT_FAIL after a message. */
int names_write(const char *image, const char *path);

/** A stretch of addresses that one source file made. */
struct dwarf_range {
    uint64_t from, to;
    uint32_t unit;
};
struct dwarf {
    struct dwarf_range *range; /**< by address */
    size_t range_count, range_size;
    struct list unit; /**< names of source files as the compiler was given them */
};

/** Units of the debug information (DWARF 2 to 5); what is damaged or missing is left out. */
void dwarf_read(const struct elf *elf, struct dwarf *dwarf);
/** Name of the source file that made @addr, or NULL. */
const char *dwarf_unit_at(const struct dwarf *dwarf, uint64_t addr);
void dwarf_free(struct dwarf *dwarf);

#endif
