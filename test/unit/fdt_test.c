/* SPDX-License-Identifier: ISC */
/* Flattened device trees: reading one that a builder made, and refusing broken ones. */
#include <stdlib.h>
#include <string.h>

#include <mirari/bytes.h>

#include "lib/fdt/fdt.h"
#include "test/harness/tap.h"

/* ---- a builder ------------------------------------------------------------------------------- */

enum { STRUCT_AT = 88, STRINGS_AT = 1600, SIZE = 2048 };

static uint8_t blob[SIZE];
static uint32_t at, strings_len;

static void put(uint32_t word)
{
    mir_put_be32(blob + at, word);
    at += 4;
}

static void begin_blob(void)
{
    memset(blob, 0, sizeof blob);
    at = STRUCT_AT;
    strings_len = 0;
}

static void begin(const char *name)
{
    put(1);
    memcpy(blob + at, name, strlen(name) + 1);
    at = (at + (uint32_t)strlen(name) + 1 + 3) & ~3u;
}

static void end(void)
{
    put(2);
}

static uint32_t name_of(const char *name)
{
    for (uint32_t i = 0; i < strings_len; i += (uint32_t)strlen((char *)blob + STRINGS_AT + i) + 1)
        if (strcmp((char *)blob + STRINGS_AT + i, name) == 0)
            return i;
    uint32_t found = strings_len;
    memcpy(blob + STRINGS_AT + strings_len, name, strlen(name) + 1);
    strings_len += (uint32_t)strlen(name) + 1;
    return found;
}

static void property(const char *name, const void *data, uint32_t len)
{
    put(3);
    put(len);
    put(name_of(name));
    if (len > 0)
        memcpy(blob + at, data, len);
    at = (at + len + 3) & ~3u;
}

static void text(const char *name, const char *value)
{
    property(name, value, (uint32_t)strlen(value) + 1);
}

static void cells(const char *name, uint32_t count, const uint32_t *values)
{
    uint8_t data[64];
    for (uint32_t i = 0; i < count; i++)
        mir_put_be32(data + i * 4, values[i]);
    property(name, data, count * 4);
}

#define CELLS(name, ...)                                                                           \
    cells(name, sizeof((uint32_t[]){__VA_ARGS__}) / 4, (uint32_t[]){__VA_ARGS__})

static void end_blob(void)
{
    static const uint32_t header[] = {0xd00dfeed, SIZE, STRUCT_AT, STRINGS_AT, 40, 17, 16, 0};
    put(9);
    for (uint32_t i = 0; i < 8; i++)
        mir_put_be32(blob + i * 4, header[i]);
    mir_put_be32(blob + 32, strings_len);
    mir_put_be32(blob + 36, at - STRUCT_AT);
    mir_put_be64(blob + 40, 0x48000000); /* one reservation, then the end */
    mir_put_be64(blob + 48, 0x10000);
}

/* A small machine. */
static void build(void)
{
    begin_blob();
    begin("");
    CELLS("#address-cells", 2);
    CELLS("#size-cells", 2);
    text("model", "a machine");
    begin("memory@40000000");
    text("device_type", "memory");
    CELLS("reg", 0, 0x40000000, 0, 0x800000, 1, 0, 0, 0x200000);
    end();
    put(4); /* NOP */
    begin("bus@c000000");
    CELLS("#address-cells", 1);
    CELLS("#size-cells", 1);
    CELLS("ranges", 0, 0, 0xc000000, 0x2000000);
    begin("device@10");
    CELLS("reg", 0x10, 0x10);
    end();
    end();
    begin("intc@8000000");
    CELLS("#address-cells", 2);
    CELLS("#size-cells", 2);
    property("ranges", NULL, 0);
    property("compatible", "arm,cortex-a15-gic\0arm,gic", 27);
    CELLS("phandle", 0x8002);
    begin("v2m@8020000");
    text("compatible", "arm,gic-v2m-frame");
    CELLS("reg", 0, 0x8020000, 0, 0x1000);
    end();
    end();
    begin("cpus");
    CELLS("#address-cells", 1);
    CELLS("#size-cells", 0);
    begin("cpu@0");
    CELLS("reg", 0);
    end();
    end();
    begin("off@1");
    text("compatible", "virtio,mmio");
    text("status", "disabled");
    CELLS("reg", 0xffffffff, 0xffffffff, 0, 2);
    end();
    begin("chosen");
    text("bootargs", "--port 7 --name \"a b\"");
    property("broken", "abc", 3);
    end();
    end();
    end_blob();
}

static int open_tree(struct mir__fdt *fdt)
{
    return mir__fdt_open(fdt, blob, sizeof blob);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_walk(void)
{
    static const char *const names[] = {
        "",     "memory@40000000", "bus@c000000", "device@10", "intc@8000000", "v2m@8020000",
        "cpus", "cpu@0",           "off@1",       "chosen"};
    static const unsigned depths[] = {1, 2, 2, 3, 2, 3, 2, 3, 2, 2};
    struct mir__fdt fdt;
    struct mir__fdt_walk walk;
    unsigned count = 0;
    tap_case("a walk meets all nodes, parents first");
    build();
    check_int(open_tree(&fdt), ==, 0);
    mir__fdt_walk(&walk, &fdt);
    while (count < MIR_ARRAY_LEN(names) && mir__fdt_next(&walk)) {
        check_str(walk.name, names[count]);
        check_int(walk.depth, ==, depths[count]);
        count++;
    }
    check_int(count, ==, MIR_ARRAY_LEN(names));
    check(!mir__fdt_next(&walk));
    check(!mir__fdt_next(&walk));
}

static void test_find(void)
{
    struct mir__fdt fdt;
    struct mir__fdt_walk walk;
    tap_case("nodes by path and by phandle");
    build();
    check_int(open_tree(&fdt), ==, 0);
    check_int(mir__fdt_find(&walk, &fdt, "/", 1), ==, 0);
    check_str(walk.name, "");
    check_int(mir__fdt_find(&walk, &fdt, "/chosen", 7), ==, 0);
    check_str(walk.name, "chosen");
    check_int(mir__fdt_find(&walk, &fdt, "/intc/v2m@8020000", 17), ==, 0);
    check_str(walk.name, "v2m@8020000");
    check_int(mir__fdt_find(&walk, &fdt, "/bus/v2m", 8), ==, -MIR_ENOENT);
    check_int(mir__fdt_find(&walk, &fdt, "/chose", 6), ==, -MIR_ENOENT);
    check_int(mir__fdt_find(&walk, &fdt, "chosen", 6), ==, -MIR_ENOENT);
    check_int(mir__fdt_find(&walk, &fdt, "", 0), ==, -MIR_ENOENT);
    check_int(mir__fdt_find_phandle(&walk, &fdt, 0x8002), ==, 0);
    check_str(walk.name, "intc@8000000");
    check_int(mir__fdt_find_phandle(&walk, &fdt, 0x8003), ==, -MIR_ENOENT);
}

static void test_properties(void)
{
    struct mir__fdt fdt;
    struct mir__fdt_walk walk;
    const char *value = NULL;
    uint32_t cell = 0;
    tap_case("texts, cells, compatible, status");
    build();
    check_int(open_tree(&fdt), ==, 0);
    check_int(mir__fdt_find(&walk, &fdt, "/chosen", 7), ==, 0);
    check_int(mir__fdt_text(&walk, "bootargs", &value), ==, 0);
    check_str(value, "--port 7 --name \"a b\"");
    check_int(mir__fdt_text(&walk, "broken", &value), ==, -MIR_EMALFORMED);
    check_int(mir__fdt_text(&walk, "none", &value), ==, -MIR_ENOENT);
    check_int(mir__fdt_find(&walk, &fdt, "/memory", 7), ==, 0);
    check_int(mir__fdt_cell(&walk, "reg", 4, &cell), ==, 0);
    check_int(cell, ==, 1);
    check_int(mir__fdt_cell(&walk, "reg", 8, &cell), ==, -MIR_ENOENT);
    check_int(mir__fdt_find(&walk, &fdt, "/intc", 5), ==, 0);
    check(mir__fdt_is(&walk, "arm,cortex-a15-gic"));
    check(mir__fdt_is(&walk, "arm,gic"));
    check(!mir__fdt_is(&walk, "arm,gi"));
    check(!mir__fdt_is(&walk, "arm"));
    check_int(mir__fdt_find(&walk, &fdt, "/off@1", 6), ==, 0);
    check(!mir__fdt_is(&walk, "virtio,mmio"));
}

static void test_reg(void)
{
    struct mir__fdt fdt;
    struct mir__fdt_walk walk;
    uint64_t address = 0, len = 0;
    tap_case("registers by the cells of the parent, and those that are not the processor's");
    build();
    check_int(open_tree(&fdt), ==, 0);
    check_int(mir__fdt_find(&walk, &fdt, "/memory", 7), ==, 0);
    check_int(mir__fdt_reg(&walk, 0, &address, &len), ==, 0);
    check_int(address, ==, 0x40000000);
    check_int(len, ==, 0x800000);
    check_int(mir__fdt_reg(&walk, 1, &address, &len), ==, 0);
    check_int(address, ==, 0x100000000);
    check_int(len, ==, 0x200000);
    check_int(mir__fdt_reg(&walk, 2, &address, &len), ==, -MIR_ENOENT);
    check_int(mir__fdt_find(&walk, &fdt, "/intc/v2m", 9), ==, 0);
    check_int(mir__fdt_reg(&walk, 0, &address, &len), ==, 0);
    check_int(address, ==, 0x8020000);
    check_int(mir__fdt_find(&walk, &fdt, "/bus/device", 11), ==, 0);
    check_int(mir__fdt_reg(&walk, 0, &address, &len), ==, -MIR_ENOTSUP);
    check_int(mir__fdt_find(&walk, &fdt, "/cpus/cpu", 9), ==, 0);
    check_int(mir__fdt_reg(&walk, 0, &address, &len), ==, -MIR_ENOTSUP);
    check_int(mir__fdt_find(&walk, &fdt, "/off", 4), ==, 0);
    check_int(mir__fdt_reg(&walk, 0, &address, &len), ==, -MIR_ERANGE);
    check_int(mir__fdt_find(&walk, &fdt, "/chosen", 7), ==, 0);
    check_int(mir__fdt_reg(&walk, 0, &address, &len), ==, -MIR_ENOENT);
}

static void test_reserved(void)
{
    struct mir__fdt fdt;
    uint64_t address = 0, len = 0;
    tap_case("memory reservations");
    build();
    check_int(open_tree(&fdt), ==, 0);
    check(mir__fdt_reserved(&fdt, 0, &address, &len));
    check_int(address, ==, 0x48000000);
    check_int(len, ==, 0x10000);
    check(!mir__fdt_reserved(&fdt, 1, &address, &len));
}

/* The word at @offset replaced by @value. */
static int open_with(uint32_t offset, uint32_t value)
{
    struct mir__fdt fdt;
    build();
    mir_put_be32(blob + offset, value);
    return open_tree(&fdt);
}

static void test_headers(void)
{
    struct mir__fdt fdt;
    uint32_t size = 0;
    tap_case("headers that cannot be");
    check_int(open_with(0, 0xd00dfeee), ==, -MIR_EMALFORMED);
    check_int(open_with(4, SIZE + 1), ==, -MIR_ETRUNCATED);
    check_int(open_with(4, 41), ==, -MIR_EMALFORMED);
    check_int(open_with(8, SIZE + 4), ==, -MIR_EMALFORMED);
    check_int(open_with(8, STRUCT_AT + 1), ==, -MIR_EMALFORMED);
    check_int(open_with(12, 0xfffffff0), ==, -MIR_EMALFORMED);
    check_int(open_with(16, SIZE - 8), ==, -MIR_EMALFORMED);
    check_int(open_with(16, 44), ==, -MIR_EMALFORMED);
    check_int(open_with(20, 16), ==, -MIR_ENOTSUP);
    check_int(open_with(24, 18), ==, -MIR_ENOTSUP);
    check_int(open_with(32, SIZE), ==, -MIR_EMALFORMED);
    check_int(open_with(36, SIZE), ==, -MIR_EMALFORMED);
    check_int(open_with(36, 0), ==, -MIR_EMALFORMED);
    build();
    check_int(mir__fdt_open(&fdt, blob, 39), ==, -MIR_ETRUNCATED);
    check_int(mir__fdt_open(&fdt, blob, SIZE - 1), ==, -MIR_ETRUNCATED);
    check_int(mir__fdt_size(blob, &size), ==, 0);
    check_int(size, ==, SIZE);
}

static void test_structure(void)
{
    struct mir__fdt fdt;
    tap_case("structures that cannot be");
    begin_blob();
    begin("");
    end_blob();
    check_int(open_tree(&fdt), ==, -MIR_EMALFORMED); /* not closed */
    begin_blob();
    end();
    end_blob();
    check_int(open_tree(&fdt), ==, -MIR_EMALFORMED);
    begin_blob();
    end_blob();
    check_int(open_tree(&fdt), ==, -MIR_EMALFORMED); /* no root */
    begin_blob();
    for (int i = 0; i < 2; i++) {
        begin("");
        end();
    }
    end_blob();
    check_int(open_tree(&fdt), ==, -MIR_EMALFORMED); /* two roots */
    begin_blob();
    begin("");
    begin("child");
    end();
    text("late", "property behind a child");
    end();
    end_blob();
    check_int(open_tree(&fdt), ==, -MIR_EMALFORMED);
    begin_blob();
    begin("");
    put(3);
    put(0x7fffffff); /* longer than the block */
    put(0);
    end();
    end_blob();
    check_int(open_tree(&fdt), ==, -MIR_EMALFORMED);
    begin_blob();
    begin("");
    put(3);
    put(0);
    put(500); /* a name outside the strings */
    end();
    end_blob();
    check_int(open_tree(&fdt), ==, -MIR_EMALFORMED);
}

static void test_depth(void)
{
    struct mir__fdt fdt;
    tap_case("a tree that is too deep");
    for (unsigned depth = MIR__FDT_DEPTH_MAX; depth <= MIR__FDT_DEPTH_MAX + 1; depth++) {
        begin_blob();
        for (unsigned i = 0; i < depth; i++)
            begin(i == 0 ? "" : "n");
        for (unsigned i = 0; i < depth; i++)
            end();
        end_blob();
        check_int(open_tree(&fdt), ==, depth > MIR__FDT_DEPTH_MAX ? -MIR_ELIMIT : 0);
    }
}

/* Every cut is refused: nothing is read behind it (the sanitizer watches). */
static void test_cuts(void)
{
    struct mir__fdt fdt;
    tap_case("every cut of a tree is refused");
    build();
    for (uint32_t size = 0; size < at; size += 4) {
        uint8_t *copy = malloc(size + 1);
        memcpy(copy, blob, size);
        if (size >= 8)
            mir_put_be32(copy + 4, size);
        check(mir__fdt_open(&fdt, copy, size) < 0);
        free(copy);
    }
}

int main(void)
{
    tap_begin("fdt");
    test_walk();
    test_find();
    test_properties();
    test_reg();
    test_reserved();
    test_headers();
    test_structure();
    test_depth();
    test_cuts();
    return tap_done();
}
