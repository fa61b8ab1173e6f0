/* SPDX-License-Identifier: ISC */
/* Connections to the server, and requests on them.
 *
 * A request takes an idle connection out of a pool, sends, waits for its answer, puts the
 * connection back. The pool replaces a connection for each thread: nothing has to be closed at the
 * end of a thread, a signal handler that interrupts a request takes another one, a thousand threads
 * that ask now and then share a few. A connection that is not in the pool is opened; at most CONNS
 * exist, and whoever finds all taken opens one for this request alone.
 *
 *   FREE --take--> BUSY --opened, done--> IDLE --take--> BUSY ...
 *
 * FORK. A connection belongs to the process that opened it: two that read answers from one would
 * take each other's. The child knows by a page that the kernel empties in it; also after clone()
 * without the C library. It forgets the inherited connections (and closes them), then opens its
 * own. A child of vfork shares memory and has its parent asleep: it goes on with the parent's. The
 * page keeps the number of its process, by which such a child is known.
 *
 * PRIVILEGES. The path of the control socket may be out of reach once the program has changed its
 * user or its root. So a connection is opened before such changes, and one that came by fork or
 * exec is kept as a spare. It is shared with other processes, so nothing is ever read from it; but
 * a message may be sent, and it brings the server the end of a new pair: a connection of our own.
 *
 * PROGRAMS THAT CLOSE EVERYTHING. Connections sit at high numbers, close() of the library's
 * descriptors says EBADF, and each use looks whether the descriptor is still the one that was
 * opened. One that is gone is opened again.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#include "cmd/mirari-socket-preload/preload.h"

enum { CONNS = 64, FD_BASE = 960, SEND_TRIES = 2 };

enum conn_state { CONN_FREE, CONN_IDLE, CONN_BUSY };

struct conn {
    _Atomic uint32_t state;
    _Atomic int fd; /* -1: not open */
    uint64_t ino;
    uint32_t last_id;
    uint32_t generation;
};

struct sock_rules pre_rules;
bool pre_is_on;

static struct conn conns[CONNS];
static _Atomic int spare = -1;
static uint64_t spare_ino;
static _Atomic bool has_changed; /* user or root: pass a connection on to the next program */
static struct sockaddr_un server_addr;
static _Atomic uint32_t generation = 1;

/* In memory that a child finds zero. */
enum mark { MARK_CHILD, MARK_BUSY, MARK_KNOWN };
static _Atomic uint32_t mark_without_kernel[2] = {MARK_KNOWN};
static _Atomic uint32_t *mark = mark_without_kernel; /* and whose it is */

/* ---- processes ---------------------------------------------------------------------------------
 */

static void forget_inherited(void)
{
    for (unsigned i = 0; i < CONNS; i++) {
        struct conn *c = &conns[i];
        int fd = atomic_exchange(&c->fd, -1);
        bool is_open = fd >= 0 && pre_is_inode(fd, c->ino);
        if (is_open && atomic_load(&spare) < 0) {
            spare_ino = c->ino;
            atomic_store(&spare, fd);
        } else if (is_open) {
            atomic_store(&pre_table[fd], 0);
            pre_real.close(fd);
        }
        atomic_store(&c->state, CONN_FREE);
    }
}

uint32_t pre_generation(void)
{
    uint32_t seen = atomic_load_explicit(mark, memory_order_acquire);
    while (unlikely(seen != MARK_KNOWN)) {
        uint64_t all = ~0ull, old;
        if (seen == MARK_CHILD) {
            pre_real.syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &old, sizeof(all));
            if (atomic_compare_exchange_strong(mark, &seen, MARK_BUSY)) {
                forget_inherited();
                if (atomic_fetch_add(&generation, 1) == UINT32_MAX)
                    atomic_store(&generation, 1);
                atomic_store(mark + 1, (uint32_t)getpid());
                atomic_store_explicit(mark, MARK_KNOWN, memory_order_release);
            }
            pre_real.syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof(old));
        } else {
            sched_yield();
        }
        seen = atomic_load_explicit(mark, memory_order_acquire);
    }
    return atomic_load_explicit(&generation, memory_order_relaxed);
}

bool pre_is_borrowed(void)
{
    return pre_is_on && atomic_load(mark) == MARK_KNOWN &&
           atomic_load(mark + 1) != (uint32_t)getpid();
}

/* Sockets of which the server knows nothing would have two owners of their end B. */
static void before_fork(void)
{
    pre_adopt_all();
}

static void in_child(void)
{
    if (mark == mark_without_kernel)
        atomic_store(mark, MARK_CHILD);
}

/* ---- opening -----------------------------------------------------------------------------------
 */

/* Out of the way of programs that count descriptors or close low ones. */
int pre_move_up(int fd)
{
    struct rlimit limit;
    int base = FD_BASE;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FD_BASE + CONNS)
        base = limit.rlim_cur > 2ul * CONNS ? (int)limit.rlim_cur - CONNS : 0;
    int high = pre_real.fcntl(fd, F_DUPFD_CLOEXEC, base);
    if (high < 0)
        return fd;
    pre_real.close(fd);
    return high;
}

static ssize_t receive(int fd, struct iovec *iov, size_t count)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
    return pre_real.recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
}

static int hello(int fd)
{
    struct {
        struct sock_request head;
        struct sock_hello body;
    } out = {.head = {.magic = SOCK_MAGIC, .op = SOCK_HELLO, .len = sizeof(out.body)},
             .body = {.via = SOCK_VIA_PRELOAD, .pid = (uint32_t)getpid()}};
    struct {
        struct sock_response head;
        struct sock_welcome body;
    } in;
    struct iovec iov = {&in, sizeof(in)};
    if (pre_real.send(fd, &out, sizeof(out), MSG_NOSIGNAL) != sizeof(out))
        return -ENETDOWN;
    ssize_t got;
    do
        got = receive(fd, &iov, 1);
    while (got < 0 && errno == EINTR);
    if (got < (ssize_t)sizeof(in.head) || in.head.magic != SOCK_MAGIC)
        return -ENETDOWN;
    return in.head.error;
}

static int transmit(struct conn *c, struct pre_ask *ask, uint32_t id);

static int connect_server(int fd)
{
    const struct sockaddr *to = (const void *)&server_addr;
    int r;
    do
        r = pre_real.connect(fd, to, sizeof(server_addr));
    while (r < 0 && errno == EINTR);
    return r < 0 ? -ENETDOWN : hello(fd);
}

/* A connection by way of the spare one. Returns it or -errno. */
static int attach(void)
{
    int pair[2];
    struct conn c = {.fd = atomic_load(&spare)};
    if (c.fd < 0 || !pre_is_inode(c.fd, spare_ino) ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -ENETDOWN;
    struct pre_ask ask = {
        .op = SOCK_ATTACH, .flags = SOCK_F_SILENT, .is_attached = true, .fd = pair[1]};
    int r = transmit(&c, &ask, 0);
    pre_real.close(pair[1]);
    if (r == 0)
        r = hello(pair[0]);
    if (r != 0)
        pre_real.close(pair[0]);
    return r == 0 ? pair[0] : -ENETDOWN;
}

static int open_conn(struct conn *c)
{
    struct stat st;
    int fd = pre_real.socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    int r = fd < 0 ? -errno : connect_server(fd);
    if (r != 0) {
        if (fd >= 0)
            pre_real.close(fd);
        fd = attach();
        r = fd < 0 ? fd : 0;
        if (fd < 0)
            return r;
    }
    if (fstat(fd, &st) < 0)
        r = -errno;
    if (r != 0) {
        pre_real.close(fd);
        return r;
    }
    c->ino = st.st_ino;
    c->last_id = 0;
    fd = pre_move_up(fd);
    pre_private(fd);
    atomic_store(&c->fd, fd);
    return 0;
}

static void close_conn(struct conn *c)
{
    int fd = atomic_exchange(&c->fd, -1);
    if (fd >= 0 && pre_is_inode(fd, c->ino)) {
        atomic_store(&pre_table[fd], 0);
        pre_real.close(fd);
    } else if (fd >= 0 && pre_entry(fd) == PRE_PRIVATE) {
        atomic_store(&pre_table[fd], 0);
    }
}

bool pre_is_private(int fd)
{
    for (unsigned i = 0; i < CONNS; i++)
        if (atomic_load(&conns[i].fd) == fd && pre_is_inode(fd, conns[i].ino))
            return true;
    if (fd == atomic_load(&spare) && pre_is_inode(fd, spare_ino))
        return true;
    if (pre_owner_of_b(fd) != NULL)
        return true;
    pre_forget(fd); /* closed where we did not see it */
    return false;
}

void pre_move_private(int fd)
{
    for (unsigned i = 0; i < CONNS; i++) {
        struct conn *c = &conns[i];
        if (atomic_load(&c->fd) != fd)
            continue;
        int other = pre_real.fcntl(fd, F_DUPFD_CLOEXEC, FD_BASE);
        if (other < 0)
            other = pre_real.fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (other >= 0)
            pre_private(other);
        atomic_store(&c->fd, other);
        return;
    }
    if (fd == atomic_load(&spare)) {
        int other = pre_real.fcntl(fd, F_DUPFD_CLOEXEC, FD_BASE);
        if (other >= 0)
            pre_private(other);
        atomic_store(&spare, other);
        return;
    }
    struct pre_sock *s = pre_owner_of_b(fd);
    int other = s != NULL && pre_has(s, PRE_LINK) ? pre_move_up(fd) : fd;
    if (other != fd) {
        pre_private(other);
        atomic_store(&s->b_fd, other);
        return;
    }
    pre_adopt_all(); /* it was an end B: now nobody needs it here */
}

/* ---- the pool ----------------------------------------------------------------------------------
 */

static bool take(struct conn *c, uint32_t from)
{
    return atomic_load(&c->state) == from &&
           atomic_compare_exchange_strong(&c->state, &from, CONN_BUSY);
}

/* A connection that is open, else one that is not yet; NULL: all are taken. */
static struct conn *take_any(void)
{
    pre_generation();
    for (unsigned i = 0; i < CONNS; i++)
        if (take(&conns[i], CONN_IDLE))
            return &conns[i];
    for (unsigned i = 0; i < CONNS; i++)
        if (take(&conns[i], CONN_FREE)) {
            atomic_store(&conns[i].fd, -1);
            return &conns[i];
        }
    return NULL;
}

static void give_back(struct conn *c)
{
    atomic_store(&c->state, atomic_load(&c->fd) >= 0 ? CONN_IDLE : CONN_FREE);
}

/* ---- a request
 * ----------------------------------------------------------------------------------*/

static int transmit(struct conn *c, struct pre_ask *ask, uint32_t id)
{
    struct sock_request head = {
        .magic = SOCK_MAGIC, .op = ask->op, .flags = ask->flags, .id = id, .handle = ask->handle};
    struct iovec iov[5] = {{&head, sizeof(head)}};
    for (unsigned i = 0; i < ask->body_count; i++) {
        iov[i + 1] = ask->body[i];
        head.len += (uint32_t)ask->body[i].iov_len;
    }
    union {
        struct cmsghdr head;
        uint8_t room[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = ask->body_count + 1};
    if (ask->is_attached) {
        memset(&control, 0, sizeof(control));
        control.head.cmsg_len = CMSG_LEN(sizeof(int));
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        memcpy(CMSG_DATA(&control.head), &ask->fd, sizeof(int));
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
    }
    ssize_t put;
    do
        put = pre_real.sendmsg(c->fd, &msg, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : 0;
}

/* Send, on a connection that is opened anew if the old one turns out to be dead. */
static int transmit_surely(struct conn *c, struct pre_ask *ask, uint32_t *id)
{
    int r = -ENETDOWN;
    for (int i = 0; i < SEND_TRIES; i++) {
        if (atomic_load(&c->fd) >= 0 && !pre_is_inode(c->fd, c->ino))
            close_conn(c); /* the program closed it */
        if (atomic_load(&c->fd) < 0) {
            r = open_conn(c);
            if (r != 0)
                return r;
        }
        *id = ++c->last_id;
        r = transmit(c, ask, *id);
        if (r == 0)
            return 0;
        close_conn(c);
    }
    return -ENETDOWN;
}

static void cancel(struct conn *c, uint32_t id)
{
    struct sock_cancel which = {.id = id};
    struct pre_ask ask = {.op = SOCK_CANCEL,
                          .flags = SOCK_F_SILENT,
                          .body = {{&which, sizeof(which)}},
                          .body_count = 1};
    (void)transmit(c, &ask, ++c->last_id);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Wait until an answer can be read. Returns 0, -EINTR, or -EINPROGRESS: the time is over. */
static int wait_readable(struct conn *c, int64_t end_ms)
{
    struct pollfd look = {.fd = c->fd, .events = POLLIN};
    int64_t left = end_ms == 0 ? -1 : end_ms - now_ms();
    if (end_ms != 0 && left < 0)
        left = 0;
    int r = poll(&look, 1, (int)left);
    return r > 0 ? 0 : r == 0 ? -EINPROGRESS : -errno;
}

/* The answer with this @id; older ones belong to requests that nobody waits for any more. */
static int take_answer(struct conn *c, struct pre_ask *ask, uint32_t id)
{
    struct sock_response head;
    bool is_cancelled = false;
    int64_t end_ms = ask->timeout_ms > 0 ? now_ms() + ask->timeout_ms : 0;
    int why = 0;
    for (;;) {
        struct iovec iov[2] = {{&head, sizeof(head)}, {ask->reply, ask->reply_room}};
        ssize_t got = -1;
        int r = end_ms != 0 && !is_cancelled ? wait_readable(c, end_ms) : 0;
        if (r == 0) {
            got = receive(c->fd, iov, 2);
            r = got < 0 ? -errno : 0;
        }
        if (r == -EINTR || r == -EINPROGRESS) {
            if (ask->can_interrupt && !is_cancelled) {
                cancel(c, id);
                is_cancelled = true;
                why = r;
            }
            continue;
        }
        if (got < (ssize_t)sizeof(head) || head.magic != SOCK_MAGIC) {
            close_conn(c);
            return -ENETDOWN;
        }
        if (head.id != id)
            continue;
        ask->handle = head.handle;
        ask->reply_len = (size_t)got - sizeof(head);
        return head.error == -EINTR && is_cancelled ? why : head.error;
    }
}

static int ask_on(struct conn *c, struct pre_ask *ask)
{
    uint32_t id;
    int r = transmit_surely(c, ask, &id);
    if (ask->close_when_sent != NULL && r == 0) {
        pre_forget(*ask->close_when_sent);
        pre_real.close(*ask->close_when_sent);
    }
    if (r == 0 && !(ask->flags & SOCK_F_SILENT))
        r = take_answer(c, ask, id);
    return r;
}

int pre_ask(struct pre_ask *ask)
{
    struct conn own = {.fd = -1};
    int error = errno, cancel_state;
    if (!pre_is_on)
        return -ENETDOWN;
    /* A cancelled thread would leave its connection taken for ever. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    struct conn *c = take_any();
    int r = ask_on(c != NULL ? c : &own, ask);
    if (c != NULL)
        give_back(c);
    else
        close_conn(&own);
    pthread_setcancelstate(cancel_state, NULL);
    errno = error;
    return r;
}

void pre_connect_early(void)
{
    int error = errno;
    atomic_store(&has_changed, true);
    struct conn *c = pre_is_on ? take_any() : NULL;
    if (c != NULL) {
        if (atomic_load(&c->fd) < 0)
            (void)open_conn(c);
        give_back(c);
    }
    errno = error;
}

/* ---- start
 * --------------------------------------------------------------------------------------*/

/* Any connection made by connect() will do: the next program knows it by the name of its peer. */
static int named_conn(void)
{
    int fd = atomic_load(&spare);
    for (unsigned i = 0; i < CONNS && fd < 0; i++) {
        struct sockaddr_un name;
        socklen_t len = sizeof(name);
        int at = atomic_load(&conns[i].fd);
        if (at >= 0 && pre_is_inode(at, conns[i].ino) &&
            pre_real.getpeername(at, (void *)&name, &len) == 0 && len > sizeof(sa_family_t))
            fd = at;
    }
    return fd;
}

void pre_pass_on(bool is_passed)
{
    int error = errno;
    int fd = pre_is_on && atomic_load(&has_changed) ? named_conn() : -1;
    if (fd >= 0)
        pre_real.fcntl(fd, F_SETFD, is_passed ? 0 : FD_CLOEXEC);
    errno = error;
}

/* What pre_pass_on() left for this program. */
static void find_spare(void)
{
    for (int fd = FD_BASE; fd < FD_BASE + 2 * CONNS; fd++) {
        struct sockaddr_un name;
        struct stat st;
        socklen_t len = sizeof(name);
        memset(&name, 0, sizeof(name));
        if (pre_real.getpeername(fd, (void *)&name, &len) < 0 || name.sun_family != AF_UNIX ||
            strncmp(name.sun_path, server_addr.sun_path, sizeof(name.sun_path)) != 0 ||
            fstat(fd, &st) < 0)
            continue;
        pre_real.fcntl(fd, F_SETFD, FD_CLOEXEC);
        spare_ino = st.st_ino;
        atomic_store(&spare, fd);
        atomic_store(&has_changed, true);
        pre_private(fd);
        return;
    }
}

static void start_rules(void)
{
    char why[160];
    sock_rules_init(&pre_rules);
    const char *text = getenv(PRE_RULES_ENV);
    if (text != NULL && sock_rules_add(&pre_rules, text, why, sizeof(why)) != 0) {
        fprintf(stderr, "libmirari-socket: %s: %s\n", PRE_RULES_ENV, why);
        _exit(64);
    }
}

/* Descriptors that another program image left us. */
static void inherit(void)
{
    for (int fd = 0; fd < FD_BASE; fd++) {
        if (pre_real.fcntl(fd, F_GETFD) >= 0)
            pre_meet(fd);
        else if (fd > 64)
            break;
    }
}

__attribute__((constructor(102))) static void start(void)
{
    int error = errno;
    const char *path = getenv(SOCK_ENV);
    if (path == NULL || *path == '\0')
        return;
    if (strlen(path) >= sizeof(server_addr.sun_path)) {
        fprintf(stderr, "libmirari-socket: %s=%s is too long for the name of a socket\n", SOCK_ENV,
                path);
        _exit(64);
    }
    server_addr.sun_family = AF_UNIX;
    memcpy(server_addr.sun_path, path, strlen(path) + 1);
    for (unsigned i = 0; i < CONNS; i++)
        atomic_store(&conns[i].fd, -1);
    start_rules();
    void *page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED && madvise(page, (size_t)sysconf(_SC_PAGESIZE), MADV_WIPEONFORK) == 0) {
        atomic_store((_Atomic uint32_t *)page, MARK_KNOWN);
        mark = page;
    }
    atomic_store(mark + 1, (uint32_t)getpid());
    pthread_atfork(before_fork, NULL, in_child);
    pre_is_on = true;
    find_spare();
    inherit();
    errno = error;
}
