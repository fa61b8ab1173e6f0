/* SPDX-License-Identifier: ISC */
/* Streams: flags of send and recv, bytes in bulk, timeouts, interrupted calls, connections that
 * fail, ends that close or reset, urgent data. What the matrix of conform_state.c does not show,
 * because it takes more than one call.
 */
#include "conform.h"

#include <linux/sockios.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/time.h>
#include <time.h>

#define BULK (3 << 20)

static bool begins(int family, const char *name)
{
    return case_begin("stream%s.%s", family_text(family), name);
}

static void put(int fd, const char *text)
{
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text)) {
        give_up("send");
    }
}

static void flags(int family)
{
    char data[64];
    if (!begins(family, "flags")) {
        return;
    }
    struct ends e = connected(family);
    put(e.far, "0123456789");
    await(e.fd, POLLIN);
    say("peek", "%s %.4s", ret(recv(e.fd, data, 4, MSG_PEEK)), data);
    say("peek-again", "%s %.4s", ret(recv(e.fd, data, 4, MSG_PEEK)), data);
    say("trunc", "%s", ret(recv(e.fd, data, 2, MSG_TRUNC)));
    say("then", "%s %.3s", ret(recv(e.fd, data, 3, 0)), data);
    say("waitall-have", "%s", ret(recv(e.fd, data, 5, MSG_WAITALL)));
    say("dontwait", "%s", ret(recv(e.fd, data, 5, MSG_DONTWAIT)));
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 4; i++) {
            put(e.far, "ab");
            usleep(10000);
        }
        _exit(0);
    }
    say("waitall", "%s", ret(recv(e.fd, data, 8, MSG_WAITALL)));
    waitpid(pid, NULL, 0);
    put(e.far, "end");
    shutdown(e.far, SHUT_WR);
    await(e.fd, POLLRDHUP);
    say("waitall-eof", "%s", ret(recv(e.fd, data, 8, MSG_WAITALL)));
    say("eof", "%s", ret(recv(e.fd, data, 8, MSG_WAITALL)));
    say("peek-eof", "%s", ret(recv(e.fd, data, 8, MSG_PEEK)));
    say("more", "%s", ret(send(e.fd, "x", 1, MSG_MORE)));
    say("then-more", "%s", ret(send(e.fd, "yz", 2, 0)));
    say("peer-has", "%ld", drain(e.far, data, 3));
    say("errqueue", "%s", ret(recv(e.fd, data, 8, MSG_ERRQUEUE | MSG_DONTWAIT)));
    say("confirm", "%s", ret(send(e.fd, "x", 1, MSG_CONFIRM)));
    say("dontroute", "%s", ret(send(e.fd, "x", 1, MSG_DONTROUTE)));
    say("zerocopy", "%s", ret(send(e.fd, "x", 1, MSG_ZEROCOPY)));
    say("fastopen", "%s", ret(send(e.fd, "x", 1, MSG_FASTOPEN)));
    case_end();
}

static void peek_offset(int family)
{
    char data[16];
    if (!begins(family, "queue")) {
        return;
    }
    struct ends e = connected(family);
    int n = -1;
    put(e.far, "abcdefgh");
    await(e.fd, POLLIN);
    const char *asked = ret(ioctl(e.fd, FIONREAD, &n));
    say("fionread", "%s %d", asked, n);
    if (recv(e.fd, data, 3, 0) != 3) {
        give_up("recv");
    }
    asked = ret(ioctl(e.fd, FIONREAD, &n));
    say("fionread-after", "%s %d", asked, n);
    put(e.fd, "xyz");
    drain(e.far, data, 3);
    for (int i = 0; i < 200 && ioctl(e.fd, SIOCOUTQ, &n) == 0 && n != 0; i++) {
        usleep(5000);
    }
    say("siocoutq-at-last", "%d", n);
    struct iovec iov[3] = {{data, 1}, {data + 1, 0}, {data + 1, 15}};
    say("readv", "%s", ret(readv(e.fd, iov, 3)));
    int low = 4;
    say("rcvlowat", "%s", ret(setsockopt(e.fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low)));
    put(e.far, "ab");
    say("below", "%s", stays(e.fd, POLLIN) ? "not readable" : "readable");
    put(e.far, "cd");
    say("at", "%s", poll_text(await(e.fd, POLLIN)));
    case_end();
}

/* ---- bulk
 * ------------------------------------------------------------------------------------------ */

static unsigned char byte_at(size_t i)
{
    return (unsigned char)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static void write_all(int fd, size_t len)
{
    static unsigned char data[100000];
    for (size_t done = 0; done < len;) {
        size_t n = len - done < sizeof data ? len - done : sizeof data;
        for (size_t i = 0; i < n; i++) {
            data[i] = byte_at(done + i);
        }
        for (size_t off = 0; off < n;) {
            ssize_t w = send(fd, data + off, n - off, MSG_NOSIGNAL);
            if (w <= 0) {
                _exit(4);
            }
            off += (size_t)w;
        }
        done += n;
    }
}

static const char *read_all(int fd)
{
    static unsigned char data[100000];
    static char text[64];
    size_t have = 0;
    ssize_t n;
    while ((n = recv(fd, data, sizeof data, 0)) > 0) {
        for (ssize_t i = 0; i < n; i++, have++) {
            if (data[i] != byte_at(have)) {
                snprintf(text, sizeof text, "wrong at %zu", have);
                return text;
            }
        }
    }
    snprintf(text, sizeof text, "%zu, %s", have, ret(n));
    return text;
}

static void bulk(int family)
{
    if (!begins(family, "bulk")) {
        return;
    }
    struct ends e = connected(family);
    if (fork() == 0) {
        close(e.fd);
        write_all(e.far, BULK);
        shutdown(e.far, SHUT_WR);
        _exit(0);
    }
    if (fork() == 0) {
        close(e.far);
        write_all(e.fd, BULK);
        shutdown(e.fd, SHUT_WR);
        _exit(0);
    }
    int back = fork();
    if (back == 0) {
        close(e.fd);
        say("out", "%s", read_all(e.far));
        _exit(0);
    }
    close(e.far);
    const char *in = read_all(e.fd);
    waitpid(back, NULL, 0);
    say("in", "%s", in);
    case_end();
}

static void files(int family)
{
    static unsigned char data[200000];
    char path[] = "/tmp/conform.XXXXXX";
    if (!begins(family, "files")) {
        return;
    }
    struct ends e = connected(family);
    int file = mkstemp(path), pipes[2];
    unlink(path);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = byte_at(i);
    }
    if (pipe(pipes) < 0 || write(file, data, sizeof data) != sizeof data) {
        give_up("a file");
    }
    int reader = fork();
    if (reader == 0) {
        close(e.fd);
        say("sendfile-peer", "%s", read_all(e.far));
        _exit(0);
    }
    close(e.far);
    off_t from = 0;
    while (from < (off_t)sizeof data && sendfile(e.fd, file, &from, sizeof data) > 0) {
    }
    say("sendfile", "at %ld", (long)from);
    shutdown(e.fd, SHUT_WR);
    waitpid(reader, NULL, 0);
    struct ends f = connected(family);
    put(f.far, "spliced data");
    await(f.fd, POLLIN);
    say("splice-in", "%s", ret(splice(f.fd, NULL, pipes[1], NULL, 7, 0)));
    say("splice-out", "%s", ret(splice(pipes[0], NULL, f.fd, NULL, 7, 0)));
    char back[16] = "";
    say("splice-peer", "%ld %.7s", drain(f.far, back, 7), back);
    case_end();
}

/* ---- blocked calls
 * ---------------------------------------------------------------------------------- */

static void set_timeout(int fd, int option, int ms)
{
    struct timeval t = {ms / 1000, ms % 1000 * 1000};
    if (setsockopt(fd, SOL_SOCKET, option, &t, sizeof t) < 0) {
        give_up("a timeout");
    }
}

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void timeouts(int family)
{
    static char data[1 << 20];
    if (!begins(family, "timeout")) {
        return;
    }
    struct ends e = connected(family);
    int port, listener = listening(family, 4, &port);
    set_timeout(e.fd, SO_RCVTIMEO, 120);
    set_timeout(e.fd, SO_SNDTIMEO, 120);
    set_timeout(listener, SO_RCVTIMEO, 120);
    long start = now_ms();
    const char *text = ret(recv(e.fd, data, 1, 0));
    long took = now_ms() - start;
    say("recv", "%s %s", text, took >= 110 && took < 2000 ? "in time" : "at another time");
    start = now_ms();
    text = ret(accept(listener, NULL, NULL));
    took = now_ms() - start;
    say("accept", "%s %s", text, took >= 110 && took < 2000 ? "in time" : "at another time");
    ssize_t sent, last = 0;
    while ((sent = send(e.fd, data, sizeof data, MSG_NOSIGNAL)) > 0) {
        last = sent;
    }
    say("send", "%s, before %s", ret(sent), last > 0 ? "some" : "nothing");
    struct place dark = place(family, WHO_DARK, 9);
    int fd = stream(family);
    set_timeout(fd, SO_SNDTIMEO, 120);
    say("connect", "%s", ret(connect(fd, AT(dark))));
    say("connect-again", "%s", ret(connect(fd, AT(dark))));
    case_end();
}

static void interrupted(int family)
{
    char data[8];
    struct epoll_event event = {.events = EPOLLIN};
    if (!begins(family, "interrupted")) {
        return;
    }
    struct ends e = connected(family);
    struct place dark = place(family, WHO_DARK, 9);
    int port, listener = listening(family, 4, &port), fd = stream(family), set = epoll_create1(0);
    on_signal(0);
    tick();
    epoll_ctl(set, EPOLL_CTL_ADD, e.fd, &event);
    struct pollfd p = {e.fd, POLLIN, 0};
    say("recv", "%s", ret(recv(e.fd, data, 1, 0)));
    say("recv-waitall", "%s", ret(recv(e.fd, data, 8, MSG_WAITALL)));
    say("read", "%s", ret(read(e.fd, data, 1)));
    say("accept", "%s", ret(accept(listener, NULL, NULL)));
    say("poll", "%s", ret(poll(&p, 1, -1)));
    say("epoll", "%s", ret(epoll_wait(set, &event, 1, -1)));
    say("connect", "%s", ret(connect(fd, AT(dark))));
    say("connect-again", "%s", ret(connect(fd, AT(dark))));
    say("connect-poll", "%s", poll_text(poll_now(fd, POLLOUT | POLLIN)));
    on_signal(SA_RESTART);
    set_timeout(e.fd, SO_RCVTIMEO, 1000);
    say("recv-restart-timeout", "%s", ret(recv(e.fd, data, 1, 0)));
    set_timeout(listener, SO_RCVTIMEO, 1000);
    say("accept-restart-timeout", "%s", ret(accept(listener, NULL, NULL)));
    say("poll-restart", "%s", ret(poll(&p, 1, -1)));
    case_end();
}

/* With SA_RESTART the call goes on, and ends when somebody helps it after some signals. */
static void restarted(int family)
{
    char data[8];
    if (!begins(family, "restarted")) {
        return;
    }
    struct ends e = connected(family);
    int port, listener = listening(family, 4, &port);
    on_signal(SA_RESTART);
    tick();
    pid_t helper = fork();
    if (helper == 0) {
        usleep(100000);
        put(e.far, "data");
        _exit(0);
    }
    say("recv", "%s", ret(recv(e.fd, data, 8, 0)));
    waitpid(helper, NULL, 0);
    helper = fork();
    if (helper == 0) {
        usleep(100000);
        int far = peer_connect(family, port);
        usleep(300000);
        close(far);
        _exit(0);
    }
    int got = accept(listener, NULL, NULL);
    say("accept", "%s", got >= 0 ? "a descriptor" : ret(got));
    say("signals", "%s", signals_seen > 2 ? "several" : "none");
    case_end();
}

struct helper {
    int fd, how;
    const char *result;
};

static void *blocked_accept(void *arg)
{
    struct helper *h = arg;
    h->result = ret(accept(h->fd, NULL, NULL));
    return NULL;
}

static void *blocked_recv(void *arg)
{
    struct helper *h = arg;
    char data[4];
    h->result = ret(recv(h->fd, data, 4, 0));
    return NULL;
}

/* What shutdown() by another thread does to a blocked call. */
static void woken(int family)
{
    pthread_t thread;
    if (!begins(family, "woken")) {
        return;
    }
    int port;
    struct helper h = {.fd = listening(family, 4, &port)};
    pthread_create(&thread, NULL, blocked_accept, &h);
    usleep(80000);
    say("shutdown-listener", "%s", ret(shutdown(h.fd, SHUT_RDWR)));
    pthread_join(thread, NULL);
    say("accept", "%s", h.result);
    struct ends e = connected(family);
    h.fd = e.fd;
    pthread_create(&thread, NULL, blocked_recv, &h);
    usleep(80000);
    say("shutdown-stream", "%s", ret(shutdown(h.fd, SHUT_RD)));
    pthread_join(thread, NULL);
    say("recv", "%s", h.result);
    case_end();
}

/* ---- connections that come later, or never
 * ---------------------------------------------------------- */

static int pending_error(int fd)
{
    int value = -1;
    socklen_t len = sizeof value;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len);
    return value;
}

static void nonblocking_connect(int family)
{
    if (!begins(family, "nonblocking-connect")) {
        return;
    }
    int port, fd = stream(family);
    nonblocking(fd);
    int id = peer_listen(family, 4, &port);
    struct place to = place(family, WHO_PEER, port);
    say("first", "%s", ret(connect(fd, AT(to))));
    say("poll", "%s", poll_text(await(fd, POLLOUT)));
    say("so-error", "%d", pending_error(fd));
    say("second", "%s", ret(connect(fd, AT(to))));
    say("third", "%s", ret(connect(fd, AT(to))));
    say("names", "%s %s", local_text(fd, 1), remote_text(fd, port));
    int far = peer_accept(id);
    char data[16] = "";
    say("send", "%s", ret(send(fd, "hello", 5, 0)));
    say("peer", "%ld %.5s", drain(far, data, 5), data);
    put(far, "world");
    say("recv", "%ld", drain(fd, data, 5));
    case_end();
}

static void nonblocking_failures(int family)
{
    if (!begins(family, "nonblocking-refused")) {
        return;
    }
    struct place to = place(family, WHO_PEER, peer_closed_port(family, SOCK_STREAM));
    int fd = stream(family);
    nonblocking(fd);
    say("first", "%s", ret(connect(fd, AT(to))));
    say("poll", "%s", poll_text(await(fd, POLLOUT)));
    say("second", "%s", ret(connect(fd, AT(to))));
    say("third", "%s", ret(connect(fd, AT(to))));
    int port, id = peer_listen(family, 4, &port);
    fcntl(fd, F_SETFL, 0);
    to = place(family, WHO_PEER, port);
    pending_error(fd);
    await(fd, POLLOUT);
    say("reuse", "%s", ret(connect(fd, AT(to))));
    say("reuse-names", "%s %s", local_text(fd, 1), remote_text(fd, port));
    (void)id;
    fd = stream(family);
    nonblocking(fd);
    struct place dark = place(family, WHO_DARK, 9);
    say("dark", "%s", ret(connect(fd, AT(dark))));
    say("dark-again", "%s", ret(connect(fd, AT(dark))));
    say("dark-poll", "%s", poll_text(poll_now(fd, POLLIN | POLLOUT)));
    say("dark-names", "%s %s", local_text(fd, 1), remote_text(fd, 9));
    say("dark-send", "%s", ret(send(fd, "x", 1, MSG_NOSIGNAL)));
    say("dark-recv", "%s", ret(recv(fd, &port, 1, 0)));
    say("dark-so-error", "%d", pending_error(fd));
    say("dark-shutdown", "%s", ret(shutdown(fd, SHUT_RDWR)));
    case_end();
}

static void unreachable(int family)
{
    if (!begins(family, "unreachable")) {
        return;
    }
    struct place to = place(family, WHO_NOWAY, 9);
    int fd = stream(family), limit = 700;
    nonblocking(fd);
    say("first", "%s", ret(connect(fd, AT(to))));
    say("poll", "%s", poll_text(await(fd, POLLOUT)));
    say("so-error", "%s", errno_text(pending_error(fd)));
    fd = stream(family);
    to = place(family, WHO_DARK, 9);
    say("user-timeout", "%s",
        ret(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit)));
    say("timed-out", "%s", ret(connect(fd, AT(to))));
    case_end();
}

/* ---- ends
 * ------------------------------------------------------------------------------------------ */

static void closes(int family)
{
    char data[16];
    struct linger hard = {1, 0}, soft = {1, 3};
    if (!begins(family, "close")) {
        return;
    }
    struct ends e = connected(family);
    put(e.far, "unread");
    await(e.fd, POLLIN);
    close(e.fd);
    await(e.far, POLLHUP);
    say("unread", "%s", ret(recv(e.far, data, 8, MSG_DONTWAIT)));
    e = connected(family);
    setsockopt(e.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(e.fd);
    await(e.far, POLLHUP);
    say("linger-0", "%s", ret(recv(e.far, data, 8, MSG_DONTWAIT)));
    e = connected(family);
    setsockopt(e.fd, SOL_SOCKET, SO_LINGER, &soft, sizeof soft);
    put(e.fd, "last words");
    say("linger-3", "%s", ret(close(e.fd)));
    say("linger-3-data", "%ld", drain(e.far, data, 16));
    e = connected(family);
    put(e.fd, "bye");
    close(e.fd);
    say("data", "%ld", drain(e.far, data, 16));
    e = connected(family);
    close(e.fd);
    await(e.far, POLLIN);
    send(e.far, "x", 1, MSG_NOSIGNAL);
    await(e.far, POLLERR);
    say("peer-sends-after", "%s", ret(send(e.far, "x", 1, MSG_NOSIGNAL)));
    e = connected(family);
    int copy = dup(e.fd);
    close(e.fd);
    say("copy-left", "%s", stays(e.far, POLLIN) ? "open" : "closed");
    shutdown(copy, SHUT_WR);
    say("copy-shutdown", "%s", poll_text(await(e.far, POLLRDHUP)));
    case_end();
}

static void half_closed(int family)
{
    char data[16];
    if (!begins(family, "half-closed")) {
        return;
    }
    struct ends e = connected(family);
    shutdown(e.fd, SHUT_WR);
    say("peer", "%ld", drain(e.far, data, 8));
    put(e.far, "answer");
    say("answer", "%ld", drain(e.fd, data, 6));
    close(e.far);
    say("end", "%ld", drain(e.fd, data, 6));
    say("poll", "%s", poll_text(poll_now(e.fd, POLLIN | POLLOUT | POLLRDHUP)));
    e = connected(family);
    put(e.far, "before");
    await(e.fd, POLLIN);
    shutdown(e.fd, SHUT_RD);
    say("shut-rd-data", "%s", ret(recv(e.fd, data, 16, MSG_DONTWAIT)));
    put(e.far, "after");
    usleep(50000);
    say("shut-rd-later-data", "%s", ret(recv(e.fd, data, 16, MSG_DONTWAIT)));
    say("shut-rd-send", "%s", ret(send(e.fd, "x", 1, MSG_NOSIGNAL)));
    e = connected(family);
    shutdown(e.fd, SHUT_RD);
    say("shut-rd-twice", "%s", ret(shutdown(e.fd, SHUT_RD)));
    say("shut-rd-then-wr", "%s", ret(shutdown(e.fd, SHUT_WR)));
    say("shut-wr-twice", "%s", ret(shutdown(e.fd, SHUT_WR)));
    case_end();
}

static void resets(int family)
{
    char data[16];
    if (!begins(family, "reset")) {
        return;
    }
    struct ends e = connected(family);
    peer_reset(e.far);
    say("poll", "%s", poll_text(await(e.fd, POLLERR)));
    say("recv", "%s", ret(recv(e.fd, data, 8, 0)));
    say("recv-again", "%s", ret(recv(e.fd, data, 8, 0)));
    say("send", "%s", ret(send(e.fd, "x", 1, MSG_NOSIGNAL)));
    e = connected(family);
    peer_reset(e.far);
    await(e.fd, POLLERR);
    say("so-error", "%s", errno_text(pending_error(e.fd)));
    say("so-error-recv", "%s", ret(recv(e.fd, data, 8, 0)));
    e = connected(family);
    pid_t pid = fork();
    if (pid == 0) {
        usleep(50000);
        peer_reset(e.far);
        _exit(0);
    }
    close(e.far);
    say("blocked-recv", "%s", ret(recv(e.fd, data, 8, 0)));
    e = accepted(family);
    peer_reset(e.far);
    await(e.fd, POLLERR);
    say("accepted", "%s", ret(recv(e.fd, data, 8, 0)));
    int port, listener = listening(family, 4, &port);
    int far = peer_connect(family, port);
    await(listener, POLLIN);
    peer_reset(far);
    usleep(50000);
    nonblocking(listener);
    int fd = accept(listener, NULL, NULL);
    say("before-accept", "%s", fd >= 0 ? "a descriptor" : ret(fd));
    say("before-accept-recv", "%s", ret(recv(fd, data, 8, MSG_DONTWAIT)));
    case_end();
}

static void full(int family)
{
    static char data[1 << 18];
    if (!begins(family, "full")) {
        return;
    }
    struct ends e = connected(family);
    ssize_t n;
    nonblocking(e.fd);
    do {
        while ((n = send(e.fd, data, sizeof data, MSG_NOSIGNAL)) > 0) {
        }
    } while (!stays(e.fd, POLLOUT));
    say("send", "%s", ret(n));
    say("poll", "%s", poll_text(poll_now(e.fd, POLLIN | POLLOUT)));
    while (!(poll_now(e.fd, POLLOUT) & POLLOUT) && await(e.far, POLLIN)) {
        n = recv(e.far, data, sizeof data, MSG_DONTWAIT);
    }
    say("drained", "%s", poll_text(await(e.fd, POLLOUT)));
    case_end();
}

void cases_stream(int family)
{
    static void (*const all[])(int) = {
        flags,
        peek_offset,
        bulk,
        files,
        timeouts,
        interrupted,
        restarted,
        woken,
        nonblocking_connect,
        nonblocking_failures,
        unreachable,
        closes,
        half_closed,
        resets,
        full,
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        all[i](family);
    }
}

/* ---- urgent data
 * ----------------------------------------------------------------------------------- */

void cases_urgent(int family)
{
    char data[16] = "";
    if (case_begin("urgent%s.receive", family_text(family))) {
        struct ends e = connected(family);
        int mark = -1;
        put(e.far, "ab");
        peer_urgent(e.far, "X");
        put(e.far, "cd");
        say("poll", "%s", poll_text(await(e.fd, POLLPRI)));
        const char *text = ret(recv(e.fd, data, 1, MSG_OOB));
        say("recv-oob", "%s %.1s", text, data);
        say("recv-oob-again", "%s", ret(recv(e.fd, data, 1, MSG_OOB)));
        text = ret(ioctl(e.fd, SIOCATMARK, &mark));
        say("mark", "%s %d", text, mark);
        say("before", "%s %.2s", ret(recv(e.fd, data, 16, 0)), data);
        text = ret(ioctl(e.fd, SIOCATMARK, &mark));
        say("mark-reached", "%s %d", text, mark);
        say("after", "%ld %.2s", drain(e.fd, data, 2), data);
        case_end();
    }
    if (case_begin("urgent%s.inline", family_text(family))) {
        struct ends e = connected(family);
        int one = 1;
        setsockopt(e.fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
        put(e.far, "ab");
        peer_urgent(e.far, "X");
        put(e.far, "cd");
        await(e.fd, POLLPRI);
        say("recv-oob", "%s", ret(recv(e.fd, data, 1, MSG_OOB)));
        say("all", "%ld %.5s", drain(e.fd, data, 5), data);
        case_end();
    }
    if (case_begin("urgent%s.send", family_text(family))) {
        struct ends e = connected(family);
        say("send", "%s", ret(send(e.fd, "abX", 3, MSG_OOB)));
        say("peer-poll", "%s", await(e.far, POLLPRI) & POLLPRI ? "PRI" : "no PRI");
        say("peer-oob", "%s %.1s", ret(recv(e.far, data, 1, MSG_OOB | MSG_DONTWAIT)), data);
        case_end();
    }
}
