/* SPDX-License-Identifier: ISC */
/* The calls that make, name, connect and end sockets.
 *
 *   socket    a pair of the kernel, nothing is asked
 *   bind      one request, which also tells the server of the socket
 *   connect   one request; with O_NONBLOCK the end A is filled first, so that it becomes writable
 *             when the server, connected, empties it
 *   accept    one recvmsg(): the server has put the connection, descriptor and addresses, into the
 *             listener's pair; no request
 *   names     known from connect and accept; asked for otherwise
 *
 * A program that looks at a connection attempt (a second connect, SO_ERROR) is answered by the
 * state of A: writable is connected, hung up is failed, and only then the server is asked why.
 *
 * Cancelling a thread inside connect() takes effect when it returns.
 */
#include <fcntl.h>
#include <linux/netlink.h>

#include "cmd/mirari-socket-preload/preload.h"

static bool is_ours_kind(int domain, int type, int protocol)
{
    int kind = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (!pre_is_on || (domain != AF_INET && domain != AF_INET6))
        return false;
    return (kind == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP)) ||
           (kind == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP));
}

static bool is_link(int domain, int protocol)
{
    return domain == AF_NETLINK && protocol == NETLINK_ROUTE && pre_is_on &&
           sock_rules_initial(&pre_rules, false) == SOCK_OURS;
}

HOOK int socket(int domain, int type, int protocol)
{
    int fd;
    if (unlikely(is_link(domain, protocol))) {
        fd = pre_link_make(type);
        return fd < 0 ? pre_fail(fd) : fd;
    }
    if (!is_ours_kind(domain, type, protocol)) {
        /* Multipath TCP of the host would pass us by; programs go on with plain TCP. */
        bool is_mptcp = pre_is_on && protocol == IPPROTO_MPTCP &&
                        sock_rules_initial(&pre_rules, false) == SOCK_OURS;
        fd = is_mptcp ? pre_fail(EPROTONOSUPPORT) : pre_real.socket(domain, type, protocol);
        pre_forget(fd);
        return fd;
    }
    bool is_udp = (type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) == SOCK_DGRAM;
    if (pre_rules.count == 0 && sock_rules_initial(&pre_rules, is_udp) == SOCK_HOST) {
        fd = pre_real.socket(domain, type, protocol); /* and no rule that could change it */
        pre_forget(fd);
        return fd;
    }
    fd = pre_make(domain, type, protocol);
    return fd < 0 ? pre_fail(fd) : fd;
}

/* Release @s, set errno if @r is an error. */
static int done(struct pre_sock *s, int r)
{
    pre_put(s);
    return r < 0 ? pre_fail(r) : r;
}

/* ---- bind, listen
 * -------------------------------------------------------------------------------- */

static int bind_ours(struct pre_sock *s, int fd, const struct sock_addr *addr)
{
    struct sock_addr local = *addr;
    static const uint8_t none[16];
    if (local.family == AF_UNSPEC) { /* as Linux: the any-address of IPv4 */
        if (s->domain != AF_INET || memcmp(local.ip, none, 4) != 0)
            return -EAFNOSUPPORT;
        local.family = AF_INET;
    }
    if (local.family != s->domain)
        return -EAFNOSUPPORT;
    int r = pre_has(s, PRE_STALE) ? pre_renew(s, fd) : 0;
    if (r == 0)
        r = pre_op_simple(s, fd, SOCK_BIND, PRE_BYTES(&local, sizeof(local)),
                          PRE_BYTES(&s->names, sizeof(s->names)));
    return r;
}

HOOK int bind(int fd, __CONST_SOCKADDR_ARG addr_arg, socklen_t len)
{
    const struct sockaddr *addr = addr_arg.__sockaddr__;
    struct sock_addr local;
    struct pre_sock *s = likely(pre_entry(fd) == 0) ? NULL : pre_get(fd);
    if (s == NULL)
        return pre_real.bind(fd, addr, len);
    if (pre_has(s, PRE_LINK))
        return done(s, 0);
    bool is_short = s->domain == AF_INET6 && len < offsetof(struct sockaddr_in6, sin6_scope_id);
    int r = is_short ? -EINVAL : pre_addr_in(s, addr, len, &local);
    if (r == 0)
        r = pre_switch(s, fd, sock_rules_decide(&pre_rules, s->is_udp, SOCK_RULE_BIND, addr, len));
    if (r == 0 && pre_has(s, PRE_HOST))
        r = pre_real.bind(fd, addr, len) < 0 ? -errno : 0;
    else if (r == 0)
        r = bind_ours(s, fd, &local);
    if (r == 0) {
        s->bound = local;
        pre_flag(s, PRE_BOUND, true);
    }
    return done(s, r);
}

HOOK int listen(int fd, int backlog)
{
    struct pre_sock *s = likely(pre_entry(fd) == 0) ? NULL : pre_get(fd);
    if (s == NULL)
        return pre_real.listen(fd, backlog);
    if (pre_has(s, PRE_HOST)) {
        int r = pre_real.listen(fd, backlog);
        if (r == 0 && !s->is_udp)
            pre_forget(fd); /* the host's for good */
        pre_put(s);
        return r;
    }
    struct sock_listen body = {.backlog = backlog};
    int r = s->is_udp ? -EOPNOTSUPP : 0;
    pre_update(s, fd);
    if (r == 0 &&
        (atomic_load(&s->state) == PRE_CONNECTED || atomic_load(&s->state) == PRE_CONNECTING))
        r = -EINVAL;
    if (r == 0 && pre_has(s, PRE_STALE))
        r = pre_renew(s, fd);
    uint32_t skip; /* a listener is never writable */
    if (r == 0 && atomic_load(&s->state) != PRE_LISTENING)
        r = sock_fill(fd, &skip);
    if (r == 0)
        r = pre_op_simple(s, fd, SOCK_LISTEN, PRE_BYTES(&body, sizeof(body)),
                          PRE_BYTES(&s->names, sizeof(s->names)));
    if (r == 0)
        atomic_store(&s->state, PRE_LISTENING);
    return done(s, r);
}

/* ---- connect, without an answer
 * --------------------------------------------------------------------------
 *
 * A program that connects without blocking needs no answer: it looks with poll how the attempt
 * ended, and asks for the reason. What only an answer can tell is that an attempt cannot even be
 * begun, which connect() should say at once. To an address where the last attempt was a success
 * that is not to be expected, and the request is sent and not waited for: no sleep, no wake-up.
 *
 * A must not be writable until the server takes a byte away. Instead of filling it, its buffer is
 * made as small as can be: then two messages of a byte are too much for poll, and one is not. The
 * first call that has to do with the connection finds out that it is there, and makes it wide.
 */

/* pre_sock.target of successes, each at its own number modulo the size. */
static _Atomic uint64_t warm[64];
static _Atomic int is_narrowing_good; /* 0: not tried, 1: as described, -1: not on this kernel */

static uint64_t hash_of(const struct sock_addr *peer)
{
    const uint8_t *at = (const void *)peer;
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof(*peer); i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash | 1;
}

void pre_widen(struct pre_sock *s, int fd)
{
    int room = s->send_buffer != 0 ? s->send_buffer : SOCK_PAIR_SNDBUF;
    if (!pre_has(s, PRE_NARROW))
        return;
    pre_flag(s, PRE_NARROW, false);
    (void)pre_real.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
}

static _Atomic uint64_t *warm_place(const struct pre_sock *s)
{
    return &warm[(s->target >> 32) % (sizeof(warm) / sizeof(warm[0]))];
}

static void note_end(const struct pre_sock *s, bool is_success)
{
    if (s->target != 0)
        atomic_store_explicit(warm_place(s), is_success ? s->target : 0, memory_order_relaxed);
}

/* Is A not writable now? */
static bool narrow(struct pre_sock *s, int fd)
{
    const int least = 0;
    int known = atomic_load(&is_narrowing_good);
    if (known < 0 || pre_real.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)) < 0)
        return false;
    pre_flag(s, PRE_NARROW, true);
    if (known == 0) {
        struct pollfd look = {.fd = fd, .events = POLLOUT};
        known = poll(&look, 1, 0) == 0 ? 1 : -1;
        atomic_store(&is_narrowing_good, known);
    }
    if (known < 0)
        pre_widen(s, fd);
    return known > 0;
}

static void set_connecting(struct pre_sock *s, bool is_connecting)
{
    uint32_t from = is_connecting ? PRE_NEW : PRE_CONNECTING;
    (void)atomic_compare_exchange_strong(&s->state, &from,
                                         is_connecting ? PRE_CONNECTING : PRE_NEW);
}

/* Of a socket with the byte for edges in A. Returns false if it must be asked for. */
static bool begin_unasked(struct pre_sock *s, int fd, struct pre_ask *ask)
{
    bool is_warm = atomic_load_explicit(warm_place(s), memory_order_relaxed) == s->target;
    if (!is_warm || atomic_load(&s->handle) != 0 || atomic_load(&s->b_fd) < 0 ||
        pre_kept(s, SOL_SOCKET, SO_SNDBUF) != NULL || !narrow(s, fd))
        return false;
    struct pre_ask unasked = *ask;
    unasked.flags = SOCK_F_SILENT;
    memset(&s->names, 0, sizeof(s->names));
    set_connecting(s, true); /* before another thread can find it connected */
    if (pre_op(s, fd, &unasked) == 0)
        return true;
    set_connecting(s, false);
    pre_widen(s, fd);
    return false;
}

int pre_progress(struct pre_sock *s, int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLOUT};
    int error = errno, n = poll(&look, 1, 0), result = -1;
    if (n < 0) {
        errno = error;
        return -1;
    }
    if (look.revents & (POLLHUP | POLLERR)) {
        struct {
            struct sock_option head;
            int value[2];
        } out = {.head = {.level = SOL_SOCKET, .name = SO_ERROR, .len = sizeof(int)}}, in;
        memset(&in, 0, sizeof(in));
        int r = pre_op_simple(s, fd, SOCK_GETOPT, PRE_BYTES(&out.head, sizeof(out.head)),
                              PRE_BYTES(&in, sizeof(in)));
        result = r == 0 && in.value[0] != 0 ? in.value[0] : r == -ENETDOWN ? ENETDOWN : ECONNRESET;
        int native;
        socklen_t len = sizeof(native);
        (void)pre_real.getsockopt(fd, SOL_SOCKET, SO_ERROR, &native, &len); /* told only once */
        atomic_store(&s->state, PRE_NEW);
        pre_flag(s, PRE_STALE, true);
        pre_flag(s, PRE_NAMED | PRE_NARROW, false);
        pre_refresh(s, fd);
        note_end(s, false);
    } else if (pre_has(s, PRE_UNFILLED)) {
        pre_flag(s, PRE_SHARED, true);
        pre_update(s, fd);
        result = atomic_load(&s->state) == PRE_CONNECTED ? 0 : -1;
    } else if (look.revents & POLLOUT) {
        note_end(s, true);
        pre_widen(s, fd);
        atomic_store(&s->state, PRE_CONNECTED);
        pre_refresh(s, fd);
        result = 0;
    }
    errno = error;
    return result;
}

static int connect_udp(struct pre_sock *s, int fd, const struct sock_addr *peer)
{
    struct sock_connect body = {.remote = *peer};
    int r = pre_op_simple(s, fd, SOCK_CONNECT, PRE_BYTES(&body, sizeof(body)),
                          PRE_BYTES(&s->names, sizeof(s->names)));
    if (r == 0)
        atomic_store(&s->state, peer->family == AF_UNSPEC ? PRE_NEW : PRE_CONNECTED);
    return r;
}

/* ---- connect
 * ------------------------------------------------------------------------------------- */

/* A is not writable until the connection is there. One that fails meanwhile says so by itself. */
static void fill(struct pre_sock *s, int fd)
{
    struct sock_filled body = {.skip = 0};
    struct pre_ask ask = {.op = SOCK_FILLED,
                          .flags = SOCK_F_SILENT,
                          .body = {{&body, sizeof(body)}},
                          .body_count = 1};
    (void)sock_fill(fd, &body.skip);
    (void)pre_op(s, fd, &ask);
}

/* Without waiting. What poll says of A is what the program is told: it shows the end of the attempt
 * also when that has come already. */
static int begin_tcp(struct pre_sock *s, int fd, const struct sock_addr *peer)
{
    struct sock_connect body = {.remote = *peer, .skip = 1};
    struct pre_ask ask = {.op = SOCK_CONNECT,
                          .flags = SOCK_F_SOON,
                          .body = {{&body, sizeof(body)}},
                          .body_count = 1,
                          .reply = &s->names,
                          .reply_room = sizeof(s->names)};
    if (pre_real.send(fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1)
        return -errno;
    s->target = hash_of(peer);
    if (begin_unasked(s, fd, &ask))
        return -EINPROGRESS;
    pre_flag(s, PRE_UNFILLED, true); /* another thread that looks asks the server */
    set_connecting(s, true);
    int r = pre_op(s, fd, &ask);
    if (r == -EINPROGRESS)
        fill(s, fd);
    else if (r == 0)
        pre_flag(s, PRE_NAMED, true);
    else
        set_connecting(s, false);
    pre_flag(s, PRE_UNFILLED, false);
    return r == 0 ? -EINPROGRESS : r;
}

static int connect_tcp(struct pre_sock *s, int fd, const struct sock_addr *peer)
{
    struct sock_connect body = {.remote = *peer};
    struct pre_ask ask = {.op = SOCK_CONNECT,
                          .flags = SOCK_F_WAIT,
                          .body = {{&body, sizeof(body)}},
                          .body_count = 1,
                          .reply = &s->names,
                          .reply_room = sizeof(s->names),
                          .can_interrupt = true,
                          .timeout_ms = s->send_timeout_ms};
    if (pre_real.fcntl(fd, F_GETFL) & O_NONBLOCK)
        return begin_tcp(s, fd, peer);
    int r = pre_op(s, fd, &ask);
    if (r == 0) {
        if (s->names.peer.family == AF_UNSPEC)
            s->names.peer = *peer;
        atomic_store(&s->state, PRE_CONNECTED);
        pre_flag(s, PRE_NAMED, true);
        pre_refresh(s, fd);
    } else if (r == -EINPROGRESS || r == -EINTR) {
        pre_flag(s, PRE_UNFILLED, true);
        atomic_store(&s->state, PRE_CONNECTING);
    }
    return r;
}

/* A socket that is on its way says so before anybody looks at the address. 0: it is not. */
static int busy_with(struct pre_sock *s, int fd, bool *is_done)
{
    *is_done = false;
    if (s->is_udp || pre_has(s, PRE_HOST))
        return 0;
    pre_update(s, fd);
    switch (atomic_load(&s->state)) {
    case PRE_LISTENING:
    case PRE_CONNECTED:
        return -EISCONN;
    case PRE_CONNECTING:
        *is_done = true;
        int reason = pre_progress(s, fd);
        return reason < 0 ? -EALREADY : -reason;
    default:
        return 0;
    }
}

static int connect_ours(struct pre_sock *s, int fd, const struct sock_addr *peer)
{
    if (s->is_udp)
        return connect_udp(s, fd, peer);
    if (peer->family == AF_UNSPEC) /* a new pair, and the old connection ends */
        return atomic_load(&s->state) == PRE_NEW ? 0 : pre_renew(s, fd);
    if (peer->family != s->domain)
        return -EAFNOSUPPORT;
    int r = pre_has(s, PRE_STALE) ? pre_renew(s, fd) : 0;
    return r != 0 ? r : connect_tcp(s, fd, peer);
}

HOOK int connect(int fd, __CONST_SOCKADDR_ARG addr_arg, socklen_t len)
{
    const struct sockaddr *addr = addr_arg.__sockaddr__;
    struct sock_addr peer;
    struct pre_sock *s = likely(pre_entry(fd) == 0) ? NULL : pre_get(fd);
    if (s == NULL)
        return pre_real.connect(fd, addr, len);
    if (pre_has(s, PRE_LINK))
        return done(s, 0);
    bool is_done = false;
    int r = pre_addr_in(s, addr, len, &peer);
    if (r != -EFAULT && (r != 0 || peer.family != AF_UNSPEC)) {
        int busy = busy_with(s, fd, &is_done);
        r = busy != 0 || is_done ? busy : r;
    }
    if (is_done)
        return done(s, r);
    bool is_fresh = atomic_load(&s->state) == PRE_NEW && peer.family != AF_UNSPEC;
    /* A datagram socket with a name of ours stays: programs reply from it. */
    if (r == 0 && is_fresh && !(s->is_udp && pre_has(s, PRE_BOUND)))
        r = pre_switch(s, fd, sock_rules_decide(&pre_rules, s->is_udp, SOCK_RULE_DST, addr, len));
    if (r == 0 && pre_has(s, PRE_HOST)) {
        r = pre_real.connect(fd, addr, len);
        if (!s->is_udp)
            pre_forget(fd);
        pre_put(s);
        return r;
    }
    if (r == 0)
        r = connect_ours(s, fd, &peer);
    return done(s, r);
}

/* ---- accept
 * -------------------------------------------------------------------------------------- */

static int enter_accepted(int fd, uint16_t domain, const struct sock_accept *news)
{
    struct pre_sock *s = pre_sock_new();
    if (s == NULL) {
        pre_real.close(fd);
        return -ENFILE;
    }
    s->domain = domain;
    s->ino = news->ino;
    s->names.peer = news->peer;
    s->names.local = (struct sock_addr){
        .family = news->peer.family, .port = news->local_port, .scope = news->local_scope};
    memcpy(s->names.local.ip, news->local_ip, sizeof(news->local_ip));
    atomic_store(&s->handle, news->handle);
    atomic_store(&s->flags, PRE_NAMED);
    atomic_store(&s->state, PRE_CONNECTED);
    pre_set(fd, s);
    pre_put(s);
    return fd;
}

static int accept_ours(int listener, uint16_t domain, struct sock_accept *news, int flags)
{
    union {
        struct cmsghdr head;
        uint8_t room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {news, sizeof(*news)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    memset(&control, 0, sizeof(control));
    ssize_t got = pre_real.recvmsg(listener, &msg, flags & SOCK_CLOEXEC ? MSG_CMSG_CLOEXEC : 0);
    if (got < 0)
        return -errno;
    if (got != sizeof(*news))
        return -EINVAL;
    if (msg.msg_controllen < CMSG_LEN(sizeof(int)) || control.head.cmsg_type != SCM_RIGHTS)
        return -EMFILE; /* no number was free: the kernel has closed it */
    int fd;
    memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
    sock_unseal(fd);
    if (flags & SOCK_NONBLOCK)
        pre_real.fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
    return enter_accepted(fd, domain, news);
}

HOOK int accept4(int fd, __SOCKADDR_ARG addr_arg, socklen_t *restrict len, int flags)
{
    struct sockaddr *addr = addr_arg.__sockaddr__;
    struct pre_sock *s = likely(pre_entry(fd) == 0) ? NULL : pre_get(fd);
    if (s == NULL || pre_has(s, PRE_HOST)) {
        int error = errno, got = pre_real.accept4(fd, addr, len, flags);
        if (s != NULL)
            pre_put(s);
        if (got >= 0) {
            pre_forget(got);
            return got;
        }
        /* A connected pair cannot accept: it may be a listener that another process made. */
        if (s != NULL || errno != EINVAL || !pre_is_on || (s = pre_identify(fd)) == NULL)
            return -1;
        errno = error;
    }
    struct sock_accept news;
    int r = 0;
    if (addr != NULL && (pre_is_bad(addr) || pre_is_bad(len)))
        r = -EFAULT;
    else if (addr != NULL && (int)*len < 0)
        r = -EINVAL;
    else if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
        r = -EINVAL;
    else if (s->is_udp)
        r = -EOPNOTSUPP;
    else if (atomic_load(&s->state) != PRE_LISTENING)
        pre_update(s, fd);
    if (r == 0)
        r = atomic_load(&s->state) == PRE_LISTENING ? accept_ours(fd, s->domain, &news, flags)
                                                    : -EINVAL;
    if (r >= 0 && addr != NULL)
        pre_addr_out(s->domain, &news.peer, addr, len);
    return done(s, r);
}

HOOK int accept(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len)
{
    return accept4(fd, addr, len, 0);
}

/* ---- names and the end
 * --------------------------------------------------------------------------- */

static int ask_names(struct pre_sock *s, int fd)
{
    if (pre_has(s, PRE_NAMED)) {
        struct pollfd look = {.fd = fd};
        if (poll(&look, 1, 0) <= 0 || !(look.revents & (POLLHUP | POLLERR)))
            return 0;
        struct sock_names names = {.peer = {0}};
        if (pre_op_simple(s, fd, SOCK_NAME, PRE_BYTES(NULL, 0), PRE_BYTES(&names, sizeof(names))) ==
            0)
            s->names = names;
        return 0;
    }
    if (atomic_load(&s->handle) == 0 && atomic_load(&s->b_fd) >= 0) {
        memset(&s->names, 0, sizeof(s->names));
        s->names.local.family = s->domain;
        return 0;
    }
    int r =
        pre_op_simple(s, fd, SOCK_NAME, PRE_BYTES(NULL, 0), PRE_BYTES(&s->names, sizeof(s->names)));
    if (r == 0 && !s->is_udp && atomic_load(&s->state) == PRE_CONNECTED)
        pre_flag(s, PRE_NAMED, true);
    return r;
}

/* A pair that the table does not know, and that has no name, may be ours by way of another. */
static struct pre_sock *by_name(int fd, const struct sockaddr *addr, const socklen_t *len, int r)
{
    bool is_nameless = r == 0 && pre_is_on && addr != NULL && len != NULL &&
                       *len == sizeof(sa_family_t) && addr->sa_family == AF_UNIX;
    return is_nameless ? pre_identify(fd) : NULL;
}

HOOK int getsockname(int fd, __SOCKADDR_ARG addr_arg, socklen_t *restrict len)
{
    struct sockaddr *addr = addr_arg.__sockaddr__;
    struct pre_sock *s = likely(pre_entry(fd) == 0) ? NULL : pre_get(fd);
    if (s != NULL && pre_has(s, PRE_LINK))
        return done(s, pre_link_name(s, false, addr, len));
    if (s == NULL || pre_has(s, PRE_HOST)) {
        socklen_t room = len != NULL ? *len : 0;
        int r = pre_real.getsockname(fd, addr, len);
        if (s != NULL)
            pre_put(s);
        if (s != NULL || (s = by_name(fd, addr, len, r)) == NULL)
            return r;
        *len = room;
    }
    int r = pre_is_bad(addr) || pre_is_bad(len) ? -EFAULT : ask_names(s, fd);
    if (r == 0 && (int)*len < 0)
        r = -EINVAL;
    if (r == 0)
        pre_addr_out(s->domain, &s->names.local, addr, len);
    return done(s, r);
}

HOOK int getpeername(int fd, __SOCKADDR_ARG addr_arg, socklen_t *restrict len)
{
    struct sockaddr *addr = addr_arg.__sockaddr__;
    struct pre_sock *s = likely(pre_entry(fd) == 0) ? NULL : pre_get(fd);
    if (s != NULL && pre_has(s, PRE_LINK))
        return done(s, pre_link_name(s, true, addr, len));
    if (s == NULL || pre_has(s, PRE_HOST)) {
        socklen_t room = len != NULL ? *len : 0;
        int r = pre_real.getpeername(fd, addr, len);
        if (s != NULL)
            pre_put(s);
        if (s != NULL || (s = by_name(fd, addr, len, r)) == NULL)
            return r;
        *len = room;
    }
    int r = 0;
    if (atomic_load(&s->state) == PRE_CONNECTING)
        (void)pre_progress(s, fd);
    pre_update(s, fd);
    if (atomic_load(&s->state) != PRE_CONNECTED)
        r = -ENOTCONN;
    else
        r = ask_names(s, fd);
    if (r == 0 && s->names.peer.family == AF_UNSPEC)
        r = -ENOTCONN;
    if (r == 0 && (pre_is_bad(addr) || pre_is_bad(len)))
        r = -EFAULT;
    if (r == 0 && (int)*len < 0)
        r = -EINVAL;
    if (r == 0)
        pre_addr_out(s->domain, &s->names.peer, addr, len);
    return done(s, r);
}

/* Both sides have said that they end, or one broke off: nothing is connected any more. */
static bool has_ended(struct pre_sock *s, int fd)
{
    struct pollfd look = {.fd = fd};
    struct sock_names names = {.peer = {0}};
    if (poll(&look, 1, 0) <= 0 || !(look.revents & (POLLHUP | POLLERR)))
        return false;
    int r = pre_op_simple(s, fd, SOCK_NAME, PRE_BYTES(NULL, 0), PRE_BYTES(&names, sizeof(names)));
    return r == 0 && names.peer.family == AF_UNSPEC;
}

static void shut_udp(struct pre_sock *s, int fd, int how)
{
    if (how != SHUT_WR)
        pre_flag(s, PRE_SHUT_RD, true);
    if (how != SHUT_RD)
        pre_flag(s, PRE_SHUT_WR, true);
    pre_real.shutdown(fd, how);
}

HOOK int shutdown(int fd, int how)
{
    struct pre_sock *s = likely(pre_entry(fd) == 0) ? NULL : pre_get(fd);
    if (s == NULL || pre_has(s, PRE_HOST)) {
        if (s != NULL)
            pre_put(s);
        return pre_real.shutdown(fd, how);
    }
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
        return done(s, -EINVAL);
    struct sock_shutdown body = {.how = how};
    int r = 0;
    if (atomic_load(&s->state) == PRE_CONNECTING)
        (void)pre_progress(s, fd);
    pre_update(s, fd);
    uint32_t state = atomic_load(&s->state);
    if (!s->is_udp && (state == PRE_NEW || (state == PRE_CONNECTED && has_ended(s, fd)))) {
        r = -ENOTCONN;
    } else if (state == PRE_CONNECTED && !s->is_udp) {
        r = pre_real.shutdown(fd, how) < 0 ? -errno : 0;
    } else {
        r = pre_op_simple(s, fd, SOCK_SHUTDOWN, PRE_BYTES(&body, sizeof(body)), PRE_BYTES(NULL, 0));
        if (s->is_udp) /* without a peer too: ENOTCONN, and whoever waits is woken */
            shut_udp(s, fd, how);
        else if (r == 0 && (state != PRE_LISTENING || how != SHUT_WR)) {
            pre_flag(s, PRE_STALE, true); /* the pair is used up */
            atomic_store(&s->state, PRE_NEW);
            pre_refresh(s, fd);
        }
    }
    return done(s, r);
}

HOOK int sockatmark(int fd)
{
    struct pre_sock *s = likely(pre_entry(fd) == 0) ? NULL : pre_get(fd);
    if (s == NULL || pre_has(s, PRE_HOST)) {
        if (s != NULL)
            pre_put(s);
        return pre_real.sockatmark(fd);
    }
    return done(s, 0); /* no urgent data: there is no mark */
}
