/* SPDX-License-Identifier: ISC */
/* The supervisor's connection to the server: requests, answers, the end of the server.
 *
 * Requests go out at once and in order; answers come in any order and are given to the call that
 * asked, by id. The first request about a socket carries it along: its end B, the options that were
 * kept, and the number of junk bytes (cmd/socket/proto.h). While that one is under way all others
 * about the same socket wait here, because they have no handle to name it by.
 *
 * When the connection ends, all that wait get ENETDOWN, and the next request tries to connect
 * again: a server that was started anew under the same name takes new sockets, and what the old one
 * had is gone (its ends B were closed with it).
 *
 * The socket is written without blocking; when it is full we wait for room, at most
 * CONTROL_WAIT_MS, since the server always reads.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/mirari/socket_notify.h"
#include "cmd/mirari/tool.h"

/* ---- the connection -------------------------------------------------------------------------- */

static int receive_welcome(int fd, struct sock_welcome *welcome, int wait_ms)
{
    struct pollfd look = {.fd = fd, .events = POLLIN};
    uint8_t message[sizeof(struct sock_response) + sizeof(*welcome)];
    struct sock_response response;
    int ready = poll(&look, 1, wait_ms);
    if (ready <= 0)
        return ready == 0 ? -ETIMEDOUT : -errno;
    ssize_t got = recv(fd, message, sizeof(message), 0);
    if (got <= 0)
        return got == 0 ? -ECONNRESET : -errno;
    if (got < (ssize_t)sizeof(response))
        return -EPROTO;
    memcpy(&response, message, sizeof(response));
    if (response.magic != SOCK_MAGIC)
        return -EPROTO;
    if (response.error != 0)
        return response.error;
    if (got != (ssize_t)sizeof(message))
        return -EPROTO;
    memcpy(welcome, message + sizeof(response), sizeof(*welcome));
    return 0;
}

int control_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* Datagrams go through it too: room for a few. */
    int room = 1 << 20;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

int control_greet(int fd, struct sock_welcome *welcome, int wait_ms)
{
    struct {
        struct sock_request head;
        struct sock_hello hello;
    } message = {{.magic = SOCK_MAGIC, .op = SOCK_HELLO, .len = sizeof(struct sock_hello)},
                 {.via = SOCK_VIA_NOTIFY, .pid = (uint32_t)getpid()}};
    if (send(fd, &message, sizeof(message), MSG_NOSIGNAL) < 0)
        return -errno;
    return receive_welcome(fd, welcome, wait_ms);
}

static void lose_server(struct sup *sup)
{
    if (sup->control < 0)
        return;
    close(sup->control);
    sup->control = -1;
    sup->is_sweeping = false;
    if (sup->is_private)
        complain(
            "socket run: the server has ended; sockets of the program are broken from here on");
    call_fail_requests(sup, -ENETDOWN);
}

static bool find_server(struct sup *sup)
{
    struct sock_welcome welcome = {.server = 0};
    if (sup->control >= 0)
        return true;
    if (sup->is_private)
        return false;
    int fd = control_connect(sup->path);
    if (fd < 0)
        return false;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = EVENT_CONTROL};
    if (control_greet(fd, &welcome, 1000) != 0 ||
        epoll_ctl(sup->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        close(fd);
        return false;
    }
    sup->control = fd;
    if (welcome.server != sup->server_id)
        sup->server++;
    sup->server_id = welcome.server;
    return true;
}

/* ---- requests -------------------------------------------------------------------------------- */

static int send_message(struct sup *sup, struct iovec *part, size_t count, int attached)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = part, .msg_iovlen = count};
    if (attached >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        *head = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
        memcpy(CMSG_DATA(head), &attached, sizeof(attached));
    }
    while (sendmsg(sup->control, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        struct pollfd look = {.fd = sup->control, .events = POLLOUT};
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN || poll(&look, 1, CONTROL_WAIT_MS) <= 0) {
            int error = errno == EMSGSIZE ? EMSGSIZE : ENETDOWN;
            if (error == ENETDOWN)
                lose_server(sup);
            return -error;
        }
    }
    sup->stat_requests++;
    return 0;
}

/* The parts of a request about a socket that the server does not know yet. */
static size_t adopt_parts(struct sup *sup, struct call *call, struct sock_adopt *adopt,
                          struct iovec *part)
{
    struct served *sock = call->sock;
    *adopt = (struct sock_adopt){.ino = sock->ino,
                                 .domain = sock->domain,
                                 .type = sock->type,
                                 .protocol = sock->protocol,
                                 .pid = (uint32_t)call->tid,
                                 .options_len = sock->options_len,
                                 .skip = sock->kind == SERVED_TCP ? 1 : 0};
    part[0] = (struct iovec){.iov_base = adopt, .iov_len = sizeof(*adopt)};
    part[1] = (struct iovec){.iov_base = sock->options, .iov_len = sock->options_len};
    sock->server = sup->server;
    return 2;
}

void control_request(struct sup *sup, struct call *call, uint16_t op, uint16_t flags,
                     struct body body, call_answered *answered)
{
    struct served *sock = call->sock;
    struct sock_adopt adopt;
    struct sock_request head = {.magic = SOCK_MAGIC,
                                .op = op,
                                .flags = flags,
                                .id = call->serial,
                                .len = (uint32_t)body.len};
    struct iovec part[4] = {{.iov_base = &head, .iov_len = sizeof(head)}};
    size_t count = 1;
    int attached = -1;
    if (!find_server(sup)) {
        call_return(sup, call, -ENETDOWN);
        return;
    }
    if (sock != NULL && sock->handle == 0) {
        if (sock->b < 0) { /* the server refused to know it */
            call_return(sup, call, -ENETDOWN);
            return;
        }
        head.flags |= SOCK_F_ADOPT;
        attached = sock->b;
        count += adopt_parts(sup, call, &adopt, &part[1]);
        head.len += (uint32_t)(sizeof(adopt) + sock->options_len);
    } else if (sock != NULL) {
        head.handle = sock->handle;
    }
    part[count++] = (struct iovec){.iov_base = (void *)(uintptr_t)body.data, .iov_len = body.len};
    int r = send_message(sup, part, count, attached);
    if (r != 0) {
        call_return(sup, call, r);
        return;
    }
    if (attached >= 0) {
        close(sock->b);
        sock->b = -1;
        sock->is_adopting = true;
        sock->round = sup->round; /* a sweep that is under way may have asked before */
    }
    call->is_requested = true;
    call->answered = answered;
}

int control_tell(struct sup *sup, uint16_t op, uint64_t handle, const struct iovec *part,
                 size_t count)
{
    struct sock_request head = {.magic = SOCK_MAGIC,
                                .op = op,
                                .flags = SOCK_F_SILENT,
                                .id = ++sup->last_serial,
                                .handle = handle};
    struct iovec all[4] = {{.iov_base = &head, .iov_len = sizeof(head)}};
    for (size_t i = 0; i < count; i++) {
        all[i + 1] = part[i];
        head.len += (uint32_t)part[i].iov_len;
    }
    return find_server(sup) ? send_message(sup, all, count + 1, -1) : -ENETDOWN;
}

void control_ask_page(struct sup *sup, uint32_t start)
{
    struct sock_page page = {.start = start};
    struct sock_request head = {
        .magic = SOCK_MAGIC, .op = SOCK_NETSTAT, .id = 0, .len = sizeof(page)};
    struct iovec part[2] = {{.iov_base = &head, .iov_len = sizeof(head)},
                            {.iov_base = &page, .iov_len = sizeof(page)}};
    if (sup->control < 0 || send_message(sup, part, 2, -1) != 0)
        sup->is_sweeping = false;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* One message into sup->message. Returns its length, 0 for none, -1 when the server has gone. */
static ssize_t receive(struct sup *sup, struct sock_response *response)
{
    ssize_t got;
    do
        got = recv(sup->control, sup->message, sizeof(sup->message), MSG_DONTWAIT | MSG_TRUNC);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got < (ssize_t)sizeof(*response) || got > (ssize_t)sizeof(sup->message))
        return -1;
    memcpy(response, sup->message, sizeof(*response));
    return response->magic == SOCK_MAGIC && response->len == (size_t)got - sizeof(*response) ? got
                                                                                             : -1;
}

static void take_answer(struct sup *sup, const struct sock_response *response)
{
    const uint8_t *body = sup->message + sizeof(*response);
    if (response->id == 0)
        served_page(sup, body, response->error == 0 ? response->len : 0);
    else
        call_answer(sup, response, body);
}

static void take_kept(struct sup *sup)
{
    while (sup->kept != NULL) {
        struct kept_answer *kept = sup->kept;
        struct sock_response response;
        sup->kept = kept->next;
        memcpy(sup->message, kept->message, kept->len);
        memcpy(&response, kept->message, sizeof(response));
        free(kept);
        take_answer(sup, &response);
    }
}

void control_read(struct sup *sup)
{
    struct sock_response response;
    take_kept(sup);
    while (sup->control >= 0) {
        ssize_t got = receive(sup, &response);
        if (got == 0)
            return;
        if (got < 0) {
            lose_server(sup);
            return;
        }
        take_answer(sup, &response);
        take_kept(sup);
    }
}

static void keep_answer(struct sup *sup, size_t len)
{
    struct kept_answer *kept = need(sizeof(*kept) + len);
    struct kept_answer **at = &sup->kept;
    while (*at != NULL)
        at = &(*at)->next;
    kept->len = len;
    memcpy(kept->message, sup->message, len);
    *at = kept;
}

ssize_t control_ask_now(struct sup *sup, uint16_t op, const void *body, size_t len, void *out,
                        size_t out_size)
{
    struct sock_response response;
    struct sock_request head = {
        .magic = SOCK_MAGIC, .op = op, .id = ++sup->last_serial, .len = (uint32_t)len};
    struct iovec part[2] = {{.iov_base = &head, .iov_len = sizeof(head)},
                            {.iov_base = (void *)(uintptr_t)body, .iov_len = len}};
    if (!find_server(sup))
        return -ENETDOWN;
    int r = send_message(sup, part, 2, -1);
    if (r != 0)
        return r;
    for (;;) {
        struct pollfd look = {.fd = sup->control, .events = POLLIN};
        int ready = poll(&look, 1, CONTROL_WAIT_MS);
        if (ready < 0 && errno == EINTR)
            continue;
        ssize_t got = ready > 0 ? receive(sup, &response) : -1;
        if (got < 0) {
            lose_server(sup);
            return -ENETDOWN;
        }
        if (got > 0 && response.id != head.id)
            keep_answer(sup, (size_t)got);
        else if (got > 0)
            break;
    }
    if (response.error != 0)
        return response.error;
    if (response.len > out_size)
        return -EMSGSIZE;
    memcpy(out, sup->message + sizeof(response), response.len);
    return (ssize_t)response.len;
}
