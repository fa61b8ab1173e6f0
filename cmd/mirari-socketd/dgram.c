/* SPDX-License-Identifier: ISC */
/* Datagrams: B <-> a UDP socket of the stack.
 *
 * FRAMED sockets (the preload library) carry a struct sock_dgram in front of each payload, both
 * ways. For others (seccomp) the payload goes as it is, and where it came from rides along as a
 * descriptor: a sealed memfd with the same structure. Making one costs five system calls, so the
 * last CARDS_MAX are kept and used again for the same peer; a client can read them, and nobody can
 * change them.
 *
 * A datagram that B does not take is dropped and counted, as a full receive buffer does on a host.
 * A program that sends faster than the stack takes finds A full.
 *
 * What the program sent through A may still be in B when a message comes that changes where, how or
 * whether datagrams go: it goes first (sd_dgram_catch_up).
 *
 * An empty datagram and the end of a pair look the same to recvmsg(), and the end may be read
 * before its event is there. So B asks for the time of each message: the end has none.
 */
#include "cmd/mirari-socketd/socketd.h"

#include <sys/mman.h>

#define TURN         64   /* datagrams of one socket, then others have their turn */
#define CATCH_UP_MAX 1024 /* more than B holds */
#define CARDS_MAX    256u

/** A memfd that says where a datagram comes from. */
struct card {
    struct sock_dgram head;
    int fd; /* 0: none */
    uint64_t used;
};

static struct card cards[CARDS_MAX];
static uint64_t card_clock;
static uint8_t payload[SOCK_DGRAM_MAX + 1];

/* ---- cards ------------------------------------------------------------------------------------
 */

static int make_card(const struct sock_dgram *head)
{
    int fd = memfd_create("mirari-from", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (write(fd, head, sizeof *head) != (ssize_t)sizeof *head ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Four places for a peer; the one not used for longest makes room. */
static int card_of(const struct sock_dgram *head)
{
    uint64_t hash = mir_siphash((const uint8_t[16]){2}, &head->peer, sizeof head->peer);
    struct card *set = &cards[hash % (CARDS_MAX / 4) * 4], *worst = set;
    for (struct card *card = set; card < set + 4; card++) {
        if (card->fd > 0 && memcmp(&card->head, head, sizeof *head) == 0) {
            card->used = ++card_clock;
            return card->fd;
        }
        if (card->used < worst->used)
            worst = card;
    }
    int fd = make_card(head);
    if (fd < 0)
        return -1;
    if (worst->fd > 0)
        close(worst->fd);
    *worst = (struct card){*head, fd, ++card_clock};
    return fd;
}

void sd_dgram_fini(void)
{
    for (uint32_t i = 0; i < CARDS_MAX; i++) {
        if (cards[i].fd > 0)
            close(cards[i].fd);
        cards[i] = (struct card){.fd = 0};
    }
}

/* ---- to the program ---------------------------------------------------------------------------
 */

static void fill_head(const struct sd_socket *s, const struct mir_udp_meta *meta,
                      struct sock_dgram *head)
{
    struct sock_addr local;
    *head = (struct sock_dgram){
        .flags = SOCK_D_HAS_LOCAL | SOCK_D_HAS_TOS | (meta->is_group ? SOCK_D_MULTICAST : 0) |
                 (meta->ttl != 0 ? SOCK_D_HAS_HOPS : 0),
        .hop_limit = meta->ttl,
        .tos = meta->tos,
        .if_index = meta->if_index,
    };
    sd_addr(s->domain, &meta->from, meta->if_index, &head->peer);
    sd_addr(s->domain, &meta->to, 0, &local);
    memcpy(head->local_ip, local.ip, sizeof head->local_ip);
}

/* Returns false when B takes no more. */
static bool send_to_b(struct sd_socket *s, struct iovec *iov, size_t count, int fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } cmsg;
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
    if (fd >= 0) {
        memset(&cmsg, 0, sizeof cmsg);
        msg.msg_control = &cmsg;
        msg.msg_controllen = sizeof cmsg;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    return sendmsg(s->watch.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static void on_udp(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf_given,
                   void *arg)
{
    struct sd_socket *s = arg;
    struct iovec iov[2 + MIR_BUF_FRAG_MAX];
    struct sock_dgram head;
    size_t count = 0;
    int card = -1;
    (void)udp;
    fill_head(s, meta, &head);
    if (s->framed) {
        head.len = mir_buf_total(buf_given);
        head.time_ns = 1000 * sd.app->clock->wall(sd.app->clock);
        iov[count++] = (struct iovec){&head, sizeof head};
    } else {
        card = card_of(&head);
    }
    iov[count++] = (struct iovec){buf_given->data, buf_given->len};
    for (uint32_t i = 0; i < buf_given->frag_count; i++)
        iov[count++] =
            (struct iovec){(void *)(uintptr_t)buf_given->frag[i].data, buf_given->frag[i].len};
    if (!s->shut_rd && send_to_b(s, iov, count, card)) {
        sd.count.dgrams_out++;
        s->bytes_in += mir_buf_total(buf_given);
    } else {
        sd.count.dgrams_dropped++;
        s->dropped++;
    }
    mir_buf_release(buf_given);
}

/* A connected socket is told; others only if they asked for all errors, and nobody reads those. */
static void on_udp_error(struct mir_udp *udp, const struct mir_udp_error *error, void *arg)
{
    struct sd_socket *s = arg;
    (void)udp;
    if (s->remote.port == 0)
        return;
    s->so_error = mir_host_errno(error->err);
    struct sock_dgram head = {.flags = SOCK_D_ERROR, .error = s->so_error};
    struct iovec iov = {&head, s->framed ? sizeof head : 0};
    sd_addr(s->domain, &error->to, 0, &head.peer);
    int card = s->framed ? -1 : card_of(&head);
    if (s->framed || card >= 0)
        (void)send_to_b(s, &iov, 1, card);
}

/* ---- from the program -------------------------------------------------------------------------
 */

/* A payload as a packet buffer. */
static struct mir_buf *make_buf(const void *data, uint32_t len)
{
    struct mir_buf *buf =
        len <= MIR_BUF_HEAD_BYTES - MIR_BUF_HEADROOM
            ? mir_buf_alloc(sd.app->bufs, MIR_BUF_HEADROOM)
            : mir_buf_alloc_page(sd.app->bufs, len + MIR_BUF_HEADROOM, MIR_BUF_HEADROOM);
    if (buf != NULL && len > 0)
        memcpy(mir_buf_append(buf, len), data, len);
    return buf;
}

/* As Linux answers in this state. */
static int send_dgram(struct sd_socket *s, const struct sock_dgram *head, const void *data,
                      uint32_t len)
{
    struct mir_udp_msg msg = {.to = s->remote, .if_index = s->options.bound_if};
    struct mir_endpoint local;
    if (s->shut_wr)
        return -EPIPE;
    if (head != NULL && head->peer.family != AF_UNSPEC) {
        int r = sd_endpoint(s->domain, &head->peer, &msg.to);
        if (r < 0)
            return r;
        if (msg.to.port == 0)
            return -EINVAL;
        if (mir_ip_is_any(&msg.to.ip))
            msg.to.ip = mir_ip_from_v4(0x7f000001);
        if (s->options.number[SD_N_V6ONLY] && mir_ip_is_v4(&msg.to.ip))
            return -ENETUNREACH;
        if (head->peer.scope != 0 && !mir_ip_is_v4(&msg.to.ip))
            msg.if_index = head->peer.scope;
    }
    if (msg.to.port == 0)
        return -EDESTADDRREQ;
    if (len > (mir_ip_is_v4(&msg.to.ip) ? SOCK_DGRAM4_MAX : SOCK_DGRAM_MAX))
        return -EMSGSIZE;
    if (head != NULL && head->flags & SOCK_D_HAS_LOCAL) {
        struct sock_addr from = {.family = s->domain};
        memcpy(from.ip, head->local_ip, sizeof from.ip);
        (void)sd_endpoint(s->domain, &from, &local);
        msg.from = local.ip;
        if (head->if_index != 0)
            msg.if_index = head->if_index;
    }
    if (head != NULL && head->flags & SOCK_D_HAS_HOPS)
        msg.ttl = head->hop_limit;
    if (head != NULL && head->flags & SOCK_D_HAS_TOS)
        msg.tos = head->tos;
    int r = sd_dgram_open(s);
    if (r < 0)
        return r;
    struct mir_buf *buf = make_buf(data, len);
    if (buf == NULL)
        return -ENOBUFS;
    r = mir_udp_send_msg(s->udp, &msg, buf);
    if (r == -MIR_EPERM)
        return -EACCES; /* a broadcast without SO_BROADCAST */
    if (r < 0 && r != -MIR_EAGAIN)
        return -mir_host_errno(r);
    s->bytes_out += len;
    sd.count.dgrams_in++;
    return 0;
}

int sd_op_sendto(struct sd_call *call)
{
    struct sock_dgram head;
    if (call->socket->kind != SD_UDP)
        return call->socket->state == SOCK_S_CONNECTED ? -EISCONN : -ENOTCONN;
    memcpy(&head, call->body, sizeof head);
    if (head.len != call->len - sizeof head)
        return -EBADMSG;
    if (call->socket->remote.port != 0) /* else nothing came through A */
        sd_dgram_catch_up(call->socket);
    return send_dgram(call->socket, &head, call->body + sizeof head, head.len);
}

/* Returns false when there is nothing more. */
static bool take_one(struct sd_socket *s)
{
    struct sock_dgram head;
    struct iovec iov[2] = {{&head, sizeof head}, {payload, sizeof payload}};
    struct msghdr msg = {.msg_iov = s->framed ? iov : iov + 1, .msg_iovlen = s->framed ? 2 : 1};
    struct cmsghdr stamp; /* no more than the head fits, so no descriptor can come in */
    msg.msg_control = s->framed ? NULL : &stamp;
    msg.msg_controllen = s->framed ? 0 : sizeof stamp;
    ssize_t got = recvmsg(s->watch.fd, &msg, MSG_DONTWAIT);
    if (got < 0) /* a program that closed without having read: told once, before what it sent */
        return errno == ECONNRESET;
    if (got == 0 && msg.msg_controllen == 0) {
        s->eof_in = true;
        return false;
    }
    if (msg.msg_flags & MSG_TRUNC || (s->framed && (size_t)got < sizeof head)) {
        s->dropped++;
        return true;
    }
    int r = s->framed ? send_dgram(s, &head, payload, (uint32_t)((size_t)got - sizeof head))
                      : send_dgram(s, NULL, payload, (uint32_t)got);
    if (r < 0)
        s->dropped++;
    if (r < 0 && r != -ENOBUFS)
        s->so_error = -r;
    return true;
}

void sd_dgram_catch_up(struct sd_socket *s)
{
    if (s->kind != SD_UDP || s->watch.fd < 0)
        return;
    for (int i = 0; i < CATCH_UP_MAX && !s->eof_in; i++) {
        if (!take_one(s))
            return;
    }
}

/* Closed, or shut both ways? A pair does not tell. After shutdown() the names and options of the
 * socket may still be asked for. */
static void hung_up(struct sd_socket *s)
{
    uint64_t handle = s->handle;
    if (!s->framed)
        sd_catch_up(); /* what it sent to an address before */
    if (sd_socket_find(handle) != s)
        return;
    if (s->shut_rd && s->shut_wr)
        sd_socket_end(s);
    else
        sd_socket_free(s, false);
}

void sd_dgram_ready(struct sd_socket *s, unsigned events)
{
    if (events & MIR_HOST_HANGUP)
        s->is_hup = true;
    for (int i = 0; i < TURN && !s->eof_in; i++) {
        if (!take_one(s)) {
            if (s->is_hup)
                hung_up(s);
            return;
        }
    }
    if (!s->eof_in)
        mir_loop_post(sd.app->loop, &s->work);
    else if (s->is_hup)
        hung_up(s);
}

/* ---- opening ----------------------------------------------------------------------------------
 */

int sd_dgram_begin(struct sd_socket *s)
{
    const int on = 1;
    if (s->framed)
        return 0;
    return setsockopt(s->watch.fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on) < 0 ? -errno : 0;
}

int sd_dgram_open(struct sd_socket *s)
{
    bool is_any = mir_ip_is_any(&s->local.ip);
    if (s->udp != NULL)
        return 0;
    if (s->state == SOCK_S_ENDED)
        return -ENETDOWN;
    struct mir_udp_config config = {
        .local = s->local,
        .handler = on_udp,
        .on_error = on_udp_error,
        .arg = s,
        .reuse_addr = s->options.number[SD_N_REUSEADDR],
        .reuse_port = s->options.number[SD_N_REUSEPORT],
        .v4_only = is_any && s->domain == AF_INET,
        .v6_only = is_any && s->domain == AF_INET6 && s->options.number[SD_N_V6ONLY],
    };
    int r = mir_udp_open_config(sd.stack, &config, &s->udp);
    if (r < 0)
        return -mir_host_errno(r);
    mir_udp_get_local(s->udp, &s->local);
    s->has_local = true;
    if (s->state == SOCK_S_NEW)
        s->state = SOCK_S_BOUND;
    sd_options_apply(s);
    return 0;
}

int sd_dgram_connect(struct sd_socket *s, const struct mir_endpoint *remote)
{
    struct mir_endpoint peer = *remote;
    if (s->state == SOCK_S_ENDED) { /* shut both ways: a peer in name only */
        s->remote = peer;
        return 0;
    }
    int r = sd_dgram_open(s);
    if (r < 0)
        return r;
    if (peer.port == 0 && !mir_ip_is_any(&peer.ip))
        return -EINVAL;
    r = mir_udp_connect(s->udp, &peer);
    if (r == -MIR_EPERM)
        return -EACCES;
    if (r < 0)
        return -mir_host_errno(r);
    s->remote = peer;
    s->state = peer.port != 0 ? SOCK_S_CONNECTED : SOCK_S_BOUND;
    return 0;
}

/* As Linux: a port that bind() did not name is given back. With groups joined the socket of the
 * stack stays as it is, for they are its own. */
int sd_dgram_disconnect(struct sd_socket *s)
{
    static const struct mir_endpoint nobody;
    int r = s->udp != NULL ? mir_udp_connect(s->udp, &nobody) : 0;
    s->remote = nobody;
    s->so_error = 0;
    if (r < 0)
        return -mir_host_errno(r);
    bool is_ended = s->state == SOCK_S_ENDED;
    if (!is_ended)
        s->state = s->has_local ? SOCK_S_BOUND : SOCK_S_NEW;
    if (s->is_port_chosen || s->has_groups)
        return 0;
    if (s->udp != NULL)
        mir_udp_close(s->udp);
    s->udp = NULL;
    s->local.port = 0;
    if (!s->is_address_chosen)
        s->local.ip = nobody.ip;
    s->has_local = false;
    if (!is_ended)
        s->state = SOCK_S_NEW;
    return 0;
}
