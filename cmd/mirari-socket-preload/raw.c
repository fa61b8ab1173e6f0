/* SPDX-License-Identifier: ISC */
/* syscall(), the function: libraries call young system calls by their numbers (libuv: sendmmsg).
 *
 * Calls that have to do with sockets and descriptors take the same way as their functions; all
 * others go on. Instructions in a program itself (Go, static programs) are out of reach.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "cmd/mirari-socket-preload/preload.h"

/* The arguments as what they are. */
#define INT(i)    ((int)a[i])
#define PTR(i)    ((void *)a[i])
#define SIZE(i)   ((size_t)a[i])
#define FAMILY(i) ((struct sockaddr *)a[i])

static bool move_data(long number, const long *a, long *result)
{
    switch (number) {
    case SYS_read:
        *result = read(INT(0), PTR(1), SIZE(2));
        return true;
    case SYS_write:
        *result = write(INT(0), PTR(1), SIZE(2));
        return true;
    case SYS_readv:
        *result = readv(INT(0), PTR(1), INT(2));
        return true;
    case SYS_writev:
        *result = writev(INT(0), PTR(1), INT(2));
        return true;
    case SYS_sendto:
        *result = sendto(INT(0), PTR(1), SIZE(2), INT(3), FAMILY(4), (socklen_t)a[5]);
        return true;
    case SYS_recvfrom:
        *result = recvfrom(INT(0), PTR(1), SIZE(2), INT(3), FAMILY(4), PTR(5));
        return true;
    case SYS_sendmsg:
        *result = sendmsg(INT(0), PTR(1), INT(2));
        return true;
    case SYS_recvmsg:
        *result = recvmsg(INT(0), PTR(1), INT(2));
        return true;
    case SYS_sendmmsg:
        *result = sendmmsg(INT(0), PTR(1), (unsigned)a[2], INT(3));
        return true;
    case SYS_recvmmsg:
        *result = recvmmsg(INT(0), PTR(1), (unsigned)a[2], INT(3), PTR(4));
        return true;
    default:
        return false;
    }
}

static bool set_up(long number, const long *a, long *result)
{
    switch (number) {
    case SYS_socket:
        *result = socket(INT(0), INT(1), INT(2));
        return true;
    case SYS_bind:
        *result = bind(INT(0), FAMILY(1), (socklen_t)a[2]);
        return true;
    case SYS_connect:
        *result = connect(INT(0), FAMILY(1), (socklen_t)a[2]);
        return true;
    case SYS_listen:
        *result = listen(INT(0), INT(1));
        return true;
    case SYS_accept:
        *result = accept4(INT(0), FAMILY(1), PTR(2), 0);
        return true;
    case SYS_accept4:
        *result = accept4(INT(0), FAMILY(1), PTR(2), INT(3));
        return true;
    case SYS_getsockname:
        *result = getsockname(INT(0), FAMILY(1), PTR(2));
        return true;
    case SYS_getpeername:
        *result = getpeername(INT(0), FAMILY(1), PTR(2));
        return true;
    case SYS_setsockopt:
        *result = setsockopt(INT(0), INT(1), INT(2), PTR(3), (socklen_t)a[4]);
        return true;
    case SYS_getsockopt:
        *result = getsockopt(INT(0), INT(1), INT(2), PTR(3), PTR(4));
        return true;
    case SYS_shutdown:
        *result = shutdown(INT(0), INT(1));
        return true;
    default:
        return false;
    }
}

static bool follow(long number, const long *a, long *result)
{
    switch (number) {
    case SYS_close:
        *result = close(INT(0));
        return true;
    case SYS_close_range:
        *result = close_range((unsigned)a[0], (unsigned)a[1], INT(2));
        return true;
    case SYS_dup:
        *result = dup(INT(0));
        return true;
#ifdef SYS_dup2 /* young architectures have dup3 only */
    case SYS_dup2:
        *result = dup2(INT(0), INT(1));
        return true;
#endif
    case SYS_dup3:
        *result = dup3(INT(0), INT(1), INT(2));
        return true;
    case SYS_fcntl:
        *result = fcntl(INT(0), INT(1), PTR(2));
        return true;
    case SYS_ioctl:
        *result = ioctl(INT(0), (unsigned long)a[1], PTR(2));
        return true;
    default:
        return false;
    }
}

HOOK long syscall(long number, ...)
{
    long a[6], result = 0;
    va_list list;
    va_start(list, number);
    for (unsigned i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (pre_is_on &&
        (move_data(number, a, &result) || set_up(number, a, &result) || follow(number, a, &result)))
        return result;
    return pre_real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
