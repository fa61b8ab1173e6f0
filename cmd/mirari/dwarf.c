/* SPDX-License-Identifier: ISC */
/* Which source file made which addresses, from the debug information (DWARF 5 standard; 2 to 4
 * too).
 *
 * Every compilation unit in .debug_info is a tree of entries, written in a row. The first one names
 * the source file and the addresses of its code, as one stretch or as a list in .debug_rnglists
 * (.debug_ranges before version 5). Variables are entries of their own with a location; those whose
 * location is a plain address are taken. Nothing else is looked at, but each entry must be
 * understood to be passed over, so all forms of attributes are known here.
 *
 *   .debug_info   unit header, entries: number of an abbreviation, values of its attributes
 *   .debug_abbrev per number: tag, list of (attribute, form)
 *
 * A cursor never reads past its end: it turns bad and gives zeros, and whoever loops looks at that.
 * Units of parts that the linker threw away have address 0 and are left out.
 * Not read: split, compressed and supplementary debug information.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/elf.h"

enum { TAG_UNIT = 0x11, TAG_VARIABLE = 0x34, TAG_PARTIAL = 0x3c };
enum {
    AT_LOCATION = 0x02,
    AT_NAME = 0x03,
    AT_LOW = 0x11,
    AT_HIGH = 0x12,
    AT_RANGES = 0x55,
    AT_STR_BASE = 0x72,
    AT_ADDR_BASE = 0x73,
    AT_RANGE_BASE = 0x74
};
enum { OP_ADDR = 0x03, OP_ADDRX = 0xa1 };
enum { CODES_MAX = 65536 };

struct cursor {
    const uint8_t *at, *end;
    bool is_bad;
};

struct value {
    uint32_t form;
    uint64_t number;
    const char *text;
    const uint8_t *block;
    uint64_t block_len;
};

/** An abbreviation: its tag and where its list begins. */
struct abbrev {
    uint32_t tag;
    const uint8_t *list;
};

struct unit {
    const struct elf *elf;
    struct dwarf *out;
    unsigned version, offset_size, addr_size;
    struct abbrev *abbrev; /* by number */
    size_t abbrev_count;
    struct cursor abbrevs;
    uint64_t str_base, addr_base, range_base, low;
    uint32_t index;
};

/* ---- cursors --------------------------------------------------------------------------------- */

static struct cursor section_at(const struct elf *elf, const char *name, uint64_t offset)
{
    const struct elf_section *section = elf_find(elf, name);
    struct cursor cursor = {.is_bad = true};
    if (section == NULL || section->type == SHT_NOBITS || offset > section->size ||
        (section->flags & SHF_COMPRESSED) != 0)
        return cursor;
    const uint8_t *data = (const uint8_t *)elf->bytes.data + section->offset;
    return (struct cursor){.at = data + offset, .end = data + section->size};
}

static void skip(struct cursor *c, uint64_t len)
{
    if (c->is_bad || len > (uint64_t)(c->end - c->at))
        c->is_bad = true;
    else
        c->at += len;
}

static uint64_t fixed(struct cursor *c, unsigned size)
{
    const uint8_t *at = c->at;
    uint64_t value = 0;
    skip(c, size);
    for (unsigned i = 0; i < size && !c->is_bad; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static uint64_t leb(struct cursor *c)
{
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint64_t byte = fixed(c, 1);
        if (c->is_bad)
            return 0;
        if (shift < 64)
            value |= (byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return value;
    }
}

static const char *text(struct cursor *c)
{
    const uint8_t *begin = c->at;
    const uint8_t *end = c->is_bad ? NULL : memchr(begin, '\0', (size_t)(c->end - begin));
    if (end == NULL) {
        c->is_bad = true;
        return "";
    }
    c->at = end + 1;
    return (const char *)begin;
}

/* ---- values ---------------------------------------------------------------------------------- */

static void take_block(struct cursor *c, uint64_t len, struct value *v)
{
    v->block = c->at;
    v->block_len = len;
    skip(c, len);
}

/* Size of a form that is a plain number, or 0. */
static unsigned fixed_size(const struct unit *u, uint32_t form)
{
    switch (form) {
    case 0x01: /* addr */
        return u->addr_size;
    case 0x0b: /* data1, flag, ref1, strx1, addrx1 */
    case 0x0c:
    case 0x11:
    case 0x25:
    case 0x29:
        return 1;
    case 0x05: /* data2, ref2, strx2, addrx2 */
    case 0x12:
    case 0x26:
    case 0x2a:
        return 2;
    case 0x27: /* strx3, addrx3 */
    case 0x2b:
        return 3;
    case 0x06: /* data4, ref4, ref_sup4, strx4, addrx4 */
    case 0x13:
    case 0x1c:
    case 0x28:
    case 0x2c:
        return 4;
    case 0x07: /* data8, ref8, ref_sig8, ref_sup8 */
    case 0x14:
    case 0x20:
    case 0x24:
        return 8;
    case 0x0e: /* strp, sec_offset, strp_sup, line_strp */
    case 0x17:
    case 0x1d:
    case 0x1f:
        return u->offset_size;
    case 0x10: /* ref_addr */
        return u->version <= 2 ? u->addr_size : u->offset_size;
    default:
        return 0;
    }
}

static void read_value(const struct unit *u, struct cursor *c, uint32_t form, struct value *v)
{
    unsigned size = fixed_size(u, form);
    v->form = form;
    if (size > 0) {
        v->number = fixed(c, size);
        return;
    }
    switch (form) {
    case 0x03: /* block2 */
        take_block(c, fixed(c, 2), v);
        break;
    case 0x04: /* block4 */
        take_block(c, fixed(c, 4), v);
        break;
    case 0x0a: /* block1 */
        take_block(c, fixed(c, 1), v);
        break;
    case 0x09: /* block, exprloc */
    case 0x18:
        take_block(c, leb(c), v);
        break;
    case 0x08:
        v->text = text(c);
        break;
    case 0x0d: /* sdata, udata, ref_udata, strx, addrx, loclistx, rnglistx */
    case 0x0f:
    case 0x15:
    case 0x1a:
    case 0x1b:
    case 0x22:
    case 0x23:
        v->number = leb(c);
        break;
    case 0x1e: /* data16 */
        skip(c, 16);
        break;
    case 0x19: /* flag_present, implicit_const */
    case 0x21:
        break;
    case 0x16: /* indirect; one that names itself would never end */
        form = (uint32_t)leb(c);
        if (form == 0x16)
            c->is_bad = true;
        else
            read_value(u, c, form, v);
        break;
    default: /* of unknown length: the rest of the unit cannot be read */
        c->is_bad = true;
    }
}

static uint64_t address_number(const struct unit *u, uint64_t index)
{
    struct cursor c = section_at(u->elf, ".debug_addr", u->addr_base);
    skip(&c, index * u->addr_size);
    return fixed(&c, u->addr_size);
}

static uint64_t address_of(const struct unit *u, const struct value *v)
{
    bool is_index = v->form == 0x1b || (v->form >= 0x29 && v->form <= 0x2c);
    return is_index ? address_number(u, v->number) : v->number;
}

static const char *text_of(const struct unit *u, const struct value *v)
{
    struct cursor c;
    if (v->form == 0x08)
        return v->text;
    if (v->form == 0x0e || v->form == 0x1f) {
        c = section_at(u->elf, v->form == 0x0e ? ".debug_str" : ".debug_line_str", v->number);
        return text(&c);
    }
    c = section_at(u->elf, ".debug_str_offsets", u->str_base);
    skip(&c, v->number * u->offset_size);
    c = section_at(u->elf, ".debug_str", fixed(&c, u->offset_size));
    return text(&c);
}

/* ---- ranges ---------------------------------------------------------------------------------- */

static void add_range(struct unit *u, uint64_t from, uint64_t to)
{
    struct dwarf *out = u->out;
    if (from == 0 || to <= from)
        return;
    if (out->range_count == out->range_size) {
        size_t size = out->range_size * 2 + 256;
        struct dwarf_range *more = need(size * sizeof(*more));
        if (out->range_count > 0)
            memcpy(more, out->range, out->range_count * sizeof(*more));
        free(out->range);
        out->range = more;
        out->range_size = size;
    }
    out->range[out->range_count++] = (struct dwarf_range){.from = from, .to = to, .unit = u->index};
}

/* DWARF 5 section 7.25. */
static void read_rnglist(struct unit *u, struct cursor c)
{
    uint64_t base = u->low;
    while (!c.is_bad) {
        uint64_t kind = fixed(&c, 1), from, to;
        switch (kind) {
        case 1: /* base_addressx */
            base = address_number(u, leb(&c));
            continue;
        case 2: /* startx_endx */
            from = address_number(u, leb(&c));
            to = address_number(u, leb(&c));
            break;
        case 3: /* startx_length */
            from = address_number(u, leb(&c));
            to = from + leb(&c);
            break;
        case 4: /* offset_pair */
            from = base + leb(&c);
            to = base + leb(&c);
            break;
        case 5: /* base_address */
            base = fixed(&c, u->addr_size);
            continue;
        case 6: /* start_end */
            from = fixed(&c, u->addr_size);
            to = fixed(&c, u->addr_size);
            break;
        case 7: /* start_length */
            from = fixed(&c, u->addr_size);
            to = from + leb(&c);
            break;
        default: /* end_of_list, or unknown */
            return;
        }
        if (!c.is_bad)
            add_range(u, from, to);
    }
}

static void read_old_ranges(struct unit *u, uint64_t offset)
{
    struct cursor c = section_at(u->elf, ".debug_ranges", offset);
    uint64_t base = u->low, all_ones = u->addr_size == 8 ? UINT64_MAX : UINT32_MAX;
    while (!c.is_bad) {
        uint64_t from = fixed(&c, u->addr_size), to = fixed(&c, u->addr_size);
        if (c.is_bad || (from == 0 && to == 0))
            return;
        if (from == all_ones)
            base = to;
        else
            add_range(u, base + from, base + to);
    }
}

static void read_ranges(struct unit *u, const struct value *v)
{
    if (u->version < 5) {
        read_old_ranges(u, v->number);
        return;
    }
    uint64_t offset = v->number;
    if (v->form == 0x23) { /* rnglistx: an index into the offsets at the base */
        struct cursor c = section_at(u->elf, ".debug_rnglists", u->range_base);
        skip(&c, v->number * u->offset_size);
        offset = u->range_base + fixed(&c, u->offset_size);
    }
    read_rnglist(u, section_at(u->elf, ".debug_rnglists", offset));
}

/* ---- entries --------------------------------------------------------------------------------- */

/* The next (attribute, form) of a list; false at its end. */
static bool next_spec(struct cursor *list, uint32_t *attribute, uint32_t *form)
{
    *attribute = (uint32_t)leb(list);
    *form = (uint32_t)leb(list);
    if (*form == 0x21)
        (void)leb(list); /* implicit_const: the value itself */
    return !list->is_bad && (*attribute != 0 || *form != 0);
}

static void read_abbrevs(struct unit *u, uint64_t offset)
{
    struct cursor c = section_at(u->elf, ".debug_abbrev", offset);
    size_t size = 0;
    u->abbrevs = c;
    while (!c.is_bad) {
        uint64_t code = leb(&c);
        if (code == 0 || code >= CODES_MAX)
            return;
        if (code >= size) {
            size_t more_size = code * 2 + 64;
            struct abbrev *more = need(more_size * sizeof(*more));
            if (size > 0)
                memcpy(more, u->abbrev, size * sizeof(*more));
            free(u->abbrev);
            u->abbrev = more;
            size = more_size;
            u->abbrev_count = size;
        }
        uint32_t attribute, form;
        struct abbrev abbrev = {.tag = (uint32_t)leb(&c)};
        (void)fixed(&c, 1); /* has children */
        abbrev.list = c.at;
        while (next_spec(&c, &attribute, &form))
            continue;
        if (!c.is_bad)
            u->abbrev[code] = abbrev;
    }
}

/* The first entry: the source file and its code. */
static void read_unit_entry(struct unit *u, struct cursor *c, const struct abbrev *abbrev)
{
    struct cursor list = {.at = abbrev->list, .end = u->abbrevs.end};
    struct value name = {0}, low = {0}, high = {0}, ranges = {0};
    uint32_t attribute, form;
    while (next_spec(&list, &attribute, &form) && !c->is_bad) {
        struct value v = {0};
        read_value(u, c, form, &v);
        if (attribute == AT_NAME)
            name = v;
        else if (attribute == AT_LOW)
            low = v;
        else if (attribute == AT_HIGH)
            high = v;
        else if (attribute == AT_RANGES)
            ranges = v;
        else if (attribute == AT_STR_BASE)
            u->str_base = v.number;
        else if (attribute == AT_ADDR_BASE)
            u->addr_base = v.number;
        else if (attribute == AT_RANGE_BASE)
            u->range_base = v.number;
    }
    const char *path = name.form != 0 ? text_of(u, &name) : "";
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    list_add(&u->out->unit, path[0] != '\0' ? path : "?");
    u->index = (uint32_t)(u->out->unit.count - 1);
    u->low = low.form != 0 ? address_of(u, &low) : 0;
    if (ranges.form != 0)
        read_ranges(u, &ranges);
    else if (high.form != 0)
        add_range(u, u->low, high.form == 0x01 ? high.number : u->low + high.number);
}

static void read_entry(struct unit *u, struct cursor *c, const struct abbrev *abbrev)
{
    struct cursor list = {.at = abbrev->list, .end = u->abbrevs.end};
    struct value where = {0};
    uint32_t attribute, form;
    while (next_spec(&list, &attribute, &form) && !c->is_bad) {
        struct value v = {0};
        read_value(u, c, form, &v);
        if (attribute == AT_LOCATION)
            where = v;
    }
    if (abbrev->tag != TAG_VARIABLE || where.block == NULL || where.block_len < 2 || c->is_bad)
        return;
    struct cursor block = {.at = where.block, .end = where.block + where.block_len};
    uint64_t op = fixed(&block, 1), addr = 0;
    if (op == OP_ADDR)
        addr = fixed(&block, u->addr_size);
    else if (op == OP_ADDRX)
        addr = address_number(u, leb(&block));
    if (!block.is_bad && block.at == block.end)
        add_range(u, addr, addr + 1);
}

static void read_entries(struct unit *u, struct cursor c)
{
    bool is_first = true;
    while (!c.is_bad && c.at < c.end) {
        uint64_t code = leb(&c);
        if (code == 0)
            continue; /* end of a list of children */
        if (code >= u->abbrev_count || u->abbrev[code].list == NULL)
            return;
        const struct abbrev *abbrev = &u->abbrev[code];
        if (is_first && (abbrev->tag == TAG_UNIT || abbrev->tag == TAG_PARTIAL))
            read_unit_entry(u, &c, abbrev);
        else if (is_first)
            return; /* a unit of types */
        else
            read_entry(u, &c, abbrev);
        is_first = false;
    }
}

/* One unit; @c goes behind it. */
static void read_unit(const struct elf *elf, struct dwarf *out, struct cursor *c)
{
    struct unit u = {.elf = elf, .out = out, .offset_size = 4};
    uint64_t len = fixed(c, 4);
    if (len == UINT32_MAX) {
        u.offset_size = 8;
        len = fixed(c, 8);
    }
    struct cursor body = *c;
    skip(c, len);
    if (c->is_bad)
        return;
    body.end = c->at;
    u.version = (unsigned)fixed(&body, 2);
    uint64_t abbrevs, kind = 1;
    if (u.version >= 5) {
        kind = fixed(&body, 1);
        u.addr_size = (unsigned)fixed(&body, 1);
        abbrevs = fixed(&body, u.offset_size);
    } else {
        abbrevs = fixed(&body, u.offset_size);
        u.addr_size = (unsigned)fixed(&body, 1);
    }
    bool is_known = u.version >= 2 && u.version <= 5 && (u.addr_size == 8 || u.addr_size == 4);
    if (body.is_bad || !is_known || kind != 1)
        return;
    u.str_base = u.addr_base = 8;
    u.range_base = 12;
    read_abbrevs(&u, abbrevs);
    read_entries(&u, body);
    free(u.abbrev);
}

static int by_address(const void *a, const void *b)
{
    const struct dwarf_range *left = a, *right = b;
    if (left->from != right->from)
        return left->from < right->from ? -1 : 1;
    return (left->to > right->to) - (left->to < right->to);
}

void dwarf_read(const struct elf *elf, struct dwarf *dwarf)
{
    *dwarf = (struct dwarf){0};
    struct cursor c = section_at(elf, ".debug_info", 0);
    while (!c.is_bad && c.at < c.end)
        read_unit(elf, dwarf, &c);
    if (dwarf->range_count > 1)
        qsort(dwarf->range, dwarf->range_count, sizeof(dwarf->range[0]), by_address);
}

const char *dwarf_unit_at(const struct dwarf *dwarf, uint64_t addr)
{
    size_t low = 0, high = dwarf->range_count;
    while (low < high) { /* the first range that begins behind @addr */
        size_t middle = low + (high - low) / 2;
        if (dwarf->range[middle].from <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && addr < dwarf->range[low - 1].to ? dwarf->unit.item[dwarf->range[low - 1].unit]
                                                      : NULL;
}

void dwarf_free(struct dwarf *dwarf)
{
    for (size_t i = 0; i < dwarf->unit.count; i++)
        free(dwarf->unit.item[i]);
    free(dwarf->unit.item);
    free(dwarf->range);
    *dwarf = (struct dwarf){0};
}
