/* SPDX-License-Identifier: ISC */
/* System calls of a script.
 *
 * One table: name, number of arguments, what to do. Descriptors are translated, "..." stands for
 * the addresses and ports of the test and for buffers whose bytes do not matter. Structures that a
 * call fills (poll, epoll_wait, getsockopt) are compared with what the script says after it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/sockios.h>
#include <linux/tcp.h>

#include "test/packetdrill/run.h"

#define PORT       8080u
#define BUFFER_MAX ((size_t)16 << 20)
#define IOVS_MAX   16u
#define POLL_MAX   16u

/* A call being made. */
struct made {
    struct pd_run *run;
    struct px_host *px;
    const struct pd_event *event;
    const struct pd_value *arg[8];
    int64_t result;
};

static bool wrong(struct made *made, const char *what)
{
    return pd_error(made->run, made->event, "%s(): %s", made->event->call.name, what);
}

static bool number(struct made *made, const struct pd_value *value, int64_t *out)
{
    *out = 0;
    if (value == NULL || value->kind != PD_INT)
        return wrong(made, "a number or a constant was expected");
    *out = value->number;
    return true;
}

/* [n] */
static bool boxed(struct made *made, const struct pd_value *value, int64_t *out)
{
    if (value == NULL || value->kind != PD_LIST || value->first == NULL)
        return wrong(made, "a value in brackets was expected");
    return number(made, value->first, out);
}

static const struct pd_value *field(const struct pd_value *structure, const char *name)
{
    for (const struct pd_value *f = structure->first; f != NULL; f = f->next)
        if (f->kind == PD_FIELD && strcmp(f->text, name) == 0)
            return f->first;
    return NULL;
}

/* The host's descriptor of the script's; an unknown one is passed on, to be refused. */
static int fd_of(struct made *made, const struct pd_value *value, int *script_fd)
{
    int64_t fd = value != NULL && value->kind == PD_INT ? value->number : -1;
    if (script_fd != NULL)
        *script_fd = (int)fd;
    if (fd < 0 || fd >= (int64_t)PD_FDS_MAX || made->run->fd[fd] < 0)
        return -1;
    return made->run->fd[fd];
}

static void keep_fd(struct made *made, int live)
{
    int64_t fd = made->event->call.result;
    made->result = live;
    if (live < 0 || fd < 0 || fd >= (int64_t)PD_FDS_MAX)
        return;
    made->run->fd[fd] = live;
    made->result = fd;
}

/* ---- addresses --------------------------------------------------------------------------------
 */

static socklen_t put_address(struct made *made, struct sockaddr_storage *to,
                             const struct mir_ip *ip, uint16_t port)
{
    memset(to, 0, sizeof *to);
    if (made->run->script->is_v6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        memcpy(&in6.sin6_addr, ip->bytes, 16);
        memcpy(to, &in6, sizeof in6);
        return sizeof in6;
    }
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    in.sin_addr.s_addr = htonl(mir_ip_to_v4(ip));
    memcpy(to, &in, sizeof in);
    return sizeof in;
}

/* "..." or {sa_family = AF_INET, sin_port = htons(8080), sin_addr = inet_addr("...")} */
static bool address(struct made *made, const struct pd_value *value, bool is_local,
                    struct sockaddr_storage *to, socklen_t *len)
{
    struct mir_ip ip = is_local ? made->run->local_ip : made->run->remote_ip;
    int64_t port = htons(PORT);
    int64_t family = made->run->script->is_v6 ? AF_INET6 : AF_INET;
    if (value == NULL || (value->kind != PD_ELLIPSIS && value->kind != PD_STRUCT))
        return wrong(made, "an address was expected");
    if (value->kind == PD_STRUCT) {
        const struct pd_value *f = field(value, "sin_port");
        if (f != NULL && !number(made, f, &port))
            return false;
        f = field(value, "sa_family");
        if (f != NULL && !number(made, f, &family))
            return false;
        f = field(value, "sin_addr");
        if (f != NULL && f->kind == PD_TEXT && mir_ip_parse(f->text, strlen(f->text), &ip) < 0)
            return wrong(made, "that is no IP address");
    }
    *len = put_address(made, to, &ip, ntohs((uint16_t)port));
    to->ss_family = (sa_family_t)family;
    return true;
}

static uint16_t port_of(const struct sockaddr_storage *addr)
{
    uint16_t port;
    memcpy(&port, (const char *)addr + 2, sizeof port);
    return ntohs(port);
}

/* ---- life of sockets --------------------------------------------------------------------------
 */

static bool do_socket(struct made *made)
{
    int64_t domain = made->run->script->is_v6 ? AF_INET6 : AF_INET;
    int64_t type, protocol;
    if (made->arg[0]->kind != PD_ELLIPSIS && !number(made, made->arg[0], &domain))
        return false;
    if (!number(made, made->arg[1], &type) || !number(made, made->arg[2], &protocol))
        return false;
    keep_fd(made, px_socket(made->px, (int)domain, (int)type, (int)protocol));
    return true;
}

static bool do_bind(struct made *made)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int script_fd;
    int fd = fd_of(made, made->arg[0], &script_fd);
    if (!address(made, made->arg[1], true, &addr, &len))
        return false;
    made->result = px_bind(made->px, fd, (struct sockaddr *)&addr, len);
    if (made->result == 0) {
        struct pd_peer *peer = pd_peer_new(made->run, PD_DATAGRAMS);
        if (peer == NULL)
            return wrong(made, "too many sockets");
        peer->fd = script_fd;
        peer->local_port = port_of(&addr);
        peer->remote_port = PORT;
    }
    return true;
}

static bool do_listen(struct made *made)
{
    int64_t backlog;
    int script_fd;
    int fd = fd_of(made, made->arg[0], &script_fd);
    if (!number(made, made->arg[1], &backlog))
        return false;
    made->result = px_listen(made->px, fd, (int)backlog);
    for (uint32_t i = 0; made->result == 0 && i < made->run->peers; i++)
        if (made->run->peer[i].fd == script_fd) {
            made->run->peer[i].kind = PD_LISTENER;
            made->run->current = &made->run->peer[i];
        }
    return true;
}

static bool do_accept(struct made *made)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    int64_t flags = 0;
    int fd = fd_of(made, made->arg[0], NULL);
    if (made->event->call.arg_count == 4 && !number(made, made->arg[3], &flags))
        return false;
    int got = px_accept(made->px, fd, (struct sockaddr *)&addr, &len, (int)flags);
    keep_fd(made, got);
    for (uint32_t i = 0; got >= 0 && i < made->run->peers; i++)
        if (made->run->peer[i].kind == PD_PASSIVE &&
            made->run->peer[i].remote_port == port_of(&addr))
            made->run->peer[i].fd = (int)made->result;
    return true;
}

/* The script's socket begins to talk to @port: packets from now on are its. */
static bool begin_active(struct made *made, int script_fd, uint16_t port)
{
    struct pd_peer *peer = NULL;
    for (uint32_t i = 0; i < made->run->peers; i++)
        if (made->run->peer[i].fd == script_fd && made->run->peer[i].kind != PD_LISTENER)
            peer = &made->run->peer[i];
    if (peer == NULL)
        peer = pd_peer_new(made->run, PD_ACTIVE);
    if (peer == NULL)
        return wrong(made, "too many sockets");
    made->run->current = peer;
    if (peer->kind == PD_PASSIVE)
        return true; /* connected already: the address says nothing */
    if (peer->kind == PD_DATAGRAMS)
        peer->kind = PD_ACTIVE;
    peer->fd = script_fd;
    peer->remote_port = port;
    return true;
}

static bool do_connect(struct made *made)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int script_fd;
    int fd = fd_of(made, made->arg[0], &script_fd);
    if (!address(made, made->arg[1], false, &addr, &len) ||
        !begin_active(made, script_fd, port_of(&addr)))
        return false;
    made->result = px_connect(made->px, fd, (struct sockaddr *)&addr, len);
    return true;
}

static bool do_close(struct made *made)
{
    int script_fd;
    int fd = fd_of(made, made->arg[0], &script_fd);
    made->result = px_close_fd(made->px, fd);
    if (fd >= 0)
        made->run->fd[script_fd] = -1;
    for (uint32_t i = 0; fd >= 0 && i < made->run->peers; i++)
        if (made->run->peer[i].fd == script_fd)
            made->run->peer[i].fd = -1;
    return true;
}

static bool do_shutdown(struct made *made)
{
    int64_t how;
    if (!number(made, made->arg[1], &how))
        return false;
    made->result = px_shutdown(made->px, fd_of(made, made->arg[0], NULL), (int)how);
    return true;
}

/* ---- data -------------------------------------------------------------------------------------
 */

static bool count_of(struct made *made, const struct pd_value *value, size_t *count)
{
    int64_t n;
    *count = 0;
    if (!number(made, value, &n))
        return false;
    if (n < 0 || (uint64_t)n > BUFFER_MAX)
        return wrong(made, "so many bytes are not supported");
    *count = (size_t)n;
    return true;
}

/* read, recv, recvfrom; write, send, sendto: a buffer, a count, perhaps flags and an address. */
static bool transfer(struct made *made, bool is_write)
{
    size_t count;
    int64_t flags = 0;
    struct sockaddr_storage addr;
    socklen_t len = 0;
    uint32_t args = made->event->call.arg_count;
    bool is_null = made->arg[1]->kind == PD_INT && made->arg[1]->number == 0;
    if (!count_of(made, made->arg[2], &count) || (args > 3 && !number(made, made->arg[3], &flags)))
        return false;
    if (args > 4 && is_write && !address(made, made->arg[4], false, &addr, &len))
        return false;
    int script_fd;
    int fd = fd_of(made, made->arg[0], &script_fd);
    if (len > 0 && !begin_active(made, script_fd, port_of(&addr)))
        return false;
    char *buffer = calloc(1, count + 1);
    if (buffer == NULL)
        return wrong(made, "no memory");
    struct iovec iov = {is_null ? NULL : buffer, count};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (len > 0) {
        msg.msg_name = &addr;
        msg.msg_namelen = len;
    }
    made->result = is_write ? px_sendmsg(made->px, fd, &msg, (int)flags)
                            : px_recvmsg(made->px, fd, &msg, (int)flags);
    free(buffer);
    return true;
}

static bool do_write(struct made *made)
{
    return transfer(made, true);
}

static bool do_read(struct made *made)
{
    return transfer(made, false);
}

/* [{..., 10}, {..., 20}] */
static bool pieces(struct made *made, const struct pd_value *list, struct iovec iov[IOVS_MAX],
                   size_t *count)
{
    *count = 0;
    if (list == NULL || list->kind != PD_LIST)
        return wrong(made, "pieces are [{..., 10}, ...]");
    for (const struct pd_value *v = list->first; v != NULL; v = v->next) {
        size_t len;
        if (*count == IOVS_MAX || v->kind != PD_STRUCT || v->first == NULL ||
            !count_of(made, v->first->next, &len))
            return wrong(made, "pieces are [{..., 10}, ...], sixteen at most");
        iov[*count].iov_len = len;
        iov[*count].iov_base = calloc(1, len + 1);
        if (iov[(*count)++].iov_base == NULL)
            return wrong(made, "no memory");
    }
    return true;
}

static bool gather(struct made *made, const struct pd_value *list, struct msghdr *msg,
                   int64_t flags, bool is_write)
{
    struct iovec iov[IOVS_MAX];
    size_t count = 0;
    bool ok = pieces(made, list, iov, &count);
    if (ok) {
        int fd = fd_of(made, made->arg[0], NULL);
        msg->msg_iov = iov;
        msg->msg_iovlen = count;
        made->result = is_write ? px_sendmsg(made->px, fd, msg, (int)flags)
                                : px_recvmsg(made->px, fd, msg, (int)flags);
    }
    for (size_t i = 0; i < count; i++)
        free(iov[i].iov_base);
    return ok;
}

static bool do_writev(struct made *made)
{
    struct msghdr msg = {0};
    return gather(made, made->arg[1], &msg, 0, true);
}

static bool do_readv(struct made *made)
{
    struct msghdr msg = {0};
    return gather(made, made->arg[1], &msg, 0, false);
}

static bool message(struct made *made, bool is_write)
{
    struct msghdr msg = {0};
    int64_t flags;
    int64_t want = 0;
    struct sockaddr_storage addr;
    const struct pd_value *name, *said;
    if (made->arg[1]->kind != PD_STRUCT || !number(made, made->arg[2], &flags))
        return wrong(made, "a message is {msg_iov(1) = [{..., 10}], ...}");
    name = field(made->arg[1], "msg_name");
    if (is_write && name != NULL) {
        if (!address(made, name, false, &addr, &msg.msg_namelen))
            return false;
        msg.msg_name = &addr;
        int script_fd;
        (void)fd_of(made, made->arg[0], &script_fd);
        if ((flags & MSG_FASTOPEN) && !begin_active(made, script_fd, port_of(&addr)))
            return false;
    }
    if (!gather(made, field(made->arg[1], "msg_iov"), &msg, flags, is_write))
        return false;
    said = field(made->arg[1], "msg_flags");
    if (is_write || said == NULL || made->result < 0)
        return true;
    if (!number(made, said, &want))
        return false;
    return msg.msg_flags == want || wrong(made, "msg_flags differ");
}

static bool do_sendmsg(struct made *made)
{
    return message(made, true);
}

static bool do_recvmsg(struct made *made)
{
    return message(made, false);
}

/* ---- options ----------------------------------------------------------------------------------
 */

static bool do_setsockopt(struct made *made)
{
    int64_t level, name, value;
    int fd = fd_of(made, made->arg[0], NULL);
    const struct pd_value *given = made->arg[3];
    if (!number(made, made->arg[1], &level) || !number(made, made->arg[2], &name))
        return false;
    if (given->kind == PD_TEXT) {
        made->result = px_setsockopt(made->px, fd, (int)level, (int)name, given->text,
                                     (socklen_t)strlen(given->text));
    } else if (given->kind == PD_STRUCT && field(given, "onoff") != NULL) {
        int64_t on, seconds;
        if (!number(made, field(given, "onoff"), &on) ||
            !number(made, field(given, "linger"), &seconds))
            return false;
        struct linger linger = {(int)on, (int)seconds};
        made->result = px_setsockopt(made->px, fd, (int)level, (int)name, &linger, sizeof linger);
    } else {
        if (!boxed(made, given, &value))
            return false;
        int plain = (int)value;
        made->result = px_setsockopt(made->px, fd, (int)level, (int)name, &plain, sizeof plain);
    }
    return true;
}

static bool do_getsockopt(struct made *made)
{
    int64_t level, name, want;
    char value[512] = {0};
    socklen_t len = sizeof value - 1;
    const struct pd_value *said = made->arg[3];
    if (!number(made, made->arg[1], &level) || !number(made, made->arg[2], &name))
        return false;
    int fd = fd_of(made, made->arg[0], NULL);
    made->result = px_getsockopt(made->px, fd, (int)level, (int)name, value, &len);
    if (made->result < 0 || said->kind == PD_ELLIPSIS)
        return true;
    if (said->kind == PD_TEXT)
        return strcmp(value, said->text) == 0 || wrong(made, "the text differs");
    int64_t got = 0;
    memcpy(&got, value, len < 8 ? len : 8);
    if (len == 4)
        got = (int32_t)got;
    if (said->kind == PD_STRUCT) {
        struct linger linger;
        memcpy(&linger, value, sizeof linger);
        int64_t on, seconds;
        if (!number(made, field(said, "onoff"), &on) ||
            !number(made, field(said, "linger"), &seconds))
            return false;
        return (linger.l_onoff == on && linger.l_linger == seconds) ||
               wrong(made, "the values differ");
    }
    if (!boxed(made, said, &want))
        return false;
    return got == want || (len == 4 && (uint32_t)got == want) ||
           pd_error(made->run, made->event, "getsockopt(): expected [%lld], got [%lld]",
                    (long long)want, (long long)got);
}

static bool do_fcntl(struct made *made)
{
    int64_t command, arg = 0;
    if (!number(made, made->arg[1], &command) ||
        (made->event->call.arg_count > 2 && !number(made, made->arg[2], &arg)))
        return false;
    made->result = px_fcntl(made->px, fd_of(made, made->arg[0], NULL), (int)command, (long)arg);
    return true;
}

static bool do_ioctl(struct made *made)
{
    int64_t request, want;
    int value = 0;
    if (!number(made, made->arg[1], &request) || !boxed(made, made->arg[2], &want))
        return false;
    if (request == FIONBIO)
        value = (int)want;
    int fd = fd_of(made, made->arg[0], NULL);
    made->result = px_ioctl(made->px, fd, (unsigned long)request, &value);
    if (made->result < 0 || value == want)
        return true;
    return pd_error(made->run, made->event, "ioctl(): expected [%lld], got [%d]", (long long)want,
                    value);
}

/* ---- readiness --------------------------------------------------------------------------------
 */

static bool do_poll(struct made *made)
{
    struct pollfd fds[POLL_MAX] = {0};
    int64_t timeout, events;
    nfds_t count = 0;
    if (made->arg[0]->kind != PD_LIST || !number(made, made->arg[2], &timeout))
        return wrong(made, "poll([{fd = 3, events = POLLIN, revents = POLLIN}], 1, 0)");
    for (const struct pd_value *v = made->arg[0]->first; v != NULL; v = v->next) {
        if (count == POLL_MAX || v->kind != PD_STRUCT || !number(made, field(v, "events"), &events))
            return wrong(made, "each descriptor is {fd = 3, events = POLLIN, revents = POLLIN}");
        fds[count].fd = fd_of(made, field(v, "fd"), NULL);
        fds[count++].events = (short)events;
    }
    made->result = px_poll(made->px, fds, count, (int)timeout);
    count = 0;
    for (const struct pd_value *v = made->arg[0]->first; v != NULL; v = v->next, count++) {
        if (!number(made, field(v, "revents"), &events))
            return false;
        if (made->result >= 0 && fds[count].revents != (short)events)
            return pd_error(made->run, made->event, "poll(): expected revents 0x%llx, got 0x%x",
                            (unsigned long long)events, (unsigned)fds[count].revents);
    }
    return true;
}

static bool do_epoll_create(struct made *made)
{
    keep_fd(made, px_epoll_create(made->px));
    return true;
}

/* {events = EPOLLIN, fd = 4}, or ptr, u32, u64 for the second. */
static bool epoll_event(struct made *made, const struct pd_value *value, struct epoll_event *event)
{
    static const char *const names[] = {"fd", "ptr", "u32", "u64"};
    int64_t events, data = 0;
    if (value == NULL || value->kind != PD_STRUCT || !number(made, field(value, "events"), &events))
        return wrong(made, "an event is {events = EPOLLIN, fd = 4}");
    for (size_t i = 0; i < 4; i++)
        if (field(value, names[i]) != NULL && !number(made, field(value, names[i]), &data))
            return false;
    event->events = (uint32_t)events;
    event->data.u64 = (uint64_t)data;
    return true;
}

static bool do_epoll_ctl(struct made *made)
{
    int64_t op;
    struct epoll_event event;
    if (!number(made, made->arg[1], &op) || !epoll_event(made, made->arg[3], &event))
        return false;
    made->result = px_epoll_ctl(made->px, fd_of(made, made->arg[0], NULL), (int)op,
                                fd_of(made, made->arg[2], NULL), &event);
    return true;
}

static bool do_epoll_wait(struct made *made)
{
    int64_t max, timeout;
    struct epoll_event want, got = {0};
    if (!epoll_event(made, made->arg[1], &want) || !number(made, made->arg[2], &max) ||
        !number(made, made->arg[3], &timeout))
        return false;
    int fd = fd_of(made, made->arg[0], NULL);
    made->result = px_epoll_wait(made->px, fd, &got, max > 1 ? 1 : (int)max, (int)timeout);
    if (made->result <= 0 || (got.events == want.events && got.data.u64 == want.data.u64))
        return true;
    return pd_error(made->run, made->event, "epoll_wait(): expected events 0x%x, got 0x%x",
                    want.events, got.events);
}

/* ---- table ------------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    uint32_t args_min, args_max;
    bool (*run)(struct made *made);
} calls[] = {
    {"socket", 3, 3, do_socket},
    {"bind", 3, 3, do_bind},
    {"listen", 2, 2, do_listen},
    {"accept", 3, 3, do_accept},
    {"accept4", 4, 4, do_accept},
    {"connect", 3, 3, do_connect},
    {"close", 1, 1, do_close},
    {"shutdown", 2, 2, do_shutdown},
    {"read", 3, 3, do_read},
    {"recv", 4, 4, do_read},
    {"recvfrom", 6, 6, do_read},
    {"readv", 3, 3, do_readv},
    {"recvmsg", 3, 3, do_recvmsg},
    {"write", 3, 3, do_write},
    {"send", 4, 4, do_write},
    {"sendto", 6, 6, do_write},
    {"writev", 3, 3, do_writev},
    {"sendmsg", 3, 3, do_sendmsg},
    {"setsockopt", 5, 5, do_setsockopt},
    {"getsockopt", 5, 5, do_getsockopt},
    {"fcntl", 2, 3, do_fcntl},
    {"ioctl", 3, 3, do_ioctl},
    {"poll", 3, 3, do_poll},
    {"epoll_create", 1, 1, do_epoll_create},
    {"epoll_ctl", 4, 4, do_epoll_ctl},
    {"epoll_wait", 4, 4, do_epoll_wait},
};

bool pd_call_make(struct pd_run *run, const struct pd_event *event, int64_t *result)
{
    struct made made = {.run = run, .px = &run->px, .event = event};
    const struct pd_call *call = &event->call;
    size_t i = 0;
    while (i < sizeof calls / sizeof calls[0] && strcmp(calls[i].name, call->name) != 0)
        i++;
    if (i == sizeof calls / sizeof calls[0])
        return pd_error(run, event, "%s() is not supported", call->name);
    if (call->arg_count < calls[i].args_min || call->arg_count > calls[i].args_max)
        return pd_error(run, event, "%s() has %u arguments", call->name, calls[i].args_min);
    uint32_t n = 0;
    for (const struct pd_value *arg = call->args; arg != NULL && n < 8; arg = arg->next)
        made.arg[n++] = arg;
    if (!calls[i].run(&made))
        return false;
    *result = made.result;
    return true;
}

static const char *text_of(int64_t result, char out[96])
{
    if (result >= 0)
        snprintf(out, 96, "%lld", (long long)result);
    else
        snprintf(out, 96, "-1 (%s)", strerrorname_np((int)-result));
    return out;
}

bool pd_call_check(struct pd_run *run, const struct pd_event *event, int64_t result)
{
    const struct pd_call *call = &event->call;
    int64_t error = 0;
    char got[96];
    if (call->any_result)
        return true;
    bool is_equal = result >= 0 ? result == call->result : call->result == -1;
    if (call->error != NULL)
        is_equal =
            is_equal && pd_constant(call->error, strlen(call->error), &error) && result == -error;
    else if (result < 0 && call->result >= 0)
        is_equal = false;
    if (is_equal)
        return true;
    return pd_error(run, event, "%s() was expected to return %lld%s%s, but returned %s", call->name,
                    (long long)call->result, call->error != NULL ? " " : "",
                    call->error != NULL ? call->error : "", text_of(result, got));
}
