/* SPDX-License-Identifier: ISC */
/* A key-value store over a tar archive in memory.
 *
 *   archive   | header | contents ... | header | contents ... |     values are ranges of it
 *   tables    | store, sorted entries | item, item, ... | keys |    one piece from the pool's end
 *             | HTTP lines |                                        another, when they are known
 *
 * Two walks: the first counts files and the bytes of their names, the second fills the tables,
 * whose size is then known. Nothing is allocated for single files, so what an archive can make us
 * take is bounded by its own size.
 *
 * An entity tag is made of size, time and CRC-32 of the contents: an archive made again from the
 * same files has the same tags, and other contents have other ones also within a second.
 */
#include "dev/kv/tar/tar.h"

#include <mirari/crc.h>
#include <mirari/format.h>

#include "dev/kv/crunch/media.h"
#include "dev/kv/table/table.h"
#include "dev/kv/tar/walk.h"

#define FILES_MAX 65536u
#define ETAG_MAX  40u

struct item {
    struct mir_kv_entry entry;
    struct mir_io_page page;
    char etag[ETAG_MAX];
};

struct memory_source {
    struct mir__tar_source source;
    const uint8_t *archive;
};

/* Memory that is handed out from its beginning. */
struct area {
    uint8_t *at;
    size_t left;
};

/* ---- what there is -------------------------------------------------------------------------- */

struct sizes {
    uint32_t files, files_max;
    size_t key_bytes;
    uint64_t end; /* of the archive */
};

static int explain(const struct mir__tar_walk *walk, int err, char error[MIR_KV_TAR_ERROR_MAX])
{
    const char *why = walk->why != NULL ? walk->why : mir_strerror(err);
    if (walk->key_len > 0)
        mir_format(error, MIR_KV_TAR_ERROR_MAX, "at byte %llu, \"%.60s\": %s",
                   (unsigned long long)walk->at, walk->key, why);
    else
        mir_format(error, MIR_KV_TAR_ERROR_MAX, "at byte %llu: %s", (unsigned long long)walk->at,
                   why);
    return err;
}

static int fail(char error[MIR_KV_TAR_ERROR_MAX], int err, const char *why)
{
    mir_format(error, MIR_KV_TAR_ERROR_MAX, "%s", why);
    return err;
}

static int count(struct mir__tar_source *source, struct sizes *sizes,
                 char error[MIR_KV_TAR_ERROR_MAX])
{
    struct mir__tar_walk walk;
    struct mir__tar_member member;
    int r;
    mir__tar_walk_init(&walk, source);
    while ((r = mir__tar_next(&walk, &member)) == 0) {
        if (!member.is_file)
            continue;
        if (member.size_bytes > UINT32_MAX) {
            walk.why = "larger than 4 GiB - 1";
            return explain(&walk, -MIR_ETOOBIG, error);
        }
        if (sizes->files == sizes->files_max) {
            walk.why = "more files than the store may have";
            return explain(&walk, -MIR_ELIMIT, error);
        }
        sizes->files++;
        sizes->key_bytes += member.key_len + 1u;
    }
    sizes->end = walk.at;
    if (r == -MIR_EEOF && walk.at == 2 * (uint64_t)MIR__TAR_BLOCK)
        return fail(error, -MIR_ENOENT, "it begins with zeroes: there is no archive");
    return r == -MIR_EEOF ? 0 : explain(&walk, r, error);
}

int mir__kv_tar_measure(struct mir__tar_source *source, uint32_t files_max, uint64_t *size_bytes,
                        char error[MIR_KV_TAR_ERROR_MAX])
{
    struct sizes sizes = {.files_max = files_max != 0 ? files_max : FILES_MAX};
    int r = count(source, &sizes, error);
    if (r == 0)
        *size_bytes = sizes.end;
    return r;
}

static int read_memory(struct mir__tar_source *source, uint64_t offset, uint32_t len,
                       const uint8_t **bytes)
{
    const struct memory_source *memory = MIR_CONTAINER_OF(source, struct memory_source, source);
    if (offset > source->size_bytes || len > source->size_bytes - offset)
        return -MIR_ERANGE;
    *bytes = memory->archive + offset;
    return 0;
}

/* ---- tables --------------------------------------------------------------------------------- */

static void *take(struct area *area, size_t size)
{
    uint8_t *taken = area->at;
    MIR_ASSERT_OP(size, <=, area->left);
    area->at += size;
    area->left -= size;
    return taken;
}

static void fill_item(struct item *item, const struct mir__tar_member *member, uint8_t *contents,
                      char *key)
{
    uint32_t size = (uint32_t)member->size_bytes;
    mir_memcpy(key, member->key, member->key_len + 1u);
    *item = (struct item){.page = {.base = contents,
                                   .size_bytes = size,
                                   .flags = MIR_PAGE_STATIC | MIR_PAGE_READONLY}};
    mir_format(item->etag, ETAG_MAX, "\"%x-%llx-%08x\"", (unsigned)size,
               (unsigned long long)member->modified_s, (unsigned)mir_crc32(0, contents, size));
    item->entry = (struct mir_kv_entry){
        .key = key,
        .key_len = (uint16_t)member->key_len,
        .media_type = mir__kv_media_of(key, member->key_len)->media_type,
        .modified_us = member->modified_s * MIR_US_PER_S,
    };
    item->entry.body[MIR_KV_IDENTITY] =
        (struct mir_kv_body){.page = &item->page, .size_bytes = size, .etag = item->etag};
}

/* The second walk sees what the first saw: only a device that still writes to the memory could
 * change that, and then it ends here with fewer files. */
static void fill(struct mir__kv_table *table, struct memory_source *memory,
                 const struct sizes *sizes, struct area area)
{
    struct mir__tar_walk walk;
    struct mir__tar_member member;
    struct item *items;
    struct area keys;
    items = take(&area, sizes->files * sizeof(struct item));
    *table = (struct mir__kv_table){.kv.ops = &mir__kv_table_ops,
                                    .entries = take(&area, sizes->files * sizeof(void *))};
    keys = area;
    mir__tar_walk_init(&walk, &memory->source);
    while (mir__tar_next(&walk, &member) == 0) {
        struct item *item = &items[table->count];
        if (!member.is_file)
            continue;
        if (table->count == sizes->files || member.key_len >= keys.left)
            break;
        /* Pages that are read-only have a base of this type, too. */
        uint8_t *contents = (uint8_t *)(uintptr_t)memory->archive + member.offset;
        fill_item(item, &member, contents, take(&keys, member.key_len + 1u));
        table->entries[table->count++] = &item->entry;
    }
    mir__kv_table_sort(table);
    mir__kv_table_unique(table);
    mir__kv_table_forms(table);
}

/* @out NULL: only the bytes that they need. */
static size_t make_heads(const struct mir__kv_table *table, const char *cache_control, char *out,
                         size_t size)
{
    size_t used = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        struct mir_kv_entry *entry = table->entries[i];
        for (unsigned e = 0; e < MIR_KV_ENCODINGS; e++) {
            char *to = out != NULL ? out + used : NULL;
            if (entry->body[e].page == NULL)
                continue;
            size_t len = mir__kv_table_head(to, to != NULL ? size - used : 0, entry,
                                            (enum mir_kv_encoding)e, cache_control);
            entry->body[e].head = to;
            entry->body[e].head_len = (uint32_t)len;
            used += len + 1;
        }
    }
    return used;
}

int mir_kv_tar_open(const struct mir_kv_tar_config *config, const uint8_t *archive, uint64_t len,
                    struct mir_kv **kv, char error[MIR_KV_TAR_ERROR_MAX])
{
    struct memory_source memory = {.source = {.read = read_memory, .size_bytes = len},
                                   .archive = archive};
    struct sizes sizes = {.files_max = config->files_max != 0 ? config->files_max : FILES_MAX};
    const char *cache_control = config->cache_control != NULL ? config->cache_control : "no-cache";
    int r = count(&memory.source, &sizes, error);
    if (r < 0)
        return r;
    struct area area = {.left = sizeof(struct mir__kv_table) +
                                sizes.files * (sizeof(struct item) + sizeof(void *)) +
                                sizes.key_bytes};
    area.at = mir_page_pool_take_end_run(config->pages, area.left);
    if (area.at == NULL)
        return fail(error, -MIR_ENOMEM, "not enough memory for the names of its files");
    struct mir__kv_table *table = take(&area, sizeof *table);
    fill(table, &memory, &sizes, area);
    size_t heads_size = make_heads(table, cache_control, NULL, 0);
    char *heads = mir_page_pool_take_end_run(config->pages, heads_size);
    if (heads == NULL && heads_size > 0)
        return fail(error, -MIR_ENOMEM, "not enough memory for the HTTP lines of its files");
    make_heads(table, cache_control, heads, heads_size);
    *kv = &table->kv;
    return 0;
}
