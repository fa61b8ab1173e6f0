/* SPDX-License-Identifier: ISC */
/* getsockopt and setsockopt.
 *
 * Three kinds of options:
 *   native  what the kernel's pair does for us: timeouts of calls, low-water mark, buffer sizes.
 *           Buffer sizes are told to the server too
 *   kept    the common ones, before the server knows the socket: they are checked here, remembered,
 *           and go along with the first operation
 *   asked   everything else, and everything later: the server owns the table of what exists and
 *           gives the errno for what does not
 *
 * Ancillary data of datagrams is made by the library, so options that ask for it are noted here.
 */
#include <netinet/tcp.h>
#include <sys/time.h>

#include "cmd/mirari-socket-preload/preload.h"

enum {
    UDP_SEND_BUFFER_MIN = 2 * 65536, /* a pair refuses messages larger than its buffer */
    SHOWN_MIN = 4608,                /* Linux shows no SO_SNDBUF below */
};

static bool is_native(int level, int name)
{
    if (level != SOL_SOCKET)
        return false;
    switch (name) {
    case SO_RCVTIMEO:
    case SO_SNDTIMEO:
    case SO_RCVLOWAT:
    case SO_PEEK_OFF:
    case SO_SNDBUF:
    case SO_RCVBUF:
    case SO_SNDBUFFORCE:
    case SO_RCVBUFFORCE:
        return true;
    default:
        return false;
    }
}

/* Options whose value is any integer: these may wait for the server. */
static bool may_wait(const struct pre_sock *s, int level, int name)
{
    switch (level) {
    case SOL_SOCKET:
        return name == SO_REUSEADDR || name == SO_REUSEPORT || name == SO_KEEPALIVE ||
               name == SO_BROADCAST || name == SO_OOBINLINE;
    case IPPROTO_TCP:
        return !s->is_udp && (name == TCP_NODELAY || name == TCP_QUICKACK);
    case IPPROTO_IPV6:
        return s->domain == AF_INET6 && (name == IPV6_V6ONLY || name == IPV6_RECVPKTINFO);
    default:
        return false;
    }
}

static uint32_t ancillary(int level, int name)
{
    if (level == SOL_SOCKET)
        return name == SO_TIMESTAMP ? PRE_STAMP_US : name == SO_TIMESTAMPNS ? PRE_STAMP_NS : 0;
    if (level == IPPROTO_IP)
        return name == IP_PKTINFO   ? PRE_PKTINFO
               : name == IP_RECVTTL ? PRE_TTL
               : name == IP_RECVTOS ? PRE_TOS
                                    : 0;
    if (level == IPPROTO_IPV6)
        return name == IPV6_RECVPKTINFO    ? PRE_PKTINFO6
               : name == IPV6_RECVHOPLIMIT ? PRE_HOPS6
               : name == IPV6_RECVTCLASS   ? PRE_CLASS6
                                           : 0;
    return 0;
}

static int tell(struct pre_sock *s, int fd, int level, int name, const void *value, uint32_t len)
{
    struct sock_option head = {.level = level, .name = name, .len = len};
    struct pre_ask ask = {.op = SOCK_SETOPT,
                          .body = {{&head, sizeof(head)}, {(void *)(uintptr_t)value, len}},
                          .body_count = 2};
    int r = pre_op(s, fd, &ask);
    if (r == -ENOTCONN && atomic_load(&s->state) == PRE_CONNECTED)
        r = 0; /* of a connection that is over: nothing is left that it could change */
    if (r == 0 && atomic_load(&s->state) == PRE_NEW)
        (void)pre_keep(s, level, name, value, len); /* for a new pair, or the host's stack */
    return r;
}

static int set_native(struct pre_sock *s, int fd, int name, const void *value, socklen_t len)
{
    int number;
    if (name == SO_SNDTIMEO && len >= sizeof(struct timeval)) {
        struct timeval t;
        memcpy(&t, value, sizeof(t));
        int64_t ms = (int64_t)t.tv_sec * 1000 + (t.tv_usec + 999) / 1000;
        s->send_timeout_ms = ms < 0 || ms > INT32_MAX ? 0 : (int)ms;
    }
    if ((name == SO_SNDBUF || name == SO_SNDBUFFORCE) && len >= sizeof(number)) {
        memcpy(&number, value, sizeof(number));
        int least = s->is_udp ? UDP_SEND_BUFFER_MIN : SOCK_PAIR_SNDBUF;
        bool is_little = number >= 0 && number < least; /* negative: as much as may be */
        s->send_buffer = is_little ? least : number;
        s->send_shown = is_little && !s->is_udp ? number : 0;
        if (atomic_load(&s->state) == PRE_CONNECTING)
            (void)pre_progress(s, fd);
        if (pre_has(s, PRE_NARROW)) /* poll would take it for connected */
            return 0;
        if (s->is_udp || is_little)
            return pre_real.setsockopt(fd, SOL_SOCKET, name, &s->send_buffer, sizeof(int)) < 0
                       ? -errno
                       : 0;
    }
    if (pre_real.setsockopt(fd, SOL_SOCKET, name, value, len) < 0)
        return -errno;
    bool is_size = name == SO_SNDBUF || name == SO_RCVBUF;
    if (is_size && len >= sizeof(number) && atomic_load(&s->handle) != 0)
        (void)tell(s, fd, SOL_SOCKET, name, value, sizeof(number));
    else if (is_size && len >= sizeof(number))
        (void)pre_keep(s, SOL_SOCKET, name, value, sizeof(number));
    return 0;
}

static int set_ours(struct pre_sock *s, int fd, int level, int name, const void *value,
                    socklen_t len)
{
    if (pre_is_bad(value) && len != 0)
        return -EFAULT;
    if (is_native(level, name))
        return set_native(s, fd, name, value, len);
    if (len > SOCK_OPTION_MAX)
        return -EINVAL;
    if (atomic_load(&s->state) == PRE_CONNECTING)
        (void)pre_progress(s, fd);
    uint32_t wanted = ancillary(level, name);
    int number = 0;
    if (len >= sizeof(number))
        memcpy(&number, value, sizeof(number));
    int r = -ENOBUFS;
    if (atomic_load(&s->handle) == 0 && atomic_load(&s->b_fd) >= 0 && may_wait(s, level, name)) {
        if (len < sizeof(number))
            return -EINVAL;
        r = pre_keep(s, level, name, &number, sizeof(number)) ? 0 : -ENOBUFS;
    }
    if (r != 0)
        r = tell(s, fd, level, name, value, len);
    if (r == 0 && wanted != 0)
        pre_flag(s, wanted, number != 0);
    return r;
}

HOOK int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    struct pre_sock *s = likely(pre_entry(fd) == 0) ? NULL : pre_get(fd);
    if (s == NULL)
        return pre_real.setsockopt(fd, level, name, value, len);
    int r;
    if (level == SOL_NETLINK && pre_has(s, PRE_LINK)) {
        r = 0; /* how much it says; to us it is the same */
    } else if (pre_has(s, PRE_HOST)) {
        r = pre_real.setsockopt(fd, level, name, value, len) < 0 ? -errno : 0;
        if (r == 0 && len <= SOCK_OPTION_MAX)
            (void)pre_keep(s, level, name, value, len);
    } else {
        r = set_ours(s, fd, level, name, value, len);
    }
    pre_put(s);
    return r < 0 ? pre_fail(r) : 0;
}

/* ---- getsockopt
 * ---------------------------------------------------------------------------------- */

static int give(void *to, socklen_t *room, const void *value, socklen_t len)
{
    if (pre_is_bad(room) || (pre_is_bad(to) && *room != 0))
        return -EFAULT;
    if ((int)*room < 0)
        return -EINVAL;
    socklen_t n = *room < len ? *room : len;
    memcpy(to, value, n);
    *room = n;
    return 0;
}

static int give_int(void *to, socklen_t *room, int value)
{
    return give(to, room, &value, sizeof(value));
}

static int ask_option(struct pre_sock *s, int fd, int level, int name, void *to, socklen_t *room)
{
    struct sock_option head = {.level = level, .name = name};
    struct {
        struct sock_option head;
        uint8_t value[SOCK_OPTION_MAX];
    } answer;
    if (pre_is_bad(room) || (pre_is_bad(to) && *room != 0))
        return -EFAULT;
    if ((int)*room < 0)
        return -EINVAL;
    head.len = *room < SOCK_OPTION_MAX ? *room : SOCK_OPTION_MAX;
    memset(&answer.head, 0, sizeof(answer.head));
    int r = pre_op_simple(s, fd, SOCK_GETOPT, PRE_BYTES(&head, sizeof(head)),
                          PRE_BYTES(&answer, sizeof(answer)));
    if (r != 0)
        return r;
    if (answer.head.len > SOCK_OPTION_MAX)
        return -EPROTO;
    return give(to, room, answer.value, answer.head.len);
}

/* The kernel knows that it was a reset, the server what kind. */
static int pending_error(struct pre_sock *s, int fd)
{
    int value = 0;
    socklen_t len = sizeof(value);
    if (atomic_load(&s->state) == PRE_CONNECTING) {
        int reason = pre_progress(s, fd);
        return reason < 0 ? 0 : reason;
    }
    if (pre_has(s, PRE_STALE)) /* it has been told */
        return 0;
    if (atomic_load(&s->handle) == 0 && atomic_load(&s->b_fd) >= 0)
        return 0;
    if (s->is_udp)
        return ask_option(s, fd, SOL_SOCKET, SO_ERROR, &value, &len) == 0 ? value : 0;
    if (pre_real.getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len) < 0 || value != ECONNRESET)
        return value;
    int why = 0;
    len = sizeof(why);
    return ask_option(s, fd, SOL_SOCKET, SO_ERROR, &why, &len) == 0 && why != 0 ? why : value;
}

static int get_socket_level(struct pre_sock *s, int fd, int name, void *to, socklen_t *room,
                            bool *is_done)
{
    *is_done = true;
    switch (name) {
    case SO_TYPE:
        return give_int(to, room, s->is_udp ? SOCK_DGRAM : SOCK_STREAM);
    case SO_DOMAIN:
        return give_int(to, room, s->domain);
    case SO_PROTOCOL:
        return give_int(to, room, s->is_udp ? IPPROTO_UDP : IPPROTO_TCP);
    case SO_ACCEPTCONN:
        pre_update(s, fd);
        return give_int(to, room, atomic_load(&s->state) == PRE_LISTENING);
    case SO_ERROR:
        return give_int(to, room, pending_error(s, fd));
    default:
        *is_done = false;
        return 0;
    }
}

static int get_ours(struct pre_sock *s, int fd, int level, int name, void *to, socklen_t *room)
{
    bool is_done = false;
    if (level == SOL_SOCKET) {
        int r = get_socket_level(s, fd, name, to, room, &is_done);
        if (is_done)
            return r;
    }
    if (level == SOL_SOCKET && name == SO_SNDBUF && s->send_shown != 0)
        return give_int(to, room, s->send_shown < SHOWN_MIN / 2 ? SHOWN_MIN : 2 * s->send_shown);
    if (is_native(level, name))
        return pre_real.getsockopt(fd, level, name, to, room) < 0 ? -errno : 0;
    if (atomic_load(&s->handle) == 0 && atomic_load(&s->b_fd) >= 0) {
        const struct sock_option *kept = pre_kept(s, level, name);
        if (kept != NULL)
            return give(to, room, kept + 1, kept->len);
        if (may_wait(s, level, name) && name != IPV6_V6ONLY && name != TCP_QUICKACK)
            return give_int(to, room, 0);
    }
    return ask_option(s, fd, level, name, to, room);
}

HOOK int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
    struct pre_sock *s = likely(pre_entry(fd) == 0) ? NULL : pre_get(fd);
    bool is_family = level == SOL_SOCKET && name == SO_DOMAIN;
    if (s == NULL || (pre_has(s, PRE_HOST) && !(is_family && pre_has(s, PRE_LINK)))) {
        if (s != NULL)
            pre_put(s);
        return pre_real.getsockopt(fd, level, name, value, len);
    }
    int r = get_ours(s, fd, level, name, value, len);
    pre_put(s);
    return r < 0 ? pre_fail(r) : 0;
}
