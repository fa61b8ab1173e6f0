/* SPDX-License-Identifier: ISC */
/* Unix sockets with a name as places to meet: making one, going there, waiting. */
#ifndef DEV_CHANNEL_MEMFD_PLACE_H
#define DEV_CHANNEL_MEMFD_PLACE_H

#include <mirari/base.h>
#include <mirari/err.h>

/** The error of this errno, of those that a user can do something about. */
int mir__place_error(int number);

/**
 * mir__place_listen() - a listening socket at @path, which replaces what a dead server left.
 *
 * @type  SOCK_STREAM or SOCK_SEQPACKET
 * @file  out: what mir__place_leave() knows it by
 *
 * Returns 0, -MIR_EADDRINUSE (a server of any type listens there), -MIR_EEXIST (it is no socket),
 *         -MIR_EINVAL (path too long), -MIR_EPERM, -MIR_ENOENT (no such folder), -MIR_EIO.
 * Source  none
 */
int mir__place_listen(const char *path, int type, unsigned mode, int *fd, uint64_t *file) MIR_CHECK;
/** Close it, and remove the name if it is ours still. Harmless the second time. */
void mir__place_leave(const char *path, uint64_t file, int *fd);

/**
 * mir__place_connect() - a socket to the server at @path, not blocking.
 *
 * Returns 0, -MIR_ENOENT, -MIR_ECONNREFUSED or -MIR_ETIMEDOUT (nobody there until @deadline_us,
 *         monotonic), -MIR_ENOTSUP (a server of another type), -MIR_EPERM, -MIR_EINVAL, -MIR_EIO.
 * Source  none
 */
int mir__place_connect(const char *path, int type, mir_time_us deadline_us, int *fd) MIR_CHECK;
/** Until it is readable. Returns 0, -MIR_ETIMEDOUT, -MIR_EIO. */
int mir__place_wait(int fd, mir_time_us deadline_us) MIR_CHECK;

#endif
