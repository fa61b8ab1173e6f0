/* SPDX-License-Identifier: ISC */
/* Split virtqueue, driver's side: chains of buffers to a device and their completions.
 *
 *   descriptors  size x { address 8, len 4, flags 2, next 2 }     written by us
 *   available    { flags 2, idx 2, ring size x 2, used_event 2 }   written by us
 *   used         { flags 2, idx 2, ring size x { id 4, len 4 }, avail_event 2 }   by the device
 *
 * All little-endian. The three lie in one piece of memory in the order and alignment of a legacy
 * device, which a modern one accepts as well (VIRTIO 1.2 sections 2.7, 2.7.2).
 *
 * Not public: for drivers in dev/. virtq.c says how the device is kept honest.
 */
#ifndef LIB_RING_VIRTQ_H
#define LIB_RING_VIRTQ_H

#include <mirari/base.h>
#include <mirari/err.h>

#define MIR__VIRTQ_SIZE_MAX   1024u
#define MIR__VIRTQ_ALIGN      4096u /* of the used ring of a legacy device */
#define MIR__VIRTQ_CHAIN_MAX  20u   /* descriptors of one chain */
#define MIR__VIRTQ_TABLES_MAX 256u

enum mir__virtq_flags { MIR__VIRTQ_EVENT_IDX = 1, MIR__VIRTQ_INDIRECT = 2 };

/** What a device did that no honest one does. */
enum mir__virtq_fault {
    MIR__VIRTQ_FAULT_INDEX = 1, /* more used than there were in flight */
    MIR__VIRTQ_FAULT_ID,        /* no such descriptor */
    MIR__VIRTQ_FAULT_IDLE,      /* not in flight: never given, or returned before */
    MIR__VIRTQ_FAULT_LENGTH,    /* wrote more than there was room for */
};

/** A piece of memory as the device sees it. */
struct mir__virtq_seg {
    uint64_t address;
    uint32_t len;
};

struct mir__virtq_desc {
    uint64_t address;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

/** What we know of a descriptor; the device cannot reach it. */
struct mir__virtq_slot {
    void *token;       /* of a chain in flight that begins here; else NULL */
    uint32_t writable; /* bytes that the device may write to the chain */
    uint32_t position; /* in the order of chains added */
    uint16_t next;     /* of the chain, or of the free list */
    uint16_t count;    /* descriptors of the chain */
    uint16_t table;    /* its indirect table + 1, or 0 */
};

struct mir__virtq_config {
    uint16_t size;           /**< power of two, 2 .. MIR__VIRTQ_SIZE_MAX */
    uint16_t table_count;    /**< indirect tables, 0 .. MIR__VIRTQ_TABLES_MAX; 0 without INDIRECT */
    unsigned flags;          /**< enum mir__virtq_flags */
    void *shared;            /**< mir__virtq_shared_bytes(), aligned to MIR__VIRTQ_ALIGN; lent */
    uint64_t shared_address; /**< of @shared as the device sees it */
    void *own;               /**< mir__virtq_own_bytes(), aligned to 8; lent */
};

struct mir__virtq {
    /* private: */
    struct mir__virtq_desc *desc;
    uint16_t *avail; /* flags, idx, ring..., used_event */
    uint8_t *used;   /* flags, idx, ring..., avail_event */
    struct mir__virtq_slot *slots;
    struct mir__virtq_desc *tables;
    uint16_t *free_tables; /* a stack */
    uint64_t shared_address;
    uint64_t tables_address;
    uint16_t size;
    uint16_t mask;
    uint16_t free_head;
    uint16_t free_count;
    uint16_t table_count;
    uint16_t tables_left;
    uint16_t used_idx; /* completions taken */
    uint16_t in_flight;
    uint32_t added; /* chains, published or not: of more than 16 bits, since one of them may stay
                       with the device while as many others pass as an index can count */
    uint32_t published;
    bool has_event_idx;
    bool is_armed;
    uint8_t fault; /* enum mir__virtq_fault; the queue is dead until mir__virtq_init() */
    /* counters, kept over mir__virtq_init() by nobody: read them before */
    uint64_t notifications; /* publish() said that the device wants one */
    uint64_t silences;      /* it said it does not */
    uint64_t indirects;
};

/** Bytes that device and driver share for a queue: rings and indirect tables. */
size_t mir__virtq_shared_bytes(uint16_t size, uint16_t table_count);
/** Bytes of the driver's own book-keeping. */
size_t mir__virtq_own_bytes(uint16_t size, uint16_t table_count);

/** Make an empty queue; shared memory is zeroed. Returns 0 or -MIR_EINVAL (size, tables,
 *  alignment). */
int mir__virtq_init(struct mir__virtq *q, const struct mir__virtq_config *config) MIR_CHECK;

/** Addresses of the three parts, for the device. */
uint64_t mir__virtq_desc_address(const struct mir__virtq *q);
uint64_t mir__virtq_avail_address(const struct mir__virtq *q);
uint64_t mir__virtq_used_address(const struct mir__virtq *q);

/** Chains that fit surely if each takes at most @segs descriptors. */
static inline uint32_t mir__virtq_room(const struct mir__virtq *q, uint32_t segs)
{
    return q->fault != 0 ? 0 : q->free_count / segs;
}

/**
 * mir__virtq_add() - one chain for the device, seen by it after mir__virtq_publish().
 *
 * @segs      @out_count segments to read, then @in_count to write; none empty; together
 *            1 .. MIR__VIRTQ_CHAIN_MAX; what they point at is lent until the token comes back
 * @token     not NULL
 *
 * Returns 0, -MIR_EAGAIN (no room now), -MIR_EIO (the device misbehaved before).
 * Cost    O(segments)
 * Source  VIRTIO 1.2 section 2.7.13
 */
int mir__virtq_add(struct mir__virtq *q, const struct mir__virtq_seg *segs, uint32_t out_count,
                   uint32_t in_count, void *token) MIR_CHECK;

/** Show the device what was added. Returns true if it wants to be notified (section 2.7.13.4). */
bool mir__virtq_publish(struct mir__virtq *q) MIR_CHECK;

/**
 * mir__virtq_take() - the next completion.
 *
 * @token  out: of the chain that came back
 * @len    out: bytes the device says it wrote, never more than there was room for
 *
 * Returns 0, -MIR_EAGAIN (none), -MIR_EPROTO (the device misbehaved: q->fault; the queue takes and
 *         gives nothing any more).
 * Cost    O(descriptors of the chain)
 * Source  VIRTIO 1.2 section 2.7.14
 */
int mir__virtq_take(struct mir__virtq *q, void **token, uint32_t *len) MIR_CHECK;

/** Ask for an interrupt when @after more completions are there (1 = the next one), as far as the
 *  device can; 1 <= @after. Returns true if so many are there already: none may come then. */
bool mir__virtq_arm(struct mir__virtq *q, uint16_t after) MIR_CHECK;
/** No interrupts, please. */
void mir__virtq_disarm(struct mir__virtq *q);

/** The token of some chain that is still in flight, which is so no more; NULL if none. Only when
 *  the device has confirmed its reset: it may use the memory until then (advisory MSA02). */
void *mir__virtq_reclaim(struct mir__virtq *q) MIR_CHECK;

/** What a fault is, in words. */
const char *mir__virtq_fault_text(uint8_t fault);

#endif
