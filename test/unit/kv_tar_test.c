/* SPDX-License-Identifier: ISC */
/* Archives as stores: the formats there are, and everything that can be wrong with one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/harness/tap.h"
#include "test/harness/tarball.h"

static struct tarball tar;
static struct tardisk disk;

static void begin(void)
{
    tar.len = 0;
}

static void open_memory(void)
{
    tardisk_open(&disk, tar.data, tar.len, 0, NULL);
}

/* The archive is refused with @result and a line that has @why in it; on a disk as in memory. */
static void check_refused(int result, const char *why)
{
    static const uint32_t sizes[] = {0, 512, 4096};
    for (unsigned i = 0; i < MIR_ARRAY_LEN(sizes); i++) {
        /* A last block that is filled up with zeroes may make an end mark. */
        if (result == -MIR_ETRUNCATED && sizes[i] > 512)
            continue;
        tardisk_open(&disk, tar.data, tar.len, sizes[i], NULL);
        check_int(disk.result, ==, result);
        if (!check(strstr(disk.error, why) != NULL))
            tap_note("%s", disk.error);
        tardisk_close(&disk);
    }
}

static const struct mir_kv_entry *get(const char *key)
{
    const struct mir_kv_entry *entry = NULL;
    return disk.result == 0 && mir_kv_get(disk.kv, key, strlen(key), &entry) == 0 ? entry : NULL;
}

static void check_value(const char *key, const char *text)
{
    const struct mir_kv_entry *entry = get(key);
    if (!check(entry != NULL)) {
        tap_note("%s: %s", key, disk.error);
        return;
    }
    check_str(entry->key, key);
    check_int(entry->body[0].size_bytes, ==, strlen(text));
    check_mem(entry->body[0].page->base, text, strlen(text));
}

/* ---- what is good --------------------------------------------------------------------------- */

static void test_names(void)
{
    char name[300], half[101];
    tap_case("names: parts, prefixes, extended headers, those of GNU");
    begin();
    tarball_header(&tar, "./", '5', 0);
    tarball_file(&tar, "./index.html", "root");
    tarball_header(&tar, "./sub//", '5', 0);
    tarball_file(&tar, "sub/.//a", "in a folder");
    memset(half, 'n', 100);
    half[100] = '\0';
    uint8_t *header = tarball_header(&tar, half, '0', 1);
    memcpy(header + 345, "first/second", 12);
    tarball_sum(header);
    tarball_body(&tar, "p", 1);
    tarball_record(&tar, 'x', "path", "a name \xc3\xa9 = of pax");
    tarball_file(&tar, "short", "pax");
    header = tarball_header(&tar, "././@LongLink", 'L', 201);
    memcpy(header + 257, "ustar  ", 8);
    tarball_sum(header);
    memset(name, 'g', 200);
    name[200] = '\0';
    tarball_body(&tar, name, 201);
    header = tarball_header(&tar, "cut", '0', 3);
    memcpy(header + 257, "ustar  ", 8);
    memcpy(header + 345, "14000000000", 12); /* a time of GNU, not a prefix */
    tarball_sum(header);
    tarball_body(&tar, "gnu", 3);
    tarball_file(&tar, "next", "its own name again");
    tarball_end(&tar);
    open_memory();
    check_value("index.html", "root");
    check_value("sub/a", "in a folder");
    check_value("a name \xc3\xa9 = of pax", "pax");
    check_value(name, "gnu");
    check_value("next", "its own name again");
    snprintf(name, sizeof name, "first/second/%s", half);
    check_value(name, "p");
    check(get("short") == NULL && get("sub") == NULL && get("") == NULL && get("cut") == NULL);
    tardisk_close(&disk);
}

static void test_values(void)
{
    const struct mir_kv_entry *entry;
    tap_case("the last of several counts; hidden ones are left out; empty ones are there");
    begin();
    tarball_file(&tar, "twice", "old and longer");
    tarball_file(&tar, "empty", "");
    tarball_file(&tar, ".hidden", "secret");
    tarball_file(&tar, ".git/config", "secret");
    tarball_file(&tar, "twice", "new");
    tarball_header(&tar, "old-type", '\0', 3);
    tarball_body(&tar, "v7.", 3);
    tarball_header(&tar, "contiguous", '7', 3);
    tarball_body(&tar, "777", 3);
    tarball_end(&tar);
    open_memory();
    check_value("twice", "new");
    check_value("empty", "");
    check_value("old-type", "v7.");
    check_value("contiguous", "777");
    check(get(".hidden") == NULL && get(".git/config") == NULL);
    check_int(mir_kv_at(disk.kv, 3, &entry), ==, 0);
    check_int(mir_kv_at(disk.kv, 4, &entry), ==, -MIR_ENOENT);
    tardisk_close(&disk);
}

static void test_numbers(void)
{
    char etag[2][64];
    tap_case("sizes and times in base 256, in extended headers, in blanks");
    begin();
    uint8_t *header = tarball_header(&tar, "binary", '0', 0);
    memset(header + 124, 0, 12);
    header[124] = 0x80;
    header[135] = 5;
    memset(header + 136, 0xff, 12); /* before 1970 */
    tarball_sum(header);
    tarball_body(&tar, "five.", 5);
    tarball_record(&tar, 'x', "size", "3");
    tarball_header(&tar, "pax", '0', 0);
    tarball_body(&tar, "abc", 3);
    tarball_record(&tar, 'x', "mtime", "1000000000.123");
    header = tarball_header(&tar, "blanks.html", '0', 0);
    memcpy(header + 124, "         2 ", 12);
    tarball_sum(header);
    tarball_body(&tar, "ok", 2);
    tarball_record(&tar, 'g', "comment", "as git does");
    tarball_file(&tar, "last", "x");
    tarball_end(&tar);
    open_memory();
    check_value("binary", "five.");
    check_value("pax", "abc");
    check_value("blanks.html", "ok");
    check_value("last", "x");
    if (disk.result == 0) {
        check_int(get("binary")->modified_us, ==, 0);
        check(get("blanks.html")->modified_us == 1000000000ull * MIR_US_PER_S);
        check(strstr(get("blanks.html")->body[0].head, "Sun, 09 Sep 2001 01:46:40 GMT") != NULL);
        check(get("last")->modified_us == 014000000000ull * MIR_US_PER_S);
        snprintf(etag[0], sizeof etag[0], "%s", get("last")->body[0].etag);
    }
    tardisk_close(&disk);
    tap_case("contents that change within a second have another entity tag");
    tar.data[tar.len - 3 * 512] = 'y';
    open_memory();
    snprintf(etag[1], sizeof etag[1], "%s", get("last")->body[0].etag);
    check(strcmp(etag[0], etag[1]) != 0);
    tardisk_close(&disk);
}

/* Files of sizes around those of blocks, windows and requests; what lies behind the end mark. */
static void test_disks(void)
{
    static const uint32_t sizes[] = {1, 511, 512, 513, 4096, 65535, 65536, 65537, 200000};
    static const uint32_t blocks[] = {512, 1024, 4096};
    static uint8_t bytes[200000];
    char name[20];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    begin();
    for (unsigned i = 0; i < MIR_ARRAY_LEN(sizes); i++) {
        snprintf(name, sizeof name, "%u", sizes[i]);
        tarball_header(&tar, name, '0', sizes[i]);
        tarball_body(&tar, bytes, sizes[i]);
        tarball_file(&tar, "small", "between");
    }
    tarball_end(&tar);
    tarball_body(&tar, "not an archive any more", 23);
    for (unsigned b = 0; b < MIR_ARRAY_LEN(blocks); b++) {
        tap_case("a disk with blocks of %u bytes", blocks[b]);
        tardisk_open(&disk, tar.data, tar.len, blocks[b], NULL);
        memset(disk.memory, 0, tar.len); /* the store does not need it any more */
        check_value("small", "between");
        for (unsigned i = 0; i < MIR_ARRAY_LEN(sizes); i++) {
            snprintf(name, sizeof name, "%u", sizes[i]);
            const struct mir_kv_entry *entry = get(name);
            if (!check(entry != NULL && entry->body[0].size_bytes == sizes[i]))
                continue;
            check_mem(entry->body[0].page->base, bytes, sizes[i]);
        }
        tardisk_close(&disk);
    }
}

/* ---- what is not ---------------------------------------------------------------------------- */

static void good_begin(void)
{
    begin();
    tarball_file(&tar, "first", "good");
}

static void test_headers(void)
{
    tap_case("every bit of a header counts, but those that mean nothing");
    unsigned changed = 0, refused = 0;
    good_begin();
    tarball_end(&tar);
    for (unsigned bit = 0; bit < 512 * 8; bit++) {
        tar.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        open_memory();
        changed++;
        refused += disk.result < 0;
        tardisk_close(&disk);
        tar.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* Of the checksum's own text the leading zero as a blank, and the NUL behind it as one. */
    check_int(changed - refused, <=, 4);

    tap_case("numbers that are none");
    good_begin();
    uint8_t *header = tarball_header(&tar, "x", '0', 0);
    memcpy(header + 124, "00000000008", 12);
    tarball_sum(header);
    tarball_end(&tar);
    check_refused(-MIR_EMALFORMED, "size of a file is no number");
    memset(header + 124, 0xff, 12);
    tarball_sum(header);
    check_refused(-MIR_EMALFORMED, "size of a file is no number");
    header[124] = 0x80;
    tarball_sum(header);
    check_refused(-MIR_EMALFORMED, "size of a file is no number");
    memset(header + 124, 0, 12);
    header[124] = 0x80;
    memset(header + 128, 0x7f, 8);
    tarball_sum(header);
    check_refused(-MIR_ETRUNCATED, "ends inside a file");
    memset(header + 128, 0, 8);
    header[131] = 1; /* 4 GiB */
    tarball_sum(header);
    check_refused(-MIR_ETRUNCATED, "ends inside a file");
}

static void test_ends(void)
{
    tap_case("nothing, zeroes, something else");
    begin();
    check_refused(-MIR_ETRUNCATED, "ends without its end mark");
    tarball_end(&tar);
    check_refused(-MIR_ENOENT, "begins with zeroes");
    begin();
    memset(tar.data, 0x1f, 4096);
    tar.len = 4096;
    check_refused(-MIR_EMALFORMED, "no tar archive; if it is compressed");

    tap_case("cut at every block");
    begin();
    tarball_file(&tar, "a", "1");
    tarball_record(&tar, 'x', "path", "b");
    tarball_file(&tar, "b", "2");
    size_t whole = tar.len;
    for (tar.len = 512; tar.len <= whole; tar.len += 512)
        check_refused(-MIR_ETRUNCATED, "the archive ends");
    tap_case("one block of zeroes is no end mark");
    memset(tar.data + whole, 0, 512);
    tar.len = whole + 512;
    check_refused(-MIR_ETRUNCATED, "without its end mark");
    tarball_file(&tar, "c", "3");
    tarball_end(&tar);
    check_refused(-MIR_EMALFORMED, "a block of zeroes between files");
    tap_case("a header where contents were told to end");
    begin();
    tarball_header(&tar, "a", '0', 600);
    tarball_body(&tar, "1", 1);
    tarball_file(&tar, "b", "2");
    tarball_end(&tar);
    check_refused(-MIR_EMALFORMED, "no header of a file where one has to be");
}

static void check_name(const char *name, int result, const char *why)
{
    good_begin();
    tarball_record(&tar, 'x', "path", name);
    tarball_file(&tar, "x", "y");
    tarball_end(&tar);
    check_refused(result, why);
}

static void test_bad_names(void)
{
    char name[2100];
    tap_case("names that lead elsewhere, or are none");
    check_name("/etc/passwd", -MIR_EMALFORMED, "begins with a slash");
    check_name("a/../b", -MIR_EMALFORMED, "\"..\"");
    check_name("..", -MIR_EMALFORMED, "\"..\"");
    check_name("a\nb", -MIR_EMALFORMED, "control character");
    check_name("./", -MIR_EMALFORMED, "without a name");
    check_name("", -MIR_EMALFORMED, "without a name");
    tap_case("overlong names");
    memset(name, 'a', sizeof name);
    name[1024] = '\0';
    check_name(name, -MIR_ETOOBIG, "longer than 1,024 bytes");
    name[1023] = '\0';
    begin();
    tarball_record(&tar, 'x', "path", name);
    tarball_file(&tar, "x", "y");
    tarball_end(&tar);
    open_memory();
    check_value(name, "y");
    tardisk_close(&disk);
}

static void check_records(const char *records, const char *why)
{
    good_begin();
    tarball_header(&tar, "ext", 'x', strlen(records));
    tarball_body(&tar, records, strlen(records));
    tarball_file(&tar, "x", "y");
    tarball_end(&tar);
    check_refused(-MIR_EMALFORMED, why);
}

static void test_extended(void)
{
    tap_case("records of extended headers that are none");
    check_records("x", "bad record");
    check_records("8 path=a\n", "bad record");
    check_records("12 path=abcd\n", "bad record");
    check_records("99999999999999999999999 path=a\n", "bad record");
    check_records("0 a=b\n", "bad record");
    check_records("2 \n", "bad record");
    check_records("7 =abc\n", "without a key");
    check_records("7 abcd\n", "without a key");
    check_records("9 size=x\n", "size is no number");
    check_records("10 mode=-\n\n", "bad record");
    tap_case("what cannot be served");
    good_begin();
    tarball_record(&tar, 'x', "GNU.sparse.major", "1");
    tarball_file(&tar, "x", "y");
    tarball_end(&tar);
    check_refused(-MIR_ENOTSUP, "sparse");
    good_begin();
    tarball_record(&tar, 'g', "path", "all the same");
    tarball_file(&tar, "x", "y");
    tarball_end(&tar);
    check_refused(-MIR_ENOTSUP, "global");
    static const char types[] = "12346SVMDNA";
    for (unsigned i = 0; i < sizeof types - 1; i++) {
        good_begin();
        tarball_header(&tar, "odd", types[i], 0);
        tarball_end(&tar);
        check_refused(-MIR_ENOTSUP, i < 2 ? "--dereference" : "neither a file nor a folder");
    }
    tap_case("an extended header longer than anything can need");
    good_begin();
    tarball_header(&tar, "ext", 'x', 32769);
    tar.len += 33280;
    tarball_end(&tar);
    check_refused(-MIR_ETOOBIG, "longer than 32 KiB");
}

static void test_limits(void)
{
    struct mir_kv_tar_config few = {.files_max = 2}, small = {.archive_max = 4096};
    tap_case("files, bytes, memory");
    begin();
    for (unsigned i = 0; i < 3; i++)
        tarball_file(&tar, "same name", "0123456789");
    tarball_end(&tar);
    tardisk_open(&disk, tar.data, tar.len, 512, &few);
    check_int(disk.result, ==, -MIR_ELIMIT);
    check(strstr(disk.error, "more files") != NULL);
    tardisk_close(&disk);
    tardisk_open(&disk, tar.data, tar.len, 512, &small);
    check_int(disk.result, ==, 0);
    tardisk_close(&disk);
    tap_case("endless: no end mark within what may be read");
    begin();
    while (tar.len < TARBALL_MAX - 1024)
        tarball_file(&tar, "endless", "0123456789");
    tardisk_open(&disk, tar.data, tar.len, 512, &small);
    check_int(disk.result, ==, -MIR_ELIMIT);
    check(strstr(disk.error, "longer than 4 KiB") != NULL);
    tardisk_close(&disk);
}

int main(void)
{
    tap_begin("kv_tar");
    tarball_init(&tar);
    test_names();
    test_values();
    test_numbers();
    test_disks();
    test_headers();
    test_ends();
    test_bad_names();
    test_extended();
    test_limits();
    tarball_fini(&tar);
    return tap_done();
}
