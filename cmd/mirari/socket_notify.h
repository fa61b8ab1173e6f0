/* SPDX-License-Identifier: ISC */
/* The supervisor of `mirari socket run`: serves the control calls of sockets of programs that run
 * under its seccomp filter. Data never comes here (cmd/socket/proto.h says how that works).
 *
 *   socket_filter.c    which calls stop and come to us
 *   socket_notify.c    the loop; one struct call for each stopped thread; answers
 *   socket_peer.c      threads of the programs: their memory, their descriptors
 *   socket_control.c   the connection to the server, requests and answers
 *   socket_table.c     sockets that we serve, known by inode; adoption; the other stack
 *   socket_calls.c     socket bind connect listen accept getsockname getpeername
 *   socket_option.c    getsockopt setsockopt
 *   socket_end.c       shutdown FIONREAD SIOCOUTQ
 *   socket_message.c   sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg
 *   socket_link.c      AF_NETLINK route sockets and SIOCGIF*
 *
 * A handler gets a call, and either answers it at once (call_return, call_continue, ...), which
 * ends the call, or leaves it waiting: for the server (control_request) or for its socket
 * (call_watch). After a function that ends the call nobody may touch it.
 */
#ifndef CMD_MIRARI_SOCKET_NOTIFY_H
#define CMD_MIRARI_SOCKET_NOTIFY_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <linux/seccomp.h>

#include "cmd/socket/proto.h"
#include "cmd/socket/rules.h"

#define CALLS_MAX        4096  /**< stopped threads at a time; more are told ENOBUFS */
#define SERVED_BUCKETS   4096  /**< of the table of sockets */
#define SERVED_MAX       65536 /**< sockets of all programs together; then ENFILE */
#define PEER_BUCKETS     256
#define LOST_MAX         64   /**< answers that a signal cut off, kept for the restarted call */
#define OPTIONS_KEPT_MAX 1024 /**< bytes of options of a socket that the server does not know */
#define IOV_MAX_SERVED   64   /**< parts of one message; more than that: EMSGSIZE */
#define ACCEPTS_KEPT_MAX 16
#define CONTROL_WAIT_MS  10000

/** What an event of epoll is about, above the 32 bits that say which. */
#define EVENT_NOTIFY  ((uint64_t)1 << 32)
#define EVENT_CONTROL ((uint64_t)2 << 32)
#define EVENT_SIGNAL  ((uint64_t)3 << 32)
#define EVENT_PEER    ((uint64_t)4 << 32) /**< | thread */
#define EVENT_CALL    ((uint64_t)5 << 32) /**< | serial */
#define EVENT_TIMER   ((uint64_t)7 << 32)
#define EVENT_LINK    ((uint64_t)6 << 32) /**< | inode */

struct sup;
struct call;

/** A thread that was stopped once. */
struct peer {
    struct peer *next; /**< in its bucket */
    pid_t tid;
    int pidfd; /**< readable when it has ended */
};

enum served_kind { SERVED_TCP, SERVED_UDP, SERVED_LINK };

enum served_state {
    SERVED_NEW,
    SERVED_BOUND,
    SERVED_LISTENING,
    SERVED_CONNECTING,
    SERVED_CONNECTED,
};

/** Ancillary data that the program wants with each datagram. */
enum served_wants {
    WANT_PKTINFO = 1,
    WANT_HOPS = 2,
    WANT_TOS = 4,
    WANT_PKTINFO6 = 8,
    WANT_HOPS6 = 16,
    WANT_TOS6 = 32,
    WANT_TIME = 64,
    WANT_TIME_NS = 128,
};

/** A connection that was accepted for a call which a signal then cut off. */
struct kept_accept {
    struct sock_accept accept;
    int fd;
};

/** A socket of a program that our stack serves. */
struct served {
    struct served *next; /**< in its bucket */
    uint64_t ino;        /**< of A */
    uint64_t handle;     /**< 0: the server does not know it */
    uint32_t server;     /**< which life of the server knows it */
    int b;               /**< until the server has it, and of SERVED_LINK; else -1 */
    uint8_t kind, state; /**< enum served_kind, served_state */
    bool is_adopting;    /**< a request that makes it known is under way */
    bool has_names;      /**< names.local is the true one */
    bool is_shut_rd;     /**< UDP: the end of A is what the program asked for */
    uint16_t domain, type, protocol;
    uint16_t wants; /**< enum served_wants */
    uint32_t users; /**< calls that hold it */
    uint32_t skip;  /**< junk bytes in A since the last CONNECT, without the pill */
    uint32_t round; /**< when it was last seen alive, in rounds of the sweep */
    struct sock_names names;
    struct sock_addr last_to; /**< a destination that the server has taken before */
    uint8_t *options;         /**< kept, as they go into ADOPT */
    uint32_t options_len;
    struct kept_accept *kept;
    uint32_t kept_count;
};

typedef void call_handler(struct sup *sup, struct call *call);
/** @response has come; its @body has response->len bytes. */
typedef void call_answered(struct sup *sup, struct call *call, const struct sock_response *response,
                           const void *body);

struct call {
    struct call *next;
    uint64_t id;     /**< of the notification; 0: the thread does not wait any more */
    uint32_t serial; /**< names it in requests and in epoll; never 0 */
    pid_t tid;
    int nr;
    uint64_t arg[6];
    call_handler *handler;
    struct served *sock; /**< held */
    int a;               /**< our copy of A; -1 */
    bool is_requested;   /**< an answer of the server is awaited */
    bool is_watched;     /**< a is in epoll */
    bool is_deferred;    /**< waits until its socket is known to the server */
    call_answered *answered;
    int64_t deadline_us; /**< 0: none */
    int expired_error;   /**< of a call whose deadline has come, negative */
    uint64_t note[3];    /**< for its handler */
};

/** The answer of a call that its thread did not take, because a signal came first. */
struct lost {
    pid_t tid; /**< 0: free */
    int nr;
    uint64_t arg[6];
    int64_t value;
    int error;
};

/** An answer that came while another was waited for. */
struct kept_answer {
    struct kept_answer *next;
    size_t len;
    uint8_t message[];
};

struct sup {
    pthread_mutex_t lock; /**< held by who uses anything below */
    pthread_t receiver;
    int notify, epoll, signals, timer;
    int control; /**< -1: the server has gone */
    bool is_private;
    char *path; /**< of the control socket */
    uint32_t server;
    uint64_t server_id;
    struct sock_rules rules;
    struct peer *peer[PEER_BUCKETS];
    struct served *served[SERVED_BUCKETS];
    uint32_t served_count, sweep_at, round;
    bool is_sweeping;
    struct call *calls, *free_calls;
    uint32_t call_count, last_serial;
    int64_t look_at_us; /**< when time-outs and abandoned calls are looked for; 0: not yet */
    struct lost lost[LOST_MAX];
    uint32_t lost_next, lost_count;
    struct kept_answer *kept;
    bool has_signal;
    bool is_over; /**< no process is left under the filter */
    uint64_t stat_calls, stat_continued, stat_requests;
    uint8_t message[SOCK_MESSAGE_MAX]; /**< of the answer that is being looked at */
    uint8_t data[SOCK_MESSAGE_MAX];    /**< of the program */
};

/* ---- socket_filter.c ----------------------------------------------------------------------- */

/** Install the filter on this process and all it will start. Returns the descriptor of the
 *  notifications, or -errno. */
int filter_install(void);

/* ---- socket_notify.c ----------------------------------------------------------------------- */

/** Begin: @notify and @control are given. The caller has the lock until sup_serve(), and from
 *  then on when that has returned. Returns 0 or -errno. */
int sup_init(struct sup *sup, int notify, int control, const char *path);
/** Serve until the descriptor @signals of sup, or another that the caller put into sup's epoll, has
 *  something, or no process is left. */
void sup_serve(struct sup *sup);
void sup_fini(struct sup *sup);

/** If @call is a connect() that waits for the server: let it wait on its socket instead, which poll
 *  then shows as connecting, and which other calls can use. */
void connect_cancel(struct sup *sup, struct call *call);
void call_return(struct sup *sup, struct call *call, int64_t value_or_error);
/** The number that GETOPT was answered with; 0: there was none. */
int option_answer(const struct sock_response *response, const void *body);
/** Let the kernel do it. */
void call_continue(struct sup *sup, struct call *call);
/** Give a copy of @fd to the program as the result. False: it did not get it. The call is over. */
bool call_return_fd(struct sup *sup, struct call *call, int fd, unsigned flags);
/** Put @fd (given) in the place of the program's descriptor @at. Returns 0 or -errno. */
int call_replace_fd(struct sup *sup, struct call *call, int fd, int at);
/** Wait for @events of call->a, then run the handler again, with a time-out as below. */
void call_watch(struct sup *sup, struct call *call, uint32_t events, int option, int expired_error);
/** The socket's time-out, SO_RCVTIMEO or SO_SNDTIMEO, is for this call. */
void call_limit(struct sup *sup, struct call *call, int option, int expired_error);
/** Has its file O_NONBLOCK? */
bool call_is_nonblocking(const struct call *call);
/** Does the thread still wait? */
bool call_is_valid(struct sup *sup, const struct call *call);
/** Run those again that waited for @sock to be known. */
void call_resume(struct sup *sup, struct served *sock);
/** An answer of the server. */
void call_answer(struct sup *sup, const struct sock_response *response, const void *body);
/** The server has gone: answer all that wait for it. */
void call_fail_requests(struct sup *sup, int error);
int64_t now_us(void);

/* ---- socket_peer.c ------------------------------------------------------------------------- */

/** The thread @tid, or NULL when it has gone or there is no memory. */
struct peer *peer_get(struct sup *sup, pid_t tid);
void peer_ended(struct sup *sup, pid_t tid);
void peer_free_all(struct sup *sup);
/** Our copy of descriptor @fd of the call's thread. Returns it or -errno. */
int peer_fd(struct sup *sup, struct call *call, int fd);
bool peer_has_cloexec(const struct call *call, int fd);
/** Memory of the thread. Returns 0 or -EFAULT. */
int peer_read(const struct call *call, uint64_t at, void *data, size_t len);
int peer_write(const struct call *call, uint64_t at, const void *data, size_t len);
/** Scatter or gather [count] parts; at most @len bytes. Returns bytes moved or -EFAULT. */
ssize_t peer_read_parts(const struct call *call, const struct iovec *part, size_t count, void *data,
                        size_t len);
ssize_t peer_write_parts(const struct call *call, const struct iovec *part, size_t count,
                         const void *data, size_t len);
/** All of @from to @to, which have as many bytes together. */
ssize_t peer_write_all(const struct call *call, const struct iovec *to, size_t to_count,
                       const struct iovec *from, size_t from_count);

/* ---- socket_control.c ---------------------------------------------------------------------- */

/** Connect to the server at @path. Returns the connection or -errno. */
int control_connect(const char *path);
/** Say who we are; waits up to @wait_ms for its welcome. Returns 0 or -errno. */
int control_greet(int fd, struct sock_welcome *welcome, int wait_ms);
/** What a request has behind its head. */
struct body {
    const void *data;
    size_t len;
};
/** Ask about the call's socket; @answered is called with the answer. On failure the call has been
 *  answered with an error. May leave the call waiting for the socket to become known. */
void control_request(struct sup *sup, struct call *call, uint16_t op, uint16_t flags,
                     struct body body, call_answered *answered);
/** Tell without an answer. Returns 0 or -errno. */
int control_tell(struct sup *sup, uint16_t op, uint64_t handle, const struct iovec *part,
                 size_t count);
/** Ask and wait: for what is asked rarely. @out gets the body, at most [out_size] bytes.
 *  Returns its length or -errno. */
ssize_t control_ask_now(struct sup *sup, uint16_t op, const void *body, size_t len, void *out,
                        size_t out_size);
/** Ask for a page of NETSTAT, for the sweep of the table. */
void control_ask_page(struct sup *sup, uint32_t start);
void control_read(struct sup *sup);

/* ---- socket_table.c ------------------------------------------------------------------------ */

/** Copy descriptor @fd of the thread, which must be a socket: sets call->a, and call->sock if we
 * serve it. False: the call was ended. */
bool call_copy_fd(struct sup *sup, struct call *call, int fd);
/** Find descriptor @fd of the thread: sets call->a, call->sock. False: the call was ended, because
 *  there is no such descriptor or the kernel serves it. */
bool call_find(struct sup *sup, struct call *call, int fd);
/** The same for bind and connect, where the socket may have to change its stack for @addr. */
bool call_find_for(struct sup *sup, struct call *call, int fd, enum sock_rule_use use,
                   const struct sockaddr *addr, size_t addr_len);
/** May a socket that was found stay? False: it is the host's now, and the call was ended. */
bool call_stays_ours(struct sup *sup, struct call *call, int fd, enum sock_rule_use use,
                     const struct sockaddr *addr, size_t addr_len);
struct served *served_add(struct sup *sup, uint64_t ino, enum served_kind kind);
void served_remove(struct sup *sup, struct served *sock);
/** Remember an option until the server knows the socket. Returns 0 or -errno. */
int served_keep_option(struct served *sock, int level, int name, const void *value, size_t len);
/** The value that was kept, or NULL. */
const struct sock_option *served_kept_option(const struct served *sock, int level, int name);
/** A fresh pair in the place of a socket whose connection failed. Returns 0 or -errno. */
int served_renew(struct sup *sup, struct call *call, int fd);
void served_page(struct sup *sup, const void *body, size_t len);
void served_free_all(struct sup *sup);

/** Between the kernel's addresses and the protocol's. The first checks as the kernel does: 0,
 *  -EINVAL, -EAFNOSUPPORT. */
int addr_take(const struct served *sock, const struct sockaddr_storage *from, size_t len,
              struct sock_addr *out);
size_t addr_give(uint16_t domain, const struct sock_addr *from, struct sockaddr_storage *out);
/** Read an address argument: 0, -EINVAL or -EFAULT. */
int addr_read(const struct call *call, uint64_t at, int64_t len, struct sockaddr_storage *out);
/** Write it where (@at, @len_at) say. Returns 0, -EINVAL or -EFAULT. */
int addr_write(const struct call *call, uint64_t at, uint64_t len_at, const void *addr, size_t len);

/* ---- handlers ------------------------------------------------------------------------------ */

call_handler handle_socket, handle_bind, handle_connect, handle_listen, handle_accept,
    handle_getsockname, handle_getpeername, handle_setsockopt, handle_getsockopt, handle_sendto,
    handle_recvfrom, handle_sendmsg, handle_recvmsg, handle_sendmmsg, handle_recvmmsg, handle_ioctl,
    handle_shutdown, handle_fionread, handle_outq, handle_atmark;

/** A route socket: answer the requests in [len] bytes. Returns 0 or -errno. */
int link_take(struct sup *sup, struct served *sock, const void *data, size_t len);
/** Requests that were sent to it without an address. */
void link_readable(struct sup *sup, struct served *sock);

#endif
