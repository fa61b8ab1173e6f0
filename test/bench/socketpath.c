/* SPDX-License-Identifier: ISC */
/* Would shared memory carry the data of the socket server's clients faster than a pair of sockets?
 *
 * Two processes, one that asks and one that answers, over
 *   pair       a socketpair: what a socket of ours is now
 *   eventfd    a ring of bytes in shared memory each way; who has put something into an empty ring
 *              writes to an eventfd, on which the other sleeps: the program can still poll it
 *   futex      the same with a futex: no descriptor, so neither poll nor epoll
 *   spin       the same, and whoever waits looks at the ring for ever
 * on one core (both pinned there) and on two. Prints the time of one byte there and back, and of
 * 64 KiB one way, both as the fastest of a number of rounds: others use the machine too.
 *
 *   socketpath [ROUNDS]
 */
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RING_BYTES (1u << 18)
#define PIECE      65536u

enum how { PAIR, EVENTFD, FUTEX, SPIN, HOWS };
static const char *const how_name[HOWS] = {"pair", "eventfd", "futex", "spin"};

/** One direction: the indices only grow. */
struct ring {
    _Alignas(64) _Atomic uint32_t put; /* and futex of the reader */
    _Alignas(64) _Atomic uint32_t got; /* and futex of the writer */
    _Alignas(64) _Atomic uint32_t reader_sleeps;
    _Alignas(64) _Atomic uint32_t writer_sleeps;
    _Alignas(64) uint8_t bytes[RING_BYTES];
};

struct end {
    enum how how;
    int fd;                  /* PAIR */
    int event_in, event_out; /* EVENTFD: what wakes us, what wakes the other */
    struct ring *in, *out;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_until_changed(struct end *e, _Atomic uint32_t *word, _Atomic uint32_t *sleeps,
                                uint32_t seen)
{
    uint64_t count;
    if (e->how == SPIN)
        return;
    atomic_store(sleeps, 1);
    if (atomic_load(word) == seen) {
        if (e->how == FUTEX)
            syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
        else if (read(e->event_in, &count, sizeof(count)) < 0)
            die("eventfd");
    }
    atomic_store(sleeps, 0);
}

static void wake(struct end *e, _Atomic uint32_t *word, _Atomic uint32_t *sleeps)
{
    static const uint64_t one = 1;
    if (e->how == SPIN || atomic_load(sleeps) == 0)
        return;
    if (e->how == FUTEX)
        syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
    else if (write(e->event_out, &one, sizeof(one)) < 0)
        die("eventfd");
}

static void ring_write(struct end *e, const uint8_t *data, uint32_t len)
{
    struct ring *r = e->out;
    while (len > 0) {
        uint32_t put = atomic_load(&r->put), got = atomic_load(&r->got);
        uint32_t room = RING_BYTES - (put - got), at = put % RING_BYTES;
        uint32_t part = len < room ? len : room;
        if (part > RING_BYTES - at)
            part = RING_BYTES - at;
        if (part == 0) {
            sleep_until_changed(e, &r->got, &r->writer_sleeps, got);
            continue;
        }
        memcpy(r->bytes + at, data, part);
        atomic_store(&r->put, put + part);
        wake(e, &r->put, &r->reader_sleeps);
        data += part;
        len -= part;
    }
}

static void ring_read(struct end *e, uint8_t *data, uint32_t len)
{
    struct ring *r = e->in;
    while (len > 0) {
        uint32_t put = atomic_load(&r->put), got = atomic_load(&r->got), at = got % RING_BYTES;
        uint32_t part = len < put - got ? len : put - got;
        if (part > RING_BYTES - at)
            part = RING_BYTES - at;
        if (part == 0) {
            sleep_until_changed(e, &r->put, &r->reader_sleeps, put);
            continue;
        }
        memcpy(data, r->bytes + at, part);
        atomic_store(&r->got, got + part);
        wake(e, &r->got, &r->writer_sleeps);
        data += part;
        len -= part;
    }
}

static void put_all(struct end *e, const uint8_t *data, uint32_t len)
{
    if (e->how != PAIR) {
        ring_write(e, data, len);
        return;
    }
    for (ssize_t put; len > 0; data += put, len -= (uint32_t)put)
        if ((put = write(e->fd, data, len)) <= 0)
            die("write");
}

static void get_all(struct end *e, uint8_t *data, uint32_t len)
{
    if (e->how != PAIR) {
        ring_read(e, data, len);
        return;
    }
    for (ssize_t got; len > 0; data += got, len -= (uint32_t)got)
        if ((got = read(e->fd, data, len)) <= 0)
            die("read");
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    (void)sched_setaffinity(0, sizeof(set), &set);
}

/* The other process: a byte back for each byte, then as many pieces as are said, and a byte. */
static void answer(struct end *e, int rounds, int pings, int pieces)
{
    static uint8_t piece[PIECE];
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < pings; i++) {
            get_all(e, piece, 1);
            put_all(e, piece, 1);
        }
        for (int i = 0; i < pieces; i++)
            get_all(e, piece, PIECE);
        put_all(e, piece, 1);
    }
    _exit(0);
}

static void measure(enum how how, bool is_one_core, int rounds, int pings, int pieces)
{
    static uint8_t piece[PIECE];
    int pair[2], event[2] = {eventfd(0, 0), eventfd(0, 0)};
    struct ring *ring =
        mmap(NULL, 2 * sizeof(*ring), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        die("start");
    struct end here = {how, pair[0], event[0], event[1], &ring[0], &ring[1]};
    struct end there = {how, pair[1], event[1], event[0], &ring[1], &ring[0]};
    pid_t child = fork();
    pin(child != 0 || is_one_core ? 0 : 1);
    if (child == 0)
        answer(&there, rounds, pings, pieces);
    double ping_ns = 1e18, piece_ns = 1e18;
    for (int round = 0; round < rounds; round++) {
        uint64_t begin = now_ns();
        for (int i = 0; i < pings; i++) {
            put_all(&here, piece, 1);
            get_all(&here, piece, 1);
        }
        uint64_t middle = now_ns();
        for (int i = 0; i < pieces; i++)
            put_all(&here, piece, PIECE);
        get_all(&here, piece, 1);
        double one = (double)(middle - begin) / pings, other = (double)(now_ns() - middle) / pieces;
        ping_ns = one < ping_ns ? one : ping_ns;
        piece_ns = other < piece_ns ? other : piece_ns;
    }
    waitpid(child, NULL, 0);
    const char *cores = is_one_core ? "one_core" : "two_cores";
    printf("%s_%s_ping %.0f ns\n", how_name[how], cores, ping_ns);
    printf("%s_%s_64k %.0f ns\n", how_name[how], cores, piece_ns);
    munmap(ring, 2 * sizeof(*ring));
    for (int i = 0; i < 2; i++) {
        close(pair[i]);
        close(event[i]);
    }
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 20;
    for (int is_one_core = 1; is_one_core >= 0; is_one_core--)
        for (int how = 0; how < HOWS; how++)
            if (!(is_one_core && how == SPIN)) /* the one would spin while the other could work */
                measure((enum how)how, is_one_core, rounds, 200, 64);
    return 0;
}
