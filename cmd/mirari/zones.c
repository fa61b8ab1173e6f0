/* SPDX-License-Identifier: ISC */
/* Checks the zones of a store when the appliance is made (kv NAME { check = zones }).
 *
 * Every file NAME.zone of the folder is read as the appliance will read it, by the same code, as
 * the zone NAME; other files can be included. So a mistake ends the build, with its file and line,
 * and not the appliance's start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <mirari/dns_server.h>

#include "cmd/mirari/tool.h"
#include "dev/kv/dir/dir.h"

/* Of addresses, not of memory: what is not used is not there. */
#define ARENA_BYTES ((size_t)4 << 30)

struct check {
    const char *dir;
    struct mir_kv *store;
    struct mir_page_pool pages;
};

static void report(void *arg, bool is_error, const char *line)
{
    const struct check *check = arg;
    (void)is_error;
    fprintf(stderr, "%s/%s\n", check->dir, line);
}

static int include(void *arg, const char *name, const char **text, size_t *len)
{
    const struct check *check = arg;
    const struct mir_kv_entry *entry;
    if (mir_kv_get(check->store, name, strlen(name), &entry) < 0)
        return -MIR_ENOENT;
    *text = (const char *)entry->body[MIR_KV_IDENTITY].page->base;
    *len = entry->body[MIR_KV_IDENTITY].size_bytes;
    return 0;
}

static bool check_zone(struct check *check, const struct mir_kv_entry *entry, size_t origin_len)
{
    struct mir_dns_zone *zone;
    char *origin = need_text(entry->key, origin_len);
    const struct mir_dns_zone_config config = {
        .pages = &check->pages,
        .origin = origin,
        .file = entry->key,
        .text = (const char *)entry->body[MIR_KV_IDENTITY].page->base,
        .len = entry->body[MIR_KV_IDENTITY].size_bytes,
        .include = include,
        .report = report,
        .arg = check,
    };
    int r = mir_dns_zone_open(&config, &zone);
    if (r == 0)
        mir_dns_zone_close(zone);
    else if (r == -MIR_EINVAL)
        complain("%s/%s: \"%s\" is no name of a zone; rename the file", check->dir, entry->key,
                 origin);
    else if (r != -MIR_EMALFORMED)
        complain("%s/%s: %s", check->dir, entry->key, mir_strerror(r));
    free(origin);
    return r == 0;
}

static bool check_all(struct check *check)
{
    static const char end[] = ".zone";
    const size_t end_len = sizeof end - 1;
    const struct mir_kv_entry *entry;
    bool is_good = true;
    uint32_t count = 0;
    for (uint32_t i = 0; mir_kv_at(check->store, i, &entry) == 0; i++) {
        size_t len = entry->key_len;
        if (len <= end_len || memcmp(entry->key + len - end_len, end, end_len) != 0)
            continue;
        is_good = check_zone(check, entry, len - end_len) && is_good;
        count++;
    }
    if (count == 0)
        complain("%s: no file NAME.zone; there is nothing to serve", check->dir);
    return is_good && count > 0;
}

bool check_zones(const char *dir)
{
    const struct mir_kv_dir_config config = {.path = dir};
    struct check check = {.dir = dir};
    char error[256];
    void *arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED || mir_page_pool_init(&check.pages, arena, ARENA_BYTES) < 0) {
        complain("%s: no memory to check its zones in", dir);
        return false;
    }
    bool is_good = mir_kv_dir_open(&config, &check.store, error, sizeof error) == 0;
    if (is_good) {
        is_good = check_all(&check);
        mir_kv_dir_close(check.store);
    } else {
        complain("%s", error);
    }
    (void)munmap(arena, ARENA_BYTES);
    return is_good;
}
