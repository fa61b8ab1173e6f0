/* SPDX-License-Identifier: ISC */
/* Load over the host's TCP: the other side of benchmarks and of tests that need many connections.
 *
 *   tcpgen send  HOST PORT     write as fast as possible           -> send_gbit_per_s
 *   tcpgen recv  HOST PORT     read as fast as possible            -> recv_gbit_per_s
 *   tcpgen rr    HOST PORT     one request at a time, one connection -> rr_per_s rr_p50_us
 * rr_p99_us tcpgen conn  HOST PORT     connect, one request, reset          -> conn_per_s tcpgen
 * short HOST PORT     --count short HTTP connections, --parallel at a time -> short_* tcpgen hold
 * HOST PORT     --count idle connections; prints "held N", waits for the end of stdin tcpgen serve
 * HOST PORT     the host as the other side: PORT discards, PORT+1 sends, PORT+2 echoes
 *
 * Options: --seconds S (5), --cpu N (no pinning), --size BYTES (of a write or a request),
 * --count N, --parallel N, --path /TEXT (of short), --from IP (of the host's own addresses).
 *
 * Output is `name value unit`, one a line. The exit status is 1 if anything failed: a refused or
 * reset connection, a short answer. It measures with the monotonic clock and keeps every latency of
 * rr (up to a million), so percentiles are exact.
 *
 * It does not verify contents (curl and hashes do that), and reads whatever comes from `recv`.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_BYTES   (256u * 1024)
#define LATENCIES_MAX 1000000u
#define PARALLEL_MAX  4096u

static struct {
    struct sockaddr_in peer;
    double seconds;
    uint32_t size;
    uint32_t count;
    uint32_t parallel;
    const char *path;
    struct sockaddr_in from;
} opt = {.seconds = 5, .count = 1000, .parallel = 64, .path = "/"};

static uint8_t block[BLOCK_BYTES];

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void print_value(const char *name, double value, const char *unit)
{
    printf("%s %.3f %s\n", name, value, unit);
    fflush(stdout);
}

static void give_up(const char *what)
{
    fprintf(stderr, "tcpgen: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_socket(bool blocking)
{
    int one = 1;
    struct timeval limit = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | (blocking ? 0 : SOCK_NONBLOCK), 0);

    if (fd < 0)
        give_up("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (opt.from.sin_family == AF_INET) {
        /* The port is chosen by connect, for this peer alone. */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&opt.from, sizeof opt.from) != 0)
            give_up("--from");
    }
    return fd;
}

static int connect_to_peer(void)
{
    int fd = open_socket(true);
    if (connect(fd, (struct sockaddr *)&opt.peer, sizeof opt.peer) != 0)
        give_up("connect");
    return fd;
}

/** Close with RST: no TIME_WAIT on our side. */
static void close_hard(int fd)
{
    struct linger none = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
}

/* ---- bulk ----------------------------------------------------------------------------------- */

static int bulk(bool is_send)
{
    uint32_t size = opt.size != 0 && opt.size < BLOCK_BYTES ? opt.size : BLOCK_BYTES / 2;
    int fd = connect_to_peer();
    double begin = now_s(), cpu = cpu_s(), elapsed;
    uint64_t total = 0;
    struct tcp_info info = {0};
    socklen_t info_len = sizeof info;

    while ((elapsed = now_s() - begin) < opt.seconds) {
        ssize_t n = is_send ? write(fd, block, size) : read(fd, block, sizeof block);
        if (n <= 0) {
            if (n < 0)
                give_up(is_send ? "write" : "read");
            break;
        }
        total += (uint64_t)n;
    }
    cpu = cpu_s() - cpu;
    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_len);
    print_value(is_send ? "send_gbit_per_s" : "recv_gbit_per_s", (double)total * 8 / elapsed / 1e9,
                "Gbit/s");
    print_value("generator_cpu", 100 * cpu / elapsed, "%");
    print_value("retransmits", info.tcpi_total_retrans, "segments");
    close_hard(fd);
    return total > 0 ? 0 : 1;
}

/* ---- request and response ------------------------------------------------------------------- */

static bool exchange(int fd, uint32_t size)
{
    uint32_t got = 0;
    if (write(fd, block, size) != (ssize_t)size)
        return false;
    while (got < size) {
        ssize_t n = read(fd, block, size - got);
        if (n <= 0)
            return false;
        got += (uint32_t)n;
    }
    return true;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int request_response(void)
{
    uint32_t size = opt.size != 0 ? opt.size : 1;
    double *latency_us = malloc(LATENCIES_MAX * sizeof *latency_us);
    uint32_t n = 0;
    int fd = connect_to_peer();
    double begin = now_s(), last = begin;

    while (last - begin < opt.seconds && n < LATENCIES_MAX) {
        double sent = last;
        if (!exchange(fd, size))
            give_up("rr");
        last = now_s();
        latency_us[n++] = (last - sent) * 1e6;
    }
    qsort(latency_us, n, sizeof *latency_us, compare_double);
    print_value("rr_per_s", n / (last - begin), "1/s");
    print_value("rr_p50_us", latency_us[n / 2], "us");
    print_value("rr_p99_us", latency_us[(uint64_t)n * 99 / 100], "us");
    close_hard(fd);
    free(latency_us);
    return 0;
}

static int connection_rate(void)
{
    double begin = now_s(), elapsed;
    uint32_t n = 0;

    while ((elapsed = now_s() - begin) < opt.seconds) {
        int fd = connect_to_peer();
        if (!exchange(fd, 1))
            give_up("conn");
        close_hard(fd);
        n++;
    }
    print_value("conn_per_s", n / elapsed, "1/s");
    return 0;
}

/* ---- many short connections ----------------------------------------------------------------- */

struct flight {
    int fd;
    bool is_sent;
    uint32_t got;
    char head[16]; /* of the answer: the status is checked */
};

static struct {
    int epoll_fd;
    uint32_t started, done, failed;
    char request[512];
    size_t request_len;
    struct flight flights[PARALLEL_MAX];
} many;

static void launch(struct flight *flight)
{
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = flight};

    *flight = (struct flight){.fd = open_socket(false)};
    many.started++;
    if (connect(flight->fd, (struct sockaddr *)&opt.peer, sizeof opt.peer) != 0 &&
        errno != EINPROGRESS)
        give_up("connect");
    if (epoll_ctl(many.epoll_fd, EPOLL_CTL_ADD, flight->fd, &event) != 0)
        give_up("epoll_ctl");
}

static void land(struct flight *flight, bool is_good)
{
    close(flight->fd);
    flight->fd = -1;
    many.done++;
    if (!is_good)
        many.failed++;
    if (many.started < opt.count)
        launch(flight);
}

static void advance(struct flight *flight)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = flight};
    ssize_t n;

    if (!flight->is_sent) {
        n = write(flight->fd, many.request, many.request_len);
        if (n != (ssize_t)many.request_len) {
            land(flight, false);
            return;
        }
        flight->is_sent = true;
        epoll_ctl(many.epoll_fd, EPOLL_CTL_MOD, flight->fd, &event);
        return;
    }
    while ((n = read(flight->fd, block, sizeof block)) > 0) {
        if (flight->got < 12)
            memcpy(flight->head + flight->got, block,
                   (size_t)n < 12 - flight->got ? (size_t)n : 12 - flight->got);
        flight->got += (uint32_t)n;
    }
    if (n == 0)
        land(flight, memcmp(flight->head, "HTTP/1.1 200", 12) == 0);
    else if (errno != EAGAIN)
        land(flight, false);
}

static int short_connections(void)
{
    char host[INET_ADDRSTRLEN];
    double begin = now_s(), progress = begin;
    uint32_t first = opt.parallel < opt.count ? opt.parallel : opt.count;

    inet_ntop(AF_INET, &opt.peer.sin_addr, host, sizeof host);
    many.request_len = (size_t)snprintf(many.request, sizeof many.request,
                                        "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                                        opt.path, host);
    many.epoll_fd = epoll_create1(0);
    for (uint32_t i = 0; i < first; i++)
        launch(&many.flights[i]);
    while (many.done < opt.count) {
        struct epoll_event events[256];
        int n = epoll_wait(many.epoll_fd, events, 256, 1000);
        if (n > 0)
            progress = now_s();
        else if (now_s() - progress > 30)
            break; /* nothing for 30 s: what is left has failed */
        for (int i = 0; i < n; i++)
            advance(events[i].data.ptr);
    }
    many.failed += opt.count - many.done;
    print_value("short_connections", many.done, "connections");
    print_value("short_failed", many.failed, "connections");
    print_value("short_per_s", many.done / (now_s() - begin), "1/s");
    return many.failed == 0 ? 0 : 1;
}

static int hold(void)
{
    struct rlimit files = {.rlim_cur = opt.count + 64, .rlim_max = opt.count + 64};
    uint32_t n = 0;
    char byte;

    setrlimit(RLIMIT_NOFILE, &files);
    while (n < opt.count) {
        (void)connect_to_peer();
        n++;
    }
    print_value("held", n, "connections");
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return 0;
}

/* ---- the host as the other side ------------------------------------------------------------- */

/** One process for each port: the kernel's stack without anything of ours in the way. */
static void serve_port(int role)
{
    struct sockaddr_in local = opt.peer;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

    local.sin_port = htons((uint16_t)(ntohs(opt.peer.sin_port) + role));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&local, sizeof local) != 0 || listen(listener, 128) != 0)
        give_up("listen");
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        ssize_t n;
        if (fd < 0)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        do {
            n = role == 1 ? write(fd, block, BLOCK_BYTES / 2) : read(fd, block, sizeof block);
            if (role == 2 && n > 0)
                n = write(fd, block, (size_t)n);
        } while (n > 0);
        close(fd);
    }
}

static int serve(void)
{
    for (int role = 0; role < 3; role++) {
        pid_t child = fork();
        if (child < 0)
            give_up("fork");
        if (child == 0) {
            /* Nobody else ends it when the parent is ended. */
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            serve_port(role);
        }
    }
    pause();
    return 0;
}

/* Children are in our process group's hands: a signal to the parent ends all. */
static void end_all(int number)
{
    (void)number;
    signal(SIGTERM, SIG_DFL);
    kill(0, SIGTERM);
    _exit(0);
}

static void pin_to(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        give_up("--cpu");
}

static int usage(void)
{
    fprintf(stderr, "usage: tcpgen send|recv|rr|conn|short|hold|serve HOST PORT [--seconds S] "
                    "[--cpu N] [--size BYTES] [--count N] [--parallel N] [--path TEXT] "
                    "[--from IP]\n");
    return 64;
}

static int run_mode(const char *mode)
{
    if (strcmp(mode, "send") == 0)
        return bulk(true);
    if (strcmp(mode, "recv") == 0)
        return bulk(false);
    if (strcmp(mode, "rr") == 0)
        return request_response();
    if (strcmp(mode, "conn") == 0)
        return connection_rate();
    if (strcmp(mode, "short") == 0)
        return short_connections();
    if (strcmp(mode, "hold") == 0)
        return hold();
    if (strcmp(mode, "serve") == 0) {
        setpgid(0, 0);
        signal(SIGTERM, end_all);
        return serve();
    }
    return usage();
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seconds", required_argument, NULL, 's'},  {"cpu", required_argument, NULL, 'c'},
        {"size", required_argument, NULL, 'b'},     {"count", required_argument, NULL, 'n'},
        {"parallel", required_argument, NULL, 'p'}, {"path", required_argument, NULL, 'u'},
        {"from", required_argument, NULL, 'f'},     {NULL, 0, NULL, 0}};
    int key;

    signal(SIGPIPE, SIG_IGN);
    while ((key = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (key) {
        case 's':
            opt.seconds = atof(optarg);
            break;
        case 'c':
            pin_to(atoi(optarg));
            break;
        case 'b':
            opt.size = (uint32_t)atoi(optarg);
            break;
        case 'n':
            opt.count = (uint32_t)atoi(optarg);
            break;
        case 'p':
            opt.parallel = (uint32_t)atoi(optarg);
            break;
        case 'u':
            opt.path = optarg;
            break;
        case 'f':
            opt.from.sin_family = AF_INET;
            if (inet_pton(AF_INET, optarg, &opt.from.sin_addr) != 1)
                return usage();
            break;
        default:
            return usage();
        }
    }
    if (argc - optind != 3 || opt.parallel == 0 || opt.parallel > PARALLEL_MAX ||
        opt.size > BLOCK_BYTES)
        return usage();
    opt.peer.sin_family = AF_INET;
    opt.peer.sin_port = htons((uint16_t)atoi(argv[optind + 2]));
    if (inet_pton(AF_INET, argv[optind + 1], &opt.peer.sin_addr) != 1)
        return usage();
    return run_mode(argv[optind]);
}
