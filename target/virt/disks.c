/* SPDX-License-Identifier: ISC */
/* The disks of a machine, and stores that are read from them (--kv NAME=DISK).
 *
 * Only in images of appliances whose manifest has disks: everything here is reached through
 * mir__disks, a weak reference. Every virtio block device is opened, in the order of their places;
 * the names of the manifest go to the first ones.
 *
 * A store is read as a whole, in the first task and before mir_app_main(): an archive (tar) that
 * begins with the first block of its disk. Its memory stays; the disk is not needed any more.
 */
#include <mirari/format.h>

#include "dev/block/virtio/virtio.h"
#include "dev/kv/tar/tar.h"
#include "target/virt/internal.h"

static int check_count(const struct mir__virt *v, char error[MIR__ERROR_MAX])
{
    const char *missing = mir__app_missing_disk(&mir_manifest, v->app.block_count);
    if (missing == NULL)
        return 0;
    mir_format(error, MIR__ERROR_MAX,
               "disk %s: the machine has %u disks that are known here (virtio); give it one more",
               missing, v->app.block_count);
    return -MIR_ENOENT;
}

static int open_disks(struct mir__virt *v, char error[MIR__ERROR_MAX])
{
    struct mir_virtio *virtio;
    const char *place;
    uint32_t count = 0;
    while (count < MIR_APP_BLOCKS_MAX &&
           (virtio = mir__virtio_get(MIR_VIRTIO_BLOCK, count, &place)) != NULL) {
        struct mir_virtio_block_config config = {
            .virtio = virtio,
            .loop = &v->loop,
            .is_readonly = count < mir_manifest.disk_count && mir_manifest.disks[count].is_readonly,
        };
        int r = mir_virtio_block_open(&config, &v->blocks[count]);
        if (r < 0) {
            mir_format(error, MIR__ERROR_MAX, "disk %u, at %s: %s", count + 1, place,
                       mir_strerror(r));
            return -MIR_EIO;
        }
        mir__virtio_serve(v, mir_virtio_block_driver(v->blocks[count++]));
        v->app.block_count = count;
    }
    v->app.blocks = v->blocks;
    return check_count(v, error);
}

static int open_store(struct mir__virt *v, const struct mir__app_store *store,
                      char error[MIR__ERROR_MAX])
{
    const struct mir_kv_tar_config config = {.pages = &v->pages};
    char why[MIR_KV_TAR_ERROR_MAX];
    struct mir_kv *kv;
    uint32_t index;
    int r = mir__app_disk_index(&mir_manifest, store->place, &index);
    if (r < 0 || index >= v->app.block_count) {
        mir_format(error, MIR__ERROR_MAX,
                   "--kv %s: \"%.80s\" is none of the %u disks of the machine; name a disk of the "
                   "manifest, or disk0, disk1 and so on",
                   store->name, store->place, v->app.block_count);
        return -MIR_ENOENT;
    }
    r = mir_kv_tar_read(&config, &v->loop, v->blocks[index], &kv, why);
    if (r < 0) {
        mir_format(error, MIR__ERROR_MAX, "--kv %s: disk %s: %s", store->name, store->place, why);
        return r;
    }
    v->kvs[v->app.kv_count++] = (struct mir_manifest_kv){store->name, kv};
    v->app.kvs = v->kvs;
    return 0;
}

static int open_stores(struct mir__virt *v, char error[MIR__ERROR_MAX])
{
    int r = 0;
    for (uint32_t i = 0; i < v->options.store_count && r == 0; i++)
        r = open_store(v, &v->options.store[i], error);
    return r;
}

static void close_disks(struct mir__virt *v)
{
    while (v->app.block_count > 0)
        mir_block_close(v->blocks[--v->app.block_count]);
}

const struct mir__disks mir__disks = {
    .open = open_disks,
    .open_stores = open_stores,
    .close = close_disks,
};
