/* SPDX-License-Identifier: ISC */
/* Writes the file system of a disk image: FAT, which both GRUB and UEFI read.
 *
 *   boot sector | table | the same table | root folder | clusters: EFI, EFI/BOOT, BOOTX64.EFI,
 * MIRARI
 *
 * (Microsoft, "FAT: General Overview of On-Disk Format", 1.03; UEFI 2.10 section 13.3.) Files
 * follow each other, the volume is as large as they are. Clusters have one sector until there would
 * be more of them than 16 bits count; fewer than 4085 make it FAT12. All times are 1 January 1980,
 * so the same files make the same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/image.h"

enum { ENTRY = 32, ROOT_ENTRIES = 16, FAT12_MAX = 4084, FAT16_MAX = 65000 };
enum { IS_FOLDER = 0x10, IS_FILE = 0x20, IS_LABEL = 0x08 };

struct volume {
    uint32_t sectors_per_cluster, clusters, fat_sectors, serial, start;
    bool is_fat16;
    uint8_t *fat;  /* one table */
    uint32_t next; /* the first free cluster */
};

void put_le16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

void put_le32(uint8_t *at, uint32_t value)
{
    put_le16(at, (uint16_t)value);
    put_le16(at + 2, (uint16_t)(value >> 16));
}

void put_le64(uint8_t *at, uint64_t value)
{
    put_le32(at, (uint32_t)value);
    put_le32(at + 4, (uint32_t)(value >> 32));
}

static uint32_t clusters_of(const struct volume *v, uint64_t len)
{
    uint64_t size = (uint64_t)v->sectors_per_cluster * SECTOR;
    return (uint32_t)((len + size - 1) / size);
}

static void set_entry(struct volume *v, uint32_t cluster, uint32_t value)
{
    if (v->is_fat16) {
        put_le16(v->fat + (size_t)2 * cluster, (uint16_t)value);
        return;
    }
    uint8_t *at = v->fat + cluster * 3 / 2;
    if (cluster % 2 == 0) {
        at[0] = (uint8_t)value;
        at[1] = (uint8_t)((at[1] & 0xf0) | (value >> 8 & 0x0f));
    } else {
        at[0] = (uint8_t)((at[0] & 0x0f) | (value & 0x0f) << 4);
        at[1] = (uint8_t)(value >> 4);
    }
}

/* Clusters in a row for [len] bytes. Returns the first, 0 for an empty file. */
static uint32_t take_clusters(struct volume *v, uint64_t len)
{
    uint32_t count = clusters_of(v, len), first = v->next;
    for (uint32_t i = 0; i < count; i++)
        set_entry(v, first + i, i + 1 < count ? first + i + 1 : 0xffff);
    v->next += count;
    return count > 0 ? first : 0;
}

/* @name: 8 and 3 letters, filled with blanks. */
static void add_entry(uint8_t *at, const char name[12], uint8_t kind, uint32_t cluster,
                      uint64_t len)
{
    memcpy(at, name, 11);
    at[11] = kind;
    for (int i = 16; i <= 24; i += i == 16 ? 2 : 6)
        put_le16(at + i, 0x0021); /* 1980-01-01: made, read, written */
    put_le16(at + 26, (uint16_t)cluster);
    put_le32(at + 28, (uint32_t)len);
}

static void boot_sector(const struct volume *v, uint8_t sector[SECTOR])
{
    static const uint8_t jump[] = {0xeb, 0x3c, 0x90};
    uint32_t total = 1 + 2 * v->fat_sectors + 1 + v->clusters * v->sectors_per_cluster;
    memset(sector, 0, SECTOR);
    memcpy(sector, jump, sizeof(jump));
    memcpy(sector + 3, "MIRARI  ", 8);
    put_le16(sector + 11, SECTOR);
    sector[13] = (uint8_t)v->sectors_per_cluster;
    put_le16(sector + 14, 1); /* sectors before the tables */
    sector[16] = 2;           /* tables */
    put_le16(sector + 17, ROOT_ENTRIES);
    if (total < 65536)
        put_le16(sector + 19, (uint16_t)total);
    else
        put_le32(sector + 32, total);
    sector[21] = 0xf8; /* a fixed disk */
    put_le16(sector + 22, (uint16_t)v->fat_sectors);
    put_le16(sector + 24, 63); /* sectors and heads of a track, which nobody asks for */
    put_le16(sector + 26, 255);
    put_le32(sector + 28, v->start);
    sector[36] = 0x80;
    sector[38] = 0x29; /* the three that follow are there */
    put_le32(sector + 39, v->serial);
    memcpy(sector + 43, "MIRARI     ", 11);
    memcpy(sector + 54, v->is_fat16 ? "FAT16   " : "FAT12   ", 8);
    sector[510] = 0x55;
    sector[511] = 0xaa;
}

static void choose_size(struct volume *v, const struct str *image, const struct str *efi)
{
    v->sectors_per_cluster = 1;
    for (;;) {
        v->clusters = 2 + clusters_of(v, image->len) + clusters_of(v, efi->len);
        if (v->clusters <= FAT16_MAX || v->sectors_per_cluster == 64)
            break;
        v->sectors_per_cluster *= 2;
    }
    v->is_fat16 = v->clusters > FAT12_MAX;
    uint64_t bits = (uint64_t)(v->clusters + 2) * (v->is_fat16 ? 16 : 12);
    v->fat_sectors = (uint32_t)((bits + 8 * SECTOR - 1) / (8 * SECTOR));
}

/* A file or folder into its clusters, the last one filled with zeros. */
static void add_clusters(const struct volume *v, const void *data, size_t len, struct str *out)
{
    static const uint8_t zeros[SECTOR];
    size_t end = out->len + (size_t)clusters_of(v, len) * v->sectors_per_cluster * SECTOR;
    str_add(out, data, len);
    while (out->len < end)
        str_add(out, zeros, end - out->len < SECTOR ? end - out->len : SECTOR);
}

void fat_make(const struct str *image, const struct str *efi, uint32_t serial, uint32_t start,
              struct str *out)
{
    struct volume v = {.serial = serial, .start = start, .next = 2};
    uint8_t sector[SECTOR], root[SECTOR] = {0}, top[SECTOR] = {0}, boot[SECTOR] = {0};
    choose_size(&v, image, efi);
    v.fat = need((size_t)v.fat_sectors * SECTOR);
    set_entry(&v, 0, 0xfff8);
    set_entry(&v, 1, 0xffff);
    uint32_t top_at = take_clusters(&v, SECTOR), boot_at = take_clusters(&v, SECTOR);
    uint32_t efi_at = take_clusters(&v, efi->len), image_at = take_clusters(&v, image->len);
    add_entry(root, "MIRARI     ", IS_LABEL, 0, 0);
    add_entry(root + ENTRY, "EFI        ", IS_FOLDER, top_at, 0);
    add_entry(root + 2 * ENTRY, "MIRARI     ", IS_FILE, image_at, image->len);
    add_entry(top, ".          ", IS_FOLDER, top_at, 0);
    add_entry(top + ENTRY, "..         ", IS_FOLDER, 0, 0);
    add_entry(top + 2 * ENTRY, "BOOT       ", IS_FOLDER, boot_at, 0);
    add_entry(boot, ".          ", IS_FOLDER, boot_at, 0);
    add_entry(boot + ENTRY, "..         ", IS_FOLDER, top_at, 0);
    add_entry(boot + 2 * ENTRY, "BOOTX64 EFI", IS_FILE, efi_at, efi->len);
    boot_sector(&v, sector);
    str_add(out, sector, SECTOR);
    str_add(out, v.fat, (size_t)v.fat_sectors * SECTOR);
    str_add(out, v.fat, (size_t)v.fat_sectors * SECTOR);
    str_add(out, root, SECTOR);
    add_clusters(&v, top, SECTOR, out);
    add_clusters(&v, boot, SECTOR, out);
    add_clusters(&v, efi->data, efi->len, out);
    add_clusters(&v, image->data, image->len, out);
    free(v.fat);
}
