/* SPDX-License-Identifier: ISC */
/* Sockets and processes: fork, exec, descriptors passed over AF_UNIX, workers that accept together,
 * SO_REUSEPORT between processes, threads, a holder that is killed; and what interfaces a program
 * sees.
 */
#include "conform.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <pthread.h>
#include <sys/prctl.h>

#define WORKERS     4
#define CONNECTIONS 24

static bool begins(int family, const char *name)
{
    return case_begin("process%s.%s", family_text(family), name);
}

static void echo_once(const char *name, int fd, int far)
{
    char data[16] = "";
    const char *text = ret(send(fd, "ping", 4, MSG_NOSIGNAL));
    long there = drain(far, data, 4);
    send(far, "pong!", 5, MSG_NOSIGNAL);
    say(name, "%s, peer %ld, back %ld", text, there, drain(fd, data, 5));
}

static void forks(int family)
{
    if (!begins(family, "fork")) {
        return;
    }
    struct ends e = connected(family);
    pid_t pid = fork();
    if (pid == 0) {
        echo_once("child", e.fd, e.far);
        say("child-names", "%s %s", local_text(e.fd, 1), remote_text(e.fd, e.port));
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    echo_once("parent", e.fd, e.far);
    pid = fork();
    if (pid == 0) {
        close(e.fd);
        struct ends own = connected(family);
        echo_once("child-own", own.fd, own.far);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    echo_once("after-child-closed", e.fd, e.far);
    int fd = stream(family);
    pid = fork();
    if (pid == 0) {
        struct place at = place(family, WHO_ANY, 0);
        say("child-binds", "%s", ret(bind(fd, AT(at))));
        say("child-listens", "%s", ret(listen(fd, 3)));
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    say("parent-sees", "%s", local_text(fd, 1));
    say("parent-listens", "%s", ret(listen(fd, 5)));
    case_end();
}

/* ---- exec
 * ------------------------------------------------------------------------------------------ */

int exec_child(int argc, char **argv)
{
    char data[16];
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    if (argc < 4) {
        return 2;
    }
    int fd = atoi(argv[2]);
    if (strcmp(argv[3], "closed") == 0) {
        printf("%s.cloexec: %s\n", argv[4],
               getsockname(fd, (struct sockaddr *)&addr, &len) < 0 ? errno_text(errno) : "open");
        return 0;
    }
    int one = 1, got = getpeername(fd, (struct sockaddr *)&addr, &len);
    printf("%s.getpeername: %s\n", argv[4], ret(got));
    printf("%s.setsockopt: %s\n", argv[4],
           ret(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one)));
    printf("%s.send: %s\n", argv[4], ret(send(fd, "exec", 4, 0)));
    printf("%s.recv: %s\n", argv[4], ret(recv(fd, data, 5, MSG_WAITALL)));
    printf("%s.shutdown: %s\n", argv[4], ret(shutdown(fd, SHUT_WR)));
    return 0;
}

static void run_child(int fd, const char *what, const char *name)
{
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    fflush(stdout);
    execl("/proc/self/exe", "conform", "--child", number, what, name, (char *)NULL);
    _exit(9);
}

static void execs(int family)
{
    char data[16], name[64];
    snprintf(name, sizeof name, "process%s.exec", family_text(family));
    if (!begins(family, "exec")) {
        return;
    }
    struct ends e = connected(family);
    pid_t pid = fork();
    if (pid == 0) {
        run_child(e.fd, "open", name);
    }
    say("peer", "%ld", drain(e.far, data, 4));
    send(e.far, "hello", 5, 0);
    waitpid(pid, NULL, 0);
    say("peer-end", "%ld", drain(e.far, data, 4));
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pid = fork();
    if (pid == 0) {
        run_child(fd, "closed", name);
    }
    waitpid(pid, NULL, 0);
    case_end();
}

/* ---- passing
 * --------------------------------------------------------------------------------------- */

static void pass(int to, int fd)
{
    char room[CMSG_SPACE(sizeof fd)] = {0}, byte = 'x';
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    if (sendmsg(to, &msg, 0) != 1) {
        give_up("passing");
    }
}

static int take(int from)
{
    char room[CMSG_SPACE(sizeof(int))] = {0}, byte;
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    int fd = -1;
    if (recvmsg(from, &msg, 0) == 1 && CMSG_FIRSTHDR(&msg)) {
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof fd);
    }
    return fd;
}

static void passing(int family)
{
    int way[2];
    if (!begins(family, "passing")) {
        return;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, way) < 0) {
        give_up("socketpair");
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(way[0]);
        int fd = take(way[1]), far = take(way[1]), listener = take(way[1]);
        echo_once("stream", fd, far);
        say("stream-names", "%s %s", local_text(fd, 1), remote_text(fd, 1));
        int one = 1;
        say("stream-option", "%s", ret(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one)));
        int got = accept(listener, NULL, NULL);
        say("listener", "%s", got >= 0 ? "a descriptor" : ret(got));
        say("accepted-names", "%s", local_text(got, 1));
        _exit(0);
    }
    struct ends e = connected(family);
    int port, listener = listening(family, 4, &port);
    pass(way[0], e.fd);
    pass(way[0], e.far);
    pass(way[0], listener);
    close(e.fd);
    close(e.far);
    close(listener);
    say("connect", "%s", peer_connect(family, port) >= 0 ? "ok" : errno_text(errno));
    waitpid(pid, NULL, 0);
    case_end();
}

/* ---- workers
 * --------------------------------------------------------------------------------------- */

static int count_accepts(int listener, bool nonblock)
{
    int n = 0;
    if (nonblock) {
        nonblocking(listener);
    }
    for (;;) {
        struct pollfd p = {listener, POLLIN, 0};
        if (nonblock && poll(&p, 1, 300) == 0) {
            return n;
        }
        int fd = accept(listener, NULL, NULL);
        if (fd < 0 && errno != EAGAIN) {
            return -1;
        }
        if (fd >= 0) {
            n++;
            if (send(fd, "w", 1, MSG_NOSIGNAL) != 1) {
                return -2;
            }
            close(fd);
        }
    }
}

/* Each connection is accepted by exactly one of the workers. */
static void workers(int family)
{
    int results[2], sum = 0, seen = 0;
    char byte;
    if (!begins(family, "workers")) {
        return;
    }
    int port, listener = listening(family, 64, &port);
    if (pipe(results) < 0) {
        give_up("a pipe");
    }
    for (int i = 0; i < WORKERS; i++) {
        if (fork() == 0) {
            int n = count_accepts(listener, true);
            _exit(write(results[1], &n, sizeof n) != sizeof n);
        }
    }
    close(results[1]);
    for (int i = 0; i < CONNECTIONS; i++) {
        int far = peer_connect(family, port);
        seen += far >= 0 && drain(far, &byte, 1) == 1;
        close(far);
    }
    for (int n; read(results[0], &n, sizeof n) == sizeof n;) {
        sum += n;
    }
    say(NULL, "answered %d, accepted %d", seen, sum);
    case_end();
}

static void shared_port(int family, int type)
{
    int ready[2], one = 1, seen = 0;
    char byte;
    if (!begins(family, type == SOCK_STREAM ? "reuseport" : "reuseport-udp")) {
        return;
    }
    int first = socket(family, type, 0);
    struct place at = place(family, WHO_ANY, 0);
    socklen_t len = sizeof at.addr;
    setsockopt(first, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (bind(first, AT(at)) < 0 || getsockname(first, (struct sockaddr *)&at.addr, &len) < 0 ||
        pipe(ready) < 0) {
        give_up("bind");
    }
    if (type == SOCK_DGRAM) {
        int second = dgram(family), port;
        setsockopt(second, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
        say("second", "%s", ret(bind(second, AT(at))));
        int id = peer_udp(family, &port), total = 0;
        for (int i = 0; i < CONNECTIONS; i++) {
            peer_send(id, WHO_SELF, family, port_of(&at.addr), 4);
        }
        for (int i = 0; i < CONNECTIONS; i++) {
            char data[8];
            struct pollfd p[2] = {{first, POLLIN, 0}, {second, POLLIN, 0}};
            if (poll(p, 2, 1000) > 0) {
                total += recv(p[0].revents ? first : second, data, 8, MSG_DONTWAIT) == 4;
            }
        }
        say("received", "%d", total);
        case_end();
    }
    listen(first, 32);
    for (int i = 0; i < 2; i++) {
        if (fork() == 0) {
            int fd = i ? socket(family, type, 0) : first;
            setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
            if (i) {
                close(first);
                say("second", "%s", ret(bind(fd, AT(at))));
                say("second-listen", "%s", ret(listen(fd, 32)));
            }
            if (write(ready[1], "r", 1) == 1) {
                count_accepts(fd, true);
            }
            _exit(0);
        }
    }
    close(first);
    for (int i = 0; i < 2; i++) {
        if (read(ready[0], &byte, 1) != 1) {
            give_up("a worker");
        }
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        int far = peer_connect(family, port_of(&at.addr));
        seen += far >= 0 && drain(far, &byte, 1) == 1;
        close(far);
    }
    say("answered", "%d", seen);
    case_end();
}

static void *work(void *arg)
{
    int *sum = arg;
    char byte;
    for (int i = 0; i < 10; i++) {
        struct ends e = connected(sum[1]);
        if (send(e.fd, "t", 1, MSG_NOSIGNAL) == 1 && recv(e.far, &byte, 1, MSG_WAITALL) == 1 &&
            byte == 't') {
            __atomic_fetch_add(&sum[0], 1, __ATOMIC_RELAXED);
        }
        close(e.fd);
        close(e.far);
    }
    return NULL;
}

static void *only_sockets(void *arg)
{
    int *sum = arg;
    for (int i = 0; i < 50; i++) {
        int fd = socket(sum[1], i & 1 ? SOCK_DGRAM : SOCK_STREAM, 0);
        struct place at = place(sum[1], WHO_ANY, 0);
        if (fd >= 0 && bind(fd, AT(at)) == 0 && (i & 1 || listen(fd, 2) == 0)) {
            __atomic_fetch_add(&sum[0], 1, __ATOMIC_RELAXED);
        }
        close(fd);
    }
    return NULL;
}

static void threads(int family)
{
    pthread_t threads_[4];
    int sum[2] = {0, family};
    if (!begins(family, "threads")) {
        return;
    }
    for (int i = 0; i < 4; i++) {
        pthread_create(&threads_[i], NULL, only_sockets, sum);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads_[i], NULL);
    }
    say("bound", "%d", sum[0]);
    sum[0] = 0;
    work(sum);
    say("connected", "%d", sum[0]);
    case_end();
}

static void killed(int family)
{
    char data[4];
    int way[2];
    if (!begins(family, "killed")) {
        return;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, way) < 0) {
        give_up("socketpair");
    }
    pid_t pid = fork();
    if (pid == 0) {
        struct ends e = connected(family);
        pass(way[1], e.far);
        pause();
    }
    int far = take(way[0]);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    say("peer-poll", "%s", await(far, POLLRDHUP) & POLLRDHUP ? "closed" : "open");
    say("peer-recv", "%s", ret(recv(far, data, 4, MSG_DONTWAIT)));
    int port;
    pid = fork();
    if (pid == 0) {
        int listener = listening(family, 4, &port);
        if (write(way[1], &port, sizeof port) == sizeof port && listener >= 0) {
            pause();
        }
    }
    if (read(way[0], &port, sizeof port) != sizeof port) {
        give_up("a port");
    }
    say("listener", "%s", peer_connect(family, port) >= 0 ? "gets in" : errno_text(errno));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    int r = -1;
    for (int i = 0; i < 100 && (r = peer_connect(family, port)) >= 0; i++) {
        close(r);
        usleep(10000);
    }
    say("listener-killed", "%s", r >= 0 ? "gets in" : errno_text(errno));
    int fd = stream(family), one = 1;
    struct place at = place(family, WHO_ANY, port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    say("port-again", "%s", ret(bind(fd, AT(at))));
    case_end();
}

void cases_process(int family)
{
    forks(family);
    execs(family);
    passing(family);
    workers(family);
    shared_port(family, SOCK_STREAM);
    shared_port(family, SOCK_DGRAM);
    threads(family);
    killed(family);
}

/* ---- interfaces
 * ------------------------------------------------------------------------------------ */

static void interface_list(void)
{
    struct ifaddrs *list = NULL;
    int r = getifaddrs(&list), have4 = 0, have6 = 0;
    char name[IFNAMSIZ] = "none";
    struct place self = place(AF_INET, WHO_SELF, 0), self6 = place(AF_INET6, WHO_SELF, 0);
    say("getifaddrs", "%s", ret(r));
    for (struct ifaddrs *i = list; i; i = i->ifa_next) {
        if (!i->ifa_addr) {
            continue;
        }
        if (i->ifa_addr->sa_family == AF_INET &&
            memcmp(&((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr,
                   &((struct sockaddr_in *)&self.addr)->sin_addr, 4) == 0) {
            have4++;
            snprintf(name, sizeof name, "%s", i->ifa_name);
            say("flags", "%s%s%s", i->ifa_flags & IFF_UP ? "up " : "",
                i->ifa_flags & IFF_RUNNING ? "running " : "",
                i->ifa_flags & IFF_BROADCAST ? "broadcast" : "");
        }
        if (i->ifa_addr->sa_family == AF_INET6 &&
            memcmp(&((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr,
                   &((struct sockaddr_in6 *)&self6.addr)->sin6_addr, 16) == 0) {
            have6++;
        }
    }
    say("addresses", "%d %d", have4, have6);
    unsigned index = if_nametoindex(name);
    char back[IFNAMSIZ] = "";
    say("index", "%s, %s", index ? "some" : "none",
        if_indextoname(index, back) && strcmp(back, name) == 0 ? "same" : "another");
    struct ifreq ask = {0};
    snprintf(ask.ifr_name, sizeof ask.ifr_name, "%s", name);
    int fd = dgram(AF_INET);
    const char *text = ret(ioctl(fd, SIOCGIFADDR, &ask));
    bool is_self = memcmp(&((struct sockaddr_in *)(void *)&ask.ifr_addr)->sin_addr,
                          &((struct sockaddr_in *)&self.addr)->sin_addr, 4) == 0;
    say("siocgifaddr", "%s %s", text, is_self ? "self" : "another");
    text = ret(ioctl(fd, SIOCGIFMTU, &ask));
    say("siocgifmtu", "%s %d", text, ask.ifr_mtu);
    text = ret(ioctl(fd, SIOCGIFFLAGS, &ask));
    say("siocgifflags", "%s %s", text, ask.ifr_flags & IFF_UP ? "up" : "down");
    text = ret(ioctl(fd, SIOCGIFINDEX, &ask));
    say("siocgifindex", "%s %s", text, ask.ifr_ifindex == (int)index ? "same" : "another");
    say("siocgifhwaddr", "%s", ret(ioctl(fd, SIOCGIFHWADDR, &ask)));
    struct ifreq all[16];
    struct ifconf conf = {.ifc_len = sizeof all, .ifc_req = all};
    int has = 0;
    r = ioctl(fd, SIOCGIFCONF, &conf);
    text = ret(r);
    for (int i = 0; r == 0 && i < conf.ifc_len / (int)sizeof *all; i++) {
        has += strcmp(all[i].ifr_name, name) == 0;
    }
    say("siocgifconf", "%s %d", text, has);
    say("bindtodevice", "%s",
        ret(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)strlen(name) + 1)));
    socklen_t len = sizeof back;
    r = getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, back, &len);
    say("bindtodevice-get", "%s %s", ret(r), strcmp(back, name) == 0 ? "same" : "another");
}

void cases_misc(void)
{
    if (case_begin("interfaces")) {
        interface_list();
        case_end();
    }
}
