/* SPDX-License-Identifier: ISC */
/* The control channel on Unix sockets.
 *
 *   --control PATH      0600: the user who started the appliance, and root; may do everything
 *   --control-ro PATH   0666: whoever can reach the path; may look
 *
 * A worker of several (--workers) does not open them: its monitor does, and passes them on, so that
 * their names outlive the worker. While one worker replaces another, new clients go to the old one
 * until it is told to leave.
 *
 * Both are opened before the sandbox closes; later they only accept. Who connects is known by the
 * kernel's word (SO_PEERCRED), besides the mode of the path. `mirari run` gives a path in the
 * appliance's own folder.
 *
 * A client is a descriptor and a session. It is watched for input while its session takes some, and
 * for room while there is output that it did not take at once; so one that neither reads nor writes
 * costs nothing but its memory, and an idle socket costs nothing at all. When all places are taken
 * a client is told so and closed.
 *
 * A path that is longer than an address can hold is named through the descriptor of its folder. A
 * socket that nobody listens on any more is replaced.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <mirari/format.h>

#include "target/unix/workers.h"

#define CLIENTS_MAX 8u
#define BACKLOG     16

struct client {
    struct mir_host_watch watch;
    struct mir_rpc_session *session; /* NULL: the place is free */
    struct unix_control *owner;
    bool is_eof;
};

struct unix_control {
    struct mir__control control;
    struct mir__unix *u;
    struct mir_host_watch listener[2]; /* fd -1: none; by role */
    struct client clients[CLIENTS_MAX];
    uid_t owner; /* besides root */
    bool is_open, is_accepting;
};

static struct unix_control the_control = {.listener = {{.fd = -1}, {.fd = -1}}};

/* ---- clients --------------------------------------------------------------------------------- */

static void close_client(struct client *client)
{
    struct mir_host_poll *poll = &client->owner->u->poll.base;
    poll->ops->remove(poll, &client->watch);
    close(client->watch.fd);
    mir_rpc_session_close(client->session);
    client->session = NULL;
}

static void watch_for(struct client *client, unsigned events)
{
    struct mir_host_poll *poll = &client->owner->u->poll.base;
    if (client->watch.events != events)
        poll->ops->set(poll, &client->watch, events);
}

/* Output as far as it goes. False: the client is gone. */
static bool push(struct client *client)
{
    const void *data;
    size_t len;
    while ((len = mir_rpc_session_output(client->session, &data)) > 0) {
        ssize_t put = write(client->watch.fd, data, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return errno == EAGAIN;
        mir_rpc_session_sent(client->session, (size_t)put);
    }
    return true;
}

static bool pull(struct client *client)
{
    char bytes[4096];
    size_t room = mir_rpc_session_room(client->session);
    if (room == 0)
        return true;
    ssize_t got = read(client->watch.fd, bytes, MIR_MIN(room, sizeof bytes));
    if (got > 0)
        return mir_rpc_session_input(client->session, bytes, (size_t)got) == (size_t)got;
    if (got == 0)
        client->is_eof = true;
    return got == 0 || errno == EAGAIN || errno == EINTR;
}

/* What to wait for next; the end, if there is nothing to wait for. */
static void settle(struct client *client, bool is_alive)
{
    const void *data;
    bool has_output = is_alive && mir_rpc_session_output(client->session, &data) > 0;
    bool is_over = client->is_eof || mir_rpc_session_is_over(client->session);
    if (!is_alive || (is_over && !has_output)) {
        close_client(client);
        return;
    }
    bool takes = !is_over && mir_rpc_session_room(client->session) > 0;
    watch_for(client, (takes ? MIR_HOST_IN : 0u) | (has_output ? MIR_HOST_OUT : 0u));
}

static void on_ready(void *arg, unsigned events)
{
    struct client *client = arg;
    bool is_alive = true;
    if (events & MIR_HOST_IN)
        is_alive = pull(client);
    else if (events & MIR_HOST_ERROR)
        is_alive = false; /* nobody is there to read what is left */
    if (is_alive && (events & MIR_HOST_OUT))
        is_alive = push(client);
    settle(client, is_alive);
}

static void on_wake(void *arg)
{
    struct client *client = arg;
    settle(client, push(client));
}

static void refuse(int fd, const char *text)
{
    char frame[200];
    size_t len = mir_format(frame + 4, sizeof frame - 4,
                            "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32004,"
                            "\"message\":\"%s\"}}",
                            text);
    frame[0] = frame[1] = frame[2] = 0;
    frame[3] = (char)len;
    ssize_t put = write(fd, frame, len + 4);
    (void)put; /* it was told, or it is gone */
    close(fd);
}

static void add_client(struct unix_control *c, int fd, enum mir_rpc_role role,
                       const struct ucred *who)
{
    char peer[40];
    struct client *client = NULL;
    for (size_t i = 0; i < CLIENTS_MAX && client == NULL; i++)
        client = c->clients[i].session == NULL ? &c->clients[i] : NULL;
    mir_format(peer, sizeof peer, "uid %u pid %d", (unsigned)who->uid, (int)who->pid);
    struct mir_rpc_session_config config = {
        .role = role, .peer = peer, .wake = on_wake, .arg = client};
    if (client == NULL || mir_rpc_session_open(&c->control.server, &config, &client->session) < 0) {
        refuse(fd, "too many clients of the control channel");
        return;
    }
    client->owner = c;
    client->is_eof = false;
    client->watch =
        (struct mir_host_watch){.fd = fd, .events = MIR_HOST_IN, .ready = on_ready, .arg = client};
    if (c->u->poll.base.ops->add(&c->u->poll.base, &client->watch) == 0)
        return;
    mir_rpc_session_close(client->session);
    client->session = NULL;
    close(fd);
}

static void on_accept(void *arg, unsigned events)
{
    struct mir_host_watch *listener = arg;
    struct unix_control *c = &the_control;
    enum mir_rpc_role role =
        listener == &c->listener[MIR_RPC_FULL] ? MIR_RPC_FULL : MIR_RPC_READ_ONLY;
    struct ucred who;
    socklen_t len = sizeof who;
    (void)events;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        /* Without a descriptor it would be ready for ever. */
        if (errno == EMFILE || errno == ENFILE) {
            MIR_LOG(TARGET, ERROR, "no descriptors: the control channel is closed");
            c->u->poll.base.ops->remove(&c->u->poll.base, listener);
        }
        return;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0) {
        close(fd);
        return;
    }
    if (role == MIR_RPC_FULL && who.uid != 0 && who.uid != c->owner)
        refuse(fd, "this channel is for the user who started the appliance");
    else
        add_client(c, fd, role, &who);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Does nobody listen there any more? */
static bool is_left_over(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    /* Not waiting: who listens and does not accept may have a full queue. */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool is_dead = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 &&
                   errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return is_dead;
}

static int bind_and_listen(int fd, const struct sockaddr_un *address, mode_t mode)
{
    mode_t before = umask(0777 & ~mode);
    int r = bind(fd, (const struct sockaddr *)address, sizeof *address);
    bool is_taken = r < 0 && errno == EADDRINUSE;
    if (is_taken && is_left_over(address)) {
        (void)unlink(address->sun_path);
        r = bind(fd, (const struct sockaddr *)address, sizeof *address);
    } else if (is_taken) {
        r = -2;
    }
    (void)umask(before);
    if (r == 0)
        r = listen(fd, BACKLOG);
    return r;
}

int mir__unix_listen(const char *option, const char *path, int type, unsigned mode,
                     char error[MIR__ERROR_MAX])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *slash = strrchr(path, '/');
    char folder[4096] = ".";
    if (slash != NULL)
        snprintf(folder, sizeof folder, "%.*s", (int)(slash == path ? 1 : slash - path), path);
    int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = dir >= 0 ? socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
    int len = snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir,
                       slash != NULL ? slash + 1 : path);
    int r = -1;
    if (fd >= 0 && (size_t)len >= sizeof address.sun_path)
        errno = ENAMETOOLONG;
    else if (fd >= 0)
        r = bind_and_listen(fd, &address, (mode_t)mode);
    if (r < 0)
        snprintf(error, MIR__ERROR_MAX, "%s: %s: %s", option, path,
                 r == -2 ? "is there, and somebody listens or it is no socket" : strerror(errno));
    if (r < 0 && fd >= 0)
        close(fd);
    if (dir >= 0)
        close(dir);
    return r < 0 ? -MIR_EIO : fd;
}

int mir__control_listen(const char *option, const char *path, enum mir_rpc_role role,
                        char error[MIR__ERROR_MAX])
{
    return mir__unix_listen(option, path, SOCK_STREAM, role == MIR_RPC_FULL ? 0600 : 0666, error);
}

/* The user whose command started it: behind sudo the one who called that, too. */
static uid_t owner_of(const struct mir__unix *u)
{
    return u->identity.is_root && getenv("SUDO_UID") != NULL ? u->identity.uid : getuid();
}

static void take_listener(struct unix_control *c, struct mir__unix *u, enum mir_rpc_role role,
                          int fd)
{
    struct mir_host_watch *listener = &c->listener[role];
    *listener = (struct mir_host_watch){
        .fd = fd, .events = MIR_HOST_IN, .ready = on_accept, .arg = listener};
    u->sandbox_needs |= MIR__SANDBOX_CONTROL;
}

int mir__control_take(struct mir__unix *u, enum mir_rpc_role role, int fd)
{
    if (the_control.listener[role].fd >= 0 || the_control.is_open) {
        close(fd);
        return -MIR_EPROTO;
    }
    take_listener(&the_control, u, role, fd);
    return 0;
}

void mir__control_accept(struct mir__unix *u, bool is_on)
{
    struct unix_control *c = &the_control;
    struct mir_host_poll *poll = &u->poll.base;
    if (!c->is_open || c->is_accepting == is_on)
        return;
    c->is_accepting = is_on;
    for (size_t i = 0; i < MIR_ARRAY_LEN(c->listener); i++) {
        if (c->listener[i].fd >= 0 && !is_on)
            poll->ops->remove(poll, &c->listener[i]);
        else if (c->listener[i].fd >= 0 && poll->ops->add(poll, &c->listener[i]) < 0)
            MIR_LOG(TARGET, ERROR, "the control channel cannot be watched");
    }
}

static int open_one(struct unix_control *c, enum mir_rpc_role role, const char *option,
                    const char *path, char error[MIR__ERROR_MAX])
{
    if (path == NULL || strcmp(path, "off") == 0)
        return 0;
    int fd = mir__control_listen(option, path, role, error);
    if (fd >= 0)
        take_listener(c, c->u, role, fd);
    return fd < 0 ? fd : 0;
}

int mir__control_open(struct mir__unix *u, char error[MIR__ERROR_MAX])
{
    struct unix_control *c = &the_control;
    c->u = u;
    c->owner = owner_of(u);
    if (u->worker != NULL) /* it was taken */
        return 0;
    int r = open_one(c, MIR_RPC_FULL, "--control", u->options.control, error);
    if (r == 0)
        r = open_one(c, MIR_RPC_READ_ONLY, "--control-ro", u->options.control_ro, error);
    return r;
}

static uint64_t cpu_us(void)
{
    struct timespec ts;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) < 0)
        return 0;
    return (uint64_t)ts.tv_sec * MIR_US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

void mir__control_serve(struct mir__unix *u)
{
    struct unix_control *c = &the_control;
    if (c->listener[0].fd < 0 && c->listener[1].fd < 0)
        return;
    mir__control_init(&c->control, &(struct mir__control_config){
                                       .app = &u->app,
                                       .net = u->net,
                                       .target = "unix",
                                       .cpu_us = cpu_us,
                                       .worker = u->worker != NULL ? u->worker->index : 0,
                                       .workers = u->worker != NULL ? u->worker->count : 0});
    mir_fault_control_serve(&u->faults, &c->control.server);
    c->is_open = true;
    mir__control_accept(u, u->worker == NULL || !u->worker->is_second);
}

/* Answers that are on their way get out, as far as the client takes them at once. */
void mir__control_close(struct mir__unix *u)
{
    struct unix_control *c = &the_control;
    (void)u;
    if (!c->is_open)
        return;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (c->clients[i].session == NULL)
            continue;
        (void)push(&c->clients[i]);
        close_client(&c->clients[i]);
    }
    mir__control_fini(&c->control);
    c->is_open = false;
}
