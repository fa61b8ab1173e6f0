/* SPDX-License-Identifier: ISC */
/* Readiness: what poll, select and epoll say while things happen, level and edge triggered,
 * one-shot, nested, and with copies of a descriptor. What they say in each state is in
 * conform_state.c.
 */
#include "conform.h"

#include <sys/epoll.h>
#include <sys/select.h>

#define WATCHED (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI)

static int watch(int fd, unsigned events)
{
    int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0) {
        give_up("epoll");
    }
    return set;
}

static const char *next_event(int set, int ms)
{
    struct epoll_event event;
    int n = epoll_wait(set, &event, 1, ms);
    return n == 1 ? poll_text((int)event.events) : n == 0 ? "none" : ret(n);
}

static void edges(int family)
{
    char data[16];
    if (!case_begin("ready%s.edge", family_text(family))) {
        return;
    }
    struct ends e = connected(family);
    int set = watch(e.fd, EPOLLIN | EPOLLRDHUP | EPOLLET);
    say("idle", "%s", next_event(set, 0));
    send(e.far, "ab", 2, 0);
    say("data", "%s", next_event(set, 3000));
    say("unread", "%s", next_event(set, 60));
    send(e.far, "cd", 2, 0);
    say("more", "%s", next_event(set, 3000));
    drain(e.fd, data, 4);
    say("drained", "%s", next_event(set, 60));
    send(e.far, "ef", 2, 0);
    say("again", "%s", next_event(set, 3000));
    drain(e.fd, data, 2);
    shutdown(e.far, SHUT_WR);
    say("fin", "%s", next_event(set, 3000));
    say("fin-again", "%s", next_event(set, 60));
    case_end();
}

static void levels(int family)
{
    char data[16];
    if (!case_begin("ready%s.level", family_text(family))) {
        return;
    }
    struct ends e = connected(family);
    int set = watch(e.fd, EPOLLIN | EPOLLRDHUP);
    struct epoll_event event = {.events = WATCHED | EPOLLONESHOT, .data.fd = e.fd};
    say("idle", "%s", next_event(set, 0));
    send(e.far, "ab", 2, 0);
    say("data", "%s", next_event(set, 3000));
    say("unread", "%s", next_event(set, 0));
    drain(e.fd, data, 2);
    say("drained", "%s", next_event(set, 0));
    say("oneshot", "%s", ret(epoll_ctl(set, EPOLL_CTL_MOD, e.fd, &event)));
    say("first", "%s", next_event(set, 0));
    say("second", "%s", next_event(set, 0));
    say("rearm", "%s", ret(epoll_ctl(set, EPOLL_CTL_MOD, e.fd, &event)));
    say("third", "%s", next_event(set, 0));
    say("add-again", "%s", ret(epoll_ctl(set, EPOLL_CTL_ADD, e.fd, &event)));
    say("delete", "%s", ret(epoll_ctl(set, EPOLL_CTL_DEL, e.fd, NULL)));
    send(e.far, "ab", 2, 0);
    await(e.fd, POLLIN);
    say("deleted", "%s", next_event(set, 0));
    int copy = dup(e.fd), outer;
    event.events = EPOLLIN;
    epoll_ctl(set, EPOLL_CTL_ADD, copy, &event);
    outer = watch(set, EPOLLIN);
    say("nested", "%s", next_event(outer, 3000));
    close(copy);
    say("copy-closed", "%s", next_event(set, 0));
    case_end();
}

/* Joined while nothing is there yet: most event loops do this. */
static void early(int family)
{
    if (!case_begin("ready%s.early", family_text(family))) {
        return;
    }
    int port, fd = stream(family);
    nonblocking(fd);
    int set = watch(fd, WATCHED);
    say("fresh", "%s", next_event(set, 0));
    int id = peer_listen(family, 4, &port);
    struct place to = place(family, WHO_PEER, port);
    say("connect", "%s", ret(connect(fd, AT(to))));
    await(fd, POLLOUT);
    say("connected", "%s", next_event(set, 3000));
    int far = peer_accept(id);
    send(far, "x", 1, 0);
    await(fd, POLLIN);
    say("data", "%s", next_event(set, 3000));
    peer_reset(far);
    await(fd, POLLERR);
    say("reset", "%s", next_event(set, 3000));
    fd = stream(family);
    set = watch(fd, EPOLLOUT | EPOLLET);
    nonblocking(fd);
    to = place(family, WHO_PEER, peer_closed_port(family, SOCK_STREAM));
    next_event(set, 0);
    say("refused-connect", "%s", ret(connect(fd, AT(to))));
    await(fd, POLLERR);
    say("refused", "%s", next_event(set, 3000));
    case_end();
}

static void connecting(int family)
{
    if (!case_begin("ready%s.connecting", family_text(family))) {
        return;
    }
    int fd = stream(family);
    struct place dark = place(family, WHO_DARK, 9);
    nonblocking(fd);
    int set = watch(fd, WATCHED | EPOLLET);
    next_event(set, 0);
    say("connect", "%s", ret(connect(fd, AT(dark))));
    int inner = watch(fd, WATCHED);
    say("joined-after", "%s", next_event(inner, 0));
    say("poll", "%s", poll_text(poll_now(fd, POLLIN | POLLOUT | POLLRDHUP | POLLPRI)));
    case_end();
}

static void listener(int family)
{
    if (!case_begin("ready%s.listener", family_text(family))) {
        return;
    }
    int port, fd = listening(family, 8, &port);
    int level = watch(fd, EPOLLIN), edge = watch(fd, EPOLLIN | EPOLLET);
    say("idle", "%s %s", next_event(level, 0), next_event(edge, 0));
    peer_connect(family, port);
    say("one", "%s %s", next_event(level, 3000), next_event(edge, 3000));
    peer_connect(family, port);
    say("two", "%s %s", next_event(level, 3000), next_event(edge, 3000));
    nonblocking(fd);
    close(accept(fd, NULL, NULL));
    say("one-left", "%s %s", next_event(level, 0), next_event(edge, 60));
    close(accept(fd, NULL, NULL));
    say("none-left", "%s", next_event(level, 0));
    say("accept", "%s", ret(accept(fd, NULL, NULL)));
    case_end();
}

static void selects(int family)
{
    if (!case_begin("ready%s.select", family_text(family))) {
        return;
    }
    struct ends e = connected(family);
    fd_set r;
    struct timeval wait = {0, 60000};
    FD_ZERO(&r);
    FD_SET(e.fd, &r);
    say("idle", "%d", select(e.fd + 1, &r, NULL, NULL, &wait));
    send(e.far, "x", 1, 0);
    wait.tv_sec = 3;
    FD_SET(e.fd, &r);
    say("data", "%d", select(e.fd + 1, &r, NULL, NULL, &wait));
    struct pollfd many[3] = {{e.fd, POLLIN, 0}, {-1, POLLIN, 0}, {e.far, POLLIN, 0}};
    await(e.fd, POLLIN);
    int n = poll(many, 3, 0);
    say("poll-three", "%d %s %s", n, poll_text(many[0].revents), poll_text(many[2].revents));
    many[1].fd = 900;
    n = poll(many, 3, 0);
    say("poll-closed", "%d %s", n, poll_text(many[1].revents));
    case_end();
}

void cases_ready(int family)
{
    edges(family);
    levels(family);
    early(family);
    connecting(family);
    listener(family);
    selects(family);
}
