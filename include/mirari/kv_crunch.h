/* SPDX-License-Identifier: ISC */
/* The tables of a crunched store. Generated code includes this; applications use dev_kv.h.
 *
 * Entries are sorted by key. Look-up goes through a hash table with linear probing: slot
 * mir__kv_hash(key) & slot_mask, then the next ones, until an empty slot (0) or the key is met. The
 * table is at most half full.
 */
#ifndef MIRARI_KV_CRUNCH_H
#define MIRARI_KV_CRUNCH_H

#include <mirari/dev_kv.h>

struct mir_kv_crunched {
    const struct mir_kv_entry *entries; /**< [count], in byte order of their keys */
    uint32_t count;
    uint32_t slot_mask;    /**< slots - 1; slots is a power of two, at least 2 x count */
    const uint32_t *slots; /**< 0 = empty, else index + 1 */
};

/** FNV-1a, 32 bits: the generator and the look-up agree on it. */
static inline uint32_t mir__kv_hash(const char *key, size_t len)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (uint8_t)key[i]) * 16777619u;
    return hash;
}

/**
 * mir_kv_crunched_get() - look a key up.
 *
 * Returns 0 or -MIR_ENOENT.
 * Cost    O(key_len); one comparison for nearly every key
 * Source  none
 */
int mir_kv_crunched_get(const struct mir_kv_crunched *store, const char *key, size_t key_len,
                        const struct mir_kv_entry **entry) MIR_CHECK;
/** The i-th entry in key order. Returns 0 or -MIR_ENOENT. */
int mir_kv_crunched_at(const struct mir_kv_crunched *store, uint32_t index,
                       const struct mir_kv_entry **entry) MIR_CHECK;

#endif
