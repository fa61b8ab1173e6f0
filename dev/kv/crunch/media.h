/* SPDX-License-Identifier: ISC */
/* Media types of stored files by the end of their names. Shared by the stores and the tool. */
#ifndef DEV_KV_CRUNCH_MEDIA_H
#define DEV_KV_CRUNCH_MEDIA_H

#include <mirari/base.h>

struct mir__kv_media {
    const char *extension;  /* without the dot, lower case */
    const char *media_type; /* text types say charset=utf-8 */
    bool is_compressible;
};

/** By the last extension of [len] bytes of @key, any case; unknown: application/octet-stream, not
 *  compressible. Never NULL. */
const struct mir__kv_media *mir__kv_media_of(const char *key, size_t len);

#endif
