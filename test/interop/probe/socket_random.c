/* SPDX-License-Identifier: ISC */
/* Random socket calls with random arguments, from several threads and processes, while memory is
 * changed under the calls, signals arrive, and processes are killed: nothing of it may harm whoever
 * serves the calls.
 *
 *   socket_random SEED SECONDS
 *
 * Ends with status 0; what the calls return is nobody's business.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AREA 65536
#define FDS  24

static uint8_t *area; /* what pointers point to; its second half is not there */
static time_t end;

struct dice {
    uint64_t state;
};

static uint32_t roll(struct dice *dice, uint32_t sides)
{
    dice->state = dice->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(dice->state >> 33) % sides;
}

/* Something that may be an address: good, at the edge of what is there, or nonsense. */
static uint64_t pointer(struct dice *dice)
{
    switch (roll(dice, 8)) {
    case 0:
        return 0;
    case 1:
        return roll(dice, 4096);
    case 2:
        return (uint64_t)(uintptr_t)area + AREA - roll(dice, 64);
    case 3:
        return ~(uint64_t)0 - roll(dice, 64);
    default:
        return (uint64_t)(uintptr_t)area + roll(dice, AREA / 2) / 8 * 8;
    }
}

static uint64_t length(struct dice *dice)
{
    static const uint32_t good[] = {0, 1, 2, 4, 8, 12, 16, 28, 40, 64, 128, 1000, 65507, 70000};
    switch (roll(dice, 6)) {
    case 0:
        return (uint64_t)roll(dice, 1u << 31) * roll(dice, 8);
    case 1:
        return ~(uint64_t)0 - roll(dice, 8);
    default:
        return good[roll(dice, sizeof(good) / sizeof(good[0]))];
    }
}

/* Addresses, headers and lengths that are nearly right. */
static void scribble(struct dice *dice)
{
    uint8_t *at = area + roll(dice, AREA / 2) / 8 * 8;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = (uint16_t)roll(dice, 65536)};
    struct msghdr message = {0};
    switch (roll(dice, 4)) {
    case 0:
        in.sin_addr.s_addr = htonl(roll(dice, 2) ? 0x0a000202 : 0x0a00020f);
        memcpy(at, &in, sizeof(in));
        break;
    case 1:
        message.msg_name = (void *)(uintptr_t)pointer(dice);
        message.msg_namelen = (socklen_t)length(dice);
        message.msg_iov = (void *)(uintptr_t)pointer(dice);
        message.msg_iovlen = roll(dice, 80);
        message.msg_control = (void *)(uintptr_t)pointer(dice);
        message.msg_controllen = length(dice);
        memcpy(at, &message, sizeof(message));
        break;
    case 2:
        for (int i = 0; i < 64; i++)
            at[i] = (uint8_t)roll(dice, 256);
        break;
    default:
        memcpy(at, (uint64_t[]){pointer(dice), length(dice)}, 16);
        break;
    }
}

/* Not 0 to 2: a copy of the standard output would be written to. */
static int descriptor(struct dice *dice)
{
    int wild = (int)roll(dice, 4000) - 100;
    bool is_wild = roll(dice, 16) == 0 && (wild < 0 || wild > 2);
    return is_wild ? wild : 3 + (int)roll(dice, FDS);
}

static void call(struct dice *dice)
{
    static const int numbers[] = {
        SYS_bind,        SYS_connect,    SYS_listen,      SYS_accept4,    SYS_getsockname,
        SYS_getpeername, SYS_setsockopt, SYS_getsockopt,  SYS_sendto,     SYS_recvfrom,
        SYS_sendmsg,     SYS_recvmsg,    SYS_sendmmsg,    SYS_recvmmsg,   SYS_shutdown,
        SYS_ioctl,       SYS_close,      SYS_dup2,        SYS_write,      SYS_bind,
        SYS_connect,     SYS_sendto,     SYS_getsockname, SYS_setsockopt,
    };
    static const int domains[] = {AF_INET, AF_INET6, AF_NETLINK, AF_UNIX};
    int number = numbers[roll(dice, sizeof(numbers) / sizeof(numbers[0]))], fd = descriptor(dice);
    uint64_t a = pointer(dice), b = length(dice), c = pointer(dice), d = length(dice);
    if (roll(dice, 4) == 0) {
        int type = 1 + (int)roll(dice, 3);
        fd =
            socket(domains[roll(dice, 4)], type | SOCK_NONBLOCK, (int)roll(dice, 8) == 0 ? 262 : 0);
        if (fd >= 3 + FDS)
            close(fd);
        return;
    }
    switch (number) {
    case SYS_setsockopt:
    case SYS_getsockopt:
        syscall(number, fd, roll(dice, 50), roll(dice, 80), a, number == SYS_getsockopt ? c : b);
        break;
    case SYS_sendto:
    case SYS_recvfrom:
        syscall(number, fd, a, b, MSG_DONTWAIT | MSG_NOSIGNAL, c, number == SYS_recvfrom ? a : d);
        break;
    case SYS_sendmmsg:
    case SYS_recvmmsg:
        syscall(number, fd, a, roll(dice, 70), MSG_DONTWAIT | MSG_NOSIGNAL, 0);
        break;
    case SYS_sendmsg:
    case SYS_recvmsg:
        syscall(number, fd, a, MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
    case SYS_ioctl:
        syscall(number, fd, 0x8910 + roll(dice, 0x35), a);
        break;
    case SYS_listen:
    case SYS_shutdown:
        syscall(number, fd, roll(dice, 4));
        break;
    case SYS_close:
        syscall(number, 3 + roll(dice, FDS));
        break;
    case SYS_dup2:
        syscall(number, fd, 3 + roll(dice, FDS));
        break;
    case SYS_write:
        syscall(number, 3 + roll(dice, FDS), a, b % 5000);
        break;
    case SYS_accept4:
        syscall(number, fd, a, c, roll(dice, 4) == 0 ? b : SOCK_NONBLOCK);
        break;
    default:
        syscall(number, fd, a, roll(dice, 2) ? b : 16);
        break;
    }
}

static void *play(void *arg)
{
    struct dice dice = {.state = (uint64_t)(uintptr_t)arg};
    while (time(NULL) < end) {
        scribble(&dice);
        call(&dice);
    }
    return NULL;
}

static void nothing(int number)
{
    (void)number;
}

static void play_in_threads(uint64_t seed)
{
    pthread_t threads[3];
    struct sigaction action = {.sa_handler = nothing, .sa_flags = seed % 2 ? SA_RESTART : 0};
    struct itimerval timer = {.it_value = {0, 700}, .it_interval = {0, 700}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (uint64_t i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, play, (void *)(uintptr_t)(seed * 16 + i));
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 64;
    uint64_t seed = strtoull(argv[1], NULL, 10);
    struct dice dice = {.state = seed};
    end = time(NULL) + atoi(argv[2]);
    signal(SIGPIPE, SIG_IGN);
    area = mmap(NULL, 2 * AREA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED || mprotect(area + AREA, AREA, PROT_NONE) != 0)
        return 1;
    for (int i = 3; i < 3 + FDS; i++)
        close(i);
    pid_t long_lived = fork();
    if (long_lived == 0) {
        play_in_threads(seed);
        _exit(0);
    }
    /* And some that are killed in the middle of it. */
    for (uint64_t round = 1; time(NULL) < end; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            play_in_threads(seed + round);
            _exit(0);
        }
        usleep(1000 + roll(&dice, 60000));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    waitpid(long_lived, NULL, 0);
    printf("done\n");
    return 0;
}
