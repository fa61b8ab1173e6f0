/* SPDX-License-Identifier: ISC */
/* How long a machine takes from its start to its first answer.
 *
 *   first_answer [--times N] [--limit SECONDS] http|dns IP PORT PATH|NAME COMMAND...
 *
 * Starts COMMAND, asks the address again and again, and prints the milliseconds from just before
 * the start until the first byte of an answer is here, a line for each of N starts; then COMMAND is
 * killed. It does not sleep: the loop sends, looks at every socket, and goes on, so what it
 * measures is not rounded up to a wait of its own. Questions go out once a millisecond, HTTP on a
 * new connection each time, since the host would repeat a lost SYN only after a second; an older
 * attempt that succeeds later counts as well. So the figure is at most 1 ms too long.
 *
 * The address has to be a permanent neighbour and the queue of the tap short
 * (test/bench/virt/machine.py sees to both): otherwise the host waits for its own ARP timer, and
 * questions of before the start are answered first.
 *
 * Status 1: no answer within the limit (10 s), or COMMAND ended before. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ATTEMPTS    128 /* connections at a time: those of the last 128 ms */
#define INTERVAL_MS 1.0

struct attempt {
    int fd; /* -1: none */
    bool is_sent;
};

struct prober {
    struct sockaddr_in to;
    bool is_dns;
    uint8_t request[512];
    size_t request_len;
    struct attempt attempts[ATTEMPTS];
    unsigned next;
};

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* A query for the A record of name: header, labels, type and class. */
static bool make_query(struct prober *prober, const char *name)
{
    static const uint8_t head[12] = {0x4d, 0x69, 0x01, 0x00, 0x00, 0x01}, tail[5] = {0, 0, 1, 0, 1};
    size_t at = sizeof(head);
    memcpy(prober->request, head, sizeof(head));
    while (*name != '\0') {
        size_t len = strcspn(name, ".");
        if (len == 0 || len > 63 || at + 1 + len + sizeof(tail) > sizeof(prober->request))
            return false;
        prober->request[at] = (uint8_t)len;
        memcpy(&prober->request[at + 1], name, len);
        at += 1 + len;
        name += len + (name[len] == '.');
    }
    memcpy(&prober->request[at], tail, sizeof(tail));
    prober->request_len = at + sizeof(tail);
    return true;
}

static bool make_request(struct prober *prober, const char *path)
{
    int len = snprintf((char *)prober->request, sizeof(prober->request),
                       "GET %s HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n", path);
    prober->request_len = (size_t)len;
    return len > 0 && (size_t)len < sizeof(prober->request);
}

static void drop(struct attempt *attempt)
{
    if (attempt->fd >= 0)
        close(attempt->fd);
    *attempt = (struct attempt){.fd = -1};
}

/* The oldest attempt makes room for a new one. DNS asks again on the one socket it has. */
static void ask(struct prober *prober)
{
    struct attempt *attempt = &prober->attempts[prober->is_dns ? 0 : prober->next++ % ATTEMPTS];
    if (prober->is_dns && attempt->fd >= 0) {
        (void)!send(attempt->fd, prober->request, prober->request_len, 0);
        return;
    }
    drop(attempt);
    attempt->fd = socket(
        AF_INET, (prober->is_dns ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct linger none = {.l_onoff = 1}; /* closing leaves nothing behind that would be repeated */
    if (attempt->fd < 0)
        return;
    if (!prober->is_dns)
        setsockopt(attempt->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    if (connect(attempt->fd, (struct sockaddr *)&prober->to, sizeof(prober->to)) < 0 &&
        errno != EINPROGRESS)
        drop(attempt);
}

/* True: the first byte of an answer is here. A connection that is not there yet says ENOTCONN or
 * EAGAIN. */
static bool has_answer(struct prober *prober, struct attempt *attempt)
{
    uint8_t answer[2048];
    if (attempt->fd < 0)
        return false;
    if (!prober->is_dns && !attempt->is_sent) {
        ssize_t len = send(attempt->fd, prober->request, prober->request_len, MSG_NOSIGNAL);
        attempt->is_sent = len == (ssize_t)prober->request_len;
        if (len < 0 && errno != EAGAIN && errno != ENOTCONN && errno != EINPROGRESS)
            drop(attempt);
        if (!attempt->is_sent)
            return false;
    }
    ssize_t len = recv(attempt->fd, answer, sizeof(answer), 0);
    if (prober->is_dns)
        return len >= 12 && memcmp(answer, prober->request, 2) == 0 && (answer[3] & 15) == 0;
    if (len == 0 || (len < 0 && errno != EAGAIN))
        drop(attempt);
    return len > 12 && memcmp(answer, "HTTP/1.1 200", 12) == 0;
}

static pid_t start(char **command)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(STDERR_FILENO, STDOUT_FILENO); /* ours is for the figures */
        execvp(command[0], command);
        fprintf(stderr, "first_answer: %s: %s\n", command[0], strerror(errno));
        _exit(127);
    }
    return pid;
}

static double cpu_ms(const struct rusage *usage)
{
    return 1e3 * (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e3;
}

/* Milliseconds, or negative: none came. */
static double measure(struct prober *prober, char **command, double limit_ms, double *used_ms)
{
    struct rusage usage = {0};
    double begin = now_ms(), last = 0, answered = -1;
    pid_t pid = start(command);
    if (pid < 0)
        return -1;
    for (double now = begin; answered < 0 && now - begin < limit_ms; now = now_ms()) {
        if (now - last >= INTERVAL_MS) {
            ask(prober);
            last = now;
            if (waitpid(pid, NULL, WNOHANG) == pid) {
                fprintf(stderr, "first_answer: %s ended before it answered\n", command[0]);
                pid = -1;
                break;
            }
        }
        for (unsigned i = 0; i < (prober->is_dns ? 1 : ATTEMPTS) && answered < 0; i++)
            if (has_answer(prober, &prober->attempts[i]))
                answered = now_ms() - begin;
    }
    for (unsigned i = 0; i < ATTEMPTS; i++)
        drop(&prober->attempts[i]);
    if (pid > 0) {
        kill(pid, SIGKILL);
        wait4(pid, NULL, 0, &usage);
    }
    *used_ms = cpu_ms(&usage);
    return answered;
}

static int usage(void)
{
    fputs(
        "usage: first_answer [--times N] [--limit SECONDS] http|dns IP PORT PATH|NAME COMMAND...\n",
        stderr);
    return 64;
}

int main(int argc, char **argv)
{
    static struct prober prober;
    long times = 1;
    double limit_ms = 10000;
    int at = 1;
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        if (strcmp(argv[at], "--times") == 0)
            times = strtol(argv[at + 1], NULL, 10);
        else if (strcmp(argv[at], "--limit") == 0)
            limit_ms = 1e3 * strtod(argv[at + 1], NULL);
        else
            return usage();
    }
    if (argc - at < 5)
        return usage();
    prober.is_dns = strcmp(argv[at], "dns") == 0;
    prober.to = (struct sockaddr_in){.sin_family = AF_INET,
                                     .sin_port = htons((uint16_t)atoi(argv[at + 2]))};
    if ((!prober.is_dns && strcmp(argv[at], "http") != 0) ||
        inet_pton(AF_INET, argv[at + 1], &prober.to.sin_addr) != 1 ||
        !(prober.is_dns ? make_query : make_request)(&prober, argv[at + 3]))
        return usage();
    for (unsigned i = 0; i < ATTEMPTS; i++)
        prober.attempts[i].fd = -1;
    for (long i = 0; i < times; i++) {
        double used_ms, ms = measure(&prober, &argv[at + 4], limit_ms, &used_ms);
        if (ms < 0) {
            fprintf(stderr, "first_answer: no answer, start %ld of %ld\n", i + 1, times);
            return 1;
        }
        printf("%.2f %.2f\n", ms, used_ms);
        fflush(stdout);
    }
    return 0;
}
