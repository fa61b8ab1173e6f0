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
#include "lib/base/date.h"
#include "target/unix/internal.h"

static bool has_colours;

static void sink(void *arg, enum mir_log_level level, const char *module, const char *line,
                 size_t len)
{
    static const char *const names[] = {"ERROR", "WARN ", "INFO ", "DEBUG", "TRACE"};
    static const char *const colours[] = {"\033[1;31m", "\033[33m", "\033[32m", "\033[36m",
                                          "\033[90m"};
    char head[96];
    struct mir_clock *clock = mir_clock_host();
    (void)arg;
    size_t at = mir__date_text(head, sizeof head, clock->wall(clock));
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
