/* SPDX-License-Identifier: ISC */
/* What target virt makes of a loader's words: the memory map, the command line. */
#include <stdio.h>
#include <string.h>

#include <mirari/rng.h>

#include "target/virt/memory.c"
#include "target/virt/words.c"
#include "test/harness/tap.h"

#define K 4096ull

static struct mir__boot boot;

static void start(void)
{
    memset(&boot, 0, sizeof boot);
}

/* "base+size base+size ..." in pages. */
static bool is_map(const char *want)
{
    char text[2000] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < boot.memory_count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%llu+%llu", i > 0 ? " " : "",
                               (unsigned long long)(boot.memory[i].base / K),
                               (unsigned long long)(boot.memory[i].size / K));
    if (strcmp(text, want) != 0)
        tap_note("got \"%s\", want \"%s\"", text, want);
    return strcmp(text, want) == 0;
}

static void test_map(void)
{
    tap_case("ranges are sorted, and those that touch become one");
    start();
    mir__memory_add(&boot, 100 * K, 10 * K);
    mir__memory_add(&boot, 10 * K, 10 * K);
    mir__memory_add(&boot, 50 * K, 10 * K);
    check(is_map("10+10 50+10 100+10"));
    mir__memory_add(&boot, 20 * K, 30 * K);
    check(is_map("10+50 100+10"));
    mir__memory_add(&boot, 5 * K, 200 * K);
    check(is_map("5+200"));

    tap_case("only whole pages count, and nothing that wraps around");
    start();
    mir__memory_add(&boot, 1, 3 * K);
    mir__memory_add(&boot, 10 * K + 1, K);
    mir__memory_add(&boot, UINT64_MAX - K, 2 * K);
    mir__memory_add(&boot, 20 * K, 0);
    check(is_map("1+2"));

    tap_case("what is cut out takes every page it touches");
    start();
    mir__memory_add(&boot, 0, 100 * K);
    mir__memory_cut(&boot, 10 * K + 5, 10);
    check(is_map("0+10 11+89"));
    mir__memory_cut(&boot, 0, K);
    mir__memory_cut(&boot, 99 * K, 50 * K);
    mir__memory_cut(&boot, 5 * K, 10 * K);
    check(is_map("1+4 15+84"));
    mir__memory_cut(&boot, 50 * K, 0);
    mir__memory_cut(&boot, 40 * K, UINT64_MAX - 40 * K);
    check(is_map("1+4 15+25"));
    mir__memory_cut(&boot, 0, 1000 * K);
    check(is_map(""));

    tap_case("more ranges than there is room for: the rest is not used");
    start();
    for (uint64_t i = 0; i < 2 * MIR__REGIONS_MAX; i++)
        mir__memory_add(&boot, 2 * i * K, K);
    check_int(boot.memory_count, ==, MIR__REGIONS_MAX);
    mir__memory_cut(&boot, 0, K);
    check_int(boot.memory_count, ==, MIR__REGIONS_MAX - 1);
}

/* Against one flag for each of 64 pages. */
static void test_map_random(uint64_t seed)
{
    struct mir_rng rng;
    uint8_t key[32] = {0};
    memcpy(key, &seed, sizeof seed);
    mir_rng_init(&rng, key);
    bool is_equal = true;
    tap_case("random additions and cuts, against a map of flags");
    for (unsigned turn = 0; turn < 2000; turn++) {
        uint64_t flags = 0, got = 0;
        start();
        for (unsigned i = 0; i < 12; i++) {
            uint64_t base = mir_rng_u64(&rng) % 60, size = mir_rng_u64(&rng) % (64 - base) % 12;
            uint64_t bits = ((1ull << size) - 1) << base;
            if (i < 8)
                mir__memory_add(&boot, base * K, size * K);
            else
                mir__memory_cut(&boot, base * K, size * K);
            flags = i < 8 ? flags | bits : flags & ~bits;
        }
        for (uint32_t i = 0; i < boot.memory_count; i++) {
            const struct mir__region *r = &boot.memory[i];
            got |= ((1ull << r->size / K) - 1) << r->base / K;
            is_equal &= i == 0 || boot.memory[i - 1].base + boot.memory[i - 1].size < r->base;
        }
        is_equal &= flags == got;
    }
    check(is_equal);
}

static bool is_split(const char *line, int count, const char *joined)
{
    char copy[256], got[256] = "";
    const char *words[8];
    snprintf(copy, sizeof copy, "%s", line);
    int r = mir__words_split(copy, words, 8);
    for (int i = 0; i < r; i++) {
        size_t at = strlen(got);
        snprintf(got + at, sizeof got - at, "%s|", words[i]);
    }
    if (r != count || strcmp(got, joined) != 0)
        tap_note("\"%s\": %d, \"%s\"", line, r, got);
    return r == count && strcmp(got, joined) == 0;
}

static void test_words(void)
{
    tap_case("words end at blanks, but not between quotes");
    check(is_split("", 0, ""));
    check(is_split("  \t ", 0, ""));
    check(is_split("one", 1, "one|"));
    check(is_split(" one  two\tthree\n", 3, "one|two|three|"));
    check(is_split("--text \"Good  day\" end", 3, "--text|Good  day|end|"));
    check(is_split("--text=\"a b\"c", 1, "--text=a bc|"));
    check(is_split("a \"\" b", 3, "a||b|"));
    tap_case("a backslash takes the next byte as it is");
    check(is_split("a\\ b", 1, "a b|"));
    check(is_split("\"say \\\"no\\\"\"", 1, "say \"no\"|"));
    check(is_split("C:\\\\x", 1, "C:\\x|"));
    check(is_split("end\\", 1, "end\\|"));
    tap_case("a quote that does not end, and too many words");
    check(is_split("a \"b", -MIR_EINVAL, ""));
    check(is_split("1 2 3 4 5 6 7 8", 8, "1|2|3|4|5|6|7|8|"));
    check(is_split("1 2 3 4 5 6 7 8 9", -MIR_EINVAL, ""));
}

static void test_command_line(void)
{
    char text[2 * MIR__COMMAND_LINE_MAX];
    tap_case("a command line is kept whole, or said to be cut");
    start();
    mir__memory_command_line(&boot, "--times 3", 100);
    check_str(boot.command_line, "--times 3");
    check(!boot.is_command_line_cut);
    mir__memory_command_line(&boot, "--times 3", 7);
    check_str(boot.command_line, "--times");
    check(!boot.is_command_line_cut);
    memset(text, 'x', sizeof text);
    text[MIR__COMMAND_LINE_MAX - 1] = '\0';
    mir__memory_command_line(&boot, text, sizeof text);
    check(!boot.is_command_line_cut);
    text[MIR__COMMAND_LINE_MAX - 1] = 'x';
    mir__memory_command_line(&boot, text, sizeof text);
    check(boot.is_command_line_cut);
    check_int(strlen(boot.command_line), ==, MIR__COMMAND_LINE_MAX - 1);
}

int main(int argc, char **argv)
{
    tap_begin("virt_boot");
    uint64_t seed = tap_seed(argc, argv, 1);
    test_map();
    test_map_random(seed);
    test_words();
    test_command_line();
    return tap_done();
}
