/* SPDX-License-Identifier: ISC */
/* The names of an image's functions, for its crash reports.
 *
 * An image of target virt has nobody who could look an address up, so a table is linked in: the
 * image is linked once, its functions are written as assembly, and it is linked again with that.
 * Code comes first in an image, so nothing moves. target/virt/symbols.c reads the table:
 *
 *   for each function, by address: distance to the one before (ULEB128; of the first, its address),
 *   name, NUL; a distance of 0 ends the table. In names byte 1 stands for "mir__", 2 for "mir_".
 *
 * tools/link-virt writes the same for images that are linked without this tool.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/elf.h"

static int by_address(const void *a, const void *b)
{
    const struct elf_symbol *left = a, *right = b;
    if (left->addr != right->addr)
        return left->addr < right->addr ? -1 : 1;
    return strcmp(left->name, right->name);
}

/* What the compiler made of a function has a name of its own behind a dot: of no interest. */
static void add_name(struct str *text, const char *name)
{
    const char *code = "";
    if (strncmp(name, "mir__", 5) == 0) {
        code = "\\001";
        name += 5;
    } else if (strncmp(name, "mir_", 4) == 0) {
        code = "\\002";
        name += 4;
    }
    str_format(text, "    .asciz \"%s", code);
    for (; *name != '\0'; name++)
        str_format(text, *name == '"' || *name == '\\' ? "\\%c" : "%c", *name);
    str_format(text, "\"\n");
}

static bool is_code(const struct elf *elf, const struct elf_symbol *symbol)
{
    return (elf->section[symbol->section].flags & SHF_EXECINSTR) != 0 && symbol->name[0] != '.' &&
           symbol->name[0] != '$';
}

int names_write(const char *image, const char *path)
{
    struct elf elf;
    struct str text = {0};
    uint64_t last = 0;
    bool changed;
    if (elf_open(image, &elf) != 0)
        return EXIT_FAIL;
    if (elf.symbol_count > 1)
        qsort(elf.symbol, elf.symbol_count, sizeof(elf.symbol[0]), by_address);
    str_format(&text, "    .section .rodata.mir__symbols, \"a\", %%progbits\n"
                      "    .globl mir__symbols\nmir__symbols:\n");
    for (size_t i = 0; i < elf.symbol_count; i++) {
        const struct elf_symbol *symbol = &elf.symbol[i];
        if (!is_code(&elf, symbol) || symbol->addr == last)
            continue;
        str_format(&text, "    .uleb128 %llu\n", (unsigned long long)(symbol->addr - last));
        add_name(&text, symbol->name);
        last = symbol->addr;
    }
    str_format(&text, "    .byte 0\n    .section .note.GNU-stack, \"\", %%progbits\n");
    elf_close(&elf);
    int r = file_write_if_changed(path, text.data, text.len, &changed);
    str_free(&text);
    if (r != 0)
        complain("cannot write \"%s\": %s", path, strerror(-r));
    return r != 0 ? EXIT_FAIL : 0;
}
