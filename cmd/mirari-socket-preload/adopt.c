/* SPDX-License-Identifier: ISC */
/* From a pair to a socket of the server, and from one stack to the other.
 *
 *   pre_make     pair A, B; the server knows nothing
 *   pre_op       first operation: B goes along with it, the server answers with a handle
 *   pre_renew    the pair is used up (a connect failed): a new pair in the same place
 *   pre_switch   a rule says that the other stack serves: another socket in the same place
 *   pre_identify a descriptor of which only the server knows what it is (exec, passing)
 *
 * "In the same place" is dup3() over every descriptor of the socket in this process. What it does
 * not reach: copies in other processes, and sets of epoll that the program joined before.
 *
 * Options are kept until the socket is connected, in the form that goes over the wire, because a
 * new pair and the other stack need them again.
 */
#include <fcntl.h>
#include <time.h>

#include "cmd/mirari-socket-preload/preload.h"

#define IDENTIFY_TRIES 50 /* ten milliseconds */

static _Atomic int unadopted; /* sockets with an end B here; a hint */

/* ---- options that are kept ----------------------------------------------------------------------
 */

static uint32_t padded(uint32_t len)
{
    return (uint32_t)sizeof(struct sock_option) + ((len + 7) & ~7u);
}

static struct sock_option *kept_at(struct pre_sock *s, uint32_t at)
{
    return (struct sock_option *)(void *)(s->options + at);
}

static struct sock_option *find_kept(struct pre_sock *s, int level, int name)
{
    for (uint32_t at = 0; at < s->options_len; at += padded(kept_at(s, at)->len))
        if (kept_at(s, at)->level == level && kept_at(s, at)->name == name)
            return kept_at(s, at);
    return NULL;
}

const struct sock_option *pre_kept(struct pre_sock *s, int level, int name)
{
    return find_kept(s, level, name);
}

bool pre_keep(struct pre_sock *s, int level, int name, const void *value, uint32_t len)
{
    struct sock_option *option = find_kept(s, level, name);
    if (option == NULL || option->len != len) {
        if (option != NULL || s->options_len + padded(len) > PRE_OPTIONS)
            return false;
        option = kept_at(s, s->options_len);
        *option = (struct sock_option){.level = level, .name = name, .len = len};
        memset(option + 1, 0, padded(len) - sizeof(*option));
        s->options_len += padded(len);
    }
    memcpy(option + 1, value, len);
    return true;
}

/* ---- making -------------------------------------------------------------------------------------
 */

/* A pair for @s. Returns A or -errno. */
static int new_pair(struct pre_sock *s, int flags)
{
    int a = -1, b = -1;
    struct stat st_a, st_b;
    int r = sock_pair(s->is_udp ? SOCK_DGRAM : SOCK_STREAM, flags & SOCK_CLOEXEC, &a, &b);
    if (r != 0)
        return r;
    if (((flags & SOCK_NONBLOCK) && pre_real.fcntl(a, F_SETFL, O_RDWR | O_NONBLOCK) < 0) ||
        fstat(a, &st_a) < 0 || fstat(b, &st_b) < 0) {
        r = -errno;
        pre_real.close(a);
        pre_real.close(b);
        return r;
    }
    if (s->send_buffer != 0)
        pre_real.setsockopt(a, SOL_SOCKET, SO_SNDBUF, &s->send_buffer, sizeof(int));
    s->ino = st_a.st_ino;
    s->b_ino = st_b.st_ino;
    atomic_store(&s->handle, 0);
    pre_private(b);
    atomic_store(&s->b_fd, b);
    atomic_fetch_add(&unadopted, 1);
    return a;
}

static int host_socket(const struct pre_sock *s, int flags)
{
    return pre_real.socket(s->domain, (s->is_udp ? SOCK_DGRAM : SOCK_STREAM) | flags, s->protocol);
}

int pre_make(int domain, int type, int protocol)
{
    bool is_udp = (type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) == SOCK_DGRAM;
    bool is_host = sock_rules_initial(&pre_rules, is_udp) == SOCK_HOST;
    struct pre_sock *s = pre_sock_new();
    if (s == NULL)
        return -ENFILE;
    s->domain = (uint16_t)domain;
    s->protocol = (uint16_t)protocol;
    s->is_udp = is_udp;
    int fd;
    if (is_host) {
        struct stat st;
        pre_flag(s, PRE_HOST, true);
        fd = pre_real.socket(domain, type, protocol);
        if (fd >= 0 && fstat(fd, &st) == 0)
            s->ino = st.st_ino;
        fd = fd < 0 ? -errno : fd;
    } else {
        fd = new_pair(s, type & (SOCK_CLOEXEC | SOCK_NONBLOCK));
    }
    if (fd >= 0)
        pre_set(fd, s);
    pre_put(s);
    return fd;
}

/* ---- operations ---------------------------------------------------------------------------------
 */

static enum pre_state state_from(uint32_t state)
{
    switch (state) {
    case SOCK_S_LISTENING:
        return PRE_LISTENING;
    case SOCK_S_CONNECTING:
        return PRE_CONNECTING;
    case SOCK_S_CONNECTED:
    case SOCK_S_ENDED:
        return PRE_CONNECTED;
    default:
        return PRE_NEW;
    }
}

static int who_is(int fd, struct sock_identity *who, uint64_t *handle)
{
    struct pre_ask ask = {.op = SOCK_IDENTIFY,
                          .is_attached = true,
                          .fd = fd,
                          .reply = who,
                          .reply_room = sizeof(*who)};
    int r = pre_ask(&ask);
    if (r == 0 && (ask.reply_len != sizeof(*who) || ask.handle == 0))
        r = -ENOTSOCK;
    *handle = ask.handle;
    return r;
}

static void learn(struct pre_sock *s, const struct sock_identity *who)
{
    enum pre_state state = state_from(who->state);
    s->names = who->names;
    if (who->state >= SOCK_S_BOUND)
        pre_flag(s, PRE_BOUND, true);
    if (state == PRE_CONNECTED && !s->is_udp)
        pre_flag(s, PRE_NAMED, true);
    atomic_store(&s->state, state);
}

/* Another process told the server of @s, or a signal made us lose the handle. */
static int find_handle(struct pre_sock *s, int fd)
{
    struct sock_identity who;
    uint64_t handle;
    int r = who_is(fd, &who, &handle);
    /* What told the server of it may be on another connection, and the server not there yet. */
    for (int i = 0; i < IDENTIFY_TRIES && r == -ENOENT && pre_has(s, PRE_NARROW); i++) {
        const struct timespec moment = {.tv_nsec = 200000};
        (void)nanosleep(&moment, NULL);
        r = who_is(fd, &who, &handle);
    }
    if (r != 0)
        return r == -ENETDOWN ? r : -ENOTCONN;
    learn(s, &who);
    if (atomic_load(&s->state) == PRE_CONNECTED)
        pre_widen(s, fd);
    pre_refresh(s, fd);
    atomic_store(&s->handle, handle);
    return 0;
}

/* A child of vfork told the server of @s, with the copy of B that it had: ours is too many. */
static void take_left(struct pre_sock *s)
{
    int b = atomic_load(&s->b_left);
    if (likely(b < 0) || pre_is_borrowed() || atomic_exchange(&s->b_left, -1) < 0 ||
        !pre_is_inode(b, s->b_ino))
        return;
    pre_forget(b);
    pre_real.close(b);
}

/* With the lock held; it is given up before the wait if that may be long. */
static int adopt(struct pre_sock *s, struct pre_ask *ask, int b, struct pre_mask *mask)
{
    struct sock_adopt head = {.ino = s->ino,
                              .domain = s->domain,
                              .type = s->is_udp ? SOCK_DGRAM : SOCK_STREAM,
                              .protocol = s->protocol,
                              .flags = s->is_udp ? SOCK_A_FRAMED : 0,
                              .pid = (uint32_t)getpid(),
                              .options_len = s->options_len,
                              .skip = s->is_udp ? 0 : 1};
    struct pre_ask all = *ask;
    int sent = b;
    all.flags |= SOCK_F_ADOPT;
    all.handle = 0;
    all.is_attached = true;
    all.fd = b;
    all.close_when_sent = &sent;
    all.body[0] = (struct iovec){&head, sizeof(head)};
    all.body[1] = (struct iovec){s->options, s->options_len};
    all.body_count = 2;
    for (unsigned i = 0; i < ask->body_count && all.body_count < 4; i++)
        all.body[all.body_count++] = ask->body[i];
    atomic_store(&s->b_fd, -1);
    atomic_store(&s->b_left, pre_is_borrowed() ? b : -1);
    atomic_fetch_sub(&unadopted, 1);
    bool is_long = (ask->flags & (SOCK_F_WAIT | SOCK_F_SOON)) != 0;
    if (is_long)
        pre_unlock(s, mask);
    int r = pre_ask(&all);
    if (all.handle != 0) {
        atomic_store(&s->handle, all.handle);
    } else if (pre_entry(b) == PRE_PRIVATE && pre_is_inode(b, s->b_ino)) {
        atomic_store(&s->b_fd, b); /* never sent */
        atomic_store(&s->b_left, -1);
        atomic_fetch_add(&unadopted, 1);
    } else if (r != 0 || !(ask->flags & SOCK_F_SILENT)) {
        pre_flag(s, PRE_STALE, true);
    }
    if (!is_long)
        pre_unlock(s, mask);
    ask->handle = all.handle;
    ask->reply_len = all.reply_len;
    return r;
}

int pre_op(struct pre_sock *s, int fd, struct pre_ask *ask)
{
    take_left(s);
    ask->handle = atomic_load(&s->handle);
    if (ask->handle != 0) {
        int r = pre_ask(ask);
        return r == -EBADF ? -ENOTCONN : r; /* both sides have ended: it is forgotten there */
    }
    struct pre_mask mask;
    pre_lock(s, &mask);
    ask->handle = atomic_load(&s->handle);
    int b = atomic_load(&s->b_fd);
    if (ask->handle == 0 && b >= 0 && pre_is_inode(b, s->b_ino))
        return adopt(s, ask, b, &mask);
    int r = ask->handle == 0 ? find_handle(s, fd) : 0;
    ask->handle = atomic_load(&s->handle);
    pre_unlock(s, &mask);
    return r != 0 ? r : pre_ask(ask);
}

int pre_op_simple(struct pre_sock *s, int fd, int op, struct iovec body, struct iovec reply)
{
    struct pre_ask ask = {.op = (uint16_t)op,
                          .body = {body},
                          .body_count = body.iov_base != NULL,
                          .reply = reply.iov_base,
                          .reply_room = reply.iov_len};
    int r = pre_op(s, fd, &ask);
    if (r == 0 && ask.reply_len < reply.iov_len && op != SOCK_GETOPT)
        r = -EPROTO;
    return r;
}

/* Another program began to connect it, and we go on. */
static void find_narrow(struct pre_sock *s, int fd)
{
    int room = 0;
    socklen_t len = sizeof(room);
    if (s->is_udp || pre_real.getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, &len) < 0 ||
        room >= SOCK_PAIR_SNDBUF)
        return;
    pre_flag(s, PRE_NARROW, true);
    if (atomic_load(&s->state) == PRE_CONNECTED)
        pre_widen(s, fd);
}

struct pre_sock *pre_identify(int fd)
{
    struct sock_identity who;
    struct stat st;
    uint64_t handle;
    if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode) || who_is(fd, &who, &handle) != 0)
        return NULL;
    struct pre_sock *s = pre_sock_new();
    if (s == NULL)
        return NULL;
    s->domain = who.domain;
    s->protocol = who.protocol;
    s->is_udp = who.type == SOCK_DGRAM;
    s->ino = st.st_ino;
    learn(s, &who);
    pre_flag(s, PRE_SHARED, true);
    find_narrow(s, fd);
    atomic_store(&s->handle, handle);
    pre_set(fd, s);
    return s;
}

/* Only pairs without a name can be ours, and only such are worth a question. */
void pre_meet(int fd)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name), peer_len = sizeof(name);
    int error = errno;
    if (pre_real.getsockname(fd, (void *)&name, &len) == 0 && name.ss_family == AF_UNIX &&
        len == sizeof(name.ss_family) && pre_real.getpeername(fd, (void *)&name, &peer_len) == 0 &&
        peer_len == sizeof(name.ss_family)) {
        struct pre_sock *s = pre_identify(fd);
        if (s != NULL)
            pre_put(s);
    }
    errno = error;
}

void pre_update(struct pre_sock *s, int fd)
{
    struct sock_identity who;
    uint64_t handle;
    if (!pre_has(s, PRE_SHARED) || pre_has(s, PRE_HOST) || atomic_load(&s->state) >= PRE_CONNECTED)
        return;
    if (who_is(fd, &who, &handle) != 0)
        return;
    learn(s, &who);
    if (atomic_load(&s->state) == PRE_CONNECTED)
        pre_widen(s, fd);
    atomic_store(&s->handle, handle);
    pre_refresh(s, fd);
}

void pre_adopt_all(void)
{
    bool is_urgent = atomic_load(&unadopted) > 0;
    int end = pre_fd_end(), value = 0;
    for (int fd = 0; fd < end; fd++) {
        uint32_t entry = pre_entry(fd);
        if (entry == 0 || (entry & PRE_PRIVATE) || !(entry & PRE_DATA))
            continue;
        struct pre_sock *s = pre_get(fd);
        if (s == NULL)
            continue;
        pre_flag(s, PRE_SHARED, true);
        if (is_urgent && !pre_has(s, PRE_HOST) && atomic_load(&s->b_fd) >= 0) {
            struct sock_option error = {
                .level = SOL_SOCKET, .name = SO_ERROR, .len = sizeof(value)};
            uint8_t answer[sizeof(error) + 8];
            (void)pre_op_simple(s, fd, SOCK_GETOPT, PRE_BYTES(&error, sizeof(error)),
                                PRE_BYTES(answer, sizeof(answer)));
        }
        pre_put(s);
    }
}

/* ---- another socket in the same place -----------------------------------------------------------
 */

static void drop_server_side(struct pre_sock *s)
{
    struct pre_ask ask = {
        .op = SOCK_CLOSE, .flags = SOCK_F_SILENT, .handle = atomic_load(&s->handle)};
    take_left(s);
    int b = atomic_exchange(&s->b_fd, -1);
    if (b >= 0 && pre_is_inode(b, s->b_ino)) {
        pre_forget(b);
        pre_real.close(b);
        atomic_fetch_sub(&unadopted, 1);
    }
    if (ask.handle != 0)
        (void)pre_ask(&ask);
    atomic_store(&s->handle, 0);
}

int pre_renew(struct pre_sock *s, int fd)
{
    uint64_t old_ino = s->ino;
    drop_server_side(s);
    int a = new_pair(s, SOCK_CLOEXEC);
    if (a < 0)
        return a;
    uint64_t new_ino = s->ino;
    s->ino = old_ino;
    int r = pre_replace(s, fd, a);
    s->ino = new_ino;
    s->skip = 0;
    pre_flag(s, PRE_STALE | PRE_UNFILLED | PRE_NAMED | PRE_NARROW, false);
    atomic_store(&s->state, PRE_NEW);
    pre_refresh(s, fd);
    if (r == 0 && pre_has(s, PRE_BOUND) && s->bound.family != AF_UNSPEC)
        r = pre_op_simple(s, fd, SOCK_BIND, PRE_BYTES(&s->bound, sizeof(s->bound)),
                          PRE_BYTES(&s->names, sizeof(s->names)));
    return r;
}

static int to_host(struct pre_sock *s, int fd)
{
    struct sockaddr_storage name;
    struct stat st;
    int host = host_socket(s, SOCK_CLOEXEC);
    if (host < 0)
        return -errno;
    for (uint32_t at = 0; at < s->options_len; at += padded(kept_at(s, at)->len)) {
        struct sock_option *option = kept_at(s, at);
        pre_real.setsockopt(host, option->level, option->name, option + 1, option->len);
    }
    if (pre_has(s, PRE_BOUND)) {
        socklen_t len = pre_addr_make(s->domain, &s->bound, &name);
        if (pre_real.bind(host, (void *)&name, len) < 0) {
            int r = -errno;
            pre_real.close(host);
            return r;
        }
    }
    drop_server_side(s);
    int r = fstat(host, &st) < 0 ? -errno : pre_replace(s, fd, host);
    s->ino = st.st_ino;
    pre_flag(s, PRE_HOST, true);
    pre_flag(s, PRE_STALE | PRE_NAMED, false);
    return r;
}

static int to_ours(struct pre_sock *s, int fd)
{
    uint64_t old_ino = s->ino;
    int a = new_pair(s, SOCK_CLOEXEC);
    if (a < 0)
        return a;
    uint64_t new_ino = s->ino;
    s->ino = old_ino;
    int r = pre_replace(s, fd, a);
    s->ino = new_ino;
    pre_flag(s, PRE_HOST, false);
    if (r == 0 && pre_has(s, PRE_BOUND))
        r = pre_op_simple(s, fd, SOCK_BIND, PRE_BYTES(&s->bound, sizeof(s->bound)),
                          PRE_BYTES(&s->names, sizeof(s->names)));
    return r;
}

int pre_switch(struct pre_sock *s, int fd, enum sock_stack stack)
{
    if (pre_has(s, PRE_HOST) == (stack == SOCK_HOST))
        return 0;
    int r = stack == SOCK_HOST ? to_host(s, fd) : to_ours(s, fd);
    pre_refresh(s, fd);
    return r;
}
