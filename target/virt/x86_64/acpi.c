/* SPDX-License-Identifier: ISC */
/* Tables of the firmware (ACPI 6.4): found, checked, mapped read-only.
 *
 * The root pointer comes from the loader, else it is looked for where a BIOS leaves it. Tables are
 * found through XSDT or RSDT; one whose checksum or length is wrong does not exist.
 *
 * There is no interpreter of AML. What is needed of the DSDT (the value that means "off", the
 * registers of the event device of machines without fixed hardware, virtio-mmio devices) is data
 * there in a fixed shape, which is searched for. A machine that computes it instead is not
 * understood, and does then without.
 */
#include "target/virt/x86_64/acpi.h"
#include "target/virt/x86_64/internal.h"

#define TABLES_MAX  32u
#define TABLE_MAX   (1u << 20)
#define HEADER_SIZE 36u
#define RSDP_SIZE   20u
#define RSDP_SIZE_2 36u
#define BIOS_START  0xe0000u
#define BIOS_SIZE   0x20000u
#define FADT_DSDT   40u
#define FADT_X_DSDT 140u

struct table {
    const uint8_t *data;
    size_t size;
};

static struct table tables[TABLES_MAX];
static unsigned table_count;

static bool is_sound(const uint8_t *data, size_t size)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + data[i]);
    return sum == 0;
}

static void add_table(uint64_t physical)
{
    if (physical == 0 || table_count == TABLES_MAX)
        return;
    const uint8_t *header = mir__arch_map_physical(physical, HEADER_SIZE, MIR__MAP_READ);
    uint32_t size = header != NULL ? mir__acpi_u32(header + 4) : 0;
    if (size < HEADER_SIZE || size > TABLE_MAX)
        return;
    const uint8_t *data = mir__arch_map_physical(physical, size, MIR__MAP_READ);
    if (data == NULL || !is_sound(data, size))
        return;
    tables[table_count++] = (struct table){data, size};
}

static bool is_rsdp(const uint8_t *p)
{
    return mir_memcmp(p, "RSD PTR ", 8) == 0 && is_sound(p, RSDP_SIZE);
}

/* On a 16-byte boundary of the BIOS's read-only memory (5.2.5.1). */
static const uint8_t *search_rsdp(void)
{
    const uint8_t *bios = mir__arch_map_physical(BIOS_START, BIOS_SIZE, MIR__MAP_READ);
    for (size_t at = 0; bios != NULL && at + RSDP_SIZE_2 <= BIOS_SIZE; at += 16) {
        if (is_rsdp(bios + at))
            return bios + at;
    }
    return NULL;
}

static void add_all(const struct table *root, size_t width)
{
    for (size_t at = HEADER_SIZE; at + width <= root->size; at += width)
        add_table(width == 8 ? mir__acpi_u64(root->data + at) : mir__acpi_u32(root->data + at));
}

static void add_dsdt(void)
{
    size_t size = 0;
    const uint8_t *fadt = mir__acpi_table("FACP", &size);
    uint64_t dsdt = 0;
    if (fadt != NULL && size >= FADT_X_DSDT + 8)
        dsdt = mir__acpi_u64(fadt + FADT_X_DSDT);
    if (fadt != NULL && dsdt == 0 && size >= FADT_DSDT + 4)
        dsdt = mir__acpi_u32(fadt + FADT_DSDT);
    add_table(dsdt);
}

void mir__acpi_open(void)
{
    const uint8_t *rsdp = NULL;
    if (mir__boot.acpi_rsdp != 0)
        rsdp = mir__arch_map_physical(mir__boot.acpi_rsdp, RSDP_SIZE_2, MIR__MAP_READ);
    if (rsdp == NULL || !is_rsdp(rsdp))
        rsdp = search_rsdp();
    if (rsdp == NULL)
        return;
    bool has_xsdt = rsdp[15] >= 2 && mir__acpi_u64(rsdp + 24) != 0;
    add_table(has_xsdt ? mir__acpi_u64(rsdp + 24) : mir__acpi_u32(rsdp + 16));
    if (table_count == 0)
        return;
    add_all(&tables[0], has_xsdt ? 8 : 4);
    add_dsdt();
}

const uint8_t *mir__acpi_table(const char *name, size_t *size)
{
    for (unsigned i = 0; i < table_count; i++) {
        if (mir_memcmp(tables[i].data, name, 4) == 0) {
            *size = tables[i].size;
            return tables[i].data;
        }
    }
    return NULL;
}

size_t mir__acpi_search(const uint8_t *table, size_t size, size_t from, const void *pattern,
                        size_t len)
{
    for (size_t at = from; at + len <= size; at++) {
        if (mir_memcmp(table + at, pattern, len) == 0)
            return at;
    }
    return size;
}

bool mir__acpi_integer(const uint8_t *table, size_t size, size_t *at, uint64_t *value)
{
    static const struct {
        uint8_t code, bytes;
    } kinds[] = {{0x00, 0}, {0x01, 0}, {0x0a, 1}, {0x0b, 2}, {0x0c, 4}, {0x0e, 8}};
    const uint8_t *p = table + *at;
    for (unsigned i = 0; i < MIR_ARRAY_LEN(kinds) && *at < size; i++) {
        if (p[0] != kinds[i].code || size - *at <= kinds[i].bytes)
            continue;
        *value = kinds[i].bytes == 0 ? p[0] : 0; /* ZeroOp and OneOp are their own value */
        for (unsigned byte = 0; byte < kinds[i].bytes; byte++)
            *value |= (uint64_t)p[1 + byte] << 8 * byte;
        *at += 1u + kinds[i].bytes;
        return true;
    }
    return false;
}
