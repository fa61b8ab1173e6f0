/* SPDX-License-Identifier: ISC */
/* The JSON reader and writer: what is JSON and what is not, decoding, limits, and that the reader
 * takes back whatever the writer wrote. */
#include <mirari/json.h>
#include <mirari/rng.h>
#include <string.h>

#include "test/harness/tap.h"

#define NODES 64u
static struct mir_json_node nodes[NODES];
static struct mir_json json;
static size_t error_at;

static int parse_bytes(const char *text, size_t len)
{
    /* Behind the text there is nothing to be read: a copy of exactly its size says so to ASan. */
    static char copy[512];
    char *at = copy + sizeof copy - len;
    memcpy(at, text, len);
    return mir_json_parse(&json, at, len, nodes, NODES, &error_at);
}

static int parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static void test_accepts(void)
{
    static const char *const good[] = {"null",         " true ",
                                       "false",        "0",
                                       "-0",           "-12",
                                       "1.5",          "1e9",
                                       "1E+9",         "0.5e-3",
                                       "\"\"",         "[]",
                                       "{}",           "[ ]",
                                       "[1,2]",        "[[],[[]]]",
                                       "{\"a\":{}}",   "{ \"a\" : 1 , \"b\" : [ ] }",
                                       "\"\\u00e9\"",  "\"\\ud83d\\ude00\"",
                                       "\"\xc3\xa9\"", "\"\xf0\x9f\x98\x80\"",
                                       "\t[\n]\r",     "\"\\/\\b\""};
    static const char *const bad[] = {"",
                                      " ",
                                      "nul",
                                      "nulll",
                                      "True",
                                      "01",
                                      "-",
                                      "1.",
                                      ".5",
                                      "1e",
                                      "+1",
                                      "0x10",
                                      "NaN",
                                      "\"",
                                      "\"\\\"",
                                      "\"\\x\"",
                                      "\"\\u12g4\"",
                                      "\"\\ud83d\"",
                                      "\"\\ude00\"",
                                      "\"\\ud83d\\u0041\"",
                                      "\"\t\"",
                                      "[",
                                      "]",
                                      "[1,]",
                                      "[,1]",
                                      "[1 2]",
                                      "[1]]",
                                      "{",
                                      "{a:1}",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{,}",
                                      "{\"a\":1]",
                                      "[}",
                                      "'a'",
                                      "1 2",
                                      "// x\n1",
                                      "\"\xff\"",
                                      "\"\xc0\x80\"",
                                      "\"\xed\xa0\x80\"",
                                      "\"\xf4\x90\x80\x80\"",
                                      "\"\xc3\"",
                                      "{1:2}",
                                      "[1}",
                                      "\"a\" \"b\""};
    tap_case("RFC 8259 and nothing beyond it");
    for (size_t i = 0; i < MIR_ARRAY_LEN(good); i++)
        if (!check_int(parse(good[i]), ==, 0))
            tap_note("refused: %s", good[i]);
    for (size_t i = 0; i < MIR_ARRAY_LEN(bad); i++)
        if (!check_int(parse(bad[i]), ==, -MIR_EMALFORMED))
            tap_note("accepted: %s", bad[i]);
    tap_case("it says where the text stops making sense; every beginning of a text is refused");
    check_int(parse("{\"a\": [1, x]}"), ==, -MIR_EMALFORMED);
    check_int(error_at, ==, 10);
    const char *whole = "{\"a\":[1,{\"b\":\"\\u00e9\\ud83d\\ude00\"},true,null],\"c\":-1.5e3}";
    for (size_t len = 0; len < strlen(whole); len++)
        check_int(parse_bytes(whole, len), ==, -MIR_EMALFORMED);
    check_int(parse(whole), ==, 0);
}

static void test_asks(void)
{
    char text[16];
    uint64_t number;
    bool flag;
    tap_case("members, elements, types");
    check_int(parse("{\"a\":[1,[2,3],4],\"b\":{\"c\":7},\"\\u0064\":\"x\\ny\",\"b\":9}"), ==, 0);
    uint32_t a = mir_json_find(&json, 0, "a"), b = mir_json_find(&json, 0, "b");
    check(mir_json_is(&json, a, MIR_JSON_ARRAY));
    check_int(nodes[a].count, ==, 3);
    check_int(nodes[a].next, ==, a + 6);
    check(mir_json_is(&json, b, MIR_JSON_OBJECT)); /* the first of two */
    check_int(mir_json_u64(&json, mir_json_find(&json, b, "c"), 10, &number), ==, 0);
    check_int(number, ==, 7);
    check_int(mir_json_text(&json, mir_json_find(&json, 0, "d"), text, sizeof text), ==, 0);
    check_str(text, "x\ny");
    check_int(mir_json_find(&json, 0, "e"), ==, MIR_JSON_NONE);
    check_int(mir_json_find(&json, a, "e"), ==, MIR_JSON_NONE);
    check_int(mir_json_find(&json, MIR_JSON_NONE, "e"), ==, MIR_JSON_NONE);
    check_int(mir_json_u64(&json, MIR_JSON_NONE, 10, &number), ==, -MIR_EINVAL);
    tap_case("numbers: whole ones within bounds");
    check_int(parse("[1.0,1e2,-1,11,18446744073709551616,true,10]"), ==, 0);
    check_int(mir_json_u64(&json, 1, 10, &number), ==, -MIR_EINVAL);
    check_int(mir_json_u64(&json, 2, 10, &number), ==, -MIR_EINVAL);
    check_int(mir_json_u64(&json, 3, 10, &number), ==, -MIR_ERANGE);
    check_int(mir_json_u64(&json, 4, 10, &number), ==, -MIR_ERANGE);
    check_int(mir_json_u64(&json, 5, UINT64_MAX, &number), ==, -MIR_ERANGE);
    check_int(mir_json_u64(&json, 6, 10, &number), ==, -MIR_EINVAL);
    check_int(mir_json_u64(&json, 7, 10, &number), ==, 0);
    check_int(mir_json_bool(&json, 6, &flag), ==, 0);
    check(flag);
    check_int(mir_json_bool(&json, 7, &flag), ==, -MIR_EINVAL);
    tap_case("texts: decoded, with a bound, without NUL");
    check_int(parse("[\"\\ud83d\\ude00\\u20ac\\u00e9\",\"\\u0000\",\"abc\"]"), ==, 0);
    check_int(mir_json_text(&json, 1, text, sizeof text), ==, 0);
    check_str(text, "\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9");
    check_int(mir_json_text(&json, 1, text, 9), ==, -MIR_ELIMIT);
    check_int(mir_json_text(&json, 1, text, 10), ==, 0);
    check_int(mir_json_text(&json, 2, text, sizeof text), ==, -MIR_EINVAL);
    check_int(mir_json_text(&json, 3, text, 3), ==, -MIR_ELIMIT);
    check_int(mir_json_text(&json, 3, text, 0), ==, -MIR_ELIMIT);
    check_int(mir_json_text(&json, 0, text, sizeof text), ==, -MIR_EINVAL);
    check(mir_json_equal(&json, 3, "abc") && !mir_json_equal(&json, 3, "abcd"));
    check(!mir_json_equal(&json, 3, "ab"));
}

static void test_limits(void)
{
    char text[256] = "";
    tap_case("nesting and nodes have limits");
    for (unsigned i = 0; i < MIR_JSON_DEPTH_MAX; i++)
        strcat(text, "[");
    for (unsigned i = 0; i < MIR_JSON_DEPTH_MAX; i++)
        strcat(text, "]");
    check_int(parse(text), ==, 0);
    memset(text, '[', 40);
    check_int(parse_bytes(text, 40), ==, -MIR_ELIMIT);
    text[0] = '[';
    for (unsigned i = 0; i < NODES; i++)
        memcpy(text + 1 + 2 * i, "0,", 2);
    text[2 * NODES] = ']';
    check_int(parse_bytes(text, 2 * NODES + 1), ==, -MIR_ELIMIT);
    text[2 * NODES - 2] = ']';
    check_int(parse_bytes(text, 2 * NODES - 1), ==, 0);
}

static void test_writer(void)
{
    char text[400];
    struct mir_json_out out;
    tap_case("the writer: commas, escapes, what is no UTF-8");
    mir_json_out_init(&out, text, sizeof text);
    mir_json_begin(&out, '{');
    mir_json_member_u64(&out, "n", UINT64_MAX);
    mir_json_key(&out, "list");
    mir_json_begin(&out, '[');
    mir_json_put_bool(&out, true);
    mir_json_begin(&out, '{');
    mir_json_end(&out, '}');
    mir_json_put_null(&out);
    mir_json_end(&out, ']');
    mir_json_member_text(&out, "t", "a\"\\\n\x7f\xc3\xa9\xff");
    mir_json_member_text(&out, "none", NULL);
    mir_json_end(&out, '}');
    text[out.len] = '\0';
    check_str(text, "{\"n\":18446744073709551615,\"list\":[true,{},null],"
                    "\"t\":\"a\\\"\\\\\\u000a\\u007f\xc3\xa9\xef\xbf\xbd\",\"none\":null}");
    check(!out.is_full);
    check_int(parse(text), ==, 0);
    tap_case("base64 of every length (RFC 4648 section 10)");
    static const char *const expected[] = {
        "\"\"", "\"Zg==\"", "\"Zm8=\"", "\"Zm9v\"", "\"Zm9vYg==\"", "\"Zm9vYmE=\"", "\"Zm9vYmFy\""};
    for (size_t len = 0; len < MIR_ARRAY_LEN(expected); len++) {
        mir_json_out_init(&out, text, sizeof text);
        mir_json_put_base64(&out, "foobar", len);
        text[out.len] = '\0';
        check_str(text, expected[len]);
    }
    tap_case("what does not fit is not written beyond the end, and said");
    for (size_t size = 0; size < 20; size++) {
        memset(text, 'x', sizeof text);
        mir_json_out_init(&out, text, size);
        mir_json_begin(&out, '{');
        mir_json_member_text(&out, "abc", "defgh");
        mir_json_end(&out, '}');
        check(out.is_full == (size < 15));
        check_int(out.len, <=, size);
        check_int(text[size], ==, 'x');
        mir_json_out_init(&out, text, size);
        mir_json_put_base64(&out, "foobar", 6);
        check(out.is_full == (size < 10));
    }
}

static void test_round(uint64_t seed)
{
    struct mir_rng rng;
    uint8_t key[32] = {0};
    char bytes[40], text[300], back[150];
    struct mir_json_out out;
    memcpy(key, &seed, sizeof seed);
    mir_rng_init(&rng, key);
    tap_case("any bytes, written as a text, are read again; valid ones as they were");
    for (unsigned round = 0; round < 20000; round++) {
        size_t len = mir_rng_u32(&rng) % sizeof bytes;
        mir_rng_bytes(&rng, bytes, len);
        bool is_ascii = round % 2 == 0;
        for (size_t i = 0; i < len; i++)
            bytes[i] = is_ascii ? (char)((bytes[i] & 0x7f) | 1) : bytes[i] != 0 ? bytes[i] : 'z';
        mir_json_out_init(&out, text, sizeof text);
        mir_json_put_bytes(&out, bytes, len);
        if (out.is_full || parse_bytes(text, out.len) < 0 ||
            mir_json_text(&json, 0, back, sizeof back) < 0 ||
            (is_ascii && (strlen(back) != len || memcmp(back, bytes, len) != 0))) {
            check(false);
            tap_note("round %u", round);
            return;
        }
    }
    check(true);
}

int main(int argc, char **argv)
{
    tap_begin("rpc_json");
    test_accepts();
    test_asks();
    test_limits();
    test_writer();
    test_round(tap_seed(argc, argv, 20261122));
    return tap_done();
}
