/* SPDX-License-Identifier: ISC */
/* The fake socket server: one process, one epoll, two small tables.
 *
 * Ends B are watched edge-triggered, because a stream's queue is never empty (the pill). Bytes of
 * one end are written to the other of a connection at once; tests write little.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "cmd/socket/proto.h"
#include "test/harness/fakesock.h"

enum { FSOCKS = 512, FCONNS = 128, FOPTIONS = 16 };

struct fsock {
    bool is_used;
    int b; /* -1: closed by us */
    uint64_t handle, ino;
    uint16_t domain, type;
    uint32_t state;
    struct sock_names names;
    uint32_t skip;
    bool is_filling; /* FILLED follows */
    struct fsock *peer;
    int error; /* SO_ERROR */
    int conn;  /* who waits for CONNECT, -1 nobody */
    uint32_t id;
    int64_t due_ms; /* when a slow connect ends; 0 = none, -1 = never */
    struct sock_addr to;
    int option[FOPTIONS][3];
    int options;
};

static struct fsock socks[FSOCKS];
static int conns[FCONNS];
static int ep, listener;
static uint16_t next_port = 40000;
static uint64_t next_handle = 0x1000;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void watch(int fd, uint32_t events, uint64_t key)
{
    struct epoll_event e = {.events = events, .data.u64 = key};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
        perror("epoll_ctl");
}

static struct fsock *make(int b)
{
    for (int i = 0; i < FSOCKS; i++) {
        struct fsock *f = &socks[i];
        if (f->is_used)
            continue;
        memset(f, 0, sizeof(*f));
        f->is_used = true;
        f->b = b;
        f->conn = -1;
        f->handle = next_handle++;
        watch(b, EPOLLIN | EPOLLRDHUP | EPOLLET, (uint64_t)i);
        return f;
    }
    return NULL;
}

static struct fsock *by_handle(uint64_t handle)
{
    for (int i = 0; i < FSOCKS; i++)
        if (socks[i].is_used && socks[i].handle == handle)
            return &socks[i];
    return NULL;
}

static struct fsock *by_port(uint16_t type, uint16_t port, uint32_t state)
{
    for (int i = 0; i < FSOCKS; i++)
        if (socks[i].is_used && socks[i].b >= 0 && socks[i].type == type &&
            socks[i].names.local.port == port && socks[i].state >= state)
            return &socks[i];
    return NULL;
}

static void drop(struct fsock *f)
{
    if (f->b >= 0)
        close(f->b);
    f->b = -1;
}

static void answer(int conn, uint32_t id, int error, uint64_t handle, const void *body, size_t len)
{
    struct sock_response head = {
        .magic = SOCK_MAGIC, .id = id, .error = error, .handle = handle, .len = (uint32_t)len};
    struct iovec iov[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)body, len}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    (void)sendmsg(conn, &msg, MSG_NOSIGNAL);
}

static struct sock_addr own(uint16_t family, uint16_t port)
{
    struct sock_addr a = {.family = family, .port = port};
    inet_pton(family, family == AF_INET ? "10.9.0.1" : "fd09::1", a.ip);
    return a;
}

static void name_it(struct fsock *f, uint16_t port)
{
    if (f->names.local.family == AF_UNSPEC)
        f->names.local.family = f->domain;
    if (port != 0 || f->names.local.port == 0)
        f->names.local.port = port != 0 ? port : next_port++;
    if (f->state == SOCK_S_NEW)
        f->state = SOCK_S_BOUND;
}

/* ---- data
 * ------------------------------------------------------------------------------------------ */

static void reset(struct fsock *f, int error)
{
    f->error = error;
    f->state = SOCK_S_ENDED;
    drop(f);
    if (f->peer != NULL)
        f->peer->peer = NULL;
    f->peer = NULL;
}

static void pump(struct fsock *f)
{
    static char data[1 << 20];
    if (f->state == SOCK_S_CONNECTING || f->is_filling)
        return;
    for (;;) {
        int n = 0;
        if (ioctl(f->b, FIONREAD, &n) < 0 || n <= 1)
            return;
        ssize_t got = n > 1 ? recv(f->b, data, (size_t)n - 1, MSG_DONTWAIT) : 0;
        if (got < 0 || recv(f->b, data + got, 1, MSG_PEEK | MSG_DONTWAIT) != 1)
            return;
        size_t all = (size_t)got + 1, junk = f->skip < all ? f->skip : all;
        f->skip = all - junk > 0 || f->skip <= all ? 1 : f->skip - (uint32_t)got;
        if (all - junk >= 2 && data[junk] == '!') {
            reset(f, data[junk + 1]);
            return;
        }
        if (all > junk && f->peer != NULL)
            (void)send(f->peer->b, data + junk, all - junk, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static void relay_dgram(struct fsock *f)
{
    struct {
        struct sock_dgram head;
        uint8_t data[65536];
    } in;
    for (;;) {
        ssize_t got = recv(f->b, &in, sizeof(in), MSG_DONTWAIT);
        if (got < (ssize_t)sizeof(in.head))
            return;
        struct sock_addr to = in.head.peer.family != AF_UNSPEC ? in.head.peer : f->names.peer;
        struct fsock *other = by_port(SOCK_DGRAM, to.port, SOCK_S_NEW);
        name_it(f, f->names.local.port);
        if (other == NULL) {
            struct sock_dgram error = {.flags = SOCK_D_ERROR, .error = ECONNREFUSED};
            if (f->state == SOCK_S_CONNECTED)
                (void)send(f->b, &error, sizeof(error), MSG_NOSIGNAL | MSG_DONTWAIT);
            continue;
        }
        uint8_t hops = in.head.flags & SOCK_D_HAS_HOPS ? in.head.hop_limit : 64;
        in.head = (struct sock_dgram){.flags = SOCK_D_HAS_LOCAL | SOCK_D_HAS_HOPS | SOCK_D_HAS_TOS,
                                      .hop_limit = hops,
                                      .tos = in.head.tos,
                                      .if_index = 2,
                                      .len = in.head.len,
                                      .peer = own(f->domain, f->names.local.port)};
        struct sock_addr local = own(f->domain, 0);
        memcpy(in.head.local_ip, local.ip, 16);
        (void)send(other->b, &in, (size_t)got, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static void hang_up(struct fsock *f)
{
    char junk[4096];
    while (f->b >= 0 && recv(f->b, junk, sizeof(junk), MSG_DONTWAIT) > 0)
        ; /* both have ended: without the pill this is no reset */
    drop(f);
    if (f->peer != NULL) {
        (void)shutdown(f->peer->b, SHUT_WR);
        f->peer->peer = NULL;
    }
    f->is_used = false;
}

static void on_data(struct fsock *f, uint32_t events)
{
    if (!f->is_used || f->b < 0)
        return;
    if (f->type == SOCK_DGRAM)
        relay_dgram(f);
    else
        pump(f);
    if (f->b >= 0 && (events & EPOLLRDHUP) && f->peer != NULL)
        (void)shutdown(f->peer->b, SHUT_WR);
    if (f->b >= 0 && (events & EPOLLHUP))
        hang_up(f);
}

/* ---- connections
 * ----------------------------------------------------------------------------------- */

static int join(struct fsock *f, uint16_t port)
{
    struct fsock *target = NULL;
    for (int i = 0; i < FSOCKS; i++)
        if (socks[i].is_used && socks[i].b >= 0 && socks[i].state == SOCK_S_LISTENING &&
            socks[i].names.local.port == port)
            target = &socks[i];
    int a = -1, b = -1;
    struct stat st;
    if (target == NULL || sock_pair(SOCK_STREAM, 0, &a, &b))
        return -ECONNREFUSED;
    fstat(a, &st);
    struct fsock *g = make(b);
    g->domain = target->domain;
    g->type = SOCK_STREAM;
    g->skip = 1;
    g->ino = st.st_ino;
    g->state = f->state = SOCK_S_CONNECTED;
    name_it(f, 0);
    f->names.local = own(f->domain, f->names.local.port);
    f->names.peer = f->to;
    g->names.local = own(f->domain, port);
    g->names.peer = f->names.local;
    g->peer = f;
    f->peer = g;
    struct sock_accept news = {
        .handle = g->handle, .ino = g->ino, .peer = g->names.peer, .local_port = port};
    memcpy(news.local_ip, g->names.local.ip, 16);
    union {
        struct cmsghdr head;
        uint8_t room[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.head), &a, sizeof(int));
    struct iovec iov = {&news, sizeof(news)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    (void)send(b, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT); /* the seal */
    (void)sendmsg(target->b, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(a);
    return 0;
}

static void end_connect(struct fsock *f, int r)
{
    f->due_ms = 0;
    if (f->conn >= 0) {
        if (r != 0)
            f->state = SOCK_S_BOUND;
        answer(f->conn, f->id, r, f->handle, &f->names, r == 0 ? sizeof(f->names) : 0);
        f->conn = -1;
    } else if (r != 0) {
        reset(f, -r);
    }
    if (r == 0)
        pump(f);
}

static void run_timers(void)
{
    for (int i = 0; i < FSOCKS; i++) {
        struct fsock *f = &socks[i];
        if (!f->is_used || f->due_ms <= 0 || f->due_ms > now_ms())
            continue;
        end_connect(f, f->to.ip[3] == 8 ? -ECONNREFUSED : join(f, f->to.port));
    }
}

static void start_connect(struct fsock *f, const struct sock_request *head,
                          const struct sock_connect *body, int conn)
{
    static const uint8_t special[3] = {10, 9, 9};
    f->to = body->remote;
    f->skip += body->skip;
    name_it(f, 0);
    if (f->type == SOCK_DGRAM) {
        f->names.peer = f->to;
        f->state = f->to.family == AF_UNSPEC ? SOCK_S_BOUND : SOCK_S_CONNECTED;
        f->names.local = own(f->domain, f->names.local.port);
        answer(conn, head->id, 0, f->handle, &f->names, sizeof(f->names));
        return;
    }
    f->state = SOCK_S_CONNECTING;
    f->is_filling = (head->flags & SOCK_F_SOON) != 0;
    f->conn = head->flags & SOCK_F_WAIT ? conn : -1;
    f->id = head->id;
    if (f->conn < 0 && !(head->flags & SOCK_F_SILENT))
        answer(conn, head->id, -EINPROGRESS, f->handle, &f->names, sizeof(f->names));
    bool is_special = f->to.family == AF_INET && memcmp(f->to.ip, special, 3) == 0;
    int wait_ms = f->to.ip[3] == 6 ? 300 : 30;
    f->due_ms = is_special ? (f->to.ip[3] == 9 ? -1 : now_ms() + wait_ms) : 0;
    if (!is_special)
        end_connect(f, join(f, f->to.port));
}

/* ---- requests
 * -------------------------------------------------------------------------------------- */

static void get_option(struct fsock *f, const struct sock_request *head,
                       const struct sock_option *ask, int conn)
{
    struct {
        struct sock_option head;
        int value[2];
    } out = {.head = {.level = ask->level, .name = ask->name, .len = sizeof(int)}};
    if (ask->level == SOL_SOCKET && ask->name == SO_ERROR) {
        out.value[0] = f->error;
        f->error = 0;
    }
    for (int i = 0; i < f->options; i++)
        if (f->option[i][0] == ask->level && f->option[i][1] == ask->name)
            out.value[0] = f->option[i][2];
    int r = ask->level == 9999 ? -ENOPROTOOPT : 0;
    answer(conn, head->id, r, f->handle, &out, r == 0 ? sizeof(out.head) + sizeof(int) : 0);
}

static int set_option(struct fsock *f, const struct sock_option *ask)
{
    if (ask->level == 9999)
        return -ENOPROTOOPT;
    if (f->options < FOPTIONS && ask->len >= sizeof(int)) {
        int *o = f->option[f->options++];
        o[0] = ask->level;
        o[1] = ask->name;
        memcpy(&o[2], ask + 1, sizeof(int));
    }
    return 0;
}

static void resolve(const struct sock_request *head, const struct sock_resolve *ask, int conn)
{
    struct {
        struct sock_resolved head;
        struct sock_addr addr[2];
        char name[16];
    } out;
    memset(&out, 0, sizeof(out));
    const char *name = (const char *)(ask + 1);
    size_t len = sizeof(out.head);
    if (ask->name_len == 9 && memcmp(name, "slow.test", 9) == 0)
        out.head.eai = EAI_AGAIN;
    else if (ask->name_len != 11 || memcmp(name, "server.test", 11) != 0)
        out.head.eai = EAI_NONAME;
    else {
        uint8_t *at = (uint8_t *)out.addr;
        for (int i = 0; i < 2; i++) {
            struct sock_addr a = own(i == 0 ? AF_INET6 : AF_INET, 0);
            if (ask->family != AF_UNSPEC && ask->family != a.family)
                continue;
            memcpy(at, &a, sizeof(a));
            at += sizeof(a);
            out.head.count++;
        }
        out.head.name_len = 11;
        memcpy(at, "server.test", 11);
        len += out.head.count * sizeof(struct sock_addr) + 11;
    }
    answer(conn, head->id, 0, 0, &out, len);
}

static void lists(const struct sock_request *head, int conn)
{
    if (head->op == SOCK_IFACES) {
        struct {
            struct sock_page page;
            struct sock_iface at[1];
        } out = {.page = {.count = 1},
                 .at = {{.index = 2,
                         .flags = IFF_UP | IFF_BROADCAST | IFF_RUNNING | IFF_MULTICAST,
                         .mtu = 1400,
                         .addr_count = 2,
                         .mac = {2, 0, 0, 0, 0, 9},
                         .name = "net0"}}};
        out.at[0].addr[0] = (struct sock_iface_addr){own(AF_INET, 0), 24, 0};
        out.at[0].addr[1] = (struct sock_iface_addr){own(AF_INET6, 0), 64, 0};
        answer(conn, head->id, 0, 0, &out, sizeof(out));
        return;
    }
    struct {
        struct sock_resolved head;
        char name[12];
    } named = {.head = {.name_len = 11}, .name = "server.test"};
    answer(conn, head->id, 0, 0, &named, sizeof(named.head) + 11);
}

static void with_socket(struct fsock *f, const struct sock_request *head, const void *body,
                        int conn)
{
    int r = 0;
    size_t len = 0;
    switch (head->op) {
    case SOCK_BIND:
        f->names.local = *(const struct sock_addr *)body;
        if (f->names.local.port != 0 && by_port(f->type, f->names.local.port, SOCK_S_BOUND) != NULL)
            r = -EADDRINUSE;
        else
            name_it(f, f->names.local.port);
        len = sizeof(f->names);
        break;
    case SOCK_LISTEN:
        name_it(f, f->names.local.port);
        f->state = SOCK_S_LISTENING;
        len = sizeof(f->names);
        break;
    case SOCK_CONNECT:
        start_connect(f, head, body, conn);
        return;
    case SOCK_FILLED:
        f->skip += ((const struct sock_filled *)body)->skip;
        f->is_filling = false;
        pump(f);
        break;
    case SOCK_NAME:
        len = sizeof(f->names);
        break;
    case SOCK_GETOPT:
        get_option(f, head, body, conn);
        return;
    case SOCK_SETOPT:
        r = set_option(f, body);
        break;
    case SOCK_CLOSE:
        hang_up(f);
        return;
    default:
        break;
    }
    if (!(head->flags & SOCK_F_SILENT))
        answer(conn, head->id, r, f->handle, &f->names, r == 0 ? len : 0);
}

static void identify(const struct sock_request *head, int fd, int conn)
{
    struct stat st;
    struct fsock *found = NULL;
    if (fd >= 0 && fstat(fd, &st) == 0)
        for (int i = 0; i < FSOCKS; i++)
            if (socks[i].is_used && socks[i].ino == st.st_ino)
                found = &socks[i];
    if (found == NULL) {
        answer(conn, head->id, -ENOENT, 0, NULL, 0);
        return;
    }
    struct sock_identity who = {.ino = found->ino,
                                .domain = found->domain,
                                .type = found->type,
                                .state = found->state,
                                .names = found->names};
    answer(conn, head->id, 0, found->handle, &who, sizeof(who));
}

static void cancel(const struct sock_cancel *which, int conn)
{
    for (int i = 0; i < FSOCKS; i++) {
        struct fsock *f = &socks[i];
        if (!f->is_used || f->conn != conn || f->id != which->id)
            continue;
        answer(conn, f->id, -EINTR, f->handle, NULL, 0);
        f->conn = -1;
    }
}

static void on_request(int slot)
{
    static uint8_t room[SOCK_MESSAGE_MAX] __attribute__((aligned(8)));
    union {
        struct cmsghdr head;
        uint8_t room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {room, sizeof(room)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    int conn = conns[slot], fd = -1;
    ssize_t got = recvmsg(conn, &msg, MSG_CMSG_CLOEXEC);
    if (got < (ssize_t)sizeof(struct sock_request)) {
        for (int i = 0; i < FSOCKS; i++)
            if (socks[i].conn == conn)
                socks[i].conn = -1;
        close(conn);
        conns[slot] = -1;
        return;
    }
    if (msg.msg_controllen >= CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
    const struct sock_request *head = (const void *)room;
    const uint8_t *body = room + sizeof(*head);
    struct fsock *f = by_handle(head->handle);
    if (head->flags & SOCK_F_ADOPT) {
        const struct sock_adopt *adopt = (const void *)body;
        f = make(fd);
        fd = -1;
        f->ino = adopt->ino;
        f->domain = adopt->domain;
        f->type = adopt->type;
        f->skip = adopt->skip;
        body += sizeof(*adopt);
        for (const uint8_t *end = body + adopt->options_len; body < end;) {
            const struct sock_option *o = (const void *)body;
            (void)set_option(f, o);
            body += sizeof(*o) + ((o->len + 7) & ~7u);
        }
    }
    struct sock_welcome hello = {.server = (uint64_t)getpid(), .name = "fake"};
    if (head->op == SOCK_HELLO)
        answer(conn, head->id, 0, 0, &hello, sizeof(hello));
    else if (head->op == SOCK_IDENTIFY)
        identify(head, fd, conn);
    else if (head->op == SOCK_CANCEL)
        cancel((const void *)body, conn);
    else if (head->op == SOCK_RESOLVE)
        resolve(head, (const void *)body, conn);
    else if (head->op == SOCK_IFACES || head->op == SOCK_NAMEINFO)
        lists(head, conn);
    else if (f != NULL)
        with_socket(f, head, body, conn);
    else if (!(head->flags & SOCK_F_SILENT))
        answer(conn, head->id, -EBADF, 0, NULL, 0);
    if (fd >= 0)
        close(fd);
}

static void accept_conn(void)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    for (int i = 0; fd >= 0 && i < FCONNS; i++)
        if (conns[i] < 0) {
            conns[i] = fd;
            watch(fd, EPOLLIN, FSOCKS + (uint64_t)i);
            return;
        }
    close(fd);
}

static void serve(void)
{
    struct epoll_event event;
    ep = epoll_create1(EPOLL_CLOEXEC);
    memset(conns, -1, sizeof(conns));
    watch(listener, EPOLLIN, ~0ull);
    for (;;) {
        int n = epoll_wait(ep, &event, 1, 5);
        run_timers();
        if (n <= 0)
            continue;
        if (event.data.u64 == ~0ull)
            accept_conn();
        else if (event.data.u64 >= FSOCKS)
            on_request((int)(event.data.u64 - FSOCKS));
        else
            on_data(&socks[event.data.u64], event.events);
    }
}

pid_t fakesock_start(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    unlink(path);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(listener, 64) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve();
        _exit(0);
    }
    close(listener);
    return pid;
}

void fakesock_stop(pid_t pid)
{
    kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}
