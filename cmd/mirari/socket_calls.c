/* SPDX-License-Identifier: ISC */
/* socket, bind, listen, connect, accept, getsockname, getpeername, served by the supervisor.
 *
 * socket() makes the pair and keeps end B; no server is asked before there is something to do. The
 * errors that the kernel would find in the arguments are found here, so that the server is asked
 * sensible things only; what depends on the state of the stack it answers.
 *
 * connect() without blocking fills A first, so that poll says "not writable" until the server has
 * emptied it. A socket whose attempt failed has lost its B and gets a new pair in its place.
 *
 * accept() takes a message of the server from A. Nobody is asked: it costs the stop and nothing
 * else. When it blocks, A is watched here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/mirari/socket_notify.h"
#include "cmd/mirari/tool.h"
#include "cmd/socket/link.h"

/* ---- socket -----------------------------------------------------------------------------------
 */

/* Returns which kind ours would be, or -1: the kernel's; else an error. */
static int kind_of(const struct sup *sup, int domain, int type, int protocol)
{
    if (domain == AF_NETLINK)
        return sock_rules_initial(&sup->rules, false) == SOCK_OURS ? SERVED_LINK : -1;
    bool is_udp = type == SOCK_DGRAM;
    if (protocol < 0 || protocol > IPPROTO_MPTCP)
        return -EINVAL;
    if ((type != SOCK_STREAM && !is_udp) || sock_rules_initial(&sup->rules, is_udp) == SOCK_HOST)
        return -1;
    /* The host's would pass us by; programs that would rather have it take plain TCP instead. */
    if (protocol == IPPROTO_MPTCP || protocol == (is_udp ? IPPROTO_TCP : IPPROTO_UDP))
        return -EPROTONOSUPPORT;
    if (protocol != 0 && protocol != (is_udp ? IPPROTO_UDP : IPPROTO_TCP))
        return -1; /* ICMP, UDP-Lite, SCTP */
    return is_udp ? SERVED_UDP : SERVED_TCP;
}

static int make_pair(int kind, int *a, int *b)
{
    if (kind == SERVED_LINK)
        return sock_link_pair(SOCK_CLOEXEC, a, b);
    return sock_pair(kind == SERVED_TCP ? SOCK_STREAM : SOCK_DGRAM, SOCK_CLOEXEC, a, b);
}

void handle_socket(struct sup *sup, struct call *call)
{
    int domain = (int)call->arg[0], type = (int)call->arg[1] & 0xf, protocol = (int)call->arg[2];
    unsigned flags = (unsigned)call->arg[1] & ~0xfu;
    struct stat st;
    int a = -1, b = -1;
    if ((flags & ~(unsigned)(SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0) {
        call_return(sup, call, -EINVAL);
        return;
    }
    int kind = kind_of(sup, domain, type, protocol);
    if (kind == -1) {
        call_continue(sup, call);
        return;
    }
    int r = kind < 0 ? kind : make_pair(kind, &a, &b);
    if (r != 0) {
        call_return(sup, call, r);
        return;
    }
    if (flags & SOCK_NONBLOCK)
        (void)fcntl(a, F_SETFL, O_NONBLOCK);
    struct served *sock =
        fstat(a, &st) == 0 ? served_add(sup, st.st_ino, (enum served_kind)kind) : NULL;
    if (sock == NULL) {
        close(a);
        close(b);
        call_return(sup, call, -ENFILE);
        return;
    }
    sock->b = b;
    sock->domain = (uint16_t)domain;
    sock->type = (uint16_t)type;
    sock->protocol = (uint16_t)protocol;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = EVENT_LINK | (uint32_t)sock->ino};
    if (kind == SERVED_LINK && epoll_ctl(sup->epoll, EPOLL_CTL_ADD, b, &event) != 0) {
        close(a);
        served_remove(sup, sock);
        call_return(sup, call, -ENFILE);
        return;
    }
    if (!call_return_fd(sup, call, a, flags))
        served_remove(sup, sock);
    close(a);
}

/* ---- bind, listen -----------------------------------------------------------------------------
 */

static void take_names(struct served *sock, const struct sock_response *response, const void *body)
{
    if (response->len < sizeof(sock->names))
        return;
    memcpy(&sock->names, body, sizeof(sock->names));
    sock->has_names = true;
}

static void bind_answered(struct sup *sup, struct call *call, const struct sock_response *response,
                          const void *body)
{
    if (response->error == 0) {
        take_names(call->sock, response, body);
        call->sock->state = SERVED_BOUND;
    }
    call_return(sup, call, response->error);
}

void handle_bind(struct sup *sup, struct call *call)
{
    struct sockaddr_storage storage;
    struct sock_addr addr;
    int r = addr_read(call, call->arg[1], (int32_t)call->arg[2], &storage);
    size_t len = r == 0 ? (size_t)call->arg[2] : 0;
    if (!call_find_for(sup, call, (int)call->arg[0], SOCK_RULE_BIND, (void *)&storage, len))
        return;
    struct served *sock = call->sock;
    if (r == 0 && sock->kind == SERVED_LINK) {
        call_return(sup, call, 0);
        return;
    }
    if (r == 0 && sock->domain == AF_INET && storage.ss_family == AF_UNSPEC)
        storage.ss_family = AF_INET; /* old programs; the kernel takes it for the any-address */
    if (r == 0)
        r = addr_take(sock, &storage, len, &addr);
    if (r == 0 && sock->state != SERVED_NEW)
        r = -EINVAL;
    if (r == 0 && !call_is_valid(sup, call))
        r = -EINTR; /* what was read is worth nothing; nobody gets this */
    if (r != 0)
        call_return(sup, call, r);
    else
        control_request(sup, call, SOCK_BIND, 0, (struct body){&addr, sizeof(addr)}, bind_answered);
}

static void listen_answered(struct sup *sup, struct call *call,
                            const struct sock_response *response, const void *body)
{
    if (response->error == 0) {
        take_names(call->sock, response, body);
        call->sock->state = SERVED_LISTENING;
    }
    call_return(sup, call, response->error);
}

void handle_listen(struct sup *sup, struct call *call)
{
    struct sock_listen body = {.backlog = (int32_t)call->arg[1]};
    uint32_t skip;
    int r;
    if (!call_find(sup, call, (int)call->arg[0]))
        return;
    struct served *sock = call->sock;
    if (sock->kind != SERVED_TCP)
        call_return(sup, call, -EOPNOTSUPP);
    else if (sock->state == SERVED_CONNECTING || sock->state == SERVED_CONNECTED)
        call_return(sup, call, -EINVAL);
    else if (sock->state != SERVED_LISTENING && (r = sock_fill(call->a, &skip)) != 0)
        call_return(sup, call, r); /* filled: a listener is never writable */
    else
        control_request(sup, call, SOCK_LISTEN, 0, (struct body){&body, sizeof(body)},
                        listen_answered);
}

/* ---- connect ----------------------------------------------------------------------------------
 */

/* Poll must show an attempt that goes on. */
static void fill(struct sup *sup, struct call *call)
{
    struct sock_filled filled = {.skip = 0};
    struct iovec part = {.iov_base = &filled, .iov_len = sizeof(filled)};
    (void)sock_fill(call->a, &filled.skip);
    (void)control_tell(sup, SOCK_FILLED, call->sock->handle, &part, 1);
}

/* The answer to one who does not wait. What poll says of A is what the program is told: it shows
 * the end of the attempt also when that has come already. */
static void begin_answered(struct sup *sup, struct call *call, const struct sock_response *response,
                           const void *body)
{
    struct served *sock = call->sock;
    if (response->error == 0 || response->error == -EINPROGRESS)
        take_names(sock, response, body);
    if (response->error == -EINPROGRESS) {
        fill(sup, call);
    } else if (response->error != 0) {
        sock->state = sock->has_names && sock->names.local.port != 0 ? SERVED_BOUND : SERVED_NEW;
    }
    call_return(sup, call, response->error == 0 ? -EINPROGRESS : response->error);
}

static void connect_again(struct sup *sup, struct call *call);

static void connect_answered(struct sup *sup, struct call *call,
                             const struct sock_response *response, const void *body)
{
    struct served *sock = call->sock;
    bool is_udp = sock->kind == SERVED_UDP;
    if (response->error == -EINTR && !is_udp) { /* connect_cancel() */
        fill(sup, call);
        if (call->id != 0)
            connect_again(sup, call);
        else
            call_return(sup, call, -EINTR);
        return;
    }
    if (response->error == 0 || response->error == -EINPROGRESS)
        take_names(sock, response, body);
    if (response->error == 0 && !is_udp) /* of a connection that is reset already, too */
        memcpy(&sock->names.peer, call->note, sizeof(sock->names.peer));
    if (response->error == 0)
        sock->state = !is_udp || sock->names.peer.family != AF_UNSPEC ? SERVED_CONNECTED
                      : sock->names.local.port != 0                   ? SERVED_BOUND
                                                                      : SERVED_NEW;
    else if (response->error != -EINPROGRESS && sock->state == SERVED_CONNECTING && !is_udp)
        sock->state = sock->has_names && sock->names.local.port != 0 ? SERVED_BOUND : SERVED_NEW;
    call_return(sup, call, response->error);
}

/* The attempt before has failed: its error is told once, and the socket is as new. */
static void failure_answered(struct sup *sup, struct call *call,
                             const struct sock_response *response, const void *body)
{
    int error = 0;
    if (response->error == 0 && response->len >= sizeof(struct sock_option) + sizeof(error))
        memcpy(&error, (const uint8_t *)body + sizeof(struct sock_option), sizeof(error));
    int r = served_renew(sup, call, (int)call->arg[0]);
    call_return(sup, call, r != 0 ? r : error != 0 ? -error : -ECONNABORTED);
}

/* Again on a socket that was connecting: does the attempt go on, is it made, has it failed? */
static void connect_again(struct sup *sup, struct call *call)
{
    struct sock_option body = {.level = SOL_SOCKET, .name = SO_ERROR, .len = sizeof(int)};
    struct pollfd look = {.fd = call->a, .events = POLLOUT};
    (void)poll(&look, 1, 0);
    if (look.revents & (POLLHUP | POLLERR)) {
        control_request(sup, call, SOCK_GETOPT, 0, (struct body){&body, sizeof(body)},
                        failure_answered);
    } else if (look.revents & POLLOUT) {
        call->sock->state = SERVED_CONNECTED;
        call_return(sup, call, 0);
    } else if (call_is_nonblocking(call)) {
        call_return(sup, call, -EALREADY);
    } else {
        call_watch(sup, call, EPOLLOUT, SO_SNDTIMEO, -EALREADY);
    }
}

void connect_cancel(struct sup *sup, struct call *call)
{
    struct sock_cancel body = {.id = call->serial, .flags = SOCK_CANCEL_FILL};
    struct iovec part = {.iov_base = &body, .iov_len = sizeof(body)};
    if (call->is_requested && call->answered == connect_answered && call->sock != NULL &&
        call->sock->kind == SERVED_TCP)
        (void)control_tell(sup, SOCK_CANCEL, 0, &part, 1);
}

/* connect(AF_UNSPEC) of a stream: it is as new, and what it was connected to loses it. */
static void disconnect(struct sup *sup, struct call *call)
{
    if (call->sock->state == SERVED_NEW)
        call_return(sup, call, 0);
    else
        call_return(sup, call, served_renew(sup, call, (int)call->arg[0]));
}

/* The state of a stream comes before its arguments. True: the call goes on. */
static bool may_connect(struct sup *sup, struct call *call)
{
    struct served *sock = call->sock;
    if (sock->kind != SERVED_TCP || sock->state == SERVED_NEW || sock->state == SERVED_BOUND)
        return true;
    if (sock->state == SERVED_CONNECTING)
        connect_again(sup, call);
    else
        call_return(sup, call, -EISCONN);
    return false;
}

static void begin_connect(struct sup *sup, struct call *call, const struct sock_addr *remote)
{
    struct served *sock = call->sock;
    struct sock_connect body = {.remote = *remote};
    _Static_assert(sizeof(call->note) == sizeof(*remote), "the peer's address is noted");
    memcpy(call->note, remote, sizeof(*remote));
    bool is_tcp = sock->kind == SERVED_TCP;
    uint16_t flags = is_tcp && call_is_nonblocking(call) ? SOCK_F_SOON : SOCK_F_WAIT;
    if (flags == SOCK_F_SOON && send(call->a, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
        sock->skip++;
    if (is_tcp) {
        body.skip = sock->skip;
        sock->skip = 0;
        sock->state = SERVED_CONNECTING;
        call_limit(sup, call, SO_SNDTIMEO, -EINPROGRESS);
    }
    control_request(sup, call, SOCK_CONNECT, flags, (struct body){&body, sizeof(body)},
                    flags == SOCK_F_SOON ? begin_answered : connect_answered);
}

void handle_connect(struct sup *sup, struct call *call)
{
    struct sockaddr_storage storage;
    struct sock_addr addr = {0};
    int r = addr_read(call, call->arg[1], (int32_t)call->arg[2], &storage);
    size_t len = r == 0 ? (size_t)call->arg[2] : 0;
    if (!call_find_for(sup, call, (int)call->arg[0], SOCK_RULE_DST, (void *)&storage, len))
        return;
    if (r == 0 && call->sock->kind == SERVED_LINK) {
        call_return(sup, call, 0);
        return;
    }
    if (r == 0 && len < sizeof(sa_family_t))
        r = -EINVAL;
    bool is_undone = r == 0 && storage.ss_family == AF_UNSPEC;
    if (is_undone && call->sock->kind == SERVED_TCP) {
        disconnect(sup, call);
        return;
    }
    if (r != 0) {
        call_return(sup, call, r);
        return;
    }
    if (!may_connect(sup, call))
        return;
    if (!is_undone)
        r = addr_take(call->sock, &storage, len, &addr);
    if (r == 0 && !call_is_valid(sup, call))
        r = -EINTR;
    if (r != 0)
        call_return(sup, call, r);
    else
        begin_connect(sup, call, &addr);
}

/* ---- accept -----------------------------------------------------------------------------------
 */

/* One message of the server. Returns the new descriptor or -errno. */
static int receive_accept(int a, struct sock_accept *accept)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = accept, .iov_len = sizeof(*accept)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t got;
    do
        got = recvmsg(a, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN ? -EAGAIN : -EINVAL;
    struct cmsghdr *head = got == (ssize_t)sizeof(*accept) ? CMSG_FIRSTHDR(&message) : NULL;
    int fd = -EINVAL;
    if (head != NULL && head->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(head), sizeof(fd));
    if (fd >= 0)
        sock_unseal(fd);
    return fd;
}

/* Back to the socket: the thread that it was for has gone. */
static void keep_accept(struct served *sock, const struct sock_accept *accept, int fd)
{
    struct kept_accept *kept = sock->kept;
    if (kept == NULL)
        sock->kept = kept = calloc(ACCEPTS_KEPT_MAX, sizeof(*kept));
    if (kept == NULL || sock->kept_count == ACCEPTS_KEPT_MAX) {
        close(fd);
        return;
    }
    kept[sock->kept_count++] = (struct kept_accept){.accept = *accept, .fd = fd};
}

static int next_connection(struct call *call, struct sock_accept *accept)
{
    struct served *sock = call->sock;
    if (sock->kept_count == 0)
        return receive_accept(call->a, accept);
    int fd = sock->kept[0].fd;
    *accept = sock->kept[0].accept;
    sock->kept_count--;
    memmove(sock->kept, sock->kept + 1, sock->kept_count * sizeof(sock->kept[0]));
    return fd;
}

static struct served *add_accepted(struct sup *sup, const struct served *listener,
                                   const struct sock_accept *accept)
{
    struct served *sock = served_add(sup, accept->ino, SERVED_TCP);
    if (sock == NULL)
        return NULL;
    sock->handle = accept->handle;
    sock->domain = listener->domain;
    sock->type = listener->type;
    sock->protocol = listener->protocol;
    sock->state = SERVED_CONNECTED;
    sock->has_names = true;
    sock->names.peer = accept->peer;
    sock->names.local = (struct sock_addr){
        .family = accept->peer.family, .port = accept->local_port, .scope = accept->local_scope};
    memcpy(sock->names.local.ip, accept->local_ip, sizeof(accept->local_ip));
    return sock;
}

static void give_connection(struct sup *sup, struct call *call, const struct sock_accept *accept,
                            int fd)
{
    struct served *listener = call->sock;
    struct sockaddr_storage name;
    unsigned flags = call->nr == SYS_accept4 ? (unsigned)call->arg[3] : 0;
    size_t len = addr_give(listener->domain, &accept->peer, &name);
    struct served *sock = add_accepted(sup, listener, accept);
    if (sock == NULL) {
        close(fd); /* the peer gets a reset, as when the kernel has no memory */
        call_return(sup, call, -ENFILE);
        return;
    }
    if (flags & SOCK_NONBLOCK)
        (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    listener->users++;
    int r = call->arg[1] != 0 && call_is_valid(sup, call)
                ? addr_write(call, call->arg[1], call->arg[2], &name, len)
                : 0;
    if (r != 0) {
        /* As the kernel does: the connection is lost to a program that cannot be told of it. */
        close(fd);
        served_remove(sup, sock);
        call_return(sup, call, r);
    } else if (call_return_fd(sup, call, fd, flags)) {
        close(fd);
    } else {
        served_remove(sup, sock);
        keep_accept(listener, accept, fd);
    }
    listener->users--;
}

void handle_accept(struct sup *sup, struct call *call)
{
    struct sock_accept accept;
    unsigned flags = call->nr == SYS_accept4 ? (unsigned)call->arg[3] : 0;
    if (!call_find(sup, call, (int)call->arg[0]))
        return;
    if ((flags & ~(unsigned)(SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0 ||
        (call->sock->kind == SERVED_TCP && call->sock->state != SERVED_LISTENING)) {
        call_return(sup, call, -EINVAL);
        return;
    }
    if (call->sock->kind != SERVED_TCP) {
        call_return(sup, call, -EOPNOTSUPP);
        return;
    }
    int fd = next_connection(call, &accept);
    if (fd >= 0)
        give_connection(sup, call, &accept, fd);
    else if (fd == -EAGAIN && !call_is_nonblocking(call))
        call_watch(sup, call, EPOLLIN, SO_RCVTIMEO, -EAGAIN);
    else
        call_return(sup, call, fd);
}

/* ---- names ------------------------------------------------------------------------------------
 */

static void give_link_name(struct sup *sup, struct call *call)
{
    /* A process may have several; programs compare with what answers carry, which is this too. */
    struct sockaddr_nl name = {.nl_family = AF_NETLINK, .nl_pid = (uint32_t)call->sock->ino};
    call_return(sup, call, addr_write(call, call->arg[1], call->arg[2], &name, sizeof(name)));
}

static void give_name(struct sup *sup, struct call *call)
{
    struct served *sock = call->sock;
    struct sockaddr_storage name;
    bool is_peer = call->nr == SYS_getpeername;
    const struct sock_addr *from = is_peer ? &sock->names.peer : &sock->names.local;
    if (is_peer && from->family == AF_UNSPEC) {
        call_return(sup, call, -ENOTCONN);
        return;
    }
    size_t len = addr_give(sock->domain, from, &name);
    call_return(sup, call,
                call_is_valid(sup, call) ? addr_write(call, call->arg[1], call->arg[2], &name, len)
                                         : -EINTR);
}

static void name_answered(struct sup *sup, struct call *call, const struct sock_response *response,
                          const void *body)
{
    struct served *sock = call->sock;
    if (response->error == -EBADF && sock->kind == SERVED_TCP && sock->state == SERVED_CONNECTED) {
        give_name(sup, call); /* shut both ways: the server takes that for closed */
        return;
    }
    if (response->error != 0) {
        call_return(sup, call,
                    response->error == -EBADF && call->nr == SYS_getpeername ? -ENOTCONN
                                                                             : response->error);
        return;
    }
    take_names(sock, response, body);
    if (sock->kind == SERVED_TCP && sock->names.peer.family != AF_UNSPEC &&
        sock->state == SERVED_CONNECTING)
        sock->state = SERVED_CONNECTED;
    give_name(sup, call);
}

/* A connection that ended has no peer any more; the server knows. */
static bool has_broken(const struct call *call)
{
    struct pollfd look = {.fd = call->a};
    return call->sock->state == SERVED_CONNECTED && poll(&look, 1, 0) > 0 &&
           (look.revents & (POLLHUP | POLLERR)) != 0;
}

static void handle_name(struct sup *sup, struct call *call)
{
    if (!call_find(sup, call, (int)call->arg[0]))
        return;
    struct served *sock = call->sock;
    bool is_peer = call->nr == SYS_getpeername;
    if (sock->kind == SERVED_LINK) {
        give_link_name(sup, call);
        return;
    }
    bool may_lack = is_peer && (sock->state == SERVED_CONNECTING ||
                                (sock->state == SERVED_CONNECTED &&
                                 (sock->names.peer.family == AF_UNSPEC || has_broken(call))));
    bool is_known = sock->handle == 0 || (sock->kind == SERVED_TCP && sock->has_names && !may_lack);
    if (is_known)
        give_name(sup, call);
    else
        control_request(sup, call, SOCK_NAME, 0, (struct body){NULL, 0}, name_answered);
}

void handle_getsockname(struct sup *sup, struct call *call)
{
    handle_name(sup, call);
}

void handle_getpeername(struct sup *sup, struct call *call)
{
    handle_name(sup, call);
}
