/* SPDX-License-Identifier: ISC */
/* What the parts of libmirari-socket.so share.
 *
 * The library stands in front of the C library in a program that nobody rebuilt (LD_PRELOAD). A
 * socket that our stack serves is, in the program, one end of a kernel pair (cmd/socket/proto.h),
 * so most calls need no help at all. What does need help is found by a table with one word for each
 * descriptor:
 *
 *   0                foreign: the call goes straight to the C library, about two nanoseconds late
 *   PRE_PRIVATE      the library's own (control connections, ends B): the program does not see it
 *   number of a      an internet socket, by us (or still by the host, while rules may change that);
 *   struct pre_sock  PRE_DATA: read and write of it need us too
 *
 * The word says what was true when it was written. Whoever acts on it asks the kernel for the inode
 * first (pre_get), because descriptors are also closed where no library sees it.
 *
 * SIGNALS AND THREADS. There is no lock that a signal handler could find taken: calls take a free
 * control connection out of a pool and put it back, sockets are counted, the short lock of a socket
 * is held with signals blocked. No allocation but in the calls that POSIX does not allow in
 * handlers (names, interfaces). fork() needs nothing: the child notices that a page of memory has
 * become zero (MADV_WIPEONFORK) and leaves the parent's connections alone. A child of vfork() works
 * in its parent's memory, on descriptors of its own: it writes nothing into the table.
 */
#ifndef CMD_SOCKET_PRELOAD_H
#define CMD_SOCKET_PRELOAD_H

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define HOOK        __attribute__((visibility("default")))
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define PRE_RULES_ENV "MIRARI_SOCKET_RULES" /**< rules of cmd/socket/rules.h */

/* ---- the C library's own functions ------------------------------------------------------------
 */

/* type, name, parameters, arguments */
#define PRE_REALS(X)                                                                               \
    X(int, socket, (int a, int b, int c), (a, b, c))                                               \
    X(int, bind, (int a, const struct sockaddr *b, socklen_t c), (a, b, c))                        \
    X(int, connect, (int a, const struct sockaddr *b, socklen_t c), (a, b, c))                     \
    X(int, listen, (int a, int b), (a, b))                                                         \
    X(int, accept4, (int a, struct sockaddr *b, socklen_t *c, int d), (a, b, c, d))                \
    X(int, getsockname, (int a, struct sockaddr *b, socklen_t *c), (a, b, c))                      \
    X(int, getpeername, (int a, struct sockaddr *b, socklen_t *c), (a, b, c))                      \
    X(int, setsockopt, (int a, int b, int c, const void *d, socklen_t e), (a, b, c, d, e))         \
    X(int, getsockopt, (int a, int b, int c, void *d, socklen_t *e), (a, b, c, d, e))              \
    X(int, shutdown, (int a, int b), (a, b))                                                       \
    X(int, sockatmark, (int a), (a))                                                               \
    X(ssize_t, read, (int a, void *b, size_t c), (a, b, c))                                        \
    X(ssize_t, write, (int a, const void *b, size_t c), (a, b, c))                                 \
    X(ssize_t, readv, (int a, const struct iovec *b, int c), (a, b, c))                            \
    X(ssize_t, writev, (int a, const struct iovec *b, int c), (a, b, c))                           \
    X(ssize_t, send, (int a, const void *b, size_t c, int d), (a, b, c, d))                        \
    X(ssize_t, recv, (int a, void *b, size_t c, int d), (a, b, c, d))                              \
    X(ssize_t, sendto,                                                                             \
      (int a, const void *b, size_t c, int d, const struct sockaddr *e, socklen_t f),              \
      (a, b, c, d, e, f))                                                                          \
    X(ssize_t, recvfrom, (int a, void *b, size_t c, int d, struct sockaddr *e, socklen_t *f),      \
      (a, b, c, d, e, f))                                                                          \
    X(ssize_t, sendmsg, (int a, const struct msghdr *b, int c), (a, b, c))                         \
    X(ssize_t, recvmsg, (int a, struct msghdr *b, int c), (a, b, c))                               \
    X(int, sendmmsg, (int a, struct mmsghdr *b, unsigned c, int d), (a, b, c, d))                  \
    X(int, recvmmsg, (int a, struct mmsghdr *b, unsigned c, int d, struct timespec *e),            \
      (a, b, c, d, e))                                                                             \
    X(ssize_t, sendfile, (int a, int b, off_t *c, size_t d), (a, b, c, d))                         \
    X(ssize_t, splice, (int a, off64_t *b, int c, off64_t *d, size_t e, unsigned f),               \
      (a, b, c, d, e, f))                                                                          \
    X(int, close, (int a), (a))                                                                    \
    X(int, close_range, (unsigned a, unsigned b, int c), (a, b, c))                                \
    X(int, dup, (int a), (a))                                                                      \
    X(int, dup2, (int a, int b), (a, b))                                                           \
    X(int, dup3, (int a, int b, int c), (a, b, c))                                                 \
    X(int, execve, (const char *a, char *const *b, char *const *c), (a, b, c))                     \
    X(int, fexecve, (int a, char *const *b, char *const *c), (a, b, c))                            \
    X(int, execvpe, (const char *a, char *const *b, char *const *c), (a, b, c))                    \
    X(int, setuid, (uid_t a), (a))                                                                 \
    X(int, setreuid, (uid_t a, uid_t b), (a, b))                                                   \
    X(int, setresuid, (uid_t a, uid_t b, uid_t c), (a, b, c))                                      \
    X(int, seteuid, (uid_t a), (a))                                                                \
    X(int, chroot, (const char *a), (a))                                                           \
    X(int, getaddrinfo,                                                                            \
      (const char *a, const char *b, const struct addrinfo *c, struct addrinfo **d), (a, b, c, d)) \
    X(int, getnameinfo,                                                                            \
      (const struct sockaddr *a, socklen_t b, char *c, socklen_t d, char *e, socklen_t f, int g),  \
      (a, b, c, d, e, f, g))                                                                       \
    X(int, gethostbyname2_r,                                                                       \
      (const char *a, int b, struct hostent *c, char *d, size_t e, struct hostent **f, int *g),    \
      (a, b, c, d, e, f, g))                                                                       \
    X(int, gethostbyaddr_r,                                                                        \
      (const void *a, socklen_t b, int c, struct hostent *d, char *e, size_t f,                    \
       struct hostent **g, int *h),                                                                \
      (a, b, c, d, e, f, g, h))                                                                    \
    X(int, getifaddrs, (struct ifaddrs * *a), (a))                                                 \
    X(unsigned, if_nametoindex, (const char *a), (a))                                              \
    X(char *, if_indextoname, (unsigned a, char *b), (a, b))                                       \
    X(struct if_nameindex *, if_nameindex, (void), ())

struct ifaddrs;
struct if_nameindex;
struct timespec;

/** Pointers to them. Each one finds itself at its first use, if the constructor has not run yet. */
struct pre_real {
#define X(type, name, params, args) type(*name) params;
    PRE_REALS(X)
#undef X
    int (*fcntl)(int fd, int op, ...);
    int (*ioctl)(int fd, unsigned long op, ...);
    long (*syscall)(long number, ...);
};
extern struct pre_real pre_real;

/* What is written to an end A here must reach the kernel, not our own send(). */
#define send(fd, data, len, flags) pre_real.send(fd, data, len, flags)
#define recv(fd, data, len, flags) pre_real.recv(fd, data, len, flags)
#include "cmd/socket/proto.h"
#undef send
#undef recv
#include "cmd/socket/iface.h"
#include "cmd/socket/rules.h"

/* ---- the table (table.c) ----------------------------------------------------------------------
 */

#define PRE_FDS     (1u << 20) /**< descriptors above are never ours */
#define PRE_SOCKS   65536u     /**< sockets of a process; more: ENFILE */
#define PRE_OPTIONS 160u       /**< bytes of options kept for a socket */

#define PRE_DATA    0x80000000u
#define PRE_PRIVATE 0x40000000u
#define PRE_INDEX   0x00ffffffu

extern _Atomic uint32_t pre_table[PRE_FDS];

enum pre_state { PRE_NEW, PRE_CONNECTING, PRE_CONNECTED, PRE_LISTENING };

enum pre_flags {
    PRE_HOST = 1,        /**< of the host's stack, while rules may still change that */
    PRE_BOUND = 2,       /**< the program called bind() */
    PRE_SHARED = 4,      /**< another process may have moved it on: ask the server */
    PRE_UNFILLED = 8,    /**< connecting, but A looks writable (interrupted connect) */
    PRE_NAMED = 16,      /**< names are known and do not change any more */
    PRE_SHUT_RD = 32,    /**< the end of A is what the program asked for */
    PRE_DECIDED = 64,    /**< rules have decided by a destination */
    PRE_STALE = 128,     /**< the pair is used up: a connect failed */
    PRE_PKTINFO = 0x100, /**< ancillary data that the program wants with datagrams */
    PRE_TTL = 0x200,
    PRE_TOS = 0x400,
    PRE_STAMP_US = 0x800,
    PRE_STAMP_NS = 0x1000,
    PRE_PKTINFO6 = 0x2000,
    PRE_HOPS6 = 0x4000,
    PRE_CLASS6 = 0x8000,
    PRE_LINK = 0x10000,    /**< a route socket, with PRE_HOST */
    PRE_NARROW = 0x20000,  /**< A's buffer is the least there is: connecting, see begin_unasked() */
    PRE_SHUT_WR = 0x40000, /**< UDP: sending is EPIPE */
};

struct pre_sock {
    _Atomic uint32_t refs;  /**< descriptors and calls in progress */
    _Atomic uint32_t next;  /**< free list */
    _Atomic uint32_t lock;  /**< generation of the process that holds it */
    _Atomic uint32_t flags; /**< enum pre_flags */
    _Atomic uint32_t state; /**< enum pre_state */
    _Atomic int b_fd;       /**< end B, or -1 when the server has it */
    _Atomic int b_left; /**< our copy of B, when a child of vfork gave its to the server; else -1 */
    _Atomic uint64_t handle;
    uint64_t ino, b_ino;
    uint16_t domain;
    uint16_t protocol; /**< as the program said, may be 0 */
    bool is_udp;
    int send_timeout_ms; /**< SO_SNDTIMEO, for connect; 0 = none */
    int send_buffer;     /**< SO_SNDBUF of the pair, if not the usual one; else 0 */
    int send_shown;      /**< SO_SNDBUF as asked for, when the pair needs more; else 0 */
    uint32_t skip;       /**< junk bytes in A that the server has not been told of */
    uint64_t target;     /**< TCP, connecting without waiting: a hash of the peer's address */
    struct sock_addr bound;
    struct sock_names names;
    uint32_t options_len;
    uint8_t options[PRE_OPTIONS] __attribute__((aligned(8)));
};

static inline uint32_t pre_entry(int fd)
{
    return likely((unsigned)fd < PRE_FDS)
               ? atomic_load_explicit(&pre_table[fd], memory_order_relaxed)
               : 0;
}

/** The socket of @fd, held; NULL if it is not ours (a stale word is removed). */
struct pre_sock *pre_get(int fd);
void pre_put(struct pre_sock *s);
/** Is @fd, whose word is not zero, none of ours, or the host's for now? */
static inline bool pre_is_foreign(int fd);
/** A new socket with one reference, zero but for that; NULL: too many. */
struct pre_sock *pre_sock_new(void);
/** Make @fd a descriptor of @s; takes a reference. */
void pre_set(int fd, struct pre_sock *s);
/** Nothing is known of @fd any more. Does not close it. */
void pre_forget(int fd);
/** Write the words of all descriptors of @s again, of which @fd is one: its state says whether data
 *  calls need us. */
void pre_refresh(struct pre_sock *s, int fd);
/** Put @new_fd, which is consumed, where @s has descriptors, of which @fd is one. Their flags
 *  (close-on-exec) and those of the open file (O_NONBLOCK) stay. Returns 0 or -errno. */
int pre_replace(struct pre_sock *s, int fd, int new_fd);
/** The highest descriptor that was ever a socket of the program, plus one. */
int pre_fd_end(void);
/** The same with the library's own. */
int pre_fd_end_all(void);
bool pre_is_inode(int fd, uint64_t ino);
void pre_private(int fd);
/** The socket whose end B is @fd, because the server does not know it yet; NULL: none. Slow. */
struct pre_sock *pre_owner_of_b(int fd);

/** Short critical sections of one socket; signals are blocked in between. */
struct pre_mask {
    uint64_t bits;
};
void pre_lock(struct pre_sock *s, struct pre_mask *mask);
void pre_unlock(struct pre_sock *s, const struct pre_mask *mask);

static inline bool pre_has(struct pre_sock *s, uint32_t flags)
{
    return (atomic_load_explicit(&s->flags, memory_order_relaxed) & flags) != 0;
}
static inline void pre_flag(struct pre_sock *s, uint32_t flags, bool on)
{
    if (on)
        atomic_fetch_or(&s->flags, flags);
    else
        atomic_fetch_and(&s->flags, ~flags);
}

/* ---- the server (control.c) -------------------------------------------------------------------
 */

extern struct sock_rules pre_rules;
extern bool pre_is_on; /**< a server is named and the rules are good */

struct pre_ask {
    uint16_t op, flags; /**< enum sock_op, sock_flags */
    uint64_t handle;    /**< in; out: of the answer */
    struct iovec body[4];
    unsigned body_count;
    bool is_attached; /**< @fd goes along */
    int fd;
    void *reply; /**< [reply_room] bytes */
    size_t reply_room;
    size_t reply_len;     /**< out: bytes of the answer's body, at most reply_room */
    bool can_interrupt;   /**< a signal may end the waiting: -EINTR */
    int timeout_ms;       /**< of that waiting, 0 = none: -EINPROGRESS */
    int *close_when_sent; /**< a descriptor to close as soon as the message is away */
};

/** Ask the server and wait. Returns 0 or -errno: of the answer, or -ENETDOWN. Signal-safe. */
int pre_ask(struct pre_ask *ask);
/** Have a connection now, while the process still may. */
void pre_connect_early(void);
/** Around exec: a process that has changed its user or root leaves the next program a connection.
 */
void pre_pass_on(bool is_passed);
/** Number of this process among those that came from each other by fork; never 0. */
uint32_t pre_generation(void);
/** Is the memory that of another process, which has other descriptors (a child of vfork)? */
bool pre_is_borrowed(void);
/** Is @fd really the library's own? If not, its word is removed. */
bool pre_is_private(int fd);
/** Move the library's descriptor @fd elsewhere, because the program wants the number. */
void pre_move_private(int fd);
/** A descriptor of the library gets a high number, if there is one. Returns it. */
int pre_move_up(int fd);
/** Lists of the server. (iface.c) */
extern const struct sock_asker pre_asker;

/* ---- operations (adopt.c) ---------------------------------------------------------------------
 */

/**
 * pre_op() - an operation of a socket, telling the server of the socket first if it is new.
 *
 * @body [len] bytes; @reply [room] bytes get the answer's body (may be NULL)
 *
 * Returns 0 or -errno.
 * Source  none
 */
int pre_op(struct pre_sock *s, int fd, struct pre_ask *ask);
/** The same for an operation with one body and one answer. */
int pre_op_simple(struct pre_sock *s, int fd, int op, struct iovec body, struct iovec reply);
#define PRE_BYTES(at, len) ((struct iovec){(void *)(uintptr_t)(at), (len)})
/** Ask who @fd is; enters it when it is ours. Returns it held, or NULL. */
struct pre_sock *pre_identify(int fd);
/** A descriptor came from elsewhere: enter it if it is ours. */
void pre_meet(int fd);
/** What another process may have done to @s. */
void pre_update(struct pre_sock *s, int fd);
/** Tell the server of all sockets that it does not know: before fork and exec. */
void pre_adopt_all(void);
/** Give @s a new pair: the old one is used up. */
int pre_renew(struct pre_sock *s, int fd);
/** Put @s onto the other stack. Returns 0 or -errno. */
int pre_switch(struct pre_sock *s, int fd, enum sock_stack stack);
/** Keep an option for the server. Returns false when there is no room. */
bool pre_keep(struct pre_sock *s, int level, int name, const void *value, uint32_t len);
const struct sock_option *pre_kept(struct pre_sock *s, int level, int name);
/** A socket of ours. Returns the descriptor or -errno. */
int pre_make(int domain, int type, int protocol);

/* ---- addresses (address.c) --------------------------------------------------------------------
 */

/** Parse what the program gave. Returns 0, -EINVAL, -EAFNOSUPPORT,
 *  -EFAULT. */
int pre_addr_in(const struct pre_sock *s, const struct sockaddr *addr, socklen_t len,
                struct sock_addr *out);
/** Give an address to the program, in the form of the socket's family. */
socklen_t pre_addr_make(int domain, const struct sock_addr *addr, struct sockaddr_storage *out);
void pre_addr_out(int domain, const struct sock_addr *addr, struct sockaddr *to, socklen_t *len);

/* ---- data (dgram.c) ---------------------------------------------------------------------------
 */

ssize_t pre_dgram_send(struct pre_sock *s, int fd, const struct msghdr *msg, int flags);
ssize_t pre_dgram_recv(struct pre_sock *s, int fd, struct msghdr *msg, int flags);
/** Bytes of the first datagram, 0 when there is none. */
int pre_dgram_first(int fd);
/** The true reason of a connection that the kernel calls reset: sets errno. */
void pre_reset_reason(int fd);
/** A's buffer is as it should be again, if it was not. */
void pre_widen(struct pre_sock *s, int fd);
/** SO_ERROR of a connection attempt: 0, an errno, or -1: goes on. */
int pre_progress(struct pre_sock *s, int fd);
/** ioctl of ours. Returns true when @result is the answer. (iface.c) */
bool pre_ioctl(struct pre_sock *s, int fd, unsigned long op, void *arg, int *result);

/* ---- route sockets (link.c)
 * --------------------------------------------------------------------------------
 */

/** One with the flags of @type. Returns the descriptor or -errno. */
int pre_link_make(int type);
int pre_link_name(struct pre_sock *s, bool is_peer, struct sockaddr *to, socklen_t *len);
ssize_t pre_link_send(struct pre_sock *s, const struct msghdr *msg);
ssize_t pre_link_recv(int fd, struct msghdr *msg, int flags);

/** Addresses that cannot be: the kernel would say EFAULT. Others that are wrong end the program. */
static inline bool pre_is_bad(const void *address)
{
    return (uintptr_t)address < 4096;
}

static inline bool pre_is_foreign(int fd)
{
    struct pre_sock *s = pre_get(fd);
    bool is_foreign = s == NULL || pre_has(s, PRE_HOST);
    if (s != NULL)
        pre_put(s);
    return is_foreign;
}

static inline int pre_fail(int error)
{
    errno = error < 0 ? -error : error;
    return -1;
}

#endif
