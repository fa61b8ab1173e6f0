/* SPDX-License-Identifier: ISC */
/* The tool's reader of UCL, its checkers of values and its quoting. */
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/tool.h"
#include "test/harness/tap.h"

/* The tree as text: (key@line value ...), so that one comparison checks shape, lines and values. */
static void render(const struct conf_node *node, struct str *out)
{
    for (; node != NULL; node = node->next) {
        str_format(out, "%s%s@%d", out->len > 0 ? " " : "", node->key != NULL ? node->key : "-",
                   node->line);
        if (node->kind == CONF_SCALAR) {
            str_format(out, "=%s%s", node->is_quoted ? "'" : "", node->text);
            continue;
        }
        str_text(out, node->kind == CONF_OBJECT ? "{" : "[");
        struct str inner = {0};
        render(node->child, &inner);
        str_text(out, inner.data != NULL ? inner.data : "");
        str_free(&inner);
        str_text(out, node->kind == CONF_OBJECT ? "}" : "]");
    }
}

static void parse(const char *text, struct str *tree, struct diag *diag)
{
    *diag = (struct diag){.file = "test"};
    *tree = (struct str){0};
    str_add(tree, "", 0);
    struct conf_node *root = conf_parse(text, strlen(text), diag);
    render(root->child, tree);
    conf_free(root);
}

static void gives(const char *text, const char *want)
{
    struct str tree;
    struct diag diag;
    parse(text, &tree, &diag);
    check_int(diag.errors, ==, 0);
    check_str(tree.data, want);
    str_free(&tree);
    diag_free(&diag);
}

/* Some error on @line; the rest of the file is read all the same. */
static void refuses(const char *text, int line, const char *want)
{
    struct str tree;
    struct diag diag;
    parse(text, &tree, &diag);
    check_int(diag.errors, ==, 1);
    check_int(diag.count > 0 ? diag.item[0].line : -1, ==, line);
    check_str(tree.data, want);
    str_free(&tree);
    diag_free(&diag);
}

static void test_syntax(void)
{
    tap_case("separators");
    gives("a 1\nb = 2; c: 3, d 4", "a@1=1 b@2=2 c@2=3 d@2=4");
    gives("", "");
    gives(" \r\n\t# only a comment", "");
    tap_case("quotes and escapes");
    gives("a = \"x\\n\\t\\\"\\\\\\/\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"",
          "a@1='x\n\t\"\\/A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    gives("a = 'x\\n\\'y'", "a@1='x\\n'y");
    gives("\"a b\" = \"\"", "a b@1='");
    tap_case("bare text keeps blanks inside");
    gives("a = b c  d  # comment\ne = http://x/#y", "a@1=b c  d e@2=http://x/#y");
    gives("a = x /* c */\nb = y", "a@1=x b@2=y");
    tap_case("sections, named and nested");
    gives("s { a 1 }", "s@1{a@1=1}");
    gives("s n { a 1 }", "s@1{n@1{a@1=1}}");
    gives("s n m {\n a 1\n}\nb 2", "s@1{n@1{m@1{a@2=1}}} b@4=2");
    gives("s \"n n\" { }", "s@1{n n@1{}}");
    gives("s = { a = 1 } t { }", "s@1{a@1=1} t@1{}");
    gives("s { a { b { c 1 } } }", "s@1{a@1{b@1{c@1=1}}}");
    tap_case("arrays");
    gives("a = [1, \"2\", [3, 4], {b 5}]", "a@1[-@1=1 -@1='2 -@1[-@1=3 -@1=4] -@1{b@1=5}]");
    gives("a [\n1\n2,\n]", "a@1[-@2=1 -@3=2]");
    tap_case("JSON");
    gives("{\"a\": {\"b\": [true, null]}, \"c\": -1.5}", "a@1{b@1[-@1=true -@1=null]} c@1=-1.5");
    tap_case("comments nest and count lines");
    gives("/* a /* b\n */ c\n */ x 1", "x@3=1");
    tap_case("here documents");
    gives("a = <<EOD\none\n  two EOD\nEOD\nb 1", "a@1='one\n  two EOD b@5=1");
    gives("a = <<E\nE\n", "a@1='");
    tap_case("a key that comes twice makes two nodes");
    gives("a 1\na 2", "a@1=1 a@2=2");
    tap_case("byte order mark and carriage returns");
    gives("\xef\xbb\xbf"
          "a = 1\r\nb = 2\r\n",
          "a@1=1 b@2=2");
}

static void test_mistakes(void)
{
    tap_case("each mistake once, on its line; reading goes on");
    refuses("a = \"x\nb 1", 1, "b@2=1");
    refuses("a 1\nb = 'x\nc 2", 2, "a@1=1 c@3=2");
    refuses("a =\nb 1", 1, "b@2=1");
    refuses("a 1\n}\nb 2", 2, "a@1=1 b@3=2");
    refuses("s {\n a 1\n", 1, "s@1{a@2=1}");
    refuses("\ns [ 1", 2, "s@2[-@2=1]");
    refuses("a = \"\\x\"\nb 1", 1, "b@2=1");
    refuses("a = \"\\ud800\"\nb 1", 1, "b@2=1");
    refuses("a = \"\\u0000\"\nb 1", 1, "b@2=1");
    refuses("a 1\n.include \"x\"\nb 2", 2, "a@1=1 b@3=2");
    refuses("a = \"x\" y\nb 1", 1, "a@1='x b@2=1");
    refuses("/* x", 1, "");
    refuses("a = <<EOD\nx", 1, "");
    refuses("a = <<eod\nb 1", 1, "b@2=1");
    refuses("= 1\nb 1", 1, "b@2=1");
    tap_case("limits");
    char deep[2 * CONF_DEPTH_MAX + 8];
    for (size_t i = 0; i < sizeof(deep) - 1; i++)
        deep[i] = i % 2 == 0 ? 'a' : '{';
    deep[sizeof(deep) - 1] = '\0';
    struct diag diag = {.file = "test"};
    struct conf_node *root = conf_parse(deep, strlen(deep), &diag);
    check_int(diag.errors, ==, 1);
    conf_free(root);
    diag_free(&diag);
    char *many = need(CONF_NODES_MAX * 4 + 8);
    for (size_t i = 0; i < 4 * (size_t)(CONF_NODES_MAX + 1); i++)
        many[i] = "a 1\n"[i % 4];
    diag = (struct diag){.file = "test"};
    root = conf_parse(many, 4 * (size_t)(CONF_NODES_MAX + 1), &diag);
    check_int(diag.errors, ==, 1);
    conf_free(root);
    diag_free(&diag);
    free(many);
    diag = (struct diag){.file = "test"};
    conf_free(conf_parse("a\0b", 3, &diag));
    check_int(diag.errors, ==, 1);
    diag_free(&diag);
}

static void test_legacy(void)
{
    tap_case("old files are recognised");
    check(conf_is_legacy("ip-address: 1", 13));
    check(conf_is_legacy("# x\n\nmain-noip : a\nname: b\n", 26));
    check(!conf_is_legacy("name: b\n", 8));
    check(!conf_is_legacy("fs-a: {\n", 8));
    check(!conf_is_legacy("fs-a: x\nnet { }\n", 16));
    tap_case("values keep commas and blanks");
    gives("depends: a, b;c # d\n\nfs-x:  a b \n", "depends@1=a, b;c # d fs-x@3=a b");
}

static void test_values(void)
{
    struct why why;
    struct cidr cidr;
    struct forward forward;
    uint32_t number;
    uint16_t mtu;
    int64_t value;
    bool truth;
    tap_case("addresses");
    check(valid_cidr("10.1.2.3/24", &cidr, &why) && cidr.addr == 0x0a010203 && cidr.len == 24);
    check(valid_cidr("10.0.0.0/31", NULL, &why));
    static const char *const bad_cidr[] = {"",
                                           "1.2.3.4",
                                           "1.2.3.4/",
                                           "1.2.3.4/0",
                                           "1.2.3.4/32",
                                           "1.2.3/24",
                                           "1.2.3.4.5/24",
                                           "01.2.3.4/24",
                                           "1.2.3.4/08",
                                           "1.2.3.4/-1",
                                           " 1.2.3.4/24",
                                           "1.2.3.4/24 ",
                                           "0.0.0.0/8",
                                           "0.1.2.3/8",
                                           "127.0.0.1/8",
                                           "255.255.255.255/1",
                                           "10.0.0.255/24",
                                           "10.0.0.0/24",
                                           "1.2.3.4/24/24",
                                           "111111111111111111111111111.2.3.4/24"};
    for (size_t i = 0; i < LEN(bad_cidr); i++)
        if (!check(!valid_cidr(bad_cidr[i], NULL, &why)))
            tap_note("%s was taken", bad_cidr[i]);
    tap_case("forwards");
    check(valid_forward("8080:80", &forward, &why) && forward.host_port == 8080 &&
          forward.port == 80 && !forward.is_udp && forward.host_addr == 0);
    check(valid_forward("127.0.0.1:5:6/udp", &forward, &why) && forward.host_addr == 0x7f000001 &&
          forward.host_port == 5 && forward.port == 6 && forward.is_udp);
    check(valid_forward("[::1]:5:6", &forward, &why) && forward.is_v6 &&
          forward.host_addr6[15] == 1 && forward.host_port == 5 && forward.port == 6);
    static const char *const bad_forward[] = {
        "[::1]:5",    "[::1]5:6",    "[::1:5:6", "[1.2.3.4]:5:6",
        "[]:5:6",     "[::1]:5:6:7", "",         ":",
        "1:",         ":1",          "0:1",      "1:65536",
        "1:2:3:4",    "1:2/icmp",    "1:2/",     "a:1",
        "1.2.3:1:2",  "1 :2",        "-1:2",     "08:1",
        "1:2/udp/udp"};
    for (size_t i = 0; i < LEN(bad_forward); i++)
        if (!check(!valid_forward(bad_forward[i], NULL, &why)))
            tap_note("%s was taken", bad_forward[i]);
    tap_case("sizes, numbers, words");
    check(valid_memory("64", true, &number, &why) && number == 64);
    check(!valid_memory("64", false, &number, &why));
    check(valid_memory("2G", true, &number, &why) && number == 2048);
    check(valid_memory("8192 KiB", true, &number, &why) && number == 8);
    check(!valid_memory("18446744073709551615G", true, &number, &why));
    check(!valid_memory("4294967295G", true, &number, &why));
    check(!valid_memory("64X", true, &number, &why) && !valid_memory("", true, &number, &why));
    check(valid_mtu("576", &mtu, &why) && mtu == 576 && !valid_mtu("0576", &mtu, &why));
    check(valid_int("-9223372036854775808", &value, &why) && value == INT64_MIN);
    check(!valid_int("9223372036854775808", &value, &why) && !valid_int("", &value, &why));
    check(!valid_int("1x", &value, &why) && !valid_int(" 1", &value, &why) &&
          !valid_int("+1", &value, &why) && !valid_int("-", &value, &why));
    check(valid_bool("off", &truth, &why) && !truth && valid_bool("1", &truth, &why) && truth);
    check(!valid_bool("TRUE ", &truth, &why));
    check(valid_log("info,tcp=debug,ip=trace", &why) && !valid_log("", &why));
    check(!valid_log("info,", &why) && !valid_log("info,,warn", &why) && !valid_log("tcp=", &why));
    check(valid_mode("tap:br0.1", &why) && !valid_mode("tap:", &why) &&
          !valid_mode("tap:..", &why));
    check(!valid_mode("user:x", &why) && !valid_mode("tap:1234567890123456", &why));
    check(valid_mac("02:aB:00:00:00:01", NULL, &why) &&
          !valid_mac("02-00-00-00-00-01", NULL, &why));
    check(valid_name("9a-_", &why) && !valid_name("a b", &why) && !valid_name("\xc3\xa9", &why));
}

static void test_nearest(void)
{
    static const char *const names[] = {"gateway", "mode", "mac", "mtu", "forward"};
    tap_case("nearest name");
    check_str(nearest("gatway", names, LEN(names)), "gateway");
    check_str(nearest("GATEWAY", names, LEN(names)), "gateway");
    check_str(nearest("mdoe", names, LEN(names)), "mode");
    check_str(nearest("mut", names, LEN(names)), "mtu");
    check(nearest("xyz", names, LEN(names)) == NULL);
    check(nearest("", names, LEN(names)) == NULL);
    check(nearest("a", names, LEN(names)) == NULL);
    char longest[200];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    check(nearest(longest, names, LEN(names)) == NULL);
}

static void quotes_as(void (*quote)(struct str *, const char *), const char *text, const char *want)
{
    struct str out = {0};
    quote(&out, text);
    check_str(out.data, want);
    str_free(&out);
}

static void test_quoting(void)
{
    tap_case("C literals");
    quotes_as(str_c_literal,
              "a\"\\\n\x01?\x7f\xff"
              "1",
              "\"a\\\"\\\\\\012\\001\\?\\177\\3771\"");
    quotes_as(str_c_literal, NULL, "NULL");
    tap_case("JSON strings are UTF-8 whatever comes in");
    quotes_as(str_json, "a\"\\\n\x01\xc3\xa9", "\"a\\\"\\\\\\u000a\\u0001\xc3\xa9\"");
    quotes_as(str_json, "\xff\xc0\x80\xed\xa0\x80\xf5",
              "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"");
    quotes_as(str_json, "\xe2\x82", "\"\\ufffd\\ufffd\"");
    tap_case("shell words");
    quotes_as(str_shell, "plain-1.2/x", "plain-1.2/x");
    quotes_as(str_shell, "", "''");
    quotes_as(str_shell, "it's $HOME", "'it'\\''s $HOME'");
    quotes_as(str_shell, "~", "'~'");
    tap_case("text for the terminal");
    quotes_as(str_visible, "a\x1b[1m\n\xc3\xa9\xc2\x9b\xff",
              "a\\x1b[1m\\x0a\xc3\xa9\\xc2\\x9b\\xff");
}

static void test_messages(void)
{
    tap_case("messages come in the order of lines and are limited");
    struct diag diag = {.file = "f\n"};
    for (int i = 0; i < 150; i++)
        diag_error(&diag, 200 - i, "e");
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    diag_show(&diag, out, true);
    fclose(out);
    check(strncmp(text, "f\\x0a:101: e\nf\\x0a:102: e\n", 26) == 0);
    check(strstr(text, "f\\x0a: 50 more messages\n") != NULL);
    check_int(diag.errors, ==, 150);
    free(text);
    diag_free(&diag);
}

int main(void)
{
    tap_begin("conf");
    test_syntax();
    test_mistakes();
    test_legacy();
    test_values();
    test_nearest();
    test_quoting();
    test_messages();
    return tap_done();
}
