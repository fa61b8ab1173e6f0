/* SPDX-License-Identifier: ISC */
/* HTTP load with as little work of its own as possible: keep-alive connections, one request under
 * way on each.
 *
 *   httpgen HOST PORT PATH     -> http_per_s http_p50_us http_p99_us generator_cpu
 *
 * Options: --seconds S (5), --parallel N connections (64).
 *
 * The first answer of a connection is read to its end with care: status 200 and Content-Length are
 * looked for. Every later one must have the same number of bytes and begin with the same status
 * line; its other bytes are not looked at. That makes it faster than generators that parse each
 * answer, so that a fast server is not hidden behind the generator. Latencies go into a histogram
 * of microseconds: percentiles are exact below 65 ms.
 *
 * Output is `name value unit`. The exit status is 1 if a connection fails or an answer is not what
 * the first one was.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PARALLEL_MAX = 4096, EVENTS = 256, US_MAX = 65536, ANSWER_MAX = 1 << 20 };

struct connection {
    int fd;
    uint32_t got; /* of the answer under way */
    uint64_t sent_us;
};

static struct {
    struct sockaddr_in peer;
    double seconds;
    uint32_t parallel;
    char request[1024];
    size_t request_len;
    uint32_t answer_len; /* 0: not known yet */
    uint64_t done;
    uint32_t histogram[US_MAX];
    struct connection connections[PARALLEL_MAX];
    char answer[ANSWER_MAX];
} lab = {.seconds = 5, .parallel = 64};

static uint64_t clock_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static _Noreturn void give_up(const char *what, const char *why)
{
    fprintf(stderr, "httpgen: %s: %s\n", what, why);
    exit(1);
}

static void ask(struct connection *c, uint64_t now_us)
{
    c->got = 0;
    c->sent_us = now_us;
    if (write(c->fd, lab.request, lab.request_len) != (ssize_t)lab.request_len)
        give_up("write", strerror(errno));
}

/* The length of the whole answer, once its head is there; 0 before. */
static uint32_t length_of(const char *answer, uint32_t len)
{
    static const char field[] = "\r\nContent-Length: ";
    const char *end = memmem(answer, len, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    const char *at = memmem(answer, (size_t)(end - answer), field, sizeof field - 1);
    if (at == NULL || strncmp(answer, "HTTP/1.1 200", 12) != 0)
        give_up("answer", "neither status 200 with Content-Length");
    return (uint32_t)(end + 4 - answer) + (uint32_t)atoi(at + sizeof field - 1);
}

static void take(struct connection *c)
{
    char *at = lab.answer_len == 0 ? lab.answer + c->got : lab.answer;
    ssize_t n = read(c->fd, at, ANSWER_MAX - c->got);
    if (n <= 0)
        give_up("read", n < 0 ? strerror(errno) : "the server has closed the connection");
    if (lab.answer_len != 0 && c->got == 0 && n >= 12 && memcmp(at, "HTTP/1.1 200", 12) != 0)
        give_up("answer", "the status is not 200");
    c->got += (uint32_t)n;
    if (lab.answer_len == 0)
        lab.answer_len = length_of(lab.answer, c->got);
    if (lab.answer_len == 0 || c->got < lab.answer_len)
        return;
    if (c->got > lab.answer_len)
        give_up("answer", "longer than the first one");
    uint64_t now_us = clock_us(CLOCK_MONOTONIC), took_us = now_us - c->sent_us;
    lab.histogram[took_us < US_MAX ? took_us : US_MAX - 1]++;
    lab.done++;
    ask(c, now_us);
}

static void open_connections(int epoll_fd)
{
    for (uint32_t i = 0; i < lab.parallel; i++) {
        struct connection *c = &lab.connections[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        int one = 1;
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&lab.peer, sizeof lab.peer) != 0)
            give_up("connect", strerror(errno));
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
            give_up("epoll_ctl", strerror(errno));
    }
}

static uint32_t percentile(uint32_t percent)
{
    uint64_t seen = 0;
    uint32_t us = 0;
    while (us < US_MAX - 1 && (seen += lab.histogram[us]) * 100 < lab.done * percent)
        us++;
    return us;
}

static void load(void)
{
    struct epoll_event events[EVENTS];
    int epoll_fd = epoll_create1(0);
    open_connections(epoll_fd);
    uint64_t begin_us = clock_us(CLOCK_MONOTONIC), cpu_us = clock_us(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t end_us = begin_us + (uint64_t)(lab.seconds * 1e6), now_us = begin_us;
    /* The first alone: it tells the length of the others. */
    ask(&lab.connections[0], now_us);
    while (lab.answer_len == 0 || lab.done == 0)
        take(&lab.connections[0]);
    for (uint32_t i = 1; i < lab.parallel; i++)
        ask(&lab.connections[i], now_us);
    while ((now_us = clock_us(CLOCK_MONOTONIC)) < end_us) {
        int count = epoll_wait(epoll_fd, events, EVENTS, 1000);
        if (count == 0)
            give_up("wait", "no answer for a second");
        for (int i = 0; i < count; i++)
            take(events[i].data.ptr);
    }
    double elapsed_s = (double)(now_us - begin_us) / 1e6;
    printf("http_per_s %.3f 1/s\n", (double)lab.done / elapsed_s);
    printf("http_p50_us %u us\nhttp_p99_us %u us\n", percentile(50), percentile(99));
    printf("generator_cpu %.3f %%\n",
           (double)(clock_us(CLOCK_PROCESS_CPUTIME_ID) - cpu_us) / elapsed_s / 1e4);
}

static int usage(void)
{
    fprintf(stderr, "usage: httpgen HOST PORT PATH [--seconds S] [--parallel N]\n");
    return 64;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seconds", required_argument, NULL, 's'},
                                            {"parallel", required_argument, NULL, 'p'},
                                            {NULL, 0, NULL, 0}};
    int key;
    while ((key = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (key == 's')
            lab.seconds = atof(optarg);
        else if (key == 'p')
            lab.parallel = (uint32_t)atoi(optarg);
        else
            return usage();
    }
    if (argc - optind != 3 || lab.parallel == 0 || lab.parallel > PARALLEL_MAX)
        return usage();
    const char *host = argv[optind], *path = argv[optind + 2];
    lab.peer.sin_family = AF_INET;
    lab.peer.sin_port = htons((uint16_t)atoi(argv[optind + 1]));
    int len = snprintf(lab.request, sizeof lab.request, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path,
                       host);
    if (inet_pton(AF_INET, host, &lab.peer.sin_addr) != 1 || len >= (int)sizeof lab.request)
        return usage();
    lab.request_len = (size_t)len;
    load();
    return 0;
}
