/* SPDX-License-Identifier: ISC */
/* Media types by extension: the IANA registry's names for what web sites hold.
 *
 * A short list on purpose: a linear search at build time or start costs nothing, and an unknown
 * name is served as bytes, which no browser guesses about.
 */
#include "dev/kv/crunch/media.h"

static const struct mir__kv_media table[] = {
    {"html", "text/html; charset=utf-8", true},
    {"htm", "text/html; charset=utf-8", true},
    {"css", "text/css; charset=utf-8", true},
    {"js", "text/javascript; charset=utf-8", true},
    {"mjs", "text/javascript; charset=utf-8", true},
    {"json", "application/json", true},
    {"map", "application/json", true},
    {"webmanifest", "application/manifest+json", true},
    {"xml", "application/xml", true},
    {"atom", "application/atom+xml", true},
    {"rss", "application/rss+xml", true},
    {"txt", "text/plain; charset=utf-8", true},
    {"md", "text/markdown; charset=utf-8", true},
    {"csv", "text/csv; charset=utf-8", true},
    {"c", "text/plain; charset=utf-8", true},
    {"h", "text/plain; charset=utf-8", true},
    {"conf", "text/plain; charset=utf-8", true},
    {"svg", "image/svg+xml", true},
    {"png", "image/png", false},
    {"jpg", "image/jpeg", false},
    {"jpeg", "image/jpeg", false},
    {"gif", "image/gif", false},
    {"webp", "image/webp", false},
    {"avif", "image/avif", false},
    {"ico", "image/vnd.microsoft.icon", true},
    {"woff", "font/woff", false},
    {"woff2", "font/woff2", false},
    {"ttf", "font/ttf", true},
    {"otf", "font/otf", true},
    {"pdf", "application/pdf", false},
    {"wasm", "application/wasm", true},
    {"mp3", "audio/mpeg", false},
    {"ogg", "audio/ogg", false},
    {"mp4", "video/mp4", false},
    {"webm", "video/webm", false},
    {"zip", "application/zip", false},
    {"gz", "application/gzip", false},
    {"tar", "application/x-tar", true},
    {"xz", "application/x-xz", false},
    {"zst", "application/zstd", false},
};

static const struct mir__kv_media unknown = {"", "application/octet-stream", false};

static bool matches(const char *extension, const char *text, size_t len)
{
    size_t i = 0;
    for (; i < len && extension[i] != '\0'; i++) {
        char c = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 0x20 : text[i]);
        if (c != extension[i])
            return false;
    }
    return i == len && extension[i] == '\0';
}

const struct mir__kv_media *mir__kv_media_of(const char *key, size_t len)
{
    size_t from = len;
    while (from > 0 && key[from - 1] != '.' && key[from - 1] != '/')
        from--;
    if (from == 0 || key[from - 1] != '.')
        return &unknown;
    for (size_t i = 0; i < MIR_ARRAY_LEN(table); i++) {
        if (matches(table[i].extension, key + from, len - from))
            return &table[i];
    }
    return &unknown;
}
