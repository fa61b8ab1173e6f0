/* SPDX-License-Identifier: ISC */
/* The names of an image's functions, for its crash reports.
 *
 * An image of target virt has nobody who could look an address up, so a table is linked in: the
 * image is linked once, its functions are written as assembly, and it is linked again with that.
 * Code comes first in an image, so nothing moves. target/virt/symbols.c reads the table:
 *
 *   number of pairs, 0 .. 128; then two bytes for each
 *   for each function, by address: distance to the one before (ULEB128; of the first, its address),
 *   name, NUL; a distance of 0 ends the table
 *
 * In names a byte of 128 + n stands for the two bytes of pair n, each of which may be a letter or
 * stand for a pair before it. Pairs are found by taking the two bytes that stand beside each other
 * most often, again and again, which halves the table (P. Gage, A New Algorithm for Data
 * Compression, 1994); whoever reads it needs no memory for that.
 *
 * tools/link-virt writes the same for images that are linked without this tool, with fewer pairs.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/elf.h"

#define PAIRS_MAX 128u
/* How many pairs deep one may be: the reader has that much room. */
#define DEPTH_MAX 15u
/* A pair that is seen less often saves nothing. */
#define COUNT_MIN 4u

struct names {
    unsigned char *text; /* all of them, each with its NUL */
    size_t len;
    unsigned char pair[PAIRS_MAX][2], depth[256];
    unsigned pairs;
};

static int by_address(const void *a, const void *b)
{
    const struct elf_symbol *left = a, *right = b;
    if (left->addr != right->addr)
        return left->addr < right->addr ? -1 : 1;
    return strcmp(left->name, right->name);
}

static bool is_code(const struct elf *elf, const struct elf_symbol *symbol)
{
    return (elf->section[symbol->section].flags & SHF_EXECINSTR) != 0 && symbol->name[0] != '.' &&
           symbol->name[0] != '$';
}

/* Of several functions at one address the first counts. Returns how many are left, in their order.
 */
static size_t choose(struct elf *elf)
{
    size_t kept = 0;
    uint64_t last = 0;
    if (elf->symbol_count > 1)
        qsort(elf->symbol, elf->symbol_count, sizeof(elf->symbol[0]), by_address);
    for (size_t i = 0; i < elf->symbol_count; i++) {
        struct elf_symbol symbol = elf->symbol[i];
        if (!is_code(elf, &symbol) || symbol.addr == last)
            continue;
        last = symbol.addr;
        elf->symbol[kept++] = symbol;
    }
    return kept;
}

/* ---- pairs ---------------------------------------------------------------------------------- */

/* The two bytes that stand beside each other most often; false: none does often enough. */
static bool find_pair(const struct names *names, unsigned char pair[2])
{
    static unsigned count[256][256];
    unsigned most = COUNT_MIN - 1;
    memset(count, 0, sizeof(count));
    for (size_t i = 0; i + 1 < names->len; i++) {
        unsigned char a = names->text[i], b = names->text[i + 1];
        bool is_usable =
            a != '\0' && b != '\0' && names->depth[a] < DEPTH_MAX && names->depth[b] < DEPTH_MAX;
        if (!is_usable || ++count[a][b] <= most)
            continue;
        most = count[a][b];
        pair[0] = a;
        pair[1] = b;
    }
    return most >= COUNT_MIN;
}

static void replace_pair(struct names *names, unsigned char code)
{
    const unsigned char *pair = names->pair[code - PAIRS_MAX];
    size_t out = 0;
    for (size_t i = 0; i < names->len; i++) {
        bool is_pair =
            i + 1 < names->len && names->text[i] == pair[0] && names->text[i + 1] == pair[1];
        names->text[out++] = is_pair ? code : names->text[i];
        i += is_pair;
    }
    names->len = out;
}

static void pack(struct names *names)
{
    while (names->pairs < PAIRS_MAX) {
        unsigned char *pair = names->pair[names->pairs], code;
        if (!find_pair(names, pair))
            return;
        code = (unsigned char)(PAIRS_MAX + names->pairs++);
        names->depth[code] = (unsigned char)(1 + (names->depth[pair[0]] > names->depth[pair[1]]
                                                      ? names->depth[pair[0]]
                                                      : names->depth[pair[1]]));
        replace_pair(names, code);
    }
}

/* Bytes of 128 and more in a name of the source mean something else here. */
static void add_name(struct str *all, const char *name)
{
    for (; *name != '\0'; name++) {
        char letter = (*name & 0x80) != 0 ? '?' : *name;
        str_add(all, &letter, 1);
    }
    str_add(all, "", 1);
}

/* ---- the table ------------------------------------------------------------------------------ */

static void emit(struct str *text, const struct elf *elf, size_t count, const struct names *names)
{
    const unsigned char *at = names->text;
    uint64_t last = 0;
    str_format(text,
               "    .section .rodata.mir__symbols, \"a\", %%progbits\n"
               "    .globl mir__symbols\nmir__symbols:\n    .byte %u\n",
               names->pairs);
    for (unsigned i = 0; i < names->pairs; i++)
        str_format(text, "    .byte %u, %u\n", names->pair[i][0], names->pair[i][1]);
    for (size_t i = 0; i < count; i++) {
        str_format(text, "    .uleb128 %llu\n    .byte ",
                   (unsigned long long)(elf->symbol[i].addr - last));
        for (; *at != '\0'; at++)
            str_format(text, "%u, ", *at);
        str_format(text, "0\n");
        at++;
        last = elf->symbol[i].addr;
    }
    str_format(text, "    .byte 0\n    .section .note.GNU-stack, \"\", %%progbits\n");
}

int names_write(const char *image, const char *path)
{
    struct elf elf;
    struct str text = {0}, all = {0};
    bool changed;
    if (elf_open(image, &elf) != 0)
        return EXIT_FAIL;
    size_t count = choose(&elf);
    str_add(&all, "", 0);
    for (size_t i = 0; i < count; i++)
        add_name(&all, elf.symbol[i].name);
    struct names names = {.text = (unsigned char *)all.data, .len = all.len};
    pack(&names);
    emit(&text, &elf, count, &names);
    elf_close(&elf);
    int r = file_write_if_changed(path, text.data, text.len, &changed);
    str_free(&text);
    str_free(&all);
    if (r != 0)
        complain("cannot write \"%s\": %s", path, strerror(-r));
    return r != 0 ? EXIT_FAIL : 0;
}
