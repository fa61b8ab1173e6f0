/* SPDX-License-Identifier: ISC */
/* What stores that are made at start share: sorted entries, look-up, compressed forms, HTTP lines.
 *
 * A store over a folder and one over an archive differ in where names and bytes come from. What
 * they make of them is the same: an array of entries in byte order of their keys, searched by
 * halves. Sorting is by heap, which needs no memory and has no bad case; an archive may hold any
 * names in any order.
 */
#include "dev/kv/table/table.h"

#include <mirari/format.h>

#include "lib/http/parse.h"

static int compare(const char *key, size_t key_len, const struct mir_kv_entry *entry)
{
    int order = mir_memcmp(key, entry->key, MIR_MIN(key_len, (size_t)entry->key_len));
    if (order != 0)
        return order;
    return key_len < entry->key_len ? -1 : key_len > entry->key_len;
}

static bool is_less(const struct mir_kv_entry *a, const struct mir_kv_entry *b)
{
    int order = compare(a->key, a->key_len, b);
    return order != 0 ? order < 0 : (uintptr_t)a < (uintptr_t)b;
}

/* The entry at @at goes down until no child of it is greater. */
static void sift(struct mir_kv_entry **entries, uint32_t at, uint32_t count)
{
    struct mir_kv_entry *moving = entries[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && is_less(entries[child], entries[child + 1]))
            child++;
        if (!is_less(moving, entries[child]))
            break;
        entries[at] = entries[child];
        at = child;
    }
    entries[at] = moving;
}

void mir__kv_table_sort(struct mir__kv_table *table)
{
    struct mir_kv_entry **entries = table->entries;
    for (uint32_t at = table->count / 2; at > 0; at--)
        sift(entries, at - 1, table->count);
    for (uint32_t left = table->count; left > 1; left--) {
        struct mir_kv_entry *greatest = entries[0];
        entries[0] = entries[left - 1];
        entries[left - 1] = greatest;
        sift(entries, 0, left - 1);
    }
}

void mir__kv_table_unique(struct mir__kv_table *table)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        struct mir_kv_entry *entry = table->entries[i];
        if (kept > 0 && compare(entry->key, entry->key_len, table->entries[kept - 1]) == 0)
            kept--;
        table->entries[kept++] = entry;
    }
    table->count = kept;
}

struct mir_kv_entry *mir__kv_table_find(const struct mir__kv_table *table, const char *key,
                                        size_t key_len)
{
    uint32_t low = 0, high = table->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(key, key_len, table->entries[middle]);
        if (order == 0)
            return table->entries[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static int get(struct mir_kv *kv, const char *key, size_t key_len,
               const struct mir_kv_entry **entry)
{
    const struct mir__kv_table *table = MIR_CONTAINER_OF(kv, struct mir__kv_table, kv);
    const struct mir_kv_entry *found = mir__kv_table_find(table, key, key_len);
    if (found == NULL)
        return -MIR_ENOENT;
    *entry = found;
    return 0;
}

static int at(struct mir_kv *kv, uint32_t index, const struct mir_kv_entry **entry)
{
    const struct mir__kv_table *table = MIR_CONTAINER_OF(kv, struct mir__kv_table, kv);
    if (index >= table->count)
        return -MIR_ENOENT;
    *entry = table->entries[index];
    return 0;
}

const struct mir_kv_ops mir__kv_table_ops = {.get = get, .at = at};

void mir__kv_table_forms(struct mir__kv_table *table)
{
    static const char endings[MIR_KV_ENCODINGS][4] = {"", ".gz", ".br"};
    char key[MIR__KV_KEY_MAX + 4];
    for (uint32_t i = 0; i < table->count; i++) {
        struct mir_kv_entry *entry = table->entries[i];
        for (unsigned e = MIR_KV_GZIP; e < MIR_KV_ENCODINGS; e++) {
            size_t len =
                mir_format(key, sizeof key, "%.*s%s", (int)entry->key_len, entry->key, endings[e]);
            const struct mir_kv_entry *other = mir__kv_table_find(table, key, len);
            if (other != NULL)
                entry->body[e] = other->body[MIR_KV_IDENTITY];
        }
    }
}

size_t mir__kv_table_head(char *out, size_t size, const struct mir_kv_entry *entry,
                          enum mir_kv_encoding encoding, const char *cache_control)
{
    static const char *const codings[MIR_KV_ENCODINGS] = {"", "Content-Encoding: gzip\r\n",
                                                          "Content-Encoding: br\r\n"};
    const struct mir_kv_body *bodies = entry->body;
    bool varies = bodies[MIR_KV_GZIP].page != NULL || bodies[MIR_KV_BROTLI].page != NULL;
    char date[MIR__HTTP_DATE_LEN + 1] = "", modified[64] = "";
    if (entry->modified_us != 0) {
        mir__http_date_emit(entry->modified_us / MIR_US_PER_S, date);
        mir_format(modified, sizeof modified, "Last-Modified: %s\r\n", date);
    }
    return mir_format(out, size,
                      "Content-Type: %s\r\n%sETag: %s\r\n%s%sCache-Control: %s\r\n"
                      "Accept-Ranges: bytes\r\n",
                      entry->media_type, codings[encoding], bodies[encoding].etag, modified,
                      varies ? "Vary: Accept-Encoding\r\n" : "", cache_control);
}
