/* SPDX-License-Identifier: ISC */
/* Calls on sockets that take time, and what signals, time-outs, threads and processes do to them.
 *
 *   socket_calls SELF PEER CLOSED NOBODY
 *
 * Prints one line for each case, without addresses and times, so that the host's stack and ours can
 * be compared line by line. SELF is an address of this machine, PEER:CLOSED refuses connections, at
 * NOBODY nobody answers.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *self_ip;
static volatile sig_atomic_t signals;

static struct sockaddr_in at(const char *ip, int port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, ip, &in.sin_addr) != 1)
        abort();
    return in;
}

static void say(const char *what, long result)
{
    printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
    fflush(stdout);
}

static void count_signal(int number)
{
    (void)number;
    signals++;
}

/* SIGALRM after @ms, and then each @again_ms. */
static void alarm_in(int ms, int again_ms, int flags)
{
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = flags};
    struct itimerval timer = {.it_value = {0, ms * 1000}, .it_interval = {0, again_ms * 1000}};
    signals = 0;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void no_alarm(void)
{
    struct itimerval timer = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void limit(int fd, int option, int ms)
{
    struct timeval time = {0, ms * 1000};
    setsockopt(fd, SOL_SOCKET, option, &time, sizeof(time));
}

static int listener(struct sockaddr_in *name)
{
    socklen_t len = sizeof(*name);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    *name = at(self_ip, 0);
    say("bind", bind(fd, (struct sockaddr *)name, sizeof(*name)));
    say("bind again", bind(fd, (struct sockaddr *)name, sizeof(*name)));
    say("accept before listen", accept(fd, NULL, NULL));
    say("listen", listen(fd, 64));
    say("name", getsockname(fd, (struct sockaddr *)name, &len));
    return fd;
}

/* A process that connects after @ms, says @bytes and goes when it is answered. */
static pid_t visitor(const struct sockaddr_in *to, int ms, const char *bytes)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    char answer[16];
    no_alarm();
    usleep((useconds_t)ms * 1000);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) != 0 ||
        write(fd, bytes, strlen(bytes)) < 0 || read(fd, answer, sizeof(answer)) <= 0)
        _exit(1);
    _exit(0);
}

static void answer(int fd)
{
    char bytes[16];
    ssize_t got = read(fd, bytes, sizeof(bytes));
    if (got > 0 && write(fd, bytes, (size_t)got) != got)
        got = -1;
    close(fd);
}

static void *accept_one(void *arg)
{
    int fd = accept(*(int *)arg, NULL, NULL);
    if (fd >= 0)
        answer(fd);
    return fd >= 0 ? arg : NULL;
}

static int wait_all(int count)
{
    int good = 0, status;
    for (int i = 0; i < count; i++)
        good += wait(&status) > 0 && status == 0;
    return good;
}

static void test_accept(int fd, const struct sockaddr_in *name)
{
    pthread_t thread[4];
    int answered = 0;
    void *result;
    limit(fd, SO_RCVTIMEO, 100);
    say("accept with a time-out", accept(fd, NULL, NULL));
    limit(fd, SO_RCVTIMEO, 0);
    alarm_in(100, 0, 0);
    say("accept and a signal", accept(fd, NULL, NULL));
    /* Signals all the time, and each connection arrives once. */
    alarm_in(20, 20, SA_RESTART);
    for (int i = 0; i < 20; i++) {
        visitor(name, 30, "x");
        int got = accept(fd, NULL, NULL);
        if (got >= 0)
            answer(got);
        answered += got >= 0;
    }
    no_alarm();
    printf("accepted between signals: %d, %d, signals %d\n", answered, wait_all(20), signals > 10);
    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, accept_one, &fd);
    for (int i = 0; i < 4; i++)
        visitor(name, 20, "y");
    for (int i = answered = 0; i < 4; i++) {
        pthread_join(thread[i], &result);
        answered += result != NULL;
    }
    printf("accepted by threads: %d, %d\n", answered, wait_all(4));
    for (int i = 0; i < 3; i++) {
        if (fork() == 0)
            _exit(accept_one(&fd) == NULL);
        visitor(name, 20, "z");
    }
    printf("accepted by processes: %d\n", wait_all(6));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    say("accept without blocking", accept(fd, NULL, NULL));
}

/* With SA_RESTART no call ends with EINTR, however often signals come in the middle of it. */
static void test_restart(int fd)
{
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
    struct itimerval timer = {.it_value = {0, 150}, .it_interval = {0, 150}};
    struct sockaddr_in name;
    int bad = 0, error;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (int i = 0; i < 4000; i++) {
        socklen_t len = sizeof(name), size = sizeof(error);
        bad += getsockname(fd, (struct sockaddr *)&name, &len) != 0;
        bad += getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0;
        int other = socket(AF_INET, SOCK_STREAM, 0);
        bad += other < 0 || bind(other, (struct sockaddr *)&name, sizeof(name)) == 0 ||
               errno != EADDRINUSE;
        close(other);
    }
    no_alarm();
    printf("calls that signals spoiled: %d\n", bad);
}

static void test_connect(const struct sockaddr_in *name, const char *peer, int closed,
                         const char *nobody)
{
    struct sockaddr_in to = at(peer, closed), none = at(nobody, 9);
    struct pollfd look;
    int error = -1, fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof(error);
    say("refused", connect(fd, (struct sockaddr *)&to, sizeof(to)));
    say("then to who listens", connect(fd, (const struct sockaddr *)name, sizeof(*name)));
    say("and again", connect(fd, (const struct sockaddr *)name, sizeof(*name)));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    say("without blocking", connect(fd, (const struct sockaddr *)name, sizeof(*name)));
    look = (struct pollfd){.fd = fd, .events = POLLOUT};
    say("poll", poll(&look, 1, 5000) == 1 && look.revents == POLLOUT ? 0 : -1);
    say("its error", getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
    printf("error %d\n", error);
    say("connect says it is there", connect(fd, (const struct sockaddr *)name, sizeof(*name)));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    say("refused without blocking", connect(fd, (struct sockaddr *)&to, sizeof(to)));
    look.fd = fd;
    printf("poll: %d\n", poll(&look, 1, 5000) == 1 && (look.revents & POLLERR) != 0);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    printf("error %s\n", strerrorname_np(error));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    limit(fd, SO_SNDTIMEO, 200);
    say("to nobody, with a time-out", connect(fd, (struct sockaddr *)&none, sizeof(none)));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    alarm_in(200, 0, 0);
    say("to nobody, and a signal", connect(fd, (struct sockaddr *)&none, sizeof(none)));
    close(fd);
}

static void test_datagrams(void)
{
    struct sockaddr_in name = at(self_ip, 0), from;
    char bytes[64];
    int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
    socklen_t len = sizeof(name);
    bind(a, (struct sockaddr *)&name, sizeof(name));
    getsockname(a, (struct sockaddr *)&name, &len);
    limit(a, SO_RCVTIMEO, 100);
    len = sizeof(from);
    say("recvfrom with a time-out", recvfrom(a, bytes, 64, 0, (struct sockaddr *)&from, &len));
    limit(a, SO_RCVTIMEO, 0);
    alarm_in(100, 0, 0);
    say("recvfrom and a signal", recvfrom(a, bytes, 64, 0, (struct sockaddr *)&from, &len));
    alarm_in(20, 20, SA_RESTART);
    pid_t pid = fork();
    if (pid == 0) {
        no_alarm();
        usleep(100000);
        _exit(sendto(b, "hello", 5, 0, (struct sockaddr *)&name, sizeof(name)) != 5);
    }
    len = sizeof(from);
    say("recvfrom between signals",
        recvfrom(a, bytes, 3, MSG_TRUNC, (struct sockaddr *)&from, &len) == 5 ? 0 : -1);
    no_alarm();
    waitpid(pid, NULL, 0);
    say("back", sendto(a, "back", 4, 0, (struct sockaddr *)&from, len));
    say("comes", recv(b, bytes, 64, 0) == 4 && memcmp(bytes, "back", 4) == 0 ? 0 : -1);
    say("bad pointer", bind(b, (struct sockaddr *)8, sizeof(name)));
    say("no descriptor", connect(9999, (struct sockaddr *)&name, sizeof(name)));
    say("no socket", connect(0, (struct sockaddr *)&name, sizeof(name)));
}

int main(int argc, char **argv)
{
    struct sockaddr_in name;
    if (argc != 5)
        return 64;
    self_ip = argv[1];
    if (open("/dev/null", O_RDONLY) < 0)
        return 1;
    int fd = listener(&name);
    test_accept(fd, &name);
    test_restart(fd);
    test_connect(&name, argv[2], atoi(argv[3]), argv[4]);
    test_datagrams();
    return 0;
}
