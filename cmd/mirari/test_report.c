/* SPDX-License-Identifier: ISC */
/* Results: from the process of a run to the command, and from there to a reader of TAP or JUnit.
 *
 * TAP 14 (https://testanything.org), with a block of YAML below what failed. A harness that knows
 * an older version says so in TAP_VERSION, as prove(1) does, and gets that one: all that is used
 * here is in TAP 13 too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/mirari/test.h"

#define RECORD_MAX ((size_t)1 << 20)

struct header {
    uint32_t kind, title_len, why_len;
    int64_t ms;
};

/* ---- records --------------------------------------------------------------------------------- */

void test_record_put(int out, const struct test_result *result)
{
    struct str all = {0};
    struct header header = {
        .kind = (uint32_t)result->kind,
        .title_len = (uint32_t)strlen(result->title),
        .why_len = result->why != NULL ? (uint32_t)strlen(result->why) : 0,
        .ms = result->ms,
    };
    str_add(&all, &header, sizeof(header));
    str_add(&all, result->title, header.title_len);
    str_add(&all, result->why != NULL ? result->why : "", header.why_len);
    for (size_t at = 0; at < all.len;) {
        ssize_t put = write(out, all.data + at, all.len - at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            break; /* the command is gone, and so are we soon */
        at += (size_t)put;
    }
    str_free(&all);
}

size_t test_record_take(const char *data, size_t len, struct test_result *result)
{
    struct header header;
    if (len < sizeof(header))
        return 0;
    memcpy(&header, data, sizeof(header));
    size_t size = sizeof(header) + header.title_len + header.why_len;
    if (len < size || size > RECORD_MAX)
        return 0;
    const char *title = data + sizeof(header);
    *result = (struct test_result){
        .kind = (int)header.kind,
        .ms = header.ms,
        .title = need_text(title, header.title_len),
        .why = header.why_len > 0 ? need_text(title + header.title_len, header.why_len) : NULL,
    };
    return size;
}

/* ---- TAP ------------------------------------------------------------------------------------- */

/* A '#' would begin a directive, a backslash an escape. */
static void print_title(const char *title)
{
    for (const char *c = title; *c != '\0'; c++) {
        if (*c == '#' || *c == '\\')
            putchar('\\');
        putchar((unsigned char)*c < ' ' ? '?' : *c);
    }
}

static void print_why(const char *why)
{
    struct str shown = {0};
    puts("  ---\n  message: |");
    char *copy = need_text(why, strlen(why)), *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        shown.len = 0;
        str_visible(&shown, line);
        printf("    %s\n", shown.data);
    }
    puts("  ...");
    free(copy);
    str_free(&shown);
}

void test_report_begin(size_t count)
{
    const char *known = getenv("TAP_VERSION");
    if (known == NULL || strcmp(known, "14") == 0)
        puts("TAP version 14");
    else if (strcmp(known, "13") == 0)
        puts("TAP version 13");
    printf("1..%zu\n", count);
    fflush(stdout);
}

void test_report(size_t number, const struct test_result *result)
{
    printf("%sok %zu - ", result->kind == TEST_FAILED ? "not " : "", number);
    print_title(result->title);
    if (result->kind == TEST_SKIPPED)
        printf(" # SKIP %.*s", (int)strcspn(result->why, "\n"), result->why);
    putchar('\n');
    if (result->kind == TEST_FAILED && result->why != NULL)
        print_why(result->why);
    fflush(stdout);
}

/* ---- JUnit ----------------------------------------------------------------------------------- */

static void put_xml(FILE *out, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        switch (*c) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            /* XML 1.0 has no other control characters, and we promise ASCII. */
            fputc((*c < ' ' && *c != '\n' && *c != '\t') || *c >= 0x7f ? '?' : *c, out);
        }
    }
}

int test_report_junit(const char *path, const struct test_result *results, size_t count)
{
    size_t failed = 0, skipped = 0;
    FILE *out = fopen(path, "we");
    if (out == NULL)
        return -errno;
    for (size_t i = 0; i < count; i++) {
        failed += results[i].kind == TEST_FAILED;
        skipped += results[i].kind == TEST_SKIPPED;
    }
    fprintf(out,
            "<?xml version=\"1.0\" encoding=\"US-ASCII\"?>\n<testsuite name=\"mirari test\" "
            "tests=\"%zu\" failures=\"%zu\" skipped=\"%zu\">\n",
            count, failed, skipped);
    for (size_t i = 0; i < count; i++) {
        const struct test_result *result = &results[i];
        fputs("  <testcase name=\"", out);
        put_xml(out, result->title);
        fprintf(out, "\" time=\"%lld.%03lld\"", (long long)(result->ms / 1000),
                (long long)(result->ms % 1000));
        if (result->kind == TEST_OK) {
            fputs("/>\n", out);
            continue;
        }
        fputs(result->kind == TEST_FAILED ? "><failure>" : "><skipped>", out);
        put_xml(out, result->why != NULL ? result->why : "");
        fputs(result->kind == TEST_FAILED ? "</failure></testcase>\n" : "</skipped></testcase>\n",
              out);
    }
    fputs("</testsuite>\n", out);
    bool is_bad = ferror(out) != 0;
    return fclose(out) != 0 || is_bad ? -EIO : 0;
}
