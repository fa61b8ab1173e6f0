/* SPDX-License-Identifier: ISC */
/* The calls that copy, close and inherit descriptors.
 *
 * The kernel does all of it; the table only has to follow. Three things are more than that: the
 * library's own descriptors are hidden (EBADF, as if they were not open), a number that the program
 * wants is made free, and ranges are closed around them.
 *
 * Before fork, exec and a change of user or root the server is told of sockets that it does not
 * know: two processes must not own an end B, and after an exec nobody would.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd/mirari-socket-preload/preload.h"

extern char **environ;

static __attribute__((noinline)) int close_known(int fd, uint32_t entry)
{
    if ((entry & PRE_PRIVATE) && pre_is_private(fd))
        return pre_fail(EBADF);
    pre_forget(fd); /* first: the number may be another thread's a moment later */
    return pre_real.close(fd);
}

HOOK int close(int fd)
{
    uint32_t entry = pre_entry(fd);
    return likely(entry == 0) ? pre_real.close(fd) : close_known(fd, entry);
}

static int follow(int from, int to)
{
    if (to < 0)
        return to;
    struct pre_sock *s = pre_entry(from) == 0 ? NULL : pre_get(from);
    if (s == NULL) {
        pre_forget(to);
        return to;
    }
    pre_set(to, s);
    pre_put(s);
    return to;
}

static bool is_hidden(int fd)
{
    return unlikely(pre_entry(fd) & PRE_PRIVATE) && pre_is_private(fd);
}

HOOK int dup(int fd)
{
    return is_hidden(fd) ? pre_fail(EBADF) : follow(fd, pre_real.dup(fd));
}

static void make_free(int from, int to)
{
    if (is_hidden(to) && from != to && pre_real.fcntl(from, F_GETFD) >= 0)
        pre_move_private(to);
}

HOOK int dup2(int from, int to)
{
    if (is_hidden(from))
        return pre_fail(EBADF);
    make_free(from, to);
    int r = pre_real.dup2(from, to);
    return from == to ? r : follow(from, r);
}

HOOK int dup3(int from, int to, int flags)
{
    if (is_hidden(from))
        return pre_fail(EBADF);
    make_free(from, to);
    return follow(from, pre_real.dup3(from, to, flags));
}

static int control(int fd, int op, void *last)
{
    if (is_hidden(fd))
        return pre_fail(EBADF);
    int r = pre_real.fcntl(fd, op, last);
    return op == F_DUPFD || op == F_DUPFD_CLOEXEC ? follow(fd, r) : r;
}

HOOK int fcntl(int fd, int op, ...)
{
    va_list list;
    va_start(list, op);
    void *last = va_arg(list, void *);
    va_end(list);
    return control(fd, op, last);
}

HOOK int fcntl64(int fd, int op, ...)
{
    va_list list;
    va_start(list, op);
    void *last = va_arg(list, void *);
    va_end(list);
    return control(fd, op, last);
}

HOOK int ioctl(int fd, unsigned long op, ...)
{
    va_list list;
    va_start(list, op);
    void *last = va_arg(list, void *);
    va_end(list);
    struct pre_sock *s = likely(pre_entry(fd) == 0) ? NULL : pre_get(fd);
    if (s != NULL) {
        int result = 0;
        bool may_answer = !pre_has(s, PRE_HOST) || pre_has(s, PRE_LINK);
        bool is_answered = may_answer && pre_ioctl(s, fd, op, last, &result);
        pre_put(s);
        if (is_answered)
            return result < 0 ? pre_fail(result) : result;
    }
    return pre_real.ioctl(fd, op, last);
}

/* ---- many at once
 * --------------------------------------------------------------------------------- */

HOOK int close_range(unsigned first, unsigned last, int flags)
{
    if (first > last)
        return pre_fail(EINVAL);
    if (flags != 0 || !pre_is_on) /* close-on-exec does no harm; a table of its own: see below */
        return pre_real.close_range(first, last, flags);
    unsigned from = first, end = (unsigned)pre_fd_end_all();
    for (unsigned fd = first; fd <= last && fd < end; fd++) {
        uint32_t entry = pre_entry((int)fd);
        if (entry == 0)
            continue;
        if (!(entry & PRE_PRIVATE) || !pre_is_private((int)fd)) {
            pre_forget((int)fd);
            continue;
        }
        if (fd > from && pre_real.close_range(from, fd - 1, 0) < 0)
            return -1;
        from = fd + 1;
    }
    return from <= last ? pre_real.close_range(from, last, 0) : 0;
}

HOOK void closefrom(int first)
{
    int error = errno;
    if (close_range(first > 0 ? (unsigned)first : 0, ~0u, 0) < 0)
        for (int fd = first > 0 ? first : 0; fd < (int)PRE_FDS && fd < sysconf(_SC_OPEN_MAX); fd++)
            (void)close(fd);
    errno = error;
}

/* ---- exec, user, root
 * ------------------------------------------------------------------------------ */

static void before_exec(void)
{
    pre_adopt_all();
    pre_pass_on(true);
}

HOOK int execve(const char *path, char *const args[], char *const env[])
{
    before_exec();
    pre_real.execve(path, args, env);
    pre_pass_on(false); /* it has failed */
    return -1;
}

HOOK int execv(const char *path, char *const args[])
{
    return execve(path, args, environ);
}

HOOK int execvpe(const char *name, char *const args[], char *const env[])
{
    before_exec();
    pre_real.execvpe(name, args, env);
    pre_pass_on(false); /* it has failed */
    return -1;
}

HOOK int execvp(const char *name, char *const args[])
{
    return execvpe(name, args, environ);
}

HOOK int fexecve(int fd, char *const args[], char *const env[])
{
    before_exec();
    pre_real.fexecve(fd, args, env);
    pre_pass_on(false); /* it has failed */
    return -1;
}

HOOK int setuid(uid_t uid)
{
    pre_connect_early();
    return pre_real.setuid(uid);
}

HOOK int seteuid(uid_t uid)
{
    pre_connect_early();
    return pre_real.seteuid(uid);
}

HOOK int setreuid(uid_t real, uid_t effective)
{
    pre_connect_early();
    return pre_real.setreuid(real, effective);
}

HOOK int setresuid(uid_t real, uid_t effective, uid_t saved)
{
    pre_connect_early();
    return pre_real.setresuid(real, effective, saved);
}

HOOK int chroot(const char *path)
{
    pre_connect_early();
    return pre_real.chroot(path);
}
