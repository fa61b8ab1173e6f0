/* SPDX-License-Identifier: ISC */
/* --kv NAME=PLACE: a folder, an archive or a disk in place of a store that was built in.
 *
 * Which stores there are is known from the manifest, so a wrong name is told at once, with those
 * that exist. What a place is, and opening it, is the target's work. Disks go by the name that the
 * manifest gives them, or by their number among those of the machine.
 */
#include <mirari/format.h>

#include "lib/app/options.h"

static int refuse_store(struct mir__app_options *o, const char *text, size_t len)
{
    const struct mir_manifest *manifest = o->manifest;
    size_t at =
        mir_format(o->error, MIR__APP_ERROR_MAX, "--kv: no store \"%.*s\"; there %s",
                   (int)MIR_MIN(len, 40u), text, manifest->kv_count > 0 ? "is:" : "is none");
    for (uint32_t i = 0; i < manifest->kv_count && at < MIR__APP_ERROR_MAX; i++)
        at += mir_format(o->error + at, MIR__APP_ERROR_MAX - at, " %s", manifest->kvs[i].name);
    return -MIR_EINVAL;
}

int mir__app_add_store(struct mir__app_options *o, const char *text)
{
    size_t len = 0;
    while (text[len] != '\0' && text[len] != '=')
        len++;
    if (text[len] == '\0' || text[len + 1] == '\0' || o->store_count == MIR__APP_STORES_MAX) {
        mir_format(o->error, MIR__APP_ERROR_MAX,
                   "--kv: \"%.80s\": NAME=PLACE expected, at most %u of them", text,
                   MIR__APP_STORES_MAX);
        return -MIR_EINVAL;
    }
    for (uint32_t i = 0; i < o->manifest->kv_count; i++) {
        const char *name = o->manifest->kvs[i].name;
        if (mir_str_len(name) != len || mir_memcmp(name, text, len) != 0)
            continue;
        o->store[o->store_count++] = (struct mir__app_store){name, text + len + 1};
        return 0;
    }
    return refuse_store(o, text, len);
}

int mir__app_disk_index(const struct mir_manifest *manifest, const char *text, uint32_t *index)
{
    static const char prefix[] = "disk";
    size_t len = mir_str_len(text), prefix_len = sizeof prefix - 1;
    uint64_t number;
    for (uint32_t i = 0; i < manifest->disk_count; i++) {
        if (!mir_str_equal(manifest->disks[i].name, text))
            continue;
        *index = i;
        return 0;
    }
    if (len <= prefix_len || mir_memcmp(text, prefix, prefix_len) != 0 ||
        mir_parse_u64(text + prefix_len, len - prefix_len, MIR_APP_BLOCKS_MAX - 1, &number) < 0)
        return -MIR_ENOENT;
    *index = (uint32_t)number;
    return 0;
}

const char *mir__app_missing_disk(const struct mir_manifest *manifest, uint32_t count)
{
    for (uint32_t i = count; i < manifest->disk_count; i++) {
        if (!manifest->disks[i].is_optional)
            return manifest->disks[i].name;
    }
    return NULL;
}
