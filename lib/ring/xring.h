/* SPDX-License-Identifier: ISC */
/* Xen's request and response ring, either end: bit for bit that of public/io/ring.h.
 *
 *   0 req_prod 4 | req_event 4 | rsp_prod 4 | rsp_event 4 | 48 bytes of others
 *  64 slots: a power of two of them, each holds a request or a response
 *
 * The front pushes requests and takes responses, the back the other way round; what one pushes here
 * is an entry, whichever. Several parties may push at one end. Each reserves all slots of its
 * packet at once, first come first served, fills them, and commits:
 *
 *   reserve(n) = 0, or later ready()     put(0) .. put(n - 1)     commit, or cancel     publish
 *
 * A packet is published whole and alone: no slot of another one between its own, and none of them
 * while one is missing. One that could never fit is refused at once and one that does not fit now
 * waits its turn; nothing that comes later overtakes it, so a large one gets its slots as soon as
 * the peer has given back so many. No party holds slots while it waits, hence no deadlock.
 *
 * Not public: for drivers in dev/.
 */
#ifndef LIB_RING_XRING_H
#define LIB_RING_XRING_H

#include <mirari/base.h>
#include <mirari/err.h>
#include <mirari/list.h>

#define MIR__XRING_HEAD_BYTES  64u
#define MIR__XRING_SLOTS_MAX   4096u
#define MIR__XRING_ENTRY_MAX   256u
#define MIR__XRING_PACKET_SURE 18u /* slots of one packet that every Linux peer takes */

/** What a peer did that no honest one does. */
enum mir__xring_fault {
    MIR__XRING_FAULT_INDEX = 1, /* more entries than can be there */
    MIR__XRING_FAULT_BACK,      /* an index went backwards */
};

struct mir__xring_config {
    void *shared;         /**< as many bytes as the ring has, aligned to 8; lent */
    uint32_t bytes;       /**< of it: 64 and at least 2 slots */
    uint32_t entry_bytes; /**< of the larger of request and response, a multiple of 4 */
    bool is_front;        /**< the front makes the ring empty, the back finds it so */
    uint32_t packet_max;  /**< slots of one packet that the peer takes; 0 = all of the ring */
    uint32_t waiting_max; /**< tickets that wait at a time; 0 = 256 */
    uint8_t *own;         /**< a byte for each slot, out of the peer's reach; lent */
};

/** Some slots for one packet; caller's memory while it waits or is filled. */
struct mir__xring_ticket {
    struct mir_list link; /* private */
    uint32_t first;       /* private: index of its first slot */
    uint32_t count;
    uint8_t state; /* private */
    /** Of a ticket that had to wait: it has its slots (0), or the ring was closed or is faulty
     *  (-MIR_ECANCELED). Called from mir__xring_grant() and mir__xring_close(); may do everything
     *  but these two. */
    void (*ready)(void *arg, struct mir__xring_ticket *ticket, int result);
    void *arg;
};

struct mir__xring {
    /* private: */
    uint32_t *push_prod, *push_event; /* ours; when the peer wants to know */
    uint32_t *take_prod, *take_event; /* the peer's; when we want to know */
    uint8_t *slots;
    uint8_t *own; /* of each slot: its packet is committed */
    uint32_t entry_bytes;
    uint32_t count;     /* slots */
    uint32_t reserved;  /* free-running: slots given to tickets end here */
    uint32_t committed; /* all before are filled */
    uint32_t published; /* all before are the peer's to read */
    uint32_t taken;     /* the peer's entries before are done with */
    uint32_t seen;      /* the peer's entries before are there */
    uint32_t packet_max, waiting_max, waiting;
    struct mir_list queue; /* tickets that wait */
    struct mir_list held;  /* tickets that are being filled, in the order of their slots */
    bool is_front, is_closed;
    uint8_t fault; /* enum mir__xring_fault: nothing moves any more */
    uint64_t notifications, silences, waits, refused, cancelled;
};

/** Slots of a ring in so many bytes: the largest power of two that fits; 0 if fewer than 2. */
uint32_t mir__xring_slots(uint32_t bytes, uint32_t entry_bytes);

/** Make an end. Returns 0 or -MIR_EINVAL (sizes, alignment). Source: ring.h, FRONT_RING_INIT and
 *  BACK_RING_INIT. */
int mir__xring_init(struct mir__xring *ring, const struct mir__xring_config *config) MIR_CHECK;

/** Slots that can be reserved now; 0 while others wait. */
uint32_t mir__xring_room(const struct mir__xring *ring);

/** Prepare a ticket for @count slots. */
void mir__xring_ticket_init(struct mir__xring_ticket *ticket, uint32_t count,
                            void (*ready)(void *arg, struct mir__xring_ticket *ticket, int result),
                            void *arg);
/**
 * mir__xring_reserve() - slots for a packet, all or none.
 *
 * Returns 0 (they are there: fill them), -MIR_EAGAIN (ready() will tell; without one, the ticket
 *         does not wait), -MIR_ETOOBIG (never: put it in fewer), -MIR_ELIMIT (too many wait),
 *         -MIR_ECLOSED, -MIR_EPROTO (the peer misbehaved).
 * Cost    O(1)
 */
int mir__xring_reserve(struct mir__xring *ring, struct mir__xring_ticket *ticket) MIR_CHECK;
/** Fill slot @at of a ticket that has its slots; @entry is copied. */
void mir__xring_put(struct mir__xring *ring, const struct mir__xring_ticket *ticket, uint32_t at,
                    const void *entry);
/** All slots are filled; the ticket is free. The peer sees them after mir__xring_publish(). */
void mir__xring_commit(struct mir__xring *ring, struct mir__xring_ticket *ticket);
/** A ticket that waits or has its slots wants none any more. Slots behind its own move up, which
 *  nobody sees: they were not published. O(slots not published). */
void mir__xring_cancel(struct mir__xring *ring, struct mir__xring_ticket *ticket);
/** Show the peer what was committed, up to the first packet that is still being filled. Returns
 *  true if it wants to be notified. Source: ring.h, RING_PUSH_REQUESTS_AND_CHECK_NOTIFY. */
bool mir__xring_publish(struct mir__xring *ring) MIR_CHECK;

/**
 * mir__xring_take() - the peer's next entry, copied.
 *
 * Returns 0, -MIR_EAGAIN (none), -MIR_EPROTO (the peer misbehaved: ring->fault).
 * Source  ring.h, RING_COPY_REQUEST, RING_REQUEST_PROD_OVERFLOW, RING_RESPONSE_PROD_OVERFLOW
 */
int mir__xring_take(struct mir__xring *ring, void *entry) MIR_CHECK;
/** Give slots to those who wait, after entries were taken. */
void mir__xring_grant(struct mir__xring *ring);
/** Ask for a notification of the next entry. Returns true if one is there already. Source: ring.h,
 *  RING_FINAL_CHECK_FOR_REQUESTS. */
bool mir__xring_arm(struct mir__xring *ring) MIR_CHECK;

/** Nothing can be reserved any more; those who wait are told. What was committed can be published.
 */
void mir__xring_close(struct mir__xring *ring);

#endif
