/* SPDX-License-Identifier: ISC */
/* UDP load over the host's stack: datagrams that an echo server sends back, many under way at once.
 *
 *   udpgen echo  HOST PORT     -> udp_per_s (answers), udp_lost (of all sent), generator_cpu
 *   udpgen serve HOST PORT     the host as the other side: sends back what comes
 *
 * Options: --seconds S (5), --size BYTES of payload (16), --parallel N datagrams under way (256),
 * --bundle N (1).
 *
 * Datagrams are sent and received in batches of up to 64 with one system call, so that the
 * generator is not what is measured. What has not come back for 20 ms counts as lost and its place
 * is used again; a late answer is counted as an answer all the same.
 *
 * With --bundle N up to N datagrams go to the kernel as one (UDP_SEGMENT), and it may give several
 * of one size back as one (UDP_GRO), as programs do that send much: then the generator pays its
 * kernel's stack once for N. Output is `name value unit`.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    BATCH = 64,
    SIZE_MAX_BYTES = 1472,
    BUNDLE_MAX = 64,
    ROOM = 65536, /* of a message: datagrams of one bundle */
    LOST_MS = 20,
    SOCKET_BYTES = 4 << 20,
};

/* Newer than some C libraries' headers. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static struct {
    struct sockaddr_in peer;
    double seconds;
    uint32_t size;
    uint32_t parallel;
    uint32_t bundle;
} opt = {.seconds = 5, .size = 16, .parallel = 256, .bundle = 1};

/* What the kernel says of a bundle, and is told: the size of its datagrams. */
union control {
    struct cmsghdr head;
    uint8_t room[CMSG_SPACE(sizeof(int))];
};

/* One batch: messages, their vectors, their bytes, their senders. */
static struct {
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    struct sockaddr_in peers[BATCH];
    union control control[BATCH];
    uint8_t bytes[BATCH][ROOM];
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
            .msg_control = has_peers && opt.bundle > 1 ? &batch.control[i] : NULL,
            .msg_controllen = has_peers && opt.bundle > 1 ? sizeof batch.control[i] : 0,
        };
    }
}

/* Bundles both ways; what we send is cut into datagrams of @size (0: as each message says). */
static void use_bundles(int fd, uint32_t size)
{
    int one = 1, value = (int)size;
    if (opt.bundle == 1)
        return;
    if ((size != 0 && setsockopt(fd, SOL_UDP, UDP_SEGMENT, &value, sizeof value) != 0) ||
        setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one) != 0)
        give_up("bundles");
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

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Datagrams in a message of @bytes. */
static uint32_t datagrams_in(size_t bytes)
{
    return opt.size == 0 ? 1 : (uint32_t)((bytes + opt.size - 1) / opt.size);
}

/* Sends until as many as wanted are under way; returns how many went. */
static uint32_t fill(int fd, uint32_t under_way)
{
    uint32_t sent = 0;
    while (under_way + sent < opt.parallel) {
        uint32_t left = opt.parallel - under_way - sent, count = 0;
        for (; left > 0 && count < BATCH; count++) {
            uint32_t bundle = smaller(left, opt.bundle);
            batch.parts[count].iov_len = (size_t)bundle * opt.size;
            left -= bundle;
        }
        int n = sendmmsg(fd, batch.messages, count, MSG_DONTWAIT);
        if (n <= 0)
            break; /* full, or an error that ICMP told: the next round sees */
        for (int i = 0; i < n; i++)
            sent += datagrams_in(batch.parts[i].iov_len);
    }
    return sent;
}

static uint32_t drain(int fd)
{
    uint32_t got = 0;
    for (;;) {
        for (uint32_t i = 0; i < BATCH; i++)
            batch.parts[i].iov_len = ROOM;
        int n = recvmmsg(fd, batch.messages, BATCH, MSG_DONTWAIT, NULL);
        if (n <= 0)
            return got;
        for (int i = 0; i < n; i++)
            got += opt.bundle == 1 ? 1 : datagrams_in(batch.messages[i].msg_len);
    }
}

static int echo(void)
{
    int fd = open_socket();
    uint64_t sent = 0, got = 0;
    uint32_t under_way = 0;
    struct pollfd wait = {fd, POLLIN, 0};
    prepare(opt.size, false);
    use_bundles(fd, opt.size);
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

/* The message @i goes back: as many datagrams as it was. */
static void answer(int i)
{
    struct msghdr *message = &batch.messages[i].msg_hdr;
    struct cmsghdr *control = CMSG_FIRSTHDR(message);
    batch.parts[i].iov_len = batch.messages[i].msg_len;
    message->msg_flags = 0;
    if (control == NULL || control->cmsg_level != SOL_UDP || control->cmsg_type != UDP_GRO) {
        message->msg_controllen = 0;
        return;
    }
    int size;
    memcpy(&size, CMSG_DATA(control), sizeof size);
    uint16_t segment = (uint16_t)size;
    control->cmsg_type = UDP_SEGMENT;
    control->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(control), &segment, sizeof segment);
    message->msg_controllen = CMSG_SPACE(sizeof segment);
}

static _Noreturn void serve(void)
{
    int fd = open_socket(), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&opt.peer, sizeof opt.peer) != 0)
        give_up("bind");
    use_bundles(fd, 0);
    for (;;) {
        prepare(ROOM, true);
        int n = recvmmsg(fd, batch.messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < n; i++)
            answer(i);
        for (int done = 0; done < n;) {
            int sent = sendmmsg(fd, batch.messages + done, (unsigned)(n - done), 0);
            done += sent > 0 ? sent : 1;
        }
    }
}

static int usage(void)
{
    fprintf(stderr,
            "usage: udpgen echo|serve HOST PORT [--seconds S] [--size BYTES] [--parallel N] "
            "[--bundle N]\n");
    return 64;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seconds", required_argument, NULL, 's'},
                                            {"size", required_argument, NULL, 'b'},
                                            {"parallel", required_argument, NULL, 'p'},
                                            {"bundle", required_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    int key;
    while ((key = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (key == 's')
            opt.seconds = atof(optarg);
        else if (key == 'b')
            opt.size = (uint32_t)atoi(optarg);
        else if (key == 'p')
            opt.parallel = (uint32_t)atoi(optarg);
        else if (key == 'n')
            opt.bundle = (uint32_t)atoi(optarg);
        else
            return usage();
    }
    if (argc - optind != 3 || opt.parallel == 0 || opt.size > SIZE_MAX_BYTES || opt.bundle == 0 ||
        opt.bundle > BUNDLE_MAX || opt.bundle * opt.size > ROOM - 64)
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
