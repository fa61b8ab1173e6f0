/* SPDX-License-Identifier: ISC */
/* What holds bytes of a connection: queues of views (viewq.c), the send queue (sendq.c), the
 * receive queue (recvq.c), early pieces (reass.c) and what is told of them (sack.c).
 */
#ifndef LIB_NET_TCP_QUEUES_H
#define LIB_NET_TCP_QUEUES_H

#include <mirari/page.h>

#include "lib/wire/tcp.h"

#define MIR__TCP_CHUNK_VIEWS 10u

/** A piece of a queue: views [first, end). */
struct mir__tcp_chunk {
    struct mir__tcp_chunk *next;
    uint16_t first;
    uint16_t end;
    uint16_t sparse; /* bit i: view[i] holds a page much larger than itself */
    struct mir_view view[MIR__TCP_CHUNK_VIEWS];
};

struct mir__tcp_viewq {
    struct mir__tcp_chunk *first;
    struct mir__tcp_chunk *last;
    uint32_t bytes;
};

/** A page that small pieces are copied into, one behind the other. */
struct mir__tcp_packer {
    struct mir_io_page *page;
    uint32_t used;
};

/** Bytes from snd_first on. */
struct mir__tcp_sendq {
    struct mir__tcp_viewq q;
    struct mir__tcp_packer packer;
    /* Where output last stopped: the view `at_index` of chunk `at`, whose first byte is at_seq. */
    struct mir__tcp_chunk *at;
    uint32_t at_seq;
    uint16_t at_index;
};

/** A received piece as it is kept. */
struct mir__tcp_kept {
    struct mir_view view;
    bool is_sparse; /* it holds a page that may be much larger */
};

struct mir__tcp_recvq {
    struct mir__tcp_viewq q;
    uint32_t waste; /* bytes of pages beyond the views that hold them */
    struct mir__tcp_packer packer;
};

/** A piece that came too early; the list is sorted, its pieces do not overlap. */
struct mir__tcp_early {
    struct mir__tcp_early *next;
    struct mir_view view;
    struct mir__tcp_early *tail; /* of the first piece of a run: the last one */
    uint32_t seq;
    bool is_sparse;
};

struct mir__tcp_reass {
    struct mir__tcp_early *first;
    struct mir__tcp_early *last;
    struct mir__tcp_early *last_run; /* its first piece */
    uint32_t bytes;
    uint16_t count;
    uint16_t runs;
    bool has_fin;
    uint32_t fin_seq; /* sequence number of the FIN itself */
    uint32_t waste;
    struct mir__tcp_packer packer;
};

/** A piece of sequence space. */
struct mir__tcp_block {
    uint32_t left;
    uint32_t right;
};

/** How much arrives in a round trip (tune.c). */
struct mir__tcp_tune {
    uint32_t round_us;     /* round trip as seen by the receiver; 0 = not known */
    uint32_t taken;        /* bytes the application took in this round */
    uint32_t most;         /* ... in the best round so far */
    uint32_t tsecr;        /* measured last */
    mir_time_us begin_us;  /* of this round */
    mir_time_us window_us; /* without timestamps: when data up to window_end was promised */
    uint32_t window_end;
};

/** How fast it goes (info.c). */
struct mir__tcp_rate {
    mir_time_us busy_us;  /* since when something is in flight */
    mir_time_us round_us; /* when this round trip began */
    uint64_t acked;       /* bytes in it */
    uint64_t bytes_per_s; /* in the last one */
    uint32_t round_end;   /* it ends when this is acknowledged */
};

/** What our ACKs report (sack.c). */
struct mir__tcp_sack {
    struct mir__tcp_block block[MIR__TCP_SACK_BLOCKS]; /* the youngest first */
    struct mir__tcp_block repeated;
    uint8_t count;
    bool has_repeated;
};

#endif
