/* SPDX-License-Identifier: ISC */
/* What programs ask about interfaces, answered with those of our stack: route sockets and ioctls.
 *
 * A route socket of a program is a pair of which we hold the other end. What is answered on it, and
 * to ioctl(), is made by cmd/socket/link.c and iface.c; here is how the server is asked (and waited
 * for: it is asked rarely) and how the answers reach the program.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "cmd/mirari/socket_notify.h"
#include "cmd/socket/link.h"

static ssize_t ask(void *context, uint16_t op, const struct sock_page *page, void *out, size_t room)
{
    return control_ask_now(context, op, page, sizeof(*page), out, room);
}

static void answer(void *context, const void *bytes, size_t len)
{
    const struct served *sock = context;
    /* A program that does not read loses answers, as with the kernel. */
    (void)send(sock->b, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int link_take(struct sup *sup, struct served *sock, const void *data, size_t len)
{
    struct sock_link link = {.asker = {.ask = ask, .context = sup},
                             .port = (uint32_t)sock->ino,
                             .answer = answer,
                             .context = sock};
    return sock_link_take(&link, data, len);
}

void link_readable(struct sup *sup, struct served *sock)
{
    ssize_t got = recv(sock->b, sup->data, sizeof(sup->data), MSG_DONTWAIT);
    if (got > 0)
        (void)link_take(sup, sock, sup->data, (size_t)got);
    else if (got == 0 && sock->users == 0) /* closed */
        served_remove(sup, sock);
}

/* ---- ioctl ------------------------------------------------------------------------------------
 */

static int list_interfaces(const struct call *call, const struct sock_ifaces *ifaces)
{
    struct ifconf list;
    struct ifreq row;
    int32_t used = 0;
    if (peer_read(call, call->arg[2], &list, sizeof(list)) != 0)
        return -EFAULT;
    for (size_t i = 0; sock_iface_row(ifaces, i, &row); i++) {
        if (list.ifc_buf != NULL) {
            uint64_t to = (uint64_t)(uintptr_t)list.ifc_buf + (uint32_t)used;
            if (used + (int32_t)sizeof(row) > list.ifc_len)
                break;
            if (peer_write(call, to, &row, sizeof(row)) != 0)
                return -EFAULT;
        }
        used += (int32_t)sizeof(row);
    }
    return peer_write(call, call->arg[2] + offsetof(struct ifconf, ifc_len), &used, sizeof(used));
}

void handle_ioctl(struct sup *sup, struct call *call)
{
    struct sock_asker asker = {.ask = ask, .context = sup};
    struct sock_ifaces ifaces;
    struct ifreq request;
    unsigned long what = call->arg[1];
    if (!call_copy_fd(sup, call, (int)call->arg[0]))
        return;
    /* The C library asks through any socket, also a Unix one. */
    if (call->sock == NULL && sock_rules_initial(&sup->rules, false) == SOCK_HOST) {
        call_continue(sup, call);
        return;
    }
    int r = sock_ifaces_ask(&asker, &ifaces);
    if (r == 0 && !call_is_valid(sup, call))
        r = -EINTR;
    if (r == 0 && what == SIOCGIFCONF) {
        call_return(sup, call, list_interfaces(call, &ifaces));
        return;
    }
    if (r == 0)
        r = peer_read(call, call->arg[2], &request, sizeof(request));
    if (r == 0)
        r = sock_iface_request(&ifaces, what, &request);
    if (r == 0)
        r = peer_write(call, call->arg[2], &request, sizeof(request));
    call_return(sup, call, r);
}
