/* SPDX-License-Identifier: ISC */
/* What an application calls for UDP; part of <mirari/net.h>.
 *
 * A socket is opened with mir_udp_open(), or with mir_udp_open_config() where more is to be said
 * (reuse of a port, IPv6 alone, an error handler). Its handler gets every datagram at once, with
 * what came along in a struct mir_udp_meta; a task uses a struct mir_udp_task instead, which queues
 * up to a limit. Sending is by copy, by buffer or by views; struct mir_udp_msg says what the short
 * calls leave to the socket: source address, interface, TTL, TOS, "don't fragment".
 *
 * ICMP errors are delivered to the socket whose datagram they quote: to the error handler if it has
 * one, else a connected socket keeps the last one for its next call, as on Linux.
 */
#ifndef MIRARI_UDP_H
#define MIRARI_UDP_H

#include <mirari/net.h>

/** What came with a datagram besides its payload. */
struct mir_udp_meta {
    struct mir_endpoint from;
    struct mir_endpoint to; /**< as in the packet: an address of ours, a group, a broadcast */
    uint32_t if_index;      /**< interface it came in by, from 1; 0 = not known */
    uint8_t ttl;            /**< TTL or hop limit; 0 = not known */
    uint8_t tos;            /**< TOS or traffic class: DSCP and ECN */
    bool is_group;          /**< multicast or broadcast */
};

/** What an outgoing datagram carries besides its payload; zero means "as the socket does it". */
struct mir_udp_msg {
    struct mir_endpoint to; /**< port 0: the peer of a connected socket */
    struct mir_ip from;     /**< source, one of our addresses; any: chosen by the route */
    uint32_t if_index;      /**< leave by this interface; 0 = by the route */
    uint8_t ttl;            /**< 0: the socket's */
    uint8_t tos;            /**< 0: the socket's */
    bool dont_fragment;     /**< refuse with -MIR_ETOOBIG what does not fit, and set DF */
};

/** What ICMP said about a datagram of ours. */
struct mir_udp_error {
    int err; /**< -MIR_ECONNREFUSED (no such port), -MIR_EHOSTUNREACH, -MIR_ENETUNREACH,
                  -MIR_ETOOBIG (larger than @mtu and not to be fragmented) */
    struct mir_endpoint to; /**< where the datagram was going */
    uint32_t mtu;           /**< with -MIR_ETOOBIG: largest IP packet that fits; else 0 */
};

/** A datagram: its payload in @buf_given, given to the handler; @meta is valid during the call. */
typedef void (*mir_udp_handler_fn)(struct mir_udp *udp, const struct mir_udp_meta *meta,
                                   MIR_GIVE struct mir_buf *buf_given, void *arg);
/** A datagram that did not arrive; the socket may be closed inside. */
typedef void (*mir_udp_error_fn)(struct mir_udp *udp, const struct mir_udp_error *error, void *arg);

struct mir_udp_config {
    struct mir_endpoint local; /**< any address = all interfaces; port 0 = a random free one */
    mir_udp_handler_fn handler;
    mir_udp_error_fn on_error; /**< may be NULL */
    void *arg;                 /**< of both */
    bool reuse_addr;           /**< share the port with others that say so: groups and broadcasts
                                    go to all, the rest to the one opened last */
    bool reuse_port;           /**< share it, each peer's datagrams going to one of them by hash */
    bool v6_only;              /**< any address means any IPv6 address */
    bool v4_only;              /**< any address means any IPv4 address (direct stack) */
};

enum mir_udp_option {
    MIR_UDP_TTL,           /**< 1..255; default 64 */
    MIR_UDP_TOS,           /**< 0..255; default 0 */
    MIR_UDP_DONT_FRAGMENT, /**< 0/1: set DF, refuse what does not fit the link. Default 0 */
    MIR_UDP_BROADCAST,     /**< 0/1: may send to broadcast addresses. Default 0 */
    MIR_UDP_GROUP_TTL,     /**< 0..255 for groups; default 1 (RFC 1112 section 6.1) */
    MIR_UDP_GROUP_LOOP,    /**< 0/1: own members hear what we send to a group. Default 1 */
    MIR_UDP_GROUP_IF,      /**< interface for groups; 0 = by route (default) */
};

/** A group to join or leave (RFC 1112 section 7.1, RFC 3678 section 4.1). */
struct mir_udp_group {
    struct mir_ip group;
    struct mir_ip source; /**< any = every sender; else only this one (RFC 4607). A socket may
                               join one group with several sources */
    uint32_t if_index;    /**< 0 = the interface of the route to the group */
};

struct mir_udp_ops {
    int (*send)(struct mir_udp *, const struct mir_endpoint *to, const void *data, size_t len);
    int (*send_buf)(struct mir_udp *, const struct mir_endpoint *to,
                    MIR_GIVE struct mir_buf *buf_given);
    int (*send_msg)(struct mir_udp *, const struct mir_udp_msg *msg,
                    MIR_GIVE struct mir_buf *buf_given);
    int (*connect)(struct mir_udp *, const struct mir_endpoint *peer);
    int (*set_option)(struct mir_udp *, enum mir_udp_option option, uint32_t value);
    int (*join)(struct mir_udp *, const struct mir_udp_group *group);
    int (*leave)(struct mir_udp *, const struct mir_udp_group *group);
    void (*close)(struct mir_udp *);
    void (*local)(const struct mir_udp *, struct mir_endpoint *local);
};

/** Head of every UDP socket, whatever the stack. */
struct mir_udp {
    const struct mir_udp_ops *ops;
    mir_udp_handler_fn handler; /**< NULL: datagrams are dropped */
    mir_udp_error_fn on_error;
    void *handler_arg;
    struct mir_stack *stack;
    int error; /**< kept ICMP error of a connected socket without error handler */
};

/**
 * mir_udp_open_config() - bind a UDP port.
 *
 * @config  borrowed
 * @udp     out
 *
 * Returns 0, -MIR_EADDRINUSE, -MIR_EADDRNOTAVAIL (not our address), -MIR_ENOMEM, -MIR_ELIMIT (too
 * many sockets share the port).
 * Cost    O(sockets on the port)
 * Source  RFC 768, RFC 6056 section 3.3.1 (random port)
 */
static inline MIR_CHECK int mir_udp_open_config(struct mir_stack *stack,
                                                const struct mir_udp_config *config,
                                                struct mir_udp **udp)
{
    return stack->ops->udp_open(stack, config, udp);
}

/** The same with defaults. Returns as mir_udp_open_config(). */
static inline MIR_CHECK int mir_udp_open(struct mir_stack *stack, const struct mir_endpoint *local,
                                         mir_udp_handler_fn handler, void *arg,
                                         struct mir_udp **udp)
{
    const struct mir_udp_config config = {.local = *local, .handler = handler, .arg = arg};
    return stack->ops->udp_open(stack, &config, udp);
}

/** Give the socket other handlers, from the next datagram on. */
static inline void mir_udp_set_handler(struct mir_udp *udp, mir_udp_handler_fn handler,
                                       mir_udp_error_fn on_error, void *arg)
{
    udp->handler = handler;
    udp->on_error = on_error;
    udp->handler_arg = arg;
}

/**
 * mir_udp_connect() - fix the peer: only its datagrams arrive, and ICMP errors of its host.
 *
 * @peer  port 0 = end this again
 *
 * The source address is fixed too.
 *
 * Returns 0, -MIR_ENETUNREACH, -MIR_EPERM (a broadcast address without MIR_UDP_BROADCAST),
 * -MIR_EADDRINUSE (the same pair is connected already).
 * Source  RFC 1122 section 4.1.3.5 (addresses), 4.1.3.3 (ICMP errors)
 */
static inline MIR_CHECK int mir_udp_connect(struct mir_udp *udp, const struct mir_endpoint *peer)
{
    return udp->ops->connect(udp, peer);
}

/**
 * mir_udp_send() - send a datagram by copying.
 *
 * @to  NULL: the connected peer
 *
 * Returns 0, -MIR_ETOOBIG, -MIR_ENETUNREACH, -MIR_EINVAL (port 0), -MIR_ENOTCONN (@to is NULL),
 * -MIR_EPERM (broadcast without permission), -MIR_EAGAIN (dropped here), or a kept ICMP error, in
 * which case nothing was sent.
 * Source  RFC 768; RFC 1122 section 4.1
 */
static inline int mir_udp_send(struct mir_udp *udp, const struct mir_endpoint *to, const void *data,
                               size_t len)
{
    return udp->ops->send(udp, to, data, len);
}

/** Send a payload buffer (MIR_BUF_HEADROOM bytes of head room) without copying. Returns as
 *  mir_udp_send(). */
static inline int mir_udp_send_buf(struct mir_udp *udp, const struct mir_endpoint *to,
                                   MIR_GIVE struct mir_buf *buf_given)
{
    return udp->ops->send_buf(udp, to, buf_given);
}

/** Send a payload buffer with all that @msg says. Returns as mir_udp_send(), -MIR_EADDRNOTAVAIL
 *  (@msg->from is not ours). */
static inline int mir_udp_send_msg(struct mir_udp *udp, const struct mir_udp_msg *msg,
                                   MIR_GIVE struct mir_buf *buf_given)
{
    return udp->ops->send_msg(udp, msg, buf_given);
}

/**
 * mir_udp_send_wait() - mir_udp_send(), which waits while the device is full.
 *
 * Only in a task. @data is sent whole or not at all; if the socket or its stack is closed meanwhile
 * nothing of them is touched any more.
 *
 * Returns as mir_udp_send(), but -MIR_ETIMEDOUT (@deadline_us has passed) instead of -MIR_EAGAIN;
 * -MIR_ECLOSED (the stack was closed), -MIR_ECANCELED (the task was).
 * Cost    as mir_udp_send() for each time that the device has room
 * Source  none
 */
int mir_udp_send_wait(struct mir_udp *udp, const struct mir_endpoint *to, const void *data,
                      size_t len, mir_time_us deadline_us) MIR_CHECK;

/**
 * mir_udp_send_views() - gather a datagram from views without copying them.
 *
 * @views_given  [view_count] at most MIR_BUF_FRAG_MAX, all consumed in every case
 *
 * Returns as mir_udp_send_msg(), -MIR_ELIMIT (too many views). The bytes must not change until the
 * device has sent them.
 * Source  RFC 768
 */
int mir_udp_send_views(struct mir_udp *udp, const struct mir_udp_msg *msg,
                       MIR_GIVE struct mir_view *views_given, uint32_t view_count);

/** Returns 0, -MIR_ERANGE, -MIR_ENOTSUP. */
static inline MIR_CHECK int mir_udp_set_option(struct mir_udp *udp, enum mir_udp_option option,
                                               uint32_t value)
{
    return udp->ops->set_option(udp, option, value);
}

/**
 * mir_udp_join() - receive what is sent to a group.
 *
 * A socket gets a group's datagrams only after it has joined; those to all hosts (224.0.0.1,
 * ff02::1) arrive always.
 *
 * Returns 0, -MIR_EINVAL (not a group), -MIR_EEXIST, -MIR_ENETUNREACH (no such interface),
 * -MIR_ELIMIT.
 * Source  RFC 1112 section 7.1 (JoinHostGroup), RFC 3376 section 2 (source lists)
 */
static inline MIR_CHECK int mir_udp_join(struct mir_udp *udp, const struct mir_udp_group *group)
{
    return udp->ops->join(udp, group);
}

/** Take back one mir_udp_join() with the same @group. Returns 0 or -MIR_ENOENT. */
static inline int mir_udp_leave(struct mir_udp *udp, const struct mir_udp_group *group)
{
    return udp->ops->leave(udp, group);
}

/** The kept ICMP error, negative, and forget it; 0 if there is none. */
static inline int mir_udp_take_error(struct mir_udp *udp)
{
    int err = udp->error;
    udp->error = 0;
    return err;
}

/** Address and port as bound. */
static inline void mir_udp_get_local(const struct mir_udp *udp, struct mir_endpoint *local)
{
    udp->ops->local(udp, local);
}

/** Release the port, leave all groups; nothing arrives after return. */
static inline void mir_udp_close(struct mir_udp *udp)
{
    udp->ops->close(udp);
}

/* ---- UDP from tasks ------------------------------------------------------------------------- */

/** A datagram that waits for its task. */
struct mir_udp_slot {
    struct mir_udp_meta meta;
    struct mir_buf *buf;
};

/** A socket used from tasks: wraps the handlers and queues datagrams. Caller's memory. */
struct mir_udp_task {
    struct mir_udp *udp;
    struct mir_wait wait;
    struct mir_udp_slot *slots; /**< a ring */
    uint32_t slot_count;
    uint32_t first;
    uint32_t count;
    int error;        /**< last ICMP error, until a call returns it */
    uint64_t dropped; /**< datagrams that found the ring full */
};

/**
 * mir_udp_task_init() - attach; from now on the handlers belong to @task.
 *
 * @slots  [slot_count] memory for as many waiting datagrams, caller's
 *
 * Returns nothing: it cannot fail.
 * Source  none
 */
void mir_udp_task_init(struct mir_udp_task *task, struct mir_udp *udp, struct mir_udp_slot *slots,
                       uint32_t slot_count);

/**
 * mir_udp_recv_wait() - the next datagram, waiting for it.
 *
 * @deadline_us  in the past: only look
 * @meta         out, may be NULL
 * @buf          out: the payload, the caller releases it
 *
 * Returns 0, -MIR_ETIMEDOUT, -MIR_ECANCELED, or an ICMP error about what was sent.
 * Source  RFC 768 ("User Interface")
 */
int mir_udp_recv_wait(struct mir_udp_task *task, mir_time_us deadline_us, struct mir_udp_meta *meta,
                      struct mir_buf **buf) MIR_CHECK;

/** Release what waits and close the socket. */
void mir_udp_task_close(struct mir_udp_task *task);

#endif
