/* SPDX-License-Identifier: ISC */
/* Reads sections and symbols of an ELF file (System V ABI, "Object Files").
 *
 * The file is read whole, and every offset in it is checked against its length before it is
 * followed, so a damaged file is an error and nothing worse. Names are checked to end inside their
 * table once, when they are taken; after that they are ordinary texts.
 *
 * Only what Mirari makes: 64 bits, little endian, x86-64 and aarch64 alike, executables with a
 * section table. Symbols of sections that are not loaded (files, debug) are left out.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/elf.h"

static bool fits(const struct elf *elf, uint64_t offset, uint64_t size)
{
    return offset <= elf->bytes.len && size <= elf->bytes.len - offset;
}

/* The text at @at of a table, or "" if it does not end inside. */
static const char *name_in(const struct elf *elf, const struct elf_section *table, uint64_t at)
{
    if (table->type == SHT_NOBITS || at >= table->size)
        return "";
    const char *text = elf->bytes.data + table->offset + at;
    return memchr(text, '\0', table->size - at) != NULL ? text : "";
}

static bool read_header(struct elf *elf, Elf64_Ehdr *header)
{
    if (!fits(elf, 0, sizeof(*header)))
        return false;
    memcpy(header, elf->bytes.data, sizeof(*header));
    elf->machine = header->e_machine;
    elf->entry = header->e_entry;
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
           header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_ident[EI_DATA] == ELFDATA2LSB &&
           header->e_shentsize == sizeof(Elf64_Shdr) && header->e_shnum > 0 &&
           header->e_shstrndx < header->e_shnum &&
           fits(elf, header->e_shoff, (uint64_t)header->e_shnum * sizeof(Elf64_Shdr));
}

static bool read_sections(struct elf *elf, const Elf64_Ehdr *header)
{
    elf->section_count = header->e_shnum;
    elf->section = need(elf->section_count * sizeof(*elf->section));
    for (size_t i = 0; i < elf->section_count; i++) {
        Elf64_Shdr raw;
        memcpy(&raw, elf->bytes.data + header->e_shoff + i * sizeof(raw), sizeof(raw));
        elf->section[i] = (struct elf_section){.name = "",
                                               .type = raw.sh_type,
                                               .link = raw.sh_link,
                                               .flags = raw.sh_flags,
                                               .addr = raw.sh_addr,
                                               .offset = raw.sh_offset,
                                               .size = raw.sh_size};
        if (raw.sh_type != SHT_NOBITS && raw.sh_type != SHT_NULL &&
            !fits(elf, raw.sh_offset, raw.sh_size))
            return false;
    }
    for (size_t i = 0; i < elf->section_count; i++) {
        Elf64_Shdr raw;
        memcpy(&raw, elf->bytes.data + header->e_shoff + i * sizeof(raw), sizeof(raw));
        elf->section[i].name = name_in(elf, &elf->section[header->e_shstrndx], raw.sh_name);
    }
    return true;
}

static void read_symbols(struct elf *elf, const struct elf_section *table)
{
    size_t count = table->size / sizeof(Elf64_Sym);
    if (table->link >= elf->section_count)
        return;
    elf->symbol = need(count * sizeof(*elf->symbol));
    for (size_t i = 0; i < count; i++) {
        Elf64_Sym raw;
        memcpy(&raw, elf->bytes.data + table->offset + i * sizeof(raw), sizeof(raw));
        unsigned type = ELF64_ST_TYPE(raw.st_info);
        if (raw.st_shndx == SHN_UNDEF || raw.st_shndx >= elf->section_count)
            continue;
        if ((elf->section[raw.st_shndx].flags & SHF_ALLOC) == 0)
            continue;
        if (type != STT_FUNC && type != STT_OBJECT && type != STT_NOTYPE && type != STT_GNU_IFUNC)
            continue;
        elf->symbol[elf->symbol_count++] =
            (struct elf_symbol){.name = name_in(elf, &elf->section[table->link], raw.st_name),
                                .addr = raw.st_value,
                                .size = raw.st_size,
                                .section = raw.st_shndx};
    }
}

int elf_open(const char *path, struct elf *elf)
{
    Elf64_Ehdr header;
    *elf = (struct elf){0};
    int r = file_read(path, ELF_SIZE_MAX, &elf->bytes);
    if (r != 0) {
        complain("cannot read \"%s\": %s; name a file that `mirari build` made", path,
                 strerror(-r));
        return EXIT_FAIL;
    }
    if (!read_header(elf, &header)) {
        complain("\"%s\" is not an ELF file of 64 bits with sections; name a file that `mirari "
                 "build` made",
                 path);
        elf_close(elf);
        return EXIT_FAIL;
    }
    if (!read_sections(elf, &header)) {
        complain("\"%s\" is damaged: a section ends behind its end; build it again", path);
        elf_close(elf);
        return EXIT_FAIL;
    }
    for (size_t i = 0; i < elf->section_count && elf->symbol == NULL; i++)
        if (elf->section[i].type == SHT_SYMTAB)
            read_symbols(elf, &elf->section[i]);
    return 0;
}

const struct elf_section *elf_find(const struct elf *elf, const char *name)
{
    for (size_t i = 0; i < elf->section_count; i++)
        if (strcmp(elf->section[i].name, name) == 0)
            return &elf->section[i];
    return NULL;
}

void elf_close(struct elf *elf)
{
    free(elf->section);
    free(elf->symbol);
    str_free(&elf->bytes);
    *elf = (struct elf){0};
}
