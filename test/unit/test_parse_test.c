/* SPDX-License-Identifier: ISC */
/* Files of tests: what is read of them, what is refused and on which line; paths, comparisons and
 * variables. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/mirari/test.h"
#include "test/harness/tap.h"

static struct test_file file;
static struct diag diag;

static void parse(const char *text)
{
    diag = (struct diag){.file = "t"};
    file.path = "t";
    test_parse(text, strlen(text), &file, &diag);
}

static void done(void)
{
    test_file_free(&file);
    diag_free(&diag);
}

static const char *const good_text =
    "# a comment\n"
    "targets unix virt\n"
    "limit 2m\n"
    "net lan\n"
    "net wan 10.9.8.0/24 mtu=9000\n"
    "app server ../s net=wan,lan # behind\n"
    "app client \"../a b\" target=unix later net=none -- --log x=$lan\n"
    "boot client within 5s\n"
    "\n"
    "test  echo \"under  loss\"\n"
    "  fault server net lan loss=5% out:delay=10ms\n"
    "  call client m.x a=1 b=\"c d\" to=$server:7 within 500ms\n"
    "  expect a.0.b >= $server_wan_ip6\n"
    "  let n = a.b\n"
    "  until server stats x=1 a.b == ${n} within 2s\n"
    "  run within 3s exits 7 echo \"$x\" # | cat\n"
    "test ends\r\n"
    "  call server die ends with 70\n"
    "  call server die fails\n"
    "  says server \"a\\nb\" within 1s\n"
    "  shutdown server with 3 within 2s\n"
    "  kill client\n"
    "  ends client\n";

static void test_good(void)
{
    tap_case("what there is");
    parse(good_text);
    if (!check_int(diag.errors, ==, 0))
        diag_show(&diag, stdout, true);
    check_int(file.targets.count, ==, 2);
    check_int(file.limit_ms, ==, 120000);
    check_int(file.net_count, ==, 2);
    check_str(file.net[0].prefix, "10.77.1");
    check_str(file.net[1].prefix, "10.9.8");
    check_int(file.net[1].mtu, ==, 9000);
    check_int(file.app_count, ==, 2);
    check_str(file.app[0].nets.item[0], "wan");
    check(file.app[0].has_faults);
    check(!file.app[1].has_faults);
    check_str(file.app[1].folder, "../a b");
    check_str(file.app[1].target, "unix");
    check(file.app[1].is_later);
    check_int(file.app[1].nets.count, ==, 0);
    check_str(file.app[1].options.item[1], "x=$lan");
    tap_case("tests and steps");
    check_int(file.case_count, ==, 3);
    check_int(file.cases[0].count, ==, 1);
    check_str(file.cases[1].title, "echo under  loss");
    check_int(file.cases[1].count, ==, 6);
    const struct test_step *step = file.cases[1].step;
    check_str(step[0].word, "loss=5%,out:delay=10ms");
    check_str(step[0].net, "lan");
    check_int(step[1].app, ==, 1);
    check_str(step[1].params.item[1], "b=c d");
    check_int(step[1].within_ms, ==, 500);
    check_str(step[1].text, "call client m.x a=1 b=\"c d\" to=$server:7 within 500ms");
    check_str(step[2].check.path, "a.0.b");
    check_str(step[2].check.op, ">=");
    check_str(step[3].word, "n");
    check_int(step[4].params.count, ==, 1);
    check_str(step[4].check.value, "${n}");
    check_int(step[4].within_ms, ==, 2000);
    check_str(step[5].word, "echo \"$x\" # | cat");
    check_int(step[5].status, ==, 7);
    check_int(step[5].line, ==, 16);
    step = file.cases[2].step;
    check(step[0].must_end);
    check_int(step[0].status, ==, 70);
    check(step[1].must_fail);
    check_str(step[2].word, "a\nb");
    check_int(step[3].status, ==, 3);
    check_int(file.cases[2].count, ==, 6);
    done();
}

static const struct {
    const char *text;
    int line;
    const char *says;
} wrong[] = {
    {"", 0, "no app"},
    {"app a x\n", 0, "no test"},
    {"app a x\ntest t\n cal a b\n", 3, "did you mean \"call\""},
    {"app a x\ntest t\n call b m\n", 3, "no app \"b\""},
    {"app server x\ntest t\n call sever m\n", 3, "did you mean \"server\""},
    {"app a x\ntest t\n call a\n", 3, "no method"},
    {"app a x\ntest t\n call a m k\n", 3, "\"k\" has no meaning"},
    {"app a x\ntest t\n call a m to=$b\n", 3, "no variable $b"},
    {"app a x\ntest t\n call a m within 5\n", 3, "no time"},
    {"app a x\ntest t\n call a m with 5\n", 3, "ends with N"},
    {"app a x\ntest t\n call a m ends with 256\n", 3, "no exit status"},
    {"app a x\ntest t\n expect a\n", 3, "write PATH OPERATOR VALUE"},
    {"app a x\ntest t\n expect a = 1\n", 3, "write PATH OPERATOR VALUE"},
    {"app a x\ntest t\n let x y\n", 3, "write let"},
    {"app a x\ntest t\n let a = y\n", 3, "is the app of line 1"},
    {"app a x\ntest t\n run\n", 3, "no command"},
    {"app a x\ntest t\n run within 1h x\n", 3, "no time"},
    {"app a x\ntest t\n fault a\n", 3, "no fault"},
    {"app a x\ntest t\n fault a net lan loss=1%\n", 3, "no net \"lan\""},
    {"app a x\ntest t\n says a\n", 3, "no text"},
    {"app a x\ntest t\n kill a now\n", 3, "no meaning"},
    {"app a x\ntest t\n says a \"x\n", 3, "not closed"},
    {"app a x\ntest\n", 2, "without a title"},
    {"app a x\napp a y\ntest t\n", 2, "is the app of line 1"},
    {"net a\napp a y\ntest t\n", 2, "is the net of line 1"},
    {"app A y\ntest t\n", 1, "cannot be the name"},
    {"app a\ntest t\n", 1, "no folder"},
    {"app a x net=lan\ntest t\n", 1, "declare it above"},
    {"app a x target=xen\ntest t\n", 1, "no target"},
    {"app a x soon\ntest t\n", 1, "after the folder"},
    {"targets mars\napp a x\ntest t\n", 1, "no target"},
    {"net lan 10.0.0.1/24\napp a x\ntest t\n", 1, "no subnet"},
    {"net lan 10.0.0.0/8\napp a x\ntest t\n", 1, "no subnet"},
    {"net lan mtu=9\napp a x\ntest t\n", 1, ""},
    {"limit never\napp a x\ntest t\n", 1, "no time"},
    {"app a x\ntest t\nnet lan\n", 3, "above the first step"},
};

static void test_wrong(void)
{
    tap_case("mistakes are told with their line");
    for (size_t i = 0; i < LEN(wrong); i++) {
        parse(wrong[i].text);
        check_int(diag.errors, >=, 1);
        bool is_said = diag.count > 0 && diag.item[0].line == wrong[i].line &&
                       strstr(diag.item[0].text, wrong[i].says) != NULL;
        if (!check(is_said)) {
            tap_note("%s wanted line %d: %s", wrong[i].text, wrong[i].line, wrong[i].says);
            diag_show(&diag, stdout, true);
        }
        done();
    }
    tap_case("a NUL byte");
    diag = (struct diag){.file = "t"};
    test_parse("app a x\n\0", 9, &file, &diag);
    check_int(diag.errors, >=, 1);
    done();
}

static void gives(const struct test_value *value, const char *path, const char *want)
{
    char *got = test_value_get(value, path);
    if (want == NULL)
        check(got == NULL);
    else
        check_str(got != NULL ? got : "(nothing)", want);
    free(got);
}

static void test_values(void)
{
    static const char text[] = "{\"a\":{\"b\":[10,{\"c\":\"x\\ny\"},true]},\"n\":null,\"count\":3}";
    struct test_value value = {0};
    struct why why;
    tap_case("paths");
    check(test_value_set(&value, need_text(text, strlen(text))));
    gives(&value, "a.b.0", "10");
    gives(&value, "a.b.1.c", "x\ny");
    gives(&value, "a.b.count", "3");
    gives(&value, "count", "3");
    gives(&value, "n", "null");
    gives(&value, ".", text);
    gives(&value, "a.b.3", NULL);
    gives(&value, "a.b.-1", NULL);
    gives(&value, "a.b.0x1", NULL);
    gives(&value, "a.x", NULL);
    gives(&value, "a.b.count.x", NULL);
    check_str(test_value_hint(&value, "cont"), "; did you mean \"count\"?");
    check_str(test_value_hint(&value, "zzzzzz"), "");
    check(!test_value_set(&value, need_text("{", 1)));
    check_str(test_value_hint(&value, "cont"), "");
    gives(&value, "a", NULL);
    test_value_free(&value);
    gives(&value, "a", NULL);
    tap_case("comparisons");
    check(test_compare("9", "<", "10", &why));
    check(!test_compare("9", ">", "10", &why));
    check(test_compare("10", "<=", "10", &why));
    check(test_compare("10", ">=", "10", &why));
    check(!test_compare("10", "<", "10", &why));
    check(test_compare("-3", "<", "0", &why));
    check(!test_compare("x", "<", "10", &why));
    check(strstr(why.text, "whole numbers") != NULL);
    check(test_compare("x", "==", "x", &why));
    check(test_compare("x", "!=", "y", &why));
    check(!test_compare("x", "!=", "x", &why));
    check(test_compare("abc", "~", "b", &why));
    check(!test_compare("abc", "!~", "b", &why));
    check(test_compare("abc", "!~", "x", &why));
    tap_case("times");
    int64_t ms = 0;
    check(test_time("1500ms", &ms));
    check_int(ms, ==, 1500);
    check(test_time("60m", &ms));
    check(!test_time("61m", &ms));
    check(!test_time("0s", &ms));
    check(!test_time("5", &ms));
    check(!test_time("s", &ms));
    check(!test_time("99999999s", &ms));
}

static void test_variables(void)
{
    struct test_vars vars = {0};
    char *unknown = NULL, *text;
    tap_case("variables");
    test_var_set(&vars, "a", "1");
    test_var_set(&vars, "a_b", "2");
    test_var_set(&vars, "a", "3");
    text = test_expand(&vars, "$a:$a_b ${a}b $ $5x ${a", &unknown);
    check_str(text, "3:2 3b $  ${a");
    check_str(unknown != NULL ? unknown : "(none)", "5x");
    free(text);
    free(unknown);
    check(test_var_get(&vars, "c") == NULL);
    test_vars_free(&vars);
}

static void test_records(void)
{
    char title[] = "t", why[] = "w\n", bytes[256];
    struct test_result result = {.title = title, .why = why, .kind = TEST_FAILED, .ms = 7}, back;
    int ends[2];
    tap_case("results come through a pipe whole, and not before");
    check_int(pipe(ends), ==, 0);
    test_record_put(ends[1], &result);
    ssize_t len = read(ends[0], bytes, sizeof(bytes));
    for (ssize_t i = 0; i < len; i++)
        check_int(test_record_take(bytes, (size_t)i, &back), ==, 0);
    check_int(test_record_take(bytes, (size_t)len, &back), ==, len);
    check_str(back.title, "t");
    check_str(back.why, "w\n");
    check_int(back.kind, ==, TEST_FAILED);
    check_int(back.ms, ==, 7);
    free(back.title);
    free(back.why);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    tap_begin("test_parse");
    test_good();
    test_wrong();
    test_values();
    test_variables();
    test_records();
    return tap_done();
}
