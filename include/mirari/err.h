/* SPDX-License-Identifier: ISC */
/* The one table of errors: name, number (never reused), text, POSIX errno name.
 *
 * Functions return 0 or a negative MIR_E*. The constants, mir_strerror(), the documentation and
 * the errno mapping of hosted code are all made from this table.
 */
#ifndef MIRARI_ERR_H
#define MIRARI_ERR_H

#define MIR_ERRORS(X)                                                                              \
    X(EAGAIN, 1, "not now, try again later", EAGAIN)                                               \
    X(EINVAL, 2, "invalid argument", EINVAL)                                                       \
    X(ENOMEM, 3, "no memory within the configured limit", ENOMEM)                                  \
    X(ELIMIT, 4, "a configured limit is reached", ENOBUFS)                                         \
    X(ENOENT, 5, "no such name", ENOENT)                                                           \
    X(EEXIST, 6, "name exists already", EEXIST)                                                    \
    X(EMALFORMED, 7, "malformed input", EBADMSG)                                                   \
    X(ETRUNCATED, 8, "input ends too early", EBADMSG)                                              \
    X(ECHECKSUM, 9, "checksum mismatch", EBADMSG)                                                  \
    X(ETOOBIG, 10, "message too big", EMSGSIZE)                                                    \
    X(ENOTSUP, 11, "not supported", EOPNOTSUPP)                                                    \
    X(ETIMEDOUT, 12, "timed out", ETIMEDOUT)                                                       \
    X(ECANCELED, 13, "canceled", ECANCELED)                                                        \
    X(EIO, 14, "input/output error", EIO)                                                          \
    X(ECLOSED, 15, "closed", EPIPE)                                                                \
    X(EEOF, 16, "end of stream", ENODATA)                                                          \
    X(EPERM, 17, "not permitted", EPERM)                                                           \
    X(EBUSY, 18, "busy", EBUSY)                                                                    \
    X(ENOTCONN, 19, "not connected", ENOTCONN)                                                     \
    X(EISCONN, 20, "already connected", EISCONN)                                                   \
    X(ECONNREFUSED, 21, "connection refused", ECONNREFUSED)                                        \
    X(ECONNRESET, 22, "connection reset by peer", ECONNRESET)                                      \
    X(ECONNABORTED, 23, "connection aborted", ECONNABORTED)                                        \
    X(EADDRINUSE, 24, "address in use", EADDRINUSE)                                                \
    X(EADDRNOTAVAIL, 25, "address not available", EADDRNOTAVAIL)                                   \
    X(ENETUNREACH, 26, "network unreachable", ENETUNREACH)                                         \
    X(EHOSTUNREACH, 27, "host unreachable", EHOSTUNREACH)                                          \
    X(ENETDOWN, 28, "network is down", ENETDOWN)                                                   \
    X(EPROTO, 29, "protocol error", EPROTO)                                                        \
    X(ERANGE, 30, "value out of range", ERANGE)

enum mir_err {
    MIR_OK = 0,
#define MIR__X(name, number, text, posix) MIR_##name = (number),
    MIR_ERRORS(MIR__X)
#undef MIR__X
        MIR_ERR_MAX = 31
};

/**
 * mir_strerror() - English text of an error.
 *
 * @err  0, or an error positive or negative
 *
 * Returns a static text, never NULL ("unknown error" for numbers outside the table).
 * Source  none
 */
const char *mir_strerror(int err);

/**
 * mir_errname() - the constant's name, such as "MIR_EAGAIN".
 *
 * Returns a static text, never NULL.
 * Source  none
 */
const char *mir_errname(int err);

#endif
