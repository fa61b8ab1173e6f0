/* SPDX-License-Identifier: ISC */
/* Puts a bootable disk together and writes it.
 *
 *   sector 0   boot code for BIOS and the protective table (UEFI 2.10 section 5.2)
 *          1   GUID partition table: header, 128 entries (section 5.3); once more at the end
 *         40   partition 1, "boot": GRUB for BIOS, which the boot code loads by its sector numbers
 *              partition 2, "system": FAT with GRUB for UEFI and the appliance; BIOS reads it too
 *              partition 3, "data": nothing yet, for the appliance
 *
 * Partitions begin on 4 KiB. Their identifiers are drawn from the contents, so the same parts make
 * the same disk, and different ones do not share an identifier.
 *
 * A raw file has holes where the disk has zeros. Nothing here needs root, loop devices or mounts.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <mirari/rng.h>

#include "cmd/mirari/image.h"

enum { ALIGN = 8, FIRST = 40, ENTRIES = 128, ENTRY = 128, TABLE_SECTORS = 32, BLOCK = 4096 };

struct partition {
    const char *type; /* GUID */
    const char *name;
    uint64_t first, last; /* sectors */
};

/* Type GUIDs as the table has them: the first three numbers little endian. */
static const char bios_type[] = "\x48\x61\x68\x21\x49\x64\x6f\x6e\x74\x4e\x65\x65\x64\x45\x46\x49";
static const char efi_type[] = "\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b";
static const char data_type[] = "\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4";

static uint64_t hash_of(const struct disk_parts *parts, unsigned salt)
{
    uint8_t key[16] = "mirari disk id ";
    uint64_t sum[4];
    const struct str *const all[] = {&parts->boot, &parts->core, &parts->efi, &parts->image};
    key[15] = (uint8_t)salt;
    for (size_t i = 0; i < LEN(all); i++)
        sum[i] = mir_siphash(key, all[i]->data, all[i]->len);
    return mir_siphash(key, sum, sizeof(sum)) ^ parts->data_bytes;
}

/* An identifier of version 8, "custom" (RFC 9562 section 5.8). */
static void make_guid(const struct disk_parts *parts, unsigned which, uint8_t guid[16])
{
    put_le64(guid, hash_of(parts, 2 * which));
    put_le64(guid + 8, hash_of(parts, 2 * which + 1));
    guid[7] = (uint8_t)((guid[7] & 0x0f) | 0x80);
    guid[8] = (uint8_t)((guid[8] & 0x3f) | 0x80);
}

static uint64_t aligned(uint64_t sector)
{
    return (sector + ALIGN - 1) / ALIGN * ALIGN;
}

static uint64_t sectors_of(uint64_t bytes)
{
    return (bytes + SECTOR - 1) / SECTOR;
}

static void pad_to(struct str *out, uint64_t sector)
{
    static const uint8_t zeros[SECTOR];
    while (out->len < sector * SECTOR) {
        size_t left = (size_t)(sector * SECTOR - out->len);
        str_add(out, zeros, left < SECTOR ? left : SECTOR);
    }
}

/* ---- boot code ------------------------------------------------------------------------------- */

/* GRUB's boot.img: where its second part is, and to believe the BIOS about the drive. */
static void master_record(const struct disk_parts *parts, uint64_t core, uint64_t sectors,
                          uint8_t sector[SECTOR])
{
    memset(sector, 0, SECTOR);
    memcpy(sector, parts->boot.data, 440);
    put_le64(sector + 0x5c, core);
    sector[0x66] = sector[0x67] = 0x90;
    uint8_t *entry = sector + 446;
    entry[2] = 2; /* head, sector, cylinder of sector 1 */
    entry[4] = 0xee;
    memset(entry + 5, 0xff, 3);
    put_le32(entry + 8, 1);
    put_le32(entry + 12, sectors - 1 < UINT32_MAX ? (uint32_t)(sectors - 1) : UINT32_MAX);
    sector[510] = 0x55;
    sector[511] = 0xaa;
}

/* The first sector of the second part loads the others: first, how many, to which segment. */
static void add_core(const struct disk_parts *parts, uint64_t at, struct str *out)
{
    size_t begin = out->len;
    str_add(out, parts->core.data, parts->core.len);
    uint8_t *list = (uint8_t *)out->data + begin + SECTOR - 12;
    put_le64(list, at + 1);
    put_le16(list + 8, (uint16_t)(sectors_of(parts->core.len) - 1));
    put_le16(list + 10, 0x820);
}

/* ---- partition table ------------------------------------------------------------------------- */

static void make_table(const struct disk_parts *parts, const struct partition *p, size_t count,
                       uint8_t table[ENTRIES * ENTRY])
{
    memset(table, 0, ENTRIES * ENTRY);
    for (size_t i = 0; i < count; i++) {
        uint8_t *at = table + i * ENTRY;
        memcpy(at, p[i].type, 16);
        make_guid(parts, (unsigned)i + 1, at + 16);
        put_le64(at + 32, p[i].first);
        put_le64(at + 40, p[i].last);
        for (size_t k = 0; p[i].name[k] != '\0'; k++)
            at[56 + 2 * k] = (uint8_t)p[i].name[k]; /* UTF-16 */
    }
}

static void make_header(const struct disk_parts *parts, const uint8_t *table, uint64_t sectors,
                        bool is_backup, uint8_t sector[SECTOR])
{
    memset(sector, 0, SECTOR);
    memcpy(sector, "EFI PART", 8);
    put_le32(sector + 8, 0x00010000);
    put_le32(sector + 12, 92);
    put_le64(sector + 24, is_backup ? sectors - 1 : 1);
    put_le64(sector + 32, is_backup ? 1 : sectors - 1);
    put_le64(sector + 40, 2 + TABLE_SECTORS);
    put_le64(sector + 48, sectors - TABLE_SECTORS - 2);
    make_guid(parts, 0, sector + 56);
    put_le64(sector + 72, is_backup ? sectors - 1 - TABLE_SECTORS : 2);
    put_le32(sector + 80, ENTRIES);
    put_le32(sector + 84, ENTRY);
    put_le32(sector + 88, (uint32_t)crc32(0, table, ENTRIES * ENTRY));
    put_le32(sector + 16, (uint32_t)crc32(0, sector, 92));
}

/* ---- the whole ------------------------------------------------------------------------------- */

void disk_make(const struct disk_parts *parts, struct disk *disk)
{
    struct str fat = {0};
    uint8_t sector[SECTOR], table[ENTRIES * ENTRY];
    uint64_t core = FIRST, system = aligned(core + sectors_of(parts->core.len));
    fat_make(&parts->image, &parts->efi, (uint32_t)hash_of(parts, 100), (uint32_t)system, &fat);
    uint64_t data = aligned(system + sectors_of(fat.len));
    uint64_t data_sectors = aligned(sectors_of(parts->data_bytes));
    struct partition all[] = {{bios_type, "boot", core, system - 1},
                              {efi_type, "system", system, data - 1},
                              {data_type, "data", data, data + data_sectors - 1}};
    uint64_t sectors = aligned(data + data_sectors + TABLE_SECTORS + 1);
    *disk = (struct disk){.size_bytes = sectors * SECTOR};
    make_table(parts, all, data_sectors > 0 ? 3 : 2, table);
    master_record(parts, core, sectors, sector);
    str_add(&disk->head, sector, SECTOR);
    make_header(parts, table, sectors, false, sector);
    str_add(&disk->head, sector, SECTOR);
    str_add(&disk->head, table, sizeof(table));
    pad_to(&disk->head, core);
    add_core(parts, core, &disk->head);
    pad_to(&disk->head, system);
    str_add(&disk->head, fat.data, fat.len);
    pad_to(&disk->head, data);
    str_free(&fat);
    make_header(parts, table, sectors, true, sector);
    str_add(&disk->tail, table, sizeof(table));
    str_add(&disk->tail, sector, SECTOR);
}

int write_at(int fd, const void *data, size_t len, uint64_t offset)
{
    const char *from = data;
    while (len > 0) {
        ssize_t put = pwrite(fd, from, len, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? -errno : -EIO;
        from += put;
        offset += (uint64_t)put;
        len -= (size_t)put;
    }
    return 0;
}

/* All but blocks of zeros, which are holes. */
static int write_sparse(int fd, const struct str *data, uint64_t offset)
{
    static const uint8_t zeros[BLOCK];
    int r = 0;
    for (size_t at = 0; at < data->len && r == 0;) {
        size_t len = BLOCK - (size_t)((offset + at) % BLOCK);
        len = data->len - at < len ? data->len - at : len;
        if (memcmp(data->data + at, zeros, len) != 0)
            r = write_at(fd, data->data + at, len, offset + at);
        at += len;
    }
    return r;
}

int disk_write_raw(const struct disk *disk, int fd)
{
    int r = ftruncate(fd, (off_t)disk->size_bytes) != 0 ? -errno : 0;
    if (r == 0)
        r = write_sparse(fd, &disk->head, 0);
    if (r == 0)
        r = write_sparse(fd, &disk->tail, disk->size_bytes - disk->tail.len);
    return r;
}
