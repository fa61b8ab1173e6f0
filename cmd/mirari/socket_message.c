/* SPDX-License-Identifier: ISC */
/* Datagrams with addresses, and the calls with message headers, served by the supervisor.
 *
 * Of a connection nothing is done here: the kernel's pair takes messages as they are, and their
 * addresses mean nothing. The same for a connected UDP socket that sends without ancillary data.
 *
 * SENDING with an address: the payload goes to the server in one message. The first one to a
 * destination waits for the server's word, so that "no route" reaches the program; the following
 * to the same do not.
 *
 * RECEIVING: the message of the pair carries a memfd that says where the datagram came from. It is
 * read here and the payload written into the program's memory. The datagram is taken only for a
 * thread that still waits; if a signal comes just after, the answer is kept for the restarted call
 * (socket_notify.c).
 *
 * Differs from the kernel: recvmmsg() on a blocking socket returns what is there, as with
 * MSG_WAITFORONE.
 */
#include <errno.h>
#include <limits.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "cmd/mirari/socket_notify.h"
#include "cmd/mirari/tool.h"

#define CONTROL_MAX 512

/** A message header of the program, read once. */
struct header {
    struct msghdr user;
    struct iovec part[IOV_MAX_SERVED];
    size_t len; /**< bytes of all parts */
};

static int read_header(const struct call *call, uint64_t at, struct header *header)
{
    if (peer_read(call, at, &header->user, sizeof(header->user)) != 0)
        return -EFAULT;
    size_t count = header->user.msg_iovlen;
    header->len = 0;
    if ((int32_t)header->user.msg_namelen < 0)
        return -EINVAL;
    if (count > IOV_MAX_SERVED)
        return -EMSGSIZE;
    memset(header->part, 0, sizeof(header->part));
    if (count > 0 && peer_read(call, (uint64_t)(uintptr_t)header->user.msg_iov, header->part,
                               count * sizeof(header->part[0])) != 0)
        return -EFAULT;
    for (size_t i = 0; i < count; i++) {
        if (header->part[i].iov_len > SSIZE_MAX - header->len)
            return -EINVAL;
        header->len += header->part[i].iov_len;
    }
    return 0;
}

/* ---- sending ----------------------------------------------------------------------------------
 */

static bool is_same_addr(const struct sock_addr *a, const struct sock_addr *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static void sent_answered(struct sup *sup, struct call *call, const struct sock_response *response,
                          const void *body)
{
    (void)body;
    if (response->error != 0)
        call->sock->last_to = (struct sock_addr){0};
    call_return(sup, call, response->error != 0 ? response->error : (int64_t)call->note[0]);
}

/* The payload is in sup->data. True: it went without asking. */
static bool tell_datagram(struct sup *sup, struct served *sock, const struct sock_dgram *dgram,
                          int *error)
{
    struct iovec part[2] = {
        {.iov_base = (void *)(uintptr_t)dgram, .iov_len = sizeof(*dgram)},
        {.iov_base = sup->data, .iov_len = dgram->len},
    };
    *error = 0;
    if (sock->handle == 0 || dgram->peer.family == AF_UNSPEC ||
        !is_same_addr(&dgram->peer, &sock->last_to))
        return false;
    *error = control_tell(sup, SOCK_SENDTO, sock->handle, part, 2);
    return true;
}

static void send_datagram(struct sup *sup, struct call *call, const struct sock_dgram *dgram,
                          int64_t result)
{
    int error;
    if (tell_datagram(sup, call->sock, dgram, &error)) {
        call_return(sup, call, error != 0 ? error : result);
        return;
    }
    call->sock->last_to = dgram->peer;
    call->note[0] = (uint64_t)result;
    /* Head and payload in one piece. */
    memmove(sup->data + sizeof(*dgram), sup->data, dgram->len);
    memcpy(sup->data, dgram, sizeof(*dgram));
    control_request(sup, call, SOCK_SENDTO, 0,
                    (struct body){sup->data, sizeof(*dgram) + dgram->len}, sent_answered);
}

static void reset_answered(struct sup *sup, struct call *call, const struct sock_response *response,
                           const void *body)
{
    int error = option_answer(response, body);
    call_return(sup, call, error != 0 ? -error : -ECONNRESET);
}

/* A pair that broke says EPIPE to who sends; TCP says why, once. True: the call goes on to its end.
 */
static bool is_told_reset(struct sup *sup, struct call *call)
{
    struct sock_option body = {.level = SOL_SOCKET, .name = SO_ERROR, .len = sizeof(int)};
    struct pollfd look = {.fd = call->a};
    int error = 0;
    socklen_t len = sizeof(error);
    if (call->sock->kind != SERVED_TCP || poll(&look, 1, 0) <= 0 || !(look.revents & POLLERR) ||
        !call_is_valid(sup, call))
        return false;
    if (getsockopt(call->a, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error == 0)
        return false;
    control_request(sup, call, SOCK_GETOPT, 0, (struct body){&body, sizeof(body)}, reset_answered);
    return true;
}

/* An address on a connection means nothing. Without blocking here, whatever the program wants. */
static void send_stream(struct sup *sup, struct call *call)
{
    size_t len = call->arg[2] < sizeof(sup->data) ? call->arg[2] : sizeof(sup->data);
    int flags = (int)call->arg[3];
    if (flags & MSG_FASTOPEN) {
        call_return(sup, call, call->sock->state == SERVED_CONNECTED ? -EISCONN : -EOPNOTSUPP);
        return;
    }
    if (call->sock->state != SERVED_CONNECTED && call->sock->state != SERVED_CONNECTING) {
        call_return(sup, call, -EPIPE);
        return;
    }
    if (is_told_reset(sup, call))
        return;
    if (peer_read(call, call->arg[1], sup->data, len) != 0) {
        call_return(sup, call, -EFAULT);
        return;
    }
    ssize_t put =
        call_is_valid(sup, call) ? send(call->a, sup->data, len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (put < 0 && errno == EAGAIN && !(flags & MSG_DONTWAIT) && !call_is_nonblocking(call))
        call_watch(sup, call, EPOLLOUT, SO_SNDTIMEO, -EAGAIN);
    else
        call_return(sup, call, put < 0 ? -errno : put);
}

/* A socket of IPv6 sends to an address in the form of IPv4 as well. */
static int take_destination(const struct served *sock, const struct sockaddr_storage *from,
                            size_t len, struct sock_addr *out)
{
    const struct sockaddr_in *in = (const void *)from;
    bool is_v4 = from->ss_family == AF_INET && len >= sizeof(*in);
    if (sock->domain == AF_INET || !is_v4)
        return addr_take(sock, from, len, out);
    *out = (struct sock_addr){.family = AF_INET6, .port = ntohs(in->sin_port)};
    out->ip[10] = out->ip[11] = 0xff;
    memcpy(out->ip + 12, &in->sin_addr, 4);
    return 0;
}

static size_t dgram_max(const struct served *sock, const struct sock_addr *to)
{
    uint16_t family = to->family != AF_UNSPEC ? to->family : sock->names.peer.family;
    return sock->domain == AF_INET || family == AF_INET ? SOCK_DGRAM4_MAX : SOCK_DGRAM_MAX;
}

void handle_sendto(struct sup *sup, struct call *call)
{
    struct sockaddr_storage storage;
    struct sock_dgram dgram = {0};
    int r = addr_read(call, call->arg[4], (int32_t)call->arg[5], &storage);
    size_t addr_len = r == 0 ? (size_t)call->arg[5] : 0, len = call->arg[2];
    if (!call_find_for(sup, call, (int)call->arg[0], SOCK_RULE_DST, (void *)&storage, addr_len))
        return;
    struct served *sock = call->sock;
    if (sock->kind == SERVED_TCP) {
        send_stream(sup, call);
        return;
    }
    if (r == 0 && sock->kind == SERVED_UDP)
        r = take_destination(sock, &storage, addr_len, &dgram.peer);
    if (r == 0 && sock->kind == SERVED_UDP && len > dgram_max(sock, &dgram.peer))
        r = -EMSGSIZE;
    if (r == 0 && len > sizeof(sup->data))
        r = -EMSGSIZE;
    if (r == 0)
        r = peer_read(call, call->arg[1], sup->data, len);
    if (r == 0 && !call_is_valid(sup, call))
        r = -EINTR;
    if (r == 0 && sock->kind == SERVED_LINK)
        r = link_take(sup, sock, sup->data, len);
    if (r != 0 || sock->kind == SERVED_LINK) {
        call_return(sup, call, r != 0 ? r : (int64_t)len);
        return;
    }
    dgram.len = (uint32_t)len;
    send_datagram(sup, call, &dgram, (int64_t)len);
}

static bool take_pktinfo(struct sock_dgram *dgram, const struct cmsghdr *head)
{
    struct in_pktinfo info;
    struct in6_pktinfo info6;
    if (head->cmsg_type == IP_PKTINFO && head->cmsg_level == IPPROTO_IP &&
        head->cmsg_len >= CMSG_LEN(sizeof(info))) {
        memcpy(&info, CMSG_DATA(head), sizeof(info));
        memcpy(dgram->local_ip, &info.ipi_spec_dst, 4);
        dgram->if_index = (uint32_t)info.ipi_ifindex;
        dgram->flags |= SOCK_D_HAS_LOCAL;
        return true;
    }
    if (head->cmsg_type == IPV6_PKTINFO && head->cmsg_level == IPPROTO_IPV6 &&
        head->cmsg_len >= CMSG_LEN(sizeof(info6))) {
        memcpy(&info6, CMSG_DATA(head), sizeof(info6));
        memcpy(dgram->local_ip, &info6.ipi6_addr, 16);
        dgram->if_index = info6.ipi6_ifindex;
        dgram->flags |= SOCK_D_HAS_LOCAL;
        return true;
    }
    return false;
}

/* As the kernel: only what is of the socket's own protocol has to be known. */
static int refuse_unknown(const struct served *sock, const struct cmsghdr *head)
{
    int type = head->cmsg_type;
    if (sock->domain == AF_INET && head->cmsg_level == IPPROTO_IP)
        return type == IP_TTL || type == IP_TOS ? 0 : -EINVAL;
    if (sock->domain == AF_INET6 && head->cmsg_level == IPPROTO_IPV6)
        return type == IPV6_HOPLIMIT || type == IPV6_TCLASS ? 0 : -EINVAL;
    return 0;
}

/* Source, hop limit, traffic class that the program wants for this datagram. */
static int take_control(const struct call *call, const struct msghdr *user,
                        struct sock_dgram *dgram)
{
    union {
        struct cmsghdr align;
        char bytes[CONTROL_MAX];
    } control;
    struct msghdr message = {.msg_control = &control, .msg_controllen = user->msg_controllen};
    if (user->msg_control == NULL || user->msg_controllen == 0)
        return 0;
    if (user->msg_controllen > sizeof(control))
        return -ENOBUFS;
    if (peer_read(call, (uint64_t)(uintptr_t)user->msg_control, &control, user->msg_controllen) !=
        0)
        return -EFAULT;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head != NULL;
         head = CMSG_NXTHDR(&message, head)) {
        int value = 0;
        size_t room = (size_t)((char *)&control + user->msg_controllen - (char *)head);
        if (head->cmsg_len < sizeof(*head) || head->cmsg_len > room)
            return -EINVAL;
        int r = take_pktinfo(dgram, head) ? 0 : refuse_unknown(call->sock, head);
        if (r != 0)
            return r;
        if (head->cmsg_len >= CMSG_LEN(sizeof(int)))
            memcpy(&value, CMSG_DATA(head), sizeof(int));
        bool is_ip = head->cmsg_level == IPPROTO_IP, is_ip6 = head->cmsg_level == IPPROTO_IPV6;
        if ((is_ip && head->cmsg_type == IP_TTL) || (is_ip6 && head->cmsg_type == IPV6_HOPLIMIT)) {
            dgram->hop_limit = (uint8_t)value;
            dgram->flags |= SOCK_D_HAS_HOPS;
        }
        if ((is_ip && head->cmsg_type == IP_TOS) || (is_ip6 && head->cmsg_type == IPV6_TCLASS)) {
            dgram->tos = (uint8_t)value;
            dgram->flags |= SOCK_D_HAS_TOS;
        }
    }
    return 0;
}

static bool has_extras(const struct msghdr *user)
{
    return (user->msg_name != NULL && user->msg_namelen > 0) ||
           (user->msg_control != NULL && user->msg_controllen > 0);
}

/* Address and ancillary data of a message. */
static int take_extras(const struct call *call, const struct header *header,
                       struct sock_dgram *dgram, struct sockaddr_storage *name)
{
    *dgram = (struct sock_dgram){.len = (uint32_t)header->len};
    memset(name, 0, sizeof(*name));
    if (header->len > SOCK_MESSAGE_MAX - sizeof(*dgram))
        return -EMSGSIZE;
    if (header->user.msg_name != NULL && header->user.msg_namelen > 0) {
        int r = addr_read(call, (uint64_t)(uintptr_t)header->user.msg_name,
                          (int32_t)header->user.msg_namelen, name);
        if (r == 0 && call->sock->kind == SERVED_UDP)
            r = take_destination(call->sock, name, header->user.msg_namelen, &dgram->peer);
        if (r != 0)
            return r;
    }
    if (call->sock->kind == SERVED_UDP && header->len > dgram_max(call->sock, &dgram->peer))
        return -EMSGSIZE;
    return call->sock->kind == SERVED_UDP ? take_control(call, &header->user, dgram) : 0;
}

static int read_payload(struct sup *sup, const struct call *call, const struct header *header)
{
    ssize_t got =
        peer_read_parts(call, header->part, header->user.msg_iovlen, sup->data, header->len);
    return got == (ssize_t)header->len ? 0 : -EFAULT;
}

/* What is connected sends through its pair. */
static void send_natively(struct sup *sup, struct call *call)
{
    const struct served *sock = call->sock;
    if (is_told_reset(sup, call))
        return;
    if (sock->state == SERVED_CONNECTED || sock->state == SERVED_CONNECTING)
        call_continue(sup, call);
    else
        call_return(sup, call, sock->kind == SERVED_TCP ? -EPIPE : -EDESTADDRREQ);
}

void handle_sendmsg(struct sup *sup, struct call *call)
{
    struct header header;
    struct sockaddr_storage name;
    struct sock_dgram dgram;
    if (!call_find(sup, call, (int)call->arg[0]))
        return;
    struct served *sock = call->sock;
    if (sock->kind == SERVED_TCP) {
        send_natively(sup, call);
        return;
    }
    int r = read_header(call, call->arg[1], &header);
    if (r == 0 && sock->kind == SERVED_UDP && !has_extras(&header.user)) {
        send_natively(sup, call);
        return;
    }
    if (r == 0)
        r = take_extras(call, &header, &dgram, &name);
    if (r == 0 && sock->kind == SERVED_UDP && dgram.peer.family != AF_UNSPEC &&
        !call_stays_ours(sup, call, (int)call->arg[0], SOCK_RULE_DST, (void *)&name,
                         header.user.msg_namelen))
        return;
    if (r == 0)
        r = read_payload(sup, call, &header);
    if (r == 0 && !call_is_valid(sup, call))
        r = -EINTR;
    if (r == 0 && sock->kind == SERVED_LINK)
        r = link_take(sup, sock, sup->data, header.len);
    if (r != 0 || sock->kind == SERVED_LINK)
        call_return(sup, call, r != 0 ? r : (int64_t)header.len);
    else
        send_datagram(sup, call, &dgram, (int64_t)header.len);
}

static void send_more(struct sup *sup, struct call *call);

static uint64_t message_at(const struct call *call, uint64_t index)
{
    return call->arg[1] + index * sizeof(struct mmsghdr);
}

/* One of many, call->note[1] of which went before. */
static void one_sent(struct sup *sup, struct call *call, const struct sock_response *response,
                     const void *body)
{
    uint32_t len = (uint32_t)call->note[0];
    int r = response->error;
    (void)body;
    if (r == 0 && !call_is_valid(sup, call))
        r = -EINTR;
    if (r == 0)
        r = peer_write(call, message_at(call, call->note[1]) + offsetof(struct mmsghdr, msg_len),
                       &len, sizeof(len));
    if (r == 0) {
        call->note[1]++;
        send_more(sup, call);
        return;
    }
    call->sock->last_to = (struct sock_addr){0};
    call_return(sup, call, call->note[1] > 0 ? (int64_t)call->note[1] : r);
}

/* One of many. Returns 1: it went; 0: it waits for the server; or -errno. */
static int send_one_of(struct sup *sup, struct call *call, uint64_t at)
{
    struct header header;
    struct sockaddr_storage name;
    struct sock_dgram dgram;
    int error;
    int r = read_header(call, at, &header);
    if (r == 0)
        r = take_extras(call, &header, &dgram, &name);
    if (r == 0)
        r = read_payload(sup, call, &header);
    if (r != 0)
        return r;
    if (tell_datagram(sup, call->sock, &dgram, &error)) {
        uint32_t len = dgram.len;
        if (error == 0)
            error = peer_write(call, at + offsetof(struct mmsghdr, msg_len), &len, sizeof(len));
        return error != 0 ? error : 1;
    }
    call->sock->last_to = dgram.peer;
    call->note[0] = dgram.len;
    memmove(sup->data + sizeof(dgram), sup->data, dgram.len);
    memcpy(sup->data, &dgram, sizeof(dgram));
    control_request(sup, call, SOCK_SENDTO, 0, (struct body){sup->data, sizeof(dgram) + dgram.len},
                    one_sent);
    return 0;
}

/* From call->note[1] on, until all went or one waits for the server's word. */
static void send_more(struct sup *sup, struct call *call)
{
    uint64_t count = call->arg[2] < 1024 ? call->arg[2] : 1024;
    int r = 1;
    while (call->note[1] < count && r == 1) {
        r = send_one_of(sup, call, message_at(call, call->note[1]));
        if (r == 1)
            call->note[1]++;
    }
    if (r != 0)
        call_return(sup, call, call->note[1] > 0 ? (int64_t)call->note[1] : r);
}

void handle_sendmmsg(struct sup *sup, struct call *call)
{
    struct mmsghdr first;
    if (!call_find(sup, call, (int)call->arg[0]))
        return;
    if (call->sock->kind != SERVED_UDP) {
        send_natively(sup, call);
        return;
    }
    if (call->arg[2] == 0) {
        call_return(sup, call, 0);
        return;
    }
    if (peer_read(call, call->arg[1], &first, sizeof(first)) != 0) {
        call_return(sup, call, -EFAULT);
        return;
    }
    if (!has_extras(&first.msg_hdr)) {
        send_natively(sup, call);
        return;
    }
    if (!call_is_valid(sup, call)) {
        call_return(sup, call, -EINTR);
        return;
    }
    call->note[1] = 0;
    send_more(sup, call);
}

/* ---- receiving --------------------------------------------------------------------------------
 */

struct received {
    ssize_t len; /**< of the whole datagram, in sup->data */
    struct sock_dgram dgram;
};

/* Take one datagram off A. Returns 0, -EAGAIN, or another error. */
static int receive(struct sup *sup, struct call *call, int flags, struct received *out)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = sup->data, .iov_len = sizeof(sup->data)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    int fd = -1;
    if (flags & MSG_ERRQUEUE)
        return -EAGAIN;
    out->len = recvmsg(call->a, &message, (flags & MSG_PEEK) | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (out->len < 0)
        return errno == EAGAIN || errno == EINTR ? -EAGAIN : -errno;
    out->dgram = (struct sock_dgram){0};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head != NULL && head->cmsg_type == SCM_RIGHTS) {
        memcpy(&fd, CMSG_DATA(head), sizeof(fd));
        ssize_t got = pread(fd, &out->dgram, sizeof(out->dgram), 0);
        close(fd);
        if (got != (ssize_t)sizeof(out->dgram))
            out->dgram = (struct sock_dgram){0};
    }
    if (out->dgram.flags & SOCK_D_ERROR)
        return -out->dgram.error;
    bool is_end = fd < 0 && out->len == 0; /* of the pair; an empty datagram brings a descriptor */
    if (is_end && call->sock->is_shut_rd)
        return (flags & MSG_DONTWAIT) || call_is_nonblocking(call) ? -EAGAIN : -ESHUTDOWN;
    if (is_end)
        return -ENETDOWN;
    return 0;
}

static size_t give_source(const struct served *sock, const struct received *received,
                          struct sockaddr_storage *name)
{
    memset(name, 0, sizeof(*name));
    if (sock->kind == SERVED_LINK) {
        name->ss_family = AF_NETLINK;
        return sizeof(struct sockaddr_nl);
    }
    return addr_give(sock->domain, &received->dgram.peer, name);
}

static int64_t result_of(const struct received *received, size_t room, int flags)
{
    return (flags & MSG_TRUNC) || (size_t)received->len < room ? received->len : (int64_t)room;
}

/* What ends a call that found no datagram. */
static void not_received(struct sup *sup, struct call *call, int error, int flags)
{
    if (error == -ESHUTDOWN) /* as Linux: who waits gets the end */
        call_return(sup, call, 0);
    else if (error == -EAGAIN && !(flags & (MSG_DONTWAIT | MSG_ERRQUEUE)) &&
             !call_is_nonblocking(call))
        call_watch(sup, call, EPOLLIN, SO_RCVTIMEO, -EAGAIN);
    else
        call_return(sup, call, error);
}

/* Connections take it natively, but for those that are none yet. True: the call was ended. */
static bool is_stream_done(struct sup *sup, struct call *call, int flags)
{
    if (call->sock->kind != SERVED_TCP)
        return false;
    if ((flags & MSG_ERRQUEUE) && call->sock->state != SERVED_LISTENING)
        call_return(sup, call, -EAGAIN);
    else if ((flags & MSG_OOB) && call->sock->state != SERVED_LISTENING)
        call_return(sup, call, -EINVAL);
    else if (call->sock->state == SERVED_CONNECTED || call->sock->state == SERVED_CONNECTING)
        call_continue(sup, call);
    else
        call_return(sup, call, -ENOTCONN);
    return true;
}

void handle_recvfrom(struct sup *sup, struct call *call)
{
    struct received received;
    struct sockaddr_storage name;
    int flags = (int)call->arg[3];
    size_t room = call->arg[2];
    if (!call_find(sup, call, (int)call->arg[0]) || is_stream_done(sup, call, flags))
        return;
    if (call->arg[4] == 0 && !(flags & (MSG_OOB | MSG_ERRQUEUE))) { /* recv() */
        call_continue(sup, call);
        return;
    }
    int r = call_is_valid(sup, call) ? receive(sup, call, flags, &received) : -EINTR;
    if (r != 0) {
        not_received(sup, call, r, flags);
        return;
    }
    size_t put = (size_t)received.len < room ? (size_t)received.len : room;
    size_t name_len = give_source(call->sock, &received, &name);
    if (put > 0)
        r = peer_write(call, call->arg[1], sup->data, put);
    if (r == 0 && call->arg[4] != 0)
        r = addr_write(call, call->arg[4], call->arg[5], &name, name_len);
    call_return(sup, call, r != 0 ? r : result_of(&received, room, flags));
}

/* The flags argument of recvmsg and recvmmsg. */
static int call_flags(const struct call *call)
{
    return (int)call->arg[call->nr == SYS_recvmmsg ? 3 : 2];
}

struct control_out {
    _Alignas(struct cmsghdr) char buffer[CONTROL_MAX];
    size_t len, room;
    bool is_cut;
};

static void add_control(struct control_out *out, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *head = (struct cmsghdr *)(void *)(out->buffer + out->len);
    if (out->len + CMSG_SPACE(len) > out->room) {
        out->is_cut = true;
        return;
    }
    memset(head, 0, CMSG_SPACE(len));
    *head = (struct cmsghdr){.cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(len)};
    memcpy(CMSG_DATA(head), data, len);
    out->len += CMSG_SPACE(len);
}

static void add_pktinfo(struct control_out *out, const struct served *sock,
                        const struct sock_dgram *d)
{
    if (!(d->flags & SOCK_D_HAS_LOCAL))
        return;
    struct in_pktinfo info = {.ipi_ifindex = (int)d->if_index};
    struct in6_pktinfo info6 = {.ipi6_ifindex = d->if_index};
    memcpy(&info.ipi_spec_dst, d->local_ip, 4);
    info.ipi_addr = info.ipi_spec_dst;
    if (d->peer.family == AF_INET) {
        info6.ipi6_addr.s6_addr[10] = info6.ipi6_addr.s6_addr[11] = 0xff;
        memcpy(info6.ipi6_addr.s6_addr + 12, d->local_ip, 4);
    } else {
        memcpy(&info6.ipi6_addr, d->local_ip, 16);
    }
    if ((sock->wants & WANT_PKTINFO) && sock->domain == AF_INET)
        add_control(out, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    if (sock->wants & WANT_PKTINFO6)
        add_control(out, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
}

static void add_wanted(struct control_out *out, const struct served *sock,
                       const struct sock_dgram *d)
{
    int hops = d->hop_limit, tos = d->tos;
    struct timespec time_ns = {.tv_sec = (time_t)(d->time_ns / 1000000000),
                               .tv_nsec = (long)(d->time_ns % 1000000000)};
    struct timeval time_us = {.tv_sec = time_ns.tv_sec, .tv_usec = time_ns.tv_nsec / 1000};
    bool is_4 = sock->domain == AF_INET;
    if (sock->wants & WANT_TIME)
        add_control(out, SOL_SOCKET, SCM_TIMESTAMP, &time_us, sizeof(time_us));
    if (sock->wants & WANT_TIME_NS)
        add_control(out, SOL_SOCKET, SCM_TIMESTAMPNS, &time_ns, sizeof(time_ns));
    add_pktinfo(out, sock, d);
    if ((sock->wants & WANT_HOPS) && is_4 && (d->flags & SOCK_D_HAS_HOPS))
        add_control(out, IPPROTO_IP, IP_TTL, &hops, sizeof(hops));
    if ((sock->wants & WANT_TOS) && is_4 && (d->flags & SOCK_D_HAS_TOS))
        add_control(out, IPPROTO_IP, IP_TOS, &d->tos, sizeof(d->tos));
    if ((sock->wants & WANT_HOPS6) && (d->flags & SOCK_D_HAS_HOPS))
        add_control(out, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, sizeof(hops));
    if ((sock->wants & WANT_TOS6) && (d->flags & SOCK_D_HAS_TOS))
        add_control(out, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
}

/** What goes into the program's memory, in one system call. */
struct writes {
    struct iovec from[8], to[IOV_MAX_SERVED + 8];
    size_t from_count, to_count, total;
};

static void add_write(struct writes *w, uint64_t at, const void *data, size_t len)
{
    if (len == 0)
        return;
    w->from[w->from_count++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    w->to[w->to_count++] = (struct iovec){.iov_base = (void *)(uintptr_t)at, .iov_len = len};
    w->total += len;
}

/* The payload goes to as many parts as it fills. */
static void add_payload(struct writes *w, const struct header *header, const void *data, size_t len)
{
    if (len == 0)
        return;
    w->from[w->from_count++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    w->total += len;
    for (size_t i = 0; i < header->user.msg_iovlen && len > 0; i++) {
        struct iovec part = header->part[i];
        part.iov_len = part.iov_len < len ? part.iov_len : len;
        len -= part.iov_len;
        w->to[w->to_count++] = part;
    }
}

/* Write a datagram where the message header at @at says, and @result at @result_at unless that is
 * 0. Returns 0 or -EFAULT. */
static int give_message(struct sup *sup, const struct call *call, uint64_t at,
                        const struct header *header, const struct received *received,
                        uint64_t result_at)
{
    const struct msghdr *user = &header->user;
    const struct served *sock = call->sock;
    struct control_out out = {.room = user->msg_control != NULL ? user->msg_controllen : 0};
    struct writes w = {.total = 0};
    struct sockaddr_storage name;
    size_t put = (size_t)received->len < header->len ? (size_t)received->len : header->len;
    uint32_t name_len = (uint32_t)give_source(sock, received, &name);
    uint32_t result = (uint32_t)result_of(received, header->len, call_flags(call));
    if (out.room > sizeof(out.buffer))
        out.room = sizeof(out.buffer);
    if (sock->kind == SERVED_UDP && sock->wants != 0)
        add_wanted(&out, sock, &received->dgram);
    int flags =
        ((size_t)received->len > header->len ? MSG_TRUNC : 0) | (out.is_cut ? MSG_CTRUNC : 0);
    add_payload(&w, header, sup->data, put);
    if (user->msg_name != NULL) {
        add_write(&w, (uint64_t)(uintptr_t)user->msg_name, &name,
                  user->msg_namelen < name_len ? user->msg_namelen : name_len);
        add_write(&w, at + offsetof(struct msghdr, msg_namelen), &name_len, sizeof(name_len));
    }
    add_write(&w, (uint64_t)(uintptr_t)user->msg_control, out.buffer, out.len);
    add_write(&w, at + offsetof(struct msghdr, msg_controllen), &out.len, sizeof(out.len));
    add_write(&w, at + offsetof(struct msghdr, msg_flags), &flags, sizeof(flags));
    if (result_at != 0)
        add_write(&w, result_at, &result, sizeof(result));
    return peer_write_all(call, w.to, w.to_count, w.from, w.from_count) == (ssize_t)w.total
               ? 0
               : -EFAULT;
}

void handle_recvmsg(struct sup *sup, struct call *call)
{
    struct header header;
    struct received received;
    int flags = (int)call->arg[2];
    if (!call_find(sup, call, (int)call->arg[0]) || is_stream_done(sup, call, flags))
        return;
    int r = read_header(call, call->arg[1], &header);
    if (r == 0 && !call_is_valid(sup, call))
        r = -EINTR;
    if (r == 0)
        r = receive(sup, call, flags, &received);
    if (r != 0) {
        not_received(sup, call, r, flags);
        return;
    }
    r = give_message(sup, call, call->arg[1], &header, &received, 0);
    call_return(sup, call, r != 0 ? r : result_of(&received, header.len, flags));
}

/* How long, as Linux checks it: it counts after a datagram only. */
static int check_timeout(const struct call *call)
{
    struct timespec timeout = {0};
    if (call->arg[4] != 0 && peer_read(call, call->arg[4], &timeout, sizeof(timeout)) != 0)
        return -EFAULT;
    return timeout.tv_sec < 0 || timeout.tv_nsec < 0 || timeout.tv_nsec >= 1000000000 ? -EINVAL : 0;
}

void handle_recvmmsg(struct sup *sup, struct call *call)
{
    struct header header;
    struct received received;
    int flags = (int)call->arg[3], r = 0;
    uint64_t count = call->arg[2] < 1024 ? call->arg[2] : 1024, done = 0;
    if (!call_find(sup, call, (int)call->arg[0]) || is_stream_done(sup, call, flags))
        return;
    if (!call_is_valid(sup, call)) {
        call_return(sup, call, -EINTR);
        return;
    }
    r = check_timeout(call);
    if (r != 0) {
        call_return(sup, call, r);
        return;
    }
    while (done < count) {
        uint64_t at = call->arg[1] + done * sizeof(struct mmsghdr);
        r = read_header(call, at, &header);
        if (r == 0)
            r = receive(sup, call, flags, &received);
        if (r == 0)
            r = give_message(sup, call, at, &header, &received,
                             at + offsetof(struct mmsghdr, msg_len));
        if (r != 0)
            break;
        done++;
    }
    if (done > 0)
        call_return(sup, call, (int64_t)done);
    else if (r != 0)
        not_received(sup, call, r, flags);
    else
        call_return(sup, call, 0);
}
