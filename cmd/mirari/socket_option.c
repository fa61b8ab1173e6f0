/* SPDX-License-Identifier: ISC */
/* getsockopt and setsockopt, served by the supervisor.
 *
 * Four places an option can live:
 *   - the kernel's pair: buffer sizes (and time-outs, which do not even stop at the filter)
 *   - here: what the socket is (SO_TYPE, SO_DOMAIN, ...), and which ancillary data a program wants
 *     with its datagrams, since it is we who write them
 *   - kept here and told to the server without waiting: the plain ones of every program, of which
 *     the result is known (SO_REUSEADDR, TCP_NODELAY, keep-alive, ...). They cost no round trip,
 *     and of a socket that the server does not know yet, no message
 *   - the server: all others, which also says which there are
 *
 * SO_ERROR is asked by each program that connects without blocking. The pair knows whether there is
 * one: only then is the server asked for the true one.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>

#include "cmd/mirari/socket_notify.h"
#include "cmd/mirari/tool.h"

/* ---- plain ones -------------------------------------------------------------------------------
 */

struct plain {
    int level, name;
    int min, max; /**< 0, 1: a switch */
    bool is_tcp_only;
};

static const struct plain plain_options[] = {
    {SOL_SOCKET, SO_REUSEADDR, 0, 1, false},      {SOL_SOCKET, SO_REUSEPORT, 0, 1, false},
    {SOL_SOCKET, SO_KEEPALIVE, 0, 1, false},      {SOL_SOCKET, SO_BROADCAST, 0, 1, false},
    {IPPROTO_TCP, TCP_NODELAY, 0, 1, true},       {IPPROTO_TCP, TCP_KEEPIDLE, 1, 32767, true},
    {IPPROTO_TCP, TCP_KEEPINTVL, 1, 32767, true}, {IPPROTO_TCP, TCP_KEEPCNT, 1, 127, true},
};

static const struct plain *find_plain(const struct served *sock, int level, int name)
{
    for (size_t i = 0; i < LEN(plain_options); i++)
        if (plain_options[i].level == level && plain_options[i].name == name &&
            (sock->kind == SERVED_TCP || !plain_options[i].is_tcp_only))
            return &plain_options[i];
    return NULL;
}

/* ---- what a program wants with its datagrams --------------------------------------------------
 */

static const struct {
    int level, name;
    uint16_t want;
} wants[] = {
    {IPPROTO_IP, IP_PKTINFO, WANT_PKTINFO},
    {IPPROTO_IP, IP_RECVTTL, WANT_HOPS},
    {IPPROTO_IP, IP_RECVTOS, WANT_TOS},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, WANT_PKTINFO6},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, WANT_HOPS6},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, WANT_TOS6},
    {SOL_SOCKET, SO_TIMESTAMP, WANT_TIME},
    {SOL_SOCKET, SO_TIMESTAMPNS, WANT_TIME_NS},
};

static uint16_t find_want(const struct served *sock, int level, int name)
{
    for (size_t i = 0; i < LEN(wants); i++)
        if (sock->kind == SERVED_UDP && wants[i].level == level && wants[i].name == name &&
            (level != IPPROTO_IPV6 || sock->domain == AF_INET6))
            return wants[i].want;
    return 0;
}

/* ---- getsockopt -------------------------------------------------------------------------------
 */

/* As much as there is room for, and that is the length which the program reads. Options of IP are
 * one byte, as in old times, for who has no room for more. */
static void give_value(struct sup *sup, struct call *call, const void *value, size_t len)
{
    int32_t room;
    if (peer_read(call, call->arg[4], &room, sizeof(room)) != 0)
        call_return(sup, call, -EFAULT);
    else if (room < 0)
        call_return(sup, call, -EINVAL);
    else if (!call_is_valid(sup, call))
        call_return(sup, call, -EINTR);
    else if ((int)call->arg[1] == IPPROTO_IP && room > 0 && room < 4)
        call_return(sup, call, addr_write(call, call->arg[3], call->arg[4], value, 1));
    else
        call_return(sup, call,
                    addr_write(call, call->arg[3], call->arg[4], value,
                               (size_t)room < len ? (size_t)room : len));
}

int option_answer(const struct sock_response *response, const void *body)
{
    struct {
        struct sock_option head;
        int value;
    } answer = {.value = 0};
    if (response->error == 0 && response->len >= sizeof(answer))
        memcpy(&answer, body, sizeof(answer));
    return answer.value;
}

static void give_int(struct sup *sup, struct call *call, int value)
{
    give_value(sup, call, &value, sizeof(value));
}

/* A connection that was shut both ways: the server takes that for closed. */
static bool is_forgotten(const struct call *call, const struct sock_response *response)
{
    return response->error == -EBADF && call->sock->kind == SERVED_TCP &&
           call->sock->state == SERVED_CONNECTED;
}

static void get_answered(struct sup *sup, struct call *call, const struct sock_response *response,
                         const void *body)
{
    struct sock_option option;
    if (response->error != 0 || response->len < sizeof(option)) {
        int r = is_forgotten(call, response) ? -ENOTCONN : response->error;
        call_return(sup, call, r != 0 ? r : -EPROTO);
        return;
    }
    memcpy(&option, body, sizeof(option));
    if (option.len > response->len - sizeof(option))
        option.len = (uint32_t)(response->len - sizeof(option));
    give_value(sup, call, (const uint8_t *)body + sizeof(option), option.len);
}

static void error_answered(struct sup *sup, struct call *call, const struct sock_response *response,
                           const void *body)
{
    if (response->error != 0) /* the server has forgotten it: the kernel's own word */
        give_int(sup, call, (int)call->note[0]);
    else
        get_answered(sup, call, response, body);
}

static void get_error(struct sup *sup, struct call *call)
{
    struct served *sock = call->sock;
    struct pollfd look = {.fd = call->a};
    int error = 0;
    socklen_t len = sizeof(error);
    struct sock_option body = {.level = SOL_SOCKET, .name = SO_ERROR, .len = sizeof(int)};
    (void)poll(&look, 1, 0);
    (void)getsockopt(call->a, SOL_SOCKET, SO_ERROR, &error, &len); /* and forget it */
    bool may_have = sock->handle != 0 && ((look.revents & (POLLHUP | POLLERR)) != 0 || error != 0 ||
                                          sock->kind == SERVED_UDP);
    if (!may_have) {
        give_int(sup, call, error);
        return;
    }
    call->note[0] = (uint64_t)error;
    control_request(sup, call, SOCK_GETOPT, 0, (struct body){&body, sizeof(body)}, error_answered);
}

/* What is known here. False: it is not. */
static bool get_known(struct sup *sup, struct call *call, int level, int name)
{
    struct served *sock = call->sock;
    bool is_tcp = sock->kind == SERVED_TCP;
    uint16_t want = find_want(sock, level, name);
    if (want != 0) {
        give_int(sup, call, (sock->wants & want) != 0);
        return true;
    }
    if (level == SOL_SOCKET) {
        switch (name) {
        case SO_TYPE:
            give_int(sup, call, sock->type);
            return true;
        case SO_DOMAIN:
            give_int(sup, call, sock->domain);
            return true;
        case SO_PROTOCOL:
            give_int(sup, call, is_tcp ? IPPROTO_TCP : IPPROTO_UDP);
            return true;
        case SO_ACCEPTCONN:
            give_int(sup, call, sock->state == SERVED_LISTENING);
            return true;
        case SO_ERROR:
            get_error(sup, call);
            return true;
        case SO_RCVBUF:
        case SO_SNDBUF:
            call_continue(sup, call);
            return true;
        default:
            break;
        }
    }
    const struct sock_option *kept = served_kept_option(sock, level, name);
    if (kept == NULL)
        return false;
    give_value(sup, call, kept + 1, kept->len);
    return true;
}

void handle_getsockopt(struct sup *sup, struct call *call)
{
    int level = (int)call->arg[1], name = (int)call->arg[2];
    int32_t room;
    if (!call_find(sup, call, (int)call->arg[0]))
        return;
    if (call->sock->kind == SERVED_LINK) {
        if (level == SOL_SOCKET && name == SO_DOMAIN)
            give_int(sup, call, AF_NETLINK);
        else
            call_continue(sup, call);
        return;
    }
    if (peer_read(call, call->arg[4], &room, sizeof(room)) != 0) {
        call_return(sup, call, -EFAULT);
        return;
    }
    if (room < 0) {
        call_return(sup, call, -EINVAL);
        return;
    }
    if (get_known(sup, call, level, name))
        return;
    struct sock_option body = {.level = level,
                               .name = name,
                               .len = (uint32_t)room < SOCK_OPTION_MAX ? (uint32_t)room
                                                                       : SOCK_OPTION_MAX};
    control_request(sup, call, SOCK_GETOPT, 0, (struct body){&body, sizeof(body)}, get_answered);
}

/* ---- setsockopt -------------------------------------------------------------------------------
 */

struct set_body {
    struct sock_option head;
    uint8_t value[SOCK_OPTION_MAX];
};

static int set_plain(struct sup *sup, struct served *sock, const struct plain *plain,
                     const void *value, size_t len)
{
    struct {
        struct sock_option head;
        int value;
    } body = {.head = {.level = plain->level, .name = plain->name, .len = sizeof(int)}};
    if (len < sizeof(int))
        return -EINVAL;
    memcpy(&body.value, value, sizeof(int));
    if (plain->max == 1)
        body.value = body.value != 0;
    else if (body.value < plain->min || body.value > plain->max)
        return -EINVAL;
    int r = served_keep_option(sock, plain->level, plain->name, &body.value, sizeof(int));
    if (r != 0 || sock->handle == 0)
        return r;
    struct iovec part = {.iov_base = &body, .iov_len = sizeof(body.head) + sizeof(body.value)};
    return control_tell(sup, SOCK_SETOPT, sock->handle, &part, 1);
}

static void set_answered(struct sup *sup, struct call *call, const struct sock_response *response,
                         const void *body)
{
    (void)body;
    /* Of a connection that is over nothing is left that it could change. */
    call_return(sup, call, is_forgotten(call, response) ? 0 : response->error);
}

/* The size of buffers is the pair's, but never less than it needs (SOCK_PAIR_SNDBUF); UDP keeps
 * room for its largest datagram. */
static void set_buffer(struct sup *sup, struct call *call, const void *value, size_t len)
{
    int wanted;
    if (len < sizeof(wanted)) {
        call_return(sup, call, -EINVAL);
        return;
    }
    memcpy(&wanted, value, sizeof(wanted));
    int least = call->sock->kind == SERVED_UDP ? 1 << 17 : SOCK_PAIR_SNDBUF;
    if ((int)call->arg[2] == SO_SNDBUF && wanted < least)
        call_return(sup, call, 0);
    else
        call_continue(sup, call);
}

void handle_setsockopt(struct sup *sup, struct call *call)
{
    int level = (int)call->arg[1], name = (int)call->arg[2];
    struct set_body body = {.head = {.level = level, .name = name}};
    int64_t len = (int32_t)call->arg[4];
    if (!call_find(sup, call, (int)call->arg[0]))
        return;
    struct served *sock = call->sock;
    if (sock->kind == SERVED_LINK) {
        if (level == SOL_SOCKET)
            call_continue(sup, call);
        else
            call_return(sup, call, 0);
        return;
    }
    int r = len < 0 || len > (int64_t)sizeof(body.value) ? -EINVAL : 0;
    if (r == 0 && len > 0)
        r = peer_read(call, call->arg[3], body.value, (size_t)len);
    if (r == 0 && !call_is_valid(sup, call))
        r = -EINTR;
    const struct plain *plain = find_plain(sock, level, name);
    uint16_t want = find_want(sock, level, name);
    if (r == 0 && want != 0 && level != IPPROTO_IP && len < (int64_t)sizeof(int))
        r = -EINVAL;
    if (r == 0 && want != 0) {
        sock->wants = body.value[0] != 0 ? sock->wants | want : sock->wants & (uint16_t)~want;
        call_return(sup, call, 0);
    } else if (r == 0 && plain != NULL) {
        call_return(sup, call, set_plain(sup, sock, plain, body.value, (size_t)len));
    } else if (r == 0 && level == SOL_SOCKET && (name == SO_RCVBUF || name == SO_SNDBUF)) {
        set_buffer(sup, call, body.value, (size_t)len);
    } else if (r != 0) {
        call_return(sup, call, r);
    } else {
        body.head.len = (uint32_t)len;
        control_request(sup, call, SOCK_SETOPT, 0,
                        (struct body){&body, sizeof(body.head) + (size_t)len}, set_answered);
    }
}
