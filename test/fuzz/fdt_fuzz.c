/* SPDX-License-Identifier: ISC */
/* Flattened device trees: whatever opens can be walked and asked, inside its bytes. */
#include <stdlib.h>

#include "lib/fdt/fdt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(x)                                                                                 \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static void ask(const struct mir__fdt_walk *walk, const uint8_t *data, size_t size)
{
    static const char *const names[] = {"reg", "compatible", "interrupts", "phandle", "ranges"};
    struct mir__fdt_value value;
    const char *text;
    uint64_t address, len;
    for (size_t i = 0; i < MIR_ARRAY_LEN(names); i++) {
        uint32_t cell, index = 0;
        if (mir__fdt_property(walk, names[i], &value) < 0)
            continue;
        REQUIRE(value.data >= data && value.len <= (size_t)(data + size - value.data));
        while (index < 64 && mir__fdt_cell(walk, names[i], index, &cell) == 0)
            index++;
        REQUIRE(index == 64 || index == value.len / 4);
        if (mir__fdt_text(walk, names[i], &text) == 0)
            REQUIRE(mir_str_len(text) < value.len);
    }
    for (uint32_t i = 0; i < 8 && mir__fdt_reg(walk, i, &address, &len) == 0; i++)
        REQUIRE(address + len >= address);
    (void)mir__fdt_is(walk, "virtio,mmio");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mir__fdt fdt;
    struct mir__fdt_walk walk;
    uint64_t address, len;
    size_t nodes = 0;
    if (mir__fdt_open(&fdt, data, size) < 0)
        return 0;
    REQUIRE(fdt.size <= size);
    mir__fdt_walk(&walk, &fdt);
    while (mir__fdt_next(&walk)) {
        REQUIRE(walk.depth >= 1 && walk.depth <= MIR__FDT_DEPTH_MAX);
        REQUIRE(++nodes <= size / 4);
        ask(&walk, data, size);
    }
    REQUIRE(nodes > 0);
    for (uint32_t i = 0; mir__fdt_reserved(&fdt, i, &address, &len); i++)
        REQUIRE(i < size);
    if (mir__fdt_find(&walk, &fdt, "/intc/v2m", 9) == 0)
        ask(&walk, data, size);
    if (mir__fdt_find_phandle(&walk, &fdt, 0x8002) == 0)
        ask(&walk, data, size);
    return 0;
}
