/* SPDX-License-Identifier: ISC */
/* Error numbers of the host for programs that show our stack as sockets of it. The other direction
 * is mir__host_error(). */
#ifndef DEV_NET_HOST_ERRNO_H
#define DEV_NET_HOST_ERRNO_H

#include <errno.h>

#include <mirari/err.h>

/** errno, positive, of a negative MIR_E*; 0 of 0, EIO of what is not in the table. */
static inline int mir_host_errno(int err)
{
    switch (-err) {
#define MIR__X(name, number, text, posix)                                                          \
    case number:                                                                                   \
        return posix;
        MIR_ERRORS(MIR__X)
#undef MIR__X
    default:
        return err == 0 ? 0 : EIO;
    }
}

#endif
