/* SPDX-License-Identifier: ISC */
/* Disk images: what image.c (the command), disk.c (partitions, boot code), fat.c and qcow2.c share.
 */
#ifndef CMD_MIRARI_IMAGE_H
#define CMD_MIRARI_IMAGE_H

#include "cmd/mirari/tool.h"

#define SECTOR 512u

/** What goes onto a disk. */
struct disk_parts {
    struct str boot;     /**< code of the master boot record, one sector */
    struct str core;     /**< what it loads: GRUB for BIOS */
    struct str efi;      /**< GRUB for UEFI */
    struct str image;    /**< the appliance */
    uint64_t data_bytes; /**< size of the partition for data; 0: none */
};
/** A disk: @head from its beginning, zeros, then @tail at its end. */
struct disk {
    struct str head, tail;
    uint64_t size_bytes;
};
/** Partition table, boot code, file system. Depends on the parts alone. */
void disk_make(const struct disk_parts *parts, struct disk *disk);

/** A FAT12 or FAT16 volume with the appliance as /MIRARI and @efi as /EFI/BOOT/BOOTX64.EFI, added
 * to
 *  @out, which ends on a sector. @serial: of the volume; @start: its first sector on the disk. */
void fat_make(const struct str *image, const struct str *efi, uint32_t serial, uint32_t start,
              struct str *out);

/** Write the disk. Returns 0 or -errno; a file that is not whole is removed. */
int disk_write_raw(const struct disk *disk, int fd);
int disk_write_qcow2(const struct disk *disk, int fd);
/** [len] bytes at @offset. Returns 0 or -errno. */
int write_at(int fd, const void *data, size_t len, uint64_t offset);

/** Little endian numbers into bytes. */
void put_le16(uint8_t *at, uint16_t value);
void put_le32(uint8_t *at, uint32_t value);
void put_le64(uint8_t *at, uint64_t value);

#endif
