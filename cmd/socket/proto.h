/* SPDX-License-Identifier: ISC */
/* The control protocol of the socket server, and the shape of what runs over the data ends.
 *
 * Three programs speak it: mirari-socketd (the server: our stack as an appliance), the supervisor
 * inside `mirari socket run` and the preload library (the *clients*; one client may serve many
 * programs). This header needs nothing but the host's headers, so that a library loaded into any
 * program can include it.
 *
 * A socket of a program is end A of a pair of AF_UNIX sockets; the server holds end B and moves
 * bytes between B and the stack. Data never passes the control connection. The client makes the
 * pair when the program calls socket(), keeps options that are set, and tells the server with the
 * first operation that needs it:
 *
 *      program            client                                server
 *      socket()           socketpair -> A, B                     -
 *      setsockopt()       kept                                   -
 *      connect()          CONNECT | F_ADOPT, B attached  ----->  new socket, SYN ...
 *                         <-----  answer (F_WAIT: when it is there)
 *      read, write, poll  (nothing: the kernel)          B <-->  stack
 *      close, exit, kill  (nothing: the kernel)          hang-up of B: everything is freed
 *
 * PAIRS. TCP: SOCK_STREAM. UDP: SOCK_SEQPACKET, not SOCK_DGRAM, whose other end never learns that
 * A was closed. Both ends with SOCK_CLOEXEC as the program asked; O_NONBLOCK of A is the
 * program's. The server uses MSG_DONTWAIT and never relies on the flags of B. The client closes
 * its copy of B when the operation has been sent.
 *
 * THE PILL. A kernel pair shows "connection reset" at A only when B is closed with unread bytes in
 * it. So the queue towards B is never empty: the client writes at least one byte to A right after
 * it made a TCP pair and before anybody else can write (sock_pill()), the server always leaves at
 * least one byte that it has already seen. The number of these bytes that are not data is told
 * with `skip`.
 *
 * CONNECTING. A program that connects without blocking waits until the socket is writable. The
 * client fills A (sock_fill()); the server empties it, but for the pill, when the connection is
 * there. `skip` of CONNECT and FILLED counts the junk bytes written to A since the last of these
 * (or ever). Until it has said so nobody else writes to A.
 *   - with F_WAIT the answer comes when the connection is made or has failed. After a failure the
 *     socket is as before and may connect again; its B stays open.
 *   - with F_SOON the answer comes within a moment. 0: the connection is there, and nothing needs
 *     to be filled (peers nearby answer within microseconds: filling and emptying costs more). To
 *     an edge-triggered epoll that saw A writable before, the server's taking away of a byte says
 *     that it is so again: the client writes one more (skip = 1) before. -EINPROGRESS: the client
 *     fills A now and says so with FILLED; until then the server reads nothing.
 *   - without both A is not writable already, and the answer is -EINPROGRESS at once. With
 *     F_SILENT not even that: A shows an attempt that cannot be begun as one that has failed. The
 *     handle is asked for with IDENTIFY then, when it is needed.
 * When an attempt without F_WAIT fails B is closed: A reports EPOLLERR and ECONNRESET. SO_ERROR by
 * GETOPT says the true reason, once. The handle lives on for SOCK_TOMBSTONE_S. To connect again the
 * client makes a new pair.
 *
 * END. The peer's FIN: read() of A gives 0. shutdown(A, SHUT_WR) of the program: FIN is sent after
 * what was written. Close of the last copy of A: FIN, or RST if received bytes were not read.
 * RST, timeouts: B is closed, A gives ECONNRESET once and then as the kernel does.
 *
 * LISTENING. The client fills A before LISTEN, for a listener is never writable; the server shuts B
 * for reading, so that writing to A is EPIPE. After LISTEN the server writes to B, for each new
 * connection, one struct sock_accept with end A of the new connection attached (SCM_RIGHTS, exactly
 * one descriptor). accept() is recvmsg(A, 64 bytes) with MSG_CMSG_CLOEXEC if wanted; several
 * processes may do it at the same time. Less than 64 bytes or no descriptor cannot happen but at
 * the end (0: the server has gone or SHUTDOWN was called: EINVAL to the program). The new A is
 * blocking; set O_NONBLOCK if accept4() asks for it (the flag is of the open file description and
 * shared by nobody yet). One byte waits in it, the seal: accept() takes it off
 * (sock_unseal()). A connection that dies with its listener has it still and is reset for it, as
 * the kernel does with what nobody accepted.
 *
 * UDP. With SOCK_FRAMED every datagram, both ways, is a struct sock_dgram and the payload. Without,
 * what A sends is payload for the connected peer, and what A receives is payload with one
 * descriptor attached: a sealed memfd that holds the struct sock_dgram, for whoever wants the
 * source address (read it with pread, it is shared; who receives without room for descriptors lets
 * the kernel drop it). An addressed send is SENDTO, or a framed message. A datagram that the
 * program does not take is dropped and counted when the pair is full. A pending error is a datagram
 * without payload and with SOCK_D_ERROR in its head, so that poll wakes up.
 *
 * WHO IS IT. The inode of A (fstat: st_ino) survives dup, fork, exec and passing; the handle
 * authorises operations. A client that has A but lost the handle asks with IDENTIFY.
 *
 * MESSAGES. SOCK_SEQPACKET; one message is one request or one answer: the head, then the body. Host
 * byte order and alignment (both sides are on one machine); ports and addresses as described at
 * struct sock_addr. A client may send many requests before it reads; answers carry the id and come
 * in any order. A message that cannot be one is answered with -EBADMSG, and the control connection
 * is closed. Closing it ends nothing but requests that wait.
 *
 * FINDING THE SERVER. The control socket of server NAME is
 * ${XDG_RUNTIME_DIR:-/tmp/mirari-UID}/mirari/socket/NAME.sock (the state folder of the tool), mode
 * 0600 in a folder 0700. SOCK_ENV names its path to programs inside `mirari socket run`. The tool
 * makes the listening socket and passes it to mirari-socketd as descriptor 3 with LISTEN_FDS=1 in
 * the environment (as systemd does); so one can connect at once, and HELLO is answered when the
 * stack runs. When the server dies the connection ends.
 *
 * ERRORS. `error` of an answer is 0 or a negative errno of the host, ready for the program.
 */
#ifndef CMD_SOCKET_PROTO_H
#define CMD_SOCKET_PROTO_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/** First word of every message: "mS" and the version. Another version is not understood. */
#define SOCK_MAGIC 0x536d0001u

#define SOCK_MESSAGE_MAX 71680u          /**< bytes of a message: a datagram and its heads fit */
#define SOCK_OUTSTANDING 1024u           /**< requests that wait, for one control connection */
#define SOCK_TOMBSTONE_S 60              /**< an ended socket's error can be asked for so long */
#define SOCK_ENV         "MIRARI_SOCKET" /**< environment: path of the control socket */
#define SOCK_OPTION_MAX  256u            /**< bytes of an option's value */
#define SOCK_DGRAM_MAX   65527u          /**< payload bytes of a datagram */
#define SOCK_DGRAM4_MAX  65507u          /**< the same over IPv4 */
/** SO_SNDBUF of end A of a stream. A is writable while a quarter of it (doubled by the kernel) is
    free, and the pill keeps the message it is the last byte of: up to 17 pages, of sendfile(). With
    less, a program could wait for ever. */
#define SOCK_PAIR_SNDBUF 196608

/** An address of either family. */
struct sock_addr {
    uint16_t family; /**< AF_INET, AF_INET6, or AF_UNSPEC: none (the rest is zero) */
    uint16_t port;   /**< host byte order */
    uint32_t scope;  /**< IPv6: interface of a link-local address, else 0 */
    uint8_t ip[16];  /**< AF_INET: the first four bytes, as in a packet; the others are zero */
};

enum sock_op {
    SOCK_HELLO = 1, /**< struct sock_hello -> struct sock_welcome. First message, answered when the
                         stack runs */
    SOCK_BIND,      /**< struct sock_addr -> struct sock_names (port as chosen) */
    SOCK_LISTEN,    /**< struct sock_listen -> struct sock_names. Binds if BIND has not */
    SOCK_CONNECT,   /**< struct sock_connect -> struct sock_names. UDP: AF_UNSPEC disconnects */
    SOCK_NAME,      /**< - -> struct sock_names */
    SOCK_SETOPT,    /**< struct sock_option + value -> - */
    SOCK_GETOPT,    /**< struct sock_option (len = room) -> struct sock_option + value */
    SOCK_SHUTDOWN,  /**< struct sock_shutdown -> -. For listeners and UDP, and TCP that is not
                         connected; for a connection shutdown(A) is enough */
    SOCK_SENDTO,    /**< struct sock_dgram + payload -> - */
    SOCK_IDENTIFY,  /**< -, A attached -> struct sock_identity, handle in the answer's head */
    SOCK_CANCEL,    /**< struct sock_cancel -> -. That request is answered -EINTR; what it began
                         goes on, as after a signal */
    SOCK_RESOLVE,   /**< struct sock_resolve + texts -> struct sock_resolved + addresses + name */
    SOCK_NAMEINFO,  /**< struct sock_addr -> struct sock_resolved + no address + name */
    SOCK_IFACES,    /**< struct sock_page -> struct sock_page + struct sock_iface ... */
    SOCK_ROUTES,    /**< struct sock_page -> struct sock_page + struct sock_route ... */
    SOCK_NETSTAT,   /**< struct sock_page -> struct sock_page + struct sock_netstat ... */
    SOCK_STATS,     /**< struct sock_page -> struct sock_page + struct sock_stat ... */
    SOCK_STOP,      /**< - -> -, and the server ends. For its owner and root */
    SOCK_CLOSE,     /**< - -> -. The handle is forgotten now: for a client that replaced A by a
                         socket of the host. A is closed as by the program */
    SOCK_ATTACH,    /**< -, end of a SOCK_SEQPACKET pair attached -> -. Another control connection,
                         with the rights of this one: for a process that may not connect any more,
                         on a connection that it shares with another (with F_SILENT) */
    SOCK_FILLED,    /**< struct sock_filled -> -. A is full, after -EINPROGRESS of F_SOON */
    SOCK_OP_END
};

enum sock_flags {
    SOCK_F_ADOPT = 1,  /**< the body begins with struct sock_adopt, B is attached, handle is 0. The
                            answer's head has the handle, on errors of the operation too (the socket
                            exists then; 0: it does not) */
    SOCK_F_WAIT = 2,   /**< answer when it is done. CONNECT */
    SOCK_F_SILENT = 4, /**< no answer unless the message is malformed. SENDTO, SETOPT, CLOSE,
                             ATTACH, FILLED, CONNECT */
    SOCK_F_SOON = 8,   /**< answer when it is done, or -EINPROGRESS after a moment. CONNECT */
};

struct sock_request {
    uint32_t magic; /**< SOCK_MAGIC */
    uint16_t op;    /**< enum sock_op */
    uint16_t flags; /**< enum sock_flags */
    uint32_t id;    /**< chosen by the client; unique among those that it waits for */
    uint32_t len;   /**< bytes of the body, all that follows */
    uint64_t handle;
};

struct sock_response {
    uint32_t magic;
    uint16_t op;
    uint16_t flags; /**< 0 */
    uint32_t id;
    int32_t error;   /**< 0 or -errno; then the body is empty, but for CONNECT's -EINPROGRESS */
    uint64_t handle; /**< of the socket; 0 = none */
    uint32_t len;    /**< bytes of the body */
    uint32_t reserved;
};

/* ---- bodies --------------------------------------------------------------------------------- */

/** How a client got into the program. */
enum sock_via { SOCK_VIA_OTHER, SOCK_VIA_NOTIFY, SOCK_VIA_PRELOAD, SOCK_VIA_ADMIN };

struct sock_hello {
    uint32_t via; /**< enum sock_via; shown by netstat */
    uint32_t pid; /**< of the program, as it sees itself; shown by netstat */
};

struct sock_welcome {
    uint64_t server; /**< random; another number: another server, old handles are worthless */
    uint32_t sockets_max;
    uint32_t reserved;
    char name[64]; /**< of the server, with NUL */
};

enum sock_adopt_flags {
    SOCK_A_FRAMED = 1, /**< UDP: struct sock_dgram in front of each payload, for life */
};

/** A socket that the server does not know yet. In front of the operation's own body; between the
 *  two stand the kept options, each a struct sock_option + value, each padded to 8 bytes. */
struct sock_adopt {
    uint64_t ino;         /**< st_ino of A */
    uint16_t domain;      /**< AF_INET, AF_INET6 */
    uint16_t type;        /**< SOCK_STREAM, SOCK_DGRAM, without flags */
    uint16_t protocol;    /**< IPPROTO_TCP, IPPROTO_UDP, or 0 */
    uint16_t flags;       /**< enum sock_adopt_flags */
    uint32_t pid;         /**< of the program, for netstat; 0 = as in HELLO */
    uint32_t options_len; /**< bytes of options that follow, a multiple of 8. Errors of options are
                               ignored: the client checked them with GETOPT/SETOPT rules of its own
                               or the program has already been told 0 */
    uint32_t skip;        /**< TCP: junk bytes in the queue so far, at least 1 (the pill) */
    uint32_t reserved;
};

struct sock_option {
    int32_t level; /**< as the program gave it: SOL_SOCKET, IPPROTO_TCP, ... */
    int32_t name;
    uint32_t len; /**< bytes of the value that follow; in a GETOPT request: room, none follow */
    uint32_t reserved;
};

/** GETOPT at this level: what the server knows of a socket beyond the options of programs. */
#define SOCK_LEVEL_SERVER (-2)
enum sock_server_option {
    SOCK_O_UNSENT =
        1, /**< SIOCOUTQ: bytes that the program wrote and the peer has not acknowledged */
};

struct sock_listen {
    int32_t backlog;
    uint32_t reserved;
};

struct sock_connect {
    struct sock_addr remote;
    uint32_t skip; /**< TCP: junk bytes written to A since sock_adopt.skip or the last CONNECT */
    uint32_t reserved;
};

struct sock_filled {
    uint32_t skip; /**< junk bytes written to A since CONNECT */
    uint32_t reserved;
};

struct sock_names {
    struct sock_addr local; /**< never AF_UNSPEC: not bound is the any-address with port 0 */
    struct sock_addr peer;  /**< AF_UNSPEC: not connected (ENOTCONN of getpeername) */
};

struct sock_shutdown {
    int32_t how; /**< SHUT_RD, SHUT_WR, SHUT_RDWR */
    uint32_t reserved;
};

enum sock_cancel_flags {
    SOCK_CANCEL_FILL = 1, /**< of CONNECT: the client fills A now, and says so with FILLED */
};

struct sock_cancel {
    uint32_t id;
    uint32_t flags; /**< enum sock_cancel_flags */
};

enum sock_state {
    SOCK_S_NEW,
    SOCK_S_BOUND,
    SOCK_S_LISTENING,
    SOCK_S_CONNECTING,
    SOCK_S_CONNECTED,
    SOCK_S_ENDED, /**< reset, refused, or closed on both sides */
};

struct sock_identity {
    uint64_t ino; /**< of A */
    uint16_t domain, type, protocol;
    uint16_t flags; /**< enum sock_adopt_flags */
    uint32_t state; /**< enum sock_state */
    uint32_t reserved;
    struct sock_names names;
};

/** Written to a listener's B, one for each connection, with its A attached. */
struct sock_accept {
    uint64_t handle;
    uint64_t ino; /**< of the attached A */
    struct sock_addr peer;
    uint8_t local_ip[16]; /**< as sock_addr.ip, family of the peer's */
    uint16_t local_port;
    uint16_t flags; /**< 0 */
    uint32_t local_scope;
};

enum sock_dgram_flags {
    SOCK_D_HAS_LOCAL = 1,  /**< local_ip and if_index are set: IP_PKTINFO; in a send: source */
    SOCK_D_HAS_HOPS = 2,   /**< hop_limit is set: IP_TTL, IPV6_HOPLIMIT of this datagram */
    SOCK_D_HAS_TOS = 4,    /**< tos is set: IP_TOS, IPV6_TCLASS */
    SOCK_D_ERROR = 8,      /**< from the server, no payload: the socket has this pending error (a
                                connected socket whose peer refuses: ECONNREFUSED) */
    SOCK_D_MULTICAST = 16, /**< was sent to a group */
};

/** In front of a payload; without SOCK_A_FRAMED in a memfd. */
struct sock_dgram {
    uint16_t flags; /**< enum sock_dgram_flags */
    uint8_t hop_limit;
    uint8_t tos;
    uint32_t if_index;
    uint32_t len;          /**< payload bytes that follow; in a memfd: 0 (one memfd serves many) */
    int32_t error;         /**< errno, positive, with SOCK_D_ERROR */
    struct sock_addr peer; /**< to the server: destination, AF_UNSPEC = the connected one */
    uint8_t local_ip[16];  /**< as sock_addr.ip, family of the peer's */
    uint64_t time_ns;      /**< from the server: when it came, CLOCK_REALTIME; 0 = not known */
};

struct sock_resolve {
    int32_t flags;     /**< AI_* of getaddrinfo */
    int32_t family;    /**< AF_UNSPEC, AF_INET, AF_INET6 */
    uint32_t name_len; /**< bytes of the host name that follow, without NUL; not 0 */
    uint32_t reserved;
};

/** Services are the client's business: /etc/services is a file. */
struct sock_resolved {
    int32_t eai;       /**< 0 or EAI_* (the answer's error is 0 then) */
    uint32_t count;    /**< struct sock_addr that follow, sorted by RFC 6724 */
    uint32_t name_len; /**< bytes of the canonical name behind them, without NUL; 0 = none */
    uint32_t reserved;
};

/** Lists come in pages: ask from @start = 0, go on from @next until it is 0. */
struct sock_page {
    uint32_t start; /**< request: first entry wanted */
    uint32_t next;  /**< answer: ask again from here; 0 = that was all */
    uint32_t count; /**< answer: entries that follow */
    uint32_t reserved;
};

#define SOCK_IFACE_ADDRS 8

struct sock_iface_addr {
    struct sock_addr addr;
    uint32_t prefix_len;
    uint32_t flags; /**< 0 */
};

struct sock_iface {
    uint32_t index;
    uint32_t flags; /**< IFF_* of <net/if.h> */
    uint32_t mtu;
    uint32_t addr_count;
    uint8_t mac[8]; /**< six bytes */
    char name[16];  /**< with NUL */
    struct sock_iface_addr addr[SOCK_IFACE_ADDRS];
};

struct sock_route {
    struct sock_addr prefix, gateway; /**< gateway AF_UNSPEC: on the link */
    uint32_t prefix_len;
    uint32_t if_index;
    uint32_t metric;
    uint32_t reserved;
};

struct sock_netstat {
    uint64_t handle_slot; /**< number of the socket, not the handle */
    uint64_t ino;
    struct sock_names names;
    uint16_t domain, type;
    uint16_t state;     /**< enum sock_state */
    uint16_t tcp_state; /**< enum mir_tcp_state */
    uint32_t pid;
    uint32_t via;                    /**< enum sock_via */
    uint32_t send_queue, recv_queue; /**< bytes in the stack; listener: backlog, waiting */
    uint64_t bytes_in, bytes_out;    /**< from and to the network */
    uint64_t dropped;                /**< UDP: datagrams that the program did not take */
};

struct sock_stat {
    char name[48]; /**< with NUL */
    uint64_t value;
};

_Static_assert(sizeof(struct sock_addr) == 24, "layout");
_Static_assert(sizeof(struct sock_request) == 24, "layout");
_Static_assert(sizeof(struct sock_response) == 32, "layout");
_Static_assert(sizeof(struct sock_accept) == 64, "layout");
_Static_assert(sizeof(struct sock_dgram) == 64, "layout");

/* ---- both ends of a pair, for clients and the server ------------------------------------------
 */

/**
 * sock_pair() - make the pair of a socket.
 *
 * @type   SOCK_STREAM or SOCK_DGRAM of the program's socket, without flags
 * @flags  SOCK_CLOEXEC or 0, for A
 * @a, @b  out: A for the program, B for the server (always close-on-exec)
 *
 * A stream has its pill already: skip = 1. Set O_NONBLOCK of A afterwards if asked.
 *
 * Returns 0 or -errno.
 * Source  none
 */
static inline int sock_pair(int type, int flags, int *a, int *b)
{
    int fd[2];
    int kind = type == SOCK_STREAM ? SOCK_STREAM : SOCK_SEQPACKET, room = SOCK_PAIR_SNDBUF;
    if (socketpair(AF_UNIX, kind | SOCK_CLOEXEC, 0, fd) < 0)
        return -errno;
    if (type == SOCK_STREAM)
        (void)setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    if ((type == SOCK_STREAM && send(fd[0], "", 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1) ||
        (!(flags & SOCK_CLOEXEC) && fcntl(fd[0], F_SETFD, 0) < 0)) {
        int error = errno;
        close(fd[0]);
        close(fd[1]);
        return -error;
    }
    *a = fd[0];
    *b = fd[1];
    return 0;
}

/** Take the seal off a connection that was accepted. */
static inline void sock_unseal(int a)
{
    char seal;
    (void)recv(a, &seal, 1, MSG_DONTWAIT);
}

/**
 * sock_fill() - make A not writable for poll, until the server empties it.
 *
 * @skip  out: junk bytes written; add to sock_connect.skip (also when it fails)
 *
 * The last write is one byte of its own: the kernel counts a message as long as a byte of it is
 * left, and that byte becomes the pill.
 *
 * Returns 0 or -errno.
 * Source  unix(7); the kernel calls a socket writable while less than a quarter of its buffer is
 * used
 */
static inline int sock_fill(int a, uint32_t *skip)
{
    static const char junk[32768];
    struct pollfd look = {.fd = a, .events = POLLOUT};
    *skip = 0;
    while (poll(&look, 1, 0) == 1 && (look.revents & POLLOUT)) {
        ssize_t put = send(a, junk, sizeof junk, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put < 0 && errno != EAGAIN)
            return -errno;
        if (put < 0)
            break;
        *skip += (uint32_t)put;
    }
    if (send(a, junk, 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1)
        return -errno;
    *skip += 1;
    return 0;
}

#endif
