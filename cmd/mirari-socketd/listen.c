/* SPDX-License-Identifier: ISC */
/* Listeners: a new connection becomes a message to the program.
 *
 *   stack ── on_accept ──> waiting list of a member ── 64 bytes + A ──> B ... A ── accept()
 *
 * A listener of the stack has members, the listening sockets of programs: one, or as many as share
 * the port by SO_REUSEPORT; these get the connections by a hash of the peer, as on a host.
 *
 * No more connections than the backlog are in the queue to the program (when as many have been put
 * there, SIOCOUTQ of B tells how many have not been taken) and no more wait here. When both are
 * full for every member, the stack's listener is told, and requests are dropped as if lost: peers
 * try again. What has come through the handshake by then, or with SYN cookies, is kept up to
 * WAITING_MAX; beyond, reset.
 *
 * B of a listener has no pill: nothing is read from it but its hang-up. A listener is not writable:
 * the client fills A, and the server shuts B for reading, so that who writes to a listener gets
 * EPIPE.
 */
#include "cmd/mirari-socketd/socketd.h"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define LISTENERS_MAX 4096u
#define WAITING_MAX   4096u

/** A listener of the stack and the programs' sockets behind it. */
struct sd_listener {
    struct mir_list link;
    struct mir_tcp_listener *tcp;
    struct mir_endpoint local;
    bool v4_only, v6_only;
    struct mir_list members; /* struct sd_socket, by in_waiting, which listeners use for nothing */
    uint32_t member_count;
};

static struct mir_list listeners;
static struct mir_pool pool;

/* ---- handing over -----------------------------------------------------------------------------
 */

/* Messages in the queue to the program. */
static uint32_t in_queue(const struct sd_socket *s)
{
    int bytes = 0;
    if (s->push_unit == 0 || ioctl(s->watch.fd, TIOCOUTQ, &bytes) < 0)
        return 0;
    return (uint32_t)bytes / s->push_unit;
}

static int send_accept(struct sd_socket *s, const struct sd_socket *child)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } cmsg;
    struct sock_names names;
    sd_names(child, &names);
    struct sock_accept accepted = {
        .handle = child->handle,
        .ino = child->ino,
        .peer = names.peer,
        .local_port = names.local.port,
        .local_scope = names.local.scope,
    };
    memcpy(accepted.local_ip, names.local.ip, sizeof accepted.local_ip);
    struct iovec iov = {&accepted, sizeof accepted};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cmsg, .msg_controllen = sizeof cmsg};
    memset(&cmsg, 0, sizeof cmsg);
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &child->accept_fd, sizeof(int));
    return sendmsg(s->watch.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void sd_unwait(struct sd_socket *s)
{
    if (s->parent != NULL) {
        mir_list_remove(&s->in_waiting);
        s->parent->waiting_count--;
        s->parent = NULL;
    }
    if (s->accept_fd >= 0)
        close(s->accept_fd);
    s->accept_fd = -1;
}

static void note_fullness(struct sd_listener *listener)
{
    bool is_full = true;
    mir_list_for_each (link, &listener->members) {
        const struct sd_socket *s = MIR_CONTAINER_OF(link, struct sd_socket, in_waiting);
        is_full &= s->waiting_count >= s->backlog;
    }
    listener->tcp->is_full = is_full;
}

/* As many as the program may find. */
static void push(struct sd_socket *s)
{
    bool is_full = false;
    if (s->pushed >= s->backlog)
        s->pushed = in_queue(s);
    while (!mir_list_is_empty(&s->waiting) && s->pushed < s->backlog && !is_full) {
        struct sd_socket *child = MIR_CONTAINER_OF(s->waiting.next, struct sd_socket, in_waiting);
        int bytes = 0, r = send_accept(s, child);
        is_full = r == -EAGAIN || r == -ETOOMANYREFS;
        if (is_full)
            break;
        sd_unwait(child);
        if (r < 0) {
            sd_socket_free(child, true);
            continue;
        }
        sd.count.accepted++;
        s->pushed++;
        if (s->push_unit == 0 && ioctl(s->watch.fd, TIOCOUTQ, &bytes) == 0)
            s->push_unit = (uint32_t)MIR_MAX(bytes, 1);
    }
    /* The program takes one: room comes. */
    sd_watch_set(s, mir_list_is_empty(&s->waiting) ? MIR_HOST_IN : MIR_HOST_IN | MIR_HOST_OUT);
    note_fullness(s->listener);
}

void sd_listen_ready(struct sd_socket *s, unsigned events)
{
    if (events & MIR_HOST_HANGUP)
        sd_socket_free(s, true);
    else
        push(s);
}

/* ---- new connections --------------------------------------------------------------------------
 */

/* A pair whose A goes to the program. */
static struct sd_socket *new_child(struct sd_socket *parent)
{
    struct stat st;
    int a = -1, b = -1;
    const int offset = 1;
    if (sock_pair(SOCK_STREAM, SOCK_CLOEXEC, &a, &b) < 0)
        return NULL;
    struct sd_socket *child = NULL;
    /* The seal: whoever accepts takes it off; what is closed before that has unread data. */
    if (syscall(SYS_fstat, a, &st) == 0 && send(b, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 &&
        setsockopt(b, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) == 0)
        child = sd_socket_new(parent, b, st.st_ino);
    else
        close(b);
    if (child == NULL) {
        close(a);
        return NULL;
    }
    child->accept_fd = a;
    child->watch.is_sole = true;
    child->old = 1;
    child->state = SOCK_S_CONNECTED;
    if (sd_watch(child) < 0) {
        sd_socket_free(child, true);
        return NULL;
    }
    return child;
}

/* The member whose turn the peer's hash says it is. */
static struct sd_socket *choose(struct sd_listener *listener, struct mir_tcp *tcp)
{
    struct mir_endpoint local, remote;
    struct sd_socket *s = MIR_CONTAINER_OF(listener->members.next, struct sd_socket, in_waiting);
    if (listener->member_count == 1)
        return s;
    mir_tcp_get_endpoints(tcp, &local, &remote);
    uint8_t key[18];
    memcpy(key, remote.ip.bytes, 16);
    memcpy(key + 16, &remote.port, 2);
    uint32_t nth =
        (uint32_t)(mir_siphash((const uint8_t[16]){1}, key, sizeof key) % listener->member_count);
    mir_list_for_each (link, &listener->members) {
        if (nth-- == 0)
            return MIR_CONTAINER_OF(link, struct sd_socket, in_waiting);
    }
    return s;
}

static void on_accept(struct mir_tcp_listener *tcp_listener, struct mir_tcp *tcp_given, void *arg)
{
    struct sd_listener *listener = arg;
    struct sd_socket *parent = choose(listener, tcp_given), *child = NULL;
    (void)tcp_listener;
    if (parent->waiting_count < WAITING_MAX)
        child = new_child(parent);
    if (child == NULL) {
        sd.count.accept_overflow++;
        mir_tcp_abort(tcp_given);
        return;
    }
    sd_stream_attach(child, tcp_given);
    mir_tcp_get_endpoints(tcp_given, &child->local, &child->remote);
    child->parent = parent;
    mir_list_push_back(&parent->waiting, &child->in_waiting);
    parent->waiting_count++;
    mir_loop_post(sd.app->loop, &child->work); /* data may have come with it */
    push(parent);                              /* ends it if the program has just gone */
}

/* ---- listening --------------------------------------------------------------------------------
 */

static struct sd_listener *find(const struct sd_socket *s, bool v4_only, bool v6_only)
{
    mir_list_for_each (link, &listeners) {
        struct sd_listener *listener = MIR_CONTAINER_OF(link, struct sd_listener, link);
        if (listener->local.port == s->local.port &&
            mir_ip_equal(&listener->local.ip, &s->local.ip) && listener->v4_only == v4_only &&
            listener->v6_only == v6_only)
            return listener;
    }
    return NULL;
}

static int open_listener(struct sd_socket *s, bool v4_only, bool v6_only, struct sd_listener **out)
{
    struct sd_listener *listener = mir_pool_alloc(&pool);
    if (listener == NULL)
        return -ENOBUFS;
    *listener = (struct sd_listener){.local = s->local, .v4_only = v4_only, .v6_only = v6_only};
    struct mir_tcp_listen_config config = {
        .local = s->local,
        .v4_only = v4_only,
        .v6_only = v6_only,
        .backlog = MIR_MAX(s->backlog, 64u),
        .on_accept = on_accept,
        .arg = listener,
        .rcvbuf_bytes = (uint32_t)s->options.number[SD_N_RCVBUF],
        .fastopen_max = (uint32_t)s->options.number[SD_N_FASTOPEN],
        .mss_max = (uint16_t)s->options.number[SD_N_MAXSEG],
    };
    int r = mir_tcp_listen(sd.stack, &config, &listener->tcp);
    if (r < 0) {
        mir_pool_free(&pool, listener);
        return -mir_host_errno(r);
    }
    mir_list_init(&listener->members);
    mir_list_push_back(&listeners, &listener->link);
    *out = listener;
    return 0;
}

int sd_listen(struct sd_socket *s, int backlog)
{
    bool is_any = mir_ip_is_any(&s->local.ip);
    bool v4_only = is_any && s->domain == AF_INET;
    bool v6_only = is_any && s->domain == AF_INET6 && s->options.number[SD_N_V6ONLY];
    s->backlog = (uint32_t)MIR_MIN(MIR_MAX(backlog, 1), (int)WAITING_MAX);
    if (s->listener != NULL) {
        push(s);
        return 0;
    }
    int r = sd_port_may_listen(s);
    struct sd_listener *listener = find(s, v4_only, v6_only);
    if (r == 0 && listener == NULL)
        r = open_listener(s, v4_only, v6_only, &listener);
    if (r < 0)
        return r;
    mir_list_push_back(&listener->members, &s->in_waiting);
    listener->member_count++;
    listener->tcp->is_full = false;
    s->listener = listener;
    s->state = SOCK_S_LISTENING;
    (void)shutdown(s->watch.fd, SHUT_RD);
    return 0;
}

void sd_unlisten(struct sd_socket *s)
{
    struct sd_listener *listener = s->listener;
    if (listener == NULL)
        return;
    while (!mir_list_is_empty(&s->waiting))
        sd_socket_free(MIR_CONTAINER_OF(s->waiting.next, struct sd_socket, in_waiting), true);
    mir_list_remove(&s->in_waiting);
    s->listener = NULL;
    if (--listener->member_count > 0) {
        note_fullness(listener);
        return;
    }
    mir_tcp_unlisten(listener->tcp);
    mir_list_remove(&listener->link);
    mir_pool_free(&pool, listener);
}

void sd_listen_init(void)
{
    mir_list_init(&listeners);
    int r =
        mir_pool_init(&pool, "listeners", sd.app->pages, sizeof(struct sd_listener), LISTENERS_MAX);
    MIR_ASSERT_OP(r, ==, 0);
}

void sd_listen_fini(void)
{
    mir_pool_fini(&pool);
}
