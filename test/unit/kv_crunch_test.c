/* SPDX-License-Identifier: ISC */
/* Crunching a folder: the same bytes from the same contents, and a store that works when compiled.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>
#include <zlib.h>

#include <brotli/decode.h>

#include "cmd/mirari/crunch.c"
#include "test/harness/tap.h"

static char base[200];

static const char *in_base(const char *name)
{
    static char paths[8][600];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static void put_file(const char *name, const void *data, size_t len)
{
    FILE *f = fopen(in_base(name), "wb");
    if (f == NULL || fwrite(data, 1, len, f) != len || fclose(f) != 0)
        abort();
}

static char *get_file(const char *name, size_t *len)
{
    FILE *f = fopen(in_base(name), "rb");
    char *data = calloc(1, 8 << 20);
    if (f == NULL || data == NULL)
        abort();
    *len = fread(data, 1, (8 << 20) - 1, f);
    fclose(f);
    return data;
}

static bool are_equal(const char *a, const char *b)
{
    return have_same_contents(in_base(a), in_base(b));
}

static char page_text[40000];
static uint8_t noise[10001];

static void fill_folder(const char *name, bool is_reversed)
{
    static const char *const files[] = {"index.html", "a.css", "sub/b.html", "z \"q\\?\?/t.txt"};
    char path[300];
    mkdir(in_base(name), 0755);
    snprintf(path, sizeof path, "%s/sub", name);
    mkdir(in_base(path), 0755);
    snprintf(path, sizeof path, "%s/z \"q\\?\?", name);
    mkdir(in_base(path), 0755);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", name, files[is_reversed ? 3 - i : i]);
        put_file(path, page_text, sizeof page_text / (size_t)(is_reversed ? 4 - i : i + 1));
        struct utimbuf times = {1000000000 + i, 1000000000 + i + is_reversed};
        utime(in_base(path), &times);
    }
    snprintf(path, sizeof path, "%s/noise.png", name);
    put_file(path, noise, sizeof noise);
    snprintf(path, sizeof path, "%s/noise.txt", name);
    put_file(path, noise, sizeof noise);
    snprintf(path, sizeof path, "%s/empty", name);
    put_file(path, "", 0);
    snprintf(path, sizeof path, "%s/.hidden", name);
    put_file(path, "x", 1);
    snprintf(path, sizeof path, "%s/link.html", name);
    unlink(in_base(path));
    if (symlink("sub/b.html", in_base(path)) < 0)
        abort();
}

static int run(const char *name, const char *dir, const char *out, struct crunch_report *report)
{
    struct crunch_options options = {.name = name, .dir = in_base(dir), .out_dir = in_base(out)};
    mkdir(in_base(out), 0755);
    return crunch_folder(&options, report);
}

static void test_reproducible(void)
{
    struct crunch_report report;
    struct stat before, after;
    tap_case("the same contents give the same bytes, whatever order, times and place");
    fill_folder("one", false);
    fill_folder("two", true);
    check_int(run("site", "one", "out1", &report), ==, 0);
    check_int(report.files, ==, 8);
    check_int(run("site", "two", "out2", &report), ==, 0);
    check(are_equal("out1/kv_site.bin", "out2/kv_site.bin"));
    check(are_equal("out1/kv_site.S", "out2/kv_site.S"));
    check(are_equal("out1/kv_site.c", "out2/kv_site.c"));
    tap_case("nothing changed: the files are not touched; no temporary files are left");
    stat(in_base("out1/kv_site.c"), &before);
    check_int(run("site", "one", "out1", &report), ==, 0);
    stat(in_base("out1/kv_site.c"), &after);
    check(before.st_ino == after.st_ino && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    struct dirent **names;
    int n = scandir(in_base("out1"), &names, NULL, NULL);
    check_int(n, ==, 5);
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    tap_case("one byte more shows");
    put_file("two/empty", "x", 1);
    check_int(run("site", "two", "out2", &report), ==, 0);
    check(!are_equal("out1/kv_site.bin", "out2/kv_site.bin"));
    tap_case("SOURCE_DATE_EPOCH becomes Last-Modified; nonsense there is an error");
    size_t len;
    setenv("SOURCE_DATE_EPOCH", "784111777", 1);
    check_int(run("site", "one", "out3", &report), ==, 0);
    char *text = get_file("out3/kv_site.c", &len);
    check(strstr(text, "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT") != NULL);
    free(text);
    setenv("SOURCE_DATE_EPOCH", "yesterday", 1);
    check_int(run("site", "one", "out3", &report), ==, -1);
    check(strstr(report.error, "SOURCE_DATE_EPOCH") != NULL);
    unsetenv("SOURCE_DATE_EPOCH");
    text = get_file("out1/kv_site.c", &len);
    check(strstr(text, "Last-Modified") == NULL);
    free(text);
}

static void test_errors(void)
{
    struct crunch_report report;
    tap_case("errors name the path: no folder, a file, a link out, a broken link, a pipe, a name");
    check_int(run("x", "nowhere", "out4", &report), ==, -1);
    check(strstr(report.error, "nowhere") != NULL);
    put_file("plain", "x", 1);
    check_int(run("x", "plain", "out4", &report), ==, -1);
    check(strstr(report.error, "not a folder") != NULL);
    mkdir(in_base("bad"), 0755);
    check(symlink("/etc/passwd", in_base("bad/out")) == 0);
    check_int(run("x", "bad", "out4", &report), ==, -1);
    check(strstr(report.error, "bad/out") != NULL && strstr(report.error, "leads out") != NULL);
    unlink(in_base("bad/out"));
    check(symlink("nothing", in_base("bad/broken")) == 0);
    check_int(run("x", "bad", "out4", &report), ==, -1);
    check(strstr(report.error, "bad/broken") != NULL);
    unlink(in_base("bad/broken"));
    check(symlink("..", in_base("bad/up")) == 0);
    check_int(run("x", "bad", "out4", &report), ==, -1);
    unlink(in_base("bad/up"));
    check(symlink(".", in_base("bad/loop")) == 0);
    check_int(run("x", "bad", "out4", &report), ==, -1);
    check(strstr(report.error, "deep") != NULL);
    unlink(in_base("bad/loop"));
    check(mkfifo(in_base("bad/pipe"), 0644) == 0);
    check_int(run("x", "bad", "out4", &report), ==, -1);
    check(strstr(report.error, "bad/pipe") != NULL);
    unlink(in_base("bad/pipe"));
    put_file("bad/new\nline", "x", 1);
    check_int(run("x", "bad", "out4", &report), ==, -1);
    unlink(in_base("bad/new\nline"));
    check_int(run("1x", "bad", "out4", &report), ==, -1);
    check_int(run("a-b", "bad", "out4", &report), ==, -1);
    check_int(run("", "bad", "out4", &report), ==, -1);
    struct crunch_options options = {
        .name = "x", .dir = in_base("one"), .out_dir = in_base("out4"), .max_bytes = 1000};
    check_int(crunch_folder(&options, &report), ==, -1);
    check(strstr(report.error, "1000 bytes") != NULL);
    tap_case("an empty folder makes an empty store");
    check_int(run("x", "bad", "out4", &report), ==, 0);
    check_int(report.files, ==, 0);
}

/* ---- the compiled store
 * -------------------------------------------------------------------------- */

static struct mir_kv *load(const char *out, const char *name)
{
    char command[2000];
    snprintf(command, sizeof command,
             "${CC:-cc} -Wall -Wextra -Werror -Wcast-qual -std=gnu11 -shared -fPIC -Iinclude -I. "
             "-I'%s' -o '%s/kv.so' "
             "'%s/kv_%s.c' '%s/kv_%s.S' dev/kv/crunch/crunch.c",
             in_base(out), in_base(out), in_base(out), name, in_base(out), name);
    if (!check_int(system(command), ==, 0))
        return NULL;
    void *so = dlopen(in_base("out1/kv.so"), RTLD_NOW);
    if (so == NULL) {
        tap_note("%s", dlerror());
        return NULL;
    }
    return dlsym(so, "mir_kv_site");
}

static void inflate_and_compare(const struct mir_kv_body *body, const void *plain, size_t len)
{
    static uint8_t out[100000];
    z_stream z = {.next_in = body->page->base,
                  .avail_in = body->size_bytes,
                  .next_out = out,
                  .avail_out = sizeof out};
    check_int(inflateInit2(&z, 15 + 16), ==, Z_OK);
    check_int(inflate(&z, Z_FINISH), ==, Z_STREAM_END);
    check_int(z.total_out, ==, len);
    check_mem(out, plain, len);
    inflateEnd(&z);
}

/* The sum of any range that begins and ends at a block, from two block sums. */
static void check_sums(const struct mir_kv_body *body)
{
    const struct mir_io_page *page = body->page;
    int wrong = 0;
    for (uint32_t i = 0; i <= page->size_bytes / 256; i++) {
        uint64_t sum = 0;
        for (uint32_t at = 0; at < i * 256; at += 2)
            sum += (uint32_t)(page->base[at] | page->base[at + 1] << 8);
        while (sum >> 16)
            sum = (sum & 0xffff) + (sum >> 16);
        wrong += sum % 0xffff != page->block_sums[i] % 0xffff;
    }
    check_int(wrong, ==, 0);
}

static void test_store(void)
{
    const struct mir_kv_entry *entry;
    tap_case("the generated sources compile without warnings and load");
    struct mir_kv *kv = load("out1", "site");
    if (!check(kv != NULL))
        return;
    tap_case("every file is found, nothing else is; the order is that of the keys");
    static const char *const keys[] = {"a.css",     "empty",     "index.html", "link.html",
                                       "noise.png", "noise.txt", "sub/b.html", "z \"q\\?\?/t.txt"};
    for (uint32_t i = 0; i < 8; i++) {
        check_int(mir_kv_at(kv, i, &entry), ==, 0);
        check_str(entry->key, keys[i]);
        check_int(mir_kv_get(kv, keys[i], strlen(keys[i]), &entry), ==, 0);
        check_str(entry->key, keys[i]);
    }
    check_int(mir_kv_at(kv, 8, &entry), ==, -MIR_ENOENT);
    check_int(mir_kv_get(kv, ".hidden", 7, &entry), ==, -MIR_ENOENT);
    check_int(mir_kv_get(kv, "", 0, &entry), ==, -MIR_ENOENT);
    check_int(mir_kv_get(kv, "index.htm", 9, &entry), ==, -MIR_ENOENT);
    check_int(mir_kv_get(kv, "index.html0", 11, &entry), ==, -MIR_ENOENT);
    tap_case("values: pages, forms, sums, lines");
    check_int(mir_kv_get(kv, "index.html", 10, &entry), ==, 0);
    const struct mir_kv_body *body = entry->body;
    check_int(body[0].size_bytes, ==, sizeof page_text);
    check_mem(body[0].page->base, page_text, sizeof page_text);
    check_int((uintptr_t)body[0].page->base % MIR_PAGE_SUM_BLOCK, ==, 0);
    inflate_and_compare(&body[MIR_KV_GZIP], page_text, sizeof page_text);
    static uint8_t out[100000];
    size_t len = sizeof out;
    check_int(BrotliDecoderDecompress(body[2].size_bytes, body[2].page->base, &len, out), ==,
              BROTLI_DECODER_RESULT_SUCCESS);
    check_int(len, ==, sizeof page_text);
    check_mem(out, page_text, sizeof page_text);
    check_int(body[2].size_bytes, <, body[1].size_bytes);
    for (int i = 0; i < 3; i++)
        check_sums(&body[i]);
    check(strcmp(body[0].etag, body[1].etag) != 0 && strcmp(body[1].etag, body[2].etag) != 0);
    check_int(body[1].head_len, ==, strlen(body[1].head));
    check(strstr(body[1].head, "Content-Encoding: gzip\r\n") != NULL);
    check(strstr(body[1].head, "Vary: Accept-Encoding\r\n") != NULL);
    check(strstr(body[1].head, body[1].etag) != NULL);
    check(strstr(body[0].head, "Content-Type: text/html; charset=utf-8\r\n") == body[0].head);
    tap_case("what does not shrink has no other form; an empty value has a page");
    check_int(mir_kv_get(kv, "noise.png", 9, &entry), ==, 0);
    check(entry->body[1].page == NULL && entry->body[2].page == NULL);
    check_int(mir_kv_get(kv, "noise.txt", 9, &entry), ==, 0);
    check(entry->body[1].page == NULL && entry->body[2].page == NULL);
    check_mem(entry->body[0].page->base, noise, sizeof noise);
    check_int(entry->body[0].page->base[sizeof noise], ==, 0);
    check_sums(&entry->body[0]);
    check_int(mir_kv_get(kv, "empty", 5, &entry), ==, 0);
    check(entry->body[0].page != NULL && entry->body[0].size_bytes == 0);
    check_str(entry->media_type, "application/octet-stream");
}

int main(void)
{
    uint32_t seed = 1;
    tap_begin("kv_crunch");
    for (size_t i = 0; i < sizeof page_text; i++)
        page_text[i] = "some words of which a page is made\n"[i * i / 7 % 35];
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
    snprintf(base, sizeof base, "%s/mirari-crunch-XXXXXX",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(base) == NULL)
        return 1;
    unsetenv("SOURCE_DATE_EPOCH");
    test_reproducible();
    test_errors();
    test_store();
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    if (system(command) != 0)
        tap_note("%s is left", base);
    return tap_done();
}
