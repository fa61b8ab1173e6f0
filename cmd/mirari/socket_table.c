/* SPDX-License-Identifier: ISC */
/* The sockets that our stack serves, known by the inode of the program's end; which stack serves
 * one; addresses in and out.
 *
 * A descriptor of a program is looked up by copying it and asking for its inode. So dup, fork,
 * exec and passing descriptors need no attention, and a number that was closed and opened as
 * something else is never mistaken. Sockets that are not in the table are the kernel's business.
 *
 * close() does not come to us, so entries of closed sockets stay until the table is swept: when it
 * has twice as many as lived at the last sweep, ends B in our hands are asked for their hang-up,
 * and the server for a list of what it has. An inode number is not used again before four thousand
 * million others were.
 *
 * THE OTHER STACK. At bind, connect, or the first addressed datagram the rules are asked. A socket
 * that is on the wrong stack is replaced in place, at the same descriptor, with its options; what
 * does not follow are copies of the descriptor made before, and epoll sets it had joined.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cmd/mirari/socket_notify.h"
#include "cmd/mirari/tool.h"

/* ---- the table --------------------------------------------------------------------------------
 */

static struct served **place_of_ino(struct sup *sup, uint64_t ino)
{
    struct served **at = &sup->served[ino % SERVED_BUCKETS];
    while (*at != NULL && (*at)->ino != ino)
        at = &(*at)->next;
    return at;
}

static void free_at(struct sup *sup, struct served **at)
{
    struct served *sock = *at;
    *at = sock->next;
    if (sock->b >= 0)
        close(sock->b);
    for (uint32_t i = 0; i < sock->kept_count; i++)
        close(sock->kept[i].fd);
    free(sock->kept);
    free(sock->options);
    free(sock);
    sup->served_count--;
}

void served_remove(struct sup *sup, struct served *sock)
{
    struct served **at = place_of_ino(sup, sock->ino);
    if (*at == sock)
        free_at(sup, at);
}

void served_free_all(struct sup *sup)
{
    for (size_t i = 0; i < SERVED_BUCKETS; i++)
        while (sup->served[i] != NULL)
            free_at(sup, &sup->served[i]);
}

/* Remove what @is_dead says; nobody may hold it. */
static void remove_dead(struct sup *sup, bool (*is_dead)(const struct sup *, const struct served *))
{
    for (size_t i = 0; i < SERVED_BUCKETS; i++) {
        struct served **at = &sup->served[i];
        while (*at != NULL) {
            if ((*at)->users == 0 && is_dead(sup, *at))
                free_at(sup, at);
            else
                at = &(*at)->next;
        }
    }
}

static bool has_hung_up(const struct sup *sup, const struct served *sock)
{
    (void)sup;
    struct pollfd look = {.fd = sock->b};
    return sock->b >= 0 && poll(&look, 1, 0) == 1 && (look.revents & POLLHUP) != 0;
}

static bool was_not_seen(const struct sup *sup, const struct served *sock)
{
    return sock->b < 0 && sock->round != sup->round;
}

static void end_sweep(struct sup *sup)
{
    sup->is_sweeping = false;
    remove_dead(sup, has_hung_up); /* what was closed while the server was slow to answer */
    sup->sweep_at = sup->served_count * 2 > 1024 ? sup->served_count * 2 : 1024;
    if (sup->sweep_at > SERVED_MAX)
        sup->sweep_at = SERVED_MAX;
}

static void begin_sweep(struct sup *sup)
{
    remove_dead(sup, has_hung_up);
    sup->round++;
    sup->is_sweeping = true;
    control_ask_page(sup, 0);
    if (!sup->is_sweeping) /* there is no server: what it had is gone */
        end_sweep(sup);
}

void served_page(struct sup *sup, const void *body, size_t len)
{
    struct sock_page page;
    struct sock_netstat row;
    if (!sup->is_sweeping)
        return;
    if (len < sizeof(page)) {
        end_sweep(sup);
        return;
    }
    memcpy(&page, body, sizeof(page));
    const uint8_t *at = (const uint8_t *)body + sizeof(page);
    for (uint32_t i = 0; i < page.count && len - sizeof(page) >= (i + 1) * sizeof(row); i++) {
        memcpy(&row, at + i * sizeof(row), sizeof(row));
        struct served *sock = *place_of_ino(sup, row.ino);
        if (sock != NULL)
            sock->round = sup->round;
    }
    if (page.next != 0) {
        control_ask_page(sup, page.next);
        return;
    }
    remove_dead(sup, was_not_seen);
    end_sweep(sup);
}

struct served *served_add(struct sup *sup, uint64_t ino, enum served_kind kind)
{
    struct served **at = place_of_ino(sup, ino);
    if (*at != NULL && (*at)->users == 0)
        free_at(sup, at); /* of a socket that was closed long ago */
    if (sup->served_count >= sup->sweep_at && !sup->is_sweeping)
        begin_sweep(sup);
    struct served *sock = sup->served_count < SERVED_MAX ? calloc(1, sizeof(*sock)) : NULL;
    if (sock == NULL)
        return NULL;
    at = &sup->served[ino % SERVED_BUCKETS];
    *sock = (struct served){.next = *at,
                            .ino = ino,
                            .kind = (uint8_t)kind,
                            .b = -1,
                            .round = sup->round,
                            .server = sup->server};
    *at = sock;
    sup->served_count++;
    return sock;
}

/* ---- options that wait for the server ---------------------------------------------------------
 */

static size_t padded(size_t len)
{
    return (len + 7) & ~(size_t)7;
}

const struct sock_option *served_kept_option(const struct served *sock, int level, int name)
{
    for (uint32_t at = 0; at < sock->options_len;) {
        const struct sock_option *option = (const void *)(sock->options + at);
        if (option->level == level && option->name == name)
            return option;
        at += (uint32_t)(sizeof(*option) + padded(option->len));
    }
    return NULL;
}

int served_keep_option(struct served *sock, int level, int name, const void *value, size_t len)
{
    const struct sock_option *old = served_kept_option(sock, level, name);
    size_t at = old != NULL ? (size_t)((const uint8_t *)old - sock->options) : sock->options_len;
    if (old != NULL && padded(old->len) != padded(len))
        return -EINVAL;
    size_t end = at + sizeof(*old) + padded(len);
    if (end > OPTIONS_KEPT_MAX)
        return -ENOBUFS;
    if (end > sock->options_len) {
        uint8_t *grown = realloc(sock->options, end);
        if (grown == NULL)
            return -ENOBUFS;
        sock->options = grown;
        sock->options_len = (uint32_t)end;
    }
    struct sock_option head = {.level = level, .name = name, .len = (uint32_t)len};
    memset(sock->options + at, 0, end - at);
    memcpy(sock->options + at, &head, sizeof(head));
    memcpy(sock->options + at + sizeof(head), value, len);
    return 0;
}

/* ---- addresses --------------------------------------------------------------------------------
 */

int addr_read(const struct call *call, uint64_t at, int64_t len, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (len < 0 || len > (int64_t)sizeof(*out))
        return -EINVAL;
    return len == 0 ? 0 : peer_read(call, at, out, (size_t)len);
}

int addr_write(const struct call *call, uint64_t at, uint64_t len_at, const void *addr, size_t len)
{
    int32_t room;
    if (peer_read(call, len_at, &room, sizeof(room)) != 0)
        return -EFAULT;
    if (room < 0)
        return -EINVAL;
    /* Both in one system call: the address, and behind it its length. */
    int32_t true_len = (int32_t)len;
    size_t put = (size_t)room < len ? (size_t)room : len;
    uint8_t both[sizeof(struct sockaddr_storage) + SOCK_OPTION_MAX + sizeof(true_len)];
    struct iovec to[2] = {{.iov_base = (void *)(uintptr_t)at, .iov_len = put},
                          {.iov_base = (void *)(uintptr_t)len_at, .iov_len = sizeof(true_len)}};
    if (len > sizeof(both) - sizeof(true_len))
        return -EINVAL;
    memcpy(both, addr, put);
    memcpy(both + put, &true_len, sizeof(true_len));
    ssize_t done = peer_write_parts(call, to, 2, both, put + sizeof(true_len));
    return done == (ssize_t)(put + sizeof(true_len)) ? 0 : -EFAULT;
}

int addr_take(const struct served *sock, const struct sockaddr_storage *from, size_t len,
              struct sock_addr *out)
{
    *out = (struct sock_addr){.family = sock->domain};
    if (len < sizeof(sa_family_t))
        return -EINVAL;
    if (sock->domain == AF_INET) {
        const struct sockaddr_in *in = (const void *)from;
        if (len < sizeof(*in))
            return -EINVAL;
        if (from->ss_family != AF_INET)
            return -EAFNOSUPPORT;
        out->port = ntohs(in->sin_port);
        memcpy(out->ip, &in->sin_addr, 4);
        return 0;
    }
    const struct sockaddr_in6 *in6 = (const void *)from;
    if (len < offsetof(struct sockaddr_in6, sin6_scope_id))
        return -EINVAL;
    if (from->ss_family != AF_INET6)
        return -EAFNOSUPPORT;
    out->port = ntohs(in6->sin6_port);
    out->scope = len >= sizeof(*in6) ? in6->sin6_scope_id : 0;
    memcpy(out->ip, &in6->sin6_addr, 16);
    return 0;
}

size_t addr_give(uint16_t domain, const struct sock_addr *from, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (domain == AF_INET) {
        struct sockaddr_in *in = (void *)out;
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(from->port)};
        memcpy(&in->sin_addr, from->ip, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (void *)out;
    *in6 = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_port = htons(from->port), .sin6_scope_id = from->scope};
    if (from->family == AF_INET) {
        in6->sin6_addr.s6_addr[10] = in6->sin6_addr.s6_addr[11] = 0xff;
        memcpy(in6->sin6_addr.s6_addr + 12, from->ip, 4);
    } else {
        memcpy(&in6->sin6_addr, from->ip, 16);
    }
    return sizeof(*in6);
}

/* ---- which socket, which stack ----------------------------------------------------------------
 */

bool call_copy_fd(struct sup *sup, struct call *call, int fd)
{
    struct stat st;
    int a = peer_fd(sup, call, fd);
    if (a < 0) {
        /* EPERM: a process that nobody may look into. The kernel serves it as well as it can. */
        if (a == -EBADF)
            call_return(sup, call, a);
        else
            call_continue(sup, call);
        return false;
    }
    call->a = a;
    if (fstat(a, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        call_continue(sup, call);
        return false;
    }
    call->sock = *place_of_ino(sup, st.st_ino);
    if (call->sock != NULL)
        call->sock->users++;
    return true;
}

/* A socket that is known and not just becoming known. */
static bool is_usable(struct sup *sup, struct call *call)
{
    struct served *sock = call->sock;
    if (sock->is_adopting) {
        call->is_deferred = true;
        for (struct call *other = sup->calls; other != NULL; other = other->next)
            if (other->sock == sock)
                connect_cancel(sup, other);
        return false;
    }
    if (sock->handle != 0 && sock->server != sup->server) {
        call_return(sup, call, -ENETDOWN); /* of a server that has gone */
        return false;
    }
    return true;
}

bool call_find(struct sup *sup, struct call *call, int fd)
{
    if (!call_copy_fd(sup, call, fd))
        return false;
    if (call->sock == NULL) {
        call_continue(sup, call);
        return false;
    }
    return is_usable(sup, call);
}

/* Options that a program may have set on a socket of the host, to take along. */
static const struct {
    int level, name;
} host_options[] = {
    {SOL_SOCKET, SO_REUSEADDR},      {SOL_SOCKET, SO_REUSEPORT}, {SOL_SOCKET, SO_KEEPALIVE},
    {SOL_SOCKET, SO_BROADCAST},      {IPPROTO_TCP, TCP_NODELAY}, {IPPROTO_TCP, TCP_KEEPIDLE},
    {IPPROTO_TCP, TCP_KEEPINTVL},    {IPPROTO_TCP, TCP_KEEPCNT}, {IPPROTO_IPV6, IPV6_V6ONLY},
    {IPPROTO_TCP, TCP_USER_TIMEOUT},
};

static void copy_timeouts(int from, int to)
{
    static const int names[] = {SO_RCVTIMEO, SO_SNDTIMEO};
    struct timeval value;
    for (size_t i = 0; i < LEN(names); i++) {
        socklen_t len = sizeof(value);
        if (getsockopt(from, SOL_SOCKET, names[i], &value, &len) == 0 &&
            (value.tv_sec != 0 || value.tv_usec != 0))
            (void)setsockopt(to, SOL_SOCKET, names[i], &value, len);
    }
}

static void keep_host_options(struct served *sock, int host)
{
    for (size_t i = 0; i < LEN(host_options); i++) {
        int value = 0;
        socklen_t len = sizeof(value);
        bool is_other = (host_options[i].level == IPPROTO_TCP && sock->kind != SERVED_TCP) ||
                        (host_options[i].level == IPPROTO_IPV6 && sock->domain != AF_INET6);
        if (!is_other &&
            getsockopt(host, host_options[i].level, host_options[i].name, &value, &len) == 0 &&
            value != 0)
            (void)served_keep_option(sock, host_options[i].level, host_options[i].name, &value,
                                     sizeof(value));
    }
}

/* Put a fresh pair at descriptor @fd. On success the new entry is returned and *a is its A. */
static int make_ours(struct sup *sup, struct call *call, int fd, const struct served *like, int *a)
{
    struct stat st;
    int b = -1;
    *a = -1;
    int r = sock_pair(like->type, SOCK_CLOEXEC, a, &b);
    if (r != 0)
        return r;
    if (call_is_nonblocking(call))
        (void)fcntl(*a, F_SETFL, O_NONBLOCK);
    copy_timeouts(call->a, *a);
    struct served *sock =
        fstat(*a, &st) == 0 ? served_add(sup, st.st_ino, (enum served_kind)like->kind) : NULL;
    int copy = sock != NULL ? fcntl(*a, F_DUPFD_CLOEXEC, 0) : -1;
    if (copy < 0) {
        close(*a);
        close(b);
        if (sock != NULL)
            served_remove(sup, sock);
        return -ENFILE;
    }
    sock->b = b;
    sock->domain = like->domain;
    sock->type = like->type;
    sock->protocol = like->protocol;
    sock->wants = like->wants;
    r = call_replace_fd(sup, call, copy, fd);
    if (r != 0) {
        served_remove(sup, sock);
        close(*a);
        return r;
    }
    close(call->a);
    call->a = *a;
    if (call->sock != NULL)
        call->sock->users--;
    call->sock = sock;
    sock->users++;
    return 0;
}

int served_renew(struct sup *sup, struct call *call, int fd)
{
    struct served *old = call->sock;
    int a;
    old->users++; /* it is read below */
    int r = make_ours(sup, call, fd, old, &a);
    old->users--;
    if (r != 0)
        return r;
    for (uint32_t at = 0; at < old->options_len;) {
        const struct sock_option *option = (const void *)(old->options + at);
        (void)served_keep_option(call->sock, option->level, option->name, option + 1, option->len);
        at += (uint32_t)(sizeof(*option) + padded(option->len));
    }
    if (old->users == 0)
        served_remove(sup, old);
    return 0;
}

/* A socket of the host that is not used yet becomes ours. False: it stays, or the call was ended.
 */
static bool take_from_host(struct sup *sup, struct call *call, int fd, enum sock_rule_use use,
                           const struct sockaddr *addr, size_t addr_len)
{
    int domain = 0, type = 0, protocol = 0, a;
    socklen_t len = sizeof(int);
    struct sockaddr_in6 name = {0};
    if (getsockopt(call->a, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 ||
        (domain != AF_INET && domain != AF_INET6) ||
        getsockopt(call->a, SOL_SOCKET, SO_TYPE, &type, &len) != 0 ||
        getsockopt(call->a, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) != 0)
        return false;
    bool is_udp = type == SOCK_DGRAM && protocol == IPPROTO_UDP;
    if (!is_udp && !(type == SOCK_STREAM && protocol == IPPROTO_TCP))
        return false;
    len = sizeof(name);
    if (sock_rules_decide(&sup->rules, is_udp, use, addr, addr_len) != SOCK_OURS ||
        getsockname(call->a, (struct sockaddr *)&name, &len) != 0 || name.sin6_port != 0)
        return false;
    struct served like = {.kind = is_udp ? SERVED_UDP : SERVED_TCP,
                          .domain = (uint16_t)domain,
                          .type = (uint16_t)type,
                          .protocol = (uint16_t)protocol};
    int host = fcntl(call->a, F_DUPFD_CLOEXEC, 0);
    if (host < 0 || make_ours(sup, call, fd, &like, &a) != 0) {
        if (host >= 0)
            close(host);
        return false;
    }
    keep_host_options(call->sock, host);
    close(host);
    return true;
}

/* Ours becomes a socket of the host, which then runs the call. */
static void give_to_host(struct sup *sup, struct call *call, int fd)
{
    struct served *sock = call->sock;
    int host = socket(sock->domain, sock->type | SOCK_CLOEXEC, sock->protocol);
    if (host < 0) {
        call_return(sup, call, -errno);
        return;
    }
    if (call_is_nonblocking(call))
        (void)fcntl(host, F_SETFL, O_NONBLOCK);
    for (uint32_t at = 0; at < sock->options_len;) {
        const struct sock_option *option = (const void *)(sock->options + at);
        (void)setsockopt(host, option->level, option->name, option + 1, option->len);
        at += (uint32_t)(sizeof(*option) + padded(option->len));
    }
    copy_timeouts(call->a, host);
    if (sock->has_names && sock->names.local.port != 0) {
        struct sockaddr_storage name;
        size_t len = addr_give(sock->domain, &sock->names.local, &name);
        (void)bind(host, (struct sockaddr *)&name, (socklen_t)len);
    }
    int r = call_replace_fd(sup, call, host, fd);
    if (r != 0) {
        call_return(sup, call, r);
        return;
    }
    if (sock->handle != 0)
        (void)control_tell(sup, SOCK_CLOSE, sock->handle, NULL, 0);
    sock->users--;
    call->sock = NULL;
    if (sock->users == 0)
        served_remove(sup, sock);
    call_continue(sup, call);
}

bool call_stays_ours(struct sup *sup, struct call *call, int fd, enum sock_rule_use use,
                     const struct sockaddr *addr, size_t addr_len)
{
    struct served *sock = call->sock;
    bool is_fresh =
        sock->state == SERVED_NEW || (sock->state == SERVED_BOUND && use == SOCK_RULE_DST);
    if (sock->kind == SERVED_LINK || !is_fresh || sock->last_to.family != AF_UNSPEC ||
        sock_rules_decide(&sup->rules, sock->kind == SERVED_UDP, use, addr, addr_len) == SOCK_OURS)
        return true;
    give_to_host(sup, call, fd);
    return false;
}

bool call_find_for(struct sup *sup, struct call *call, int fd, enum sock_rule_use use,
                   const struct sockaddr *addr, size_t addr_len)
{
    if (!call_copy_fd(sup, call, fd))
        return false;
    if (call->sock == NULL) {
        bool may_be_ours = sup->rules.count > 0 || sup->rules.default_stack == SOCK_HOST;
        if (may_be_ours && take_from_host(sup, call, fd, use, addr, addr_len))
            return true;
        call_continue(sup, call);
        return false;
    }
    return is_usable(sup, call) && call_stays_ours(sup, call, fd, use, addr, addr_len);
}
