/* SPDX-License-Identifier: ISC */
/* What the parts of the socket conformance program share: results, addresses, and the peer at the
 * other end. */
#ifndef MIRARI_TEST_SOCKET_CONFORM_H
#define MIRARI_TEST_SOCKET_CONFORM_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- results: one line a case, the same in every run
 * --------------------------------------------- */

/* Begins a case in a process of its own: `case_begin(...)` is true in the child, which ends with
 * case_end(). */
bool case_begin(const char *format, ...) __attribute__((format(printf, 1, 2)));
void case_end(void) __attribute__((noreturn));
/* The line `CASE: result` or `CASE.name: result`. */
void say(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Ends the case: something it needs does not work, which is a result too. */
void give_up(const char *what) __attribute__((noreturn));

/* "ok" for 0, a number, or the name of errno for -1. Texts live until 16 further calls. */
const char *ret(long r);
const char *errno_text(int e);
const char *poll_text(int bits);
/* What poll(2) says now; what it says when one of `events` has come, at the latest after three
 * seconds. */
int poll_now(int fd, int events);
int await(int fd, int events);
/* True if nothing of `events` comes for a moment; only for "nothing happens" results. */
bool stays(int fd, int events);

/* ---- addresses
 * ----------------------------------------------------------------------------------- */

enum who {
    WHO_ANY,
    WHO_SELF, /* the address of the stack that is tested */
    WHO_PEER, /* the helper's, on the host's stack */
    WHO_LOOP,
    WHO_DARK,  /* behind the peer; packets to it disappear */
    WHO_NOWAY, /* behind the peer; the peer answers that there is no such host */
    WHO_OTHER, /* nobody's address */
};
struct place {
    struct sockaddr_storage addr;
    socklen_t len;
};
struct place place(int family, enum who who, int port);
/* AF_INET6 with the IPv4 address inside. */
struct place place_mapped(enum who who, int port);
#define AT(p) ((struct sockaddr *)&(p).addr), (p).len
int port_of(const struct sockaddr_storage *addr);
/* "self:same": who, and whether the port is 0, `port` ("same") or another ("some"). */
const char *place_text(const struct sockaddr_storage *addr, socklen_t len, int port);
const char *local_text(int fd, int port);
const char *remote_text(int fd, int port);

/* ---- the peer
 * ------------------------------------------------------------------------------------ */

/* Its TCP ends are passed here as descriptors of the host's stack; its UDP sockets and listeners
 * have numbers there. */
int peer_listen(int family, int backlog, int *port);
int peer_accept(int id);
int peer_accept_from(int id, struct sockaddr_storage *from);
int peer_connect(int family, int port);
int peer_connect_now(int family, int port); /* does not wait for an answer */
int peer_closed_port(int family, int type);
int peer_udp(int family, int *port);
int peer_send(int id, enum who who, int family, int port, int len);
/* Bytes of the next datagram, -1 if none came. */
int peer_receive(int id, struct sockaddr_storage *from, int *ttl, int *tos);
int peer_join(int id, int family);
void peer_reset(int fd);
void peer_urgent(int fd, const char *text);

/* ---- makers
 * -------------------------------------------------------------------------------------- */

struct ends {
    int fd;  /* of the stack that is tested */
    int far; /* the peer's, or -1 */
    int id;  /* the peer's listener or UDP socket, or -1 */
    int port;
};
int stream(int family);
int dgram(int family);
struct ends connected(int family);
struct ends accepted(int family);
/* A listener at the wildcard address; *port where. */
int listening(int family, int backlog, int *port);
void nonblocking(int fd);
/* Bytes until the end of file or `most`, or -1; gives up when nothing comes for three seconds. */
long drain(int fd, char *to, size_t most);
const char *family_text(int family);
void on_signal(int flags);
/* SIGUSR1 every 20 ms from now on; its count in `signals_seen`. */
void tick(void);
extern volatile sig_atomic_t signals_seen;

/* ---- the parts: each runs its cases
 * --------------------------------------------------------------- */
void cases_open(int family);
void cases_state(int family);
void cases_option(int family);
void cases_stream(int family);
void cases_urgent(int family);
void cases_dgram(int family);
void cases_ready(int family);
void cases_process(int family);
void cases_misc(void);
/* What a child that was exec'ed does; see conform_process.c. */
int exec_child(int argc, char **argv);

#endif
