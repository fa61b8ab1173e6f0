/* SPDX-License-Identifier: ISC */
/* Look-up in a crunched store: tables made at build time, no state, no memory.
 *
 * The hash table is open-addressed with linear probing and at most half full, so a look-up for an
 * absent key ends at an empty slot after two steps on average. A damaged table cannot make it run
 * for ever: it gives up after as many steps as there are slots.
 */
#include <mirari/kv_crunch.h>

int mir_kv_crunched_get(const struct mir_kv_crunched *store, const char *key, size_t key_len,
                        const struct mir_kv_entry **entry)
{
    uint32_t at = mir__kv_hash(key, key_len);
    for (uint32_t step = 0; step <= store->slot_mask; step++, at++) {
        uint32_t index = store->slots[at & store->slot_mask];
        if (index == 0)
            return -MIR_ENOENT;
        const struct mir_kv_entry *found = &store->entries[index - 1];
        if (found->key_len == key_len && mir_memcmp(found->key, key, key_len) == 0) {
            *entry = found;
            return 0;
        }
    }
    return -MIR_ENOENT;
}

int mir_kv_crunched_at(const struct mir_kv_crunched *store, uint32_t index,
                       const struct mir_kv_entry **entry)
{
    if (index >= store->count)
        return -MIR_ENOENT;
    *entry = &store->entries[index];
    return 0;
}
