/* SPDX-License-Identifier: ISC */
/* The contract of a channel: memory that two parties share, a way to make the other one look, and
 * how the second finds the memory of the first.
 *
 * A channel is one end of one meeting of a server and a client. Which two meet, and who may, is the
 * business of each implementation's own open functions; what is said over the memory is that of
 * whoever uses the channel (vchan.h).
 *
 *   server   share -> share ... -> publish          client   map (page_ref) -> map ...
 *   both     notify, event ...  close
 *
 * The server makes pages and names each by a number, its reference: a grant of Xen, the number of a
 * page in a file. publish() tells the client one of them; all others it finds in the memory itself.
 * References that come from a peer are checked by map().
 *
 * notify() never waits and may be lost only together with the peer. Several of them may arrive as
 * one event, and events may come without cause. That the peer has gone, in whatever way, is
 * noticed by the transport: it sets is_peer_gone and tells by an event. Memory stays mapped until
 * close(), so what the peer wrote before can still be read.
 */
#ifndef MIRARI_CHANNEL_H
#define MIRARI_CHANNEL_H

#include <mirari/base.h>
#include <mirari/err.h>
#include <mirari/run.h>

#define MIR_CHANNEL_PAGE 4096u

struct mir_channel;

struct mir_channel_ops {
    /** Server: make @count zeroed pages, one piece of memory here, and name them in refs[count].
     *  Returns 0, -MIR_ENOMEM, -MIR_ELIMIT. */
    int (*share)(struct mir_channel *channel, uint32_t count, uint32_t *refs, void **at);
    /** Server: everything is ready; tell the client the reference of the page to begin with.
     *  Returns 0 or -MIR_EIO. */
    int (*publish)(struct mir_channel *channel, uint32_t ref);
    /** Client: pages of the server as one piece of memory. Returns 0, -MIR_EINVAL (no such
     *  reference), -MIR_ENOMEM, -MIR_ELIMIT. */
    int (*map)(struct mir_channel *channel, const uint32_t *refs, uint32_t count, void **at);
    /** Make the peer look. */
    void (*notify)(struct mir_channel *channel);
    /** Give everything back; the peer is told. No event comes any more. */
    void (*close)(struct mir_channel *channel);
};

/** The head of every implementation's own structure. */
struct mir_channel {
    const struct mir_channel_ops *ops;
    const char *kind; /**< "pipe", "memfd", ...: static text */
    bool is_server;
    bool is_peer_gone; /**< by the transport: nobody is at the other end any more */
    uint32_t page_ref; /**< client: what the server published */
    /** Set by the user of the channel before share() or map(): the peer asks to look, or is gone.
     */
    void (*event)(void *arg);
    void *arg;
};

struct mir_channel_port;

struct mir_channel_port_ops {
    /** An end of a new channel: a server's, to be shared and published for whoever comes, or the
     *  client's of one that another party offers. It is the port's again when it is closed.
     *  Returns 0, -MIR_EAGAIN (no room, or nobody offers one; changed tells), -MIR_ENOTCONN (it
     *  will never be). */
    int (*get)(struct mir_channel_port *port, bool is_server, struct mir_channel **channel);
};

/** A place where channels are made: what a `channel` of the manifest becomes. mir_vchan_listen()
 *  and mir_vchan_meet() use it. */
struct mir_channel_port {
    const struct mir_channel_port_ops *ops;
    struct mir_wait changed; /**< woken when get() may give something else */
};

#endif
