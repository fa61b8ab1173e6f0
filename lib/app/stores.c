/* SPDX-License-Identifier: ISC */
/* --kv NAME=DIR: a folder of the host in place of a store that was built in.
 *
 * Which stores there are is known from the manifest, so a wrong name is told at once, with those
 * that exist. Opening the folder is the target's work, if it has folders.
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
                   "--kv: \"%.80s\": NAME=DIR expected, at most %u of them", text,
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
