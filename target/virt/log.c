/* SPDX-License-Identifier: ISC */
/* Log lines on the console: UTC time, level, module, text, as in target unix.
 *
 *   2026-11-21 23:54:11.482133 WARN  tcp: backlog full port=80
 *
 * There is one console, so lines of the log stand between what the appliance prints. Never in
 * colours: nobody knows what is at the other end.
 */
#include <mirari/format.h>

#include "lib/base/date.h"
#include "target/virt/internal.h"

static struct mir_clock *the_clock;

static void sink(void *arg, enum mir_log_level level, const char *module, const char *line,
                 size_t len)
{
    static const char names[][6] = {"ERROR", "WARN ", "INFO ", "DEBUG", "TRACE"};
    char head[96];
    (void)arg;
    size_t at = mir__date_text(head, sizeof head, the_clock->wall(the_clock));
    at += mir_format(head + at, sizeof head - at, " %s %s: ", names[level], module);
    mir__arch_console_write(head, MIR_MIN(at, sizeof head - 1));
    mir__arch_console_write(line, len);
    mir__arch_console_write("\n", 1);
}

void mir__log_line(void *arg, const char *line, size_t len)
{
    sink(arg, MIR_INFO, "dev", line, len);
}

void mir__log_init(struct mir_clock *clock)
{
    the_clock = clock;
    mir_log_set_sink(sink, NULL);
}
