/* SPDX-License-Identifier: ISC */
/* Addresses for PCI devices that nobody gave any: pieces of windows, devices that lie. */
#include <mirari/bytes.h>
#include <string.h>

#include "dev/pci/pci.h"
#include "test/harness/tap.h"

#define BARS_AT 0x10u

/* A function: its configuration, and which bits of its address registers can be written. */
struct function {
    uint16_t bdf;
    uint8_t space[256];
    uint32_t writable[MIR_PCI_BARS];
};

static struct function functions[8];
static uint32_t count;
static unsigned writes;

static struct function *function_at(uint16_t bdf)
{
    for (uint32_t i = 0; i < count; i++) {
        if (functions[i].bdf == bdf)
            return &functions[i];
    }
    return NULL;
}

static uint32_t read_config(const struct mir_pci *pci, uint16_t bdf, uint32_t offset,
                            unsigned width)
{
    const struct function *f = function_at(bdf);
    (void)pci;
    if (f == NULL)
        return UINT32_MAX >> (32 - 8 * width);
    uint32_t value = mir_get_le32(f->space + (offset & 0xfc)) >> 8 * (offset & 3);
    return value & UINT32_MAX >> (32 - 8 * width);
}

static void write_config(const struct mir_pci *pci, uint16_t bdf, uint32_t offset, unsigned width,
                         uint32_t value)
{
    struct function *f = function_at(bdf);
    uint32_t index = (offset - BARS_AT) / 4;
    (void)pci;
    writes++;
    if (f == NULL)
        return;
    if (width == 2) {
        mir_put_le16(f->space + offset, (uint16_t)value);
    } else if (offset >= BARS_AT && index < MIR_PCI_BARS) {
        uint32_t old = mir_get_le32(f->space + offset), mask = f->writable[index];
        mir_put_le32(f->space + offset, (old & ~mask) | (value & mask));
    }
}

static const struct mir_pci pci = {.read = read_config, .write = write_config};

static struct function *add_function(uint16_t bdf, uint8_t header)
{
    struct function *f = &functions[count++];
    memset(f, 0, sizeof *f);
    f->bdf = bdf;
    mir_put_le32(f->space, 0x10411af4);
    f->space[0x0e] = header;
    return f;
}

static void add_bar(struct function *f, unsigned index, uint32_t flags, uint64_t size)
{
    uint64_t mask = ~(size - 1) & (flags & 1 ? ~3ull : ~15ull);
    f->writable[index] = (uint32_t)mask;
    mir_put_le32(f->space + BARS_AT + 4 * index, flags);
    if ((flags & 7) == 4)
        f->writable[index + 1] = (uint32_t)(mask >> 32);
}

static uint64_t bar(const struct function *f, unsigned index)
{
    uint32_t low = mir_get_le32(f->space + BARS_AT + 4 * index);
    uint64_t high = (low & 7) == 4 ? mir_get_le32(f->space + BARS_AT + 4 * index + 4) : 0;
    return high << 32 | (low & (low & 1 ? ~3u : ~15u));
}

static struct mir_pci_windows windows(void)
{
    return (struct mir_pci_windows){
        {0x1000, 0x2000}, {0xc0000100, 0xc0100000}, {0x8000000000, 0x8040000000}};
}

static void begin(void)
{
    count = writes = 0;
    add_function(0, 0); /* the bridge of the host */
}

static void test_pieces(void)
{
    struct mir_pci_windows w = windows();
    tap_case("each register gets a piece of its size, and the device decodes it");
    begin();
    struct function *a = add_function(0x08, 0x80);
    add_bar(a, 0, 1, 32);
    add_bar(a, 1, 0, 4096);
    add_bar(a, 4, 4 | 8, 16384);
    struct function *b = add_function(0x09, 0);
    add_bar(b, 0, 0, 16);
    add_bar(b, 2, 4, 1 << 21);
    add_function(0x10, 0);
    struct function *hidden = add_function(0x13, 0); /* of a device with a single function */
    add_bar(hidden, 0, 0, 4096);
    check(mir_pci_place(&pci, &w));
    check_int(bar(a, 0), ==, 0x1000);
    check_int(bar(a, 1), ==, 0xc0001000);
    check_int(bar(a, 4), ==, 0xc0004000);
    check_int(a->space[4] & 3, ==, 3);
    check_int(bar(b, 0), ==, 0xc0008000); /* a whole page, no other in it */
    check_int(w.memory.next, ==, 0xc0009000);
    tap_case("what does not fit below 4 GiB goes above, if it can");
    check(bar(b, 2) == 0x8000000000ull);
    check_int(bar(hidden, 0), ==, 0);
    check_int(hidden->space[4], ==, 0);
}

static void test_touched(void)
{
    struct mir_pci_windows w = windows();
    tap_case("nothing is touched where somebody was before");
    begin();
    struct function *a = add_function(0x08, 0);
    struct function *b = add_function(0x20, 0);
    add_bar(a, 0, 0, 4096);
    add_bar(b, 2, 4, 4096);
    mir_put_le32(b->space + BARS_AT + 12, 0x80); /* the upper half of an address alone */
    check(!mir_pci_place(&pci, &w));
    check_int(writes, ==, 0);
    check_int(w.memory.next, ==, windows().memory.next);
}

static void test_lies(void)
{
    struct mir_pci_windows w = windows();
    tap_case("sizes that fit nowhere, and a wide register that is the last");
    begin();
    struct function *a = add_function(0x08, 0);
    add_bar(a, 0, 0, 1u << 31);
    add_bar(a, 1, 1, 1u << 16);
    a->writable[2] = 0xf0f0f0f0; /* no power of two: the lowest bit counts */
    mir_put_le32(a->space + BARS_AT + 20, 4);
    a->writable[5] = 0xfffff000;
    struct function *bridge = add_function(0x10, 1);
    add_bar(bridge, 0, 0, 4096);
    check(mir_pci_place(&pci, &w));
    check_int(bar(a, 0), ==, 0);
    check_int(bar(a, 1), ==, 0);
    check(bar(a, 2) >= 0xc0000000);
    check_int(mir_get_le32(a->space + BARS_AT + 20) & 0xfffff000, !=, 0);
    check_int(bar(bridge, 0), ==, 0);
    tap_case("windows that are empty");
    struct mir_pci_windows none = {{0, 0}, {0, 0}, {0, 0}};
    begin();
    a = add_function(0xf8, 0);
    add_bar(a, 0, 4, 4096);
    check(mir_pci_place(&pci, &none));
    check(bar(a, 0) == 0);
}

int main(void)
{
    tap_begin("pci_place");
    test_pieces();
    test_touched();
    test_lies();
    return tap_done();
}
