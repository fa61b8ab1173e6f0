/* SPDX-License-Identifier: ISC */
/* Crunch: a folder becomes a read-only store that is linked into an appliance.
 *
 * Four passes: walk the folder (sorted, so that the order of the file system does not show), read
 * and compress each file, lay the values out, write the three files.
 *
 *   kv_NAME.bin   | value, zero-padded to whole pages | value | ... | block sums of all values |
 *
 * A compressed form is kept if it saves at least 5 % (brotli: and is smaller than gzip). Each
 * form has its own strong entity tag, the first 64 bits of its SHA-256. Last-Modified is there only
 * if SOURCE_DATE_EPOCH is: a file's own time would make the result depend on the checkout.
 *
 * Block sums are Internet checksums of the first i x 256 bytes of a run, so that TCP can have the
 * checksum of any part of a value without reading it (page.h, lib/wire/csum.h).
 */
#include "cmd/mirari/crunch.h"

#include <brotli/encode.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <mirari/kv_crunch.h>

#include "dev/kv/crunch/media.h"
#include "lib/http/parse.h"

#define DEPTH_MAX 32
#define KEY_MAX   1024u
#define FILES_MAX 100000u

/* One form of a value. */
struct form {
    uint8_t *bytes; /* NULL: this encoding is not kept */
    uint32_t size;
    uint64_t at;      /* in kv_NAME.bin */
    uint64_t sums_at; /* in kv_NAME.bin */
    char etag[24];
    char head[640];
};

struct file {
    char *key;
    const struct mir__kv_media *media;
    struct form form[MIR_KV_ENCODINGS];
};

struct crunch {
    const struct crunch_options *options;
    struct crunch_report *report;
    char root[PATH_MAX]; /* real path */
    struct file *files;
    uint32_t count, capacity;
    uint64_t epoch_s; /* 0: none */
    FILE *out;
};

static int fail(struct crunch *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct crunch *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->report->error, sizeof c->report->error, fmt, args);
    va_end(args);
    return -1;
}

/* ---- walk -------------------------------------------------------------------------------------
 */

static int walk(struct crunch *c, const char *path, const char *key, int depth);

static int add_file(struct crunch *c, const char *key)
{
    if (c->count == FILES_MAX)
        return fail(c, "%s: more than %u files", c->options->dir, FILES_MAX);
    if (c->count == c->capacity) {
        uint32_t capacity = c->capacity > 0 ? 2 * c->capacity : 64;
        struct file *files = realloc(c->files, capacity * sizeof *files);
        if (files == NULL)
            return fail(c, "%s: out of memory", c->options->dir);
        c->files = files;
        c->capacity = capacity;
    }
    struct file *file = &c->files[c->count];
    memset(file, 0, sizeof *file);
    file->key = strdup(key);
    if (file->key == NULL)
        return fail(c, "%s: out of memory", c->options->dir);
    file->media = mir__kv_media_of(key, strlen(key));
    c->count++;
    return 0;
}

/* A link must end inside the folder: what is served is what the folder holds. */
static int check_link(struct crunch *c, const char *path)
{
    char real[PATH_MAX];
    size_t len = strlen(c->root);
    if (realpath(path, real) == NULL)
        return fail(c, "%s: broken symbolic link: %s", path, strerror(errno));
    if (strncmp(real, c->root, len) != 0 || (real[len] != '/' && real[len] != '\0'))
        return fail(c, "%s: symbolic link leads out of the folder, to %s", path, real);
    return 0;
}

static int walk_one(struct crunch *c, const char *path, const char *key, int depth)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return fail(c, "%s: %s", path, strerror(errno));
    if (S_ISLNK(st.st_mode)) {
        if (check_link(c, path) < 0)
            return -1;
        if (stat(path, &st) < 0)
            return fail(c, "%s: %s", path, strerror(errno));
    }
    if (S_ISDIR(st.st_mode))
        return walk(c, path, key, depth + 1);
    if (!S_ISREG(st.st_mode))
        return fail(c, "%s: neither a file nor a folder", path);
    for (const char *p = key; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return fail(c, "%s: control character in the name", path);
    }
    if (strlen(key) > KEY_MAX)
        return fail(c, "%s: name longer than %u bytes", path, KEY_MAX);
    return add_file(c, key);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In byte order, whatever the locale says. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int walk(struct crunch *c, const char *path, const char *key, int depth)
{
    struct dirent **entries;
    int r = 0;
    if (depth > DEPTH_MAX)
        return fail(c, "%s: more than %d folders deep (a link to a folder above?)", path,
                    DEPTH_MAX);
    int n = scandir(path, &entries, is_visible, by_name);
    if (n < 0)
        return fail(c, "%s: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        char *child = NULL, *child_key = NULL;
        if (asprintf(&child, "%s/%s", path, entries[i]->d_name) < 0)
            child = NULL;
        if (asprintf(&child_key, "%s%s%s", key, *key ? "/" : "", entries[i]->d_name) < 0)
            child_key = NULL;
        if (r == 0 && (child == NULL || child_key == NULL))
            r = fail(c, "%s: out of memory", path);
        else if (r == 0)
            r = walk_one(c, child, child_key, depth);
        free(child);
        free(child_key);
        free(entries[i]);
    }
    free(entries);
    return r;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->key, ((const struct file *)b)->key);
}

/* ---- read and compress --------------------------------------------------------------------------
 */

static int read_file(struct crunch *c, struct file *file)
{
    struct form *form = &file->form[MIR_KV_IDENTITY];
    uint64_t limit = c->options->max_bytes != 0 ? c->options->max_bytes : 1ull << 30;
    char *path;
    struct stat st;
    int r = -1;
    if (asprintf(&path, "%s/%s", c->options->dir, file->key) < 0)
        return fail(c, "%s: out of memory", c->options->dir);
    FILE *in = fopen(path, "rb");
    if (in == NULL || fstat(fileno(in), &st) < 0) {
        fail(c, "%s: %s", path, strerror(errno));
    } else if ((uint64_t)st.st_size > limit - c->report->bytes_in ||
               (uint64_t)st.st_size > UINT32_MAX - MIR_PAGE_SIZE) {
        fail(c, "%s: the folder holds more than %llu bytes", path, (unsigned long long)limit);
    } else {
        form->size = (uint32_t)st.st_size;
        form->bytes = malloc((size_t)form->size + 1);
        if (form->bytes == NULL)
            fail(c, "%s: out of memory", path);
        else if (fread(form->bytes, 1, (size_t)form->size + 1, in) != form->size)
            fail(c, "%s: changed while it was read", path);
        else
            r = 0;
    }
    if (in != NULL)
        fclose(in);
    free(path);
    c->report->bytes_in += form->size;
    return r;
}

/* At least 5 % smaller. */
static bool is_worth_it(size_t size, size_t original)
{
    return size <= original - (original + 19) / 20;
}

static void keep_form(struct form *form, uint8_t *bytes, size_t size, size_t limit)
{
    if (bytes == NULL || size == 0 || !is_worth_it(size, limit)) {
        free(bytes);
        return;
    }
    form->bytes = bytes;
    form->size = (uint32_t)size;
}

/* The header's time is 0 and its name absent: zlib's default. */
static void make_gzip(struct file *file)
{
    const struct form *plain = &file->form[MIR_KV_IDENTITY];
    z_stream z = {0};
    if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return;
    uLong bound = deflateBound(&z, plain->size);
    uint8_t *bytes = malloc(bound);
    z.next_in = plain->bytes;
    z.avail_in = plain->size;
    z.next_out = bytes;
    z.avail_out = (uInt)bound;
    bool is_ok = bytes != NULL && deflate(&z, Z_FINISH) == Z_STREAM_END;
    keep_form(&file->form[MIR_KV_GZIP], bytes, is_ok ? z.total_out : 0, plain->size);
    deflateEnd(&z);
}

static void make_brotli(struct file *file)
{
    const struct form *plain = &file->form[MIR_KV_IDENTITY];
    const struct form *gzip = &file->form[MIR_KV_GZIP];
    size_t size = BrotliEncoderMaxCompressedSize(plain->size);
    uint8_t *bytes = size > 0 ? malloc(size) : NULL;
    BrotliEncoderMode mode =
        strncmp(file->media->media_type, "text/", 5) == 0 ? BROTLI_MODE_TEXT : BROTLI_MODE_GENERIC;
    bool is_ok =
        bytes != NULL && BrotliEncoderCompress(BROTLI_MAX_QUALITY, BROTLI_DEFAULT_WINDOW, mode,
                                               plain->size, plain->bytes, &size, bytes);
    if (is_ok && gzip->bytes != NULL && size >= gzip->size)
        size = 0;
    keep_form(&file->form[MIR_KV_BROTLI], bytes, is_ok ? size : 0, plain->size);
}

static void make_etag(struct form *form)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256(form->bytes, form->size, digest);
    snprintf(form->etag, sizeof form->etag, "\"%02x%02x%02x%02x%02x%02x%02x%02x\"", digest[0],
             digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]);
}

static int make_head(struct crunch *c, struct file *file, enum mir_kv_encoding encoding)
{
    static const char *const codings[] = {"", "Content-Encoding: gzip\r\n",
                                          "Content-Encoding: br\r\n"};
    struct form *form = &file->form[encoding];
    const char *cache = c->options->cache_control;
    bool varies = file->form[MIR_KV_GZIP].bytes != NULL || file->form[MIR_KV_BROTLI].bytes != NULL;
    char date[MIR__HTTP_DATE_LEN + 1] = "", modified[64] = "", cached[300] = "";
    if (c->epoch_s != 0) {
        mir__http_date_emit(c->epoch_s, date);
        snprintf(modified, sizeof modified, "Last-Modified: %s\r\n", date);
    }
    if (cache == NULL)
        cache = "public, max-age=300";
    if (*cache != '\0')
        snprintf(cached, sizeof cached, "Cache-Control: %.256s\r\n", cache);
    char head[sizeof form->head];
    int n = snprintf(head, sizeof head,
                     "Content-Type: %s\r\n%sETag: %s\r\n%s%s%sAccept-Ranges: bytes\r\n",
                     file->media->media_type, codings[encoding], form->etag, modified,
                     varies ? "Vary: Accept-Encoding\r\n" : "", cached);
    if ((size_t)n >= sizeof head)
        return fail(c, "%s: header lines too long", file->key);
    memcpy(form->head, head, (size_t)n + 1);
    return 0;
}

static int make_forms(struct crunch *c, struct file *file)
{
    if (read_file(c, file) < 0)
        return -1;
    if (file->media->is_compressible) {
        make_gzip(file);
        make_brotli(file);
    }
    for (enum mir_kv_encoding e = MIR_KV_IDENTITY; e < MIR_KV_ENCODINGS; e++) {
        if (file->form[e].bytes == NULL)
            continue;
        make_etag(&file->form[e]);
        if (make_head(c, file, e) < 0)
            return -1;
    }
    return 0;
}

/* ---- layout
 * --------------------------------------------------------------------------------------- */

/* Whole blocks of the sums, each value at the beginning of one: nothing needs more, and a site of
 * small files would be three times as large with pages. An empty value has a block, too, because no
 * page means no such encoding. */
static uint64_t run_bytes(const struct form *form)
{
    uint64_t size = form->size > 0 ? form->size : 1;
    return (size + MIR_PAGE_SUM_BLOCK - 1) / MIR_PAGE_SUM_BLOCK * MIR_PAGE_SUM_BLOCK;
}

static uint64_t sum_count(const struct form *form)
{
    return run_bytes(form) / MIR_PAGE_SUM_BLOCK + 1;
}

#define FOR_EACH_FORM(c, form)                                                                     \
    for (uint32_t i__ = 0; i__ < (c)->count * MIR_KV_ENCODINGS; i__++)                             \
        for (struct form *form = &(c)->files[i__ / MIR_KV_ENCODINGS].form[i__ % MIR_KV_ENCODINGS]; \
             form != NULL; form = NULL)                                                            \
            if (form->bytes != NULL)

static void lay_out(struct crunch *c)
{
    uint64_t at = 0;
    FOR_EACH_FORM(c, form)
    {
        form->at = at;
        at += run_bytes(form);
    }
    FOR_EACH_FORM(c, form)
    {
        form->sums_at = at;
        at += 2 * sum_count(form);
    }
    c->report->bytes_out = at;
}

/* ---- files
 * ---------------------------------------------------------------------------------------- */

static void write_zeros(FILE *out, uint64_t count)
{
    for (; count > 0; count--)
        putc(0, out);
}

static uint16_t add_carry(uint32_t a, uint32_t b)
{
    uint32_t sum = a + b;
    return (uint16_t)(sum + (sum >> 16));
}

static void write_sums(FILE *out, const struct form *form)
{
    uint16_t sum = 0;
    for (uint64_t i = 0; i < sum_count(form); i++) {
        putc(sum & 0xff, out);
        putc(sum >> 8, out);
        for (uint64_t at = i * MIR_PAGE_SUM_BLOCK; at < (i + 1) * MIR_PAGE_SUM_BLOCK; at += 2) {
            uint32_t low = at < form->size ? form->bytes[at] : 0;
            uint32_t high = at + 1 < form->size ? form->bytes[at + 1] : 0;
            sum = add_carry(sum, high << 8 | low);
        }
    }
}

static void write_bin(struct crunch *c)
{
    FOR_EACH_FORM(c, form)
    {
        fwrite(form->bytes, 1, form->size, c->out);
        write_zeros(c->out, run_bytes(form) - form->size);
    }
    FOR_EACH_FORM(c, form)
    write_sums(c->out, form);
}

static void write_asm(struct crunch *c)
{
    fprintf(c->out,
            "/* Made by mirari. Assemble with -I and the folder of this file. */\n"
            "    .section .rodata.mir_kv_%1$s, \"a\", %%progbits\n"
            "    .balign %2$u\n"
            "    .globl mir__kv_%1$s_bytes\n"
            "    .hidden mir__kv_%1$s_bytes\n"
            "    .type mir__kv_%1$s_bytes, %%object\n"
            "mir__kv_%1$s_bytes:\n"
            "    .incbin \"kv_%1$s.bin\"\n"
            "    .byte 0\n"
            "    .size mir__kv_%1$s_bytes, . - mir__kv_%1$s_bytes\n"
            "    .section .note.GNU-stack, \"\", %%progbits\n",
            c->options->name, MIR_PAGE_SUM_BLOCK);
}

/* As a C text; nothing in it can end the text or begin a trigraph. */
static void write_text(FILE *out, const char *text)
{
    putc('"', out);
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p == '\r')
            fputs("\\r", out);
        else if (*p == '\n')
            fputs("\\n", out);
        else if (*p < 0x20 || *p > 0x7e || *p == '"' || *p == '\\' || *p == '?')
            fprintf(out, "\\%03o", *p);
        else
            putc(*p, out);
    }
    putc('"', out);
}

static void write_pages(struct crunch *c)
{
    fprintf(c->out,
            "/* Made by mirari. */\n#include <mirari/kv_crunch.h>\n\n"
            "extern uint8_t mir__kv_%1$s_bytes[] __attribute__((visibility(\"hidden\")));\n"
            "#define PAGE(at, size, sums_at) \\\n"
            "    {.base = mir__kv_%1$s_bytes + at, .size_bytes = size, \\\n"
            "     .flags = MIR_PAGE_STATIC | MIR_PAGE_READONLY, \\\n"
            "     .block_sums = (const uint16_t *)(const void *)(mir__kv_%1$s_bytes + sums_at)}\n"
            "static struct mir_io_page pages[] = {\n",
            c->options->name);
    FOR_EACH_FORM(c, form)
    {
        fprintf(c->out, "    PAGE(%lluu, %lluu, %lluu),\n", (unsigned long long)form->at,
                (unsigned long long)run_bytes(form), (unsigned long long)form->sums_at);
    }
    fputs("    PAGE(0, 0, 0),\n};\n\n", c->out);
}

static void write_entries(struct crunch *c)
{
    uint32_t page = 0;
    fputs("static const struct mir_kv_entry entries[] = {\n", c->out);
    for (uint32_t i = 0; i < c->count; i++) {
        const struct file *file = &c->files[i];
        fputs("    {.key = ", c->out);
        write_text(c->out, file->key);
        fprintf(c->out, ", .key_len = %zu, .media_type = ", strlen(file->key));
        write_text(c->out, file->media->media_type);
        fprintf(c->out, ", .modified_us = %lluu,\n     .body = {\n",
                (unsigned long long)c->epoch_s * 1000000);
        for (int e = 0; e < MIR_KV_ENCODINGS; e++) {
            const struct form *form = &file->form[e];
            if (form->bytes == NULL)
                continue;
            fprintf(c->out, "        [%d] = {.page = &pages[%u], .size_bytes = %uu, .etag = ", e,
                    page++, form->size);
            write_text(c->out, form->etag);
            fprintf(c->out, ",\n            .head_len = %zu, .head = ", strlen(form->head));
            write_text(c->out, form->head);
            fputs("},\n", c->out);
        }
        fputs("     }},\n", c->out);
    }
    fputs("    {.key = \"\"},\n};\n\n", c->out);
}

static uint32_t *make_slots(const struct crunch *c, uint32_t *count)
{
    *count = 2;
    while (*count < 2 * c->count)
        *count *= 2;
    uint32_t *slots = calloc(*count, sizeof *slots);
    for (uint32_t i = 0; slots != NULL && i < c->count; i++) {
        uint32_t at = mir__kv_hash(c->files[i].key, strlen(c->files[i].key));
        while (slots[at & (*count - 1)] != 0)
            at++;
        slots[at & (*count - 1)] = i + 1;
    }
    return slots;
}

static void write_tables(struct crunch *c)
{
    uint32_t count;
    uint32_t *slots = make_slots(c, &count);
    write_pages(c);
    write_entries(c);
    fputs("static const uint32_t slots[] = {", c->out);
    for (uint32_t i = 0; slots != NULL && i < count; i++)
        fprintf(c->out, "%s%u,", i % 16 == 0 ? "\n    " : " ", slots[i]);
    fprintf(c->out,
            "\n};\n\n"
            "static const struct mir_kv_crunched store = {\n"
            "    .entries = entries, .count = %uu, .slot_mask = %uu, .slots = slots};\n\n"
            "static int get(struct mir_kv *kv, const char *key, size_t key_len,\n"
            "               const struct mir_kv_entry **entry)\n"
            "{\n    (void)kv;\n    return mir_kv_crunched_get(&store, key, key_len, entry);\n}\n\n"
            "static int at(struct mir_kv *kv, uint32_t index, const struct mir_kv_entry **entry)\n"
            "{\n    (void)kv;\n    return mir_kv_crunched_at(&store, index, entry);\n}\n\n"
            "static const struct mir_kv_ops ops = {.get = get, .at = at};\n"
            "extern struct mir_kv mir_kv_%s;\n"
            "struct mir_kv mir_kv_%s = {&ops};\n",
            c->count, count - 1, c->options->name, c->options->name);
    free(slots);
}

static bool have_same_contents(const char *a, const char *b)
{
    bool are_same = false;
    FILE *fa = fopen(a, "rb");
    FILE *fb = fopen(b, "rb");
    if (fa != NULL && fb != NULL) {
        int ca, cb;
        do {
            ca = getc(fa);
            cb = getc(fb);
        } while (ca == cb && ca != EOF);
        are_same = ca == cb;
    }
    if (fa != NULL)
        fclose(fa);
    if (fb != NULL)
        fclose(fb);
    return are_same;
}

/* Through a temporary file: nobody ever sees half a file, and one that is the same keeps its time.
 */
static int write_file(struct crunch *c, const char *extension, void (*write)(struct crunch *c))
{
    char path[PATH_MAX], temporary[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/kv_%s.%s", c->options->out_dir, c->options->name,
                     extension);
    int m = snprintf(temporary, sizeof temporary, "%s/.kv_%s.%s.%ld", c->options->out_dir,
                     c->options->name, extension, (long)getpid());
    if (n >= PATH_MAX || m >= PATH_MAX)
        return fail(c, "%s: path too long", c->options->out_dir);
    c->out = fopen(temporary, "wb");
    if (c->out == NULL)
        return fail(c, "%s: %s", temporary, strerror(errno));
    write(c);
    bool is_bad = ferror(c->out) != 0;
    if (fclose(c->out) != 0 || is_bad) {
        fail(c, "%s: %s", temporary, strerror(errno));
        unlink(temporary);
        return -1;
    }
    if (have_same_contents(temporary, path)) {
        unlink(temporary);
        return 0;
    }
    if (rename(temporary, path) < 0) {
        fail(c, "%s: %s", path, strerror(errno));
        unlink(temporary);
        return -1;
    }
    return 0;
}

/* ---- all together
 * --------------------------------------------------------------------------------- */

static int check_options(struct crunch *c)
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    const char *cache = c->options->cache_control;
    const char *p = c->options->name;
    for (; *p != '\0'; p++) {
        bool is_digit = *p >= '0' && *p <= '9';
        bool is_letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_';
        if (!is_letter && (!is_digit || p == c->options->name))
            break;
    }
    if (*p != '\0' || p == c->options->name)
        return fail(c, "%s: a store's name has letters, digits and _ only", c->options->name);
    for (p = cache; p != NULL && *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e || p - cache > 250)
            return fail(c, "%s: bad value of Cache-Control", c->options->name);
    }
    if (epoch != NULL && *epoch != '\0') {
        char *end;
        errno = 0;
        c->epoch_s = strtoull(epoch, &end, 10);
        if (errno != 0 || *end != '\0' || *epoch < '0' || *epoch > '9' ||
            c->epoch_s > 253402300799ull)
            return fail(c, "SOURCE_DATE_EPOCH=%s: not a number of seconds", epoch);
    }
    return 0;
}

static int crunch(struct crunch *c)
{
    struct stat st;
    if (check_options(c) < 0)
        return -1;
    if (realpath(c->options->dir, c->root) == NULL || stat(c->root, &st) < 0)
        return fail(c, "%s: %s", c->options->dir, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return fail(c, "%s: not a folder", c->options->dir);
    if (walk(c, c->options->dir, "", 0) < 0)
        return -1;
    if (c->count > 0)
        qsort(c->files, c->count, sizeof *c->files, by_key);
    for (uint32_t i = 0; i < c->count; i++) {
        if (make_forms(c, &c->files[i]) < 0)
            return -1;
    }
    c->report->files = c->count;
    lay_out(c);
    if (write_file(c, "bin", write_bin) < 0 || write_file(c, "S", write_asm) < 0)
        return -1;
    return write_file(c, "c", write_tables);
}

int crunch_folder(const struct crunch_options *options, struct crunch_report *report)
{
    struct crunch_report unused;
    struct crunch c = {.options = options, .report = report != NULL ? report : &unused};
    *c.report = (struct crunch_report){0};
    int r = crunch(&c);
    for (uint32_t i = 0; i < c.count; i++) {
        free(c.files[i].key);
        for (int e = 0; e < MIR_KV_ENCODINGS; e++)
            free(c.files[i].form[e].bytes);
    }
    free(c.files);
    return r;
}
