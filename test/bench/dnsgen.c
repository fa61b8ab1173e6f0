/* SPDX-License-Identifier: ISC */
/* Questions over the host's stack, many under way at once, with as little work for each as goes.
 *
 *   dnsgen HOST PORT ZONE     -> dns_per_s (answers), dns_lost (of all sent), dns_wrong,
 * generator_cpu
 *
 * Asked is for A of host0000.ZONE to host0999.ZONE, in an order that only looks random. An answer
 * counts if it is one: a response without error and with an answer, and the id of a question that
 * waits for it. --nobody asks for names that do not exist, and counts NXDOMAIN. Options: --seconds
 * S (5), --parallel N questions under way (256), --edns.
 *
 * Messages go and come in batches of up to 64 with one system call. What has not come back for 20
 * ms counts as lost. Output is `name value unit`.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, QUESTION_MAX = 300, ROOM = 2048, LOST_MS = 20, NAMES = 1000 };

static struct {
    double seconds;
    uint32_t parallel;
    bool has_edns, is_nobody;
} opt = {.seconds = 5, .parallel = 256};

static struct {
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    uint8_t bytes[BATCH][ROOM];
} out, in;

static uint8_t waiting[65536]; /* by id */
static uint32_t question_len, digits_at, under_way, order;
static uint16_t next_id;
static uint64_t sent, got, wrong;

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void give_up(const char *what)
{
    fprintf(stderr, "dnsgen: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* The question that all are but for id and digits. Returns its length. */
static uint32_t make_question(const char *zone, uint8_t *question)
{
    uint32_t at = 12;
    memset(question, 0, QUESTION_MAX);
    question[5] = 1;
    question[at++] = 8;
    memcpy(question + at, opt.is_nobody ? "nobd" : "host", 4);
    digits_at = at + 4;
    at += 8;
    while (*zone != '\0') {
        size_t len = strcspn(zone, ".");
        if (len == 0 || len > 63 || at + len + 20 > QUESTION_MAX)
            give_up("the zone's name");
        question[at++] = (uint8_t)len;
        memcpy(question + at, zone, len);
        at += (uint32_t)len;
        zone += len + (zone[len] == '.');
    }
    at++;
    question[at + 1] = question[at + 3] = 1;
    at += 4;
    if (opt.has_edns) {
        static const uint8_t edns[11] = {0, 0, 41, 4, 208};
        question[11] = 1;
        memcpy(question + at, edns, sizeof edns);
        at += (uint32_t)sizeof edns;
    }
    return at;
}

static void prepare(const char *zone)
{
    uint8_t question[QUESTION_MAX];
    question_len = make_question(zone, question);
    for (uint32_t i = 0; i < BATCH; i++) {
        memcpy(out.bytes[i], question, question_len);
        out.parts[i] = (struct iovec){out.bytes[i], question_len};
        in.parts[i] = (struct iovec){in.bytes[i], ROOM};
        out.messages[i].msg_hdr = (struct msghdr){.msg_iov = &out.parts[i], .msg_iovlen = 1};
        in.messages[i].msg_hdr = (struct msghdr){.msg_iov = &in.parts[i], .msg_iovlen = 1};
    }
}

static void write_question(uint8_t *question, uint16_t id)
{
    uint32_t number = order = (order * 1103515245u + 12345u) & 0x7fffffff;
    number = number / 65536 % NAMES;
    question[0] = (uint8_t)(id >> 8);
    question[1] = (uint8_t)id;
    for (uint32_t i = 4; i > 0; i--, number /= 10)
        question[digits_at + i - 1] = (uint8_t)('0' + number % 10);
}

static void fill(int fd)
{
    while (under_way < opt.parallel) {
        uint32_t count = opt.parallel - under_way;
        count = count < BATCH ? count : BATCH;
        for (uint32_t i = 0; i < count; i++)
            write_question(out.bytes[i], (uint16_t)(next_id + i));
        int n = sendmmsg(fd, out.messages, count, MSG_DONTWAIT);
        for (int i = 0; i < n; i++)
            waiting[next_id++] = 1;
        if (n <= 0)
            return;
        sent += (uint32_t)n;
        under_way += (uint32_t)n;
    }
}

static bool is_answer(const uint8_t *msg, uint32_t len)
{
    bool has_answer = opt.is_nobody ? (msg[3] & 15) == 3 : (msg[3] & 15) == 0 && msg[7] > 0;
    return len > question_len && (msg[2] & 0x80) != 0 && has_answer;
}

static void drain(int fd)
{
    for (;;) {
        int n = recvmmsg(fd, in.messages, BATCH, MSG_DONTWAIT, NULL);
        if (n <= 0)
            return;
        for (int i = 0; i < n; i++) {
            const uint8_t *msg = in.bytes[i];
            uint16_t id = (uint16_t)(msg[0] << 8 | msg[1]);
            if (!waiting[id] || !is_answer(msg, in.messages[i].msg_len)) {
                wrong++;
                continue;
            }
            waiting[id] = 0;
            got++;
            under_way -= under_way > 0;
        }
        if (n < BATCH)
            return;
    }
}

static int run(const struct sockaddr_in *peer)
{
    int bytes = 4 << 20, fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)peer, sizeof *peer) != 0)
        give_up("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    struct pollfd wait = {fd, POLLIN, 0};
    double begin = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID), elapsed;
    while ((elapsed = seconds_of(CLOCK_MONOTONIC) - begin) < opt.seconds) {
        fill(fd);
        if (poll(&wait, 1, LOST_MS) == 0) {
            under_way = 0;
            memset(waiting, 0, sizeof waiting);
        }
        drain(fd);
    }
    printf("dns_per_s %.3f 1/s\n", (double)got / elapsed);
    printf("dns_lost %.3f %%\n", sent > got ? 100.0 * (double)(sent - got) / (double)sent : 0.0);
    printf("dns_wrong %llu answers\n", (unsigned long long)wrong);
    printf("generator_cpu %.3f %%\n", 100 * (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) / elapsed);
    return got > 0 ? 0 : 1;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: dnsgen HOST PORT ZONE [--seconds S] [--parallel N] [--edns] [--nobody]\n");
    return 64;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seconds", required_argument, NULL, 's'},
                                            {"parallel", required_argument, NULL, 'p'},
                                            {"edns", no_argument, NULL, 'e'},
                                            {"nobody", no_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    struct sockaddr_in peer = {.sin_family = AF_INET};
    int key;
    while ((key = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (key == 's')
            opt.seconds = atof(optarg);
        else if (key == 'p')
            opt.parallel = (uint32_t)atoi(optarg);
        else if (key == 'e')
            opt.has_edns = true;
        else if (key == 'n')
            opt.is_nobody = true;
        else
            return usage();
    }
    if (argc - optind != 3 || opt.parallel == 0 || opt.parallel > 32768)
        return usage();
    peer.sin_port = htons((uint16_t)atoi(argv[optind + 1]));
    if (inet_pton(AF_INET, argv[optind], &peer.sin_addr) != 1)
        return usage();
    prepare(argv[optind + 2]);
    return run(&peer);
}
