/* SPDX-License-Identifier: ISC */
/* shutdown(), and the questions what waits to be read or sent, served by the supervisor.
 *
 * A pair is connected from its birth, so the kernel would let everybody shut it. What is connected
 * is shut by the kernel, and the server sees it at its end; for the rest the answer is that of
 * Linux in the same state. A UDP socket without a peer is told ENOTCONN, but is shut: programs wake
 * their threads that way.
 *
 * FIONREAD of the pair would count all datagrams that wait, SIOCOUTQ the pill.
 */
#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "cmd/mirari/socket_notify.h"
#include "cmd/mirari/tool.h"

/* ---- shutdown ---------------------------------------------------------------------------------
 */

/* The server has said whether there is something to shut. Of a listener it has shut the other end.
 */
static void shut_answered(struct sup *sup, struct call *call, const struct sock_response *response,
                          const void *body)
{
    struct served *sock = call->sock;
    int how = (int)call->arg[1], r = response->error;
    (void)body;
    if (r == -EBADF) /* shut both ways before: the server takes that for closed */
        r = sock->state == SERVED_CONNECTED ? 0 : -ENOTCONN;
    if (sock->kind == SERVED_UDP && how != SHUT_WR)
        sock->is_shut_rd = true;
    if (sock->state == SERVED_LISTENING) {
        if (r == 0 && how != SHUT_WR)
            sock->state = SERVED_BOUND;
    } else if (call_is_valid(sup, call) && (r == 0 || sock->kind == SERVED_UDP)) {
        (void)shutdown(call->a, how);
    }
    call_return(sup, call, r);
}

/* How it goes with an attempt to connect, or a connection. */
static bool may_have_ended(const struct call *call)
{
    struct pollfd look = {.fd = call->a};
    return poll(&look, 1, 0) > 0 && (look.revents & (POLLHUP | POLLERR)) != 0;
}

void handle_shutdown(struct sup *sup, struct call *call)
{
    struct sock_shutdown body = {.how = (int)call->arg[1]};
    if (!call_find(sup, call, (int)call->arg[0]))
        return;
    const struct served *sock = call->sock;
    if (sock->kind == SERVED_LINK ||
        (sock->state == SERVED_CONNECTED && sock->kind == SERVED_TCP && !may_have_ended(call)))
        call_continue(sup, call);
    else if (body.how != SHUT_RD && body.how != SHUT_WR && body.how != SHUT_RDWR)
        call_return(sup, call, -EINVAL);
    else if (sock->kind == SERVED_TCP && sock->handle == 0)
        call_return(sup, call, -ENOTCONN);
    else
        control_request(sup, call, SOCK_SHUTDOWN, 0, (struct body){&body, sizeof(body)},
                        shut_answered);
}

/* ---- what waits -------------------------------------------------------------------------------
 */

static void give_number(struct sup *sup, struct call *call, int number)
{
    int r =
        call_is_valid(sup, call) ? peer_write(call, call->arg[2], &number, sizeof(number)) : -EINTR;
    call_return(sup, call, r);
}

/* Bytes of the next datagram, 0 if that is an error or there is none. */
static int first_datagram(const struct call *call)
{
    char byte;
    ssize_t got = recv(call->a, &byte, sizeof(byte), MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    return got > 0 ? (int)got : 0;
}

/* There is no mark: no urgent data. Datagrams know not even the question. */
void handle_atmark(struct sup *sup, struct call *call)
{
    if (!call_find(sup, call, (int)call->arg[0]))
        return;
    if (call->sock->kind == SERVED_UDP)
        call_return(sup, call, -ENOTTY);
    else
        call_continue(sup, call);
}

void handle_fionread(struct sup *sup, struct call *call)
{
    if (!call_find(sup, call, (int)call->arg[0]))
        return;
    if (call->sock->kind == SERVED_UDP)
        give_number(sup, call, first_datagram(call));
    else if (call->sock->state == SERVED_LISTENING)
        call_return(sup, call, -EINVAL);
    else
        call_continue(sup, call);
}

static void outq_answered(struct sup *sup, struct call *call, const struct sock_response *response,
                          const void *body)
{
    give_number(sup, call, option_answer(response, body));
}

void handle_outq(struct sup *sup, struct call *call)
{
    struct sock_option body = {
        .level = SOCK_LEVEL_SERVER, .name = SOCK_O_UNSENT, .len = sizeof(int)};
    if (!call_find(sup, call, (int)call->arg[0]))
        return;
    const struct served *sock = call->sock;
    if (sock->kind != SERVED_TCP)
        call_continue(sup, call);
    else if (sock->state == SERVED_LISTENING)
        call_return(sup, call, -EINVAL);
    else if (sock->state != SERVED_CONNECTED)
        give_number(sup, call, 0);
    else
        control_request(sup, call, SOCK_GETOPT, 0, (struct body){&body, sizeof(body)},
                        outq_answered);
}
