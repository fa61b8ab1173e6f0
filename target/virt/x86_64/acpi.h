/* SPDX-License-Identifier: ISC */
/* Tables of the firmware: found, checked, mapped. */
#ifndef TARGET_VIRT_X86_64_ACPI_H
#define TARGET_VIRT_X86_64_ACPI_H

#include <mirari/base.h>

/** Find the tables. Where there are none, mir__acpi_table() finds nothing. */
void mir__acpi_open(void);
/** The table of that name (four letters; "DSDT" too), or NULL. */
const uint8_t *mir__acpi_table(const char *name, size_t *size);
/** The first [len] bytes of @pattern in @table from @from on; its offset, or @size. */
size_t mir__acpi_search(const uint8_t *table, size_t size, size_t from, const void *pattern,
                        size_t len);

/** An integer of AML (zero, one, byte, word, double word, quad word) at @at; moves behind it. */
bool mir__acpi_integer(const uint8_t *table, size_t size, size_t *at, uint64_t *value);

static inline uint16_t mir__acpi_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t mir__acpi_u32(const uint8_t *p)
{
    return mir__acpi_u16(p) | (uint32_t)mir__acpi_u16(p + 2) << 16;
}

static inline uint64_t mir__acpi_u64(const uint8_t *p)
{
    return mir__acpi_u32(p) | (uint64_t)mir__acpi_u32(p + 4) << 32;
}

#endif
