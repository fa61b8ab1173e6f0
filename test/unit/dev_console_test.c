/* SPDX-License-Identifier: ISC */
/* The console takes any length and never loops: a console that forgot to add up partial writes once
 * hung whole guests (MirageOS advisory MSA03). */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev/console/host/console.h"
#include "test/harness/tap.h"

#define LEN ((size_t)100000)

struct reader {
    int fd;
    char *got;
    size_t len;
};

/* Slow and in small pieces, so that writes are partial. */
static void *read_all(void *arg)
{
    struct reader *r = arg;
    for (ssize_t n; (n = read(r->fd, r->got + r->len, 700)) > 0;)
        r->len += (size_t)n;
    return NULL;
}

int main(void)
{
    static char text[LEN], got[LEN + 1000];
    struct mir_console_host host;
    int fds[2];
    tap_begin("dev_console");
    for (size_t i = 0; i < LEN; i++)
        text[i] = (char)('a' + i % 26);

    tap_case("100 kB arrive whole, in order, through a reader of small pieces");
    check_int(pipe(fds), ==, 0);
    struct reader reader = {.fd = fds[0], .got = got};
    pthread_t thread;
    check_int(pthread_create(&thread, NULL, read_all, &reader), ==, 0);
    mir_console_host_init(&host, fds[1]);
    mir_console_write(&host.console, text, LEN);
    close(fds[1]);
    pthread_join(thread, NULL);
    close(fds[0]);
    check_int(reader.len, ==, LEN);
    check_mem(got, text, LEN);
    check_int(host.console.dropped_bytes, ==, 0);

    tap_case("100 kB to a pipe that nobody reads: what fits, the rest is counted");
    check_int(pipe2(fds, O_NONBLOCK), ==, 0);
    mir_console_host_init(&host, fds[1]);
    mir_console_write(&host.console, text, LEN);
    ssize_t n = read(fds[0], got, sizeof got);
    check_int(n, >, 0);
    check_int((size_t)n + host.console.dropped_bytes, ==, LEN);
    check_mem(got, text, (size_t)n);

    tap_case("a broken descriptor loses everything and returns");
    close(fds[0]);
    close(fds[1]);
    mir_console_host_init(&host, -1);
    mir_console_write(&host.console, text, LEN);
    check_int(host.console.dropped_bytes, ==, LEN);
    return tap_done();
}
