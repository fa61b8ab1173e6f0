/* SPDX-License-Identifier: ISC */
/* UDP load over the host's stack: datagrams that an echo server sends back, many under way at once.
 *
 *   udpgen echo  HOST PORT     -> udp_per_s (answers), udp_lost (of all sent), generator_cpu
 *   udpgen serve HOST PORT     the host as the other side: sends back what comes
 *
 * Options: --seconds S (5), --size BYTES of payload (16), --parallel N datagrams under way (256).
 *
 * Datagrams are sent and received in batches of up to 64 with one system call, so that the
 * generator is not what is measured. What has not come back for 20 ms counts as lost and its place
 * is used again; a late answer is counted as an answer all the same. Output is `name value unit`.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, SIZE_MAX_BYTES = 1472, LOST_MS = 20, SOCKET_BYTES = 4 << 20 };

static struct {
    struct sockaddr_in peer;
    double seconds;
    uint32_t size;
    uint32_t parallel;
} opt = {.seconds = 5, .size = 16, .parallel = 256};

/* One batch: messages, their vectors, their bytes, their senders. */
static struct {
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    struct sockaddr_in peers[BATCH];
    uint8_t bytes[BATCH][SIZE_MAX_BYTES];
} batch;

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void give_up(const char *what)
{
    fprintf(stderr, "udpgen: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void prepare(uint32_t size, bool has_peers)
{
    for (uint32_t i = 0; i < BATCH; i++) {
        batch.parts[i] = (struct iovec){batch.bytes[i], size};
        batch.messages[i].msg_hdr = (struct msghdr){
            .msg_name = has_peers ? &batch.peers[i] : NULL,
            .msg_namelen = has_peers ? sizeof batch.peers[i] : 0,
            .msg_iov = &batch.parts[i],
            .msg_iovlen = 1,
        };
    }
}

static int open_socket(void)
{
    int bytes = SOCKET_BYTES, fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0)
        give_up("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    return fd;
}

/* Sends until @limit are under way; returns how many went. */
static uint32_t fill(int fd, uint32_t under_way)
{
    uint32_t sent = 0;
    while (under_way + sent < opt.parallel) {
        uint32_t count = opt.parallel - under_way - sent;
        int n = sendmmsg(fd, batch.messages, count < BATCH ? count : BATCH, MSG_DONTWAIT);
        if (n <= 0)
            break; /* full, or an error that ICMP told: the next round sees */
        sent += (uint32_t)n;
    }
    return sent;
}

static uint32_t drain(int fd)
{
    uint32_t got = 0;
    int n;
    while ((n = recvmmsg(fd, batch.messages, BATCH, MSG_DONTWAIT, NULL)) > 0)
        got += (uint32_t)n;
    return got;
}

static int echo(void)
{
    int fd = open_socket();
    uint64_t sent = 0, got = 0;
    uint32_t under_way = 0;
    struct pollfd wait = {fd, POLLIN, 0};
    prepare(opt.size, false);
    if (connect(fd, (struct sockaddr *)&opt.peer, sizeof opt.peer) != 0)
        give_up("connect");
    double begin = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID), elapsed;
    while ((elapsed = seconds_of(CLOCK_MONOTONIC) - begin) < opt.seconds) {
        uint32_t n = fill(fd, under_way);
        sent += n;
        under_way += n;
        if (poll(&wait, 1, LOST_MS) == 0)
            under_way = 0; /* lost */
        n = drain(fd);
        got += n;
        under_way -= n < under_way ? n : under_way;
    }
    printf("udp_per_s %.3f 1/s\n", (double)got / elapsed);
    printf("udp_lost %.3f %%\n", sent > got ? 100.0 * (double)(sent - got) / (double)sent : 0.0);
    printf("generator_cpu %.3f %%\n", 100 * (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) / elapsed);
    return got > 0 ? 0 : 1;
}

static _Noreturn void serve(void)
{
    int fd = open_socket(), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&opt.peer, sizeof opt.peer) != 0)
        give_up("bind");
    for (;;) {
        prepare(SIZE_MAX_BYTES, true);
        int n = recvmmsg(fd, batch.messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < n; i++)
            batch.parts[i].iov_len = batch.messages[i].msg_len;
        for (int done = 0; done < n;) {
            int sent = sendmmsg(fd, batch.messages + done, (unsigned)(n - done), 0);
            done += sent > 0 ? sent : 1;
        }
    }
}

static int usage(void)
{
    fprintf(stderr,
            "usage: udpgen echo|serve HOST PORT [--seconds S] [--size BYTES] [--parallel N]\n");
    return 64;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seconds", required_argument, NULL, 's'},
                                            {"size", required_argument, NULL, 'b'},
                                            {"parallel", required_argument, NULL, 'p'},
                                            {NULL, 0, NULL, 0}};
    int key;
    while ((key = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (key == 's')
            opt.seconds = atof(optarg);
        else if (key == 'b')
            opt.size = (uint32_t)atoi(optarg);
        else if (key == 'p')
            opt.parallel = (uint32_t)atoi(optarg);
        else
            return usage();
    }
    if (argc - optind != 3 || opt.parallel == 0 || opt.size > SIZE_MAX_BYTES)
        return usage();
    opt.peer.sin_family = AF_INET;
    opt.peer.sin_port = htons((uint16_t)atoi(argv[optind + 2]));
    if (inet_pton(AF_INET, argv[optind + 1], &opt.peer.sin_addr) != 1)
        return usage();
    if (strcmp(argv[optind], "echo") == 0)
        return echo();
    if (strcmp(argv[optind], "serve") == 0)
        serve();
    return usage();
}
