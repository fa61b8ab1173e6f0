/* SPDX-License-Identifier: ISC */
/* vchan: a stream of bytes in each direction between two parties that share memory.
 *
 * The layout in memory and the rules are those of Xen's libxenvchan, bit for bit, whatever the
 * transport (channel.h): processes, virtual machines, nodes of the simulator.
 *
 *   0 left.cons 4 | left.prod 4 | right.cons 4 | right.prod 4 | left_order 2 | right_order 2 |
 *  20 cli_live 1 | srv_live 1 | cli_notify 1 | srv_notify 1 | references 4 each: left's, right's
 *
 * The client writes to the left ring, the server to the right one. Nothing here waits: what cannot
 * be done now is -MIR_EAGAIN, and then an event comes when it may be possible. Tasks wait with
 * mir_vchan_wait(), to a deadline.
 *
 * Closing. An end closes as a whole; there is no closing of one direction, because the layout has
 * one byte for each end. Who closes gets nothing any more; what it wrote before is always
 * delivered: the peer reads it all and then -MIR_EEOF. A peer that went without closing (killed,
 * crashed) is told apart: what it wrote is delivered, then -MIR_ECONNRESET. Writing to a peer that
 * has closed is -MIR_ECLOSED. Who must know that the last bytes were taken looks at
 * mir_vchan_unread().
 *
 * The peer is believed nothing: what it may write is read once and checked; an index that cannot
 * be ends the channel with -MIR_EPROTO. Bytes in a ring can change until they are copied:
 * mir_vchan_read() copies, mir_vchan_peek() does not.
 */
#ifndef MIRARI_VCHAN_H
#define MIRARI_VCHAN_H

#include <mirari/base.h>
#include <mirari/channel.h>
#include <mirari/err.h>
#include <mirari/run.h>

#define MIR_VCHAN_ORDER_MIN 10u /**< 1 KiB, inside the first page */
#define MIR_VCHAN_ORDER_MAX 20u /**< 1 MiB */

struct mir_vchan;

struct mir_vchan_config {
    /** Server: least size of the rings, up to 1 MiB; 0 = 256 KiB. Of its client the server decides.
     *  Two rings of at most 2 KiB and 1 KiB take no page beyond the first. */
    uint32_t read_bytes, write_bytes;
    /** Server: a client that has closed may be followed by another one in the same memory, which
     *  goes on where that one stopped. Its leaving is not told. Only where clients trust another.
     */
    bool is_persistent;
    /** Something may be possible now, or the peer is gone. May be NULL. */
    void (*event)(void *arg, struct mir_vchan *vchan);
    void *arg;
};

enum mir_vchan_state {
    MIR_VCHAN_WAITING, /**< server: no client yet; what is written waits for it */
    MIR_VCHAN_OPEN,
    MIR_VCHAN_PEER_CLOSED,
    MIR_VCHAN_PEER_LOST, /**< it went without closing */
    MIR_VCHAN_FAULTY,    /**< it broke the rules */
    MIR_VCHAN_CLOSED,    /**< by us */
};

enum mir_vchan_wish { MIR_VCHAN_READABLE = 1, MIR_VCHAN_WRITABLE = 2 };

struct mir_vchan_stats {
    uint64_t bytes_in, bytes_out;
    uint64_t reads, writes; /**< parts taken, parts published */
    uint64_t notified;      /**< the peer wanted to be told and was */
    uint64_t silent;        /**< it did not want to */
    uint64_t events;        /**< that came */
};

/** private: a ring as one end sees it. Both indices are our own copies. */
struct mir__vchan_ring {
    uint32_t *mine_at;   /* where ours is published */
    uint32_t *theirs_at; /* where the peer publishes its */
    uint8_t *data;
    uint32_t mine;
    uint32_t theirs; /* as read last, and checked */
    uint32_t size;
};

struct mir_vchan {
    /* private: */
    struct mir_channel *channel;
    struct mir__vchan_ring in, out;
    uint8_t *my_live, *peer_live;
    uint8_t *ask;    /* bits here ask the peer to notify us */
    uint8_t *wanted; /* bits here: the peer asks us */
    uint8_t state;   /* enum mir_vchan_state, once it is final */
    bool is_persistent;
    void (*event)(void *arg, struct mir_vchan *vchan);
    void *arg;
    struct mir_wait waiters;
    struct mir_vchan_stats stats;
};

/**
 * mir_vchan_serve() - make the memory of a channel and show it to the client.
 *
 * @vchan    caller's memory, until mir_vchan_close()
 * @channel  of a server; lent until mir_vchan_close(), which closes it; on error it is the caller's
 *
 * Returns 0, -MIR_EINVAL (sizes above 1 MiB, or whose references do not fit the first page),
 *         or an error of the channel.
 * Source  Xen public/io/libxenvchan.h
 * Tests   test/unit/vchan_test.c, test/interop/vchan_xen.t
 */
int mir_vchan_serve(struct mir_vchan *vchan, struct mir_channel *channel,
                    const struct mir_vchan_config *config) MIR_CHECK;

/**
 * mir_vchan_connect() - take part in a channel that a server has made.
 *
 * Everything the server wrote is read once and checked.
 *
 * Returns 0, -MIR_EPROTO (impossible orders, references or indices), -MIR_ECLOSED (the server has
 *         gone and left nothing to read), or an error of the channel, which is then still the
 *         caller's.
 * Source  Xen public/io/libxenvchan.h
 * Tests   test/unit/vchan_test.c, test/interop/vchan_xen.t
 */
int mir_vchan_connect(struct mir_vchan *vchan, struct mir_channel *channel,
                      const struct mir_vchan_config *config) MIR_CHECK;

/**
 * mir_vchan_read() - the next bytes, as many as there are.
 *
 * @got  out: 1 .. len
 *
 * Returns 0, -MIR_EAGAIN (none; an event will come), -MIR_EEOF (the peer closed and everything was
 *         read), -MIR_ECONNRESET (the same, but it went without closing), -MIR_EPROTO,
 *         -MIR_ECLOSED (we closed).
 * Cost    O(bytes)
 * Source  Xen public/io/libxenvchan.h
 */
int mir_vchan_read(struct mir_vchan *vchan, void *data, size_t len, size_t *got) MIR_CHECK;

/**
 * mir_vchan_write() - as many bytes as there is room for.
 *
 * @put  out: 1 .. len
 *
 * Returns 0, -MIR_EAGAIN (no room; an event will come), -MIR_ECLOSED (the peer, or we),
 *         -MIR_EPROTO.
 * Cost    O(bytes)
 * Source  Xen public/io/libxenvchan.h
 */
int mir_vchan_write(struct mir_vchan *vchan, const void *data, size_t len, size_t *put) MIR_CHECK;

/** All @len bytes or none: as mir_vchan_read() and mir_vchan_write(), and -MIR_ETOOBIG if the ring
 *  will never hold so many. mir_vchan_recv() of more than the peer left behind is -MIR_EEOF or
 *  -MIR_ECONNRESET; what is there can still be read. */
int mir_vchan_recv(struct mir_vchan *vchan, void *data, size_t len) MIR_CHECK;
int mir_vchan_send(struct mir_vchan *vchan, const void *data, size_t len) MIR_CHECK;

/** Without a copy: the bytes that lie together at the front of what is to be read, and how many of
 *  them are done with. The peer can still change them. Returns as mir_vchan_read(). */
int mir_vchan_peek(struct mir_vchan *vchan, const void **data, size_t *len) MIR_CHECK;
void mir_vchan_consume(struct mir_vchan *vchan, size_t len);
/** Without a copy: the room that lies together, and how many bytes of it were filled. Returns as
 *  mir_vchan_write(). */
int mir_vchan_room(struct mir_vchan *vchan, void **data, size_t *len) MIR_CHECK;
void mir_vchan_commit(struct mir_vchan *vchan, size_t len);

/** Is one of @wishes (enum mir_vchan_wish) possible now, be it only to learn that it never will?
 *  Looks, and asks for no event: for those who look again soon. */
bool mir_vchan_ready(struct mir_vchan *vchan, unsigned wishes) MIR_CHECK;
/** The same, and if not: an event comes when one may be. */
bool mir_vchan_arm(struct mir_vchan *vchan, unsigned wishes) MIR_CHECK;

/** How it stands. Bytes may be left to read in every state but the last two. */
enum mir_vchan_state mir_vchan_state(struct mir_vchan *vchan);
/** Bytes written that the peer has not taken yet. If it is gone it never will. */
uint32_t mir_vchan_unread(struct mir_vchan *vchan);
/** Has the peer taken all that was written, or will it never? If not, an event comes when it has
 *  taken something. */
bool mir_vchan_is_drained(struct mir_vchan *vchan) MIR_CHECK;
/** Sizes of the rings in bytes: what is read, what is written. */
static inline uint32_t mir_vchan_read_size(const struct mir_vchan *vchan)
{
    return vchan->in.size;
}
static inline uint32_t mir_vchan_write_size(const struct mir_vchan *vchan)
{
    return vchan->out.size;
}
static inline const struct mir_vchan_stats *mir_vchan_stats(const struct mir_vchan *vchan)
{
    return &vchan->stats;
}

/**
 * mir_vchan_wait() - let the task sleep until one of @wishes is possible.
 *
 * Only in a task of @loop, on which the channel's events come.
 *
 * Returns 0 (look: it may be the end), -MIR_ETIMEDOUT at @deadline_us, -MIR_ECANCELED.
 * Source  none
 */
int mir_vchan_wait(struct mir_loop *loop, struct mir_vchan *vchan, unsigned wishes,
                   mir_time_us deadline_us) MIR_CHECK;

/**
 * mir_vchan_listen() - offer a channel at a port, as its server.
 *
 * Does not wait for a client, but for room: mir_vchan_wait() for something to read is what comes
 * next. For several clients at once, several tasks do this.
 *
 * Returns 0, -MIR_ETIMEDOUT, -MIR_ECANCELED, -MIR_ENOTCONN (the port has nobody behind it), or as
 *         mir_vchan_serve().
 * Source  none
 * Tests   test/boot/ivshmem.t
 */
int mir_vchan_listen(struct mir_loop *loop, struct mir_channel_port *port, struct mir_vchan *vchan,
                     const struct mir_vchan_config *config, mir_time_us deadline_us) MIR_CHECK;
/**
 * mir_vchan_meet() - take part in a channel that another party offers at a port.
 *
 * Waits until there is one.
 *
 * Returns 0, -MIR_ETIMEDOUT, -MIR_ECANCELED, -MIR_ENOTCONN, or as mir_vchan_connect().
 * Source  none
 * Tests   test/boot/ivshmem.t
 */
int mir_vchan_meet(struct mir_loop *loop, struct mir_channel_port *port, struct mir_vchan *vchan,
                   const struct mir_vchan_config *config, mir_time_us deadline_us) MIR_CHECK;

/** Say good-bye and close the channel. Harmless the second time. Tasks that wait are woken. */
void mir_vchan_close(struct mir_vchan *vchan);

#endif
