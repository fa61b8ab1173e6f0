/* SPDX-License-Identifier: ISC */
/* Xen's shared ring with reservations.
 *
 * Free-running indices of 32 bits, all private but the two that are published:
 *
 *     taken .. (all slots that the peer may still use) .. published <= committed <= reserved
 *
 *                       front                             back
 *     may be reserved   count - (reserved - taken)        taken - reserved
 *     peer may show     published - taken                 count - (taken - published)
 *
 * A slot is the front's until its request is published, then the back's until its response is. The
 * back's response takes the place of a request that it has taken, so its room is what it took.
 *
 * Reservations. Tickets that have slots stand in held, in the order of their slots; those that wait
 * stand in queue, first come first served. A slot's byte in own says that its packet is committed;
 * committed runs up to the first slot whose byte is not set, and so always ends between packets.
 * Cancelling closes the gap: the slots behind move up, as do the tickets they belong to. Nobody has
 * seen them there. (That reads back what lies in shared memory: a peer that writes to slots that
 * are not its own harms only what it will read.)
 *
 * Distrust. Entries are copied once, to private memory. The peer's index must lie between what it
 * was and what it can be at most, else the ring is faulty: it takes and gives nothing any more
 * until it is made anew. Our own indices are never read from shared memory. A wrong event index
 * causes too many notifications or too few, and both are the peer's loss.
 *
 * Order: entries are written before the index that publishes them (release) and read after the
 * index that shows them (acquire). Between "publish" and "does it want to know", and between "ask"
 * and "is there something", stands a full fence: see shared.h.
 *
 * docs/proof.md says what of this is proved, explored and tested.
 *
 * Not here: what entries mean, memory they name (grants), locks: one thread for each end.
 */
#include "lib/ring/xring.h"

#include "lib/ring/shared.h"

#define WAITING_DEFAULT 256u

enum ticket_state { IDLE, WAITING, HELD };

uint32_t mir__xring_slots(uint32_t bytes, uint32_t entry_bytes)
{
    if (bytes < MIR__XRING_HEAD_BYTES || entry_bytes == 0)
        return 0;
    uint32_t fit = (bytes - MIR__XRING_HEAD_BYTES) / entry_bytes, slots = 1;
    while (slots <= fit / 2)
        slots *= 2;
    return fit < 2 ? 0 : slots;
}

/* Where the four words are for the front; the back's are the other two. */
static uint32_t *word(void *shared, bool is_of_responses, bool is_event)
{
    return (uint32_t *)shared + (is_of_responses ? 2 : 0) + (is_event ? 1 : 0);
}

int mir__xring_init(struct mir__xring *ring, const struct mir__xring_config *config)
{
    void *shared = config->shared;
    bool is_front = config->is_front;
    uint32_t count = mir__xring_slots(config->bytes, config->entry_bytes);
    if (count < 2 || count > MIR__XRING_SLOTS_MAX || config->entry_bytes % 4 != 0 ||
        config->entry_bytes > MIR__XRING_ENTRY_MAX || (uintptr_t)shared % 8 != 0 ||
        config->own == NULL)
        return -MIR_EINVAL;
    *ring = (struct mir__xring){
        .push_prod = word(shared, !is_front, false),
        .push_event = word(shared, !is_front, true),
        .take_prod = word(shared, is_front, false),
        .take_event = word(shared, is_front, true),
        .slots = (uint8_t *)shared + MIR__XRING_HEAD_BYTES,
        .own = config->own,
        .entry_bytes = config->entry_bytes,
        .count = count,
        .packet_max = config->packet_max != 0 ? MIR_MIN(config->packet_max, count) : count,
        .waiting_max = config->waiting_max != 0 ? config->waiting_max : WAITING_DEFAULT,
        .is_front = is_front,
    };
    mir_list_init(&ring->queue);
    mir_list_init(&ring->held);
    mir_memset(config->own, 0, count);
    if (!is_front)
        return 0;
    mir_memset(shared, 0, MIR__XRING_HEAD_BYTES);
    mir__shared_store32(ring->push_event, 1);
    mir__shared_store32(ring->take_event, 1);
    return 0;
}

/* ---- indices ------------------------------------------------------------------------------------
 */

/* Slots that nobody has. */
static uint32_t unreserved(const struct mir__xring *ring)
{
    return ring->is_front ? ring->count - (ring->reserved - ring->taken)
                          : ring->taken - ring->reserved;
}

/* Entries of the peer that can be there at most, from ring->taken on. */
static uint32_t bound(const struct mir__xring *ring)
{
    return ring->is_front ? ring->published - ring->taken
                          : ring->count - (ring->taken - ring->published);
}

static uint8_t *slot(const struct mir__xring *ring, uint32_t index)
{
    return ring->slots + (size_t)(index & (ring->count - 1)) * ring->entry_bytes;
}

static uint8_t *own(const struct mir__xring *ring, uint32_t index)
{
    return ring->own + (index & (ring->count - 1));
}

/* Read the peer's index: entries that are there. Returns 0 or -MIR_EPROTO. */
static int look(struct mir__xring *ring, uint32_t *there)
{
    if (ring->fault != 0)
        return -MIR_EPROTO;
    uint32_t prod = mir__shared_load32(ring->take_prod);
    uint32_t shown = prod - ring->taken;
    if (MIR_UNLIKELY(shown > bound(ring)))
        ring->fault = MIR__XRING_FAULT_INDEX;
    else if (MIR_UNLIKELY(shown < ring->seen - ring->taken))
        ring->fault = MIR__XRING_FAULT_BACK;
    if (MIR_UNLIKELY(ring->fault != 0))
        return -MIR_EPROTO;
    ring->seen = prod;
    *there = shown;
    return 0;
}

/* ---- reservations -------------------------------------------------------------------------------
 */

static struct mir__xring_ticket *of_link(struct mir_list *link)
{
    return MIR_CONTAINER_OF(link, struct mir__xring_ticket, link);
}

void mir__xring_ticket_init(struct mir__xring_ticket *ticket, uint32_t count,
                            void (*ready)(void *arg, struct mir__xring_ticket *ticket, int result),
                            void *arg)
{
    MIR_ASSERT_OP(count, >, 0);
    *ticket = (struct mir__xring_ticket){.count = count, .ready = ready, .arg = arg};
    mir_list_init(&ticket->link);
}

uint32_t mir__xring_room(const struct mir__xring *ring)
{
    bool is_taken = ring->is_closed || ring->fault != 0 || ring->waiting > 0;
    return is_taken ? 0 : unreserved(ring);
}

static void hold(struct mir__xring *ring, struct mir__xring_ticket *ticket)
{
    ticket->state = HELD;
    ticket->first = ring->reserved;
    for (uint32_t i = 0; i < ticket->count; i++)
        *own(ring, ticket->first + i) = 0;
    ring->reserved += ticket->count;
    mir_list_push_back(&ring->held, &ticket->link);
}

int mir__xring_reserve(struct mir__xring *ring, struct mir__xring_ticket *ticket)
{
    MIR_ASSERT_OP(ticket->state, ==, IDLE);
    if (ring->is_closed)
        return -MIR_ECLOSED;
    if (ring->fault != 0)
        return -MIR_EPROTO;
    if (ticket->count > ring->packet_max) {
        ring->refused++;
        return -MIR_ETOOBIG;
    }
    if (ring->waiting == 0 && ticket->count <= unreserved(ring)) {
        hold(ring, ticket);
        return 0;
    }
    if (ticket->ready == NULL)
        return -MIR_EAGAIN;
    if (ring->waiting >= ring->waiting_max) {
        ring->refused++;
        return -MIR_ELIMIT;
    }
    ticket->state = WAITING;
    mir_list_push_back(&ring->queue, &ticket->link);
    ring->waiting++;
    ring->waits++;
    return -MIR_EAGAIN;
}

void mir__xring_grant(struct mir__xring *ring)
{
    while (ring->waiting > 0 && !ring->is_closed) {
        struct mir__xring_ticket *ticket = of_link(ring->queue.next);
        bool is_lost = ring->fault != 0;
        if (!is_lost && ticket->count > unreserved(ring))
            return;
        mir_list_remove(&ticket->link);
        ring->waiting--;
        ticket->state = IDLE;
        if (!is_lost)
            hold(ring, ticket);
        ticket->ready(ticket->arg, ticket, is_lost ? -MIR_ECANCELED : 0);
    }
}

void mir__xring_put(struct mir__xring *ring, const struct mir__xring_ticket *ticket, uint32_t at,
                    const void *entry)
{
    MIR_ASSERT_OP(ticket->state, ==, HELD);
    MIR_ASSERT_OP(at, <, ticket->count);
    mir__shared_put(slot(ring, ticket->first + at), entry, ring->entry_bytes);
}

/* Whole packets that are complete, from the first one on. */
static void advance(struct mir__xring *ring)
{
    while (ring->committed != ring->reserved && *own(ring, ring->committed) != 0)
        ring->committed++;
}

void mir__xring_commit(struct mir__xring *ring, struct mir__xring_ticket *ticket)
{
    MIR_ASSERT_OP(ticket->state, ==, HELD);
    for (uint32_t i = 0; i < ticket->count; i++)
        *own(ring, ticket->first + i) = 1;
    mir_list_remove(&ticket->link);
    ticket->state = IDLE;
    advance(ring);
}

/* Slots from @from on move to @to, which is @by before. */
static void close_gap(struct mir__xring *ring, uint32_t from, uint32_t by)
{
    uint8_t entry[MIR__XRING_ENTRY_MAX];
    for (uint32_t i = from; i != ring->reserved; i++) {
        mir__shared_get(entry, slot(ring, i), ring->entry_bytes);
        mir__shared_put(slot(ring, i - by), entry, ring->entry_bytes);
        *own(ring, i - by) = *own(ring, i);
    }
    ring->reserved -= by;
}

void mir__xring_cancel(struct mir__xring *ring, struct mir__xring_ticket *ticket)
{
    if (ticket->state == IDLE)
        return;
    ring->cancelled++;
    if (ticket->state == WAITING)
        ring->waiting--;
    for (struct mir_list *i = ticket->link.next; ticket->state == HELD && i != &ring->held;
         i = i->next)
        of_link(i)->first -= ticket->count;
    mir_list_remove(&ticket->link);
    if (ticket->state == HELD)
        close_gap(ring, ticket->first + ticket->count, ticket->count);
    ticket->state = IDLE;
    advance(ring);
}

bool mir__xring_publish(struct mir__xring *ring)
{
    uint32_t before = ring->published, now = ring->committed;
    if (before == now || ring->fault != 0)
        return false;
    mir__shared_store32(ring->push_prod, now);
    ring->published = now;
    mir__shared_fence();
    uint32_t event = mir__shared_load32(ring->push_event);
    bool wants = now - event < now - before;
    ring->notifications += wants;
    ring->silences += !wants;
    return wants;
}

/* ---- the peer's entries -------------------------------------------------------------------------
 */

static int take(struct mir__xring *ring, uint8_t *entry)
{
    uint32_t there = ring->seen - ring->taken;
    if (MIR_UNLIKELY(ring->fault != 0))
        return -MIR_EPROTO;
    if (there == 0) {
        int r = look(ring, &there);
        if (r < 0)
            return r;
    }
    if (there == 0)
        return -MIR_EAGAIN;
    mir__shared_get(entry, slot(ring, ring->taken), ring->entry_bytes);
    ring->taken++;
    return 0;
}

int mir__xring_take(struct mir__xring *ring, void *entry)
{
    return take(ring, entry);
}

bool mir__xring_arm(struct mir__xring *ring)
{
    uint32_t there;
    if (look(ring, &there) < 0 || there > 0)
        return true;
    mir__shared_store32(ring->take_event, ring->taken + 1);
    mir__shared_fence();
    return look(ring, &there) < 0 || there > 0;
}

void mir__xring_close(struct mir__xring *ring)
{
    if (ring->is_closed)
        return;
    ring->is_closed = true;
    while (ring->waiting > 0) {
        struct mir__xring_ticket *ticket = of_link(mir_list_pop_front(&ring->queue));
        ring->waiting--;
        ticket->state = IDLE;
        ticket->ready(ticket->arg, ticket, -MIR_ECANCELED);
    }
}
