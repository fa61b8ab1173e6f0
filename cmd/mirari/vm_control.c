/* SPDX-License-Identifier: ISC */
/* The control channel of a virtual machine, the host's end.
 *
 *   mirari ctl ... ── NAME-PID/control (Unix socket) ─┐
 *   mirari tcpdump ── the same                        ├─ mirari run ══ virtio port ══ machine
 *   whoever        ── --control-ro PATH               ┘
 *
 * For a client it is the channel of a process (<mirari/rpc.h>). Between `mirari run` and the
 * machine is one line of bytes with a session for each client (lib/control/line.h), QEMU's chardev
 * being a socket pair of ours that stays connected while it runs.
 *
 * Who may is decided here, by the kernel's word about the peer of a socket: the user who started
 * the machine, root, and the user behind sudo have the full role on the first socket; on the other
 * one everybody who reaches it may look. Clients are accepted when the machine has answered our
 * HELLO; until then they wait in the queue of the socket.
 *
 * Every client has a window in both directions, so one that does not read holds up nobody. Frames
 * of the machine are checked as anything from outside: one that breaks the rules loses its channel,
 * and the clients are told by its end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <mirari/bytes.h>
#include <mirari/rpc.h>

#include "cmd/mirari/vm.h"
#include "lib/control/line.h"

#define SOCKET_NAME "control"
#define WINDOW      32768u /* bytes kept for a client that does not read */
#define LINE_FULL   65536u /* waiting for the machine: no more is read from clients */
#define BACKLOG     16

/* ---- the line -------------------------------------------------------------------------------- */

static void put(struct vm_control *c, enum mir__line_kind kind, size_t session, const void *payload,
                size_t len)
{
    uint8_t bytes[2 + 2 * (MIR__LINE_HEADER + MIR__LINE_MAX)];
    const struct mir__line_frame frame = {.kind = (uint8_t)kind,
                                          .session = (uint8_t)session,
                                          .payload = payload,
                                          .len = (uint32_t)len};
    str_add(&c->out, bytes, mir__line_put(bytes, &frame));
}

static void flush_line(struct vm_control *c)
{
    while (c->line >= 0 && c->out.len > 0) {
        ssize_t sent = send(c->line, c->out.data, c->out.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return; /* later; a line that has ended is seen by reading it */
        c->out.len -= (size_t)sent;
        memmove(c->out.data, c->out.data + sent, c->out.len);
    }
}

/* ---- clients --------------------------------------------------------------------------------- */

/* The descriptor goes; the session's number is free when the machine has said CLOSE, too. */
static void drop_client(struct vm_client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client->is_used = client->is_used && !(client->has_closed && client->was_closed);
    client->out.len = 0;
}

static void say_close(struct vm_control *c, struct vm_client *client)
{
    if (!client->has_closed)
        put(c, MIR__LINE_IS_CLOSE, (size_t)(client - c->client), NULL, 0);
    client->has_closed = true;
}

/* As the channel of a process refuses one. */
static void refuse(struct str *out, const char *text, size_t len)
{
    struct str frame = {0};
    uint8_t header[MIR_RPC_HEADER_BYTES];
    char *message = need_text(text, len);
    str_text(&frame, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32004,\"message\":");
    str_json(&frame, message);
    str_text(&frame, "}}");
    mir_put_be32(header, (uint32_t)frame.len);
    str_add(out, header, sizeof(header));
    str_add(out, frame.data, frame.len);
    str_free(&frame);
    free(message);
}

static void push_client(struct vm_control *c, struct vm_client *client)
{
    uint8_t credit[4];
    while (client->fd >= 0 && client->out.len > 0) {
        ssize_t sent = send(client->fd, client->out.data, client->out.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0) {
            say_close(c, client);
            drop_client(client);
            return;
        }
        client->out.len -= (size_t)sent;
        memmove(client->out.data, client->out.data + sent, client->out.len);
        client->read += (uint32_t)sent;
    }
    if (client->was_closed && client->out.len == 0) {
        say_close(c, client);
        drop_client(client);
    } else if (client->read >= WINDOW / 2 && !client->has_closed) {
        mir_put_be32(credit, client->read);
        put(c, MIR__LINE_IS_CREDIT, (size_t)(client - c->client), credit, sizeof(credit));
        client->may_come += client->read;
        client->read = 0;
    }
}

static void pull_client(struct vm_control *c, struct vm_client *client)
{
    char bytes[MIR__LINE_MAX];
    size_t most = client->may_send < sizeof(bytes) ? client->may_send : sizeof(bytes);
    ssize_t got = recv(client->fd, bytes, most, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0) {
        put(c, MIR__LINE_IS_DATA, (size_t)(client - c->client), bytes, (size_t)got);
        client->may_send -= (uint32_t)got;
        return;
    }
    say_close(c, client);
    drop_client(client);
}

static bool may_have_all(const struct ucred *who)
{
    const char *sudo = getenv("SUDO_UID");
    return who->uid == 0 || who->uid == geteuid() ||
           (geteuid() == 0 && sudo != NULL && (uid_t)strtoul(sudo, NULL, 10) == who->uid);
}

/* Is there a place, or will none be soon? One that was left is free when the machine has said so, a
 * moment later: whoever comes next waits for that, and is not refused. */
static bool is_settled(const struct vm_control *c)
{
    bool has_free = false, has_leaving = false;
    for (size_t i = 0; i < MIR__LINE_SESSIONS; i++) {
        has_free = has_free || !c->client[i].is_used;
        has_leaving = has_leaving || (c->client[i].is_used && c->client[i].fd < 0);
    }
    return has_free || !has_leaving;
}

static void accept_client(struct vm_control *c, size_t role)
{
    struct ucred who = {0};
    socklen_t len = sizeof(who);
    struct str text = {0};
    uint8_t open[MIR__LINE_OPEN] = {(uint8_t)role};
    size_t i = 0;
    while (i < MIR__LINE_SESSIONS && c->client[i].is_used)
        i++;
    int fd = accept4(c->listener[role], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    bool is_known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0;
    const char *why = i == MIR__LINE_SESSIONS ? "too many clients of the control channel"
                      : !is_known || (role == MIR_RPC_FULL && !may_have_all(&who))
                          ? "this channel is for the user who started the appliance"
                          : NULL;
    if (why != NULL) {
        refuse(&text, why, strlen(why));
        (void)send(fd, text.data, text.len, MSG_NOSIGNAL);
        str_free(&text);
        close(fd);
        return;
    }
    struct vm_client *client = &c->client[i];
    str_free(&client->out);
    *client = (struct vm_client){.is_used = true, .fd = fd, .may_come = WINDOW};
    mir_put_be32(open + 1, WINDOW);
    str_add(&text, open, sizeof(open));
    str_format(&text, "uid %u pid %d", (unsigned)who.uid, (int)who.pid);
    put(c, MIR__LINE_IS_OPEN, i, text.data, text.len);
    str_free(&text);
}

/* ---- the machine's frames -------------------------------------------------------------------- */

/* Nobody can come any more. Only a socket of ours goes: at the path may be another one's. */
static void stop_listening(struct vm_control *c)
{
    const char *const paths[] = {
        [MIR_RPC_FULL] = c->vm->control_path, [MIR_RPC_READ_ONLY] = c->vm->control_ro_path};
    for (size_t i = 0; i < LEN(paths); i++) {
        if (c->listener[i] < 0)
            continue;
        if (paths[i] != NULL)
            (void)unlink(paths[i]);
        close(c->listener[i]);
        c->listener[i] = -1;
    }
}

/* For good. Who waits in the queue of a socket is told by its end, too. */
static void close_line(struct vm_control *c)
{
    if (c->line >= 0)
        close(c->line);
    c->line = -1;
    c->is_up = false;
    c->out.len = 0;
    stop_listening(c);
    for (size_t i = 0; i < MIR__LINE_SESSIONS; i++) {
        if (!c->client[i].is_used)
            continue;
        c->client[i].has_closed = c->client[i].was_closed = true;
        push_client(c, &c->client[i]);
    }
}

static void take_hello(struct vm_control *c, const struct mir__line_frame *frame)
{
    if (frame->len != MIR__LINE_HELLO || memcmp(frame->payload + 1, c->hello + 1, 8) != 0)
        return; /* to somebody else's */
    c->is_up = frame->payload[0] == MIR__LINE_VERSION;
    if (c->is_up)
        return;
    complain("the image's control channel is of another version; build it again");
    close_line(c);
}

static bool take_data(struct vm_client *client, const struct mir__line_frame *frame)
{
    if (frame->len > client->may_come)
        return false;
    client->may_come -= frame->len;
    if (client->fd >= 0)
        str_add(&client->out, frame->payload, frame->len);
    return true;
}

static bool take_credit(struct vm_client *client, const struct mir__line_frame *frame)
{
    uint32_t more = frame->len == 4 ? mir_get_be32(frame->payload) : 0;
    if (more == 0 || more > UINT32_MAX - client->may_send)
        return false;
    client->may_send += more;
    return true;
}

static bool take_close(struct vm_client *client, const struct mir__line_frame *frame)
{
    if (frame->len > MIR__LINE_CLOSE)
        return false;
    client->was_closed = true;
    if (frame->len > 0 && client->fd >= 0 && client->may_come == WINDOW)
        refuse(&client->out, (const char *)frame->payload, frame->len); /* it never spoke */
    if (client->fd < 0)
        drop_client(client);
    return true;
}

static void take_frame(void *arg, const struct mir__line_frame *frame)
{
    struct vm_control *c = arg;
    if (c->line < 0)
        return; /* behind a frame for which it was closed */
    if (frame->kind == MIR__LINE_IS_HELLO) {
        take_hello(c, frame);
        return;
    }
    if (!c->is_up)
        return;
    struct vm_client *client =
        frame->session < MIR__LINE_SESSIONS ? &c->client[frame->session] : NULL;
    bool is_good = client != NULL && client->is_used && !client->was_closed;
    if (is_good && frame->kind == MIR__LINE_IS_DATA)
        is_good = take_data(client, frame);
    else if (is_good && frame->kind == MIR__LINE_IS_CREDIT)
        is_good = take_credit(client, frame);
    else if (is_good && frame->kind == MIR__LINE_IS_CLOSE)
        is_good = take_close(client, frame);
    else
        is_good = false;
    if (is_good)
        return;
    complain("the machine does not keep to the rules of its control channel; closed");
    close_line(c);
}

static void read_line(struct vm_control *c)
{
    char bytes[16384];
    ssize_t got = c->line >= 0 ? recv(c->line, bytes, sizeof(bytes), 0) : -1;
    if (got > 0)
        mir__line_take(c->in, bytes, (size_t)got, take_frame, c);
    else if (c->line >= 0 && (got == 0 || (errno != EAGAIN && errno != EINTR)))
        close_line(c);
}

/* ---- for watch.c ----------------------------------------------------------------------------- */

/* A socket at @path, or at the usual place in the appliance's folder. */
static int listen_at(const char *path, const struct state *state, mode_t mode)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    int len = path != NULL ? snprintf(address.sun_path, sizeof(address.sun_path), "%s", path)
                           : snprintf(address.sun_path, sizeof(address.sun_path),
                                      "/proc/self/fd/%d/" SOCKET_NAME, state->fd);
    if (len < 0 || (size_t)len >= sizeof(address.sun_path)) {
        complain("control channel \"%s\": the path is too long; choose a shorter one", path);
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && lstat(address.sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
        connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 && errno == ECONNREFUSED)
        (void)unlink(address.sun_path); /* nobody listens there any more */
    mode_t before = umask(0777 & ~mode);
    bool is_good = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                   listen(fd, BACKLOG) == 0;
    (void)umask(before);
    if (is_good)
        return fd;
    complain("control channel \"%s\": %s; choose another place", address.sun_path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

void vm_control_open(struct vm_control *c, struct vm *vm, const struct state *state)
{
    *c = (struct vm_control){.line = -1, .listener = {-1, -1}};
    for (size_t i = 0; i < MIR__LINE_SESSIONS; i++)
        c->client[i].fd = -1;
    if (vm == NULL || vm->line[0] < 0)
        return;
    close(vm->line[1]);
    c->vm = vm;
    c->line = vm->line[0];
    c->in = need(sizeof(*c->in));
    c->hello[0] = MIR__LINE_VERSION;
    if (getrandom(c->hello + 1, sizeof(c->hello) - 1, GRND_NONBLOCK) < 0)
        memcpy(c->hello + 1, &state, sizeof(state)); /* it need not be secret */
    put(c, MIR__LINE_IS_HELLO, 0, c->hello, sizeof(c->hello));
    flush_line(c);
    c->listener[MIR_RPC_FULL] = listen_at(vm->control_path, state, 0600);
    if (vm->control_ro_path != NULL)
        c->listener[MIR_RPC_READ_ONLY] = listen_at(vm->control_ro_path, state, 0666);
}

enum { LINE, LISTENERS, CLIENTS = LISTENERS + 2 };

void vm_control_watch(const struct vm_control *c, struct pollfd fds[VM_CONTROL_FDS])
{
    for (size_t i = 0; i < VM_CONTROL_FDS; i++)
        fds[i] = (struct pollfd){.fd = -1};
    if (c->line >= 0)
        fds[LINE] = (struct pollfd){.fd = c->line,
                                    .events = (short)(POLLIN | (c->out.len > 0 ? POLLOUT : 0))};
    for (size_t i = 0; i < 2; i++)
        fds[LISTENERS + i] = (struct pollfd){.fd = c->is_up && is_settled(c) ? c->listener[i] : -1,
                                             .events = POLLIN};
    for (size_t i = 0; i < MIR__LINE_SESSIONS; i++) {
        const struct vm_client *client = &c->client[i];
        bool takes = client->may_send > 0 && !client->was_closed && c->out.len < LINE_FULL;
        fds[CLIENTS + i] = (struct pollfd){
            .fd = client->fd,
            .events = (short)((takes ? POLLIN : 0) | (client->out.len > 0 ? POLLOUT : 0))};
    }
}

void vm_control_serve(struct vm_control *c, const struct pollfd fds[VM_CONTROL_FDS])
{
    if (fds[LINE].revents & (POLLIN | POLLHUP | POLLERR))
        read_line(c);
    for (size_t i = 0; i < MIR__LINE_SESSIONS; i++) {
        struct vm_client *client = &c->client[i];
        short seen = fds[CLIENTS + i].fd == client->fd ? fds[CLIENTS + i].revents : 0;
        if (client->fd >= 0 && (seen & POLLIN) != 0) {
            pull_client(c, client);
        } else if (client->fd >= 0 && (seen & (POLLHUP | POLLERR)) != 0) {
            say_close(c, client); /* nobody is there to read what is left */
            drop_client(client);
        }
        if (client->is_used)
            push_client(c, client);
    }
    /* Last: a new one may get the descriptor of one that left. */
    for (size_t i = 0; i < 2; i++)
        if (fds[LISTENERS + i].revents != 0 && c->is_up && is_settled(c))
            accept_client(c, i);
    flush_line(c);
}

void vm_control_close(struct vm_control *c)
{
    if (c->vm == NULL)
        return;
    while (c->line >= 0) {
        char byte;
        /* What the machine said before it ended. */
        if (recv(c->line, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN)
            close_line(c);
        else
            read_line(c);
    }
    for (size_t i = 0; i < MIR__LINE_SESSIONS; i++)
        if (c->client[i].fd >= 0)
            close(c->client[i].fd);
    stop_listening(c);
}
