/* SPDX-License-Identifier: ISC */
/* The sockets: how one comes to be, how it is found, how it ends.
 *
 * A handle is the number of a slot and 32 random bits; only who was told it can use it. The inode
 * of A leads to the socket too, for a client that has A but lost the handle; A is the proof then.
 *
 *   adopt, accept ──> live ── hang-up of B, CLOSE ──────────────> free
 *                       └──── error, both ends finished ──> ended ── 60 s, or too many ──> free
 *
 * An ended socket has no descriptor and nothing of the stack, only its error and its names. They
 * are kept in the order of time; the oldest goes when there are SD_ENDED_MAX.
 *
 * A program that closes a socket and binds its port again must get it, though the close is an event
 * and the bind a message, which may be read first. So nobody is told that a port is taken before
 * its holders have been looked at (sd_reap_port).
 *
 * B comes from outside: it must be a socket of AF_UNIX of the right type, and is never read from or
 * written to but with MSG_DONTWAIT, whatever it is connected to.
 */
#include "cmd/mirari-socketd/socketd.h"

#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define BUCKETS  4096u
#define REAP_MAX 64u

static struct sd_socket *slots[SD_SOCKETS_MAX];
static uint32_t first_free; /* a hint */
static struct mir_list by_ino[BUCKETS];

static struct mir_list *bucket_of(uint64_t ino)
{
    return &by_ino[ino % BUCKETS];
}

struct sd_socket *sd_socket_find(uint64_t handle)
{
    struct sd_socket *s = slots[(uint32_t)handle % SD_SOCKETS_MAX];
    return s != NULL && s->handle == handle ? s : NULL;
}

static struct sd_socket *find_ino(uint64_t ino, bool is_ended)
{
    mir_list_for_each (link, bucket_of(ino)) {
        struct sd_socket *s = MIR_CONTAINER_OF(link, struct sd_socket, by_ino);
        if (s->ino == ino && (s->state == SOCK_S_ENDED) == is_ended)
            return s;
    }
    return NULL;
}

struct sd_socket *sd_socket_of_ino(uint64_t ino)
{
    return find_ino(ino, false);
}

struct sd_socket *sd_socket_at(uint32_t slot)
{
    return slots[slot % SD_SOCKETS_MAX];
}

/* ---- watching B -------------------------------------------------------------------------------
 */

static void b_ready(void *arg, unsigned events)
{
    struct sd_socket *s = arg;
    if (s->kind == SD_UDP)
        sd_dgram_ready(s, events);
    else if (s->state == SOCK_S_LISTENING)
        sd_listen_ready(s, events);
    else
        sd_stream_ready(s, events);
}

int sd_watch(struct sd_socket *s)
{
    s->watch.events = MIR_HOST_IN;
    s->watch.is_edge = true;
    if (sd.poll->ops->add(sd.poll, &s->watch) < 0)
        return -ENOMEM;
    s->is_watched = true;
    return 0;
}

void sd_watch_set(struct sd_socket *s, unsigned events)
{
    if (s->is_watched && s->watch.events != events)
        sd.poll->ops->set(sd.poll, &s->watch, events);
}

void sd_close_b(struct sd_socket *s)
{
    if (s->is_watched)
        sd.poll->ops->remove(sd.poll, &s->watch);
    s->is_watched = false;
    if (s->watch.fd >= 0)
        close(s->watch.fd);
    s->watch.fd = -1;
}

/* ---- coming to be -----------------------------------------------------------------------------
 */

static void run_again(void *arg)
{
    struct sd_socket *s = arg;
    if (s->watch.fd >= 0)
        b_ready(s, 0);
}

static bool take_slot(struct sd_socket *s)
{
    for (uint32_t i = 0; i < SD_SOCKETS_MAX; i++) {
        uint32_t slot = (first_free + i) % SD_SOCKETS_MAX;
        if (slots[slot] == NULL) {
            slots[slot] = s;
            first_free = slot + 1;
            s->handle = (uint64_t)mir_rng_u32(sd.app->rng) << 32 | slot;
            if (s->handle == 0)
                s->handle = 1ull << 32;
            return true;
        }
    }
    return false;
}

struct sd_socket *sd_socket_new(const struct sd_socket *like, int fd_given, uint64_t ino)
{
    struct sd_socket *s = mir_pool_alloc(&sd.sockets);
    if (s != NULL && !take_slot(s)) {
        mir_pool_free(&sd.sockets, s);
        s = NULL;
    }
    if (s == NULL) {
        sd.count.refused++;
        close(fd_given);
        return NULL;
    }
    uint64_t handle = s->handle;
    memset(s, 0, sizeof *s);
    s->handle = handle;
    s->ino = ino;
    s->watch = (struct mir_host_watch){.fd = fd_given, .ready = b_ready, .arg = s};
    s->accept_fd = -1;
    s->kind = like->kind;
    s->domain = like->domain;
    s->framed = like->framed;
    s->pid = like->pid;
    s->via = like->via;
    s->uid = like->uid;
    s->options = like->options;
    mir_work_init(&s->work, run_again, s);
    mir_timer_init(&s->soon, sd_stream_moment_over, s);
    mir_timer_init(&s->tidy, sd_stream_tidy, s);
    mir_list_init(&s->waiter.link);
    mir_list_init(&s->on_port);
    mir_list_init(&s->waiting);
    mir_list_init(&s->in_waiting);
    mir_list_push_back(bucket_of(ino), &s->by_ino);
    mir_list_push_back(&sd.all, &s->link);
    sd.live++;
    return s;
}

static int int_option(int fd, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : -1;
}

/* Is this what a client may attach as B? */
static bool is_end(int fd, enum sd_kind kind)
{
    return int_option(fd, SO_DOMAIN) == AF_UNIX &&
           int_option(fd, SO_TYPE) == (kind == SD_TCP ? SOCK_STREAM : SOCK_SEQPACKET) &&
           int_option(fd, SO_ACCEPTCONN) == 0;
}

/* What the client's socket() would have refused. */
static int kind_of(const struct sock_adopt *adopt, enum sd_kind *kind)
{
    if (adopt->domain != AF_INET && adopt->domain != AF_INET6)
        return -EAFNOSUPPORT;
    *kind = adopt->type == SOCK_STREAM ? SD_TCP : SD_UDP;
    if (adopt->type != SOCK_STREAM && adopt->type != SOCK_DGRAM)
        return -ESOCKTNOSUPPORT;
    int own = adopt->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
    return adopt->protocol == 0 || adopt->protocol == own ? 0 : -EPROTONOSUPPORT;
}

/* The options that the client has kept; what they say wrong was said to the program already. */
static int replay_options(struct sd_socket *s, const uint8_t *at, uint32_t len)
{
    struct sock_option option;
    while (len > 0) {
        if (len < sizeof option)
            return -EBADMSG;
        memcpy(&option, at, sizeof option);
        uint32_t padded = (option.len + 7u) & ~7u;
        if (option.len > SOCK_OPTION_MAX || padded > len - sizeof option)
            return -EBADMSG;
        (void)sd_option_set(s, option.level, option.name, at + sizeof option, option.len);
        at += sizeof option + padded;
        len -= (uint32_t)sizeof option + padded;
    }
    return 0;
}

/* The pill and other junk is what peeking begins behind. */
static int begin_stream(struct sd_socket *s, uint32_t skip)
{
    int offset = (int)MIR_MIN(skip, (uint32_t)INT32_MAX);
    s->old = (uint32_t)offset;
    return setsockopt(s->watch.fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) < 0 ? -errno
                                                                                        : 0;
}

int sd_adopt(struct sd_call *call)
{
    struct sock_adopt adopt;
    struct sd_socket like = {.uid = call->control->uid, .via = call->control->via};
    if (call->len < sizeof adopt)
        return -EBADMSG;
    memcpy(&adopt, call->body, sizeof adopt);
    if (adopt.options_len > call->len - sizeof adopt || adopt.options_len % 8 != 0)
        return -EBADMSG;
    int r = kind_of(&adopt, &like.kind);
    if (r < 0)
        return r;
    if (!is_end(call->fd[0], like.kind) || adopt.ino == 0)
        return -EBADMSG;
    if (sd_socket_of_ino(adopt.ino) != NULL)
        return -EEXIST;
    like.domain = adopt.domain;
    like.framed = like.kind == SD_UDP && (adopt.flags & SOCK_A_FRAMED) != 0;
    like.pid = adopt.pid != 0 ? adopt.pid : call->control->pid;
    int fd = call->fd[0];
    call->fd[0] = -1;
    struct sd_socket *s = sd_socket_new(&like, fd, adopt.ino);
    if (s == NULL)
        return -ENFILE;
    r = replay_options(s, call->body + sizeof adopt, adopt.options_len);
    if (r == 0)
        r = s->kind == SD_TCP ? begin_stream(s, adopt.skip) : sd_dgram_begin(s);
    if (r == 0)
        r = sd_watch(s);
    if (r < 0) {
        sd_socket_free(s, true);
        return r;
    }
    sd.count.adopted++;
    call->socket = s;
    call->body += sizeof adopt + adopt.options_len;
    call->len -= (uint32_t)sizeof adopt + adopt.options_len;
    return 0;
}

int sd_op_identify(struct sd_call *call)
{
    struct stat st;
    /* Not fstat(): the C library may ask for a path. */
    if (syscall(SYS_fstat, call->fd[0], &st) < 0)
        return -errno;
    struct sd_socket *s = sd_socket_of_ino(st.st_ino);
    if (s == NULL)
        s = find_ino(st.st_ino, true); /* its error may still be of interest */
    if (s == NULL || !S_ISSOCK(st.st_mode) ||
        (call->control->uid != 0 && call->control->uid != s->uid))
        return -ENOENT;
    call->socket = s;
    struct sock_identity identity = {
        .ino = s->ino,
        .domain = s->domain,
        .type = s->kind == SD_TCP ? SOCK_STREAM : SOCK_DGRAM,
        .protocol = s->kind == SD_TCP ? IPPROTO_TCP : IPPROTO_UDP,
        .flags = s->framed ? SOCK_A_FRAMED : 0,
        .state = s->state,
    };
    sd_names(s, &identity.names);
    sd_reply(call, 0, &identity, sizeof identity);
    return 0;
}

/* ---- ending -----------------------------------------------------------------------------------
 */

/* All but the memory and the name. */
static void let_go(struct sd_socket *s, bool is_abort)
{
    mir_work_cancel(&s->work);
    mir_timer_cancel(&s->soon);
    mir_timer_cancel(&s->tidy);
    sd_wake(s, -ECONNABORTED, NULL, 0);
    sd_unlisten(s);
    sd_port_drop(s);
    sd_close_b(s);
    sd_unwait(s);
    sd_stream_release(s);
    if (s->tcp != NULL && is_abort)
        mir_tcp_abort(s->tcp);
    else if (s->tcp != NULL)
        mir_tcp_close(s->tcp);
    s->tcp = NULL;
    if (s->udp != NULL)
        mir_udp_close(s->udp);
    s->udp = NULL;
}

static void forget(struct sd_socket *s)
{
    slots[(uint32_t)s->handle % SD_SOCKETS_MAX] = NULL;
    mir_list_remove(&s->by_ino);
    mir_list_remove(&s->link);
    if (s->state == SOCK_S_ENDED)
        sd.ended_count--;
    else
        sd.live--;
    mir_pool_free(&sd.sockets, s);
}

void sd_socket_free(struct sd_socket *s, bool is_abort)
{
    let_go(s, is_abort);
    forget(s);
}

static struct sd_socket *oldest_ended(void)
{
    return MIR_CONTAINER_OF(sd.ended.next, struct sd_socket, link);
}

static void bury(void *arg)
{
    mir_time_us now_us = mir_loop_now(sd.app->loop);
    (void)arg;
    while (!mir_list_is_empty(&sd.ended) &&
           oldest_ended()->ended_us + SOCK_TOMBSTONE_S * MIR_US_PER_S <= now_us)
        forget(oldest_ended());
    if (!mir_list_is_empty(&sd.ended))
        mir_timer_set(sd.app->loop, &sd.ended_timer,
                      oldest_ended()->ended_us + SOCK_TOMBSTONE_S * MIR_US_PER_S);
}

/* Has the program closed A, without our knowing yet? */
static bool has_gone(const struct sd_socket *s)
{
    struct pollfd fd = {.fd = s->watch.fd};
    const struct timespec now = {0};
    return s->watch.fd >= 0 && ppoll(&fd, 1, &now, NULL) > 0 && (fd.revents & POLLHUP);
}

bool sd_reap_port(const struct sd_socket *s, uint16_t port)
{
    uint64_t gone[REAP_MAX];
    uint32_t count = 0;
    mir_list_for_each (link, &sd.all) {
        const struct sd_socket *other = MIR_CONTAINER_OF(link, struct sd_socket, link);
        if (other != s && other->kind == s->kind && other->local.port == port && count < REAP_MAX &&
            has_gone(other))
            gone[count++] = other->handle;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct sd_socket *other = sd_socket_find(gone[i]); /* one may take others with it */
        if (other != NULL)
            b_ready(other, MIR_HOST_IN | MIR_HOST_ERROR | MIR_HOST_HANGUP | MIR_HOST_END);
    }
    return count > 0;
}

void sd_socket_end(struct sd_socket *s)
{
    struct sock_names names;
    if (s->state == SOCK_S_ENDED)
        return;
    sd_names(s, &names);
    (void)sd_endpoint(s->domain, &names.local, &s->local);
    let_go(s, false);
    s->state = SOCK_S_ENDED;
    s->ended_us = mir_loop_now(sd.app->loop);
    sd.live--;
    mir_list_remove(&s->link);
    mir_list_push_back(&sd.ended, &s->link);
    if (++sd.ended_count > SD_ENDED_MAX)
        forget(oldest_ended());
    if (!mir_timer_is_set(&sd.ended_timer))
        bury(NULL);
}

void sd_table_init(void)
{
    mir_list_init(&sd.all);
    mir_list_init(&sd.ended);
    mir_timer_init(&sd.ended_timer, bury, NULL);
    for (uint32_t i = 0; i < BUCKETS; i++)
        mir_list_init(&by_ino[i]);
    int r = mir_pool_init(&sd.sockets, "sockets", sd.app->pages, sizeof(struct sd_socket),
                          SD_SOCKETS_MAX);
    MIR_ASSERT_OP(r, ==, 0);
    sd_ports_init();
}

void sd_table_fini(void)
{
    mir_timer_cancel(&sd.ended_timer);
    while (!mir_list_is_empty(&sd.all))
        sd_socket_free(MIR_CONTAINER_OF(sd.all.next, struct sd_socket, link), true);
    while (!mir_list_is_empty(&sd.ended))
        forget(oldest_ended());
    mir_pool_fini(&sd.sockets);
}
