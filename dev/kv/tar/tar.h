/* SPDX-License-Identifier: ISC */
/* A key-value store over a tar archive: in memory, or on a disk that is read at start. */
#ifndef DEV_KV_TAR_H
#define DEV_KV_TAR_H

#include <mirari/dev_block.h>
#include <mirari/dev_kv.h>

#define MIR_KV_TAR_ERROR_MAX 200u

struct mir_kv_tar_config {
    struct mir_page_pool *pages;
    const char *cache_control; /**< NULL = "no-cache"; borrowed for good */
    uint32_t files_max;        /**< 0 = 65536 */
    uint64_t archive_max;      /**< bytes read of a disk; 0 = half of what @pages has free */
};

/**
 * mir_kv_tar_open() - the files of an archive as a store.
 *
 * ustar, pax and what GNU tar writes. Keys are the names without "./" in front; of files with the
 * same name the last one counts. Names with a dot in front, and folders, are left out. FILE.gz and
 * FILE.br are forms of FILE, too.
 *
 * @archive  [len] bytes, borrowed for good: values are ranges of it
 * @kv       out: the store. Its tables are taken from the end of the page pool for good: it cannot
 *           be closed
 * @error    out, on failure: one line, what is wrong and where
 *
 * Returns 0, -MIR_EMALFORMED, -MIR_ETRUNCATED, -MIR_ECHECKSUM, -MIR_ENOTSUP (a link, a sparse
 * file), -MIR_ETOOBIG (a name, a file of 4 GiB), -MIR_ELIMIT (files_max), -MIR_ENOMEM, -MIR_ENOENT
 * (it begins with zeroes: nothing is there). Cost    O(len): values are summed for their entity
 * tags Source  IEEE Std 1003.1-2017, pax
 */
int mir_kv_tar_open(const struct mir_kv_tar_config *config, const uint8_t *archive, uint64_t len,
                    struct mir_kv **kv, char error[MIR_KV_TAR_ERROR_MAX]) MIR_CHECK;

/**
 * mir_kv_tar_read() - the same for an archive that begins with the first block of a disk.
 *
 * Only in a task. Looks at all headers to learn how long the archive is, reads it into memory from
 * the end of the page pool, and opens it there: what was read is what is checked and served.
 * Nothing of the disk is used afterwards. What lies behind the end mark is not looked at.
 *
 * Returns as above, -MIR_ELIMIT (archive_max), -MIR_EIO and other errors of the disk.
 * Cost    O(archive), requests of up to 64 KiB one by one
 * Source  none
 */
int mir_kv_tar_read(const struct mir_kv_tar_config *config, struct mir_loop *loop,
                    struct mir_block_dev *dev, struct mir_kv **kv,
                    char error[MIR_KV_TAR_ERROR_MAX]) MIR_CHECK;

struct mir__tar_source;

/** tar.c, for disk.c: how many bytes the archive has, its end mark included. Errors as above. */
int mir__kv_tar_measure(struct mir__tar_source *source, uint32_t files_max, uint64_t *size_bytes,
                        char error[MIR_KV_TAR_ERROR_MAX]) MIR_CHECK;

#endif
