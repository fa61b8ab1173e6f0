/* SPDX-License-Identifier: ISC */
/* TAP harness: a case is closed by the next one, so a crash shows as a missing plan.
 *
 * Also home of the symbols a target must provide (platform.h), for tests that link no target.
 */
#include "test/harness/tap.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *suite_name = "?";
static char case_name[200];
static char case_skip[200];
static bool case_open;
static bool case_failed;
static int cases;
static int failed_cases;

static void close_case(void)
{
    if (!case_open)
        return;
    cases++;
    if (case_failed)
        failed_cases++;
    printf("%s %d - %s%s%s\n", case_failed ? "not ok" : "ok", cases, case_name,
           case_skip[0] ? " # SKIP " : "", case_skip);
    fflush(stdout);
    case_open = false;
}

void tap_begin(const char *name)
{
    suite_name = name;
    setvbuf(stdout, NULL, _IOLBF, 0);
}

void tap_case(const char *fmt, ...)
{
    va_list args;
    close_case();
    va_start(args, fmt);
    vsnprintf(case_name, sizeof case_name, fmt, args);
    va_end(args);
    case_skip[0] = '\0';
    case_failed = false;
    case_open = true;
}

void tap_skip(const char *reason)
{
    snprintf(case_skip, sizeof case_skip, "%s", reason);
}

int tap_done(void)
{
    close_case();
    if (cases == 0) {
        printf("1..1\nnot ok 1 - %s has no case\n", suite_name);
        return 1;
    }
    printf("1..%d\n", cases);
    return failed_cases == 0 ? 0 : 1;
}

static void fail_line(const char *file, int line, const char *text)
{
    case_failed = true;
    if (!case_open)
        tap_case("%s: check outside a case", suite_name);
    printf("# %s:%d: %s\n", file, line, text);
}

bool tap_check(bool ok, const char *file, int line, const char *text)
{
    if (!ok)
        fail_line(file, line, text);
    return ok;
}

bool tap_check_int(long long a, long long b, bool ok, const char *file, int line, const char *text)
{
    if (!ok) {
        fail_line(file, line, text);
        printf("#   left %lld (0x%llx), right %lld (0x%llx)\n", a, (unsigned long long)a, b,
               (unsigned long long)b);
    }
    return ok;
}

bool tap_check_mem(const void *a, const void *b, size_t len, const char *file, int line,
                   const char *text)
{
    const unsigned char *x = a;
    const unsigned char *y = b;
    for (size_t i = 0; i < len; i++) {
        if (x[i] == y[i])
            continue;
        fail_line(file, line, text);
        printf("#   first difference at byte %zu of %zu: %02x, %02x\n", i, len, x[i], y[i]);
        return false;
    }
    return true;
}

bool tap_check_str(const char *a, const char *b, const char *file, int line, const char *text)
{
    if (strcmp(a, b) == 0)
        return true;
    fail_line(file, line, text);
    printf("#   left  \"%s\"\n#   right \"%s\"\n", a, b);
    return false;
}

void tap_note(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    printf("# ");
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

uint64_t tap_seed(int argc, char **argv, uint64_t fallback)
{
    const char *text = getenv("SEED");
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0)
            text = argv[i + 1];
    }
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : fallback;
    printf("# seed %llu\n", (unsigned long long)seed);
    return seed;
}
