/* SPDX-License-Identifier: ISC */
/* What stores that are made at start share: sorted entries, look-up, compressed forms, HTTP lines.
 */
#ifndef DEV_KV_TABLE_H
#define DEV_KV_TABLE_H

#include <mirari/dev_kv.h>

/** Longest key. */
#define MIR__KV_KEY_MAX 1024u

/** Entries of one store. The array is the store's; the order is by bytes of the keys once it was
 *  sorted. */
struct mir__kv_table {
    struct mir_kv kv; /* its ops are mir__kv_table_ops */
    struct mir_kv_entry **entries;
    uint32_t count;
};

/** Sort by key. Entries with the same key are left in the order of their addresses. O(n log n), no
 *  memory. */
void mir__kv_table_sort(struct mir__kv_table *table);
/** Of entries with the same key keep the last. Of a sorted table. */
void mir__kv_table_unique(struct mir__kv_table *table);
/** FILE.gz and FILE.br become forms of FILE. Of a sorted table. */
void mir__kv_table_forms(struct mir__kv_table *table);
/** By binary search; NULL: no such key. */
struct mir_kv_entry *mir__kv_table_find(const struct mir__kv_table *table, const char *key,
                                        size_t key_len);

/** Look-up in a table, for the kv of it. */
extern const struct mir_kv_ops mir__kv_table_ops;

/**
 * mir__kv_table_head() - the ready HTTP lines of one form of a value.
 *
 * @out  [size] bytes, may be NULL if @size is 0; always NUL-terminated otherwise
 *
 * Returns the length that the lines have as a whole, without NUL.
 * Source  RFC 9110 sections 8.3, 8.4, 8.8, 12.5.5, 14.3; RFC 9111 section 5.2
 */
size_t mir__kv_table_head(char *out, size_t size, const struct mir_kv_entry *entry,
                          enum mir_kv_encoding encoding, const char *cache_control);

#endif
