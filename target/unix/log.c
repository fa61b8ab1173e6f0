/* SPDX-License-Identifier: ISC */
/* Log lines on stderr: UTC time, level, module, text; one write a line.
 *
 *   2026-11-21 23:54:11.482133 WARN  tcp: backlog full port=80
 *
 * Colours only when stderr is a terminal and NO_COLOR is not set. What stderr does not take at
 * once is lost: logging never holds the appliance up.
 */
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include <mirari/format.h>

#include "dev/clock/host/clock.h"
#include "target/unix/internal.h"

static bool has_colours;

struct date {
    uint32_t year, month, day;
};

/* Civil date of a day number since 1970-01-01, in years that begin in March. */
static struct date date_of_day(uint64_t day)
{
    uint64_t z = day + 719468;
    uint64_t era = z / 146097, doe = z % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint64_t mp = (5 * doy + 2) / 153;
    struct date date = {
        .day = (uint32_t)(doy - (153 * mp + 2) / 5 + 1),
        .month = (uint32_t)(mp < 10 ? mp + 3 : mp - 9),
    };
    date.year = (uint32_t)(yoe + era * 400 + (date.month <= 2 ? 1 : 0));
    return date;
}

static size_t put_time(char *out, size_t size)
{
    struct mir_clock *clock = mir_clock_host();
    mir_time_us now_us = clock->wall(clock);
    uint64_t seconds = now_us / MIR_US_PER_S;
    struct date date = date_of_day(seconds / 86400);
    uint32_t second = (uint32_t)(seconds % 86400);
    return mir_format(out, size, "%04u-%02u-%02u %02u:%02u:%02u.%06u", date.year, date.month,
                      date.day, second / 3600, second / 60 % 60, second % 60,
                      (uint32_t)(now_us % MIR_US_PER_S));
}

static void sink(void *arg, enum mir_log_level level, const char *module, const char *line,
                 size_t len)
{
    static const char *const names[] = {"ERROR", "WARN ", "INFO ", "DEBUG", "TRACE"};
    static const char *const colours[] = {"\033[1;31m", "\033[33m", "\033[32m", "\033[36m",
                                          "\033[90m"};
    char head[96];
    (void)arg;
    size_t at = put_time(head, sizeof head);
    at += mir_format(head + at, sizeof head - at, " %s%s%s %s: ", has_colours ? colours[level] : "",
                     names[level], has_colours ? "\033[0m" : "", module);
    struct iovec iov[] = {
        {head, MIR_MIN(at, sizeof head - 1)},
        {(void *)(uintptr_t)line, len},
        {(void *)(uintptr_t) "\n", 1},
    };
    if (writev(STDERR_FILENO, iov, 3) < 0)
        return;
}

void mir__log_line(void *arg, const char *line, size_t len)
{
    sink(arg, MIR_INFO, "dev", line, len);
}

void mir__log_init(void)
{
    has_colours = isatty(STDERR_FILENO) && getenv("NO_COLOR") == NULL;
    mir_log_set_sink(sink, NULL);
}
