/* SPDX-License-Identifier: ISC */
/* How POSIX sockets behave, one line a case: `conform --control PATH --self4 A --peer4 A --self6 A
 * --peer6 A [PART...]`.
 *
 * The same program runs over the host's stack and, unmodified, over ours, and test/socket/compare
 * compares the lines. So a result never contains a time, a port number or a descriptor: addresses
 * are "self", "peer", "any", ports are "same", "some" or 0. Each case runs in a child process, so
 * that a crash or a hang (eight seconds) is a result of that case and not the end.
 *
 * The other end is conform-peer, on the host's stack, reached over AF_UNIX (peer.h). It hands over
 * its TCP ends as descriptors, and the case reads, writes and closes them itself: the tested
 * program thereby uses sockets of both stacks side by side.
 *
 * Nothing waits by sleeping, except where the result is that nothing happens.
 */
#include "conform.h"
#include "peer.h"

#include <getopt.h>
#include <netdb.h>
#include <stdarg.h>
#include <sys/un.h>
#include <time.h>

#define CASE_SECONDS 8
#define WAIT_MS      3000
#define MOMENT_MS    60

volatile sig_atomic_t signals_seen;
static char case_name[128];
static const char *control_path;
static struct place own[2], other[2];
static char **only;
static int peer_fd = -1;
static pid_t peer_of;

/* ---- results
 * ------------------------------------------------------------------------------------- */

static bool is_wanted(void)
{
    if (!only || !*only) {
        return true;
    }
    for (char **p = only; *p; p++) {
        if (strncmp(case_name, *p, strlen(*p)) == 0) {
            return true;
        }
    }
    return false;
}

static void write_line(const char *line)
{
    size_t len = strlen(line);
    if (write(STDOUT_FILENO, line, len) != (ssize_t)len) {
        _exit(3);
    }
}

bool case_begin(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(case_name, sizeof case_name, format, args);
    va_end(args);
    if (!is_wanted()) {
        return false;
    }
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        alarm(CASE_SECONDS);
        return true;
    }
    int status = 0;
    char line[256];
    while (pid < 0 || (waitpid(pid, &status, 0) < 0 && errno == EINTR)) {
        if (pid < 0) {
            perror("conform: fork");
            exit(1);
        }
    }
    if (WIFSIGNALED(status)) {
        int by = WTERMSIG(status);
        snprintf(line, sizeof line, by == SIGALRM ? "%s: hangs\n" : "%s: dies by signal %d\n",
                 case_name, by);
        write_line(line);
    }
    kill(-pid, SIGKILL);
    return false;
}

void case_end(void)
{
    _exit(0);
}

void say(const char *name, const char *format, ...)
{
    char text[320], line[480];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(line, sizeof line, "%s%s%s: %s\n", case_name, name ? "." : "", name ? name : "", text);
    write_line(line);
}

void give_up(const char *what)
{
    say(NULL, "gives up: %s: %s", what, errno_text(errno));
    case_end();
}

/* One of a few buffers in turns, so that several texts fit into one say(). */
static char *scratch(void)
{
    static char room[16][160];
    static unsigned next;
    return room[next++ % 16];
}

const char *errno_text(int e)
{
    const char *name = strerrorname_np(e);
    return name ? name : "?";
}

const char *ret(long r)
{
    int e = errno;
    char *text = scratch();
    if (r == 0) {
        return "ok";
    }
    if (r < 0) {
        return e == EAGAIN ? "EAGAIN" : errno_text(e);
    }
    snprintf(text, 160, "%ld", r);
    return text;
}

const char *poll_text(int bits)
{
    static const struct {
        int bit;
        const char *name;
    } names[] = {{POLLIN, "IN"},   {POLLPRI, "PRI"}, {POLLOUT, "OUT"},  {POLLRDHUP, "RDHUP"},
                 {POLLHUP, "HUP"}, {POLLERR, "ERR"}, {POLLNVAL, "NVAL"}};
    char *text = scratch();
    *text = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (bits & names[i].bit) {
            size_t at = strlen(text);
            snprintf(text + at, 160 - at, "%s%s", at ? "+" : "", names[i].name);
        }
    }
    return *text ? text : "nothing";
}

static int poll_for(int fd, int events, int ms)
{
    struct pollfd p = {fd, (short)events, 0};
    int r;
    while ((r = poll(&p, 1, ms)) < 0 && errno == EINTR) {
    }
    return r < 0 ? r : p.revents;
}

int poll_now(int fd, int events)
{
    return poll_for(fd, events, 0);
}

int await(int fd, int events)
{
    return poll_for(fd, events, WAIT_MS);
}

bool stays(int fd, int events)
{
    return poll_for(fd, events, MOMENT_MS) == 0;
}

/* ---- addresses
 * ----------------------------------------------------------------------------------- */

static struct place parse(int family, const char *text)
{
    struct place p = {.addr.ss_family = (sa_family_t)family};
    void *to = family == AF_INET ? (void *)&((struct sockaddr_in *)&p.addr)->sin_addr
                                 : (void *)&((struct sockaddr_in6 *)&p.addr)->sin6_addr;
    p.len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (!text || inet_pton(family, text, to) != 1) {
        fprintf(stderr, "conform: %s is not an address\n", text ? text : "(nothing)");
        exit(2);
    }
    return p;
}

static struct place with_port(struct place p, int port)
{
    /* The port stands at the same place in both families. */
    ((struct sockaddr_in *)&p.addr)->sin_port = htons((uint16_t)port);
    return p;
}

struct place place(int family, enum who who, int port)
{
    static const char *const texts[][2] = {
        [WHO_ANY] = {"0.0.0.0", "::"},
        [WHO_LOOP] = {"127.0.0.1", "::1"},
        [WHO_DARK] = {"10.201.0.1", "fd00:201::1"},
        [WHO_NOWAY] = {"10.202.0.1", "fd00:202::1"},
        [WHO_OTHER] = {"192.0.2.77", "2001:db8::77"},
    };
    bool is6 = family == AF_INET6;
    if (who == WHO_SELF) {
        return with_port(own[is6], port);
    }
    return with_port(who == WHO_PEER ? other[is6] : parse(family, texts[who][is6]), port);
}

struct place place_mapped(enum who who, int port)
{
    struct place p4 = place(AF_INET, who, 0), p = parse(AF_INET6, "::ffff:0.0.0.0");
    memcpy(&((struct sockaddr_in6 *)&p.addr)->sin6_addr.s6_addr[12],
           &((struct sockaddr_in *)&p4.addr)->sin_addr, 4);
    return with_port(p, port);
}

int port_of(const struct sockaddr_storage *addr)
{
    return ntohs(((const struct sockaddr_in *)addr)->sin_port);
}

static const char *host_text(const struct sockaddr_storage *addr)
{
    if (addr->ss_family == AF_INET) {
        uint32_t ip = ((const struct sockaddr_in *)addr)->sin_addr.s_addr;
        return ip == 0                                                         ? "any"
               : ip == ((struct sockaddr_in *)&own[0].addr)->sin_addr.s_addr   ? "self"
               : ip == ((struct sockaddr_in *)&other[0].addr)->sin_addr.s_addr ? "peer"
               : ip == htonl(INADDR_LOOPBACK)                                  ? "loop"
                                                                               : "other";
    }
    const struct in6_addr *ip = &((const struct sockaddr_in6 *)addr)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(ip)) {
        struct sockaddr_storage v4 = {.ss_family = AF_INET};
        memcpy(&((struct sockaddr_in *)&v4)->sin_addr, &ip->s6_addr[12], 4);
        char *text = scratch();
        snprintf(text, 160, "mapped-%s", host_text(&v4));
        return text;
    }
    return IN6_IS_ADDR_UNSPECIFIED(ip)                                                   ? "any"
           : IN6_ARE_ADDR_EQUAL(ip, &((struct sockaddr_in6 *)&own[1].addr)->sin6_addr)   ? "self"
           : IN6_ARE_ADDR_EQUAL(ip, &((struct sockaddr_in6 *)&other[1].addr)->sin6_addr) ? "peer"
           : IN6_IS_ADDR_LOOPBACK(ip)                                                    ? "loop"
           : IN6_IS_ADDR_LINKLOCAL(ip) ? "link-local"
                                       : "other";
}

const char *place_text(const struct sockaddr_storage *addr, socklen_t len, int port)
{
    char *text = scratch();
    if (len == 0) {
        return "no address";
    }
    if (addr->ss_family != AF_INET && addr->ss_family != AF_INET6) {
        snprintf(text, 160, "family %d, %u bytes", addr->ss_family, (unsigned)len);
        return text;
    }
    int got = port_of(addr);
    snprintf(text, 160, "%s:%s/%u", host_text(addr),
             got == 0      ? "0"
             : got == port ? "same"
                           : "some",
             (unsigned)len);
    return text;
}

const char *local_text(int fd, int port)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof addr;
    int r = getsockname(fd, (struct sockaddr *)&addr, &len);
    return r < 0 ? ret(r) : place_text(&addr, len, port);
}

const char *remote_text(int fd, int port)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof addr;
    int r = getpeername(fd, (struct sockaddr *)&addr, &len);
    return r < 0 ? ret(r) : place_text(&addr, len, port);
}

/* ---- the peer
 * ------------------------------------------------------------------------------------ */

static void peer_open(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (peer_of == getpid()) {
        return;
    }
    snprintf(at.sun_path, sizeof at.sun_path, "%s", control_path);
    peer_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (peer_fd < 0 || connect(peer_fd, (struct sockaddr *)&at, sizeof at) < 0) {
        give_up("the helper's control socket");
    }
    peer_of = getpid();
}

/* Returns the descriptor that came with the answer, or -1. `send_fd` goes along, or is -1. */
static int ask_peer(const struct peer_request *ask, struct peer_answer *answer, int send_fd)
{
    char room[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {(void *)(uintptr_t)ask, sizeof *ask};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    int fd = -1;
    peer_open();
    if (send_fd >= 0) {
        msg.msg_control = room;
        msg.msg_controllen = sizeof room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &send_fd, sizeof send_fd);
    }
    if (sendmsg(peer_fd, &msg, MSG_NOSIGNAL) < 0) {
        give_up("asking the helper");
    }
    iov = (struct iovec){answer, sizeof *answer};
    msg = (struct msghdr){
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    ssize_t got;
    while ((got = recvmsg(peer_fd, &msg, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
    }
    if (got != sizeof *answer) {
        give_up("the helper's answer");
    }
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_type == SCM_RIGHTS) {
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    }
    errno = answer->error;
    return fd;
}

int peer_listen(int family, int backlog, int *port)
{
    struct peer_answer answer;
    ask_peer(&(struct peer_request){.op = PEER_LISTEN, .family = family, .arg = backlog}, &answer,
             -1);
    *port = answer.port;
    return answer.result;
}

int peer_accept_from(int id, struct sockaddr_storage *from)
{
    struct peer_answer answer;
    int fd = ask_peer(&(struct peer_request){.op = PEER_ACCEPT, .arg = id}, &answer, -1);
    if (from) {
        *from = answer.addr;
    }
    if (fd < 0) {
        give_up("the helper's accept");
    }
    return fd;
}

int peer_accept(int id)
{
    return peer_accept_from(id, NULL);
}

static int peer_connect_by(int op, int family, int port)
{
    struct peer_answer answer;
    struct peer_request ask = {.op = op, .addr = place(family, WHO_SELF, port).addr};
    return ask_peer(&ask, &answer, -1);
}

int peer_connect(int family, int port)
{
    return peer_connect_by(PEER_CONNECT, family, port);
}

int peer_connect_now(int family, int port)
{
    return peer_connect_by(PEER_CONNECT_NOW, family, port);
}

int peer_closed_port(int family, int type)
{
    struct peer_answer answer;
    ask_peer(&(struct peer_request){.op = PEER_CLOSED_PORT, .family = family, .arg = type}, &answer,
             -1);
    return answer.port;
}

int peer_udp(int family, int *port)
{
    struct peer_answer answer;
    ask_peer(&(struct peer_request){.op = PEER_UDP, .family = family}, &answer, -1);
    *port = answer.port;
    return answer.result;
}

int peer_send(int id, enum who who, int family, int port, int len)
{
    struct peer_answer answer;
    struct peer_request ask = {
        .op = PEER_SEND, .arg = id, .len = len, .addr = place(family, who, port).addr};
    ask_peer(&ask, &answer, -1);
    return answer.result;
}

int peer_receive(int id, struct sockaddr_storage *from, int *ttl, int *tos)
{
    struct peer_answer answer;
    ask_peer(&(struct peer_request){.op = PEER_RECEIVE, .arg = id}, &answer, -1);
    if (from) {
        *from = answer.addr;
    }
    if (ttl) {
        *ttl = answer.ttl;
        *tos = answer.tos;
    }
    return answer.result;
}

int peer_join(int id, int family)
{
    struct peer_answer answer;
    struct peer_request ask = {.op = PEER_JOIN, .arg = id};
    ask.addr = parse(family, family == AF_INET ? "239.7.7.7" : "ff05::777").addr;
    ask_peer(&ask, &answer, -1);
    return answer.result;
}

void peer_reset(int fd)
{
    struct peer_answer answer;
    ask_peer(&(struct peer_request){.op = PEER_RESET}, &answer, fd);
    /* The last copy goes here, and with it the reset. */
    close(fd);
}

void peer_urgent(int fd, const char *text)
{
    if (send(fd, text, strlen(text), MSG_OOB | MSG_NOSIGNAL) < 0) {
        give_up("the helper's urgent data");
    }
}

/* ---- makers
 * -------------------------------------------------------------------------------------- */

int stream(int family)
{
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd < 0) {
        give_up("socket");
    }
    return fd;
}

int dgram(int family)
{
    int fd = socket(family, SOCK_DGRAM, 0);
    if (fd < 0) {
        give_up("socket");
    }
    return fd;
}

struct ends connected(int family)
{
    struct ends e = {.fd = stream(family)};
    e.id = peer_listen(family, 8, &e.port);
    struct place to = place(family, WHO_PEER, e.port);
    if (connect(e.fd, AT(to)) < 0) {
        give_up("connect");
    }
    e.far = peer_accept(e.id);
    return e;
}

int listening(int family, int backlog, int *port)
{
    int fd = stream(family);
    struct place at = place(family, WHO_ANY, 0);
    socklen_t len = sizeof at.addr;
    if (bind(fd, AT(at)) < 0 || listen(fd, backlog) < 0 ||
        getsockname(fd, (struct sockaddr *)&at.addr, &len) < 0) {
        give_up("listen");
    }
    *port = port_of(&at.addr);
    return fd;
}

struct ends accepted(int family)
{
    struct ends e = {.id = -1};
    int listener = listening(family, 8, &e.port);
    e.far = peer_connect(family, e.port);
    if (e.far < 0) {
        give_up("the helper's connect");
    }
    e.fd = accept(listener, NULL, NULL);
    if (e.fd < 0) {
        give_up("accept");
    }
    close(listener);
    return e;
}

void nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

long drain(int fd, char *to, size_t most)
{
    size_t have = 0;
    while (have < most) {
        if (!await(fd, POLLIN)) {
            errno = ETIMEDOUT;
            give_up("reading");
        }
        ssize_t got = recv(fd, to + have, most - have, MSG_DONTWAIT);
        if (got == 0) {
            break;
        }
        if (got < 0 && errno != EINTR && errno != EAGAIN) {
            return -1;
        }
        have += got > 0 ? (size_t)got : 0;
    }
    return (long)have;
}

const char *family_text(int family)
{
    return family == AF_INET ? "4" : "6";
}

static void count_signal(int number)
{
    (void)number;
    signals_seen++;
}

void on_signal(int flags)
{
    struct sigaction act = {.sa_handler = count_signal, .sa_flags = flags};
    sigaction(SIGUSR1, &act, NULL);
}

void tick(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec every = {{0, 20000000}, {0, 20000000}};
    timer_t timer;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0 ||
        timer_settime(timer, 0, &every, NULL) < 0) {
        give_up("a timer");
    }
}

/* ---- the parts
 * ----------------------------------------------------------------------------------- */

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"control", required_argument, NULL, 'c'}, {"self4", required_argument, NULL, 's'},
        {"peer4", required_argument, NULL, 'p'},   {"self6", required_argument, NULL, 'S'},
        {"peer6", required_argument, NULL, 'P'},   {0},
    };
    int option, seen = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        seen++;
        switch (option) {
        case 'c':
            control_path = optarg;
            break;
        case 's':
            own[0] = parse(AF_INET, optarg);
            break;
        case 'p':
            other[0] = parse(AF_INET, optarg);
            break;
        case 'S':
            own[1] = parse(AF_INET6, optarg);
            break;
        case 'P':
            other[1] = parse(AF_INET6, optarg);
            break;
        default:
            exit(2);
        }
    }
    if (seen != 5) {
        fprintf(stderr,
                "conform --control PATH --self4 A --peer4 A --self6 A --peer6 A [PART...]\n");
        exit(2);
    }
    only = argv + optind;
}

int main(int argc, char **argv)
{
    static void (*const parts[])(int) = {
        cases_open,   cases_state, cases_option, cases_stream,
        cases_urgent, cases_dgram, cases_ready,  cases_process,
    };
    if (argc > 1 && strcmp(argv[1], "--child") == 0) {
        return exec_child(argc, argv);
    }
    read_options(argc, argv);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        parts[i](AF_INET);
        parts[i](AF_INET6);
    }
    cases_misc();
    return 0;
}
