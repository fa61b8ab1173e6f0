/* SPDX-License-Identifier: ISC */
/* Tar archives made by hand, right or wrong, and stores over them in memory or on a disk. */
#ifndef TEST_TARBALL_H
#define TEST_TARBALL_H

#include "dev/kv/tar/tar.h"

#define TARBALL_MAX ((size_t)1 << 20)

struct tarball {
    uint8_t *data; /**< TARBALL_MAX bytes */
    size_t len;
};

enum tarball_kind { TARBALL_USTAR, TARBALL_GNU };

void tarball_init(struct tarball *tar);
void tarball_fini(struct tarball *tar);
/** A header, its checksum right; returns where it is. @name up to 100 bytes; the size is as told.
 */
uint8_t *tarball_header(struct tarball *tar, const char *name, char type, uint64_t size);
/** After a change of the header: make its checksum right. */
void tarball_sum(uint8_t *header);
/** Contents, filled up to a block. */
void tarball_body(struct tarball *tar, const void *data, size_t len);
/** Header and contents of a file. */
void tarball_file(struct tarball *tar, const char *name, const char *text);
/** An extended header (type 'x' or 'g') with one record KEY=VALUE. */
void tarball_record(struct tarball *tar, char type, const char *key, const char *value);
/** The end mark. */
void tarball_end(struct tarball *tar);

/** A page pool and a disk with a copy of an archive. One at a time is open. */
struct tardisk {
    uint8_t *memory;
    struct mir_page_pool pages;
    struct mir_kv *kv;
    int result;
    char error[MIR_KV_TAR_ERROR_MAX];
};

/** Open [len] bytes as a store in memory (@block_bytes 0), or on a disk with blocks of that size,
 *  the last one filled up with zeroes. The outcome is in disk->result, kv, error. */
void tardisk_open(struct tardisk *disk, const uint8_t *data, size_t len, uint32_t block_bytes,
                  const struct mir_kv_tar_config *config);
void tardisk_close(struct tardisk *disk);

#endif
