/* SPDX-License-Identifier: ISC */
/* The contract of a read-only key-value store: names to values in pages.
 *
 * The crunched store (dev/kv/crunch) has its values in read-only pages of the image with media
 * type, ETag, checksums and compressed variants ready; a store over a host directory
 * (dev/kv/dir) makes them on the first look. Keys are paths without a leading slash.
 */
#ifndef MIRARI_DEV_KV_H
#define MIRARI_DEV_KV_H

#include <mirari/base.h>
#include <mirari/err.h>
#include <mirari/page.h>

enum mir_kv_encoding { MIR_KV_IDENTITY, MIR_KV_GZIP, MIR_KV_BROTLI, MIR_KV_ENCODINGS };

/** One representation of a value: one read-only run of pages. */
struct mir_kv_body {
    struct mir_io_page *page; /**< its first size_bytes bytes; NULL: this encoding is absent */
    uint32_t size_bytes;
    uint32_t head_len;
    const char *etag; /**< with quotes, such as "\"3f2a9c\"" */
    const char *head; /**< ready HTTP header lines of this representation, each with CRLF:
                           Content-Type, Content-Encoding, ETag, Last-Modified, Vary,
                           Cache-Control; not Content-Length, Date, Connection */
};

struct mir_kv_entry {
    const char *key;
    uint16_t key_len;
    const char *media_type;
    mir_time_us modified_us; /**< wall clock; 0 = unknown */
    struct mir_kv_body body[MIR_KV_ENCODINGS];
};

struct mir_kv {
    const struct mir_kv_ops *ops;
};

struct mir_kv_ops {
    /** @entry stays valid until the store is closed. Returns 0 or -MIR_ENOENT. */
    int (*get)(struct mir_kv *kv, const char *key, size_t key_len,
               const struct mir_kv_entry **entry);
    /** The i-th entry in key order, for listing. Returns 0 or -MIR_ENOENT. */
    int (*at)(struct mir_kv *kv, uint32_t index, const struct mir_kv_entry **entry);
};

/** The members of struct mir_kv_ops, called by name. */
static inline MIR_CHECK int mir_kv_get(struct mir_kv *kv, const char *key, size_t key_len,
                                       const struct mir_kv_entry **entry)
{
    return kv->ops->get(kv, key, key_len, entry);
}
static inline MIR_CHECK int mir_kv_at(struct mir_kv *kv, uint32_t index,
                                      const struct mir_kv_entry **entry)
{
    return kv->ops->at(kv, index, entry);
}

#endif
