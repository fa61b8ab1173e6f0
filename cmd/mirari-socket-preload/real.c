/* SPDX-License-Identifier: ISC */
/* The C library's own functions, behind ours.
 *
 * Each pointer begins at a function that finds all of them and goes on; so a constructor of another
 * library that opens a file before ours has run works too. dlsym() takes locks and may allocate:
 * it runs once, in our constructor or before main, never in a signal handler.
 *
 * What it does not do: find functions of a C library that lacks them. close_range() is young and
 * answers ENOSYS then; without any other the program ends with a message.
 */
#include <dlfcn.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/mirari-socket-preload/preload.h"

static void resolve(void);

#define X(type, name, params, args)                                                                \
    static type first_##name params                                                                \
    {                                                                                              \
        resolve();                                                                                 \
        return pre_real.name args;                                                                 \
    }
PRE_REALS(X)
#undef X

static int first_fcntl(int fd, int op, ...)
{
    va_list list;
    va_start(list, op);
    void *last = va_arg(list, void *);
    va_end(list);
    resolve();
    return pre_real.fcntl(fd, op, last);
}

static int first_ioctl(int fd, unsigned long op, ...)
{
    va_list list;
    va_start(list, op);
    void *last = va_arg(list, void *);
    va_end(list);
    resolve();
    return pre_real.ioctl(fd, op, last);
}

static long first_syscall(long number, ...)
{
    long a[6];
    va_list list;
    va_start(list, number);
    for (unsigned i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    resolve();
    return pre_real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

struct pre_real pre_real = {
#define X(type, name, params, args) .name = first_##name,
    PRE_REALS(X)
#undef X
        .fcntl = first_fcntl,
    .ioctl = first_ioctl,
    .syscall = first_syscall,
};

static int no_close_range(unsigned first, unsigned last, int flags)
{
    (void)first, (void)last, (void)flags;
    return pre_fail(ENOSYS);
}

/* A pointer to an object becomes one to a function only by its bytes. */
static void find(const char *name, void *slot)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL && strcmp(name, "close_range") == 0) {
        int (*absent)(unsigned, unsigned, int) = no_close_range;
        memcpy(slot, &absent, sizeof(absent));
        return;
    }
    if (found == NULL) {
        fprintf(stderr, "libmirari-socket: the C library has no %s(); this library needs glibc\n",
                name);
        abort();
    }
    memcpy(slot, &found, sizeof(found));
}

static void resolve(void)
{
    int error = errno;
#define X(type, name, params, args) find(#name, &pre_real.name);
    PRE_REALS(X)
#undef X
    find("fcntl", &pre_real.fcntl);
    find("ioctl", &pre_real.ioctl);
    find("syscall", &pre_real.syscall);
    errno = error;
}

__attribute__((constructor(101))) static void resolve_early(void)
{
    resolve();
}
