/* SPDX-License-Identifier: ISC */
/* sendfile() and splice() of sockets whose data the kernel must not move by itself.
 *
 * For a connection both are the kernel's, on the pair. A stream that is not connected would take
 * the bytes, a listener would give its messages away, datagrams have heads: these go through send()
 * and recv() here, so that they are framed or refused as by any other call. At most one buffer's
 * worth is moved by one call, which both calls may do.
 */
#include <fcntl.h>
#include <sys/sendfile.h>

#include "cmd/mirari-socket-preload/preload.h"

enum { MOVED_MOST = 65507 };

/* The file's position moves only by what was sent. */
static ssize_t send_file(int out, int in, off_t *offset, size_t count)
{
    char data[MOVED_MOST];
    off_t from = offset != NULL ? *offset : lseek(in, 0, SEEK_CUR);
    ssize_t got =
        from < 0 ? -1 : pread(in, data, count < sizeof(data) ? count : sizeof(data), from);
    if (got <= 0)
        return got;
    ssize_t put = send(out, data, (size_t)got, 0);
    if (put <= 0)
        return put;
    if (offset != NULL)
        *offset = from + put;
    else
        (void)lseek(in, from + put, SEEK_SET);
    return put;
}

HOOK ssize_t sendfile(int out, int in, off_t *offset, size_t count)
{
    if (likely(!(pre_entry(out) & PRE_DATA)) || pre_is_foreign(out))
        return pre_real.sendfile(out, in, offset, count);
    return send_file(out, in, offset, count);
}

_Static_assert(sizeof(off_t) == sizeof(off64_t), "one form of both");

HOOK ssize_t sendfile64(int out, int in, off64_t *offset, size_t count)
{
    return sendfile(out, in, offset, count);
}

static ssize_t splice_in(int in, int out, size_t len, unsigned flags)
{
    char data[MOVED_MOST];
    ssize_t got = recv(in, data, len < sizeof(data) ? len : sizeof(data),
                       flags & SPLICE_F_NONBLOCK ? MSG_DONTWAIT : 0);
    return got <= 0 ? got : write(out, data, (size_t)got);
}

/* Asked for nothing first: what is refused must stay in the pipe. */
static ssize_t splice_out(int in, int out, size_t len)
{
    char data[MOVED_MOST];
    struct pre_sock *s = pre_get(out);
    bool is_stream = s != NULL && !s->is_udp;
    if (s != NULL)
        pre_put(s);
    if (is_stream && send(out, "", 0, 0) < 0)
        return -1;
    ssize_t got = read(in, data, len < sizeof(data) ? len : sizeof(data));
    return got <= 0 ? got : send(out, data, (size_t)got, 0);
}

HOOK ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len,
                    unsigned flags)
{
    if (unlikely((pre_entry(in) & PRE_DATA) && in_offset == NULL) && !pre_is_foreign(in))
        return splice_in(in, out, len, flags);
    if (unlikely((pre_entry(out) & PRE_DATA) && out_offset == NULL) && !pre_is_foreign(out))
        return splice_out(in, out, len);
    return pre_real.splice(in, in_offset, out, out_offset, len, flags);
}
