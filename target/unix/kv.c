/* SPDX-License-Identifier: ISC */
/* Folders of the host as stores (--kv NAME=DIR).
 *
 * They are opened before the sandbox closes, with every file in them; afterwards nothing is.
 */
#include <stdio.h>

#include "dev/kv/dir/dir.h"
#include "target/unix/internal.h"

int mir__kv_open(struct mir__unix *u, char error[MIR__ERROR_MAX])
{
    char why[200];
    for (uint32_t i = 0; i < u->options.store_count; i++) {
        const struct mir__app_store *store = &u->options.store[i];
        const struct mir_kv_dir_config config = {.path = store->dir};
        struct mir_kv *kv;
        int r = mir_kv_dir_open(&config, &kv, why, sizeof why);
        if (r < 0) {
            snprintf(error, MIR__ERROR_MAX, "--kv %s: %s", store->name, why);
            return r;
        }
        u->kvs[i] = (struct mir_manifest_kv){store->name, kv};
        u->app.kv_count = i + 1;
    }
    u->app.kvs = u->kvs;
    return 0;
}

void mir__kv_close(struct mir__unix *u)
{
    while (u->app.kv_count > 0)
        mir_kv_dir_close(u->kvs[--u->app.kv_count].store);
}
