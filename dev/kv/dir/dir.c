/* SPDX-License-Identifier: ISC */
/* A key-value store over a folder of the host, for appliances whose content is not built in.
 *
 * The folder is walked once. Every regular file whose name does not begin with a dot is mapped
 * read-only, its descriptor closed again; keys are sorted and looked up by binary search. The
 * entity tag is made of size, time of change and inode, which costs nothing however large the file
 * is.
 *
 * Pages are static in the sense of page.h: the map outlives every view, so references need not be
 * counted. They carry no block sums.
 *
 * Limit: files must not become shorter while the store is open. Replace them (a new file under the
 * old name); what lies behind the end of a file that was cut in place is a SIGBUS when it is read.
 */
#include "dev/kv/dir/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/kv/crunch/media.h"
#include "dev/kv/table/table.h"

#define DEPTH_MAX 32

struct item {
    struct mir_kv_entry entry;
    struct mir_io_page page;
    char etag[64];
    char *heads[MIR_KV_ENCODINGS];
    char *key;
};

struct store {
    struct mir__kv_table table;
    uint32_t capacity, limit;
    const char *cache_control;
    char root[PATH_MAX];
    char *error;
    size_t error_size;
};

static int fail(struct store *store, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(struct store *store, int err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(store->error, store->error_size, fmt, args);
    va_end(args);
    return err;
}

static int fail_errno(struct store *store, const char *path)
{
    int err = errno == ENOENT   ? -MIR_ENOENT
              : errno == EACCES ? -MIR_EPERM
              : errno == ENOMEM ? -MIR_ENOMEM
                                : -MIR_EIO;
    return fail(store, err, "%s: %s", path, strerror(errno));
}

static struct item *item_at(const struct store *store, uint32_t index)
{
    return MIR_CONTAINER_OF(store->table.entries[index], struct item, entry);
}

/* ---- files ------------------------------------------------------------------------------------
 */

/* An empty file cannot be mapped: one page of zeros stands for it. */
static int map_file(struct store *store, const char *path, struct item *item, struct stat *st)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail_errno(store, path);
    if (fstat(fd, st) < 0) {
        close(fd);
        return fail_errno(store, path);
    }
    if ((uint64_t)st->st_size > UINT32_MAX) {
        close(fd);
        return fail(store, -MIR_ETOOBIG, "%s: larger than 4 GiB - 1", path);
    }
    size_t size = st->st_size > 0 ? (size_t)st->st_size : MIR_PAGE_SIZE;
    int flags = st->st_size > 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    void *base = mmap(NULL, size, PROT_READ, flags, st->st_size > 0 ? fd : -1, 0);
    close(fd);
    if (base == MAP_FAILED)
        return fail_errno(store, path);
    item->page = (struct mir_io_page){
        .base = base, .size_bytes = (uint32_t)size, .flags = MIR_PAGE_STATIC | MIR_PAGE_READONLY};
    return 0;
}

static struct item *new_item(struct store *store, const char *key)
{
    struct mir__kv_table *table = &store->table;
    if (table->count == store->capacity) {
        uint32_t capacity = store->capacity > 0 ? 2 * store->capacity : 64;
        struct mir_kv_entry **entries = realloc(table->entries, capacity * sizeof(void *));
        if (entries == NULL)
            return NULL;
        table->entries = entries;
        store->capacity = capacity;
    }
    struct item *item = calloc(1, sizeof *item);
    char *copy = strdup(key);
    if (item == NULL || copy == NULL) {
        free(item);
        free(copy);
        return NULL;
    }
    item->key = copy;
    table->entries[table->count++] = &item->entry;
    return item;
}

static int add_file(struct store *store, const char *path, const char *key)
{
    struct stat st;
    if (store->table.count == store->limit)
        return fail(store, -MIR_ELIMIT, "%s: more than %u files", store->root, store->limit);
    struct item *item = new_item(store, key);
    if (item == NULL)
        return fail(store, -MIR_ENOMEM, "%s: out of memory", path);
    int r = map_file(store, path, item, &st);
    if (r < 0)
        return r;
    size_t key_len = strlen(item->key);
    snprintf(item->etag, sizeof item->etag, "\"%llx-%llx-%llx\"", (unsigned long long)st.st_ino,
             (unsigned long long)st.st_size,
             (unsigned long long)st.st_mtim.tv_sec * 1000000000ull +
                 (unsigned long long)st.st_mtim.tv_nsec);
    item->entry = (struct mir_kv_entry){
        .key = item->key,
        .key_len = (uint16_t)key_len,
        .media_type = mir__kv_media_of(item->key, key_len)->media_type,
        .modified_us = st.st_mtim.tv_sec > 0 ? (mir_time_us)st.st_mtim.tv_sec * MIR_US_PER_S : 0,
    };
    item->entry.body[MIR_KV_IDENTITY] = (struct mir_kv_body){
        .page = &item->page, .size_bytes = (uint32_t)st.st_size, .etag = item->etag};
    return 0;
}

/* ---- walk -------------------------------------------------------------------------------------
 */

static int walk(struct store *store, const char *path, const char *key, int depth);

static int check_link(struct store *store, const char *path)
{
    char real[PATH_MAX];
    size_t len = strlen(store->root);
    if (realpath(path, real) == NULL)
        return fail_errno(store, path);
    if (strncmp(real, store->root, len) != 0 || (real[len] != '/' && real[len] != '\0'))
        return fail(store, -MIR_EINVAL, "%s: symbolic link leads out of the folder", path);
    return 0;
}

static int walk_one(struct store *store, const char *path, const char *key, int depth)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return fail_errno(store, path);
    if (S_ISLNK(st.st_mode)) {
        int r = check_link(store, path);
        if (r < 0)
            return r;
        if (stat(path, &st) < 0)
            return fail_errno(store, path);
    }
    if (S_ISDIR(st.st_mode))
        return walk(store, path, key, depth + 1);
    if (!S_ISREG(st.st_mode))
        return fail(store, -MIR_EINVAL, "%s: neither a file nor a folder", path);
    if (strlen(key) > MIR__KV_KEY_MAX)
        return fail(store, -MIR_EINVAL, "%s: name longer than %u bytes", path, MIR__KV_KEY_MAX);
    return add_file(store, path, key);
}

static int walk(struct store *store, const char *path, const char *key, int depth)
{
    int r = 0;
    if (depth > DEPTH_MAX)
        return fail(store, -MIR_ELIMIT, "%s: more than %d folders deep", path, DEPTH_MAX);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return fail_errno(store, path);
    for (struct dirent *entry; r == 0 && (entry = readdir(dir)) != NULL;) {
        char *child = NULL, *child_key = NULL;
        if (entry->d_name[0] == '.')
            continue;
        if (asprintf(&child, "%s/%s", path, entry->d_name) < 0)
            child = NULL;
        if (asprintf(&child_key, "%s%s%s", key, *key ? "/" : "", entry->d_name) < 0)
            child_key = NULL;
        if (child == NULL || child_key == NULL)
            r = fail(store, -MIR_ENOMEM, "%s: out of memory", path);
        else
            r = walk_one(store, child, child_key, depth);
        free(child);
        free(child_key);
    }
    closedir(dir);
    return r;
}

/* ---- forms ------------------------------------------------------------------------------------
 */

static int make_heads(struct store *store, struct item *item)
{
    for (unsigned e = 0; e < MIR_KV_ENCODINGS; e++) {
        struct mir_kv_body *body = &item->entry.body[e];
        if (body->page == NULL)
            continue;
        size_t len = mir__kv_table_head(NULL, 0, &item->entry, e, store->cache_control);
        item->heads[e] = malloc(len + 1);
        if (item->heads[e] == NULL)
            return fail(store, -MIR_ENOMEM, "%s: out of memory", item->key);
        mir__kv_table_head(item->heads[e], len + 1, &item->entry, e, store->cache_control);
        body->head = item->heads[e];
        body->head_len = (uint32_t)len;
    }
    return 0;
}

static int fill(struct store *store, const struct mir_kv_dir_config *config)
{
    if (realpath(config->path, store->root) == NULL)
        return fail_errno(store, config->path);
    int r = walk(store, config->path, "", 0);
    if (r < 0)
        return r;
    mir__kv_table_sort(&store->table);
    mir__kv_table_forms(&store->table);
    for (uint32_t i = 0; i < store->table.count && r == 0; i++)
        r = make_heads(store, item_at(store, i));
    return r;
}

/* ---- open and close ---------------------------------------------------------------------------
 */

int mir_kv_dir_open(const struct mir_kv_dir_config *config, struct mir_kv **kv, char *error,
                    size_t error_size)
{
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return -MIR_ENOMEM;
    store->table.kv.ops = &mir__kv_table_ops;
    store->limit = config->files_max != 0 ? config->files_max : 65536;
    store->cache_control = config->cache_control != NULL ? config->cache_control : "no-cache";
    store->error = error;
    store->error_size = error_size;
    int r = fill(store, config);
    if (r < 0)
        mir_kv_dir_close(&store->table.kv);
    else
        *kv = &store->table.kv;
    return r;
}

void mir_kv_dir_close(struct mir_kv *kv)
{
    struct store *store = MIR_CONTAINER_OF(kv, struct store, table.kv);
    for (uint32_t i = 0; i < store->table.count; i++) {
        struct item *item = item_at(store, i);
        if (item->page.base != NULL)
            munmap(item->page.base, item->page.size_bytes);
        for (int e = 0; e < MIR_KV_ENCODINGS; e++)
            free(item->heads[e]);
        free(item->key);
        free(item);
    }
    free(store->table.entries);
    free(store);
}
