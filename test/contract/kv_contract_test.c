/* SPDX-License-Identifier: ISC */
/* One contract, every key-value store: what mirari/dev_kv.h promises holds for each of them. */
#include <mirari/kv_crunch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/kv/dir/dir.h"
#include "test/harness/tap.h"
#include "test/harness/tarball.h"

/* In byte order of the keys. */
static const struct {
    const char *key, *text, *media_type;
} files[] = {
    {"a", "letter", "application/octet-stream"},
    {"a.html", "<p>page</p>", "text/html; charset=utf-8"},
    {"a.html.br", "brotli", "application/octet-stream"},
    {"a.html.gz", "gzip", "application/gzip"},
    {"aa", "", "application/octet-stream"},
    {"b/c/d.css", "p { }", "text/css; charset=utf-8"},
    {"b/c2", "two", "application/octet-stream"},
    {"caf\xc3\xa9.txt", "coffee", "text/plain; charset=utf-8"},
};
#define FILES MIR_ARRAY_LEN(files)

static struct tarball tar;
static struct tardisk disk;
static char folder[200];

/* ---- subjects ------------------------------------------------------------------------------- */

/* The tables that the tool makes, made here. */
static struct mir_kv *open_crunched(void)
{
    static struct mir_kv_entry entries[FILES];
    static struct mir_io_page pages[FILES];
    static char etags[FILES][16], heads[FILES][200];
    static uint32_t slots[32];
    static struct {
        struct mir_kv kv;
        struct mir_kv_crunched tables;
    } store;
    memset(slots, 0, sizeof slots);
    for (uint32_t i = 0; i < FILES; i++) {
        uint32_t at = mir__kv_hash(files[i].key, strlen(files[i].key));
        while (slots[at & 31] != 0)
            at++;
        slots[at & 31] = i + 1;
        pages[i] = (struct mir_io_page){.base = (uint8_t *)(uintptr_t)files[i].text,
                                        .size_bytes = (uint32_t)strlen(files[i].text),
                                        .flags = MIR_PAGE_STATIC | MIR_PAGE_READONLY};
        snprintf(etags[i], sizeof etags[i], "\"%u\"", i);
        snprintf(heads[i], sizeof heads[i], "Content-Type: %s\r\nETag: %s\r\n%s",
                 files[i].media_type, etags[i], i == 1 ? "Vary: Accept-Encoding\r\n" : "");
        entries[i] = (struct mir_kv_entry){.key = files[i].key,
                                           .key_len = (uint16_t)strlen(files[i].key),
                                           .media_type = files[i].media_type};
        entries[i].body[0] = (struct mir_kv_body){.page = &pages[i],
                                                  .size_bytes = pages[i].size_bytes,
                                                  .etag = etags[i],
                                                  .head = heads[i],
                                                  .head_len = (uint32_t)strlen(heads[i])};
    }
    for (unsigned e = 1; e < MIR_KV_ENCODINGS; e++) {
        static const char *const lines[] = {"", "Content-Encoding: gzip\r\n",
                                            "Content-Encoding: br\r\n"};
        static char form[MIR_KV_ENCODINGS][300];
        struct mir_kv_body *body = &entries[1].body[e];
        *body = entries[4 - e].body[0];
        snprintf(form[e], sizeof form[e],
                 "Content-Type: %s\r\n%sETag: %s\r\nVary: Accept-Encoding\r\n", files[1].media_type,
                 lines[e], body->etag);
        body->head = form[e];
        body->head_len = (uint32_t)strlen(form[e]);
    }
    store.tables = (struct mir_kv_crunched){
        .entries = entries, .count = FILES, .slot_mask = 31, .slots = slots};
    return &store.kv;
}

static int crunched_get(struct mir_kv *kv, const char *key, size_t key_len,
                        const struct mir_kv_entry **entry)
{
    return mir_kv_crunched_get((struct mir_kv_crunched *)(kv + 1), key, key_len, entry);
}

static int crunched_at(struct mir_kv *kv, uint32_t index, const struct mir_kv_entry **entry)
{
    return mir_kv_crunched_at((struct mir_kv_crunched *)(kv + 1), index, entry);
}

static const struct mir_kv_ops crunched_ops = {.get = crunched_get, .at = crunched_at};

static struct mir_kv *crunched(void)
{
    struct mir_kv *kv = open_crunched();
    kv->ops = &crunched_ops;
    return kv;
}

static struct mir_kv *open_dir(void)
{
    struct mir_kv_dir_config config = {.path = folder};
    struct mir_kv *kv = NULL;
    char error[300] = "", path[300];
    snprintf(folder, sizeof folder, "%s/mirari-kv-XXXXXX",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(folder) == NULL)
        abort();
    snprintf(path, sizeof path, "%s/b", folder);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/b/c", folder);
    mkdir(path, 0700);
    for (size_t i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i].key);
        FILE *file = fopen(path, "w");
        if (file == NULL || fputs(files[i].text, file) < 0 || fclose(file) != 0)
            abort();
    }
    check_int(mir_kv_dir_open(&config, &kv, error, sizeof error), ==, 0);
    return kv;
}

static void close_dir(struct mir_kv *kv)
{
    char command[300];
    mir_kv_dir_close(kv);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    check_int(system(command), ==, 0);
}

/* In an order that is not that of the keys. */
static struct mir_kv *open_tar(uint32_t block_bytes)
{
    tar.len = 0;
    for (size_t i = 0; i < FILES; i++)
        tarball_file(&tar, files[(i * 5 + 3) % FILES].key, files[(i * 5 + 3) % FILES].text);
    tarball_end(&tar);
    tardisk_open(&disk, tar.data, tar.len, block_bytes, NULL);
    check_int(disk.result, ==, 0);
    return disk.kv;
}

static struct mir_kv *open_tar_memory(void)
{
    return open_tar(0);
}

static struct mir_kv *open_tar_disk(void)
{
    return open_tar(4096);
}

static void close_tar(struct mir_kv *kv)
{
    (void)kv;
    tardisk_close(&disk);
}

static const struct {
    const char *name;
    struct mir_kv *(*open)(void);
    void (*close)(struct mir_kv *kv);
} subjects[] = {
    {"crunched", crunched, NULL},
    {"dir", open_dir, close_dir},
    {"tar", open_tar_memory, close_tar},
    {"tar on a disk", open_tar_disk, close_tar},
};

/* ---- the contract --------------------------------------------------------------------------- */

static void check_lookup(struct mir_kv *kv)
{
    static const char *const absent[] = {"",         "b",          "b/", "b/c", "a.htm",
                                         "a.html.g", "a.html.gz2", "A",  "z",   "../a"};
    const struct mir_kv_entry *entry, *same;
    for (uint32_t i = 0; i < FILES; i++) {
        if (!check_int(mir_kv_at(kv, i, &entry), ==, 0))
            continue;
        check_str(entry->key, files[i].key);
        check_int(entry->key_len, ==, strlen(files[i].key));
        /* Keys have a length, not an end. */
        char longer[100];
        snprintf(longer, sizeof longer, "%sX", files[i].key);
        check_int(mir_kv_get(kv, longer, strlen(longer) - 1, &same), ==, 0);
        check(same == entry);
    }
    entry = NULL;
    check_int(mir_kv_at(kv, FILES, &entry), ==, -MIR_ENOENT);
    check_int(mir_kv_at(kv, UINT32_MAX, &entry), ==, -MIR_ENOENT);
    for (size_t i = 0; i < MIR_ARRAY_LEN(absent); i++)
        check_int(mir_kv_get(kv, absent[i], strlen(absent[i]), &entry), ==, -MIR_ENOENT);
    check(entry == NULL);
}

static void check_body(const struct mir_kv_body *body, const char *text, const char *media_type)
{
    char line[100];
    size_t len = strlen(text), etag_len = strlen(body->etag);
    check_int(body->size_bytes, ==, len);
    check(body->page != NULL && body->page->size_bytes >= len);
    check_mem(body->page->base, text, len);
    check(body->page->flags & MIR_PAGE_READONLY);
    check(etag_len > 2 && body->etag[0] == '"' && body->etag[etag_len - 1] == '"');
    check_int(strlen(body->head), ==, body->head_len);
    snprintf(line, sizeof line, "Content-Type: %s\r\n", media_type);
    check(strstr(body->head, line) != NULL);
    snprintf(line, sizeof line, "ETag: %s\r\n", body->etag);
    check(strstr(body->head, line) != NULL);
    check(strcmp(body->head + body->head_len - 2, "\r\n") == 0);
    check(strstr(body->head, "\r\n\r\n") == NULL);
}

static void check_values(struct mir_kv *kv)
{
    const struct mir_kv_entry *entry;
    for (uint32_t i = 0; i < FILES; i++) {
        if (!check_int(mir_kv_get(kv, files[i].key, strlen(files[i].key), &entry), ==, 0))
            continue;
        check_str(entry->media_type, files[i].media_type);
        check_body(&entry->body[MIR_KV_IDENTITY], files[i].text, files[i].media_type);
        check((entry->body[MIR_KV_GZIP].page != NULL) == (i == 1));
    }
}

static void check_forms(struct mir_kv *kv)
{
    const struct mir_kv_entry *entry;
    check_int(mir_kv_get(kv, "a.html", 6, &entry), ==, 0);
    check_body(&entry->body[MIR_KV_BROTLI], "brotli", "text/html; charset=utf-8");
    check_body(&entry->body[MIR_KV_GZIP], "gzip", "text/html; charset=utf-8");
    check(strstr(entry->body[MIR_KV_BROTLI].head, "Content-Encoding: br\r\n") != NULL);
    check(strstr(entry->body[MIR_KV_GZIP].head, "Content-Encoding: gzip\r\n") != NULL);
    for (unsigned e = 0; e < MIR_KV_ENCODINGS; e++)
        check(strstr(entry->body[e].head, "Vary: Accept-Encoding\r\n") != NULL);
    check(strcmp(entry->body[0].etag, entry->body[1].etag) != 0);
    check(strcmp(entry->body[1].etag, entry->body[2].etag) != 0);
}

int main(void)
{
    tap_begin("kv_contract");
    tarball_init(&tar);
    for (size_t i = 0; i < MIR_ARRAY_LEN(subjects); i++) {
        tap_case("%s: look-up and listing", subjects[i].name);
        struct mir_kv *kv = subjects[i].open();
        if (!check(kv != NULL))
            continue;
        check_lookup(kv);
        tap_case("%s: values", subjects[i].name);
        check_values(kv);
        tap_case("%s: compressed forms", subjects[i].name);
        check_forms(kv);
        if (subjects[i].close != NULL)
            subjects[i].close(kv);
    }
    tarball_fini(&tar);
    return tap_done();
}
