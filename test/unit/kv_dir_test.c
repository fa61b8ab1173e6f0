/* SPDX-License-Identifier: ISC */
/* The store over a folder: what is mapped, what is refused, nothing left open. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/kv/dir/dir.h"
#include "test/harness/tap.h"

static char base[200];
static char error[300];

static const char *in_base(const char *name)
{
    static char paths[4][400];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static void put_file(const char *name, const char *text)
{
    FILE *f = fopen(in_base(name), "wb");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
        abort();
}

static int count_descriptors(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir != NULL && readdir(dir) != NULL)
        n++;
    if (dir != NULL)
        closedir(dir);
    return n;
}

static int open_store(uint32_t files_max, struct mir_kv **kv)
{
    struct mir_kv_dir_config config = {.path = base, .files_max = files_max};
    error[0] = '\0';
    return mir_kv_dir_open(&config, kv, error, sizeof error);
}

static void test_good(void)
{
    struct mir_kv *kv;
    const struct mir_kv_entry *entry;
    tap_case("files, folders, links inside, compressed forms beside");
    mkdir(in_base("sub"), 0755);
    put_file("index.html", "<h1>x</h1>");
    put_file("index.html.gz", "zzz");
    put_file("index.html.br", "b");
    put_file("sub/a.txt", "abc");
    put_file("empty", "");
    put_file(".hidden", "secret");
    check(symlink("sub/a.txt", in_base("link")) == 0);
    int before = count_descriptors();
    check_int(open_store(0, &kv), ==, 0);
    check_int(count_descriptors(), ==, before);
    static const char *const keys[] = {"empty",         "index.html", "index.html.br",
                                       "index.html.gz", "link",       "sub/a.txt"};
    for (uint32_t i = 0; i < 6; i++) {
        check_int(mir_kv_at(kv, i, &entry), ==, 0);
        check_str(entry->key, keys[i]);
        check_int(mir_kv_get(kv, keys[i], strlen(keys[i]), &entry), ==, 0);
        check_str(entry->key, keys[i]);
    }
    check_int(mir_kv_at(kv, 6, &entry), ==, -MIR_ENOENT);
    check_int(mir_kv_get(kv, "../x", 4, &entry), ==, -MIR_ENOENT);
    check_int(mir_kv_get(kv, ".hidden", 7, &entry), ==, -MIR_ENOENT);
    tap_case("values and lines");
    check_int(mir_kv_get(kv, "index.html", 10, &entry), ==, 0);
    check_mem(entry->body[0].page->base, "<h1>x</h1>", 10);
    check_int(entry->body[1].size_bytes, ==, 3);
    check_int(entry->body[2].size_bytes, ==, 1);
    check(strstr(entry->body[1].head, "Content-Encoding: gzip\r\n") != NULL);
    check(strstr(entry->body[1].head, "Content-Type: text/html") != NULL);
    check(strstr(entry->body[0].head, "Vary: ") != NULL);
    check(strstr(entry->body[0].head, "Last-Modified: ") != NULL);
    check(entry->modified_us > 0);
    check_int(mir_kv_get(kv, "empty", 5, &entry), ==, 0);
    check(entry->body[0].page != NULL && entry->body[0].size_bytes == 0);
    mir_kv_dir_close(kv);
}

static void test_bad(void)
{
    struct mir_kv *kv;
    tap_case("limits and foreign things are refused with their path");
    check_int(open_store(3, &kv), ==, -MIR_ELIMIT);
    check(symlink("/etc/passwd", in_base("out")) == 0);
    check_int(open_store(0, &kv), ==, -MIR_EINVAL);
    check(strstr(error, "/out: symbolic link") != NULL);
    unlink(in_base("out"));
    check(symlink(".", in_base("loop")) == 0);
    check_int(open_store(0, &kv), ==, -MIR_ELIMIT);
    unlink(in_base("loop"));
    check(mkfifo(in_base("pipe"), 0644) == 0);
    check_int(open_store(0, &kv), ==, -MIR_EINVAL);
    unlink(in_base("pipe"));
    struct mir_kv_dir_config config = {.path = "/nonexistent/folder"};
    check_int(mir_kv_dir_open(&config, &kv, error, sizeof error), ==, -MIR_ENOENT);
    check_str(error, "/nonexistent/folder: No such file or directory");
}

int main(void)
{
    char command[300];
    tap_begin("kv_dir");
    snprintf(base, sizeof base, "%s/mirari-dir-XXXXXX",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(base) == NULL)
        return 1;
    test_good();
    test_bad();
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    if (system(command) != 0)
        tap_note("%s is left", base);
    return tap_done();
}
