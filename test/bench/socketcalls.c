/* SPDX-License-Identifier: ISC */
/* What single socket calls cost: `socketcalls ADDRESS PORT`, once plainly and once with the preload
 * library. Prints `name value unit`.
 *
 * write_bad, send_bad: a call that the kernel refuses at once (descriptor -1), so that the price of
 * whatever stands before it shows. connect: socket, connect, close of a listener that accepts at
 * ADDRESS. setup: the same until the other side has closed. sockopt, name: control calls of a
 * connection. udp: one datagram to the discard port there.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in to;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

static void write_bad(int fd)
{
    (void)fd;
    if (write(-1, "", 0) >= 0)
        abort();
}

static void send_bad(int fd)
{
    (void)fd;
    if (send(-1, "", 0, 0) >= 0)
        abort();
}

static void name(int fd)
{
    struct sockaddr_in of;
    socklen_t len = sizeof(of);
    (void)getpeername(fd, (struct sockaddr *)&of, &len);
}

static void option(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void socket_close(int fd)
{
    (void)fd;
    close(socket(AF_INET, SOCK_STREAM, 0));
}

static void connect_close(int fd)
{
    (void)fd;
    close(dial());
}

static void setup(int unused)
{
    char c;
    (void)unused;
    int fd = dial();
    while (read(fd, &c, 1) > 0)
        ;
    close(fd);
}

static void datagram(int fd)
{
    static const char data[64];
    struct sockaddr_in discard = to;
    discard.sin_port = htons(9);
    (void)sendto(fd, data, sizeof(data), 0, (struct sockaddr *)&discard, sizeof(discard));
}

/* The fastest of twenty rounds: others use the machine too. */
static void measure(const char *what, void (*call)(int fd), int fd, int count)
{
    double best = 1e18;
    for (int round = 0; round < 20; round++) {
        double begin = now_ns();
        for (int i = 0; i < count; i++)
            call(fd);
        double each = (now_ns() - begin) / count;
        best = each < best ? each : best;
    }
    printf("%s %.1f ns\n", what, best);
}

int main(int argc, char **argv)
{
    if (argc != 3 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
        fprintf(stderr, "usage: socketcalls ADDRESS PORT (of a server that closes at once)\n");
        return 64;
    }
    to.sin_family = AF_INET;
    to.sin_port = htons((uint16_t)atoi(argv[2]));
    int stream = dial(), dgram = socket(AF_INET, SOCK_DGRAM, 0);
    measure("write_bad", write_bad, -1, 100000);
    measure("send_bad", send_bad, -1, 100000);
    measure("getpeername", name, stream, 1000);
    measure("setsockopt", option, stream, 100);
    measure("socket_close", socket_close, -1, 1000);
    measure("connect", connect_close, -1, 100);
    measure("setup", setup, -1, 100);
    measure("udp_sendto", datagram, dgram, 200);
    close(stream);
    close(dgram);
    return 0;
}
