/* SPDX-License-Identifier: ISC */
/* mir_format() against the C library's snprintf(), and the number parser. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mirari/err.h>
#include <mirari/format.h>
#include <mirari/rng.h>

#include "test/harness/tap.h"

static char ours[600], theirs[600];
static uint32_t compared;

/* Both with the same room; the rest of our buffer must stay as it was. */
#define SAME_IN(room, ...)                                                                         \
    do {                                                                                           \
        memset(ours, 0x5a, sizeof ours);                                                           \
        size_t len = mir_format(ours, room, __VA_ARGS__);                                          \
        int want = snprintf(theirs, room, __VA_ARGS__);                                            \
        compared++;                                                                                \
        check_int(len, ==, want);                                                                  \
        if ((room) > 0)                                                                            \
            check_str(ours, theirs);                                                               \
        for (size_t end = MIR_MIN((size_t)(room), len + 1); end < sizeof ours; end++) {            \
            if (ours[end] != 0x5a) {                                                               \
                check(!"wrote behind the end");                                                    \
                break;                                                                             \
            }                                                                                      \
        }                                                                                          \
    } while (0)
#define SAME(...) SAME_IN(500, __VA_ARGS__)

static void test_plain(void)
{
    tap_case("one of each, as snprintf writes it");
    SAME("%s", "");
    SAME("plain text, no conversion");
    SAME("100%% of %s", "it");
    SAME("%d %i %u %o %x %X %c", -5, 7, 8u, 9u, 0xbeefu, 0xbeefu, 'q');
    SAME("%hhd %hhu %hd %hu", (signed char)-3, (unsigned char)250, (short)-300,
         (unsigned short)65000);
    SAME("%ld %lu %lld %llu %zu", LONG_MIN, ULONG_MAX, LLONG_MIN, ULLONG_MAX, SIZE_MAX);
    SAME("%zd %jd %ju %td", (ssize_t)-9, (intmax_t)-10, (uintmax_t)11, (ptrdiff_t)-12);
    SAME("%d %d %d", INT_MIN, INT_MAX, 0);
    SAME("%p", (void *)(uintptr_t)0x1234abcd);
    SAME("[%c%c%c]", 'a', 0x41, '~');
    SAME("%.3s|%.0s|%10s|%-10s|%10.2s|%-10.2s|", "abcdef", "abc", "abc", "abc", "abc", "abc");
    SAME("%.*s|%.*s|%*d|%*d|%-*d|", 2, "abc", -1, "abc", 6, 42, -6, 42, 6, 42);
    const char not_terminated[3] = {'x', 'y', 'z'};
    SAME("%.*s", 3, not_terminated);

    tap_case("what the C library does not say, we define");
    const char *volatile null_text = NULL; /* volatile: the compiler warns of what we test */
    mir_format(ours, sizeof ours, "%s", null_text);
    check_str(ours, "(null)");
    mir_format(ours, sizeof ours, "%p", NULL);
    check_str(ours, "0x0");

    tap_case("a format that ends inside a conversion, and conversions not in the language");
    /* Not literals: the compiler would refuse them. */
    const char *volatile odd[] = {"abc%", "abc%-08", "abc%l", "a%yb"};
    const char *const want[] = {"abc", "abc", "abc", "a%yb"};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
    for (size_t i = 0; i < MIR_ARRAY_LEN(odd); i++) {
        mir_format(ours, sizeof ours, odd[i]);
        check_str(ours, want[i]);
    }
#pragma GCC diagnostic pop

    tap_case("widths beyond any sense are cut, not overflowed");
    volatile int least = INT_MIN, most = INT_MAX;
    check_int(mir_format(ours, sizeof ours, "%*d", least, 1), ==, 100000);
    check_int(mir_format(ours, sizeof ours, "%*d", most, 1), ==, 100000);
    check_int(mir_format(NULL, 0, "%.*d", most, 1), ==, 100000);
}

static void test_bounds(void)
{
    tap_case("every size of buffer, down to none");
    for (size_t room = 0; room < 40; room++) {
        SAME_IN(room, "%s %5d|%-7x|%07d", "some text", 42, 0xabcu, -99);
        SAME_IN(room, "%s", "exactly sixteen.");
    }
}

/* Flags, width, precision, length and conversion from a seed; the format is made at run time. */
static void compare_random(struct mir_rng *rng)
{
    static const char *const lengths[] = {"hh", "h", "", "l", "ll", "z", "j"};
    static const char conversions[] = "diuoxXs";
    char fmt[80] = "<%";
    size_t at = 2;
    char conversion = conversions[mir_rng_below(rng, sizeof conversions - 1)];
    bool is_text = conversion == 's';
    for (const char *f = "-0+ #"; *f != '\0'; f++) {
        if (mir_rng_below(rng, 3) != 0)
            continue;
        /* Undefined in C, and warned of: these flags with conversions they do not fit. */
        bool is_signed = conversion == 'd' || conversion == 'i';
        if (is_text && *f != '-')
            continue;
        if ((*f == '+' || *f == ' ') && !is_signed)
            continue;
        if (*f == '#' && (is_signed || conversion == 'u'))
            continue;
        fmt[at++] = *f;
    }
    if (mir_rng_below(rng, 2) == 0)
        at += (size_t)snprintf(fmt + at, 8, "%u", 1 + mir_rng_below(rng, 45));
    if (mir_rng_below(rng, 2) == 0)
        at += (size_t)snprintf(fmt + at, 8, ".%u", mir_rng_below(rng, 40));
    unsigned length = mir_rng_below(rng, MIR_ARRAY_LEN(lengths));
    at += (size_t)snprintf(fmt + at, 8, "%s%c>", is_text ? "" : lengths[length], conversion);
    fmt[at] = '\0';
    uint64_t value = mir_rng_u64(rng) >> mir_rng_below(rng, 64);
    if (mir_rng_below(rng, 8) == 0)
        value = 0;
    size_t room = mir_rng_below(rng, 4) == 0 ? mir_rng_below(rng, 30) : 500;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
    uint32_t before = compared;
    if (is_text)
        SAME_IN(room, fmt, "the quick brown fox");
    else if (length >= 3)
        SAME_IN(room, fmt, value);
    else
        SAME_IN(room, fmt, (unsigned)value);
#pragma GCC diagnostic pop
    if (compared != before + 1 || (room == 500 && strcmp(ours, theirs) != 0))
        tap_note("format %s", fmt);
}

static void test_random(uint64_t seed)
{
    struct mir_rng rng;
    tap_case("random formats and values, as snprintf writes them");
    mir_rng_init_u64(&rng, seed);
    for (int i = 0; i < 50000; i++)
        compare_random(&rng);
    check_int(compared, >, 50000);
}

static void check_parse(const char *text, uint64_t max, int result, uint64_t value)
{
    uint64_t out = 77;
    int r = mir_parse_u64(text, strlen(text), max, &out);
    if (!check_int(r, ==, result) || !check(out == (r == 0 ? value : 77)))
        tap_note("text \"%s\"", text);
}

static void test_parse(void)
{
    tap_case("numbers: digits only, within the limit, nothing written on error");
    check_parse("0", 0, 0, 0);
    check_parse("00", 10, 0, 0);
    check_parse("65535", 65535, 0, 65535);
    check_parse("65536", 65535, -MIR_ERANGE, 0);
    check_parse("18446744073709551615", UINT64_MAX, 0, UINT64_MAX);
    check_parse("18446744073709551616", UINT64_MAX, -MIR_ERANGE, 0);
    check_parse("99999999999999999999999999", UINT64_MAX, -MIR_ERANGE, 0);
    check_parse("00000000000000000000000000000001", 1, 0, 1);
    check_parse("", 10, -MIR_EMALFORMED, 0);
    check_parse("-1", 10, -MIR_EMALFORMED, 0);
    check_parse("+1", 10, -MIR_EMALFORMED, 0);
    check_parse(" 1", 10, -MIR_EMALFORMED, 0);
    check_parse("1 ", 10, -MIR_EMALFORMED, 0);
    check_parse("0x1", 10, -MIR_EMALFORMED, 0);
    check_parse("1\xb2", 10, -MIR_EMALFORMED, 0);

    tap_case("a number too large with a letter behind it is malformed, not out of range");
    check_parse("99999999999999999999999999x", UINT64_MAX, -MIR_EMALFORMED, 0);

    tap_case("the length is believed, not a NUL");
    uint64_t value = 0;
    check_int(mir_parse_u64("12345", 3, 1000, &value), ==, 0);
    check_int(value, ==, 123);
}

static void test_hex_digit(void)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    tap_case("hexadecimal digits of either case, and no other character");
    for (int c = -128; c < 128; c++) {
        const char *at = c != 0 ? strchr(digits, c) : NULL;
        check_int(mir_hex_digit((char)c), ==, at != NULL ? (at - digits) % 16 : -1);
    }
}

int main(int argc, char **argv)
{
    tap_begin("base_format");
    uint64_t seed = tap_seed(argc, argv, 1);
    test_plain();
    test_bounds();
    test_random(seed);
    test_parse();
    test_hex_digit();
    return tap_done();
}
