/* SPDX-License-Identifier: ISC */
/* The parts of the Xen network frontend among themselves: net.c (life), features.c, tx.c, rx.c. */
#ifndef DEV_NET_XEN_INTERNAL_H
#define DEV_NET_XEN_INTERNAL_H

#include "dev/net/vnet/vnet.h"
#include "dev/net/xen/netfront.h"
#include "dev/net/xen/netif.h"
#include "lib/ring/xring.h"

#define MIR__NETFRONT_SLOTS      256u /* of either ring: a page */
#define MIR__NETFRONT_SENDS      (2 * MIR__NETFRONT_SLOTS)
#define MIR__NETFRONT_PIECES_MAX (1u + MIR_BUF_FRAG_MAX)
#define MIR__NETFRONT_FRAME_MAX  65535u /* the size of a packet has 16 bits */
/* Pieces of memory that a backend may keep before nothing more is given to it. */
#define MIR__NETFRONT_LOST_MAX 256u
#define MIR__NETFRONT_NONE     0xffffu

/** What the backend can, as its keys say. */
struct mir__netfront_features {
    bool has_copy; /* it copies to pages that we grant, which is all that we can */
    bool has_sg;   /* packets of several slots */
    bool has_gso4, has_gso6;
    bool has_csum4, has_csum6; /* a checksum may be left to it */
    bool is_trusted;           /* it may see what else lies in a page */
    uint16_t mtu;
    uint8_t mac[6];
};

/** Read them. Returns 0, -MIR_EPROTO (no MAC, no sense). Pure: of the store alone. */
int mir__netfront_features_read(const struct mir_xen_device *device,
                                struct mir__netfront_features *features) MIR_CHECK;
/** What a device with these can do for the stack; @is_plain: no offloads. */
void mir__netfront_features_caps(const struct mir__netfront_features *features, bool is_plain,
                                 struct mir_net_dev_info *info);
/** Say what we can and give. Returns 0 or an error of the store. */
int mir__netfront_features_write(const struct mir_xen_device *device, const uint32_t ring_ref[2],
                                 uint32_t port, bool is_plain) MIR_CHECK;

/** A slot that was sent: its page is granted until the backend answers. */
struct mir__netfront_send {
    struct mir_buf *buf; /* of the first slot of a packet */
    uint32_t ref;
    uint16_t first; /* slot of the packet that has buf */
    uint16_t left;  /* there: slots that are not answered */
    uint16_t next;  /* on the free list */
    bool is_out;    /* not answered */
    bool is_lost;   /* there: the backend kept a page */
};

struct mir__netfront_lent {
    struct mir_io_page *page; /* NULL: none */
    uint32_t ref;
};

/** A frame that is being received. */
struct mir__netfront_arrival {
    struct mir_io_page *page[MIR__NETFRONT_PIECES_MAX];
    uint32_t ref[MIR__NETFRONT_PIECES_MAX];
    uint32_t offset[MIR__NETFRONT_PIECES_MAX];
    uint32_t len[MIR__NETFRONT_PIECES_MAX];
    uint32_t count, total;
    uint32_t extras; /* slots of them in this packet */
    uint16_t flags;  /* of the first slot */
    uint16_t gso_size;
    uint8_t gso_type;
    bool is_open;   /* more slots follow */
    bool has_extra; /* the next slot is one */
    bool is_bad;
};

struct mir__netfront {
    struct mir_net_dev dev; /* first */
    struct mir_xen_device device;
    struct mir_loop *loop;
    struct mir_buf_pool *bufs;
    struct mir_net_upper upper;
    struct mir_net_dev_stats stats;
    struct mir_netfront_counters counters;
    struct mir_io_page *self;
    struct mir__netfront_features features;
    bool is_plain;
    bool is_started; /* by the upper half */
    bool is_offered; /* rings are there and in the store */
    bool is_up;      /* and the backend is connected */
    bool is_full;    /* tx_room() said 0 or a frame was dropped */
    bool is_held;    /* something was committed since the last notification */
    uint32_t epoch;  /* changes when the rings go */
    uint32_t port;
    uint32_t ring_ref[2];
    struct mir_io_page *ring_page[2]; /* tx, rx */
    struct mir_timer timer;
    mir_time_us look_us, retry_us;
    /* send */
    struct mir__xring tx;
    uint32_t slots_max; /* of a packet */
    uint32_t extras_out;
    uint16_t free_send;
    uint32_t tx_seen;
    struct mir__netfront_send sends[MIR__NETFRONT_SENDS];
    uint8_t tx_own[MIR__NETFRONT_SLOTS];
    /* receive */
    struct mir__xring rx;
    uint32_t rx_target, rx_lent;
    struct mir_buf *rx_spare; /* for an ACK when there is no memory left */
    struct mir__netfront_arrival arrival;
    struct mir__netfront_lent lent[MIR__NETFRONT_SLOTS];
    uint8_t rx_own[MIR__NETFRONT_SLOTS];
};

static inline struct mir__netfront *mir__netfront_of(struct mir_net_dev *dev)
{
    return (struct mir__netfront *)(void *)dev;
}

/** The backend misbehaved or is gone: the interface is given up, and offered again later. */
void mir__netfront_reset(struct mir__netfront *n, const char *why);
void mir__netfront_notify(struct mir__netfront *n);

static inline bool mir__netfront_is_dead(const struct mir__netfront *n)
{
    return n->counters.quarantined > MIR__NETFRONT_LOST_MAX;
}

void mir__netfront_tx_init(struct mir__netfront *n);
int mir__netfront_tx(struct mir_net_dev *dev, MIR_GIVE struct mir_buf *buf_given);
void mir__netfront_tx_flush(struct mir_net_dev *dev);
uint32_t mir__netfront_tx_room(struct mir_net_dev *dev);
/** Release what was sent. Returns true if there was something. */
bool mir__netfront_tx_poll(struct mir__netfront *n);
/** The timer: what was sent and not asked for. */
void mir__netfront_tx_look(struct mir__netfront *n);
/** End all grants; what the backend kept is never used again. */
void mir__netfront_tx_fini(struct mir__netfront *n);

/** Lend pages to the backend. Returns 0, or -MIR_ENOMEM (it has none). */
int mir__netfront_rx_fill(struct mir__netfront *n) MIR_CHECK;
bool mir__netfront_rx_poll(struct mir__netfront *n);
void mir__netfront_rx_fini(struct mir__netfront *n);

/** Where the checksum of a TCP or UDP frame is. Returns false if it has none that we know. */
bool mir__netfront_find_csum(const uint8_t *frame, uint32_t len, uint16_t *start, uint16_t *offset);

#endif
