/* SPDX-License-Identifier: ISC */
/* A key-value store over a folder of the host. Hosted. */
#ifndef DEV_KV_DIR_H
#define DEV_KV_DIR_H

#include <mirari/dev_kv.h>

struct mir_kv_dir_config {
    const char *path;
    const char *cache_control; /**< NULL = "no-cache": ask each time, the file may have changed */
    uint32_t files_max;        /**< 0 = 65536 */
};

/**
 * mir_kv_dir_open() - map every file below a folder.
 *
 * Looks at the folder once, now, and opens nothing later, so it works inside a sandbox. Files are
 * mapped, not read: up to 4 GiB - 1 each, as much together as the address space holds. FILE.gz and
 * FILE.br beside FILE are its compressed forms (and keys of their own).
 *
 * A file that changes while it is mapped is served with its new bytes and its old entity tag; one
 * that is cut short raises SIGBUS in whoever reads behind its end. Replace files (rename), do not
 * rewrite them, and open the store again.
 *
 * @kv     out: the store
 * @error  [error_size] bytes, written on failure: one line, "PATH: what is wrong"
 *
 * Returns 0, -MIR_ENOENT (no such folder), -MIR_ELIMIT (files_max), -MIR_ETOOBIG (a file),
 *         -MIR_EPERM, -MIR_EINVAL (a link that leads out, neither file nor folder), -MIR_ENOMEM,
 *         -MIR_EIO.
 * Source  none
 */
int mir_kv_dir_open(const struct mir_kv_dir_config *config, struct mir_kv **kv, char *error,
                    size_t error_size) MIR_CHECK;
/** Unmap everything. Nobody may hold a view of a value any more. */
void mir_kv_dir_close(struct mir_kv *kv);

#endif
