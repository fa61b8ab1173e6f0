/* SPDX-License-Identifier: ISC */
/* Flattened device trees, read where they lie.
 *
 *      header      magic, sizes and offsets of the three blocks, big endian
 *      reserve     pairs of 64-bit address and size; 0, 0 ends it
 *      structure   tokens of 32 bits: BEGIN_NODE name, PROP len nameoff value, END_NODE, NOP, END
 *      strings     names of properties
 *
 * The blob comes from a loader, and so does everything in it. mir__fdt_open() goes through all of
 * it once: blocks inside the blob, tokens in an order that makes sense, names that end, values
 * that lie inside. What it has seen is not checked again. It relies on nobody changing the blob
 * afterwards: it lies in the appliance's own memory.
 *
 * A walk keeps, for each level above the node, how many cells an address and a size have in the
 * children, and whether their addresses are translated. "ranges" that is empty means they are not;
 * a node without it has children that are not in the processor's address space at all; one with a
 * value is refused by mir__fdt_reg() (PCI bridges are read by their own code).
 *
 * Not done: changing a tree, overlays, aliases, interrupt parents (whoever needs an interrupt
 * knows its controller).
 */
#include "lib/fdt/fdt.h"

#include <mirari/bytes.h>

enum { BEGIN_NODE = 1, END_NODE = 2, PROP = 3, NOP = 4, END = 9 };

#define MAGIC         0xd00dfeedu
#define CELLS_ADDRESS 2u /* where nothing is said */
#define CELLS_SIZE    1u
#define VERSION_MIN   16u
#define VERSION_READ  17u
#define RESERVE_BYTES 16u
#define PROP_HEAD     8u

/* Layout of the header, in bytes. */
enum {
    H_MAGIC = 0,
    H_SIZE = 4,
    H_STRUCT = 8,
    H_STRINGS = 12,
    H_RESERVE = 16,
    H_VERSION = 20,
    H_LAST_COMPATIBLE = 24,
    H_STRINGS_SIZE = 32,
    H_STRUCT_SIZE = 36
};

static uint32_t align4(uint32_t at)
{
    return (at + 3) & ~3u;
}

static uint32_t word(const struct mir__fdt *fdt, uint32_t at)
{
    return mir_get_be32(fdt->blob + at);
}

/* ---- opening --------------------------------------------------------------------------------- */

int mir__fdt_size(const uint8_t *header, uint32_t *size)
{
    if (mir_get_be32(header + H_MAGIC) != MAGIC)
        return -MIR_EMALFORMED;
    *size = mir_get_be32(header + H_SIZE);
    return 0;
}

/* Is the NUL of the text at @at before @end? Then *@after is behind it. */
static bool has_end(const struct mir__fdt *fdt, uint32_t at, uint32_t end, uint32_t *after)
{
    for (; at < end; at++) {
        if (fdt->blob[at] == 0) {
            *after = at + 1;
            return true;
        }
    }
    return false;
}

static int check_reserved(struct mir__fdt *fdt)
{
    fdt->reserve_count = 0;
    for (uint32_t at = fdt->reserve_at; at <= fdt->size - RESERVE_BYTES; at += RESERVE_BYTES) {
        if (mir_get_be64(fdt->blob + at) == 0 && mir_get_be64(fdt->blob + at + 8) == 0)
            return 0;
        fdt->reserve_count++;
    }
    return -MIR_EMALFORMED;
}

static int check_header(struct mir__fdt *fdt, size_t size)
{
    uint32_t strings_size, struct_size;
    if (size < MIR__FDT_HEADER_BYTES)
        return -MIR_ETRUNCATED;
    if (mir__fdt_size(fdt->blob, &fdt->size) < 0)
        return -MIR_EMALFORMED;
    if (fdt->size > size)
        return -MIR_ETRUNCATED;
    if (fdt->size < MIR__FDT_HEADER_BYTES + RESERVE_BYTES)
        return -MIR_EMALFORMED;
    if (word(fdt, H_VERSION) < VERSION_READ || word(fdt, H_LAST_COMPATIBLE) > VERSION_READ ||
        word(fdt, H_LAST_COMPATIBLE) < VERSION_MIN)
        return -MIR_ENOTSUP;
    fdt->struct_at = word(fdt, H_STRUCT);
    fdt->strings_at = word(fdt, H_STRINGS);
    fdt->reserve_at = word(fdt, H_RESERVE);
    strings_size = word(fdt, H_STRINGS_SIZE);
    struct_size = word(fdt, H_STRUCT_SIZE);
    if (fdt->struct_at > fdt->size || struct_size > fdt->size - fdt->struct_at ||
        fdt->struct_at % 4 != 0 || struct_size < 4)
        return -MIR_EMALFORMED;
    if (fdt->strings_at > fdt->size || strings_size > fdt->size - fdt->strings_at)
        return -MIR_EMALFORMED;
    if (fdt->reserve_at > fdt->size - RESERVE_BYTES || fdt->reserve_at % 8 != 0)
        return -MIR_EMALFORMED;
    fdt->struct_end = fdt->struct_at + (struct_size & ~3u);
    fdt->strings_end = fdt->strings_at + strings_size;
    return check_reserved(fdt);
}

/* A property whose token was at @at - 4. Returns the offset behind it, or 0. */
static uint32_t check_property(const struct mir__fdt *fdt, uint32_t at)
{
    uint32_t after;
    if (fdt->struct_end - at < PROP_HEAD)
        return 0;
    uint32_t len = word(fdt, at), name = word(fdt, at + 4);
    at += PROP_HEAD;
    if (len > fdt->struct_end - at)
        return 0;
    if (name >= fdt->strings_end - fdt->strings_at ||
        !has_end(fdt, fdt->strings_at + name, fdt->strings_end, &after))
        return 0;
    after = align4(at + len);
    return after <= fdt->struct_end ? after : 0;
}

static int check_structure(const struct mir__fdt *fdt)
{
    unsigned depth = 0;
    bool may_have_property = false, had_root = false;
    uint32_t at = fdt->struct_at;
    while (fdt->struct_end - at >= 4) {
        uint32_t token = word(fdt, at);
        at += 4;
        if (token == NOP)
            continue;
        if (token == END)
            return depth == 0 && had_root ? 0 : -MIR_EMALFORMED;
        if (token == BEGIN_NODE) {
            if ((depth == 0 && had_root) || !has_end(fdt, at, fdt->struct_end, &at))
                return -MIR_EMALFORMED;
            at = align4(at);
            if (depth == MIR__FDT_DEPTH_MAX)
                return -MIR_ELIMIT;
            depth++;
            may_have_property = had_root = true;
        } else if (token == END_NODE && depth > 0) {
            depth--;
            may_have_property = false;
        } else if (token == PROP && may_have_property) {
            at = check_property(fdt, at);
            if (at == 0)
                return -MIR_EMALFORMED;
        } else {
            return -MIR_EMALFORMED;
        }
        if (at > fdt->struct_end)
            break;
    }
    return -MIR_EMALFORMED;
}

int mir__fdt_open(struct mir__fdt *fdt, const void *blob, size_t size)
{
    *fdt = (struct mir__fdt){.blob = blob};
    int r = check_header(fdt, size);
    if (r < 0)
        return r;
    return check_structure(fdt);
}

bool mir__fdt_reserved(const struct mir__fdt *fdt, uint32_t index, uint64_t *address, uint64_t *len)
{
    if (index >= fdt->reserve_count)
        return false;
    const uint8_t *entry = fdt->blob + fdt->reserve_at + (size_t)index * RESERVE_BYTES;
    *address = mir_get_be64(entry);
    *len = mir_get_be64(entry + 8);
    return true;
}

/* ---- walking --------------------------------------------------------------------------------- */

void mir__fdt_walk(struct mir__fdt_walk *walk, const struct mir__fdt *fdt)
{
    *walk = (struct mir__fdt_walk){.fdt = fdt, .at = fdt->struct_at, .name = ""};
    walk->level[0].address_cells = CELLS_ADDRESS;
    walk->level[0].size_cells = CELLS_SIZE;
}

/* The next property at *@at, which moves behind it. False at the first child or the node's end. */
static bool next_property(const struct mir__fdt *fdt, uint32_t *at, const char **name,
                          struct mir__fdt_value *value)
{
    while (word(fdt, *at) == NOP)
        *at += 4;
    if (word(fdt, *at) != PROP)
        return false;
    value->len = word(fdt, *at + 4);
    value->data = fdt->blob + *at + 4 + PROP_HEAD;
    *name = (const char *)fdt->blob + fdt->strings_at + word(fdt, *at + 8);
    *at = align4(*at + 4 + PROP_HEAD + value->len);
    return true;
}

static uint8_t small_cell(const struct mir__fdt_value *value)
{
    uint32_t cells = value->len == 4 ? mir_get_be32(value->data) : UINT8_MAX;
    return (uint8_t)MIR_MIN(cells, (uint32_t)UINT8_MAX);
}

/* What the node says of its children; leaves the walk behind the properties. */
static void enter(struct mir__fdt_walk *walk)
{
    struct mir__fdt_value value;
    const char *name;
    bool has_ranges = walk->depth == 1, is_translated = walk->level[walk->depth - 1].is_translated;
    uint8_t address_cells = CELLS_ADDRESS, size_cells = CELLS_SIZE;
    while (next_property(walk->fdt, &walk->at, &name, &value)) {
        if (mir_str_equal(name, "#address-cells")) {
            address_cells = small_cell(&value);
        } else if (mir_str_equal(name, "#size-cells")) {
            size_cells = small_cell(&value);
        } else if (mir_str_equal(name, "ranges")) {
            has_ranges = true;
            is_translated |= value.len > 0;
        }
    }
    walk->level[walk->depth].address_cells = address_cells;
    walk->level[walk->depth].size_cells = size_cells;
    walk->level[walk->depth].is_translated = is_translated || !has_ranges;
}

bool mir__fdt_next(struct mir__fdt_walk *walk)
{
    const struct mir__fdt *fdt = walk->fdt;
    for (;;) {
        uint32_t token = word(fdt, walk->at);
        if (token == END)
            return false;
        walk->at += 4;
        if (token == END_NODE)
            walk->depth--;
        if (token == BEGIN_NODE)
            break;
    }
    walk->depth++;
    walk->name = (const char *)fdt->blob + walk->at;
    walk->at = align4(walk->at + (uint32_t)mir_str_len(walk->name) + 1);
    walk->node = walk->at;
    enter(walk);
    return true;
}

/* Is [len] bytes of @component the node's name, or its name without the unit address? */
static bool is_named(const struct mir__fdt_walk *walk, const char *component, size_t len)
{
    size_t i = 0;
    while (i < len && walk->name[i] != '\0' && walk->name[i] == component[i])
        i++;
    return i == len && (walk->name[i] == '\0' || walk->name[i] == '@');
}

int mir__fdt_find(struct mir__fdt_walk *walk, const struct mir__fdt *fdt, const char *path,
                  size_t len)
{
    size_t at = 0, end = 0;
    unsigned depth = 1; /* of the node that was found last */
    mir__fdt_walk(walk, fdt);
    if (len == 0 || path[0] != '/' || !mir__fdt_next(walk))
        return -MIR_ENOENT;
    for (;;) {
        for (at = end; at < len && path[at] == '/'; at++) {
        }
        if (at == len)
            return 0;
        for (end = at; end < len && path[end] != '/'; end++) {
        }
        do {
            if (!mir__fdt_next(walk) || walk->depth <= depth)
                return -MIR_ENOENT;
        } while (walk->depth != depth + 1 || !is_named(walk, path + at, end - at));
        depth++;
    }
}

int mir__fdt_find_phandle(struct mir__fdt_walk *walk, const struct mir__fdt *fdt, uint32_t phandle)
{
    uint32_t own;
    mir__fdt_walk(walk, fdt);
    while (mir__fdt_next(walk)) {
        if (mir__fdt_cell(walk, "phandle", 0, &own) == 0 && own == phandle)
            return 0;
    }
    return -MIR_ENOENT;
}

/* ---- properties ------------------------------------------------------------------------------ */

int mir__fdt_property(const struct mir__fdt_walk *walk, const char *name,
                      struct mir__fdt_value *value)
{
    const char *own;
    struct mir__fdt_value found;
    uint32_t at = walk->node;
    if (walk->depth == 0)
        return -MIR_ENOENT;
    while (next_property(walk->fdt, &at, &own, &found)) {
        if (mir_str_equal(own, name)) {
            *value = found;
            return 0;
        }
    }
    return -MIR_ENOENT;
}

uint32_t mir__fdt_value_cell(const struct mir__fdt_value *value, uint32_t index)
{
    MIR_ASSERT_OP(index, <, value->len / 4);
    return mir_get_be32(value->data + (size_t)index * 4);
}

int mir__fdt_cell(const struct mir__fdt_walk *walk, const char *name, uint32_t index,
                  uint32_t *cell)
{
    struct mir__fdt_value value;
    int r = mir__fdt_property(walk, name, &value);
    if (r < 0)
        return r;
    if (index >= value.len / 4)
        return -MIR_ENOENT;
    *cell = mir__fdt_value_cell(&value, index);
    return 0;
}

int mir__fdt_text(const struct mir__fdt_walk *walk, const char *name, const char **text)
{
    struct mir__fdt_value value;
    int r = mir__fdt_property(walk, name, &value);
    if (r < 0)
        return r;
    if (value.len == 0 || value.data[value.len - 1] != 0)
        return -MIR_EMALFORMED;
    *text = (const char *)value.data;
    return 0;
}

static bool is_enabled(const struct mir__fdt_walk *walk)
{
    const char *status;
    int r = mir__fdt_text(walk, "status", &status);
    if (r == -MIR_ENOENT)
        return true;
    return r == 0 && (mir_str_equal(status, "okay") || mir_str_equal(status, "ok"));
}

bool mir__fdt_is(const struct mir__fdt_walk *walk, const char *what)
{
    struct mir__fdt_value value;
    size_t len = mir_str_len(what) + 1;
    if (mir__fdt_property(walk, "compatible", &value) < 0)
        return false;
    while (value.len >= len) {
        if (mir_memcmp(value.data, what, len) == 0)
            return is_enabled(walk);
        while (value.len > 0 && value.data[0] != 0) {
            value.data++;
            value.len--;
        }
        if (value.len == 0)
            return false;
        value.data++;
        value.len--;
    }
    return false;
}

static uint64_t number(const uint8_t *data, unsigned cells)
{
    if (cells == 0)
        return 0;
    return cells == 1 ? mir_get_be32(data) : mir_get_be64(data);
}

int mir__fdt_reg(const struct mir__fdt_walk *walk, uint32_t index, uint64_t *address, uint64_t *len)
{
    struct mir__fdt_value value;
    int r = mir__fdt_property(walk, "reg", &value);
    if (r < 0)
        return r;
    unsigned parent = walk->depth - 1, a = walk->level[parent].address_cells,
             s = walk->level[parent].size_cells;
    if (walk->level[parent].is_translated || a == 0 || a > 2 || s > 2)
        return -MIR_ENOTSUP;
    uint32_t step = (a + s) * 4;
    if (index >= value.len / step)
        return -MIR_ENOENT;
    uint64_t from = number(value.data + (size_t)index * step, a);
    uint64_t size = number(value.data + (size_t)index * step + (size_t)a * 4, s);
    if (size > UINT64_MAX - from)
        return -MIR_ERANGE;
    *address = from;
    *len = size;
    return 0;
}
