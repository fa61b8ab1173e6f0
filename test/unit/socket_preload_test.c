/* SPDX-License-Identifier: ISC */
/* libmirari-socket.so against a fake server.
 *
 * The library's objects are linked into this program, so its functions stand before those of the C
 * library, as preloaded ones do. The program starts the fake server, then itself again with
 * MIRARI_SOCKET set, which is when the library wakes up.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari-socket-preload/preload.h"
#include "test/harness/fakesock.h"
#include "test/harness/tap.h"

static const char *self;

static struct sockaddr_in at(const char *ip, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}

static int dial(int fd, const char *ip, int port)
{
    struct sockaddr_in a = at(ip, port);
    return connect(fd, (struct sockaddr *)&a, sizeof(a));
}

static int bind_to(int fd, const char *ip, int port)
{
    struct sockaddr_in a = at(ip, port);
    return bind(fd, (struct sockaddr *)&a, sizeof(a));
}

static int port_of(int fd)
{
    struct sockaddr_in a = {0};
    socklen_t len = sizeof(a);
    check_int(getsockname(fd, (struct sockaddr *)&a, &len), ==, 0);
    return ntohs(a.sin_port);
}

static int listen_any(int *port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    check_int(bind_to(fd, "0.0.0.0", 0), ==, 0);
    check_int(listen(fd, 8), ==, 0);
    *port = port_of(fd);
    return fd;
}

/* A connection: [0] the client's, [1] the accepted one. */
static void connected(int pair[2])
{
    int port, listener = listen_any(&port);
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    check_int(dial(pair[0], "10.9.0.1", port), ==, 0);
    pair[1] = accept(listener, NULL, NULL);
    check_int(pair[1], >=, 0);
    close(listener);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    return getsockopt(fd, level, name, &value, &len) < 0 ? -errno : value;
}

static bool is_writable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, ms) == 1 && (p.revents & POLLOUT);
}

static void echoes(int from, int to, const char *text)
{
    char got[64] = "";
    check_int(write(from, text, strlen(text)), ==, (long)strlen(text));
    check_int(recv(to, got, strlen(text), MSG_WAITALL), ==, (long)strlen(text));
    check_str(got, text);
}

/* ---- streams
 * --------------------------------------------------------------------------------------- */

static void test_fresh(void)
{
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    char c;
    tap_case("a new socket looks like one of the host");
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fd >= 0);
    check_int(option(fd, SOL_SOCKET, SO_TYPE), ==, SOCK_STREAM);
    check_int(option(fd, SOL_SOCKET, SO_DOMAIN), ==, AF_INET);
    check_int(option(fd, SOL_SOCKET, SO_PROTOCOL), ==, IPPROTO_TCP);
    check_int(option(fd, SOL_SOCKET, SO_ERROR), ==, 0);
    check_int(option(fd, SOL_SOCKET, SO_ACCEPTCONN), ==, 0);
    check_int(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
    check_int(getsockname(fd, (struct sockaddr *)&a, &len), ==, 0);
    check_int(a.sin_family, ==, AF_INET);
    check_int(a.sin_port, ==, 0);
    check_int(getpeername(fd, (struct sockaddr *)&a, &len), ==, -1);
    check_int(errno, ==, ENOTCONN);
    check_int(recv(fd, &c, 1, 0), ==, -1);
    check_int(errno, ==, ENOTCONN);
    check_int(read(fd, &c, 1), ==, -1);
    check_int(errno, ==, ENOTCONN);
    check_int(send(fd, "x", 1, MSG_NOSIGNAL), ==, -1);
    check_int(errno, ==, EPIPE);
    check_int(sendmsg(fd, NULL, 0), ==, -1);
    check_int(errno, ==, EFAULT);
    check_int(shutdown(fd, SHUT_WR), ==, -1);
    check_int(errno, ==, ENOTCONN);
    check_int(accept(fd, NULL, NULL), ==, -1);
    check_int(errno, ==, EINVAL);
    check_int(close(fd), ==, 0);
    check_int(close(fd), ==, -1);
    check_int(errno, ==, EBADF);
    fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    check_int(fcntl(fd, F_GETFL) & O_NONBLOCK, ==, O_NONBLOCK);
    check_int(recv(fd, &c, 1, 0), ==, -1);
    check_int(errno, ==, EAGAIN);
    check_int(send(fd, "x", 1, 0), ==, -1);
    check_int(errno, ==, EDESTADDRREQ);
    check_int(sendto(fd, "x", 1, 0, (void *)8, 16), ==, -1);
    check_int(errno, ==, EFAULT);
    close(fd);
    check_int(socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP), ==, -1);
    check_int(errno, ==, EPROTONOSUPPORT);
}

static void test_connect(void)
{
    int port, flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    tap_case("connect, accept, data, names, ends");
    int listener = listen_any(&port), fd = socket(AF_INET, SOCK_STREAM, 0);
    check_int(option(listener, SOL_SOCKET, SO_ACCEPTCONN), ==, 1);
    check_int(dial(fd, "10.9.0.1", 1), ==, -1);
    check_int(errno, ==, ECONNREFUSED);
    check_int(dial(fd, "10.9.0.1", port), ==, 0);
    check_int(dial(fd, "10.9.0.1", port), ==, -1);
    check_int(errno, ==, EISCONN);
    int peer = accept4(listener, (struct sockaddr *)&a, &len, flags);
    check(peer >= 0);
    check_int(ntohs(a.sin_port), ==, port_of(fd));
    check_int(fcntl(peer, F_GETFL) & O_NONBLOCK, ==, O_NONBLOCK);
    check_int(fcntl(peer, F_GETFD), ==, FD_CLOEXEC);
    fcntl(peer, F_SETFL, O_RDWR);
    check_int(getpeername(fd, (struct sockaddr *)&a, &len), ==, 0);
    check_int(ntohs(a.sin_port), ==, port);
    check_int(port_of(peer), ==, port);
    echoes(fd, peer, "hello");
    echoes(peer, fd, "world");
    check_int(sendto(fd, "abc", 3, 0, (struct sockaddr *)&a, len), ==, 3);
    len = 77;
    char text[8] = "";
    check_int(recvfrom(peer, text, 3, MSG_WAITALL, (struct sockaddr *)&a, &len), ==, 3);
    check_int(send(fd, "throw away", 10, 0), ==, 10);
    while (poll(&(struct pollfd){.fd = peer, .events = POLLIN}, 1, 1000) != 1)
        ;
    usleep(2000);
    check_int(recv(peer, NULL, 10, MSG_TRUNC), ==, 10);
    check_int(send(fd, "x", 1, MSG_OOB), ==, -1);
    check_int(recv(peer, text, 1, MSG_ERRQUEUE | MSG_DONTWAIT), ==, -1);
    check_int(errno, ==, EAGAIN);
    check_int(shutdown(fd, SHUT_WR), ==, 0);
    check_int(read(peer, text, 1), ==, 0);
    echoes(peer, fd, "half");
    close(peer);
    check_int(read(fd, text, 1), ==, 0);
    close(fd);
    close(listener);
}

static void test_disconnect(void)
{
    int pair[2], port, listener = listen_any(&port);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    char c;
    tap_case("a connection is dissolved, and the descriptor is used again");
    connected(pair);
    check_int(connect(pair[0], &none, sizeof(none)), ==, 0);
    check_int(read(pair[1], &c, 1), <=, 0);
    check_int(send(pair[0], "x", 1, MSG_NOSIGNAL), ==, -1);
    check_int(errno, ==, EPIPE);
    check_int(dial(pair[0], "10.9.0.1", port), ==, 0);
    close(pair[0]);
    close(pair[1]);
    close(listener);
}

static int pipes;

static void on_pipe(int number)
{
    (void)number;
    pipes++;
}

static void test_broken(void)
{
    int pair[2];
    tap_case("a reset is told to who writes, once, then comes the signal");
    signal(SIGPIPE, on_pipe);
    connected(pair);
    check_int(write(pair[0], "!\x6e", 2), ==, 2);
    poll(&(struct pollfd){.fd = pair[0]}, 1, 2000);
    check_int(send(pair[0], "x", 1, 0), ==, -1);
    check_int(errno, ==, ETIMEDOUT);
    check_int(pipes, ==, 0);
    char x = 0;
    check_int(writev(pair[0], &(struct iovec){&x, 1}, 1), ==, -1);
    check_int(errno, ==, EPIPE);
    check_int(pipes, ==, 1);
    check_int(send(pair[0], "x", 1, MSG_NOSIGNAL), ==, -1);
    check_int(pipes, ==, 1);
    close(pair[0]);
    close(pair[1]);
    signal(SIGPIPE, SIG_DFL);
}

static void test_connect_nonblocking(void)
{
    int port, listener = listen_any(&port);
    tap_case(
        "a connect that does not block is pending, refused, made again on the same descriptor");
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    check_int(dial(fd, "10.9.9.8", port), ==, -1);
    check_int(errno, ==, EINPROGRESS);
    check(!is_writable(fd, 0));
    check_int(send(fd, "x", 1, MSG_NOSIGNAL), ==, -1);
    check_int(errno, ==, EAGAIN);
    check_int(dial(fd, "10.9.9.8", port), ==, -1);
    check_int(errno, ==, EALREADY);
    check(is_writable(fd, 2000));
    check_int(option(fd, SOL_SOCKET, SO_ERROR), ==, ECONNREFUSED);
    check_int(dial(fd, "10.9.9.7", port), ==, -1);
    check_int(errno, ==, EINPROGRESS);
    check(!is_writable(fd, 0));
    check(is_writable(fd, 2000));
    check_int(option(fd, SOL_SOCKET, SO_ERROR), ==, 0);
    check_int(option(fd, IPPROTO_TCP, TCP_NODELAY), ==, 1);
    int peer = accept(listener, NULL, NULL);
    echoes(fd, peer, "after the junk");
    check_int(dial(fd, "10.9.9.7", port), ==, -1);
    check_int(errno, ==, EISCONN);
    close(fd);
    close(peer);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    check_int(dial(fd, "10.9.9.7", port), ==, -1);
    check(is_writable(fd, 2000));
    check_int(dial(fd, "10.9.9.7", port), ==, 0); /* a second connect asks how it went */
    close(fd);
    close(listener);
}

static void test_connect_unasked(void)
{
    int port, listener = listen_any(&port);
    tap_case("a connect to where the last one was a success does not wait for the server");
    for (int i = 0; i < 2; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        check_int(dial(fd, "10.9.9.6", port), ==, -1);
        check_int(errno, ==, EINPROGRESS);
        check(!is_writable(fd, 0));
        check_int(send(fd, "x", 1, MSG_NOSIGNAL), ==, -1);
        check_int(errno, ==, EAGAIN);
        int room = 0;
        socklen_t len = sizeof(room);
        check_int(pre_real.getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, &len), ==, 0);
        check_int(room < SOCK_PAIR_SNDBUF, ==, i == 1); /* not filled, but made small */
        room = 1 << 16;
        check_int(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), ==, 0);
        check(!is_writable(fd, 0));
        check(is_writable(fd, 5000));
        int peer = accept(listener, NULL, NULL);
        if (i == 1)
            check(port_of(fd) > 0); /* whose handle nobody has told us */
        check_int(option(fd, SOL_SOCKET, SO_ERROR), ==, 0);
        check_int(option(fd, SOL_SOCKET, SO_SNDBUF), ==,
                  2 * room); /* as asked for, whatever A has */
        check_int(pre_real.getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, &len), ==, 0);
        check_int(room, ==, 2 * SOCK_PAIR_SNDBUF);
        echoes(fd, peer, "unasked");
        close(fd);
        close(peer);
    }
    close(listener);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    check_int(dial(fd, "10.9.9.6", port), ==, -1);
    check_int(errno, ==, EINPROGRESS);
    check(is_writable(fd, 5000));
    check_int(option(fd, SOL_SOCKET, SO_ERROR), ==, ECONNREFUSED);
    close(fd);
}

/* SIGALRM is the whole test's limit. */
static void on_signal(int number)
{
    (void)number;
}

static void arm(int ms, int flags)
{
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = flags};
    struct itimerval t = {.it_value.tv_usec = ms * 1000};
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &t, NULL);
}

static void test_connect_interrupted(void)
{
    int port, listener = listen_any(&port);
    tap_case("connect ends by a signal or a time limit, and goes on behind");
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    arm(20, 0);
    check_int(dial(fd, "10.9.9.9", port), ==, -1);
    check_int(errno, ==, EINTR);
    check_int(dial(fd, "10.9.9.9", port), ==, -1);
    check_int(errno, ==, EALREADY);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    arm(10, SA_RESTART);
    check_int(dial(fd, "10.9.9.7", port), ==, 0);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval t = {.tv_usec = 20000};
    check_int(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)), ==, 0);
    check_int(dial(fd, "10.9.9.9", port), ==, -1);
    check_int(errno, ==, EINPROGRESS);
    close(fd);
    check_int(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)), ==, 0);
    int peer = accept(listener, NULL, NULL); /* the one with SA_RESTART */
    check(peer >= 0);
    close(peer);
    check_int(accept(listener, NULL, NULL), ==, -1);
    check_int(errno, ==, EAGAIN);
    close(listener);
}

static void test_reset(void)
{
    int pair[2];
    char c;
    tap_case("a reset has its true reason");
    connected(pair);
    check_int(write(pair[0], "!\x6e", 2), ==, 2); /* ETIMEDOUT */
    check_int(read(pair[0], &c, 1), ==, -1);
    check_int(errno, ==, ETIMEDOUT);
    check_int(read(pair[0], &c, 1), ==, 0);
    close(pair[0]);
    close(pair[1]);
    connected(pair);
    check_int(write(pair[0], "!\x71", 2), ==, 2); /* EHOSTUNREACH */
    poll(&(struct pollfd){.fd = pair[0]}, 1, 2000);
    check_int(option(pair[0], SOL_SOCKET, SO_ERROR), ==, EHOSTUNREACH);
    check_int(option(pair[0], SOL_SOCKET, SO_ERROR), ==, 0);
    close(pair[0]);
    close(pair[1]);
}

/* ---- datagrams
 * ------------------------------------------------------------------------------------- */

static void test_dgram(void)
{
    struct sockaddr_in a, to;
    socklen_t len = sizeof(a);
    char text[64] = "";
    int n = 0;
    tap_case("datagrams: addresses, truncation, peeking, errors");
    int one = socket(AF_INET, SOCK_DGRAM, 0), two = socket(AF_INET, SOCK_DGRAM, 0);
    check_int(bind_to(two, "0.0.0.0", 5353), ==, 0);
    to = at("10.9.0.1", 5353);
    check_int(sendto(one, "ping", 4, 0, (struct sockaddr *)&to, sizeof(to)), ==, 4);
    check_int(recvfrom(two, text, sizeof(text), MSG_PEEK, (struct sockaddr *)&a, &len), ==, 4);
    check_int(ioctl(two, FIONREAD, &n), ==, 0);
    check_int(n, ==, 4);
    check_int(recvfrom(two, text, 2, MSG_TRUNC, (struct sockaddr *)&a, &len), ==, 4);
    check_mem(text, "pi", 2);
    check_int(ntohs(a.sin_port), ==, port_of(one));
    check_int(ioctl(two, FIONREAD, &n), ==, 0);
    check_int(n, ==, 0);
    check_int(sendto(two, "", 0, 0, (struct sockaddr *)&a, len), ==, 0);
    check_int(recv(one, text, sizeof(text), 0), ==, 0);
    check_int(connect(one, (struct sockaddr *)&to, sizeof(to)), ==, 0);
    check_int(write(one, "more", 4), ==, 4);
    struct iovec iov[2] = {{text, 1}, {text + 8, 8}};
    check_int(readv(two, iov, 2), ==, 4);
    check_mem(text + 8, "ore", 3);
    to = at("10.9.0.1", 9); /* nobody */
    check_int(connect(one, (struct sockaddr *)&to, sizeof(to)), ==, 0);
    check_int(send(one, "x", 1, 0), ==, 1);
    check_int(recv(one, text, 1, 0), ==, -1);
    check_int(errno, ==, ECONNREFUSED);
    static char big[65508];
    check_int(send(one, big, sizeof(big), 0), ==, -1);
    check_int(errno, ==, EMSGSIZE);
    int small = 5000;
    check_int(setsockopt(one, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), ==, 0);
    check_int(send(one, big, sizeof(big) - 1, 0), ==, (long)sizeof(big) - 1);
    a.sin_family = AF_UNSPEC;
    check_int(connect(one, (struct sockaddr *)&a, sizeof(a)), ==, 0);
    check_int(send(one, "x", 1, 0), ==, -1);
    check_int(errno, ==, EDESTADDRREQ);
    close(one);
    close(two);
}

static void test_dgram_ancillary(void)
{
    struct sockaddr_in to = at("10.9.0.1", 5354);
    char text[2][16], control[128];
    int on = 1;
    tap_case("datagrams: ancillary data, several at once");
    int one = socket(AF_INET, SOCK_DGRAM, 0), two = socket(AF_INET, SOCK_DGRAM, 0);
    check_int(bind_to(two, "0.0.0.0", 5354), ==, 0);
    check_int(setsockopt(two, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)), ==, 0);
    check_int(setsockopt(two, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)), ==, 0);
    struct iovec iov[2] = {{text[0], 16}, {text[1], 16}};
    struct mmsghdr list[2] = {
        {.msg_hdr = {.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = iov, .msg_iovlen = 1}},
        {.msg_hdr = {
             .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = iov + 1, .msg_iovlen = 1}}};
    memset(text, 'a', sizeof(text));
    check_int(sendmmsg(one, list, 2, 0), ==, 2);
    struct msghdr msg = {
        .msg_iov = iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    check_int(recvmsg(two, &msg, 0), ==, 16);
    check_int(msg.msg_flags, ==, 0);
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    check(c != NULL && c->cmsg_type == IP_PKTINFO);
    if (c != NULL) {
        struct in_pktinfo info;
        memcpy(&info, CMSG_DATA(c), sizeof(info));
        check_int(info.ipi_ifindex, ==, 2);
        check_int(info.ipi_addr.s_addr, ==, to.sin_addr.s_addr);
        c = CMSG_NXTHDR(&msg, c);
    }
    check(c != NULL && c->cmsg_type == IP_TTL && *(int *)(void *)CMSG_DATA(c) == 64);
    check_int(syscall(SYS_sendmmsg, one, list, 1, 0), ==, 1);
    list[0].msg_hdr.msg_name = list[1].msg_hdr.msg_name = NULL;
    check_int(recv(two, text[0], 16, 0), ==, 16);
    check_int(recvmmsg(two, list, 2, MSG_WAITFORONE, NULL), ==, 1);
    check_int(list[0].msg_len, ==, 16);
    msg.msg_controllen = 4;
    check_int(sendto(one, "z", 1, 0, (struct sockaddr *)&to, sizeof(to)), ==, 1);
    check_int(recvmsg(two, &msg, 0), ==, 1);
    check_int(msg.msg_flags & MSG_CTRUNC, ==, MSG_CTRUNC);
    close(one);
    close(two);
}

/* ---- options
 * --------------------------------------------------------------------------------------- */

static void test_options(void)
{
    int on = 1, pair[2];
    struct timeval t = {.tv_usec = 10000};
    char c;
    tap_case("options: kept, told, native, refused");
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    check_int(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), ==, 0);
    check_int(option(fd, SOL_SOCKET, SO_REUSEADDR), ==, 1);
    check_int(option(fd, SOL_SOCKET, SO_KEEPALIVE), ==, 0);
    check_int(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, 1), ==, -1);
    check_int(errno, ==, EINVAL);
    check_int(setsockopt(fd, 9999, 1, &on, sizeof(on)), ==, -1);
    check_int(errno, ==, ENOPROTOOPT);
    check_int(bind_to(fd, "0.0.0.0", 0), ==, 0);
    check_int(option(fd, SOL_SOCKET, SO_REUSEADDR), ==, 1); /* the server knows */
    on = 7;
    check_int(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &on, sizeof(on)), ==, 0);
    check_int(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), ==, 7);
    close(fd);
    connected(pair);
    check_int(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)), ==, 0);
    check_int(read(pair[0], &c, 1), ==, -1);
    check_int(errno, ==, EAGAIN);
    on = 100000;
    check_int(setsockopt(pair[0], SOL_SOCKET, SO_RCVBUF, &on, sizeof(on)), ==, 0);
    check_int(option(pair[0], SOL_SOCKET, SO_RCVBUF), ==, 200000);
    close(pair[0]);
    close(pair[1]);
}

/* ---- descriptors, processes, threads
 * ---------------------------------------------------------------- */

static void test_stale(void)
{
    char path[] = "/tmp/preload-test-XXXXXX", text[8] = "";
    tap_case("a descriptor closed behind the library's back is not taken for ours");
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    check_int(bind_to(fd, "0.0.0.0", 0), ==, 0);
    pre_real.syscall(SYS_close, fd);
    int file = mkstemp(path);
    check_int(file, ==, fd);
    check_int(write(file, "plain", 5), ==, 5);
    check_int(lseek(file, 0, SEEK_SET), ==, 0);
    check_int(read(file, text, 8), ==, 5);
    check_str(text, "plain");
    check_int(send(file, "x", 1, 0), ==, -1);
    check_int(errno, ==, ENOTSOCK);
    close(file);
    unlink(path);
}

static void test_dup(void)
{
    int pair[2];
    tap_case("copies of a descriptor are the same socket");
    connected(pair);
    int copy = dup(pair[0]), high = fcntl(pair[0], F_DUPFD_CLOEXEC, 100), port = port_of(pair[0]);
    check(high >= 100);
    check_int(dup2(pair[0], 99), ==, 99);
    close(pair[0]);
    check_int(port_of(copy), ==, port);
    check_int(port_of(99), ==, port);
    check_int(port_of(high), ==, port);
    close(copy);
    close(99);
    echoes(high, pair[1], "still");
    int null = open("/dev/null", O_RDWR);
    check_int(dup2(null, high), ==, high); /* over a socket of ours */
    check_int(write(high, "x", 1), ==, 1);
    check_int(option(high, SOL_SOCKET, SO_TYPE), ==, -ENOTSOCK);
    close(null);
    close(high);
    close(pair[1]);
    int fresh = socket(AF_INET, SOCK_STREAM, 0), twin = dup(fresh);
    int listener = listen_any(&port);
    check_int(fcntl(twin, F_SETFL, O_NONBLOCK), ==, 0);
    check_int(dial(fresh, "10.9.9.8", port), ==, -1);
    check(is_writable(twin, 2000));
    check_int(option(twin, SOL_SOCKET, SO_ERROR), ==, ECONNREFUSED);
    check_int(dial(fresh, "10.9.9.7", port), ==, -1); /* a new pair, in both places */
    check_int(errno, ==, EINPROGRESS);
    check(!is_writable(twin, 0));
    check(is_writable(twin, 2000));
    close(fresh);
    close(twin);
    close(listener);
}

static void test_fork(void)
{
    int status = 0, port, other;
    tap_case("fork: both go on, with connections of their own");
    int fd = socket(AF_INET, SOCK_STREAM, 0), listener = listen_any(&port);
    pid_t pid = fork();
    if (pid == 0) {
        int mine = listen_any(&other);
        _exit(mine >= 0 && other != port && dial(fd, "10.9.0.1", port) == 0 &&
                      write(fd, "child", 5) == 5
                  ? 0
                  : 1);
    }
    int peer = accept(listener, NULL, NULL);
    char text[8] = "";
    check_int(recv(peer, text, 5, MSG_WAITALL), ==, 5);
    check_str(text, "child");
    check_int(waitpid(pid, &status, 0), ==, pid);
    check_int(status, ==, 0);
    check_int(dial(fd, "10.9.0.1", port), ==, -1); /* the child did */
    check_int(errno, ==, EISCONN);
    echoes(fd, peer, "parent");
    int fd2 = listen_any(&other);
    close(fd2);
    close(fd);
    close(peer);
    close(listener);
}

static int exec_child(int listener, int fresh)
{
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    int peer = accept(listener, (struct sockaddr *)&a, &len);
    char text[8];
    if (peer < 0 || a.sin_family != AF_INET || option(fresh, SOL_SOCKET, SO_DOMAIN) != AF_INET)
        return 2;
    if (read(peer, text, 4) != 4 || write(peer, text, 4) != 4)
        return 3;
    return dial(fresh, "10.9.0.1", port_of(listener)) == 0 ? 0 : 10 + errno;
}

static void test_exec(void)
{
    int port, listener = listen_any(&port), status = -1;
    char first[12], second[12], name[] = "again", how[] = "--exec";
    char *arguments[] = {name, how, first, second, NULL};
    tap_case("exec: another program goes on with the descriptors");
    int fd = socket(AF_INET, SOCK_STREAM, 0), fresh = socket(AF_INET, SOCK_STREAM, 0);
    snprintf(first, sizeof(first), "%d", listener);
    snprintf(second, sizeof(second), "%d", fresh);
    pid_t pid = vfork();
    if (pid == 0) {
        execv(self, arguments);
        _exit(9);
    }
    check_int(dial(fd, "10.9.0.1", port), ==, 0);
    char text[8] = "";
    check_int(write(fd, "exec", 4), ==, 4);
    check_int(recv(fd, text, 4, MSG_WAITALL), ==, 4);
    check_str(text, "exec");
    check_int(waitpid(pid, &status, 0), ==, pid);
    check_int(status, ==, 0);
    close(fd);
    close(fresh);
    close(listener);
}

static void test_close_all(void)
{
    int port, listener = listen_any(&port);
    tap_case("programs that close everything, with and without the library's knowledge");
    int keep = fcntl(listener, F_DUPFD, 500);
    for (int fd = 3; fd < 1024; fd++)
        if (fd != keep)
            close(fd);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    check_int(dial(fd, "10.9.0.1", port), ==, 0);
    close(fd);
    check_int(close_range(3, 499, 0), ==, 0);
    check_int(close_range(501, ~0u, 0), ==, 0);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    check_int(dial(fd, "10.9.0.1", port), ==, 0);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0); /* its end B goes, too */
    for (int i = 3; i < 1024; i++)
        if (i != keep && i != fd)
            pre_real.syscall(SYS_close, i);
    check_int(dial(fd, "10.9.0.1", port), ==, -1);
    check_int(errno, ==, ENOTCONN);
    close(fd);
    int null = open("/dev/null", O_RDWR);
    for (int i = 955; i < 1000; i++) /* numbers that the library would use */
        check_int(dup2(null, i), ==, i);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    check_int(dial(fd, "10.9.0.1", port) < 0 ? errno : 0, ==, 0);
    for (int i = 955; i < 1100; i++)
        check_int(dup2(null, i), ==, i); /* the library moves out of the way */
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    check_int(dial(fd, "10.9.0.1", port), ==, 0);
    close(fd);
    check_int(close_range(3, ~0u, 0), ==, 0);
}

struct worker {
    pthread_t thread;
    int port, failed;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < 40; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), copy = dup(fd);
        struct sockaddr_in a;
        socklen_t len = sizeof(a);
        w->failed += dial(fd, "10.9.0.1", w->port) != 0;
        w->failed += getpeername(copy, (struct sockaddr *)&a, &len) != 0;
        w->failed += ntohs(a.sin_port) != w->port;
        close(fd);
        w->failed += write(copy, "x", 1) != 1;
        close(copy);
    }
    return NULL;
}

static void test_threads(void)
{
    int port, listener = listen_any(&port);
    struct worker workers[6] = {{.port = port}};
    tap_case("threads make and end sockets at the same time");
    for (int i = 0; i < 6; i++) {
        workers[i].port = port;
        check_int(pthread_create(&workers[i].thread, NULL, work, &workers[i]), ==, 0);
    }
    for (int i = 0; i < 6 * 40; i++)
        close(accept(listener, NULL, NULL));
    for (int i = 0; i < 6; i++) {
        pthread_join(workers[i].thread, NULL);
        check_int(workers[i].failed, ==, 0);
    }
    close(listener);
}

static int handler_port, handler_calls, handler_failed;

static void in_handler(int number)
{
    int error = errno, fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)number;
    handler_failed += dial(fd, "10.9.0.1", handler_port) != 0;
    handler_failed += write(fd, "s", 1) != 1;
    close(fd);
    handler_calls++;
    errno = error;
}

static void test_signals(void)
{
    int listener = listen_any(&handler_port), failed = 0, rounds = 0;
    struct sigaction act = {.sa_handler = in_handler, .sa_flags = SA_RESTART};
    struct itimerval t = {.it_value.tv_usec = 300, .it_interval.tv_usec = 3000}, off = {0};
    tap_case("signal handlers may use sockets in the middle of anything");
    fcntl(listener, F_SETFL, O_NONBLOCK);
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &t, NULL);
    for (; handler_calls < 60 && rounds < 20000; rounds++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1, taken;
        failed += setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0;
        failed += dial(fd, "10.9.0.1", handler_port) != 0;
        close(fd);
        while ((taken = accept(listener, NULL, NULL)) >= 0)
            close(taken);
    }
    setitimer(ITIMER_REAL, &off, NULL);
    check_int(failed, ==, 0);
    check_int(handler_failed, ==, 0);
    check_int(handler_calls, >=, 60);
    close(listener);
}

static void test_passing(void)
{
    int pair[2], wire[2], fd = -1;
    char text[8] = "", control[CMSG_SPACE(sizeof(int))] = "";
    tap_case("a socket passed over another socket is known where it arrives");
    connected(pair);
    check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, wire), ==, 0);
    struct iovec iov = {text, 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &pair[0], sizeof(int));
    check_int(sendmsg(wire[0], &msg, 0), ==, 1);
    int port = port_of(pair[0]);
    close(pair[0]);
    check_int(recvmsg(wire[1], &msg, 0), ==, 1);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
    check_int(option(fd, SOL_SOCKET, SO_DOMAIN), ==, AF_INET);
    check_int(port_of(fd), ==, port);
    echoes(fd, pair[1], "passed");
    close(fd);
    close(pair[1]);
    close(wire[0]);
    close(wire[1]);
}

/* ---- names and interfaces
 * --------------------------------------------------------------------------- */

static void test_names(void)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME}, *list = NULL;
    char host[64], service[16];
    tap_case("names by the server's resolver");
    check_int(getaddrinfo("server.test", "80", &hints, &list), ==, 0);
    if (list != NULL) {
        check_int(list->ai_family, ==, AF_INET6);
        check_str(list->ai_canonname, "server.test");
        check(list->ai_next != NULL && list->ai_next->ai_family == AF_INET);
        struct sockaddr_in *in = (void *)list->ai_next->ai_addr;
        check_int(ntohs(in->sin_port), ==, 80);
        check_str(inet_ntoa(in->sin_addr), "10.9.0.1");
        check(list->ai_next->ai_next == NULL);
        freeaddrinfo(list);
    }
    check_int(getaddrinfo("unknown.test", "80", &hints, &list), ==, EAI_NONAME);
    check_int(getaddrinfo("slow.test", "80", &hints, &list), ==, EAI_AGAIN);
    check_int(getaddrinfo("server.test", "no-such-service", &hints, &list), ==, EAI_SERVICE);
    check_int(getaddrinfo("10.1.2.3", "80", &hints, &list), ==, 0);
    freeaddrinfo(list);
    struct hostent *entry = gethostbyname("server.test");
    check(entry != NULL && entry->h_length == 4 && entry->h_addr_list[1] == NULL);
    check(gethostbyname("unknown.test") == NULL);
    check_int(h_errno, ==, HOST_NOT_FOUND);
    struct hostent room, *result;
    char small[16];
    int h_err;
    check_int(gethostbyname_r("server.test", &room, small, sizeof(small), &result, &h_err), ==,
              ERANGE);
    struct sockaddr_in a = at("10.9.0.1", 80);
    check_int(getnameinfo((struct sockaddr *)&a, sizeof(a), host, sizeof(host), service,
                          sizeof(service), NI_NUMERICSERV),
              ==, 0);
    check_str(host, "server.test");
    check_str(service, "80");
}

static void test_interfaces(void)
{
    struct ifaddrs *list = NULL;
    struct ifreq req = {.ifr_name = "net0"};
    char name[IF_NAMESIZE];
    int count = 0, fd = socket(AF_INET, SOCK_DGRAM, 0);
    tap_case("interfaces are those of our stack");
    check_int(getifaddrs(&list), ==, 0);
    for (struct ifaddrs *i = list; i != NULL; i = i->ifa_next, count++)
        check_str(i->ifa_name, "net0");
    check_int(count, ==, 3); /* link, IPv4, IPv6 */
    freeifaddrs(list);
    check_int(if_nametoindex("net0"), ==, 2);
    check_int(if_nametoindex("lo"), ==, 0);
    check_str(if_indextoname(2, name), "net0");
    struct if_nameindex *all = if_nameindex();
    check(all != NULL && all[0].if_index == 2 && all[1].if_name == NULL);
    if_freenameindex(all);
    check_int(ioctl(fd, SIOCGIFADDR, &req), ==, 0);
    check_str(inet_ntoa(((struct sockaddr_in *)(void *)&req.ifr_addr)->sin_addr), "10.9.0.1");
    check_int(ioctl(fd, SIOCGIFMTU, &req), ==, 0);
    check_int(req.ifr_mtu, ==, 1400);
    struct ifreq reqs[4];
    struct ifconf conf = {.ifc_len = sizeof(reqs), .ifc_req = reqs};
    check_int(ioctl(fd, SIOCGIFCONF, &conf), ==, 0);
    check_int(conf.ifc_len, ==, (long)sizeof(reqs[0]));
    close(fd);
}

/* ---- both stacks
 * ------------------------------------------------------------------------------------ */

static void test_rules(void)
{
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    int on = 1, pair[2];
    tap_case("loopback is the host's, in the same descriptor");
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    check_int(bind_to(listener, "127.0.0.1", 0), ==, 0);
    check_int(listen(listener, 4), ==, 0);
    check_int(getsockname(listener, (struct sockaddr *)&a, &len), ==, 0);
    check_int(ntohl(a.sin_addr.s_addr), ==, INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0), port = ntohs(a.sin_port);
    check_int(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), ==, 0);
    check_int(dial(fd, "127.0.0.1", port), ==, 0);
    check_int(option(fd, IPPROTO_TCP, TCP_NODELAY), ==, 1);
    struct tcp_info info;
    len = sizeof(info);
    check_int(pre_real.getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), ==, 0); /* really */
    int peer = accept(listener, NULL, NULL);
    echoes(fd, peer, "host");
    close(peer);
    close(fd);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    a = at("127.0.0.1", port);
    check_int(sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof(a)), ==, 1);
    check_int(pre_real.getsockname(fd, (struct sockaddr *)&a, &(socklen_t){sizeof(a)}), ==, 0);
    check_int(a.sin_family, ==, AF_INET);
    close(fd);
    close(listener);
    connected(pair);
    check_int(pre_real.getsockopt(pair[0], IPPROTO_TCP, TCP_INFO, &info, &len), ==, -1);
    close(pair[0]);
    close(pair[1]);
}

static pid_t serve_again(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        char path[108];
        snprintf(path, sizeof(path), "%s", getenv(SOCK_ENV));
        unsetenv(SOCK_ENV);
        execl(self, self, "--serve", path, NULL);
        _exit(9);
    }
    return pid;
}

static void test_server_dies(void)
{
    int pair[2], port;
    char c;
    tap_case("the server dies: errors, no hangs; another one serves new sockets");
    connected(pair);
    kill(atoi(getenv("FAKE_PID")), SIGKILL);
    check_int(read(pair[0], &c, 1), ==, -1);
    check_int(errno, ==, ECONNRESET);
    int fd = socket(AF_INET, SOCK_STREAM, 0), status;
    check_int(dial(fd, "10.9.0.1", 80), ==, -1);
    check_int(errno, ==, ENETDOWN);
    pid_t pid = serve_again();
    int listener = socket(AF_INET, SOCK_STREAM, 0), tries = 0;
    while (bind_to(listener, "0.0.0.0", 0) < 0 && tries++ < 2000)
        usleep(1000);
    check_int(listen(listener, 3), ==, 0);
    port = port_of(listener);
    check_int(dial(fd, "10.9.0.1", port), ==, 0);
    check_int(kill(pid, SIGKILL), ==, 0);
    check_int(waitpid(pid, &status, 0), ==, pid);
    close(fd);
    close(listener);
    close(pair[0]);
    close(pair[1]);
}

static int run_all(void)
{
    tap_begin("socket_preload");
    alarm(60); /* whatever hangs ends */
    test_fresh();
    test_connect();
    test_connect_nonblocking();
    test_connect_unasked();
    test_disconnect();
    test_broken();
    test_connect_interrupted();
    test_reset();
    test_dgram();
    test_dgram_ancillary();
    test_options();
    test_stale();
    test_dup();
    test_fork();
    test_exec();
    test_threads();
    test_signals();
    test_passing();
    test_names();
    test_interfaces();
    test_rules();
    test_close_all();
    test_server_dies();
    return tap_done();
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/preload-test-XXXXXX", path[64], pid_text[16];
    int status = 1;
    self = "/proc/self/exe";
    if (argc == 4 && strcmp(argv[1], "--exec") == 0)
        return exec_child(atoi(argv[2]), atoi(argv[3]));
    if (argc == 3 && strcmp(argv[1], "--serve") == 0)
        return waitpid(fakesock_start(argv[2]), &status, 0) > 0 ? 0 : 1;
    if (getenv(SOCK_ENV) != NULL)
        return run_all();
    if (mkdtemp(dir) == NULL)
        return 1;
    snprintf(path, sizeof(path), "%s/s", dir);
    pid_t server = fakesock_start(path);
    snprintf(pid_text, sizeof(pid_text), "%d", (int)server);
    setenv(SOCK_ENV, path, 1);
    setenv("FAKE_PID", pid_text, 1);
    pid_t pid = fork();
    if (pid == 0) {
        execv(self, argv);
        _exit(9);
    }
    waitpid(pid, &status, 0);
    fakesock_stop(server);
    unlink(path);
    rmdir(dir);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
