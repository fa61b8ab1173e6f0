/* SPDX-License-Identifier: ISC */
/* Console on a descriptor of the host.
 *
 * A write may take only a part: the rest follows in the next call. Each turn of the loop either
 * makes progress or ends it, so no output, however long and to whatever reader, can keep the
 * appliance here (a console that forgot to add up partial writes once hung whole guests). A
 * descriptor that would block (somebody set O_NONBLOCK on a pipe nobody reads), is closed or
 * broken loses the rest, which is counted.
 *
 * A blocking descriptor blocks: who pipes the output into a program that stops reading has asked
 * for that.
 */
#include "dev/console/host/console.h"

#include <errno.h>
#include <unistd.h>

#define INTERRUPTS_MAX 16

static void console_write(struct mir_console *console, const char *data, size_t len)
{
    struct mir_console_host *host = (struct mir_console_host *)(void *)console;
    int interrupts = 0;
    while (len > 0) {
        ssize_t n = write(host->fd, data, len);
        if (n < 0 && errno == EINTR && ++interrupts < INTERRUPTS_MAX)
            continue;
        if (n <= 0)
            break;
        data += n;
        len -= (size_t)n;
    }
    console->dropped_bytes += len;
}

void mir_console_host_init(struct mir_console_host *host, int fd)
{
    *host = (struct mir_console_host){.console = {.write = console_write}, .fd = fd};
}
