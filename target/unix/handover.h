/* SPDX-License-Identifier: ISC */
/* What monitor, workers and `mirari attach` say to each other. Not public.
 *
 * One message is one packet of a SOCK_SEQPACKET socket and has always the same size; a device's
 * descriptor travels beside it. Both ends are programs of one machine, so numbers are in its byte
 * order.
 */
#ifndef TARGET_UNIX_HANDOVER_H
#define TARGET_UNIX_HANDOVER_H

#include <mirari/base.h>
#include <mirari/err.h>
#include <mirari/net.h>

#define MIR__HANDOVER_MAGIC    0x4d495248u /* "MIRH" */
#define MIR__HANDOVER_VERSION  2u
#define MIR__HANDOVER_TEXT_MAX 256u
#define MIR__HANDOVER_NAME_MAX 32u

/** Worker's end of its socket pair, and where it learns which one it is. */
#define MIR__WORKER_FD  4
#define MIR__WORKER_ENV "MIRARI_WORKER" /* "INDEX/COUNT" */

enum mir__handover_kind {
    /* monitor to worker */
    MIR__HANDOVER_DEVICE = 1, /* with a descriptor: a device to take */
    MIR__HANDOVER_GO,         /* those were all of the start */
    MIR__HANDOVER_REMOVE,     /* give `name` back */
    MIR__HANDOVER_STOP,       /* end in order */
    MIR__HANDOVER_PEER,       /* with a descriptor: frames to worker `index`; own: the inbox */
    /* worker to monitor */
    MIR__HANDOVER_HELLO, /* read its command line; waits for devices */
    MIR__HANDOVER_READY, /* confined and running */
    MIR__HANDOVER_DONE,  /* answer to a later DEVICE and to REMOVE: `status`, `text` */
    /* the tool to the monitor, and its answer */
    MIR__HANDOVER_ATTACH,  /* a network `name` on the tap `ifname`, `text` says how */
    MIR__HANDOVER_DETACH,  /* the network `name` */
    MIR__HANDOVER_UPGRADE, /* start the program again, as it is on the disk now */
    MIR__HANDOVER_LIST,    /* what there is, into `text` */
    MIR__HANDOVER_ANSWER,  /* `status`, `text` */
    /* monitor to worker, when one replaces another */
    MIR__HANDOVER_LEAVE, /* with a descriptor: frames to the worker that replaces this one */
    MIR__HANDOVER_TAKE,  /* with a descriptor: the taps and this inbox are now yours alone */
    /* monitor to worker, at its start */
    MIR__HANDOVER_CHANNEL, /* with a descriptor: clients of the control channel come there */
    /* the worker that has the DHCP client to the monitor, and from there to the others */
    MIR__HANDOVER_LEASE, /* of network `name`: `lease`; none: it is lost */
    MIR__HANDOVER_KINDS,
};

enum mir__handover_type { MIR__HANDOVER_TAP = 1, MIR__HANDOVER_PACKET };

/** Who reads a message: each takes only what is meant for it. */
enum mir__handover_side {
    MIR__HANDOVER_WORKER,
    MIR__HANDOVER_MONITOR,
    MIR__HANDOVER_CONTROL, /* the monitor, from the tool */
    MIR__HANDOVER_TOOL,
};

enum {
    MIR__HANDOVER_OFFLOADS = 1,
    MIR__HANDOVER_BUNDLES = 2,
    MIR__HANDOVER_PAUSED = 4, /* somebody else reads it until TAKE */
};

struct mir__handover {
    uint32_t magic;
    uint16_t version;
    uint16_t kind;
    uint16_t type;   /* DEVICE: enum mir__handover_type; CHANNEL: enum mir_rpc_role */
    uint16_t flags;  /* DEVICE: what the host has agreed to; CHANNEL: PAUSED */
    uint16_t index;  /* DEVICE: which queue of it; PEER: which worker */
    uint16_t mtu;    /* 576 .. 65535 */
    uint32_t ticket; /* DONE repeats that of its question */
    int32_t status;  /* DONE, ANSWER: 0 or -MIR_E* */
    uint8_t mac[6];
    uint16_t lease_len;                /* LEASE: of `lease`; else 0 */
    char name[MIR__HANDOVER_NAME_MAX]; /* of the network */
    char ifname[16];
    char text[MIR__HANDOVER_TEXT_MAX];
    uint8_t lease[MIR_NET_LEASE_BYTES_MAX]; /* mir_net_copy_lease() */
};

/** A message of that kind; the rest is zero. */
struct mir__handover mir__handover_make(enum mir__handover_kind kind);

/**
 * mir__handover_check() - may @side believe this?
 *
 * @data      [len] bytes as they came, borrowed
 * @fd_count  descriptors that came with them
 *
 * Returns 0, -MIR_EPROTO (not ours, cut, not for this side, a field out of its range, a text
 * without end), -MIR_ENOTSUP (another version), -MIR_EINVAL (too many or too few descriptors).
 * Source  none
 */
int mir__handover_check(const void *data, size_t len, unsigned fd_count,
                        enum mir__handover_side side) MIR_CHECK;

/** Send @message, with @fd unless it is negative. Never waits. Returns 0, -MIR_EAGAIN, -MIR_ECLOSED
 *  or -MIR_EIO. */
int mir__handover_send(int socket_fd, const struct mir__handover *message, int fd) MIR_CHECK;

/**
 * mir__handover_receive() - the next message.
 *
 * @message  out
 * @fd       out: its descriptor, close-on-exec, the caller's; -1 = none came
 *
 * Returns 0, -MIR_EAGAIN (none yet, of a socket that does not wait), -MIR_ECLOSED (the other end is
 * closed), -MIR_EIO, or as mir__handover_check(); then descriptors that came are closed.
 * Source  unix(7), SCM_RIGHTS
 */
int mir__handover_receive(int socket_fd, enum mir__handover_side side,
                          struct mir__handover *message, int *fd) MIR_CHECK;

#endif
