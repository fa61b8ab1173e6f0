/* SPDX-License-Identifier: ISC */
/* Control connections: who may connect, messages in, answers out.
 *
 * Each message is checked whole before anything of it is believed: its size against its head, the
 * operation against a table of least and most bytes, attached descriptors against what the
 * operation takes. What cannot be a message is answered with -EBADMSG and ends the connection.
 * Attached descriptors that nobody took are closed. Those that the kernel could not give us,
 * because we have too many, are no fault of the client's: it is told ENFILE.
 *
 * A client that does not read its answers is not read from: answers that find no room wait in a
 * bounded queue, and its requests wait in the kernel meanwhile. Answers that come later (connect,
 * names) are counted against SOCK_OUTSTANDING.
 *
 * The bytes of a message are copied once, into one buffer for all, and read from there; so a client
 * cannot change them while they are looked at.
 */
#include "cmd/mirari-socketd/socketd.h"

#define TURN_MESSAGES 16   /* of one connection, then others have their turn */
#define CATCH_UP_MAX  4096 /* messages of one connection that may come before an event */
#define OUT_MAX       64u
#define LOW_ON_FDS_US (100 * MIR_US_PER_MS)

/** An answer that waits for room. */
struct late {
    struct mir_list link;
    struct mir_io_page *page;
    uint32_t len;
};

static union {
    struct sock_request head;
    uint8_t bytes[SOCK_MESSAGE_MAX];
} in MIR_ALIGNED(16);

static union {
    struct sock_response head;
    uint8_t bytes[SOCK_MESSAGE_MAX];
} out MIR_ALIGNED(16);

static struct mir_timer retry; /* of accepting, when there were no descriptors */
static bool is_within;         /* a message is being worked on */

/* ---- the table of operations ------------------------------------------------------------------
 */

struct operation {
    int (*run)(struct sd_call *call);
    uint32_t least, most; /* bytes of the body */
    bool needs_socket, may_adopt;
};

static int op_hello(struct sd_call *call)
{
    struct sock_hello hello;
    struct sock_welcome welcome = {.server = sd.id, .sockets_max = SD_SOCKETS_MAX};
    memcpy(&hello, call->body, sizeof hello);
    call->control->via = hello.via <= SOCK_VIA_ADMIN ? hello.via : SOCK_VIA_OTHER;
    call->control->pid = hello.pid;
    call->control->is_greeted = true;
    mir_format(welcome.name, sizeof welcome.name, "%s", mir_app_string(sd.app, "name"));
    sd_reply(call, 0, &welcome, sizeof welcome);
    return 0;
}

static int op_cancel(struct sd_call *call)
{
    struct sock_cancel cancel;
    memcpy(&cancel, call->body, sizeof cancel);
    mir_list_for_each (link, &call->control->waiters) {
        struct sd_waiter *waiter = MIR_CONTAINER_OF(link, struct sd_waiter, link);
        if (waiter->id == cancel.id) {
            struct sd_socket *s = MIR_CONTAINER_OF(waiter, struct sd_socket, waiter);
            s->is_filling |= (cancel.flags & SOCK_CANCEL_FILL) != 0;
            sd_wake(s, -EINTR, NULL, 0);
            return 0;
        }
    }
    return -ENOENT;
}

static int op_stop(struct sd_call *call)
{
    if (call->control->uid != sd.uid && call->control->uid != 0)
        return -EPERM;
    (void)mir_app_shutdown(sd.app, MIR_APP_END_CONTROL);
    return 0;
}

static int op_close(struct sd_call *call)
{
    sd_socket_free(call->socket, false);
    call->socket = NULL;
    return 0;
}

static int control_open(int fd, uid_t uid, uint32_t pid);

static int op_attach(struct sd_call *call)
{
    int domain = 0, type = 0;
    socklen_t len = sizeof domain;
    (void)getsockopt(call->fd[0], SOL_SOCKET, SO_DOMAIN, &domain, &len);
    (void)getsockopt(call->fd[0], SOL_SOCKET, SO_TYPE, &type, &len);
    if (domain != AF_UNIX || type != SOCK_SEQPACKET)
        return -EBADMSG;
    int fd = call->fd[0];
    call->fd[0] = -1;
    return control_open(fd, call->control->uid, call->control->pid);
}

#define MOST (SOCK_MESSAGE_MAX - sizeof(struct sock_request))

static const struct operation operations[SOCK_OP_END] = {
    [SOCK_HELLO] = {op_hello, sizeof(struct sock_hello), sizeof(struct sock_hello), false, false},
    [SOCK_BIND] = {sd_op_bind, sizeof(struct sock_addr), sizeof(struct sock_addr), true, true},
    [SOCK_LISTEN] = {sd_op_listen, sizeof(struct sock_listen), sizeof(struct sock_listen), true,
                     true},
    [SOCK_CONNECT] = {sd_op_connect, sizeof(struct sock_connect), sizeof(struct sock_connect), true,
                      true},
    [SOCK_NAME] = {sd_op_name, 0, 0, true, true},
    [SOCK_SETOPT] = {sd_op_setopt, sizeof(struct sock_option),
                     sizeof(struct sock_option) + SOCK_OPTION_MAX, true, true},
    [SOCK_GETOPT] = {sd_op_getopt, sizeof(struct sock_option), sizeof(struct sock_option), true,
                     true},
    [SOCK_SHUTDOWN] = {sd_op_shutdown, sizeof(struct sock_shutdown), sizeof(struct sock_shutdown),
                       true, true},
    [SOCK_SENDTO] = {sd_op_sendto, sizeof(struct sock_dgram), MOST, true, true},
    [SOCK_IDENTIFY] = {sd_op_identify, 0, 0, false, false},
    [SOCK_CANCEL] = {op_cancel, sizeof(struct sock_cancel), sizeof(struct sock_cancel), false,
                     false},
    [SOCK_RESOLVE] = {sd_op_resolve, sizeof(struct sock_resolve) + 1,
                      sizeof(struct sock_resolve) + MIR_DNS_NAME_TEXT_MAX, false, false},
    [SOCK_NAMEINFO] = {sd_op_nameinfo, sizeof(struct sock_addr), sizeof(struct sock_addr), false,
                       false},
    [SOCK_IFACES] = {sd_op_ifaces, sizeof(struct sock_page), sizeof(struct sock_page), false,
                     false},
    [SOCK_ROUTES] = {sd_op_routes, sizeof(struct sock_page), sizeof(struct sock_page), false,
                     false},
    [SOCK_NETSTAT] = {sd_op_netstat, sizeof(struct sock_page), sizeof(struct sock_page), false,
                      false},
    [SOCK_STATS] = {sd_op_stats, sizeof(struct sock_page), sizeof(struct sock_page), false, false},
    [SOCK_STOP] = {op_stop, 0, 0, false, false},
    [SOCK_CLOSE] = {op_close, 0, 0, true, true},
    [SOCK_ATTACH] = {op_attach, 0, 0, false, false},
    [SOCK_FILLED] = {sd_op_filled, sizeof(struct sock_filled), sizeof(struct sock_filled), true,
                     false},
};

/* ---- connections ------------------------------------------------------------------------------
 */

static void control_free(struct sd_control *control)
{
    sd_lookups_cancel(control);
    while (!mir_list_is_empty(&control->waiters)) {
        struct sd_waiter *waiter = MIR_CONTAINER_OF(control->waiters.next, struct sd_waiter, link);
        mir_list_remove(&waiter->link);
        waiter->control = NULL;
    }
    while (!mir_list_is_empty(&control->out)) {
        struct late *late = MIR_CONTAINER_OF(control->out.next, struct late, link);
        mir_list_remove(&late->link);
        mir_page_release(late->page);
    }
    sd.poll->ops->remove(sd.poll, &control->watch);
    close(control->watch.fd);
    mir_list_remove(&control->link);
    mir_pool_free(&sd.controls, control);
    sd.control_count--;
}

/* It ends, but not under the feet of those who work with it: the hang-up comes as an event. */
static void doom(struct sd_control *control)
{
    control->is_closing = true;
    (void)shutdown(control->watch.fd, SHUT_RDWR);
}

/* Returns false when there is no room. */
static bool send_now(struct sd_control *control, const void *data, uint32_t len)
{
    ssize_t put = send(control->watch.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0 && errno == EAGAIN)
        return false;
    if (put < 0)
        doom(control);
    return true;
}

static void send_later(struct sd_control *control, const void *data, uint32_t len)
{
    struct mir_io_page *page;
    if (control->out_count >= OUT_MAX + SOCK_OUTSTANDING ||
        mir_page_alloc(sd.app->pages, sizeof(struct late) + len, 0, &page) < 0) {
        doom(control); /* it reads nothing and asks for ever */
        return;
    }
    struct late *late = (struct late *)(void *)page->base;
    late->page = page;
    late->len = len;
    memcpy(late + 1, data, len);
    mir_list_push_back(&control->out, &late->link);
    if (control->out_count++ == 0)
        sd.poll->ops->set(sd.poll, &control->watch, MIR_HOST_OUT);
}

void sd_answer(struct sd_control *control, const struct sock_request *head, int error,
               uint64_t handle, const void *body, uint32_t len)
{
    MIR_ASSERT_OP(len, <=, SOCK_MESSAGE_MAX - sizeof out.head);
    out.head = (struct sock_response){.magic = SOCK_MAGIC,
                                      .op = head->op,
                                      .id = head->id,
                                      .error = error,
                                      .handle = handle,
                                      .len = len};
    if (len > 0)
        memcpy(out.bytes + sizeof out.head, body, len);
    len += (uint32_t)sizeof out.head;
    if (control->is_closing)
        return;
    if (control->out_count > 0 || !send_now(control, out.bytes, len))
        send_later(control, out.bytes, len);
}

void sd_reply(struct sd_call *call, int error, const void *body, uint32_t len)
{
    call->is_answered = true;
    if (!(call->head.flags & SOCK_F_SILENT))
        sd_answer(call->control, &call->head, error,
                  call->socket != NULL ? call->socket->handle : 0, body, len);
}

static void flush_late(struct sd_control *control)
{
    while (!mir_list_is_empty(&control->out)) {
        struct late *late = MIR_CONTAINER_OF(control->out.next, struct late, link);
        if (!send_now(control, late + 1, late->len))
            return;
        mir_list_remove(&late->link);
        mir_page_release(late->page);
        control->out_count--;
    }
    sd.poll->ops->set(sd.poll, &control->watch, MIR_HOST_IN);
}

int sd_wait(struct sd_call *call, struct sd_socket *s)
{
    if (s->waiter.control != NULL)
        return -EALREADY;
    if (call->control->outstanding >= SOCK_OUTSTANDING)
        return -ENOBUFS;
    call->control->outstanding++;
    s->waiter.control = call->control;
    s->waiter.id = call->head.id;
    s->waiter.op = call->head.op;
    mir_list_push_back(&call->control->waiters, &s->waiter.link);
    call->is_deferred = true;
    return 0;
}

void sd_wake(struct sd_socket *s, int error, const void *body, uint32_t len)
{
    struct sd_control *control = s->waiter.control;
    struct sock_request head = {.op = s->waiter.op, .id = s->waiter.id};
    if (control == NULL)
        return;
    mir_list_remove(&s->waiter.link);
    s->waiter.control = NULL;
    s->waiter.is_soon = false;
    mir_timer_cancel(&s->soon);
    control->outstanding--;
    sd_answer(control, &head, error, s->handle, body, len);
}

/* ---- messages ---------------------------------------------------------------------------------
 */

/* Is this a message? Fills in the operation. */
static bool check_message(const struct sd_control *control, struct sd_call *call, size_t len,
                          const struct operation **operation)
{
    if (len < sizeof in.head)
        return false;
    call->head = in.head;
    call->body = in.bytes + sizeof in.head;
    call->len = (uint32_t)(len - sizeof in.head);
    if (call->head.magic != SOCK_MAGIC || call->head.len != call->len || call->head.op == 0 ||
        call->head.op >= SOCK_OP_END ||
        (call->head.flags & ~(SOCK_F_ADOPT | SOCK_F_WAIT | SOCK_F_SILENT | SOCK_F_SOON)) != 0)
        return false;
    *operation = &operations[call->head.op];
    bool is_adoption = (call->head.flags & SOCK_F_ADOPT) != 0;
    bool brings_fd = is_adoption || call->head.op == SOCK_IDENTIFY || call->head.op == SOCK_ATTACH;
    bool has_all = call->has_lost_fds ? brings_fd : call->fd_count == (brings_fd ? 1u : 0u);
    if (!has_all || (is_adoption && !(*operation)->may_adopt))
        return false;
    return control->is_greeted || call->head.op == SOCK_HELLO;
}

/* Returns 0 or negative errno; -EBADMSG ends the connection. */
static int run_operation(struct sd_call *call, const struct operation *operation)
{
    int r = 0;
    if (call->head.flags & SOCK_F_ADOPT)
        r = sd_adopt(call);
    else if (operation->needs_socket)
        call->socket = sd_socket_find(call->head.handle);
    if (r < 0)
        return r;
    if (call->len < operation->least || call->len > operation->most)
        return -EBADMSG;
    if (operation->needs_socket && call->socket == NULL)
        return -EBADF;
    return operation->run(call);
}

static void take_message(struct sd_control *control, struct sd_call *call, size_t len)
{
    const struct operation *operation;
    int r = -EBADMSG;
    sd.count.requests++;
    if (check_message(control, call, len, &operation))
        r = call->has_lost_fds ? -ENFILE : run_operation(call, operation);
    if (r == -EBADMSG) {
        sd.count.malformed++;
        sd_answer(control, &call->head, r, 0, NULL, 0);
        doom(control);
    } else if (!call->is_deferred && !call->is_answered) {
        sd_reply(call, r, NULL, 0);
    }
    for (uint32_t i = 0; i < call->fd_count; i++) {
        if (call->fd[i] >= 0)
            close(call->fd[i]);
    }
}

/* Descriptors of a message; more than fit are closed by the kernel. */
static void take_descriptors(struct msghdr *msg, struct sd_call *call)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (call->fd_count < SD_FDS_MAX)
                call->fd[call->fd_count++] = fd;
            else
                close(fd);
        }
    }
}

/* Returns false when there is nothing to read any more. */
static bool read_message(struct sd_control *control)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(SD_FDS_MAX * sizeof(int))];
    } cmsg;
    struct iovec iov = {in.bytes, sizeof in.bytes};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cmsg, .msg_controllen = sizeof cmsg};
    struct sd_call call = {.control = control};
    ssize_t got = recvmsg(control->watch.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got <= 0) {
        control->is_closing = true;
        return false;
    }
    take_descriptors(&msg, &call);
    bool is_cut = (msg.msg_flags & MSG_CTRUNC) != 0;
    call.has_lost_fds = is_cut && call.fd_count < SD_FDS_MAX;
    if (msg.msg_flags & MSG_TRUNC || (is_cut && !call.has_lost_fds))
        got = 0; /* no message */
    is_within = true;
    take_message(control, &call, (size_t)got);
    is_within = false;
    return true;
}

/* Programs under a supervisor send datagrams with an address by its connection, and close them by
 * themselves. */
void sd_catch_up(void)
{
    if (is_within)
        return;
    mir_list_for_each (link, &sd.control_list) {
        struct sd_control *control = MIR_CONTAINER_OF(link, struct sd_control, link);
        for (int i = 0; i < CATCH_UP_MAX && control->via == SOCK_VIA_NOTIFY &&
                        !control->is_closing && control->out_count == 0;
             i++) {
            if (!read_message(control))
                break;
        }
    }
}

static void control_ready(void *arg, unsigned events)
{
    struct sd_control *control = arg;
    if (events & MIR_HOST_OUT)
        flush_late(control);
    for (int i = 0; i < TURN_MESSAGES && !control->is_closing && control->out_count == 0; i++) {
        if (!read_message(control))
            break;
    }
    if (control->is_closing || (events & MIR_HOST_ERROR && control->out_count > 0))
        control_free(control);
}

/* ---- who may connect --------------------------------------------------------------------------
 */

/* --allow-uid "1000,1001" */
static bool is_listed(uid_t uid)
{
    const char *at = mir_app_string(sd.app, "allow-uid");
    while (*at != '\0') {
        uint64_t number = 0;
        bool has_digit = false;
        for (; *at >= '0' && *at <= '9'; at++, has_digit = true)
            number = MIR_MIN(number * 10 + (uint64_t)(*at - '0'), UINT32_MAX);
        if (has_digit && number == uid)
            return true;
        if (*at != '\0')
            at++;
    }
    return false;
}

static bool is_allowed(int fd, uid_t *uid, uint32_t *pid)
{
    struct ucred cred = {.uid = (uid_t)-1};
    socklen_t len = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return false;
    *uid = cred.uid;
    *pid = (uint32_t)cred.pid;
    return cred.uid == 0 || cred.uid == sd.uid || is_listed(cred.uid);
}

/* Takes @fd, also when it fails. */
static int control_open(int fd, uid_t uid, uint32_t pid)
{
    struct sd_control *control = mir_pool_alloc(&sd.controls);
    if (control == NULL) {
        sd.count.controls_refused++;
        close(fd);
        return -ENOBUFS;
    }
    *control = (struct sd_control){
        .watch = {.fd = fd, .events = MIR_HOST_IN, .ready = control_ready, .arg = control},
        .uid = uid,
        .pid = pid,
    };
    mir_list_init(&control->waiters);
    mir_list_init(&control->lookups);
    mir_list_init(&control->out);
    if (sd.poll->ops->add(sd.poll, &control->watch) < 0) {
        close(fd);
        mir_pool_free(&sd.controls, control);
        return -ENOBUFS;
    }
    mir_list_push_back(&sd.control_list, &control->link);
    sd.control_count++;
    sd.count.controls++;
    return 0;
}

static void control_new(int fd)
{
    uid_t uid = (uid_t)-1;
    uint32_t pid = 0;
    if (is_allowed(fd, &uid, &pid)) {
        (void)control_open(fd, uid, pid);
        return;
    }
    sd.count.controls_refused++;
    close(fd);
}

static void listening_ready(void *arg, unsigned events)
{
    (void)arg;
    (void)events;
    for (int i = 0; i < TURN_MESSAGES; i++) {
        int fd = accept4(sd.listening.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            control_new(fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            /* Those that wait stay: look again soon instead of turning round. */
            sd.poll->ops->set(sd.poll, &sd.listening, 0);
            mir_timer_set(sd.app->loop, &retry, mir_loop_now(sd.app->loop) + LOW_ON_FDS_US);
        }
        return;
    }
}

static void listen_again(void *arg)
{
    (void)arg;
    sd.poll->ops->set(sd.poll, &sd.listening, MIR_HOST_IN);
}

void sd_control_init(void)
{
    mir_list_init(&sd.control_list);
    mir_timer_init(&retry, listen_again, NULL);
    sd.listening.events = MIR_HOST_IN;
    sd.listening.ready = listening_ready;
    int r = mir_pool_init(&sd.controls, "control connections", sd.app->pages,
                          sizeof(struct sd_control), SD_CONTROLS_MAX);
    MIR_ASSERT_OP(r, ==, 0);
}

void sd_control_fini(void)
{
    mir_timer_cancel(&retry);
    while (!mir_list_is_empty(&sd.control_list))
        control_free(MIR_CONTAINER_OF(sd.control_list.next, struct sd_control, link));
    mir_pool_fini(&sd.controls);
}
