/* SPDX-License-Identifier: ISC */
/* `mirari size`: which library, folder, file, section or symbol the bytes of an image belong to.
 *
 * Every byte of the file is counted once, so the last line is the size of the file:
 *
 *   loaded sections     cut at their symbols; a hole of less than HOLE_MAX bytes behind a symbol is
 *                       padding and counted with it, a larger one is strings and constants without
 *                       a name, or code of an assembly file
 *   other sections      debug information, symbols; not loaded into memory
 *   the rest            headers and padding of the file
 *
 * The source file of a piece comes from the debug information; its folder is the module, and the
 * first folder the library (lib, dev and target are Mirari's own). Code without debug information
 * is that of the C library and the compiler's. Bytes that are only zeroed at start (BSS) are in
 * memory and not in the file, so they have a column of their own.
 *
 * With -Wl,--gc-sections an image holds only what it uses; this shows what that is.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/mirari/elf.h"

enum { CODE, CONST, DATA, OTHER, BSS, KINDS };
enum level { BY_LIBRARY, BY_MODULE, BY_FILE, BY_SECTION, BY_SYMBOL };
enum { HOLE_MAX = 64, SYMBOLS_SHOWN = 40 };

static const char *const level_names[] = {"library", "module", "file", "section", "symbol"};

struct row {
    char *name;
    uint64_t bytes[KINDS];
};

struct table {
    enum level level;
    const struct elf *elf;
    const struct dwarf *dwarf;
    struct row *row; /* one for each piece, then joined by name */
    size_t count, size;
};

/* ---- names ----------------------------------------------------------------------------------- */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool is_own(const char *unit)
{
    return begins(unit, "lib/") || begins(unit, "dev/") || begins(unit, "target/");
}

/* What a piece without a source file is. */
static const char *nameless(const char *section, const char *symbol, unsigned kind)
{
    static const char *const dynamic[] = {".dyn", ".gnu.",   ".rel",  ".plt",
                                          ".got", ".interp", ".init", ".fini"};
    if (begins(section, ".eh_frame") || begins(section, ".gcc_except"))
        return "(unwind tables)";
    for (size_t i = 0; i < LEN(dynamic); i++)
        if (begins(section, dynamic[i]))
            return "(dynamic linking)";
    if (begins(section, ".note"))
        return "(notes)";
    if (symbol == NULL && (kind == CONST || kind == DATA))
        return "(strings and constants)";
    return "(C library and compiler)";
}

static char *name_of(const struct table *t, const struct elf_section *section, const char *symbol,
                     const char *unit, unsigned kind)
{
    bool is_store = symbol != NULL && begins(symbol, "mir__kv_");
    if (t->level == BY_SECTION)
        return need_text(section->name, strlen(section->name));
    if (t->level == BY_SYMBOL && symbol != NULL)
        return need_format("%s%s%s%s", symbol, unit != NULL ? "  [" : "", unit != NULL ? unit : "",
                           unit != NULL ? "]" : "");
    if (unit == NULL && is_store)
        return need_text(t->level == BY_LIBRARY ? "appliance" : "appliance, stores",
                         t->level == BY_LIBRARY ? 9 : 17);
    if (unit == NULL)
        return need_text(nameless(section->name, symbol, kind),
                         strlen(nameless(section->name, symbol, kind)));
    if (t->level == BY_FILE || t->level == BY_SYMBOL)
        return need_text(unit, strlen(unit));
    if (!is_own(unit))
        return need_text("appliance", 9);
    const char *slash = t->level == BY_LIBRARY ? strchr(unit, '/') : strrchr(unit, '/');
    return need_text(unit, (size_t)(slash - unit));
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static void add_row(struct table *t, char *name_given, unsigned kind, uint64_t bytes)
{
    if (t->count == t->size) {
        size_t size = t->size * 2 + 256;
        struct row *more = need(size * sizeof(*more));
        if (t->count > 0)
            memcpy(more, t->row, t->count * sizeof(*more));
        free(t->row);
        t->row = more;
        t->size = size;
    }
    t->row[t->count] = (struct row){.name = name_given};
    t->row[t->count++].bytes[kind] = bytes;
}

static unsigned kind_of(const struct elf_section *section)
{
    if ((section->flags & SHF_ALLOC) == 0)
        return OTHER;
    if (section->type == SHT_NOBITS)
        return BSS;
    if (section->flags & SHF_EXECINSTR)
        return CODE;
    return section->flags & SHF_WRITE ? DATA : CONST;
}

static void add_piece(struct table *t, const struct elf_section *section, const char *symbol,
                      uint64_t addr, uint64_t size)
{
    const char *unit = dwarf_unit_at(t->dwarf, addr);
    if (unit == NULL && symbol != NULL) /* foo.cold is foo's, and nothing else says so */
        for (size_t i = 0, len = strcspn(symbol, "."); i < t->elf->symbol_count; i++)
            if (symbol[len] == '.' && strlen(t->elf->symbol[i].name) == len &&
                memcmp(t->elf->symbol[i].name, symbol, len) == 0)
                unit = dwarf_unit_at(t->dwarf, t->elf->symbol[i].addr);
    unsigned kind = kind_of(section);
    add_row(t, name_of(t, section, symbol, unit, kind), kind, size);
}

static int by_place(const void *a, const void *b)
{
    const struct elf_symbol *left = a, *right = b;
    if (left->section != right->section)
        return left->section < right->section ? -1 : 1;
    if (left->addr != right->addr)
        return left->addr < right->addr ? -1 : 1;
    if (left->size != right->size)
        return left->size > right->size ? -1 : 1;
    return strcmp(left->name, right->name);
}

/* A loaded section, cut at its symbols. @at: index of its first symbol; returns that behind. */
static size_t cut_section(struct table *t, uint32_t index, size_t at)
{
    const struct elf *elf = t->elf;
    const struct elf_section *section = &elf->section[index];
    uint64_t place = section->addr, end = section->addr + section->size;
    const char *symbol = NULL; /* not counted yet: from @from on */
    uint64_t from = place;
    for (; at < elf->symbol_count && elf->symbol[at].section == index; at++) {
        const struct elf_symbol *next = &elf->symbol[at];
        uint64_t next_end = next->addr + next->size;
        if (next->size == 0 || next->addr < place || next->addr >= end || next_end < next->addr)
            continue; /* a label, or another name of what was counted */
        if (symbol != NULL && next->addr - place >= HOLE_MAX) {
            add_piece(t, section, symbol, from, place - from);
            symbol = NULL;
            from = place;
        }
        if (next->addr > from)
            add_piece(t, section, symbol, from, next->addr - from);
        symbol = next->name;
        from = next->addr;
        place = next_end < end ? next_end : end;
    }
    if (symbol != NULL && end - place >= HOLE_MAX) {
        add_piece(t, section, symbol, from, place - from);
        symbol = NULL;
        from = place;
    }
    if (end > from)
        add_piece(t, section, symbol, from, end - from);
    return at;
}

static const char *other_name(const char *section)
{
    if (begins(section, ".debug"))
        return "(debug information)";
    if (strcmp(section, ".symtab") == 0 || strcmp(section, ".strtab") == 0)
        return "(symbols)";
    return "(headers and the rest)";
}

static void count_all(struct table *t)
{
    const struct elf *elf = t->elf;
    uint64_t rest = elf->bytes.len;
    size_t at = 0;
    if (elf->symbol_count > 1)
        qsort(elf->symbol, elf->symbol_count, sizeof(elf->symbol[0]), by_place);
    for (uint32_t i = 0; i < elf->section_count; i++) {
        const struct elf_section *section = &elf->section[i];
        while (at < elf->symbol_count && elf->symbol[at].section < i)
            at++;
        if (section->type == SHT_NULL || section->size == 0)
            continue;
        if (section->type != SHT_NOBITS)
            rest = rest > section->size ? rest - section->size : 0;
        if (section->flags & SHF_ALLOC) {
            at = cut_section(t, i, at);
        } else if (section->type != SHT_NOBITS) {
            const char *name = t->level == BY_SECTION ? section->name : other_name(section->name);
            add_row(t, need_text(name, strlen(name)), OTHER, section->size);
        }
    }
    add_row(t, need_text("(headers and the rest)", 22), OTHER, rest);
}

/* ---- showing --------------------------------------------------------------------------------- */

static int by_row_name(const void *a, const void *b)
{
    return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

static uint64_t in_memory(const struct row *row)
{
    return row->bytes[CODE] + row->bytes[CONST] + row->bytes[DATA] + row->bytes[BSS];
}

static int by_size(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    uint64_t l = in_memory(left), r = in_memory(right);
    if (l != r)
        return l > r ? -1 : 1;
    if (left->bytes[OTHER] != right->bytes[OTHER])
        return left->bytes[OTHER] > right->bytes[OTHER] ? -1 : 1;
    return strcmp(left->name, right->name);
}

static void add_to(struct row *sum, const struct row *row)
{
    for (size_t k = 0; k < KINDS; k++)
        sum->bytes[k] += row->bytes[k];
}

/* Rows of one name become one. */
static void join_rows(struct table *t)
{
    size_t count = 0;
    qsort(t->row, t->count, sizeof(t->row[0]), by_row_name);
    for (size_t i = 0; i < t->count; i++) {
        if (count > 0 && strcmp(t->row[count - 1].name, t->row[i].name) == 0) {
            add_to(&t->row[count - 1], &t->row[i]);
            free(t->row[i].name);
        } else {
            t->row[count++] = t->row[i];
        }
    }
    t->count = count;
    qsort(t->row, t->count, sizeof(t->row[0]), by_size);
}

static void show_row(const struct row *row, uint64_t loaded)
{
    struct str name = {0};
    uint64_t file = row->bytes[CODE] + row->bytes[CONST] + row->bytes[DATA] + row->bytes[OTHER];
    uint64_t share = file - row->bytes[OTHER];
    str_visible(&name, row->name);
    for (size_t k = 0; k < KINDS; k++)
        if (k != BSS)
            printf("%9llu", (unsigned long long)row->bytes[k]);
    printf("%10llu%9llu", (unsigned long long)file, (unsigned long long)row->bytes[BSS]);
    if (loaded > 0 && share > 0)
        printf(" %4u.%u  ", (unsigned)(share * 100 / loaded),
               (unsigned)(share * 1000 / loaded % 10));
    else
        printf("      -  ");
    printf("%s\n", name.data != NULL ? name.data : "");
    str_free(&name);
}

static void show_table(const struct table *t, const char *path, size_t most)
{
    struct row total = {.name = (char[]){"total"}}, left = {0};
    struct str name = {0};
    for (size_t i = 0; i < t->count; i++)
        add_to(&total, &t->row[i]);
    uint64_t loaded = in_memory(&total) - total.bytes[BSS];
    str_visible(&name, path);
    printf("%s: %zu bytes, %llu of them loaded; %llu more are zeroed at start\n\n", name.data,
           t->elf->bytes.len, (unsigned long long)loaded, (unsigned long long)total.bytes[BSS]);
    printf("%9s%9s%9s%9s%10s%9s %6s  %s\n", "CODE", "CONST", "DATA", "OTHER", "FILE", "BSS", "%",
           level_names[t->level]);
    for (size_t i = 0; i < t->count; i++) {
        if (i < most)
            show_row(&t->row[i], loaded);
        else
            add_to(&left, &t->row[i]);
    }
    if (t->count > most) {
        left.name = need_format("(%zu more)", t->count - most);
        show_row(&left, loaded);
        free(left.name);
    }
    show_row(&total, loaded);
    str_free(&name);
}

static int show_sizes(const char *path, enum level level, size_t most)
{
    struct elf elf;
    struct dwarf dwarf;
    if (elf_open(path, &elf) != 0)
        return EXIT_FAIL;
    dwarf_read(&elf, &dwarf);
    if (dwarf.range_count == 0 && level != BY_SECTION && level != BY_SYMBOL)
        complain("\"%s\" has no debug information: no source files are known; try --by symbol",
                 path);
    struct table table = {.level = level, .elf = &elf, .dwarf = &dwarf};
    count_all(&table);
    join_rows(&table);
    show_table(&table, path, most);
    for (size_t i = 0; i < table.count; i++)
        free(table.row[i].name);
    free(table.row);
    dwarf_free(&dwarf);
    elf_close(&elf);
    return 0;
}

/* ---- the command ----------------------------------------------------------------------------- */

struct request {
    struct common common;
    const char *what;
    enum level level;
    int64_t most;
};

static int take_level(struct request *q, const char *value)
{
    for (size_t i = 0; i < LEN(level_names); i++) {
        if (strcmp(value, level_names[i]) == 0) {
            q->level = (enum level)i;
            return 0;
        }
    }
    complain("size: --by takes library, module, file, section or symbol, not \"%s\"%s", value,
             did_you_mean(value, level_names, LEN(level_names)));
    return EXIT_USAGE;
}

static int take_argument(struct request *q, int argc, char **argv, int *at)
{
    static const char *const names[] = {"-C",       "-f",    "-t",   "-o",     "--folder", "--file",
                                        "--target", "--out", "--by", "--rows", "-n"};
    const char *arg = argv[*at];
    struct why why;
    int r = common_option(&q->common, argc, argv, at, "CftoqAR");
    if (r != 0)
        return r < 0 ? EXIT_USAGE : 0;
    bool is_level = strcmp(arg, "--by") == 0;
    if (is_level || strcmp(arg, "-n") == 0 || strcmp(arg, "--rows") == 0) {
        const char *value = *at + 1 < argc ? argv[++*at] : "";
        if (is_level)
            return take_level(q, value);
        if (valid_int(value, &q->most, &why) && q->most > 0)
            return 0;
        complain("size: -n takes a number of rows, not \"%s\"", value);
        return EXIT_USAGE;
    }
    if (strncmp(arg, "--by=", 5) == 0)
        return take_level(q, arg + 5);
    if (arg[0] == '-' || q->what != NULL)
        return usage_error("size", arg, names, LEN(names));
    q->what = arg;
    return 0;
}

int cmd_size(int argc, char **argv)
{
    struct request q = {.level = BY_MODULE};
    struct stat st;
    struct manifest manifest;
    struct place place;
    int r = 0;
    for (int i = 1; i < argc && r == 0; i++)
        r = take_argument(&q, argc, argv, &i);
    if (r != 0)
        return r;
    size_t most = q.most > 0 ? (size_t)q.most : q.level == BY_SYMBOL ? SYMBOLS_SHOWN : SIZE_MAX;
    if (q.what != NULL && stat(q.what, &st) == 0 && S_ISDIR(st.st_mode))
        q.common.folder = q.what;
    else if (q.what != NULL)
        return show_sizes(q.what, q.level, most);
    r = common_finish(&q.common);
    if (r == 0)
        r = manifest_load(q.common.folder, q.common.file, true, &manifest);
    if (r != 0)
        return r;
    place_of(&q.common, &manifest, &place);
    if (stat(place.binary, &st) != 0) {
        complain("\"%s\" is not built for target %s; build it: mirari build -t %s", manifest.name,
                 q.common.target, q.common.target);
        return EXIT_FAIL;
    }
    return show_sizes(place.binary, q.level, most);
}
