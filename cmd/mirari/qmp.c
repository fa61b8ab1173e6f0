/* SPDX-License-Identifier: ISC */
/* QEMU's control channel (QMP, QEMU's docs/interop/qmp-intro.rst): one JSON object a line.
 *
 *   QEMU: {"QMP": ...}          ->  qmp_capabilities
 *   QEMU: {"return": ...}       ->  cont     now the guest runs; with a debugger it says when
 *   QEMU: {"event": "SHUTDOWN", "data": {"reason": "guest-reset"}} ...
 *
 * QEMU is started with -S, so whatever ends it before `cont` was sent is a mistake in its command
 * line, and whatever ends it later came from the guest: their exit statuses would look alike.
 *
 * The peer is the QEMU we started. Its lines are bounded, and only words that we know are looked
 * for in them, so no JSON is parsed.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cmd/mirari/vm.h"

#define LINE_MAX_BYTES 65536

void qmp_send(struct qmp *qmp, const char *command)
{
    struct str text = {0};
    if (qmp->fd < 0)
        return;
    str_format(&text, "{\"execute\": \"%s\"}\n", command);
    /* A few bytes into an empty socket; a QEMU that takes none is ended by signals. */
    ssize_t put = write(qmp->fd, text.data, text.len);
    (void)put;
    str_free(&text);
}

static void take_shutdown(struct qmp *qmp, const char *line)
{
    if (strstr(line, "\"guest-reset\"") != NULL)
        qmp->end = VM_END_RESET;
    else if (strstr(line, "\"guest-shutdown\"") != NULL)
        qmp->end = VM_END_SHUTDOWN;
    else if (qmp->end == VM_END_UNKNOWN)
        qmp->end = VM_END_FORCED;
}

static void take_line(struct qmp *qmp, const char *line)
{
    if (strncmp(line, "{\"QMP\"", 6) == 0) {
        qmp_send(qmp, "qmp_capabilities");
    } else if (strstr(line, "\"event\"") != NULL) {
        if (strstr(line, "\"SHUTDOWN\"") != NULL)
            take_shutdown(qmp, line);
        else if (strstr(line, "\"GUEST_PANICKED\"") != NULL)
            qmp->has_panicked = true;
    } else if (strncmp(line, "{\"return\"", 9) == 0 && !qmp->has_started) {
        qmp->has_started = true;
        if (!qmp->is_debugged)
            qmp_send(qmp, "cont");
    }
}

void qmp_read(struct qmp *qmp)
{
    char chunk[4096];
    while (qmp->fd >= 0) {
        ssize_t got = read(qmp->fd, chunk, sizeof(chunk));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            close(qmp->fd);
            qmp->fd = -1;
            return;
        }
        for (ssize_t i = 0; i < got; i++) {
            if (chunk[i] != '\n') {
                if (qmp->line.len < LINE_MAX_BYTES)
                    str_add(&qmp->line, &chunk[i], 1);
                continue;
            }
            if (qmp->line.len > 0)
                take_line(qmp, qmp->line.data);
            qmp->line.len = 0;
        }
    }
}
