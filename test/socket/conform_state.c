/* SPDX-License-Identifier: ISC */
/* The matrix: every call in every state of a TCP and of a UDP socket.
 *
 * A state is a function that makes a socket and brings it there; a call is a function that does one
 * thing to it and says what came. Each pair is a case of its own. Calls that change something are
 * followed by what poll says then, because that is what an event loop would see. No call blocks:
 * where it would, MSG_DONTWAIT or O_NONBLOCK says EAGAIN.
 */
#include "conform.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sendfile.h>

#define ALL_EVENTS (POLLIN | POLLPRI | POLLOUT | POLLRDHUP)

/* ---- states of TCP
 * ------------------------------------------------------------------------------- */

static void fresh(int family, struct ends *e)
{
    e->fd = stream(family);
}

static void bound(int family, struct ends *e)
{
    struct place at = place(family, WHO_SELF, 0);
    e->fd = stream(family);
    if (bind(e->fd, AT(at)) < 0) {
        give_up("bind");
    }
}

static void listens(int family, struct ends *e)
{
    e->fd = listening(family, 4, &e->port);
}

static void listens_ready(int family, struct ends *e)
{
    listens(family, e);
    e->far = peer_connect(family, e->port);
    await(e->fd, POLLIN);
}

static void connecting(int family, struct ends *e)
{
    struct place to = place(family, WHO_DARK, 9);
    e->fd = stream(family);
    nonblocking(e->fd);
    if (connect(e->fd, AT(to)) == 0 || errno != EINPROGRESS) {
        give_up("connect");
    }
}

static void refused(int family, struct ends *e)
{
    struct place to = place(family, WHO_PEER, peer_closed_port(family, SOCK_STREAM));
    e->fd = stream(family);
    if (connect(e->fd, AT(to)) == 0 || errno != ECONNREFUSED) {
        give_up("connect");
    }
}

static void refused_later(int family, struct ends *e)
{
    struct place to = place(family, WHO_PEER, peer_closed_port(family, SOCK_STREAM));
    e->fd = stream(family);
    nonblocking(e->fd);
    if (connect(e->fd, AT(to)) == 0 || errno != EINPROGRESS) {
        give_up("connect");
    }
    await(e->fd, POLLERR);
}

static void is_connected(int family, struct ends *e)
{
    *e = connected(family);
}

static void is_accepted(int family, struct ends *e)
{
    *e = accepted(family);
}

static void has_data(int family, struct ends *e)
{
    *e = connected(family);
    if (send(e->far, "hello", 5, 0) != 5 || !await(e->fd, POLLIN)) {
        give_up("data");
    }
}

static void peer_fin(int family, struct ends *e)
{
    *e = connected(family);
    shutdown(e->far, SHUT_WR);
    await(e->fd, POLLRDHUP);
}

static void peer_fin_data(int family, struct ends *e)
{
    has_data(family, e);
    shutdown(e->far, SHUT_WR);
    await(e->fd, POLLRDHUP);
}

static void shut_wr(int family, struct ends *e)
{
    *e = connected(family);
    shutdown(e->fd, SHUT_WR);
    await(e->far, POLLRDHUP);
}

static void shut_rd(int family, struct ends *e)
{
    *e = connected(family);
    shutdown(e->fd, SHUT_RD);
}

static void shut_both(int family, struct ends *e)
{
    *e = connected(family);
    shutdown(e->fd, SHUT_RDWR);
    await(e->far, POLLRDHUP);
}

static void both_fin(int family, struct ends *e)
{
    peer_fin(family, e);
    shutdown(e->fd, SHUT_WR);
    await(e->far, POLLHUP);
}

static void peer_closed(int family, struct ends *e)
{
    *e = connected(family);
    close(e->far);
    e->far = -1;
    await(e->fd, POLLRDHUP);
}

static void was_reset(int family, struct ends *e)
{
    *e = connected(family);
    peer_reset(e->far);
    e->far = -1;
    await(e->fd, POLLHUP);
}

static void data_then_reset(int family, struct ends *e)
{
    has_data(family, e);
    peer_reset(e->far);
    e->far = -1;
    await(e->fd, POLLHUP);
}

static void disconnected(int family, struct ends *e)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    *e = connected(family);
    if (connect(e->fd, &none, sizeof none) < 0) {
        give_up("connect(AF_UNSPEC)");
    }
}

/* ---- states of UDP
 * ------------------------------------------------------------------------------- */

static void u_fresh(int family, struct ends *e)
{
    e->fd = dgram(family);
}

static void u_bound(int family, struct ends *e)
{
    struct place at = place(family, WHO_ANY, 0);
    socklen_t len = sizeof at.addr;
    e->fd = dgram(family);
    if (bind(e->fd, AT(at)) < 0 || getsockname(e->fd, (struct sockaddr *)&at.addr, &len) < 0) {
        give_up("bind");
    }
    e->port = port_of(&at.addr);
}

static void u_bound_data(int family, struct ends *e)
{
    int port;
    u_bound(family, e);
    e->id = peer_udp(family, &port);
    if (peer_send(e->id, WHO_SELF, family, e->port, 5) != 5 || !await(e->fd, POLLIN)) {
        give_up("data");
    }
}

static void u_connected(int family, struct ends *e)
{
    e->fd = dgram(family);
    e->id = peer_udp(family, &e->port);
    struct place to = place(family, WHO_PEER, e->port);
    if (connect(e->fd, AT(to)) < 0) {
        give_up("connect");
    }
}

static void u_connected_data(int family, struct ends *e)
{
    struct sockaddr_storage from;
    u_connected(family, e);
    if (send(e->fd, "x", 1, 0) != 1 || peer_receive(e->id, &from, NULL, NULL) != 1 ||
        peer_send(e->id, WHO_SELF, family, port_of(&from), 5) != 5 || !await(e->fd, POLLIN)) {
        give_up("data");
    }
}

static void u_disconnected(int family, struct ends *e)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    u_connected(family, e);
    if (connect(e->fd, &none, sizeof none) < 0) {
        give_up("connect(AF_UNSPEC)");
    }
}

static void u_refused(int family, struct ends *e)
{
    struct place to = place(family, WHO_PEER, peer_closed_port(family, SOCK_DGRAM));
    e->fd = dgram(family);
    if (connect(e->fd, AT(to)) < 0 || send(e->fd, "x", 1, 0) != 1) {
        give_up("connect");
    }
    stays(e->fd, POLLERR);
}

static void u_shut_wr(int family, struct ends *e)
{
    u_connected(family, e);
    shutdown(e->fd, SHUT_WR);
}

static void u_shut_rd(int family, struct ends *e)
{
    u_connected(family, e);
    shutdown(e->fd, SHUT_RD);
}

static void u_shut_both(int family, struct ends *e)
{
    u_connected(family, e);
    shutdown(e->fd, SHUT_RDWR);
}

/* ---- calls
 * --------------------------------------------------------------------------------------- */

struct at {
    int family, type;
    struct ends e;
    const char *after; /* set by calls that change the socket: what to add */
};

static void say_and_poll(struct at *a, long r)
{
    const char *text = ret(r);
    say(NULL, "%s, then %s", text, poll_text(poll_now(a->e.fd, ALL_EVENTS)));
}

static void c_bind(struct at *a)
{
    struct place p = place(a->family, WHO_ANY, 0);
    say(NULL, "%s", ret(bind(a->e.fd, AT(p))));
}

static void c_bind_short(struct at *a)
{
    struct place p = place(a->family, WHO_ANY, 0);
    say(NULL, "%s", ret(bind(a->e.fd, (struct sockaddr *)&p.addr, 8)));
}

static void c_listen(struct at *a)
{
    int r = listen(a->e.fd, 3);
    const char *text = ret(r);
    int is = -1;
    socklen_t len = sizeof is;
    getsockopt(a->e.fd, SOL_SOCKET, SO_ACCEPTCONN, &is, &len);
    say(NULL, "%s, listens %d", text, is);
}

static void c_accept(struct at *a)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof addr;
    nonblocking(a->e.fd);
    int fd = accept4(a->e.fd, (struct sockaddr *)&addr, &len, 0);
    say(NULL, "%s", fd < 0 ? ret(fd) : place_text(&addr, len, 0));
}

static void c_connect(struct at *a)
{
    int port;
    peer_listen(a->family, 4, &port);
    struct place to = place(a->family, WHO_PEER, port);
    nonblocking(a->e.fd);
    say(NULL, "%s", ret(connect(a->e.fd, AT(to))));
}

static void c_connect_short(struct at *a)
{
    struct place to = place(a->family, WHO_PEER, 9);
    nonblocking(a->e.fd);
    say(NULL, "%s", ret(connect(a->e.fd, (struct sockaddr *)&to.addr, 8)));
}

static void c_disconnect(struct at *a)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    int r = connect(a->e.fd, &none, sizeof none);
    const char *text = ret(r);
    say(NULL, "%s, local %s, remote %s", text, local_text(a->e.fd, a->e.port),
        remote_text(a->e.fd, a->e.port));
}

static void c_getsockname(struct at *a)
{
    say(NULL, "%s", local_text(a->e.fd, a->e.port));
}

static void c_getpeername(struct at *a)
{
    say(NULL, "%s", remote_text(a->e.fd, a->e.port));
}

static void c_send(struct at *a)
{
    say_and_poll(a, send(a->e.fd, "abcde", 5, MSG_DONTWAIT | MSG_NOSIGNAL));
}

static void c_send_twice(struct at *a)
{
    const char *first = ret(send(a->e.fd, "abcde", 5, MSG_DONTWAIT | MSG_NOSIGNAL));
    say(NULL, "%s, then %s", first, ret(send(a->e.fd, "abcde", 5, MSG_DONTWAIT | MSG_NOSIGNAL)));
}

static void c_send_nothing(struct at *a)
{
    say(NULL, "%s", ret(send(a->e.fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL)));
}

static void c_sendto(struct at *a)
{
    int port = a->e.port;
    if (a->type == SOCK_DGRAM) {
        peer_udp(a->family, &port);
    }
    struct place to = place(a->family, WHO_PEER, port ? port : 9);
    say(NULL, "%s", ret(sendto(a->e.fd, "abcde", 5, MSG_DONTWAIT | MSG_NOSIGNAL, AT(to))));
}

static void c_sendmsg(struct at *a)
{
    struct iovec iov[2] = {{(void *)(uintptr_t) "abc", 3}, {(void *)(uintptr_t) "defg", 4}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    say(NULL, "%s", ret(sendmsg(a->e.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL)));
}

static void c_write(struct at *a)
{
    on_signal(0);
    struct sigaction act;
    sigaction(SIGUSR1, NULL, &act);
    sigaction(SIGPIPE, &act, NULL);
    nonblocking(a->e.fd);
    const char *text = ret(write(a->e.fd, "abcde", 5));
    say(NULL, "%s, SIGPIPE %d", text, (int)signals_seen);
}

static void c_writev(struct at *a)
{
    struct iovec iov[2] = {{(void *)(uintptr_t) "abc", 3}, {(void *)(uintptr_t) "defg", 4}};
    signal(SIGPIPE, SIG_IGN);
    nonblocking(a->e.fd);
    say(NULL, "%s", ret(writev(a->e.fd, iov, 2)));
}

static void c_recv(struct at *a)
{
    char data[16];
    say_and_poll(a, recv(a->e.fd, data, sizeof data, MSG_DONTWAIT));
}

static void c_recv_twice(struct at *a)
{
    char data[16];
    const char *first = ret(recv(a->e.fd, data, sizeof data, MSG_DONTWAIT));
    say(NULL, "%s, then %s", first, ret(recv(a->e.fd, data, sizeof data, MSG_DONTWAIT)));
}

static void c_recv_nothing(struct at *a)
{
    char data[1];
    say(NULL, "%s", ret(recv(a->e.fd, data, 0, MSG_DONTWAIT)));
}

static void c_peek(struct at *a)
{
    char data[16];
    const char *first = ret(recv(a->e.fd, data, 3, MSG_DONTWAIT | MSG_PEEK));
    say(NULL, "%s, then %s", first, ret(recv(a->e.fd, data, sizeof data, MSG_DONTWAIT)));
}

static void c_recvfrom(struct at *a)
{
    char data[16];
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof addr;
    long r = recvfrom(a->e.fd, data, sizeof data, MSG_DONTWAIT, (struct sockaddr *)&addr, &len);
    const char *text = ret(r);
    say(NULL, "%s, %s", text, r < 0 ? "-" : place_text(&addr, len, a->e.port));
}

static void c_recvmsg(struct at *a)
{
    char data[3];
    struct sockaddr_storage addr = {0};
    struct iovec iov = {data, sizeof data};
    struct msghdr msg = {
        .msg_name = &addr, .msg_namelen = sizeof addr, .msg_iov = &iov, .msg_iovlen = 1};
    long r = recvmsg(a->e.fd, &msg, MSG_DONTWAIT);
    const char *text = ret(r);
    say(NULL, "%s, flags %#x, %s", text, r < 0 ? 0 : msg.msg_flags,
        r < 0 ? "-" : place_text(&addr, msg.msg_namelen, a->e.port));
}

static void c_recv_urgent(struct at *a)
{
    char data[16];
    say(NULL, "%s", ret(recv(a->e.fd, data, sizeof data, MSG_DONTWAIT | MSG_OOB)));
}

static void c_read(struct at *a)
{
    char data[16];
    nonblocking(a->e.fd);
    say(NULL, "%s", ret(read(a->e.fd, data, sizeof data)));
}

static void c_readv(struct at *a)
{
    char data[16];
    struct iovec iov[2] = {{data, 2}, {data + 2, 14}};
    nonblocking(a->e.fd);
    say(NULL, "%s", ret(readv(a->e.fd, iov, 2)));
}

static void c_sendmmsg(struct at *a)
{
    struct iovec iov = {(void *)(uintptr_t) "abc", 3};
    struct mmsghdr msg[2] = {{.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}},
                             {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}}};
    const char *text = ret(sendmmsg(a->e.fd, msg, 2, MSG_DONTWAIT | MSG_NOSIGNAL));
    say(NULL, "%s, %u %u", text, msg[0].msg_len, msg[1].msg_len);
}

static void c_recvmmsg(struct at *a)
{
    char data[16];
    struct iovec iov = {data, sizeof data};
    struct mmsghdr msg[2] = {{.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}},
                             {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}}};
    const char *text = ret(recvmmsg(a->e.fd, msg, 2, MSG_DONTWAIT, NULL));
    say(NULL, "%s, %u", text, msg[0].msg_len);
}

static void c_poll(struct at *a)
{
    say(NULL, "%s", poll_text(poll_now(a->e.fd, ALL_EVENTS)));
}

static void c_epoll(struct at *a)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET};
    int set = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(set, EPOLL_CTL_ADD, a->e.fd, &event);
    int n = epoll_wait(set, &event, 1, 0);
    const char *first = n == 1 ? poll_text((int)event.events) : ret(n);
    say(NULL, "%s, then %s", first, ret(epoll_wait(set, &event, 1, 0)));
}

static void c_select(struct at *a)
{
    fd_set r, w, x;
    struct timeval now = {0, 0};
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_ZERO(&x);
    FD_SET(a->e.fd, &r);
    FD_SET(a->e.fd, &w);
    FD_SET(a->e.fd, &x);
    int n = select(a->e.fd + 1, &r, &w, &x, &now);
    say(NULL, "%d:%s%s%s", n, FD_ISSET(a->e.fd, &r) ? " read" : "",
        FD_ISSET(a->e.fd, &w) ? " write" : "", FD_ISSET(a->e.fd, &x) ? " except" : "");
}

static int option_of(int fd, int name, int *value)
{
    socklen_t len = sizeof *value;
    *value = -1;
    return getsockopt(fd, SOL_SOCKET, name, value, &len);
}

static void c_error(struct at *a)
{
    int first, second;
    int r = option_of(a->e.fd, SO_ERROR, &first);
    option_of(a->e.fd, SO_ERROR, &second);
    say(NULL, "%s: %s, then %s", ret(r), first ? errno_text(first) : "0",
        second ? errno_text(second) : "0");
}

static void c_kind(struct at *a)
{
    int type, domain, protocol, listens_now;
    option_of(a->e.fd, SO_TYPE, &type);
    option_of(a->e.fd, SO_DOMAIN, &domain);
    option_of(a->e.fd, SO_PROTOCOL, &protocol);
    option_of(a->e.fd, SO_ACCEPTCONN, &listens_now);
    say(NULL, "type %d domain %d protocol %d listens %d", type, domain, protocol, listens_now);
}

static void c_tcp_info(struct at *a)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    int r = getsockopt(a->e.fd, IPPROTO_TCP, TCP_INFO, &info, &len);
    say(NULL, "%s, state %d, %s", ret(r), info.tcpi_state, len >= 104 ? "enough" : "short");
}

static void c_fionread(struct at *a)
{
    int n = -1;
    const char *text = ret(ioctl(a->e.fd, FIONREAD, &n));
    say(NULL, "%s, %d", text, n);
}

static void c_outq(struct at *a)
{
    int n = -1;
    const char *text = ret(ioctl(a->e.fd, SIOCOUTQ, &n));
    say(NULL, "%s, %d", text, n);
}

static void c_atmark(struct at *a)
{
    int n = -1;
    const char *text = ret(ioctl(a->e.fd, SIOCATMARK, &n));
    say(NULL, "%s, %d", text, n);
}

static void c_shut_rd(struct at *a)
{
    say_and_poll(a, shutdown(a->e.fd, SHUT_RD));
}

static void c_shut_wr(struct at *a)
{
    say_and_poll(a, shutdown(a->e.fd, SHUT_WR));
}

static void c_shut_both(struct at *a)
{
    say_and_poll(a, shutdown(a->e.fd, SHUT_RDWR));
}

static void c_shut_bad(struct at *a)
{
    say(NULL, "%s", ret(shutdown(a->e.fd, 7)));
}

static void c_nodelay(struct at *a)
{
    int value = 1;
    socklen_t len = sizeof value;
    const char *set = ret(setsockopt(a->e.fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value));
    value = -1;
    const char *get = ret(getsockopt(a->e.fd, IPPROTO_TCP, TCP_NODELAY, &value, &len));
    say(NULL, "%s, %s, %d", set, get, value);
}

static void c_sendfile(struct at *a)
{
    char path[] = "/tmp/conform.XXXXXX";
    int file = mkstemp(path);
    unlink(path);
    signal(SIGPIPE, SIG_IGN);
    nonblocking(a->e.fd);
    if (file < 0 || write(file, "content", 7) != 7) {
        give_up("a file");
    }
    off_t from = 2;
    const char *text = ret(sendfile(a->e.fd, file, &from, 5));
    say(NULL, "%s, at %d", text, (int)from);
}

static void c_splice(struct at *a)
{
    int ends[2];
    nonblocking(a->e.fd);
    if (pipe(ends) < 0) {
        give_up("a pipe");
    }
    const char *text = ret(splice(a->e.fd, NULL, ends[1], NULL, 16, SPLICE_F_NONBLOCK));
    say(NULL, "%s", text);
}

/* What the peer sees when the socket is closed. */
static void c_close(struct at *a)
{
    char data[16];
    const char *text = ret(close(a->e.fd));
    if (a->type == SOCK_DGRAM || a->e.far < 0) {
        say(NULL, "%s", text);
        return;
    }
    await(a->e.far, POLLRDHUP);
    say(NULL, "%s, peer reads %s", text, ret(recv(a->e.far, data, sizeof data, MSG_DONTWAIT)));
}

/* A copy keeps it open: the peer sees nothing. */
static void c_close_copy(struct at *a)
{
    int copy = dup(a->e.fd);
    close(a->e.fd);
    say(NULL, "%s, %s", poll_text(poll_now(copy, ALL_EVENTS)), local_text(copy, a->e.port));
}

static const struct {
    const char *name;
    void (*call)(struct at *);
} calls[] = {
    {"bind", c_bind},
    {"bind-short", c_bind_short},
    {"listen", c_listen},
    {"accept", c_accept},
    {"connect", c_connect},
    {"connect-short", c_connect_short},
    {"disconnect", c_disconnect},
    {"getsockname", c_getsockname},
    {"getpeername", c_getpeername},
    {"send", c_send},
    {"send-twice", c_send_twice},
    {"send-nothing", c_send_nothing},
    {"sendto", c_sendto},
    {"sendmsg", c_sendmsg},
    {"write", c_write},
    {"writev", c_writev},
    {"recv", c_recv},
    {"recv-twice", c_recv_twice},
    {"recv-nothing", c_recv_nothing},
    {"peek", c_peek},
    {"recvfrom", c_recvfrom},
    {"recvmsg", c_recvmsg},
    {"recv-urgent", c_recv_urgent},
    {"read", c_read},
    {"readv", c_readv},
    {"sendmmsg", c_sendmmsg},
    {"recvmmsg", c_recvmmsg},
    {"poll", c_poll},
    {"epoll", c_epoll},
    {"select", c_select},
    {"so-error", c_error},
    {"kind", c_kind},
    {"tcp-info", c_tcp_info},
    {"fionread", c_fionread},
    {"siocoutq", c_outq},
    {"siocatmark", c_atmark},
    {"shut-rd", c_shut_rd},
    {"shut-wr", c_shut_wr},
    {"shut-both", c_shut_both},
    {"shut-bad", c_shut_bad},
    {"nodelay", c_nodelay},
    {"sendfile", c_sendfile},
    {"splice", c_splice},
    {"close", c_close},
    {"close-copy", c_close_copy},
};

static const struct {
    const char *name;
    int type;
    void (*make)(int family, struct ends *e);
} states[] = {
    {"fresh", SOCK_STREAM, fresh},
    {"bound", SOCK_STREAM, bound},
    {"listening", SOCK_STREAM, listens},
    {"listening-ready", SOCK_STREAM, listens_ready},
    {"connecting", SOCK_STREAM, connecting},
    {"refused", SOCK_STREAM, refused},
    {"refused-later", SOCK_STREAM, refused_later},
    {"connected", SOCK_STREAM, is_connected},
    {"accepted", SOCK_STREAM, is_accepted},
    {"data", SOCK_STREAM, has_data},
    {"peer-fin", SOCK_STREAM, peer_fin},
    {"peer-fin-data", SOCK_STREAM, peer_fin_data},
    {"shut-wr", SOCK_STREAM, shut_wr},
    {"shut-rd", SOCK_STREAM, shut_rd},
    {"shut-both", SOCK_STREAM, shut_both},
    {"both-fin", SOCK_STREAM, both_fin},
    {"peer-closed", SOCK_STREAM, peer_closed},
    {"reset", SOCK_STREAM, was_reset},
    {"data-reset", SOCK_STREAM, data_then_reset},
    {"disconnected", SOCK_STREAM, disconnected},
    {"fresh", SOCK_DGRAM, u_fresh},
    {"bound", SOCK_DGRAM, u_bound},
    {"bound-data", SOCK_DGRAM, u_bound_data},
    {"connected", SOCK_DGRAM, u_connected},
    {"connected-data", SOCK_DGRAM, u_connected_data},
    {"disconnected", SOCK_DGRAM, u_disconnected},
    {"refused", SOCK_DGRAM, u_refused},
    {"shut-wr", SOCK_DGRAM, u_shut_wr},
    {"shut-rd", SOCK_DGRAM, u_shut_rd},
    {"shut-both", SOCK_DGRAM, u_shut_both},
};

void cases_state(int family)
{
    for (size_t s = 0; s < sizeof states / sizeof *states; s++) {
        for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
            const char *kind = states[s].type == SOCK_STREAM ? "tcp" : "udp";
            if (case_begin("%s%s.%s.%s", kind, family_text(family), states[s].name,
                           calls[c].name)) {
                struct at at = {.family = family, .type = states[s].type, .e = {-1, -1, -1, 0}};
                states[s].make(family, &at.e);
                calls[c].call(&at);
                case_end();
            }
        }
    }
}
