/* SPDX-License-Identifier: ISC */
/* Archives as stores: in memory and on a disk the outcome is the same, and what opens is in order
 * and inside its bytes. The first byte says whether checksums are made right before, and how large
 * the disk's blocks are.
 */
#include <stdlib.h>
#include <string.h>

#include "test/harness/tarball.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(x)                                                                                 \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static uint64_t sum_of(const struct mir_kv_entry *entry)
{
    uint64_t sum = entry->key_len + entry->modified_us;
    for (unsigned e = 0; e < MIR_KV_ENCODINGS; e++) {
        const struct mir_kv_body *body = &entry->body[e];
        for (uint32_t i = 0; body->page != NULL && i < body->size_bytes; i++)
            sum = sum * 31 + body->page->base[i];
        for (uint32_t i = 0; i < body->head_len; i++)
            sum = sum * 31 + (uint8_t)body->head[i];
        REQUIRE(body->page == NULL || strlen(body->head) == body->head_len);
    }
    return sum;
}

/* A number that says all about it. */
static uint64_t look_through(struct mir_kv *kv)
{
    const struct mir_kv_entry *entry, *same;
    uint64_t sum = 0;
    char last[1100] = "";
    for (uint32_t i = 0; mir_kv_at(kv, i, &entry) == 0; i++) {
        REQUIRE(strlen(entry->key) == entry->key_len && entry->key_len <= 1024);
        REQUIRE(entry->key[0] != '/' && entry->key[0] != '.' && strstr(entry->key, "/.") == NULL);
        REQUIRE(strcmp(last, entry->key) < 0);
        REQUIRE(mir_kv_get(kv, entry->key, entry->key_len, &same) == 0 && same == entry);
        memcpy(last, entry->key, entry->key_len + 1u);
        sum = sum * 31 + sum_of(entry);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t copy[1 << 16];
    struct tardisk disk;
    if (size < 1 || size > sizeof copy)
        return 0;
    uint8_t how = *data++;
    memcpy(copy, data, --size);
    for (size_t at = 0; how & 1 && at + 512 <= size; at += 512) {
        if (memcmp(copy + at + 257, "ustar", 5) == 0)
            tarball_sum(copy + at);
    }
    tardisk_open(&disk, copy, size / 512 * 512, 0, NULL);
    int result = disk.result;
    uint64_t sum = result == 0 ? look_through(disk.kv) : 0;
    tardisk_close(&disk);
    tardisk_open(&disk, copy, size / 512 * 512, 512, NULL);
    REQUIRE(disk.result == result && (result < 0 || look_through(disk.kv) == sum));
    tardisk_close(&disk);
    tardisk_open(&disk, copy, size, how & 2 ? 4096 : 1024, NULL);
    REQUIRE(result < 0 || (disk.result == 0 && look_through(disk.kv) == sum));
    tardisk_close(&disk);
    return 0;
}
