/* SPDX-License-Identifier: ISC */
/* Log levels, the parser of --log, and what reaches the sink. */
#include <stdio.h>
#include <string.h>

#include <mirari/err.h>
#include <mirari/log.h>

#include "test/harness/tap.h"

static char line_seen[500];
static char module_seen[20];
static int level_seen;
static size_t len_seen;
static int lines;

static void sink(void *arg, enum mir_log_level level, const char *module, const char *line,
                 size_t len)
{
    check(arg == &lines);
    snprintf(line_seen, sizeof line_seen, "%s", line);
    snprintf(module_seen, sizeof module_seen, "%s", module);
    level_seen = (int)level;
    len_seen = len;
    lines++;
}

static void check_levels(const char *spec, int result, size_t error_pos)
{
    size_t pos = 999;
    int r = mir_log_set_levels(spec, &pos);
    if (!check_int(r, ==, result) || !check_int(pos, ==, result < 0 ? error_pos : 999))
        tap_note("spec \"%s\"", spec);
}

static void test_levels(void)
{
    tap_case("levels for all and for one module; the last word counts");
    check_levels("error", 0, 0);
    for (int i = 0; i < MIR_LOG_MODULE_COUNT; i++)
        check_int(mir__log_levels[i], ==, MIR_ERROR);
    check_levels("info,tcp=debug,http=trace", 0, 0);
    check_int(mir__log_levels[MIR_LOG_TCP], ==, MIR_DEBUG);
    check_int(mir__log_levels[MIR_LOG_HTTP], ==, MIR_TRACE);
    check_int(mir__log_levels[MIR_LOG_ARP], ==, MIR_INFO);
    check_levels("tcp=error,tcp=warn", 0, 0);
    check_int(mir__log_levels[MIR_LOG_TCP], ==, MIR_WARN);
    check_int(mir__log_levels[MIR_LOG_HTTP], ==, MIR_TRACE);
    check_levels("tcp=trace,error", 0, 0);
    check_int(mir__log_levels[MIR_LOG_TCP], ==, MIR_ERROR);

    tap_case("every module and level has a name that can be given");
#define MIR__X(name, text)                                                                         \
    check_levels(text "=debug", 0, 0);                                                             \
    check_int(mir__log_levels[MIR_LOG_##name], ==, MIR_DEBUG);
    MIR_LOG_MODULES(MIR__X)
#undef MIR__X

    tap_case("a bad word is pointed at, and nothing is changed");
    check_levels("warn", 0, 0);
    check_levels("", -MIR_EINVAL, 0);
    check_levels("loud", -MIR_EINVAL, 0);
    check_levels("info,", -MIR_EINVAL, 5);
    check_levels(",info", -MIR_EINVAL, 0);
    check_levels("info,tcp=loud", -MIR_EINVAL, 9);
    check_levels("info,tpc=debug", -MIR_EINVAL, 5);
    check_levels("info,tcp=", -MIR_EINVAL, 9);
    check_levels("info,=debug", -MIR_EINVAL, 5);
    check_levels("INFO", -MIR_EINVAL, 0);
    check_levels("infos", -MIR_EINVAL, 0);
    check_levels("inf", -MIR_EINVAL, 0);
    check_levels("info, tcp=debug", -MIR_EINVAL, 5);
    check_levels("tcp=debug=info", -MIR_EINVAL, 4);
    for (int i = 0; i < MIR_LOG_MODULE_COUNT; i++)
        check_int(mir__log_levels[i], ==, MIR_WARN);
}

static int evaluated;

static int evaluate(void)
{
    return ++evaluated;
}

static void test_lines(void)
{
    tap_case("a line reaches the sink with its module and level, if the level is on");
    mir_log_set_sink(sink, &lines);
    check_levels("warn,tcp=debug", 0, 0);
    MIR_LOG(TCP, DEBUG, "port=%u", 80u);
    check_int(lines, ==, 1);
    check_str(line_seen, "port=80");
    check_str(module_seen, "tcp");
    check_int(level_seen, ==, MIR_DEBUG);
    check_int(len_seen, ==, 7);
    MIR_LOG(TCP, TRACE, "x");
    MIR_LOG(ARP, INFO, "x");
    check_int(lines, ==, 1);
    MIR_LOG(ARP, ERROR, "x");
    check_int(lines, ==, 2);

    tap_case("arguments of a line that is off are not evaluated");
    MIR_LOG(ARP, DEBUG, "%d", evaluate());
    check_int(evaluated, ==, 0);
    MIR_LOG(ARP, WARN, "%d", evaluate());
    check_int(evaluated, ==, 1);

    tap_case("a long line is cut and says its length");
    MIR_LOG(APP, ERROR, "%0500d", 7);
    check_int(len_seen, ==, 399);
    check_int(strlen(line_seen), ==, 399);

    tap_case("what a peer sent cannot begin a new line or drive a terminal");
    MIR_LOG(HTTP, ERROR, "path=%s", "/a\r\nERROR forged\x1b[2J\x7f \xc3\xa9");
    check_str(line_seen, "path=/a??ERROR forged?[2J? \xc3\xa9");

    tap_case("without a sink lines are dropped");
    int before = lines;
    mir_log_set_sink(NULL, NULL);
    MIR_LOG(APP, ERROR, "x");
    check_int(lines, ==, before);
}

int main(void)
{
    tap_begin("base_log");
    test_levels();
    test_lines();
    return tap_done();
}
