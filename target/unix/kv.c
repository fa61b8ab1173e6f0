/* SPDX-License-Identifier: ISC */
/* Folders and archives of the host as stores (--kv NAME=DIR, --kv NAME=FILE.tar).
 *
 * They are opened before the sandbox closes, with every file in them; afterwards nothing is. An
 * archive is mapped, not read: it must not become shorter while the appliance runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/kv/dir/dir.h"
#include "dev/kv/tar/tar.h"
#include "target/unix/internal.h"

#define WHY_MAX 300u

/* The whole file; an empty one is a page of zeroes. */
static int map_file(const char *path, void **base, size_t *size, char why[WHY_MAX])
{
    struct stat st = {.st_size = 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *base = MAP_FAILED;
    if (fd >= 0 && fstat(fd, &st) == 0) {
        *size = st.st_size > 0 ? (size_t)st.st_size : MIR_PAGE_SIZE;
        *base =
            mmap(NULL, *size, PROT_READ, st.st_size > 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS,
                 st.st_size > 0 ? fd : -1, 0);
    }
    int saved = errno;
    if (fd >= 0)
        close(fd);
    if (*base != MAP_FAILED)
        return 0;
    snprintf(why, WHY_MAX, "%.200s: %s", path, strerror(saved));
    return -MIR_EIO;
}

static int open_archive(struct mir__unix *u, uint32_t index, const char *path, char why[WHY_MAX])
{
    const struct mir_kv_tar_config config = {.pages = &u->pages};
    char reason[MIR_KV_TAR_ERROR_MAX];
    struct mir__kv_map *map = &u->kv_maps[index];
    struct mir_kv *kv;
    int r = map_file(path, &map->base, &map->size_bytes, why);
    if (r < 0)
        return r;
    r = mir_kv_tar_open(&config, map->base, map->size_bytes, &kv, reason);
    if (r < 0) {
        snprintf(why, WHY_MAX, "%.90s: %s", path, reason);
        munmap(map->base, map->size_bytes);
        return r;
    }
    u->kvs[index].store = kv;
    return 0;
}

static int open_folder(struct mir__unix *u, uint32_t index, const char *path, char why[WHY_MAX])
{
    const struct mir_kv_dir_config config = {.path = path};
    u->kv_maps[index] = (struct mir__kv_map){.base = NULL};
    return mir_kv_dir_open(&config, &u->kvs[index].store, why, WHY_MAX);
}

int mir__kv_open(struct mir__unix *u, char error[MIR__ERROR_MAX])
{
    char why[WHY_MAX];
    for (uint32_t i = 0; i < u->options.store_count; i++) {
        const struct mir__app_store *store = &u->options.store[i];
        struct stat st;
        bool is_file = stat(store->place, &st) == 0 && S_ISREG(st.st_mode);
        int r =
            is_file ? open_archive(u, i, store->place, why) : open_folder(u, i, store->place, why);
        if (r < 0) {
            snprintf(error, MIR__ERROR_MAX, "--kv %s: %s", store->name, why);
            return r;
        }
        u->kvs[i].name = store->name;
        u->app.kv_count = i + 1;
    }
    u->app.kvs = u->kvs;
    return 0;
}

void mir__kv_close(struct mir__unix *u)
{
    while (u->app.kv_count > 0) {
        uint32_t i = --u->app.kv_count;
        if (u->kv_maps[i].base == NULL)
            mir_kv_dir_close(u->kvs[i].store);
        else
            munmap(u->kv_maps[i].base, u->kv_maps[i].size_bytes);
    }
}
