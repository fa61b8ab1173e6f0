/* SPDX-License-Identifier: ISC */
/* `mirari vchan bench`: bytes between two processes on two processors, by vchan over a memfd and by
 * what the kernel has.
 *
 * Throughput: one process writes pieces of 64 KiB or of 1,460 bytes, the other one reads with a
 * buffer of 64 KiB, for 60 ms; a Unix stream socket and a pipe do the same. Round trip: one byte
 * there and back. Every kind is measured --rounds times (7), in turns, and the medians are printed
 * with the ratios of one run, which say more than the values. Idle: processor time of a second in
 * which a channel waits.
 *
 * Prints lines `name value unit`. With a NAME: vchan_echo.c.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari/vchan.h"

#define MEASURE_US 60000u
#define ROUNDS_MAX 99

enum kind { UNIX, PIPE, VCHAN, KINDS };
static const char *const kind_name[] = {"unix", "pipe", "vchan"};

static char path[64];
static uint8_t buffer[65536];

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    complain("vchan bench: %s: %s", what, strerror(errno));
    exit(EXIT_FAIL);
}

static void pin(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &set);
    (void)sched_setaffinity(0, sizeof(set), &set);
}

/* ---- one end, of whatever kind ------------------------------------------------------------------
 */

struct end {
    enum kind kind;
    int in, out;
    struct mir_memfd memfd;
    struct mir_vchan vchan;
};

static const struct mir_memfd_config memfd_config = {.spin_us = MIR_MEMFD_SPIN_US};

static size_t put(struct end *end, const void *data, size_t len)
{
    if (end->kind != VCHAN) {
        ssize_t n = write(end->out, data, len);
        return n < 0 ? 0 : (size_t)n;
    }
    size_t n = 0;
    for (;;) {
        int r = mir_vchan_write(&end->vchan, data, len, &n);
        if (r == 0)
            return n;
        if (r != -MIR_EAGAIN ||
            mir_memfd_wait(&end->memfd, &end->vchan, MIR_VCHAN_WRITABLE, MIR_TIME_NEVER) < 0)
            return 0;
    }
}

static size_t get(struct end *end, void *data, size_t len)
{
    if (end->kind != VCHAN) {
        ssize_t n = read(end->in, data, len);
        return n < 0 ? 0 : (size_t)n;
    }
    size_t n = 0;
    if (mir_memfd_wait(&end->memfd, &end->vchan, MIR_VCHAN_READABLE, MIR_TIME_NEVER) < 0)
        return 0;
    return mir_vchan_read(&end->vchan, data, len, &n) == 0 ? n : 0;
}

static void all(struct end *end, const void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t n = put(end, (const uint8_t *)data + at, len - at);
        if (n == 0)
            return;
        at += n;
    }
}

/* ---- what the two processes do ------------------------------------------------------------------
 */

static double send_for_a_while(struct end *end, size_t piece)
{
    mir_time_us start_us = mir_memfd_now(), now_us;
    uint64_t bytes = 0;
    do {
        for (unsigned i = 0; i < 16; i++, bytes += piece)
            all(end, buffer, piece);
        now_us = mir_memfd_now();
    } while (now_us - start_us < MEASURE_US);
    return (double)bytes / (double)(now_us - start_us);
}

static double go_to_and_fro(struct end *end)
{
    uint8_t byte = 1;
    mir_time_us start_us = mir_memfd_now(), now_us;
    uint64_t trips = 0;
    do {
        for (unsigned i = 0; i < 16; i++, trips++) {
            all(end, &byte, 1);
            if (get(end, &byte, 1) == 0)
                exit(1);
        }
        now_us = mir_memfd_now();
    } while (now_us - start_us < MEASURE_US);
    return (double)(now_us - start_us) * 1000 / (double)trips;
}

/* The other process: reads to the end; answers each byte if @is_echo. */
static void be_peer(struct end *end, bool is_echo)
{
    uint64_t total = 0;
    size_t n;
    while ((n = get(end, buffer, sizeof(buffer))) > 0) {
        total += n;
        if (is_echo)
            all(end, buffer, n);
    }
    _exit(total == 0);
}

static void open_kernel(struct end *parent, struct end *child, enum kind kind)
{
    int a[2], b[2];
    *parent = *child = (struct end){.kind = kind};
    if (kind == UNIX) {
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, a) == 0, "socketpair");
        parent->in = parent->out = a[0];
        child->in = child->out = a[1];
        return;
    }
    must(pipe(a) == 0 && pipe(b) == 0, "pipe");
    *parent = (struct end){.kind = kind, .in = a[0], .out = b[1]};
    *child = (struct end){.kind = kind, .in = b[0], .out = a[1]};
}

static void serve(struct mir_memfd_listener *listener, struct end *end)
{
    struct mir_vchan_config config = {0};
    end->kind = VCHAN;
    while (mir_memfd_accept(listener, &memfd_config, &end->memfd) == -MIR_EAGAIN)
        usleep(100);
    must(mir_vchan_serve(&end->vchan, &end->memfd.channel, &config) == 0, "serve");
}

static void join(struct end *end)
{
    struct mir_vchan_config config = {0};
    end->kind = VCHAN;
    must(mir_memfd_connect(path, MIR_TIME_NEVER, &memfd_config, &end->memfd) == 0, "connect");
    must(mir_vchan_connect(&end->vchan, &end->memfd.channel, &config) == 0, "vchan");
}

static void close_end(struct end *end)
{
    if (end->kind == VCHAN) {
        mir_vchan_close(&end->vchan);
        return;
    }
    close(end->in);
    if (end->out != end->in)
        close(end->out);
}

/* One measurement; @piece 0 is the round trip. */
static double measure(enum kind kind, size_t piece)
{
    static struct end mine, theirs;
    struct mir_memfd_listener listener;
    const struct mir_memfd_listen_config config = {.path = path};
    int status;
    if (kind == VCHAN)
        must(mir_memfd_listen(&listener, &config) == 0, "listen");
    else
        open_kernel(&mine, &theirs, kind);
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        pin(1);
        if (kind == VCHAN)
            join(&theirs);
        else
            close_end(&mine);
        be_peer(&theirs, piece == 0);
    }
    pin(0);
    if (kind == VCHAN)
        serve(&listener, &mine);
    else
        close_end(&theirs);
    double value = piece == 0 ? go_to_and_fro(&mine) : send_for_a_while(&mine, piece);
    close_end(&mine);
    if (kind == VCHAN)
        mir_memfd_listener_close(&listener);
    must(waitpid(child, &status, 0) == child && status == 0, "the peer");
    return value;
}

static double processor_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Processor time in ms of a second in which a server waits for a client that says nothing. */
static double measure_idle(void)
{
    static struct end mine, theirs;
    struct mir_memfd_listener listener;
    const struct mir_memfd_listen_config config = {.path = path};
    must(mir_memfd_listen(&listener, &config) == 0, "listen");
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        join(&theirs);
        be_peer(&theirs, true);
    }
    serve(&listener, &mine);
    uint8_t byte = 0;
    all(&mine, &byte, 1);
    (void)get(&mine, &byte, 1);
    double before = processor_s();
    (void)!mir_memfd_wait(&mine.memfd, &mine.vchan, MIR_VCHAN_READABLE,
                          mir_memfd_now() + MIR_US_PER_S);
    double used = processor_s() - before;
    close_end(&mine);
    mir_memfd_listener_close(&listener);
    waitpid(child, NULL, 0);
    return used * 1000;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int vchan_bench(int argc, char **argv)
{
    static const char *const names[] = {"--rounds"};
    static const size_t pieces[] = {65536, 1460, 0};
    static double value[3][KINDS][ROUNDS_MAX], median[3][KINDS];
    int rounds = 7;
    if (argc == 2 && argv[1][0] != '-')
        return vchan_echo(argv[1], 5);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--rounds") != 0 && strcmp(argv[i], "-n") != 0)
            return usage_error("vchan bench", argv[i], names, LEN(names));
        rounds = i + 1 < argc ? atoi(argv[++i]) : 0;
        if (rounds < 1 || rounds > ROUNDS_MAX) {
            complain("vchan bench: --rounds wants a number from 1 to %d", ROUNDS_MAX);
            return EXIT_USAGE;
        }
    }
    snprintf(path, sizeof(path), "/tmp/mirari-bench-vchan.%d", (int)getpid());
    for (int i = 0; i < rounds; i++)
        for (unsigned p = 0; p < 3; p++)
            for (unsigned k = 0; k < KINDS; k++)
                value[p][k][i] = measure((enum kind)k, pieces[p]);
    for (unsigned p = 0; p < 3; p++)
        for (unsigned k = 0; k < KINDS; k++) {
            qsort(value[p][k], (size_t)rounds, sizeof(double), compare);
            median[p][k] = value[p][k][rounds / 2];
            if (pieces[p] > 0)
                printf("%s_%zu %.0f MB/s\n", kind_name[k], pieces[p], median[p][k]);
            else
                printf("%s_round_trip %.0f ns\n", kind_name[k], median[p][k]);
        }
    printf("vchan_65536_to_unix %.2f ratio\n", median[0][VCHAN] / median[0][UNIX]);
    printf("vchan_1460_to_unix %.2f ratio\n", median[1][VCHAN] / median[1][UNIX]);
    printf("pipe_to_vchan_round_trip %.2f ratio\n", median[2][PIPE] / median[2][VCHAN]);
    printf("vchan_idle %.3f ms/s\n", measure_idle());
    return 0;
}
